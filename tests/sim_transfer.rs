//! Handing over by REFER, from the dialogue's wish to the record.

mod sim;

use std::time::Duration;

use sim::phone::{Act, Referee};
use sim::services::{Dialogue, Reply, act, hang_up, say};
use sim::{Order, Scenario};
use trunkline::call::action::Action;
use trunkline::call::event::{Stage, What};
use trunkline::call::io::FromDialogue;
use trunkline::call::knobs::KnobChange;
use trunkline::call::line::{HungUpBy, Line};
use trunkline::call::record::Outcome;
use trunkline::call::transfer::{Handed, Refer};
use trunkline::ms::Ms;
use trunkline::sip::refer::ReferTarget;
use trunkline::sip::session::ExtraHeaders;
use trunkline::sip::uui::Uui;

const RINGS: [(u32, &str, &str); 2] =
    [(100, "active;expires=60", "SIP/2.0 100 Trying"), (500, "active", "SIP/2.0 180 Ringing")];
const ANSWERS: (u32, &str, &str) = (4_000, "terminated;reason=noresource", "SIP/2.0 200 OK");
const BUSY: (u32, &str, &str) = (4_000, "terminated;reason=noresource", "SIP/2.0 486 Busy Here");

fn refer() -> Refer {
    Refer {
        target: ReferTarget::parse("8001").expect("a number"),
        user_to_user: vec![Uui::hex(b"hi").expect("short")],
        target_headers: ExtraHeaders::default(),
        replaces: None,
        referred_by: None,
        subscription: None,
        headers: ExtraHeaders::default(),
        patience: None,
        now: false,
        bridge_on_refusal: false,
    }
}

fn hand_over() -> Reply {
    act(Action::Refer(Box::new(refer())))
}

/// Says "One moment." and refers; says "Sorry." and hangs up when that fails.
fn hands_over() -> Dialogue {
    Box::new(|event| match &event.what {
        Line::Begin(_) => vec![say("One moment."), hand_over().after(21)],
        Line::TransferResult { reached: false, .. } => vec![say("Sorry."), hang_up("it failed").after(21)],
        _ => Vec::new(),
    })
}

fn takes(notifies: &[(u32, &'static str, &'static str)]) -> Referee {
    Referee { code: 202, notifies: notifies.to_vec(), ..Referee::default() }
}

fn scenario(referee: Referee) -> Scenario {
    Scenario { referee, dialogue: hands_over(), ..Scenario::outbound() }
}

#[test]
fn a_transfer_waits_for_the_last_word_and_ends_the_call_when_the_target_answers() {
    for way in [Scenario::outbound(), Scenario::inbound()] {
        let referee = takes(&[RINGS[0], RINGS[1], ANSWERS]);
        let seen = Scenario { referee, dialogue: hands_over(), ..way }.run(1);
        assert_eq!(seen.refers, ["<sip:8001@192.0.2.9?User-to-User=6869%3Bencoding%3Dhex>"]);
        let handed = Stage::Answered(Handed::Transferred);
        let going = [(Stage::Started, 0), (Stage::Progress, 202), (Stage::Progress, 100), (Stage::Progress, 180)];
        assert_eq!(seen.stages(), [&going[..], &[(handed, 200), (Stage::Ended, 200)]].concat());
        assert_eq!(seen.results(), [(true, 200)]);
        // The REFER goes out when the far end has heard the prompt, and the BYE after the answer to the last NOTIFY.
        let refer = seen.request("REFER").expect("a REFER");
        assert_eq!(seen.done(), [("One moment.", false)]);
        assert!(seen.media(refer) >= seen.last_word(Ms(u32::MAX)) + Ms(200), "{refer:?}");
        let bye = seen.request("BYE").expect("a BYE");
        let last_ok = seen.sip.iter().filter(|(_, line)| line == "SIP/2.0 200 OK").map(|(at, _)| *at).max();
        assert!(last_ok.is_some_and(|ok| ok <= bye && ok > refer), "{:?}", seen.sip);
        let record = seen.record();
        assert_eq!((record.outcome, record.hung_up_by), (Outcome::Success, HungUpBy::Robot));
        assert_eq!(record.end_reason, "handed over to sip:8001@192.0.2.9");
        let transfer = seen.transfer();
        assert_eq!((transfer.result, transfer.sip_code, transfer.outcome), (1, 200, Handed::Transferred));
        assert!((transfer.stop - transfer.start).0.abs_diff(4_010) < 60, "{transfer:?}");
    }
}

