//! How late the sound is, and how like the speech: two measures that look at nothing but samples.
//!
//! The delay is found by cross-correlation, patch by patch, so that buffers and time-scaling inside a receiver are in it whoever it is.
//! The distance is that of loudness in Bark bands, after each patch has been put where it fits; it needs nothing but this program. PESQ
//! (ITU-T P.862) is asked of a script, if its package is installed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::receivers::Heard;
use crate::trace::Trace;

/// A patch of the reference: 64 ms.
const PATCH: usize = 512;
const HOP: usize = 256;
/// It is looked for in so much of what was heard: 512 ms.
const SEARCH: usize = 4096;
/// So much of it lies before the moment on the wire.
const BEFORE: usize = 160;
/// A patch that is less like than this has no delay.
const LIKE: f32 = 0.85;
/// Patches softer than the loudest by this are no speech, in dB.
const SOFT: f32 = 40.0;
/// Edges of the Bark bands that a telephone has, in Hz.
const BANDS: [f32; 16] = [
    200.0, 300.0, 400.0, 510.0, 630.0, 770.0, 920.0, 1080.0, 1270.0, 1480.0, 1720.0, 2000.0, 2320.0, 2700.0, 3150.0,
    3700.0,
];
/// Spectra are of 32 ms, each 16 ms.
const SPECTRUM: usize = 256;

/// The judgement.
pub struct Judged {
    /// Mean over the speech: from the moment on the wire to the one when it was heard.
    pub delay_ms: f64,
    /// Mean distance of loudness over bands and time, in dB; each at most 20.
    pub distance: f64,
}

/// Judges what was heard of the speech.
pub fn judge(speech: &[i16], trace: &Trace, heard: &Heard) -> Judged {
    let float = |samples: &[i16]| samples.iter().map(|sample| f32::from(*sample)).collect::<Vec<f32>>();
    let (speech, mut heard) = (float(speech), float(&heard.samples));
    heard.resize(heard.len() + SEARCH + PATCH, 0.0);
    let patches: Vec<usize> = (0..speech.len() - PATCH).step_by(HOP).collect();
    let level = |at: usize| 10.0 * energy(&speech[at..at + PATCH]).max(1.0).log10();
    let loudest = patches.iter().map(|at| level(*at)).fold(0.0, f32::max);
    let patches: Vec<usize> = patches.into_iter().filter(|at| level(*at) > loudest - SOFT).collect();
    let mut correlator = Correlator::new();
    // Where each begins in what was heard, if that is sure.
    let found: Vec<Option<usize>> = patches
        .iter()
        .map(|at| {
            let wire = (trace.wire_ms(*at as f64) * 8.0) as usize;
            let from = wire.saturating_sub(BEFORE);
            let (place, like) =
                correlator.find(&speech[*at..at + PATCH], &heard[from.min(heard.len() - SEARCH)..][..SEARCH]);
            (like > LIKE).then_some(from + place)
        })
        .collect();
    let delays: Vec<f64> = patches
        .iter()
        .zip(&found)
        .filter_map(|(at, found)| found.map(|found| found as f64 / 8.0 - trace.wire_ms(*at as f64)))
        .collect();
    let mut spectra = Spectra::new();
    let mut distance = 0.0;
    for (n, at) in patches.iter().enumerate() {
        // A patch that was not found lies where its neighbours do, or between them.
        let near = |found: Option<(usize, usize)>| found.map(|(there, place)| (place + at).saturating_sub(there));
        let before = near((0..=n).rev().find_map(|m| found[m].map(|place| (patches[m], place))));
        let after = near((n..patches.len()).find_map(|m| found[m].map(|place| (patches[m], place))));
        let mut places: Vec<usize> = before.into_iter().chain(after).collect();
        if let (Some(before), Some(after)) = (before, after) {
            places.extend((before.min(after)..before.max(after)).step_by(40));
        }
        let own = spectra.of(&speech[*at..at + PATCH]);
        let best = places
            .iter()
            .filter(|place| **place + PATCH <= heard.len())
            .map(|place| spectra.distance(&own, &heard[*place..place + PATCH]))
            .fold(20.0, f32::min);
        distance += f64::from(best);
    }
    Judged {
        delay_ms: delays.iter().sum::<f64>() / delays.len().max(1) as f64,
        distance: distance / patches.len().max(1) as f64,
    }
}

fn energy(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum()
}

/// Finds a patch by normalised cross-correlation.
struct Correlator {
    forward: Arc<dyn RealToComplex<f32>>,
    back: Arc<dyn ComplexToReal<f32>>,
}

