//! The voice detector and the background on the packet path, and the speech services' changes of sample rate beside it.

use std::hint::black_box;

use trunkline::codec::resample::{Resampler, SampleRate};
use trunkline::dsp::level::Gain;
use trunkline::dsp::mix::Bed;
use trunkline::dsp::vad::{Opinion, Vad};
use trunkline::ms::Ms;

use super::{FRAME, Path, Walk, each, quiet, speech};

/// All for 20 ms of sound.
pub const PATHS: &[Path] = &[
    Path { name: "vad/gate", times: 2_000, make: || vad(quiet()) },
    Path { name: "vad/gate_and_judge", times: 1_000, make: || vad(speech()) },
    Path { name: "vad/second_opinion", times: 500, make: second_opinion },
    Path { name: "mix/background", times: 2_000, make: || background(&speech(), Gain::from_db(-24.0)) },
    Path { name: "mix/seam", times: 2_000, make: || background(&speech()[..4], Gain::from_db(-24.0)) },
    Path { name: "resample/8000_to_16000", times: 500, make: || resample(SampleRate::HZ_8000, SampleRate::HZ_16000) },
    Path { name: "resample/16000_to_8000", times: 500, make: || resample(SampleRate::HZ_16000, SampleRate::HZ_8000) },
    Path { name: "resample/22050_to_8000", times: 500, make: || resample(SampleRate::HZ_22050, SampleRate::HZ_8000) },
    Path { name: "resample/24000_to_8000", times: 500, make: || resample(SampleRate::HZ_24000, SampleRate::HZ_8000) },
    Path { name: "resample/48000_to_8000", times: 500, make: || resample(SampleRate::HZ_48000, SampleRate::HZ_8000) },
];

/// Silence does not open the gate; speech does, and then the judge listens too.
fn vad(frames: Vec<[i16; FRAME]>) -> Walk {
    let mut vad = Vad::default();
    let mut n = 0;
    each(move || {
        n += 1;
        black_box(vad.push(black_box(&frames[n % frames.len()])));
    })
}

/// On what would interrupt.
fn second_opinion() -> Walk {
    let (frames, mut opinion) = (speech(), Opinion::default());
    let mut n = 0;
    each(move || {
        n += 1;
        opinion.hear(black_box(&frames[n % frames.len()]));
        black_box(opinion.agrees(Ms(200)));
    })
}

/// A loop of two seconds has a seam, which is mixed sample by sample, in one frame of a hundred; a loop of 80 ms in every second or third.
fn background(frames: &[[i16; FRAME]], gain: Gain) -> Walk {
    let mut bed = Bed::default();
    let _ = bed.set(Some((frames.iter().flatten().copied().collect(), gain)));
    let spoken = frames[0];
    each(move || {
        let mut frame = spoken;
        black_box(bed.under(black_box(&mut frame)));
        black_box(&frame);
    })
}

fn tone(rate: SampleRate) -> Vec<i16> {
    let step = std::f32::consts::TAU * 440.0 / rate.hz() as f32;
    (0..rate.hz() / 50).map(|n| (10_000.0 * (n as f32 * step).sin()) as i16).collect()
}

fn resample(from: SampleRate, to: SampleRate) -> Walk {
    let frame = tone(from);
    let mut resampler = Resampler::new(from, to).expect("both rates are known");
    let mut out = Vec::new();
    each(move || {
        out.clear();
        resampler.push(black_box(&frame), &mut out).expect("a frame of the rate");
        black_box(&out);
    })
}
