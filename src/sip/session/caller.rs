//! RFC 3261 §13.2, §9.1 and §22: the caller's side, from the INVITE to its final response.

use super::early::{Early, MAX_BRANCHES};
use super::terms::RELIABLE;
use super::*;
use crate::sip::locate::Hop;

/// How far a cancellation has got.
#[derive(Debug)]
pub(super) enum Cancel {
    No,
    /// Asked for before a provisional response came: held until then (§9.1).
    Wanted(Farewell),
    Sent,
}

#[derive(Debug)]
pub(super) struct Caller {
    pub(super) dial: Dial,
    from: String,
    pub(super) cseq: u32,
    pub(super) cancel: Cancel,
    /// The next address is known, and the offer that goes there is not.
    pub(super) offerless: bool,
    /// How often a 3xx has been followed.
    pub(super) redirected: u32,
    pub(super) told_trying: bool,
    pub(super) early: Vec<Early>,
    pub(super) acks: Vec<Acked>,
}

/// A callee whose 2xx was acknowledged.
#[derive(Debug)]
pub(super) struct Acked {
    pub(super) tag: String,
    to: Target,
    ack: Vec<u8>,
}

impl Session {
    /// Places a call: the INVITE is ready to be polled. `rng` makes the Call-ID, tags and branches.
    pub fn dial(now: Instant, local: Local, dial: Dial, mut rng: StdRng) -> Session {
        let call_id = token::call_id(&mut rng);
        let from = with_tag(&dial.from, Some(&token::tag(&mut rng)));
        let cseq = token::first_cseq(&mut rng);
        let mut auth = Authenticator::new(dial.credentials.clone());
        let to = dial.next_hop.clone();
        let caller = Caller {
            dial,
            from,
            cseq,
            cancel: Cancel::No,
            offerless: false,
            redirected: 0,
            told_trying: false,
            early: Vec::new(),
            acks: Vec::new(),
        };
        let terms = caller.dial.terms;
        let refreshing = Refreshing::new(&terms);
        let offered = !caller.dial.offer.is_empty();
        let patience = caller.dial.patience;
        let invite = caller.invite(&call_id, &local, &refreshing, &mut auth, &mut rng);
        let mut session = Session {
            local,
            rng,
            call_id,
            invite: invite.clone(),
            side: Side::Caller(Box::new(caller)),
            phase: Phase::Inviting,
            answered_from: None,
            dialog: None,
            auth,
            terms,
            exchange: if offered { Exchange::Ours } else { Exchange::Unoffered },
            reoffer: None,
            wanted: false,
            peer_updates: false,
            peer_takes_info: true,
            refreshing,
            referral: None,
            refer_refusal: 603,
            referee: Referee::default(),
            invites_out: vec![InviteOut { to, tx: InviteClient::new(now, invite), again: None, wish: Wish::Answer }],
            requests_out: Vec::new(),
            invites_in: Vec::new(),
            requests_in: Vec::new(),
            timers: Timers::new(),
            out: VecDeque::new(),
        };
        session.be_patient(now, patience);
        session.settle(now);
        session
    }

    /// From here on it is waited for a sign of the INVITE that was just sent.
    fn be_patient(&mut self, now: Instant, patience: Option<Duration>) {
        if let Some(patience) = patience {
            self.timers.set(Timer::Silent as usize, now + patience);
        }
    }

    pub(super) fn caller(&mut self) -> Option<&mut Caller> {
        match &mut self.side {
            Side::Caller(caller) => Some(caller),
            Side::Callee(_) => None,
        }
    }

