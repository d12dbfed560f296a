//! RFC 3261 §8.1.3.4: a call that is sent elsewhere.

use super::*;
use crate::sip::Ways;
use crate::sip::transport::Transport;

const OTHER: &str = "192.0.2.44:5070";

fn called(terms: Terms, ways: Ways, route: &[&str]) -> (Bench, Request) {
    let route = route.iter().map(|uri| uri.parse().unwrap()).collect();
    let dial = Dial { terms, route, offer: OFFER.to_vec(), ..dial_to(THEIRS) };
    let session = Session::dial(epoch(), Local { ways, ..local(OURS) }, dial, StdRng::seed_from_u64(1));
    let mut bench = Bench::of(epoch(), session);
    let invite = bench.request(Method::Invite);
    (bench, invite)
}

fn ways() -> Ways {
    Ways::default().reached(Transport::Udp, addr(OURS))
}

/// The next INVITE after a 302, and where it went.
fn sent_on(bench: &mut Bench, invite: &Request, contact: &str) -> (Target, Request) {
    let text = Writer::reply(invite, addr(OURS), 302, "x", Some("them")).named("Contact", contact);
    bench.get(Message::Response(text.finish("", b"")));
    assert_eq!(bench.request(Method::Ack).top_via().unwrap(), invite.top_via().unwrap());
    let to = bench.sent.front().map(|(to, _)| to.clone()).expect("an INVITE");
    (to, bench.request(Method::Invite))
}

#[test]
fn a_call_that_is_redirected_goes_to_the_likeliest_contact_with_the_same_names() {
    let (mut b, first) = called(Terms::default(), ways(), &[]);
    let contact = format!(
        "<mailto:a@b>, <sip:a@192.0.2.43>;q=0.5, \"x, y\" <sip:b@{OTHER}?Subject=x>;q=0.9, <sips:c@192.0.2.45>"
    );
    let (to, second) = sent_on(&mut b, &first, &contact);
    assert_eq!((to, second.uri().as_str()), (Target::Addr(addr(OTHER)), "sip:b@192.0.2.44:5070"));
    assert_eq!((first.call_id(), first.from(), first.to()), (second.call_id(), second.from(), second.to()));
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    assert_eq!(second.body(), OFFER);
    assert_eq!(b.event(), Event::Redirected);
    b.get(respond(&second, 200, "t", &[], ANSWER));
    b.request(Method::Ack);
    b.quiet_but(Event::Answered { sdp: Some(ANSWER.to_vec()) });
}

#[test]
fn redirections_are_followed_so_often_and_no_circle_is() {
    let (mut b, mut invite) = called(Terms { redirects: 2, ..Terms::default() }, ways(), &[]);
    for n in 0..2 {
        invite = sent_on(&mut b, &invite, &format!("<sip:{n}@{OTHER}>")).1;
        assert_eq!(b.event(), Event::Redirected);
    }
    b.get(respond(&invite, 302, "t", &[("Contact", "<sip:9@192.0.2.50>")], b""));
    b.request(Method::Ack);
    assert!(matches!(b.event(), Event::Refused(Refusal { code: 302, .. })));
    b.quiet();
    // To itself, nowhere, and by what we do not speak.
    for contact in ["<sip:4002@192.0.2.9>", "<mailto:a@b>", "<sips:a@192.0.2.44>", "<sip:a@[2001:db8::1]>"] {
        let (mut b, invite) = called(Terms::default(), ways(), &[]);
        let contact = contact.replace("sip:4002@192.0.2.9", invite.uri().as_str());
        b.get(respond(&invite, 302, "t", &[("Contact", &contact)], b""));
        b.request(Method::Ack);
        assert!(matches!(b.event(), Event::Refused(Refusal { code: 302, .. })), "{contact}");
        b.quiet();
    }
}

#[test]
fn what_is_cancelled_is_not_called_elsewhere() {
    let (mut b, invite) = called(Terms::default(), ways(), &[]);
    b.get(respond(&invite, 100, "", &[], b""));
    b.events.clear();
    b.input(Input::Cancel);
    let cancel = b.request(Method::Cancel);
    b.get(respond(&cancel, 200, "t", &[], b""));
    b.get(respond(&invite, 302, "t", &[("Contact", "<sip:9@192.0.2.50>")], b""));
    b.request(Method::Ack);
    b.nothing_sent();
}

#[test]
fn a_proxy_that_calls_pass_is_passed_again() {
    let (mut b, invite) = called(Terms::default(), ways(), &["sip:edge.example;lr"]);
    let (to, second) = sent_on(&mut b, &invite, "<sip:b@far.example>");
    assert_eq!((to, second.uri().as_str()), (Target::Addr(addr(THEIRS)), "sip:b@far.example"));
    assert_eq!(second.text(HeaderName::Route).unwrap(), "<sip:edge.example;lr>");
    b.quiet();
}

#[test]
fn to_the_other_family_it_goes_with_an_offer_of_that_family() {
    let ways = ways().reached(Transport::Udp, addr("[2001:db8::1]:5060"));
    let (mut b, invite) = called(Terms::default(), ways, &[]);
    b.get(respond(&invite, 302, "t", &[("Contact", "<sip:b@[2001:db8::9]:5070>")], b""));
    b.request(Method::Ack);
    assert_eq!(b.event(), Event::Redirected);
    b.quiet_but(Event::OtherFamily { v6: true });
    b.input(Input::InviteThere { offer: Some(b"v=0 of six".to_vec()) });
    assert_eq!(b.sent.front().unwrap().0, Target::Addr(addr("[2001:db8::9]:5070")));
    assert_eq!(b.request(Method::Invite).body(), b"v=0 of six");
}
