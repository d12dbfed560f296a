//! The table.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

/// DESIGN.md's bars, for a whole robot call and for a call's set-up.
const CPU_MS: f64 = 0.6;
const KIB: f64 = 100.0;
const PACING_US: u64 = 1_000;
/// Of what is spoken, recognition gets all; a tenth of a second at either end of a short hold is not measured.
const HEARD: f64 = 0.95;
/// The server's counter of services that failed a call.
pub(super) const TROUBLES: &str = "trunkline_service_troubles_total";
const SETUP_CPU_MS: f64 = 0.5;
const SETUP_P99_MS: f64 = 10.0;

/// Three points of a distribution, and how many values it has.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Points {
    pub(super) count: u64,
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

impl From<&super::histogram::Histogram> for Points {
    fn from(of: &super::histogram::Histogram) -> Points {
        Points { count: of.count(), p50: of.quantile(0.5), p99: of.quantile(0.99), max: of.max() }
    }
}

/// What came of calls that were held.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Held {
    pub(super) calls: usize,
    pub(super) seconds: f64,
    /// CPU-ms of the server per call-second, kernel included.
    pub(super) cpu_ms: f64,
    /// The same by the server's threads.
    pub(super) by_thread: BTreeMap<String, f64>,
    /// What the kernel alone takes for as many packets, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kernel_ms: Option<f64>,
    pub(super) rss_idle_kib: u64,
    pub(super) rss_kib: u64,
    /// KiB a minute, while the calls are held.
    pub(super) rss_slope: f64,
    pub(super) voluntary_s: f64,
    pub(super) involuntary_s: f64,
    pub(super) rcvbuf_errors: u64,
    /// What the hypervisor kept from the machine's cores, ms a second.
    pub(super) stolen_ms_s: f64,
    /// µs.
    pub(super) pacing: Points,
    pub(super) capture: Option<Points>,
    pub(super) packets: u64,
    pub(super) lost: u64,
    pub(super) late: u64,
    pub(super) strange: u64,
    /// Of the time, how much had a packet with the robot's voice.
    pub(super) voiced: f64,
    /// Audio that recognition, or a neighbour's robot, got of all that was spoken into the phones, 1 is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) heard: Option<f64>,
    /// Of a server of ours.
    #[serde(flatten)]
    pub(super) inside: Option<Inside>,
    /// Of a neighbour's robot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) robot: Option<Spoke>,
    pub(super) failed: u64,
    pub(super) reasons: BTreeMap<String, u64>,
    /// CPU-ms of the harness per call-second, by thread.
    pub(super) harness: BTreeMap<String, f64>,
    pub(super) harness_late: Points,
    /// After the last call: KiB, files and threads more than before the first.
    pub(super) left_kib: i64,
    pub(super) left_files: i64,
    pub(super) left_threads: i64,
}

/// What only a server of ours tells, or decides.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Inside {
    pub(super) socket_drops: u64,
    /// µs, beyond `endpoint_ms`.
    pub(super) utterance: Points,
    /// µs, `min_speech_ms` included.
    pub(super) interruption: Points,
    pub(super) not_interrupted: u64,
    /// Its own counters that should not have moved.
    pub(super) counters: BTreeMap<String, f64>,
}

/// What the robot of a neighbour spoke.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Spoke {
    pub(super) frames: u64,
    pub(super) broken: u64,
    /// Prompts that came to the phones after a pause.
    pub(super) pauses: u64,
    /// µs.
    pub(super) lateness: Points,
}

impl Held {
    pub(super) fn kib_per_call(&self) -> f64 {
        (self.rss_kib as f64 - self.rss_idle_kib as f64) / self.calls.max(1) as f64
    }

    /// The bars that were missed, in words.
    pub(super) fn missed(&self) -> Vec<String> {
        let mut missed = self.broken();
        let mut bar = |held: bool, what: String| {
            if !held {
                missed.push(what);
            }
        };
        bar(self.cpu_ms <= CPU_MS, format!("{:.3} ms of CPU per call-second, the bar is {CPU_MS}", self.cpu_ms));
        bar(self.kib_per_call() <= KIB, format!("{:.0} KiB a call, the bar is {KIB}", self.kib_per_call()));
        bar(self.pacing.p99 < PACING_US, format!("pacing p99 {} µs, the bar is {PACING_US}", self.pacing.p99));
        missed
    }

