//! RFC 3515 §2.4, RFC 6665 §4.2, RFC 4488: a REFER of the far end that our owner decides on, and the NOTIFYs that tell what becomes of it.
//!
//! ```text
//! ◄─ REFER, Refer-To                                Event::ReferAsked
//! 202 ─►                                            Input::AnswerRefer; any refusal ends it here
//! NOTIFY, active, "SIP/2.0 100 Trying" ─►           one at a time: what comes meanwhile takes the place of what waits
//! NOTIFY, active, "SIP/2.0 180 Ringing" ─►          Input::ReferProgress
//! NOTIFY, terminated;reason=noresource, "200" ─►    the last one
//! BYE ─►                                            Input::Part: when that is answered, or T2 later
//! ```
//! With `Refer-Sub: false` there are no NOTIFYs, and [`Input::Part`] is a BYE at once. A NOTIFY that is refused, or not answered, ends the
//! subscription and nothing else.

use super::*;
use crate::sip::refer::{self, Asked};

/// How long the far end may believe that it will be told; longer than an INVITE rings.
const EXPIRES_S: u32 = 600;

/// The far end's REFER.
#[derive(Debug, Default)]
pub(super) struct Referee {
    /// Our owner decides; else it is refused.
    asks: bool,
    /// The one that waits for its answer.
    held: Option<Held>,
    subscription: Option<Subscription>,
    /// There was a subscription before in this dialog: from the second one on they have names (RFC 3515 §2.4.6).
    before: bool,
    /// What the BYE says that follows the last NOTIFY.
    parting: Option<Farewell>,
}

#[derive(Debug)]
struct Held {
    key: Key,
    cseq: u32,
    subscription: bool,
}

#[derive(Debug)]
struct Subscription {
    id: Option<u32>,
    /// A NOTIFY waits for its answer.
    flying: bool,
    /// What is to be told after it.
    next: Option<Note>,
    /// The last one has been given.
    last: bool,
}

/// What one NOTIFY tells.
#[derive(Clone, Debug)]
pub(super) struct Note {
    code: u16,
    reason: String,
    pub(super) last: bool,
}

impl Session {
    /// From now on a REFER of the far end is told as [`Event::ReferAsked`], and waits for [`Input::AnswerRefer`].
    pub fn ask_about_refers(&mut self) {
        self.referee.asks = true;
    }

    pub(super) fn receive_refer(&mut self, now: Instant, request: Request, source: SocketAddr, key: Key) {
        let target = match refer::asked_for(&request) {
            Ok(target) => target,
            Err(fault) => return self.respond_new(now, request, source, key, fault),
        };
        let policy = if matches!(self.refer_refusal, 403 | 405 | 501) { self.refer_refusal } else { 603 };
        let refusal = match Asked::read(&request) {
            _ if !self.referee.asks => (Fault::new(policy, default_reason(policy)), "policy"),
            Err(fault) => (fault, "malformed"),
            Ok(_) if self.is_busy() => (Fault::new(491, "Request Pending"), "busy"),
            Ok(asked) => {
                let cseq = request.cseq().map_or(0, |cseq| cseq.number);
                self.referee.held = Some(Held { key: key.clone(), cseq, subscription: asked.subscription });
                self.requests_in.push(RequestIn { key, request, source, tx: Server::new() });
                return self.event(Event::ReferAsked(Box::new(asked)));
            }
        };
        let (fault, why) = refusal;
        self.respond_new(now, request, source, key, fault);
        self.event(Event::ReferRefused { target, code: fault.code, why });
    }

    /// Another transfer, or an offer of either side, is under way.
    fn is_busy(&self) -> bool {
        let ours = self.referral.as_ref().is_some_and(Referral::is_pending);
        let theirs = self.referee.held.is_some() || self.referee.subscription.is_some();
        ours || theirs || self.phase != Phase::Up || self.exchange != Exchange::Settled || self.reoffer.is_some()
    }

