//! From an order and a trunk to a call that can be placed: everything that can be wrong with an order is found here, before anything is done.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::RngExt;

use super::NONE;
use super::order::{DialOrder, Refusal};
use super::pair::Link;
use super::settings::{FromUser, Group, Settings, Trunk};
use crate::call::Route;
use crate::call::call::{Plan, SrtpPlan};
use crate::call::conversation::Rules;
use crate::call::knobs::Clamp;
use crate::call::line::Parties;
use crate::dsp::answerer;
use crate::journal::{Naming, Stem};
use crate::sdp::KeySeed;
use crate::sip::message::{HeaderName, NameAddr, Target, Uri, escape_user};
use crate::sip::session::{Dial, ExtraHeaders};
use crate::sip::transport::Transport;
use crate::sip::{Local, identity};

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
    /// Of a second leg: its way to the first one.
    pub(super) link: Option<Box<Link>>,
}

/// What a call is connected to.
#[derive(Debug, Clone)]
pub(super) struct Services {
    pub(super) dialogue: String,
    pub(super) speech: String,
    /// File name of recording and record.
    pub(super) name: Stem,
    pub(super) record: bool,
    /// What is likely to be said on the call.
    pub(super) phrases: Vec<String>,
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

/// What an order is to be dialled over.
#[derive(Clone, Copy)]
pub(super) enum Over<'a> {
    Trunk(usize),
    Group(&'a Group),
}

/// The trunk or group that an order names; else the only group, else the only trunk.
pub(super) fn over<'a>(settings: &'a Settings, name: &str) -> Result<Over<'a>, Refusal> {
    let known = || {
        let groups = settings.groups.iter().map(|group| group.name.as_str());
        groups.chain(settings.trunks.iter().map(|trunk| trunk.name.as_str())).collect::<Vec<_>>().join(", ")
    };
    if name.is_empty() {
        return match (settings.groups.as_slice(), settings.trunks.as_slice()) {
            ([only], _) => Ok(Over::Group(only)),
            ([], [_]) => Ok(Over::Trunk(0)),
            _ => Err(invalid("trunk", format!("name one of: {}", known()))),
        };
    }
    if let Some(group) = settings.groups.iter().find(|group| group.name == name) {
        return Ok(Over::Group(group));
    }
    let trunk = settings.trunks.iter().position(|trunk| trunk.name == name);
    trunk.map(Over::Trunk).ok_or_else(|| invalid("trunk", format!("{name:?} is none of: {}", known())))
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

/// Of each call, and of each trunk that a call is tried over, the keys come from the system and not from the call's own generator: what
/// that one gives is seen on the wire, and its seed has 64 bits.
fn srtp(trunk: &Trunk) -> Option<Box<SrtpPlan>> {
    let terms = trunk.srtp.clone()?;
    Some(Box::new(SrtpPlan { terms, seed: KeySeed(rand::rng().random()) }))
}

/// What every call of a trunk is given along.
pub(super) fn plan(settings: &Settings, trunk: &Trunk, call_id: Arc<str>, services: &Services) -> Plan {
    Plan {
        call_id,
        trunk: trunk.name.clone(),
        parties: Parties::default(),
        failover: Vec::new(),
        setup_timeout: trunk.setup_timeout,
        longest: trunk.longest,
        request_id: String::new(),
        correlation: String::new(),
        variables: Vec::new(),
        pass_headers: trunk.pass_headers.clone(),
        knobs: settings.knobs.clone(),
        background: settings.background.clone(),
        rules: Rules {
            dialogue_timeout: settings.dialogue_timeout,
            dead_air: settings.dead_air,
            waiting_sound: settings.waiting_sound.clone(),
            dialogue_resumes: settings.dialogue_resumes,
            final_timeout: settings.final_timeout,
            fallback_prompt: settings.fallback_prompt.clone(),
            dialogue: services.dialogue != NONE,
            recogniser: services.speech != NONE,
            recorded: services.record,
        },
        transfer: trunk.transfer.clone(),
        transferred_from: None,
        rtp_timeout: settings.rtp_timeout,
        // The family is known when the peer is, and the port when there is one.
        local_media: std::net::SocketAddr::new(settings.media.first.advertised, 0),
        formats: trunk.codecs.clone(),
        line: trunk.line,
        srtp: srtp(trunk),
        early_media: false,
        early_media_asr: false,
        inband_keys: trunk.inband_keys,
        tones: trunk.tones.clone(),
        hang_up_on_tone: trunk.hang_up_on_tone,
        announcements: None,
        hang_up_on_announcement: trunk.hang_up_on_announcement,
        answerer: trunk.answerer.enabled.then_some(trunk.answerer.rules),
        answerer_early: trunk.answerer.early_media,
        record_early: services.record && settings.record_early,
    }
}