    pub(super) fn invite_action(&mut self, now: Instant, at: usize, action: ClientAction) {
        if self.invites_out[at].again.is_some() {
            return self.reinvite_action(now, at, action);
        }
        let wish = self.invites_out[at].wish;
        let current = at + 1 == self.invites_out.len() && wish == Wish::Answer;
        match action {
            ClientAction::Transmit(payload) => self.transmit(self.invites_out[at].to.clone(), payload),
            ClientAction::Response(response) => {
                if current {
                    self.timers.stop(Timer::Silent as usize);
                }
                match response.code() {
                    200..300 => self.accepted(now, at, &response),
                    ..200 if wish == Wish::GivenUp => self.cancel_given_up(now, at),
                    _ if !current => {}
                    ..200 => self.provisional(now, &response),
                    _ => self.refused(now, &response),
                }
            }
            _ if !current => {}
            ClientAction::TimedOut if self.invite_elsewhere(now, false) => {}
            ClientAction::Unreachable if self.invite_elsewhere(now, true) => {}
            ClientAction::TimedOut => self.end_unanswered(now, Event::TimedOut),
            ClientAction::Unreachable => self.end_unanswered(now, Event::Failed(Failure::Unreachable)),
        }
    }

    /// What ends an INVITE that somebody wanted to cancel is its cancellation.
    fn end_unanswered(&mut self, now: Instant, event: Event) {
        let cancelling = self.caller().is_some_and(|caller| !matches!(caller.cancel, Cancel::No));
        self.timers.stop(Timer::Cancelled as usize);
        let event = if cancelling { Event::Cancelled { by_peer: false, reasons: Vec::new() } } else { event };
        self.end(now, event);
    }

    /// Every 2xx is acknowledged, each time it comes (§13.2.2.4). The first one is the call, if it is
    /// still wanted; every other dialog is hung up.
    fn accepted(&mut self, now: Instant, at: usize, response: &Response) {
        let tag = response.to().ok().and_then(|to| to.tag().map(|tag| tag.into_owned())).unwrap_or_default();
        let Some(caller) = self.caller() else { return };
        if let Some(acked) = caller.acks.iter().find(|acked| acked.tag == tag) {
            let (to, ack) = (acked.to.clone(), acked.ack.clone());
            return self.transmit(to, ack);
        }
        let full = caller.acks.len() == MAX_BRANCHES;
        let cancelling = !matches!(caller.cancel, Cancel::No);
        if full || matches!(&self.reoffer, Some(TheirOffer::Final { tag: of, .. }) if *of == tag) {
            return;
        }
        let InviteOut { to, tx, wish, .. } = &self.invites_out[at];
        let (to, invite, given_up) = (to.clone(), tx.request().clone(), *wish != Wish::Answer);
        let early = self.take_early(&tag);
        let (settled, renegotiated) =
            early.as_ref().map_or((false, false), |early| (early.exchange == Exchange::Settled, early.renegotiated));
        let (dialog, preview) = match early {
            Some(mut early) => (early.dialog.confirm(response).map(|()| early.dialog), early.sdp),
            None => (Dialog::caller(&invite, response, to), None),
        };
        let dialog = match dialog {
            Ok(dialog) => dialog,
            Err(_) if given_up => return,
            Err(fault) => return self.end(now, Event::Failed(Failure::Malformed(fault))),
        };
        self.auth.accepted_with(response);
        if given_up {
            return self.hang_up_branch(now, &dialog, tag, &invite);
        }
        let sdp = response.session_body().sdp().map(<[u8]>::to_vec);
        if self.phase == Phase::Inviting && !cancelling {
            self.dialog = Some(dialog);
            self.phase = Phase::Up;
            self.reoffer = None;
            self.note_peer(response);
            self.timer_answered(now, response);
            let delayed = invite.session_body().sdp().is_none();
            if let Some(offer) = sdp.as_ref().filter(|_| delayed && !settled) {
                self.exchange = Exchange::Theirs;
                self.reoffer = Some(TheirOffer::Final { tag, invite: Box::new(invite) });
                return self.event(Event::Reoffer { sdp: Some(offer.clone()) });
            }
            self.tell_user_to_user(Carrier::Answer, response);
            self.acknowledge(tag, &invite, b"");
            self.exchange = Exchange::Settled;
            // What was agreed by UPDATE or PRACK since is not taken back by a 2xx (RFC 6337 §2).
            let sdp = sdp.or(preview).filter(|_| !delayed && !renegotiated);
            return self.event(Event::Answered { sdp });
        }
        self.hang_up_branch(now, &dialog, tag, &invite);
        self.dialog.get_or_insert(dialog);
        // Of a call that is up, this was another branch of the fork.
        if self.phase == Phase::Inviting {
            self.timers.stop(Timer::Cancelled as usize);
            self.end(now, Event::Cancelled { by_peer: false, reasons: Vec::new() });
        }
    }

