//! The second stage: what the network hears of telephone audio, and what it says of it.
//!
//! The network was trained on 16 kHz audio: blocks of 16 ms, each looked at with the 32 ms before it under a Hann window, its
//! spectrum summed in 40 bands from 60 to 7,600 Hz, high tones raised (`x[n] − 0.97·x[n−1]`), logarithms taken and brought to
//! a size of 1. One could double the sample rate and do just that; but then the upper half of the spectrum is known beforehand.
//! If the samples in between are [`IMAGE`] times what they ought to be, it is the lower half in the mirror, `1 − IMAGE` against
//! `1 + IMAGE`. So the spectrum is taken at 8 kHz, half the work, and the rest (both gains and the rise) is in the table of bands.

use std::f64::consts::TAU;
use std::sync::LazyLock;

use wide::{f32x4, f32x8};

use rustfft::num_complex::Complex32;

use super::network::{BLOCKS, Memory, Network};
use super::transform::{Transform, hann};

/// Samples of a block: 16 ms.
const BLOCK: usize = 128;
/// Samples that are looked at.
const WINDOW: usize = 3 * BLOCK;
/// Points of the transform at 8 kHz; bins are 15.6 Hz apart.
const POINTS: usize = 512;
const HALF: usize = POINTS / 2;
/// Bins up to 8 kHz.
const BINS: usize = POINTS + 1;
/// Bands that the network listens to.
pub(super) const BANDS: usize = 40;
pub(super) type Bands = [f32; BANDS];
/// Each band rises from one of these bins to the next and falls to the one after it.
const EDGES: [usize; BANDS + 2] = [
    4, 7, 10, 13, 17, 21, 25, 29, 33, 38, 43, 48, 54, 60, 66, 73, 80, 87, 95, 103, 112, 122, 132, 142, 153, 165, 178,
    191, 205, 220, 236, 253, 270, 289, 309, 330, 353, 376, 402, 428, 456, 486,
];
/// See above, and the module doc of `vad` for why it is not 1.
pub(super) const IMAGE: f64 = 0.75;

static EAR: LazyLock<Ear> = LazyLock::new(Ear::new);

/// The judge of one stream.
#[derive(Clone)]
pub(super) struct Judge {
    ear: &'static Ear,
    network: &'static Network,
    /// The last samples, of which `fresh` at the end are not judged yet.
    heard: [i16; WINDOW],
    fresh: usize,
    blocks: [Bands; BLOCKS],
    memory: Memory,
}

impl Default for Judge {
    fn default() -> Judge {
        Judge {
            ear: &EAR,
            network: Network::get(),
            heard: [0; WINDOW],
            fresh: 0,
            blocks: [[0.0; BANDS]; BLOCKS],
            memory: Memory::default(),
        }
    }
}

impl Judge {
    /// What all judges share is made, before the packet path needs it.
    pub(super) fn prepare() {
        LazyLock::force(&EAR);
        Network::get();
    }

    /// The highest score of the blocks that end in these samples, 0 if none does.
    pub(super) fn hear(&mut self, mut samples: &[i16]) -> f32 {
        let mut best = 0.0f32;
        while !samples.is_empty() {
            let (taken, rest) = samples.split_at(samples.len().min(BLOCK - self.fresh));
            let at = WINDOW - BLOCK + self.fresh;
            self.heard[at..at + taken.len()].copy_from_slice(taken);
            self.fresh += taken.len();
            samples = rest;
            if self.fresh == BLOCK {
                best = best.max(self.block());
                self.heard.copy_within(BLOCK.., 0);
                self.fresh = 0;
            }
        }
        best
    }

    /// The last samples that it has heard: 32 to 48 ms.
    pub(super) fn heard(&self) -> &[i16] {
        &self.heard[..WINDOW - BLOCK + self.fresh]
    }

    fn block(&mut self) -> f32 {
        // Moved one by one: for so little, rotating calls for memory elsewhere.
        for n in 1..BLOCKS {
            self.blocks[n - 1] = self.blocks[n];
        }
        self.blocks[BLOCKS - 1] = self.ear.bands(&self.heard, &self.network.norm);
        self.network.score(&self.blocks, &mut self.memory)
    }
}

