//! The line: calls that do not come about, races, holds, silence, and a network that loses every fifth message.

mod sim;

use std::time::Duration;

use sim::network::Weather;
use sim::phone::{Act, Pickup};
use sim::services::{act, say, talks, understands};
use sim::{Order, Scenario, Seen, Way, voice};
use trunkline::call::action::Action;
use trunkline::call::call::Answering;
use trunkline::call::event::What;
use trunkline::call::io::Input;
use trunkline::call::knobs::KnobChange;
use trunkline::call::line::{HungUpBy, Line};
use trunkline::call::record::Outcome;
use trunkline::ms::Ms;
use trunkline::sdp::Direction;
use trunkline::sip::session::Event;

fn out(pickup: Pickup) -> Scenario {
    Scenario { pickup, ..Scenario::outbound() }
}

fn end(seen: &Seen) -> (Outcome, u16, HungUpBy) {
    let record = seen.record();
    (record.outcome, record.sip_code, record.hung_up_by)
}

#[test]
fn a_refusal_is_told_by_its_status() {
    let table = [
        (Pickup::Refuse(1_000, 486), Outcome::Linebusy),
        (Pickup::RefuseAtOnce(486), Outcome::Linebusy),
        (Pickup::RefuseAtOnce(404), Outcome::Notexist),
        (Pickup::Refuse(1_000, 480), Outcome::Nooneheard),
        (Pickup::RefuseAtOnce(480), Outcome::Cantbeconnected),
        (Pickup::Refuse(1_000, 603), Outcome::Linebusy),
        (Pickup::RefuseAtOnce(503), Outcome::Cantbeconnected),
        (Pickup::RefuseAtOnce(403), Outcome::Else),
    ];
    for (pickup, outcome) in table {
        for (seed, sip) in [(1, Weather::CLEAN), (2, Weather::LOSSY), (3, Weather::LOSSY)] {
            let seen = Scenario { sip, ..out(pickup) }.run(seed);
            let (Pickup::Refuse(_, code) | Pickup::RefuseAtOnce(code)) = pickup else { panic!() };
            assert_eq!(end(&seen), (outcome, code, HungUpBy::CallerRinging), "{pickup:?}, seed {seed}");
            let record = seen.record();
            assert!(record.turns.is_empty() && record.answered_at.is_none() && record.talk_ms == Ms(0));
            assert!(seen.line.is_empty() && seen.sent.is_empty() && seen.recogniser.is_empty());
        }
    }
}

#[test]
fn a_phone_that_nobody_answers_is_cancelled() {
    for sip in [Weather::CLEAN, Weather::LOSSY] {
        let rings = Scenario { way: Way::Outbound { ring_timeout: 5_000 }, sip, ..out(Pickup::Never) }.run(1);
        assert_eq!(end(&rings), (Outcome::Nooneheard, 487, HungUpBy::Network));
        assert!(rings.request("CANCEL").is_some_and(|at| at >= Duration::from_secs(5)));
        assert!(matches!(rings.phone_events.last(), Some(Event::Cancelled { by_peer: true, .. })));
    }
    let dead = Scenario { way: Way::Outbound { ring_timeout: 5_000 }, ..out(Pickup::Dead) }.run(1);
    assert_eq!(end(&dead).0, Outcome::Cantbeconnected);
    let dead = Scenario { way: Way::Outbound { ring_timeout: 60_000 }, ..out(Pickup::Dead) }.run(1);
    assert_eq!(end(&dead), (Outcome::Cantbeconnected, 408, HungUpBy::Network));
}

#[test]
fn the_operator_may_cancel_a_call_that_rings() {
    let cancel = || {
        vec![(
            800,
            Order::Do(Action::Hangup {
                now: true,
                reason: "no longer needed".to_owned(),
                farewell: Default::default(),
            }),
        )]
    };
    let seen = Scenario { orders: cancel(), ..out(Pickup::After(5_000)) }.run(1);
    assert_eq!(end(&seen), (Outcome::Cancelled, 487, HungUpBy::Operator));
    assert_eq!(seen.record().end_reason, "no longer needed");
    let seen = Scenario { orders: vec![(800, Order::Say(Input::Shutdown))], ..out(Pickup::After(5_000)) }.run(1);
    assert_eq!((end(&seen).1, end(&seen).2), (487, HungUpBy::Operator));
}

