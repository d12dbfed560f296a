//! Utterances: where the caller began to speak and where he stopped.
//!
//! ```text
//!  voiced     ··▮▮···▮▮▮▮▮▮▮▮▮▮▮▮▮··▮▮▮▮▮▮▮···················
//!               a    b     s              e                  r
//!  a: a flicker, too short to start anything     b: the onset
//!  s: `speech_start` of voiced time is full: Started { onset: b }
//!  e: the end of the last voiced frame           r: `endpoint` after e: Ended { start: b, stop: e }
//! ```
//!
//! Before an utterance has started, voiced time adds up over gaps of up to 100 ms (a stop consonant, a lost judgement) and is
//! forgotten after a longer one. Within an utterance every voiced frame counts against its end, flickers too: a word cut off
//! is worse than an end reported late; but a flicker shorter than 40 ms after more than half of `endpoint` is noise and does
//! not prolong the utterance.
//!
//! Time is the media time that comes with each frame. Where frames are missing (the line was silent and brought no packets)
//! or come twice for the same moment, only the time told counts. Knobs may be changed before any frame and act from it on.

use crate::ms::Ms;

/// Frames are 20 ms long.
const FRAME: Ms = Ms(20);
/// Gaps that do not break a beginning.
const BRIDGE: Ms = Ms(100);
/// A voiced stretch shorter than this, after more than half of the endpoint silence, is noise.
const FLICKER: Ms = Ms(40);

/// When silence ends an utterance and when speech begins one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointKnobs {
    /// Silence after speech that ends the utterance, 200–2000 ms.
    pub endpoint: Ms,
    /// Voiced time that counts as speech, 20–1000 ms.
    pub speech_start: Ms,
    /// A longer utterance is ended and flagged, 1 000–300 000 ms.
    pub max_utterance: Ms,
}

impl Default for EndpointKnobs {
    fn default() -> EndpointKnobs {
        EndpointKnobs { endpoint: Ms(700), speech_start: Ms(100), max_utterance: Ms(60_000) }
    }
}

impl EndpointKnobs {
    /// The nearest values within the ranges; the owner compares to report what was clamped.
    pub fn clamped(self) -> EndpointKnobs {
        EndpointKnobs {
            endpoint: self.endpoint.clamp(Ms(200), Ms(2_000)),
            speech_start: self.speech_start.clamp(Ms(20), Ms(1_000)),
            max_utterance: self.max_utterance.clamp(Ms(1_000), Ms(300_000)),
        }
    }
}

/// An edge of an utterance, in media time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Speech has begun.
    Started {
        /// The start of its first voiced frame.
        onset: Ms,
    },
    /// The utterance is over.
    Ended {
        /// Its onset.
        start: Ms,
        /// The end of its last voiced frame: the trailing silence is not part of it.
        stop: Ms,
        /// It was cut because it had become too long; the caller may still be speaking.
        too_long: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Silence,
    /// Something voiced, not yet enough.
    Maybe,
    Speech,
}

/// Finds the boundaries in a sequence of voiced and unvoiced frames.
#[derive(Clone, Debug)]
pub struct Endpointer {
    knobs: EndpointKnobs,
    phase: Phase,
    onset: Ms,
    /// End of the last voiced frame that counts.
    stop: Ms,
    voiced: Ms,
    /// The voiced stretch that may still be a flicker: its start.
    stretch: Option<Ms>,
    /// End of the newest frame.
    told: Ms,
}

impl Endpointer {
    /// An endpointer in silence. Knobs out of range are clamped.
    pub fn new(knobs: EndpointKnobs) -> Endpointer {
        Endpointer {
            knobs: knobs.clamped(),
            phase: Phase::Silence,
            onset: Ms::ZERO,
            stop: Ms::ZERO,
            voiced: Ms::ZERO,
            stretch: None,
            told: Ms::ZERO,
        }
    }

