//! What is wrong in a file is told with its place, its key and the way out; all of it at once.

use super::*;

#[test]
fn wrong_engine_files() {
    const FORMS: [(&str, &[&str]); 30] = [
        ("", &[]),
        (
            "[sip]\nlissen = \"x\"\n",
            &[
                "m.toml:2:sip.lissen: is not known; remove it, or choose from: listen, advertise, tcp, user_agent, resolver, max_connections, max_connections_per_source, idle_s, tls",
            ],
        ),
        (
            "[sipp]\n",
            &[
                "m.toml:1:sipp: is not known; remove it, or choose from: sip, limits, media, control, web, speech, dialogue, prompts, recording, phrase_cache, profiles, events, knobs, group",
            ],
        ),
        (
            "[sip]\n\nlisten = \"localhost:5060\"\n",
            &["m.toml:3:sip.listen: is not an IP address with a port; write it as 127.0.0.1:5060 or [::1]:5060"],
        ),
        (
            "[sip]\nlisten = 5060\n",
            &["m.toml:2:sip.listen: is of type integer, not a string; write it in quotation marks"],
        ),
        (
            "[sip]\nlisten = \"0.0.0.0:5060\"\n",
            &[
                "m.toml:2:sip.listen: 0.0.0.0 means all addresses, and peers cannot send to that; add advertise = \"…\" with the address by which peers reach this machine, or listen on one address",
            ],
        ),
        (
            "[sip]\nadvertise = \"0.0.0.0\"\n",
            &[
                "m.toml:2:sip.advertise: is no address that a peer could send to; name the address by which peers reach this machine",
            ],
        ),
        (
            "[media]\nbind = \"::\"\n",
            &[
                "m.toml:2:media.bind: :: means all addresses, and peers cannot send to that; add advertise = \"…\" with the address by which peers reach this machine, or bind to one address",
            ],
        ),
        (
            "[media]\nports = \"29999-20000\"\n",
            &[
                "m.toml:2:media.ports: begins with an odd port; begin with an even one: RTP has the even ports, RTCP the odd ones",
            ],
        ),
        ("[media]\nports = \"20000\"\n", &["m.toml:2:media.ports: is not a range of ports; write it as 20000-29999"]),
        (
            "[media]\nports = \"20000-20019\"\n[limits]\ncalls = 11\n",
            &[
                "m.toml:2:media.ports: has room for 10 calls of two ports each, and limits.calls is 11; widen the range or lower limits.calls",
            ],
        ),
        (
            "[sip]\nlisten = \"127.0.0.1:20002\"\n",
            &["m.toml:media.ports: contains SIP's port, 20002; move the range or sip.listen"],
        ),
        (
            "[control]\nlisten = \"0.0.0.0:8080\"\n",
            &["m.toml:web.listen: is the address of control, 0.0.0.0:8080, too; give one of them another port"],
        ),
        (
            "[[dialogue]]\nname = \"none\"\nendpoint = \"http://x:1\"\n",
            &[
                "m.toml:2:dialogue.name: \"none\" is how profiles and Dial say that there is to be no service; give it another name",
            ],
        ),
        (
            "[[speech]]\nname = \"ears\"\nendpoint = \"https://x:1\"\nbatch_ms = 50\n",
            &[
                "m.toml:3:speech.endpoint: asks for TLS, which is not built for services yet; write it as http://host:port",
                "m.toml:4:speech.batch_ms: is not a multiple of 20; write 20, 40, 60, 80 or 100",
                "m.toml:7:speech.name: \"ears\" is the name of the one at m.toml:2 too; give each its own name",
            ],
        ),
        (
            "[[dialogue]]\n",
            &[
                "m.toml:1:dialogue.endpoint: is missing; write endpoint = \"http://host:port\", or endpoints = [\"http://a:port\", \"http://b:port\"]",
                "m.toml:1:dialogue.name: is missing; give it a name by which profiles and Dial choose it",
            ],
        ),
        (
            "[prompts]\nfolder = \"nowhere\"\n",
            &["m.toml:2:prompts.folder: nowhere is not a folder; make it, or name another"],
        ),
        (
            "[prompts]\nfolder = \"sip-profiles\"\nfallback = \"sorry.wav\"\n",
            &[
                "m.toml:3:prompts.fallback: sip-profiles/sorry.wav cannot be played: No such file or directory (os error 2); name a WAV file (16-bit PCM, one channel) or an MP3 below prompts.folder",
            ],
        ),
        (
            "[prompts]\nfallback = \"../x.wav\"\n",
            &[
                "m.toml:2:prompts.fallback: does not stay below its folder; write a path without a leading / and without ..",
            ],
        ),
        (
            "[recording]\nenabled = \"yes\"\nfolder = \"m.toml/x\"\nformat = \"mp3\"\nname = \"{date}\"\nkeep_days = 0\nfrom = \"ringing\"\n",
            &[
                "m.toml:2:recording.enabled: is of type string, not a truth value; write true or false",
                "m.toml:3:recording.folder: m.toml/x cannot be made: a file is in the way; name another folder",
                "m.toml:4:recording.format: is not known; write \"pcm16\", \"g711\" or \"opus\"",
                "m.toml:5:recording.name: has no {call_id} in the file's name, so many calls would have one name; write it as \"{date}/{trunk}/{call_id}\", of {call_id}, {date}, {time}, {trunk}, {caller}, {callee} and {direction}",
                "m.toml:6:recording.keep_days: is out of range; write a whole number from 1 to 36500",
                "m.toml:7:recording.from: is not known; write \"answer\" or \"early_media\"",
            ],
        ),
        (
            "[recording]\nformat = \"opus\"\nopus_kbit_s = 41\n",
            &["m.toml:3:recording.opus_kbit_s: is out of range; write a whole number from 16 to 40"],
        ),
        (
            "[recording]\nopus_kbit_s = 24\n",
            &["m.toml:2:recording.opus_kbit_s: means nothing without format = \"opus\"; remove it, or write that"],
        ),
        (
            "[recording.upload]\nurl = \"https://calls\"\nat_a_time = 0\naccess_key = \"AKIA\"\n",
            &[
                "m.toml:2:recording.upload.url: is neither s3:// nor file://; write it as s3://bucket/prefix, or file:///folder of a share",
                "m.toml:3:recording.upload.at_a_time: is out of range; write a whole number from 1 to 64",
            ],
        ),
        (
            "[recording.upload]\nurl = \"s3://Calls/eu\"\n",
            &[
                "m.toml:2:recording.upload.url: names a bucket that cannot be: 3 to 63 of a-z, 0-9, - and ., no - and . at its ends; write it as s3://bucket/prefix, or file:///folder of a share",
            ],
        ),
        (
            "[recording.upload]\nurl = \"s3://calls/eu/../us\"\n",
            &[
                "m.toml:2:recording.upload.url: has a prefix with an empty part, . or ..; write it as s3://bucket/prefix, or file:///folder of a share",
            ],
        ),
        (
            "[recording.upload]\nurl = \"s3://calls\"\nendpoint = \"minio:9000\"\nsecret_key = \"s3cret\"\nsecret_key_env = \"NOT_SET_ANYWHERE\"\nca = \"m.toml\"\n",
            &[
                "m.toml:1:recording.upload.access_key: is missing; write the id of the key that may put objects there",
                "m.toml:3:recording.upload.endpoint: is no http:// or https:// URL with a host; write it as http://host:port or https://host",
                "m.toml:5:recording.upload.secret_key_env: stands beside secret_key; keep one of secret_key, secret_key_env and secret_key_file",
                "m.toml:6:recording.upload.ca: m.toml holds no certificate in PEM form; name a file with the certificate in PEM form",
            ],
        ),
        (
            "[recording.upload]\nurl = \"file://share\"\n",
            &[
                "m.toml:2:recording.upload.url: names no folder from the root on; write it as s3://bucket/prefix, or file:///folder of a share",
            ],
        ),
        (
            "[recording]\nfolder = \"/recordings\"\n[recording.upload]\nurl = \"file:///recordings/there\"\nregion = \"eu\"\n",
            &[
                "m.toml:4:recording.upload.url: is the recordings' own folder, or in it, or around it; name another folder",
                "m.toml:5:recording.upload.region: means nothing with file://; remove it, or write url = \"s3://…\"",
            ],
        ),
        (
            "[limits]\ncalls = -1\ndrain_s = 1.5\ncpu_percent = 101\nlate_ms = 20\n",
            &[
                "m.toml:2:limits.calls: is out of range; write a whole number from 1 to 100000",
                "m.toml:3:limits.drain_s: is of type float, not a whole number; write a whole number from 0 to 86400",
                "m.toml:4:limits.cpu_percent: is out of range; write a whole number from 0 to 100",
                "m.toml:5:limits.late_ms: is out of range; write a whole number from 0 to 19",
            ],
        ),
        (
            "[knobs]\nendpoint_ms = 50\nno_input_ms = 99000\nbarge_in = \"words\"\nmin_words = 0\non_barge_in = \"wait\"\n\
             ignore = [\"uh\", \"?\"]\nfiller_after_ms = 900\nbridging = []\nbackground = { file = \"a.wav\", level_db = -61 }\n",
            &[
                "m.toml:2:knobs.endpoint_ms: 50 is out of range; write at least 200",
                "m.toml:3:knobs.no_input_ms: 99000 is out of range; write at most 60000",
                "m.toml:5:knobs.min_words: 0 is out of range; write at least 1",
                "m.toml:6:knobs.on_barge_in: is not what a prompt can do; write stop or pause",
                "m.toml:7:knobs.ignore: \"?\" has no letter and no digit; write a word or a short phrase",
                "m.toml:8:knobs.filler_after_ms: is set, and there is no bridging phrase; write bridging = [\"Let me see.\"], or filler_after_ms = 0",
                "m.toml:10:knobs.background.file: lies nowhere; name the folder in which it lies: [prompts] folder",
                "m.toml:10:knobs.background.level_db: is out of range; write a number from -60 to 0",
            ],
        ),
    ];
    for (more, wanted) in FORMS {
        assert_eq!(engine(more), wanted, "{more}");
    }
}

