//! `sip-profiles/*.toml`: one trunk a file, named for the file.

use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeTable;

use super::reader::{Found, Section, Source};
use super::{identity, numbers, written};
use crate::sdp::AudioFormat;
use crate::sip::message::Target;
use crate::switchboard::NONE;
use crate::switchboard::settings::{AnswerRule, CalleeMatch, Network, Rate, Registration, Route, Trunk};

const RING_TIMEOUT_MS: u64 = 60_000;
const EXPIRES_S: u64 = 600;
/// Timer B of RFC 3261.
const SETUP_TIMEOUT_MS: u64 = 32_000;

/// The services that a profile may name; the first of each is the default.
pub(super) struct Services {
    pub dialogues: Vec<String>,
    pub speech: Vec<String>,
}

/// A profile that was read.
pub(super) enum Profile {
    On(Box<Trunk>),
    /// Only its name: `enabled = false`.
    Off(String),
}

/// Reads a profile; `None` when it cannot be a trunk. What is wrong is told. Without `services` it is not known which there are.
pub(super) fn read<'a>(
    source: &'a Source<'a>,
    tree: &'a Spanned<DeTable<'a>>,
    services: Option<&Services>,
) -> Option<Profile> {
    let mut root = source.root(tree);
    let name = file_name(&root, source.file);
    let enabled = root.flag("enabled");

    let mut peer = root.section("peer");
    let address = peer.parsed("address", written::peer);
    let sources = peer.list("sources", written::network);
    let route = peer.list("route", written::proxy);
    peer.need("address", "write address = \"host:port\" of the operator's SIP server");

    let credentials = identity::credentials(root.section("auth"), source.file);
    let registers = root.section("registration");
    let mut who = root.section("identity");
    let domain = who.parsed("domain", written::host);
    let caller = who.parsed("caller", written::user);
    let username = credentials.as_ref().map(|c| c.username.clone());
    let caller = caller.map(|found| found.value).or_else(|| {
        let user = username.clone().filter(|user| written::user(user).is_ok());
        if user.is_none() {
            who.need("caller", "write the number that is shown when Dial names none");
        }
        user
    });
    let (identity, choice) = identity::identity(&mut who, credentials.is_some() || registers.is_there());
    let callers = identity::callers(root.sections("callers"), choice, &who);
    who.done();
    let numbers = numbers::numbers(root.section("numbers"));
    let domain = domain.map(|found| found.value).or_else(|| host_of(address.as_ref()));

    let registration = registration(registers, username.or_else(|| caller.clone()), domain.as_deref());

    let mut limits = root.section("limits");
    let channels = limits.number("channels", 0..=100_000);
    let ring = limits.number("ring_timeout_ms", 1_000..=300_000);
    let setup = limits.number("setup_timeout_ms", 500..=32_000);
    let longest = limits.number("max_call_s", 0..=86_400);
    let per_caller = limits.number("channels_per_caller", 0..=100_000);
    let rate = rate(&mut limits);
    limits.done();
    let mut media = root.section("media");
    let codecs = codecs(&mut media);
    media.done();
    let mut headers = root.section("headers");
    let pass = headers.list("pass", written::header);
    headers.done();
    let routes = routes(root.sections("inbound"), services);

    let inbound_auth =
        identity::inbound(root.section("inbound_auth"), source.file, domain.as_deref(), !routes.is_empty());
    let sources = networks(&peer, sources, address.as_ref(), !routes.is_empty());
    peer.done();
    root.done();

    let trunk = Trunk {
        name: name?,
        peer: address?.value,
        sources,
        route: values(route.unwrap_or_default()),
        domain: domain?,
        caller: caller?,
        identity,
        callers,
        choice,
        numbers,
        credentials,
        inbound_auth,
        registration,
        channels_per_caller: per_caller.map_or(0, |found| found.value as usize),
        rate,
        setup_timeout: Duration::from_millis(setup.map_or(SETUP_TIMEOUT_MS, |found| found.value)),
        longest: longest.filter(|found| found.value > 0).map(|found| Duration::from_secs(found.value)),
        channels: channels.map_or(0, |found| found.value as usize),
        ring_timeout: Duration::from_millis(ring.map_or(RING_TIMEOUT_MS, |found| found.value)),
        codecs,
        pass_headers: values(pass.unwrap_or_default()),
        routes,
    };
    match enabled {
        Some(enabled) if !enabled.value => Some(Profile::Off(trunk.name)),
        _ => Some(Profile::On(Box::new(trunk))),
    }
}

