//! Noises that are no speech, made by rule and the same at each run: what a cough, a melody, a keyboard and a door have that a detector of
//! voices may fall for.

use std::f32::consts::TAU;

use rand::RngExt;
use rand::rngs::StdRng;

use super::clip::{Clip, add_noise, seeded};

const RATE: f32 = 8_000.0;

/// Coughs, one to three in a row: a burst, turbulence through the mouth's resonances, and in half of them the voice at the end.
pub(super) fn cough(which: u64) -> Clip {
    let mut rng = seeded(1, which);
    let mut samples = Vec::new();
    for _ in 0..1 + which % 3 {
        let (length, voiced) = (rng.random_range(0.22..0.38), which.is_multiple_of(2));
        let pitch = rng.random_range(140.0..320.0);
        let throat: [f32; 3] = [rng.random_range(450.0..800.0), rng.random_range(1_200.0..1_800.0), 2_700.0];
        let mut filters = throat.map(|hz| Resonance::new(hz, 0.12 * hz + 80.0));
        let start = samples.len();
        samples.extend((0..(length * RATE) as usize).map(|n| {
            let t = n as f32 / RATE;
            let burst = (t / 0.004).min(1.0) * (-t / 0.035).exp();
            let breath = 0.35 * (t / 0.02).min(1.0) * (-t / (0.45 * length)).exp();
            let end =
                if voiced && t > 0.55 * length { 0.5 * (-(t - 0.75 * length).powi(2) / 0.003).exp() } else { 0.0 };
            let pulse = if (t * pitch).fract() < pitch / RATE { 6.0 } else { 0.0 };
            let source = rng.random_range(-1.0..1.0f32) * (burst + breath) + pulse * end;
            filters.iter_mut().map(|filter| filter.push(source)).sum::<f32>()
        }));
        fade_out(&mut samples[start..]);
        samples.extend(std::iter::repeat_n(0.0, (rng.random_range(0.08..0.25) * RATE) as usize));
    }
    Clip::new(format!("cough-{which}"), "", &samples)
}

/// Four seconds of music: chords and a melody, plucked (even numbers) or held with a vibrato as strings and organs do.
pub(super) fn music(which: u64) -> Clip {
    let mut rng = seeded(2, which);
    let plucked = which.is_multiple_of(2);
    let mut samples = vec![0.0; 4 * RATE as usize];
    let root = 110.0 * 2f32.powf(rng.random_range(0..12) as f32 / 12.0);
    let scale = [0, 2, 4, 5, 7, 9, 11, 12];
    let beat = rng.random_range(0.28..0.5f32);
    let mut at = 0.0f32;
    while at < 4.0 {
        let bar = (at / beat) as usize;
        let melody = scale[rng.random_range(0..scale.len())] + 12;
        note(&mut samples, at, beat * 1.1, root * semitones(melody), 1.0, plucked);
        if bar.is_multiple_of(4) {
            let base = [0, 5, 7, 0][bar / 4 % 4];
            for step in [0, 4, 7] {
                note(&mut samples, at, beat * 4.0, root * semitones(base + step), 0.5, plucked);
            }
        }
        at += beat;
    }
    Clip::new(format!("music-{which}"), "", &samples)
}

/// Four seconds of white noise.
pub(super) fn white(which: u64) -> Clip {
    let mut samples = vec![0.0; 4 * RATE as usize];
    add_noise(&mut samples, -30.0, &mut seeded(3, which));
    Clip::new(format!("white-{which}"), "", &samples)
}

/// Four seconds of noise as of a street or a fan: the higher the softer.
pub(super) fn pink(which: u64) -> Clip {
    let mut rng = seeded(4, which);
    let mut poles = [0.0f32; 3];
    let samples: Vec<f32> = (0..4 * RATE as usize)
        .map(|_| {
            let white = rng.random_range(-1.0..1.0f32);
            poles[0] = 0.997 * poles[0] + 0.03 * white;
            poles[1] = 0.963 * poles[1] + 0.09 * white;
            poles[2] = 0.57 * poles[2] + 0.3 * white;
            poles.iter().sum::<f32>() + 0.05 * white
        })
        .collect();
    Clip::new(format!("pink-{which}"), "", &samples)
}

