//! The files of the repository, and what becomes of right ones.

mod announcements;
mod mistakes;
mod phrases;
mod trunks;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::call::knobs::{BargeIn, Knobs};
use crate::call::quality::LineRules;
use crate::call::transfer::{Inbound, Rules, Way};
use crate::ms::Ms;
use crate::sdp::{AudioFormat, Willing};
use crate::sip::message::Target;
use crate::sip::session::{Refresher, Reliability, Terms, TimerTerms};
use crate::sip::transport::Transport;
use crate::switchboard::settings::{AnswerRule, CalleeMatch, MediaAddress};

/// As short as a configuration can be.
const ENGINE: &str = r#"
[[speech]]
name = "ears"
endpoint = "http://127.0.0.1:1"
[[dialogue]]
name = "brain"
endpoint = "http://127.0.0.1:2"
"#;

const PROFILE: &str = r#"
[peer]
address = "192.0.2.1"
[identity]
caller = "100"
"#;

/// A folder with the two kinds of files that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(engine: &str, profile: &str) -> Folder {
        use std::sync::atomic::{AtomicU32, Ordering};
        static N: AtomicU32 = AtomicU32::new(0);
        let n = N.fetch_add(1, Ordering::Relaxed);
        let name = format!("trunkline-config-{}-{n}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        fs::create_dir_all(folder.0.join("sip-profiles")).expect("made");
        fs::create_dir_all(folder.0.join("sip-profiles/tones")).expect("made");
        let china = include_str!("../../sip-profiles/tones/cn.toml");
        fs::write(folder.0.join("sip-profiles/tones/cn.toml"), china).expect("written");
        fs::write(folder.main(), engine).expect("written");
        fs::write(folder.0.join("sip-profiles/t.toml"), profile).expect("written");
        folder
    }

    fn main(&self) -> PathBuf {
        self.0.join("m.toml")
    }

    /// All mistakes, with the folder's name left out.
    fn mistakes(&self) -> Vec<String> {
        let folder = format!("{}/", self.0.display());
        let shorten = |p: &Problem| p.to_string().replace(&folder, "");
        match load(&self.main()) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.0.iter().map(shorten).collect(),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `ENGINE` with more in front of it; the line numbers are those of `more`.
fn engine(more: &str) -> Vec<String> {
    Folder::new(&format!("{more}{ENGINE}"), PROFILE).mistakes()
}

fn profile(text: &str) -> Vec<String> {
    Folder::new(ENGINE, text).mistakes()
}

#[test]
fn the_files_of_the_repository_are_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = load(&root.join("trunkline.toml")).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        config.summary(),
        "trunks: ip-trunk (switched off: contact-centre, registered-trunk, self-owned-line, template, tls-srtp-trunk, tls-trunk); speech: local; dialogues: script; \
         SIP on 127.0.0.1:5060 (UDP and TCP), media on 127.0.0.1 ports 20000-29999, control on 127.0.0.1:7070, web on 127.0.0.1:8080"
    );
    let [trunk] = config.switchboard.trunks.as_slice() else {
        panic!("one trunk");
    };
    assert_eq!(trunk.domain, "127.0.0.1");
    let routes: Vec<_> = trunk.routes.iter().map(|r| (&r.callee, &r.answer)).collect();
    assert_eq!(
        routes,
        [
            (&CalleeMatch::Prefix("400".into()), &AnswerRule::After(Duration::from_secs(1))),
            (&CalleeMatch::Exact("500".into()), &AnswerRule::Refuse(603)),
            (&CalleeMatch::Any, &AnswerRule::Now),
        ]
    );
}

