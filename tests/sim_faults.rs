//! Services that fail, stall, answer late, twice, or nonsense: the call goes on or ends politely, and the record says why.

mod sim;

use std::time::Duration;

use sim::phone::Act;
use sim::services::{
    Reply, act, answering, final_text, hang_up, partial, prompt, prompt_of, say, spoken, talks, understands,
};
use sim::{Order, Scenario, Seen, voice};
use trunkline::call::action::{Action, Asked};
use trunkline::call::conversation::Rules;
use trunkline::call::event::{Service, What};
use trunkline::call::io::{FromDialogue, FromSpeech, Input, ToRecogniser, Wanted};
use trunkline::call::knobs::Knobs;
use trunkline::call::line::{Fault, HungUpBy, Line, LineEvent, Quality};
use trunkline::call::record::{Outcome, Role};
use trunkline::ms::Ms;

/// One says "thank you" 1 s after the answer, and the robot takes its leave.
fn short_talk() -> Scenario {
    Scenario {
        dialogue: talks("", &["Goodbye."]),
        talk: vec![(1_500, Act::Speak(voice::recorded("human-thank-you")))],
        ..Scenario::outbound()
    }
    .greeted()
}

trait Greeted {
    fn greeted(self) -> Self;
}

impl Greeted for Scenario {
    /// The robot greets, and says goodbye to whatever it hears.
    fn greeted(self) -> Scenario {
        Scenario {
            dialogue: Box::new(|event| match &event.what {
                Line::Begin(_) => vec![say("Good morning.")],
                Line::Utterance(_) => {
                    vec![answering(event.id, Action::Say(prompt("Goodbye."))), hang_up("done").after(21)]
                }
                _ => Vec::new(),
            }),
            ..self
        }
    }
}

fn troubles(seen: &Seen) -> Vec<Service> {
    let one = |(_, _, what): &(Duration, Ms, What)| match what {
        What::ServiceTrouble { service, .. } => Some(*service),
        _ => None,
    };
    seen.told.iter().filter_map(one).collect()
}

/// The call ended with the fallback prompt, and with its last word.
fn assert_polite_end(seen: &Seen, service: Service) {
    let record = seen.record();
    assert_eq!(seen.talk().last().map(String::as_str), Some("robot: [fallback.wav]"), "{record:#?}");
    assert_eq!((record.hung_up_by, record.outcome), (HungUpBy::Robot, Outcome::Success));
    assert!(record.end_reason.starts_with(service.as_str()), "{}", record.end_reason);
    assert!(record.faults.iter().any(|fault| fault.starts_with(service.as_str())), "{:?}", record.faults);
    let pause = seen.media(seen.request("BYE").expect("we hang up")) - seen.last_word(Ms::MAX);
    assert!((Ms(200)..=Ms(260)).contains(&pause), "{pause}");
}

#[test]
fn a_final_text_that_is_late_missing_doubled_or_strange_is_told_once() {
    type Answer = fn(u32) -> Vec<(u32, FromSpeech)>;
    let table: [(&str, Answer, &str, Quality, bool); 6] = [
        (
            "late",
            |u| vec![(5, partial(u, "thank")), (3_000, final_text(u, "thank you"))],
            "thank",
            Quality::Partial,
            true,
        ),
        ("never", |u| vec![(5, partial(u, "thank"))], "thank", Quality::Partial, true),
        ("nothing at all", |_| Vec::new(), "", Quality::Missing, true),
        ("twice", |u| vec![(50, final_text(u, "one")), (60, final_text(u, "two"))], "one", Quality::Final, false),
        ("of none", |u| vec![(50, final_text(u + 7, "?")), (90, final_text(u, "one"))], "one", Quality::Final, false),
        (
            "lost",
            |_| vec![(50, FromSpeech::RecognitionTrouble { reason: "refused".to_owned(), lost: true })],
            "",
            Quality::Missing,
            true,
        ),
    ];
    for (name, answer, text, quality, trouble) in table {
        for seed in 0..2 {
            let scenario = Scenario {
                recogniser: Box::new(move |told| match told {
                    ToRecogniser::UtteranceEnd { utterance, .. } => answer(utterance),
                    _ => Vec::new(),
                }),
                ..short_talk()
            };
            let seen = scenario.run(seed);
            let [utterance] = seen.asked()[..] else { panic!("{name}: {:?}", seen.asked()) };
            assert_eq!((&*utterance.text, utterance.quality), (text, quality), "{name}");
            assert_eq!(troubles(&seen), vec![Service::Recognition; usize::from(trouble)], "{name}");
            assert_eq!(seen.record().faults.len(), usize::from(trouble), "{name}");
            assert_eq!(seen.talk().last().map(String::as_str), Some("robot: Goodbye."), "{name}: the talk goes on");
            let (told, _) = seen.utterances()[0];
            let ended = seen.recogniser.iter().find(|(_, r)| matches!(r, ToRecogniser::UtteranceEnd { .. }));
            let waited = told - ended.expect("he spoke").0;
            assert!(waited <= Duration::from_millis(1_500), "{name}: {waited:?}");
        }
    }
}

