//! Two channels on one media time: the caller left, the robot right.
//!
//! The robot's frames fall on the 20 ms grid of our own wheel, so each is put where its time says. The caller's cannot be: their
//! times are those of another clock, rounded to milliseconds and corrected a little with every packet. Put where its time says, each
//! frame would leave a hole of a few samples after the one before it or cover a few of its samples: 50 clicks a second. So
//! the caller's frames are joined one to the next as long as that stays within 20 ms of their times, which nobody hears as
//! an offset between the speakers. Only when more has added up (a pause, drift: at 100 ppm once in three minutes, packets lost
//! without a trace) the channel is set right: forward by silence, between a short fade out and in, backward by leaving samples
//! out, under a short cross-fade.
//!
//! The channels go on independently of each other: the caller's sound is placed on the caller's wire and so comes later by
//! the jitter buffer's delay. Half a second is kept in memory until both have passed it; what is older is settled.
//!
//! A paused stretch is one of media time, so it is not the frames that came meanwhile that are left out. The robot's are, but the
//! caller's come later than they were said: those that were said before the pause still have their place, and those that were said in
//! it do not get one after the resume. A frame that lies in the pause with one sample is left out whole; and whatever came to lie
//! there by the slip is silenced when it is settled.

use std::collections::VecDeque;
use std::ops::Range;

use crate::call::io::RecordedFrame;
use crate::ms::Ms;

/// Samples of a frame.
const FRAME: usize = 160;
/// Samples by which the caller's frames may be off their times: 20 ms.
const SLIP: i64 = 160;
/// Samples of a fade: 5 ms, short enough to leave syllables whole, long enough not to click.
const FADE: u64 = 40;
/// Samples kept until they are settled: 500 ms, more than any jitter buffer holds back.
const WINDOW: u64 = 4_000;
/// Samples of silence given at a time.
const HUSH: [[i16; 2]; 800] = [[0; 2]; 800];

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// The two channels; positions are samples since the answer, 8 kHz.
#[derive(Debug)]
pub(super) struct Timeline {
    /// All before it is settled.
    base: u64,
    /// What is not, from `base`.
    window: VecDeque<[i16; 2]>,
    /// Where the robot's sound ends.
    right: u64,
    /// Where the caller's sound ends.
    left: u64,
    /// The caller's sound has not been faded out at `left`.
    sounding: bool,
    /// The caller's frames are being left out until their times reach `left`.
    skipping: bool,
    missing: u64,
    first_missing: u64,
    /// The next frame need not follow the last one.
    seam: bool,
    /// Paused stretches that are not settled, in order, and whether the last one goes on.
    pauses: VecDeque<Range<u64>>,
    pausing: bool,
}

impl Timeline {
    /// Takes 17 KB for as long as the call is recorded.
    pub(super) fn new() -> Timeline {
        Timeline {
            base: 0,
            window: VecDeque::with_capacity(WINDOW as usize + FRAME),
            right: 0,
            left: 0,
            sounding: false,
            skipping: false,
            missing: 0,
            first_missing: 0,
            seam: false,
            pauses: VecDeque::new(),
            pausing: false,
        }
    }

    /// Puts a frame in its place; gives what is settled by it to `out`, in order.
    pub(super) fn push(&mut self, frame: &RecordedFrame, mut out: impl FnMut(&[[i16; 2]])) {
        let at = position(frame.robot_at);
        let end = at + FRAME as u64;
        self.settle(end.saturating_sub(WINDOW), &mut out);
        let gap = at.saturating_sub(self.right) / FRAME as u64;
        let missing = if std::mem::take(&mut self.seam) { 0 } else { gap };
        if missing > 0 && self.missing == 0 {
            self.first_missing = self.right;
        }
        self.missing += missing;
        self.note_pause(frame.paused, at);
        match frame.paused {
            true => self.put(at, &[0; FRAME], RIGHT),
            false => self.put(at, &frame.robot, RIGHT),
        }
        self.right = self.right.max(end);
        if let Some(caller_at) = frame.caller_at {
            let caller_at = self.believable(position(caller_at), at);
            if self.is_paused(caller_at) {
                self.hush();
            } else {
                self.hear(caller_at, &frame.caller);
            }
        }
    }

    /// What lies before the next frame was never there: no frame of it is missing.
    pub(super) fn seam(&mut self) {
        self.seam = true;
    }

