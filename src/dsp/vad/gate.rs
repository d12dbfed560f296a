//! The first stage: the detector of WebRTC at 8 kHz, in the strictest of its four modes.
//!
//! Six bands from 80 Hz to 4 kHz are split off by pairs of all-pass filters. Of each band's level two models are kept, of noise and of speech, two
//! Gaussians each; what a frame is likelier to be moves them along. It is the algorithm of `webrtc-vad` 0.4 (libfvad, of the WebRTC project; BSD-3),
//! and says the very same: a test holds the two against each other frame by frame. It is written anew because it is asked 50 times a
//! second for every line: all that it remembers is in one place beside the rest of the leg, in seven lines of the cache instead of twelve behind a
//! pointer, and the filters of a level, each of whose samples waits for the one before, take turns.
//!
//! Numbers are fixed-point, as there; `Q7` is seven bits after the point. Where C would overflow, this wraps, as compiled C does.

use std::array::from_fn;

const FRAME: usize = 160;
const BANDS: usize = 6;
/// Gaussians of a model.
const GAUSSIANS: usize = 2;
/// A number of each Gaussian of each band.
type Table = [[i16; BANDS]; GAUSSIANS];

// Where the models begin, Q7; and how much each Gaussian weighs.
const NOISE_WEIGHTS: Table = [[34, 62, 72, 66, 53, 25], [94, 66, 56, 62, 75, 103]];
const SPEECH_WEIGHTS: Table = [[48, 82, 45, 87, 50, 47], [80, 46, 83, 41, 78, 81]];
const NOISE_MEANS: Table = [[6738, 4892, 7065, 6715, 6771, 3369], [7646, 3863, 7820, 7266, 5020, 4362]];
const SPEECH_MEANS: Table = [[8306, 10085, 10078, 11823, 11843, 6309], [9473, 9571, 10879, 7581, 8180, 7483]];
const NOISE_DEVIATIONS: Table = [[378, 1064, 493, 582, 688, 593], [474, 697, 475, 688, 421, 455]];
const SPEECH_DEVIATIONS: Table = [[555, 505, 567, 524, 585, 1231], [509, 828, 492, 1540, 1079, 850]];

/// What a band's word weighs in the sum of all.
const SPECTRUM_WEIGHTS: [i32; BANDS] = [6, 8, 10, 12, 14, 16];
/// A band that says more than this, by itself: speech. The strictest mode, frames of 20 ms; so the next three.
const BAND_SAYS: i32 = 94;
const ALL_SAY: i32 = 1_050;
/// Frames for which speech goes on after it: a few, and after more than so many frames of it.
const HANG_OVER: [u8; 2] = [3, 5];
const MANY: u8 = 6;
/// A frame with less than this is not looked at.
const LEAST_ENERGY: i16 = 10;

/// How fast the models follow: of noise Q15, of speech Q15, and back to the level below which noise hardly falls Q8.
const NOISE_FOLLOWS: i32 = 655;
const SPEECH_FOLLOWS: i32 = 6_554;
const BACK: i32 = 154;
/// Bounds of means, Q7, and of deviations.
const LEAST_SPEECH: [i16; GAUSSIANS] = [640, 768];
const MOST_SPEECH: [i16; BANDS] = [11_392, 11_392, 11_520, 11_520, 11_520, 11_520];
const MOST_NOISE: [i16; BANDS] = [9_216, 9_088, 8_960, 8_832, 8_704, 8_576];
const LEAST_DEVIATION: i16 = 384;
/// How far apart speech and noise are kept, Q5.
const APART: [i16; BANDS] = [544, 544, 576, 576, 576, 576];

/// The lowest levels that are remembered of a band, for so many frames: no more than fit `u8`.
const LOWEST: usize = 16;
const REMEMBERED: u8 = 100;
/// No level, where fewer are remembered.
const NONE: i16 = 10_000;

/// The gate of one stream.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    /// The filters' memories: of each split the even and the odd samples', deepest last; and of the last one's high-pass.
    splits: [[i16; 2]; BANDS - 1],
    high_pass: [i16; 4],
    noise: Model,
    speech: Model,
    lowest: [Lowest; BANDS],
    /// Frames that were looked at, up to [`SETTLED`].
    looked_at: u8,
    hang_over: u8,
    /// Frames of speech in a row, up to [`MANY`].
    in_a_row: u8,
}

