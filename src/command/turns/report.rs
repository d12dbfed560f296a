//! What came of it: one table, and which bars were missed.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::Tried;
use super::plan::{ALONE, DEFAULT, ENDPOINTS_MS, GUARD_12, LONG, PAUSE, PAUSES_MS, QUICK, Row, Task, WORDS};

/// DESIGN.md's bars.
const UTTERANCE_MS: f64 = 20.0;
const WITH_BUFFER_MS: f64 = 40.0;
const STOP_MS: f64 = 120.0;
const SHARE: f64 = 0.05;

/// Points of a distribution, ms.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Points {
    count: usize,
    p50: f64,
    p95: f64,
    p99: f64,
    min: f64,
    max: f64,
}

impl Points {
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Points {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |q: f64| values.get(((values.len() as f64 * q).ceil() as usize).max(1) - 1).copied().unwrap_or(0.0);
        Points { count: values.len(), p50: at(0.5), p95: at(0.95), p99: at(0.99), min: at(0.0), max: at(1.0) }
    }
}

/// A row, counted.
#[derive(Debug, Clone, Serialize)]
struct Counted {
    task: &'static str,
    name: String,
    policy: &'static str,
    endpoint_ms: u32,
    turns: usize,
    /// False or missed interruptions, or utterances that were cut.
    counted: usize,
    /// The prompt fell silent, and went on.
    paused: usize,
    /// Of interruptions: first sound to the prompt's last packet.
    stop_ms: Option<Points>,
    bar: bool,
    /// The sounds for which it counts.
    which: BTreeMap<String, usize>,
}

/// Everything.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    turns: usize,
    calls: usize,
    seconds: f64,
    times_ms: BTreeMap<&'static str, Points>,
    rows: Vec<Counted>,
    /// Trials in which something went wrong, in words.
    broken: BTreeMap<String, usize>,
    faults: BTreeMap<String, usize>,
    lost_packets: u64,
    /// The jitter buffer's delay at the end of each call, as the records have it.
    buffer_ms: Points,
    harness_late_us: Points,
    missed: Vec<String>,
}

/// What was measured beside the trials.
pub(super) struct Around {
    pub(super) calls: usize,
    pub(super) seconds: f64,
    pub(super) buffer_ms: Vec<f64>,
    pub(super) lateness_us: Vec<f64>,
}

