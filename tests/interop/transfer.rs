//! Handing over by REFER, User-to-User, and headers on every message, with SIPp as exchange and baresip as a phone that follows a REFER.

use std::time::Duration;

use tonic::Code;
use trunkline::command::demo::phone as baresip;
use trunkline::proto::control::v1::event::transfer::Stage;
use trunkline::proto::control::v1::send_request::Command;
use trunkline::proto::control::v1::{AnswerRequest, CallRecord, DialRequest, GetCallRequest};
use trunkline::proto::dialogue::v1::action::Action as Act;
use trunkline::proto::dialogue::v1::line_event::Event;
use trunkline::proto::dialogue::v1::{Hangup, Header, Refer, UserToUser};

use crate::rig::{Brain, Happened, Phone, Rig, Setup, Trace, ask_with, say};

/// Calls that come in are answered at once, 400 by the orchestrator; nobody listens to them.
const ROUTES: &str = r#"
[[inbound]]
callee = "10*"
dialogue = "none"
speech = "none"
[[inbound]]
callee = "400"
answer = "wait"
dialogue = "none"
speech = "none"
"#;

fn refer() -> Refer {
    Refer { target: "8001".into(), ..Default::default() }
}

fn header(name: &str, value: &str) -> Vec<Header> {
    vec![Header { name: name.into(), value: value.into() }]
}

fn uui(bytes: &[u8]) -> Vec<UserToUser> {
    vec![UserToUser { bytes: bytes.to_vec(), ..Default::default() }]
}

/// Dials a phone of the scenario and refers it; hangs up when that failed.
async fn referred(setup: Setup, scenario: &'static str, refer: Refer) -> (Vec<(Stage, u32)>, CallRecord, Trace) {
    let rig = Rig::start(setup).await;
    let phone = rig.phone(Phone::new(scenario)).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, Command::Refer(refer)).await;
    let told = rig.transferred(&call_id).await;
    if told.last().is_some_and(|(stage, _)| *stage == Stage::Failed) {
        rig.hang_up(&call_id).await;
    }
    let record = rig.ended(&call_id).await;
    let outcome = &record.transfers[0].outcome;
    assert_eq!(rig.metric_of("trunkline_transfers_total", outcome).await, 1.0, "{outcome}");
    let trace = phone.done().await;
    rig.idle().await;
    (told, record, trace)
}

#[tokio::test]
async fn a_refer_is_followed_until_the_target_answers() {
    let (told, record, trace) = referred(Setup::default(), "uas_refer_transferred", refer()).await;
    let way = [(Stage::Started, 0), (Stage::Progress, 202), (Stage::Progress, 100), (Stage::Progress, 180)];
    assert_eq!(told, [&way[..], &[(Stage::Answered, 200)]].concat());
    let [transfer] = &record.transfers[..] else { panic!("{record:?}") };
    assert_eq!((transfer.result, transfer.sip_code, transfer.outcome.as_str()), (1, 200, "transferred"));
    assert_eq!((transfer.kind.as_str(), transfer.target.as_str()), ("refer", "sip:8001@127.0.0.1"));
    assert!(transfer.start_ms < transfer.stop_ms && transfer.stop_ms <= record.talk_ms, "{record:?}");
    assert_eq!((record.hung_up_by.as_str(), &*record.end_reason), ("operator", "handed over to sip:8001@127.0.0.1"));
    // The BYE is the last request, after the 200 to the last NOTIFY.
    let lines: Vec<_> = trace.all_received().iter().filter_map(|text| text.split(' ').next()).collect();
    assert_eq!(lines.last(), Some(&"BYE"), "{lines:?}");
    assert_eq!((trace.received("REFER"), trace.received("BYE")), (1, 1));
}

#[tokio::test]
async fn after_a_transfer_that_fails_the_call_goes_on() {
    for (scenario, code, outcome) in
        [("uas_refer_target_busy", 486, "failed"), ("uas_refer_declined_603", 603, "refused")]
    {
        let (told, record, trace) = referred(Setup::default(), scenario, refer()).await;
        assert_eq!(told.last(), Some(&(Stage::Failed, code)), "{scenario}");
        let transfer = &record.transfers[0];
        assert_eq!((transfer.result, transfer.sip_code, transfer.outcome.as_str()), (-1, code, outcome));
        assert_eq!((record.end_reason.as_str(), trace.received("BYE")), ("enough", 1));
    }
}

