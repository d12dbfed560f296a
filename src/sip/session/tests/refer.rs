//! REFER and its NOTIFYs within a call, refusals of the far end's, and Replaces.

use super::*;
use crate::sip::refer::{Outcome, Replaces};
use crate::sip::uui::Uui;

fn refer() -> Refer {
    Refer {
        target: "sip:8001@192.0.2.7".parse().unwrap(),
        replaces: None,
        user_to_user: vec![Uui::hex(b"hi").unwrap()],
        target_headers: ExtraHeaders::default(),
        referred_by: Some("sip:4000@192.0.2.1".parse().unwrap()),
        subscription: true,
        headers: ExtraHeaders::try_from(vec![("X-Task".to_owned(), "7".to_owned())]).unwrap(),
        patience: Duration::from_secs(60),
    }
}

/// A call that is up on our INVITE, a REFER sent on it.
fn referring(refer: Refer) -> (Bench, Request, Request) {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 200, "t1", &[], ANSWER));
    b.request(Method::Ack);
    b.event();
    b.input(Input::Refer(Box::new(refer)));
    let sent = b.request(Method::Refer);
    (b, invite, sent)
}

impl Bench {
    /// A request of the callee within the call, with headers.
    pub(super) fn hear(&mut self, invite: &Request, method: Method, cseq: u32, headers: &[(&str, &str)], body: &str) {
        let from = format!("{};tag=t1", invite.text(HeaderName::To).unwrap());
        let uri = "sip:robot@192.0.2.1".parse().unwrap();
        let mut out = Writer::request(method.clone(), &uri)
            .header(HeaderName::Via, &format!("SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKr{method}{cseq}"))
            .header(HeaderName::MaxForwards, "70")
            .header(HeaderName::From, &from)
            .header(HeaderName::To, &invite.text(HeaderName::From).unwrap())
            .header(HeaderName::CallId, invite.call_id().unwrap())
            .header(HeaderName::CSeq, &format!("{cseq} {method}"));
        for (name, value) in headers {
            out = out.named(name, value);
        }
        self.get(Message::Request(out.finish("message/sipfrag;version=2.0", body.as_bytes())));
    }

    fn notified(&mut self, invite: &Request, cseq: u32, state: &str, body: &str) {
        self.hear(invite, Method::Notify, cseq, &[("Event", "refer"), ("Subscription-State", state)], body);
    }

    #[track_caller]
    fn told(&mut self, progress: Progress) {
        assert_eq!(self.event(), Event::Refer(progress));
    }
}

fn over(outcome: Outcome) -> Progress {
    Progress::Over(outcome)
}

#[test]
fn a_refer_is_followed_to_the_target_s_answer() {
    let (mut b, invite, sent) = referring(refer());
    assert_eq!(sent.text(HeaderName::ReferTo).unwrap(), "<sip:8001@192.0.2.7?User-to-User=6869%3Bencoding%3Dhex>");
    assert_eq!(sent.text(HeaderName::ReferredBy).unwrap(), "<sip:4000@192.0.2.1>");
    assert_eq!((sent.named("X-Task").unwrap().as_ref(), sent.text(HeaderName::ReferSub)), ("7", None));
    assert_eq!(sent.uri().as_str(), "sip:them@192.0.2.2:5062", "the remote target");
    assert!(sent.contact().unwrap().is_some() && sent.to().unwrap().tag().is_some());
    b.get(respond(&sent, 202, "t1", &[], b""));
    b.told(Progress::Accepted { code: 202 });
    b.notified(&invite, 11, "active;expires=60", "SIP/2.0 100 Trying\r\n");
    b.response(200);
    b.told(Progress::Trying { code: 100, reason: "Trying".into() });
    b.notified(&invite, 12, "terminated;reason=noresource", "SIP/2.0 200 OK\r\n");
    b.response(200);
    b.told(over(Outcome::Transferred { code: 200 }));
    b.input(Input::Cancel);
    let bye = b.request(Method::Bye);
    assert_eq!(b.event(), Event::Ended { by_peer: false, reasons: vec![] });
    // RFC 5057: the subscription outlives the BYE; whoever repeats itself is answered.
    b.notified(&invite, 13, "terminated", "SIP/2.0 200 OK\r\n");
    b.response(200);
    b.get(respond(&bye, 200, "t1", &[], b""));
    b.quiet();
    b.linger();
}

