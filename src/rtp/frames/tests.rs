//! The reader in virtual time: what is heard of good and bad lines.

use proptest::prelude::*;

use super::*;
use crate::codec::g711::Law;
use crate::ms::Ms;
use crate::ms::epoch;
use crate::rtp::jitter::DelayLimits;
use crate::rtp::packet::{Packet, SequenceNumber, Ssrc};

fn alaw(_: PayloadType, payload: &[u8], samples: &mut [i16]) -> usize {
    Law::A.decode(payload, samples)
}

/// A peer that sends a 200 Hz tone in packets of `ptime` ms, without those that `lost` names, and the frames heard.
fn hear(ptime: u32, frames: u32, lost: impl Fn(u32) -> bool) -> (Vec<i16>, Vec<HeardFrame>, Instant) {
    let start = epoch();
    let mut jitter = JitterBuffer::new(8000, DelayLimits { start: Ms(20), ..DelayLimits::default() });
    let (mut reader, mut sent) = (Frames::default(), 0);
    let (mut samples, mut heard) = (Vec::new(), Vec::new());
    for tick in 0..frames {
        while sent * ptime <= tick * 20 {
            let first = sent * ptime * 8;
            let tone = |n: u32| (8000.0 * (f64::from(n) * std::f64::consts::TAU / 40.0).sin()) as i16;
            let payload: Vec<u8> = (first..first + ptime * 8).map(|n| Law::A.encode_one(tone(n))).collect();
            let packet = Packet {
                marker: sent == 0,
                payload_type: PayloadType::PCMA,
                sequence: SequenceNumber(sent as u16),
                timestamp: first,
                ssrc: Ssrc(1),
                payload: &payload,
            };
            if !lost(sent) {
                let arrival = start + Duration::from_millis(u64::from(sent * ptime));
                jitter.insert(arrival, &packet, ptime * 8);
            }
            sent += 1;
        }
        let now = start + Duration::from_millis(u64::from(tick) * 20 + 3);
        let mut out = [0; FRAME];
        heard.push(reader.next(&mut jitter, now, false, alaw, &mut out));
        samples.extend(out);
    }
    (samples, heard, start)
}

/// A reader, its buffer with packets of `ptime` ms, of which two have been read, and the samples that they were made of.
fn waiting(ptime: u32, places: &[u32]) -> (Frames, JitterBuffer, Vec<[i16; FRAME]>) {
    let mut jitter = JitterBuffer::new(8000, DelayLimits { start: Ms(20), ..DelayLimits::default() });
    let frame =
        |n: u32| std::array::from_fn(|at| Law::A.decode_one(Law::A.encode_one((n as i16 + 1) * 100 + at as i16)));
    for place in places.iter().copied() {
        let samples: [i16; FRAME] = frame(place);
        let payload: Vec<u8> =
            samples[..(ptime * 8) as usize].iter().map(|sample| Law::A.encode_one(*sample)).collect();
        let (payload_type, sequence) = (PayloadType::PCMA, SequenceNumber(place as u16));
        let packet = Packet {
            marker: false,
            payload_type,
            sequence,
            timestamp: place * ptime * 8,
            ssrc: Ssrc(1),
            payload: &payload,
        };
        jitter.insert(epoch() + Duration::from_millis(u64::from(place * ptime)), &packet, ptime * 8);
    }
    let mut reader = Frames::default();
    for tick in 0..2 {
        let now = epoch() + Duration::from_millis(23 + tick * 20);
        reader.next(&mut jitter, now, false, Law::A, &mut [0; FRAME]);
    }
    (reader, jitter, (0..8).map(frame).collect())
}

#[test]
fn what_waits_is_heard_and_stays() {
    let (mut reader, mut jitter, sent) = waiting(20, &[0, 1, 2, 3, 4]);
    let mut out = [0; FRAME];
    for _ in 0..2 {
        for later in 0..3 {
            assert!(reader.ahead(&jitter, later, Law::A, &mut out));
            assert_eq!(out, sent[2 + later]);
        }
        assert!(!reader.ahead(&jitter, 3, Law::A, &mut out), "it has not come");
    }
    reader.next(&mut jitter, epoch() + Duration::from_millis(63), false, Law::A, &mut out);
    assert_eq!(out, sent[2]);
    assert!(reader.ahead(&jitter, 0, Law::A, &mut out) && out == sent[3]);
}

