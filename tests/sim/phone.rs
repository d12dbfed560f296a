//! The far end: a phone with a real SIP session, and an RTP stream of its own making.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use trunkline::codec::g711::Law;
use trunkline::ms::Ms;
use trunkline::rtp::packet::{Packet, PayloadType, SequenceNumber, Ssrc};
use trunkline::rtp::redundancy::{self, Block};
use trunkline::rtp::srtp::{MAX_TRAILER, Rejected, Srtp};
use trunkline::rtp::telephone_event::{self, Key};
use trunkline::sdp::{Capabilities, Direction, KeySeed, Negotiated, Negotiator, Secured, SrtpTerms};
use trunkline::sip::message::{HeaderName, Message, Method, NameAddr, Response, Target, Uri, Writer, parse};
use trunkline::sip::session::{Dial, Event, ExtraHeaders, Input, Output, Session, Terms};
use trunkline::sip::{Local, stateless};

use super::{PHONE, PHONE_MEDIA, ROBOT};

/// What a phone does with a call that comes.
#[derive(Debug, Clone, Copy)]
pub enum Pickup {
    /// Rings at once, and is answered after so many ms.
    After(u32),
    /// Rings at once with media (183 with SDP), sends from then on, and is answered after so many ms.
    Early(u32),
    /// The same, and refuses.
    EarlyRefuse(u32, u16),
    /// Rings at once, and refuses after so many ms with this status.
    Refuse(u32, u16),
    /// Refuses without ringing.
    RefuseAtOnce(u16),
    /// Rings for ever.
    Never,
    /// Is not there: nothing comes back.
    Dead,
}

/// What the one who holds it does.
#[derive(Debug, Clone)]
pub enum Act {
    /// Speaks; an earlier word is finished first.
    Speak(Vec<i16>),
    /// Presses a key for 100 ms.
    Press(char),
    /// Tells a key by INFO.
    Info(char),
    /// Hangs up, cancels, or refuses.
    HangUp,
    /// Re-INVITE with this direction.
    Hold(Direction),
    /// Refuses the next offer with this status.
    Refuse(u16),
    /// Answers, or refuses, after early media.
    PickUp,
    /// Sends no more RTP.
    Mute,
    /// Sends RTP again.
    Unmute,
    /// NOTIFY of a REFER: Subscription-State and sipfrag.
    Notify(&'static str, &'static str),
}

/// What the phone does with a REFER: as its session says (603), or by hand.
#[derive(Debug, Clone, Default)]
pub struct Referee {
    /// Its answer; 0: the session's.
    pub code: u16,
    /// `Refer-Sub: false` in it.
    pub silent: bool,
    /// ms after it: Subscription-State and sipfrag of each NOTIFY.
    pub notifies: Vec<(u32, &'static str, &'static str)>,
    /// ms after it: BYE.
    pub hangs_up: Option<u32>,
}

/// Something done at a time in ms.
pub type Plan = Vec<(u32, Act)>;

/// An RTP packet, without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub at: Duration,
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// It is not silence.
    pub sounds: bool,
}

impl Stamp {
    pub fn of(at: Duration, datagram: &[u8]) -> Stamp {
        let packet = Packet::parse(datagram).expect("we write RTP");
        let mut samples = [0; 160];
        Law::A.decode(packet.payload, &mut samples);
        Stamp {
            at,
            marker: packet.marker,
            payload_type: packet.payload_type.as_u8(),
            sequence: packet.sequence.0,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc.0,
            sounds: super::voice::sounds(&samples),
        }
    }
}

/// The phone.
pub struct Phone {
    epoch: Instant,
    rng: StdRng,
    pub terms: Terms,
    pickup: Pickup,
    early: VecDeque<(Duration, Act)>,
    talk: Plan,
    session: Option<Session>,
    negotiator: Negotiator,
    reply: Vec<u8>,
    agreed: Option<Negotiated>,
    /// From, To and Call-ID of our own requests, once there is a dialog.
    dialog: Option<(String, String, String)>,
    reinvites: u32,
    refuses: Option<u16>,
    stream: Option<Stream>,
    /// Of the stream's clock, in parts per million: more is faster.
    drift: i32,
    out: VecDeque<(SocketAddr, Vec<u8>)>,
    pub referee: Referee,
    pub refers: Vec<String>,
    pub events: Vec<Event>,
    pub arrived: Vec<Stamp>,
    pub refused: Vec<Rejected>,
    keys: Option<Secured>,
    srtp: Option<Box<Srtp>>,
    /// When each `Speak` began.
    pub spoke: Vec<Duration>,
    /// What is heard before the answer, if anything.
    pub early_sound: Vec<i16>,
    /// Its line gives back what comes, after a while and by a factor.
    pub echo: Option<(Ms, f32)>,
    /// It says each packet again in so many of those that follow it (RFC 2198), if the robot agrees.
    pub redundancy: usize,
}

