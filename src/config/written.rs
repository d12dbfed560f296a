//! How values are written: each function takes one as it stands in a file.

use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use super::problem::Wrong;
use super::values::PortRange;
use crate::call::fillers::Fillers;
use crate::call::knobs::{BargeIn, OnBargeIn};
use crate::call::leg::InbandKeys;
use crate::call::prompt::{Source, Text};
use crate::call::transfer::Way;
use crate::journal::{Format, Pattern};
use crate::sdp::{AudioFormat, Suite, Willing};
use crate::sip::message::{Scheme, Target, Uri};
use crate::sip::session::{Refresher, Reliability};
use crate::sip::transport::Transport;
use crate::switchboard::settings::{CalleeMatch, Network};

/// Anything but nothing.
pub(super) fn some(text: &str) -> Result<String, Wrong> {
    if text.trim().is_empty() {
        return Err(Wrong::new("is empty", "write something or remove the key"));
    }
    Ok(text.to_owned())
}

/// Whether keys are heard as tones.
pub(super) fn inband_keys(text: &str) -> Result<InbandKeys, Wrong> {
    match text {
        "auto" => Ok(InbandKeys::Auto),
        "on" => Ok(InbandKeys::On),
        "off" => Ok(InbandKeys::Off),
        _ => Err(Wrong::new("is no way to hear keys", "write \"auto\", \"on\" or \"off\"")),
    }
}

/// What becomes of a REFER of the far end.
pub(super) fn inbound_refer(text: &str) -> Result<Way, Wrong> {
    match text {
        "refuse" => Ok(Way::Refuse),
        "tell" => Ok(Way::Tell),
        "follow" => Ok(Way::Follow),
        _ => Err(Wrong::new("is nothing that becomes of a REFER", "write \"refuse\", \"tell\" or \"follow\"")),
    }
}

/// A name by which files refer to each other.
pub(super) fn name(text: &str) -> Result<String, Wrong> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
        return Err(Wrong::new("is not a name", "use 1 to 64 letters, digits, '-', '_' and '.'"));
    }
    Ok(text.to_owned())
}

/// `address:port`.
pub(super) fn socket(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| Wrong::new("is not an IP address with a port", "write it as 127.0.0.1:5060 or [::1]:5060"))
}

/// A DNS server: an address, with or without a port.
pub(super) fn resolver(text: &str) -> Result<SocketAddr, Wrong> {
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    let at = bare.or_else(|_| text.parse::<SocketAddr>()).ok().filter(|at| at.port() != 0);
    at.ok_or_else(|| Wrong::new("is not the address of a DNS server", "write it as 127.0.0.1 or 127.0.0.1:53"))
}

/// An address.
pub(super) fn ip(text: &str) -> Result<IpAddr, Wrong> {
    text.parse().map_err(|_| Wrong::new("is not an IP address", "write it as 127.0.0.1 or ::1"))
}

/// An address that others can send to.
pub(super) fn reachable_ip(text: &str) -> Result<IpAddr, Wrong> {
    let ip = ip(text)?;
    if ip.is_unspecified() {
        return Err(Wrong::new(
            "is no address that a peer could send to",
            "name the address by which peers reach this machine",
        ));
    }
    Ok(ip)
}

/// An address that others can send to, with or without a port.
pub(super) fn advertised(text: &str) -> Result<(IpAddr, Option<u16>), Wrong> {
    match text.parse::<SocketAddr>() {
        Ok(at) if at.port() == 0 => Err(Wrong::new("has port 0", "name the port")),
        Ok(at) => Ok((reachable_ip(&at.ip().to_string())?, Some(at.port()))),
        Err(_) => Ok((reachable_ip(text)?, None)),
    }
}

/// How recordings are named.
pub(super) fn pattern(text: &str) -> Result<Pattern, Wrong> {
    let remedy = "write it as \"{date}/{trunk}/{call_id}\", of {call_id}, {date}, {time}, {trunk}, {caller}, {callee} and {direction}";
    Pattern::parse(text).map_err(|e| Wrong::new(e.to_string(), remedy))
}

/// How recordings are written; `kbit_s` is what Opus takes.
pub(super) fn recording_format(text: &str, kbit_s: u64) -> Result<Format, Wrong> {
    match text {
        "pcm16" => Ok(Format::Pcm16),
        "g711" => Ok(Format::G711),
        "opus" => Ok(Format::Opus { bitrate: kbit_s as u32 * 1_000 }),
        _ => Err(Wrong::new("is not known", "write \"pcm16\", \"g711\" or \"opus\"")),
    }
}