/// Whether an order makes sense, whatever trunk it goes over; gives its headers.
pub(super) fn check(order: &DialOrder, settings: &Settings, wall: SystemTime) -> Result<ExtraHeaders, Refusal> {
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
    if order.ring_timeout.is_some_and(|ring| !RING.contains(&ring)) {
        return Err(invalid("ring_timeout", "not between 1 s and 300 s"));
    }
    if order.caller_name.contains(['\r', '\n', '\0']) {
        return Err(invalid("caller_name", "a line break or NUL"));
    }
    address("callee", &order.callee, NO_DOMAIN)?;
    if !order.caller.is_empty() {
        address("caller", &order.caller, NO_DOMAIN)?;
    }
    let headers = headers(order)?;
    service("dialogue", &order.dialogue, &settings.dialogues)?;
    let speech = service("speech", &order.speech, &settings.speech)?;
    if order.early_media_asr == Some(true) && speech == NONE {
        return Err(invalid("early_media_asr", "speech is \"none\": name a speech service that recognises it"));
    }
    if !order.phrases.is_empty() && speech == NONE {
        return Err(invalid("phrases", "speech is \"none\": name a speech service that recognises them"));
    }
    if !order.recording_name.is_empty() {
        name(&order.recording_name)?;
    }
    Ok(headers)
}

/// A domain to see by whether a user could stand before one.
const NO_DOMAIN: &str = "nowhere.invalid";

fn name(name: &str) -> Result<Stem, Refusal> {
    Stem::parse(name).map_err(|error| invalid("recording.name", error.to_string()))
}

fn headers(order: &DialOrder) -> Result<ExtraHeaders, Refusal> {
    let mut headers = order.headers.clone();
    if !order.user_to_user.is_empty() {
        headers.push(("User-to-User".to_owned(), order.user_to_user.clone()));
    }
    ExtraHeaders::try_from(headers).map_err(|error| invalid("headers", error.to_string()))
}

/// The INVITE of an order over a trunk, shown as `caller`, with the headers of [`check`]. `service_route` is what the trunk's registrar
/// wants to be passed.
pub(super) fn dial(
    order: &DialOrder,
    mut headers: ExtraHeaders,
    trunk: &Trunk,
    caller: &str,
    service_route: &[Uri],
) -> Result<Dial, Refusal> {
    let numbers = &trunk.numbers;
    let written = |field, rules, number: &str| match number.contains(':') {
        // A whole URI is meant as it stands.
        true => address(field, number, &trunk.domain),
        false => address(field, &numbers.apply(rules, number), &trunk.domain),
    };
    let to = written("callee", &numbers.callee, &order.callee)?;
    let shown = &trunk.identity;
    let display = if order.caller_name.is_empty() { shown.display.clone() } else { Some(order.caller_name.clone()) };
    let who = NameAddr::new(display, written("caller", &numbers.caller, caller)?);
    let diverted =
        shown.diverted_from.as_ref().map(|number| written("identity.diverted_from", &numbers.caller, number));
    let (mut from, lines) = identity::write(&who, shown.privacy, shown.written, diverted.transpose()?.as_ref(), &to);
    if shown.from == FromUser::Account && shown.privacy != identity::Privacy::Anonymous {
        let registered = trunk.registration.as_ref().map(|registration| &registration.user);
        let account = registered.or(trunk.credentials.as_ref().map(|credentials| &credentials.username));
        from.uri = address("caller", account.unwrap_or(&trunk.caller), &trunk.domain)?;
    }
    for (name, value) in lines {
        if headers.iter().any(|(given, _)| HeaderName::parse(given.as_bytes()) == name) {
            let reason = format!("{} is written by the profile of trunk {}", name.as_str(), trunk.name);
            return Err(invalid("headers", reason));
        }
        headers.push(name, Some(value));
    }
    Ok(Dial {
        from,
        to: NameAddr::new(None, to.clone()),
        request_uri: to,
        next_hop: trunk.peer.clone(),
        spares: Default::default(),
        patience: Some(trunk.failover_after),
        route: trunk.route.iter().chain(service_route).cloned().collect(),
        credentials: trunk.credentials.clone(),
        headers,
        // The call makes it, when it knows its port.
        offer: Vec::new(),
        terms: trunk.session,
    })
}

