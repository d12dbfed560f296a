//! What is told: of a call, or of what all calls depend on.

use std::time::SystemTime;

use crate::call::event::Event;

/// Something happened.
#[derive(Debug, Clone)]
pub enum News {
    /// On a call.
    Call(Event),
    /// A trunk stands differently from before.
    Trunk {
        /// Wall time.
        wall: SystemTime,
        /// How it stands now.
        standing: Standing,
    },
}

impl News {
    /// The call; empty: it is of none.
    pub fn call_id(&self) -> &str {
        match self {
            News::Call(event) => &event.call_id,
            News::Trunk { .. } => "",
        }
    }
}

/// How a trunk stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The profile.
    pub trunk: String,
    /// It is thought to be able to take calls.
    pub up: bool,
    /// Its registration, as the contract writes it.
    pub registration: &'static str,
    /// Why it is down, and why the registration failed; empty for neither.
    pub reason: String,
}