#[test]
fn after_a_failed_refer_the_call_goes_on() {
    let (mut b, invite, sent) = referring(refer());
    b.get(respond(&sent, 202, "t1", &[], b""));
    b.notified(&invite, 11, "terminated;reason=noresource", "SIP/2.0 486 Busy Here\r\n");
    b.response(200);
    b.told(Progress::Accepted { code: 202 });
    b.told(over(Outcome::Failed { code: 486, reason: "Busy Here".into() }));
    // A second one on the same call, with the next CSeq; a NOTIFY of the first one is not its.
    b.input(Input::Refer(Box::new(refer())));
    let again = b.request(Method::Refer);
    assert_eq!(again.cseq().unwrap().number, sent.cseq().unwrap().number + 1);
    let event = format!("refer;id={}", sent.cseq().unwrap().number);
    b.hear(&invite, Method::Notify, 12, &[("Event", &event), ("Subscription-State", "active")], "SIP/2.0 180 Ringing");
    b.response(481);
    b.get(respond(&again, 603, "t1", &[], b""));
    b.told(over(Outcome::Refused { code: 603, reason: "x".into() }));
    b.hear(&invite, Method::Info, 13, &[], "");
    b.response(200);
    assert!(matches!(b.event(), Event::Info { .. }));
    b.quiet();
}

#[test]
fn a_refer_that_nobody_answers_times_out_and_the_call_goes_on() {
    let (mut b, _, _) = referring(refer());
    b.wait(Duration::from_millis(31_999));
    assert!(b.events.is_empty() && b.sent.len() == 10);
    b.wait(Duration::from_millis(1));
    b.told(over(Outcome::TimedOut));
    b.sent.clear();
    b.input(Input::Info { content_type: "application/dtmf".into(), body: b"5".to_vec() });
    b.request(Method::Info);
}

#[test]
fn a_lost_dialog_ends_the_call() {
    let (mut b, _, sent) = referring(refer());
    b.get(respond(&sent, 481, "t1", &[], b""));
    b.told(over(Outcome::Refused { code: 481, reason: "x".into() }));
    b.request(Method::Bye);
    assert_eq!(b.event(), Event::Failed(Failure::Lost));
}

#[test]
fn a_bye_before_the_notify_is_success_and_a_late_notify_is_answered() {
    let (mut b, invite, sent) = referring(refer());
    b.get(respond(&sent, 202, "t1", &[], b""));
    b.told(Progress::Accepted { code: 202 });
    b.hear(&invite, Method::Bye, 11, &[], "");
    b.response(200);
    b.told(over(Outcome::EndedByPeer));
    assert_eq!(b.event(), Event::Ended { by_peer: true, reasons: vec![] });
    b.notified(&invite, 12, "terminated", "SIP/2.0 200 OK");
    b.response(200);
    b.quiet();
    b.linger();
}

#[test]
fn a_bye_before_the_consent_is_none() {
    let (mut b, invite, sent) = referring(refer());
    b.hear(&invite, Method::Bye, 11, &[], "");
    b.response(200);
    b.told(over(Outcome::CallEnded));
    assert_eq!(b.event(), Event::Ended { by_peer: true, reasons: vec![] });
    b.get(respond(&sent, 202, "t1", &[], b""));
    b.quiet();
    b.linger();
}

#[test]
fn our_own_hang_up_ends_the_wait() {
    let (mut b, _, sent) = referring(refer());
    b.get(respond(&sent, 202, "t1", &[], b""));
    b.told(Progress::Accepted { code: 202 });
    b.input(Input::Cancel);
    let bye = b.request(Method::Bye);
    b.told(over(Outcome::CallEnded));
    b.event();
    b.get(respond(&bye, 200, "t1", &[], b""));
    b.linger();
}

