//! RFC 3263 §4.3: a call whose first address does not do goes to the next one.

use super::*;
use crate::sip::Ways;
use crate::sip::locate::Hop;
use crate::sip::transport::Transport;

fn hop(transport: Transport, at: &str) -> Hop {
    Hop { transport, address: addr(at) }
}

/// A call to several addresses, by a policy.
pub(super) fn caller_by(ways: Ways, spares: &[Hop], offer: &[u8]) -> Bench {
    caller_after(None, ways, spares, offer)
}

/// And who goes on to the next one after so long.
fn caller_after(patience: Option<Duration>, ways: Ways, spares: &[Hop], offer: &[u8]) -> Bench {
    let now = epoch();
    // The first one is where the call goes anyhow.
    let hops = [&[hop(Transport::Udp, THEIRS)], spares].concat();
    let (_, spares) = Spares::of(&hops).expect("one at least");
    let dial = Dial { spares, patience, offer: offer.to_vec(), ..dial_to(THEIRS) };
    let local = Local { ways, ..local(OURS) };
    Bench::of(now, Session::dial(now, local, dial, StdRng::seed_from_u64(1)))
}

pub(super) fn ways() -> Ways {
    Ways { large_by_tcp: true, ..Ways::default() }
        .reached(Transport::Udp, addr(OURS))
        .reached(Transport::Tcp, addr("192.0.2.1:5062"))
}

#[track_caller]
fn invited(bench: &mut Bench) -> (Target, Request) {
    let to = bench.sent.front().map(|(to, _)| to.clone()).expect("an INVITE");
    (to, bench.request(Method::Invite))
}

fn via(request: &Request) -> String {
    let via = request.top_via().unwrap();
    format!("{} {}:{}", via.transport, via.host, via.port.unwrap())
}

const SECOND: &str = "192.0.2.9:5070";

#[test]
fn nobody_answers_at_the_first_address_the_second_one_is_called() {
    let mut bench = caller_by(ways(), &[hop(Transport::Tcp, SECOND)], OFFER);
    let (_, first) = invited(&mut bench);
    bench.wait(Duration::from_secs(33));
    let (to, second) = loop {
        let (to, request) = invited(&mut bench);
        if to != Target::Addr(addr(THEIRS)) {
            break (to, request);
        }
    };
    assert_eq!(to, Target::Addr(addr(SECOND)));
    assert_eq!((via(&first), via(&second)), ("UDP 192.0.2.1:5060".into(), "TCP 192.0.2.1:5062".into()));
    assert_ne!(first.top_via().unwrap().branch(), second.top_via().unwrap().branch());
    assert_eq!((first.call_id(), first.cseq(), first.from()), (second.call_id(), second.cseq(), second.from()));
    assert!(second.text(HeaderName::Contact).unwrap().contains("192.0.2.1:5062;transport=tcp"));
    assert!(bench.events.is_empty(), "{:?}", bench.events);
    // The second one refuses: its ACK goes there, and that is the end.
    let busy = Writer::reply(&second, addr(OURS), 486, "Busy Here", Some("them")).finish("", b"");
    bench.get(Message::Response(busy));
    assert_eq!(bench.sent.front().unwrap().0, Target::Addr(addr(SECOND)));
    let ack = bench.request(Method::Ack);
    assert_eq!(ack.top_via().unwrap(), second.top_via().unwrap());
    assert!(matches!(bench.events.pop_front(), Some(Event::Refused(Refusal { code: 486, .. }))));
    bench.linger();
}

#[test]
fn what_cannot_be_sent_or_is_answered_503_goes_to_the_next_address_and_at_last_ends() {
    let spares = [hop(Transport::Udp, SECOND), hop(Transport::Udp, "192.0.2.10:5060")];
    let mut bench = caller_by(ways(), &spares, OFFER);
    bench.request(Method::Invite);
    bench.input(Input::TransportError { to: Target::Addr(addr(THEIRS)) });
    let (to, second) = invited(&mut bench);
    assert_eq!(to, Target::Addr(addr(SECOND)));
    // A late word about the first address is none about the second.
    bench.input(Input::TransportError { to: Target::Addr(addr(THEIRS)) });
    assert!(bench.sent.is_empty());
    let trying = Writer::reply(&second, addr(OURS), 100, "Trying", None).finish("", b"");
    bench.get(Message::Response(trying));
    let full = Writer::reply(&second, addr(OURS), 503, "Service Unavailable", Some("them")).finish("", b"");
    bench.get(Message::Response(full));
    bench.request(Method::Ack);
    let (to, _) = invited(&mut bench);
    assert_eq!(to, Target::Addr(addr("192.0.2.10:5060")));
    bench.input(Input::TransportError { to });
    assert_eq!(bench.events, [Event::Trying, Event::Failed(Failure::Unreachable)]);
    bench.linger();
}

