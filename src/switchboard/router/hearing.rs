//! What comes from the network: whose it is, and what a request of no call is answered.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::arriving::{self, Knock};
use super::{Owned, Owner, RETRY_SPREAD, Router, ordered};
use crate::call::call::Answering;
use crate::call::io::Input;
use crate::journal::Naming;
use crate::net::Arrival;
use crate::sdp;
use crate::sip::locate::Hop;
use crate::sip::message::{Fault, HeaderName, Message, Method, Request, Target, parse, refuse_unreadable};
use crate::sip::refer::Replaces;
use crate::sip::session::{self, Session};
use crate::sip::transport::{Transport, came_by};
use crate::sip::{Local, Reply, stateless};

use crate::switchboard::dialling::{self, Services};
use crate::switchboard::outpost::Told;
use crate::switchboard::refused::{Answer, Key};
use crate::switchboard::settings::{AnswerRule, Trunk};
use crate::switchboard::task::Start;

impl Router {
    pub(super) fn trunk_of(&self, source: SocketAddr) -> Option<usize> {
        let known = |trunk: &Trunk| trunk.sources.iter().any(|network| network.contains(source.ip()));
        self.settings.trunks.iter().position(known)
    }

    pub(super) async fn receive(&mut self, arrival: Arrival) {
        let (transport, source, mut payload) = match arrival {
            Arrival::Message { transport, source, payload } => (transport, source, payload),
            Arrival::Unsent { call_id, to, why } => return self.unsent(call_id, to, why),
        };
        // A flood from nowhere is not even read. Who belongs to a trunk is never counted.
        if self.trunk_of(source).is_none() && !self.admission.admits(Instant::now(), source.ip()) {
            return self.dropped("rate");
        }
        came_by(transport, &mut payload);
        let message = match parse(&payload) {
            Ok(message) => message,
            Err(error) => {
                self.dropped("malformed");
                // A stranger learns nothing, not even that somebody is here.
                let reply = self.trunk_of(source).and_then(|_| refuse_unreadable(&payload, error, source));
                return self.reply(reply).await;
            }
        };
        let Ok(sip_call_id) = message.call_id().map(str::to_owned) else {
            self.dropped("malformed");
            // It is nobody's; a trunk's is told why.
            if let (Message::Request(request), Some(_)) = (message, self.trunk_of(source)) {
                self.stray(request, transport, source).await;
            }
            return;
        };
        if !self.may_say(&sip_call_id, &message, source) {
            return self.dropped("source");
        }
        match self.owners.get(&sip_call_id).map(|owned| &owned.owner) {
            Some(Owner::Call(inbox)) => {
                if inbox.try_send(Input::Sip { message, source }.into()).is_err() {
                    self.metrics.inbox_full.inc();
                }
            }
            Some(Owner::Registration(inbox) | Owner::Ping(inbox)) => {
                if let Message::Response(response) = message {
                    let _ = inbox.try_send(Told::Response(response));
                }
            }
            Some(Owner::Lingering(session, _)) if is_another(&message, session.invite()) => {
                // RFC 3261 §8.1.3.5: who was refused may ask again under the same Call-ID.
                self.owners.remove(&sip_call_id);
                self.metrics.lingering.dec();
                if let Message::Request(request) = message {
                    self.stray(request, transport, source).await;
                }
            }
            Some(Owner::Lingering(..)) => self.rouse(sip_call_id, session::Input::Message { message, source }),
            None => match message {
                Message::Request(request) => self.stray(request, transport, source).await,
                Message::Response(_) => self.dropped("no_call"),
            },
        }
    }

