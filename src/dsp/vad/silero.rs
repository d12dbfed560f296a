//! Silero VAD, for 8 kHz: a spectrum, four small convolutions over time, one recurrent layer (LSTM), one number.
//!
//! It is the network of `silero_vad.onnx` 6.2 (Silero Team; MIT), whose weights `build.rs` takes from the crate `silero`, which has the file. A test
//! holds what it says against the file itself, run by `rten`. It is written anew because an ONNX runtime allocates, wants threads, and needs some
//! 300 µs for a window of 32 ms; this one needs a tenth of that, and no memory but its stream's KiB.
//!
//! All layers are one thing: sums of products of a column of inputs with rows of weights. A convolution over time is that too, where three
//! neighbours lie one behind the other in memory. Weights lie in the order in which they are read: the outputs in groups, for a group the inputs
//! one after the other, and for an input its weight for each output of the group, which are added at once. What meets only the
//! padding at an edge is not kept.

use std::array::from_fn;
use std::sync::LazyLock;

#[cfg(target_arch = "x86_64")]
use pulp::x86::V3;
use rustfft::num_complex::Complex32;
use wide::f32x8;

use super::transform::{Transform, hann};
use super::weights::Weights;

/// Samples of a window: 32 ms.
pub(super) const WINDOW: usize = 256;
/// Samples before it that it is heard with.
pub(super) const CONTEXT: usize = 32;
pub(super) const HEARD: usize = CONTEXT + WINDOW;
/// Points of the transform, which moves by half of them.
const POINTS: usize = 128;
const BINS: usize = POINTS / 2 + 1;
/// Spectra of a window; the last one sees a quarter of its points in a mirror at the end.
const SPECTRA: usize = 4;
type Spectra = [[f32; BINS]; SPECTRA + 2];
/// Inputs of an output of a convolution, in time.
const TAPS: usize = 3;
/// Channels after the convolutions. The second and third take every other place in time: there are 4, 4, 2, 1 and 1 of them.
const FIRST: usize = 128;
const SECOND: usize = 64;
const THIRD: usize = 64;
const FOURTH: usize = 128;
const CELLS: usize = 128;
/// For each cell: what of the new goes in, what of the old stays, the new, and what is shown.
const GATES: usize = 4 * CELLS;

static SILERO: LazyLock<Silero> =
    LazyLock::new(|| Silero::read(include_bytes!(concat!(env!("OUT_DIR"), "/silero.bin"))));

/// The network.
pub(super) struct Silero {
    window: [f32; POINTS],
    transform: Transform<{ POINTS / 2 }>,
    first: Layer<2>,
    second: Layer<4>,
    third: Layer<8>,
    fourth: Layer<8>,
    /// Of the input and of what was shown last.
    recurrent: Layer<8>,
    output: [f32; CELLS],
    output_bias: f32,
    #[cfg(target_arch = "x86_64")]
    avx2: Option<V3>,
}

impl std::fmt::Debug for Silero {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Silero").finish_non_exhaustive()
    }
}

/// What it remembers of a stream.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    shown: [f32; CELLS],
    cells: [f32; CELLS],
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { shown: [0.0; CELLS], cells: [0.0; CELLS] }
    }
}

/// A layer whose outputs are summed in groups of so many times eight: with the places in time that makes eight sums or so at once, as many as a
/// processor needs to have under way, and as it can hold.
struct Layer<const GROUP: usize> {
    inputs: usize,
    /// For each group, for each input, the weight of every output.
    rows: Vec<Group<GROUP>>,
    bias: Vec<Group<GROUP>>,
}

#[derive(Clone, Copy)]
#[repr(align(32))]
struct Group<const GROUP: usize>([[f32; 8]; GROUP]);

/// What can multiply and add eight at a time.
trait Products: Copy {
    type Eight: Copy;
    fn all(self, value: f32) -> Self::Eight;
    fn each(self, values: &[f32; 8]) -> Self::Eight;
    fn add(self, sum: Self::Eight, a: Self::Eight, b: Self::Eight) -> Self::Eight;
    fn told(self, eight: Self::Eight) -> [f32; 8];
}

/// What every machine has.
#[derive(Clone, Copy)]
struct Everywhere;

