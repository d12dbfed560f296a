//! Who may stop a prompt, and what is heard of it then.

mod sim;

use std::time::Duration;

use sim::network::Weather;
use sim::phone::Act;
use sim::services::{act, answering, length_of, prompt, prompt_of, say, understands};
use sim::{Order, Scenario, Seen, voice};
use trunkline::call::action::Action;
use trunkline::call::event::{StoppedBy, What};
use trunkline::call::io::{FromSpeech, ToRecogniser};
use trunkline::call::knobs::{BargeIn, KnobChange, Knobs, OnBargeIn};
use trunkline::call::leg::LegEvent;
use trunkline::call::line::Line;
use trunkline::call::prompt::Prompt;
use trunkline::call::record::Role;
use trunkline::codec::coding::Band;
use trunkline::ms::Ms;

const LONG: &str = "A very long prompt, of which nobody in his right mind would want to hear every word to its very last end, though \
                    it goes on and on and on.";

/// A long prompt, and somebody who speaks 2 s after the answer; after his utterance the robot says "Yes?".
fn interrupted_by(words: Vec<i16>, long: Prompt) -> Scenario {
    Scenario {
        dialogue: Box::new(move |event| match &event.what {
            Line::Begin(_) => vec![act(Action::Say(long.clone()))],
            Line::Utterance(u) if !u.during_prompt => {
                vec![answering(event.id, Action::Say(prompt("Yes?")))]
            }
            _ => Vec::new(),
        }),
        recogniser: understands(&["stop"], 150),
        talk: vec![(2_000, Act::Speak(words)), (13_000, Act::HangUp)],
        ..Scenario::outbound()
    }
}

/// The moment of the decision, and media time of the end of what was heard.
fn stopped(seen: &Seen) -> (Duration, Ms) {
    let event = seen.leg.iter().find_map(|(at, event)| match event {
        LegEvent::PromptInterrupted { at: end, .. } => Some((*at, *end)),
        _ => None,
    });
    event.expect("a prompt is stopped")
}

#[test]
fn speech_stops_the_prompt_at_once_and_for_good() {
    let words = voice::recorded("caller-stop");
    for seed in 0..8 {
        let scenario = interrupted_by(words.clone(), prompt(LONG));
        // The synthesiser is hardly faster than speech, so that audio of the stopped prompt keeps coming.
        let slow = Box::new(|(prompt, segment), wanted: &_, _| {
            let pieces = sim::services::spoken((prompt, segment), wanted, 0).into_iter().zip(0u32..);
            pieces.map(|((_, piece), n)| (60 + n * 95, piece)).collect()
        });
        let scenario = Scenario { synthesiser: slow, ..scenario };
        let scenario = if seed % 2 == 1 { scenario.over_poor_network() } else { scenario };
        let seen = scenario.run(seed);
        let (decided, end) = stopped(&seen);
        let answer = seen.turns(Role::Speech)[1];
        assert_eq!(answer.text, "Yes?");
        assert!(!seen.robot_heard(end, answer.start - Ms(20)), "seed {seed}: heard after the fade");
        // On the wire: the packet of the decision is the last one with sound, until the answer.
        let loud = |p: &&sim::phone::Stamp| p.sounds && seen.media(p.at) + Ms(20) < answer.start;
        let last = seen.sent.iter().filter(loud).map(|p| p.at).max().expect("it was heard");
        assert!(last <= decided, "seed {seed}: {last:?} is after the decision at {decided:?}");
        // What is told is what was heard.
        let [(_, heard, by)] = seen.interruptions()[..] else { panic!("{:?}", seen.interruptions()) };
        assert_eq!(by, StoppedBy::Speech);
        let long = seen.turns(Role::Speech)[0];
        let last = seen.last_word(answer.start - Ms(20));
        assert!((long.start + heard.heard).0.abs_diff(last.0) <= 20, "seed {seed}: {heard:?} till {last}");
        assert_eq!((long.interrupted, long.interrupted_at), (true, Some(end)));
        let all = LONG.chars().count() as u32;
        assert!(heard.characters > 0 && heard.characters < all, "{heard:?}");
        // And in time: min_speech, a slot, the jitter buffer, and what the judge needs.
        let (first, _) = seen.word(0, &words);
        let most = Ms(200 + 20) + if seed % 2 == 1 { Ms(180) } else { Ms(120) };
        assert!(end - first <= most, "seed {seed}: stopped {} after the first sound", end - first);
        // The synthesiser is told, the dialogue is told at once, and again with the words.
        assert_eq!(seen.unwanted.len(), 1);
        let line: Vec<_> = seen.line.iter().map(|(_, event)| &event.what).collect();
        let barge_in = line.iter().position(|l| matches!(l, Line::BargeIn(_))).expect("told");
        let done = line.iter().position(|l| matches!(l, Line::PromptDone { interrupted: Some(_), .. })).expect("told");
        let words = line.iter().position(|l| matches!(l, Line::Utterance(_))).expect("told");
        assert!(barge_in < done && done < words, "{line:#?}");
        let utterance = seen.asked()[0];
        assert_eq!(utterance.interrupted.as_ref(), Some(heard));
        assert!(!utterance.during_prompt);
    }
}

