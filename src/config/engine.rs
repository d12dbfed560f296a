//! `trunkline.toml`: the engine's own file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{self, Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeTable;

use super::reader::{Found, Place, Section, Source};
use super::sip::{self, Sip};
use super::trunk::Services;
use super::values::{Config, PortRange};
use super::{group, phrases, recording, written};
use crate::call::fillers::Fillers;
use crate::call::knobs::{Background, KnobChange, Knobs};
use crate::call::prompt;
use crate::channel::pool::Plan as Watch;
use crate::journal;
use crate::ms::Ms;
use crate::speech::prompts;
use crate::switchboard::NONE;
use crate::switchboard::load;
use crate::switchboard::settings::{MediaAddress, MediaAddresses, Settings, Trunk};
use crate::{dialogue, media, speech};

const CONTROL: SocketAddr = loopback(7070);
const WEB: SocketAddr = loopback(8080);
const PORTS: PortRange = PortRange { first: 20_000, last: 29_999 };
const MOST_CALLS: u64 = 1_000;
const STRANGERS: u64 = 20;
const KEEP_EVENTS: u64 = 100_000;
const CPU_PERCENT: u64 = 90;
const LATE_MS: u64 = 10;
const DRAIN_S: u64 = 30;
const RTP_TIMEOUT_S: u64 = 30;
const ANSWER_TIMEOUT_MS: u64 = 8_000;
const FINAL_TIMEOUT_MS: u64 = 3_000;
const DIALOGUE_RESUMES: u64 = 3;
const DEAD_AIR_MS: u64 = 2_500;

pub(super) const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// What the file says; the trunks are yet to come.
pub(super) struct Engine<'a> {
    /// The folder of the profiles, as it is shown.
    pub profiles: PathBuf,
    config: Config,
    groups: Vec<Section<'a>>,
}

impl Engine<'_> {
    pub(super) fn services(&self) -> Services {
        Services {
            dialogues: self.config.switchboard.dialogues.clone(),
            speech: self.config.switchboard.speech.clone(),
            reached: self.config.switchboard.reached,
        }
    }

    pub(super) fn config(self, trunks: Vec<Trunk>, disabled: Vec<String>) -> Config {
        let mut config = self.config;
        config.switchboard.groups = group::read(self.groups, &trunks, &disabled);
        config.switchboard.trunks = trunks;
        config.disabled = disabled;
        config
    }
}

/// Reads the file; what is wrong is told and replaced by its default.
pub(super) fn read<'a>(source: &'a Source<'a>, tree: &'a Spanned<DeTable<'a>>) -> Engine<'a> {
    let base = source.file.parent().unwrap_or(Path::new(""));
    let mut root = source.root(tree);
    let sip = sip::read(root.section("sip"), base);
    let limits = limits(root.section("limits"));
    let rtp = media_engine(root.section("media"), &sip, &limits);
    let control = listen(root.section("control"), CONTROL);
    let web = listen(root.section("web"), WEB);
    clashes(&sip, &rtp, &control, &web);
    let speech = speech_services(root.sections("speech"));
    let dialogues = dialogues(root.sections("dialogue"));
    root.need("speech", "write a [[speech]] with name and endpoint: nobody would hear the caller");
    root.need("dialogue", "write a [[dialogue]] with name and endpoint: nobody would answer the caller");
    let (prompts, fallback, waiting) = prompts(root.section("prompts"), base);
    let recording = recording::read(root.section("recording"), source.file);
    let phrases = phrases::read(root.section("phrase_cache"), base, &recording.folder);
    let profiles = profiles(root.section("profiles"), base);
    let mut events = root.section("events");
    let keep = events.number("keep", 100..=10_000_000);
    events.done();
    let (knobs, background) = knobs(root.section("knobs"), prompts.as_deref());
    let groups = root.sections("group");
    root.done();

    let switchboard = Settings {
        reached: sip.reached,
        media: rtp.addresses,
        user_agent: sip.user_agent.clone(),
        max_calls: limits.calls,
        overload: limits.overload,
        drain: limits.drain,
        knobs,
        background,
        dialogue_timeout: limits.answer_timeout,
        dialogue_resumes: limits.resumes,
        dead_air: limits.dead_air,
        waiting_sound: waiting,
        final_timeout: limits.final_timeout,
        fallback_prompt: fallback,
        record: recording.enabled,
        record_early: recording.early,
        names: recording.names,
        rtp_timeout: limits.rtp_timeout,
        dialogues: dialogues.iter().map(|d| d.name.clone()).collect(),
        speech: speech.iter().map(|s| s.name.clone()).collect(),
        strangers_per_second: limits.strangers,
        trunks: Vec::new(),
        groups: Vec::new(),
    };
    let ports = rtp.ports.value;
    let config = Config {
        sip: sip.config,
        media: media::Config { ports: ports.first..=ports.last, threads: rtp.threads, realtime: rtp.realtime },
        control: control.value,
        web: web.value,
        speech,
        dialogues,
        prompts,
        phrases,
        journal: journal::Settings {
            folder: recording.folder,
            format: recording.format,
            keep: recording.keep,
            upload: recording.upload,
            keep_events: number_or(keep, KEEP_EVENTS) as usize,
        },
        switchboard,
        disabled: Vec::new(),
    };
    Engine { profiles, config, groups }
}

