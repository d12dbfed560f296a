//! The wheel of a media thread: 20 slots of 1 ms, each leg in one of them.
//!
//! A thread wakes only for slots that hold legs, and each wake costs as much as serving a leg. So calls share a few slots, and more
//! slots are opened as more calls come: first far apart, then between. From [`FILL`] legs in every slot on, a new leg goes where the
//! wheel is emptiest.

/// The wheel turns in ticks of 1 ms; a leg's slot comes every 20.
pub(crate) const SLOTS: usize = 20;
/// Legs in one slot before the next slot is opened: served within 0.7 ms, before the next tick. In each slot they leave in the same order, so
/// nobody's pace suffers for the others' sake.
const FILL: usize = 64;
/// The order in which slots are opened.
const OPENING: [usize; SLOTS] = [0, 10, 5, 15, 2, 12, 7, 17, 4, 14, 9, 19, 1, 11, 6, 16, 3, 13, 8, 18];

/// Which legs are served in which tick.
#[derive(Debug, Default)]
pub(crate) struct Wheel {
    slots: [Vec<usize>; SLOTS],
    legs: usize,
}

impl Wheel {
    /// Puts a leg into a slot, and says into which.
    pub(crate) fn add(&mut self, leg: usize) -> usize {
        let open = OPENING.into_iter().find(|slot| self.slots[*slot].len() < FILL);
        let slot = open.or_else(|| (0..SLOTS).min_by_key(|slot| self.slots[*slot].len())).unwrap_or(0);
        self.slots[slot].push(leg);
        self.legs += 1;
        slot
    }

    /// Takes a leg out of its slot.
    pub(super) fn remove(&mut self, slot: usize, leg: usize) {
        let before = self.slots[slot].len();
        self.slots[slot].retain(|on| *on != leg);
        self.legs -= before - self.slots[slot].len();
    }

    /// The legs of a tick.
    pub(crate) fn legs(&self, tick: u64) -> &[usize] {
        &self.slots[slot_of(tick)]
    }

    /// The first tick after this one that has legs; none when there are no legs.
    pub(super) fn next_after(&self, tick: u64) -> Option<u64> {
        if self.legs == 0 {
            return None;
        }
        (tick + 1..=tick + SLOTS as u64).find(|tick| !self.legs(*tick).is_empty())
    }
}

fn slot_of(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_legs_share_a_few_slots_and_many_are_spread_evenly() {
        let mut wheel = Wheel::default();
        let slots: Vec<usize> = (0..FILL + 2).map(|leg| wheel.add(leg)).collect();
        assert_eq!(slots[FILL - 2..], [0, 0, 10, 10]);
        assert_eq!(wheel.next_after(0), Some(10));
        assert_eq!(wheel.next_after(10), Some(20));
        (FILL + 2..FILL * SLOTS).for_each(|leg| {
            wheel.add(leg);
        });
        assert!(wheel.slots.iter().all(|slot| slot.len() == FILL));
        assert_eq!(wheel.next_after(7), Some(8));
    }

    #[test]
    fn a_place_that_is_left_is_filled_again_before_a_slot_is_opened() {
        let mut wheel = Wheel::default();
        (0..FILL + 4).for_each(|leg| {
            wheel.add(leg);
        });
        wheel.remove(0, 3);
        assert_eq!(wheel.legs(0)[..4], [0, 1, 2, 4]);
        assert_eq!(wheel.add(FILL + 4), 0);
    }

    #[test]
    fn nobody_is_waited_for_on_an_empty_wheel() {
        let mut wheel = Wheel::default();
        let slot = wheel.add(1);
        wheel.remove(slot, 1);
        wheel.remove(slot, 1);
        assert_eq!(wheel.next_after(5), None);
    }

    #[test]
    fn every_slot_is_opened_once() {
        let mut order = OPENING;
        order.sort_unstable();
        assert!(order.into_iter().eq(0..SLOTS));
    }
}
