//! One trunk's registration, kept alive.

use std::time::Instant;

use rand::rngs::StdRng;
use tokio::sync::mpsc;

use super::order::Registered;
use super::router::Ask;
use super::settings::{Registration as Wanted, Trunk};
use crate::net;
use crate::sip::Local;
use crate::sip::message::{NameAddr, Response, Uri, escape_user};
use crate::sip::register::{Account, Event, Input, Output, Registration};

/// What a registration's task is told.
#[derive(Debug)]
pub(super) enum Told {
    /// A response with its Call-ID.
    Response(Response),
    /// Take the binding back, and end.
    Stop,
}

/// A registration and the way to its task.
pub(super) struct Registrar {
    /// By which its responses are known.
    pub(super) call_id: String,
    pub(super) inbox: mpsc::Sender<Told>,
}

/// Starts the task. An account that cannot be written as SIP URIs is told as failed: `config` has checked it.
pub(super) fn start(
    number: usize,
    trunk: &Trunk,
    wanted: &Wanted,
    local: Local,
    net: net::Udp,
    router: mpsc::UnboundedSender<Ask>,
    rng: StdRng,
) -> Result<Registrar, String> {
    let uri = |text: String| Uri::parse(&text).map_err(|error| format!("{text:?}: {error}"));
    let account = Account {
        registrar: uri(format!("sip:{}", wanted.domain))?,
        aor: NameAddr::new(None, uri(format!("sip:{}@{}", escape_user(&wanted.user), wanted.domain))?),
        next_hop: trunk.peer.clone(),
        route: trunk.route.clone(),
        credentials: trunk.credentials.clone(),
        expires: u32::try_from(wanted.expires.as_secs()).unwrap_or(u32::MAX),
    };
    let registration = Registration::new(Instant::now(), local, account, rng);
    let (inbox, told) = mpsc::channel(16);
    let call_id = registration.call_id().to_owned();
    let task = Task { number, name: trunk.name.clone(), registration, net, router };
    tokio::spawn(task.run(told));
    Ok(Registrar { call_id, inbox })
}

struct Task {
    number: usize,
    name: String,
    registration: Registration,
    net: net::Udp,
    router: mpsc::UnboundedSender<Ask>,
}

impl Task {
    async fn run(mut self, mut told: mpsc::Receiver<Told>) {
        loop {
            while let Some(output) = self.registration.poll() {
                match output {
                    Output::Transmit { to, payload } => {
                        if self.net.send(&to, &payload).await.is_err() {
                            self.registration.handle(Instant::now(), Input::TransportError { to });
                        }
                    }
                    // Late copies of the answer are nobody's business any more.
                    Output::Event(Event::Unregistered) => return self.tell(Event::Unregistered),
                    Output::Event(event) => self.tell(event),
                }
            }
            if self.registration.is_over() {
                return;
            }
            let deadline = self.registration.deadline();
            let input = tokio::select! {
                told = told.recv() => match told {
                    Some(Told::Response(response)) => Input::Message(response),
                    Some(Told::Stop) => Input::Unregister,
                    // The router is gone without a word: nobody is left to register for.
                    None => return,
                },
                () = super::task::until(deadline) => Input::Timer,
            };
            self.registration.handle(Instant::now(), input);
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
