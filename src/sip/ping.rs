//! Whether a peer is there: OPTIONS (RFC 3261 §11), asked again and again.
//!
//! | what comes | means |
//! |---|---|
//! | any final response but 408 and 503 | somebody is there: also who refuses OPTIONS can take a call |
//! | 408, 503, nothing in 5 s, not to be sent | nobody at that address: the next one is asked ([`super::locate`]) |
//! | nobody at any address, or no address | a failure |
//!
//! So many failures in a row, and the peer is down; so many answers in a row, and it is up again. Between failures it is asked every 5 s, so
//! that a peer that is gone is not believed for long. All pings have one Call-ID and a CSeq that rises.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

use super::locate::{Hop, Next, Spares};
use super::message::{HeaderName, Method, Response, Target, Uri, Writer};
use super::transaction::{Client, ClientAction, ClientInput, Timers};
use super::{ACCEPT, ALLOW, Local, token};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// From a failure to the next ping, unless the peer is down already.
const SOON: Duration = Duration::from_secs(5);

/// How often, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// From one ping to the next.
    pub interval: Duration,
    /// Failures in a row after which the peer is down.
    pub down_after: u32,
    /// Answers in a row after which it is up again.
    pub up_after: u32,
}

/// What happens to a ping.
#[derive(Debug)]
pub enum Input {
    /// A ping is due ([`Ping::is_due`]), and the peer has been looked up for it.
    Located(Result<Vec<Hop>, String>),
    /// A response with its Call-ID came.
    Message(Response),
    /// It could not be sent there.
    TransportError {
        /// As it stood in [`Output::Transmit`].
        to: Target,
        /// What kept it, in words.
        why: String,
    },
    /// The deadline may have passed.
    Timer,
}

/// What a ping wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Transmit {
        /// Where.
        to: Target,
        /// The whole message.
        payload: Vec<u8>,
    },
    /// The peer is there again.
    Up,
    /// The peer is not there.
    Down {
        /// What the last ping came to.
        reason: String,
    },
}

#[derive(Clone, Copy)]
enum Timer {
    /// The next ping.
    Again,
    /// This one has had no answer.
    Late,
}

/// The pings of one peer.
#[derive(Debug)]
pub struct Ping {
    local: Local,
    uri: Uri,
    plan: Plan,
    rng: StdRng,
    call_id: String,
    from_tag: String,
    cseq: u32,
    up: bool,
    failures: u32,
    answers: u32,
    due: bool,
    to: Option<Target>,
    spares: Spares,
    request: Option<Client>,
    /// What kept it from being sent.
    kept_by: String,
    timers: Timers<2>,
    out: VecDeque<Output>,
}

impl Ping {
    /// The peer counts as up until it is found to be down. The first ping is due at once.
    pub fn new(local: Local, uri: Uri, plan: Plan, mut rng: StdRng) -> Ping {
        Ping {
            call_id: token::call_id(&mut rng),
            from_tag: token::tag(&mut rng),
            cseq: token::first_cseq(&mut rng),
            up: true,
            failures: 0,
            answers: 0,
            due: true,
            to: None,
            spares: Spares::default(),
            request: None,
            kept_by: String::new(),
            timers: Timers::new(),
            out: VecDeque::new(),
            local,
            uri,
            plan,
            rng,
        }
    }

    /// The Call-ID that responses are routed by.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Whether the next ping is due: [`Input::Located`] starts it.
    pub fn is_due(&self) -> bool {
        self.due
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call `handle` with [`Input::Timer`].
    pub fn deadline(&self) -> Option<Instant> {
        [self.timers.deadline(), self.request.as_ref().and_then(Client::deadline)].into_iter().flatten().min()
    }

    /// Feeds it. Whatever timer has run out by `now` acts first.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.due |= self.timers.take_due(Timer::Again as usize, now);
        if self.timers.take_due(Timer::Late as usize, now) {
            self.missed(now, false, "no answer");
        }
        if let Some(request) = &mut self.request {
            request.handle(now, ClientInput::Timer);
        }
        self.settle(now);
        match input {
            Input::Timer => {}
            Input::Located(Err(reason)) if self.due => {
                self.due = false;
                self.failed(now, reason);
            }
            Input::Located(Ok(hops)) if self.due => {
                self.due = false;
                match Spares::of(&hops) {
                    Some((first, spares)) => {
                        self.spares = spares;
                        self.turn_to(first);
                        self.send(now);
                    }
                    None => self.failed(now, "no address".to_owned()),
                }
            }
            Input::Located(_) => {}
            Input::Message(response) => self.receive(now, response),
            Input::TransportError { to, why } => {
                if let Some(request) = self.request.as_mut().filter(|_| self.to.as_ref() == Some(&to)) {
                    self.kept_by = why;
                    request.handle(now, ClientInput::TransportError);
                }
            }
        }
        self.settle(now);
    }

