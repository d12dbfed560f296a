//! One media thread: its wheel, and the legs on it.
//!
//! A tick is served in three sweeps over its legs: all that has come is read, all legs are run, all packets are sent. Each sweep stays in
//! the same code, kernel's or ours, which costs an eighth less than leg by leg; and the packets of a tick leave close together, whatever
//! the legs had to think about.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::inbox::Inbox;
use super::lateness::Lateness;
use super::listen::{self, Ear, Ears};
use super::metrics::{Metrics, Sums};
use super::opinions::Opinions;
use super::sockets::{Other, Others, Pace, Pair, READ, Reader};
use super::wheel::{SLOTS, Wheel};
use super::{Bridge, EventSink, LegId, MediaEvent, Wiring};
use crate::cache::bring;
use crate::call::io::{HeardFrame, RecordedFrame};
use crate::call::leg::{Command, FRAME, LARGEST_PACKET, Leg, LegEvent, Outlet, Refused, Setup};
use crate::dsp::vad::Opinion;

/// Ports tried for one call: the legs that are up do not wait for longer than that.
const TRIES: usize = 16;
/// How long orders may keep the legs waiting, before each tick: a port costs 30 µs.
const ORDERS: Duration = Duration::from_micros(300);
/// Orders between two looks at the clock.
const ORDERS_AT_A_TIME: usize = 8;
/// A tick that is nearer than this is slept for, and all orders wait for it; for a later one the thread can be woken.
const NEAR: Duration = Duration::from_millis(2);
/// Sums are told to the metrics once in so many ticks.
const TELL: u64 = 1_000;
/// Packets of one tick that are kept for the last sweep before the list grows.
const OUTBOX: usize = 128;

/// What a thread is told.
pub(super) enum Order {
    Reserve { bind: IpAddr, reply: oneshot::Sender<Result<(LegId, u16), NoPlace>> },
    Open { leg: LegId, setup: Box<Setup>, wiring: Wiring },
    Command { leg: LegId, command: Command },
    Bridge { leg: LegId, bridge: Box<Bridge> },
    Listen { leg: LegId, ear: Box<Ear> },
    Unlisten { leg: LegId, id: u64, reply: oneshot::Sender<Ears> },
    Close { leg: LegId },
    Release { leg: LegId },
}

/// Why a thread has no port for a call.
pub(super) enum NoPlace {
    /// All are in use, or those that were tried are somebody else's.
    Taken,
    /// The process may open no more files.
    NoFiles,
}

/// A port in use.
struct Place {
    id: LegId,
    port: u16,
    pair: Pair,
    slot: usize,
    /// In a box, so that nothing large is moved when there are more places.
    live: Option<Box<Live>>,
}

/// A leg with media.
struct Live {
    leg: Leg,
    wiring: Wiring,
    /// To the leg that it is joined with.
    bridge: Option<Box<Bridge>>,
    /// Who listens in.
    ears: Ears,
    refused: Refused,
    pace: Pace,
}

/// The allocator's next size is 10 KiB: what one more byte would cost each call.
const _: () = assert!(size_of::<Live>() <= 8 * 1024);

/// What a leg's slot meets is asked for while the legs before it are served, since a thousand legs are in no cache: first the leg, then what it
/// points to, then what that does.
impl Live {
    fn warm_to_receive(&self) {
        bring(&self.pace);
        self.leg.warm_to_receive();
    }

    fn warm(&self) {
        bring(&self.wiring);
        bring(&self.bridge);
        bring(&self.ears);
        bring(&self.refused);
        self.leg.warm();
    }

    fn warm_behind(&self) {
        self.wiring.heard.iter().for_each(|ring| bring(ring.buffer()));
        self.leg.warm_behind();
    }

    fn warm_far_behind(&mut self) {
        if let Some(Ok(mut room)) = self.wiring.heard.as_mut().map(|ring| ring.write_chunk_uninit(1)) {
            bring(room.as_mut_slices().0);
        }
        self.leg.warm_samples();
    }
}

/// The thread.
pub(super) struct Thread {
    ports: VecDeque<u16>,
    inbox: Inbox,
    metrics: Arc<Metrics>,
    lateness: Lateness,
    places: Vec<Option<Place>>,
    free: Vec<usize>,
    wheel: Wheel,
    reader: Reader,
    others: Others,
    outbox: Outbox,
    opinions: Opinions,
    generation: u64,
    sums: Sums,
}

impl Thread {
    pub(super) fn new(
        ports: VecDeque<u16>,
        orders: UnboundedReceiver<Order>,
        others: OwnedFd,
        metrics: Arc<Metrics>,
        lateness: Lateness,
    ) -> Thread {
        Thread {
            ports,
            inbox: Inbox::new(orders),
            metrics,
            lateness,
            places: Vec::new(),
            free: Vec::new(),
            wheel: Wheel::default(),
            reader: Reader::new(),
            others: Others::new(others),
            outbox: Outbox::new(),
            opinions: Opinions::new(),
            generation: 0,
            sums: Sums::default(),
        }
    }

