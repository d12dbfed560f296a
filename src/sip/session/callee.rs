//! RFC 3261 §8.2, §13.3 and §9.2: the callee's side, from the INVITE to the ACK.

use super::prack::Reliable;
use super::terms::{RELIABLE, supports};
use super::*;

/// How often a provisional response is repeated (§13.3.1.1).
const STILL_RINGING: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Callee {
    tag: String,
    pub(super) reliable: Reliable,
    /// The last 18x, to be repeated.
    ringing: Option<(u16, Vec<u8>)>,
    /// A BYE that waits for the ACK.
    pub(super) farewell: Option<Farewell>,
}

/// Repeats a 2xx until its ACK comes (§13.3.1.4).
#[derive(Debug)]
pub(super) struct OkRepeat {
    pub(super) payload: Vec<u8>,
    pub(super) resend: Doubling,
    pub(super) timers: Timers<2>,
}

#[derive(Clone, Copy)]
pub(super) enum OkTimer {
    Resend,
    GiveUp,
}

impl OkRepeat {
    pub(super) fn new(now: Instant, payload: Vec<u8>) -> OkRepeat {
        let resend = Doubling::new(Some(T2));
        let mut timers = Timers::new();
        timers.set(OkTimer::Resend as usize, resend.first(now));
        timers.set(OkTimer::GiveUp as usize, now + GIVE_UP.into());
        OkRepeat { payload, resend, timers }
    }
}

impl Session {
    /// Takes an INVITE that starts a call (no To tag, unknown Call-ID). A 100 is ready to be polled.
    ///
    /// # Errors
    /// The response to send (none when not even that can be made), when the INVITE cannot be taken: 400 with the defect named, 416 (scheme), 420
    /// (Require), 421 (no 100rel where the terms require it), 422 (session interval), 415 (body), 481 (To tag of a dialog that we do not know), 405
    /// (not an INVITE at all).
    pub fn incoming(
        now: Instant,
        local: Local,
        terms: Terms,
        invite: Request,
        source: SocketAddr,
        mut rng: StdRng,
    ) -> Result<Session, Option<Reply>> {
        let refuse = |fault| stateless::refuse(&invite, source, &local, fault);
        invite.check().map_err(refuse)?;
        if *invite.method() != Method::Invite {
            return Err(refuse(Fault::new(405, "Method Not Allowed")));
        }
        if invite.to().map_err(refuse)?.tag().is_some() {
            return Err(refuse(stateless::NO_CALL));
        }
        stateless::check_scheme(invite.uri()).map_err(refuse)?;
        let refuse_with = |fault, header| stateless::refuse_with(&invite, source, &local, fault, &[header]);
        if let Some(missing) = terms.unsupported(&invite) {
            return Err(refuse_with(Fault::new(420, "Bad Extension"), (HeaderName::Unsupported, missing.as_str())));
        }
        if terms.reliable == Reliability::Required && !supports(&invite, RELIABLE) {
            return Err(refuse_with(Fault::new(421, "Extension Required"), (HeaderName::Require, RELIABLE)));
        }
        if timer::too_brief(&terms, &invite) {
            let least = terms.timer.map_or(SHORTEST_INTERVAL, |timer| timer.min_se.max(SHORTEST_INTERVAL)).to_string();
            return Err(refuse_with(reoffer::TOO_BRIEF, (HeaderName::MinSe, least.as_str())));
        }
        if invite.session_body() == SessionBody::Unsupported {
            return Err(refuse(Fault::new(415, "Unsupported Media Type")));
        }
        let key = Key::of(&invite).map_err(refuse)?;
        let tag = token::tag(&mut rng);
        let dialog = Dialog::callee(&invite, &tag, Target::Addr(source), &mut rng).map_err(refuse)?;
        let call_id = invite.call_id().map_err(refuse)?.to_owned();
        let trying = Writer::reply(&invite, source, 100, "Trying", None).finish("", b"").bytes().to_vec();
        let inbound =
            InviteIn { key, request: invite.clone(), source, initial: true, tx: InviteServer::new(trying), ok: None };
        let offered = invite.session_body().sdp().is_some();
        let mut session = Session {
            local,
            rng,
            call_id,
            invite: invite.clone(),
            side: Side::Callee(Box::new(Callee { tag, reliable: Reliable::default(), ringing: None, farewell: None })),
            phase: Phase::Offered,
            answered_from: None,
            dialog: Some(dialog),
            auth: Authenticator::new(None),
            terms,
            exchange: if offered { Exchange::Theirs } else { Exchange::Unoffered },
            reoffer: None,
            wanted: false,
            peer_updates: false,
            peer_takes_info: true,
            refreshing: Refreshing::new(&terms),
            referral: None,
            refer_refusal: 603,
            referee: Referee::default(),
            invites_out: Vec::new(),
            requests_out: Vec::new(),
            invites_in: vec![inbound],
            requests_in: Vec::new(),
            timers: Timers::new(),
            out: VecDeque::new(),
        };
        session.note_peer(&invite);
        session.settle(now);
        Ok(session)
    }

