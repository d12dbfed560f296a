//! The program: how it starts, how it ends, what it keeps up in between.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use trunkline::proto::control::v1::{ListTrunksRequest, Outcome, TrunkState};

use crate::rig::{ANSWERED, Folder, Phone, Ports, Rig, Setup, received, run, signal, soon};

const REGISTERED: &str = "[auth]\nuser = \"robot\"\npassword = \"secret\"\n[registration]\n";

async fn trunk(rig: &Rig) -> TrunkState {
    let trunks = rig.control().list_trunks(ListTrunksRequest {}).await.expect("an answer");
    trunks.into_inner().trunks.remove(0)
}

#[tokio::test]
async fn asked_to_end_it_hangs_up_writes_the_record_and_ends_well() {
    let mut rig = Rig::start(Setup { trunk: ANSWERED, record: true, ..Setup::default() }).await;
    let caller = rig.phone(Phone::new("uac_callee_hangs_up")).await;
    let called = rig.phone(Phone::new("uas_answers_after_180")).await;
    let (inbound, _) = rig.incoming(0).await;
    let outbound = rig.dial(rig.order()).await;
    rig.answered(&inbound).await;
    rig.answered(&outbound).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut events = rig.watch(&inbound).await;
    rig.terminate().await;
    let status = rig.exited().await;
    assert!(status.success(), "{status}\n{}", rig.log());
    caller.done().await;
    assert_eq!(called.done().await.received("BYE"), 1);
    // Who watches is told the end before the stream ends.
    let mut last = None;
    while let Ok(Some(event)) = events.message().await {
        last = event.event;
    }
    assert!(matches!(last, Some(crate::rig::Happened::Ended(_))), "{last:?}");
    for call_id in [inbound, outbound] {
        let json = fs::read(rig.folder().join(format!("recordings/{call_id}.json"))).expect("the record");
        let record: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!((&record["outcome"], &record["end_reason"]), (&"success".into(), &"shutting down".into()));
        let wav = hound::WavReader::open(record["wav"].as_str().expect("a path")).expect("the recording");
        assert_eq!(wav.spec().channels, 2);
        assert!(wav.duration() > 8_000 / 5, "{}", wav.duration());
    }
}

#[tokio::test]
async fn asked_to_end_it_lets_calls_go_on_for_a_while_and_takes_no_new_ones() {
    let mut rig = Rig::start(Setup { trunk: ANSWERED, limits: "drain_s = 20", ..Setup::default() }).await;
    let called = rig.phone(Phone::new("uas_hangs_up_after_a_while").pause_ms(2_000)).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    rig.terminate().await;
    soon("/readyz says so", Duration::from_secs(5), async || rig.http("/readyz").await.contains("shutting down")).await;
    let status = rig.control().dial(rig.order()).await.expect_err("no new calls");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    let (answer, _) = crate::rig::ask(&rig, "100").await;
    assert!(answer.starts_with("SIP/2.0 503 "), "{answer}");
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "caller"));
    let since = Instant::now();
    assert!(rig.exited().await.success());
    assert!(since.elapsed() < Duration::from_secs(5), "with the last call gone there is nothing to wait for");
    called.done().await;
}

#[tokio::test]
async fn asked_twice_it_waits_no_longer() {
    let mut rig = Rig::start(Setup { limits: "drain_s = 600", ..Setup::default() }).await;
    let called = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    rig.terminate().await;
    soon("/readyz says so", Duration::from_secs(5), async || rig.http("/readyz").await.contains("shutting down")).await;
    signal("INT", rig.pid()).await;
    assert!(rig.exited().await.success());
    assert_eq!(called.done().await.received("BYE"), 1);
}

