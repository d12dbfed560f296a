//! The judge's network: three small convolutions over the bands of three blocks, two recurrent layers, one number.
//!
//! It is the network of `earshot` 1.2.2 (Carson M., pyke.io; MIT or Apache-2.0), whose weights `build.rs` takes from that crate, and gives the very same
//! numbers: a test holds the two against each other bit by bit. It is written anew because it is run 62 times a second for every
//! caller who speaks: weights lie in the order in which they are read, so that whole rows of channels are multiplied at once, and
//! the recurrent layers, which are most of the work, take eight products of 16 bits an instruction (`wide`: SSE2 or NEON, which
//! every x86-64 and every 64-bit ARM has). That is half the instructions of the original.

use std::array::from_fn;
use std::sync::LazyLock;

use wide::{i16x8, i32x4};

use super::judge::{BANDS, Bands};

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
    recurrent_1: [[i16x8; THIRD * CHANNELS / 8]; ROWS],
    recurrent_2: [[i16x8; CELLS / 8]; ROWS],
    output: [[i16; CELLS]; 2],
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
            second: Convolution { kernel: weights.transposed(), mix: weights.transposed() },
            second_bias: weights.floats(),
            third: Convolution { kernel: weights.transposed(), mix: weights.transposed() },
            recurrent_1: from_fn(|_| eights(&weights.integers::<{ THIRD * CHANNELS }>())),
            recurrent_2: from_fn(|_| eights(&weights.integers::<CELLS>())),
            output: from_fn(|_| weights.integers()),
        }
    }

    /// The score of the newest of three blocks, 0 to 1.
    pub(super) fn score(&self, blocks: &[Bands; BLOCKS], memory: &mut Memory) -> f32 {
        let first = self.first(blocks);
        let second: [Channels; SECOND] = self.second.apply(&first);
        let second = second.map(|column| from_fn(|c| (column[c] + self.second_bias[c]).max(0.0)));
        let third: [Channels; THIRD] = self.third.apply(&second);
        let mut input = [0; THIRD * CHANNELS];
        for (whole, part) in input.iter_mut().zip(third.as_flattened()) {
            // To the nearest, halves away from zero; the cast stops at the edges of i16.
            let part = part * 32_768.0;
            *whole = (part + 0.5f32.copysign(part)) as i16;
        }
        let [one, two] = &mut memory.0;
        one.step(&eights::<10>(&input), &self.recurrent_1);
        two.step(&eights::<8>(&one.0), &self.recurrent_2);
        let products = |cells: &Cells, weights: &[i16; CELLS]| -> i32 {
            cells.0.iter().zip(weights).map(|(cell, weight)| i32::from(*cell) * i32::from(*weight)).sum()
        };
        let sum = products(one, &self.output[0]) + products(two, &self.output[1]);
        1.0 / (1.0 + (-(sum as f32 / 16_777_216.0)).exp())
    }

    /// Three blocks by three bands, spread to the channels; of three neighbours the greatest, every other one, and none below 0.
    fn first(&self, blocks: &[Bands; BLOCKS]) -> [Channels; FIRST] {
        let mut row = [0.0f32; BANDS - 2];
        for (block, kernel) in blocks.iter().zip(&self.kernel) {
            for (shift, weight) in kernel.iter().enumerate() {
                for (sum, band) in row.iter_mut().zip(&block[shift..]) {
                    *sum += band * weight;
                }
            }
        }
        from_fn(|column| {
            let [a, b, c] = [row[2 * column], row[2 * column + 1], row[2 * column + 2]];
            // A channel grows with the row or falls with it, so the greatest is at one end of the three.
            let (low, high) = (a.min(b).min(c), a.max(b).max(c));
            from_fn(|c| ((low * self.weight[c]).max(high * self.weight[c]) + self.bias[c]).max(0.0))
        })
    }
}

impl Convolution {
    /// Every other column, with its neighbours; beyond the edges is nothing.
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
    fn step<const N: usize>(&mut self, input: &[i16x8; N], weights: &[[i16x8; N]; ROWS]) {
        let mut sums = [0i32; ROWS];
        for (sum, row) in sums.iter_mut().zip(weights) {
            let products = input.iter().zip(row).fold(i32x4::ZERO, |sum, (input, weight)| sum + input.dot(*weight));
            *sum = products.to_array().iter().sum();
        }
        let (wish, way) = sums.split_at(CELLS);
        for ((cell, wish), way) in self.0.iter_mut().zip(wish).zip(way) {
            let way = i64::from((way << 2).clamp(0, ONE));
            let sum = (i64::from(ONE) - way) * (i64::from(*cell) << 9) + way * i64::from(*wish);
            *cell = (sum >> 33).clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16;
        }
    }
}

fn eights<const N: usize>(numbers: &[i16]) -> [i16x8; N] {
    let (eights, _) = numbers.as_chunks::<8>();
    from_fn(|n| i16x8::new(eights[n]))
}

/// The rest of the file of weights: little-endian floats, then 16-bit integers.
struct Weights<'a>(&'a [u8]);

impl Weights<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("the file is built in");
        self.0 = rest;
        *taken
    }

    fn floats<const N: usize>(&mut self) -> [f32; N] {
        from_fn(|_| f32::from_le_bytes(self.take()))
    }

    fn integers<const N: usize>(&mut self) -> [i16; N] {
        from_fn(|_| i16::from_le_bytes(self.take()))
    }

    /// A row for each new channel, turned into one for each thing that is read.
    fn transposed<const N: usize>(&mut self) -> [Channels; N] {
        let rows: [[f32; N]; CHANNELS] = from_fn(|_| self.floats());
        from_fn(|n| from_fn(|c| rows[c][n]))
    }
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
            let score = ours.score(&blocks, &mut memory);
            assert_eq!(score, theirs.predict(blocks.as_flattened(), &mut room), "block {n}");
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
        let heaviest = |row: &[i16x8]| -> i64 {
            row.iter().flat_map(|eight| eight.to_array()).map(|weight| i64::from(weight.unsigned_abs()) * 32_768).sum()
        };
        let rows = network.recurrent_1.iter().map(|row| &row[..]).chain(network.recurrent_2.iter().map(|row| &row[..]));
        let heaviest = rows.map(heaviest).max().expect("rows");
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
