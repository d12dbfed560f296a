//! The far end is on hold, by us: nothing is said and nobody owes anything until the resume.

use super::*;

impl Conversation {
    /// On hold, or no longer. What is being said stops as by [`Action::Stop`]; what is asked for meanwhile is said after the resume, and
    /// a dialogue that owes an answer has its whole time for it from then on. A hang-up and a transfer wait for nothing that is to be said.
    pub fn hold(&mut self, now: Instant, on: bool) {
        if self.ended || std::mem::replace(&mut self.held, on) == on {
            return;
        }
        if on {
            self.stop(now);
            self.speaker.pause();
            self.owed = self.timers[Timer::Dialogue as usize].take().is_some();
        } else {
            self.speaker.resume(&mut self.out);
            if std::mem::take(&mut self.owed) {
                self.owe(now, self.rules.dialogue_timeout);
            }
        }
        self.rest(now);
    }

    /// The dialogue owes an answer within a time; while on hold, only that it does is noted.
    pub(super) fn owe(&mut self, now: Instant, time: Duration) {
        match self.held {
            true => self.owed = true,
            false => self.timers[Timer::Dialogue as usize] = Some(now + time),
        }
    }

    pub(super) fn owes_nothing(&mut self) {
        self.owed = false;
        self.timers[Timer::Dialogue as usize] = None;
    }
}
