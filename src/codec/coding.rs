//! The codings of a line, and what each is to RTP.
//!
//! | coding  | sound  | RTP clock | a unit of the clock is | bytes of 20 ms |
//! |---------|--------|-----------|------------------------|----------------|
//! | G.711   | 8 kHz  | 8 kHz     | one sample, one byte   | 160            |
//! | G.722   | 16 kHz | 8 kHz     | two samples, one byte  | 160            |
//! | L16     | 8 kHz  | 8 kHz     | one sample, two bytes  | 320            |
//! | L16     | 16 kHz | 16 kHz    | one sample, two bytes  | 640            |
//! | Opus    | 16 kHz | 48 kHz    | a third of a sample    | 60, or so      |

use super::g711::Law;
use super::opus::NoMemory;
use super::{g722, l16, opus};
use crate::ms::Ms;

/// The rate of a line's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Band {
    /// 8 kHz.
    Narrow,
    /// 16 kHz.
    Wide,
}

impl Band {
    /// Samples in a millisecond.
    pub const fn per_ms(self) -> usize {
        match self {
            Band::Narrow => 8,
            Band::Wide => 16,
        }
    }
}

/// How a line is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// G.711.
    G711(Law),
    /// G.722.
    G722,
    /// Samples as they are.
    L16(Band),
    /// Opus, as the far end wants it.
    Opus(opus::Terms),
}

impl Coding {
    /// What its samples are.
    pub const fn band(self) -> Band {
        match self {
            Coding::G711(_) => Band::Narrow,
            Coding::L16(band) => band,
            Coding::G722 | Coding::Opus(_) => Band::Wide,
        }
    }

    /// Its name in `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Coding::G711(Law::A) => "PCMA",
            Coding::G711(Law::Mu) => "PCMU",
            Coding::G722 => "G722",
            Coding::L16(_) => "L16",
            Coding::Opus(_) => "opus",
        }
    }

    /// Its channels in `a=rtpmap`: of Opus two are always said (RFC 7587 section 7).
    pub const fn channels(self) -> u8 {
        match self {
            Coding::Opus(_) => 2,
            Coding::G711(_) | Coding::G722 | Coding::L16(_) => 1,
        }
    }

    /// Units a second of the RTP clock.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Coding::G711(_) | Coding::G722 | Coding::L16(Band::Narrow) => 8_000,
            Coding::L16(Band::Wide) => 16_000,
            Coding::Opus(_) => opus::CLOCK,
        }
    }

    /// Units of the clock that a payload holds; 0 for one that holds no sound.
    pub fn units(self, payload: &[u8]) -> u32 {
        match self {
            Coding::G711(_) | Coding::G722 => payload.len() as u32,
            Coding::L16(_) => payload.len() as u32 / 2,
            Coding::Opus(_) => opus::duration(payload),
        }
    }

    /// Samples in so many units of the clock.
    pub const fn samples(self, units: u32) -> usize {
        match self {
            Coding::G711(_) | Coding::L16(_) => units as usize,
            Coding::G722 => 2 * units as usize,
            Coding::Opus(_) => (units / opus::UNITS) as usize,
        }
    }

    /// Units of the clock in so many samples.
    pub const fn units_of(self, samples: usize) -> u32 {
        let samples = samples as u32;
        match self {
            Coding::G711(_) | Coding::L16(_) => samples,
            Coding::G722 => samples / 2,
            Coding::Opus(_) => samples * opus::UNITS,
        }
    }

    /// The packet that can be made and comes nearest to what is asked for, which it does not exceed: 10 to 60 ms.
    pub fn packet(self, asked: Ms) -> Ms {
        let tens = match (self, (asked.0 / 10).clamp(1, 6)) {
            (Coding::L16(Band::Wide), tens) => tens.min(4),
            // RFC 6716 section 2.1.4: 10, 20, 40, 60 ms.
            (Coding::Opus(_), tens @ (3 | 5)) => tens - 1,
            (_, tens) => tens,
        };
        Ms(10 * tens)
    }
}

/// Makes samples of payloads.
#[derive(Debug)]
pub enum Decoder {
    /// G.711.
    G711(Law),
    /// G.722.
    G722(Box<g722::Decoder>),
    /// L16.
    L16,
    /// Opus.
    Opus(opus::Decoder),
}

impl Decoder {
    /// One that has heard nothing.
    ///
    /// # Errors
    /// Without memory.
    pub fn new(coding: Coding) -> Result<Decoder, NoMemory> {
        Ok(match coding {
            Coding::G711(law) => Decoder::G711(law),
            Coding::G722 => Decoder::G722(Box::default()),
            Coding::L16(_) => Decoder::L16,
            Coding::Opus(_) => Decoder::Opus(opus::Decoder::new()?),
        })
    }

    /// Decodes a payload to samples of the coding's band, at most as many as have room, and returns how many; none for what cannot be decoded.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        match self {
            Decoder::G711(law) => law.decode(payload, out),
            Decoder::G722(decoder) => decoder.decode(payload, out),
            Decoder::L16 => l16::decode(payload, out),
            Decoder::Opus(decoder) => decoder.decode(payload, out),
        }
    }

    /// Makes up what was lost, if the coding knows how; `next`: the payload after it, if it has come.
    pub fn conceal(&mut self, next: Option<&[u8]>, out: &mut [i16]) -> bool {
        match self {
            Decoder::Opus(decoder) => decoder.conceal(next, out),
            Decoder::G711(_) | Decoder::G722(_) | Decoder::L16 => false,
        }
    }
}

/// Makes payloads of samples.
#[derive(Debug)]
pub enum Encoder {
    /// G.711.
    G711(Law),
    /// G.722.
    G722(Box<g722::Encoder>),
    /// L16.
    L16,
    /// Opus.
    Opus(opus::Encoder),
}

impl Encoder {
    /// One that has said nothing.
    ///
    /// # Errors
    /// Without memory.
    pub fn new(coding: Coding) -> Result<Encoder, NoMemory> {
        Ok(match coding {
            Coding::G711(law) => Encoder::G711(law),
            Coding::G722 => Encoder::G722(Box::default()),
            Coding::L16(_) => Encoder::L16,
            Coding::Opus(terms) => Encoder::Opus(opus::Encoder::new(terms)?),
        })
    }

    /// Encodes a packet of samples of the coding's band, of a length that [`Coding::packet`] allows, and returns how many bytes that makes.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        match self {
            Encoder::G711(law) => law.encode(samples, out),
            Encoder::G722(encoder) => encoder.encode(samples, out),
            Encoder::L16 => l16::encode(samples, out),
            Encoder::Opus(encoder) => encoder.encode(samples, out),
        }
    }
}

#[cfg(test)]
mod tests;
