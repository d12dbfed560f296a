//! The transfer that we make ourselves: a second leg to a human, a call of its own, which is bridged with the first one when it is answered.
//!
//! ```text
//! first call                       switchboard             second call
//! Output::Transfer ──────────────► places it ────────────► INVITE
//! Input::Transferred(Ringing …) ◄───────────────────────── Output::First
//! Input::Transferred(Answered)  ◄───────────────────────── 200, ACK
//! Output::Bridge: what one leg hears is what the other one sends; the robot leaves
//! Output::Second(HangUp) ────────────────────────────────► Input::First: CANCEL or BYE
//! Input::Transferred(Over) ◄────────────────────────────── its end
//! ```
//! Each hangs up when the other one is over; whose last word gets lost is over too: the switchboard sees to it.

use std::sync::Arc;
use std::time::Duration;

use super::line::HungUpBy;
use super::prompt::Segment;
use crate::sip::refer::ReferTarget;
use crate::sip::session::ExtraHeaders;

/// What is asked for, checked field by field.
#[derive(Debug, Clone, PartialEq)]
pub struct SecondLeg {
    /// Whom to call: a URI as it stands, or a number of the trunk's.
    pub target: ReferTarget,
    /// Profile or group to call over; empty: as the call's profile says, else the call's own.
    pub trunk: String,
    /// The number that is shown; empty: that of the far end.
    pub caller: String,
    /// For the INVITE, User-to-User among them.
    pub headers: ExtraHeaders,
    /// How long it may ring; `None`: the profile's patience.
    pub ring: Option<Duration>,
    /// Said again and again until somebody answers; empty: nothing.
    pub waiting: Vec<Segment>,
    /// Both sides are recognised while the two talk.
    pub transcript: bool,
    /// In the middle of a prompt too; else after the last sample of all that is queued.
    pub now: bool,
}

/// What the first call hears of the second one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// It is being placed.
    Placed {
        /// Its id.
        call_id: Arc<str>,
    },
    /// It rings.
    Ringing {
        /// 180–183.
        code: u16,
    },
    /// It is answered, and its media is open.
    Answered,
    /// It came to nothing.
    Failed {
        /// Its SIP status; 408: nobody answered in time; 0: it was not even placed, or ended otherwise.
        code: u16,
        /// In words.
        reason: String,
    },
    /// It ends, or has ended.
    Over {
        /// Who ended it.
        by: HungUpBy,
        /// Why.
        reason: String,
    },
    /// Its far end pressed a key.
    Key(char),
}

/// What the second call hears of the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToSecond {
    /// The first one ends: before the answer this cancels.
    HangUp {
        /// Who ended that.
        by: HungUpBy,
        /// Why.
        reason: String,
    },
    /// The far end of the first one pressed keys.
    Keys(String),
}
