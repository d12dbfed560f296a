//! Headers that the call adds to a message: checked once, when they are handed in.

use std::fmt;

use crate::sip::message::{HeaderName, Reason, Writer, is_token};

/// The most extra headers of one message.
const MAX_COUNT: usize = 64;
/// The longest extra header value, in bytes.
const MAX_VALUE: usize = 4096;

/// Headers that may stand beside ours: none that the session, the dialog, routing or authentication
/// owns, no line breaks, no NUL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraHeaders(Vec<(String, String)>);

/// Why a header cannot be added.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name is not a token.
    Name(String),
    /// The session writes this header itself.
    Reserved(String),
    /// The value holds CR, LF or NUL.
    Character(String),
    /// The value is longer than 4096 bytes.
    TooLong(String),
    /// More than 64 headers.
    TooMany,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::Name(name) => write!(f, "{name:?} is not a header name"),
            HeaderError::Reserved(name) => {
                write!(f, "the header {name} is written by the session itself")
            }
            HeaderError::Character(name) => {
                write!(f, "the header {name} holds a line break or NUL")
            }
            HeaderError::TooLong(name) => {
                write!(f, "the header {name} is longer than {MAX_VALUE} bytes")
            }
            HeaderError::TooMany => write!(f, "more than {MAX_COUNT} headers"),
        }
    }
}

impl std::error::Error for HeaderError {}

impl TryFrom<Vec<(String, String)>> for ExtraHeaders {
    type Error = HeaderError;

    fn try_from(headers: Vec<(String, String)>) -> Result<ExtraHeaders, HeaderError> {
        if headers.len() > MAX_COUNT {
            return Err(HeaderError::TooMany);
        }
        for (name, value) in &headers {
            if !is_token(name.as_bytes()) {
                return Err(HeaderError::Name(name.clone()));
            }
            if is_reserved(HeaderName::parse(name.as_bytes())) {
                return Err(HeaderError::Reserved(name.clone()));
            }
            if value.contains(['\r', '\n', '\0']) {
                return Err(HeaderError::Character(name.clone()));
            }
            if value.len() > MAX_VALUE {
                return Err(HeaderError::TooLong(name.clone()));
            }
        }
        Ok(ExtraHeaders(headers))
    }
}

impl ExtraHeaders {
    /// Name and value of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn add_reason(&mut self, reason: Option<&Reason>) {
        self.push(HeaderName::Reason, reason.map(Reason::to_string));
    }

    /// Adds a header of our own, when there is a value.
    pub(crate) fn push(&mut self, name: HeaderName, value: Option<String>) {
        self.0.extend(value.map(|value| (name.as_str().to_owned(), value)));
    }

    pub(super) fn write<Start>(&self, mut out: Writer<Start>) -> Writer<Start> {
        for (name, value) in self.iter() {
            out = out.named(name, value);
        }
        out
    }
}

fn is_reserved(name: HeaderName) -> bool {
    use HeaderName::*;
    matches!(
        name,
        Via | From
            | To
            | CallId
            | CSeq
            | Contact
            | MaxForwards
            | ContentLength
            | ContentType
            | ContentEncoding
            | ContentDisposition
            | Route
            | RecordRoute
            | Path
            | ServiceRoute
            | Allow
            | Supported
            | Require
            | ProxyRequire
            | Unsupported
            | UserAgent
            | Server
            | Accept
            | Authorization
            | ProxyAuthorization
            | WwwAuthenticate
            | ProxyAuthenticate
            | AuthenticationInfo
            | Expires
            | SessionExpires
            | MinSe
            | RAck
            | RSeq
            | Replaces
            | ReferTo
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_headers_pass() {
        let check = |name: &str, value: &str| ExtraHeaders::try_from(vec![(name.to_owned(), value.to_owned())]);
        assert!(check("X-Call", "7").is_ok());
        assert!(check("User-to-User", "a=b").is_ok());
        assert!(matches!(check("v", "SIP/2.0/UDP evil"), Err(HeaderError::Reserved(_))));
        assert!(matches!(check("ROUTE", "<sip:evil>"), Err(HeaderError::Reserved(_))));
        assert!(matches!(check("X-Call", "a\r\nVia: b"), Err(HeaderError::Character(_))));
        assert!(matches!(check("X Call", "a"), Err(HeaderError::Name(_))));
        assert!(matches!(check("", "a"), Err(HeaderError::Name(_))));
        assert!(matches!(check("X-Long", &"a".repeat(5000)), Err(HeaderError::TooLong(_))));
    }
}