    pub(super) fn answer_refer(&mut self, now: Instant, code: u16) {
        let Some(Held { key, cseq, subscription }) = self.referee.held.take() else { return };
        let Some(at) = self.requests_in.iter().position(|inbound| inbound.key == key) else { return };
        let accepted = (200..300).contains(&code);
        let mut headers = ExtraHeaders::default();
        if accepted {
            headers.push(HeaderName::Contact, Some(self.local.contact_value()));
            headers.push(HeaderName::ReferSub, (!subscription).then(|| "false".to_owned()));
        }
        self.respond_with(now, at, Fault::new(code, default_reason(code)), &headers, b"");
        if accepted && subscription {
            // There are far ends for whom a NOTIFY that comes before the 202 is one of nothing.
            self.settle(now);
            let id = std::mem::replace(&mut self.referee.before, true).then_some(cseq);
            self.referee.subscription = Some(Subscription { id, flying: false, next: None, last: false });
            self.notify(now, 100, default_reason(100).to_owned(), false);
        }
    }

    /// Tells the far end how our call to the target goes, if it wants to know.
    pub(super) fn notify(&mut self, now: Instant, code: u16, reason: String, last: bool) {
        let Some(subscription) = self.referee.subscription.as_mut().filter(|subscription| !subscription.last) else {
            return;
        };
        subscription.last = last;
        let note = Note { code, reason, last };
        match subscription.flying {
            // RFC 6665 §4.2.1.3: two that are under way at a time may come in the wrong order.
            true => subscription.next = Some(note),
            false => self.send_notify(now, note),
        }
    }

    pub(super) fn send_notify(&mut self, now: Instant, note: Note) {
        let Some(subscription) = &mut self.referee.subscription else { return };
        subscription.flying = true;
        let event = match subscription.id {
            Some(id) => format!("refer;id={id}"),
            None => "refer".to_owned(),
        };
        let state = match note.last {
            true => "terminated;reason=noresource".to_owned(),
            false => format!("active;expires={EXPIRES_S}"),
        };
        let reason: String = note.reason.chars().filter(|c| !c.is_control()).collect();
        let body = format!("SIP/2.0 {} {reason}\r\n", note.code).into_bytes();
        let Some((out, to)) = self.begin(Method::Notify, &body) else {
            self.referee.subscription = None;
            return;
        };
        let out = out.header(HeaderName::Contact, &self.local.contact_value()).header(HeaderName::Event, &event);
        let out = out.header(HeaderName::SubscriptionState, &state);
        let request = out.finish("message/sipfrag;version=2.0", &body);
        self.requests_out.push(RequestOut { to, purpose: Purpose::Notify(note), tx: Client::new(now, request) });
    }

    pub(super) fn notify_answered(&mut self, now: Instant, code: u16, last: bool) {
        let Some(subscription) = &mut self.referee.subscription else { return };
        subscription.flying = false;
        let next = subscription.next.take();
        if code >= 300 {
            self.event(Event::NotifyRefused { code });
        }
        match next {
            Some(next) if code < 300 => self.send_notify(now, next),
            None if code < 300 && !last => {}
            // RFC 6665 §4.2.2: whoever does not take it does not want to hear more.
            _ => {
                self.referee.subscription = None;
                self.part_now(now);
            }
        }
    }

    /// A BYE, when the last NOTIFY has been answered: one that overtakes it would leave its far end without the result.
    pub(super) fn part(&mut self, now: Instant, farewell: Farewell) {
        self.referee.parting = Some(farewell);
        match self.referee.subscription {
            Some(_) => self.timers.set(Timer::Part as usize, now + T2.into()),
            None => self.part_now(now),
        }
    }

    pub(super) fn part_now(&mut self, now: Instant) {
        self.timers.stop(Timer::Part as usize);
        if let Some(farewell) = self.referee.parting.take() {
            self.hang_up(now, farewell);
        }
    }

    /// The call is over: whoever waits for an answer to its REFER gets one.
    pub(super) fn referee_over(&mut self, now: Instant) {
        self.timers.stop(Timer::Part as usize);
        self.referee.parting = None;
        self.answer_refer(now, 487);
    }
}