/// The number of redundant packets.
const RED: PayloadType = PayloadType::new(121).unwrap();

/// What the phone sends.
struct Stream {
    began: Duration,
    next: Duration,
    acts: VecDeque<(Duration, Act)>,
    muted: bool,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    words: VecDeque<i16>,
    /// What the line gives back.
    echo: VecDeque<i16>,
    key: Option<telephone_event::Sender>,
    /// What is said again: the last packets' types, timestamps and payloads.
    again: VecDeque<(PayloadType, u32, Vec<u8>)>,
    redundancy: usize,
}

fn local() -> Local {
    Local { contact_user: "phone".into(), contact: PHONE, user_agent: "phone".into(), ways: Default::default() }
}

fn none() -> ExtraHeaders {
    ExtraHeaders::default()
}

impl Phone {
    pub fn new(epoch: Instant, seed: u64, pickup: Pickup, early: Plan, talk: Plan, drift: i32, events: bool) -> Phone {
        let usual = Capabilities::default();
        let capabilities = Capabilities { telephone_event: usual.telephone_event.filter(|_| events), ..usual };
        let mut rng = StdRng::seed_from_u64(seed);
        Phone {
            epoch,
            terms: Terms::default(),
            pickup,
            early: early.into_iter().map(|(ms, act)| (Ms(ms).into(), act)).collect(),
            talk,
            session: None,
            negotiator: Negotiator::new(rng.random::<u64>() >> 1, PHONE_MEDIA, capabilities),
            rng,
            reply: Vec::new(),
            agreed: None,
            dialog: None,
            reinvites: 0,
            refuses: None,
            stream: None,
            drift,
            out: VecDeque::new(),
            referee: Referee::default(),
            refers: Vec::new(),
            events: Vec::new(),
            arrived: Vec::new(),
            refused: Vec::new(),
            keys: None,
            srtp: None,
            spoke: Vec::new(),
            early_sound: Vec::new(),
            echo: None,
            redundancy: 0,
        }
    }

    /// It wants SRTP.
    pub fn encrypt(&mut self, terms: &SrtpTerms) {
        self.negotiator = self.negotiator.clone().with_srtp(terms, KeySeed([2; 32]));
    }

    /// Its encryption, with the keys that hold now.
    fn srtp(&mut self) -> Option<&mut Srtp> {
        if self.negotiator.secured() != self.keys.as_ref() {
            self.keys = self.negotiator.secured().copied();
            let mut new = trunkline::call::call::srtp(&self.negotiator);
            match (&mut self.srtp, &mut new) {
                (Some(srtp), Some(new)) => srtp.renew(new),
                (srtp, _) => *srtp = new,
            }
        }
        self.srtp.as_deref_mut()
    }

    /// Calls the robot.
    pub fn dial(&mut self, now: Duration) {
        let uri = |text: &str| -> Uri { text.parse().expect("a URI") };
        let dial = Dial {
            request_uri: uri("sip:4000@192.0.2.1"),
            from: NameAddr::new(None, uri("sip:13800000000@192.0.2.2")),
            to: NameAddr::new(None, uri("sip:4000@192.0.2.1")),
            next_hop: Target::Addr(ROBOT),
            spares: Default::default(),
            patience: None,
            route: Vec::new(),
            credentials: None,
            headers: none(),
            offer: if self.terms.delayed_offer { Vec::new() } else { self.offer() },
            terms: self.terms,
        };
        let rng = StdRng::seed_from_u64(self.rng.random());
        self.session = Some(Session::dial(self.epoch + now, local(), dial, rng));
        self.drain(now);
    }

