//! What the transports count.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The counters of the SIP socket.
#[derive(Debug, Default)]
pub struct Metrics {
    pub(super) received: Counter,
    pub(super) sent: Counter,
    dropped: Family<Reason, Counter>,
}

impl Metrics {
    /// Makes them known.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("sip_datagrams_received", "SIP datagrams read", self.received.clone());
        registry.register("sip_datagrams_sent", "SIP datagrams sent", self.sent.clone());
        registry.register(
            "sip_datagrams_dropped",
            "SIP datagrams dropped: send (socket or name error), backlog (we are behind), malformed, source (of no trunk, or not where its call's trunk is), rate (too many of no trunk), no_call",
            self.dropped.clone(),
        );
    }

    /// A datagram was dropped.
    pub fn dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&Reason { reason }).inc();
    }
}
