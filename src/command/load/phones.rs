//! The media of all phones: one thread, one wheel, a few sockets.
//!
//! The phones of an address share a socket: the server gives each call a port of its own, by which the phone is told. So one system call
//! reads the packets of sixty calls, and the harness costs a fraction of what it measures. Each packet has the kernel's time of arrival:
//! what is measured is when the server sent it, not when this thread came to read it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::Trouble;
use super::histogram::Histogram;
use super::speech::{Phrases, SILENCE, Words, is_voice};
use crate::command::harness::signalling::Media;
use crate::command::harness::sockets::Bound;
use crate::command::harness::ticks::{Ticks, due};
use crate::command::harness::wire::{FRAME, HEADER, Reader, header, unix_ns};
use crate::media::next_order;

/// A turn of the conversation, in frames: the caller interrupts, is answered, and asks.
const TURN: u64 = 500;
const INTERRUPTS_AT: u64 = 125;
const ASKS_AT: u64 = 400;
/// Frames of silence after which the robot counts as silent.
const SILENT: u32 = 10;
/// A robot that sends nothing while it is silent is silent for longer than this; a packet that comes so late is not late, but the next prompt's
/// first.
const PAUSE_NS: i64 = 1_000_000_000;
/// A sender report each 5 s.
const REPORT: u64 = 250;

/// What the phones are told.
pub(super) enum ToPhones {
    /// A call is up, or over.
    Media(Media),
    /// What was measured so far is forgotten, or is given back.
    Begin,
    Take {
        reply: oneshot::Sender<Measured>,
    },
}

/// What the phones have seen.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) packets: u64,
    /// By sequence numbers.
    pub(super) lost: u64,
    pub(super) strange: u64,
    /// More than 20 ms from their place.
    pub(super) late: u64,
    pub(super) reports: u64,
    /// Packets with the robot's voice.
    pub(super) voiced: u64,
    /// Prompts that began after a pause without packets.
    pub(super) pauses: u64,
    /// Distance of two packets from 20 ms.
    pub(super) pacing: Histogram,
    /// From the caller's first sound to the robot's last packet.
    pub(super) interruption: Histogram,
    /// The robot spoke on.
    pub(super) not_interrupted: u64,
    /// This thread's own lateness: whether the harness can be believed.
    pub(super) own_lateness: Histogram,
}

impl Measured {
    fn new() -> Measured {
        Measured {
            packets: 0,
            lost: 0,
            strange: 0,
            late: 0,
            reports: 0,
            voiced: 0,
            pauses: 0,
            pacing: Histogram::of_pacing(),
            interruption: Histogram::of_waiting(),
            not_interrupted: 0,
            own_lateness: Histogram::of_pacing(),
        }
    }
}

/// When each phone last spoke, in µs since `origin`; 0: never. For whoever measures what became of the words.
#[derive(Debug)]
pub(super) struct Spoken {
    origin: Instant,
    until: Vec<AtomicU64>,
}

impl Spoken {
    pub(super) fn new(phones: usize) -> Spoken {
        Spoken { origin: Instant::now(), until: (0..phones).map(|_| AtomicU64::new(0)).collect() }
    }