impl Report {
    pub(super) fn new(rows: &[Row], results: &[Tried], around: Around) -> Report {
        let mut report = Report {
            turns: results.len(),
            calls: around.calls,
            seconds: around.seconds,
            rows: rows.iter().enumerate().map(|(n, row)| counted(n, row, results)).collect(),
            lost_packets: results.iter().map(|result| result.lost).sum(),
            buffer_ms: Points::of(around.buffer_ms.into_iter()),
            harness_late_us: Points::of(around.lateness_us.into_iter()),
            ..Report::default()
        };
        let mut times = |what: &'static str, of: &dyn Fn(&Tried) -> Option<f64>| {
            report.times_ms.insert(what, Points::of(results.iter().filter_map(of)));
        };
        let is = |result: &Tried, task, policy| rows[result.row].task == task && rows[result.row].policy == policy;
        times("utterance", &|result| result.utterance);
        times("utterance_detected", &|result| result.utterance_detected);
        times("detected_start", &|result| result.detected_start);
        times("detected_stop", &|result| result.detected_stop);
        times("length_error", &|result| result.length_error);
        times("answer_recording", &|result| result.answer.filter(|_| rows[result.row].task == Task::AskFile));
        times("answer_text", &|result| result.answer.filter(|_| rows[result.row].task == Task::AskText));
        times("stop_default", &|result| result.stop.filter(|_| is(result, Task::Interrupt, DEFAULT)));
        times("stop_quick", &|result| result.stop.filter(|_| is(result, Task::Interrupt, QUICK)));
        times("stop_words", &|result| result.stop.filter(|_| is(result, Task::Interrupt, WORDS)));
        times("heard_error", &|result| result.heard_error);
        for result in results {
            if let Some(broken) = &result.broken {
                *report.broken.entry(broken.clone()).or_default() += 1;
            }
            for fault in &result.faults {
                *report.faults.entry(fault.clone()).or_default() += 1;
            }
        }
        report.missed = report.bars();
        report
    }

    /// The bars that were missed, in words.
    pub(super) fn missed(&self) -> &[String] {
        &self.missed
    }

    /// What must not happen whatever the machine is busy with.
    pub(super) fn wrong(&self) -> Vec<String> {
        let mut wrong: Vec<_> = self.broken.iter().map(|(what, count)| format!("{count} times {what}")).collect();
        if self.lost_packets > 0 {
            wrong.push(format!("{} packets of the server were lost", self.lost_packets));
        }
        wrong
    }

    fn bars(&self) -> Vec<String> {
        let mut missed = Vec::new();
        let mut bar = |what: &str, is: f64, most: f64| {
            if is > most {
                missed.push(format!("{what}: {is:.1} ms, the bar is {most}"));
            }
        };
        let p50 = |what: &str| self.times_ms.get(what).map_or(0.0, |points| points.p50);
        bar("end of speech → utterance, p50", p50("utterance"), WITH_BUFFER_MS);
        bar(
            "end of speech → utterance less the jitter buffer, p50",
            p50("utterance") - self.buffer_ms.p50,
            UTTERANCE_MS,
        );
        bar("first sound → last packet with quick knobs, p50", p50("stop_quick"), STOP_MS);
        for row in self.rows.iter().filter(|row| row.bar && row.turns > 0) {
            let share = row.counted as f64 / row.turns as f64;
            if share >= SHARE {
                let Counted { task, name, policy, endpoint_ms, counted, turns, .. } = row;
                missed.push(format!("{task}, {name}, {policy}, endpoint {endpoint_ms}: {counted} of {turns}"));
            }
        }
        missed
    }

    pub(super) fn table(&self) -> String {
        let mut out = String::new();
        self.times(&mut out);
        let kinds = [
            ("false interruptions", Task::Disturb, "prompts that were stopped by what is no interruption"),
            ("missed interruptions", Task::Interrupt, "prompts that went on although the caller wanted to speak"),
        ];
        for (title, task, what) in kinds {
            self.counts(&mut out, title, task, what);
        }
        self.cuts(&mut out);
        for (what, count) in self.broken.iter().chain(&self.faults) {
            let _ = writeln!(out, "{count} times: {what}");
        }
        out
    }

    fn times(&self, out: &mut String) {
        // To a String nothing fails.
        let _ = writeln!(out, "{} turns in {} calls side by side, {:.0} s\n", self.turns, self.calls, self.seconds);
        let _ = writeln!(out, "{:<66} {:>6} {:>7} {:>7} {:>7} {:>7}", "ms", "turns", "p50", "p95", "p99", "max");
        let names = [
            ("utterance", "end of speech (by its energy) → utterance, beyond endpoint_ms"),
            ("utterance_detected", "the same from the end that our own detector hears on a bare line"),
            ("detected_start", "where our detector hears the voice begin, less where it does"),
            ("detected_stop", "where our detector hears it end, less where it does"),
            ("length_error", "length of the utterance as it is told, less that of the sound"),
            ("answer_recording", "utterance → first packet of a recording"),
            ("answer_text", "utterance → first packet of a text, synthesis without delay"),
            ("stop_quick", "first sound → last packet, quick (start 40, min_speech 60)"),
            ("stop_default", "first sound → last packet, defaults (start 100, min_speech 200)"),
            ("stop_words", "first sound → last packet, words (known after 400 ms)"),
            ("heard_error", "heard, as told, less what the phone got of the prompt"),
        ];
        for (key, name) in names {
            if let Some(points) = self.times_ms.get(key) {
                let Points { count, p50, p95, p99, max, .. } = points;
                let _ = writeln!(out, "{name:<66} {count:>6} {p50:>7.1} {p95:>7.1} {p99:>7.1} {max:>7.1}");
            }
        }
        for (name, points, scale) in [
            ("the jitter buffer's part of it, as the calls' records say", &self.buffer_ms, 1.0),
            ("the bench's own lateness", &self.harness_late_us, 1_000.0),
        ] {
            let Points { count, p50, p95, p99, max, .. } = *points;
            let [p50, p95, p99, max] = [p50, p95, p99, max].map(|value| value / scale);
            let _ = writeln!(out, "{name:<66} {count:>6} {p50:>7.1} {p95:>7.1} {p99:>7.1} {max:>7.1}");
        }
    }

    fn counts(&self, out: &mut String, title: &str, task: Task, what: &str) {
        let rows: Vec<_> = self.rows.iter().filter(|row| row.task == name(task)).collect();
        let names: Vec<&str> = rows.iter().map(|row| &row.name[..]).collect();
        let names: Vec<&str> =
            names.iter().enumerate().filter(|(n, name)| !names[..*n].contains(name)).map(|(_, name)| *name).collect();
        let policies = [DEFAULT, ALONE, LONG, PAUSE, QUICK, GUARD_12, WORDS];
        let used: Vec<_> = policies.into_iter().filter(|policy| rows.iter().any(|row| row.policy == *policy)).collect();
        let _ = write!(out, "\n{:<36}", title);
        for policy in &used {
            let _ = write!(out, " {policy:>16}");
        }
        let _ = writeln!(out, "\n({what}; * the bar of 5 % holds there)");
        for name in names {
            let _ = write!(out, "{name:<36}");
            for policy in &used {
                let cell = rows.iter().find(|row| row.name == name && row.policy == *policy).map_or_else(
                    || "-".to_owned(),
                    |row| {
                        let paused = if row.paused > 0 { format!(" ({} paused)", row.paused) } else { String::new() };
                        format!("{}/{}{}{paused}", row.counted, row.turns, if row.bar { "*" } else { "" })
                    },
                );
                let _ = write!(out, " {cell:>16}");
            }
            let which: Vec<_> = rows
                .iter()
                .filter(|row| row.name == name)
                .flat_map(|row| row.which.iter())
                .fold(BTreeMap::<&str, usize>::new(), |mut all, (clip, count)| {
                    *all.entry(clip).or_default() += count;
                    all
                })
                .into_iter()
                .map(|(clip, count)| format!("{count} {clip}"))
                .collect();
            let _ = writeln!(out, "   {}", which.join(", "));
        }
    }

    fn cuts(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "\nutterances that were cut in two, by endpoint_ms (down) and the pause within them (across)"
        );
        let _ = write!(out, "{:<8}", "");
        for pause in PAUSES_MS {
            let _ = write!(out, " {pause:>8}");
        }
        for endpoint in ENDPOINTS_MS {
            let _ = write!(out, "\n{endpoint:<8}");
            for pause in PAUSES_MS {
                let mut rows = self.rows.iter().filter(|row| row.task == name(Task::Whole));
                let row = rows.find(|row| row.endpoint_ms == endpoint && row.name == pause.to_string());
                let cell = row.map_or("-".to_owned(), |row| {
                    format!("{}/{}{}", row.counted, row.turns, if row.bar { "*" } else { "" })
                });
                let _ = write!(out, " {cell:>8}");
            }
        }
        let _ = writeln!(out);
    }
}

