//! RFC 3550 appendices A.1, A.3 and A.8: what arrives of one stream, by its sequence numbers.
//!
//! | step from the highest number | meaning (A.1)                                                                      |
//! |------------------------------|------------------------------------------------------------------------------------|
//! | +1 … +2 999                  | the stream goes on, perhaps with losses                                            |
//! | 0                            | a duplicate                                                                        |
//! | −1 … −99                     | reordered by the network, or a duplicate                                           |
//! | anything else, another SSRC  | strange: only a second packet that follows it, or a silent line, makes it a new start |
//!
//! We deviate from A.1 in one point: the first packet of all counts at once (`MIN_SEQUENTIAL` is 1), since signalling has told
//! us to expect it, and 20 ms of a greeting are worth more than the doubt.

use super::bursts::{Bursts, Fate, Tally};
use super::packet::{Packet, SequenceNumber, Ssrc};

const MAX_DROPOUT: i32 = 3000;
const MAX_MISORDER: i32 = 100;
/// Packets whose fate is still open: a later one than these is only known to have come.
const WINDOW: i64 = 64;

/// What a packet's number says of it. Numbers are extended: endless within one run of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The stream begins, or begins anew: nothing known of it before holds.
    Start(i64),
    /// Newer than all before.
    Newer(i64),
    /// Older than the newest, not seen before.
    Older(i64),
    /// Seen before.
    Duplicate,
    /// Does not belong to the stream; to be dropped.
    Strange,
}

/// The reception part of a report block (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceptionReport {
    /// Whose stream it is about.
    pub ssrc: Ssrc,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the stream began, −2²³ to 2²³ − 1; duplicates make it negative.
    pub cumulative_lost: i32,
    /// The highest sequence number, extended by its cycles.
    pub highest_sequence: u32,
    /// Interarrival jitter in units of the media clock.
    pub jitter: u32,
}

#[derive(Debug)]
struct Source {
    ssrc: Ssrc,
    first: i64,
    highest: i64,
    received: u64,
    /// Bit n: `highest − n` has come.
    seen: u64,
    /// Bit n: `highest − n` has come and is not played.
    discarded: u64,
    /// Copies of packets that had come.
    duplicates: u64,
    /// What became of all packets before these.
    fates: Bursts,
    transit: Option<i64>,
    /// Sixteen times the jitter, as A.8 has it in integers.
    jitter_16: u64,
    reported_expected: i64,
    reported_received: u64,
}

/// The statistics of the stream that we hear.
#[derive(Debug, Default)]
pub struct Reception {
    source: Option<Source>,
    probation: Option<(Ssrc, SequenceNumber)>,
    /// Of the streams before this one.
    before: Tally,
}

impl Reception {
    /// Judges a packet. With `idle` (the line has fallen silent) a strange one is taken for a new start at once.
    pub fn arrive(&mut self, packet: &Packet<'_>, idle: bool) -> Arrival {
        let Some(source) = &mut self.source else {
            return self.start(packet);
        };
        let step = packet.sequence.after(SequenceNumber(source.highest as u16));
        let known = packet.ssrc == source.ssrc && step > -MAX_MISORDER && step < MAX_DROPOUT;
        if !known {
            let follows = self.probation == Some((packet.ssrc, packet.sequence));
            if idle || follows {
                return self.start(packet);
            }
            self.probation = Some((packet.ssrc, packet.sequence.next()));
            return Arrival::Strange;
        }
        let number = source.highest + i64::from(step);
        if step > 0 {
            source.advance(step);
            source.highest = number;
            source.received += 1;
            self.probation = None;
            return Arrival::Newer(number);
        }
        let bit = step.unsigned_abs();
        if bit < 64 && source.seen >> bit & 1 == 1 {
            // A.1 counts duplicates as received, which is how the cumulative loss becomes negative.
            source.received += 1;
            source.duplicates += 1;
            return Arrival::Duplicate;
        }
        if bit < 64 {
            source.seen |= 1 << bit;
        } else if number >= source.first {
            source.fates.came_after_all();
        }
        source.first = source.first.min(number);
        source.received += 1;
        Arrival::Older(number)
    }

    /// The highest number that has come.
    pub fn highest(&self) -> i64 {
        self.source.as_ref().map_or(0, |source| source.highest)
    }

    /// The extended number of a packet of the stream, or none if it is not of this stream.
    pub fn number(&self, ssrc: Ssrc, sequence: SequenceNumber) -> Option<i64> {
        let source = self.source.as_ref().filter(|source| source.ssrc == ssrc)?;
        Some(sequence.extend(source.highest))
    }

    /// A packet that has not come was said again by one that has: it is not lost (RFC 3611 section 4.7.1 counts losses after such repair),
    /// but to the far end, whom RFC 3550 tells what the network does. Says whether it was missing.
    pub fn recover(&mut self, number: i64) -> bool {
        let Some(source) = &mut self.source else { return false };
        let bit = source.highest - number;
        if !(0..WINDOW).contains(&bit) || number < source.first || source.seen >> bit & 1 == 1 {
            return false;
        }
        source.seen |= 1 << bit;
        true
    }

