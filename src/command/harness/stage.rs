//! The server that is measured: its ports, its configuration, its process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::Trouble;
use crate::command::ports::free;

const PATIENCE: Duration = Duration::from_secs(20);
/// The trunk of the phones that behave.
pub(in crate::command) const MAIN: &str = "load";

/// What differs between runs.
#[derive(Debug, Clone)]
pub(in crate::command) struct Plan {
    pub(in crate::command) program: PathBuf,
    /// On which cores the server runs; all when empty.
    pub(in crate::command) cpus: Vec<usize>,
    pub(in crate::command) calls: usize,
    /// Calls are recorded, in this format.
    pub(in crate::command) record: Option<String>,
    /// Where the main trunk's peer listens.
    pub(in crate::command) peer: SocketAddr,
    /// More trunks: name and profile of each.
    pub(in crate::command) more: Vec<(&'static str, String)>,
    /// The services' port; none: no services.
    pub(in crate::command) services: Option<u16>,
    pub(in crate::command) batch_ms: u32,
    /// It refuses no call because it is busy.
    pub(in crate::command) no_overload: bool,
    /// Recordings that it may play: name, below its prompts folder, and WAV.
    pub(in crate::command) prompts: Vec<(&'static str, Vec<u8>)>,
}

/// A server that runs. Killed when dropped.
pub(in crate::command) struct Stage {
    pub(in crate::command) sip: SocketAddr,
    pub(in crate::command) control: u16,
    web: u16,
    pub(in crate::command) media: std::ops::RangeInclusive<u16>,
    folder: PathBuf,
    child: Child,
}

impl Stage {
    /// Starts it, and waits until it is ready.
    pub(in crate::command) async fn start(plan: &Plan) -> Result<Stage, Trouble> {
        let folder = folder()?;
        let sip = free(&[Ipv4Addr::LOCALHOST], 3).map_err(|error| Trouble::Socket(error.to_string()))?;
        let (control, web) = (sip + 1, sip + 2);
        // Below the ports that the system gives to clients, and above those of tests that may run beside us (tests/interop/rig/ports.rs);
        // not always the same ones, for there may be two of us.
        let room = 2 * (plan.calls as u16 + 50);
        let first = 22_000 + 2 * rand::random_range(0..=10_700u16.saturating_sub(room) / 2);
        let last = first + room - 1;
        let services = plan.services.unwrap_or(1);
        let Plan { calls, record, peer, batch_ms, .. } = plan;
        let recording =
            record.as_ref().map(|format| format!("enabled = true\nformat = \"{format}\"\n")).unwrap_or_default();
        let overload = if plan.no_overload { "cpu_percent = 0\nlate_ms = 0\n" } else { "" };
        let names = if plan.services.is_some() { "" } else { "dialogue = \"none\"\nspeech = \"none\"\n" };
        let main = format!(
            "[sip]\nlisten = \"127.0.0.1:{sip}\"\n[media]\nports = \"{first}-{last}\"\n\
             [control]\nlisten = \"127.0.0.1:{control}\"\n[web]\nlisten = \"127.0.0.1:{web}\"\n\
             [profiles]\nfolder = \"sip-profiles\"\n\
             [[speech]]\nname = \"load\"\nendpoint = \"http://127.0.0.1:{services}\"\nbatch_ms = {batch_ms}\n\
             [[dialogue]]\nname = \"load\"\nendpoint = \"http://127.0.0.1:{services}\"\n\
             [recording]\n{recording}folder = \"recordings\"\n[events]\nkeep = 10000\n[prompts]\nfolder = \"prompts\"\n[limits]\ncalls = {}\ndrain_s = 0\n{overload}",
            calls + 20
        );
        let profile = format!(
            "[peer]\naddress = \"{peer}\"\nsources = [\"127.0.0.0/24\"]\n[identity]\ncaller = \"4930123456\"\n[[inbound]]\n{names}"
        );
        let write = |path: PathBuf, content: &[u8]| {
            std::fs::write(&path, content).map_err(|error| Trouble::File(path.clone(), error.to_string()))
        };
        for part in ["sip-profiles", "prompts"] {
            std::fs::create_dir_all(folder.join(part))
                .map_err(|error| Trouble::File(folder.clone(), error.to_string()))?;
        }
        write(folder.join("trunkline.toml"), main.as_bytes())?;
        for (name, wav) in &plan.prompts {
            write(folder.join("prompts").join(name), wav)?;
        }
        let main = std::iter::once((MAIN, profile));
        for (name, profile) in main.chain(plan.more.iter().cloned()) {
            write(folder.join(format!("sip-profiles/{name}.toml")), profile.as_bytes())?;
        }
        let child = spawn(plan, &folder)?;
        let sip = SocketAddr::from(([127, 0, 0, 1], sip));
        let mut stage = Stage { sip, control, web, media: first..=last, folder, child };
        stage.ready(plan.services.is_some()).await?;
        Ok(stage)
    }

    /// Where it writes the calls' records.
    pub(in crate::command) fn records(&self) -> PathBuf {
        self.folder.join("recordings")
    }

    pub(in crate::command) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// A metric's value, summed over its labels; 0 of one that has not counted yet.
    pub(in crate::command) async fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").await.unwrap_or_default();
        metric(&page, name)
    }

    /// The page of all metrics.
    pub(in crate::command) async fn metrics(&self) -> String {
        self.get("/metrics").await.unwrap_or_default()
    }

    /// Ends it; its folder goes with it.
    pub(in crate::command) async fn strike(mut self) -> Result<(), Trouble> {
        let wrong = |error: std::io::Error| Trouble::Server(error.to_string());
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid() as i32) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).map_err(|error| wrong(error.into()))?;
        }
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended
            .map_err(|_| Trouble::Server(format!("does not end; see {}", self.log().display())))?
            .map_err(wrong)?;
        match status.success() {
            true => Ok(()),
            false => Err(Trouble::Server(format!("{status} at its end; see {}", self.log().display()))),
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Up; and able to hear and speak, if it is to be.
    async fn ready(&mut self, services: bool) -> Result<(), Trouble> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let path = if services { "/readyz" } else { "/healthz" };
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                return Err(Trouble::Server(format!("{status} at its start\n{log}")));
            }
            if self.get(path).await.is_ok() {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(Trouble::Server(format!("not ready; see {}", self.log().display())));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The body of a page; an error for any status but 200.
    async fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.web)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
            _ => Err(std::io::Error::other(answer)),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What a server has said before it failed is kept.
        if !matches!(self.child.try_wait(), Ok(Some(status)) if !status.success()) {
            // A folder that stays is no reason to fail.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// A metric's value on a page, summed over its labels.
pub(in crate::command) fn metric(page: &str, name: &str) -> f64 {
    metric_lines(page, name).map(|(_, value)| value).sum()
}

/// A metric's labels and values on a page.
pub(in crate::command) fn metric_lines<'a>(page: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    page.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        Some((labels, value.parse().ok()?))
    })
}

