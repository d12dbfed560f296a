//! Profiles: the template against the reader, identity, numbers, limits; and groups.

use std::collections::BTreeSet;

use super::*;
use crate::sip::auth::Algorithm;
use crate::sip::identity::{Privacy, Source, Written};
use crate::switchboard::settings::{Called, CallerChoice, FromUser, Rate};

/// The keys that a profile shows, those in comments too: `section.key`.
fn shown(text: &str) -> BTreeSet<String> {
    let key = |text: &str| {
        let (key, _) = text.split_once(" = ")?;
        (!key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()))
            .then(|| key.to_owned())
    };
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') && line.ends_with(']') {
            section = line.trim_matches(['[', ']']).to_owned();
            keys.insert(section.clone());
            let parents = section.match_indices('.').map(|(at, _)| section[..at].to_owned());
            keys.extend(parents.collect::<Vec<_>>());
        } else if let Some(name) = key(line) {
            let whole = if section.is_empty() { name } else { format!("{section}.{name}") };
            if let Some((_, inner)) = line.split_once("= { ") {
                keys.extend(key(inner).map(|inner| format!("{whole}.{inner}")));
            }
            keys.insert(whole);
        }
    }
    keys
}

#[test]
fn the_template_lists_every_key_of_a_profile_and_no_other() {
    let template = include_str!("../../../sip-profiles/template.toml");
    let problems = RefCell::new(Vec::new());
    let source = reader::Source { file: Path::new("template.toml"), text: template, problems: &problems };
    let (tree, sound) = source.parse();
    assert!(sound);
    reader::known::take();
    let read = trunk::read(&source, &tree, None, None);
    assert_eq!(problems.take(), []);
    assert!(matches!(read, Some(Profile::Off(name)) if name == "template"));
    assert_eq!(shown(template), reader::known::take());
}

#[test]
fn every_profile_of_the_repository_would_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let main = fs::read_to_string(root.join("trunkline.toml")).expect("read");
    let main = main.replace("\"test-audio\"", &format!("{:?}", root.join("test-audio")));
    for file in fs::read_dir(root.join("sip-profiles")).expect("listed") {
        let path = file.expect("an entry").path();
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).expect("read").replace("enabled = false", "enabled = true");
        let folder = Folder::new(&main, &text);
        let mut mistakes = folder.mistakes();
        // What goes by TLS wants a certificate of ours, as its comments say; here is none.
        if text.contains("\ntransport = \"tls\"") {
            mistakes.retain(|mistake| !mistake.contains("add [sip.tls] to the main file"));
            assert_eq!(mistakes, Vec::<String>::new(), "{}", path.display());
            continue;
        }
        assert_eq!(mistakes, Vec::<String>::new(), "{}", path.display());
        assert_eq!(load(&folder.main()).expect("right").switchboard.trunks.len(), 1);
    }
}

#[test]
fn what_the_template_says_is_what_is_read() {
    let template = include_str!("../../../sip-profiles/template.toml").replace("enabled = false", "enabled = true");
    let engine = ENGINE.replace("ears", "local").replace("brain", "script");
    let config = load(&Folder::new(&engine, &template).main()).unwrap_or_else(|e| panic!("{e}"));
    let trunk = &config.switchboard.trunks[0];
    assert_eq!(trunk.route[0].as_str(), "sip:edge.example.com;lr");
    let identity = &trunk.identity;
    assert_eq!((identity.display.as_deref(), identity.from), (Some("Example Ltd"), FromUser::Account));
    assert_eq!(identity.written, Written { asserted: true, history: true, ..Written::default() });
    assert_eq!((identity.privacy, identity.diverted_from.as_deref()), (Privacy::Shown, Some("+4930999999")));
    assert_eq!(identity.read, [Source::Asserted, Source::RemoteParty, Source::From]);
    assert_eq!(identity.called, Called::RequestUri);
    assert_eq!((trunk.choice, trunk.callers[0].areas.len()), (CallerChoice::ByArea, 2));
    let numbers = &trunk.numbers;
    let out = |number| numbers.apply(&numbers.callee, number);
    assert_eq!(
        (out("110"), out("03012345"), out("12345")),
        ("110".into(), "8848493012345".into(), "8848493012345".into())
    );
    assert_eq!(numbers.apply(&numbers.caller, "+493012345"), "03012345");
    assert_eq!(numbers.apply(&numbers.callee_in, "03012345"), "+493012345");
    assert_eq!(numbers.apply(&numbers.caller_in, "00431234"), "+431234");
    let credentials = trunk.credentials.as_ref().expect("an [auth]");
    assert_eq!(
        (credentials.at("gateway.example.com"), credentials.at("x").0),
        (("guest", "change-me-too"), "4930123456")
    );
    let inbound = trunk.inbound_auth.as_ref().expect("an [inbound_auth]");
    assert_eq!((inbound.realm.as_str(), inbound.credentials.at("").0), ("robot.example.com", "exchange"));
    assert_eq!((&inbound.algorithms[..], inbound.integrity), (&[Algorithm::Sha256, Algorithm::Md5][..], false));
    assert_eq!((trunk.channels, trunk.channels_per_caller), (30, 2));
    assert_eq!(trunk.rate, Some(Rate { per_second: 5, at_once: 1 }));
    assert_eq!((trunk.setup_timeout, trunk.failover_after), (Duration::from_secs(16), Duration::from_secs(2)));
    assert_eq!(trunk.longest, Some(Duration::from_secs(3_600)));
}

