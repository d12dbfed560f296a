//! `sip-profiles/*.toml`: one trunk a file, named for the file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeTable;

use super::reader::{Found, Section, Source};
use super::{identity, numbers, sip, tones, written};
use crate::call::announcement::Announcements;
use crate::call::quality::LineRules;
use crate::call::transfer::{DECIDE, Inbound, Rules, Way};
use crate::dsp::answerer;
use crate::ms::Ms;
use crate::net::tls::ClientFiles;
use crate::sdp::{AudioFormat, SrtpTerms, Suite};
use crate::sip::Ways;
use crate::sip::message::Target;
use crate::sip::ping;
use crate::sip::session::{Reliability, SHORTEST_INTERVAL, Terms, TimerTerms};
use crate::sip::transport::Transport;
use crate::switchboard::NONE;
use crate::switchboard::settings::{AnswerRule, Answering, CalleeMatch, Network, Rate, Registration, Route, Trunk};

const RING_TIMEOUT_MS: u64 = 60_000;
const EXPIRES_S: u64 = 600;
/// From the far end's consent to a REFER to its last word.
const TRANSFER_MS: u64 = 60_000;
/// What a REFER of the far end may be answered, the default first.
const REFUSALS: [u64; 4] = [603, 405, 403, 501];
const PING_DOWN_AFTER: u32 = 3;
const PING_UP_AFTER: u32 = 1;
/// Timer B of RFC 3261.
const SETUP_TIMEOUT_MS: u64 = 32_000;
/// An INVITE has been sent four times by then, over UDP; whoever is there says 100 within 200 ms (RFC 3261 §17.2.1).
const FAILOVER_AFTER_MS: u64 = 4_000;

/// What everybody has, then what is stronger, then what some old gateways have instead of the first.
const USUAL_SUITES: [Suite; 5] =
    [Suite::AesCm128Sha1Tag80, Suite::AesGcm256, Suite::AesGcm128, Suite::AesCm256Sha1Tag80, Suite::AesCm128Sha1Tag32];

/// The services that a profile may name; the first of each is the default.
pub(super) struct Services {
    pub dialogues: Vec<String>,
    pub speech: Vec<String>,
    /// By which transports we are reached.
    pub reached: Ways,
}

/// A profile that was read.
pub(super) enum Profile {
    On(Box<Trunk>),
    /// Only its name: `enabled = false`.
    Off(String),
}

