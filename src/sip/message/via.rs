//! RFC 3261 §20.42: Via, with `received` and `rport` (RFC 3581).

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::lex::{self, Params};
use super::uri::{parse_ip, parse_port};
use crate::sip::transport::Transport;

/// What a branch made under RFC 3261 begins with (§8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// One hop of a message's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// `SIP/2.0`, blanks taken out.
    pub protocol: String,
    /// `UDP`, `TCP`, …
    pub transport: String,
    /// Host of sent-by, brackets kept.
    pub host: String,
    /// Port of sent-by.
    pub port: Option<u16>,
    /// `branch`, `rport`, `received`, …
    pub params: Params,
}

impl Via {
    /// Reads one Via value (one element of a comma-joined list); `None` when it is malformed.
    pub fn parse(text: &str) -> Option<Via> {
        let (via, params) = Via::hop(text)?;
        Some(Via { params: Params::parse(params)?, ..via })
    }

    /// As much of a Via as says where an answer goes: its hop, and those of its parameters that read (RFC 4475 §3.1.2.1). `None` when
    /// not even the hop reads.
    pub(super) fn salvage(text: &str) -> Option<Via> {
        let (via, params) = Via::hop(text)?;
        Some(Via { params: Params::salvage(params), ..via })
    }

    /// Protocol, transport and sent-by, and the text of the parameters.
    pub(super) fn hop(text: &str) -> Option<(Via, &str)> {
        let mut parts = text.splitn(3, '/');
        let name = parts.next()?.trim();
        let version = parts.next()?.trim();
        let rest = parts.next()?.trim_start();
        let (transport, rest) = rest.split_once(|c: char| c.is_ascii_whitespace())?;
        if !lex::is_token(name.as_bytes()) || !lex::is_token(version.as_bytes()) || !lex::is_token(transport.as_bytes())
        {
            return None;
        }
        let semicolon = rest.find(';').unwrap_or(rest.len());
        let sent_by = rest[..semicolon].trim();
        let host_len = match sent_by.strip_prefix('[') {
            Some(inner) => inner.find(']')? + 2,
            None => sent_by.find(':').unwrap_or(sent_by.len()),
        };
        let host = sent_by[..host_len].trim_end();
        if host.is_empty() || host.bytes().any(|b| b.is_ascii_whitespace() || b"<>\",@/".contains(&b)) {
            return None;
        }
        let port = match sent_by[host_len..].trim_start() {
            "" => None,
            port => Some(port.strip_prefix(':').and_then(parse_port)?),
        };
        let (transport, host) = (transport.to_owned(), host.to_owned());
        let via = Via { protocol: format!("{name}/{version}"), transport, host, port, params: Params::default() };
        Some((via, &rest[semicolon..]))
    }

