//! ITU-T G.722 at 64 kbit/s: 16 kHz sound in two bands of adaptive differences, one byte for two samples (RFC 3551 section 4.5.2).
//!
//! The arithmetic is that of `audio-codec`. A lost packet leaves encoder and decoder with different pasts; both forget by design, within a
//! few milliseconds of speech.

use std::fmt;

use audio_codec::g722::{G722Decoder, G722Encoder};
use audio_codec::{Decoder as _, Encoder as _};

/// One stream's decoder.
#[derive(Default)]
pub struct Decoder(G722Decoder);

/// One stream's encoder.
#[derive(Default)]
pub struct Encoder(G722Encoder);

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("G722 decoder")
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("G722 encoder")
    }
}

impl Decoder {
    /// Decodes a payload to samples of 16 kHz, two for each byte as far as they have room, and returns how many.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        let fits = &payload[..payload.len().min(out.len() / 2)];
        // It fails only where there is no room.
        self.0.decode_into(fits, out).unwrap_or(0)
    }
}

impl Encoder {
    /// Encodes samples of 16 kHz, an even number, as far as there is room, and returns how many bytes that makes.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        let fits = &samples[..samples.len().min(2 * out.len()) & !1];
        self.0.encode_into(fits, out).unwrap_or(0)
    }
}