#[tokio::test]
async fn a_trunk_that_registers_is_up_and_taken_back_at_the_end() {
    let mut rig = Rig::start(Setup { trunk: REGISTERED, ..Setup::default() }).await;
    // Nobody has answered its first REGISTER; it is repeated.
    let registrar = rig.phone(Phone::new("uas_registrar_401")).await;
    soon("registered", Duration::from_secs(10), async || trunk(&rig).await.registration == "registered").await;
    let trace = registrar.done().await;
    let register = *trace.all_received().last().expect("a REGISTER");
    assert!(register.starts_with("REGISTER sip:127.0.0.1 SIP/2.0\r\n"), "{register}");
    assert!(register.contains("<sip:robot@127.0.0.1>"), "{register}");

    // The registrar of the end, by hand: it wants a password once more, and says goodbye.
    let registrar = tokio::net::UdpSocket::bind(("127.0.0.1", rig.ports.phone())).await.expect("SIPp is gone");
    rig.terminate().await;
    let (first, from) = register_asked(&registrar).await;
    assert!(first.contains("\r\nExpires: 0\r\n") || first.contains("expires=0"), "{first}");
    let challenge = "WWW-Authenticate: Digest realm=\"trunk.test\", nonce=\"again\", algorithm=MD5, qop=\"auth\"\r\n";
    registrar.send_to(answer(&first, "401 Unauthorized", challenge).as_bytes(), from).await.expect("it is sent");
    let (second, from) = register_asked(&registrar).await;
    assert!(second.contains("nonce=\"again\""), "{second}");
    let since = Instant::now();
    registrar.send_to(answer(&second, "200 OK", "").as_bytes(), from).await.expect("it is sent");
    assert!(rig.exited().await.success());
    assert!(since.elapsed() < Duration::from_millis(1_700), "the answer was heard: there is nothing to wait for");
}

#[tokio::test]
async fn a_bye_that_is_lost_is_said_again_before_it_ends() {
    let mut rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    let (answer, caller) = crate::rig::ask(&rig, "100").await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    rig.terminate().await;
    let first = received(&caller).await;
    assert!(first.starts_with("BYE "), "{first}");
    assert_eq!(received(&caller).await, first);
    let ok = self::answer(&first, "200 OK", "");
    caller.send_to(ok.as_bytes(), ("127.0.0.1", rig.ports.sip())).await.expect("it is sent");
    let since = Instant::now();
    assert!(rig.exited().await.success());
    assert!(since.elapsed() < Duration::from_secs(3), "the answer was heard: there is nothing to wait for");
}

async fn register_asked(registrar: &tokio::net::UdpSocket) -> (String, std::net::SocketAddr) {
    let mut buffer = vec![0; 65_535];
    let received = tokio::time::timeout(crate::rig::PATIENCE, registrar.recv_from(&mut buffer)).await;
    let (length, from) = received.expect("in time").expect("it is read");
    (String::from_utf8_lossy(&buffer[..length]).into_owned(), from)
}

/// A response by hand.
fn answer(request: &str, status: &str, more: &str) -> String {
    let copied = request
        .lines()
        .filter(|line| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)));
    let copied: String = copied.map(|line| format!("{line}\r\n")).collect();
    format!("SIP/2.0 {status}\r\n{copied}{more}Content-Length: 0\r\n\r\n")
}

