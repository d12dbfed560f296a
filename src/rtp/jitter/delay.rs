//! How long the jitter buffer should wait: a forgetting histogram of how late packets come.
//!
//! Each packet's lateness (its transit above the least) falls into one of 64 bins of 5 ms. The wanted delay is the upper edge of
//! the bin below which 98 % of the mass lies. The histogram forgets over some 500 packets (10 s of 20 ms), faster while young. The
//! target rises with it at once and falls by 0.2 ms a packet, 10 ms a second: a burst of jitter is remembered longer than it lasts.

use crate::cache::bring;

const BINS: usize = 64;
const BIN_US: i64 = 5_000;
const QUANTILE: f32 = 0.98;
/// Memory in packets.
const MEMORY: f32 = 500.0;
/// All is made lighter when it weighs so much: once in some 7,000 packets.
const HEAVY: f32 = 1e6;
/// Packets before the histogram may lower the target.
const LEARNING: f32 = 25.0;
const FALL_US: i64 = 200;
/// The least transit goes up and down by so much with the jitter: what it has fallen it may rise again.
const REMEMBERED_FALL_US: i64 = 2 * BIN_US;

/// The target delay.
#[derive(Debug)]
pub struct TargetDelay {
    /// The mass in each bin. What is new weighs more than what was there before, instead of that being made lighter: a packet touches one bin.
    bins: [f32; BINS],
    /// Of all of them.
    mass: f32,
    seen: f32,
    target: i64,
    /// The rise of the least transit that is not in the bins yet.
    rise: i64,
    min: i64,
    max: i64,
}

impl TargetDelay {
    /// A target that begins at `start` and stays within `min` and `max`; all in microseconds.
    pub fn new(min: i64, start: i64, max: i64) -> TargetDelay {
        let max = max.max(min);
        TargetDelay { bins: [0.0; BINS], mass: 0.0, seen: 0.0, target: start.clamp(min, max), rise: 0, min, max }
    }

    /// Takes a packet's lateness. `slack` is what the reader's rhythm adds, when it is no multiple of the packet time.
    pub fn observe(&mut self, lateness: i64, slack: i64) {
        self.seen = (self.seen + 1.0).min(MEMORY);
        let bin = (lateness.max(0) / BIN_US).min(BINS as i64 - 1) as usize;
        // One of `seen` of all there is then.
        let weight = if self.seen > 1.0 { self.mass / (self.seen - 1.0) } else { 1.0 };
        self.bins[bin] += weight;
        self.mass += weight;
        if self.mass > HEAVY {
            let all: f32 = self.bins.iter().sum();
            self.bins.iter_mut().for_each(|bin| *bin /= all);
            self.mass = 1.0;
        }
        let wanted = (self.quantile() + slack).clamp(self.min, self.max);
        if wanted > self.target {
            self.target = wanted;
        } else if self.seen >= LEARNING {
            self.target = (self.target - FALL_US).max(wanted);
        }
    }

    /// The least transit, which lateness is counted from, has risen by so many microseconds, or fallen: what was late is less late now.
    /// After a fall nothing is later than it was: a line that has become shorter does not have more jitter.
    pub fn rebase(&mut self, rise: i64) {
        self.rise = self.rise.saturating_add(rise).max(-REMEMBERED_FALL_US);
        let bins = (self.rise / BIN_US).clamp(0, BINS as i64 - 1) as usize;
        if bins > 0 {
            self.rise -= bins as i64 * BIN_US;
            let sooner: f32 = self.bins[..bins].iter().sum();
            self.bins.copy_within(bins.., 0);
            self.bins[BINS - bins..].fill(0.0);
            self.bins[0] += sooner;
            self.target = (self.target - bins as i64 * BIN_US).max(self.min);
        }
    }

    /// Asks for what the next packet meets.
    pub fn warm(&self) {
        bring(&self.bins[0]);
        bring(&self.mass);
        bring(&self.target);
        bring(&self.max);
    }

    /// The target in microseconds.
    pub fn target(&self) -> i64 {
        self.target
    }

    /// The longest delay allowed, in microseconds.
    pub fn max(&self) -> i64 {
        self.max
    }

    fn quantile(&self) -> i64 {
        let (mut mass, wanted) = (0.0, QUANTILE * self.mass);
        let below = self.bins.iter().position(|bin| {
            mass += bin;
            mass >= wanted
        });
        (below.unwrap_or(BINS - 1) as i64 + 1) * BIN_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_slowly_to_the_floor_on_a_quiet_line() {
        let mut delay = TargetDelay::new(20_000, 40_000, 200_000);
        for _ in 0..75 {
            delay.observe(0, 0);
        }
        assert!(delay.target() > 29_000, "not at once");
        for _ in 0..75 {
            delay.observe(0, 0);
        }
        assert_eq!(delay.target(), 20_000);
    }

    #[test]
    fn rises_within_a_second_of_jitter_and_forgets_one_straggler() {
        let mut delay = TargetDelay::new(20_000, 20_000, 200_000);
        for _ in 0..1000 {
            delay.observe(1_000, 0);
        }
        delay.observe(150_000, 0);
        assert_eq!(delay.target(), 20_000, "one late packet in a thousand is not worth 150 ms");
        for n in 0..50 {
            delay.observe(if n % 2 == 0 { 0 } else { 90_000 }, 0);
        }
        assert_eq!(delay.target(), 95_000);
    }

    #[test]
    fn a_rise_of_the_least_transit_is_taken_off_and_its_own_jitter_is_not() {
        let mut delay = TargetDelay::new(20_000, 20_000, 200_000);
        for _ in 0..500 {
            delay.observe(62_000, 0);
        }
        assert_eq!(delay.target(), 65_000);
        for step in [-3_000, 3_000, -4_000, 4_000] {
            delay.rebase(step);
        }
        assert_eq!(delay.target(), 65_000, "up and down with the jitter");
        delay.rebase(60_000);
        assert_eq!(delay.target(), 20_000);
        delay.observe(2_000, 0);
        assert_eq!(delay.target(), 20_000, "what was late before is not late by the new measure");
        delay.rebase(i64::MAX / 2);
        delay.rebase(i64::MIN / 2);
    }

    #[test]
    fn stays_within_its_limits() {
        let mut delay = TargetDelay::new(20_000, 500_000, 100_000);
        assert_eq!(delay.target(), 100_000);
        for _ in 0..100 {
            delay.observe(i64::MAX, 15_000);
        }
        assert_eq!(delay.target(), 100_000);
        for _ in 0..100_000 {
            delay.observe(i64::MIN, 0);
        }
        assert_eq!(delay.target(), 20_000);
    }
}