/// Reads a profile; `None` when it cannot be a trunk. What is wrong is told. Without `services` and `tables` it is not known which there are.
pub(super) fn read<'a>(
    source: &'a Source<'a>,
    tree: &'a Spanned<DeTable<'a>>,
    services: Option<&Services>,
    tables: Option<&tones::Tables>,
) -> Option<Profile> {
    let mut root = source.root(tree);
    let name = file_name(&root, source.file);
    let enabled = root.flag("enabled");

    let mut peer = root.section("peer");
    let transport = peer.parsed("transport", written::transport);
    let by = transport.as_ref().and_then(|found| found.value);
    let address = peer.parsed("address", |text| written::peer(text, by.unwrap_or_default()));
    let sources = peer.list("sources", written::network);
    let ping = ping(&mut peer);
    let route = peer.list("route", written::proxy);
    peer.need("address", "write address = \"host:port\" of the operator's SIP server");

    // What is switched off may wait for its certificate.
    let engine = services.filter(|_| enabled.as_ref().is_none_or(|enabled| enabled.value));
    if let Some(engine) = engine {
        reachable(&transport, engine);
    }
    let tls = tls(root.section("tls"), address.as_ref(), engine, source.file);
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
    let failover = limits.number("failover_after_ms", 500..=32_000);
    let longest = limits.number("max_call_s", 0..=86_400);
    let per_caller = limits.number("channels_per_caller", 0..=100_000);
    let rate = rate(&mut limits);
    limits.done();
    let mut media = root.section("media");
    let codecs = codecs(&mut media);
    let early = media.flag("early_media_asr");
    let announcements = announcements(&mut media, services, tables);
    let hang_up_on_announcement = media.flag("hang_up_on_announcement");
    if hang_up_on_announcement.is_some() && !media.has("announcements") {
        media
            .place_of("hang_up_on_announcement")
            .wrong("has no meaning without announcements", "add announcements = \"cn\", or remove it");
    }
    let line = line(&mut media);
    let srtp = srtp(&mut media);
    let inband_keys = media.parsed("inband_keys", written::inband_keys);
    let tones = tones::chosen(&mut media, tables);
    let hang_up_on_tone = media.flag("hang_up_on_tone");
    if hang_up_on_tone.is_some() && !media.has("tones") {
        media.place_of("hang_up_on_tone").wrong("has no meaning without tones", "add tones = \"cn\", or remove it");
    }
    media.done();
    let answerer = answerer(root.section("answerer"));
    let session = session(root.section("session"));
    let mut headers = root.section("headers");
    let pass = headers.list("pass", written::header);
    headers.done();
    let host = host_of(address.as_ref());
    let transfer = transfer(root.section("transfer"), domain.as_deref(), host);
    let routes = routes(root.sections("inbound"), services);

    let inbound_auth =
        identity::inbound(root.section("inbound_auth"), source.file, domain.as_deref(), !routes.is_empty());
    let sources = networks(&peer, sources, address.as_ref(), !routes.is_empty());
    peer.done();
    root.done();

    let trunk = Trunk {
        name: name?,
        peer: address?.value,
        transport: by,
        tls,
        ping,
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
        failover_after: Duration::from_millis(failover.map_or(FAILOVER_AFTER_MS, |found| found.value)),
        longest: longest.filter(|found| found.value > 0).map(|found| Duration::from_secs(found.value)),
        channels: channels.map_or(0, |found| found.value as usize),
        ring_timeout: Duration::from_millis(ring.map_or(RING_TIMEOUT_MS, |found| found.value)),
        early_media_asr: early.is_some_and(|found| found.value),
        codecs,
        line,
        srtp,
        tones,
        answerer,
        announcements,
        hang_up_on_announcement: hang_up_on_announcement.is_none_or(|found| found.value),
        hang_up_on_tone: hang_up_on_tone.is_none_or(|found| found.value),
        inband_keys: inband_keys.map_or_else(Default::default, |found| found.value),
        session,
        pass_headers: values(pass.unwrap_or_default()),
        transfer: transfer?.into(),
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

fn ping(peer: &mut Section<'_>) -> Option<ping::Plan> {
    let every = peer.number("ping_s", 0..=3_600);
    let down = peer.number("ping_down_after", 1..=100);
    let up = peer.number("ping_up_after", 1..=100);
    let count = |found: Option<Found<'_, u64>>, default| found.map_or(default, |found| found.value as u32);
    let every = every.filter(|found| found.value > 0);
    if let Some(found) = every.as_ref().filter(|found| found.value < 5) {
        found.place.wrong("is out of range", "write 0 for none, or 5 and more");
    }
    let interval = Duration::from_secs(every?.value);
    Some(ping::Plan { interval, down_after: count(down, PING_DOWN_AFTER), up_after: count(up, PING_UP_AFTER) })
}

/// Complains of a transport by which peers cannot reach us: they answer by the way that they are asked.
fn reachable(transport: &Option<Found<'_, Option<Transport>>>, services: &Services) {
    let Some(Found { value: Some(by), place }) = transport else { return };
    if services.reached.has(*by) {
        return;
    }
    match by {
        Transport::Tls => {
            place.wrong("needs a certificate of ours", "add [sip.tls] to the main file, or write another transport")
        }
        _ => place.wrong("is switched off by sip.tcp", "set tcp = true in [sip], or write another transport"),
    }
}

fn tls(
    mut section: Section<'_>,
    address: Option<&Found<'_, Target>>,
    engine: Option<&Services>,
    file: &Path,
) -> Option<ClientFiles> {
    let has_tls = engine.is_some_and(|engine| engine.reached.has(Transport::Tls));
    if section.is_there() && engine.is_some() && !has_tls {
        section
            .place
            .wrong("has no meaning without a certificate of ours", "add [sip.tls] to the main file, or remove it");
    }
    let base = file.parent().unwrap_or(Path::new(""));
    let name = section.parsed("name", written::host);
    let ca = sip::path(&mut section, "ca", base);
    let identity = sip::identity(&mut section, base);
    for (key, other) in [("certificate", "key"), ("key", "certificate")] {
        if section.has(key) && !section.has(other) {
            section.place_of(key).wrong(format!("stands without {other}"), format!("add {other}, or remove it"));
        }
    }
    let name = name.map(|found| found.value).or_else(|| host_of(address))?;
    let files = ClientFiles { name, ca, identity };
    if !has_tls && !section.is_there() {
        section.done();
        return None;
    }
    if let Err(error) = files.load() {
        sip::tell(&section, &error, files.identity.as_ref().map(|identity| (identity, None)), "ca");
    }
    section.done();
    has_tls.then_some(files)
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

/// `None` when there is no domain, which has been told.
fn transfer(mut section: Section<'_>, domain: Option<&str>, peer: Option<String>) -> Option<Rules> {
    let subscription = section.flag("subscription");
    let referred_by = section.flag("referred_by");
    let timeout = section.number("timeout_ms", 1_000..=300_000);
    let refuse = section.number("refuse_refer", 400..=699);
    let own = |text: &str| if text.is_empty() { Ok(String::new()) } else { written::name(text) };
    let trunk = section.parsed("trunk", own);
    if let Some(refuse) = refuse.as_ref().filter(|refuse| !REFUSALS.contains(&refuse.value)) {
        let known = REFUSALS.map(|code| code.to_string()).join(", ");
        refuse.place.wrong("is no way to refuse a REFER", format!("write one of {known}"));
    }
    let way = section.parsed("inbound_refer", written::inbound_refer);
    let hosts = section.list("inbound_refer_hosts", written::host);
    let decide = section.number("inbound_refer_answer_ms", 500..=20_000);
    let way = way.map_or(Way::Refuse, |found| found.value);
    if hosts.as_ref().is_some_and(|hosts| !hosts.is_empty()) && way == Way::Refuse {
        section.place_of("inbound_refer_hosts").wrong(
            "has no meaning where every REFER is refused",
            "write inbound_refer = \"tell\" or \"follow\", or remove it",
        );
    }
    section.done();
    let inbound = Inbound {
        way,
        home: domain.map(str::to_owned).into_iter().chain(peer).collect(),
        hosts: values(hosts.unwrap_or_default()),
        decide: decide.map_or(DECIDE, |found| Duration::from_millis(found.value)),
    };
    let on = |flag: Option<Found<'_, bool>>| flag.is_none_or(|found| found.value);
    Some(Rules {
        domain: domain?.to_owned(),
        trunk: trunk.map(|found| found.value).unwrap_or_default(),
        subscription: on(subscription),
        referred_by: on(referred_by),
        patience: Duration::from_millis(timeout.map_or(TRANSFER_MS, |found| found.value)),
        // Below 700, as just read.
        refuse_refer: refuse.map_or(REFUSALS[0], |found| found.value) as u16,
        inbound,
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
        if codecs.contains(&codec.value[0]) {
            codec.place.wrong("names a codec twice", "name each once, the preferred one first");
        }
        codecs.extend(codec.value);
    }
    if codecs.is_empty() {
        media.place_of("codecs").wrong("names no codec", "write [\"PCMA\", \"PCMU\"], or remove the key");
    }
    codecs
}

/// What operators say before the answer.
fn announcements(
    media: &mut Section<'_>,
    services: Option<&Services>,
    tables: Option<&tones::Tables>,
) -> Option<Arc<Announcements>> {
    let rules = tones::announced(media, tables)?;
    if services.is_some_and(|services| services.speech.is_empty()) {
        media
            .place_of("announcements")
            .wrong("is understood by nobody", "write a [[speech]] into the main file, or remove it");
    }
    Some(Arc::new(Announcements::new(rules)))
}

/// Packets, RTCP, and what is told of the line.
fn line(media: &mut Section<'_>) -> LineRules {
    let ptime = media.number("ptime_ms", 10..=60);
    if let Some(ptime) = &ptime
        && (!ptime.value.is_multiple_of(10) || ptime.value == 50)
    {
        ptime.place.wrong("is no usual length of a packet", "write 10, 20, 30, 40 or 60");
    }
    let mux = media.parsed("rtcp_mux", written::willing);
    let xr = media.parsed("rtcp_xr", written::extended_reports);
    let every = media.number("quality_every_s", 0..=3_600);
    let poor = media.number("quality_poor_mos10", 0..=45);
    let usual = LineRules::default();
    let (rtcp_xr, xr_unasked) = xr.map_or((usual.rtcp_xr, usual.xr_unasked), |found| found.value);
    LineRules {
        // Within the range just read.
        ptime: ptime.map_or(usual.ptime, |found| Ms(found.value as u32)),
        rtcp_mux: mux.map_or(usual.rtcp_mux, |found| found.value),
        rtcp_xr,
        xr_unasked,
        tell_every: every.filter(|found| found.value > 0).map(|found| Duration::from_secs(found.value)),
        // Within the range just read.
        poor_below: poor.map_or(usual.poor_below, |found| (found.value > 0).then(|| found.value as f32 / 10.0)),
    }
}

/// SRTP by SDES, and its suites.
fn srtp(media: &mut Section<'_>) -> Option<SrtpTerms> {
    let wanted = media.parsed("srtp", written::srtp);
    let found = media.list("srtp_suites", written::suite);
    // One that does not read has been told of already.
    let off = wanted.as_ref().map_or(!media.has("srtp"), |found| found.value.is_none());
    let required = wanted.and_then(|found| found.value);
    if found.is_some() && off {
        media
            .place_of("srtp_suites")
            .wrong("has no meaning without SRTP", "write srtp = \"preferred\" or \"required\", or remove it");
    }
    let mut suites = Vec::new();
    for suite in found.iter().flatten() {
        if suites.contains(&suite.value) {
            suite.place.wrong("names a suite twice", "name each once, the preferred one first");
        }
        suites.push(suite.value);
    }
    if found.is_some() && suites.is_empty() {
        media.place_of("srtp_suites").wrong("names no suite", "name one, or remove the key");
    }
    if found.is_none() {
        suites = USUAL_SUITES.to_vec();
    }
    Some(SrtpTerms { required: required?, suites })
}

/// `[answerer]`: who answers; a rule that keeps a verdict from ever being reached is a mistake.
fn answerer(mut section: Section<'_>) -> Answering {
    let enabled = section.flag("enabled");
    let early_media = section.flag("early_media");
    let mut rules = answerer::Rules::default();
    for (key, range, rule) in rules.named() {
        if let Some(found) = section.number(key, u64::from(*range.start())..=u64::from(*range.end())) {
            // Below 120,000, as just read.
            *rule = found.value as u32;
        }
    }
    if let Some((key, why)) = rules.unreachable() {
        section.place_of(key).wrong(why, "change one of the two");
    }
    section.done();
    let on = |flag: Option<Found<'_, bool>>| flag.is_some_and(|found| found.value);
    Answering { rules, enabled: on(enabled), early_media: on(early_media) }
}

/// `[session]`: RFC 3262, RFC 4028, and who offers first.
fn session(mut section: Section<'_>) -> Terms {
    let reliable = section.parsed("reliable", written::reliability);
    let delayed = section.flag("delayed_offer");
    let expires = section.number("expires_s", 0..=86_400);
    let min_se = section.number("min_se_s", SHORTEST_INTERVAL.into()..=86_400);
    let refresher = section.parsed("refresher", written::refresher);
    let redirects = section.number("redirects", 0..=10);
    let usual = TimerTerms::default();
    // Within the ranges just read.
    let number = |found: &Option<Found<'_, u64>>, usual: u32| found.as_ref().map_or(usual, |f| f.value as u32);
    let (wanted, least) = (number(&expires, usual.expires), number(&min_se, usual.min_se));
    if wanted > 0 && wanted < least {
        let remedy = format!("write at least {least} (min_se_s), or 0 for no session timers");
        section.place_of("expires_s").wrong("is shorter than the shortest interval", remedy);
    }
    for (key, given) in [("min_se_s", min_se.is_some()), ("refresher", refresher.is_some())] {
        if wanted == 0 && given {
            section.place_of(key).wrong("has no meaning without session timers", "remove it, or set expires_s");
        }
    }
    section.done();
    let refresher = refresher.map_or(usual.refresher, |found| found.value);
    Terms {
        reliable: reliable.map_or(Reliability::default(), |found| found.value),
        timer: (wanted > 0).then_some(TimerTerms { expires: wanted, min_se: least, refresher }),
        delayed_offer: delayed.is_some_and(|found| found.value),
        redirects: number(&redirects, Terms::default().redirects),
    }
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
        let early_media = section.flag("early_media");
        if early_media.is_some() && matches!(answer, Some(AnswerRule::Now | AnswerRule::Refuse(_))) {
            section.place_of("early_media").wrong("has no meaning for a call that does not ring", "remove it");
        }
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
        let early_media = early_media.is_some_and(|found| found.value);
        Some(Route { callee, answer: answer?, early_media, dialogue, speech })
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
