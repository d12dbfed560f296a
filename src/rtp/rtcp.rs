//! RFC 3550 section 6: sender and receiver reports, SDES and BYE.
//!
//! | packet | type | we send                                  | we read                                   |
//! |--------|------|------------------------------------------|-------------------------------------------|
//! | SR     | 200  | when we have sent since the last report  | the peer's clock (LSR), blocks about us   |
//! | RR     | 201  | otherwise                                | blocks about us                           |
//! | SDES   | 202  | CNAME, always second                     | skipped                                   |
//! | BYE    | 203  | last, when the leg ends                  | the peer has gone                         |
//!
//! Reports go out every 5 s, spread at random over 0.5 to 1.5 of it (section 6.3.1), the first after half of that. The round-trip
//! time is arrival − LSR − DLSR in the middle 32 bits of NTP time (section 6.4.1), measured by our own clock alone.
//!
//! Reading is tolerant: a compound ends where it stops making sense, and everything before counts. The wall clock comes in.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use super::packet::Ssrc;
use super::reception::ReceptionReport;

const INTERVAL: Duration = Duration::from_secs(5);
const NTP_OF_UNIX: u64 = 2_208_988_800;
const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const CNAME_ITEM: u8 = 1;
/// Bytes that hold the longest compound we write: SR with a block, SDES with a CNAME of 64 bytes, BYE.
pub const MAX_COMPOUND: usize = 52 + 76 + 8;
const CNAME_MAX: usize = 64;

/// NTP time: seconds since 1900 in the upper 32 bits, fraction in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// From the time since 1970; wraps in 2036 as NTP does.
    pub fn from_unix(since_1970: Duration) -> NtpTime {
        let seconds = since_1970.as_secs().wrapping_add(NTP_OF_UNIX) << 32;
        let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
        NtpTime(seconds | fraction)
    }

    /// The middle 32 bits: units of 1/65 536 s, wrapping every 18 hours.
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// A report block (section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// Whose stream it is about, how much of it was lost and how it jittered.
    pub reception: ReceptionReport,
    /// The middle 32 bits of the NTP time of the last sender report from there; 0 if none.
    pub last_report: u32,
    /// How long ago that report came, in 1/65 536 s.
    pub since_last_report: u32,
}

/// The sender's part of an SR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// The wall clock when it was sent.
    pub ntp: NtpTime,
    /// The same moment on the media clock.
    pub timestamp: u32,
    /// Packets sent in all, modulo 2³².
    pub packets: u32,
    /// Payload bytes sent in all, modulo 2³².
    pub octets: u32,
}

/// One thing read from a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// The sender's part of an SR.
    Sender(Ssrc, SenderInfo),
    /// A report block of an SR or RR.
    Block(ReportBlock),
    /// A source has left.
    Bye(Ssrc),
}

/// Reads a compound and hands each item to `heed`. Types we do not know are stepped over; returns `false` if the datagram was no
/// RTCP from the start.
pub fn read(mut datagram: &[u8], mut heed: impl FnMut(Item)) -> bool {
    let mut any = false;
    while let Some((header, rest)) = datagram.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
        if header[0] >> 6 != 2 || !(192..=223).contains(&header[1]) {
            return any;
        }
        let Some((body, following)) = rest.split_at_checked(length) else {
            return any;
        };
        any = true;
        read_one(usize::from(header[0] & 0x1f), header[1], body, &mut heed);
        datagram = following;
    }
    any
}

fn read_one(count: usize, kind: u8, body: &[u8], heed: &mut impl FnMut(Item)) {
    let mut words = body.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    if kind == BYE {
        words.take(count).for_each(|ssrc| heed(Item::Bye(Ssrc(ssrc))));
        return;
    }
    if kind != SR && kind != RR {
        return;
    }
    let Some(ssrc) = words.next() else { return };
    if kind == SR {
        let Some([high, low, timestamp, packets, octets]) = array(&mut words) else {
            return;
        };
        let ntp = NtpTime(u64::from(high) << 32 | u64::from(low));
        heed(Item::Sender(Ssrc(ssrc), SenderInfo { ntp, timestamp, packets, octets }));
    }
    for _ in 0..count {
        let Some([about, lost, highest_sequence, jitter, last_report, since_last_report]) = array(&mut words) else {
            return;
        };
        heed(Item::Block(ReportBlock {
            reception: ReceptionReport {
                ssrc: Ssrc(about),
                fraction_lost: (lost >> 24) as u8,
                cumulative_lost: (lost << 8) as i32 >> 8,
                highest_sequence,
                jitter,
            },
            last_report,
            since_last_report,
        }));
    }
}

