//! A tone that is played to the caller: one or two frequencies, steady or with pauses, as exchanges say "it rings" or "busy".
//!
//! Each sample follows from its number alone: frequencies are whole Hz, so their phases are whole parts of a second, and a tone may be
//! written in pieces of any length, at any place, without a state that goes along. The phase runs on through the pauses.

use std::f32::consts::TAU;

use super::amplitude;
use super::pair::{RAMP, rise};
use crate::ms::Ms;

/// A tone as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signal {
    /// 0: no second one.
    hz: [u16; 2],
    /// Of each frequency.
    amplitude: u16,
    /// What sounds, and the pause after it; again and again.
    on_ms: u16,
    off_ms: u16,
    length_ms: u16,
}

/// Samples of a second, and of a ms.
const SECOND: u32 = 8_000;
const PER_MS: u32 = SECOND / 1_000;

impl Signal {
    /// A steady tone of one or two frequencies (Hz), each of so many dBm0; of at most 65 s.
    pub fn new(hz: u16, second: Option<u16>, dbm0: f32, length: Ms) -> Signal {
        let length_ms = short(length);
        let amplitude = amplitude(dbm0).round().min(32_767.0) as u16;
        Signal { hz: [hz, second.unwrap_or(0)], amplitude, on_ms: length_ms, off_ms: 0, length_ms }
    }

    /// The same, which sounds for so long, pauses, and sounds again, until its length is over.
    pub fn with_pauses(self, on: Ms, off: Ms) -> Signal {
        Signal { on_ms: short(on).max(1), off_ms: short(off), ..self }
    }

    /// How many samples it has.
    pub fn samples(&self) -> u32 {
        u32::from(self.length_ms) * PER_MS
    }

    /// Writes the samples from number `from` on, of those that it has; what is beyond is silence.
    pub fn write(&self, from: u32, out: &mut [i16]) {
        let [on, off] = [self.on_ms, self.off_ms].map(|ms| u32::from(ms) * PER_MS);
        for (sample, n) in out.iter_mut().zip(from..) {
            let into = n % (on + off).max(1);
            // The last one may be cut short: it ends softly there.
            let sounding = on.min(self.samples().saturating_sub(n - into));
            *sample = match into < sounding {
                true => {
                    let gain = rise(into.min(sounding - 1 - into));
                    (gain * f32::from(self.amplitude) * self.wave(n)).round().clamp(-32_768.0, 32_767.0) as i16
                }
                false => 0,
            };
        }
    }

    fn wave(&self, n: u32) -> f32 {
        let sine = |hz: u16| (TAU * (u32::from(hz) * (n % SECOND) % SECOND) as f32 / SECOND as f32).sin();
        self.hz.into_iter().filter(|hz| *hz > 0).map(sine).sum()
    }
}

fn short(ms: Ms) -> u16 {
    ms.0.min(u16::MAX.into()) as u16
}

const _: () = assert!(RAMP < 20 * PER_MS / 2, "the shortest tone has a middle");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::level::dbfs;

    fn all(signal: Signal, piece: usize) -> Vec<i16> {
        let mut sound = vec![1; signal.samples() as usize];
        let mut at = 0;
        for out in sound.chunks_mut(piece) {
            signal.write(at, out);
            at += out.len() as u32;
        }
        sound
    }

    #[test]
    fn it_is_the_same_however_it_is_cut() {
        let tone = Signal::new(425, Some(1_633), -13.0, Ms(1_500)).with_pauses(Ms(330), Ms(77));
        let whole = all(tone, usize::MAX);
        for piece in [1, 7, 160, 2_001] {
            assert_eq!(all(tone, piece), whole, "{piece}");
        }
    }

    #[test]
    fn it_has_its_level_its_length_and_its_phase_to_the_end() {
        let sound = all(Signal::new(425, None, -10.0, Ms(60_000)), 160);
        assert_eq!(sound.len(), 480_000);
        // 0 dBm0 is -6.2 dBFS.
        assert!((dbfs(&sound[80..8_000]) + 16.2).abs() < 0.1, "{}", dbfs(&sound[80..8_000]));
        // The last whole second is the first one over again but for the edges: not a sample has slipped.
        assert_eq!(sound[80..7_900], sound[59 * 8_000 + 80..59 * 8_000 + 7_900]);
        let two = all(Signal::new(440, Some(480), -13.0, Ms(1_000)), 160);
        assert!((dbfs(&two) + 16.2).abs() < 0.1, "two of -13 dBm0 are -10: {}", dbfs(&two));
    }

    #[test]
    fn it_begins_and_ends_softly_at_each_pause_and_where_it_is_cut_short() {
        let sound = all(Signal::new(1_000, None, -3.0, Ms(250)).with_pauses(Ms(100), Ms(50)), 160);
        let loud = |part: &[i16]| part.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        assert!(loud(&sound[100..700]) > 15_000 && loud(&sound[1_300..1_900]) > 15_000);
        assert_eq!(loud(&sound[800..1_200]), 0, "the pause");
        for edge in [0..3, 797..800, 1_200..1_203, 1_997..2_000] {
            assert!(loud(&sound[edge.clone()]) < 800, "{edge:?}: {:?}", &sound[edge.clone()]);
        }
        // No step anywhere is larger than those of the sine itself.
        let steps = sound.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs());
        assert!(steps.max() < Some(12_800));
    }

    #[test]
    fn the_loudest_does_not_overflow() {
        let sound = all(Signal::new(3_800, Some(3_799), -3.0, Ms(1_000)), 160);
        assert!(sound.iter().all(|s| s.unsigned_abs() < 32_700), "within full scale");
        Signal::new(0, None, 60.0, Ms(u32::MAX)).with_pauses(Ms(0), Ms(0)).write(u32::MAX - 200, &mut [0; 160]);
    }
}
