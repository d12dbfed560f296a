//! Overload: when this process uses too much of the processor, or the media threads serve their slots too late, new calls are refused, so
//! that those that are up keep their pacing.
//!
//! | measured, every half second | refused | taken again |
//! |---|---|---|
//! | share of the cores that this process may use | above the limit for 1.5 s | 5 points below it for 2 s |
//! | lateness of the worst media thread, 99 of 100 ticks | above the limit for 1.5 s | below half of it for 2 s |
//!
//! A burst of set-ups of a second therefore refuses nobody, and a load that sways about the limit does not open and close the door call by
//! call. The gate is pure; `watch` is the one who looks.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::Shells;
use super::router::Ask;
use crate::machine::Processor;

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(500);
/// How long a limit must be passed before calls are refused.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long all must be well before calls are taken again.
const CAUTION: Duration = Duration::from_millis(2_000);
/// So far below its limit the processor must be, as a share.
const CPU_BELOW: f64 = 0.05;

/// From where on new calls are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Per cent of the cores that this process may use; 0: no limit.
    pub cpu_percent: u32,
    /// How late the media threads may serve their slots; zero: no limit.
    pub lateness: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    pub(super) at: Instant,
    /// Since the sample before.
    pub(super) span: Duration,
    pub(super) cores: f64,
    /// 1.0 is all of the cores.
    pub(super) cpu: f64,
    pub(super) lateness: Duration,
}

/// Which limit is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Cpu,
    Lateness,
}

impl Reason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Reason::Cpu => "cpu",
            Reason::Lateness => "lateness",
        }
    }
}

/// One limit.
#[derive(Debug, Default)]
struct Latch {
    closed: bool,
    /// Since when the measured speaks against it.
    since: Option<Instant>,
}

impl Latch {
    fn observe(&mut self, sample: &Sample, above: bool, below: bool) {
        let against = if self.closed { below } else { above };
        if !against {
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert(sample.at - sample.span);
        let long_enough = if self.closed { CAUTION } else { PATIENCE };
        if sample.at - since >= long_enough {
            *self = Latch { closed: !self.closed, since: None };
        }
    }
}

/// Whether there is strength for one more call.
#[derive(Debug)]
pub(super) struct Gate {
    limits: Limits,
    cpu: Latch,
    lateness: Latch,
    last: Option<Sample>,
}

impl Gate {
    pub(super) fn new(limits: Limits) -> Gate {
        Gate { limits, cpu: Latch::default(), lateness: Latch::default(), last: None }
    }

    /// Takes what was measured; says which limit keeps new calls out.
    pub(super) fn observe(&mut self, sample: Sample) -> Option<Reason> {
        let Limits { cpu_percent, lateness } = self.limits;
        let limit = f64::from(cpu_percent) / 100.0;
        // A limit of less than 5 % has to be fallen short of, too.
        let enough = (limit - CPU_BELOW).max(limit / 2.0);
        self.cpu.observe(&sample, cpu_percent > 0 && sample.cpu > limit, sample.cpu < enough);
        let late = !lateness.is_zero() && sample.lateness > lateness;
        self.lateness.observe(&sample, late, sample.lateness < lateness / 2);
        self.last = Some(sample);
        self.refuses()
    }

    /// Which limit keeps new calls out.
    pub(super) fn refuses(&self) -> Option<Reason> {
        match (self.cpu.closed, self.lateness.closed) {
            // Who has no processor time left is late as well.
            (true, _) => Some(Reason::Cpu),
            (false, true) => Some(Reason::Lateness),
            (false, false) => None,
        }
    }

    /// A limit, what was measured last, and the way out.
    pub(super) fn explained(&self, reason: Reason) -> String {
        Explained(self, reason).to_string()
    }
}

struct Explained<'a>(&'a Gate, Reason);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explained(gate, reason) = self;
        let Some(Sample { cores, cpu, lateness, .. }) = gate.last else { return Ok(()) };
        match reason {
            Reason::Cpu => write!(
                f,
                "{:.0} % of {cores:.1} cores in use, and [limits] cpu_percent = {}; take calls elsewhere, or raise it",
                cpu * 100.0,
                gate.limits.cpu_percent
            ),
            Reason::Lateness => write!(
                f,
                "the media threads are {:.1} ms late, and [limits] late_ms = {}; take calls elsewhere, or raise it",
                lateness.as_secs_f64() * 1_000.0,
                gate.limits.lateness.as_millis()
            ),
        }
    }
}