impl Products for Everywhere {
    type Eight = f32x8;
    #[inline(always)]
    fn all(self, value: f32) -> f32x8 {
        f32x8::splat(value)
    }
    #[inline(always)]
    fn each(self, values: &[f32; 8]) -> f32x8 {
        f32x8::new(*values)
    }
    #[inline(always)]
    fn add(self, sum: f32x8, a: f32x8, b: f32x8) -> f32x8 {
        a.mul_add(b, sum)
    }
    #[inline(always)]
    fn told(self, eight: f32x8) -> [f32; 8] {
        eight.to_array()
    }
}

#[cfg(target_arch = "x86_64")]
impl Products for V3 {
    type Eight = pulp::f32x8;
    #[inline(always)]
    fn all(self, value: f32) -> pulp::f32x8 {
        self.splat_f32x8(value)
    }
    #[inline(always)]
    fn each(self, values: &[f32; 8]) -> pulp::f32x8 {
        pulp::cast(*values)
    }
    #[inline(always)]
    fn add(self, sum: pulp::f32x8, a: pulp::f32x8, b: pulp::f32x8) -> pulp::f32x8 {
        self.mul_add_f32x8(a, b, sum)
    }
    #[inline(always)]
    fn told(self, eight: pulp::f32x8) -> [f32; 8] {
        pulp::cast(eight)
    }
}

impl Silero {
    /// The one network of the process.
    pub(super) fn get() -> &'static Silero {
        &SILERO
    }

    fn read(bytes: &[u8]) -> Silero {
        let weights = &mut Weights(bytes);
        let first = Layer::convolution(weights, BINS, FIRST, 0..TAPS);
        let second = Layer::convolution(weights, FIRST, SECOND, 0..TAPS);
        let third = Layer::convolution(weights, SECOND, THIRD, 1..TAPS);
        let fourth = Layer::convolution(weights, THIRD, FOURTH, 1..2);
        let recurrent = Layer::recurrent(weights);
        Silero {
            window: hann(),
            transform: Transform::new(),
            first,
            second,
            third,
            fourth,
            recurrent,
            output: weights.floats(),
            output_bias: weights.float(),
            #[cfg(target_arch = "x86_64")]
            avx2: V3::try_new(),
        }
    }

    /// How likely the window holds a voice.
    pub(super) fn probability(&self, heard: &[i16; HEARD], memory: &mut Memory) -> f32 {
        let spectra = self.spectra(heard);
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.avx2 {
            return avx2.vectorize(|| self.probability_by(avx2, &spectra, memory));
        }
        self.probability_by(Everywhere, &spectra, memory)
    }

    /// Between nothing and nothing, as the first convolution wants them.
    fn spectra(&self, heard: &[i16; HEARD]) -> Spectra {
        let mut spectra = [[0.0; BINS]; SPECTRA + 2];
        for (n, spectrum) in spectra[1..=SPECTRA].iter_mut().enumerate() {
            let line: [f32; POINTS] = from_fn(|point| {
                let at = n * POINTS / 2 + point;
                let sample = heard[if at < HEARD { at } else { 2 * (HEARD - 1) - at }];
                f32::from(sample) / 32_768.0 * self.window[point]
            });
            let mut line = from_fn(|pair| Complex32::new(line[2 * pair], line[2 * pair + 1]));
            self.transform.power(&mut line, spectrum);
            spectrum.iter_mut().for_each(|bin| *bin = bin.sqrt());
        }
        spectra
    }

    /// All of it is compiled once for each: what is called here has to become part of it.
    #[inline(always)]
    fn probability_by(&self, by: impl Products, spectra: &Spectra, memory: &mut Memory) -> f32 {
        let spectra = spectra.as_flattened();
        let mut first = [[0.0; FIRST]; 1 + SPECTRA];
        let Some(places) = first.last_chunk_mut::<SPECTRA>() else { unreachable!() };
        self.first.apply(by, from_fn(|n| &spectra[n * BINS..]), places, not_below_0);
        let first = first.as_flattened();
        let mut second = [[0.0; SECOND]; 2];
        self.second.apply(by, [first, &first[2 * FIRST..]], &mut second, not_below_0);
        let mut third = [[0.0; THIRD]];
        self.third.apply(by, [second.as_flattened()], &mut third, not_below_0);
        let mut fourth = [[0.0; FOURTH]];
        self.fourth.apply(by, [&third[0]], &mut fourth, not_below_0);

        let mut input = [0.0; FOURTH + CELLS];
        input[..FOURTH].copy_from_slice(&fourth[0]);
        input[FOURTH..].copy_from_slice(&memory.shown);
        let mut gates = [[0.0; GATES]];
        self.recurrent.apply(by, [&input], &mut gates, |sum| sum);
        let [goes_in, stays, new, is_shown] = from_fn(|n| &gates[0][n * CELLS..][..CELLS]);
        let mut sum = self.output_bias;
        for n in 0..CELLS {
            let cell = sigmoid(stays[n]) * memory.cells[n] + sigmoid(goes_in[n]) * new[n].tanh();
            memory.cells[n] = cell;
            memory.shown[n] = sigmoid(is_shown[n]) * cell.tanh();
            sum += self.output[n] * not_below_0(memory.shown[n]);
        }
        sigmoid(sum)
    }
}

