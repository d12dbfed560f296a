//! From an order and a trunk to a call that can be placed: everything that can be wrong with an order is found here, before anything is done.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::NONE;
use super::order::{DialOrder, Refusal};
use super::settings::{Settings, Trunk};
use crate::call::call::Plan;
use crate::call::conversation::Rules;
use crate::call::knobs::Clamp;
use crate::journal::Stem;
use crate::sip::Local;
use crate::sip::message::{NameAddr, Target, Uri, escape_user};
use crate::sip::session::{Dial, ExtraHeaders};
use crate::sip::transport::Transport;

/// The range of `ring_timeout`.
const RING: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
/// What the contract allows of ids, correlations and variables.
const LONGEST: usize = 4_096;
const MOST_VARIABLES: usize = 64;

/// What we write where we are not reached.
const NOWHERE: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// A call that can be placed.
pub(super) struct Placement {
    pub(super) dial: Dial,
    /// By what, if the trunk says so.
    pub(super) transport: Option<Transport>,
    pub(super) ring_timeout: Duration,
    pub(super) plan: Plan,
    pub(super) clamps: Vec<Clamp>,
    pub(super) services: Services,
}

/// What a call is connected to.
#[derive(Debug, Clone)]
pub(super) struct Services {
    pub(super) dialogue: String,
    pub(super) speech: String,
    /// File name of recording and record.
    pub(super) name: Stem,
    pub(super) record: bool,
}

fn invalid(field: &'static str, reason: impl Into<String>) -> Refusal {
    Refusal::Invalid { field, reason: reason.into() }
}

/// What our messages on a trunk say of us.
pub(super) fn local(settings: &Settings, trunk: &Trunk) -> Local {
    let transport = trunk.transport.unwrap_or_default();
    let like = match trunk.peer {
        Target::Addr(at) => settings.reached.address(transport, at),
        Target::Host { .. } => None,
    };
    let mut ways = settings.reached;
    ways.transport = transport;
    ways.large_by_tcp = trunk.transport.is_none() && ways.has(Transport::Tcp);
    Local {
        contact_user: trunk.registration.as_ref().map_or(&trunk.caller, |r| &r.user).clone(),
        // `config` has seen to it that there is one.
        contact: like.or(ways.any(transport)).unwrap_or(NOWHERE),
        user_agent: settings.user_agent.clone(),
        ways,
    }
}

