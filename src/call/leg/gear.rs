//! What a line needs whose coding is not G.711, or whose packets are not of 20 ms. The call's task makes it, since it is allocated; an
//! ordinary line has none.
//!
//! ```text
//! packets → decoder → 16 kHz ─┬─ to recognition, as it is
//!                             └─ half of it → 8 kHz → detectors, recording        (a line of 8 kHz: only this)
//! 8 kHz of what is said → twice of it → packer → encoder → packets of the length that the far end asks for
//!       what of it is of 16 kHz ─┘ in the place of its half
//! ```
//! A packet that is longer than a frame goes out in the slot of its last sample; of shorter ones a slot sends several.

use std::time::Instant;

use super::throat::{Throat, WIDE, Whole};
use super::{FRAME, Media};
use crate::call::io::{HeardCoding, HeardFrame, Label};
use crate::codec::coding::{Band, Coding, Decoder, Encoder};
use crate::codec::half_band::{Down, THERE_AND_BACK, Up};
use crate::codec::opus::NoMemory;
use crate::ms::Ms;
use crate::rtp::frames::{self, Decode, Frames, HeardFrame as Framed, WideFrames};
use crate::rtp::jitter::{BLOCKS_L16, JitterBuffer, MAX_PAYLOAD, Slots};
use crate::rtp::packet::PayloadType;

/// Samples of 60 ms of 16 kHz, and of the frame that comes on top of what is left.
const ROOM: usize = 3 * WIDE + WIDE;

/// What an uncommon line needs.
#[derive(Debug)]
pub struct Gear {
    coding: Coding,
    decoder: Decoder,
    /// Of 16 kHz.
    ears: Option<Box<Ears>>,
    packer: Packer,
    /// For a jitter buffer that has to hold more.
    slots: Option<Slots>,
    /// For a mouth that may say sound of 16 kHz.
    throat: Option<Box<Throat>>,
}

#[derive(Debug)]
struct Ears {
    frames: WideFrames,
    down: Down,
    heard: [i16; WIDE],
}

/// Collects what is sent until a packet is full.
#[derive(Debug)]
struct Packer {
    encoder: Encoder,
    up: Up,
    /// The end of the whole that was said in the slot before, if any: it waits for as long as the half takes, down and up.
    late: [i16; THERE_AND_BACK],
    is_late: bool,
    waiting: [i16; ROOM],
    filled: usize,
    packet: usize,
}

/// A packet's payload, and how much of what has been said begins with it, in units of the media clock.
pub(super) struct Payload {
    pub(super) length: usize,
    pub(super) since: u32,
}

impl Gear {
    /// For what was agreed on; `None`: G.711 in packets of 20 ms needs nothing.
    ///
    /// # Errors
    /// Without memory.
    pub fn of(media: &Media) -> Result<Option<Box<Gear>>, NoMemory> {
        let (coding, packet) = (media.coding, media.coding.packet(media.ptime));
        if matches!(coding, Coding::G711(_)) && packet == Ms(20) {
            return Ok(None);
        }
        let ears = || Box::new(Ears { frames: WideFrames::default(), down: Down::default(), heard: [0; WIDE] });
        Ok(Some(Box::new(Gear {
            coding,
            decoder: Decoder::new(coding)?,
            ears: (coding.band() == Band::Wide).then(ears),
            packer: Packer {
                encoder: Encoder::new(coding)?,
                up: Up::default(),
                late: [0; THERE_AND_BACK],
                is_late: false,
                waiting: [0; ROOM],
                filled: 0,
                packet: packet.0 as usize * coding.band().per_ms(),
            },
            slots: (coding == Coding::L16(Band::Wide)).then(|| Slots::new(BLOCKS_L16)),
            throat: (coding.band() == Band::Wide).then(Box::default),
        })))
    }

    /// The packets that are sent.
    pub(super) fn packet(&self) -> Ms {
        Ms((self.packer.packet / self.coding.band().per_ms()) as u32)
    }

    /// The room that the jitter buffer needs, if it needs another one; once.
    pub(super) fn take_slots(&mut self) -> Option<Slots> {
        self.slots.take()
    }

    /// What the mouth needs for sound of 16 kHz, if the line is; once.
    pub(super) fn take_throat(&mut self) -> Option<Box<Throat>> {
        self.throat.take()
    }

