//! The signalling of all phones: one socket, one task, a pure session a call.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

use super::{Trouble, sockets};
use crate::sdp::{Capabilities, Direction, Negotiated, Negotiator};
use crate::sip::message::{Message, Method, NameAddr, Request, Target, Uri, parse};
use crate::sip::session::{Dial, Event, ExtraHeaders, Input, Output, Session, Terms};
use crate::sip::{Local, stateless};

/// The number of a phone: this, then which one it is.
const NUMBER: &str = "90";

/// The number of a phone.
pub(in crate::command) fn number_of(phone: usize) -> String {
    format!("{NUMBER}{phone}")
}

/// Whose number it is.
pub(in crate::command) fn phone_of(number: &str) -> Option<usize> {
    number.strip_prefix(NUMBER)?.parse().ok()
}

/// What the phones are to do.
#[derive(Debug)]
pub(in crate::command) enum ToSignalling {
    /// Phone so-and-so calls the robot.
    Dial {
        phone: usize,
    },
    /// It hangs up, if its call is up.
    HangUp {
        phone: usize,
    },
    State {
        reply: oneshot::Sender<State>,
    },
}

/// What signalling tells of a phone's media.
#[derive(Debug, Clone, Copy)]
pub(in crate::command) enum Media {
    /// A call is up.
    Start { phone: usize, remote: SocketAddr },
    /// It is over.
    Stop { phone: usize },
}

/// How the calls are.
#[derive(Debug, Clone, Default)]
pub(in crate::command) struct State {
    pub(in crate::command) up: usize,
    pub(in crate::command) answered: u64,
    /// Ended by us, or after we had begun to hang up.
    pub(in crate::command) over: u64,
    /// Not answered, or ended by the server: how often, by reason.
    pub(in crate::command) failed: HashMap<String, u64>,
}

impl State {
    pub(in crate::command) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// The phones' signalling.
pub(in crate::command) struct Signalling {
    socket: UdpSocket,
    local: Local,
    server: SocketAddr,
    /// The port of all phones' media.
    rtp_port: u16,
    tell: Box<dyn FnMut(Media) + Send>,
    calls: HashMap<String, Call>,
    /// The Call-ID of the phone's call.
    by_phone: HashMap<usize, String>,
    wakes: BinaryHeap<Reverse<(Instant, String)>>,
    state: State,
    rng: StdRng,
}

struct Call {
    session: Session,
    phone: usize,
    negotiator: Negotiator,
    agreed: Option<Negotiated>,
    up: bool,
    hanging_up: bool,
}

impl Signalling {
    /// Runs on a thread of its own, until nobody can ask for anything any more.
    pub(in crate::command) fn start(
        socket: std::net::UdpSocket,
        server: SocketAddr,
        rtp_port: u16,
        tell: impl FnMut(Media) + Send + 'static,
    ) -> Result<mpsc::UnboundedSender<ToSignalling>, Trouble> {
        let wrong = |error: std::io::Error| Trouble::Socket(error.to_string());
        let (signalling, orders) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(wrong)?;
        let thread = std::thread::Builder::new().name("load-sip".to_owned());
        let run = move || {
            let _guard = runtime.enter();
            let Ok(sip) = UdpSocket::from_std(socket) else { return };
            if let Ok(signalling) = Signalling::new(sip, server, rtp_port, tell) {
                runtime.block_on(signalling.run(orders));
            }
        };
        thread.spawn(run).map_err(wrong)?;
        Ok(signalling)
    }

    /// Must be called within a tokio runtime.
    fn new(
        socket: UdpSocket,
        server: SocketAddr,
        rtp_port: u16,
        tell: impl FnMut(Media) + Send + 'static,
    ) -> Result<Signalling, Trouble> {
        let contact = socket.local_addr().map_err(|error| Trouble::Socket(error.to_string()))?;
        Ok(Signalling {
            socket,
            local: Local {
                contact_user: "load".to_owned(),
                contact,
                user_agent: "trunkline load".to_owned(),
                ways: Default::default(),
            },
            server,
            rtp_port,
            tell: Box::new(tell),
            calls: HashMap::new(),
            by_phone: HashMap::new(),
            wakes: BinaryHeap::new(),
            state: State::default(),
            rng: StdRng::seed_from_u64(1),
        })
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<ToSignalling>) {
        let mut buffer = vec![0; 65_535];
        loop {
            let deadline = self.wakes.peek().map(|Reverse((at, _))| *at);
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                received = self.socket.recv_from(&mut buffer) => {
                    if let Ok((length, source)) = received {
                        self.receive(&buffer[..length], source).await;
                    }
                }
                () = until(deadline) => self.wake().await,
            }
        }
    }

    async fn obey(&mut self, order: ToSignalling) {
        match order {
            ToSignalling::Dial { phone } => self.dial(phone).await,
            ToSignalling::HangUp { phone } => {
                let Some(call_id) = self.by_phone.get(&phone).cloned() else { return };
                if let Some(call) = self.calls.get_mut(&call_id) {
                    call.hanging_up = true;
                    call.session.handle(Instant::now(), Input::Cancel);
                    self.drain(call_id).await;
                }
            }
            ToSignalling::State { reply } => drop(reply.send(self.state.clone())),
        }
    }