    /// Our side knows no redundancy that is offered: it is written in by hand.
    fn offer(&mut self) -> Vec<u8> {
        let offer = self.negotiator.offer(Direction::SendRecv);
        if self.redundancy == 0 {
            return offer;
        }
        let text = String::from_utf8(offer).expect("text");
        let (head, tail) = text.split_once("\r\na=rtpmap:").expect("a format");
        let fmtp = if text.contains("telephone-event") { "8/101" } else { "8/8" };
        format!("{head} {RED}\r\na=rtpmap:{RED} red/8000\r\na=fmtp:{RED} {fmtp}\r\na=rtpmap:{tail}").into_bytes()
    }

    pub fn is_over(&self) -> bool {
        self.session.as_ref().is_none_or(Session::is_over)
    }

    /// When the stream began.
    pub fn began(&self) -> Option<Duration> {
        self.stream.as_ref().map(|stream| stream.began)
    }

    pub fn poll(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.out.pop_front()
    }

    pub fn deadline(&self) -> Option<Duration> {
        let session = self.session.as_ref().and_then(Session::deadline).map(|at| at - self.epoch);
        let early = self.early.front().map(|(at, _)| *at);
        let stream = self
            .stream
            .as_ref()
            // Before the answer to our offer nobody knows where to.
            .filter(|_| !self.ended() && self.agreed.is_some())
            .map(|stream| stream.acts.front().map_or(stream.next, |(at, _)| stream.next.min(*at)));
        [session, early, stream].into_iter().flatten().min()
    }

    /// Hangs up whatever there is.
    pub fn hang_up(&mut self, now: Duration) {
        self.signal(now, Input::Cancel);
    }

    pub fn rtp(&mut self, now: Duration, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        match self.srtp().map(|srtp| srtp.unprotect(&mut datagram)) {
            Some(Ok(length)) => datagram.truncate(length),
            Some(Err(refused)) => return self.refused.push(refused),
            None => {}
        }
        self.arrived.push(Stamp::of(now, &datagram));
        if let (Some((_, gain)), Some(stream)) = (self.echo, &mut self.stream)
            && let Ok(packet) = Packet::parse(&datagram)
            && packet.payload_type == PayloadType::PCMA
        {
            let mut samples = [0; 160];
            let n = Law::A.decode(packet.payload, &mut samples);
            stream.echo.extend(samples[..n].iter().map(|sample| (f32::from(*sample) * gain) as i16));
        }
    }

    pub fn sip(&mut self, now: Duration, datagram: &[u8]) {
        let message = parse(datagram).expect("the robot writes SIP");
        if self.refereed(now, &message) {
            return;
        }
        if let Message::Response(response) = &message
            && self.reinvite_answered(response)
        {
            return;
        }
        match (&mut self.session, message) {
            (Some(session), message) => session.handle(self.epoch + now, Input::Message { message, source: ROBOT }),
            (None, _) if matches!(self.pickup, Pickup::Dead) => {}
            (None, Message::Request(request)) if *request.method() == Method::Invite => {
                let rng = StdRng::seed_from_u64(self.rng.random());
                let session = Session::incoming(self.epoch + now, local(), self.terms, request, ROBOT, rng);
                self.session = Some(session.expect("the robot's INVITE is in order"));
                self.rings(now);
            }
            (None, Message::Request(request)) => {
                let reply = stateless::answer(&request, ROBOT, &local());
                self.out.extend(reply.map(|reply| (reply.to, reply.payload)));
            }
            (None, Message::Response(_)) => {}
        }
        self.drain(now);
    }

    pub fn tick(&mut self, now: Duration) {
        self.signal(now, Input::Timer);
        while let Some((_, act)) = self.early.pop_front_if(|(at, _)| *at <= now) {
            self.act(now, act);
        }
        while let Some((_, act)) = self.stream.as_mut().and_then(|s| s.acts.pop_front_if(|(at, _)| *at <= now)) {
            self.act(now, act);
        }
        if !self.ended()
            && let (Some(stream), Some(agreed)) = (&mut self.stream, &self.agreed)
            && stream.next <= now
        {
            stream.next += Duration::from_nanos((20_000_000 - 20 * i64::from(self.drift)) as u64);
            let (mut datagram, muted, remote) = (stream.packet(), stream.muted, agreed.remote);
            if let Some(srtp) = self.srtp() {
                let length = datagram.len();
                datagram.resize(length + MAX_TRAILER, 0);
                let length = srtp.protect(&mut datagram, length).expect("it may be sent");
                datagram.truncate(length);
            }
            if !muted {
                self.out.push_back((remote, datagram));
            }
        }
        self.drain(now);
    }

