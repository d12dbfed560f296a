//! Calls that come in, with SIPp as the caller.

use std::time::Duration;

use tonic::Code;
use trunkline::proto::control::v1::send_request::Command;
use trunkline::proto::control::v1::{AnswerRequest, CallRecord, DeclineRequest, Event, Outcome, SendRequest};
use trunkline::proto::dialogue::v1::{Direction, Hangup};

use crate::rig::{Happened, PATIENCE, Phone, Rig, Setup, ask, soon};

/// A profile with one route of each kind; none has services, but 300.
const ROUTES: &str = r#"
[[inbound]]
callee = "10*"
answer = "now"
dialogue = "none"
speech = "none"
[[inbound]]
callee = "200"
answer = { after_ms = 800 }
dialogue = "none"
speech = "none"
[[inbound]]
callee = "400"
answer = "wait"
dialogue = "none"
speech = "none"
[[inbound]]
callee = "500"
answer = { refuse = 404 }
"#;

async fn rig() -> Rig {
    Rig::start(Setup { trunk: ROUTES, ..Setup::default() }).await
}

/// One call of a scenario, and its record.
async fn called(phone: Phone) -> (CallRecord, Rig) {
    let rig = rig().await;
    let phone = rig.phone(phone).await;
    let (call_id, _) = rig.incoming(0).await;
    let record = rig.ended_within(Duration::from_secs(45), &call_id).await;
    phone.done().await;
    rig.idle().await;
    (record, rig)
}

#[tokio::test]
async fn a_caller_is_answered_heard_and_let_go() {
    let rig = rig().await;
    let phone = rig.phone(Phone::new("uac_plain_call")).await;
    let (call_id, incoming) = rig.incoming(0).await;
    assert_eq!((incoming.trunk.as_str(), incoming.caller.as_str(), incoming.callee.as_str()), ("lab", "200", "100"));
    assert!(!incoming.waiting);
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.sip_code, record.hung_up_by.as_str()), (Outcome::Success, 200, "caller"));
    assert_eq!(record.direction(), Direction::Inbound);
    assert!((2_900..5_000).contains(&record.talk_ms), "{record:?}");
    let quality = record.quality.expect("how the line was");
    assert!(quality.received > 140 && quality.lost == 0, "{quality:?}");
    phone.done().await;
    rig.idle().await;
    // Of 150.
    let missed = rig.slots_missed(quality.received).await;
    assert!(quality.sent + missed > 140, "{missed} missed, {quality:?}");
    assert_eq!(rig.metric_of("trunkline_calls_ended_total", "outcome=\"success\"").await, 1.0);
}

#[tokio::test]
async fn a_call_that_we_end_ends() {
    let rig = rig().await;
    let phone = rig.phone(Phone::new("uac_callee_hangs_up")).await;
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    let command = Some(Command::Hangup(Hangup { now: false, reason: "all said".into(), ..Default::default() }));
    let request = SendRequest { call_id: call_id.clone(), command, ..Default::default() };
    assert!(!rig.control().send(request).await.expect("done").into_inner().cancelled);
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "operator"));
    assert_eq!(record.end_reason, "all said");
    phone.done().await;
    rig.idle().await;
}

#[tokio::test]
async fn a_caller_who_gives_up_while_it_rings_is_told_so() {
    let (record, _) = called(Phone::new("uac_cancel_before_answer").callee("200")).await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Nooneheard, 487));
    assert_eq!((record.hung_up_by.as_str(), record.talk_ms), ("caller_ringing", 0));
    assert!((250..800).contains(&record.setup_ms), "{record:?}");
}

#[tokio::test]
async fn a_caller_who_gives_up_on_a_call_that_waits_ends_the_waiting() {
    let (record, rig) = called(Phone::new("uac_cancel_before_answer").callee("400")).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Nooneheard, "caller_ringing"));
    let status = rig.control().answer(AnswerRequest { call_id: record.call_id, ..Default::default() }).await;
    assert_eq!(status.expect_err("it is gone").code(), Code::NotFound);
}