struct MediaRead<'a> {
    addresses: MediaAddresses,
    ports: Found<'a, PortRange>,
    threads: usize,
    realtime: bool,
}

fn media_engine<'a>(mut media: Section<'a>, sip: &Sip<'_>, limits: &Limits) -> MediaRead<'a> {
    let at = |found: Found<'a, IpAddr>| Found { value: SocketAddr::new(found.value, 0), place: found.place };
    let read = media.one_or_more("bind", written::ip);
    let named_none = read.as_ref().is_some_and(Vec::is_empty);
    let mut bind: Vec<_> = read.unwrap_or_default().into_iter().map(at).collect();
    sip::one_a_family(&bind);
    if bind.is_empty() {
        let place = media.place_of("bind");
        if named_none {
            place.wrong("names no address", "write one, as \"127.0.0.1\", or leave it out");
        }
        let value = |found: &Found<'_, SocketAddr>| SocketAddr::new(found.value.ip(), 0);
        bind = sip.listen.iter().map(|found| Found { value: value(found), place: place.clone() }).collect();
    }
    let advertise = media.one_or_more("advertise", |text| Ok((written::reachable_ip(text)?, None))).unwrap_or_default();
    sip::families(&bind, &advertise, "media.bind");
    let ports = or_default(&mut media, "ports", written::ports, PORTS);
    let threads = media.number("threads", 1..=256);
    let realtime = media.flag("realtime");
    // One that cannot be read is told already.
    let sound = !media.has("advertise") || !advertise.is_empty();
    let mut addresses = bind.iter().map(|found| {
        let ip = found.value.ip();
        let same = ip.is_unspecified() || sip.listen.iter().any(|listen| listen.value.ip() == ip);
        let alike = |other: &IpAddr| other.is_ipv4() == ip.is_ipv4();
        // One machine has one outer address of a family, unless the file says otherwise.
        let own = advertise.iter().map(|found| found.value.0).find(alike);
        let elsewhere = own.or_else(|| sip.advertised.iter().copied().find(alike).filter(|_| same));
        // Without `bind` it is SIP's address, and told there.
        if ip.is_unspecified() && elsewhere.is_none() && media.has("bind") && sound {
            found.place.wrong(
                format!("{ip} means all addresses, and peers cannot send to that"),
                "add advertise = \"…\" with the address by which peers reach this machine, or bind to one address",
            );
        }
        MediaAddress { bind: ip, advertised: elsewhere.unwrap_or(ip) }
    });
    let loopback = MediaAddress { bind: Ipv4Addr::LOCALHOST.into(), advertised: Ipv4Addr::LOCALHOST.into() };
    let addresses = MediaAddresses { first: addresses.next().unwrap_or(loopback), other: addresses.next() };
    if ports.value.legs() < limits.calls {
        let (room, calls) = (ports.value.legs(), limits.calls);
        ports.place.wrong(
            format!("has room for {room} calls of two ports each, and limits.calls is {calls}"),
            "widen the range or lower limits.calls",
        );
    }
    media.done();
    let cores = || thread::available_parallelism().map_or(1, |n| n.get().min(256));
    MediaRead {
        addresses,
        ports,
        threads: threads.map_or_else(cores, |found| found.value as usize),
        realtime: realtime.is_none_or(|found| found.value),
    }
}

