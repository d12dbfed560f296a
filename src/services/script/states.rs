//! A script that has been checked: what a call runs through.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::Deserialize;

use super::pattern::Pattern;
use super::template::Template;

/// Who may stop a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Interruptible {
    /// Nobody.
    Never,
    /// Any speech.
    #[default]
    Speech,
}

/// A knob of the conversation that a script may set, in ms. The ranges are those of `dialogue.v1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Knob {
    /// Silence that ends an utterance.
    EndpointMs,
    /// Voiced time that counts as speech.
    SpeechStartMs,
    /// Audio before the onset that recognition gets.
    PreRollMs,
    /// A longer utterance is ended.
    MaxUtteranceMs,
    /// Silence that counts as no answer; 0 for never.
    NoInputMs,
    /// Speech that stops a prompt.
    MinSpeechMs,
    /// The first part of a prompt, which cannot be stopped.
    ProtectMs,
}

impl Knob {
    /// The value where nobody sets one.
    pub fn default_ms(self) -> u32 {
        match self {
            Self::EndpointMs => 700,
            Self::SpeechStartMs => 100,
            Self::PreRollMs => 300,
            Self::MaxUtteranceMs => 60_000,
            Self::NoInputMs => 5_000,
            Self::MinSpeechMs => 200,
            Self::ProtectMs => 0,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EndpointMs => "endpoint_ms",
            Self::SpeechStartMs => "speech_start_ms",
            Self::PreRollMs => "pre_roll_ms",
            Self::MaxUtteranceMs => "max_utterance_ms",
            Self::NoInputMs => "no_input_ms",
            Self::MinSpeechMs => "min_speech_ms",
            Self::ProtectMs => "protect_ms",
        }
    }

    pub(super) fn range(self) -> RangeInclusive<u32> {
        match self {
            Self::EndpointMs => 200..=2_000,
            Self::SpeechStartMs => 20..=1_000,
            Self::PreRollMs => 0..=1_000,
            Self::MaxUtteranceMs => 1_000..=300_000,
            Self::NoInputMs => 1_000..=60_000,
            Self::MinSpeechMs => 0..=5_000,
            Self::ProtectMs => 0..=60_000,
        }
    }
}

/// A state by its place in [`Script::states`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateId(pub(super) usize);

/// How a text is spoken; what is not set is the speech service's choice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Style {
    /// A voice of the speech service.
    pub voice: Option<String>,
    /// BCP 47 tag.
    pub language: Option<String>,
    /// Factor, 0.5 to 2.0.
    pub speed: Option<f32>,
    /// Semitones, −12 to 12.
    pub pitch: Option<f32>,
    /// dB, −40 to 10.
    pub volume: Option<f32>,
}

/// A part of what the robot says.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Piece {
    /// Speech.
    Text(Template, Style),
    /// A recording below Trunkline's `prompts` folder.
    File(String),
    /// Nothing, for so many ms.
    Silence(u32),
}

/// What the caller may say, and where it leads.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Any of them.
    pub patterns: Vec<Pattern>,
    /// Where it leads.
    pub next: StateId,
    /// Facts for the record.
    pub labels: Vec<(String, Template)>,
}

/// What to do when the caller says nothing, or nothing that a rule knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Fallback {
    /// Said so often before giving up.
    pub times: u32,
    /// What is said; None for what the state says.
    pub say: Option<Vec<Piece>>,
    /// Where giving up leads.
    pub next: StateId,
}

/// One state.
#[derive(Debug, Clone)]
pub struct State {
    /// Its name in the file.
    pub name: String,
    /// What is said on entering it; may be nothing.
    pub say: Vec<Piece>,
    /// Who may stop that.
    pub interruptible: Interruptible,
    /// Knobs while in it, before those of the script.
    pub knobs: BTreeMap<Knob, u32>,
    /// Facts for the record, on entering it.
    pub labels: Vec<(String, Template)>,
    /// What the caller may say, the first that fits.
    pub on: Vec<Rule>,
    /// What the caller may press.
    pub keys: BTreeMap<char, StateId>,
    /// Where words that no rule knows lead when they interrupted.
    pub on_interrupted: Option<StateId>,
    /// When the caller says nothing.
    pub no_input: Option<Fallback>,
    /// When the caller says something that no rule knows.
    pub otherwise: Option<Fallback>,
    /// Where it goes on when all is said, without waiting for the caller.
    pub next: Option<StateId>,
    /// The call ends when all is said.
    pub hangup: bool,
}

impl State {
    /// Whether it waits for the caller when all is said.
    pub fn waits(&self) -> bool {
        !self.hangup && self.next.is_none()
    }
}

/// A script that can be run.
#[derive(Debug, Clone)]
pub struct Script {
    /// All states.
    pub states: Vec<State>,
    /// Where a call begins.
    pub start: StateId,
    /// Values where the call sets none.
    pub variables: BTreeMap<String, String>,
    /// For every state.
    pub knobs: BTreeMap<Knob, u32>,
}

impl Script {
    /// The state with this number.
    pub fn state(&self, id: StateId) -> &State {
        &self.states[id.0]
    }
}
