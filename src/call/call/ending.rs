//! How a call ends: who wanted it, what is told to whom, and the record that is left of it.
//!
//! ```text
//! hang_up ► BYE, CANCEL or a refusal ► over: conversation and leg are told ► settle, when both are done: the record
//!                    the far end's ──┘
//! ```

use super::*;

impl Call {
    pub(super) fn hang_up(&mut self, now: Instant, by: HungUpBy, reason: &str) {
        self.say_goodbye(now, by, reason, Farewell::default());
    }

    /// We want the call to end: CANCEL, a refusal or BYE, as its state asks for.
    pub(super) fn say_goodbye(&mut self, now: Instant, by: HungUpBy, reason: &str, farewell: Farewell) {
        if matches!(self.phase, Phase::Ending | Phase::Over) || self.ending.is_some() {
            return;
        }
        self.ending = Some((by, reason.to_owned()));
        self.part(now, by, reason);
        self.give_referral_up(now);
        if self.has_parted() {
            return self.over(now, by, reason.to_owned());
        }
        let reason = farewell.reason().or(Some(outcome::of_goodbye(by, self.rang.is_some(), self.answered.is_some())));
        self.session.handle(now, session::Input::Bye { headers: farewell.headers, reason });
    }

    /// The signalling has told the end.
    pub(super) fn over(&mut self, now: Instant, by: HungUpBy, reason: String) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(now);
        self.phase = Phase::Ending;
        self.timers = [None; TIMERS];
        self.give_referral_up(now);
        let (by, reason) = self.ending.get_or_insert((by, reason)).clone();
        self.part(now, by, &reason);
        if let Some(last) = self.transfers.last().filter(|last| last.result > 0 && last.kind != "refer_in") {
            let (target, sip_code, call_id) = (last.target.clone(), last.sip_code, bridged::id(&last.call_id));
            self.tell(now, What::Transfer { stage: Stage::Ended, target, sip_code, reason: reason.clone(), call_id });
        }
        self.converse(|c| c.end(now, by, &reason));
        self.early_end(now, by, &reason);
        if self.leg_open {
            self.out.push_back(Output::CloseLeg);
            self.timers[Timer::LegFarewell as usize] = Some(now + LEG_FAREWELL);
        }
    }

    /// Writes the record once nothing is waited for any more.
    pub(super) fn settle(&mut self, now: Instant) {
        let settled = self.conversation.as_mut().is_none_or(Conversation::settled);
        if self.phase != Phase::Ending || self.leg_open || !settled || !self.early_settled() {
            return;
        }
        while let Some(output) = self.conversation.as_mut().and_then(Conversation::poll) {
            self.out.push_back(output);
        }
        self.phase = Phase::Over;
        let record = self.record(now);
        self.out.push_back(Output::Over(Box::new(record)));
    }

    fn record(&mut self, now: Instant) -> CallRecord {
        let ended = self.ended.unwrap_or(now);
        let span = |from: Instant, to: Instant| Ms::from(to.saturating_duration_since(from));
        let (by, reason) = self.ending.clone().unwrap_or((HungUpBy::Network, String::new()));
        let recording_answer = self.early.as_ref().and_then(|early| early.recorded_for());
        let (early_media_at, early_text, before) = self.early_left();
        let told = before.and(self.conversation.take().map(Conversation::into_told).unwrap_or_default());
        CallRecord {
            call_id: self.plan.call_id.to_string(),
            direction: if self.origin().0 { "outbound" } else { "inbound" },
            trunk: self.plan.trunk.clone(),
            caller: self.plan.parties.caller.clone(),
            callee: self.plan.parties.callee.clone(),
            started_at: self.wall(self.started),
            rang_at: self.rang.map(|at| self.wall(at)),
            answered_at: self.answered.map(|at| self.wall(at)),
            ended_at: self.wall(ended),
            setup_ms: span(self.started, self.answered.unwrap_or(ended)),
            talk_ms: self.answered.map_or(Ms(0), |answered| span(answered, ended)),
            outcome: self.outcome,
            sip_code: self.sip_code,
            sip_reason: self.sip_reason.clone(),
            hung_up_by: by,
            end_reason: reason,
            keys: told.keys,
            turns: told.turns,
            quality: self.quality.as_deref().copied().unwrap_or_default(),
            labels: told.labels,
            faults: told.faults,
            wav: String::new(),
            wav_url: String::new(),
            recording_pauses: told.pauses,
            recording_answer,
            mutes: told.mutes,
            request_id: self.plan.request_id.clone(),
            correlation: self.plan.correlation.clone(),
            sip_call_id: self.origin().1.to_owned(),
            transfers: self.transfers.clone(),
            user_to_user: self.user_to_user.clone(),
            early_media_at,
            early_text,
            announcement: self.listening.announced.said_most(),
            srtp: self.srtp(),
            tones: self.listening.told(),
            answered_by: self.listening.answered_by(),
            transferred_from: self.plan.transferred_from.as_deref().unwrap_or_default().to_owned(),
        }
    }
}
