//! ITU-T G.711 Appendix I: packet loss concealment by repeating the last pitch periods.
//!
//! | since the loss began | what is heard                                                              |
//! |----------------------|----------------------------------------------------------------------------|
//! | 0–10 ms              | the last pitch period, repeated at full level                              |
//! | 10–20 ms             | the last two periods, so that no buzz arises; the level falls by 20 % in 10 ms |
//! | 20–60 ms             | the last three periods, the level falling on                               |
//! | from 60 ms           | the noise of the line, which rises as the speech falls                     |
//! | audio comes again    | an overlap-add of a quarter period and 4 ms per 10 ms lost, 10 ms at most  |
//!
//! We deviate in one point. The appendix delays all audio by 3.75 ms so that it can smooth the last quarter period before a loss
//! (section I.2.4); we have sent that on already. Instead the first quarter period that is made up begins where the real audio
//! ended, and glides to where the repetition has it: no delay, and no change at all to a truly periodic signal.
//!
//! The noise of the line is what is heard between its words, or what the far end says of it (RFC 3389): a gap that falls silent as the grave
//! is heard as a fault, and the voice detector would take the noise that comes back for something new. A line that is silent itself stays so.
//!
//! The same continuation serves two more joints: [`Concealer::splice`], where the jitter buffer has left out a packet, and
//! [`Concealer::rest`], where the stream stops because its sender is silent.

use crate::cache::bring;

/// Pitch is sought between 66 and 200 Hz (section I.2.2). This and all that follows is in samples of 8 kHz.
pub(super) const PITCH_MIN: usize = 40;
pub(super) const PITCH_MAX: usize = 120;
/// What is kept of what was heard: three of the longest periods and a quarter to smooth their joint.
pub const HISTORY: usize = 3 * PITCH_MAX + PITCH_MAX / 4;
/// Samples over which the pitch is sought: 20 ms.
const WINDOW: usize = 160;
const MS_10: usize = 80;
/// Nothing but the line's noise from here on: 60 ms.
const FADED: usize = 6 * MS_10;
/// A stream that stops is faded out in 5 ms, and comes back in 2 ms.
const REST_FADE: usize = 40;
const REST_RISE: usize = 16;
/// The line's noise is looked for in one of so many pieces of audio.
const LISTEN_EVERY: u8 = 4;
/// It is taken for no louder than this, a mean of −37 dBFS: what is louder may be speech.
const NOISE_MAX: u16 = 450;

/// Conceals one stream of 8 kHz.
pub type Concealer = ConcealerOf<1, HISTORY>;

/// Conceals one stream of 16 kHz.
pub type WideConcealer = ConcealerOf<2, { 2 * HISTORY }>;

/// Conceals one stream of `K` times 8 kHz, whose `SOURCE` is `K` times [`HISTORY`].
#[derive(Debug)]
pub struct ConcealerOf<const K: usize, const SOURCE: usize> {
    /// What was heard, real or made up, in a ring: the oldest sample is at `end`.
    heard: [i16; SOURCE],
    end: usize,
    /// The history at the moment of the loss. In a box: most packets come.
    source: Box<[i16; SOURCE]>,
    pitch: usize,
    periods: usize,
    /// Place within the repeated periods.
    place: usize,
    /// Samples made up so far; zero while audio comes.
    made: usize,
    resting: bool,
    /// The line's noise: the mean of its samples without their sign.
    noise: u16,
    listened: u8,
    seed: u32,
}

impl<const K: usize, const SOURCE: usize> Default for ConcealerOf<K, SOURCE> {
    fn default() -> Self {
        const { assert!(SOURCE == K * HISTORY) };
        ConcealerOf {
            heard: [0; SOURCE],
            end: 0,
            source: Box::new([0; SOURCE]),
            pitch: K * PITCH_MAX,
            periods: 1,
            place: 0,
            made: 0,
            resting: true,
            noise: 0,
            listened: 0,
            seed: 0x2545_f491,
        }
    }
}

impl<const K: usize, const SOURCE: usize> ConcealerOf<K, SOURCE> {
    /// Asks for what the next audio meets.
    pub fn warm(&self) {
        bring(&self.made);
        bring(&self.resting);
    }

