//! RFC 3264: offers and answers about one audio stream, its encodings being `format`'s, with RFC 4733
//! (telephone-event), RFC 3605 (`a=rtcp`), RFC 5761 (`a=rtcp-mux`) and RFC 3611 (`a=rtcp-xr`). Encryption is `secure`'s, RFC 2198 `redundant`'s.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::numbers::Numbers;
use super::redundant::Redundant;
use super::secure::{self, Protection, Security};
use super::{
    Attribute, AudioFormat, Connection, Description, Direction, KeySeed, Media, OpusWishes, Origin, SdpError, Secured,
    SrtpTerms, Suite, parse,
};

/// Whether something that not everybody knows becomes part of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Willing {
    /// Never.
    Off,
    /// When the far side offers it.
    #[default]
    Accept,
    /// We offer it, too.
    Offer,
}

/// What we can do on an audio stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Encodings, the one we like best first. None at all makes every negotiation fail.
    pub formats: Vec<AudioFormat>,
    /// The payload type (96–127) for telephone-event/8000 in our offers; `None` leaves events out everywhere.
    pub telephone_event: Option<u8>,
    /// Packet length in ms that we ask for and offer.
    pub ptime_ms: u32,
    /// Whether RTCP may share the RTP port.
    pub rtcp_mux: Willing,
    /// Whether the far side is asked to tell us by extended reports how it hears us.
    pub rtcp_xr: Willing,
}

impl Default for Capabilities {
    /// PCMA, PCMU, telephone-event 101, 20 ms, rtcp-mux and rtcp-xr when they are offered.
    fn default() -> Capabilities {
        Capabilities {
            formats: vec![AudioFormat::Pcma, AudioFormat::Pcmu],
            telephone_event: Some(101),
            ptime_ms: 20,
            rtcp_mux: Willing::Accept,
            rtcp_xr: Willing::Accept,
        }
    }
}

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The encoding, both ways.
    pub codec: AudioFormat,
    /// Its payload type in what we send: the far side's number.
    pub payload_type: u8,
    /// Its payload type in what we receive: our number, where that differs.
    pub payload_type_in: u8,
    /// Payload type of telephone-event in what we send, when both have it.
    pub telephone_event: Option<u8>,
    /// Its payload type in what we receive: ours.
    pub telephone_event_in: Option<u8>,
    /// The clock of the events in Hz: the encoding's, or 8,000 of a far side that has no other.
    pub event_clock: u32,
    /// The payload type of redundant packets (RFC 2198) in what we receive, when the far side has offered them.
    pub redundancy: Option<u8>,
    /// Packet length in ms that the far side asks for, 10–200; ours when it asks for none.
    pub ptime_ms: u32,
    /// What the far side asks of Opus; without it, what one asks that says nothing.
    pub opus: OpusWishes,
    /// Where the far side receives RTP.
    pub remote: SocketAddr,
    /// Whether we send.
    pub sends: bool,
    /// Whether we receive.
    pub receives: bool,
    /// Where the far side receives RTCP.
    pub rtcp: SocketAddr,
    /// Whether RTCP shares the RTP port, both ways.
    pub rtcp_mux: bool,
    /// Whether the far side asks to be told by extended reports how we hear it.
    pub rtcp_xr: bool,
    /// With what it is encrypted, both ways; the keys are [`Negotiator::secured`]. `None`: it is not.
    pub suite: Option<Suite>,
}

/// Why there is no agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NegotiationError {
    /// The description does not read.
    Unreadable(SdpError),
    /// No audio stream is offered, or the answer refuses ours.
    NoAudio,
    /// Audio only over a transport we do not have (SRTP where it is off, DTLS, TCP).
    Transport,
    /// Audio without SRTP, where that is required, or was agreed on before.
    Unencrypted,
    /// SRTP, but no `a=crypto` of it can be used.
    NoCommonSuite,
    /// No encoding that both sides have.
    NoCommonFormat,
    /// No address for the stream, or only a host name.
    Address,
    /// An answer with another number of streams than the offer, or without an offer (§6).
    Shape,
}

impl NegotiationError {
    /// The status code for an offer that failed so (RFC 3261 §13.3.1.3).
    pub fn status(self) -> u16 {
        488
    }

    /// The warn-code of RFC 3261 §20.43 that names it, for a Warning header.
    pub fn warn_code(self) -> u16 {
        match self {
            NegotiationError::Address => 300,
            NegotiationError::Transport | NegotiationError::Unencrypted => 302,
            NegotiationError::NoAudio => 304,
            NegotiationError::NoCommonFormat => 305,
            NegotiationError::NoCommonSuite => 306,
            NegotiationError::Unreadable(_) | NegotiationError::Shape => 399,
        }
    }
}

