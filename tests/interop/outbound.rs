//! Calls that are dialled, with SIPp as the phone.

use std::time::Duration;

use tonic::Code;
use trunkline::proto::control::v1::send_request::Command;
use trunkline::proto::control::v1::{CallRecord, DialRequest, Outcome, SendRequest};
use trunkline::proto::dialogue::v1::Hangup;
use trunkline::proto::dialogue::v1::line_event::Event;

use crate::rig::{Brain, Engine, Happened, Hearing, Phone, Rig, Setup, Speaking, Trace};

const AUTH: &str = "[auth]\nuser = \"robot\"\npassword = \"secret\"";

/// Dials a phone and hangs up after a second, if it answers and does not do so itself.
async fn dialled(rig: &Rig, phone: Phone, order: DialRequest) -> (CallRecord, Trace) {
    let phone = rig.phone(phone).await;
    let call_id = rig.dial(order).await;
    let talk = async {
        rig.answered(&call_id).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        hang_up(rig, &call_id).await;
        std::future::pending().await
    };
    let record = tokio::select! {
        record = rig.ended(&call_id) => record,
        () = talk => unreachable!("the record ends it"),
    };
    let trace = phone.done().await;
    rig.idle().await;
    (record, trace)
}

async fn hang_up(rig: &Rig, call_id: &str) {
    let command = Some(Command::Hangup(Hangup { now: true, reason: "enough".into(), ..Default::default() }));
    let request = SendRequest { call_id: call_id.into(), command, ..Default::default() };
    let sent = rig.control().send(request).await;
    // The phone may have hung up in this moment.
    if let Err(status) = sent {
        assert!(matches!(status.code(), Code::NotFound | Code::FailedPrecondition), "{status}");
    }
}

async fn refused_by(scenario: &'static str) -> CallRecord {
    let rig = Rig::start(Setup::default()).await;
    let (record, trace) = dialled(&rig, Phone::new(scenario), rig.order()).await;
    assert_eq!((trace.received("INVITE"), trace.received("ACK")), (1, 1));
    assert_eq!((record.talk_ms, record.answered_at), (0, None));
    assert_eq!(record.hung_up_by, "caller_ringing");
    record
}

#[tokio::test]
async fn a_phone_that_rings_and_answers_is_heard_until_we_hang_up() {
    let rig = Rig::start(Setup::default()).await;
    let (record, trace) = dialled(&rig, Phone::new("uas_answers_after_180"), rig.order()).await;
    assert_eq!((record.outcome(), record.sip_code, record.sip_reason.as_str()), (Outcome::Success, 200, "OK"));
    assert_eq!((record.hung_up_by.as_str(), record.end_reason.as_str()), ("operator", "enough"));
    assert!((1_000..3_000).contains(&record.setup_ms), "{record:?}");
    assert!((1_000..3_000).contains(&record.talk_ms), "{record:?}");
    assert!(
        record.rang_at.is_some()
            && record.rang_at.as_ref().map(|at| at.seconds) >= record.started_at.map(|at| at.seconds)
    );
    let quality = record.quality.expect("how the line was");
    // Of 50 or more.
    let missed = rig.slots_missed(quality.received).await;
    assert!(quality.received > 30 && quality.sent + missed > 45 && quality.lost == 0, "{missed} missed, {quality:?}");
    assert_eq!((trace.received("INVITE"), trace.received("ACK"), trace.received("BYE")), (1, 1, 1));
}

#[tokio::test]
async fn what_is_said_before_the_answer_is_early_media() {
    let rig = Rig::start(Setup::default()).await;
    let phone = rig.phone(Phone::new("uas_early_media_183")).await;
    let call_id = rig.dial(rig.order()).await;
    let ringing = |event: &trunkline::proto::control::v1::Event| match &event.event {
        Some(Happened::Ringing(ringing)) => Some((ringing.sip_code, ringing.early_media)),
        _ => None,
    };
    assert_eq!(rig.find(&call_id, ringing).await, (183, true));
    rig.answered(&call_id).await;
    hang_up(&rig, &call_id).await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Success, 200));
    assert!((2_000..4_500).contains(&record.setup_ms), "{record:?}");
    phone.done().await;
    rig.idle().await;
}

