//! The timer tables of RFC 3261 §17 and RFC 6026, by the clock.

use std::time::Duration;

use super::*;
use crate::ms::epoch;
use crate::sip::message::{HeaderName, Method, Request, Writer};

fn request(method: Method) -> Request {
    request_by("UDP", method)
}

fn request_by(transport: &str, method: Method) -> Request {
    let cseq = format!("1 {method}");
    Writer::request(method, &"sip:b@192.0.2.2".parse().unwrap())
        .header(HeaderName::Via, &format!("SIP/2.0/{transport} 192.0.2.1;branch=z9hG4bKx;rport"))
        .header(HeaderName::Route, "<sip:p;lr>")
        .header(HeaderName::From, "<sip:a@b>;tag=1")
        .header(HeaderName::To, "<sip:b@b>")
        .header(HeaderName::CallId, "c")
        .header(HeaderName::CSeq, &cseq)
        .finish("", b"")
}

fn response(request: &Request, code: u16) -> Response {
    Writer::reply(request, "192.0.2.1:5060".parse().unwrap(), code, "x", Some("them")).finish("", b"")
}

/// Runs every deadline to its end; the times (ms) of the datagrams, and of the end.
macro_rules! run {
    ($now:expr, $tx:expr, $timer:expr, $sent:pat) => {{
        let mut times = Vec::new();
        let start = $now;
        let mut now = start;
        loop {
            while let Some(action) = $tx.poll() {
                if matches!(action, $sent) {
                    times.push((now - start).as_millis() as u64);
                }
            }
            let Some(at) = $tx.deadline() else { break };
            now = at;
            $tx.handle(now, $timer);
        }
        assert!($tx.is_over());
        (times, (now - start).as_millis() as u64)
    }};
}