fn array<const N: usize>(words: &mut impl Iterator<Item = u32>) -> Option<[u32; N]> {
    let mut values = [0; N];
    for value in &mut values {
        *value = words.next()?;
    }
    Some(values)
}

/// Writes a compound of SR or RR, SDES and, with `bye`, BYE. Returns its length in bytes; 0 if `out` is shorter than
/// [`MAX_COMPOUND`]. Only the first 64 bytes of `cname` are sent.
pub fn write(
    ssrc: Ssrc,
    sender: Option<SenderInfo>,
    block: Option<ReportBlock>,
    cname: &str,
    bye: bool,
    out: &mut [u8],
) -> usize {
    if out.len() < MAX_COMPOUND {
        return 0;
    }
    let mut writer = Writer { out, at: 0 };
    let kind = if sender.is_some() { SR } else { RR };
    let start = writer.begin(u8::from(block.is_some()), kind);
    writer.word(ssrc.0);
    if let Some(info) = sender {
        writer.word((info.ntp.0 >> 32) as u32);
        writer.word(info.ntp.0 as u32);
        writer.word(info.timestamp);
        writer.word(info.packets);
        writer.word(info.octets);
    }
    if let Some(block) = block {
        let reception = block.reception;
        writer.word(reception.ssrc.0);
        writer.word(u32::from(reception.fraction_lost) << 24 | reception.cumulative_lost as u32 & 0xff_ffff);
        writer.word(reception.highest_sequence);
        writer.word(reception.jitter);
        writer.word(block.last_report);
        writer.word(block.since_last_report);
    }
    writer.end(start);
    let start = writer.begin(1, SDES);
    writer.word(ssrc.0);
    let cname = &cname.as_bytes()[..cname.len().min(CNAME_MAX)];
    writer.bytes(&[CNAME_ITEM, cname.len() as u8]);
    writer.bytes(cname);
    // The chunk ends with at least one zero, at a multiple of four (section 6.5).
    writer.bytes(&[0; 4][..4 - writer.at % 4]);
    writer.end(start);
    if bye {
        let start = writer.begin(1, BYE);
        writer.word(ssrc.0);
        writer.end(start);
    }
    writer.at
}

struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_be_bytes());
    }

    fn begin(&mut self, count: u8, kind: u8) -> usize {
        let start = self.at;
        self.bytes(&[0x80 | count, kind, 0, 0]);
        start
    }

    fn end(&mut self, start: usize) {
        let words = ((self.at - start) / 4 - 1) as u16;
        self.out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
    }
}

/// What the peer has last reported about our stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerReport {
    /// Lost since its report before, in 1/256.
    pub fraction_lost: u8,
    /// Lost in all.
    pub cumulative_lost: i32,
    /// Interarrival jitter there, in units of the media clock.
    pub jitter: u32,
    /// The round trip to the peer and back, if it has answered one of our reports.
    pub round_trip: Option<Duration>,
}

/// The RTCP of one leg: when to report, and what the peer reports.
#[derive(Debug)]
pub struct Session {
    ssrc: Ssrc,
    cname: Box<str>,
    due: Instant,
    packets_reported: u64,
    last_report: Option<(u32, Instant)>,
    peer: Option<PeerReport>,
    gone: bool,
}

impl Session {
    /// The RTCP beside the stream that we send as `ssrc`. `cname` names this endpoint (RFC 7022: at random, not by address).
    pub fn new(ssrc: Ssrc, cname: &str, now: Instant, rng: &mut impl Rng) -> Session {
        Session {
            ssrc,
            cname: cname.into(),
            due: now + spread(rng) / 2,
            packets_reported: 0,
            last_report: None,
            peer: None,
            gone: false,
        }
    }

    /// When the next report is due.
    pub fn deadline(&self) -> Instant {
        self.due
    }

    /// Writes the report that is due into `out` ([`MAX_COMPOUND`] bytes at least) and returns its length.
    ///
    /// `sender` is the state of our stream, `reception` that of the peer's, if any has been heard.
    pub fn report(
        &mut self,
        now: Instant,
        rng: &mut impl Rng,
        sender: SenderInfo,
        reception: Option<ReceptionReport>,
        out: &mut [u8],
    ) -> usize {
        self.due = now + spread(rng);
        self.compound(now, sender, reception, false, out)
    }

