//! What is heard before the answer: early media goes to recognition when that is asked for, labelled and timed for itself, and the
//! conversation begins at the answer as if there had been none.

mod sim;

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use sim::phone::{Act, Pickup};
use sim::services::{Reply, act, final_text, hang_up, partial, say, understands};
use sim::world::{self, World};
use sim::{Order, PHONE, ROBOT, Scenario, Seen, voice};
use trunkline::call::action::{Action, Farewell};
use trunkline::call::call::Call;
use trunkline::call::event::What;
use trunkline::call::io::{FromDialogue, Input, Output, ToRecogniser};
use trunkline::call::knobs::KnobChange;
use trunkline::call::leg::Command;
use trunkline::call::line::{Fault, HungUpBy, Line, Quality, Utterance};
use trunkline::call::record::Outcome;
use trunkline::ms::Ms;
use trunkline::sip::message::{HeaderName, Message, Writer, parse};
use trunkline::sip::session::{Reliability, Terms};

/// The phone answers after 6 s of early media; it announces something after half a second, and speaks 3 s after the answer.
fn announced() -> Scenario {
    Scenario {
        early_media_asr: true,
        pickup: Pickup::Early(6_000),
        talk: vec![
            (500, Act::Speak(announcement())),
            (9_000, Act::Speak(voice::recorded("caller-when"))),
            (15_000, Act::HangUp),
        ],
        early_recogniser: understands(&["the number you have dialled"], 150),
        recogniser: understands(&["when"], 150),
        dialogue: Box::new(|event| match event.what {
            Line::Begin(_) => vec![say("Hello.")],
            Line::Utterance(ref u) if !u.early => vec![say("At noon.")],
            _ => Vec::new(),
        }),
        ..Scenario::outbound()
    }
}

fn announcement() -> Vec<i16> {
    voice::syllable("caller-when", Ms(1_000))
}

/// The utterances of `Watch`, early ones or the others.
fn told(seen: &Seen, early: bool) -> Vec<&Utterance> {
    seen.utterances().into_iter().map(|(_, u)| u).filter(|u| u.early == early).collect()
}

fn kinds(seen: &Seen) -> Vec<&'static str> {
    let kind = |what: &Line| match what {
        Line::Early(_) => "early",
        Line::Begin(_) => "begin",
        Line::Utterance(u) if u.early => "early utterance",
        Line::Utterance(_) => "utterance",
        Line::End { .. } => "end",
        Line::Fault(_) => "fault",
        _ => "",
    };
    seen.line.iter().map(|(_, event)| kind(&event.what)).filter(|kind| !kind.is_empty()).collect()
}

#[test]
fn a_183_then_a_200_is_heard_before_and_the_conversation_begins_at_0() {
    let seen = announced().run(1);
    let [early] = told(&seen, true)[..] else { panic!("{:?}", seen.told) };
    assert_eq!(
        (early.utterance, early.text.as_str(), early.quality),
        (1, "the number you have dialled", Quality::Final)
    );
    // Timed from the first frame of early media, which is not the answer's.
    let began = seen.early.began.expect("it was listened to");
    let spoken = Ms::from(seen.spoke[0] - began);
    assert!(early.start.0.abs_diff(spoken.0) <= 150, "{early:?}, spoken at {spoken}");
    assert_eq!(seen.early.heard[0].at.0 / 20, 0, "{:?}", seen.early.heard[0]);
    assert_eq!(kinds(&seen), ["early", "early utterance", "begin", "utterance", "end"]);
    // The conversation: numbered and timed anew.
    let [said] = told(&seen, false)[..] else { panic!("{:?}", seen.told) };
    assert_eq!((said.utterance, said.text.as_str()), (1, "when"));
    let (first, _) = seen.word(1, &voice::recorded("caller-when"));
    assert!(said.start.0.abs_diff(first.0) <= 150, "{said:?}, spoken at {first}");
    assert_eq!(seen.talk(), ["robot: Hello.", "caller: when", "robot: At noon."]);
    assert!(seen.heard[0].at < Ms(20) && seen.began > seen.early.over);
    let record = seen.record();
    assert_eq!(record.outcome, Outcome::Success);
    let [text] = &record.early_text[..] else { panic!("{record:?}") };
    assert_eq!((text.text.as_str(), text.start, text.stop), ("the number you have dialled", early.start, early.stop));
    let at = record.early_media_at.expect("it began").duration_since(World::wall()).expect("after the beginning");
    assert!(at.abs_diff(began) < Duration::from_millis(1), "{at:?} {began:?}");
    assert_eq!(seen.early.recogniser.last().map(|(_, told)| told.clone()), Some(ToRecogniser::Close));
    assert_eq!(seen.dialogue_opened, 1);
}