#[test]
fn who_rings_is_not_called_elsewhere_and_a_cancelled_call_is_not_either() {
    let mut bench = caller_by(ways(), &[hop(Transport::Udp, SECOND)], OFFER);
    let invite = bench.request(Method::Invite);
    let ringing = Writer::reply(&invite, addr(OURS), 180, "Ringing", Some("them")).finish("", b"");
    bench.get(Message::Response(ringing));
    // The way to it is gone, but it has the call.
    bench.input(Input::TransportError { to: Target::Addr(addr(THEIRS)) });
    assert!(bench.sent.is_empty());
    let full = Writer::reply(&invite, addr(OURS), 503, "Service Unavailable", Some("them")).finish("", b"");
    bench.get(Message::Response(full));
    bench.request(Method::Ack);
    assert!(bench.sent.is_empty());
    assert!(matches!(bench.events.back(), Some(Event::Refused(Refusal { code: 503, .. }))));

    let mut bench = caller_by(ways(), &[hop(Transport::Udp, SECOND)], OFFER);
    bench.request(Method::Invite);
    bench.input(Input::Cancel);
    bench.input(Input::TransportError { to: Target::Addr(addr(THEIRS)) });
    assert!(bench.sent.is_empty());
    assert!(matches!(bench.events.back(), Some(Event::Cancelled { by_peer: false, .. })));
}

#[test]
fn an_invite_above_1300_bytes_goes_by_tcp_and_by_udp_where_tcp_is_refused() {
    let large = vec![b'x'; 1_300];
    let mut bench = caller_by(ways(), &[], &large);
    let (to, first) = invited(&mut bench);
    assert_eq!((to.clone(), via(&first)), (Target::Addr(addr(THEIRS)), "TCP 192.0.2.1:5062".into()));
    assert_eq!(first.body(), large);
    // Nothing is repeated over a stream.
    bench.wait(Duration::from_secs(5));
    assert!(bench.sent.is_empty());
    bench.input(Input::TransportError { to });
    let (to, second) = invited(&mut bench);
    assert_eq!((to.clone(), via(&second)), (Target::Addr(addr(THEIRS)), "UDP 192.0.2.1:5060".into()));
    assert_eq!(second.cseq(), first.cseq());
    bench.input(Input::TransportError { to });
    assert_eq!(bench.events, [Event::Failed(Failure::Unreachable)]);

    for (policy, size) in [(Ways { large_by_tcp: false, ..ways() }, 2_000), (ways(), 100)] {
        let mut bench = caller_by(policy, &[], &vec![b'x'; size]);
        assert_eq!(via(&bench.request(Method::Invite)), "UDP 192.0.2.1:5060");
    }
}

const PATIENT: Duration = Duration::from_secs(4);

/// A call whose first address was silent for so long, with the two INVITEs.
fn moved_on(offer: &[u8]) -> (Bench, Request, Request) {
    let mut bench = caller_after(Some(PATIENT), ways(), &[hop(Transport::Udp, SECOND)], offer);
    let (_, first) = invited(&mut bench);
    bench.wait(PATIENT - Duration::from_millis(1));
    while let Some((to, _)) = bench.sent.pop_front() {
        assert_eq!(to, Target::Addr(addr(THEIRS)));
    }
    bench.wait(Duration::from_millis(1));
    let (to, second) = invited(&mut bench);
    assert_eq!(to, Target::Addr(addr(SECOND)));
    assert_eq!((first.call_id(), first.cseq(), first.from()), (second.call_id(), second.cseq(), second.from()));
    assert_ne!(first.top_via().unwrap().branch(), second.top_via().unwrap().branch());
    bench.quiet();
    (bench, first, second)
}

