//! The caller against a hand-made callee.

use super::failover::{caller_by, ways};
use super::*;
use crate::sip::Ways;
use crate::sip::transport::Transport;

impl Bench {
    /// A call that has been answered: bench, the INVITE.
    pub(super) fn answered() -> (Bench, Request) {
        let mut b = Bench::caller();
        let invite = b.request(Method::Invite);
        b.get(respond(&invite, 200, "t1", &[], ANSWER));
        b.request(Method::Ack);
        assert_eq!(b.event(), Event::Answered { sdp: Some(ANSWER.to_vec()) });
        (b, invite)
    }

    /// A request of the callee within the answered call.
    pub(super) fn hear_callee(&mut self, invite: &Request, tag: &str, method: Method, cseq: u32, body: &[u8]) {
        let from = format!("{};tag={tag}", invite.text(HeaderName::To).unwrap());
        let to = invite.text(HeaderName::From).unwrap().into_owned();
        let branch = format!("{method}{cseq}{tag}");
        self.get(within(method, &from, &to, invite.call_id().unwrap(), cseq, &branch, body));
    }
}

#[test]
fn the_invite_says_who_we_are() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    assert_eq!(invite.text(HeaderName::MaxForwards).unwrap(), "70");
    assert_eq!(invite.from().unwrap().display.as_deref(), Some("Robot"));
    assert!(invite.from().unwrap().tag().is_some() && invite.to().unwrap().tag().is_none());
    assert!(invite.top_via().unwrap().params.has("rport"));
    assert_eq!(invite.text(HeaderName::Allow).unwrap(), crate::sip::ALLOW);
    assert_eq!(invite.text(HeaderName::Supported).unwrap(), "100rel, timer");
    assert_eq!(invite.named("x-task").unwrap(), "7");
    assert_eq!(invite.session_body().sdp(), Some(OFFER));
    assert_eq!(b.session.call_id(), invite.call_id().unwrap());
}

#[test]
fn early_media_and_a_2xx_without_sdp() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 100, "", &[], b""));
    b.get(respond(&invite, 100, "", &[], b""));
    assert_eq!(b.event(), Event::Trying);
    b.get(respond(&invite, 183, "t1", &[], ANSWER));
    assert_eq!(b.event(), Event::Ringing { code: 183, sdp: Some(ANSWER.to_vec()) });
    b.get(respond(&invite, 180, "t1", &[], b""));
    assert_eq!(b.event(), Event::Ringing { code: 180, sdp: None });
    b.get(respond(&invite, 200, "t1", &[], b""));
    b.request(Method::Ack);
    assert_eq!(b.event(), Event::Answered { sdp: Some(ANSWER.to_vec()) });
    b.quiet();
}

#[test]
fn refusals_are_acknowledged_and_told_whole() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    let headers =
        [("Reason", "Q.850;cause=17;text=\"busy\""), ("Retry-After", "30 (later)"), ("Warning", "399 h \"x\"")];
    let busy = respond(&invite, 486, "t1", &headers, b"");
    b.get(busy.clone());
    b.request(Method::Ack);
    let Event::Refused(refusal) = b.event() else { panic!("not refused") };
    assert_eq!((refusal.code, refusal.retry_after, refusal.reasons[0].cause), (486, Some(30), Some(17)));
    b.get(busy);
    b.request(Method::Ack);
    b.quiet();
    b.linger();
}

#[test]
fn a_redirection_names_its_contacts() {
    // One that is not followed.
    let mut b = Bench::caller_on(Terms { redirects: 0, ..Terms::default() }, OFFER);
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 302, "t1", &[("Contact", "<sip:a@h>;q=1, <sip:b@h>")], b""));
    let Event::Refused(refusal) = b.event() else { panic!("not refused") };
    assert_eq!(refusal.contacts.iter().map(Uri::as_str).collect::<Vec<_>>(), ["sip:a@h", "sip:b@h"]);
}

