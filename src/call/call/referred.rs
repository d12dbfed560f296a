//! A REFER of the far end that is followed: the robot calls the target itself, and goes on with it on the same leg.
//!
//! ```text
//! ReferAsked ─ refuse: the session; a host that is not allowed, one too many: here
//!            ├ tell ► Told ─ Decision::Accept ►┐      Decline, or no decision in time: refused
//!            └ follow ────────────────────────►┴ 202, Sought ─ Input::Followed ► Calling ─ 2xx ► the call's session is the new one
//!                                                                                        └ no ► as it was
//! ```
//! Until the target has answered the conversation goes on with the old far end. When that hangs up after our 202, which most exchanges do in a
//! blind transfer, the call is held for the target; only when that cannot be reached it is over. When we hang up, both ends are told.

use std::time::Instant;

use rand::{RngExt, SeedableRng};

use super::{Call, Plan, media, negotiator, secured};
use crate::call::Route;
use crate::call::event::{Stage, What};
use crate::call::io::Output;
use crate::call::leg;
use crate::call::line::{Fault, HungUpBy, Line, ReferAsked};
use crate::call::record::Transfer;
use crate::call::transfer::{Decision, Follow, Handed, Way};
use crate::ms::Ms;
use crate::sdp::{Direction, Negotiated, Negotiator};
use crate::sip::message::{Reason, default_reason};
use crate::sip::refer::Asked;
use crate::sip::session::{self, Event, Failure, Session};

/// The most REFERs of the far end that are followed in one call: two exchanges may send it back and forth for ever.
const MOST: usize = 5;

/// What has come of the far end's REFERs.
#[derive(Debug, Default)]
pub(super) struct Referred {
    course: Option<Box<Course>>,
    followed: usize,
    /// The dialog by which the call began, when it goes on in another one: whether we placed it, and its Call-ID.
    origin: Option<(bool, String)>,
    /// How the far end has hung up while the target is called.
    parted: Option<String>,
}

/// One that is under way.
#[derive(Debug)]
struct Course {
    target: String,
    start: Ms,
    asked: Box<Asked>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// The dialogue, or the orchestrator, decides.
    Told {
        until: Instant,
    },
    /// The way to the target is looked for.
    Sought,
    Calling(Box<Second>),
}

/// Our call to the target.
#[derive(Debug)]
struct Second {
    session: Session,
    negotiator: Box<Negotiator>,
    /// As it was before a callee changed things that has not answered yet.
    first: Option<Box<Negotiator>>,
    agreed: Option<Negotiated>,
    /// It has rung long enough.
    ring: Instant,
    /// Nothing at all came back.
    setup: Option<Instant>,
}

impl Referred {
    /// Whether one is under way.
    pub(super) fn is_open(&self) -> bool {
        self.course.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.course.as_ref()?.step {
            Step::Told { until } => Some(*until),
            Step::Sought => None,
            Step::Calling(second) => {
                [Some(second.ring), second.setup, second.session.deadline()].into_iter().flatten().min()
            }
        }
    }

    fn second(&mut self) -> Option<&mut Second> {
        match &mut self.course.as_mut()?.step {
            Step::Calling(second) => Some(second),
            Step::Told { .. } | Step::Sought => None,
        }
    }
}

impl Call {
    /// For the session: it may be the call's first one, or the one that a REFER has led to.
    pub(in crate::call) fn teach(&mut self) {
        self.session.refuse_refers_with(self.plan.transfer.refuse_refer);
        if self.plan.transfer.inbound.way != Way::Refuse {
            self.session.ask_about_refers();
        }
    }

    /// Whether we placed the call, and the Call-ID by which it began.
    pub(super) fn origin(&self) -> (bool, &str) {
        match &self.referred.origin {
            Some((outgoing, call_id)) => (*outgoing, call_id),
            None => (self.session.is_outgoing(), self.session.call_id()),
        }
    }

