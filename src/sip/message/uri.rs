//! RFC 3261 §19.1 (SIP and SIPS URIs), RFC 3966 (`tel:`); every other scheme is kept as opaque text.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::str::FromStr;

use super::lex::Params;
use crate::sip::transport::Transport;

/// The port of SIP over UDP and TCP when none is named.
pub const DEFAULT_PORT: u16 = 5060;

/// What kind of URI it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Any other; only its text is known.
    Other,
}

/// Why a text is not a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriError {
    /// No `scheme:` at its start.
    Scheme,
    /// White space, a control character, a quote or an angle bracket inside it.
    Character,
    /// No host, or an IPv6 address without its closing bracket.
    Host,
    /// A port that is not a number below 65,536.
    Port,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriError::Scheme => "URI without a scheme",
            UriError::Character => "URI with a forbidden character",
            UriError::Host => "URI without a host",
            UriError::Port => "URI with a bad port",
        })
    }
}

impl std::error::Error for UriError {}

/// A URI, kept as its own text with the parts marked. It compares by text.
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    text: String,
    scheme: Scheme,
    user: Option<Range<usize>>,
    host: Range<usize>,
    port: Option<u16>,
    params: Range<usize>,
    headers: usize,
}

impl Uri {
    /// Reads a URI that fills the whole of `text`.
    pub fn parse(text: &str) -> Result<Uri, UriError> {
        if text.bytes().any(|b| b <= b' ' || b == 0x7f || b"<>\"".contains(&b)) {
            return Err(UriError::Character);
        }
        let colon = text.find(':').ok_or(UriError::Scheme)?;
        let scheme = match &text[..colon] {
            s if s.eq_ignore_ascii_case("sip") => Scheme::Sip,
            s if s.eq_ignore_ascii_case("sips") => Scheme::Sips,
            s if s.eq_ignore_ascii_case("tel") => Scheme::Tel,
            s if s.starts_with(|c: char| c.is_ascii_alphabetic())
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) =>
            {
                Scheme::Other
            }
            _ => return Err(UriError::Scheme),
        };
        let start = colon + 1;
        let end = text.len();
        let mut uri = Uri {
            text: text.to_owned(),
            scheme,
            user: None,
            host: end..end,
            port: None,
            params: end..end,
            headers: end,
        };
        match scheme {
            Scheme::Other => {}
            Scheme::Tel => {
                let params = text[start..].find(';').map_or(end, |at| start + at);
                if params == start {
                    return Err(UriError::Host);
                }
                uri.user = Some(start..params);
                uri.params = params..end;
            }
            Scheme::Sip | Scheme::Sips => uri.mark_sip(start)?,
        }
        Ok(uri)
    }

    fn mark_sip(&mut self, start: usize) -> Result<(), UriError> {
        let text = &self.text;
        let end = text.len();
        // A user part may itself hold `;`, `?` and `:` (RFC 4475 §3.1.1.2), so the last `@` decides.
        let host = match text[start..].rfind('@') {
            Some(at) => {
                let userinfo = &text[start..start + at];
                let user = userinfo.find(':').unwrap_or(userinfo.len());
                if user == 0 {
                    return Err(UriError::Host);
                }
                self.user = Some(start..start + user);
                start + at + 1
            }
            None => start,
        };
        self.headers = text[host..].find('?').map_or(end, |at| host + at);
        let params = text[host..self.headers].find(';').map_or(self.headers, |at| host + at);
        self.params = params..self.headers;
        let hostport = &text[host..params];
        let host_len = match hostport.strip_prefix('[') {
            Some(inner) => {
                let close = inner.find(']').ok_or(UriError::Host)?;
                inner[..close].parse::<Ipv6Addr>().map_err(|_| UriError::Host)?;
                close + 2
            }
            None => hostport.find(':').unwrap_or(hostport.len()),
        };
        if host_len == 0 || hostport[..host_len].bytes().any(|b| b",@/\\".contains(&b)) {
            return Err(UriError::Host);
        }
        self.host = host..host + host_len;
        self.port = match &hostport[host_len..] {
            "" => None,
            port => Some(port.strip_prefix(':').and_then(parse_port).ok_or(UriError::Port)?),
        };
        Ok(())
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The user part as written (escapes kept), or the number of a `tel:` URI.
    pub fn user(&self) -> Option<&str> {
        self.user.clone().map(|range| &self.text[range])
    }

    /// The user part with `%xx` resolved; bytes that are not UTF-8 become U+FFFD.
    pub fn user_text(&self) -> Option<String> {
        self.user().map(unescape)
    }

    /// The number or user that is meant: the user part with `%xx` resolved. Of a telephone number the parameters are left out (§19.1.6; `npdi`
    /// and `rn` of RFC 4694, `cpc`, `isub`), and where it is said to be one, the visual separators too (RFC 3966 §5.1.1).
    pub fn number(&self) -> Option<String> {
        let user = self.user()?;
        let subscriber = user.split(';').next().unwrap_or(user);
        let digits = |c: char| c.is_ascii_digit() || "+*#-.()".contains(c);
        let number = unescape(subscriber);
        if number.is_empty() || !number.chars().all(digits) {
            return self.user_text();
        }
        let said = self.scheme == Scheme::Tel
            || self.params().value("user").is_some_and(|kind| kind.eq_ignore_ascii_case("phone"));
        Some(if said { number.replace(['-', '.', '(', ')'], "") } else { number })
    }

    /// Host name or address as written; empty for `tel:` and unknown schemes.
    pub fn host(&self) -> &str {
        &self.text[self.host.clone()]
    }

    /// The port, when one is named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The URI's own parameters (`lr`, `maddr`, `user` …); empty when they do not parse.
    pub fn params(&self) -> Params {
        Params::parse(&self.text[self.params.clone()]).unwrap_or_default()
    }

    /// Whether it has the `lr` parameter of a loose router (§19.1.1).
    pub fn is_loose(&self) -> bool {
        self.params().has("lr")
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URI without its `?headers`, which a Request-URI must not have (§19.1.1, table 1).
    pub fn without_headers(&self) -> &str {
        &self.text[..self.headers]
    }

    /// The `?headers` (§19.1.1): name and value of each, with `%xx` resolved.
    pub fn headers(&self) -> Vec<(String, String)> {
        let headers = self.text[self.headers..].strip_prefix('?').unwrap_or_default();
        let pair = |header: &str| match header.split_once('=') {
            Some((name, value)) => (unescape(name), unescape(value)),
            None => (unescape(header), String::new()),
        };
        headers.split('&').filter(|header| !header.is_empty()).map(pair).collect()
    }

    /// Where a request for this URI goes (RFC 3261 §8.1.2 and RFC 3263 §4, short of the DNS work):
    /// `None` when the URI names no host.
    pub fn target(&self) -> Option<Target> {
        self.target_by(Transport::of_uri(self).unwrap_or_default())
    }

    /// As [`Uri::target`], when it is known by which transport.
    pub fn target_by(&self, transport: Transport) -> Option<Target> {
        if self.host.is_empty() {
            return None;
        }
        let maddr = self.params().value("maddr").map(|m| m.into_owned());
        Some(match Target::new(maddr.as_deref().unwrap_or(self.host()), self.port) {
            Target::Addr(at) if self.port.is_none() => Target::Addr(SocketAddr::new(at.ip(), transport.default_port())),
            target => target,
        })
    }
}

impl FromStr for Uri {
    type Err = UriError;
    fn from_str(text: &str) -> Result<Uri, UriError> {
        Uri::parse(text)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({})", self.text)
    }
}

/// Where a message is to be sent. Names are resolved by whoever owns the sockets (RFC 3263).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address.
    Addr(SocketAddr),
    /// A name, to be looked up (RFC 3263 §4.2): SRV records where no port is named.
    Host {
        /// Host name, not an address.
        name: String,
        /// The port, when one is named.
        port: Option<u16>,
    },
}

