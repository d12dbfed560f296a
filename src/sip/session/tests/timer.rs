//! RFC 4028, both roles, each refresher.

use super::callee::invite_with;
use super::*;

const UPDATES: (&str, &str) = ("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE");
const TWO_HOURS: Duration = Duration::from_secs(7_200);

fn timer(expires: u32, min_se: u32, refresher: Refresher) -> Terms {
    Terms { timer: Some(TimerTerms { expires, min_se, refresher }), ..Terms::default() }
}

fn off() -> Terms {
    Terms { timer: None, ..Terms::default() }
}

impl Bench {
    /// A call that was answered with these headers.
    fn up(terms: Terms, headers: &[(&str, &str)]) -> (Bench, Request) {
        let mut b = Bench::caller_on(terms, OFFER);
        let invite = b.request(Method::Invite);
        b.get(respond(&invite, 200, "t1", headers, ANSWER));
        b.request(Method::Ack);
        b.event();
        (b, invite)
    }

    /// A call to us with these headers, answered and acknowledged; and our 200.
    fn taken(terms: Terms, headers: &[(&str, &str)]) -> (Bench, Response) {
        let invite = invite_with(headers, "application/sdp", OFFER);
        let session = Session::incoming(epoch(), local(OURS), terms, invite, addr(THEIRS), StdRng::seed_from_u64(2));
        let mut b = Bench::of(epoch(), session.unwrap());
        b.response(100);
        b.input(Input::Answer { headers: none(), sdp: ANSWER.to_vec() });
        let ok = b.response(200);
        let tag = ok.to().unwrap().tag().unwrap().into_owned();
        b.hear_caller(Method::Ack, &tag, 100, b"");
        b.event();
        (b, ok)
    }

    /// Seconds until something happens on its own, and not a retransmission.
    fn idle_for(&mut self) -> u64 {
        let start = self.now;
        self.wait(self.session.deadline().unwrap() - self.now);
        while self.sent.is_empty() && self.events.is_empty() {
            self.wait(self.session.deadline().unwrap() - self.now);
        }
        (self.now - start).as_secs()
    }
}

/// Two sessions, wired; whose owners answer whatever they are asked.
struct Pair {
    now: Instant,
    sides: [Session; 2],
    /// How many UPDATEs and re-INVITEs each has sent.
    refreshes: [usize; 2],
    events: [Vec<Event>; 2],
    /// The far side's UPDATEs are answered 405 and never offered.
    no_update: bool,
}

impl Pair {
    fn new(caller: Terms, callee: Terms, no_update: bool) -> Pair {
        let now = epoch();
        let dial = Dial { terms: caller, ..dial_to(THEIRS) };
        let mut caller = Session::dial(now, local(OURS), dial, StdRng::seed_from_u64(1));
        let Some(Output::Transmit { payload, .. }) = caller.poll() else { panic!("no INVITE") };
        let Ok(Message::Request(invite)) = parse(&Pair::edited(payload, no_update)) else { panic!("no request") };
        let callee =
            Session::incoming(now, local(THEIRS), callee, invite, addr(OURS), StdRng::seed_from_u64(2)).unwrap();
        let mut pair = Pair { now, sides: [caller, callee], refreshes: [0; 2], events: [vec![], vec![]], no_update };
        pair.settle();
        pair.input(1, Input::Answer { headers: none(), sdp: ANSWER.to_vec() });
        pair
    }

    fn edited(payload: Vec<u8>, no_update: bool) -> Vec<u8> {
        let text = String::from_utf8(payload).unwrap();
        if no_update { text.replace("INFO, UPDATE, PRACK", "INFO, PRACK").into_bytes() } else { text.into_bytes() }
    }

    fn input(&mut self, side: usize, input: Input) {
        self.sides[side].handle(self.now, input);
        self.settle();
    }

