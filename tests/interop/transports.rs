//! Calls over TCP and TLS, and to peers that are names: SIPp, baresip and OpenSSL at the other end.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::process::Command;
use trunkline::proto::control::v1::{CallRecord, DialRequest, ListTrunksRequest, Outcome};
use trunkline::proto::dialogue::v1::Header;
use trunkline::sip::message::Method;

use crate::rig::baresip::{Baresip, Terms};
use crate::rig::{ANSWERED, Folder, PATIENCE, Peer, Phone, Ports, Rig, SDP, Setup, Zone, certificates, soon, srv};

/// Dials, talks for a moment, and hangs up.
async fn talked(rig: &Rig, order: DialRequest) -> CallRecord {
    let call_id = rig.dial(order).await;
    rig.answered(&call_id).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.hang_up(&call_id).await;
    rig.ended(&call_id).await
}

fn line<'a>(message: &'a str, name: &str) -> &'a str {
    message.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {message}"))
}

#[tokio::test]
async fn a_call_is_dialled_over_tcp() {
    let rig = Rig::start(Setup { peer: "transport = \"tcp\"".into(), ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180").by("t1")).await;
    let record = talked(&rig, rig.order()).await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Success, 200));
    let trace = phone.done().await;
    for method in ["INVITE", "ACK", "BYE"] {
        assert_eq!(trace.received(method), 1, "{method}: nothing is repeated over TCP");
    }
    let port = rig.ports.sip();
    for message in trace.all_received() {
        assert!(line(message, "Via: ").starts_with(&format!("SIP/2.0/TCP 127.0.0.1:{port};branch=")), "{message}");
    }
    let contact = line(trace.all_received()[0], "Contact: ");
    assert_eq!(contact, format!("<sip:4930123456@127.0.0.1:{port};transport=tcp>"));
    rig.idle().await;
    assert_eq!(rig.metric("trunkline_sip_connections").await, 0.0, "SIPp has closed it");
    assert_eq!(rig.metric("trunkline_sip_datagrams_sent_total").await, 0.0);
}

#[tokio::test]
async fn calls_come_in_over_tcp_by_one_connection_and_by_many() {
    let rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    for by in ["t1", "tn"] {
        let phone = Phone::new("uac_plain_call").by(by).calls(10, 10, 10).pause_ms(200);
        let trace = rig.phone(phone).await.done().await;
        assert_eq!(trace.received("BYE") + trace.received("SIP/2.0 100"), 10, "{by}");
        let oks = trace.all_received().into_iter().filter(|message| message.starts_with("SIP/2.0 200"));
        assert!(oks.filter(|ok| ok.contains("INVITE")).all(|ok| line(ok, "Contact: ").contains(";transport=tcp>")));
    }
    rig.idle().await;
    assert_eq!(rig.metric("trunkline_sip_datagrams_sent_total").await, 0.0);
}

#[tokio::test]
async fn a_trunk_registers_over_tcp() {
    let trunk = "[auth]\nuser = \"robot\"\npassword = \"secret\"\n[registration]\n";
    let (ports, folder) = (Ports::take(), Folder::new());
    let phone = Phone::new("uas_registrar_401").by("t1");
    let (_, media) = ports.caller();
    let registrar = crate::rig::Sipp::start(&phone, ports.phone(), media, ports.sip(), &folder.0).await;
    let setup = Setup { peer: "transport = \"tcp\"".into(), trunk, ..Setup::default() };
    let rig = Rig::at(ports, folder, setup).await;
    let trace = registrar.done().await;
    let register = *trace.all_received().last().expect("a REGISTER");
    assert!(line(register, "Via: ").starts_with("SIP/2.0/TCP "), "{register}");
    assert!(line(register, "Contact: ").contains(";transport=tcp>"), "{register}");
    drop(rig);
}

