//! Floor 3: the client of `dialogue.v1`, through which a call speaks with the robot's brain.
//!
//! One stream a call: what happened on the line goes out, what to do next comes in. All calls share one HTTP/2 connection to a service;
//! it is made when the first call needs it and made anew when it broke. A stream that broke is not mended: what the robot knew of
//! the call is gone with it, so the call is told once, by [`FromDialogue::Closed`], and decides what to do.
//!
//! [`FromDialogue::Closed`]: crate::call::io::FromDialogue::Closed

pub mod convert;
mod metrics;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tonic::transport::Channel;

use crate::call::io::FromDialogue;
pub use crate::channel::BadEndpoint;
pub use metrics::Metrics;
pub use stream::Handle;

/// A dialogue that calls may be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// By which calls name it.
    pub name: String,
    /// `http://host:port`.
    pub endpoint: String,
    /// How long TCP may take to connect.
    pub connect_timeout: Duration,
}

/// All dialogues that are configured. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialogues {
    services: Arc<HashMap<String, Service>>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Service {
    endpoint: String,
    channel: Channel,
}

impl Dialogues {
    /// Nothing is connected yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// An endpoint that is not `http://host:port`. Of two services of one name the later one wins: `config` refuses that.
    pub fn new(services: Vec<ServiceConfig>) -> Result<Dialogues, BadEndpoint> {
        let mut by_name = HashMap::new();
        for ServiceConfig { name, endpoint, connect_timeout } in services {
            let channel = crate::channel::lazy(&name, &endpoint, connect_timeout)?;
            by_name.insert(name, Service { endpoint, channel });
        }
        Ok(Dialogues { services: Arc::new(by_name), metrics: Metrics::default() })
    }

    /// What is counted, to be registered.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Opens the stream of one call. Never waits and never fails: whatever goes wrong is told to the inbox, by exactly one
    /// [`FromDialogue::Closed`], after which nothing comes any more. Must be called within a tokio runtime.
    ///
    /// Dropping the handle closes our side after all that was told; the dialogue then has two seconds to close its own.
    pub fn open<T>(&self, name: &str, inbox: mpsc::Sender<T>) -> Handle
    where
        T: From<FromDialogue> + Send + 'static,
    {
        match self.services.get(name) {
            Some(service) => stream::open(name, service, inbox, self.metrics.clone()),
            None => stream::open_nothing(format!("no dialogue is configured by the name {name:?}"), inbox),
        }
    }
}

#[cfg(test)]
mod tests;