    /// Asks for where it goes.
    pub fn warm_behind(&self) {
        bring(&self.heard[self.end..(self.end + K * WINDOW).min(SOURCE)]);
    }

    /// Takes audio that has come; `spliced`: it does not continue what was heard.
    /// Whether it goes on as it came.
    pub fn take(&mut self, frame: &mut [i16], spliced: bool) -> bool {
        let flows = !spliced && self.made == 0 && !self.resting;
        if spliced {
            self.splice(frame)
        } else {
            self.good(frame)
        }
        flows
    }

    /// Takes audio that has come, of any length, and smooths its beginning if something was lost before it.
    pub fn good(&mut self, frame: &mut [i16]) {
        if self.made > 0 {
            let overlap = (self.pitch / 4 + self.made * 2 / 5).min(K * MS_10);
            self.cross_over(frame, overlap);
        } else if self.resting {
            for (n, sample) in frame.iter_mut().take(K * REST_RISE).enumerate() {
                *sample = (i32::from(*sample) * (n as i32 + 1) / ((K * REST_RISE) as i32 + 1)) as i16;
            }
        }
        self.made = 0;
        self.resting = false;
        self.listened += 1;
        if self.listened == LISTEN_EVERY {
            self.listened = 0;
            self.listen(frame);
        }
        self.remember(frame);
    }

    /// The far end says how loud its noise is, in −dBov (RFC 3389 section 3).
    pub fn set_noise(&mut self, level: u8) {
        // A square wave as loud as G.711 goes is 0 dBov; our noise is uniform, whose mean is √3/2 of its power's root.
        let mean = 32_124.0 * 0.866 * 10f32.powf(-f32::from(level) / 20.0);
        self.noise = (mean as u16).min(NOISE_MAX);
    }

    /// Takes audio that does not continue what was heard, though nothing is to be filled in between.
    pub fn splice(&mut self, frame: &mut [i16]) {
        if self.made == 0 && !self.resting {
            self.begin();
            self.cross_over(frame, K * MS_10);
        }
        self.good(frame);
    }

    /// Makes up audio for a loss, of any length.
    pub fn conceal(&mut self, out: &mut [i16]) {
        if self.resting {
            out.fill_with(|| self.hiss() as i16);
        } else {
            if self.made == 0 {
                self.begin();
            }
            for sample in out.iter_mut() {
                *sample = self.make();
            }
        }
        self.remember(out);
    }

    /// Fills `out` where the stream is silent by intent: a short fade from what was heard, then the line's noise.
    pub fn rest(&mut self, out: &mut [i16]) {
        if out.is_empty() {
            return;
        }
        let fade = if self.resting { 0 } else { out.len().min(K * REST_FADE) };
        if fade > 0 && self.made == 0 {
            self.begin();
        }
        for (n, sample) in out.iter_mut().enumerate() {
            let hiss = self.hiss();
            *sample = if n < fade {
                let made = i32::from(self.make());
                (made + (hiss - made) * (n as i32 + 1) / (fade as i32 + 1)) as i16
            } else {
                hiss as i16
            };
        }
        self.made = 0;
        self.resting = true;
        self.remember(out);
    }

    /// What was heard last, if what comes next continues it: neither a loss nor a pause lies between.
    pub fn flowing(&self) -> Option<[i16; SOURCE]> {
        (self.made == 0 && !self.resting).then(|| self.history())
    }

    fn history(&self) -> [i16; SOURCE] {
        let mut history = self.heard;
        history.rotate_left(self.end);
        history
    }

    fn begin(&mut self) {
        *self.source = self.history();
        self.pitch = find_pitch::<K, SOURCE>(&self.source);
        self.periods = 1;
        self.place = 0;
    }

