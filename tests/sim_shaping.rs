//! The caller's turn as the dialogue shapes it: ended early on a partial text, given more time, told what to expect; and the robot muted.

mod sim;

use std::sync::Arc;
use std::time::Duration;

use sim::phone::Act;
use sim::services::{Reply, act, answering, final_text, hang_up, partial, prompt, say, understands};
use sim::{Order, Scenario, Seen, voice};
use trunkline::call::action::Action;
use trunkline::call::event::What;
use trunkline::call::hints::Hints;
use trunkline::call::io::{FromSpeech, ToRecogniser};
use trunkline::call::knobs::{BargeIn, KnobChange};
use trunkline::call::leg::LegEvent;
use trunkline::call::line::{Line, Quality, Utterance};
use trunkline::call::record::{Pause, Role};
use trunkline::ms::Ms;

/// Understands one text, a part of it while it is said.
fn hears(part: &'static str, all: &'static str) -> sim::services::Recogniser {
    Box::new(move |told| match told {
        ToRecogniser::UtteranceStart { utterance, .. } => vec![(400, partial(utterance, part))],
        ToRecogniser::UtteranceEnd { utterance, .. } => vec![(300, final_text(utterance, all))],
        _ => Vec::new(),
    })
}

fn expects() -> Reply {
    act(Action::Expect { partials: true, hints: None })
}

/// A dialogue that has time, and ends the turn as soon as it has understood a part of it.
fn ends_early(answer: &'static str) -> Scenario {
    let mut scenario = Scenario {
        dialogue: Box::new(move |event| match &event.what {
            Line::Begin(_) => vec![expects()],
            Line::Partial { utterance, .. } => vec![act(Action::EndTurn(*utterance))],
            Line::Utterance(u) if u.ended_early => vec![answering(event.id, Action::Say(prompt(answer)))],
            _ => Vec::new(),
        }),
        ..Scenario::outbound()
    };
    scenario.rules.dialogue_timeout = Duration::from_secs(60);
    scenario.knobs.no_input = Ms(0);
    scenario
}

/// Each utterance as the dialogue was told it, with when.
fn told(seen: &Seen) -> Vec<(Ms, Utterance)> {
    let one = |(_, event): &(Duration, trunkline::call::line::LineEvent)| match &event.what {
        Line::Utterance(utterance) => Some((event.at, utterance.clone())),
        _ => None,
    };
    seen.line.iter().filter_map(one).collect()
}

/// How long the leg waited in silence before it ended each utterance.
fn waits(seen: &Seen) -> Vec<u32> {
    let wait = |(at, event): &(Duration, LegEvent)| match event {
        LegEvent::Utterance { stop, .. } => Some((seen.media(*at) - *stop).0),
        _ => None,
    };
    seen.leg.iter().filter_map(wait).collect()
}

#[test]
fn a_turn_that_is_ended_on_a_partial_is_told_at_once_and_its_final_text_is_no_second_turn() {
    for seed in 0..4 {
        let mut scenario = ends_early("It leaves at nine.");
        // He needs as long for it as the robot to answer: it is not to be interrupted by the rest of his sentence.
        scenario.knobs.barge_in = BargeIn::Never;
        scenario.recogniser = hears("can you tell", "can you tell me when the train leaves");
        scenario.talk = vec![(1_000, Act::Speak(voice::recorded("caller-when"))), (9_000, Act::HangUp)];
        let seen = if seed % 2 == 1 { scenario.over_poor_network() } else { scenario }.run(seed);
        let [(at, utterance)] = &told(&seen)[..] else { panic!("seed {seed}: {:?}", told(&seen)) };
        assert_eq!((utterance.text.as_str(), utterance.quality), ("can you tell", Quality::Partial));
        assert!(utterance.ended_early && !utterance.during_prompt);
        let ended = seen.leg.iter().find(|(_, event)| matches!(event, LegEvent::Utterance { .. }));
        let (silent, _) = ended.expect("he falls silent");
        assert!(*at < seen.media(*silent), "seed {seed}: {at}, before he was silent");
        assert_eq!(utterance.stop, *at, "that is where the turn ended");
        // The record has all of it, where it was said.
        let [turn] = seen.turns(Role::Voice)[..] else { panic!("{:#?}", seen.record().turns) };
        assert_eq!(turn.text, "can you tell me when the train leaves");
        assert!(turn.stop > utterance.stop, "{turn:?}");
        assert_eq!(seen.talk(), ["caller: can you tell me when the train leaves", "robot: It leaves at nine."]);
        assert_eq!(seen.record().faults, [""; 0]);
    }
}

