//! The adaptive jitter buffer: packets in as the network brings them, audio out at our own rhythm.
//!
//! Time comes in with every call; nothing here reads a clock, allocates or waits. Playing is driven by samples: one packet
//! follows the other without regard to the clock, and the delay, which is the distance of the playing packet from its moment
//! on the wire ([`super::clock`]), is corrected only when it leaves its corridor `target … target + one packet`:
//!
//! | situation at `pop`                         | what happens                                                             |
//! |--------------------------------------------|--------------------------------------------------------------------------|
//! | first packet, or first after a pause       | waits until `wire + target`                                              |
//! | the next packet is here                    | played                                                                   |
//! | it is missing and later ones are here      | its duration is `Lost`, or skipped if the delay is too long by as much   |
//! | nothing is here                            | `Lost` for 60 ms, then the stream counts as paused: `Empty`              |
//! | it comes after all, nothing later played   | played, the delay is longer by the wait: no word is thrown away          |
//! | delay too long, and the line is quiet      | one packet dropped                                                       |
//! | delay too long, and somebody speaks        | played [`Scale::Shorter`]: pitch periods are left out until it is not    |
//! | delay above the limit                      | packets dropped until it is not                                          |
//! | delay too short, and the line is quiet     | one packet's duration `Lost` without moving on                           |
//! | delay too short, and somebody speaks       | played [`Scale::Longer`]: pitch periods are said twice                   |
//! | a pause by timestamps (silence suppressed) | `Empty` until `wire + target` of the next packet                         |
//!
//! After a drop the frame says `spliced`: concealment then crosses over from what would have followed (no click). A first packet
//! after a pause that is more than 40 ms off the wire's clock, or a timestamp jump above one second, sets a new clock: senders
//! that freeze their timestamps in a pause do not make the delay grow.
//!
//! Telephone events and comfort noise take sequence numbers too. They are inserted with `samples` 0, fill their place and are
//! never played; the level of the noise is kept for who fills the pause ([`JitterBuffer::take_noise`]).

mod delay;
mod slots;

use std::time::{Duration, Instant};

use super::bursts::Tally;
use super::clock::WireClock;
use super::packet::{Packet, PayloadType, Ssrc, extend_timestamp};
use super::reception::{Arrival, Reception, ReceptionReport};
use super::redundancy::Block;
use crate::cache::bring;
use crate::ms::Ms;
use delay::TargetDelay;
use slots::{Held, SLOTS};

pub use slots::{BLOCKS, BLOCKS_L16, MAX_PAYLOAD, Slots};

/// A new clock is set after a pause if a packet is further off than this, in microseconds.
const REANCHOR_US: i64 = 40_000;
/// A timestamp that is further off than this, in microseconds, has jumped.
const JUMP_US: i64 = 1_000_000;
/// How long a stream that has stopped is concealed before it counts as paused, in microseconds.
const CONCEAL_US: i64 = 60_000;
/// Our ticks are not exact; a packet this much before its time is played, in microseconds.
const TICK_ERROR_US: i64 = 2_000;
/// The rhythm at which the reader comes, in microseconds.
const TICK_US: i64 = 20_000;
/// While somebody speaks the delay is shortened if it is too long by this much beside the packet, in microseconds: the next quiet moment
/// is better for what is less.
const LOUD_EXCESS_US: i64 = 30_000;

/// The limits of the buffer's delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayLimits {
    /// The least target delay.
    pub min: Ms,
    /// The target delay before anything is known of the network.
    pub start: Ms,
    /// The longest target delay; audio that would be later than this by more than a packet is dropped. At most 400 ms count.
    pub max: Ms,
}

impl Default for DelayLimits {
    fn default() -> DelayLimits {
        DelayLimits { min: Ms(20), start: Ms(40), max: Ms(200) }
    }
}

/// How a packet's sound may be scaled in time to correct the delay; see [`crate::codec::stretch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As it is.
    Keep,
    /// The delay is right; what the reader still has in its queue is more than it needs.
    Settle,
    /// Shorter: the delay is too long by more than a packet.
    Shorter,
    /// Longer: the delay is too short.
    Longer,
}