    /// Writes the last report with BYE.
    pub fn bye(
        &mut self,
        now: Instant,
        sender: SenderInfo,
        reception: Option<ReceptionReport>,
        out: &mut [u8],
    ) -> usize {
        self.compound(now, sender, reception, true, out)
    }

    /// Takes a datagram of the peer; `ntp` is the wall clock at its arrival. Returns whether it was RTCP.
    pub fn handle(&mut self, now: Instant, ntp: NtpTime, datagram: &[u8]) -> bool {
        read(datagram, |item| match item {
            Item::Sender(_, info) => self.last_report = Some((info.ntp.middle(), now)),
            Item::Block(block) if block.reception.ssrc == self.ssrc => self.peer = Some(self.heard(ntp, block)),
            Item::Block(_) => {}
            Item::Bye(_) => self.gone = true,
        })
    }

    /// What the peer has last reported about our stream.
    pub fn peer(&self) -> Option<PeerReport> {
        self.peer
    }

    /// Whether the peer has said BYE.
    pub fn peer_gone(&self) -> bool {
        self.gone
    }

    fn heard(&self, ntp: NtpTime, block: ReportBlock) -> PeerReport {
        let trip = ntp.middle().wrapping_sub(block.last_report).wrapping_sub(block.since_last_report);
        // A block without LSR measures nothing; a "negative" trip is the peer's rounding.
        let trip = if trip > u32::MAX / 2 { 0 } else { trip };
        let round_trip = Duration::from_nanos(u64::from(trip) * 1_000_000_000 / 65_536);
        PeerReport {
            fraction_lost: block.reception.fraction_lost,
            cumulative_lost: block.reception.cumulative_lost,
            jitter: block.reception.jitter,
            round_trip: if block.last_report == 0 {
                self.peer.and_then(|peer| peer.round_trip)
            } else {
                Some(round_trip)
            },
        }
    }

    fn compound(
        &mut self,
        now: Instant,
        sender: SenderInfo,
        reception: Option<ReceptionReport>,
        bye: bool,
        out: &mut [u8],
    ) -> usize {
        let active = u64::from(sender.packets) != self.packets_reported;
        self.packets_reported = u64::from(sender.packets);
        let block = reception.map(|reception| {
            let (last_report, since_last_report) = self.last_report.map_or((0, 0), |(middle, came)| {
                let since = now.saturating_duration_since(came).as_nanos() * 65_536 / 1_000_000_000;
                (middle, u32::try_from(since).unwrap_or(u32::MAX))
            });
            ReportBlock { reception, last_report, since_last_report }
        });
        write(self.ssrc, active.then_some(sender), block, &self.cname, bye, out)
    }
}

