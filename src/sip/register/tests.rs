//! A hand-made registrar in virtual time.

use super::*;
use crate::ms::epoch;
use crate::sip::message::{Message, Request, parse};
use crate::sip::transport::Transport;
use rand::SeedableRng;

struct Bench {
    now: Instant,
    registration: Registration,
}

fn account(credentials: Option<Credentials>) -> Account {
    Account {
        registrar: "sip:registrar.example".parse().unwrap(),
        aor: NameAddr::parse("<sip:robot@registrar.example>").unwrap(),
        next_hop: Target::new("192.0.2.9", None),
        spares: Default::default(),
        route: vec!["sip:edge.example;lr".parse().unwrap()],
        credentials,
        expires: 600,
    }
}

fn bench(seed: u64) -> Bench {
    let now = epoch();
    let local = Local {
        contact_user: "robot".into(),
        contact: "192.0.2.1:5060".parse().unwrap(),
        user_agent: "Trunkline".into(),
        ways: Default::default(),
    };
    let credentials = Credentials::new("robot", "secret");
    let rng = StdRng::seed_from_u64(seed);
    Bench { now, registration: Registration::new(now, local, account(Some(credentials)), rng) }
}

/// How it failed.
#[track_caller]
fn failure(event: Event) -> Failure {
    match event {
        Event::Failed { failure, .. } => failure,
        other => panic!("not failed: {other:?}"),
    }
}

impl Bench {
    fn sent(&mut self) -> Request {
        match self.registration.poll() {
            Some(Output::Transmit { payload, .. }) => match parse(&payload).unwrap() {
                Message::Request(request) => {
                    request.check().unwrap();
                    request
                }
                Message::Response(_) => panic!("a response"),
            },
            other => panic!("nothing sent: {other:?}"),
        }
    }

    fn reply(&mut self, request: &Request, code: u16, headers: &[(&str, &str)]) {
        let mut out = Writer::reply(request, "192.0.2.77:4000".parse().unwrap(), code, "x", Some("r"));
        for (name, value) in headers {
            out = out.named(name, value);
        }
        let response = out.finish("", b"");
        self.registration.handle(self.now, Input::Message(response));
    }

    fn event(&mut self) -> Event {
        match self.registration.poll() {
            Some(Output::Event(event)) => event,
            other => panic!("no event: {other:?}"),
        }
    }

    /// Goes to the next REGISTER, whatever timers lie on the way, and says how long that took.
    fn until_sent(&mut self) -> (Duration, Request) {
        let from = self.now;
        loop {
            self.now = self.registration.deadline().expect("nothing scheduled");
            self.registration.handle(self.now, Input::Timer);
            if let Some(Output::Transmit { payload, .. }) = self.registration.out.front() {
                assert!(!payload.is_empty());
                return (self.now - from, self.sent());
            }
        }
    }
}

#[test]
fn registers_with_digest_refreshes_and_unregisters() {
    let mut b = bench(1);
    let first = b.sent();
    assert_eq!(first.text(HeaderName::Expires).unwrap(), "600");
    b.reply(&first, 401, &[("WWW-Authenticate", "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256")]);
    let second = b.sent();
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    assert_eq!(second.call_id(), first.call_id());
    assert!(second.text(HeaderName::Authorization).unwrap().contains("nc=00000001"));
    let contact = "<sip:other@192.0.2.5>;expires=9999, <sip:robot@192.0.2.1:5060>;expires=120";
    b.reply(&second, 200, &[("Contact", contact), ("Expires", "300")]);
    let seen_as = Some("192.0.2.77:4000".parse().unwrap());
    assert_eq!(b.event(), Event::Registered { expires: 120, seen_as, service_route: Vec::new() });
    let (waited, third) = b.until_sent();
    assert!((96..=108).contains(&waited.as_secs()), "{waited:?}");
    assert!(third.text(HeaderName::Authorization).unwrap().contains("nc=00000002"));
    b.reply(&third, 200, &[("Expires", "120")]);
    b.event();
    b.registration.handle(b.now, Input::Unregister);
    let last = b.sent();
    assert_eq!(last.text(HeaderName::Expires).unwrap(), "0");
    b.reply(&last, 200, &[]);
    assert_eq!(b.event(), Event::Unregistered);
    while let Some(at) = b.registration.deadline() {
        b.registration.handle(at, Input::Timer);
    }
    assert!(b.registration.is_over());
}

#[test]
fn wrong_password_is_not_tried_twice_in_a_row() {
    let mut b = bench(2);
    let challenge = [("WWW-Authenticate", "Digest realm=\"r\", nonce=\"n\"")];
    let first = b.sent();
    b.reply(&first, 401, &challenge);
    let second = b.sent();
    b.reply(&second, 401, &challenge);
    let Event::Failed { failure: Failure::Refused { code, .. }, retry_in } = b.event() else { panic!("not failed") };
    assert_eq!(code, 401);
    assert!(retry_in >= Duration::from_secs(1));
    assert_eq!(b.registration.poll(), None);
}

