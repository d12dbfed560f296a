//! What the switchboard has to know before it can work. `config` makes these from files; nobody here sees an unparsed string.

use std::net::IpAddr;
use std::time::Duration;

use super::load::Limits;
use crate::call::knobs::Knobs;
use crate::call::transfer;
use crate::net::tls::ClientFiles;
use crate::sdp::AudioFormat;
use crate::sip::Ways;
use crate::sip::auth::Credentials;
use crate::sip::message::Target;
use crate::sip::ping;
use crate::sip::session::Terms;
use crate::sip::transport::Transport;

/// The switchboard's own settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Written into Contact and Via: addresses and ports at which peers reach our SIP sockets, by transport and family.
    pub reached: Ways,
    /// Written into SDP: address at which peers reach our media sockets.
    pub advertised_media: IpAddr,
    /// User-Agent and Server header.
    pub user_agent: String,
    /// Most calls at a time, of both directions.
    pub max_calls: usize,
    /// From where on new calls are refused, so that those that are up are served well.
    pub overload: Limits,
    /// How long calls may go on after SIGTERM before they are hung up.
    pub drain: Duration,
    /// First values of every call's knobs.
    pub knobs: Knobs,
    /// How long the dialogue may take to answer an utterance or a silence.
    pub dialogue_timeout: Duration,
    /// How long the recogniser may take from the end of an utterance to its final text.
    pub final_timeout: Duration,
    /// Played before a call is given up for a fault of ours: path below the prompts folder.
    pub fallback_prompt: Option<String>,
    /// Calls are recorded unless `Dial` says no.
    pub record: bool,
    /// Hang up when no RTP came for this long.
    pub rtp_timeout: Duration,
    /// Names of the configured dialogues; the first one is the default.
    pub dialogues: Vec<String>,
    /// Names of the configured speech services; the first one is the default.
    pub speech: Vec<String>,
    /// The trunks.
    pub trunks: Vec<Trunk>,
}

/// One profile.
#[derive(Debug, Clone)]
pub struct Trunk {
    /// The file's stem.
    pub name: String,
    /// Where its requests go.
    pub peer: Target,
    /// By what; `None`: as its name's records in the DNS say, else by UDP, and by TCP what is too large for that.
    pub transport: Option<Transport>,
    /// Whom we believe there, and what we show; `None`: we have no TLS.
    pub tls: Option<ClientFiles>,
    /// Whether it is there is asked by OPTIONS, and how; `None`: it is taken to be.
    pub ping: Option<ping::Plan>,
    /// Networks from which its requests may come.
    pub sources: Vec<Network>,
    /// Host part of From and of Request-URIs that are made from bare numbers.
    pub domain: String,
    /// The number that is shown when `Dial` names none; user part of From and Contact.
    pub caller: String,
    /// For challenges.
    pub credentials: Option<Credentials>,
    /// Register, and how.
    pub registration: Option<Registration>,
    /// Most calls at a time; 0 for no limit of its own.
    pub channels: usize,
    /// How long a call may ring before it is cancelled.
    pub ring_timeout: Duration,
    /// Codecs to offer and to take, the preferred one first.
    pub codecs: Vec<AudioFormat>,
    /// How its calls are set up and kept up.
    pub session: Terms,
    /// Headers of an INVITE that the dialogue gets to see.
    pub pass_headers: Vec<String>,
    /// How calls are handed over.
    pub transfer: transfer::Rules,
    /// What becomes of inbound calls, first match wins; none matches: 404.
    pub routes: Vec<Route>,
}

/// REGISTER.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Address of record's user.
    pub user: String,
    /// Registrar's domain, in the Request-URI.
    pub domain: String,
    /// How long to ask for.
    pub expires: Duration,
}

/// What becomes of an inbound call.
#[derive(Debug, Clone)]
pub struct Route {
    /// Which called numbers.
    pub callee: CalleeMatch,
    /// What to do.
    pub answer: AnswerRule,
    /// While it rings, 183 with SDP instead of 180.
    pub early_media: bool,
    /// The dialogue; one of [`Settings::dialogues`].
    pub dialogue: String,
    /// The speech service; one of [`Settings::speech`].
    pub speech: String,
}

/// Which called numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CalleeMatch {
    /// All.
    Any,
    /// This one.
    Exact(String),
    /// Those that begin so.
    Prefix(String),
}

impl CalleeMatch {
    /// Whether a called number is meant.
    pub fn matches(&self, callee: &str) -> bool {
        match self {
            CalleeMatch::Any => true,
            CalleeMatch::Exact(number) => callee == number,
            CalleeMatch::Prefix(prefix) => callee.starts_with(prefix.as_str()),
        }
    }
}

/// When an inbound call is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerRule {
    /// At once.
    Now,
    /// It rings for so long, then it is answered.
    After(Duration),
    /// It rings until `Answer` or `Decline`.
    Wait,
    /// It is refused with this status.
    Refuse(u16),
}

/// An IP network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its address.
    pub address: IpAddr,
    /// Bits of the prefix.
    pub prefix: u8,
}

impl Network {
    /// Whether an address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
                u32::from(net) & mask == u32::from(ip) & mask
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                u128::from(net) & mask == u128::from(ip) & mask
            }
            _ => false,
        }
    }
}
