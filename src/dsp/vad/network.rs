//! The judge's network: three small convolutions over the bands of three blocks, two recurrent layers, one number.
//!
//! It is the network of `earshot` 1.2.2 (Carson M., pyke.io; MIT or Apache-2.0), whose weights `build.rs` takes from that crate, and gives the very same
//! numbers: a test holds the two against each other bit by bit. It is written anew because it is run 62 times a second for every
//! caller who speaks: weights lie in the order in which they are read, so that whole rows of channels are multiplied at once, and
//! the recurrent layers, which are most of the work, take eight products of 16 bits an instruction (`wide`: SSE2 or NEON, which
//! every x86-64 and every 64-bit ARM has), sixteen where there is AVX2 (`pulp`, which looks for it once). A sum stays in its own
//! lane to the end: what is multiplied is one pair of inputs with that pair's weights of eight rows.

use std::array::from_fn;
use std::sync::LazyLock;

#[cfg(target_arch = "x86_64")]
use pulp::x86::V3;
use wide::{i16x8, i32x4};

use super::judge::{BANDS, Bands};
use super::weights::Weights;

/// Blocks that the first convolution looks at.
pub(super) const BLOCKS: usize = 3;
/// Channels of each convolution.
const CHANNELS: usize = 16;
/// Cells of a recurrent layer. Each has two rows of weights: what it would like to hold, and how far it goes there.
const CELLS: usize = 64;
const ROWS: usize = 2 * CELLS;
/// Columns after each convolution.
const FIRST: usize = 18;
const SECOND: usize = 9;
const THIRD: usize = 5;
/// 1 in the recurrent layers' sums: inputs have 15 bits after the point and weights 9.
const ONE: i32 = (1 << 24) - 1;

static NETWORK: LazyLock<Network> =
    LazyLock::new(|| Network::read(include_bytes!(concat!(env!("OUT_DIR"), "/earshot.bin"))));

type Channels = [f32; CHANNELS];

/// A convolution along the bands, channel by channel, whose results are then mixed into new channels.
struct Convolution {
    /// For each of three neighbours, the weight of every channel.
    kernel: [Channels; 3],
    /// For each channel, what it gives to every new one.
    mix: [Channels; CHANNELS],
}

pub(super) struct Network {
    pub(super) norm: Bands,
    kernel: [[f32; 3]; BLOCKS],
    weight: Channels,
    bias: Channels,
    second: Convolution,
    second_bias: Channels,
    third: Convolution,
    recurrent_1: [Rows<{ THIRD * CHANNELS / 2 }>; ROWS / LANES],
    recurrent_2: [Rows<{ CELLS / 2 }>; ROWS / LANES],
    output: [[i16; CELLS]; 2],
    #[cfg(target_arch = "x86_64")]
    avx2: Option<V3>,
}

/// Rows whose sums are made at once: a pair of inputs is brought into place once for all of them, and an addition need not wait for the one before.
const LANES: usize = 32;

/// The weights of so many rows: for each pair of inputs, one pair of each row.
struct Rows<const PAIRS: usize>([Pairs; PAIRS]);

#[derive(Clone, Copy)]
#[repr(align(32))]
struct Pairs([i16; 2 * LANES]);

impl<const PAIRS: usize> Rows<PAIRS> {
    fn read<const COLUMNS: usize>(weights: &mut Weights) -> [Rows<PAIRS>; ROWS / LANES] {
        from_fn(|_| {
            let rows: [[i16; COLUMNS]; LANES] = from_fn(|_| weights.integers());
            Rows(from_fn(|pair| Pairs(from_fn(|n| rows[n / 2][2 * pair + n % 2]))))
        })
    }
}

/// What can multiply them.
trait Sums: Copy {
    /// The sums of so many rows.
    fn rows<const PAIRS: usize>(self, inputs: &[[i16; 2]; PAIRS], rows: &Rows<PAIRS>) -> [i32; LANES];
}

/// What every machine has.
#[derive(Clone, Copy)]
struct Everywhere;

impl Sums for Everywhere {
    #[inline(always)]
    fn rows<const PAIRS: usize>(self, inputs: &[[i16; 2]; PAIRS], rows: &Rows<PAIRS>) -> [i32; LANES] {
        let mut sums = [i32x4::ZERO; LANES / 4];
        for ([a, b], Pairs(weights)) in inputs.iter().zip(&rows.0) {
            let pair = i16x8::new([*a, *b, *a, *b, *a, *b, *a, *b]);
            for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<8>().0) {
                *sum += pair.dot(i16x8::new(*weights));
            }
        }
        let sums = sums.map(i32x4::to_array);
        from_fn(|n| sums[n / 4][n % 4])
    }
}

