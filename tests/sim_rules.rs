//! Rules of the conversation that have no file of their own: the table in `docs/conversation.md` says which test is whose.

mod sim;

use std::time::Duration;

use sim::phone::Act;
use sim::services::{act, hang_up, length_of, plain_collect, prompt, prompt_of, say, text, understands};
use sim::{Order, Scenario, Seen, voice};
use trunkline::call::action::Action;
use trunkline::call::event::What;
use trunkline::call::io::{Label, ToRecogniser};
use trunkline::call::knobs::OnBargeIn;
use trunkline::call::leg::LegEvent;
use trunkline::call::line::Line;
use trunkline::call::prompt::{Prompt, Segment, Source};
use trunkline::ms::Ms;

/// A dialogue that takes note and says nothing, for as long as a test needs.
fn listens() -> Scenario {
    let mut scenario = Scenario { dialogue: Box::new(|_| Vec::new()), ..Scenario::outbound() };
    scenario.rules.dialogue_timeout = Duration::from_secs(60);
    scenario
}

/// Onset of each utterance, and how long after it the leg was sure.
fn starts(seen: &Seen) -> Vec<(Ms, Ms)> {
    let one = |(at, event): &(Duration, LegEvent)| match event {
        LegEvent::SpeechStarted { onset, .. } => Some((*onset, seen.media(*at).saturating_sub(*onset))),
        _ => None,
    };
    seen.leg.iter().filter_map(one).collect()
}

#[test]
fn speech_counts_after_speech_start_ms_of_voice_and_its_start_is_the_onset() {
    let words = voice::recorded("caller-when");
    let mut onsets = Vec::new();
    for speech_start in [20, 100, 300] {
        let mut scenario = Scenario {
            talk: vec![(1_000, Act::Speak(words.clone())), (9_000, Act::HangUp)],
            recogniser: understands(&["when"], 0),
            ..listens()
        };
        scenario.knobs.speech_start = Ms(speech_start);
        let seen = scenario.run(1);
        let (onset, after) = starts(&seen)[0];
        // What the jitter buffer keeps back comes on top, and a frame.
        assert!((speech_start..=speech_start + 200).contains(&after.0), "{speech_start}: sure {after} after it");
        let (first, _) = seen.word(0, &words);
        assert!(onset.0.abs_diff(first.0) <= 100, "{speech_start}: {onset}, and he began at {first}");
        onsets.push(onset);
    }
    assert!(onsets[2].0.abs_diff(onsets[0].0) <= 60, "back-dated, however long it takes: {onsets:?}");
}

#[test]
fn a_sound_shorter_than_speech_start_ms_is_no_speech() {
    let cough = voice::syllable("human-hello", Ms(120));
    for (speech_start, heard) in [(60, true), (400, false)] {
        let mut scenario =
            Scenario { talk: vec![(1_000, Act::Speak(cough.clone())), (5_000, Act::HangUp)], ..listens() };
        scenario.knobs.speech_start = Ms(speech_start);
        assert_eq!(!starts(&scenario.run(1)).is_empty(), heard, "{speech_start}");
    }
}

#[test]
fn recognition_gets_pre_roll_ms_before_the_onset() {
    for pre_roll in [0, 300, 1_000] {
        let mut scenario = Scenario {
            talk: vec![(2_000, Act::Speak(voice::recorded("human-thank-you"))), (6_000, Act::HangUp)],
            ..listens()
        };
        scenario.knobs.pre_roll = Ms(pre_roll);
        let seen = scenario.run(1);
        let told = seen.recogniser.iter().find_map(|(_, told)| match told {
            ToRecogniser::UtteranceStart { start, from, .. } => Some((*start, *from)),
            _ => None,
        });
        let (start, from) = told.expect("he spoke");
        assert_eq!(start - from, Ms(pre_roll));
        // And that audio was there, frame by frame.
        let before = seen.heard.iter().filter(|frame| frame.at >= from && frame.at < start).count();
        assert!(before as u32 >= (pre_roll / 20).saturating_sub(1), "{before} frames of {pre_roll} ms");
    }
}

#[test]
fn recognition_gets_every_frame_and_each_is_labelled_as_under_a_prompt_or_not() {
    let scenario = Scenario {
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => vec![say("A greeting of about two seconds.").after(1_000)],
            _ => Vec::new(),
        }),
        talk: vec![(500, Act::Speak(voice::recorded("human-hello"))), (6_000, Act::HangUp)],
        ..listens()
    };
    let seen = scenario.run(1);
    let at = |wanted: fn(&LegEvent) -> bool| {
        let found = seen.leg.iter().find(|(_, event)| wanted(event));
        seen.media(found.expect("it was said").0)
    };
    let start = at(|event| matches!(event, LegEvent::PromptStarted { .. }));
    let stop = at(|event| matches!(event, LegEvent::PromptFinished { .. } | LegEvent::PromptInterrupted { .. }));
    // The frames in the order in which they were heard, one a slot from the beginning to the end (checked of every call).
    for (frame, n) in seen.heard.iter().zip(0..) {
        let slot = Ms(n * 20);
        if slot.0.abs_diff(start.0) > 40 && slot.0.abs_diff(stop.0) > 40 {
            let label = if start < slot && slot < stop { Label::UnderPrompt } else { Label::Open };
            assert_eq!(frame.label, label, "at {slot}, prompt from {start} to {stop}");
        }
    }
    assert!(seen.heard.iter().any(|frame| frame.label == Label::UnderPrompt));
}

