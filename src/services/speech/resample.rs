//! A change of sample rate for a stream of 16-bit audio, over `rubato`.
//!
//! Sinc interpolation with an anti-alias filter (64 points): espeak's 22,050 Hz has content above 4 kHz that would fold
//! back into a telephone's 8 kHz. The filter's delay is taken out again, so that n samples in give n·to/from samples
//! out, aligned with the input.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Async, FixedAsync, Resampler as _, SincInterpolationParameters, SincInterpolationType, WindowFunction};

/// Why there is no resampler for two rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot go from {from_hz} Hz to {to_hz} Hz: rates are 1 to 192000 Hz")]
pub struct ResampleError {
    /// The rate of the input, in Hz.
    pub from_hz: u32,
    /// The rate wanted, in Hz.
    pub to_hz: u32,
}

/// Turns audio at one rate into audio at another, piece by piece.
pub struct Resampler {
    from_hz: u32,
    to_hz: u32,
    /// None when the two rates are the same.
    sinc: Option<Async<f32>>,
    pending: Vec<f32>,
    scratch: Vec<f32>,
    /// Of the filter's delay: output samples still to be dropped.
    skip: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// A resampler for one stream of mono audio.
    ///
    /// # Errors
    /// [`ResampleError`] for a rate of 0 or above 192 kHz.
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self, ResampleError> {
        let error = ResampleError { from_hz, to_hz };
        let known = 1..=192_000;
        if !known.contains(&from_hz) || !known.contains(&to_hz) {
            return Err(error);
        }
        let sinc = if from_hz == to_hz {
            None
        } else {
            let parameters = SincInterpolationParameters::new(64, WindowFunction::BlackmanHarris2)
                .oversampling_factor(128)
                .interpolation(SincInterpolationType::Quadratic);
            let chunk = (from_hz as usize / 100).max(1);
            let ratio = f64::from(to_hz) / f64::from(from_hz);
            Some(Async::new_sinc(ratio, 1.0, &parameters, chunk, 1, FixedAsync::Input).map_err(|_| error)?)
        };
        let skip = sinc.as_ref().map_or(0, |sinc| sinc.output_delay());
        Ok(Self { from_hz, to_hz, sinc, pending: Vec::new(), scratch: Vec::new(), skip, taken: 0, given: 0 })
    }

    /// Takes samples and appends to `out` what can be said of them so far.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        self.taken += samples.len() as u64;
        if self.sinc.is_none() {
            self.given += samples.len() as u64;
            out.extend_from_slice(samples);
            return;
        }
        self.pending.extend(samples.iter().map(|&sample| f32::from(sample)));
        self.drain(out);
    }

    /// Appends the rest to `out`, and is then ready for another stream.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        let whole = (self.taken * u64::from(self.to_hz)).div_ceil(u64::from(self.from_hz));
        // Silence pushes the tail out of the filter; one second is far more than its delay.
        let most = self.from_hz as usize;
        let mut pushed = 0;
        while self.given < whole && pushed < most {
            let chunk = (self.from_hz as usize / 100).max(1);
            self.pending.resize(self.pending.len() + chunk, 0.0);
            pushed += chunk;
            self.drain(out);
        }
        let surplus = usize::try_from(self.given.saturating_sub(whole)).unwrap_or(usize::MAX);
        out.truncate(out.len().saturating_sub(surplus));
        if let Some(sinc) = &mut self.sinc {
            sinc.reset();
            self.skip = sinc.output_delay();
        }
        self.pending.clear();
        (self.taken, self.given) = (0, 0);
    }

    fn drain(&mut self, out: &mut Vec<i16>) {
        let Some(sinc) = &mut self.sinc else { return };
        let mut used = 0;
        loop {
            let needed = sinc.input_frames_next();
            if self.pending.len() - used < needed {
                break;
            }
            self.scratch.resize(sinc.output_frames_next(), 0.0);
            let room = self.scratch.len();
            let (Ok(input), Ok(mut output)) = (
                SequentialSlice::new(&self.pending[used..used + needed], 1, needed),
                SequentialSlice::new_mut(&mut self.scratch, 1, room),
            ) else {
                break;
            };
            let Ok((read, written)) = sinc.process_into_buffer(&input, &mut output, None) else {
                break;
            };
            used += read;
            let dropped = self.skip.min(written);
            self.skip -= dropped;
            self.given += (written - dropped) as u64;
            // `as` saturates: a peak that the filter has pushed over full scale is clipped, not wrapped.
            out.extend(self.scratch[dropped..written].iter().map(|&sample| sample.round() as i16));
        }
        self.pending.drain(..used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, rate: u32, samples: usize) -> Vec<i16> {
        (0..samples).map(|n| (10_000.0 * (std::f32::consts::TAU * hz * n as f32 / rate as f32).sin()) as i16).collect()
    }

    fn run(from: u32, to: u32, input: &[i16], piece: usize) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to).unwrap();
        let mut out = Vec::new();
        for piece in input.chunks(piece) {
            resampler.push(piece, &mut out);
        }
        resampler.finish(&mut out);
        out
    }

    #[test]
    fn length_follows_the_ratio_and_pieces_do_not_matter() {
        for (from, to) in [(22_050, 8_000), (22_050, 24_000), (8_000, 16_000), (16_000, 48_000), (48_000, 8_000)] {
            let input = tone(400.0, from, from as usize / 2 + 37);
            let whole = run(from, to, &input, input.len());
            let wanted = (input.len() as u64 * u64::from(to)).div_ceil(u64::from(from)) as usize;
            assert_eq!(whole.len(), wanted, "{from} to {to}");
            assert_eq!(whole, run(from, to, &input, 160), "{from} to {to}");
        }
    }

    #[test]
    fn a_tone_keeps_its_place_and_what_would_fold_is_gone() {
        let out = run(22_050, 8_000, &tone(400.0, 22_050, 22_050), 441);
        let want = tone(400.0, 8_000, out.len());
        for n in 400..out.len() - 400 {
            // Half an output sample: the filter's delay is a fraction of one, whole ones are taken out.
            assert!((i32::from(out[n]) - i32::from(want[n])).abs() < 1_600, "{n}: {} {}", out[n], want[n]);
        }
        let folded = run(22_050, 8_000, &tone(6_000.0, 22_050, 22_050), 441);
        let peak = folded[400..folded.len() - 400].iter().map(|sample| i32::from(*sample).abs()).max();
        assert!(peak < Some(60), "{peak:?}");
    }

    #[test]
    fn the_same_rate_is_the_same_audio_and_no_rate_is_an_error() {
        let input = tone(400.0, 8_000, 123);
        assert_eq!(run(8_000, 8_000, &input, 50), input);
        assert_eq!(Resampler::new(0, 8_000).err(), Some(ResampleError { from_hz: 0, to_hz: 8_000 }));
    }
}
