//! What the switchboard counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::call::event::{Stage, StoppedBy, What};
use crate::call::record::CallRecord;

/// Of a call that is over.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    trunk: String,
    direction: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTrunk {
    trunk: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Shown {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Which {
    service: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Became {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Trunk {
    trunk: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotRegistered {
    trunk: String,
    reason: String,
}

/// The figures of the switchboard.
#[derive(Debug)]
pub struct Metrics {
    pub(super) calls: Gauge,
    pub(super) cpu_used: Gauge<f64, AtomicU64>,
    pub(super) lingering: Gauge,
    pub(super) tasks: Gauge,
    up: Family<Trunk, Gauge>,
    ended: Family<Ended, Counter>,
    refused: Family<Why, Counter>,
    rerouted: Family<OfTrunk, Counter>,
    registrations_failed: Family<NotRegistered, Counter>,
    authentications: Family<Shown, Counter>,
    pub(super) inbox_full: Counter,
    utterances: Counter,
    interruptions: Counter,
    transfers: Family<Became, Counter>,
    refers_refused: Counter,
    troubles: Family<Which, Counter>,
    answered_after: Histogram,
    utterance_latency: Histogram,
}

impl Default for Metrics {
    fn default() -> Metrics {
        // 50 ms to 12.8 s.
        let turns = || Histogram::new(exponential_buckets(0.05, 2.0, 9));
        Metrics {
            calls: Gauge::default(),
            cpu_used: Gauge::default(),
            lingering: Gauge::default(),
            tasks: Gauge::default(),
            up: Family::default(),
            ended: Family::default(),
            refused: Family::default(),
            rerouted: Family::default(),
            registrations_failed: Family::default(),
            authentications: Family::default(),
            inbox_full: Counter::default(),
            utterances: Counter::default(),
            interruptions: Counter::default(),
            transfers: Family::default(),
            refers_refused: Counter::default(),
            troubles: Family::default(),
            answered_after: turns(),
            utterance_latency: turns(),
        }
    }
}

impl Metrics {
    /// Makes them known.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("calls", "Calls that are up", self.calls.clone());
        registry.register(
            "cpu_used_ratio",
            "Share of the cores that this process may use which it has used in the last half second",
            self.cpu_used.clone(),
        );
        registry.register("calls_ended", "Calls that are over, by trunk, direction and outcome", self.ended.clone());
        registry.register("calls_refused", "Calls refused at the door, by reason", self.refused.clone());
        registry.register(
            "calls_rerouted",
            "Calls placed anew because a trunk failed, by the trunk that did",
            self.rerouted.clone(),
        );
        registry.register(
            "sip_authentications",
            "INVITEs held against [inbound_auth], by result",
            self.authentications.clone(),
        );
        registry.register(
            "sip_lingering",
            "Ended calls whose signalling may have to repeat itself",
            self.lingering.clone(),
        );
        registry.register(
            "sip_call_inbox_full",
            "SIP messages dropped because their call was busy",
            self.inbox_full.clone(),
        );
        registry.register(
            "tasks",
            "Tasks of the runtime: of calls, connections and visitors, and those that are always there",
            self.tasks.clone(),
        );
        registry.register("trunk_up", "1: the trunk answers pings, 0: it does not", self.up.clone());
        registry.register(
            "registrations_failed",
            "Attempts to register that failed, by trunk and reason: the status, no_answer, unsent, not_found",
            self.registrations_failed.clone(),
        );
        registry.register("utterances", "Utterances of callers", self.utterances.clone());
        registry.register("prompts_interrupted", "Prompts stopped by callers", self.interruptions.clone());
        registry.register("transfers", "Attempts to hand a call over, by what became of them", self.transfers.clone());
        registry.register("sip_refers_refused", "REFERs of far ends that were refused", self.refers_refused.clone());
        registry.register(
            "service_troubles",
            "Faults of recognition, synthesis and dialogue as calls saw them",
            self.troubles.clone(),
        );
        registry.register(
            "answered_after_seconds",
            "End of an utterance to the first sample of the prompt that answers it",
            self.answered_after.clone(),
        );
        registry.register(
            "utterance_latency_seconds",
            "End of an utterance to its event, endpoint_ms and recognition included",
            self.utterance_latency.clone(),
        );
    }

    /// A trunk that is pinged is there, or is not.
    pub(super) fn trunk_up(&self, trunk: &str, up: bool) {
        self.up.get_or_create(&Trunk { trunk: trunk.to_owned() }).set(up.into());
    }

    /// An attempt to register came to nothing.
    pub(super) fn registration_failed(&self, trunk: &str, reason: String) {
        self.registrations_failed.get_or_create(&NotRegistered { trunk: trunk.to_owned(), reason }).inc();
    }

    /// A call was refused before it began.
    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Why { reason }).inc();
    }

    /// A call was placed anew because a trunk failed.
    pub(super) fn rerouted(&self, trunk: &str) {
        self.rerouted.get_or_create(&OfTrunk { trunk: trunk.to_owned() }).inc();
    }

    /// A caller was held against a password.
    pub(super) fn authenticated(&self, result: &'static str) {
        self.authentications.get_or_create(&Shown { result }).inc();
    }

    /// Something happened on a call.
    pub(super) fn saw(&self, what: &What) {
        match what {
            What::Utterance { latency, .. } => {
                self.utterances.inc();
                self.utterance_latency.observe(f64::from(latency.0) / 1_000.0);
            }
            What::PromptStarted { after_utterance: Some(after), .. } => {
                self.answered_after.observe(f64::from(after.0) / 1_000.0);
            }
            What::PromptInterrupted { by: StoppedBy::Speech | StoppedBy::Key, .. } => {
                self.interruptions.inc();
            }
            What::Transfer { stage: Stage::Answered(became) | Stage::Failed(became), .. } => {
                self.transfers.get_or_create(&Became { outcome: became.as_str() }).inc();
            }
            What::ReferRefused { .. } => {
                self.refers_refused.inc();
            }
            What::ServiceTrouble { service, .. } => {
                self.troubles.get_or_create(&Which { service: service.as_str() }).inc();
            }
            _ => {}
        }
    }

    /// A call is over.
    pub(super) fn over(&self, record: &CallRecord) {
        let labels =
            Ended { trunk: record.trunk.clone(), direction: record.direction, outcome: record.outcome.as_str() };
        self.ended.get_or_create(&labels).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::line::Heard;
    use crate::ms::Ms;

    #[test]
    fn only_callers_interrupt() {
        let metrics = Metrics::default();
        for by in [StoppedBy::Speech, StoppedBy::Key, StoppedBy::Stop, StoppedBy::Hangup] {
            let heard = Heard { prompt_id: "p".to_owned(), heard: Ms(0), segment: 0, characters: 0 };
            metrics.saw(&What::PromptInterrupted { heard, by, reaction: Ms(0) });
        }
        assert_eq!(metrics.interruptions.get(), 2);
    }
}