#[test]
fn no_input_ms_of_0_is_off() {
    for (no_input, times) in [(0, 0), (2_000, 1)] {
        let mut scenario = Scenario {
            dialogue: Box::new(|event| match &event.what {
                Line::Begin(_) => vec![say("Hello.")],
                Line::NoInput { .. } => vec![hang_up("silence")],
                _ => Vec::new(),
            }),
            talk: vec![(12_000, Act::HangUp)],
            ..listens()
        };
        scenario.knobs.no_input = Ms(no_input);
        let seen = scenario.run(1);
        let told = seen.line.iter().filter(|(_, event)| matches!(event.what, Line::NoInput { .. })).count();
        assert_eq!(told, times, "{no_input}");
    }
}

#[test]
fn a_pause_is_decided_within_verdict_ms() {
    for verdict in [100, 900] {
        let mut scenario = Scenario {
            dialogue: Box::new(|event| match &event.what {
                Line::Begin(_) => vec![say("A sentence that is so long that a cough cannot come after its end.")],
                _ => Vec::new(),
            }),
            // Neither words nor a voice that goes on.
            recogniser: Box::new(|_| Vec::new()),
            talk: vec![(1_500, Act::Speak(voice::syllable("human-hello", Ms(260)))), (9_000, Act::HangUp)],
            ..listens()
        };
        scenario.knobs.on_barge_in = OnBargeIn::Pause;
        scenario.knobs.verdict = Ms(verdict);
        scenario.knobs.echo_guard_db = 0;
        let seen = scenario.run(1);
        let at = |wanted: fn(&LegEvent) -> bool| {
            let found = seen.leg.iter().find(|(_, event)| wanted(event));
            seen.media(found.unwrap_or_else(|| panic!("{:?}", seen.leg)).0)
        };
        let paused = at(|event| matches!(event, LegEvent::PromptPaused { .. }));
        // On, if the voice is over by then; else stopped.
        let goes_on = |event: &LegEvent| matches!(event, LegEvent::PromptResumed { .. });
        assert_eq!(seen.leg.iter().any(|(_, event)| goes_on(event)), verdict == 900);
        let decided = at(|event| matches!(event, LegEvent::PromptResumed { .. } | LegEvent::PromptInterrupted { .. }));
        let lasted = (decided - paused).0;
        assert!((verdict..=verdict + 40).contains(&lasted), "{verdict}: {lasted}");
    }
}

#[test]
fn segments_of_every_kind_are_joined_without_a_gap() {
    let parts = [text("Your parcel comes"), Source::File("a.wav".into()), Source::Silence(Ms(333)), text("at nine.")];
    let segments = parts.into_iter().map(|source| Segment { source, mark: String::new() }).collect();
    let all = Prompt { segments, ..prompt("parcel") };
    let scenario = Scenario {
        dialogue: Box::new(move |event| match &event.what {
            Line::Begin(_) => vec![act(Action::Say(all.clone())), hang_up("done").after(30)],
            _ => Vec::new(),
        }),
        ..listens()
    };
    let seen = scenario.run(1);
    // Of recordings a second each, of texts what the synthesiser makes of them.
    let length = length_of("Your parcel comes") + Ms(1_000) + Ms(333) + length_of("at nine.");
    let [turn] = seen.turns(trunkline::call::record::Role::Speech)[..] else { panic!("{:?}", seen.record().turns) };
    assert!(turn.length_ms.0.abs_diff(length.0) <= 20, "{} of {length}", turn.length_ms);
    // Sample by sample: the only silence within is the one that was asked for, wherever its frame begins.
    let within = seen.recorded.iter().filter(|frame| turn.start <= frame.robot_at && frame.robot_at < turn.stop);
    let samples: Vec<i16> = within.flat_map(|frame| frame.robot).take(length.samples(8_000) as usize).collect();
    let mut silences = Vec::new();
    let mut run = 0;
    for sample in samples {
        // A tone passes zero, and stays there for less than this.
        if sample.unsigned_abs() > 64 {
            if run > 8 {
                silences.push(run);
            }
            run = 0;
        } else {
            run += 1;
        }
    }
    let [silence] = silences[..] else { panic!("{silences:?}") };
    assert!(Ms::of_samples(silence, 8_000).0.abs_diff(333) <= 2, "{silence} samples");
}

