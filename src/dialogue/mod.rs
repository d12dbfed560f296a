//! Floor 3: the client of `dialogue.v1`, through which a call speaks with the robot's brain.
//!
//! One stream a call: what happened on the line goes out, what to do next comes in. All calls share an endpoint's connections, one
//! where it takes all their streams on one; it is made when the first call needs it and made anew when it broke. A stream that broke is not mended (one that nobody has seen is opened
//! anew): what the robot knew of
//! the call is gone with it, so the call is told once, by [`FromDialogue::Closed`], and decides what to do: as a rule it opens another one
//! and tells it what has been said so far.
//!
//! [`FromDialogue::Closed`]: crate::call::io::FromDialogue::Closed

pub mod convert;
mod metrics;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use tokio::sync::mpsc;

use crate::call::io::FromDialogue;
pub use crate::channel::BadEndpoint;
use crate::channel::pool::{self, Plan, Pool};
use crate::channel::{Client, Manner};
pub use metrics::Metrics;
pub use stream::Handle;

/// A dialogue that calls may be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// By which calls name it.
    pub name: String,
    /// `http://host:port`, one or several that are alike.
    pub endpoints: Vec<String>,
    /// How they are watched.
    pub watch: Plan,
    /// How long TCP may take to connect.
    pub connect_timeout: Duration,
}

/// All dialogues that are configured. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialogues {
    services: Arc<HashMap<String, Arc<Service>>>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Service {
    connect_timeout: Duration,
    pool: Pool<Client>,
}

/// By which its health is asked for.
const HEALTH: &str = "trunkline.dialogue.v1.Dialogue";

/// What a stream of a call has to say. A call may have one after another: what still comes of one that it has left is not taken for what
/// comes of the next.
#[derive(Debug)]
pub struct Told {
    /// The number that the call gave the stream.
    pub stream: u32,
    /// What.
    pub from: FromDialogue,
}

impl Dialogues {
    /// Nothing is connected yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// An endpoint that is not `http://host:port`. Of two services of one name the later one wins: `config` refuses that.
    pub fn new(services: Vec<ServiceConfig>) -> Result<Dialogues, BadEndpoint> {
        let mut by_name = HashMap::new();
        let metrics = Metrics::default();
        for ServiceConfig { name, endpoints, watch, connect_timeout } in services {
            let link = |endpoint: &str| crate::channel::client(&name, endpoint, Manner::PROMPT, connect_timeout);
            let pool = Pool::new(&name, &endpoints, watch, &metrics.endpoints, link)?;
            by_name.insert(name, Arc::new(Service { connect_timeout, pool }));
        }
        Ok(Dialogues { services: Arc::new(by_name), metrics })
    }

    /// What is counted, to be registered.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Opens a stream of one call. Never waits and never fails: whatever goes wrong is told to the inbox, by exactly one
    /// [`FromDialogue::Closed`], after which nothing comes any more. Must be called within a tokio runtime.
    ///
    /// `stream` numbers the call's streams; `left` are those that broke before it: it goes elsewhere if there is another endpoint, else after a
    /// pause that grows with their number. Dropping the handle closes our side after all that was told; the dialogue then has two seconds to
    /// close its own.
    pub fn open<T>(&self, name: &str, stream: u32, left: &[String], inbox: mpsc::Sender<T>) -> Handle
    where
        T: From<Told> + Send + 'static,
    {
        match self.services.get(name) {
            Some(service) => stream::open(name, service, stream, left, inbox, self.metrics.clone()),
            None => stream::open_nothing(format!("no dialogue is configured by the name {name:?}"), stream, inbox),
        }
    }

    /// Whether calls may name it.
    pub fn has(&self, name: &str) -> bool {
        self.services.contains_key(name)
    }

    /// Asks every endpoint again and again whether it is there. Never ends; until this runs all count as up.
    pub async fn watch(&self) {
        let all: Vec<_> = self
            .services
            .iter()
            .map(|(name, service)| {
                let (name, patience) = (name.clone(), service.connect_timeout * 2);
                service.pool.watch(move |place| {
                    let whom = format!("dialogue {name:?} at {}", place.endpoint);
                    async move { pool::health(&place.link, HEALTH, &whom, patience).await.map(drop) }.boxed()
                })
            })
            .collect();
        future::join_all(all).await;
    }

    /// Why calls should not be sent here: the endpoints of each dialogue of which none is known to be up.
    pub fn troubles(&self) -> Vec<String> {
        let mut all: Vec<_> = self.services.values().flat_map(|service| service.pool.troubles()).collect();
        all.sort();
        all
    }

    /// The next news of an endpoint, from this moment on.
    pub fn changed(&self) -> BoxFuture<'static, ()> {
        pool::first(self.services.values().map(|service| service.pool.changed()))
    }
}

#[cfg(test)]
mod tests;
