//! Keys heard as tones, by ITU-T Q.24.
//!
//! Every 5 ms the last 20 ms are looked at under a Hann window, at the eight frequencies of the keypad at once. Such a window is a hit when
//! one frequency of each group is there, loud enough and alike enough, and hardly anything else is. How far the phase of each has turned
//! since the window before says how far its frequency is off, to a few tenths of a per cent: a filter of 20 ms alone could not
//! tell 1.5 from 3.5 per cent. Six hits in a row of one key that hold at least half of it are a press; it is over after six windows without it.
//!
//! | Q.24 | here |
//! |---|---|
//! | levels 0 to −25 dBm per frequency | heard from above 0 to −32 dBm0 |
//! | the high group up to 4 dB above, 8 dB below the low one | up to 6 above, 10 below |
//! | frequencies up to 1.5 % off are taken, 3.5 % are not | the border lies at 2.4 % |
//! | tones of 40 ms are taken, shorter than 23 ms are not | the border lies between 28 and 36 ms |
//! | pauses of 40 ms part two presses, gaps of 10 ms do not | the border lies between 15 and 30 ms |
//!
//! Where the line is quiet nothing is looked at.

use std::f32::consts::TAU;
use std::sync::LazyLock;

use super::bank::{Bank, Turn};
use super::keypad::{FREQUENCIES, key};
use super::{FRAME, RATE, ZERO_DBM0};

/// Samples between two windows, 5 ms; and of a window, 20 ms.
const HOP: usize = 40;
const WINDOW: usize = 160;
/// Whole hits in a row that are a press, and windows without one that end it.
const PRESS: usize = 6;
const RELEASE: u8 = 6;
/// A hit that much weaker than the strongest of its run holds less than half of the tone: that is how the length of a tone is told to a
/// quarter of a window.
const WHOLE: f32 = 0.3;
/// Hits whose power is remembered.
const REMEMBERED: usize = 8;
/// −32 dBm0, of each frequency.
const FLOOR: f32 = ZERO_DBM0 * 6.31e-4;
/// How much of the sound must be the two tones.
const PURITY: f32 = 0.70;
/// Power of the high group over that of the low one: 10 dB below to 6 dB above.
const TWIST: std::ops::RangeInclusive<f32> = 0.1..=3.98;
/// Frequencies may be off by so much, all in all; and in one window, where noise adds to it.
const OFF: f32 = 0.024;
const OFF_AT_ONCE: f32 = 0.04;
/// The sum of all turns of a phase by the length of each: a voice glides, a keypad does not.
const STEADY: f32 = 0.985;
/// A hit that much weaker than the strongest of its press is the edge of another one.
const EDGE: f32 = 0.1;

static BANK: LazyLock<Box<Bank>> = LazyLock::new(|| Bank::new(FREQUENCIES));

fn length((re, im): Turn) -> f32 {
    (re * re + im * im).sqrt()
}

fn angle((re, im): Turn) -> f32 {
    im.atan2(re)
}

/// One window that holds a key.
#[derive(Clone, Copy, Debug)]
struct Hit {
    row: usize,
    column: usize,
    power: f32,
    low: Turn,
    high: Turn,
}

/// Hits of one key in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    last: Hit,
    /// Of the last ones, a ring.
    powers: [f32; REMEMBERED],
    hits: usize,
    strongest: f32,
    /// How the phases have turned from window to window.
    low: Turns,
    high: Turns,
}

/// Turns of a phase added up, and the lengths of all of them: they are as long as their sum if each turned alike.
#[derive(Clone, Copy, Debug, Default)]
struct Turns {
    sum: Turn,
    lengths: f32,
}

impl Turns {
    fn and(self, turn: Turn) -> Turns {
        let sum = (self.sum.0 + turn.0, self.sum.1 + turn.1);
        Turns { sum, lengths: self.lengths + length(turn) }
    }

    /// Whether this is the phase of a steady tone that is near enough to its frequency.
    fn is_tone(self, hz: f32) -> bool {
        let off = angle(self.sum) * RATE / (TAU * HOP as f32);
        off.abs() <= OFF * hz && length(self.sum) >= STEADY * self.lengths
    }
}

/// Hears the keys of one stream.
#[derive(Clone)]
pub struct Keys {
    bank: &'static Bank,
    /// The frame before and this one.
    sound: [f32; 2 * FRAME],
    /// Energy of the hops of the frame before.
    energy: [f32; FRAME / HOP],
    run: Option<Run>,
    down: Option<(char, f32)>,
    missed: u8,
}

impl Default for Keys {
    fn default() -> Keys {
        Keys { bank: &BANK, sound: [0.0; 2 * FRAME], energy: [0.0; FRAME / HOP], run: None, down: None, missed: 0 }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("down", &self.down).finish_non_exhaustive()
    }
}

