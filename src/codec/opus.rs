//! Opus (RFC 6716) for telephone calls: one channel, 16 kHz, and its RTP payload (RFC 7587); and for what is kept of them, two of 8 kHz.
//!
//! libopus does the work, in C: the reference, fuzzed for years, which takes its memory when a stream begins and none later. Whatever a far
//! end sends, narrow-band or full-band, mono or stereo, the decoder brings to one channel of 16 kHz.
//!
//! A lost packet is made up by the decoder itself; where the packet after it has come and carries a coarse copy (in-band FEC), from that.

use std::fmt;

use opus::{Application, Bandwidth, Bitrate, Channels, Signal};

/// The rate of the samples here; the RTP clock is always [`CLOCK`].
const RATE: u32 = 16_000;
/// Units a second of the RTP clock (RFC 7587 section 4.1).
pub const CLOCK: u32 = 48_000;
/// Units of the clock in one sample.
pub const UNITS: u32 = CLOCK / RATE;
/// The longest packet (RFC 6716 section 3.2.5), in units of the clock: 120 ms.
const LONGEST: u32 = CLOCK / 1_000 * 120;
/// What wide-band speech needs to sound like itself (RFC 7587 section 3.1.1 has 16 to 20 kbit/s for it), and a quarter of it again for the
/// copies of in-band FEC.
const BITRATE: i32 = 24_000;
/// The losses that the copies are made for, in percent: without any, none are made.
const EXPECTED_LOSS: i32 = 10;
/// Half of what it can do: a tenth of the work of the best, which telephone speech does not tell apart.
const COMPLEXITY: i32 = 5;

/// How the far end wants to be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// It cannot play what lies above 4 kHz.
    pub narrow: bool,
    /// The highest mean bit rate that it takes; `None`: any.
    pub max_bitrate: Option<u32>,
    /// Every packet of the same length.
    pub constant_bitrate: bool,
    /// It makes use of in-band FEC.
    pub fec: bool,
}

/// How long a packet's sound is, in units of the clock, by its first bytes (RFC 6716 section 3.1); 0 for what is no packet.
pub fn duration(payload: &[u8]) -> u32 {
    let Some(&toc) = payload.first() else { return 0 };
    let frame = match toc >> 3 {
        // SILK: 10, 20, 40, 60 ms.
        config @ 0..12 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        // Hybrid: 10, 20 ms.
        config @ 12..16 => [480, 960][usize::from(config & 1)],
        // CELT: 2.5, 5, 10, 20 ms.
        config => 120 << (config & 3),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(payload.get(1).map_or(0, |count| count & 0x3f)),
    };
    Some(frame * frames).filter(|units| *units <= LONGEST).unwrap_or(0)
}

/// Why there is no encoder or decoder: there was no memory for it.
#[derive(Debug)]
pub struct NoMemory;

/// One stream's decoder.
pub struct Decoder(opus::Decoder);

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opus decoder")
    }
}

impl Decoder {
    /// One that has heard nothing.
    ///
    /// # Errors
    /// Without memory.
    pub fn new() -> Result<Decoder, NoMemory> {
        opus::Decoder::new(RATE, Channels::Mono).map(Decoder).map_err(|_| NoMemory)
    }

    /// Decodes a packet to samples of 16 kHz and returns how many; none for what is no packet, or has no room.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        // To libopus, nothing means a loss.
        if duration(payload) == 0 {
            return 0;
        }
        self.0.decode(payload, out, false).unwrap_or(0)
    }

    /// Makes up what was lost, whole multiples of 2.5 ms; `next`: the packet after it, if it has come. Whether it could.
    pub fn conceal(&mut self, next: Option<&[u8]>, out: &mut [i16]) -> bool {
        let copy = next.filter(|next| duration(next) > 0).unwrap_or_default();
        self.0.decode(copy, out, !copy.is_empty()).is_ok_and(|made| made == out.len())
    }
}

/// One stream's encoder.
pub struct Encoder(opus::Encoder);

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opus encoder")
    }
}

impl Encoder {
    /// One that has said nothing.
    ///
    /// # Errors
    /// Without memory.
    pub fn new(terms: Terms) -> Result<Encoder, NoMemory> {
        let most = terms.max_bitrate.and_then(|rate| i32::try_from(rate).ok()).unwrap_or(BITRATE);
        let made = opus::Encoder::new(RATE, Channels::Mono, Application::Voip).and_then(|mut encoder| {
            encoder.set_complexity(COMPLEXITY)?;
            encoder.set_bitrate(Bitrate::Bits(BITRATE.min(most)))?;
            encoder.set_vbr(!terms.constant_bitrate)?;
            encoder.set_max_bandwidth(if terms.narrow { Bandwidth::Narrowband } else { Bandwidth::Wideband })?;
            encoder.set_inband_fec(terms.fec)?;
            encoder.set_packet_loss_perc(if terms.fec { EXPECTED_LOSS } else { 0 })?;
            Ok(encoder)
        });
        made.map(Encoder).map_err(|_| NoMemory)
    }

    /// Encodes 10, 20, 40 or 60 ms at 16 kHz and returns how many bytes that makes; none for another length.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        self.0.encode(samples, out).unwrap_or(0)
    }
}

/// The rate of the samples of [`StereoEncoder`].
const STEREO_RATE: u32 = 8_000;
/// The longest packet of one frame (RFC 6716 section 3.2.1): its first byte, and 1,275 more.
pub const LONGEST_FRAME: usize = 1_276;
/// The least that it can do: 1.2 to 2 ms for a second of both. Half of what it can takes twice as long, and is better by half a decibel.
const STEREO_COMPLEXITY: i32 = 0;

/// Both sides of a call, for a recording: two channels of 8 kHz in one stream.
pub struct StereoEncoder {
    encoder: opus::Encoder,
    lookahead: usize,
}

impl fmt::Debug for StereoEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opus encoder of two channels")
    }
}

impl StereoEncoder {
    /// One that has said nothing; `bitrate`: bits a second of both channels, on average.
    ///
    /// # Errors
    /// Without memory.
    pub fn new(bitrate: u32) -> Result<StereoEncoder, NoMemory> {
        let bitrate = Bitrate::Bits(i32::try_from(bitrate).unwrap_or(i32::MAX));
        let made = opus::Encoder::new(STEREO_RATE, Channels::Stereo, Application::Audio).and_then(|mut encoder| {
            encoder.set_complexity(STEREO_COMPLEXITY)?;
            encoder.set_bitrate(bitrate)?;
            // Whatever the rate: by itself, it would make one channel of two.
            encoder.set_force_channels(Some(Channels::Stereo))?;
            // What makes packets of speech keeps the sides apart by 80 dB; what makes them of music, which it would else take from 24 kbit/s
            // on, by 20. (`Voip` would take that too, but cuts the low end off.)
            encoder.set_signal(Signal::Voice)?;
            let lookahead = encoder.get_lookahead()?;
            Ok(StereoEncoder { encoder, lookahead: usize::try_from(lookahead).unwrap_or(0) })
        });
        made.map_err(|_| NoMemory)
    }

    /// By how many samples the sound comes out of a decoder later than it went in.
    pub fn lookahead(&self) -> usize {
        self.lookahead
    }

    /// Encodes 20 ms, left and right, and returns how many bytes that makes; none for another length.
    pub fn encode(&mut self, samples: &[[i16; 2]], out: &mut [u8]) -> usize {
        self.encoder.encode(samples.as_flattened(), out).unwrap_or(0)
    }
}

/// Which library does it, with its version.
pub fn library() -> &'static str {
    opus::version()
}