fn name(task: Task) -> &'static str {
    match task {
        Task::AskFile => "question, answered by a recording",
        Task::AskText => "question, answered by a text",
        Task::Whole => "cut utterance",
        Task::Interrupt => "missed interruption",
        Task::Disturb => "false interruption",
    }
}

fn counted(n: usize, row: &Row, results: &[Tried]) -> Counted {
    let of: Vec<_> = results.iter().filter(|result| result.row == n && result.broken.is_none()).collect();
    let mut which = BTreeMap::new();
    for result in of.iter().filter(|result| result.counted) {
        *which.entry(result.name.clone()).or_default() += 1;
    }
    let stops = Points::of(of.iter().filter_map(|result| result.stop));
    Counted {
        task: name(row.task),
        name: row.name.clone(),
        policy: row.policy,
        endpoint_ms: row.knobs.endpoint_ms.unwrap_or_default(),
        turns: of.len(),
        counted: of.iter().filter(|result| result.counted).count(),
        paused: of.iter().filter(|result| result.paused).count(),
        stop_ms: (stops.count > 0).then_some(stops),
        bar: row.bar,
        which,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_values_that_were_measured() {
        let points = Points::of((1..=100).map(f64::from));
        assert_eq!((points.count, points.p50, points.p95, points.p99, points.max), (100, 50.0, 95.0, 99.0, 100.0));
        let few = Points::of([3.0, -1.0].into_iter());
        assert_eq!((few.min, few.p50, few.p99), (-1.0, -1.0, 3.0));
        assert_eq!(Points::of(std::iter::empty()).max, 0.0);
    }
}