#[test]
fn a_recording_that_begins_with_early_media_says_where_the_answer_is() {
    // Nothing else is asked of early media: nobody recognises it.
    let seen = Scenario { record_early: true, early_media_asr: false, ..announced() }.run(4);
    let (early, talk) = (seen.early.began.expect("it is heard"), seen.began.expect("it is answered"));
    let record = seen.record();
    let answer = record.recording_answer.expect("it begins before it");
    assert_eq!(answer, Ms::from(talk - early));
    assert!((Ms(5_900)..=Ms(6_100)).contains(&answer), "{answer}");
    assert!(record.early_media_at.is_some() && seen.early.recogniser.is_empty());
    // The announcement is where it was said, and the robot is silent.
    let spoken = Ms::from(seen.spoke[0] - early);
    let loud = seen.early.recorded.iter().filter(|frame| voice::sounds(&frame.caller));
    let at: Vec<Ms> = loud.filter_map(|frame| frame.caller_at).collect();
    assert!(at.len() > 20, "{} frames of a second", at.len());
    assert!(at.iter().all(|at| (spoken..=spoken + Ms(1_200)).contains(&(*at + Ms(20)))), "{spoken}: {at:?}");
    assert!(seen.early.recorded.iter().all(|frame| !voice::sounds(&frame.robot)));
    let frames = seen.early.recorded.len() as u32 * 20;
    assert!(frames.abs_diff(answer.as_u32()) <= 40, "up to the answer: {frames} ms of {answer}");
}

#[test]
fn a_call_that_is_refused_leaves_a_recording_without_an_answer() {
    let pickup = Pickup::EarlyRefuse(3_000, 486);
    let seen = Scenario { record_early: true, pickup, ..announced() }.run(1);
    assert!(seen.early.record && seen.early.recorded.len() > 100);
    assert_eq!((seen.record().recording_answer, seen.record().outcome), (None, Outcome::Linebusy));
    let seen = announced().run(1);
    assert_eq!((seen.early.record, seen.record().recording_answer), (false, None), "only where it is asked for");
}

#[test]
fn the_robot_sends_silence_before_the_answer_and_nothing_else() {
    let seen = announced().run(2);
    assert!(seen.early.sent.len() > 200 && seen.early.sent.iter().all(|packet| !packet.sounds));
}

#[test]
fn a_183_then_a_486_leaves_what_was_announced_in_the_record() {
    let seen = Scenario { pickup: Pickup::EarlyRefuse(3_000, 486), ..announced() }.run(1);
    let record = seen.record();
    assert_eq!((record.outcome, record.sip_code), (Outcome::Linebusy, 486));
    assert_eq!((record.answered_at, record.talk_ms, record.quality.sent), (None, Ms(0), 0));
    let texts: Vec<&str> = record.early_text.iter().map(|text| text.text.as_str()).collect();
    assert_eq!(texts, ["the number you have dialled"]);
    assert_eq!(kinds(&seen), ["early", "early utterance", "end"]);
    assert_eq!(seen.dialogue_closed, 1);
    assert!(record.faults.is_empty(), "{:?}", record.faults);
}

