//! The last stretch of what the caller sent, on media time, with its level in frames of 20 ms.
//!
//! Audio comes in order, but a lost piece leaves a hole and a client's clock may repeat a few samples; the tape fills
//! the first with silence and drops the second, so that position and media time stay one thing.

use std::collections::VecDeque;

use crate::ms::Ms;

/// Resolution of the levels.
const FRAME: Ms = Ms(20);
/// Differences up to this between a piece's time and the tape's end are rounding, not a hole.
const SLACK: Ms = Ms(19);
/// A longer hole is a new beginning: what was before has nothing to do with it.
const LONGEST_HOLE: Ms = Ms(10_000);

/// Audio with its media time.
#[derive(Debug)]
pub(super) struct Tape {
    rate: u32,
    /// Media time of the first sample kept.
    origin: Ms,
    samples: VecDeque<i16>,
    /// Root mean square of each whole frame kept, from `origin`.
    levels: VecDeque<u16>,
}

impl Tape {
    /// An empty tape for samples at `rate` Hz, a multiple of 50.
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, origin: Ms::ZERO, samples: VecDeque::new(), levels: VecDeque::new() }
    }

    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Media time up to which there is audio.
    pub(super) fn end(&self) -> Ms {
        self.origin + Ms::of_samples(self.samples.len() as u64, self.rate)
    }

    /// Appends samples, the first of which is of `at`.
    pub(super) fn push(&mut self, at: Ms, samples: &[i16]) {
        if self.samples.is_empty() || at > self.end() + LONGEST_HOLE {
            *self = Self { origin: at, ..Self::new(self.rate) };
        }
        let end = self.end();
        let mut samples = samples;
        if at > end + SLACK {
            self.samples.extend(std::iter::repeat_n(0, self.count(at - end)));
        } else if end > at + SLACK {
            samples = samples.get(self.count(end - at)..).unwrap_or_default();
        }
        self.samples.extend(samples);
        let frame = self.count(FRAME);
        while (self.levels.len() + 1) * frame <= self.samples.len() {
            let from = self.levels.len() * frame;
            let sum: f64 = self.samples.range(from..from + frame).map(|&sample| f64::from(sample).powi(2)).sum();
            self.levels.push_back((sum / frame as f64).sqrt() as u16);
        }
    }

    /// Drops what was before `time`, in whole frames.
    pub(super) fn forget(&mut self, time: Ms) {
        let frames = ((time - self.origin).0 / FRAME.0) as usize;
        let frames = frames.min(self.levels.len());
        self.levels.drain(..frames);
        self.samples.drain(..frames * self.count(FRAME));
        self.origin += Ms(frames as u32 * FRAME.0);
    }

    /// A copy of `from..to`, as far as it is there.
    pub(super) fn copy(&self, from: Ms, to: Ms) -> Vec<i16> {
        let from = self.count(from - self.origin).min(self.samples.len());
        let to = self.count(to - self.origin).clamp(from, self.samples.len());
        self.samples.range(from..to).copied().collect()
    }

    /// The loudest frame of `from..to`.
    pub(super) fn peak(&self, from: Ms, to: Ms) -> u16 {
        self.frames(from, to).map(|(_, level)| level).max().unwrap_or(0)
    }

    /// The end of the last frame in `from..to` that is at least as loud as `threshold`.
    pub(super) fn last_loud(&self, from: Ms, to: Ms, threshold: u16) -> Option<Ms> {
        self.frames(from, to).rev().find(|(_, level)| *level >= threshold).map(|(at, _)| at + FRAME)
    }

    /// The middle of the quietest 200 ms in `from..to`: where a cut does least harm.
    pub(super) fn quietest(&self, from: Ms, to: Ms) -> Option<Ms> {
        const WIDTH: usize = 10;
        let frames: Vec<(Ms, u16)> = self.frames(from, to).collect();
        frames
            .windows(WIDTH)
            .min_by_key(|window| window.iter().map(|(_, level)| u32::from(*level)).sum::<u32>())
            .map(|window| window[WIDTH / 2].0)
    }

    fn frames(&self, from: Ms, to: Ms) -> impl DoubleEndedIterator<Item = (Ms, u16)> {
        let first = ((from - self.origin).0 / FRAME.0) as usize;
        let last = ((to - self.origin).0.div_ceil(FRAME.0) as usize).min(self.levels.len());
        let first = first.min(last);
        self.levels
            .range(first..last)
            .enumerate()
            .map(move |(n, &level)| (self.origin + Ms((first + n) as u32 * FRAME.0), level))
    }

    fn count(&self, span: Ms) -> usize {
        span.samples(self.rate) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_silence_and_repeats_are_dropped() {
        let mut tape = Tape::new(8_000);
        tape.push(Ms(1_000), &[100; 160]);
        tape.push(Ms(1_060), &[200; 160]);
        assert_eq!(tape.end(), Ms(1_080));
        assert_eq!(tape.copy(Ms(1_020), Ms(1_060)), [0; 320]);
        tape.push(Ms(1_040), &[300; 480]);
        assert_eq!(tape.end(), Ms(1_100));
        assert_eq!(tape.copy(Ms(1_060), Ms(1_100)), [[200; 160], [300; 160]].concat());
        tape.push(Ms(60_000), &[1; 160]);
        assert_eq!((tape.copy(Ms(0), Ms(61_000)).len(), tape.end()), (160, Ms(60_020)));
    }

    #[test]
    fn levels_survive_forgetting() {
        let mut tape = Tape::new(8_000);
        for (n, level) in [10, 500, 20, 500, 30].iter().enumerate() {
            tape.push(Ms(n as u32 * 20), &[*level; 160]);
        }
        assert_eq!(tape.last_loud(Ms(0), Ms(100), 100), Some(Ms(80)));
        assert_eq!(tape.last_loud(Ms(0), Ms(40), 100), Some(Ms(40)));
        tape.forget(Ms(45));
        assert_eq!(tape.copy(Ms(0), Ms(60)), [20; 160]);
        assert_eq!(tape.peak(Ms(0), Ms(60)), 20);
        assert_eq!(tape.last_loud(Ms(0), Ms(100), 100), Some(Ms(80)));
        assert_eq!(tape.last_loud(Ms(80), Ms(100), 100), None);
    }

    #[test]
    fn the_quietest_place_is_found() {
        let mut tape = Tape::new(8_000);
        tape.push(Ms(0), &[900; 8_000]);
        tape.push(Ms(1_000), &[5; 2_400]);
        tape.push(Ms(1_300), &[900; 8_000]);
        let cut = tape.quietest(Ms(0), Ms(2_300)).unwrap();
        assert!((Ms(1_080)..Ms(1_220)).contains(&cut), "{cut}");
    }
}
