//! Exactly 20 ms at a time: joins the jitter buffer to a rhythm of 160 samples of 8 kHz, or 320 of 16 kHz, whatever packet time the peer
//! has chosen.
//!
//! Peers send packets of 10, 20, 30, 40 or 60 ms. What is decoded goes through a short queue in front of the reader; losses are
//! concealed, joints smoothed and pauses filled on the way (ITU-T G.711 Appendix I, in [`crate::codec::plc`]), and speech is made
//! shorter or longer where the delay has to be corrected ([`crate::codec::stretch`]).

use std::time::{Duration, Instant};

use super::jitter::{JitterBuffer, MAX_PAYLOAD, Playout, Scale};
use super::packet::PayloadType;
use crate::cache::bring;
use crate::codec::g711::Law;
use crate::codec::plc::{self, ConcealerOf};
use crate::codec::stretch;

/// Samples of a frame: 20 ms at 8 kHz.
pub const FRAME: usize = 160;
/// Samples of the longest packet, and of the longest loss that is concealed in one piece: 60 ms at 8 kHz.
const LONGEST: usize = 3 * FRAME;
const QUEUE: usize = FRAME + LONGEST;
/// The same at 16 kHz, where an Opus packet may have 120 ms.
const WIDE_QUEUE: usize = 2 * FRAME + 6 * 2 * FRAME;
/// The bytes of a payload of [`LONGEST`]: two for each sample, of L16.
const PAYLOAD: usize = 2 * LONGEST;

/// The reader's end of a jitter buffer of 8 kHz audio.
pub type Frames = FramesOf<1, QUEUE, PAYLOAD, { plc::HISTORY }>;
/// The reader's end of a jitter buffer of 16 kHz audio.
pub type WideFrames = FramesOf<2, WIDE_QUEUE, MAX_PAYLOAD, { 2 * plc::HISTORY }>;
/// How like itself the sound has to be for a pitch period to be left out or said twice.
const ALIKE: f32 = 0.9;

/// What a frame is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sound {
    /// The stream is silent.
    Silence,
    /// Made up for a loss.
    Concealed,
    /// At least in part what the peer has sent.
    Audio,
}

/// What [`Frames::next`] says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardFrame {
    /// When its first sample would have come with the least transit seen lately: its place on the caller's wire. Never goes back;
    /// stays when the delay was lengthened, leaps when it was shortened.
    pub wire: Instant,
    /// What it is made of.
    pub sound: Sound,
}

/// What makes samples of payloads.
pub trait Decode {
    /// Turns a payload into samples, at most as many as `out` holds, and returns how many; none means that it could not, and the packet
    /// counts as lost.
    fn decode(&mut self, payload_type: PayloadType, payload: &[u8], out: &mut [i16]) -> usize;
    /// How many samples a payload has, where its length says so: one of a whole frame then needs no queue.
    fn length(&self, _payload: &[u8]) -> Option<usize> {
        None
    }
    /// The samples in so many units of the media clock.
    fn samples(&self, units: u32) -> usize {
        units as usize
    }
    /// Makes up what was lost in a way of its own; `next`: what follows it, if that has come. False: it has none.
    fn conceal(&mut self, _next: Option<&[u8]>, _out: &mut [i16]) -> bool {
        false
    }
}

impl<F: FnMut(PayloadType, &[u8], &mut [i16]) -> usize> Decode for F {
    fn decode(&mut self, payload_type: PayloadType, payload: &[u8], out: &mut [i16]) -> usize {
        self(payload_type, payload, out)
    }
}

impl Decode for Law {
    fn decode(&mut self, _: PayloadType, payload: &[u8], out: &mut [i16]) -> usize {
        Law::decode(*self, payload, out)
    }
    fn length(&self, payload: &[u8]) -> Option<usize> {
        Some(payload.len())
    }
}