#[test]
fn the_file_of_the_repository_shows_the_defaults() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shown = load(&root.join("trunkline.toml")).unwrap_or_else(|e| panic!("{e}"));
    let folder = Folder::new(ENGINE, PROFILE);
    let bare = load(&folder.main()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(shown.sip, bare.sip);
    let media = |c: &Config| (c.switchboard.media, c.media.ports.clone(), c.media.threads, c.media.realtime);
    assert_eq!(media(&shown), media(&bare));
    assert_eq!((shown.control, shown.web), (bare.control, bare.web));
    assert_eq!(shown.journal.keep_events, bare.journal.keep_events);
    assert_eq!(shown.journal.format, bare.journal.format);
    let times = |c: &Config| {
        let s = &c.switchboard;
        (s.drain, s.rtp_timeout, s.dialogue_timeout, s.final_timeout)
    };
    assert_eq!(times(&shown), times(&bare));
    let (s, b) = (&shown.switchboard, &bare.switchboard);
    assert_eq!(s.strangers_per_second, b.strangers_per_second);
    assert_eq!((&s.knobs, s.max_calls, &s.user_agent), (&b.knobs, b.max_calls, &b.user_agent));
    assert_eq!(s.overload, b.overload);
    assert!(
        s.overload.cpu_percent > 0 && !s.overload.lateness.is_zero(),
        "overload is watched for unless somebody says no"
    );
    assert_eq!(s.knobs, Knobs::default());
    let services = |c: &Config| {
        let s = &c.speech[0];
        (s.batch, s.connect_timeout, s.stall_timeout, s.give_up, c.dialogues[0].connect_timeout)
    };
    assert_eq!(services(&shown), services(&bare));
    assert_eq!(shown.switchboard.reached, bare.switchboard.reached);
    let trunk = |c: &Config| {
        let t = &c.switchboard.trunks[0];
        let rules = &t.transfer;
        let transfer = (rules.subscription, rules.referred_by, rules.patience, rules.refuse_refer);
        let inbound = (rules.inbound.way, rules.inbound.hosts.clone(), rules.inbound.decide);
        (t.transport, t.tls.clone(), t.channels, t.ring_timeout, t.codecs.clone(), t.line, t.session, transfer, inbound)
    };
    assert_eq!(trunk(&shown), trunk(&bare));
    assert!(!b.record, "to record people has to be asked for");
}

#[test]
fn recordings_in_opus_take_what_is_said_or_32_kbit_a_second() {
    for (more, bitrate) in [("", 32_000), ("opus_kbit_s = 16\n", 16_000), ("opus_kbit_s = 40\n", 40_000)] {
        let folder = Folder::new(&format!("[recording]\nformat = \"opus\"\n{more}{ENGINE}"), PROFILE);
        let config = load(&folder.main()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.journal.format, crate::journal::Format::Opus { bitrate });
    }
}

#[test]
fn a_whole_profile_becomes_a_trunk() {
    let profile = r#"
[peer]
address = "sip.example.com:5070"
sources = ["192.0.2.0/24", "2001:db8::1"]
[auth]
user = "u"
password_env = "PATH"
[registration]
[limits]
channels = 3
ring_timeout_ms = 20000
[media]
codecs = ["PCMU", "OPUS", "L16"]
ptime_ms = 30
rtcp_mux = "offer"
rtcp_xr = "always"
quality_every_s = 30
quality_poor_mos10 = 0
[headers]
pass = ["X-Order"]
[transfer]
subscription = false
referred_by = false
timeout_ms = 30000
refuse_refer = 405
trunk = "t"
inbound_refer = "tell"
inbound_refer_hosts = ["pbx.example.com", "192.0.2.9"]
inbound_refer_answer_ms = 800
[[inbound]]
answer = "wait"
"#;
    let knobs = "[knobs]\nno_input_ms = 0\nbarge_in = \"never\"\n";
    let folder = Folder::new(&format!("{knobs}{ENGINE}"), profile);
    let config = load(&folder.main()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.switchboard.knobs.no_input, Ms(0), "0 is off");
    assert_eq!(config.switchboard.knobs.barge_in, BargeIn::Never);
    let trunk = &config.switchboard.trunks[0];
    assert_eq!(trunk.name, "t");
    let peer = Target::Host { name: "sip.example.com".into(), port: Some(5070) };
    assert_eq!(trunk.peer, peer);
    assert!(trunk.sources[0].contains([192, 0, 2, 77].into()));
    assert_eq!(trunk.sources[1].prefix, 128);
    assert_eq!((trunk.domain.as_str(), trunk.caller.as_str()), ("sip.example.com", "u"));
    let registration = trunk.registration.as_ref().expect("asked for");
    assert_eq!(
        (registration.user.as_str(), registration.domain.as_str(), registration.expires),
        ("u", "sip.example.com", Duration::from_secs(600))
    );
    assert_eq!((trunk.channels, trunk.ring_timeout), (3, Duration::from_secs(20)));
    assert_eq!(trunk.codecs, [AudioFormat::Pcmu, AudioFormat::Opus, AudioFormat::L16Wide, AudioFormat::L16]);
    let line = LineRules {
        ptime: Ms(30),
        rtcp_mux: Willing::Offer,
        rtcp_xr: Willing::Offer,
        xr_unasked: true,
        tell_every: Some(Duration::from_secs(30)),
        poor_below: None,
    };
    assert_eq!(trunk.line, line);
    assert_eq!(trunk.pass_headers, ["X-Order"]);
    let transfer = Rules {
        domain: "sip.example.com".into(),
        trunk: "t".into(),
        subscription: false,
        referred_by: false,
        patience: Duration::from_secs(30),
        refuse_refer: 405,
        inbound: Inbound {
            way: Way::Tell,
            home: vec!["sip.example.com".into(), "sip.example.com".into()],
            hosts: vec!["pbx.example.com".into(), "192.0.2.9".into()],
            decide: Duration::from_millis(800),
        },
    };
    assert_eq!(trunk.transfer, transfer.into());
    let route = &trunk.routes[0];
    assert_eq!((route.dialogue.as_str(), route.speech.as_str()), ("brain", "ears"));
    assert_eq!(route.answer, AnswerRule::Wait);
    let password = &trunk.credentials.as_ref().expect("given").password;
    assert_eq!(Some(password.as_str()), std::env::var("PATH").ok().as_deref());
    assert!(!format!("{config:?}").contains(password.as_str()), "never shown");
}