/// RFC 3261 §18.1.1, both ways: with a phone that speaks TCP, and with one that does not.
#[tokio::test]
async fn a_request_too_large_for_udp_goes_by_tcp_where_that_is_spoken() {
    for (by, via) in [("t1", "SIP/2.0/TCP "), ("u1", "SIP/2.0/UDP ")] {
        let rig = Rig::start(Setup::default()).await;
        let phone = rig.phone(Phone::new("uas_answers_after_180").by(by)).await;
        let large = Header { name: "X-Large".into(), value: "x".repeat(1_300) };
        let record = talked(&rig, DialRequest { headers: vec![large], ..rig.order() }).await;
        assert_eq!(record.outcome(), Outcome::Success, "{by}");
        let trace = phone.done().await;
        let invite = trace.all_received()[0];
        assert!(invite.len() > 1_300 && line(invite, "Via: ").starts_with(via), "{invite}");
        assert_eq!(trace.received("BYE"), 1);
    }
}

/// A peer that is a name, whose SRV records name two ports: this one is tried first, and then that one.
async fn two_ports(first: u16, second: u16) -> (Zone, Setup) {
    let (service, host) = ("_sip._udp.trunk.test.", "phone.trunk.test.");
    let records =
        vec![srv(service, 1, first, host), srv(service, 2, second, host), crate::rig::a(host, [127, 0, 0, 1].into())];
    let zone = Zone::serve(records).await;
    let setup = Setup {
        sip: format!("resolver = \"{}\"", zone.at),
        peer: "address = \"trunk.test\"\nsources = [\"127.0.0.1\"]".into(),
        ..Setup::default()
    };
    (zone, setup)
}

#[tokio::test]
async fn a_peer_that_is_a_name_is_called_at_the_first_address_where_somebody_is() {
    let (ports, folder) = (Ports::take(), Folder::new());
    let (dead, _) = ports.caller();
    let (zone, setup) = two_ports(dead, ports.phone()).await;
    let rig = Rig::at(ports, folder, setup).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180").calls(2, 10, 1)).await;
    for _ in 0..2 {
        let record = talked(&rig, rig.order()).await;
        assert_eq!((record.outcome(), record.sip_code), (Outcome::Success, 200));
    }
    let trace = phone.done().await;
    assert_eq!((trace.received("INVITE"), trace.received("ACK"), trace.received("BYE")), (2, 2, 2));
    assert!(trace.all_received()[0].starts_with("INVITE sip:100@trunk.test SIP/2.0\r\n"));
    // Once for both calls, and not for each datagram; on a busy machine a question may be repeated.
    for question in ["SRV _sip._udp.trunk.test.", "A phone.trunk.test."] {
        assert!((1..=2).contains(&zone.asked(question)), "{question}");
    }
    assert_eq!(rig.metric_of("trunkline_sip_unsent_total", "icmp").await, 2.0);
}

/// Nothing says that nobody is there: no ICMP, no 100. Who wakes up later does not get the call back.
#[tokio::test]
async fn an_address_that_is_silent_is_left_for_the_next_one() {
    let (ports, folder) = (Ports::take(), Folder::new());
    let (deaf, _) = ports.caller();
    let (_zone, setup) = two_ports(deaf, ports.phone()).await;
    let setup = Setup { trunk: "[limits]\nfailover_after_ms = 500", ..setup };
    let rig = Rig::at(ports, folder, setup).await;
    let deaf = Peer::bind(&rig, "127.0.0.1", deaf).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    let missed = deaf.request(&Method::Invite).await;
    deaf.answer(&missed, 180, &[], "").await;
    let cancel = deaf.request(&Method::Cancel).await;
    assert_eq!(cancel.top_via().expect("one").branch(), missed.top_via().expect("one").branch());
    deaf.answer(&cancel, 200, &[], "").await;
    deaf.answer(&missed, 487, &[], "").await;
    deaf.request(&Method::Ack).await;
    rig.hang_up(&call_id).await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.sip_code, record.end_reason.as_str()), (Outcome::Success, 200, "enough"));
    let trace = phone.done().await;
    assert_eq!((trace.received("INVITE"), trace.received("ACK"), trace.received("BYE")), (1, 1, 1));
    assert_eq!(trace.received("CANCEL"), 0);
    rig.idle().await;
}

