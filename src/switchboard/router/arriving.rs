//! Calls that come: whose an INVITE is, whether its caller knows the password, and who calls.

use std::net::SocketAddr;
use std::time::Instant;

use super::Router;
use crate::call::line::Parties;
use crate::sip::auth::{Guard, Verdict};
use crate::sip::message::{Fault, HeaderName, Request};
use crate::sip::{Local, Reply, identity, stateless};
use crate::switchboard::settings::{Called, Trunk};

/// The guards of the trunks that want a password.
pub(super) fn guards(trunks: &[Trunk], rng: &mut rand::rngs::StdRng) -> Vec<Option<Guard>> {
    let mut guard = |trunk: &Trunk| {
        let wanted = trunk.inbound_auth.clone()?;
        let (realm, credentials, algorithms) = (wanted.realm, wanted.credentials, wanted.algorithms);
        Some(Guard::new(Instant::now(), realm, credentials, algorithms, wanted.integrity, rng))
    };
    trunks.iter().map(&mut guard).collect()
}

/// What stands between an INVITE and its call.
pub(super) enum Knock {
    Open,
    /// Answered so, or not at all.
    Shut(Option<Reply>),
}

impl Router {
    /// The trunk of a request: of those whose sources it may come from the one whose account is called, else the first. Several accounts
    /// at one operator share their sources, and differ by the contact that they have registered.
    pub(super) fn trunk_for(&self, request: &Request, source: SocketAddr) -> Option<usize> {
        let first = self.trunk_of(source)?;
        let called = request.uri().number();
        let registered = |trunk: &Trunk| {
            let known = trunk.sources.iter().any(|network| network.contains(source.ip()));
            known && trunk.registration.as_ref().is_some_and(|account| Some(&account.user) == called.as_ref())
        };
        Some(self.settings.trunks.iter().position(registered).unwrap_or(first))
    }

    /// Holds the caller of an INVITE against the trunk's password, if it has one.
    pub(super) fn knock(&mut self, number: usize, request: &Request, source: SocketAddr, local: &Local) -> Knock {
        let now = Instant::now();
        let Some(guard) = &mut self.guards[number] else { return Knock::Open };
        // Guessing has a pace.
        if !self.admission.admits(now, source.ip()) {
            self.dropped("rate");
            return Knock::Shut(None);
        }
        match guard.check(now, request, &mut self.rng) {
            Verdict::Passed => {
                self.metrics.authenticated("passed");
                self.admission.trust(now, source.ip());
                Knock::Open
            }
            Verdict::Challenged { why, challenges } => {
                self.metrics.authenticated(why.as_str());
                let headers: Vec<_> =
                    challenges.iter().map(|value| (HeaderName::WwwAuthenticate, value.as_str())).collect();
                let fault = Fault::new(401, "Unauthorized");
                Knock::Shut(stateless::refuse_with(request, source, local, fault, &headers))
            }
        }
    }
}

/// Who calls whom over a trunk, as its rules write numbers.
pub(super) fn parties(request: &Request, trunk: &Trunk) -> Parties {
    let called = match trunk.identity.called {
        Called::RequestUri => request.uri().number(),
        Called::To => request.to().ok().and_then(|to| to.uri.number()),
    };
    let called = called.unwrap_or_default();
    let identity::Caller { number, name, withheld, diverted_from, diversion_reason } =
        identity::read(request, &trunk.identity.read);
    let numbers = &trunk.numbers;
    Parties {
        caller: numbers.apply(&numbers.caller_in, &number),
        callee: numbers.apply(&numbers.callee_in, &called),
        caller_name: name,
        withheld,
        diverted_from: numbers.apply(&numbers.callee_in, &diverted_from),
        diversion_reason,
    }
}
