//! Pauses of the recording: asked for by the orchestrator or the dialogue, told once, in the frames exactly, in the record. And the same
//! recording in two forms: what Opus leaves of it.

mod opusdec;
mod sim;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sim::phone::Act;
use sim::services::{act, final_text, partial, plain_collect, say, talks};
use sim::{Order, Scenario, Seen, voice};
use trunkline::call::action::Action;
use trunkline::call::conversation::Rules;
use trunkline::call::event::What;
use trunkline::call::io::ToRecogniser;
use trunkline::call::line::Line;
use trunkline::call::record::Pause;
use trunkline::codec::g711::Law;
use trunkline::journal::{self, Format, Keep, Settings, Stem};
use trunkline::ms::Ms;

const PAUSE: Order = Order::Do(Action::PauseRecording { on: true, keep_text: false });
const RESUME: Order = Order::Do(Action::PauseRecording { on: false, keep_text: false });

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
            Line::Begin(_) => {
                vec![act(Action::PauseRecording { on: true, keep_text: false }), say("Hello.").after(300)]
            }
            Line::PromptDone { .. } => vec![act(Action::PauseRecording { on: false, keep_text: false })],
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
            Line::Begin(_) => vec![act(Action::PauseRecording { on: true, keep_text: false }), say("Hello.")],
            _ => Vec::new(),
        }),
        talk: vec![(4_000, Act::HangUp)],
        ..Scenario::outbound()
    }
    .run(3);
    assert_eq!(told(&seen), []);
    assert_eq!(seen.faults().first(), Some(&"record_pause: the call is not recorded"));
    assert_paused_in(&seen, &[]);
}

/// A card number, said and pressed while the recording is paused, and repeated by the robot.
fn card(keep_text: bool) -> Seen {
    let pause = move |on| Order::Do(Action::PauseRecording { on, keep_text });
    Scenario {
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => vec![say("Please tell me the number of your card.")],
            Line::Utterance(_) => vec![say("It is a secret number.")],
            _ => Vec::new(),
        }),
        talk: vec![
            (6_000, Act::Speak(voice::recorded("human-thank-you"))),
            (12_000, Act::Press('4')),
            (13_000, Act::Press('7')),
            (16_000, Act::Press('1')),
            (18_000, Act::Speak(voice::recorded("human-thank-you"))),
            (26_000, Act::HangUp),
        ],
        // From the beginning of the call; it is answered some 2 s later.
        orders: vec![(7_500, pause(true)), (17_000, pause(false))],
        recogniser: Box::new(|told| {
            let text = |utterance| if utterance == 1 { "four seven" } else { "thank you" };
            match told {
                ToRecogniser::UtteranceStart { utterance, .. } => vec![(300, partial(utterance, text(utterance)))],
                ToRecogniser::UtteranceEnd { utterance, .. } => vec![(150, final_text(utterance, text(utterance)))],
                _ => Vec::new(),
            }
        }),
        // It has nothing to say to keys and silence.
        rules: Rules { dialogue_timeout: Duration::from_secs(60), ..Scenario::outbound().rules },
        ..Scenario::outbound()
    }
    .run(4)
}

/// What the caller said and what he pressed, as the dialogue got it.
fn heard(seen: &Seen) -> (Vec<String>, String) {
    let said = |event: &trunkline::call::line::LineEvent| match &event.what {
        Line::Utterance(utterance) => Some(utterance.text.clone()),
        _ => None,
    };
    let pressed = |event: &trunkline::call::line::LineEvent| match event.what {
        Line::Key { key, .. } => Some(key),
        _ => None,
    };
    let line = || seen.line.iter().map(|(_, event)| event);
    (line().filter_map(said).collect(), line().filter_map(pressed).collect())
}

/// Everything that the orchestrator is told, and the record, as one text.
fn world(seen: &Seen) -> String {
    let told: Vec<_> = seen.told.iter().map(|(_, _, what)| format!("{what:?}")).collect();
    told.join("\n") + &serde_json::to_string(seen.record()).expect("JSON")
}

