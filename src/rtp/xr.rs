//! RFC 3611: extended reports, of which we write and read three blocks.
//!
//! | block         | type | we send                                       | we read                                      |
//! |---------------|------|-----------------------------------------------|----------------------------------------------|
//! | receiver time | 4    | beside an RR: who sends nothing has no SR      | and answer it with the next                  |
//! | DLRR          | 5    | to who has sent a receiver time                | the round trip, as LSR and DLSR of a report  |
//! | VoIP metrics  | 7    | about what we hear                             | about what the far end hears                 |
//!
//! Other blocks are stepped over (section 4).

use serde::Serialize;

use super::bursts::GMIN;
use super::packet::Ssrc;
use super::rtcp::NtpTime;
use crate::ms::Ms;

const RECEIVER_TIME: u8 = 4;
const DLRR: u8 = 5;
const VOIP: u8 = 7;
/// Bytes of a VoIP metrics block without its header.
const VOIP_LEN: usize = 32;
/// Bytes of the longest packet body we write: SSRC, receiver time, DLRR and VoIP metrics.
pub(super) const MAX_BODY: usize = 4 + 12 + 16 + 4 + VOIP_LEN;
/// What stands for "not known" in a byte.
const UNKNOWN: u8 = 127;
/// Packet loss concealment enhanced (10), buffer adaptive (11), and of the slowest rate of adjustment that can be told (15): section 4.7.6.
const RECEIVER_CONFIGURATION: u8 = 0b1011_1111;

/// How somebody hears a stream (section 4.7): since its beginning in a report, of the whole call in its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct VoipMetrics {
    /// The share of packets that were lost, 0 to 1.
    pub loss_rate: f32,
    /// The share of packets that came and could not be played: too late, or no room for them.
    pub discard_rate: f32,
    /// The share of packets in bursts that were lost or discarded.
    pub burst_density: f32,
    /// The share of packets between bursts that were lost or discarded.
    pub gap_density: f32,
    /// Mean length of a burst; 0 for none.
    pub burst_ms: Ms,
    /// Mean length of a gap between bursts; 0 for none.
    pub gap_ms: Ms,
    /// From one RTP interface to the other and back.
    pub round_trip_ms: Option<Ms>,
    /// What the end itself adds: the jitter buffer's delay and that of making packets.
    pub end_system_ms: Option<Ms>,
    /// Mean level of the speech, dBm0.
    pub signal_dbm0: Option<i8>,
    /// Mean level of what is between speech, dBm0.
    pub noise_dbm0: Option<i8>,
    /// Residual echo return loss, dB.
    pub echo_loss_db: Option<u8>,
    /// Rating of the conversation by the E-model (G.107), 0 to 100.
    pub r_factor: Option<f32>,
    /// How it sounds, 1 to 5.
    pub mos_lq: Option<f32>,
    /// How it talks, delay included, 1 to 5.
    pub mos_cq: Option<f32>,
    /// What the jitter buffer aims at.
    pub buffer_ms: Option<Ms>,
    /// The longest that it may wait.
    pub buffer_max_ms: Option<Ms>,
}

/// The second half of a DLRR block: answers a receiver time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The middle 32 bits of the receiver time.
    pub time: u32,
    /// How long ago it came, in 1/65 536 s.
    pub since: u32,
}

/// One thing read from an extended report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Block {
    ReceiverTime(NtpTime),
    /// About whom.
    Answer(Ssrc, Answer),
    /// About whose stream.
    Voip(Ssrc, VoipMetrics),
}

/// What an extended report of ours is to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Our clock.
    pub receiver_time: Option<NtpTime>,
    /// To whom, and what.
    pub answer: Option<(Ssrc, Answer)>,
    /// About whose stream, and how we hear it.
    pub voip: Option<(Ssrc, VoipMetrics)>,
}

impl Report {
    pub(super) fn is_empty(&self) -> bool {
        *self == Report::default()
    }
}

/// Writes the body that follows the packet's header; returns its length.
pub(super) fn write(sender: Ssrc, report: &Report, out: &mut [u8; MAX_BODY]) -> usize {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&sender.0.to_be_bytes());
    if let Some(time) = report.receiver_time {
        put(&[RECEIVER_TIME, 0, 0, 2]);
        put(&time.0.to_be_bytes());
    }
    if let Some((about, answer)) = report.answer {
        put(&[DLRR, 0, 0, 3]);
        put(&about.0.to_be_bytes());
        put(&answer.time.to_be_bytes());
        put(&answer.since.to_be_bytes());
    }
    if let Some((about, metrics)) = report.voip {
        put(&[VOIP, 0, 0, 8]);
        put(&about.0.to_be_bytes());
        put(&voip(&metrics));
    }
    at
}