#[test]
fn wrong_profiles() {
    const RIGHT: &str = "[peer]\naddress = \"192.0.2.1\"\n[identity]\ncaller = \"1\"\n";
    const FORMS: [(&str, &[&str]); 18] = [
        ("", &[]),
        (
            "[auth]\nuser = \"u\"\npassword = 4711\n",
            &["t.toml:7:auth.password: is of type integer, not a string; write it in quotation marks"],
        ),
        (
            "[auth]\nuser = \"u\"\npassword = \"s3cret\"\npassword_env = \"X\"\n",
            &[
                "t.toml:8:auth.password_env: stands beside password; keep one of password, password_env and password_file",
            ],
        ),
        (
            "[auth]\npassword_env = \"NOT_SET_ANYWHERE\"\n",
            &[
                "t.toml:5:auth.user: is missing; write the user name for authentication",
                "t.toml:6:auth.password_env: the environment has no NOT_SET_ANYWHERE; set it for the process, or write another name",
            ],
        ),
        (
            "[auth]\nuser = \"u\"\n",
            &["t.toml:5:auth.password: is missing; write password, password_env or password_file"],
        ),
        (
            "[registration]\nexpires_s = 5\n",
            &["t.toml:6:registration.expires_s: is out of range; write a whole number from 60 to 86400"],
        ),
        (
            "[media]\nrtcp_mux = \"yes\"\nrtcp_xr = \"no\"\nquality_poor_mos10 = 50\n",
            &[
                "t.toml:6:media.rtcp_mux: is not how willing we are; write accept, offer or off",
                "t.toml:7:media.rtcp_xr: is not how willing we are; write accept, offer, always or off",
                "t.toml:8:media.quality_poor_mos10: is out of range; write a whole number from 0 to 45",
            ],
        ),
        (
            "[media]\ncodecs = [\n\"PCMA\",\n\"opus\",\n\"PCMA\"]\n",
            &[
                "t.toml:8:media.codecs: is not a codec that is built; write PCMA, PCMU, G722, OPUS or L16",
                "t.toml:9:media.codecs: names a codec twice; name each once, the preferred one first",
            ],
        ),
        (
            "[media]\nsrtp = \"on\"\nsrtp_suites = [\n\"AES\",\n\"AEAD_AES_128_GCM\",\n\"AEAD_AES_128_GCM\"]\n",
            &[
                "t.toml:6:media.srtp: is not a way to handle SRTP; write off, preferred or required",
                "t.toml:8:media.srtp_suites: is not a suite of SRTP that is built; write one of AES_CM_128_HMAC_SHA1_80, AEAD_AES_256_GCM, \
                 AEAD_AES_128_GCM, AES_256_CM_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_32, AES_256_CM_HMAC_SHA1_32",
                "t.toml:10:media.srtp_suites: names a suite twice; name each once, the preferred one first",
            ],
        ),
        (
            "[media]\nsrtp_suites = [\"AEAD_AES_128_GCM\"]\n",
            &[
                "t.toml:6:media.srtp_suites: has no meaning without SRTP; write srtp = \"preferred\" or \"required\", or remove it",
            ],
        ),
        (
            "[media]\nsrtp = \"required\"\nsrtp_suites = []\n",
            &["t.toml:7:media.srtp_suites: names no suite; name one, or remove the key"],
        ),
        (
            "[transfer]\nsubscription = 1\nreferred_by = \"me\"\ntimeout_ms = 999\nrefuse_refer = 486\nallow = true\n\
             inbound_refer = \"yes\"\ninbound_refer_hosts = [\"h\"]\ninbound_refer_answer_ms = 100\n",
            &[
                "t.toml:6:transfer.subscription: is of type integer, not a truth value; write true or false",
                "t.toml:7:transfer.referred_by: is of type string, not a truth value; write true or false",
                "t.toml:8:transfer.timeout_ms: is out of range; write a whole number from 1000 to 300000",
                "t.toml:9:transfer.refuse_refer: is no way to refuse a REFER; write one of 603, 405, 403, 501",
                "t.toml:10:transfer.allow: is not known; remove it, or choose from: subscription, referred_by, timeout_ms, refuse_refer, trunk, inbound_refer, inbound_refer_hosts, inbound_refer_answer_ms",
                "t.toml:11:transfer.inbound_refer: is nothing that becomes of a REFER; write \"refuse\", \"tell\" or \"follow\"",
                "t.toml:12:transfer.inbound_refer_hosts: has no meaning where every REFER is refused; write inbound_refer = \"tell\" or \"follow\", or remove it",
                "t.toml:13:transfer.inbound_refer_answer_ms: is out of range; write a whole number from 500 to 20000",
            ],
        ),
        (
            "[transfer]\ntrunk = \"agents\"\n",
            &["t.toml:transfer.trunk: \"agents\" is no trunk that is on, and no group; write one of: t"],
        ),
        (
            "[headers]\npass = [\"Authorization\", \"X Order\"]\n",
            &[
                "t.toml:6:headers.pass: holds credentials; remove it",
                "t.toml:6:headers.pass: is not the name of a header; write it as X-Order",
            ],
        ),
        (
            "[[inbound]]\ndialogue = \"brian\"\nspeech = \"eras\"\n",
            &[
                "t.toml:6:inbound.dialogue: \"brian\" is not a configured dialogue; write one of: brain, none",
                "t.toml:7:inbound.speech: \"eras\" is not a configured speech; write one of: ears, none",
            ],
        ),
        (
            "[[inbound]]\ncallee = \"4*\"\n[[inbound]]\ncallee = \"400\"\n[[inbound]]\ncallee = \"5*5\"\n",
            &[
                "t.toml:8:inbound.callee: is never reached: line 6 takes all these calls; move it up, or remove one of the two",
                "t.toml:10:inbound.callee: is not a called number; write \"*\" for all, \"400*\" for a beginning, or the whole number",
            ],
        ),
        (
            "[[inbound]]\nanswer = { refuse = 200 }\n[[inbound]]\ncallee = \"7\"\nanswer = \"later\"\n",
            &[
                "t.toml:6:inbound.answer.refuse: is out of range; write a whole number from 400 to 699",
                "t.toml:8:inbound.callee: is never reached: line 5 takes all these calls; move it up, or remove one of the two",
                "t.toml:9:inbound.answer: is not a way to answer; write \"now\", \"wait\", { after_ms = 3000 } or { refuse = 486 }",
            ],
        ),
        (
            "[[inbound]]\nanswer = { refuse = 486, after_ms = 1 }\n[inbound.headers]\n",
            &[
                "t.toml:6:inbound.answer: has not exactly one of after_ms and refuse; write \"now\", \"wait\", { after_ms = 3000 } or { refuse = 486 }",
                "t.toml:7:inbound.headers: is not known; remove it, or choose from: callee, answer, early_media, dialogue, speech",
            ],
        ),
    ];
    for (more, wanted) in FORMS {
        let wanted: Vec<_> = wanted.iter().map(|w| format!("sip-profiles/{w}")).collect();
        assert_eq!(profile(&format!("{RIGHT}{more}")), wanted, "{more}");
    }
}

