//! RFC 3261 §12.2, §14 and §15, RFC 3311, RFC 6086: requests within the dialog, both ways.

use super::*;
use crate::sip::dialog::Order;

impl Session {
    pub(super) fn receive_request(&mut self, now: Instant, request: Request, source: SocketAddr) {
        if let Err(fault) = request.check() {
            if let Some(reply) = stateless::refuse(&request, source, &self.local, fault) {
                self.transmit(Target::Addr(reply.to), reply.payload);
            }
            return;
        }
        if *request.method() == Method::Ack {
            return self.receive_ack(now, &request);
        }
        let Ok(key) = Key::of(&request) else { return };
        if let Some(inbound) = self.invites_in.iter_mut().find(|inbound| inbound.key == key) {
            return inbound.tx.handle(now, ServerInput::Retransmission);
        }
        if let Some(inbound) = self.requests_in.iter_mut().find(|inbound| inbound.key == key) {
            return inbound.tx.handle(now, ServerInput::Retransmission);
        }
        // More than any peer in its right mind has open at once: whoever it is gets no memory of ours.
        if self.requests_in.len() + self.invites_in.len() >= MAX_OPEN {
            return;
        }
        if *request.method() == Method::Cancel {
            return self.receive_cancel(now, request, source, key);
        }
        let fault = self.screen(&request);
        match (fault, request.method()) {
            (Some(fault), _) => self.respond_new(now, request, source, key, fault),
            (None, Method::Invite) => self.receive_reinvite(now, request, source, key),
            (None, Method::Update) => self.receive_update(now, request, source, key),
            (None, Method::Bye) => self.receive_bye(now, request, source, key),
            (None, Method::Info) => {
                let content_type = request.text(HeaderName::ContentType).map(|t| t.into_owned());
                let body = request.body().to_vec();
                self.respond_new(now, request, source, key, OK);
                self.event(Event::Info { content_type, body });
            }
            (None, _) => self.respond_new(now, request, source, key, OK),
        }
    }

    /// What refuses a request before its method is looked at (§8.2, §12.2.2).
    fn screen(&mut self, request: &Request) -> Option<Fault> {
        if let Some(fault) = stateless::untaken(request.method()) {
            return Some(fault);
        }
        if request.to().is_ok_and(|to| to.tag().is_none()) {
            return match request.method() {
                // §8.2.2.2: the same call on a second path, or our own call come back to us.
                Method::Invite => Some(Fault::new(482, "Loop Detected")),
                Method::Options => None,
                _ => Some(stateless::NO_CALL),
            };
        }
        let early = self.is_early_branch(request);
        let owned = self.dialog.as_ref().is_some_and(|dialog| dialog.owns(request));
        if !owned && !early {
            return Some(stateless::NO_CALL);
        }
        // A BYE that crosses ours, or one of a fork's branch that we hung up.
        if self.phase == Phase::Over && *request.method() != Method::Bye {
            return Some(stateless::NO_CALL);
        }
        if owned {
            let number = request.cseq().map_or(0, |cseq| cseq.number);
            if self.dialog.as_mut().is_some_and(|dialog| dialog.order(number) == Order::Old) {
                return Some(Fault::new(500, "CSeq Out Of Order"));
            }
        }
        if stateless::unsupported(request).is_some() {
            return Some(Fault::new(420, "Bad Extension"));
        }
        None
    }

    /// Whether it comes from a branch of our fork that has no dialog of its own here.
    fn is_early_branch(&mut self, request: &Request) -> bool {
        let ours = self.invite.from().ok().and_then(|from| from.tag().map(|tag| tag.into_owned()));
        let to = request.to().ok().and_then(|to| to.tag().map(|tag| tag.into_owned()));
        let from = request.from().ok().and_then(|from| from.tag().map(|tag| tag.into_owned())).unwrap_or_default();
        let Some(caller) = self.caller() else {
            return false;
        };
        let known = caller.early.iter().any(|early| early.tag == from) || caller.acks.iter().any(|a| a.tag == from);
        known && ours == to
    }