    /// The next made-up sample.
    fn make(&mut self) -> i16 {
        let quarter = self.pitch / 4;
        let wanted = (self.made / (K * MS_10) + 1).min(3);
        let length = self.periods * self.pitch;
        // More periods are taken from the same place of the last one, outside its smoothed end: no joint can be heard.
        if wanted > self.periods && self.place < length - quarter {
            self.place += (wanted - self.periods) * self.pitch;
            self.periods = wanted;
        }
        let length = self.periods * self.pitch;
        let at = SOURCE - length + self.place;
        let mut value = i32::from(self.source[at]);
        if self.place >= length - quarter {
            // The end of the repeated stretch becomes what came before its beginning, so that the repetition has no joint.
            let weight = (self.place + 1 - (length - quarter)) as i32;
            let before = i32::from(self.source[at - length]);
            value += (before - value) * weight / (quarter as i32 + 1);
        }
        if self.made < quarter {
            let jump = i32::from(self.source[SOURCE - 1]) - i32::from(self.source[SOURCE - 1 - self.pitch]);
            value += jump * (quarter - self.made) as i32 / (quarter as i32 + 1);
        }
        self.place = (self.place + 1) % length;
        let (full, faded) = (K * MS_10, K * FADED);
        let gain = (faded - self.made.clamp(full, faded)) as i32;
        self.made = (self.made + 1).min(faded);
        let whole = (faded - full) as i32;
        let value = (value * gain + self.hiss() * (whole - gain)) / whole;
        value.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
    }

    /// The next sample of the line's noise.
    fn hiss(&mut self) -> i32 {
        // xorshift32 (Marsaglia, 2003).
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 17;
        self.seed ^= self.seed << 5;
        (i32::from((self.seed >> 16) as i16) * i32::from(self.noise)) >> 14
    }

    /// The softest of what is heard is the noise; what has become louder is believed slowly.
    fn listen(&mut self, frame: &[i16]) {
        let sum: u32 = frame.iter().map(|sample| u32::from(sample.unsigned_abs())).sum();
        let Some(mean) = sum.checked_div(frame.len() as u32) else { return };
        let risen = self.noise + self.noise / 32 + 1;
        self.noise = (mean.min(u32::from(risen)) as u16).min(NOISE_MAX);
    }

    fn cross_over(&mut self, frame: &mut [i16], overlap: usize) {
        let overlap = overlap.min(frame.len());
        for (n, sample) in frame.iter_mut().take(overlap).enumerate() {
            let made = i32::from(self.make());
            *sample = (made + (i32::from(*sample) - made) * (n as i32 + 1) / (overlap as i32 + 1)) as i16;
        }
        self.made = 0;
    }

    fn remember(&mut self, heard: &[i16]) {
        let new = &heard[heard.len().saturating_sub(SOURCE)..];
        let (to_the_end, from_the_beginning) = new.split_at(new.len().min(SOURCE - self.end));
        self.heard[self.end..self.end + to_the_end.len()].copy_from_slice(to_the_end);
        self.heard[..from_the_beginning.len()].copy_from_slice(from_the_beginning);
        self.end = (self.end + new.len()) % SOURCE;
    }
}

/// The lag at which the last 20 ms resemble what came before them most: in steps of two of 8 kHz, then of one sample (section I.2.2).
fn find_pitch<const K: usize, const SOURCE: usize>(history: &[i16; SOURCE]) -> usize {
    let best = |lags: &mut dyn Iterator<Item = usize>, step: usize| {
        let mut best = (f32::NEG_INFINITY, K * PITCH_MAX);
        for lag in lags {
            let likeness = likeness::<K, SOURCE>(history, lag, step);
            if likeness > best.0 {
                best = (likeness, lag);
            }
        }
        best.1
    };
    let (shortest, longest, near) = (K * PITCH_MIN, K * PITCH_MAX, 2 * K - 1);
    let coarse = best(&mut (shortest..=longest).step_by(2 * K), 2 * K);
    best(&mut (coarse.max(shortest + near) - near..=(coarse + near).min(longest)), 1)
}