impl fmt::Display for NegotiationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NegotiationError::Unreadable(error) => error.fmt(f),
            NegotiationError::NoAudio => f.write_str("no audio stream"),
            NegotiationError::Transport => f.write_str("no audio stream over RTP/AVP"),
            NegotiationError::Unencrypted => f.write_str("SRTP is required: RTP/SAVP with a=crypto"),
            NegotiationError::NoCommonSuite => f.write_str("no a=crypto that can be used"),
            NegotiationError::NoCommonFormat => f.write_str("no common audio format"),
            NegotiationError::Address => f.write_str("no usable address for the audio stream"),
            NegotiationError::Shape => f.write_str("the answer does not fit the offer"),
        }
    }
}

impl std::error::Error for NegotiationError {}

/// One side of a call's offers and answers. The version in `o=` rises whenever what we say changes (§8).
#[derive(Clone, Debug)]
pub struct Negotiator {
    capabilities: Capabilities,
    local: SocketAddr,
    session_id: u64,
    version: u64,
    /// What we last said, without the `o=` line's version.
    last: Option<Description>,
    /// The streams of the call, in order. Once there they stay, refused or not (§8).
    streams: Vec<Stream>,
    /// What held before our offer.
    before: Option<Agreement>,
    /// What we want of the stream: a hold of ours outlasts what the far side offers meanwhile.
    wanted: Direction,
    offered: bool,
    /// And was answered: what it says holds when the next one is refused.
    answered: bool,
    /// `None`: SRTP is off.
    security: Option<Box<Security>>,
    numbers: Numbers,
}

/// What an offer of ours may be taken back to.
#[derive(Clone, Debug)]
struct Agreement {
    said: Description,
    streams: Vec<Stream>,
    wanted: Direction,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stream {
    /// The one that is ours.
    Audio(Chosen),
    Refused {
        kind: String,
        protocol: String,
        format: String,
    },
}

/// The payload types of our next description.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chosen {
    formats: Vec<(AudioFormat, u8)>,
    /// By their clock.
    telephone_events: Vec<(u32, u8)>,
    /// What the far side offered of redundancy, as we have taken it.
    redundant: Option<Redundant>,
    rtcp_mux: bool,
    rtcp_xr: bool,
    protection: Option<Box<Protection>>,
}

impl Negotiator {
    /// `session_id` should be random below 2⁶³ (§5.2 of RFC 8866); `local` is where we receive RTP.
    pub fn new(session_id: u64, local: SocketAddr, capabilities: Capabilities) -> Negotiator {
        Negotiator {
            numbers: Numbers::new(&capabilities.formats, capabilities.telephone_event),
            capabilities,
            local,
            session_id,
            version: 1,
            last: None,
            streams: Vec::new(),
            before: None,
            wanted: Direction::SendRecv,
            offered: false,
            answered: false,
            security: None,
        }
    }

    /// With SRTP.
    #[must_use]
    pub fn with_srtp(self, terms: &SrtpTerms, seed: KeySeed) -> Negotiator {
        Negotiator { security: Some(Box::new(Security::new(terms, seed))), ..self }
    }

    /// The keys that were agreed on last; `None`: it is not encrypted.
    pub fn secured(&self) -> Option<&Secured> {
        self.security.as_ref()?.secured()
    }

    /// Our offer: the first one has one audio stream, a later one every stream that the call ever had.
    /// `direction` is ours; `SendOnly` and `Inactive` put the far side on hold.
    pub fn offer(&mut self, direction: Direction) -> Vec<u8> {
        let ours = Chosen {
            formats: self.capabilities.formats.iter().map(|f| (*f, self.numbers.of(*f))).collect(),
            telephone_events: self.numbers.events(&self.capabilities.formats),
            redundant: None,
            rtcp_mux: self.capabilities.rtcp_mux == Willing::Offer,
            rtcp_xr: self.capabilities.rtcp_xr == Willing::Offer,
            protection: self.security.as_ref().and_then(|security| security.offer()),
        };
        self.keep();
        self.wanted = direction;
        if self.streams.is_empty() {
            self.streams.push(Stream::Audio(ours));
        } else if let Some(slot) = self.audio_slot().or(Some(0)) {
            self.streams[slot] = Stream::Audio(match &self.streams[slot] {
                Stream::Audio(before) => Chosen {
                    // What was agreed on goes on, whoever offered it first.
                    rtcp_mux: before.rtcp_mux || ours.rtcp_mux,
                    rtcp_xr: before.rtcp_xr || ours.rtcp_xr,
                    redundant: before.redundant.clone(),
                    ..ours
                },
                Stream::Refused { .. } => ours,
            });
        }
        self.offered = true;
        self.describe(direction)
    }