    /// The next frame of what is heard, at 8 kHz.
    pub(super) fn listen(
        &mut self,
        jitter: &mut JitterBuffer,
        narrow: &mut Frames,
        slot: Instant,
        quiet: bool,
        samples: &mut [i16; FRAME],
    ) -> Framed {
        let with = With { coding: self.coding, decoder: &mut self.decoder };
        let Some(ears) = &mut self.ears else {
            return narrow.next(jitter, slot, quiet, with, samples);
        };
        let frame = ears.frames.next(jitter, slot, quiet, with, &mut ears.heard);
        ears.down.frame(&ears.heard, samples);
        frame
    }

    /// What was heard is not to be.
    pub(super) fn hush(&mut self) {
        if let Some(ears) = &mut self.ears {
            ears.heard = [0; WIDE];
        }
    }

    /// What was heard in this slot, for recognition, in pieces; `narrow` is the same at 8 kHz, `coded` it as G.711.
    pub(super) fn heard(&self, at: Ms, label: Label, narrow: &[i16; FRAME], mut to: impl FnMut(HeardFrame)) -> bool {
        let (band, samples): (Band, &[i16]) = match (&self.ears, self.coding) {
            (Some(ears), _) => (Band::Wide, &ears.heard),
            (None, Coding::L16(_)) => (Band::Narrow, narrow),
            (None, _) => return false,
        };
        let (pieces, _) = samples.as_chunks::<{ FRAME / 2 }>();
        for (n, piece) in pieces.iter().enumerate() {
            let mut sound = [0; FRAME];
            for (pair, sample) in sound.as_chunks_mut::<2>().0.iter_mut().zip(piece) {
                *pair = sample.to_le_bytes();
            }
            let at = at + Ms((n * piece.len() / band.per_ms()) as u32);
            to(HeardFrame { at, label, coding: HeardCoding::Linear(band), sound });
        }
        true
    }

    /// The next frame of what is said, and what of it is of 16 kHz.
    pub(super) fn say(&mut self, frame: Option<&[i16; FRAME]>, whole: Option<Whole<'_>>) {
        let silence = [0; FRAME];
        let frame = frame.unwrap_or(&silence);
        let packer = &mut self.packer;
        let room = &mut packer.waiting[packer.filled..];
        packer.filled += match self.coding.band() {
            Band::Narrow => {
                room[..FRAME].copy_from_slice(frame);
                FRAME
            }
            Band::Wide => {
                if let Some(room) = room.first_chunk_mut() {
                    match whole {
                        Some(Whole { half, .. }) => {
                            let left = std::array::from_fn(|n| frame[n].saturating_sub(half[n]));
                            packer.up.frame(&left, room);
                        }
                        None => packer.up.frame(frame, room),
                    }
                    if packer.is_late || whole.is_some() {
                        let whole = whole.map_or(&[0; WIDE], |whole| whole.whole);
                        let late = packer.late.iter().chain(whole);
                        room.iter_mut().zip(late).for_each(|(sample, late)| *sample = sample.saturating_add(*late));
                        packer.late.copy_from_slice(&whole[WIDE - THERE_AND_BACK..]);
                        packer.is_late = packer.late != [0; THERE_AND_BACK];
                    }
                }
                WIDE
            }
        };
    }

    /// The next payload that is full; with `all`, what waits goes out in shorter ones.
    pub(super) fn payload(&mut self, all: bool, out: &mut [u8; MAX_PAYLOAD]) -> Option<Payload> {
        let Packer { encoder, waiting, filled, packet, .. } = &mut self.packer;
        let per_ms = self.coding.band().per_ms();
        let shorter = || self.coding.packet(Ms((*filled / per_ms) as u32)).0 as usize * per_ms;
        let samples = if *filled >= *packet || !all { *packet } else { shorter() };
        if *filled < samples || *filled == 0 {
            return None;
        }
        let length = encoder.encode(&waiting[..samples], out);
        let since = self.coding.units_of(*filled);
        waiting.copy_within(samples..*filled, 0);
        *filled -= samples;
        Some(Payload { length, since })
    }

    /// What waits does not go out any more.
    pub(super) fn forget(&mut self) {
        self.packer.filled = 0;
    }
}

/// The decoder, as the frames know it.
struct With<'a> {
    coding: Coding,
    decoder: &'a mut Decoder,
}

impl Decode for With<'_> {
    fn decode(&mut self, _: PayloadType, payload: &[u8], out: &mut [i16]) -> usize {
        self.decoder.decode(payload, out)
    }

    fn samples(&self, units: u32) -> usize {
        self.coding.samples(units)
    }

    fn conceal(&mut self, next: Option<&[u8]>, out: &mut [i16]) -> bool {
        self.decoder.conceal(next, out)
    }
}

const _: () = assert!(frames::FRAME == FRAME);

#[cfg(test)]
mod tests;
