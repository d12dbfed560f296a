//! What operators announce before the answer, on whole calls in virtual time: what it makes of the outcome, and when it ends the call.

mod sim;

use std::sync::Arc;

use sim::phone::{Act, Pickup};
use sim::services::{final_text, partial};
use sim::{Scenario, Seen, Way, voice};
use trunkline::call::announcement::{Announcements, Phrase, Rule};
use trunkline::call::event::What;
use trunkline::call::io::{FromSpeech, ToRecogniser};
use trunkline::call::line::HungUpBy;
use trunkline::call::record::{Announcement, Outcome};
use trunkline::dsp::tone::progress::{Country, Heard, Tone};
use trunkline::ms::Ms;

/// The longest that is waited for an answer, far beyond every announcement.
const RING: u32 = 20_000;

fn rules() -> Option<Arc<Announcements>> {
    let rule = |contains: &[&str], all: &[&str], outcome| {
        let phrases = |texts: &[&str]| texts.iter().map(|text| Phrase::parse(text).expect("a phrase")).collect();
        let name = contains.iter().chain(all).next().map(|first| format!("cn: {first}"));
        Rule { name: name.expect("one").into(), contains: phrases(contains), all: phrases(all), outcome }
    };
    Some(Arc::new(Announcements::new(vec![
        rule(&["空号"], &[], Some(Outcome::Notexist)),
        rule(&["停机"], &[], Some(Outcome::Stopped)),
        rule(&["关机"], &[], Some(Outcome::Poweroff)),
        rule(&["正在通话中"], &[], Some(Outcome::Linebusy)),
        rule(&["无法接通"], &[], Some(Outcome::Cantbeconnected)),
        rule(&["无人接听"], &[], Some(Outcome::Nooneheard)),
        rule(&[], &["正在通话中", "不要挂机"], None),
    ])))
}

/// For each utterance: partial texts ms after its begin, and its final text ms after its end.
type Texts = Vec<(Vec<(u32, &'static str)>, Option<(u32, &'static str)>)>;

fn recogniser(texts: Texts) -> Box<dyn FnMut(ToRecogniser) -> Vec<(u32, FromSpeech)>> {
    Box::new(move |told| match told {
        ToRecogniser::UtteranceStart { utterance, .. } => {
            let (partials, _) = &texts[(utterance as usize - 1).min(texts.len() - 1)];
            partials.iter().map(|(after, text)| (*after, partial(utterance, text))).collect()
        }
        ToRecogniser::UtteranceEnd { utterance, .. } => {
            let (_, last) = &texts[(utterance as usize - 1).min(texts.len() - 1)];
            last.iter().map(|(after, text)| (*after, final_text(utterance, text))).collect()
        }
        _ => Vec::new(),
    })
}

fn finally(text: &'static str) -> Texts {
    vec![(Vec::new(), Some((150, text)))]
}

/// 183, an announcement of a second after half a second, and what then becomes of the call.
fn announced(texts: Texts, pickup: Pickup) -> Scenario {
    Scenario {
        way: Way::Outbound { ring_timeout: RING },
        announcements: rules(),
        early_recogniser: recogniser(texts),
        talk: vec![(500, Act::Speak(voice::syllable("caller-when", Ms(1_000))))],
        pickup,
        ..Scenario::outbound()
    }
}

/// Nothing is ended by what is announced.
fn only_told(texts: Texts, pickup: Pickup) -> Scenario {
    Scenario { hang_up_on_announcement: false, ..announced(texts, pickup) }
}

fn told(seen: &Seen) -> Vec<&Announcement> {
    let said = seen.told.iter().map(|(_, _, what)| if let What::Announcement(said) = what { Some(said) } else { None });
    said.flatten().collect()
}

/// The outcome of a call with this announcement that is refused with a status that says nothing of the number.
#[track_caller]
fn means(text: &'static str, outcome: Outcome) {
    let seen = only_told(finally(text), Pickup::EarlyRefuse(4_000, 480)).run(1);
    let record = seen.record();
    assert_eq!((record.outcome, record.sip_code, record.hung_up_by), (outcome, 480, HungUpBy::CallerRinging));
    let said = record.announcement.as_ref().expect("it was known");
    assert_eq!((said.text.as_str(), said.outcome), (text, outcome));
    assert_eq!((said.start, said.stop), (record.early_text[0].start, record.early_text[0].stop));
    assert_eq!(told(&seen), [said]);

    // And the same that ends the call.
    let seen = announced(finally(text), Pickup::Early(300_000)).run(1);
    let record = seen.record();
    assert_eq!((record.outcome, record.hung_up_by), (outcome, HungUpBy::Network));
    assert_eq!(record.end_reason, format!("announcement before the answer: {}", told(&seen)[0].rule));
    assert!(record.setup_ms < Ms(6_000), "long before the ring_timeout: {}", record.setup_ms);
    assert!(seen.request("CANCEL").is_some());
}

#[test]
fn a_number_that_does_not_exist_is_announced_as_notexist() {
    means("您拨打的号码是空号，请核对后再拨", Outcome::Notexist);
}

