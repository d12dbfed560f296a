//! Keys that are asked for.

mod sim;

use sim::phone::Act;
use sim::services::{act, answering, prompt, say};
use sim::{Scenario, Seen, voice};
use trunkline::call::action::Action;
use trunkline::call::collection::{Collect, Collected};
use trunkline::call::event::What;
use trunkline::call::knobs::BargeIn;
use trunkline::call::line::Line;
use trunkline::call::prompt::Prompt;
use trunkline::call::record::Role;
use trunkline::ms::Ms;

fn digits(max_digits: usize) -> Collect {
    Collect {
        max_digits,
        timeout: Ms(10_000),
        attempts: 1,
        terminator: Some('#'),
        inter_digit: None,
        allowed: "0123456789".to_owned(),
        prompts: vec![prompt("Your number, please."), prompt("Once more, please.")],
        masked: false,
    }
}

/// Collects from the answer on; what comes is answered by "Thanks.".
fn collecting(collect: Collect, keys: &[(u32, char)]) -> Scenario {
    let press = |(at, key): &(u32, char)| (*at, Act::Press(*key));
    Scenario {
        dialogue: Box::new(move |event| match &event.what {
            Line::Begin(_) => vec![act(Action::Collect(Some(Box::new(collect.clone()))))],
            Line::Keys { .. } => vec![answering(event.id, Action::Say(prompt("Thanks.")))],
            _ => Vec::new(),
        }),
        talk: keys.iter().map(press).chain([(25_000, Act::HangUp)]).collect(),
        ..Scenario::outbound()
    }
}

fn collected(seen: &Seen) -> Vec<(Collected, &str)> {
    let keys = |(_, event): &'_ (std::time::Duration, trunkline::call::line::LineEvent)| {
        matches!(event.what, Line::Keys { .. })
    };
    let told = seen.line.iter().filter(|told| keys(told));
    told.filter_map(|(_, event)| match &event.what {
        Line::Keys { result, digits } => Some((*result, digits.as_str())),
        _ => None,
    })
    .collect()
}

#[test]
fn the_last_digit_ends_it_and_the_dialogue_answers() {
    for seed in 0..4 {
        let scenario = collecting(digits(4), &[(2_000, '1'), (2_400, '2'), (2_800, '3'), (3_200, '4')]);
        let scenario = if seed % 2 == 1 { scenario.over_poor_network() } else { scenario };
        let seen = scenario.run(seed);
        assert_eq!(collected(&seen), [(Collected::Done, "1234")], "seed {seed}");
        assert!(!seen.line.iter().any(|(_, e)| matches!(e.what, Line::Key { .. })), "its keys are not told one by one");
        assert_eq!(seen.talk(), ["robot: Your number, please.", "robot: Thanks."]);
        assert_eq!(seen.record().keys, "1234");
    }
}

#[test]
fn a_key_stops_the_prompt_and_counts() {
    let seen = collecting(digits(2), &[(500, '1'), (1_500, '2')]).run(1);
    assert!(seen.turns(Role::Speech)[0].interrupted);
    assert_eq!(collected(&seen), [(Collected::Done, "12")]);
    let whole = Prompt { barge_in: Some(BargeIn::Never), ..prompt("Your number, please.") };
    let seen = collecting(Collect { prompts: vec![whole], ..digits(2) }, &[(500, '1'), (2_500, '2')]).run(1);
    assert!(!seen.turns(Role::Speech)[0].interrupted);
    assert_eq!(collected(&seen), [(Collected::Done, "12")], "one that is not stopped loses no key");
}

#[test]
fn a_wrong_key_asks_once_more_and_then_the_attempts_are_used_up() {
    let twice = Collect { attempts: 2, ..digits(4) };
    let seen = collecting(twice, &[(2_000, '1'), (2_400, '*'), (5_000, '1'), (5_400, '2'), (5_800, '*')]).run(2);
    assert_eq!(collected(&seen), [(Collected::UsedUp, "12")]);
    assert_eq!(seen.talk(), ["robot: Your number, please.", "robot: Once more, please.", "robot: Thanks."]);
}