/// What to play next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playout<'a> {
    /// One packet's audio.
    Frame {
        /// The encoded audio.
        payload: &'a [u8],
        /// Its encoding.
        payload_type: PayloadType,
        /// Its RTP timestamp.
        timestamp: u32,
        /// When it would have come with the least transit seen lately.
        wire: Instant,
        /// It does not continue what was played before: cross over to it.
        spliced: bool,
        /// How the delay is to be corrected by its length, if its sound allows.
        scale: Scale,
    },
    /// Audio is missing: conceal.
    Lost {
        /// For how long, in units of the media clock.
        samples: u32,
        /// When it would have come.
        wire: Instant,
    },
    /// Nothing to play: the stream is silent or the buffer still fills.
    Empty,
}

/// Counts since the buffer was made, over every restart of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JitterStats {
    /// Packets of the stream, late and reordered ones and packets without audio included, duplicates and strange ones not.
    pub received: u64,
    /// Packets that have never come.
    pub lost: u64,
    /// Packets that have never come, and were said again by others in time (RFC 2198).
    pub recovered: u64,
    /// Packets that came when they had been given up.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets refused: of another source, with a jump not yet confirmed, or too long to keep.
    pub refused: u64,
    /// Times that `Lost` was told.
    pub concealed: u64,
    /// `Lost` of these that were told to lengthen the delay.
    pub stretched: u64,
    /// Packets dropped to shorten the delay, because there was no room, or because a new start found them waiting.
    pub dropped: u64,
    /// Packets played shorter by a pitch period or more.
    pub shortened: u64,
    /// Packets played longer by a pitch period.
    pub lengthened: u64,
    /// New starts: another SSRC, a jump of sequence or timestamp.
    pub resyncs: u64,
    /// The delay of the last packet played, from its moment on the wire.
    pub delay: Ms,
    /// The target delay.
    pub target: Ms,
    /// Interarrival jitter (RFC 3550 A.8), rounded down.
    pub jitter: Ms,
}

/// One stream's jitter buffer.
#[derive(Debug)]
pub struct JitterBuffer {
    slots: Slots,
    clock: WireClock,
    delay: TargetDelay,
    reception: Reception,
    /// The number to be played next; everything before it is done with.
    next_number: i64,
    /// The timestamp that continues what was played last.
    next_timestamp: i64,
    /// The last timestamp that came, as the origin of extension.
    near_timestamp: i64,
    /// Duration of the last packet of audio that came.
    packet_samples: u32,
    playing: bool,
    spliced: bool,
    /// What was told as lost last has a place of its own: it was not made up to gain time.
    gone: bool,
    /// Concealed without interruption, in microseconds.
    concealed_us: i64,
    /// The transit of a packet whose timestamp has jumped, until a second one confirms it.
    jumped: Option<i64>,
    /// Comfort noise has come, of this level.
    noise: Option<u8>,
    started: bool,
    stats: JitterStats,
    delay_us: i64,
}

enum Decision {
    Play(Held, Scale),
    Conceal(i64),
    Empty,
}

impl JitterBuffer {
    /// An empty buffer for a stream whose media clock counts `clock_rate` units a second.
    pub fn new(clock_rate: u32, limits: DelayLimits) -> JitterBuffer {
        let us = |ms: Ms| i64::from(ms.as_u32().min(400)) * 1000;
        JitterBuffer {
            slots: Slots::new(BLOCKS),
            clock: WireClock::new(clock_rate),
            delay: TargetDelay::new(us(limits.min), us(limits.start), us(limits.max)),
            reception: Reception::default(),
            next_number: 0,
            next_timestamp: 0,
            near_timestamp: 0,
            packet_samples: (clock_rate / 50).max(1),
            playing: false,
            spliced: false,
            gone: false,
            concealed_us: 0,
            jumped: None,
            noise: None,
            started: false,
            stats: JitterStats::default(),
            delay_us: 0,
        }
    }