    /// An offer of all that we can, as somebody asks for it who has none of its own: a hold of ours stays one (RFC 6337 §5.2.5).
    pub fn offer_whole(&mut self) -> Vec<u8> {
        self.offer(self.wanted)
    }

    /// An offer that changes nothing: what was said last (§8), or, when nothing was, the first one.
    pub fn offer_again(&mut self) -> Vec<u8> {
        let Some(last) = &self.last else {
            return self.offer(self.wanted);
        };
        let mut last = last.clone();
        last.origin.version = self.version.to_string();
        self.keep();
        self.offered = true;
        last.write()
    }

    /// Whether our last word, agreed on or offered, holds the far side.
    pub fn holds(&self) -> bool {
        !self.wanted.receives()
    }

    fn keep(&mut self) {
        let answered = std::mem::take(&mut self.answered);
        if (answered || !self.offered)
            && let Some(said) = self.last.clone()
        {
            self.before = Some(Agreement { said, streams: self.streams.clone(), wanted: self.wanted });
        }
    }

    /// Our offer was refused: what was agreed before holds.
    pub fn withdraw(&mut self) {
        if let Some(before) = self.before.take().filter(|_| self.offered) {
            // The number of the refused one is used up.
            self.version += u64::from(self.last.as_ref() != Some(&before.said));
            (self.last, self.streams, self.wanted) = (Some(before.said), before.streams, before.wanted);
            self.offered = false;
        }
    }

    /// Answers an offer (§6): audio by the first encoding of theirs that we have, the direction mirrored,
    /// every other stream refused with port 0.
    ///
    /// # Errors
    /// Why there is nothing to agree on; what was agreed before stays.
    pub fn answer(&mut self, offer: &[u8]) -> Result<(Vec<u8>, Negotiated), NegotiationError> {
        let offer = parse(offer).map_err(NegotiationError::Unreadable)?;
        let candidates = offer.media.iter().enumerate().filter(|(_, m)| m.kind == "audio" && m.port != 0);
        let mut candidates: Vec<_> = candidates.collect();
        if self.security.is_some() {
            // There are phones that offer both, in two streams.
            candidates.sort_by_key(|(_, media)| secure::is_secure(media) != Some(true));
        }
        let mut failure = NegotiationError::NoAudio;
        let mut chosen = None;
        for (at, media) in candidates {
            let theirs = secure::theirs(self.security.as_deref(), media, None);
            match theirs.and_then(|theirs| Ok((theirs, self.agree(&offer, media, &self.capabilities.formats)?))) {
                Ok((theirs, agreed)) => {
                    chosen = Some((at, theirs, agreed));
                    break;
                }
                Err(error) => failure = error,
            }
        }
        let (at, theirs, mut negotiated) = chosen.ok_or(failure)?;
        negotiated.suite = theirs.map(|theirs| theirs.suite);
        let protection = self.security.as_mut().and_then(|security| security.agree(theirs, &offer.media[at], true));
        negotiated.rtcp_mux &= self.capabilities.rtcp_mux != Willing::Off;
        if !negotiated.rtcp_mux {
            negotiated.rtcp = rtcp_address(&offer.media[at], negotiated.remote);
        }
        self.streams = offer.media.iter().map(refused).collect();
        // An answer has the offer's numbers, and they mean the same for the whole call (§8.3.2).
        let event = negotiated.telephone_event;
        self.numbers.keep(
            negotiated.codec,
            negotiated.payload_type,
            event.map(|number| (negotiated.event_clock, number)),
        );
        (negotiated.payload_type_in, negotiated.telephone_event_in) = (negotiated.payload_type, event);
        let redundant = Redundant::of(&offer.media[at], &negotiated);
        negotiated.redundancy = redundant.as_ref().map(Redundant::number);
        self.numbers.keep_from(negotiated.redundancy);
        self.streams[at] = Stream::Audio(Chosen {
            formats: vec![(negotiated.codec, negotiated.payload_type)],
            telephone_events: event.map(|number| (negotiated.event_clock, number)).into_iter().collect(),
            redundant,
            rtcp_mux: negotiated.rtcp_mux,
            rtcp_xr: self.capabilities.rtcp_xr == Willing::Offer
                || self.capabilities.rtcp_xr == Willing::Accept && negotiated.rtcp_xr,
            protection,
        });
        self.offered = false;
        let direction = Direction::of(negotiated.sends, negotiated.receives);
        Ok((self.describe(direction), negotiated))
    }

