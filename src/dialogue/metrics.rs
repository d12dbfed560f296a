//! What is counted of the dialogues.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::channel::pool;

/// Counters of all dialogues. Cheap to clone; the clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    streams: Family<ByService, Gauge>,
    failures: Family<ByService, Counter>,
    refused: Family<ByService, Counter>,
    /// Of the endpoints.
    pub(super) endpoints: pool::Metrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByService {
    service: String,
}

/// The counters of one service, looked up once a stream.
#[derive(Debug)]
pub(super) struct OfService {
    pub streams: Gauge,
    pub failures: Counter,
    pub refused: Counter,
}

impl Metrics {
    /// Adds all to a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.endpoints.register("dialogue", registry);
        registry.register("dialogue_streams", "Dialogue streams that are up", self.streams.clone());
        registry.register(
            "dialogue_stream_failures",
            "Dialogue streams that did not end politely",
            self.failures.clone(),
        );
        registry.register(
            "dialogue_actions_refused",
            "Actions that were not understood or are not built",
            self.refused.clone(),
        );
    }

    pub(super) fn of(&self, service: &str) -> OfService {
        let label = ByService { service: service.to_owned() };
        OfService {
            streams: self.streams.get_or_create(&label).clone(),
            failures: self.failures.get_or_create(&label).clone(),
            refused: self.refused.get_or_create(&label).clone(),
        }
    }
}