#[test]
fn a_silent_address_is_given_up_in_seconds_and_a_late_180_of_it_is_cancelled() {
    let (mut bench, first, second) = moved_on(OFFER);
    bench.get(respond(&second, 100, "", &[], b""));
    assert_eq!(bench.event(), Event::Trying);
    bench.get(respond(&first, 180, "late", &[], b""));
    assert_eq!(bench.sent.front().unwrap().0, Target::Addr(addr(THEIRS)));
    let cancel = bench.request(Method::Cancel);
    assert_eq!(cancel.top_via().unwrap(), first.top_via().unwrap());
    bench.get(respond(&first, 183, "late", &[("Require", "100rel"), ("RSeq", "1")], ANSWER));
    bench.quiet();
    bench.get(respond(&cancel, 200, "late", &[], b""));
    bench.get(respond(&first, 487, "late", &[], b""));
    assert_eq!(bench.request(Method::Ack).top_via().unwrap(), first.top_via().unwrap());
    // Nobody who counts has been heard: the call goes on at the second address.
    bench.quiet();
    bench.get(respond(&second, 180, "b", &[], b""));
    assert_eq!(bench.event(), Event::Ringing { code: 180, sdp: None });
    bench.get(respond(&second, 200, "b", &[], ANSWER));
    bench.request(Method::Ack);
    assert_eq!(bench.event(), Event::Answered { sdp: Some(ANSWER.to_vec()) });
    bench.wait(Duration::from_secs(40));
    bench.quiet();
    bench.input(Input::Cancel);
    let bye = bench.request(Method::Bye);
    assert_eq!(bye.to().unwrap().tag().unwrap(), "b");
    bench.get(respond(&bye, 200, "b", &[], b""));
    assert!(matches!(bench.event(), Event::Ended { by_peer: false, .. }));
    bench.linger();
}

#[test]
fn a_late_answer_of_an_address_that_was_given_up_is_hung_up_and_the_call_goes_on() {
    for over in [false, true] {
        let (mut bench, first, second) = moved_on(OFFER);
        if over {
            bench.get(respond(&second, 486, "b", &[], b""));
            bench.request(Method::Ack);
            assert!(matches!(bench.event(), Event::Refused(Refusal { code: 486, .. })));
        }
        for copy in [false, true] {
            bench.get(respond(&first, 200, "late", &[], ANSWER));
            assert_eq!(bench.request(Method::Ack).to().unwrap().tag().unwrap(), "late");
            if !copy {
                let bye = bench.request(Method::Bye);
                assert_eq!(bye.to().unwrap().tag().unwrap(), "late");
                bench.get(respond(&bye, 200, "late", &[], b""));
            }
        }
        bench.quiet();
        // Its BYE crosses ours.
        bench.hear_callee(&first, "late", Method::Bye, 1, b"");
        bench.sent.clear();
        if !over {
            bench.quiet();
            bench.get(respond(&second, 200, "b", &[], ANSWER));
            assert_eq!(bench.request(Method::Ack).to().unwrap().tag().unwrap(), "b");
            assert_eq!(bench.event(), Event::Answered { sdp: Some(ANSWER.to_vec()) });
            bench.input(Input::Cancel);
            let bye = bench.request(Method::Bye);
            assert_eq!(bye.to().unwrap().tag().unwrap(), "b");
            bench.get(respond(&bye, 200, "b", &[], b""));
        }
        bench.linger();
    }
}

#[test]
fn a_cancelled_invite_that_was_given_up_is_forgotten_after_64_t1() {
    let (mut bench, first, second) = moved_on(OFFER);
    bench.get(respond(&first, 100, "", &[], b""));
    let cancel = bench.request(Method::Cancel);
    bench.get(respond(&cancel, 200, "late", &[], b""));
    bench.get(respond(&second, 486, "b", &[], b""));
    bench.request(Method::Ack);
    bench.linger();
}

#[test]
fn a_hang_up_cancels_the_address_that_has_the_call() {
    let (mut bench, first, second) = moved_on(OFFER);
    bench.get(respond(&second, 180, "b", &[], b""));
    bench.input(Input::Cancel);
    assert_eq!(bench.request(Method::Cancel).top_via().unwrap(), second.top_via().unwrap());
    bench.get(respond(&first, 180, "late", &[], b""));
    assert_eq!(bench.request(Method::Cancel).top_via().unwrap(), first.top_via().unwrap());
    // It cannot be sent: that says nothing of the second one.
    bench.events.clear();
    bench.input(Input::TransportError { to: Target::Addr(addr(THEIRS)) });
    bench.quiet();
    bench.get(respond(&second, 487, "b", &[], b""));
    bench.request(Method::Ack);
    assert!(matches!(bench.event(), Event::Cancelled { by_peer: false, .. }));
    bench.linger();
}

#[test]
fn without_a_further_address_silence_is_told_and_waited_for() {
    let mut bench = caller_after(Some(PATIENT), ways(), &[], OFFER);
    let (_, invite) = invited(&mut bench);
    bench.wait(PATIENT);
    assert_eq!(bench.events.drain(..).collect::<Vec<_>>(), [Event::Silent]);
    bench.wait(Duration::from_secs(20));
    bench.sent.clear();
    bench.get(respond(&invite, 180, "late", &[], b""));
    bench.quiet_but(Event::Ringing { code: 180, sdp: None });

    // Whoever has said anything is not silent.
    let mut bench = caller_after(Some(PATIENT), ways(), &[hop(Transport::Udp, SECOND)], OFFER);
    let (_, invite) = invited(&mut bench);
    bench.get(respond(&invite, 100, "", &[], b""));
    bench.wait(Duration::from_secs(100));
    bench.quiet_but(Event::Trying);
    // And nobody is called who is not wanted any more.
    let mut bench = caller_after(Some(PATIENT), ways(), &[hop(Transport::Udp, SECOND)], OFFER);
    bench.input(Input::Cancel);
    bench.wait(PATIENT);
    assert!(bench.sent.iter().all(|(to, _)| *to == Target::Addr(addr(THEIRS))));
    assert_eq!(bench.events, []);
}