/// The reader's end of a jitter buffer of `K` times 8 kHz audio: [`Frames`] or [`WideFrames`].
#[derive(Debug)]
pub struct FramesOf<const K: usize, const QUEUED: usize, const BYTES: usize, const SOURCE: usize> {
    queue: [i16; QUEUED],
    length: usize,
    /// The wire moment of the queue's last packet, and where in the queue it begins (before it, if partly read).
    last: Option<(Instant, i32)>,
    said: Option<Instant>,
    sound: Sound,
    concealer: ConcealerOf<K, SOURCE>,
}

impl<const K: usize, const QUEUED: usize, const BYTES: usize, const SOURCE: usize> Default
    for FramesOf<K, QUEUED, BYTES, SOURCE>
{
    fn default() -> Self {
        FramesOf {
            queue: [0; QUEUED],
            length: 0,
            last: None,
            said: None,
            sound: Sound::Silence,
            concealer: ConcealerOf::default(),
        }
    }
}

impl<const K: usize, const QUEUED: usize, const BYTES: usize, const SOURCE: usize> FramesOf<K, QUEUED, BYTES, SOURCE> {
    /// Samples of a frame.
    const FRAME: usize = K * FRAME;
    /// Samples that may be added to what is left of a frame.
    const LONGEST: usize = QUEUED - Self::FRAME;

    /// Asks for what the next frame begins with.
    pub fn warm(&self) {
        bring(&self.length);
        bring(&self.said);
        self.concealer.warm();
    }

    /// Asks for where it goes.
    pub fn warm_behind(&self) {
        self.concealer.warm_behind();
    }

    /// Reads the frame that is to be heard at `now`.
    ///
    /// `quiet` is the hint of [`JitterBuffer::pop`]; `out` has 20 ms.
    pub fn next(
        &mut self,
        jitter: &mut JitterBuffer,
        now: Instant,
        quiet: bool,
        codec: impl Decode,
        out: &mut [i16],
    ) -> HeardFrame {
        self.next_with(jitter, now, quiet, codec, &mut [0; BYTES], out).0
    }

    /// The same, with room for payloads; and whether the frame is just what a whole payload says: it is in `payload` then.
    fn next_with(
        &mut self,
        jitter: &mut JitterBuffer,
        now: Instant,
        quiet: bool,
        mut codec: impl Decode,
        payload: &mut [u8; BYTES],
        out: &mut [i16],
    ) -> (HeardFrame, bool) {
        let mut sound = if self.length > 0 { self.sound } else { Sound::Silence };
        let mut first = self.last.filter(|_| self.length > 0).map(|(wire, start)| after::<K>(wire, -start));
        while self.length < Self::FRAME {
            let begin = self.length;
            let (wire, heard, added) = match jitter.pop(now, quiet, payload) {
                // What nearly every packet is: a frame of its own, with nothing in front of it that would have come too early. The queue
                // would be another five lines of memory that are in no cache.
                Playout::Frame { payload, payload_type, wire, spliced, scale: Scale::Keep | Scale::Settle, .. }
                    if begin == 0 && codec.length(payload) == Some(Self::FRAME) =>
                {
                    codec.decode(payload_type, payload, out);
                    let as_it_came = self.concealer.take(out, spliced);
                    return (self.said(wire, Sound::Audio), as_it_came);
                }
                Playout::Frame { payload, payload_type, wire, spliced, scale, .. } => {
                    let room = &mut self.queue[begin..begin + Self::LONGEST];
                    let decoded = codec.decode(payload_type, payload, room).min(Self::LONGEST);
                    if decoded == 0 {
                        self.concealer.conceal(&mut room[..Self::FRAME]);
                        (Some(wire), Sound::Concealed, Self::FRAME)
                    } else {
                        let length = if spliced || scale == Scale::Keep {
                            decoded
                        } else {
                            let length = self.scale(begin, decoded, scale, quiet);
                            if length != decoded {
                                jitter.scaled(length > decoded);
                            }
                            length
                        };
                        let audio = &mut self.queue[begin..begin + length];
                        self.concealer.take(audio, spliced);
                        (Some(wire), Sound::Audio, length)
                    }
                }
                Playout::Lost { samples, wire } => {
                    let lost = codec.samples(samples).clamp(1, Self::LONGEST);
                    let room = &mut self.queue[begin..begin + lost];
                    let next = jitter.following(payload);
                    if codec.conceal(next.map(|length| &payload[..length]), room) {
                        self.concealer.good(room);
                    } else {
                        self.concealer.conceal(room);
                    }
                    (Some(wire), Sound::Concealed, lost)
                }
                Playout::Empty => {
                    if let Some(level) = jitter.take_noise() {
                        self.concealer.set_noise(level);
                    }
                    self.concealer.rest(&mut self.queue[begin..Self::FRAME]);
                    (None, Sound::Silence, Self::FRAME - begin)
                }
            };
            let wire = wire.unwrap_or_else(|| jitter.wire_now(now));
            first = first.or(Some(wire));
            self.last = Some((wire, begin as i32));
            self.sound = heard;
            sound = sound.max(heard);
            self.length += added;
        }
        out.copy_from_slice(&self.queue[..Self::FRAME]);
        self.queue.copy_within(Self::FRAME..self.length, 0);
        self.length -= Self::FRAME;
        if let Some((_, start)) = &mut self.last {
            *start -= Self::FRAME as i32;
        }
        (self.said(first.unwrap_or(now), sound), false)
    }

