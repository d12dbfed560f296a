//! Interruptions that words decide: prompts that only words stop, prompts that fall silent while it is decided, and what is a filler.

mod sim;

use std::sync::Arc;
use std::time::Duration;

use sim::phone::Act;
use sim::services::{Recogniser, act, answering, final_text, length_of, partial, prompt, say, understands};
use sim::{Scenario, Seen, voice};
use trunkline::call::action::Action;
use trunkline::call::event::{StoppedBy, What};
use trunkline::call::fillers::Fillers;
use trunkline::call::io::{FromSpeech, ToRecogniser};
use trunkline::call::knobs::{BargeIn, Knobs, OnBargeIn};
use trunkline::call::line::Line;
use trunkline::call::prompt::Prompt;
use trunkline::call::record::Role;
use trunkline::ms::Ms;

const LONG: &str = "A very long prompt, of which nobody in his right mind would want to hear every word to its very last end, though \
                    it goes on and on and on.";

/// Says the long prompt, hears somebody 2 s after the answer, and answers every turn with "Yes?".
fn hearing(words: &str, knobs: Knobs, recogniser: Recogniser) -> Scenario {
    Scenario {
        knobs: Knobs { no_input: Ms(0), ..knobs },
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => vec![say(LONG)],
            Line::Utterance(u) if !u.during_prompt => vec![answering(event.id, Action::Say(prompt("Yes?")))],
            _ => Vec::new(),
        }),
        recogniser,
        talk: vec![(2_000, Act::Speak(voice::recorded(words))), (14_000, Act::HangUp)],
        ..Scenario::outbound()
    }
}

fn by_words() -> Knobs {
    Knobs { barge_in: BargeIn::Words, ..Knobs::default() }
}

fn pausing(barge_in: BargeIn) -> Knobs {
    Knobs { barge_in, on_barge_in: OnBargeIn::Pause, ..Knobs::default() }
}

/// Partial texts so many ms after the begin of each utterance, and the final one so many after its end.
fn streams(partials: &[(u32, &str)], last: &str) -> Recogniser {
    let partials: Vec<(u32, String)> = partials.iter().map(|(at, text)| (*at, (*text).to_owned())).collect();
    let last = last.to_owned();
    Box::new(move |told| match told {
        ToRecogniser::UtteranceStart { utterance, .. } => {
            partials.iter().map(|(at, text)| (*at, partial(utterance, text))).collect()
        }
        ToRecogniser::UtteranceEnd { utterance, .. } => vec![(150, final_text(utterance, &last))],
        ToRecogniser::Expect(_) | ToRecogniser::Close => Vec::new(),
    })
}

/// Moments of the robot's pauses and of its going on, media time.
fn pauses(seen: &Seen) -> (Vec<Ms>, Vec<Ms>) {
    let at = |wanted: fn(&What) -> bool| seen.told.iter().filter(|(_, _, w)| wanted(w)).map(|(_, at, _)| *at).collect();
    (at(|w| matches!(w, What::PromptPaused { .. })), at(|w| matches!(w, What::PromptResumed { .. })))
}

#[test]
fn a_filler_does_not_stop_a_prompt_by_words() {
    for text in ["嗯", "Uh-huh.", "好的，嗯"] {
        let seen = hearing("human-hello", by_words(), streams(&[(200, text)], text)).run(1);
        assert!(seen.interruptions().is_empty(), "{text}");
        let robot = seen.turns(Role::Speech);
        assert_eq!((robot.len(), robot[0].length_ms), (1, length_of(LONG)), "played whole, and not answered: {text}");
        let [heard] = seen.asked()[..] else { panic!("{:?}", seen.asked()) };
        assert!(heard.during_prompt && heard.filler && heard.text == text, "nothing is lost: {heard:?}");
        assert_eq!(pauses(&seen), (vec![], vec![]));
    }
}

