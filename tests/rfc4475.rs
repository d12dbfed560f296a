//! The torture messages of RFC 4475: each one is read as it should be, or refused by the fault named here.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;
use trunkline::sip::message::{
    HeaderName, Message, Method, ParseError, Response, SessionBody, parse, refuse_unreadable,
};
use trunkline::sip::session::{Session, Terms};
use trunkline::sip::{ACCEPT, Local, Reply, stateless};

/// What becomes of a message.
#[derive(Debug, PartialEq)]
enum Fate {
    /// Well formed, and whole enough to act on.
    Fine,
    /// Read, and answered (or, of a response, dropped) with this.
    Fault(u16, &'static str),
    /// Not read.
    Unread(ParseError),
}
use Fate::*;

/// File; fate; what a user agent that has no call for it answers, to the reason phrase; `None`: nothing, for it is a response, or has
/// no Via that says where to. A `_V` that is refused is well formed all the same: what refuses it is its meaning. Answers follow
/// RFC 4475, case by case; an INVITE that is in order would start a call and is answered 503 here. There is no 483: who is the end of a
/// request's way does not look at its Max-Forwards.
const TABLE: &[(&str, Fate, Option<&str>)] = &[
    ("TC_BADASPEC_I", Fault(400, "Malformed To"), Some("400 Malformed To")),
    ("TC_BADBRANCH_V", Fine, Some("200 OK")),
    ("TC_BADDATE_V", Fine, Some("503 Service Unavailable")),
    ("TC_BADDN_I", Unread(ParseError::Truncated), Some("400 Truncated Message")),
    ("TC_BADINV01_I", Fault(400, "Malformed Via"), Some("400 Malformed Via")),
    ("TC_BADVERS_V", Fault(505, "Version Not Supported"), Some("505 Version Not Supported")),
    ("TC_BCAST_V", Fine, None),
    ("TC_BEXT01_V", Fine, Some("420 Bad Extension")),
    ("TC_BIGCODE_V", Fault(400, "Malformed Status Line"), None),
    ("TC_CLERR_I", Fault(400, "Content-Length Beyond Datagram"), Some("400 Content-Length Beyond Datagram")),
    ("TC_CPARAM01_V", Fine, Some("405 Method Not Allowed")),
    ("TC_CPARAM02_V", Fine, Some("405 Method Not Allowed")),
    ("TC_DBLREQ", Fine, Some("405 Method Not Allowed")),
    ("TC_ESC01_V", Fine, Some("503 Service Unavailable")),
    ("TC_ESC02_V", Fine, Some("501 Not Implemented")),
    ("TC_ESCNULL_V", Fine, Some("405 Method Not Allowed")),
    ("TC_ESCRURI_V", Fine, Some("503 Service Unavailable")),
    ("TC_INSUF_I", Fault(400, "Missing From"), Some("400 Missing From")),
    ("TC_INTMETH", Fine, Some("501 Not Implemented")),
    ("TC_INV2543_I", Fault(400, "Missing Contact"), Some("400 Missing Contact")),
    ("TC_INVUT_V", Fine, Some("503 Service Unavailable")),
    ("TC_LONGREQ_V", Fine, Some("503 Service Unavailable")),
    ("TC_LTGTRURI_I", Unread(ParseError::RequestUri), Some("400 Malformed Request-URI")),
    ("TC_LWSDISP_V", Fine, Some("200 OK")),
    ("TC_LWSRURI_I", Unread(ParseError::RequestUri), Some("400 Malformed Request-URI")),
    ("TC_LWSSTART_V", Fine, Some("503 Service Unavailable")),
    ("TC_MCL01_I", Fault(400, "Conflicting Content-Length"), Some("400 Conflicting Content-Length")),
    ("TC_MISMATCH01_V", Fault(400, "CSeq Method Mismatch"), Some("400 CSeq Method Mismatch")),
    ("TC_MISMATCH02_V", Fault(400, "CSeq Method Mismatch"), Some("400 CSeq Method Mismatch")),
    ("TC_MPART01", Fine, Some("405 Method Not Allowed")),
    ("TC_MULTI01_I", Fault(400, "Multiple Call-ID"), Some("400 Multiple Call-ID")),
    ("TC_NCL_I", Fault(400, "Malformed Content-Length"), Some("400 Malformed Content-Length")),
    ("TC_NOREASON_V", Fine, None),
    ("TC_NOVELSC_V", Fine, Some("416 Unsupported URI Scheme")),
    ("TC_QUOTBAL_I", Fault(400, "Malformed To"), Some("400 Malformed To")),
    ("TC_REGAUT01_V", Fine, Some("405 Method Not Allowed")),
    ("TC_REGBADCT_I", Fault(400, "Malformed Contact"), Some("400 Malformed Contact")),
    ("TC_REGESCRT_V", Fine, Some("405 Method Not Allowed")),
    ("TC_SCALAR02_V", Fault(400, "Malformed CSeq"), Some("400 Malformed CSeq")),
    ("TC_SCALARLG_V", Fault(400, "Malformed CSeq"), None),
    ("TC_SDP01_V", Fine, Some("503 Service Unavailable")),
    ("TC_SEMIURI_V", Fine, Some("200 OK")),
    ("TC_TEST_I", Unread(ParseError::Header), None),
    ("TC_TRANSPORTS_V", Fine, Some("200 OK")),
    ("TC_TRWS_I", Unread(ParseError::StartLine), Some("400 Malformed Request Line")),
    ("TC_UNKSCM_V", Fine, Some("416 Unsupported URI Scheme")),
    ("TC_UNKSM2_V", Fine, Some("405 Method Not Allowed")),
    ("TC_UNREASON_V", Fine, None),
    ("TC_WSINV", Fine, Some("481 Call/Transaction Does Not Exist")),
    ("TC_ZEROMF_V", Fine, Some("200 OK")),
];

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rfc4475").join(format!("{name}.dat"))).unwrap()
}

