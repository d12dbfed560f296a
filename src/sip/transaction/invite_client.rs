//! RFC 3261 §17.1.1 and RFC 6026 §8.4: INVITE, the client's side.

use std::collections::VecDeque;
use std::time::Instant;

use super::{ClientAction, ClientInput, Doubling, GIVE_UP, TIMER_D, Timers, is_reliable};
use crate::sip::message::{HeaderName, Method, Request, Response, Writer};

#[derive(Clone, Copy)]
enum Timer {
    /// A: the INVITE is repeated, over UDP.
    Resend,
    /// B: nobody answered.
    GiveUp,
    /// D, over UDP, or M: late copies of the final response are absorbed until then.
    Absorb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    Over,
}

/// One INVITE that we sent, and its ACK if it is refused.
#[derive(Debug)]
pub struct InviteClient {
    request: Request,
    reliable: bool,
    state: State,
    timers: Timers<3>,
    resend: Doubling,
    ack: Vec<u8>,
    actions: VecDeque<ClientAction>,
}

impl InviteClient {
    /// Sends the INVITE.
    pub fn new(now: Instant, request: Request) -> InviteClient {
        let resend = Doubling::new(None);
        let mut timers = Timers::new();
        let reliable = is_reliable(&request);
        if !reliable {
            timers.set(Timer::Resend as usize, resend.first(now));
        }
        timers.set(Timer::GiveUp as usize, now + GIVE_UP.into());
        let actions = VecDeque::from([ClientAction::Transmit(request.bytes().to_vec())]);
        InviteClient { request, reliable, state: State::Calling, timers, resend, ack: Vec::new(), actions }
    }

    /// The INVITE.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Whether a provisional response has come and no final one: only then may CANCEL be sent (§9.1).
    pub fn is_proceeding(&self) -> bool {
        self.state == State::Proceeding
    }

    /// Whether nothing at all has come yet.
    pub fn is_unheard(&self) -> bool {
        self.state == State::Calling
    }

    /// Whether a final response may still come.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Calling | State::Proceeding)
    }

    /// Feeds the machine.
    pub fn handle(&mut self, now: Instant, input: ClientInput) {
        match input {
            ClientInput::Response(response) => self.respond(now, response),
            // Once it has been answered at all it has arrived, whatever became of the way since.
            ClientInput::TransportError if self.state == State::Calling => self.end(ClientAction::Unreachable),
            ClientInput::TransportError => {}
            ClientInput::Timer => self.timer(now),
        }
    }

    /// Ends the transaction without an action: a cancelled INVITE that never gets its answer (§9.1).
    pub fn abandon(&mut self) {
        self.state = State::Over;
        self.timers.stop_all();
    }

    fn respond(&mut self, now: Instant, response: Response) {
        let absorb = |this: &mut Self, state, span| {
            this.state = state;
            this.timers.stop_all();
            this.timers.set(Timer::Absorb as usize, now + span);
        };
        match (self.state, response.code()) {
            (State::Calling | State::Proceeding, 100..200) => {
                self.state = State::Proceeding;
                self.timers.stop_all();
                self.actions.push_back(ClientAction::Response(response));
            }
            (State::Calling | State::Proceeding, 200..300) => {
                absorb(self, State::Accepted, GIVE_UP.into());
                self.actions.push_back(ClientAction::Response(response));
            }
            (State::Calling | State::Proceeding, 300..) => {
                absorb(self, State::Completed, TIMER_D.into());
                if self.reliable {
                    self.abandon();
                }
                self.ack = ack(&self.request, &response);
                self.actions.push_back(ClientAction::Transmit(self.ack.clone()));
                self.actions.push_back(ClientAction::Response(response));
            }
            (State::Completed, 300..) => self.actions.push_back(ClientAction::Transmit(self.ack.clone())),
            // RFC 6026 §8.4: every 2xx goes up; another branch of a fork may have answered too.
            (State::Accepted, 200..300) => self.actions.push_back(ClientAction::Response(response)),
            _ => {}
        }
    }

    fn timer(&mut self, now: Instant) {
        if self.timers.take_due(Timer::GiveUp as usize, now) {
            return self.end(ClientAction::TimedOut);
        }
        if self.timers.take_due(Timer::Absorb as usize, now) {
            return self.abandon();
        }
        if self.timers.take_due(Timer::Resend as usize, now) {
            self.timers.set(Timer::Resend as usize, self.resend.next(now));
            self.actions.push_back(ClientAction::Transmit(self.request.bytes().to_vec()));
        }
    }

    fn end(&mut self, action: ClientAction) {
        self.abandon();
        self.actions.push_back(action);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<ClientAction> {
        self.actions.pop_front()
    }

    /// When to call `handle` with [`ClientInput::Timer`].
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.deadline()
    }

    /// Whether it can be dropped.
    pub fn is_over(&self) -> bool {
        self.state == State::Over && self.actions.is_empty()
    }
}

/// §17.1.1.3: the ACK to a refusal is part of the transaction: same branch, same Request-URI, same Route.
fn ack(invite: &Request, response: &Response) -> Vec<u8> {
    let mut out = Writer::request(Method::Ack, invite.uri());
    for via in invite.all(HeaderName::Via).take(1) {
        out = out.raw(HeaderName::Via, via);
    }
    out = out.copy(invite, HeaderName::Route).header(HeaderName::MaxForwards, "70").copy(invite, HeaderName::From);
    for to in response.all(HeaderName::To).take(1) {
        out = out.raw(HeaderName::To, to);
    }
    let number = invite.cseq().map_or(0, |cseq| cseq.number);
    let out = out.copy(invite, HeaderName::CallId).header(HeaderName::CSeq, &format!("{number} ACK"));
    out.finish("", b"").bytes().to_vec()
}