    fn settle(&mut self) {
        for side in [0, 1, 0, 1, 0, 1, 0, 1] {
            while let Some(output) = self.sides[side].poll() {
                match output {
                    Output::Transmit { payload, .. } => {
                        let message = parse(&Pair::edited(payload, self.no_update)).unwrap();
                        if let Message::Request(request) = &message
                            && matches!(request.method(), Method::Invite | Method::Update)
                        {
                            self.refreshes[side] += 1;
                            assert!(!self.no_update || *request.method() == Method::Invite);
                        }
                        let source = addr([OURS, THEIRS][side]);
                        self.sides[1 - side].handle(self.now, Input::Message { message, source });
                    }
                    Output::Event(Event::Reoffer { .. }) => {
                        self.sides[side].handle(self.now, Input::AnswerReoffer { sdp: ANSWER.to_vec() });
                    }
                    Output::Event(Event::OfferWanted) => {
                        self.sides[side].handle(self.now, Input::Reoffer { sdp: OFFER.to_vec() });
                    }
                    Output::Event(event) => self.events[side].push(event),
                }
            }
        }
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.sides.iter().filter_map(Session::deadline).min().filter(|at| *at <= end) {
            self.now = at;
            self.input(0, Input::Timer);
            self.input(1, Input::Timer);
        }
        self.now = end;
    }
}

#[test]
fn a_call_of_two_hours_is_refreshed_by_whoever_has_to_and_stays_up() {
    for no_update in [false, true] {
        for (caller, callee, by_caller) in [
            (timer(1_800, 90, Refresher::Us), timer(1_800, 90, Refresher::Us), true),
            (timer(1_800, 90, Refresher::Peer), timer(1_800, 90, Refresher::Us), false),
            (timer(1_800, 90, Refresher::Any), timer(1_800, 90, Refresher::Us), false),
            (timer(1_800, 90, Refresher::Any), timer(1_800, 90, Refresher::Peer), true),
            // Who knows nothing of it is refreshed by the callee, but not by the caller (§7.2).
            (off(), timer(1_800, 90, Refresher::Peer), false),
            // The callee agrees to less, or asks for more.
            (timer(7_200, 90, Refresher::Us), timer(1_800, 90, Refresher::Us), true),
        ] {
            let mut pair = Pair::new(caller, callee, no_update);
            pair.refreshes = [0, 0];
            pair.wait(TWO_HOURS);
            let expected = if by_caller { [7..=8, 0..=0] } else { [0..=0, 7..=8] };
            for side in [0, 1] {
                assert!(expected[side].contains(&pair.refreshes[side]), "{caller:?} {callee:?} {:?}", pair.refreshes);
                let ended = |event: &&Event| matches!(event, Event::Ended { .. } | Event::Failed(_));
                assert!(!pair.events[side].iter().any(|event| ended(&event)), "{:?}", pair.events);
            }
            pair.input(0, Input::Cancel);
            assert_eq!(pair.events[1].last(), Some(&Event::Ended { by_peer: true, reasons: vec![] }));
            pair.wait(Duration::from_secs(60));
            assert!(pair.sides.iter().all(Session::is_over));
        }
    }
    // Neither side has timers: nothing is refreshed, nothing expires.
    let mut pair = Pair::new(off(), off(), false);
    pair.refreshes = [0, 0];
    pair.wait(TWO_HOURS);
    assert_eq!((pair.refreshes, pair.sides[0].deadline()), ([0, 0], None));
}

#[test]
fn the_invite_asks_for_a_timer() {
    for (refresher, value) in
        [(Refresher::Us, "1800;refresher=uac"), (Refresher::Peer, "1800;refresher=uas"), (Refresher::Any, "1800")]
    {
        let invite = Bench::caller_on(timer(1_800, 90, refresher), OFFER).request(Method::Invite);
        assert_eq!(invite.text(HeaderName::SessionExpires).unwrap(), value);
        assert_eq!(invite.text(HeaderName::MinSe), None);
    }
    let invite = Bench::caller_on(timer(1_800, 600, Refresher::Us), OFFER).request(Method::Invite);
    assert_eq!(invite.text(HeaderName::MinSe).unwrap(), "600");
    let invite = Bench::caller_on(off(), OFFER).request(Method::Invite);
    assert_eq!(
        (invite.text(HeaderName::SessionExpires), invite.text(HeaderName::Supported).unwrap().as_ref()),
        (None, "100rel")
    );
}

