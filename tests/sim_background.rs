//! The background: looped under everything that is sent, at its level, with smooth ends, changed at any moment.

mod sim;

use std::time::Duration;

use sim::services::{act, say, set, spoken};
use sim::{Order, Scenario, Seen, voice};
use trunkline::call::action::Action;
use trunkline::call::event::What;
use trunkline::call::io::{FromSpeech, Wanted};
use trunkline::call::knobs::{Background, KnobChange};
use trunkline::call::line::{Fault, Line};
use trunkline::call::record::Outcome;
use trunkline::codec::coding::Band;
use trunkline::ms::Ms;

const OFFICE: &str = "office.wav";

fn background(path: &str, level_db: f32) -> Background {
    Background { path: path.into(), level_db }
}

fn change(path: &str, level_db: f32) -> KnobChange {
    KnobChange { background: Some(background(path, level_db)), ..KnobChange::default() }
}

/// The robot says hello 2 s after the answer; the office is a tone of 1 s, anything else of that name is missing.
fn office() -> Scenario {
    let mut scenario = Scenario {
        background: Some(background(OFFICE, -20.0)),
        talk: vec![(6_000, sim::phone::Act::HangUp)],
        dialogue: Box::new(|event| match event.what {
            Line::Begin(_) => vec![say("Hello.").after(2_000)],
            _ => Vec::new(),
        }),
        synthesiser: Box::new(|place, wanted, _| match wanted {
            Wanted::File(path) if path == "missing.wav" => {
                let (prompt, segment) = place;
                vec![(5, FromSpeech::SoundFailed { prompt, segment, reason: format!("{path}: not there") })]
            }
            Wanted::File(path) if path == "slow.wav" => {
                let (prompt, segment) = place;
                vec![(
                    1_000,
                    FromSpeech::Recording {
                        prompt,
                        segment,
                        band: Band::Narrow,
                        samples: voice::tone(Ms(1_000)).into(),
                    },
                )]
            }
            wanted => spoken(place, wanted, 80),
        }),
        ..Scenario::outbound()
    };
    scenario.rules.dialogue_timeout = Duration::from_secs(60);
    scenario
}

/// The loudest sample of what was sent in a stretch of media time.
fn peak(seen: &Seen, from: u32, to: u32) -> u16 {
    let frames = seen.recorded.iter().filter(|frame| (Ms(from)..Ms(to)).contains(&frame.robot_at));
    frames.flat_map(|frame| frame.robot).map(i16::unsigned_abs).max().expect("a frame")
}

#[test]
fn it_lies_under_pauses_and_prompts_at_its_level() {
    for seen in [office().run(1), office().over_poor_network().run(2)] {
        // A tenth of the tone's 8,500.
        let alone = peak(&seen, 400, 1_900);
        assert!((800..=850).contains(&alone), "{alone}");
        let first: Vec<u16> = (0..10).map(|n| peak(&seen, n * 20 + 20, n * 20 + 40)).collect();
        assert!(first.is_sorted() && first[0] < 200, "it begins smoothly: {first:?}");
        let over = peak(&seen, 2_100, 2_400);
        assert!(over > 8_500, "the prompt over it: {over}");
        assert!((800..=850).contains(&peak(&seen, 3_000, 5_500)), "and it goes on");
        assert!(seen.sent[20..].iter().all(|packet| packet.sounds), "in what is sent, too");
        assert_eq!(seen.talk(), ["robot: Hello."]);
        // Nobody waits for a background to end: it is no prompt.
        assert_eq!(seen.record().outcome, Outcome::Success);
    }
}

#[test]
fn it_changes_with_a_turn_and_ends_when_it_is_told_to() {
    let mut scenario = office();
    scenario.dialogue = Box::new(|event| match event.what {
        Line::Begin(_) => vec![set(change(OFFICE, -6.0)).after(2_000), set(change("", 0.0)).after(4_000)],
        _ => Vec::new(),
    });
    let seen = scenario.run(1);
    assert!((800..=850).contains(&peak(&seen, 400, 1_900)));
    let louder = peak(&seen, 2_500, 3_900);
    assert!((4_100..=4_300).contains(&louder), "{louder}");
    assert_eq!(peak(&seen, 4_400, 5_900), 0);
    let fading: Vec<u16> = (0..8).map(|n| peak(&seen, 4_040 + n * 20, 4_060 + n * 20)).collect();
    assert!(fading.is_sorted_by(|a, b| a >= b) && fading[0] > fading[7] + 1_000, "{fading:?}");
}

#[test]
fn a_file_that_is_not_there_is_told_and_what_was_looped_goes_on() {
    let mut scenario = office();
    scenario.orders = vec![(3_000, Order::Do(Action::Set(change("missing.wav", -6.0))))];
    let seen = scenario.run(1);
    assert!((800..=850).contains(&peak(&seen, 3_000, 5_500)));
    assert_eq!(seen.record().faults, ["synthesis: background: missing.wav: not there"]);
    let told = |(_, event): &(_, trunkline::call::line::LineEvent)| matches!(&event.what, Line::Fault(Fault::Synthesis(reason)) if reason.contains("missing.wav"));
    assert!(seen.line.iter().any(told));
    assert!(seen.told.iter().any(|(_, _, what)| matches!(what, What::ServiceTrouble { .. })));
}

#[test]
fn a_file_that_comes_when_another_was_asked_for_is_not_played() {
    let mut scenario = office();
    scenario.background = None;
    scenario.dialogue = Box::new(|event| match event.what {
        Line::Begin(_) => vec![set(change("slow.wav", 0.0)), set(change(OFFICE, -20.0)).after(500)],
        _ => Vec::new(),
    });
    let seen = scenario.run(1);
    assert!((800..=850).contains(&peak(&seen, 1_000, 5_500)), "{}", peak(&seen, 1_000, 5_500));
}

#[test]
fn on_hold_it_is_not_heard() {
    let mut scenario = office();
    scenario.dialogue = Box::new(|event| match event.what {
        Line::Begin(_) => vec![act(Action::Expect { partials: false, hints: None })],
        _ => Vec::new(),
    });
    scenario.orders = vec![(3_500, Order::Do(Action::Hold(true))), (5_500, Order::Do(Action::Hold(false)))];
    let seen = scenario.run(1);
    let held: Vec<Duration> =
        seen.told.iter().filter(|(_, _, what)| matches!(what, What::Hold { .. })).map(|(at, ..)| *at).collect();
    let [on, off] = held[..] else { panic!("{held:?}") };
    let (on, off) = (seen.media(on).0, seen.media(off).0);
    assert_eq!(peak(&seen, on + 40, off - 40), 0);
    assert!(peak(&seen, off + 40, off + 400) > 700, "and after it goes on");
}
