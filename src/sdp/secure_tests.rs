//! SRTP by SDES: every policy, every kind of offer, both roles, and what comes later in a call.

use super::*;

const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
const OTHER: &str = "NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj";

fn terms(required: bool) -> SrtpTerms {
    SrtpTerms { required, suites: Suite::ALL.to_vec() }
}

fn side(port: u16, srtp: Option<bool>) -> Negotiator {
    let local = std::net::SocketAddr::from(([192, 0, 2, 1], port));
    let plain = Negotiator::new(7, local, Capabilities::default());
    srtp.map_or(plain.clone(), |required| plain.with_srtp(&terms(required), KeySeed([port as u8; 32])))
}

/// What they offer or answer: each line one of the stream's.
fn theirs(profile: &str, lines: &[&str]) -> Vec<u8> {
    let head = format!(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 5000 {profile} 8\r\n"
    );
    lines.iter().fold(head, |sdp, line| format!("{sdp}a={line}\r\n")).into_bytes()
}

fn line(tag: u32, suite: &str, key: &str) -> String {
    format!("crypto:{tag} {suite} inline:{key}")
}

fn sha1_80(tag: u32, key: &str) -> String {
    line(tag, "AES_CM_128_HMAC_SHA1_80", key)
}

fn ours(sdp: &[u8]) -> (String, Vec<Crypto>) {
    let media = parse(sdp).expect("we write SDP").media.remove(0);
    let lines = media.attributes.iter().filter(|a| a.name == "crypto").filter_map(|a| a.value.as_deref());
    (media.protocol, lines.map(|line| Crypto::parse(line).expect("a line of ours")).collect())
}

const OFF: Option<bool> = None;
const PREFERRED: Option<bool> = Some(false);
const REQUIRED: Option<bool> = Some(true);