    /// Gives all that is left.
    pub(super) fn finish(mut self, mut out: impl FnMut(&[[i16; 2]])) {
        self.hush();
        self.settle(self.base + self.window.len() as u64, &mut out);
    }

    /// How many of the robot's frames never came, and where the first of them would have been.
    pub(super) fn missing(&self) -> (u64, Ms) {
        (self.missing, Ms::of_samples(self.first_missing, 8_000))
    }

    /// The frame at `at` is paused or not. What was lost between two frames of which one is paused counts as paused: nobody knows
    /// where in it the pause began or ended.
    fn note_pause(&mut self, paused: bool, at: u64) {
        match self.pauses.back_mut().filter(|_| self.pausing) {
            Some(pause) => pause.end = if paused { at + FRAME as u64 } else { at.max(pause.end) },
            None if paused => self.pauses.push_back(self.right.min(at)..at + FRAME as u64),
            None => {}
        }
        self.pausing = paused;
    }

    /// Whether the frame at `at` lies in a paused stretch, with one sample at least.
    fn is_paused(&self, at: u64) -> bool {
        // One that goes on has no end yet.
        let ends = |pause: &Range<u64>| self.pausing && self.pauses.back() == Some(pause);
        self.pauses.iter().any(|pause| pause.start < at + FRAME as u64 && (at < pause.end || ends(pause)))
    }

    /// A time that comes from the network is believed within the window; else what came is put where it came.
    fn believable(&self, at: u64, robot_at: u64) -> u64 {
        let believed = self.base..=robot_at + WINDOW;
        if believed.contains(&at) { at } else { robot_at.max(self.base) }
    }

    /// Puts a frame of the caller.
    fn hear(&mut self, at: u64, samples: &[i16; FRAME]) {
        self.left = self.left.max(self.base);
        // Within an hour-long call both are far below 2⁶³.
        let off = at as i64 - self.left as i64;
        if !self.sounding || off > SLIP {
            self.begin(at, samples);
        } else if off < -SLIP || self.skipping {
            self.skip_to(at, samples);
        } else {
            self.append(samples);
        }
    }

    /// After a pause: exactly where the time says, faded in.
    fn begin(&mut self, at: u64, samples: &[i16; FRAME]) {
        self.hush();
        self.skipping = false;
        let heard_already = self.left.saturating_sub(at);
        let Some(samples) = samples.get(heard_already as usize..) else {
            return;
        };
        if samples.is_empty() {
            return;
        }
        self.left = self.left.max(at);
        let start = self.left;
        self.append(samples);
        for i in 0..FADE.min(samples.len() as u64) {
            self.scale(start + i, i);
        }
        self.sounding = true;
    }

    /// Back to the time: leaves out what is before `left`, blends what is just before it.
    fn skip_to(&mut self, at: u64, samples: &[i16; FRAME]) {
        let blend = FADE.min(self.left - self.base);
        let from = (self.left - blend).saturating_sub(at) as usize;
        let blend = blend as usize;
        if from + blend > FRAME {
            self.skipping = true;
            return;
        }
        self.skipping = false;
        let (blended, rest) = samples[from..].split_at(blend);
        let start = self.left - blend as u64;
        for (i, &new) in (0u64..).zip(blended) {
            let old = self.at(start + i).map_or(0, |s| s[LEFT]);
            let mixed = i64::from(old) * (blend as i64 - i as i64) + i64::from(new) * i as i64;
            // A weighted mean of two i16.
            self.put(start + i, &[(mixed / blend as i64) as i16], LEFT);
        }
        self.append(rest);
    }

    fn append(&mut self, samples: &[i16]) {
        self.put(self.left, samples, LEFT);
        self.left += samples.len() as u64;
    }

    /// Ends the caller's sound without a click.
    fn hush(&mut self) {
        if !self.sounding {
            return;
        }
        self.sounding = false;
        for i in 1..=FADE.min(self.left - self.base) {
            self.scale(self.left - i, i - 1);
        }
    }

    /// A caller's sample times `step` of `FADE`.
    fn scale(&mut self, at: u64, step: u64) {
        if let Some(sample) = self.at(at) {
            sample[LEFT] = (i64::from(sample[LEFT]) * step as i64 / FADE as i64) as i16;
        }
    }

