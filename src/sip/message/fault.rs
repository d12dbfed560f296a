//! RFC 3261 §8.2: why a request that can be read cannot be acted on.

use std::fmt;

/// A status code with the reason phrase that names the defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The status code to answer with.
    pub code: u16,
    /// The reason phrase to answer with.
    pub reason: &'static str,
}

impl Fault {
    /// Any code.
    pub const fn new(code: u16, reason: &'static str) -> Fault {
        Fault { code, reason }
    }

    /// 400.
    pub const fn bad(reason: &'static str) -> Fault {
        Fault::new(400, reason)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason)
    }
}

impl std::error::Error for Fault {}
