//! What a call's signalling costs where it is text: SIP messages read and written, SDP offered, answered and accepted.

use std::hint::black_box;
use std::net::SocketAddr;

use trunkline::sdp::{Capabilities, Direction, Negotiator};
use trunkline::sip::message::{HeaderName, Headers, Message, Method, Request, Response, Uri, Writer, parse};

use super::{Path, Walk, each};

pub const PATHS: &[Path] = &[
    Path { name: "sip_parse/invite", times: 1_000, make: || read(invite().bytes().to_vec()) },
    Path { name: "sip_parse/ok", times: 1_000, make: || read(ok(&invite()).bytes().to_vec()) },
    Path { name: "sip_parse/bye", times: 1_000, make: || read(bye().bytes().to_vec()) },
    Path { name: "sip_write/invite", times: 1_000, make: write_invite },
    Path { name: "sip_write/ok", times: 1_000, make: write_ok },
    Path { name: "sip_write/bye", times: 1_000, make: write_bye },
    Path { name: "sdp/offer", times: 1_000, make: offer },
    Path { name: "sdp/answer", times: 1_000, make: answer },
    Path { name: "sdp/offer_and_accept", times: 1_000, make: offer_and_accept },
];

const OFFER: &[u8] = b"v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
m=audio 54400 RTP/AVP 8 0 18 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:18 G729/8000\r\n\
a=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";

fn uri(text: &str) -> Uri {
    text.parse().expect("a URI")
}

/// An INVITE as an operator's session border controller sends it.
fn invite() -> Request {
    Writer::request(Method::Invite, &uri("sip:4001@192.0.2.1:5060;transport=udp"))
        .header(HeaderName::Via, "SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK3d5a1f7c;rport")
        .header(HeaderName::Via, "SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK77ef4c2312983.1;received=10.0.0.7")
        .header(HeaderName::RecordRoute, "<sip:203.0.113.1:5060;lr;ftag=9fxced76sl>")
        .header(HeaderName::MaxForwards, "68")
        .header(HeaderName::From, "\"Anna Bauer\" <sip:+4930123456@sip.example.com;user=phone>;tag=9fxced76sl")
        .header(HeaderName::To, "<sip:4001@192.0.2.1;user=phone>")
        .header(HeaderName::CallId, "3848276298220188511@sip.example.com")
        .header(HeaderName::CSeq, "1 INVITE")
        .header(HeaderName::Contact, "<sip:+4930123456@203.0.113.1:5060;transport=udp>")
        .named("Allow", "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, PRACK, UPDATE")
        .named("Supported", "100rel, timer, replaces")
        .named("P-Asserted-Identity", "<sip:+4930123456@sip.example.com;user=phone>")
        .named("User-Agent", "Border/7.4")
        .finish("application/sdp", OFFER)
}

/// What the call is answered with.
fn ok(invite: &Request) -> Response {
    let source = SocketAddr::from(([203, 0, 113, 1], 5_060));
    Writer::reply(invite, source, 200, "OK", Some("trunk"))
        .header(HeaderName::Contact, "<sip:192.0.2.1:5060>")
        .finish("application/sdp", OFFER)
}

fn bye() -> Request {
    Writer::request(Method::Bye, &uri("sip:4001@192.0.2.1:5060"))
        .header(HeaderName::Via, "SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK9a71be00;rport")
        .header(HeaderName::MaxForwards, "70")
        .header(HeaderName::From, "\"Anna Bauer\" <sip:+4930123456@sip.example.com;user=phone>;tag=9fxced76sl")
        .header(HeaderName::To, "<sip:4001@192.0.2.1;user=phone>;tag=trunk")
        .header(HeaderName::CallId, "3848276298220188511@sip.example.com")
        .header(HeaderName::CSeq, "2 BYE")
        .named("Reason", "Q.850;cause=16;text=\"Normal call clearing\"")
        .finish("", &[])
}

/// Reading is lazy: beside the lines, what a transaction and a dialog look at is read here.
fn read(datagram: Vec<u8>) -> Walk {
    each(move || {
        let message = parse(black_box(&datagram)).expect("our own message");
        let (sound, headers): (_, &Headers) = match &message {
            Message::Request(request) => (request.check().is_ok(), request),
            Message::Response(response) => (response.check().is_ok(), response),
        };
        assert!(sound);
        let addresses = (headers.from(), headers.to(), headers.contact());
        assert!(matches!(black_box(addresses), (Ok(_), Ok(_), Ok(_))));
        assert!(matches!(black_box((headers.top_via(), headers.cseq())), (Ok(_), Ok(_))));
    })
}

fn write_invite() -> Walk {
    each(|| {
        black_box(invite());
    })
}

fn write_bye() -> Walk {
    each(|| {
        black_box(bye());
    })
}

fn write_ok() -> Walk {
    let invite = invite();
    each(move || {
        black_box(ok(black_box(&invite)));
    })
}

fn negotiator() -> Negotiator {
    Negotiator::new(7, SocketAddr::from(([192, 0, 2, 1], 20_000)), Capabilities::default())
}

fn offer() -> Walk {
    each(|| {
        black_box(negotiator().offer(Direction::SendRecv));
    })
}

fn answer() -> Walk {
    each(|| assert!(black_box(negotiator().answer(black_box(OFFER))).is_ok()))
}

/// We offered, and read the answer.
fn offer_and_accept() -> Walk {
    let mut far = Negotiator::new(8, SocketAddr::from(([203, 0, 113, 1], 54_400)), Capabilities::default());
    let (answer, _) = far.answer(&negotiator().offer(Direction::SendRecv)).expect("both have PCMA");
    each(move || {
        let mut ours = negotiator();
        black_box(ours.offer(Direction::SendRecv));
        assert!(black_box(ours.accept(black_box(&answer))).is_ok());
    })
}
