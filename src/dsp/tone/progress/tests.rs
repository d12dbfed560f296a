use std::f32::consts::TAU;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::mean_square;
use super::*;
use crate::codec::g711::Law;

fn tone(heard: Heard, frequencies: &[f32], cadence: &[u32]) -> Tone {
    Tone { heard, frequencies: frequencies.to_vec(), cadence: cadence.to_vec() }
}

fn cn() -> Arc<Country> {
    Arc::new(Country::new(vec![
        tone(Heard::Ringback, &[450.0], &[1_000, 4_000]),
        tone(Heard::Busy, &[450.0], &[350, 350]),
        tone(Heard::Congestion, &[450.0], &[700, 700]),
        tone(Heard::Unobtainable, &[450.0], &[100, 100, 100, 100, 100, 100, 400, 400]),
    ]))
}

fn us() -> Arc<Country> {
    Arc::new(Country::new(vec![
        tone(Heard::Ringback, &[440.0, 480.0], &[2_000, 4_000]),
        tone(Heard::Busy, &[480.0, 620.0], &[500, 500]),
        tone(Heard::Congestion, &[480.0, 620.0], &[250, 250]),
    ]))
}

fn uk() -> Arc<Country> {
    Arc::new(Country::new(vec![
        tone(Heard::Ringback, &[400.0, 450.0], &[400, 200, 400, 2_000]),
        tone(Heard::Busy, &[400.0], &[375, 375]),
        tone(Heard::Congestion, &[400.0], &[400, 350, 225, 525]),
        tone(Heard::Unobtainable, &[400.0], &[]),
    ]))
}

/// Frequencies (Hz), level of each (dBm0), ms.
type Part<'a> = (&'a [f32], f32, u32);

