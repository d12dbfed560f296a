//! The robot's own voice, as the line gives it back: it must not interrupt the robot.
//!
//! A line with an echo returns what we say some 50 to 500 ms later and softer: by 30 dB or more where the network cancels it, by 20 on an
//! analogue line, by little from a loudspeaker. A caller is about as loud as the robot. So under a prompt a voice counts from the first frame
//! that is not softer than the loudest of the last [`REACH`] frames that were said by more than the knob `echo_guard_db`, with the [`BEFORE`]
//! in front of it; and for as long as there is another such frame every [`HOLD`] frames, since no word is loud throughout. It is recognised
//! and told all the same: only interrupting is guarded. What is lost is a caller who speaks that much more softly than the robot; 0 turns the
//! guard off.

use super::FRAME;
use crate::ms::Ms;

/// Frames for which an echo may be under way: 600 ms.
const REACH: usize = 30;
/// Voice in front of the first loud frame that counts with it.
const BEFORE: Ms = Ms(100);
/// Frames from one loud frame to the next: 300 ms.
const HOLD: u8 = 15;

/// How loud the robot was lately, and whether what is heard is louder than its echo.
#[derive(Debug, Clone)]
pub(super) struct Echo {
    /// As [`below_full`] has it.
    said: [u8; REACH],
    next: u8,
    /// Voice that does not count yet.
    before: Ms,
    /// Frames that what is heard still counts for.
    hold: u8,
}

const SILENT: u8 = 100;
/// A line's filters may raise a peak by so much, in dB.
const SKEW: u8 = 3;

impl Default for Echo {
    fn default() -> Echo {
        Echo { said: [SILENT; REACH], next: 0, before: Ms(0), hold: 0 }
    }
}

impl Echo {
    /// What goes out in this slot.
    pub(super) fn said(&mut self, frame: Option<&[i16; FRAME]>) {
        self.said[usize::from(self.next)] = frame.map_or(SILENT, below_full);
        self.next = (self.next + 1) % REACH as u8;
    }

    /// Takes a frame that is heard under a prompt; gives how much voice counts with it.
    pub(super) fn counts(&mut self, voiced: bool, heard: &[i16; FRAME], guard_db: u8) -> Ms {
        self.hold = self.hold.saturating_sub(1);
        if !voiced {
            return Ms(0);
        }
        if self.is_exceeded_by(heard, guard_db) {
            self.hold = HOLD;
        }
        self.before += Ms(20);
        if self.hold == 0 {
            return Ms(0);
        }
        std::mem::take(&mut self.before).min(BEFORE + Ms(20))
    }

    /// What comes next is another voice.
    pub(super) fn forget(&mut self) {
        (self.before, self.hold) = (Ms(0), 0);
    }

    fn is_exceeded_by(&self, heard: &[i16; FRAME], guard_db: u8) -> bool {
        let loudest = self.said.iter().copied().min().unwrap_or(SILENT);
        guard_db == 0 || loudest == SILENT || below_full(heard) + SKEW <= loudest.saturating_add(guard_db)
    }
}

/// How far the frame's peak is below full scale, in dB: it costs next to nothing, and does not depend on where a frame begins.
fn below_full(frame: &[i16; FRAME]) -> u8 {
    let peak = frame.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    if peak == 0 { SILENT } else { (-20.0 * (f32::from(peak) / 32_768.0).log10()).round() as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dbfs: f32) -> [i16; FRAME] {
        [(32_768.0 * 10f32.powf(dbfs / 20.0)).round() as i16; FRAME]
    }

    #[test]
    fn what_comes_back_softer_is_an_echo_for_600_ms() {
        let mut echo = Echo::default();
        assert!(echo.is_exceeded_by(&at(-60.0), 20), "nothing was said");
        echo.said(Some(&at(-18.0)));
        assert!(!echo.is_exceeded_by(&at(-40.0), 20));
        assert!(echo.is_exceeded_by(&at(-34.0), 20), "a caller");
        assert!(echo.is_exceeded_by(&at(-40.0), 0), "no guard");
        (1..REACH).for_each(|_| echo.said(None));
        assert!(!echo.is_exceeded_by(&at(-40.0), 20), "it is still under way");
        echo.said(None);
        assert!(echo.is_exceeded_by(&at(-40.0), 20));
    }

    #[test]
    fn a_voice_counts_with_what_is_in_front_of_it_and_through_its_softer_sounds() {
        let mut echo = Echo::default();
        echo.said(Some(&at(-18.0)));
        let mut counted = |levels: &[f32]| levels.iter().map(|level| echo.counts(true, &at(*level), 20).0).sum::<u32>();
        assert_eq!(counted(&[-50.0; 30]), 0, "an echo");
        assert_eq!(counted(&[-30.0]), 120, "a caller, who began a little earlier");
        assert_eq!(counted(&[-45.0; 14]), 280, "and goes on");
        assert_eq!(counted(&[-45.0; 20]), 0, "that is the echo again");
        echo.forget();
        assert_eq!(echo.counts(true, &at(-30.0), 20), Ms(20));
        assert_eq!(echo.counts(false, &at(-30.0), 20), Ms(0), "no voice");
    }
}