#[test]
fn wrong_peers() {
    let is_none = "is not an address or host name with an optional port; \
                   write it as 192.0.2.1:5060, [2001:db8::1]:5060 or sip.example.com";
    for address in ["", "192.0.2.300", "sip:a.example", "a.example:0", "a.example:99999", "a b", "a/b"] {
        let found = profile(&format!("[peer]\naddress = {address:?}\n[identity]\ncaller = \"1\"\n"));
        let wanted = format!("sip-profiles/t.toml:2:peer.address: {is_none}");
        assert_eq!(found, [wanted], "{address}");
    }
    for (network, reason) in [
        ("10.0.0.1/8", "has bits set beyond its prefix; write the network's first address, or a longer prefix"),
        ("10.0.0.0/33", "is not a network; write it as 192.0.2.0/24, 2001:db8::/32 or a single address"),
    ] {
        let found =
            profile(&format!("[peer]\naddress = \"192.0.2.1\"\nsources = [{network:?}]\n[identity]\ncaller = \"1\"\n"));
        assert_eq!(found, [format!("sip-profiles/t.toml:3:peer.sources: {reason}")]);
    }
    let found = profile("[peer]\naddress = \"a.example\"\n[[inbound]]\n");
    assert_eq!(
        found,
        [
            "sip-profiles/t.toml:identity.caller: is missing; write the number that is shown when Dial names none",
            "sip-profiles/t.toml:1:peer.sources: is missing; list the networks from which a.example may call, or remove all [[inbound]]",
        ]
    );
    let v6 = "[peer]\naddress = \"[2001:db8::1]\"\n[identity]\ncaller = \"1\"\n";
    let folder = Folder::new(ENGINE, v6);
    let config = load(&folder.main()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.switchboard.trunks[0].domain, "[2001:db8::1]");
}