    /// Turns the wheel until nobody is left to give orders.
    pub(super) fn run(mut self) {
        let origin = Instant::now();
        let mut done: u64 = 0;
        loop {
            let idle = self.wheel.next_after(done).is_none();
            if idle {
                // It may be long until the next time.
                self.sums.tell(&self.metrics);
            }
            if !(self.wait(origin, done) && self.obey()) {
                return;
            }
            let now = origin.elapsed().as_millis() as u64;
            if idle {
                // Nobody was waited for, so nobody's slot was missed.
                done = now;
                continue;
            }
            // Of a pause longer than the wheel, each leg gets its latest slot only.
            let first = (done + 1).max(now.saturating_sub(SLOTS as u64 - 1));
            self.sums.slots_missed += (done + 1..first).map(|tick| self.wheel.legs(tick).len() as u64).sum::<u64>();
            for tick in first..=now {
                if !self.wheel.legs(tick).is_empty() {
                    self.sums.late_ticks += u64::from(tick < now);
                    self.serve(tick, origin + Duration::from_millis(tick));
                }
            }
            if now / TELL != done / TELL {
                self.sums.tell(&self.metrics);
            }
            done = now.max(done);
        }
    }

    /// Waits for the next tick that has legs, or for an order; false when there can be no more orders. May return before there is either.
    fn wait(&mut self, origin: Instant, done: u64) -> bool {
        let due = self.wheel.next_after(done).map(|tick| origin + Duration::from_millis(tick));
        let gap = due.map(|due| due.saturating_duration_since(Instant::now()));
        if let Some(gap) = gap.filter(|gap| *gap <= NEAR) {
            std::thread::sleep(gap);
            return true;
        }
        match self.inbox.sleep(gap) {
            Poll::Ready(Some(order)) => self.take(order),
            Poll::Ready(None) => return false,
            Poll::Pending => {}
        }
        true
    }

    /// Takes what orders there are, for as long as the legs can wait; false when there can be no more.
    fn obey(&mut self) -> bool {
        let begun = Instant::now();
        loop {
            for _ in 0..ORDERS_AT_A_TIME {
                match self.inbox.next() {
                    Poll::Ready(Some(order)) => self.take(order),
                    Poll::Ready(None) => return false,
                    Poll::Pending => return true,
                }
            }
            if begun.elapsed() >= ORDERS {
                return true;
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Reserve { bind, reply } => {
                let place = self.reserve(bind);
                if let Err(Ok((id, _))) = reply.send(place) {
                    // Nobody waits for it any more.
                    self.release(id);
                }
            }
            Order::Open { leg, setup, wiring } => self.open(leg, *setup, wiring),
            Order::Command { leg, command } => {
                let Thread { places, sums, outbox, opinions, .. } = self;
                if let Some(place) = find(places, leg)
                    && let Some(live) = &mut place.live
                {
                    let Live { leg: ears_and_mouth, wiring, bridge, ears, .. } = &mut **live;
                    let shared = ears_and_mouth.shares_port();
                    ears_and_mouth.command(
                        command,
                        &mut Wires {
                            number: leg.place,
                            pair: &place.pair,
                            shared,
                            wiring,
                            bridge,
                            ears,
                            sums,
                            outbox,
                            opinions,
                        },
                    );
                }
            }
            Order::Bridge { leg, bridge } => {
                if let Some(live) = find(&mut self.places, leg).and_then(|place| place.live.as_mut()) {
                    live.bridge = Some(bridge);
                }
            }
            Order::Listen { leg, ear } => {
                if let Some(live) = find(&mut self.places, leg).and_then(|place| place.live.as_mut()) {
                    listen::add(&mut live.ears, ear);
                }
            }
            Order::Unlisten { leg, id, reply } => {
                let live = find(&mut self.places, leg).and_then(|place| place.live.as_mut());
                let _ = reply.send(live.and_then(|live| listen::remove(&mut live.ears, id)));
            }
            Order::Close { leg } => self.close(leg),
            Order::Release { leg } => self.release(leg),
        }
    }

    fn reserve(&mut self, bind: IpAddr) -> Result<(LegId, u16), NoPlace> {
        // A port that somebody else on this machine holds goes to the back of the queue.
        for _ in 0..self.ports.len().min(TRIES) {
            let Some(port) = self.ports.pop_front() else { break };
            let pair = match Pair::bind(bind, port) {
                Ok(pair) => pair,
                Err(error) => {
                    self.ports.push_back(port);
                    // Whoever holds it may hold the next ones as well: the tries go once round the range.
                    self.ports.rotate_left(self.ports.len() / TRIES);
                    if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) {
                        return Err(NoPlace::NoFiles);
                    }
                    continue;
                }
            };
            let number = self.free.pop().unwrap_or_else(|| {
                self.places.push(None);
                self.places.len() - 1
            });
            self.generation += 1;
            let id = LegId { place: number, generation: self.generation };
            self.places[number] = Some(Place { id, port, pair, slot: 0, live: None });
            self.metrics.ports_used.inc();
            return Ok((id, port));
        }
        Err(NoPlace::Taken)
    }

