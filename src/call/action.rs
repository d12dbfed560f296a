//! What may be asked of a call that is up, by its dialogue or by the orchestrator.

use std::sync::Arc;

use super::collection::Collect;
use super::hints::Hints;
use super::knobs::KnobChange;
use super::prompt::Prompt;
use super::second_leg::SecondLeg;
use super::transfer::{Decision, Refer};
use crate::ms::Ms;
use crate::sip::message::Reason;
use crate::sip::session::ExtraHeaders;

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Say something, after all that is queued.
    Say(Prompt),
    /// Stop speaking; what is queued is dropped too.
    Stop,
    /// Collect keys; `None`: end the collection that is under way.
    Collect(Option<Box<Collect>>),
    /// End the call.
    Hangup {
        /// In the middle of a prompt too; else after the last sample of all that is queued.
        now: bool,
        /// For the record.
        reason: String,
        /// For the far end.
        farewell: Farewell,
    },
    /// Have the far end call somebody else.
    Refer(Box<Refer>),
    /// Call somebody else ourselves, and join the two.
    Transfer(Box<SecondLeg>),
    /// Whether a REFER of the far end is followed.
    ReferAnswer(Decision),
    /// Put the far end on hold, or resume.
    Hold(bool),
    /// Pause the recording, from the next frame, or resume it.
    PauseRecording {
        /// Pause.
        on: bool,
        /// What is said and pressed meanwhile is shown and kept all the same.
        keep_text: bool,
    },
    /// Change knobs.
    Set(KnobChange),
    /// What to expect from the caller.
    Expect {
        /// Send partial results to the dialogue, or no longer.
        partials: bool,
        /// What is likely in this turn; `None`: nothing in particular.
        hints: Option<Arc<Hints>>,
    },
    /// End the caller's turn now, on what is understood so far; the number of the utterance.
    EndTurn(u32),
    /// Another silence than the knob's ends the caller's turn that goes on, or comes next.
    MoreTime(Ms),
    /// Send nothing to the caller, or again.
    Mute(bool),
    /// The dialogue takes more time; zero: the configured time anew.
    Wait(Ms),
    /// Another dialogue takes the call over; its configured name.
    Attach(String),
    /// A fact for the record.
    Label {
        /// Name.
        key: String,
        /// Value.
        value: String,
    },
    /// Keys to send as RTP events: 0-9 * # A-D, already checked.
    SendKeys(String),
}

impl Action {
    /// The field by which the contracts ask for it.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Say(_) => "say",
            Action::Stop => "stop",
            Action::Collect(_) => "collect",
            Action::Hangup { .. } => "hangup",
            Action::Refer(_) => "refer",
            Action::Transfer(_) => "transfer",
            Action::ReferAnswer(_) => "refer_answer",
            Action::Hold(_) => "hold",
            Action::PauseRecording { .. } => "record_pause",
            Action::Set(_) => "set",
            Action::Expect { .. } => "expect",
            Action::EndTurn(_) => "end_turn",
            Action::MoreTime(_) => "more_time",
            Action::Mute(_) => "mute",
            Action::Wait(_) => "wait",
            Action::Attach(_) => "attach_dialogue",
            Action::Label { .. } => "label",
            Action::SendKeys(_) => "send_keys",
        }
    }
}

/// What goes along with a BYE; before the answer with the CANCEL, or the refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Farewell {
    /// More headers, User-to-User among them.
    pub headers: ExtraHeaders,
    /// Q.850 cause.
    pub cause: Option<u8>,
}

impl Farewell {
    /// The Reason header (RFC 3326).
    pub(super) fn reason(&self) -> Option<Reason> {
        let reason = |cause: u8| Reason { protocol: "Q.850".to_owned(), cause: Some(cause.into()), text: None };
        self.cause.map(reason)
    }
}

/// What the dialogue asked, with what it answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The dialogue's id of it, returned in faults.
    pub action_id: String,
    /// The event that it answers; 0 for none.
    pub answers: u64,
    /// Do it even when the caller has spoken since.
    pub even_if_stale: bool,
    /// What; or why it cannot be done (not understood, not built): told to the dialogue as a fault.
    pub action: Result<Action, String>,
}
