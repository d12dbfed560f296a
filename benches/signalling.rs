//! What a call's signalling costs where it is text: SIP messages read and written, SDP offered, answered and accepted.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use trunkline::sdp::{Capabilities, Direction, Negotiator};
use trunkline::sip::message::{HeaderName, Message, Method, Request, Uri, Writer, parse};

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

fn sip(c: &mut Criterion) {
    let mut group = c.benchmark_group("sip");
    let invite = invite();
    let bytes = invite.bytes().to_vec();
    let source = SocketAddr::from(([203, 0, 113, 1], 5_060));
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("parse", |b| b.iter(|| parse(black_box(&bytes))));
    // Reading is lazy: this adds what a server transaction and a dialog look at.
    group.bench_function("parse_and_check", |b| {
        b.iter(|| match parse(black_box(&bytes)) {
            Ok(Message::Request(request)) => {
                let sound = request.check().is_ok();
                (sound, request.top_via(), request.from(), request.to(), request.cseq(), request.contact())
            }
            other => panic!("{other:?}"),
        });
    });
    group.bench_function("write_request", |b| b.iter(self::invite));
    group.bench_function("write_response", |b| {
        b.iter(|| {
            Writer::reply(black_box(&invite), source, 200, "OK", Some("trunk"))
                .header(HeaderName::Contact, "<sip:192.0.2.1:5060>")
                .finish("application/sdp", OFFER)
        });
    });
    group.finish();
}

fn sdp(c: &mut Criterion) {
    let mut group = c.benchmark_group("sdp");
    let local = SocketAddr::from(([192, 0, 2, 1], 20_000));
    let negotiator = || Negotiator::new(7, local, Capabilities::default());
    group.bench_function("offer", |b| b.iter(|| negotiator().offer(Direction::SendRecv)));
    group.bench_function("answer", |b| b.iter(|| negotiator().answer(black_box(OFFER))));
    let mut far = Negotiator::new(8, SocketAddr::from(([203, 0, 113, 1], 54_400)), Capabilities::default());
    let offer = negotiator().offer(Direction::SendRecv);
    let (answer, _) = far.answer(&offer).expect("both have PCMA");
    group.bench_function("offer_and_accept", |b| {
        b.iter(|| {
            let mut ours = negotiator();
            let offer = ours.offer(Direction::SendRecv);
            (offer, ours.accept(black_box(&answer)))
        });
    });
    group.finish();
}

criterion_group!(benches, sip, sdp);
criterion_main!(benches);