    pub(super) fn callee(&mut self) -> Option<&mut Callee> {
        match &mut self.side {
            Side::Callee(callee) => Some(callee),
            Side::Caller(_) => None,
        }
    }

    /// Our tag towards the far side, on either side of the call.
    pub(super) fn local_tag(&self) -> String {
        match (&self.side, &self.dialog) {
            (Side::Callee(callee), _) => callee.tag.clone(),
            (_, Some(dialog)) => dialog.local_tag().to_owned(),
            _ => String::new(),
        }
    }

    /// The beginning of a response to an INVITE that establishes or is within the dialog (§12.1.1).
    pub(super) fn dialog_response(&self, inbound: &InviteIn, code: u16, reason: &str) -> Writer<StatusLine> {
        let out = Writer::reply(&inbound.request, inbound.source, code, reason, Some(&self.local_tag()));
        let out = self.describe(out.copy(&inbound.request, HeaderName::RecordRoute));
        out.header(HeaderName::Server, &self.local.user_agent)
    }

    pub(super) fn ring(&mut self, now: Instant, headers: &ExtraHeaders, sdp: Option<Vec<u8>>) {
        if self.phase != Phase::Offered {
            return;
        }
        let Some(at) = self.invites_in.iter().position(|inbound| inbound.initial) else {
            return;
        };
        self.timers.set(Timer::StillRinging as usize, now + STILL_RINGING);
        if self.rings_reliably() {
            return self.ring_reliably(now, headers, sdp);
        }
        // RFC 3264 §5 with RFC 3261 §13.2.1: an offer of ours has to arrive.
        let sdp = sdp.filter(|_| self.exchange == Exchange::Theirs);
        let (code, reason) = if sdp.is_some() { (183, "Session Progress") } else { (180, "Ringing") };
        let out = headers.write(self.dialog_response(&self.invites_in[at], code, reason));
        let payload = out.finish("application/sdp", sdp.as_deref().unwrap_or_default()).bytes().to_vec();
        if let Some(callee) = self.callee() {
            callee.ringing = Some((code, payload.clone()));
        }
        self.invites_in[at].tx.handle(now, ServerInput::Respond(code, payload));
    }

    pub(super) fn ring_again(&mut self, now: Instant) {
        if self.rings_reliably() {
            self.timers.set(Timer::StillRinging as usize, now + STILL_RINGING);
            return self.ring_reliably(now, &ExtraHeaders::default(), None);
        }
        let Some((code, payload)) = self.callee().and_then(|callee| callee.ringing.clone()) else {
            return;
        };
        if let Some(inbound) = self.invites_in.iter_mut().find(|inbound| inbound.initial) {
            inbound.tx.handle(now, ServerInput::Respond(code, payload));
            self.timers.set(Timer::StillRinging as usize, now + STILL_RINGING);
        }
    }

    pub(super) fn answer(&mut self, now: Instant, headers: &ExtraHeaders, sdp: &[u8]) {
        if self.phase != Phase::Offered {
            return;
        }
        let Some(at) = self.invites_in.iter().position(|inbound| inbound.initial) else {
            return;
        };
        let Side::Callee(callee) = &mut self.side else { return };
        if callee.reliable.holds_answer() {
            return callee.reliable.hold(headers, sdp);
        }
        callee.reliable.stop();
        self.phase = Phase::Unacknowledged;
        self.timers.stop(Timer::StillRinging as usize);
        let settled = self.exchange == Exchange::Settled;
        self.exchange = match self.exchange {
            Exchange::Unoffered => Exchange::Ours,
            _ => Exchange::Settled,
        };
        self.accept_invite(now, at, headers, if settled { b"" } else { sdp });
    }

    /// 200 to an INVITE or re-INVITE, repeated until the ACK comes.
    pub(super) fn accept_invite(&mut self, now: Instant, at: usize, headers: &ExtraHeaders, sdp: &[u8]) {
        let out = headers.write(self.dialog_response(&self.invites_in[at], 200, "OK"));
        let request = self.invites_in[at].request.clone();
        let out = self.answer_timer(now, &request, out);
        let payload = out.finish("application/sdp", sdp).bytes().to_vec();
        let inbound = &mut self.invites_in[at];
        inbound.ok = Some(OkRepeat::new(now, payload.clone()));
        inbound.tx.handle(now, ServerInput::Respond(200, payload));
    }

