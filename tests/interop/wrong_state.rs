//! Every action of the dialogue and every command of the orchestrator where it cannot be done: for a call that is not answered, that is gone, twice, out of
//! range. The error names the field and how the call stands, and the call goes on.

use std::time::Duration;

use tonic::Code;
use trunkline::proto::control::v1::send_request::{AttachDialogue, Command, Hold, RecordPause, SendKeys};
use trunkline::proto::control::v1::{DialRequest, SendRequest};
use trunkline::proto::dialogue::v1::action::Action as Act;
use trunkline::proto::dialogue::v1::fault::Which;
use trunkline::proto::dialogue::v1::line_event::Event as Line;
use trunkline::proto::dialogue::v1::*;

use crate::rig::{Brain, Happened, Phone, Rig, Setup, say};

const PATIENT: &str = "drain_s = 0\nanswer_timeout_ms = 60000";

fn collect() -> Collect {
    Collect { max_digits: 4, ..Default::default() }
}

fn transfer() -> Transfer {
    Transfer { target: "7@127.0.0.1:9".into(), ..Default::default() }
}

fn refer() -> Refer {
    Refer { target: "7@127.0.0.1:9".into(), ..Default::default() }
}

fn likely() -> Expect {
    Expect { phrases: vec!["yes".into()], ..Default::default() }
}

/// Each command there is, by its field, as it could be done at another time.
fn commands() -> Vec<(&'static str, Command)> {
    vec![
        ("say", Command::Say(say("p", &["human-hello.wav"]))),
        ("stop", Command::Stop(Stop {})),
        ("collect", Command::Collect(collect())),
        ("send_keys", Command::SendKeys(SendKeys { keys: "1".into() })),
        ("transfer", Command::Transfer(transfer())),
        ("set", Command::Set(Knobs { endpoint_ms: Some(500), ..Default::default() })),
        ("label", Command::Label(Label { key: "k".into(), value: "v".into() })),
        ("mute", Command::Mute(Mute { on: true })),
        ("hold", Command::Hold(Hold { on: true })),
        ("record_pause", Command::RecordPause(RecordPause { on: true, keep_text: false })),
        ("attach_dialogue", Command::AttachDialogue(AttachDialogue { dialogue: "brain".into() })),
        ("refer", Command::Refer(refer())),
        ("refer_answer", Command::ReferAnswer(ReferAnswer { accept: true, sip_code: 0 })),
        ("end_turn", Command::EndTurn(EndTurn { utterance_id: 1 })),
        ("more_time", Command::MoreTime(MoreTime { endpoint_ms: 900 })),
        ("expect", Command::Expect(likely())),
    ]
}

async fn refused(rig: &Rig, call_id: &str, request_id: &str, command: Command) -> (Code, String) {
    let request = SendRequest { call_id: call_id.into(), request_id: request_id.into(), command: Some(command) };
    match rig.control().send(request).await {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), status.message().to_owned()),
    }
}