#[test]
fn words_that_count_stop_it_while_they_are_spoken() {
    for seed in 0..6 {
        let recogniser = streams(&[(100, "uh"), (500, "uh stop"), (900, "uh stop wait")], "uh stop wait a moment");
        let scenario = hearing("caller-stop", by_words(), recogniser);
        let scenario = if seed % 2 == 1 { scenario.over_poor_network() } else { scenario };
        let seen = scenario.run(seed);
        let [(_, heard, StoppedBy::Speech)] = seen.interruptions()[..] else { panic!("{:?}", seen.interruptions()) };
        let partial = |(at, _, what): &(Duration, Ms, What)| match what {
            What::Partial { text, .. } if text == "uh stop" => Some(*at),
            _ => None,
        };
        let known = seen.media(seen.told.iter().find_map(partial).expect("told"));
        let robot = seen.turns(Role::Speech);
        let stopped = robot[0].stop;
        assert!(stopped >= known && stopped - known <= Ms(45), "seed {seed}: at {stopped}, known at {known}");
        assert!(!seen.robot_heard(stopped, robot[1].start - Ms(20)), "seed {seed}");
        let [utterance] = seen.asked()[..] else { panic!("{:?}", seen.asked()) };
        assert_eq!((utterance.during_prompt, utterance.filler), (false, false));
        assert_eq!(utterance.interrupted.as_ref(), Some(heard));
        assert_eq!(seen.talk().last().map(String::as_str), Some("robot: Yes?"));
    }
}

#[test]
fn words_that_come_with_the_final_text_stop_it_and_are_a_turn() {
    for seed in 0..6 {
        let seen = hearing("human-hello", by_words(), understands(&["I do not want that"], 300)).run(seed);
        let [(_, heard, StoppedBy::Speech)] = seen.interruptions()[..] else { panic!("{:?}", seen.interruptions()) };
        let [utterance] = seen.asked()[..] else { panic!("{:?}", seen.asked()) };
        assert_eq!((utterance.during_prompt, utterance.interrupted.as_ref()), (false, Some(heard)), "seed {seed}");
        // The dialogue learns of the interruption first.
        let line: Vec<_> = seen.line.iter().map(|(_, event)| &event.what).collect();
        let barge_in = line.iter().position(|l| matches!(l, Line::BargeIn(_))).expect("told");
        assert!(barge_in < line.iter().position(|l| matches!(l, Line::Utterance(_))).expect("told"));
        assert_eq!(seen.talk().last().map(String::as_str), Some("robot: Yes?"));
    }
}

#[test]
fn min_words_and_the_list_are_the_calls_own() {
    let ignore = Arc::new(Fillers::new(&["hello"]).expect("a word"));
    for (knobs, text, stops) in [
        (Knobs { min_words: 3, ..by_words() }, "stop it", false),
        (Knobs { min_words: 3, ..by_words() }, "stop it now", true),
        (Knobs { min_words: 3, ..by_words() }, "等一下", true),
        (Knobs { ignore: ignore.clone(), ..by_words() }, "Hello!", false),
        (Knobs { ignore, ..by_words() }, "uh", true),
    ] {
        let seen = hearing("human-hello", knobs, understands(&[text], 100)).run(2);
        assert_eq!(seen.interruptions().len(), usize::from(stops), "{text}");
        assert_eq!(seen.asked()[0].during_prompt, !stops, "{text}");
    }
}

#[test]
fn the_protected_part_is_heard_whatever_is_said() {
    let recogniser = || streams(&[(300, "stop")], "stop wait a moment please");
    for (protect, stops) in [(3_500, true), (8_500, false)] {
        let mut scenario = hearing("caller-stop", by_words(), recogniser());
        scenario.dialogue = Box::new(move |event| match &event.what {
            Line::Begin(_) => vec![act(Action::Say(Prompt { protect: Some(Ms(protect)), ..prompt(LONG) }))],
            _ => Vec::new(),
        });
        let seen = scenario.run(3);
        match seen.interruptions()[..] {
            [(_, heard, _)] => assert!(stops && heard.heard >= Ms(protect) && heard.heard <= Ms(protect + 40)),
            _ => assert!(!stops && seen.asked()[0].during_prompt, "he had finished before it was over"),
        }
    }
}

