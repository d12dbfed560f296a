//! The media engine: N threads, each of which owns the RTP sockets and the legs of its calls.
//!
//! A thread wakes once a millisecond, never on a packet, and serves the legs whose slot has come. Each leg has one slot every 20 ms on the
//! wheel, and new legs go where the wheel is emptiest, so that sends never come in one burst. Slots are paced on one monotonic origin; a
//! thread that was held up serves each of its legs once and lets the rest go: it never catches up in a burst.
//!
//! The rest of the program talks to a thread by message; audio comes back by a ring a call, events by the closure it was given.

mod metrics;
mod ports;
mod priority;
mod sockets;
mod thread;
mod wheel;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

use crate::call::io::{HeardFrame, RecordedFrame};
use crate::call::leg::{Command, LegEvent, Setup};
use crate::call::record::LineQuality;
pub use metrics::Metrics;
use thread::{Order, Thread};

/// What the engine has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The address that RTP sockets are bound to.
    pub bind: IpAddr,
    /// Ports to use: the even ones among them.
    pub ports: RangeInclusive<u16>,
    /// Threads; 0: one a core.
    pub threads: usize,
    /// Ask the system to run them before all ordinary threads.
    pub realtime: bool,
}

/// What a leg's thread tells its call.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaEvent {
    /// From the leg.
    Leg(LegEvent),
    /// The leg is gone; its last word.
    Closed(LineQuality),
}

/// Where a leg's events go. Called on the media thread: it must neither block nor take long.
pub type EventSink = Box<dyn FnMut(MediaEvent) + Send>;

/// What a leg is connected to.
pub struct Wiring {
    /// Its events.
    pub events: EventSink,
    /// To the recogniser, if there is one.
    pub heard: Option<rtrb::Producer<HeardFrame>>,
    /// To the recorder, if the call is recorded.
    pub recorded: Option<rtrb::Producer<RecordedFrame>>,
}

/// Why there is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPort {
    /// All are in use.
    #[error("all {0} RTP ports of [media] ports are in use; widen the range")]
    Exhausted(usize),
    /// The media threads are gone.
    #[error("the media engine has stopped")]
    Stopped,
}

/// The engine: hands out ports; drop it, and its threads end.
#[derive(Debug)]
pub struct Engine {
    threads: Vec<Handle>,
    next: AtomicUsize,
    ports: usize,
}

#[derive(Debug, Clone)]
struct Handle {
    orders: mpsc::Sender<Order>,
}

impl Engine {
    /// Starts the threads. Fails when the system gives none, or when the range holds no even port for each of them.
    pub fn start(config: &Config, metrics: &Arc<Metrics>) -> std::io::Result<Engine> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let ports = ports::even(&config.ports);
        let wanted = if config.threads == 0 { cores } else { config.threads };
        let count = wanted.clamp(1, ports.len().max(1));
        let mut threads = Vec::with_capacity(count);
        for (number, share) in ports::split(&ports, count).into_iter().enumerate() {
            let (orders, inbox) = mpsc::channel();
            let (bind, metrics, reports) = (config.bind, Arc::clone(metrics), sockets::epoll()?);
            let realtime = config.realtime;
            std::thread::Builder::new().name(format!("media-{number}")).spawn(move || {
                priority::exact_sleep();
                if realtime && !priority::realtime() && number == 0 {
                    tracing::info!(
                        "media threads run without real-time priority, which this process may not have: under full load packets go out \
                         less evenly; grant CAP_SYS_NICE or RLIMIT_RTPRIO (LimitRTPRIO=10, --cap-add SYS_NICE), or set [media] realtime = false"
                    );
                }
                Thread::new(bind, share, inbox, reports, metrics).run();
            })?;
            threads.push(Handle { orders });
        }
        Ok(Engine { threads, next: AtomicUsize::new(0), ports: ports.len() })
    }

    /// Takes a port, with its socket bound, for as long as the reservation lives.
    pub async fn reserve(&self) -> Result<Reservation, NoPort> {
        // The threads take turns; a thread whose ports are used up passes the call on.
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for n in 0..self.threads.len() {
            let thread = &self.threads[(first + n) % self.threads.len()];
            let (reply, answer) = oneshot::channel();
            thread.orders.send(Order::Reserve { reply }).map_err(|_| NoPort::Stopped)?;
            match answer.await {
                Ok(Some((leg, port))) => return Ok(Reservation { thread: thread.clone(), leg, port }),
                Ok(None) => {}
                Err(_) => return Err(NoPort::Stopped),
            }
        }
        Err(NoPort::Exhausted(self.ports))
    }
}

/// A port of a call's own. Dropping it ends the leg, if one was opened, and gives the port back.
#[derive(Debug)]
pub struct Reservation {
    thread: Handle,
    leg: LegId,
    port: u16,
}

/// A leg's place on its thread; the generation keeps a message for an earlier leg of that place away from a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LegId {
    place: usize,
    generation: u64,
}

impl Reservation {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The call is up: from the next slot on, media flows.
    pub fn open(&self, setup: Setup, wiring: Wiring) {
        self.order(Order::Open { leg: self.leg, setup: Box::new(setup), wiring });
    }

    /// Tells the leg something.
    pub fn command(&self, command: Command) {
        self.order(Order::Command { leg: self.leg, command });
    }

    /// Ends the leg: [`MediaEvent::Closed`] follows. The port is given back when the reservation is dropped.
    pub fn close(&self) {
        self.order(Order::Close { leg: self.leg });
    }

    /// A thread that is gone has nobody left to serve: its calls hear of it by the silence of their line.
    fn order(&self, order: Order) {
        if self.thread.orders.send(order).is_err() {
            tracing::error!("the media thread of RTP port {} has stopped", self.port);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // At the end of the program the threads may be gone first.
        let _ = self.thread.orders.send(Order::Release { leg: self.leg });
    }
}
