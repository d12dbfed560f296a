//! What the dialogue is told: what happened on the line.

use std::time::SystemTime;

use super::collection::Collected;
use super::knobs::Clamp;
use super::record::{AnsweredBy, Role};
use crate::ms::Ms;
use crate::sip::refer::Asked;

/// One event for the dialogue.
#[derive(Debug, Clone, PartialEq)]
pub struct LineEvent {
    /// Number within the call, from 1, without gaps.
    pub id: u64,
    /// When.
    pub at: Ms,
    /// What.
    pub what: Line,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Line {
    /// The call is up; the first one, unless early media was listened to.
    Begin(Box<Begin>),
    /// A call that we place has early media, and is not up: the first one then. Until [`Line::Begin`] times count from its first frame.
    Early(Box<Begin>),
    /// The caller said something and fell silent.
    Utterance(Utterance),
    /// What the caller has said so far.
    Partial {
        /// The utterance.
        utterance: u32,
        /// Replaces the one before.
        text: String,
        /// Heard before the answer.
        early: bool,
    },
    /// The caller says nothing.
    NoInput {
        /// How many times in a row.
        count: u32,
    },
    /// A prompt ended.
    PromptDone {
        /// The asker's id of it.
        prompt_id: String,
        /// What was heard, when it was not heard whole.
        interrupted: Option<Heard>,
        /// Why it could not be played whole; empty for no fault.
        fault: String,
    },
    /// The caller interrupts.
    BargeIn(Heard),
    /// A collection of keys came to its end.
    Keys {
        /// How.
        result: Collected,
        /// What was pressed; without the terminator.
        digits: String,
    },
    /// A key was pressed.
    Key {
        /// 0-9 * # A-D.
        key: char,
        /// The prompt that it stopped.
        interrupted: Option<Heard>,
    },
    /// A segment with a mark began to play.
    Mark {
        /// The asker's id of the prompt.
        prompt_id: String,
        /// The mark.
        mark: String,
    },
    /// Who has answered.
    AnsweredBy(AnsweredBy),
    /// The call is on hold, or no longer.
    Hold {
        /// We hold the far end.
        by_us: bool,
        /// The far end holds us.
        by_far_end: bool,
    },
    /// Nothing is sent to the caller, or again.
    Muted {
        /// Nothing.
        on: bool,
        /// From this media time on.
        from: Ms,
    },
    /// A transfer came to its end.
    TransferResult {
        /// The call is the target's; else the conversation goes on.
        reached: bool,
        /// What was told; 0 for nothing.
        sip_code: u16,
        /// In words.
        reason: String,
    },
    /// The far end asks us to call somebody else, and a decision is waited for.
    ReferAsked(Box<ReferAsked>),
    /// A REFER of the far end is followed.
    Referred {
        /// Whom we call.
        target: String,
        /// 0: it is being called, 1: it is the far end now, -1: it could not be had.
        result: i8,
        /// Final status of our call to it; 0 for none.
        sip_code: u16,
        /// In words.
        reason: String,
    },
    /// Something does not work.
    Fault(Fault),
    /// The call is over; the last one.
    End {
        /// Who hung up.
        by: HungUpBy,
        /// Why.
        reason: String,
    },
}

/// A REFER of the far end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferAsked {
    /// Whom we are to call.
    pub target: String,
    /// Headers that it wants in that call.
    pub headers: Vec<(String, String)>,
    /// User-to-User of that call, each as it came.
    pub user_to_user: Vec<String>,
    /// Who refers, as it came; empty: not said.
    pub referred_by: String,
    /// The dialog whose place that call is to take; empty: none.
    pub replaces: String,
    /// How long a decision is waited for.
    pub within: Ms,
}

impl From<&Asked> for ReferAsked {
    fn from(asked: &Asked) -> ReferAsked {
        ReferAsked {
            target: asked.target.as_str().to_owned(),
            headers: asked.headers.clone().into_list(),
            user_to_user: asked.user_to_user.clone(),
            referred_by: asked.referred_by.clone().unwrap_or_default(),
            replaces: asked.replaces.as_ref().map(ToString::to_string).unwrap_or_default(),
            within: Ms(0),
        }
    }
}