#[test]
fn after_a_failed_transfer_the_conversation_goes_on() {
    let refused = |code| Referee { code, ..Referee::default() };
    for (referee, outcome, code) in [
        (takes(&[RINGS[0], BUSY]), Handed::Failed, 486),
        (refused(603), Handed::Refused, 603),
        (refused(405), Handed::Refused, 405),
        (Referee::default(), Handed::Refused, 603),
        (takes(&[]), Handed::TimedOut, 408),
        (takes(&[RINGS[0]]), Handed::TimedOut, 408),
    ] {
        let mut scenario = scenario(referee.clone());
        // Nobody is asked anything while the caller waits.
        scenario.knobs.no_input = Ms(2_000);
        let seen = scenario.run(1);
        let record = seen.record();
        assert_eq!((record.hung_up_by, record.end_reason.as_str()), (HungUpBy::Robot, "it failed"), "{referee:?}");
        assert_eq!(seen.talk(), ["robot: One moment.", "robot: Sorry."]);
        assert_eq!(seen.stages().last(), Some(&(Stage::Failed(outcome), code)), "{referee:?}");
        assert_eq!(seen.results(), [(false, code)]);
        assert_eq!((seen.transfer().result, seen.transfer().sip_code, seen.transfer().outcome), (-1, code, outcome));
        assert!(!seen.told.iter().any(|(_, _, what)| matches!(what, What::NoInput { .. })), "{referee:?}");
        assert!(record.faults.is_empty(), "{:?}", record.faults);
    }
}

#[test]
fn a_far_end_that_hangs_up_after_its_consent_was_handed_over() {
    let seen = scenario(Referee { hangs_up: Some(1_000), ..takes(&[]) }).run(1);
    assert_eq!(seen.stages().last(), Some(&(Stage::Ended, 0)));
    assert_eq!(seen.results(), [(true, 0)]);
    assert_eq!((seen.transfer().outcome, seen.record().hung_up_by), (Handed::EndedByPeer, HungUpBy::Caller));
    assert!(seen.request("BYE").is_none());
}

#[test]
fn without_a_subscription_the_consent_is_the_result() {
    let mut scenario = scenario(Referee { silent: true, ..takes(&[]) });
    scenario.dialogue = Box::new(|event| match &event.what {
        Line::Begin(_) => {
            vec![act(Action::Refer(Box::new(Refer { subscription: Some(false), now: true, ..refer() })))]
        }
        _ => Vec::new(),
    });
    let seen = scenario.run(1);
    assert_eq!(seen.results(), [(true, 202)]);
    assert_eq!((seen.transfer().outcome, seen.record().hung_up_by), (Handed::Accepted, HungUpBy::Robot));
}

#[test]
fn a_refer_now_waits_for_no_prompt() {
    let mut scenario = scenario(takes(&[(1_000, ANSWERS.1, ANSWERS.2)]));
    scenario.dialogue = Box::new(|event| match &event.what {
        Line::Begin(_) => {
            let refer = Action::Refer(Box::new(Refer { now: true, ..refer() }));
            vec![say("This is a rather long sentence that nobody needs to hear to its end."), act(refer).after(900)]
        }
        _ => Vec::new(),
    });
    let seen = scenario.run(1);
    assert!(seen.media(seen.request("REFER").expect("a REFER")) < Ms(1_000));
    assert_eq!((seen.results(), seen.record().turns[0].interrupted), (vec![(true, 200)], true));
}

#[test]
fn a_hang_up_meanwhile_waits_for_the_result_unless_it_says_now() {
    let hang = |now| Action::Hangup { now, reason: "bye".to_owned(), farewell: Default::default() };
    let with = |now, last| {
        let orders = vec![(5_500, Order::Do(hang(now)))];
        let dialogue: Dialogue = Box::new(|event| match &event.what {
            Line::Begin(_) => vec![hand_over()],
            _ => Vec::new(),
        });
        Scenario { orders, dialogue, ..scenario(takes(&[RINGS[0], last])) }.run(1)
    };
    let seen = with(false, ANSWERS);
    assert_eq!((seen.results(), seen.record().hung_up_by), (vec![(true, 200)], HungUpBy::Robot));
    let seen = with(false, BUSY);
    assert_eq!((seen.results(), seen.record().end_reason.as_str()), (vec![(false, 486)], "bye"));
    let seen = with(true, ANSWERS);
    assert_eq!((seen.transfer().outcome, seen.record().end_reason.as_str()), (Handed::CallEnded, "bye"));
    assert_eq!(seen.results(), [(false, 0)]);
}