    /// Answers a request that is new, with a server transaction to absorb its repeats. Of an INVITE this
    /// makes a whole INVITE transaction.
    pub(super) fn respond_new(&mut self, now: Instant, request: Request, source: SocketAddr, key: Key, fault: Fault) {
        if *request.method() == Method::Invite {
            self.open_invite(now, request, source, key);
            let at = self.invites_in.len() - 1;
            let mut headers = ExtraHeaders::default();
            if fault.code == 420 {
                headers.push(HeaderName::Unsupported, stateless::unsupported(&self.invites_in[at].request));
            }
            if fault.code == 500 {
                headers.push(HeaderName::RetryAfter, Some(self.retry_after()));
            }
            return self.refuse_invite(now, at, fault.code, Some(fault.reason.to_owned()), &headers);
        }
        self.requests_in.push(RequestIn { key, request, source, tx: Server::new() });
        self.respond(now, self.requests_in.len() - 1, fault, b"");
    }

    fn respond(&mut self, now: Instant, at: usize, fault: Fault, sdp: &[u8]) {
        let tag = self.local_tag();
        let retry_after = if fault.code == 500 { Some(self.retry_after()) } else { None };
        let inbound = &mut self.requests_in[at];
        let method = inbound.request.method();
        let mut out = Writer::reply(&inbound.request, inbound.source, fault.code, fault.reason, Some(&tag));
        out = match (fault.code, method) {
            (200, Method::Options) => stateless::describe_options(out, &self.local),
            (200, Method::Update) => self.local.describe(out, method),
            (405 | 501, _) => out.header(HeaderName::Allow, ALLOW),
            _ => out,
        };
        if fault.code == 420 {
            out = out.header(HeaderName::Unsupported, &stateless::unsupported(&inbound.request).unwrap_or_default());
        }
        if let Some(seconds) = retry_after {
            out = out.header(HeaderName::RetryAfter, &seconds);
        }
        let payload = out.finish("application/sdp", sdp).bytes().to_vec();
        inbound.tx.handle(now, ServerInput::Respond(fault.code, payload));
    }

    /// §14.2: between 0 and 10 seconds, at random.
    fn retry_after(&mut self) -> String {
        (rand::Rng::next_u32(&mut self.rng) % 11).to_string()
    }

    fn open_invite(&mut self, now: Instant, request: Request, source: SocketAddr, key: Key) {
        let trying = Writer::reply(&request, source, 100, "Trying", None).finish("", b"").bytes().to_vec();
        let tx = InviteServer::new(trying);
        self.invites_in.push(InviteIn { key, request, source, initial: false, tx, ok: None });
        self.settle(now);
    }

    /// What stands in the way of a new offer from the far side (§14.2, RFC 3311 §5.2).
    fn offer_conflict(&self) -> Option<Fault> {
        match self.phase {
            Phase::Inviting => Some(Fault::new(491, "Request Pending")),
            Phase::Offered => Some(Fault::new(500, "Offer Pending")),
            // Before the ACK to our offer in a 2xx, it is ours that is pending.
            Phase::Unacknowledged if self.offer().is_none() => Some(Fault::new(491, "Request Pending")),
            _ if self.reoffer.is_some() => Some(Fault::new(500, "Offer Pending")),
            _ if self.invites_in.iter().any(|i| i.ok.is_some() && i.request.session_body().sdp().is_none()) => {
                Some(Fault::new(491, "Request Pending"))
            }
            _ => None,
        }
    }