    /// ACK and BYE for an answer that nobody wants.
    fn hang_up_branch(&mut self, now: Instant, dialog: &Dialog, tag: String, invite: &Request) {
        self.send_ack(dialog, tag, invite, b"");
        let mut dialog = dialog.clone();
        let (bye, to) = dialog.request(Method::Bye, &self.local, &token::branch(&mut self.rng));
        let bye = self.authenticate(bye, &Method::Bye, b"");
        let bye = bye.header(HeaderName::UserAgent, &self.local.user_agent).finish("", b"");
        self.requests_out.push(RequestOut { to, purpose: Purpose::StrayBye, tx: Client::new(now, bye) });
    }

    /// The ACK to the 2xx of the call's own dialog.
    pub(super) fn acknowledge(&mut self, tag: String, invite: &Request, sdp: &[u8]) {
        if let Some(dialog) = self.dialog.clone() {
            self.send_ack(&dialog, tag, invite, sdp);
        }
    }

    fn send_ack(&mut self, dialog: &Dialog, tag: String, invite: &Request, sdp: &[u8]) {
        let number = invite.cseq().map_or(0, |cseq| cseq.number);
        let (ack, to) = dialog.ack(number, &self.local, &token::branch(&mut self.rng));
        // §22.1 and §13.2.2.4: the ACK carries the credentials of its INVITE.
        let ack = ack.copy(invite, HeaderName::Authorization).copy(invite, HeaderName::ProxyAuthorization);
        let ack = ack.header(HeaderName::UserAgent, &self.local.user_agent).finish("application/sdp", sdp);
        let ack = ack.bytes().to_vec();
        self.transmit(to.clone(), ack.clone());
        if let Some(caller) = self.caller() {
            caller.acks.push(Acked { tag, to, ack });
        }
    }

    fn refused(&mut self, now: Instant, response: &Response) {
        let code = response.code();
        let tried = self.invites_out.last().is_some_and(|out| has_credentials(out.tx.request()));
        let Some(caller) = self.caller() else { return };
        let cancelling = !matches!(caller.cancel, Cancel::No);
        let challenged = matches!(code, 401 | 407) && !cancelling && self.phase == Phase::Inviting;
        if challenged && self.auth.challenged(response, tried).is_ok() {
            return self.invite_again(now);
        }
        // RFC 4028 §7.3: the same call with a longer interval.
        if code == 422 && !cancelling && self.terms.timer.is_some() && self.refreshing.raise(response) {
            return self.invite_again(now);
        }
        if matches!(code, 300..=302) && !cancelling && self.redirected(now, response) {
            return;
        }
        if code == 503 && self.invite_elsewhere(now, false) {
            return;
        }
        self.timers.stop(Timer::Cancelled as usize);
        if cancelling && matches!(code, 401 | 407 | 487) {
            return self.end(now, Event::Cancelled { by_peer: false, reasons: Vec::new() });
        }
        self.tell_user_to_user(Carrier::Refusal, response);
        self.end(now, Event::Refused(refusal(response)));
    }

    /// §22.2: the same INVITE with credentials: same Call-ID and From tag, the next CSeq.
    fn invite_again(&mut self, now: Instant) {
        let Side::Caller(caller) = &mut self.side else {
            return;
        };
        caller.anew();
        self.send_invite(now);
    }

    pub(super) fn send_invite(&mut self, now: Instant) {
        let Side::Caller(caller) = &mut self.side else {
            return;
        };
        let invite = caller.invite(&self.call_id, &self.local, &self.refreshing, &mut self.auth, &mut self.rng);
        let to = caller.dial.next_hop.clone();
        self.invite = invite.clone();
        let patience = caller.dial.patience;
        self.invites_out.push(InviteOut { to, tx: InviteClient::new(now, invite), again: None, wish: Wish::Answer });
        self.be_patient(now, patience);
    }

