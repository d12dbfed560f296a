//! One media thread: the wheel, and the legs on it.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;

use super::lateness::Lateness;
use super::metrics::{Metrics, Sums};
use super::{EventSink, LegId, MediaEvent, Wiring};
use crate::call::io::{HeardFrame, RecordedFrame};
use crate::call::leg::{Command, Leg, LegEvent, Outlet, Refused, Setup};

/// The wheel turns in ticks of 1 ms; a leg's slot comes every 20.
const SLOTS: usize = 20;
/// Datagrams read of one socket in one slot; a flood beyond it waits in the kernel, and is dropped there.
const READ: usize = 16;
/// Larger datagrams are no telephone audio; they are cut, and fail to parse or to play.
const MTU: usize = 1_500;
/// Ports tried for one call: the legs that are up do not wait for longer than that.
const TRIES: usize = 16;
/// Orders taken in one tick.
const ORDERS: usize = 1_024;
/// Sums are told to the metrics once in so many ticks.
const TELL: u64 = 1_000;

/// What a thread is told.
pub(super) enum Order {
    Reserve { reply: oneshot::Sender<Result<(LegId, u16), NoPlace>> },
    Open { leg: LegId, setup: Box<Setup>, wiring: Wiring },
    Command { leg: LegId, command: Command },
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
    socket: UdpSocket,
    /// One port above it (RFC 3550 §11).
    rtcp: UdpSocket,
    slot: usize,
    live: Option<Live>,
}

/// A leg with media.
struct Live {
    leg: Leg,
    wiring: Wiring,
    refused: Refused,
}

/// The thread.
pub(super) struct Thread {
    bind: IpAddr,
    ports: VecDeque<u16>,
    orders: mpsc::Receiver<Order>,
    metrics: Arc<Metrics>,
    lateness: Lateness,
    places: Vec<Option<Place>>,
    /// Which places are served in which tick.
    wheel: [Vec<usize>; SLOTS],
    generation: u64,
    sums: Sums,
}

impl Thread {
    pub(super) fn new(
        bind: IpAddr,
        ports: VecDeque<u16>,
        orders: mpsc::Receiver<Order>,
        metrics: Arc<Metrics>,
        lateness: Lateness,
    ) -> Thread {
        Thread {
            bind,
            ports,
            orders,
            metrics,
            lateness,
            places: Vec::new(),
            wheel: Default::default(),
            generation: 0,
            sums: Sums::default(),
        }
    }

    /// Turns the wheel until nobody is left to give orders.
    pub(super) fn run(mut self) {
        let origin = Instant::now();
        let mut done: u64 = 0;
        loop {
            let due = origin + Duration::from_millis(done + 1);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if !self.obey() {
                return;
            }
            let now = (origin.elapsed().as_millis() as u64).max(done + 1);
            self.sums.late_ticks += u64::from(now > done + 1);
            // Of a pause longer than the wheel, each leg gets its latest slot only.
            let first = (done + 1).max(now.saturating_sub(SLOTS as u64 - 1));
            self.sums.slots_missed += (first - done - 1) / SLOTS as u64;
            for tick in first..=now {
                self.serve(tick as usize % SLOTS, origin + Duration::from_millis(tick));
            }
            if now / TELL != done / TELL {
                self.sums.tell(&self.metrics);
            }
            done = now;
        }
    }

    /// Takes what orders there are; false when there can be no more.
    fn obey(&mut self) -> bool {
        for _ in 0..ORDERS {
            match self.orders.try_recv() {
                Ok(order) => self.take(order),
                Err(mpsc::TryRecvError::Empty) => return true,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Reserve { reply } => {
                let place = self.reserve();
                if let Err(Ok((id, _))) = reply.send(place) {
                    // Nobody waits for it any more.
                    self.release(id);
                }
            }
            Order::Open { leg, setup, wiring } => self.open(leg, *setup, wiring),
            Order::Command { leg, command } => {
                let sums = &mut self.sums;
                if let Some(place) = find(&mut self.places, leg)
                    && let Some(live) = &mut place.live
                {
                    live.leg.command(
                        command,
                        &mut Wires { socket: &place.socket, rtcp: &place.rtcp, wiring: &mut live.wiring, sums },
                    );
                }
            }
            Order::Close { leg } => self.close(leg),
            Order::Release { leg } => self.release(leg),
        }
    }

    fn reserve(&mut self) -> Result<(LegId, u16), NoPlace> {
        // A port that somebody else on this machine holds goes to the back of the queue.
        for _ in 0..self.ports.len().min(TRIES) {
            let Some(port) = self.ports.pop_front() else { break };
            let pair = bind(self.bind, port).and_then(|rtp| Ok((rtp, bind(self.bind, port + 1)?)));
            let (socket, rtcp) = match pair {
                Ok(pair) => pair,
                Err(error) => {
                    self.ports.push_back(port);
                    if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) {
                        return Err(NoPlace::NoFiles);
                    }
                    continue;
                }
            };
            let free = self.places.iter().position(Option::is_none);
            let place = free.unwrap_or_else(|| {
                self.places.push(None);
                self.places.len() - 1
            });
            self.generation += 1;
            let id = LegId { place, generation: self.generation };
            self.places[place] = Some(Place { id, port, socket, rtcp, slot: 0, live: None });
            self.metrics.ports_used.inc();
            return Ok((id, port));
        }
        Err(NoPlace::Taken)
    }