fn spread(rng: &mut impl Rng) -> Duration {
    INTERVAL.mul_f64(rng.random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ms::epoch;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn items(datagram: &[u8]) -> Vec<Item> {
        let mut items = Vec::new();
        read(datagram, |item| items.push(item));
        items
    }

    fn info(packets: u32) -> SenderInfo {
        SenderInfo { ntp: NtpTime(0x1234_5678_9abc_def0), timestamp: 42, packets, octets: packets * 160 }
    }

    fn reception(cumulative_lost: i32) -> ReceptionReport {
        ReceptionReport { ssrc: Ssrc(7), fraction_lost: 9, cumulative_lost, highest_sequence: 70_000, jitter: 33 }
    }

    #[test]
    fn the_longest_compound_fits_and_ends_on_words() {
        let block = ReportBlock { reception: reception(-1), last_report: 5, since_last_report: 6 };
        for length in 0..80 {
            let mut out = [0xff; MAX_COMPOUND];
            let cname = "x".repeat(length);
            let written = write(Ssrc(1), Some(info(3)), Some(block), &cname, true, &mut out);
            assert_eq!(written % 4, 0);
            assert_eq!(
                items(&out[..written]),
                [Item::Sender(Ssrc(1), info(3)), Item::Block(block), Item::Bye(Ssrc(1))]
            );
        }
        assert_eq!(write(Ssrc(1), None, None, "", false, &mut [0; MAX_COMPOUND - 1]), 0);
    }

    #[test]
    fn ntp_time_of_a_known_second() {
        let ntp = NtpTime::from_unix(Duration::from_millis(1_500));
        assert_eq!(ntp.0, (2_208_988_801 << 32) | 0x8000_0000);
        assert_eq!(ntp.middle(), (2_208_988_801u64 << 16) as u32 | 0x8000);
    }

    #[test]
    fn two_sessions_measure_the_round_trip() {
        let (mut rng, start) = (StdRng::seed_from_u64(4), epoch());
        let ntp = |ms: u64| NtpTime::from_unix(Duration::from_millis(1_700_000_000_000 + ms));
        let mut ours = Session::new(Ssrc(1), "ours", start, &mut rng);
        let mut peer = Session::new(Ssrc(7), "peer", start, &mut rng);
        let at = |ms| start + Duration::from_millis(ms);
        let mut out = [0; MAX_COMPOUND];
        // Our report takes 30 ms, the peer answers after 200 ms of its own clock, the answer takes 50 ms.
        let length = ours.report(at(1000), &mut rng, SenderInfo { ntp: ntp(1000), ..info(10) }, None, &mut out);
        assert!(peer.handle(at(1030), ntp(99_999), &out[..length]));
        assert_eq!(peer.peer(), None);
        let about_us = ReceptionReport { ssrc: Ssrc(1), ..reception(2) };
        let length = peer.report(at(1230), &mut rng, info(5), Some(about_us), &mut out);
        assert!(ours.handle(at(1280), ntp(1280), &out[..length]));
        let heard = ours.peer().unwrap();
        assert_eq!((heard.fraction_lost, heard.cumulative_lost, heard.jitter), (9, 2, 33));
        let trip = heard.round_trip.unwrap();
        assert!(trip.abs_diff(Duration::from_millis(80)) < Duration::from_millis(1), "{trip:?}");
    }

    #[test]
    fn reports_as_a_sender_only_after_sending() {
        let (mut rng, now) = (StdRng::seed_from_u64(5), epoch());
        let mut session = Session::new(Ssrc(1), "x", now, &mut rng);
        let mut out = [0; MAX_COMPOUND];
        assert!(session.deadline() > now + Duration::from_secs(1));
        session.report(now, &mut rng, info(0), None, &mut out);
        assert_eq!(out[1], RR);
        session.report(now, &mut rng, info(1), None, &mut out);
        assert_eq!(out[1], SR);
        session.report(now, &mut rng, info(1), None, &mut out);
        assert_eq!(out[1], RR);
        let wait = session.deadline() - now;
        assert!(wait >= Duration::from_millis(2_500) && wait <= Duration::from_millis(7_500));
    }

    #[test]
    fn a_bye_is_heard_behind_types_we_do_not_know() {
        let (mut rng, now) = (StdRng::seed_from_u64(6), epoch());
        let mut session = Session::new(Ssrc(1), "x", now, &mut rng);
        let bytes = [0x80, 204, 0, 1, 1, 2, 3, 4, 0x81, BYE, 0, 1, 0, 0, 0, 7];
        assert!(session.handle(now, NtpTime(0), &bytes));
        assert!(session.peer_gone());
        assert!(!session.handle(now, NtpTime(0), &[0x80, 8, 0, 0, 1, 2]));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 199u8..206) {
            if bytes.len() > 4 {
                bytes[0] = bytes[0] & 0x3f | 0x80;
                bytes[1] = kind;
                bytes[2] = 0;
                bytes[3] %= 32;
            }
            let mut session = Session::new(Ssrc(1), "x", epoch(), &mut StdRng::seed_from_u64(1));
            session.handle(epoch(), NtpTime(u64::MAX), &bytes);
        }

        #[test]
        fn reads_what_it_writes(lost in -(1i32 << 23)..1 << 23, fraction: u8, highest: u32, jitter: u32, lsr: u32, dlsr: u32) {
            let block = ReportBlock {
                reception: ReceptionReport { ssrc: Ssrc(3), fraction_lost: fraction, cumulative_lost: lost,
                                             highest_sequence: highest, jitter },
                last_report: lsr, since_last_report: dlsr };
            let mut out = [0; MAX_COMPOUND];
            let length = write(Ssrc(1), None, Some(block), "a", false, &mut out);
            prop_assert_eq!(items(&out[..length]), vec![Item::Block(block)]);
        }
    }
}