#[test]
fn what_is_said_and_pressed_while_it_is_paused_is_seen_by_the_dialogue_alone() {
    let seen = card(false);
    let (said, pressed) = heard(&seen);
    assert_eq!((said, pressed.as_str()), (vec!["four seven".to_owned(), "thank you".to_owned()], "471"));
    let record = seen.record();
    assert_eq!(record.keys, "xx1");
    let turns: Vec<_> = record.turns.iter().map(|turn| turn.text.as_str()).collect();
    let secret = "It is a secret number.";
    assert_eq!(turns, ["Please tell me the number of your card.", "[masked]", "[masked]", "thank you", secret]);
    let world = world(&seen);
    assert!(!world.contains("Key { key: '4' }") && !world.contains("Key { key: '7' }"), "{world}");
    assert!(world.contains("Key { key: '1' }") && world.contains("thank you"));
    assert!(!world.contains("four"), "neither the partial nor the final: {world}");
    let begun = seen.told.iter().filter_map(|(_, _, what)| match what {
        What::PromptStarted { text, .. } => Some(text.as_str()),
        _ => None,
    });
    assert_eq!(begun.collect::<Vec<_>>(), [turns[0], "[masked]", secret]);
    // And with nothing hidden all of it is there.
    let seen = card(true);
    let record = seen.record();
    assert_eq!(record.keys, "471");
    assert!(record.turns.iter().all(|turn| turn.text != "[masked]"), "{:?}", record.turns);
    assert_eq!(record.recording_pauses.len(), 1);
}

#[test]
fn the_digits_of_a_collection_of_which_one_was_pressed_meanwhile_are_all_hidden() {
    let collect = plain_collect(3, Ms(60_000));
    let collect = Action::Collect(Some(Box::new(collect)));
    let seen = Scenario {
        dialogue: Box::new(move |event| match &event.what {
            Line::Begin(_) => vec![act(collect.clone())],
            _ => Vec::new(),
        }),
        talk: vec![(2_000, Act::Press('4')), (4_000, Act::Press('7')), (6_000, Act::Press('1')), (9_000, Act::HangUp)],
        orders: vec![(5_000, PAUSE), (7_000, RESUME)],
        rules: Rules { dialogue_timeout: Duration::from_secs(60), ..Scenario::outbound().rules },
        ..Scenario::outbound()
    }
    .run(5);
    let collected = seen.line.iter().find_map(|(_, event)| match &event.what {
        Line::Keys { digits, .. } => Some(digits.as_str()),
        _ => None,
    });
    assert_eq!(collected, Some("471"), "the dialogue has them");
    let told = seen.told.iter().find_map(|(_, _, what)| match what {
        What::KeysCollected { digits, .. } => Some(digits.as_str()),
        _ => None,
    });
    assert_eq!(told, Some("xxx"));
    assert_eq!(seen.record().keys, "4x1");
}

/// What the journal keeps of a simulated call in this form.
fn kept(seen: &Seen, folder: &Path, format: Format) -> PathBuf {
    let settings = Settings { folder: folder.to_owned(), format, keep: Keep::default(), upload: None, keep_events: 10 };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _within = runtime.enter();
    let journal = journal::start(&settings).expect("threads");
    let (mut ring, frames) = rtrb::RingBuffer::new(seen.recorded.len());
    seen.recorded.iter().for_each(|frame| ring.push(*frame).expect("room"));
    drop(ring);
    let (record, name) = (seen.record().clone(), Stem::parse("call").expect("a name"));
    journal.open_recording(record.call_id.as_str().into(), name.clone(), Law::A, frames);
    let at = record.talk_ms;
    let finished = journal.finish_call(record, name, at).blocking_recv().expect("answered");
    assert_eq!(finished.faults, [""; 0]);
    finished.wav.expect("recorded")
}

