//! Nonsense from the network and from the orchestrator: refused or dropped, counted, and no call minds.

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tonic::{Code, Status};
use trunkline::proto::control::v1::send_request::{Command, SendKeys};
use trunkline::proto::control::v1::*;
use trunkline::proto::dialogue::v1::{Collect, Header, Knobs, Say, Segment, Text};

use crate::rig::{ANSWERED, Happened, PATIENCE, Peer, Phone, Rig, Setup, say, soon};

/// A call is up while something is done to us, and does not mind: its audio comes and goes, and it ends as it should.
async fn meanwhile(rig: &Rig, does: impl AsyncFnOnce(&str)) -> CallRecord {
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    does(&call_id).await;
    let prompt = Some(Command::Say(say("still here", &["human-hello.wav"])));
    let request = SendRequest { call_id: call_id.clone(), command: prompt, ..Default::default() };
    rig.control().send(request).await.expect("it is up");
    let finished = |event: &Event| match &event.event {
        Some(Happened::PromptFinished(done)) => Some(done.fault.clone()),
        _ => None,
    };
    assert_eq!(rig.find(&call_id, finished).await, "");
    let command = Some(Command::Hangup(Default::default()));
    let request = SendRequest { call_id: call_id.clone(), command, ..Default::default() };
    rig.control().send(request).await.expect("it is up");
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.end_reason.as_str()), (Outcome::Success, ""), "{record:?}");
    phone.done().await;
    rig.idle().await;
    record
}

fn invite(at: SocketAddr) -> Vec<u8> {
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9000 RTP/AVP 8\r\n";
    let length = sdp.len();
    format!(
        "INVITE sip:100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-bad\r\nFrom: <sip:200@127.0.0.1>;tag=1\r\n\
         To: <sip:100@127.0.0.1>\r\nCall-ID: bad\r\nCSeq: 1 INVITE\r\nContact: <sip:200@{at}>\r\nMax-Forwards: 70\r\n\
         Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}"
    )
    .into_bytes()
}