/// Reads the body of a packet; false: it broke off in the middle of a block.
pub(super) fn read(body: &[u8], mut heed: impl FnMut(Block)) -> bool {
    let Some((_, mut blocks)) = body.split_first_chunk::<4>() else { return false };
    while let Some((header, rest)) = blocks.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
        let Some((block, following)) = rest.split_at_checked(length) else { return false };
        match header[0] {
            RECEIVER_TIME => {
                let Some(time) = block.first_chunk::<8>() else { return false };
                heed(Block::ReceiverTime(NtpTime(u64::from_be_bytes(*time))));
            }
            DLRR => {
                for answer in block.chunks_exact(12) {
                    heed(Block::Answer(
                        Ssrc(word(answer, 0)),
                        Answer { time: word(answer, 4), since: word(answer, 8) },
                    ));
                }
            }
            VOIP => {
                let Some((about, metrics)) = block.split_first_chunk::<4>() else { return false };
                let Some(metrics) = metrics.first_chunk::<28>() else { return false };
                heed(Block::Voip(Ssrc(u32::from_be_bytes(*about)), read_voip(metrics)));
            }
            _ => {}
        }
        blocks = following;
    }
    blocks.is_empty()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk::<4>().map_or(0, |word| u32::from_be_bytes(*word))
}

/// All but the source (section 4.7).
fn voip(m: &VoipMetrics) -> [u8; 28] {
    // "By multiplying by 256 and taking the integer part"; what is all of it is told as 255.
    let share = |share: f32| (share * 256.0) as u8;
    let ms = |ms: Ms| u16::try_from(ms.0).unwrap_or(u16::MAX).to_be_bytes();
    // A delay that is not known is 0.
    let delay = |delay: Option<Ms>| ms(delay.unwrap_or_default());
    let level = |level: Option<i8>| level.map_or(UNKNOWN, |level| level as u8);
    let score = |score: Option<f32>, times: f32| score.map_or(UNKNOWN, |score| (score * times).round() as u8);
    let (burst, gap, trip, system) = (ms(m.burst_ms), ms(m.gap_ms), delay(m.round_trip_ms), delay(m.end_system_ms));
    let (nominal, most) = (delay(m.buffer_ms), delay(m.buffer_max_ms));
    [
        share(m.loss_rate),
        share(m.discard_rate),
        share(m.burst_density),
        share(m.gap_density),
        burst[0],
        burst[1],
        gap[0],
        gap[1],
        trip[0],
        trip[1],
        system[0],
        system[1],
        level(m.signal_dbm0),
        level(m.noise_dbm0),
        m.echo_loss_db.unwrap_or(UNKNOWN),
        GMIN as u8,
        score(m.r_factor, 1.0),
        // The rating of what lies beyond us is nobody's here to know.
        UNKNOWN,
        score(m.mos_lq, 10.0),
        score(m.mos_cq, 10.0),
        RECEIVER_CONFIGURATION,
        0,
        nominal[0],
        nominal[1],
        // The buffer is adaptive and may grow up to its limit: what it may hold now and what it ever may are the same.
        most[0],
        most[1],
        most[0],
        most[1],
    ]
}