/// However the race ends, both sides agree on it, and there is one record.
#[test]
fn a_cancel_that_races_the_answer_ends_the_call_once() {
    let mut answered = 0;
    for seed in 0..30 {
        // The answer leaves the phone at 1.5 s and more; the CANCEL is sent about then.
        let ring_timeout = 1_480 + seed as u32 * 3;
        let sip = if seed % 3 == 2 { Weather::LOSSY } else { Weather::CLEAN };
        let scenario = Scenario {
            way: Way::Outbound { ring_timeout },
            dialogue: talks("Hello.", &[]),
            talk: vec![(3_000, Act::HangUp)],
            sip,
            ..out(Pickup::After(1_500))
        };
        let seen = scenario.run(seed);
        let record = seen.record();
        match record.outcome {
            Outcome::Success => {
                answered += 1;
                assert_eq!((record.hung_up_by, record.answered_at.is_some()), (HungUpBy::Caller, true), "seed {seed}");
                assert!(seen.request("CANCEL").is_none());
            }
            Outcome::Nooneheard | Outcome::Cantbeconnected => {
                assert_eq!((record.hung_up_by, record.answered_at), (HungUpBy::Network, None), "seed {seed}");
                assert!(record.turns.is_empty() && seen.sent.is_empty());
            }
            other => panic!("seed {seed}: {other:?}"),
        }
        let ends = |e: &&Event| matches!(e, Event::Ended { .. } | Event::Cancelled { .. } | Event::Failed(_));
        assert!(seen.phone_events.iter().filter(ends).count() <= 1, "{:?}", seen.phone_events);
    }
    assert!((5..25).contains(&answered), "{answered} of 30: it is no race");
}

#[test]
fn a_caller_who_gives_up_while_it_rings_is_recorded() {
    for (seed, gives_up) in [1_000, 1_990, 1_997, 2_003, 2_010, 2_030].into_iter().enumerate() {
        let scenario = Scenario {
            way: Way::Inbound(Answering::After(Duration::from_secs(2))),
            early: vec![(gives_up, Act::HangUp)],
            ..Scenario::inbound()
        };
        let seen = scenario.run(seed as u64);
        let record = seen.record();
        match record.outcome {
            Outcome::Success => assert_eq!(record.hung_up_by, HungUpBy::Caller),
            Outcome::Nooneheard => assert_eq!((record.hung_up_by, record.sip_code), (HungUpBy::CallerRinging, 487)),
            other => panic!("{gives_up}: {other:?}"),
        }
        assert_eq!(record.outcome == Outcome::Nooneheard, gives_up < 2_000, "{gives_up}");
    }
}

#[test]
fn a_call_that_waits_is_answered_or_declined_by_order() {
    let waits = |orders| Scenario {
        way: Way::Inbound(Answering::Told(Duration::from_secs(60))),
        orders,
        ..Scenario::inbound()
    };
    let change = KnobChange { endpoint: Some(Ms(9_999)), ..KnobChange::default() };
    let answered = Scenario {
        talk: vec![(2_000, Act::HangUp)],
        ..waits(vec![(3_000, Order::Say(Input::Answer { knobs: change, dialogue: None, headers: Default::default() }))])
    }
    .run(1);
    assert_eq!(end(&answered), (Outcome::Success, 200, HungUpBy::Caller));
    assert!(answered.told.iter().any(|(_, _, what)| matches!(what, What::KnobClamped(_))));
    let decline = Input::Decline { status: 486, reason: String::new() };
    let declined = waits(vec![(3_000, Order::Say(decline))]).run(1);
    let record = declined.record();
    assert_eq!((record.sip_code, record.hung_up_by), (486, HungUpBy::Operator));
    assert!(matches!(declined.phone_events.last(), Some(Event::Refused(refusal)) if refusal.code == 486));
}

