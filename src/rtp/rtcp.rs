//! RFC 3550 section 6: sender and receiver reports, SDES and BYE.
//!
//! | packet | type | we send                                  | we read                                   |
//! |--------|------|------------------------------------------|-------------------------------------------|
//! | SR     | 200  | when we have sent since the last report  | the peer's clock (LSR), blocks about us   |
//! | RR     | 201  | otherwise                                | blocks about us                           |
//! | SDES   | 202  | CNAME, always second                     | skipped                                   |
//! | BYE    | 203  | last, when the leg ends                  | the peer has gone                         |
//! | XR     | 207  | between SDES and BYE, where it is agreed | [`super::xr`]                             |
//!
//! Reports go out every 5 s in the mean: spread at random over 0.5 to 1.5 of it, the first after half of that, and thought over once more
//! when the time has come, for which the spread is shortened by e − 1.5 (sections 6.2, 6.3.1, 6.3.3 and 6.3.6). There are two of us, so
//! nothing else goes into the interval: 5 % of 64 kbit/s would carry a compound of ours every second, and the reduced minimum of section 6.2,
//! 360 s over the kbit/s, is 5.6 s at that bandwidth, no shorter than the plain one. A BYE goes out at once, as it may among fewer than
//! fifty (section 6.3.7).
//!
//! The round-trip time is arrival − LSR − DLSR in the middle 32 bits of NTP time (section 6.4.1), measured by our own clock alone, and
//! only from an LSR that we have sent.
//!
//! Reading is tolerant: a compound ends where it stops making sense, and everything before counts. The wall clock comes in.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use super::packet::Ssrc;
use super::reception::ReceptionReport;
use super::xr::{self, Answer, VoipMetrics};
use crate::cache::bring;

const INTERVAL: Duration = Duration::from_secs(5);
const NTP_OF_UNIX: u64 = 2_208_988_800;
const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const XR: u8 = 207;
/// What thinking over shortens the mean interval by (section 6.3.1): e − 1.5.
const COMPENSATION: f64 = std::f64::consts::E - 1.5;
/// Sender reports of ours that a report may refer to: those of 15 to 30 s.
const REMEMBERED: usize = 4;
const CNAME_ITEM: u8 = 1;
/// Bytes that hold the longest compound we write: SR with a block, SDES with a CNAME of 64 bytes, XR, BYE.
pub const MAX_COMPOUND: usize = 52 + 76 + 4 + xr::MAX_BODY + 8;
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
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Item {
    /// The sender's part of an SR.
    Sender(Ssrc, SenderInfo),
    /// A report block of an SR or RR.
    Block(ReportBlock),
    /// A source has left.
    Bye(Ssrc),
    /// The clock of a receiver (RFC 3611 section 4.4).
    ReceiverTime(Ssrc, NtpTime),
    /// To a source that has sent its clock (RFC 3611 section 4.5).
    Answer(Ssrc, Answer),
    /// How a source's stream is heard (RFC 3611 section 4.7).
    Voip(Ssrc, VoipMetrics),
}

/// How far a datagram could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is no RTCP.
    None,
    /// It begins as RTCP, and breaks off or goes on as something else.
    Part,
    /// To its end.
    Whole,
}

/// Whether a datagram on a port that RTP and RTCP share is RTCP (RFC 5761 section 4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|kind| (192..=223).contains(kind))
}

/// Reads a compound and hands each item to `heed`. Types we do not know are stepped over.
pub fn read(mut datagram: &[u8], mut heed: impl FnMut(Item)) -> Reading {
    let mut reading = Reading::None;
    while let Some((header, rest)) = datagram.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
        if header[0] >> 6 != 2 || !is_rtcp(header) {
            break;
        }
        let Some((body, following)) = rest.split_at_checked(length) else { break };
        reading = Reading::Part;
        datagram = following;
        if !read_one(usize::from(header[0] & 0x1f), header[1], body, &mut heed) {
            return Reading::Part;
        }
    }
    if reading == Reading::Part && datagram.is_empty() { Reading::Whole } else { reading }
}

