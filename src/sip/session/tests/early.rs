//! Early dialogs: forks, and offers and answers before the 200, as the caller sees them.

use super::*;

const RELIABLE: (&str, &str) = ("Require", "100rel");
const OTHER: &[u8] = b"v=0\r\no=- 3 1 IN IP4 192.0.2.3\r\n";

impl Bench {
    fn hear_early(&mut self, invite: &Request, tag: &str, method: Method, cseq: u32, body: &[u8]) {
        let from = format!("{};tag={tag}", invite.text(HeaderName::To).unwrap());
        let to = invite.text(HeaderName::From).unwrap().into_owned();
        let call_id = invite.call_id().unwrap();
        self.get(within(method.clone(), &from, &to, call_id, cseq, &format!("{method}{cseq}{tag}"), body));
    }
}

#[test]
fn each_branch_of_a_fork_has_its_own_early_media() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 183, "t1", &[], ANSWER));
    assert_eq!(b.event(), Event::Ringing { code: 183, sdp: Some(ANSWER.to_vec()) });
    b.get(respond(&invite, 183, "t2", &[], OTHER));
    assert_eq!(b.event(), Event::Ringing { code: 183, sdp: Some(OTHER.to_vec()) });
    // The answer of the first has no SDP: it is the one of its own 183.
    b.get(respond(&invite, 200, "t1", &[], b""));
    assert_eq!(b.request(Method::Ack).to().unwrap().tag().unwrap(), "t1");
    assert_eq!(b.event(), Event::Answered { sdp: Some(ANSWER.to_vec()) });
    // The other one rings on for a moment, answers too, and is let go.
    b.get(respond(&invite, 180, "t2", &[], b""));
    b.quiet();
    b.get(respond(&invite, 200, "t2", &[], OTHER));
    assert_eq!(b.request(Method::Ack).to().unwrap().tag().unwrap(), "t2");
    assert_eq!(b.request(Method::Bye).to().unwrap().tag().unwrap(), "t2");
    b.quiet();
}

#[test]
fn another_branch_may_answer_than_the_one_that_rang() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 183, "t1", &[], ANSWER));
    b.event();
    b.get(respond(&invite, 200, "t2", &[], OTHER));
    assert_eq!(b.request(Method::Ack).to().unwrap().tag().unwrap(), "t2");
    assert_eq!(b.event(), Event::Answered { sdp: Some(OTHER.to_vec()) });
    // What the one that rang has to say is over with that, but a BYE is answered.
    b.hear_early(&invite, "t1", Method::Info, 1, b"");
    b.response(481);
    b.hear_early(&invite, "t1", Method::Bye, 2, b"");
    b.response(200);
    b.quiet();
}

#[test]
fn a_branch_that_is_gone_is_no_ringing() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 180, "t1", &[], b""));
    b.event();
    b.get(respond(&invite, 180, "t2", &[], b""));
    b.event();
    b.get(respond(&invite, 199, "t1", &[("Reason", "SIP;cause=486")], b""));
    b.get(respond(&invite, 199, "t3", &[], b""));
    b.quiet();
    // A BYE before the answer ends its own branch only; of the last one, the call.
    b.get(respond(&invite, 180, "t4", &[], b""));
    b.event();
    b.hear_early(&invite, "t4", Method::Bye, 1, b"");
    b.response(200);
    b.quiet();
    b.hear_early(&invite, "t2", Method::Bye, 1, b"");
    b.request(Method::Cancel);
    b.response(200);
    assert_eq!(b.event(), Event::Cancelled { by_peer: true, reasons: vec![] });
}

#[test]
fn the_200_says_anew_where_the_callee_is_reached() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 180, "t1", &[("Record-Route", "<sip:192.0.2.8;lr>")], b""));
    b.get(respond(&invite, 200, "t1", &[("Record-Route", "<sip:192.0.2.9;lr>")], ANSWER));
    assert_eq!(b.request(Method::Ack).text(HeaderName::Route).unwrap(), "<sip:192.0.2.9;lr>");
}

#[test]
fn an_update_before_the_answer_changes_what_is_agreed() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    // Our offer is open until it is answered reliably.
    b.get(respond(&invite, 183, "t1", &[], ANSWER));
    b.event();
    b.hear_early(&invite, "t1", Method::Update, 1, OTHER);
    b.response(491);
    b.get(respond(&invite, 183, "t1", &[RELIABLE, ("RSeq", "1")], ANSWER));
    b.request(Method::Prack);
    b.event();
    b.hear_early(&invite, "t1", Method::Update, 2, OTHER);
    assert_eq!(b.event(), Event::Reoffer { sdp: Some(OTHER.to_vec()) });
    b.hear_early(&invite, "t1", Method::Update, 3, OTHER);
    assert!(b.response(500).seconds(HeaderName::RetryAfter).unwrap() <= 10);
    b.input(Input::AnswerReoffer { sdp: OFFER.to_vec() });
    assert_eq!(b.response(200).session_body().sdp(), Some(OFFER));
    // Without SDP it says only where it is.
    b.hear_early(&invite, "t1", Method::Update, 4, b"");
    b.response(200);
    // The 200 cannot take that back.
    b.get(respond(&invite, 200, "t1", &[], ANSWER));
    b.request(Method::Ack);
    assert_eq!(b.event(), Event::Answered { sdp: None });
}

