//! The callee against a hand-made caller.

use super::*;
use crate::ms::epoch;

pub(super) fn invite_with(headers: &[(&str, &str)], content_type: &str, body: &[u8]) -> Request {
    let mut out = Writer::request(Method::Invite, &"sip:4001@192.0.2.1".parse().unwrap())
        .header(HeaderName::Via, "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKinvite")
        .header(HeaderName::RecordRoute, "<sip:192.0.2.8;lr>")
        .header(HeaderName::MaxForwards, "70")
        .header(HeaderName::From, "<sip:them@192.0.2.2>;tag=c1")
        .header(HeaderName::To, "<sip:4001@192.0.2.1>")
        .header(HeaderName::CallId, "call")
        .header(HeaderName::CSeq, "100 INVITE")
        .header(HeaderName::Contact, "<sip:them@192.0.2.2:5062>");
    for (name, value) in headers {
        out = out.named(name, value);
    }
    out.finish(content_type, body)
}

impl Bench {
    pub(super) fn callee_of(invite: Request) -> Bench {
        let now = epoch();
        let rng = StdRng::seed_from_u64(2);
        let session = Session::incoming(now, local(OURS), Terms::default(), invite, addr(THEIRS), rng).unwrap();
        let mut bench = Bench::of(now, session);
        bench.response(100);
        bench
    }

    pub(super) fn callee() -> Bench {
        Bench::callee_of(invite_with(&[], "application/sdp", OFFER))
    }

    /// A call we have answered, not yet acknowledged; our tag.
    pub(super) fn picked_up() -> (Bench, String) {
        let mut b = Bench::callee();
        b.input(Input::Answer { headers: none(), sdp: ANSWER.to_vec() });
        let ok = b.response(200);
        (b, ok.to().unwrap().tag().unwrap().into_owned())
    }

    pub(super) fn hear_caller(&mut self, method: Method, tag: &str, cseq: u32, body: &[u8]) {
        let branch = if method == Method::Cancel { "invite".to_owned() } else { format!("{method}{cseq}") };
        let to = if tag.is_empty() { "<sip:4001@192.0.2.1>".into() } else { format!("<sip:4001@192.0.2.1>;tag={tag}") };
        self.get(within(method, "<sip:them@192.0.2.2>;tag=c1", &to, "call", cseq, &branch, body));
    }

    /// The ACK to a refusal, which is part of the INVITE's transaction.
    pub(super) fn ack_refusal(&mut self, tag: &str) {
        let to = format!("<sip:4001@192.0.2.1>;tag={tag}");
        self.get(within(Method::Ack, "<sip:them@192.0.2.2>;tag=c1", &to, "call", 100, "invite", b""));
    }
}

#[test]
fn rings_answers_and_is_confirmed() {
    let mut b = Bench::callee();
    assert_eq!(b.session.offer(), Some(OFFER));
    assert_eq!(b.session.invite().uri().user(), Some("4001"));
    assert!(!b.session.is_outgoing());
    b.input(Input::Ring { headers: none(), sdp: None });
    let ringing = b.response(180);
    assert_eq!(ringing.text(HeaderName::RecordRoute).unwrap(), "<sip:192.0.2.8;lr>");
    assert_eq!(ringing.contact().unwrap().unwrap().uri.as_str(), "sip:robot@192.0.2.1:5060");
    b.get(Message::Request(b.session.invite().clone()));
    b.response(180);
    b.input(Input::Ring { headers: none(), sdp: Some(ANSWER.to_vec()) });
    assert_eq!(b.response(183).session_body().sdp(), Some(ANSWER));
    b.wait(Duration::from_secs(61));
    b.response(183);
    let extra = ExtraHeaders::try_from(vec![("X-Robot".to_owned(), "1".to_owned())]).unwrap();
    b.input(Input::Answer { headers: extra, sdp: ANSWER.to_vec() });
    let ok = b.response(200);
    assert_eq!(ok.named("X-Robot").unwrap(), "1");
    assert_eq!(ok.to().unwrap().tag(), ringing.to().unwrap().tag());
    let tag = ok.to().unwrap().tag().unwrap().into_owned();
    b.wait(Duration::from_millis(1_600));
    b.response(200);
    b.response(200);
    b.hear_caller(Method::Ack, &tag, 100, b"");
    assert_eq!(b.event(), Event::Confirmed { sdp: None });
    b.hear_caller(Method::Ack, &tag, 100, b"");
    b.wait(Duration::from_secs(100));
    b.quiet();
    b.input(Input::Bye { headers: none(), reason: Some(Reason::q850(16, "Normal")) });
    assert_eq!(b.event(), Event::Ended { by_peer: false, reasons: vec![] });
    assert_eq!(b.sent[0].0, Target::Addr(addr("192.0.2.8:5060")));
    let bye = b.request(Method::Bye);
    assert_eq!(bye.uri().as_str(), "sip:them@192.0.2.2:5062");
    assert_eq!(bye.from().unwrap().tag().unwrap(), tag);
    assert_eq!(bye.text(HeaderName::Reason).unwrap(), "Q.850;cause=16;text=\"Normal\"");
    b.get(respond(&bye, 200, "c1", &[], b""));
    b.linger();
}

