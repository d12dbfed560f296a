//! The recording is paused and goes on, as for a card number.
//!
//! What must not be heard afterwards must not be read either (PCI DSS 3.3: no sensitive data after authorisation, in whatever form): unless
//! it was asked to be kept, what is said and pressed meanwhile goes to the dialogue, which has asked for it, and to nobody else. The record
//! and the world are told that there was something: an `x` for each key, [`HIDDEN`] for each text.

use super::told::add_stretch;
use super::*;

/// Hidden stretches that are known one by one; more are made one with what is between them.
const MOST_HIDDEN: usize = 64;

/// What a text is shown as where it is not to be seen.
pub(super) const HIDDEN: &str = "[masked]";

/// How the recording stands.
#[derive(Debug, Default)]
pub(super) struct Pausing {
    /// It was asked to be paused.
    asked: bool,
    /// For each pause that the leg has not told yet: texts are kept.
    coming: VecDeque<bool>,
    /// It is, as the leg told.
    since: Option<Ms>,
    /// And what is said meanwhile is hidden.
    hiding: bool,
    /// The stretches that were hidden.
    hidden: Vec<Pause>,
    /// A key of the collection that is under way was.
    pub(super) key: bool,
}

impl Pausing {
    /// What comes now is hidden.
    pub(super) fn hides_now(&self) -> bool {
        self.hiding || self.coming.iter().any(|keep_text| !keep_text)
    }

    /// Something of that stretch is hidden.
    fn hides(&self, start: Ms, stop: Ms) -> bool {
        let now = self.since.filter(|_| self.hiding).is_some_and(|since| since < stop);
        now || self.hidden.iter().any(|pause| pause.start < stop && start < pause.stop)
    }

    fn hide(&mut self, start: Ms, stop: Ms) {
        let full = self.hidden.len() >= MOST_HIDDEN;
        match self.hidden.last_mut().filter(|_| full) {
            Some(last) => last.stop = stop,
            None => self.hidden.push(Pause { start, stop }),
        }
    }
}

impl Conversation {
    /// Only what is recorded can be paused.
    pub(super) fn may_pause(&self) -> Result<(), String> {
        match self.rules.recorded {
            true => Ok(()),
            false => Err("record_pause: the call is not recorded".to_owned()),
        }
    }

    /// Asks for it; what is so already is not asked for again.
    pub(super) fn pause_recording(&mut self, on: bool, keep_text: bool) {
        if self.rules.recorded && std::mem::replace(&mut self.recording.asked, on) != on {
            if on {
                self.recording.coming.push_back(keep_text);
            }
            // What is hidden is not kept among the phrases on the disk either.
            self.speaker.keep_private(on && !keep_text);
            self.out.push_back(Output::Leg(leg::Command::PauseRecording(on)));
        }
    }

    /// The leg has done it.
    pub(super) fn recording_paused(&mut self, now: Instant, on: bool, from: Ms) {
        self.event(now, What::RecordPaused { on, from });
        match on {
            true => {
                self.recording.since = Some(from);
                self.recording.hiding = self.recording.coming.pop_front() == Some(false);
            }
            false => self.recording_over(from),
        }
    }

    /// A pause, if there is one, ends.
    pub(super) fn recording_over(&mut self, stop: Ms) {
        let hidden = std::mem::take(&mut self.recording.hiding);
        let Some(start) = self.recording.since.take().filter(|start| *start < stop) else { return };
        if hidden {
            self.recording.hide(start, stop);
        }
        if !add_stretch(&mut self.told.pauses, Pause { start, stop }) {
            self.told.fault("recording: more paused stretches than the record tells".to_owned());
        }
    }

    /// Something of an utterance is not to be seen. The recogniser also got what was said just before it.
    pub(super) fn hides(&self, start: Ms, stop: Ms) -> bool {
        self.recording.hides(start.saturating_sub(self.knobs.pre_roll), stop)
    }

    /// The same of one that has not been told yet.
    pub(super) fn hides_utterance(&self, utterance: u32) -> bool {
        let speaking = self.speaking.filter(|(no, _)| *no == utterance).map(|(_, onset)| (onset, Ms::MAX));
        let pending = self.pending.iter().map(|p| &p.utterance).find(|u| u.utterance == utterance);
        let stretch = speaking.or_else(|| pending.map(|u| (u.start, u.stop)));
        self.recording.hides_now() || stretch.is_some_and(|(start, stop)| self.hides(start, stop))
    }

    /// An utterance as everybody but the dialogue sees it.
    pub(super) fn shown_utterance(&self, utterance: &Utterance) -> Utterance {
        let mut shown = utterance.clone();
        if self.hides(utterance.start, utterance.stop) && !utterance.text.is_empty() {
            shown.text = HIDDEN.to_owned();
            shown.alternatives.clear();
        }
        shown
    }

    /// What the robot says, from a moment on, as everybody sees it: it may say again what it has heard.
    pub(super) fn shown_text(&self, at: Ms, text: String) -> String {
        if self.recording.hides(at, Ms(at.0.saturating_add(1))) { HIDDEN.to_owned() } else { text }
    }
}