/// Three seconds of typing: down and up of each key a click of some ms.
pub(super) fn keyboard(which: u64) -> Clip {
    let mut rng = seeded(5, which);
    let mut samples = vec![0.0; 3 * RATE as usize];
    let mut at = 0.0f32;
    while at < 2.9 {
        click(&mut samples, at, 0.004, 2_200.0, 1.0, &mut rng);
        click(&mut samples, at + 0.07, 0.003, 3_000.0, 0.5, &mut rng);
        at += rng.random_range(0.09..0.26);
    }
    Clip::new(format!("keyboard-{which}"), "", &samples)
}

/// A door: the latch, the blow, the room.
pub(super) fn door(which: u64) -> Clip {
    let mut rng = seeded(6, which);
    let mut samples = vec![0.0; RATE as usize];
    click(&mut samples, 0.0, 0.006, 1_800.0, 0.4, &mut rng);
    click(&mut samples, 0.05, 0.05, rng.random_range(130.0..220.0), 1.0, &mut rng);
    click(&mut samples, 0.055, 0.09, rng.random_range(350.0..700.0), 0.5, &mut rng);
    Clip::new(format!("door-{which}"), "", &samples)
}

fn click(samples: &mut [f32], at: f32, decay: f32, hz: f32, gain: f32, rng: &mut StdRng) {
    let mut filter = Resonance::new(hz, 0.6 * hz);
    let from = (at * RATE) as usize;
    for (n, sample) in samples.iter_mut().skip(from).take((8.0 * decay * RATE) as usize).enumerate() {
        let source = rng.random_range(-1.0..1.0f32) * (-(n as f32) / (decay * RATE)).exp();
        *sample += gain * filter.push(source);
    }
}

fn note(samples: &mut [f32], at: f32, length: f32, hz: f32, gain: f32, plucked: bool) {
    let from = (at * RATE) as usize;
    for (n, sample) in samples.iter_mut().skip(from).take((length * RATE) as usize).enumerate() {
        let t = n as f32 / RATE;
        let envelope = match plucked {
            true => (t / 0.004).min(1.0) * (-t / 0.35).exp(),
            false => (t / 0.06).min(1.0) * ((length - t) / 0.05).clamp(0.0, 1.0) * 0.6,
        };
        let wobble = if plucked { 0.0 } else { 0.9 * (TAU * 5.5 * t).sin() };
        let harmonics = (1..=8).map(|k| k as f32).take_while(|k| k * hz < 3_400.0);
        *sample += gain * envelope * harmonics.map(|k| (k * (TAU * hz * t + wobble)).sin() / k.powf(1.3)).sum::<f32>();
    }
}

fn semitones(steps: i32) -> f32 {
    2f32.powf(steps as f32 / 12.0)
}

fn fade_out(samples: &mut [f32]) {
    let (length, ramp) = (samples.len(), samples.len().min(160));
    samples[length - ramp..].iter_mut().enumerate().for_each(|(n, sample)| *sample *= 1.0 - n as f32 / ramp as f32);
}

/// Two poles.
struct Resonance {
    a: f32,
    b: f32,
    gain: f32,
    last: [f32; 2],
}

impl Resonance {
    fn new(hz: f32, width: f32) -> Resonance {
        let radius = (-std::f32::consts::PI * width / RATE).exp();
        let a = 2.0 * radius * (TAU * hz / RATE).cos();
        Resonance { a, b: -radius * radius, gain: 1.0 - radius, last: [0.0; 2] }
    }

    fn push(&mut self, source: f32) -> f32 {
        let out = self.gain * source + self.a * self.last[0] + self.b * self.last[1];
        self.last = [out, self.last[0]];
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_the_same_at_each_run_and_lasts_as_long_as_it_should() {
        type Make = fn(u64) -> Clip;
        let kinds: [(Make, std::ops::Range<usize>); 6] = [
            (cough, 150..1_900),
            (music, 3_500..4_001),
            (white, 4_000..4_001),
            (pink, 4_000..4_001),
            (keyboard, 2_600..3_001),
            (door, 50..1_000),
        ];
        for (make, ms) in kinds {
            for which in 0..6 {
                let clip = make(which);
                assert_eq!(clip.samples, make(which).samples, "{}", clip.name);
                assert!(ms.contains(&(clip.samples.len() / 8)), "{}: {} ms", clip.name, clip.samples.len() / 8);
                assert!(clip.samples.iter().all(|sample| sample.is_finite()), "{}", clip.name);
            }
        }
    }
}