const OURS_V6: &str = "[2001:db8::1]:5060";
const THEIRS_V6: &str = "[2001:db8::9]:5060";

/// A call whose second address is of the other family, when the first one has been left for it: the first INVITE, and nothing else.
fn left_for_ipv6() -> (Bench, Request) {
    let ways = ways().reached(Transport::Udp, addr(OURS_V6));
    let spares = [hop(Transport::Udp, THEIRS_V6), hop(Transport::Udp, SECOND)];
    let mut bench = caller_after(Some(PATIENT), ways, &spares, OFFER);
    let (_, first) = invited(&mut bench);
    let full = Writer::reply(&first, addr(OURS), 503, "Service Unavailable", Some("them")).finish("", b"");
    bench.get(Message::Response(full));
    bench.request(Method::Ack);
    bench.quiet_but(Event::OtherFamily { v6: true });
    (bench, first)
}

#[test]
fn at_an_address_of_the_other_family_there_is_an_offer_of_its_own() {
    let (mut bench, first) = left_for_ipv6();
    // Whatever is still heard of the first one leads to no third.
    bench.input(Input::TransportError { to: Target::Addr(addr(THEIRS)) });
    bench.wait(Duration::from_millis(100));
    bench.quiet();
    bench.input(Input::InviteThere { offer: Some(b"v=0 of six".to_vec()) });
    let (to, second) = invited(&mut bench);
    assert_eq!((to, second.body()), (Target::Addr(addr(THEIRS_V6)), &b"v=0 of six"[..]));
    assert_eq!(via(&second), "UDP [2001:db8::1]:5060");
    assert!(second.text(HeaderName::Contact).unwrap().contains("@[2001:db8::1]:5060"));
    assert_eq!((first.call_id(), first.cseq(), first.from()), (second.call_id(), second.cseq(), second.from()));
    // It is asked for once; and back again.
    bench.input(Input::InviteThere { offer: Some(b"v=0 of nobody".to_vec()) });
    bench.quiet();
    bench.input(Input::TransportError { to: Target::Addr(addr(THEIRS_V6)) });
    bench.quiet_but(Event::OtherFamily { v6: false });
    bench.input(Input::InviteThere { offer: None });
    let (to, third) = invited(&mut bench);
    assert_eq!((to, third.body()), (Target::Addr(addr(SECOND)), &b"v=0 of six"[..]));
    bench.get(respond(&third, 200, "b", &[], ANSWER));
    bench.request(Method::Ack);
    bench.quiet_but(Event::Answered { sdp: Some(ANSWER.to_vec()) });
}

#[test]
fn who_hangs_up_before_there_is_an_offer_for_the_other_family_calls_nobody_there() {
    let (mut bench, _) = left_for_ipv6();
    bench.input(Input::Cancel);
    bench.quiet_but(Event::Cancelled { by_peer: false, reasons: Vec::new() });
    bench.input(Input::InviteThere { offer: Some(OFFER.to_vec()) });
    bench.quiet();
    bench.linger();
}

#[test]
fn a_silent_address_is_left_for_one_of_the_other_family_and_its_late_answer_is_hung_up() {
    let ways = ways().reached(Transport::Udp, addr(OURS_V6));
    let mut bench = caller_after(Some(PATIENT), ways, &[hop(Transport::Udp, THEIRS_V6)], OFFER);
    let (_, first) = invited(&mut bench);
    bench.wait(PATIENT);
    bench.sent.clear();
    bench.quiet_but(Event::OtherFamily { v6: true });
    bench.get(respond(&first, 200, "late", &[], ANSWER));
    bench.request(Method::Ack);
    let bye = bench.request(Method::Bye);
    bench.get(respond(&bye, 200, "late", &[], b""));
    bench.quiet();
    bench.input(Input::InviteThere { offer: Some(b"v=0 of six".to_vec()) });
    let (to, second) = invited(&mut bench);
    assert_eq!(to, Target::Addr(addr(THEIRS_V6)));
    bench.get(respond(&second, 200, "b", &[], ANSWER));
    bench.request(Method::Ack);
    bench.quiet_but(Event::Answered { sdp: Some(ANSWER.to_vec()) });
}
