//! Keys that we send: one after the other, with a pause between them, in place of audio.

use std::collections::VecDeque;

use crate::ms::Ms;
use crate::rtp::telephone_event::{EventPacket, Key, Sender};

/// Length of a key, and of the pause after it: what ITU-T Q.24 receivers take for sure, and what a hand would do.
const LENGTH: Ms = Ms(100);
const PAUSE_FRAMES: u32 = 4;

/// The keys that wait.
#[derive(Debug, Default)]
pub(super) struct KeyQueue {
    waiting: VecDeque<Key>,
    sending: Option<Sender>,
    pause: u32,
}

impl KeyQueue {
    /// Adds keys to send; other characters are left out.
    pub(super) fn press(&mut self, keys: &str) {
        self.waiting.extend(keys.chars().filter_map(Key::from_char));
    }

    /// The packet that takes the place of this frame's audio; a key begins at `timestamp`.
    pub(super) fn next_packet(&mut self, timestamp: u32) -> Option<EventPacket> {
        if let Some(packet) = self.sending.as_mut().and_then(Sender::next_packet) {
            return Some(packet);
        }
        if self.sending.take().is_some() {
            self.pause = PAUSE_FRAMES;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        let key = self.waiting.pop_front()?;
        self.sending = Some(Sender::new(key, timestamp, LENGTH));
        self.sending.as_mut()?.next_packet()
    }
}