    fn open(&mut self, id: LegId, setup: Setup, mut wiring: Wiring) {
        let Some(place) = find(&mut self.places, id) else {
            (wiring.events)(MediaEvent::Closed(Box::default()));
            return;
        };
        let leg = Leg::new(setup);
        place.pair.face(leg.far_end());
        // What came before the answer waited in the kernel, and its time is not known.
        for socket in [&place.pair.rtp, &place.pair.strangers, &place.pair.rtcp] {
            self.reader.discard(socket);
        }
        if self.others.watch(&place.pair, id.place).is_err() {
            self.sums.unwatched += 1;
        }
        place.slot = self.wheel.add(id.place);
        place.live = Some(Box::new(Live {
            leg,
            wiring,
            bridge: None,
            ears: None,
            refused: Refused::default(),
            pace: Pace::default(),
        }));
        self.metrics.legs.inc();
    }

    fn close(&mut self, id: LegId) {
        let Thread { wheel, places, sums, outbox, opinions, others, metrics, .. } = self;
        let Some(place) = find(places, id) else { return };
        let Some(mut live) = place.live.take() else { return };
        wheel.remove(place.slot, id.place);
        others.forget(&place.pair);
        let Live { leg, wiring, bridge, ears, .. } = &mut *live;
        let shared = leg.shares_port();
        leg.farewell(
            Instant::now(),
            &mut Wires { number: id.place, pair: &place.pair, shared, wiring, bridge, ears, sums, outbox, opinions },
        );
        (wiring.events)(MediaEvent::Closed(Box::new(leg.quality())));
        metrics.legs.dec();
    }

    fn release(&mut self, id: LegId) {
        self.close(id);
        if find(&mut self.places, id).is_some()
            && let Some(place) = self.places[id.place].take()
        {
            // To the back: a port rests for as long as it can before it serves another call.
            self.ports.push_back(place.port);
            self.free.push(id.place);
            self.metrics.ports_used.dec();
        }
    }

    fn serve(&mut self, tick: u64, nominal: Instant) {
        let Thread { wheel, places, sums, reader, others, outbox, opinions, lateness, .. } = self;
        let now = Instant::now();
        lateness.add(now.saturating_duration_since(nominal));
        for (number, other) in others.ready() {
            let Some((pair, live)) = live(places, number) else { continue };
            let leg = &mut live.leg;
            match other {
                Other::Reports => {
                    reader.read(&pair.rtcp, READ, sums, |from, datagram| leg.receive_report(now, from, datagram))
                }
                Other::Strangers => {
                    reader.read(&pair.strangers, READ, sums, |from, datagram| leg.receive(now, from, datagram))
                }
            };
        }
        let legs = wheel.legs(tick);
        for (n, number) in legs.iter().enumerate() {
            legs.get(n + 3).and_then(|later| places.get(*later)).into_iter().for_each(bring);
            if let Some(later) = later(places, legs, n + 2) {
                later.warm_to_receive();
            }
            if let Some(next) = later(places, legs, n + 1) {
                next.leg.warm_behind_receive();
            }
            let Some((pair, live)) = live(places, *number) else { continue };
            let most = live.pace.most(tick / SLOTS as u64);
            let Live { leg, pace, .. } = live;
            pace.brought(pair.read(reader, most, sums, |from, datagram| leg.receive(nominal, from, datagram)));
        }
        for (n, number) in legs.iter().enumerate() {
            if let Some(later) = later(places, legs, n + 3) {
                later.warm();
            }
            if let Some(later) = later(places, legs, n + 2) {
                later.warm_behind();
            }
            if let Some(next) = later(places, legs, n + 1) {
                next.warm_far_behind();
            }
            let Some((pair, live)) = live(places, *number) else { continue };
            let Live { leg, wiring, bridge, ears, refused: before, .. } = live;
            let shared = leg.shares_port();
            leg.tick(
                nominal,
                &mut Wires { number: *number, pair, shared, wiring, bridge, ears, sums, outbox, opinions },
            );
            pair.face(leg.far_end());
            let refused = leg.refused();
            sums.malformed += refused.malformed - before.malformed;
            sums.payload_type += refused.payload_type - before.payload_type;
            sums.source += refused.source - before.source;
            sums.unauthentic += refused.unauthentic - before.unauthentic;
            sums.replayed += refused.replayed - before.replayed;
            *before = refused;
        }
        for packet in outbox.packets.drain(..) {
            let Some((pair, _)) = live(places, packet.number) else { continue };
            sums.sent_to(pair.send(&outbox.bytes[packet.bytes], packet.to));
        }
        outbox.bytes.clear();
    }
}