fn listen(mut section: Section<'_>, default: SocketAddr) -> Found<'_, SocketAddr> {
    let listen = or_default(&mut section, "listen", written::socket, default);
    section.done();
    listen
}

fn clashes(sip: &Sip<'_>, media: &MediaRead<'_>, control: &Found<'_, SocketAddr>, web: &Found<'_, SocketAddr>) {
    let overlap = |a: IpAddr, b: IpAddr| a == b || a.is_unspecified() || b.is_unspecified();
    let (c, w) = (control.value, web.value);
    if c.port() == w.port() && c.port() != 0 && overlap(c.ip(), w.ip()) {
        web.place.wrong(format!("is the address of control, {c}, too"), "give one of them another port");
    }
    for s in sip.listen.iter().map(|found| found.value) {
        let MediaAddresses { first, other } = media.addresses;
        if media.ports.value.contains(s.port()) && other.iter().chain([&first]).any(|at| overlap(s.ip(), at.bind)) {
            media.ports.place.wrong(format!("contains SIP's port, {}", s.port()), "move the range or sip.listen");
        }
    }
    let streams = sip.listen.iter().filter(|_| sip.config.tcp).chain(&sip.tls);
    for s in streams {
        for (name, other) in [("control", c), ("web", w)] {
            if s.value.port() == other.port() && overlap(s.value.ip(), other.ip()) {
                s.place.wrong(format!("is the address of {name}, {other}, too"), "give one of them another port");
            }
        }
    }
}

struct Limits {
    calls: usize,
    overload: load::Limits,
    strangers: u32,
    drain: Duration,
    rtp_timeout: Duration,
    answer_timeout: Duration,
    resumes: u32,
    dead_air: Duration,
    final_timeout: Duration,
}

fn limits(mut limits: Section<'_>) -> Limits {
    let calls = limits.number("calls", 1..=100_000);
    let cpu = limits.number("cpu_percent", 0..=100);
    let late = limits.number("late_ms", 0..=19);
    let drain = limits.number("drain_s", 0..=86_400);
    let rtp = limits.number("rtp_timeout_s", 5..=3_600);
    let answer = limits.number("answer_timeout_ms", 500..=120_000);
    let resumes = limits.number("dialogue_resumes", 0..=100);
    let dead_air = limits.number("dead_air_ms", 0..=60_000);
    let strangers = limits.number("strangers_per_second", 1..=10_000);
    let last_word = limits.number("final_timeout_ms", 200..=30_000);
    limits.done();
    Limits {
        calls: number_or(calls, MOST_CALLS) as usize,
        overload: load::Limits {
            cpu_percent: number_or(cpu, CPU_PERCENT) as u32,
            lateness: Duration::from_millis(number_or(late, LATE_MS)),
        },
        strangers: number_or(strangers, STRANGERS) as u32,
        drain: Duration::from_secs(number_or(drain, DRAIN_S)),
        rtp_timeout: Duration::from_secs(number_or(rtp, RTP_TIMEOUT_S)),
        answer_timeout: Duration::from_millis(number_or(answer, ANSWER_TIMEOUT_MS)),
        dead_air: Duration::from_millis(number_or(dead_air, DEAD_AIR_MS)),
        resumes: number_or(resumes, DIALOGUE_RESUMES) as u32,
        final_timeout: Duration::from_millis(number_or(last_word, FINAL_TIMEOUT_MS)),
    }
}

fn speech_services(sections: Vec<Section<'_>>) -> Vec<speech::ServiceConfig> {
    let mut taken = Vec::new();
    let read = |mut section: Section<'_>| {
        let (name, endpoints, watch) = service(&mut section, &mut taken);
        let language = section.parsed("language", written::some);
        let voice = section.parsed("voice", written::some);
        let connect = section.number("connect_timeout_ms", 100..=60_000);
        let stall = section.number("stall_timeout_ms", 500..=60_000);
        let give_up = section.number("give_up_ms", 1_000..=300_000);
        let silent = section.number("silent_utterances", 0..=100);
        let unanswered = section.number("silent_s", 2..=600);
        let usual = speech::Rule::default();
        let batch = section.number("batch_ms", 20..=100);
        if let Some(batch) = &batch
            && !batch.value.is_multiple_of(20)
        {
            batch.place.wrong("is not a multiple of 20", "write 20, 40, 60, 80 or 100");
        }
        section.done();
        speech::ServiceConfig {
            name,
            endpoints,
            watch,
            language: language.map(|found| found.value).unwrap_or_default(),
            voice: voice.map(|found| found.value).unwrap_or_default(),
            connect_timeout: Duration::from_millis(number_or(connect, 2_000)),
            stall_timeout: Duration::from_millis(number_or(stall, 5_000)),
            batch: Duration::from_millis(number_or(batch, 100)),
            give_up: Duration::from_millis(number_or(give_up, 15_000)),
            silent: speech::Rule {
                utterances: silent.map_or(usual.utterances, |found| found.value as u32),
                speech: unanswered.map_or(usual.speech, |found| Duration::from_secs(found.value)),
            },
        }
    };
    sections.into_iter().map(read).collect()
}