    /// Takes a packet that came at `now` and holds `samples` of audio (0: none, a telephone event or comfort noise).
    ///
    /// The caller has checked where it came from and that its payload type was negotiated.
    pub fn insert(&mut self, now: Instant, packet: &Packet<'_>, samples: u32) {
        if packet.payload.len() > MAX_PAYLOAD {
            self.stats.refused += 1;
            return;
        }
        let idle = !self.playing && self.slots.len() == 0;
        let number = match self.reception.arrive(packet, idle) {
            Arrival::Strange => {
                self.stats.refused += 1;
                return;
            }
            Arrival::Duplicate => {
                self.stats.duplicate += 1;
                return;
            }
            Arrival::Start(number) => {
                self.start(number, packet.timestamp);
                number
            }
            Arrival::Newer(number) => number,
            Arrival::Older(number) => {
                self.stats.reordered += 1;
                number
            }
        };
        if packet.payload_type == PayloadType::CN && samples == 0 {
            self.noise = packet.payload.first().map(|level| level & 0x7f).or(self.noise);
        }
        let timestamp = extend_timestamp(packet.timestamp, self.near_timestamp);
        let Some(timestamp) = (if samples == 0 { Some(timestamp) } else { self.time(now, packet, timestamp, samples) })
        else {
            self.stats.refused += 1;
            self.reception.discard(number);
            return;
        };
        self.stats.received += 1;
        if number < self.next_number {
            self.stats.late += 1;
            self.reception.discard(number);
            return;
        }
        self.make_room(number, packet.payload.len());
        let payload = if samples == 0 { &[] } else { packet.payload };
        let arrival = self.clock.micros(now);
        let kept = self.slots.put(number, timestamp, arrival, samples, packet.payload_type.as_u8(), payload);
        self.stats.dropped += u64::from(!kept);
        if !kept {
            self.reception.discard(number);
        }
    }

    /// Takes what `packet`, which has been inserted, says again of one before it, a block that holds `samples` of audio. Says whether that
    /// fills a gap: the packet that it repeats has not come, and its time is not past.
    pub fn recover(&mut self, now: Instant, packet: &Packet<'_>, block: &Block<'_>, samples: u32) -> bool {
        // Which packet it was in is not said. Of packets of one length the offset tells it; if it does not, the neighbours do not fit.
        let back = block.offset.checked_div(samples).filter(|back| back * samples == block.offset && *back > 0);
        let number = self.reception.number(packet.ssrc, packet.sequence);
        let (Some(back), Some(number)) = (back, number) else { return false };
        let number = number - i64::from(back);
        if number < self.next_number || block.payload.len() > MAX_PAYLOAD || !self.slots.has_room(block.payload.len()) {
            return false;
        }
        let timestamp = extend_timestamp(packet.timestamp, self.near_timestamp) - i64::from(block.offset);
        let end = |held: Held| held.timestamp + i64::from(held.samples);
        let earliest = self.slots.at(number - 1).map(end).or(self.playing.then_some(self.next_timestamp));
        let latest = self.slots.at(number + 1).map(|after| after.timestamp - i64::from(samples));
        let fits =
            earliest.is_none_or(|earliest| earliest <= timestamp) && latest.is_none_or(|latest| timestamp <= latest);
        if !fits || !self.reception.recover(number) {
            return false;
        }
        let arrival = self.clock.micros(now);
        let kept = self.slots.put(number, timestamp, arrival, samples, block.payload_type.as_u8(), block.payload);
        self.stats.recovered += u64::from(kept);
        kept
    }

    /// The sound that comes now is of another clock, and may need other room: nothing that waits belongs to it, and what is known of the
    /// network still holds.
    pub fn retune(&mut self, clock_rate: u32, slots: Option<Slots>) {
        self.set_clock_anew(0);
        self.reception.clock_changed(self.clock.rate(), clock_rate);
        self.clock = WireClock::new(clock_rate);
        self.packet_samples = (clock_rate / 50).max(1);
        self.slots = slots.unwrap_or_else(|| Slots::new(BLOCKS));
    }

    /// After [`Playout::Lost`]: copies the payload that follows what was lost, if it has come, and returns its length.
    pub fn following(&self, room: &mut [u8]) -> Option<usize> {
        Some(self.slots.copy(self.next_number, room)).filter(|length| self.gone && *length > 0)
    }

    /// The level of the last comfort noise that came and was not asked for yet, in −dBov (RFC 3389): how a pause is to sound.
    pub fn take_noise(&mut self) -> Option<u8> {
        self.noise.take()
    }

    /// Asks for what the next [`pop`](Self::pop) begins with.
    pub fn warm(&self) {
        self.slots.warm(self.next_number);
        bring(&self.delay_us);
    }

