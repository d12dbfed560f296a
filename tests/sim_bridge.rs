//! Handing over by a second leg: what the first call and the second one each do, with the words of the other one played from a script.

mod sim;

use std::time::Duration;

use sim::phone::{Act, Pickup, Referee};
use sim::services::{Dialogue, Reply, act, hang_up, prompt, say};
use sim::{Order, Scenario, Seen};
use trunkline::call::action::Action;
use trunkline::call::event::{Stage, StoppedBy, What};
use trunkline::call::io::{FromDialogue, Input, ToRecogniser};
use trunkline::call::line::{HungUpBy, Line};
use trunkline::call::prompt::{Segment, Source};
use trunkline::call::record::{Outcome, Role};
use trunkline::call::second_leg::{News, SecondLeg, ToSecond};
use trunkline::call::transfer::{Handed, Refer};
use trunkline::ms::Ms;
use trunkline::sip::refer::ReferTarget;
use trunkline::sip::session::ExtraHeaders;
use trunkline::sip::uui::Uui;

/// The calls of these tests are answered after 1.5 s.
const PLACED: u32 = 4_000;

fn leg() -> SecondLeg {
    SecondLeg {
        target: ReferTarget::parse("8001@192.0.2.9:5062").expect("an address"),
        trunk: String::new(),
        caller: String::new(),
        headers: ExtraHeaders::default(),
        ring: None,
        waiting: Vec::new(),
        transcript: false,
        now: false,
    }
}

fn music() -> Vec<Segment> {
    let wav = Source::File("music.wav".to_owned());
    vec![Segment { source: wav, mark: String::new() }]
}

fn transfer(leg: SecondLeg) -> Reply {
    act(Action::Transfer(Box::new(leg)))
}

fn hang(now: bool) -> Order {
    Order::Do(Action::Hangup { now, reason: "enough".to_owned(), farewell: Default::default() })
}

fn news(at: u32, news: News) -> (u32, Order) {
    (at, Order::Say(Input::Transferred(news)))
}

fn failed(code: u16, reason: &str) -> News {
    News::Failed { code, reason: reason.to_owned() }
}

fn over(by: HungUpBy) -> News {
    News::Over { by, reason: "BYE".to_owned() }
}

/// It is placed, and rings.
fn rings() -> Vec<(u32, Order)> {
    vec![news(PLACED, News::Placed { call_id: "second".into() }), news(PLACED + 500, News::Ringing { code: 180 })]
}

fn and(mut orders: Vec<(u32, Order)>, more: Vec<(u32, Order)>) -> Vec<(u32, Order)> {
    orders.extend(more);
    orders
}

/// Says "One moment." and hands over; says "Sorry." and hangs up when that fails.
fn hands_over(leg: SecondLeg) -> Dialogue {
    Box::new(move |event| match &event.what {
        Line::Begin(_) => vec![say("One moment."), transfer(leg.clone()).after(21)],
        Line::TransferResult { reached: false, .. } => vec![say("Sorry."), hang_up("it failed").after(21)],
        _ => Vec::new(),
    })
}

fn scenario(orders: Vec<(u32, Order)>) -> Scenario {
    Scenario { orders, dialogue: hands_over(leg()), ..Scenario::outbound() }
}

/// Who ended the first call, as the second one was told.
fn told_second(seen: &Seen) -> Vec<HungUpBy> {
    let hang_up = |(_, told): &(Duration, ToSecond)| match told {
        ToSecond::HangUp { by, .. } => Some(*by),
        ToSecond::Keys(_) => None,
    };
    seen.to_second.iter().filter_map(hang_up).collect()
}

