//! The hot paths, each under a name that stays: `hot_paths` races them against the clock, `instructions` counts what they execute.
//!
//! A call takes the paths of `leg` fifty times a second; the others are what these are made of, and what its signalling is made of. All
//! is virtual: no socket, no kernel, no clock, and every random number comes from a seed, so that a path executes the same instructions
//! each time.

mod line;
mod packets;
mod signalling;
mod sound;

use std::path::Path as File;

use trunkline::codec::g711::Law;
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
    [packets::PATHS, line::PATHS, sound::PATHS, signalling::PATHS].concat()
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

/// The far end: a packet each 20 ms.
struct FarEnd {
    payloads: Vec<[u8; FRAME]>,
    sent: u32,
}

impl FarEnd {
    fn new(frames: &[[i16; FRAME]]) -> FarEnd {
        let encode = |frame: &[i16; FRAME]| {
            let mut payload = [0; FRAME];
            Law::A.encode(frame, &mut payload);
            payload
        };
        FarEnd { payloads: frames.iter().map(encode).collect(), sent: 0 }
    }

    /// The next datagram.
    fn send(&mut self, datagram: &mut [u8]) -> usize {
        let packet = Packet {
            marker: self.sent == 0,
            payload_type: PayloadType::PCMA,
            sequence: SequenceNumber(self.sent as u16),
            timestamp: self.sent.wrapping_mul(FRAME as u32),
            ssrc: Ssrc(7),
            payload: &self.payloads[self.sent as usize % self.payloads.len()],
        };
        self.sent = self.sent.wrapping_add(1);
        packet.write_into(datagram)
    }
}