#[test]
fn what_is_being_announced_at_the_refusal_is_waited_for() {
    let long = voice::recorded("caller-when");
    let refused = || Scenario {
        pickup: Pickup::EarlyRefuse(1_200, 404),
        talk: vec![(500, Act::Speak(long.clone()))],
        ..announced()
    };
    let seen = refused().run(1);
    assert_eq!(seen.record().early_text.len(), 1);
    // The dialogue has gone by then.
    assert_eq!(kinds(&seen), ["early", "end"]);
    // A text that never comes is waited for as long as any: then the best partial.
    let mut scenario = refused();
    scenario.early_recogniser = Box::new(|told| match told {
        ToRecogniser::UtteranceStart { utterance, .. } => vec![(100, partial(utterance, "the number"))],
        _ => Vec::new(),
    });
    let seen = scenario.run(1);
    let [early] = told(&seen, true)[..] else { panic!("{:?}", seen.told) };
    assert_eq!((early.text.as_str(), early.quality), ("the number", Quality::Partial));
    let waited = seen.record().ended_at.duration_since(World::wall()).expect("later");
    let over = seen.told.iter().rev().find(|(_, _, what)| matches!(what, What::Utterance { .. })).expect("told").0;
    assert!((1_400..1_700).contains(&(over - waited).as_millis()), "{:?}", over - waited);
    assert_eq!(seen.record().faults.len(), 1, "{:?}", seen.record().faults);
}

#[test]
fn what_is_being_announced_at_the_answer_is_for_watch_and_record_only() {
    let mut scenario = announced();
    scenario.pickup = Pickup::Early(1_200);
    scenario.talk = vec![(500, Act::Speak(announcement())), (8_000, Act::HangUp)];
    let seen = scenario.run(1);
    let [early] = told(&seen, true)[..] else { panic!("{:?}", seen.told) };
    assert!(early.stop < Ms(1_500), "cut off at the answer: {early:?}");
    assert_eq!(seen.record().early_text.len(), 1);
    assert!(!kinds(&seen).contains(&"early utterance"), "{:?}", kinds(&seen));
    // What is left of it is an utterance of the conversation: it is heard after the answer.
    assert!(told(&seen, false).iter().all(|u| u.utterance == 1 && u.start < Ms(200)));
}

#[test]
fn a_prack_or_a_delayed_offer_changes_nothing() {
    for (reliable, delayed_offer) in
        [(Reliability::Required, false), (Reliability::Off, false), (Reliability::Supported, true)]
    {
        let terms = Terms { delayed_offer, ..Terms::default() };
        let phone_terms = Terms { reliable, ..Terms::default() };
        let seen = Scenario { terms, phone_terms, ..announced() }.run(3);
        let pracks = seen.sip.iter().filter(|(_, line)| line.starts_with("PRACK")).count();
        assert_eq!(pracks, usize::from(reliable != Reliability::Off));
        assert_eq!(seen.record().early_text.len(), 1, "{reliable:?} {delayed_offer}");
        assert_eq!(seen.talk(), ["robot: Hello.", "caller: when", "robot: At noon."]);
    }
}

#[test]
fn it_is_heard_over_a_poor_network_too() {
    for seed in 0..6 {
        let seen = announced().over_poor_network().run(seed);
        assert_eq!(seen.record().early_text.len(), 1, "seed {seed}");
        assert_eq!(seen.talk(), ["robot: Hello.", "caller: when", "robot: At noon."], "seed {seed}");
    }
}

#[test]
fn early_media_then_nothing_is_no_fault_and_ends_as_any_call_that_rings() {
    let mut scenario = announced();
    scenario.pickup = Pickup::Early(300_000);
    scenario.talk = vec![(500, Act::Speak(announcement())), (3_000, Act::Mute)];
    scenario.rtp_timeout = Duration::from_secs(5);
    let seen = scenario.run(1);
    let record = seen.record();
    assert_eq!((record.outcome, record.hung_up_by), (Outcome::Nooneheard, HungUpBy::Network));
    assert_eq!(record.end_reason, "nobody answered in ring_timeout");
    assert_eq!((record.early_text.len(), record.faults.len()), (1, 0), "{record:?}");
}

#[test]
fn what_is_not_asked_for_is_not_listened_to() {
    let seen = Scenario { early_media_asr: false, ..announced() }.run(1);
    assert!(seen.early.began.is_none() && seen.early.recogniser.is_empty());
    assert!(told(&seen, true).is_empty());
    assert_eq!(kinds(&seen), ["begin", "utterance", "end"]);
    assert_eq!((seen.record().early_media_at, seen.record().early_text.len()), (None, 0));
    // Asked for, and there is none.
    let seen = Scenario { pickup: Pickup::After(2_000), ..announced() }.run(1);
    assert!(seen.early.began.is_none());
    assert_eq!(kinds(&seen)[0], "begin");
    assert_eq!(seen.record().early_media_at, None);
}