#[test]
fn a_422_is_answered_by_a_longer_interval() {
    let mut b = Bench::caller();
    let first = b.request(Method::Invite);
    b.get(respond(&first, 422, "x", &[("Min-SE", "3600")], b""));
    b.request(Method::Ack);
    let second = b.request(Method::Invite);
    assert_eq!(second.text(HeaderName::SessionExpires).unwrap(), "3600;refresher=uac");
    assert_eq!(second.text(HeaderName::MinSe).unwrap(), "3600");
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    assert_eq!((second.call_id(), second.from().unwrap().tag()), (first.call_id(), first.from().unwrap().tag()));
    b.quiet();
    // One that asks for nothing new is a refusal.
    b.get(respond(&second, 422, "x", &[("Min-SE", "3600")], b""));
    b.request(Method::Ack);
    assert!(matches!(b.event(), Event::Refused(Refusal { code: 422, .. })));
}

#[test]
fn we_refuse_an_interval_that_is_too_short() {
    let refused = |terms, headers: &[(&str, &str)]| {
        let invite = invite_with(headers, "application/sdp", OFFER);
        let rng = StdRng::seed_from_u64(3);
        let reply = Session::incoming(epoch(), local(OURS), terms, invite, addr(THEIRS), rng).err()??;
        let Ok(Message::Response(response)) = parse(&reply.payload) else { panic!("not a response") };
        Some((response.code(), response.text(HeaderName::MinSe).unwrap_or_default().into_owned()))
    };
    let short = [("Session-Expires", "60"), ("Supported", "timer")];
    assert_eq!(refused(Terms::default(), &short), Some((422, "90".to_owned())));
    assert_eq!(
        refused(timer(1_800, 600, Refresher::Us), &[("x", "599"), ("k", "timer")]),
        Some((422, "600".to_owned()))
    );
    // Who does not know what to do about a 422 does not get one, and neither does who asks somebody without timers.
    assert_eq!(refused(Terms::default(), &short[..1]), None);
    assert_eq!(refused(off(), &short), None);
    assert_eq!(refused(off(), &[("Require", "timer")]).unwrap().0, 420);
    // In a call, too.
    let (mut b, ok) = Bench::taken(Terms::default(), &[]);
    let tag = ok.to().unwrap().tag().unwrap().into_owned();
    let to = format!("<sip:4001@192.0.2.1>;tag={tag}");
    for (method, cseq) in [(Method::Update, 101), (Method::Invite, 102)] {
        let request = within(method.clone(), "<sip:them@192.0.2.2>;tag=c1", &to, "call", cseq, "short", b"");
        b.get(with(request, &short));
        if method == Method::Invite {
            b.response(100);
        }
        assert_eq!(b.response(422).text(HeaderName::MinSe).unwrap(), "90");
    }
    b.quiet();
}

/// RFC 4028 §9, table 2, and our own choice where it leaves one.
#[test]
fn the_200_says_who_refreshes() {
    let known = ("Supported", "timer");
    let us = timer(1_800, 90, Refresher::Us);
    let peer = timer(1_800, 90, Refresher::Peer);
    for (terms, headers, value, required) in [
        (us, vec![known, ("Session-Expires", "900;refresher=uac")], "900;refresher=uac", true),
        (us, vec![known, ("Session-Expires", "900;refresher=uas")], "900;refresher=uas", true),
        (peer, vec![known, ("Session-Expires", "900;refresher=uas")], "900;refresher=uas", true),
        (us, vec![known, ("Session-Expires", "900")], "900;refresher=uas", true),
        (peer, vec![known, ("Session-Expires", "900")], "900;refresher=uac", true),
        (us, vec![known, ("Session-Expires", "7200")], "1800;refresher=uas", true),
        (us, vec![known, ("Session-Expires", "7200"), ("Min-SE", "3600")], "3600;refresher=uas", true),
        (peer, vec![known], "1800;refresher=uac", true),
        // A proxy has asked, the caller knows nothing of it.
        (peer, vec![("Session-Expires", "900")], "900;refresher=uas", false),
        (peer, vec![], "1800;refresher=uas", false),
    ] {
        let (_, ok) = Bench::taken(terms, &headers);
        assert_eq!(ok.text(HeaderName::SessionExpires).unwrap(), value, "{headers:?}");
        assert_eq!(ok.text(HeaderName::Require).is_some(), required, "{headers:?}");
    }
    let (mut b, ok) = Bench::taken(off(), &[known, ("Session-Expires", "900")]);
    assert_eq!(ok.text(HeaderName::SessionExpires), None);
    b.wait(TWO_HOURS);
    b.quiet();
}

