//! Speech services and dialogues that are absent, hang, die or talk nonsense: the caller gets the fallback prompt and a polite end, the
//! record says why, it is counted, and other calls do not notice.

use std::time::Duration;

use tonic::Status;
use trunkline::proto::control::v1::{CallRecord, DialRequest, Event, Outcome};
use trunkline::proto::dialogue::v1::action::Action as Act;
use trunkline::proto::dialogue::v1::line_event::Event as Line;
use trunkline::proto::dialogue::v1::{Action, Hangup, TextQuality};

use crate::rig::{
    Brain, Engine, Happened, Hearing, NOBODY, PATIENCE, Phone, QUICK, Rig, Setup, Sipp, Speaking, say, soon,
};

const LIMITS: &str = "drain_s = 0\ndialogue_resumes = 0\nanswer_timeout_ms = 8000\nfinal_timeout_ms = 500";
const IMPATIENT: &str = "drain_s = 0\ndialogue_resumes = 0\nanswer_timeout_ms = 1000\nfinal_timeout_ms = 500";
const SPEECH: &str = "connect_timeout_ms = 300\nstall_timeout_ms = 600\ngive_up_ms = 1500";

fn setup(speech: &str, dialogue: &str) -> Setup {
    Setup {
        limits: LIMITS,
        knobs: QUICK,
        speech_more: SPEECH,
        speech: speech.to_owned(),
        dialogue: dialogue.to_owned(),
        fallback: true,
        ..Setup::default()
    }
}

/// A call with both services, once it is up.
async fn up(rig: &Rig) -> (String, Sipp) {
    let phone = rig.phone(Phone::new("uas_answers_after_180").timeout_s(30)).await;
    let order = DialRequest { dialogue: "brain".into(), speech: "local".into(), ..rig.order() };
    let call_id = rig.dial(order).await;
    rig.answered(&call_id).await;
    (call_id, phone)
}

/// A call with a dialogue and no recognition.
async fn up_unheard(rig: &Rig) -> (String, Sipp) {
    let phone = rig.phone(Phone::new("uas_answers_after_180").timeout_s(30)).await;
    let call_id = rig.dial(DialRequest { dialogue: "brain".into(), ..rig.order() }).await;
    rig.answered(&call_id).await;
    (call_id, phone)
}

/// The call was given up for a fault of this service: politely.
async fn given_up(rig: &Rig, call_id: &str, phone: Sipp, service: &str, why: &str) -> CallRecord {
    let trouble = |event: &Event| match &event.event {
        Some(Happened::ServiceTrouble(trouble)) if trouble.service == service => Some(trouble.reason.clone()),
        _ => None,
    };
    let reason = rig.find(call_id, trouble).await;
    let record = rig.ended(call_id).await;
    phone.done().await;
    assert!(reason.contains(why), "{reason}");
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "robot"));
    assert!(record.end_reason.starts_with(&format!("{service}: ")), "{}", record.end_reason);
    assert!(record.end_reason.contains(why), "{}", record.end_reason);
    assert!(record.faults.iter().any(|fault| fault.contains(why)), "{:?}", record.faults);
    let last = record.turns.iter().rfind(|turn| turn.role == "speech").expect("something was said");
    assert_eq!((last.text.as_str(), last.interrupted), ("[human-goodbye.wav]", false), "{:?}", record.turns);
    assert!(record.talk_ms >= last.stop_ms, "{record:?}");
    assert!(rig.metric_of("trunkline_service_troubles_total", service).await >= 1.0);
    rig.idle().await;
    record
}

/// A call without services comes and goes as if nothing were wrong.
async fn others_do_not_notice(rig: &Rig) {
    let phone = rig.phone(Phone::new("uas_hangs_up_after_a_while").pause_ms(500)).await;
    let record = rig.call().await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "caller"));
    assert!(record.faults.is_empty(), "{:?}", record.faults);
    phone.done().await;
}