#[test]
fn a_dialogue_that_knows_enough_hangs_up_before_the_answer() {
    let mut scenario = announced();
    scenario.dialogue = Box::new(|event| match &event.what {
        Line::Utterance(u) if u.early => {
            vec![act(Action::Label { key: "tone".into(), value: "no".into() }), hang_up("announced").after(30)]
        }
        _ => Vec::new(),
    });
    let seen = scenario.run(1);
    let record = seen.record();
    assert_eq!(
        (record.outcome, record.hung_up_by, record.end_reason.as_str()),
        (Outcome::Cancelled, HungUpBy::Robot, "announced")
    );
    assert_eq!(record.labels.get("tone").map(String::as_str), Some("no"));
    assert!(seen.request("CANCEL").is_some());
    assert_eq!(kinds(&seen), ["early", "early utterance", "end"]);
}

#[test]
fn only_what_makes_sense_is_done_before_the_answer() {
    let mut scenario = announced();
    let change = KnobChange { endpoint: Some(Ms(100)), ..KnobChange::default() };
    scenario.dialogue = Box::new(move |event| match event.what {
        Line::Early(_) => {
            vec![say("Hello?"), act(Action::Set(change.clone())), act(Action::Expect { partials: true, hints: None })]
        }
        _ => Vec::new(),
    });
    scenario.rules.dialogue_timeout = Duration::from_secs(60);
    let seen = scenario.run(1);
    let faults: Vec<&Fault> =
        seen.line.iter().filter_map(|(_, e)| if let Line::Fault(f) = &e.what { Some(f) } else { None }).collect();
    assert!(matches!(faults[0], Fault::Action { reason, .. } if reason.contains("not answered yet")), "{faults:?}");
    assert!(matches!(faults[1], Fault::Knob(clamp) if clamp.used == Ms(200)), "{faults:?}");
    assert!(seen.early.sent.iter().all(|packet| !packet.sounds));
    // Knobs and wishes hold for the conversation as well: the utterance is told 200 ms after its end, not 700.
    let said = seen.told.iter().filter_map(|(_, _, what)| match what {
        What::Utterance { latency, utterance } if !utterance.early => Some(latency.0),
        _ => None,
    });
    assert!(said.clone().count() > 0 && said.clone().all(|latency| latency < 600), "{:?}", said.collect::<Vec<_>>());
}

#[test]
fn a_dialogue_that_leaves_before_the_answer_is_asked_anew_at_it() {
    for reason in [None, Some("reset".to_owned())] {
        let mut scenario = announced();
        let fault = usize::from(reason.is_some());
        scenario.dialogue = Box::new(move |event| match event.what {
            Line::Early(_) => vec![Reply(100, FromDialogue::Closed(reason.clone()))],
            Line::Begin(_) => vec![say("Hello.")],
            _ => Vec::new(),
        });
        scenario.rules.dialogue_timeout = Duration::from_secs(60);
        // Its stream begins anew, so the events of this call are two countings.
        let seen = scenario.run_unchecked(1);
        assert_eq!(seen.dialogue_opened, 2);
        let ids: Vec<u64> = seen.line.iter().map(|(_, event)| event.id).collect();
        assert_eq!(ids[..2], [1, 1], "{ids:?}");
        assert_eq!(seen.record().faults.len(), fault, "{:?}", seen.record().faults);
        assert_eq!(seen.talk()[0], "robot: Hello.");
    }
}

#[test]
fn a_recogniser_that_is_lost_before_the_answer_is_told_and_the_call_goes_on() {
    let mut scenario = announced();
    scenario.early_recogniser = Box::new(|told| match told {
        ToRecogniser::UtteranceEnd { .. } => {
            vec![(10, trunkline::call::io::FromSpeech::RecognitionTrouble { reason: "gone".into(), lost: true })]
        }
        _ => Vec::new(),
    });
    let seen = scenario.run(1);
    let [early] = told(&seen, true)[..] else { panic!("{:?}", seen.told) };
    assert_eq!((early.text.as_str(), early.quality), ("", Quality::Missing));
    assert_eq!(seen.record().faults, ["recognition, before the answer: gone"]);
    assert_eq!(seen.talk(), ["robot: Hello.", "caller: when", "robot: At noon."]);
}

