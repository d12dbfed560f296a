//! The power spectrum of real samples, without memory of its own.
//!
//! Two samples, an even one and the odd one after it, go as one complex number through a transform of half as many points. What comes out in a
//! bin and in its mirror image are the spectra of both, mixed: their sum and difference, the odd ones turned by half a bin's angle, are the
//! amplitudes in the bin and in that image. They are squared as they come: no spectrum is written anywhere to be read again.
//!
//! Amplitudes are added, not powers: where deep sounds are loud, the power of a high bin would be the difference of two large numbers.

use std::array::from_fn;
use std::f64::consts::TAU;
use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};
use wide::f32x4;

/// The window of Hann, of which the next one would begin where this one ends.
pub(super) fn hann<const LENGTH: usize>() -> [f32; LENGTH] {
    from_fn(|n| (0.5 - 0.5 * (TAU * n as f64 / LENGTH as f64).cos()) as f32)
}

const HALF: f32x4 = f32x4::new([0.5; 4]);

/// A transform of so many pairs of samples.
pub(super) struct Transform<const PAIRS: usize> {
    plan: Arc<dyn Fft<f32>>,
    /// It has to be given memory to work in: not where there is AVX.
    wants_room: bool,
    /// Of each four bins up to the middle one: half of the cosine and of the sine.
    turns: Vec<[f32x4; 2]>,
}

impl<const PAIRS: usize> Transform<PAIRS> {
    pub(super) fn new() -> Transform<PAIRS> {
        let plan = FftPlanner::new().plan_fft_forward(PAIRS);
        let room = plan.get_inplace_scratch_len();
        assert!(room <= PAIRS, "rustfft wants more room than Transform::power has");
        let angle = |bin: usize| TAU * bin as f64 / (2 * PAIRS) as f64;
        let turn = |first: usize| {
            let each = |part: fn(f64) -> f64| f32x4::new(from_fn(|n| (0.5 * part(angle(first + n))) as f32));
            [each(f64::cos), each(f64::sin)]
        };
        Transform { plan, wants_room: room > 0, turns: (1..PAIRS / 2).step_by(4).map(turn).collect() }
    }

    /// The power in each bin from 0 to half of the sample rate: there are as many as pairs, and one. The line is used up.
    #[inline]
    pub(super) fn power<const BINS: usize>(&self, line: &mut [Complex32; PAIRS], power: &mut [f32; BINS]) {
        const { assert!(BINS == PAIRS + 1 && PAIRS.is_multiple_of(8)) };
        match self.wants_room {
            false => self.plan.process_with_scratch(line, &mut []),
            true => self.plan.process_with_scratch(line, &mut [Complex32::ZERO; PAIRS]),
        }
        let Complex32 { re: even, im: odd } = line[0];
        (power[0], power[PAIRS]) = ((even + odd).powi(2), (even - odd).powi(2));
        for (n, [cos, sin]) in self.turns.iter().enumerate() {
            let bins = 1 + 4 * n;
            // Of these four, the last one first. The middle bin is its own.
            let images = PAIRS - bins - 3;
            let [bin_re, bin_im] = apart(&line[bins..]);
            let [image_re, image_im] = apart(&line[images..]).map(reversed);
            let (even_re, even_im) = (HALF * (bin_re + image_re), HALF * (bin_im - image_im));
            let (odd_re, odd_im) = (bin_im + image_im, image_re - bin_re);
            let (turned_re, turned_im) = (odd_re * *cos + odd_im * *sin, odd_im * *cos - odd_re * *sin);
            let square = |re: f32x4, im: f32x4| re * re + im * im;
            let low = square(even_re + turned_re, even_im + turned_im);
            let high = square(even_re - turned_re, even_im - turned_im);
            power[bins..bins + 4].copy_from_slice(&low.to_array());
            power[images..images + 4].copy_from_slice(&reversed(high).to_array());
        }
    }
}

/// Real and imaginary parts of the first four.
#[inline(always)]
fn apart(numbers: &[Complex32]) -> [f32x4; 2] {
    let Some([a, b, c, d]) = numbers.first_chunk() else { return [f32x4::ZERO; 2] };
    [f32x4::new([a.re, b.re, c.re, d.re]), f32x4::new([a.im, b.im, c.im, d.im])]
}

#[inline(always)]
fn reversed(four: f32x4) -> f32x4 {
    let [a, b, c, d] = four.to_array();
    f32x4::new([d, c, b, a])
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// By the definition, in double precision.
    fn slowly<const BINS: usize>(samples: &[f32]) -> [f64; BINS] {
        from_fn(|bin| {
            let angle = |n: usize| TAU * (bin * n % samples.len()) as f64 / samples.len() as f64;
            let sum = |part: fn(f64) -> f64| -> f64 {
                samples.iter().enumerate().map(|(n, sample)| f64::from(*sample) * part(angle(n))).sum()
            };
            sum(f64::cos).powi(2) + sum(f64::sin).powi(2)
        })
    }

    fn agrees<const PAIRS: usize, const BINS: usize>() {
        let transform = Transform::<PAIRS>::new();
        let mut rng = StdRng::seed_from_u64(1);
        for loud in [0.0, 1.0, 1e4] {
            // Loud in a deep bin, and a millionth of a millionth of that power at random everywhere.
            let hum = |n: usize| loud * (TAU * 3.0 * n as f64 / (2 * PAIRS) as f64).cos();
            let samples: Vec<f32> =
                (0..2 * PAIRS).map(|n| (hum(n) + rng.random_range(-0.01..0.01f64)) as f32).collect();
            let mut line = from_fn(|n| Complex32::new(samples[2 * n], samples[2 * n + 1]));
            let mut power = [0.0; BINS];
            transform.power(&mut line, &mut power);
            let expected: [f64; BINS] = slowly(&samples);
            let loudest = expected.iter().copied().fold(0.0, f64::max);
            for (bin, (power, expected)) in power.iter().zip(expected).enumerate() {
                let off = (f64::from(*power).sqrt() - expected.sqrt()).abs();
                assert!(off <= 1e-6 * loudest.sqrt(), "bin {bin} at {loud}: {power}, should be {expected}");
            }
        }
    }

    #[test]
    fn the_power_is_what_the_definition_says_beside_a_loud_deep_sound_too() {
        agrees::<256, 257>();
        agrees::<64, 65>();
    }
}