    fn ended(&self) -> bool {
        let end = |e: &Event| matches!(e, Event::Ended { .. } | Event::Cancelled { .. } | Event::Failed(_));
        self.events.last().is_some_and(end)
    }

    fn rings(&mut self, now: Duration) {
        match self.session.as_ref().and_then(Session::offer) {
            Some(offer) => {
                let (reply, agreed) = self.negotiator.answer(offer).expect("G.711");
                (self.reply, self.agreed) = (reply, Some(agreed));
            }
            None => self.reply = self.negotiator.offer(Direction::SendRecv),
        }
        let sound = std::mem::take(&mut self.early_sound);
        let ring = Input::Ring { headers: none(), sdp: (!sound.is_empty()).then(|| self.reply.clone()) };
        if !sound.is_empty() {
            let talk = std::mem::take(&mut self.talk);
            self.talks(now);
            self.talk = talk;
            self.stream.iter_mut().for_each(|stream| stream.words.extend(&sound));
        }
        match self.pickup {
            Pickup::After(ms) => {
                self.signal(now, ring);
                self.early.push_back((now + Ms(ms).as_duration(), Act::Unmute));
            }
            Pickup::Early(ms) | Pickup::EarlyRefuse(ms, _) => {
                self.signal(now, Input::Ring { headers: none(), sdp: Some(self.reply.clone()) });
                self.talks(now);
                self.early.push_back((now + Ms(ms).as_duration(), Act::PickUp));
            }
            Pickup::Refuse(ms, _) => {
                self.signal(now, ring);
                self.early.push_back((now + Ms(ms).as_duration(), Act::HangUp));
            }
            Pickup::RefuseAtOnce(code) => self.signal(now, Input::Reject { code, reason: None, headers: none() }),
            Pickup::Never => self.signal(now, ring),
            Pickup::Dead => {}
        }
    }

    fn signal(&mut self, now: Duration, input: Input) {
        if let Some(session) = &mut self.session {
            session.handle(self.epoch + now, input);
        }
        self.drain(now);
    }

    fn act(&mut self, now: Duration, act: Act) {
        match (act, &mut self.stream, self.pickup) {
            (Act::Speak(words), Some(stream), _) => {
                self.spoke.push(stream.next + Ms::of_samples(stream.words.len() as u64, 8_000).as_duration());
                stream.words.extend(words);
            }
            (Act::Press(key), Some(stream), _) => {
                let key = Key::from_char(key).expect("a key");
                stream.key = Some(telephone_event::Sender::new(key, stream.timestamp, Ms(100), 8_000));
            }
            (Act::Info(key), Some(_), _) => {
                let body = format!("Signal={key}\r\nDuration=100\r\n").into_bytes();
                self.signal(now, Input::Info { content_type: "application/dtmf-relay".to_owned(), body });
            }
            (Act::PickUp, _, Pickup::EarlyRefuse(_, code)) => {
                self.signal(now, Input::Reject { code, reason: None, headers: none() });
                self.stream = None;
            }
            (Act::PickUp, ..) => {
                self.signal(now, Input::Answer { headers: none(), sdp: self.reply.clone() });
            }
            (Act::Mute, Some(stream), _) => stream.muted = true,
            (Act::Unmute, _, Pickup::After(_)) if self.dialog.is_none() => {
                self.signal(now, Input::Answer { headers: none(), sdp: self.reply.clone() });
                self.talks(now);
            }
            (Act::Unmute, Some(stream), _) => stream.muted = false,
            (Act::HangUp, _, Pickup::Refuse(_, code)) if self.dialog.is_none() => {
                self.signal(now, Input::Reject { code, reason: None, headers: none() });
            }
            (Act::HangUp, ..) => self.signal(now, Input::Cancel),
            (Act::Hold(direction), ..) => self.reinvite(direction),
            (Act::Refuse(code), ..) => self.refuses = Some(code),
            (Act::Notify(state, sipfrag), ..) => self.notify(state, sipfrag),
            (act, None, _) => panic!("{act:?} before the answer"),
        }
    }