impl Target {
    /// A target of a host as it stands in a URI or Via: an IPv4 address, a bracketed IPv6 one, or a name.
    pub fn new(host: &str, port: Option<u16>) -> Target {
        match parse_ip(host) {
            Some(ip) => Target::Addr(SocketAddr::new(ip, port.unwrap_or(DEFAULT_PORT))),
            None => Target::Host { name: host.to_owned(), port },
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Addr(addr) => addr.fmt(f),
            Target::Host { name, port: Some(port) } => write!(f, "{name}:{port}"),
            Target::Host { name, port: None } => f.write_str(name),
        }
    }
}

/// Reads an IPv4 address, or an IPv6 one with or without its brackets.
pub(crate) fn parse_ip(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).parse().ok()
}

pub(crate) fn parse_port(text: &str) -> Option<u16> {
    let text = text.trim();
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Writes any text as the user part of a URI (§25.1 `user`): what is not allowed there becomes `%xx`.
pub fn escape_user(user: &str) -> String {
    let mut out = String::with_capacity(user.len());
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|h| bytes[at] == b'%' && h.bytes().all(|b| b.is_ascii_hexdigit()));
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        let uri = Uri::parse("sip:+86%2021:pw@gw.example.com:5080;transport=udp;lr?Subject=x").unwrap();
        assert_eq!(uri.user(), Some("+86%2021"));
        assert_eq!(uri.user_text().as_deref(), Some("+86 21"));
        assert_eq!((uri.host(), uri.port()), ("gw.example.com", Some(5080)));
        assert!(uri.is_loose());
        assert_eq!(uri.without_headers(), "sip:+86%2021:pw@gw.example.com:5080;transport=udp;lr");
        assert_eq!(uri.target(), Some(Target::Host { name: "gw.example.com".into(), port: Some(5080) }));
    }

    #[test]
    fn ipv6_tel_and_opaque() {
        let uri = Uri::parse("SIP:bob@[2001:db8::1]:5070").unwrap();
        assert_eq!(uri.target(), Some(Target::Addr("[2001:db8::1]:5070".parse().unwrap())));
        let tel = Uri::parse("tel:+8613800000000;phone-context=x").unwrap();
        assert_eq!((tel.user(), tel.target()), (Some("+8613800000000"), None));
        assert_eq!(Uri::parse("nobodyKnowsThisScheme:totallyopaque").unwrap().scheme(), Scheme::Other);
        let secure = Uri::parse("sip:a@192.0.2.7;transport=tls").unwrap();
        assert_eq!(secure.target(), Some(Target::Addr("192.0.2.7:5061".parse().unwrap())));
        let maddr = Uri::parse("sip:a@b.example;maddr=192.0.2.7").unwrap();
        assert_eq!(maddr.target(), Some(Target::Addr("192.0.2.7:5060".parse().unwrap())));
    }

    #[test]
    fn of_a_number_only_the_number_counts() {
        for (uri, number) in [
            ("sip:100;npdi;rn=+4989@h;user=phone", "100"),
            ("sip:+4930;cpc=ordinary@h", "+4930"),
            ("sip:%2B49-30.(1)@h;user=PHONE", "+49301"),
            ("tel:+49-30-1;isub=2", "+49301"),
            // Whoever is no number is called by all of his name.
            ("sip:alice;day=tuesday@h", "alice;day=tuesday"),
            ("sip:100-2@h", "100-2"),
            ("sip:a%20b@h", "a b"),
            ("sip:*100%23@h", "*100#"),
        ] {
            assert_eq!(Uri::parse(uri).unwrap().number().as_deref(), Some(number), "{uri}");
        }
        assert_eq!(Uri::parse("sip:h").unwrap().number(), None);
    }

    #[test]
    fn broken_ones_are_refused() {
        for (text, error) in [
            ("alice@example.com", UriError::Scheme),
            ("", UriError::Scheme),
            ("sip:", UriError::Host),
            ("sip:@host", UriError::Host),
            ("sip:[::1", UriError::Host),
            ("sip:a@b:99999", UriError::Port),
            ("sip:a@b:+5", UriError::Port),
            ("sip:a b@c", UriError::Character),
            ("sip:a@b\r\nX: y", UriError::Character),
            ("tel:", UriError::Host),
        ] {
            assert_eq!(Uri::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn escaping_round_trips() {
        let user = "a b@c:\"<中>%";
        let uri = Uri::parse(&format!("sip:{}@h", escape_user(user))).unwrap();
        assert_eq!(uri.user_text().as_deref(), Some(user));
    }
}
