//! Calls that go on with somebody else, by a REFER of their far end: how that one is called, and what that takes.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Elsewhere, Owned, Owner, Router};
use crate::call::transfer::Follow;
use crate::sip::message::Scheme;
use crate::sip::session::Session;
use crate::sip::transport::Transport;
use crate::switchboard::dialling;
use crate::switchboard::order::DialOrder;
use crate::switchboard::task::ToTask;

impl Router {
    /// The INVITE to the target of a REFER. Until the target has the call, or is given up, it takes a channel of its trunk. The limits of caller
    /// numbers do not count: it is the same call, and shows no other number.
    pub(super) fn follow(&mut self, call_id: &Arc<str>, follow: Follow) -> Result<Elsewhere, String> {
        let settings = self.settings.clone();
        let Follow { target, headers, caller, direct } = follow;
        let number = self.calls.get(call_id).ok_or("the call is gone")?.trunk;
        let trunk = &settings.trunks[number];
        self.channel(number).map_err(|none| self.refusal(none).to_string())?;
        let callee = match target.scheme() {
            Scheme::Tel => target.number().unwrap_or_default(),
            _ => target.as_str().to_owned(),
        };
        let order = DialOrder { callee, ..DialOrder::default() };
        let caller = if caller.is_empty() { &trunk.caller } else { &caller };
        let dial = dialling::dial(&order, headers, trunk, caller, &self.service_routes[number]);
        let mut dial = dial.map_err(|refusal| refusal.to_string())?;
        let mut transport = trunk.transport;
        if direct {
            let asked = Transport::of_uri(&target);
            transport = asked.or(transport);
            dial.next_hop = target.target_by(transport.unwrap_or_default()).ok_or("the target names no host")?;
            // Those are the ways to the operator.
            dial.route.clear();
        }
        let route = Box::new(dialling::route(&order, &settings, trunk, dial, Vec::new()));
        if let Some(up) = self.calls.get_mut(call_id)
            && !std::mem::replace(&mut up.second, true)
        {
            self.channels[number] += 1;
        }
        Ok(Elsewhere { route, net: self.net(number), transport })
    }

    /// The target is being called.
    pub(super) fn also(&mut self, call_id: &Arc<str>, sip_call_id: String, direct: bool, inbox: mpsc::Sender<ToTask>) {
        if let Some(up) = self.calls.get(call_id) {
            let owned = Owned { owner: Owner::Call(inbox), trunk: up.trunk, heard: None, direct };
            self.owners.insert(sip_call_id, owned);
        }
    }

    /// It is given up.
    pub(super) fn left(&mut self, call_id: &Arc<str>, left: Option<Box<Session>>) {
        self.free_second(call_id);
        let Some(session) = left else { return };
        let sip_call_id = session.call_id().to_owned();
        if let Some(Owned { trunk, heard, direct, .. }) = self.owners.remove(&sip_call_id) {
            self.linger(sip_call_id, session, trunk, (heard, direct));
        }
    }

    /// The call needs one channel only.
    pub(super) fn free_second(&mut self, call_id: &Arc<str>) {
        if let Some(up) = self.calls.get_mut(call_id)
            && std::mem::take(&mut up.second)
        {
            self.channels[up.trunk] -= 1;
        }
    }
}