    /// RFC 3263 §4.3: nobody is there, so the same INVITE, with a branch of its own, goes to the next address; unless somebody has been
    /// reached already, or nobody wants the call any more.
    fn invite_elsewhere(&mut self, now: Instant, unsent: bool) -> bool {
        let by = self.invites_out.last().and_then(|out| out.tx.request().top_via().ok());
        let Side::Caller(caller) = &mut self.side else { return false };
        if self.phase != Phase::Inviting || !matches!(caller.cancel, Cancel::No) || !caller.early.is_empty() {
            return false;
        }
        if caller.offerless {
            return true;
        }
        match caller.dial.spares.next(unsent, by.as_ref(), &mut self.local.ways) {
            Some(Next::Other(hop)) => {
                caller.dial.next_hop = Target::Addr(hop.address);
                self.turn_to(now, hop);
            }
            Some(Next::Same) => self.send_invite(now),
            None => return false,
        }
        true
    }

    /// The INVITE goes that way from now on; where that is of the other IP family, with an offer that is asked for first.
    pub(super) fn turn_to(&mut self, now: Instant, hop: Hop) {
        let before = self.local.contact.is_ipv6();
        self.local = self.local.clone().towards(hop);
        let v6 = self.local.contact.is_ipv6();
        if v6 == before {
            return self.send_invite(now);
        }
        self.timers.stop(Timer::Silent as usize);
        if let Some(caller) = self.caller() {
            caller.offerless = true;
        }
        self.event(Event::OtherFamily { v6 });
    }

    pub(super) fn invite_there(&mut self, now: Instant, offer: Option<Vec<u8>>) {
        // Who has hung up meanwhile calls nobody.
        let Some(caller) = self.caller().filter(|caller| caller.offerless) else { return };
        caller.offerless = false;
        caller.dial.offer = offer.unwrap_or(std::mem::take(&mut caller.dial.offer));
        self.send_invite(now);
    }

    /// Nothing has come back in the time that is given to an address. The INVITE is not taken back, which §9.1 forbids as yet: it lives on
    /// until timer B, and what it brings after all is said goodbye to.
    pub(super) fn silent(&mut self, now: Instant) {
        let Some(at) = self.invites_out.len().checked_sub(1) else { return };
        if self.phase != Phase::Inviting || !self.invites_out[at].tx.is_unheard() {
            return;
        }
        if self.invite_elsewhere(now, false) {
            self.invites_out[at].wish = Wish::GivenUp;
        } else if self.caller().is_some_and(|caller| matches!(caller.cancel, Cancel::No)) {
            self.event(Event::Silent);
        }
    }

    /// An INVITE that was given up has arrived after all.
    fn cancel_given_up(&mut self, now: Instant, at: usize) {
        let out = &mut self.invites_out[at];
        out.wish = Wish::Cancelled;
        let (to, cancel) = (out.to.clone(), self.cancel_of(at, &ExtraHeaders::default()));
        self.requests_out.push(RequestOut { to, purpose: Purpose::StrayCancel, tx: Client::new(now, cancel) });
        self.timers.set(Timer::GivenUp as usize, now + GIVE_UP.into());
    }

    pub(super) fn cancel(&mut self, now: Instant, farewell: Farewell) {
        let proceeding = self.invites_out.last().is_some_and(|out| out.tx.is_proceeding());
        let Some(caller) = self.caller() else { return };
        if !matches!(caller.cancel, Cancel::No) {
            return;
        }
        if std::mem::take(&mut caller.offerless) {
            return self.end(now, Event::Cancelled { by_peer: false, reasons: Vec::new() });
        }
        if proceeding {
            return self.send_cancel(now, farewell);
        }
        caller.cancel = Cancel::Wanted(farewell);
    }

