//! From 16 kHz to 8 kHz and back, on the media thread: a half-band filter of 47 taps, of which every second one but the middle is zero.
//!
//! What 8 kHz can hold passes (−0.01 dB at 3.4 kHz), what would fold back onto speech does not (−60 dB from 4.6 kHz on). Either way the sound
//! is 23 samples of 16 kHz late, which is 1.4 ms.

/// A frame of 20 ms at 8 kHz, and at 16 kHz.
const NARROW: usize = 160;
const WIDE: usize = 2 * NARROW;
/// The taps on either side of the middle, from it on: a sinc under a Kaiser window of 60 dB. The middle is ½.
const TAPS: [f32; 12] = [
    0.317_046_3,
    -0.101_972_7,
    0.056_925_2,
    -0.036_426_3,
    0.024_382,
    -0.016_434_4,
    0.010_910_1,
    -0.007_010_1,
    0.004_281_3,
    -0.002_425_5,
    0.001_222_7,
    -0.000_498_6,
];
/// Samples of 16 kHz before a frame that a filter has to know.
const BEFORE: usize = 46;
/// The same of 8 kHz.
const BEFORE_UP: usize = BEFORE / 2;
/// Samples of 16 kHz by which sound is late that went down and up again: half of the filter each way.
pub const THERE_AND_BACK: usize = BEFORE;

/// 16 kHz to 8 kHz.
#[derive(Debug)]
pub struct Down {
    last: [i16; BEFORE],
}

impl Default for Down {
    fn default() -> Down {
        Down { last: [0; BEFORE] }
    }
}

impl Down {
    /// The next frame.
    pub fn frame(&mut self, wide: &[i16; WIDE], narrow: &mut [i16; NARROW]) {
        let mut line = [0.0f32; BEFORE + WIDE];
        for (to, from) in line.iter_mut().zip(self.last.iter().chain(wide)) {
            *to = f32::from(*from);
        }
        for (n, out) in narrow.iter_mut().enumerate() {
            // The middle of the filter lies on the last but 23rd sample.
            let around = &line[2 * n..2 * n + BEFORE + 1];
            let mut sum = 0.5 * around[BEFORE / 2];
            for (k, tap) in TAPS.iter().enumerate() {
                sum += tap * (around[BEFORE / 2 - 1 - 2 * k] + around[BEFORE / 2 + 1 + 2 * k]);
            }
            // A float beyond the range of i16 is cast to its edge.
            *out = sum.round() as i16;
        }
        self.last.copy_from_slice(&wide[WIDE - BEFORE..]);
    }
}

/// 8 kHz to 16 kHz.
#[derive(Debug)]
pub struct Up {
    last: [i16; BEFORE_UP],
}

impl Default for Up {
    fn default() -> Up {
        Up { last: [0; BEFORE_UP] }
    }
}

impl Up {
    /// The next frame.
    pub fn frame(&mut self, narrow: &[i16; NARROW], wide: &mut [i16; WIDE]) {
        let mut line = [0.0f32; BEFORE_UP + NARROW];
        for (to, from) in line.iter_mut().zip(self.last.iter().chain(narrow)) {
            *to = f32::from(*from);
        }
        for (n, pair) in wide.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            // 24 samples, of which the twelfth from the end is the one that is late by 23 half samples.
            let around = &line[n..n + BEFORE_UP + 1];
            let between = TAPS.iter().enumerate().map(|(k, tap)| tap * (around[11 - k] + around[12 + k]));
            let between = 2.0 * between.sum::<f32>();
            *pair = [between.round() as i16, narrow_at(around[12])];
        }
        self.last.copy_from_slice(&narrow[NARROW - BEFORE_UP..]);
    }
}

fn narrow_at(sample: f32) -> i16 {
    sample as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, rate: f64, n: usize, shift: f64) -> f64 {
        8_000.0 * (std::f64::consts::TAU * hz * (n as f64 - shift) / rate).sin()
    }

    fn loudness(samples: &[f64]) -> f64 {
        (samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len() as f64).sqrt()
    }

    fn down(hz: f64) -> Vec<f64> {
        let mut filter = Down::default();
        let frames = (0..20).flat_map(|frame| {
            let wide = std::array::from_fn(|n| tone(hz, 16_000.0, frame * WIDE + n, 0.0) as i16);
            let mut narrow = [0; NARROW];
            filter.frame(&wide, &mut narrow);
            narrow
        });
        frames.map(f64::from).collect()
    }

    #[test]
    fn what_8_khz_can_hold_comes_through_late_by_23_samples_and_nothing_else_does() {
        for hz in [100.0, 1_000.0, 3_000.0, 3_400.0] {
            let heard = down(hz);
            let error: Vec<f64> =
                heard.iter().enumerate().skip(50).map(|(n, s)| s - tone(hz, 16_000.0, 2 * n, 23.0)).collect();
            assert!(loudness(&error) < 15.0, "{hz} Hz: {}", loudness(&error));
        }
        for hz in [4_600.0, 5_500.0, 7_500.0] {
            assert!(loudness(&down(hz)[50..]) < 10.0, "{hz} Hz: {}", loudness(&down(hz)[50..]));
        }
    }

    #[test]
    fn and_back_without_an_image() {
        for hz in [100.0, 1_000.0, 3_000.0, 3_400.0] {
            let mut filter = Up::default();
            let mut heard = Vec::new();
            for frame in 0..20 {
                let narrow = std::array::from_fn(|n| tone(hz, 8_000.0, frame * NARROW + n, 0.0) as i16);
                let mut wide = [0; WIDE];
                filter.frame(&narrow, &mut wide);
                heard.extend(wide.map(f64::from));
            }
            let error: Vec<f64> =
                heard.iter().enumerate().skip(100).map(|(n, s)| s - tone(hz, 16_000.0, n, 23.0)).collect();
            assert!(loudness(&error) < 20.0, "{hz} Hz: {}", loudness(&error));
        }
    }
}
