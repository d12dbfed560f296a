//! RFC 8866 §5 and §9, read with goodwill: bare line feeds, blanks at line ends, missing `s=` and `t=`,
//! bytes that are not UTF-8, lines out of order.

use std::fmt;

use super::{Attribute, Connection, Description, Media, Origin};

/// The largest description read, in bytes.
pub const MAX_BYTES: usize = 65_535;
/// The most `m=` sections read.
const MAX_MEDIA: usize = 32;
/// The most lines read.
const MAX_LINES: usize = 2_048;

/// Why a text is not a session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SdpError {
    /// More than 65,535 bytes, 2,048 lines or 32 streams.
    TooLarge,
    /// It does not begin with `v=0`.
    Version,
    /// The `o=` line is malformed. (A missing one is let pass.)
    Origin,
    /// A `c=` line is malformed or not of type IN.
    Connection,
    /// An `m=` line is malformed.
    Media,
    /// A line is not `letter=value`.
    Line,
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SdpError::TooLarge => "session description too large",
            SdpError::Version => "session description without v=0",
            SdpError::Origin => "malformed o= line",
            SdpError::Connection => "malformed c= line",
            SdpError::Media => "malformed m= line",
            SdpError::Line => "malformed line in the session description",
        })
    }
}

impl std::error::Error for SdpError {}

/// Reads a session description.
pub fn parse(body: &[u8]) -> Result<Description, SdpError> {
    if body.len() > MAX_BYTES {
        return Err(SdpError::TooLarge);
    }
    let text = String::from_utf8_lossy(body);
    let mut lines = text.split(['\n', '\r']).map(str::trim_end).filter(|line| !line.is_empty());
    if lines.next().map(|line| line.replace(' ', "")).as_deref() != Some("v=0") {
        return Err(SdpError::Version);
    }
    let unspecified = Connection::Ip(std::net::Ipv4Addr::UNSPECIFIED.into());
    let mut out = Description {
        origin: Origin { username: "-".into(), session_id: "0".into(), version: "0".into(), connection: unspecified },
        name: "-".into(),
        connection: None,
        timing: "0 0".into(),
        attributes: Vec::new(),
        media: Vec::new(),
    };
    for (count, line) in lines.enumerate() {
        if count == MAX_LINES {
            return Err(SdpError::TooLarge);
        }
        let (kind, value) = line.split_once('=').ok_or(SdpError::Line)?;
        let value = value.trim();
        match kind.trim() {
            "o" => out.origin = origin(value).ok_or(SdpError::Origin)?,
            "s" if !value.is_empty() => out.name = value.to_owned(),
            "t" if out.media.is_empty() && !value.is_empty() => out.timing = value.to_owned(),
            "c" => {
                let connection = Some(connection(value).ok_or(SdpError::Connection)?);
                match out.media.last_mut() {
                    Some(media) => media.connection = connection,
                    None => out.connection = connection,
                }
            }
            "a" => {
                let attributes = out.media.last_mut().map_or(&mut out.attributes, |media| &mut media.attributes);
                attributes.push(attribute(value));
            }
            "m" if out.media.len() == MAX_MEDIA => return Err(SdpError::TooLarge),
            "m" => out.media.push(media(value).ok_or(SdpError::Media)?),
            letter if letter.len() == 1 && letter.bytes().all(|b| b.is_ascii_alphabetic()) => {}
            _ => return Err(SdpError::Line),
        }
    }
    Ok(out)
}

fn origin(value: &str) -> Option<Origin> {
    // A user name with blanks breaks §5.2 but is seen; the last five fields are sure.
    let fields: Vec<&str> = value.split_ascii_whitespace().collect();
    let at = fields.len().checked_sub(5)?;
    let number = |text: &str| (!text.is_empty() && text.len() <= 64).then(|| text.to_owned());
    let username = fields[..at].join("-");
    Some(Origin {
        username: if username.is_empty() { "-".to_owned() } else { username },
        session_id: number(fields[at])?,
        version: number(fields[at + 1])?,
        connection: connection(&fields[at + 2..].join(" "))?,
    })
}

fn connection(value: &str) -> Option<Connection> {
    let mut fields = value.split_ascii_whitespace();
    if !fields.next()?.eq_ignore_ascii_case("IN") {
        return None;
    }
    let six = match fields.next()? {
        kind if kind.eq_ignore_ascii_case("IP4") => false,
        kind if kind.eq_ignore_ascii_case("IP6") => true,
        _ => return None,
    };
    // What is cut off may have stood before blanks that are none of ASCII's.
    let address = fields.next()?.split('/').next()?.trim();
    if address.is_empty() {
        return None;
    }
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    Some(bare.parse().map_or_else(|_| Connection::Name(address.to_owned(), six), Connection::Ip))
}

fn media(value: &str) -> Option<Media> {
    let mut fields = value.split_ascii_whitespace();
    let kind = fields.next()?.to_owned();
    let port = fields.next()?.split('/').next()?.parse().ok()?;
    let protocol = fields.next()?.to_owned();
    let formats: Vec<String> = fields.map(str::to_owned).collect();
    Some(Media { kind, port, protocol, formats, connection: None, attributes: Vec::new() })
}

fn attribute(value: &str) -> Attribute {
    match value.split_once(':') {
        Some((name, value)) => Attribute::new(name.trim(), value.trim()),
        None => Attribute::flag(value),
    }
}
