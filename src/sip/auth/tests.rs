//! The RFCs' own examples, and what registrars do beside them.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::client::Answered;
use super::*;
use crate::ms::epoch;
use crate::sip::message::{HeaderName, Message, Method, Request, Response, parse};

fn credentials(username: &str, password: &str) -> Credentials {
    Credentials::new(username, password)
}

fn get(uri: &str) -> Answered<'_> {
    Answered { method: "GET", uri, body: b"" }
}

/// RFC 7616 §3.9.1, both challenges of its one response.
#[test]
fn mufasa() {
    let value = r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256,
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
        Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5,
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
    let challenges = Challenge::parse_all(value);
    assert_eq!(challenges.len(), 2);
    let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    for (challenge, response) in challenges
        .iter()
        .zip(["753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", "8ca523f5e9506fed4657c9700eebdbec"])
    {
        let out = challenge.answer(&credentials("Mufasa", "Circle of Life"), get("/dir/index.html"), 1, cnonce);
        assert!(out.contains(&format!("response=\"{response}\"")), "{out}");
        assert!(out.contains("nc=00000001") && out.contains("opaque=\"FQhe/"), "{out}");
    }
}

/// RFC 7616 §3.9.2 as corrected by erratum 4897.
#[test]
fn jason_doe() {
    let value = r#"Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256,
        nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS",
        charset=UTF-8, userhash=true"#;
    let challenge = &Challenge::parse_all(value)[0];
    let cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v";
    let out = challenge.answer(&credentials("Jäsøn Doe", "Secret, or not?"), get("/doe.json"), 1, cnonce);
    assert!(out.contains("793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"), "{out}");
    assert!(out.contains("3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"), "{out}");
}

/// RFC 2617 §3.5 without the qop, as many old registrars ask: MD5(HA1:nonce:HA2).
#[test]
fn without_qop() {
    let challenge = &Challenge::parse_all(r#"Digest realm="r", nonce="n""#)[0];
    let out =
        challenge.answer(&credentials("u", "p"), Answered { method: "REGISTER", uri: "sip:r", body: b"" }, 1, "c");
    let a1 = hex(&Md5::digest("u:r:p"));
    let a2 = hex(&Md5::digest("REGISTER:sip:r"));
    let response = hex(&Md5::digest(format!("{a1}:n:{a2}")));
    assert!(out.contains(&format!("response=\"{response}\"")));
    assert!(!out.contains("qop") && !out.contains("cnonce") && !out.contains("algorithm"), "{out}");
}

fn response(challenges: &str) -> Response {
    let text = format!(
        "SIP/2.0 401 No\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
         Call-ID: x\r\nCSeq: 1 REGISTER\r\n{challenges}\r\n"
    );
    match parse(text.as_bytes()).unwrap() {
        Message::Response(response) => response,
        Message::Request(_) => panic!("not a response"),
    }
}

#[test]
fn the_strongest_is_picked_and_the_count_rises() {
    let mut auth = Authenticator::new(Some(credentials("u", "p")));
    let mut rng = StdRng::seed_from_u64(1);
    let asked = response(
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"weak\", algorithm=MD5, qop=\"auth\"\r\n\
         WWW-Authenticate: Basic realm=\"r\"\r\n\
         WWW-Authenticate: Digest realm=\"r\", nonce=\"odd\", algorithm=SHA-3\r\n\
         WWW-Authenticate: Digest realm=\"r\", nonce=\"strong\", algorithm=SHA-256, qop=\"auth,auth-int\"\r\n",
    );
    auth.challenged(&asked, false).unwrap();
    for count in ["nc=00000001", "nc=00000002"] {
        let headers = auth.headers(&Method::Register, "sip:r", &mut rng);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[0].0, HeaderName::Authorization);
        assert!(headers[0].1.contains("nonce=\"strong\"") && headers[0].1.contains(count), "{headers:?}");
    }
    // RFC 3261 §22.1: the same credentials are not tried again…
    assert_eq!(auth.challenged(&asked, true), Err(AuthError::Refused));
}

