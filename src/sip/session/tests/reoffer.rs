//! Offers in a call that is up: re-INVITE and UPDATE, both ways, and what happens when they meet.

use super::*;

const NEW: &[u8] = b"v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\n";
const THEIR_NEW: &[u8] = b"v=0\r\no=- 2 2 IN IP4 192.0.2.2\r\n";

impl Bench {
    /// A call that we placed or took, that is up; and how the peer says something in it.
    fn up_either(outgoing: bool) -> (Bench, impl Fn(&mut Bench, Method, u32, &[u8])) {
        let (mut b, invite) = match outgoing {
            true => Bench::answered(),
            false => {
                let (b, tag) = Bench::picked_up();
                let to = format!("<sip:4001@192.0.2.1>;tag={tag}");
                let invite = Writer::request(Method::Invite, &"sip:x@h".parse().unwrap())
                    .header(HeaderName::From, &to)
                    .header(HeaderName::To, "<sip:them@192.0.2.2>")
                    .header(HeaderName::CallId, "call");
                (b, invite.finish("", b""))
            }
        };
        let tag = if outgoing { "t1" } else { "c1" };
        let say = move |b: &mut Bench, method: Method, cseq: u32, body: &[u8]| {
            b.hear_callee(&invite, tag, method, cseq, body);
        };
        if !outgoing {
            say(&mut b, Method::Ack, 100, b"");
            assert_eq!(b.event(), Event::Confirmed { sdp: None });
        }
        (b, say)
    }

    fn reoffer(&mut self) -> Request {
        self.input(Input::Reoffer { sdp: NEW.to_vec() });
        self.request(Method::Invite)
    }

    fn peer_tag(&self) -> &'static str {
        if self.session.is_outgoing() { "t1" } else { "c1" }
    }

    fn reply(&mut self, request: &Request, code: u16, headers: &[(&str, &str)], body: &[u8]) {
        let tag = self.peer_tag();
        self.get(respond(request, code, tag, headers, body));
    }
}

#[test]
fn we_hold_and_resume_by_reinvite() {
    for outgoing in [true, false] {
        let (mut b, say) = Bench::up_either(outgoing);
        let invite = b.reoffer();
        assert_eq!(invite.session_body().sdp(), Some(NEW));
        assert_eq!(invite.to().unwrap().tag().unwrap(), b.peer_tag());
        assert!(invite.contact().unwrap().is_some() && invite.text(HeaderName::SessionExpires).is_some());
        b.reply(&invite, 100, &[], b"");
        b.reply(&invite, 180, &[], b"");
        b.quiet();
        b.reply(&invite, 200, &[("Contact", "<sip:them@192.0.2.2:5099>")], THEIR_NEW);
        let ack = b.request(Method::Ack);
        assert_eq!(ack.cseq().unwrap().number, invite.cseq().unwrap().number);
        assert_eq!(b.event(), Event::ReofferAnswered { sdp: Some(THEIR_NEW.to_vec()) });
        // The ACK was lost: the same one again.
        b.reply(&invite, 200, &[], THEIR_NEW);
        assert_eq!(b.request(Method::Ack), ack);
        b.quiet();
        let again = b.reoffer();
        b.reply(&again, 200, &[], THEIR_NEW);
        b.request(Method::Ack);
        b.event();
        say(&mut b, Method::Bye, 500, b"");
        b.response(200);
        assert_eq!(b.event(), Event::Ended { by_peer: true, reasons: vec![] });
        b.linger();
    }
}

#[test]
fn a_reinvite_that_is_refused_leaves_the_session_as_it_was() {
    for code in [488, 603, 503, 606] {
        let (mut b, say) = Bench::up_either(true);
        let invite = b.reoffer();
        b.reply(&invite, code, &[], b"");
        b.request(Method::Ack);
        assert_eq!(b.event(), Event::ReofferRefused { code });
        say(&mut b, Method::Invite, 1, THEIR_NEW);
        b.response(100);
        assert!(matches!(b.event(), Event::Reoffer { .. }));
        b.input(Input::AnswerReoffer { sdp: NEW.to_vec() });
        b.response(200);
    }
}

#[test]
fn a_reinvite_that_finds_nobody_ends_the_call() {
    for code in [408, 481] {
        let (mut b, _) = Bench::up_either(true);
        let invite = b.reoffer();
        b.reply(&invite, code, &[], b"");
        b.request(Method::Ack);
        b.request(Method::Bye);
        assert_eq!(b.event(), Event::Failed(Failure::Lost));
        b.linger();
    }
    let (mut b, _) = Bench::up_either(false);
    b.reoffer();
    b.wait(Duration::from_secs(32));
    assert_eq!(b.event(), Event::Failed(Failure::Lost));
    b.linger();
}