/// What waits in the jitter buffer is a voice already: on a bad line that is 60 ms.
#[test]
fn who_interrupts_does_not_wait_for_the_jitter_buffer() {
    let uneven = Weather { jitter: 60, ..Weather::CLEAN };
    let mut took = Vec::new();
    for seed in 0..12 {
        let scenario = interrupted_by(voice::recorded("caller-stop"), prompt(LONG));
        let seen = Scenario { rtp: uneven, ..scenario }.run(seed);
        let (_, end) = stopped(&seen);
        let onset = seen.leg.iter().find_map(|(_, event)| match event {
            LegEvent::SpeechStarted { onset, .. } => Some(*onset),
            _ => None,
        });
        took.push((end - onset.expect("it was heard to begin")).0);
    }
    took.sort_unstable();
    assert!(took[6] <= 200 + 40, "{took:?}");
}

#[test]
fn a_prompt_that_nobody_may_stop_is_played_whole_and_the_words_are_delivered() {
    let never = || Prompt { barge_in: Some(BargeIn::Never), ..prompt(LONG) };
    for seed in 0..4 {
        let mut scenario = interrupted_by(voice::recorded("caller-stop"), never());
        scenario.talk.insert(1, (6_500, Act::Press('5')));
        let seen = scenario.run(seed);
        let robot = seen.turns(Role::Speech);
        assert_eq!((robot.len(), robot[0].interrupted, robot[0].length_ms), (1, false, length_of(LONG)));
        let [utterance] = seen.asked()[..] else { panic!("{:?}", seen.asked()) };
        assert!(utterance.during_prompt && utterance.interrupted.is_none() && utterance.text == "stop");
        assert!(seen.interruptions().is_empty());
        assert_eq!(seen.record().keys, "5", "a key is told all the same");
    }
}

#[test]
fn the_protected_part_is_heard_and_what_follows_is_not() {
    let words = voice::recorded("caller-stop");
    let protected = Prompt { protect: Some(Ms(3_500)), ..prompt(LONG) };
    for seed in 0..4 {
        let seen = interrupted_by(words.clone(), protected.clone()).run(seed);
        let [(_, heard, _)] = seen.interruptions()[..] else { panic!("{:?}", seen.interruptions()) };
        assert!(heard.heard >= Ms(3_500) && heard.heard <= Ms(3_540), "he is still speaking: {heard:?}");
    }
    let protected = Prompt { protect: Some(Ms(8_000)), ..prompt(LONG) };
    let seen = interrupted_by(words, protected).run(9);
    assert!(seen.interruptions().is_empty(), "he has finished before it was over");
    assert!(seen.asked()[0].during_prompt);
}

#[test]
fn a_word_shorter_than_min_speech_does_not_stop_a_prompt() {
    // "Hello." is about 500 ms of voice.
    for (min_speech, stops) in [(200, true), (900, false)] {
        for seed in 0..3 {
            let mut scenario = interrupted_by(voice::recorded("human-hello"), prompt(LONG));
            scenario.knobs.min_speech = Ms(min_speech);
            let seen = scenario.run(seed);
            assert_eq!(seen.interruptions().len(), usize::from(stops), "min_speech {min_speech}");
            assert_eq!(seen.asked()[0].during_prompt, !stops);
        }
    }
}

