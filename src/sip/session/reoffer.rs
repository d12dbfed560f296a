//! RFC 3261 §14 (re-INVITE), RFC 3311 (UPDATE), RFC 6337: offers after the first one, both ways, one at a time.
//!
//! ```text
//! re-INVITE (offer)  ────►                      their offer while ours is open: 491; a second one of theirs: 500, Retry-After
//!     ◄──── 200 (answer)    ACK  ────►          a refusal leaves the session as it was
//!     ◄──── 491             2.1–4 s later (who made the Call-ID), 0–2 s later (the other): OfferWanted, and again
//!     ◄──── 408, 481        BYE  ────►          the far end has lost the call
//! ```

use super::*;

/// What becomes of an offer that may be made.
enum By {
    Reinvite,
    Update(String),
}

/// The far side's open offer, by where its answer goes.
#[derive(Clone, Debug)]
pub(super) enum TheirOffer {
    /// Into the response to a re-INVITE, UPDATE or PRACK.
    Request(Key),
    /// Into the PRACK: it came in a provisional response to our INVITE without SDP.
    Provisional { tag: String, rack: String },
    /// Into the ACK: it came in the 2xx to our INVITE without SDP.
    Final { tag: String, invite: Box<Request> },
}

impl TheirOffer {
    pub(super) fn is_final(&self) -> bool {
        matches!(self, TheirOffer::Final { .. })
    }
}

/// A re-INVITE of ours.
#[derive(Debug, Default)]
pub(super) struct Reinvite {
    sdp: Vec<u8>,
    rseq: Option<u32>,
    ack: Option<(Target, Vec<u8>)>,
}

impl Session {
    /// What stands in the way of an offer from the far side (§14.2, RFC 3311 §5.2).
    pub(super) fn offer_conflict(&self, exchange: Exchange) -> Option<Fault> {
        match exchange {
            _ if self.reoffer.is_some() => Some(Fault::new(500, "Offer Pending")),
            Exchange::Theirs => Some(Fault::new(500, "Offer Pending")),
            Exchange::Ours | Exchange::Unoffered => Some(Fault::new(491, "Request Pending")),
            Exchange::Settled => None,
        }
    }

    pub(super) fn receive_reinvite(&mut self, now: Instant, request: Request, source: SocketAddr, key: Key) {
        let fault = match (request.session_body(), self.phase) {
            (SessionBody::Unsupported, _) => Some(Fault::new(415, "Unsupported Media Type")),
            _ if self.interval_too_brief(&request) => Some(TOO_BRIEF),
            (_, Phase::Inviting) => Some(Fault::new(491, "Request Pending")),
            (_, Phase::Offered) => Some(Fault::new(500, "Offer Pending")),
            _ => self.offer_conflict(self.exchange),
        };
        if let Some(fault) = fault {
            return self.respond_new(now, request, source, key, fault);
        }
        let sdp = request.session_body().sdp().map(<[u8]>::to_vec);
        self.open_invite(now, request, source, key.clone());
        self.reoffer = Some(TheirOffer::Request(key));
        self.exchange = Exchange::Theirs;
        self.event(Event::Reoffer { sdp });
    }

    pub(super) fn receive_update(&mut self, now: Instant, request: Request, source: SocketAddr, key: Key) {
        let tag = tag_of(&request);
        let sdp = request.session_body().sdp().map(<[u8]>::to_vec);
        let exchange = *self.exchange_with(&tag);
        let fault = match request.session_body() {
            SessionBody::Unsupported => Some(Fault::new(415, "Unsupported Media Type")),
            _ if self.interval_too_brief(&request) => Some(TOO_BRIEF),
            _ if sdp.is_some() => self.offer_conflict(exchange),
            _ => None,
        };
        if let Some(fault) = fault {
            return self.respond_new(now, request, source, key, fault);
        }
        if sdp.is_none() {
            self.refresh_target(&request);
            return self.respond_new(now, request, source, key, OK);
        }
        if let Some(early) = self.early(&tag) {
            early.renegotiated = true;
        }
        self.hear_offer(key, request, source, sdp);
    }

    /// An offer in a request that is not an INVITE: its response waits for our answer.
    pub(super) fn hear_offer(&mut self, key: Key, request: Request, source: SocketAddr, sdp: Option<Vec<u8>>) {
        *self.exchange_with(&tag_of(&request)) = Exchange::Theirs;
        self.requests_in.push(RequestIn { key: key.clone(), request, source, tx: Server::new() });
        self.reoffer = Some(TheirOffer::Request(key));
        self.event(Event::Reoffer { sdp });
    }

