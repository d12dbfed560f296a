//! RFC 3262, both roles.

use super::callee::invite_with;
use super::*;

const RELIABLE: (&str, &str) = ("Require", "100rel");

/// A call to us whose caller has 100rel, in this header.
fn called(header: &str, offer: &[u8]) -> Bench {
    Bench::callee_of(invite_with(&[(header, "100rel"), ("Allow", "INVITE, UPDATE, PRACK")], "application/sdp", offer))
}

impl Bench {
    fn ring(&mut self, sdp: Option<&[u8]>) {
        self.input(Input::Ring { headers: none(), sdp: sdp.map(<[u8]>::to_vec) });
    }

    fn answer(&mut self, sdp: &[u8]) {
        self.input(Input::Answer { headers: none(), sdp: sdp.to_vec() });
    }

    /// The caller's PRACK.
    fn hear_prack(&mut self, response: &Response, cseq: u32, rack: &str, body: &[u8]) {
        let to = response.text(HeaderName::To).unwrap().into_owned();
        let from = response.text(HeaderName::From).unwrap().into_owned();
        let prack = within(Method::Prack, &from, &to, "call", cseq, &format!("prack{cseq}"), body);
        self.get(with(prack, &[("RAck", rack)]));
    }
}

fn rack_of(response: &Response) -> String {
    format!("{} 100 INVITE", response.text(HeaderName::RSeq).unwrap())
}

#[test]
fn a_reliable_183_is_acknowledged_once_whatever_the_network_does() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    assert_eq!(invite.text(HeaderName::Supported).unwrap(), "100rel, timer");
    assert_eq!(invite.text(HeaderName::Require), None);
    let first = respond(&invite, 183, "t1", &[RELIABLE, ("RSeq", "7")], ANSWER);
    b.get(first.clone());
    let prack = b.request(Method::Prack);
    let number = invite.cseq().unwrap().number;
    assert_eq!(prack.text(HeaderName::RAck).unwrap(), format!("7 {number} INVITE"));
    assert_eq!(prack.cseq().unwrap().number, number + 1);
    assert_eq!((prack.to().unwrap().tag().unwrap().as_ref(), prack.uri().as_str()), ("t1", "sip:them@192.0.2.2:5062"));
    assert_eq!(b.event(), Event::Ringing { code: 183, sdp: Some(ANSWER.to_vec()) });
    // A copy, and one that has overtaken another: neither is acknowledged, neither is told.
    b.get(first);
    b.get(respond(&invite, 180, "t1", &[RELIABLE, ("RSeq", "9")], b""));
    b.get(respond(&invite, 180, "t1", &[RELIABLE, ("RSeq", "6")], b""));
    b.quiet();
    b.get(respond(&invite, 180, "t1", &[RELIABLE, ("RSeq", "8")], b""));
    let second = b.request(Method::Prack);
    assert!(second.text(HeaderName::RAck).unwrap().starts_with("8 "));
    assert_eq!(b.event(), Event::Ringing { code: 180, sdp: None });
    // The PRACK is repeated until it is answered, as every request.
    b.get(respond(&prack, 200, "t1", &[], b""));
    b.wait(Duration::from_millis(500));
    assert_eq!(b.request(Method::Prack), second);
    b.get(respond(&second, 200, "t1", &[], b""));
    // The ACK counts as its INVITE, the BYE after the PRACKs.
    b.get(respond(&invite, 200, "t1", &[], b""));
    assert_eq!(b.request(Method::Ack).cseq().unwrap().number, number);
    assert_eq!(b.event(), Event::Answered { sdp: Some(ANSWER.to_vec()) });
    b.input(Input::Cancel);
    assert_eq!(b.request(Method::Bye).cseq().unwrap().number, number + 3);
}

#[test]
fn each_early_dialog_has_its_own_rseq() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    for (tag, rseq) in [("t1", "5"), ("t2", "90"), ("t1", "6"), ("t2", "91")] {
        b.get(respond(&invite, 180, tag, &[RELIABLE, ("RSeq", rseq)], b""));
        let prack = b.request(Method::Prack);
        assert!(prack.text(HeaderName::RAck).unwrap().starts_with(rseq));
        assert_eq!(prack.to().unwrap().tag().unwrap(), tag);
        assert!(matches!(b.event(), Event::Ringing { .. }));
    }
}

