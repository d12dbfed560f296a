//! A second opinion on what the detector calls voice: costly, and asked only where it matters.
//!
//! The judge hears hardly any word too few, and takes music, a door and coughs for voices: its scores do not tell them apart. [`Silero`] does,
//! and costs ten times as much: 25 µs for a window of 32 ms with AVX2 where its weights are in the cache, 90 to 120 where nothing is. So it is
//! asked about what would stop a prompt and about nothing else, from the moment in which it might, with the little that the judge has heard
//! before that; and it is asked anew each time, with no memory of the line.
//!
//! What it says of a window of 32 ms is a probability. It agrees when the mean of the last ones is one half or more: of as many as fill half of
//! the speech that is asked for, one to three of them. One is quick, and tells music and doors; three are what a cough is told by.
//! Figures and method: `docs/conversation-bench.md`.

use super::silero::{CONTEXT, HEARD, Memory, Silero};
use crate::ms::Ms;

/// Windows that are remembered.
const SAID: usize = 3;
/// Of a window, twice.
const SPEECH_PER_WINDOW: u32 = 64;
/// Means from here on are voice.
const VOICE: f32 = 0.5;

/// Who is asked, and what was said so far.
#[derive(Debug)]
pub struct Opinion {
    silero: &'static Silero,
    memory: Memory,
    /// The last samples, of which `fresh` behind the context are not judged yet.
    heard: [i16; HEARD],
    fresh: usize,
    /// Of the last windows, the newest last.
    said: [f32; SAID],
    answer: Option<bool>,
}

impl Default for Opinion {
    fn default() -> Opinion {
        Opinion {
            silero: Silero::get(),
            memory: Memory::default(),
            heard: [0; HEARD],
            fresh: 0,
            said: [0.0; SAID],
            answer: None,
        }
    }
}

impl Opinion {
    /// Forgets all, for another voice.
    pub fn renew(&mut self) {
        *self = Opinion::default();
    }

    /// Takes what is heard at 8 kHz, without a gap.
    pub fn hear(&mut self, mut samples: &[i16]) {
        while !samples.is_empty() {
            let at = CONTEXT + self.fresh;
            let (taken, rest) = samples.split_at(samples.len().min(HEARD - at));
            self.heard[at..at + taken.len()].copy_from_slice(taken);
            self.fresh += taken.len();
            samples = rest;
            if CONTEXT + self.fresh == HEARD {
                self.said.copy_within(1.., 0);
                self.said[SAID - 1] = self.silero.probability(&self.heard, &mut self.memory);
                self.heard.copy_within(HEARD - CONTEXT.., 0);
                self.fresh = 0;
            }
        }
    }

    /// Whether it is a voice, now that it would stop a prompt for which so much speech is asked.
    pub fn agrees(&mut self, min_speech: Ms) -> bool {
        let windows = (min_speech.0 / SPEECH_PER_WINDOW).clamp(1, SAID as u32) as usize;
        let mean = self.said[SAID - windows..].iter().sum::<f32>() / windows as f32;
        let agrees = mean >= VOICE;
        self.answer = Some(agrees || self.answer == Some(true));
        agrees
    }

    /// Whether it has ever agreed; `None` if it was not asked in the end.
    pub fn answer(&self) -> Option<bool> {
        self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it says at last of windows with these probabilities.
    fn agrees(said: [f32; SAID], min_speech: u32) -> bool {
        Opinion { said, ..Opinion::default() }.agrees(Ms(min_speech))
    }

    #[test]
    fn as_many_windows_count_as_fill_half_of_the_speech_that_is_asked_for() {
        assert!(agrees([0.0, 0.0, 0.5], 60), "quick: the last one alone");
        assert!(!agrees([1.0, 1.0, 0.4], 0));
        assert!(agrees([0.0, 0.3, 0.8], 150), "two");
        assert!(!agrees([1.0, 0.1, 0.8], 150));
        assert!(!agrees([0.0, 0.5, 0.9], 200), "three");
        assert!(agrees([0.3, 0.5, 0.9], 200));
        assert!(agrees([0.3, 0.5, 0.9], 5_000), "and no more");
    }

    #[test]
    fn it_remembers_having_agreed_and_whether_it_was_asked_at_all() {
        let mut opinion = Opinion { said: [0.9; SAID], ..Opinion::default() };
        assert_eq!(opinion.answer(), None);
        opinion.agrees(Ms(200));
        opinion.said = [0.0; SAID];
        assert!(!opinion.agrees(Ms(200)));
        assert_eq!(opinion.answer(), Some(true));
        opinion.renew();
        opinion.agrees(Ms(200));
        assert_eq!(opinion.answer(), Some(false));
    }

    #[test]
    fn how_the_samples_come_does_not_matter() {
        let sound: Vec<i16> = (0..4_000).map(|n| ((n * 7_919) % 4_001 - 2_000) as i16).collect();
        let said = |pieces: usize| {
            let mut opinion = Opinion::default();
            sound.chunks(pieces).for_each(|piece| opinion.hear(piece));
            opinion.said
        };
        assert_eq!(said(160), said(4_000));
        assert_eq!(said(160), said(1));
    }
}
