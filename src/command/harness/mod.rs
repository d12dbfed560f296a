//! What the benches stand on: `load` and `bench-turns` start a server of this binary and are everybody else.
//!
//! | file | what |
//! |---|---|
//! | `stage` | the server: its configuration, its process |
//! | `signalling` | the callers' SIP |
//! | `sockets` | where the callers' media goes |
//! | `wire` | the callers' RTP: headers, and packets with their moment of arrival |
//! | `ticks` | their rhythm |
//! | `voice` | where a voice begins and ends, for our own detector |
//! | `serving` | the robot's services, on a thread of their own |

pub(super) mod serving;
pub(super) mod signalling;
pub(super) mod sockets;
pub(super) mod stage;
pub(super) mod ticks;
pub(super) mod voice;
pub(super) mod wire;

use std::path::{Path, PathBuf};

use super::{Done, ended};

/// Why nothing could be measured, or what was not as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// Sockets and threads of the harness.
    #[error("the harness: {0}")]
    Socket(String),
    /// A file.
    #[error("{0}: {1}")]
    File(PathBuf, String),
    /// The server.
    #[error("the server: {0}")]
    Server(String),
    /// Cores that cannot be had.
    #[error("cores {0:?}: {1}; they are counted from 0")]
    Cpus(Vec<usize>, String),
    /// Sound that is built in, or that is made.
    #[error("a caller's phrase: {0}")]
    Audio(String),
    /// The capture.
    #[error("capture: {0}")]
    Capture(String),
    /// SIPp.
    #[error("sipp: {0}")]
    Sipp(String),
    /// Calls failed, packets were lost, or a bar was missed.
    #[error("not as it should be: {0}")]
    Broken(String),
}

/// Measures, unless this process is asked to end before. Says first where, and as what it was asked to.
pub(in crate::command) async fn until_ended(work: impl Future<Output = Result<(), Trouble>>) -> Done {
    println!("{}", head(&std::env::args().skip(1).collect::<Vec<_>>().join(" ")));
    tokio::select! {
        done = work => Ok(done?),
        () = ended() => Err("asked to end before anything was measured".into()),
    }
}

/// The binary that is measured: this one, if none is given.
pub(in crate::command) fn program(of: Option<&Path>) -> Result<PathBuf, Trouble> {
    let own = || std::env::current_exe().map_err(|error| Trouble::Server(error.to_string()));
    // It is started in a folder of its own.
    of.map_or_else(own, |path| path.canonicalize().map_err(|error| Trouble::File(path.to_owned(), error.to_string())))
}

fn head(arguments: &str) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "trunkline {} on {cores} cores of {}, Linux {}\n{arguments}\n",
        env!("CARGO_PKG_VERSION"),
        model.trim_start_matches(['\t', ':', ' ']),
        read("/proc/sys/kernel/osrelease").trim()
    )
}

/// Writes figures as JSON.
pub(in crate::command) fn write_json(path: &Path, figures: &impl serde::Serialize) -> Result<(), Trouble> {
    let wrong = |error: String| Trouble::File(path.to_owned(), error);
    let text = serde_json::to_string_pretty(figures).map_err(|error| wrong(error.to_string()))?;
    std::fs::write(path, text + "\n").map_err(|error| wrong(error.to_string()))
}

/// An error if anything is not as it should be.
pub(in crate::command) fn verdict(wrong: Vec<String>) -> Result<(), Trouble> {
    if wrong.is_empty() { Ok(()) } else { Err(Trouble::Broken(wrong.join("; "))) }
}
