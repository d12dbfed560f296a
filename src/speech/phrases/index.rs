//! Which phrases there are on disk, which was asked for the longest ago, and what has to go when there is no room.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::Key;

/// How old what is known on disk of a phrase's last use may be: a phrase that is heard every second is not touched every second.
const TOUCH: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Index {
    most: u64,
    phrases: HashMap<Key, Phrase>,
    /// By when they were last asked for.
    turns: BTreeMap<u64, Key>,
    turn: u64,
    /// Of all phrases, and of those that are being written.
    bytes: u64,
}

#[derive(Debug)]
struct Phrase {
    bytes: u64,
    turn: u64,
    /// When the disk was told of its last use.
    touched: Instant,
}

/// Whether a phrase is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    No,
    Yes,
    /// And the disk is to be told that it was asked for.
    Touch,
}

impl Index {
    pub(super) fn new(most: u64) -> Index {
        Index { most, phrases: HashMap::new(), turns: BTreeMap::new(), turn: 0, bytes: 0 }
    }

    /// How many bytes all phrases have.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.phrases.len()
    }

    /// Somebody wants a phrase.
    pub(super) fn ask(&mut self, now: Instant, key: Key) -> Asked {
        let Some(phrase) = self.phrases.get_mut(&key) else { return Asked::No };
        self.turns.remove(&phrase.turn);
        self.turn += 1;
        phrase.turn = self.turn;
        self.turns.insert(self.turn, key);
        if now.saturating_duration_since(phrase.touched) < TOUCH {
            return Asked::Yes;
        }
        phrase.touched = now;
        Asked::Touch
    }

    /// What lay on the disk at the start, the oldest first; returns what there is no room for.
    pub(super) fn found(&mut self, now: Instant, found: Vec<(Key, u64)>) -> Vec<Key> {
        found.into_iter().for_each(|(key, bytes)| self.insert(now, key, bytes));
        self.evict(0)
    }

    /// A phrase is about to be written: what has to go first, or `None` if it is too large for all that.
    pub(super) fn reserve(&mut self, bytes: u64) -> Option<Vec<Key>> {
        if bytes > self.most {
            return None;
        }
        let gone = self.evict(bytes);
        self.bytes += bytes;
        Some(gone)
    }

    /// It has been written, or not.
    pub(super) fn written(&mut self, now: Instant, key: Key, bytes: u64, well: bool) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if well {
            self.insert(now, key, bytes);
        }
    }

    /// A phrase is not there any more.
    pub(super) fn remove(&mut self, key: Key) {
        if let Some(phrase) = self.phrases.remove(&key) {
            self.turns.remove(&phrase.turn);
            self.bytes = self.bytes.saturating_sub(phrase.bytes);
        }
    }

    fn insert(&mut self, now: Instant, key: Key, bytes: u64) {
        self.remove(key);
        self.bytes += bytes;
        self.turn += 1;
        self.turns.insert(self.turn, key);
        self.phrases.insert(key, Phrase { bytes, turn: self.turn, touched: now });
    }

    fn evict(&mut self, room: u64) -> Vec<Key> {
        let mut gone = Vec::new();
        while self.bytes + room > self.most {
            let Some(key) = self.turns.values().next().copied() else { break };
            self.remove(key);
            gone.push(key);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        Key([n; 32])
    }

    fn write(index: &mut Index, n: u8, bytes: u64) -> Vec<Key> {
        let gone = index.reserve(bytes).expect("is small enough");
        index.written(Instant::now(), key(n), bytes, true);
        gone
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first_and_the_bound_holds_at_any_moment() {
        let (mut index, now) = (Index::new(100), Instant::now());
        for n in 1..=3 {
            assert!(write(&mut index, n, 30).is_empty());
        }
        assert_ne!(index.ask(now, key(1)), Asked::No);
        assert_eq!(index.reserve(60), Some(vec![key(2), key(3)]), "the first was asked for since");
        assert_eq!((index.bytes(), index.len()), (90, 1), "with what is being written");
        assert_eq!(index.reserve(30), Some(vec![key(1)]), "what is being written cannot go");
        index.written(now, key(4), 60, true);
        index.written(now, key(5), 30, false);
        assert_eq!((index.bytes(), index.len()), (60, 1), "one could not be written");
        assert_eq!((index.ask(now, key(5)), index.ask(now, key(4))), (Asked::No, Asked::Yes));
        assert_eq!(index.reserve(101), None);
        assert_eq!(index.len(), 1, "nothing went for what there can be no room for");
    }

    #[test]
    fn what_is_found_keeps_its_order_and_too_much_of_it_goes() {
        let (mut index, now) = (Index::new(100), Instant::now());
        assert_eq!(index.found(now, vec![(key(1), 40), (key(2), 40), (key(3), 60)]), [key(1)]);
        assert_eq!((index.bytes(), index.len()), (100, 2));
        assert_eq!(write(&mut index, 4, 10), [key(2)]);
    }

    #[test]
    fn a_phrase_that_is_written_again_counts_once_and_the_disk_is_told_of_its_use_now_and_then() {
        let (mut index, now) = (Index::new(100), Instant::now());
        write(&mut index, 1, 30);
        write(&mut index, 1, 20);
        assert_eq!((index.bytes(), index.len()), (20, 1));
        assert_eq!(index.ask(now + Duration::from_secs(1), key(1)), Asked::Yes);
        assert_eq!(index.ask(now + Duration::from_secs(700), key(1)), Asked::Touch);
        assert_eq!(index.ask(now + Duration::from_secs(701), key(1)), Asked::Yes);
        index.remove(key(1));
        index.remove(key(1));
        assert_eq!((index.bytes(), index.len(), index.ask(now, key(1))), (0, 0, Asked::No));
    }
}