    /// Target refresh (§12.2.2).
    fn refresh_target(&mut self, request: &Request) {
        if let (Some(dialog), Ok(contact)) = (self.dialog_with(&tag_of(request)), request.contact()) {
            dialog.refresh(contact);
        }
    }

    pub(super) fn answer_reoffer(&mut self, now: Instant, sdp: Vec<u8>) {
        match self.reoffer.take() {
            Some(TheirOffer::Request(key)) => self.answer_request(now, &key, &sdp),
            Some(TheirOffer::Provisional { tag, rack }) => {
                *self.exchange_with(&tag) = Exchange::Settled;
                self.send_prack(now, &tag, rack, sdp);
            }
            Some(TheirOffer::Final { tag, invite }) => {
                self.acknowledge(tag, &invite, &sdp);
                self.exchange = Exchange::Settled;
                self.event(Event::Answered { sdp: None });
            }
            None => {}
        }
    }

    fn answer_request(&mut self, now: Instant, key: &Key, sdp: &[u8]) {
        if let Some(at) = self.invites_in.iter().position(|inbound| inbound.key == *key) {
            let request = self.invites_in[at].request.clone();
            self.refresh_target(&request);
            self.exchange = if request.session_body().sdp().is_some() { Exchange::Settled } else { Exchange::Ours };
            self.accept_invite(now, at, &ExtraHeaders::default(), sdp);
        } else if let Some(at) = self.requests_in.iter().position(|inbound| inbound.key == *key) {
            let request = self.requests_in[at].request.clone();
            self.refresh_target(&request);
            *self.exchange_with(&tag_of(&request)) = Exchange::Settled;
            self.respond(now, at, OK, sdp);
            self.acknowledged(now);
        }
    }

    pub(super) fn reject_reoffer(&mut self, now: Instant, code: u16, headers: &ExtraHeaders) {
        let code = if (300..700).contains(&code) { code } else { 488 };
        let reason = Reason { protocol: "SIP".to_owned(), cause: Some(code), text: None };
        let farewell = Farewell { headers: headers.clone(), reason: Some(reason) };
        match self.reoffer.take() {
            Some(TheirOffer::Request(key)) => self.reject_request(now, &key, code, headers),
            // Neither PRACK nor ACK can refuse: the call is ended instead (RFC 6337 §3.1).
            Some(TheirOffer::Provisional { tag, rack }) => {
                self.send_prack(now, &tag, rack, Vec::new());
                self.cancel(now, farewell);
            }
            Some(TheirOffer::Final { tag, invite }) => {
                self.acknowledge(tag, &invite, b"");
                if self.phase == Phase::Up {
                    self.send_bye(now, farewell);
                    self.end(now, Event::Failed(Failure::NoAgreement));
                }
            }
            None => {}
        }
    }

    fn reject_request(&mut self, now: Instant, key: &Key, code: u16, headers: &ExtraHeaders) {
        if let Some(at) = self.invites_in.iter().position(|inbound| inbound.key == *key) {
            self.exchange = Exchange::Settled;
            self.refuse_invite(now, at, code, None, headers);
        } else if let Some(at) = self.requests_in.iter().position(|inbound| inbound.key == *key) {
            *self.exchange_with(&tag_of(&self.requests_in[at].request.clone())) = Exchange::Settled;
            self.respond_with(now, at, Fault::new(code, default_reason(code)), headers, b"");
            self.acknowledged(now);
        }
    }

    /// Offers anew, or as soon as that may be.
    pub(super) fn reoffer(&mut self, now: Instant, sdp: Vec<u8>) {
        self.timers.stop(Timer::Again as usize);
        self.wanted = false;
        match self.offer_by() {
            Some(By::Reinvite) => self.send_reinvite(now, sdp),
            Some(By::Update(tag)) => self.send_update(now, &tag, Some(sdp)),
            None => self.wanted = self.phase != Phase::Over,
        }
    }