fn dialogues(sections: Vec<Section<'_>>) -> Vec<dialogue::ServiceConfig> {
    let mut taken = Vec::new();
    let read = |mut section: Section<'_>| {
        let (name, endpoints, watch) = service(&mut section, &mut taken);
        let connect = section.number("connect_timeout_ms", 100..=60_000);
        section.done();
        let connect_timeout = Duration::from_millis(number_or(connect, 2_000));
        dialogue::ServiceConfig { name, endpoints, watch, connect_timeout }
    };
    sections.into_iter().map(read).collect()
}

/// Name and endpoints of a service, and how they are watched. `taken`: the names before it, and where they stand.
fn service(section: &mut Section<'_>, taken: &mut Vec<(String, String)>) -> (String, Vec<String>, Watch) {
    let name = section.parsed("name", written::name);
    let endpoints = endpoints(section);
    let every = section.number("check_s", 1..=3_600);
    let down = section.number("check_down_after", 1..=100);
    let up = section.number("check_up_after", 1..=100);
    let usual = Watch::default();
    let count = |found: Option<Found<'_, u64>>, usual| found.map_or(usual, |found| found.value as u32);
    let watch = Watch {
        interval: every.map_or(usual.interval, |found| Duration::from_secs(found.value)),
        down_after: count(down, usual.down_after),
        up_after: count(up, usual.up_after),
    };
    section.need("name", "give it a name by which profiles and Dial choose it");
    if let Some(Found { value: name, place }) = &name {
        if name == NONE {
            place.wrong(
                format!("{NONE:?} is how profiles and Dial say that there is to be no service"),
                "give it another name",
            );
        }
        if let Some((_, line)) = taken.iter().find(|(before, _)| before == name) {
            place.wrong(format!("{name:?} is the name of the one at {line} too"), "give each its own name");
        }
        taken.push((name.clone(), place.named()));
    }
    let text = |found: Option<Found<'_, String>>| found.map(|f| f.value).unwrap_or_default();
    (text(name), endpoints, watch)
}

