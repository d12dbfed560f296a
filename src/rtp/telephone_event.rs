//! RFC 4733: keys as telephone events (and RFC 2833, which it replaces).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |     event     |E|R|  volume   |          duration             |
//! ```
//!
//! One press of the key 5 for 100 ms, sent every 20 ms, in the sequence of the audio around it:
//!
//! | packet     | marker | sequence | timestamp | event | E | duration |
//! |------------|--------|----------|-----------|-------|---|----------|
//! | first      | 1      | n        | T         | 5     | 0 | 160      |
//! | update     | 0      | n+1      | T         | 5     | 0 | 320      |
//! | update     | 0      | n+2      | T         | 5     | 0 | 480      |
//! | update     | 0      | n+3      | T         | 5     | 0 | 640      |
//! | end        | 0      | n+4      | T         | 5     | 1 | 800      |
//! | end, again | 0      | n+5      | T         | 5     | 1 | 800      |
//! | end, again | 0      | n+6      | T         | 5     | 1 | 800      |
//!
//! A press is known by its timestamp, so that any one of these packets suffices, in any order. Two kinds of senders deviate: those
//! that move the timestamp with each packet, and long presses cut into segments of 65 535 units (section 2.5.1.3). Both begin
//! before the press known so far has ended, or exactly there, which a new press of the same key cannot.

use std::fmt;
use std::time::{Duration, Instant};

use crate::ms::Ms;

/// A press whose end has been lost counts as ended when nothing more of it has come for this long.
const LOST_END: Duration = Duration::from_millis(200);
/// Presses that are remembered, to know their stragglers.
const REMEMBERED: usize = 8;
const QUEUED: usize = 4;
const END_PACKETS: u8 = 3;
/// −10 dBm0, what most gateways send.
const VOLUME: u8 = 10;
const SEGMENT: u32 = 0xffff;

/// A key of the telephone: 0–9, *, #, A–D.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u8);

const KEYS: &[u8; 16] = b"0123456789*#ABCD";

impl Key {
    /// The key of an event code (RFC 4733 section 3.2), `None` above 15: a flash or a tone.
    pub const fn from_event(code: u8) -> Option<Key> {
        if code < 16 { Some(Key(code)) } else { None }
    }

    /// The key that a character means; letters in either case.
    pub fn from_char(key: char) -> Option<Key> {
        let key = key.to_ascii_uppercase();
        KEYS.iter().position(|known| char::from(*known) == key).map(|code| Key(code as u8))
    }

    /// The event code, 0–15.
    pub const fn event(self) -> u8 {
        self.0
    }

    /// The character on the key.
    pub const fn as_char(self) -> char {
        KEYS[self.0 as usize & 15] as char
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_char())
    }
}

/// A key went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPress {
    /// Which.
    pub key: Key,
    /// When, in RTP timestamps of the stream; the jitter buffer's `wire_of` makes a moment of it.
    pub timestamp: u32,
}

/// A key went up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRelease {
    /// Which.
    pub key: Key,
    /// When it had gone down.
    pub timestamp: u32,
    /// For how long it was down, as far as known, in units of the media clock.
    pub duration: u32,
}

/// What a [`Receiver`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEvent {
    /// At the first packet of a press that was seen.
    Pressed(KeyPress),
    /// At the first end packet, at the next press, or 200 ms after the last packet.
    Released(KeyRelease),
}

#[derive(Clone, Copy, Debug)]
struct Press {
    key: Key,
    /// What the press is reported by.
    timestamp: u32,
    /// The latest timestamp that belongs to it, and how long the event has lasted since.
    latest: u32,
    duration: u32,
    ended: bool,
    heard: Instant,
}

/// Makes one press of many packets.
#[derive(Debug, Default)]
pub struct Receiver {
    /// A ring; the newest press is at `newest`.
    presses: [Option<Press>; REMEMBERED],
    newest: usize,
    told: [Option<KeyEvent>; QUEUED],
}