#[tokio::test]
async fn a_bye_before_the_notify_is_success() {
    let (told, record, trace) = referred(Setup::default(), "uas_refer_bye_before_notify", refer()).await;
    assert_eq!(told.last(), Some(&(Stage::Answered, 0)));
    assert_eq!((record.transfers[0].outcome.as_str(), record.hung_up_by.as_str()), ("ended_by_peer", "caller"));
    assert_eq!(trace.received("BYE"), 0);
}

#[tokio::test]
async fn an_exchange_that_never_notifies_is_not_waited_for_longer_than_asked() {
    let refer = Refer { timeout_ms: 1_500, ..refer() };
    let (told, record, _) = referred(Setup::default(), "uas_refer_never_notifies", refer).await;
    assert_eq!(told.last(), Some(&(Stage::Failed, 408)));
    let transfer = &record.transfers[0];
    assert_eq!((transfer.outcome.as_str(), record.end_reason.as_str()), ("timed_out", "enough"));
    assert!((1_400..4_000).contains(&(transfer.stop_ms - transfer.start_ms)), "{transfer:?}");
}

#[tokio::test]
async fn a_notify_may_overtake_the_202() {
    let (told, record, _) = referred(Setup::default(), "uas_refer_notify_before_202", refer()).await;
    let way = [(Stage::Started, 0), (Stage::Progress, 100), (Stage::Progress, 202), (Stage::Answered, 200)];
    assert_eq!((told.as_slice(), record.transfers[0].outcome.as_str()), (&way[..], "transferred"));
}

#[tokio::test]
async fn without_a_subscription_the_consent_is_the_result() {
    let setup = Setup { trunk: "[transfer]\nsubscription = false", ..Setup::default() };
    let (told, record, _) = referred(setup, "uas_refer_norefersub", refer()).await;
    assert_eq!(told.last(), Some(&(Stage::Answered, 202)));
    assert_eq!(record.transfers[0].outcome, "accepted");
}

#[tokio::test]
async fn a_refer_is_given_its_password() {
    let setup = Setup { trunk: "[auth]\nuser = \"robot\"\npassword = \"secret\"", ..Setup::default() };
    let (_, record, trace) = referred(setup, "uas_refer_challenged_407", refer()).await;
    assert_eq!((record.transfers[0].outcome.as_str(), trace.received("REFER")), ("transferred", 2));
}