#[test]
fn a_stale_nonce_is_renewed_once() {
    let mut auth = Authenticator::new(Some(credentials("u", "p")));
    let fresh = response("WWW-Authenticate: Digest realm=\"r\", nonce=\"1\"\r\n");
    let stale = response("WWW-Authenticate: Digest realm=\"r\", nonce=\"2\", stale=TRUE\r\n");
    auth.challenged(&fresh, false).unwrap();
    auth.challenged(&stale, true).unwrap();
    assert_eq!(auth.challenged(&stale, true), Err(AuthError::Refused));
    auth.accepted();
    assert_eq!(auth.challenged(&stale, true), Ok(()));
}

#[test]
fn who_has_taken_the_password_before_wants_a_new_nonce_only_and_that_once() {
    let mut auth = Authenticator::new(Some(credentials("u", "p")));
    let one = response("WWW-Authenticate: Digest realm=\"r\", nonce=\"1\"\r\n");
    let two = response("WWW-Authenticate: Digest realm=\"r\", nonce=\"2\"\r\n");
    auth.challenged(&one, false).unwrap();
    auth.accepted();
    assert_eq!(auth.challenged(&two, true), Ok(()));
    assert_eq!(auth.challenged(&two, true), Err(AuthError::Refused));
}

#[test]
fn what_cannot_be_answered_is_named() {
    let mut auth = Authenticator::new(Some(credentials("u", "p")));
    let odd = response("WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", qop=\"auth-conf\"\r\n");
    assert_eq!(auth.challenged(&odd, false), Err(AuthError::Unsupported));
    let mut none = Authenticator::new(None);
    assert_eq!(none.challenged(&odd, false), Err(AuthError::NoCredentials));
}

/// The one `name="value"` of a header.
fn value(header: &str, name: &str) -> String {
    digests(header)[0].value(name).unwrap_or_else(|| panic!("no {name} in {header}"))
}

