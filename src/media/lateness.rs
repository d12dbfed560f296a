//! How late the media threads serve their slots: counted by the threads, read by whoever decides whether there is room for more.
//!
//! A thread counts one figure for each tick on which it has legs, into atomics that nobody waits for. What a leg hears is the tail, so the
//! tail is what is asked for: the lateness that 99 of 100 ticks keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// The width of a step.
const STEP: Duration = Duration::from_micros(500);
/// Steps up to a whole slot of 20 ms; whatever is later has missed its slot.
const STEPS: usize = 40;
/// Steps at which the metric's buckets end: 0.5, 1, 2, 5, 10 and 20 ms.
const TOLD: [usize; 6] = [1, 2, 4, 10, 20, STEPS];

/// Counted since the beginning.
#[derive(Debug)]
pub(super) struct Counts {
    /// By step; the last one is for all that is later.
    ticks: [AtomicU64; STEPS + 1],
    nanos: AtomicU64,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts { ticks: std::array::from_fn(|_| AtomicU64::new(0)), nanos: AtomicU64::new(0) }
    }
}

impl Counts {
    fn add(&self, late: Duration) {
        let step = (late.as_nanos() / STEP.as_nanos()) as usize;
        self.ticks[step.min(STEPS)].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(late.as_nanos() as u64, Ordering::Relaxed);
    }

    fn ticks(&self) -> [u64; STEPS + 1] {
        std::array::from_fn(|step| self.ticks[step].load(Ordering::Relaxed))
    }
}

/// Where one thread counts: by itself, and into the sum of all of them.
#[derive(Debug)]
pub(super) struct Lateness {
    pub(super) own: Arc<Counts>,
    pub(super) all: Told,
}

impl Lateness {
    /// A tick that had legs was served so late.
    pub(super) fn add(&self, late: Duration) {
        self.own.add(late);
        self.all.0.add(late);
    }
}

/// The sum of all threads, as a metric.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(Arc<Counts>);

impl EncodeMetric for Told {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let ticks = self.0.ticks();
        let mut from = 0;
        let mut buckets = Vec::with_capacity(TOLD.len() + 1);
        for to in TOLD {
            buckets.push(((STEP * to as u32).as_secs_f64(), ticks[from..to].iter().sum()));
            from = to;
        }
        buckets.push((f64::INFINITY, ticks[from..].iter().sum()));
        let sum = Duration::from_nanos(self.0.nanos.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, ticks.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A look at the threads, again and again.
#[derive(Debug)]
pub struct Watch {
    threads: Vec<(Arc<Counts>, [u64; STEPS + 1])>,
}

impl Watch {
    pub(super) fn new(threads: impl Iterator<Item = Arc<Counts>>) -> Watch {
        Watch { threads: threads.map(|counts| (counts, [0; STEPS + 1])).collect() }
    }

    /// How late the worst thread has served 99 of 100 of its ticks since the last look, to half a millisecond, 20 ms at most; zero when
    /// nobody had a leg.
    pub fn worst(&mut self) -> Duration {
        let since = |(counts, before): &mut (Arc<Counts>, [u64; STEPS + 1])| {
            let now = counts.ticks();
            let ticks = std::array::from_fn(|step| now[step] - before[step]);
            *before = now;
            percentile_99(&ticks)
        };
        self.threads.iter_mut().map(since).max().unwrap_or_default()
    }
}

fn percentile_99(ticks: &[u64; STEPS + 1]) -> Duration {
    let all: u64 = ticks.iter().sum();
    let mut counted = 0;
    for (step, count) in ticks.iter().enumerate() {
        counted += count;
        if counted * 100 >= all * 99 && counted > 0 {
            return STEP * (step + 1).min(STEPS) as u32;
        }
    }
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    const MS: Duration = Duration::from_millis(1);

    fn lateness() -> Lateness {
        Lateness { own: Arc::default(), all: Told::default() }
    }

    #[test]
    fn one_tick_in_a_hundred_may_be_late_and_the_worst_thread_counts() {
        let (good, bad) = (lateness(), lateness());
        let mut watch = Watch::new([good.own.clone(), bad.own.clone()].into_iter());
        assert_eq!(watch.worst(), Duration::ZERO, "nobody has a leg");
        for thread in [&good, &bad] {
            (0..990).for_each(|_| thread.add(MS / 10));
            (0..10).for_each(|_| thread.add(15 * MS));
        }
        assert_eq!(watch.worst(), STEP);
        (0..989).for_each(|_| bad.add(MS / 10));
        (0..11).for_each(|_| bad.add(15 * MS));
        (0..9_000).for_each(|_| good.add(MS / 10));
        assert_eq!(watch.worst(), 15 * MS + STEP, "the good one does not make up for the bad one");
        assert_eq!(watch.worst(), Duration::ZERO, "what has been seen does not count twice");
        good.add(500 * MS);
        assert_eq!(watch.worst(), 20 * MS);
    }

    #[test]
    fn the_metric_is_a_histogram_of_all_threads() {
        let told = Told::default();
        let mut registry = Registry::default();
        registry.register("late", "Late", told.clone());
        for late in [MS / 10, 3 * MS, 25 * MS] {
            Lateness { own: Arc::default(), all: told.clone() }.add(late);
        }
        let mut page = String::new();
        text::encode(&mut page, &registry).expect("it can be written");
        for line in [
            "late_sum 0.0281",
            "late_count 3",
            "late_bucket{le=\"0.0005\"} 1",
            "late_bucket{le=\"0.005\"} 2",
            "late_bucket{le=\"0.02\"} 2",
            "late_bucket{le=\"+Inf\"} 3",
        ] {
            assert!(page.lines().any(|there| there == line), "{line}: {page}");
        }
    }
}
