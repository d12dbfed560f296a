//! What the kernel says of a process, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Sums of a process up to now.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage {
    /// CPU seconds in all, kernel included.
    pub(super) cpu_s: f64,
    /// CPU seconds by name of thread, numbers at its end left out; of the threads that live.
    pub(super) by_thread: BTreeMap<String, f64>,
    /// Context switches of the threads that live: those that waited, and those that had to give way.
    pub(super) voluntary: u64,
    pub(super) involuntary: u64,
    /// Resident memory in KiB.
    pub(super) rss_kib: u64,
    pub(super) threads: usize,
    pub(super) files: usize,
}

impl Usage {
    /// Reads them; all zero of a process that is gone.
    pub(super) fn of(pid: u32) -> Usage {
        let root = PathBuf::from(format!("/proc/{pid}"));
        let stat = fs::read_to_string(root.join("stat")).unwrap_or_default();
        let mut usage = Usage { cpu_s: cpu_time(&stat).unwrap_or(0.0), ..Usage::default() };
        let mut exact = 0.0;
        for task in fs::read_dir(root.join("task")).into_iter().flatten().flatten() {
            let task = task.path();
            let Some(cpu) = run_time(&task) else { continue };
            exact += cpu;
            usage.threads += 1;
            *usage.by_thread.entry(name(&task)).or_default() += cpu;
            let status = fs::read_to_string(task.join("status")).unwrap_or_default();
            usage.voluntary += field(&status, "voluntary_ctxt_switches:");
            usage.involuntary += field(&status, "nonvoluntary_ctxt_switches:");
        }
        // Threads that have ended are in the former sum only, which is counted in hundredths of a second.
        if (usage.cpu_s - exact).abs() < 0.02 * usage.threads as f64 {
            usage.cpu_s = exact;
        }
        usage.rss_kib = rss_kib(pid);
        usage.files = fs::read_dir(root.join("fd")).map_or(0, Iterator::count);
        usage
    }

    /// What has been used since `before`; memory, threads and files as they are now.
    pub(super) fn since(&self, before: &Usage) -> Usage {
        let by_thread = self.by_thread.iter();
        let less = |name: &String| before.by_thread.get(name).copied().unwrap_or(0.0);
        Usage {
            cpu_s: self.cpu_s - before.cpu_s,
            by_thread: by_thread.map(|(name, cpu)| (name.clone(), cpu - less(name))).collect(),
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
            ..*self
        }
    }
}

/// Seconds of `/proc/PID/stat`: user and kernel together, since how they are told apart, by sampling, is wrong for a thread that runs at each
/// tick. The name in it may hold anything, so it is read from its last parenthesis.
fn cpu_time(stat: &str) -> Option<f64> {
    let rest = stat.rsplit_once(')')?.1;
    let mut fields = rest.split_whitespace().skip(11);
    let mut hundredths = || fields.next()?.parse::<f64>().ok();
    Some((hundredths()? + hundredths()?) / 100.0)
}

fn run_time(task: &Path) -> Option<f64> {
    let schedstat = fs::read_to_string(task.join("schedstat")).ok()?;
    Some(schedstat.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}

fn name(task: &Path) -> String {
    let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
    name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned()
}

fn field(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Resident memory of a process in KiB; 0 of one that is gone.
pub(super) fn rss_kib(pid: u32) -> u64 {
    field(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), "VmRSS:")
}

/// Datagrams that the kernel threw away because a receive buffer was full, of all sockets of this machine's namespace.
pub(super) fn receive_buffer_errors() -> u64 {
    let snmp = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let at = names.split(' ').position(|name| name == "RcvbufErrors");
    at.and_then(|at| values.split(' ').nth(at)?.parse().ok()).unwrap_or(0)
}

/// Seconds for which the hypervisor has kept this machine's cores from working so far, all cores together.
pub(super) fn stolen_s() -> f64 {
    stolen(&fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or(0.0)
}

/// The same from `/proc/stat`: the eighth time of its first line.
fn stolen(stat: &str) -> Option<f64> {
    let hundredths: f64 = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().nth(7)?.parse().ok()?;
    Some(hundredths / 100.0)
}

/// Whether somebody has bound all of these UDP ports.
pub(super) fn are_bound(ports: &[u16]) -> bool {
    let udp = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let bound: Vec<_> = udp.lines().skip(1).filter_map(port).collect();
    ports.iter().all(|port| bound.contains(port))
}

/// The local port of a line of `/proc/net/udp`.
fn port(line: &str) -> Option<u16> {
    u16::from_str_radix(line.split_whitespace().nth(1)?.split_once(':')?.1, 16).ok()
}

/// Datagrams dropped so far by the open UDP sockets whose local port is one of these.
pub(super) fn socket_drops(ports: std::ops::RangeInclusive<u16>) -> u64 {
    let udp = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let of_line = |line: &str| {
        ports.contains(&port(line)?).then(|| line.split_whitespace().next_back()?.parse::<u64>().ok()).flatten()
    };
    udp.lines().skip(1).filter_map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_can_be_read() {
        let before = Usage::of(std::process::id());
        assert!(before.rss_kib > 500 && before.threads > 0 && before.files > 2, "{before:?}");
        let mut sum = 0u64;
        while Usage::of(std::process::id()).since(&before).cpu_s < 0.03 {
            sum = (0..100_000u64).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        assert_ne!(sum, 1);
    }

    #[test]
    fn a_name_with_anything_in_it_is_no_harm() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0";
        assert_eq!(cpu_time(stat), Some(3.0));
        assert_eq!(cpu_time("7 (a"), None);
    }

    #[test]
    fn stolen_is_the_eighth_time() {
        assert_eq!(stolen("cpu  1 2 3 4 5 6 7 825 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n"), Some(8.25));
        assert!(stolen_s() >= 0.0 && stolen("intr 7").is_none());
    }

    #[test]
    fn nobody_is_nobody() {
        assert_eq!((Usage::of(u32::MAX).threads, rss_kib(u32::MAX)), (0, 0));
    }
}