#[test]
fn a_late_text_of_before_is_not_taken_for_one_of_the_conversation() {
    let mut scenario = announced();
    // It comes while utterance 1 of the conversation is waited for.
    scenario.early_recogniser = Box::new(|told| match told {
        ToRecogniser::UtteranceEnd { utterance, .. } => vec![(9_500, final_text(utterance, "too late"))],
        _ => Vec::new(),
    });
    scenario.recogniser = understands(&["when"], 1_200);
    let seen = scenario.run(1);
    assert_eq!(told(&seen, false).iter().map(|u| u.text.as_str()).collect::<Vec<_>>(), ["when"]);
    assert_eq!(told(&seen, true).iter().map(|u| u.quality).collect::<Vec<_>>(), [Quality::Missing]);
}

#[test]
fn the_orchestrator_that_cancels_has_what_was_announced_in_the_record() {
    let mut scenario = announced();
    let hangup = Action::Hangup { now: true, reason: "enough".into(), farewell: Farewell::default() };
    scenario.orders = vec![(4_500, Order::Do(hangup))];
    let seen = scenario.run(1);
    let record = seen.record();
    assert_eq!(
        (record.outcome, record.hung_up_by, record.early_text.len()),
        (Outcome::Cancelled, HungUpBy::Operator, 1)
    );
}

/// Of a fork, the branch that rang last is heard; the one that answers is the call.
#[test]
fn of_several_forks_the_one_that_rings_last_is_heard() {
    let now = Instant::now();
    let dial = world::dial("1", Terms::default());
    let plan = World::new(Scenario { early_media_asr: true, ..Scenario::outbound() }, 1).plan();
    let rng = StdRng::seed_from_u64(1);
    let mut call = Call::dial(now, World::wall(), plan, Duration::from_secs(30), world::local(), dial, rng);
    let mut media = Vec::new();
    let mut invite = None;
    let drain = |call: &mut Call, invite: &mut Option<_>, media: &mut Vec<(&'static str, u16)>| {
        while let Some(output) = call.poll() {
            match output {
                Output::Transmit { payload, .. } => {
                    if let Message::Request(request) = parse(&payload).expect("SIP") {
                        invite.get_or_insert(request);
                    }
                }
                Output::Listen { setup, .. } => media.push(("listen", setup.media.remote.port())),
                Output::Leg(Command::Media(new, ..)) => media.push(("media", new.remote.port())),
                Output::StopListening => media.push(("stop", 0)),
                Output::OpenLeg(setup) => media.push(("open", setup.media.remote.port())),
                _ => {}
            }
        }
    };
    drain(&mut call, &mut invite, &mut media);
    let asked = invite.clone().expect("an INVITE");
    let respond = |code: u16, tag: &str, port: u16, law: u8| {
        let sdp = format!(
            "v=0\r\no=- {port} 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio {port} RTP/AVP {law}\r\n"
        );
        let body = if port == 0 { String::new() } else { sdp };
        let out = Writer::reply(&asked, ROBOT, code, "x", Some(tag)).header(HeaderName::Contact, "<sip:p@192.0.2.2>");
        Message::Response(out.finish("application/sdp", body.as_bytes()))
    };
    for (code, tag, port, law) in [
        (183, "a", 5000, 8),
        (183, "b", 6000, 0),
        (180, "c", 0, 0),
        (183, "a", 5000, 8),
        (183, "d", 7000, 99),
        (200, "b", 6000, 0),
    ] {
        call.handle(now, Input::Sip { message: respond(code, tag, port, law), source: PHONE });
        drain(&mut call, &mut invite, &mut media);
    }
    // A branch that only rings, and one that speaks what we do not, take nobody's place.
    assert_eq!(media, [("listen", 5000), ("media", 6000), ("media", 5000), ("stop", 0), ("open", 6000)]);
}
