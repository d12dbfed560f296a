//! A sound that is looped under another one: an office, a call centre, a street.
//!
//! It begins, changes and ends without a click: its level glides over [`GLIDE`] samples, and where the end of the loop meets its beginning,
//! the two are cross-faded over [`SEAM`]. What comes out too loud stays at full scale. The samples are shared between calls; nothing is
//! allocated, and what is not needed any more is handed back to be freed elsewhere.

use std::sync::Arc;

use super::level::{Gain, mix};

/// From silence to the level, from one level to another, and to silence: 200 ms at 8 kHz.
pub const GLIDE: i32 = 1_600;
/// Of the end under the beginning: 20 ms. A shorter sound than four of these is joined as it is.
pub const SEAM: usize = 160;

/// Below a unit of [`Gain`], so that a glide to a low level has steps.
const FINE: u32 = 12;

/// What is looped, or nothing.
#[derive(Debug, Default)]
pub struct Bed {
    samples: Option<Arc<[i16]>>,
    place: usize,
    /// In fine units: now, where it glides to, and by how much a sample.
    level: i32,
    target: i32,
    step: i32,
    /// What begins when this one has fallen silent.
    next: Option<(Arc<[i16]>, Gain)>,
}

impl Bed {
    /// Whether there is anything to be heard, or a rest of it.
    pub fn plays(&self) -> bool {
        self.samples.is_some()
    }

    /// Something else from now on: another sound after this one has faded, another level of the same sound, or silence. What is given
    /// back had not begun, and never will.
    pub fn set(&mut self, wanted: Option<(Arc<[i16]>, Gain)>) -> Option<Arc<[i16]>> {
        let wanted = wanted.filter(|(samples, _)| !samples.is_empty());
        let dropped = self.next.take().map(|(samples, _)| samples);
        match (wanted, &self.samples) {
            (Some((samples, gain)), Some(now)) if Arc::ptr_eq(now, &samples) => self.glide(gain.units() << FINE),
            (Some(wanted), Some(_)) => {
                self.next = Some(wanted);
                self.glide(0);
            }
            (Some((samples, gain)), None) => self.begin(samples, gain),
            (None, Some(_)) => self.glide(0),
            (None, None) => {}
        }
        dropped
    }

    fn begin(&mut self, samples: Arc<[i16]>, gain: Gain) {
        (self.samples, self.place, self.level) = (Some(samples), 0, 0);
        self.glide(gain.units() << FINE);
    }

    fn glide(&mut self, target: i32) {
        let way = target - self.level;
        self.target = target;
        self.step = if way.abs() < GLIDE { way.signum() } else { way / GLIDE };
    }