#[tokio::test]
async fn a_registrar_that_is_not_there_is_told_of_and_does_not_keep_it_from_ending() {
    let mut rig = Rig::start(Setup { trunk: REGISTERED, ..Setup::default() }).await;
    // ICMP says so at once; it is tried again.
    soon("failed", Duration::from_secs(5), async || {
        let reason = trunk(&rig).await.reason;
        reason.starts_with("127.0.0.1:") && reason.ends_with(": it could not be sent: connection refused")
    })
    .await;
    assert!(rig.metric_of("trunkline_registrations_failed_total", "reason=\"unsent\"").await >= 1.0);
    let since = Instant::now();
    rig.terminate().await;
    assert!(rig.exited().await.success());
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_registrar_that_refuses_is_told_of() {
    let rig = Rig::start(Setup { trunk: REGISTERED, ..Setup::default() }).await;
    let registrar = tokio::net::UdpSocket::bind(("127.0.0.1", rig.ports.phone())).await.expect("a free port");
    let (request, from) = register_asked(&registrar).await;
    registrar.send_to(answer(&request, "403 Not You", "").as_bytes(), from).await.expect("it is sent");
    // Its REGISTER of before the port was bound had failed as well, for another reason.
    soon("refused", Duration::from_secs(5), async || trunk(&rig).await.reason == "403 Not You").await;
    assert_eq!(trunk(&rig).await.registration, "failed");
    assert_eq!(trunk(&rig).await.channels_used, 0);
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_key() {
    let ports = Ports::take();
    let folder = Folder::new();
    let config = Setup::default().write(&folder.0, &ports);
    let config = config.to_str().expect("UTF-8");
    let udp = UdpSocket::bind(("127.0.0.1", ports.sip())).expect("free");
    let sip = run(&["serve", "--config", config]).await;
    drop(udp);
    let tcp = TcpListener::bind(("127.0.0.1", ports.control())).expect("free");
    let control = run(&["serve", "--config", config]).await;
    drop(tcp);
    let tcp = TcpListener::bind(("127.0.0.1", ports.web())).expect("free");
    let web = run(&["serve", "--config", config]).await;
    drop(tcp);
    for (output, key, port) in [
        (sip, "[sip] listen", ports.sip()),
        (control, "[control] listen", ports.control()),
        (web, "[web] listen", ports.web()),
    ] {
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{said}");
        let last = said.lines().last().expect("a line");
        assert!(last.starts_with(&format!("{key} = \"127.0.0.1:{port}\": ")), "{said}");
        assert!(last.contains("in use"), "{said}");
    }
}

#[tokio::test]
async fn mistakes_of_the_configuration_are_told_by_check_and_by_serve() {
    let ports = Ports::take();
    let folder = Folder::new();
    let setup = Setup { limits: "cals = 3", trunk: "[limits]\nchannels = -1", ..Setup::default() };
    let config = setup.write(&folder.0, &ports);
    let config = config.to_str().expect("UTF-8");
    for command in ["check", "serve"] {
        let output = run(&[command, "--config", config]).await;
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("trunkline.toml:") && said.contains("limits.cals"), "{said}");
        assert!(said.contains("lab.toml:6:limits.channels"), "{said}");
        assert_eq!(said.lines().count(), 2, "{said}");
    }
    let absent = run(&["serve", "--config", "/no/such/file.toml"]).await;
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).starts_with("/no/such/file.toml: cannot be read"));

    let config = Setup::default().write(&folder.0, &ports);
    let good = run(&["check", "--config", config.to_str().expect("UTF-8")]).await;
    assert!(good.status.success() && String::from_utf8_lossy(&good.stdout).starts_with("ok: trunks: lab"));
}

#[tokio::test]
async fn it_tells_who_asks_by_sip_that_it_is_there_and_strangers_nothing() {
    let rig = Rig::start(Setup::default()).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let stranger = tokio::net::UdpSocket::bind("127.0.0.9:0").await.expect("a socket");
    for socket in [&stranger, &socket] {
        let at = socket.local_addr().expect("it is bound");
        let options = format!(
            "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-o{port}\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:127.0.0.1>\r\nCall-ID: o{port}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            port = at.port()
        );
        socket.send_to(options.as_bytes(), ("127.0.0.1", rig.ports.sip())).await.expect("it is sent");
    }
    let answer = received(&socket).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    soon("the stranger is counted", Duration::from_secs(5), async || {
        rig.metric_of("trunkline_sip_datagrams_dropped_total", "source").await == 1.0
    })
    .await;
    let mut buffer = [0; 1];
    assert!(stranger.try_recv(&mut buffer).is_err(), "the stranger has an answer");
}