/// Whether recordings begin with early media.
pub(super) fn recording_from(text: &str) -> Result<bool, Wrong> {
    match text {
        "answer" => Ok(false),
        "early_media" => Ok(true),
        _ => Err(Wrong::new("is not known", "write \"answer\" or \"early_media\"")),
    }
}

/// Where recordings are uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Url {
    /// A bucket, and what comes before each name.
    S3(String, String),
    Folder(PathBuf),
}

/// `s3://bucket/prefix` or `file:///folder`.
pub(super) fn upload(text: &str) -> Result<Url, Wrong> {
    let form = |reason: &str| Wrong::new(reason, "write it as s3://bucket/prefix, or file:///folder of a share");
    if let Some(folder) = text.strip_prefix("file://") {
        let folder = Path::new(folder);
        let plain = folder.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        return match folder.is_absolute() && plain && folder.parent().is_some() {
            true => Ok(Url::Folder(folder.components().collect())),
            false => Err(form("names no folder from the root on")),
        };
    }
    let Some(place) = text.strip_prefix("s3://") else { return Err(form("is neither s3:// nor file://")) };
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; other services take a little more, and are given no less.
    let inside = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
    let ends = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = bucket.as_bytes();
    if !(3..=63).contains(&bytes.len())
        || !bytes.iter().all(|c| inside(*c))
        || !ends(bytes.first())
        || !ends(bytes.last())
    {
        return Err(form("names a bucket that cannot be: 3 to 63 of a-z, 0-9, - and ., no - and . at its ends"));
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let bad = |part: &str| matches!(part, "" | "." | "..") || part.contains(char::is_control);
    if !prefix.is_empty() && prefix.split('/').any(bad) {
        return Err(form("has a prefix with an empty part, . or .."));
    }
    Ok(Url::S3(bucket.to_owned(), prefix.to_owned()))
}

/// `http://host:port` or `https://host`, and nothing behind it.
pub(super) fn web_origin(text: &str) -> Result<String, Wrong> {
    let form = |reason: &str| Wrong::new(reason, "write it as http://host:port or https://host");
    let text = text.strip_suffix('/').unwrap_or(text);
    let uri: hyper::Uri = text.parse().map_err(|_| form("is no URL"))?;
    let http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !http || uri.host().is_none_or(str::is_empty) || uri.port_u16() == Some(0) {
        return Err(form("is no http:// or https:// URL with a host"));
    }
    if uri.path() != "/" || uri.query().is_some() || text.contains('@') {
        return Err(form("has more than a host and a port"));
    }
    Ok(text.to_owned())
}

/// `first-last`.
pub(super) fn ports(text: &str) -> Result<PortRange, Wrong> {
    let form = || Wrong::new("is not a range of ports", "write it as 20000-29999");
    let (first, last) = text.split_once('-').ok_or_else(form)?;
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| form());
    let (first, last) = (port(first)?, port(last)?);
    if first < 1024 {
        return Err(Wrong::new("begins below 1024", "begin at 1024 or above: those below belong to the system"));
    }
    if !first.is_multiple_of(2) {
        // RFC 3550 §11: RTP on an even port, its RTCP on the next one.
        return Err(Wrong::new(
            "begins with an odd port",
            "begin with an even one: RTP has the even ports, RTCP the odd ones",
        ));
    }
    if last <= first {
        return Err(Wrong::new("ends before it has two ports", "write the lower port first"));
    }
    Ok(PortRange { first, last })
}

/// A service, `http://host:port`.
pub(super) fn endpoint(text: &str) -> Result<String, Wrong> {
    let wrong = |reason: &str| Wrong::new(reason, "write it as http://host:port");
    let uri: hyper::Uri = text.parse().map_err(|_| wrong("is not a URI"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(wrong("asks for TLS, which is not built for services yet")),
        _ => return Err(wrong("is not an http URI")),
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(wrong("names no host"));
    }
    if uri.port_u16().is_none_or(|port| port == 0) {
        return Err(wrong("names no port"));
    }
    if uri.path_and_query().is_some_and(|path| path != "/") {
        return Err(wrong("has a path"));
    }
    Ok(text.to_owned())
}

/// A transport; `None`: whichever fits.
pub(super) fn transport(text: &str) -> Result<Option<Transport>, Wrong> {
    match Transport::parse(text).filter(|transport| transport.param() == text) {
        None if text == "auto" => Ok(None),
        None => Err(Wrong::new("is not a transport", "write auto, udp, tcp or tls")),
        some => Ok(some),
    }
}

/// A peer: an address or a name, with or without a port; an address without one has that of the transport (RFC 3261 §19.1.2).
pub(super) fn peer(text: &str, transport: Transport) -> Result<Target, Wrong> {
    let form = || {
        Wrong::new(
            "is not an address or host name with an optional port",
            "write it as 192.0.2.1:5060, [2001:db8::1]:5060 or sip.example.com",
        )
    };
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(Target::Addr(SocketAddr::new(ip, transport.default_port())));
    }
    if let Ok(at) = text.parse::<SocketAddr>() {
        return match at.port() {
            0 => Err(form()),
            _ => Ok(Target::Addr(at)),
        };
    }
    let (host_name, port) = match text.split_once(':') {
        Some((host_name, port)) => (host_name, Some(port.parse().map_err(|_| form())?)),
        None => (text, None),
    };
    if port == Some(0) || host(host_name).is_err() || looks_like_address(host_name) {
        return Err(form());
    }
    Ok(Target::Host { name: host_name.to_owned(), port })
}