#[test]
fn a_transfer_waits_for_the_last_word_and_leaves_the_call_to_the_human() {
    for way in [Scenario::outbound(), Scenario::inbound()] {
        let inbound = matches!(way.way, sim::Way::Inbound(_));
        let orders = and(rings(), vec![news(8_000, News::Answered), news(12_000, over(HungUpBy::Agent))]);
        let seen = Scenario { orders, dialogue: hands_over(leg()), ..way }.run(1);
        let [(asked, leg)] = &seen.second_legs[..] else { panic!("{:?}", seen.second_legs) };
        assert!(seen.media(*asked) >= seen.last_word(Ms(u32::MAX)) + Ms(200), "{asked:?}");
        // Who calls us is shown, and so is whom we called.
        assert_eq!(leg.caller, if inbound { "4000" } else { "13800000000" });
        let way = [(Stage::Started, 0), (Stage::Progress, 180), (Stage::Answered(Handed::Transferred), 200)];
        assert_eq!(seen.stages(), [&way[..], &[(Stage::Ended, 200)]].concat());
        assert_eq!(seen.results(), [(true, 200)]);
        let Some((_, last)) = seen.line.last() else { panic!("it was told something") };
        let reason = "handed over to sip:8001@192.0.2.9:5062".to_owned();
        assert_eq!(last.what, Line::End { by: HungUpBy::Robot, reason });
        assert_eq!((seen.dialogue_closed, seen.bridged.len()), (1, 1), "the robot has left");
        let record = seen.record();
        assert_eq!(
            (record.outcome, record.hung_up_by, record.end_reason.as_str()),
            (Outcome::Success, HungUpBy::Agent, "BYE")
        );
        let transfer = seen.transfer();
        assert_eq!((transfer.kind, transfer.result, transfer.sip_code), ("bridge", 1, 200));
        assert_eq!((transfer.outcome, transfer.call_id.as_str()), (Handed::Transferred, "second"));
        // The call goes on for as long as the two talk; its BYE goes out when the agent has hung up.
        let bye = seen.request("BYE").expect("a BYE");
        assert!(bye >= Duration::from_millis(12_000) && bye < Duration::from_millis(12_100), "{bye:?}");
        assert!(told_second(&seen).is_empty(), "it knows");
        assert!(record.faults.is_empty(), "{:?}", record.faults);
    }
}

#[test]
fn after_a_failed_transfer_the_conversation_goes_on() {
    for (code, outcome) in [(486, Handed::Failed), (408, Handed::TimedOut), (603, Handed::Failed), (0, Handed::Failed)]
    {
        let mut scenario = scenario(and(rings(), vec![news(9_000, failed(code, "no"))]));
        // Nobody is asked anything while the caller waits.
        scenario.knobs.no_input = Ms(2_000);
        let seen = scenario.run(1);
        assert_eq!(seen.talk(), ["robot: One moment.", "robot: Sorry."], "{code}");
        assert_eq!((seen.results(), seen.record().end_reason.as_str()), (vec![(false, code)], "it failed"));
        assert_eq!(seen.stages().last(), Some(&(Stage::Failed(outcome), code)));
        assert_eq!(
            (seen.transfer().result, seen.transfer().outcome, seen.transfer().reason.as_str()),
            (-1, outcome, "no")
        );
        assert!(!seen.told.iter().any(|(_, _, what)| matches!(what, What::NoInput { .. })));
        assert!(seen.bridged.is_empty() && seen.record().faults.is_empty());
    }
    // A leg that could not even be placed; and one whose task has died.
    let seen = scenario(vec![news(6_000, failed(0, "no_channel: trunk t"))]).run(1);
    assert_eq!((seen.transfer().outcome, seen.transfer().reason.as_str()), (Handed::Refused, "no_channel: trunk t"));
    let seen = scenario(and(rings(), vec![news(9_000, over(HungUpBy::Network))])).run(1);
    assert_eq!((seen.transfer().outcome, seen.results()), (Handed::Failed, vec![(false, 0)]));
}

#[test]
fn music_is_played_until_the_answer_and_gives_way_to_the_robot() {
    let mut scenario = scenario(and(rings(), vec![news(20_000, News::Answered), news(22_000, over(HungUpBy::Agent))]));
    scenario.dialogue = Box::new(|event| match &event.what {
        Line::Begin(_) => {
            vec![transfer(SecondLeg { waiting: music(), ..leg() }), say("All agents are busy.").after(7_000)]
        }
        _ => Vec::new(),
    });
    let seen = scenario.run(1);
    let turns: Vec<_> = seen.turns(Role::Speech).iter().map(|turn| (turn.text.as_str(), turn.interrupted)).collect();
    assert_eq!(turns, [("[music.wav]", true), ("All agents are busy.", false), ("[music.wav]", true)]);
    let begun = |text: &str| {
        let is = |what: &What| matches!(what, What::PromptStarted { text: said, .. } if said == text);
        seen.told.iter().filter(|(_, _, what)| is(what)).count()
    };
    assert!(begun("[music.wav]") > 3, "it begins anew each time that it is over");
    let gave_way =
        seen.told.iter().filter(|(_, _, what)| matches!(what, What::PromptInterrupted { by: StoppedBy::Answer, .. }));
    // For the robot's words, and at the answer.
    assert_eq!(gave_way.count(), 2);
    // One fade after the answer nothing of it goes out any more.
    let bridged = seen.media(seen.bridged[0].0);
    let last = seen.turns(Role::Speech).last().map(|turn| turn.stop);
    assert!(last.is_some_and(|last| last <= bridged + Ms(60)), "{last:?} {bridged}");
    // Nobody is told of it but the world.
    assert!(
        !seen
            .line
            .iter()
            .any(|(_, event)| matches!(&event.what, Line::PromptDone { prompt_id, .. } if prompt_id == "waiting"))
    );
}