#[tokio::test]
async fn a_cancel_that_comes_too_late_leaves_the_call_up() {
    let (record, _) = called(Phone::new("uac_cancel_after_answer")).await;
    assert_eq!((record.outcome(), record.sip_code, record.hung_up_by.as_str()), (Outcome::Success, 200, "caller"));
    assert!((400..2_500).contains(&record.talk_ms), "{record:?}");
}

#[tokio::test]
async fn a_number_without_a_route_is_unknown_and_one_that_is_refused_is_refused() {
    let rig = rig().await;
    for (n, callee) in ["999", "500"].into_iter().enumerate() {
        rig.phone(Phone::new("uac_unknown_number_404").callee(callee)).await.done().await;
        assert_eq!(rig.metric("trunkline_calls_refused_total").await, n as f64 + 1.0);
    }
    assert_eq!(rig.metric_of("trunkline_calls_refused_total", "no_route").await, 1.0);
    assert_eq!(rig.metric_of("trunkline_calls_refused_total", "\"route\"").await, 1.0);
    rig.idle().await;
}

#[tokio::test]
async fn an_answer_that_is_never_acknowledged_is_repeated_and_then_hung_up() {
    let rig = rig().await;
    let phone = rig.phone(Phone::new("uac_never_acks").timeout_s(50)).await;
    let (call_id, _) = rig.incoming(0).await;
    let record = rig.ended_within(Duration::from_secs(45), &call_id).await;
    assert_eq!((record.hung_up_by.as_str(), record.talk_ms), ("network", 0));
    assert_ne!(record.outcome(), Outcome::Success, "nobody was ever heard");
    let trace = phone.done().await;
    assert!(trace.received("SIP/2.0 200") >= 6, "{}", trace.received("SIP/2.0 200"));
    assert_eq!(trace.received("BYE"), 1);
    rig.idle().await;
}

#[tokio::test]
async fn an_invite_that_comes_twice_is_one_call() {
    let rig = rig().await;
    let phone = rig.phone(Phone::new("uac_invite_repeated").callee("200")).await;
    let (call_id, _) = rig.incoming(0).await;
    let record = rig.ended(&call_id).await;
    assert_eq!(record.outcome(), Outcome::Success);
    phone.done().await;
    rig.idle().await;
    assert_eq!(rig.metric("trunkline_calls_ended_total").await, 1.0);
}

#[tokio::test]
async fn a_caller_who_hangs_up_in_the_moment_of_the_answer_has_called() {
    let (record, _) = called(Phone::new("uac_bye_right_after_ack")).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "caller"));
    assert!(record.talk_ms < 1_500, "{record:?}");
}

#[tokio::test]
async fn a_caller_may_hang_up_without_having_acknowledged() {
    let (record, _) = called(Phone::new("uac_bye_without_ack")).await;
    assert_eq!((record.hung_up_by.as_str(), record.talk_ms), ("caller", 0));
}

#[tokio::test]
async fn a_route_may_ring_for_a_while_before_it_answers() {
    let (record, rig) = called(Phone::new("uac_plain_call").callee("200")).await;
    assert_eq!(record.outcome(), Outcome::Success);
    assert!((800..2_500).contains(&record.setup_ms), "{record:?}");
    assert!(record.rang_at.is_some());
    drop(rig);
}

#[tokio::test]
async fn a_call_that_waits_is_answered_by_command() {
    let rig = rig().await;
    let phone = rig.phone(Phone::new("uac_plain_call").callee("400")).await;
    let (call_id, incoming) = rig.incoming(0).await;
    assert!(incoming.waiting);
    let state = |state: &'static str| {
        let (rig, call_id) = (&rig, call_id.clone());
        async move {
            let request = trunkline::proto::control::v1::GetCallRequest { call_id };
            rig.control().get_call(request).await.expect("it is up").into_inner().call.expect("a call").state == state
        }
    };
    soon("it waits", Duration::from_secs(5), async || state("waiting").await).await;
    let unknown = AnswerRequest { call_id: call_id.clone(), dialogue: "nobody".into(), ..Default::default() };
    let status = rig.control().answer(unknown).await.expect_err("no such dialogue");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("dialogue"), "{status}");

    let answer = AnswerRequest { call_id: call_id.clone(), dialogue: "none".into(), ..Default::default() };
    rig.control().answer(answer.clone()).await.expect("it waited");
    let status = rig.control().answer(answer).await.expect_err("it is answered");
    assert_eq!(status.code(), Code::FailedPrecondition);
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "caller"));
    phone.done().await;
    rig.idle().await;
}