fn likeness<const K: usize, const SOURCE: usize>(history: &[i16; SOURCE], lag: usize, step: usize) -> f32 {
    let window = K * WINDOW;
    let now = &history[SOURCE - window..];
    let then = &history[SOURCE - window - lag..SOURCE - lag];
    let (mut product, mut energy) = (0.0f32, 0.0f32);
    for (now, then) in now.iter().zip(then).step_by(step) {
        let (now, then) = (f32::from(*now), f32::from(*then));
        product += now * then;
        energy += then * then;
    }
    product / (energy + 250.0 * window as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sine(hz: f64, from: usize, len: usize) -> Vec<i16> {
        let at = |n: usize| (8000.0 * (std::f64::consts::TAU * hz * n as f64 / 8000.0).sin()) as i16;
        (from..from + len).map(at).collect()
    }

    /// The largest step between two samples, which is what a click is.
    fn steepest(samples: &[i16]) -> i32 {
        samples.windows(2).map(|two| (i32::from(two[1]) - i32::from(two[0])).abs()).max().unwrap()
    }

    #[test]
    fn at_16_khz_a_lost_frame_of_a_tone_is_hardly_changed_and_a_long_gap_fades() {
        let tone = |n: usize| (8000.0 * (std::f64::consts::TAU * 200.0 * n as f64 / 16_000.0).sin()) as i16;
        let mut concealer = WideConcealer::default();
        let mut heard = Vec::new();
        for frame in 0..12 {
            let mut sound: Vec<i16> = (frame * 320..(frame + 1) * 320).map(tone).collect();
            if frame == 6 {
                concealer.conceal(&mut sound)
            } else {
                concealer.good(&mut sound)
            }
            heard.extend(sound);
        }
        let truth: Vec<i16> = (0..heard.len()).map(tone).collect();
        assert!(steepest(&heard[200..]) <= steepest(&truth) * 3 / 2, "click: {}", steepest(&heard[200..]));
        let error: i64 = (1_920..2_080).map(|n| (i64::from(heard[n]) - i64::from(truth[n])).pow(2)).sum();
        let energy: i64 = (1_920..2_080).map(|n| i64::from(truth[n]).pow(2)).sum();
        assert!(error * 20 < energy, "{error} of {energy}");
        let mut gap = vec![0; 1_600];
        concealer.conceal(&mut gap);
        assert!(gap[160..320].iter().any(|sample| *sample > 4_000), "the first 20 ms go on");
        let rest = gap[1_000..].iter().map(|sample| sample.unsigned_abs()).max();
        assert!(rest.is_some_and(|rest| rest < 1_000), "nothing but the line's noise from 60 ms on: {rest:?}");
    }

    #[test]
    fn finds_the_pitch() {
        for period in [40, 57, 80, 113, 120] {
            let history = std::array::from_fn(|n| if n % period < 8 { 9000 } else { -500 });
            assert_eq!(find_pitch::<1, HISTORY>(&history) % period, 0, "period {period}");
        }
    }

    #[test]
    fn one_lost_frame_of_a_tone_is_hardly_changed() {
        let mut concealer = Concealer::default();
        let mut heard = Vec::new();
        for n in 0..10 {
            let mut frame = sine(200.0, n * 160, 160);
            if n == 6 {
                concealer.conceal(&mut frame)
            } else {
                concealer.good(&mut frame)
            }
            heard.extend(frame);
        }
        let truth = sine(200.0, 0, 1600);
        assert!(steepest(&heard[100..]) <= steepest(&truth) * 3 / 2, "click: {}", steepest(&heard[100..]));
        // 40 samples a period: the copy is in phase, so that only the fade of the second 10 ms tells it from the truth.
        let error: i64 = (960..1040).map(|n| (i64::from(heard[n]) - i64::from(truth[n])).pow(2)).sum();
        let energy: i64 = (960..1040).map(|n| i64::from(truth[n]).pow(2)).sum();
        assert!(error * 20 < energy, "{error} of {energy}");
        assert_eq!(heard[1300..], truth[1300..], "audio that comes is left alone after the overlap");
    }

    #[test]
    fn fades_within_60_ms_and_does_not_click_at_any_joint() {
        for hz in [70.0, 133.0, 200.0, 311.0, 440.0] {
            let mut concealer = Concealer::default();
            let mut heard = sine(hz, 0, 800);
            concealer.good(&mut heard);
            let mut gap = vec![0; 800];
            concealer.conceal(&mut gap);
            assert!(gap[480..].iter().all(|sample| sample.abs() < 8));
            assert!(gap[..80].iter().any(|sample| sample.abs() > 5000), "{hz} Hz goes on at first");
            heard.extend(gap);
            let mut again = sine(hz, 1700, 160);
            concealer.good(&mut again);
            heard.extend(again);
            let allowed = (steepest(&sine(hz, 0, 800)) * 2).max(1500);
            assert!(steepest(&heard[100..]) <= allowed, "{hz} Hz: {} > {allowed}", steepest(&heard[100..]));
        }
    }

    #[test]
    fn a_splice_and_a_rest_do_not_click() {
        for cut in 1..40 {
            let mut concealer = Concealer::default();
            let mut heard = sine(200.0, 0, 800);
            concealer.good(&mut heard);
            let mut after = sine(200.0, 800 + cut, 160);
            concealer.splice(&mut after);
            heard.extend(after);
            let mut silence = vec![1; 160];
            concealer.rest(&mut silence);
            assert!(silence[40..].iter().all(|sample| *sample == 0));
            heard.extend(silence);
            let mut back = sine(200.0, 10, 160);
            concealer.good(&mut back);
            heard.extend(back);
            assert!(steepest(&heard[100..]) <= 2200, "cut of {cut}: {}", steepest(&heard[100..]));
        }
    }

    #[test]
    fn a_long_loss_and_a_pause_sound_like_the_noise_of_the_line() {
        let mut concealer = Concealer::default();
        let noise = |n: usize| ((n as u32).wrapping_mul(2_654_435_761) >> 16) as i16 / 256;
        let mean =
            |samples: &[i16]| samples.iter().map(|s| u32::from(s.unsigned_abs())).sum::<u32>() / samples.len() as u32;
        let mut frames = 0;
        for n in 0..1000 {
            // Words of a second with pauses of half a second.
            let mut frame: Vec<i16> = match n % 75 {
                0..50 => sine(200.0, n * 160, 160),
                _ => (n * 160..n * 160 + 160).map(noise).collect(),
            };
            concealer.good(&mut frame);
            frames += 1;
        }
        let line = mean(&(0..16_000).map(noise).collect::<Vec<_>>());
        assert_eq!(frames, 1000);
        let mut gap = vec![0; 1600];
        concealer.conceal(&mut gap);
        let lost = mean(&gap[480..]);
        assert!((line / 2..=line * 2).contains(&lost), "{lost} after a loss on a line of {line}");
        concealer.rest(&mut gap);
        let paused = mean(&gap[40..]);
        assert!((line / 2..=line * 2).contains(&paused), "{paused} in a pause on a line of {line}");
    }

    #[test]
    fn the_noise_that_the_far_end_tells_is_heard_at_its_level() {
        let mut concealer = Concealer::default();
        for level in [45u8, 60, 70] {
            concealer.set_noise(level);
            let mut pause = vec![0; 16_000];
            concealer.rest(&mut pause);
            let power = pause.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 16_000.0;
            let told = -20.0 * (power.sqrt() / 32_124.0).log10();
            assert!((told - f64::from(level)).abs() < 1.5, "{told} for {level}");
        }
        concealer.set_noise(127);
        let mut pause = vec![1; 160];
        concealer.rest(&mut pause);
        assert_eq!(pause, [0; 160], "no noise at all");
    }

    #[test]
    fn silence_stays_silence() {
        let mut concealer = Concealer::default();
        let mut out = [7; 160];
        concealer.conceal(&mut out);
        assert_eq!(out, [0; 160]);
        concealer.rest(&mut []);
        concealer.good(&mut []);
    }

    proptest! {
        #[test]
        fn any_sequence_of_calls_and_lengths(steps in proptest::collection::vec((0u8..4, 0usize..500, any::<i16>()), 1..60)) {
            let mut concealer = Concealer::default();
            for (what, length, seed) in steps {
                let mut frame: Vec<i16> = (0..length).map(|n| seed.wrapping_mul(n as i16 | 1)).collect();
                match what {
                    0 => concealer.good(&mut frame),
                    1 => concealer.splice(&mut frame),
                    2 => concealer.conceal(&mut frame),
                    _ => concealer.rest(&mut frame),
                }
                prop_assert!((PITCH_MIN..=PITCH_MAX).contains(&concealer.pitch));
            }
        }
    }
}