#[tokio::test]
async fn what_is_said_before_the_answer_is_recognised_when_that_is_asked_for() {
    let engine = Engine::serve(Hearing::Labels, Speaking::Tone).await;
    let mut brain = Brain::serve().await;
    let setup = Setup {
        speech: engine.endpoint(),
        dialogue: brain.endpoint(),
        knobs: "barge_in = \"never\"\nmax_utterance_ms = 1000",
        trunk: "[media]\nearly_media_asr = true",
        record: true,
        ..Setup::default()
    };
    let rig = Rig::start(setup).await;
    let order = || DialRequest { dialogue: "brain".into(), speech: "local".into(), ..rig.order() };
    // By the profile: the phone speaks 2 s before the answer and after it.
    let phone = rig.phone(Phone::new("uas_early_media_183")).await;
    let call_id = rig.dial(order()).await;
    let mut line = brain.stream().await;
    let first = line.next().await.expect("an event").event;
    assert!(matches!(&first, Some(Event::Early(begin)) if begin.answered_at.is_none()), "{first:?}");
    let said = |early: bool| {
        move |event: &Event| match event {
            Event::Utterance(said) if said.early_media == early => Some((said.text.clone(), said.start_ms)),
            _ => None,
        }
    };
    assert_eq!(line.find(said(true)).await.0, "AUDIO_LABEL_EARLY_MEDIA");
    line.find(|event| matches!(event, Event::Begin(begin) if begin.answered_at.is_some()).then_some(())).await;
    let (text, start) = line.find(said(false)).await;
    assert_eq!(text, "AUDIO_LABEL_OPEN");
    assert!(start < 1_500, "timed from the answer: {start}");
    hang_up(&rig, &call_id).await;
    let record = rig.ended(&call_id).await;
    assert_eq!(record.early_text[0].text, "AUDIO_LABEL_EARLY_MEDIA");
    let seconds = |at: Option<prost_types::Timestamp>| at.map(|at| (at.seconds, at.nanos)).expect("it was");
    assert!(seconds(record.early_media_at) < seconds(record.answered_at), "{record:?}");
    assert!(record.turns.iter().all(|turn| turn.text == "AUDIO_LABEL_OPEN"), "{record:?}");
    // The recording begins at the answer.
    let length = hound::WavReader::open(rig.folder().join(&record.wav)).expect("a recording").duration() / 8;
    assert!(length.abs_diff(record.talk_ms) < 400, "{length} of {}", record.talk_ms);
    phone.done().await;

    // By the order, of a call that is refused: what was announced is in the record, though its text comes after the refusal.
    let phone = rig.phone(Phone::new("uas_announces_404")).await;
    let call_id = rig.dial(DialRequest { early_media_asr: Some(true), ..order() }).await;
    let mut line = brain.stream().await;
    line.find(|event| matches!(event, Event::End(_)).then_some(())).await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.sip_code, record.answered_at), (Outcome::Notexist, 404, None));
    assert!(!record.early_text.is_empty() && record.turns.is_empty() && record.wav.is_empty(), "{record:?}");
    phone.done().await;

    // And not, when the order says so.
    let phone = rig.phone(Phone::new("uas_announces_404")).await;
    let call_id = rig.dial(DialRequest { early_media_asr: Some(false), ..order() }).await;
    let record = rig.ended(&call_id).await;
    assert!(record.early_text.is_empty() && record.early_media_at.is_none(), "{record:?}");
    phone.done().await;
    rig.idle().await;
}

#[tokio::test]
async fn a_phone_that_hangs_up_ends_the_call() {
    let rig = Rig::start(Setup::default()).await;
    let (record, trace) = dialled(&rig, Phone::new("uas_hangs_up_after_a_while").pause_ms(600), rig.order()).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "caller"));
    assert!((500..2_500).contains(&record.talk_ms), "{record:?}");
    assert_eq!((trace.received("ACK"), trace.received("BYE"), trace.received("SIP/2.0 200")), (1, 0, 1));
}

#[tokio::test]
async fn a_phone_that_hangs_up_in_the_moment_of_the_answer_has_answered() {
    let rig = Rig::start(Setup::default()).await;
    let (record, _) = dialled(&rig, Phone::new("uas_bye_right_after_answer"), rig.order()).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "caller"));
    assert!(record.talk_ms < 1_500, "{record:?}");
}

#[tokio::test]
async fn a_busy_line_is_busy() {
    let record = refused_by("uas_busy_486").await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Linebusy, 486));
}

#[tokio::test]
async fn a_number_that_does_not_exist_does_not_exist() {
    let record = refused_by("uas_unknown_number_404").await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Notexist, 404));
}

#[tokio::test]
async fn who_declines_is_busy_for_us() {
    let record = refused_by("uas_declines_603").await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Linebusy, 603));
    assert!(record.rang_at.is_some());
}

