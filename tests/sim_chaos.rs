//! Whatever everybody does, in whatever order: what must hold of every call holds ([`sim::Seen::check`]), and nothing that was asked for
//! is forgotten.

mod sim;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sim::network::Weather;
use sim::phone::{Act, Plan};
use sim::services::{Reply, act, partial, prompt_of, spoken};
use sim::{Order, Scenario, Seen, voice};
use trunkline::call::action::Action;
use trunkline::call::io::{FromDialogue, FromSpeech, ToRecogniser, Wanted};
use trunkline::call::knobs::{BargeIn, KnobChange, Knobs};
use trunkline::call::line::HungUpBy;
use trunkline::call::prompt::{Prompt, Segment, Source};
use trunkline::ms::Ms;
use trunkline::sdp::Direction;

/// Until then everybody does something; what is begun has the time to end before the phone hangs up.
const LAST_WORD: u32 = 14_000;
const HANG_UP: u32 = 32_000;

type Asked = Rc<RefCell<Vec<String>>>;

fn random_prompt(rng: &mut StdRng, id: String) -> Prompt {
    let texts: Vec<_> =
        (0..rng.random_range(1..5)).map(|_| "some words of it".split_at(rng.random_range(1..16)).0).collect();
    let mut prompt = prompt_of(&id, &texts);
    if rng.random_range(0..3) == 0 {
        let silence = Source::Silence(Ms(rng.random_range(0..300)));
        prompt.segments.insert(0, Segment { source: silence, mark: String::new() });
    }
    prompt.barge_in = [None, Some(BargeIn::Never), Some(BargeIn::Speech)][rng.random_range(0..3)];
    prompt
}

fn random_action(rng: &mut StdRng, asked: &Asked) -> Action {
    match rng.random_range(0..12) {
        0..=4 => {
            let id = format!("p{}", asked.borrow().len());
            asked.borrow_mut().push(id.clone());
            Action::Say(random_prompt(rng, id))
        }
        5 | 6 => Action::Stop,
        7 => Action::Set(KnobChange {
            endpoint: Some(Ms(rng.random_range(0..2_500))),
            min_speech: Some(Ms(rng.random_range(0..400))),
            no_input: Some(Ms(rng.random_range(0..6_000))),
            ..KnobChange::default()
        }),
        8 => Action::Expect { partials: rng.random(), hints: None },
        9 => Action::Wait(Ms(rng.random_range(20_000..60_000))),
        10 => Action::SendKeys("12#".to_owned()),
        _ => Action::Label { key: "k".to_owned(), value: "v".to_owned() },
    }
}

