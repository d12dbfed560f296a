//! Who may cost us work before we know him: a bound for each source that belongs to no trunk, or has yet to show its password.
//!
//! A source of a configured trunk never comes here. Those that do share a table of a fixed size: two that fall on one place share its
//! bucket, so that whoever invents a million addresses gets no more of our memory than whoever has one. IPv6 sources count by their
//! /64: that is what one customer has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::rate::Bucket;

const PLACES: usize = 4_096;
/// The most sources that are trusted at a time.
const MOST_TRUSTED: usize = 4_096;
/// How long after its last sign a source is trusted.
const TRUSTED: Duration = Duration::from_secs(3_600);

/// The table.
#[derive(Debug)]
pub(super) struct Admission {
    per_second: u32,
    places: Vec<Option<Bucket>>,
    trusted: HashMap<IpAddr, Instant>,
    seed: u64,
}

impl Admission {
    /// So many requests a second, twice as many at once. `seed` keeps others from choosing whose place they share.
    pub(super) fn new(per_second: u32, seed: u64) -> Admission {
        Admission { per_second, places: vec![None; PLACES], trusted: HashMap::new(), seed }
    }

    /// Whether one more message of a source is looked at.
    pub(super) fn admits(&mut self, now: Instant, source: IpAddr) -> bool {
        if self.trusted.get(&source).is_some_and(|until| *until > now) {
            return true;
        }
        let place = self.place(source);
        let fresh = Bucket::new(now, self.per_second, self.per_second.saturating_mul(2));
        self.places[place].get_or_insert(fresh).take(now)
    }

    /// A source has shown that it is a friend: it answered a call of ours, or knew the password.
    pub(super) fn trust(&mut self, now: Instant, source: IpAddr) {
        if self.trusted.len() >= MOST_TRUSTED && !self.trusted.contains_key(&source) {
            self.trusted.retain(|_, until| *until > now);
            if self.trusted.len() >= MOST_TRUSTED {
                return;
            }
        }
        self.trusted.insert(source, now + TRUSTED);
    }

    /// Multiplied and folded: not for secrets, only so that neighbours do not meet.
    fn place(&self, source: IpAddr) -> usize {
        let key = match source {
            IpAddr::V4(v4) => u64::from(u32::from(v4)),
            IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64 ^ 0x6666_6666_6666_6666,
        };
        let mixed = (key ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29) ^ self.seed.rotate_left(17)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 40) as usize % PLACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ms::epoch;

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn a_flood_is_cut_and_its_source_heard_again_later() {
        let mut admission = Admission::new(10, 1);
        let now = epoch();
        let admitted = (0..1_000).filter(|_| admission.admits(now, v4(7))).count();
        assert_eq!(admitted, 20);
        assert!(!admission.admits(now + Duration::from_millis(50), v4(7)));
        assert!(admission.admits(now + Duration::from_millis(150), v4(7)));
    }

    #[test]
    fn a_flood_from_everywhere_costs_no_more_memory() {
        let mut admission = Admission::new(10, 2);
        let now = epoch();
        let admitted = (0..1_000_000).filter(|n| admission.admits(now, v4(n * 4_099))).count();
        assert!(admitted <= PLACES * 20, "{admitted}");
        assert_eq!(admission.places.len(), PLACES);
        assert!(admission.trusted.is_empty());
    }

    #[test]
    fn a_friend_is_not_counted_for_an_hour() {
        let mut admission = Admission::new(1, 3);
        let now = epoch();
        admission.trust(now, v4(9));
        assert!((0..100).all(|_| admission.admits(now + Duration::from_secs(3_599), v4(9))));
        assert!(!(0..100).all(|_| admission.admits(now + Duration::from_secs(3_601), v4(9))));
    }

    #[test]
    fn friends_are_bounded_and_old_ones_make_room() {
        let mut admission = Admission::new(1, 4);
        let now = epoch();
        (0..5_000).for_each(|n| admission.trust(now, v4(n)));
        assert_eq!(admission.trusted.len(), MOST_TRUSTED);
        admission.trust(now + TRUSTED, v4(99_999));
        assert_eq!(admission.trusted.len(), 1);
    }

    #[test]
    fn one_customer_is_one_source() {
        let mut admission = Admission::new(5, 5);
        let now = epoch();
        let address = |n: u128| IpAddr::V6((0x2001_0db8_u128 << 96 | n).into());
        let admitted = (0..1_000).filter(|n| admission.admits(now, address(*n))).count();
        assert_eq!(admitted, 10);
    }
}