#[test]
fn a_call_whose_media_thread_dies_ends_at_once_and_says_why() {
    let scenario = Scenario { orders: vec![(6_000, Order::Say(Input::LegLost))], ..Scenario::outbound() };
    let seen = scenario.run(3);
    let record = seen.record();
    assert_eq!((record.hung_up_by, record.outcome), (HungUpBy::Network, Outcome::Success));
    assert!(record.end_reason.contains("died"), "{}", record.end_reason);
    assert_eq!(record.faults, std::slice::from_ref(&record.end_reason));
    let bye = seen.request("BYE").expect("we hang up");
    assert!(bye < Duration::from_millis(6_100), "{bye:?}: nobody waits for the silence of the line");
}

#[test]
fn a_recogniser_lost_in_mid_sentence_leaves_a_call_that_hears_without_words() {
    let scenario = Scenario {
        recogniser: Box::new(|told| match told {
            ToRecogniser::UtteranceStart { utterance: 1, .. } => {
                vec![(300, FromSpeech::RecognitionTrouble { reason: "gone".to_owned(), lost: true })]
            }
            _ => Vec::new(),
        }),
        ..short_talk()
    };
    let seen = scenario.run(1);
    let [(told, utterance)] = seen.utterances()[..] else { panic!("{:?}", seen.utterances()) };
    assert_eq!(utterance.quality, Quality::Missing);
    assert!((seen.media(told) - utterance.stop) < Ms(800), "nothing is waited for");
    assert!(seen.line.iter().any(|(_, event)| matches!(event.what, Line::Fault(Fault::Recognition(_)))));
    assert_eq!(seen.talk(), ["robot: Good morning.", "caller: ", "robot: Goodbye."]);
}

#[test]
fn a_segment_that_fails_once_is_made_again_and_nobody_notices() {
    let scenario = Scenario {
        synthesiser: Box::new(|(prompt, segment), wanted, times| match times {
            1 => vec![(30, FromSpeech::SoundFailed { prompt, segment, reason: "busy".to_owned() })],
            _ => spoken((prompt, segment), wanted, 80),
        }),
        recogniser: understands(&["thanks"], 100),
        ..short_talk()
    };
    let seen = scenario.run(1);
    assert_eq!(seen.talk(), ["robot: Good morning.", "caller: thanks", "robot: Goodbye."]);
    assert!(troubles(&seen).is_empty() && seen.record().faults.is_empty());
}