/// The silence that had begun before it too.
#[test]
fn no_silence_counts_while_the_caller_waits() {
    let dialogue: Dialogue = Box::new(|event| match &event.what {
        Line::Begin(_) => vec![say("Hello.")],
        _ => Vec::new(),
    });
    let orders = vec![(4_000, Order::Do(Action::Refer(Box::new(refer()))))];
    let mut scenario = Scenario { orders, dialogue, ..scenario(takes(&[ANSWERS])) };
    scenario.knobs.no_input = Ms(3_000);
    let seen = scenario.run(1);
    assert_eq!(seen.transfer().outcome, Handed::Transferred);
    assert!(!seen.told.iter().any(|(_, _, what)| matches!(what, What::NoInput { .. })));
}

#[test]
fn the_orchestrator_refers_too_and_one_at_a_time() {
    let order = |at| (at, Order::Do(Action::Refer(Box::new(refer()))));
    let dialogue: Dialogue = Box::new(|_| Vec::new());
    let seen = Scenario { orders: vec![order(3_000), order(4_000)], dialogue, ..scenario(takes(&[ANSWERS])) }.run(1);
    assert_eq!(seen.stages()[2], (Stage::Failed(Handed::Refused), 491));
    assert_eq!((seen.refers.len(), seen.transfer().outcome), (1, Handed::Transferred));
    assert_eq!(seen.record().hung_up_by, HungUpBy::Operator);
    // A dialogue is told by a fault, as of everything that it cannot have.
    let dialogue: Dialogue = Box::new(|event| match &event.what {
        Line::Begin(_) => vec![hand_over(), hand_over().after(500)],
        _ => Vec::new(),
    });
    let seen = Scenario { dialogue, ..scenario(takes(&[ANSWERS])) }.run(1);
    assert_eq!(seen.faults().first(), Some(&"refer: another transfer has no result yet"));
    assert_eq!(seen.transfer().outcome, Handed::Transferred);
}

#[test]
fn a_dialogue_that_goes_after_its_refer_is_missed_only_if_that_fails() {
    let goes = || -> Dialogue {
        Box::new(|event| match &event.what {
            Line::Begin(_) => vec![hand_over(), Reply(2_000, FromDialogue::Closed(None))],
            _ => Vec::new(),
        })
    };
    let seen = Scenario { dialogue: goes(), ..scenario(takes(&[ANSWERS])) }.run(1);
    assert!(seen.record().faults.is_empty() && seen.talk().is_empty());
    assert_eq!(seen.transfer().outcome, Handed::Transferred);
    let seen = Scenario { dialogue: goes(), ..scenario(takes(&[BUSY])) }.run(1);
    assert_eq!(seen.record().faults, ["dialogue: it closed its stream without hanging up"]);
    assert_eq!(seen.talk(), ["robot: [fallback.wav]"]);
}

#[test]
fn a_line_that_is_silent_while_it_is_handed_over_is_not_dead() {
    let silent = |last| {
        let mut scenario = scenario(takes(&[last]));
        scenario.rtp_timeout = Duration::from_secs(2);
        scenario.talk = vec![(1_000, Act::Mute)];
        scenario.dialogue = Box::new(|event| match &event.what {
            Line::Begin(_) => vec![act(Action::Set(KnobChange::default())), hand_over()],
            _ => Vec::new(),
        });
        scenario.rules.dialogue_timeout = Duration::from_secs(60);
        scenario.run(1)
    };
    assert_eq!(silent(ANSWERS).transfer().outcome, Handed::Transferred);
    // Afterwards its silence counts anew.
    let seen = silent(BUSY);
    assert_eq!(seen.record().end_reason, "no RTP for 2 s");
    let failed = seen.transfer().stop;
    assert!((seen.record().talk_ms - failed).0.abs_diff(2_000) < 100, "{failed} {}", seen.record().talk_ms);
}

#[test]
fn a_dialogue_that_never_stops_referring_is_stopped() {
    let mut scenario = scenario(Referee { code: 603, ..Referee::default() });
    scenario.dialogue = Box::new(|event| match &event.what {
        Line::Begin(_) => vec![hand_over()],
        Line::TransferResult { sip_code: 603, .. } => vec![hand_over()],
        Line::TransferResult { .. } => vec![hang_up("enough")],
        _ => Vec::new(),
    });
    let seen = scenario.run(1);
    assert_eq!((seen.record().transfers.len(), seen.record().end_reason.as_str()), (16, "enough"));
}