#[test]
fn music_that_is_not_there_or_not_wanted_any_more_is_not_begun_anew() {
    let waits = || -> Dialogue {
        Box::new(|event| match &event.what {
            Line::Begin(_) => vec![transfer(SecondLeg { waiting: music(), ..leg() }), act(Action::Stop).after(6_000)],
            Line::TransferResult { .. } => vec![hang_up("so be it")],
            _ => Vec::new(),
        })
    };
    let orders = || and(rings(), vec![news(20_000, failed(486, "Busy Here"))]);
    let begun = |seen: &Seen| {
        let after = seen.media(Duration::from_millis(9_000));
        let started = |told: &&(Duration, Ms, What)| matches!(told.2, What::PromptStarted { .. });
        (seen.told.iter().filter(started).count(), seen.told.iter().filter(started).any(|(_, at, _)| *at > after))
    };
    let seen = Scenario { dialogue: waits(), ..scenario(orders()) }.run(1);
    assert!(begun(&seen).0 > 1 && !begun(&seen).1, "stopped for good: {:?}", begun(&seen));
    assert_eq!(seen.record().end_reason, "so be it");
    let mut scenario = Scenario { dialogue: waits(), ..scenario(orders()) };
    scenario.synthesiser = Box::new(|(prompt, segment), _, _| {
        let reason = "music.wav: there is no such file".to_owned();
        vec![(5, trunkline::call::io::FromSpeech::SoundFailed { prompt, segment, reason })]
    });
    let seen = scenario.run(1);
    assert_eq!((begun(&seen).0, seen.record().faults.len()), (0, 1), "{:?}", seen.record().faults);
    assert_eq!(seen.record().end_reason, "so be it");
}

#[test]
fn whoever_ends_the_call_ends_the_other_one() {
    let ends = |orders, act: Option<(u32, Act)>| {
        let mut scenario = scenario(and(rings(), orders));
        scenario.talk.extend(act);
        scenario.run(1)
    };
    let answered = || news(8_000, News::Answered);
    let by = |seen: &Seen| (seen.record().hung_up_by, told_second(seen));
    // While it rings, and while the two talk.
    let seen = ends(vec![], Some((5_000, Act::HangUp)));
    assert_eq!(by(&seen), (HungUpBy::Caller, vec![HungUpBy::Caller]));
    assert_eq!((seen.transfer().outcome, seen.results()), (Handed::CallEnded, vec![(false, 0)]));
    let seen = ends(vec![answered()], Some((9_000, Act::HangUp)));
    assert_eq!((by(&seen), seen.transfer().result), ((HungUpBy::Caller, vec![HungUpBy::Caller]), 1));
    assert!(seen.request("BYE").is_none());
    let seen = ends(vec![(6_000, hang(true))], None);
    assert_eq!(
        (by(&seen), seen.transfer().outcome),
        ((HungUpBy::Operator, vec![HungUpBy::Operator]), Handed::CallEnded)
    );
    for order in [hang(true), hang(false)] {
        let seen = ends(vec![answered(), (10_000, order)], None);
        assert_eq!(
            (by(&seen), seen.record().end_reason.as_str()),
            ((HungUpBy::Operator, vec![HungUpBy::Operator]), "enough")
        );
    }
    let seen = ends(vec![answered(), (10_000, Order::Say(Input::Shutdown))], None);
    assert_eq!(by(&seen), (HungUpBy::Operator, vec![HungUpBy::Operator]));
    let seen = ends(vec![answered(), (10_000, Order::Say(Input::LegLost))], None);
    assert_eq!(by(&seen), (HungUpBy::Network, vec![HungUpBy::Network]));
    // Both at once: each is told, and neither minds.
    let seen = ends(vec![answered(), news(10_000, over(HungUpBy::Agent))], Some((8_480, Act::HangUp)));
    assert_eq!(seen.records.len(), 1);
    assert!(matches!(seen.record().hung_up_by, HungUpBy::Agent | HungUpBy::Caller));
    // What comes after the end is nobody's.
    let seen = ends(vec![news(9_000, News::Answered)], Some((5_000, Act::HangUp)));
    assert_eq!((seen.transfer().result, seen.bridged.len()), (-1, 0));
}