#[test]
fn later_segments_are_made_while_earlier_ones_are_heard_two_ahead_and_no_more() {
    let scenario = Scenario {
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => {
                let texts =
                    ["This is the first part.", "This is the second.", "The third one.", "And the last of them."];
                vec![act(Action::Say(prompt_of("parts", &texts))), hang_up("done").after(30)]
            }
            _ => Vec::new(),
        }),
        ..listens()
    };
    let seen = scenario.run(1);
    let began = |segment: u32| {
        let found = seen
            .leg
            .iter()
            .find(|(_, event)| matches!(event, LegEvent::SegmentStarted { segment: s, .. } if *s == segment));
        found.expect("each is heard").0
    };
    let wanted: Vec<_> = seen.wanted.iter().map(|(at, _, segment)| (*segment, *at)).collect();
    assert_eq!(wanted.iter().map(|(segment, _)| *segment).collect::<Vec<_>>(), [0, 1, 2, 3], "once each, in order");
    for (segment, at) in wanted {
        if segment > 0 {
            assert!(at < began(segment), "segment {segment} is asked for before its turn");
        }
        if segment > 1 {
            assert!(
                at >= began(segment - 2),
                "segment {segment} is not asked for before segment {} is heard",
                segment - 2
            );
        }
    }
}

#[test]
fn marks_are_told_when_their_segment_begins_to_be_heard_and_every_prompt_begins_and_ends_once() {
    let scenario = Scenario {
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => vec![
                act(Action::Say(prompt_of("first", &["one and", "two"]))),
                act(Action::Say(prompt_of("second", &["three"]))).after(25),
                hang_up("done").after(30),
            ],
            _ => Vec::new(),
        }),
        ..listens()
    };
    let seen = scenario.run(1);
    let told = seen.told.iter().filter_map(|(_, _, what)| match what {
        What::PromptStarted { prompt_id, .. } => Some(format!("{prompt_id} starts")),
        What::PromptFinished { prompt_id, .. } => Some(format!("{prompt_id} ends")),
        What::PromptInterrupted { heard, .. } => Some(format!("{} is stopped", heard.prompt_id)),
        What::Mark { mark, .. } => Some(mark.clone()),
        _ => None,
    });
    let told = told.collect::<Vec<_>>();
    let order =
        ["first starts", "mark one and", "mark two", "first ends", "second starts", "mark three", "second ends"];
    assert_eq!(told, order);
    let starts = seen.leg.iter().filter_map(|(_, event)| match event {
        LegEvent::SegmentStarted { at, .. } => Some(*at),
        _ => None,
    });
    let marks = seen.line.iter().filter_map(|(_, event)| match &event.what {
        Line::Mark { .. } => Some(event.at),
        _ => None,
    });
    for (start, mark) in starts.zip(marks) {
        assert!(mark.0.abs_diff(start.0) <= 42, "told at {mark}, heard from {start}");
    }
}

#[test]
fn a_prompt_that_is_stopped_cancels_what_is_being_made_of_it() {
    for by_speech in [true, false] {
        let scenario = Scenario {
            dialogue: Box::new(|event| match &event.what {
                Line::Begin(_) => {
                    let texts = ["This is quite a long first part of it.", "This is the second.", "The third one."];
                    vec![act(Action::Say(prompt_of("parts", &texts)))]
                }
                _ => Vec::new(),
            }),
            // Its end never comes: it is being made for as long as it is wanted.
            synthesiser: Box::new(|place, wanted, _| {
                let mut all = sim::services::spoken(place, wanted, 80);
                all.pop();
                all
            }),
            talk: match by_speech {
                true => vec![(1_200, Act::Speak(voice::recorded("caller-stop"))), (7_000, Act::HangUp)],
                false => vec![(7_000, Act::HangUp)],
            },
            orders: if by_speech { Vec::new() } else { vec![(3_500, Order::Do(Action::Stop))] },
            ..listens()
        };
        let seen = scenario.run(1);
        let [(at, ..)] = seen.interruptions()[..] else { panic!("{:?}", seen.interruptions()) };
        let [(cancelled, _)] = seen.unwanted[..] else { panic!("{:?}", seen.unwanted) };
        assert!(seen.media(cancelled).0.abs_diff(at.0) <= 42, "at once: {at}");
        let after = seen.recorded.iter().filter(|frame| frame.robot_at > at + Ms(20));
        assert!(after.into_iter().all(|frame| !voice::sounds(&frame.robot)), "not one more frame of it");
    }
}

#[test]
fn a_collection_and_a_hang_up_that_are_asked_for_after_a_prompt_wait_for_its_last_sample() {
    let collect = plain_collect(1, Ms(2_000));
    let scenario = Scenario {
        dialogue: Box::new(move |event| match &event.what {
            Line::Begin(_) => vec![
                say("Please press a key, whichever you like."),
                act(Action::Collect(Some(Box::new(collect.clone())))).after(25),
            ],
            Line::Keys { .. } => vec![say("Nothing came."), hang_up("done").after(30)],
            _ => Vec::new(),
        }),
        ..listens()
    };
    let seen = scenario.run(1);
    let result = seen.line.iter().find(|(_, event)| matches!(event.what, Line::Keys { .. })).expect("a result").1.at;
    let asked = seen.last_word(result);
    // Its time is the caller's: it begins with the end of the prompt.
    assert!((result - asked).0.abs_diff(2_000) <= 60, "{result}, {asked}");
    let bye = seen.media(seen.request("BYE").expect("we hang up"));
    assert!(bye - seen.last_word(Ms::MAX) >= Ms(200), "{bye}");
}