#[test]
fn a_synthesiser_that_fails_for_good_ends_the_call_politely() {
    for after_samples in [false, true] {
        let scenario = Scenario {
            synthesiser: Box::new(move |(prompt, segment), wanted, _| {
                let whole = spoken((prompt, segment), wanted, 80);
                if matches!(wanted, trunkline::call::io::Wanted::File(_)) {
                    return whole;
                }
                let failed = FromSpeech::SoundFailed { prompt, segment, reason: "out of voice".to_owned() };
                let some = whole.into_iter().take(if after_samples { 3 } else { 0 });
                some.chain([(400, failed)]).collect()
            }),
            ..short_talk()
        };
        let scenario = Scenario {
            dialogue: Box::new(|event| match &event.what {
                Line::Begin(_) => vec![act(Action::Say(prompt_of("two", &["Good morning.", "How are you?"])))],
                _ => Vec::new(),
            }),
            talk: Vec::new(),
            ..scenario
        };
        let seen = scenario.run(1);
        assert_polite_end(&seen, Service::Synthesis);
        assert_eq!(seen.turns(Role::Speech).len(), if after_samples { 2 } else { 1 });
    }
}

/// The file is not there either: then nothing is left but to hang up.
#[test]
fn a_fallback_that_fails_too_ends_the_call() {
    let scenario = Scenario {
        synthesiser: Box::new(|(prompt, segment), _, _| {
            vec![(30, FromSpeech::SoundFailed { prompt, segment, reason: "nothing works".to_owned() })]
        }),
        ..short_talk()
    };
    let seen = scenario.run(1);
    assert!(seen.record().talk_ms < Ms(2_000), "{:#?}", seen.record());
    assert!(seen.record().faults.len() >= 2);
    assert!(seen.turns(Role::Speech).is_empty());
}

#[test]
fn a_slow_synthesiser_makes_one_gap_and_no_stutter() {
    // 100 ms of sound each 130 ms.
    let scenario = Scenario {
        synthesiser: Box::new(|place, wanted, _| {
            let pieces = spoken(place, wanted, 0).into_iter().zip(0u32..);
            pieces.map(|((_, piece), n)| (100 + n * 130, piece)).collect()
        }),
        recogniser: understands(&["thanks"], 100),
        talk: vec![(3_000, Act::Speak(voice::recorded("human-thank-you")))],
        ..short_talk()
    };
    let seen = scenario.run(1);
    assert!(seen.record().quality.under_runs > 0);
    assert_eq!(seen.talk(), ["robot: Good morning.", "caller: thanks", "robot: Goodbye."]);
    let samples: usize = seen.recorded.iter().map(|f| f.robot.iter().filter(|s| s.unsigned_abs() > 64).count()).sum();
    let whole: usize = ["Good morning.", "Goodbye."]
        .iter()
        .map(|t| voice::tone(sim::services::length_of(t)))
        .map(|t| t.iter().filter(|s| s.unsigned_abs() > 64).count())
        .sum();
    assert_eq!(samples, whole, "every sample is heard, once");
}

#[test]
fn a_dialogue_that_does_not_answer_ends_the_call_politely() {
    type Answer = fn() -> Vec<Reply>;
    let table: [(&str, Answer, u32); 4] = [
        ("says nothing", Vec::new, 4_000),
        ("closes", || vec![Reply(100, FromDialogue::Closed(None))], 100),
        ("is not there", || vec![Reply(5, FromDialogue::Closed(Some("connection refused".to_owned())))], 5),
        (
            "says nonsense",
            || {
                let asked = |action_id: &str| Asked {
                    action_id: action_id.to_owned(),
                    answers: 0,
                    even_if_stale: false,
                    action: Err("action: not set".to_owned()),
                };
                vec![Reply(10, FromDialogue::Asked(asked("a"))), Reply(20, FromDialogue::Asked(asked("b")))]
            },
            4_000,
        ),
    ];
    for (name, answer, after) in table {
        for scenario in [Scenario::outbound(), Scenario::inbound()] {
            let dialogue = Box::new(move |event: &_| match event {
                trunkline::call::line::LineEvent { id: 1, .. } => answer(),
                _ => Vec::new(),
            });
            let seen = Scenario { dialogue, ..scenario }.run(1);
            assert_polite_end(&seen, Service::Dialogue);
            let begun = seen.turns(Role::Speech)[0].start;
            assert!((after.saturating_sub(30)..after + 60).contains(&begun.0), "{name}: {begun}");
            let faults = seen.line.iter().filter(|(_, e)| matches!(e.what, Line::Fault(Fault::Action { .. }))).count();
            assert_eq!(faults, if name == "says nonsense" { 2 } else { 0 });
        }
    }
}

