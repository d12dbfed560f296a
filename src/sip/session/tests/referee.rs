//! A REFER of the far end that our owner decides on, and the NOTIFYs that it gets.

use super::*;

const TO: &str = "<sip:9@192.0.2.2?User-to-User=6869&Replaces=c%40h%3Bto-tag%3D1%3Bfrom-tag%3D2>";

/// A call that is up on our INVITE, and whose owner decides on REFERs.
fn up() -> (Bench, Request) {
    let mut b = Bench::caller();
    b.session.ask_about_refers();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 200, "t1", &[], ANSWER));
    b.request(Method::Ack);
    b.event();
    (b, invite)
}

/// And that was asked.
fn asked(more: &[(&str, &str)]) -> (Bench, Request) {
    let (mut b, invite) = up();
    let headers = [&[("Refer-To", TO), ("Referred-By", "<sip:2@192.0.2.2>")], more].concat();
    b.hear(&invite, Method::Refer, 11, &headers, "");
    b.nothing_sent();
    let Event::ReferAsked(asked) = b.event() else { panic!("not asked") };
    assert_eq!((asked.target.as_str(), asked.referred_by.as_deref()), ("sip:9@192.0.2.2", Some("<sip:2@192.0.2.2>")));
    assert_eq!((asked.user_to_user, asked.replaces.unwrap().call_id), (vec!["6869".to_owned()], "c@h".to_owned()));
    (b, invite)
}

/// And consented.
fn consented(more: &[(&str, &str)]) -> (Bench, Request) {
    let (mut b, invite) = asked(more);
    b.input(Input::AnswerRefer { code: 202 });
    (b, invite)
}

impl Bench {
    fn progress(&mut self, code: u16, last: bool) {
        self.input(Input::ReferProgress { code, reason: "x".to_owned(), last });
    }

    /// The next NOTIFY: what it says, and it.
    #[track_caller]
    fn notify(&mut self) -> (String, Request) {
        let notify = self.request(Method::Notify);
        let text = |name| notify.text(name).unwrap_or_default().into_owned();
        let body = String::from_utf8(notify.body().to_vec()).unwrap();
        assert_eq!(text(HeaderName::ContentType), "message/sipfrag;version=2.0");
        let said = [text(HeaderName::Event), text(HeaderName::SubscriptionState), body.trim_end().to_owned()];
        (said.join(" | "), notify)
    }

    fn ok(&mut self, request: &Request) {
        self.get(respond(request, 200, "t1", &[], b""));
    }
}

const TRYING: &str = "refer | active;expires=600 | SIP/2.0 100 Trying";

#[test]
fn what_becomes_of_a_refer_is_told_one_by_one_and_the_bye_follows() {
    let (mut b, _) = consented(&[]);
    let accepted = b.response(202);
    assert!(accepted.contact().unwrap().is_some() && accepted.text(HeaderName::ReferSub).is_none());
    let (said, trying) = b.notify();
    assert_eq!(said, TRYING);
    // While that has no answer, only what is newest waits.
    b.progress(180, false);
    b.progress(183, false);
    b.nothing_sent();
    b.ok(&trying);
    let (said, ringing) = b.notify();
    assert_eq!(said, "refer | active;expires=600 | SIP/2.0 183 x");
    b.ok(&ringing);
    b.progress(200, true);
    let (said, last) = b.notify();
    assert_eq!(said, "refer | terminated;reason=noresource | SIP/2.0 200 x");
    assert_eq!(last.uri().as_str(), "sip:them@192.0.2.2:5062", "the remote target");
    b.progress(180, false);
    b.input(Input::Part { reason: None });
    b.quiet();
    b.ok(&last);
    let bye = b.request(Method::Bye);
    assert_eq!(b.event(), Event::Ended { by_peer: false, reasons: vec![] });
    b.ok(&bye);
    b.quiet();
    b.linger();
}

#[test]
fn a_refer_that_is_repeated_is_one_and_gets_one_answer_again() {
    let (mut b, invite) = asked(&[]);
    let refer = |b: &mut Bench| b.hear(&invite, Method::Refer, 11, &[("Refer-To", TO)], "");
    refer(&mut b);
    b.quiet();
    b.input(Input::AnswerRefer { code: 202 });
    b.response(202);
    b.notify();
    refer(&mut b);
    b.response(202);
    b.quiet();
    // Another one meanwhile has to wait.
    b.hear(&invite, Method::Refer, 12, &[("Refer-To", TO)], "");
    b.response(491);
    assert!(matches!(b.event(), Event::ReferRefused { code: 491, why: "busy", .. }));
}

#[test]
fn a_notify_is_repeated_and_one_that_is_not_taken_is_the_last() {
    let (mut b, _) = consented(&[]);
    b.response(202);
    let (_, first) = b.notify();
    b.wait(Duration::from_millis(500));
    let (_, again) = b.notify();
    assert_eq!(first.bytes(), again.bytes());
    b.progress(180, false);
    b.get(respond(&first, 481, "t1", &[], b""));
    b.quiet_but(Event::NotifyRefused { code: 481 });
    b.progress(200, true);
    b.nothing_sent();
    b.input(Input::Part { reason: None });
    b.request(Method::Bye);
}