#[test]
fn offers_that_cross_are_tried_again_after_a_while_of_each_side_its_own() {
    for (outgoing, range) in [(true, 2_100..=4_000), (false, 0..=2_000)] {
        let (mut b, say) = Bench::up_either(outgoing);
        let invite = b.reoffer();
        // Theirs, while ours is open.
        say(&mut b, Method::Invite, 201, THEIR_NEW);
        b.response(100);
        assert_eq!(b.response(491).reason(), "Request Pending");
        say(&mut b, Method::Update, 202, THEIR_NEW);
        b.response(491);
        b.sent.clear();
        // And ours, of course.
        b.reply(&invite, 491, &[], b"");
        b.request(Method::Ack);
        assert!(b.events.is_empty());
        let start = b.now;
        while b.events.is_empty() {
            b.now = b.session.deadline().unwrap();
            b.input(Input::Timer);
        }
        let waited = (b.now - start).as_millis();
        assert!(range.contains(&waited) && waited.is_multiple_of(10), "{waited}");
        assert_eq!(b.event(), Event::OfferWanted);
        b.sent.clear();
        b.reoffer();
    }
}

#[test]
fn their_offer_is_taken_while_ours_waits_for_its_second_try() {
    let (mut b, say) = Bench::up_either(true);
    let invite = b.reoffer();
    b.reply(&invite, 491, &[], b"");
    b.request(Method::Ack);
    say(&mut b, Method::Invite, 201, THEIR_NEW);
    b.response(100);
    assert!(matches!(b.event(), Event::Reoffer { .. }));
    // Not before theirs is answered.
    b.wait(Duration::from_secs(4));
    assert!(b.events.is_empty());
    b.input(Input::AnswerReoffer { sdp: NEW.to_vec() });
    b.response(200);
    assert_eq!(b.event(), Event::OfferWanted);
}

#[test]
fn a_500_with_a_time_is_tried_again_then() {
    let (mut b, _) = Bench::up_either(true);
    let invite = b.reoffer();
    b.reply(&invite, 500, &[("Retry-After", "3")], b"");
    b.request(Method::Ack);
    b.wait(Duration::from_millis(2_999));
    b.quiet();
    b.wait(Duration::from_millis(1));
    assert_eq!(b.event(), Event::OfferWanted);
}

#[test]
fn what_may_not_be_offered_now_is_asked_for_later() {
    let (mut b, tag) = Bench::picked_up();
    b.input(Input::Reoffer { sdp: NEW.to_vec() });
    b.quiet();
    b.hear_caller(Method::Ack, &tag, 100, b"");
    assert_eq!(b.event(), Event::Confirmed { sdp: None });
    assert_eq!(b.event(), Event::OfferWanted);
    let first = b.reoffer();
    b.input(Input::Reoffer { sdp: NEW.to_vec() });
    b.quiet();
    b.reply(&first, 200, &[], THEIR_NEW);
    b.request(Method::Ack);
    assert!(matches!(b.event(), Event::ReofferAnswered { .. }));
    assert_eq!(b.event(), Event::OfferWanted);
}

