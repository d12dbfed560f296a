//! The robot's own voice comes back on the line, and does not interrupt the robot.

mod sim;

use sim::phone::Act;
use sim::services::{answering, partial, prompt, say, understands};
use sim::{Scenario, voice};
use trunkline::call::action::Action;
use trunkline::call::event::{StoppedBy, What};
use trunkline::call::io::{FromSpeech, ToRecogniser};
use trunkline::call::knobs::{BargeIn, Knobs, OnBargeIn};
use trunkline::call::line::Line;
use trunkline::call::record::Role;
use trunkline::codec::coding::Band;
use trunkline::ms::Ms;

/// The robot speaks with a human voice for some ten seconds, over a line that gives it back after so many ms, by so many dB softer.
fn echoing(delay: u32, loss_db: f32, knobs: Knobs) -> Scenario {
    let words = ["human-not-understood", "human-password", "human-nobody-available"].map(voice::recorded).concat();
    Scenario {
        echo: Some((Ms(delay), 10f32.powf(-loss_db / 20.0))),
        knobs: Knobs { no_input: Ms(0), ..knobs },
        synthesiser: Box::new(move |(prompt, segment), _, _| {
            let piece = |(n, samples): (usize, &[i16])| {
                (
                    50 + n as u32 * 10,
                    FromSpeech::Sound { prompt, segment, band: Band::Narrow, samples: samples.to_vec() },
                )
            };
            let mut pieces: Vec<_> = words.chunks(1_600).enumerate().map(piece).collect();
            pieces.push((1_000, FromSpeech::SoundEnd { prompt, segment }));
            pieces
        }),
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => vec![say("Long.")],
            Line::Utterance(u) if !u.during_prompt => vec![answering(event.id, Action::Say(prompt("Yes?")))],
            _ => Vec::new(),
        }),
        recogniser: understands(&["sorry I did not understand"; 20], 100),
        talk: vec![(13_000, Act::HangUp)],
        ..Scenario::outbound()
    }
}

#[test]
fn an_echo_does_not_interrupt_by_voice_nor_by_its_words_nor_make_a_prompt_pause() {
    let by_words = Knobs { barge_in: BargeIn::Words, ..Knobs::default() };
    let pausing = Knobs { on_barge_in: OnBargeIn::Pause, ..Knobs::default() };
    for knobs in [Knobs::default(), by_words, pausing] {
        for (delay, loss_db) in [(60, 24.0), (250, 22.0), (450, 30.0)] {
            let mut scenario = echoing(delay, loss_db, knobs.clone());
            // It is recognised as it is said.
            scenario.recogniser = Box::new(|told| match told {
                ToRecogniser::UtteranceStart { utterance, .. } => vec![(300, partial(utterance, "sorry I did"))],
                ToRecogniser::UtteranceEnd { utterance, .. } => {
                    vec![(100, sim::services::final_text(utterance, "sorry I did not understand"))]
                }
                ToRecogniser::Expect(_) | ToRecogniser::Close => Vec::new(),
            });
            let seen = scenario.run(delay.into());
            assert!(!seen.turns(Role::Speech)[0].interrupted, "{delay} ms, {loss_db} dB: {:?}", seen.interruptions());
            assert!(!seen.told.iter().any(|(_, _, what)| matches!(what, What::PromptPaused { .. })));
        }
    }
}

#[test]
fn without_the_guard_the_same_echo_interrupts() {
    let seen = echoing(250, 12.0, Knobs { echo_guard_db: 0, ..Knobs::default() }).run(1);
    assert!(!seen.interruptions().is_empty(), "else the other tests show nothing");
}

#[test]
fn a_caller_interrupts_through_the_echo() {
    for seed in 0..4 {
        let mut scenario = echoing(250, 24.0, Knobs::default());
        scenario.talk = vec![(3_000, Act::Speak(voice::recorded("caller-stop"))), (13_000, Act::HangUp)];
        let scenario = if seed % 2 == 1 { scenario.over_poor_network() } else { scenario };
        let seen = scenario.run(seed);
        let [(at, _, StoppedBy::Speech)] = seen.interruptions()[..1] else { panic!("{:?}", seen.interruptions()) };
        let began = seen.media(seen.spoke[0]);
        assert!(at > began && at < began + Ms(800), "seed {seed}: at {at}, he began at {began}");
    }
}