#[test]
fn nothing_in_time_is_told_and_time_stands_still_while_the_prompt_is_said() {
    let seen = collecting(Collect { timeout: Ms(3_000), ..digits(4) }, &[]).run(3);
    assert_eq!(collected(&seen), [(Collected::NotInTime, "")]);
    let at = seen.told.iter().find(|(_, _, w)| matches!(w, What::KeysCollected { .. })).map(|(_, at, _)| *at);
    let after = at.expect("told") - seen.turns(Role::Speech)[0].stop;
    assert!(after >= Ms(3_000) && after <= Ms(3_040), "{after} after the prompt");
}

#[test]
fn a_pause_or_the_terminator_ends_it_with_what_is_there() {
    let pausing = Collect { inter_digit: Some(Ms(1_500)), ..digits(8) };
    let seen = collecting(pausing, &[(2_000, '7'), (3_000, '8')]).run(4);
    assert_eq!(collected(&seen), [(Collected::Done, "78")]);
    let seen = collecting(digits(8), &[(2_000, '7'), (2_600, '#')]).run(4);
    assert_eq!(collected(&seen), [(Collected::Done, "7")]);
}

#[test]
fn masked_digits_are_the_dialogues_alone() {
    let card = Collect { masked: true, ..digits(4) };
    let seen = collecting(card, &[(2_000, '4'), (2_400, '9'), (2_800, '4'), (3_200, '0')]).run(5);
    assert_eq!(collected(&seen), [(Collected::Done, "4940")]);
    assert_eq!(seen.record().keys, "xxxx");
    let shown = format!("{:?} {:?}", seen.told, seen.record());
    assert!(!shown.contains("4940") && !shown.contains("key: '4'"), "{shown}");
    let told = |w: &What| matches!(w, What::KeysCollected { digits, .. } if digits == "xxxx");
    assert!(seen.told.iter().any(|(_, _, w)| told(w)));
}

#[test]
fn what_is_said_meanwhile_is_told_and_owed_no_answer_and_no_silence_counts() {
    let mut scenario = collecting(Collect { timeout: Ms(20_000), ..digits(2) }, &[]);
    scenario.knobs.no_input = Ms(2_000);
    scenario.recogniser = sim::services::understands(&["which number"], 100);
    scenario.talk = vec![
        (3_000, Act::Speak(voice::recorded("human-one-moment"))),
        (14_000, Act::Press('1')),
        (14_500, Act::Press('2')),
        (18_000, Act::HangUp),
    ];
    let seen = scenario.run(6);
    assert_eq!(seen.asked()[0].text, "which number");
    assert_eq!(collected(&seen), [(Collected::Done, "12")], "the dialogue's deadline of 4 s did not end the call");
    let first = seen.told.iter().position(|(_, _, w)| matches!(w, What::NoInput { .. }));
    let keys = seen.told.iter().position(|(_, _, w)| matches!(w, What::KeysCollected { .. }));
    assert!(first.is_none_or(|first| Some(first) > keys), "{:#?}", seen.told);
}

#[test]
fn one_at_a_time_and_it_may_be_ended() {
    let scenario = Scenario {
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => vec![
                act(Action::Collect(Some(Box::new(digits(4))))),
                act(Action::Collect(Some(Box::new(digits(1))))).after(100),
                act(Action::Collect(None)).after(5_000),
                act(Action::Collect(None)).after(5_100),
            ],
            Line::Keys { .. } => vec![say("Never mind.")],
            _ => Vec::new(),
        }),
        talk: vec![(3_000, Act::Press('6')), (12_000, Act::HangUp)],
        ..Scenario::outbound()
    };
    let seen = scenario.run(7);
    assert_eq!(collected(&seen), [(Collected::NotInTime, "6")]);
    let faults: Vec<_> = seen.record().faults.iter().map(String::as_str).collect();
    assert_eq!(
        faults,
        [
            "dialogue: collect: another collection has no result yet; `cancel` ends it",
            "dialogue: collect.cancel: no collection is under way"
        ]
    );
}

#[test]
fn a_call_that_ends_ends_its_collection() {
    let mut scenario = collecting(digits(4), &[(2_000, '1')]);
    scenario.talk = vec![(2_000, Act::Press('1')), (4_000, Act::HangUp)];
    let seen = scenario.run(8);
    assert!(collected(&seen).is_empty(), "the dialogue is told of the end");
    let told = |w: &What| matches!(w, What::KeysCollected { result: Collected::NotInTime, digits } if digits == "1");
    assert!(seen.told.iter().any(|(_, _, w)| told(w)));
}