impl Correlator {
    fn new() -> Correlator {
        let mut planner = RealFftPlanner::new();
        Correlator { forward: planner.plan_fft_forward(SEARCH), back: planner.plan_fft_inverse(SEARCH) }
    }

    /// Where in `within` the patch fits best, and how well.
    fn find(&mut self, patch: &[f32], within: &[f32]) -> (usize, f32) {
        let transform = |samples: &[f32]| {
            let mut input = samples.to_vec();
            input.resize(SEARCH, 0.0);
            let mut output = self.forward.make_output_vec();
            self.forward.process(&mut input, &mut output).expect("lengths of its own");
            output
        };
        let mut product: Vec<Complex<f32>> =
            transform(within).iter().zip(transform(patch)).map(|(within, patch)| within * patch.conj()).collect();
        let last = product.len() - 1;
        (product[0].im, product[last].im) = (0.0, 0.0);
        let mut correlation = self.back.make_output_vec();
        self.back.process(&mut product, &mut correlation).expect("lengths of its own");
        let own = energy(patch);
        let mut there = energy(&within[..PATCH]);
        let mut best = (0, 0.0);
        for place in 0..SEARCH - PATCH {
            let like = correlation[place] / SEARCH as f32 / (own * there.max(1.0)).sqrt();
            if like > best.1 {
                best = (place, like);
            }
            there += within[place + PATCH] * within[place + PATCH] - within[place] * within[place];
        }
        best
    }
}

type Loudness = Vec<[f32; BANDS.len() - 1]>;

/// Loudness in Bark bands over time.
struct Spectra {
    forward: Arc<dyn RealToComplex<f32>>,
}

impl Spectra {
    fn new() -> Spectra {
        Spectra { forward: RealFftPlanner::new().plan_fft_forward(SPECTRUM) }
    }

    fn of(&mut self, patch: &[f32]) -> Loudness {
        (0..=PATCH - SPECTRUM).step_by(SPECTRUM / 2).map(|at| self.one(&patch[at..at + SPECTRUM])).collect()
    }

    fn one(&mut self, samples: &[f32]) -> [f32; BANDS.len() - 1] {
        let window = |n: usize| 0.5 - 0.5 * (n as f32 * std::f32::consts::TAU / SPECTRUM as f32).cos();
        let mut input: Vec<f32> = samples.iter().enumerate().map(|(n, sample)| sample * window(n)).collect();
        let mut output = self.forward.make_output_vec();
        self.forward.process(&mut input, &mut output).expect("lengths of its own");
        let bin = |hz: f32| (hz * SPECTRUM as f32 / 8_000.0).round() as usize;
        std::array::from_fn(|band| {
            let (from, to) = (bin(BANDS[band]), bin(BANDS[band + 1]).max(bin(BANDS[band]) + 1));
            let power: f32 = output[from..to].iter().map(|value| value.norm_sqr()).sum();
            // What is softer than a line's noise is not heard.
            10.0 * (power / (to - from) as f32).max(1e6).log10()
        })
    }

    fn distance(&mut self, own: &Loudness, heard: &[f32]) -> f32 {
        let other = self.of(heard);
        let one =
            |a: &[f32; 15], b: &[f32; 15]| a.iter().zip(b).map(|(a, b)| (a - b).abs().min(20.0)).sum::<f32>() / 15.0;
        own.iter().zip(&other).map(|(own, other)| one(own, other)).sum::<f32>() / own.len() as f32
    }
}

/// PESQ of files with their mean delay; `None` where its package is not installed.
pub fn pesq(reference: &Path, files: &[(PathBuf, f64)]) -> Option<Vec<f64>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/jitter_quality/score.py");
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let mut child = Command::new(python)
        .arg(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| println!("without PESQ: python3: {error}"))
        .ok()?;
    let mut asked = String::new();
    for (file, delay_ms) in files {
        asked += &format!("{}\t{}\t{delay_ms}\n", reference.display(), file.display());
    }
    // A script that has ended says why below.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(asked.as_bytes()));
    let output = child.wait_with_output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let scores: Vec<f64> = said.lines().filter_map(|line| line.parse().ok()).collect();
    if scores.len() != files.len() {
        let error = String::from_utf8_lossy(&output.stderr);
        println!(
            "without PESQ: {} ({} tells how to install it)",
            error.trim().lines().last().unwrap_or("?"),
            script.display()
        );
        return None;
    }
    Some(scores)
}