/// Of a peer without `sources` only who has answered may hang up, though somebody who was given up has spoken before.
#[tokio::test]
async fn who_was_given_up_and_wakes_does_not_take_the_call_from_who_has_it() {
    let (ports, folder) = (Ports::take(), Folder::new());
    let records = vec![
        srv("_sip._udp.trunk.test.", 1, ports.phone(), "deaf.trunk.test."),
        srv("_sip._udp.trunk.test.", 2, ports.phone(), "phone.trunk.test."),
        crate::rig::a("deaf.trunk.test.", [127, 0, 0, 2].into()),
        crate::rig::a("phone.trunk.test.", [127, 0, 0, 1].into()),
    ];
    let zone = Zone::serve(records).await;
    let setup = Setup {
        sip: format!("resolver = \"{}\"", zone.at),
        peer: "address = \"trunk.test\"".into(),
        trunk: "[limits]\nfailover_after_ms = 500",
        ..Setup::default()
    };
    let rig = Rig::at(ports, folder, setup).await;
    let deaf = Peer::bind(&rig, "127.0.0.2", rig.ports.phone()).await;
    let phone = Peer::lab(&rig).await;
    let call_id = rig.dial(rig.order()).await;
    let missed = deaf.request(&Method::Invite).await;
    let invite = phone.request(&Method::Invite).await;
    deaf.answer(&missed, 180, &[], "").await;
    let cancel = deaf.request(&Method::Cancel).await;
    deaf.answer(&cancel, 200, &[], "").await;
    deaf.answer(&missed, 487, &[], "").await;
    phone.answer(&invite, 200, &[], SDP).await;
    phone.request(&Method::Ack).await;
    rig.answered(&call_id).await;
    deaf.back(&missed, "BYE", 1).await;
    phone.back(&invite, "BYE", 2).await;
    assert_eq!(phone.response().await.code(), 200);
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "caller"));
    assert_eq!(rig.metric_of("trunkline_sip_datagrams_dropped_total", "source").await, 1.0);
    rig.idle().await;
}

#[tokio::test]
async fn a_name_that_is_gone_ends_the_call_and_says_so() {
    let zone = Zone::serve(Vec::new()).await;
    let setup = Setup {
        sip: format!("resolver = \"{}\"", zone.at),
        peer: "address = \"gone.test\"\nsources = [\"127.0.0.1\"]".into(),
        trunk: ANSWERED,
        ..Setup::default()
    };
    let rig = Rig::start(setup).await;
    let record = rig.call().await;
    assert_eq!((record.outcome(), record.talk_ms), (Outcome::Cantbeconnected, 0), "{record:?}");
    assert!(rig.log().contains("gone.test: there is no such name"), "{}", rig.log());
    assert_eq!(rig.metric_of("trunkline_dns_lookups_total", "no_such_name").await, 1.0);
    // Whoever calls us from there does not notice.
    rig.phone(Phone::new("uac_plain_call").pause_ms(200)).await.done().await;
    rig.idle().await;
}

#[tokio::test]
async fn a_trunk_whose_name_is_gone_is_told_with_the_reason() {
    let zone = Zone::serve(Vec::new()).await;
    let setup = Setup {
        sip: format!("resolver = \"{}\"", zone.at),
        peer: "address = \"gone.test\"\nsources = [\"127.0.0.1\"]\nping_s = 5\nping_down_after = 1".into(),
        ..Setup::default()
    };
    let rig = Rig::start(setup).await;
    let down = rig.stood("lab", 0).await;
    assert_eq!((down.up, down.reason.as_str()), (false, "gone.test: there is no such name"));
}

