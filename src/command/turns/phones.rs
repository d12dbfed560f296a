//! The callers' media: one thread, 20 ms of each phone at a time.
//!
//! A phone says what it is given, frame by frame, and keeps when each frame went out and when each packet of the robot came, by the kernel's
//! clock. On a line with an echo it sends back what it hears, later and softer.

use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::codec::g711::Law;
use crate::command::harness::Trouble;
use crate::command::harness::signalling::Media;
use crate::command::harness::sockets::Bound;
use crate::command::harness::ticks::{Ticks, due};
use crate::command::harness::wire::{FRAME, HEADER, Reader, header, unix_ns};
use crate::media::next_order;

/// What is kept of the robot's voice from one look to the next: for the echo.
const REACH: usize = 8_000;

/// What the phones are told.
#[derive(Debug)]
pub(super) enum Order {
    /// A call is up, or over.
    Media(Media),
    /// From the next frame on, after what is being said has been forgotten.
    Say { phone: usize, say: Say },
    /// What has been said and heard since the last look.
    Look { phone: usize, reply: oneshot::Sender<Seen> },
    /// How late this thread was, each time since the beginning, µs.
    Lateness { reply: oneshot::Sender<Vec<u32>> },
}

/// What a phone is to say.
#[derive(Debug, Default)]
pub(super) struct Say {
    pub(super) samples: Vec<i16>,
    /// While that lasts: the robot's voice comes back, changed by so many dB, after so many ms.
    pub(super) echo: Option<(f32, u32)>,
}

/// A packet of the robot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    /// When it came, ns.
    pub(super) at: i64,
    /// It is not silence.
    pub(super) loud: bool,
}

/// What a phone has said and heard.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// When each frame of what was to be said went out, ns.
    pub(super) sent: Vec<i64>,
    pub(super) heard: Vec<Packet>,
    /// By sequence numbers.
    pub(super) lost: u64,
    /// Both sides since the last look, as they were on the wire.
    pub(super) said: Vec<i16>,
    pub(super) robot: Vec<i16>,
}

#[derive(Default)]
struct Phone {
    remote: Option<SocketAddr>,
    frame: u64,
    sequence: Option<u16>,
    say: Say,
    /// Samples of it that are out.
    out: usize,
    /// Where in `seen.robot` the echo is read; none before it begins.
    echo_at: Option<usize>,
    seen: Seen,
}

/// Starts the thread; it ends when nobody can tell it anything any more.
pub(super) fn start(bound: Bound, phones: usize) -> Result<mpsc::UnboundedSender<Order>, Trouble> {
    let (orders, inbox) = mpsc::unbounded_channel();
    let phones = (0..phones).map(|_| Phone::default()).collect();
    let wheel = Wheel { bound, phones, inbox, lateness: Vec::new() };
    let thread = std::thread::Builder::new().name("turns-phones".to_owned());
    thread.spawn(move || wheel.run()).map_err(|error| Trouble::Socket(error.to_string()))?;
    Ok(orders)
}

struct Wheel {
    bound: Bound,
    phones: Vec<Phone>,
    inbox: mpsc::UnboundedReceiver<Order>,
    lateness: Vec<u32>,
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
            self.lateness.push(now.saturating_sub(Duration::from_millis(*passed.start())).as_micros() as u32);
            for tick in passed {
                due(tick, self.phones.len()).for_each(|n| self.speak(n));
            }
            self.listen(&mut reader);
        }
    }

    fn obey(&mut self) -> bool {
        loop {
            match next_order(&mut self.inbox) {
                Poll::Ready(Some(Order::Media(Media::Start { phone, remote }))) => {
                    self.bound.begin(phone, remote);
                    self.phones[phone] = Phone { remote: Some(remote), ..Phone::default() };
                }
                Poll::Ready(Some(Order::Media(Media::Stop { phone }))) => {
                    if let Some(remote) = self.phones[phone].remote.take() {
                        self.bound.end(phone, remote);
                    }
                }
                Poll::Ready(Some(Order::Say { phone, say })) => {
                    let phone = &mut self.phones[phone];
                    (phone.say, phone.out, phone.echo_at) = (say, 0, None);
                    phone.seen.sent.clear();
                }
                // Whoever asked has gone.
                Poll::Ready(Some(Order::Look { phone, reply })) => drop(reply.send(self.phones[phone].look())),
                Poll::Ready(Some(Order::Lateness { reply })) => drop(reply.send(self.lateness.clone())),
                Poll::Pending => return true,
                Poll::Ready(None) => return false,
            }
        }
    }

    /// One packet of one phone.
    fn speak(&mut self, n: usize) {
        let phone = &mut self.phones[n];
        let Some(remote) = phone.remote else { return };
        let mut packet = [0; HEADER + FRAME];
        let timestamp = (phone.frame as u32).wrapping_mul(FRAME as u32);
        header(&mut packet, phone.frame == 0, phone.frame as u16, timestamp, n as u32);
        phone.next_frame(&mut packet[HEADER..]);
        // The server's own count of what it got tells of a loss.
        let _ = self.bound.of(n).rtp.send_to(&packet, remote);
        phone.frame += 1;
    }

    fn listen(&mut self, reader: &mut Reader) {
        let Wheel { bound, phones, .. } = self;
        // Reports are not counted here.
        bound.read(reader, |phone, at, packet| {
            if let Some(n) = phone {
                phones[n].hear(at, packet);
            }
        });
    }
}

