//! Nothing is sent to the caller, as by the mute button of a phone: what is said runs on, and he does not hear it.

use super::told::add_stretch;
use super::*;

impl Conversation {
    /// Asks for it; what is so already is not asked for again.
    pub(super) fn mute(&mut self, on: bool) {
        if std::mem::replace(&mut self.mute_asked, on) != on {
            self.out.push_back(Output::Leg(leg::Command::Mute(on)));
        }
    }

    /// The leg has done it.
    pub(super) fn muted(&mut self, now: Instant, on: bool, from: Ms) {
        self.event(now, What::Muted { on, from });
        self.tell(now, Line::Muted { on, from });
        match on {
            true => self.muted = Some(from),
            false => {
                self.mute_over(from);
                // Until now the line was silent because that was asked for.
                self.waiting.last_speech = self.waiting.last_speech.max(from);
            }
        }
    }

    /// A mute, if there is one, ends.
    pub(super) fn mute_over(&mut self, stop: Ms) {
        let Some(start) = self.muted.take().filter(|start| *start < stop) else { return };
        if !add_stretch(&mut self.told.mutes, Pause { start, stop }) {
            self.told.fault("mute: more stretches than the record tells".to_owned());
        }
    }
}