#[tokio::test]
async fn all_is_well_with_services_that_do_their_work() {
    let engine = Engine::serve(Hearing::Numbers, Speaking::Tone).await;
    let mut brain = Brain::serve().await;
    let rig = Rig::start(setup(&engine.endpoint(), &brain.endpoint())).await;
    soon("ready", Duration::from_secs(15), async || rig.http("/readyz").await.contains(" 200 OK")).await;
    let (call_id, phone) = up(&rig).await;
    let mut line = brain.call().await;
    line.act(Act::Say(say("greeting", &["Hello there", "~200", "human-hello.wav"]))).await;
    let heard = |event: &Line| match event {
        Line::Utterance(utterance) if !utterance.during_prompt => Some(utterance.clone()),
        _ => None,
    };
    let first = line.find(heard).await;
    assert_eq!(first.text, format!("utterance {}", first.utterance_id));
    assert_eq!(first.quality(), TextQuality::Final);
    line.act(Act::Say(say("bye", &["Goodbye"]))).await;
    line.act(Act::Hangup(Hangup { now: false, reason: "all said".into(), ..Default::default() })).await;
    let over = line.find(|event| match event {
        Line::End(end) => Some((end.by.clone(), end.reason.clone())),
        _ => None,
    });
    assert_eq!(over.await, ("robot".into(), "all said".into()));
    assert_eq!(line.next().await, None, "the line closes its side");
    let record = rig.ended(&call_id).await;
    phone.done().await;
    assert_eq!((record.outcome(), record.end_reason.as_str()), (Outcome::Success, "all said"));
    assert!(record.faults.is_empty(), "{:?}", record.faults);
    let said: Vec<_> = record.turns.iter().filter(|turn| turn.role == "speech").collect();
    assert_eq!(said.len(), 2, "{said:?}");
    // 11 characters of 60 ms, 200 ms of silence, and the recording.
    assert!((1_400..1_900).contains(&(said[0].stop_ms - said[0].start_ms)), "{said:?}");
    assert_eq!((said[1].text.as_str(), said[1].stop_ms - said[1].start_ms), ("Goodbye", 420));
    rig.idle().await;
    drop(line);
    soon("the stream is closed", PATIENCE, async || rig.metric("trunkline_dialogue_streams").await == 0.0).await;
}

#[tokio::test]
async fn a_dialogue_that_is_not_there() {
    let rig = Rig::start(setup(NOBODY, NOBODY)).await;
    let (call_id, phone) = up_unheard(&rig).await;
    given_up(&rig, &call_id, phone, "dialogue", "refused").await;
    others_do_not_notice(&rig).await;
}

#[tokio::test]
async fn a_dialogue_that_never_answers() {
    let mut brain = Brain::serve().await;
    let patience = Setup { limits: IMPATIENT, ..setup(NOBODY, &brain.endpoint()) };
    let rig = Rig::start(patience).await;
    let (call_id, phone) = up_unheard(&rig).await;
    let line = brain.call().await;
    let record = given_up(&rig, &call_id, phone, "dialogue", "no answer within 1000 ms").await;
    assert!((1_000..3_500).contains(&record.talk_ms), "{record:?}");
    drop(line);
    others_do_not_notice(&rig).await;
}

/// Whether the phone's own voice was heard before it or not.
fn said_to_its_end(record: &CallRecord, id: &str) {
    let turn = record.turns.iter().find(|turn| turn.id == id);
    assert!(turn.is_some_and(|turn| !turn.interrupted), "{:?}", record.turns);
}

#[tokio::test]
async fn a_dialogue_that_fails_in_mid_call() {
    let mut brain = Brain::serve().await;
    let rig = Rig::start(setup(NOBODY, &brain.endpoint())).await;
    let (call_id, phone) = up_unheard(&rig).await;
    let line = brain.call().await;
    line.act(Act::Say(say("hello", &["human-hello.wav"]))).await;
    line.fail(Status::internal("the model is confused")).await;
    let record = given_up(&rig, &call_id, phone, "dialogue", "the model is confused").await;
    // What it had said already is said to its end.
    said_to_its_end(&record, "hello");
    others_do_not_notice(&rig).await;
}

#[tokio::test]
async fn a_dialogue_that_goes_away_without_a_word() {
    let mut brain = Brain::serve().await;
    let rig = Rig::start(setup(NOBODY, &brain.endpoint())).await;
    let (call_id, phone) = up_unheard(&rig).await;
    drop(brain.call().await);
    given_up(&rig, &call_id, phone, "dialogue", "closed its stream without hanging up").await;
}

#[tokio::test]
async fn a_dialogue_whose_process_dies() {
    let mut brain = Brain::serve().await;
    let rig = Rig::start(setup(NOBODY, &brain.endpoint())).await;
    let (call_id, phone) = up_unheard(&rig).await;
    let line = brain.call().await;
    line.act(Act::Say(say("hello", &["human-hello.wav"]))).await;
    rig.find(&call_id, |event| matches!(event.event, Some(Happened::PromptStarted(_))).then_some(())).await;
    drop(brain);
    given_up(&rig, &call_id, phone, "dialogue", "dialogue \"brain\"").await;
    drop(line);
    others_do_not_notice(&rig).await;
}