    /// The far end asks us to call somebody else.
    pub(super) fn refer_asked(&mut self, now: Instant, asked: Box<Asked>) {
        let rules = self.plan.transfer.inbound.clone();
        let target = asked.target.as_str().to_owned();
        let refusal = if self.referred.followed >= MOST {
            Some((603, "limit"))
        } else if self.referred.is_open() || self.referring.is_some() || self.ending.is_some() {
            Some((491, "busy"))
        } else if !rules.allows(&asked.target) {
            Some((403, "target"))
        } else {
            None
        };
        if let Some((code, why)) = refusal {
            return self.refuse_refer(now, target, code, why);
        }
        let start = self.conversation.as_ref().map_or(Ms(0), |c| c.at(now));
        let until = now + rules.decide;
        let mut told = ReferAsked::from(&*asked);
        told.within = Ms::from(rules.decide);
        self.referred.course = Some(Box::new(Course { target, start, asked, step: Step::Told { until } }));
        if rules.way == Way::Follow {
            return self.follow(now);
        }
        self.tell(now, What::ReferAsked(Box::new(told.clone())));
        self.converse(|c| c.inform(now, Line::ReferAsked(Box::new(told))));
    }

    fn refuse_refer(&mut self, now: Instant, target: String, code: u16, why: &'static str) {
        self.session.handle(now, session::Input::AnswerRefer { code });
        self.tell(now, What::ReferRefused { target, sip_code: code, why });
    }

    /// The dialogue has decided. Told by its fault when there is nothing to decide.
    pub(super) fn refer_decided(&mut self, now: Instant, action_id: String, decision: Decision) {
        if !self.decide(now, decision) {
            let reason = "refer_answer: no REFER of the far end waits for it".to_owned();
            self.converse(|c| {
                c.fault(&format!("dialogue: {reason}"));
                c.inform(now, Line::Fault(Fault::Action { action_id, reason }));
            });
        }
    }

    /// The orchestrator has decided.
    pub(super) fn refer_ordered(&mut self, now: Instant, decision: Decision) {
        if !self.decide(now, decision) {
            let reason = "no REFER of the far end waits for refer_answer".to_owned();
            let stage = Stage::Failed(Handed::Refused);
            self.tell(now, What::Referred { stage, target: String::new(), sip_code: 481, reason });
        }
    }

    fn decide(&mut self, now: Instant, decision: Decision) -> bool {
        let waits = |course: &mut Box<Course>| matches!(course.step, Step::Told { .. });
        match decision {
            Decision::Accept if self.referred.course.as_mut().is_some_and(waits) => self.follow(now),
            Decision::Decline(code) => {
                let Some(course) = self.referred.course.take_if(waits) else { return false };
                self.refuse_refer(now, course.target, code, "declined");
            }
            Decision::Accept => return false,
        }
        true
    }

    /// It is done: the way to the target is asked for.
    fn follow(&mut self, now: Instant) {
        let (outgoing, _) = self.origin();
        let Some(course) = &mut self.referred.course else { return };
        course.step = Step::Sought;
        self.referred.followed += 1;
        let parties = &self.plan.parties;
        let caller = if outgoing { parties.caller.clone() } else { parties.callee.clone() };
        let follow = Follow {
            target: course.asked.target.clone(),
            headers: course.asked.for_invite(),
            caller,
            direct: self.plan.transfer.inbound.is_direct(&course.asked.target),
        };
        self.session.handle(now, session::Input::AnswerRefer { code: 202 });
        self.out.push_back(Output::Follow(Box::new(follow)));
        self.tell_referred(now, Stage::Started, 0, "");
        self.tell_dialogue(now, 0, 0, "it is being called");
    }