    fn talks(&mut self, now: Duration) {
        let acts = std::mem::take(&mut self.talk).into_iter();
        self.stream = Some(Stream {
            began: now,
            next: now,
            acts: acts.map(|(ms, act)| (now + Ms(ms).as_duration(), act)).collect(),
            muted: false,
            sequence: self.rng.random(),
            timestamp: self.rng.random(),
            ssrc: self.rng.random(),
            words: VecDeque::new(),
            echo: vec![0; self.echo.map_or(0, |(delay, _)| delay.samples(8_000) as usize)].into(),
            key: None,
            again: VecDeque::new(),
            redundancy: self.redundancy,
        });
    }

    fn drain(&mut self, now: Duration) {
        while let Some(output) = self.session.as_mut().and_then(Session::poll) {
            match output {
                Output::Transmit { to: Target::Addr(to), payload } => {
                    self.learn(&payload);
                    self.out.push_back((to, payload));
                }
                Output::Transmit { to, .. } => panic!("a name: {to}"),
                Output::Event(event) => {
                    self.told(now, &event);
                    self.events.push(event);
                }
            }
        }
    }

    fn told(&mut self, now: Duration, event: &Event) {
        let reply = match event {
            Event::Answered { sdp } => {
                if let Some(sdp) = sdp {
                    self.agreed = Some(self.negotiator.accept(sdp).expect("an answer"));
                    if !String::from_utf8_lossy(sdp).contains(" red/8000") {
                        self.redundancy = 0;
                    }
                }
                return self.talks(now);
            }
            Event::Confirmed { sdp: Some(sdp) }
            | Event::ReofferConfirmed { sdp: Some(sdp) }
            | Event::ReofferAnswered { sdp: Some(sdp) } => {
                self.agreed = Some(self.negotiator.accept(sdp).expect("an answer"));
                return;
            }
            Event::Reoffer { .. } if self.refuses.is_some() => {
                Input::RejectReoffer { code: self.refuses.take().expect("it is there"), headers: none() }
            }
            Event::Reoffer { sdp: Some(sdp) } => {
                let (sdp, agreed) = self.negotiator.answer(sdp).expect("G.711");
                self.agreed = Some(agreed);
                Input::AnswerReoffer { sdp }
            }
            Event::Reoffer { sdp: None } => Input::AnswerReoffer { sdp: self.negotiator.offer_whole() },
            Event::OfferWanted => Input::Reoffer { sdp: self.negotiator.offer_again() },
            _ => return,
        };
        if let Some(session) = &mut self.session {
            session.handle(self.epoch + now, reply);
        }
    }

    /// The dialog, from our 200 or our ACK.
    fn learn(&mut self, payload: &[u8]) {
        let Ok(message) = parse(payload) else { return };
        let text = |name| match &message {
            Message::Request(request) => request.text(name).map(|text| text.into_owned()),
            Message::Response(response) => response.text(name).map(|text| text.into_owned()),
        };
        let (Some(from), Some(to)) = (text(HeaderName::From), text(HeaderName::To)) else { return };
        let call_id = message.call_id().unwrap_or_default().to_owned();
        match &message {
            Message::Response(ok) if ok.code() == 200 && ok.cseq().is_ok_and(|c| c.method == Method::Invite) => {
                self.dialog = Some((to, from, call_id));
            }
            Message::Request(ack) if *ack.method() == Method::Ack => self.dialog = Some((from, to, call_id)),
            _ => {}
        }
    }

    /// The session makes no re-INVITE yet, so it is made by hand; what answers it is taken by hand too.
    fn reinvite(&mut self, direction: Direction) {
        self.reinvites += 1;
        let offer = self.negotiator.offer(direction);
        let invite = self.request("INVITE", "", &offer);
        self.out.push_back((ROBOT, invite));
    }

    /// A REFER that is taken by hand, or the answer to one of our NOTIFYs.
    fn refereed(&mut self, now: Duration, message: &Message) -> bool {
        let request = match message {
            Message::Request(request) if *request.method() == Method::Refer && self.referee.code != 0 => request,
            Message::Response(response) => return response.cseq().is_ok_and(|cseq| cseq.method == Method::Notify),
            Message::Request(_) => return false,
        };
        let referee = self.referee.clone();
        let mut out = Writer::reply(request, ROBOT, referee.code, "by hand", None);
        if referee.silent {
            out = out.header(HeaderName::ReferSub, "false");
        }
        self.out.push_back((ROBOT, out.finish("", b"").bytes().to_vec()));
        let target = request.text(HeaderName::ReferTo).expect("a target").into_owned();
        if self.refers.last() != Some(&target) {
            self.refers.push(target);
            let later = |ms: u32| now + Ms(ms).as_duration();
            let notifies = referee.notifies.iter().map(|(ms, state, text)| (later(*ms), Act::Notify(state, text)));
            self.early.extend(notifies.chain(referee.hangs_up.map(|ms| (later(ms), Act::HangUp))));
        }
        true
    }

