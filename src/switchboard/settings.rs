//! What the switchboard has to know before it can work. `config` makes these from files; nobody here sees an unparsed string.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::load::Limits;
use super::numbers::Numbers;
use crate::call::announcement::Announcements;
use crate::call::knobs::{Background, Knobs};
use crate::call::leg::InbandKeys;
use crate::call::quality::LineRules;
use crate::call::transfer;
use crate::dsp::answerer;
use crate::dsp::tone::progress::Country;
use crate::journal::Pattern;
use crate::net::tls::ClientFiles;
use crate::sdp::{AudioFormat, SrtpTerms};
use crate::sip::Ways;
use crate::sip::auth::{Algorithm, Credentials};
use crate::sip::identity::{Privacy, Source, Written};
use crate::sip::message::{Target, Uri};
use crate::sip::ping;
use crate::sip::session::Terms;
use crate::sip::transport::Transport;

/// Whether and how it is judged who answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answering {
    /// By what.
    pub rules: answerer::Rules,
    /// It is.
    pub enabled: bool,
    /// What is heard before the answer is judged, too.
    pub early_media: bool,
}

/// The switchboard's own settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Written into Contact and Via: addresses and ports at which peers reach our SIP sockets, by transport and family.
    pub reached: Ways,
    /// Where media goes in and out.
    pub media: MediaAddresses,
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
    /// What is looped under everything that is sent.
    pub background: Option<Background>,
    /// How long the dialogue may take to answer an utterance or a silence.
    pub dialogue_timeout: Duration,
    /// How long nothing may be heard while somebody of ours is waited for; zero: for ever.
    pub dead_air: Duration,
    /// What is looped then: path below the prompts folder.
    pub waiting_sound: Option<String>,
    /// How many times a call goes on with another stream of its dialogue.
    pub dialogue_resumes: u32,
    /// How long the recogniser may take from the end of an utterance to its final text.
    pub final_timeout: Duration,
    /// Played before a call is given up for a fault of ours: path below the prompts folder.
    pub fallback_prompt: Option<String>,
    /// Calls are recorded unless `Dial` says no.
    pub record: bool,
    /// The recording of a call that we place begins with its early media.
    pub record_early: bool,
    /// How recordings and records are named, unless `Dial` says it.
    pub names: Pattern,
    /// Hang up when no RTP came for this long.
    pub rtp_timeout: Duration,
    /// Names of the configured dialogues; the first one is the default.
    pub dialogues: Vec<String>,
    /// Names of the configured speech services; the first one is the default.
    pub speech: Vec<String>,
    /// Requests a second that a source of no trunk may send before it is not even read.
    pub strangers_per_second: u32,
    /// The trunks.
    pub trunks: Vec<Trunk>,
    /// Trunks under one name.
    pub groups: Vec<Group>,
}

/// The address of our media sockets, or one of each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaAddresses {
    /// Also for peers of the other family, if there is no other one.
    pub first: MediaAddress,
    /// Of the other family.
    pub other: Option<MediaAddress>,
}

/// An address of our media sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaAddress {
    /// They are bound to it.
    pub bind: IpAddr,
    /// Written into SDP: by which one, of the same family, peers reach them.
    pub advertised: IpAddr,
}

impl MediaAddresses {
    /// The one for a peer of a family.
    pub fn family(&self, v6: bool) -> MediaAddress {
        self.other.filter(|other| other.bind.is_ipv6() == v6).unwrap_or(self.first)
    }
}

/// Trunks of which `Dial` gets one that has room.
#[derive(Debug, Clone)]
pub struct Group {
    /// No trunk has it.
    pub name: String,
    /// At least one.
    pub members: Vec<Member>,
    /// Final answers before any other upon which the next member is tried; so is silence, and what cannot be sent.
    pub failover: Vec<u16>,
}

