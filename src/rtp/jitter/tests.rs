//! The buffer in virtual time, behind a seeded network.

use std::collections::BinaryHeap;
use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::ms::epoch;
use crate::rtp::packet::SequenceNumber;

/// A sender of 20 ms packets whose payload tells its place, and a reader each 20 ms.
struct Line {
    start: Instant,
    buffer: JitterBuffer,
    first_sequence: u16,
    first_timestamp: u32,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Got {
    /// The packet of this place, at this lateness in ms.
    Packet(u32, u64, bool),
    Lost(u32),
    Empty,
}

impl Line {
    fn new() -> Line {
        Line {
            start: epoch(),
            buffer: JitterBuffer::new(8000, DelayLimits::default()),
            first_sequence: 65_530,
            first_timestamp: u32::MAX - 1000,
        }
    }

    fn at(&self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }

    fn send(&mut self, us: u64, place: u32) {
        self.send_as(us, place, 1, place.wrapping_mul(160), false);
    }

    fn send_as(&mut self, us: u64, place: u32, ssrc: u32, timestamp: u32, marker: bool) {
        let packet = Packet {
            marker,
            payload_type: PayloadType::PCMA,
            sequence: SequenceNumber(self.first_sequence.wrapping_add(place as u16)),
            timestamp: self.first_timestamp.wrapping_add(timestamp),
            ssrc: Ssrc(ssrc),
            payload: &place.to_be_bytes().repeat(40),
        };
        self.buffer.insert(self.at(us), &packet, 160);
    }

    fn event(&mut self, us: u64, place: u32, timestamp: u32) {
        let packet = Packet {
            marker: false,
            payload_type: PayloadType::new(101).unwrap(),
            sequence: SequenceNumber(self.first_sequence.wrapping_add(place as u16)),
            timestamp: self.first_timestamp.wrapping_add(timestamp),
            ssrc: Ssrc(1),
            payload: &[1, 0, 0, 160],
        };
        self.buffer.insert(self.at(us), &packet, 0);
    }

    /// What the packet of this place, which has been sent, says again of one before it.
    fn again(&mut self, us: u64, place: u32, of: u32) -> bool {
        let packet = Packet {
            marker: false,
            payload_type: PayloadType::PCMA,
            sequence: SequenceNumber(self.first_sequence.wrapping_add(place as u16)),
            timestamp: self.first_timestamp.wrapping_add(place.wrapping_mul(160)),
            ssrc: Ssrc(1),
            payload: &[],
        };
        let payload = &of.to_be_bytes().repeat(40);
        let block = Block { payload_type: PayloadType::PCMA, offset: (place - of) * 160, payload };
        self.buffer.recover(self.at(us), &packet, &block, 160)
    }