    fn notify(&mut self, state: &str, sipfrag: &str) {
        self.reinvites += 1;
        let (from, to, call_id) = self.dialog.as_ref().expect("a dialog");
        let number = 1_000_000 + self.reinvites;
        let notify = format!(
            "NOTIFY sip:robot@{ROBOT} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKnotify{number}\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {number} NOTIFY\r\n\
             Contact: <sip:phone@{PHONE}>\r\nEvent: refer\r\nSubscription-State: {state}\r\n\
             Content-Type: message/sipfrag\r\nContent-Length: {}\r\n\r\n{sipfrag}",
            sipfrag.len()
        );
        self.out.push_back((ROBOT, notify.into_bytes()));
    }

    fn reinvite_answered(&mut self, response: &Response) -> bool {
        let by_hand = |cseq: u32| self.reinvites > 0 && cseq == 1_000_000 + self.reinvites;
        if !response.cseq().is_ok_and(|cseq| by_hand(cseq.number)) {
            return false;
        }
        if response.code() >= 200 {
            assert_eq!(response.code(), 200, "the robot takes a re-INVITE");
            let ack = self.request("ACK", "ack", b"");
            self.out.push_back((ROBOT, ack));
        }
        true
    }

    fn request(&self, method: &str, branch: &str, sdp: &[u8]) -> Vec<u8> {
        let (from, to, call_id) = self.dialog.as_ref().expect("a dialog");
        let number = 1_000_000 + self.reinvites;
        let kind = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let head = format!(
            "{method} sip:robot@{ROBOT} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKhand{number}{branch}\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {number} {method}\r\n\
             Contact: <sip:phone@{PHONE}>\r\n{kind}Content-Length: {}\r\n\r\n",
            sdp.len()
        );
        [head.as_bytes(), sdp].concat()
    }
}

impl Stream {
    fn packet(&mut self) -> Vec<u8> {
        let mut payload = [Law::A.silence(); 160];
        let event = self.key.as_mut().and_then(telephone_event::Sender::next_packet);
        let mut packet = Packet {
            marker: false,
            payload_type: PayloadType::PCMA,
            sequence: SequenceNumber(self.sequence),
            timestamp: self.timestamp,
            ssrc: Ssrc(self.ssrc),
            payload: &[],
        };
        match &event {
            Some(event) => {
                packet.marker = event.marker;
                packet.timestamp = event.timestamp;
                packet.payload_type = PayloadType::new(101).expect("below 128");
                packet.payload = &event.payload;
            }
            None => {
                self.key = None;
                let n = self.words.len().min(160);
                let mut words: Vec<i16> = self.words.drain(..n).collect();
                let n = self.echo.len().min(160);
                words.resize(words.len().max(n), 0);
                self.echo.drain(..n).zip(&mut words).for_each(|(echo, word)| *word = word.saturating_add(echo));
                Law::A.encode(&words, &mut payload);
                packet.payload = &payload;
            }
        }
        let mut room = [0; 1_200];
        if self.redundancy > 0 {
            let said = (packet.payload_type, packet.timestamp, packet.payload.to_vec());
            let block = |(kind, timestamp, payload): &'_ (PayloadType, u32, Vec<u8>)| {
                (*kind, packet.timestamp.wrapping_sub(*timestamp), payload.clone())
            };
            let older: Vec<_> = self.again.iter().map(block).filter(|(_, offset, _)| *offset < 1 << 14).collect();
            let older: Vec<_> = older
                .iter()
                .map(|(payload_type, offset, payload)| Block { payload_type: *payload_type, offset: *offset, payload })
                .collect();
            let length = redundancy::write(&older, (said.0, &said.2), &mut room).expect("it fits");
            (packet.payload_type, packet.payload) = (RED, &room[..length]);
            self.again.push_back(said);
            if self.again.len() > self.redundancy {
                self.again.pop_front();
            }
        }
        let mut datagram = vec![0; packet.payload.len() + 12];
        let length = packet.write_into(&mut datagram);
        datagram.truncate(length);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        datagram
    }
}
