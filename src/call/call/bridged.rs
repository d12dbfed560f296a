//! Handing the caller over by a second leg: what the first call does with it, and what the second one tells the first.

use super::*;
use crate::call::leg::LegEvent;
use crate::call::second_leg::{SecondLeg, ToSecond};
use crate::call::transfer::Handed;

/// What the first call knows of the second one.
#[derive(Debug)]
pub(super) struct Second {
    /// Who asked for it.
    by: HungUpBy,
    target: String,
    start: Ms,
    transcript: bool,
    call_id: Option<Arc<str>>,
    answered: bool,
}

/// The id of a call, if there is one.
pub(super) fn id(call_id: &str) -> Option<Arc<str>> {
    (!call_id.is_empty()).then(|| call_id.into())
}

impl Call {
    /// Somebody else is to be called, and joined with the far end.
    pub(super) fn transfer(&mut self, now: Instant, by: HungUpBy, mut leg: Box<SecondLeg>) {
        let start = self.conversation.as_ref().map_or(Ms(0), |c| c.at(now));
        let target = leg.target.to_string();
        let (transcript, call_id) = (leg.transcript, None);
        let second = Box::new(Second { by, target, start, transcript, call_id, answered: false });
        if self.transfers.len() >= transfer::MOST {
            let reason = format!("{} transfers were tried", transfer::MOST);
            self.tell_stage(now, &second, Stage::Failed(Handed::Refused), 0, &reason);
            return self.converse(|c| c.referred(now, false, 0, reason));
        }
        if leg.caller.is_empty() {
            let Parties { caller, callee, withheld, .. } = &self.plan.parties;
            // Who does not want to be shown is not.
            let far = if self.session.is_outgoing() { callee } else { caller };
            leg.caller = if *withheld { String::new() } else { far.clone() };
        }
        self.second = Some(second);
        self.out.push_back(Output::Transfer(leg));
    }

    /// The second leg told something.
    pub(super) fn second_told(&mut self, now: Instant, news: News) {
        let Some(mut second) = self.second.take() else { return };
        let (code, reason) = match news {
            News::Placed { call_id } => {
                second.call_id = Some(call_id);
                self.tell_stage(now, &second, Stage::Started, 0, "");
                self.second = Some(second);
                return;
            }
            News::Ringing { code } => {
                self.tell_stage(now, &second, Stage::Progress, code, "the target rings");
                self.second = Some(second);
                return;
            }
            News::Answered => return self.bridge(now, second),
            News::Key(key) => {
                let answered = second.answered;
                self.second = Some(second);
                if answered {
                    self.command(now, Action::SendKeys(key.to_string()));
                }
                return;
            }
            News::Over { by, reason } if second.answered => return self.hang_up(now, by, &reason),
            News::Over { reason, .. } => (0, reason),
            News::Failed { code, reason } => (code, reason),
        };
        let outcome = match code {
            // The switchboard would not even place it.
            0 if second.call_id.is_none() => Handed::Refused,
            408 => Handed::TimedOut,
            _ => Handed::Failed,
        };
        self.transfer_is_over(now, &second, outcome, code, &reason);
        self.converse(|c| c.referred(now, false, code, reason));
    }

    /// The target has answered: from now on the two talk.
    fn bridge(&mut self, now: Instant, mut second: Box<Second>) {
        second.answered = true;
        self.transfer_is_over(now, &second, Handed::Transferred, 200, "the target has answered");
        let Second { by, transcript, .. } = *second;
        let reason = format!("handed over to {}", second.target);
        self.second = Some(second);
        self.out.push_back(Output::Bridge { recognised: transcript });
        self.converse(|c| c.bridged(now, by, &reason, transcript));
    }

    /// The first call told something.
    pub(super) fn first_told(&mut self, now: Instant, told: ToSecond) {
        match told {
            ToSecond::HangUp { by, reason } => {
                if self.answered.is_none() && self.ending.is_none() {
                    self.outcome = Outcome::Cancelled;
                }
                self.hang_up(now, by, &reason);
            }
            ToSecond::Keys(keys) => self.command(now, Action::SendKeys(keys)),
        }
    }

    /// This call ends: so does what hangs on it.
    pub(super) fn part(&mut self, now: Instant, by: HungUpBy, reason: &str) {
        if let Some(second) = self.second.take() {
            self.out.push_back(Output::Second(ToSecond::HangUp { by, reason: reason.to_owned() }));
            if !second.answered {
                let reason = "the call ended before that";
                self.transfer_is_over(now, &second, Handed::CallEnded, 0, reason);
                self.converse(|c| c.referred(now, false, 0, reason.to_owned()));
            }
        }
        let code = if self.answered.is_none() { self.sip_code } else { 0 };
        self.tell_first_of_end(by, code, reason);
    }

    /// Who has ended an answered call.
    pub(super) fn ended_by(&self, by_peer: bool) -> HungUpBy {
        match self.plan.transferred_from {
            _ if !by_peer => HungUpBy::Network,
            Some(_) => HungUpBy::Agent,
            None => HungUpBy::Caller,
        }
    }

    /// Keys pass from one to the other.
    pub(super) fn pass_key(&mut self, event: &LegEvent) {
        let LegEvent::Key { key, .. } = *event else { return };
        if self.second.as_ref().is_some_and(|second| second.answered) {
            self.out.push_back(Output::Second(ToSecond::Keys(key.to_string())));
        }
        self.tell_first(News::Key(key));
    }

    pub(super) fn tell_first(&mut self, news: News) {
        if self.plan.transferred_from.is_some() && !self.parted {
            self.out.push_back(Output::First(news));
        }
    }

    /// Once: what comes after it does not matter to the first call.
    pub(super) fn tell_first_of_end(&mut self, by: HungUpBy, code: u16, reason: &str) {
        let reason = reason.to_owned();
        self.tell_first(match self.answered {
            Some(_) => News::Over { by, reason },
            None => News::Failed { code, reason },
        });
        self.parted = true;
    }

    fn transfer_is_over(&mut self, now: Instant, second: &Second, outcome: Handed, sip_code: u16, reason: &str) {
        let reached = outcome == Handed::Transferred;
        let stage = if reached { Stage::Answered(outcome) } else { Stage::Failed(outcome) };
        self.tell_stage(now, second, stage, sip_code, reason);
        self.transfers.push(Transfer {
            kind: "bridge",
            target: second.target.clone(),
            result: if reached { 1 } else { -1 },
            sip_code,
            outcome,
            reason: reason.to_owned(),
            start: second.start,
            stop: self.conversation.as_ref().map_or(Ms(0), |c| c.at(now)),
            call_id: second.call_id.as_deref().unwrap_or_default().to_owned(),
        });
    }

    fn tell_stage(&mut self, now: Instant, second: &Second, stage: Stage, sip_code: u16, reason: &str) {
        let (target, call_id, reason) = (second.target.clone(), second.call_id.clone(), reason.to_owned());
        self.tell(now, What::Transfer { stage, target, sip_code, reason, call_id });
    }
}