/// A trunk in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its number among [`Settings::trunks`].
    pub trunk: usize,
    /// The lowest is tried first.
    pub priority: u16,
    /// Of those with one priority: how often it is the first.
    pub weight: u32,
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
    /// Proxies that its requests pass, the nearest first; all of them loose routers.
    pub route: Vec<Uri>,
    /// Host part of From and of Request-URIs that are made from bare numbers.
    pub domain: String,
    /// The number that is shown when `Dial` names none; user part of From and Contact.
    pub caller: String,
    /// How we show ourselves, and how we read who calls.
    pub identity: Identity,
    /// The numbers that may be shown, when `Dial` names none and `choice` asks for them.
    pub callers: Vec<CallerNumber>,
    /// Which of them.
    pub choice: CallerChoice,
    /// How numbers are written.
    pub numbers: Numbers,
    /// For challenges.
    pub credentials: Option<Credentials>,
    /// What callers have to know.
    pub inbound_auth: Option<InboundAuth>,
    /// Register, and how.
    pub registration: Option<Registration>,
    /// Most calls at a time; 0 for no limit of its own.
    pub channels: usize,
    /// Most calls that we place at a time with one caller number; 0 for no limit.
    pub channels_per_caller: usize,
    /// How fast calls may be placed.
    pub rate: Option<Rate>,
    /// How long an INVITE may stay without any answer, before the call counts as not connected.
    pub setup_timeout: Duration,
    /// How long it may stay so, before it goes to the peer's next address or the next member of the group, if there is one.
    pub failover_after: Duration,
    /// How long a call may last.
    pub longest: Option<Duration>,
    /// How long a call may ring before it is cancelled.
    pub ring_timeout: Duration,
    /// What is heard before the answer of a call that we place goes to recognition, if `Dial` says nothing of it.
    pub early_media_asr: bool,
    /// Codecs to offer and to take, the preferred one first.
    pub codecs: Vec<AudioFormat>,
    /// RTCP, and what is told of its lines.
    pub line: LineRules,
    /// Whether media are encrypted, and with what; `None`: they are not.
    pub srtp: Option<SrtpTerms>,
    /// Whether keys are heard as tones.
    pub inband_keys: InbandKeys,
    /// The call progress tones that are listened for.
    pub tones: Option<Arc<Country>>,
    /// A tone that says that there is nobody ends the call.
    pub hang_up_on_tone: bool,
    /// What operators announce before the answer, if `Dial` does not say that nothing is to be recognised then.
    pub announcements: Option<Arc<Announcements>>,
    /// An announcement that is known ends the call.
    pub hang_up_on_announcement: bool,
    /// Whether and how it is judged who answers, unless `Dial` says otherwise.
    pub answerer: Answering,
    /// How its calls are set up and kept up.
    pub session: Terms,
    /// Headers of an INVITE that the dialogue gets to see.
    pub pass_headers: Vec<String>,
    /// How calls are handed over.
    pub transfer: Arc<transfer::Rules>,
    /// What becomes of inbound calls, first match wins; none matches: 404.
    pub routes: Vec<Route>,
}

/// How we show ourselves on a trunk, and how we read who calls.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Display name when `Dial` gives none.
    pub display: Option<String>,
    /// What stands in From.
    pub from: FromUser,
    /// More headers that say who calls.
    pub written: Written,
    /// What of it is shown.
    pub privacy: Privacy,
    /// The number for which calls are placed (Diversion, History-Info).
    pub diverted_from: Option<String>,
    /// Where the caller of an inbound call is read, the best first.
    pub read: Vec<Source>,
    /// Where the callee of an inbound call is read.
    pub called: Called,
}

/// Where the number that is called stands in an INVITE that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Called {
    /// In the Request-URI.
    #[default]
    RequestUri,
    /// In To: the Request-URI is the contact that we have registered, whichever of our numbers is called.
    To,
}

/// What stands in the user part of From.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FromUser {
    /// The number that is shown.
    #[default]
    Caller,
    /// The account: the user of the registration, else that of the credentials. The number stands in the other headers.
    Account,
}

/// A number that may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerNumber {
    /// The number.
    pub number: String,
    /// Beginnings of the callees to whom it is shown when it is chosen by area.
    pub areas: Vec<String>,
}

/// Which number is shown when `Dial` names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallerChoice {
    /// [`Trunk::caller`].
    #[default]
    Fixed,
    /// One after the other.
    RoundRobin,
    /// The one with the longest beginning of the callee; else [`Trunk::caller`].
    ByArea,
    /// The one with the fewest calls.
    LeastUsed,
}

/// So many calls a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub per_second: u32,
    /// How many at once, at least 1.
    pub at_once: u32,
}

/// What whoever calls us over a trunk has to know.
#[derive(Debug, Clone)]
pub struct InboundAuth {
    /// The realm of our challenges.
    pub realm: String,
    /// Name and password.
    pub credentials: Credentials,
    /// What is offered, the best first.
    pub algorithms: Vec<Algorithm>,
    /// The body is to be covered where the caller can.
    pub integrity: bool,
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

#[cfg(test)]
impl Trunk {
    /// A trunk without anything.
    pub(super) fn bare(name: &str) -> Trunk {
        Trunk {
            name: name.to_owned(),
            peer: Target::new("192.0.2.1", None),
            transport: None,
            tls: None,
            ping: None,
            sources: Vec::new(),
            route: Vec::new(),
            domain: "192.0.2.1".to_owned(),
            caller: "100".to_owned(),
            identity: Identity::default(),
            callers: Vec::new(),
            choice: CallerChoice::Fixed,
            numbers: Numbers::default(),
            credentials: None,
            inbound_auth: None,
            registration: None,
            channels: 0,
            channels_per_caller: 0,
            rate: None,
            setup_timeout: Duration::from_secs(32),
            failover_after: Duration::from_secs(4),
            longest: None,
            ring_timeout: Duration::from_secs(60),
            early_media_asr: false,
            codecs: vec![AudioFormat::Pcma],
            line: LineRules::default(),
            srtp: None,
            inband_keys: InbandKeys::Auto,
            tones: None,
            hang_up_on_tone: true,
            announcements: None,
            hang_up_on_announcement: true,
            answerer: Default::default(),
            session: Terms::default(),
            transfer: Arc::new(transfer::Rules::bare()),
            pass_headers: Vec::new(),
            routes: Vec::new(),
        }
    }
}