#[test]
fn the_same_call_in_opus_is_as_long_as_loud_and_in_step_and_as_silent_in_its_pause() {
    let seen = Scenario {
        dialogue: talks(
            "Please tell me the number of your card.",
            &["And the second half?", "It is a secret number.", "Goodbye."],
        ),
        talk: vec![
            (3_000, Act::Speak(voice::recorded("human-thank-you"))),
            (9_000, Act::Speak(voice::recorded("human-password"))),
            (14_010, Act::HangUp),
        ],
        orders: vec![(10_900, PAUSE), (12_000, RESUME)],
        ..Scenario::outbound()
    }
    .run(6);
    let folder = std::env::temp_dir().join(format!("trunkline-opus-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let wav = kept(&seen, &folder.join("wav"), Format::Pcm16);
    let opus = kept(&seen, &folder.join("opus"), Format::Opus { bitrate: 32_000 });
    assert!(opus.ends_with("opus/call.opus"), "{}", opus.display());
    let bytes = std::fs::metadata(&opus).expect("there").len();
    assert_eq!(opusdec::faults(&opus), [""; 0]);
    let said: Vec<i16> = hound::WavReader::open(&wav).expect("WAV").into_samples().map(|s| s.expect("whole")).collect();
    let said = said.as_chunks::<2>().0;
    let heard = opusdec::played(&opus);
    assert_eq!(heard.len(), 6 * said.len(), "not a sample more, nor less");
    let rate = bytes * 8 / (said.len() as u64 / 8_000);
    assert!((10_000..33_000).contains(&rate), "{rate} bit/s");
    let energy = |of: &mut dyn Iterator<Item = i32>| of.map(|sample| f64::from(sample).powi(2)).sum::<f64>() + 1.0;
    let decibel = |of: f64, to: f64| 10.0 * (of / to).log10();
    let [pause] = &seen.record().recording_pauses[..] else { panic!("one pause") };
    for channel in [0, 1] {
        let said: Vec<i32> = said.iter().map(|sample| sample[channel].into()).collect();
        let heard: Vec<i32> = heard.iter().map(|sample| sample[channel].into()).collect();
        // How far what is not alike is below what was said, if the one is later by so many of 48,000 a second.
        let likeness = |shift: i32| {
            let at = |n: usize| heard.get((n as i32 * 6 + shift) as usize).copied().unwrap_or(0);
            let off = energy(&mut said.iter().enumerate().skip(10).map(|(n, said)| said - at(n)));
            decibel(energy(&mut said.iter().copied()), off)
        };
        // The player's own way from 8 to 48 kHz takes a half of a sample of 8 kHz.
        let best = (-24..=24).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))).expect("some");
        assert!((0..6).contains(&best), "channel {channel}: {best} late");
        assert!(likeness(best) > 10.0, "channel {channel}: {} dB", likeness(best));
        // Wherever somebody speaks, he does in every 40 ms of it, as loud: there is no gap.
        let parts = said.chunks_exact(320).zip(heard.chunks_exact(6 * 320));
        let mut parts: Vec<_> = parts
            .map(|(said, heard)| (energy(&mut said.iter().copied()), energy(&mut heard.iter().copied()) / 6.0))
            .filter(|(said, _)| said / 320.0 > 316.0 * 316.0)
            .map(|(said, heard)| decibel(heard, said))
            .collect();
        parts.sort_by(f64::total_cmp);
        assert!(parts.len() > 40, "channel {channel} speaks in {} of them", parts.len());
        assert!(parts[0] > -10.0 && parts[parts.len() / 10] > -3.0, "channel {channel}: {parts:?}");
        assert!(parts.iter().all(|louder| *louder < 3.0), "channel {channel}: {parts:?}");
        // Nothing of what was said in the pause; what the decoder still has of what was said before it dies away in 60 ms.
        let (from, to) = (pause.start.as_u32() as usize + 60, pause.stop.as_u32() as usize - 10);
        assert!(to - from > 900, "{pause:?}");
        assert!(said[from * 8..to * 8].iter().all(|sample| *sample == 0));
        let rest = heard[from * 48..to * 48].iter().map(|sample| sample.abs()).max();
        assert!(rest <= Some(16), "{rest:?}: 66 dB below full scale and less");
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}