    /// The switchboard has found a way to the target, or none.
    pub(in crate::call) fn followed(&mut self, now: Instant, route: Result<Box<Route>, String>) {
        if !self.referred.course.as_ref().is_some_and(|course| matches!(course.step, Step::Sought)) {
            // Nobody wants it any more; what was kept for it is free again.
            return self.out.push_back(Output::Left(None));
        }
        let Route { local, mut dial, ring_timeout, setup_timeout, srtp, .. } = match route {
            Ok(route) => *route,
            Err(reason) => return self.not_reached(now, 503, reason, Handed::Failed),
        };
        // The same codecs, port and ways as the call has, and keys of its own.
        let mut negotiator = negotiator(&Plan { srtp, ..self.plan.clone() }, &mut self.rng);
        dial.terms.delayed_offer = false;
        dial.terms.redirects = 0;
        dial.offer = negotiator.offer(Direction::SendRecv);
        let rng = rand::rngs::StdRng::seed_from_u64(self.rng.random());
        let session = Session::dial(now, local, dial, rng);
        let sip_call_id = session.call_id().to_owned();
        let direct =
            self.referred.course.as_ref().is_some_and(|c| self.plan.transfer.inbound.is_direct(&c.asked.target));
        self.out.push_back(Output::Known { sip_call_id, direct });
        let (ring, setup) = (now + ring_timeout, Some(now + setup_timeout));
        if let Some(course) = &mut self.referred.course {
            let second = Second { session, negotiator, first: None, agreed: None, ring, setup };
            course.step = Step::Calling(Box::new(second));
        }
    }

    /// Whether a message is for our call to the target.
    pub(super) fn is_of_target(&mut self, call_id: Option<&str>) -> bool {
        self.referred.second().is_some_and(|second| Some(second.session.call_id()) == call_id)
    }

    /// Something for our call to the target.
    pub(super) fn tell_target(&mut self, now: Instant, input: session::Input) {
        if let Some(second) = self.referred.second() {
            second.session.handle(now, input);
        }
    }

    pub(super) fn tick_referred(&mut self, now: Instant) {
        match self.referred.course.as_ref().map(|course| &course.step) {
            None | Some(Step::Sought) => {}
            Some(Step::Told { until }) => {
                if *until <= now
                    && let Some(course) = self.referred.course.take()
                {
                    self.refuse_refer(now, course.target, 603, "no_decision");
                }
            }
            Some(Step::Calling(second)) => {
                let (rang, silent) = (second.ring <= now, second.setup.is_some_and(|at| at <= now));
                if rang || silent {
                    let reason = if silent { "no answer to the INVITE" } else { "nobody answered in ring_timeout" };
                    return self.not_reached(now, 408, reason.to_owned(), Handed::TimedOut);
                }
                self.tell_target(now, session::Input::Timer);
            }
        }
    }

    /// Brings out what our call to the target wants; whether there was anything.
    pub(super) fn pump_referred(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(output) = self.referred.second().and_then(|second| second.session.poll()) {
            match output {
                session::Output::Transmit { to, payload } => self.out.push_back(Output::Transmit { to, payload }),
                session::Output::Event(event) => self.target_said(now, event),
            }
            any = true;
        }
        any
    }

    fn target_said(&mut self, now: Instant, event: Event) {
        let Some(second) = self.referred.second() else { return };
        match event {
            Event::Trying => second.setup = None,
            // The media are where the call's own are.
            Event::OtherFamily { .. } => second.session.handle(now, session::Input::InviteThere { offer: None }),
            Event::Ringing { code: code @ 180.., .. } => {
                second.setup = None;
                let reason = default_reason(code);
                let progress = session::Input::ReferProgress { code, reason: reason.to_owned(), last: false };
                self.session.handle(now, progress);
                self.tell_referred(now, Stage::Progress, code, reason);
            }
            Event::Answered { sdp } => self.reached(now, sdp),
            // By UPDATE or PRACK, before the answer.
            Event::Reoffer { sdp } => {
                second.first.get_or_insert_with(|| second.negotiator.clone());
                let input = match sdp.as_deref().map(|offer| second.negotiator.answer(offer)) {
                    Some(Ok((sdp, agreed))) => {
                        second.agreed = Some(agreed);
                        session::Input::AnswerReoffer { sdp }
                    }
                    None => session::Input::AnswerReoffer { sdp: second.negotiator.offer_whole() },
                    Some(Err(error)) => {
                        session::Input::RejectReoffer { code: error.status(), headers: Default::default() }
                    }
                };
                second.session.handle(now, input);
            }
            Event::Refused(refusal) => self.not_reached(now, refusal.code, refusal.reason, Handed::Failed),
            Event::TimedOut => {
                self.not_reached(now, 408, "no answer to the INVITE".to_owned(), Handed::TimedOut);
            }
            Event::Failed(Failure::Unreachable) => {
                self.not_reached(now, 503, "the INVITE could not be sent".to_owned(), Handed::Failed);
            }
            Event::Failed(failure) => {
                self.not_reached(now, 500, format!("signalling failed: {failure:?}"), Handed::Failed);
            }
            Event::Cancelled { .. } | Event::Ended { .. } => {
                self.not_reached(now, 487, "the target hung up".to_owned(), Handed::Failed);
            }
            event @ Event::UserToUser { .. } => self.signalled(now, event),
            // Nothing else has a meaning before the answer.
            _ => {}
        }
    }