#[inline(always)]
fn not_below_0(sum: f32) -> f32 {
    if sum > 0.0 { sum } else { 0.0 }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

impl<const GROUP: usize> Layer<GROUP> {
    /// The outputs at so many places in time, each from its own inputs; `shape` is what is done to each sum.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "with iterators the sums do not stay in registers: a third slower")]
    fn apply<const PLACES: usize, const OUTPUTS: usize>(
        &self,
        by: impl Products,
        inputs: [&[f32]; PLACES],
        outputs: &mut [[f32; OUTPUTS]; PLACES],
        shape: impl Fn(f32) -> f32,
    ) {
        let inputs = inputs.map(|inputs| &inputs[..self.inputs]);
        for (group, (rows, bias)) in self.rows.chunks_exact(self.inputs).zip(&self.bias).enumerate() {
            let mut sums = [bias.0.map(|eight| by.each(&eight)); PLACES];
            for (n, row) in rows.iter().enumerate() {
                for place in 0..PLACES {
                    let input = by.all(inputs[place][n]);
                    for eight in 0..GROUP {
                        sums[place][eight] = by.add(sums[place][eight], input, by.each(&row.0[eight]));
                    }
                }
            }
            for (outputs, sums) in outputs.iter_mut().zip(&sums) {
                let outputs = outputs[group * 8 * GROUP..].as_chunks_mut().0;
                for (outputs, sums) in outputs.iter_mut().zip(sums) {
                    *outputs = by.told(*sums).map(&shape);
                }
            }
        }
    }

    /// From the weight of each output, input and tap.
    fn new(outputs: usize, inputs: usize, weight: impl Fn(usize, usize) -> f32, bias: &[f32]) -> Layer<GROUP> {
        let group = |group: usize, of: &dyn Fn(usize) -> f32| {
            Group(from_fn(|eight| from_fn(|n| of((group * GROUP + eight) * 8 + n))))
        };
        let groups = 0..outputs / (8 * GROUP);
        let places = groups.clone().flat_map(|group| (0..inputs).map(move |input| (group, input)));
        Layer {
            inputs,
            rows: places.map(|(at, input)| group(at, &|output| weight(output, input))).collect(),
            bias: groups.map(|at| group(at, &|output| bias[output])).collect(),
        }
    }

    /// The file has for each output, each channel, a weight for each tap; of the taps those are kept that meet something.
    fn convolution(
        weights: &mut Weights,
        channels: usize,
        outputs: usize,
        taps: std::ops::Range<usize>,
    ) -> Layer<GROUP> {
        let (file, bias) = (floats(weights, outputs * channels * TAPS), floats(weights, outputs));
        let weight = |output: usize, input: usize| {
            let (tap, channel) = (taps.start + input / channels, input % channels);
            file[(output * channels + channel) * TAPS + tap]
        };
        Layer::new(outputs, taps.len() * channels, weight, &bias)
    }

    /// The file has the weights of the input, those of what was shown, and a bias for each.
    fn recurrent(weights: &mut Weights) -> Layer<GROUP> {
        let [of_input, of_shown] = [FOURTH, CELLS].map(|inputs| floats(weights, GATES * inputs));
        let [mut bias, more] = [(); 2].map(|()| floats(weights, GATES));
        bias.iter_mut().zip(more).for_each(|(bias, more)| *bias += more);
        let weight = |output: usize, input: usize| match input.checked_sub(FOURTH) {
            None => of_input[output * FOURTH + input],
            Some(cell) => of_shown[output * CELLS + cell],
        };
        Layer::new(GATES, FOURTH + CELLS, weight, &bias)
    }
}

fn floats(weights: &mut Weights, count: usize) -> Vec<f32> {
    (0..count).map(|_| weights.float()).collect()
}

#[cfg(test)]
mod tests;
