//! The knobs of a conversation (docs: the table in `docs/conversation.md`), and how a change to them is taken.
//!
//! Every knob exists per call and per turn; a change acts from the next frame. A value out of range is clamped and
//! reported, never refused.

use std::sync::Arc;

use super::fillers::Fillers;
use super::prompt::Source;
use crate::ms::Ms;

/// Who may stop a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BargeIn {
    /// Nobody; keys neither.
    Never,
    /// Any speech of `min_speech`, and a key when `key_barge_in` is on.
    Speech,
    /// `min_words` recognised words that are not in `ignore`, and a key when `key_barge_in` is on. Without a recogniser it is as `Speech`.
    Words,
}

/// What becomes of a prompt when the caller speaks into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnBargeIn {
    /// It is stopped.
    Stop,
    /// It falls silent, and within `verdict` it is decided whether it is stopped or goes on from there.
    Pause,
}

/// The knobs as they stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Knobs {
    /// Silence after speech that ends an utterance, 200–2000 ms.
    pub endpoint: Ms,
    /// Voiced time that counts as speech, 20–1000 ms.
    pub speech_start: Ms,
    /// Audio before the onset that recognition still gets, 0–1000 ms.
    pub pre_roll: Ms,
    /// A longer utterance is ended and flagged, 1–300 s.
    pub max_utterance: Ms,
    /// Silence after the robot's last sound that counts as no answer, 1–60 s; 0 is off.
    pub no_input: Ms,
    /// Who may stop a prompt.
    pub barge_in: BargeIn,
    /// How much speech stops a prompt, 0–5000 ms.
    pub min_speech: Ms,
    /// The first part of a prompt that cannot be stopped, 0–60 s.
    pub protect: Ms,
    /// A second opinion is asked on a voice that would stop a prompt, or make it pause: music and noises do not.
    pub second_opinion: bool,
    /// A key stops the prompt.
    pub key_barge_in: bool,
    /// How many words that are not in `ignore` stop a prompt, 1–20.
    pub min_words: u32,
    /// Words that never stop a prompt.
    pub ignore: Arc<Fillers>,
    /// What becomes of a prompt when the caller speaks into it.
    pub on_barge_in: OnBargeIn,
    /// A voice that is softer than the prompt by more than this may be its echo and does not interrupt, 6–60 dB; 0 is off.
    pub echo_guard_db: u32,
    /// How long it may take to decide whether a prompt that has paused goes on, 100–5000 ms.
    pub verdict: Ms,
    /// After an utterance, a bridging phrase is said if no answer has begun by then, 100–10 000 ms; 0 is off.
    pub filler_after: Ms,
    /// The bridging phrases, taken in turn.
    pub bridging: Arc<[Source]>,
}

/// Those of them by which a leg hears and falls silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegKnobs {
    /// See [`Knobs::endpoint`].
    pub endpoint: Ms,
    /// See [`Knobs::speech_start`].
    pub speech_start: Ms,
    /// See [`Knobs::max_utterance`].
    pub max_utterance: Ms,
    /// See [`Knobs::min_speech`].
    pub min_speech: Ms,
    /// See [`Knobs::second_opinion`].
    pub second_opinion: bool,
    /// See [`Knobs::key_barge_in`].
    pub key_barge_in: bool,
    /// See [`Knobs::on_barge_in`].
    pub on_barge_in: OnBargeIn,
    /// See [`Knobs::echo_guard_db`].
    pub echo_guard_db: u8,
}

impl Default for LegKnobs {
    fn default() -> Self {
        Knobs::default().leg()
    }
}

impl Default for Knobs {
    fn default() -> Self {
        Knobs {
            endpoint: Ms(700),
            speech_start: Ms(100),
            pre_roll: Ms(300),
            max_utterance: Ms(60_000),
            no_input: Ms(5_000),
            barge_in: BargeIn::Speech,
            min_speech: Ms(200),
            protect: Ms(0),
            second_opinion: true,
            key_barge_in: true,
            min_words: 1,
            ignore: Fillers::usual(),
            on_barge_in: OnBargeIn::Stop,
            echo_guard_db: 20,
            verdict: Ms(500),
            filler_after: Ms(0),
            bridging: Arc::default(),
        }
    }
}

/// A sound that is looped under everything that is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Background {
    /// Below the prompts folder; empty: none.
    pub path: Arc<str>,
    /// Of the file's own level, −60 to 0 dB.
    pub level_db: f32,
}

impl Background {
    /// The levels that make sense.
    pub const LEVELS_DB: std::ops::RangeInclusive<f32> = -60.0..=0.0;
}

