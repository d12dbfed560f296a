//! Time-scaling of speech by whole pitch periods: a period is left out or said twice, where the sound is like itself one period on.
//!
//! ```text
//! shorten   before | a b c d …            lengthen   before (… y z) | a b c …
//!                    a×c b×d …                                        a×y b×z a b c …
//! ```
//! The letters are stretches of one period, × crosses over from the left to the right. So the pitch stays, no sample is left alone with a
//! foreign neighbour, and what a jitter buffer has to gain or lose goes in a few steps of 5 to 15 ms that nobody hears. The way of WSOLA
//! (Verhelst and Roelands, 1993) and of NetEQ, for one step at a time: what it costs, it costs only when a step is due.
//!
//! `K` is the rate in multiples of 8 kHz, of which all lengths here are samples.

use super::plc::{HISTORY, PITCH_MAX, PITCH_MIN};

/// What lies before and behind a joint, and has to be alike: 10 ms and 5 ms.
const BEFORE: usize = 80;
const BEHIND: usize = 40;
/// The longest crossing over.
const OVERLAP: usize = 80;
/// Of what is heard around a joint.
const LOOKED_AT: usize = PITCH_MAX + BEFORE + BEHIND + PITCH_MAX;
/// The same of the highest rate.
const ROOM: usize = 2 * LOOKED_AT;

/// Leaves out one period of at most `most` samples at the beginning of `frame`, which continues `before`, and returns how long it is then;
/// `None` if no place is as like as `alike`: 1 is the same, 0 is as like as noise.
pub fn shorten<const K: usize>(before: &[i16], frame: &mut [i16], most: usize, alike: f32) -> Option<usize> {
    let most = most.min(K * PITCH_MAX).min(frame.len().saturating_sub(K * BEHIND));
    if most < K * PITCH_MIN {
        return None;
    }
    let (around, joint) = around::<K>(before, frame);
    let like = |period, step| likeness::<K>(&around, joint, joint + period, step);
    let period = best::<K>(K * PITCH_MIN..=most, alike, like)?;
    Some(leave_out::<K>(frame, period))
}

/// Leaves out the first `period` samples of `frame`, whatever they are: for noise, in which every place is as good. Returns how long it is then.
pub fn leave_out<const K: usize>(frame: &mut [i16], period: usize) -> usize {
    let left = frame.len() - period;
    let overlap = (K * OVERLAP).min(left);
    for n in 0..overlap {
        frame[n] = cross(frame[n], frame[n + period], n, overlap);
    }
    frame.copy_within(period + overlap.., overlap);
    left
}

/// Says one period twice before the first `length` samples of `room`, which continue `before`, and returns how long they are then; `None`
/// if there is no room, or no place is as like as `alike`.
pub fn lengthen<const K: usize>(before: &[i16], room: &mut [i16], length: usize, alike: f32) -> Option<usize> {
    if length < K * OVERLAP || room.len() < length + K * PITCH_MAX {
        return None;
    }
    let (around, joint) = around::<K>(before, &room[..length]);
    let like = |period, step| likeness::<K>(&around, joint, joint - period, step);
    let period = best::<K>(K * PITCH_MIN..=K * PITCH_MAX, alike, like)?;
    room.copy_within(..length, period);
    let overlap = (K * OVERLAP).min(period);
    for n in 0..period {
        let again = before[K * HISTORY - period + n];
        // What is crossed from has moved by a period, and may be overwritten only behind where it is read.
        room[n] = if n < overlap { cross(around[joint + n], again, n, overlap) } else { again };
    }
    Some(length + period)
}

/// The end of what was heard and the beginning of what follows, and where the one becomes the other.
fn around<const K: usize>(before: &[i16], frame: &[i16]) -> ([i16; ROOM], usize) {
    let joint = K * (PITCH_MAX + BEFORE);
    let mut around = [0; ROOM];
    around[..joint].copy_from_slice(&before[K * HISTORY - joint..]);
    let follows = frame.len().min(K * LOOKED_AT - joint);
    around[joint..joint + follows].copy_from_slice(&frame[..follows]);
    (around, joint)
}

