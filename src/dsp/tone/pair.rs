//! One or two sines with soft edges, so that a tone neither clicks nor splatters into other bands when it begins and ends.

use std::f32::consts::TAU;

use super::{RATE, amplitude};

/// Samples of a rise or fall: 3 ms. Q.24 counts a tone from where it is at half.
pub(super) const RAMP: u32 = 24;

/// How loud a tone is so many samples from its nearer edge, 0 to 1.
pub(super) fn rise(edge: u32) -> f32 {
    match edge {
        0..RAMP => 0.5 - 0.5 * (std::f32::consts::PI * (edge + 1) as f32 / (RAMP + 1) as f32).cos(),
        _ => 1.0,
    }
}

/// A tone under way.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Of each: radians a sample, phase, amplitude.
    sines: [(f32, f32, f32); 2],
    length: u32,
    done: u32,
}

impl Pair {
    /// A tone of one or two frequencies (Hz), each with its level (dBm0), for so many samples.
    pub fn new(sines: [(f32, f32); 2], samples: u32) -> Pair {
        let sine = |(hz, dbm0): (f32, f32)| (TAU * hz / RATE, 0.0, amplitude(dbm0));
        Pair { sines: sines.map(sine), length: samples, done: 0 }
    }

    /// Adds what comes next of it to a stretch of sound; false when it is over.
    pub fn add_to(&mut self, samples: &mut [i16]) -> bool {
        for sample in samples {
            if self.done >= self.length {
                return false;
            }
            let gain = rise(self.done.min(self.length - 1 - self.done));
            let mut sum = 0.0;
            for (step, phase, amplitude) in &mut self.sines {
                sum += *amplitude * phase.sin();
                *phase = (*phase + *step) % TAU;
            }
            *sample = (f32::from(*sample) + gain * sum).round().clamp(-32_768.0, 32_767.0) as i16;
            self.done += 1;
        }
        self.done < self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::level::dbfs;

    #[test]
    fn a_tone_has_its_level_its_length_and_no_clicks() {
        let mut tone = Pair::new([(941.0, -10.0), (1336.0, -8.0)], 800);
        let mut sound = Vec::new();
        loop {
            let mut frame = [0; 160];
            let more = tone.add_to(&mut frame);
            sound.extend(frame);
            if !more {
                break;
            }
        }
        assert_eq!(sound.len(), 800);
        // -10 and -8 dBm0 add up to -5.88 dBm0, and 0 dBm0 is -6.2 dBFS.
        assert!((dbfs(&sound[80..720]) + 12.06).abs() < 0.2, "{}", dbfs(&sound[80..720]));
        assert!(sound[0].abs() < 200 && sound[799].abs() < 200);
        assert!(!Pair::new([(400.0, -10.0), (0.0, -100.0)], 0).add_to(&mut [0; 8]));
    }
}
