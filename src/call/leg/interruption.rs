//! Who may stop what is said, or make it pause: a voice, a word, a key, whoever asks.
//!
//! A voice is heard before its turn. Its packets wait in the jitter buffer, for 20 ms on a good line and for 60 and more on a bad one, and by waiting they do
//! not become anything else. Recognition and recording get them in their turn; a prompt is stopped as soon as enough of it is here.

use super::{FRAME, Leg, SLOT, Stopped};
use crate::call::knobs::{BargeIn, OnBargeIn};
use crate::call::prompt::PromptNo;
use crate::codec::coding::Coding;
use crate::ms::Ms;

/// Words that interrupt have at least this much voice under the prompt.
const LEAST_WORD: Ms = Ms(60);
/// Frames that are heard before their turn, at most: 100 ms.
const EARLY: u32 = 5;
const FRAME_MS: u32 = 20;

impl Leg {
    /// Who stops what is said, and up to which prompt.
    pub(super) fn who_stops(&mut self) -> Option<(Stopped, PromptNo)> {
        const ALL: PromptNo = PromptNo(u32::MAX);
        if let Some(last) = self.stop.take() {
            return Some((Stopped::Asked, last));
        }
        let (by @ (BargeIn::Speech | BargeIn::Words), true) = self.mouth.policy()? else { return None };
        if self.knobs.key_barge_in && self.pressed[0].is_some() {
            return Some((Stopped::Key, ALL));
        }
        // The words of an echo are our own.
        let spoken = self.voiced_under.max(self.voiced_before) >= LEAST_WORD;
        if let Some(onset) = self.words.filter(|_| spoken) {
            return Some((Stopped::Speech { onset }, ALL));
        }
        if (by, self.knobs.on_barge_in) != (BargeIn::Speech, OnBargeIn::Stop) {
            return None;
        }
        self.speaks_into_it().map(|onset| (Stopped::Speech { onset }, ALL))
    }

    /// Who pauses what is said: the caller, once in an utterance.
    pub(super) fn pauses(&mut self) -> Option<Ms> {
        let (BargeIn::Speech | BargeIn::Words, true) = self.mouth.policy()? else { return None };
        let again = self.paused_for == self.utterance || self.mouth.paused();
        if again || self.knobs.on_barge_in != OnBargeIn::Pause {
            return None;
        }
        let onset = self.speaks_into_it()?;
        self.paused_for = self.utterance;
        Some(onset)
    }

    /// The caller has spoken under the prompt for long enough; since when.
    fn speaks_into_it(&mut self) -> Option<Ms> {
        let onset = self.onset?;
        let enough = self.spoken_under() >= self.knobs.min_speech;
        (enough && self.doubt.allows(self.knobs.min_speech)).then_some(onset)
    }

    /// For how long the caller has spoken under the prompt: with what of it is here and waits for its turn in the jitter buffer, where that makes it
    /// long enough. A voice need not wait to be one. Whoever has a second opinion hears it early, too.
    fn spoken_under(&mut self) -> Ms {
        let (mut under, mut voiced) = (self.voiced_under, self.endpointer.voiced_ms());
        let spoken = under.min(voiced);
        let enough = self.knobs.min_speech;
        let lacks = enough.saturating_sub(spoken).0.div_ceil(FRAME_MS);
        // What is not G.711 needs its decoder, which goes on from frame to frame.
        let (Coding::G711(law), None, true) = (self.media.coding, &self.gear, self.media.receives) else {
            return spoken;
        };
        if under == Ms(0) || lacks > EARLY || !self.jitter.holds(SLOT * lacks) {
            return spoken;
        }
        let Some(mut vad) = self.vad.ahead() else { return spoken };
        let mut echo = self.echo.clone();
        let mut frame = [0; FRAME];
        for later in 0..EARLY as usize {
            if !self.frames.ahead(&self.jitter, later, law, &mut frame) {
                break;
            }
            if under.min(voiced) < enough && vad.voiced(&frame) {
                voiced += Ms(FRAME_MS);
                under += echo.counts(true, &frame, self.knobs.echo_guard_db);
            }
            self.doubt.hear_early(later, &frame);
        }
        under.min(voiced)
    }
}