    /// The target has answered: it is the far end now.
    fn reached(&mut self, now: Instant, sdp: Option<Vec<u8>>) {
        let Some(second) = self.referred.second() else { return };
        let agreed = match sdp {
            Some(sdp) => {
                if let Some(first) = second.first.take() {
                    second.negotiator = first;
                }
                second.negotiator.accept(&sdp).map_err(|error| format!("SDP answer: {error}"))
            }
            None => second.agreed.ok_or_else(|| "answered without SDP".to_owned()),
        };
        let agreed = match agreed {
            Ok(agreed) => agreed,
            Err(reason) => return self.not_reached(now, 488, reason, Handed::Failed),
        };
        let Some(course) = self.referred.course.take() else { return };
        let Course { target, start, step: Step::Calling(second), .. } = *course else { return };
        let outgoing = self.session.is_outgoing();
        let mut left = Box::new(std::mem::replace(&mut self.session, second.session));
        self.referred.origin.get_or_insert_with(|| (outgoing, left.call_id().to_owned()));
        self.teach();
        self.negotiator = second.negotiator;
        (self.agreed, self.first, self.reply) = (Some(agreed), None, None);
        let ok = session::Input::ReferProgress { code: 200, reason: "OK".to_owned(), last: true };
        left.handle(now, ok);
        let reason =
            Reason { protocol: "SIP".to_owned(), cause: Some(200), text: Some("Call completed elsewhere".to_owned()) };
        left.handle(now, session::Input::Part { reason: Some(reason) });
        self.leave(&mut left);
        self.out.push_back(Output::Moved { left, sip_call_id: self.session.call_id().to_owned() });
        (self.referred.parted, self.dead) = (None, false);
        self.hold.anew();
        self.agreed_anew(now);
        let reason = "the target has answered";
        self.enter(now, (target, start), (1, 200, Handed::Transferred), reason.to_owned());
    }

    /// The target cannot be had: the call goes on as it was, unless its far end has gone.
    fn not_reached(&mut self, now: Instant, code: u16, reason: String, outcome: Handed) {
        self.give_target_up(now, code, reason.clone(), outcome);
        if let Some(how) = self.referred.parted.take() {
            let reason = format!("{how}; whom it referred us to could not be reached: {code} {reason}");
            self.over(now, HungUpBy::Caller, reason);
        }
    }

    /// The call is about to end, or over: neither the far end nor the target is left without a word.
    pub(super) fn give_referral_up(&mut self, now: Instant) {
        match self.referred.course.as_ref().map(|course| &course.step) {
            None => {}
            Some(Step::Told { .. }) => {
                if let Some(course) = self.referred.course.take() {
                    self.refuse_refer(now, course.target, 487, "call_ended");
                }
            }
            Some(Step::Sought | Step::Calling(_)) => {
                self.give_target_up(now, 487, "the call ended before that".to_owned(), Handed::CallEnded);
            }
        }
    }