    /// Adds the next stretch of it to `frame`. What is given back has come to its end.
    pub fn under(&mut self, frame: &mut [i16]) -> Option<Arc<[i16]>> {
        let samples = self.samples.as_ref()?;
        let seam = if samples.len() < 4 * SEAM { 0 } else { SEAM };
        let joins = samples.len() - seam;
        if self.level == self.target && self.place + frame.len() <= joins {
            mix(frame, &samples[self.place..], Gain::of_units(self.level >> FINE));
            self.place += frame.len();
            // Without a seam the end is the beginning.
            if self.place == samples.len() {
                self.place = 0;
            }
        } else {
            for sample in frame {
                let mut sound = i32::from(samples[self.place]);
                if self.place >= joins {
                    let k = self.place - joins;
                    let (going, coming) = ((seam - k) as i32, k as i32);
                    sound = (sound * going + i32::from(samples[k]) * coming) / seam as i32;
                }
                self.place += 1;
                if self.place == samples.len() {
                    self.place = seam;
                }
                self.level = match self.level + self.step {
                    past if (past - self.target).signum() == self.step.signum() => self.target,
                    level => level,
                };
                mix(std::slice::from_mut(sample), &[sound as i16], Gain::of_units(self.level >> FINE));
            }
        }
        if self.level > 0 || self.target > 0 {
            return None;
        }
        let gone = self.samples.take();
        if let Some((samples, gain)) = self.next.take() {
            self.begin(samples, gain);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out in so many samples, over silence, in frames of 20 ms.
    fn play(bed: &mut Bed, samples: usize) -> Vec<i16> {
        let mut out = vec![0; samples];
        out.chunks_mut(160).for_each(|frame| drop(bed.under(frame)));
        out
    }

    fn flat(value: i16, length: usize) -> Arc<[i16]> {
        vec![value; length].into()
    }

    fn steepest(samples: &[i16]) -> i32 {
        samples.windows(2).map(|two| (i32::from(two[1]) - i32::from(two[0])).abs()).max().unwrap_or(0)
    }

    #[test]
    fn begins_and_ends_smoothly_at_its_level() {
        let mut bed = Bed::default();
        let sound = flat(10_000, 4_000);
        assert!(bed.set(Some((sound.clone(), Gain::from_db(-20.0)))).is_none() && bed.plays());
        let out = play(&mut bed, 8_000);
        assert!(out[..GLIDE as usize].is_sorted() && out[0] <= 1, "{:?}", &out[..20]);
        assert!(out[1_700..].iter().all(|sample| (999..=1_001).contains(sample)), "a tenth, over every seam");
        assert!((450..550).contains(&out[800]), "half of it after half of the time: {}", out[800]);
        bed.set(None);
        let mut out = vec![0; 1_920];
        let gone: Vec<_> = out.chunks_mut(160).filter_map(|frame| bed.under(frame)).collect();
        assert!(out[..1_600].is_sorted_by(|a, b| a >= b) && out[1_600..].iter().all(|sample| *sample == 0));
        // A step of the gain, 1/4096, makes no larger one of this sound.
        assert!(steepest(&out) <= 3, "{}", steepest(&out));
        assert!(matches!(&gone[..], [one] if Arc::ptr_eq(one, &sound)) && !bed.plays());
        assert_eq!(play(&mut bed, 160), [0; 160]);
    }

    #[test]
    fn the_seam_has_no_step() {
        // From −8000 up to 8000: joined as it is, it would fall by 16,000 in one sample.
        let ramp: Arc<[i16]> = (0..1_600).map(|n| -8_000 + n * 10).collect();
        let mut bed = Bed::default();
        bed.set(Some((ramp, Gain::UNITY)));
        play(&mut bed, 1_600);
        let out = play(&mut bed, 16_000);
        assert!(steepest(&out) <= 16_000 / SEAM as i32 + 20, "{}", steepest(&out));
        // It comes again every 1,600 less the seam.
        assert_eq!(out[..1_440], out[1_440..2_880]);
        // One that is too short for a seam is joined as it is, and goes on for ever.
        let short: Arc<[i16]> = (0..100).collect();
        let mut bed = Bed::default();
        bed.set(Some((short, Gain::UNITY)));
        play(&mut bed, 1_600);
        let out = play(&mut bed, 1_000);
        assert!((0..1_000).all(|n| i32::from(out[n]) == (n as i32 % 100)), "{:?}", &out[..200]);
    }

    #[test]
    fn what_is_too_loud_stays_at_full_scale() {
        let mut bed = Bed::default();
        bed.set(Some((flat(30_000, 2_000), Gain::UNITY)));
        play(&mut bed, 1_600);
        let (mut high, mut low) = ([30_000; 160], [-32_000; 160]);
        bed.under(&mut high);
        bed.under(&mut low);
        assert_eq!((high, low), ([i16::MAX; 160], [-2_000; 160]));
    }

    #[test]
    fn another_sound_waits_for_the_end_of_this_one_and_another_level_glides() {
        let (one, two, three) = (flat(4_000, 1_000), flat(-4_000, 1_000), flat(2_000, 1_000));
        let mut bed = Bed::default();
        bed.set(Some((one.clone(), Gain::UNITY)));
        play(&mut bed, 1_600);
        bed.set(Some((one.clone(), Gain::from_db(-6.0206))));
        let out = play(&mut bed, 1_760);
        assert!(out.is_sorted_by(|a, b| a >= b) && steepest(&out) <= 2, "{}", steepest(&out));
        assert!((1_998..=2_002).contains(&out[1_700]), "{}", out[1_700]);
        assert!(bed.set(Some((two.clone(), Gain::UNITY))).is_none());
        // Who changes his mind meanwhile gets back what never began.
        assert!(bed.set(Some((three, Gain::UNITY))).is_some_and(|dropped| Arc::ptr_eq(&dropped, &two)));
        let out = play(&mut bed, 3_520);
        assert!(out.iter().all(|sample| *sample >= 0), "two was never heard");
        assert!(out.contains(&0) && out[3_500] == 2_000 && steepest(&out) <= 2, "{} {}", out[3_500], steepest(&out));
        assert_eq!(Arc::strong_count(&one), 1, "it was handed back");
    }

    #[test]
    fn nothing_is_nothing() {
        let mut bed = Bed::default();
        assert!(bed.set(Some((flat(0, 0), Gain::UNITY))).is_none() && !bed.plays());
        assert!(bed.set(None).is_none());
        let mut frame = [7; 160];
        assert!(bed.under(&mut frame).is_none());
        assert_eq!(frame, [7; 160]);
    }
}
