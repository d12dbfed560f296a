//! No dead air: while somebody of ours is waited for (a final text, the dialogue's answer, the first sound of a segment, or more of it) and
//! nothing has been heard on the line for [`Rules::dead_air`], a waiting sound is looped in the place of the background, until the answer begins, the
//! caller speaks, or nothing is waited for any more. It is no prompt: it interrupts nothing, is not interrupted, and no turn of the record.

use std::sync::{Arc, LazyLock};

use super::*;
use crate::call::prompt::NO_PROMPT;
use crate::dsp::level::Gain;
use crate::dsp::tone::pair::Pair;

/// The number of its file among recordings of no prompt.
const WAITING: u32 = u32::MAX;

/// Without a file: two soft notes, and what is left of two seconds silence.
static NOTES: LazyLock<Arc<[i16]>> = LazyLock::new(|| {
    let mut samples = vec![0; 16_000];
    for (at, hz) in [(0, 523.3), (1_600, 659.3)] {
        Pair::new([(hz, -27.0), (hz * 2.0, -39.0)], 1_600).add_to(&mut samples[at..at + 1_600]);
    }
    samples.into()
});

/// The waiting sound.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Since when the line was silent for which it began.
    on: Option<Ms>,
    /// A background was asked for: that is no dead air.
    background: bool,
    /// End of the last utterance; or when something was asked for since then.
    pub(super) last_speech: Ms,
}

impl Conversation {
    /// A background was asked for, or none any more: it takes the place of what is looped.
    pub(super) fn waiting_and_background(&mut self, background: bool) {
        self.waiting = Waiting { on: None, background, ..self.waiting };
    }

    /// Since when the line has been silent while we are waited for.
    fn silent_since(&self) -> Option<Ms> {
        let on_purpose = self.held || self.muted.is_some() || self.referring;
        if self.ended || on_purpose || self.speaking.is_some() {
            return None;
        }
        let last = self.last_word.max(self.waiting.last_speech);
        match self.speaker.playing() {
            // A prompt that has paused is silent on purpose.
            Some(_) if self.verdict.is_some() => None,
            Some(_) => self.speaker.starved_since(),
            None => {
                let owed = !self.pending.is_empty() || self.timers[Timer::Dialogue as usize].is_some();
                (owed || self.speaker.is_making()).then_some(last)
            }
        }
    }

    /// Something is asked for now: if nothing was waited for until now, the silence before it was nobody's fault.
    pub(super) fn waits_from(&mut self, now: Instant) {
        if self.silent_since().is_none() {
            self.waiting.last_speech = self.at(now);
        }
    }

    /// When the waiting sound is due.
    pub(super) fn waiting_deadline(&self) -> Option<Instant> {
        if self.waiting.on.is_some() || self.waiting.background || self.rules.dead_air == Duration::ZERO {
            return None;
        }
        self.silent_since().map(|since| self.answered + since.as_duration() + self.rules.dead_air)
    }

    pub(super) fn waiting_due(&mut self, now: Instant) {
        if self.waiting_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        self.waiting.on = self.silent_since();
        self.told.fault(format!("nothing to be heard for {} ms: the waiting sound", self.rules.dead_air.as_millis()));
        match self.rules.waiting_sound.clone() {
            Some(path) => {
                self.out.push_back(Output::Want { prompt: NO_PROMPT, segment: WAITING, wanted: Wanted::File(path) });
            }
            None => self.loop_waiting(NOTES.clone()),
        }
    }

    fn loop_waiting(&mut self, sound: Arc<[i16]>) {
        self.out.push_back(Output::Leg(leg::Command::Background(Some((sound, Gain::from_db(0.0))))));
    }

    /// Its file was read, or cannot be: then it is the notes.
    pub(super) fn waiting_file(&mut self, from: &FromSpeech) -> bool {
        match from {
            FromSpeech::Recording { prompt: NO_PROMPT, segment: WAITING, samples, .. } => {
                if self.waiting.on.is_some() {
                    self.loop_waiting(samples.clone());
                }
            }
            FromSpeech::SoundFailed { prompt: NO_PROMPT, segment: WAITING, reason } => {
                self.told.fault(format!("waiting sound: {reason}"));
                if self.waiting.on.is_some() {
                    self.loop_waiting(NOTES.clone());
                }
            }
            _ => return false,
        }
        true
    }

    /// Something has been heard since, or nothing is waited for any more.
    pub(super) fn waited(&mut self) {
        if self.waiting.on.is_some() && self.silent_since() != self.waiting.on {
            self.waiting.on = None;
            self.out.push_back(Output::Leg(leg::Command::Background(None)));
        }
    }
}