    /// Takes in the answer to our last offer. An answer may come more than once (183, then 200); each
    /// one is taken.
    ///
    /// # Errors
    /// Why it is no agreement: the call has no media and is to be ended.
    pub fn accept(&mut self, answer: &[u8]) -> Result<Negotiated, NegotiationError> {
        let answer = parse(answer).map_err(NegotiationError::Unreadable)?;
        let slot = self.audio_slot().filter(|_| self.offered).ok_or(NegotiationError::Shape)?;
        // §6: the same number of streams. Some gateways leave the refused ones out at the end.
        let media = answer.media.get(slot).ok_or(NegotiationError::Shape)?;
        if answer.media.len() > self.streams.len() {
            return Err(NegotiationError::Shape);
        }
        if media.kind != "audio" || media.port == 0 {
            return Err(NegotiationError::NoAudio);
        }
        let (ours, redundant) = match &self.streams[slot] {
            Stream::Audio(chosen) => (&chosen.protection, &chosen.redundant),
            Stream::Refused { .. } => (&None, &None),
        };
        let theirs = secure::theirs(self.security.as_deref(), media, Some(ours))?;
        let mut negotiated = self.agree(&answer, media, &self.capabilities.formats)?;
        // It may be offered by what was agreed on before, never by an answer.
        let again = redundant.as_ref().filter(|_| Redundant::of(media, &negotiated).is_some());
        negotiated.redundancy = again.map(Redundant::number);
        negotiated.suite = theirs.map(|theirs| theirs.suite);
        if let Some(security) = &mut self.security {
            security.agree(theirs, media, false);
        }
        // RFC 5761 §5.1.1: an answer cannot accept what was not offered.
        if !matches!(&self.streams[slot], Stream::Audio(Chosen { rtcp_mux: true, .. })) {
            negotiated.rtcp_mux = false;
            negotiated.rtcp = rtcp_address(media, negotiated.remote);
        }
        self.answered = true;
        Ok(negotiated)
    }

    fn audio_slot(&self) -> Option<usize> {
        self.streams.iter().position(|stream| matches!(stream, Stream::Audio(_)))
    }

    fn agree(
        &self,
        description: &Description,
        media: &Media,
        formats: &[AudioFormat],
    ) -> Result<Negotiated, NegotiationError> {
        let (codec, payload_type) = media
            .payload_types()
            .find_map(|pt| AudioFormat::of(media, pt).filter(|f| formats.contains(f)).map(|f| (f, pt)))
            .ok_or(NegotiationError::NoCommonFormat)?;
        let events = |clock: u32| Some((media.payload_type_of("telephone-event", clock)?, clock));
        // Many a phone has events of 8 kHz only, and sends them beside Opus all the same.
        let event = events(codec.clock_rate())
            .or_else(|| events(8_000))
            .filter(|_| self.capabilities.telephone_event.is_some());
        let connection = media.connection.as_ref().or(description.connection.as_ref());
        let Some(Connection::Ip(ip)) = connection else {
            return Err(NegotiationError::Address);
        };
        let remote = SocketAddr::new(*ip, media.port);
        let theirs = description.direction(media);
        // §8.4: a zero address is the hold of RFC 2543: nothing may be sent there.
        let held = ip.is_unspecified();
        let rtcp_mux = media.has("rtcp-mux");
        Ok(Negotiated {
            codec,
            payload_type,
            payload_type_in: self.numbers.of(codec),
            telephone_event: event.map(|(number, _)| number),
            telephone_event_in: event.and_then(|(_, clock)| self.numbers.of_events(clock)),
            event_clock: event.map_or(8_000, |(_, clock)| clock),
            redundancy: None,
            opus: OpusWishes::of(media, payload_type),
            ptime_ms: packet_time(media, self.capabilities.ptime_ms),
            remote,
            sends: theirs.receives() && !held && self.wanted.sends(),
            receives: theirs.sends() && self.wanted.receives(),
            rtcp: if rtcp_mux { remote } else { rtcp_address(media, remote) },
            rtcp_mux,
            // RFC 3611 §5.1: what is named here is what the other side is asked to send.
            rtcp_xr: media.attributes.iter().chain(&description.attributes).any(asks_for_voip_metrics),
            suite: None,
        })
    }