/// What one kind of sound is like, in each band.
#[derive(Clone, Debug)]
struct Model {
    means: Table,
    deviations: Table,
}

/// The lowest levels of a band, lowest first, and how many frames ago they were.
#[derive(Clone, Debug)]
struct Lowest {
    levels: [i16; LOWEST],
    ages: [u8; LOWEST],
    /// The third of them, smoothed.
    smooth: i16,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            splits: [[0; 2]; BANDS - 1],
            high_pass: [0; 4],
            noise: Model { means: NOISE_MEANS, deviations: NOISE_DEVIATIONS },
            speech: Model { means: SPEECH_MEANS, deviations: SPEECH_DEVIATIONS },
            lowest: from_fn(|_| Lowest { levels: [NONE; LOWEST], ages: [0; LOWEST], smooth: 1_600 }),
            looked_at: 0,
            hang_over: 0,
            in_a_row: 0,
        }
    }
}

impl Gate {
    /// Whether a frame of 20 ms may be speech.
    pub(super) fn is_voice(&mut self, frame: &[i16; FRAME]) -> bool {
        let (levels, energy) = self.levels(frame);
        let speech = energy > LEAST_ENERGY && self.judge(&levels);
        if speech {
            let many = self.in_a_row == MANY;
            self.in_a_row = (self.in_a_row + 1).min(MANY);
            self.hang_over = HANG_OVER[usize::from(many)];
            return true;
        }
        self.in_a_row = 0;
        let still = self.hang_over > 0;
        self.hang_over = self.hang_over.saturating_sub(1);
        still
    }

    /// The level of each band in dB, Q4, and a measure of the whole: above [`LEAST_ENERGY`] it only says that it is there.
    fn levels(&mut self, frame: &[i16; FRAME]) -> ([i16; BANDS], i16) {
        let [first, high, low, lower, lowest] = &mut self.splits;
        let [[above_2000, below_2000]] = split::<FRAME, 80, 1>([frame], [first]);
        let [[b5, b4], [b3, below_1000]] = split::<80, 40, 2>([&above_2000, &below_2000], [high, low]);
        let [[b2, below_500]] = split::<40, 20, 1>([&below_1000], [lower]);
        let [[b1, below_250]] = split::<20, 10, 1>([&below_500], [lowest]);
        let b0 = above_80(&below_250, &mut self.high_pass);
        let mut whole = 0;
        // From above, since what comes after the whole is enough is not added to it.
        let [l5, l4, l3] = [b5, b4, b3].map(|band| level(&band, 176, &mut whole));
        let l2 = level(&b2, 272, &mut whole);
        let [l1, l0] = [b1, b0].map(|band| level(&band, 368, &mut whole));
        ([l0, l1, l2, l3, l4, l5], whole)
    }

    /// Whether levels are those of speech; the models learn of it.
    fn judge(&mut self, levels: &[i16; BANDS]) -> bool {
        let (mut sum, mut speech) = (0, false);
        let (mut noises, mut voices) = ([Likeness::default(); BANDS], [Likeness::default(); BANDS]);
        for (band, level) in levels.iter().enumerate() {
            let noise = Likeness::new(*level, band, &self.noise, &NOISE_WEIGHTS, ONE);
            let voice = Likeness::new(*level, band, &self.speech, &SPEECH_WEIGHTS, 0);
            // How much likelier speech is than noise, as a logarithm, to whole numbers.
            let ratio = shifts(noise.whole) - shifts(voice.whole);
            sum += ratio * SPECTRUM_WEIGHTS[band];
            speech |= ratio * 4 > BAND_SAYS;
            (noises[band], voices[band]) = (noise, voice);
        }
        speech |= sum >= ALL_SAY;
        let mut most = 12_800;
        for (band, level) in levels.iter().enumerate() {
            let lowest = self.lowest[band].take(*level, self.looked_at);
            let mean = (self.noise.mean(band, &NOISE_WEIGHTS) >> 6) as i16;
            // Q8.
            let back = ((i32::from((lowest << 4).wrapping_sub(mean)) * BACK) >> 9) as i16;
            for k in 0..GAUSSIANS {
                let noise = (!speech).then_some(&noises[band]);
                self.noise.learn_noise(band, k, *level, noise, back);
                if speech {
                    self.speech.learn_speech(band, k, *level, &voices[band], most + 640);
                }
            }
            self.keep_apart(band);
            most = MOST_SPEECH[band];
        }
        self.looked_at = (self.looked_at + 1).min(SETTLED);
        speech
    }