    /// A packet that has come is not played: it came too late, or there was no room for it.
    pub fn discard(&mut self, number: i64) {
        if let Some(source) = &mut self.source
            && let Some(discarded) = 1u64.checked_shl(u32::try_from(source.highest - number).unwrap_or(u32::MAX))
        {
            source.discarded |= discarded;
        }
    }

    /// What became of the packets of the stream, up to the newest that has come.
    pub fn tally(&self) -> Tally {
        self.source.as_ref().map(Source::tally).unwrap_or_default()
    }

    /// … of the streams before it too.
    pub fn tally_in_all(&self) -> Tally {
        self.before.and(self.tally())
    }

    /// Takes the relative transit time of a packet of audio, arrival less timestamp in units of the media clock (A.8).
    pub fn timing(&mut self, transit: i64) {
        let Some(source) = &mut self.source else {
            return;
        };
        if let Some(last) = source.transit.replace(transit) {
            let difference = transit.saturating_sub(last).unsigned_abs().min(1 << 32);
            let decay = (source.jitter_16 + 8) >> 4;
            source.jitter_16 = source.jitter_16 + difference - decay;
        }
    }

    /// Forgets the last transit time: the sender's timestamps have jumped, which is no jitter.
    pub fn timestamps_jumped(&mut self) {
        if let Some(source) = &mut self.source {
            source.transit = None;
        }
    }

    /// The media clock counts another number of units a second.
    pub fn clock_changed(&mut self, from: u32, to: u32) {
        if let Some(source) = &mut self.source {
            source.transit = None;
            source.jitter_16 = source.jitter_16 * u64::from(to) / u64::from(from.max(1));
        }
    }

    /// Whose stream it is, once there is one.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// Packets lost in all, over every restart of the stream; a late one is not lost, and a doubled one makes up for none.
    pub fn lost(&self) -> u64 {
        self.tally_in_all().lost.into()
    }

    /// The interarrival jitter in units of the media clock (A.8).
    pub fn jitter(&self) -> u32 {
        self.source.as_ref().map_or(0, Source::jitter)
    }

    /// The report block's figures, and the start of the next interval for the fraction lost (A.3). `None` before any packet.
    pub fn report(&mut self) -> Option<ReceptionReport> {
        let source = self.source.as_mut()?;
        let expected = source.expected();
        let in_interval = expected - source.reported_expected;
        let lost_in_interval = in_interval - (source.received - source.reported_received) as i64;
        source.reported_expected = expected;
        source.reported_received = source.received;
        let fraction_lost = if in_interval <= 0 || lost_in_interval <= 0 {
            0
        } else {
            (lost_in_interval * 256 / in_interval).min(255) as u8
        };
        let cumulative = expected - source.received as i64;
        Some(ReceptionReport {
            ssrc: source.ssrc,
            fraction_lost,
            cumulative_lost: cumulative.clamp(-(1 << 23), (1 << 23) - 1) as i32,
            highest_sequence: source.highest as u32,
            jitter: source.jitter(),
        })
    }

    fn start(&mut self, packet: &Packet<'_>) -> Arrival {
        self.before = self.tally_in_all();
        self.probation = None;
        let first = i64::from(packet.sequence.0);
        self.source = Some(Source {
            ssrc: packet.ssrc,
            first,
            highest: first,
            received: 1,
            seen: 1,
            discarded: 0,
            duplicates: 0,
            fates: Bursts::default(),
            transit: None,
            jitter_16: 0,
            reported_expected: 0,
            reported_received: 0,
        });
        Arrival::Start(first)
    }
}

impl Source {
    fn expected(&self) -> i64 {
        self.highest - self.first + 1
    }

    /// The window moves on by `step`: what leaves it has its fate.
    fn advance(&mut self, step: i32) {
        let leaving = step.min(WINDOW as i32);
        let oldest = self.highest - WINDOW + 1;
        for n in 0..leaving {
            let number = oldest + i64::from(n);
            if number >= self.first {
                let bit = (self.highest - number) as u32;
                self.fates.push(self.fate(bit));
            }
        }
        // More than the window holds: of these nothing has come.
        self.fates.lost((step - leaving) as u32);
        let moved = |bits: u64| bits.checked_shl(step as u32).unwrap_or(0);
        self.seen = moved(self.seen) | 1;
        self.discarded = moved(self.discarded);
    }

    fn fate(&self, bit: u32) -> Fate {
        match (self.seen >> bit & 1, self.discarded >> bit & 1) {
            (0, _) => Fate::Lost,
            (_, 0) => Fate::Good,
            (_, _) => Fate::Discarded,
        }
    }

    fn tally(&self) -> Tally {
        let mut fates = self.fates;
        let open = (self.highest - self.first + 1).min(WINDOW) as u32;
        (0..open).rev().for_each(|bit| fates.push(self.fate(bit)));
        fates.tally()
    }

