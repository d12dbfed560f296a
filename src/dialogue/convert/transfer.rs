//! What the dialogue, or the orchestrator, says of a transfer by a second leg.

use std::time::Duration;

use super::actions::segment;
use super::headers::{headers, line, user_to_user};
use super::{Refused, id};
use crate::call::action::Action;
use crate::call::prompt::{Segment, Source};
use crate::call::second_leg::SecondLeg;
use crate::proto::dialogue::v1 as proto;
use crate::sip::message::Scheme;
use crate::sip::refer::ReferTarget;
use crate::sip::uui::Uui;

/// The most segments of a waiting sound.
const MOST_WAITING: usize = 16;

/// A transfer.
pub fn transfer(message: proto::Transfer) -> Result<Action, Refused> {
    let proto::Transfer {
        target,
        user_to_user: plain,
        timeout_ms,
        trunk,
        caller,
        headers,
        user_to_user_values,
        waiting,
        transcript,
        now,
    } = message;
    let invalid = |field: &str, reason: String| Refused::invalid(format!("transfer.{field}"), reason);
    let target = ReferTarget::parse(&target).map_err(|error| invalid("target", error.to_string()))?;
    callable("transfer.target", &target)?;
    let ring = match timeout_ms {
        0 => None,
        1_000..=300_000 => Some(Duration::from_millis(timeout_ms.into())),
        _ => return Err(invalid("timeout_ms", format!("{timeout_ms} is out of range, 1000 to 300000"))),
    };
    let mut headers = self::headers("transfer.headers", headers)?;
    headers.user_to_user(&self::user_to_user("transfer.user_to_user_values", user_to_user_values)?);
    if !plain.is_empty() {
        let written = Uui::plain(&plain).map_err(|error| invalid("user_to_user", error.to_string()))?;
        headers.user_to_user(&[written]);
    }
    Ok(Action::Transfer(Box::new(SecondLeg {
        target,
        trunk: id("transfer.trunk", trunk)?,
        caller: line("transfer.caller", caller)?,
        headers,
        ring,
        waiting: self::waiting(waiting)?,
        transcript,
        now,
    })))
}

/// Whom we can call ourselves.
pub(super) fn callable(field: &str, target: &ReferTarget) -> Result<(), Refused> {
    match target {
        ReferTarget::Uri(uri) if uri.scheme() != Scheme::Sip => Err(Refused::invalid(
            field,
            "is called by us, and that is done by sip: only: write user@host:port or a number",
        )),
        _ => Ok(()),
    }
}

fn waiting(segments: Vec<proto::Segment>) -> Result<Vec<Segment>, Refused> {
    let path = "transfer.waiting";
    if segments.len() > MOST_WAITING {
        let reason = format!("has {} entries, at most {MOST_WAITING} are taken", segments.len());
        return Err(Refused::invalid(path, reason));
    }
    let segments = segments.into_iter().enumerate().map(|(n, part)| {
        let path = format!("{path}[{n}]");
        let segment = segment(&path, part, false)?;
        if !segment.mark.is_empty() {
            return Err(Refused::invalid(format!("{path}.mark"), "is said again and again: it has none"));
        }
        Ok(segment)
    });
    let segments = segments.collect::<Result<Vec<_>, _>>()?;
    if !segments.is_empty() && segments.iter().all(|segment| matches!(segment.source, Source::Silence(_))) {
        return Err(Refused::invalid(path, "is silence: leave it out"));
    }
    Ok(segments)
}