#[test]
fn a_reinvite_is_challenged_and_told_of_longer_intervals() {
    let (mut b, _) = Bench::up_either(true);
    let first = b.reoffer();
    let ask = [("Proxy-Authenticate", "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"")];
    b.reply(&first, 407, &ask, b"");
    b.request(Method::Ack);
    let second = b.request(Method::Invite);
    assert!(second.text(HeaderName::ProxyAuthorization).is_some());
    assert_eq!(second.session_body().sdp(), Some(NEW));
    b.reply(&second, 422, &[("Min-SE", "4000")], b"");
    b.request(Method::Ack);
    let third = b.request(Method::Invite);
    assert_eq!(third.text(HeaderName::MinSe).unwrap(), "4000");
    assert_eq!(third.session_body().sdp(), Some(NEW));
    b.quiet();
}

#[test]
fn a_reliable_183_to_a_reinvite_is_acknowledged() {
    let (mut b, _) = Bench::up_either(false);
    let invite = b.reoffer();
    let progress = [("Require", "100rel"), ("RSeq", "12")];
    b.reply(&invite, 183, &progress, b"");
    let rack = format!("12 {} INVITE", invite.cseq().unwrap().number);
    assert_eq!(b.request(Method::Prack).text(HeaderName::RAck).unwrap(), rack);
    b.reply(&invite, 183, &progress, b"");
    b.quiet();
}

#[test]
fn a_bye_meets_a_reinvite() {
    // Theirs crosses ours: the 487 or even a 200 to ours is acknowledged still.
    for code in [487, 200] {
        let (mut b, say) = Bench::up_either(true);
        let invite = b.reoffer();
        say(&mut b, Method::Bye, 301, b"");
        b.response(200);
        assert_eq!(b.event(), Event::Ended { by_peer: true, reasons: vec![] });
        b.reply(&invite, code, &[], THEIR_NEW);
        b.request(Method::Ack);
        b.quiet();
        b.linger();
    }
    // A re-INVITE that never gets its final answer holds nothing back.
    let (mut b, say) = Bench::up_either(true);
    let invite = b.reoffer();
    b.reply(&invite, 100, &[], b"");
    say(&mut b, Method::Bye, 301, b"");
    b.linger();
    // Ours crosses theirs.
    let (mut b, say) = Bench::up_either(false);
    say(&mut b, Method::Invite, 301, THEIR_NEW);
    b.response(100);
    b.event();
    b.input(Input::Cancel);
    assert_eq!(b.event(), Event::Ended { by_peer: false, reasons: vec![] });
    let bye = b.request(Method::Bye);
    b.response(487);
    say(&mut b, Method::Ack, 301, b"");
    b.reply(&bye, 200, &[], b"");
    b.linger();
}

#[test]
fn a_reinvite_before_the_ack_of_the_call_is_taken() {
    let (mut b, tag) = Bench::picked_up();
    b.hear_caller(Method::Invite, &tag, 101, THEIR_NEW);
    b.response(100);
    assert_eq!(b.event(), Event::Reoffer { sdp: Some(THEIR_NEW.to_vec()) });
    b.input(Input::AnswerReoffer { sdp: NEW.to_vec() });
    b.response(200);
    b.hear_caller(Method::Ack, &tag, 100, b"");
    assert_eq!(b.event(), Event::Confirmed { sdp: None });
    b.hear_caller(Method::Ack, &tag, 101, b"");
    assert_eq!(b.event(), Event::ReofferConfirmed { sdp: None });
}

#[test]
fn a_refused_offer_says_why() {
    let warning = vec![("Warning".to_owned(), "305 trunkline \"no common audio format\"".to_owned())];
    let refuse =
        || Input::RejectReoffer { code: 488, headers: ExtraHeaders::try_from(warning.clone()).expect("harmless") };
    let (mut b, say) = Bench::up_either(true);
    for (method, cseq) in [(Method::Invite, 301), (Method::Update, 302)] {
        say(&mut b, method.clone(), cseq, THEIR_NEW);
        if method == Method::Invite {
            b.response(100);
        }
        b.event();
        b.input(refuse());
        assert!(b.response(488).text(HeaderName::Warning).unwrap().starts_with("305 "));
    }
}

#[test]
fn other_bodies_are_refused_and_sdp_is_found_in_a_multipart() {
    let (mut b, tag) = Bench::picked_up();
    b.hear_caller(Method::Ack, &tag, 100, b"");
    b.event();
    let body = |method: Method, cseq: u32, content_type: &str, body: &[u8]| {
        let to = format!("<sip:4001@192.0.2.1>;tag={tag}");
        let plain =
            within(method.clone(), "<sip:them@192.0.2.2>;tag=c1", &to, "call", cseq, &format!("body{cseq}"), b"");
        let text = String::from_utf8(plain.bytes().to_vec()).unwrap();
        let head = text
            .replace("Content-Length: 0", &format!("Content-Type: {content_type}\r\nContent-Length: {}", body.len()));
        parse(&[head.as_bytes(), body].concat()).unwrap()
    };
    for (method, cseq) in [(Method::Update, 101), (Method::Invite, 102)] {
        b.get(body(method.clone(), cseq, "application/isup", b"x"));
        if method == Method::Invite {
            b.response(100);
        }
        assert!(b.response(415).text(HeaderName::Accept).unwrap().contains("application/sdp"));
    }
    let parts = b"--b\r\nContent-Type: application/isup;version=itu-t92+\r\n\r\n\x01\x02\r\n--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b--\r\n";
    b.get(body(Method::Invite, 103, "multipart/mixed;boundary=b", parts));
    b.response(100);
    assert_eq!(b.event(), Event::Reoffer { sdp: Some(b"v=0\r\n".to_vec()) });
}
