//! Silence, noise and something like a voice; how right the detector is on human speech, `benches/vad_accuracy.rs` counts.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// Noise of a level in dBFS, uniformly distributed.
fn noise(db: f32, frames: usize, seed: u64) -> Vec<[i16; FRAME]> {
    let mut rng = StdRng::seed_from_u64(seed);
    let peak = (32_768.0 * 10f32.powf(db / 20.0) * 3f32.sqrt()) as i16;
    (0..frames).map(|_| std::array::from_fn(|_| rng.random_range(-peak..=peak))).collect()
}

/// Something like a voice: a 120 Hz pulse train through two formants, four syllables a second.
fn babble(frames: usize) -> Vec<[i16; FRAME]> {
    let (mut y1, mut y2, mut z1, mut z2) = (0.0f32, 0.0f32, 0.0f32, 0.0f32);
    let mut sample = 0u32;
    let mut next = || {
        let time = sample as f32 / 8000.0;
        let pitch = 66 + (6.0 * (time * 9.0).sin()) as u32;
        let pulse = if sample.is_multiple_of(pitch) { 6000.0 } else { 0.0 };
        sample += 1;
        let formant = |hz: f32| 2.0 * 0.97 * (std::f32::consts::TAU * hz / 8000.0).cos();
        let y = pulse + formant(600.0 + 150.0 * (time * 25.0).sin()) * y1 - 0.9409 * y2;
        (y2, y1) = (y1, y);
        let z = y * 0.1 + formant(1700.0 + 400.0 * (time * 25.0).cos()) * z1 - 0.9409 * z2;
        (z2, z1) = (z1, z);
        let syllable = (time * 25.0).sin().max(0.0);
        (z * syllable).clamp(-20_000.0, 20_000.0) as i16
    };
    (0..frames).map(|_| std::array::from_fn(|_| next())).collect()
}

#[test]
fn silence_and_noise_are_not_voice() {
    let mut vad = Vad::default();
    for frame in [[0; FRAME]; 100] {
        assert_eq!(vad.push(&frame), Verdict { voiced: false, gate: false, score: 0.0 });
    }
    let voiced = noise(-30.0, 1500, 1).iter().filter(|frame| vad.push(frame).voiced).count();
    assert!(voiced < 15, "{voiced} of 1500 frames of noise");
}

#[test]
fn syllables_are_voice_and_the_gate_stays_open_between_them() {
    let mut vad = Vad::default();
    let verdicts: Vec<_> = babble(300).iter().map(|frame| vad.push(frame)).collect();
    let voiced = verdicts.iter().filter(|verdict| verdict.voiced).count();
    assert!(voiced > 100, "{voiced} of 300");
    let opened = verdicts.iter().position(|verdict| verdict.gate).unwrap();
    assert!(opened < 5 && verdicts[opened..].iter().all(|verdict| verdict.gate));
    assert!(verdicts.iter().all(|verdict| (0.0..=1.0).contains(&verdict.score)));
    let after: Vec<_> = (0..30).map(|_| vad.push(&[0; FRAME])).collect();
    assert!(after[10].gate && !after[29].gate, "the hang-over ends");
    assert!(!after[20].voiced);
}

#[test]
fn a_judge_that_wakes_agrees_with_one_that_never_slept() {
    let frames = [vec![[0; FRAME]; 50], babble(100)].concat();
    let (mut sleepy, mut awake) = (Vad::default(), Vad::default());
    let (mut first, mut voiced) = ([None; 2], [0u32; 2]);
    for (n, frame) in frames.iter().enumerate() {
        awake.open_for = awake.open_for.max(2);
        for (who, verdict) in [sleepy.push(frame), awake.push(frame)].iter().enumerate() {
            if verdict.voiced {
                first[who] = first[who].or(Some(n));
                voiced[who] += 1;
            }
        }
    }
    let [Some(sleepy_first), Some(awake_first)] = first else { panic!("{first:?}") };
    assert!(sleepy_first <= awake_first + 1, "the sleeper is late: frame {sleepy_first} instead of {awake_first}");
    assert!(voiced[0] + 20 > voiced[1], "{voiced:?}");
}
