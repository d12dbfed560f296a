//! Goodwill in reading, strictness in writing, and no panic on anything.

use proptest::prelude::*;
use rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};

use super::*;

fn request(text: &str) -> Request {
    match parse(text.as_bytes()).unwrap() {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a response"),
    }
}

#[test]
fn goodwill() {
    let bytes = b"OPTIONS sip:a@b SIP/2.0\nv: SIP / 2.0 / UDP [2001:db8::1]:5070;branch=z9hG4bKa, SIP/2.0/UDP h2\n\
        f: \"Zo\xff \\\"x\\\"\" <sip:z@h>;tag=1\nt : <tel:+861380>\ni: x@y\nCSeq: 7\n  OPTIONS\nm: <sip:a@b>,<sip:c@d>\n\
        l: 3\n\nabcdef";
    let Message::Request(request) = parse(bytes).unwrap() else { panic!("a response") };
    request.check().unwrap();
    assert_eq!(request.top_via().unwrap().host, "[2001:db8::1]");
    assert_eq!(request.list(HeaderName::Via).count(), 2);
    assert_eq!(request.from().unwrap().display.unwrap(), "Zo\u{fffd} \"x\"");
    assert_eq!(request.to().unwrap().uri.user(), Some("+861380"));
    assert_eq!(request.cseq().unwrap(), CSeq { number: 7, method: Method::Options });
    assert_eq!(request.list(HeaderName::Contact).count(), 2);
    assert_eq!(request.body(), b"abc");
    let Message::Response(response) = parse(b"SIP/2.0 200\r\n\r\n").unwrap() else { panic!("a request") };
    assert_eq!((response.code(), response.reason().as_ref()), (200, ""));
}

#[test]
fn bounds() {
    let head = "OPTIONS sip:a@b SIP/2.0\r\n";
    let many = |n| format!("{head}{}\r\n", "X: y\r\n".repeat(n));
    assert!(parse(many(MAX_HEADERS).as_bytes()).is_ok());
    assert_eq!(parse(many(MAX_HEADERS + 1).as_bytes()), Err(ParseError::TooManyHeaders));
    assert_eq!(parse(&vec![b'a'; MAX_BYTES + 1]), Err(ParseError::TooLarge));
    assert_eq!(parse(b"\r\n\r\n"), Err(ParseError::Empty));
    assert_eq!(parse(b""), Err(ParseError::Empty));
    assert_eq!(parse(head.as_bytes()), Err(ParseError::Truncated));
    assert_eq!(parse(format!("{head} folded\r\n\r\n").as_bytes()), Err(ParseError::StartLine));
}

#[test]
fn no_line_break_gets_in_by_a_value() {
    let uri = "sip:a@b".parse().unwrap();
    let message = Writer::request(Method::Options, &uri)
        .header(HeaderName::Subject, "x\r\nVia: evil\r\n\r\nbody")
        .named("X-A\r\nB", "y")
        .finish("text/plain\r\nX: y", b"hello");
    let text = String::from_utf8(message.bytes().to_vec()).unwrap();
    assert_eq!(text.lines().count(), 6, "{text}");
    assert_eq!(message.all(HeaderName::Via).count(), 0);
    // A bare carriage return of a careless sender does not come back as a line break either.
    let request = request("OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a@b>;x=\"\rEvil: y\"\r\n\r\n");
    let reply = Writer::reply(&request, "192.0.2.1:1".parse().unwrap(), 200, "OK", None).finish("", b"");
    assert!(!reply.bytes().windows(5).any(|w| w == b"\rEvil"));
}

#[test]
fn replies_carry_what_they_must() {
    let request = request(
        "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bKa, SIP/2.0/UDP p;branch=z9hG4bKb\r\n\
         Via: SIP/2.0/UDP q\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
         Timestamp: 5\r\n\r\n",
    );
    let source = "192.0.2.1:6000".parse().unwrap();
    let trying = Writer::reply(&request, source, 100, "Trying", Some("me")).finish("", b"");
    assert_eq!(trying.to().unwrap().tag(), None);
    assert_eq!(trying.text(HeaderName::Timestamp).unwrap(), "5");
    let ok = Writer::reply(&request, source, 200, "OK", Some("me")).finish("", b"");
    assert_eq!(ok.to().unwrap().tag().unwrap(), "me");
    let vias: Vec<_> = ok.list(HeaderName::Via).collect();
    assert_eq!(vias[0], "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa;received=192.0.2.1;rport=6000");
    assert_eq!(vias[1..], ["SIP/2.0/UDP p;branch=z9hG4bKb", "SIP/2.0/UDP q"]);
    assert_eq!(request.reply_to(source), source);
}