/// The call is up.
#[derive(Debug, Clone, PartialEq)]
pub struct Begin {
    /// Our id of the call.
    pub call_id: String,
    /// We dialled; else we were called.
    pub outbound: bool,
    /// Who calls whom.
    pub parties: Parties,
    /// The profile.
    pub trunk: String,
    /// Headers that the profile lets through.
    pub headers: Vec<(String, String)>,
    /// User-to-User as received, one by one.
    pub user_to_user: Vec<String>,
    /// What the orchestrator gave along.
    pub variables: Vec<(String, String)>,
    /// Wall time of the answer; `None` before it.
    pub answered_at: Option<SystemTime>,
    /// What the orchestrator wants back.
    pub correlation: String,
    /// Another stream has spoken for the robot before this one.
    pub resumed: bool,
    /// What has been said so far; only of a stream that takes the place of another.
    pub history: Vec<Past>,
}

/// What has been said, as a dialogue is told that takes over.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// Who.
    pub role: Role,
    /// What.
    pub text: String,
    /// Begin; of what waits to be said, 0.
    pub start: Ms,
    /// End; `None`: it is being said, or waits to be.
    pub stop: Option<Ms>,
    /// It was stopped before its end.
    pub interrupted: bool,
}

/// Who calls whom, as the orchestrator writes numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parties {
    /// The number that calls.
    pub caller: String,
    /// The number that is called.
    pub callee: String,
    /// The display name of who calls us; empty for none.
    pub caller_name: String,
    /// Who calls us does not want to be shown.
    pub withheld: bool,
    /// Who was called first, before the call was diverted to us; empty: it was not, or nobody says so.
    pub diverted_from: String,
    /// Why, as it came; empty: not said.
    pub diversion_reason: String,
}

/// What was heard of a prompt that did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The asker's id of it.
    pub prompt_id: String,
    /// How much of it went out.
    pub heard: Ms,
    /// The segment that was playing, from 0.
    pub segment: u32,
    /// Characters of its text heard, estimated by time; 0 for a file.
    pub characters: u32,
}

/// What became of the recognition of an utterance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// The recogniser's final word.
    Final,
    /// The final did not come in time: the last partial.
    Partial,
    /// Nothing came.
    Missing,
}

/// The caller said something and fell silent.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// Number within the call, from 1.
    pub utterance: u32,
    /// What was understood.
    pub text: String,
    /// Other readings.
    pub alternatives: Vec<String>,
    /// Onset.
    pub start: Ms,
    /// End, without the silence that ended it.
    pub stop: Ms,
    /// Said under a prompt, and could not interrupt it.
    pub during_prompt: bool,
    /// Cut at `max_utterance`.
    pub too_long: bool,
    /// The prompt that it interrupted.
    pub interrupted: Option<Heard>,
    /// 0 to 1.
    pub confidence: Option<f32>,
    /// What became of the recognition.
    pub quality: Quality,
    /// It has words, and none that counts: [`super::fillers`].
    pub filler: bool,
    /// Heard before the answer: numbered for itself, and timed from the first frame of early media.
    pub early: bool,
    /// The dialogue ended the turn; the caller may be speaking on.
    pub ended_early: bool,
}

impl Utterance {
    /// One of which no text has come.
    pub(super) fn unheard(utterance: u32, start: Ms, stop: Ms) -> Utterance {
        Utterance {
            utterance,
            text: String::new(),
            alternatives: Vec::new(),
            start,
            stop,
            during_prompt: false,
            too_long: false,
            interrupted: None,
            confidence: None,
            quality: Quality::Missing,
            filler: false,
            early: false,
            ended_early: false,
        }
    }
}

/// Something does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Recognition.
    Recognition(String),
    /// Synthesis.
    Synthesis(String),
    /// An action was not understood, not allowed now, or is not built.
    Action {
        /// The dialogue's id of it.
        action_id: String,
        /// Names field and state.
        reason: String,
    },
    /// A knob was clamped.
    Knob(Clamp),
    /// An action answered an older turn than the caller's last and was dropped.
    Stale {
        /// The dialogue's id of it.
        action_id: String,
        /// Which event it answered, and which is the last.
        reason: String,
    },
}

/// Who ended the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HungUpBy {
    /// The dialogue, or we ourselves for want of one.
    Robot,
    /// The orchestrator.
    Operator,
    /// The far end, after the answer.
    Caller,
    /// The far end, before the answer.
    CallerRinging,
    /// The human to whom the call was handed over.
    Agent,
    /// Nobody meant to: time-out, lost media, no route.
    Network,
}

impl HungUpBy {
    /// As the contracts write it.
    pub fn as_str(self) -> &'static str {
        match self {
            HungUpBy::Robot => "robot",
            HungUpBy::Operator => "operator",
            HungUpBy::Caller => "caller",
            HungUpBy::CallerRinging => "caller_ringing",
            HungUpBy::Agent => "agent",
            HungUpBy::Network => "network",
        }
    }
}
