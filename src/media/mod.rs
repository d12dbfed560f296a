//! The media engine: N threads, each of which owns the RTP sockets and the legs of its calls.
//!
//! A thread wakes once a millisecond, never on a packet, and serves the legs whose slot has come. Each leg has one slot every 20 ms on the
//! wheel, and new legs go where the wheel is emptiest, so that sends never come in one burst. Slots are paced on one monotonic origin; a
//! thread that was held up serves each of its legs once and lets the rest go: it never catches up in a burst.
//!
//! The rest of the program talks to a thread by message; audio comes back by a ring a call, events by the closure it was given.

mod bridge;
mod inbox;
mod lateness;
mod listen;
mod metrics;
mod opinions;
mod ports;
mod priority;
mod sockets;
mod thread;
mod wheel;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::call::io::{HeardFrame, RecordedFrame};
use crate::call::leg::{Command, LegEvent, Setup};
use crate::call::record::LineQuality;
use crate::ms::Ms;
pub use bridge::{Bridge, bridge};
use inbox::Orders;
pub(crate) use inbox::next_order;
pub use lateness::Watch;
use lateness::{Counts, Lateness};
pub use listen::Listener;
pub use metrics::Metrics;
pub(crate) use priority::{exact_sleep, realtime};
use thread::{NoPlace, Order, Thread};
pub(crate) use wheel::{SLOTS, Wheel};

/// What the engine has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
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
    /// The leg is gone; its last word, in a box, since the channel to the call has room for 32 from the beginning.
    Closed(Box<LineQuality>),
}

/// Where a leg's events go. Called on the media thread: it must neither block nor take long. It is dropped when no more can come: after
/// [`MediaEvent::Closed`], or without it when the thread has died.
pub type EventSink = Box<dyn FnMut(MediaEvent) + Send>;

/// What a leg is connected to.
pub struct Wiring {
    /// Its events.
    pub events: EventSink,
    /// To the recogniser, if there is one.
    pub heard: Option<rtrb::Producer<HeardFrame>>,
    /// To the recorder, if the call is recorded.
    pub recorded: Option<Recorder>,
}

/// A leg's way to its recording.
#[derive(Debug)]
pub struct Recorder {
    ring: rtrb::Producer<RecordedFrame>,
    since: Option<Instant>,
    lead: Ms,
}

impl Recorder {
    /// By this ring. `since` is when the recording has begun; `None`: it begins with the leg.
    pub fn new(ring: rtrb::Producer<RecordedFrame>, since: Option<Instant>) -> Recorder {
        Recorder { ring, since, lead: Ms(0) }
    }

    /// The leg's media time begins.
    fn begins(&mut self, at: Instant) {
        self.lead = self.since.map_or(Ms(0), |since| Ms::from(at.saturating_duration_since(since)));
    }

    /// Takes a frame, if there is room.
    fn push(&mut self, frame: RecordedFrame) -> bool {
        let (robot_at, caller_at) = (frame.robot_at + self.lead, frame.caller_at.map(|at| at + self.lead));
        self.ring.push(RecordedFrame { robot_at, caller_at, ..frame }).is_ok()
    }
}

/// Why there is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPort {
    /// All are in use.
    #[error("all {0} RTP ports of [media] ports are in use; widen the range")]
    Exhausted(usize),
    /// The process may open no more files, and sockets are files.
    #[error(
        "no more files may be opened, and a call takes three sockets; raise the limit (ulimit -n, LimitNOFILE=) or lower [limits] calls"
    )]
    NoFiles,
    /// The media threads are gone.
    #[error("the media threads have stopped; restart the process")]
    Stopped,
}

/// The engine: hands out ports; drop it, and its threads end.
#[derive(Debug)]
pub struct Engine {
    threads: Vec<Orders>,
    running: Vec<Running>,
    next: AtomicUsize,
    ports: usize,
}

/// What the engine keeps of a thread that it has started.
#[derive(Debug)]
struct Running {
    thread: JoinHandle<()>,
    lateness: Arc<Counts>,
}

