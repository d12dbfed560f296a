//! Hold and resume, as the orchestrator asks for them.

mod sim;

use std::time::Duration;

use sim::phone::Act;
use sim::services::{hang_up, length_of, prompt, say, talks};
use sim::{Order, Scenario, Seen, voice};
use trunkline::call::action::Action;
use trunkline::call::event::{StoppedBy, What};
use trunkline::call::line::{HungUpBy, Line};
use trunkline::call::record::Outcome;
use trunkline::ms::Ms;
use trunkline::sdp::Direction;

const HOLD: Order = Order::Do(Action::Hold(true));
const RESUME: Order = Order::Do(Action::Hold(false));

/// Each hold as it was told: by us, by the far end, refused with; and when, in media time.
fn holds(seen: &Seen) -> Vec<(bool, bool, u16)> {
    let one = |told: &(Duration, Ms, What)| match &told.2 {
        What::Hold { by_us, by_far_end, sip_code, .. } => Some((*by_us, *by_far_end, *sip_code)),
        _ => None,
    };
    seen.told.iter().filter_map(one).collect()
}

/// Media time of the n-th hold that was told.
fn moment(seen: &Seen, n: usize) -> Ms {
    let told = seen.told.iter().filter(|(_, _, what)| matches!(what, What::Hold { .. }));
    told.map(|(_, at, _)| *at).nth(n).expect("it was told")
}

/// Re-INVITEs of the robot.
fn reinvites(seen: &Seen, scenario_is_outbound: bool) -> usize {
    seen.sip.iter().filter(|(_, line)| line.starts_with("INVITE ")).count() - usize::from(scenario_is_outbound)
}

fn went_well(seen: &Seen) {
    ended_by(seen, HungUpBy::Caller);
}

fn ended_by(seen: &Seen, by: HungUpBy) {
    let record = seen.record();
    assert_eq!((record.outcome, record.hung_up_by), (Outcome::Success, by), "{record:?}");
}

/// A phone that makes re-INVITEs by hand does not hang up by itself.
fn bye() -> Order {
    Order::Do(Action::Hangup { now: true, reason: "enough".into(), farewell: Default::default() })
}

#[test]
fn on_hold_the_robot_is_silent_and_deaf_and_what_it_is_asked_to_say_waits_for_the_resume() {
    let long = "A long story that nobody will hear to its end, because the line is put on hold in its middle.";
    for (base, out) in [(Scenario::outbound(), true), (Scenario::inbound(), false)] {
        let scenario = Scenario {
            dialogue: talks(long, &[]),
            orders: vec![
                (4_000, HOLD),
                // What is so already, or asked for already, does nothing.
                (4_001, HOLD),
                (5_000, HOLD),
                (6_000, Order::Do(Action::Say(prompt("Back again.")))),
                (16_000, RESUME),
                (16_500, RESUME),
            ],
            // A rude phone speaks and presses keys on hold, and then is dumb for longer than the line may be.
            talk: vec![
                (5_000, Act::Speak(voice::recorded("caller-stop"))),
                (7_000, Act::Press('5')),
                (7_500, Act::Mute),
                (14_600, Act::Unmute),
                (21_000, Act::HangUp),
            ],
            rtp_timeout: Duration::from_secs(4),
            ..base
        };
        let mut scenario = scenario;
        scenario.knobs.no_input = Ms(3_000);
        let seen = scenario.run(1);
        went_well(&seen);
        assert_eq!(holds(&seen), [(true, false, 0), (false, false, 0)]);
        assert_eq!(reinvites(&seen, out), 2);
        let (held, resumed) = (moment(&seen, 0), moment(&seen, 1));
        assert!(!seen.robot_heard(held + Ms(60), resumed), "silent on hold");
        let stops: Vec<_> = seen.interruptions().into_iter().map(|(_, heard, by)| (&*heard.prompt_id, by)).collect();
        assert_eq!(stops, [(long, StoppedBy::Stop)]);
        assert_eq!(seen.done(), [(long, true), ("Back again.", false)]);
        assert!(seen.robot_heard(resumed, resumed + Ms(300) + length_of("Back again.")), "and speaks again");
        assert!(seen.utterances().is_empty() && seen.record().keys.is_empty(), "deaf on hold: {:#?}", seen.told);
        let silences: Vec<_> = seen.told.iter().filter(|(_, _, what)| matches!(what, What::NoInput { .. })).collect();
        assert!(silences.iter().all(|(_, at, _)| *at > resumed + Ms(3_000)), "{silences:?}");
        // Silence is sent on hold too: what it passes stays open.
        let on_hold = seen.sent.iter().filter(|packet| (held..resumed).contains(&seen.media(packet.at))).count();
        assert!(on_hold.abs_diff((resumed - held).0 as usize / 20) < 3, "{on_hold} packets");
    }
}

#[test]
fn a_far_end_that_refuses_leaves_the_call_as_it_was_and_may_be_asked_again() {
    let long = "A story that is heard to its end, since the far end does not let itself be put on hold.";
    let scenario = Scenario {
        dialogue: talks(long, &[]),
        orders: vec![(4_000, HOLD), (11_000, HOLD), (12_000, RESUME), (14_000, RESUME)],
        // A resume may be refused too; what was held then stays so.
        talk: vec![(1_000, Act::Refuse(488)), (10_000, Act::Refuse(503)), (16_000, Act::HangUp)],
        ..Scenario::outbound()
    };
    let seen = scenario.run(1);
    went_well(&seen);
    assert_eq!(holds(&seen), [(false, false, 488), (true, false, 0), (true, false, 503), (false, false, 0)]);
    let told = seen.line.iter().filter(|(_, event)| matches!(event.what, Line::Hold { .. }));
    assert_eq!(told.count(), 2, "the dialogue is told what is so, not what was refused");
    assert_eq!(seen.done(), [(long, false)]);
}

