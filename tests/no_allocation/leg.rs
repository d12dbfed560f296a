//! The leg alone, in virtual time: every kind of call over networks good and bad.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use trunkline::call::io::{HeardFrame, RecordedFrame};
use trunkline::call::knobs::BargeIn;
use trunkline::call::leg::{Command, Leg, LegEvent, Outlet, SLOT, WallClock};
use trunkline::call::prompt::PromptNo;
use trunkline::dsp::vad::Opinion;
use trunkline::rtp::srtp::Srtp;

use crate::counting::{self, Count};
use crate::far::{Far, From, Style};
use crate::kinds::{KINDS, Kind, Robot, Told, recording, sealed};
use crate::network::{Path, Weather};

static COUNT: Count = Count::new();

/// Half a minute of each kind of call over each network.
const SLOTS: u32 = 1_500;
const UNIX: Duration = Duration::from_secs(1_800_000_000);
const FAR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)), 4_000);
const FAR_RTCP: SocketAddr = SocketAddr::new(FAR.ip(), 4_001);
const STRANGER: SocketAddr = SocketAddr::new(FAR.ip(), 6_000);

#[test]
fn a_leg_does_not_allocate_whatever_the_network_does() {
    counting::count_logs();
    // That it counts at all: a leg is made of several pieces.
    let leg = COUNT.during(|| leg(&KINDS[0], Instant::now()));
    assert!(COUNT.calls() > 1, "the count does not count");
    drop(leg);
    for weather in [Weather::CLEAN, Weather::POOR, Weather::LOSSY] {
        for kind in KINDS {
            let found = call(kind, weather);
            assert_eq!(found, 0, "{}: allocations, frees and log lines in {SLOTS} slots over {weather:?}", kind.name);
        }
    }
}

fn leg(kind: &Kind, now: Instant) -> Leg {
    Leg::new(kind.setup(FAR, FAR_RTCP, WallClock { at: now, unix: UNIX }))
}

/// A call, and how often it went for memory.
fn call(kind: &Kind, weather: Weather) -> u64 {
    let begin = Instant::now();
    let (mut leg, mut far, mut told) = (leg(kind, begin), Far::new(kind.far, kind.law), Told::default());
    let (recording, mut no) = (recording(), PromptNo(0));
    let mut network = Path::new(weather, 1);
    let mut under_way: Vec<(Duration, From, Vec<u8>)> = Vec::new();
    let mut wire = Wire::new();
    let mut srtp = kind.encryption().map(|[_, far]| far);
    told.prompt_over = true;
    COUNT.expect_none();
    for n in 0..SLOTS {
        let since = SLOT * n;
        let now = begin + since;
        if std::mem::take(&mut told.prompt_over) {
            no.0 += 1;
            kind.commands(no, &recording).into_iter().for_each(|command| leg.command(command, &mut wire));
        }
        far.slot(&mut |from, datagram| {
            let datagram = &sealed(srtp.as_deref_mut(), Srtp::protect, datagram);
            under_way.extend(network.arrivals(since).into_iter().map(|arrival| (arrival, from, datagram.to_vec())));
        });
        under_way.sort_by_key(|(arrival, ..)| *arrival);
        let there = under_way.partition_point(|(arrival, ..)| *arrival <= since);
        for (_, from, datagram) in under_way.drain(..there) {
            let from = if from == From::Far { FAR } else { STRANGER };
            COUNT.during(|| leg.receive(now, from, &datagram));
        }
        if n % 100 == 49 {
            let look = Command::Look(Box::default());
            COUNT.during(|| leg.command(look, &mut wire));
        }
        if n % 100 == 99 {
            far.report(UNIX + since, &mut |compound| {
                let compound = sealed(srtp.as_deref_mut(), Srtp::protect_rtcp, compound);
                COUNT.during(|| leg.receive_report(now, FAR_RTCP, &compound));
            });
        }
        COUNT.during(|| leg.tick(now, &mut wire));
        wire.events.drain(..).for_each(|event| told.take(&event));
        for (mut packet, length) in wire.packets.drain(..) {
            let length =
                srtp.as_mut().map_or(length, |srtp| srtp.unprotect(&mut packet[..length]).expect("it is encrypted"));
            far.hear(&packet[..length]);
        }
        for (mut report, length) in wire.reports.drain(..) {
            let length = srtp
                .as_mut()
                .map_or(length, |srtp| srtp.unprotect_rtcp(&mut report[..length]).expect("it is encrypted"));
            far.hear_report(&report[..length]);
        }
    }
    told.check(kind, &far);
    let interrupted = kind.far == Style::Speaks && kind.robot == Robot::Segments(BargeIn::Speech);
    assert_eq!(wire.lent > 0, interrupted, "{}: a second opinion is asked on who might interrupt", kind.name);
    assert_eq!(told.looks, SLOTS / 100, "each look comes back");
    COUNT.found()
}

/// Keeps what comes out of the leg, in room that is there already.
struct Wire {
    events: Vec<LegEvent>,
    packets: Vec<([u8; 256], usize)>,
    reports: Vec<([u8; 256], usize)>,
    opinion: Option<Box<Opinion>>,
    /// How often one was wanted.
    lent: u32,
}

impl Wire {
    fn new() -> Wire {
        Wire {
            events: Vec::with_capacity(1_024),
            packets: Vec::with_capacity(16),
            reports: Vec::with_capacity(16),
            opinion: Some(Box::default()),
            lent: 0,
        }
    }
}

fn kept(datagram: &[u8]) -> ([u8; 256], usize) {
    let mut room = [0; 256];
    room[..datagram.len()].copy_from_slice(datagram);
    (room, datagram.len())
}

impl Outlet for Wire {
    fn event(&mut self, event: LegEvent) {
        self.events.push(event);
    }
    fn heard(&mut self, frame: impl FnOnce() -> HeardFrame) {
        std::hint::black_box(frame());
    }
    fn record(&mut self, frame: impl FnOnce() -> RecordedFrame) {
        std::hint::black_box(frame());
    }
    fn lend_opinion(&mut self) -> Option<Box<Opinion>> {
        self.lent += 1;
        self.opinion.take()
    }
    fn give_back(&mut self, opinion: Box<Opinion>) {
        self.opinion = Some(opinion);
    }
    fn send(&mut self, _: SocketAddr, packet: &[u8]) {
        self.packets.push(kept(packet));
    }
    fn report(&mut self, _: SocketAddr, compound: &[u8]) {
        self.reports.push(kept(compound));
    }
}
