//! Sounds that can be told from anything else: tones in WAV files, and what of them is in what somebody has heard.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

/// Samples a second, and the samples of each channel.
#[derive(Debug, Default, Clone)]
pub struct Wav {
    pub rate: u32,
    pub channels: Vec<Vec<i16>>,
}

impl Wav {
    /// Tones together, alike in every channel.
    pub fn tones(rate: u32, channels: usize, seconds: u32, pitches: &[f64]) -> Wav {
        let amplitude = 12_000.0 / pitches.len() as f64;
        let at = |n: u32| {
            let time = f64::from(n) / f64::from(rate);
            (amplitude * pitches.iter().map(|hz| (TAU * hz * time).sin()).sum::<f64>()) as i16
        };
        let samples: Vec<i16> = (0..rate * seconds).map(at).collect();
        Wav { rate, channels: vec![samples; channels] }
    }

    /// One channel of samples that are there.
    pub fn of(rate: u32, samples: Vec<i16>) -> Wav {
        Wav { rate, channels: vec![samples] }
    }

    /// Writes 16-bit PCM.
    pub fn write(&self, path: &Path) {
        let (length, channels) = (self.channels[0].len(), self.channels.len() as u16);
        let size = length as u32 * u32::from(channels) * 2;
        let mut file = Vec::with_capacity(44 + size as usize);
        file.extend(b"RIFF");
        file.extend((36 + size).to_le_bytes());
        file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
        file.extend(channels.to_le_bytes());
        file.extend(self.rate.to_le_bytes());
        file.extend((self.rate * u32::from(channels) * 2).to_le_bytes());
        file.extend((channels * 2).to_le_bytes());
        file.extend(b"\x10\0data");
        file.extend(size.to_le_bytes());
        for n in 0..length {
            self.channels.iter().for_each(|channel| file.extend(channel[n].to_le_bytes()));
        }
        fs::write(path, file).expect("it is written");
    }

    /// Reads 16-bit PCM. Lengths in the headers are not looked at: a phone may still write the file, or have been killed.
    pub fn read(path: &Path) -> Option<Wav> {
        let bytes = fs::read(path).ok()?;
        let find = |name: &[u8]| bytes.windows(4).position(|four| four == name).map(|at| at + 8);
        let (format, data) = (find(b"fmt ")?, find(b"data")?);
        let word = |at: usize| bytes.get(at..at + 2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        let channels = usize::from(word(format + 2)?);
        let rate = u32::from(word(format + 4)?) | u32::from(word(format + 6)?) << 16;
        assert_eq!(word(format + 14)?, 16, "{}", path.display());
        let samples: Vec<i16> =
            bytes.get(data..)?.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
        let channel = |n: usize| samples.iter().skip(n).step_by(channels).copied().collect();
        Some(Wav { rate, channels: (0..channels).map(channel).collect() })
    }

    /// How many tenths of a second of the n-th channel are a tone: so much of their energy is at this pitch.
    pub fn tenths(&self, channel: usize, hz: f64, share: f64) -> usize {
        let Some(samples) = self.channels.get(channel) else { return 0 };
        let window = self.rate as usize / 10;
        samples.chunks_exact(window).filter(|part| loud(part) && at_pitch(part, self.rate, hz) > share).count()
    }

    /// Whether somebody speaks in the n-th channel. Of 20 ms frames: some are loud, and not nearly all, as noise would be.
    pub fn has_a_voice(&self, channel: usize) -> bool {
        let frames = self.channels[channel].chunks(160);
        let peaks: Vec<u16> = frames.map(|frame| frame.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0)).collect();
        let loud = peaks.iter().filter(|peak| **peak > 2_000).count();
        let deafening = peaks.iter().filter(|peak| **peak > 30_000).count();
        loud > 10 && deafening * 2 < peaks.len()
    }
}

fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample).powi(2)).sum()
}

/// Above -40 dB of full scale.
fn loud(samples: &[i16]) -> bool {
    energy(samples) / samples.len() as f64 > 327.0f64.powi(2)
}

/// The share of the energy that is at a pitch; of one tone by itself, 1.
fn at_pitch(samples: &[i16], rate: u32, hz: f64) -> f64 {
    let step = TAU * hz / f64::from(rate);
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let (sin, cos) = (step * n as f64).sin_cos();
        re += f64::from(*sample) * cos;
        im += f64::from(*sample) * sin;
    }
    2.0 * (re * re + im * im) / samples.len() as f64 / energy(samples)
}