#[test]
fn nobody_answers() {
    let mut b = Bench::caller();
    b.wait(Duration::from_millis(31_999));
    assert_eq!(b.sent.len(), 7);
    assert!(b.events.is_empty());
    b.wait(Duration::from_millis(1));
    assert_eq!(b.event(), Event::TimedOut);
    assert!(b.session.deadline().is_none());
}

#[test]
fn an_unreachable_target_fails_at_once() {
    let mut b = Bench::caller();
    b.input(Input::TransportError { to: Target::Addr(addr("192.0.2.9:5060")) });
    assert!(b.events.is_empty());
    b.input(Input::TransportError { to: Target::Addr(addr(THEIRS)) });
    assert_eq!(b.event(), Event::Failed(Failure::Unreachable));
    assert!(b.session.is_over() || b.session.deadline().is_none());
}

#[test]
fn challenges_are_answered_once() {
    let mut b = Bench::caller();
    let first = b.request(Method::Invite);
    let ask = [("Proxy-Authenticate", "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"")];
    b.get(respond(&first, 407, "x", &ask, b""));
    b.request(Method::Ack);
    let second = b.request(Method::Invite);
    assert_eq!(second.call_id(), first.call_id());
    assert_eq!(second.from().unwrap().tag(), first.from().unwrap().tag());
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    assert_ne!(second.top_via().unwrap().branch(), first.top_via().unwrap().branch());
    let authorization = second.text(HeaderName::ProxyAuthorization).unwrap().into_owned();
    assert!(authorization.contains("uri=\"sip:13800000000@192.0.2.2\"") && authorization.contains("nc=00000001"));
    // A late copy of the 407 is acknowledged and nothing more.
    b.get(respond(&first, 407, "x", &ask, b""));
    b.request(Method::Ack);
    b.quiet();
    b.get(respond(&second, 200, "t1", &[], ANSWER));
    let ack = b.request(Method::Ack);
    assert_eq!(ack.text(HeaderName::ProxyAuthorization).unwrap(), authorization);
    assert_eq!(ack.cseq().unwrap().number, second.cseq().unwrap().number);
    assert!(matches!(b.event(), Event::Answered { .. }));
    // The BYE uses the nonce again, and survives a stale one.
    b.input(Input::Cancel);
    let bye = b.request(Method::Bye);
    assert!(bye.text(HeaderName::ProxyAuthorization).unwrap().contains("nc=00000002"));
    let stale = [("Proxy-Authenticate", "Digest realm=\"r\", nonce=\"m\", qop=\"auth\", stale=true")];
    b.get(respond(&bye, 407, "t1", &stale, b""));
    let again = b.request(Method::Bye);
    assert!(again.text(HeaderName::ProxyAuthorization).unwrap().contains("nonce=\"m\""));
    assert_eq!(again.cseq().unwrap().number, bye.cseq().unwrap().number + 1);
    b.get(respond(&again, 200, "t1", &[], b""));
    b.linger();
}

#[test]
fn a_second_refusal_is_final() {
    let mut b = Bench::caller();
    let ask = [("WWW-Authenticate", "Digest realm=\"r\", nonce=\"n\"")];
    let first = b.request(Method::Invite);
    b.get(respond(&first, 401, "x", &ask, b""));
    b.request(Method::Ack);
    let second = b.request(Method::Invite);
    b.get(respond(&second, 401, "x", &ask, b""));
    b.request(Method::Ack);
    assert!(matches!(b.event(), Event::Refused(Refusal { code: 401, .. })));
    b.quiet();
    b.linger();
}

#[test]
fn cancel_waits_for_a_provisional_response() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.input(Input::Bye { headers: none(), reason: Some(Reason::q850(16, "done")) });
    b.quiet();
    b.get(respond(&invite, 100, "", &[], b""));
    let cancel = b.request(Method::Cancel);
    assert_eq!(cancel.top_via(), invite.top_via());
    assert_eq!(cancel.uri(), invite.uri());
    assert_eq!(cancel.cseq().unwrap().number, invite.cseq().unwrap().number);
    assert_eq!(cancel.to().unwrap().tag(), None);
    assert_eq!(cancel.reasons()[0].cause, Some(16));
    b.get(respond(&cancel, 200, "t1", &[], b""));
    b.get(respond(&invite, 487, "t1", &[], b""));
    b.request(Method::Ack);
    assert_eq!(b.event(), Event::Cancelled { by_peer: false, reasons: vec![] });
    b.quiet();
    b.linger();
}

#[test]
fn a_cancelled_call_nobody_answered() {
    let mut b = Bench::caller();
    b.input(Input::Cancel);
    b.input(Input::Cancel);
    b.wait(Duration::from_secs(33));
    assert_eq!(b.event(), Event::Cancelled { by_peer: false, reasons: vec![] });
    assert!(b.sent.iter().all(|(_, m)| matches!(m, Message::Request(r) if *r.method() == Method::Invite)));
    b.linger();
}

#[test]
fn a_cancel_without_effect_ends_after_64_t1() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 180, "t1", &[], b""));
    b.event();
    b.input(Input::Cancel);
    let cancel = b.request(Method::Cancel);
    b.get(respond(&cancel, 200, "t1", &[], b""));
    b.wait(Duration::from_secs(31));
    assert!(b.events.is_empty());
    b.wait(Duration::from_secs(1));
    assert_eq!(b.event(), Event::Cancelled { by_peer: false, reasons: vec![] });
    b.linger();
}