/// `endpoint` for one, `endpoints` for several.
fn endpoints(section: &mut Section<'_>) -> Vec<String> {
    let one = section.parsed("endpoint", written::endpoint);
    let several = section.list("endpoints", written::endpoint);
    if section.has("endpoint") && section.has("endpoints") {
        section.place_of("endpoints").wrong("stands beside `endpoint`", "write all of them in `endpoints`");
    } else if !section.has("endpoints") {
        section.need(
            "endpoint",
            "write endpoint = \"http://host:port\", or endpoints = [\"http://a:port\", \"http://b:port\"]",
        );
    } else if several.as_ref().is_some_and(Vec::is_empty) {
        section
            .place_of("endpoints")
            .wrong("names no endpoint", "write them as [\"http://a:port\", \"http://b:port\"]");
    }
    let mut endpoints: Vec<String> = Vec::new();
    for Found { value, place } in one.into_iter().chain(several.unwrap_or_default()) {
        if endpoints.contains(&value) {
            place.wrong(format!("names {value} twice"), "name each endpoint once");
        } else {
            endpoints.push(value);
        }
    }
    endpoints
}

fn prompts(mut prompts: Section<'_>, base: &Path) -> (Option<PathBuf>, Option<String>, Option<String>) {
    let folder = prompts.parsed("folder", written::some);
    let fallback = prompts.parsed("fallback", written::below);
    let waiting = prompts.parsed("waiting", written::below);
    for (key, of) in [("fallback", &fallback), ("waiting", &waiting)] {
        if of.is_some() {
            prompts.need("folder", &format!("name the folder in which `{key}` lies"));
        }
    }
    prompts.done();
    let Some(folder) = folder else {
        return (None, None, None);
    };
    let path = base.join(&folder.value);
    if !path.is_dir() {
        folder.place.wrong(format!("{} is not a folder", path.display()), "make it, or name another");
    } else {
        for file in [&fallback, &waiting].into_iter().flatten() {
            has_to_play(&file.place, &path.join(&file.value));
        }
    }
    (Some(absolute(path)), fallback.map(|found| found.value), waiting.map(|found| found.value))
}

/// A recording that is played by name has to be there.
fn has_to_play(place: &Place<'_>, path: &Path) {
    if let Err(reason) = prompts::check(path) {
        place.wrong(format!("{} cannot be played: {reason}", path.display()), RECORDING);
    }
}

/// What may be played.
const RECORDING: &str = "name a WAV file (16-bit PCM, one channel) or an MP3 below prompts.folder";

fn profiles(mut profiles: Section<'_>, base: &Path) -> PathBuf {
    let folder = or_default(&mut profiles, "folder", written::some, "sip-profiles".to_owned());
    profiles.done();
    let path = base.join(&folder.value);
    if let Err(e) = path.read_dir() {
        folder.place.wrong(
            format!("{} cannot be listed: {e}", path.display()),
            "make it and write a profile in it, or name another",
        );
    }
    path
}

fn knobs(mut section: Section<'_>, prompts: Option<&Path>) -> (Knobs, Option<Background>) {
    let mut time = |key| section.number(key, 0..=u64::from(u32::MAX));
    let times = [
        time("endpoint_ms"),
        time("speech_start_ms"),
        time("pre_roll_ms"),
        time("max_utterance_ms"),
        time("no_input_ms"),
        time("min_speech_ms"),
        time("protect_ms"),
        time("verdict_ms"),
        time("filler_after_ms"),
        time("min_words"),
        time("echo_guard_db"),
    ];
    let ms = times.each_ref().map(|time| time.as_ref().map(|t| Ms(u32::try_from(t.value).unwrap_or(u32::MAX))));
    let change = KnobChange {
        endpoint: ms[0],
        speech_start: ms[1],
        pre_roll: ms[2],
        max_utterance: ms[3],
        no_input: ms[4],
        barge_in: section.parsed("barge_in", written::barge_in).map(|f| f.value),
        min_speech: ms[5],
        protect: ms[6],
        second_opinion: section.flag("second_opinion").map(|f| f.value),
        key_barge_in: section.flag("key_barge_in").map(|f| f.value),
        on_barge_in: section.parsed("on_barge_in", written::on_barge_in).map(|f| f.value),
        verdict: ms[7],
        filler_after: ms[8],
        min_words: ms[9].map(|words| words.0),
        echo_guard_db: ms[10].map(|guard| guard.0),
        ignore: ignore(&mut section),
        bridging: bridging(&mut section, prompts),
        background: None,
    };
    let background = background(&mut section, prompts);
    let mut knobs = Knobs::default();
    // The call clamps what comes out of range in the middle of it; in a file that is a mistake.
    for clamp in knobs.apply(&change) {
        let limit = if clamp.asked < clamp.used { "at least" } else { "at most" };
        section.place_of(clamp.knob).wrong(
            format!("{} is out of range", clamp.asked.as_u32()),
            format!("write {limit} {}", clamp.used.as_u32()),
        );
    }
    if knobs.lacks_bridging() {
        let remedy = "write bridging = [\"Let me see.\"], or filler_after_ms = 0";
        section.place_of("filler_after_ms").wrong("is set, and there is no bridging phrase", remedy);
    }
    section.done();
    (knobs, background)
}