#[test]
fn the_bye_does_not_wait_for_ever() {
    let (mut b, _) = consented(&[]);
    b.response(202);
    let (_, trying) = b.notify();
    b.ok(&trying);
    b.progress(200, true);
    b.notify();
    b.input(Input::Part { reason: None });
    b.wait(Duration::from_millis(3_999));
    assert!(b.sent.iter().all(|(_, message)| message.bytes().starts_with(b"NOTIFY ")));
    b.sent.clear();
    b.wait(Duration::from_millis(1));
    b.request(Method::Bye);
    assert!(matches!(b.event(), Event::Ended { by_peer: false, .. }));
}

#[test]
fn a_far_end_that_hangs_up_first_is_not_hung_up() {
    let (mut b, invite) = consented(&[]);
    b.response(202);
    let (_, trying) = b.notify();
    b.ok(&trying);
    b.progress(200, true);
    let (_, last) = b.notify();
    b.input(Input::Part { reason: None });
    b.hear(&invite, Method::Bye, 12, &[], "");
    b.response(200);
    b.quiet_but(Event::Ended { by_peer: true, reasons: vec![] });
    b.ok(&last);
    b.quiet();
    b.linger();
}

/// RFC 5057 §4.1.
#[test]
fn a_subscription_outlives_the_bye() {
    let (mut b, invite) = consented(&[]);
    b.response(202);
    let (_, trying) = b.notify();
    b.hear(&invite, Method::Bye, 12, &[], "");
    b.response(200);
    b.ok(&trying);
    assert!(matches!(b.event(), Event::Ended { by_peer: true, .. }));
    b.progress(486, true);
    let (said, last) = b.notify();
    assert_eq!(said, "refer | terminated;reason=noresource | SIP/2.0 486 x");
    b.ok(&last);
    b.quiet();
    b.linger();
}

#[test]
fn who_does_not_want_to_be_told_is_not() {
    for (name, value) in [("Refer-Sub", "false"), ("Require", "norefersub")] {
        let (mut b, _) = consented(&[(name, value)]);
        assert_eq!(b.response(202).text(HeaderName::ReferSub).as_deref(), Some("false"));
        b.progress(180, false);
        b.progress(200, true);
        b.quiet();
        b.input(Input::Part { reason: None });
        b.request(Method::Bye);
    }
}

#[test]
fn a_notify_is_given_its_password() {
    let (mut b, _) = consented(&[]);
    b.response(202);
    let (_, trying) = b.notify();
    b.get(respond(&trying, 407, "t1", &[("Proxy-Authenticate", "Digest realm=\"r\", nonce=\"n\"")], b""));
    let (said, again) = b.notify();
    assert_eq!(said, TRYING);
    assert!(again.text(HeaderName::ProxyAuthorization).is_some());
    assert!(again.cseq().unwrap().number > trying.cseq().unwrap().number);
    b.get(respond(&again, 407, "t1", &[("Proxy-Authenticate", "Digest realm=\"r\", nonce=\"m\"")], b""));
    b.quiet_but(Event::NotifyRefused { code: 407 });
}

#[test]
fn the_second_subscription_of_a_call_has_a_name() {
    let (mut b, invite) = consented(&[]);
    b.response(202);
    let (_, trying) = b.notify();
    b.ok(&trying);
    b.progress(486, true);
    let (_, last) = b.notify();
    b.ok(&last);
    b.hear(&invite, Method::Refer, 12, &[("Refer-To", TO)], "");
    b.event();
    b.input(Input::AnswerRefer { code: 202 });
    b.response(202);
    assert_eq!(b.notify().0, "refer;id=12 | active;expires=600 | SIP/2.0 100 Trying");
}

#[test]
fn a_refer_is_refused_where_it_cannot_be() {
    let (mut b, invite) = up();
    for (cseq, to, code) in
        [(11, "<sip:9@h;method=BYE>", 501), (12, "<http://h/>", 416), (13, "<sip:9@h?Replaces=x>", 400)]
    {
        b.hear(&invite, Method::Refer, cseq, &[("Refer-To", to)], "");
        b.response(code);
        assert!(matches!(b.event(), Event::ReferRefused { code: told, why: "malformed", .. } if told == code), "{to}");
    }
    // While an offer of ours is open.
    b.input(Input::Reoffer { sdp: OFFER.to_vec() });
    b.request(Method::Invite);
    b.hear(&invite, Method::Refer, 14, &[("Refer-To", TO)], "");
    b.response(491);
    assert!(matches!(b.event(), Event::ReferRefused { code: 491, why: "busy", .. }));
}

#[test]
fn a_refer_that_the_end_of_the_call_overtakes_is_answered() {
    let (mut b, _) = asked(&[]);
    b.input(Input::Cancel);
    assert_eq!((b.request(Method::Bye).method(), b.response(487).code()), (&Method::Bye, 487));
    // And what is decided afterwards changes nothing.
    b.events.clear();
    b.input(Input::AnswerRefer { code: 202 });
    b.progress(200, true);
    b.quiet();
}