#[test]
fn cancel_races_answer() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 180, "t1", &[], b""));
    b.event();
    b.input(Input::Cancel);
    b.request(Method::Cancel);
    b.get(respond(&invite, 200, "t1", &[], ANSWER));
    let ack = b.request(Method::Ack);
    let bye = b.request(Method::Bye);
    assert_eq!(bye.to().unwrap().tag().unwrap(), "t1");
    assert_eq!(bye.cseq().unwrap().number, ack.cseq().unwrap().number + 1);
    assert_eq!(b.event(), Event::Cancelled { by_peer: false, reasons: vec![] });
    b.get(respond(&invite, 200, "t1", &[], ANSWER));
    b.request(Method::Ack);
    b.get(respond(&bye, 200, "t1", &[], b""));
    b.quiet();
    b.linger();
}

#[test]
fn a_busy_that_overtakes_the_cancel_is_told() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 180, "t1", &[], b""));
    b.event();
    b.input(Input::Cancel);
    b.request(Method::Cancel);
    b.get(respond(&invite, 486, "t1", &[], b""));
    assert!(matches!(b.event(), Event::Refused(Refusal { code: 486, .. })));
}

#[test]
fn repeated_2xx_and_other_branches() {
    let (mut b, invite) = Bench::answered();
    b.get(respond(&invite, 200, "t1", &[], ANSWER));
    b.request(Method::Ack);
    b.quiet();
    b.get(respond(&invite, 200, "t2", &[], ANSWER));
    assert_eq!(b.request(Method::Ack).to().unwrap().tag().unwrap(), "t2");
    let bye = b.request(Method::Bye);
    assert_eq!(bye.to().unwrap().tag().unwrap(), "t2");
    b.get(respond(&bye, 200, "t2", &[], b""));
    b.quiet();
    // The stray branch's own BYE is answered, and does not end the call.
    b.hear_callee(&invite, "t2", Method::Bye, 5, b"");
    b.response(200);
    b.quiet();
    b.hear_callee(&invite, "t1", Method::Bye, 5, b"");
    b.response(200);
    assert_eq!(b.event(), Event::Ended { by_peer: true, reasons: vec![] });
    b.linger();
}