    pub(super) fn reject(&mut self, now: Instant, code: u16, reason: Option<String>, headers: &ExtraHeaders) {
        if self.phase != Phase::Offered {
            return;
        }
        let code = if (300..700).contains(&code) { code } else { 480 };
        if let Some(at) = self.invites_in.iter().position(|inbound| inbound.initial) {
            self.refuse_invite(now, at, code, reason, headers);
        }
        self.end(now, Event::Cancelled { by_peer: false, reasons: Vec::new() });
    }

    pub(super) fn refuse_invite(
        &mut self,
        now: Instant,
        at: usize,
        code: u16,
        reason: Option<String>,
        headers: &ExtraHeaders,
    ) {
        let tag = self.local_tag();
        let inbound = &mut self.invites_in[at];
        let reason = reason.as_deref().unwrap_or(default_reason(code));
        let out = Writer::reply(&inbound.request, inbound.source, code, reason, Some(&tag));
        let out = headers.write(out).header(HeaderName::Server, &self.local.user_agent);
        let payload = out.finish("", b"").bytes().to_vec();
        inbound.tx.handle(now, ServerInput::Respond(code, payload));
    }

    /// ACK: to a refusal it ends a transaction's repeats; to a 2xx it confirms the dialog (§13.3.1.4).
    pub(super) fn receive_ack(&mut self, now: Instant, ack: &Request) {
        let Ok(cseq) = ack.cseq() else { return };
        let key = Key::of_invite(ack).ok();
        let same = |inbound: &InviteIn| {
            inbound.request.cseq().is_ok_and(|c| c.number == cseq.number)
                && (inbound.ok.is_some() || Some(&inbound.key) == key.as_ref())
        };
        let Some(inbound) = self.invites_in.iter_mut().find(|inbound| same(inbound)) else {
            return;
        };
        if inbound.ok.is_none() {
            return inbound.tx.handle(now, ServerInput::Ack);
        }
        if !self.dialog.as_ref().is_some_and(|dialog| dialog.owns(ack)) {
            return;
        }
        inbound.ok = None;
        let initial = inbound.initial;
        let late = self.exchange == Exchange::Ours && inbound.request.session_body().sdp().is_none();
        if late {
            self.exchange = Exchange::Settled;
        }
        let sdp = ack.session_body().sdp().filter(|_| late).map(<[u8]>::to_vec);
        match (initial, self.phase) {
            (true, Phase::Unacknowledged) => {
                self.phase = Phase::Up;
                self.event(Event::Confirmed { sdp });
            }
            (false, Phase::Up) => self.event(Event::ReofferConfirmed { sdp }),
            (true, Phase::Over) => self.send_held_bye(now),
            _ => {}
        }
    }

    fn send_held_bye(&mut self, now: Instant) {
        if let Some(farewell) = self.callee().and_then(|callee| callee.farewell.take()) {
            self.send_bye(now, farewell);
        }
    }

    /// §13.3.1.4 and §14.2: no ACK in 64·T1 ends the call with a BYE.
    pub(super) fn never_acknowledged(&mut self, now: Instant) {
        if self.phase == Phase::Over {
            return self.send_held_bye(now);
        }
        self.send_bye(now, Farewell::default());
        self.end(now, Event::Failed(Failure::NoAck));
    }

    /// CANCEL is answered 200 whenever its INVITE is known; it ends only one that is unanswered (§9.2).
    pub(super) fn receive_cancel(&mut self, now: Instant, cancel: Request, source: SocketAddr, key: Key) {
        let invite = Key::of_invite(&cancel).ok();
        let found = self.invites_in.iter().position(|inbound| Some(&inbound.key) == invite.as_ref());
        let Some(at) = found else {
            return self.respond_new(now, cancel, source, key, stateless::NO_CALL);
        };
        let reasons = cancel.reasons();
        self.respond_new(now, cancel, source, key, Fault::new(200, "OK"));
        if !self.invites_in[at].tx.is_pending() {
            return;
        }
        self.refuse_invite(now, at, 487, None, &ExtraHeaders::default());
        if self.invites_in[at].initial {
            self.end(now, Event::Cancelled { by_peer: true, reasons });
        } else {
            self.reoffer = None;
            self.exchange = Exchange::Settled;
            self.event(Event::ReofferWithdrawn);
        }
    }
}
