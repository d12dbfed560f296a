//! The spectrum of real samples, without memory of its own.

use std::array::from_fn;
use std::f64::consts::TAU;
use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

/// The window of Hann, of which the next one would begin where this one ends.
pub(super) fn hann<const LENGTH: usize>() -> [f32; LENGTH] {
    from_fn(|n| (0.5 - 0.5 * (TAU * n as f64 / LENGTH as f64).cos()) as f32)
}

/// A transform of so many points.
pub(super) struct Transform<const POINTS: usize> {
    plan: Arc<dyn RealToComplex<f32>>,
    /// It has to be given memory to work in: not where there is AVX.
    wants_room: bool,
}

impl<const POINTS: usize> Transform<POINTS> {
    pub(super) fn new() -> Transform<POINTS> {
        let plan = RealFftPlanner::new().plan_fft_forward(POINTS);
        assert!(plan.get_scratch_len() <= POINTS, "realfft wants more room than Transform::power has");
        let wants_room = plan.get_scratch_len() > 0;
        Transform { plan, wants_room }
    }

    /// The power in each bin from 0 to half of the sample rate: there are half as many as points, and one. The line is used up.
    #[inline]
    pub(super) fn power<const BINS: usize>(&self, line: &mut [f32; POINTS], power: &mut [f32; BINS]) {
        let mut spectrum = [Complex32::ZERO; BINS];
        // An error means a wrong length: the callers' constants, and the assertion above, rule it out.
        let done = match self.wants_room {
            false => self.plan.process_with_scratch(line, &mut spectrum, &mut []),
            true => self.plan.process_with_scratch(line, &mut spectrum, &mut [Complex32::ZERO; POINTS]),
        };
        debug_assert!(done.is_ok(), "{done:?}");
        for (power, bin) in power.iter_mut().zip(&spectrum) {
            *power = bin.norm_sqr();
        }
    }
}
