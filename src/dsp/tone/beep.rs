//! The beep of an answering machine: a single steady tone of 400 to 2000 Hz, of 150 ms to 2 s.
//!
//! Of a sine, x(n−1) + x(n+1) is 2 cos ω · x(n): the factor that fits best says the frequency, and what is left over whether it is a single
//! tone at all. That costs three multiplications a sample, and no frequency has to be guessed.

use super::{FRAME, RATE, ZERO_DBM0};

/// −36 dBm0.
const FLOOR: f32 = ZERO_DBM0 * 2.5e-4;
/// What may be left over: noise 13 dB below the tone.
const REST: f32 = 0.05;
/// Frames of a beep.
const FRAMES: std::ops::RangeInclusive<u32> = 7..=100;
/// How far its frequency may wander.
const STEADY: f32 = 0.03;

/// Waits for a beep.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beep {
    hz: f32,
    frames: u32,
}

impl Beep {
    /// Takes a frame; whether a beep has just ended.
    pub fn push(&mut self, frame: &[i16; FRAME]) -> bool {
        let tone = single_tone(frame).filter(|hz| (390.0..=2_010.0).contains(hz));
        match tone {
            Some(hz) if self.frames > 0 && (hz - self.hz).abs() <= STEADY * self.hz => {
                self.frames = self.frames.saturating_add(1);
                false
            }
            tone => {
                let ended = FRAMES.contains(&self.frames);
                *self = tone.map_or_else(Beep::default, |hz| Beep { hz, frames: 1 });
                ended
            }
        }
    }

    /// A steady tone goes on.
    pub fn is_on(&self) -> bool {
        self.frames >= 3
    }
}

/// The frequency of the only tone that is heard.
fn single_tone(frame: &[i16; FRAME]) -> Option<f32> {
    let (mut square, mut along, mut both) = (0.0, 0.0, 0.0);
    for three in frame.windows(3) {
        let (x, sum) = (f32::from(three[1]), f32::from(three[0]) + f32::from(three[2]));
        square += x * x;
        along += x * sum;
        both += sum * sum;
    }
    if square < FLOOR * (FRAME - 2) as f32 {
        return None;
    }
    let factor = along / square;
    // Of noise alone 2 − cos: to be compared with the four times that it could be.
    let rest = (both - factor * along) / (4.0 * square);
    (rest <= REST && factor.abs() < 2.0).then(|| (factor / 2.0).acos() * RATE / std::f32::consts::TAU)
}