#[test]
fn a_dialogue_that_dies_in_mid_prompt_lets_it_finish() {
    let scenario = Scenario {
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => vec![say("Good morning."), Reply(300, FromDialogue::Closed(Some("reset".to_owned())))],
            _ => Vec::new(),
        }),
        ..Scenario::outbound()
    };
    let seen = scenario.run(1);
    assert_eq!(seen.talk(), ["robot: Good morning.", "robot: [fallback.wav]"]);
    assert_polite_end(&seen, Service::Dialogue);
}

/// The caller has said something and the robot has answered; then the dialogue is lost, in each way that there is.
#[test]
fn a_dialogue_that_is_lost_is_taken_up_anew_and_told_what_was_said() {
    type Loss = fn() -> Vec<Reply>;
    let table: [(&str, Loss); 3] = [
        ("breaks", || vec![Reply(50, FromDialogue::Closed(Some("reset".to_owned())))]),
        ("closes", || vec![Reply(50, FromDialogue::Closed(None))]),
        ("hangs", Vec::new),
    ];
    for (name, loss) in table {
        let rules = Rules { dialogue_resumes: 1, ..Scenario::outbound().rules };
        let dialogue = Box::new(move |event: &LineEvent| match &event.what {
            Line::Begin(begin) if begin.resumed => vec![say("Where were we?"), hang_up("done").after(21)],
            Line::Begin(_) => vec![say("Good morning.")],
            Line::Utterance(_) => loss(),
            _ => Vec::new(),
        });
        let seen = Scenario { dialogue, rules, ..short_talk() }.run(1);
        assert_eq!(seen.dialogue_resumed, 1, "{name}");
        assert_eq!(seen.talk().last().map(String::as_str), Some("robot: Where were we?"), "{name}");
        assert_eq!(seen.record().end_reason, "done", "{name}");
        assert_eq!(troubles(&seen), [Service::Dialogue], "{name}");
        assert!(seen.record().faults[0].starts_with("dialogue: "), "{name}: {:?}", seen.record().faults);
        let begun: Vec<_> = seen
            .line
            .iter()
            .filter_map(|(_, e)| match &e.what {
                Line::Begin(begin) => Some((e.id, begin)),
                _ => None,
            })
            .collect();
        let [(1, first), (id, again)] = &begun[..] else { panic!("{name}: {begun:?}") };
        assert!(!first.resumed && first.history.is_empty() && *id > 1, "{name}");
        let told: Vec<_> =
            again.history.iter().map(|past| (past.role, past.text.as_str(), past.stop.is_some())).collect();
        let heard = &seen.turns(Role::Voice)[0].text;
        assert_eq!(told, [(Role::Speech, "Good morning.", true), (Role::Voice, heard.as_str(), true)], "{name}");
        assert_eq!((&again.call_id, &again.parties), (&first.call_id, &first.parties), "{name}");
    }
}

#[test]
fn a_dialogue_that_never_works_is_taken_up_so_often_and_then_the_call_ends_politely() {
    let rules = Rules { dialogue_resumes: 2, ..Scenario::outbound().rules };
    let dialogue = Box::new(|event: &LineEvent| match &event.what {
        Line::Begin(begin) => {
            assert!(!begin.resumed, "no stream has said anything yet");
            vec![Reply(5, FromDialogue::Closed(Some("connection refused".to_owned())))]
        }
        _ => Vec::new(),
    });
    let seen = Scenario { dialogue, rules, ..Scenario::outbound() }.run(1);
    assert_polite_end(&seen, Service::Dialogue);
    assert_eq!((seen.dialogue_resumed, troubles(&seen).len()), (2, 3));
}