/// False: it is shorter than it says.
fn read_one(count: usize, kind: u8, body: &[u8], heed: &mut impl FnMut(Item)) -> bool {
    let mut words = body.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    if kind == BYE {
        let all = words.len() >= count;
        words.take(count).for_each(|ssrc| heed(Item::Bye(Ssrc(ssrc))));
        return all;
    }
    if kind == XR {
        let Some(from) = words.next() else { return false };
        return xr::read(body, |block| {
            heed(match block {
                xr::Block::ReceiverTime(time) => Item::ReceiverTime(Ssrc(from), time),
                xr::Block::Answer(about, answer) => Item::Answer(about, answer),
                xr::Block::Voip(about, metrics) => Item::Voip(about, metrics),
            });
        });
    }
    if kind != SR && kind != RR {
        return true;
    }
    let Some(ssrc) = words.next() else { return false };
    if kind == SR {
        let Some([high, low, timestamp, packets, octets]) = array(&mut words) else { return false };
        let ntp = NtpTime(u64::from(high) << 32 | u64::from(low));
        heed(Item::Sender(Ssrc(ssrc), SenderInfo { ntp, timestamp, packets, octets }));
    }
    for _ in 0..count {
        let Some([about, lost, highest_sequence, jitter, last_report, since_last_report]) = array(&mut words) else {
            return false;
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
    true
}

fn array<const N: usize>(words: &mut impl Iterator<Item = u32>) -> Option<[u32; N]> {
    let mut values = [0; N];
    for value in &mut values {
        *value = words.next()?;
    }
    Some(values)
}

/// Writes a compound of SR or RR, SDES, an extended report if it holds anything, and, with `bye`, BYE. Returns its length in bytes; 0 if
/// `out` is shorter than
/// [`MAX_COMPOUND`]. Only the first 64 bytes of `cname` are sent.
pub fn write(
    ssrc: Ssrc,
    sender: Option<SenderInfo>,
    block: Option<ReportBlock>,
    extended: &xr::Report,
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
    if !extended.is_empty() {
        let start = writer.begin(0, XR);
        let mut body = [0; xr::MAX_BODY];
        let length = xr::write(ssrc, extended, &mut body);
        writer.bytes(&body[..length]);
        writer.end(start);
    }
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
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PeerReport {
    /// Lost since its report before, in 1/256.
    pub fraction_lost: u8,
    /// Lost in all.
    pub cumulative_lost: i32,
    /// Interarrival jitter there, in units of the media clock.
    pub jitter: u32,
}

/// What goes into a report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    /// Our stream.
    pub sender: SenderInfo,
    /// The peer's, if any has been heard.
    pub reception: Option<ReceptionReport>,
    /// How it is heard, where extended reports are agreed.
    pub voip: Option<VoipMetrics>,
}

/// The RTCP of one leg: when to report, and what the peer reports.
#[derive(Debug)]
pub struct Session {
    ssrc: Ssrc,
    cname: Box<str>,
    /// When the last report went out, or the leg began.
    last: Instant,
    due: Instant,
    reported: bool,
    packets_reported: u64,
    /// The middle of the times that we have sent, by which alone a round trip is measured; 0 for none.
    sent: [u32; REMEMBERED],
    last_report: Option<(u32, Instant)>,
    receiver_time: Option<(Ssrc, u32, Instant)>,
    peer: Option<PeerReport>,
    round_trip: Option<Duration>,
    voip: Option<VoipMetrics>,
}

impl Session {
    /// The RTCP beside the stream that we send as `ssrc`. `cname` names this endpoint (RFC 7022: at random, not by address).
    pub fn new(ssrc: Ssrc, cname: &str, now: Instant, rng: &mut impl Rng) -> Session {
        Session {
            ssrc,
            cname: cname.into(),
            last: now,
            due: now + spread(rng) / 2,
            reported: false,
            packets_reported: 0,
            sent: [0; REMEMBERED],
            last_report: None,
            receiver_time: None,
            peer: None,
            round_trip: None,
            voip: None,
        }
    }

    /// Asks for what [`due`](Self::due) reads.
    pub fn warm(&self) {
        bring(&self.due);
    }

    /// Whether a report is to be written now: its time has come, and another throw of the dice does not put it off (section 6.3.6).
    pub fn due(&mut self, now: Instant, rng: &mut impl Rng) -> bool {
        if now < self.due {
            return false;
        }
        self.due = self.last + if self.reported { spread(rng) } else { spread(rng) / 2 };
        self.due <= now
    }

    /// Writes the report that is due into `out` ([`MAX_COMPOUND`] bytes at least) and returns its length.
    pub fn report(&mut self, now: Instant, rng: &mut impl Rng, state: &State, out: &mut [u8]) -> usize {
        self.reported = true;
        self.last = now;
        self.due = now + spread(rng);
        self.compound(now, state, false, out)
    }

    /// Writes the last report with BYE.
    pub fn bye(&mut self, now: Instant, state: &State, out: &mut [u8]) -> usize {
        self.compound(now, state, true, out)
    }

    /// Takes a datagram of the peer; `ntp` is the wall clock at its arrival.
    pub fn handle(&mut self, now: Instant, ntp: NtpTime, datagram: &[u8]) -> Reading {
        read(datagram, |item| match item {
            Item::Sender(_, info) => self.last_report = Some((info.ntp.middle(), now)),
            Item::Block(block) if block.reception.ssrc == self.ssrc => {
                let ReceptionReport { fraction_lost, cumulative_lost, jitter, .. } = block.reception;
                self.peer = Some(PeerReport { fraction_lost, cumulative_lost, jitter });
                self.measure(ntp, block.last_report, block.since_last_report);
            }
            Item::ReceiverTime(from, time) => self.receiver_time = Some((from, time.middle(), now)),
            Item::Answer(about, answer) if about == self.ssrc => self.measure(ntp, answer.time, answer.since),
            Item::Voip(about, metrics) if about == self.ssrc => self.voip = Some(metrics),
            // What others than we are told is theirs, and that the peer has gone is told by signalling.
            Item::Block(_) | Item::Answer(..) | Item::Voip(..) | Item::Bye(_) => {}
        })
    }

    /// What the peer has last reported about our stream.
    pub fn peer(&self) -> Option<PeerReport> {
        self.peer
    }

    /// How the peer hears us, if it has said so by an extended report.
    pub fn voip(&self) -> Option<VoipMetrics> {
        self.voip
    }

    /// The round trip to the peer and back, if it has answered a report of ours.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// `time` is one that we have sent, unless the peer made it up.
    fn measure(&mut self, ntp: NtpTime, time: u32, since: u32) {
        if time == 0 || !self.sent.contains(&time) {
            return;
        }
        let trip = ntp.middle().wrapping_sub(time).wrapping_sub(since);
        // A "negative" trip is the peer's rounding.
        let trip = if trip > u32::MAX / 2 { 0 } else { trip };
        self.round_trip = Some(Duration::from_nanos(u64::from(trip) * 1_000_000_000 / 65_536));
    }

    fn compound(&mut self, now: Instant, state: &State, bye: bool, out: &mut [u8]) -> usize {
        let State { sender, reception, voip } = *state;
        let active = u64::from(sender.packets) != self.packets_reported;
        self.packets_reported = u64::from(sender.packets);
        let since = |came: Instant| {
            let since = now.saturating_duration_since(came).as_nanos() * 65_536 / 1_000_000_000;
            u32::try_from(since).unwrap_or(u32::MAX)
        };
        let block = reception.map(|reception| {
            let (last_report, since_last_report) =
                self.last_report.map_or((0, 0), |(middle, came)| (middle, since(came)));
            ReportBlock { reception, last_report, since_last_report }
        });
        let extended = xr::Report {
            // Who is on hold sends nothing, and has no SR by which to measure.
            receiver_time: (voip.is_some() && !active).then_some(sender.ntp),
            answer: self.receiver_time.take().map(|(from, time, came)| (from, Answer { time, since: since(came) })),
            voip: reception.zip(voip).map(|(reception, voip)| (reception.ssrc, voip)),
        };
        if active || extended.receiver_time.is_some() {
            self.sent.rotate_right(1);
            self.sent[0] = sender.ntp.middle();
        }
        write(self.ssrc, active.then_some(sender), block, &extended, &self.cname, bye, out)
    }
}

fn spread(rng: &mut impl Rng) -> Duration {
    INTERVAL.mul_f64(rng.random_range(0.5..1.5) / COMPENSATION)
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

    fn state(packets: u32, reception: Option<ReceptionReport>) -> State {
        State { sender: info(packets), reception, voip: None }
    }

    #[test]
    fn the_longest_compound_fits_and_ends_on_words() {
        let block = ReportBlock { reception: reception(-1), last_report: 5, since_last_report: 6 };
        let (answer, metrics) = (Answer { time: 1, since: 2 }, VoipMetrics::default());
        let extended = xr::Report {
            receiver_time: Some(NtpTime(3)),
            answer: Some((Ssrc(7), answer)),
            voip: Some((Ssrc(7), metrics)),
        };
        for length in 0..80 {
            let mut out = [0xff; MAX_COMPOUND];
            let cname = "x".repeat(length);
            let written = write(Ssrc(1), Some(info(3)), Some(block), &extended, &cname, true, &mut out);
            assert_eq!(written % 4, 0);
            let read = [
                Item::Sender(Ssrc(1), info(3)),
                Item::Block(block),
                Item::ReceiverTime(Ssrc(1), NtpTime(3)),
                Item::Answer(Ssrc(7), answer),
                Item::Voip(Ssrc(7), metrics),
                Item::Bye(Ssrc(1)),
            ];
            assert_eq!(items(&out[..written]), read);
            assert_eq!(written == MAX_COMPOUND, length >= CNAME_MAX - 2, "{length}: {written}");
        }
        let nothing = xr::Report::default();
        assert_eq!(write(Ssrc(1), None, None, &nothing, "", false, &mut [0; MAX_COMPOUND - 1]), 0);
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
        let ours_then = State { sender: SenderInfo { ntp: ntp(1000), ..info(10) }, reception: None, voip: None };
        let length = ours.report(at(1000), &mut rng, &ours_then, &mut out);
        assert_eq!(peer.handle(at(1030), ntp(99_999), &out[..length]), Reading::Whole);
        assert_eq!(peer.peer(), None);
        let about_us = ReceptionReport { ssrc: Ssrc(1), ..reception(2) };
        let length = peer.report(at(1230), &mut rng, &state(5, Some(about_us)), &mut out);
        assert_eq!(ours.handle(at(1280), ntp(1280), &out[..length]), Reading::Whole);
        let heard = ours.peer().unwrap();
        assert_eq!((heard.fraction_lost, heard.cumulative_lost, heard.jitter), (9, 2, 33));
        let trip = ours.round_trip().unwrap();
        assert!(trip.abs_diff(Duration::from_millis(80)) < Duration::from_millis(1), "{trip:?}");
    }

    #[test]
    fn who_sends_nothing_measures_by_its_clock_alone() {
        let (mut rng, start) = (StdRng::seed_from_u64(4), epoch());
        let ntp = |ms: u64| NtpTime::from_unix(Duration::from_millis(1_700_000_000_000 + ms));
        let mut ours = Session::new(Ssrc(1), "ours", start, &mut rng);
        let mut peer = Session::new(Ssrc(7), "peer", start, &mut rng);
        let at = |ms| start + Duration::from_millis(ms);
        let mut out = [0; MAX_COMPOUND];
        let held = State {
            sender: SenderInfo { ntp: ntp(1000), ..info(0) },
            reception: Some(reception(3)),
            voip: Some(VoipMetrics { loss_rate: 0.5, ..VoipMetrics::default() }),
        };
        let length = ours.report(at(1000), &mut rng, &held, &mut out);
        assert_eq!(out[1], RR);
        peer.handle(at(1030), ntp(99_999), &out[..length]);
        assert_eq!(peer.voip().map(|voip| voip.loss_rate), Some(0.5));
        let length = peer.report(at(1230), &mut rng, &state(5, None), &mut out);
        assert_eq!(ours.handle(at(1280), ntp(1280), &out[..length]), Reading::Whole);
        let trip = ours.round_trip().unwrap();
        assert!(trip.abs_diff(Duration::from_millis(80)) < Duration::from_millis(1), "{trip:?}");
        let length = peer.report(at(6230), &mut rng, &state(5, None), &mut out);
        assert!(items(&out[..length]).iter().all(|item| !matches!(item, Item::Answer(..))), "answered once");
    }

    #[test]
    fn a_time_that_we_never_sent_measures_nothing() {
        let (mut rng, now) = (StdRng::seed_from_u64(4), epoch());
        let mut session = Session::new(Ssrc(7), "x", now, &mut rng);
        let mut out = [0; MAX_COMPOUND];
        session.report(now, &mut rng, &state(1, None), &mut out);
        for last_report in [0, 1, info(1).ntp.middle().wrapping_add(1)] {
            let block = ReportBlock { reception: reception(0), last_report, since_last_report: 0 };
            let length = write(Ssrc(9), None, Some(block), &xr::Report::default(), "y", false, &mut out);
            session.handle(now, info(1).ntp, &out[..length]);
            assert_eq!(session.round_trip(), None, "{last_report:x}");
        }
        assert!(session.peer().is_some());
    }

    #[test]
    fn reports_as_a_sender_only_after_sending() {
        let (mut rng, now) = (StdRng::seed_from_u64(5), epoch());
        let mut session = Session::new(Ssrc(1), "x", now, &mut rng);
        let mut out = [0; MAX_COMPOUND];
        for (packets, kind) in [(0, RR), (1, SR), (1, RR)] {
            session.report(now, &mut rng, &state(packets, None), &mut out);
            assert_eq!(out[1], kind);
        }
    }

    /// Looked at every millisecond, as a media thread might: the intervals lie as sections 6.2 and 6.3 have them.
    #[test]
    fn reports_come_every_five_seconds_in_the_mean_and_never_in_step() {
        let mut rng = StdRng::seed_from_u64(5);
        let (mut first, mut intervals) = (Vec::new(), Vec::new());
        let mut out = [0; MAX_COMPOUND];
        for _ in 0..200 {
            let (start, mut last) = (epoch(), None);
            let mut session = Session::new(Ssrc(1), "x", start, &mut rng);
            for ms in 0..60_000 {
                let now = start + Duration::from_millis(ms);
                if session.due(now, &mut rng) {
                    session.report(now, &mut rng, &state(1, None), &mut out);
                    match last.replace(ms) {
                        None => first.push(ms),
                        Some(last) => intervals.push(ms - last),
                    }
                }
            }
        }
        let mean = |all: &[u64]| all.iter().sum::<u64>() as f64 / all.len() as f64;
        let bounds = |all: &[u64]| (all.iter().copied().min().unwrap(), all.iter().copied().max().unwrap());
        assert!((2_300.0..2_700.0).contains(&mean(&first)), "{}", mean(&first));
        assert!((4_700.0..5_300.0).contains(&mean(&intervals)), "{}", mean(&intervals));
        let ((first_least, first_most), (least, most)) = (bounds(&first), bounds(&intervals));
        assert!(first_least >= 1_026 && first_most <= 3_080, "{first_least} to {first_most}");
        assert!(least >= 2_052 && most <= 6_158, "{least} to {most}");
        assert!(most - least > 3_000, "spread: {least} to {most}");
    }

    #[test]
    fn what_breaks_off_is_heard_as_far_as_it_goes_and_told() {
        let (mut rng, now) = (StdRng::seed_from_u64(6), epoch());
        let mut session = Session::new(Ssrc(1), "x", now, &mut rng);
        let mut reading = |bytes: &[u8]| session.handle(now, NtpTime(0), bytes);
        let unknown_then_bye = [0x80, 204, 0, 1, 1, 2, 3, 4, 0x81, BYE, 0, 1, 0, 0, 0, 7];
        assert_eq!(items(&unknown_then_bye), [Item::Bye(Ssrc(7))], "behind a type that we do not know");
        assert_eq!(reading(&unknown_then_bye), Reading::Whole);
        assert_eq!(reading(&unknown_then_bye[..15]), Reading::Part, "the second one is cut");
        assert_eq!(reading(&[0x82, BYE, 0, 1, 0, 0, 0, 7]), Reading::Part, "two are said to go, one is named");
        assert_eq!(reading(&[0x81, RR, 0, 1, 0, 0, 0, 7]), Reading::Part, "the block is missing");
        assert_eq!(reading(&[0x80, SR, 0, 1, 0, 0, 0, 7]), Reading::Part, "a sender without its figures");
        assert_eq!(reading(&[0x80, XR, 0, 0]), Reading::Part, "an extended report of nobody");
        for not_rtcp in [&[0x80, 8, 0, 0, 1, 2][..], &[0x80, 200, 0, 9], &[0x40, 200, 0, 0], &[0x80, 200], &[]] {
            assert_eq!(reading(not_rtcp), Reading::None, "{not_rtcp:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in prop_oneof![199u8..206, Just(XR)]) {
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
            let length = write(Ssrc(1), None, Some(block), &xr::Report::default(), "a", false, &mut out);
            prop_assert_eq!(items(&out[..length]), vec![Item::Block(block)]);
        }
    }
}