    /// How an offer may be made now: by re-INVITE in a call that is up (RFC 3311 §5.1 prefers it), by UPDATE before.
    fn offer_by(&self) -> Option<By> {
        if self.reoffer.is_some() || self.timers.is_set(Timer::Again as usize) {
            return None;
        }
        match (self.phase, &self.side) {
            (Phase::Up, _) if self.exchange == Exchange::Settled => Some(By::Reinvite),
            (Phase::Offered, _) if self.exchange == Exchange::Settled && self.peer_updates => {
                self.dialog.as_ref().map(|dialog| By::Update(dialog.remote_tag().to_owned()))
            }
            (Phase::Inviting, Side::Caller(caller)) if self.peer_updates => match caller.early.as_slice() {
                [only] if only.exchange == Exchange::Settled => Some(By::Update(only.dialog.remote_tag().to_owned())),
                _ => None,
            },
            _ => None,
        }
    }

    /// Asks for the offer that has waited, once it may be made.
    pub(super) fn ask_for_offer(&mut self) {
        if self.wanted && self.offer_by().is_some() {
            self.wanted = false;
            self.event(Event::OfferWanted);
        }
    }

    fn send_reinvite(&mut self, now: Instant, sdp: Vec<u8>) {
        let Some((out, to)) = self.begin(Method::Invite, &sdp) else { return };
        let out = self.refreshing.ask(&self.terms, self.describe(out));
        let invite = out.finish("application/sdp", &sdp);
        self.exchange = Exchange::Ours;
        let again = Some(Reinvite { sdp, ..Reinvite::default() });
        self.invites_out.push(InviteOut { to, tx: InviteClient::new(now, invite), again, wish: Wish::Answer });
    }

    /// UPDATE: an offer, or without one a refresh of the session timer.
    pub(super) fn send_update(&mut self, now: Instant, tag: &str, sdp: Option<Vec<u8>>) {
        let Some((out, to)) = self.begin_with(tag, Method::Update, sdp.as_deref().unwrap_or_default()) else { return };
        let mut out = self.describe(out);
        if self.phase == Phase::Up {
            out = self.refreshing.ask(&self.terms, out);
        }
        let update = out.finish("application/sdp", sdp.as_deref().unwrap_or_default());
        if sdp.is_some() {
            *self.exchange_with(tag) = Exchange::Ours;
            if let Some(early) = self.early(tag) {
                early.renegotiated = true;
            }
        }
        let purpose = Purpose::Update { tag: tag.to_owned(), sdp };
        self.requests_out.push(RequestOut { to, purpose, tx: Client::new(now, update) });
    }

    /// What comes back to our re-INVITE.
    pub(super) fn reinvite_action(&mut self, now: Instant, at: usize, action: ClientAction) {
        let response = match action {
            ClientAction::Transmit(payload) => return self.transmit(self.invites_out[at].to.clone(), payload),
            ClientAction::Response(response) => response,
            ClientAction::TimedOut => return self.offer_failed(now, 408, true),
            ClientAction::Unreachable => return self.offer_failed(now, 503, true),
        };
        let rack = self.reliable(&response);
        let challenged = matches!(response.code(), 401 | 407);
        let tried = caller::has_credentials(self.invites_out[at].tx.request());
        let Some(again) = &mut self.invites_out[at].again else { return };
        match response.code() {
            ..200 => {
                let Some((rseq, rack)) = rack.filter(|(rseq, _)| again.rseq.is_none_or(|last| last + 1 == *rseq))
                else {
                    return;
                };
                again.rseq = Some(rseq);
                self.send_prack(now, &tag_of_peer(&response), rack, Vec::new());
            }
            200..300 => self.reinvite_accepted(now, at, &response),
            _ if self.phase != Phase::Up => {}
            _ if challenged && self.auth.challenged(&response, tried).is_ok() => {
                let sdp = std::mem::take(&mut again.sdp);
                self.send_reinvite(now, sdp);
            }
            422 if self.refreshing.raise(&response) => {
                let sdp = std::mem::take(&mut again.sdp);
                self.send_reinvite(now, sdp);
            }
            code => {
                self.exchange = Exchange::Settled;
                if !self.again_later(now, &response) {
                    self.offer_failed(now, code, true);
                }
            }
        }
    }