/// A change to some of them; `None` leaves a knob as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KnobChange {
    /// See [`Knobs::endpoint`].
    pub endpoint: Option<Ms>,
    /// See [`Knobs::speech_start`].
    pub speech_start: Option<Ms>,
    /// See [`Knobs::pre_roll`].
    pub pre_roll: Option<Ms>,
    /// See [`Knobs::max_utterance`].
    pub max_utterance: Option<Ms>,
    /// See [`Knobs::no_input`].
    pub no_input: Option<Ms>,
    /// See [`Knobs::barge_in`].
    pub barge_in: Option<BargeIn>,
    /// See [`Knobs::min_speech`].
    pub min_speech: Option<Ms>,
    /// See [`Knobs::protect`].
    pub protect: Option<Ms>,
    /// See [`Knobs::second_opinion`].
    pub second_opinion: Option<bool>,
    /// See [`Knobs::key_barge_in`].
    pub key_barge_in: Option<bool>,
    /// See [`Knobs::min_words`].
    pub min_words: Option<u32>,
    /// See [`Knobs::ignore`]; replaces the whole list.
    pub ignore: Option<Arc<Fillers>>,
    /// See [`Knobs::on_barge_in`].
    pub on_barge_in: Option<OnBargeIn>,
    /// See [`Knobs::echo_guard_db`].
    pub echo_guard_db: Option<u32>,
    /// See [`Knobs::verdict`].
    pub verdict: Option<Ms>,
    /// See [`Knobs::filler_after`].
    pub filler_after: Option<Ms>,
    /// See [`Knobs::bridging`]; replaces the whole list.
    pub bridging: Option<Arc<[Source]>>,
    /// What is looped under everything that is sent. Not among the [`Knobs`]: a file has to be read for it.
    pub background: Option<Background>,
}

/// A value that was out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clamp {
    /// The knob's name in the contract.
    pub knob: &'static str,
    /// What was asked; of `min_words` a count, of `echo_guard_db` decibels.
    pub asked: Ms,
    /// What it is now.
    pub used: Ms,
}

impl std::fmt::Display for Clamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} is out of range, {} is used", self.knob, self.asked.0, self.used.0)
    }
}

impl Knobs {
    /// Those that the leg acts on.
    pub fn leg(&self) -> LegKnobs {
        LegKnobs {
            endpoint: self.endpoint,
            speech_start: self.speech_start,
            max_utterance: self.max_utterance,
            min_speech: self.min_speech,
            second_opinion: self.second_opinion,
            key_barge_in: self.key_barge_in,
            on_barge_in: self.on_barge_in,
            // Within its range, 60 at most.
            echo_guard_db: self.echo_guard_db as u8,
        }
    }

    /// A bridging phrase is wanted, and there is none.
    pub fn lacks_bridging(&self) -> bool {
        self.filler_after > Ms(0) && self.bridging.is_empty()
    }

    /// Takes a change; says what had to be clamped.
    pub fn apply(&mut self, change: &KnobChange) -> Vec<Clamp> {
        let mut clamps = Vec::new();
        let mut set = |knob, slot: &mut Ms, asked: Option<Ms>, low, high, zero_is_off: bool| {
            let Some(asked) = asked else { return };
            let off = zero_is_off && asked == Ms(0);
            let used = if off { asked } else { Ms(asked.0.clamp(low, high)) };
            if used != asked {
                clamps.push(Clamp { knob, asked, used });
            }
            *slot = used;
        };
        set("endpoint_ms", &mut self.endpoint, change.endpoint, 200, 2_000, false);
        set("speech_start_ms", &mut self.speech_start, change.speech_start, 20, 1_000, false);
        set("pre_roll_ms", &mut self.pre_roll, change.pre_roll, 0, 1_000, false);
        set("max_utterance_ms", &mut self.max_utterance, change.max_utterance, 1_000, 300_000, false);
        set("no_input_ms", &mut self.no_input, change.no_input, 1_000, 60_000, true);
        set("min_speech_ms", &mut self.min_speech, change.min_speech, 0, 5_000, false);
        set("protect_ms", &mut self.protect, change.protect, 0, 60_000, false);
        set("verdict_ms", &mut self.verdict, change.verdict, 100, 5_000, false);
        set("filler_after_ms", &mut self.filler_after, change.filler_after, 100, 10_000, true);
        let mut words = Ms(self.min_words);
        set("min_words", &mut words, change.min_words.map(Ms), 1, 20, false);
        self.min_words = words.0;
        let mut guard = Ms(self.echo_guard_db);
        set("echo_guard_db", &mut guard, change.echo_guard_db.map(Ms), 6, 60, true);
        self.echo_guard_db = guard.0;
        self.ignore = change.ignore.clone().unwrap_or_else(|| self.ignore.clone());
        self.bridging = change.bridging.clone().unwrap_or_else(|| self.bridging.clone());
        self.on_barge_in = change.on_barge_in.unwrap_or(self.on_barge_in);
        self.barge_in = change.barge_in.unwrap_or(self.barge_in);
        self.second_opinion = change.second_opinion.unwrap_or(self.second_opinion);
        self.key_barge_in = change.key_barge_in.unwrap_or(self.key_barge_in);
        clamps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_range_is_clamped_and_reported() {
        let mut knobs = Knobs::default();
        let change = KnobChange { endpoint: Some(Ms(50)), no_input: Some(Ms(0)), ..KnobChange::default() };
        let clamps = knobs.apply(&change);
        assert_eq!(clamps, [Clamp { knob: "endpoint_ms", asked: Ms(50), used: Ms(200) }]);
        assert_eq!(knobs.endpoint, Ms(200));
        assert_eq!(knobs.no_input, Ms(0), "0 switches the timer off, it is not below the range");
        assert_eq!(knobs.protect, Knobs::default().protect, "what is not named stays");
    }
}