#[tokio::test]
async fn before_the_answer_and_after_the_end_no_command_is_done_and_each_says_why() {
    let rig = Rig::start(Setup { record: true, ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uas_never_answers_cancelled")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.ringing(&call_id).await;
    for (field, command) in commands() {
        let (code, message) = refused(&rig, &call_id, "", command).await;
        assert_eq!(code, Code::FailedPrecondition, "{field}: {message}");
        assert!(message.starts_with(&format!("{field}: call {call_id} is Ringing: ")), "{message}");
    }
    // The call goes on, and is cancelled as any.
    let command = Some(Command::Hangup(Hangup::default()));
    let request = SendRequest { call_id: call_id.clone(), command, ..Default::default() };
    assert!(rig.control().send(request).await.expect("done").into_inner().cancelled);
    rig.ended(&call_id).await;
    phone.done().await;
    rig.idle().await;
    for (field, command) in commands() {
        let (code, message) = refused(&rig, &call_id, "", command).await;
        assert_eq!((code, message), (Code::NotFound, format!("call {call_id} is not up")), "{field}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_as_a_call_stands_is_refused_with_field_and_state_and_the_call_goes_on() {
    let rig = Rig::start(Setup::default()).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180").timeout_s(30)).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, Command::Collect(collect())).await;
    let attach = |name: &str| Command::AttachDialogue(AttachDialogue { dialogue: name.into() });
    let more = Say { prompt_id: "nothing".into(), ..Default::default() };
    let state = Code::FailedPrecondition;
    let invalid = Code::InvalidArgument;
    for (command, code, message) in [
        (Command::Collect(collect()), state, "collect: another collection has no result yet; `cancel` ends it"),
        (Command::Say(more), state, "say.segments: at least one is needed, no prompt of this id goes on"),
        (
            Command::EndTurn(EndTurn { utterance_id: 900 }),
            state,
            "end_turn.utterance_id: utterance 900 is not under way: it is over, or has not begun",
        ),
        (
            Command::EndTurn(EndTurn { utterance_id: 0 }),
            invalid,
            "end_turn.utterance_id: is 0: name the utterance, as partial and speech_started do",
        ),
        (
            Command::MoreTime(MoreTime { endpoint_ms: 100 }),
            invalid,
            "more_time.endpoint_ms: 100 is out of range, 200 to 2000",
        ),
        (Command::Expect(likely()), state, "expect.phrases: nobody recognises on this call"),
        (
            Command::Expect(Expect { partials: true, ..Default::default() }),
            invalid,
            "expect.partials: are the dialogue's: WatchRequest.partials is the orchestrator's",
        ),
        (
            Command::Expect(Expect { phrases: vec!["a".into(), " ".into()], ..Default::default() }),
            invalid,
            "expect.phrases[1]: is empty, or longer than 256 bytes",
        ),
        (attach("nobody"), invalid, "attach_dialogue.dialogue: no dialogue is configured by the name \"nobody\""),
        (attach(""), invalid, "attach_dialogue.dialogue: is empty"),
        (
            Command::RecordPause(RecordPause { on: true, keep_text: false }),
            state,
            &format!("record_pause: call {call_id} is Talking and is not recorded"),
        ),
    ] {
        assert_eq!(refused(&rig, &call_id, "", command).await, (code, message.to_owned()));
    }
    // One that was refused has not been done: the same request may come again, and is done once.
    let cancel = || Command::Collect(Collect { cancel: true, ..Default::default() });
    rig.send(&call_id, cancel()).await;
    let none = "collect.cancel: no collection is under way";
    assert_eq!(refused(&rig, &call_id, "again", cancel()).await, (state, none.to_owned()));
    rig.send(&call_id, Command::Collect(collect())).await;
    for _ in 0..2 {
        assert_eq!(refused(&rig, &call_id, "again", cancel()).await.0, Code::Ok, "the second time it does nothing");
    }
    // What only its event tells.
    rig.send(&call_id, Command::ReferAnswer(ReferAnswer { accept: true, sip_code: 0 })).await;
    let why = rig.find(&call_id, |event| match &event.event {
        Some(Happened::Referred(told)) => Some((told.sip_code, told.reason.clone())),
        _ => None,
    });
    assert_eq!(why.await, (481, "no REFER of the far end waits for refer_answer".to_owned()));
    rig.send(&call_id, Command::Say(say("still here", &["human-hello.wav"]))).await;
    rig.finished(&call_id, "still here").await;
    // It waits for the prompt: from now on nobody else may have the call.
    rig.send(&call_id, Command::Say(say("last", &["~1500"]))).await;
    rig.send(&call_id, Command::Hangup(Hangup { reason: "all said".into(), ..Default::default() })).await;
    let hanging = "attach_dialogue: the call is being hung up";
    assert_eq!(refused(&rig, &call_id, "", attach("brain")).await, (state, hanging.to_owned()));
    rig.send(&call_id, Command::Refer(refer())).await;
    let why = rig.find(&call_id, |event| match &event.event {
        Some(Happened::Transfer(told)) => Some((told.sip_code, told.reason.clone())),
        _ => None,
    });
    assert_eq!(why.await, (491, "refer: the call is being hung up".to_owned()));
    let record = rig.ended(&call_id).await;
    assert_eq!(record.end_reason, "all said", "{record:?}");
    phone.done().await;
    rig.idle().await;
}

#[tokio::test]
async fn the_dialogue_is_told_of_each_action_that_cannot_be_done_and_the_call_goes_on() {
    let mut brain = Brain::serve().await;
    let rig = Rig::start(Setup { limits: PATIENT, dialogue: brain.endpoint(), ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180").timeout_s(30)).await;
    let call_id = rig.dial(DialRequest { dialogue: "brain".into(), ..rig.order() }).await;
    rig.answered(&call_id).await;
    let mut line = brain.call().await;
    let mut number = 0;
    let mut fault = async |action: Option<Act>, answers: u64| {
        number += 1;
        let action_id = format!("a{number}");
        line.send(Action { action_id: action_id.clone(), answers, action, ..Default::default() }).await;
        line.find(|event| match event {
            Line::Fault(fault) if fault.action_id == action_id => Some((fault.which(), fault.reason.clone())),
            _ => None,
        })
        .await
    };
    let file = |path: &str| Act::Say(say("p", &[path]));
    for (action, reason) in [
        (None, "UNIMPLEMENTED: action: is unset, or not known to this version"),
        (Some(Act::Say(Say::default())), "INVALID_ARGUMENT: say.segments: at least one is needed"),
        (Some(file("../x.wav")), "INVALID_ARGUMENT: say.segments[0].file.path: does not lie below the prompts folder"),
        (
            Some(Act::Say(Say { prompt_id: "nothing".into(), ..Default::default() })),
            "say.segments: at least one is needed, no prompt of this id goes on",
        ),
        (
            Some(Act::Collect(Collect { cancel: true, ..Default::default() })),
            "collect.cancel: no collection is under way",
        ),
        (
            Some(Act::Collect(Collect { max_digits: 65, ..Default::default() })),
            "INVALID_ARGUMENT: collect.max_digits: 65 is out of range, 1 to 64",
        ),
        (Some(Act::Transfer(Transfer::default())), "INVALID_ARGUMENT: transfer.target: is empty"),
        (Some(Act::Refer(Refer::default())), "INVALID_ARGUMENT: refer.target: is empty"),
        (
            Some(Act::ReferAnswer(ReferAnswer { accept: true, sip_code: 0 })),
            "refer_answer: no REFER of the far end waits for it",
        ),
        (
            Some(Act::Hangup(Hangup { cause: 128, ..Default::default() })),
            "INVALID_ARGUMENT: hangup.cause: 128 is out of range, 1 to 127",
        ),
        (
            Some(Act::Set(Knobs { barge_in: 9, ..Default::default() })),
            "INVALID_ARGUMENT: set.barge_in: 9 is not known to this version",
        ),
        (Some(Act::Expect(likely())), "expect.phrases: nobody recognises on this call"),
        (
            Some(Act::Expect(Expect { grammar: "x".repeat(65_537), ..Default::default() })),
            "INVALID_ARGUMENT: expect.grammar: has 65537 bytes, at most 65,536 are taken",
        ),
        (Some(Act::Wait(Wait { for_ms: 60_001 })), "INVALID_ARGUMENT: wait.for_ms: 60001 is out of range, 0 to 60000"),
        (Some(Act::Label(Label::default())), "INVALID_ARGUMENT: label.key: is empty"),
        (Some(Act::RecordPause(Default::default())), "record_pause: the call is not recorded"),
        (
            Some(Act::EndTurn(EndTurn { utterance_id: 77 })),
            "end_turn.utterance_id: utterance 77 is not under way: it is over, or has not begun",
        ),
        (
            Some(Act::MoreTime(MoreTime { endpoint_ms: 2_001 })),
            "INVALID_ARGUMENT: more_time.endpoint_ms: 2001 is out of range, 200 to 2000",
        ),
    ] {
        let (which, told) = fault(action, 0).await;
        assert!(which == Which::Action && told.starts_with(reason), "{reason}, and not {told}");
    }
    // A knob is clamped and told, and not refused.
    let knob = fault_of_knob(&mut line).await;
    assert_eq!(knob, "endpoint_ms: 5 is out of range, 200 is used");
    line.act(Act::Say(say("still here", &["human-hello.wav"]))).await;
    line.find(|event| matches!(event, Line::PromptDone(done) if done.interrupted.is_none()).then_some(())).await;
    line.act(Act::Say(say("last", &["~1500"]))).await;
    line.act(Act::Hangup(Hangup { reason: "all said".into(), ..Default::default() })).await;
    line.act(Act::Transfer(transfer())).await;
    let late = line.find(|event| match event {
        Line::Fault(fault) if fault.which() == Which::Action => Some(fault.reason.clone()),
        _ => None,
    });
    assert_eq!(late.await, "transfer: the call is being hung up");
    let record = rig.ended(&call_id).await;
    assert_eq!(record.end_reason, "all said");
    assert_eq!(record.faults.len(), 19, "each is in the record: {:?}", record.faults);
    phone.done().await;
    tokio::time::timeout(Duration::from_secs(10), rig.idle()).await.expect("nothing is left");
}

async fn fault_of_knob(line: &mut crate::rig::Dialogue) -> String {
    line.act(Act::Set(Knobs { endpoint_ms: Some(5), ..Default::default() })).await;
    line.find(|event| match event {
        Line::Fault(fault) if fault.which() == Which::Knob => Some(fault.reason.clone()),
        _ => None,
    })
    .await
}