impl Receiver {
    /// Takes the timestamp and payload of a packet whose payload type is `telephone-event`. Events that are no keys, and payloads
    /// shorter than four bytes, are passed over.
    pub fn handle(&mut self, now: Instant, timestamp: u32, payload: &[u8]) {
        let Some([event, flags, high, low]) = payload.first_chunk::<4>().copied() else {
            return;
        };
        let Some(key) = Key::from_event(event) else {
            return;
        };
        let end = flags & 0x80 != 0;
        let duration = u32::from(u16::from_be_bytes([high, low]));
        let Some(known) = self.presses.iter().position(|press| press.is_some_and(|press| press.owns(key, timestamp)))
        else {
            self.release_newest();
            self.newest = (self.newest + 1) % REMEMBERED;
            self.presses[self.newest] =
                Some(Press { key, timestamp, latest: timestamp, duration, ended: false, heard: now });
            self.tell(KeyEvent::Pressed(KeyPress { key, timestamp }));
            if end {
                self.release_newest();
            }
            return;
        };
        let newest = known == self.newest;
        if let Some(press) = &mut self.presses[known] {
            press.heard = now;
            let step = timestamp.wrapping_sub(press.latest) as i32;
            if step > 0 {
                (press.latest, press.duration) = (timestamp, duration);
            } else if step == 0 {
                press.duration = press.duration.max(duration);
            }
        }
        if end && newest {
            self.release_newest();
        }
    }

    /// Ends a press of which nothing has come for 200 ms.
    pub fn tick(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.release_newest();
        }
    }

    /// When [`Receiver::tick`] has something to do, unless another packet comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.presses[self.newest].filter(|press| !press.ended).map(|press| press.heard + LOST_END)
    }

    /// The next event; to be asked after each packet and tick until there is none.
    pub fn poll(&mut self) -> Option<KeyEvent> {
        let event = self.told[0].take();
        self.told.rotate_left(1);
        event
    }

    fn release_newest(&mut self) {
        let Some(press) = &mut self.presses[self.newest] else {
            return;
        };
        if std::mem::replace(&mut press.ended, true) {
            return;
        }
        let duration = press.latest.wrapping_sub(press.timestamp).saturating_add(press.duration);
        let release = KeyRelease { key: press.key, timestamp: press.timestamp, duration };
        self.tell(KeyEvent::Released(release));
    }

    fn tell(&mut self, event: KeyEvent) {
        // One packet tells three events at most, so an owner who polls after each never fills the queue.
        if let Some(room) = self.told.iter_mut().find(|told| told.is_none()) {
            *room = Some(event);
        }
    }
}

impl Press {
    /// Whether a packet with this timestamp belongs to this press.
    fn owns(&self, key: Key, timestamp: u32) -> bool {
        if key != self.key {
            return false;
        }
        let from_start = timestamp.wrapping_sub(self.timestamp) as i32;
        let from_latest = timestamp.wrapping_sub(self.latest) as i32;
        if from_start < 0 {
            return false;
        }
        // A stray of the span known so far, the moved timestamp of an unfinished press, or the next segment of a long one.
        from_latest <= 0
            || (from_latest as u32) < self.duration
            || (from_latest as u32 == self.duration && !self.ended)
            || from_latest as u32 == SEGMENT
    }
}

/// One packet of an event, for [`super::sender::Sender::event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// Set on the first packet.
    pub marker: bool,
    /// The RTP timestamp, the same for every packet of the press.
    pub timestamp: u32,
    /// The payload.
    pub payload: [u8; 4],
}

/// Sends one press: a packet each 20 ms while the key is down, the last of them three times.
#[derive(Clone, Debug)]
pub struct Sender {
    key: Key,
    timestamp: u32,
    frames: u16,
    sent: u16,
    ends: u8,
    /// Units of the media clock between two packets.
    step: u16,
}

impl Sender {
    /// A press that begins at `timestamp` (the stream's media clock) and lasts `duration`, rounded up to whole 20 ms, 40 ms at
    /// least (the shortest that Q.24 lets a receiver accept) and at most what 16 bits can tell of a clock of `clock_rate`: 8 s of 8 kHz.
    pub fn new(key: Key, timestamp: u32, duration: Ms, clock_rate: u32) -> Sender {
        let step = (clock_rate / 50).clamp(1, SEGMENT / 2) as u16;
        let frames = duration.as_u32().clamp(40, 8_000).div_ceil(20) as u16;
        Sender { key, timestamp, frames: frames.min(u16::MAX / step), sent: 0, ends: 0, step }
    }