    pub(super) fn send_cancel(&mut self, now: Instant, mut farewell: Farewell) {
        farewell.headers.add_reason(farewell.reason.take().as_ref());
        let Some(at) = self.invites_out.len().checked_sub(1) else { return };
        let (to, cancel) = (self.invites_out[at].to.clone(), self.cancel_of(at, &farewell.headers));
        self.requests_out.push(RequestOut { to, purpose: Purpose::Cancel, tx: Client::new(now, cancel) });
        self.timers.set(Timer::Cancelled as usize, now + GIVE_UP.into());
        if let Some(caller) = self.caller() {
            caller.cancel = Cancel::Sent;
        }
    }

    /// §9.1: same branch, same Request-URI, same Route.
    fn cancel_of(&self, at: usize, headers: &ExtraHeaders) -> Request {
        let invite = self.invites_out[at].tx.request();
        let number = invite.cseq().map_or(0, |cseq| cseq.number);
        let mut out = Writer::request(Method::Cancel, invite.uri());
        for via in invite.all(HeaderName::Via).take(1) {
            out = out.raw(HeaderName::Via, via);
        }
        out = out.copy(invite, HeaderName::Route).header(HeaderName::MaxForwards, "70");
        for name in [HeaderName::From, HeaderName::To, HeaderName::CallId] {
            out = out.copy(invite, name);
        }
        out = out.header(HeaderName::CSeq, &format!("{number} CANCEL"));
        out = out.header(HeaderName::UserAgent, &self.local.user_agent);
        headers.write(out).finish("", b"")
    }
}

impl Caller {
    /// The next INVITE is another request of the same call: with the next CSeq, and of nobody who has rung.
    pub(super) fn anew(&mut self) {
        self.cseq += 1;
        self.early.clear();
    }

    fn invite(
        &self,
        call_id: &str,
        local: &Local,
        refreshing: &Refreshing,
        auth: &mut Authenticator,
        rng: &mut StdRng,
    ) -> Request {
        let Dial { request_uri, to, headers, offer, terms, route, .. } = &self.dial;
        let mut out =
            local.begin(Writer::request(Method::Invite, request_uri), local.ways.transport, &token::branch(rng));
        for proxy in route {
            out = out.header(HeaderName::Route, &format!("<{proxy}>"));
        }
        let out = out
            .header(HeaderName::MaxForwards, "70")
            .header(HeaderName::From, &self.from)
            .header(HeaderName::To, &with_tag(to, None))
            .header(HeaderName::CallId, call_id)
            .header(HeaderName::CSeq, &format!("{} INVITE", self.cseq));
        let out = out.header(HeaderName::Contact, &local.contact_value()).header(HeaderName::Allow, ALLOW);
        let mut out = out.header(HeaderName::Supported, &terms.supported());
        if terms.reliable == Reliability::Required {
            out = out.header(HeaderName::Require, RELIABLE);
        }
        out = refreshing.ask(terms, out).header(HeaderName::UserAgent, &local.user_agent);
        for (name, value) in auth.headers_with(&Method::Invite, request_uri.without_headers(), offer, rng) {
            out = out.header(name, &value);
        }
        headers.write(out).finish("application/sdp", offer)
    }
}

pub(super) fn has_credentials(request: &Request) -> bool {
    request.all(HeaderName::Authorization).chain(request.all(HeaderName::ProxyAuthorization)).next().is_some()
}

fn with_tag(party: &NameAddr, tag: Option<&str>) -> String {
    let mut out = NameAddr::new(party.display.clone(), party.uri.clone()).to_string();
    for (name, value) in party.params.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("tag")) {
        out.push(';');
        out.push_str(name);
        if !value.is_empty() {
            out.push('=');
            out.push_str(value);
        }
    }
    if let Some(tag) = tag {
        out.push_str(";tag=");
        out.push_str(tag);
    }
    out
}

fn refusal(response: &Response) -> Refusal {
    let contacts = response.list(HeaderName::Contact).filter_map(|value| NameAddr::parse(&value));
    Refusal {
        code: response.code(),
        reason: response.reason().into_owned(),
        reasons: response.reasons(),
        retry_after: response.seconds(HeaderName::RetryAfter),
        warning: response.text(HeaderName::Warning).map(|warning| warning.into_owned()),
        contacts: contacts.map(|contact| contact.uri).collect(),
    }
}