    fn receive(&mut self, now: Instant, response: Response) {
        let (Ok(via), Ok(())) = (response.top_via(), response.check()) else { return };
        let Some(request) = &mut self.request else { return };
        if request.request().top_via().is_ok_and(|sent| sent.is_answered_by(&via)) {
            request.handle(now, ClientInput::Response(response));
        }
    }

    fn settle(&mut self, now: Instant) {
        while let Some(action) = self.request.as_mut().and_then(Client::poll) {
            match action {
                ClientAction::Transmit(payload) => {
                    if let Some(to) = self.to.clone() {
                        self.out.push_back(Output::Transmit { to, payload });
                    }
                }
                ClientAction::Response(response) => match response.code() {
                    ..200 => {}
                    code @ (408 | 503) => self.missed(now, false, &format!("{code} {}", response.reason())),
                    _ => self.answered(now),
                },
                // Timer F is longer than our patience.
                ClientAction::TimedOut => {}
                ClientAction::Unreachable => {
                    let what = format!("it could not be sent: {}", std::mem::take(&mut self.kept_by));
                    self.missed(now, true, &what);
                }
            }
        }
    }

    /// Nobody at this address.
    fn missed(&mut self, now: Instant, unsent: bool, what: &str) {
        let by = self.request.take().and_then(|request| request.request().top_via().ok());
        match self.spares.next(unsent, by.as_ref(), &mut self.local.ways) {
            Some(Next::Other(hop)) => self.turn_to(hop),
            Some(Next::Same) => {}
            None => {
                let reason = self.to.as_ref().map_or_else(|| what.to_owned(), |to| format!("{to}: {what}"));
                return self.failed(now, reason);
            }
        }
        self.send(now);
    }

    fn failed(&mut self, now: Instant, reason: String) {
        self.done(now);
        self.answers = 0;
        self.failures = self.failures.saturating_add(1);
        if !self.up {
            return;
        }
        if self.failures >= self.plan.down_after {
            self.up = false;
            self.out.push_back(Output::Down { reason });
        } else {
            self.timers.set(Timer::Again as usize, now + SOON.min(self.plan.interval));
        }
    }

    fn answered(&mut self, now: Instant) {
        self.done(now);
        self.failures = 0;
        self.answers = self.answers.saturating_add(1);
        if !self.up && self.answers >= self.plan.up_after {
            self.up = true;
            self.out.push_back(Output::Up);
        }
    }

    /// This ping is over.
    fn done(&mut self, now: Instant) {
        self.request = None;
        self.timers.stop(Timer::Late as usize);
        // A spread keeps many trunks from asking at once.
        let share = 90 + self.rng.next_u32() % 21;
        self.timers.set(Timer::Again as usize, now + self.plan.interval * share / 100);
    }

    fn turn_to(&mut self, hop: Hop) {
        self.to = Some(Target::Addr(hop.address));
        self.local = self.local.clone().towards(hop);
    }

