//! Pauses of the recording: asked for by the orchestrator or the dialogue, told once, in the frames exactly, in the record.

mod sim;

use std::time::Duration;

use sim::phone::Act;
use sim::services::{act, say, talks};
use sim::{Order, Scenario, Seen, voice};
use trunkline::call::action::Action;
use trunkline::call::conversation::Rules;
use trunkline::call::event::What;
use trunkline::call::line::{Fault, Line};
use trunkline::call::record::Pause;
use trunkline::ms::Ms;

const PAUSE: Order = Order::Do(Action::PauseRecording(true));
const RESUME: Order = Order::Do(Action::PauseRecording(false));

/// Each pause and resume as it was told.
fn told(seen: &Seen) -> Vec<(bool, Ms)> {
    let one = |told: &(Duration, Ms, What)| match told.2 {
        What::RecordPaused { on, from } => Some((on, from)),
        _ => None,
    };
    seen.told.iter().filter_map(one).collect()
}

/// Whether exactly the frames of these stretches say that they are paused.
fn assert_paused_in(seen: &Seen, pauses: &[Pause]) {
    for frame in &seen.recorded {
        let inside = pauses.iter().any(|pause| pause.start <= frame.robot_at && frame.robot_at < pause.stop);
        assert_eq!(frame.paused, inside, "the frame at {}, with {pauses:?}", frame.robot_at);
    }
}

#[test]
fn the_orchestrator_pauses_and_resumes_and_what_is_so_already_does_nothing() {
    let seen = Scenario {
        dialogue: talks("Please tell me the number of your card.", &[]),
        talk: vec![(3_000, Act::Speak(voice::recorded("human-thank-you"))), (9_000, Act::HangUp)],
        orders: vec![(1_900, RESUME), (2_005, PAUSE), (2_500, PAUSE), (4_017, RESUME), (4_500, RESUME), (8_000, PAUSE)],
        ..Scenario::outbound()
    }
    .run(1);
    let [(true, first), (false, second), (true, third)] = told(&seen)[..] else { panic!("{:?}", told(&seen)) };
    let lasted = second.saturating_sub(first);
    assert!((Ms(2_000)..=Ms(2_040)).contains(&lasted), "{lasted}");
    let record = seen.record();
    let pauses = [Pause { start: first, stop: second }, Pause { start: third, stop: record.talk_ms }];
    assert_eq!(record.recording_pauses.len(), 2);
    assert_eq!(record.recording_pauses[0], pauses[0]);
    let last = record.recording_pauses[1];
    assert_eq!(last.start, third, "one that is not resumed lasts as long as the call");
    assert!(last.stop.as_u32().abs_diff(record.talk_ms.as_u32()) <= 40, "{last:?}, {}", record.talk_ms);
    let until_the_end = Pause { stop: Ms::MAX, ..last };
    assert_paused_in(&seen, &[pauses[0], until_the_end]);
    assert!(seen.talk().len() >= 2, "the talk goes on meanwhile: {:?}", seen.talk());
}

#[test]
fn the_dialogue_pauses_and_resumes_and_still_owes_its_answer() {
    let seen = Scenario {
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => vec![act(Action::PauseRecording(true)), say("Hello.").after(300)],
            Line::PromptDone { .. } => vec![act(Action::PauseRecording(false))],
            _ => Vec::new(),
        }),
        talk: vec![(6_000, Act::HangUp)],
        ..Scenario::outbound()
    }
    .run(2);
    let [(true, first), (false, second)] = told(&seen)[..] else { panic!("{:?}", told(&seen)) };
    assert_eq!(seen.record().recording_pauses, [Pause { start: first, stop: second }]);
    assert_paused_in(&seen, &seen.record().recording_pauses);
    assert_eq!(seen.record().faults, [""; 0]);
}

#[test]
fn a_call_that_is_not_recorded_cannot_be_paused_and_says_so() {
    let seen = Scenario {
        rules: Rules { recorded: false, ..Scenario::outbound().rules },
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => vec![act(Action::PauseRecording(true)), say("Hello.")],
            _ => Vec::new(),
        }),
        talk: vec![(4_000, Act::HangUp)],
        ..Scenario::outbound()
    }
    .run(3);
    assert_eq!(told(&seen), []);
    let fault = seen.line.iter().find_map(|(_, event)| match &event.what {
        Line::Fault(Fault::Action { reason, .. }) => Some(reason.as_str()),
        _ => None,
    });
    assert_eq!(fault, Some("record_pause: the call is not recorded"));
    assert_paused_in(&seen, &[]);
}