    /// Changes the knobs, clamped, from the next frame on.
    pub fn set_knobs(&mut self, knobs: EndpointKnobs) {
        self.knobs = knobs.clamped();
    }

    /// The knobs in force.
    pub fn knobs(&self) -> EndpointKnobs {
        self.knobs
    }

    /// Takes the frame that begins at media time `at`. A boundary is told in the very frame that makes it certain. Of a voice that is no longer
    /// `heard` a detector may go on for a while: it counts as before, but it is not what the utterance ends with.
    pub fn push(&mut self, voiced: bool, heard: bool, at: Ms) -> Option<Boundary> {
        let end = (at + FRAME).max(self.told);
        // A frame for a moment already told (the delay was lengthened) adds no time.
        let new = (end - self.told).min(FRAME);
        self.told = end;
        match self.phase {
            Phase::Silence | Phase::Maybe => self.before_speech(voiced, at, end, new),
            Phase::Speech => self.in_speech(voiced, heard, at, end, new),
        }
    }

    /// How much voiced time the present spurt holds so far, whether it has started an utterance or not yet; zero in silence.
    pub fn voiced_ms(&self) -> Ms {
        self.voiced
    }

    /// The onset of the utterance under way.
    pub fn speaking_since(&self) -> Option<Ms> {
        (self.phase == Phase::Speech).then_some(self.onset)
    }

    /// How long nothing has been voiced in the utterance under way; none in silence.
    pub fn silent_for(&self) -> Option<Ms> {
        (self.phase == Phase::Speech).then(|| self.told - self.stop)
    }

    /// Forgets what is under way, without a boundary: the stream has been replaced.
    pub fn reset(&mut self) {
        self.phase = Phase::Silence;
        self.voiced = Ms::ZERO;
        self.stretch = None;
    }

    /// Whether the next frame ends the utterance, whatever it holds: with it the silence is long enough, and a voice that begins in it is a
    /// flicker. Who knows that it has come need not wait for its turn.
    pub fn lacks_one(&self) -> bool {
        let silent = self.told - self.stop;
        let is_late = silent > Ms(self.knobs.endpoint.as_u32() / 2);
        self.phase == Phase::Speech && self.stretch.is_none() && is_late && silent + FRAME >= self.knobs.endpoint
    }

    /// Ends the utterance that [lacks one](Self::lacks_one) frame, as that frame will.
    pub fn end_early(&mut self) -> Boundary {
        self.end(false)
    }

    fn before_speech(&mut self, voiced: bool, at: Ms, end: Ms, new: Ms) -> Option<Boundary> {
        if self.phase == Phase::Maybe && end - self.stop > BRIDGE + if voiced { FRAME } else { Ms::ZERO } {
            self.reset();
        }
        if !voiced {
            return None;
        }
        if self.phase == Phase::Silence {
            self.phase = Phase::Maybe;
            self.onset = at;
        }
        self.voiced += new;
        self.stop = end;
        if self.voiced < self.knobs.speech_start {
            return None;
        }
        self.phase = Phase::Speech;
        Some(Boundary::Started { onset: self.onset })
    }

    fn in_speech(&mut self, voiced: bool, heard: bool, at: Ms, end: Ms, new: Ms) -> Option<Boundary> {
        if voiced {
            let since = *self.stretch.get_or_insert(at);
            let late = since - self.stop > Ms(self.knobs.endpoint.as_u32() / 2);
            if heard && (!late || end - since >= FLICKER) {
                self.stop = end;
            }
            self.voiced += new;
        } else {
            self.stretch = None;
        }
        if end - self.stop >= self.knobs.endpoint {
            return Some(self.end(false));
        }
        if end - self.onset >= self.knobs.max_utterance {
            return Some(self.end(true));
        }
        None
    }