    fn receive_reinvite(&mut self, now: Instant, request: Request, source: SocketAddr, key: Key) {
        let fault = match request.session_body() {
            SessionBody::Unsupported => Some(Fault::new(415, "Unsupported Media Type")),
            _ => self.offer_conflict(),
        };
        if let Some(fault) = fault {
            return self.respond_new(now, request, source, key, fault);
        }
        let sdp = request.session_body().sdp().map(<[u8]>::to_vec);
        self.open_invite(now, request, source, key.clone());
        self.reoffer = Some(key);
        self.event(Event::Reoffer { sdp });
    }

    fn receive_update(&mut self, now: Instant, request: Request, source: SocketAddr, key: Key) {
        let sdp = match request.session_body() {
            SessionBody::Unsupported => {
                return self.respond_new(now, request, source, key, Fault::new(415, "Unsupported Media Type"));
            }
            body => body.sdp().map(<[u8]>::to_vec),
        };
        if sdp.is_none() {
            self.refresh(&request);
            return self.respond_new(now, request, source, key, OK);
        }
        if let Some(fault) = self.offer_conflict() {
            return self.respond_new(now, request, source, key, fault);
        }
        self.requests_in.push(RequestIn { key: key.clone(), request, source, tx: Server::new() });
        self.reoffer = Some(key);
        self.event(Event::Reoffer { sdp });
    }

    fn refresh(&mut self, request: &Request) {
        if let (Some(dialog), Ok(contact)) = (&mut self.dialog, request.contact()) {
            dialog.refresh(contact);
        }
    }

    pub(super) fn answer_reoffer(&mut self, now: Instant, sdp: &[u8]) {
        let Some(key) = self.reoffer.take() else {
            return;
        };
        if let Some(at) = self.invites_in.iter().position(|inbound| inbound.key == key) {
            let request = self.invites_in[at].request.clone();
            self.refresh(&request);
            self.accept_invite(now, at, &ExtraHeaders::default(), sdp);
        } else if let Some(at) = self.requests_in.iter().position(|inbound| inbound.key == key) {
            let request = self.requests_in[at].request.clone();
            self.refresh(&request);
            self.respond(now, at, OK, sdp);
        }
    }

    pub(super) fn reject_reoffer(&mut self, now: Instant, code: u16) {
        let Some(key) = self.reoffer.take() else {
            return;
        };
        let code = if (300..700).contains(&code) { code } else { 488 };
        if let Some(at) = self.invites_in.iter().position(|inbound| inbound.key == key) {
            self.refuse_invite(now, at, code, None, &ExtraHeaders::default());
        } else if let Some(at) = self.requests_in.iter().position(|inbound| inbound.key == key) {
            let fault = Fault::new(code, default_reason(code));
            self.respond(now, at, fault, b"");
        }
    }

    fn receive_bye(&mut self, now: Instant, request: Request, source: SocketAddr, key: Key) {
        let reasons = request.reasons();
        let owned = self.dialog.as_ref().is_some_and(|dialog| dialog.owns(&request));
        self.respond_new(now, request, source, key, OK);
        for inbound in &mut self.invites_in {
            inbound.ok = None;
        }
        if let Side::Callee(callee) = &mut self.side {
            callee.farewell = None;
        }
        match self.phase {
            // §15.1.2: BYE of an early dialog; the INVITE is answered 487 by `end`.
            Phase::Offered => self.end(now, Event::Cancelled { by_peer: true, reasons }),
            // Our 2xx to come is lost, or the callee breaks §15: either way it is gone.
            Phase::Inviting => {
                self.cancel(now, Farewell::default());
                self.end(now, Event::Cancelled { by_peer: true, reasons });
            }
            Phase::Unacknowledged | Phase::Up if owned => self.end(now, Event::Ended { by_peer: true, reasons }),
            _ => {}
        }
    }

    /// Adds the credentials of realms that have challenged us before.
    pub(super) fn authenticate(
        &mut self,
        mut out: Writer<RequestLine>,
        method: &Method,
        body: &[u8],
    ) -> Writer<RequestLine> {
        let uri = out.uri().clone();
        for (name, value) in self.auth.headers_with(method, uri.without_headers(), body, &mut self.rng) {
            out = out.header(name, &value);
        }
        out
    }