    fn said(&mut self, wire: Instant, sound: Sound) -> HeardFrame {
        let wire = self.said.map_or(wire, |said| said.max(wire));
        self.said = Some(wire);
        HeardFrame { wire, sound }
    }

    /// Corrects the delay by the length of what was decoded to `begin`, and returns how long it is then.
    fn scale(&mut self, begin: usize, decoded: usize, scale: Scale, quiet: bool) -> usize {
        // What waits in front of a packet beyond whole packets has come too early by as much.
        let ahead = begin % decoded;
        if scale == Scale::Settle && ahead == 0 {
            return decoded;
        }
        let Some(before) = self.concealer.flowing() else { return decoded };
        let room = &mut self.queue[begin..];
        let scaled = match scale {
            Scale::Keep => None,
            Scale::Longer => stretch::lengthen::<K>(&before, room, decoded, ALIKE),
            Scale::Shorter => stretch::shorten::<K>(&before, &mut room[..decoded], decoded, ALIKE),
            Scale::Settle if quiet => Some(stretch::leave_out::<K>(&mut room[..decoded], ahead)),
            Scale::Settle => stretch::shorten::<K>(&before, &mut room[..decoded], ahead, ALIKE),
        };
        scaled.unwrap_or(decoded)
    }
}

impl Frames {
    /// As [`next`](Self::next), of G.711: the frame's bytes too, if they are just as they came.
    pub fn next_coded(
        &mut self,
        jitter: &mut JitterBuffer,
        now: Instant,
        quiet: bool,
        law: Law,
        out: &mut [i16; FRAME],
    ) -> (HeardFrame, Option<[u8; FRAME]>) {
        let mut payload = [0; PAYLOAD];
        let (frame, as_it_came) = self.next_with(jitter, now, quiet, law, &mut payload, out);
        (frame, payload.first_chunk().copied().filter(|_| as_it_came))
    }

    /// Hears a frame of G.711 that waits for its turn, `later` frames after the next one, and leaves it where it is; those before it have been
    /// heard first. False: it has not come, or is not a packet of its own.
    pub fn ahead(&self, jitter: &JitterBuffer, later: usize, law: Law, out: &mut [i16; FRAME]) -> bool {
        let mut payload = [0; FRAME];
        // What begins within a frame of ours ends in another.
        let is_whole = self.length == 0 && jitter.peek(later, &mut payload) == Some(FRAME);
        is_whole && law.decode(&payload, out) == FRAME
    }
}

fn after<const K: usize>(wire: Instant, samples: i32) -> Instant {
    wire + Duration::from_micros(samples.max(0) as u64 * 125 / K as u64)
}

#[cfg(test)]
mod tests;