#[test]
fn a_route_may_have_no_services() {
    let folder = Folder::new(ENGINE, &format!("{PROFILE}[[inbound]]\ndialogue = \"none\"\nspeech = \"none\"\n"));
    let config = load(&folder.main()).unwrap_or_else(|problems| panic!("{problems}"));
    let route = &config.switchboard.trunks[0].routes[0];
    assert_eq!((route.dialogue.as_str(), route.speech.as_str()), ("none", "none"));
}

#[test]
fn an_address_behind_nat_is_advertised_for_both() {
    let nat = "[sip]\nlisten = \"0.0.0.0:5060\"\nadvertise = \"203.0.113.9\"\n";
    let folder = Folder::new(&format!("{nat}{ENGINE}"), PROFILE);
    let config = load(&folder.main()).unwrap_or_else(|e| panic!("{e}"));
    let reached = config.switchboard.reached.any(Transport::Udp).unwrap();
    assert_eq!(reached.to_string(), "203.0.113.9:5060");
    assert_eq!(config.switchboard.media.first.advertised.to_string(), "203.0.113.9");
    assert_eq!(config.switchboard.media.first.bind.to_string(), "0.0.0.0");
}

#[test]
fn media_has_an_address_of_each_family_that_sip_has_unless_it_is_said() {
    let addresses = |engine: &str| {
        let folder = Folder::new(&format!("{engine}{ENGINE}"), PROFILE);
        let media = load(&folder.main()).unwrap_or_else(|e| panic!("{e}")).switchboard.media;
        let text = |at: MediaAddress| format!("{} as {}", at.bind, at.advertised);
        (text(media.family(false)), text(media.family(true)))
    };
    let both = "[sip]\nlisten = [\"127.0.0.1:5060\", \"[::1]:5060\"]\n";
    let pair = |v4: &str, v6: &str| (v4.to_owned(), v6.to_owned());
    assert_eq!(addresses(both), pair("127.0.0.1 as 127.0.0.1", "::1 as ::1"));
    let outer = format!("{both}advertise = [\"192.0.2.1\", \"2001:db8::1\"]\n");
    assert_eq!(addresses(&outer), pair("127.0.0.1 as 192.0.2.1", "::1 as 2001:db8::1"));
    let own = format!("{outer}[media]\nbind = [\"::1\", \"127.0.0.2\"]\nadvertise = \"2001:db8::2\"\n");
    assert_eq!(addresses(&own), pair("127.0.0.2 as 127.0.0.2", "::1 as 2001:db8::2"));
    let one = format!("{both}[media]\nbind = \"127.0.0.1\"\n");
    assert_eq!(addresses(&one), pair("127.0.0.1 as 127.0.0.1", "127.0.0.1 as 127.0.0.1"));
}