    /// Every 2xx is acknowledged, each time it comes (§13.2.2.4).
    fn reinvite_accepted(&mut self, now: Instant, at: usize, response: &Response) {
        let number = self.invites_out[at].tx.request().cseq().map_or(0, |cseq| cseq.number);
        let Some(again) = &self.invites_out[at].again else { return };
        if let Some((to, ack)) = again.ack.clone() {
            return self.transmit(to, ack);
        }
        if let (Some(dialog), Ok(contact)) = (&mut self.dialog, response.contact()) {
            dialog.refresh(contact);
        }
        let Some(dialog) = &self.dialog else { return };
        let (out, to) = dialog.ack(number, &self.local, &token::branch(&mut self.rng));
        let invite = self.invites_out[at].tx.request();
        let out = out.copy(invite, HeaderName::Authorization).copy(invite, HeaderName::ProxyAuthorization);
        let ack = out.header(HeaderName::UserAgent, &self.local.user_agent).finish("", b"").bytes().to_vec();
        self.transmit(to.clone(), ack.clone());
        if let Some(again) = &mut self.invites_out[at].again {
            again.ack = Some((to, ack));
        }
        if self.phase != Phase::Up {
            return;
        }
        self.auth.accepted();
        self.note_peer(response);
        self.timer_answered(now, response);
        self.exchange = Exchange::Settled;
        self.event(Event::ReofferAnswered { sdp: response.session_body().sdp().map(<[u8]>::to_vec) });
    }

    /// What comes back to our UPDATE; `None`: nothing, or it could not be sent.
    pub(super) fn update_answered(&mut self, now: Instant, at: usize, code: u16, response: Option<&Response>) {
        let Purpose::Update { tag, sdp } = self.requests_out[at].purpose.clone() else { return };
        let offered = sdp.is_some();
        if offered {
            *self.exchange_with(&tag) = Exchange::Settled;
        }
        if self.phase == Phase::Over {
            return;
        }
        match (code, response) {
            (200..300, Some(response)) => {
                if let (Some(dialog), Ok(contact)) = (self.dialog_with(&tag), response.contact()) {
                    dialog.refresh(contact);
                }
                self.note_peer(response);
                if self.phase == Phase::Up {
                    self.timer_answered(now, response);
                }
                if offered {
                    self.event(Event::ReofferAnswered { sdp: response.session_body().sdp().map(<[u8]>::to_vec) });
                }
            }
            // Who said that it takes UPDATE does not: a re-INVITE does the same.
            (405 | 501, _) => {
                self.peer_updates = false;
                self.wanted = true;
            }
            (422, Some(response)) if self.refreshing.raise(response) => self.send_update(now, &tag, sdp),
            (_, Some(response)) if offered && self.again_later(now, response) => {}
            _ => self.offer_failed(now, code, offered),
        }
    }

    /// §14.1: 491 asks for another try after a while, 500 with Retry-After says after which.
    fn again_later(&mut self, now: Instant, response: &Response) -> bool {
        let wait = match (response.code(), response.seconds(HeaderName::RetryAfter)) {
            (491, _) => {
                let steps = u64::from(rand::Rng::next_u32(&mut self.rng));
                // In steps of 10 ms, so that both sides do not meet again.
                let ms = if self.is_outgoing() { 2_100 + steps % 191 * 10 } else { steps % 201 * 10 };
                Duration::from_millis(ms)
            }
            (500, Some(seconds @ 0..=10)) => Duration::from_secs(seconds.into()),
            _ => return false,
        };
        self.timers.set(Timer::Again as usize, now + wait);
        true
    }

    /// The session stays as it was (§14.1), unless the far end has lost it.
    fn offer_failed(&mut self, now: Instant, code: u16, offered: bool) {
        if self.phase != Phase::Up {
            if offered && self.phase != Phase::Over {
                self.event(Event::ReofferRefused { code });
            }
            return;
        }
        if matches!(code, 408 | 481) {
            self.send_bye(now, Farewell::default());
            return self.end(now, Event::Failed(Failure::Lost));
        }
        if offered {
            self.exchange = Exchange::Settled;
            self.event(Event::ReofferRefused { code });
        }
        self.refresh_later(now);
    }
}

/// The far side's tag in a request of its own.
pub(super) fn tag_of(request: &Request) -> String {
    request.from().ok().and_then(|from| from.tag().map(|tag| tag.into_owned())).unwrap_or_default()
}

/// The far side's tag in a response to us.
fn tag_of_peer(response: &Response) -> String {
    response.to().ok().and_then(|to| to.tag().map(|tag| tag.into_owned())).unwrap_or_default()
}

pub(super) const TOO_BRIEF: Fault = Fault::new(422, "Session Interval Too Small");
const OK: Fault = Fault::new(200, "OK");