/// `192.0.2.300` is no name: the last label of one is never a number (RFC 1123 §2.1).
fn looks_like_address(name: &str) -> bool {
    let last = name.trim_end_matches('.').rsplit('.').next();
    last.is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

/// The host part of a URI: a name or an address.
pub(super) fn host(text: &str) -> Result<String, Wrong> {
    let label = |label: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(fits)
    };
    let bracketed = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .is_some_and(|t| t.parse::<std::net::Ipv6Addr>().is_ok());
    if !bracketed && (text.len() > 253 || !text.trim_end_matches('.').split('.').all(label)) {
        return Err(Wrong::new(
            "is not a host name",
            "write it as sip.example.com or 192.0.2.1, without sip: and port",
        ));
    }
    Ok(text.to_owned())
}

/// The user part of a URI; it is escaped where it is written.
pub(super) fn user(text: &str) -> Result<String, Wrong> {
    if text.is_empty() || text.contains(['@', ':', '<', '>', ' ']) {
        return Err(Wrong::new(
            "is not the user part of a SIP address",
            "write the number or name alone, as +4930123456 or alice",
        ));
    }
    Ok(text.to_owned())
}

/// A proxy that requests pass.
pub(super) fn proxy(text: &str) -> Result<Uri, Wrong> {
    let form = || Wrong::new("is not the address of a proxy", "write it as sip:proxy.example.com;lr");
    let uri = Uri::parse(text).map_err(|_| form())?;
    if uri.scheme() != Scheme::Sip || uri.target().is_none() {
        return Err(form());
    }
    if !uri.is_loose() {
        // A strict router would have to become the Request-URI (RFC 3261 §12.2.1.1); nobody has built one for twenty years.
        return Err(Wrong::new("has no ;lr", "add ;lr: strict routers are not built"));
    }
    Ok(uri)
}

/// A network, `address/prefix`, or a single address.
pub(super) fn network(text: &str) -> Result<Network, Wrong> {
    let form = || Wrong::new("is not a network", "write it as 192.0.2.0/24, 2001:db8::/32 or a single address");
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| form())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(prefix) => prefix.parse().map_err(|_| form())?,
        None => longest,
    };
    if prefix > longest {
        return Err(form());
    }
    let bits_set = match address {
        IpAddr::V4(v4) => u32::from(v4).trailing_zeros(),
        IpAddr::V6(v6) => u128::from(v6).trailing_zeros(),
    };
    if bits_set < u32::from(longest - prefix) && !address.is_unspecified() {
        return Err(Wrong::new(
            "has bits set beyond its prefix",
            "write the network's first address, or a longer prefix",
        ));
    }
    Ok(Network { address, prefix })
}

/// A codec, and the formats that it is offered in, the best first.
pub(super) fn codec(text: &str) -> Result<&'static [AudioFormat], Wrong> {
    match text {
        "PCMA" => Ok(&[AudioFormat::Pcma]),
        "PCMU" => Ok(&[AudioFormat::Pcmu]),
        "G722" => Ok(&[AudioFormat::G722]),
        "OPUS" => Ok(&[AudioFormat::Opus]),
        "L16" => Ok(&[AudioFormat::L16Wide, AudioFormat::L16]),
        _ => Err(Wrong::new("is not a codec that is built", "write PCMA, PCMU, G722, OPUS or L16")),
    }
}

/// Whether something that not everybody knows becomes part of a call.
pub(super) fn willing(text: &str) -> Result<Willing, Wrong> {
    match text {
        "off" => Ok(Willing::Off),
        "accept" => Ok(Willing::Accept),
        "offer" => Ok(Willing::Offer),
        _ => Err(Wrong::new("is not how willing we are", "write accept, offer or off")),
    }
}

/// The same of extended reports, and whether they go out unasked.
pub(super) fn extended_reports(text: &str) -> Result<(Willing, bool), Wrong> {
    match text {
        "always" => Ok((Willing::Offer, true)),
        _ => willing(text)
            .map(|willing| (willing, false))
            .map_err(|_| Wrong::new("is not how willing we are", "write accept, offer, always or off")),
    }
}