#[test]
fn too_brief_is_asked_again_longer() {
    let mut b = bench(3);
    let first = b.sent();
    b.reply(&first, 423, &[("Min-Expires", "1800")]);
    let second = b.sent();
    assert_eq!(second.text(HeaderName::Expires).unwrap(), "1800");
    b.reply(&second, 423, &[("Min-Expires", "1800")]);
    assert!(matches!(failure(b.event()), Failure::Refused { code: 423, .. }));
}

#[test]
fn back_off_grows_is_bounded_and_jittered() {
    let mut b = bench(4);
    let mut request = b.sent();
    let mut waits = Vec::new();
    for _ in 0..14 {
        b.reply(&request, 500, &[]);
        let Event::Failed { retry_in, .. } = b.event() else { panic!("not failed") };
        waits.push(retry_in);
        let (waited, next) = b.until_sent();
        assert_eq!(waited, retry_in);
        request = next;
    }
    assert!(waits[0] >= Duration::from_secs(1) && waits[0] <= Duration::from_secs(2));
    assert!(waits[5] > waits[1]);
    assert!(waits.iter().all(|w| *w <= BACK_OFF_LAST));
    assert!(waits[9..].windows(2).any(|w| w[0] != w[1]), "no jitter: {waits:?}");
    b.reply(&request, 503, &[("Retry-After", "1000 (maintenance)")]);
    assert!(matches!(b.event(), Event::Failed { retry_in, .. } if retry_in == Duration::from_secs(1000)));
}

#[test]
fn silence_is_a_timeout_and_an_unreachable_registrar_fails_at_once() {
    let mut b = bench(5);
    let began = b.now;
    let mut copies = 0;
    let failed = loop {
        match b.registration.poll() {
            Some(Output::Transmit { .. }) => copies += 1,
            Some(Output::Event(event)) => break event,
            None => {
                b.now = b.registration.deadline().unwrap();
                b.registration.handle(b.now, Input::Timer);
            }
        }
    };
    assert_eq!(failure(failed), Failure::Silent { to: Target::new("192.0.2.9", None) });
    assert_eq!((b.now - began).as_secs(), 32);
    // 0, 0.5, 1.5, 3.5, then every 4 s to 31.5: eleven copies.
    assert_eq!(copies, 11);
    b.registration.handle(b.now, Input::Refresh);
    b.sent();
    b.registration.handle(b.now, Input::TransportError { to: Target::new("192.0.2.9", None), why: "refused".into() });
    assert!(matches!(failure(b.event()), Failure::Unsent { why, .. } if why == "refused"));
}

#[test]
fn a_failure_says_in_words_what_happened() {
    let to = || Target::Addr("192.0.2.9:5060".parse().unwrap());
    for (failure, told) in [
        (Failure::Refused { code: 403, reason: "Forbidden".into() }, "403 Forbidden"),
        (Failure::Silent { to: to() }, "192.0.2.9:5060: no answer"),
        (
            Failure::Unsent { to: to(), why: "connection refused".into() },
            "192.0.2.9:5060: it could not be sent: connection refused",
        ),
    ] {
        assert_eq!(failure.to_string(), told);
    }
}

