//! Handing the caller over: what is asked for by REFER, what the trunk adds, and what became of it. The way by a leg of our own:
//! [`super::second_leg`].

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::line::HungUpBy;
use super::record::Transfer;
use super::second_leg::SecondLeg;
use crate::ms::Ms;
use crate::sip::message::{Scheme, Uri};
use crate::sip::refer::{self, Outcome, ReferTarget, Replaces};
use crate::sip::session::ExtraHeaders;
use crate::sip::uui::Uui;

/// The most attempts in one call: a dialogue that gives up never must not fill the memory.
pub(super) const MOST: usize = 16;

/// What is asked for, checked field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refer {
    /// To whom.
    pub target: ReferTarget,
    /// For the call that the far end makes.
    pub user_to_user: Vec<Uui>,
    /// For the call that the far end makes.
    pub target_headers: ExtraHeaders,
    /// The dialog whose place that call takes.
    pub replaces: Option<Replaces>,
    /// `None`: as the trunk says.
    pub referred_by: Option<Uri>,
    /// `None`: as the trunk says.
    pub subscription: Option<bool>,
    /// For the REFER itself.
    pub headers: ExtraHeaders,
    /// `None`: the trunk's.
    pub patience: Option<Duration>,
    /// In the middle of a prompt too; else after the last sample of all that is queued.
    pub now: bool,
    /// A trunk that does not do it (403, 405, 501, 603) is taken at its word: we call the target ourselves.
    pub bridge_on_refusal: bool,
}

/// Answers to a REFER which say that this trunk does not do it, whatever the target.
pub(super) const NOT_DONE: [u16; 4] = [403, 405, 501, 603];

/// How the caller leaves the robot.
#[derive(Debug)]
pub enum Leaving {
    /// The far end calls somebody else.
    Refer(Box<Refer>),
    /// We do.
    SecondLeg(Box<SecondLeg>),
}

impl Leaving {
    /// As the contract names it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Leaving::Refer(_) => "refer",
            Leaving::SecondLeg(_) => "transfer",
        }
    }

    pub(super) fn target(&self) -> &ReferTarget {
        match self {
            Leaving::Refer(refer) => &refer.target,
            Leaving::SecondLeg(leg) => &leg.target,
        }
    }

    pub(super) fn now(&self) -> bool {
        match self {
            Leaving::Refer(refer) => refer.now,
            Leaving::SecondLeg(leg) => leg.now,
        }
    }
}

/// A REFER under way.
#[derive(Debug)]
pub(super) struct Referring {
    /// Who asked for it.
    pub(super) by: HungUpBy,
    /// To whom.
    pub(super) target: String,
    /// Since when.
    pub(super) start: Ms,
    /// What is tried when the trunk does not do it.
    pub(super) instead: Option<Box<SecondLeg>>,
}

/// What a trunk wants of transfers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Of targets that are bare numbers, by REFER.
    pub domain: String,
    /// Profile or group that second legs go over; empty: the call's own.
    pub trunk: String,
    /// Have the far end tell what becomes of it.
    pub subscription: bool,
    /// Say by whom (RFC 3892).
    pub referred_by: bool,
    /// From the far end's consent to its last word; and how long a second leg may ring.
    pub patience: Duration,
    /// What a REFER of the far end is answered that is not followed: 403, 405, 501 or 603.
    pub refuse_refer: u16,
    /// What becomes of a REFER of the far end.
    pub inbound: Inbound,
}

/// What becomes of a REFER of the far end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Whether it is followed.
    pub way: Way,
    /// Hosts of the trunk: a target there is called over the trunk.
    pub home: Vec<String>,
    /// More hosts that may be called; a target there is called directly.
    pub hosts: Vec<String>,
    /// How long a decision is waited for.
    pub decide: Duration,
}

/// Whether a REFER of the far end is followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Way {
    /// It is refused.
    #[default]
    Refuse,
    /// Dialogue and orchestrator are told, and decide.
    Tell,
    /// It is followed.
    Follow,
}

impl Default for Inbound {
    fn default() -> Inbound {
        Inbound { way: Way::Refuse, home: Vec::new(), hosts: Vec::new(), decide: DECIDE }
    }
}

impl Inbound {
    /// Whether the target may be called.
    pub(super) fn allows(&self, target: &Uri) -> bool {
        // A number is one of the trunk's own.
        target.scheme() == Scheme::Tel || lists(&self.home, target) || lists(&self.hosts, target)
    }

