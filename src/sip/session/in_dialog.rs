//! RFC 3261 §12.2 and §15, RFC 6086: requests within the dialog, both ways.

use super::reoffer::tag_of;
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
        if fault.is_none() {
            self.note_peer(&request);
        }
        match (fault, request.method()) {
            (Some(fault), _) => self.respond_new(now, request, source, key, fault),
            (None, Method::Invite) => self.receive_reinvite(now, request, source, key),
            (None, Method::Update) => self.receive_update(now, request, source, key),
            (None, Method::Prack) => self.receive_prack(now, request, source, key),
            (None, Method::Bye) => self.receive_bye(now, request, source, key),
            (None, Method::Notify) => self.receive_notify(now, request, source, key),
            (None, Method::Refer) => self.receive_refer(now, request, source, key),
            (None, Method::Info) if is_of_a_package(&request) => {
                self.respond_new(now, request, source, key, Fault::new(469, "Bad Info Package"));
            }
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
        let from = request.from().ok().and_then(|from| from.tag().map(|tag| tag.into_owned())).unwrap_or_default();
        let bye = *request.method() == Method::Bye;
        // Once a callee has answered, the other ones' early dialogs are gone: they may say goodbye.
        let early = self.phase == Phase::Inviting || bye;
        let dialog = self.dialog_with(&from).filter(|dialog| dialog.owns(request));
        let owned = dialog.is_some();
        let late = dialog.is_some_and(|dialog| {
            let number = request.cseq().map_or(0, |cseq| cseq.number);
            dialog.order(number) == Order::Old
        });
        let main = self.dialog.as_ref().is_some_and(|dialog| dialog.owns(request));
        if !(main || owned && early || bye && self.is_stray_branch(request)) {
            return Some(stateless::NO_CALL);
        }
        // A BYE that crosses ours, or one of a fork's branch that we hung up; and what became of a REFER.
        let outcome = *request.method() == Method::Notify && self.was_referred();
        if self.phase == Phase::Over && !bye && !outcome {
            return Some(stateless::NO_CALL);
        }
        if late {
            return Some(Fault::new(500, "CSeq Out Of Order"));
        }
        if self.terms.unsupported(request).is_some() {
            return Some(Fault::new(420, "Bad Extension"));
        }
        None
    }

    /// Whether it comes from a branch of our fork whose answer we did not want.
    fn is_stray_branch(&mut self, request: &Request) -> bool {
        let ours = self.invite.from().ok().and_then(|from| from.tag().map(|tag| tag.into_owned()));
        let to = request.to().ok().and_then(|to| to.tag().map(|tag| tag.into_owned()));
        let from = request.from().ok().and_then(|from| from.tag().map(|tag| tag.into_owned())).unwrap_or_default();
        ours == to && self.caller().is_some_and(|caller| caller.acks.iter().any(|acked| acked.tag == from))
    }

    /// Answers a request that is new, with a server transaction to absorb its repeats. Of an INVITE this
    /// makes a whole INVITE transaction.
    pub(super) fn respond_new(&mut self, now: Instant, request: Request, source: SocketAddr, key: Key, fault: Fault) {
        if *request.method() == Method::Invite {
            self.open_invite(now, request, source, key);
            let at = self.invites_in.len() - 1;
            let mut headers = ExtraHeaders::default();
            if fault.code == 420 {
                headers.push(HeaderName::Unsupported, self.terms.unsupported(&self.invites_in[at].request));
            }
            if fault.code == 422 {
                headers.push(HeaderName::MinSe, Some(self.min_se()));
            }
            if fault.code == 415 {
                headers.push(HeaderName::Accept, Some(ACCEPT.to_owned()));
                headers.push(HeaderName::AcceptEncoding, Some(ACCEPT_ENCODING.to_owned()));
            }
            if fault.code == 500 {
                headers.push(HeaderName::RetryAfter, Some(self.retry_after()));
            }
            return self.refuse_invite(now, at, fault.code, Some(fault.reason.to_owned()), &headers);
        }
        self.requests_in.push(RequestIn { key, request, source, tx: Server::new() });
        self.respond(now, self.requests_in.len() - 1, fault, b"");
    }

    pub(super) fn respond(&mut self, now: Instant, at: usize, fault: Fault, sdp: &[u8]) {
        self.respond_with(now, at, fault, &ExtraHeaders::default(), sdp);
    }

    pub(super) fn respond_with(&mut self, now: Instant, at: usize, fault: Fault, headers: &ExtraHeaders, sdp: &[u8]) {
        let tag = self.local_tag();
        let request = self.requests_in[at].request.clone();
        let method = request.method();
        let mut out = Writer::reply(&request, self.requests_in[at].source, fault.code, fault.reason, Some(&tag));
        out = match (fault.code, method) {
            (200, Method::Options) => {
                let out = self.describe(out);
                stateless::accepts(out)
            }
            (200, Method::Update) => {
                let out = self.describe(out);
                // RFC 4028 §9: in a call that is up it refreshes the session.
                let up = matches!(self.phase, Phase::Unacknowledged | Phase::Up);
                if up { self.answer_timer(now, &request, out) } else { out }
            }
            (405 | 501, _) => out.header(HeaderName::Allow, ALLOW),
            (415, _) => stateless::accepts(out),
            // RFC 6086 §4.2.2: with what is taken, which is none.
            (469, _) => out.header(HeaderName::RecvInfo, ""),
            (420, _) => out.header(HeaderName::Unsupported, &self.terms.unsupported(&request).unwrap_or_default()),
            (422, _) => out.header(HeaderName::MinSe, &self.min_se()),
            (500, _) => out.header(HeaderName::RetryAfter, &self.retry_after()),
            (489, _) => out.header(HeaderName::AllowEvents, "refer"),
            _ => out,
        };
        out = headers.write(out).header(HeaderName::Server, &self.local.user_agent);
        let payload = out.finish("application/sdp", sdp).bytes().to_vec();
        self.requests_in[at].tx.handle(now, ServerInput::Respond(fault.code, payload));
    }

    /// §14.2: between 0 and 10 seconds, at random.
    fn retry_after(&mut self) -> String {
        (rand::Rng::next_u32(&mut self.rng) % 11).to_string()
    }

    pub(super) fn open_invite(&mut self, now: Instant, request: Request, source: SocketAddr, key: Key) {
        let trying = Writer::reply(&request, source, 100, "Trying", None).finish("", b"").bytes().to_vec();
        let tx = InviteServer::new(trying);
        self.invites_in.push(InviteIn { key, request, source, initial: false, tx, ok: None });
        self.settle(now);
    }

    fn receive_bye(&mut self, now: Instant, request: Request, source: SocketAddr, key: Key) {
        let reasons = request.reasons();
        let tag = tag_of(&request);
        let owned = self.dialog.as_ref().is_some_and(|dialog| dialog.owns(&request));
        let stray = self.is_stray_branch(&request);
        if owned && self.phase != Phase::Over {
            self.tell_user_to_user(Carrier::Bye, &request);
        }
        self.respond_new(now, request, source, key, OK);
        for inbound in self.invites_in.iter_mut().filter(|_| owned) {
            inbound.ok = None;
        }
        if let Side::Callee(callee) = &mut self.side {
            callee.farewell = None;
        }
        // §15 forbids it, and it is done: of a fork, the others ring on.
        if self.phase == Phase::Inviting && self.hang_up_early(&tag) {
            return;
        }
        match self.phase {
            // It answered when its address had been given up: the call is elsewhere.
            Phase::Inviting if stray => {}
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

    /// The beginning of a new request in the call's dialog, with credentials for it and its body; `None` without a dialog.
    pub(super) fn begin(&mut self, method: Method, body: &[u8]) -> Option<(Writer<RequestLine>, Target)> {
        let tag = self.dialog.as_ref()?.remote_tag().to_owned();
        self.begin_with(&tag, method, body)
    }

    /// As [`Session::begin`], in the dialog with whoever has this tag.
    pub(super) fn begin_with(
        &mut self,
        tag: &str,
        method: Method,
        body: &[u8],
    ) -> Option<(Writer<RequestLine>, Target)> {
        let branch = token::branch(&mut self.rng);
        let local = self.local.clone();
        let (out, to) = self.dialog_with(tag)?.request(method.clone(), &local, &branch);
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
        let mut answer = None;
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
                answer.insert(response).code()
            }
            // §8.1.3.1: a timeout counts as 408, a transport error as 503.
            ClientAction::TimedOut => 408,
            ClientAction::Unreachable => {
                // Who cannot be asked to stop will not say that it has: nothing is waited for.
                if matches!(self.requests_out[at].purpose, Purpose::Cancel) {
                    self.timers.set(Timer::Cancelled as usize, now);
                }
                503
            }
        };
        if let Purpose::Notify(Note { last, .. }) = self.requests_out[at].purpose {
            return self.notify_answered(now, code, last);
        }
        if let Purpose::Refer(_) = self.requests_out[at].purpose {
            self.refer_answered(now, code, answer.as_ref());
            // RFC 5057 §5.1: a REFER that times out says nothing of the dialog.
            if code == 481 && self.phase == Phase::Up {
                self.send_bye(now, Farewell::default());
                self.end(now, Event::Failed(Failure::Lost));
            }
            return;
        }
        if let Purpose::Update { .. } = self.requests_out[at].purpose {
            return self.update_answered(now, at, code, answer.as_ref());
        }
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
        if matches!(purpose, Purpose::Cancel | Purpose::StrayCancel | Purpose::StrayBye)
            || self.auth.challenged(response, tried).is_err()
        {
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
            Purpose::Prack { tag, rack, sdp } => self.send_prack(now, &tag, rack, sdp),
            Purpose::Update { tag, sdp } => self.send_update(now, &tag, sdp),
            Purpose::Refer(refer) => return self.refer_again(now, &refer),
            Purpose::Notify(note) => self.send_notify(now, note),
            Purpose::Cancel | Purpose::StrayCancel | Purpose::StrayBye => return false,
        }
        true
    }
}

/// The most transactions of the far side that are kept at a time.
const MAX_OPEN: usize = 64;

const OK: Fault = Fault::new(200, "OK");

/// RFC 6086 §5: an INFO of a package that we have not said we take. Keys are taken whatever stands beside them.
fn is_of_a_package(info: &Request) -> bool {
    let keys = info
        .text(HeaderName::ContentType)
        .is_some_and(|kind| kind.get(..16).is_some_and(|start| start.eq_ignore_ascii_case("application/dtmf")));
    info.text(HeaderName::InfoPackage).is_some() && !keys
}