impl Engine {
    /// Starts the threads. Fails when the system gives none, or when the range holds no even port for each of them.
    pub fn start(config: &Config, metrics: &Arc<Metrics>) -> std::io::Result<Engine> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let ports = ports::even(&config.ports);
        let wanted = if config.threads == 0 { cores } else { config.threads };
        let count = wanted.clamp(1, ports.len().max(1));
        let mut threads = Vec::with_capacity(count);
        let mut running = Vec::with_capacity(count);
        for (number, share) in ports::split(&ports, count).into_iter().enumerate() {
            let (orders, inbox) = mpsc::unbounded_channel();
            let (metrics, reports) = (Arc::clone(metrics), sockets::epoll()?);
            let realtime = config.realtime;
            let lateness = Lateness { own: Arc::default(), all: metrics.lateness.clone() };
            let own = lateness.own.clone();
            let thread = std::thread::Builder::new().name(format!("media-{number}")).spawn(move || {
                exact_sleep();
                if realtime && !priority::realtime(priority::PRIORITY) && number == 0 {
                    tracing::info!(
                        "media threads run without real-time priority, which this process may not have: under full load packets go out \
                         less evenly; grant CAP_SYS_NICE or RLIMIT_RTPRIO (LimitRTPRIO=10, --cap-add SYS_NICE), or set [media] realtime = false"
                    );
                }
                Thread::new(share, inbox, reports, metrics, lateness).run();
            })?;
            threads.push(Orders::new(orders, thread.thread().clone()));
            running.push(Running { thread, lateness: own });
        }
        Ok(Engine { threads, running, next: AtomicUsize::new(0), ports: ports.len() })
    }

    /// Takes a port, with its sockets bound to an address, for as long as the reservation lives.
    pub async fn reserve(&self, bind: IpAddr) -> Result<Reservation, NoPort> {
        // The threads take turns; a thread whose ports are used up, or that has died, passes the call on.
        let mut none = NoPort::Stopped;
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for n in 0..self.threads.len() {
            let thread = &self.threads[(first + n) % self.threads.len()];
            let (reply, answer) = oneshot::channel();
            if !thread.give(Order::Reserve { bind, reply }) {
                continue;
            }
            match answer.await {
                Ok(Ok((leg, port))) => return Ok(Reservation { thread: thread.clone(), leg, port }),
                Ok(Err(NoPlace::Taken)) => none = NoPort::Exhausted(self.ports),
                Ok(Err(NoPlace::NoFiles)) => return Err(NoPort::NoFiles),
                Err(_) => {}
            }
        }
        Err(none)
    }

    /// How late the threads serve their slots, for as long as somebody looks.
    pub fn lateness(&self) -> Watch {
        Watch::new(self.running.iter().map(|running| running.lateness.clone()))
    }

    /// Threads that have died of a defect of ours. The calls that they carried have lost their legs, and hear it by the end of their
    /// events; new ones go to the other threads.
    pub fn dead(&self) -> impl Iterator<Item = usize> {
        let dead = |(number, running): (usize, &Running)| running.thread.is_finished().then_some(number);
        self.running.iter().enumerate().filter_map(dead)
    }
}

/// A port of a call's own. Dropping it ends the leg, if one was opened, and gives the port back.
#[derive(Debug)]
pub struct Reservation {
    thread: Orders,
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

    /// Joins the leg with another one: from now on it also sends what that one hears.
    pub fn bridge(&self, bridge: Box<Bridge>) {
        self.order(Order::Bridge { leg: self.leg, bridge });
    }

    /// Has somebody listen to the leg from its next slot on, until its end; of none that is open the end comes at once. `id`: another one for each
    /// listener of this leg; `counted` is kept for as long as he listens.
    pub fn listen(&self, id: u64, counted: Vec<Arc<()>>) -> Listener {
        let (ear, listener) = Listener::pair(self.thread.clone(), self.leg, id, counted);
        self.order(Order::Listen { leg: self.leg, ear });
        listener
    }

    /// Ends the leg: [`MediaEvent::Closed`] follows. The port is given back when the reservation is dropped.
    pub fn close(&self) {
        self.order(Order::Close { leg: self.leg });
    }

