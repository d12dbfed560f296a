//! Eight frequencies looked for at once in 20 ms under a Hann window.

use std::f32::consts::TAU;

use super::{FRAME, RATE};

/// How many frequencies.
pub(super) const TONES: usize = 8;

/// A complex number.
pub(super) type Turn = (f32, f32);

/// The windowed sines of eight frequencies, one row a sample: their cosines, then their sines.
#[derive(Debug)]
pub(super) struct Bank {
    rows: [[f32; 2 * TONES]; FRAME],
    weight: [f32; FRAME],
}

/// What is in a window.
pub(super) struct Look {
    sums: [f32; 2 * TONES],
    /// The mean square of all that is heard, weighed as the tones are.
    pub(super) all: f32,
}

/// The window, and the weights by which a mean square is as the window has it.
pub(super) fn hann() -> ([f32; FRAME], [f32; FRAME]) {
    let window = std::array::from_fn(|n| 0.5 - 0.5 * (TAU * (n as f32 + 0.5) / FRAME as f32).cos());
    (window, window.map(|window| window * window / (0.375 * FRAME as f32)))
}

impl Bank {
    pub(super) fn new(frequencies: [f32; TONES]) -> Box<Bank> {
        let (window, weight) = hann();
        let mut bank = Box::new(Bank { rows: [[0.0; 2 * TONES]; FRAME], weight });
        for (n, (row, window)) in bank.rows.iter_mut().zip(window).enumerate() {
            for (tone, hz) in frequencies.iter().enumerate() {
                // Of a sine of amplitude A the sum is A/√2 long: squared, its mean square.
                let (sin, cos) = (TAU * hz * n as f32 / RATE).sin_cos();
                let scale = window * std::f32::consts::SQRT_2 / (0.5 * FRAME as f32);
                (row[tone], row[TONES + tone]) = (cos * scale, -sin * scale);
            }
        }
        bank
    }

    pub(super) fn look(&self, sound: impl Iterator<Item = f32>) -> Look {
        let mut look = Look { sums: [0.0; 2 * TONES], all: 0.0 };
        for ((sample, row), weight) in sound.zip(&self.rows).zip(&self.weight) {
            for (sum, wave) in look.sums.iter_mut().zip(row) {
                *sum += sample * wave;
            }
            look.all += sample * sample * weight;
        }
        look
    }
}

impl Look {
    /// The mean square of a tone.
    pub(super) fn power(&self, tone: usize) -> f32 {
        let (re, im) = self.turn(tone);
        re * re + im * im
    }

    /// Its phase.
    pub(super) fn turn(&self, tone: usize) -> Turn {
        (self.sums[tone], self.sums[TONES + tone])
    }

    /// The loudest of some.
    pub(super) fn best(&self, among: std::ops::Range<usize>) -> usize {
        let first = among.start;
        among.max_by(|a, b| self.power(*a).total_cmp(&self.power(*b))).unwrap_or(first)
    }
}