#[test]
fn what_comes_whole_and_flows_is_told_in_its_own_bytes_and_what_is_made_of_it_is_not() {
    // The fourth packet is lost: what comes after it is joined to what was made up.
    let (mut reader, mut jitter, _) = waiting(20, &[0, 1, 2, 4, 5, 6, 7]);
    let mut told = Vec::new();
    for tick in 2..8 {
        let (mut out, mut decoded) = ([0; FRAME], [0; FRAME]);
        let now = epoch() + Duration::from_millis(23 + tick * 20);
        let (_, coded) = reader.next_coded(&mut jitter, now, false, Law::A, &mut out);
        if let Some(coded) = coded {
            Law::A.decode(&coded, &mut decoded);
            assert_eq!(decoded, out);
        }
        told.push(coded.is_some());
    }
    assert_eq!(told, [true, false, false, true, true, true]);
    // Two packets make a frame.
    let (mut reader, mut jitter, _) = waiting(10, &[0, 1, 2, 3, 4, 5, 6, 7]);
    let now = epoch() + Duration::from_millis(63);
    assert_eq!(reader.next_coded(&mut jitter, now, false, Law::A, &mut [0; FRAME]).1, None);
}

#[test]
fn what_is_missing_and_what_is_no_frame_of_its_own_is_not_heard_early() {
    let (reader, jitter, _) = waiting(20, &[0, 1, 3, 4]);
    assert!(!reader.ahead(&jitter, 0, Law::A, &mut [0; FRAME]));
    let (reader, jitter, _) = waiting(10, &[0, 1, 2, 3, 4, 5, 6]);
    assert!(!reader.ahead(&jitter, 0, Law::A, &mut [0; FRAME]));
}

#[test]
fn every_packet_time_becomes_a_smooth_stream_of_frames() {
    for ptime in [10, 20, 30, 40, 60] {
        let (samples, heard, start) = hear(ptime, 200, |_| false);
        let first = heard.iter().position(|frame| frame.sound == Sound::Audio).unwrap();
        assert!(first <= 3, "{ptime} ms: starts at frame {first}");
        assert!(heard[first..].iter().all(|frame| frame.sound == Sound::Audio), "{ptime} ms: a hole");
        for (n, frame) in heard[first..].iter().enumerate() {
            assert_eq!(frame.wire, start + Duration::from_millis(n as u64 * 20), "{ptime} ms, frame {n}");
        }
        let tone = &samples[first * FRAME + 100..];
        let click = tone.windows(2).map(|two| two[0].abs_diff(two[1])).max().unwrap();
        assert!(click < 1600, "{ptime} ms: {click}");
    }
}

#[test]
fn losses_are_filled_without_a_click() {
    for ptime in [10, 20, 30, 60] {
        let (samples, heard, _) = hear(ptime, 300, |packet| packet % 11 == 7);
        assert!(heard[5..290].iter().all(|frame| frame.sound != Sound::Silence));
        assert!(heard.iter().any(|frame| frame.sound == Sound::Concealed) || ptime == 10);
        let tone = &samples[5 * FRAME..290 * FRAME];
        let click = tone.windows(2).map(|two| two[0].abs_diff(two[1])).max().unwrap();
        assert!(click < 2000, "{ptime} ms: {click}");
    }
}

#[test]
fn a_stream_that_stops_falls_silent_and_the_wire_goes_on() {
    let (samples, heard, _) = hear(20, 200, |packet| packet >= 50);
    assert_eq!(heard[70].sound, Sound::Silence);
    assert!(samples[70 * FRAME..].iter().all(|sample| sample.abs() < 40));
    assert!(heard.is_sorted_by(|a, b| a.wire <= b.wire));
    assert!(heard[199].wire - heard[100].wire >= Duration::from_millis(99 * 20));
}

#[test]
fn what_cannot_be_decoded_counts_as_lost() {
    let now = epoch();
    let mut jitter = JitterBuffer::new(8000, DelayLimits::default());
    let mut reader = Frames::default();
    let packet = Packet {
        marker: false,
        payload_type: PayloadType::G722,
        sequence: SequenceNumber(1),
        timestamp: 0,
        ssrc: Ssrc(1),
        payload: &[1; 160],
    };
    jitter.insert(now, &packet, 160);
    let later = now + Duration::from_millis(60);
    let mut out = [1; FRAME];
    let heard = reader.next(&mut jitter, later, false, |_: PayloadType, _: &[u8], _: &mut [i16]| 0, &mut out);
    assert_eq!((heard.sound, heard.wire, out), (Sound::Concealed, now, [0; FRAME]));
}

