//! Whose turn it is: where utterances end, how silence counts, which answers come too late.

mod sim;

use std::time::Duration;

use sim::phone::Act;
use sim::services::{Reply, act, answering, hang_up, partial, prompt, say, set, understands};
use sim::{Order, Scenario, Seen, voice};
use trunkline::call::action::{Action, Asked};
use trunkline::call::event::What;
use trunkline::call::io::{FromDialogue, ToRecogniser};
use trunkline::call::knobs::KnobChange;
use trunkline::call::leg::LegEvent;
use trunkline::call::line::{Fault, HungUpBy, Line, Quality};
use trunkline::call::prompt::Prompt;
use trunkline::call::record::{Outcome, Role};
use trunkline::ms::Ms;

fn endpoint(ms: u32) -> KnobChange {
    KnobChange { endpoint: Some(Ms(ms)), ..KnobChange::default() }
}

/// When each utterance was found to be over, less its end, on the caller's wire.
fn waits(seen: &Seen) -> Vec<u32> {
    let wait = |(at, event): &(Duration, LegEvent)| match event {
        LegEvent::Utterance { stop, .. } => Some((seen.media(*at) - *stop).0),
        _ => None,
    };
    seen.leg.iter().filter_map(wait).collect()
}

/// A dialogue that takes note and says nothing, for as long as a test needs.
fn listens(scenario: Scenario) -> Scenario {
    let mut scenario = Scenario { dialogue: Box::new(|_| Vec::new()), ..scenario };
    scenario.rules.dialogue_timeout = Duration::from_secs(60);
    scenario
}

#[test]
fn an_utterance_ends_when_the_endpoint_says_and_not_20_ms_later() {
    let words = voice::recorded("caller-when");
    for (ms, seed) in [(200, 1), (500, 2), (700, 3), (1_000, 4), (2_000, 5)] {
        for poor in [false, true] {
            let scenario = Scenario {
                talk: vec![(1_000, Act::Speak(words.clone())), (9_000, Act::HangUp)],
                recogniser: understands(&["when"], 0),
                ..listens(Scenario::outbound())
            };
            let mut scenario = if poor { scenario.over_poor_network() } else { scenario };
            scenario.knobs.endpoint = Ms(ms);
            let seen = scenario.run(seed);
            // What is in the jitter buffer is known of before its turn comes. What comes late or not at all is not.
            let late = if poor { 120 } else { 0 };
            let last = *waits(&seen).last().expect("he spoke");
            assert!((ms..ms + 20 + late).contains(&last), "endpoint {ms}, poor {poor}: {last}");
            if ms >= 500 && !poor {
                let [utterance] = seen.asked()[..] else { panic!("{:?}", seen.asked()) };
                let (first, last) = seen.word(0, &words);
                assert!(utterance.start.0.abs_diff(first.0) <= 100, "{utterance:?} from {first}");
                assert!(utterance.stop.0.abs_diff(last.0) <= 160, "{utterance:?} till {last}");
            }
        }
    }
}

#[test]
fn the_endpoint_may_be_changed_between_utterances_and_in_the_silence_after_one() {
    for seed in 0..4 {
        let words = || Act::Speak(voice::recorded("human-thank-you"));
        let mut scenario = listens(Scenario::outbound());
        scenario.knobs.endpoint = Ms(1_500);
        scenario.talk = vec![(1_000, words()), (5_000, words()), (9_000, words()), (13_000, Act::HangUp)];
        // The dialogue shortens it with the first utterance, and makes it long again after the second.
        scenario.dialogue = Box::new(|event| match &event.what {
            Line::Utterance(u) if u.utterance == 1 => vec![set(endpoint(300))],
            Line::Utterance(u) if u.utterance == 2 => vec![set(endpoint(2_000))],
            _ => Vec::new(),
        });
        // The third ends about 11.4 s after the INVITE, and is cut in the silence after it.
        scenario.orders = vec![(12_300, Order::Do(Action::Set(endpoint(400))))];
        let seen = scenario.run(seed);
        let waits = waits(&seen);
        assert!((1_500..1_580).contains(&waits[0]) && (300..380).contains(&waits[1]), "{waits:?}");
        let third = seen.leg.iter().filter(|(_, e)| matches!(e, LegEvent::Utterance { .. })).nth(2).expect("three");
        let late = third.0.saturating_sub(Duration::from_millis(12_300));
        assert!(late <= Duration::from_millis(22), "acts from the next frame: {late:?}, {waits:?}");
        assert!(waits[2] > 500 && waits[2] < 1_900, "{waits:?}");
    }
}