#[test]
fn a_challenged_refer_is_sent_again() {
    let (mut b, invite, sent) = referring(refer());
    let ask = [("Proxy-Authenticate", "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"")];
    b.get(respond(&sent, 407, "t1", &ask, b""));
    let again = b.request(Method::Refer);
    assert!(again.text(HeaderName::ProxyAuthorization).unwrap().contains("uri=\"sip:them@192.0.2.2:5062\""));
    assert_eq!(again.text(HeaderName::ReferTo), sent.text(HeaderName::ReferTo));
    b.get(respond(&again, 202, "t1", &[], b""));
    b.told(Progress::Accepted { code: 202 });
    let event = format!("refer;id={}", again.cseq().unwrap().number);
    let state = ("Subscription-State", "terminated");
    b.hear(&invite, Method::Notify, 11, &[("Event", &event), state], "SIP/2.0 200 OK");
    b.response(200);
    b.told(over(Outcome::Transferred { code: 200 }));
    // A second challenge to the answer of the first is a refusal.
    let (mut b, _, sent) = referring(refer());
    b.get(respond(&sent, 407, "t1", &ask, b""));
    let again = b.request(Method::Refer);
    b.get(respond(&again, 407, "t1", &ask, b""));
    b.told(over(Outcome::Refused { code: 407, reason: "x".into() }));
}

#[test]
fn norefersub_is_asked_for_and_believed() {
    let (mut b, invite, sent) = referring(Refer { subscription: false, ..refer() });
    assert_eq!(sent.text(HeaderName::ReferSub).unwrap(), "false");
    assert_eq!(sent.text(HeaderName::Supported).unwrap(), "norefersub");
    b.get(respond(&sent, 202, "t1", &[("Refer-Sub", "false")], b""));
    b.told(Progress::Accepted { code: 202 });
    b.told(over(Outcome::Accepted { code: 202 }));
    b.hear(&invite, Method::Bye, 11, &[], "");
    b.response(200);
    assert_eq!(b.event(), Event::Ended { by_peer: true, reasons: vec![] });
    b.quiet();
}

#[test]
fn only_one_refer_at_a_time_and_only_in_a_call_that_is_up() {
    let (mut b, ..) = referring(refer());
    b.input(Input::Refer(Box::new(refer())));
    b.told(over(Outcome::Refused { code: 491, reason: "Request Pending".into() }));
    b.quiet();
    let mut b = Bench::caller();
    b.request(Method::Invite);
    b.input(Input::Refer(Box::new(refer())));
    assert!(matches!(b.event(), Event::Refer(Progress::Over(Outcome::Refused { code: 481, .. }))));
    b.quiet();
}

#[test]
fn refers_that_cross_do_not_disturb_each_other() {
    let (mut b, invite, sent) = referring(refer());
    b.hear(&invite, Method::Refer, 11, &[("Refer-To", "<sip:9@192.0.2.2>")], "");
    b.response(603);
    let target = "sip:9@192.0.2.2".parse().unwrap();
    assert_eq!(b.event(), Event::ReferRefused { target, code: 603, why: "policy" });
    b.get(respond(&sent, 202, "t1", &[], b""));
    b.told(Progress::Accepted { code: 202 });
    b.quiet();
}

#[test]
fn a_refer_of_the_far_end_is_refused_as_its_trunk_says() {
    for (asked, code) in [(603, 603), (405, 405), (501, 501), (403, 403), (200, 603)] {
        let mut b = Bench::caller();
        b.session.refuse_refers_with(asked);
        let invite = b.request(Method::Invite);
        b.get(respond(&invite, 200, "t1", &[], ANSWER));
        b.request(Method::Ack);
        b.event();
        b.hear(&invite, Method::Refer, 11, &[("r", "<sip:9@192.0.2.2>")], "");
        let refusal = b.response(code);
        assert_eq!(refusal.text(HeaderName::Allow).is_some(), matches!(code, 405 | 501));
        assert!(matches!(b.event(), Event::ReferRefused { code: told, .. } if told == code));
        b.hear(&invite, Method::Refer, 12, &[], "");
        assert_eq!(b.response(400).reason(), "Missing Refer-To");
        b.quiet();
    }
}

#[test]
fn a_notify_of_nothing_is_refused() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 200, "t1", &[], ANSWER));
    b.request(Method::Ack);
    b.event();
    b.notified(&invite, 11, "active", "SIP/2.0 100 Trying");
    b.response(481);
    b.hear(&invite, Method::Notify, 12, &[("Event", "message-summary")], "x");
    assert_eq!(b.response(489).text(HeaderName::AllowEvents).unwrap(), "refer");
    b.quiet();
}

