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
mod tests {
    use super::*;
    use crate::codec::g711::Law;
    use crate::ms::Ms;
    use crate::ms::epoch;
    use crate::rtp::jitter::DelayLimits;
    use crate::rtp::packet::{Packet, SequenceNumber, Ssrc};

    fn alaw(_: PayloadType, payload: &[u8], samples: &mut [i16]) -> usize {
        Law::A.decode(payload, samples)
    }

    /// A peer that sends a 200 Hz tone in packets of `ptime` ms, without those that `lost` names, and the frames heard.
    fn hear(ptime: u32, frames: u32, lost: impl Fn(u32) -> bool) -> (Vec<i16>, Vec<HeardFrame>, Instant) {
        let start = epoch();
        let mut jitter = JitterBuffer::new(8000, DelayLimits { start: Ms(20), ..DelayLimits::default() });
        let (mut reader, mut sent) = (Frames::default(), 0);
        let (mut samples, mut heard) = (Vec::new(), Vec::new());
        for tick in 0..frames {
            while sent * ptime <= tick * 20 {
                let first = sent * ptime * 8;
                let tone = |n: u32| (8000.0 * (f64::from(n) * std::f64::consts::TAU / 40.0).sin()) as i16;
                let payload: Vec<u8> = (first..first + ptime * 8).map(|n| Law::A.encode_one(tone(n))).collect();
                let packet = Packet {
                    marker: sent == 0,
                    payload_type: PayloadType::PCMA,
                    sequence: SequenceNumber(sent as u16),
                    timestamp: first,
                    ssrc: Ssrc(1),
                    payload: &payload,
                };
                if !lost(sent) {
                    let arrival = start + Duration::from_millis(u64::from(sent * ptime));
                    jitter.insert(arrival, &packet, ptime * 8);
                }
                sent += 1;
            }
            let now = start + Duration::from_millis(u64::from(tick) * 20 + 3);
            let mut out = [0; FRAME];
            heard.push(reader.next(&mut jitter, now, false, alaw, &mut out));
            samples.extend(out);
        }
        (samples, heard, start)
    }

    #[test]
    fn every_packet_time_becomes_a_smooth_stream_of_frames() {
        for ptime in [10, 20, 30, 40, 60] {
            let (samples, heard, start) = hear(ptime, 200, |_| false);
            let first = heard.iter().position(|frame| frame.sound == Sound::Audio).unwrap();
            assert!(first <= 3, "{ptime} ms: starts at frame {first}");
            assert!(heard[first..].iter().all(|frame| frame.sound == Sound::Audio), "{ptime} ms: a hole");
            for (n, frame) in heard[first..].iter().enumerate() {
                assert_eq!(frame.wire, start + Duration::from_millis(n as u64 * 20), "{ptime} ms, frame {n}");
            }
            let tone = &samples[first * FRAME + 100..];
            let click = tone.windows(2).map(|two| two[0].abs_diff(two[1])).max().unwrap();
            assert!(click < 1600, "{ptime} ms: {click}");
        }
    }

    #[test]
    fn losses_are_filled_without_a_click() {
        for ptime in [10, 20, 30, 60] {
            let (samples, heard, _) = hear(ptime, 300, |packet| packet % 11 == 7);
            assert!(heard[5..290].iter().all(|frame| frame.sound != Sound::Silence));
            assert!(heard.iter().any(|frame| frame.sound == Sound::Concealed) || ptime == 10);
            let tone = &samples[5 * FRAME..290 * FRAME];
            let click = tone.windows(2).map(|two| two[0].abs_diff(two[1])).max().unwrap();
            assert!(click < 2000, "{ptime} ms: {click}");
        }
    }

    #[test]
    fn a_stream_that_stops_falls_silent_and_the_wire_goes_on() {
        let (samples, heard, _) = hear(20, 200, |packet| packet >= 50);
        assert_eq!(heard[70].sound, Sound::Silence);
        assert!(samples[70 * FRAME..].iter().all(|sample| sample.abs() < 40));
        assert!(heard.is_sorted_by(|a, b| a.wire <= b.wire));
        assert!(heard[199].wire - heard[100].wire >= Duration::from_millis(99 * 20));
    }

    #[test]
    fn what_cannot_be_decoded_counts_as_lost() {
        let now = epoch();
        let mut jitter = JitterBuffer::new(8000, DelayLimits::default());
        let mut reader = Frames::default();
        let packet = Packet {
            marker: false,
            payload_type: PayloadType::G722,
            sequence: SequenceNumber(1),
            timestamp: 0,
            ssrc: Ssrc(1),
            payload: &[1; 160],
        };
        jitter.insert(now, &packet, 160);
        let later = now + Duration::from_millis(60);
        let mut out = [1; FRAME];
        let heard = reader.next(&mut jitter, later, false, |_, _, _| 0, &mut out);
        assert_eq!((heard.sound, heard.wire, out), (Sound::Concealed, now, [0; FRAME]));
    }
}