#[test]
fn we_refresh_at_half_by_update() {
    let (mut b, _) = Bench::up(Terms::default(), &[("Session-Expires", "600;refresher=uac"), UPDATES]);
    for _ in 0..3 {
        assert_eq!(b.idle_for(), 300);
        let update = b.request(Method::Update);
        assert_eq!(
            (update.body(), update.text(HeaderName::SessionExpires).unwrap().as_ref()),
            (&b""[..], "600;refresher=uac")
        );
        b.get(respond(&update, 200, "t1", &[("Session-Expires", "600;refresher=uac")], b""));
    }
    b.quiet();
}

#[test]
fn we_refresh_by_reinvite_where_update_is_not_taken() {
    // It does not say that it takes UPDATE; or it does, and refuses it.
    for says_so in [false, true] {
        let mut headers = vec![("Session-Expires", "600;refresher=uac")];
        headers.extend(says_so.then_some(UPDATES));
        let (mut b, _) = Bench::up(Terms::default(), &headers);
        assert_eq!(b.idle_for(), 300);
        if says_so {
            let update = b.request(Method::Update);
            b.get(respond(&update, 405, "t1", &[], b""));
        }
        assert_eq!(b.event(), Event::OfferWanted);
        b.input(Input::Reoffer { sdp: OFFER.to_vec() });
        let invite = b.request(Method::Invite);
        assert_eq!(invite.text(HeaderName::SessionExpires).unwrap(), "600;refresher=uac");
        b.get(respond(&invite, 200, "t1", &[("Session-Expires", "600;refresher=uac")], ANSWER));
        b.request(Method::Ack);
        assert_eq!(b.event(), Event::ReofferAnswered { sdp: Some(ANSWER.to_vec()) });
        assert_eq!(b.idle_for(), 300);
    }
}

#[test]
fn a_refresh_that_dies_ends_the_call_before_the_session_is_over() {
    let short = [("Session-Expires", "600;refresher=uac"), UPDATES];
    // Nobody answers it: a request within a dialog that times out.
    let (mut b, _) = Bench::up(Terms::default(), &short);
    b.wait(Duration::from_secs(333));
    assert_eq!(b.event(), Event::Failed(Failure::Lost));
    // Nobody knows the call any more.
    let (mut b, _) = Bench::up(Terms::default(), &short);
    b.idle_for();
    let update = b.request(Method::Update);
    b.get(respond(&update, 481, "t1", &[], b""));
    b.request(Method::Bye);
    assert_eq!(b.event(), Event::Failed(Failure::Lost));
    // It is refused again and again, for reasons of its own: 32 s before the end it is enough.
    let (mut b, _) = Bench::up(Terms::default(), &short);
    let start = b.now;
    let mut tries = 0;
    while b.events.is_empty() {
        b.idle_for();
        if let Some((_, Message::Request(request))) = b.sent.front()
            && *request.method() == Method::Update
        {
            let update = b.request(Method::Update);
            tries += 1;
            b.get(respond(&update, 500, "t1", &[], b""));
        }
    }
    assert!(tries > 20, "{tries}");
    assert_eq!((b.now - start).as_secs(), 600 - 32);
    assert_eq!(b.event(), Event::Failed(Failure::Expired));
    assert_eq!(b.request(Method::Bye).reasons()[0].cause, Some(408));
}