#[test]
fn music_neither_stops_a_prompt_nor_makes_it_pause_and_does_where_no_second_opinion_is_asked() {
    for on_barge_in in [OnBargeIn::Stop, OnBargeIn::Pause] {
        for (second_opinion, goes_on) in [(true, true), (false, false)] {
            let mut scenario = interrupted_by(voice::music(Ms(4_000)), prompt(LONG));
            scenario.recogniser = understands(&[""], 150);
            scenario.knobs = Knobs { second_opinion, on_barge_in, ..scenario.knobs };
            let seen = scenario.run(1);
            let held = seen.turns(Role::Speech)[0].interrupted
                || seen.told.iter().any(|(_, _, what)| matches!(what, What::PromptPaused { .. }));
            assert_eq!(held, !goes_on, "second opinion {second_opinion}, {on_barge_in:?}");
        }
    }
}

#[test]
fn a_voice_stops_the_prompt_all_the_same_also_right_after_music() {
    let words = voice::recorded("caller-stop");
    let after_music = [voice::music(Ms(2_000)), vec![0; 8_000], words.clone()].concat();
    for (sound, begins) in [(words, Ms(0)), (after_music, Ms(3_000))] {
        for seed in 0..4 {
            let seen = interrupted_by(sound.clone(), prompt(LONG)).run(seed);
            let (_, end) = stopped(&seen);
            let began = seen.media(seen.spoke[0]) + begins;
            assert!(end > began && end < began + Ms(1_000), "seed {seed}: stopped at {end}, he began after {began}");
        }
    }
}

#[test]
fn a_key_stops_the_prompt_unless_it_may_not() {
    for (key_barge_in, stops) in [(true, true), (false, false)] {
        for seed in 0..4 {
            let scenario = Scenario {
                talk: vec![(2_000, Act::Press('7')), (10_500, Act::HangUp)],
                knobs: Knobs { key_barge_in, no_input: Ms(0), ..Knobs::default() },
                dialogue: Box::new(|event| match &event.what {
                    Line::Begin(_) => vec![say(LONG)],
                    Line::Key { .. } => vec![answering(event.id, Action::Say(prompt("Seven.")))],
                    _ => Vec::new(),
                }),
                ..Scenario::outbound()
            };
            let scenario = if seed % 2 == 1 { scenario.over_poor_network() } else { scenario };
            let seen = scenario.run(seed);
            assert_eq!(seen.record().keys, "7", "seed {seed}");
            let key = seen.line.iter().find_map(|(_, event)| match &event.what {
                Line::Key { key: '7', interrupted } => Some(interrupted.as_ref().map(|h| h.prompt_id.as_str())),
                _ => None,
            });
            assert_eq!(key, Some(stops.then_some(LONG)), "seed {seed}");
            assert_eq!(seen.interruptions().iter().filter(|i| i.2 == StoppedBy::Key).count(), usize::from(stops));
            if stops {
                let (_, end) = stopped(&seen);
                assert!(!seen.robot_heard(end, seen.turns(Role::Speech)[1].start - Ms(20)));
            }
        }
    }
}

#[test]
fn an_utterance_over_a_prompts_tail_is_an_ordinary_turn() {
    // The prompt ends 2.4 s after the answer, in the middle of what is said.
    let tail = Prompt { barge_in: Some(BargeIn::Never), ..prompt("A prompt of some forty characters' length") };
    for seed in 0..4 {
        let seen = interrupted_by(voice::recorded("caller-stop"), tail.clone()).run(seed);
        let [utterance] = seen.asked()[..] else { panic!("{:?}", seen.asked()) };
        assert!(utterance.start < seen.turns(Role::Speech)[0].stop, "it began under the prompt");
        assert!(!utterance.during_prompt);
        assert_eq!(seen.talk().last().map(String::as_str), Some("robot: Yes?"), "and is answered");
    }
}

