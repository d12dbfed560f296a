//! SIPp as many callers, or many called phones.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::Trouble;
use super::histogram::Histogram;

/// Calls that one may have up at a time.
pub(super) const AT_A_TIME: usize = 4_000;

/// How one is started.
#[derive(Debug, Clone, Copy)]
pub(super) struct How<'a> {
    /// For its traces.
    pub(super) folder: &'a Path,
    pub(super) name: &'static str,
    pub(super) scenario: &'a str,
    pub(super) calls: u32,
    /// Of a caller: calls a second.
    pub(super) rate: Option<f64>,
    /// Whether the scenario measures a time.
    pub(super) timed: bool,
    /// After which it gives up.
    pub(super) patience: Duration,
}

/// A SIPp that runs. Killed when dropped.
pub(super) struct Sipp {
    name: &'static str,
    child: Child,
    folder: PathBuf,
    calls: u32,
    timed: bool,
}

/// What came of its calls.
pub(super) struct Over {
    pub(super) failed: u64,
    pub(super) retransmissions: u64,
    /// Where calls failed: the first thing that was not as the scenario has it.
    pub(super) complaint: Option<String>,
}

impl Sipp {
    pub(super) fn start(how: How, args: &[&str]) -> Result<Sipp, Trouble> {
        let How { folder, name, scenario, calls, rate, timed, patience } = how;
        let file = |name: String| folder.join(name);
        let wrong = |error: std::io::Error| Trouble::Sipp(format!("{error}; install it (Debian: sip-tester)"));
        std::fs::write(file(format!("{name}.xml")), scenario).map_err(wrong)?;
        let output = std::fs::File::create(file(format!("{name}.out"))).map_err(wrong)?;
        let mut command = Command::new("sipp");
        command.current_dir(folder).args(["-sf", &format!("{name}.xml"), "-m", &calls.to_string(), "-nostdin"]);
        command.args(["-trace_stat", "-stf", &format!("{name}.stat"), "-fd", "1"]);
        command.args(["-trace_err", "-error_file", &format!("{name}.err")]);
        command.args(["-l", &AT_A_TIME.to_string(), "-timeout", &patience.as_secs().to_string()]);
        // It would end itself on a machine that is busy.
        command.args(["-watchdog_interval", "0"]);
        if let Some(rate) = rate {
            // So many in 1,000 s: rates below one a second are wanted too, and SIPp takes whole numbers.
            command.args(["-r", &format!("{:.0}", rate * 1_000.0), "-rp", "1000000"]);
        }
        if timed {
            command.args(["-trace_rtt", "-rtt_freq", "1"]);
        }
        let child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(wrong)?;
        Ok(Sipp { name, child, folder: folder.to_owned(), calls, timed })
    }

    /// Waits for its end, and reads what it has written; its times are added to `wait`.
    pub(super) async fn finish(mut self, patience: Duration, wait: &mut Histogram) -> Result<Over, Trouble> {
        let name = self.name;
        let ended = tokio::time::timeout(patience, self.child.wait()).await;
        // One that waits for calls that never come is ended with what it has.
        let _ = ended;
        let read = |ending: &str| std::fs::read(self.folder.join(format!("{name}.{ending}"))).unwrap_or_default();
        let read = |ending: &str| String::from_utf8_lossy(&read(ending)).into_owned();
        let stat = read("stat");
        let count = |column: &str| last_of(&stat, column);
        let done = count("SuccessfulCall(C)")
            .ok_or_else(|| Trouble::Sipp(format!("{name}: wrote no statistics; it said:\n{}", read("out").trim())))?;
        let files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten().filter(|_| self.timed);
        for path in files.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with("_rtt.csv")) {
            read_times(&std::fs::read_to_string(path).unwrap_or_default(), wait);
        }
        let failed = u64::from(self.calls).saturating_sub(done);
        let told = if failed > 0 { read("err") } else { String::new() };
        // What it tells of timeouts that its scenario wants is no complaint.
        let complaint = told.find("Aborting").or_else(|| told.find("nexpected")).map(|at| &told[at..]);
        Ok(Over {
            failed,
            retransmissions: count("Retransmissions(C)").unwrap_or(0),
            complaint: complaint.map(|told| format!("{name}: {}", told.lines().next().unwrap_or_default())),
        })
    }
}

/// A column's value in the last line of SIPp's statistics.
fn last_of(stat: &str, column: &str) -> Option<u64> {
    let mut lines = stat.lines();
    let at = lines.next()?.split(';').position(|name| name == column)?;
    lines.next_back()?.split(';').nth(at)?.parse().ok()
}

/// SIPp's `Date_ms;response_time_ms;rtd_no`.
fn read_times(csv: &str, wait: &mut Histogram) {
    for line in csv.lines().skip(1) {
        if let Some(ms) = line.split(';').nth(1).and_then(|ms| ms.parse::<f64>().ok()) {
            wait.add((ms * 1_000.0) as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sipp_s_files_are_read() {
        let stat = "StartTime;SuccessfulCall(C);Retransmissions(C)\nx;1;0\nx;250;3\n";
        assert_eq!((last_of(stat, "SuccessfulCall(C)"), last_of(stat, "Retransmissions(C)")), (Some(250), Some(3)));
        assert_eq!((last_of(stat, "Nothing"), last_of("", "StartTime")), (None, None));
        let mut wait = Histogram::of_waiting();
        read_times("Date_ms;response_time_ms;rtd_no\n1;2.5;invite\n2;40;invite\n", &mut wait);
        assert_eq!((wait.count(), wait.max()), (2, 40_000));
    }
}
