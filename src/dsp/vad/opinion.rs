//! A second opinion on what the detector calls voice: costly, and asked only where it matters.
//!
//! The judge hears hardly any word too few, and takes music, a door and coughs for voices: its scores do not tell them apart. [`Silero`] does,
//! and costs ten times as much: 25 µs for a window of 32 ms with AVX2 where its weights are in the cache, 90 to 120 where nothing is. So it is
//! asked about what would stop a prompt and about nothing else, from the moment in which it might, with the little that the judge has heard
//! before that; and it is asked anew each time, with no memory of the line.
//!
//! What it says of a window of 32 ms is a probability. It agrees when the mean of the last ones is one half or more: of as many as fill half of
//! the speech that is asked for, one to three of them. One is quick, and tells music and doors. Where one is enough, the first words are not kept
//! waiting for it to be full: it is asked about the last 32 ms in each of the first 100 ms, and two fifths are enough then (3 ms at the median).
//!
//! A cough is what it does not tell: half of them end in a voice, which is one to everybody, and lasts for 100 ms. But a cough is a burst first,
//! as loud as that voice; before a person's vowel there is nothing so loud that has no pitch. So where there was such a burst, a voice
//! is one when it has had a pitch, and nearly its full strength, for four windows of the last ten: of sixty coughs it leaves 2 to 4 instead of 18
//! to 28, and people stop a prompt as soon as before.
//! Figures and method: `docs/conversation-bench.md`.

use super::silero::{CONTEXT, HEARD, Memory, Silero, WINDOW};
use crate::dsp::level::energy;
use crate::ms::Ms;

/// Samples that may wait to be judged: 256 ms. Among a thousand calls the weights are in no cache, and the second window behind a first costs a
/// quarter of it; what is never asked about costs nothing.
const ROOM: usize = 8 * WINDOW;
/// Windows that are remembered.
const SAID: usize = 10;
/// Windows that count, if there was no burst.
const LAST: usize = 3;
/// Of a window, twice.
const SPEECH_PER_WINDOW: u32 = 64;
/// Means from here on are voice.
const VOICE: f32 = 0.5;
/// … and of the last 32 ms, in so many frames in which it is asked, this.
const FIRST: f32 = 0.4;
const FIRST_ASKED: u8 = 5;
/// What is softer than the loudest voice by no more than this factor of its energy is a burst: 5 dB.
const BURST: f32 = 3.2;
/// After a burst a voice is so many windows', each as much as it is likely to be one …
const AFTER_BURST: f32 = 4.0;
/// … of those that are softer than the loudest of all by no more than this factor: 15 dB.
const STRENGTH: f32 = 32.0;
/// From one wave to the next: 500 to 70 Hz.
const PITCHES: std::ops::RangeInclusive<usize> = 16..=114;
/// Of waves that are alike this is 1, of noise 0.1 to 0.4.
const ALIKE: f32 = 0.4;

/// Who is asked, and what was said so far.
#[derive(Debug)]
pub struct Opinion {
    silero: &'static Silero,
    memory: Memory,
    /// The last window with its context, and `fresh` samples behind it that are not judged yet.
    heard: [i16; HEARD + ROOM],
    fresh: usize,
    /// The newest last.
    said: [Said; SAID],
    /// Energy of the loudest window with a pitch, and of the loudest that had none and was no voice.
    loudest: f32,
    burst: f32,
    /// For how many frames it has been asked.
    asked: u8,
    answer: Option<bool>,
}

/// Of a window.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    voice: f32,
    pitched: bool,
    energy: f32,
}

impl Default for Opinion {
    fn default() -> Opinion {
        Opinion {
            silero: Silero::get(),
            memory: Memory::default(),
            heard: [0; HEARD + ROOM],
            fresh: 0,
            said: [Said::default(); SAID],
            loudest: 0.0,
            burst: 0.0,
            asked: 0,
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
            let at = HEARD + self.fresh;
            let (taken, rest) = samples.split_at(samples.len().min(ROOM - self.fresh));
            self.heard[at..at + taken.len()].copy_from_slice(taken);
            self.fresh += taken.len();
            samples = rest;
            if self.fresh == ROOM {
                self.judge();
            }
        }
    }