#[test]
fn a_hang_up_meanwhile_waits_for_the_result_unless_it_says_now() {
    let with = |by_robot: bool, last| {
        let mut scenario = scenario(and(rings(), vec![last, news(14_000, over(HungUpBy::Agent))]));
        scenario.dialogue = Box::new(move |event| match &event.what {
            Line::Begin(_) if by_robot => vec![transfer(leg()), hang_up("bye").after(4_000)],
            Line::Begin(_) => vec![transfer(leg())],
            _ => Vec::new(),
        });
        if !by_robot {
            scenario.orders.push((6_000, hang(false)));
        }
        scenario.run(1)
    };
    let seen = with(true, news(9_000, failed(486, "Busy Here")));
    assert_eq!(seen.record().end_reason, "bye");
    // The robot has nothing to say any more; who runs the calls has.
    let seen = with(true, news(9_000, News::Answered));
    assert_eq!((seen.record().hung_up_by, seen.transfer().result), (HungUpBy::Agent, 1));
    let seen = with(false, news(9_000, News::Answered));
    assert_eq!((seen.record().hung_up_by, seen.record().end_reason.as_str()), (HungUpBy::Operator, "enough"));
}

#[test]
fn one_at_a_time_and_none_after_the_answer() {
    let order = |at| (at, Order::Do(Action::Transfer(Box::new(SecondLeg { now: true, ..leg() }))));
    let refer = Refer {
        target: ReferTarget::parse("8002").expect("a number"),
        user_to_user: Vec::new(),
        target_headers: ExtraHeaders::default(),
        replaces: None,
        referred_by: None,
        subscription: None,
        headers: ExtraHeaders::default(),
        patience: None,
        now: true,
        bridge_on_refusal: false,
    };
    let later = (9_500, Order::Do(Action::Refer(Box::new(refer))));
    let orders =
        and(rings(), vec![order(3_000), order(5_000), news(8_000, News::Answered), later, (11_000, hang(true))]);
    let seen = Scenario { dialogue: Box::new(|_| Vec::new()), ..scenario(orders) }.run(1);
    let refused = (Stage::Failed(Handed::Refused), 491);
    assert_eq!(seen.stages().iter().filter(|stage| **stage == refused).count(), 2);
    assert_eq!((seen.second_legs.len(), seen.refers.len(), seen.transfer().result), (1, 0, 1));
    // A dialogue is told by a fault.
    let mut scenario = scenario(and(rings(), vec![news(8_000, failed(486, "no"))]));
    scenario.dialogue = Box::new(|event| match &event.what {
        Line::Begin(_) => vec![transfer(leg()), transfer(leg()).after(500)],
        Line::TransferResult { .. } => vec![hang_up("done")],
        _ => Vec::new(),
    });
    let seen = scenario.run(1);
    assert_eq!(seen.faults().first(), Some(&"transfer: another transfer has no result yet"));
}

#[test]
fn a_dialogue_that_goes_after_its_transfer_is_missed_only_if_that_fails() {
    let goes = || -> Dialogue {
        Box::new(|event| match &event.what {
            Line::Begin(_) => vec![transfer(leg()), Reply(2_000, FromDialogue::Closed(None))],
            _ => Vec::new(),
        })
    };
    let orders = and(rings(), vec![news(8_000, News::Answered), news(9_000, over(HungUpBy::Agent))]);
    let seen = Scenario { dialogue: goes(), ..scenario(orders) }.run(1);
    assert!(seen.record().faults.is_empty() && seen.talk().is_empty());
    let seen = Scenario { dialogue: goes(), ..scenario(and(rings(), vec![news(8_000, failed(486, "no"))])) }.run(1);
    assert_eq!(seen.record().faults, ["dialogue: it closed its stream without hanging up"]);
    assert_eq!(seen.talk(), ["robot: [fallback.wav]"]);
}