#[test]
fn where_nobody_recognises_words_voice_stops_it() {
    let mut scenario = hearing("caller-stop", by_words(), Box::new(|_| Vec::new()));
    scenario.rules.recogniser = false;
    assert_eq!(scenario.run(4).interruptions().len(), 1);
    // Lost before the prompt is asked for.
    let mut scenario = hearing("caller-stop", by_words(), Box::new(|_| Vec::new()));
    let lost = FromSpeech::RecognitionTrouble { reason: "gone".into(), lost: true };
    scenario.orders = vec![(1_600, sim::Order::Say(trunkline::call::io::Input::Speech(lost)))];
    scenario.dialogue = Box::new(|event| match &event.what {
        Line::Begin(_) => vec![say(LONG).after(800)],
        _ => Vec::new(),
    });
    assert_eq!(scenario.run(4).interruptions().len(), 1);
}

#[test]
fn a_prompt_pauses_for_a_filler_and_goes_on_from_where_it_stopped() {
    for barge_in in [BargeIn::Speech, BargeIn::Words] {
        for seed in 0..6 {
            let recogniser = streams(&[(250, "嗯")], "嗯");
            let scenario = hearing("human-hello", pausing(barge_in), recogniser);
            let scenario = if seed % 2 == 1 { scenario.over_poor_network() } else { scenario };
            let seen = scenario.run(seed);
            assert!(seen.interruptions().is_empty(), "seed {seed}");
            let (paused, resumed) = pauses(&seen);
            let ([paused], [resumed]) = (&paused[..], &resumed[..]) else { panic!("{paused:?} {resumed:?}") };
            assert!(!seen.robot_heard(*paused + Ms(20), *resumed - Ms(20)), "silent meanwhile");
            let wait = *resumed - *paused;
            assert!(wait <= Ms(500 + 40), "seed {seed}: {wait} for a verdict of 500");
            let robot = seen.turns(Role::Speech);
            assert_eq!(robot.len(), 1, "one prompt, nothing is answered");
            assert!(!robot[0].interrupted);
            // What is missing is silence, and nothing of the prompt.
            let longer = robot[0].length_ms - length_of(LONG);
            assert!(longer.0.abs_diff(wait.0) <= 40, "seed {seed}: {longer} longer, paused for {wait}");
            let [heard] = seen.asked()[..] else { panic!("{:?}", seen.asked()) };
            assert!(heard.during_prompt && heard.filler);
        }
    }
}

#[test]
fn a_prompt_that_has_paused_is_stopped_by_words() {
    for barge_in in [BargeIn::Speech, BargeIn::Words] {
        for seed in 0..6 {
            let seen = hearing("caller-stop", pausing(barge_in), streams(&[(400, "stop")], "stop wait")).run(seed);
            let (paused, resumed) = pauses(&seen);
            assert_eq!((paused.len(), resumed.len()), (1, 0), "seed {seed}");
            let [(_, heard, StoppedBy::Speech)] = seen.interruptions()[..] else {
                panic!("{:?}", seen.interruptions())
            };
            let robot = seen.turns(Role::Speech);
            assert!(robot[0].stop <= paused[0] + Ms(20), "it ended where it fell silent: {:?} {paused:?}", robot[0]);
            assert_eq!(robot[0].start + heard.heard, robot[0].stop);
            let [utterance] = seen.asked()[..] else { panic!("{:?}", seen.asked()) };
            assert!(!utterance.during_prompt && utterance.interrupted.as_ref() == Some(heard));
            assert_eq!(seen.talk().last().map(String::as_str), Some("robot: Yes?"));
        }
    }
}

