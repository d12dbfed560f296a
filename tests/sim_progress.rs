//! What an exchange says in tones, on whole calls in virtual time.

mod sim;

use std::sync::Arc;

use sim::phone::{Act, Pickup};
use sim::services::talks;
use sim::{Scenario, Way, voice};
use trunkline::call::event::What;
use trunkline::call::line::{HungUpBy, Line};
use trunkline::call::record::{AnsweredBy, Outcome};
use trunkline::dsp::tone::progress::{Country, Heard, Tone};
use trunkline::ms::Ms;

fn china() -> Option<Arc<Country>> {
    let tone = |heard, cadence: &[u32]| Tone { heard, frequencies: vec![450.0], cadence: cadence.to_vec() };
    Some(Arc::new(Country::new(vec![
        tone(Heard::Ringback, &[1_000, 4_000]),
        tone(Heard::Busy, &[350, 350]),
        tone(Heard::Congestion, &[700, 700]),
        tone(Heard::Unobtainable, &[100, 100, 100, 100, 100, 100, 400, 400]),
    ])))
}

fn sound(cadence: &[u32], times: usize) -> Vec<i16> {
    voice::cadence([450.0, 0.0], cadence, times)
}

fn told(seen: &sim::Seen) -> Vec<(&'static str, bool)> {
    let told: Vec<_> = seen
        .told
        .iter()
        .filter_map(|(_, _, what)| match what {
            What::Tone { heard, before_answer, .. } => Some((heard.as_str(), *before_answer)),
            _ => None,
        })
        .collect();
    let recorded: Vec<_> = seen.record().tones.iter().map(|tone| (tone.what, tone.before_answer)).collect();
    assert_eq!(told, recorded, "the record says what was told");
    told
}

fn outbound(early_sound: Vec<i16>, pickup: Pickup) -> Scenario {
    Scenario { tones: china(), early_sound, pickup, ..Scenario::outbound() }
}

#[test]
fn a_tone_before_the_answer_that_says_that_there_is_nobody_cancels_the_call() {
    for (cadence, what, outcome) in [
        (&[350, 350][..], "busy", Outcome::Linebusy),
        (&[700, 700], "congestion", Outcome::Cantbeconnected),
        (&[100, 100, 100, 100, 100, 100, 400, 400], "unobtainable", Outcome::Notexist),
    ] {
        for seed in 0..3 {
            let seen = outbound(sound(cadence, 20), Pickup::Never).run(seed);
            assert_eq!(told(&seen), [(what, true)], "seed {seed}");
            let record = seen.record();
            assert_eq!((record.outcome, record.hung_up_by), (outcome, HungUpBy::Network), "seed {seed}");
            assert_eq!(record.end_reason, format!("{what} tone before the answer"));
            assert!(record.tones[0].start < Ms(300), "it began with the 183: {:?}", record.tones);
            assert!(record.setup_ms < Ms(5_000), "long before the ring_timeout of 30 s: {}", record.setup_ms);
            assert!(seen.request("CANCEL").is_some());
        }
    }
}

#[test]
fn a_tone_says_what_a_vague_status_does_not_and_a_sure_one_is_believed_first() {
    let busy = |code| {
        let scenario = outbound(sound(&[350, 350], 9), Pickup::Refuse(6_000, code));
        Scenario { hang_up_on_tone: false, ..scenario }.run(1)
    };
    assert_eq!(busy(480).record().outcome, Outcome::Linebusy);
    assert_eq!(busy(503).record().outcome, Outcome::Linebusy);
    assert_eq!(busy(404).record().outcome, Outcome::Notexist);
    assert_eq!(told(&busy(404)), [("busy", true)]);
}

#[test]
fn a_call_that_is_given_up_after_a_ringing_tone_was_heard_by_nobody() {
    let scenario = outbound(sound(&[1_000, 4_000], 4), Pickup::Never);
    let seen = Scenario { way: Way::Outbound { ring_timeout: 12_000 }, ..scenario }.run(1);
    assert_eq!(told(&seen), [("ringback", true)]);
    assert_eq!(seen.record().outcome, Outcome::Nooneheard);
}

#[test]
fn what_is_heard_before_the_answer_is_no_part_of_the_talk() {
    for seed in 0..4 {
        let scenario = outbound(sound(&[1_000, 4_000], 1), Pickup::After(7_000));
        let seen = Scenario {
            dialogue: talks("Good morning, does tomorrow suit you?", &["Goodbye."]),
            recogniser: sim::services::understands(&["yes"], 200),
            talk: vec![(3_500, Act::Speak(voice::recorded("caller-yes")))],
            ..scenario
        }
        .run(seed);
        assert_eq!(told(&seen), [("ringback", true)]);
        assert_eq!(
            seen.talk(),
            ["robot: Good morning, does tomorrow suit you?", "caller: yes", "robot: Goodbye."],
            "seed {seed}"
        );
        assert_eq!(seen.record().outcome, Outcome::Success);
    }
}