#[test]
fn a_refer_that_the_trunk_does_not_do_falls_back_to_a_leg_of_our_own() {
    let with = |code, bridge_on_refusal| {
        let refer = Refer {
            target: ReferTarget::parse("8001@192.0.2.9").expect("an address"),
            user_to_user: vec![Uui::hex(b"hi").expect("short")],
            target_headers: ExtraHeaders::default(),
            replaces: None,
            referred_by: None,
            subscription: None,
            headers: ExtraHeaders::default(),
            patience: None,
            now: true,
            bridge_on_refusal,
        };
        let orders = and(rings(), vec![news(8_000, News::Answered), news(12_000, over(HungUpBy::Agent))]);
        let dialogue: Dialogue = Box::new(move |event| match &event.what {
            Line::Begin(_) => vec![act(Action::Refer(Box::new(refer.clone())))],
            Line::TransferResult { reached: false, .. } => vec![hang_up("it failed")],
            _ => Vec::new(),
        });
        Scenario { dialogue, referee: Referee { code, ..Referee::default() }, ..scenario(orders) }.run(1)
    };
    for code in [403, 405, 501, 603] {
        let seen = with(code, true);
        let [refer, bridge] = &seen.record().transfers[..] else { panic!("{:?}", seen.record().transfers) };
        assert_eq!((refer.kind, refer.result, refer.sip_code, refer.outcome), ("refer", -1, code, Handed::Refused));
        assert_eq!((bridge.kind, bridge.result, bridge.outcome), ("bridge", 1, Handed::Transferred));
        assert_eq!(seen.results(), [(true, 200)], "the dialogue is told the one result");
        let leg = &seen.second_legs[0].1;
        assert_eq!(leg.headers.iter().collect::<Vec<_>>(), [("User-to-User", "6869;encoding=hex")]);
        assert_eq!(leg.target.to_string(), "sip:8001@192.0.2.9");
    }
    for (code, asked) in [(486, true), (603, false)] {
        let seen = with(code, asked);
        assert_eq!((seen.second_legs.len(), seen.results()), (0, vec![(false, code)]));
    }
}

#[test]
fn what_is_said_to_the_human_is_recognised_only_when_a_transcript_is_asked_for() {
    let with = |transcript| {
        let orders = and(rings(), vec![news(6_000, News::Answered), news(14_000, over(HungUpBy::Agent))]);
        let mut scenario = scenario(orders);
        scenario.dialogue = hands_over(SecondLeg { transcript, ..leg() });
        scenario.recogniser = sim::services::understands(&["my bill"], 150);
        scenario.talk.push((7_000, Act::Speak(sim::voice::recorded("human-hello"))));
        scenario.run(1)
    };
    let seen = with(true);
    assert_eq!(seen.bridged.first().map(|(_, recognised)| *recognised), Some(true));
    let texts = seen.told.iter().filter_map(|(_, _, what)| match what {
        What::Utterance { utterance, .. } => Some(utterance.text.as_str()),
        _ => None,
    });
    assert_eq!(texts.collect::<Vec<_>>(), ["my bill"]);
    assert_eq!(seen.turns(Role::Voice).len(), 1);
    assert!(!seen.line.iter().any(|(_, event)| matches!(event.what, Line::Utterance(_))), "the dialogue has gone");
    let seen = with(false);
    assert_eq!(seen.bridged.first().map(|(_, recognised)| *recognised), Some(false));
    assert!(!seen.told.iter().any(|(_, _, what)| matches!(what, What::Utterance { .. } | What::SpeechStarted { .. })));
    let closed = seen.recogniser.iter().find(|(_, told)| *told == ToRecogniser::Close).map(|(at, _)| *at);
    assert!(closed.is_some_and(|at| at < Duration::from_millis(6_100)), "{closed:?}");
    assert_eq!(seen.recogniser.iter().filter(|(_, told)| *told == ToRecogniser::Close).count(), 1);
}