    fn send(&mut self, now: Instant) {
        self.cseq += 1;
        let branch = token::branch(&mut self.rng);
        let own = self.local.contact_value();
        let out = self.local.begin(Writer::request(Method::Options, &self.uri), self.local.ways.transport, &branch);
        let out = out
            .header(HeaderName::MaxForwards, "70")
            .header(HeaderName::From, &format!("{own};tag={}", self.from_tag))
            .header(HeaderName::To, &format!("<{}>", self.uri))
            .header(HeaderName::CallId, &self.call_id)
            .header(HeaderName::CSeq, &format!("{} OPTIONS", self.cseq));
        let out = out
            .header(HeaderName::Contact, &self.local.contact_value())
            .header(HeaderName::Allow, ALLOW)
            .header(HeaderName::Accept, ACCEPT)
            .header(HeaderName::UserAgent, &self.local.user_agent);
        self.request = Some(Client::new(now, out.finish("", b"")));
        self.timers.set(Timer::Late as usize, now + PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::ms::epoch;
    use crate::sip::message::{Message, Request, parse};
    use crate::sip::transport::Transport;

    struct Bench {
        now: Instant,
        ping: Ping,
        /// The addresses of the peer.
        hops: Result<Vec<Hop>, String>,
        events: Vec<Output>,
        sent: Vec<(Target, Request)>,
    }

    fn hop(at: &str) -> Hop {
        Hop { transport: Transport::Udp, address: at.parse().unwrap() }
    }

    fn bench(down_after: u32, up_after: u32) -> Bench {
        let local = Local {
            contact_user: "robot".into(),
            contact: "192.0.2.1:5060".parse().unwrap(),
            user_agent: "Trunkline".into(),
            ways: Default::default(),
        };
        let plan = Plan { interval: Duration::from_secs(30), down_after, up_after };
        let ping = Ping::new(local, "sip:example.com".parse().unwrap(), plan, StdRng::seed_from_u64(1));
        let hops = Ok(vec![hop("192.0.2.2:5060")]);
        Bench { now: epoch(), ping, hops, events: Vec::new(), sent: Vec::new() }
    }

    impl Bench {
        fn drain(&mut self) {
            while let Some(output) = self.ping.poll() {
                match output {
                    Output::Transmit { to, payload } => match parse(&payload).unwrap() {
                        Message::Request(request) => {
                            request.check().unwrap();
                            self.sent.push((to, request));
                        }
                        Message::Response(_) => panic!("a response"),
                    },
                    event => self.events.push(event),
                }
            }
        }

        fn input(&mut self, input: Input) {
            self.ping.handle(self.now, input);
            self.drain();
        }

        /// Goes on to the next ping, and says how long that took.
        fn next(&mut self) -> (Duration, Request) {
            let from = self.now;
            self.sent.clear();
            while self.sent.is_empty() {
                if self.ping.is_due() {
                    self.input(Input::Located(self.hops.clone()));
                    continue;
                }
                self.now = self.ping.deadline().expect("something is scheduled");
                self.input(Input::Timer);
            }
            (self.now - from, self.sent.remove(0).1)
        }

        fn answer(&mut self, request: &Request, code: u16) {
            let response =
                Writer::reply(request, "192.0.2.1:5060".parse().unwrap(), code, "x", Some("t")).finish("", b"");
            self.input(Input::Message(response));
        }

        /// Lets a ping have no answer.
        fn silence(&mut self) {
            let end = self.now + PATIENCE;
            while let Some(at) = self.ping.deadline().filter(|at| *at <= end) {
                self.now = at;
                self.input(Input::Timer);
            }
            self.now = end;
        }
    }

    #[test]
    fn whoever_answers_is_there_whatever_he_says() {
        let mut b = bench(1, 1);
        for code in [200, 404, 405, 481, 500, 603] {
            let (_, ping) = b.next();
            b.answer(&ping, 100);
            b.answer(&ping, code);
        }
        assert_eq!(b.events, []);
        let (wait, ping) = b.next();
        assert!((27..=33).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!((ping.method(), ping.uri().as_str()), (&Method::Options, "sip:example.com"));
        assert!(ping.text(HeaderName::Accept).unwrap().contains("application/sdp"));
    }

    #[test]
    fn so_many_failures_make_a_peer_down_and_so_many_answers_up_again() {
        let mut b = bench(3, 2);
        let (_, first) = b.next();
        b.silence();
        assert_eq!(b.events, []);
        let (wait, second) = b.next();
        assert!(wait <= SOON, "{wait:?}");
        assert_eq!(first.call_id(), second.call_id());
        assert!(second.cseq().unwrap().number > first.cseq().unwrap().number);
        b.answer(&second, 503);
        b.next();
        let to = Target::Addr("192.0.2.2:5060".parse().unwrap());
        b.input(Input::TransportError { to, why: "refused".into() });
        assert_eq!(b.events, [Output::Down { reason: "192.0.2.2:5060: it could not be sent: refused".into() }]);
        // An answer, a failure, and two answers.
        for (code, events) in [(200, 1), (408, 1), (200, 1), (486, 2)] {
            let (wait, ping) = b.next();
            assert!(wait > Duration::from_secs(20), "one that is down is asked at its interval: {wait:?}");
            b.answer(&ping, code);
            assert_eq!(b.events.len(), events, "{code}");
        }
        assert_eq!(b.events[1], Output::Up);
    }

    #[test]
    fn a_peer_of_several_addresses_is_there_when_one_of_them_is() {
        let mut b = bench(1, 1);
        b.hops = Ok(vec![hop("192.0.2.2:5060"), hop("192.0.2.3:5060")]);
        b.next();
        b.silence();
        let (to, second) = b.sent.pop().expect("the other address");
        assert_eq!(to, Target::Addr("192.0.2.3:5060".parse().unwrap()));
        b.answer(&second, 200);
        assert_eq!(b.events, []);
        b.next();
        b.silence();
        b.silence();
        assert_eq!(b.events, [Output::Down { reason: "192.0.2.3:5060: no answer".into() }]);
    }

    #[test]
    fn a_name_that_cannot_be_found_is_a_failure_and_late_answers_are_none() {
        let mut b = bench(2, 1);
        let (_, ping) = b.next();
        b.silence();
        b.answer(&ping, 200);
        b.hops = Err("example.com: there is no such name".into());
        while b.events.is_empty() {
            if b.ping.is_due() {
                b.input(Input::Located(b.hops.clone()));
                continue;
            }
            b.now = b.ping.deadline().expect("something is scheduled");
            b.input(Input::Timer);
        }
        assert_eq!(b.events, [Output::Down { reason: "example.com: there is no such name".into() }]);
    }
}
