//! The call is on hold. By the far end: the dialogue is told, and nothing else changes. By us: nothing is said and nobody owes anything until the resume.

use super::*;

impl Conversation {
    /// Somebody holds the other side, or no longer.
    pub fn hold(&mut self, now: Instant, by_us: bool, by_far_end: bool) {
        if std::mem::replace(&mut self.told_hold, (by_us, by_far_end)) != (by_us, by_far_end) {
            self.tell(now, Line::Hold { by_us, by_far_end });
        }
        self.hold_far_end(now, by_us);
    }

    /// On hold by us, or no longer. What is being said stops as by [`Action::Stop`]; what is asked for meanwhile is said after the resume, and
    /// a dialogue that owes an answer has its whole time for it from then on. A hang-up and a transfer wait for nothing that is to be said.
    fn hold_far_end(&mut self, now: Instant, on: bool) {
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
        self.timers[Timer::Bridge as usize] = None;
    }
}