#[test]
fn our_offers() {
    let (profile, lines) = ours(&side(1, OFF).offer(Direction::SendRecv));
    assert_eq!((profile.as_str(), lines.len()), ("RTP/AVP", 0));
    for (policy, expected) in [(PREFERRED, "RTP/AVP"), (REQUIRED, "RTP/SAVP")] {
        let (profile, lines) = ours(&side(1, policy).offer(Direction::SendRecv));
        assert_eq!(profile, expected);
        assert_eq!(lines.iter().map(|line| line.suite).collect::<Vec<_>>(), Suite::ALL, "in our order");
        assert_eq!(lines.iter().map(|line| line.tag).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        let different = lines.iter().all(|a| lines.iter().all(|b| a == b || a.key != b.key));
        assert!(different, "each has its own key");
    }
}

#[test]
fn every_policy_on_every_kind_of_offer() {
    use NegotiationError::{NoCommonSuite, Transport, Unencrypted};
    let good = sha1_80(3, KEY);
    let bad = format!("{} UNENCRYPTED_SRTP", sha1_80(1, KEY));
    let suite = Some(Suite::AesCm128Sha1Tag80);
    let (plain, secure, feedback) = ("RTP/AVP", "RTP/SAVP", "RTP/SAVPF");
    let cases = [
        (plain, vec![], [Ok(None), Ok(None), Err(Unencrypted)]),
        (plain, vec![good.as_str()], [Ok(None), Ok(suite), Err(Unencrypted)]),
        (plain, vec![bad.as_str()], [Ok(None), Ok(None), Err(Unencrypted)]),
        (secure, vec![good.as_str()], [Err(Transport), Ok(suite), Ok(suite)]),
        (secure, vec![bad.as_str(), good.as_str()], [Err(Transport), Ok(suite), Ok(suite)]),
        (feedback, vec![good.as_str()], [Err(Transport), Ok(suite), Ok(suite)]),
        (secure, vec![bad.as_str()], [Err(Transport), Err(NoCommonSuite), Err(NoCommonSuite)]),
        (secure, vec![], [Err(Transport), Err(NoCommonSuite), Err(NoCommonSuite)]),
        ("UDP/TLS/RTP/SAVP", vec![good.as_str()], [Err(Transport); 3]),
    ];
    for (profile, lines, expected) in cases {
        for (policy, expected) in [OFF, PREFERRED, REQUIRED].into_iter().zip(expected) {
            let mut us = side(1, policy);
            let answer = us.answer(&theirs(profile, &lines));
            assert_eq!(
                answer.as_ref().map(|(_, agreed)| agreed.suite).map_err(|e| *e),
                expected,
                "{policy:?} {profile} {lines:?}"
            );
            let Ok((sdp, agreed)) = answer else { continue };
            let (answered, keys) = ours(&sdp);
            assert_eq!(answered, profile, "the profile is mirrored");
            assert_eq!(us.secured().map(|secured| secured.suite), agreed.suite);
            match us.secured() {
                Some(secured) => {
                    assert_eq!((keys.len(), keys[0].tag), (1, 3), "one line, by their tag");
                    assert_eq!(keys[0].key, secured.ours);
                    assert_ne!(secured.ours, secured.theirs, "with a key of our own");
                    assert_eq!(Some(secured.theirs), Crypto::parse(&good[7..]).map(|line| line.key));
                }
                None => assert_eq!(keys, []),
            }
        }
    }
    assert_eq!((Unencrypted.warn_code(), NoCommonSuite.warn_code(), Unencrypted.status()), (302, 306, 488));
}

#[test]
fn every_policy_on_every_kind_of_answer() {
    use NegotiationError::{NoCommonSuite, Transport, Unencrypted};
    let good = sha1_80(1, KEY);
    let suite = Some(Suite::AesCm128Sha1Tag80);
    let gcm = line(2, "AEAD_AES_256_GCM", &"A".repeat(59));
    let cases = [
        ("RTP/AVP", vec![], [Ok(None), Ok(None), Err(Unencrypted)]),
        ("RTP/AVP", vec![good.as_str()], [Ok(None), Ok(suite), Err(Unencrypted)]),
        ("RTP/SAVP", vec![good.as_str()], [Err(Transport), Ok(suite), Ok(suite)]),
        ("RTP/SAVP", vec![gcm.as_str()], [Err(Transport), Ok(Some(Suite::AesGcm256)), Ok(Some(Suite::AesGcm256))]),
        ("RTP/SAVP", vec![], [Err(Transport), Err(NoCommonSuite), Err(NoCommonSuite)]),
    ];
    for (profile, lines, expected) in cases {
        for (policy, expected) in [OFF, PREFERRED, REQUIRED].into_iter().zip(expected) {
            let mut us = side(1, policy);
            us.offer(Direction::SendRecv);
            let agreed = us.accept(&theirs(profile, &lines)).map(|agreed| agreed.suite);
            assert_eq!(agreed, expected, "{policy:?} {profile} {lines:?}");
        }
    }
    // A tag that we did not offer, or another suite's: they mean to encrypt with what we do not know.
    for wrong in [sha1_80(2, KEY), sha1_80(7, KEY), format!("{}|1:1", sha1_80(1, KEY))] {
        for profile in ["RTP/AVP", "RTP/SAVP"] {
            let mut us = side(1, PREFERRED);
            us.offer(Direction::SendRecv);
            assert_eq!(us.accept(&theirs(profile, &[&wrong])), Err(NoCommonSuite), "{wrong}");
            assert_eq!(us.secured(), None);
        }
    }
}

#[test]
fn two_of_us_agree_and_each_has_the_others_key() {
    let policies = [OFF, PREFERRED, REQUIRED];
    for (a, b) in policies.into_iter().flat_map(|a| policies.map(|b| (a, b))) {
        let (mut caller, mut callee) = (side(1, a), side(2, b));
        let answer = callee.answer(&caller.offer(Direction::SendRecv));
        let Ok((answer, agreed)) = answer else {
            assert!(matches!((a, b), (OFF | PREFERRED, REQUIRED) | (REQUIRED, OFF)), "{a:?} {b:?}");
            continue;
        };
        assert_eq!(caller.accept(&answer).expect("it fits").suite, agreed.suite);
        assert_eq!(agreed.suite.is_some(), a.is_some() && b.is_some(), "{a:?} {b:?}");
        let keys = |of: &Negotiator| of.secured().map(|secured| (secured.ours, secured.theirs));
        assert_eq!(keys(&caller), keys(&callee).map(|(ours, theirs)| (theirs, ours)));
    }
}

#[test]
fn of_two_streams_the_encrypted_one_is_taken() {
    let both =
        [theirs("RTP/AVP", &[]), format!("m=audio 6000 RTP/SAVP 8\r\na={}\r\n", sha1_80(1, KEY)).into_bytes()].concat();
    let taken = |policy| side(1, policy).answer(&both).map(|(_, agreed)| agreed.remote.port());
    assert_eq!([OFF, PREFERRED, REQUIRED].map(taken), [Ok(5_000), Ok(6_000), Ok(6_000)]);
}

/// As RFC 4568 §7.1.4: an offer within the call, with keys that are the same or new.
#[test]
fn a_hold_changes_no_key_and_a_new_key_is_answered_by_a_new_one() {
    let mut us = side(1, PREFERRED);
    us.answer(&theirs("RTP/SAVP", &[&sha1_80(1, KEY)])).expect("it fits");
    let first = *us.secured().expect("encrypted");
    // They hold and resume; the tag may be another one.
    for (tag, direction) in [(1, "sendonly"), (4, "sendrecv")] {
        let (sdp, _) = us.answer(&theirs("RTP/SAVP", &[&sha1_80(tag, KEY), direction])).expect("it fits");
        assert_eq!((us.secured(), ours(&sdp).1[0].tag), (Some(&first), tag));
    }
    // We hold and resume.
    for direction in [Direction::SendOnly, Direction::SendRecv] {
        let (profile, lines) = ours(&us.offer(direction));
        assert_eq!((profile.as_str(), lines.len()), ("RTP/SAVP", 6));
        let ours = lines.iter().find(|line| line.suite == first.suite).expect("it is offered again");
        assert_eq!(ours.key, first.ours, "with the key that holds");
        us.accept(&theirs("RTP/SAVP", &[&sha1_80(ours.tag, KEY)])).expect("it fits");
        assert_eq!(us.secured(), Some(&first));
    }
    // An answer with a new key of theirs changes theirs alone.
    us.offer(Direction::SendRecv);
    us.accept(&theirs("RTP/SAVP", &[&sha1_80(1, OTHER)])).expect("it fits");
    let second = *us.secured().expect("encrypted");
    assert!(second.ours == first.ours && second.theirs != first.theirs);
    // An offer with a new key of theirs changes both.
    us.answer(&theirs("RTP/SAVP", &[&sha1_80(1, KEY)])).expect("it fits");
    let third = *us.secured().expect("encrypted");
    assert!(third.ours != second.ours && third.theirs == first.theirs);
    // Another suite, and back: the key that was used is not used again.
    let gcm = line(1, "AEAD_AES_128_GCM", &"A".repeat(38));
    us.answer(&theirs("RTP/SAVP", &[&gcm])).expect("it fits");
    assert_eq!(us.secured().map(|secured| secured.suite), Some(Suite::AesGcm128));
    us.answer(&theirs("RTP/SAVP", &[&sha1_80(1, KEY)])).expect("it fits");
    assert_ne!(us.secured().map(|secured| secured.ours), Some(third.ours));
}

#[test]
fn what_is_encrypted_stays_so() {
    let mut us = side(1, PREFERRED);
    us.offer(Direction::SendRecv);
    us.accept(&theirs("RTP/AVP", &[&sha1_80(1, KEY)])).expect("it fits");
    let first = *us.secured().expect("encrypted");
    assert_eq!(us.answer(&theirs("RTP/AVP", &[])).map(|_| ()), Err(NegotiationError::Unencrypted));
    us.offer(Direction::SendOnly);
    assert_eq!(us.accept(&theirs("RTP/AVP", &[])).map(|_| ()), Err(NegotiationError::Unencrypted));
    us.withdraw();
    assert_eq!(us.secured(), Some(&first));
    // What was taken without may be encrypted later, if they want.
    let mut us = side(1, PREFERRED);
    us.answer(&theirs("RTP/AVP", &[])).expect("it fits");
    assert_eq!(ours(&us.offer(Direction::SendRecv)), ("RTP/AVP".to_owned(), vec![]));
    us.accept(&theirs("RTP/AVP", &[])).expect("it fits");
    let (_, agreed) = us.answer(&theirs("RTP/AVP", &[&sha1_80(1, KEY)])).expect("it fits");
    assert!(agreed.suite.is_some());
}

#[test]
fn an_offer_that_changes_nothing_has_the_same_keys() {
    let mut us = side(1, REQUIRED);
    let first = us.offer(Direction::SendRecv);
    us.accept(&theirs("RTP/SAVP", &[&sha1_80(1, KEY)])).expect("it fits");
    assert_eq!(us.offer_again(), first, "not even the version is new");
    assert_eq!(ours(&us.offer_whole()), ours(&first));
}

#[test]
fn keys_are_not_shown() {
    let mut us = side(1, REQUIRED);
    us.answer(&theirs("RTP/SAVP", &[&sha1_80(1, KEY)])).expect("it fits");
    let shown = format!("{us:?} {:?}", parse(&theirs("RTP/SAVP", &[&sha1_80(1, KEY)])));
    assert!(!shown.contains(KEY) && !shown.contains("inline"), "{shown}");
}