fn background(knobs: &mut Section<'_>, prompts: Option<&Path>) -> Option<Background> {
    const REMEDY: &str = "write { file = \"office.wav\", level_db = -24 }";
    let (value, place) = knobs.raw("background")?;
    let Some(table) = value.as_table() else {
        place.wrong("is no table", REMEDY);
        return None;
    };
    let mut section = Section::inline(place, table);
    let file = section.parsed("file", written::below);
    if let Some(file) = &file {
        match prompts.map(|folder| folder.join(&file.value)) {
            None => file.place.wrong("lies nowhere", "name the folder in which it lies: [prompts] folder"),
            Some(path) => has_to_play(&file.place, &path),
        }
    }
    section.need("file", REMEDY);
    let level = section.raw("level_db");
    section.need("level_db", "write how much softer than the file it is to be, -60 to 0 dB");
    let level_db = level.and_then(|(value, place)| {
        let whole = value.as_integer().and_then(|integer| integer.as_str().parse().ok());
        let level: Option<f32> = whole.or(value.as_float().and_then(|float| float.as_str().parse().ok()));
        let level = level.filter(|level| Background::LEVELS_DB.contains(level));
        if level.is_none() {
            place.wrong("is out of range", "write a number from -60 to 0");
        }
        level
    });
    section.done();
    Some(Background { path: file?.value.into(), level_db: level_db? })
}

fn ignore(section: &mut Section<'_>) -> Option<Arc<Fillers>> {
    let phrases: Vec<_> = section.list("ignore", written::filler)?.into_iter().map(|found| found.value).collect();
    match Fillers::new(&phrases) {
        Ok(fillers) => Some(Arc::new(fillers)),
        // What is wrong with one of them is told; they may be too many.
        Err(bad) => {
            section.place_of("ignore").wrong(bad.to_string(), "write a shorter list");
            None
        }
    }
}

fn bridging(section: &mut Section<'_>, prompts: Option<&Path>) -> Option<Arc<[prompt::Source]>> {
    let phrases = section.list("bridging", written::phrase)?;
    for phrase in &phrases {
        let prompt::Source::File(file) = &phrase.value else { continue };
        match prompts.map(|folder| folder.join(file)) {
            None => phrase.place.wrong("is a recording, and there is no folder for them", "write prompts.folder"),
            Some(path) => has_to_play(&phrase.place, &path),
        }
    }
    Some(phrases.into_iter().map(|found| found.value).collect())
}

pub(super) fn or_default<'a, T>(
    section: &mut Section<'a>,
    key: &'static str,
    parse: impl Fn(&str) -> Result<T, super::problem::Wrong>,
    default: T,
) -> Found<'a, T> {
    let found = section.parsed(key, parse);
    found.unwrap_or_else(|| Found { value: default, place: section.place_of(key) })
}

pub(super) fn number_or(found: Option<Found<'_, u64>>, default: u64) -> u64 {
    found.map_or(default, |found| found.value)
}

pub(super) fn absolute(path: PathBuf) -> PathBuf {
    // Fails only without a working directory; the path is then as good as it gets.
    path::absolute(&path).unwrap_or(path)
}
