//! Calls that are only set up and ended: INVITE, 200, ACK, BYE, by SIPp; and what they leave behind.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tonic::transport::Channel;

use super::histogram::Histogram;
use super::process::Usage;
use super::report::SetUp;
use super::stage::{self, Plan, Stage};
use super::{Direction, Setup, Trouble, verdict, write_json};
use crate::proto::control::v1::DialRequest;
use crate::proto::control::v1::control_client::ControlClient;

const CALLER: &str = include_str!("caller.xml");
const CALLEE: &str = include_str!("callee.xml");
/// RFC 3261 §17: no transaction lives longer than 64·T1; a little is added for a busy machine.
const LINGER: Duration = Duration::from_secs(60);
/// Calls that may be up at a time.
const AT_A_TIME: usize = 4_000;

/// Runs all directions on one server, and prints a table for each.
pub(super) async fn set_up(options: Setup) -> Result<(), Trouble> {
    let phone = std::net::UdpSocket::bind("127.0.0.2:0").and_then(|socket| socket.local_addr());
    let peer = phone.map_err(|error| Trouble::Socket(error.to_string()))?;
    let plan = Plan {
        program: options.server.program()?,
        cpus: options.server.server_cpus.clone(),
        calls: AT_A_TIME,
        record: false,
        peer,
        services: None,
        batch_ms: 100,
        no_overload: options.server.no_overload,
    };
    let stage = Stage::start(&plan).await?;
    stage::pin_all(&options.server.own_cpus)?;
    let control = ControlClient::connect(format!("http://127.0.0.1:{}", stage.control));
    let mut control = control.await.map_err(|error| Trouble::Server(format!("control: {error}")))?;
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for direction in &options.direction {
        let row = run(&stage, &mut control, peer.port(), *direction, &options).await?;
        print!("{}", row.table());
        wrong.extend(if options.server.assert { row.missed() } else { row.broken() });
        rows.push(row);
    }
    stage.strike().await?;
    write_json(&options.server, &rows)?;
    verdict(wrong)
}

async fn run(
    stage: &Stage,
    control: &mut ControlClient<Channel>,
    peer: u16,
    direction: Direction,
    options: &Setup,
) -> Result<SetUp, Trouble> {
    let (incoming, outgoing) = match direction {
        Direction::In => (options.calls, 0),
        Direction::Out => (0, options.calls),
        Direction::Mixed => (options.calls / 2, options.calls - options.calls / 2),
    };
    let rate = |calls: u32| f64::from(options.rate) * f64::from(calls) / f64::from(options.calls);
    let folder = std::env::temp_dir().join(format!("trunkline-load-sipp-{}", std::process::id()));
    let made = std::fs::create_dir_all(&folder);
    made.map_err(|error| Trouble::File(folder.clone(), error.to_string()))?;
    let patience = Duration::from_secs_f64(f64::from(options.calls) / f64::from(options.rate)) * 2 + LINGER;
    let before = Usage::of(stage.pid());
    let mut sipps = Vec::new();
    let mut wait = Histogram::of_waiting();
    let server = stage.sip.to_string();
    if outgoing > 0 {
        let port = peer.to_string();
        let args = ["-i", "127.0.0.2", "-p", &port];
        sipps.push(Sipp::start(&folder, "callee", CALLEE, outgoing, None, &args, patience)?);
        sleep(Duration::from_millis(500)).await;
    }
    let begun = Instant::now();
    if incoming > 0 {
        let args = ["-i", "127.0.0.3", "-s", "100", &server];
        sipps.push(Sipp::start(&folder, "caller", CALLER, incoming, Some(rate(incoming)), &args, patience)?);
    }
    let mut refused = 0;
    if outgoing > 0 {
        refused = dial(control, direction, outgoing, rate(outgoing), &mut wait).await;
    }
    let mut row = SetUp { direction: direction.name().to_owned(), calls: options.calls.into(), ..SetUp::default() };
    for sipp in sipps {
        let over = sipp.finish(patience, &mut wait).await?;
        row.failed += over.failed;
        row.retransmissions += over.retransmissions;
    }
    row.failed += refused;
    row.rate = f64::from(options.calls) / begun.elapsed().as_secs_f64();
    // Sessions that linger cost something too, when they are forgotten.
    let deadline = Instant::now() + LINGER;
    loop {
        let page = stage.metrics().await;
        row.left_calls = stage::metric(&page, "trunkline_calls");
        row.left_ports = stage::metric(&page, "trunkline_media_ports_used");
        row.left_lingering = stage::metric(&page, "trunkline_sip_lingering");
        if row.left_calls + row.left_ports + row.left_lingering == 0.0 || Instant::now() > deadline {
            break;
        }
        sleep(Duration::from_millis(500)).await;
    }
    let after = Usage::of(stage.pid());
    let used = after.since(&before);
    let per_call = |cpu_s: f64| cpu_s * 1_000.0 / f64::from(options.calls);
    row.cpu_ms = per_call(used.cpu_s);
    row.by_thread = used.by_thread.iter().map(|(name, cpu)| (name.clone(), per_call(*cpu))).collect();
    (row.p50_ms, row.p99_ms, row.max_ms) =
        (wait.quantile(0.5) as f64 / 1e3, wait.quantile(0.99) as f64 / 1e3, wait.max() as f64 / 1e3);
    row.left_kib = after.rss_kib as i64 - before.rss_kib as i64;
    row.left_files = after.files as i64 - before.files as i64;
    row.left_threads = after.threads as i64 - before.threads as i64;
    // A folder that stays is no reason to fail.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(row)
}

