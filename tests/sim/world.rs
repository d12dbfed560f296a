//! The world: one clock, and all that happens in the order of its time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use trunkline::call::call::{Call, Phase, Plan, SrtpPlan};
use trunkline::call::io::{HeardFrame, Input, Output, RecordedFrame, ToDialogue};
use trunkline::call::leg::{self, Leg, LegEvent, Outlet, SLOT};
use trunkline::call::line::Parties;
use trunkline::call::transfer::Rules;
use trunkline::dsp::vad::Opinion;
use trunkline::sdp::{AudioFormat, KeySeed};
use trunkline::sip::message::{Message, Method, NameAddr, Target, Uri, parse};
use trunkline::sip::session::{self, Dial, ExtraHeaders, Session, Terms};
use trunkline::sip::{Local, stateless};

use super::network::Path;
use super::phone::{Phone, Stamp};
use super::seen::Seen;
use super::{Order, PHONE, ROBOT, ROBOT_MEDIA, Scenario, Way};

/// No call lasts longer.
const LIMIT: Duration = Duration::from_secs(900);
/// What a media thread reads of one socket in one slot.
const READ: usize = 16;

enum Happening {
    SipToRobot(Vec<u8>),
    SipToPhone(Vec<u8>),
    RtpToRobot(Vec<u8>),
    RtpToPhone(Vec<u8>),
    ToCall(Box<Input>),
    ToLeg(ToLeg),
}

enum ToLeg {
    Open(Box<leg::Setup>),
    Listen(Box<leg::Setup>),
    Command(leg::Command),
    Close,
}

/// How the robot calls a user at the phone.
pub fn dial(user: &str, terms: Terms) -> Dial {
    let uri = |text: &str| -> Uri { text.parse().expect("a URI") };
    let called = uri(&format!("sip:{user}@192.0.2.2"));
    Dial {
        request_uri: called.clone(),
        from: NameAddr::new(None, uri("sip:4000@192.0.2.1")),
        to: NameAddr::new(None, called),
        next_hop: Target::Addr(PHONE),
        spares: Default::default(),
        patience: None,
        route: Vec::new(),
        credentials: None,
        headers: ExtraHeaders::default(),
        offer: Vec::new(),
        terms,
    }
}

/// The robot's signalling.
enum Robot {
    /// No INVITE has come.
    Idle,
    Call(Box<Call>),
    /// The record is written, the signalling lingers.
    Lingering(Box<Session>),
}

pub struct World {
    scenario: Scenario,
    epoch: Instant,
    now: Duration,
    rng: StdRng,
    /// SIP and RTP from the robot, SIP and RTP to it.
    paths: [Path; 4],
    queue: BTreeMap<(Duration, u64), Happening>,
    queued: u64,
    robot: Robot,
    leg: Option<Leg>,
    /// The leg is that before the answer.
    early: bool,
    slot: Duration,
    rtp: VecDeque<Vec<u8>>,
    /// What was handed over last between call and leg, each way: nothing overtakes it.
    handed: [Duration; 2],
    phone: Phone,
    wanted: HashMap<(u32, u32), u32>,
    seen: Seen,
}