#[tokio::test]
async fn a_phone_that_is_off_cannot_be_connected() {
    let record = refused_by("uas_unavailable_480").await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Cantbeconnected, 480));
}

#[tokio::test]
async fn a_trunk_without_a_channel_cannot_connect() {
    let record = refused_by("uas_has_no_channel_503").await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Cantbeconnected, 503));
}

#[tokio::test]
async fn a_phone_that_nobody_answers_is_cancelled_after_the_ring_timeout() {
    let rig = Rig::start(Setup::default()).await;
    let order = DialRequest { ring_timeout: Some(Duration::from_secs(1).try_into().expect("short")), ..rig.order() };
    let (record, trace) = dialled(&rig, Phone::new("uas_never_answers_cancelled"), order).await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Nooneheard, 487));
    assert_eq!(record.end_reason, "nobody answered in ring_timeout");
    assert!((1_000..3_000).contains(&record.setup_ms), "{record:?}");
    assert_eq!((trace.received("CANCEL"), trace.received("ACK"), trace.received("BYE")), (1, 1, 0));
}

#[tokio::test]
async fn a_hang_up_before_the_answer_cancels() {
    let rig = Rig::start(Setup::default()).await;
    let phone = rig.phone(Phone::new("uas_never_answers_cancelled")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.ringing(&call_id).await;
    let command =
        Some(Command::Hangup(Hangup { now: false, reason: "thought better of it".into(), ..Default::default() }));
    let request = SendRequest { call_id: call_id.clone(), command, ..Default::default() };
    assert!(rig.control().send(request).await.expect("done").into_inner().cancelled);
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Cancelled, 487));
    assert_eq!((record.hung_up_by.as_str(), record.end_reason.as_str()), ("operator", "thought better of it"));
    assert_eq!(phone.done().await.received("CANCEL"), 1);
    rig.idle().await;
}

#[tokio::test]
async fn an_answer_that_crosses_our_cancel_is_acknowledged_and_hung_up() {
    let rig = Rig::start(Setup::default()).await;
    let order = DialRequest { ring_timeout: Some(Duration::from_secs(1).try_into().expect("short")), ..rig.order() };
    let (record, trace) = dialled(&rig, Phone::new("uas_answer_races_cancel"), order).await;
    assert_eq!(record.outcome(), Outcome::Nooneheard);
    assert_eq!(record.talk_ms, 0);
    assert_eq!((trace.received("CANCEL"), trace.received("ACK"), trace.received("BYE")), (1, 1, 1));
}

#[tokio::test]
async fn a_trunk_that_never_responds_is_given_up_after_32_seconds_without_a_cancel() {
    let rig = Rig::start(Setup::default()).await;
    let phone = rig.phone(Phone::new("uas_never_responds").timeout_s(45)).await;
    let order = DialRequest { ring_timeout: Some(Duration::from_secs(5).try_into().expect("short")), ..rig.order() };
    let call_id = rig.dial(order).await;
    let record = rig.ended_within(Duration::from_secs(40), &call_id).await;
    assert_eq!(record.outcome(), Outcome::Cantbeconnected);
    assert!((31_000..34_000).contains(&record.setup_ms), "{record:?}");
    let trace = phone.done().await;
    assert_eq!((trace.received("INVITE"), trace.received("CANCEL")), (7, 0));
    rig.idle().await;
}

#[tokio::test]
async fn a_trunk_where_nobody_listens_is_given_up() {
    let rig = Rig::start(Setup::default()).await;
    let call_id = rig.dial(rig.order()).await;
    let record = rig.ended_within(Duration::from_secs(40), &call_id).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Cantbeconnected, "network"));
    rig.idle().await;
}

#[tokio::test]
async fn a_trunk_that_wants_a_password_is_given_it() {
    for (scenario, header) in
        [("uas_challenges_401", "\r\nAuthorization: "), ("uas_challenges_407", "\r\nProxy-Authorization: ")]
    {
        let rig = Rig::start(Setup { trunk: AUTH, ..Setup::default() }).await;
        let (record, trace) = dialled(&rig, Phone::new(scenario), rig.order()).await;
        assert_eq!((record.outcome(), record.sip_code), (Outcome::Success, 200), "{scenario}");
        let invites: Vec<_> = trace.all_received().into_iter().filter(|text| text.starts_with("INVITE")).collect();
        let given: Vec<_> = invites.iter().map(|invite| invite.contains(header)).collect();
        assert_eq!(given, [false, true], "{scenario}");
        assert_eq!((trace.received("ACK"), trace.received("BYE")), (2, 1), "{scenario}");
    }
}