#[tokio::test]
async fn a_trunk_whose_certificate_has_expired_is_told_with_the_reason() {
    let (ports, folder) = (Ports::take(), Folder::new());
    let ours = certificates(&folder.0, 4096);
    let theirs = folder.0.join("theirs");
    fs::create_dir_all(&theirs).expect("a folder");
    let [ca, certificate, key] = certificates(&theirs, 2020);
    let _server = Command::new("openssl")
        .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{}", ports.phone()), "-cert"])
        .arg(&certificate)
        .arg("-key")
        .arg(&key)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("openssl: {error}; Debian has it in the package openssl"));
    soon("it listens", PATIENCE, async || tokio::net::TcpStream::connect(("127.0.0.1", ports.phone())).await.is_ok())
        .await;
    let (listen, _) = ports.caller();
    let [_, own, own_key] = &ours;
    let sip = format!("[sip.tls]\nlisten = \"127.0.0.1:{listen}\"\ncertificate = {own:?}\nkey = {own_key:?}\n");
    let peer = format!(
        "address = \"127.0.0.1:{}\"\ntransport = \"tls\"\nping_s = 5\nping_down_after = 1\n[tls]\nca = {ca:?}",
        ports.phone()
    );
    let rig = Rig::at(ports, folder, Setup { sip, peer, ..Setup::default() }).await;
    let down = rig.stood("lab", 0).await;
    assert!(!down.up && down.reason.contains("it could not be sent: "), "{down:?}");
    assert!(down.reason.contains("certificate") && down.reason.contains("expired"), "{down:?}");
}

/// A trunk over TLS in both directions, and its files.
async fn secure(trunk: &'static str) -> (Rig, [PathBuf; 3], u16) {
    let (ports, folder) = (Ports::take(), Folder::new());
    let files = certificates(&folder.0, 4096);
    let [ca, certificate, key] = &files;
    let (listen, _) = ports.caller();
    let sip = format!("[sip.tls]\nlisten = \"127.0.0.1:{listen}\"\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let peer = format!("address = \"127.0.0.1:{}\"\ntransport = \"tls\"\n[tls]\nca = {ca:?}", ports.phone());
    let rig = Rig::at(ports, folder, Setup { sip, peer, trunk, ..Setup::default() }).await;
    (rig, files, listen)
}

#[tokio::test]
async fn openssl_is_answered_over_tls() {
    let (rig, [ca, ..], listen) = secure("").await;
    let mut child = Command::new("openssl")
        .args(["s_client", "-quiet", "-verify_return_error", "-verify_ip", "127.0.0.1", "-connect"])
        .arg(format!("127.0.0.1:{listen}"))
        .arg("-CAfile")
        .arg(&ca)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("openssl: {error}; Debian has it in the package openssl"));
    let options = "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bK-o\r\nFrom: <sip:a@b>;tag=1\r\n\
                   To: <sip:127.0.0.1>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(options.as_bytes()).await.expect("it listens");
    let mut stdout = child.stdout.take().expect("piped");
    let mut answer = String::new();
    let mut buffer = [0; 2_000];
    while !answer.contains("\r\n\r\n") {
        let read = tokio::time::timeout(PATIENCE, stdout.read(&mut buffer)).await.expect("in time");
        let length = read.expect("it is read");
        assert!(length > 0, "openssl gave up: {answer}\n{}", rig.log());
        answer += &String::from_utf8_lossy(&buffer[..length]);
    }
    assert!(answer.starts_with("SIP/2.0 200 OK\r\n"), "{answer}");
    assert!(line(&answer, "Contact: ").ends_with(&format!("127.0.0.1:{listen};transport=tls>")), "{answer}");
    child.kill().await.expect("it is ours");
}

/// A real phone over TLS: it answers by itself, and we hang up.
#[tokio::test]
async fn baresip_is_called_over_tls() {
    let (rig, files, _) = secure("").await;
    let phone = Baresip::start(&rig, Terms { tls: Some(&files), ..Terms::default() }).await;
    let record = talked(&rig, rig.order()).await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Success, 200), "{}\n{}", phone.log(), rig.log());
    assert_eq!(rig.metric("trunkline_sip_datagrams_sent_total").await, 0.0);
    assert!(rig.metric_of("trunkline_sip_stream_messages_sent_total", "tls").await >= 3.0);
    phone.end().await;
    rig.idle().await;
}

