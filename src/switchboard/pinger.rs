//! One trunk's pings: whether it is there to be dialled.

use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;

use super::registrar::Told;
use super::router::Ask;
use super::settings::Trunk;
use crate::net::Net;
use crate::sip::Local;
use crate::sip::message::{Target, Uri};
use crate::sip::ping::{Input, Output, Ping, Plan};
use crate::sip::transport::Transport;

/// A trunk's pings and the way to their task.
pub(super) struct Pinger {
    /// By which their responses are known.
    pub(super) call_id: String,
    pub(super) inbox: mpsc::Sender<Told>,
}

/// Starts the task; it ends when the way to it is gone. A domain that cannot be written as a SIP URI is told: `config` has checked it.
pub(super) fn start(
    number: usize,
    trunk: &Trunk,
    plan: Plan,
    local: Local,
    net: Net,
    router: mpsc::UnboundedSender<Ask>,
    mut rng: StdRng,
) -> Result<Pinger, String> {
    let uri = format!("sip:{}", trunk.domain);
    let uri = Uri::parse(&uri).map_err(|error| format!("{uri:?}: {error}"))?;
    let ping = Ping::new(local.clone(), uri, plan, StdRng::seed_from_u64(rng.random()));
    let (inbox, told) = mpsc::channel(16);
    let call_id = ping.call_id().to_owned();
    let (peer, transport) = (trunk.peer.clone(), trunk.transport);
    let task = Task { number, name: trunk.name.clone(), peer, transport, local, net, router, rng, ping };
    tokio::spawn(task.run(told));
    Ok(Pinger { call_id, inbox })
}

struct Task {
    number: usize,
    name: String,
    peer: Target,
    transport: Option<Transport>,
    local: Local,
    net: Net,
    router: mpsc::UnboundedSender<Ask>,
    rng: StdRng,
    ping: Ping,
}

impl Task {
    async fn run(mut self, mut told: mpsc::Receiver<Told>) {
        loop {
            while let Some(output) = self.ping.poll() {
                self.carry(output).await;
            }
            if self.ping.is_due() {
                let found = self.net.locate(&self.peer, self.transport, &self.local.ways, &mut self.rng).await;
                self.ping.handle(Instant::now(), Input::Located(found.map_err(|error| error.to_string())));
                continue;
            }
            let deadline = self.ping.deadline();
            let input = tokio::select! {
                told = told.recv() => match told {
                    Some(Told::Response(response)) => Input::Message(response),
                    Some(Told::Unsent { to, why }) => Input::TransportError { to, why },
                    Some(Told::Stop) | None => return,
                },
                () = super::task::until(deadline) => Input::Timer,
            };
            self.ping.handle(Instant::now(), input);
        }
    }

    async fn carry(&mut self, output: Output) {
        let down = match output {
            Output::Transmit { to, payload } => {
                if let Err(error) = self.net.send(&to, &payload).await {
                    self.ping.handle(Instant::now(), Input::TransportError { to, why: error.to_string() });
                }
                return;
            }
            Output::Up => {
                tracing::info!(trunk = self.name, "the trunk answers again: it is dialled");
                None
            }
            Output::Down { reason } => {
                tracing::warn!(trunk = self.name, reason, "the trunk does not answer: it is not dialled until it does");
                Some(reason)
            }
        };
        // A router that is gone wants to know nothing.
        let _ = self.router.send(Ask::Health { trunk: self.number, down });
    }
}
