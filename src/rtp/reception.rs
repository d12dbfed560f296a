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

use super::packet::{Packet, SequenceNumber, Ssrc};

const MAX_DROPOUT: i32 = 3000;
const MAX_MISORDER: i32 = 100;

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
    lost_before: u64,
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
            source.seen = if step < 64 { source.seen << step | 1 } else { 1 };
            source.highest = number;
            source.received += 1;
            self.probation = None;
            return Arrival::Newer(number);
        }
        let bit = step.unsigned_abs();
        if bit < 64 && source.seen >> bit & 1 == 1 {
            // A.1 counts duplicates as received, which is how the cumulative loss becomes negative.
            source.received += 1;
            return Arrival::Duplicate;
        }
        if bit < 64 {
            source.seen |= 1 << bit;
        }
        source.first = source.first.min(number);
        source.received += 1;
        Arrival::Older(number)
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

    /// Whose stream it is, once there is one.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// Packets lost in all, over every restart of the stream; a late one is not lost.
    pub fn lost(&self) -> u64 {
        self.lost_before + self.source.as_ref().map_or(0, Source::lost)
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
        self.lost_before = self.lost();
        self.probation = None;
        let first = i64::from(packet.sequence.0);
        self.source = Some(Source {
            ssrc: packet.ssrc,
            first,
            highest: first,
            received: 1,
            seen: 1,
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

    fn lost(&self) -> u64 {
        (self.expected() as u64).saturating_sub(self.received)
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