#[test]
fn what_a_profile_need_not_say() {
    let config = load(&Folder::new(ENGINE, PROFILE).main()).unwrap_or_else(|e| panic!("{e}"));
    let trunk = &config.switchboard.trunks[0];
    assert_eq!(trunk.identity.read, [Source::Asserted, Source::RemoteParty, Source::From]);
    assert_eq!((trunk.setup_timeout, trunk.longest, trunk.rate), (Duration::from_secs(32), None, None));
    assert_eq!(trunk.failover_after, Duration::from_secs(4));
    assert_eq!((trunk.channels_per_caller, trunk.numbers.plan.national.as_str()), (0, "0"));
    let bare = load(&Folder::new(ENGINE, &format!("{PROFILE}[limits]\ncalls_per_second = 7\n")).main()).expect("right");
    let rate = bare.switchboard.trunks[0].rate.expect("a rate");
    assert_eq!((rate.per_second, rate.at_once), (7, 7));
}

#[test]
fn mistakes_of_identity_numbers_and_limits() {
    for (more, wanted) in [
        (
            "choice = \"by_area\"",
            &[
                "t.toml:6:identity.choice: by_area has no numbers to choose from; write [[callers]] with a number each, or choice = \"fixed\"",
            ][..],
        ),
        (
            "[[callers]]\nnumber = \"1\"",
            &[
                "t.toml:6:callers: is never shown: the choice is fixed; write choice = \"round_robin\", \"by_area\" or \"least_used\" into [identity], or remove it",
            ],
        ),
        (
            "choice = \"least_used\"\n[[callers]]\nnumber = \"1\"\nareas = [\"2\"]\n[[callers]]\nnumber = \"1\"",
            &[
                "t.toml:9:callers.areas: is not looked at; write choice = \"by_area\" into [identity], or remove it",
                "t.toml:11:callers.number: stands there twice; write each number once",
            ],
        ),
        (
            "choice = \"by_area\"\n[[callers]]\nnumber = \"1\"",
            &["t.toml:7:callers.areas: is missing; list the beginnings of the numbers that see this one"],
        ),
        (
            "from = \"account\"",
            &[
                "t.toml:6:identity.from: there is no account; write an [auth] or a [registration] with a user, or remove the key",
            ],
        ),
        ("history = true", &["t.toml:6:identity.history: has nothing to tell; write diverted_from, or remove the key"]),
        (
            "privacy = \"full\"",
            &["t.toml:6:identity.privacy: is not a kind of privacy; write \"none\", \"id\" or \"anonymous\""],
        ),
        (
            "called = \"from\"",
            &["t.toml:6:identity.called: is not where a called number stands; write \"request_uri\" or \"to\""],
        ),
        (
            "read = [\"To\"]",
            &[
                "t.toml:6:identity.read: is not a header that says who calls; write P-Asserted-Identity, P-Preferred-Identity, Remote-Party-ID or From",
                "t.toml:6:identity.read: names no header; write [\"P-Asserted-Identity\", \"From\"], or remove the key",
            ],
        ),
        (
            "[[numbers.callee]]\nmatch = \"0*1\"",
            &[
                "t.toml:7:numbers.callee.match: has a * that is not at its end; write it as \"*\", \"00*\", \"11?\" or \"[2-9]???????\"",
            ],
        ),
        (
            "[[numbers.callee]]\nmatch = \"0*\"\nstrip = 2",
            &[
                "t.toml:8:numbers.callee.strip: takes 2 characters off numbers of which only 1 are sure to be there; write a longer match, or a smaller strip",
            ],
        ),
        (
            "[[numbers.caller_in]]\nmatch = \"*\"\nto = \"e164\"",
            &[
                "t.toml:8:numbers.caller_in.to: needs a country to know whose numbers these are; write country = \"…\" into [numbers]",
            ],
        ),
        (
            "[[numbers.callee]]\nmatch = \"*\"\n[[numbers.callee]]\nmatch = \"0*\"",
            &[
                "t.toml:9:numbers.callee.match: is never reached: line 7 takes all these numbers; move it up, or remove one of the two",
            ],
        ),
        (
            "[numbers]\narea = \"30\"\ncountry = \"+49\"",
            &["t.toml:8:numbers.country: is not made of digits; write it as \"49\", without + and blanks"],
        ),
        (
            "[numbers]\narea = \"30\"",
            &["t.toml:6:numbers.country: is missing; write the country code to which the area belongs, as \"49\""],
        ),
        (
            "[limits]\nburst = 3",
            &[
                "t.toml:6:limits.calls_per_second: is missing; write the rate that goes on after the burst, or remove burst",
            ],
        ),
        (
            "[limits]\nsetup_timeout_ms = 100",
            &["t.toml:7:limits.setup_timeout_ms: is out of range; write a whole number from 500 to 32000"],
        ),
        (
            "[inbound_auth]\nuser = \"u\"\npassword = \"p\"",
            &["t.toml:6:inbound_auth: guards nothing: no call is taken; write an [[inbound]], or remove it"],
        ),
        (
            "[inbound_auth]\nuser = \"u\"\npassword = \"p\"\nalgorithms = [\"SHA-1\"]\n[[inbound]]",
            &[
                "t.toml:9:inbound_auth.algorithms: is not an algorithm; write SHA-256, SHA-512-256 or MD5",
                "t.toml:9:inbound_auth.algorithms: names no algorithm; write [\"SHA-256\", \"MD5\"], or remove the key",
            ],
        ),
        (
            "[auth]\nuser = \"u\"\npassword = \"p\"\n[[auth.realm]]\nuser = \"v\"",
            &[
                "t.toml:9:auth.realm.password: is missing; write password, password_env or password_file",
                "t.toml:9:auth.realm.realm: is missing; write the realm as the challenge names it",
            ],
        ),
    ] {
        let told: Vec<_> =
            profile(&format!("{}{more}\n", PROFILE)).iter().map(|p| p.replace("sip-profiles/", "")).collect();
        assert_eq!(told, wanted, "{more}");
    }
    let route =
        profile("[peer]\naddress = \"192.0.2.1\"\nroute = [\"sip:a\", \"tel:1\"]\n[identity]\ncaller = \"1\"\n");
    assert_eq!(
        route,
        [
            "sip-profiles/t.toml:3:peer.route: has no ;lr; add ;lr: strict routers are not built",
            "sip-profiles/t.toml:3:peer.route: is not the address of a proxy; write it as sip:proxy.example.com;lr",
        ]
    );
}