fn file_name(root: &Section<'_>, file: &Path) -> Option<String> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let name = stem.and_then(|stem| written::name(stem).ok());
    if name.is_none() {
        root.place.wrong(
            "the file's name is the trunk's, and this is not one",
            "use 1 to 64 letters, digits, '-', '_' and '.' before .toml",
        );
    }
    name
}

fn host_of(address: Option<&Found<'_, Target>>) -> Option<String> {
    Some(match &address?.value {
        Target::Addr(at) if at.is_ipv6() => format!("[{}]", at.ip()),
        Target::Addr(at) => at.ip().to_string(),
        Target::Host { name, .. } => name.clone(),
    })
}

fn networks(
    peer: &Section<'_>,
    sources: Option<Vec<Found<'_, Network>>>,
    address: Option<&Found<'_, Target>>,
    answers: bool,
) -> Vec<Network> {
    if let Some(sources) = sources {
        return values(sources);
    }
    match address.map(|found| &found.value) {
        Some(Target::Addr(at)) => vec![Network { address: at.ip(), prefix: if at.is_ipv4() { 32 } else { 128 } }],
        Some(Target::Host { name, .. }) if answers => {
            // The name's addresses today are not all from which a provider calls.
            peer.need("sources", &format!("list the networks from which {name} may call, or remove all [[inbound]]"));
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn registration(mut section: Section<'_>, user: Option<String>, domain: Option<&str>) -> Option<Registration> {
    if !section.is_there() {
        return None;
    }
    let own_user = section.parsed("user", written::user);
    let own_domain = section.parsed("domain", written::host);
    let expires = section.number("expires_s", 60..=86_400);
    section.done();
    Some(Registration {
        user: own_user.map(|found| found.value).or(user)?,
        domain: own_domain.map(|f| f.value).or(domain.map(str::to_owned))?,
        expires: Duration::from_secs(expires.map_or(EXPIRES_S, |found| found.value)),
    })
}

fn rate(limits: &mut Section<'_>) -> Option<Rate> {
    let per_second = limits.number("calls_per_second", 0..=10_000);
    let burst = limits.number("burst", 1..=10_000);
    if burst.is_some() {
        limits.need("calls_per_second", "write the rate that goes on after the burst, or remove burst");
    }
    // Both are at most 10,000.
    let per_second = per_second.map(|found| found.value as u32).filter(|rate| *rate > 0)?;
    Some(Rate { per_second, at_once: burst.map_or(per_second, |found| found.value as u32) })
}

fn codecs(media: &mut Section<'_>) -> Vec<AudioFormat> {
    let Some(found) = media.list("codecs", written::codec) else {
        return vec![AudioFormat::Pcma, AudioFormat::Pcmu];
    };
    let mut codecs = Vec::new();
    for codec in &found {
        if codecs.contains(&codec.value) {
            codec.place.wrong("names a codec twice", "name each once, the preferred one first");
        }
        codecs.push(codec.value);
    }
    if codecs.is_empty() {
        media.place_of("codecs").wrong("names no codec", "write [\"PCMA\", \"PCMU\"], or remove the key");
    }
    codecs
}

fn routes(sections: Vec<Section<'_>>, services: Option<&Services>) -> Vec<Route> {
    let mut earlier: Vec<(CalleeMatch, usize)> = Vec::new();
    let read = |mut section: Section<'_>| {
        let callee = section.parsed("callee", written::callee);
        let place = section.place_of("callee");
        let callee = match callee {
            Some(found) => found.value,
            None if section.has("callee") => return None,
            None => CalleeMatch::Any,
        };
        if let Some((_, line)) = earlier.iter().find(|(before, _)| takes_all(before, &callee)) {
            place.wrong(
                format!("is never reached: line {line} takes all these calls"),
                "move it up, or remove one of the two",
            );
        }
        earlier.push((callee.clone(), place.line()));
        let answer = answer(&mut section);
        let dialogue = named(&mut section, "dialogue", services.map(|s| &*s.dialogues));
        let speech = named(&mut section, "speech", services.map(|s| &*s.speech));
        if let Some(AnswerRule::Refuse(_)) = answer {
            for key in ["dialogue", "speech"] {
                if section.has(key) {
                    section.place_of(key).wrong("has no meaning for a call that is refused", "remove it");
                }
            }
        }
        section.done();
        Some(Route { callee, answer: answer?, dialogue, speech })
    };
    sections.into_iter().filter_map(read).collect()
}

/// Whether every number that `later` means is taken by `before`.
fn takes_all(before: &CalleeMatch, later: &CalleeMatch) -> bool {
    match (before, later) {
        (CalleeMatch::Any, _) => true,
        (CalleeMatch::Prefix(before), CalleeMatch::Prefix(later) | CalleeMatch::Exact(later)) => {
            later.starts_with(before)
        }
        (CalleeMatch::Exact(before), CalleeMatch::Exact(later)) => before == later,
        _ => false,
    }
}

/// `"now"`, `"wait"`, `{ after_ms = … }` or `{ refuse = … }`.
fn answer(section: &mut Section<'_>) -> Option<AnswerRule> {
    const FORMS: &str = "write \"now\", \"wait\", { after_ms = 3000 } or { refuse = 486 }";
    let Some((value, place)) = section.raw("answer") else {
        return Some(AnswerRule::Now);
    };
    if let Some(table) = value.as_table() {
        let mut rule = Section::inline(place.clone(), table);
        let after = rule.number("after_ms", 0..=300_000);
        let refuse = rule.number("refuse", 400..=699);
        let keys = ["after_ms", "refuse"].into_iter().filter(|key| rule.has(key)).count();
        rule.done();
        if keys != 1 {
            place.wrong("has not exactly one of after_ms and refuse", FORMS);
            return None;
        }
        return match (after, refuse) {
            (Some(after), _) => Some(AnswerRule::After(Duration::from_millis(after.value))),
            // Below 700, as just read.
            (_, Some(refuse)) => Some(AnswerRule::Refuse(refuse.value as u16)),
            _ => None,
        };
    }
    match value.as_str() {
        Some("now") => Some(AnswerRule::Now),
        Some("wait") => Some(AnswerRule::Wait),
        _ => {
            place.wrong("is not a way to answer", FORMS);
            None
        }
    }
}

/// One of the configured services, or [`NONE`]; the first one if nothing is named.
fn named(section: &mut Section<'_>, key: &'static str, known: Option<&[String]>) -> String {
    let found = section.parsed(key, written::name);
    let first = || known.and_then(|known| known.first().cloned());
    let Some(found) = found else {
        return first().unwrap_or_default();
    };
    if let Some(known) = known
        && found.value != NONE
        && !known.contains(&found.value)
    {
        let remedy = match known {
            [] => format!("write a [[{key}]] of this name into the main file, or {NONE:?}"),
            known => format!("write one of: {}, {NONE}", known.join(", ")),
        };
        found.place.wrong(format!("{:?} is not a configured {key}", found.value), remedy);
    }
    found.value
}

fn values<T>(found: Vec<Found<'_, T>>) -> Vec<T> {
    found.into_iter().map(|found| found.value).collect()
}
