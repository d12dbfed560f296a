//! One trunk's registration, kept alive.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::order::Registered;
use super::outpost::{Outpost, Told};
use super::router::Ask;
use super::settings::{Registration as Wanted, Trunk};
use crate::sip::locate::{Hop, Spares};
use crate::sip::message::{NameAddr, Target, Uri, escape_user};
use crate::sip::register::{Account, Event, Failure, Input, Output, Registration};

/// The way to a registration's task.
pub(super) struct Registrar {
    pub(super) inbox: mpsc::Sender<Told>,
}

/// How long it takes until a registrar that has no address is looked up again: twice as long each time.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN_LAST: Duration = Duration::from_secs(60);

/// Starts the task. An account that cannot be written as SIP URIs is told as failed: `config` has checked it.
pub(super) fn start(outpost: Outpost, trunk: &Trunk, wanted: &Wanted) -> Result<Registrar, String> {
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
    tokio::spawn(Task(outpost).run(account, inbox.clone(), told));
    Ok(Registrar { inbox })
}

struct Task(Outpost);

impl Task {
    async fn run(mut self, mut account: Account, inbox: mpsc::Sender<Told>, mut told: mpsc::Receiver<Told>) {
        let Some(hops) = self.find(&mut told).await else { return };
        let mut local = self.0.local.clone();
        if let Some((first, spares)) = Spares::of(&hops) {
            account.next_hop = Target::Addr(first.address);
            account.spares = spares;
            local = local.towards(first);
        }
        let mut registration = Registration::new(Instant::now(), local, account, self.0.rng());
        // Before the first datagram goes out, the router knows whose the answer is.
        self.0.tell(Ask::Registers { trunk: self.0.number, call_id: registration.call_id().to_owned(), inbox });
        loop {
            while let Some(output) = registration.poll() {
                match output {
                    Output::Transmit { to, payload } => {
                        if let Err(error) = self.0.net.send(&to, &payload).await {
                            let why = error.to_string();
                            registration.handle(Instant::now(), Input::TransportError { to, why });
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
                    Some(Told::Unsent { to, why }) => Input::TransportError { to, why },
                    Some(Told::Stop) => Input::Unregister,
                    // The router is gone without a word: nobody is left to register for.
                    None => return,
                },
                () = super::task::until(deadline) => Input::Timer,
            };
            // The registrar may have moved since the last attempt.
            if matches!(input, Input::Timer)
                && !registration.is_asking()
                && self.0.is_named()
                && let Ok(hops) = self.0.locate().await
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
            let reason = match self.0.locate().await {
                Ok(hops) => return Some(hops),
                Err(error) => error.to_string(),
            };
            // The router is gone: nobody is left to register for.
            if !self.failed(reason, "not_found".to_owned(), again) {
                return None;
            }
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
        let trunk = self.0.number;
        let (state, route) = match event {
            Event::Registered { expires, service_route, .. } => {
                tracing::info!(trunk = self.0.name, expires, "registered");
                (Registered::Up, service_route)
            }
            Event::Failed { failure, retry_in } => {
                let counted = match &failure {
                    Failure::Refused { code, .. } => code.to_string(),
                    Failure::Silent { .. } => "no_answer".to_owned(),
                    Failure::Unsent { .. } => "unsent".to_owned(),
                };
                self.failed(failure.to_string(), counted, retry_in);
                return;
            }
            Event::Unregistered => (Registered::NotAsked, Vec::new()),
        };
        self.0.tell(Ask::Registered { trunk, state, route });
    }

    /// Tells a failure, and as what it is counted; false: nobody wants to know any more.
    fn failed(&self, reason: String, counted: String, retry_in: Duration) -> bool {
        tracing::warn!(trunk = self.0.name, reason, retry_in_s = retry_in.as_secs(), "registration failed");
        self.0.tell(Ask::RegistrationFailed { trunk: self.0.number, reason, counted })
    }
}
