//! How right the two stages of the voice detector are, and what they cost: the table in the module doc of `dsp::vad`.
//!
//! Not a race against the clock but a count, so it is a plain program: `cargo bench --bench vad_accuracy`. The speech is the human
//! prompts of the Debian package asterisk-core-sounds-en-wav; without it only the noise is measured.

use std::path::Path;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use trunkline::dsp::level::{Gain, dbfs, mix};
use trunkline::dsp::vad::{Vad, Verdict};

/// Samples of a frame: 20 ms at 8 kHz.
const FRAME: usize = 160;

fn main() {
    for (what, gain, noise_db) in [
        ("as recorded", 0.0, None),
        ("20 dB softer", -20.0, None),
        ("in noise of -45 dBFS", 0.0, Some(-45.0)),
        ("20 dB softer in noise of -55 dBFS", -20.0, Some(-55.0)),
    ] {
        let clips = prompts(gain);
        if clips.is_empty() {
            println!("{what}: left out, the Debian package asterisk-core-sounds-en-wav is not installed");
            continue;
        }
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
                    mix(&mut frame, &hiss[n], Gain::UNITY);
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

/// Noise of a level in dBFS, uniformly distributed.
fn noise(db: f32, frames: usize, seed: u64) -> Vec<[i16; FRAME]> {
    let mut rng = StdRng::seed_from_u64(seed);
    let peak = (32_768.0 * 10f32.powf(db / 20.0) * 3f32.sqrt()) as i16;
    (0..frames).map(|_| std::array::from_fn(|_| rng.random_range(-peak..=peak))).collect()
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