/// The likest period, if it is like enough: sought in steps of two of 8 kHz, then of one sample.
fn best<const K: usize>(
    periods: std::ops::RangeInclusive<usize>,
    alike: f32,
    likeness: impl Fn(usize, usize) -> f32,
) -> Option<usize> {
    let likest = |periods: &mut dyn Iterator<Item = usize>, step: usize| {
        periods.map(|period| (likeness(period, step), period)).max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let (first, last, near) = (*periods.start(), *periods.end(), 2 * K - 1);
    let (_, coarse) = likest(&mut periods.step_by(2 * K), 2 * K)?;
    let (like, period) = likest(&mut (coarse.max(first + near) - near..=(coarse + near).min(last)), 1)?;
    (like >= alike).then_some(period)
}

/// How like what lies around two places is, −1 to 1.
fn likeness<const K: usize>(around: &[i16; ROOM], here: usize, there: usize, step: usize) -> f32 {
    let (before, behind) = (K * BEFORE, K * BEHIND);
    let (here, there) = (&around[here - before..here + behind], &around[there - before..there + behind]);
    let (mut product, mut own, mut other) = (0.0f32, 1.0f32, 1.0f32);
    for (here, there) in here.iter().zip(there).step_by(step) {
        let (here, there) = (f32::from(*here), f32::from(*there));
        product += here * there;
        own += here * here;
        other += there * there;
    }
    product / (own * other).sqrt()
}

fn cross(from: i16, to: i16, n: usize, overlap: usize) -> i16 {
    let (from, to) = (i32::from(from), i32::from(to));
    (from + (to - from) * (n as i32 + 1) / (overlap as i32 + 1)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(hz: f64, from: usize, length: usize) -> Vec<i16> {
        let at = |n: usize| (8000.0 * (std::f64::consts::TAU * hz * n as f64 / 8000.0).sin()) as i16;
        (from..from + length).map(at).collect()
    }

    fn before(hz: f64) -> [i16; HISTORY] {
        tone(hz, 0, HISTORY).try_into().unwrap()
    }

    /// The largest step between two samples, which is what a click is.
    fn steepest(samples: &[i16]) -> u16 {
        samples.windows(2).map(|two| two[0].abs_diff(two[1])).max().unwrap()
    }

    #[test]
    fn a_voice_is_shortened_and_lengthened_by_its_period_without_a_click() {
        for period in [40, 53, 80, 100, 118] {
            let hz = 8000.0 / period as f64;
            let before = before(hz);
            let allowed = steepest(&before) * 6 / 5 + 50;
            let mut frame = tone(hz, HISTORY, 160);
            let length = shorten::<1>(&before, &mut frame, 160, 0.9).unwrap();
            assert_eq!((160 - length) % period, 0);
            assert!(steepest(&[&before, &frame[..length]].concat()) <= allowed);
            let mut room = tone(hz, HISTORY, 160);
            room.resize(300, 0);
            let length = lengthen::<1>(&before, &mut room, 160, 0.9).unwrap();
            assert_eq!((length - 160) % period, 0);
            assert!(steepest(&[&before, &room[..length]].concat()) <= allowed);
            assert_eq!(room[length - 100..length], tone(hz, HISTORY + 60, 100), "the rest is as it was");
        }
    }

    #[test]
    fn at_16_khz_too() {
        let tone = |from: usize, length: usize| -> Vec<i16> {
            let at = |n: usize| (8000.0 * (std::f64::consts::TAU * 200.0 * n as f64 / 16_000.0).sin()) as i16;
            (from..from + length).map(at).collect()
        };
        let before = tone(0, 2 * HISTORY);
        let allowed = steepest(&before) * 6 / 5 + 50;
        let mut frame = tone(2 * HISTORY, 320);
        let length = shorten::<2>(&before, &mut frame, 320, 0.9).unwrap();
        assert!(length < 320 && (320 - length).is_multiple_of(80), "{length}");
        assert!(steepest(&[&before, &frame[..length]].concat()) <= allowed);
        let mut room = tone(2 * HISTORY, 320);
        room.resize(600, 0);
        let length = lengthen::<2>(&before, &mut room, 320, 0.9).unwrap();
        assert!(length > 320 && (length - 320).is_multiple_of(80), "{length}");
        assert!(steepest(&[&before, &room[..length]].concat()) <= allowed);
    }

    #[test]
    fn what_is_nowhere_like_itself_stays_as_it_is() {
        let mut seed = 1u32;
        let mut noise = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) as i16 / 4
        };
        let before: [i16; HISTORY] = std::array::from_fn(|_| noise());
        let frame: Vec<i16> = (0..160).map(|_| noise()).collect();
        assert_eq!(shorten::<1>(&before, &mut frame.clone(), 160, 0.7), None);
        let mut room = frame.clone();
        room.resize(300, 0);
        assert_eq!(lengthen::<1>(&before, &mut room, 160, 0.7), None);
        assert_eq!(room[..160], frame);
    }

    #[test]
    fn no_more_is_left_out_than_may_be() {
        let before = before(200.0);
        assert_eq!(shorten::<1>(&before, &mut tone(200.0, HISTORY, 160), 79, 0.9), Some(120), "one period, not two");
        assert_eq!(shorten::<1>(&before, &mut tone(200.0, HISTORY, 160), 39, 0.9), None);
        assert_eq!(
            shorten::<1>(&before, &mut tone(200.0, HISTORY, 60), 160, 0.9),
            None,
            "shorter than a period and a joint"
        );
        assert_eq!(lengthen::<1>(&before, &mut tone(200.0, HISTORY, 270), 160, 0.9), None, "no room");
    }

    proptest! {
        #[test]
        fn any_sound_of_any_length(length in 0usize..480, most in 0usize..700, seed: i16, alike in -2.0f32..1.0) {
            let sound = |n: usize| seed.wrapping_mul(n as i16 | 1);
            let before: [i16; HISTORY] = std::array::from_fn(sound);
            let mut frame: Vec<i16> = (0..length).map(sound).collect();
            if let Some(left) = shorten::<1>(&before, &mut frame, most, alike) {
                prop_assert!(left < length && length - left <= most);
            }
            frame.resize(640, 0);
            if let Some(longer) = lengthen::<1>(&before, &mut frame, length, alike) {
                prop_assert!(longer > length && longer <= 640);
            }
        }
    }
}