#[test]
fn a_dialog_is_named_and_never_given_away() {
    let (b, invite, _) = referring(refer());
    let (ours, target) = b.session.replaces().unwrap();
    let from_tag = invite.from().unwrap().tag().unwrap().into_owned();
    let named =
        Replaces { call_id: invite.call_id().unwrap().into(), to_tag: "t1".into(), from_tag, early_only: false };
    assert_eq!((&ours, target.as_str()), (&named, "sip:them@192.0.2.2:5062"));
    // The far end names it from its own side.
    let seen = Replaces { to_tag: named.from_tag.clone(), from_tag: "t1".into(), ..named.clone() };
    let answer = |replaces: Replaces| {
        let invite = Bench::caller().request(Method::Invite);
        let reply = b.session.refuse_replacement(&invite, &replaces, addr(THEIRS)).unwrap();
        match parse(&reply.payload).unwrap() {
            Message::Response(response) => response.code(),
            Message::Request(_) => panic!("a request"),
        }
    };
    assert_eq!(answer(seen.clone()), 603);
    assert_eq!(answer(Replaces { early_only: true, ..seen.clone() }), 486);
    assert_eq!(answer(Replaces { to_tag: "x".into(), ..seen.clone() }), 481);
    assert_eq!(answer(Replaces { from_tag: "x".into(), ..seen.clone() }), 481);
    assert_eq!(answer(Replaces { call_id: "x".into(), ..seen }), 481);
    assert_eq!(answer(named), 481, "our own view of it is nobody else's");
}

#[test]
fn user_to_user_is_told_from_every_message_that_carries_it() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    let two = [("User-to-User", "01;encoding=hex, \"a,b\""), ("User-to-User", "02")];
    let told =
        |carrier| Event::UserToUser { carrier, values: vec!["01;encoding=hex".into(), "\"a,b\"".into(), "02".into()] };
    b.get(respond(&invite, 180, "t1", &two, b""));
    assert_eq!(b.event(), told(Carrier::Ringing));
    assert!(matches!(b.event(), Event::Ringing { .. }));
    b.get(respond(&invite, 200, "t1", &two, ANSWER));
    b.request(Method::Ack);
    assert_eq!(b.event(), told(Carrier::Answer));
    assert!(matches!(b.event(), Event::Answered { .. }));
    b.hear(&invite, Method::Bye, 11, &two, "");
    assert_eq!(b.event(), told(Carrier::Bye));
    assert!(matches!(b.event(), Event::Ended { .. }));
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 486, "t1", &two, b""));
    assert_eq!(b.event(), told(Carrier::Refusal));
    assert!(matches!(b.event(), Event::Refused(_)));
}

#[test]
fn user_to_user_and_headers_go_out_with_ringing_answer_and_bye() {
    let mut headers = ExtraHeaders::try_from(vec![("X-Task".to_owned(), "7".to_owned())]).unwrap();
    headers.user_to_user(&[Uui::hex(b"hi").unwrap(), Uui::text("b c").unwrap()]);
    let invite = Bench::caller().request(Method::Invite);
    let session =
        Session::incoming(epoch(), local(THEIRS), Terms::default(), invite, addr(OURS), StdRng::seed_from_u64(2))
            .unwrap();
    let mut b = Bench::of(epoch(), session);
    b.response(100);
    let values = |headers: &Headers| Uui::all(headers).iter().map(Uui::to_string).collect::<Vec<_>>();
    b.input(Input::Ring { headers: headers.clone(), sdp: None });
    assert_eq!(values(&b.response(180)), ["6869;encoding=hex", "\"b c\""]);
    b.input(Input::Answer { headers: headers.clone(), sdp: ANSWER.to_vec() });
    assert_eq!(values(&b.response(200)), ["6869;encoding=hex", "\"b c\""]);
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 200, "t1", &[], ANSWER));
    b.request(Method::Ack);
    b.input(Input::Bye { headers, reason: Some(Reason { protocol: "Q.850".into(), cause: Some(31), text: None }) });
    let bye = b.request(Method::Bye);
    assert_eq!(values(&bye), ["6869;encoding=hex", "\"b c\""]);
    assert_eq!(
        (bye.text(HeaderName::Reason).unwrap().as_ref(), bye.named("x-task").unwrap().as_ref()),
        ("Q.850;cause=31", "7")
    );
}