    /// Whether it is a voice, now that it would stop a prompt for which so much speech is asked.
    pub fn agrees(&mut self, min_speech: Ms) -> bool {
        self.judge();
        self.asked = self.asked.saturating_add(1);
        let agrees = if self.burst * BURST >= self.loudest && self.burst > 0.0 {
            self.is_long()
        } else {
            let windows = (min_speech.0 / SPEECH_PER_WINDOW).clamp(1, LAST as u32) as usize;
            let mean = self.said[SAID - windows..].iter().map(|said| said.voice).sum::<f32>() / windows as f32;
            mean >= VOICE || windows == 1 && self.asked <= FIRST_ASKED && self.lately() >= FIRST
        };
        self.answer = Some(agrees || self.answer == Some(true));
        agrees
    }

    /// Whether it has ever agreed; `None` if it was not asked in the end.
    pub fn answer(&self) -> Option<bool> {
        self.answer
    }

    /// All windows that wait.
    fn judge(&mut self) {
        let judged = self.fresh / WINDOW * WINDOW;
        for at in (WINDOW..=judged).step_by(WINDOW) {
            let Some(window) = self.heard[at..].first_chunk() else { unreachable!() };
            let voice = self.silero.probability(window, &mut self.memory);
            let (pitched, energy) = (is_pitched(window), energy(&window[CONTEXT..]) as f32);
            self.remember(Said { voice, pitched, energy });
        }
        self.heard.copy_within(judged..HEARD + self.fresh, 0);
        self.fresh -= judged;
    }

    fn remember(&mut self, window: Said) {
        self.said.copy_within(1.., 0);
        self.said[SAID - 1] = window;
        if window.pitched {
            self.loudest = self.loudest.max(window.energy);
        } else if window.voice < VOICE {
            self.burst = self.burst.max(window.energy);
        }
    }

    /// What it says of the last 32 ms, which it does not remember having been asked about.
    fn lately(&self) -> f32 {
        match self.heard[self.fresh..].first_chunk() {
            Some(window) if self.fresh > 0 => self.silero.probability(window, &mut self.memory.clone()),
            _ => self.said[SAID - 1].voice,
        }
    }

    /// A voice that is more than the end of a cough.
    fn is_long(&self) -> bool {
        let least = self.loudest.max(self.burst) / STRENGTH;
        let strong = self.said.iter().filter(|said| said.pitched && said.energy >= least);
        strong.map(|said| said.voice).sum::<f32>() >= AFTER_BURST
    }
}