    /// … and for what that points to, once it is here.
    pub fn warm_behind(&self) {
        self.slots.warm_behind(self.next_number);
    }

    /// Asks for what the next [`insert`](Self::insert) meets.
    pub fn warm_to_insert(&self) {
        bring(&self.near_timestamp);
        bring(&self.stats);
        bring(&self.started);
        bring(&self.reception);
        bring(&self.clock);
        self.delay.warm();
    }

    /// … and for what that points to, once it is here.
    pub fn warm_behind_insert(&self) {
        self.slots.warm_to_put(self.reception.highest() + 1);
    }

    /// What to play at `now`; a payload is copied to `room`. With `quiet` (nobody is speaking in what was played last) the delay may be corrected by a whole
    /// packet; the correction is then inaudible.
    pub fn pop<'a>(&mut self, now: Instant, quiet: bool, room: &'a mut [u8]) -> Playout<'a> {
        let at = self.clock.micros(now);
        match self.decide(at, quiet) {
            Decision::Empty => Playout::Empty,
            Decision::Conceal(samples) => {
                self.stats.concealed += 1;
                self.concealed_us = self.concealed_us.saturating_add(self.clock.span(samples));
                let wire = self.clock.wire(self.next_timestamp).unwrap_or(now);
                self.next_timestamp += samples;
                Playout::Lost { samples: samples as u32, wire }
            }
            Decision::Play(held, scale) => {
                let length = self.slots.take(held.number, room);
                let wire = self.clock.wire(held.timestamp).unwrap_or(now);
                self.next_number = held.number + 1;
                self.next_timestamp = held.timestamp.saturating_add(i64::from(held.samples));
                self.concealed_us = 0;
                self.playing = true;
                self.delay_us = self.lateness(at, held.timestamp);
                Playout::Frame {
                    payload: &room[..length],
                    payload_type: PayloadType::new(held.payload_type).unwrap_or(PayloadType::PCMU),
                    timestamp: held.timestamp as u32,
                    wire,
                    spliced: std::mem::take(&mut self.spliced),
                    scale,
                }
            }
        }
    }

    /// The moment on the caller's wire of what is heard at `now`, for what has no packet of its own. In a pause it is the latest
    /// moment that the next packet can still not precede.
    pub fn wire_now(&self, now: Instant) -> Instant {
        let delay = if self.playing { self.delay_us.max(0) } else { self.delay.target() + TICK_US };
        now.checked_sub(std::time::Duration::from_micros(delay as u64)).unwrap_or(now)
    }

    /// The moment on the caller's wire of an RTP timestamp near the present, such as a telephone event's. `None` before any audio.
    pub fn wire_of(&self, timestamp: u32) -> Option<Instant> {
        self.clock.wire(extend_timestamp(timestamp, self.near_timestamp))
    }

    /// The packet popped last was played shorter or longer, as its [`Scale`] said.
    pub fn scaled(&mut self, longer: bool) {
        let count = if longer { &mut self.stats.lengthened } else { &mut self.stats.shortened };
        *count += 1;
    }

    /// The counts.
    pub fn stats(&self) -> JitterStats {
        let ms = |us: i64| Ms(u32::try_from(us / 1000).unwrap_or(0));
        JitterStats {
            lost: self.reception.lost(),
            delay: ms(self.delay_us),
            target: ms(self.delay.target()),
            jitter: ms(self.clock.span(i64::from(self.reception.jitter()))),
            ..self.stats
        }
    }

    /// The figures of a report block about this stream; begins a new interval. `None` before any packet.
    pub fn report(&mut self) -> Option<ReceptionReport> {
        self.reception.report()
    }

    /// What became of the packets of the stream that is received now, and of all streams so far. Who shortens the delay by a packet
    /// in a pause does not count as having discarded it (RFC 3611 section 4.7.1 has late, early and too many ones in mind).
    pub fn tally(&self) -> (Tally, Tally) {
        (self.reception.tally(), self.reception.tally_in_all())
    }

    /// The duration of a packet, in milliseconds.
    pub fn packet_ms(&self) -> f32 {
        self.clock.span(i64::from(self.packet_samples)) as f32 / 1_000.0
    }

    /// The longest target delay.
    pub fn longest(&self) -> Ms {
        Ms(u32::try_from(self.delay.max() / 1000).unwrap_or(0))
    }

    /// Whether so much of what comes next waits, without a gap.
    pub fn holds(&self, span: Duration) -> bool {
        let wanted = span.as_micros() as i64;
        let mut samples = 0;
        for number in self.next_number.. {
            let Some(held) = self.slots.at(number) else { return false };
            samples += i64::from(held.samples);
            if self.clock.span(samples) >= wanted {
                return true;
            }
        }
        false
    }

    /// Copies what waits, and leaves it: the payload of the packet that is played `later` packets after the next one, if it has come and is as
    /// long as they all are. Whether those before it have come is for the caller to ask first. Returns its length.
    pub fn peek(&self, later: usize, room: &mut [u8]) -> Option<usize> {
        let held = self.slots.at(self.next_number + later as i64)?;
        let timestamp = self.next_timestamp + later as i64 * i64::from(self.packet_samples);
        let continues = self.playing && held.samples == self.packet_samples && held.timestamp == timestamp;
        continues.then(|| self.slots.copy(held.number, room)).filter(|length| *length > 0)
    }

    /// How many packets wait.
    pub fn waiting(&self) -> usize {
        self.slots.len()
    }

    /// Whose stream is being received.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.reception.ssrc()
    }

    /// A stream begins: nothing that waits belongs to it.
    fn start(&mut self, number: i64, timestamp: u32) {
        self.stats.resyncs += u64::from(self.started);
        self.started = true;
        self.next_number = number;
        self.set_clock_anew(i64::from(timestamp));
    }

    /// What waits has lost its place in time.
    fn set_clock_anew(&mut self, timestamp: i64) {
        self.stats.dropped += self.slots.clear();
        self.clock.forget();
        self.reception.timestamps_jumped();
        self.near_timestamp = timestamp;
        self.jumped = None;
        self.spliced |= self.playing;
        self.playing = false;
    }

    /// Places a packet of audio in time and returns its extended timestamp; `None` if it is to be refused.
    fn time(&mut self, now: Instant, packet: &Packet<'_>, mut timestamp: i64, samples: u32) -> Option<i64> {
        let transit = self.clock.transit(now, timestamp);
        let excess = self.clock.excess(transit).unwrap_or(0);
        let paused = !self.playing && self.slots.len() == 0;
        if excess.saturating_abs() > JUMP_US {
            // The same jump has the same transit twice, give or take the jitter.
            let confirmed = self.jumped.is_some_and(|jumped| jumped.abs_diff(transit) < JUMP_US as u64 / 5);
            if !(confirmed || paused || packet.marker) {
                self.jumped = Some(transit);
                return None;
            }
            timestamp = i64::from(packet.timestamp);
            self.set_clock_anew(timestamp);
            self.stats.resyncs += 1;
        } else if paused && excess > REANCHOR_US {
            self.clock.forget();
            self.reception.timestamps_jumped();
        }
        self.jumped = None;
        self.near_timestamp = timestamp;
        self.packet_samples = samples.min(u32::from(u16::MAX));
        let base = self.clock.base();
        let lateness = self.clock.observe(now, timestamp);
        if let (Some(before), Some(base)) = (base, self.clock.base())
            && before != base
        {
            self.delay.rebase(base - before);
        }
        self.delay.observe(lateness, self.slack());
        self.reception.timing(self.clock.units(self.clock.transit(now, timestamp)));
        Some(timestamp)
    }

    /// The reader comes every 20 ms; packets of another length wait for it by turns up to this much longer.
    fn slack(&self) -> i64 {
        let (mut a, mut b) = (TICK_US, self.clock.span(i64::from(self.packet_samples)).max(1));
        while b != 0 {
            (a, b) = (b, a % b);
        }
        TICK_US - a
    }

    /// Gives up the oldest packets until the new one has a slot and blocks.
    fn make_room(&mut self, number: i64, length: usize) {
        let window = number - SLOTS + 1;
        if self.next_number < window {
            let given_up = self.next_number..window.min(self.next_number + SLOTS);
            given_up
                .filter(|number| self.slots.at(*number).is_some())
                .for_each(|number| self.reception.discard(number));
            self.stats.dropped += self.slots.remove_below(window);
            self.spliced |= self.playing;
            self.next_number = window;
        }
        while !self.slots.has_room(length) {
            let Some(oldest) = self.slots.first_from(self.next_number).filter(|held| held.number < number) else {
                return;
            };
            self.reception.discard(oldest.number);
            self.drop_head(&oldest);
        }
    }

    fn lateness(&self, at: i64, timestamp: i64) -> i64 {
        at.saturating_sub(self.clock.wire_micros(timestamp))
    }

    fn due(&self, at: i64, held: &Held) -> bool {
        let target = self.delay.target() - TICK_ERROR_US;
        self.lateness(at, held.timestamp) >= target || at - held.arrival >= self.delay.max()
    }

    fn decide(&mut self, at: i64, quiet: bool) -> Decision {
        let mut dropped = false;
        let mut event = false;
        self.gone = false;
        // Each turn removes a packet or decides, so 32 slots bound it.
        loop {
            let Some(head) = self.slots.first_from(self.next_number) else {
                return self.starved(event);
            };
            if head.samples == 0 && (head.number == self.next_number || !self.playing) {
                self.slots.remove(head.number);
                self.next_number = head.number + 1;
                event = true;
                continue;
            }
            let packet_us = self.clock.span(i64::from(head.samples));
            let lateness = self.lateness(at, head.timestamp);
            if head.samples > 0 && lateness > self.delay.max() + packet_us.max(TICK_US) {
                self.reception.discard(head.number);
                self.drop_head(&head);
                continue;
            }
            if !self.playing {
                if !self.due(at, &head) {
                    return Decision::Empty;
                }
                self.next_number = head.number;
                return Decision::Play(head, Scale::Keep);
            }
            let gap = if head.samples == 0 {
                i64::from(self.packet_samples)
            } else {
                head.timestamp.saturating_sub(self.next_timestamp)
            };
            if head.number > self.next_number {
                let skip = gap <= 0 || (head.samples > 0 && lateness >= self.delay.target() + TICK_ERROR_US);
                if skip {
                    self.spliced |= gap > 0;
                    self.next_number = head.number;
                    self.next_timestamp = head.timestamp;
                    continue;
                }
                self.next_number += 1;
                self.gone = true;
                return Decision::Conceal(gap.min(i64::from(self.packet_samples)));
            }
            if gap > 0 && !self.due(at, &head) {
                let hole = self.concealed_us > 0 && self.clock.span(gap) <= CONCEAL_US;
                if hole {
                    return Decision::Conceal(gap);
                }
                self.playing = false;
                return Decision::Empty;
            }
            self.spliced |= gap > 0;
            let excess = lateness - packet_us - self.delay.target() - TICK_ERROR_US;
            let another = self.slots.at(head.number + 1).is_some_and(|held| held.samples > 0);
            let correct = another && gap <= 0 && excess >= 0;
            if correct && quiet && !dropped {
                dropped = true;
                self.drop_head(&head);
                continue;
            }
            let short = lateness < self.delay.target() - 2 * TICK_ERROR_US - self.slack();
            if short && quiet && gap == 0 && self.concealed_us == 0 {
                self.stats.stretched += 1;
                self.next_timestamp -= i64::from(self.packet_samples);
                return Decision::Conceal(i64::from(self.packet_samples));
            }
            let scale = match () {
                () if short => Scale::Longer,
                () if correct && excess >= LOUD_EXCESS_US => Scale::Shorter,
                () if lateness >= self.delay.target() - TICK_ERROR_US && self.slack() == 0 => Scale::Settle,
                () => Scale::Keep,
            };
            return Decision::Play(head, scale);
        }
    }

    fn drop_head(&mut self, head: &Held) {
        self.slots.remove(head.number);
        self.stats.dropped += 1;
        self.spliced |= self.playing;
        self.next_number = head.number + 1;
        self.next_timestamp = head.timestamp.saturating_add(i64::from(head.samples));
    }

    /// Nothing waits. A stream that only brings events has not lost its audio, it has none.
    fn starved(&mut self, event: bool) -> Decision {
        if self.playing && !event && self.concealed_us < CONCEAL_US {
            return Decision::Conceal(i64::from(self.packet_samples));
        }
        self.playing = false;
        Decision::Empty
    }
}

#[cfg(test)]
mod tests;