#[test]
fn a_number_out_of_service_is_announced_as_stopped() {
    means("您拨打的电话已停机", Outcome::Stopped);
}

#[test]
fn a_phone_that_is_switched_off_is_announced_as_poweroff() {
    means("您拨打的电话已关机", Outcome::Poweroff);
}

#[test]
fn a_line_in_a_call_is_announced_as_linebusy() {
    means("您拨打的电话正在通话中", Outcome::Linebusy);
}

#[test]
fn a_phone_out_of_reach_is_announced_as_cantbeconnected() {
    means("您拨打的电话暂时无法接通", Outcome::Cantbeconnected);
}

#[test]
fn a_phone_that_nobody_takes_is_announced_as_nooneheard() {
    means("您拨打的电话无人接听", Outcome::Nooneheard);
}

#[test]
fn what_is_no_announcement_changes_nothing() {
    for text in ["您好，欢迎致电", "正在通话中，请不要挂机"] {
        let seen = announced(finally(text), Pickup::EarlyRefuse(6_000, 480)).run(1);
        assert_eq!((seen.record().outcome, &seen.record().announcement), (Outcome::Nooneheard, &None), "it rang");
        assert_eq!(told(&seen).len(), 0);
    }
}

#[test]
fn the_last_text_may_come_after_the_refusal() {
    // Refused in the middle of the announcement; its text comes 1.2 s after.
    let seen = announced(vec![(Vec::new(), Some((1_200, "已停机")))], Pickup::EarlyRefuse(1_200, 404)).run(1);
    let record = seen.record();
    assert_eq!((record.outcome, record.sip_code, record.hung_up_by), (Outcome::Stopped, 404, HungUpBy::CallerRinging));
    assert_eq!(told(&seen).len(), 1);
    // One that never comes is waited for in vain: the status is left.
    let seen = announced(vec![(Vec::new(), None)], Pickup::EarlyRefuse(1_200, 404)).run(1);
    assert_eq!(seen.record().outcome, Outcome::Notexist);
}

#[test]
fn an_announcement_of_the_number_is_believed_before_the_status_and_one_of_the_way_after_it() {
    let refused = |text, code| only_told(finally(text), Pickup::EarlyRefuse(4_000, code)).run(1).record().outcome;
    assert_eq!(refused("已停机", 404), Outcome::Stopped);
    assert_eq!(refused("已关机", 486), Outcome::Poweroff);
    assert_eq!(refused("无法接通", 404), Outcome::Notexist);
    assert_eq!(refused("无人接听", 486), Outcome::Linebusy);
    assert_eq!(refused("无人接听", 503), Outcome::Nooneheard);
}

#[test]
fn of_a_tone_and_an_announcement_what_says_more_is_believed() {
    let tone = |heard, cadence: &[u32]| Tone { heard, frequencies: vec![450.0], cadence: cadence.to_vec() };
    let china =
        Some(Arc::new(Country::new(vec![tone(Heard::Ringback, &[1_000, 4_000]), tone(Heard::Busy, &[350, 350])])));
    let outcome = |text, cadence: &[u32]| {
        let sound = voice::cadence([450.0, 0.0], cadence, 10);
        let talk = vec![(500, Act::Speak(voice::syllable("caller-when", Ms(1_000)))), (4_000, Act::Speak(sound))];
        let scenario = only_told(finally(text), Pickup::EarlyRefuse(14_000, 480));
        let seen = Scenario { tones: china.clone(), hang_up_on_tone: false, talk, ..scenario }.run(1);
        assert_eq!(seen.record().tones.len(), 1, "{:?}", seen.record().tones);
        seen.record().outcome
    };
    assert_eq!(outcome("已关机", &[350, 350]), Outcome::Poweroff);
    assert_eq!(outcome("无法接通", &[350, 350]), Outcome::Linebusy);
    assert_eq!(outcome("无法接通", &[1_000, 4_000]), Outcome::Cantbeconnected);
}

#[test]
fn two_partial_texts_that_say_the_same_end_the_call_and_one_does_not() {
    // Five seconds.
    let long = vec![(500, Act::Speak([voice::recorded("caller-when"), voice::recorded("caller-when")].concat()))];
    let run = |partials: Vec<(u32, &'static str)>| {
        let texts = vec![(partials, Some((150, "您拨打的电话已关机请稍后再拨")))];
        Scenario { talk: long.clone(), ..announced(texts, Pickup::Early(300_000)) }.run(1)
    };
    let early = run(vec![(600, "您拨打的"), (1_000, "您拨打的电话已关机"), (1_400, "您拨打的电话已关机请稍后")]);
    let record = early.record();
    assert_eq!((record.outcome, record.hung_up_by), (Outcome::Poweroff, HungUpBy::Network));
    assert!(record.setup_ms < Ms(4_500), "while it is still being said: {}", record.setup_ms);
    assert_eq!(told(&early)[0].text, "您拨打的电话已关机请稍后");
    let late = run(vec![(600, "您拨打的"), (1_000, "您拨打的电话已关机")]);
    assert_eq!(late.record().outcome, Outcome::Poweroff);
    assert!(late.record().setup_ms > Ms(5_500), "only its final text says it: {}", late.record().setup_ms);
    let other = run(vec![(600, "您拨打的电话已停机"), (1_000, "您拨打的电话已关机"), (1_200, "您拨打的")]);
    assert_eq!((other.record().outcome, told(&other).len()), (Outcome::Poweroff, 1));
    assert!(other.record().setup_ms > Ms(5_500));
}

