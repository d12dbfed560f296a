//! INVITEs that were refused without state, remembered for as long as copies of them may come.
//!
//! RFC 3261 §17.2.1 would keep a transaction for each; under a flood that is what must not be. A hash and a status are enough: a copy gets
//! the answer that the first one got, also when there is room by then (its sender may have heard the refusal), and is counted once.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::sip::message::{HeaderName, Request};

/// RFC 3261 §17.1.1.2, Timer B: so long an INVITE may be repeated.
const COPIES: Duration = Duration::from_secs(32);
/// Remembered at a time, in each of two halves: at 2,000 refusals a second, the last minute's; beyond it the oldest half is forgotten.
const MOST: usize = 65_536;

/// One INVITE: what copies of it have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(u64);

impl Key {
    /// Some number that all copies of it have and that others are free to differ in.
    pub(super) fn spread(self) -> u64 {
        self.0
    }
}

/// What it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The route says so.
    Status(u16),
    /// 503: there is no room now.
    ComeAgain,
}

#[derive(Debug)]
pub(super) struct Refused {
    secret: RandomState,
    young: HashMap<Key, Answer>,
    old: HashMap<Key, Answer>,
    since: Instant,
}

impl Refused {
    pub(super) fn new(now: Instant) -> Refused {
        Refused { secret: RandomState::new(), young: HashMap::new(), old: HashMap::new(), since: now }
    }

    /// Copies have their Via (with its branch), Call-ID and CSeq in common, byte by byte.
    pub(super) fn key(&self, request: &Request) -> Key {
        let first = |name| request.all(name).next();
        Key(self.secret.hash_one([HeaderName::Via, HeaderName::CallId, HeaderName::CSeq].map(first)))
    }

    /// What the first copy was answered, if it was refused.
    pub(super) fn before(&self, key: Key) -> Option<Answer> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    /// Remembers a refusal for at least as long as copies of it may come, unless there are too many.
    pub(super) fn remember(&mut self, key: Key, answer: Answer, now: Instant) {
        if now - self.since >= COPIES || self.young.len() >= MOST {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.since = now;
        }
        self.young.insert(key, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::{Message, parse};

    fn invite(branch: &str, cseq: u32) -> Request {
        let text = format!(
            "INVITE sip:x@b SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch={branch}\r\nVia: SIP/2.0/UDP 10.0.0.2\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: c\r\nCSeq: {cseq} INVITE\r\nContent-Length: 0\r\n\r\n"
        );
        let Ok(Message::Request(request)) = parse(text.as_bytes()) else { panic!("{text}") };
        request
    }

    #[test]
    fn copies_are_known_for_their_time_and_others_are_not() {
        let begun = Instant::now();
        let mut refused = Refused::new(begun);
        let key = refused.key(&invite("z9hG4bKa", 1));
        assert_eq!(refused.before(key), None);
        refused.remember(key, Answer::ComeAgain, begun + Duration::from_secs(31));
        let copy = refused.key(&invite("z9hG4bKa", 1));
        assert_eq!(refused.before(copy), Some(Answer::ComeAgain));
        for other in [invite("z9hG4bKb", 1), invite("z9hG4bKa", 2)] {
            assert_eq!(refused.before(refused.key(&other)), None);
        }
        // The half is full of time: the first one is the old half's now, and known until that is forgotten as well.
        refused.remember(refused.key(&invite("z9hG4bKc", 1)), Answer::Status(404), begun + Duration::from_secs(33));
        assert_eq!(refused.before(copy), Some(Answer::ComeAgain));
        refused.remember(refused.key(&invite("z9hG4bKd", 1)), Answer::Status(404), begun + Duration::from_secs(66));
        assert_eq!(refused.before(copy), None);
    }

    #[test]
    fn a_flood_does_not_fill_the_memory() {
        let now = Instant::now();
        let mut refused = Refused::new(now);
        (0..5 * MOST as u64).for_each(|n| refused.remember(Key(n), Answer::ComeAgain, now));
        assert!(refused.young.len() + refused.old.len() <= 2 * MOST);
        assert_eq!(refused.before(Key(5 * MOST as u64 - 1)), Some(Answer::ComeAgain));
    }
}
