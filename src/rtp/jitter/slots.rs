//! The jitter buffer's storage: 32 slots indexed by sequence number, payloads in chains of 80-byte blocks.
//!
//! Slots as wide as the longest payload would need 40 KB a call, of which a call with 20 ms packets of G.711 would use an eighth. Blocks of
//! 10 ms of G.711 hold 480 ms in 4 KB, whatever the packet time; who sends samples as they are gets more of them.

use crate::cache::bring;

/// The longest payload that is kept, in bytes: 40 ms of L16 at 16 kHz, and every packet of Opus.
pub const MAX_PAYLOAD: usize = 1_280;
/// How many packets fit, and how far ahead of the next one the newest may be.
pub const SLOTS: i64 = 32;
const BLOCK: usize = 80;
/// For all codings that make a byte of a sample, or less.
pub const BLOCKS: usize = 48;
/// For samples of 16 kHz as they are: 400 ms.
pub const BLOCKS_L16: usize = 160;
const END: u8 = u8::MAX;

/// What is kept of a packet beside its payload.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Extended sequence number.
    pub number: i64,
    /// Extended timestamp.
    pub timestamp: i64,
    /// Arrival in microseconds of the wire clock.
    pub arrival: i64,
    /// Duration in units of the media clock; zero for a packet that is not audio.
    pub samples: u32,
    /// The payload type's number.
    pub payload_type: u8,
    length: u16,
    first_block: u8,
}

/// The packets that wait.
#[derive(Debug)]
pub struct Slots {
    held: [Option<Held>; SLOTS as usize],
    blocks: Box<[[u8; BLOCK]]>,
    next: Box<[u8]>,
    free: u8,
    free_count: u8,
}

impl Slots {
    /// No packets, and room for so many blocks, 254 at most.
    pub fn new(blocks: usize) -> Slots {
        let mut next = vec![END; blocks].into_boxed_slice();
        for (block, next) in next.iter_mut().enumerate().take(blocks - 1) {
            *next = block as u8 + 1;
        }
        let blocks = vec![[0; BLOCK]; blocks].into_boxed_slice();
        Slots { held: [None; SLOTS as usize], free_count: blocks.len() as u8, blocks, next, free: 0 }
    }

    /// Asks for what [`take`](Self::take) will read of the packet of this number; and for what it holds.
    pub fn warm(&self, number: i64) {
        bring(&self.held[index(number)]);
        bring(&self.free_count);
    }

    /// … once that is here.
    pub fn warm_behind(&self, number: i64) {
        let Some(held) = &self.held[index(number)] else { return };
        // The end of a payload was put first, and blocks that are freed together are taken together: the second one is mostly that before.
        let first = usize::from(held.first_block);
        self.blocks.get(first.saturating_sub(1)..=first).into_iter().for_each(bring);
    }

    /// Asks for what [`put`](Self::put) will meet, if the packet of this number comes next.
    pub fn warm_to_put(&self, number: i64) {
        bring(&self.held[index(number)]);
        let free = usize::from(self.free);
        self.next.get(free).into_iter().for_each(bring);
        self.blocks.get(free..).and_then(|blocks| blocks.first_chunk::<2>()).into_iter().for_each(bring);
    }

    /// The packet with this number.
    pub fn at(&self, number: i64) -> Option<Held> {
        self.held[index(number)].filter(|held| held.number == number)
    }

    /// The first packet from `number` on.
    pub fn first_from(&self, number: i64) -> Option<Held> {
        (number..number + SLOTS).find_map(|number| self.at(number))
    }

    /// Whether a payload of so many bytes has room.
    pub fn has_room(&self, length: usize) -> bool {
        length.div_ceil(BLOCK) <= usize::from(self.free_count)
    }

