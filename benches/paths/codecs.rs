//! What a line costs more that is not G.711: its coder, its decoder, and the way between 8 and 16 kHz.

use std::hint::black_box;

use trunkline::codec::coding::{Band, Coding, Decoder, Encoder};
use trunkline::codec::half_band::{Down, Up};
use trunkline::codec::opus::Terms;
use trunkline::rtp::jitter::MAX_PAYLOAD;

use super::{FRAME, Path, Walk, at_rate_of, each, payloads, speech};

/// As most far ends want it.
pub const OPUS: Coding = Coding::Opus(Terms { narrow: false, max_bitrate: None, constant_bitrate: false, fec: true });

/// All for 20 ms of a human voice.
pub const PATHS: &[Path] = &[
    Path { name: "codec/l16_encode", times: 1_000, make: || encode(Coding::L16(Band::Wide)) },
    Path { name: "codec/l16_decode", times: 1_000, make: || decode(Coding::L16(Band::Wide)) },
    Path { name: "codec/g722_encode", times: 500, make: || encode(Coding::G722) },
    Path { name: "codec/g722_decode", times: 500, make: || decode(Coding::G722) },
    Path { name: "codec/opus_encode", times: 500, make: || encode(OPUS) },
    Path { name: "codec/opus_decode", times: 500, make: || decode(OPUS) },
    Path { name: "codec/opus_conceal", times: 500, make: conceal },
    Path { name: "codec/8000_to_16000", times: 1_000, make: up },
    Path { name: "codec/16000_to_8000", times: 1_000, make: down },
];

fn encode(coding: Coding) -> Walk {
    let frames = at_rate_of(coding, &speech());
    let mut encoder = Encoder::new(coding).expect("there is memory");
    let (mut out, mut n) = ([0; MAX_PAYLOAD], 0);
    each(move || {
        n += 1;
        black_box(encoder.encode(black_box(&frames[n % frames.len()]), &mut out));
    })
}

fn decode(coding: Coding) -> Walk {
    let payloads = payloads(coding, &speech());
    let mut decoder = Decoder::new(coding).expect("there is memory");
    let (mut out, mut n) = ([0; 2 * FRAME], 0);
    each(move || {
        n += 1;
        black_box(decoder.decode(black_box(&payloads[n % payloads.len()]), &mut out));
    })
}

/// Every second packet is lost, and made up from what the next one says of it.
fn conceal() -> Walk {
    let payloads = payloads(OPUS, &speech());
    let mut decoder = Decoder::new(OPUS).expect("there is memory");
    let (mut out, mut n) = ([0; 2 * FRAME], 0);
    each(move || {
        n += 2;
        let next = &payloads[n % payloads.len()];
        black_box(decoder.conceal(Some(black_box(next)), &mut out));
        black_box(decoder.decode(next, &mut out));
    })
}

fn up() -> Walk {
    let frames = speech();
    let (mut up, mut out, mut n) = (Up::default(), [0; 2 * FRAME], 0);
    each(move || {
        n += 1;
        up.frame(black_box(&frames[n % frames.len()]), &mut out);
        black_box(&out);
    })
}

fn down() -> Walk {
    let frames = at_rate_of(Coding::G722, &speech());
    let (mut down, mut out, mut n) = (Down::default(), [0; FRAME], 0);
    each(move || {
        n += 1;
        let frame = frames[n % frames.len()].first_chunk().expect("20 ms");
        down.frame(black_box(frame), &mut out);
        black_box(&out);
    })
}
