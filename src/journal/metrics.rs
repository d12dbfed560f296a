//! The journal's figures.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Why a recording was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Age,
    Size,
}

impl Why {
    /// The key of `[recording]` that says so.
    pub(super) fn key(self) -> &'static str {
        match self {
            Why::Age => "keep_days",
            Why::Size => "keep_gib",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Removed {
    reason: &'static str,
}

/// Clones count into the same figures.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    pub events: Counter,
    pub watchers: Gauge,
    pub watchers_lost: Counter,
    pub recordings_open: Gauge,
    pub frames_written: Counter,
    pub frames_lost: Counter,
    pub frames_missing: Counter,
    pub records: Counter,
    pub disk_errors: Counter,
    pub disk_busy: Counter<f64, AtomicU64>,
    pub disk_stalls: Counter,
    pub disk_stalled: Gauge,
    pub removed: Family<Removed, Counter>,
    pub kept_bytes: Gauge,
    pub uploaded: Counter,
    pub uploaded_bytes: Counter,
    pub upload_failures: Counter,
    pub upload_waiting: Gauge,
}

impl Metrics {
    pub(super) fn removed(&self, why: Why) {
        self.removed.get_or_create(&Removed { reason: why.key() }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let journal = registry.sub_registry_with_prefix("journal");
        let mut counter = |name: &str, help: &str, it: &Counter| journal.register(name, help, it.clone());
        counter("events", "Events that got a number", &self.events);
        counter(
            "watchers_lost",
            "Watchers that were so slow that events they had not seen were dropped",
            &self.watchers_lost,
        );
        counter("frames_written", "20 ms frames written to recordings", &self.frames_written);
        counter("frames_lost", "20 ms frames that came but could not be written", &self.frames_lost);
        counter(
            "frames_missing",
            "20 ms frames that never came out of the media thread's ring: silence in the recording",
            &self.frames_missing,
        );
        counter("records", "Call records written", &self.records);
        counter("disk_errors", "Files that could not be made, written or closed", &self.disk_errors);
        counter("disk_stalls", "Times that the disk took longer than 1 s for something", &self.disk_stalls);
        counter("uploaded", "Recordings, each with its record, that are where they were to go", &self.uploaded);
        counter("uploaded_bytes", "Bytes of them", &self.uploaded_bytes);
        counter("upload_failures", "Tries to upload a recording that came to nothing", &self.upload_failures);
        journal.register(
            "disk_busy_seconds",
            "For how long the one thread that writes recordings was at it; a second in each second is all that it has",
            self.disk_busy.clone(),
        );
        journal.register(
            "disk_stalled_seconds",
            "For how long the disk has not come back from what it does; 0 below 1 s",
            self.disk_stalled.clone(),
        );
        journal.register("upload_waiting", "Recordings that wait for their upload", self.upload_waiting.clone());
        journal.register("removed", "Recordings, each with its record, that were removed", self.removed.clone());
        journal.register("kept_bytes", "Bytes of recordings and records, when last looked", self.kept_bytes.clone());
        journal.register("watchers", "Watchers now", self.watchers.clone());
        journal.register("recordings_open", "Recordings being written now", self.recordings_open.clone());
    }
}