    fn at(&mut self, at: u64) -> Option<&mut [i16; 2]> {
        let index = at.checked_sub(self.base)?;
        self.window.get_mut(usize::try_from(index).ok()?)
    }

    fn put(&mut self, at: u64, samples: &[i16], channel: usize) {
        let end = (at + samples.len() as u64).saturating_sub(self.base) as usize;
        if end > self.window.len() {
            self.window.resize(end, [0; 2]);
        }
        for (i, &sample) in (0u64..).zip(samples) {
            if let Some(place) = self.at(at + i) {
                place[channel] = sample;
            }
        }
    }

    /// Silences what of the next `ready` samples lies in a paused stretch.
    fn silence_pauses(&mut self, ready: usize) {
        while let Some(pause) = self.pauses.front() {
            let within = |at: u64| (at.saturating_sub(self.base) as usize).min(ready);
            let over = pause.end <= self.base + ready as u64 && !(self.pausing && self.pauses.len() == 1);
            self.window.range_mut(within(pause.start)..within(pause.end)).for_each(|sample| *sample = [0; 2]);
            if !over {
                break;
            }
            self.pauses.pop_front();
        }
    }

    /// Gives everything before `limit`.
    fn settle(&mut self, limit: u64, out: &mut impl FnMut(&[[i16; 2]])) {
        if limit <= self.base {
            return;
        }
        if limit + FADE > self.left {
            // Nothing came from the caller for so long that the end of it is about to be settled.
            self.hush();
        }
        let ready = self.window.len().min((limit - self.base) as usize);
        self.silence_pauses(ready);
        let (front, back) = self.window.as_slices();
        let cut = ready.min(front.len());
        for part in [&front[..cut], &back[..ready - cut]] {
            if !part.is_empty() {
                out(part);
            }
        }
        self.window.drain(..ready);
        self.base += ready as u64;
        while self.base < limit {
            let n = HUSH.len().min((limit - self.base) as usize);
            out(&HUSH[..n]);
            self.base += n as u64;
        }
    }
}