    /// Keeps a packet if its slot is free, its payload not too long and room left for it; says whether.
    pub fn put(
        &mut self,
        number: i64,
        timestamp: i64,
        arrival: i64,
        samples: u32,
        payload_type: u8,
        payload: &[u8],
    ) -> bool {
        if payload.len() > MAX_PAYLOAD || !self.has_room(payload.len()) || self.held[index(number)].is_some() {
            return false;
        }
        let mut first_block = END;
        for chunk in payload.rchunks(BLOCK) {
            let block = self.free;
            self.free = self.next[usize::from(block)];
            self.free_count -= 1;
            self.next[usize::from(block)] = first_block;
            self.blocks[usize::from(block)][..chunk.len()].copy_from_slice(chunk);
            first_block = block;
        }
        let length = payload.len() as u16;
        self.held[index(number)] =
            Some(Held { number, timestamp, arrival, samples, payload_type, length, first_block });
        true
    }

    /// Removes the packet with this number and copies its payload; returns the payload's length in bytes.
    pub fn take(&mut self, number: i64, payload: &mut [u8]) -> usize {
        let length = self.copy(number, payload);
        self.remove(number);
        length
    }

    /// Copies the payload of the packet with this number; returns its length in bytes, 0 if it has no room.
    pub fn copy(&self, number: i64, payload: &mut [u8]) -> usize {
        let Some(held) = self.at(number) else {
            return 0;
        };
        let length = usize::from(held.length);
        let Some(payload) = payload.get_mut(..length) else {
            return 0;
        };
        let mut block = held.first_block;
        // Chunks were cut from the end, so only the first of a chain can be short.
        let mut filled = 0;
        while block != END && filled < length {
            let part = match (length - filled) % BLOCK {
                0 => BLOCK,
                short => short,
            };
            payload[filled..filled + part].copy_from_slice(&self.blocks[usize::from(block)][..part]);
            filled += part;
            block = self.next[usize::from(block)];
        }
        length
    }

    /// Removes the packet with this number, if there is one.
    pub fn remove(&mut self, number: i64) -> bool {
        let Some(held) = self.at(number) else {
            return false;
        };
        let mut block = held.first_block;
        while block != END {
            let following = self.next[usize::from(block)];
            self.next[usize::from(block)] = self.free;
            self.free = block;
            self.free_count += 1;
            block = following;
        }
        self.held[index(number)] = None;
        true
    }

    /// Removes the packets before `number` and returns how many they were.
    pub fn remove_below(&mut self, number: i64) -> u64 {
        let mut removed = 0;
        for slot in 0..self.held.len() {
            if let Some(held) = self.held[slot].filter(|held| held.number < number) {
                self.remove(held.number);
                removed += 1;
            }
        }
        removed
    }

    /// Removes every packet and returns how many they were.
    pub fn clear(&mut self) -> u64 {
        self.remove_below(i64::MAX)
    }

    /// How many packets wait.
    pub(super) fn len(&self) -> usize {
        self.held.iter().flatten().count()
    }
}

fn index(number: i64) -> usize {
    number.rem_euclid(SLOTS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gives_back_what_it_was_given_and_all_its_room() {
        let mut slots = Slots::new(BLOCKS);
        let mut out = [0; MAX_PAYLOAD];
        for length in 0..=MAX_PAYLOAD {
            let payload: Vec<u8> = (0..length).map(|n| (n * 7 + length) as u8).collect();
            slots.put(length as i64, 0, 0, 1, 8, &payload);
            assert_eq!(slots.len(), 1);
            assert_eq!(slots.take(length as i64, &mut out), length);
            assert_eq!(out[..length], payload[..]);
            assert_eq!(slots.free_count, BLOCKS as u8);
        }
        assert_eq!(slots.len(), 0);
    }

    proptest! {
        #[test]
        fn never_loses_a_block(steps in proptest::collection::vec((0i64..64, 0usize..1_400, any::<bool>()), 1..300)) {
            let mut slots = Slots::new(BLOCKS);
            for (number, length, put) in steps {
                if put { slots.put(number, 0, 0, 1, 0, &vec![1; length]); } else { slots.remove(number); }
                let used: usize = slots.held.iter().flatten().map(|held| usize::from(held.length).div_ceil(BLOCK)).sum();
                prop_assert_eq!(used + usize::from(slots.free_count), BLOCKS);
            }
            slots.clear();
            prop_assert_eq!(slots.free_count, BLOCKS as u8);
        }
    }
}