#[test]
fn glare_is_tried_again_and_the_last_word_counts() {
    for (base, out) in [(Scenario::outbound(), true), (Scenario::inbound(), false)] {
        let talk = || vec![(500, Act::Refuse(491)), (14_000, Act::HangUp)];
        let scenario = Scenario { orders: vec![(4_000, HOLD), (10_000, RESUME)], talk: talk(), ..base };
        let seen = scenario.run(1);
        went_well(&seen);
        assert_eq!(holds(&seen), [(true, false, 0), (false, false, 0)]);
        assert_eq!(reinvites(&seen, out), 3);
    }
    // Resumed before the hold could be tried again: nobody is held.
    let talk = vec![(500, Act::Refuse(491)), (12_000, Act::HangUp)];
    let seen = Scenario { orders: vec![(4_000, HOLD), (4_300, RESUME)], talk, ..Scenario::outbound() }.run(1);
    went_well(&seen);
    assert_eq!(holds(&seen), []);
    assert_eq!(reinvites(&seen, true), 2);
    // Their own re-INVITE comes meanwhile: our answer to it is the hold, or the resume.
    let talk = vec![(500, Act::Refuse(491)), (2_700, Act::Hold(Direction::SendRecv))];
    let orders = vec![(4_000, HOLD), (9_000, RESUME), (12_000, bye())];
    let seen = Scenario { orders, talk, ..Scenario::outbound() }.run(1);
    ended_by(&seen, HungUpBy::Operator);
    assert_eq!(holds(&seen), [(true, false, 0), (false, false, 0)]);
}

#[test]
fn a_dialogue_that_owes_an_answer_has_time_for_it_until_after_the_resume() {
    let scenario = Scenario {
        // The answer comes in the middle of a hold that is longer than the dialogue's time.
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => vec![say("Yes?")],
            Line::Utterance(_) => vec![say("I see.").after(3_000)],
            _ => Vec::new(),
        }),
        orders: vec![(6_000, HOLD), (16_000, RESUME)],
        talk: vec![(2_000, Act::Speak(voice::recorded("caller-yes"))), (17_500, Act::HangUp)],
        ..Scenario::outbound()
    };
    let seen = scenario.run(1);
    went_well(&seen);
    assert_eq!(seen.talk(), ["robot: Yes?", "caller: …", "robot: I see."]);
    assert!(seen.turns(trunkline::call::record::Role::Speech)[1].start >= moment(&seen, 1));

    // One that says nothing is given up as ever, when its time after the resume is over.
    let scenario = Scenario {
        dialogue: Box::new(|_| Vec::new()),
        orders: vec![(3_000, HOLD), (9_000, RESUME)],
        ..Scenario::outbound()
    };
    let seen = scenario.run(1);
    assert_eq!(seen.record().hung_up_by, HungUpBy::Robot);
    let given_up =
        seen.told.iter().find(|(_, _, what)| matches!(what, What::ServiceTrouble { .. })).expect("it is told");
    assert_eq!(given_up.1.0.abs_diff(moment(&seen, 1).0 + 4_000) / 60, 0, "{given_up:?}");
}

#[test]
fn a_hang_up_on_hold_waits_for_no_prompt() {
    let scenario = Scenario {
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => vec![say("Hi."), say("More.").after(6_000), hang_up("enough").after(6_001)],
            _ => Vec::new(),
        }),
        orders: vec![(4_000, HOLD)],
        ..Scenario::outbound()
    };
    let seen = scenario.run(1);
    let record = seen.record();
    assert_eq!((record.hung_up_by, record.end_reason.as_str()), (HungUpBy::Robot, "enough"));
    assert_eq!(seen.talk(), ["robot: Hi."]);
    assert!(record.talk_ms < Ms(6_500), "{}", record.talk_ms);
}

#[test]
fn a_call_that_is_answered_on_hold_is_so_from_the_beginning() {
    let scenario = Scenario {
        dialogue: talks("Hello?", &[]),
        talk: vec![(0, Act::Hold(Direction::SendOnly)), (3_000, Act::Hold(Direction::SendRecv))],
        orders: vec![(6_000, bye())],
        ..Scenario::outbound()
    };
    let seen = scenario.run(1);
    ended_by(&seen, HungUpBy::Operator);
    assert_eq!(holds(&seen), [(false, true, 0), (false, false, 0)]);
    // The robot is not kept from talking.
    assert_eq!(seen.done(), [("Hello?", false)]);
}

#[test]
fn both_sides_may_hold_and_each_resumes_its_own() {
    let scenario = Scenario {
        orders: vec![(4_000, HOLD), (10_000, RESUME), (12_000, bye())],
        talk: vec![(1_000, Act::Hold(Direction::SendOnly)), (6_000, Act::Hold(Direction::SendRecv))],
        ..Scenario::outbound()
    };
    let seen = scenario.run(1);
    ended_by(&seen, HungUpBy::Operator);
    let each = [(false, true), (true, true), (true, false), (false, false)];
    assert_eq!(holds(&seen), each.map(|(by_us, by_far_end)| (by_us, by_far_end, 0)));
    let told = seen.line.iter().filter_map(|(_, event)| match event.what {
        Line::Hold { by_us, by_far_end } => Some((by_us, by_far_end)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), each, "and the dialogue is told the same");
}
