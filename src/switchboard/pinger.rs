//! One trunk's pings: whether it is there to be dialled.

use std::time::Instant;

use tokio::sync::mpsc;

use super::outpost::{Outpost, Told};
use super::router::Ask;
use super::settings::Trunk;
use crate::sip::message::Uri;
use crate::sip::ping::{Input, Output, Ping, Plan};

/// A trunk's pings and the way to their task.
pub(super) struct Pinger {
    /// By which their responses are known.
    pub(super) call_id: String,
    pub(super) inbox: mpsc::Sender<Told>,
}

/// Starts the task; it ends when the way to it is gone. A domain that cannot be written as a SIP URI is told: `config` has checked it.
pub(super) fn start(mut trunk: Outpost, at: &Trunk, plan: Plan) -> Result<Pinger, String> {
    let uri = format!("sip:{}", at.domain);
    let uri = Uri::parse(&uri).map_err(|error| format!("{uri:?}: {error}"))?;
    let ping = Ping::new(trunk.local.clone(), uri, plan, trunk.rng());
    let (inbox, told) = mpsc::channel(16);
    let call_id = ping.call_id().to_owned();
    tokio::spawn(Task { trunk, ping }.run(told));
    Ok(Pinger { call_id, inbox })
}

struct Task {
    trunk: Outpost,
    ping: Ping,
}

impl Task {
    async fn run(mut self, mut told: mpsc::Receiver<Told>) {
        loop {
            while let Some(output) = self.ping.poll() {
                self.carry(output).await;
            }
            if self.ping.is_due() {
                let found = self.trunk.locate().await;
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
                if let Err(error) = self.trunk.net.send(&to, &payload).await {
                    self.ping.handle(Instant::now(), Input::TransportError { to, why: error.to_string() });
                }
                return;
            }
            Output::Up => {
                tracing::info!(trunk = self.trunk.name, "the trunk answers again: it is dialled");
                None
            }
            Output::Down { reason } => {
                tracing::warn!(
                    trunk = self.trunk.name,
                    reason,
                    "the trunk does not answer: it is not dialled until it does"
                );
                Some(reason)
            }
        };
        self.trunk.tell(Ask::Health { trunk: self.trunk.number, down });
    }
}