fn message(name: &str) -> Message {
    parse(&bytes(name)).unwrap()
}

fn fate(bytes: &[u8]) -> Fate {
    match parse(bytes) {
        Err(error) => Unread(error),
        Ok(message) => {
            let checked = match &message {
                Message::Request(request) => request.check(),
                Message::Response(response) => response.check(),
            };
            checked.map_or_else(|fault| Fault(fault.code, fault.reason), |()| Fine)
        }
    }
}

fn local() -> Local {
    Local { contact_user: String::new(), contact: source(), user_agent: "Trunkline".into(), ways: Default::default() }
}

fn source() -> SocketAddr {
    "192.0.2.200:5060".parse().unwrap()
}

/// What a user agent that has no call for it answers.
fn answered(bytes: &[u8]) -> Option<Reply> {
    match parse(bytes) {
        Err(error) => refuse_unreadable(bytes, error, source()),
        Ok(Message::Request(request)) => stateless::answer(&request, source(), &local()),
        Ok(Message::Response(_)) => None,
    }
}

fn response(reply: &Reply) -> Response {
    let Ok(Message::Response(response)) = parse(&reply.payload) else { panic!("not a response: {reply:?}") };
    response
}

#[test]
fn every_file_meets_its_fate() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rfc4475");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "dat"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, TABLE.iter().map(|(name, _, _)| *name).collect::<Vec<_>>());
    for (name, expected, _) in TABLE {
        let fate = fate(&bytes(name));
        assert_eq!(fate, *expected, "{name}");
        assert!(!name.ends_with("_I") || fate != Fine, "{name} is invalid");
        assert!(name.ends_with("_I") || !matches!(fate, Unread(_)), "{name} is well formed");
    }
}

#[test]
fn every_request_that_can_be_answered_is() {
    for (name, _, expected) in TABLE {
        let line = answered(&bytes(name)).map(|reply| {
            let response = response(&reply);
            says_what_to_do(name, &response);
            assert!(response.top_via().is_ok(), "{name}: it finds its way");
            format!("{} {}", response.code(), response.reason())
        });
        assert_eq!(line.as_deref(), *expected, "{name}");
    }
}

/// §21.4.6, §21.4.13, §21.4.15 and §21.5.2 of RFC 3261: what has to come along with a refusal.
fn says_what_to_do(name: &str, response: &Response) {
    let has = |header| response.text(header).is_some_and(|value| !value.is_empty());
    match response.code() {
        405 | 501 => assert!(has(HeaderName::Allow), "{name}"),
        415 => assert_eq!(response.text(HeaderName::Accept).as_deref(), Some(ACCEPT), "{name}"),
        420 => assert!(has(HeaderName::Unsupported), "{name}"),
        _ => {}
    }
}

