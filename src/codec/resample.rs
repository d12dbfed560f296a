//! Sample rates, and the way from one to another.
//!
//! [`Resampler`] serves the speech services, whose audio comes at 8, 16, 22.05, 24, 44.1 or 48 kHz and in pieces of any
//! length: `rubato`'s FFT resampler behind a queue, its delay cut from the beginning, so that what comes out lines up with what
//! went in to half a sample, and is as long to the sample. It may allocate and does not belong on a media thread.

use std::fmt;

use super::coding::Band;
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _};

/// A sample rate that a speech service may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleRate(u32);

impl SampleRate {
    /// The telephone line's.
    pub const HZ_8000: SampleRate = SampleRate(8_000);
    /// What recognisers like.
    pub const HZ_16000: SampleRate = SampleRate(16_000);
    /// Formant synthesisers.
    pub const HZ_22050: SampleRate = SampleRate(22_050);
    /// Neural synthesisers.
    pub const HZ_24000: SampleRate = SampleRate(24_000);
    /// Files from the recording studio's CD.
    pub const HZ_44100: SampleRate = SampleRate(44_100);
    /// Opus, and files from the recording studio.
    pub const HZ_48000: SampleRate = SampleRate(48_000);

    /// The rate of so many samples a second, if it is one of the above.
    pub const fn from_hz(hz: u32) -> Option<SampleRate> {
        match hz {
            8_000 | 16_000 | 22_050 | 24_000 | 44_100 | 48_000 => Some(SampleRate(hz)),
            _ => None,
        }
    }

    /// That of a line's samples.
    pub const fn of(band: Band) -> SampleRate {
        match band {
            Band::Narrow => SampleRate::HZ_8000,
            Band::Wide => SampleRate::HZ_16000,
        }
    }

    /// Samples a second.
    pub const fn hz(self) -> u32 {
        self.0
    }
}

impl fmt::Display for SampleRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Hz", self.0)
    }
}

/// Why a stream could not be resampled: a defect of the library or of us, never of the audio. The stream is to be given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResampleError(String);

impl fmt::Display for ResampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot resample: {}", self.0)
    }
}

impl std::error::Error for ResampleError {}

fn failed(error: impl fmt::Display) -> ResampleError {
    ResampleError(error.to_string())
}

/// Converts one stream of 16-bit audio between two rates.
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    engine: Option<Engine>,
    /// Samples that have come, and that have been given.
    taken: u64,
    given: u64,
}

struct Engine {
    fft: Fft<f32>,
    queue: Vec<f32>,
    block: Vec<f32>,
    /// Output samples of the filter's delay still to be cut.
    to_cut: usize,
}

impl fmt::Debug for Resampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resampler({} to {}, {} samples in, {} out)", self.from, self.to, self.taken, self.given)
    }
}

impl Resampler {
    /// A resampler; equal rates pass through.
    ///
    /// # Errors
    /// None for the rates that [`SampleRate`] allows, as far as is known.
    pub fn new(from: SampleRate, to: SampleRate) -> Result<Resampler, ResampleError> {
        let engine = if from == to { None } else { Some(Engine::new(from, to)?) };
        Ok(Resampler { from, to, engine, taken: 0, given: 0 })
    }

    /// Takes a piece of any length and appends what can be told of the output to `out`: all but the last 30 ms or so.
    ///
    /// # Errors
    /// See [`ResampleError`].
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) -> Result<(), ResampleError> {
        self.taken += samples.len() as u64;
        let before = out.len();
        match &mut self.engine {
            None => out.extend_from_slice(samples),
            Some(engine) => engine.push(samples, out)?,
        }
        self.given += (out.len() - before) as u64;
        Ok(())
    }

    /// Ends the stream: appends the rest to `out`, so that output and input last equally long (rounded up to a sample), and
    /// makes ready for another stream.
    ///
    /// # Errors
    /// See [`ResampleError`].
    pub fn flush(&mut self, out: &mut Vec<i16>) -> Result<(), ResampleError> {
        let due = (self.taken * u64::from(self.to.0)).div_ceil(u64::from(self.from.0));
        let missing = usize::try_from(due.saturating_sub(self.given)).unwrap_or(0);
        if let Some(engine) = &mut self.engine {
            let end = out.len() + missing;
            while out.len() < end {
                let silence = vec![0; engine.fft.input_frames_next()];
                engine.push(&silence, out)?;
            }
            out.truncate(end);
            engine.reset();
        }
        (self.taken, self.given) = (0, 0);
        Ok(())
    }
}

impl Engine {
    fn new(from: SampleRate, to: SampleRate) -> Result<Engine, ResampleError> {
        // Blocks of 20 ms are whole numbers of samples at each of our rates.
        let block = from.0 as usize / 50;
        let fft = Fft::new(from.0 as usize, to.0 as usize, block, 1, FixedSync::Both).map_err(failed)?;
        let to_cut = fft.output_delay();
        let block = vec![0.0; fft.output_frames_max()];
        Ok(Engine { queue: Vec::with_capacity(2 * fft.input_frames_max()), fft, block, to_cut })
    }

    fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) -> Result<(), ResampleError> {
        self.queue.extend(samples.iter().map(|sample| f32::from(*sample)));
        let mut read = 0;
        while self.queue.len() - read >= self.fft.input_frames_next() {
            let waiting = &self.queue[read..];
            let frames = self.block.len();
            let input = InterleavedSlice::new(waiting, 1, waiting.len()).map_err(failed)?;
            let mut output = InterleavedSlice::new_mut(&mut self.block, 1, frames).map_err(failed)?;
            let (used, made) = self.fft.process_into_buffer(&input, &mut output, None).map_err(failed)?;
            read += used;
            let cut = self.to_cut.min(made);
            self.to_cut -= cut;
            // A float beyond the range of i16 is cast to its edge.
            out.extend(self.block[cut..made].iter().map(|sample| sample.round() as i16));
        }
        self.queue.drain(..read);
        Ok(())
    }

    fn reset(&mut self) {
        self.fft.reset();
        self.queue.clear();
        self.to_cut = self.fft.output_delay();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATES: [SampleRate; 6] = [
        SampleRate::HZ_8000,
        SampleRate::HZ_16000,
        SampleRate::HZ_22050,
        SampleRate::HZ_24000,
        SampleRate::HZ_44100,
        SampleRate::HZ_48000,
    ];

    fn tone(hz: f64, rate: u32, samples: usize) -> Vec<i16> {
        shifted_tone(hz, rate, samples, 0.0)
    }

    fn shifted_tone(hz: f64, rate: u32, samples: usize, shift: f64) -> Vec<i16> {
        (0..samples)
            .map(|n| (10_000.0 * (std::f64::consts::TAU * hz * (n as f64 + shift) / f64::from(rate)).sin()) as i16)
            .collect()
    }

    fn difference_db(a: &[i16], b: &[i16]) -> f64 {
        let error: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
        let energy: f64 = b.iter().map(|b| f64::from(*b).powi(2)).sum();
        10.0 * (error / energy).log10()
    }

    #[test]
    fn every_pair_of_rates_keeps_a_tone_in_place_and_length() {
        for from in RATES {
            for to in RATES {
                for hz in [300.0, 1000.0, 3000.0] {
                    let input = tone(hz, from.hz(), from.hz() as usize / 2);
                    let mut resampler = Resampler::new(from, to).unwrap();
                    let mut out = Vec::new();
                    for piece in input.chunks(333) {
                        resampler.push(piece, &mut out).unwrap();
                    }
                    resampler.flush(&mut out).unwrap();
                    assert_eq!(out.len(), to.hz() as usize / 2, "{from} to {to}");
                    let inside = out.len() / 10..out.len() * 9 / 10;
                    // An odd block's delay is half a sample of either rate, which cannot be cut.
                    let half = 0.5 * f64::from(to.hz()) / f64::from(from.hz());
                    let error = [-0.5, 0.0, 0.5, -half, half].map(|shift| {
                        let truth = shifted_tone(hz, to.hz(), out.len(), shift);
                        difference_db(&out[inside.clone()], &truth[inside.clone()])
                    });
                    let error = error.into_iter().fold(0.0, f64::min);
                    assert!(error < -40.0, "{from} to {to}, {hz} Hz: {error:.1} dB");
                }
            }
        }
    }

    #[test]
    fn what_8_khz_cannot_hold_is_gone() {
        for from in RATES.into_iter().filter(|from| *from > SampleRate::HZ_8000) {
            for hz in [4_600.0, 5_000.0, 7_000.0] {
                let mut out = Vec::new();
                let mut resampler = Resampler::new(from, SampleRate::HZ_8000).unwrap();
                resampler.push(&tone(hz, from.hz(), from.hz() as usize), &mut out).unwrap();
                let loudest = out[800..].iter().map(|sample| sample.unsigned_abs()).max().unwrap();
                assert!(loudest < 50, "{from}, {hz} Hz: {loudest} of 10000");
            }
        }
    }

    #[test]
    fn a_flushed_resampler_is_as_new() {
        let mut resampler = Resampler::new(SampleRate::HZ_24000, SampleRate::HZ_8000).unwrap();
        let input = tone(700.0, 24_000, 5000);
        let mut streams = [Vec::new(), Vec::new()];
        for out in &mut streams {
            resampler.push(&input, out).unwrap();
            resampler.flush(out).unwrap();
        }
        assert_eq!(streams[0].len(), 1667);
        assert_eq!(streams[0], streams[1]);
        let mut nothing = Vec::new();
        resampler.flush(&mut nothing).unwrap();
        assert!(nothing.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn pieces_do_not_matter(from in 0usize..6, to in 0usize..6, cuts in proptest::collection::vec(0usize..900, 1..12)) {
            let total: usize = cuts.iter().sum();
            let input: Vec<i16> = (0..total).map(|n| (n * 7919) as i16).collect();
            let mut resampler = Resampler::new(RATES[from], RATES[to]).unwrap();
            let (mut whole, mut pieces) = (Vec::new(), Vec::new());
            resampler.push(&input, &mut whole).unwrap();
            resampler.flush(&mut whole).unwrap();
            let mut at = 0;
            for cut in cuts {
                resampler.push(&input[at..at + cut], &mut pieces).unwrap();
                at += cut;
            }
            resampler.flush(&mut pieces).unwrap();
            prop_assert_eq!(whole.len() as u64, (total as u64 * u64::from(RATES[to].hz())).div_ceil(u64::from(RATES[from].hz())));
            prop_assert_eq!(whole, pieces);
        }
    }
}