    fn open(&mut self, id: LegId, setup: Setup, mut wiring: Wiring) {
        let Some(place) = find(&mut self.places, id) else {
            (wiring.events)(MediaEvent::Closed(Default::default()));
            return;
        };
        // What came before the answer waited in the kernel, and its time is not known.
        let mut buffer = [0; MTU];
        for _ in 0..1_000 {
            if place.socket.recv_from(&mut buffer).is_err() {
                break;
            }
        }
        place.slot = (0..SLOTS).min_by_key(|slot| self.wheel[*slot].len()).unwrap_or(0);
        self.wheel[place.slot].push(id.place);
        place.live = Some(Live { leg: Leg::new(setup), wiring, refused: Refused::default() });
        self.metrics.legs.inc();
    }

    fn close(&mut self, id: LegId) {
        let Some(place) = find(&mut self.places, id) else { return };
        let Some(mut live) = place.live.take() else { return };
        self.wheel[place.slot].retain(|on| *on != id.place);
        let sums = &mut self.sums;
        let Place { socket, rtcp, .. } = &*place;
        live.leg.farewell(Instant::now(), &mut Wires { socket, rtcp, wiring: &mut live.wiring, sums });
        (live.wiring.events)(MediaEvent::Closed(live.leg.quality()));
        self.metrics.legs.dec();
    }

    fn release(&mut self, id: LegId) {
        self.close(id);
        if find(&mut self.places, id).is_some()
            && let Some(place) = self.places[id.place].take()
        {
            // To the back: a port rests for as long as it can before it serves another call.
            self.ports.push_back(place.port);
            self.metrics.ports_used.dec();
        }
    }

    fn serve(&mut self, slot: usize, nominal: Instant) {
        let Thread { wheel, places, sums, lateness, .. } = self;
        if !wheel[slot].is_empty() {
            lateness.add(Instant::now().saturating_duration_since(nominal));
        }
        for number in &wheel[slot] {
            let Some(place) = &mut places[*number] else { continue };
            let Some(live) = &mut place.live else { continue };
            let Live { leg, .. } = live;
            read(&place.socket, sums, |from, datagram| leg.receive(nominal, from, datagram));
            read(&place.rtcp, sums, |from, datagram| leg.receive_report(nominal, from, datagram));
            live.leg
                .tick(nominal, &mut Wires { socket: &place.socket, rtcp: &place.rtcp, wiring: &mut live.wiring, sums });
            let refused = live.leg.refused();
            sums.malformed += refused.malformed - live.refused.malformed;
            sums.payload_type += refused.payload_type - live.refused.payload_type;
            sums.source += refused.source - live.refused.source;
            live.refused = refused;
        }
    }
}

/// Hands over what has come.
fn read(socket: &UdpSocket, sums: &mut Sums, mut take: impl FnMut(SocketAddr, &[u8])) {
    let mut buffer = [0; MTU];
    for _ in 0..READ {
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                sums.received += 1;
                take(from, &buffer[..length]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // An ICMP error for something we sent: the next read goes on.
            Err(_) => {}
        }
    }
}

fn find(places: &mut [Option<Place>], id: LegId) -> Option<&mut Place> {
    places.get_mut(id.place)?.as_mut().filter(|place| place.id == id)
}

fn bind(address: IpAddr, port: u16) -> std::io::Result<UdpSocket> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // RFC 4594: telephony is Expedited Forwarding. A machine that does not let us mark packets still lets us send them.
    if address.is_ipv4() {
        let _ = socket.set_tos_v4(46 << 2);
    } else {
        let _ = socket.set_tclass_v6(46 << 2);
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A leg's way out.
struct Wires<'a> {
    socket: &'a UdpSocket,
    rtcp: &'a UdpSocket,
    wiring: &'a mut Wiring,
    sums: &'a mut Sums,
}

impl Outlet for Wires<'_> {
    fn event(&mut self, event: LegEvent) {
        let events: &mut EventSink = &mut self.wiring.events;
        events(MediaEvent::Leg(event));
    }

    fn heard(&mut self, frame: &HeardFrame) {
        if let Some(ring) = &mut self.wiring.heard
            && ring.push(*frame).is_err()
        {
            self.sums.recogniser += 1;
        }
    }

    fn record(&mut self, frame: &RecordedFrame) {
        if let Some(ring) = &mut self.wiring.recorded
            && ring.push(*frame).is_err()
        {
            self.sums.recorder += 1;
        }
    }

    fn send(&mut self, to: SocketAddr, packet: &[u8]) {
        self.sums.sent_to(self.socket.send_to(packet, to));
    }

    fn report(&mut self, to: SocketAddr, compound: &[u8]) {
        self.sums.sent_to(self.rtcp.send_to(compound, to));
    }
}