    /// Keeps the two models from becoming alike, and within bounds.
    fn keep_apart(&mut self, band: usize) {
        let (mut noise, mut speech) = (self.noise.mean(band, &NOISE_WEIGHTS), self.speech.mean(band, &SPEECH_WEIGHTS));
        // Q14 to Q5.
        let apart = ((speech >> 9) as i16).wrapping_sub((noise >> 9) as i16);
        if apart < APART[band] {
            let lacks = i32::from(APART[band].wrapping_sub(apart));
            // Four fifths of it for speech, Q7.
            self.speech.shift(band, ((13 * lacks) >> 2) as i16);
            self.noise.shift(band, (((3 * lacks) >> 2) as i16).wrapping_neg());
            (noise, speech) = (self.noise.mean(band, &NOISE_WEIGHTS), self.speech.mean(band, &SPEECH_WEIGHTS));
        }
        for (model, mean, most) in
            [(&mut self.speech, speech, MOST_SPEECH[band]), (&mut self.noise, noise, MOST_NOISE[band])]
        {
            // Q14 to Q7.
            let mean = (mean >> 7) as i16;
            if mean > most {
                model.shift(band, most.wrapping_sub(mean));
            }
        }
    }
}

/// How a level is seen by one model.
#[derive(Clone, Copy, Default)]
struct Likeness {
    /// Its probability, Q27.
    whole: i32,
    /// What part of that each Gaussian has, Q14.
    shares: [i16; GAUSSIANS],
    /// Its distance from each Gaussian's mean, by the square of the deviation, Q11.
    distances: [i16; GAUSSIANS],
}

/// Q14.
const ONE: i16 = 16_384;

impl Likeness {
    /// `unlikely`: the first one's share where it is like neither.
    fn new(level: i16, band: usize, model: &Model, weights: &Table, unlikely: i16) -> Likeness {
        let each: [(i32, i16); GAUSSIANS] =
            from_fn(|k| gaussian(level, model.means[k][band], model.deviations[k][band]));
        let [first, second]: [i32; GAUSSIANS] = from_fn(|k| i32::from(weights[k][band]) * each[k].0);
        let whole = first + second;
        // Q15.
        let part = whole >> 12;
        let shares = if part > 0 {
            let share = (((first & !0xfff) << 2) / part) as i16;
            [share, ONE.wrapping_sub(share)]
        } else {
            [unlikely, 0]
        };
        Likeness { whole, shares, distances: each.map(|(_, distance)| distance) }
    }
}

/// How likely a level (Q4) is by one Gaussian (Q7), Q20; and [`Likeness::distances`].
#[inline]
fn gaussian(level: i16, mean: i16, deviation: i16) -> (i32, i16) {
    // One by it, Q10 and rounded; its square, Q14.
    let inverse = ((131_072 + i32::from(deviation >> 1)) / i32::from(deviation)) as i16;
    let square = ((i32::from(inverse >> 2) * i32::from(inverse >> 2)) >> 2) as i16;
    let off = i32::from((level << 3).wrapping_sub(mean));
    let distance = ((i32::from(square) * off) >> 10) as i16;
    // Half of the distance, by the deviation and squared, Q10.
    let exponent = (i32::from(distance) * off) >> 9;
    if exponent >= NEGLIGIBLE {
        return (0, distance);
    }
    // To the base of two: the bits after the point are a mantissa, those before it a shift.
    let power = -((LOG2_E * exponent) >> 12);
    let raised = (0x400 | (power & 0x3ff)) >> ((!power >> 10) + 1);
    (i32::from(inverse) * raised, distance)
}