/// Whether one wave is like the next.
fn is_pitched(window: &[i16; HEARD]) -> bool {
    // Twelve bits: all sums are below 2^31.
    let window = window.map(|sample| sample / 16);
    let square = |sample: i16| i32::from(sample) * i32::from(sample);
    let shorter = &window[*PITCHES.start()..];
    let mut later: i32 = shorter.iter().copied().map(square).sum();
    let mut earlier: i32 = window[..shorter.len()].iter().copied().map(square).sum();
    for pitch in PITCHES {
        let (left, right) = (&window[pitch..], &window[..HEARD - pitch]);
        let both: i32 = left.iter().zip(right).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
        if both > 0 && (both as f32).powi(2) >= ALIKE.powi(2) * later as f32 * earlier as f32 {
            return true;
        }
        later -= square(window[pitch]);
        earlier -= square(right[right.len() - 1]);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it has heard so far: of each window how likely it is a voice, whether it has a pitch, and its energy.
    fn opinion(windows: &[(f32, bool, f32)]) -> Opinion {
        let mut opinion = Opinion::default();
        for (voice, pitched, energy) in windows.iter().copied() {
            opinion.remember(Said { voice, pitched, energy });
        }
        opinion
    }

    /// What it says at last of windows with these probabilities.
    fn agrees(said: [f32; LAST], min_speech: u32) -> bool {
        opinion(&said.map(|voice| (voice, true, 1.0))).agrees(Ms(min_speech))
    }

    #[test]
    fn as_many_windows_count_as_fill_half_of_the_speech_that_is_asked_for() {
        assert!(agrees([0.0, 0.0, 0.5], 60), "quick: the last one alone");
        assert!(!agrees([1.0, 1.0, 0.3], 0));
        assert!(agrees([0.0, 0.3, 0.8], 150), "two");
        assert!(!agrees([1.0, 0.1, 0.8], 150));
        assert!(!agrees([0.0, 0.5, 0.9], 200), "three");
        assert!(agrees([0.3, 0.5, 0.9], 200));
        assert!(agrees([0.3, 0.5, 0.9], 5_000), "and no more");
    }

    #[test]
    fn where_one_window_is_enough_two_fifths_are_in_the_first_100_ms() {
        let mut quick = opinion(&[(0.45, true, 1.0)]);
        assert!((0..FIRST_ASKED).all(|_| quick.agrees(Ms(60))));
        assert!(!quick.agrees(Ms(60)));
        assert!(!opinion(&[(0.45, true, 1.0)]).agrees(Ms(200)));
    }

    #[test]
    fn the_voice_at_the_end_of_a_cough_is_none_and_one_that_goes_on_is() {
        const BURST: (f32, bool, f32) = (0.1, false, 1.0);
        const VOICE: (f32, bool, f32) = (0.9, true, 1.0);
        for min_speech in [60, 200] {
            assert!(!opinion(&[BURST, VOICE, VOICE, VOICE, VOICE]).agrees(Ms(min_speech)), "a cough");
            assert!(opinion(&[BURST, VOICE, VOICE, VOICE, VOICE, VOICE]).agrees(Ms(min_speech)), "a person");
            let soft = (0.1, false, 0.2);
            assert!(opinion(&[soft, VOICE, VOICE]).agrees(Ms(min_speech)), "a soft consonant is no burst");
            let [echo, breath] = [(0.9, true, 0.02), (0.9, false, 1.0)];
            assert!(
                !opinion(&[BURST, VOICE, VOICE, VOICE, VOICE, echo, echo]).agrees(Ms(min_speech)),
                "what dies away"
            );
            assert!(
                !opinion(&[BURST, VOICE, VOICE, VOICE, VOICE, breath, breath]).agrees(Ms(min_speech)),
                "has no pitch"
            );
        }
    }

    #[test]
    fn a_voice_has_a_pitch_however_deep_and_noise_has_none() {
        let pulses = |hz: usize| std::array::from_fn(|n| if n % (8_000 / hz) < 4 { 8_000 } else { -300 });
        assert!([75, 120, 210, 400].into_iter().all(|hz| is_pitched(&pulses(hz))));
        let mut state = 1u32;
        for loud in [40, 500, 32_767] {
            let noise = std::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 16) as i32 % (2 * loud) - loud) as i16
            });
            assert!(!is_pitched(&noise), "{loud}");
        }
        assert!(!is_pitched(&[0; HEARD]), "nor has silence");
        assert!(is_pitched(&[i16::MIN; HEARD]), "and nothing is too loud");
    }

    #[test]
    fn it_remembers_having_agreed_and_whether_it_was_asked_at_all() {
        let mut opinion = opinion(&[(0.9, true, 1.0); LAST]);
        assert_eq!(opinion.answer(), None);
        opinion.agrees(Ms(200));
        opinion.said = [Said::default(); SAID];
        assert!(!opinion.agrees(Ms(200)));
        assert_eq!(opinion.answer(), Some(true));
        opinion.renew();
        opinion.agrees(Ms(200));
        assert_eq!(opinion.answer(), Some(false));
    }

    #[test]
    fn how_the_samples_come_and_when_it_is_asked_does_not_matter() {
        let sound: Vec<i16> = (0..4_000).map(|n| ((n * 7_919) % 4_001 - 2_000) as i16).collect();
        let said = |pieces: usize, asked: bool| {
            let mut opinion = Opinion::default();
            for piece in sound.chunks(pieces) {
                opinion.hear(piece);
                if asked {
                    opinion.agrees(Ms(200));
                }
            }
            opinion.agrees(Ms(200));
            (opinion.said.map(|said| said.voice), opinion.lately())
        };
        assert_eq!(said(160, false), said(4_000, false));
        assert_eq!(said(160, false), said(1, false));
        assert_eq!(said(160, false), said(160, true));
    }

    #[test]
    fn the_last_32_ms_are_judged_as_a_window_would_be() {
        let sound: Vec<i16> = (0..1_000).map(|n| ((n * 7_919) % 4_001 - 2_000) as i16).collect();
        let mut opinion = Opinion::default();
        opinion.hear(&sound[..WINDOW + 100]);
        opinion.judge();
        let window = sound[WINDOW + 100 - HEARD..].first_chunk().expect("long enough");
        let likely = Silero::get().probability(window, &mut opinion.memory.clone());
        assert_eq!([opinion.lately(), opinion.lately()], [likely; 2], "and that is not remembered");
    }
}