#[test]
fn a_session_that_the_far_end_does_not_refresh_is_over() {
    for (interval, end) in [(600, 568), (90, 60)] {
        let (mut b, _) =
            Bench::up(timer(600, 90, Refresher::Peer), &[("Session-Expires", &format!("{interval};refresher=uas"))]);
        assert_eq!(b.idle_for(), end);
        b.request(Method::Bye);
        assert_eq!(b.event(), Event::Failed(Failure::Expired));
    }
    // And one that it does refresh, in whatever way, is not.
    let (mut b, ok) =
        Bench::taken(Terms::default(), &[("Supported", "timer"), ("Session-Expires", "600;refresher=uac")]);
    let tag = ok.to().unwrap().tag().unwrap().into_owned();
    for cseq in 101..110 {
        b.wait(Duration::from_secs(500));
        b.nothing_sent();
        let method = if cseq % 2 == 0 { Method::Update } else { Method::Invite };
        let to = format!("<sip:4001@192.0.2.1>;tag={tag}");
        let refresh = within(method.clone(), "<sip:them@192.0.2.2>;tag=c1", &to, "call", cseq, &cseq.to_string(), b"");
        b.get(with(refresh, &[("Supported", "timer"), ("Session-Expires", "600;refresher=uac")]));
        if method == Method::Invite {
            b.response(100);
            b.event();
            b.input(Input::AnswerReoffer { sdp: ANSWER.to_vec() });
        }
        assert_eq!(b.response(200).text(HeaderName::SessionExpires).unwrap(), "600;refresher=uac");
        if method == Method::Invite {
            b.hear_caller(Method::Ack, &tag, cseq, ANSWER);
            b.event();
        }
    }
    assert_eq!(b.idle_for(), 568);
    assert_eq!(b.event(), Event::Failed(Failure::Expired));
}

/// Our own idea of a timer ends no call with somebody who has never heard of it, as long as it answers.
#[test]
fn who_knows_no_timers_and_refuses_every_refresh_keeps_its_call() {
    let (mut b, _) = Bench::taken(Terms::default(), &[]);
    for _ in 0..8 {
        assert_eq!(b.idle_for(), 900);
        assert_eq!(b.event(), Event::OfferWanted);
        b.input(Input::Reoffer { sdp: OFFER.to_vec() });
        let invite = b.request(Method::Invite);
        b.get(respond(&invite, 488, "c1", &[], b""));
        b.request(Method::Ack);
        assert_eq!(b.event(), Event::ReofferRefused { code: 488 });
        // The transaction lingers, and nothing else happens.
        b.quiet();
    }
    b.idle_for();
    b.event();
    b.input(Input::Reoffer { sdp: OFFER.to_vec() });
    b.wait(Duration::from_secs(32));
    assert_eq!(b.event(), Event::Failed(Failure::Lost));
}

#[test]
fn without_a_timer_in_the_200_nothing_is_refreshed() {
    let (mut b, _) = Bench::up(Terms::default(), &[UPDATES]);
    b.wait(TWO_HOURS);
    b.quiet();
    // A 200 to a refresh may turn it off (§7.2).
    let (mut b, _) = Bench::up(Terms::default(), &[("Session-Expires", "600;refresher=uac"), UPDATES]);
    b.idle_for();
    let update = b.request(Method::Update);
    b.get(respond(&update, 200, "t1", &[], b""));
    b.wait(TWO_HOURS);
    b.quiet();
}

#[test]
fn a_refresh_may_be_asked_to_be_rarer() {
    let (mut b, _) = Bench::up(Terms::default(), &[("Session-Expires", "600;refresher=uac"), UPDATES]);
    b.idle_for();
    let update = b.request(Method::Update);
    b.get(respond(&update, 422, "t1", &[("Min-SE", "1200")], b""));
    let again = b.request(Method::Update);
    assert_eq!(again.text(HeaderName::SessionExpires).unwrap(), "1200;refresher=uac");
    assert_eq!(again.text(HeaderName::MinSe).unwrap(), "1200");
}

#[test]
fn an_interval_of_nothing_is_no_endless_loop() {
    let (mut b, _) = Bench::up(Terms::default(), &[("Session-Expires", "0;refresher=uac"), UPDATES]);
    assert!(b.idle_for() >= 10);
}