impl Keys {
    /// Takes a frame of 20 ms; the key that has been pressed, once a press.
    pub fn push(&mut self, frame: &[i16; FRAME]) -> Option<char> {
        self.sound.copy_within(FRAME.., 0);
        let mut energy = [0.0; FRAME / HOP];
        for (n, hop) in frame.chunks_exact(HOP).enumerate() {
            for (to, sample) in self.sound[FRAME + n * HOP..].iter_mut().zip(hop) {
                *to = f32::from(*sample);
            }
            energy[n] = self.sound[FRAME + n * HOP..][..HOP].iter().map(|sample| sample * sample).sum();
        }
        let before = std::mem::replace(&mut self.energy, energy);
        let mut pressed = None;
        for n in 0..FRAME / HOP {
            let whole: f32 = before[n + 1..].iter().chain(&energy[..=n]).sum();
            let hit = if whole < FLOOR * WINDOW as f32 { None } else { self.look((n + 1) * HOP) };
            pressed = pressed.or(self.take(hit));
        }
        pressed
    }

    /// Looks at the window that begins at `from`.
    fn look(&self, from: usize) -> Option<Hit> {
        let look = self.bank.look(self.sound[from..from + WINDOW].iter().copied());
        let (row, column) = (look.best(0..4), look.best(4..8));
        let (turn, power) = (|tone| look.turn(tone), |tone| look.power(tone));
        let hit = Hit { row, column, power: 0.0, low: turn(row), high: turn(column) };
        // What the window takes from a tone that is off its frequency is given back, as far as the window before tells.
        let (low, high) = match self.run.filter(|run| (run.last.row, run.last.column) == (row, column)) {
            Some(run) => {
                let off = |before: Turn, now: Turn, hz: f32| angle(turned(before, now, hz)) * RATE / (TAU * HOP as f32);
                let low = off(run.last.low, hit.low, FREQUENCIES[row]);
                let high = off(run.last.high, hit.high, FREQUENCIES[column]);
                if low.abs() > OFF_AT_ONCE * FREQUENCIES[row] || high.abs() > OFF_AT_ONCE * FREQUENCIES[column] {
                    return None;
                }
                (power(row) / kept(low), power(column) / kept(high))
            }
            None => (power(row), power(column)),
        };
        let first = self.run.is_none();
        let purity = if first { 0.5 * PURITY } else { PURITY };
        let fits = low >= FLOOR
            && high >= FLOOR
            && (first || TWIST.contains(&(high / low)))
            && low + high >= purity * look.all;
        fits.then_some(Hit { power: low + high, ..hit })
    }

    fn take(&mut self, hit: Option<Hit>) -> Option<char> {
        self.run = hit.map(|hit| match self.run {
            Some(run) if (run.last.row, run.last.column) == (hit.row, hit.column) => {
                let mut powers = run.powers;
                powers[run.hits % REMEMBERED] = hit.power;
                Run {
                    last: hit,
                    powers,
                    hits: run.hits + 1,
                    strongest: run.strongest.max(hit.power),
                    low: run.low.and(turned(run.last.low, hit.low, FREQUENCIES[hit.row])),
                    high: run.high.and(turned(run.last.high, hit.high, FREQUENCIES[hit.column])),
                }
            }
            _ => {
                let mut powers = [0.0; REMEMBERED];
                powers[0] = hit.power;
                Run { last: hit, powers, hits: 1, strongest: hit.power, low: Turns::default(), high: Turns::default() }
            }
        });
        let heard = self.run.map(|run| (key(run.last.row, run.last.column), run));
        if let Some((down, strongest)) = self.down {
            let same = heard.is_some_and(|(key, run)| key == down && run.last.power >= EDGE * strongest);
            self.missed = if same { 0 } else { self.missed + 1 };
            if self.missed >= RELEASE {
                self.down = None;
            }
        }
        let (key, run) = heard?;
        let known = self.down.is_some_and(|(down, _)| down == key);
        let whole = run.powers.iter().filter(|power| **power >= WHOLE * run.strongest).count();
        let tones = run.low.is_tone(FREQUENCIES[run.last.row]) && run.high.is_tone(FREQUENCIES[run.last.column]);
        if known || whole < PRESS || !tones {
            return None;
        }
        self.down = Some((key, run.strongest));
        self.missed = 0;
        Some(key)
    }
}

/// How far a phase has turned in a hop beyond what its frequency does.
fn turned(before: Turn, now: Turn, hz: f32) -> Turn {
    let (sin, cos) = (TAU * hz * HOP as f32 / RATE).sin_cos();
    // now · conj(before) · e^(-jωT)
    let (re, im) = (now.0 * before.0 + now.1 * before.1, now.1 * before.0 - now.0 * before.1);
    (re * cos + im * sin, im * cos - re * sin)
}

/// How much of its power a tone that is off by so many Hz keeps under the window.
fn kept(off: f32) -> f32 {
    let bins = off * WINDOW as f32 / RATE;
    if bins.abs() < 0.01 {
        return 1.0;
    }
    let x = std::f32::consts::PI * bins;
    let amplitude = x.sin() / (x * (1.0 - bins * bins));
    // Beyond a bin little is left to judge by.
    (amplitude * amplitude).max(0.25)
}

#[cfg(test)]
mod tests;
