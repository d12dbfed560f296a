//! Call progress: what an exchange says in tones (ITU-T E.180/Q.35, its Supplement 2 for the countries, E.180 §5.5 for the special information tone).
//!
//! Each 20 ms it is asked of each tone of the country how much of what is heard lies in the space of its frequencies. From half on the
//! tone is on: a frequency may be 25 Hz off, and noise below it does not hide it. Whether it is the tone is said by
//! its cadence: on and off for as long as the table says, within 15 % and 30 ms. A cadence shorter than two seconds has to come twice, a
//! longer one once, and the last pause need only have begun to be long enough; a tone without a pause has to last for three seconds.
//! A break of one frame is none.
//!
//! The special information tone is three frequencies one after the other, each for 180 to 500 ms. Which of two each of the first
//! two is, and which of them is longer, says what it means, where an exchange follows the North American scheme:
//!
//! | first     | second     | it means |
//! |-----------|------------|----------|
//! | 914, short | 1371, short | intercept: the number has changed or is out of service |
//! | 985, long  | 1371, short | vacant: there is no such number |
//! | 914, short; 985, short | 1429, long; 1371, long | reorder: no way through just now |
//! | 985, long; 914, long | 1429, long; 1429, short | no circuit |
//! | 950       | 1400       | the plain tone of E.180: an announcement follows |

use std::sync::{Arc, LazyLock};

use super::bank::{Bank, hann};
use super::{FRAME, RATE, ZERO_DBM0};

/// How many frequencies a tone may have, tones a country, and times a cadence.
pub const MOST_FREQUENCIES: usize = 2;
/// Tones of a country.
pub const MOST_TONES: usize = 12;
/// Times of a cadence, on and off.
pub const MOST_TIMES: usize = 8;

/// Of the sound, what must be the tone.
const PURITY: f32 = 0.5;
/// −42 dBm0: below that nothing is heard.
const FLOOR: f32 = ZERO_DBM0 * 6.31e-5;
/// Frames of silence that are told: 10 s.
const SILENCE: u32 = 500;
/// A tone without pauses is one from here on: 3 s.
const CONTINUOUS: u32 = 150;
/// A shorter cadence has to come twice, in frames.
const SHORT: u32 = 100;

/// What is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It rings.
    Ringback,
    /// The line is busy.
    Busy,
    /// No way through.
    Congestion,
    /// No such number.
    Unobtainable,
    /// The special information tone.
    Special(Special),
    /// Nothing for ten seconds.
    Silence,
}

impl Heard {
    /// As the contracts write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Heard::Ringback => "ringback",
            Heard::Busy => "busy",
            Heard::Congestion => "congestion",
            Heard::Unobtainable => "unobtainable",
            Heard::Special(Special::Intercept) => "sit_intercept",
            Heard::Special(Special::Vacant) => "sit_vacant",
            Heard::Special(Special::Reorder) => "sit_reorder",
            Heard::Special(Special::NoCircuit) => "sit_no_circuit",
            Heard::Special(Special::Plain) => "sit",
            Heard::Silence => "silence",
        }
    }
}

/// What a special information tone means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// The number has changed or is out of service.
    Intercept,
    /// There is no such number.
    Vacant,
    /// No way through just now.
    Reorder,
    /// No circuit.
    NoCircuit,
    /// An announcement follows that says it.
    Plain,
}

/// A tone of a country.
#[derive(Clone, Debug, PartialEq)]
pub struct Tone {
    /// What it means.
    pub heard: Heard,
    /// One or two, in Hz.
    pub frequencies: Vec<f32>,
    /// On, off, on, off … in ms; empty: without a pause.
    pub cadence: Vec<u32>,
}

impl Tone {
    /// Whether one cannot be told from the other by its cadence, though their frequencies are near each other.
    pub fn is_like(&self, other: &Tone) -> bool {
        let near = |hz: &f32| other.frequencies.iter().any(|other| (hz - other).abs() <= 50.0);
        let like = |(one, other): (&u32, &u32)| (*one as f32 - *other as f32).abs() <= slack(*one as f32);
        let times = self.cadence.len() == other.cadence.len() && self.cadence.iter().zip(&other.cadence).all(like);
        times && self.frequencies.len() == other.frequencies.len() && self.frequencies.iter().all(near)
    }
}

/// How far a time of a cadence may be off, in ms.
fn slack(wanted: f32) -> f32 {
    0.15 * wanted + 30.0
}

/// The tones of a country, made ready; calls share it.
#[derive(Debug)]
pub struct Country {
    tones: Vec<Ready>,
    window: [f32; FRAME],
    weight: [f32; FRAME],
}

#[derive(Debug)]
struct Ready {
    tone: Tone,
    /// Windowed sines at right angles to each other.
    space: Vec<[f32; FRAME]>,
}

