//! What is said at 16 kHz, on its way to a line of either width.
//!
//! ```text
//! sound of 16 kHz ─┬─ half of it ─ + sound of 8 kHz → echo guard, background, bridge, recording → line of 8 kHz
//!                  │                                                                            ↓
//!                  └─ as it is, beside that frame ──────────────────────────────────────────→ line of 16 kHz
//! ```
//! So a leg works on frames of 8 kHz, whatever is said, and a line that becomes narrow under a prompt goes on with the same frames. A line of
//! 16 kHz takes the half out of the frame again and the whole in its place: what is left over is of 8 kHz.
//!
//! Where sound of 16 kHz meets sound of 8 kHz, it is late by the filter's 23 samples, 1.4 ms.

use super::FRAME;
use crate::codec::half_band::Down;
use crate::dsp::level::{Fade, Gain, mix};

/// A frame of 16 kHz.
pub(super) const WIDE: usize = 2 * FRAME;

/// A leg that never had a line of 16 kHz has none.
#[derive(Debug)]
pub(super) struct Throat {
    /// What is said in this slot.
    whole: [i16; WIDE],
    sounds: bool,
    /// The same at 8 kHz, late by what the filter takes; it still holds a rest of the slot before.
    half: [i16; FRAME],
    down: Down,
    rest: bool,
    /// The frame of this slot has the half in it.
    within: bool,
}

/// Sound of 16 kHz, and what of it is in the frame of 8 kHz.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole<'a> {
    pub(super) whole: &'a [i16; WIDE],
    pub(super) half: &'a [i16; FRAME],
}

impl Default for Throat {
    fn default() -> Throat {
        Throat { whole: [0; WIDE], sounds: false, half: [0; FRAME], down: Down::default(), rest: false, within: false }
    }
}

impl Throat {
    /// The next slot.
    pub(super) fn begin(&mut self) {
        if self.sounds {
            self.whole = [0; WIDE];
        }
        (self.sounds, self.within) = (false, false);
    }

    /// Sound from sample `at` of 8 kHz on.
    pub(super) fn take(&mut self, at: usize, samples: &[i16]) {
        self.whole[2 * at..][..samples.len()].copy_from_slice(samples);
        self.sounds = true;
    }

    pub(super) fn fade(&mut self) {
        if self.sounds {
            Fade::new(WIDE as u32).apply(&mut self.whole);
        }
    }

    pub(super) fn rise(&mut self) {
        if self.sounds {
            rise(&mut self.whole);
        }
    }

    /// Adds the half of it to the frame of this slot, if there is one.
    pub(super) fn add_to(&mut self, spoke: bool, frame: &mut [i16; FRAME]) {
        if spoke && (self.sounds || self.rest) {
            self.down.frame(&self.whole, &mut self.half);
            mix(frame, &self.half, Gain::UNITY);
            (self.within, self.rest) = (true, self.sounds);
        } else if self.rest {
            // What the next prompt would begin with.
            (self.down, self.rest) = (Down::default(), false);
        }
    }

    /// The frame of this slot gives way to another one.
    pub(super) fn give_way(&mut self) {
        self.within = false;
    }

    /// What is said in this slot, if it is in its frame.
    pub(super) fn whole(&self) -> Option<Whole<'_>> {
        self.within.then_some(Whole { whole: &self.whole, half: &self.half })
    }
}

/// From silence, along a line.
pub(super) fn rise(samples: &mut [i16]) {
    let all = samples.len() as i32;
    for (sample, n) in samples.iter_mut().zip(0i32..) {
        *sample = (i32::from(*sample) * n / all) as i16;
    }
}

/// Of samples of 16 kHz half as many, where there is no filter: the mean of each two.
pub(super) fn means(wide: &[i16], narrow: &mut [i16]) {
    for (out, [one, two]) in narrow.iter_mut().zip(wide.as_chunks::<2>().0) {
        *out = ((i32::from(*one) + i32::from(*two)) / 2) as i16;
    }
}