#[test]
fn all_mistakes_of_all_files_come_at_once() {
    let folder = Folder::new("[sip]\nlisten = 1\n[knobs]\nendpoint_ms = 1\n", "[peer]\nadress = 1\n");
    fs::write(folder.0.join("sip-profiles/a b.toml"), PROFILE).expect("written");
    fs::write(folder.0.join("sip-profiles/binary.toml"), [0xff]).expect("written");
    let wanted = [
        "m.toml:dialogue: is missing; write a [[dialogue]] with name and endpoint: nobody would answer the caller",
        "m.toml:speech: is missing; write a [[speech]] with name and endpoint: nobody would hear the caller",
        "m.toml:2:sip.listen: is of type integer, not a string; write it in quotation marks",
        "m.toml:4:knobs.endpoint_ms: 1 is out of range; write at least 200",
        "sip-profiles/a b.toml: the file's name is the trunk's, and this is not one; use 1 to 64 letters, digits, '-', '_' and '.' before .toml",
        "sip-profiles/binary.toml: cannot be read: stream did not contain valid UTF-8; save it as UTF-8",
        "sip-profiles/t.toml:identity.caller: is missing; write the number that is shown when Dial names none",
        "sip-profiles/t.toml:1:peer.address: is missing; write address = \"host:port\" of the operator's SIP server",
        "sip-profiles/t.toml:2:peer.adress: is not known; remove it, or choose from: transport, address, sources, ping_s, ping_down_after, ping_up_after, route",
    ];
    assert_eq!(folder.mistakes(), wanted);
}

