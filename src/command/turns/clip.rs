//! Sounds that callers make, with the places where they begin and end.
//!
//! Where a voice begins and ends is told by its energy alone: the first and the last 10 ms that are within 25 dB of its loudest. That is no
//! detector's opinion, and least of all that of the one that is measured.

use std::io::Cursor;
use std::path::Path;
use std::process::{Command, Stdio};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::codec::resample::{Resampler, SampleRate};
use crate::command::harness::Trouble;

/// Samples a ms.
pub(super) const PER_MS: usize = 8;
/// 10 ms.
const WINDOW: usize = 10 * PER_MS;
/// Softer than the loudest by so much, a window is no part of the voice.
const RANGE_DB: f32 = 25.0;

/// A sound of 8 kHz.
#[derive(Debug, Clone)]
pub(super) struct Clip {
    /// Which one: for file names.
    pub(super) name: String,
    /// The words in it, as a recogniser that makes no mistake would write them; empty for a noise.
    pub(super) words: String,
    pub(super) samples: Vec<f32>,
}

impl Clip {
    /// A sound cut to where it can be heard.
    pub(super) fn new(name: impl Into<String>, words: &str, samples: &[f32]) -> Clip {
        let (first, last) = edges(samples);
        Clip { name: name.into(), words: words.to_owned(), samples: samples[first..last].to_vec() }
    }

    /// The same, its level set: RMS of what is within 25 dB of the loudest, in dBFS.
    pub(super) fn at(&self, dbfs: f32) -> Vec<f32> {
        let gain = 10f32.powf((dbfs - active_level(&self.samples)) / 20.0);
        self.samples.iter().map(|sample| sample * gain).collect()
    }
}

/// A recording that is built in.
pub(super) fn built_in(name: &str, words: &str, wav: &[u8]) -> Result<Clip, Trouble> {
    Ok(Clip::new(name, words, &read(Cursor::new(wav)).map_err(|error| Trouble::Audio(format!("{name}: {error}")))?))
}

/// A recording of the user's.
pub(super) fn recorded(path: &Path) -> Result<Clip, Trouble> {
    let wrong = |error: String| Trouble::File(path.to_owned(), error);
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Clip::new(name, "", &read(std::io::BufReader::new(file)).map_err(wrong)?))
}

/// A sentence by espeak-ng, high-passed as on a line.
pub(super) fn spoken(voice: &str, words_per_minute: u32, words: &str) -> Result<Clip, Trouble> {
    let wrong = |what: String| Trouble::Audio(format!("espeak-ng, voice {voice}: {what}"));
    let output = Command::new("espeak-ng")
        .args(["-v", voice, "-s", &words_per_minute.to_string(), "--stdout", words])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| wrong(format!("{error}; scripts/setup installs it")))?;
    if !output.status.success() {
        return Err(wrong(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    // A header of 44 bytes that does not know yet how long it will be.
    let (rate, body) = match (output.stdout.get(24..28), output.stdout.get(44..)) {
        (Some(rate), Some(body)) => (u32::from_le_bytes([rate[0], rate[1], rate[2], rate[3]]), body),
        _ => return Err(wrong("no WAV".to_owned())),
    };
    let samples: Vec<i16> = body.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
    let mut samples = at_8k(rate, &samples).map_err(wrong)?;
    high_pass(&mut samples);
    Ok(Clip::new(format!("{voice}-{}", words.split(' ').next().unwrap_or_default()), words, &samples))
}

/// As 16-bit samples; what is too loud stays at full scale.
pub(super) fn to_pcm(samples: &[f32]) -> Vec<i16> {
    samples.iter().map(|sample| (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16).collect()
}

/// Adds white noise of so many dBFS.
pub(super) fn add_noise(samples: &mut [f32], dbfs: f32, rng: &mut StdRng) {
    let peak = 10f32.powf(dbfs / 20.0) * 3f32.sqrt();
    samples.iter_mut().for_each(|sample| *sample += rng.random_range(-peak..peak));
}

/// A generator for one sound: the same at each run.
pub(super) fn seeded(what: u64, which: u64) -> StdRng {
    StdRng::seed_from_u64(what.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ which)
}

/// Where the sound begins and ends, in samples.
pub(super) fn edges(samples: &[f32]) -> (usize, usize) {
    let windows = windows(samples);
    let first = windows.iter().position(Option::is_some).unwrap_or(0);
    let last = windows.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    (first * WINDOW, (last * WINDOW).min(samples.len()))
}

fn active_level(samples: &[f32]) -> f32 {
    let active: Vec<f32> = windows(samples).into_iter().flatten().collect();
    match active.len() {
        0 => -100.0,
        n => 10.0 * (active.iter().sum::<f32>() / n as f32).log10(),
    }
}

/// The power of each window; of those that are no part of the voice none.
fn windows(samples: &[f32]) -> Vec<Option<f32>> {
    let powers: Vec<f32> = samples.chunks(WINDOW).map(power).collect();
    let floor = powers.iter().copied().fold(0.0, f32::max) * 10f32.powf(-RANGE_DB / 10.0);
    powers.into_iter().map(|power| Some(power).filter(|power| *power >= floor && *power > 0.0)).collect()
}

fn power(window: &[f32]) -> f32 {
    window.iter().map(|sample| sample * sample).sum::<f32>() / window.len().max(1) as f32
}

fn read(wav: impl std::io::Read) -> Result<Vec<f32>, String> {
    let reader = hound::WavReader::new(wav).map_err(|error| error.to_string())?;
    let spec = reader.spec();
    if spec.bits_per_sample != 16 || spec.channels != 1 {
        return Err("WAV of 16 bits and one channel is wanted".to_owned());
    }
    let samples: Result<Vec<i16>, _> = reader.into_samples().collect();
    at_8k(spec.sample_rate, &samples.map_err(|error| error.to_string())?)
}

fn at_8k(rate: u32, samples: &[i16]) -> Result<Vec<f32>, String> {
    let from = SampleRate::from_hz(rate).ok_or(format!("{rate} Hz is no rate that can be converted"))?;
    let mut resampler = Resampler::new(from, SampleRate::HZ_8000).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    resampler.push(samples, &mut out).and_then(|()| resampler.flush(&mut out)).map_err(|error| error.to_string())?;
    Ok(out.iter().map(|sample| f32::from(*sample) / 32_768.0).collect())
}

/// No rumble below some 120 Hz.
fn high_pass(samples: &mut [f32]) {
    let (mut before, mut out) = (0.0, 0.0);
    for sample in samples {
        out = 0.91 * (out + *sample - before);
        before = *sample;
        *sample = out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_begins_and_ends_where_it_can_be_heard_and_has_the_level_that_is_asked_for() {
        let mut samples = vec![0.0; 8_000];
        samples[1_600..4_000].iter_mut().enumerate().for_each(|(n, sample)| *sample = (n as f32 * 0.3).sin() * 0.1);
        assert_eq!(edges(&samples), (1_600, 4_000));
        let clip = Clip::new("tone", "", &samples);
        assert_eq!(clip.samples.len(), 2_400);
        assert!((active_level(&clip.at(-30.0)) + 30.0).abs() < 0.01);
        let mut noise = vec![0.0; 8_000];
        add_noise(&mut noise, -30.0, &mut seeded(1, 2));
        assert!((active_level(&noise) + 30.0).abs() < 0.3);
        assert_eq!(edges(&[0.0; 100]), (0, 0));
    }
}