#[test]
fn what_is_being_said_goes_on_when_the_dialogue_is_lost_and_the_next_one_knows_of_it() {
    let rules = Rules { dialogue_resumes: 1, ..Scenario::outbound().rules };
    let dialogue = Box::new(|event: &LineEvent| match &event.what {
        Line::Begin(begin) if begin.resumed => {
            let texts: Vec<_> = begin.history.iter().map(|past| (past.text.as_str(), past.stop)).collect();
            assert_eq!(texts, [("Good morning.", None), ("How are you?", None)]);
            vec![hang_up("done")]
        }
        Line::Begin(_) => {
            let lost = Reply(300, FromDialogue::Closed(Some("reset".to_owned())));
            vec![say("Good morning."), say("How are you?").after(21), lost]
        }
        _ => Vec::new(),
    });
    let seen = Scenario { dialogue, rules, ..Scenario::outbound() }.run(1);
    assert_eq!(seen.talk(), ["robot: Good morning.", "robot: How are you?"]);
    assert_eq!(seen.record().end_reason, "done");
}

#[test]
fn another_dialogue_takes_over() {
    let dialogue = Box::new(|event: &LineEvent| match &event.what {
        Line::Begin(begin) if begin.resumed => vec![say("I take over."), hang_up("done").after(21)],
        Line::Begin(_) => vec![say("Good morning.")],
        _ => Vec::new(),
    });
    let orders = vec![(4_000, Order::Do(Action::Attach("other".to_owned())))];
    let rules = Rules { dialogue_timeout: Duration::from_secs(60), ..Scenario::outbound().rules };
    let seen = Scenario { dialogue, orders, rules, ..Scenario::outbound() }.run(1);
    assert_eq!(seen.talk(), ["robot: Good morning.", "robot: I take over."]);
    assert_eq!((seen.dialogue_resumed, troubles(&seen).len(), seen.record().faults.len()), (1, 0, 0));
}

/// The longest stretch between two sounds that were sent, from the answer to the last.
fn longest_silence(seen: &Seen) -> Ms {
    let loud = |frame: &&trunkline::call::io::RecordedFrame| frame.robot.iter().any(|s| s.unsigned_abs() > 64);
    let sounds: Vec<_> = seen.recorded.iter().filter(loud).map(|frame| frame.robot_at).collect();
    let gaps = sounds.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.chain(sounds.first().copied()).max().expect("a sound")
}

/// Each service is slow, or hangs until it is given up: the caller hears something all the same, and the answer when it comes.
#[test]
fn there_is_no_dead_air_while_a_service_is_waited_for() {
    let hello = |at: u32| -> sim::services::Dialogue {
        Box::new(move |event| match &event.what {
            Line::Begin(begin) if !begin.resumed => vec![say("Good morning.").after(at), hang_up("done").after(at + 1)],
            _ => Vec::new(),
        })
    };
    let nothing = || -> sim::services::Dialogue { Box::new(|_| Vec::new()) };
    let slow = |first: u32| -> sim::services::Synthesiser {
        Box::new(move |place, wanted, _| match wanted {
            Wanted::Text(_) => spoken(place, wanted, first),
            file => spoken(place, file, 80),
        })
    };
    // It stalls in the middle, after a second.
    let halting = || -> sim::services::Synthesiser {
        Box::new(|place, wanted, _| {
            let of = |(ms, from)| if ms < 400 { (ms, from) } else { (ms + 6_000, from) };
            spoken(place, wanted, 80).into_iter().map(of).collect()
        })
    };
    let table: [(&str, sim::services::Dialogue, sim::services::Synthesiser, &str); 4] = [
        ("a slow dialogue", hello(7_000), slow(80), "robot: Good morning."),
        ("a dialogue that hangs", nothing(), slow(80), "robot: [fallback.wav]"),
        ("a slow synthesiser", hello(20), slow(9_000), "robot: Good morning."),
        ("a synthesiser that halts", hello(20), halting(), "robot: Good morning."),
    ];
    for (name, dialogue, synthesiser, last) in table {
        let scenario = Scenario { dialogue, synthesiser, ..Scenario::outbound() };
        let rules = Rules {
            dead_air: Duration::from_millis(2_500),
            dialogue_timeout: Duration::from_secs(8),
            dialogue_resumes: 1,
            ..Scenario::outbound().rules
        };
        let seen = Scenario { rules, ..scenario }.run(1);
        let silence = longest_silence(&seen);
        assert!(silence < Ms(3_000), "{name}: {silence}");
        assert_eq!(seen.talk().last().map(String::as_str), Some(last), "{name}");
        assert!(seen.record().faults.iter().any(|fault| fault.contains("the waiting sound")), "{name}");
    }
}