/// The trunk that an order names, or the only one.
pub(super) fn trunk<'a>(settings: &'a Settings, name: &str) -> Result<(usize, &'a Trunk), Refusal> {
    let known = || settings.trunks.iter().map(|t| t.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut all = settings.trunks.iter().enumerate();
    if name.is_empty() {
        return match settings.trunks.as_slice() {
            [only] => Ok((0, only)),
            _ => Err(invalid("trunk", format!("name one of: {}", known()))),
        };
    }
    all.find(|(_, t)| t.name == name).ok_or_else(|| invalid("trunk", format!("{name:?} is none of: {}", known())))
}

/// A configured service; empty is the first one.
pub(super) fn service(field: &'static str, name: &str, known: &[String]) -> Result<String, Refusal> {
    match known.first() {
        _ if name == NONE => Ok(NONE.to_owned()),
        Some(first) if name.is_empty() => Ok(first.clone()),
        None if name.is_empty() => Ok(NONE.to_owned()),
        _ if known.iter().any(|k| k == name) => Ok(name.to_owned()),
        _ => Err(invalid(field, format!("{name:?} is none of: {}, {NONE}", known.join(", ")))),
    }
}

/// What every call of a trunk is given along.
pub(super) fn plan(settings: &Settings, trunk: &Trunk, call_id: Arc<str>, services: &Services) -> Plan {
    Plan {
        call_id,
        trunk: trunk.name.clone(),
        request_id: String::new(),
        correlation: String::new(),
        variables: Vec::new(),
        pass_headers: trunk.pass_headers.clone(),
        knobs: settings.knobs,
        rules: Rules {
            dialogue_timeout: settings.dialogue_timeout,
            final_timeout: settings.final_timeout,
            fallback_prompt: settings.fallback_prompt.clone(),
            dialogue: services.dialogue != NONE,
            recogniser: services.speech != NONE,
        },
        transfer: trunk.transfer.clone(),
        rtp_timeout: settings.rtp_timeout,
        // The port is known when there is one.
        local_media: std::net::SocketAddr::new(settings.advertised_media, 0),
        formats: trunk.codecs.clone(),
        early_media: false,
    }
}

/// Reads an order.
pub(super) fn place(
    order: DialOrder,
    settings: &Settings,
    trunk: &Trunk,
    call_id: Arc<str>,
    wall: SystemTime,
) -> Result<Placement, Refusal> {
    for (field, value) in [("correlation", &order.correlation), ("caller_name", &order.caller_name)] {
        if value.len() > LONGEST {
            return Err(invalid(field, format!("longer than {LONGEST} bytes")));
        }
    }
    if order.variables.len() > MOST_VARIABLES {
        return Err(invalid("variables", format!("more than {MOST_VARIABLES}")));
    }
    if order.not_after.is_some_and(|deadline| deadline < wall) {
        return Err(Refusal::TooLate);
    }
    let ring_timeout = order.ring_timeout.unwrap_or(trunk.ring_timeout);
    if !RING.contains(&ring_timeout) {
        return Err(invalid("ring_timeout", "not between 1 s and 300 s"));
    }
    let name = if order.recording_name.is_empty() { &call_id } else { order.recording_name.as_str() };
    let services = Services {
        dialogue: service("dialogue", &order.dialogue, &settings.dialogues)?,
        speech: service("speech", &order.speech, &settings.speech)?,
        name: Stem::parse(name).map_err(|error| invalid("recording.name", error.to_string()))?,
        record: order.record.unwrap_or(settings.record),
    };
    let mut plan = plan(settings, trunk, call_id, &services);
    let clamps = plan.knobs.apply(&order.knobs);
    let caller = if order.caller.is_empty() { &trunk.caller } else { &order.caller };
    let to = address("callee", &order.callee, &trunk.domain)?;
    let display = (!order.caller_name.is_empty()).then(|| order.caller_name.clone());
    if display.as_ref().is_some_and(|name| name.contains(['\r', '\n', '\0'])) {
        return Err(invalid("caller_name", "a line break or NUL"));
    }
    let mut headers = order.headers;
    if !order.user_to_user.is_empty() {
        headers.push(("User-to-User".to_owned(), order.user_to_user));
    }
    let dial = Dial {
        from: NameAddr::new(display, address("caller", caller, &trunk.domain)?),
        to: NameAddr::new(None, to.clone()),
        request_uri: to,
        next_hop: trunk.peer.clone(),
        spares: Default::default(),
        credentials: trunk.credentials.clone(),
        headers: ExtraHeaders::try_from(headers).map_err(|error| invalid("headers", error.to_string()))?,
        // The call makes it, when it knows its port.
        offer: Vec::new(),
        terms: trunk.session,
    };
    plan.request_id = order.request_id;
    plan.correlation = order.correlation;
    plan.variables = order.variables;
    Ok(Placement { dial, transport: trunk.transport, ring_timeout, plan, clamps, services })
}

/// A whole `sip:` URI, or a number or user at the trunk's domain.
fn address(field: &'static str, user: &str, domain: &str) -> Result<Uri, Refusal> {
    if user.is_empty() {
        return Err(invalid(field, "empty"));
    }
    if user.len() > 256 || user.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(invalid(field, "white space, control characters, or longer than 256 bytes"));
    }
    let text = match user.split_once(':') {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("sip") => user.to_owned(),
        // Escaped into a user part, sips:, tel: and the like would call somebody else.
        Some((scheme, _)) => return Err(invalid(field, format!("{scheme}: is not sip:, and a number has no colon"))),
        None => format!("sip:{}@{domain}", escape_user(user)),
    };
    Uri::parse(&text).map_err(|error| invalid(field, format!("{text:?}: {error}")))
}