    /// What must not happen at any load that a server takes.
    pub(super) fn broken(&self) -> Vec<String> {
        let inside = |what: fn(&Inside) -> u64| self.inside.as_ref().map_or(0, what);
        let counts = [
            (self.failed, "calls failed"),
            (self.lost, "packets of the server were lost"),
            (inside(|inside| inside.socket_drops), "datagrams were dropped at the server's sockets for want of buffer"),
            (inside(Inside::troubles), "times a service failed a call"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let heard = self.heard.filter(|heard| self.inside.is_some() && *heard < HEARD);
        let deaf = heard.map(|heard| format!("recognition got {:.1} % of what was spoken", heard * 100.0));
        counts.chain(deaf).collect()
    }

    pub(super) fn table(&self) -> String {
        let mut table = Table::default();
        let threads = |of: &BTreeMap<String, f64>| {
            of.iter()
                .filter(|(_, ms)| **ms >= 0.000_5)
                .map(|(name, ms)| format!("{name} {ms:.3}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        table.row("calls held", format!("{} for {:.0} s", self.calls, self.seconds));
        table.row("CPU of the server, ms per call-second", format!("{:.3}", self.cpu_ms));
        table.row("  by thread", threads(&self.by_thread));
        if let Some(kernel) = self.kernel_ms {
            let times = self.cpu_ms / kernel;
            table.row(
                "  the kernel alone, for as many packets",
                format!("{kernel:.3}; the server: {times:.1} times as much"),
            );
        }
        table.row(
            "memory",
            format!(
                "{:.1} KiB a call ({} KiB idle, {} KiB now, {:+.0} KiB a minute)",
                self.kib_per_call(),
                self.rss_idle_kib,
                self.rss_kib,
                self.rss_slope
            ),
        );
        table.row(
            "context switches a second",
            format!("{:.0} waited, {:.0} gave way", self.voluntary_s, self.involuntary_s),
        );
        table.row("time that the hypervisor took, ms a second", format!("{:.1}", self.stolen_ms_s));
        table.row("send pacing off 20 ms, µs, phones' clock", distribution(&self.pacing));
        if let Some(capture) = &self.capture {
            table.row("send pacing off 20 ms, µs, from a capture", distribution(capture));
        }
        table.row(
            "packets of the server",
            format!("{}, {} lost, {} late by over 20 ms, {} strange", self.packets, self.lost, self.late, self.strange),
        );
        table.row("  with the robot's voice", format!("{:.1} % of the time", self.voiced * 100.0));
        table.row("RcvbufErrors of the whole machine", self.rcvbuf_errors.to_string());
        if let Some(inside) = &self.inside {
            inside.rows(&mut table);
        }
        if let Some(heard) = self.heard {
            table.row("audio that recognition, or the robot, got", format!("{:.2} %", heard * 100.0));
        }
        if let Some(robot) = &self.robot {
            table.row(
                "frames of the robot",
                format!("{}, {} connections broken, {} pauses", robot.frames, robot.broken, robot.pauses),
            );
            table.row("  its lateness, µs", distribution(&robot.lateness));
        }
        table.row("failed calls", format!("{}{}", self.failed, reasons(&self.reasons)));
        table.row(
            "left after the last call",
            format!("{:+} KiB, {:+} files, {:+} threads", self.left_kib, self.left_files, self.left_threads),
        );
        table.row("the harness itself, ms per call-second", threads(&self.harness));
        table.row("  its phones' lateness, µs", distribution(&self.harness_late));
        table.text
    }
}

impl Inside {
    fn troubles(&self) -> u64 {
        self.counters.get(TROUBLES).map_or(0, |troubles| *troubles as u64)
    }

    fn rows(&self, table: &mut Table) {
        table.row("kernel drops at the server's sockets", self.socket_drops.to_string());
        table.row("end of speech → utterance, beyond endpoint_ms, ms", in_ms(&self.utterance));
        table.row(
            "first sound → last packet of the prompt, ms",
            format!(
                "{} (200 of them min_speech_ms), {} not interrupted",
                in_ms(&self.interruption),
                self.not_interrupted
            ),
        );
        for (name, value) in self.counters.iter().filter(|(_, value)| **value != 0.0) {
            table.row(name, format!("{value}"));
        }
    }
}

/// What came of calls that were only set up and ended.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct SetUp {
    pub(super) direction: String,
    pub(super) calls: u64,
    pub(super) rate: f64,
    pub(super) failed: u64,
    pub(super) retransmissions: u64,
    /// INVITE to 200, ms.
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
    /// CPU-ms of the server per call, kernel included.
    pub(super) cpu_ms: f64,
    pub(super) by_thread: BTreeMap<String, f64>,
    /// What they came to, by trunk: `load` has those that behave, each other one is named for its scenario.
    pub(super) outcomes: BTreeMap<String, BTreeMap<String, u64>>,
    /// Of them none came to anything else.
    pub(super) unexpected: Vec<String>,
    pub(super) refused_at_the_door: u64,
    /// When nothing lingers any more.
    pub(super) rss_kib: u64,
    /// More than before the first call of this row.
    pub(super) left_kib: i64,
    /// More than before the first call of all.
    pub(super) left_files: i64,
    pub(super) left_threads: i64,
    pub(super) left_tasks: f64,
    pub(super) left_calls: f64,
    pub(super) left_ports: f64,
    pub(super) left_legs: f64,
    pub(super) left_lingering: f64,
}

/// By how many KiB memory has grown from the second row to the last, per 10,000 calls; the first one warms up.
pub(super) fn grown(rows: &[SetUp]) -> Option<f64> {
    let [_, second, later @ .., last] = rows else { return None };
    let calls: u64 = later.iter().map(|row| row.calls).sum::<u64>() + last.calls;
    Some((last.rss_kib as f64 - second.rss_kib as f64) * 10_000.0 / calls as f64)
}

impl SetUp {
    /// What is not back at the idle figure, memory aside.
    pub(super) fn left(&self) -> Vec<String> {
        let counts = [
            (self.left_calls, "calls"),
            (self.left_ports, "ports"),
            (self.left_legs, "legs"),
            (self.left_lingering, "sessions"),
            (self.left_tasks, "tasks"),
            (self.left_files as f64, "files"),
            (self.left_threads as f64, "threads"),
        ];
        counts
            .iter()
            .filter(|(count, _)| *count > 0.0)
            .map(|(count, what)| format!("{count} {what} are left"))
            .collect()
    }

    pub(super) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.failed > 0 {
            broken.push(format!("{} calls failed", self.failed));
        }
        broken.extend(self.unexpected.iter().cloned());
        broken.extend(self.left());
        broken
    }

    pub(super) fn missed(&self) -> Vec<String> {
        let mut missed = self.broken();
        if self.cpu_ms > SETUP_CPU_MS {
            missed.push(format!("{:.3} ms of CPU a call, the bar is {SETUP_CPU_MS}", self.cpu_ms));
        }
        if self.p99_ms >= SETUP_P99_MS {
            missed.push(format!("set-up p99 {:.1} ms, the bar is {SETUP_P99_MS}", self.p99_ms));
        }
        missed
    }

    pub(super) fn table(&self) -> String {
        let mut table = Table::default();
        table.row("calls set up and ended", format!("{} {}, {:.0} a second", self.calls, self.direction, self.rate));
        table.row("failed, retransmissions", format!("{}, {}", self.failed, self.retransmissions));
        table
            .row("INVITE → 200, ms", format!("p50 {:.1}, p99 {:.1}, max {:.1}", self.p50_ms, self.p99_ms, self.max_ms));
        table.row("CPU of the server, ms a call", format!("{:.3}", self.cpu_ms));
        let threads: Vec<_> = self.by_thread.iter().map(|(name, ms)| format!("{name} {ms:.3}")).collect();
        table.row("  by thread", threads.join(", "));
        for (trunk, of) in &self.outcomes {
            let each: Vec<_> = of.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
            table.row(&format!("  {trunk}"), each.join(", "));
        }
        if self.refused_at_the_door > 0 {
            table.row("  refused at the door", self.refused_at_the_door.to_string());
        }
        table.row("unexpected", self.unexpected.len().to_string());
        for what in &self.unexpected {
            table.row("  ", what.clone());
        }
        table.row(
            "left when nothing lingers",
            format!(
                "{} calls, {} ports, {} legs, {} sessions, {} tasks, {} files, {} threads",
                self.left_calls,
                self.left_ports,
                self.left_legs,
                self.left_lingering,
                self.left_tasks,
                self.left_files,
                self.left_threads
            ),
        );
        table.row("memory then", format!("{} KiB, {:+} than before this row", self.rss_kib, self.left_kib));
        table.text
    }
}

#[derive(Default)]
struct Table {
    text: String,
}

impl Table {
    fn row(&mut self, name: &str, value: String) {
        // To a String nothing fails.
        let _ = writeln!(self.text, "{name:<50} {value}");
    }
}

fn distribution(points: &Points) -> String {
    format!("p50 {}, p99 {}, max {}", points.p50, points.p99, points.max)
}

fn in_ms(points: &Points) -> String {
    let ms = |us: u64| us as f64 / 1_000.0;
    format!("p50 {:.1}, p99 {:.1}, max {:.1} (of {})", ms(points.p50), ms(points.p99), ms(points.max), points.count)
}

fn reasons(reasons: &BTreeMap<String, u64>) -> String {
    let each: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    if each.is_empty() { String::new() } else { format!(": {}", each.join(", ")) }
}