/// A cadence so many times.
fn times(count: usize, frequencies: &'static [f32], level: f32, cadence: &[u32]) -> Vec<Part<'static>> {
    let one = cadence.iter().enumerate().map(|(n, ms)| (if n % 2 == 0 { frequencies } else { &[] }, level, *ms));
    std::iter::repeat_n(one.collect::<Vec<_>>(), count).flatten().collect()
}

/// What is heard of a line in noise of so many dBm0, and when each began.
fn hear(country: Arc<Country>, noise: f32, seed: u64, parts: &[Part<'_>]) -> Vec<(Heard, u32)> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut line = vec![0.0; rng.random_range(0..FRAME)];
    for (frequencies, level, ms) in parts {
        let amplitude = (2.0 * mean_square(*level)).sqrt();
        let wave = |n: u32| frequencies.iter().map(|hz| amplitude * (TAU * hz * n as f32 / RATE).sin()).sum::<f32>();
        line.extend((0..ms * 8).map(wave));
    }
    let rms = mean_square(noise).sqrt();
    let mut gauss = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
    let line: Vec<i16> = line.iter().map(|s| (s + rms * gauss()).clamp(-32_768.0, 32_767.0) as i16).collect();
    let mut coded = vec![0; line.len()];
    Law::A.encode(&line, &mut coded);
    let mut heard = vec![0; line.len()];
    Law::A.decode(&coded, &mut heard);
    let mut progress = Progress::new(country);
    let told = heard.chunks_exact(FRAME).enumerate().filter_map(|(n, frame)| {
        let (heard, ago) = progress.push(frame.try_into().unwrap())?;
        Some((heard, 20 * (n as u32 + 1) - ago))
    });
    told.collect()
}

fn kinds(told: Vec<(Heard, u32)>) -> Vec<Heard> {
    told.into_iter().map(|(heard, _)| heard).collect()
}

const QUIET: f32 = -65.0;

#[test]
fn the_tones_of_china() {
    for seed in 0..10 {
        for level in [-5.0, -20.0, -30.0] {
            for (heard, cadence) in [
                (Heard::Ringback, &[1_000, 4_000][..]),
                (Heard::Busy, &[350, 350]),
                (Heard::Congestion, &[700, 700]),
                (Heard::Unobtainable, &[100, 100, 100, 100, 100, 100, 400, 400]),
            ] {
                let told = hear(cn(), QUIET, seed, &times(4, &[450.0], level, cadence));
                assert_eq!(kinds(told.clone()), [heard], "{cadence:?} at {level} dBm0");
                assert!(told[0].1 < 100, "it began at the beginning: {told:?}");
            }
        }
    }
}

#[test]
fn the_pairs_of_the_united_states_and_the_broken_ones_of_the_united_kingdom() {
    for seed in 0..10 {
        let us = |frequencies, cadence: &[u32]| kinds(hear(us(), QUIET, seed, &times(3, frequencies, -15.0, cadence)));
        assert_eq!(us(&[440.0, 480.0], &[2_000, 4_000]), [Heard::Ringback]);
        assert_eq!(us(&[480.0, 620.0], &[500, 500]), [Heard::Busy]);
        assert_eq!(us(&[480.0, 620.0], &[250, 250]), [Heard::Congestion]);
        let uk = |frequencies, cadence: &[u32]| kinds(hear(uk(), QUIET, seed, &times(3, frequencies, -15.0, cadence)));
        assert_eq!(uk(&[400.0, 450.0], &[400, 200, 400, 2_000]), [Heard::Ringback]);
        assert_eq!(uk(&[400.0], &[375, 375]), [Heard::Busy]);
        assert_eq!(uk(&[400.0], &[400, 350, 225, 525]), [Heard::Congestion]);
        assert_eq!(uk(&[400.0], &[4_000]), [Heard::Unobtainable]);
    }
}

#[test]
fn tones_off_their_frequency_and_cadence_as_far_as_exchanges_are() {
    for hz in [&[425.0][..], &[440.0], &[475.0]] {
        let parts: Vec<Part<'_>> = (0..8).map(|n| (if n % 2 == 0 { hz } else { &[] }, -15.0, 350)).collect();
        assert_eq!(kinds(hear(cn(), QUIET, 1, &parts)), [Heard::Busy], "{hz:?} Hz");
    }
    for cadence in [[315, 385], [385, 315], [330, 330], [390, 390]] {
        assert_eq!(kinds(hear(cn(), QUIET, 2, &times(4, &[450.0], -15.0, &cadence))), [Heard::Busy], "{cadence:?}");
    }
}

#[test]
fn tones_in_noise() {
    for seed in 0..10 {
        // 10 and 5 dB below the tone.
        for noise in [-25.0, -20.0] {
            let busy = hear(cn(), noise, seed, &times(5, &[450.0], -15.0, &[350, 350]));
            assert_eq!(kinds(busy), [Heard::Busy], "noise of {noise} dBm0");
            let rings = hear(us(), noise, seed, &times(2, &[440.0, 480.0], -15.0, &[2_000, 4_000]));
            assert_eq!(kinds(rings), [Heard::Ringback], "noise of {noise} dBm0");
        }
    }
}

#[test]
fn what_it_is_not() {
    // Half of a cadence, another cadence, another frequency, noise.
    assert_eq!(hear(cn(), QUIET, 1, &[(&[450.0], -15.0, 350), (&[], 0.0, 3_000)]), []);
    assert_eq!(hear(cn(), QUIET, 1, &times(6, &[450.0], -15.0, &[500, 180])), []);
    assert_eq!(hear(cn(), QUIET, 1, &times(6, &[600.0], -15.0, &[350, 350])), []);
    assert_eq!(hear(cn(), -15.0, 1, &[(&[], 0.0, 20_000)]), []);
    assert_eq!(hear(cn(), QUIET, 1, &[(&[450.0], -15.0, 9_000)]), [], "a dial tone");
}

#[test]
fn one_follows_the_other_and_silence_is_told_once() {
    let parts: Vec<_> = times(2, &[450.0], -15.0, &[1_000, 4_000])
        .into_iter()
        .chain(times(6, &[450.0], -15.0, &[350, 350]))
        .chain([(&[][..], 0.0, 25_000)])
        .collect();
    let told = hear(cn(), QUIET, 4, &parts);
    assert_eq!(kinds(told.clone()), [Heard::Ringback, Heard::Busy, Heard::Silence]);
    assert!((9_900..=10_100).contains(&told[1].1), "busy after two rings: {told:?}");
}

#[test]
fn a_lost_packet_in_a_tone_is_no_pause() {
    let parts: Vec<Part<'_>> = std::iter::repeat_n(
        [(&[450.0][..], -15.0, 160), (&[][..], 0.0, 20), (&[450.0][..], -15.0, 170), (&[][..], 0.0, 350)],
        4,
    )
    .flatten()
    .collect();
    assert_eq!(kinds(hear(cn(), QUIET, 1, &parts)), [Heard::Busy]);
}

#[test]
fn special_information_tones() {
    let (short, long) = (274, 380);
    let heard = |one: (f32, u32), two: (f32, u32), three: (f32, u32), noise: f32, seed: u64| {
        let parts: [Part<'_>; 4] =
            [(&[one.0], -15.0, one.1), (&[two.0], -15.0, two.1), (&[three.0], -15.0, three.1), (&[], 0.0, 1_000)];
        kinds(hear(cn(), noise, seed, &parts))
    };
    for seed in 0..10 {
        for noise in [QUIET, -25.0] {
            let third = (1_776.7, long);
            for (special, one, two) in [
                (Special::Intercept, (913.8, short), (1_370.6, short)),
                (Special::Vacant, (985.2, long), (1_370.6, short)),
                (Special::Reorder, (913.8, short), (1_428.5, long)),
                (Special::Reorder, (985.2, short), (1_370.6, long)),
                (Special::NoCircuit, (985.2, long), (1_428.5, long)),
                (Special::NoCircuit, (913.8, long), (1_428.5, short)),
            ] {
                assert_eq!(
                    heard(one, two, third, noise, seed),
                    [Heard::Special(special)],
                    "{one:?} {two:?}, noise {noise}"
                );
            }
            let plain = heard((950.0, 330), (1_400.0, 330), (1_800.0, 330), noise, seed);
            assert_eq!(plain, [Heard::Special(Special::Plain)]);
        }
        assert_eq!(heard((950.0, 330), (1_800.0, 330), (1_400.0, 330), QUIET, seed), []);
        assert_eq!(heard((950.0, 100), (1_400.0, 330), (1_800.0, 330), QUIET, seed), []);
    }
}

#[test]
fn speech_is_no_progress() {
    for country in [cn(), us(), uk()] {
        let mut progress = Progress::new(country);
        for name in [
            "human-password",
            "human-nobody-available",
            "human-not-understood",
            "caller-when",
            "caller-stop",
            "greeting",
        ] {
            let path = format!("{}/test-audio/{name}.wav", env!("CARGO_MANIFEST_DIR"));
            let speech: Vec<i16> = hound::WavReader::open(path).unwrap().into_samples().map(Result::unwrap).collect();
            for frame in speech.chunks_exact(FRAME) {
                assert_eq!(progress.push(frame.try_into().unwrap()), None, "{name}");
            }
        }
    }
}