#[test]
fn keys_go_from_one_to_the_other() {
    let orders = vec![news(8_000, News::Answered), news(9_000, News::Key('7')), news(14_000, over(HungUpBy::Agent))];
    let mut scenario = scenario(and(rings(), orders));
    scenario.talk.push((5_000, Act::Press('1')));
    scenario.talk.push((9_000, Act::Press('5')));
    let seen = scenario.run(1);
    let keys: Vec<_> = seen.to_second.iter().map(|(_, told)| told.clone()).collect();
    assert_eq!(keys, [ToSecond::Keys("5".to_owned())], "from the answer on");
    assert_eq!(seen.record().keys, "15");
    assert!(seen.sent.iter().any(|stamp| stamp.payload_type == 101), "the other's key is sent");
}

/// A second leg, as the first one hears of it.
fn second(orders: Vec<(u32, Order)>) -> Scenario {
    let mut scenario = Scenario { transferred_from: Some("first"), orders, ..Scenario::outbound() };
    scenario.rules.dialogue = false;
    scenario.dialogue = Box::new(|_| Vec::new());
    scenario
}

fn to_first(seen: &Seen) -> Vec<News> {
    seen.to_first.iter().map(|(_, news)| news.clone()).collect()
}

#[test]
fn a_second_leg_tells_the_first_one_how_it_goes() {
    let hang_up = ToSecond::HangUp { by: HungUpBy::Caller, reason: "BYE".to_owned() };
    let first = |at, told: &ToSecond| (at, Order::Say(Input::First(told.clone())));
    // It is answered, a key of the first one's far end is sent, and the agent hangs up.
    let mut scenario = second(vec![first(4_000, &ToSecond::Keys("5".to_owned()))]);
    scenario.talk = vec![(3_000, Act::Press('9')), (6_000, Act::HangUp)];
    let seen = scenario.run(1);
    let [News::Ringing { code: 180 }, News::Answered, News::Key('9'), News::Over { by: HungUpBy::Agent, .. }] =
        &to_first(&seen)[..]
    else {
        panic!("{:?}", seen.to_first)
    };
    assert!(seen.sent.iter().any(|stamp| stamp.payload_type == 101));
    assert_eq!((seen.record().hung_up_by, seen.record().transferred_from.as_str()), (HungUpBy::Agent, "first"));
    assert!(
        seen.told.iter().any(
            |(_, _, what)| matches!(what, What::Dialling { transferred_from: Some(from), .. } if &**from == "first")
        )
    );
    // The first one's far end hangs up, after the answer and before it.
    let seen = second(vec![first(5_000, &hang_up)]).run(1);
    assert_eq!((seen.record().hung_up_by, seen.record().outcome), (HungUpBy::Caller, Outcome::Success));
    assert!(seen.request("BYE").is_some());
    let mut scenario = second(vec![first(3_000, &hang_up)]);
    scenario.pickup = Pickup::Never;
    let seen = scenario.run(1);
    assert_eq!((seen.record().hung_up_by, seen.record().outcome), (HungUpBy::Caller, Outcome::Cancelled));
    assert!(seen.request("CANCEL").is_some());
    // Busy, and nobody there.
    let mut scenario = second(Vec::new());
    scenario.pickup = Pickup::Refuse(1_000, 486);
    let seen = scenario.run(1);
    assert!(
        matches!(&to_first(&seen)[..], [.., News::Failed { code: 486, reason }] if reason.starts_with("486")),
        "{:?}",
        seen.to_first
    );
    let mut scenario = second(Vec::new());
    (scenario.pickup, scenario.way) = (Pickup::Never, sim::Way::Outbound { ring_timeout: 5_000 });
    let seen = scenario.run(1);
    assert!(
        matches!(&to_first(&seen)[..], [News::Ringing { .. }, News::Failed { code: 408, .. }]),
        "{:?}",
        seen.to_first
    );
    // The media thread has died: the first one hears of it before the far end has answered the BYE.
    let seen = second(vec![(5_000, Order::Say(Input::LegLost))]).run(1);
    assert!(matches!(&to_first(&seen)[..], [.., News::Over { by: HungUpBy::Network, .. }]), "{:?}", seen.to_first);
}

#[test]
fn what_the_orchestrator_says_while_the_two_talk_is_said() {
    let announced = (10_000, Order::Do(Action::Say(prompt("This call ends in a minute."))));
    let orders = and(rings(), vec![news(8_000, News::Answered), announced, news(14_000, over(HungUpBy::Agent))]);
    let seen = scenario(orders).run(1);
    assert_eq!(seen.talk(), ["robot: One moment.", "robot: This call ends in a minute."]);
    assert_eq!(seen.record().hung_up_by, HungUpBy::Agent);
}