#[tokio::test]
async fn a_trunk_that_does_not_answer_pings_is_not_dialled_until_it_does() {
    let peer = "ping_s = 5\nping_down_after = 1".into();
    let rig = Rig::start(Setup { peer, ..Setup::default() }).await;
    let trunk = async || {
        let trunks = rig.control().list_trunks(ListTrunksRequest {}).await.expect("an answer");
        trunks.into_inner().trunks.remove(0)
    };
    soon("it is down", PATIENCE, async || !trunk().await.up).await;
    assert!(trunk().await.down_reason.contains("it could not be sent"), "{:?}", trunk().await);
    let refused = rig.control().dial(rig.order()).await.expect_err("it is down");
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    assert_eq!(rig.metric("trunkline_trunk_up").await, 0.0);
    assert_eq!(rig.metric_of("trunkline_calls_refused_total", "down").await, 1.0);

    let peer = UdpSocket::bind(("127.0.0.1", rig.ports.phone())).await.expect("a free port");
    let mut buffer = vec![0; 65_535];
    let (length, from) =
        tokio::time::timeout(PATIENCE, peer.recv_from(&mut buffer)).await.expect("in time").expect("read");
    let ping = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(ping.starts_with("OPTIONS sip:127.0.0.1 SIP/2.0\r\n"), "{ping}");
    let copied =
        ping.lines().filter(|l| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|n| l.starts_with(n)));
    let copied: String = copied.map(|l| format!("{l}\r\n")).collect();
    // Whoever refuses it is there all the same.
    let answer = format!("SIP/2.0 405 Method Not Allowed\r\n{copied}Content-Length: 0\r\n\r\n");
    peer.send_to(answer.as_bytes(), from).await.expect("it is sent");
    soon("it is up", PATIENCE, async || trunk().await.up).await;
    assert_eq!(rig.metric("trunkline_trunk_up").await, 1.0);
    rig.control().dial(rig.order()).await.expect("it is up");
    assert!(rig.log().contains("the trunk answers again"));
}

#[tokio::test]
async fn sighup_reads_the_certificates_again_and_ends_no_call() {
    let (rig, _, _) = secure(ANSWERED).await;
    let caller = rig.phone(Phone::new("uac_callee_hangs_up")).await;
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    crate::rig::signal("HUP", rig.pid()).await;
    // Ours, and what is shown to the trunk.
    soon("both are read", PATIENCE, async || rig.metric_of("trunkline_tls_reloads_total", "done").await == 2.0).await;
    assert_eq!(rig.metric("trunkline_calls").await, 1.0);
    rig.hang_up(&call_id).await;
    assert_eq!(rig.ended(&call_id).await.outcome(), Outcome::Success);
    caller.done().await;
}

#[tokio::test]
async fn who_comes_by_ipv6_is_answered_by_ipv6() {
    // A machine without IPv6 has nothing to test.
    let Ok(peer) = UdpSocket::bind("[::1]:0").await else { return };
    let peer_lines = "sources = [\"::1\"]".into();
    let rig = Rig::start(Setup { listen: &["127.0.0.1", "[::1]"], peer: peer_lines, ..Setup::default() }).await;
    let at = peer.local_addr().expect("it is bound");
    let options = format!(
        "OPTIONS sip:[::1] SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-6;rport\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:[::1]>\r\n\
         Call-ID: six\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    peer.send_to(options.as_bytes(), ("::1", rig.ports.sip())).await.expect("it is sent");
    let answer = crate::rig::received(&peer).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert!(line(&answer, "Contact: ").ends_with(&format!("@[::1]:{}>", rig.ports.sip())), "{answer}");
}