#[test]
fn routes_and_targets() {
    for (record_route, uri, route, to) in [
        (None, "sip:them@192.0.2.2:5062", vec![], "192.0.2.2:5062"),
        (
            Some("<sip:192.0.2.8;lr>, <sip:192.0.2.9:5070;lr>"),
            "sip:them@192.0.2.2:5062",
            vec!["<sip:192.0.2.9:5070;lr>", "<sip:192.0.2.8;lr>"],
            "192.0.2.9:5070",
        ),
        (
            Some("<sip:192.0.2.8;lr>, <sip:192.0.2.9>"),
            "sip:192.0.2.9",
            vec!["<sip:192.0.2.8;lr>", "<sip:them@192.0.2.2:5062>"],
            "192.0.2.9:5060",
        ),
    ] {
        let mut b = Bench::caller();
        let invite = b.request(Method::Invite);
        let headers: Vec<_> = record_route.map(|r| ("Record-Route", r)).into_iter().collect();
        b.get(respond(&invite, 200, "t1", &headers, ANSWER));
        b.input(Input::Cancel);
        for method in [Method::Ack, Method::Bye] {
            assert_eq!(b.sent[0].0, Target::Addr(addr(to)));
            let request = b.request(method);
            assert_eq!(request.uri().as_str(), uri);
            assert_eq!(request.list(HeaderName::Route).collect::<Vec<_>>(), route);
        }
    }
}

#[test]
fn the_callee_hangs_up_with_a_reason() {
    let (mut b, invite) = Bench::answered();
    let from = format!("{};tag=t1", invite.text(HeaderName::To).unwrap());
    let to = invite.text(HeaderName::From).unwrap().into_owned();
    let Message::Request(bye) = within(Method::Bye, &from, &to, invite.call_id().unwrap(), 9, "x", b"") else {
        panic!()
    };
    let text = String::from_utf8(bye.bytes().to_vec()).unwrap();
    let bye = parse(text.replace("Max-Forwards", "Reason: Q.850;cause=16\r\nMax-Forwards").as_bytes()).unwrap();
    b.get(bye.clone());
    b.response(200);
    let Event::Ended { by_peer: true, reasons } = b.event() else { panic!("not ended") };
    assert_eq!(reasons[0].cause, Some(16));
    b.get(bye);
    b.response(200);
    b.quiet();
    b.linger();
}

#[test]
fn byes_that_cross() {
    let (mut b, invite) = Bench::answered();
    b.input(Input::Cancel);
    let bye = b.request(Method::Bye);
    assert_eq!(b.event(), Event::Ended { by_peer: false, reasons: vec![] });
    b.hear_callee(&invite, "t1", Method::Bye, 1, b"");
    b.response(200);
    b.get(respond(&bye, 481, "t1", &[], b""));
    b.quiet();
    b.linger();
}

#[test]
fn the_callee_changes_the_session() {
    let (mut b, invite) = Bench::answered();
    b.hear_callee(&invite, "t1", Method::Invite, 1, ANSWER);
    b.response(100);
    assert_eq!(b.event(), Event::Reoffer { sdp: Some(ANSWER.to_vec()) });
    // A second one before the first is answered, §14.2.
    b.hear_callee(&invite, "t1", Method::Invite, 2, ANSWER);
    b.response(100);
    let busy = b.response(500);
    assert!(busy.seconds(HeaderName::RetryAfter).unwrap() <= 10);
    b.input(Input::AnswerReoffer { sdp: OFFER.to_vec() });
    let ok = b.response(200);
    assert_eq!(ok.session_body().sdp(), Some(OFFER));
    b.hear_callee(&invite, "t1", Method::Ack, 1, b"");
    assert_eq!(b.event(), Event::ReofferConfirmed { sdp: None });
    // The target has moved with it.
    b.wait(Duration::from_secs(40));
    b.sent.clear();
    b.hear_callee(&invite, "t1", Method::Update, 3, ANSWER);
    assert!(matches!(b.event(), Event::Reoffer { sdp: Some(_) }));
    b.input(Input::RejectReoffer { code: 488, headers: none() });
    b.response(488);
    b.hear_callee(&invite, "t1", Method::Update, 4, b"");
    assert_eq!(b.response(200).text(HeaderName::Allow).unwrap(), crate::sip::ALLOW);
    b.input(Input::Cancel);
    assert_eq!(b.sent[0].0, Target::Addr(addr("192.0.2.2:5064")));
    assert_eq!(b.request(Method::Bye).uri().as_str(), "sip:moved@192.0.2.2:5064");
}