    /// The packet of this 20 ms frame; `None` when the press is over. No audio goes out in the meantime (section 2.1: the event
    /// replaces the audio).
    pub fn next_packet(&mut self) -> Option<EventPacket> {
        if self.ends == END_PACKETS {
            return None;
        }
        let marker = self.sent == 0;
        self.sent = (self.sent + 1).min(self.frames);
        let end = self.sent == self.frames;
        self.ends += u8::from(end);
        let [high, low] = (self.sent * self.step).to_be_bytes();
        let payload = [self.key.event(), u8::from(end) << 7 | VOLUME, high, low];
        Some(EventPacket { marker, timestamp: self.timestamp, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ms::epoch;
    use proptest::prelude::*;

    fn key(key: char) -> Key {
        Key::from_char(key).unwrap()
    }

    fn packets(of: char, timestamp: u32, ms: u32) -> Vec<EventPacket> {
        let mut sender = Sender::new(key(of), timestamp, Ms(ms), 8_000);
        std::iter::from_fn(|| sender.next_packet()).collect()
    }

    #[test]
    fn durations_have_the_clock_of_the_sound_beside_them() {
        for (clock_rate, last) in [(8_000, 800), (16_000, 1_600), (48_000, 4_800)] {
            let mut sender = Sender::new(key('5'), 7, Ms(100), clock_rate);
            let sent: Vec<_> = std::iter::from_fn(|| sender.next_packet()).collect();
            assert_eq!(sent.len(), 7);
            assert_eq!(sent[6].payload[2..], u16::to_be_bytes(last), "{clock_rate}");
            assert_eq!(presses(&hear(&sent)), "5");
        }
        let mut long = Sender::new(key('5'), 7, Ms(8_000), 48_000);
        let last = std::iter::from_fn(|| long.next_packet()).last().unwrap();
        assert_eq!(last.payload[2..], u16::to_be_bytes(68 * 960), "no more fits into 16 bits");
    }

    /// Feeds packets 20 ms apart and returns everything told, after the last press has run out.
    fn hear(packets: &[EventPacket]) -> Vec<KeyEvent> {
        let (mut receiver, mut now, mut told) = (Receiver::default(), epoch(), Vec::new());
        for packet in packets {
            now += Duration::from_millis(20);
            receiver.handle(now, packet.timestamp, &packet.payload);
            told.extend(std::iter::from_fn(|| receiver.poll()));
        }
        receiver.tick(now + LOST_END);
        told.extend(std::iter::from_fn(|| receiver.poll()));
        assert_eq!(receiver.deadline(), None);
        told
    }

    fn presses(told: &[KeyEvent]) -> String {
        let pressed = |event: &KeyEvent| match event {
            KeyEvent::Pressed(press) => Some(press.key.as_char()),
            KeyEvent::Released(_) => None,
        };
        told.iter().filter_map(pressed).collect()
    }

    fn pressed(of: char, timestamp: u32) -> KeyEvent {
        KeyEvent::Pressed(KeyPress { key: key(of), timestamp })
    }

    fn released(of: char, timestamp: u32, duration: u32) -> KeyEvent {
        KeyEvent::Released(KeyRelease { key: key(of), timestamp, duration })
    }

    #[test]
    fn the_table_of_the_module() {
        let sent = packets('5', 7000, 100);
        assert_eq!(sent.len(), 7);
        let row = |n: usize| (sent[n].marker, sent[n].payload);
        assert_eq!(row(0), (true, [5, 10, 0, 160]));
        assert_eq!(row(3), (false, [5, 10, 2, 128]));
        for end in 4..7 {
            assert_eq!(row(end), (false, [5, 0x8a, 3, 32]));
        }
        assert_eq!(hear(&sent), [pressed('5', 7000), released('5', 7000, 800)]);
    }

    #[test]
    fn any_part_of_a_press_is_one_press() {
        let sent = packets('#', u32::MAX - 100, 200);
        for first in 0..sent.len() {
            for last in first + 1..=sent.len() {
                let told = hear(&sent[first..last]);
                assert_eq!(presses(&told), "#", "packets {first}..{last}");
                assert_eq!(told.len(), 2);
            }
        }
        let end_only = hear(&sent[sent.len() - 1..]);
        assert_eq!(end_only, [pressed('#', u32::MAX - 100), released('#', u32::MAX - 100, 1600)]);
    }

    #[test]
    fn the_same_key_twice_is_two_presses_even_without_ends_and_markers() {
        let (first, second) = (packets('1', 1000, 60), packets('1', 1000 + 160 * 5, 60));
        let both: Vec<_> = first[..2].iter().chain(&second[1..2]).copied().collect();
        assert_eq!(
            hear(&both),
            [pressed('1', 1000), released('1', 1000, 320), pressed('1', 1800), released('1', 1800, 320)]
        );
    }

    #[test]
    fn a_straggler_of_an_earlier_press_is_not_a_press() {
        let (one, two) = (packets('1', 1000, 100), packets('2', 2600, 100));
        let mixed = [one[0], one[4], two[0], one[5], one[2], two[6], one[6], two[1]];
        assert_eq!(presses(&hear(&mixed)), "12");
    }

    #[test]
    fn a_sender_that_moves_its_timestamp_presses_once() {
        let mut sent = packets('9', 0, 200);
        for (n, packet) in sent.iter_mut().enumerate().take(10) {
            packet.timestamp = 160 * n as u32;
        }
        let last = sent[9].timestamp;
        sent[10..].iter_mut().for_each(|packet| packet.timestamp = last);
        assert_eq!(presses(&hear(&sent)), "9");
    }

    #[test]
    fn a_long_press_in_segments_is_one_press() {
        let segment = |timestamp, duration: u16, end: u8| EventPacket {
            marker: false,
            timestamp,
            payload: [3, end << 7, (duration >> 8) as u8, duration as u8],
        };
        let told =
            hear(&[segment(500, 65_000, 0), segment(500, 65_535, 0), segment(66_035, 160, 0), segment(66_035, 800, 1)]);
        assert_eq!(told, [pressed('3', 500), released('3', 500, 66_335)]);
        let told = hear(&[segment(500, 65_000, 0), segment(66_035, 800, 1)]);
        assert_eq!(presses(&told), "3", "the last packets of the first segment are lost");
    }

    #[test]
    fn a_lost_or_missing_marker_changes_nothing() {
        let sent = packets('7', 4_000, 100);
        assert_eq!(presses(&hear(&sent[1..])), "7", "the packet that carries it is lost");
        let unmarked: Vec<_> = sent.iter().map(|packet| EventPacket { marker: false, ..*packet }).collect();
        assert_eq!(presses(&hear(&unmarked)), "7");
        let marked: Vec<_> = sent.iter().map(|packet| EventPacket { marker: true, ..*packet }).collect();
        assert_eq!(presses(&hear(&marked)), "7", "a sender that marks every packet");
    }

    #[test]
    fn a_lost_end_ends_by_time_or_by_the_next_press() {
        let (one, two) = (packets('1', 1_000, 100), packets('2', 3_400, 100));
        assert_eq!(hear(&one[..4]), [pressed('1', 1_000), released('1', 1_000, 640)]);
        let both: Vec<_> = one[..4].iter().chain(&two).copied().collect();
        let told = hear(&both);
        assert_eq!(
            told,
            [pressed('1', 1_000), released('1', 1_000, 640), pressed('2', 3_400), released('2', 3_400, 800)]
        );
    }

    #[test]
    fn an_end_alone_is_a_press() {
        let sent = packets('4', 9_000, 100);
        for ends in 1..=3 {
            assert_eq!(hear(&sent[7 - ends..]), [pressed('4', 9_000), released('4', 9_000, 800)], "{ends} of them");
        }
    }

    #[test]
    fn the_end_that_comes_three_times_is_told_once() {
        let told = hear(&packets('*', 0, 60));
        assert_eq!(told.iter().filter(|event| matches!(event, KeyEvent::Released(_))).count(), 1);
    }

    #[test]
    fn a_long_press_is_one_press() {
        let sent = packets('0', 100, 8_000);
        assert_eq!(sent.len(), 402);
        assert_eq!(hear(&sent), [pressed('0', 100), released('0', 100, 64_000)]);
    }

    #[test]
    fn overlapping_presses_are_both_told_in_their_order() {
        // The second key goes down before the first one's end packets have been sent.
        let (one, two) = (packets('1', 1_000, 100), packets('2', 1_480, 100));
        let mixed = [one[0], one[1], one[2], two[0], one[4], two[1], one[5], two[2], one[6], two[4], two[5], two[6]];
        assert_eq!(presses(&hear(&mixed)), "12");
    }

    #[test]
    fn packets_out_of_order_are_one_press() {
        let sent = packets('8', 500, 100);
        for order in [[6, 5, 4, 3, 2, 1, 0], [4, 0, 5, 1, 6, 2, 3], [1, 0, 3, 2, 5, 4, 6]] {
            let mixed = order.map(|n: usize| sent[n]);
            assert_eq!(presses(&hear(&mixed)), "8", "{order:?}");
        }
    }

    #[test]
    fn two_presses_within_100_ms_are_two() {
        for (one, two) in [('5', '6'), ('5', '5')] {
            // 40 ms down, 20 ms up, 40 ms down: what no hand does and machines do.
            let both: Vec<_> = packets(one, 0, 40).into_iter().chain(packets(two, 480, 40)).collect();
            assert_eq!(presses(&hear(&both)), format!("{one}{two}"));
        }
    }

    #[test]
    fn malformed_events_are_passed_over_and_harm_no_press() {
        let mut receiver = Receiver::default();
        let now = epoch();
        let sent = packets('3', 1_000, 100);
        receiver.handle(now, 1_000, &sent[0].payload);
        // Stumps; reserved bits; a duration that runs backwards; a duration of nothing; bytes too many.
        for payload in [&[][..], &[3], &[3, 0x80, 0], &[200, 0xff, 0xff, 0xff]] {
            receiver.handle(now, 1_000, payload);
        }
        receiver.handle(now, 1_000, &[3, 0x7f, 0, 0]);
        receiver.handle(now, 1_000, &[3, 0x40, 0, 1, 9, 9, 9, 9]);
        receiver.handle(now, 1_000, &sent[4].payload);
        let told: Vec<_> = std::iter::from_fn(|| receiver.poll()).collect();
        assert_eq!(told, [pressed('3', 1_000), released('3', 1_000, 800)]);
    }

    #[test]
    fn other_events_and_stumps_are_passed_over() {
        let event = |payload| EventPacket { marker: true, timestamp: 1, payload };
        assert_eq!(hear(&[event([16, 0, 0, 160]), event([255, 0x80, 0, 0])]), []);
        let mut receiver = Receiver::default();
        receiver.handle(epoch(), 1, &[5, 0, 0]);
        assert_eq!(receiver.poll(), None);
        assert_eq!(Key::from_char('x'), None);
        assert_eq!(key('d').event(), 15);
    }

    proptest! {
        #[test]
        fn a_number_is_heard_through_loss_doubling_and_swaps(
            number in "[0-9*#A-D]{1,12}", start: u32, lost in any::<u64>(), doubled in any::<u64>(), swapped in any::<u64>()
        ) {
            let mut sent = Vec::new();
            for (n, digit) in number.chars().enumerate() {
                let mut press = packets(digit, start.wrapping_add(n as u32 * 1600), 100);
                let keep = n % press.len();
                let mut place = 0;
                press.retain(|_| { place += 1; place - 1 == keep || lost.rotate_left((n * 7 + place) as u32) & 1 == 0 });
                for n in 1..press.len() {
                    if swapped.rotate_left(n as u32) & 1 == 1 { press.swap(n - 1, n); }
                }
                for (n, packet) in press.into_iter().enumerate() {
                    sent.push(packet);
                    if doubled.rotate_left(n as u32) & 1 == 1 { sent.push(packet); }
                }
            }
            prop_assert_eq!(presses(&hear(&sent)), number);
        }

        #[test]
        fn any_payload(packets in proptest::collection::vec((any::<u32>(), proptest::collection::vec(any::<u8>(), 0..8)), 0..50)) {
            let (mut receiver, now) = (Receiver::default(), epoch());
            for (timestamp, payload) in packets {
                receiver.handle(now, timestamp, &payload);
                let mut told = 0;
                while receiver.poll().is_some() { told += 1; }
                prop_assert!(told <= 3);
            }
        }
    }
}
