//! Whole calls in virtual time: from the INVITE to the record.

mod sim;

use sim::phone::Act;
use sim::services::{talks, understands};
use sim::{Scenario, voice};
use trunkline::call::line::HungUpBy;
use trunkline::call::record::Outcome;
use trunkline::ms::Ms;

fn conversation(scenario: Scenario) -> Scenario {
    Scenario {
        dialogue: talks("Good morning, does tomorrow suit you?", &["Then we shall come.", "Goodbye."]),
        recogniser: understands(&["yes", "thank you"], 200),
        talk: vec![
            (3_500, Act::Speak(voice::recorded("caller-yes"))),
            (8_500, Act::Speak(voice::recorded("human-thank-you"))),
        ],
        ..scenario
    }
}

#[test]
fn a_call_is_greeted_answered_and_hung_up_after_its_last_word() {
    for seed in 0..6 {
        for scenario in [Scenario::outbound(), Scenario::inbound()] {
            let scenario = conversation(scenario);
            let scenario = if seed % 2 == 1 { scenario.over_poor_network() } else { scenario };
            let seen = scenario.run(seed);
            assert_eq!(
                seen.talk(),
                [
                    "robot: Good morning, does tomorrow suit you?",
                    "caller: yes",
                    "robot: Then we shall come.",
                    "caller: thank you",
                    "robot: Goodbye."
                ],
                "seed {seed}"
            );
            let record = seen.record();
            assert_eq!((record.outcome, record.sip_code), (Outcome::Success, 200));
            assert_eq!((record.hung_up_by, record.end_reason.as_str()), (HungUpBy::Robot, "done"));
            let bye = seen.media(seen.request("BYE").expect("we hang up"));
            let pause = bye - seen.last_word(Ms::MAX);
            assert!((Ms(200)..=Ms(260)).contains(&pause), "seed {seed}: BYE {pause} after the last sample");
            assert!(record.faults.is_empty(), "{:?}", record.faults);
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_bytes() {
    let run = |seed| conversation(Scenario::outbound()).over_poor_network().run(seed).fingerprint();
    for seed in 0..3 {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(0), run(1));
}
