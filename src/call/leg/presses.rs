//! One press is one, however many ways it is told.
//!
//! A far end may tell a press as an RTP event, by INFO and as a tone, all at once. What is told is the press before, and not another one, when
//! it is the same key, that press has not been told this way yet, and its last sign of life is less than [`SAME_PRESS`] ago.
//!
//! Tones are only heard where the others are told: of a press that RTP or INFO has told, tones within that time are an echo, however many
//! there are (a lost packet in the midst of a long tone makes two of it).
//!
//! | told | presses |
//! |---|---|
//! | RTP 5, INFO 5, tone 5 | 5 |
//! | RTP 5, RTP 5 (another timestamp) | 5 5 |
//! | RTP 5, RTP 6, INFO 5, INFO 6 | 5 6 |
//! | RTP 5, tone 5, RTP 5, tone 5, within half a second | 5 5 |
//! | tone 5, tone 5, INFO 5, INFO 5 | 5 5 |
//! | INFO 5, and after a second RTP 5 | 5 5 |

use std::time::{Duration, Instant};

use crate::rtp::telephone_event::Key;

/// INFO takes the way of the signalling, with its retransmissions.
const SAME_PRESS: Duration = Duration::from_millis(800);
/// As many as a hand can make in that time.
const REMEMBERED: usize = 8;

/// How a press was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Rtp,
    Signalling,
    Tone,
}

#[derive(Debug, Clone, Copy)]
struct Press {
    key: Key,
    ways: [bool; 3],
    alive: Instant,
}

/// The presses of the last moments.
#[derive(Debug, Default)]
pub(super) struct Presses {
    /// A ring; the next one goes to `next`.
    known: [Option<Press>; REMEMBERED],
    next: usize,
}

impl Presses {
    /// Whether what was told is a press that has not been told.
    pub(super) fn is_new(&mut self, now: Instant, key: Key, way: Way) -> bool {
        let lately = |press: &Press| press.key == key && now.saturating_duration_since(press.alive) < SAME_PRESS;
        let told_otherwise = |press: &Press| press.ways[Way::Rtp as usize] || press.ways[Way::Signalling as usize];
        for n in 0..REMEMBERED {
            // The oldest first: ways keep their order.
            let Some(press) = &mut self.known[(self.next + n) % REMEMBERED] else { continue };
            if lately(press) && (!press.ways[way as usize] || way == Way::Tone && told_otherwise(press)) {
                press.ways[way as usize] = true;
                return false;
            }
        }
        let mut ways = [false; 3];
        ways[way as usize] = true;
        self.known[self.next] = Some(Press { key, ways, alive: now });
        self.next = (self.next + 1) % REMEMBERED;
        true
    }

    /// The key has been held until now.
    pub(super) fn released(&mut self, now: Instant, key: Key) {
        let newest = (1..=REMEMBERED).map(|n| (self.next + REMEMBERED - n) % REMEMBERED);
        for place in newest {
            if let Some(press) = &mut self.known[place]
                && press.key == key
            {
                press.alive = now;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Way::{Rtp, Signalling, Tone};
    use super::*;
    use crate::ms::epoch;

    /// What is pressed when this is told, each ms after the beginning.
    fn pressed(told: &[(u64, char, Way)]) -> String {
        let mut presses = Presses::default();
        let is_new = |(ms, key, way): &(u64, char, Way)| {
            let key = Key::from_char(*key).unwrap();
            presses.is_new(epoch() + Duration::from_millis(*ms), key, *way).then_some(key.as_char())
        };
        told.iter().filter_map(is_new).collect()
    }

    #[test]
    fn a_press_that_is_told_three_ways_is_one_in_any_order() {
        for ways in [[Rtp, Signalling, Tone], [Tone, Signalling, Rtp], [Signalling, Tone, Rtp], [Tone, Rtp, Signalling]]
        {
            let told: Vec<_> = ways.iter().enumerate().map(|(n, way)| (100 * n as u64, '5', *way)).collect();
            assert_eq!(pressed(&told), "5", "{ways:?}");
        }
    }

    #[test]
    fn a_key_that_is_pressed_twice_is_two_though_each_is_told_twice() {
        assert_eq!(pressed(&[(0, '5', Rtp), (40, '5', Tone), (200, '5', Rtp), (240, '5', Tone)]), "55");
        assert_eq!(pressed(&[(0, '5', Tone), (200, '5', Tone), (300, '5', Signalling), (400, '5', Signalling)]), "55");
        assert_eq!(pressed(&[(0, '5', Rtp), (90, '5', Rtp)]), "55");
        assert_eq!(pressed(&[(0, '5', Signalling), (1_000, '5', Rtp)]), "55");
    }

    #[test]
    fn keys_told_late_by_signalling_keep_their_order() {
        let told = [
            (0, '5', Rtp),
            (150, '6', Rtp),
            (300, '5', Rtp),
            (400, '5', Signalling),
            (450, '6', Signalling),
            (500, '5', Signalling),
        ];
        assert_eq!(pressed(&told), "565");
    }

    #[test]
    fn a_tone_in_pieces_is_an_echo_of_the_press_that_rtp_tells() {
        let mut presses = Presses::default();
        let (key, at) = (Key::from_char('9').unwrap(), |ms| epoch() + Duration::from_millis(ms));
        assert!(presses.is_new(at(0), key, Rtp));
        assert!(!presses.is_new(at(60), key, Tone));
        assert!(!presses.is_new(at(700), key, Tone));
        presses.released(at(3_000), key);
        assert!(!presses.is_new(at(3_010), key, Tone), "held until now");
        assert!(presses.is_new(at(3_900), key, Tone));
    }

    #[test]
    fn a_hand_full_of_keys_is_remembered_and_no_more() {
        let told: Vec<_> = (0..100).map(|n| (n * 10, if n % 2 == 0 { '1' } else { '2' }, Rtp)).collect();
        assert_eq!(pressed(&told).len(), 100);
    }
}