#[tokio::test]
async fn a_call_that_waits_is_declined_by_command() {
    let rig = rig().await;
    let declined = async {
        let (call_id, _) = rig.incoming(0).await;
        let decline = DeclineRequest { call_id: call_id.clone(), status: 480, reason: "Gone fishing".into() };
        soon("it is declined", PATIENCE, async || rig.control().decline(decline.clone()).await.is_ok()).await;
        rig.ended(&call_id).await
    };
    let ((answer, _), record) = tokio::join!(ask(&rig, "400"), declined);
    assert!(answer.starts_with("SIP/2.0 480 Gone fishing\r\n"), "{answer}");
    assert_eq!((record.sip_code, record.hung_up_by.as_str()), (480, "operator"));
    assert_eq!((record.end_reason.as_str(), record.talk_ms), ("declined", 0));
    rig.idle().await;
}

#[tokio::test]
async fn beyond_the_channels_callers_are_told_to_come_again() {
    let trunk = r#"
[limits]
channels = 1
[[inbound]]
dialogue = "none"
speech = "none"
"#;
    let rig = Rig::start(Setup { trunk, ..Setup::default() }).await;
    let first = rig.phone(Phone::new("uac_plain_call")).await;
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    let (answer, _) = ask(&rig, "100").await;
    assert!(answer.starts_with("SIP/2.0 503 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    first.done().await;
    rig.idle().await;
}

#[tokio::test]
async fn who_has_read_a_call_id_cannot_hang_up_from_elsewhere() {
    let rig = rig().await;
    let (answer, caller) = ask(&rig, "100").await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    let port = caller.local_addr().expect("it is bound").port();
    let to = answer.lines().find_map(|line| line.strip_prefix("To: ")).expect("a To");
    let bye = format!(
        "BYE sip:100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK-bye;rport\r\n\
         From: <sip:200@127.0.0.1>;tag=hand\r\nTo: {to}\r\nCall-ID: hand-{port}\r\nCSeq: 2 BYE\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    let stranger = tokio::net::UdpSocket::bind("127.0.0.9:0").await.expect("a socket");
    stranger.send_to(bye.as_bytes(), ("127.0.0.1", rig.ports.sip())).await.expect("it is sent");
    soon("it is counted", PATIENCE, async || {
        rig.metric_of("trunkline_sip_datagrams_dropped_total", "source").await == 1.0
    })
    .await;
    caller.send_to(bye.as_bytes(), ("127.0.0.1", rig.ports.sip())).await.expect("it is sent");
    assert!(crate::rig::received(&caller).await.starts_with("SIP/2.0 200 "));
    assert_eq!(rig.ended(&call_id).await.hung_up_by, "caller");
    let mut buffer = [0; 1];
    assert!(stranger.try_recv(&mut buffer).is_err(), "the stranger has an answer");
    rig.idle().await;
}

#[tokio::test]
async fn the_events_of_a_call_come_in_order_and_without_gaps() {
    let rig = rig().await;
    rig.phone(Phone::new("uac_bye_right_after_ack").calls(5, 10, 5)).await.done().await;
    rig.idle().await;
    let mut events = rig.watch("").await;
    let mut seen: Vec<Event> = Vec::new();
    while seen.iter().filter(|event| matches!(event.event, Some(Happened::Ended(_)))).count() < 5 {
        let event = tokio::time::timeout(PATIENCE, events.message()).await.expect("in time");
        seen.push(event.expect("no error").expect("an event"));
    }
    let numbers: Vec<_> = seen.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, (1..=seen.len() as u64).collect::<Vec<_>>());
    let first = seen[0].call_id.clone();
    let of_first: Vec<_> = seen.iter().filter(|event| event.call_id == first).map(|event| &event.event).collect();
    assert!(matches!(of_first.first(), Some(Some(Happened::Incoming(_)))), "{of_first:?}");
    assert!(matches!(of_first.last(), Some(Some(Happened::Ended(_)))), "{of_first:?}");
}