#[test]
fn a_turn_that_waits_for_its_text_can_be_ended_and_is_told_once() {
    let mut scenario = ends_early("Yes.");
    // The partial comes when the voice has fallen silent, the final far too late.
    scenario.recogniser = Box::new(|told| match told {
        ToRecogniser::UtteranceEnd { utterance, .. } => {
            vec![(100, partial(utterance, "thank")), (2_000, final_text(utterance, "thank you"))]
        }
        _ => Vec::new(),
    });
    scenario.talk = vec![(1_000, Act::Speak(voice::recorded("human-thank-you"))), (9_000, Act::HangUp)];
    let seen = scenario.run(1);
    let [(_, utterance)] = &told(&seen)[..] else { panic!("{:?}", told(&seen)) };
    assert_eq!((utterance.text.as_str(), utterance.ended_early), ("thank", true));
    assert_eq!(seen.turns(Role::Voice)[0].text, "thank you", "what came late is in the record");
}

#[test]
fn who_speaks_on_after_his_turn_was_ended_and_interrupts_the_answer_is_told_whole() {
    let mut scenario = ends_early("The train leaves at nine o'clock from platform three.");
    scenario.recogniser = hears("can you tell", "can you tell me when the train leaves");
    scenario.talk = vec![(1_000, Act::Speak(voice::recorded("human-not-understood"))), (12_000, Act::HangUp)];
    let seen = scenario.run(2);
    let all = told(&seen);
    let [(_, first), (_, second), ..] = &all[..] else { panic!("{all:?}") };
    assert!(first.ended_early && first.interrupted.is_none());
    assert_eq!((second.utterance, second.ended_early), (first.utterance, false), "of the same utterance");
    assert_eq!(second.text, "can you tell me when the train leaves");
    assert!(second.interrupted.as_ref().is_some_and(|heard| heard.heard > Ms(0)), "{second:?}");
    let once = seen.turns(Role::Voice).iter().filter(|turn| turn.id == "utterance-1").count();
    assert_eq!(once, 1, "{:#?}", seen.record().turns);
}

#[test]
fn words_that_the_ended_turn_has_had_do_not_interrupt_its_answer() {
    let mut scenario = ends_early("The train leaves at nine o'clock from platform three.");
    scenario.knobs.barge_in = BargeIn::Words;
    // The recogniser says again and again what it has said; then there is more.
    let again = |text, at: &[u32]| -> Vec<(u32, FromSpeech)> { at.iter().map(|&at| (at, partial(1, text))).collect() };
    for more in [false, true] {
        let mut scenario =
            Scenario { knobs: scenario.knobs.clone(), ..ends_early("The train leaves at nine o'clock.") };
        scenario.recogniser = Box::new(move |told| match told {
            ToRecogniser::UtteranceStart { utterance: 1, .. } => {
                let mut all = again("can you tell", &[300, 900, 1_000, 1_100]);
                all.extend(more.then(|| (1_200, partial(1, "can you tell me not"))));
                all
            }
            ToRecogniser::UtteranceEnd { utterance, .. } => vec![(100, final_text(utterance, "can you tell me not"))],
            _ => Vec::new(),
        });
        scenario.talk = vec![(1_000, Act::Speak(voice::recorded("human-not-understood"))), (12_000, Act::HangUp)];
        let seen = scenario.run(3);
        assert_eq!(seen.interruptions().len(), usize::from(more), "{:?}", seen.interruptions());
    }
}

#[test]
fn what_is_over_or_has_not_begun_or_has_been_ended_cannot_be_ended_and_the_fault_says_so() {
    let mut scenario = Scenario::outbound();
    scenario.rules.dialogue_timeout = Duration::from_secs(60);
    scenario.recogniser = hears("thank", "thank you");
    scenario.dialogue = Box::new(|event| match &event.what {
        Line::Begin(_) => vec![expects(), act(Action::EndTurn(7)).after(30)],
        Line::Partial { utterance, .. } => {
            vec![act(Action::EndTurn(*utterance)), act(Action::EndTurn(*utterance)).after(40)]
        }
        Line::Utterance(u) => vec![act(Action::EndTurn(u.utterance)).after(4_000)],
        _ => Vec::new(),
    });
    scenario.talk = vec![(1_000, Act::Speak(voice::recorded("human-thank-you"))), (9_000, Act::HangUp)];
    let seen = scenario.run(1);
    assert_eq!(
        seen.faults(),
        [
            "end_turn.utterance_id: utterance 7 is not under way: it is over, or has not begun",
            "end_turn.utterance_id: the turn of utterance 1 has been ended already",
            "end_turn.utterance_id: the turn of utterance 1 has been ended already",
        ]
    );
    assert_eq!(told(&seen).len(), 1, "the call goes on, and the turn is told once");
}