#[test]
fn sdp_is_found_in_a_multipart_body() {
    let body = "--b1\r\nContent-Type: application/ISUP;version=x\r\n\r\n\x01\x02\r\n--b1\r\n\
        content-type: application/sdp\r\n\r\nv=0\r\no=x\r\n\r\n--b1--\r\n";
    let uri: Uri = "sip:a@b".parse().unwrap();
    let sip_i = Writer::request(Method::Invite, &uri).finish("multipart/mixed; boundary=\"b1\"", body.as_bytes());
    assert_eq!(sip_i.session_body(), SessionBody::Sdp(b"v=0\r\no=x\r\n"));
    let alien = Writer::request(Method::Invite, &uri).finish("application/isup", b"x");
    assert_eq!(alien.session_body(), SessionBody::Unsupported);
    let optional = Writer::request(Method::Invite, &uri)
        .header(HeaderName::ContentDisposition, "signal; handling = optional")
        .finish("application/isup", b"x");
    assert_eq!(optional.session_body(), SessionBody::None);
    let empty = Writer::request(Method::Invite, &uri).finish("", b"");
    assert_eq!(empty.session_body(), SessionBody::None);
    for broken in ["", "--b1", "--b1\r\n", "--b1\r\n\r\n--b1--", "--b1--"] {
        let broken = Writer::request(Method::Invite, &uri).finish("multipart/mixed;boundary=b1", broken.as_bytes());
        assert_eq!(broken.session_body().sdp(), None);
    }
}