fn chaos(seed: u64) -> (Seen, Vec<String>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let asked = Asked::default();
    let mut talk: Plan = (0..8)
        .map(|_| {
            let at = rng.random_range(0..LAST_WORD);
            match rng.random_range(0..4) {
                0 => (at, Act::Press("0123456789*#".as_bytes()[rng.random_range(0..12)] as char)),
                _ => (
                    at,
                    Act::Speak(voice::recorded(
                        ["human-hello", "caller-stop", "human-goodbye"][rng.random_range(0..3)],
                    )),
                ),
            }
        })
        .collect();
    let held = seed % 5 == 4;
    if held {
        let at = rng.random_range(0..5_000);
        talk.extend([(at, Act::Hold(Direction::Inactive)), (at + 3_000, Act::Hold(Direction::SendRecv))]);
    }
    // Re-INVITEs are made by hand, not repeated, and the phone's session does not count them: then the orchestrator hangs up.
    talk.extend((!held).then_some((HANG_UP, Act::HangUp)));
    talk.sort_by_key(|(at, _)| *at);
    let orders = (0..4).map(|_| {
        let action = random_action(&mut rng, &asked);
        (rng.random_range(8_000..LAST_WORD), Order::Do(action))
    });
    let mut orders: Vec<_> = orders.collect();
    let hang_up = Action::Hangup { now: true, reason: "enough".to_owned(), farewell: Default::default() };
    // One of them holds the line for a while.
    if seed.is_multiple_of(3) {
        let at = rng.random_range(5_000..LAST_WORD - 4_000);
        orders.extend([(at, Order::Do(Action::Hold(true))), (at + 3_500, Order::Do(Action::Hold(false)))]);
    }
    orders.extend(held.then_some((HANG_UP + 2_000, Order::Do(hang_up))));
    let mut scenario = Scenario {
        talk,
        orders,
        sip: if held { Weather::CLEAN } else { Weather::POOR },
        rtp: [Weather::CLEAN, Weather::POOR][seed as usize % 2],
        drift: rng.random_range(-150..150),
        knobs: Knobs { no_input: Ms(4_000), ..Knobs::default() },
        ..Scenario::outbound()
    };
    scenario.rules.dialogue_timeout = std::time::Duration::from_secs(120);
    let (mut dice, asked_too) = (StdRng::seed_from_u64(rng.random()), asked.clone());
    scenario.dialogue = Box::new(move |event| {
        let count = if event.at > Ms(LAST_WORD) { 0 } else { dice.random_range(0..4) };
        let mut at = 0;
        let mut one = || {
            at += [0, 1, 2, 300][dice.random_range(0..4)];
            act(random_action(&mut dice, &asked_too)).after(at)
        };
        let mut replies: Vec<_> = (0..count).map(|_| one()).collect();
        if event.id == 9 {
            let nonsense = trunkline::call::action::Asked {
                action_id: "?".to_owned(),
                answers: 0,
                even_if_stale: false,
                action: Err("unknown".to_owned()),
            };
            replies.push(Reply(1, FromDialogue::Asked(nonsense)));
        }
        replies
    });
    let mut dice = StdRng::seed_from_u64(rng.random());
    scenario.recogniser = Box::new(move |told| match told {
        ToRecogniser::UtteranceStart { utterance, .. } => vec![(dice.random_range(0..900), partial(utterance, "well"))],
        ToRecogniser::UtteranceEnd { utterance, .. } if dice.random_range(0..5) > 0 => {
            vec![(dice.random_range(0..2_500), sim::services::final_text(utterance, "well then"))]
        }
        _ => Vec::new(),
    });
    let mut dice = StdRng::seed_from_u64(rng.random());
    scenario.synthesiser = Box::new(move |(prompt, segment), wanted: &Wanted, times| {
        let after = dice.random_range(0..700);
        match dice.random_range(0..6) {
            0 if times == 1 => {
                vec![(after, FromSpeech::SoundFailed { prompt, segment, reason: "busy".to_owned() })]
            }
            1 => vec![(after, FromSpeech::SoundEnd { prompt, segment })],
            _ => spoken((prompt, segment), wanted, after),
        }
    });
    let seen = scenario.run(seed);
    (seen, asked.take())
}

#[test]
fn nothing_that_was_asked_for_is_forgotten() {
    for seed in 0..40 {
        let (seen, asked) = chaos(seed);
        let record = seen.record();
        let by = if seed % 5 == 4 { HungUpBy::Operator } else { HungUpBy::Caller };
        assert_eq!(record.hung_up_by, by, "seed {seed}: {}", record.end_reason);
        let done: Vec<&str> = seen.done().iter().map(|(id, _)| *id).collect();
        let once: BTreeSet<&str> = done.iter().copied().collect();
        assert_eq!(done.len(), once.len(), "seed {seed}: told twice: {done:?}");
        let missing: Vec<_> = asked.iter().filter(|id| !once.contains(id.as_str())).collect();
        assert!(missing.is_empty(), "seed {seed}: never over: {missing:?} of {asked:?}");
    }
}

#[test]
fn chaos_too_has_a_seed() {
    let prints: Vec<_> = (0..5).map(|seed| chaos(seed).0.fingerprint()).collect();
    let again: Vec<_> = (0..5).map(|seed| chaos(seed).0.fingerprint()).collect();
    assert_eq!(prints, again);
    assert_eq!(prints.iter().collect::<BTreeSet<_>>().len(), 5);
}