    /// The beginning of a new request in the dialog, with credentials for it and its body; `None` without a dialog.
    fn begin(&mut self, method: Method, body: &[u8]) -> Option<(Writer<RequestLine>, Target)> {
        let branch = token::branch(&mut self.rng);
        let (out, to) = self.dialog.as_mut()?.request(method.clone(), &self.local, &branch);
        let out = self.authenticate(out, &method, body);
        Some((out.header(HeaderName::UserAgent, &self.local.user_agent), to))
    }

    pub(super) fn send_bye(&mut self, now: Instant, farewell: Farewell) {
        let Some((mut out, to)) = self.begin(Method::Bye, b"") else {
            return;
        };
        if let Some(reason) = &farewell.reason {
            out = out.header(HeaderName::Reason, &reason.to_string());
        }
        let bye = farewell.headers.write(out).finish("", b"");
        self.requests_out.push(RequestOut { to, purpose: Purpose::Bye(farewell), tx: Client::new(now, bye) });
    }

    pub(super) fn send_info(&mut self, now: Instant, content_type: String, body: Vec<u8>) {
        let begun = if matches!(self.phase, Phase::Up) { self.begin(Method::Info, &body) } else { None };
        let Some((out, to)) = begun else {
            return self.event(Event::InfoAnswered { code: 481 });
        };
        let info = out.finish(&content_type, &body);
        let purpose = Purpose::Info { content_type, body };
        self.requests_out.push(RequestOut { to, purpose, tx: Client::new(now, info) });
    }

    pub(super) fn request_action(&mut self, now: Instant, at: usize, action: ClientAction) {
        let code = match action {
            ClientAction::Transmit(payload) => {
                return self.transmit(self.requests_out[at].to.clone(), payload);
            }
            ClientAction::Response(response) if response.code() < 200 => return,
            ClientAction::Response(response) => {
                if matches!(response.code(), 401 | 407) && self.send_again(now, at, &response) {
                    return;
                }
                if response.code() < 300 {
                    self.auth.accepted_with(&response);
                }
                response.code()
            }
            // §8.1.3.1: a timeout counts as 408, a transport error as 503.
            ClientAction::TimedOut => 408,
            ClientAction::Unreachable => 503,
        };
        if let Purpose::Info { .. } = self.requests_out[at].purpose {
            self.event(Event::InfoAnswered { code });
            // §12.2.1.2: the far side has lost the dialog.
            if matches!(code, 408 | 481) && self.phase == Phase::Up {
                self.send_bye(now, Farewell::default());
                self.end(now, Event::Failed(Failure::Lost));
            }
        }
    }

    /// The same request once more, with the credentials that were asked for.
    fn send_again(&mut self, now: Instant, at: usize, response: &Response) -> bool {
        let tried = caller::has_credentials(self.requests_out[at].tx.request());
        let purpose = self.requests_out[at].purpose.clone();
        // §22.1: CANCEL cannot be challenged, and the branch of a fork is not worth it.
        if matches!(purpose, Purpose::Cancel | Purpose::StrayBye) || self.auth.challenged(response, tried).is_err() {
            return false;
        }
        match purpose {
            Purpose::Bye(farewell) => self.send_bye(now, farewell),
            Purpose::Info { content_type, body } => {
                let Some((out, to)) = self.begin(Method::Info, &body) else {
                    return false;
                };
                let info = out.finish(&content_type, &body);
                let purpose = Purpose::Info { content_type, body };
                self.requests_out.push(RequestOut { to, purpose, tx: Client::new(now, info) });
            }
            Purpose::Cancel | Purpose::StrayBye => return false,
        }
        true
    }
}

/// The most transactions of the far side that are kept at a time.
const MAX_OPEN: usize = 64;

const OK: Fault = Fault::new(200, "OK");