fn find(places: &mut [Option<Place>], id: LegId) -> Option<&mut Place> {
    places.get_mut(id.place)?.as_mut().filter(|place| place.id == id)
}

/// A leg with media, and its sockets.
fn live(places: &mut [Option<Place>], number: usize) -> Option<(&mut Pair, &mut Live)> {
    let Place { pair, live, .. } = places.get_mut(number)?.as_mut()?;
    Some((pair, live.as_deref_mut()?))
}

/// The nth leg of a tick, whose turn comes later.
fn later<'a>(places: &'a mut [Option<Place>], legs: &[usize], n: usize) -> Option<&'a mut Live> {
    live(places, *legs.get(n)?).map(|(_, live)| live)
}

/// A packet that waits for the last sweep.
struct Packet {
    number: usize,
    to: SocketAddr,
    bytes: std::ops::Range<usize>,
}

/// The packets of a tick, and their bytes one after the other.
struct Outbox {
    packets: Vec<Packet>,
    bytes: Vec<u8>,
}

impl Outbox {
    fn new() -> Outbox {
        Outbox { packets: Vec::with_capacity(OUTBOX), bytes: Vec::with_capacity(OUTBOX * LARGEST_PACKET) }
    }
}

/// A leg's way out.
struct Wires<'a> {
    number: usize,
    pair: &'a Pair,
    /// RTCP goes by the RTP port.
    shared: bool,
    wiring: &'a mut Wiring,
    bridge: &'a mut Option<Box<Bridge>>,
    ears: &'a mut Ears,
    sums: &'a mut Sums,
    outbox: &'a mut Outbox,
    opinions: &'a mut Opinions,
}

impl Wires<'_> {
    /// The same where somebody listens in: out of the way of all the others.
    #[cold]
    fn overheard(&mut self, frame: &RecordedFrame) {
        self.sums.listener += listen::tell(self.ears, frame);
        if let Some(recorder) = &mut self.wiring.recorded {
            self.sums.recorder += u64::from(!recorder.push(*frame));
        }
    }
}

impl Outlet for Wires<'_> {
    fn event(&mut self, event: LegEvent) {
        let events: &mut EventSink = &mut self.wiring.events;
        if let (LegEvent::Began { at }, Some(recorder)) = (&event, &mut self.wiring.recorded) {
            recorder.begins(*at);
        }
        events(MediaEvent::Leg(event));
    }

    fn heard(&mut self, frame: impl FnOnce() -> HeardFrame) {
        // Whose recogniser has been closed: its ring stays until the leg ends, to be freed with it.
        let listens = self.bridge.as_ref().is_none_or(|bridge| bridge.is_recognised());
        if let Some(ring) = self.wiring.heard.as_mut().filter(|_| listens)
            && ring.push(frame()).is_err()
        {
            self.sums.recogniser += 1;
        }
    }

    fn record(&mut self, frame: impl FnOnce() -> RecordedFrame) {
        if self.ears.is_some() {
            return self.overheard(&frame());
        }
        if let Some(recorder) = &mut self.wiring.recorded
            && !recorder.push(frame())
        {
            self.sums.recorder += 1;
        }
    }

    fn bridge(&mut self, heard: &[i16; FRAME]) -> Option<[i16; FRAME]> {
        let (dropped, other) = self.bridge.as_mut()?.exchange(heard);
        self.sums.bridge += dropped;
        other
    }

    fn lend_opinion(&mut self) -> Option<Box<Opinion>> {
        let lent = self.opinions.lend();
        self.sums.not_asked += u64::from(lent.is_none());
        lent
    }

    fn give_back(&mut self, opinion: Box<Opinion>) {
        match opinion.answer() {
            Some(true) => self.sums.voices += 1,
            Some(false) => self.sums.no_voices += 1,
            None => {}
        }
        self.opinions.take_back(opinion);
    }

    fn send(&mut self, to: SocketAddr, packet: &[u8]) {
        let Outbox { packets, bytes } = self.outbox;
        let begin = bytes.len();
        bytes.extend_from_slice(packet);
        packets.push(Packet { number: self.number, to, bytes: begin..bytes.len() });
    }

    fn report(&mut self, to: SocketAddr, compound: &[u8]) {
        let socket = if self.shared { &self.pair.rtp } else { &self.pair.rtcp };
        self.sums.sent_to(socket.send_to(compound, to));
    }
}