    /// Something did not arrive: whoever sent it is told.
    pub(super) fn unsent(&mut self, sip_call_id: String, to: Target, why: String) {
        match self.owners.get(&sip_call_id).map(|owned| &owned.owner) {
            // One that is too busy to hear of it has its timer B.
            Some(Owner::Call(inbox)) => drop(inbox.try_send(Input::Unsent { to }.into())),
            Some(Owner::Registration(inbox) | Owner::Ping(inbox)) => drop(inbox.try_send(Told::Unsent { to, why })),
            Some(Owner::Lingering(..)) => self.rouse(sip_call_id, session::Input::TransportError { to }),
            None => {}
        }
    }

    /// Whether a message of a Call-ID that is known comes from where its trunk is. Responses have a branch to know them by; a request
    /// has nothing but its source that somebody who has read the Call-ID somewhere could not write as well.
    pub(super) fn may_say(&mut self, sip_call_id: &str, message: &Message, source: SocketAddr) -> bool {
        let Some(owned) = self.owners.get_mut(sip_call_id) else { return true };
        let sources = &self.settings.trunks[owned.trunk].sources;
        let may = match message {
            Message::Response(response) => {
                // Who has no room, or sends us elsewhere, is not who will hold the call.
                if !matches!(response.code(), 300..400 | 503) {
                    owned.heard.get_or_insert(source.ip());
                }
                true
            }
            Message::Request(_) if sources.is_empty() || owned.direct => owned.heard == Some(source.ip()),
            Message::Request(_) => sources.iter().any(|network| network.contains(source.ip())),
        };
        // It need not be one of the trunk's sources: a proxy of the operator's may answer what another one was asked.
        if may && self.trunk_of(source).is_none() {
            self.admission.trust(Instant::now(), source.ip());
        }
        may
    }

    /// A request of no call.
    pub(super) async fn stray(&mut self, request: Request, transport: Transport, source: SocketAddr) {
        let Some(number) = self.trunk_for(&request, source) else {
            return self.dropped("source");
        };
        let settings = self.settings.clone();
        let trunk = &settings.trunks[number];
        let local = dialling::local(&settings, trunk).towards(Hop { transport, address: source });
        if !begins_a_call(&request) || request.check().is_err() {
            return self.reply(stateless::answer(&request, source, &local)).await;
        }
        // A copy of what was refused gets the same answer, also when there is room by now: its sender may have heard the first one.
        let key = self.refused.key(&request);
        if let Some(answer) = self.refused.before(key) {
            return self.refuse(&request, source, &local, answer, key).await;
        }
        if let Knock::Shut(reply) = self.knock(number, &request, source, &local) {
            return self.reply(reply).await;
        }
        match Replaces::of(&request) {
            Ok(None) => {}
            Ok(Some(replaces)) => return self.replace(request, replaces, source, &local).await,
            Err(fault) => return self.reply(stateless::refuse(&request, source, &local, fault)).await,
        }
        if let Err(none) = self.room(number) {
            self.count_refused(none);
            return self.refuse(&request, source, &local, Answer::ComeAgain, key).await;
        }
        let parties = arriving::parties(&request, trunk);
        let route = trunk.routes.iter().find(|route| route.callee.matches(&parties.callee));
        let refusal = match route.map(|route| &route.answer) {
            None => Some((404, "no_route")),
            Some(AnswerRule::Refuse(code)) => Some((*code, "route")),
            Some(_) => None,
        };
        if let Some((code, reason)) = refusal {
            self.metrics.refused(reason);
            return self.refuse(&request, source, &local, Answer::Status(code), key).await;
        }
        let Some(route) = route else { return };
        let answering = match &route.answer {
            AnswerRule::After(time) => Answering::After(*time),
            AnswerRule::Wait => Answering::Told(trunk.ring_timeout),
            AnswerRule::Now | AnswerRule::Refuse(_) => Answering::Now,
        };
        let call_id = ordered::name(self.rng.random());
        let name = settings.names.name(&Naming {
            call_id: &call_id,
            trunk: &trunk.name,
            caller: &parties.caller,
            callee: &parties.callee,
            outbound: false,
            wall: SystemTime::now(),
        });
        let services = Services {
            dialogue: route.dialogue.clone(),
            speech: route.speech.clone(),
            name,
            record: settings.record,
            phrases: Vec::new(),
        };
        let mut plan = dialling::plan(&settings, trunk, call_id.clone(), &services);
        plan.early_media = route.early_media;
        plan.parties = parties;
        let rng = StdRng::seed_from_u64(self.rng.random());
        match Session::incoming(Instant::now(), local, trunk.session, request, source, rng) {
            Ok(session) => {
                // Media may be wanted in another family than the one that SIP came by; where we offer, it is that one.
                let offer = settings.media.other.and_then(|_| sdp::parse(session.offer()?).ok());
                let v6 = offer.and_then(|offer| offer.wants_v6()).unwrap_or(source.is_ipv6());
                plan.local_media = SocketAddr::new(settings.media.family(v6).advertised, 0);
                let sip_call_id = session.call_id().to_owned();
                let start = Start::Incoming(Box::new(session), Box::new(plan), answering, services);
                let inbox = self.begin(call_id, number, false, start);
                // At once: a retransmission must not begin another call.
                self.owners.insert(
                    sip_call_id,
                    Owned { owner: Owner::Call(inbox), trunk: number, heard: None, direct: false },
                );
            }
            Err(reply) => {
                self.metrics.refused("sip");
                self.reply(reply).await;
            }
        }
    }