#[test]
fn more_time_is_for_this_turn_only_and_acts_in_the_silence_of_it() {
    for seed in 0..4 {
        let mut scenario = Scenario::outbound();
        scenario.rules.dialogue_timeout = Duration::from_secs(60);
        scenario.knobs.no_input = Ms(0);
        scenario.knobs.endpoint = Ms(500);
        scenario.recogniser = hears("thank", "thank you");
        // Asked for upon the partial of the first one, in mid-speech; the second has the call's own again.
        scenario.dialogue = Box::new(|event| match &event.what {
            Line::Begin(_) => vec![expects()],
            Line::Partial { utterance: 1, .. } => vec![act(Action::MoreTime(Ms(1_700)))],
            _ => Vec::new(),
        });
        let words = || Act::Speak(voice::recorded("human-thank-you"));
        scenario.talk = vec![(1_000, words()), (6_000, words()), (11_000, Act::HangUp)];
        let seen = if seed % 2 == 1 { scenario.over_poor_network() } else { scenario }.run(seed);
        let waits = waits(&seen);
        let buffer = if seed % 2 == 1 { 120 } else { 60 };
        assert!((1_700..=1_720 + buffer).contains(&waits[0]), "seed {seed}: {waits:?}");
        assert!((500..=520 + buffer).contains(waits.last().expect("two")), "seed {seed}: {waits:?}");
    }
}

#[test]
fn more_time_that_is_asked_for_while_nobody_speaks_is_for_the_next_turn_whatever_the_knob_does() {
    let mut scenario = Scenario::outbound();
    scenario.rules.dialogue_timeout = Duration::from_secs(60);
    scenario.knobs.no_input = Ms(0);
    scenario.recogniser = understands(&["one", "two"], 50);
    let knob = KnobChange { endpoint: Some(Ms(300)), ..KnobChange::default() };
    scenario.dialogue = Box::new(move |event| match &event.what {
        // The knob that is turned meanwhile holds from the next turn on.
        Line::Begin(_) => vec![act(Action::MoreTime(Ms(2_000))), act(Action::Set(knob.clone())).after(40)],
        _ => Vec::new(),
    });
    let words = || Act::Speak(voice::recorded("human-thank-you"));
    scenario.talk = vec![(1_000, words()), (6_000, words()), (11_000, Act::HangUp)];
    let waits = waits(&scenario.run(5));
    assert!((2_000..2_080).contains(&waits[0]), "{waits:?}");
    assert!((300..380).contains(waits.last().expect("two")), "{waits:?}");
}

#[test]
fn hints_reach_the_recogniser_and_are_taken_back_when_the_turn_is_over() {
    let mut scenario = Scenario::outbound();
    scenario.rules.dialogue_timeout = Duration::from_secs(60);
    scenario.recogniser = understands(&["yes", "well"], 50);
    let hints = Arc::new(Hints { phrases: vec!["yes".into(), "no".into()], grammar: "builtin:yesno".into() });
    let given = hints.clone();
    scenario.dialogue = Box::new(move |event| match &event.what {
        Line::Begin(_) => vec![act(Action::Expect { partials: false, hints: Some(given.clone()) })],
        Line::Utterance(u) if u.utterance == 2 => vec![hang_up("done")],
        _ => Vec::new(),
    });
    let words = || Act::Speak(voice::recorded("human-thank-you"));
    scenario.talk = vec![(1_000, words()), (6_000, words())];
    let seen = scenario.run(1);
    let order: Vec<_> = seen.recogniser.iter().map(|(_, told)| told.clone()).collect();
    let expected: Vec<_> = order.iter().filter(|told| matches!(told, ToRecogniser::Expect(_))).collect();
    assert_eq!(expected, [&ToRecogniser::Expect(Some(hints)), &ToRecogniser::Expect(None)], "once each: {order:?}");
    let taken_back = order.iter().position(|told| *told == ToRecogniser::Expect(None));
    let second = order.iter().position(|told| matches!(told, ToRecogniser::UtteranceStart { utterance: 2, .. }));
    assert!(taken_back < second, "{order:?}");
}