#[test]
fn a_file_that_is_not_toml_is_judged_for_that_alone() {
    let profile = format!("{PROFILE}x = 1\n[[inbound]]\ndialogue = \"brain\"\n");
    let folder = Folder::new("[sip]\nlisten = 1\nx y\n[knobs]\nendpoint_ms = \n", &profile);
    fs::write(folder.0.join("sip-profiles/u.toml"), "[peer\nadress = 1\n").expect("written");
    let wanted = [
        "m.toml:3: key with no value, expected `=`; correct the TOML",
        "sip-profiles/t.toml:6:identity.x: is not known; remove it, or choose from: domain, caller, display, from, asserted, preferred, remote_party_id, history, privacy, diverted_from, read, called, choice",
        "sip-profiles/u.toml:1: unclosed table, expected `]`; correct the TOML",
    ];
    assert_eq!(folder.mistakes(), wanted);
    let nowhere = load(Path::new("/nowhere/t.toml")).expect_err("not there");
    assert_eq!(
        nowhere.to_string(),
        "/nowhere/t.toml: cannot be read: No such file or directory (os error 2); name the right file"
    );
}

#[test]
fn profiles_have_to_be_there() {
    let folder = Folder::new(ENGINE, PROFILE);
    fs::remove_dir_all(folder.0.join("sip-profiles")).expect("removed");
    assert_eq!(
        folder.mistakes(),
        [
            "m.toml:profiles.folder: sip-profiles cannot be listed: No such file or directory (os error 2); make it and write a profile in it, or name another"
        ]
    );
    fs::create_dir(folder.0.join("sip-profiles")).expect("made");
    assert_eq!(
        folder.mistakes(),
        [
            "m.toml:profiles.folder: sip-profiles has no .toml file, so there is no trunk; write a profile; ip-trunk.toml of the distribution is one to begin with"
        ]
    );
}