    fn describe(&mut self, direction: Direction) -> Vec<u8> {
        let media = self.streams.iter().map(|stream| match stream {
            Stream::Audio(chosen) => self.audio(chosen, direction),
            Stream::Refused { kind, protocol, format } => Media {
                kind: kind.clone(),
                port: 0,
                protocol: protocol.clone(),
                formats: vec![format.clone()],
                connection: None,
                attributes: Vec::new(),
            },
        });
        let mut description = Description {
            origin: Origin {
                username: "-".to_owned(),
                session_id: self.session_id.to_string(),
                version: String::new(),
                connection: Connection::Ip(self.local.ip()),
            },
            name: "-".to_owned(),
            connection: Some(Connection::Ip(self.local.ip())),
            timing: "0 0".to_owned(),
            attributes: Vec::new(),
            media: media.collect(),
        };
        if self.last.as_ref().is_some_and(|last| *last != description) {
            self.version += 1;
        }
        self.last = Some(description.clone());
        description.origin.version = self.version.to_string();
        description.write()
    }

    fn audio(&self, chosen: &Chosen, direction: Direction) -> Media {
        let events = chosen.telephone_events.iter().map(|(_, pt)| *pt);
        let redundant = chosen.redundant.as_ref();
        let types = chosen.formats.iter().map(|(_, pt)| *pt).chain(events).chain(redundant.map(Redundant::number));
        let mut attributes: Vec<Attribute> = chosen
            .formats
            .iter()
            .flat_map(|(format, pt)| {
                let rtpmap = Attribute::new("rtpmap", format!("{pt} {}", format.rtpmap()));
                let opus = *format == AudioFormat::Opus;
                let fmtp = opus.then(|| Attribute::new("fmtp", format!("{pt} {}", OpusWishes::OURS)));
                [Some(rtpmap), fmtp].into_iter().flatten()
            })
            .collect();
        for (clock, pt) in &chosen.telephone_events {
            attributes.push(Attribute::new("rtpmap", format!("{pt} telephone-event/{clock}")));
            attributes.push(Attribute::new("fmtp", format!("{pt} 0-16")));
        }
        attributes.extend(redundant.into_iter().flat_map(Redundant::attributes));
        let longest = chosen.formats.iter().map(|(format, _)| format.longest_packet_ms()).min().unwrap_or(60);
        attributes.push(Attribute::new("ptime", self.capabilities.ptime_ms.min(longest).to_string()));
        if chosen.rtcp_mux {
            attributes.push(Attribute::flag("rtcp-mux"));
        }
        if chosen.rtcp_xr {
            attributes.push(Attribute::new("rtcp-xr", "voip-metrics"));
        }
        let protection = chosen.protection.as_deref();
        attributes.extend(protection.into_iter().flat_map(Protection::attributes));
        attributes.push(Attribute::flag(direction.as_str()));
        Media {
            kind: "audio".to_owned(),
            port: self.local.port(),
            protocol: protection.map_or("RTP/AVP", |protection| &protection.profile).to_owned(),
            formats: types.map(|pt| pt.to_string()).collect(),
            connection: None,
            attributes,
        }
    }
}

fn refused(media: &Media) -> Stream {
    Stream::Refused {
        kind: media.kind.clone(),
        protocol: media.protocol.clone(),
        format: media.formats.first().cloned().unwrap_or_else(|| "0".to_owned()),
    }
}

/// `a=ptime`, or `ours` where it says none that is usable, bounded by `a=maxptime`.
fn packet_time(media: &Media, ours: u32) -> u32 {
    let read = |name| {
        media.attribute(name).and_then(|v: &str| v.trim().parse::<u32>().ok()).filter(|p| (10..=200).contains(p))
    };
    read("ptime").unwrap_or(ours).min(read("maxptime").unwrap_or(u32::MAX))
}

fn asks_for_voip_metrics(attribute: &Attribute) -> bool {
    let formats = attribute.value.as_deref().filter(|_| attribute.name == "rtcp-xr").unwrap_or_default();
    formats.split_ascii_whitespace().any(|format| format.eq_ignore_ascii_case("voip-metrics"))
}

/// `a=rtcp:port [IN IP4 address]` (RFC 3605 §2.1), or the next port.
fn rtcp_address(media: &Media, remote: SocketAddr) -> SocketAddr {
    let default = SocketAddr::new(remote.ip(), remote.port().saturating_add(1));
    let Some(value) = media.attribute("rtcp") else {
        return default;
    };
    let mut fields = value.split_ascii_whitespace();
    let Some(port) = fields.next().and_then(|port| port.parse().ok()).filter(|port| *port != 0) else {
        return default;
    };
    let ip = fields.nth(2).and_then(|ip| ip.parse::<IpAddr>().ok());
    SocketAddr::new(ip.unwrap_or(remote.ip()), port)
}
