//! Packets of every length, their places in time, and what recognition gets of them.

use super::*;
use crate::codec::g711::Law;
use crate::codec::opus::Terms;

const OPUS: Coding = Coding::Opus(Terms { narrow: false, max_bitrate: None, constant_bitrate: false, fec: true });

fn media(coding: Coding, ptime: u32) -> Media {
    Media { coding, ptime: Ms(ptime), ..Media::g711(Law::A, ([127, 0, 0, 1], 4_000).into()) }
}

/// What goes out of so many slots: the slot, the begin of the packet in units of the media clock, its length in them.
fn packets(coding: Coding, ptime: u32, slots: u32) -> Vec<(u32, u32, u32)> {
    let mut gear = Gear::of(&media(coding, ptime)).unwrap().expect("no ordinary line");
    let frame = coding.clock_rate() / 50;
    let mut sent = Vec::new();
    for slot in 0..slots {
        gear.say(Some(&[1_000; FRAME]), None);
        let mut payload = [0; MAX_PAYLOAD];
        while let Some(next) = gear.payload(false, &mut payload) {
            sent.push((slot, (slot + 1) * frame - next.since, coding.units(&payload[..next.length])));
        }
    }
    sent
}

#[test]
fn an_ordinary_line_needs_nothing() {
    assert!(Gear::of(&media(Coding::G711(Law::Mu), 20)).unwrap().is_none());
    assert!(Gear::of(&media(Coding::G711(Law::Mu), 25)).unwrap().is_none(), "20 ms are the nearest");
    assert!(Gear::of(&media(Coding::G711(Law::Mu), 30)).unwrap().is_some());
    assert!(Gear::of(&media(Coding::G722, 20)).unwrap().is_some());
}

#[test]
fn packets_follow_one_another_without_a_gap_in_the_slot_of_their_last_sample() {
    for coding in [Coding::G711(Law::A), Coding::G722, Coding::L16(Band::Narrow), Coding::L16(Band::Wide), OPUS] {
        let ms = coding.clock_rate() / 1_000;
        for asked in [10, 20, 30, 40, 50, 60] {
            if asked == 20 && matches!(coding, Coding::G711(_)) {
                continue;
            }
            let length = coding.packet(Ms(asked)).0;
            let sent = packets(coding, asked, 30);
            assert_eq!(sent.len() as u32, 600 / length, "{coding:?}, {asked} ms");
            for (n, (slot, begin, units)) in sent.iter().enumerate() {
                assert_eq!((*begin, *units), (n as u32 * length * ms, length * ms), "{coding:?}, {asked} ms: {n}");
                let end = begin / ms + length;
                assert_eq!(*slot, end.div_ceil(20) - 1, "{coding:?}, {asked} ms: {n}");
            }
        }
    }
}

#[test]
fn what_waits_goes_out_before_a_key_in_packets_that_the_coding_has() {
    for (coding, asked, slots, lengths) in [
        (Coding::G711(Law::A), 60, 2, &[40][..]),
        (Coding::G722, 50, 2, &[40]),
        (OPUS, 60, 2, &[40]),
        (OPUS, 60, 1, &[20]),
        (Coding::G711(Law::A), 30, 2, &[10]),
        (OPUS, 40, 2, &[]),
    ] {
        let mut gear = Gear::of(&media(coding, asked)).unwrap().expect("no ordinary line");
        let mut payload = [0; MAX_PAYLOAD];
        for _ in 0..slots {
            gear.say(None, None);
            while gear.payload(false, &mut payload).is_some() {}
        }
        let mut sent = Vec::new();
        while let Some(next) = gear.payload(true, &mut payload) {
            sent.push(coding.units(&payload[..next.length]) * 1_000 / coding.clock_rate());
        }
        assert_eq!(sent, lengths, "{coding:?}, {asked} ms");
        assert!(gear.payload(true, &mut payload).is_none());
    }
}