#[test]
fn a_password_is_in_no_message() {
    let auths = [
        "user = \"u\"\npassword = \"s3cret\"\npassword_env = \"X\"",
        "password = \"s3cret\"",
        "user = \"u\"\npassword = \"s3cret",
        "user = \"u\"\npassword = s3cret",
        "user = \"u\"\npassword = [\"s3cret\"]",
        "user = \"u\"\npassword = \"\\u0001s3cret\"",
    ];
    for auth in auths {
        let found = profile(&format!("{PROFILE}[auth]\n{auth}\n"));
        assert!(!found.is_empty(), "{auth}");
        assert!(!found.concat().contains("s3cret"), "{auth}: {found:?}");
    }
}

#[test]
fn nothing_in_a_file_makes_it_panic() {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let engine = fs::read(root.join("trunkline.toml")).expect("there");
    let trunk = fs::read(root.join("sip-profiles/ip-trunk.toml")).expect("there");
    let folder = Folder::new("", "");
    let profile = folder.0.join("sip-profiles/t.toml");
    let mut rng = StdRng::seed_from_u64(3);
    let mut refused = 0;
    for _ in 0..300 {
        for (path, text) in [(folder.main(), &engine), (profile.clone(), &trunk)] {
            let mut text = text.clone();
            for _ in 0..rng.random_range(1..20) {
                let at = rng.random_range(0..text.len());
                match rng.random_range(0..3) {
                    0 => text[at] = rng.random_range(b' '..=b'~'),
                    1 => drop(text.drain(at..(at + 40).min(text.len()))),
                    _ => text.insert(at, b"[]{}=\"\n.#'"[rng.random_range(0..10)]),
                }
            }
            fs::write(path, text).expect("written");
        }
        if let Err(problems) = load(&folder.main()) {
            assert!(!problems.0.is_empty(), "a refusal without a reason");
            refused += 1;
        }
    }
    assert!(refused > 200, "the files were hardly damaged: {refused}");
}