    /// Whether the target is called directly, and not over the trunk.
    pub(super) fn is_direct(&self, target: &Uri) -> bool {
        target.scheme() != Scheme::Tel && lists(&self.hosts, target)
    }
}

/// `maddr` would send the call elsewhere than its host says (RFC 3261 §19.1.1).
fn lists(hosts: &[String], target: &Uri) -> bool {
    let at = |host: &str| hosts.iter().any(|listed| listed.eq_ignore_ascii_case(host));
    at(target.host()) && target.params().value("maddr").is_none_or(|maddr| at(&maddr))
}

/// How long a decision is waited for, unless the profile says otherwise.
pub const DECIDE: Duration = Duration::from_secs(5);

/// What dialogue or orchestrator say to a REFER of the far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The target is called.
    Accept,
    /// It is refused with this status.
    Decline(u16),
}

/// A call to the target of a REFER that is to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// Whom.
    pub target: Uri,
    /// What the far end wants in its INVITE, User-to-User, Referred-By and Replaces among them.
    pub headers: ExtraHeaders,
    /// The number that we show: our own in the call.
    pub caller: String,
    /// To the target's own host, and not over the trunk.
    pub direct: bool,
}

#[cfg(test)]
impl Rules {
    /// As a profile without `[transfer]` has them.
    pub(crate) fn bare() -> Rules {
        Rules {
            domain: "192.0.2.1".to_owned(),
            trunk: String::new(),
            subscription: true,
            referred_by: true,
            patience: Duration::from_secs(60),
            refuse_refer: 603,
            inbound: Inbound::default(),
        }
    }
}

impl Refer {
    /// The leg of our own to the same target.
    pub(super) fn instead(&self) -> Option<Box<SecondLeg>> {
        let mut headers = self.target_headers.clone();
        headers.user_to_user(&self.user_to_user);
        self.bridge_on_refusal.then(|| {
            Box::new(SecondLeg {
                target: self.target.clone(),
                trunk: String::new(),
                caller: String::new(),
                headers,
                ring: None,
                waiting: Vec::new(),
                transcript: false,
                now: true,
            })
        })
    }

    /// The REFER. `ours`: who we are in this call.
    pub(super) fn on(self, rules: &Rules, ours: Option<Uri>) -> Result<refer::Refer, String> {
        let target = self.target.at(&rules.domain).map_err(|error| error.to_string())?;
        Ok(refer::Refer {
            target,
            replaces: self.replaces,
            user_to_user: self.user_to_user,
            target_headers: self.target_headers,
            referred_by: self.referred_by.or(ours.filter(|_| rules.referred_by)),
            subscription: self.subscription.unwrap_or(rules.subscription),
            headers: self.headers,
            patience: self.patience.unwrap_or(rules.patience),
        })
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Handed {
    /// The target has answered.
    Transferred,
    /// The far end consents, and nothing more was to be told.
    Accepted,
    /// The far end consented and hung up.
    EndedByPeer,
    /// The far end does not do it.
    Refused,
    /// The target did not take the call.
    Failed,
    /// Nobody told in time.
    TimedOut,
    /// The call ended before it was known.
    CallEnded,
}

impl Handed {
    /// As record, contract and metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Handed::Transferred => "transferred",
            Handed::Accepted => "accepted",
            Handed::EndedByPeer => "ended_by_peer",
            Handed::Refused => "refused",
            Handed::Failed => "failed",
            Handed::TimedOut => "timed_out",
            Handed::CallEnded => "call_ended",
        }
    }
}

impl Serialize for Handed {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// The entry of the record.
pub(super) fn entry(target: String, outcome: Outcome, start: Ms, stop: Ms) -> Transfer {
    let result = if outcome.is_success() { 1 } else { -1 };
    let (outcome, sip_code, reason) = match outcome {
        Outcome::Transferred { code } => (Handed::Transferred, code, "the target has answered".to_owned()),
        Outcome::Accepted { code } => (Handed::Accepted, code, "the far end consents".to_owned()),
        Outcome::EndedByPeer => (Handed::EndedByPeer, 0, "the far end consented and hung up".to_owned()),
        Outcome::Refused { code, reason } => (Handed::Refused, code, reason),
        Outcome::Failed { code, reason } => (Handed::Failed, code, reason),
        Outcome::TimedOut => (Handed::TimedOut, 408, "nobody told what became of it".to_owned()),
        Outcome::CallEnded => (Handed::CallEnded, 0, "the call ended before that".to_owned()),
    };
    Transfer { kind: "refer", target, result, sip_code, outcome, reason, start, stop, call_id: String::new() }
}