#[test]
fn invite_client_doubles_and_gives_up() {
    let now = epoch();
    let mut tx = InviteClient::new(now, request(Method::Invite));
    let (sent, end) = run!(now, tx, ClientInput::Timer, ClientAction::Transmit(_));
    assert_eq!(sent, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert_eq!(end, 32_000);
}

#[test]
fn invite_client_is_silent_after_a_provisional_response() {
    let now = epoch();
    let mut tx = InviteClient::new(now, request(Method::Invite));
    assert!(!tx.is_proceeding());
    let ringing = response(tx.request(), 180);
    tx.handle(now, ClientInput::Response(ringing));
    assert!(tx.is_proceeding());
    assert_eq!(tx.deadline(), None);
}

#[test]
fn invite_client_acknowledges_a_refusal_each_time() {
    let now = epoch();
    let mut tx = InviteClient::new(now, request(Method::Invite));
    tx.poll();
    let busy = response(tx.request(), 486);
    for copy in 0..3 {
        tx.handle(now, ClientInput::Response(busy.clone()));
        let Some(ClientAction::Transmit(ack)) = tx.poll() else { panic!("no ACK") };
        let Ok(crate::sip::message::Message::Request(ack)) = crate::sip::message::parse(&ack) else {
            panic!("no request")
        };
        assert_eq!(ack.cseq().unwrap().method, Method::Ack);
        assert_eq!(ack.to().unwrap().tag().unwrap(), "them");
        assert_eq!(ack.top_via(), tx.request().top_via());
        assert_eq!(ack.text(HeaderName::Route).unwrap(), "<sip:p;lr>");
        assert_eq!(matches!(tx.poll(), Some(ClientAction::Response(_))), copy == 0);
    }
    let (_, end) = run!(now, tx, ClientInput::Timer, ClientAction::Transmit(_));
    assert_eq!(end, 32_000);
}

#[test]
fn invite_client_passes_every_2xx_up_for_64_t1() {
    let now = epoch();
    let mut tx = InviteClient::new(now, request(Method::Invite));
    tx.poll();
    let ok = response(tx.request(), 200);
    for _ in 0..3 {
        tx.handle(now, ClientInput::Response(ok.clone()));
        assert!(matches!(tx.poll(), Some(ClientAction::Response(_))));
    }
    let (sent, end) = run!(now, tx, ClientInput::Timer, ClientAction::Transmit(_));
    assert_eq!((sent.len(), end), (0, 32_000));
}

#[test]
fn client_backs_off_to_t2() {
    let now = epoch();
    let mut tx = Client::new(now, request(Method::Bye));
    let (sent, end) = run!(now, tx, ClientInput::Timer, ClientAction::Transmit(_));
    assert_eq!(sent, [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert_eq!(end, 32_000);
    let mut tx = Client::new(now, request(Method::Bye));
    let ok = response(tx.request(), 200);
    tx.handle(now, ClientInput::Response(ok));
    let (_, end) = run!(now, tx, ClientInput::Timer, ClientAction::Transmit(_));
    assert_eq!(end, 5_000);
}

#[test]
fn client_slows_down_after_a_provisional_response() {
    let now = epoch();
    let mut tx = Client::new(now, request(Method::Bye));
    let trying = response(tx.request(), 100);
    tx.handle(now, ClientInput::Response(trying));
    let (sent, _) = run!(now, tx, ClientInput::Timer, ClientAction::Transmit(_));
    // E was already running when the response came; from its firing on it is T2.
    assert_eq!(sent[..3], [0, 500, 4_500]);
}

#[test]
fn invite_server_repeats_a_refusal_until_the_ack() {
    let now = epoch();
    let mut tx = InviteServer::new(b"100".to_vec());
    assert_eq!(tx.poll().unwrap(), b"100");
    tx.handle(now, ServerInput::Respond(180, b"180".to_vec()));
    assert_eq!(tx.poll().unwrap(), b"180");
    tx.handle(now, ServerInput::Retransmission);
    assert_eq!(tx.poll().unwrap(), b"180");
    tx.handle(now, ServerInput::Respond(486, b"486".to_vec()));
    tx.handle(now, ServerInput::Respond(200, b"200".to_vec()));
    assert_eq!(tx.poll().unwrap(), b"486");
    assert_eq!(tx.poll(), None);
    let first = tx.deadline().unwrap();
    assert_eq!(first - now, Duration::from_millis(500));
    tx.handle(first, ServerInput::Timer);
    assert_eq!(tx.poll().unwrap(), b"486");
    tx.handle(first, ServerInput::Ack);
    tx.handle(first, ServerInput::Retransmission);
    assert_eq!(tx.poll(), None);
    assert_eq!(tx.deadline().unwrap() - first, Duration::from_secs(5));
    tx.handle(first + Duration::from_secs(5), ServerInput::Timer);
    assert!(tx.is_over());
}

#[test]
fn invite_server_without_an_ack_gives_up() {
    let now = epoch();
    let mut tx = InviteServer::new(b"100".to_vec());
    tx.poll();
    tx.handle(now, ServerInput::Respond(486, b"486".to_vec()));
    let (sent, end) = run!(now, tx, ServerInput::Timer, _);
    assert_eq!(sent, [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert_eq!(end, 32_000);
}

#[test]
fn invite_server_absorbs_after_a_2xx() {
    let now = epoch();
    let mut tx = InviteServer::new(b"100".to_vec());
    tx.poll();
    tx.handle(now, ServerInput::Respond(200, b"200".to_vec()));
    assert!(tx.is_accepted());
    assert_eq!(tx.poll().unwrap(), b"200");
    tx.handle(now, ServerInput::Retransmission);
    let (sent, end) = run!(now, tx, ServerInput::Timer, _);
    assert_eq!((sent.len(), end), (0, 32_000));
}

#[test]
fn server_repeats_its_answer_and_forgets_after_64_t1() {
    let now = epoch();
    let mut tx = Server::new();
    tx.handle(now, ServerInput::Retransmission);
    assert_eq!(tx.poll(), None);
    tx.handle(now, ServerInput::Respond(200, b"200".to_vec()));
    tx.handle(now, ServerInput::Retransmission);
    assert_eq!((tx.poll(), tx.poll(), tx.poll()), (Some(b"200".to_vec()), Some(b"200".to_vec()), None));
    let (_, end) = run!(now, tx, ServerInput::Timer, _);
    assert_eq!(end, 32_000);
}

#[test]
fn keys_follow_17_2_3() {
    let invite = request(Method::Invite);
    let ack = request(Method::Ack);
    let cancel = request(Method::Cancel);
    assert_eq!(Key::of(&ack), Key::of(&invite));
    assert_ne!(Key::of(&cancel), Key::of(&invite));
    assert_eq!(Key::of_invite(&cancel), Key::of(&invite));
}

/// A off, B as over UDP.
#[test]
fn invite_client_over_a_stream_is_sent_once_and_gives_up() {
    for transport in ["TCP", "TLS", "tcp"] {
        let now = epoch();
        let mut tx = InviteClient::new(now, request_by(transport, Method::Invite));
        let (sent, end) = run!(now, tx, ClientInput::Timer, ClientAction::Transmit(_));
        assert_eq!((sent, end), (vec![0], 32_000), "{transport}");
    }
}

/// D is zero: the one ACK is sent, and the transaction is over.
#[test]
fn invite_client_over_a_stream_is_over_with_its_refusal() {
    let now = epoch();
    let mut tx = InviteClient::new(now, request_by("TCP", Method::Invite));
    tx.poll();
    let busy = response(tx.request(), 486);
    tx.handle(now, ClientInput::Response(busy.clone()));
    tx.handle(now, ClientInput::Response(busy));
    assert!(matches!(tx.poll(), Some(ClientAction::Transmit(_))));
    assert!(matches!(tx.poll(), Some(ClientAction::Response(_))));
    assert!(tx.poll().is_none() && tx.is_over());
    assert_eq!(tx.deadline(), None);
}

/// M as over UDP: the fork's other branches may answer for 64·T1.
#[test]
fn invite_client_over_a_stream_still_waits_for_other_2xx() {
    let now = epoch();
    let mut tx = InviteClient::new(now, request_by("TCP", Method::Invite));
    tx.poll();
    let ok = response(tx.request(), 200);
    tx.handle(now, ClientInput::Response(ok));
    let (sent, end) = run!(now, tx, ClientInput::Timer, ClientAction::Transmit(_));
    assert_eq!((sent.len(), end), (0, 32_000));
}

/// E off, F as over UDP, K zero.
#[test]
fn client_over_a_stream_is_sent_once_and_over_with_its_answer() {
    let now = epoch();
    let mut tx = Client::new(now, request_by("TCP", Method::Bye));
    let trying = response(tx.request(), 100);
    tx.handle(now, ClientInput::Response(trying));
    let (sent, end) = run!(now, tx, ClientInput::Timer, ClientAction::Transmit(_));
    assert_eq!((sent, end), (vec![0], 32_000));
    let mut tx = Client::new(now, request_by("TCP", Method::Bye));
    let ok = response(tx.request(), 200);
    tx.handle(now, ClientInput::Response(ok));
    let (_, end) = run!(now, tx, ClientInput::Timer, ClientAction::Transmit(_));
    assert_eq!(end, 0);
}

fn whole(transport: &str, code: u16) -> Vec<u8> {
    response(&request_by(transport, Method::Invite), code).bytes().to_vec()
}

/// G off, H as over UDP, I zero.
#[test]
fn invite_server_over_a_stream_refuses_once_and_is_over_with_the_ack() {
    let now = epoch();
    let mut tx = InviteServer::new(whole("TCP", 100));
    tx.poll();
    tx.handle(now, ServerInput::Respond(486, whole("TCP", 486)));
    let (sent, end) = run!(now, tx, ServerInput::Timer, _);
    assert_eq!((sent, end), (vec![0], 32_000));
    let mut tx = InviteServer::new(whole("TLS", 100));
    tx.handle(now, ServerInput::Respond(486, whole("TLS", 486)));
    tx.handle(now, ServerInput::Ack);
    while tx.poll().is_some() {}
    assert!(tx.is_over());
    assert_eq!(tx.deadline(), None);
}

/// L as over UDP.
#[test]
fn invite_server_over_a_stream_absorbs_after_a_2xx() {
    let now = epoch();
    let mut tx = InviteServer::new(whole("TCP", 100));
    tx.poll();
    tx.handle(now, ServerInput::Respond(200, whole("TCP", 200)));
    let (_, end) = run!(now, tx, ServerInput::Timer, _);
    assert_eq!(end, 32_000);
}

/// J zero.
#[test]
fn server_over_a_stream_is_over_with_its_answer() {
    let now = epoch();
    let mut tx = Server::new();
    tx.handle(now, ServerInput::Respond(200, whole("TCP", 200)));
    assert!(tx.poll().is_some());
    assert!(tx.is_over());
    assert_eq!(tx.deadline(), None);
}

/// §17.1.4: what could not be sent ends a request that nobody has answered; one that rings has arrived.
#[test]
fn a_transport_error_ends_what_has_had_no_answer() {
    let now = epoch();
    let mut tx = InviteClient::new(now, request(Method::Invite));
    tx.poll();
    tx.handle(now, ClientInput::TransportError);
    assert!(matches!(tx.poll(), Some(ClientAction::Unreachable)));
    assert!(tx.is_over());
    let mut tx = InviteClient::new(now, request(Method::Invite));
    tx.poll();
    let ringing = response(tx.request(), 180);
    tx.handle(now, ClientInput::Response(ringing));
    tx.handle(now, ClientInput::TransportError);
    assert!(matches!(tx.poll(), Some(ClientAction::Response(_))));
    assert!(tx.poll().is_none() && tx.is_proceeding());
    let mut tx = Client::new(now, request(Method::Bye));
    tx.poll();
    tx.handle(now, ClientInput::TransportError);
    assert!(matches!(tx.poll(), Some(ClientAction::Unreachable)));
}
