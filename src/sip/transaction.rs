//! RFC 3261 §17 with the corrections of RFC 6026: the four transaction machines.
//!
//! | machine | states | timers |
//! |---|---|---|
//! | [`InviteClient`] | Calling → Proceeding → Completed, or Accepted → over | A resend, B timeout, D absorb, M absorb 2xx |
//! | [`Client`] | Trying → Proceeding → Completed → over | E resend, F timeout, K absorb |
//! | [`InviteServer`] | Proceeding → Completed → Confirmed, or Accepted → over | G resend, H no ACK, I absorb, L absorb 2xx |
//! | [`Server`] | Trying → Proceeding → Completed → over | J absorb |
//!
//! Over a transport that is reliable, which the message's own Via says, A, E and G do not run, and D, I, J and K are over at once.
//!
//! Timer C belongs to proxies. Each machine has the same three handles: `handle(now, …)`, `poll()`,
//! `deadline()`; a machine that `is_over()` can be dropped.

mod client;
mod invite_client;
mod invite_server;
mod key;
mod server;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub use client::Client;
pub use invite_client::InviteClient;
pub use invite_server::InviteServer;
pub use key::Key;
pub use server::Server;

use super::message::{Request, Response};
use super::transport::Transport;
use crate::ms::Ms;

/// Round-trip estimate, first retransmission interval (§17.1.1.1).
pub const T1: Ms = Ms(500);
/// Longest retransmission interval of non-INVITE requests and of INVITE responses.
pub const T2: Ms = Ms(4_000);
/// How long a message may linger in the network.
pub const T4: Ms = Ms(5_000);
/// 64·T1: timers B, F, H, J, L and M, and the longest wait for an ACK.
pub const GIVE_UP: Ms = Ms(64 * T1.0);
/// Timer D over UDP: "at least 32 seconds".
pub const TIMER_D: Ms = Ms(32_000);

/// Whether the network repeats for us what it loses: so says the Via of the request that goes out.
fn is_reliable(request: &Request) -> bool {
    request.top_via().ok().and_then(|via| Transport::parse(&via.transport)).is_some_and(Transport::is_reliable)
}

/// As [`is_reliable`], of a whole response: it goes back as its request came.
fn is_reliably_answered(response: &[u8]) -> bool {
    Transport::of_message(response).is_some_and(Transport::is_reliable)
}

/// What happens to a client transaction.
#[derive(Debug)]
pub enum ClientInput {
    /// A response with its branch and method.
    Response(Response),
    /// The deadline may have passed.
    Timer,
    /// The request could not be sent.
    TransportError,
}

/// What a client transaction wants done.
#[derive(Debug)]
pub enum ClientAction {
    /// Send this to the request's target.
    Transmit(Vec<u8>),
    /// Give this to the transaction user. Retransmissions of final responses other than 2xx to INVITE
    /// never get here.
    Response(Response),
    /// No final response came in time (timer B or F).
    TimedOut,
    /// The request could not be sent.
    Unreachable,
}

/// What happens to a server transaction.
#[derive(Debug)]
pub enum ServerInput {
    /// The request came again.
    Retransmission,
    /// The ACK to a final response other than 2xx came (INVITE only).
    Ack,
    /// The transaction user answers: status code and the whole response.
    Respond(u16, Vec<u8>),
    /// The deadline may have passed.
    Timer,
}

/// A fixed table of deadlines, indexed by a machine's own enum of timers.
#[derive(Clone, Debug)]
pub(crate) struct Timers<const N: usize>([Option<Instant>; N]);

impl<const N: usize> Timers<N> {
    pub(crate) fn new() -> Timers<N> {
        Timers([None; N])
    }

    pub(crate) fn set(&mut self, timer: usize, at: Instant) {
        self.0[timer] = Some(at);
    }

    pub(crate) fn stop(&mut self, timer: usize) {
        self.0[timer] = None;
    }

    pub(crate) fn is_set(&self, timer: usize) -> bool {
        self.0[timer].is_some()
    }

    pub(crate) fn stop_all(&mut self) {
        self.0 = [None; N];
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Takes a timer that has run out, if it has.
    pub(crate) fn take_due(&mut self, timer: usize, now: Instant) -> bool {
        let due = self.0[timer].is_some_and(|at| at <= now);
        if due {
            self.0[timer] = None;
        }
        due
    }
}

/// Retransmission with an interval that doubles up to a ceiling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubling {
    interval: Duration,
    ceiling: Option<Duration>,
}

impl Doubling {
    pub(crate) fn new(ceiling: Option<Ms>) -> Doubling {
        Doubling { interval: T1.into(), ceiling: ceiling.map(Duration::from) }
    }

    pub(crate) fn first(&self, now: Instant) -> Instant {
        now + self.interval
    }

    pub(crate) fn next(&mut self, now: Instant) -> Instant {
        self.interval *= 2;
        if let Some(ceiling) = self.ceiling {
            self.interval = self.interval.min(ceiling);
        }
        now + self.interval
    }

    /// From now on at the ceiling (timer E after a provisional response, §17.1.2.2).
    pub(crate) fn saturate(&mut self) {
        self.interval = self.ceiling.unwrap_or(self.interval);
    }
}
