//! What the transports count.

use std::path::Path;
use std::time::SystemTime;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::sip::transport::Transport;

/// Why something was dropped or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct File {
    file: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct By {
    transport: &'static str,
}

/// The counters of the SIP transports.
#[derive(Debug, Default)]
pub struct Metrics {
    pub(super) received: Counter,
    pub(super) sent: Counter,
    dropped: Family<Reason, Counter>,
    unsent: Family<Reason, Counter>,
    stream_received: Family<By, Counter>,
    stream_sent: Family<By, Counter>,
    connections: Family<By, Gauge>,
    refused: Family<Reason, Counter>,
    failed: Family<Reason, Counter>,
    lookups: Family<Reason, Counter>,
    certificates: Family<Reason, Counter>,
    ends: Family<File, Gauge>,
}

impl Metrics {
    /// Makes them known.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("sip_datagrams_received", "SIP datagrams read", self.received.clone());
        registry.register("sip_datagrams_sent", "SIP datagrams sent", self.sent.clone());
        registry.register(
            "sip_datagrams_dropped",
            "SIP messages dropped: send (socket or name error), backlog (we are behind), malformed, source (of no trunk, or not where its call's trunk is), rate (too many of no trunk), no_call",
            self.dropped.clone(),
        );
        registry.register(
            "sip_unsent",
            "SIP messages that did not arrive: icmp, connect, lost (the connection broke), queue (the peer does not read)",
            self.unsent.clone(),
        );
        registry.register(
            "sip_stream_messages_received",
            "SIP messages read, by TCP and TLS",
            self.stream_received.clone(),
        );
        registry.register("sip_stream_messages_sent", "SIP messages sent, by TCP and TLS", self.stream_sent.clone());
        registry.register("sip_connections", "SIP connections that are up", self.connections.clone());
        registry.register(
            "sip_connections_refused",
            "SIP connections refused: source (of no trunk), limit, source_limit, handshake (TLS)",
            self.refused.clone(),
        );
        registry.register(
            "sip_connections_failed",
            "SIP connections that could not be made or broke: connect, handshake (TLS), framing, idle, stalled, broken",
            self.failed.clone(),
        );
        registry.register("dns_lookups", "Peers looked up, by result", self.lookups.clone());
        registry.register("tls_certificate_end_seconds", "When our certificates end, Unix time", self.ends.clone());
        registry.register("tls_reloads", "Certificates read again: done, failed", self.certificates.clone());
    }

    /// A certificate of ours ends then.
    pub(super) fn expires(&self, file: &Path, end: SystemTime) {
        let seconds = end.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.ends.get_or_create(&File { file: file.display().to_string() }).set(seconds.cast_signed());
    }

    /// A message was dropped.
    pub fn dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn unsent(&self, reason: &'static str) {
        self.unsent.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn failed(&self, reason: &'static str) {
        self.failed.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn looked_up(&self, reason: &'static str) {
        self.lookups.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn reloaded(&self, reason: &'static str) {
        self.certificates.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn stream_received(&self, transport: Transport) {
        self.stream_received.get_or_create(&By { transport: transport.param() }).inc();
    }

    pub(super) fn stream_sent(&self, transport: Transport) {
        self.stream_sent.get_or_create(&By { transport: transport.param() }).inc();
    }

    pub(super) fn connections(&self, transport: Transport) -> Gauge {
        self.connections.get_or_create(&By { transport: transport.param() }).clone()
    }
}
