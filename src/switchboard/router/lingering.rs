//! The signalling of calls that are over: it may have to repeat itself for as long as its transactions live (RFC 3261 §17: up to 32 s).

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::{Owned, Owner, Router};
use crate::call::io::Input;
use crate::sip::session::{self, Session};
use crate::switchboard::task::ToTask;

impl Router {
    pub(super) fn over(
        &mut self,
        call_id: &Arc<str>,
        sip_call_id: String,
        session: Option<Box<Session>>,
        mut unheard: mpsc::Receiver<ToTask>,
    ) {
        self.free_second(call_id);
        if let Some(up) = self.calls.remove(call_id) {
            self.channels[up.trunk] -= 1;
            if let Some(placed) = &up.placed {
                self.lines.free(up.trunk, &placed.caller);
            }
            self.metrics.calls.dec();
        }
        let owned = self.owners.remove(&sip_call_id);
        if let (Some(session), Some(owned)) = (session, owned) {
            self.linger(sip_call_id.clone(), session, owned.trunk, (owned.heard, owned.direct));
        }
        while let Ok(input) = unheard.try_recv() {
            let ToTask::Call(input) = input else { continue };
            match *input {
                Input::Sip { message, source } => {
                    self.rouse(sip_call_id.clone(), session::Input::Message { message, source });
                }
                Input::Unsent { to } => self.rouse(sip_call_id.clone(), session::Input::TransportError { to }),
                _ => {}
            }
        }
    }

    /// Keeps a session for as long as its transactions live (RFC 3261 §17: up to 32 s), and wakes it when it wants to.
    pub(super) fn linger(
        &mut self,
        sip_call_id: String,
        session: Box<Session>,
        trunk: usize,
        (heard, direct): (Option<IpAddr>, bool),
    ) {
        if session.is_over() {
            return;
        }
        let Some(deadline) = session.deadline() else { return };
        self.wakes.push(Reverse((deadline, sip_call_id.clone())));
        self.owners.insert(sip_call_id, Owned { owner: Owner::Lingering(session, deadline), trunk, heard, direct });
        self.metrics.lingering.inc();
    }

    /// Something for an ended call's signalling; its owner has been looked at.
    pub(super) fn rouse(&mut self, sip_call_id: String, input: session::Input) {
        let Some(Owned { owner, trunk, heard, direct }) = self.owners.remove(&sip_call_id) else { return };
        let Owner::Lingering(mut session, _) = owner else { return };
        self.metrics.lingering.dec();
        session.handle(Instant::now(), input);
        while let Some(output) = session.poll() {
            // Its events have nobody left to hear them, and a name that has to be looked up keeps nobody else waiting.
            if let session::Output::Transmit { to, payload } = output {
                let net = self.net(trunk);
                tokio::spawn(async move { net.send(&to, &payload).await });
            }
        }
        self.linger(sip_call_id, session, trunk, (heard, direct));
    }
}
