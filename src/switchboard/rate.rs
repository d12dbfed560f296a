//! So many a second: a token bucket, in whatever time it is given.

use std::time::{Duration, Instant};

/// Fills at a steady rate up to its size; each call takes one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    /// Time in which one comes.
    each: Duration,
    /// Full: so much time has been saved up.
    full: Duration,
    saved: Duration,
    at: Instant,
}

impl Bucket {
    /// Full. Less than one a second or one at once is one.
    pub(super) fn new(now: Instant, per_second: u32, at_once: u32) -> Bucket {
        let each = Duration::from_secs(1) / per_second.max(1);
        let full = each * at_once.max(1);
        Bucket { each, full, saved: full, at: now }
    }

    /// Whether there is one to take.
    pub(super) fn has(&mut self, now: Instant) -> bool {
        let gone = now.saturating_duration_since(self.at);
        self.saved = self.saved.saturating_add(gone).min(self.full);
        self.at = self.at.max(now);
        self.saved >= self.each
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let has = self.has(now);
        if has {
            self.saved -= self.each;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ms::epoch;

    #[test]
    fn the_burst_and_then_the_rate() {
        let mut bucket = Bucket::new(epoch(), 5, 3);
        let taken = |bucket: &mut Bucket, ms: u64| {
            (0..100).filter(|_| bucket.take(epoch() + Duration::from_millis(ms))).count()
        };
        assert_eq!(taken(&mut bucket, 0), 3);
        assert_eq!(taken(&mut bucket, 199), 0);
        assert_eq!(taken(&mut bucket, 200), 1);
        assert_eq!(taken(&mut bucket, 600), 2);
        assert_eq!(taken(&mut bucket, 60_000), 3, "no more than the burst is saved up");
    }

    #[test]
    fn over_a_minute_it_is_the_rate_to_the_call() {
        let mut bucket = Bucket::new(epoch(), 7, 1);
        let taken = (0..60_000).filter(|ms| bucket.take(epoch() + Duration::from_millis(*ms))).count();
        assert!((419..=420).contains(&taken), "{taken}");
    }
}