#[test]
fn a_partial_text_that_may_still_change_its_meaning_does_not_end_the_call() {
    let partials = vec![(300, "正在通话中"), (500, "您拨打的电话正在通话中"), (800, "您拨打的电话正在通话中请")];
    let texts = vec![(partials, Some((150, "您拨打的电话正在通话中请不要挂机")))];
    let scenario = announced(texts, Pickup::Early(6_000));
    let mut talk = scenario.talk.clone();
    talk.push((9_000, Act::HangUp));
    let seen = Scenario { talk, ..scenario }.run(1);
    assert_eq!((seen.record().outcome, &seen.record().announcement), (Outcome::Success, &None));
}

#[test]
fn a_final_text_takes_back_what_partial_ones_said() {
    let partials = vec![(300, "已关机"), (500, "电话已关机")];
    let texts = vec![(partials.clone(), Some((150, "您好请讲")))];
    let seen = only_told(texts, Pickup::EarlyRefuse(4_000, 480)).run(1);
    assert_eq!((seen.record().outcome, &seen.record().announcement), (Outcome::Nooneheard, &None));
    assert_eq!(told(&seen).len(), 1, "it was told when it was believed");
    // What it has ended the call for stays the reason; a final text that says something else corrects it.
    for (last, outcome) in [("您好请讲", Outcome::Poweroff), ("已停机", Outcome::Stopped)] {
        let seen = announced(vec![(partials.clone(), Some((150, last)))], Pickup::Early(300_000)).run(1);
        assert_eq!(seen.record().outcome, outcome);
    }
}

#[test]
fn an_announcement_that_is_repeated_is_told_once_and_the_one_that_says_most_is_recorded() {
    let again = |at| (at, Act::Speak(voice::syllable("caller-when", Ms(1_000))));
    let texts: Texts =
        ["无法接通", "无法接通", "已关机", "已停机"].map(|text| (Vec::new(), Some((150, text)))).to_vec();
    let scenario = only_told(texts, Pickup::EarlyRefuse(13_000, 480));
    let seen = Scenario { talk: [500, 3_500, 6_500, 9_500].map(again).to_vec(), ..scenario }.run(1);
    let rules: Vec<_> = told(&seen).iter().map(|said| said.rule.as_str()).collect();
    assert_eq!(rules, ["cn: 无法接通", "cn: 关机", "cn: 停机"]);
    let record = seen.record();
    assert_eq!(record.early_text.len(), 4);
    assert_eq!(
        (record.outcome, record.announcement.as_ref().map(|said| said.outcome)),
        (Outcome::Poweroff, Some(Outcome::Poweroff))
    );
}

#[test]
fn a_call_that_is_answered_or_given_up_by_us_keeps_its_outcome() {
    let scenario = only_told(finally("已关机"), Pickup::Early(5_000));
    let mut talk = scenario.talk.clone();
    talk.push((8_000, Act::HangUp));
    let seen = Scenario { talk, ..scenario }.run(1);
    assert_eq!(seen.record().outcome, Outcome::Success);
    assert_eq!(seen.record().announcement.as_ref().map(|said| said.outcome), Some(Outcome::Poweroff));
    // Nobody answers within the ring_timeout: what was announced says why.
    let seen = only_told(finally("已关机"), Pickup::Early(300_000)).run(1);
    assert_eq!((seen.record().outcome, seen.record().hung_up_by), (Outcome::Poweroff, HungUpBy::Network));
    assert_eq!(seen.record().end_reason, "nobody answered in ring_timeout");
}

#[test]
fn the_dialogue_is_told_of_early_media_only_if_that_is_asked_for() {
    let seen = only_told(finally("已关机"), Pickup::EarlyRefuse(4_000, 480)).run(1);
    assert!(seen.line.is_empty() && seen.dialogue_opened == 0, "{:?}", seen.line);
    let scenario = only_told(finally("已关机"), Pickup::EarlyRefuse(4_000, 480));
    let seen = Scenario { early_media_asr: true, ..scenario }.run(1);
    assert_eq!(seen.dialogue_opened, 1);
    let scenario = only_told(finally("已关机"), Pickup::EarlyRefuse(4_000, 480));
    let seen = Scenario { announcements: None, ..scenario }.run(1);
    assert!(seen.early.began.is_none() && seen.record().announcement.is_none());
}

#[test]
fn it_is_known_over_a_poor_network_too() {
    for seed in 0..6 {
        let seen = announced(finally("已关机"), Pickup::Early(300_000)).over_poor_network().run(seed);
        assert_eq!(seen.record().outcome, Outcome::Poweroff, "seed {seed}");
    }
}