#[test]
fn a_reoffer_without_sdp_and_one_taken_back() {
    let (mut b, invite) = Bench::answered();
    b.hear_callee(&invite, "t1", Method::Invite, 1, b"");
    b.response(100);
    assert_eq!(b.event(), Event::Reoffer { sdp: None });
    b.input(Input::AnswerReoffer { sdp: OFFER.to_vec() });
    b.response(200);
    // Our offer is pending until its ACK: §14.2.
    b.hear_callee(&invite, "t1", Method::Update, 2, ANSWER);
    b.response(491);
    b.hear_callee(&invite, "t1", Method::Ack, 1, ANSWER);
    assert_eq!(b.event(), Event::ReofferConfirmed { sdp: Some(ANSWER.to_vec()) });
    b.hear_callee(&invite, "t1", Method::Invite, 3, ANSWER);
    b.response(100);
    b.event();
    let from = format!("{};tag=t1", invite.text(HeaderName::To).unwrap());
    let to = invite.text(HeaderName::From).unwrap().into_owned();
    b.get(within(Method::Cancel, &from, &to, invite.call_id().unwrap(), 3, "INVITE3t1", b""));
    let codes: Vec<_> = b
        .sent
        .drain(..)
        .filter_map(|(_, m)| if let Message::Response(r) = m { Some(r.code()) } else { None })
        .collect();
    assert!(codes.contains(&200) && codes.contains(&487), "{codes:?}");
    assert_eq!(b.event(), Event::ReofferWithdrawn);
    b.hear_callee(&invite, "t1", Method::Bye, 4, b"");
    assert!(matches!(b.event(), Event::Ended { by_peer: true, .. }));
    b.get(within(Method::Ack, &from, &to, invite.call_id().unwrap(), 3, "INVITE3t1", b""));
    b.linger();
}

#[test]
fn a_reoffer_without_an_ack_ends_the_call() {
    let (mut b, invite) = Bench::answered();
    b.hear_callee(&invite, "t1", Method::Invite, 1, ANSWER);
    b.event();
    b.input(Input::AnswerReoffer { sdp: OFFER.to_vec() });
    b.sent.clear();
    b.wait(Duration::from_secs(33));
    assert_eq!(b.event(), Event::Failed(Failure::NoAck));
    let oks = b.sent.iter().filter(|(_, m)| matches!(m, Message::Response(r) if r.code() == 200)).count();
    assert_eq!(oks, 10);
    assert!(b.sent.iter().any(|(_, m)| matches!(m, Message::Request(r) if *r.method() == Method::Bye)));
}

#[test]
fn glare_before_the_answer() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 183, "t1", &[], ANSWER));
    b.event();
    b.hear_callee(&invite, "t1", Method::Update, 1, ANSWER);
    b.response(491);
    b.hear_callee(&invite, "t1", Method::Invite, 2, ANSWER);
    b.response(100);
    b.response(491);
    b.hear_callee(&invite, "t1", Method::Bye, 3, b"");
    b.request(Method::Cancel);
    b.response(200);
    assert_eq!(b.event(), Event::Cancelled { by_peer: true, reasons: vec![] });
}

