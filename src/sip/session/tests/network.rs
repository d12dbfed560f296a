//! Two sessions back to back over a network that loses, doubles and reorders, from one seed.

use rand::RngExt;

use super::*;

#[derive(Clone, Copy, PartialEq)]
enum Plan {
    CallerHangsUp,
    CalleeHangsUp,
    CallerCancels,
    CalleeRejects,
    Glare,
    /// Both offer at the same moment, twice.
    Reoffers,
    /// The INVITE has no SDP.
    LateOffer,
}

struct World {
    now: Instant,
    rng: StdRng,
    /// Out of 100 datagrams.
    loss: u32,
    doubles: u32,
    garbled: u32,
    in_flight: Vec<(Instant, u64, SocketAddr, Vec<u8>)>,
    sent: u64,
    caller: Session,
    callee: Option<Session>,
    /// What each side is going to do, and when.
    todo: Vec<(Instant, bool, Input)>,
    told: [Vec<Event>; 2],
    wire: Vec<u8>,
}

impl World {
    fn new(seed: u64, loss: u32, doubles: u32, plan: Plan, epoch: Instant) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let offer = if plan == Plan::LateOffer { Vec::new() } else { OFFER.to_vec() };
        let dial = Dial { offer, ..dial_to(THEIRS) };
        let caller = Session::dial(epoch, local(OURS), dial, StdRng::seed_from_u64(rng.random()));
        let reoffer = || Input::Reoffer { sdp: OFFER.to_vec() };
        let at = |ms| epoch + Duration::from_millis(ms);
        let bye = || Input::Bye { headers: none(), reason: Some(Reason::q850(16, "x")) };
        let answer = || Input::Answer { headers: none(), sdp: ANSWER.to_vec() };
        let todo = match plan {
            Plan::CallerHangsUp => vec![(at(3_000), false, answer()), (at(90_000), true, bye())],
            Plan::CalleeHangsUp => vec![(at(3_000), false, answer()), (at(90_000), false, bye())],
            Plan::CallerCancels => vec![(at(2_000), true, Input::Cancel), (at(9_000), false, answer())],
            Plan::CalleeRejects => vec![(at(3_000), false, Input::Reject { code: 486, reason: None, headers: none() })],
            Plan::LateOffer => vec![(at(3_000), false, answer()), (at(90_000), true, bye())],
            Plan::Reoffers => vec![
                (at(3_000), false, answer()),
                (at(40_000), true, reoffer()),
                (at(40_000), false, reoffer()),
                (at(60_000), true, reoffer()),
                (at(60_005), false, reoffer()),
                (at(120_000), true, bye()),
            ],
            Plan::Glare => {
                vec![(at(2_950), true, Input::Cancel), (at(3_000), false, answer()), (at(3_010), false, bye())]
            }
        };
        let in_flight = Vec::new();
        let told = [Vec::new(), Vec::new()];
        World {
            now: epoch,
            rng,
            loss,
            doubles,
            garbled: 0,
            in_flight,
            sent: 0,
            caller,
            callee: None,
            todo,
            told,
            wire: Vec::new(),
        }
    }

    /// Until nothing more can happen. Panics if that takes longer than a call may.
    fn run(mut self) -> World {
        let limit = self.now + Duration::from_secs(9_000);
        loop {
            self.drain();
            let next = [self.caller.deadline(), self.callee.as_ref().and_then(Session::deadline)].into_iter().flatten();
            let next = next.chain(self.in_flight.iter().map(|f| f.0)).chain(self.todo.iter().map(|t| t.0)).min();
            let Some(next) = next else {
                // Nothing but media tells a side that the other one's BYE was lost for good (session timers,
                // RFC 4028, would): the call notices and hangs up.
                if self.caller.is_over() && self.callee.as_ref().is_none_or(Session::is_over) {
                    return self;
                }
                self.caller.handle(self.now, Input::Cancel);
                if let Some(callee) = &mut self.callee {
                    callee.handle(self.now, Input::Cancel);
                }
                continue;
            };
            assert!(next < limit, "never ends");
            self.now = next.max(self.now);
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(at) = self.in_flight.iter().position(|f| f.0 <= now) {
            let (_, _, to, payload) = self.in_flight.remove(at);
            self.deliver(to, &payload);
            self.drain();
        }
        while let Some(at) = self.todo.iter().position(|t| t.0 <= now) {
            let (_, caller, input) = self.todo.remove(at);
            match (caller, &mut self.callee) {
                (true, _) => self.caller.handle(now, input),
                (false, Some(callee)) => callee.handle(now, input),
                // The INVITE is still on its way: later, unless it never comes.
                (false, None) if self.caller.deadline().is_some() => {
                    self.todo.push((now + Duration::from_secs(1), false, input));
                }
                (false, None) => {}
            }
            self.drain();
        }
        self.caller.handle(now, Input::Timer);
        if let Some(callee) = &mut self.callee {
            callee.handle(now, Input::Timer);
        }
    }

    fn deliver(&mut self, to: SocketAddr, payload: &[u8]) {
        let now = self.now;
        let message = match parse(payload) {
            Ok(message) => message,
            Err(error) => {
                assert!(self.garbled > 0, "we write what we can read");
                let source = addr(if to == addr(OURS) { THEIRS } else { OURS });
                let reply = crate::sip::message::refuse_unreadable(payload, error, source);
                if let Some(reply) = reply {
                    self.send(Target::Addr(reply.to), reply.payload);
                }
                return;
            }
        };
        if to == addr(OURS) {
            return self.caller.handle(now, Input::Message { message, source: addr(THEIRS) });
        }
        let source = addr(OURS);
        match (&mut self.callee, message) {
            (Some(callee), message) => callee.handle(now, Input::Message { message, source }),
            (None, Message::Request(request)) if *request.method() == Method::Invite => {
                let rng = StdRng::seed_from_u64(self.rng.random());
                match Session::incoming(now, local(THEIRS), Terms::default(), request, source, rng) {
                    Ok(mut callee) => {
                        let sdp = self.rng.random_bool(0.5).then(|| ANSWER.to_vec());
                        callee.handle(now, Input::Ring { headers: none(), sdp });
                        self.callee = Some(callee);
                    }
                    Err(reply) => {
                        assert!(self.garbled > 0, "a good INVITE is refused");
                        if let Some(reply) = reply {
                            self.send(Target::Addr(reply.to), reply.payload);
                        }
                    }
                }
            }
            (None, Message::Request(request)) => {
                if let Some(reply) = stateless::answer(&request, source, &local(THEIRS)) {
                    self.send(Target::Addr(reply.to), reply.payload);
                }
            }
            (None, Message::Response(_)) => {}
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.caller.poll() {
            match output {
                Output::Transmit { to, payload } => self.send(to, payload),
                Output::Event(event) => {
                    let reply = World::reply(&event);
                    self.told[0].push(event);
                    if let Some(reply) = reply {
                        self.caller.handle(self.now, reply);
                    }
                }
            }
        }
        while let Some(output) = self.callee.as_mut().and_then(Session::poll) {
            match output {
                Output::Transmit { to, payload } => self.send(to, payload),
                Output::Event(event) => {
                    let reply = World::reply(&event);
                    self.told[1].push(event);
                    if let (Some(reply), Some(callee)) = (reply, &mut self.callee) {
                        callee.handle(self.now, reply);
                    }
                }
            }
        }
    }

    /// What a side does at once when it is asked.
    fn reply(event: &Event) -> Option<Input> {
        match event {
            Event::Reoffer { .. } => Some(Input::AnswerReoffer { sdp: ANSWER.to_vec() }),
            Event::OfferWanted => Some(Input::Reoffer { sdp: OFFER.to_vec() }),
            _ => None,
        }
    }

    fn send(&mut self, to: Target, payload: Vec<u8>) {
        let Target::Addr(to) = to else {
            assert!(self.garbled > 0, "a name: {to}");
            return;
        };
        if to != addr(OURS) && to != addr(THEIRS) {
            assert!(self.garbled > 0, "a stranger: {to}");
            return;
        }
        self.wire.extend_from_slice(&payload);
        let copies = 1 + u32::from(self.rng.random_range(0..100) < self.doubles);
        for _ in 0..copies {
            if self.rng.random_range(0..100) >= self.loss {
                // Up to 120 ms: later datagrams overtake earlier ones.
                let delay = Duration::from_millis(self.rng.random_range(1..120));
                self.sent += 1;
                let mut payload = payload.clone();
                if self.rng.random_range(0..100) < self.garbled {
                    for _ in 0..self.rng.random_range(1..4) {
                        let at = self.rng.random_range(0..payload.len());
                        payload[at] = self.rng.random();
                    }
                }
                self.in_flight.push((self.now + delay, self.sent, to, payload));
            }
        }
        self.in_flight.sort_by_key(|flight| (flight.0, flight.1));
    }
}

fn is_end(event: &Event) -> bool {
    matches!(
        event,
        Event::Refused(_) | Event::TimedOut | Event::Cancelled { .. } | Event::Ended { .. } | Event::Failed(_)
    )
}

const PLANS: [Plan; 7] = [
    Plan::CallerHangsUp,
    Plan::CalleeHangsUp,
    Plan::CallerCancels,
    Plan::CalleeRejects,
    Plan::Glare,
    Plan::Reoffers,
    Plan::LateOffer,
];

/// However bad the network: each side is told the end exactly once, last, and nothing is left behind.
#[test]
fn every_call_ends_once_and_leaves_nothing() {
    let epoch = crate::ms::epoch();
    for seed in 0..400 {
        let loss = [0, 5, 30, 60, 90][seed as usize % 5];
        for plan in PLANS {
            let world = World::new(seed, loss, 20, plan, epoch).run();
            for (told, exists) in world.told.iter().zip([true, world.callee.is_some()]) {
                let ends = told.iter().filter(|event| is_end(event)).count();
                assert_eq!(ends, usize::from(exists), "seed {seed}: {told:?}");
                assert!(told.last().is_none_or(is_end), "seed {seed}: {told:?}");
            }
        }
    }
}

/// Datagrams with random bytes in them break calls, and nothing else: each still ends once.
#[test]
fn garbled_datagrams_do_no_harm() {
    let epoch = crate::ms::epoch();
    for seed in 0..400 {
        let mut world = World::new(seed, 5, 20, PLANS[seed as usize % PLANS.len()], epoch);
        world.garbled = 40;
        let world = world.run();
        for (told, exists) in world.told.iter().zip([true, world.callee.is_some()]) {
            let ends = told.iter().filter(|event| is_end(event)).count();
            assert_eq!(ends, usize::from(exists), "seed {seed}: {told:?}");
        }
    }
}

/// Over a merely poor network every plan comes out as it was meant.
#[test]
fn a_poor_network_changes_no_outcome() {
    let epoch = crate::ms::epoch();
    for seed in 0..200 {
        for plan in PLANS {
            let World { told: [caller, callee], .. } = World::new(seed, 15, 20, plan, epoch).run();
            let reasons = vec![Reason::q850(16, "x")];
            let ended = |by_peer| Event::Ended { by_peer, reasons: if by_peer { reasons.clone() } else { vec![] } };
            match plan {
                Plan::CallerHangsUp => {
                    assert!(caller.contains(&Event::Answered { sdp: Some(ANSWER.to_vec()) }), "{seed} {caller:?}");
                    assert!(callee.contains(&Event::Confirmed { sdp: None }), "{seed} {callee:?}");
                    assert_eq!((caller.last(), callee.last()), (Some(&ended(false)), Some(&ended(true))), "{seed}");
                }
                Plan::CalleeHangsUp => {
                    assert_eq!((caller.last(), callee.last()), (Some(&ended(true)), Some(&ended(false))), "{seed}");
                }
                Plan::CalleeRejects => {
                    assert!(
                        matches!(caller.last(), Some(Event::Refused(Refusal { code: 486, .. }))),
                        "{seed} {caller:?}"
                    );
                }
                Plan::CallerCancels => {
                    assert!(
                        matches!(caller.last(), Some(Event::Cancelled { by_peer: false, .. })),
                        "{seed} {caller:?}"
                    );
                }
                Plan::LateOffer => {
                    assert!(caller.contains(&Event::Answered { sdp: None }), "{seed} {caller:?}");
                    let answered = |e: &&Event| {
                        matches!(e, Event::Confirmed { sdp: Some(_) } | Event::ReofferConfirmed { sdp: Some(_) })
                    };
                    assert_eq!(callee.iter().filter(answered).count(), 1, "{seed} {callee:?}");
                    assert_eq!((caller.last(), callee.last()), (Some(&ended(false)), Some(&ended(true))), "{seed}");
                }
                // However often they have met: each offer of each side was answered in the end, and none was lost.
                Plan::Reoffers => {
                    for told in [&caller, &callee] {
                        let answered = |e: &&Event| matches!(e, Event::ReofferAnswered { sdp: Some(_) });
                        assert_eq!(told.iter().filter(answered).count(), 2, "{seed} {told:?}");
                    }
                    assert_eq!((caller.last(), callee.last()), (Some(&ended(false)), Some(&ended(true))), "{seed}");
                }
                // Which one wins depends on the network; that they agree does not.
                Plan::Glare => {
                    // An answer that waits for its PRACK and is hung up is a refusal.
                    let refused = matches!(caller.last(), Some(Event::Refused(Refusal { code: 480, .. })));
                    let cancelled = matches!(caller.last(), Some(Event::Cancelled { by_peer: false, .. }));
                    assert!(cancelled || refused, "{seed} {caller:?}");
                    let over = matches!(callee.last(), Some(Event::Cancelled { .. } | Event::Ended { .. }));
                    assert!(over, "{seed} {callee:?}");
                }
            }
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_bytes() {
    let epoch = crate::ms::epoch();
    for seed in 0..20 {
        let [one, two] = [0, 1].map(|_| World::new(seed, 30, 30, Plan::CalleeHangsUp, epoch).run());
        assert_eq!(one.wire, two.wire);
        assert_eq!(one.told, two.told);
    }
}