#[test]
fn groups_name_trunks_that_there_are() {
    let group = |text: &str| engine(&format!("[[group]]\n{text}\n"));
    assert_eq!(group("name = \"g\"\n[[group.member]]\ntrunk = \"t\"\npriority = 2\nweight = 5"), Vec::<String>::new());
    assert_eq!(
        group("name = \"t\"\n[[group.member]]\ntrunk = \"t\""),
        ["m.toml:2:group.name: \"t\" is the name of a trunk; give it another name"]
    );
    assert_eq!(group("name = \"g\""), ["m.toml:1:group.member: is missing; write [[group.member]] with a trunk each"]);
    assert_eq!(
        group("name = \"g\"\n[[group.member]]\ntrunk = \"x\""),
        [
            "m.toml:1:group: has no trunk that is on; set enabled = true in one of its profiles, or remove the group",
            "m.toml:4:group.member.trunk: \"x\" is not a trunk; write one of: t",
        ]
    );
    assert_eq!(
        group("name = \"g\"\nfailover = [\"200\"]\n[[group.member]]\ntrunk = \"t\"\n[[group.member]]\ntrunk = \"t\""),
        [
            "m.toml:3:group.failover: is not a final answer of SIP; write it as \"503\", 400 to 699",
            "m.toml:7:group.member.trunk: is a member already; name each trunk once",
        ]
    );
    let twice = group(
        "name = \"g\"\n[[group.member]]\ntrunk = \"t\"\n[[group]]\nname = \"g\"\n[[group.member]]\ntrunk = \"t\"",
    );
    assert_eq!(twice, ["m.toml:6:group.name: \"g\" is the name of the one at line 2 too; give each its own"]);
    let folder = Folder::new(&format!("{ENGINE}[[group]]\nname = \"g\"\n[[group.member]]\ntrunk = \"t\"\n"), PROFILE);
    let groups = load(&folder.main()).expect("right").switchboard.groups;
    let member = groups[0].members[0];
    assert_eq!((groups[0].failover.as_slice(), member.trunk, member.priority, member.weight), (&[503][..], 0, 1, 1));
    fs::write(folder.0.join("sip-profiles/t.toml"), format!("enabled = false\n{PROFILE}")).expect("written");
    assert_eq!(
        folder.mistakes(),
        ["m.toml:8:group: has no trunk that is on; set enabled = true in one of its profiles, or remove the group",]
    );
}