#[tokio::test]
async fn random_bytes_on_the_sip_port_are_dropped_and_counted() {
    let rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    meanwhile(&rig, async |_| {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let mut rng = StdRng::seed_from_u64(2);
        for n in 0..2_000 {
            let mut bytes = vec![0_u8; rng.random_range(1..1_500)];
            rng.fill(&mut bytes[..]);
            // Some begin like something.
            let heads: [&[u8]; 4] = [b"", b"INVITE sip:", b"SIP/2.0 200 OK\r\n", b"BYE sip:a SIP/2.0\r\nVia: "];
            let bytes = [heads[n % 4], &bytes].concat();
            socket.send_to(&bytes, ("127.0.0.1", rig.ports.sip())).await.expect("it is sent");
            if n % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        soon("they are counted", Duration::from_secs(10), async || {
            rig.metric("trunkline_sip_datagrams_dropped_total").await >= 1_990.0
        })
        .await;
    })
    .await;
    assert_eq!(rig.metric("trunkline_calls_ended_total").await, 1.0);
}

#[tokio::test]
async fn sip_that_is_cut_off_or_too_large_begins_no_call() {
    let rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    meanwhile(&rig, async |_| {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let at = socket.local_addr().expect("it is bound");
        let whole = invite(at);
        let body = whole.windows(4).position(|window| window == b"\r\n\r\n").expect("a body") + 4;
        let to = ("127.0.0.1", rig.ports.sip());
        // Every cut of it: within the headers it is no message, within the body it lacks what Content-Length says.
        for length in 1..whole.len() {
            socket.send_to(&whole[..length], to).await.expect("it is sent");
            if length % 50 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        // Nearly as large as UDP goes, with more headers than anybody needs.
        let many = "X-Many: y\r\n".repeat(5_000);
        let large = [&whole[..body - 2], many.as_bytes(), b"\r\n", &whole[body..]].concat();
        socket.send_to(&large, to).await.expect("it is sent");
        // Answers to some of it may come; none of them is a 2xx or a ringing.
        let mut buffer = vec![0; 65_535];
        let mut codes = Vec::new();
        while let Ok(Ok(length)) = tokio::time::timeout(Duration::from_millis(500), socket.recv(&mut buffer)).await {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            codes.push(text.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()).expect("a response"));
        }
        assert!(codes.iter().all(|code| (400..700).contains(code)), "{codes:?}");
        assert!(rig.metric_of("trunkline_sip_datagrams_dropped_total", "malformed").await > 100.0);
    })
    .await;
    assert_eq!(rig.metric("trunkline_calls_ended_total").await, 1.0);
}

/// RFC 4475 §3.1.2.1, §3.3.1 and §3.3.11, over the wire.
#[tokio::test]
async fn a_trunk_is_told_what_is_wrong_and_a_stranger_nothing() {
    let rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    let (peer, stranger) = (Peer::bind(&rig, "127.0.0.1", 0).await, Peer::bind(&rig, "127.0.0.9", 0).await);
    let sent = |peer: &Peer, name: &str, via: &str| {
        let file = format!("{}/tests/rfc4475/{name}.dat", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(file).expect("a torture message");
        let at = peer.socket.local_addr().expect("it is bound");
        text.replace(via, &format!("Via: SIP/2.0/UDP {at}"))
    };
    for (name, via, expected) in [
        ("TC_BADINV01_I", "Via: SIP/2.0/UDP 192.0.2.15", "400 Malformed Via"),
        ("TC_INSUF_I", "Via: SIP/2.0/UDP 192.0.2.95", "400 Missing From"),
        ("TC_ZEROMF_V", "Via: SIP/2.0/UDP host1.example.com", "200 OK"),
    ] {
        stranger.send(sent(&stranger, name, via).as_bytes()).await;
        peer.send(sent(&peer, name, via).as_bytes()).await;
        let response = peer.response().await;
        assert_eq!(format!("{} {}", response.code(), response.reason()), expected, "{name}");
    }
    soon("the stranger is counted", PATIENCE, async || {
        // What has no Call-ID is malformed, whoever sent it.
        rig.metric_of("trunkline_sip_datagrams_dropped_total", "source").await == 2.0
            && rig.metric_of("trunkline_sip_datagrams_dropped_total", "malformed").await == 2.0
    })
    .await;
    assert!(stranger.socket.try_recv(&mut [0; 1]).is_err(), "the stranger has an answer");
}

#[tokio::test]
async fn random_bytes_on_the_rtp_port_are_not_heard() {
    let rig = Rig::start(Setup { record: true, ..Setup::default() }).await;
    let record = meanwhile(&rig, async |_| {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let mut rng = StdRng::seed_from_u64(3);
        for n in 0..400 {
            let mut bytes = vec![0_u8; rng.random_range(0..1_500)];
            rng.fill(&mut bytes[..]);
            if n % 2 == 0 && bytes.len() > 2 {
                // Well-formed in its head: version 2, A-law, from an SSRC of its own each time.
                (bytes[0], bytes[1]) = (0x80, 8);
            }
            for port in rig.ports.media().take(4) {
                socket.send_to(&bytes, ("127.0.0.1", port)).await.expect("it is sent");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // The media threads tell their sums once a second.
        soon("they are counted", Duration::from_secs(10), async || {
            rig.metric("trunkline_media_dropped_total").await >= 100.0
        })
        .await;
    })
    .await;
    let quality = record.quality.expect("how the line was");
    // Five seconds at most of the phone's own: a stranger's packets do not count as the caller's.
    assert!(quality.received > 40 && quality.lost < 20 && quality.received < 400, "{quality:?}");
}

#[tokio::test]
async fn strangers_on_the_control_and_web_ports_are_hung_up_on() {
    let rig = Rig::start(Setup::default()).await;
    meanwhile(&rig, async |_| {
        let mut rng = StdRng::seed_from_u64(4);
        for port in [rig.ports.control(), rig.ports.web()] {
            for _ in 0..20 {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
                let mut bytes = vec![0_u8; 5_000];
                rng.fill(&mut bytes[..]);
                // It may have been hung up on before the last byte.
                let _ = stream.write_all(&bytes).await;
            }
        }
    })
    .await;
    assert!(rig.http("/healthz").await.contains(" 200 OK"));
}

/// The refusal's code, and that its message begins with the field.
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, field: &str) {
    let status = answer.expect_err(field);
    assert_eq!(status.code(), code, "{field}: {status}");
    assert!(status.message().starts_with(field), "{field}: {status}");
}

#[tokio::test]
async fn wrong_arguments_of_dial_are_refused_with_the_field_named() {
    let rig = Rig::start(Setup::default()).await;
    let second = |seconds: i64| prost_types::Duration { seconds, nanos: 0 };
    let header = |name: &str, value: &str| vec![Header { name: name.into(), value: value.into() }];
    let name = |name: &str| Some(dial_request::Recording { enabled: Some(true), name: name.into() });
    let good = rig.order();
    let invalid: Vec<(DialRequest, &str)> = vec![
        (DialRequest { request_id: String::new(), ..good.clone() }, "request_id"),
        (DialRequest { request_id: "x".repeat(4_097), ..good.clone() }, "request_id"),
        (DialRequest { callee: String::new(), ..good.clone() }, "callee"),
        (DialRequest { callee: "1\r\nX: y".into(), ..good.clone() }, "callee"),
        (DialRequest { callee: "sip:".into(), ..good.clone() }, "callee"),
        (DialRequest { callee: "sips:1@example.com".into(), ..good.clone() }, "callee"),
        (DialRequest { callee: "tel:+49301".into(), ..good.clone() }, "callee"),
        (DialRequest { caller: "a b".into(), ..good.clone() }, "caller"),
        (DialRequest { caller_name: "a\nb".into(), ..good.clone() }, "caller_name"),
        (DialRequest { trunk: "nowhere".into(), ..good.clone() }, "trunk"),
        (DialRequest { ring_timeout: Some(second(0)), ..good.clone() }, "ring_timeout"),
        (DialRequest { ring_timeout: Some(second(301)), ..good.clone() }, "ring_timeout"),
        (DialRequest { ring_timeout: Some(second(-5)), ..good.clone() }, "ring_timeout"),
        (DialRequest { recording: name("../../etc/passwd"), ..good.clone() }, "recording.name"),
        (DialRequest { recording: name(".hidden"), ..good.clone() }, "recording.name"),
        (DialRequest { headers: header("Via", "x"), ..good.clone() }, "headers"),
        (DialRequest { headers: header("X-A", "a\r\nb"), ..good.clone() }, "headers"),
        (DialRequest { headers: header("X A", "a"), ..good.clone() }, "headers"),
        (DialRequest { user_to_user: "a\nb".into(), ..good.clone() }, "user_to_user"),
        (
            DialRequest { variables: (0..65).map(|n| (n.to_string(), String::new())).collect(), ..good.clone() },
            "variables",
        ),
        (DialRequest { dialogue: "nobody".into(), ..good.clone() }, "dialogue"),
        (DialRequest { speech: "nobody".into(), ..good.clone() }, "speech"),
        (DialRequest { correlation: "x".repeat(4_097), ..good.clone() }, "correlation"),
    ];
    for (order, field) in invalid {
        refused(rig.control().dial(order).await, Code::InvalidArgument, field);
    }
    let knobs = Knobs { on_barge_in: 7, ..Default::default() };
    let unknown = DialRequest { knobs: Some(knobs), ..good.clone() };
    refused(rig.control().dial(unknown).await, Code::InvalidArgument, "knobs.on_barge_in");
    let early = DialRequest { early_media_asr: Some(true), ..good.clone() };
    refused(rig.control().dial(early).await, Code::InvalidArgument, "early_media_asr");
    let rules = trunkline::proto::control::v1::dial_request::AnsweringMachineRules {
        greeting_ms: Some(9_000),
        ..Default::default()
    };
    let unreachable = DialRequest { answering_machine_rules: Some(rules), ..good.clone() };
    refused(rig.control().dial(unreachable).await, Code::InvalidArgument, "answering_machine_rules");
    let past = prost_types::Timestamp { seconds: 1_000_000_000, nanos: 0 };
    let late = DialRequest { not_after: Some(past), ..good.clone() };
    refused(rig.control().dial(late).await, Code::FailedPrecondition, "not_after");

    // As a stream: each is answered by itself.
    let orders = vec![DialRequest { callee: String::new(), request_id: "a".into(), ..good.clone() }, good];
    let mut answers = rig.control().dial_many(tokio_stream::iter(orders)).await.expect("a stream").into_inner();
    let mut told = Vec::new();
    while let Some(answer) = answers.message().await.expect("no error") {
        told.push((answer.request_id, answer.code, answer.call_id.is_empty()));
    }
    told.sort();
    assert_eq!(told[0], ("a".into(), Code::InvalidArgument as i32, true));
    assert_eq!((told[1].1, told[1].2), (0, false));
    // Nobody is at the other end, and the network says so.
    soon("only the good one was dialled", Duration::from_secs(5), async || {
        rig.metric("trunkline_calls_ended_total").await == 1.0 && rig.metric("trunkline_calls").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn wrong_arguments_of_the_rest_are_refused_with_the_field_named() {
    let rig = Rig::start(Setup::default()).await;
    meanwhile(&rig, async |call_id| {
        let send = |command: Option<Command>| SendRequest { call_id: call_id.into(), command, ..Default::default() };
        let text = |text: String, speed: f32| {
            let text = Text { text, speed: Some(speed), ..Default::default() };
            let segment = Segment {
                segment: Some(trunkline::proto::dialogue::v1::segment::Segment::Text(text)),
                ..Default::default()
            };
            Some(Command::Say(Say { segments: vec![segment], ..Default::default() }))
        };
        let control = || rig.control();
        for (request, code, field) in [
            (send(None), Code::InvalidArgument, "command"),
            (send(Some(Command::Say(Say::default()))), Code::InvalidArgument, "say.segments"),
            (send(Some(Command::Say(say("x", &["../Cargo.toml.wav"])))), Code::InvalidArgument, "say.segments[0].file"),
            (send(text(String::new(), 1.0)), Code::InvalidArgument, "say.segments[0].text"),
            (send(text("x".repeat(20_000), 1.0)), Code::InvalidArgument, "say.segments[0].text"),
            (send(text("x".into(), f32::NAN)), Code::InvalidArgument, "say.segments[0].text.speed"),
            (send(Some(Command::SendKeys(SendKeys { keys: "12x".into() }))), Code::InvalidArgument, "send_keys.keys"),
            (
                send(Some(Command::Collect(Collect { attempts: 11, ..Default::default() }))),
                Code::InvalidArgument,
                "collect.attempts",
            ),
            (SendRequest { call_id: String::new(), ..send(None) }, Code::InvalidArgument, "call_id"),
        ] {
            refused(control().send(request).await, code, field);
        }
        let unknown = SendRequest { call_id: "nobody".into(), ..send(Some(Command::Stop(Default::default()))) };
        refused(control().send(unknown).await, Code::NotFound, "call nobody");
        let get = GetCallRequest { call_id: "nobody".into() };
        refused(control().get_call(get).await, Code::NotFound, "call nobody");
        let answer = AnswerRequest { call_id: call_id.into(), ..Default::default() };
        refused(control().answer(answer).await, Code::FailedPrecondition, "call");
        let decline = DeclineRequest { call_id: call_id.into(), status: 200, ..Default::default() };
        refused(control().decline(decline).await, Code::InvalidArgument, "status");
        let watch = WatchRequest { after_sequence: 5, from_oldest: true, ..Default::default() };
        refused(control().watch(watch).await.map(|_| ()), Code::InvalidArgument, "from_oldest");
        refused(control().listen(ListenRequest::default()).await.map(|_| ()), Code::InvalidArgument, "call_id");
        let listen = ListenRequest { call_id: "nobody".into(), ..Default::default() };
        refused(control().listen(listen).await.map(|_| ()), Code::NotFound, "call nobody");
        refused(control().reload(ReloadRequest {}).await, Code::Unimplemented, "Reload");
    })
    .await;
}
