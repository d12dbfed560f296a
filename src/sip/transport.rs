//! RFC 3261 §18: by what a message travels.
//!
//! A message goes by the transport that its top Via names. So nothing has to be told beside the message: the transactions read there
//! whether the network repeats for them, and whoever owns the sockets reads there which of them to use.

use std::fmt;

use super::message::{DEFAULT_PORT, Uri};

/// The port of SIP over TLS when none is named (§19.1.2).
pub const TLS_PORT: u16 = 5061;

/// §18.1.1: a request that is larger, and whose path's MTU nobody knows, does not go by UDP.
pub const LARGE: usize = 1_300;

/// What carries a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    #[default]
    Udp,
    /// A stream.
    Tcp,
    /// A stream that nobody else can read.
    Tls,
}

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

    /// Reads the name as a Via or a URI parameter has it.
    pub fn parse(name: &str) -> Option<Transport> {
        Transport::ALL.into_iter().find(|transport| transport.as_str().eq_ignore_ascii_case(name))
    }

    /// As Via has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }

    /// As a URI parameter has it.
    pub fn param(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }

    /// Whether what was sent arrives, or is known not to: then nothing has to be repeated (§17).
    pub fn is_reliable(self) -> bool {
        self != Transport::Udp
    }

    /// The port where none is named.
    pub fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => DEFAULT_PORT,
            Transport::Tls => TLS_PORT,
        }
    }

    /// The transport that a URI asks for (§19.1.1): `sips:` means TLS, whatever its parameter says; `None`: it leaves it open.
    pub fn of_uri(uri: &Uri) -> Option<Transport> {
        if uri.scheme() == super::message::Scheme::Sips {
            return Some(Transport::Tls);
        }
        Transport::parse(&uri.params().value("transport")?)
    }

    /// The transport of a message that we wrote: its Via is its second line. `None` when that names one we do not have: the answer to
    /// such a request goes back as it came.
    pub fn of_message(message: &[u8]) -> Option<Transport> {
        let line = second_line(message)?.strip_prefix(b"Via: ")?;
        let end = line.iter().position(|b| b.is_ascii_whitespace())?;
        let protocol = std::str::from_utf8(&line[..end]).ok()?;
        Transport::parse(protocol.rsplit('/').next()?)
    }
}

/// Makes a request that came by a transport name it in its top Via. The answer goes by what stands there, and a peer that writes another one
/// than it uses waits for it where it has asked (§18.2.2): a PBX behind something that ends its TLS, or that leaves a line as it was when its
/// transport was changed. What names one that we do not have stays: that answer goes back as it came.
pub fn came_by(transport: Transport, request: &mut Vec<u8>) {
    let Some(range) = top_protocol(request) else { return };
    let named = std::str::from_utf8(&request[range.clone()]).ok().and_then(Transport::parse);
    if named.is_some_and(|named| named != transport) {
        request.splice(range, transport.as_str().bytes());
    }
}

/// Where the transport stands in the first Via of a request.
fn top_protocol(request: &[u8]) -> Option<std::ops::Range<usize>> {
    if request.starts_with(b"SIP/") {
        return None;
    }
    let mut start = 0;
    for line in request.split_inclusive(|&b| b == b'\n') {
        let (begins, first) = (start, start == 0);
        start += line.len();
        if line.trim_ascii().is_empty() && !first {
            return None;
        }
        let Some(colon) = line.iter().position(|&b| b == b':').filter(|_| !first) else { continue };
        let name = line[..colon].trim_ascii();
        if !name.eq_ignore_ascii_case(b"via") && !name.eq_ignore_ascii_case(b"v") {
            continue;
        }
        // SIP / 2.0 / UDP, with or without the spaces.
        let mut slashes = line.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        let after = slashes.nth(1)? + 1;
        let token = after + line[after..].iter().position(|b| !b.is_ascii_whitespace())?;
        let end = token + line[token..].iter().position(|b| b.is_ascii_whitespace())?;
        return Some(begins + token..begins + end);
    }
    None
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.param())
    }
}

fn second_line(message: &[u8]) -> Option<&[u8]> {
    message.split(|&b| b == b'\n').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_by_what_its_via_names() {
        for (via, transport) in [
            ("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx", Some(Transport::Udp)),
            ("SIP/2.0/TCP 192.0.2.1", Some(Transport::Tcp)),
            ("SIP/2.0/tls 192.0.2.1", Some(Transport::Tls)),
            ("SIP/2.0/SCTP 192.0.2.1", None),
            ("", None),
        ] {
            let message = format!("SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: x\r\n\r\n");
            assert_eq!(Transport::of_message(message.as_bytes()), transport, "{via}");
        }
        for nothing in ["", "\r\n", "SIP/2.0 200 OK", "SIP/2.0 200 OK\r\nFrom: x\r\n\r\n"] {
            assert_eq!(Transport::of_message(nothing.as_bytes()), None);
        }
    }

    #[test]
    fn a_request_names_what_it_came_by() {
        for (before, after) in [
            (
                "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP h:1;branch=x\r\n",
                Some("OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h:1;branch=x\r\n"),
            ),
            (
                "OPTIONS sip:a SIP/2.0\r\nTo: a/b/TCP c\r\nv : SIP / 2.0 / tls  h\r\n",
                Some("OPTIONS sip:a SIP/2.0\r\nTo: a/b/TCP c\r\nv : SIP / 2.0 / UDP  h\r\n"),
            ),
            // Only the first one; and what says so already, what nobody knows, what is no Via.
            ("OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/udp h\r\nVia: SIP/2.0/TCP h\r\n", None),
            ("OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/SCTP h\r\n", None),
            ("OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0\r\n", None),
            ("OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP", None),
            ("OPTIONS sip:a SIP/2.0\r\n\r\nVia: SIP/2.0/TCP h\r\n", None),
            ("SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h\r\n", None),
            ("", None),
        ] {
            let mut request = before.as_bytes().to_vec();
            came_by(Transport::Udp, &mut request);
            assert_eq!(String::from_utf8_lossy(&request), after.unwrap_or(before));
        }
    }

    #[test]
    fn a_uri_may_ask_for_one() {
        for (uri, transport) in [
            ("sip:a@h", None),
            ("sip:a@h;transport=TCP", Some(Transport::Tcp)),
            ("sip:a@h;transport=tls", Some(Transport::Tls)),
            ("sip:a@h;transport=sctp", None),
            ("sips:a@h;transport=tcp", Some(Transport::Tls)),
        ] {
            assert_eq!(Transport::of_uri(&uri.parse().unwrap()), transport, "{uri}");
        }
    }
}
