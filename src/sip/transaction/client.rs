//! RFC 3261 §17.1.2: every request but INVITE and ACK, the client's side.

use std::collections::VecDeque;
use std::time::Instant;

use super::{ClientAction, ClientInput, Doubling, GIVE_UP, T2, T4, Timers, is_reliable};
use crate::sip::message::{Request, Response};

#[derive(Clone, Copy)]
enum Timer {
    /// E: the request is repeated, over UDP.
    Resend,
    /// F: nobody answered.
    GiveUp,
    /// K: late copies of the final response are absorbed until then, over UDP.
    Absorb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    Completed,
    Over,
}

/// One request that we sent.
#[derive(Debug)]
pub struct Client {
    request: Request,
    reliable: bool,
    state: State,
    timers: Timers<3>,
    resend: Doubling,
    actions: VecDeque<ClientAction>,
}

impl Client {
    /// Sends the request.
    pub fn new(now: Instant, request: Request) -> Client {
        let resend = Doubling::new(Some(T2));
        let mut timers = Timers::new();
        let reliable = is_reliable(&request);
        if !reliable {
            timers.set(Timer::Resend as usize, resend.first(now));
        }
        timers.set(Timer::GiveUp as usize, now + GIVE_UP.into());
        let actions = VecDeque::from([ClientAction::Transmit(request.bytes().to_vec())]);
        Client { request, reliable, state: State::Trying, timers, resend, actions }
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Whether a final response may still come.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Trying | State::Proceeding)
    }

    /// Feeds the machine.
    pub fn handle(&mut self, now: Instant, input: ClientInput) {
        match input {
            ClientInput::Response(response) if self.is_pending() => self.respond(now, response),
            ClientInput::TransportError if self.is_pending() => self.end(ClientAction::Unreachable),
            ClientInput::Response(_) | ClientInput::TransportError => {}
            ClientInput::Timer => self.timer(now),
        }
    }

    fn respond(&mut self, now: Instant, response: Response) {
        if response.code() < 200 {
            if self.state == State::Trying {
                self.resend.saturate();
            }
            self.state = State::Proceeding;
        } else {
            self.timers.stop_all();
            self.state = if self.reliable { State::Over } else { State::Completed };
            if !self.reliable {
                self.timers.set(Timer::Absorb as usize, now + T4.into());
            }
        }
        self.actions.push_back(ClientAction::Response(response));
    }

    fn timer(&mut self, now: Instant) {
        if self.timers.take_due(Timer::GiveUp as usize, now) {
            return self.end(ClientAction::TimedOut);
        }
        if self.timers.take_due(Timer::Absorb as usize, now) {
            self.state = State::Over;
        }
        if self.timers.take_due(Timer::Resend as usize, now) {
            self.timers.set(Timer::Resend as usize, self.resend.next(now));
            self.actions.push_back(ClientAction::Transmit(self.request.bytes().to_vec()));
        }
    }

    fn end(&mut self, action: ClientAction) {
        self.state = State::Over;
        self.timers.stop_all();
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
