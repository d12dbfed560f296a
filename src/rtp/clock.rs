//! The caller's wire: when each sample would have come if the network had never delayed it.
//!
//! A packet's transit is its arrival less its timestamp. The least transit of the last seconds is the network without its
//! jitter; `base + timestamp / rate` is then the moment on the wire, free of jitter and of our own buffer. Events and recordings
//! are placed by it.
//!
//! The least transit is kept per bucket of two seconds, four buckets back: it falls at once and rises within eight seconds,
//! which at ±300 ppm of clock drift is an error of 2.4 ms at most.

use std::time::Instant;

const BUCKET_US: i64 = 2_000_000;
const BUCKETS: usize = 4;
/// The transit of a bucket in which nothing came.
const NONE: i64 = i64::MAX;

/// Maps timestamps to moments. Inside, all times are microseconds since the first packet.
#[derive(Debug)]
pub struct WireClock {
    rate: i64,
    origin: Option<Instant>,
    least: [i64; BUCKETS],
    current: usize,
    current_until: i64,
}

impl WireClock {
    /// A clock for a stream of `rate` timestamp units a second (0 counts as 1).
    pub fn new(rate: u32) -> WireClock {
        WireClock { rate: i64::from(rate.max(1)), origin: None, least: [NONE; BUCKETS], current: 0, current_until: 0 }
    }

    /// Units a second.
    pub fn rate(&self) -> u32 {
        self.rate as u32
    }

    /// `now` in microseconds since the first packet; zero before it.
    pub fn micros(&self, now: Instant) -> i64 {
        let since = self.origin.map_or(0, |origin| now.saturating_duration_since(origin).as_micros());
        i64::try_from(since).unwrap_or(i64::MAX / 4)
    }

    /// A span of the media clock in microseconds.
    pub fn span(&self, units: i64) -> i64 {
        units.saturating_mul(1_000_000) / self.rate
    }

    /// A span in microseconds in units of the media clock.
    pub fn units(&self, micros: i64) -> i64 {
        micros.saturating_mul(self.rate) / 1_000_000
    }

    /// The transit of an arrival, comparable only with others of this clock.
    pub fn transit(&self, now: Instant, timestamp: i64) -> i64 {
        self.micros(now).saturating_sub(self.span(timestamp))
    }

    /// How much longer than the least transit this one is; negative if it is the new least, `None` if there is none yet.
    pub fn excess(&self, transit: i64) -> Option<i64> {
        self.base().map(|base| transit.saturating_sub(base))
    }

    /// Takes the transit of an arrival into account and returns by how much it exceeds the least, in microseconds, never
    /// negative.
    pub fn observe(&mut self, now: Instant, timestamp: i64) -> i64 {
        self.origin.get_or_insert(now);
        let (micros, transit) = (self.micros(now), self.transit(now, timestamp));
        if micros >= self.current_until {
            let passed = (micros - self.current_until) / BUCKET_US + 1;
            for _ in 0..passed.min(BUCKETS as i64) {
                self.current = (self.current + 1) % BUCKETS;
                self.least[self.current] = NONE;
            }
            self.current_until = self.current_until.saturating_add(passed.saturating_mul(BUCKET_US));
        }
        let least = &mut self.least[self.current];
        *least = transit.min(*least);
        self.excess(transit).unwrap_or(0)
    }

    /// Forgets every transit: the next arrival sets the base.
    pub fn forget(&mut self) {
        self.least = [NONE; BUCKETS];
    }

    /// The wire moment of a timestamp in microseconds since the first packet; zero before any packet.
    pub fn wire_micros(&self, timestamp: i64) -> i64 {
        self.base().map_or(0, |base| base.saturating_add(self.span(timestamp)))
    }

    /// The moment at which the sample `timestamp` would have come with the least transit seen lately; `None` before any packet.
    pub fn wire(&self, timestamp: i64) -> Option<Instant> {
        let micros = self.wire_micros(timestamp);
        let distance = std::time::Duration::from_micros(micros.unsigned_abs());
        let origin = self.origin?;
        let moment = if micros < 0 { origin.checked_sub(distance) } else { origin.checked_add(distance) };
        Some(moment.unwrap_or(origin))
    }

    /// The least transit seen lately; `None` if there is none.
    pub fn base(&self) -> Option<i64> {
        self.least.iter().copied().min().filter(|least| *least != NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ms::epoch;
    use std::time::Duration;

    #[test]
    fn the_least_transit_sets_the_wire() {
        let start = epoch();
        let at = |ms| start + Duration::from_millis(ms);
        let mut clock = WireClock::new(8000);
        assert_eq!(clock.wire(0), None);
        assert_eq!(clock.observe(at(50), 1000), 0);
        assert_eq!(clock.observe(at(60), 1160), 0, "came 10 ms early: the new least");
        assert_eq!(clock.observe(at(100), 1320), 20_000);
        assert_eq!(clock.wire(1320), Some(at(80)));
        assert_eq!(clock.wire(1000), Some(at(40)));
    }

    #[test]
    fn the_base_rises_within_eight_seconds_and_falls_at_once() {
        let start = epoch();
        let mut clock = WireClock::new(8000);
        let mut send =
            |n: i64, delay: u64| clock.observe(start + Duration::from_millis(n as u64 * 20 + delay), n * 160);
        for n in 0..100 {
            send(n, 5);
        }
        assert_eq!(send(100, 30), 25_000);
        let risen = (101..).find(|n| send(*n, 30) == 0).unwrap();
        assert!((300..=510).contains(&risen), "after {risen} packets");
        assert_eq!(send(risen + 1, 0), 0);
        assert_eq!(send(risen + 2, 30), 30_000);
    }

    #[test]
    fn survives_absurd_timestamps() {
        let mut clock = WireClock::new(0);
        let now = epoch();
        clock.observe(now, i64::MAX);
        clock.observe(now, i64::MIN);
        assert!(clock.wire(i64::MAX).is_some());
        assert!(clock.wire(i64::MIN).is_some());
    }
}
