//! Prompts that go on in later messages (`Say.more`): the text of a language model, spoken while it is being written.

use super::*;

/// Ids of prompts that were cut off while more was to come: what still comes for them is told as stale.
const CUT_OFF: usize = 4;

impl Conversation {
    /// Says a prompt, or more of one that is open.
    pub(super) fn say(&mut self, now: Instant, prompt: Prompt) {
        self.timers[Timer::NoInput as usize] = None;
        let more = prompt.more;
        if let Some(prompt) = self.speaker.go_on(prompt, &mut self.out) {
            let answers = self.unanswered.take();
            let prompt = self.with_policy(prompt);
            self.speaker.say(prompt, answers, &self.knobs, &mut self.out);
        }
        let patience = now + self.rules.dialogue_timeout;
        self.timers[Timer::More as usize] = (more || self.speaker.is_open()).then_some(patience);
    }

    /// Nothing followed in time: what is there of it is all.
    pub(super) fn more_due(&mut self, now: Instant) {
        for id in self.speaker.close_open(&mut self.out) {
            let waited = self.rules.dialogue_timeout.as_millis();
            let reason = format!("say.more: nothing followed for prompt {id:?} in {waited} ms, it ends here");
            self.told.fault(format!("dialogue: {reason}"));
            self.tell(now, Line::Fault(Fault::Action { action_id: String::new(), reason }));
        }
    }

    /// Variables that the call does not have, each once: what is said again and again is not complained of as often.
    pub(super) fn tell_unfilled(&mut self, now: Instant) {
        for reason in self.speaker.take_unfilled() {
            let fault = format!("say: {reason}");
            if !self.told.faults.contains(&fault) {
                self.told.fault(fault.clone());
                self.tell(now, Line::Fault(Fault::Action { action_id: String::new(), reason: fault }));
            }
        }
    }

    pub(super) fn cut_off(&mut self, id: &str) {
        self.cut_off.push_back(id.to_owned());
        if self.cut_off.len() > CUT_OFF {
            self.cut_off.pop_front();
        }
    }

    /// Whether a prompt is the rest of one that was cut off.
    pub(super) fn is_cut_off(&self, prompt: &Prompt) -> bool {
        !prompt.id.is_empty() && self.cut_off.contains(&prompt.id)
    }
}