#[test]
fn where_only_the_body_will_do_it_is_covered() {
    let mut auth = Authenticator::new(Some(credentials("u", "p")));
    let mut rng = StdRng::seed_from_u64(1);
    auth.challenged(&response("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"\r\n"), false)
        .unwrap();
    let sent = &auth.headers_with(&Method::Invite, "sip:x@y", b"v=0\r\n", &mut rng)[0].1;
    let md5 = |text: String| hex(&Md5::digest(text));
    let (a1, body) = (md5("u:r:p".into()), md5("v=0\r\n".into()));
    let a2 = md5(format!("INVITE:sip:x@y:{body}"));
    let wanted = md5(format!("{a1}:n:00000001:{}:auth-int:{a2}", value(sent, "cnonce")));
    assert_eq!((value(sent, "response"), value(sent, "qop")), (wanted, "auth-int".into()));
}

#[test]
fn the_session_forms_keep_their_first_cnonce() {
    let mut auth = Authenticator::new(Some(credentials("u", "p")));
    let mut rng = StdRng::seed_from_u64(1);
    let asked = response("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess, qop=\"auth\"\r\n");
    auth.challenged(&asked, false).unwrap();
    let [one, two] = [1, 2].map(|_| auth.headers(&Method::Bye, "sip:x@y", &mut rng)[0].1.clone());
    assert_eq!(value(&one, "cnonce"), value(&two, "cnonce"));
    let md5 = |text: String| hex(&Md5::digest(text));
    let cnonce = value(&two, "cnonce");
    let a1 = md5(format!("{}:n:{cnonce}", md5("u:r:p".into())));
    let wanted = md5(format!("{a1}:n:00000002:{cnonce}:auth:{}", md5("BYE:sip:x@y".into())));
    assert_eq!((value(&two, "response"), value(&two, "nc")), (wanted, "00000002".into()));
    assert!(two.contains("algorithm=MD5-sess"), "{two}");
}

#[test]
fn proxy_and_server_may_both_ask() {
    let mut auth = Authenticator::new(Some(credentials("u", "p")));
    let mut rng = StdRng::seed_from_u64(1);
    auth.challenged(&response("Proxy-Authenticate: Digest realm=\"proxy\", nonce=\"a\"\r\n"), false).unwrap();
    auth.challenged(&response("WWW-Authenticate: Digest realm=\"server\", nonce=\"b\"\r\n"), true).unwrap();
    let names = |auth: &mut Authenticator, rng: &mut StdRng| {
        let headers = auth.headers(&Method::Invite, "sip:x@y", rng);
        headers.iter().map(|(name, sent)| (*name, value(sent, "realm"))).collect::<Vec<_>>()
    };
    let both = [(HeaderName::ProxyAuthorization, "proxy".into()), (HeaderName::Authorization, "server".into())];
    assert_eq!(names(&mut auth, &mut rng), both);
    // Both in one answer, from a proxy that asks for the callee too.
    let mut auth = Authenticator::new(Some(credentials("u", "p")));
    let asked = "Proxy-Authenticate: Digest realm=\"proxy\", nonce=\"a\"\r\nWWW-Authenticate: Digest realm=\"server\", nonce=\"b\"\r\n";
    auth.challenged(&response(asked), false).unwrap();
    assert_eq!(auth.headers(&Method::Invite, "sip:x@y", &mut rng).len(), 2);
}

#[test]
fn a_chain_of_realms_has_an_end() {
    let mut auth = Authenticator::new(Some(credentials("u", "p")));
    let asked = |n: u32| response(&format!("Proxy-Authenticate: Digest realm=\"r{n}\", nonce=\"a\"\r\n"));
    for n in 0..4 {
        auth.challenged(&asked(n), n > 0).unwrap();
    }
    assert_eq!(auth.challenged(&asked(4), true), Err(AuthError::Refused));
}

#[test]
fn a_realm_may_have_a_user_of_its_own() {
    let own = RealmCredentials { realm: "gw".into(), username: "guest".into(), password: "other".into() };
    let credentials = Credentials { realms: vec![own], ..credentials("u", "p") };
    let mut auth = Authenticator::new(Some(credentials));
    let mut rng = StdRng::seed_from_u64(1);
    auth.challenged(
        &response("WWW-Authenticate: Digest realm=\"gw\", nonce=\"1\", Digest realm=\"r\", nonce=\"2\"\r\n"),
        false,
    )
    .unwrap();
    let sent = auth.headers(&Method::Invite, "sip:x@y", &mut rng);
    assert_eq!((value(&sent[0].1, "username"), value(&sent[1].1, "username")), ("guest".into(), "u".into()));
    let md5 = |text: &str| hex(&Md5::digest(text));
    let wanted = md5(&format!("{}:1:{}", md5("guest:gw:other"), md5("INVITE:sip:x@y")));
    assert_eq!(value(&sent[0].1, "response"), wanted);
}

#[test]
fn the_next_nonce_is_taken_before_it_is_asked_for() {
    let mut auth = Authenticator::new(Some(credentials("u", "p")));
    let mut rng = StdRng::seed_from_u64(1);
    auth.challenged(&response("WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", qop=\"auth\"\r\n"), false).unwrap();
    auth.headers(&Method::Register, "sip:r", &mut rng);
    auth.accepted_with(&response("Authentication-Info: nextnonce=\"2\", qop=auth, nc=00000001\r\n"));
    let sent = &auth.headers(&Method::Register, "sip:r", &mut rng)[0].1;
    assert_eq!((value(sent, "nonce"), value(sent, "nc")), ("2".into(), "00000001".into()));
    // One that belongs to a proxy is none of the registrar's.
    auth.accepted_with(&response("Proxy-Authentication-Info: nextnonce=\"3\"\r\n"));
    let sent = &auth.headers(&Method::Register, "sip:r", &mut rng)[0].1;
    assert_eq!((value(sent, "nonce"), value(sent, "nc")), ("2".into(), "00000002".into()));
}

/// A caller with an authenticator of its own before a guard: client and server judge each other.
struct Door {
    now: Instant,
    rng: StdRng,
    guard: Guard,
}

impl Door {
    fn new(algorithms: &[Algorithm], integrity: bool) -> Door {
        let mut rng = StdRng::seed_from_u64(7);
        let now = epoch();
        let guard =
            Guard::new(now, "door".into(), credentials("pbx", "secret"), algorithms.to_vec(), integrity, &mut rng);
        Door { now, rng, guard }
    }

    fn invite(&self, authorization: &str, body: &str) -> Request {
        let line = if authorization.is_empty() { String::new() } else { format!("Authorization: {authorization}\r\n") };
        let text = format!(
            "INVITE sip:100@trunkline SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n{line}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        match parse(text.as_bytes()).unwrap() {
            Message::Request(request) => request,
            Message::Response(_) => panic!("not a request"),
        }
    }

    fn check(&mut self, authorization: &str, body: &str) -> Verdict {
        let invite = self.invite(authorization, body);
        self.guard.check(self.now, &invite, &mut self.rng)
    }

    /// Why it is challenged, and the challenges.
    fn challenged(&mut self, authorization: &str) -> (Why, Vec<String>) {
        match self.check(authorization, "") {
            Verdict::Challenged { why, challenges } => (why, challenges),
            Verdict::Passed => panic!("passed"),
        }
    }

    /// A caller who has been challenged.
    fn caller(&mut self, password: &str) -> Authenticator {
        let (why, challenges) = self.challenged("");
        assert_eq!(why, Why::Missing);
        let mut auth = Authenticator::new(Some(credentials("pbx", password)));
        auth.challenged(&refusal(&challenges), false).unwrap();
        auth
    }

    fn answer(&mut self, auth: &mut Authenticator, body: &str) -> String {
        auth.headers_with(&Method::Invite, "sip:100@trunkline", body.as_bytes(), &mut self.rng)[0].1.clone()
    }
}

fn refusal(challenges: &[String]) -> Response {
    response(&challenges.iter().map(|c| format!("WWW-Authenticate: {c}\r\n")).collect::<String>())
}

#[test]
fn who_knows_the_password_passes_by_each_algorithm() {
    for algorithm in [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512Trunc256] {
        let mut door = Door::new(&[algorithm], false);
        let mut auth = door.caller("secret");
        for _ in 0..3 {
            let answer = door.answer(&mut auth, "");
            assert!(answer.contains(algorithm.as_str()), "{answer}");
            assert_eq!(door.check(&answer, ""), Verdict::Passed);
        }
        let mut wrong = door.caller("guess");
        let answer = door.answer(&mut wrong, "");
        let (why, challenges) = door.challenged(&answer);
        assert_eq!(why, Why::Wrong);
        assert!(!challenges[0].contains("stale"), "{challenges:?}");
    }
}

#[test]
fn the_caller_takes_the_strongest_of_what_is_offered() {
    let mut door = Door::new(&[Algorithm::Sha256, Algorithm::Md5], false);
    let (_, challenges) = door.challenged("");
    assert!(challenges[0].contains("algorithm=SHA-256") && challenges[1].contains("algorithm=MD5"), "{challenges:?}");
    let mut auth = door.caller("secret");
    let answer = door.answer(&mut auth, "");
    assert!(answer.contains("algorithm=SHA-256"), "{answer}");
    assert_eq!(door.check(&answer, ""), Verdict::Passed);
}

#[test]
fn a_body_that_was_changed_on_the_way_is_seen() {
    let mut door = Door::new(&[Algorithm::Sha256], true);
    let (_, challenges) = door.challenged("");
    let only_int = challenges[0].replace("auth-int,auth", "auth-int");
    let mut auth = Authenticator::new(Some(credentials("pbx", "secret")));
    auth.challenged(&refusal(&[only_int]), false).unwrap();
    let answer = door.answer(&mut auth, "v=0");
    assert!(matches!(door.check(&answer, "v=1"), Verdict::Challenged { why: Why::Wrong, .. }));
    assert_eq!(door.check(&answer, "v=0"), Verdict::Passed);
}

#[test]
fn an_answer_is_good_once_in_whatever_order() {
    let mut door = Door::new(&[Algorithm::Sha256], false);
    let mut auth = door.caller("secret");
    let answers: Vec<_> = (0..70).map(|_| door.answer(&mut auth, "")).collect();
    for n in [1, 0, 3, 2, 69] {
        assert_eq!(door.check(&answers[n], ""), Verdict::Passed, "{n}");
    }
    for n in [0, 1, 69, 4] {
        let (why, challenges) = door.challenged(&answers[n]);
        // 4 lies so far back that nobody remembers whether it came.
        assert_eq!(why, Why::Replayed, "{n}");
        assert!(challenges[0].contains("stale=true"), "{challenges:?}");
    }
    // The RFC 2069 form has no count: once, and never again.
    let (_, challenges) = door.challenged("");
    let mut old = Authenticator::new(Some(credentials("pbx", "secret")));
    old.challenged(&refusal(&[challenges[0].replace(", qop=\"auth\"", "")]), false).unwrap();
    let answer = door.answer(&mut old, "");
    assert!(!answer.contains("qop"), "{answer}");
    assert_eq!(door.check(&answer, ""), Verdict::Passed);
    assert_eq!(door.challenged(&answer).0, Why::Replayed);
}

#[test]
fn a_nonce_grows_old_and_the_caller_renews_it_by_itself() {
    let mut door = Door::new(&[Algorithm::Md5], false);
    let mut auth = door.caller("secret");
    door.now += Duration::from_secs(299);
    let answer = door.answer(&mut auth, "");
    assert_eq!(door.check(&answer, ""), Verdict::Passed);
    auth.accepted();
    door.now += Duration::from_secs(2);
    let answer = door.answer(&mut auth, "");
    let (why, challenges) = door.challenged(&answer);
    assert_eq!(why, Why::Stale);
    auth.challenged(&refusal(&challenges), true).unwrap();
    let answer = door.answer(&mut auth, "");
    assert_eq!(door.check(&answer, ""), Verdict::Passed);
    // A nonce of another life of ours, or made up: the password was right, so it is only stale.
    let mut other = Door { rng: StdRng::seed_from_u64(8), ..Door::new(&[Algorithm::Md5], false) };
    other.guard =
        Guard::new(other.now, "door".into(), credentials("pbx", "secret"), vec![Algorithm::Md5], false, &mut other.rng);
    assert_eq!(other.challenged(&answer).0, Why::Stale);
}

#[test]
fn an_answer_for_one_number_is_none_for_another() {
    let mut door = Door::new(&[Algorithm::Md5], false);
    let mut auth = door.caller("secret");
    let answer = auth.headers(&Method::Invite, "sip:900@trunkline", &mut door.rng)[0].1.clone();
    assert_eq!(door.challenged(&answer).0, Why::Wrong);
    let answer = door.answer(&mut auth, "").replace("username=\"pbx\"", "username=\"root\"");
    assert_eq!(door.challenged(&answer).0, Why::Wrong);
    let answer = door.answer(&mut auth, "").replace("realm=\"door\"", "realm=\"elsewhere\"");
    assert_eq!(door.challenged(&answer).0, Why::Missing);
}

#[test]
fn what_is_remembered_of_nonces_is_bounded_and_forgetting_lets_nothing_in_again() {
    let mut door = Door::new(&[Algorithm::Md5], false);
    let mut first = String::new();
    for n in 0..4_097 {
        let mut auth = door.caller("secret");
        let answer = door.answer(&mut auth, "");
        assert_eq!(door.check(&answer, ""), Verdict::Passed, "{n}");
        if n == 0 {
            first = answer;
        }
    }
    assert_ne!(door.check(&first, ""), Verdict::Passed);
    let mut auth = door.caller("secret");
    let answer = door.answer(&mut auth, "");
    assert_eq!(door.check(&answer, ""), Verdict::Passed);
}
