//! What may be asked of a call that is up, by its dialogue or by the orchestrator.

use super::knobs::KnobChange;
use super::prompt::Prompt;
use crate::ms::Ms;

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Say something, after all that is queued.
    Say(Prompt),
    /// Stop speaking; what is queued is dropped too.
    Stop,
    /// End the call.
    Hangup {
        /// In the middle of a prompt too; else after the last sample of all that is queued.
        now: bool,
        /// For the record.
        reason: String,
    },
    /// Change knobs.
    Set(KnobChange),
    /// Send partial results to the dialogue, or no longer.
    Partials(bool),
    /// The dialogue takes more time; zero: the configured time anew.
    Wait(Ms),
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