impl World {
    pub fn new(mut scenario: Scenario, seed: u64) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let epoch = Instant::now();
        let (early, talk) = (std::mem::take(&mut scenario.early), std::mem::take(&mut scenario.talk));
        let mut phone =
            Phone::new(epoch, rng.random(), scenario.pickup, early, talk, scenario.drift, scenario.phone_events);
        phone.terms = scenario.phone_terms;
        if let Some(terms) = &scenario.srtp[1] {
            phone.encrypt(terms);
        }
        phone.early_sound = std::mem::take(&mut scenario.early_sound);
        phone.echo = scenario.echo;
        phone.redundancy = scenario.redundancy;
        phone.referee = scenario.referee.clone();
        let paths = [scenario.sip, scenario.rtp, scenario.sip, scenario.rtp].map(|w| Path::new(w, rng.random()));
        let mut world = World {
            scenario,
            epoch,
            now: Duration::ZERO,
            rng,
            paths,
            queue: BTreeMap::new(),
            queued: 0,
            robot: Robot::Idle,
            leg: None,
            early: false,
            slot: Duration::ZERO,
            rtp: VecDeque::new(),
            handed: [Duration::ZERO; 2],
            phone,
            wanted: HashMap::new(),
            seen: Seen::default(),
        };
        for (ms, order) in std::mem::take(&mut world.scenario.orders) {
            let input = match order {
                Order::Do(action) => Input::Command(action),
                Order::Say(input) => input,
            };
            world.later(Duration::from_millis(ms.into()), Happening::ToCall(Box::new(input)));
        }
        world
    }

    /// Until nothing more can happen.
    pub fn run(self) -> Seen {
        let seen = self.run_to_the_end();
        seen.check();
        seen
    }

    pub fn run_to_the_end(mut self) -> Seen {
        match self.scenario.way {
            Way::Outbound { ring_timeout } => self.dial(ring_timeout),
            Way::Inbound(_) => self.phone.dial(self.now),
        }
        loop {
            self.drain();
            let call = match &self.robot {
                Robot::Idle => None,
                Robot::Call(call) => call.deadline(),
                Robot::Lingering(session) => session.deadline(),
            };
            let call = call.map(|at| at.saturating_duration_since(self.epoch));
            let slot = self.leg.as_ref().map(|_| self.slot);
            let queue = self.queue.keys().next().map(|(at, _)| *at);
            let next = [call, slot, queue, self.phone.deadline()].into_iter().flatten().min();
            if self.is_over() {
                break;
            }
            let Some(next) = next else { panic!("nothing can happen, and the call is not over: {:#?}", self.seen) };
            assert!(next < LIMIT, "the call never ends: {:#?}", self.seen.told);
            self.now = self.now.max(next);
            self.step();
        }
        self.seen.phone_events = std::mem::take(&mut self.phone.events);
        self.seen.arrived = std::mem::take(&mut self.phone.arrived);
        self.seen.refused = std::mem::take(&mut self.phone.refused);
        self.seen.refers = std::mem::take(&mut self.phone.refers);
        self.seen.spoke = std::mem::take(&mut self.phone.spoke);
        self.seen.phone_began = self.phone.began();
        self.seen
    }

    /// The robot has nothing left; whether the phone has heard of it is its own affair (session timers, RFC 4028, would tell it).
    fn is_over(&mut self) -> bool {
        if !matches!(&self.robot, Robot::Lingering(session) if session.is_over()) || !self.queue.is_empty() {
            return false;
        }
        if !self.phone.is_over() {
            self.phone.hang_up(self.now);
            self.drain();
        }
        self.phone.is_over() && self.queue.is_empty()
    }

    fn instant(&self) -> Instant {
        self.epoch + self.now
    }

    fn later(&mut self, at: Duration, what: Happening) {
        self.queued += 1;
        self.queue.insert((at, self.queued), what);
    }

    /// Between two threads it takes up to 2 ms, and the order is kept.
    fn hand_over(&mut self, way: usize, what: Happening) {
        let at = self.now + Duration::from_micros(self.rng.random_range(50..2_000));
        self.handed[way] = self.handed[way].max(at);
        self.later(self.handed[way], what);
    }

    pub fn plan(&self) -> Plan {
        Plan {
            call_id: "call".into(),
            trunk: "trunk".to_owned(),
            parties: Parties { caller: "4000".to_owned(), callee: "13800000000".to_owned(), ..Parties::default() },
            failover: Vec::new(),
            setup_timeout: Duration::from_secs(32),
            longest: None,
            request_id: "request".to_owned(),
            correlation: "correlation".to_owned(),
            variables: self.scenario.variables.clone(),
            pass_headers: Vec::new(),
            knobs: self.scenario.knobs.clone(),
            background: self.scenario.background.clone(),
            rules: self.scenario.rules.clone(),
            transferred_from: self.scenario.transferred_from.map(Into::into),
            transfer: std::sync::Arc::new(Rules {
                domain: "192.0.2.9".to_owned(),
                trunk: String::new(),
                subscription: true,
                referred_by: true,
                patience: Duration::from_secs(60),
                refuse_refer: 603,
                inbound: Default::default(),
            }),
            rtp_timeout: self.scenario.rtp_timeout,
            local_media: ROBOT_MEDIA,
            formats: vec![AudioFormat::Pcma, AudioFormat::Pcmu],
            line: self.scenario.line,
            srtp: self.scenario.srtp[0].clone().map(|terms| Box::new(SrtpPlan { terms, seed: KeySeed([1; 32]) })),
            early_media: self.scenario.early_media,
            early_media_asr: self.scenario.early_media_asr,
            inband_keys: self.scenario.inband_keys,
            tones: self.scenario.tones.clone(),
            hang_up_on_tone: self.scenario.hang_up_on_tone,
            announcements: self.scenario.announcements.clone(),
            hang_up_on_announcement: self.scenario.hang_up_on_announcement,
            answerer: self.scenario.answerer,
            answerer_early: self.scenario.answerer_early,
            record_early: self.scenario.record_early,
        }
    }

    pub fn wall() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn dial(&mut self, ring_timeout: u32) {
        let dial = dial("13800000000", self.scenario.terms);
        let rng = StdRng::seed_from_u64(self.rng.random());
        let ring = Duration::from_millis(ring_timeout.into());
        self.robot =
            Robot::Call(Box::new(Call::dial(self.instant(), World::wall(), self.plan(), ring, local(), dial, rng)));
    }

    fn step(&mut self) {
        while let Some(((at, no), what)) = self.queue.pop_first() {
            if at > self.now {
                self.queue.insert((at, no), what);
                break;
            }
            self.happen(what);
            self.drain();
        }
        let now = self.instant();
        match &mut self.robot {
            Robot::Call(call) if call.deadline().is_some_and(|at| at <= now) => call.tick(now),
            Robot::Lingering(session) => session.handle(now, session::Input::Timer),
            _ => {}
        }
        self.drain();
        if self.leg.is_some() && self.slot <= self.now {
            self.tick_leg();
        }
        if self.phone.deadline().is_some_and(|at| at <= self.now) {
            self.phone.tick(self.now);
        }
    }

    fn happen(&mut self, what: Happening) {
        let now = self.instant();
        match what {
            Happening::SipToRobot(datagram) => self.robot_sip(&datagram),
            Happening::SipToPhone(datagram) => self.phone.sip(self.now, &datagram),
            // Before the leg is open it is not read.
            Happening::RtpToRobot(datagram) if self.leg.is_some() => self.rtp.push_back(datagram),
            Happening::RtpToRobot(_) => {}
            Happening::RtpToPhone(datagram) => self.phone.rtp(self.now, &datagram),
            Happening::ToCall(input) => {
                if matches!(*input, Input::LegLost) {
                    self.leg = None;
                }
                if let Robot::Call(call) = &mut self.robot {
                    call.handle(now, *input);
                }
            }
            Happening::ToLeg(ToLeg::Listen(setup)) => {
                self.early = true;
                self.leg = Some(Leg::new(*setup));
                self.slot = self.now + Duration::from_micros(self.rng.random_range(0..20_000));
            }
            Happening::ToLeg(ToLeg::Open(setup)) => {
                self.leg = Some(Leg::new(*setup));
                self.slot = self.now + Duration::from_micros(self.rng.random_range(0..20_000));
            }
            Happening::ToLeg(ToLeg::Command(command)) => {
                if let Some(leg) = &mut self.leg {
                    let mut wires = Wires::default();
                    leg.command(command, &mut wires);
                    self.wire(wires);
                }
            }
            Happening::ToLeg(ToLeg::Close) => {
                if std::mem::take(&mut self.early) {
                    self.leg = None;
                    self.seen.early.over = Some(self.now);
                } else if let Some(leg) = self.leg.take() {
                    self.hand_over(0, Happening::ToCall(Box::new(Input::LegClosed(Box::new(leg.quality())))));
                }
            }
        }
    }

    fn robot_sip(&mut self, datagram: &[u8]) {
        let now = self.instant();
        let message = parse(datagram).expect("the phone writes SIP");
        match (&mut self.robot, message) {
            (Robot::Call(call), message) => call.handle(now, Input::Sip { message, source: PHONE }),
            (Robot::Lingering(session), message) => {
                session.handle(now, session::Input::Message { message, source: PHONE });
            }
            (Robot::Idle, Message::Request(request)) if *request.method() == Method::Invite => {
                let Way::Inbound(answering) = self.scenario.way else { panic!("nobody was to call us") };
                let (one, two) = (self.rng.random(), self.rng.random());
                let session =
                    Session::incoming(now, local(), self.scenario.terms, request, PHONE, StdRng::seed_from_u64(one));
                let session = session.expect("the phone's INVITE is in order");
                let rng = StdRng::seed_from_u64(two);
                let call = Call::incoming(now, World::wall(), self.plan(), answering, session, rng);
                self.robot = Robot::Call(Box::new(call));
            }
            (Robot::Idle, Message::Request(request)) => {
                if let Some(reply) = stateless::answer(&request, PHONE, &local()) {
                    self.send(0, reply.to, reply.payload);
                }
            }
            (Robot::Idle, Message::Response(_)) => {}
        }
    }

    fn tick_leg(&mut self) {
        let slot = self.epoch + self.slot;
        let mut wires = Wires::default();
        if let Some(leg) = &mut self.leg {
            for datagram in self.rtp.drain(..self.rtp.len().min(READ)) {
                leg.receive(slot, super::PHONE_MEDIA, &datagram);
            }
            leg.tick(slot, &mut wires);
        }
        self.slot += SLOT;
        self.wire(wires);
    }

    fn wire(&mut self, wires: Wires) {
        if self.early {
            return self.wire_early(wires);
        }
        for event in wires.events {
            match event {
                LegEvent::Spent(_) | LegEvent::SpentShared(_) => continue,
                LegEvent::Began { at } => self.seen.began = Some(at - self.epoch),
                _ => {}
            }
            self.seen.leg.push((self.now, event.clone()));
            self.hand_over(0, Happening::ToCall(Box::new(Input::Leg(event))));
        }
        self.seen.heard.extend(wires.heard);
        self.seen.recorded.extend(wires.recorded);
        for (to, datagram) in wires.sent {
            self.seen.sent.push(Stamp::of(self.now, &datagram));
            self.send(1, to, datagram);
        }
    }

    fn wire_early(&mut self, wires: Wires) {
        for event in wires.events {
            match event {
                LegEvent::Spent(_) | LegEvent::SpentShared(_) => continue,
                LegEvent::Began { at } => self.seen.early.began = Some(at - self.epoch),
                _ => {}
            }
            self.hand_over(0, Happening::ToCall(Box::new(Input::EarlyLeg(event))));
        }
        self.seen.early.heard.extend(wires.heard);
        if self.seen.early.record {
            self.seen.early.recorded.extend(wires.recorded);
        }
        for (to, datagram) in wires.sent {
            self.seen.early.sent.push(Stamp::of(self.now, &datagram));
            self.send(1, to, datagram);
        }
    }

    /// Sends by a path: 0 SIP and 1 RTP from the robot, 2 SIP and 3 RTP from the phone.
    fn send(&mut self, path: usize, to: SocketAddr, datagram: Vec<u8>) {
        self.seen.trace(self.now, &format!("{path} {to}"), &datagram);
        for at in self.paths[path].arrivals(self.now) {
            let datagram = datagram.clone();
            let what = match path {
                0 => Happening::SipToPhone(datagram),
                1 => Happening::RtpToPhone(datagram),
                2 => Happening::SipToRobot(datagram),
                _ => Happening::RtpToRobot(datagram),
            };
            self.later(at, what);
        }
    }

    /// Carries what everybody wants, until nobody wants anything.
    fn drain(&mut self) {
        loop {
            if let Some((to, datagram)) = self.phone.poll() {
                let path = if to == ROBOT { 2 } else { 3 };
                assert!(path == 2 || to == ROBOT_MEDIA, "a stranger: {to}");
                self.send(path, to, datagram);
                continue;
            }
            let output = match &mut self.robot {
                Robot::Idle => None,
                Robot::Call(call) => call.poll(),
                Robot::Lingering(session) => {
                    let output = session.poll();
                    if let Some(session::Output::Transmit { to, payload }) = output {
                        self.transmit(to, payload);
                        continue;
                    }
                    if output.is_some() {
                        continue;
                    }
                    None
                }
            };
            match output {
                Some(output) => self.carry(output),
                None => break,
            }
        }
        if let Robot::Call(call) = &self.robot
            && call.phase() == Phase::Over
            && let Robot::Call(call) = std::mem::replace(&mut self.robot, Robot::Idle)
        {
            self.robot = Robot::Lingering(Box::new(call.into_session()));
        }
    }

    fn transmit(&mut self, to: Target, payload: Vec<u8>) {
        let Target::Addr(to) = to else { panic!("a name: {to}") };
        let line = payload.split(|byte| *byte == b'\r').next().unwrap_or_default();
        self.seen.sip.push((self.now, String::from_utf8_lossy(line).into_owned()));
        self.send(0, to, payload);
    }

    fn carry(&mut self, output: Output) {
        let now = self.now;
        match output {
            Output::Transmit { to, payload } => self.transmit(to, payload),
            Output::Listen { setup, record, .. } => {
                self.seen.early.record = record;
                self.hand_over(1, Happening::ToLeg(ToLeg::Listen(setup)));
            }
            Output::StopListening => self.hand_over(1, Happening::ToLeg(ToLeg::Close)),
            Output::EarlyRecogniser(told) => {
                self.seen.trace(now, "early recogniser", format!("{told:?}").as_bytes());
                self.seen.early.recogniser.push((now, told.clone()));
                for (ms, from) in (self.scenario.early_recogniser)(told) {
                    let input = Box::new(Input::EarlySpeech(from));
                    self.later(now + Duration::from_millis(ms.into()), Happening::ToCall(input));
                }
            }
            Output::OpenLeg(setup) => self.hand_over(1, Happening::ToLeg(ToLeg::Open(setup))),
            Output::Leg(command) => self.hand_over(1, Happening::ToLeg(ToLeg::Command(command))),
            Output::CloseLeg => self.hand_over(1, Happening::ToLeg(ToLeg::Close)),
            Output::Dialogue(ToDialogue::Open) => self.seen.dialogue_opened += 1,
            Output::Dialogue(ToDialogue::Resume | ToDialogue::Attach(_)) => self.seen.dialogue_resumed += 1,
            Output::Dialogue(ToDialogue::Tell(event)) => {
                assert_eq!(self.seen.dialogue_closed, 0, "told after the close: {event:?}");
                self.seen.trace(now, "dialogue", format!("{event:?}").as_bytes());
                let replies = (self.scenario.dialogue)(&event);
                self.seen.line.push((now, event));
                for reply in replies {
                    let input = Box::new(Input::Dialogue(reply.1));
                    self.later(now + Duration::from_millis(reply.0.into()), Happening::ToCall(input));
                }
            }
            Output::Dialogue(ToDialogue::Close) => self.seen.dialogue_closed += 1,
            Output::Recogniser(told) => {
                self.seen.trace(now, "recogniser", format!("{told:?}").as_bytes());
                self.seen.recogniser.push((now, told.clone()));
                let replies = (self.scenario.recogniser)(told);
                self.speech(replies);
            }
            Output::Want { prompt, segment, wanted } => {
                let times = self.wanted.entry((prompt.0, segment)).or_default();
                *times += 1;
                self.seen.wanted.push((now, prompt, segment));
                let replies = (self.scenario.synthesiser)((prompt, segment), &wanted, *times);
                self.speech(replies);
            }
            Output::Unwant(prompt) => self.seen.unwanted.push((now, prompt)),
            Output::Tell { at, what } => {
                self.seen.trace(now, "told", format!("{at} {what:?}").as_bytes());
                self.seen.told.push((now, at, what));
            }
            Output::Over(record) => {
                self.seen.trace(now, "record", format!("{record:?}").as_bytes());
                self.seen.records.push(*record);
                // With the call goes its port.
                self.leg = None;
            }
            Output::Transfer(leg) => self.seen.second_legs.push((now, *leg)),
            Output::Second(told) => self.seen.to_second.push((now, told)),
            Output::First(news) => self.seen.to_first.push((now, news)),
            Output::Bridge { recognised } => self.seen.bridged.push((now, recognised)),
            other => panic!("not known here: {other:?}"),
        }
    }

    fn speech(&mut self, replies: Vec<(u32, trunkline::call::io::FromSpeech)>) {
        for (ms, from) in replies {
            let input = Box::new(Input::Speech(from));
            self.later(self.now + Duration::from_millis(ms.into()), Happening::ToCall(input));
        }
    }
}

pub fn local() -> Local {
    Local { contact_user: "robot".into(), contact: ROBOT, user_agent: "Trunkline".into(), ways: Default::default() }
}

/// What a leg puts out in one go.
#[derive(Default)]
struct Wires {
    events: Vec<LegEvent>,
    heard: Vec<HeardFrame>,
    recorded: Vec<RecordedFrame>,
    sent: Vec<(SocketAddr, Vec<u8>)>,
}

impl Outlet for Wires {
    fn event(&mut self, event: LegEvent) {
        self.events.push(event);
    }
    fn heard(&mut self, frame: impl FnOnce() -> HeardFrame) {
        self.heard.push(frame());
    }
    fn record(&mut self, frame: impl FnOnce() -> RecordedFrame) {
        self.recorded.push(frame());
    }
    fn lend_opinion(&mut self) -> Option<Box<Opinion>> {
        Some(Box::default())
    }
    fn send(&mut self, to: SocketAddr, packet: &[u8]) {
        self.sent.push((to, packet.to_vec()));
    }
    fn report(&mut self, _: SocketAddr, _: &[u8]) {
        // The phone here speaks no RTCP; two legs that do are tested beside `call::leg`.
    }
}
