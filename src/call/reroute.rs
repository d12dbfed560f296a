//! A call whose trunk fails before it has given a sign of the call is placed anew over another one: the same call for everybody but the
//! trunks, with a Call-ID, tags and an offer of its own for each.
//!
//! ```text
//! Dialling ─ 503, silence, cannot be sent ► Output::Reroute ─ Input::Route(Ok) ► Rerouted, Dialling …
//!                                                           └ Input::Route(Err) ► over, as it failed
//! ```
//! From the first 18x on there is somebody at the other end, and no other way any more.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};

use super::call::{Call, Phase, Timer, negotiator};
use super::event::What;
use super::io::Output;
use super::line::HungUpBy;
use crate::sdp::{AudioFormat, Direction};
use crate::sip::Local;
use crate::sip::session::{self, Dial, Event, Failure, Session};

/// Another way to place a call.
#[derive(Debug)]
pub struct Route {
    /// The profile.
    pub trunk: String,
    /// What our messages say of us there.
    pub local: Local,
    /// The INVITE; its offer is made here.
    pub dial: Dial,
    /// How long it may ring.
    pub ring_timeout: Duration,
    /// How long the INVITE may stay without any answer.
    pub setup_timeout: Duration,
    /// How long the call may last.
    pub longest: Option<Duration>,
    /// Codecs, the preferred one first.
    pub formats: Vec<AudioFormat>,
    /// Upon which answers there may be yet another way; empty: this is the last one.
    pub failover: Vec<u16>,
}

impl Call {
    /// An INVITE is about to go out.
    pub(super) fn dialling(&mut self, now: Instant, ring_timeout: Duration) {
        self.timers[Timer::Ring as usize] = Some(now + ring_timeout);
        self.timers[Timer::Setup as usize] = Some(now + self.plan.setup_timeout);
        let (trunk, parties) = (self.plan.trunk.clone(), &self.plan.parties);
        let (callee, caller) = (parties.callee.clone(), parties.caller.clone());
        self.tell(now, What::Dialling { trunk, callee, caller });
    }

    /// Keeps a failure back while another way is asked for.
    pub(super) fn elsewhere(&mut self, event: Event) -> Option<Event> {
        let no_sign = match &event {
            Event::Refused(refusal) => self.plan.failover.contains(&refusal.code),
            Event::TimedOut | Event::Failed(Failure::Unreachable) => !self.plan.failover.is_empty(),
            _ => false,
        };
        // Of one failure two may tell: our patience and the transaction's own.
        if self.failed.is_some() {
            return None;
        }
        if !no_sign || self.phase != Phase::Dialling || self.ending.is_some() {
            return Some(event);
        }
        self.timers = Default::default();
        self.failed = Some(event);
        self.out.push_back(Output::Reroute);
        None
    }

    /// Nothing at all came back for the INVITE in time.
    pub(super) fn unheard(&mut self, now: Instant) {
        if self.phase != Phase::Dialling || self.ending.is_some() || self.failed.is_some() {
            return;
        }
        // Should the trunk answer after all, this session says goodbye to it: its end is told no more.
        self.session.handle(now, session::Input::Cancel);
        self.signalled(now, Event::TimedOut);
    }

    /// The switchboard has found another way, or none.
    pub(super) fn route(&mut self, now: Instant, route: Result<Box<Route>, String>) {
        let Some(failed) = self.failed.take() else { return };
        // Whoever did not want the call any more meanwhile does not want it elsewhere either.
        if self.phase != Phase::Dialling {
            return;
        }
        match route {
            Ok(route) if self.ending.is_none() => self.go(now, *route, &failed),
            route => {
                self.plan.failover.clear();
                self.signalled(now, failed);
                if let (Err(reason), Some((by, end))) = (route, &mut self.ending)
                    && *by != HungUpBy::Operator
                {
                    end.push_str("; no other way: ");
                    end.push_str(&reason);
                }
            }
        }
    }

    fn go(&mut self, now: Instant, route: Route, failed: &Event) {
        let Route { trunk, local, mut dial, ring_timeout, setup_timeout, longest, formats, failover } = route;
        let reason = match failed {
            Event::Refused(refusal) => format!("{} {}", refusal.code, refusal.reason),
            Event::TimedOut => "no answer to the INVITE".to_owned(),
            _ => "the INVITE could not be sent".to_owned(),
        };
        self.tell(now, What::Rerouted { trunk: self.plan.trunk.clone(), reason });
        (self.plan.trunk, self.plan.formats, self.plan.failover) = (trunk, formats, failover);
        (self.plan.setup_timeout, self.plan.longest) = (setup_timeout, longest);
        self.negotiator = negotiator(&self.plan, &mut self.rng);
        dial.offer = self.negotiator.offer(Direction::SendRecv);
        let rng = rand::rngs::StdRng::seed_from_u64(self.rng.random());
        let next = Session::dial(now, local, dial, rng);
        let sip_call_id = next.call_id().to_owned();
        let left = Box::new(std::mem::replace(&mut self.session, next));
        self.out.push_back(Output::Moved { left, sip_call_id });
        self.dialling(now, ring_timeout);
    }
}