#[test]
fn an_interruption_empties_the_queue_and_each_prompt_is_told() {
    for seed in 0..4 {
        let mut scenario = interrupted_by(voice::recorded("caller-stop"), prompt(LONG));
        scenario.dialogue = Box::new(|event| match &event.what {
            Line::Begin(_) => vec![
                act(Action::Say(prompt_of("first", &["One very long sentence, or", "two of them, and again"]))),
                act(Action::Say(prompt_of("second", &["three", "four", "five", "six"]))),
                act(Action::Say(prompt_of("third", &["seven", "eight"]))),
            ],
            Line::Utterance(_) => vec![act(Action::Say(prompt_of("fourth", &["nine", "ten", "eleven", "twelve"])))],
            _ => Vec::new(),
        });
        let seen = scenario.run(seed);
        assert_eq!(seen.done(), [("first", true), ("second", true), ("third", true), ("fourth", false)]);
        let heard: Vec<_> = seen.interruptions().iter().map(|(_, heard, _)| heard.heard > Ms(0)).collect();
        assert_eq!(heard, [true, false, false]);
        let marks =
            seen.told.iter().filter(|(_, _, w)| matches!(w, What::Mark { prompt_id, .. } if prompt_id == "fourth"));
        assert_eq!(marks.count(), 4, "the next prompt is whole");
    }
}

/// What is asked for after the stop is not what the stop meant.
#[test]
fn stop_then_say_stops_the_one_and_says_the_other() {
    for seed in 0..10 {
        let short = "Something shorter.";
        let scenario = Scenario {
            dialogue: Box::new(move |event| match &event.what {
                Line::Begin(_) => vec![
                    act(Action::Say(prompt_of("long", &["some text", LONG, LONG]))),
                    act(Action::Stop).after(3_000),
                    act(Action::Say(prompt_of("short", &[short, "and another", "and a last"])))
                        .after(3_000 + seed as u32 / 5),
                ],
                _ => Vec::new(),
            }),
            talk: vec![(10_000, Act::HangUp)],
            ..Scenario::outbound()
        };
        let seen = scenario.run(seed);
        assert_eq!(seen.done(), [("long", true), ("short", false)], "seed {seed}");
        assert_eq!(seen.interruptions().len(), 1);
    }
}

#[test]
fn the_orchestrator_stops_a_prompt_too() {
    let scenario = Scenario {
        dialogue: Box::new(|event| if event.id == 1 { vec![say(LONG)] } else { Vec::new() }),
        orders: vec![(4_000, Order::Do(Action::Stop)), (5_000, Order::Do(Action::Stop))],
        talk: vec![(6_000, Act::HangUp)],
        ..Scenario::outbound()
    };
    let seen = scenario.run(1);
    assert_eq!(seen.interruptions().iter().map(|i| i.2).collect::<Vec<_>>(), [StoppedBy::Stop]);
    assert_eq!(seen.done(), [(LONG, true)]);
}

#[test]
fn barge_in_may_be_changed_while_a_prompt_waits() {
    // The policy of a prompt is the knob's value when it was asked for.
    let change = KnobChange { barge_in: Some(BargeIn::Never), ..KnobChange::default() };
    let scenario = Scenario {
        dialogue: Box::new(move |event| match &event.what {
            Line::Begin(_) => vec![act(Action::Set(change.clone())), say(LONG)],
            _ => Vec::new(),
        }),
        rtp: Weather::POOR,
        ..interrupted_by(voice::recorded("caller-stop"), prompt(LONG))
    };
    let seen = scenario.run(3);
    assert!(seen.interruptions().is_empty());
    assert!(seen.recogniser.iter().any(|(_, told)| matches!(told, ToRecogniser::UtteranceEnd { .. })));
}

#[test]
fn sound_that_comes_when_all_is_over_is_not_played() {
    let late =
        |prompt, segment| FromSpeech::Sound { prompt, segment, band: Band::Narrow, samples: voice::tone(Ms(2_000)) };
    let mut scenario = interrupted_by(voice::recorded("caller-stop"), prompt(LONG));
    scenario.synthesiser = Box::new(move |(prompt, segment), _, _| {
        vec![
            (50, late(prompt, segment)),
            (4_500, late(prompt, segment)),
            (4_600, FromSpeech::SoundEnd { prompt, segment }),
        ]
    });
    scenario.dialogue = Box::new(|event| if event.id == 1 { vec![say(LONG)] } else { Vec::new() });
    scenario.rules.dialogue_timeout = Duration::from_secs(20);
    scenario.talk = vec![(1_000, Act::Speak(voice::recorded("caller-stop"))), (9_000, Act::HangUp)];
    let seen = scenario.run(1);
    let (_, end) = stopped(&seen);
    assert!(!seen.robot_heard(end, Ms::MAX));
}
