//! RFC 8866 §5: a session description and its text, of which a telephone call needs `v o s c t m a`.
//!
//! Lines that say nothing about the streams (`i u e p b k r z`) are read over and not kept.

use std::fmt;
use std::net::IpAddr;

/// A session description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Who made it, and which version it is.
    pub origin: Origin,
    /// Session name; `-` when there is none.
    pub name: String,
    /// The connection of every stream that has none of its own.
    pub connection: Option<Connection>,
    /// Start and stop as written, usually `0 0`.
    pub timing: String,
    /// Attributes of the whole session.
    pub attributes: Vec<Attribute>,
    /// The streams, in order.
    pub media: Vec<Media>,
}

/// The `o=` line (§5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// User name; `-` when there is none.
    pub username: String,
    /// Names the session, digits as written.
    pub session_id: String,
    /// Rises by one with every change, digits as written.
    pub version: String,
    /// Where the session was made.
    pub connection: Connection,
}

/// An address as in `c=` (§5.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// An address; of a multicast one, the TTL and count are left out.
    Ip(IpAddr),
    /// A host name, and whether it is of type IP6.
    Name(String, bool),
}

/// One `m=` section (§5.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// `audio`, `video`, `image` …
    pub kind: String,
    /// The transport port; 0 refuses or ends the stream.
    pub port: u16,
    /// `RTP/AVP`, `RTP/SAVP`, `udptl` …
    pub protocol: String,
    /// Payload types, of RTP; in order of preference.
    pub formats: Vec<String>,
    /// Its own connection.
    pub connection: Option<Connection>,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
}

/// An `a=` line (§5.13). Its `Debug` shows no keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Attribute {
    /// What stands before the colon.
    pub name: String,
    /// What stands behind it.
    pub value: Option<String>,
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.name == "crypto" { Some("…") } else { self.value.as_deref() };
        f.debug_struct("Attribute").field("name", &self.name).field("value", &value).finish()
    }
}

impl Attribute {
    /// `a=name:value`.
    pub fn new(name: &str, value: impl Into<String>) -> Attribute {
        Attribute { name: name.to_owned(), value: Some(value.into()) }
    }

    /// `a=name`.
    pub fn flag(name: &str) -> Attribute {
        Attribute { name: name.to_owned(), value: None }
    }
}

/// Which way media flows, seen from whoever wrote it (§6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// From the writer only.
    SendOnly,
    /// To the writer only.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// The direction of `sends` and `receives`.
    pub fn of(sends: bool, receives: bool) -> Direction {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// Whether the writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the writer receives.
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    fn in_attributes(attributes: &[Attribute]) -> Option<Direction> {
        attributes.iter().find_map(|attribute| match attribute.name.as_str() {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        })
    }
}

impl Description {
    /// Whether its audio is wanted at an IPv6 address; `None`: there is none.
    pub fn wants_v6(&self) -> Option<bool> {
        let audio = self.media.iter().find(|media| media.kind == "audio")?;
        Some(match audio.connection.as_ref().or(self.connection.as_ref())? {
            Connection::Ip(ip) => ip.is_ipv6(),
            Connection::Name(_, v6) => *v6,
        })
    }

    /// The direction of one of its streams: its own, or the session's, or both ways.
    pub fn direction(&self, media: &Media) -> Direction {
        Direction::in_attributes(&media.attributes)
            .or_else(|| Direction::in_attributes(&self.attributes))
            .unwrap_or(Direction::SendRecv)
    }

    /// The text, with CRLF.
    pub fn write(&self) -> Vec<u8> {
        let mut out = format!("v=0\r\no={}\r\ns={}\r\n", self.origin, self.name);
        if let Some(connection) = &self.connection {
            out.push_str(&format!("c={connection}\r\n"));
        }
        out.push_str(&format!("t={}\r\n", self.timing));
        push_attributes(&mut out, &self.attributes);
        for media in &self.media {
            out.push_str(&format!("m={} {} {}", media.kind, media.port, media.protocol));
            for format in &media.formats {
                out.push(' ');
                out.push_str(format);
            }
            out.push_str("\r\n");
            if let Some(connection) = &media.connection {
                out.push_str(&format!("c={connection}\r\n"));
            }
            push_attributes(&mut out, &media.attributes);
        }
        out.into_bytes()
    }
}

fn push_attributes(out: &mut String, attributes: &[Attribute]) {
    for Attribute { name, value } in attributes {
        out.push_str("a=");
        out.push_str(name);
        if let Some(value) = value {
            out.push(':');
            out.push_str(value);
        }
        out.push_str("\r\n");
    }
}

impl Media {
    /// The value of its first attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|a| a.name == name).and_then(|a| a.value.as_deref())
    }

    /// Whether it has an attribute of that name.
    pub fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|a| a.name == name)
    }

    /// Encoding name and clock rate in Hz of a payload type from its `a=rtpmap`, when it has one that reads.
    pub fn rtpmap(&self, payload_type: u8) -> Option<(&str, u32)> {
        let read = |encoding: &str| -> Option<u32> { encoding.split('/').nth(1)?.trim().parse().ok() };
        self.of_format("rtpmap", payload_type).find_map(|encoding| Some((encoding.split('/').next()?, read(encoding)?)))
    }

    /// Its formats that are payload types, in its order.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> + '_ {
        self.formats.iter().filter_map(|format| format.parse().ok()).filter(|number| *number < 128)
    }

    /// The first payload type of this encoding and clock, by its `a=rtpmap`.
    pub fn payload_type_of(&self, encoding: &str, clock: u32) -> Option<u8> {
        let is = |(name, rate): (&str, u32)| name.eq_ignore_ascii_case(encoding) && rate == clock;
        self.payload_types().find(|number| self.rtpmap(*number).is_some_and(is))
    }

    /// The channels that its `a=rtpmap` says: one unless it says more.
    pub fn channels(&self, payload_type: u8) -> u32 {
        let said = self.of_format("rtpmap", payload_type).next().and_then(|encoding| encoding.split('/').nth(2));
        said.and_then(|channels| channels.trim().parse().ok()).unwrap_or(1)
    }

    /// The parameters of a payload type, from its `a=fmtp`.
    pub fn fmtp(&self, payload_type: u8) -> Option<&str> {
        self.of_format("fmtp", payload_type).next()
    }

    /// What the attributes of a name say of a payload type.
    fn of_format<'a>(&'a self, name: &'a str, payload_type: u8) -> impl Iterator<Item = &'a str> {
        self.attributes.iter().filter(move |a| a.name == name).filter_map(move |attribute| {
            let (format, said) = attribute.value.as_deref()?.trim().split_once(' ')?;
            (format.parse() == Ok(payload_type)).then_some(said.trim())
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.username, self.session_id, self.version, self.connection)
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Connection::Ip(IpAddr::V4(ip)) => write!(f, "IN IP4 {ip}"),
            Connection::Ip(IpAddr::V6(ip)) => write!(f, "IN IP6 {ip}"),
            Connection::Name(name, false) => write!(f, "IN IP4 {name}"),
            Connection::Name(name, true) => write!(f, "IN IP6 {name}"),
        }
    }
}
