//! Exactly 20 ms at a time: joins the jitter buffer to a rhythm of 160 samples, whatever packet time the peer has chosen.
//!
//! Peers send packets of 10, 20, 30, 40 or 60 ms. What is decoded goes through a short queue in front of the reader; losses are
//! concealed, joints smoothed and pauses filled on the way (ITU-T G.711 Appendix I, in [`crate::codec::plc`]), and speech is made
//! shorter or longer where the delay has to be corrected ([`crate::codec::stretch`]).

use std::time::{Duration, Instant};

use super::jitter::{JitterBuffer, MAX_PAYLOAD, Playout, Scale};
use super::packet::PayloadType;
use crate::codec::plc::Concealer;
use crate::codec::stretch;

/// Samples of a frame: 20 ms at 8 kHz.
pub const FRAME: usize = 160;
const QUEUE: usize = FRAME + MAX_PAYLOAD;
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

/// The reader's end of a jitter buffer of 8 kHz audio.
#[derive(Debug)]
pub struct Frames {
    queue: [i16; QUEUE],
    length: usize,
    /// The wire moment of the queue's last packet, and where in the queue it begins (before it, if partly read).
    last: Option<(Instant, i32)>,
    said: Option<Instant>,
    sound: Sound,
    concealer: Concealer,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames {
            queue: [0; QUEUE],
            length: 0,
            last: None,
            said: None,
            sound: Sound::Silence,
            concealer: Concealer::default(),
        }
    }
}

impl Frames {
    /// Reads what the next frame begins with.
    pub fn warm(&self) -> usize {
        self.length ^ self.queue[0] as usize ^ self.concealer.warm()
    }

    /// Reads the frame that is to be heard at `now`.
    ///
    /// `decode` turns a payload into 8 kHz samples, at most as many as its slice holds, and returns how many; none means that it
    /// could not, and the packet counts as lost. `quiet` is the hint of [`JitterBuffer::pop`].
    pub fn next(
        &mut self,
        jitter: &mut JitterBuffer,
        now: Instant,
        quiet: bool,
        mut decode: impl FnMut(PayloadType, &[u8], &mut [i16]) -> usize,
        out: &mut [i16; FRAME],
    ) -> HeardFrame {
        let mut sound = if self.length > 0 { self.sound } else { Sound::Silence };
        let mut first = self.last.filter(|_| self.length > 0).map(|(wire, start)| after(wire, -start));
        let mut payload = [0; MAX_PAYLOAD];
        while self.length < FRAME {
            let begin = self.length;
            let (wire, heard, added) = match jitter.pop(now, quiet, &mut payload) {
                Playout::Frame { payload, payload_type, wire, spliced, scale, .. } => {
                    let room = &mut self.queue[begin..begin + MAX_PAYLOAD];
                    let decoded = decode(payload_type, payload, room).min(MAX_PAYLOAD);
                    if decoded == 0 {
                        self.concealer.conceal(&mut room[..FRAME]);
                        (Some(wire), Sound::Concealed, FRAME)
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
                        if spliced {
                            self.concealer.splice(audio)
                        } else {
                            self.concealer.good(audio)
                        }
                        (Some(wire), Sound::Audio, length)
                    }
                }
                Playout::Lost { samples, wire } => {
                    let lost = (samples as usize).clamp(1, MAX_PAYLOAD);
                    self.concealer.conceal(&mut self.queue[begin..begin + lost]);
                    (Some(wire), Sound::Concealed, lost)
                }
                Playout::Empty => {
                    if let Some(level) = jitter.take_noise() {
                        self.concealer.set_noise(level);
                    }
                    self.concealer.rest(&mut self.queue[begin..FRAME]);
                    (None, Sound::Silence, FRAME - begin)
                }
            };
            let wire = wire.unwrap_or_else(|| jitter.wire_now(now));
            first = first.or(Some(wire));
            self.last = Some((wire, begin as i32));
            self.sound = heard;
            sound = sound.max(heard);
            self.length += added;
        }
        out.copy_from_slice(&self.queue[..FRAME]);
        self.queue.copy_within(FRAME..self.length, 0);
        self.length -= FRAME;
        if let Some((_, start)) = &mut self.last {
            *start -= FRAME as i32;
        }
        let wire = first.unwrap_or(now);
        let wire = self.said.map_or(wire, |said| said.max(wire));
        self.said = Some(wire);
        HeardFrame { wire, sound }
    }

    /// Corrects the delay by the length of what was decoded to `begin`, and returns how long it is then.
    fn scale(&mut self, begin: usize, decoded: usize, scale: Scale, quiet: bool) -> usize {
        let Some(before) = self.concealer.flowing() else { return decoded };
        let room = &mut self.queue[begin..];
        // What waits in front of a packet beyond whole packets has come too early by as much.
        let ahead = begin % decoded;
        let scaled = match scale {
            Scale::Keep => None,
            Scale::Longer => stretch::lengthen(before, room, decoded, ALIKE),
            Scale::Shorter => stretch::shorten(before, &mut room[..decoded], decoded, ALIKE),
            Scale::Settle if ahead == 0 => None,
            Scale::Settle if quiet => Some(stretch::leave_out(&mut room[..decoded], ahead)),
            Scale::Settle => stretch::shorten(before, &mut room[..decoded], ahead, ALIKE),
        };
        scaled.unwrap_or(decoded)
    }
}

fn after(wire: Instant, samples: i32) -> Instant {
    wire + Duration::from_micros(samples.max(0) as u64 * 125)
}

#[cfg(test)]
mod tests;
