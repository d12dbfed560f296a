//! Nothing is sent to the caller, as by the mute button of a phone: what is said runs on, and he does not hear it.

use super::*;

/// Stretches that a record tells one by one.
const MOST_MUTES: usize = 1_000;

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
        match self.told.mutes.len() {
            MOST_MUTES => self.told.fault("mute: more stretches than the record tells".to_owned()),
            more if more > MOST_MUTES => {}
            _ => self.told.mutes.push(Pause { start, stop }),
        }
    }
}