#[test]
fn transports_and_certificates_that_cannot_be_used_are_told_where_they_stand() {
    for (main, trunk, mistakes) in [
        ("[sip]\nlisten = []\n", "", &["m.toml:2:sip.listen: names no address; write one, as \"127.0.0.1:5060\""][..]),
        (
            "[sip]\nlisten = [\"127.0.0.1:5060\", \"127.0.0.2:5060\"]\n",
            "",
            &[
                "m.toml:2:sip.listen: names a second IPv4 address; write one of each family; 0.0.0.0 or [::] for all of them, and advertise the one that peers are to use",
            ],
        ),
        (
            "[media]\nbind = [\"127.0.0.1\", \"127.0.0.2\"]\n",
            "",
            &[
                "m.toml:2:media.bind: names a second IPv4 address; write one of each family; 0.0.0.0 or [::] for all of them, and advertise the one that peers are to use",
            ],
        ),
        (
            "[media]\nbind = [\"0.0.0.0\", \"::1\"]\nadvertise = \"2001:db8::1\"\n",
            "",
            &[
                "m.toml:2:media.bind: 0.0.0.0 means all addresses, and peers cannot send to that; add advertise = \"…\" with the address by which peers reach this machine, or bind to one address",
            ],
        ),
        ("[media]\nbind = \"lo\"\n", "", &["m.toml:2:media.bind: is not an IP address; write it as 127.0.0.1 or ::1"]),
        (
            "[media]\nbind = []\n",
            "",
            &["m.toml:2:media.bind: names no address; write one, as \"127.0.0.1\", or leave it out"],
        ),
        (
            "[media]\nadvertise = \"2001:db8::1\"\n",
            "",
            &[
                "m.toml:2:media.advertise: is an IPv6 address, and media.bind names none; add one to media.bind, or remove this one",
            ],
        ),
        (
            "[sip]\nlisten = [\"127.0.0.1:5060\", \"[::1]:5060\"]\nadvertise = [\"192.0.2.1\", \"2001:db8::1\"]\n",
            "",
            &[],
        ),
        (
            "[sip]\nadvertise = \"2001:db8::1\"\n",
            "",
            &[
                "m.toml:2:sip.advertise: is an IPv6 address, and sip.listen names none; add one to sip.listen, or remove this one",
            ],
        ),
        (
            "[sip]\nresolver = \"dns.example.com\"\n",
            "",
            &["m.toml:2:sip.resolver: is not the address of a DNS server; write it as 127.0.0.1 or 127.0.0.1:53"],
        ),
        (
            "[sip]\nlisten = \"127.0.0.1:7070\"\n",
            "",
            &["m.toml:2:sip.listen: is the address of control, 127.0.0.1:7070, too; give one of them another port"],
        ),
        ("[sip]\ntcp = false\nlisten = \"127.0.0.1:7070\"\n", "", &[]),
        (
            "[sip]\ntcp = false\n",
            "transport = \"tcp\"\n",
            &[
                "sip-profiles/t.toml:3:peer.transport: is switched off by sip.tcp; set tcp = true in [sip], or write another transport",
            ],
        ),
        (
            "",
            "transport = \"tls\"\n",
            &[
                "sip-profiles/t.toml:3:peer.transport: needs a certificate of ours; add [sip.tls] to the main file, or write another transport",
            ],
        ),
        (
            "",
            "transport = \"TCP\"\n",
            &["sip-profiles/t.toml:3:peer.transport: is not a transport; write auto, udp, tcp or tls"],
        ),
        (
            "[sip.tls]\ncertificate = \"no.pem\"\nkey = \"no.key\"\nrequire_client = true\n",
            "",
            &[
                "m.toml:2:sip.tls.certificate: no.pem cannot be read as a certificate in PEM form: I/O error: No such file or directory (os error 2); name a PEM file that the user that runs trunkline can read, and that goes with the others",
                "m.toml:4:sip.tls.require_client: asks for certificates, and nobody says whose; add client_ca, or remove it",
            ],
        ),
        (
            "[sip.tls]\n",
            "",
            &[
                "m.toml:1:sip.tls.certificate: is missing; name the PEM file that holds our certificate and its chain",
                "m.toml:1:sip.tls.key: is missing; name the PEM file that holds the certificate's private key",
            ],
        ),
        (
            "",
            "[tls]\nkey = \"k\"\n",
            &[
                "sip-profiles/t.toml:6:tls: has no meaning without a certificate of ours; add [sip.tls] to the main file, or remove it",
                "sip-profiles/t.toml:7:tls.key: stands without certificate; add certificate, or remove it",
            ],
        ),
    ] {
        let trunk = match trunk.starts_with('[') {
            true => format!("{PROFILE}{trunk}"),
            false => PROFILE.replace("address = ", &format!("{trunk}address = ")),
        };
        let found = Folder::new(&format!("{main}{ENGINE}"), &trunk).mistakes();
        assert_eq!(found, mistakes, "{main}{trunk}");
    }
}
