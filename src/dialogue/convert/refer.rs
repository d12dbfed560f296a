//! What the dialogue, or the orchestrator, says of the end of a call: hang-up and REFER.

use std::time::Duration;

use super::headers::{headers, user_to_user};
use super::{Refused, id};
use crate::call::action::{Action, Farewell};
use crate::call::transfer::{Decision, Refer};
use crate::proto::dialogue::v1 as proto;
use crate::sip::message::Uri;
use crate::sip::refer::{ReferTarget, Replaces};

/// The end of a call.
pub fn hangup(message: proto::Hangup) -> Result<Action, Refused> {
    let proto::Hangup { now, reason, headers, cause, user_to_user } = message;
    let mut farewell = Farewell { headers: self::headers("hangup.headers", headers)?, cause: None };
    farewell.headers.user_to_user(&self::user_to_user("hangup.user_to_user", user_to_user)?);
    farewell.cause = match cause {
        0 => None,
        1..=127 => u8::try_from(cause).ok(),
        _ => return Err(Refused::invalid("hangup.cause", format!("{cause} is out of range, 1 to 127"))),
    };
    Ok(Action::Hangup { now, reason, farewell })
}

/// Whether a REFER of the far end is followed.
pub fn refer_answer(message: proto::ReferAnswer) -> Result<Action, Refused> {
    let decision = match message {
        proto::ReferAnswer { accept: true, sip_code: 0 } => Decision::Accept,
        proto::ReferAnswer { accept: true, .. } => {
            return Err(Refused::invalid("refer_answer.sip_code", "refuses, and does not go with accept"));
        }
        proto::ReferAnswer { sip_code: 0, .. } => Decision::Decline(603),
        // Below 700, as the pattern says.
        proto::ReferAnswer { sip_code: code @ 400..=699, .. } => Decision::Decline(code as u16),
        proto::ReferAnswer { sip_code, .. } => {
            return Err(Refused::invalid("refer_answer.sip_code", format!("{sip_code} is out of range, 400 to 699")));
        }
    };
    Ok(Action::ReferAnswer(decision))
}

/// A REFER.
pub fn refer(message: proto::Refer) -> Result<Action, Refused> {
    let proto::Refer {
        target,
        user_to_user,
        timeout_ms,
        headers,
        target_headers,
        replaces,
        referred_by,
        subscription,
        now,
        bridge_on_refusal,
    } = message;
    let invalid = |field: &str, reason: String| Refused::invalid(format!("refer.{field}"), reason);
    let target = ReferTarget::parse(&target).map_err(|error| invalid("target", error.to_string()))?;
    let patience = match timeout_ms {
        0 => None,
        1_000..=300_000 => Some(Duration::from_millis(timeout_ms.into())),
        _ => return Err(invalid("timeout_ms", format!("{timeout_ms} is out of range, 1000 to 300000"))),
    };
    for (field, given) in [
        ("user_to_user", !user_to_user.is_empty()),
        ("target_headers", !target_headers.is_empty()),
        ("replaces", !replaces.is_empty()),
    ] {
        if given && !target.takes_headers() {
            return Err(invalid(field, "cannot go along with a tel: target: write it as sip:".to_owned()));
        }
    }
    if bridge_on_refusal {
        super::transfer::callable("refer.target", &target)?;
        if !replaces.is_empty() {
            return Err(invalid(
                "bridge_on_refusal",
                "cannot take the place of a dialog: leave out replaces".to_owned(),
            ));
        }
    }
    let replaces = match id("refer.replaces", replaces)? {
        none if none.is_empty() => None,
        some => Some(
            Replaces::parse(&some)
                .ok_or_else(|| invalid("replaces", "names no dialog: write Call-ID;to-tag=…;from-tag=…".to_owned()))?,
        ),
    };
    let referred_by = match id("refer.referred_by", referred_by)? {
        none if none.is_empty() => None,
        some => Some(Uri::parse(&some).map_err(|error| invalid("referred_by", error.to_string()))?),
    };
    Ok(Action::Refer(Box::new(Refer {
        target,
        user_to_user: self::user_to_user("refer.user_to_user", user_to_user)?,
        target_headers: self::headers("refer.target_headers", target_headers)?,
        replaces,
        referred_by,
        subscription,
        headers: self::headers("refer.headers", headers)?,
        patience,
        now,
        bridge_on_refusal,
    })))
}