#[test]
fn hints_where_nobody_recognises_are_a_fault_that_names_the_field() {
    let mut scenario = Scenario { talk: vec![(4_000, Act::HangUp)], ..Scenario::outbound() };
    scenario.rules.recogniser = false;
    let hints = Some(Arc::new(Hints { phrases: vec!["yes".into()], grammar: String::new() }));
    scenario.dialogue = Box::new(move |event| match &event.what {
        Line::Begin(_) => vec![act(Action::Expect { partials: true, hints: hints.clone() }), say("Hello.")],
        _ => Vec::new(),
    });
    let seen = scenario.run(1);
    assert_eq!(seen.faults(), ["expect.phrases: nobody recognises on this call"]);
    assert_eq!(seen.talk(), ["robot: Hello."]);
}

/// What was sent in each frame of the recording, and when: whether it was any sound.
fn sounded(seen: &Seen) -> Vec<(Ms, bool)> {
    seen.recorded
        .iter()
        .map(|frame| (frame.robot_at, frame.robot.iter().any(|sample| sample.unsigned_abs() > 8)))
        .collect()
}

#[test]
fn under_a_mute_nothing_is_sent_and_prompts_run_on_unheard() {
    for by_dialogue in [false, true] {
        let mute = |on| Action::Mute(on);
        let mut scenario = Scenario::outbound();
        scenario.knobs.no_input = Ms(0);
        scenario.rules.dialogue_timeout = Duration::from_secs(60);
        scenario.dialogue = Box::new(move |event| match &event.what {
            Line::Begin(_) => {
                let talk = say("A long sentence that is said to its end, whoever hears it.");
                let muted = [(1_000, true), (1_100, true), (2_200, false)];
                let muted = muted.map(|(at, on)| act(mute(on)).after(at));
                [talk].into_iter().chain(muted.into_iter().filter(|_| by_dialogue)).collect()
            }
            _ => Vec::new(),
        });
        if !by_dialogue {
            let orders = [(3_000, true), (3_100, true), (4_200, false), (4_300, false)];
            scenario.orders = orders.map(|(at, on)| (at, Order::Do(mute(on)))).into();
        }
        scenario.talk = vec![(3_200, Act::Speak(voice::recorded("human-thank-you"))), (12_000, Act::HangUp)];
        scenario.knobs.barge_in = BargeIn::Never;
        let seen = scenario.run(1);
        let muted = seen.told.iter().filter_map(|(_, _, what)| match what {
            What::Muted { on, from } => Some((*on, *from)),
            _ => None,
        });
        let [(true, start), (false, stop)] = muted.collect::<Vec<_>>()[..] else { panic!("once each") };
        assert_eq!(seen.record().mutes, [Pause { start, stop }]);
        let line: Vec<_> = seen.line.iter().filter(|(_, event)| matches!(event.what, Line::Muted { .. })).collect();
        assert_eq!(line.len(), 2, "the dialogue is told");
        let sounded = sounded(&seen);
        let inside = |at: Ms| start <= at && at < stop;
        assert!(sounded.iter().all(|(at, sound)| !(inside(*at) && *sound)), "not one frame of sound");
        let spoke = |from: Ms, to: Ms| sounded.iter().any(|(at, sound)| *sound && from <= *at && *at < to);
        assert!(spoke(Ms(0), start) && spoke(stop, Ms::MAX), "before and after it is heard");
        let [turn] = seen.turns(Role::Speech)[..] else { panic!("{:#?}", seen.record().turns) };
        assert!(!turn.interrupted && turn.start < start && turn.stop > stop, "{turn:?}");
        // The packets keep their time (checked of every call), and the caller is heard as ever.
        assert_eq!(seen.utterances().len(), 1);
    }
}

#[test]
fn keys_that_are_to_be_sent_are_sent_under_a_mute() {
    let mut scenario = Scenario { dialogue: sim::services::talks("Hello.", &[]), ..Scenario::outbound() };
    scenario.rules.dialogue_timeout = Duration::from_secs(60);
    scenario.orders = vec![
        (3_000, Order::Do(Action::Mute(true))),
        (3_500, Order::Do(Action::SendKeys("42".to_owned()))),
        (4_000, Order::Do(Action::Say(prompt("Nobody hears this.")))),
    ];
    scenario.talk = vec![(9_000, Act::HangUp)];
    let seen = scenario.run(1);
    let events = seen.sent.iter().filter(|packet| packet.payload_type == 101).count();
    assert!(events > 8, "{events} packets of keys");
    let record = seen.record();
    let [mute] = record.mutes[..] else { panic!("{:?}", record.mutes) };
    assert!(mute.stop.0.abs_diff(record.talk_ms.0) <= 40, "one that is not ended lasts as long as the call: {mute:?}");
    assert_eq!(seen.talk().last().map(String::as_str), Some("robot: Nobody hears this."));
}
