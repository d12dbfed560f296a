//! RFC 3326: the Reason header, which carries the Q.850 cause of the telephone network.

use std::fmt;

use super::lex::{self, Params};

/// One Reason value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// `Q.850`, `SIP`, `preemption` …; always a token.
    pub protocol: String,
    /// The cause, when it is a number below 65,536.
    pub cause: Option<u16>,
    /// Text for humans.
    pub text: Option<String>,
}

impl Reason {
    /// A Q.850 cause (ITU-T Q.850 §2.2.7: 16 normal clearing, 17 user busy, 31 normal unspecified …).
    pub fn q850(cause: u8, text: &str) -> Reason {
        Reason { protocol: "Q.850".into(), cause: Some(cause.into()), text: Some(text.into()) }
    }

    /// Reads one element; `None` when it is malformed.
    pub fn parse(value: &str) -> Option<Reason> {
        let end = value.find(';').unwrap_or(value.len());
        let protocol = value[..end].trim();
        if !lex::is_token(protocol.as_bytes()) {
            return None;
        }
        let params = Params::parse(&value[end..])?;
        Some(Reason {
            protocol: protocol.to_owned(),
            cause: params.value("cause").and_then(|c| c.parse().ok()),
            text: params.value("text").map(|t| t.into_owned()),
        })
    }

    /// Whether it speaks of a Q.850 cause.
    pub fn is_q850(&self) -> bool {
        self.protocol.eq_ignore_ascii_case("Q.850")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.protocol)?;
        if let Some(cause) = self.cause {
            write!(f, ";cause={cause}")?;
        }
        match &self.text {
            Some(text) => write!(f, ";text={}", lex::quote(text)),
            None => Ok(()),
        }
    }
}
