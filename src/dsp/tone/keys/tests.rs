use std::f32::consts::TAU;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::keypad;
use super::super::mean_square;
use super::*;
use crate::codec::g711::Law;

/// A stretch of a line: two sines, noise, and the codec in between.
#[derive(Clone, Copy)]
struct Tone {
    key: char,
    ms: f32,
    low: f32,
    high: f32,
    /// Frequencies as parts of themselves: low, high.
    off: (f32, f32),
}

const TONE: Tone = Tone { key: '5', ms: 60.0, low: -10.0, high: -10.0, off: (1.0, 1.0) };

fn samples(ms: f32) -> usize {
    (ms * 8.0).round() as usize
}

fn tone(tone: Tone) -> Vec<f32> {
    let (low, high) = keypad::frequencies(tone.key).unwrap();
    let wave = |n: usize, hz: f32, dbm0: f32| (TAU * hz * n as f32 / 8_000.0).sin() * (2.0 * mean_square(dbm0)).sqrt();
    (0..samples(tone.ms)).map(|n| wave(n, low * tone.off.0, tone.low) + wave(n, high * tone.off.1, tone.high)).collect()
}

fn pause(ms: f32) -> Vec<f32> {
    vec![0.0; samples(ms)]
}

/// What is heard of a line that begins at some sample of a frame, in noise of so many dBm0.
fn hear_in(noise: f32, parts: &[Vec<f32>], begin: usize, seed: u64) -> String {
    let mut rng = StdRng::seed_from_u64(seed);
    let noise = mean_square(noise).sqrt();
    let mut line = vec![0.0; 480 + begin];
    parts.iter().for_each(|part| line.extend(part));
    line.resize((line.len() + 1_000).next_multiple_of(FRAME), 0.0);
    let mut gauss = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
    let line: Vec<i16> =
        line.iter().map(|sample| (sample + noise * gauss()).clamp(-32_768.0, 32_767.0) as i16).collect();
    let mut coded = vec![0; line.len()];
    Law::A.encode(&line, &mut coded);
    let mut heard = vec![0; line.len()];
    Law::A.decode(&coded, &mut heard);
    let mut keys = Keys::default();
    heard.chunks_exact(FRAME).filter_map(|frame| keys.push(frame.try_into().unwrap())).collect()
}

/// How often of all beginnings within a frame it is heard as `expected`.
fn heard_as(expected: &str, noise: f32, parts: &[Vec<f32>]) -> usize {
    (0..FRAME).step_by(7).filter(|begin| hear_in(noise, parts, *begin, *begin as u64) == expected).count()
}

const ALL: usize = FRAME.div_ceil(7);
const QUIET: f32 = -65.0;

fn assert_heard(tone: Tone, why: &str) {
    assert_eq!(heard_as(&tone.key.to_string(), QUIET, &[self::tone(tone)]), ALL, "{why}");
}

fn assert_unheard(tone: Tone, why: &str) {
    assert_eq!(heard_as("", QUIET, &[self::tone(tone)]), ALL, "{why}");
}

#[test]
fn every_key_is_itself() {
    for key in "0123456789*#ABCD".chars() {
        assert_heard(Tone { key, ms: 40.0, ..TONE }, &key.to_string());
    }
}

#[test]
fn levels_from_0_to_minus_25_dbm0_of_each_frequency() {
    for key in ['1', '5', 'D', '*'] {
        for level in [0.0, -3.0, -10.0, -20.0, -25.0, -29.0] {
            assert_heard(Tone { key, ms: 40.0, low: level, high: level, ..TONE }, &format!("{key} at {level} dBm0"));
        }
        assert_unheard(Tone { key, low: -36.0, high: -36.0, ..TONE }, "far below what a line brings");
    }
}

#[test]
fn twist_of_4_db_forward_and_8_db_backward_is_taken_and_far_more_is_not() {
    for key in ['1', '5', '9', 'D', '*'] {
        for (low, high) in [(-14.0, -10.0), (-10.0, -18.0), (-6.0, -14.0), (-21.0, -17.0)] {
            assert_heard(Tone { key, ms: 40.0, low, high, ..TONE }, &format!("{key}: low {low}, high {high}"));
        }
        for (low, high) in [(-18.0, -9.0), (-6.0, -19.0)] {
            assert_unheard(Tone { key, low, high, ..TONE }, &format!("{key}: low {low}, high {high}"));
        }
    }
}