/// What becomes of each INVITE that is in order: a call, or a refusal that RFC 4475 names.
const INVITES: &[(&str, Option<(u16, &str)>)] = &[
    // §3.1.2.12, its INVITE: a Date in another zone than GMT is nothing to refuse a call for.
    ("TC_BADDATE_V", None),
    ("TC_ESC01_V", None),
    ("TC_ESCRURI_V", None),
    // §3.3.6: a body that nobody reads.
    ("TC_INVUT_V", Some((415, "Unsupported Media Type"))),
    ("TC_LONGREQ_V", None),
    ("TC_LWSSTART_V", None),
    // §3.3.15: its Accept does not name SDP, its body is SDP: a user agent may infer that it is taken.
    ("TC_SDP01_V", None),
    // §3.1.1.1: of a dialog that is not ours.
    ("TC_WSINV", Some((481, "Call/Transaction Does Not Exist"))),
];

#[test]
fn every_invite_in_order_starts_a_call_or_is_refused_as_it_should() {
    let mut seen = Vec::new();
    for (name, fate, _) in TABLE {
        let Ok(Message::Request(invite)) = parse(&bytes(name)) else { continue };
        if *invite.method() != Method::Invite || *fate != Fine {
            continue;
        }
        let rng = StdRng::seed_from_u64(1);
        let outcome = match Session::incoming(Instant::now(), local(), Terms::default(), invite, source(), rng) {
            Ok(_) => None,
            Err(reply) => {
                let reply = reply.unwrap_or_else(|| panic!("{name}: no answer"));
                let response = response(&reply);
                says_what_to_do(name, &response);
                Some((response.code(), response.reason().into_owned()))
            }
        };
        seen.push((*name, outcome));
    }
    let expected: Vec<_> = INVITES
        .iter()
        .map(|(name, refused)| (*name, refused.map(|(code, phrase)| (code, phrase.to_owned()))))
        .collect();
    assert_eq!(seen, expected);
}

/// §3.3.5: each extension that nobody has is named.
#[test]
fn a_bad_extension_is_named() {
    let response = response(&answered(&bytes("TC_BEXT01_V")).expect("an answer"));
    let missing: Vec<_> = response.list(HeaderName::Unsupported).collect();
    assert_eq!(missing, ["nothingSupportsThis", "nothingSupportsThisEither"]);
}

/// §3.1.2.1 and §3.3.1: what a request has goes into its refusal, what it lacks does not keep it from having one.
#[test]
fn what_is_missing_or_malformed_does_not_keep_it_from_its_refusal() {
    let invite = answered(&bytes("TC_BADINV01_I")).expect("an answer");
    assert_eq!(invite.to, "192.0.2.200:5060".parse().unwrap());
    let refused = response(&invite);
    let vias: Vec<_> = refused.list(HeaderName::Via).collect();
    assert_eq!(vias, ["SIP/2.0/UDP 192.0.2.15;received=192.0.2.200"]);
    assert_eq!(refused.call_id(), Ok("badinv01.0ha0isndaksdjasdf3234nas"));
    let insufficient = response(&answered(&bytes("TC_INSUF_I")).expect("an answer"));
    assert_eq!(insufficient.top_via().unwrap().branch().as_deref(), Some("z9hG4bKkdj.insuf"));
    assert_eq!(insufficient.cseq().unwrap().number, 193_942);
    for absent in [HeaderName::From, HeaderName::To, HeaderName::CallId] {
        assert!(insufficient.text(absent).is_none(), "{absent:?}");
    }
    // Without a Via, or as an ACK, there is none.
    let insuf = String::from_utf8(bytes("TC_INSUF_I")).unwrap();
    assert!(answered(insuf.replace("Via:", "Via-Not:").as_bytes()).is_none());
    assert!(answered(insuf.replace("INVITE", "ACK").as_bytes()).is_none());
}