#[test]
fn we_update_before_the_answer_when_the_callee_takes_that() {
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    let allow = ("Allow", "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE");
    b.get(respond(&invite, 183, "t1", &[RELIABLE, ("RSeq", "1"), allow], ANSWER));
    b.request(Method::Prack);
    b.event();
    b.input(Input::Reoffer { sdp: OTHER.to_vec() });
    let update = b.request(Method::Update);
    assert_eq!(update.session_body().sdp(), Some(OTHER));
    b.get(respond(&update, 200, "t1", &[], ANSWER));
    assert_eq!(b.event(), Event::ReofferAnswered { sdp: Some(ANSWER.to_vec()) });
    // Where it does not, the offer waits for the answer of the call.
    let mut b = Bench::caller();
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 180, "t1", &[], b""));
    b.event();
    b.input(Input::Reoffer { sdp: OTHER.to_vec() });
    b.quiet();
    b.get(respond(&invite, 200, "t1", &[], ANSWER));
    b.request(Method::Ack);
    assert!(matches!(b.event(), Event::Answered { .. }));
    assert_eq!(b.event(), Event::OfferWanted);
    b.input(Input::Reoffer { sdp: OTHER.to_vec() });
    assert_eq!(b.request(Method::Invite).session_body().sdp(), Some(OTHER));
}

#[test]
fn an_invite_without_sdp_is_answered_in_the_ack() {
    let mut b = Bench::caller_on(Terms { delayed_offer: true, ..Terms::default() }, b"");
    let invite = b.request(Method::Invite);
    assert_eq!((invite.body(), invite.text(HeaderName::ContentType)), (&b""[..], None));
    // SDP that may be lost is no offer.
    b.get(respond(&invite, 183, "t1", &[], ANSWER));
    assert_eq!(b.event(), Event::Ringing { code: 183, sdp: None });
    let ok = respond(&invite, 200, "t1", &[], ANSWER);
    b.get(ok.clone());
    assert_eq!(b.event(), Event::Reoffer { sdp: Some(ANSWER.to_vec()) });
    b.get(ok.clone());
    b.quiet();
    b.input(Input::AnswerReoffer { sdp: OFFER.to_vec() });
    let ack = b.request(Method::Ack);
    assert_eq!(ack.session_body().sdp(), Some(OFFER));
    assert_eq!(b.event(), Event::Answered { sdp: None });
    b.get(ok);
    assert_eq!(b.request(Method::Ack), ack);
    b.quiet();
}

#[test]
fn an_invite_without_sdp_is_answered_in_the_prack() {
    let mut b = Bench::caller_on(Terms { delayed_offer: true, ..Terms::default() }, b"");
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 183, "t1", &[RELIABLE, ("RSeq", "1")], ANSWER));
    b.nothing_sent();
    assert_eq!(b.event(), Event::Ringing { code: 183, sdp: Some(ANSWER.to_vec()) });
    assert_eq!(b.event(), Event::Reoffer { sdp: Some(ANSWER.to_vec()) });
    b.input(Input::AnswerReoffer { sdp: OFFER.to_vec() });
    assert_eq!(b.request(Method::Prack).session_body().sdp(), Some(OFFER));
    b.get(respond(&invite, 200, "t1", &[], b""));
    assert_eq!(b.request(Method::Ack).body(), b"");
    assert_eq!(b.event(), Event::Answered { sdp: None });
}

#[test]
fn an_offer_in_a_response_that_is_not_taken_ends_the_call() {
    let refuse = || Input::RejectReoffer { code: 488, headers: none() };
    let terms = Terms { delayed_offer: true, ..Terms::default() };
    let mut b = Bench::caller_on(terms, b"");
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 200, "t1", &[], ANSWER));
    b.event();
    b.input(refuse());
    assert_eq!(b.request(Method::Ack).body(), b"");
    assert_eq!(b.request(Method::Bye).reasons()[0].cause, Some(488));
    assert_eq!(b.event(), Event::Failed(Failure::NoAgreement));

    let mut b = Bench::caller_on(terms, b"");
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 183, "t1", &[RELIABLE, ("RSeq", "1")], ANSWER));
    b.events.clear();
    b.input(refuse());
    assert_eq!(b.request(Method::Prack).body(), b"");
    let cancel = b.request(Method::Cancel);
    assert_eq!(cancel.reasons()[0].cause, Some(488));
    b.get(respond(&invite, 487, "t1", &[], b""));
    b.request(Method::Ack);
    assert_eq!(b.event(), Event::Cancelled { by_peer: false, reasons: vec![] });

    // Hung up before anybody has looked at it.
    let mut b = Bench::caller_on(terms, b"");
    let invite = b.request(Method::Invite);
    b.get(respond(&invite, 200, "t1", &[], ANSWER));
    b.event();
    b.input(Input::Cancel);
    b.request(Method::Ack);
    b.request(Method::Bye);
    assert_eq!(b.event(), Event::Ended { by_peer: false, reasons: vec![] });
}