    fn pop(&mut self, us: u64, quiet: bool) -> Got {
        let now = self.at(us);
        match self.buffer.pop(now, quiet, &mut [0; MAX_PAYLOAD]) {
            Playout::Frame { payload, wire, spliced, .. } => {
                let place = u32::from_be_bytes(payload[..4].try_into().unwrap());
                assert_eq!(payload, place.to_be_bytes().repeat(40));
                Got::Packet(place, now.saturating_duration_since(wire).as_millis() as u64, spliced)
            }
            Playout::Lost { samples, .. } => Got::Lost(samples),
            Playout::Empty => Got::Empty,
        }
    }
}

/// Sends `packets` with the delay (µs) that `delay` says (`None`: lost), reads each 20 ms until 500 ms after the last one.
fn run(
    line: &mut Line,
    packets: u32,
    quiet: impl Fn(u64) -> bool,
    mut delay: impl FnMut(u32) -> Option<u64>,
) -> Vec<Got> {
    let mut network = BinaryHeap::new();
    for place in 0..packets {
        if let Some(delay) = delay(place) {
            network.push(std::cmp::Reverse((u64::from(place) * 20_000 + delay, place)));
        }
    }
    let mut got = Vec::new();
    for tick in 0..u64::from(packets) + 25 {
        let now = tick * 20_000 + 7_000;
        while let Some(std::cmp::Reverse((arrival, place))) = network.peek().copied().filter(|next| next.0.0 <= now) {
            network.pop();
            line.send(arrival, place);
        }
        got.push(line.pop(now, quiet(tick)));
    }
    got
}

fn places(got: &[Got]) -> Vec<u32> {
    got.iter().filter_map(|got| if let Got::Packet(place, ..) = got { Some(*place) } else { None }).collect()
}

fn lost(got: &[Got]) -> usize {
    got.iter().filter(|got| matches!(got, Got::Lost(_))).count()
}

fn longest(got: &[Got]) -> u64 {
    got.iter().filter_map(|got| if let Got::Packet(_, late, _) = got { Some(*late) } else { None }).max().unwrap()
}

#[test]
fn a_perfect_line_across_both_wraps() {
    let mut line = Line::new();
    let got = run(&mut line, 500, |_| false, |_| Some(5_000));
    assert_eq!(places(&got), (0..500).collect::<Vec<_>>());
    assert!(got[0] == Got::Empty && got[1] == Got::Empty, "the buffer fills to 40 ms first");
    assert_eq!(got[2], Got::Packet(0, 42, false));
    assert_eq!(lost(&got), 3, "60 ms are concealed when the stream stops");
    let stats = line.buffer.stats();
    assert_eq!((stats.received, stats.lost, stats.late, stats.duplicate, stats.reordered), (500, 0, 0, 0, 0));
    assert_eq!(stats.target, Ms(20));
}

#[test]
fn a_quiet_line_shrinks_to_the_least_delay() {
    let mut line = Line::new();
    let got = run(&mut line, 500, |_| true, |_| Some(5_000));
    assert_eq!(places(&got).len(), 499, "one packet is dropped to come from 42 ms to 22");
    assert!(matches!(got[499], Got::Packet(_, 22, false)));
    assert_eq!(got.iter().filter(|got| matches!(got, Got::Packet(_, _, true))).count(), 1, "the joint is told");
}

#[test]
fn losses_are_told_one_by_one_and_nothing_else_suffers() {
    let mut line = Line::new();
    let got = run(&mut line, 300, |_| false, |place| (place % 10 != 5).then_some(5_000));
    assert_eq!(places(&got), (0..300).filter(|place| place % 10 != 5).collect::<Vec<_>>());
    assert_eq!(lost(&got), 29 + 3, "one hole is used to come down from the first delay");
    assert_eq!(line.buffer.stats().lost, 30);
    assert!(longest(&got) <= 43);
}

#[test]
fn swapped_and_doubled_packets_are_put_right() {
    let mut line = Line::new();
    let got = run(&mut line, 300, |_| false, |place| Some(if place % 7 == 3 { 28_000 } else { 5_000 }));
    assert_eq!(places(&got), (0..300).collect::<Vec<_>>());
    assert!(line.buffer.stats().reordered > 30);
    for tick in 0..10 {
        line.send(6_600_000 + tick * 20_000, 290 + tick as u32);
    }
    assert_eq!(line.buffer.stats().duplicate, 10);
}

#[test]
fn jitter_is_learned_and_then_loses_nothing() {
    let mut rng = StdRng::seed_from_u64(11);
    let mut line = Line::new();
    let got = run(&mut line, 3000, |_| true, |_| Some(rng.random_range(0..80_000)));
    let late = got[1000..3000].iter().filter(|got| matches!(got, Got::Lost(_))).count();
    let stats = line.buffer.stats();
    assert!((70..=90).contains(&stats.target.as_u32()), "{stats:?}");
    assert!(late < 2000 / 50, "{late} of 2000 frames concealed: {stats:?}");
    assert!(longest(&got[1000..]) < 125);
    let order = places(&got);
    assert!(order.is_sorted_by(|a, b| a < b));
}

#[test]
fn a_stall_is_played_with_delay_and_the_delay_goes_again() {
    let mut line = Line::new();
    // 120 ms of silence on the line, then all of it at once.
    let stall = |place: u32| Some(if (200..206).contains(&place) { u64::from(206 - place) * 20_000 } else { 5_000 });
    let got = run(&mut line, 1500, |tick| tick > 300, stall);
    let order = places(&got);
    assert!(
        (195..215).all(|place| order.contains(&place)),
        "no word is thrown away: {:?} {:?}",
        &got[195..225],
        line.buffer.stats()
    );
    assert!(longest(&got) > 100);
    let Got::Packet(_, late, _) = got[1490] else { panic!("{:?}", got[1490]) };
    assert!(late < 45, "back at {late} ms");
}

#[test]
fn a_stall_beyond_the_limit_is_cut_to_it() {
    let mut line = Line::new();
    let stall =
        |place: u32| Some(if (200..245).contains(&place) { u64::from(245 - place) * 20_000 + 5_000 } else { 5_000 });
    let got = run(&mut line, 600, |_| false, stall);
    assert!(longest(&got) <= 220 + 20, "{}", longest(&got));
    let order = places(&got);
    assert!(order.is_sorted() && order.last() == Some(&599));
    assert!(line.buffer.stats().dropped > 20);
}

#[test]
fn a_pause_neither_grows_the_delay_nor_counts_as_loss() {
    let mut line = Line::new();
    let mut spurt = |from_us: u64, first_place: u32, first_timestamp: u32| {
        let mut late = Vec::new();
        for n in 0..100u32 {
            let us = from_us + u64::from(n) * 20_000;
            line.send_as(us, first_place + n, 1, first_timestamp + n * 160, n == 0);
            if let Got::Packet(_, ms, _) = line.pop(us + 1_000, false) {
                late.push(ms);
            }
        }
        for n in 0..100 {
            line.pop(from_us + 2_001_000 + n * 20_000, false);
        }
        late.iter().max().copied().unwrap()
    };
    let first = spurt(0, 0, 0);
    let suppressed = spurt(4_000_000, 100, 32_000);
    let frozen = spurt(8_000_000, 200, 32_000 + 16_000);
    let leapt = spurt(12_000_000, 300, 8_000_000);
    assert!([first, suppressed, frozen, leapt].iter().all(|late| *late <= 45), "{first} {suppressed} {frozen} {leapt}");
    let stats = line.buffer.stats();
    assert_eq!((stats.lost, stats.late, stats.dropped), (0, 0, 0));
}

#[test]
fn a_longer_route_is_not_kept_as_jitter() {
    let mut line = Line::new();
    let got = run(&mut line, 1500, |_| false, |place| Some(if place < 500 { 5_000 } else { 65_000 }));
    let stats = line.buffer.stats();
    assert!(stats.target <= Ms(25), "what the least transit has risen by is no lateness: {stats:?}");
    assert!(lost(&got) <= 3 + 3, "{}", lost(&got));
    let Got::Packet(_, late, _) = got[1490] else { panic!("{:?}", got[1490]) };
    assert!(late < 60, "{late} ms");
}

#[test]
fn keys_between_audio_are_no_loss() {
    let mut line = Line::new();
    let (mut got, mut place) = (Vec::new(), 0);
    for n in 0..150u32 {
        let us = u64::from(n) * 20_000;
        if (50..60).contains(&n) {
            line.event(us, place, 50 * 160);
        } else {
            line.send_as(us, place, 1, n * 160, n == 60);
        }
        place += 1;
        got.push(line.pop(us + 1_000, false));
    }
    let order = places(&got);
    let audio = |place: &u32| !(50..60).contains(place);
    assert_eq!(order, (0..150).filter(audio).take(order.len()).collect::<Vec<_>>());
    assert!(order.len() >= 137);
    assert_eq!(lost(&got), 0);
    assert!(longest(&got) <= 45);
}

#[test]
fn a_new_source_and_a_jump_start_anew() {
    let mut line = Line::new();
    run(&mut line, 100, |_| false, |_| Some(5_000));
    let start = 125 * 20_000;
    let mut got = Vec::new();
    for n in 0..50u32 {
        line.send_as(start + u64::from(n) * 20_000, 30_000 + n, 2, 77_000_000 + n * 160, false);
        got.push(line.pop(start + u64::from(n) * 20_000, false));
    }
    assert_eq!(places(&got)[0], 30_000, "after silence at once");
    for n in 0..50u32 {
        line.send_as(start + 1_000_000 + u64::from(n) * 20_000, 9_000 + n, 2, 5_000_000 + n * 160, false);
        got.push(line.pop(start + 1_000_000 + u64::from(n) * 20_000, false));
    }
    assert_eq!(places(&got[50..]).into_iter().find(|place| *place < 30_000), Some(9_001), "else by its second packet");
    assert_eq!(line.buffer.stats().resyncs, 2);
    assert_eq!(line.buffer.ssrc(), Some(Ssrc(2)));
}

/// An hour of a sender whose clock is off, over a network with jitter, some loss and pauses of speech.
fn drift(ppm: i64, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut line = Line::new();
    let period = (20_000_000 + ppm * 20) as u64; // in ns
    let (mut place, mut played, mut waiting) = (0u32, 0u64, Vec::new());
    for tick in 0..180_000u64 {
        let now = tick * 20_000;
        while u64::from(place) * period / 1000 <= now {
            if !rng.random_bool(0.005) {
                waiting.push((u64::from(place) * period / 1000 + rng.random_range(0..15_000), place));
            }
            place += 1;
        }
        waiting.sort_unstable();
        let here = waiting.partition_point(|packet| packet.0 <= now);
        for (arrival, place) in waiting.drain(..here) {
            line.send(arrival, place);
        }
        match line.pop(now, tick % 200 > 150) {
            Got::Packet(_, late, _) => {
                assert!(late < 90, "{ppm} ppm: {late} ms after {tick} ticks");
                played += 1;
            }
            Got::Lost(_) | Got::Empty => {}
        }
        assert!(line.buffer.slots.len() < 6, "the queue grows");
    }
    let stats = line.buffer.stats();
    assert!(played > 177_000, "{ppm} ppm: {stats:?}");
    assert!(stats.dropped + stats.stretched < 400, "{ppm} ppm: {stats:?}");
}

#[test]
fn an_hour_of_drift_keeps_the_queue_bounded() {
    drift(300, 1);
    drift(-300, 2);
    drift(0, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_packets_at_any_time(steps in proptest::collection::vec(
        (any::<u16>(), any::<u32>(), 0u32..3, 0usize..520, prop_oneof![0u32..1000, any::<u32>()], 0u64..3_000_000, any::<bool>()), 1..200)
    ) {
        let mut line = Line::new();
        let mut now = 0;
        for (sequence, timestamp, ssrc, length, samples, wait, back) in steps {
            now = if back { now / 2 } else { now + wait };
            let payload = vec![1; length];
            let packet = Packet { marker: back, payload_type: PayloadType::PCMU, sequence: SequenceNumber(sequence), timestamp,
                                  ssrc: Ssrc(ssrc), payload: &payload };
            let at = line.at(now);
            line.buffer.insert(at, &packet, samples);
            line.buffer.pop(at, back, &mut [0; MAX_PAYLOAD]);
            line.buffer.wire_of(timestamp);
            line.buffer.wire_now(at);
            line.buffer.report();
        }
        line.buffer.stats();
    }

    /// Everything that is plausible at once: what is played is in order, never twice, whole, and never late beyond the limit.
    #[test]
    fn a_bad_network(seed: u64, jitter in 1u64..150_000, loss in 0.0f64..0.3, doubled in 0.0f64..0.2, quiet: bool) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut line = Line::new();
        let mut network = Vec::new();
        for place in 0..1000u32 {
            for _ in 0..1 + u32::from(rng.random_bool(doubled)) {
                if !rng.random_bool(loss) {
                    network.push((u64::from(place) * 20_000 + rng.random_range(0..jitter), place));
                }
            }
        }
        network.sort_unstable();
        let (mut next, mut got) = (0, Vec::new());
        for tick in 0..1030u64 {
            while let Some((arrival, place)) = network.get(next).filter(|packet| packet.0 <= tick * 20_000) {
                line.send(*arrival, *place);
                next += 1;
            }
            got.push(line.pop(tick * 20_000, quiet));
        }
        let order = places(&got);
        prop_assert!(order.is_sorted_by(|a, b| a < b));
        prop_assert!(order.is_empty() || longest(&got) <= 245);
        let stats = line.buffer.stats();
        let accounted = order.len() as u64 + stats.late + stats.dropped + line.buffer.slots.len() as u64;
        prop_assert_eq!(accounted, stats.received, "{:?}", stats);
    }
}

#[test]
fn what_is_said_again_is_played_in_its_place_and_is_not_lost() {
    let mut line = Line::new();
    let mut got = Vec::new();
    for place in 0..40u32 {
        let us = u64::from(place) * 20_000;
        // Every fifth is lost.
        if place % 5 != 3 {
            line.send(us, place);
            if place > 0 {
                assert_eq!(line.again(us, place, place - 1), place % 5 == 4, "only a gap is filled: {place}");
                assert!(!line.again(us, place, place - 1), "once");
            }
        }
        got.push(line.pop(us + 1_000, false));
    }
    let played: Vec<u32> = got
        .iter()
        .filter_map(|got| match got {
            Got::Packet(place, _, spliced) => {
                assert!(!spliced);
                Some(*place)
            }
            _ => None,
        })
        .collect();
    assert_eq!(played, (0..played.len() as u32).collect::<Vec<_>>(), "{got:?}");
    assert!(!got.iter().any(|got| matches!(got, Got::Lost(_))), "{got:?}");
    let stats = line.buffer.stats();
    assert_eq!((stats.recovered, stats.lost, stats.concealed), (8, 0, 0));
    let report = line.buffer.report().expect("there was a packet");
    assert_eq!(report.cumulative_lost, 7 + 1, "the far end is told what the network does");
    // It comes after all: that is one more that has come, and nothing new.
    line.send(900_000, 38);
    assert_eq!(
        (line.buffer.stats().duplicate, line.buffer.report().map(|report| report.cumulative_lost)),
        (1, Some(7))
    );
}

#[test]
fn what_cannot_be_placed_or_is_past_is_not_taken() {
    let mut line = Line::new();
    for place in 0..10u32 {
        if place != 4 && place != 9 {
            line.send(u64::from(place) * 20_000, place);
        }
        line.pop(u64::from(place) * 20_000 + 1_000, false);
    }
    for place in 10..14u32 {
        line.pop(u64::from(place) * 20_000 + 1_000, false);
    }
    line.send(280_000, 14);
    assert!(!line.again(280_000, 14, 4), "it has been made up");
    let packet = |sequence: u32, ssrc, timestamp: u32| Packet {
        marker: false,
        payload_type: PayloadType::PCMA,
        sequence: SequenceNumber(65_530u16.wrapping_add(sequence as u16)),
        timestamp: (u32::MAX - 1000).wrapping_add(timestamp),
        ssrc: Ssrc(ssrc),
        payload: &[],
    };
    let mut offer = |packet: Packet<'_>, offset, samples| {
        let block = Block { payload_type: PayloadType::PCMA, offset, payload: &[0; 160] };
        line.buffer.recover(line.start + Duration::from_micros(280_000), &packet, &block, samples)
    };
    assert!(!offer(packet(14, 1, 14 * 160), 0, 160), "itself");
    assert!(!offer(packet(14, 1, 14 * 160), 200, 160), "between two packets");
    assert!(!offer(packet(14, 1, 14 * 160), 160, 0), "no sound");
    assert!(!offer(packet(14, 2, 14 * 160), 160, 160), "of another stream");
    assert!(!offer(packet(14, 1, 8 * 160), 160, 160), "a timestamp that is long played");
    assert!(offer(packet(14, 1, 14 * 160), 160, 160), "the one before it");
}