    async fn dial(&mut self, phone: usize) {
        let media = sockets::media(phone, self.rtp_port);
        let mut negotiator = Negotiator::new(self.rng.random::<u64>() >> 1, media, Capabilities::default());
        let uri = |user: &str, at: SocketAddr| Uri::parse(&format!("sip:{user}@{at}"));
        let (Ok(to), Ok(from)) = (uri("100", self.server), uri(&number_of(phone), self.local.contact)) else { return };
        let dial = Dial {
            request_uri: to.clone(),
            from: NameAddr::new(None, from),
            to: NameAddr::new(None, to),
            next_hop: Target::Addr(self.server),
            credentials: None,
            terms: Terms::default(),
            spares: Default::default(),
            patience: None,
            route: Vec::new(),
            headers: ExtraHeaders::default(),
            offer: negotiator.offer(Direction::SendRecv),
        };
        let rng = StdRng::seed_from_u64(self.rng.random());
        let session = Session::dial(Instant::now(), self.local.clone(), dial, rng);
        self.begin(session, phone, negotiator, None).await;
    }

    async fn begin(&mut self, session: Session, phone: usize, negotiator: Negotiator, agreed: Option<Negotiated>) {
        let call_id = session.call_id().to_owned();
        self.by_phone.insert(phone, call_id.clone());
        self.calls.insert(call_id.clone(), Call { session, phone, negotiator, agreed, up: false, hanging_up: false });
        self.drain(call_id).await;
    }

    async fn receive(&mut self, datagram: &[u8], source: SocketAddr) {
        let Ok(message) = parse(datagram) else { return };
        let Ok(call_id) = message.call_id().map(str::to_owned) else { return };
        if let Some(call) = self.calls.get_mut(&call_id) {
            call.session.handle(Instant::now(), Input::Message { message, source });
            return self.drain(call_id).await;
        }
        let Message::Request(request) = message else { return };
        if *request.method() == Method::Invite {
            return self.ring(request, source).await;
        }
        if let Some(reply) = stateless::answer(&request, source, &self.local) {
            self.send(&Target::Addr(reply.to), &reply.payload).await;
        }
    }

    /// The robot calls: it is answered at once.
    async fn ring(&mut self, request: Request, source: SocketAddr) {
        let Some(phone) = request.uri().user_text().and_then(|user| phone_of(&user)) else { return };
        let rng = StdRng::seed_from_u64(self.rng.random());
        let Ok(mut session) =
            Session::incoming(Instant::now(), self.local.clone(), Terms::default(), request, source, rng)
        else {
            return self.failed("an INVITE that is wrong");
        };
        let media = sockets::media(phone, self.rtp_port);
        let mut negotiator = Negotiator::new(self.rng.random::<u64>() >> 1, media, Capabilities::default());
        let Some(Ok((sdp, agreed))) = session.offer().map(|offer| negotiator.answer(offer)) else {
            return self.failed("an offer that cannot be answered");
        };
        session.handle(Instant::now(), Input::Answer { headers: ExtraHeaders::default(), sdp });
        self.begin(session, phone, negotiator, Some(agreed)).await;
    }

    /// Does what a session wants.
    async fn drain(&mut self, call_id: String) {
        while let Some(output) = self.calls.get_mut(&call_id).and_then(|call| call.session.poll()) {
            match output {
                Output::Transmit { to, payload } => self.send(&to, &payload).await,
                Output::Event(event) => self.told(&call_id, event),
            }
        }
        let Some(call) = self.calls.get(&call_id) else { return };
        if call.session.is_over() {
            let phone = call.phone;
            self.calls.remove(&call_id);
            if self.by_phone.get(&phone) == Some(&call_id) {
                self.by_phone.remove(&phone);
            }
        } else if let Some(at) = call.session.deadline() {
            self.wakes.push(Reverse((at, call_id)));
        }
    }

    fn told(&mut self, call_id: &str, event: Event) {
        let Some(call) = self.calls.get_mut(call_id) else { return };
        let reason = match event {
            Event::Answered { sdp } => {
                call.agreed = sdp.and_then(|sdp| call.negotiator.accept(&sdp).ok());
                return self.up(call_id);
            }
            Event::Confirmed { .. } => return self.up(call_id),
            Event::Refused(refusal) => format!("{} {}", refusal.code, refusal.reason),
            Event::TimedOut => "no answer to an INVITE".to_owned(),
            Event::Cancelled { .. } => "cancelled before the answer".to_owned(),
            Event::Ended { .. } => "hung up by the server".to_owned(),
            Event::Failed(failure) => format!("{failure:?}"),
            _ => return,
        };
        // The phone that the call had may have another one by now, and is told only of its own.
        if std::mem::take(&mut call.up) {
            self.state.up -= 1;
            (self.tell)(Media::Stop { phone: call.phone });
        }
        if call.hanging_up {
            self.state.over += 1;
        } else {
            self.failed(&reason);
        }
    }

    fn up(&mut self, call_id: &str) {
        let Some(call) = self.calls.get_mut(call_id) else { return };
        let Some(agreed) = call.agreed else { return self.failed("an answer without media") };
        call.up = true;
        self.state.up += 1;
        self.state.answered += 1;
        (self.tell)(Media::Start { phone: call.phone, remote: agreed.remote });
    }

    fn failed(&mut self, reason: &str) {
        *self.state.failed.entry(reason.to_owned()).or_default() += 1;
    }

    async fn wake(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, _))) = self.wakes.peek()
            && *at <= now
        {
            let Some(Reverse((_, call_id))) = self.wakes.pop() else { return };
            if let Some(call) = self.calls.get_mut(&call_id)
                && call.session.deadline().is_some_and(|at| at <= now)
            {
                call.session.handle(now, Input::Timer);
                self.drain(call_id).await;
            }
        }
    }

    async fn send(&self, to: &Target, payload: &[u8]) {
        if let Target::Addr(to) = to {
            // What is lost is sent again by its transaction.
            let _ = self.socket.send_to(payload, to).await;
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
