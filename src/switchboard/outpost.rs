//! A trunk as the tasks that keep in touch with it see it: where it is, what we say of us there, and the way back to the router.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;

use super::router::Ask;
use super::settings::Trunk;
use crate::net::{LocateError, Net};
use crate::sip::Local;
use crate::sip::locate::Hop;
use crate::sip::message::{Response, Target};
use crate::sip::transport::Transport;

/// What such a task is told.
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
    /// Take back what there is to be taken back, and end.
    Stop,
}

/// A trunk, seen from outside the router.
pub(super) struct Outpost {
    pub(super) number: usize,
    pub(super) name: String,
    peer: Target,
    transport: Option<Transport>,
    pub(super) local: Local,
    pub(super) net: Net,
    router: mpsc::UnboundedSender<Ask>,
    rng: StdRng,
}

impl Outpost {
    pub(super) fn new(
        number: usize,
        trunk: &Trunk,
        local: Local,
        net: Net,
        router: mpsc::UnboundedSender<Ask>,
        rng: StdRng,
    ) -> Outpost {
        let (name, peer, transport) = (trunk.name.clone(), trunk.peer.clone(), trunk.transport);
        Outpost { number, name, peer, transport, local, net, router, rng }
    }

    /// Its addresses (RFC 3263).
    pub(super) async fn locate(&mut self) -> Result<Vec<Hop>, LocateError> {
        self.net.locate(&self.peer, self.transport, &self.local.ways, &mut self.rng).await
    }

    /// Whether its addresses may change.
    pub(super) fn is_named(&self) -> bool {
        matches!(self.peer, Target::Host { .. })
    }

    /// Tells the router; false: it is gone, and wants to know nothing any more.
    pub(super) fn tell(&self, ask: Ask) -> bool {
        self.router.send(ask).is_ok()
    }

    /// Chance of its own for somebody.
    pub(super) fn rng(&mut self) -> StdRng {
        StdRng::seed_from_u64(self.rng.random())
    }
}
