//! What the switchboard counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::call::event::{Stage, StoppedBy, What};
use crate::call::quality::Occasion;
use crate::call::record::{CallRecord, LineQuality};
use crate::call::transfer::Handed;
use crate::ms::Ms;

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

/// Of a line: by which trunk, and who heard it so, "us" or the "far_end".
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ear {
    trunk: String,
    heard_by: &'static str,
}

/// Of a line that was used: by which trunk, and how it was coded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Coded {
    trunk: String,
    codec: &'static str,
}

/// Makes the histogram of a line's figure when a trunk has its first one.
type Buckets = fn() -> Histogram;

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
    under_runs: Counter,
    transfers: Family<Became, Counter>,
    refers_refused: Family<Why, Counter>,
    refers_followed: Family<Became, Counter>,
    troubles: Family<Which, Counter>,
    answered_after: Histogram,
    utterance_latency: Histogram,
    poor_lines: Family<OfTrunk, Counter>,
    coded: Family<Coded, Counter>,
    mos: Family<Ear, Histogram, Buckets>,
    loss: Family<Ear, Histogram, Buckets>,
    jitter: Family<Ear, Histogram, Buckets>,
    round_trip: Family<OfTrunk, Histogram, Buckets>,
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
            under_runs: Counter::default(),
            transfers: Family::default(),
            refers_refused: Family::default(),
            refers_followed: Family::default(),
            troubles: Family::default(),
            answered_after: turns(),
            utterance_latency: turns(),
            poor_lines: Family::default(),
            coded: Family::default(),
            mos: Family::new_with_constructor(|| Histogram::new([1.5, 2.0, 2.6, 3.1, 3.6, 4.0, 4.2, 4.3, 4.4])),
            loss: Family::new_with_constructor(|| {
                Histogram::new([0.0, 0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5])
            }),
            // 1 ms to 256 ms, and to 2.05 s.
            jitter: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 9))),
            round_trip: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 12))),
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
        let under_runs_help = "Times that the sound of a prompt was due and had not come, of calls that are over";
        registry.register("prompt_under_runs", under_runs_help, self.under_runs.clone());
        registry.register("transfers", "Attempts to hand a call over, by what became of them", self.transfers.clone());
        registry.register(
            "sip_refers_refused",
            "REFERs of far ends that were refused, by reason",
            self.refers_refused.clone(),
        );
        registry.register(
            "sip_refers_followed",
            "REFERs of far ends that were followed, by what became of them",
            self.refers_followed.clone(),
        );
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
        registry.register("lines_poor", "Times that a line became poor, by trunk", self.poor_lines.clone());
        registry.register("line_codecs", "Calls that had media, by how their line was coded", self.coded.clone());
        registry.register(
            "line_mos",
            "Mean opinion score of a call's line, listening, by the E-model",
            self.mos.clone(),
        );
        registry.register("line_loss_ratio", "Share of a call's packets that were lost on the way", self.loss.clone());
        registry.register("line_jitter_seconds", "Interarrival jitter at the end of a call", self.jitter.clone());
        registry.register(
            "line_round_trip_seconds",
            "To the far end and back, as a call measured it last",
            self.round_trip.clone(),
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
            What::Quality { trunk, occasion: Occasion::Poor, .. } => {
                self.poor_lines.get_or_create(&OfTrunk { trunk: trunk.clone() }).inc();
            }
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
            What::ReferRefused { why, .. } => {
                self.refers_refused.get_or_create(&Why { reason: why }).inc();
            }
            // An answer that came too late is no attempt.
            What::Referred { stage: Stage::Failed(Handed::Refused), .. } => {}
            What::Referred { stage: Stage::Answered(became) | Stage::Failed(became), .. } => {
                self.refers_followed.get_or_create(&Became { outcome: became.as_str() }).inc();
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
        self.line(&record.trunk, &record.quality);
    }

    /// What is not known of a line is not observed.
    fn line(&self, trunk: &str, quality: &LineQuality) {
        if let Some(codec) = quality.codec {
            self.coded.get_or_create(&Coded { trunk: trunk.to_owned(), codec: codec.name }).inc();
        }
        self.under_runs.inc_by(quality.under_runs);
        let observe = |family: &Family<Ear, Histogram, Buckets>, heard_by, value: f64| {
            family.get_or_create(&Ear { trunk: trunk.to_owned(), heard_by }).observe(value);
        };
        let seconds = |ms: Ms| f64::from(ms.0) / 1_000.0;
        if let Some(heard) = quality.heard {
            observe(&self.loss, "us", heard.loss_rate.into());
            observe(&self.jitter, "us", seconds(quality.jitter_ms));
            heard.mos_lq.into_iter().for_each(|mos| observe(&self.mos, "us", mos.into()));
        }
        let Some(peer) = quality.peer else { return };
        // Of what we have sent it may not have expected the last second.
        observe(&self.loss, "far_end", peer.lost as f64 / quality.sent.max(1) as f64);
        observe(&self.jitter, "far_end", seconds(peer.jitter_ms));
        if let Some(mos) = peer.heard.and_then(|heard| heard.mos_lq) {
            observe(&self.mos, "far_end", mos.into());
        }
        if let Some(trip) = peer.round_trip_ms {
            self.round_trip.get_or_create(&OfTrunk { trunk: trunk.to_owned() }).observe(seconds(trip));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::line::Heard;
    use crate::call::record::{LineCodec, PeerQuality};
    use crate::rtp::xr::VoipMetrics;

    #[test]
    fn only_callers_interrupt() {
        let metrics = Metrics::default();
        for by in [StoppedBy::Speech, StoppedBy::Key, StoppedBy::Stop, StoppedBy::Hangup] {
            let heard = Heard { prompt_id: "p".to_owned(), heard: Ms(0), segment: 0, characters: 0 };
            metrics.saw(&What::PromptInterrupted { heard, by, reaction: Ms(0) });
        }
        assert_eq!(metrics.interruptions.get(), 2);
    }

    #[test]
    fn of_a_line_only_what_is_known_is_observed() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.line("silent", &LineQuality::default());
        let heard = Some(VoipMetrics { loss_rate: 0.02, mos_lq: Some(4.1), ..VoipMetrics::default() });
        let codec = Some(LineCodec { name: "G722", clock_rate: 8_000, channels: 1, ptime_in: None, ptime_out: Ms(20) });
        metrics.line("bare", &LineQuality { codec, heard, jitter_ms: Ms(3), under_runs: 3, ..LineQuality::default() });
        let peer = PeerQuality { lost: 5, jitter_ms: Ms(7), round_trip_ms: Some(Ms(80)), heard: None };
        metrics.line("whole", &LineQuality { heard, sent: 100, peer: Some(peer), ..LineQuality::default() });
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("it writes");
        let has = |line: &str| assert!(text.contains(line), "{line} is not in {text}");
        has("line_codecs_total{trunk=\"bare\",codec=\"G722\"} 1");
        has("prompt_under_runs_total 3");
        has("line_mos_sum{trunk=\"bare\",heard_by=\"us\"} 4.0999");
        has("line_loss_ratio_sum{trunk=\"whole\",heard_by=\"far_end\"} 0.05");
        has("line_jitter_seconds_sum{trunk=\"whole\",heard_by=\"far_end\"} 0.007");
        has("line_round_trip_seconds_sum{trunk=\"whole\"} 0.08");
        for unknown in [
            "trunk=\"silent\"",
            "line_round_trip_seconds_sum{trunk=\"bare\"",
            "line_mos_sum{trunk=\"whole\",heard_by=\"far_end\"",
        ] {
            assert!(!text.contains(unknown), "{unknown}: {text}");
        }
    }
}