#[test]
fn a_busy_tone_after_the_answer_is_the_hang_up_of_a_far_end_that_sends_no_bye() {
    for (at, outcome) in [(500, Outcome::Linebusy), (12_000, Outcome::Success)] {
        let talk = vec![(at, Act::Speak(sound(&[350, 350], 30)))];
        let seen = Scenario { tones: china(), talk: talk.clone(), ..Scenario::inbound() }.run(2);
        assert_eq!(told(&seen).last(), Some(&("busy", false)));
        let record = seen.record();
        assert_eq!((record.outcome, record.hung_up_by), (outcome, HungUpBy::Caller), "after {at} ms");
        let told_only = Scenario {
            tones: china(),
            talk: talk.into_iter().chain([(20_000, Act::HangUp)]).collect(),
            hang_up_on_tone: false,
            ..Scenario::inbound()
        };
        assert_eq!(told_only.run(2).record().outcome, Outcome::Success);
    }
}

#[test]
fn without_a_table_nothing_is_listened_for() {
    let scenario = Scenario { tones: None, ..outbound(sound(&[350, 350], 9), Pickup::After(4_000)) };
    let seen = Scenario { talk: vec![(500, Act::HangUp)], ..scenario }.run(1);
    assert_eq!(told(&seen), []);
    assert_eq!(seen.record().outcome, Outcome::Success);
}

#[test]
fn who_answers_is_told_to_the_world_to_the_dialogue_and_to_the_record() {
    for (recording, expected) in [
        ("answer-human-hello", &[("human", "short_greeting")][..]),
        ("answer-machine-english", &[("machine", "long_greeting"), ("beep", "beep")]),
    ] {
        let scenario = Scenario {
            answerer: Some(Default::default()),
            talk: vec![(300, Act::Speak(voice::recorded(recording))), (9_000, Act::HangUp)],
            ..Scenario::outbound()
        };
        let seen = scenario.run(1);
        let of = |by: &AnsweredBy| (by.who, by.reason);
        let world = seen.told.iter().filter_map(|(_, _, what)| match what {
            What::AnsweredBy(by) => Some(of(by)),
            _ => None,
        });
        let dialogue = seen.line.iter().filter_map(|(_, event)| match &event.what {
            Line::AnsweredBy(by) => Some(of(by)),
            _ => None,
        });
        assert_eq!(world.collect::<Vec<_>>(), expected);
        assert_eq!(dialogue.collect::<Vec<_>>(), expected);
        assert_eq!(seen.record().answered_by.iter().map(of).collect::<Vec<_>>(), expected);
    }
    // Who calls us is no answer, and nobody has asked otherwise.
    let talk = || vec![(300, Act::Speak(voice::recorded("answer-human-hello"))), (6_000, Act::HangUp)];
    let inbound = Scenario { answerer: Some(Default::default()), talk: talk(), ..Scenario::inbound() };
    assert_eq!(inbound.run(1).record().answered_by, []);
    assert_eq!(Scenario { talk: talk(), ..Scenario::outbound() }.run(1).record().answered_by, []);
}

#[test]
fn what_is_heard_before_the_answer_is_judged_for_itself_where_that_is_asked_for() {
    let scenario = || Scenario {
        answerer: Some(Default::default()),
        answerer_early: true,
        pickup: Pickup::Early(12_000),
        // It rings for 5 s, a machine of the network speaks and beeps, then somebody answers.
        talk: vec![
            (100, Act::Speak(voice::cadence([440.0, 480.0], &[2_000, 3_000], 1))),
            (5_200, Act::Speak(voice::recorded("answer-machine-english"))),
            (12_600, Act::Speak(voice::recorded("answer-human-hello"))),
            (18_000, Act::HangUp),
        ],
        ..Scenario::outbound()
    };
    let told =
        |seen: &sim::Seen| seen.record().answered_by.iter().map(|by| (by.who, by.before_answer)).collect::<Vec<_>>();
    let seen = scenario().run(1);
    assert_eq!(told(&seen), [("machine", true), ("beep", true), ("human", false)]);
    let first = seen.record().answered_by[0];
    assert!((7_000..10_000).contains(&first.at.0), "since the call began: {first:?}");
    let heard = |seen: &sim::Seen| seen.line.iter().filter(|(_, e)| matches!(e.what, Line::AnsweredBy(_))).count();
    assert_eq!(heard(&seen), 1, "the dialogue has no stream before the answer");
    let seen = Scenario { early_media_asr: true, ..scenario() }.run(1);
    assert_eq!(heard(&seen), 3);
    let seen = Scenario { answerer_early: false, ..scenario() }.run(1);
    assert_eq!(told(&seen), [("human", false)]);
}
