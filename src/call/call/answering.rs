//! How a call comes up: ringing, the answer or a refusal, and what media and conversation begin with.

use super::*;

impl Call {
    pub(super) fn ring(&mut self, now: Instant, phase: Phase, time: Duration) {
        self.phase = phase;
        self.rang = Some(now);
        self.timers[Timer::Ring as usize] = Some(now + time);
        let sdp = self.plan.early_media.then(|| match &self.reply {
            Some(reply) => reply.clone(),
            // An INVITE without an offer gets ours; a caller that can, answers in its PRACK.
            None => self.negotiator.offer_whole(),
        });
        self.session.handle(now, session::Input::Ring { headers: ExtraHeaders::default(), sdp });
    }

    pub(super) fn answer(&mut self, now: Instant, headers: ExtraHeaders) {
        self.timers[Timer::Ring as usize] = None;
        self.phase = Phase::Ringing;
        self.sip_code = 200;
        self.sip_reason = "OK".to_owned();
        let sdp = match self.reply.take() {
            Some(reply) => reply,
            // It was agreed before the answer.
            None if self.agreed.is_some() => Vec::new(),
            // An INVITE without an offer gets ours; the ACK brings the answer.
            None => self.negotiator.offer(Direction::SendRecv),
        };
        self.session.handle(now, session::Input::Answer { headers, sdp });
    }

    pub(super) fn reject(&mut self, now: Instant, code: u16, reason: String, headers: ExtraHeaders) {
        self.sip_code = code;
        self.outcome = Outcome::Cantbeconnected;
        self.ending = Some((HungUpBy::Network, reason));
        self.session.handle(now, session::Input::Reject { code, reason: None, headers });
    }

    /// The call is up: media and conversation begin.
    pub(super) fn up(&mut self, now: Instant, sdp: Option<Vec<u8>>) {
        self.timers = [None; TIMERS];
        self.timers[Timer::Longest as usize] = self.plan.longest.map(|longest| now + longest);
        self.answered = Some(now);
        let stream = self.early_over(now);
        let first = self.first.take();
        if let Some(sdp) = sdp {
            self.negotiator = first.unwrap_or_else(|| self.negotiator.clone());
            match self.negotiator.accept(&sdp) {
                Ok(agreed) => self.agreed = Some(agreed),
                Err(error) => return self.hang_up(now, HungUpBy::Network, &format!("SDP answer: {error}")),
            }
        }
        let Some(agreed) = self.agreed else {
            return self.hang_up(now, HungUpBy::Network, "answered without SDP");
        };
        let media = media(&agreed, &self.plan.line);
        self.phase = Phase::Talking;
        self.outcome = Outcome::Success;
        self.leg_open = true;
        let setup = leg::Setup {
            media,
            srtp: secured::srtp(&self.negotiator),
            may_widen: self.plan.formats.iter().any(|format| format.is_wide()),
            knobs: self.plan.knobs.leg(),
            inband_keys: self.plan.inband_keys,
            tones: self.plan.tones.clone(),
            answerer: self.plan.answerer.filter(|_| self.session.is_outgoing()),
            rtp_timeout: self.plan.rtp_timeout,
            seed: self.rng.random(),
            clock: self.wall_clock(now),
        };
        self.out.push_back(Output::OpenLeg(Box::new(setup)));
        self.timers[Timer::Look as usize] = LineWatch::next(&self.plan.line, now);
        self.tell(now, What::Answered { codec: agreed.codec.name(), remote_media: agreed.remote, srtp: self.srtp() });
        let begin = self.begin(now);
        self.conversation = Some(Conversation::new(
            now,
            self.plan.rules.clone(),
            self.plan.knobs.clone(),
            begin,
            self.plan.background.take(),
            stream,
            self.plan.transferred_from.is_some(),
        ));
        self.note_hold(now);
        self.tell_first(News::Answered);
    }

    pub(super) fn wall_clock(&self, now: Instant) -> leg::WallClock {
        // Before 1970 there was no RTP.
        let unix = self.wall(now).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        leg::WallClock { at: now, unix }
    }

    pub(super) fn begin(&self, now: Instant) -> Begin {
        let invite = self.session.invite();
        let header = |name: &String| invite.named(name).map(|value| (name.clone(), value.into_owned()));
        let inbound = !self.session.is_outgoing();
        Begin {
            call_id: self.plan.call_id.to_string(),
            outbound: !inbound,
            parties: self.plan.parties.clone(),
            trunk: self.plan.trunk.clone(),
            headers: self.plan.pass_headers.iter().filter(|_| inbound).filter_map(header).collect(),
            user_to_user: self.with_the_call(if inbound { "invite" } else { "answer" }),
            variables: self.plan.variables.clone(),
            answered_at: Some(self.wall(now)),
            correlation: self.plan.correlation.clone(),
            resumed: false,
            history: Vec::new(),
        }
    }
}