    fn end(&mut self, too_long: bool) -> Boundary {
        let ended = Boundary::Ended { start: self.onset, stop: self.stop, too_long };
        self.reset();
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `#` is a voiced frame, `~` one of a voice that is no longer heard, `.` an unvoiced one, `_` a missing one; returns the boundaries with the time at which each was told.
    fn run(endpointer: &mut Endpointer, frames: &str) -> Vec<(u32, Boundary)> {
        let mut told = Vec::new();
        for (n, frame) in frames.chars().enumerate() {
            let at = Ms(n as u32 * 20);
            if frame != '_'
                && let Some(boundary) = endpointer.push(frame != '.', frame == '#', at)
            {
                told.push((at.0 + 20, boundary));
            }
        }
        told
    }

    #[test]
    fn a_voice_that_is_no_longer_heard_counts_and_is_not_what_an_utterance_ends_with() {
        let told = run(&mut with(200, 100), "..###~~~##~~~..........");
        assert_eq!(
            told,
            [(140, started(40)), (400, Boundary::Ended { start: Ms(40), stop: Ms(200), too_long: false })]
        );
    }

    fn with(endpoint: u32, speech_start: u32) -> Endpointer {
        let knobs =
            EndpointKnobs { endpoint: Ms(endpoint), speech_start: Ms(speech_start), ..EndpointKnobs::default() };
        Endpointer::new(knobs)
    }

    fn started(onset: u32) -> Boundary {
        Boundary::Started { onset: Ms(onset) }
    }

    fn ended(start: u32, stop: u32) -> Boundary {
        Boundary::Ended { start: Ms(start), stop: Ms(stop), too_long: false }
    }

    #[test]
    fn the_frame_that_an_utterance_lacks_ends_it_whatever_it_holds() {
        for endpoint in (200..=2_000).step_by(50) {
            let silent = (endpoint as usize).div_ceil(20) - 1;
            for last in ['.', '#', '~'] {
                let mut endpointer = with(endpoint, 100);
                assert_eq!(run(&mut endpointer, &format!("{}{}", "#".repeat(20), ".".repeat(silent - 1))).len(), 1);
                assert!(!endpointer.lacks_one(), "{endpoint}: another one would not do");
                let at = Ms(400 + silent as u32 * 20 - 20);
                assert_eq!(endpointer.push(false, false, at), None);
                assert!(endpointer.lacks_one(), "{endpoint}");
                let mut early = endpointer.clone();
                let end = endpointer.push(last != '.', last == '#', at + FRAME);
                assert_eq!((end, early.end_early()), (Some(ended(0, 400)), ended(0, 400)), "{endpoint} {last}");
                assert!(!early.lacks_one());
            }
        }
        let mut stretch = with(200, 100);
        run(&mut stretch, "########........#");
        assert!(!stretch.lacks_one(), "a second voiced frame would prolong it");
    }

    #[test]
    fn the_times_are_exact() {
        let line = format!("{}{}{}", ".".repeat(10), "#".repeat(20), ".".repeat(50));
        for endpoint in (200..=980).step_by(20) {
            let told = run(&mut with(endpoint, 100), &line);
            assert_eq!(told, [(300, started(200)), (600 + endpoint, ended(200, 600))]);
        }
        assert_eq!(run(&mut with(710, 100), &line)[1].0, 600 + 720, "in the frame in which it became long enough");
    }

    #[test]
    fn flickers_neither_start_nor_end() {
        assert_eq!(run(&mut with(700, 100), &"##........".repeat(30)), []);
        let pauses = format!("{}{}{}", "#".repeat(10), "....####".repeat(20), ".".repeat(40));
        assert_eq!(run(&mut with(700, 100), &pauses), [(100, started(0)), (3400 + 700, ended(0, 3400))]);
        let click = format!("{}{}#{}", "#".repeat(10), ".".repeat(20), ".".repeat(40));
        assert_eq!(run(&mut with(700, 100), &click)[1], (900, ended(0, 200)), "a click late in the silence");
        let word = format!("{}{}##{}", "#".repeat(10), ".".repeat(20), ".".repeat(40));
        assert_eq!(run(&mut with(700, 100), &word)[1], (1340, ended(0, 640)), "but a short word counts");
    }

    #[test]
    fn a_beginning_with_gaps_is_back_dated_to_its_first_frame() {
        let told = run(&mut with(700, 100), "...##..#.##");
        assert_eq!(told, [(220, started(60))]);
        let told = run(&mut with(700, 100), "##......#####");
        assert_eq!(told, [(260, started(160))], "a gap of 120 ms begins anew");
        assert_eq!(run(&mut with(700, 20), "..#"), [(60, started(40))]);
    }

    #[test]
    fn missing_frames_are_silence() {
        let line = format!("{}{}..", "#".repeat(10), "_".repeat(40));
        assert_eq!(run(&mut with(700, 100), &line), [(100, started(0)), (1020, ended(0, 200))]);
        assert_eq!(run(&mut with(700, 100), &format!("###{}###", "_".repeat(20))), []);
    }

    #[test]
    fn frames_told_twice_add_no_time() {
        let mut endpointer = with(700, 100);
        for _ in 0..20 {
            assert_eq!(endpointer.push(true, true, Ms(0)), None);
        }
        assert_eq!(endpointer.voiced_ms(), Ms(20));
    }

    #[test]
    fn knobs_act_from_the_next_frame() {
        let mut endpointer = with(2000, 100);
        run(&mut endpointer, "##########.........."); // 200 ms of speech, 200 ms of silence
        endpointer.set_knobs(EndpointKnobs { endpoint: Ms(1), ..endpointer.knobs() });
        assert_eq!(endpointer.knobs().endpoint, Ms(200));
        assert_eq!(endpointer.push(false, false, Ms(400)), Some(ended(0, 200)));
    }

    #[test]
    fn too_long_is_cut_and_the_rest_is_an_utterance_of_its_own() {
        let knobs = EndpointKnobs { max_utterance: Ms(1000), ..EndpointKnobs::default() };
        let told = run(&mut Endpointer::new(knobs), &"#".repeat(60));
        let cut = Boundary::Ended { start: Ms(0), stop: Ms(1000), too_long: true };
        assert_eq!(told, [(100, started(0)), (1000, cut), (1100, started(1000))]);
    }

    #[test]
    fn voiced_time_is_known_at_every_frame() {
        let mut endpointer = with(700, 100);
        run(&mut endpointer, "##");
        assert_eq!((endpointer.voiced_ms(), endpointer.speaking_since()), (Ms(40), None));
        run(&mut endpointer, "__###.##");
        assert_eq!((endpointer.voiced_ms(), endpointer.speaking_since()), (Ms(140), Some(Ms(0))));
        endpointer.reset();
        assert_eq!((endpointer.voiced_ms(), endpointer.speaking_since()), (Ms(0), None));
    }

    proptest! {
        #[test]
        fn boundaries_alternate_and_never_overlap(
            frames in proptest::collection::vec((any::<bool>(), 0u32..4), 1..2000), endpoint in 0u32..3000, start in 0u32..1200
        ) {
            let mut endpointer = with(endpoint, start);
            let (mut at, mut open, mut last_stop) = (0, None, Ms(0));
            for (voiced, skip) in frames {
                at += skip * 20;
                match endpointer.push(voiced, voiced, Ms(at)) {
                    Some(Boundary::Started { onset }) => {
                        prop_assert!(open.is_none() && onset >= last_stop && onset <= Ms(at));
                        open = Some(onset);
                    }
                    Some(Boundary::Ended { start, stop, .. }) => {
                        prop_assert_eq!(open.take(), Some(start));
                        prop_assert!(stop > start && stop <= Ms(at + 20));
                        last_stop = stop;
                    }
                    None => {}
                }
                prop_assert_eq!(endpointer.speaking_since(), open);
            }
        }
    }
}