/// Runs all threads of this process on these cores.
pub(in crate::command) fn pin_all(cpus: &[usize]) -> Result<(), Trouble> {
    if cpus.is_empty() {
        return Ok(());
    }
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let id = task.file_name().to_str().and_then(|id| id.parse().ok()).and_then(rustix::process::Pid::from_raw);
        // A thread that has ended meanwhile needs no core.
        let _ = id.map(|id| sched_setaffinity(Some(id), &set_of(cpus)));
    }
    pin(cpus)
}

fn set_of(cpus: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    set
}

/// Runs this thread on these cores, and what it starts from now on.
pub(in crate::command) fn pin(cpus: &[usize]) -> Result<(), Trouble> {
    if cpus.is_empty() {
        return Ok(());
    }
    sched_setaffinity(None, &set_of(cpus)).map_err(|error| Trouble::Cpus(cpus.to_vec(), error.to_string()))
}

/// The child inherits the cores of the thread that starts it.
fn spawn(plan: &Plan, folder: &Path) -> Result<Child, Trouble> {
    let wrong = |error: std::io::Error| Trouble::Server(format!("{}: {error}", plan.program.display()));
    let log = std::fs::File::create(folder.join("log")).map_err(wrong)?;
    let ours = sched_getaffinity(None).ok();
    pin(&plan.cpus)?;
    let child = Command::new(&plan.program)
        .args(["--log", "warn", "serve", "--config", "trunkline.toml"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(wrong);
    if let Some(ours) = ours {
        // They were ours before.
        let _ = sched_setaffinity(None, &ours);
    }
    child
}

/// In memory where there is such a place: records are written for every call, and a disk is not what is measured.
fn folder() -> Result<PathBuf, Trouble> {
    let memory = PathBuf::from("/dev/shm");
    let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = place.join(format!("trunkline-load-{}-{:08x}", std::process::id(), rand::random::<u32>()));
    std::fs::create_dir_all(&folder).map_err(|error| Trouble::File(folder.clone(), error.to_string()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_over_their_labels_and_names_are_whole() {
        let page =
            "# HELP calls x\ncalls 3\ncalls_refused_total{reason=\"a b\"} 4\ncalls_refused_total{reason=\"c\"} 2.5\n";
        assert_eq!(metric(page, "calls"), 3.0);
        assert_eq!(metric(page, "calls_refused_total"), 6.5);
        assert_eq!(metric(page, "call"), 0.0);
    }
}