    fn give_target_up(&mut self, now: Instant, code: u16, reason: String, outcome: Handed) {
        let Some(course) = self.referred.course.take() else { return };
        let Course { target, start, step, .. } = *course;
        let left = match step {
            Step::Calling(second) => {
                let mut left = Box::new(second.session);
                // CANCEL, or BYE, as it stands; nothing when it is over already.
                left.handle(now, session::Input::Cancel);
                self.leave(&mut left);
                Some(left)
            }
            Step::Told { .. } | Step::Sought => None,
        };
        self.out.push_back(Output::Left(left));
        let told = default_reason(code).to_owned();
        self.session.handle(now, session::Input::ReferProgress { code, reason: told, last: true });
        self.enter(now, (target, start), (-1, code, outcome), reason);
        if std::mem::take(&mut self.dead) && self.referred.parted.is_none() {
            // Its silence counts from now, as after a hold.
            self.media_changed();
        }
    }

    /// What a session still has to say before it is left to itself.
    fn leave(&mut self, left: &mut Session) {
        while let Some(output) = left.poll() {
            if let session::Output::Transmit { to, payload } = output {
                self.out.push_back(Output::Transmit { to, payload });
            }
        }
    }

    /// The far end has hung up after our 202: the call is held for the target.
    pub(super) fn goes_on_without(&mut self, now: Instant, how: &str) -> bool {
        let calls = |course: &Course| !matches!(course.step, Step::Told { .. });
        if self.ending.is_some() || !self.referred.course.as_deref().is_some_and(calls) {
            return false;
        }
        self.referred.parted = Some(how.to_owned());
        self.tell_referred(now, Stage::Progress, 0, "the far end has hung up meanwhile");
        if let Some(agreed) = self.agreed.filter(|_| self.leg_open) {
            // Nobody is there to be spoken to.
            let mut media = media(&agreed, &self.plan.line);
            (media.sends, media.receives) = (false, false);
            self.out.push_back(Output::Leg(leg::Command::anew(media, secured::srtp(&self.negotiator))));
        }
        self.hold_for_target(now);
        true
    }

    /// Whether the far end has hung up, and there is only the target to go on with.
    pub(super) fn has_parted(&mut self) -> bool {
        self.referred.parted.take().is_some()
    }

    fn enter(
        &mut self,
        now: Instant,
        (target, start): (String, Ms),
        (result, sip_code, outcome): (i8, u16, Handed),
        reason: String,
    ) {
        let stage = if result > 0 { Stage::Answered(outcome) } else { Stage::Failed(outcome) };
        self.tell(now, What::Referred { stage, target: target.clone(), sip_code, reason: reason.clone() });
        let line = Line::Referred { target: target.clone(), result, sip_code, reason: reason.clone() };
        self.converse(|c| c.inform(now, line));
        let stop = self.conversation.as_ref().map_or(Ms(0), |c| c.at(now));
        self.transfers.push(Transfer {
            kind: "refer_in",
            target,
            result,
            sip_code,
            outcome,
            reason,
            start,
            stop,
            call_id: String::new(),
        });
    }

    fn tell_referred(&mut self, now: Instant, stage: Stage, sip_code: u16, reason: &str) {
        let target = self.referred.course.as_ref().map(|course| course.target.clone()).unwrap_or_default();
        self.tell(now, What::Referred { stage, target, sip_code, reason: reason.to_owned() });
    }

    fn tell_dialogue(&mut self, now: Instant, result: i8, sip_code: u16, reason: &str) {
        let target = self.referred.course.as_ref().map(|course| course.target.clone()).unwrap_or_default();
        let line = Line::Referred { target, result, sip_code, reason: reason.to_owned() };
        self.converse(|c| c.inform(now, line));
    }

    /// The far end does not take our NOTIFYs.
    pub(super) fn notify_refused(&mut self, now: Instant, code: u16) {
        if self.referred.is_open() {
            self.tell_referred(now, Stage::Progress, 0, &format!("the far end answered our NOTIFY with {code}"));
        }
    }
}

#[cfg(test)]
mod tests;
