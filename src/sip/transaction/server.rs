//! RFC 3261 §17.2.2: every request but INVITE and ACK, the server's side.

use std::collections::VecDeque;
use std::time::Instant;

use super::{GIVE_UP, ServerInput, Timers, is_reliably_answered};

#[derive(Clone, Copy)]
enum Timer {
    /// J: the request is absorbed after its final response, over UDP.
    Absorb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Trying or Proceeding: no final response yet.
    Pending,
    Completed,
    Over,
}

/// One request that we got.
#[derive(Debug)]
pub struct Server {
    state: State,
    timers: Timers<1>,
    last: Option<Vec<u8>>,
    transmits: VecDeque<Vec<u8>>,
}

impl Default for Server {
    fn default() -> Server {
        Server::new()
    }
}

impl Server {
    /// Waits for the answer; repeats of the request are absorbed until then.
    pub fn new() -> Server {
        Server { state: State::Pending, timers: Timers::new(), last: None, transmits: VecDeque::new() }
    }

    /// Whether no final response has been given yet.
    pub fn is_pending(&self) -> bool {
        self.state == State::Pending
    }

    /// Feeds the machine. A second final response is dropped.
    pub fn handle(&mut self, now: Instant, input: ServerInput) {
        match (input, self.state) {
            (ServerInput::Retransmission, State::Pending | State::Completed) => {
                self.transmits.extend(self.last.clone());
            }
            (ServerInput::Respond(code, payload), State::Pending) => {
                if code >= 200 && is_reliably_answered(&payload) {
                    self.state = State::Over;
                } else if code >= 200 {
                    self.state = State::Completed;
                    self.timers.set(Timer::Absorb as usize, now + GIVE_UP.into());
                }
                self.last = Some(payload.clone());
                self.transmits.push_back(payload);
            }
            (ServerInput::Timer, _) if self.timers.take_due(Timer::Absorb as usize, now) => self.state = State::Over,
            _ => {}
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