    /// Of a thread that is gone its calls hear by the end of their events.
    fn order(&self, order: Order) {
        let _ = self.thread.give(order);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // At the end of the program the threads may be gone first.
        let _ = self.thread.give(Order::Release { leg: self.leg });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use crate::call::knobs::LegKnobs;
    use crate::call::leg::{Media, WallClock};
    use crate::codec::g711::Law;

    fn setup() -> Setup {
        let nobody = (Ipv4Addr::LOCALHOST, 9).into();
        let media = Media { rtcp: nobody, receives: false, ..Media::g711(Law::A, nobody) };
        let clock = WallClock { at: Instant::now(), unix: Duration::ZERO };
        Setup {
            media,
            srtp: None,
            may_widen: false,
            knobs: LegKnobs::default(),
            inband_keys: Default::default(),
            tones: None,
            answerer: None,
            rtp_timeout: Duration::from_secs(60),
            seed: 1,
            clock,
        }
    }

    fn open(leg: &Reservation) -> UnboundedReceiver<MediaEvent> {
        let (media, events) = unbounded_channel();
        let events_sink = Box::new(move |event| drop(media.send(event)));
        leg.open(setup(), Wiring { events: events_sink, heard: None, recorded: None });
        events
    }

    /// Has a leg's thread die of what a defect would do to it.
    fn kill(leg: &Reservation) {
        let defect = Box::new(|_| panic!("a defect, for the test"));
        leg.open(setup(), Wiring { events: defect, heard: None, recorded: None });
        leg.close();
    }

    #[test]
    fn a_recording_that_has_begun_goes_on_where_the_leg_begins() {
        let start = Instant::now();
        let frame = |at| RecordedFrame {
            robot_at: Ms(at),
            robot: [1; 160],
            caller_at: (at > 0).then(|| Ms(at - 17)),
            caller: [2; 160],
            paused: false,
        };
        for (since, lead) in [(None, 0), (Some(start), 3_007)] {
            let (ring, mut frames) = rtrb::RingBuffer::new(2);
            let mut recorder = Recorder::new(ring, since);
            recorder.begins(start + Duration::from_millis(3_007));
            assert_eq!([0, 20, 40].map(|at| recorder.push(frame(at))), [true, true, false], "there is room for two");
            let times = std::iter::from_fn(|| frames.pop().ok()).map(|frame| (frame.robot_at, frame.caller_at));
            let expected = [(Ms(lead), None), (Ms(lead + 20), Some(Ms(lead + 3)))];
            assert_eq!(times.collect::<Vec<_>>(), expected);
        }
    }

    #[tokio::test]
    async fn a_run_of_ports_that_somebody_else_holds_is_stepped_over() {
        let config = Config { ports: 40_000..=40_399, threads: 1, realtime: false };
        let bind = Ipv4Addr::new(127, 0, 77, 2).into();
        let held: Vec<_> =
            (40_000..40_200).map(|port| std::net::UdpSocket::bind((bind, port)).expect("free")).collect();
        let engine = Engine::start(&config, &Arc::default()).expect("a thread");
        let mut calls = Vec::new();
        for _ in 0..50 {
            calls.push(engine.reserve(bind).await.expect("half of the range is free"));
        }
        assert!(calls.iter().all(|call| call.port() >= 40_200));
        drop(held);
    }

    #[tokio::test]
    async fn a_thread_that_dies_lets_its_legs_know_and_leaves_the_work_to_the_others() {
        let config = Config { ports: 40_000..=40_099, threads: 2, realtime: false };
        let bind = Ipv4Addr::new(127, 0, 77, 1).into();
        let engine = Engine::start(&config, &Arc::default()).expect("threads");
        let [one, other, last] = [engine.reserve(bind).await, engine.reserve(bind).await, engine.reserve(bind).await];
        let (one, other, last) = (one.expect("a port"), other.expect("a port"), last.expect("a port"));
        let (mut lost, mut alive) = (open(&one), open(&other));
        assert_eq!(engine.dead().count(), 0);
        kill(&last);
        while let Some(event) = lost.recv().await {
            assert!(matches!(event, MediaEvent::Leg(_)), "{event:?}");
        }
        other.close();
        while !matches!(alive.recv().await.expect("it ends as it should"), MediaEvent::Closed(_)) {}
        for _ in 0..4 {
            engine.reserve(bind).await.expect("a port of the other thread");
        }
        // Its end is seen a moment after its legs have gone.
        while engine.dead().count() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(engine.dead().collect::<Vec<_>>(), [0]);
        kill(&other);
        while engine.dead().count() == 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(engine.reserve(bind).await.expect_err("nobody is left"), NoPort::Stopped);
    }
}