/// Whether media are encrypted: not, if the far end can, or in any case.
pub(super) fn srtp(text: &str) -> Result<Option<bool>, Wrong> {
    match text {
        "off" => Ok(None),
        "preferred" => Ok(Some(false)),
        "required" => Ok(Some(true)),
        _ => Err(Wrong::new("is not a way to handle SRTP", "write off, preferred or required")),
    }
}

/// A suite of SRTP.
pub(super) fn suite(text: &str) -> Result<Suite, Wrong> {
    let names = Suite::ALL.map(Suite::name).join(", ");
    Suite::of(text).ok_or_else(|| Wrong::new("is not a suite of SRTP that is built", format!("write one of {names}")))
}

/// Whether provisional responses are acknowledged.
pub(super) fn reliability(text: &str) -> Result<Reliability, Wrong> {
    match text {
        "off" => Ok(Reliability::Off),
        "supported" => Ok(Reliability::Supported),
        "required" => Ok(Reliability::Required),
        _ => Err(Wrong::new("is not a way to handle 100rel", "write supported, required or off")),
    }
}

/// Who refreshes a session.
pub(super) fn refresher(text: &str) -> Result<Refresher, Wrong> {
    match text {
        "us" => Ok(Refresher::Us),
        "peer" => Ok(Refresher::Peer),
        "any" => Ok(Refresher::Any),
        _ => Err(Wrong::new("is nobody who refreshes", "write us, peer or any")),
    }
}

/// Who may stop a prompt.
pub(super) fn barge_in(text: &str) -> Result<BargeIn, Wrong> {
    match text {
        "never" => Ok(BargeIn::Never),
        "speech" => Ok(BargeIn::Speech),
        "words" => Ok(BargeIn::Words),
        _ => Err(Wrong::new("is not a kind of barge-in", "write never, speech or words")),
    }
}

/// What becomes of a prompt when the caller speaks into it.
pub(super) fn on_barge_in(text: &str) -> Result<OnBargeIn, Wrong> {
    match text {
        "stop" => Ok(OnBargeIn::Stop),
        "pause" => Ok(OnBargeIn::Pause),
        _ => Err(Wrong::new("is not what a prompt can do", "write stop or pause")),
    }
}

/// A filler word or phrase.
pub(super) fn filler(text: &str) -> Result<String, Wrong> {
    match Fillers::new(&[text]) {
        Ok(_) => Ok(text.to_owned()),
        Err(bad) => Err(Wrong::new(bad.to_string(), "write a word or a short phrase")),
    }
}

/// A bridging phrase: a text, or a recording behind `file:`.
pub(super) fn phrase(text: &str) -> Result<Source, Wrong> {
    if let Some(path) = text.strip_prefix("file:") {
        return below(path).map(Source::File);
    }
    let text = some(text)?;
    Ok(Source::Text(Text { text: text.into(), ..Text::default() }))
}

/// Which called numbers.
pub(super) fn callee(text: &str) -> Result<CalleeMatch, Wrong> {
    let wrong =
        || Wrong::new("is not a called number", "write \"*\" for all, \"400*\" for a beginning, or the whole number");
    let (beginning, open) = match text.strip_suffix('*') {
        Some(beginning) => (beginning, true),
        None => (text, false),
    };
    if beginning.contains(['*', '@', ' ']) || (beginning.is_empty() && !open) {
        return Err(wrong());
    }
    Ok(match (beginning, open) {
        ("", _) => CalleeMatch::Any,
        (beginning, true) => CalleeMatch::Prefix(beginning.to_owned()),
        (number, false) => CalleeMatch::Exact(number.to_owned()),
    })
}

/// A header's name, RFC 3261 §25.1, that a dialogue may see.
pub(super) fn header(text: &str) -> Result<String, Wrong> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    if text.is_empty() || !text.bytes().all(token) {
        return Err(Wrong::new("is not the name of a header", "write it as X-Order"));
    }
    let secret = ["authorization", "proxy-authorization"];
    if secret.iter().any(|s| s.eq_ignore_ascii_case(text)) {
        return Err(Wrong::new("holds credentials", "remove it"));
    }
    Ok(text.to_owned())
}

/// A path that stays below its folder.
pub(super) fn below(text: &str) -> Result<String, Wrong> {
    let plain = |c| matches!(c, Component::Normal(_));
    if text.is_empty() || !Path::new(text).components().all(plain) {
        return Err(Wrong::new("does not stay below its folder", "write a path without a leading / and without .."));
    }
    Ok(text.to_owned())
}