#[tokio::test]
async fn what_the_order_says_stands_in_the_invite() {
    let rig = Rig::start(Setup::default()).await;
    let order = DialRequest {
        callee: "+49 30 1".replace(' ', ""),
        caller: "4989777".into(),
        caller_name: "Grüße \"von\" hier".into(),
        user_to_user: "73657373;encoding=hex".into(),
        headers: vec![trunkline::proto::dialogue::v1::Header { name: "X-Task".into(), value: "a, b".into() }],
        correlation: "order 17".into(),
        ..rig.order()
    };
    let (record, trace) = dialled(&rig, Phone::new("uas_busy_486"), order).await;
    let invite = trace.all_received()[0];
    assert!(invite.starts_with("INVITE sip:+49301@127.0.0.1 SIP/2.0\r\n"), "{invite}");
    assert!(invite.contains("<sip:4989777@127.0.0.1>;tag="), "{invite}");
    assert!(invite.contains(r#"From: "Grüße \"von\" hier" <"#), "{invite}");
    assert!(invite.contains("\r\nUser-to-User: 73657373;encoding=hex\r\n"), "{invite}");
    assert!(invite.contains("\r\nX-Task: a, b\r\n"), "{invite}");
    assert_eq!((record.caller.as_str(), record.callee.as_str()), ("4989777", "+49301"));
    assert_eq!((record.correlation.as_str(), record.trunk.as_str()), ("order 17", "lab"));
}

#[tokio::test]
async fn an_order_that_comes_twice_is_one_call() {
    let rig = Rig::start(Setup::default()).await;
    let phone = rig.phone(Phone::new("uas_busy_486")).await;
    let order = rig.order();
    let (first, second) = tokio::join!(rig.dial(order.clone()), rig.dial(order.clone()));
    assert_eq!(first, second);
    let record = rig.ended(&first).await;
    assert_eq!((record.request_id, record.sip_code), (order.request_id.clone(), 486));
    // Also when it is over.
    assert_eq!(rig.dial(order).await, first);
    assert_eq!(phone.done().await.received("INVITE"), 1);
}

#[tokio::test]
async fn orders_beyond_the_limits_are_refused_with_the_limit_named() {
    let rig = Rig::start(Setup { trunk: "[limits]\nchannels = 1", ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    let status = rig.control().dial(rig.order()).await.expect_err("one channel only");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("channels = 1") && status.message().contains("lab"), "{status}");
    assert_eq!(rig.metric_of("trunkline_calls_refused_total", "channels").await, 1.0);

    let trunks = rig.control().list_trunks(trunkline::proto::control::v1::ListTrunksRequest {}).await;
    let trunk = trunks.expect("an answer").into_inner().trunks.remove(0);
    assert_eq!((trunk.name.as_str(), trunk.channels_used, trunk.channels_max), ("lab", 1, 1));
    assert_eq!(trunk.registration, "none");

    rig.answered(&call_id).await;
    let call = rig.control().get_call(trunkline::proto::control::v1::GetCallRequest { call_id: call_id.clone() }).await;
    let call = call.expect("it is up").into_inner().call.expect("a call");
    assert_eq!((call.state.as_str(), call.callee.as_str(), call.trunk.as_str()), ("talking", "100", "lab"));

    let drained = rig.control().drain(trunkline::proto::control::v1::DrainRequest {}).await;
    assert_eq!(drained.expect("done").into_inner().calls, 1);
    let status = rig.control().dial(rig.order()).await.expect_err("draining");
    assert_eq!(status.code(), Code::Unavailable);
    hang_up(&rig, &call_id).await;
    phone.done().await;
    rig.idle().await;
}

/// What comes of the call comes from there, though the trunk's `sources` do not have it.
#[tokio::test]
async fn a_call_that_is_redirected_goes_where_it_is_sent_and_ends_by_a_bye_from_there() {
    let rig = Rig::start(Setup::default()).await;
    let away = rig.phone(Phone::new("uas_redirects_302")).await;
    let there = rig.phone(Phone::new("uas_hangs_up_after_a_while").at("127.0.0.2")).await;
    let record = rig.call().await;
    assert_eq!((record.outcome(), record.sip_code, record.hung_up_by.as_str()), (Outcome::Success, 200, "caller"));
    away.done().await;
    let trace = there.done().await;
    assert_eq!((trace.received("INVITE sip:there@127.0.0.2:"), trace.received("ACK sip:sipp@127.0.0.2:")), (1, 1));
    rig.idle().await;
}
