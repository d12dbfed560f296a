//! The bridging phrase: said when an utterance has been told and no answer has come after `filler_after`; what is asked for next takes its
//! place as soon as enough of it is there ([`super::Speaker::bridge`]). Once for each answer that is owed, and once more after a `wait`.

use super::*;

impl Conversation {
    /// An answer is owed: from now on the phrase is due.
    pub(super) fn bridge_later(&mut self, now: Instant) {
        let after = self.knobs.filler_after;
        if after > Ms(0) && !self.knobs.bridging.is_empty() && self.timers[Timer::Dialogue as usize].is_some() {
            self.timers[Timer::Bridge as usize] = Some(now + after.as_duration());
        }
    }

    pub(super) fn bridge_due(&mut self) {
        let owed = self.timers[Timer::Dialogue as usize].is_some();
        if !owed || !self.speaker.idle() || self.speaking.is_some() {
            return;
        }
        let phrases = &self.knobs.bridging;
        let phrase = phrases[self.bridged % phrases.len()].clone();
        self.bridged += 1;
        self.speaker.bridge(Prompt::of(phrase), &self.knobs, &mut self.out);
    }

    /// A knob that does nothing is told, not kept.
    pub(super) fn tell_of_bridging(&mut self, now: Instant) {
        if self.knobs.lacks_bridging() {
            let reason = "filler_after_ms: there is no bridging phrase; name some in `bridging`, or in [knobs] of trunkline.toml";
            self.told.fault(format!("knobs: {reason}"));
            self.tell(now, Line::Fault(Fault::Action { action_id: String::new(), reason: reason.to_owned() }));
        }
    }
}