#[test]
fn what_the_callee_may_not_do() {
    let (mut b, invite) = Bench::answered();
    b.hear_callee(&invite, "t1", Method::Options, 10, b"");
    let options = b.response(200);
    assert!(options.text(HeaderName::Accept).is_some() && options.text(HeaderName::Allow).is_some());
    assert_eq!(options.text(HeaderName::Supported).unwrap(), "100rel, timer");
    b.hear_callee(&invite, "t1", Method::Info, 9, b"");
    b.response(500);
    b.hear_callee(&invite, "other", Method::Info, 11, b"");
    b.response(481);
    b.hear_callee(&invite, "t1", Method::Subscribe, 12, b"");
    assert_eq!(b.response(405).text(HeaderName::Allow).unwrap(), crate::sip::ALLOW);
    b.hear_callee(&invite, "t1", Method::Other("JUMP".into()), 13, b"");
    b.response(501);
    b.hear_callee(&invite, "t1", Method::Ack, 77, b"");
    // Our own INVITE, come back to us over a loop.
    b.get(Message::Request(invite.clone()));
    b.response(100);
    assert_eq!(b.response(482).reason(), "Loop Detected");
    b.quiet();
}

#[test]
fn info_goes_both_ways() {
    let (mut b, invite) = Bench::answered();
    b.hear_callee(&invite, "t1", Method::Info, 1, b"Signal=5\r\n");
    b.response(200);
    let content_type = Some("application/sdp".to_owned());
    assert_eq!(b.event(), Event::Info { content_type, body: b"Signal=5\r\n".to_vec() });
    b.input(Input::Info {
        content_type: "application/dtmf-relay".into(),
        body: b"Signal=1\r\nDuration=160\r\n".to_vec(),
    });
    let info = b.request(Method::Info);
    assert_eq!(info.text(HeaderName::ContentType).unwrap(), "application/dtmf-relay");
    b.get(respond(&info, 415, "t1", &[], b""));
    assert_eq!(b.event(), Event::InfoAnswered { code: 415 });
    b.input(Input::Info { content_type: "application/dtmf".into(), body: b"1".to_vec() });
    let info = b.request(Method::Info);
    b.get(respond(&info, 481, "t1", &[], b""));
    assert_eq!(b.event(), Event::InfoAnswered { code: 481 });
    assert_eq!(b.event(), Event::Failed(Failure::Lost));
    b.request(Method::Bye);
    b.input(Input::Info { content_type: "application/dtmf".into(), body: b"1".to_vec() });
    assert_eq!(b.event(), Event::InfoAnswered { code: 481 });
    b.linger();
}

#[test]
fn nonsense_changes_nothing() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    for edit in [
        ("z9hG4bK", "z9hG4bKother"),
        ("INVITE\r\n", "BYE\r\n"),
        ("Call-ID: ", "Call-ID: x"),
        ("SIP/2.0 200", "SIP/2.0 999"),
        ("From: ", "X-From: "),
    ] {
        let ok = respond(&invite, 200, "t1", &[], ANSWER);
        let text = String::from_utf8(ok.bytes().to_vec()).unwrap();
        assert!(text.contains(edit.0), "{edit:?}");
        b.get(parse(text.replacen(edit.0, edit.1, 1).as_bytes()).unwrap());
        b.quiet();
    }
}

#[test]
fn a_flood_within_the_call_gets_no_memory() {
    let (mut b, invite) = Bench::answered();
    for cseq in 1..200 {
        b.hear_callee(&invite, "t1", Method::Options, cseq, b"");
    }
    assert_eq!(b.sent.len(), 64);
    b.sent.clear();
    b.wait(Duration::from_secs(40));
    b.hear_callee(&invite, "t1", Method::Bye, 300, b"");
    b.response(200);
}

