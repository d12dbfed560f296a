//! Headers that the call adds to a message, or to the message that a REFER asks for: checked once, when they are handed in.

use std::fmt;

use crate::sip::message::{HeaderName, Reason, Writer, is_token};
use crate::sip::uui::Uui;

/// The most extra headers of one message.
const MAX_COUNT: usize = 64;
/// The longest extra header value, in bytes.
const MAX_VALUE: usize = 4096;

/// Headers that may stand beside ours: none that the session, the dialog, routing, authentication or a timer
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
    /// The value holds CR, LF, NUL or another control character; a tab is white space.
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
                write!(f, "the header {name} has a line break or another control character")
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
        headers.iter().try_for_each(|(name, value)| ExtraHeaders::check(name, value))?;
        Ok(ExtraHeaders(headers))
    }
}

impl ExtraHeaders {
    /// Whether a header may be added.
    ///
    /// # Errors
    /// Why not.
    pub fn check(name: &str, value: &str) -> Result<(), HeaderError> {
        if !is_token(name.as_bytes()) {
            return Err(HeaderError::Name(name.to_owned()));
        }
        if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            return Err(HeaderError::Reserved(name.to_owned()));
        }
        if value.contains(|c: char| c.is_control() && c != '\t') {
            return Err(HeaderError::Character(name.to_owned()));
        }
        if value.len() > MAX_VALUE {
            return Err(HeaderError::TooLong(name.to_owned()));
        }
        Ok(())
    }

    /// Adds User-to-User headers, one each.
    pub fn user_to_user(&mut self, values: &[Uui]) {
        values.iter().for_each(|value| self.push(HeaderName::UserToUser, Some(value.to_string())));
    }

    /// Name and value of each, in order.
    pub fn into_list(self) -> Vec<(String, String)> {
        self.0
    }

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

/// Those that make the dialog, the route, the authentication, the timers, the subscription and the body, in lower case and with their
/// compact forms: they are ours to write.
const OURS: &[&str] = &[
    // dialog and transaction
    "via",
    "v",
    "from",
    "f",
    "to",
    "t",
    "call-id",
    "i",
    "cseq",
    "contact",
    "m",
    "max-forwards",
    "replaces",
    "join",
    "target-dialog",
    "rseq",
    "rack",
    "recv-info",
    "info-package",
    // referral and subscription
    "refer-to",
    "r",
    "referred-by",
    "b",
    "refer-sub",
    "event",
    "o",
    "allow-events",
    "u",
    "subscription-state",
    // routing
    "route",
    "record-route",
    "path",
    "service-route",
    // authentication
    "authorization",
    "proxy-authorization",
    "www-authenticate",
    "proxy-authenticate",
    "authentication-info",
    "proxy-authentication-info",
    // timers
    "expires",
    "session-expires",
    "x",
    "min-se",
    "min-expires",
    "timestamp",
    // what we can do
    "supported",
    "k",
    "require",
    "proxy-require",
    "unsupported",
    "allow",
    "accept",
    "user-agent",
    "server",
    // body
    "content-length",
    "l",
    "content-type",
    "c",
    "content-encoding",
    "e",
    "content-disposition",
    "content-language",
    "mime-version",
    // a body inside a URI (RFC 3261 §19.1.1), where these headers may go by a REFER
    "body",
];

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
        assert!(check("X-Call", "a\tb").is_ok());
    }

    #[test]
    fn no_header_of_ours_passes_in_any_case_or_short() {
        for ours in OURS {
            for name in [(*ours).to_owned(), ours.to_uppercase()] {
                assert_eq!(ExtraHeaders::check(&name, "x"), Err(HeaderError::Reserved(name.clone())));
            }
            // A long name in the list has its compact form there too.
            let known = HeaderName::parse(ours.as_bytes());
            for short in ('a'..='z').map(String::from) {
                let same = known != HeaderName::Other && HeaderName::parse(short.as_bytes()) == known;
                assert!(!same || OURS.contains(&short.as_str()), "{ours}: {short}");
            }
        }
        for harmless in ["Subject", "Reason", "User-to-User", "X-Task", "Diversion", "Privacy", "P-Charging-Vector"] {
            assert_eq!(ExtraHeaders::check(harmless, "x"), Ok(()));
        }
    }
}
