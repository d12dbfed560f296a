//! What meets on the wire, and what does not come in the order of the book.

use super::callee::invite_with;
use super::*;

#[test]
fn an_invite_that_comes_again_after_its_200_starts_nothing() {
    let (mut b, tag) = Bench::picked_up();
    let invite = Message::Request(b.session.invite().clone());
    b.get(invite.clone());
    b.quiet();
    b.hear_caller(Method::Ack, &tag, 100, b"");
    assert_eq!(b.event(), Event::Confirmed { sdp: None });
    b.get(invite);
    b.quiet();
    // Nor does an ACK that comes twice, or for nobody.
    b.hear_caller(Method::Ack, &tag, 100, b"");
    b.hear_caller(Method::Ack, &tag, 99, b"");
    b.hear_caller(Method::Ack, "stranger", 100, b"");
    b.quiet();
}

#[test]
fn the_200_and_the_cancel_cross_and_the_call_is_up() {
    let (mut b, tag) = Bench::picked_up();
    b.hear_caller(Method::Cancel, "", 100, b"");
    assert_eq!(b.response(200).cseq().unwrap().method, Method::Cancel);
    b.wait(Duration::from_millis(500));
    b.response(200);
    b.hear_caller(Method::Ack, &tag, 100, b"");
    assert_eq!(b.event(), Event::Confirmed { sdp: None });
    b.hear_caller(Method::Bye, &tag, 101, b"");
    b.response(200);
    assert_eq!(b.event(), Event::Ended { by_peer: true, reasons: vec![] });
    b.linger();
}

#[test]
fn the_reason_of_a_cancel_is_told() {
    let mut b = Bench::callee();
    let cancel =
        within(Method::Cancel, "<sip:them@192.0.2.2>;tag=c1", "<sip:4001@192.0.2.1>", "call", 100, "invite", b"");
    b.get(with(cancel, &[("Reason", "SIP;cause=200;text=\"Call completed elsewhere\", Q.850;cause=16")]));
    let Event::Cancelled { by_peer: true, reasons } = b.event() else { panic!("not cancelled") };
    assert_eq!(reasons.iter().map(|reason| reason.cause).collect::<Vec<_>>(), [Some(200), Some(16)]);
}

#[test]
fn a_bye_and_the_200_cross() {
    // The callee hangs up in the moment of its answer: the BYE overtakes the 200.
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 180, "t1", &[], b""));
    b.event();
    b.hear_callee(&invite, "t1", Method::Bye, 1, b"");
    assert_eq!(b.event(), Event::Cancelled { by_peer: true, reasons: vec![] });
    b.sent.clear();
    b.get(respond(&invite, 200, "t1", &[], ANSWER));
    b.request(Method::Ack);
    let bye = b.request(Method::Bye);
    b.get(respond(&bye, 481, "t1", &[], b""));
    assert!(b.events.is_empty());
    b.linger();
}

#[test]
fn a_hop_count_that_is_used_up_is_none_of_an_end_points_business() {
    // RFC 3261 §16.3 is for proxies, and RFC 4475 §3.3.11 too.
    let invite = invite_with(&[], "application/sdp", OFFER);
    let text = String::from_utf8(invite.bytes().to_vec()).unwrap().replace("Max-Forwards: 70", "Max-Forwards: 0");
    let Ok(Message::Request(invite)) = parse(text.as_bytes()) else { panic!("no request") };
    let mut b = Bench::callee_of(invite);
    b.input(Input::Answer { headers: none(), sdp: ANSWER.to_vec() });
    b.response(200);
}

#[test]
fn an_extension_that_nobody_knows_is_refused_in_a_call_too() {
    let (mut b, tag) = Bench::picked_up();
    b.hear_caller(Method::Ack, &tag, 100, b"");
    b.event();
    let to = format!("<sip:4001@192.0.2.1>;tag={tag}");
    for (method, cseq) in [(Method::Invite, 101), (Method::Update, 102), (Method::Bye, 103)] {
        let from = "<sip:them@192.0.2.2>;tag=c1";
        let strange = within(method.clone(), from, &to, "call", cseq, &format!("strange{cseq}"), b"");
        b.get(with(strange, &[("Require", "x-strange, 100rel")]));
        if method == Method::Invite {
            b.response(100);
        }
        assert_eq!(b.response(420).text(HeaderName::Unsupported).unwrap(), "x-strange");
    }
    assert!(b.events.is_empty());
}

#[test]
fn requests_that_come_too_late_are_told_so() {
    let (mut b, tag) = Bench::picked_up();
    b.hear_caller(Method::Ack, &tag, 100, b"");
    b.event();
    b.hear_caller(Method::Info, &tag, 200, b"");
    b.response(200);
    b.events.clear();
    for method in [Method::Invite, Method::Update, Method::Info, Method::Bye] {
        b.hear_caller(method.clone(), &tag, 150, b"");
        if method == Method::Invite {
            b.response(100);
        }
        assert!(b.response(500).seconds(HeaderName::RetryAfter).unwrap() <= 10);
    }
    assert!(b.events.is_empty());
}