/// Of an exponent beyond this, Q10, nothing is left.
const NEGLIGIBLE: i32 = 22_005;
/// Q12.
const LOG2_E: i32 = 5_909;

/// By how many bits a probability may grow.
fn shifts(probability: i32) -> i32 {
    if probability == 0 { 31 } else { norm(probability) }
}

/// By how many bits a number that is not negative may be shifted without reaching the sign.
fn norm(number: i32) -> i32 {
    number.leading_zeros() as i32 - 1
}

impl Model {
    /// Of both Gaussians, by weight, Q14.
    fn mean(&self, band: usize, weights: &Table) -> i32 {
        (0..GAUSSIANS).map(|k| i32::from(self.means[k][band]) * i32::from(weights[k][band])).sum()
    }

    fn shift(&mut self, band: usize, by: i16) {
        for means in &mut self.means {
            means[band] = means[band].wrapping_add(by);
        }
    }

    /// `seen`: how a frame of noise was seen; of speech noise learns no more than that it is hardly above the lowest levels (`back`).
    fn learn_noise(&mut self, band: usize, k: usize, level: i16, seen: Option<&Likeness>, back: i16) {
        let before = self.means[k][band];
        let mut mean = before;
        if let Some(seen) = seen {
            let pull = ((i32::from(seen.shares[k]) * i32::from(seen.distances[k])) >> 11) as i16;
            mean = mean.wrapping_add(((i32::from(pull) * NOISE_FOLLOWS) >> 22) as i16);
            let off = i32::from(level.wrapping_sub(before >> 3));
            // How much wider the frame is than the Gaussian, Q12; of which a thousandth counts, Q20.
            let wider = ((i32::from(seen.distances[k]) * off) >> 3) - 4_096;
            let wider = (i32::from(seen.shares[k].wrapping_add(2) >> 2)).wrapping_mul(wider) >> 14;
            self.widen(band, k, wider, 1, 6);
        }
        let (least, most) = (k as i16 + 5, 72 + k as i16 - band as i16);
        self.means[k][band] = mean.wrapping_add(back).max(least << 7).min(most << 7);
    }

    /// `most`: of a mean, Q7.
    fn learn_speech(&mut self, band: usize, k: usize, level: i16, seen: &Likeness, most: i16) {
        let before = self.means[k][band];
        let pull = ((i32::from(seen.shares[k]) * i32::from(seen.distances[k])) >> 11) as i16;
        // Q8, then Q7 and rounded.
        let step = ((i32::from(pull) * SPEECH_FOLLOWS) >> 21) as i16;
        let mean = (i32::from(before) + ((i32::from(step) + 1) >> 1)) as i16;
        self.means[k][band] = mean.max(LEAST_SPEECH[k]).min(most);
        let off = i32::from(level.wrapping_sub(((i32::from(before) + 4) >> 3) as i16));
        let wider = ((i32::from(seen.distances[k]) * off) >> 3) - 4_096;
        let wider = i32::from(seen.shares[k] >> 2).wrapping_mul(wider) >> 4;
        // A fortieth of it.
        self.widen(band, k, wider, 10, 8);
    }

    /// A deviation grows by so much, Q20, by itself (`times`) and by two to the power of `bits`; rounded.
    fn widen(&mut self, band: usize, k: usize, wider: i32, times: i16, bits: u32) {
        let deviation = &mut self.deviations[k][band];
        let by = deviation.wrapping_mul(times);
        // Towards zero.
        let step = wider.wrapping_neg().checked_div(i32::from(by)).map_or(-1, |step| step as i16).wrapping_neg();
        let step = step.wrapping_add(1 << (bits - 1)) >> bits;
        *deviation = deviation.wrapping_add(step).max(LEAST_DEVIATION);
    }
}

/// Frames from which on the third lowest level is known.
const SETTLED: u8 = 3;

