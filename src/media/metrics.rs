//! What the media threads count. A thread adds up by itself and tells once a second: nothing shared is touched per packet.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::lateness::Told;

/// Why something was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Reason {
    pub(super) reason: &'static str,
}

/// What a second opinion was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Said {
    pub(super) said: &'static str,
}

/// The counters of all media threads.
#[derive(Debug, Default)]
pub struct Metrics {
    pub(super) received: Counter,
    pub(super) sent: Counter,
    pub(super) dropped: Family<Reason, Counter>,
    pub(super) second_opinions: Family<Said, Counter>,
    pub(super) slots_missed: Counter,
    pub(super) late_ticks: Counter,
    pub(super) lateness: Told,
    pub(super) ports_used: Gauge,
    pub(super) legs: Gauge,
}

impl Metrics {
    /// Makes them known.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("media_packets_received", "RTP and RTCP datagrams read from sockets", self.received.clone());
        registry.register("media_packets_sent", "RTP and RTCP datagrams sent", self.sent.clone());
        registry.register(
            "media_dropped",
            "Datagrams and frames dropped: malformed, payload_type, source (RTP refused), unauthentic, replayed (SRTP refused), send (socket error), recogniser, recorder and listener (ring full), bridge (a frame for the other leg of a transfer that waited too long), unwatched (a call whose RTCP cannot be read)",
            self.dropped.clone(),
        );
        registry.register(
            "media_second_opinions",
            "Voices under prompts that would have stopped them or made them pause, by what was said of them: voice, other (the prompt was not stopped for it), and nobody (there was nobody to ask, and it counted as a voice)",
            self.second_opinions.clone(),
        );
        registry.register("media_slots_missed", "20 ms slots that a thread overslept", self.slots_missed.clone());
        registry.register("media_ticks_late", "1 ms ticks that came more than 1 ms late", self.late_ticks.clone());
        registry.register("media_lateness_seconds", "How late slots with legs were served", self.lateness.clone());
        registry.register("media_ports_used", "RTP ports in use", self.ports_used.clone());
        registry.register("media_legs", "Legs with media", self.legs.clone());
    }
}

/// One thread's sums since it last told.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) send_errors: u64,
    pub(super) malformed: u64,
    pub(super) payload_type: u64,
    pub(super) source: u64,
    pub(super) unauthentic: u64,
    pub(super) replayed: u64,
    pub(super) recogniser: u64,
    pub(super) recorder: u64,
    pub(super) listener: u64,
    pub(super) bridge: u64,
    pub(super) unwatched: u64,
    pub(super) voices: u64,
    pub(super) no_voices: u64,
    pub(super) not_asked: u64,
    pub(super) slots_missed: u64,
    pub(super) late_ticks: u64,
}

impl Sums {
    /// Something was sent, or the system refused.
    pub(super) fn sent_to(&mut self, result: std::io::Result<usize>) {
        match result {
            Ok(_) => self.sent += 1,
            Err(_) => self.send_errors += 1,
        }
    }

    /// Adds the sums to the counters, and begins anew.
    pub(super) fn tell(&mut self, metrics: &Metrics) {
        let sums = std::mem::take(self);
        metrics.received.inc_by(sums.received);
        metrics.sent.inc_by(sums.sent);
        metrics.slots_missed.inc_by(sums.slots_missed);
        metrics.late_ticks.inc_by(sums.late_ticks);
        for (said, count) in [("voice", sums.voices), ("other", sums.no_voices), ("nobody", sums.not_asked)] {
            metrics.second_opinions.get_or_create(&Said { said }).inc_by(count);
        }
        let drops = [
            ("send", sums.send_errors),
            ("malformed", sums.malformed),
            ("payload_type", sums.payload_type),
            ("source", sums.source),
            ("unauthentic", sums.unauthentic),
            ("replayed", sums.replayed),
            ("recogniser", sums.recogniser),
            ("recorder", sums.recorder),
            ("listener", sums.listener),
            ("bridge", sums.bridge),
            ("unwatched", sums.unwatched),
        ];
        for (reason, count) in drops {
            metrics.dropped.get_or_create(&Reason { reason }).inc_by(count);
        }
    }
}
