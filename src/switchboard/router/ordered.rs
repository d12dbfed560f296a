//! Which orders were taken already: `request_id` → call, for an hour at least and two at most.
//!
//! An orchestrator that dials 500 calls a second leaves two million of them in an hour. So an entry is 32 bytes, however long the id is: a
//! hash of 128 bits under keys that nobody knows, and the call's number. There are two tables; each hour the older one is dropped whole.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an order is remembered at least.
const REMEMBERED: Duration = Duration::from_secs(3_600);

pub(super) struct Ordered {
    keys: [RandomState; 2],
    recent: HashMap<u128, u128>,
    former: HashMap<u128, u128>,
    /// When the tables change places.
    turns: Instant,
}

impl Ordered {
    pub(super) fn new(now: Instant) -> Ordered {
        let keys = [RandomState::new(), RandomState::new()];
        Ordered { keys, recent: HashMap::new(), former: HashMap::new(), turns: now + REMEMBERED }
    }

    /// The call that this order became.
    pub(super) fn call(&mut self, now: Instant, request_id: &str) -> Option<Arc<str>> {
        self.turn(now);
        let hash = self.hash(request_id);
        self.recent.get(&hash).or_else(|| self.former.get(&hash)).map(|number| name(*number))
    }

    /// An order has become the call of this number.
    pub(super) fn keep(&mut self, now: Instant, request_id: &str, number: u128) {
        self.turn(now);
        self.recent.insert(self.hash(request_id), number);
    }

    fn turn(&mut self, now: Instant) {
        if now < self.turns {
            return;
        }
        let quiet = now >= self.turns + REMEMBERED;
        self.former = std::mem::take(&mut self.recent);
        if quiet {
            self.former = HashMap::new();
        }
        self.turns = now + REMEMBERED;
    }

    fn hash(&self, request_id: &str) -> u128 {
        let [high, low] = [0, 1].map(|key| u128::from(self.keys[key].hash_one(request_id)));
        high << 64 | low
    }
}

/// The id of the call of this number.
pub(super) fn name(number: u128) -> Arc<str> {
    format!("{number:032x}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_known_for_an_hour_and_forgotten_after_two() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let begun = Instant::now();
        for taken in [0, 1, 30, 59] {
            let mut ordered = Ordered::new(begun);
            ordered.keep(begun + minutes(taken), "17", 0xabc);
            for now in (taken..=taken + 59).chain([taken + 60]) {
                let call = ordered.call(begun + minutes(now), "17");
                assert_eq!(call.as_deref(), Some("00000000000000000000000000000abc"), "{taken} {now}");
                assert_eq!(ordered.call(begun + minutes(now), "18"), None);
            }
            assert_eq!(ordered.call(begun + minutes(taken + 121), "17"), None, "{taken}");
        }
    }

    #[test]
    fn what_was_ordered_before_a_long_silence_is_forgotten() {
        let begun = Instant::now();
        let mut ordered = Ordered::new(begun);
        ordered.keep(begun, "17", 1);
        assert_eq!(ordered.call(begun + 2 * REMEMBERED, "17"), None);
        assert_eq!((ordered.recent.capacity(), ordered.former.capacity()), (0, 0), "and its room is free");
    }
}
