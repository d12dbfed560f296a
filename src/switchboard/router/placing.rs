//! Calls that we place: which trunk, which caller number; and another trunk, when the first one fails.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rand::RngExt;

use super::{Elsewhere, Router, ordered};
use crate::call::second_leg::News;
use crate::sip::session::{Dial, ExtraHeaders};
use crate::switchboard::dialling::{self, Over};
use crate::switchboard::lines;
use crate::switchboard::order::{DialOrder, Refusal};
use crate::switchboard::pair::{Link, Word};
use crate::switchboard::task::Start;

/// What a call that we placed has taken, and what it may still take.
pub(super) struct Placed {
    /// The number that it shows, which counts while the call is up.
    pub(super) caller: String,
    /// Where else it may go.
    spare: Option<Box<Spare>>,
}

/// What makes a call a second leg.
pub(super) struct Second {
    /// The call that is handed over.
    pub(super) first: Arc<str>,
    pub(super) link: Box<Link>,
}

/// Where else a call may go.
struct Spare {
    order: DialOrder,
    headers: ExtraHeaders,
    members: VecDeque<usize>,
    failover: Vec<u16>,
}

impl Router {
    pub(super) fn dial(&mut self, order: DialOrder) -> Result<Arc<str>, Refusal> {
        let now = Instant::now();
        if order.request_id.is_empty() || order.request_id.len() > 4_096 {
            return Err(Refusal::Invalid { field: "request_id", reason: "not 1 to 4,096 bytes".to_owned() });
        }
        if let Some(call_id) = self.ordered.call(now, &order.request_id) {
            return Ok(call_id);
        }
        let request_id = order.request_id.clone();
        let number = self.place(order, &mut None)?;
        self.ordered.keep(now, &request_id, number);
        Ok(ordered::name(number))
    }

    /// Places a call; gives the number that its id is of. Of a second leg, what it needs is taken when nothing can go wrong any more.
    pub(super) fn place(&mut self, order: DialOrder, second: &mut Option<Second>) -> Result<u128, Refusal> {
        let settings = self.settings.clone();
        let (mut members, failover) = match dialling::over(&settings, &order.trunk)? {
            Over::Trunk(number) => {
                if let Some(reason) = self.down[number].clone() {
                    self.metrics.refused("down");
                    return Err(Refusal::Down { trunk: settings.trunks[number].name.clone(), reason });
                }
                (VecDeque::from([number]), Vec::new())
            }
            Over::Group(group) => {
                let up = lines::order(group, &mut self.rng).into_iter().filter(|number| self.is_up(*number));
                (up.collect(), group.failover.clone())
            }
        };
        let headers = dialling::check(&order, &settings, SystemTime::now())?;
        if let Err(none) = self.open() {
            self.count_refused(none);
            return Err(self.refusal(none));
        }
        let chosen = self.choose(&order, &headers, &mut members);
        let (number, caller, dial) = chosen.map_err(|refusal| self.kept_out(refusal))?;
        let number_of_call = self.rng.random();
        let call_id = ordered::name(number_of_call);
        let trunk = &settings.trunks[number];
        let more = if members.is_empty() { Vec::new() } else { failover.clone() };
        let placement = dialling::place(&order, &settings, trunk, call_id.clone(), (&caller, dial), more);
        let mut placement = placement.inspect_err(|_| self.lines.free(number, &caller))?;
        let first = second.take().map(|Second { first, link }| {
            link.tell(Word::News(News::Placed { call_id: call_id.clone() }));
            placement.link = Some(link);
            placement.plan.transferred_from = Some(first.clone());
            first
        });
        let start = Start::Dial(Box::new(placement), dialling::local(&settings, trunk));
        self.begin(call_id.clone(), number, true, start);
        if let Some(up) = self.calls.get_mut(&call_id) {
            let spare = (!members.is_empty()).then(|| Box::new(Spare { order, headers, members, failover }));
            up.placed = Some(Placed { caller, spare });
            up.state.transferred_from = first;
        }
        Ok(number_of_call)
    }

    /// The first of some trunks that has room for an order; they are used up to there. What it takes is taken.
    fn choose(
        &mut self,
        order: &DialOrder,
        headers: &ExtraHeaders,
        members: &mut VecDeque<usize>,
    ) -> Result<(usize, String, Dial), (&'static str, Refusal)> {
        let settings = self.settings.clone();
        let mut first = None;
        while let Some(number) = members.pop_front() {
            let trunk = &settings.trunks[number];
            let channel = self.channel(number).map_err(|none| (none.as_str(), self.refusal(none)));
            let taken = channel.and_then(|()| {
                let taken = self.lines.take(Instant::now(), number, trunk, &order.callee, &order.caller);
                taken.map_err(|refusal| match refusal {
                    Refusal::Rate(_) => ("rate", refusal),
                    _ => ("number_limit", refusal),
                })
            });
            match taken {
                Ok(caller) => {
                    match dialling::dial(order, headers.clone(), trunk, &caller, &self.service_routes[number]) {
                        Ok(dial) => return Ok((number, caller, dial)),
                        Err(refusal) => {
                            self.lines.free(number, &caller);
                            return Err(("invalid", refusal));
                        }
                    }
                }
                Err(refusal) => {
                    first.get_or_insert(refusal);
                }
            }
        }
        let down = || ("down", Refusal::Exhausted { limit: format!("every member of group {} is down", order.trunk) });
        Err(first.unwrap_or_else(down))
    }

    fn kept_out(&self, (reason, refusal): (&'static str, Refusal)) -> Refusal {
        // What cannot be read is the orchestrator's fault, and no call was kept out.
        if !matches!(refusal, Refusal::Invalid { .. }) {
            self.metrics.refused(reason);
        }
        refusal
    }

    /// Another way for a call whose trunk has failed before it gave a sign of the call.
    pub(super) fn reroute(&mut self, call_id: &Arc<str>) -> Result<Elsewhere, String> {
        let settings = self.settings.clone();
        let gone = || "the call is gone".to_owned();
        let up = self.calls.get_mut(call_id).ok_or_else(gone)?;
        let failed = up.trunk;
        let spare = up.placed.as_mut().and_then(|placed| placed.spare.take());
        let Spare { order, headers, mut members, failover } =
            *spare.ok_or_else(|| "no member of the group is left".to_owned())?;
        if order.not_after.is_some_and(|deadline| deadline < SystemTime::now()) {
            return Err(Refusal::TooLate.to_string());
        }
        members.retain(|number| self.is_up(*number));
        if members.is_empty() {
            return Err("every other member of the group is down".to_owned());
        }
        let chosen = self.choose(&order, &headers, &mut members);
        let (number, caller, dial) = chosen.map_err(|(_, refusal)| refusal.to_string())?;
        let trunk = &settings.trunks[number];
        let more = if members.is_empty() { Vec::new() } else { failover.clone() };
        let route = dialling::route(&order, &settings, trunk, dial, more);
        self.metrics.rerouted(&settings.trunks[failed].name);
        let spare = (!members.is_empty()).then(|| Box::new(Spare { order, headers, members, failover }));
        let up = self.calls.get_mut(call_id).ok_or_else(gone)?;
        (up.trunk, up.state.trunk) = (number, trunk.name.as_str().into());
        let before = up.placed.replace(Placed { caller, spare });
        self.channels[failed] -= 1;
        self.channels[number] += 1;
        if let Some(Placed { caller, .. }) = before {
            self.lines.free(failed, &caller);
        }
        Ok(Elsewhere { route: Box::new(route), net: self.net(number), transport: trunk.transport })
    }
}
