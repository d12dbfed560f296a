//! The recording is paused and goes on, as for a card number.

use super::*;

/// Paused stretches that a record tells one by one.
const MOST_PAUSES: usize = 1_000;

/// How the recording stands.
#[derive(Debug, Default)]
pub(super) struct Pausing {
    /// It was asked to be paused.
    asked: bool,
    /// It is, as the leg told.
    since: Option<Ms>,
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
    pub(super) fn pause_recording(&mut self, on: bool) {
        if self.rules.recorded && std::mem::replace(&mut self.recording.asked, on) != on {
            self.out.push_back(Output::Leg(leg::Command::PauseRecording(on)));
        }
    }

    /// The leg has done it.
    pub(super) fn recording_paused(&mut self, now: Instant, on: bool, from: Ms) {
        self.event(now, What::RecordPaused { on, from });
        match on {
            true => self.recording.since = Some(from),
            false => self.recording_over(from),
        }
    }

    /// A pause, if there is one, ends.
    pub(super) fn recording_over(&mut self, stop: Ms) {
        let Some(start) = self.recording.since.take().filter(|start| *start < stop) else { return };
        match self.told.pauses.len() {
            MOST_PAUSES => self.told.fault("recording: more paused stretches than the record tells".to_owned()),
            more if more > MOST_PAUSES => {}
            _ => self.told.pauses.push(Pause { start, stop }),
        }
    }
}