#[test]
fn a_knob_out_of_range_is_clamped_and_told() {
    let mut scenario = Scenario { talk: vec![(3_000, Act::HangUp)], ..listens(Scenario::outbound()) };
    scenario.dialogue = Box::new(|event| if event.id == 1 { vec![set(endpoint(5))] } else { Vec::new() });
    let seen = scenario.run(1);
    let told = seen.line.iter().any(|(_, e)| matches!(&e.what, Line::Fault(Fault::Knob(c)) if c.used == Ms(200)));
    assert!(told && seen.told.iter().any(|(_, _, what)| matches!(what, What::KnobClamped(_))));
}

#[test]
fn too_long_an_utterance_is_cut_and_what_follows_is_another_one() {
    let mut scenario = listens(Scenario::outbound());
    scenario.knobs.max_utterance = Ms(1_200);
    scenario.talk = vec![(1_000, Act::Speak(voice::recorded("human-not-understood"))), (7_000, Act::HangUp)];
    let seen = scenario.run(1);
    let cut: Vec<_> = seen.asked().iter().map(|u| u.too_long).collect();
    assert!(cut.len() >= 3 && cut[0] && cut[1], "{cut:?}");
    assert_eq!(cut.last(), Some(&false));
}

#[test]
fn silence_counts_from_the_last_sample_and_begins_anew_after_an_utterance() {
    for seed in 0..4 {
        let mut scenario = Scenario::outbound();
        scenario.knobs.no_input = Ms(3_000);
        scenario.dialogue = Box::new(|event| match &event.what {
            Line::Begin(_) => vec![say("Hello, who is there?")],
            Line::NoInput { count: 1 } => {
                vec![answering(event.id, Action::Say(Prompt { silent: true, ..prompt("Are you there?") }))]
            }
            Line::NoInput { count: 2 } if event.at > Ms(16_000) => vec![hang_up("silence")],
            Line::NoInput { .. } => vec![say("Please say something.")],
            Line::Utterance(_) => vec![say("I see.")],
            _ => Vec::new(),
        });
        // Said after the second time, with its answer it begins at 1 again.
        scenario.talk = vec![(11_500, Act::Speak(voice::recorded("human-thank-you")))];
        let seen = scenario.run(seed);
        let counts = seen.line.iter().filter_map(|(_, event)| match event.what {
            Line::NoInput { count } => Some((event.at, count)),
            _ => None,
        });
        let counts: Vec<_> = counts.collect();
        assert_eq!(counts.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 2, 1, 2], "seed {seed}");
        for (at, _) in counts {
            let last = seen.last_word(at);
            assert!((at - last).0.abs_diff(3_000) <= 22, "{at} is {} after the last sample", at - last);
        }
        let record = seen.record();
        let silent: Vec<_> = seen.turns(Role::Speech).iter().map(|t| t.silent).collect();
        assert_eq!(silent, [false, true, false, false, true]);
        assert_eq!((record.hung_up_by, &*record.end_reason), (HungUpBy::Robot, "silence"));
    }
}

#[test]
fn an_answer_to_an_older_turn_is_dropped_and_said_so() {
    for seed in 0..4 {
        let stale = |event: u64, even_if_stale| {
            let action = Ok(Action::Say(prompt(if even_if_stale { "Played all the same." } else { "Too late." })));
            let asked = Asked { action_id: "late".to_owned(), answers: event, even_if_stale, action };
            Reply(3_500, FromDialogue::Asked(asked))
        };
        let mut scenario = Scenario::outbound();
        scenario.rules.dialogue_timeout = Duration::from_secs(8);
        scenario.recogniser = understands(&["first", "second"], 100);
        scenario.dialogue = Box::new(move |event| match &event.what {
            Line::Utterance(u) if u.text == "first" => vec![stale(event.id, false), stale(event.id, true).after(3_600)],
            Line::Utterance(_) => vec![answering(event.id, Action::Say(prompt("In time."))).after(1_500)],
            Line::PromptDone { prompt_id, .. } if prompt_id == "In time." => vec![hang_up("done")],
            _ => Vec::new(),
        });
        let words = || Act::Speak(voice::recorded("human-thank-you"));
        scenario.talk = vec![(1_000, words()), (3_200, words())];
        let seen = scenario.run(seed);
        assert_eq!(
            seen.talk(),
            ["caller: first", "caller: second", "robot: Played all the same.", "robot: In time."],
            "seed {seed}"
        );
        let is_stale = |what: &Line| matches!(what, Line::Fault(Fault::Stale { action_id, .. }) if action_id == "late");
        let faults: Vec<_> = seen.line.iter().filter(|(_, event)| is_stale(&event.what)).collect();
        assert_eq!(faults.len(), 1);
    }
}

