//! What the robot is to say: an ordered list of segments, joined without a gap.

use std::sync::Arc;

use super::knobs::BargeIn;
use crate::dsp::tone::signal::Signal;
use crate::ms::Ms;

/// The longest text that is synthesised, in bytes.
pub const LONGEST_TEXT: usize = 16 * 1024;

/// Number of a prompt within its call, from 1, in the order in which they were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromptNo(pub u32);

/// No prompt has this number: what is looped under all of them.
pub const NO_PROMPT: PromptNo = PromptNo(0);

/// A prompt as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The asker's id, returned in events; empty: the call makes one.
    pub id: String,
    /// What to say; at least one.
    pub segments: Vec<Segment>,
    /// Who may stop it; `None`: the call's knob.
    pub barge_in: Option<BargeIn>,
    /// The first part that cannot be stopped; `None`: the call's knob.
    pub protect: Option<Ms>,
    /// Said because nobody answered.
    pub silent: bool,
    /// Its text goes on in later prompts of the same id, until one that says no more.
    pub more: bool,
}

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// What.
    pub source: Source,
    /// Reported when this segment begins to play; empty for none.
    pub mark: String,
}

/// Where a segment's sound comes from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Source {
    /// Synthesised.
    Text(Text),
    /// A recording: path below the prompts folder.
    File(String),
    /// A tone that is made here.
    Tone(Signal),
    /// Nothing for a while.
    Silence(Ms),
}

/// Speech to be synthesised.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Text {
    /// What; `${name}` stands for a variable of the call until the call fills it in.
    pub text: Arc<str>,
    /// A voice of the speech service; empty for the configured one.
    pub voice: String,
    /// BCP 47 tag; empty for the configured one.
    pub language: String,
    /// Factor, 0.5–2.0.
    pub speed: Option<f32>,
    /// Semitones, −12 to 12.
    pub pitch: Option<f32>,
    /// dB, −40 to 10.
    pub volume: Option<f32>,
    /// The text is SSML.
    pub ssml: bool,
    /// Said once, or not to be kept: what is made of it is for this call alone.
    pub once: bool,
}

impl Prompt {
    /// A prompt of one text, with the call's own knobs.
    pub fn text(text: &str) -> Prompt {
        Prompt::of(Source::Text(Text { text: text.into(), ..Text::default() }))
    }

    /// A prompt of one segment, with the call's own knobs.
    pub fn of(source: Source) -> Prompt {
        let segments = vec![Segment { source, mark: String::new() }];
        Prompt { id: String::new(), segments, barge_in: None, protect: None, silent: false, more: false }
    }
}
