//! What operators announce before the answer, and what it makes of the outcome.
//!
//! A text counts when it is final, or when two partial ones of an utterance in a row say the same, and nothing that may follow could change their
//! meaning. A final text takes back what partial ones have said. The outcome is made anew with every text, also after the end of the call: the last one may
//! come after the refusal.

use super::*;
use crate::call::record::Announcement;
use crate::sip::message::Reason;

/// The most announcements that are told of one call.
const MOST: usize = 32;
/// And the longest text of one, in bytes.
const LONGEST_TEXT: usize = 1_024;

/// Why nobody has answered, as far as it is not said by what was heard.
#[derive(Debug)]
pub(super) enum Why {
    /// A final answer: status, and Reason headers.
    Refused(u16, Vec<Reason>),
    /// Nobody answered in time.
    Silence,
    /// An announcement said so, and we hung up.
    Announced,
}

/// What has been announced.
#[derive(Debug, Default)]
pub(super) struct Announced {
    /// What the last partial text said, and of which utterance it was.
    partial: Option<(u32, Arc<str>)>,
    /// By utterance.
    heard: Vec<(u32, Announcement)>,
    why: Option<Why>,
}

impl Announced {
    /// The announcement that says most; of those that say as much, the first.
    pub(super) fn said_most(&self) -> Option<Announcement> {
        let more = |best: Option<&'_ (u32, Announcement)>, next| match best {
            Some((_, best)) => outcome::weight(best.outcome) < outcome::weight(next),
            None => true,
        };
        let mut best = None;
        for heard in &self.heard {
            if more(best, heard.1.outcome) {
                best = Some(heard);
            }
        }
        best.map(|(_, announcement)| announcement.clone())
    }

    fn place(&self, utterance: u32) -> Option<usize> {
        self.heard.iter().position(|(no, _)| *no == utterance)
    }
}

impl Call {
    /// What was understood of early media, as far as it has come, or to its end.
    pub(super) fn announced(&mut self, now: Instant, utterance: u32, text: &str, (start, stop): (Ms, Ms), last: bool) {
        let Some(rules) = self.plan.announcements.clone() else { return };
        let announced = &mut self.listening.announced;
        let found = rules.hear(text);
        if !last {
            let said = found.as_ref().map(|found| (utterance, found.rule.clone()));
            let before = std::mem::replace(&mut announced.partial, said);
            if before != announced.partial || found.as_ref().is_none_or(|found| found.open) {
                return;
            }
        }
        let place = announced.place(utterance);
        let Some((rule, outcome)) = found.and_then(|found| Some((found.rule, found.outcome?))) else {
            // What the call was ended for stays its reason.
            if let Some(place) = place.filter(|_| last && !matches!(announced.why, Some(Why::Announced))) {
                announced.heard.remove(place);
                self.make_outcome();
            }
            return;
        };
        let known = announced.heard.iter().any(|(_, heard)| heard.rule == **rule);
        let mut text = text.to_owned();
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        let said = Announcement { text, rule: rule.to_string(), outcome, start, stop };
        match place {
            Some(place) => announced.heard[place].1 = said.clone(),
            None if announced.heard.len() < MOST => announced.heard.push((utterance, said.clone())),
            None => return,
        }
        // It is said again and again until somebody hangs up.
        if !known {
            self.tell(now, What::Announcement(said));
        }
        self.make_outcome();
        if self.plan.hang_up_on_announcement && self.answered.is_none() && self.ending.is_none() && self.ended.is_none()
        {
            self.unanswered(Why::Announced);
            self.hang_up(now, HungUpBy::Network, &format!("announcement before the answer: {rule}"));
        }
    }

    /// There will be no answer.
    pub(super) fn unanswered(&mut self, why: Why) {
        self.listening.announced.why = Some(why);
        self.make_outcome();
    }

    fn make_outcome(&mut self) {
        let announcement = self.listening.announced.said_most().map(|said| said.outcome);
        let heard = outcome::Hints { tone: self.listening.tone(), announcement };
        let rang = self.rang.is_some();
        self.outcome = match &self.listening.announced.why {
            None => return,
            Some(Why::Refused(code, reasons)) => outcome::of_refusal(*code, reasons, rang, heard),
            Some(Why::Silence) => outcome::of_silence(rang, heard),
            Some(Why::Announced) => announcement.unwrap_or(Outcome::Cantbeconnected),
        };
    }
}
