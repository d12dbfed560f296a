//! What the faces ask of the switchboard, and why it may say no.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use crate::call::call::Phase;
use crate::call::knobs::KnobChange;

/// Whom to dial, how, and what then.
#[derive(Debug, Clone, Default)]
pub struct DialOrder {
    /// Judge who answers; `None`: as the profile says.
    pub answering_machine: Option<bool>,
    /// By these rules, each by its name, in the place of the profile's; some mean that it is judged.
    pub answerer_rules: Vec<(&'static str, u32)>,
    /// What is heard before the answer, too; `None`: as the profile says, `Some` means that it is judged.
    pub answerer_early_media: Option<bool>,
    /// Idempotency key, 1 to 4,096 bytes.
    pub request_id: String,
    /// Words and phrases that are likely on the call.
    pub phrases: Vec<String>,
    /// Number, user, or a whole `sip:` URI.
    pub callee: String,
    /// Shown number; empty: the trunk's.
    pub caller: String,
    /// Shown name; empty: none.
    pub caller_name: String,
    /// Profile or group; empty: the only group, else the only profile.
    pub trunk: String,
    /// `None`: the trunk's.
    pub ring_timeout: Option<Duration>,
    /// Not to be dialled after it.
    pub not_after: Option<SystemTime>,
    /// Recognise what is heard before the answer; `None`: the trunk's.
    pub early_media_asr: Option<bool>,
    /// `None`: as configured.
    pub record: Option<bool>,
    /// File name of the recording; empty: the call's id.
    pub recording_name: String,
    /// For the INVITE.
    pub headers: Vec<(String, String)>,
    /// User-to-User header as it is written; empty: none.
    pub user_to_user: String,
    /// For the dialogue.
    pub variables: Vec<(String, String)>,
    /// Empty: the default one.
    pub dialogue: String,
    /// Empty: the default one.
    pub speech: String,
    /// First change to the configured knobs.
    pub knobs: KnobChange,
    /// Returned in events.
    pub correlation: String,
}

/// Why the switchboard said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A field makes no sense.
    #[error("{field}: {reason}")]
    Invalid {
        /// Its name in the contract.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A limit on calls at a time was hit.
    #[error("no_channel: {limit}")]
    Exhausted {
        /// Which, with its value.
        limit: String,
    },
    /// This process has more to do than it can do well; which limit, what was measured, and the way out.
    #[error("overload: {0}")]
    Overload(String),
    /// The caller numbers are used up: which limit, with its value.
    #[error("number_limit: {0}")]
    NumberLimit(String),
    /// Too many listen in: which limit, with its value.
    #[error("listeners: {0}")]
    Listeners(String),
    /// Too many calls a second: which limit, with its value.
    #[error("rate: {0}")]
    Rate(String),
    /// There is no such call.
    #[error("call {0} is not up")]
    NotFound(String),
    /// Its time has passed.
    #[error("not_after has passed")]
    TooLate,
    /// The trunk does not answer pings.
    #[error("trunk {trunk} is down: {reason}")]
    Down {
        /// The profile.
        trunk: String,
        /// What the last ping came to.
        reason: String,
    },
    /// The call is in a state that does not allow it.
    #[error("{0}")]
    WrongState(String),
    /// No new calls are taken.
    #[error("draining: no new calls are taken")]
    Draining,
}

/// What became of a command at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The call does it.
    Done,
    /// It was a hang-up before the answer: the call is cancelled.
    Cancelled,
}

/// A call that is up.
#[derive(Debug, Clone)]
pub struct CallState {
    /// Our id.
    pub call_id: Arc<str>,
    /// We dialled.
    pub outbound: bool,
    /// The profile.
    pub trunk: Arc<str>,
    /// The number that calls.
    pub caller: Arc<str>,
    /// The number that is called.
    pub callee: Arc<str>,
    /// Where it stands.
    pub phase: Phase,
    /// Who holds whom: we, the far end.
    pub held: (bool, bool),
    /// With what its media are encrypted; empty: they are not.
    pub srtp: &'static str,
    /// When it began.
    pub started_at: SystemTime,
    /// What names its dialog in a Replaces header at the far end; empty before the answer.
    pub replaces: String,
    /// Where the far end is reached; empty before the answer.
    pub remote_target: String,
    /// Of a second leg: the call that is handed over.
    pub transferred_from: Option<Arc<str>>,
}

/// A trunk.
#[derive(Debug, Clone)]
pub struct TrunkState {
    /// The profile's name.
    pub name: String,
    /// Calls over it now.
    pub channels_used: usize,
    /// Most calls; 0: no limit.
    pub channels_max: usize,
    /// How its registration stands.
    pub registration: Registered,
    /// Why it is not dialled now: it does not answer pings.
    pub down: Option<String>,
    /// Whether it is thought to be able to take calls.
    pub up: bool,
}

/// How a registration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// None is asked for.
    NotAsked,
    /// Being tried.
    Trying,
    /// Up.
    Up,
    /// It failed and will be tried again.
    Failed(String),
}

impl Registered {
    /// As the contract writes it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Registered::NotAsked => "none",
            Registered::Trying => "registering",
            Registered::Up => "registered",
            Registered::Failed(_) => "failed",
        }
    }

    /// Why it failed, if it did.
    pub fn fault(&self) -> Option<&str> {
        match self {
            Registered::Failed(reason) => Some(reason),
            Registered::NotAsked | Registered::Trying | Registered::Up => None,
        }
    }
}