#[cfg(target_arch = "x86_64")]
impl Sums for V3 {
    #[inline(always)]
    fn rows<const PAIRS: usize>(self, inputs: &[[i16; 2]; PAIRS], rows: &Rows<PAIRS>) -> [i32; LANES] {
        let mut sums = [self.splat_i32x8(0); LANES / 8];
        for ([a, b], Pairs(weights)) in inputs.iter().zip(&rows.0) {
            let pair = self.splat_i32x8(i32::from(*a) & 0xffff | i32::from(*b) << 16);
            for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<16>().0) {
                let products = self.multiply_wrapping_add_adjacent_i16x16(pulp::cast(pair), pulp::cast(*weights));
                *sum = self.wrapping_add_i32x8(*sum, products);
            }
        }
        pulp::cast(sums)
    }
}

/// What the recurrent layers remember of a stream.
#[derive(Clone, Default)]
pub(super) struct Memory([Cells; 2]);

#[derive(Clone)]
struct Cells([i16; CELLS]);

impl Default for Cells {
    fn default() -> Cells {
        Cells([0; CELLS])
    }
}

impl Network {
    /// The one network of the process.
    pub(super) fn get() -> &'static Network {
        &NETWORK
    }

    fn read(bytes: &[u8]) -> Network {
        let weights = &mut Weights(bytes);
        Network {
            norm: weights.floats(),
            kernel: from_fn(|_| weights.floats()),
            weight: weights.floats(),
            bias: weights.floats(),
            second: Convolution { kernel: transposed(weights), mix: transposed(weights) },
            second_bias: weights.floats(),
            third: Convolution { kernel: transposed(weights), mix: transposed(weights) },
            recurrent_1: Rows::read::<{ THIRD * CHANNELS }>(weights),
            recurrent_2: Rows::read::<CELLS>(weights),
            output: from_fn(|_| weights.integers()),
            #[cfg(target_arch = "x86_64")]
            avx2: V3::try_new(),
        }
    }

    /// The score of the newest of three blocks, 0 to 1.
    pub(super) fn score(&self, blocks: &[Bands; BLOCKS], memory: &mut Memory) -> f32 {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.avx2 {
            return avx2.vectorize(|| self.score_by(avx2, blocks, memory));
        }
        self.score_by(Everywhere, blocks, memory)
    }

    /// All of it is compiled once for each: what is called here has to become part of it.
    #[inline(always)]
    fn score_by(&self, sums: impl Sums, blocks: &[Bands; BLOCKS], memory: &mut Memory) -> f32 {
        let first = self.first(blocks);
        let mut second: [Channels; SECOND] = self.second.apply(&first);
        for column in &mut second {
            for (value, bias) in column.iter_mut().zip(&self.second_bias) {
                *value = greater(*value + bias, 0.0);
            }
        }
        let third: [Channels; THIRD] = self.third.apply(&second);
        let mut input = [0; THIRD * CHANNELS];
        for (whole, part) in input.iter_mut().zip(third.as_flattened()) {
            // To the nearest, halves away from zero; the cast stops at the edges of i16.
            let part = part * 32_768.0;
            *whole = (part + 0.5f32.copysign(part)) as i16;
        }
        let [one, two] = &mut memory.0;
        one.step(sums, &pairs(&input), &self.recurrent_1);
        two.step(sums, &pairs(&one.0), &self.recurrent_2);
        let products = |cells: &Cells, weights: &[i16; CELLS]| -> i32 {
            cells.0.iter().zip(weights).map(|(cell, weight)| i32::from(*cell) * i32::from(*weight)).sum()
        };
        let sum = products(one, &self.output[0]) + products(two, &self.output[1]);
        1.0 / (1.0 + (-(sum as f32 / 16_777_216.0)).exp())
    }

    /// Three blocks by three bands, spread to the channels; of three neighbours the greatest, every other one, and none below 0.
    #[inline(always)]
    fn first(&self, blocks: &[Bands; BLOCKS]) -> [Channels; FIRST] {
        let mut row = [0.0f32; BANDS - 2];
        for (block, kernel) in blocks.iter().zip(&self.kernel) {
            for (shift, weight) in kernel.iter().enumerate() {
                for (sum, band) in row.iter_mut().zip(&block[shift..]) {
                    *sum += band * weight;
                }
            }
        }
        let mut columns = [[0.0; CHANNELS]; FIRST];
        for (column, out) in columns.iter_mut().enumerate() {
            let [a, b, c] = [row[2 * column], row[2 * column + 1], row[2 * column + 2]];
            // A channel grows with the row or falls with it, so the greatest is at one end of the three.
            let (low, high) = (a.min(b).min(c), a.max(b).max(c));
            for ((out, weight), bias) in out.iter_mut().zip(&self.weight).zip(&self.bias) {
                *out = greater(greater(low * weight, high * weight) + bias, 0.0);
            }
        }
        columns
    }
}

/// As `f32::max`, for what is a number: one instruction for each eight.
#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

