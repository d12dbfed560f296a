//! RFC 3261 §20.10: `name-addr` and `addr-spec` with header parameters, as in From, To, Contact,
//! Route and Record-Route.

use std::borrow::Cow;
use std::fmt;

use super::lex::{self, Params};
use super::uri::Uri;

/// A display name, a URI and the header parameters after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// Display name without quotes or escapes.
    pub display: Option<String>,
    /// The URI.
    pub uri: Uri,
    /// Parameters of the header, not of the URI.
    pub params: Params,
}

impl NameAddr {
    /// A bare URI with an optional display name.
    pub fn new(display: Option<String>, uri: Uri) -> NameAddr {
        NameAddr { display, uri, params: Params::default() }
    }

    /// Reads one value. `None` when quotes or brackets do not balance, when an unquoted display name
    /// holds what only a quoted one may, when a URI with `,` or `?` lacks its brackets (§20.10), or
    /// when the URI or the parameters are malformed.
    pub fn parse(text: &str) -> Option<NameAddr> {
        let text = text.trim();
        if text.starts_with('"') {
            let (display, rest) = lex::quoted_string(text)?;
            return NameAddr::bracketed(Some(display.into_owned()), rest.trim_start());
        }
        if let Some(open) = text.find('<') {
            let display = text[..open].trim();
            if !display.bytes().all(|b| lex::is_token(&[b]) || b.is_ascii_whitespace() || b >= 0x80) {
                return None;
            }
            let display = (!display.is_empty()).then(|| display.to_owned());
            return NameAddr::bracketed(display, &text[open..]);
        }
        // §20.10: without brackets, what follows a semicolon belongs to the header, and the URI may
        // hold neither comma nor question mark.
        let end = text.find(';').unwrap_or(text.len());
        let addr = text[..end].trim_end();
        if addr.contains([',', '?']) {
            return None;
        }
        Some(NameAddr { display: None, uri: Uri::parse(addr).ok()?, params: Params::parse(&text[end..])? })
    }

    fn bracketed(display: Option<String>, text: &str) -> Option<NameAddr> {
        let inner = text.strip_prefix('<')?;
        let close = inner.find('>')?;
        let uri = Uri::parse(&inner[..close]).ok()?;
        Some(NameAddr { display, uri, params: Params::parse(&inner[close + 1..])? })
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<Cow<'_, str>> {
        self.params.value("tag").filter(|tag| !tag.is_empty())
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            write!(f, "{} ", lex::quote(display))?;
        }
        write!(f, "<{}>{}", self.uri, self.params.as_str())
    }
}
