//! Keys in SIP INFO (RFC 6086 carries them, no RFC names the bodies):
//!
//! | Content-Type | body |
//! |---|---|
//! | `application/dtmf-relay` | lines `Signal=5` and `Duration=160`; some write 10 and 11 for `*` and `#` |
//! | `application/dtmf` | the key alone |

/// The key that an INFO tells of, if it does.
pub fn key(content_type: Option<&str>, body: &[u8]) -> Option<char> {
    let kind = content_type?.split(';').next()?.trim();
    let body = std::str::from_utf8(body).ok()?;
    let signal = if kind.eq_ignore_ascii_case("application/dtmf-relay") {
        body.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
        })?
    } else if kind.eq_ignore_ascii_case("application/dtmf") {
        body.trim()
    } else {
        return None;
    };
    let mut characters = signal.chars();
    match (signal, characters.next(), characters.next()) {
        ("10", ..) => Some('*'),
        ("11", ..) => Some('#'),
        (_, Some(key), None) => Some(key.to_ascii_uppercase()).filter(|key| "0123456789*#ABCD".contains(*key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bodies_are_read_and_others_are_not() {
        let relay = Some("application/dtmf-relay");
        assert_eq!(key(relay, b"Signal=5\r\nDuration=160\r\n"), Some('5'));
        assert_eq!(key(relay, b"signal = d\n"), Some('D'));
        assert_eq!(key(relay, b"Signal=11\r\n"), Some('#'));
        assert_eq!(key(relay, b"Duration=160\r\n"), None);
        assert_eq!(key(Some("application/dtmf; charset=utf-8"), b"*\r\n"), Some('*'));
        assert_eq!(key(Some("application/dtmf"), b"flash"), None);
        assert_eq!(key(Some("text/plain"), b"5"), None);
        assert_eq!(key(None, b"5"), None);
        assert_eq!(key(relay, &[0xff, 0xfe]), None);
    }
}