/// A line with a voice of 200 Hz that never pauses: every packet of 20 ms is the same, and a step that is steeper than its own is a click.
struct Voice {
    start: Instant,
    jitter: JitterBuffer,
    reader: Frames,
    tone: [i16; FRAME],
    heard: u64,
    concealed: u64,
    last: [i16; FRAME],
    steepest: u16,
}

impl Voice {
    fn new() -> Voice {
        let tone = |n: usize| (8000.0 * (n as f64 * std::f64::consts::TAU / 40.0).sin()) as i16;
        Voice {
            start: epoch(),
            jitter: JitterBuffer::new(8000, DelayLimits::default()),
            reader: Frames::default(),
            tone: std::array::from_fn(tone),
            heard: 0,
            concealed: 0,
            last: [0; FRAME],
            steepest: 0,
        }
    }

    fn at(&self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }

    fn packet(&mut self, us: u64, place: u32) {
        let packet = Packet {
            marker: place == 0,
            payload_type: PayloadType::PCMA,
            sequence: SequenceNumber(place as u16),
            timestamp: place.wrapping_mul(FRAME as u32),
            ssrc: Ssrc(1),
            payload: &[0],
        };
        let at = self.start + Duration::from_micros(us);
        self.jitter.insert(at, &packet, FRAME as u32);
    }

    fn comfort_noise(&mut self, us: u64, place: u32, level: u8) {
        let packet = Packet {
            marker: false,
            payload_type: PayloadType::CN,
            sequence: SequenceNumber(place as u16),
            timestamp: place.wrapping_mul(FRAME as u32),
            ssrc: Ssrc(1),
            payload: &[level],
        };
        let at = self.at(us);
        self.jitter.insert(at, &packet, 0);
    }

    fn read(&mut self, us: u64) -> ([i16; FRAME], Sound) {
        let (now, mut out, tone) = (self.at(us), [0; FRAME], self.tone);
        // The sound of every packet is known: hours go by faster so.
        let decode = |_: PayloadType, _: &[u8], samples: &mut [i16]| {
            samples[..FRAME].copy_from_slice(&tone);
            FRAME
        };
        let frame = self.reader.next(&mut self.jitter, now, false, decode, &mut out);
        self.heard += u64::from(frame.sound == Sound::Audio);
        self.concealed += u64::from(frame.sound == Sound::Concealed);
        let joint = out[0].abs_diff(self.last[FRAME - 1]);
        let within =
            if out == self.last { 0 } else { out.windows(2).map(|two| two[0].abs_diff(two[1])).max().unwrap_or(0) };
        self.steepest = self.steepest.max(joint).max(within);
        self.last = out;
        (out, frame.sound)
    }
}

/// Two hours of a voice that never pauses, from a clock that is off, over a network with a little jitter.
fn two_hours(ppm: i64) {
    let mut voice = Voice::new();
    let period_ns = (20_000_000 + ppm * 20) as u64;
    let mut sent = 0u32;
    for tick in 0..360_000u64 {
        let now = tick * 20_000 + 9_000;
        loop {
            let at = u64::from(sent) * period_ns / 1000 + u64::from(sent % 7) * 500;
            if at > now {
                break;
            }
            voice.packet(at, sent);
            sent += 1;
        }
        voice.read(now);
        let delay = if tick % 50 == 0 { voice.jitter.stats().delay } else { Ms(0) };
        assert!(delay < Ms(100), "{ppm} ppm: {delay:?} after {tick} slots");
        assert!(voice.reader.length < 2 * FRAME, "the queue grows");
    }
    let stats = voice.jitter.stats();
    assert!(voice.steepest < 1600, "{ppm} ppm: a click of {}", voice.steepest);
    assert!(voice.heard > 359_990 && voice.concealed == 0, "{ppm} ppm: {} heard, {stats:?}", voice.heard);
    assert_eq!((stats.lost, stats.late, stats.dropped), (0, 0, 0), "{ppm} ppm: {stats:?}");
    // 2.16 s in two hours, by 5 ms at a time and more.
    let steps = if ppm > 0 { stats.lengthened } else { stats.shortened };
    assert!((100..1000).contains(&steps), "{ppm} ppm: {stats:?}");
}

#[test]
fn two_hours_of_a_slow_clock_without_a_pause_a_click_or_a_gap() {
    two_hours(300);
}