    fn mark(&self, phone: usize) {
        if let Some(until) = self.until.get(phone) {
            until.store(self.origin.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
    }

    /// µs since the phone sent its last voiced packet; none if that is not of this turn.
    pub(super) fn ago(&self, phone: usize) -> Option<u64> {
        let until = self.until.get(phone)?.load(Ordering::Relaxed);
        let ago = (self.origin.elapsed().as_micros() as u64).checked_sub(until)?;
        (until > 0 && ago < 6_000_000).then_some(ago)
    }
}

struct Phone {
    remote: Option<SocketAddr>,
    frame: u64,
    sequence: u16,
    heard: Option<(u16, i64)>,
    /// The caller began to speak over the robot; its last packet with a voice since.
    onset: Option<i64>,
    loud: i64,
    silent: u32,
}

/// Starts their thread; it ends when nobody can tell it anything any more. `pauses`: the server sends nothing while the robot is silent.
pub(super) fn start(
    bound: Bound,
    phones: usize,
    phrases: Phrases,
    spoken: Arc<Spoken>,
    pauses: bool,
) -> Result<mpsc::UnboundedSender<ToPhones>, Trouble> {
    let (orders, inbox) = mpsc::unbounded_channel();
    let wheel = Wheel {
        bound,
        phones: (0..phones).map(|_| Phone::idle()).collect(),
        phrases,
        spoken,
        pauses,
        measured: Measured::new(),
        inbox,
    };
    let thread = std::thread::Builder::new().name("load-phones".to_owned());
    thread.spawn(move || wheel.run()).map_err(|error| Trouble::Socket(error.to_string()))?;
    Ok(orders)
}

impl Phone {
    fn idle() -> Phone {
        Phone { remote: None, frame: 0, sequence: 0, heard: None, onset: None, loud: 0, silent: 0 }
    }

    /// What the caller says in this frame, and whether his voice begins or ends with it.
    fn says<'a>(&self, phrases: &'a Phrases) -> Option<(&'a Words, usize)> {
        let at = self.frame % TURN;
        let (words, from) = match at {
            ASKS_AT.. => (&phrases.question, ASKS_AT),
            INTERRUPTS_AT.. => (&phrases.interruption, INTERRUPTS_AT),
            _ => return None,
        };
        let n = (at - from) as usize;
        (n < words.frames.len()).then_some((words, n))
    }
}

struct Wheel {
    bound: Bound,
    phones: Vec<Phone>,
    phrases: Phrases,
    spoken: Arc<Spoken>,
    pauses: bool,
    measured: Measured,
    inbox: mpsc::UnboundedReceiver<ToPhones>,
}

impl Wheel {
    fn run(mut self) {
        let mut reader = Reader::new();
        let mut ticks = Ticks::begin();
        loop {
            ticks.wait();
            if !self.obey() {
                return;
            }
            let (now, passed) = ticks.passed();
            for tick in passed {
                let late = now.saturating_sub(Duration::from_millis(tick));
                self.measured.own_lateness.add(late.as_micros() as u64);
                due(tick, self.phones.len()).for_each(|n| self.speak(n));
            }
            if (now.as_millis() as u64).is_multiple_of(2) {
                self.listen(&mut reader);
            }
        }
    }

    fn obey(&mut self) -> bool {
        loop {
            match next_order(&mut self.inbox) {
                Poll::Ready(Some(ToPhones::Media(Media::Start { phone, remote }))) => {
                    self.bound.begin(phone, remote);
                    self.phones[phone] = Phone { remote: Some(remote), ..Phone::idle() };
                }
                Poll::Ready(Some(ToPhones::Media(Media::Stop { phone }))) => {
                    if let Some(remote) = self.phones[phone].remote.take() {
                        self.bound.end(phone, remote);
                    }
                }
                Poll::Ready(Some(ToPhones::Begin)) => {
                    self.measured = Measured::new();
                    self.phones.iter_mut().for_each(|phone| phone.onset = None);
                }
                // Whoever asked has gone.
                Poll::Ready(Some(ToPhones::Take { reply })) => drop(reply.send(self.measured.clone())),
                Poll::Pending => return true,
                Poll::Ready(None) => return false,
            }
        }
    }

    /// One packet of one phone.
    fn speak(&mut self, n: usize) {
        let phone = &mut self.phones[n];
        let Some(remote) = phone.remote else { return };
        let mut packet = [SILENCE; HEADER + FRAME];
        let timestamp = (phone.frame as u32).wrapping_mul(FRAME as u32);
        header(&mut packet, phone.frame == 0, phone.sequence, timestamp, n as u32);
        if let Some((words, at)) = phone.says(&self.phrases) {
            packet[HEADER..].copy_from_slice(&words.frames[at]);
            if at == words.first && std::ptr::eq(words, &self.phrases.interruption) {
                phone.onset = Some(unix_ns());
                (phone.loud, phone.silent) = (0, 0);
            }
            if at == words.last {
                self.spoken.mark(n);
            }
            if at + 1 == words.frames.len() && phone.onset.take().is_some() {
                self.measured.not_interrupted += 1;
            }
        }
        let socket = self.bound.of(n);
        // The server's own count of what it got tells of a loss.
        let _ = socket.rtp.send_to(&packet, remote);
        if phone.frame % REPORT == REPORT / 2 {
            let report = sender_report(n as u32, timestamp, phone.frame as u32);
            let _ = socket.rtcp.send_to(&report, SocketAddr::new(remote.ip(), remote.port() + 1));
        }
        phone.frame += 1;
        phone.sequence = phone.sequence.wrapping_add(1);
    }