/// The spectrum, and how it is summed.
struct Ear {
    window: [f32; WINDOW],
    transform: Transform<HALF>,
    slopes: [Slope; BANDS + 1],
}

/// From one edge to the next: what each bin gives to the band that rises there, and to the one that falls. Four bins at a time,
/// which beyond the next edge give nothing.
struct Slope {
    from: usize,
    gains: Vec<[f32x4; 2]>,
}

impl Ear {
    fn new() -> Ear {
        let slopes = std::array::from_fn(|n| Slope::new(EDGES[n], EDGES[n + 1]));
        Ear { window: hann(), transform: Transform::new(), slopes }
    }

    fn bands(&self, heard: &[i16; WINDOW], norm: &Bands) -> Bands {
        let mut line = [Complex32::ZERO; HALF];
        let fours = heard.as_chunks().0.iter().zip(self.window.as_chunks().0);
        for (out, (samples, weights)) in line.as_chunks_mut().0.iter_mut().zip(fours) {
            let [a, b, c, d] = (f32x4::new(samples.map(f32::from)) * f32x4::new(*weights)).to_array();
            *out = [Complex32::new(a, b), Complex32::new(c, d)];
        }
        let mut power = [0.0f32; BINS];
        let Some((true_half, mirror)) = power.split_first_chunk_mut::<{ HALF + 1 }>() else { unreachable!() };
        self.transform.power(&mut line, true_half);
        for (image, bin) in mirror.iter_mut().zip(true_half[..HALF].iter().rev()) {
            *image = *bin;
        }

        // By band, four parts of each sum.
        let (mut rising, mut falling) = ([f32x4::ZERO; BANDS], [f32x4::ZERO; BANDS]);
        for (n, slope) in self.slopes.iter().enumerate() {
            let (bins, _) = power[slope.from..].as_chunks::<4>();
            let (mut up, mut down) = (f32x4::ZERO, f32x4::ZERO);
            for (bins, [rise, fall]) in bins.iter().zip(&slope.gains) {
                let bins = f32x4::new(*bins);
                up += bins * *rise;
                down += bins * *fall;
            }
            if let Some(rising) = rising.get_mut(n) {
                *rising = up;
            }
            if let Some(falling) = n.checked_sub(1).and_then(|before| falling.get_mut(before)) {
                *falling = down;
            }
        }
        let mut bands: Bands = [0.0; BANDS];
        let parts = rising.as_chunks().0.iter().zip(falling.as_chunks().0);
        for (four, (rising, falling)) in bands.as_chunks_mut::<4>().0.iter_mut().zip(parts) {
            *four = (sums(*rising) + sums(*falling)).to_array();
        }
        for eight in bands.as_chunks_mut::<8>().0 {
            *eight = (f32x8::new(*eight) + 1e-20).ln().to_array();
        }
        let size = (bands.iter().map(|band| band * band).sum::<f32>() / BANDS as f32).sqrt().recip();
        for (band, norm) in bands.iter_mut().zip(norm) {
            *band *= norm * size;
        }
        bands
    }
}

/// The sum of each.
fn sums(parts: [f32x4; 4]) -> f32x4 {
    let [a, b, c, d] = f32x4::transpose(parts);
    a + b + c + d
}

impl Slope {
    fn new(from: usize, to: usize) -> Slope {
        let gains = |first: usize| {
            let gain = |bin: usize| {
                let angle = TAU * bin as f64 / (2 * POINTS) as f64;
                let raised = (1.0 - 0.97 * angle.cos()).powi(2) + (0.97 * angle.sin()).powi(2);
                let image = if bin < HALF { 1.0 + IMAGE } else { 1.0 - IMAGE };
                if bin < to { raised * (image / 32_768.0).powi(2) } else { 0.0 }
            };
            let share = |bin: usize| (bin - from) as f64 / (to - from) as f64;
            [
                f32x4::new(std::array::from_fn(|n| (gain(first + n) * share(first + n)) as f32)),
                f32x4::new(std::array::from_fn(|n| (gain(first + n) * (1.0 - share(first + n))) as f32)),
            ]
        };
        Slope { from, gains: (from..to).step_by(4).map(gains).collect() }
    }
}