#[test]
fn two_hours_of_a_fast_clock_without_a_pause_a_click_or_a_growing_queue() {
    two_hours(-300);
}

#[test]
fn what_a_stall_has_delayed_is_caught_up_while_somebody_speaks_and_nothing_is_thrown_away() {
    let mut voice = Voice::new();
    let mut sent = 0u32;
    for tick in 0..700u64 {
        let now = tick * 20_000 + 9_000;
        // At the third second nothing comes for 160 ms, and then all of it.
        let stalled = (150..158).contains(&tick);
        while !stalled && u64::from(sent) * 20_000 <= now {
            voice.packet(now.min(u64::from(sent) * 20_000 + u64::from(tick == 158) * 160_000), sent);
            sent += 1;
        }
        voice.read(now);
        if tick == 160 {
            assert!(voice.jitter.stats().delay > Ms(60), "nothing was skipped: {:?}", voice.jitter.stats());
        }
    }
    let stats = voice.jitter.stats();
    assert_eq!((stats.dropped, stats.late, stats.lost), (0, 0, 0), "{stats:?}");
    assert!(stats.shortened >= 5 && stats.delay <= stats.target + Ms(52), "{stats:?}");
    assert!(voice.steepest < 2000, "a click of {}", voice.steepest);
}

#[test]
fn comfort_noise_is_heard_in_the_pause_that_it_announces() {
    let mut voice = Voice::new();
    let mut pause = Vec::new();
    for tick in 0..250u64 {
        let (now, place) = (tick * 20_000 + 9_000, tick as u32);
        match tick {
            100 => voice.comfort_noise(now - 9_000, place, 50),
            // Places are counted on in the pause, as timestamps are; numbers are not lost, they are not there.
            101..200 => {}
            _ => voice.packet(now - 9_000, if tick < 100 { place } else { place - 99 }),
        }
        let (samples, sound) = voice.read(now);
        if (110..195).contains(&tick) {
            assert_eq!(sound, Sound::Silence, "slot {tick}");
            pause.extend(samples);
        }
    }
    let power = pause.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / pause.len() as f64;
    let level = -20.0 * (power.sqrt() / 32_124.0).log10();
    assert!((level - 50.0).abs() < 1.5, "{level} dB below overload");
    assert_eq!(voice.concealed, 0, "a pause is no loss");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Packets of any number, time, source and length: no panic, a bounded delay, and each is accounted for once.
    #[test]
    fn random_packets_are_counted_and_harmless(steps in proptest::collection::vec(
        (prop_oneof![0u16..6, any::<u16>()], prop_oneof![0u32..8, any::<u32>()], prop_oneof![9 => Just(1u32), 1 => 0u32..4],
         1usize..520, 0u8..4, any::<bool>(), 0u64..60_000), 1..400)
    ) {
        let mut jitter = JitterBuffer::new(8000, DelayLimits::default());
        let mut reader = Frames::default();
        let (mut now, mut played, mut next) = (epoch(), 0u64, 0u16);
        let total = steps.len() as u64;
        for (ahead, time, ssrc, length, packets, quiet, wait) in steps {
            now += Duration::from_micros(wait);
            let sequence = next.wrapping_add(ahead);
            next = next.wrapping_add(1);
            let payload = vec![0x55; length];
            let packet = Packet {
                marker: quiet,
                payload_type: PayloadType::PCMA,
                sequence: SequenceNumber(sequence),
                timestamp: u32::from(sequence).wrapping_mul(160).wrapping_add(time.wrapping_mul(80)),
                ssrc: Ssrc(ssrc),
                payload: &payload,
            };
            jitter.insert(now, &packet, length as u32);
            for _ in 0..packets {
                let decode = |_: PayloadType, payload: &[u8], samples: &mut [i16]| {
                    played += 1;
                    Law::A.decode(payload, samples)
                };
                reader.next(&mut jitter, now, quiet, decode, &mut [0; FRAME]);
                prop_assert!(jitter.stats().delay <= Ms(200 + 65), "{:?}", jitter.stats());
            }
        }
        let stats = jitter.stats();
        prop_assert_eq!(stats.received + stats.duplicate + stats.refused, total, "{:?}", stats);
        let waiting = jitter.waiting() as u64;
        prop_assert_eq!(played + stats.late + stats.dropped + waiting, stats.received, "{:?}, {} played, {} waiting", stats, played, waiting);
    }
}