impl Lowest {
    /// Takes a level, and gives the third lowest of late, smoothed: down fast, up slowly.
    fn take(&mut self, level: i16, looked_at: u8) -> i16 {
        if self.ages.iter().fold(false, |any, age| any | (*age == REMEMBERED)) {
            self.forget();
        } else {
            self.ages.iter_mut().for_each(|age| *age = (*age + 1).min(REMEMBERED + 1));
        }
        let place = self.levels.iter().map(|lowest| usize::from(*lowest <= level)).sum();
        if place < LOWEST {
            self.levels.copy_within(place..LOWEST - 1, place + 1);
            self.ages.copy_within(place..LOWEST - 1, place + 1);
            (self.levels[place], self.ages[place]) = (level, 1);
        }
        let low = match looked_at {
            0 => 1_600,
            SETTLED.. => self.levels[2],
            _ => self.levels[0],
        };
        // Q15.
        let stays = match looked_at {
            0 => 0,
            _ if low < self.smooth => 6_553,
            _ => 32_439,
        };
        let smooth = (stays + 1) * i32::from(self.smooth) + (32_767 - stays) * i32::from(low) + 16_384;
        self.smooth = (smooth >> 15) as i16;
        self.smooth
    }

    /// Each level is a frame older; one that is too old goes, and the one that comes to its place stays as old as it is.
    #[cold]
    fn forget(&mut self) {
        for n in 0..LOWEST {
            match self.ages[n] {
                REMEMBERED => {
                    self.levels.copy_within(n + 1.., n);
                    self.ages.copy_within(n + 1.., n);
                    (self.levels[LOWEST - 1], self.ages[LOWEST - 1]) = (NONE, REMEMBERED + 1);
                }
                age => self.ages[n] = (age + 1).min(REMEMBERED + 1),
            }
        }
    }
}

/// All-pass filters of the even and of the odd samples, Q15: their difference is the upper half of the band, their sum the lower one.
const ALL_PASS: [i32; 2] = [20_972, 5_571];

/// Splits so many bands in two, each at half of its sample rate. A sample waits for the one before it through a multiplication, a difference and
/// a shift, so all filters go on together.
#[inline]
fn split<const IN: usize, const OUT: usize, const N: usize>(
    bands: [&[i16; IN]; N],
    states: [&mut [i16; 2]; N],
) -> [[[i16; OUT]; 2]; N] {
    const { assert!(IN == 2 * OUT) };
    let mut out = [[[0; OUT]; 2]; N];
    let mut before: [[i32; 2]; N] = from_fn(|band| states[band].map(|state| i32::from(state) << 16));
    let mut last = [[0i32; 2]; N];
    for n in 0..OUT {
        for band in 0..N {
            for side in 0..2 {
                let sample = i32::from(bands[band][2 * n + side]);
                let driven = before[band][side].wrapping_add(ALL_PASS[side] * sample);
                before[band][side] = sample << 15;
                last[band][side] = driven.wrapping_sub(2 * ALL_PASS[side] * last[band][side]) >> 16;
            }
            let [even, odd] = last[band];
            out[band][0][n] = (even - odd) as i16;
            out[band][1][n] = (even + odd) as i16;
        }
    }
    for band in 0..N {
        for side in 0..2 {
            let state = before[band][side].wrapping_sub(2 * ALL_PASS[side] * last[band][side]);
            states[band][side] = (state >> 16) as i16;
        }
    }
    out
}

/// What is above 80 Hz, of a band up to 250.
fn above_80(band: &[i16; 10], state: &mut [i16; 4]) -> [i16; 10] {
    let [mut in_1, mut in_2, mut out_1, mut out_2] = state.map(i32::from);
    let out = band.map(|sample| {
        let sample = i32::from(sample);
        let sum = 6_631 * (sample + in_2) - 13_262 * in_1 + 7_756 * out_1 - 5_620 * out_2;
        (in_2, in_1) = (in_1, sample);
        (out_2, out_1) = (out_1, i32::from((sum >> 14) as i16));
        out_1 as i16
    });
    *state = [in_1, in_2, out_1, out_2].map(|value| value as i16);
    out
}