    /// An INVITE that wants to take the place of a call (RFC 3891): refused by that call, or for want of one.
    pub(super) async fn replace(&mut self, invite: Request, replaces: Replaces, source: SocketAddr, local: &Local) {
        self.metrics.refused("replaces");
        let refusal = match self.owners.get(&replaces.call_id).map(|owned| &owned.owner) {
            _ if stateless::unsupported(&invite).is_some() => stateless::refuse_extensions(&invite, source, local),
            Some(Owner::Call(inbox)) => {
                let input = Input::Replace { invite: Box::new(invite), replaces, source };
                if inbox.try_send(input.into()).is_err() {
                    self.metrics.inbox_full.inc();
                }
                return;
            }
            Some(Owner::Lingering(session, _)) => session.refuse_replacement(&invite, &replaces, source),
            Some(Owner::Registration(_) | Owner::Ping(_)) | None => {
                stateless::refuse(&invite, source, local, stateless::NO_CALL)
            }
        };
        self.reply(refusal).await;
    }

    /// Refuses an INVITE without state.
    pub(super) async fn refuse(
        &mut self,
        request: &Request,
        source: SocketAddr,
        local: &Local,
        answer: Answer,
        key: Key,
    ) {
        self.refused.remember(key, answer, Instant::now());
        let after = RETRY_SPREAD[(key.spread() % RETRY_SPREAD.len() as u64) as usize];
        let retry = [(HeaderName::RetryAfter, after)];
        let (code, headers) = match answer {
            Answer::Status(code) => (code, &[][..]),
            Answer::ComeAgain => (503, &retry[..]),
        };
        self.reply(stateless::refuse_with(request, source, local, Fault::new(code, ""), headers)).await;
    }

    pub(super) async fn reply(&self, reply: Option<Reply>) {
        if let Some(Reply { to, payload }) = reply {
            let _ = self.shells.net.send(&Target::Addr(to), &payload).await;
        }
    }

    pub(super) fn dropped(&self, reason: &'static str) {
        self.shells.net.metrics().dropped(reason);
    }
}

/// Whether a message begins another call than this INVITE began, under the same Call-ID.
fn is_another(message: &Message, before: &Request) -> bool {
    let Message::Request(request) = message else { return false };
    let number = |request: &Request| request.cseq().ok().map(|cseq| cseq.number);
    begins_a_call(request) && number(request) != number(before)
}

fn begins_a_call(request: &Request) -> bool {
    *request.method() == Method::Invite && request.to().is_ok_and(|to| to.tag().is_none())
}
