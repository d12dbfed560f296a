//! What an exchange says in tones, before the answer and after it.

use super::*;
use crate::call::line::Line;
use crate::call::record::{AnsweredBy, HeardTone};
use crate::dsp::answerer::Verdict;
use crate::dsp::tone::progress::Heard;

/// A tone that says that there is nobody, and comes this soon after the answer, says that nobody has answered: gateways to analogue lines
/// answer by themselves.
const FIRST_SECONDS: Ms = Ms(10_000);
/// The most tones of one call that are kept.
const MOST_TONES: usize = 32;

/// What has been heard.
#[derive(Debug, Default)]
pub(super) struct Listening {
    /// Since when it is listened to what comes before the answer.
    early: Option<Instant>,
    /// What says most of why there is no answer.
    tone: Option<Heard>,
    pub(super) announced: announced::Announced,
    told: Vec<HeardTone>,
    answered_by: Vec<AnsweredBy>,
}

impl Listening {
    /// There is early media.
    pub(super) fn begins(&mut self, now: Instant) {
        self.early.get_or_insert(now);
    }

    pub(super) fn tone(&self) -> Option<Heard> {
        self.tone
    }

    pub(super) fn told(&self) -> Vec<HeardTone> {
        self.told.clone()
    }

    pub(super) fn answered_by(&self) -> Vec<AnsweredBy> {
        self.answered_by.clone()
    }
}

impl Call {
    /// Who has answered: told twice at most, since a machine may beep; and as often before the answer.
    pub(super) fn answered_by(&mut self, now: Instant, verdict: Verdict, at: Ms) {
        let before_answer = self.answered.is_none();
        let at = self.when(at);
        let by = AnsweredBy { who: verdict.who.as_str(), reason: verdict.reason, at, before_answer };
        self.tell(now, What::AnsweredBy(by));
        self.listening.answered_by.push(by);
        if before_answer {
            return self.early_tell(now, Line::AnsweredBy(by));
        }
        self.converse(|c| c.inform(now, Line::AnsweredBy(by)));
    }

    /// Media time; before the answer since the call began.
    fn when(&self, at: Ms) -> Ms {
        match self.listening.early.filter(|_| self.answered.is_none()) {
            Some(early) => Ms::from(early.saturating_duration_since(self.started)) + at,
            None => at,
        }
    }

    pub(super) fn heard_tone(&mut self, now: Instant, heard: Heard, at: Ms) {
        let before_answer = self.answered.is_none();
        let start = self.when(at);
        self.tell(now, What::Tone { heard, start, before_answer });
        if self.listening.told.len() < MOST_TONES {
            self.listening.told.push(HeardTone { what: heard.as_str(), start, before_answer });
        }
        if before_answer {
            self.listening.tone = outcome::weightier(self.listening.tone, heard);
        }
        let Some(nobody) = outcome::of_tone(heard).filter(|_| outcome::ends_the_call(heard)) else { return };
        if !self.plan.hang_up_on_tone || self.ending.is_some() {
            return;
        }
        if before_answer {
            self.outcome = nobody;
            return self.hang_up(now, HungUpBy::Network, &format!("{} tone before the answer", heard.as_str()));
        }
        if at < FIRST_SECONDS {
            self.outcome = nobody;
        }
        self.hang_up(now, HungUpBy::Caller, &format!("{} tone: the far end has gone without a BYE", heard.as_str()));
    }
}