/// A band's level in dB, Q4, above that of its `offset`; and adds to the measure of the whole.
#[inline]
fn level(band: &[i16], offset: i16, whole: &mut i16) -> i16 {
    let loudest = band.iter().fold(-1, |most: i16, sample| most.max(sample.wrapping_abs()));
    let bits = 32 - (band.len() as u32).leading_zeros() as i32;
    let room = norm(i32::from(loudest) * i32::from(loudest));
    let scaling = if loudest == 0 || room > bits { 0 } else { bits - room };
    let energy = band.iter().fold(0i32, |sum, sample| {
        let sample = i32::from(*sample);
        sum.wrapping_add((sample * sample) >> scaling)
    }) as u32;
    if energy == 0 {
        return offset;
    }
    // To 15 bits: what is after the first of them says how far it is to the next power of two.
    let down = 17 - energy.leading_zeros() as i32;
    let energy = if down < 0 { energy << -down } else { energy >> down };
    let down = down + scaling;
    let log2 = 14_336 + ((energy & 0x3fff) >> 4) as i32;
    let level = (((LOG * log2) >> 19) + ((down * LOG) >> 9)) as i16;
    if *whole <= LEAST_ENERGY {
        *whole += if down >= 0 { LEAST_ENERGY + 1 } else { (energy >> -down) as i16 };
    }
    level.max(0) + offset
}

/// 160 · log10(2), Q9.
const LOG: i32 = 24_660;

// The algorithm and its numbers are of the WebRTC project's detector, as libfvad has it:
//
// Copyright (c) 2011, The WebRTC project authors. All rights reserved. Copyright (c) 2016 Daniel Pirch.
//
// Redistribution and use in source and binary forms, with or without modification, are permitted provided that the following conditions are met:
// redistributions of source code must retain the above copyright notice, this list of conditions and the following disclaimer; redistributions in
// binary form must reproduce the above copyright notice, this list of conditions and the following disclaimer in the documentation and/or other
// materials provided with the distribution; neither the name of Google nor the names of its contributors may be used to endorse or promote
// products derived from this software without specific prior written permission.
//
// THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO,
// THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR
// CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO,
// PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF
// LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE,
// EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use webrtc_vad::{SampleRate, Vad, VadMode};

    use super::*;

    /// Sounds of all kinds and levels, each for a while: silence, noise, tones, words of noise, clicks, square waves as loud as can be.
    fn sound(kind: u32, at: usize, level: f64, rng: &mut StdRng) -> i16 {
        let noise = rng.random_range(-1.0..=1.0f64);
        let tone = (at as f64 * (0.02 + f64::from(kind) * 0.21)).sin();
        let value = match kind % 8 {
            0 => 0.0,
            1 => noise,
            2 => tone,
            3 => noise * f64::from(u8::from((at / 1_600).is_multiple_of(3))),
            4 => tone + 0.1 * noise,
            5 => f64::from(u8::from(at.is_multiple_of(331))),
            6 => tone.signum(),
            _ => tone * (at as f64 / 900.0).sin() + 0.03 * noise,
        };
        (value * level) as i16
    }

    #[test]
    fn it_says_what_webrtcs_says_of_each_frame() {
        let mut said = [0u32; 2];
        for seed in 0..40 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut theirs = Vad::new_with_rate_and_mode(SampleRate::Rate8kHz, VadMode::VeryAggressive);
            let mut ours = Gate::default();
            let (mut kind, mut level) = (0, 0.0);
            for n in 0..3_000 {
                if n % 60 == 0 {
                    kind = rng.random_range(0..64);
                    level = 32_767.0 * 10f64.powf(rng.random_range(-4.5..=0.0));
                }
                let frame = from_fn(|at| sound(kind, n * FRAME + at, level, &mut rng));
                let expected = theirs.is_voice_segment(&frame).expect("20 ms");
                assert_eq!(ours.is_voice(&frame), expected, "frame {n} of {seed}, kind {kind}, {level}");
                said[usize::from(expected)] += 1;
            }
        }
        assert!(said.iter().all(|count| *count > 20_000), "not an even test: {said:?}");
    }

    #[test]
    fn it_fits_seven_lines_of_the_cache() {
        assert!(size_of::<Gate>() <= 7 * 64, "{}", size_of::<Gate>());
    }
}
