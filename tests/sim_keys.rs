//! Keys of a whole call in virtual time: by RTP, by INFO and as tones, one by one and all at once.

mod sim;

use sim::network::Weather;
use sim::phone::Act;
use sim::{Order, Scenario, voice};
use trunkline::call::action::Action;
use trunkline::call::leg::InbandKeys;
use trunkline::ms::Ms;

const PIN: &str = "2580#";

/// A caller who dials the PIN, a key each 300 ms from the third second, each the way that `how` says; and speaks before and after.
fn dials(how: impl Fn(u32, char) -> Vec<(u32, Act)>) -> Vec<(u32, Act)> {
    let mut talk = vec![(200, Act::Speak(voice::recorded("caller-yes")))];
    for (n, key) in PIN.chars().enumerate() {
        talk.extend(how(3_000 + 300 * n as u32, key));
    }
    talk.push((5_000, Act::Speak(voice::recorded("human-thank-you"))));
    talk.push((8_000, Act::HangUp));
    talk
}

fn tone(at: u32, key: char) -> (u32, Act) {
    (at, Act::Speak(voice::key(key, Ms(100))))
}

#[test]
fn tones_are_keys_where_no_events_have_been_agreed_on() {
    for seed in 0..4 {
        for weather in [Weather::CLEAN, Weather { loss: 10, ..Weather::CLEAN }] {
            let talk = dials(|at, key| vec![tone(at, key)]);
            let seen = Scenario { talk, phone_events: false, rtp: weather, ..Scenario::inbound() }.run(seed);
            assert_eq!(seen.record().keys, PIN, "seed {seed}");
        }
    }
}

#[test]
fn tones_are_no_keys_where_events_have_been_agreed_on_unless_the_profile_says_so() {
    let talk = || dials(|at, key| vec![tone(at, key)]);
    assert_eq!(Scenario { talk: talk(), ..Scenario::inbound() }.run(1).record().keys, "");
    let on = Scenario { talk: talk(), inband_keys: InbandKeys::On, ..Scenario::inbound() };
    assert_eq!(on.run(1).record().keys, PIN);
    let off = Scenario { talk: talk(), inband_keys: InbandKeys::Off, phone_events: false, ..Scenario::inbound() };
    assert_eq!(off.run(1).record().keys, "");
}

#[test]
fn a_press_that_comes_as_event_as_info_and_as_tone_is_one() {
    for seed in 0..6 {
        for late in [0, 60, 150] {
            // An event replaces the audio, so the tone follows it, as from a gateway that lets its beginning or end through.
            let all = |at, key| vec![(at, Act::Press(key)), (at + late, Act::Info(key)), tone(at + 20, key)];
            let scenario = Scenario { talk: dials(all), inband_keys: InbandKeys::On, ..Scenario::inbound() };
            assert_eq!(scenario.run(seed).record().keys, PIN, "seed {seed}, INFO {late} ms later");
        }
    }
}

#[test]
fn a_press_that_comes_as_tone_and_as_info_is_one() {
    let both = |at, key| vec![tone(at, key), (at + 90, Act::Info(key))];
    let seen = Scenario { talk: dials(both), phone_events: false, ..Scenario::inbound() }.run(3);
    assert_eq!(seen.record().keys, PIN);
}

#[test]
fn keys_go_out_by_info_where_the_far_end_takes_no_events() {
    let orders = vec![(3_000, Order::Do(Action::SendKeys("17#".to_owned())))];
    let talk = vec![(4_000, Act::HangUp)];
    let seen = Scenario { orders, talk, phone_events: false, ..Scenario::inbound() }.run(2);
    assert_eq!(seen.sip.iter().filter(|(_, line)| line.starts_with("INFO ")).count(), 3);
    assert_eq!(voice::keys(seen.recorded.iter().map(|frame| &frame.robot)), "");
}

#[test]
fn a_press_that_is_told_again_is_one_however_much_is_lost() {
    let event = |at, key| vec![(at, Act::Press(key))];
    for seed in 0..8 {
        // A quarter of all packets in bursts of three: so many that whole presses, of seven packets, go down.
        let rtp = Weather { loss: 250, burst: 3, delay: 20, jitter: 10, reorder: 20, duplicate: 20 };
        let seen = Scenario { talk: dials(event), rtp, redundancy: 3, ..Scenario::inbound() }.run(seed);
        assert_eq!(seen.record().keys, PIN, "seed {seed}");
    }
}

#[test]
fn sound_that_is_said_again_fills_the_gaps() {
    let rtp = Weather { loss: 50, burst: 1, ..Weather::CLEAN };
    let run = |redundancy| {
        let talk = dials(|at, key| vec![(at, Act::Press(key))]);
        let seen = Scenario { talk, rtp, redundancy, ..Scenario::inbound() }.run(5);
        assert_eq!(seen.record().keys, PIN);
        seen.record().quality
    };
    let (once, twice) = (run(0), run(1));
    assert_eq!(once.recovered, 0);
    assert!(once.lost > 10 && once.concealed > 10, "{once:?}");
    assert!(twice.recovered > 10 && twice.lost * 4 < once.lost, "{twice:?} beside {once:?}");
    assert!(twice.concealed * 4 < once.concealed, "{twice:?} beside {once:?}");
}
