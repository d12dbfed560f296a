//! What is looped under everything that is sent: its file is asked for as a recording of no prompt.

use super::*;
use crate::call::prompt::NO_PROMPT;
use crate::dsp::level::Gain;

/// What was asked for last.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Files are read elsewhere: one that comes when another has been asked for since is not played.
    number: u32,
    level_db: f32,
}

impl Conversation {
    pub(super) fn set_background(&mut self, wanted: Background) {
        let Background { path, level_db } = wanted;
        self.background.number += 1;
        self.background.level_db = level_db;
        self.waiting_and_background(!path.is_empty());
        if path.is_empty() {
            return self.out.push_back(Output::Leg(leg::Command::Background(None)));
        }
        let wanted = Wanted::File(path.to_string());
        self.out.push_back(Output::Want { prompt: NO_PROMPT, segment: self.background.number, wanted });
    }

    /// Whether what came was the background.
    pub(super) fn background(&mut self, now: Instant, from: &FromSpeech) -> bool {
        if self.waiting_file(from) {
            return true;
        }
        let (number, read) = match from {
            FromSpeech::Recording { prompt: NO_PROMPT, segment, samples, .. } => (*segment, Ok(samples.clone())),
            FromSpeech::SoundFailed { prompt: NO_PROMPT, segment, reason } => (*segment, Err(reason)),
            _ => return false,
        };
        if number != self.background.number || self.ended {
            return true;
        }
        match read {
            Ok(samples) => {
                let gain = Gain::from_db(self.background.level_db);
                self.out.push_back(Output::Leg(leg::Command::Background(Some((samples, gain)))));
            }
            Err(reason) => {
                let reason = format!("background: {reason}");
                self.tell(now, Line::Fault(Fault::Synthesis(reason.clone())));
                self.trouble(now, Service::Synthesis, reason);
            }
        }
        true
    }
}