#[test]
fn a_registrar_of_several_addresses_is_tried_at_each_before_it_has_failed() {
    let hop = |at: &str| Hop { transport: Transport::Udp, address: at.parse().unwrap() };
    let mut b = bench(1);
    b.sent();
    let hops = vec![hop("192.0.2.21:5060"), hop("192.0.2.22:5060"), hop("192.0.2.23:5060")];
    // The attempt that is under way keeps its address.
    b.registration.handle(b.now, Input::Located(hops.clone()));
    b.registration.handle(b.now, Input::TransportError { to: Target::new("192.0.2.9", None), why: "refused".into() });
    assert!(matches!(failure(b.event()), Failure::Unsent { why, .. } if why == "refused"));
    b.registration.handle(b.now, Input::Located(hops));
    let due = b.registration.deadline().unwrap();
    b.now = due;
    b.registration.handle(b.now, Input::Timer);
    let sent = |b: &mut Bench| match b.registration.poll() {
        Some(Output::Transmit { to, payload }) => match parse(&payload) {
            Ok(Message::Request(request)) => (to.to_string(), request),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let (to, first) = sent(&mut b);
    assert_eq!(to, "192.0.2.21:5060");
    b.reply(&first, 503, &[]);
    let (to, second) = sent(&mut b);
    assert_eq!(to, "192.0.2.22:5060");
    assert_ne!(first.top_via().unwrap().branch(), second.top_via().unwrap().branch());
    b.registration.handle(b.now, Input::TransportError { to: Target::new("192.0.2.22", None), why: "refused".into() });
    let (to, third) = sent(&mut b);
    assert_eq!(to, "192.0.2.23:5060");
    b.reply(&third, 503, &[]);
    assert!(matches!(failure(b.event()), Failure::Refused { code: 503, .. }));
}

/// The answer to a first REGISTER, and for how long it counts.
fn granted(headers: &[(&str, &str)]) -> u32 {
    let mut b = bench(6);
    let first = b.sent();
    b.reply(&first, 200, headers);
    match b.event() {
        Event::Registered { expires, .. } => expires,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_time_is_our_contacts_then_the_shortest_of_all_then_the_responses_then_ours() {
    let ours = "<sip:robot@192.0.2.1:5060>";
    for (contacts, expires, wanted) in [
        (vec![format!("{ours};expires=90")], Some("300"), 90),
        (vec!["<sip:other@192.0.2.5>;expires=9".into(), format!("{ours};expires=90")], None, 90),
        (vec![ours.into()], Some("300"), 300),
        (vec!["<sip:robot@10.0.0.1:1024>;expires=80, <sip:x@10.0.0.2>;expires=70".into()], Some("300"), 70),
        (vec![ours.into()], None, 600),
        (vec![], Some("45"), 45),
        (vec![format!("{ours};expires=1")], None, EXPIRES_LEAST),
    ] {
        let mut headers: Vec<_> = contacts.iter().map(|contact| ("Contact", contact.as_str())).collect();
        headers.extend(expires.map(|expires| ("Expires", expires)));
        assert_eq!(granted(&headers), wanted, "{contacts:?} {expires:?}");
    }
}

#[test]
fn proxies_on_the_way_are_named_and_those_for_calls_are_told() {
    let mut b = bench(7);
    let first = b.sent();
    assert_eq!(first.text(HeaderName::Route).unwrap(), "<sip:edge.example;lr>");
    assert!(first.list(HeaderName::Supported).any(|tag| tag == "path"));
    let answer = [("Path", "<sip:edge.example;lr>"), ("Service-Route", "<sip:home1.example;lr>, <sip:strict.example>")];
    b.reply(&first, 200, &[answer[0], answer[1], ("Service-Route", "<sip:home2.example;lr>")]);
    let Event::Registered { service_route, .. } = b.event() else { panic!("not registered") };
    let names: Vec<_> = service_route.iter().map(Uri::as_str).collect();
    assert_eq!(names, ["sip:home1.example;lr", "sip:home2.example;lr"]);
}

#[test]
fn a_redirection_is_followed_and_a_circle_of_them_is_not() {
    let mut b = bench(8);
    let mut request = b.sent();
    for _ in 0..3 {
        b.reply(&request, 302, &[("Contact", "<mailto:x@y>, <sip:robot@192.0.2.44:5070>;expires=60")]);
        match b.registration.poll() {
            Some(Output::Transmit { to, payload }) => {
                assert_eq!(to, Target::Addr("192.0.2.44:5070".parse().unwrap()));
                let Message::Request(next) = parse(&payload).unwrap() else { panic!("a response") };
                assert_eq!(next.uri().as_str(), "sip:192.0.2.44:5070");
                assert_eq!(next.text(HeaderName::Route), None);
                assert_eq!(next.to().unwrap().uri.as_str(), "sip:robot@registrar.example");
                request = next;
            }
            other => panic!("nothing sent: {other:?}"),
        }
    }
    b.reply(&request, 302, &[("Contact", "<sip:192.0.2.44:5070>")]);
    assert!(matches!(failure(b.event()), Failure::Refused { code: 302, .. }));
    let (_, again) = b.until_sent();
    assert_eq!(again.uri().as_str(), "sip:registrar.example", "after a failure it begins where it began");
}

#[test]
fn where_a_redirection_leads_it_stays_until_that_fails() {
    let mut b = bench(9);
    let first = b.sent();
    b.reply(&first, 301, &[("Contact", "<sip:192.0.2.44>")]);
    let second = b.sent();
    b.reply(&second, 200, &[]);
    b.event();
    let (_, refresh) = b.until_sent();
    assert_eq!(refresh.uri().as_str(), "sip:192.0.2.44");
    b.registration.handle(b.now, Input::TransportError { to: Target::new("192.0.2.44", None), why: "refused".into() });
    assert!(matches!(failure(b.event()), Failure::Unsent { why, .. } if why == "refused"));
    let (_, again) = b.until_sent();
    assert_eq!(again.uri().as_str(), "sip:registrar.example");
}

#[test]
fn a_refresh_uses_the_nonce_that_was_given_before() {
    let mut b = bench(10);
    let first = b.sent();
    b.reply(&first, 401, &[("WWW-Authenticate", "Digest realm=\"r\", nonce=\"one\", qop=\"auth\"")]);
    let second = b.sent();
    b.reply(&second, 200, &[("Authentication-Info", "nextnonce=\"two\"")]);
    b.event();
    let (_, refresh) = b.until_sent();
    let sent = refresh.text(HeaderName::Authorization).unwrap();
    assert!(sent.contains("nonce=\"two\"") && sent.contains("nc=00000001"), "{sent}");
}