/// Another way for a call whose trunk has failed.
pub(super) fn route(order: &DialOrder, settings: &Settings, trunk: &Trunk, dial: Dial, failover: Vec<u16>) -> Route {
    Route {
        trunk: trunk.name.clone(),
        local: local(settings, trunk),
        dial,
        local_media: None,
        ring_timeout: order.ring_timeout.unwrap_or(trunk.ring_timeout),
        setup_timeout: trunk.setup_timeout,
        longest: trunk.longest,
        formats: trunk.codecs.clone(),
        line: trunk.line,
        srtp: srtp(trunk),
        failover,
        transfer: trunk.transfer.clone(),
    }
}

/// All that a call is, from an order that has been checked.
pub(super) fn place(
    order: &DialOrder,
    settings: &Settings,
    trunk: &Trunk,
    call_id: Arc<str>,
    (caller, dial): (&str, Dial),
    failover: Vec<u16>,
) -> Result<Placement, Refusal> {
    let callee = number(&order.callee);
    let own = Naming {
        call_id: &call_id,
        trunk: &trunk.name,
        caller: &number(caller),
        callee: &callee,
        outbound: true,
        wall: SystemTime::now(),
    };
    let named = match order.recording_name.as_str() {
        "" => settings.names.name(&own),
        given => name(given)?,
    };
    let services = Services {
        dialogue: service("dialogue", &order.dialogue, &settings.dialogues)?,
        speech: service("speech", &order.speech, &settings.speech)?,
        name: named,
        record: order.record.unwrap_or(settings.record),
        phrases: order.phrases.clone(),
    };
    let mut plan = plan(settings, trunk, call_id, &services);
    let clamps = plan.knobs.apply(&order.knobs);
    plan.background = order.knobs.background.clone().or(plan.background);
    plan.early_media_asr = order.early_media_asr.unwrap_or(trunk.early_media_asr) && plan.rules.recogniser;
    let understood = plan.rules.recogniser && order.early_media_asr != Some(false);
    plan.announcements = trunk.announcements.clone().filter(|_| understood);
    plan.parties = Parties { caller: number(caller), callee, ..Parties::default() };
    plan.failover = failover;
    (plan.answerer, plan.answerer_early) = answerer(order, trunk)?;
    plan.request_id = order.request_id.clone();
    plan.correlation = order.correlation.clone();
    plan.variables = order.variables.clone();
    let ring_timeout = order.ring_timeout.unwrap_or(trunk.ring_timeout);
    Ok(Placement { dial, transport: trunk.transport, ring_timeout, plan, clamps, services, link: None })
}

/// Whether it is judged who answers, by which rules, and whether before the answer, too. Rules by which a verdict is out of reach are refused.
fn answerer(order: &DialOrder, trunk: &Trunk) -> Result<(Option<answerer::Rules>, bool), Refusal> {
    const FIELD: &str = "answering_machine_rules";
    let changed = !order.answerer_rules.is_empty() || order.answerer_early_media.is_some();
    let early = order.answerer_early_media.unwrap_or(trunk.answerer.early_media);
    let mut rules = trunk.answerer.rules;
    for (name, value) in &order.answerer_rules {
        let Some((_, range, rule)) = rules.named().into_iter().find(|(known, ..)| known == name) else { continue };
        if !range.contains(value) {
            let reason = format!("{name}: {value} is out of range, {} to {}", range.start(), range.end());
            return Err(invalid(FIELD, reason));
        }
        *rule = *value;
    }
    if let Some((name, why)) = rules.unreachable() {
        return Err(invalid(FIELD, format!("{name}: {why}, with the profile's where the order has none")));
    }
    let wanted = order.answering_machine.unwrap_or(changed || trunk.answerer.enabled);
    if changed && !wanted {
        return Err(invalid(FIELD, "answering_machine is false: leave out one of the two"));
    }
    Ok((wanted.then_some(rules), early))
}

/// The number in what may be a whole URI.
fn number(user: &str) -> String {
    let uri = Uri::parse(user).ok().filter(|_| user.contains(':'));
    uri.and_then(|uri| uri.user_text()).unwrap_or_else(|| user.to_owned())
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