/// Looks every half second, and tells the router; what has died for good is told to `broken`. Ends with the router.
pub(super) async fn watch(shells: Arc<Shells>, router: mpsc::UnboundedSender<Ask>, broken: watch::Sender<Vec<String>>) {
    let mut processor = Processor::new();
    let mut late = shells.media.lateness();
    loop {
        tokio::time::sleep(LOOK).await;
        let used = processor.look();
        let lateness = late.worst();
        let sample = Sample { at: Instant::now(), span: used.span, cores: used.cores, cpu: used.share, lateness };
        if router.send(Ask::Load(sample)).is_err() {
            return;
        }
        let dead = |number| format!("media thread {number} has died, and its calls with it: restart the process");
        let dead: Vec<_> = shells.media.dead().map(dead).collect();
        broken.send_if_modified(|before| {
            let more = dead.len() > before.len();
            if more {
                dead.iter().filter(|reason| !before.contains(reason)).for_each(|reason| tracing::error!("{reason}"));
                *before = dead;
            }
            more
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: (f64, u64) = (0.5, 1);

    /// The verdicts on samples of half a second each: the processor's share and the lateness in ms.
    fn verdicts(limits: Limits, samples: impl IntoIterator<Item = (f64, u64)>) -> Vec<Option<Reason>> {
        let mut gate = Gate::new(limits);
        let mut at = Instant::now();
        let judge = |(cpu, late)| {
            at += LOOK;
            gate.observe(Sample { at, span: LOOK, cores: 2.0, cpu, lateness: Duration::from_millis(late) })
        };
        samples.into_iter().map(judge).collect()
    }

    fn limits() -> Limits {
        Limits { cpu_percent: 90, lateness: Duration::from_millis(10) }
    }

    #[test]
    fn a_burst_of_a_second_refuses_nobody_and_a_longer_one_does() {
        let burst = [CALM, (1.0, 15), (1.0, 15), CALM, (1.0, 1), (1.0, 1), CALM, (0.5, 19), (0.5, 19), CALM];
        assert_eq!(verdicts(limits(), burst), [None; 10]);
        let cpu = Some(Reason::Cpu);
        assert_eq!(verdicts(limits(), [CALM, (0.95, 1), (0.95, 1), (0.95, 1)]), [None, None, None, cpu]);
        let late = Some(Reason::Lateness);
        assert_eq!(verdicts(limits(), [CALM, (0.5, 11), (0.5, 11), (0.5, 11)]), [None, None, None, late]);
    }

    #[test]
    fn what_sways_about_the_limit_does_not_open_and_close_the_door() {
        let (cpu, late) = (Some(Reason::Cpu), Some(Reason::Lateness));
        let mut samples = vec![(0.95, 1); 3];
        // 89 % is below the limit, but not far enough; 80 % is, but not for long enough.
        samples.extend([(0.89, 1), (0.92, 1)].repeat(20));
        samples.extend([(0.80, 1), (0.80, 1), (0.80, 1), (0.88, 1)].repeat(10));
        let told = verdicts(limits(), samples);
        assert_eq!(told[..2], [None; 2]);
        assert!(told[2..].iter().all(|verdict| *verdict == cpu), "{told:?}");
        let mut samples = vec![(0.1, 12); 3];
        samples.extend([(0.1, 6), (0.1, 9), (0.1, 4), (0.1, 4)].repeat(10));
        assert!(verdicts(limits(), samples)[2..].iter().all(|verdict| *verdict == late));
    }

    #[test]
    fn two_calm_seconds_open_the_door_again() {
        let cpu = Some(Reason::Cpu);
        let told = verdicts(limits(), [[(0.95, 1); 3], [CALM; 3], [CALM; 3]].concat());
        assert_eq!(told[2..], [cpu, cpu, cpu, cpu, None, None, None]);
    }

    #[test]
    fn of_two_reasons_the_processor_is_named_and_the_other_one_stays() {
        let (cpu, late) = (Some(Reason::Cpu), Some(Reason::Lateness));
        let told = verdicts(limits(), [[(0.95, 15); 4], [(0.5, 15); 4], [CALM; 4]].concat());
        assert_eq!(told, [None, None, cpu, cpu, cpu, cpu, cpu, late, late, late, late, None]);
    }

    #[test]
    fn without_a_limit_nothing_is_too_much() {
        assert_eq!(verdicts(Limits::default(), [(5.0, 20); 10]), [None; 10]);
        let one = Limits { cpu_percent: 0, ..limits() };
        assert_eq!(verdicts(one, [(5.0, 0); 10]), [None; 10]);
        let other = Limits { lateness: Duration::ZERO, ..limits() };
        assert_eq!(verdicts(other, [(0.1, 20); 10]), [None; 10]);
    }

    #[test]
    fn the_smallest_limit_can_be_fallen_short_of() {
        let one = Limits { cpu_percent: 1, ..limits() };
        let told = verdicts(one, [[(0.02, 1); 4], [(0.004, 1); 4]].concat());
        assert_eq!((told[3], told[7]), (Some(Reason::Cpu), None));
    }

    #[test]
    fn a_look_that_came_late_counts_for_its_whole_span() {
        let mut gate = Gate::new(limits());
        let at = Instant::now() + Duration::from_secs(9);
        let span = Duration::from_secs(2);
        let sample = Sample { at, span, cores: 1.5, cpu: 0.97, lateness: Duration::from_millis(12) };
        assert_eq!(gate.observe(sample), Some(Reason::Cpu));
        let said = gate.explained(Reason::Cpu);
        assert!(said.starts_with("97 % of 1.5 cores in use, and [limits] cpu_percent = 90;"), "{said}");
        let said = gate.explained(Reason::Lateness);
        assert!(said.starts_with("the media threads are 12.0 ms late, and [limits] late_ms = 10;"), "{said}");
    }
}