#[test]
fn a_cancel_that_cannot_be_sent_ends_the_call_at_once() {
    let mut bench = Bench::caller();
    let invite = bench.request(Method::Invite);
    let ringing = Writer::reply(&invite, addr(OURS), 180, "Ringing", Some("them")).finish("", b"");
    bench.get(Message::Response(ringing));
    bench.input(Input::Cancel);
    bench.request(Method::Cancel);
    bench.input(Input::TransportError { to: Target::Addr(addr(THEIRS)) });
    bench.wait(Duration::ZERO);
    assert!(matches!(bench.events.back(), Some(Event::Cancelled { by_peer: false, .. })));
    bench.linger();
}

/// RFC 3263 §4.1: the Contact says how it wants to be reached; where it says nothing, as the call was set up; TLS is never left.
#[test]
fn requests_in_the_dialog_go_by_what_the_contact_asks_for() {
    for (own, contact, via_is, to) in [
        (Transport::Udp, "sip:b@192.0.2.2:5070;transport=tcp", "TCP", "192.0.2.2:5070"),
        (Transport::Udp, "sip:b@192.0.2.2:5070", "UDP", "192.0.2.2:5070"),
        (Transport::Udp, "sip:b@192.0.2.2:5070;transport=tls", "UDP", "192.0.2.2:5070"),
        (Transport::Tcp, "sip:b@192.0.2.2", "TCP", "192.0.2.2:5060"),
        (Transport::Tcp, "sip:b@192.0.2.2;transport=udp", "UDP", "192.0.2.2:5060"),
        (Transport::Tls, "sip:b@192.0.2.2;transport=udp", "TLS", "192.0.2.2:5061"),
        (Transport::Tls, "sips:b@192.0.2.2", "TLS", "192.0.2.2:5061"),
    ] {
        let mut bench = caller_by(Ways { transport: own, ..ways() }, &[], OFFER);
        let invite = bench.request(Method::Invite);
        let ok = Writer::reply(&invite, addr(OURS), 200, "OK", Some("them"));
        let ok = ok.header(HeaderName::Contact, &format!("<{contact}>")).finish("application/sdp", ANSWER);
        bench.get(Message::Response(ok));
        bench.request(Method::Ack);
        bench.input(Input::Bye { headers: none(), reason: None });
        assert_eq!(bench.sent.front().unwrap().0, Target::Addr(addr(to)), "{contact}");
        assert_eq!(bench.request(Method::Bye).top_via().unwrap().transport, via_is, "{own} {contact}");
    }
}

/// RFC 3261 §22.3: a proxy and then the callee ask for credentials, in one call; the CANCEL has the route of its INVITE.
#[test]
fn proxy_and_callee_are_both_shown_credentials() {
    let now = epoch();
    let dial = Dial { route: vec!["sip:edge.example;lr".parse().unwrap()], ..dial_to(THEIRS) };
    let mut b = Bench::of(now, Session::dial(now, local(OURS), dial, StdRng::seed_from_u64(1)));
    let first = b.request(Method::Invite);
    assert_eq!(first.text(HeaderName::Route).unwrap(), "<sip:edge.example;lr>");
    b.get(respond(&first, 407, "x", &[("Proxy-Authenticate", "Digest realm=\"p\", nonce=\"1\", qop=\"auth\"")], b""));
    b.request(Method::Ack);
    let second = b.request(Method::Invite);
    let body_too = "Digest realm=\"s\", nonce=\"2\", qop=\"auth-int\"";
    b.get(respond(&second, 401, "x", &[("WWW-Authenticate", body_too)], b""));
    b.request(Method::Ack);
    let third = b.request(Method::Invite);
    assert!(third.text(HeaderName::ProxyAuthorization).unwrap().contains("nc=00000002"));
    assert!(third.text(HeaderName::Authorization).unwrap().contains("qop=auth-int"));
    b.get(respond(&third, 180, "x", &[], b""));
    b.input(Input::Cancel);
    let cancel = b.request(Method::Cancel);
    assert_eq!(cancel.text(HeaderName::Route).unwrap(), "<sip:edge.example;lr>");
}
