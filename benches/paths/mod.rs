//! The hot paths, each under a name that stays: `hot_paths` races them against the clock, `instructions` counts what they execute.
//!
//! A call takes the paths of `leg` fifty times a second; the others are what these are made of, and what its signalling is made of. All
//! is virtual: no socket, no kernel, no clock, and every random number comes from a seed, so that a path executes the same instructions
//! each time.

mod codecs;
mod line;
mod packets;
mod signalling;
mod sound;

use std::path::Path as File;

use trunkline::codec::coding::{Band, Coding, Encoder};
use trunkline::codec::g711::Law;
use trunkline::codec::half_band::Up;
use trunkline::rtp::jitter::MAX_PAYLOAD;
use trunkline::rtp::packet::{Packet, PayloadType, SequenceNumber, Ssrc};

/// Samples of a frame: 20 ms at 8 kHz.
pub const FRAME: usize = 160;

/// Takes a path so many times, and goes on where it was.
pub type Walk = Box<dyn FnMut(u64)>;

/// A hot path.
#[derive(Clone, Copy)]
pub struct Path {
    pub name: &'static str,
    /// How often it has to be taken for a fair mean: long enough that all that happens on it now and then has happened.
    // `hot_paths` leaves it to criterion.
    #[allow(dead_code)]
    pub times: u64,
    pub make: fn() -> Walk,
}

/// All of them.
pub fn all() -> Vec<Path> {
    [packets::PATHS, line::PATHS, codecs::PATHS, sound::PATHS, signalling::PATHS].concat()
}

/// A path from what is done once on it.
fn each(mut once: impl FnMut() + 'static) -> Walk {
    Box::new(move |times| (0..times).for_each(|_| once()))
}

/// Two seconds of a human voice, as frames.
fn speech() -> Vec<[i16; FRAME]> {
    let path = File::new(env!("CARGO_MANIFEST_DIR")).join("test-audio/human-nobody-available.wav");
    let wav = hound::WavReader::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let samples: Vec<i16> = wav.into_samples().map(|sample| sample.expect("16-bit PCM")).collect();
    samples.as_chunks::<FRAME>().0.to_vec()
}

/// A line on which nobody speaks, which is most of a call.
fn quiet() -> Vec<[i16; FRAME]> {
    vec![[0; FRAME]]
}

/// The same at the rate of a coding.
fn at_rate_of(coding: Coding, frames: &[[i16; FRAME]]) -> Vec<Vec<i16>> {
    let mut up = Up::default();
    let mut widen = |frame: &[i16; FRAME]| {
        let mut wide = [0; 2 * FRAME];
        up.frame(frame, &mut wide);
        wide.to_vec()
    };
    match coding.band() {
        Band::Narrow => frames.iter().map(|frame| frame.to_vec()).collect(),
        Band::Wide => frames.iter().map(&mut widen).collect(),
    }
}

/// Payloads of 20 ms.
fn payloads(coding: Coding, frames: &[[i16; FRAME]]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(coding).expect("there is memory");
    let encode = |frame: Vec<i16>| {
        let mut payload = vec![0; MAX_PAYLOAD];
        let length = encoder.encode(&frame, &mut payload);
        payload.truncate(length);
        payload
    };
    at_rate_of(coding, frames).into_iter().map(encode).collect()
}

/// The far end: a packet each 20 ms.
struct FarEnd {
    payload_type: PayloadType,
    /// Units of the media clock in 20 ms.
    units: u32,
    payloads: Vec<Vec<u8>>,
    sent: u32,
}

impl FarEnd {
    fn new(frames: &[[i16; FRAME]]) -> FarEnd {
        FarEnd::coded(Coding::G711(Law::A), PayloadType::PCMA, frames)
    }

    fn coded(coding: Coding, payload_type: PayloadType, frames: &[[i16; FRAME]]) -> FarEnd {
        FarEnd { payload_type, units: coding.clock_rate() / 50, payloads: payloads(coding, frames), sent: 0 }
    }

    /// The next datagram.
    fn send(&mut self, datagram: &mut [u8]) -> usize {
        let packet = Packet {
            marker: self.sent == 0,
            payload_type: self.payload_type,
            sequence: SequenceNumber(self.sent as u16),
            timestamp: self.sent.wrapping_mul(self.units),
            ssrc: Ssrc(7),
            payload: &self.payloads[self.sent as usize % self.payloads.len()],
        };
        self.sent = self.sent.wrapping_add(1);
        packet.write_into(datagram)
    }
}