fn read_voip(b: &[u8; 28]) -> VoipMetrics {
    let share = |at: usize| f32::from(b[at]) / 256.0;
    let ms = |at: usize| Ms(u32::from(u16::from_be_bytes([b[at], b[at + 1]])));
    let delay = |at: usize| Some(ms(at)).filter(|ms| ms.0 > 0);
    let level = |at: usize| Some(b[at] as i8).filter(|_| b[at] != UNKNOWN);
    let opinion = |at: usize| Some(b[at]).filter(|mos| (10..=50).contains(mos)).map(|mos| f32::from(mos) / 10.0);
    VoipMetrics {
        loss_rate: share(0),
        discard_rate: share(1),
        burst_density: share(2),
        gap_density: share(3),
        burst_ms: ms(4),
        gap_ms: ms(6),
        round_trip_ms: delay(8),
        end_system_ms: delay(10),
        signal_dbm0: level(12),
        noise_dbm0: level(13),
        echo_loss_db: Some(b[14]).filter(|loss| *loss != UNKNOWN),
        r_factor: Some(b[16]).filter(|r| *r <= 100).map(f32::from),
        mos_lq: opinion(18),
        mos_cq: opinion(19),
        buffer_ms: delay(22),
        buffer_max_ms: delay(26),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocks(body: &[u8]) -> (Vec<Block>, bool) {
        let mut blocks = Vec::new();
        let whole = read(body, |block| blocks.push(block));
        (blocks, whole)
    }

    #[test]
    fn a_block_of_metrics_lies_as_the_figure_has_it() {
        let metrics = VoipMetrics {
            loss_rate: 0.25,
            discard_rate: 1.0,
            burst_density: 0.5,
            gap_density: 0.01,
            burst_ms: Ms(0x123),
            gap_ms: Ms(1_000_000),
            round_trip_ms: Some(Ms(0x102)),
            end_system_ms: None,
            signal_dbm0: Some(-20),
            noise_dbm0: None,
            echo_loss_db: None,
            r_factor: Some(80.6),
            mos_lq: Some(4.06),
            mos_cq: None,
            buffer_ms: Some(Ms(40)),
            buffer_max_ms: Some(Ms(200)),
        };
        let mut out = [0; MAX_BODY];
        let report = Report { voip: Some((Ssrc(0x0102_0304), metrics)), ..Report::default() };
        let length = write(Ssrc(9), &report, &mut out);
        #[rustfmt::skip]
        assert_eq!(out[..length], [
            0, 0, 0, 9,
            7, 0, 0, 8,
            1, 2, 3, 4,
            64, 255, 128, 2,
            1, 0x23, 0xff, 0xff,
            1, 2, 0, 0,
            0xec, 127, 127, 16,
            81, 127, 41, 127,
            0b1011_1111, 0, 0, 40,
            0, 200, 0, 200,
        ]);
        let (read, whole) = blocks(&out[..length]);
        let Block::Voip(about, told) = read[0] else { panic!("{read:?}") };
        assert_eq!((about, read.len(), whole), (Ssrc(0x0102_0304), 1, true));
        assert_eq!((told.loss_rate, told.burst_density, told.burst_ms), (0.25, 0.5, Ms(0x123)));
        assert_eq!((told.end_system_ms, told.noise_dbm0, told.echo_loss_db, told.mos_cq), (None, None, None, None));
        assert_eq!((told.signal_dbm0, told.r_factor, told.mos_lq), (Some(-20), Some(81.0), Some(4.1)));
    }

    #[test]
    fn what_is_not_known_is_stepped_over_and_what_is_cut_is_told() {
        // A block of a type of tomorrow, and a receiver time after it.
        let mut body = vec![0, 0, 0, 9, 99, 0, 0, 1, 1, 2, 3, 4, 4, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        assert_eq!(blocks(&body), (vec![Block::ReceiverTime(NtpTime(1 << 32 | 2))], true));
        body.pop();
        assert_eq!(blocks(&body), (vec![], false));
        // A VoIP block that says of itself that it is too short.
        assert_eq!(blocks(&[0, 0, 0, 9, 7, 0, 0, 1, 0, 0, 0, 1]), (vec![], false));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_written_the_same(seed: [u8; 28], about: u32, answer: (u32, u32), time: u64) {
            let metrics = read_voip(&seed);
            let answer = Answer { time: answer.0, since: answer.1 };
            let report = Report {
                receiver_time: Some(NtpTime(time)),
                answer: Some((Ssrc(about), answer)),
                voip: Some((Ssrc(about), metrics)),
            };
            let mut out = [0; MAX_BODY];
            let length = write(Ssrc(3), &report, &mut out);
            prop_assert_eq!(length, MAX_BODY);
            let expected = vec![
                Block::ReceiverTime(NtpTime(time)),
                Block::Answer(Ssrc(about), answer),
                Block::Voip(Ssrc(about), metrics),
            ];
            prop_assert_eq!(blocks(&out), (expected, true));
        }

        #[test]
        fn no_bytes_panic(body: Vec<u8>) {
            blocks(&body);
        }
    }
}
