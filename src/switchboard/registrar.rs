//! One trunk's registration, kept alive.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;

use super::order::Registered;
use super::router::Ask;
use super::settings::{Registration as Wanted, Trunk};
use crate::net::Net;
use crate::sip::Local;
use crate::sip::locate::{Hop, Spares};
use crate::sip::message::{NameAddr, Response, Target, Uri, escape_user};
use crate::sip::register::{Account, Event, Input, Output, Registration};
use crate::sip::transport::Transport;

/// What a registration's task is told.
#[derive(Debug)]
pub(super) enum Told {
    /// A response with its Call-ID.
    Response(Response),
    /// What it sent there did not arrive.
    Unsent {
        /// Where it was to go.
        to: Target,
        /// What kept it, in words.
        why: String,
    },
    /// Take the binding back, and end.
    Stop,
}

/// The way to a registration's task.
pub(super) struct Registrar {
    pub(super) inbox: mpsc::Sender<Told>,
}

/// How long it takes until a registrar that has no address is looked up again: twice as long each time.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN_LAST: Duration = Duration::from_secs(60);

/// Starts the task. An account that cannot be written as SIP URIs is told as failed: `config` has checked it.
pub(super) fn start(
    number: usize,
    trunk: &Trunk,
    wanted: &Wanted,
    local: Local,
    net: Net,
    router: mpsc::UnboundedSender<Ask>,
    rng: StdRng,
) -> Result<Registrar, String> {
    let uri = |text: String| Uri::parse(&text).map_err(|error| format!("{text:?}: {error}"));
    let account = Account {
        registrar: uri(format!("sip:{}", wanted.domain))?,
        aor: NameAddr::new(None, uri(format!("sip:{}@{}", escape_user(&wanted.user), wanted.domain))?),
        next_hop: trunk.peer.clone(),
        spares: Spares::default(),
        route: trunk.route.clone(),
        credentials: trunk.credentials.clone(),
        expires: u32::try_from(wanted.expires.as_secs()).unwrap_or(u32::MAX),
    };
    let (inbox, told) = mpsc::channel(16);
    let (peer, transport) = (trunk.peer.clone(), trunk.transport);
    let task = Task { number, name: trunk.name.clone(), peer, transport, local, rng, net, router };
    tokio::spawn(task.run(account, inbox.clone(), told));
    Ok(Registrar { inbox })
}

struct Task {
    number: usize,
    name: String,
    peer: Target,
    transport: Option<Transport>,
    local: Local,
    rng: StdRng,
    net: Net,
    router: mpsc::UnboundedSender<Ask>,
}

impl Task {
    async fn run(mut self, mut account: Account, inbox: mpsc::Sender<Told>, mut told: mpsc::Receiver<Told>) {
        let Some(hops) = self.find(&mut told).await else { return };
        let mut local = self.local.clone();
        if let Some((first, spares)) = Spares::of(&hops) {
            account.next_hop = Target::Addr(first.address);
            account.spares = spares;
            local = local.towards(first);
        }
        let rng = StdRng::seed_from_u64(self.rng.random());
        let mut registration = Registration::new(Instant::now(), local, account, rng);
        // Before the first datagram goes out, the router knows whose the answer is.
        let _ =
            self.router.send(Ask::Registers { trunk: self.number, call_id: registration.call_id().to_owned(), inbox });
        loop {
            while let Some(output) = registration.poll() {
                match output {
                    Output::Transmit { to, payload } => {
                        if self.net.send(&to, &payload).await.is_err() {
                            registration.handle(Instant::now(), Input::TransportError { to });
                        }
                    }
                    // Late copies of the answer are nobody's business any more.
                    Output::Event(Event::Unregistered) => return self.tell(Event::Unregistered),
                    Output::Event(event) => self.tell(event),
                }
            }
            if registration.is_over() {
                return;
            }
            let deadline = registration.deadline();
            let input = tokio::select! {
                told = told.recv() => match told {
                    Some(Told::Response(response)) => Input::Message(response),
                    Some(Told::Unsent { to, why }) => {
                        tracing::debug!(trunk = self.name, %to, why, "what was sent to the registrar did not arrive");
                        Input::TransportError { to }
                    }
                    Some(Told::Stop) => Input::Unregister,
                    // The router is gone without a word: nobody is left to register for.
                    None => return,
                },
                () = super::task::until(deadline) => Input::Timer,
            };
            // The registrar may have moved since the last attempt.
            if matches!(input, Input::Timer)
                && !registration.is_asking()
                && matches!(self.peer, Target::Host { .. })
                && let Ok(hops) = self.net.locate(&self.peer, self.transport, &self.local.ways, &mut self.rng).await
            {
                registration.handle(Instant::now(), Input::Located(hops));
                continue;
            }
            registration.handle(Instant::now(), input);
        }
    }

    /// Where the registrar is, as soon as that can be found out; `None`: nobody wants to know any more.
    async fn find(&mut self, told: &mut mpsc::Receiver<Told>) -> Option<Vec<Hop>> {
        let mut again = LOOK_AGAIN;
        loop {
            let located = self.net.locate(&self.peer, self.transport, &self.local.ways, &mut self.rng).await;
            let reason = match located {
                Ok(hops) => return Some(hops),
                Err(error) => error.to_string(),
            };
            let failed = Ask::Registered { trunk: self.number, state: Registered::Failed(reason), route: Vec::new() };
            // The router is gone: nobody is left to register for.
            self.router.send(failed).ok()?;
            tokio::select! {
                told = told.recv() => match told {
                    Some(Told::Response(_) | Told::Unsent { .. }) => {}
                    Some(Told::Stop) | None => return None,
                },
                () = tokio::time::sleep(again) => again = (again * 2).min(LOOK_AGAIN_LAST),
            }
        }
    }

    fn tell(&self, event: Event) {
        let mut route = Vec::new();
        let state = match event {
            Event::Registered { expires, service_route, .. } => {
                tracing::info!(trunk = self.name, expires, "registered");
                route = service_route;
                Registered::Up
            }
            Event::Failed { code, reason, retry_in } => {
                let reason = format!("{code} {reason}");
                tracing::warn!(trunk = self.name, reason, retry_in_s = retry_in.as_secs(), "registration failed");
                Registered::Failed(reason)
            }
            Event::Unregistered => Registered::NotAsked,
        };
        // A router that is gone wants to know nothing.
        let _ = self.router.send(Ask::Registered { trunk: self.number, state, route });
    }
}