#[test]
fn a_noise_makes_a_prompt_pause_and_go_on() {
    for seed in 0..4 {
        // A third of a second of voice, of which nothing is understood.
        let mut scenario = hearing("human-hello", pausing(BargeIn::Speech), understands(&[""], 150));
        let short = voice::recorded("human-hello")[..3_200].to_vec();
        scenario.talk[0] = (2_000, Act::Speak(short));
        let seen = scenario.run(seed);
        let (paused, resumed) = pauses(&seen);
        assert_eq!((paused.len(), resumed.len(), seen.interruptions().len()), (1, 1, 0), "seed {seed}");
        assert!(seen.asked()[0].during_prompt && !seen.asked()[0].filler);
    }
}

#[test]
fn a_voice_that_goes_on_without_a_text_stops_a_prompt_by_speech_and_not_one_by_words() {
    for (barge_in, stops) in [(BargeIn::Speech, true), (BargeIn::Words, false)] {
        let seen = hearing("human-password", pausing(barge_in), understands(&[""], 150)).run(5);
        let (paused, resumed) = pauses(&seen);
        assert_eq!(paused.len(), 1, "once in an utterance");
        assert_eq!((seen.interruptions().len(), resumed.len()), (usize::from(stops), usize::from(!stops)));
        if stops {
            let (stopped, _, _) = seen.interruptions()[0];
            let after = stopped - paused[0];
            assert!(after >= Ms(480) && after <= Ms(560), "at its verdict, {after} after");
        }
    }
}

#[test]
fn words_that_come_after_the_prompt_went_on_stop_it_all_the_same() {
    let recogniser = || streams(&[(100, "uh"), (1_300, "uh stop")], "uh stop wait");
    for seed in 0..4 {
        let seen = hearing("caller-stop", pausing(BargeIn::Speech), recogniser()).run(seed);
        let (paused, resumed) = pauses(&seen);
        assert_eq!((paused.len(), resumed.len(), seen.interruptions().len()), (1, 1, 1), "seed {seed}");
        assert!(!seen.asked()[0].during_prompt);
    }
}

#[test]
fn a_key_and_a_stop_end_what_has_paused() {
    for key in [true, false] {
        let mut scenario = hearing("caller-stop", pausing(BargeIn::Words), understands(&[""], 150));
        scenario.knobs.verdict = Ms(5_000);
        match key {
            true => scenario.talk.insert(1, (3_000, Act::Press('1'))),
            false => scenario.orders = vec![(4_700, sim::Order::Do(Action::Stop))],
        }
        let seen = scenario.run(6);
        let (paused, resumed) = pauses(&seen);
        let by: Vec<_> = seen.interruptions().iter().map(|i| i.2).collect();
        assert_eq!((paused.len(), resumed.len()), (1, 0), "{by:?}");
        assert_eq!(by, [if key { StoppedBy::Key } else { StoppedBy::Stop }]);
    }
}

#[test]
fn a_filler_under_a_prompt_does_not_make_the_callers_time_longer() {
    // A short prompt; the filler begins under it and its text comes long after its end.
    let tail = "A prompt of some fifty characters' length, or more";
    let mut scenario = hearing("human-hello", by_words(), understands(&["嗯"], 1_200));
    scenario.knobs.no_input = Ms(3_000);
    scenario.dialogue = Box::new(move |event| match &event.what {
        Line::Begin(_) => vec![say(tail)],
        _ => Vec::new(),
    });
    scenario.talk = vec![(1_300, Act::Speak(voice::recorded("human-hello"))), (9_000, Act::HangUp)];
    scenario.rules.dialogue_timeout = Duration::from_secs(60);
    let seen = scenario.run(7);
    let end = seen.turns(Role::Speech)[0].stop;
    let [heard] = seen.asked()[..] else { panic!("{:?}", seen.asked()) };
    assert!(heard.during_prompt && heard.filler, "{heard:?} till {end}");
    let no_input = seen.told.iter().find(|(_, _, w)| matches!(w, What::NoInput { .. })).map(|(_, at, _)| *at);
    let after = no_input.expect("told") - end;
    assert!(after >= Ms(3_000) && after <= Ms(3_040), "{after} after the robot's last sample");
}