#[test]
fn frequencies_off_by_1_5_per_cent_are_taken_and_by_3_5_are_not() {
    for key in "147*2580369#ABCD".chars() {
        for (low, high) in [(1.015, 1.015), (0.985, 0.985), (1.015, 0.985), (0.985, 1.015)] {
            assert_heard(Tone { key, ms: 40.0, off: (low, high), ..TONE }, &format!("{key} × {low}, {high}"));
        }
        for off in [(1.035, 1.0), (0.965, 1.0), (1.0, 1.035), (1.0, 0.965), (1.035, 1.035)] {
            assert_unheard(Tone { key, ms: 100.0, off, ..TONE }, &format!("{key} × {off:?}"));
        }
    }
}

#[test]
fn tones_of_40_ms_are_taken_and_of_23_ms_are_not() {
    for key in ['1', '6', '8', 'D'] {
        for ms in [36.0, 40.0, 70.0, 2_000.0] {
            assert_heard(Tone { key, ms, ..TONE }, &format!("{key} for {ms} ms"));
        }
        for ms in [10.0, 20.0, 23.0] {
            assert_unheard(Tone { key, ms, ..TONE }, &format!("{key} for {ms} ms"));
        }
    }
}

#[test]
fn pauses_of_40_ms_part_presses_and_gaps_of_10_ms_do_not() {
    for key in ['1', '5', '#'] {
        let whole = Tone { key, ms: 60.0, ..TONE };
        for gap in [2.0, 5.0, 10.0] {
            let parts = [tone(whole), pause(gap), tone(whole)];
            assert_eq!(heard_as(&key.to_string(), QUIET, &parts), ALL, "{key}, a gap of {gap} ms");
        }
        let brief = Tone { ms: 40.0, ..whole };
        for gap in [40.0, 53.0, 200.0] {
            let parts = [tone(brief), pause(gap), tone(brief)];
            assert_eq!(heard_as(&format!("{key}{key}"), QUIET, &parts), ALL, "{key}, a pause of {gap} ms");
        }
    }
}

#[test]
fn a_number_dialled_as_fast_as_q24_allows() {
    let number = "1234567890*#ABCD1199";
    let parts: Vec<_> = number.chars().flat_map(|key| [tone(Tone { key, ms: 45.0, ..TONE }), pause(48.0)]).collect();
    assert_eq!(heard_as(number, QUIET, &parts), ALL);
}

#[test]
fn tones_in_noise() {
    for key in "147*2580369#ABCD".chars() {
        let parts = [tone(Tone { key, ms: 50.0, low: -10.0, high: -11.0, ..TONE })];
        for noise in [-30.0, -22.0] {
            assert_eq!(heard_as(&key.to_string(), noise, &parts), ALL, "{key} in noise of {noise} dBm0");
        }
        // 5 dB below the two together.
        let loud = heard_as(&key.to_string(), -12.5, &[tone(Tone { key, ms: 100.0, low: -10.0, high: -11.0, ..TONE })]);
        assert!(loud * 20 >= ALL * 19, "{key}: {loud} of {ALL}");
    }
}

#[test]
fn noise_single_tones_and_two_of_one_group_are_no_keys() {
    let minute = vec![0.0; samples(60_000.0)];
    for noise in [-40.0, -20.0, -6.0] {
        assert_eq!(hear_in(noise, std::slice::from_ref(&minute), 0, 1), "");
    }
    let sine = |hz: f32| -> Vec<f32> {
        (0..8_000).map(|n| (TAU * hz * n as f32 / 8_000.0).sin() * (2.0 * mean_square(-10.0)).sqrt()).collect()
    };
    for hz in (300..3_400).step_by(25) {
        assert_eq!(hear_in(QUIET, &[sine(hz as f32)], 3, 2), "", "{hz} Hz");
    }
    let both = |one: f32, two: f32| sine(one).iter().zip(sine(two)).map(|(a, b)| a + b).collect::<Vec<_>>();
    // Call progress, and pairs within a group.
    for (one, two) in
        [(350.0, 440.0), (440.0, 480.0), (480.0, 620.0), (697.0, 770.0), (1209.0, 1477.0), (450.0, 1400.0)]
    {
        assert_eq!(hear_in(QUIET, &[both(one, two)], 5, 3), "", "{one} and {two} Hz");
    }
}

#[test]
fn what_pair_makes_is_heard() {
    for key in "0123456789*#ABCD".chars() {
        let (low, high) = keypad::frequencies(key).unwrap();
        let mut pair = super::super::pair::Pair::new([(low, -10.0), (high, -8.0)], 800);
        let mut keys = Keys::default();
        let mut heard = String::new();
        for _ in 0..10 {
            let mut frame = [0; FRAME];
            pair.add_to(&mut frame);
            heard.extend(keys.push(&frame));
        }
        assert_eq!(heard, key.to_string());
    }
}
