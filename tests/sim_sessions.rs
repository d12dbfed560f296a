//! How calls are set up and kept up: early and delayed offers, PRACK, session timers, each side's own terms.

mod sim;

use std::time::Duration;

use sim::network::Weather;
use sim::phone::Act;
use sim::services::talks;
use sim::{Scenario, Seen, Way};
use trunkline::call::call::Answering;
use trunkline::call::event::What;
use trunkline::call::line::HungUpBy;
use trunkline::call::record::Outcome;
use trunkline::sip::session::{Event, Refresher, Reliability, Terms, TimerTerms};

fn rings(scenario: Scenario) -> Scenario {
    let way = match scenario.way {
        Way::Inbound(_) => Way::Inbound(Answering::After(Duration::from_secs(2))),
        out => out,
    };
    Scenario { way, dialogue: talks("Hello.", &[]), talk: vec![(9_000, Act::HangUp)], ..scenario }
}

/// The robot has spoken, both have heard each other, and the phone has hung up.
fn talked(seen: &Seen) {
    let record = seen.record();
    assert_eq!((record.outcome, record.sip_code, record.hung_up_by), (Outcome::Success, 200, HungUpBy::Caller));
    assert_eq!(seen.talk(), ["robot: Hello."]);
    assert!(seen.arrived.len() > 100 && record.quality.received > 100, "{record:?}");
}

fn count(seen: &Seen, start: &str) -> usize {
    seen.sip.iter().filter(|(_, line)| line.starts_with(start)).count()
}

#[test]
fn offers_come_early_or_late_from_either_side_over_any_network() {
    let delayed = Terms { delayed_offer: true, ..Terms::default() };
    for reliable in [Reliability::Supported, Reliability::Off] {
        for weather in [Weather::CLEAN, Weather::LOSSY] {
            for seed in 0..4 {
                let poor = |scenario: Scenario| Scenario { sip: weather, ..rings(scenario) };
                let phone_terms = Terms { reliable, ..Terms::default() };
                let out = poor(Scenario { terms: delayed, phone_terms, ..Scenario::outbound() }).run(seed);
                talked(&out);
                let phone_terms = Terms { reliable, ..delayed };
                for early_media in [false, true] {
                    talked(&poor(Scenario { early_media, phone_terms, ..Scenario::inbound() }).run(seed));
                }
            }
        }
    }
}

#[test]
fn a_route_may_describe_its_media_while_it_rings() {
    for (reliable, pracks) in [(Reliability::Supported, true), (Reliability::Off, false), (Reliability::Required, true)]
    {
        let phone_terms = Terms { reliable, ..Terms::default() };
        let seen = rings(Scenario { early_media: true, phone_terms, ..Scenario::inbound() }).run(1);
        talked(&seen);
        let early = |event: &&Event| matches!(event, Event::Ringing { code: 183, sdp: Some(_) });
        assert_eq!(seen.phone_events.iter().filter(early).count(), 1, "{:?}", seen.phone_events);
        // The 200s are those to PRACK, INVITE and BYE.
        assert_eq!(count(&seen, "SIP/2.0 200"), 2 + usize::from(pracks));
    }
}

#[test]
fn the_robot_acknowledges_what_rings_reliably() {
    for (terms, pracks) in [
        (Terms::default(), 1),
        (Terms { reliable: Reliability::Required, ..Terms::default() }, 1),
        (Terms { reliable: Reliability::Off, ..Terms::default() }, 0),
    ] {
        let seen = rings(Scenario { terms, ..Scenario::outbound() }).run(1);
        talked(&seen);
        assert_eq!(count(&seen, "PRACK"), pracks);
        assert!(seen.told.iter().any(|(_, _, what)| matches!(what, What::Ringing { sip_code: 180, .. })));
    }
}

#[test]
fn a_long_call_is_refreshed_and_not_torn_down() {
    let timer = |refresher| TimerTerms { expires: 90, min_se: 90, refresher };
    let terms = |refresher| Terms { timer: Some(timer(refresher)), ..Terms::default() };
    let off = Terms { timer: None, ..Terms::default() };
    for (inbound, ours, theirs, by_us) in [
        (false, terms(Refresher::Us), terms(Refresher::Us), true),
        (false, terms(Refresher::Peer), terms(Refresher::Us), false),
        (true, terms(Refresher::Us), terms(Refresher::Us), false),
        (true, terms(Refresher::Us), terms(Refresher::Any), true),
        (true, terms(Refresher::Us), off, true),
        (false, terms(Refresher::Us), off, false),
    ] {
        let base = if inbound { Scenario::inbound() } else { Scenario::outbound() };
        let mut scenario = Scenario { terms: ours, phone_terms: theirs, ..rings(base) };
        scenario.talk = vec![(300_000, Act::HangUp)];
        scenario.rules.dialogue_timeout = Duration::from_secs(600);
        scenario.dialogue = Box::new(|_| Vec::new());
        let seen = scenario.run(1);
        let record = seen.record();
        assert_eq!((record.outcome, record.hung_up_by), (Outcome::Success, HungUpBy::Caller), "{ours:?} {theirs:?}");
        assert_eq!(count(&seen, "UPDATE"), if by_us { 6 } else { 0 }, "{ours:?} {theirs:?}");
    }
}
