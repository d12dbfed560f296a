//! Which headers an orchestrator may put into an INVITE (RFC 3261 section 25.1 for their form).

use crate::dialogue::convert::Refused;
use crate::proto::dialogue::v1::Header;

/// Those that make the dialog, the route, the authentication, the timers and the body: they are ours to write. With compact forms.
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
    "rseq",
    "rack",
    "recv-info",
    "info-package",
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
    "retry-after",
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
];

/// The headers of an INVITE, if none of them is ours to write and all can be written on one line.
pub(super) fn headers(headers: Vec<Header>) -> Result<Vec<(String, String)>, Refused> {
    if headers.len() > 64 {
        return Err(Refused::invalid("headers", format!("has {} entries, at most 64 are taken", headers.len())));
    }
    let checked = headers.into_iter().enumerate().map(|(n, Header { name, value })| {
        let refused = |what: &str, reason: &str| Err(Refused::invalid(format!("headers[{n}].{what}"), reason));
        if name.is_empty() || !name.bytes().all(is_token) {
            return refused("name", "is not a token of RFC 3261");
        }
        if name.eq_ignore_ascii_case("User-to-User") {
            return refused("name", "User-to-User has a field of its own: user_to_user");
        }
        if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            return refused("name", &format!("{name} is written by Trunkline itself"));
        }
        if value.contains(is_control) {
            return refused("value", "has a line break or another control character");
        }
        if name.len() + value.len() > 4096 {
            return refused("value", "is longer than 4,096 bytes");
        }
        Ok((name, value))
    });
    checked.collect()
}

/// RFC 3261 section 25.1, `token`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// What would end a line of SIP or hide in it; a tab is white space.
pub(super) fn is_control(c: char) -> bool {
    c.is_control() && c != '\t'
}