impl Convolution {
    /// Every other column, with its neighbours; beyond the edges is nothing.
    #[inline(always)]
    fn apply<const IN: usize, const OUT: usize>(&self, input: &[Channels; IN]) -> [Channels; OUT] {
        let mut output = [[0.0; CHANNELS]; OUT];
        for (column, out) in output.iter_mut().enumerate() {
            let mut deep = [0.0f32; CHANNELS];
            for (neighbour, kernel) in self.kernel.iter().enumerate() {
                let Some(input) = (2 * column + neighbour).checked_sub(1).and_then(|at| input.get(at)) else {
                    continue;
                };
                for c in 0..CHANNELS {
                    deep[c] += input[c] * kernel[c];
                }
            }
            for (deep, mix) in deep.iter().zip(&self.mix) {
                for c in 0..CHANNELS {
                    out[c] += deep * mix[c];
                }
            }
        }
        output
    }
}

impl Cells {
    #[inline(always)]
    fn step<const PAIRS: usize>(
        &mut self,
        by: impl Sums,
        inputs: &[[i16; 2]; PAIRS],
        rows: &[Rows<PAIRS>; ROWS / LANES],
    ) {
        let mut sums = [0i32; ROWS];
        for (sums, rows) in sums.as_chunks_mut().0.iter_mut().zip(rows) {
            *sums = by.rows(inputs, rows);
        }
        let (wish, way) = sums.split_at(CELLS);
        for ((cell, wish), way) in self.0.iter_mut().zip(wish).zip(way) {
            let way = i64::from((way << 2).clamp(0, ONE));
            let sum = (i64::from(ONE) - way) * (i64::from(*cell) << 9) + way * i64::from(*wish);
            *cell = (sum >> 33).clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16;
        }
    }
}

fn pairs<const N: usize>(numbers: &[i16]) -> [[i16; 2]; N] {
    from_fn(|n| numbers.as_chunks().0[n])
}

/// A row for each new channel, turned into one for each thing that is read.
fn transposed<const N: usize>(weights: &mut Weights) -> [Channels; N] {
    let rows: [[f32; N]; CHANNELS] = from_fn(|_| weights.floats());
    from_fn(|n| from_fn(|c| rows[c][n]))
}

#[cfg(test)]
mod tests {
    use earshot::{DefaultPredictor, Predictor};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Bands as they come: of a size of 1, sometimes all alike, sometimes far out.
    #[test]
    fn the_network_is_earshots_to_the_last_bit() {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut theirs, mut room) = (DefaultPredictor::new(), [0.0; 1026]);
        let (ours, mut memory) = (Network::get(), Memory::default());
        let mut blocks = [[0.0; BANDS]; BLOCKS];
        let mut scores = [0u32; 2];
        for n in 0..5_000 {
            let (tilt, rough) = (rng.random_range(-1.5..1.5f32), rng.random_range(0.0..2.0f32));
            blocks.rotate_left(1);
            blocks[BLOCKS - 1] = from_fn(|band| tilt * (band as f32 / 20.0 - 1.0) + rng.random_range(-rough..=rough));
            let mut once_more = memory.clone();
            let score = ours.score(&blocks, &mut memory);
            assert_eq!(score, theirs.predict(blocks.as_flattened(), &mut room), "block {n}");
            // The one that this machine does not take.
            assert_eq!(score, ours.score_by(Everywhere, &blocks, &mut once_more), "block {n}");
            scores[usize::from(score >= 0.5)] += 1;
            if n % 1_000 == 999 {
                theirs.reset();
                memory = Memory::default();
            }
        }
        assert!(scores.iter().all(|count| *count > 100), "not an even test: {scores:?}");
    }

    #[test]
    fn no_sum_of_products_can_overflow() {
        let network = Network::get();
        fn heaviest<const PAIRS: usize>(rows: &[Rows<PAIRS>]) -> Option<i64> {
            let row = |rows: &Rows<PAIRS>, row: usize| -> i64 {
                let weights = rows.0.iter().flat_map(|pairs| &pairs.0[2 * row..][..2]);
                weights.map(|weight| i64::from(weight.unsigned_abs()) * 32_768).sum()
            };
            rows.iter().flat_map(|some| (0..LANES).map(move |n| row(some, n))).max()
        }
        let heaviest = heaviest(&network.recurrent_1).max(heaviest(&network.recurrent_2)).expect("rows");
        assert!(heaviest <= i64::from(i32::MAX), "{heaviest}");
    }

    #[test]
    fn the_weights_are_read_to_the_end() {
        let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/earshot.bin"));
        let floats = BANDS + 9 + 2 * CHANNELS + 2 * (3 * CHANNELS + CHANNELS * CHANNELS) + CHANNELS;
        let integers = ROWS * (THIRD * CHANNELS + CELLS) + 2 * CELLS;
        assert_eq!(bytes.len(), 4 * floats + 2 * integers);
    }
}