    /// The branch, when it is there and not empty.
    pub fn branch(&self) -> Option<Cow<'_, str>> {
        self.params.value("branch").filter(|branch| !branch.is_empty())
    }

    /// §17.1.3: whether a response that has the other one on top answers the request that has this one.
    pub(crate) fn is_answered_by(&self, other: &Via) -> bool {
        self.branch().is_some_and(|branch| other.branch() == Some(branch))
    }

    /// Where a response goes when the request came from `source` (§18.2.2, RFC 3581 §4). Over a stream that is the far end of the
    /// connection that it came by.
    pub fn reply_to(&self, source: SocketAddr) -> SocketAddr {
        let transport = Transport::parse(&self.transport).unwrap_or_default();
        if self.params.has("rport") || transport.is_reliable() {
            return source;
        }
        let port = self.port.unwrap_or(transport.default_port());
        let maddr = self.params.value("maddr").and_then(|m| parse_ip(&m));
        SocketAddr::new(maddr.unwrap_or(source.ip()), port)
    }

    /// This Via as it stands in a response: `received` when the sent-by is not where it came from, and
    /// both `received` and `rport` when the client asked for `rport`.
    pub(crate) fn stamped(&self, source: SocketAddr) -> String {
        let mut out = format!("{}/{} {}", self.protocol, self.transport, self.host);
        if let Some(port) = self.port {
            out.push_str(&format!(":{port}"));
        }
        for (name, value) in self.params.iter() {
            if name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport") {
                continue;
            }
            out.push(';');
            out.push_str(name);
            if !value.is_empty() {
                out.push('=');
                out.push_str(value);
            }
        }
        let rport = self.params.has("rport");
        if rport || parse_ip(&self.host) != Some(source.ip()) {
            out.push_str(&format!(";received={}", source.ip()));
        }
        if rport {
            out.push_str(&format!(";rport={}", source.port()));
        }
        out
    }

    /// Where a response goes when the connection that its request came by is gone (§18.2.2): `received`, else the host of sent-by, and
    /// its port. `None` when that is a name.
    pub fn way_back(&self) -> Option<SocketAddr> {
        let transport = Transport::parse(&self.transport).unwrap_or_default();
        let ip = match self.params.value("received") {
            Some(received) => parse_ip(&received)?,
            None => parse_ip(&self.host)?,
        };
        Some(SocketAddr::new(ip, self.port.unwrap_or(transport.default_port())))
    }

    /// The address the far side saw us under, from the `received` and `rport` it wrote.
    pub fn seen_as(&self) -> Option<SocketAddr> {
        let port = self.params.value("rport").and_then(|p| parse_port(&p))?;
        let ip: IpAddr = match self.params.value("received") {
            Some(received) => parse_ip(&received)?,
            None => parse_ip(&self.host)?,
        };
        Some(SocketAddr::new(ip, port))
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.protocol, self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.params.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_ipv6_and_ports() {
        let via = Via::parse("SIP  / 2.0  / TCP     spindle.example.com   ;  branch  =   z9hG4bK9ikj8").unwrap();
        assert_eq!(via.to_string(), "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8");
        let via = Via::parse("SIP/2.0/UDP [2001:db8::9:1]:5070;received=[2001:db8::9:255];branch=z9hG4bKas3").unwrap();
        assert_eq!((via.host.as_str(), via.port), ("[2001:db8::9:1]", Some(5070)));
        for broken in
            ["SIP/2.0/UDP", "SIP/2.0/UDP 192.0.2.15;;,;,,", "SIP/2.0/UDP h:x", "UDP h", "SIP/2.0/UDP [::1", ""]
        {
            assert_eq!(Via::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_hop_that_reads_is_enough_to_answer() {
        for (broken, left) in [
            ("SIP/2.0/UDP 192.0.2.15;;,;,,", "SIP/2.0/UDP 192.0.2.15"),
            ("SIP/2.0/UDP h:5070;;branch=z9hG4bKa;a b;rport;=1", "SIP/2.0/UDP h:5070;branch=z9hG4bKa;rport"),
            ("SIP/2.0/UDP h;branch=z9hG4bKa;x=\"", "SIP/2.0/UDP h;branch=z9hG4bKa"),
        ] {
            assert_eq!(Via::parse(broken), None, "{broken}");
            assert_eq!(Via::salvage(broken).unwrap().to_string(), left);
        }
        for nothing in ["SIP/2.0/UDP", "SIP/2.0/UDP h:x;branch=a", ";", ""] {
            assert_eq!(Via::salvage(nothing), None, "{nothing}");
        }
    }

    /// RFC 3261 §18.2.2 and RFC 3581 §4, each case.
    #[test]
    fn responses_find_their_way() {
        let source: SocketAddr = "198.51.100.7:40000".parse().unwrap();
        for (via, to, stamped) in [
            ("SIP/2.0/UDP 198.51.100.7", "198.51.100.7:5060", "SIP/2.0/UDP 198.51.100.7"),
            (
                "SIP/2.0/UDP 10.1.1.1:5062;branch=x",
                "198.51.100.7:5062",
                "SIP/2.0/UDP 10.1.1.1:5062;branch=x;received=198.51.100.7",
            ),
            (
                "SIP/2.0/UDP 10.1.1.1;rport;branch=x",
                "198.51.100.7:40000",
                "SIP/2.0/UDP 10.1.1.1;branch=x;received=198.51.100.7;rport=40000",
            ),
            (
                "SIP/2.0/UDP h.example;maddr=192.0.2.1",
                "192.0.2.1:5060",
                "SIP/2.0/UDP h.example;maddr=192.0.2.1;received=198.51.100.7",
            ),
        ] {
            let via = Via::parse(via).unwrap();
            assert_eq!(via.reply_to(source), to.parse().unwrap());
            assert_eq!(via.stamped(source), stamped);
        }
        // Over a stream, back on the connection; if that is gone, to where the far side listens.
        let via = Via::parse("SIP/2.0/TCP 10.1.1.1:5062;branch=x").unwrap();
        assert_eq!(via.reply_to(source), source);
        let via = Via::parse(&via.stamped(source)).unwrap();
        assert_eq!(via.way_back(), Some("198.51.100.7:5062".parse().unwrap()));
        assert_eq!(Via::parse("SIP/2.0/TLS 10.1.1.1").unwrap().way_back(), Some("10.1.1.1:5061".parse().unwrap()));
        assert_eq!(Via::parse("SIP/2.0/TCP h.example").unwrap().way_back(), None);
        let back = Via::parse("SIP/2.0/UDP 10.1.1.1;branch=x;received=198.51.100.7;rport=40000").unwrap();
        assert_eq!(back.seen_as(), Some(source));
    }
}
