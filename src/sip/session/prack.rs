//! RFC 3262: provisional responses that arrive, and the PRACK that says so.
//!
//! ```text
//! caller                              callee
//!  INVITE (Supported: 100rel)  ────►
//!        ◄──── 183 (Require: 100rel, RSeq: 7)      repeated at 0.5 s, 1.5 s, 3.5 s … until the PRACK comes
//!  PRACK (RAck: 7 1 INVITE)    ────►
//!        ◄──── 200 to the PRACK                    only now another provisional response, or the 200 of a 183 with SDP
//! ```

use std::fmt;

use super::terms::{RELIABLE, lists, supports};
use super::*;

/// Which provisional response of which request: RSeq and RAck (§7.1, §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) rseq: u32,
    cseq: u32,
}

impl Place {
    /// Of a response to an INVITE that is to be acknowledged.
    pub(super) fn of_response(response: &Response) -> Option<Place> {
        if !lists(response, HeaderName::Require, RELIABLE) {
            return None;
        }
        let rseq = response.text(HeaderName::RSeq)?.trim().parse().ok().filter(|rseq| *rseq > 0)?;
        Some(Place { rseq, cseq: response.cseq().ok()?.number })
    }

    /// Of a PRACK.
    fn of_prack(prack: &Request) -> Result<Place, Fault> {
        let value = prack.text(HeaderName::RAck).ok_or(Fault::bad("Missing RAck"))?;
        let mut parts = value.split_ascii_whitespace();
        let mut number = || parts.next().and_then(|n| n.parse().ok()).ok_or(Fault::bad("Malformed RAck"));
        let place = Place { rseq: number()?, cseq: number()? };
        match (parts.next(), parts.next()) {
            (Some("INVITE"), None) => Ok(place),
            _ => Err(Fault::bad("Malformed RAck")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} INVITE", self.rseq, self.cseq)
    }
}

/// The callee's provisional responses.
#[derive(Debug, Default)]
pub(super) struct Reliable {
    last: u32,
    open: Option<Open>,
    /// §3: only one at a time; these wait for its PRACK.
    waiting: VecDeque<(ExtraHeaders, Option<Vec<u8>>)>,
    /// §3: no 2xx before the PRACK to a response with SDP.
    answer: Option<(ExtraHeaders, Vec<u8>)>,
}

/// One that was sent and not acknowledged.
#[derive(Debug)]
struct Open {
    place: Place,
    payload: Vec<u8>,
    described: bool,
    resend: Doubling,
    timers: Timers<2>,
}

#[derive(Clone, Copy)]
enum Wake {
    Resend,
    GiveUp,
}

impl Reliable {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.as_ref().and_then(|open| open.timers.deadline())
    }

    /// Whether the PRACK to a response with SDP is missing.
    pub(super) fn holds_answer(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.described)
    }

    pub(super) fn hold(&mut self, headers: &ExtraHeaders, sdp: &[u8]) {
        self.answer = Some((headers.clone(), sdp.to_vec()));
    }

    /// After a final response nothing is repeated; a PRACK on its way is welcome still.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        self.answer = None;
        if let Some(open) = &mut self.open {
            open.timers.stop_all();
        }
    }
}

impl Session {
    /// Whether our provisional responses are acknowledged (§3).
    pub(super) fn rings_reliably(&self) -> bool {
        self.terms.reliable != Reliability::Off && supports(&self.invite, RELIABLE)
    }

    /// Sends a provisional response reliably, once the one before was acknowledged.
    pub(super) fn ring_reliably(&mut self, now: Instant, headers: &ExtraHeaders, sdp: Option<Vec<u8>>) {
        let Side::Callee(callee) = &mut self.side else { return };
        let reliable = &mut callee.reliable;
        if reliable.open.is_some() {
            reliable.waiting.push_back((headers.clone(), sdp));
            return;
        }
        let Some(at) = self.invites_in.iter().position(|inbound| inbound.initial) else { return };
        // §3: the first one is anything from 1 to 2³¹ − 1.
        reliable.last = match reliable.last {
            0 => 1 + (rand::Rng::next_u32(&mut self.rng) & 0xffff),
            last => last + 1,
        };
        let cseq = self.invites_in[at].request.cseq().map_or(0, |cseq| cseq.number);
        let place = Place { rseq: reliable.last, cseq };
        // RFC 6337 §2.2: the answer is given once. Our offer, of an INVITE that had none, may be in it too.
        let sdp = sdp.filter(|_| matches!(self.exchange, Exchange::Theirs | Exchange::Unoffered));
        if sdp.is_some() && self.exchange == Exchange::Unoffered {
            self.exchange = Exchange::Ours;
        }
        let (code, reason) = if sdp.is_some() { (183, "Session Progress") } else { (180, "Ringing") };
        let out = headers.write(self.dialog_response(&self.invites_in[at], code, reason));
        let out = out.header(HeaderName::Require, RELIABLE).header(HeaderName::RSeq, &place.rseq.to_string());
        let payload = out.finish("application/sdp", sdp.as_deref().unwrap_or_default()).bytes().to_vec();
        let resend = Doubling::new(None);
        let mut timers = Timers::new();
        timers.set(Wake::Resend as usize, resend.first(now));
        timers.set(Wake::GiveUp as usize, now + GIVE_UP.into());
        let open = Open { place, payload: payload.clone(), described: sdp.is_some(), resend, timers };
        if let Side::Callee(callee) = &mut self.side {
            callee.reliable.open = Some(open);
        }
        self.invites_in[at].tx.handle(now, ServerInput::Respond(code, payload));
    }