/// Nobody is waited for: then the line is silent, as long as it likes.
#[test]
fn a_caller_who_says_nothing_hears_nothing() {
    let rules = Rules { dead_air: Duration::from_millis(2_500), ..Scenario::outbound().rules };
    let knobs = Knobs { no_input: Ms(6_000), ..Knobs::default() };
    let scenario = Scenario {
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => vec![say("Good morning.")],
            Line::NoInput { .. } => vec![say("Goodbye."), hang_up("done").after(21)],
            _ => Vec::new(),
        }),
        ..Scenario::outbound()
    };
    let seen = Scenario { rules, knobs, ..scenario }.run(1);
    assert!((Ms(6_000)..Ms(6_300)).contains(&longest_silence(&seen)), "{}", longest_silence(&seen));
    assert_eq!(seen.record().faults, Vec::<String>::new());
}

#[test]
fn a_dialogue_that_closes_after_it_has_asked_to_hang_up_is_no_trouble() {
    let scenario = Scenario {
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => {
                vec![say("Goodbye."), hang_up("done").after(21), Reply(30, FromDialogue::Closed(None))]
            }
            _ => Vec::new(),
        }),
        ..Scenario::outbound()
    };
    let seen = scenario.run(1);
    assert_eq!(seen.talk(), ["robot: Goodbye."]);
    assert!(troubles(&seen).is_empty() && seen.record().end_reason == "done");
}

/// Without services of its own the call is the orchestrator's.
#[test]
fn a_call_without_dialogue_and_recogniser_waits_for_orders() {
    let rules = Rules { dialogue: false, recogniser: false, ..Scenario::outbound().rules };
    let scenario = Scenario {
        rules,
        knobs: Knobs { no_input: Ms(4_000), ..Knobs::default() },
        orders: vec![
            (2_500, sim::Order::Do(Action::Say(prompt("Hello.")))),
            (
                12_000,
                sim::Order::Do(Action::Hangup { now: false, reason: String::new(), farewell: Default::default() }),
            ),
        ],
        talk: vec![(2_500, Act::Speak(voice::recorded("human-thank-you")))],
        ..Scenario::outbound()
    };
    let seen = scenario.run(1);
    assert_eq!(seen.talk(), ["robot: Hello.", "caller: "]);
    assert!(seen.recogniser.is_empty() && seen.line.is_empty());
    assert_eq!(seen.record().hung_up_by, HungUpBy::Operator);
    assert!(seen.told.iter().any(|(_, _, what)| matches!(what, What::NoInput { count: 1 })));
}

/// A dialogue that talks without end is told so, and what it has said before is heard.
#[test]
fn a_dialogue_cannot_pile_up_prompts_without_end() {
    let seen = Scenario {
        dialogue: Box::new(|event| match &event.what {
            Line::Begin(_) => (0..300).map(|n| say(&format!("{n}"))).chain([hang_up("enough")]).collect(),
            _ => Vec::new(),
        }),
        talk: vec![(3_000, Act::HangUp)],
        ..Scenario::outbound()
    }
    .run(1);
    assert!(seen.record().faults.iter().any(|fault| fault.contains("say.segments")), "{:?}", seen.record().faults);
    assert!(seen.record().turns.iter().any(|turn| turn.role == Role::Speech), "{:?}", seen.record().turns);
}