    fn listen(&mut self, reader: &mut Reader) {
        let Wheel { bound, phones, measured, pauses, .. } = self;
        let reports = bound.read(reader, |phone, at, packet| match phone {
            None => measured.strange += 1,
            Some(n) => phones[n].heard(at, packet, *pauses, measured),
        });
        measured.reports += reports;
    }
}

impl Phone {
    fn heard(&mut self, at: i64, packet: &[u8], pauses: bool, measured: &mut Measured) {
        let (Some(sequence), Some(payload)) = (packet.get(2..4), packet.get(HEADER..)) else {
            measured.strange += 1;
            return;
        };
        let sequence = u16::from_be_bytes([sequence[0], sequence[1]]);
        let voiced = is_voice(payload);
        measured.packets += 1;
        measured.voiced += u64::from(voiced);
        if let Some((before, then)) = self.heard {
            match sequence.wrapping_sub(before) {
                1 if pauses && at - then > PAUSE_NS => measured.pauses += 1,
                1 => {
                    let off = (at - then - 20_000_000).unsigned_abs() / 1_000;
                    measured.pacing.add(off);
                    measured.late += u64::from(off > 20_000);
                }
                0 | 0x8000.. => measured.strange += 1,
                step => measured.lost += u64::from(step - 1),
            }
        }
        self.heard = Some((sequence, at));
        if let Some(onset) = self.onset {
            if voiced {
                (self.loud, self.silent) = (at, 0);
                return;
            }
            self.silent += 1;
            if self.silent >= SILENT {
                self.onset = None;
                // A robot that was silent anyway was not interrupted.
                if self.loud > onset {
                    measured.interruption.add((self.loud - onset) as u64 / 1_000);
                }
            }
        }
    }
}

/// RFC 3550 §6.4.1 and §6.5: a sender report without blocks, and a name.
fn sender_report(ssrc: u32, timestamp: u32, packets: u32) -> [u8; 44] {
    let mut report = [0; 44];
    let mut put = |at: usize, word: u32| report[at..at + 4].copy_from_slice(&word.to_be_bytes());
    let unix = unix_ns();
    put(0, 0x80c8_0006);
    put(4, ssrc);
    put(8, ((unix / 1_000_000_000) as u32).wrapping_add(2_208_988_800));
    put(12, (((unix % 1_000_000_000) << 32) / 1_000_000_000) as u32);
    put(16, timestamp);
    put(20, packets);
    put(24, packets.wrapping_mul(FRAME as u32));
    put(28, 0x81ca_0003);
    put(32, ssrc);
    // CNAME, 4 bytes; then the end, padded to a word.
    put(36, 0x0104_6c6f);
    put(40, 0x6164_0000);
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_phone_hears_is_counted() {
        let (mut phone, mut measured) = (Phone::idle(), Measured::new());
        let mut packet = [0; HEADER + FRAME];
        let mut hear = |sequence: u16, ms: f64, voice: u8, phone: &mut Phone| {
            header(&mut packet, false, sequence, 0, 1);
            packet[HEADER..].fill(voice);
            phone.heard((ms * 1e6) as i64, &packet, false, &mut measured);
        };
        hear(65_534, 0.0, 1, &mut phone);
        hear(65_535, 20.5, 1, &mut phone);
        phone.onset = Some(30_000_000);
        hear(0, 40.5, 1, &mut phone);
        hear(3, 100.0, 1, &mut phone);
        hear(3, 100.1, 1, &mut phone);
        (0..SILENT as u16).for_each(|n| hear(4 + n, 145.0 + 20.0 * f64::from(n), SILENCE, &mut phone));
        let Measured { packets, lost, strange, late, pacing, interruption, .. } = measured;
        assert_eq!((packets, lost, strange, late), (15, 2, 1, 1));
        assert_eq!((pacing.max(), interruption.count(), interruption.max()), (24_900, 1, 70_100));
    }

    #[test]
    fn a_pause_is_not_late_where_there_may_be_one() {
        let mut packet = [1; HEADER + FRAME];
        for (pauses, expected) in [(true, (2, 1, 20_000)), (false, (3, 0, 1_880_000))] {
            let (mut phone, mut measured) = (Phone::idle(), Measured::new());
            for (n, ms) in [0, 20, 1_920, 1_960].into_iter().enumerate() {
                header(&mut packet, false, n as u16, 0, 1);
                phone.heard(ms * 1_000_000, &packet, pauses, &mut measured);
            }
            assert_eq!((measured.pacing.count(), measured.pauses, measured.pacing.max()), expected);
            assert_eq!((measured.voiced, measured.lost), (4, 0));
        }
    }

    #[test]
    fn reports_are_rtcp() {
        let mut items = 0;
        let reading = crate::rtp::rtcp::read(&sender_report(7, 160, 1), |_| items += 1);
        assert_eq!(reading, crate::rtp::rtcp::Reading::Whole);
        assert!(items > 0);
    }
}