impl Country {
    /// Makes the tones ready; of more than [`MOST_TONES`] the first ones.
    pub fn new(tones: Vec<Tone>) -> Country {
        let ready = |tone: Tone| Ready { space: space(&tone.frequencies), tone };
        let (window, weight) = hann();
        Country { tones: tones.into_iter().take(MOST_TONES).map(ready).collect(), window, weight }
    }

    /// The tones.
    pub fn tones(&self) -> impl Iterator<Item = &Tone> {
        self.tones.iter().map(|ready| &ready.tone)
    }
}

/// An orthonormal base of the windowed sines of some frequencies.
fn space(frequencies: &[f32]) -> Vec<[f32; FRAME]> {
    let window = hann().0;
    let mut space: Vec<[f32; FRAME]> = Vec::new();
    for hz in frequencies.iter().take(MOST_FREQUENCIES) {
        for quarter in [0.0, 0.25] {
            let wave = |n: usize| window[n] * (std::f32::consts::TAU * (hz * n as f32 / RATE + quarter)).sin();
            let mut wave: [f32; FRAME] = std::array::from_fn(wave);
            for base in &space {
                let along = dot(&wave, base);
                wave.iter_mut().zip(base).for_each(|(wave, base)| *wave -= along * base);
            }
            let length = dot(&wave, &wave).sqrt();
            // Two frequencies that are one would leave nothing.
            if length > 1e-3 {
                space.push(wave.map(|wave| wave / length));
            }
        }
    }
    space
}

