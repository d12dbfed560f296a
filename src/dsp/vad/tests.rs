use std::path::Path;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::dsp::level::dbfs;

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

/// Human prompts at 8 kHz, a second of silence before and after each.
fn prompts(gain_db: f32) -> Vec<Vec<[i16; FRAME]>> {
    let gain = 10f32.powf(gain_db / 20.0);
    let mut files: Vec<_> = ["/usr/share/asterisk/sounds/en", "/usr/share/asterisk/sounds/en/digits"]
        .iter()
        .filter_map(|folder| std::fs::read_dir(Path::new(folder)).ok())
        .flat_map(|folder| folder.flatten().map(|file| file.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "wav"))
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let mut samples = vec![0; 8000];
        samples.extend(
            hound::WavReader::open(path).ok()?.samples::<i16>().flatten().map(|s| (f32::from(s) * gain) as i16),
        );
        samples.extend([0; 8000]);
        Some(samples.as_chunks::<FRAME>().0.to_vec())
    };
    files.iter().filter_map(read).collect()
}

/// `cargo test --release measure_ -- --ignored --nocapture` with the Debian package asterisk-core-sounds-en-wav installed.
#[test]
#[ignore = "a measurement, of files that only a Debian package has"]
fn measure_both_stages() {
    for (what, gain, noise_db) in [
        ("as recorded", 0.0, None),
        ("20 dB softer", -20.0, None),
        ("in noise of -45 dBFS", 0.0, Some(-45.0)),
        ("20 dB softer in noise of -55 dBFS", -20.0, Some(-55.0)),
    ] {
        let clips = prompts(gain);
        assert!(!clips.is_empty(), "the package is missing");
        let [mut speech, mut gated, mut voiced, mut quiet, mut quiet_gated, mut quiet_voiced] = [0u32; 6];
        let (mut onsets, mut ends, mut spent, mut frames) = (Vec::new(), Vec::new(), 0, 0);
        for clip in &clips {
            let mut vad = Vad::default();
            let hiss = noise_db.map(|db| noise(db, clip.len(), 7));
            let loudest = clip.iter().map(|frame| dbfs(frame)).fold(-100.0, f32::max);
            let is_speech = |n: usize| dbfs(&clip[n]) > loudest - 25.0;
            let (mut first, mut last) = (None, 0);
            for (n, frame) in clip.iter().enumerate() {
                let mut frame = *frame;
                if let Some(hiss) = &hiss {
                    crate::dsp::level::mix(&mut frame, &hiss[n], crate::dsp::level::Gain::UNITY);
                }
                let start = Instant::now();
                let verdict = vad.push(&frame);
                spent += start.elapsed().as_nanos();
                frames += 1;
                if is_speech(n) {
                    speech += 1;
                    gated += u32::from(verdict.gate);
                    voiced += u32::from(verdict.voiced);
                } else if n < 45 || n + 25 > clip.len() {
                    quiet += 1;
                    quiet_gated += u32::from(verdict.gate);
                    quiet_voiced += u32::from(verdict.voiced);
                }
                if verdict.voiced {
                    first = first.or(Some(n));
                    last = n;
                }
            }
            let (begin, end) = ((0..clip.len()).find(|n| is_speech(*n)), (0..clip.len()).rfind(|n| is_speech(*n)));
            if let (Some(first), Some(begin), Some(end)) = (first, begin, end) {
                onsets.push(first as i64 * 20 - begin as i64 * 20);
                ends.push(last as i64 * 20 - end as i64 * 20);
            }
        }
        onsets.sort_unstable();
        ends.sort_unstable();
        let part = |of: u32, all: u32| f64::from(of) * 100.0 / f64::from(all.max(1));
        let spread = |times: &[i64]| [times[times.len() / 10], times[times.len() / 2], times[times.len() * 9 / 10]];
        println!(
            "{what}: {} clips, {speech} speech frames: gate {:.2} %, voiced {:.2} %; {quiet} others: gate {:.2} %, voiced {:.2} %; \
             onset {:?} ms, end {:?} ms (p10, p50, p90) of {} clips; {} ns a frame",
            clips.len(),
            part(gated, speech),
            part(voiced, speech),
            part(quiet_gated, quiet),
            part(quiet_voiced, quiet),
            spread(&onsets),
            spread(&ends),
            onsets.len(),
            spent / frames
        );
    }
    for db in [-60.0, -50.0, -40.0, -35.0, -30.0, -25.0, -20.0] {
        let mut vad = Vad::default();
        let frames = noise(db, 15_000, 3);
        let start = Instant::now();
        let verdicts: Vec<_> = frames.iter().map(|frame| vad.push(frame)).collect();
        let spent = start.elapsed().as_nanos() / frames.len() as u128;
        let count = |of: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| of(verdict)).count() as f64 / 150.0;
        println!(
            "noise of {db} dBFS: gate {:.2} %, voiced {:.2} %, {spent} ns a frame",
            count(|v| v.gate),
            count(|v| v.voiced)
        );
    }
}