#[test]
fn a_session_is_set_up_as_its_profile_says() {
    const RIGHT: &str = "[peer]\naddress = \"192.0.2.1\"\n[identity]\ncaller = \"1\"\n[session]\n";
    let session = |more: &str| {
        let folder = Folder::new(ENGINE, &format!("{RIGHT}{more}"));
        load(&folder.main()).unwrap_or_else(|e| panic!("{e}")).switchboard.trunks[0].session
    };
    let usual = Terms::default();
    assert_eq!(session(""), usual);
    assert_eq!(session("expires_s = 0\n"), Terms { timer: None, ..usual });
    assert_eq!(
        session(
            "reliable = \"required\"\ndelayed_offer = true\nexpires_s = 600\nmin_se_s = 300\nrefresher = \"peer\"\nredirects = 0\n"
        ),
        Terms {
            reliable: Reliability::Required,
            timer: Some(TimerTerms { expires: 600, min_se: 300, refresher: Refresher::Peer }),
            delayed_offer: true,
            redirects: 0,
        }
    );
    const FORMS: [(&str, &[&str]); 3] = [
        (
            "reliable = true\nrefresher = \"nobody\"\n",
            &[
                "t.toml:6:session.reliable: is of type boolean, not a string; write it in quotation marks",
                "t.toml:7:session.refresher: is nobody who refreshes; write us, peer or any",
            ],
        ),
        (
            "expires_s = 300\nmin_se_s = 600\nreliable = \"yes\"\n",
            &[
                "t.toml:6:session.expires_s: is shorter than the shortest interval; write at least 600 (min_se_s), or 0 for no session timers",
                "t.toml:8:session.reliable: is not a way to handle 100rel; write supported, required or off",
            ],
        ),
        (
            "expires_s = 0\nmin_se_s = 30\nrefresher = \"us\"\nmin_se = 1\n",
            &[
                "t.toml:7:session.min_se_s: is out of range; write a whole number from 90 to 86400",
                "t.toml:8:session.refresher: has no meaning without session timers; remove it, or set expires_s",
                "t.toml:9:session.min_se: is not known; remove it, or choose from: reliable, delayed_offer, expires_s, min_se_s, refresher, redirects",
            ],
        ),
    ];
    for (more, wanted) in FORMS {
        let wanted: Vec<_> = wanted.iter().map(|w| format!("sip-profiles/{w}")).collect();
        assert_eq!(profile(&format!("{RIGHT}{more}")), wanted, "{more}");
    }
}

#[test]
fn a_service_may_have_several_endpoints() {
    let engine = "[[speech]]\nname = \"ears\"\nendpoints = [\"http://a:1\", \"http://b:1\"]\ncheck_s = 2\ncheck_down_after = 3\n\
                  check_up_after = 4\n[[dialogue]]\nname = \"brain\"\nendpoint = \"http://c:1\"\n";
    let config = load(&Folder::new(engine, PROFILE).main()).expect("no mistakes");
    let speech = &config.speech[0];
    assert_eq!(speech.endpoints, ["http://a:1", "http://b:1"]);
    let watch = (speech.watch.interval, speech.watch.down_after, speech.watch.up_after);
    assert_eq!(watch, (Duration::from_secs(2), 3, 4));
    assert_eq!(
        (&config.dialogues[0].endpoints[..], config.dialogues[0].watch),
        (&["http://c:1".to_owned()][..], Default::default())
    );
    let both = engine.replace("check_s = 2", "endpoint = \"http://a:1\"");
    assert_eq!(
        Folder::new(&both, PROFILE).mistakes(),
        [
            "m.toml:3:speech.endpoints: names http://a:1 twice; name each endpoint once",
            "m.toml:3:speech.endpoints: stands beside `endpoint`; write all of them in `endpoints`",
        ]
    );
    let none = engine.replace("\"http://a:1\", \"http://b:1\"", "");
    assert_eq!(
        Folder::new(&none, PROFILE).mistakes(),
        ["m.toml:3:speech.endpoints: names no endpoint; write them as [\"http://a:port\", \"http://b:port\"]"]
    );
    let twice = engine.replace("http://b:1", "http://a:1");
    assert_eq!(
        Folder::new(&twice, PROFILE).mistakes(),
        ["m.toml:3:speech.endpoints: names http://a:1 twice; name each endpoint once"]
    );
}
