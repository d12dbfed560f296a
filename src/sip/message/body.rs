//! RFC 3261 §7.4 and §8.2.3: which part of a body is the session description.
//!
//! SIP-I trunks wrap it in `multipart/mixed` beside an ISUP message (RFC 5621, Q.1912.5).

use super::{HeaderName, Headers, Params};

/// What a body is to offer/answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionBody<'a> {
    /// No body, or one marked `handling=optional` that we cannot read (§20.11).
    None,
    /// The SDP.
    Sdp(&'a [u8]),
    /// A body we must not ignore and cannot read: 415.
    Unsupported,
}

impl<'a> SessionBody<'a> {
    /// The SDP, when it is there.
    pub fn sdp(self) -> Option<&'a [u8]> {
        match self {
            SessionBody::Sdp(sdp) => Some(sdp),
            SessionBody::None | SessionBody::Unsupported => None,
        }
    }
}

impl Headers {
    /// Finds the session description in the body.
    pub fn session_body(&self) -> SessionBody<'_> {
        let body = self.body();
        if body.is_empty() {
            return SessionBody::None;
        }
        let optional = self
            .text(HeaderName::ContentDisposition)
            .is_some_and(|value| value.to_ascii_lowercase().replace([' ', '\t'], "").contains("handling=optional"));
        let unreadable = if optional { SessionBody::None } else { SessionBody::Unsupported };
        let encoding = self.text(HeaderName::ContentEncoding);
        if encoding.is_some_and(|e| !e.trim().eq_ignore_ascii_case("identity")) {
            return unreadable;
        }
        // §7.4.1 wants a Content-Type with every body; a call's body without one is SDP all the same.
        let Some(content_type) = self.text(HeaderName::ContentType) else {
            return if body.starts_with(b"v=0") { SessionBody::Sdp(body) } else { unreadable };
        };
        let end = content_type.find(';').unwrap_or(content_type.len());
        let kind = content_type[..end].trim();
        if kind.eq_ignore_ascii_case("application/sdp") {
            return SessionBody::Sdp(body);
        }
        if kind.get(..10).is_some_and(|k| k.eq_ignore_ascii_case("multipart/")) {
            let boundary =
                Params::parse(&content_type[end..]).and_then(|p| p.value("boundary").map(|b| b.into_owned()));
            if let Some(sdp) = boundary.and_then(|boundary| sdp_part(body, boundary.as_bytes())) {
                return SessionBody::Sdp(sdp);
            }
        }
        unreadable
    }
}

/// The content of the first `application/sdp` part (RFC 2046 §5.1).
fn sdp_part<'a>(body: &'a [u8], boundary: &[u8]) -> Option<&'a [u8]> {
    let delimiter = [b"--", boundary].concat();
    let mut rest = &body[find(body, &delimiter)? + delimiter.len()..];
    while !rest.starts_with(b"--") {
        let end = find(rest, &delimiter)?;
        let part = &rest[..end];
        let (head, content) = match find(part, b"\r\n\r\n") {
            Some(at) => (&part[..at], &part[at + 4..]),
            None => {
                let at = find(part, b"\n\n")?;
                (&part[..at], &part[at + 2..])
            }
        };
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let is_sdp = head.lines().any(|line| {
            line.split_once(':').is_some_and(|(name, value)| {
                matches!(name.trim(), "content-type" | "c") && value.trim_start().starts_with("application/sdp")
            })
        });
        if is_sdp {
            let content = content.strip_suffix(b"\n").unwrap_or(content);
            return Some(content.strip_suffix(b"\r").unwrap_or(content));
        }
        rest = &rest[end + delimiter.len()..];
    }
    None
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