#[tokio::test]
async fn a_dialogue_that_talks_nonsense_is_told_so_and_the_call_goes_on() {
    let mut brain = Brain::serve().await;
    let rig = Rig::start(setup(NOBODY, &brain.endpoint())).await;
    let (call_id, phone) = up_unheard(&rig).await;
    let mut line = brain.call().await;
    let mut fault = async |action: Action, said: &str| {
        let id = action.action_id.clone();
        line.send(action).await;
        let told = line.find(|event| match event {
            Line::Fault(fault) => Some(fault.clone()),
            _ => None,
        });
        let told = told.await;
        assert_eq!(told.action_id, id, "{told:?}");
        assert!(told.reason.contains(said), "{told:?}");
    };
    fault(Action { action_id: "nothing".into(), ..Default::default() }, "action").await;
    let empty = Act::Say(say("empty", &[]));
    fault(Action { action_id: "empty".into(), action: Some(empty), ..Default::default() }, "segments").await;
    let outside = Act::Say(say("outside", &["../../../etc/passwd.wav"]));
    fault(Action { action_id: "outside".into(), action: Some(outside), ..Default::default() }, "file").await;
    let unbuilt = Act::Transfer(Default::default());
    fault(Action { action_id: "unbuilt".into(), action: Some(unbuilt), ..Default::default() }, "transfer").await;
    line.act(Act::Say(say("hello", &["human-hello.wav"]))).await;
    line.act(Act::Hangup(Hangup { now: false, reason: "all said".into(), ..Default::default() })).await;
    let record = rig.ended(&call_id).await;
    phone.done().await;
    assert_eq!(record.end_reason, "all said");
    assert_eq!(record.faults.len(), 4, "{:?}", record.faults);
    said_to_its_end(&record, "hello");
}

/// With a speech service that cannot hear, the dialogue still gets utterances, without text, and is told why.
async fn unheard(engine: Option<Engine>, endpoint: &str, dies: bool, why: &str) {
    let mut brain = Brain::serve().await;
    let rig = Rig::start(setup(endpoint, &brain.endpoint())).await;
    let (call_id, phone) = up(&rig).await;
    let mut line = brain.call().await;
    line.act(Act::Say(say("hello", &["human-hello.wav"]))).await;
    if dies {
        line.find(|event| matches!(event, Line::Utterance(_)).then_some(())).await;
        drop(engine);
    }
    let trouble = |event: &Event| match &event.event {
        Some(Happened::ServiceTrouble(trouble)) if trouble.service == "recognition" => Some(trouble.reason.clone()),
        _ => None,
    };
    let reason = rig.find(&call_id, trouble).await;
    assert!(reason.contains(why), "{reason}");
    let missing = |event: &Line| match event {
        Line::Utterance(utterance) if utterance.quality() != TextQuality::Final => Some(utterance.clone()),
        _ => None,
    };
    let utterance = line.find(missing).await;
    assert!(utterance.text.is_empty() || utterance.quality() == TextQuality::Partial, "{utterance:?}");
    line.act(Act::Say(say("sorry", &["human-not-understood.wav"]))).await;
    line.act(Act::Hangup(Hangup { now: false, reason: "all said".into(), ..Default::default() })).await;
    let record = rig.ended(&call_id).await;
    phone.done().await;
    assert_eq!((record.outcome(), record.end_reason.as_str()), (Outcome::Success, "all said"));
    assert!(record.faults.iter().any(|fault| fault.starts_with("recognition: ")), "{:?}", record.faults);
    assert!(rig.metric_of("trunkline_service_troubles_total", "recognition").await >= 1.0);
    rig.idle().await;
    others_do_not_notice(&rig).await;
}

#[tokio::test]
async fn a_recogniser_that_is_not_there() {
    unheard(None, NOBODY, false, "").await;
}

#[tokio::test]
async fn a_recogniser_that_never_answers() {
    let engine = Engine::serve(Hearing::Mute, Speaking::Tone).await;
    let endpoint = engine.endpoint();
    unheard(Some(engine), &endpoint, false, "no final text").await;
}

#[tokio::test]
async fn a_recogniser_that_dies_in_mid_call() {
    let engine = Engine::serve(Hearing::Numbers, Speaking::Tone).await;
    let endpoint = engine.endpoint();
    unheard(Some(engine), &endpoint, true, "").await;
}

