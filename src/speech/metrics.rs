//! What is counted of the speech services.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::channel::pool;

/// Counters of all services. Cheap to clone; the clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    dropped: Family<ByService, Counter>,
    failures: Family<ByStream, Counter>,
    reconnects: Family<ByService, Counter>,
    nonsense: Family<ByService, Counter>,
    silent: Family<ByService, Counter>,
    to_final: Family<ByService, Histogram>,
    to_sound: Family<ByService, Histogram>,
    /// Of the endpoints.
    pub(super) endpoints: pool::Metrics,
    pub(super) phrases: Phrases,
}

/// What is counted of the phrases that are kept on disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Phrases {
    pub hits: Counter,
    pub misses: Counter,
    pub evicted: Counter,
    pub skipped: Counter,
    pub failures: Counter,
    pub phrases: Gauge,
    pub bytes: Gauge,
}

impl Phrases {
    fn register(&self, registry: &mut Registry) {
        registry.register("phrase_cache_hits", "Segments that were said from the disk", self.hits.clone());
        let misses_help = "Segments that were looked for on the disk, and had to be synthesised";
        registry.register("phrase_cache_misses", misses_help, self.misses.clone());
        registry.register("phrase_cache_evicted", "Phrases that gave way to others", self.evicted.clone());
        let skipped_help = "Phrases that were not kept: too many were being written, or there can be no room";
        registry.register("phrase_cache_skipped", skipped_help, self.skipped.clone());
        let failures_help = "Phrases that could not be written, read, or read in time";
        registry.register("phrase_cache_failures", failures_help, self.failures.clone());
        registry.register("phrase_cache_phrases", "Phrases that are kept", self.phrases.clone());
        registry.register_with_unit("phrase_cache", "What they take", Unit::Bytes, self.bytes.clone());
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByService {
    service: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStream {
    service: String,
    stream: &'static str,
}

/// The counters of one service.
#[derive(Debug)]
pub(super) struct OfService {
    /// Frames of 20 ms that recognition never got.
    pub dropped: Counter,
    pub recognition_failures: Counter,
    pub synthesis_failures: Counter,
    pub reconnects: Counter,
    pub nonsense: Counter,
    /// Recognition streams that gave no text while somebody spoke.
    pub silent: Counter,
    pub to_final: Histogram,
    pub to_sound: Histogram,
}

fn seconds() -> Histogram {
    Histogram::new([0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0])
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            dropped: Family::default(),
            failures: Family::default(),
            reconnects: Family::default(),
            nonsense: Family::default(),
            silent: Family::default(),
            to_final: Family::new_with_constructor(seconds),
            to_sound: Family::new_with_constructor(seconds),
            endpoints: pool::Metrics::default(),
            phrases: Phrases::default(),
        }
    }
}

impl Metrics {
    /// Adds all to a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.endpoints.register("speech", registry);
        self.phrases.register(registry);
        registry.register("speech_dropped_frames", "20 ms of audio that recognition never got", self.dropped.clone());
        registry.register("speech_stream_failures", "Streams that did not end well", self.failures.clone());
        registry.register("speech_reconnects", "Recognition streams that were made anew", self.reconnects.clone());
        registry.register("speech_nonsense", "Answers that break the contract", self.nonsense.clone());
        let silent_help = "Recognition streams that were left because they gave no text while somebody spoke";
        registry.register("speech_silent", silent_help, self.silent.clone());
        let final_help = "From the end of an utterance, as it was told, to its final text";
        registry.register_with_unit("speech_final", final_help, Unit::Seconds, self.to_final.clone());
        let sound_help = "From the wish for a segment to its first sound";
        registry.register_with_unit("speech_first_sound", sound_help, Unit::Seconds, self.to_sound.clone());
    }

    pub(super) fn of(&self, service: &str) -> OfService {
        let one = ByService { service: service.to_owned() };
        let stream = |stream| {
            let label = ByStream { service: service.to_owned(), stream };
            self.failures.get_or_create(&label).clone()
        };
        OfService {
            dropped: self.dropped.get_or_create(&one).clone(),
            recognition_failures: stream("recognition"),
            synthesis_failures: stream("synthesis"),
            reconnects: self.reconnects.get_or_create(&one).clone(),
            nonsense: self.nonsense.get_or_create(&one).clone(),
            silent: self.silent.get_or_create(&one).clone(),
            to_final: self.to_final.get_or_create(&one).clone(),
            to_sound: self.to_sound.get_or_create(&one).clone(),
        }
    }
}