#[tokio::test]
async fn a_call_that_came_in_is_handed_over_too() {
    let rig = Rig::start(Setup { trunk: ROUTES, ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uac_is_referred")).await;
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, Command::Refer(refer())).await;
    assert_eq!(rig.transferred(&call_id).await.last(), Some(&(Stage::Answered, 200)));
    let record = rig.ended(&call_id).await;
    assert_eq!((record.transfers[0].result, record.hung_up_by.as_str()), (1, "operator"));
    phone.done().await;
    rig.idle().await;
}

#[tokio::test]
async fn a_dialogue_refers_after_its_last_word_and_is_told_the_result() {
    let mut brain = Brain::serve().await;
    let rig = Rig::start(Setup { dialogue: brain.endpoint(), ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uas_refer_target_busy")).await;
    let order = DialRequest { dialogue: "brain".into(), ..rig.order() };
    let call_id = rig.dial(order).await;
    let mut line = brain.call().await;
    line.act(Act::Say(say("p", &["~600"]))).await;
    line.act(Act::Refer(refer())).await;
    let done = |event: &Event| matches!(event, Event::PromptDone(done) if done.interrupted.is_none()).then_some(());
    line.find(done).await;
    let told = |event: &Event| match event {
        Event::TransferResult(result) => Some((result.result, result.sip_code, result.reason.clone())),
        _ => None,
    };
    assert_eq!(line.find(told).await, (-1, 486, "Busy Here".to_owned()));
    line.act(Act::Hangup(Hangup { reason: "so be it".into(), ..Default::default() })).await;
    let record = rig.ended(&call_id).await;
    assert!(record.transfers[0].start_ms >= 600, "{record:?}");
    assert_eq!((record.hung_up_by.as_str(), record.end_reason.as_str()), ("robot", "so be it"));
    phone.done().await;
}

#[tokio::test]
async fn an_attended_transfer_names_the_dialog_of_another_call() {
    let rig = Rig::start(Setup::default()).await;
    // Both go to the same exchange: the agent's call first, then the caller's, which is referred to it.
    let agent = rig.phone(Phone::new("uas_hangs_up_after_a_while").pause_ms(15_000)).await;
    let agent_call = rig.dial(rig.order()).await;
    rig.answered(&agent_call).await;
    let state = rig.control().get_call(GetCallRequest { call_id: agent_call.clone() }).await.expect("it is up");
    let state = state.into_inner().call.expect("a call");
    let parts: Vec<_> = state.replaces.split(';').collect();
    assert!(parts.len() == 3 && parts[1].starts_with("to-tag=") && parts[2].starts_with("from-tag="), "{state:?}");
    assert!(state.remote_target.starts_with("sip:sipp@127.0.0.1:"), "{state:?}");
    rig.hang_up(&agent_call).await;
    let record = rig.ended(&agent_call).await;
    assert_eq!(parts[0], record.sip_call_id);
    agent.stop().await;
    let phone = rig.phone(Phone::new("uas_refer_attended_with_uui")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    let refer = Refer {
        target: "8001@127.0.0.1:5999".into(),
        replaces: state.replaces,
        user_to_user: uui(&[4, 0x68]),
        target_headers: header("X-Task", "7"),
        headers: header("X-Order", "17"),
        ..Default::default()
    };
    rig.send(&call_id, Command::Refer(refer)).await;
    let record = rig.ended(&call_id).await;
    assert_eq!(record.transfers[0].outcome, "transferred");
    phone.done().await;
}

#[tokio::test]
async fn a_refer_to_us_is_refused_and_counted() {
    let rig = Rig::start(Setup { trunk: ROUTES, ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uas_refers_us")).await;
    let call_id = rig.dial(rig.order()).await;
    let refused = rig.find(&call_id, |event| match &event.event {
        Some(Happened::ReferRefused(refused)) => Some((refused.target.clone(), refused.sip_code)),
        _ => None,
    });
    let (target, code) = refused.await;
    assert!(target.starts_with("sip:900@127.0.0.1:") && code == 603, "{target} {code}");
    // The call goes on: the phone hears the answer to its NOTIFY before our BYE.
    tokio::time::sleep(Duration::from_millis(300)).await;
    rig.hang_up(&call_id).await;
    rig.ended(&call_id).await;
    phone.done().await;
    assert_eq!(rig.metric("trunkline_sip_refers_refused_total").await, 1.0);
    let phone = rig.phone(Phone::new("uac_refers_us")).await;
    phone.done().await;
    assert_eq!(rig.metric("trunkline_sip_refers_refused_total").await, 2.0);
    rig.idle().await;
}

#[tokio::test]
async fn nobody_takes_the_place_of_a_call() {
    let rig = Rig::start(Setup { trunk: ROUTES, ..Setup::default() }).await;
    for scenario in ["uac_replaces_nothing_481", "uac_requires_replaces_420"] {
        rig.phone(Phone::new(scenario)).await.done().await;
    }
    assert_eq!(rig.metric_of("trunkline_calls_refused_total", "replaces").await, 2.0);
    rig.idle().await;
    // One that names a call that is up, as its far end sees it: that call goes on.
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    let state = rig.control().get_call(GetCallRequest { call_id: call_id.clone() }).await.expect("it is up");
    let ours = state.into_inner().call.expect("a call").replaces;
    let [id, theirs, us] = ours.split(';').collect::<Vec<_>>()[..] else { panic!("{ours}") };
    let (theirs, us) = (theirs.trim_start_matches("to-tag="), us.trim_start_matches("from-tag="));
    for (replaces, code) in [
        (format!("{id};to-tag={us};from-tag={theirs}"), "603"),
        (format!("{id};to-tag={us};from-tag={theirs};early-only"), "486"),
        (format!("{id};to-tag=x;from-tag={theirs}"), "481"),
        (format!("{id};to-tag={us}"), "400"),
    ] {
        let (answer, _) = ask_with(&rig, "100", &format!("Replaces: {replaces}\r\n")).await;
        assert!(answer.starts_with(&format!("SIP/2.0 {code} ")), "{replaces}: {answer}");
    }
    rig.hang_up(&call_id).await;
    assert_eq!(rig.ended(&call_id).await.end_reason, "enough");
    phone.done().await;
}

#[tokio::test]
async fn user_to_user_of_a_caller_is_told_and_recorded() {
    let rig = Rig::start(Setup { trunk: ROUTES, ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uac_user_to_user").pause_ms(500)).await;
    let (call_id, incoming) = rig.incoming(0).await;
    assert_eq!(incoming.user_to_user, "01;encoding=hex, \"a,b\", c2Vzc2lvbklkPTc7dHJhbnNUeXBlPTE=");
    let [hex, _, context] = &incoming.user_to_user_values[..] else { panic!("{incoming:?}") };
    assert_eq!(hex.bytes, [1]);
    assert_eq!(context.hand_over.as_ref().map(|context| context.session_id.as_str()), Some("7"));
    let record = rig.ended(&call_id).await;
    let values: Vec<_> = record.user_to_user.iter().map(|uui| (uui.carrier.as_str(), uui.value.as_str())).collect();
    assert_eq!((values.len(), values[3]), (4, ("bye", "04ff;encoding=hex")));
    phone.done().await;
}

#[tokio::test]
async fn user_to_user_of_a_called_phone_is_told_and_recorded() {
    let mut brain = Brain::serve().await;
    let rig = Rig::start(Setup { dialogue: brain.endpoint(), ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uas_user_to_user").pause_ms(500)).await;
    let call_id = rig.dial(DialRequest { dialogue: "brain".into(), ..rig.order() }).await;
    let line = brain.call().await;
    line.act(Act::Say(say("p", &["~5000"]))).await;
    let record = rig.ended(&call_id).await;
    let values: Vec<_> = record.user_to_user.iter().map(|uui| format!("{} {}", uui.carrier, uui.value)).collect();
    let isdn = "answer 02;encoding=hex;purpose=isdn-uui;content=isdn-uui";
    let bye = "bye c2Vzc2lvbklkPTc7dHJhbnNUeXBlPTE=";
    assert_eq!(values, ["ringing 01;encoding=hex", isdn, "answer \"a,b\"", "answer 04c8ff", bye]);
    let told = rig.find(&call_id, |event| match &event.event {
        Some(Happened::UserToUser(uui)) if uui.carrier == "answer" => Some(uui.values.clone()),
        _ => None,
    });
    let told = told.await;
    assert_eq!((told[0].bytes.as_slice(), told[0].purpose.as_str()), (&[2][..], "isdn-uui"));
    assert_eq!(told[2].bytes, [4, 0xc8, 0xff]);
    phone.done().await;
}

#[tokio::test]
async fn what_the_orchestrator_says_stands_in_answer_and_bye() {
    let rig = Rig::start(Setup { trunk: ROUTES, ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uac_checks_answer_headers").callee("400")).await;
    let (call_id, _) = rig.incoming(0).await;
    let answer = AnswerRequest {
        call_id: call_id.clone(),
        headers: header("X-Order", "17"),
        user_to_user: uui(&[4, 0x68]),
        ..Default::default()
    };
    let wrong = AnswerRequest { headers: header("m", "<sip:evil>"), ..answer.clone() };
    let refused = rig.control().answer(wrong).await.expect_err("not ours to give away");
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, "headers[0].name: m is written by Trunkline itself")
    );
    rig.control().answer(answer).await.expect("it is answered");
    rig.ended(&call_id).await;
    phone.done().await;

    let phone = rig.phone(Phone::new("uas_checks_bye_headers")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    let hangup =
        Hangup { headers: header("X-Why", "done"), cause: 31, user_to_user: uui(&[4, 0x68]), ..Default::default() };
    rig.send(&call_id, Command::Hangup(hangup)).await;
    rig.ended(&call_id).await;
    phone.done().await;
}

/// baresip is the far end of the first call and does what the REFER asks for: it calls us a second time.
#[tokio::test]
async fn a_baresip_that_is_referred_calls_the_target() {
    let rig = Rig::start(Setup { trunk: ROUTES, ..Setup::default() }).await;
    let (_, rtp) = rig.ports.caller();
    let place = baresip::Place {
        folder: rig.folder().join("baresip"),
        sip: rig.ports.phone(),
        control: rig.ports.phone() + 2,
        rtp,
        user: "100".to_owned(),
    };
    let (mut phone, mut seen) = baresip::Phone::start(place).await.expect("baresip-core is installed");
    let call_id = rig.dial(rig.order()).await;
    while seen.recv().await.expect("it lives").kind != "CALL_INCOMING" {}
    phone.accept().await.expect("it answers");
    rig.answered(&call_id).await;
    let target = format!("101@127.0.0.1:{}", rig.ports.sip());
    rig.send(&call_id, Command::Refer(Refer { target, ..Default::default() })).await;
    // Its call to the target is one that we take ourselves.
    let (second, incoming) = rig.incoming(0).await;
    assert_eq!((incoming.caller.as_str(), incoming.callee.as_str()), ("100", "101"));
    assert_eq!(rig.transferred(&call_id).await.last(), Some(&(Stage::Answered, 200)));
    let record = rig.ended(&call_id).await;
    assert_eq!((record.transfers[0].outcome.as_str(), record.hung_up_by.as_str()), ("transferred", "operator"));
    rig.answered(&second).await;
    rig.hang_up(&second).await;
    rig.ended(&second).await;
    phone.quit().await;
    rig.idle().await;
}