fn position(at: Ms) -> u64 {
    u64::from(at.as_u32()) * 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    fn frame(robot_at: u32, robot: [i16; FRAME], caller: Option<(u32, [i16; FRAME])>) -> RecordedFrame {
        RecordedFrame {
            robot_at: Ms(robot_at),
            robot,
            caller_at: caller.map(|(at, _)| Ms(at)),
            caller: caller.map_or([0; FRAME], |(_, samples)| samples),
            paused: false,
        }
    }

    fn record(frames: impl IntoIterator<Item = RecordedFrame>) -> Vec<[i16; 2]> {
        let mut written = Vec::new();
        let mut timeline = Timeline::new();
        for frame in frames {
            timeline.push(&frame, |part| written.extend_from_slice(part));
            assert!(timeline.window.len() <= 2 * WINDOW as usize + FRAME, "memory is bounded");
        }
        timeline.finish(|part| written.extend_from_slice(part));
        written
    }

    /// 200 Hz, so that neighbouring samples differ by less than 1,600; phase goes on with `n`.
    fn hum(n: u64) -> [i16; FRAME] {
        std::array::from_fn(|i| {
            let phase = (n * FRAME as u64 + i as u64) as f64 * 200.0 / 8000.0;
            ((phase * std::f64::consts::TAU).sin() * 10_000.0) as i16
        })
    }

    fn steepest(written: &[[i16; 2]], channel: usize) -> i32 {
        let step = |w: &[[i16; 2]]| (i32::from(w[1][channel]) - i32::from(w[0][channel])).abs();
        written.windows(2).map(step).max().unwrap_or(0)
    }

    #[test]
    fn each_channel_is_where_its_time_says() {
        let robot = [700; FRAME];
        let frames = (0..50).map(|n| {
            let talks = n >= 10;
            let caller = (n >= 20).then(|| (n * 20 - 60, [900; FRAME]));
            frame(n * 20, if talks { robot } else { [0; FRAME] }, caller)
        });
        let written = record(frames);
        assert_eq!(written.len(), 8_000);
        assert!(written[..1_600].iter().all(|s| s[RIGHT] == 0));
        assert!(written[1_600..].iter().all(|s| s[RIGHT] == 700));
        let onset = 340 * 8;
        assert!(written[..onset].iter().all(|s| s[LEFT] == 0));
        assert!(written[onset + 40..onset + 30 * FRAME - 40].iter().all(|s| s[LEFT] == 900));
        assert!(written[onset + 30 * FRAME..].iter().all(|s| s[LEFT] == 0));
    }

    #[test]
    fn jitter_of_the_times_leaves_the_sound_whole() {
        let mut rng = StdRng::seed_from_u64(7);
        let frames: Vec<_> = (0..500u32)
            .map(|n| {
                let wobble = rng.random_range(0..=30);
                frame(n * 20 + 100, [0; FRAME], Some((n * 20 + wobble, hum(n.into()))))
            })
            .collect();
        let written = record(frames);
        assert!(steepest(&written, LEFT) < 1_700, "{}", steepest(&written, LEFT));
        let start = written.iter().position(|s| s[LEFT] != 0).expect("there is sound");
        let mean = |from: usize, phase: u64| -> i64 {
            let whole = hum(phase);
            (0..FRAME).map(|i| i64::from(written[from + i][LEFT] - whole[i]).abs()).sum()
        };
        // The whole second frame, sample by sample, and the last but one.
        let first = start / FRAME * FRAME;
        let offset = (0..FRAME).min_by_key(|o| mean(first + FRAME + o, 1)).expect("not empty");
        assert_eq!(mean(first + FRAME + offset, 1), 0);
        assert_eq!(mean(first + 498 * FRAME + offset, 498), 0);
    }

    #[test]
    fn drift_is_followed_both_ways_without_a_click() {
        for ppm in [3_000i64, -3_000] {
            let frames: Vec<_> = (0..3_000u32)
                .map(|n| {
                    // A sample's own 1/20,000 of error a frame: 60 ms in a minute.
                    let at = (i64::from(n) * 20_000 + 60_000 + i64::from(n) * 20 * ppm / 1_000).max(0) / 1_000;
                    let at = u32::try_from(at).expect("positive");
                    frame(at + 60, [0; FRAME], Some((at, hum(n.into()))))
                })
                .collect();
            let last = frames.last().and_then(|f| f.caller_at).expect("heard");
            let written = record(frames);
            let end = written.iter().rposition(|s| s[LEFT] != 0).expect("there is sound");
            let off = end as i64 - (i64::from(last.0) * 8 + 160);
            assert!(off.abs() <= 200, "{ppm} ppm: {off} samples off at the end");
            assert!(steepest(&written, LEFT) < 1_700, "{ppm} ppm: {}", steepest(&written, LEFT));
        }
    }

    #[test]
    fn a_jump_back_is_blended_and_forward_is_faded() {
        for jump in [-90i64, -45, -21, 21, 45, 300] {
            let frames: Vec<_> = (0..100u32)
                .map(|n| {
                    let at = i64::from(n) * 20 + 200 + if n < 50 { 0 } else { jump };
                    let at = u32::try_from(at).expect("positive");
                    frame(n * 20 + 300, [0; FRAME], Some((at, hum(n.into()))))
                })
                .collect();
            let written = record(frames);
            assert!(steepest(&written, LEFT) < 1_700, "{jump}: {}", steepest(&written, LEFT));
            let end = written.iter().rposition(|s| s[LEFT] != 0).expect("there is sound") as i64;
            let wanted = (99 * 20 + 200 + jump) * 8 + 160;
            assert!((end - wanted).abs() <= 161, "{jump}: ends at {end}, not {wanted}");
        }
    }

    #[test]
    fn a_pause_is_silence_of_its_length() {
        let frames = (0..200u32).map(|n| {
            let heard = !(50..150).contains(&n);
            frame(n * 20, [5; FRAME], heard.then(|| (n * 20, [10_000; FRAME])))
        });
        let written = record(frames);
        assert!(written[8_000..24_000].iter().all(|s| s[LEFT] == 0));
        assert!(written[24_040..31_900].iter().all(|s| s[LEFT] == 10_000));
        assert!(steepest(&written, LEFT) <= 250, "40 steps from full to nothing");
        assert!(written.iter().all(|s| s[RIGHT] == 5));
    }

    #[test]
    fn a_hole_in_the_ring_is_silence_and_counted() {
        let frames = [0, 20, 100_000, 100_020].map(|at| frame(at, [9; FRAME], None));
        let mut written = 0;
        let mut timeline = Timeline::new();
        for frame in &frames {
            timeline.push(frame, |part| written += part.len());
        }
        assert_eq!(timeline.missing(), (4_998, Ms(40)));
        timeline.finish(|part| written += part.len());
        assert_eq!(written, 100_040 * 8);
    }

    /// What was said in these frames is not kept.
    const SECRET: i16 = 7_777;

    /// The caller is heard `delay` ms after it spoke, the times of its frames wobble, and both say [`SECRET`] in the pauses.
    fn with_pauses(pauses: &[(u32, u32)], delay: u32, lost: impl Fn(u32) -> bool) -> Vec<[i16; 2]> {
        let mut rng = StdRng::seed_from_u64(3);
        let paused = |at: u32| pauses.iter().any(|&(start, stop)| (start..stop).contains(&at));
        let frames = (0..300u32).filter(|n| !lost(*n)).map(|n| {
            let at = n * 20;
            let robot = if paused(at) { [SECRET; FRAME] } else { [700; FRAME] };
            // A sample is secret by when it was said.
            let caller = at.checked_sub(delay).map(|said| {
                let sample = |i: usize| if paused(said + i as u32 / 8) { SECRET } else { 900 };
                (said + rng.random_range(0..=3), std::array::from_fn(sample))
            });
            RecordedFrame { paused: paused(at), ..frame(at, robot, caller) }
        });
        record(frames)
    }

    #[test]
    fn what_is_said_in_a_pause_is_not_there_and_all_else_is() {
        // One with the end of the call in it, one of a frame, two with a frame between them, one from the beginning.
        for pauses in
            [&[(1_000, 2_000), (5_000, 7_000)][..], &[(1_000, 1_020)], &[(1_000, 2_000), (2_020, 3_000)], &[(0, 400)]]
        {
            for delay in [40, 55, 210, 430] {
                let written = with_pauses(pauses, delay, |_| false);
                let fade = |s: i16| (0..=900).contains(&s);
                assert_eq!(written.len(), 48_000, "the times stay true");
                for (i, sample) in (0u32..).zip(&written) {
                    let at = i / 8;
                    let inside = pauses.iter().any(|&(start, stop)| (start..stop).contains(&at));
                    assert!(fade(sample[LEFT]), "{at} ms: {sample:?}, {delay} ms of delay");
                    assert_eq!(sample[RIGHT], if inside { 0 } else { 700 }, "{at} ms");
                    let near = pauses.iter().any(|&(start, stop)| (start.max(30) - 30..stop + 30).contains(&at));
                    if inside {
                        assert_eq!(sample[LEFT], 0, "{at} ms: {delay} ms of delay");
                    } else if !near && (30..5_900 - delay).contains(&at) {
                        assert_eq!(sample[LEFT], 900, "{at} ms: {delay} ms of delay");
                    }
                }
            }
        }
    }

    #[test]
    fn frames_that_are_lost_at_the_edge_of_a_pause_let_nothing_through() {
        // The pause's first and last frames never came out of the ring; what the caller said in them comes later.
        let written = with_pauses(&[(1_000, 2_000)], 100, |n| (45..55).contains(&n) || (95..103).contains(&n));
        assert!(written.iter().all(|sample| sample.iter().all(|s| (0..=900).contains(s))));
        assert!(written[900 * 8..2_060 * 8].iter().all(|sample| *sample == [0; 2]));
        assert!(written[2_100 * 8..5_800 * 8].iter().all(|sample| *sample == [900, 700]));
    }

    #[test]
    fn mad_times_neither_panic_nor_grow() {
        let mut rng = StdRng::seed_from_u64(1);
        let frames: Vec<_> = (0..5_000u32)
            .map(|n| {
                let at = match rng.random_range(0..4) {
                    0 => rng.random(),
                    1 => n * 20 + rng.random_range(0..2_000),
                    2 => (n * 20).saturating_sub(rng.random_range(0..2_000)),
                    _ => n * 20,
                };
                frame(n * 20, [1; FRAME], Some((at, [rng.random_range(-100..100); FRAME])))
            })
            .collect();
        let written = record(frames);
        assert!(written.len() >= 800_000 && written.len() < 800_000 + 2 * WINDOW as usize);
        assert!(written[..800_000].iter().all(|s| s[RIGHT] == 1));
    }
}