fn dot(one: &[f32; FRAME], other: &[f32; FRAME]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// One tone's on and off.
#[derive(Clone, Copy, Debug, Default)]
struct Track {
    on: bool,
    /// Frames of this state; and of the other one since, which may be a break.
    frames: u32,
    other: u32,
    /// The states before, a ring: the newest is at `newest`.
    past: [u32; 2 * MOST_TIMES],
    newest: usize,
    known: usize,
}

impl Track {
    fn push(&mut self, on: bool) {
        if on == self.on {
            self.frames += 1 + std::mem::take(&mut self.other);
            return;
        }
        self.other += 1;
        if self.other < 2 {
            return;
        }
        self.newest = (self.newest + 1) % self.past.len();
        self.past[self.newest] = self.frames;
        self.known = (self.known + 1).min(self.past.len());
        (self.on, self.frames, self.other) = (on, std::mem::take(&mut self.other), 0);
    }

    /// How long ago the cadence began, in frames, if it is this one; with how far it is off in all.
    fn matches(&self, cadence: &[u32]) -> Option<(u32, f32)> {
        if cadence.is_empty() {
            return (self.on && self.frames >= CONTINUOUS).then_some((self.frames, 0.0));
        }
        let period: u32 = cadence.iter().sum::<u32>() / 20;
        let needed = if period < SHORT { 2 * cadence.len() } else { cadence.len() };
        // The last time is the pause that goes on.
        if self.on || self.known + 1 < needed {
            return None;
        }
        (0..cadence.len())
            .step_by(2)
            .filter_map(|first| self.fits(cadence, first, needed))
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn fits(&self, cadence: &[u32], first: usize, needed: usize) -> Option<(u32, f32)> {
        let (mut frames, mut error) = (self.frames, 0.0);
        for n in 0..needed {
            let wanted = cadence[(first + n) % cadence.len()] as f32;
            let slack = slack(wanted);
            if n + 1 == needed {
                let heard = 20.0 * self.frames as f32;
                if heard < wanted - slack || heard > wanted + slack {
                    return None;
                }
                break;
            }
            let place = (self.newest + self.past.len() + n + 2 - needed) % self.past.len();
            let heard = 20.0 * self.past[place] as f32;
            if (heard - wanted).abs() > slack {
                return None;
            }
            error += (heard - wanted).abs() / slack;
            frames += self.past[place];
        }
        Some((frames, error / needed as f32))
    }
}

/// Hears call progress in one stream.
#[derive(Debug)]
pub struct Progress {
    /// Here, so that it is made before the first frame.
    bank: &'static Bank,
    country: Arc<Country>,
    tracks: [Track; MOST_TONES],
    special: SpecialTrack,
    silent: u32,
    last: Option<Heard>,
}

impl Progress {
    /// For a country's tones.
    pub fn new(country: Arc<Country>) -> Progress {
        Progress {
            bank: &SPECIAL,
            country,
            tracks: [Track::default(); MOST_TONES],
            special: SpecialTrack::default(),
            silent: 0,
            last: None,
        }
    }

    /// Takes a frame of 20 ms; what is heard from now on, and how many ms before the end of this frame it began. Each is told when it
    /// begins, not again while it goes on.
    pub fn push(&mut self, frame: &[i16; FRAME]) -> Option<(Heard, u32)> {
        let mut sound = [0.0; FRAME];
        let mut all = 0.0;
        for ((sound, sample), weight) in sound.iter_mut().zip(frame).zip(&self.country.weight) {
            *sound = f32::from(*sample);
            all += *sound * *sound * weight;
        }
        let quiet = all < FLOOR;
        let mut windowed = sound;
        windowed.iter_mut().zip(&self.country.window).for_each(|(sound, window)| *sound *= window);
        let mut best: Option<(Heard, u32, f32)> = None;
        for (ready, track) in self.country.tones.iter().zip(&mut self.tracks) {
            track.push(!quiet && is_on(&windowed, ready, all));
            if let Some((frames, error)) = track.matches(&ready.tone.cadence)
                && best.is_none_or(|(_, _, least)| error < least)
            {
                best = Some((ready.tone.heard, frames, error));
            }
        }
        self.silent = if quiet { self.silent + 1 } else { 0 };
        let heard = if let Some((special, frames)) = self.special.push(self.bank, &sound, all, quiet) {
            Some((Heard::Special(special), frames))
        } else if let Some((heard, frames, _)) = best {
            Some((heard, frames))
        } else if self.silent >= SILENCE {
            Some((Heard::Silence, self.silent))
        } else {
            None
        };
        let (heard, frames) = heard?;
        if self.last.replace(heard) == Some(heard) {
            return None;
        }
        Some((heard, 20 * frames))
    }
}

/// Of a windowed sound, of which `all` is the mean square.
fn is_on(windowed: &[f32; FRAME], ready: &Ready, all: f32) -> bool {
    let within: f32 = ready.space.iter().map(|base| dot(windowed, base)).map(|along| along * along).sum();
    // The whole in the same measure: the sum of the windowed squares.
    within >= PURITY * all * 0.375 * FRAME as f32
}

/// The frequencies of the special information tone: three of the first, three of the second, the third, and none.
static SPECIAL: LazyLock<Box<Bank>> =
    LazyLock::new(|| Bank::new([913.8, 950.0, 985.2, 1370.6, 1400.0, 1428.5, 1776.7, 1800.0]));
const STEPS: [std::ops::Range<usize>; 3] = [0..3, 3..6, 6..8];
/// Frames of a step: 180 to 500 ms; and between two.
const STEP: std::ops::RangeInclusive<u32> = 9..=25;
const BETWEEN: u32 = 3;

/// How far a special information tone has come.
#[derive(Debug, Default)]
struct SpecialTrack {
    step: usize,
    frames: [u32; 3],
    powers: [f32; 8],
    between: u32,
}

impl SpecialTrack {
    fn push(&mut self, bank: &Bank, sound: &[f32; FRAME], all: f32, quiet: bool) -> Option<(Special, u32)> {
        let step = if quiet { None } else { self.look(bank, sound, all) };
        match step {
            Some(step) if step == self.step => self.frames[step] += 1,
            Some(step) if step == self.step + 1 && STEP.contains(&self.frames[self.step]) => {
                self.step = step;
                self.frames[step] = 1;
            }
            Some(0) => {
                *self = SpecialTrack::default();
                self.frames[0] = 1;
                // Its own power is gone with what was before: one frame of nine.
            }
            None if self.between < BETWEEN && self.frames[0] > 0 => self.between += 1,
            _ => *self = SpecialTrack::default(),
        }
        if step.is_some() {
            self.between = 0;
        }
        if self.step != 2 || self.frames[2] != *STEP.start() {
            return None;
        }
        let frames = self.frames.iter().sum();
        Some((self.meaning(), frames))
    }

    /// Which step a frame belongs to.
    fn look(&mut self, bank: &Bank, sound: &[f32; FRAME], all: f32) -> Option<usize> {
        let look = bank.look(sound.iter().copied());
        for (n, step) in STEPS.into_iter().enumerate() {
            if look.power(look.best(step.clone())) >= PURITY * all {
                for tone in step {
                    self.powers[tone] += look.power(tone);
                }
                return Some(n);
            }
        }
        None
    }

    fn meaning(&self) -> Special {
        let loudest = |step: std::ops::Range<usize>| {
            let first = step.start;
            step.max_by(|a, b| self.powers[*a].total_cmp(&self.powers[*b])).unwrap_or(first)
        };
        let first_is_longer = self.frames[0] > self.frames[1] + 1;
        let second_is_longer = self.frames[1] > self.frames[0] + 1;
        match (loudest(0..3), loudest(3..6)) {
            (0, 3) => Special::Intercept,
            (2, 3) if second_is_longer => Special::Reorder,
            (2, 3) => Special::Vacant,
            (0, 5) if first_is_longer => Special::NoCircuit,
            (0, 5) => Special::Reorder,
            (2, 5) => Special::NoCircuit,
            _ => Special::Plain,
        }
    }
}

#[cfg(test)]
mod tests;
