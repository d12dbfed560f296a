//! Between the contract's messages and the call's values, both ways. `control` speaks of the same things in the same messages.
//!
//! Every field of a message from outside is honoured or refused by name, none is passed over: [`Refused`] names the field by its path in the
//! contract, as in `say.segments[0].tone`.

mod actions;
mod headers;
mod lines;
mod refer;
mod transfer;
mod turn;

use std::fmt;

pub use actions::{asked, collect, knobs, label, say};
pub use headers::{headers, line, received, user_to_user};
pub use lines::{answered_by, heard, keys, line_event, millis, refer_asked, utterance};
pub use refer::{hangup, refer, refer_answer};
pub use transfer::transfer;
pub use turn::{end_turn, expect, more_time, phrases};

/// The longest id, in bytes, that is kept for others and returned to them untouched.
pub const MAX_ID: usize = 4096;

/// A field of a message that cannot be honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// In which way.
    pub kind: Kind,
    /// The field's path in the contract.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

/// In which way a field cannot be honoured; shown by the name of its gRPC status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It makes no sense.
    Invalid,
    /// It would, but what it asks for is not built yet.
    NotBuilt,
}

impl Refused {
    /// A field that makes no sense.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Refused {
        Refused { kind: Kind::Invalid, field: field.into(), reason: reason.into() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Invalid => "INVALID_ARGUMENT",
            Kind::NotBuilt => "UNIMPLEMENTED",
        };
        write!(f, "{kind}: {}: {}", self.field, self.reason)
    }
}

impl std::error::Error for Refused {}

/// An id of somebody else's: returned untouched, so only its length matters.
pub fn id(field: &str, id: String) -> Result<String, Refused> {
    if id.len() > MAX_ID {
        return Err(Refused::invalid(field, format!("has {} bytes, at most 4,096 are kept", id.len())));
    }
    Ok(id)
}

#[cfg(test)]
mod tests;
