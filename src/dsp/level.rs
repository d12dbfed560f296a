//! Loudness, fades and mixing of 16-bit linear audio.
//!
//! Levels are dBFS: a full-scale square wave is 0 dB, a full-scale sine −3.01 dB. (A G.711 sine of 0 dBm0 lies at −6.2 dBFS so
//! measured.) Digital silence is told as [`FLOOR_DB`].

/// What silence is told as: below anything that 16 bits can hold.
pub const FLOOR_DB: f32 = -100.0;

/// The level of a stretch of audio in dBFS, [`FLOOR_DB`] to 0.
pub fn dbfs(samples: &[i16]) -> f32 {
    if samples.is_empty() {
        return FLOOR_DB;
    }
    let energy = energy(samples);
    if energy == 0 {
        return FLOOR_DB;
    }
    let mean = energy as f32 / samples.len() as f32;
    (10.0 * (mean / (32_768.0 * 32_768.0)).log10()).max(FLOOR_DB)
}

/// The sum of the squares.
pub fn energy(samples: &[i16]) -> i64 {
    samples.iter().map(|sample| i64::from(i32::from(*sample) * i32::from(*sample))).sum()
}

/// A factor for [`mix`] and [`scale`], made once from decibels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gain(i32);

impl Gain {
    /// No change.
    pub const UNITY: Gain = Gain(1 << 12);

    /// From decibels, −100 (and below: silence) to +18 (and above).
    pub fn from_db(db: f32) -> Gain {
        if db <= FLOOR_DB || db.is_nan() {
            return Gain(0);
        }
        Gain((10f32.powf(db.min(18.0) / 20.0) * 4096.0).round() as i32)
    }

    /// As a number of 4,096ths, and from it.
    pub(super) fn units(self) -> i32 {
        self.0
    }

    pub(super) fn of_units(units: i32) -> Gain {
        Gain(units)
    }

    fn of(self, sample: i16) -> i32 {
        (i32::from(sample) * self.0) >> 12
    }
}

/// Adds `other` at `gain` to `samples`, as far as both reach; what is too loud stays at full scale.
pub fn mix(samples: &mut [i16], other: &[i16], gain: Gain) {
    for (sample, other) in samples.iter_mut().zip(other) {
        *sample = clip(i32::from(*sample) + gain.of(*other));
    }
}

/// Makes `samples` louder or softer; what is too loud stays at full scale.
pub fn scale(samples: &mut [i16], gain: Gain) {
    for sample in samples {
        *sample = clip(gain.of(*sample));
    }
}

fn clip(value: i32) -> i16 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// A fade to silence along a raised cosine, so that a stopped prompt does not click.
#[derive(Clone, Debug)]
pub struct Fade {
    length: u32,
    done: u32,
}

impl Fade {
    /// The longest fade: 20 ms at 16 kHz.
    pub const LONGEST: u32 = 320;

    /// A fade over `samples`, at most [`Fade::LONGEST`].
    pub fn new(samples: u32) -> Fade {
        Fade { length: samples.min(Fade::LONGEST), done: 0 }
    }

    /// Fades the next stretch of audio; what lies behind the end of the fade becomes silence.
    pub fn apply(&mut self, samples: &mut [i16]) {
        for sample in samples {
            if self.done >= self.length {
                *sample = 0;
                continue;
            }
            let place = (self.done + 1) as f32 / (self.length + 1) as f32;
            let gain = 0.5 + 0.5 * (std::f32::consts::PI * place).cos();
            *sample = (f32::from(*sample) * gain) as i16;
            self.done += 1;
        }
    }

    /// Whether only silence follows.
    pub fn is_over(&self) -> bool {
        self.done >= self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_levels_of_known_signals() {
        assert_eq!(dbfs(&[]), FLOOR_DB);
        assert_eq!(dbfs(&[0; 160]), FLOOR_DB);
        assert!(dbfs(&[i16::MIN; 160]).abs() < 0.001);
        let sine: Vec<i16> =
            (0..160).map(|n| (32767.0 * (n as f32 * std::f32::consts::TAU / 16.0).sin()) as i16).collect();
        assert!((dbfs(&sine) + 3.01).abs() < 0.01);
        assert!((dbfs(&[3277; 160]) + 20.0).abs() < 0.01);
        assert!(dbfs(&[1; 160]) > FLOOR_DB);
    }

    #[test]
    fn mixes_without_wrapping() {
        let mut samples = [30_000, -30_000, 100, 5];
        mix(&mut samples, &[30_000, -30_000, 100], Gain::UNITY);
        assert_eq!(samples, [i16::MAX, i16::MIN, 200, 5]);
        mix(&mut samples, &[1000; 4], Gain::from_db(f32::NEG_INFINITY));
        assert_eq!(samples, [i16::MAX, i16::MIN, 200, 5]);
        scale(&mut samples, Gain::from_db(-20.0));
        assert!((samples[2] - 20).abs() <= 1);
        let mut loud = [i16::MIN, i16::MAX];
        scale(&mut loud, Gain::from_db(1000.0));
        assert_eq!(loud, [i16::MIN, i16::MAX]);
        assert_eq!(Gain::from_db(0.0), Gain::UNITY);
    }

    #[test]
    fn fades_smoothly_to_nothing_over_any_frames() {
        let mut whole = [10_000i16; 400];
        Fade::new(Fade::LONGEST).apply(&mut whole);
        let mut parts = [10_000i16; 400];
        let mut fade = Fade::new(500);
        parts.chunks_mut(37).for_each(|part| fade.apply(part));
        assert_eq!(whole, parts);
        assert!(fade.is_over());
        assert!(whole[0] > 9_990 && whole[319] < 10 && whole[320..].iter().all(|sample| *sample == 0));
        assert!(whole.is_sorted_by(|a, b| a >= b));
        assert!(whole.windows(2).all(|two| two[0] - two[1] < 110), "no step is larger than the cosine's steepest");
        let mut cut = [9i16; 4];
        Fade::new(0).apply(&mut cut);
        assert_eq!(cut, [0; 4]);
    }
}