#[test]
fn keys_of_srtp_that_are_told_without_tls_are_warned_of() {
    let trunk =
        |media: &str| format!("[peer]\naddress = \"192.0.2.1\"\n[identity]\ncaller = \"1\"\n[media]\n{media}\n");
    let read = |media: &str| load(&Folder::new(ENGINE, &trunk(media)).main()).unwrap_or_else(|e| panic!("{e}"));
    assert!(read("srtp = \"off\"").warnings().is_empty());
    let config = read("srtp = \"required\"\nsrtp_suites = [\"AEAD_AES_128_GCM\"]");
    let suites = vec![crate::sdp::Suite::AesGcm128];
    assert_eq!(config.switchboard.trunks[0].srtp, Some(crate::sdp::SrtpTerms { required: true, suites }));
    let [warning] = config.warnings().try_into().expect("one");
    assert!(warning.starts_with("trunk t: media.srtp: the keys are told by SIP that anybody"), "{warning}");
    assert_eq!(
        read("srtp = \"preferred\"").switchboard.trunks[0].srtp.as_ref().map(|t| (t.required, t.suites.len())),
        Some((false, 5))
    );
}

#[test]
fn the_tables_of_tones_of_the_repository_are_right() {
    let problems = RefCell::new(Vec::new());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sip-profiles");
    let countries = super::super::tones::read(&root, &problems);
    assert_eq!(problems.take(), []);
    let names: Vec<_> = countries.keys().map(String::as_str).collect();
    assert_eq!(names, ["cn", "de", "fr", "in", "jp", "uk", "us"]);
}

#[test]
fn mistakes_in_a_table_of_tones_are_told_with_their_place() {
    let folder = Folder::new(ENGINE, &format!("{PROFILE}\n[media]\ntones = \"xx\"\nhang_up_on_tone = false\n"));
    let table = "[[tone]]\nkind = \"beep\"\nfrequencies_hz = [450, 50]\ncadence_ms = [350]\n\
                 [[tone]]\nkind = \"busy\"\nfrequencies_hz = [450]\ncadence_ms = [350, 350]\n\
                 [[tone]]\nkind = \"congestion\"\nfrequencies_hz = [450]\ncadence_ms = [400, 400]\nlevel = 3\n";
    fs::write(folder.0.join("sip-profiles/tones/yy.toml"), table).expect("written");
    let mistakes = folder.mistakes();
    for told in [
        "sip-profiles/tones/yy.toml:2:tone.kind: is no kind of tone; write \"ringback\", \"busy\", \"congestion\" or \"unobtainable\"",
        "sip-profiles/tones/yy.toml:3:tone.frequencies_hz: holds what is out of range; write whole numbers from 100 to 3400",
        "sip-profiles/tones/yy.toml:4:tone.cadence_ms: is no cadence; write pairs of on and off, at most 8 times in all",
        "sip-profiles/tones/yy.toml:12:tone.cadence_ms: cannot be told from the busy tone above; leave one of the two out: their times differ by less than 15 % and 30 ms",
        "sip-profiles/tones/yy.toml:13:tone.level: is not known; remove it, or choose from: kind, frequencies_hz, cadence_ms",
    ] {
        assert!(mistakes.iter().any(|mistake| mistake == told), "{told}\n{mistakes:#?}");
    }
    let named = "media.tones: there is no sound table tones/xx.toml; write one of: cn";
    assert!(mistakes.iter().any(|mistake| mistake.ends_with(named)), "{mistakes:#?}");
}

#[test]
fn rules_by_which_no_verdict_could_be_reached_are_a_mistake() {
    let mistakes = |lines: &str| Folder::new(ENGINE, &format!("{PROFILE}\n[answerer]\n{lines}\n")).mistakes();
    assert_eq!(mistakes("enabled = true\ngreeting_ms = 2500\nlongest_ms = 5000"), Vec::<String>::new());
    let told = mistakes("greeting_ms = 7000");
    assert!(
        told[0].ends_with(
            "answerer.greeting_ms: is not below longest_ms: no greeting is long enough for a machine; change one of the two"
        ),
        "{told:?}"
    );
    assert_eq!(told.len(), 1);
}