    fn jitter(&self) -> u32 {
        u32::try_from(self.jitter_16 >> 4).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::packet::PayloadType;

    fn packet(ssrc: u32, sequence: u16) -> Packet<'static> {
        Packet {
            marker: false,
            payload_type: PayloadType::PCMA,
            sequence: SequenceNumber(sequence),
            timestamp: 0,
            ssrc: Ssrc(ssrc),
            payload: &[],
        }
    }

    #[test]
    fn tells_new_old_and_doubled_across_the_wrap() {
        let mut reception = Reception::default();
        assert_eq!(reception.arrive(&packet(1, 65_534), false), Arrival::Start(65_534));
        assert_eq!(reception.arrive(&packet(1, 0), false), Arrival::Newer(65_536));
        assert_eq!(reception.arrive(&packet(1, 65_535), false), Arrival::Older(65_535));
        assert_eq!(reception.arrive(&packet(1, 65_535), false), Arrival::Duplicate);
        assert_eq!(reception.arrive(&packet(1, 3), false), Arrival::Newer(65_539));
        assert_eq!(reception.report().unwrap().highest_sequence, 65_539);
    }

    #[test]
    fn counts_losses_as_the_appendix_does() {
        let mut reception = Reception::default();
        for sequence in (0..100).filter(|n| n % 4 != 3) {
            reception.arrive(&packet(1, sequence), false);
        }
        let report = reception.report().unwrap();
        // 0 to 98: 99 expected, 24 of them missing.
        assert_eq!((report.cumulative_lost, report.fraction_lost), (24, (24 * 256 / 99) as u8));
        assert_eq!(reception.lost(), 24);
        for sequence in 99..199 {
            reception.arrive(&packet(1, sequence), false);
        }
        assert_eq!(reception.report().unwrap().fraction_lost, 0);
    }

    #[test]
    fn doubled_packets_make_up_for_no_lost_ones() {
        let mut reception = Reception::default();
        for sequence in (0..100).filter(|n| n % 10 != 3) {
            reception.arrive(&packet(1, sequence), false);
            reception.arrive(&packet(1, sequence), false);
        }
        assert_eq!(reception.lost(), 10);
        // A.3 has it so.
        assert_eq!(reception.report().unwrap().cumulative_lost, 10 - 90);
    }

    #[test]
    fn every_packet_has_one_fate_whatever_the_order() {
        let mut reception = Reception::default();
        let lost = |n: i64| n % 50 == 7 || (700..900).contains(&n);
        for n in 0..1_000u32 {
            // Two of three packets change places, every hundredth comes too late, and one when nobody waits for it any more.
            let number = i64::from([n, n + 1, n - u32::from(n > 0)][n as usize % 3]);
            if n == 300 {
                assert_eq!(reception.arrive(&packet(1, 207), false), Arrival::Older(207));
                reception.discard(207);
            }
            if !lost(number) {
                reception.arrive(&packet(1, number as u16), false);
                if number % 100 == 40 {
                    reception.discard(number);
                }
            }
        }
        let tally = reception.tally();
        let never = (0..1_000).filter(|n| lost(*n)).count() as u32 - 1;
        assert_eq!((tally.packets, tally.lost, tally.discarded), (1_000, never, 8 + 1));
        assert_eq!(tally.runs, 16 + 1 + 8, "single losses, the long hole, and the late ones outside of it: {tally:?}");
        assert_eq!(reception.arrive(&packet(2, 9), true), Arrival::Start(9));
        assert_eq!(reception.tally().packets, 1);
        assert_eq!(reception.tally_in_all().lost, never, "another stream forgets nothing of the call");
    }

    #[test]
    fn another_source_needs_two_packets_or_a_silent_line() {
        let mut reception = Reception::default();
        reception.arrive(&packet(1, 10), false);
        assert_eq!(reception.arrive(&packet(2, 500), false), Arrival::Strange);
        assert_eq!(reception.arrive(&packet(1, 11), false), Arrival::Newer(11));
        assert_eq!(reception.arrive(&packet(2, 501), false), Arrival::Strange, "the first source is still alive");
        assert_eq!(reception.arrive(&packet(2, 502), false), Arrival::Start(502));
        assert_eq!(reception.arrive(&packet(3, 7), true), Arrival::Start(7));
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn a_jump_of_the_same_source_is_confirmed_by_its_successor() {
        let mut reception = Reception::default();
        reception.arrive(&packet(1, 10), false);
        assert_eq!(reception.arrive(&packet(1, 40_000), false), Arrival::Strange);
        assert_eq!(reception.arrive(&packet(1, 40_001), false), Arrival::Start(40_001));
    }

    #[test]
    fn jitter_follows_the_formula() {
        let mut reception = Reception::default();
        reception.arrive(&packet(1, 0), false);
        for step in 0..2000 {
            reception.timing(if step % 2 == 0 { 0 } else { 80 });
        }
        assert!(
            (78..=80).contains(&reception.jitter()),
            "alternating by 80 converges on 80, not {}",
            reception.jitter()
        );
    }
}
