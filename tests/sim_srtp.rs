//! Calls whose media are encrypted, from the INVITE to the record.

mod sim;

use std::time::Duration;

use sim::phone::Act;
use sim::services::{talks, understands};
use sim::{Order, Scenario, Seen, voice};
use trunkline::call::action::Action;
use trunkline::call::event::What;
use trunkline::call::line::Line;
use trunkline::call::record::Outcome;
use trunkline::rtp::srtp::Rejected;
use trunkline::sdp::{Direction, SrtpTerms, Suite};

const OFF: Option<bool> = None;
const PREFERRED: Option<bool> = Some(false);
const REQUIRED: Option<bool> = Some(true);

fn terms(required: Option<bool>, suites: &[Suite]) -> Option<SrtpTerms> {
    required.map(|required| SrtpTerms { required, suites: suites.to_vec() })
}

/// Both speak, and the phone hangs up.
fn talk(base: Scenario, robot: Option<bool>, phone: Option<bool>, suites: &[Suite]) -> Scenario {
    Scenario {
        srtp: [terms(robot, suites), terms(phone, suites)],
        dialogue: talks("Good morning, what can I do for you?", &[]),
        recogniser: understands(&["stop"], 150),
        talk: vec![(6_000, Act::Speak(voice::recorded("caller-stop"))), (12_000, Act::HangUp)],
        ..base
    }
}

fn answered(seen: &Seen) -> Vec<&'static str> {
    let one = |what: &What| if let What::Answered { srtp, .. } = what { Some(*srtp) } else { None };
    seen.told.iter().filter_map(|(_, _, what)| one(what)).collect()
}

/// Both have heard each other, with this suite; and the robot has sent nothing that its phone could not decrypt.
fn understood(seen: &Seen, suite: &str) {
    let record = seen.record();
    assert_eq!((record.outcome, record.srtp), (Outcome::Success, suite), "{record:?}");
    assert_eq!(answered(seen), [suite], "it is told at once");
    let utterances = seen.line.iter().filter(|(_, event)| matches!(event.what, Line::Utterance(_))).count();
    assert_eq!(utterances, 1, "the robot has heard the phone");
    assert!(seen.arrived.iter().filter(|stamp| stamp.sounds).count() > 50, "the phone has heard the robot");
    assert!(seen.refused.iter().all(|refused| *refused == Rejected::Replayed), "{:?}", seen.refused);
}

#[test]
fn both_ways_of_placing_a_call_with_every_suite() {
    for suite in Suite::ALL {
        for base in [Scenario::outbound(), Scenario::inbound()] {
            let seen = talk(base, PREFERRED, PREFERRED, &[suite]).run(1);
            understood(&seen, suite.name());
            assert_eq!(seen.refused, []);
        }
    }
}

#[test]
fn every_policy_meets_every_other_one() {
    let policies = [OFF, PREFERRED, REQUIRED];
    // Of the robot and of the phone, which is the one that answers: what it cannot agree to it does not, and says so in a panic.
    for (robot, phone) in policies.into_iter().flat_map(|a| policies.map(|b| (a, b))) {
        let agree = !matches!((phone, robot), (OFF | PREFERRED, REQUIRED) | (REQUIRED, OFF));
        let seen = talk(Scenario::inbound(), robot, phone, &Suite::ALL).run(2);
        match agree {
            true if robot.is_some() && phone.is_some() => understood(&seen, Suite::ALL[0].name()),
            true => understood(&seen, ""),
            false => {
                let record = seen.record();
                assert_eq!((record.outcome, record.sip_code, record.srtp), (Outcome::Cantbeconnected, 488, ""));
                let reason = match robot {
                    OFF => "SDP offer: no audio stream over RTP/AVP",
                    _ => "SDP offer: SRTP is required: RTP/SAVP with a=crypto",
                };
                assert_eq!(record.end_reason, reason);
                assert!(seen.sent.is_empty(), "nothing was said");
            }
        }
    }
}

#[test]
fn over_a_poor_network_it_is_as_good_as_without() {
    for seed in 0..4 {
        for base in [Scenario::outbound(), Scenario::inbound()] {
            let scenario = talk(base, PREFERRED, PREFERRED, &[Suite::AesCm128Sha1Tag32]).over_poor_network();
            let seen = scenario.run(seed);
            assert!(seen.refused.iter().all(|refused| *refused == Rejected::Replayed), "{:?}", seen.refused);
            assert_eq!(seen.record().srtp, "AES_CM_128_HMAC_SHA1_32");
        }
    }
}

#[test]
fn holds_of_both_sides_change_no_key() {
    for base in [Scenario::outbound(), Scenario::inbound()] {
        let talk = talk(base, PREFERRED, PREFERRED, &Suite::ALL);
        let bye = Action::Hangup { now: true, reason: "enough".into(), farewell: Default::default() };
        let scenario = Scenario {
            orders: vec![
                (6_000, Order::Do(Action::Hold(true))),
                (8_000, Order::Do(Action::Hold(false))),
                // A phone that makes re-INVITEs by hand does not hang up by itself.
                (20_000, Order::Do(bye)),
            ],
            talk: vec![
                (9_000, Act::Hold(Direction::SendOnly)),
                (11_000, Act::Hold(Direction::SendRecv)),
                (13_000, Act::Speak(voice::recorded("caller-stop"))),
            ],
            ..talk
        };
        let seen = scenario.run(3);
        understood(&seen, Suite::ALL[0].name());
        assert_eq!(seen.refused, [], "not one packet was lost to a key");
        let after = seen.arrived.iter().filter(|stamp| stamp.at > Duration::from_secs(14)).count();
        assert!(after > 100, "and they go on");
    }
}