    /// Repeats what is not acknowledged, and gives up after 64·T1 (§3).
    pub(super) fn wake_reliable(&mut self, now: Instant) {
        let Some(open) = self.callee().and_then(|callee| callee.reliable.open.as_mut()) else { return };
        if open.timers.take_due(Wake::GiveUp as usize, now) {
            open.timers.stop_all();
            if let Some(at) = self.invites_in.iter().position(|inbound| inbound.initial) {
                self.refuse_invite(now, at, 504, None, &ExtraHeaders::default());
            }
            return self.end(now, Event::Failed(Failure::NoPrack));
        }
        if !open.timers.take_due(Wake::Resend as usize, now) {
            return;
        }
        open.timers.set(Wake::Resend as usize, open.resend.next(now));
        let payload = open.payload.clone();
        if let Some(inbound) = self.invites_in.iter().find(|inbound| inbound.initial) {
            let to = Target::Addr(inbound.request.reply_to(inbound.source));
            self.transmit(to, payload);
        }
    }

    /// Callee: the PRACK; 481 when nothing waits for it (§3).
    pub(super) fn receive_prack(&mut self, now: Instant, request: Request, source: SocketAddr, key: Key) {
        let place = match Place::of_prack(&request) {
            Ok(place) => place,
            Err(fault) => return self.respond_new(now, request, source, key, fault),
        };
        if request.session_body() == SessionBody::Unsupported {
            return self.respond_new(now, request, source, key, Fault::new(415, "Unsupported Media Type"));
        }
        let sdp = request.session_body().sdp().map(<[u8]>::to_vec);
        let open = self.callee().and_then(|callee| callee.reliable.open.take_if(|open| open.place == place));
        let Some(open) = open else {
            return self.respond_new(now, request, source, key, stateless::NO_CALL);
        };
        match (self.exchange, open.described) {
            // §5: our offer was in the response, the answer is here. Without one the 200 has to offer again.
            (Exchange::Ours, true) => {
                self.respond_new(now, request, source, key, Fault::new(200, "OK"));
                self.exchange = if sdp.is_some() { Exchange::Settled } else { Exchange::Unoffered };
                if sdp.is_some() {
                    self.event(Event::ReofferConfirmed { sdp });
                }
                return self.acknowledged(now);
            }
            (Exchange::Theirs, true) => self.exchange = Exchange::Settled,
            _ => {}
        }
        if sdp.is_none() {
            self.respond_new(now, request, source, key, Fault::new(200, "OK"));
            return self.acknowledged(now);
        }
        // A new offer. Refused, it leaves the provisional response acknowledged all the same.
        if let Some(fault) = self.offer_conflict(self.exchange) {
            self.respond_new(now, request, source, key, fault);
            return self.acknowledged(now);
        }
        self.hear_offer(key, request, source, sdp);
    }

    /// Callee: what has waited for a PRACK goes on.
    pub(super) fn acknowledged(&mut self, now: Instant) {
        let Side::Callee(callee) = &mut self.side else { return };
        if callee.reliable.open.is_some() || self.reoffer.is_some() || self.phase != Phase::Offered {
            return;
        }
        if let Some((headers, sdp)) = callee.reliable.answer.take() {
            return self.answer(now, &headers, &sdp);
        }
        if let Some((headers, sdp)) = callee.reliable.waiting.pop_front() {
            self.ring_reliably(now, &headers, sdp);
        }
    }

    /// Caller: acknowledges a provisional response, with our answer when it had the offer (§4, §5).
    pub(super) fn send_prack(&mut self, now: Instant, tag: &str, rack: String, sdp: Vec<u8>) {
        let Some((out, to)) = self.begin_with(tag, Method::Prack, &sdp) else { return };
        let prack = out.header(HeaderName::RAck, &rack).finish("application/sdp", &sdp);
        let purpose = Purpose::Prack { tag: tag.to_owned(), rack, sdp };
        self.requests_out.push(RequestOut { to, purpose, tx: Client::new(now, prack) });
    }
}
