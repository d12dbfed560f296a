//! What the machine gives this process: processor time.
//!
//! The share is taken of what the process may use, not of what the machine has: the cores that it may run on (affinity), or less where its
//! control group has a quota (cgroup v2, `cpu.max`, as containers have it). What others use of them is not seen here; it is seen where it
//! hurts, in how late the media threads serve their slots.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Where Linux shows control groups.
const CGROUPS: &str = "/sys/fs/cgroup";

/// What was used since the last look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Used {
    /// From look to look.
    pub span: Duration,
    /// Cores that the process may use; less than a whole one where the quota says so.
    pub cores: f64,
    /// The share of them that it has used: 1.0 is all.
    pub share: f64,
}

/// Looks at the processor time of this process, again and again.
#[derive(Debug)]
pub struct Processor {
    at: Instant,
    used: Duration,
}

impl Processor {
    /// The first look is from now on.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Processor {
        Processor { at: Instant::now(), used: used() }
    }

    /// What was used since the last look. Affinity and quota may change while we run, so they are read anew.
    pub fn look(&mut self) -> Used {
        let now = Processor::new();
        let span = now.at - self.at;
        let cores = cores();
        let share = (now.used.saturating_sub(self.used)).as_secs_f64() / (span.as_secs_f64() * cores).max(1e-9);
        *self = now;
        Used { span, cores, share }
    }
}

/// Processor time of all threads, kernel included.
fn used() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

fn cores() -> f64 {
    let allowed = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count().max(1));
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let quota = quota(&group, |path| fs::read_to_string(Path::new(CGROUPS).join(path)).ok());
    quota.map_or(f64::from(allowed), |quota| quota.min(f64::from(allowed)))
}

/// The tightest quota of a group and those above it, in cores. `read` has the files below the root of all groups.
fn quota(group: &str, read: impl Fn(&Path) -> Option<String>) -> Option<f64> {
    let own = group.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let cores = |text: String| {
        let (most, period) = text.trim().split_once(' ')?;
        // No quota is "max".
        let (most, period) = (most.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
        (most > 0.0 && period > 0.0).then(|| most / period)
    };
    let quotas = Path::new(own).ancestors().filter_map(|path| read(&path.join("cpu.max")).and_then(cores));
    quotas.min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_quota_of_all_groups_counts() {
        let read = |path: &Path| match path.to_str()? {
            "cpu.max" => None,
            "a/cpu.max" => Some("150000 100000\n".to_owned()),
            "a/b/cpu.max" => Some("max 100000\n".to_owned()),
            "a/b/c/cpu.max" => Some("400000 100000\n".to_owned()),
            other => panic!("{other}"),
        };
        assert_eq!(quota("0::/a/b/c\n", read), Some(1.5));
        assert_eq!(quota("12:cpu:/x\n0::/a/b\n", read), Some(1.5));
        assert_eq!(quota("0::/\n", read), None, "the root has none");
        assert_eq!(
            quota("0::/\n", |_| Some("50000 100000".to_owned())),
            Some(0.5),
            "a container sees its own as the root"
        );
        assert_eq!(quota("12:cpu:/x\n", read), None, "version 1 is not read");
        assert_eq!(quota("0::/a\n", |_| Some("nonsense".to_owned())), None);
    }

    #[test]
    fn time_that_is_used_is_seen() {
        let mut processor = Processor::new();
        let begun = Instant::now();
        let before = used();
        while used() - before < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        let seen = processor.look();
        assert!(seen.span >= Duration::from_millis(1) && seen.span <= begun.elapsed() + Duration::from_millis(50));
        assert!(seen.cores > 0.0);
        assert!(seen.share * seen.cores * seen.span.as_secs_f64() >= 0.03, "{seen:?}");
    }
}