#[test]
fn who_hangs_up_in_mid_sentence_has_been_heard_so_far() {
    for seed in 0..6 {
        for (hang_up, say_first) in [(2_000, false), (2_000, true), (2_700, false)] {
            let scenario = Scenario {
                talk: vec![(1_000, Act::Speak(voice::recorded("caller-when"))), (hang_up, Act::HangUp)],
                recogniser: Box::new(|told| match told {
                    ToRecogniser::UtteranceStart { utterance, .. } => vec![(200, partial(utterance, "can you"))],
                    ToRecogniser::UtteranceEnd { utterance, .. } => {
                        vec![
                            (50, partial(utterance, "can you tell")),
                            (400, sim::services::final_text(utterance, "can you tell me")),
                        ]
                    }
                    ToRecogniser::Expect(_) | ToRecogniser::Close => Vec::new(),
                }),
                ..Scenario::outbound()
            };
            let scenario = if seed % 2 == 1 { scenario.over_poor_network() } else { scenario };
            let mut scenario = listens(scenario);
            scenario.dialogue = Box::new(move |event| match &event.what {
                Line::Begin(_) if say_first => {
                    vec![act(Action::Expect { partials: true, hints: None }), say("A greeting that is long enough")]
                }
                Line::Begin(_) => vec![act(Action::Expect { partials: true, hints: None })],
                _ => Vec::new(),
            });
            let seen = scenario.run(seed);
            let record = seen.record();
            assert_eq!((record.hung_up_by, record.outcome), (HungUpBy::Caller, Outcome::Success));
            let [turn] = seen.turns(Role::Voice)[..] else { panic!("{:#?}", record.turns) };
            assert_eq!(turn.text, "can you tell me");
            let [(_, utterance)] = seen.utterances()[..] else { panic!() };
            assert_eq!(utterance.quality, Quality::Final);
            let closed = matches!(seen.recogniser.last(), Some((_, ToRecogniser::Close)));
            assert!(closed, "the recogniser is let go after its last word");
        }
    }
}

#[test]
fn who_hangs_up_under_a_prompt_has_heard_a_part_of_it() {
    let scenario = Scenario { talk: vec![(1_500, Act::HangUp)], ..Scenario::outbound() };
    let long = "A long greeting, which nobody hears to its end.";
    let seen = Scenario { dialogue: sim::services::talks(long, &[]), ..scenario }.run(1);
    let [turn] = seen.turns(Role::Speech)[..] else { panic!("{:?}", seen.record().turns) };
    assert!(turn.interrupted && turn.length_ms < Ms(1_500), "{turn:?}");
    assert!(turn.stop.0.abs_diff(seen.last_word(Ms::MAX).0) <= 40, "{turn:?}");
    let [(_, heard, _)] = seen.interruptions()[..] else { panic!() };
    assert_eq!(heard.heard, turn.length_ms);
}

#[test]
fn a_hang_up_waits_for_all_prompts_unless_it_is_to_be_at_once() {
    for (at_once, seed) in [(false, 1), (true, 2)] {
        let scenario = Scenario {
            dialogue: Box::new(move |event| match &event.what {
                Line::Begin(_) => vec![
                    say("One sentence and"),
                    say("another one."),
                    act(Action::Hangup { now: at_once, reason: "done".to_owned(), farewell: Default::default() })
                        .after(500),
                ],
                _ => Vec::new(),
            }),
            ..Scenario::inbound()
        };
        let seen = scenario.run(seed);
        let bye = seen.media(seen.request("BYE").expect("we hang up"));
        match at_once {
            true => assert!(bye < Ms(530), "{bye}"),
            false => {
                assert_eq!(seen.talk(), ["robot: One sentence and", "robot: another one."]);
                let pause = bye - seen.last_word(Ms::MAX);
                assert!((Ms(200)..=Ms(260)).contains(&pause), "{pause}");
            }
        }
    }
}

#[test]
fn a_label_is_no_answer_and_waiting_buys_time() {
    for (wait, seed) in [(false, 1), (true, 2)] {
        let scenario = Scenario {
            dialogue: Box::new(move |event| match &event.what {
                Line::Begin(_) => {
                    let label = act(Action::Label { key: "k".to_owned(), value: "v".to_owned() });
                    let more = act(Action::Wait(Ms(6_000))).after(3_000);
                    let late = [say("Here I am.").after(7_000), hang_up("done").after(7_001)];
                    [label].into_iter().chain(wait.then_some(more)).chain(late).collect()
                }
                _ => Vec::new(),
            }),
            ..Scenario::outbound()
        };
        let seen = scenario.run(seed);
        assert_eq!(seen.record().labels["k"], "v");
        assert_eq!(seen.talk(), [if wait { "robot: Here I am." } else { "robot: [fallback.wav]" }]);
    }
}
