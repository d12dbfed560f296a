//! Keys that we send: one after the other, with a pause between them, in place of audio. As RFC 4733 events, or as the tones of ITU-T Q.23.

use std::collections::VecDeque;

use super::FRAME;
use crate::dsp::tone::keypad;
use crate::dsp::tone::pair::Pair;
use crate::ms::Ms;
use crate::rtp::telephone_event::{EventPacket, Key, Sender};

/// Length of a key, and of the pause after it: what ITU-T Q.24 receivers take for sure, and what a hand would do.
const LENGTH: Ms = Ms(100);
const PAUSE_FRAMES: u32 = 4;
/// dBm0 of the two frequencies: loud enough for any receiver, below what a trunk would clip (ETSI ES 201 235-2), and the high one 2 dB
/// above, since lines take more of it.
const LOW: f32 = -10.0;
const HIGH: f32 = -8.0;

/// The keys that wait.
#[derive(Debug, Default)]
pub(super) struct KeyQueue {
    waiting: VecDeque<Key>,
    sending: Option<Sender>,
    tone: Option<Pair>,
    pause: u32,
}

impl KeyQueue {
    /// Adds keys to send; other characters are left out.
    pub(super) fn press(&mut self, keys: &str) {
        self.waiting.extend(keys.chars().filter_map(Key::from_char));
    }

    /// Nothing is sent, and nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sending.is_none() && self.tone.is_none() && self.pause == 0
    }

    /// The packet that takes the place of this frame's audio; a key begins at `timestamp`, and its length is told by `clock_rate`.
    pub(super) fn next_packet(&mut self, timestamp: u32, clock_rate: u32) -> Option<EventPacket> {
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
        self.sending = Some(Sender::new(key, timestamp, LENGTH, clock_rate));
        self.sending.as_mut()?.next_packet()
    }

    /// The tone that takes the place of this frame's audio, into a frame of silence; false when there is none.
    pub(super) fn next_tone(&mut self, frame: &mut [i16; FRAME]) -> bool {
        if let Some(tone) = &mut self.tone {
            if !tone.add_to(frame) {
                (self.tone, self.pause) = (None, PAUSE_FRAMES);
            }
            return true;
        }
        if self.pause > 0 {
            self.pause -= 1;
            // What is said between two keys would be taken for a part of them.
            return !self.waiting.is_empty();
        }
        let Some((low, high)) = self.waiting.pop_front().and_then(|key| keypad::frequencies(key.as_char())) else {
            return false;
        };
        self.tone.insert(Pair::new([(low, LOW), (high, HIGH)], LENGTH.samples(8_000))).add_to(frame);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::tone::keys::Keys;

    #[test]
    fn keys_that_are_sent_as_tones_are_heard_as_such() {
        let (mut queue, mut heard, mut frames) = (KeyQueue::default(), String::new(), 0);
        let mut ears = Keys::default();
        queue.press("0123456789*#ABCD0011");
        for _ in 0..300 {
            let mut frame = [0; FRAME];
            frames += u32::from(queue.next_tone(&mut frame));
            heard.extend(ears.push(&frame));
        }
        assert_eq!(heard, "0123456789*#ABCD0011");
        assert_eq!(frames, 20 * 9 - 4, "100 ms each, and 80 ms between them");
    }
}