#[tokio::test]
async fn a_recogniser_that_talks_nonsense_harms_nobody() {
    let engine = Engine::serve(Hearing::Nonsense, Speaking::Tone).await;
    let mut brain = Brain::serve().await;
    let rig = Rig::start(setup(&engine.endpoint(), &brain.endpoint())).await;
    let (call_id, phone) = up(&rig).await;
    let mut line = brain.call().await;
    line.act(Act::Say(say("hello", &["human-hello.wav"]))).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let utterance = line.find(|event| match event {
            Line::Utterance(utterance) => Some(utterance.clone()),
            _ => None,
        });
        seen.push(utterance.await.utterance_id);
    }
    assert_eq!(seen, [1, 2], "no utterance that never was, none twice");
    line.act(Act::Hangup(Hangup { now: true, reason: "enough".into(), ..Default::default() })).await;
    assert_eq!(rig.ended(&call_id).await.end_reason, "enough");
    phone.done().await;
    assert!(rig.metric("trunkline_speech_nonsense_total").await >= 1.0);
    rig.idle().await;
}

/// With a speech service that cannot speak there is nothing to say: the call is given up politely.
async fn speechless(endpoint: &str, why: &str) {
    let mut brain = Brain::serve().await;
    let rig = Rig::start(setup(endpoint, &brain.endpoint())).await;
    let (call_id, phone) = up(&rig).await;
    let line = brain.call().await;
    line.act(Act::Say(say("greeting", &["Hello there"]))).await;
    given_up(&rig, &call_id, phone, "synthesis", why).await;
    drop(line);
    others_do_not_notice(&rig).await;
}

#[tokio::test]
async fn a_voice_that_is_not_there() {
    speechless(NOBODY, "refused").await;
}

#[tokio::test]
async fn a_voice_that_makes_no_sound() {
    let engine = Engine::serve(Hearing::Numbers, Speaking::Mute).await;
    speechless(&engine.endpoint(), "no sound").await;
}

#[tokio::test]
async fn a_voice_that_refuses() {
    let engine = Engine::serve(Hearing::Numbers, Speaking::Refuses).await;
    speechless(&engine.endpoint(), "the voice is hoarse").await;
}

#[tokio::test]
async fn a_voice_that_ends_in_the_middle_of_a_sample_is_heard_so_far() {
    let engine = Engine::serve(Hearing::Numbers, Speaking::Nonsense).await;
    let mut brain = Brain::serve().await;
    let rig = Rig::start(setup(&engine.endpoint(), &brain.endpoint())).await;
    let (call_id, phone) = up(&rig).await;
    let mut line = brain.call().await;
    line.act(Act::Say(say("hiss", &["Hello there"]))).await;
    let done = line.find(|event| match event {
        Line::PromptDone(done) => Some(done.clone()),
        _ => None,
    });
    assert_eq!(done.await.interrupted, None);
    line.act(Act::Hangup(Hangup { now: true, reason: "enough".into(), ..Default::default() })).await;
    let record = rig.ended(&call_id).await;
    phone.done().await;
    assert_eq!(record.end_reason, "enough");
    // 2,401 bytes of 16-bit samples at 8 kHz are 150 ms.
    let hiss = record.turns.iter().find(|turn| turn.id == "hiss").expect("it was said");
    assert_eq!(hiss.stop_ms - hiss.start_ms, 150);
    assert!(rig.metric("trunkline_speech_nonsense_total").await >= 1.0);
    rig.idle().await;
}

#[tokio::test]
async fn a_recording_that_is_not_there_spoils_its_prompt_and_the_call_goes_on() {
    let mut brain = Brain::serve().await;
    let rig = Rig::start(setup(NOBODY, &brain.endpoint())).await;
    let (call_id, phone) = up_unheard(&rig).await;
    let mut line = brain.call().await;
    line.act(Act::Say(say("lost", &["no-such.wav"]))).await;
    let fault = line
        .find(|event| match event {
            Line::PromptDone(done) if done.prompt_id == "lost" => Some(done.fault.clone()),
            _ => None,
        })
        .await;
    assert!(fault.contains("no-such.wav"), "{fault}");
    line.act(Act::Say(say("found", &["human-thank-you.wav"]))).await;
    line.act(Act::Hangup(Hangup { now: false, reason: "done".into(), ..Default::default() })).await;
    let record = rig.ended(&call_id).await;
    phone.done().await;
    assert_eq!(record.end_reason, "done", "{record:?}");
    let said: Vec<_> = record.turns.iter().filter(|turn| turn.role == "speech").map(|turn| &*turn.text).collect();
    assert_eq!(said, ["[human-thank-you.wav]"]);
    assert!(record.faults.iter().any(|fault| fault.contains("no-such.wav")), "{:?}", record.faults);
    drop(line);
}