impl Phone {
    fn next_frame(&mut self, payload: &mut [u8]) {
        let mut frame = [0; FRAME];
        let rest = &self.say.samples[self.out.min(self.say.samples.len())..];
        let n = rest.len().min(FRAME);
        frame[..n].copy_from_slice(&rest[..n]);
        if n > 0 {
            self.seen.sent.push(unix_ns());
            if let Some((db, delay_ms)) = self.say.echo {
                let behind = self.seen.robot.len().saturating_sub(delay_ms as usize * 8);
                let at = self.echo_at.get_or_insert(behind);
                let gain = 10f32.powf(db / 20.0);
                for (sample, robot) in frame.iter_mut().zip(self.seen.robot.iter().skip(*at)) {
                    *sample = sample.saturating_add((f32::from(*robot) * gain) as i16);
                }
                *at += FRAME;
            }
        }
        self.out += n;
        self.seen.said.extend(frame);
        Law::A.encode(&frame, payload);
    }

    fn hear(&mut self, at: i64, packet: &[u8]) {
        let (Some(sequence), Some(payload)) = (packet.get(2..4), packet.get(HEADER..HEADER + FRAME)) else { return };
        let sequence = u16::from_be_bytes([sequence[0], sequence[1]]);
        let step = self.sequence.map_or(1, |before| sequence.wrapping_sub(before));
        if step == 0 || step > 0x8000 {
            return;
        }
        self.seen.lost += u64::from(step - 1);
        self.sequence = Some(sequence);
        let mut samples = [0; FRAME];
        Law::A.decode(payload, &mut samples);
        self.seen.robot.extend(samples);
        self.seen.heard.push(Packet { at, loud: payload.iter().any(|byte| *byte != Law::A.silence()) });
    }

    /// Gives what has been seen; keeps of the robot's voice what an echo may still need.
    fn look(&mut self) -> Seen {
        let kept = self.seen.robot[self.seen.robot.len().saturating_sub(REACH)..].to_vec();
        self.echo_at = self.echo_at.map(|at| at.saturating_sub(self.seen.robot.len() - kept.len()));
        let mut seen = std::mem::take(&mut self.seen);
        // What was kept the last time has been told then.
        seen.robot.drain(..seen.robot.len() - (seen.heard.len() * FRAME).min(seen.robot.len()));
        self.seen.robot = kept;
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16, value: i16) -> [u8; HEADER + FRAME] {
        let mut packet = [0; HEADER + FRAME];
        header(&mut packet, false, sequence, 0, 1);
        Law::A.encode(&[value; FRAME], &mut packet[HEADER..]);
        packet
    }

    #[test]
    fn a_line_with_an_echo_gives_back_what_was_heard_so_many_ms_ago() {
        let mut phone = Phone::default();
        (0..10).for_each(|n| phone.hear(0, &packet(n, 1_000 * (n as i16 + 1))));
        phone.say = Say { samples: vec![0; 3 * FRAME], echo: Some((-20.0, 60)) };
        let mut said = Vec::new();
        for n in 10..14 {
            let mut payload = [0; FRAME];
            phone.next_frame(&mut payload);
            let mut samples = [0; FRAME];
            Law::A.decode(&payload, &mut samples);
            said.push(samples[80]);
            phone.hear(0, &packet(n, 1_000 * (n as i16 + 1)));
        }
        let off: Vec<i16> = said.iter().zip([800, 900, 1_000, 0]).map(|(said, wanted)| said - wanted).collect();
        assert!(off.iter().all(|off| off.abs() < 40), "{said:?}");
    }

    #[test]
    fn what_was_seen_is_told_once() {
        let mut phone = Phone::default();
        phone.hear(7, &packet(3, 0));
        phone.hear(8, &packet(5, 900));
        phone.hear(9, &packet(5, 900));
        let seen = phone.look();
        assert_eq!((seen.heard.len(), seen.lost, seen.robot.len()), (2, 1, 2 * FRAME));
        assert!(!seen.heard[0].loud && seen.heard[1].loud);
        phone.hear(10, &packet(6, 900));
        assert_eq!(phone.look().robot.len(), FRAME, "what is kept for the echo is not told again");
    }
}