/// Has the robot dial at a rate; how many orders were refused. The wait is for the id of the call.
async fn dial(
    control: &ControlClient<Channel>,
    direction: Direction,
    calls: u32,
    rate: f64,
    wait: &mut Histogram,
) -> u64 {
    let mut pace = interval(Duration::from_secs_f64(1.0 / rate));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut orders = tokio::task::JoinSet::new();
    let mut refused = 0;
    let mut count = |done: Result<Option<u64>, tokio::task::JoinError>| match done {
        Ok(Some(us)) => wait.add(us),
        _ => refused += 1,
    };
    for n in 0..calls {
        pace.tick().await;
        let mut control = control.clone();
        let request_id = format!("{} {n}", direction.name());
        orders.spawn(async move {
            let begun = Instant::now();
            let request = DialRequest {
                request_id,
                callee: "100".to_owned(),
                dialogue: "none".to_owned(),
                speech: "none".to_owned(),
                ..DialRequest::default()
            };
            control.dial(request).await.ok().map(|_| begun.elapsed().as_micros() as u64)
        });
        while let Some(done) = orders.try_join_next() {
            count(done);
        }
    }
    while let Some(done) = orders.join_next().await {
        count(done);
    }
    refused
}

/// A SIPp that runs. Killed when dropped.
struct Sipp {
    name: &'static str,
    child: Child,
    folder: PathBuf,
    calls: u32,
}

/// What came of its calls.
struct Over {
    failed: u64,
    retransmissions: u64,
}

impl Sipp {
    fn start(
        folder: &Path,
        name: &'static str,
        scenario: &str,
        calls: u32,
        rate: Option<f64>,
        args: &[&str],
        patience: Duration,
    ) -> Result<Sipp, Trouble> {
        let file = |name: String| folder.join(name);
        let wrong = |error: std::io::Error| Trouble::Sipp(format!("{error}; install it (Debian: sip-tester)"));
        std::fs::write(file(format!("{name}.xml")), scenario).map_err(wrong)?;
        let output = std::fs::File::create(file(format!("{name}.out"))).map_err(wrong)?;
        let mut command = Command::new("sipp");
        command.current_dir(folder).args(["-sf", &format!("{name}.xml"), "-m", &calls.to_string(), "-nostdin"]);
        command.args(["-trace_stat", "-stf", &format!("{name}.stat"), "-fd", "1"]);
        command.args(["-l", &AT_A_TIME.to_string(), "-timeout", &patience.as_secs().to_string()]);
        if let Some(rate) = rate {
            command.args(["-r", &format!("{rate:.0}"), "-trace_rtt", "-rtt_freq", "1"]);
        }
        let child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(wrong)?;
        Ok(Sipp { name, child, folder: folder.to_owned(), calls })
    }

    /// Waits for its end, and reads what it has written.
    async fn finish(mut self, patience: Duration, wait: &mut Histogram) -> Result<Over, Trouble> {
        let name = self.name;
        let ended = tokio::time::timeout(patience, self.child.wait()).await;
        // One that waits for calls that never come is ended with what it has.
        let _ = ended;
        let stat = std::fs::read_to_string(self.folder.join(format!("{name}.stat"))).unwrap_or_default();
        let count = |column: &str| last_of(&stat, column);
        let done = count("SuccessfulCall(C)").ok_or_else(|| {
            let out = std::fs::read_to_string(self.folder.join(format!("{name}.out"))).unwrap_or_default();
            Trouble::Sipp(format!("{name}: wrote no statistics; it said:\n{}", out.trim()))
        })?;
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.to_string_lossy().ends_with("_rtt.csv") {
                read_times(&std::fs::read_to_string(path).unwrap_or_default(), wait);
            }
        }
        Ok(Over {
            failed: u64::from(self.calls).saturating_sub(done),
            retransmissions: count("Retransmissions(C)").unwrap_or(0),
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
