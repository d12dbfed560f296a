//! RFC 3261 §17.2.1 and RFC 6026 §7.1: INVITE, the server's side.
//!
//! The 2xx itself is repeated by the transaction user until its ACK comes (§13.3.1.4), since that ACK
//! is no part of this transaction.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Doubling, GIVE_UP, ServerInput, T2, T4, Timers, is_reliably_answered};

#[derive(Clone, Copy)]
enum Timer {
    /// G: the refusal is repeated, over UDP.
    Resend,
    /// H: no ACK came; L: the INVITE is absorbed after its 2xx; I: the ACK is absorbed, over UDP.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
    Over,
}

/// One INVITE that we got.
#[derive(Debug)]
pub struct InviteServer {
    reliable: bool,
    state: State,
    timers: Timers<2>,
    resend: Doubling,
    last: Vec<u8>,
    transmits: VecDeque<Vec<u8>>,
}

impl InviteServer {
    /// Answers with `trying` (a whole 100 response) at once, so that the INVITE is not repeated (§17.2.1
    /// gives us 200 ms, of which we have no need).
    pub fn new(trying: Vec<u8>) -> InviteServer {
        InviteServer {
            reliable: is_reliably_answered(&trying),
            state: State::Proceeding,
            timers: Timers::new(),
            resend: Doubling::new(Some(T2)),
            transmits: VecDeque::from([trying.clone()]),
            last: trying,
        }
    }

    /// Whether no final response has been given yet.
    pub fn is_pending(&self) -> bool {
        self.state == State::Proceeding
    }

    /// Whether it was answered with a 2xx.
    pub fn is_accepted(&self) -> bool {
        self.state == State::Accepted
    }

    /// Feeds the machine. A second final response is dropped.
    pub fn handle(&mut self, now: Instant, input: ServerInput) {
        match (input, self.state) {
            (ServerInput::Retransmission, State::Proceeding | State::Completed) => {
                self.transmits.push_back(self.last.clone());
            }
            (ServerInput::Respond(code, payload), State::Proceeding) => self.respond(now, code, payload),
            (ServerInput::Ack, State::Completed) => {
                self.timers.stop_all();
                self.state = if self.reliable { State::Over } else { State::Confirmed };
                if !self.reliable {
                    self.timers.set(Timer::End as usize, now + T4.into());
                }
            }
            (ServerInput::Timer, _) => self.timer(now),
            _ => {}
        }
    }

    fn respond(&mut self, now: Instant, code: u16, payload: Vec<u8>) {
        if code >= 200 {
            self.timers.set(Timer::End as usize, now + GIVE_UP.into());
        }
        match code {
            ..200 => self.last = payload.clone(),
            200..300 => self.state = State::Accepted,
            300.. => {
                self.state = State::Completed;
                self.last = payload.clone();
                if !self.reliable {
                    self.timers.set(Timer::Resend as usize, self.resend.first(now));
                }
            }
        }
        self.transmits.push_back(payload);
    }

    fn timer(&mut self, now: Instant) {
        if self.timers.take_due(Timer::End as usize, now) {
            self.state = State::Over;
            self.timers.stop_all();
        }
        if self.timers.take_due(Timer::Resend as usize, now) {
            self.timers.set(Timer::Resend as usize, self.resend.next(now));
            self.transmits.push_back(self.last.clone());
        }
    }

    /// The next response to send.
    pub fn poll(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// When to call `handle` with [`ServerInput::Timer`].
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.deadline()
    }

    /// Whether it can be dropped.
    pub fn is_over(&self) -> bool {
        self.state == State::Over && self.transmits.is_empty()
    }
}