#[test]
fn a_network_that_loses_every_fifth_message_changes_no_outcome() {
    for seed in 0..12 {
        for (inbound, caller_hangs_up) in [(false, false), (false, true), (true, false), (true, true)] {
            let scenario = if inbound { Scenario::inbound() } else { Scenario::outbound() };
            let mut scenario = Scenario {
                sip: Weather::LOSSY,
                dialogue: talks("Hello.", &["Goodbye."]),
                recogniser: understands(&["thanks"], 100),
                ..scenario
            };
            scenario.rules.dialogue_timeout = Duration::from_secs(60);
            scenario.talk = match caller_hangs_up {
                true => vec![(9_000, Act::HangUp)],
                // Long after media has begun, whatever was lost.
                false => vec![(9_000, Act::Speak(voice::recorded("human-thank-you")))],
            };
            let seen = scenario.run(seed);
            let by = if caller_hangs_up { HungUpBy::Caller } else { HungUpBy::Robot };
            assert_eq!(end(&seen), (Outcome::Success, 200, by), "seed {seed} {inbound} {caller_hangs_up}");
            match caller_hangs_up {
                true => assert_eq!(seen.talk(), ["robot: Hello."]),
                false => assert_eq!(seen.talk(), ["robot: Hello.", "caller: thanks", "robot: Goodbye."]),
            }
        }
    }
}

#[test]
fn hold_stops_our_rtp_and_resume_goes_on_where_it_was() {
    for (way, seed) in [(Scenario::outbound(), 1), (Scenario::inbound(), 2)] {
        for held in [Direction::SendOnly, Direction::Inactive] {
            let scenario = if seed == 1 { Scenario::outbound() } else { Scenario::inbound() };
            let scenario = Scenario {
                dialogue: Box::new(|event| {
                    if event.id == 1 { vec![say("Hello."), act(Action::Wait(Ms(60_000)))] } else { Vec::new() }
                }),
                talk: vec![(2_000, Act::Hold(held)), (4_000, Act::Hold(Direction::SendRecv)), (6_000, Act::Mute)],
                orders: vec![(
                    9_000,
                    Order::Do(Action::Hangup { now: true, reason: "enough".to_owned(), farewell: Default::default() }),
                )],
                rtp: Weather { delay: 20, jitter: 5, ..Weather::CLEAN },
                ..scenario
            };
            let seen = scenario.run(seed);
            let began = seen.phone_began.expect("it was answered");
            let at = |ms: u64| began + Duration::from_millis(ms);
            let sent = |from, to| seen.sent.iter().filter(|p| p.at >= at(from) && p.at < at(to)).count();
            assert_eq!(sent(2_050, 3_990), 0, "{held:?}");
            assert!(sent(1_000, 1_990).abs_diff(49) <= 1 && sent(4_050, 5_050).abs_diff(50) <= 1, "before and after");
            assert_eq!(end(&seen).0, Outcome::Success);
        }
        drop(way);
    }
}

/// Whoever holds a call may send nothing: that is no dead line.
#[test]
fn a_hold_may_last_longer_than_the_rtp_timeout() {
    for held in [Direction::SendOnly, Direction::Inactive] {
        let scenario = Scenario {
            dialogue: Box::new(|_| Vec::new()),
            rtp_timeout: Duration::from_secs(3),
            talk: vec![
                (1_000, Act::Hold(held)),
                (1_100, Act::Mute),
                (9_000, Act::Hold(Direction::SendRecv)),
                (10_500, Act::Unmute),
                (12_000, Act::Mute),
            ],
            ..Scenario::outbound()
        };
        let mut scenario = scenario;
        scenario.rules.dialogue_timeout = Duration::from_secs(60);
        let seen = scenario.run(1);
        let record = seen.record();
        assert_eq!((record.hung_up_by, &*record.end_reason), (HungUpBy::Network, "no RTP for 3 s"));
        assert!(record.talk_ms.0.abs_diff(15_000) < 100, "{held:?}: ended after {}", record.talk_ms);
    }
}

#[test]
fn a_line_without_rtp_is_hung_up() {
    for (mute, ends) in [(vec![(0, Act::Mute)], 5_000), (vec![(2_000, Act::Mute)], 7_000)] {
        let mut scenario = Scenario { talk: mute, rtp_timeout: Duration::from_secs(5), ..Scenario::outbound() };
        scenario.dialogue = Box::new(|event| if event.id == 1 { vec![say("Hello.")] } else { Vec::new() });
        let seen = scenario.run(1);
        let record = seen.record();
        assert_eq!(end(&seen), (Outcome::Success, 200, HungUpBy::Network));
        assert_eq!(record.end_reason, "no RTP for 5 s");
        assert!(record.talk_ms.0.abs_diff(ends) < 60, "{}", record.talk_ms);
        let said = |line: &Line| matches!(line, Line::End { by: HungUpBy::Network, .. });
        assert!(seen.line.last().is_some_and(|(_, event)| said(&event.what)));
    }
}
