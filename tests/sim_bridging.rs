//! The bridging phrase: said while an answer is being thought of, and gone when it is there.

mod sim;

use std::sync::Arc;
use std::time::Duration;

use sim::phone::Act;
use sim::services::{answering, prompt, text, understands};
use sim::{Scenario, Seen, voice};
use trunkline::call::action::Action;
use trunkline::call::event::{StoppedBy, What};
use trunkline::call::knobs::Knobs;
use trunkline::call::line::{Fault, Line};
use trunkline::call::prompt::Source;
use trunkline::call::record::{Role, Turn};
use trunkline::ms::Ms;

const PHRASE: &str = "Let me see, that will take but a moment";

fn bridging(phrases: &[&str]) -> Knobs {
    let bridging: Arc<[Source]> = phrases.iter().map(|phrase| text(phrase)).collect();
    Knobs { no_input: Ms(0), filler_after: Ms(600), bridging, ..Knobs::default() }
}

/// A caller who says something 1 s after the answer, and a dialogue that answers after so many ms.
fn thinking(ms: u32) -> Scenario {
    Scenario {
        knobs: bridging(&[PHRASE]),
        dialogue: Box::new(move |event| match &event.what {
            Line::Utterance(_) => vec![answering(event.id, Action::Say(prompt("The answer."))).after(ms)],
            _ => Vec::new(),
        }),
        recogniser: understands(&["when"], 100),
        talk: vec![(1_000, Act::Speak(voice::recorded("human-hello"))), (9_000, Act::HangUp)],
        rules: trunkline::call::conversation::Rules {
            dialogue_timeout: Duration::from_secs(60),
            ..Scenario::outbound().rules
        },
        ..Scenario::outbound()
    }
}

fn said<'a>(seen: &'a Seen, text: &str) -> Option<&'a Turn> {
    seen.turns(Role::Speech).into_iter().find(|turn| turn.text == text)
}

fn told_at(seen: &Seen) -> Ms {
    seen.media(seen.utterances()[0].0)
}

#[test]
fn a_quick_answer_needs_no_bridge() {
    let seen = thinking(400).run(1);
    assert!(said(&seen, PHRASE).is_none());
    assert!(said(&seen, "The answer.").is_some());
}

#[test]
fn it_gives_way_to_the_answer_without_a_gap_or_an_overlap() {
    for seed in 0..8 {
        let scenario = thinking(1_500);
        let scenario = if seed % 2 == 1 { scenario.over_poor_network() } else { scenario };
        let seen = scenario.run(seed);
        let (bridge, answer) = (said(&seen, PHRASE).expect("said"), said(&seen, "The answer.").expect("said"));
        let begins = bridge.start - told_at(&seen);
        assert!(begins >= Ms(600) && begins <= Ms(600 + 160), "seed {seed}: {begins} after the utterance was told");
        assert!(bridge.interrupted, "it is longer than that");
        assert_eq!(bridge.stop, answer.start, "seed {seed}: no gap, no overlap");
        let [(_, heard, by)] = seen.interruptions()[..] else { panic!("{:?}", seen.interruptions()) };
        assert_eq!((by, heard.prompt_id.as_str()), (StoppedBy::Answer, bridge.id.as_str()));
        assert_eq!(
            seen.done(),
            [("The answer.", false)],
            "the dialogue is not told of a prompt that it did not ask for"
        );
        assert!(answer.answered_after_ms.is_some() && bridge.answered_after_ms.is_none());
        assert!(seen.robot_heard(answer.start - Ms(20), answer.start + Ms(20)));
    }
}

#[test]
fn one_that_is_over_before_the_answer_is_said_once() {
    let seen = thinking(5_000).run(2);
    let bridges = seen.turns(Role::Speech).iter().filter(|turn| turn.text == PHRASE).count();
    assert_eq!(bridges, 1);
    assert!(!said(&seen, PHRASE).expect("said").interrupted);
    assert!(said(&seen, "The answer.").is_some());
}

#[test]
fn phrases_are_taken_in_turn_and_once_more_after_a_wait() {
    let mut scenario = thinking(0);
    scenario.knobs = bridging(&["One.", "Two."]);
    scenario.dialogue = Box::new(|event| match &event.what {
        Line::Utterance(_) => vec![
            answering(event.id, Action::Wait(Ms(30_000))).after(2_000),
            answering(event.id, Action::Say(prompt("The answer."))).after(4_500),
        ],
        _ => Vec::new(),
    });
    let seen = scenario.run(3);
    let texts: Vec<_> = seen.turns(Role::Speech).iter().map(|turn| turn.text.clone()).collect();
    assert_eq!(texts, ["One.", "Two.", "The answer."]);
}

#[test]
fn a_caller_who_speaks_on_is_not_bridged_and_may_interrupt_the_phrase() {
    let mut scenario = thinking(6_000);
    scenario.talk = vec![
        (1_000, Act::Speak(voice::recorded("human-hello"))),
        (2_650, Act::Speak(voice::recorded("human-password"))),
        (12_000, Act::HangUp),
    ];
    let seen = scenario.run(4);
    let bridge = said(&seen, PHRASE).expect("after the second");
    assert!(bridge.start > seen.turns(Role::Voice)[1].stop, "{:?}", seen.talk());

    let mut scenario = thinking(6_000);
    scenario.talk = vec![
        (1_000, Act::Speak(voice::recorded("human-hello"))),
        (3_900, Act::Speak(voice::recorded("caller-stop"))),
        (14_000, Act::HangUp),
    ];
    let seen = scenario.run(5);
    let by: Vec<_> = seen.interruptions().iter().map(|i| i.2).collect();
    assert_eq!(by[0], StoppedBy::Speech);
    let stale = |fault: &Fault| matches!(fault, Fault::Stale { .. });
    let stale = seen.line.iter().any(|(_, event)| matches!(&event.what, Line::Fault(fault) if stale(fault)));
    assert!(stale, "the answer to what he said before has been overtaken");
}

#[test]
fn a_delay_without_a_phrase_is_told() {
    let mut scenario = thinking(100);
    scenario.knobs = Knobs { bridging: Arc::default(), ..bridging(&[]) };
    let seen = scenario.run(6);
    assert!(seen.record().faults.iter().any(|fault| fault.contains("filler_after_ms")), "{:?}", seen.record().faults);
    assert!(
        !seen
            .told
            .iter()
            .any(|(_, _, w)| matches!(w, What::PromptStarted { prompt_id, .. } if prompt_id.starts_with("bridging")))
    );
    let change = trunkline::call::knobs::KnobChange { filler_after: Some(Ms(0)), ..Default::default() };
    let mut scenario = thinking(3_000);
    scenario.orders = vec![(1_700, sim::Order::Do(Action::Set(change)))];
    assert!(said(&scenario.run(7), PHRASE).is_none(), "0 is off, from the next utterance on");
}