/// §3.3.11, RFC 3261 §16.3: only who would pass a request on looks at Max-Forwards.
#[test]
fn max_forwards_0_is_no_reason_to_refuse_what_is_for_us() {
    let Message::Request(options) = message("TC_ZEROMF_V") else { panic!("a response") };
    assert_eq!(options.max_forwards(), Ok(Some(0)));
    let described = response(&stateless::answer(&options, source(), &local()).expect("an answer"));
    assert_eq!(described.code(), 200);
    assert!(described.text(HeaderName::Allow).is_some() && described.text(HeaderName::Accept).is_some());
    let invite = String::from_utf8(bytes("TC_LWSSTART_V")).unwrap();
    assert!(invite.contains("Max-Forwards: 8\r\n"), "{invite}");
    let invite = invite.replace("Max-Forwards: 8\r\n", "Max-Forwards: 0\r\n");
    let Ok(Message::Request(invite)) = parse(invite.as_bytes()) else { panic!("a response") };
    let rng = StdRng::seed_from_u64(1);
    assert!(Session::incoming(Instant::now(), local(), Terms::default(), invite, source(), rng).is_ok());
}

#[test]
fn reading_and_writing_again_changes_nothing() {
    for (name, fate, _) in TABLE {
        if !matches!(fate, Unread(_)) {
            let message = message(name);
            assert_eq!(parse(&message.write()), Ok(message), "{name}");
        }
    }
}

/// The short tortuous INVITE, §3.1.1.1: every liberty at once.
#[test]
fn wsinv_reads_as_the_rfc_says() {
    let Message::Request(invite) = message("TC_WSINV") else { panic!("a response") };
    assert_eq!(invite.uri().as_str(), "sip:vivekg@chair-dnrc.example.com;unknownparam");
    assert_eq!(invite.to().unwrap().tag().as_deref(), Some("1918181833n"));
    assert_eq!(invite.from().unwrap().display.as_deref(), Some("J Rosenberg \\\""));
    assert_eq!(invite.from().unwrap().tag().as_deref(), Some("98asjd8"));
    assert_eq!(invite.max_forwards(), Ok(Some(68)));
    assert_eq!(invite.cseq().unwrap().number, 9);
    assert_eq!(invite.top_via().unwrap().branch().as_deref(), Some("390skdjuw"));
    let vias: Vec<_> = invite.list(HeaderName::Via).collect();
    assert_eq!(vias.len(), 3);
    assert!(vias[2].contains("192.168.255.111"));
    assert_eq!(invite.named("newfangledheader").unwrap().split_whitespace().count(), 5);
    let contact = invite.contact().unwrap().unwrap();
    assert_eq!(contact.display.as_deref(), Some("Quoted string \"\""));
    assert_eq!(contact.params.value("newparam").as_deref(), Some("newvalue"));
    assert_eq!(contact.params.value("q").as_deref(), Some("0.33"));
    assert!(matches!(invite.session_body(), SessionBody::Sdp(sdp) if sdp.len() == 150));
}

#[test]
fn single_points() {
    let Message::Request(esc01) = message("TC_ESC01_V") else { panic!("a response") };
    assert_eq!(esc01.uri().user_text().as_deref(), Some("sips:user@example.com"));
    assert_eq!(esc01.to().unwrap().uri.user_text().as_deref(), Some("user"));
    let Message::Request(intmeth) = message("TC_INTMETH") else { panic!("a response") };
    assert_eq!(intmeth.method().as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    assert_eq!(intmeth.uri().host(), "example.com");
    assert_eq!(intmeth.from().unwrap().tag().as_deref(), Some("_token~1'+`*%!-."));
    let Message::Request(semiuri) = message("TC_SEMIURI_V") else { panic!("a response") };
    assert_eq!(semiuri.uri().user(), Some("user;par=u%40example.net"));
    assert_eq!(semiuri.list(HeaderName::Accept).count(), 6);
    let Message::Request(longreq) = message("TC_LONGREQ_V") else { panic!("a response") };
    assert_eq!(longreq.list(HeaderName::Via).count(), 34);
    let Message::Response(unreason) = message("TC_UNREASON_V") else { panic!("a request") };
    assert!(unreason.reason().starts_with("= 2**3 * 5**2 но сто девяносто девять"));
    let Message::Response(noreason) = message("TC_NOREASON_V") else { panic!("a request") };
    assert_eq!((noreason.code(), noreason.reason().as_ref()), (100, ""));
    let Message::Request(first) = message("TC_DBLREQ") else { panic!("a response") };
    assert_eq!((first.method().as_str(), first.body().len()), ("REGISTER", 0));
    let Message::Request(invut) = message("TC_INVUT_V") else { panic!("a response") };
    assert_eq!(invut.session_body(), SessionBody::Unsupported);
}
