//! Prompts whose text comes while they are said, as a language model writes it.

mod sim;

use std::time::Duration;

use sim::phone::Act;
use sim::services::{Reply, act, answering, length_of, understands};
use sim::{Scenario, voice};
use trunkline::call::action::Action;
use trunkline::call::event::{StoppedBy, What};
use trunkline::call::line::{Fault, Line};
use trunkline::call::prompt::Prompt;
use trunkline::call::record::Role;
use trunkline::ms::Ms;

const TEXT: &str = "Good morning, this is the parcel service. Your parcel will come tomorrow, between nine and twelve. Would that suit you?";

fn piece(text: &str, more: bool) -> Action {
    Action::Say(Prompt { id: "answer".to_owned(), more, ..Prompt::text(text) })
}

fn end() -> Action {
    Action::Say(Prompt { id: "answer".to_owned(), segments: Vec::new(), ..Prompt::text("") })
}

/// The text in words, one each so many ms, and its end.
fn written(text: &str, every: u32) -> Vec<Reply> {
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    let at = |n: usize| 20 + n as u32 * every;
    let pieces = words.iter().enumerate().map(|(n, word)| act(piece(word, true)).after(at(n)));
    pieces.chain([act(end()).after(at(words.len()))]).collect()
}

fn says(replies: fn() -> Vec<Reply>) -> Scenario {
    Scenario {
        dialogue: Box::new(move |event| if event.id == 1 { replies() } else { Vec::new() }),
        talk: vec![(14_000, Act::HangUp)],
        ..Scenario::outbound()
    }
}

#[test]
fn the_first_clause_is_heard_while_the_rest_is_being_written() {
    for seed in 0..4 {
        let seen = says(|| written(TEXT, 60)).run(seed);
        let [turn] = seen.turns(Role::Speech)[..] else { panic!("{:?}", seen.talk()) };
        assert_eq!((turn.text.as_str(), turn.interrupted), (TEXT, false));
        // "Good morning, " and the word behind it are written after 140 ms; the whole text would have taken 1.2 s.
        assert!(turn.start <= Ms(400), "seed {seed}: {}", turn.start);
        let whole = length_of(TEXT);
        assert!(turn.length_ms.0.abs_diff(whole.0) <= 40, "no gap: {} of {whole}", turn.length_ms);
        assert_eq!(seen.done(), [("answer", false)], "one prompt");
        assert_eq!(seen.record().quality.under_runs, 0);
    }
}

#[test]
fn a_writer_who_is_too_slow_makes_counted_pauses_and_no_stutter() {
    let seen = says(|| written(TEXT, 500)).run(1);
    let [turn] = seen.turns(Role::Speech)[..] else { panic!("{:?}", seen.talk()) };
    assert_eq!(turn.text, TEXT);
    assert!(turn.length_ms > length_of(TEXT) + Ms(500));
    let pauses = seen.record().quality.under_runs;
    assert!((1..=4).contains(&pauses), "between clauses only: {pauses}");
}

#[test]
fn an_interruption_ends_it_and_what_still_comes_is_stale() {
    let mut scenario = says(|| written(TEXT, 250));
    scenario.recogniser = understands(&["stop"], 100);
    scenario.talk = vec![(2_000, Act::Speak(voice::recorded("caller-stop"))), (14_000, Act::HangUp)];
    scenario.dialogue = Box::new(|event| match &event.what {
        Line::Begin(_) => written(TEXT, 250),
        Line::Utterance(_) => vec![answering(event.id, Action::Say(sim::services::prompt("Yes?")))],
        _ => Vec::new(),
    });
    let seen = scenario.run(2);
    let [(_, heard, StoppedBy::Speech)] = seen.interruptions()[..] else { panic!("{:?}", seen.interruptions()) };
    let characters = TEXT.chars().count() as u32;
    assert!(heard.segment == 0 && heard.characters > 15 && heard.characters < characters, "{heard:?}");
    // What was heard of the text, by time: the sim speaks 61 ms a character.
    assert!(heard.characters.abs_diff(heard.heard.0 / 61) <= 3, "{heard:?}");
    let stale = |(_, event): &&(Duration, trunkline::call::line::LineEvent)| {
        matches!(event.what, Line::Fault(Fault::Stale { .. }))
    };
    assert!(seen.line.iter().filter(stale).count() >= 3);
    let robot: Vec<_> = seen.turns(Role::Speech).iter().map(|turn| turn.text.clone()).collect();
    assert_eq!(robot.len(), 2, "nothing of it is said after that: {robot:?}");
    assert!(TEXT.starts_with(&robot[0]));
}

#[test]
fn one_that_does_not_go_on_ends_and_says_so() {
    let seen = says(|| vec![act(piece("Good morning, this is the parcel service. And ", true))]).run(3);
    let [turn] = seen.turns(Role::Speech)[..] else { panic!("{:?}", seen.talk()) };
    assert_eq!(turn.text, "Good morning, this is the parcel service. And");
    assert_eq!(seen.done(), [("answer", false)]);
    let [fault] = &seen.record().faults[..] else { panic!("{:?}", seen.record().faults) };
    assert_eq!(fault, "dialogue: say.more: nothing followed for prompt \"answer\" in 4000 ms, it ends here");
}

#[test]
fn an_end_without_a_beginning_is_refused() {
    let seen = says(|| vec![act(end())]).run(4);
    assert_eq!(
        seen.record().faults[..1],
        ["dialogue: say.segments: at least one is needed, no prompt of this id goes on"]
    );
    assert!(
        !seen.told.iter().any(|(_, _, w)| matches!(w, What::PromptStarted { prompt_id, .. } if prompt_id == "answer"))
    );
}

#[test]
fn a_hang_up_waits_for_the_end_of_what_is_being_written() {
    let seen = says(|| {
        let mut replies = written(TEXT, 60);
        replies.push(sim::services::hang_up("done").after(100));
        replies
    })
    .run(5);
    let [turn] = seen.turns(Role::Speech)[..] else { panic!("{:?}", seen.talk()) };
    assert_eq!((turn.text.as_str(), turn.interrupted), (TEXT, false));
}