#[test]
fn the_200_is_repeated_until_we_give_up() {
    let (mut b, _) = Bench::picked_up();
    let mut times = Vec::new();
    let start = b.now;
    while b.events.is_empty() {
        b.now = b.session.deadline().unwrap();
        b.input(Input::Timer);
        if matches!(b.sent.front(), Some((_, Message::Response(_)))) {
            b.response(200);
            times.push((b.now - start).as_millis());
        }
    }
    assert_eq!(times, [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert_eq!((b.now - start).as_secs(), 32);
    assert_eq!(b.event(), Event::Failed(Failure::NoAck));
    b.request(Method::Bye);
    b.linger();
}

#[test]
fn our_bye_waits_for_the_ack() {
    let (mut b, tag) = Bench::picked_up();
    b.input(Input::Cancel);
    assert_eq!(b.event(), Event::Ended { by_peer: false, reasons: vec![] });
    b.quiet();
    b.wait(Duration::from_millis(500));
    b.response(200);
    b.hear_caller(Method::Ack, &tag, 100, b"");
    let bye = b.request(Method::Bye);
    b.get(respond(&bye, 200, "c1", &[], b""));
    b.quiet();
    b.linger();
    // And without one it goes out in the end.
    let (mut b, _) = Bench::picked_up();
    b.input(Input::Cancel);
    b.event();
    b.wait(Duration::from_secs(33));
    let byes = b.sent.iter().filter(|(_, m)| matches!(m, Message::Request(r) if *r.method() == Method::Bye)).count();
    assert!(byes >= 1);
    b.linger();
}

#[test]
fn cancel_before_and_after_the_answer() {
    let mut b = Bench::callee();
    b.input(Input::Ring { headers: none(), sdp: None });
    let tag = b.response(180).to().unwrap().tag().unwrap().into_owned();
    b.hear_caller(Method::Cancel, "", 100, b"");
    assert_eq!(b.event(), Event::Cancelled { by_peer: true, reasons: vec![] });
    // The order on the wire is free; both must be there.
    let mut codes: Vec<_> =
        b.sent.drain(..).map(|(_, m)| if let Message::Response(r) = m { r.code() } else { 0 }).collect();
    codes.sort_unstable();
    assert_eq!(codes, [200, 487]);
    b.hear_caller(Method::Cancel, "", 100, b"");
    b.response(200);
    b.wait(Duration::from_millis(500));
    b.response(487);
    b.ack_refusal(&tag);
    b.wait(Duration::from_secs(4));
    b.quiet();
    b.input(Input::Answer { headers: none(), sdp: ANSWER.to_vec() });
    b.quiet();
    b.linger();

    let (mut b, tag) = Bench::picked_up();
    b.hear_caller(Method::Cancel, "", 100, b"");
    b.response(200);
    b.quiet();
    b.hear_caller(Method::Ack, &tag, 100, b"");
    assert_eq!(b.event(), Event::Confirmed { sdp: None });
}

#[test]
fn bye_while_early_and_before_the_ack() {
    let mut b = Bench::callee();
    b.input(Input::Ring { headers: none(), sdp: None });
    let tag = b.response(180).to().unwrap().tag().unwrap().into_owned();
    b.hear_caller(Method::Bye, &tag, 101, b"");
    assert_eq!(b.event(), Event::Cancelled { by_peer: true, reasons: vec![] });
    let mut codes: Vec<_> =
        b.sent.drain(..).map(|(_, m)| if let Message::Response(r) = m { r.code() } else { 0 }).collect();
    codes.sort_unstable();
    assert_eq!(codes, [200, 487]);
    b.linger();

    let (mut b, tag) = Bench::picked_up();
    b.hear_caller(Method::Bye, &tag, 101, b"");
    b.response(200);
    assert_eq!(b.event(), Event::Ended { by_peer: true, reasons: vec![] });
    b.wait(Duration::from_secs(20));
    b.quiet();
    b.linger();
}

#[test]
fn we_refuse() {
    let mut b = Bench::callee();
    let why = ExtraHeaders::try_from(vec![("Retry-After".to_owned(), "9".to_owned())]).unwrap();
    b.input(Input::Reject { code: 486, reason: Some("In Talks".into()), headers: why });
    let busy = b.response(486);
    assert_eq!((busy.reason().as_ref(), busy.seconds(HeaderName::RetryAfter)), ("In Talks", Some(9)));
    assert_eq!(b.event(), Event::Cancelled { by_peer: false, reasons: vec![] });
    let tag = busy.to().unwrap().tag().unwrap().into_owned();
    b.get(Message::Request(b.session.invite().clone()));
    b.response(486);
    b.ack_refusal(&tag);
    b.wait(Duration::from_secs(6));
    b.quiet();
    assert!(b.session.is_over());
    // Hanging up before the answer is a refusal too.
    let mut b = Bench::callee();
    b.input(Input::Bye { headers: none(), reason: Some(Reason::q850(31, "x")) });
    assert_eq!(b.response(480).reasons()[0].cause, Some(31));
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut b = Bench::callee_of(invite_with(&[], "", b""));
    assert_eq!(b.session.offer(), None);
    b.input(Input::Answer { headers: none(), sdp: OFFER.to_vec() });
    let tag = b.response(200).to().unwrap().tag().unwrap().into_owned();
    // Our offer is pending: §14.2.
    b.hear_caller(Method::Update, &tag, 101, ANSWER);
    b.response(491);
    b.hear_caller(Method::Ack, &tag, 100, ANSWER);
    assert_eq!(b.event(), Event::Confirmed { sdp: Some(ANSWER.to_vec()) });
}

#[test]
fn an_update_while_ringing_waits_its_turn() {
    let mut b = Bench::callee();
    b.input(Input::Ring { headers: none(), sdp: None });
    let tag = b.response(180).to().unwrap().tag().unwrap().into_owned();
    b.hear_caller(Method::Update, &tag, 101, OFFER);
    assert!(b.response(500).seconds(HeaderName::RetryAfter).is_some());
    b.hear_caller(Method::Info, "stranger", 102, b"");
    b.response(481);
    b.hear_caller(Method::Prack, &tag, 103, b"");
    assert_eq!(b.response(400).reason(), "Missing RAck");
    b.quiet();
}

/// RFC 6086 §4.2.2; an INFO without a package is of before there were any.
#[test]
fn an_info_of_a_package_that_we_do_not_take_is_refused_but_a_key_is_a_key() {
    let (mut b, tag) = Bench::picked_up();
    b.hear_caller(Method::Ack, &tag, 100, b"");
    b.events.clear();
    let to = format!("<sip:4001@192.0.2.1>;tag={tag}");
    let mut info = |cseq: u32, package: &str, kind: &str| {
        let info =
            within(Method::Info, "<sip:them@192.0.2.2>;tag=c1", &to, "call", cseq, &format!("i{cseq}"), b"Signal=5");
        let text = String::from_utf8(info.bytes().to_vec()).unwrap().replace("application/sdp", kind);
        b.get(with(parse(text.as_bytes()).unwrap(), &[("Info-Package", package)]));
        let Some((_, answer)) = b.sent.pop_front() else { panic!("no answer") };
        let Message::Response(answer) = answer else { panic!("{answer:?}") };
        (
            answer.code(),
            answer.text(HeaderName::RecvInfo).map(|packages| packages.into_owned()),
            b.events.drain(..).count(),
        )
    };
    assert_eq!(info(101, "telemetry", "application/telemetry"), (469, Some(String::new()), 0));
    assert_eq!(info(102, "dtmf", "application/dtmf-relay"), (200, None, 1));
}

#[test]
fn a_merged_request_is_a_loop() {
    let mut b = Bench::callee();
    let text = String::from_utf8(b.session.invite().bytes().to_vec()).unwrap();
    b.get(parse(text.replace("z9hG4bKinvite", "z9hG4bKother").as_bytes()).unwrap());
    b.response(100);
    b.response(482);
    b.quiet();
}

#[test]
fn what_is_not_taken_is_refused_by_name() {
    let refused = |invite: Request| {
        let now = epoch();
        let reply =
            Session::incoming(now, local(OURS), Terms::default(), invite, addr(THEIRS), StdRng::seed_from_u64(3))
                .unwrap_err();
        let reply = reply.expect("an answer");
        assert_eq!(reply.to, addr(THEIRS));
        let Ok(Message::Response(response)) = parse(&reply.payload) else { panic!("not a response") };
        response.check().unwrap();
        assert!(response.to().unwrap().tag().is_some());
        response
    };
    let edited = |from: &str, to: &str| {
        let text = String::from_utf8(invite_with(&[], "application/sdp", OFFER).bytes().to_vec()).unwrap();
        assert!(text.contains(from));
        match parse(text.replace(from, to).as_bytes()).unwrap() {
            Message::Request(request) => request,
            Message::Response(_) => panic!("a response"),
        }
    };
    let bad = refused(invite_with(&[("Require", "100rel, precondition")], "application/sdp", OFFER));
    assert_eq!((bad.code(), bad.text(HeaderName::Unsupported).unwrap().as_ref()), (420, "precondition"));
    let media = refused(invite_with(&[], "application/isup", b"x"));
    assert_eq!(media.code(), 415);
    assert!(media.text(HeaderName::Accept).unwrap().contains("application/sdp"));
    let zipped = refused(invite_with(&[("Content-Encoding", "gzip")], "application/sdp", OFFER));
    assert_eq!((zipped.code(), zipped.text(HeaderName::AcceptEncoding).unwrap().as_ref()), (415, "identity"));
    assert_eq!(refused(edited("INVITE sip:4001@192.0.2.1", "INVITE isbn:1")).code(), 416);
    assert_eq!(refused(edited("To: <sip:4001@192.0.2.1>", "To: <sip:4001@192.0.2.1>;tag=old")).code(), 481);
    assert_eq!(refused(edited("SIP/2.0\r\n", "SIP/3.0\r\n")).code(), 505);
    let missing = refused(edited("Contact: ", "X-Contact: "));
    assert_eq!((missing.code(), missing.reason().as_ref()), (400, "Missing Contact"));
    assert_eq!(refused(edited("Record-Route: <", "Record-Route: x<>")).reason(), "Malformed Record-Route");
    // The same request gets the same tag, since nothing is remembered.
    let twice =
        [0, 1].map(|_| refused(invite_with(&[("Require", "x")], "", b"")).to().unwrap().tag().unwrap().into_owned());
    assert_eq!(twice[0], twice[1]);
}