#[test]
fn a_prack_that_is_challenged_is_sent_again() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 180, "t1", &[RELIABLE, ("RSeq", "1")], b""));
    let prack = b.request(Method::Prack);
    let ask = [("Proxy-Authenticate", "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"")];
    b.get(respond(&prack, 407, "t1", &ask, b""));
    let again = b.request(Method::Prack);
    assert!(again.text(HeaderName::ProxyAuthorization).is_some());
    assert_eq!(again.text(HeaderName::RAck), prack.text(HeaderName::RAck));
    assert_eq!(again.cseq().unwrap().number, prack.cseq().unwrap().number + 1);
}

#[test]
fn without_100rel_nothing_is_acknowledged_and_with_it_required_nothing_else_is_taken() {
    let off = Terms { reliable: Reliability::Off, ..Terms::default() };
    let mut b = Bench::caller_on(off, OFFER);
    let invite = b.request(Method::Invite);
    assert_eq!(invite.text(HeaderName::Supported).unwrap(), "timer");
    b.get(respond(&invite, 180, "t1", &[RELIABLE, ("RSeq", "1")], b""));
    b.nothing_sent();

    let required = Terms { reliable: Reliability::Required, ..Terms::default() };
    let mut b = Bench::caller_on(required, OFFER);
    assert_eq!(b.request(Method::Invite).text(HeaderName::Require).unwrap(), "100rel");

    let refused = |terms, header: &str| {
        let invite = invite_with(&[(header, "100rel")], "application/sdp", OFFER);
        let rng = StdRng::seed_from_u64(3);
        let reply = Session::incoming(epoch(), local(OURS), terms, invite, addr(THEIRS), rng).unwrap_err().unwrap();
        let Ok(Message::Response(response)) = parse(&reply.payload) else { panic!("not a response") };
        response
    };
    let bad = refused(off, "Require");
    assert_eq!((bad.code(), bad.text(HeaderName::Unsupported).unwrap().as_ref()), (420, "100rel"));
    let poor = refused(required, "X-Supported");
    assert_eq!((poor.code(), poor.text(HeaderName::Require).unwrap().as_ref()), (421, "100rel"));
}

#[test]
fn a_183_is_repeated_until_its_prack_comes() {
    for header in ["Supported", "Require"] {
        let mut b = called(header, OFFER);
        let start = b.now;
        b.ring(Some(ANSWER));
        let progress = b.response(183);
        assert_eq!(progress.text(HeaderName::Require).unwrap(), "100rel");
        assert_eq!(progress.session_body().sdp(), Some(ANSWER));
        // The second one waits: one at a time. So does the answer, since there is SDP in the first.
        b.ring(None);
        b.answer(ANSWER);
        b.nothing_sent();
        let mut times = Vec::new();
        while times.len() < 4 {
            b.now = b.session.deadline().unwrap();
            b.input(Input::Timer);
            assert_eq!(b.response(183), progress);
            times.push((b.now - start).as_millis());
        }
        assert_eq!(times, [500, 1_500, 3_500, 7_500]);
        b.hear_prack(&progress, 101, "1 2 INVITE", b"");
        assert_eq!(b.response(481).cseq().unwrap().method, Method::Prack);
        b.hear_prack(&progress, 102, &rack_of(&progress), b"");
        assert_eq!(b.response(200).cseq().unwrap().method, Method::Prack);
        // Now the answer goes out; the SDP was exchanged before.
        let ok = b.response(200);
        assert_eq!((ok.cseq().unwrap().method, ok.body().len()), (Method::Invite, 0));
        // A copy of the PRACK gets a copy of its answer, another one of the same response 481.
        b.hear_prack(&progress, 102, &rack_of(&progress), b"");
        b.response(200);
        b.hear_prack(&progress, 103, &rack_of(&progress), b"");
        b.response(481);
        let tag = ok.to().unwrap().tag().unwrap().into_owned();
        b.hear_caller(Method::Ack, &tag, 100, b"");
        assert_eq!(b.event(), Event::Confirmed { sdp: None });
        b.quiet();
    }
}

#[test]
fn provisional_responses_come_one_at_a_time_and_in_order() {
    let mut b = called("Supported", OFFER);
    b.ring(None);
    let first = b.response(180);
    b.ring(Some(ANSWER));
    b.nothing_sent();
    b.hear_prack(&first, 101, &rack_of(&first), b"");
    b.response(200);
    let second = b.response(183);
    let rseq = |response: &Response| response.seconds(HeaderName::RSeq).unwrap();
    assert_eq!(rseq(&second), rseq(&first) + 1);
    // Every minute another one, so that no proxy gives up: a response of its own.
    b.hear_prack(&second, 102, &rack_of(&second), b"");
    b.response(200);
    b.wait(Duration::from_secs(61));
    let third = b.response(180);
    assert_eq!(rseq(&third), rseq(&first) + 2);
}

#[test]
fn a_180_without_sdp_does_not_hold_the_answer_up() {
    let mut b = called("Supported", OFFER);
    b.ring(None);
    let ringing = b.response(180);
    b.answer(ANSWER);
    let ok = b.response(200);
    assert_eq!(ok.session_body().sdp(), Some(ANSWER));
    // Its PRACK may still come.
    b.hear_prack(&ringing, 101, &rack_of(&ringing), b"");
    b.response(200);
    let tag = ok.to().unwrap().tag().unwrap().into_owned();
    b.hear_caller(Method::Ack, &tag, 100, b"");
    b.wait(Duration::from_secs(40));
    b.nothing_sent();
}

#[test]
fn a_response_that_is_never_acknowledged_ends_the_call() {
    let mut b = called("Supported", OFFER);
    b.ring(Some(ANSWER));
    b.answer(ANSWER);
    b.wait(Duration::from_millis(31_999));
    assert!(b.events.is_empty());
    b.sent.clear();
    b.wait(Duration::from_millis(1));
    assert_eq!(b.response(504).cseq().unwrap().method, Method::Invite);
    assert_eq!(b.event(), Event::Failed(Failure::NoPrack));
    b.linger();
}

#[test]
fn a_cancel_overtakes_the_prack() {
    let mut b = called("Supported", OFFER);
    b.ring(Some(ANSWER));
    let progress = b.response(183);
    b.answer(ANSWER);
    b.hear_caller(Method::Cancel, "", 100, b"");
    assert_eq!(b.event(), Event::Cancelled { by_peer: true, reasons: vec![] });
    b.response(200);
    b.response(487);
    b.hear_prack(&progress, 101, &rack_of(&progress), b"");
    b.response(481);
    b.linger();
}

#[test]
fn an_offer_in_a_prack_is_answered_in_its_200() {
    let mut b = called("Supported", OFFER);
    b.ring(Some(ANSWER));
    let progress = b.response(183);
    b.answer(ANSWER);
    b.hear_prack(&progress, 101, &rack_of(&progress), b"v=0\r\nanew\r\n");
    b.nothing_sent();
    assert_eq!(b.event(), Event::Reoffer { sdp: Some(b"v=0\r\nanew\r\n".to_vec()) });
    b.input(Input::AnswerReoffer { sdp: b"v=0\r\nagreed\r\n".to_vec() });
    let ok = b.response(200);
    assert_eq!((ok.cseq().unwrap().method, ok.session_body().sdp()), (Method::Prack, Some(&b"v=0\r\nagreed\r\n"[..])));
    assert_eq!(b.response(200).cseq().unwrap().method, Method::Invite);

    // Refused, it leaves what was agreed, and the response acknowledged.
    let mut b = called("Supported", OFFER);
    b.ring(Some(ANSWER));
    let progress = b.response(183);
    b.hear_prack(&progress, 101, &rack_of(&progress), b"v=0\r\nanew\r\n");
    b.event();
    b.input(Input::RejectReoffer { code: 488, headers: none() });
    b.response(488);
    b.wait(Duration::from_secs(40));
    b.nothing_sent();
    b.answer(ANSWER);
    b.response(200);
}

#[test]
fn an_invite_without_sdp_gets_our_offer_in_the_183_and_answers_in_the_prack() {
    let mut b = called("Supported", b"");
    b.ring(Some(OFFER));
    let progress = b.response(183);
    assert_eq!(progress.session_body().sdp(), Some(OFFER));
    // Ours is open: theirs has to wait.
    b.hear_caller(Method::Update, &progress.to().unwrap().tag().unwrap(), 101, ANSWER);
    b.response(491);
    b.hear_prack(&progress, 102, &rack_of(&progress), ANSWER);
    b.response(200);
    assert_eq!(b.event(), Event::ReofferConfirmed { sdp: Some(ANSWER.to_vec()) });
    b.answer(b"");
    let ok = b.response(200);
    assert_eq!(ok.body(), b"");
    b.hear_caller(Method::Ack, &ok.to().unwrap().tag().unwrap(), 100, b"");
    assert_eq!(b.event(), Event::Confirmed { sdp: None });
}

#[test]
fn a_caller_without_100rel_gets_no_offer_before_the_200() {
    let mut b = Bench::callee_of(invite_with(&[], "", b""));
    b.ring(Some(OFFER));
    let ringing = b.response(180);
    assert_eq!((ringing.body().len(), ringing.text(HeaderName::RSeq)), (0, None));
    b.answer(OFFER);
    assert_eq!(b.response(200).session_body().sdp(), Some(OFFER));
}

#[test]
fn what_is_no_rack_is_named() {
    for (rack, phrase) in [("x", "Malformed RAck"), ("1 2 BYE", "Malformed RAck"), ("1 2 INVITE 3", "Malformed RAck")] {
        let mut b = called("Supported", OFFER);
        b.ring(None);
        let ringing = b.response(180);
        b.hear_prack(&ringing, 101, rack, b"");
        assert_eq!(b.response(400).reason(), phrase);
    }
}