#[test]
fn reasons_read_and_write() {
    let reason = Reason::parse("Q.850 ;cause=17;text=\"User \\\"busy\\\"\"").unwrap();
    assert_eq!((reason.is_q850(), reason.cause), (true, Some(17)));
    assert_eq!(Reason::parse(&reason.to_string()), Some(reason));
    assert_eq!(Reason::parse("x y;cause=1"), None);
}

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,12}"
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(
        method in token(),
        user in "\\PC{0,12}",
        headers in proptest::collection::vec((token(), "\\PC{0,40}"), 0..20),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let uri = Uri::parse(&format!("sip:x{}@host", escape_user(&user))).unwrap();
        let mut out = Writer::request(Method::parse(&method).unwrap(), &uri);
        for (name, value) in headers.iter().filter(|(name, _)| HeaderName::parse(name.as_bytes()) == HeaderName::Other) {
            out = out.named(name, value);
        }
        let written = Message::Request(out.finish("", &body));
        let read = parse(written.bytes()).unwrap();
        prop_assert_eq!(&read, &written);
        prop_assert_eq!(read.write(), written.bytes());
    }

    #[test]
    fn display_names_round_trip(display in "\\PC{0,30}", tag in token()) {
        let uri: Uri = "sip:a@b;x=y".parse().unwrap();
        let text = format!("{};tag={tag}", NameAddr::new(Some(display.clone()), uri));
        let read = NameAddr::parse(&text).unwrap();
        prop_assert_eq!(read.display.as_deref(), Some(display.as_str()));
        prop_assert_eq!(read.tag().unwrap(), tag);
        prop_assert_eq!(NameAddr::parse(&read.to_string()), Some(read));
    }

    /// Where `rsip` is right, we read the same: it knows neither short header names nor folding, IPv6 nor `tel:`, and of a list of Vias
    /// only the first.
    #[test]
    fn agrees_with_rsip(
        method in prop::sample::select(vec![Method::Invite, Method::Ack, Method::Bye, Method::Cancel, Method::Options]),
        caller in "[a-z0-9]{1,12}", callee in "\\+?[0-9]{1,15}", host in "[a-z]{1,8}\\.example", port in 1u16..,
        branch in token(), tag in token(), call_id in token(), number in 0u32..1 << 31, body in "[ -~\r\n]{0,200}",
    ) {
        let uri: Uri = format!("sip:{callee}@{host}:{port}").parse().unwrap();
        let ours = Writer::request(method.clone(), &uri)
            .header(HeaderName::Via, &format!("SIP/2.0/UDP {host}:{port};branch=z9hG4bK{branch}"))
            .header(HeaderName::MaxForwards, "70")
            .header(HeaderName::From, &format!("<sip:{caller}@{host}>;tag={tag}"))
            .header(HeaderName::To, &format!("<{uri}>"))
            .header(HeaderName::CallId, &call_id)
            .header(HeaderName::CSeq, &format!("{number} {method}"))
            .header(HeaderName::Contact, &format!("<sip:{caller}@{host}:{port}>"))
            .finish("text/plain", body.as_bytes());
        // What we write, it reads …
        let theirs = rsip::Request::try_from(ours.bytes()).unwrap();
        prop_assert_eq!(theirs.method.to_string(), method.to_string());
        prop_assert_eq!(theirs.uri.to_string(), uri.as_str());
        prop_assert_eq!(&theirs.body, body.as_bytes());
        let via = theirs.via_header().unwrap().typed().unwrap();
        let (top, our_from, our_contact) = (ours.top_via().unwrap(), ours.from().unwrap(), ours.contact().unwrap().unwrap());
        let magic = format!("z9hG4bK{branch}");
        prop_assert_eq!(via.branch().map(|branch| branch.value()), Some(magic.as_str()));
        prop_assert_eq!(via.uri.host_with_port.to_string(), format!("{}:{}", top.host, top.port.unwrap()));
        let from = theirs.from_header().unwrap().typed().unwrap();
        prop_assert_eq!(from.uri.to_string(), our_from.uri.as_str());
        prop_assert_eq!(from.tag().map(|it| it.value().to_owned()), our_from.tag().map(|it| it.into_owned()));
        let contact = theirs.contact_header().unwrap().typed().unwrap();
        prop_assert_eq!(contact.uri.to_string(), our_contact.uri.as_str());
        prop_assert_eq!(theirs.call_id_header().unwrap().value(), ours.call_id().unwrap());
        prop_assert_eq!(theirs.cseq_header().unwrap().seq().unwrap(), ours.cseq().unwrap().number);
        // … and what it writes, we read.
        let back = request(&theirs.to_string());
        prop_assert_eq!(back.uri(), ours.uri());
        prop_assert_eq!((back.top_via(), back.from(), back.to()), (ours.top_via(), ours.from(), ours.to()));
        prop_assert_eq!((back.call_id(), back.cseq(), back.contact()), (ours.call_id(), ours.cseq(), ours.contact()));
        prop_assert_eq!(back.body(), ours.body());
    }

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        exercise(&bytes);
    }

    #[test]
    fn no_mutation_panics(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..12)) {
        let mut bytes = SAMPLE.to_vec();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        exercise(&bytes);
    }
}

const SAMPLE: &[u8] = b"INVITE sip:+861@[::1]:5070;lr?x=y SIP/2.0\r\nVia: SIP/2.0/UDP [::1]:5060;branch=z9hG4bKa;rport, \
SIP / 2.0 / TCP h\r\nf: \"A \\\" B\" <sip:a@b>;tag=1\r\nTo: <tel:+1>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContact: <sip:a@b>\r\n\
Record-Route: <sip:p;lr>,<sip:q>\r\nReason: Q.850;cause=1;text=\"x\"\r\nContent-Type: multipart/mixed;boundary=b\r\n\
Content-Length: 44\r\n\r\n--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--";

/// Every way a message from the network is looked at.
fn exercise(bytes: &[u8]) {
    let source = "192.0.2.1:5060".parse().unwrap();
    match parse(bytes) {
        Err(error) => drop(refuse_unreadable(bytes, error, source)),
        Ok(message) => {
            assert_eq!(parse(&message.write()).as_ref(), Ok(&message));
            let _ = (
                message.contact(),
                message.record_routes(),
                message.session_body(),
                message.reasons(),
                message.expires(),
            );
            match &message {
                Message::Request(request) => {
                    let _ =
                        (request.check(), request.uri().target(), request.uri().user_text(), request.reply_to(source));
                    let _ = crate::sip::transaction::Key::of(request);
                    let reply = Writer::reply(request, source, 400, "x", Some("t")).finish("", b"");
                    assert!(parse(reply.bytes()).is_ok());
                }
                Message::Response(response) => drop(response.check()),
            }
        }
    }
}
