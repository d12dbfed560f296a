//! `trunkline load`: how many calls a core carries, measured from outside.
//!
//! Starts a server of this binary (or another one), and is everybody else: the phones, with speech and pauses, from several addresses; a
//! recogniser and a voice as cheap as can be; a dialogue that speaks, is interrupted and answers; the orchestrator that dials. All figures
//! of the server are the kernel's, of its process alone. `docs/CAPACITY.md` tells how each is taken.
//!
//! | file | what |
//! |---|---|
//! | `phones`, `speech` | the callers' media, and what is heard of the robot |
//! | `called` | whom they call: a server of ours, or a neighbour's that runs already (`--against`) |
//! | `services` | recogniser, voice and dialogue |
//! | `audiosocket` | the robot of a neighbour |
//! | `hold`, `setup` | calls that talk; calls that are only set up and ended |
//! | `sipp`, `unruly` | who sets them up; the ways in which far ends make trouble, and what calls come to then |
//! | `process`, `histogram`, `capture`, `report` | what is measured, and the table |
//! | `kernel` | what the kernel alone takes for as many packets |
//!
//! The server's process, the phones' SIP and what else is the same in every bench stand in `command::harness`.

mod audiosocket;
mod called;
mod capture;
mod histogram;
mod hold;
mod kernel;
mod phones;
mod process;
mod report;
mod services;
mod setup;
mod sipp;
mod speech;
mod unruly;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Done;
use super::harness::serving::STREAMS;
use super::harness::{self, Trouble, program, until_ended, verdict};
use hold::House;
use report::Held;

/// What is to be measured.
#[derive(Debug, Clone, Subcommand)]
pub enum Load {
    /// Calls that talk: ramped up, held while they are measured, ended.
    Hold(Hold),
    /// The same with more and more calls on one server, a row for each step.
    Ramp(Ramp),
    /// Calls that are set up and ended at once, without media, by SIPp.
    Setup(Setup),
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// The phones call the robot.
    In,
    /// The robot dials the phones.
    Out,
    /// By turns.
    Mixed,
}

impl Direction {
    /// Whether the robot dials this phone.
    fn is_dialled(self, phone: usize) -> bool {
        match self {
            Direction::In => false,
            Direction::Out => true,
            Direction::Mixed => phone % 2 == 1,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
            Direction::Mixed => "mixed",
        }
    }
}

/// Which server, and where it runs.
#[derive(Debug, Clone, Args)]
pub struct Server {
    /// The binary to be measured; this one if none is given.
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Cores for the server, counted from 0, as 0,1; all if none are given.
    #[arg(long, value_delimiter = ',', value_name = "CORES")]
    server_cpus: Vec<usize>,
    /// Cores for the harness.
    #[arg(long, value_delimiter = ',', value_name = "CORES")]
    own_cpus: Vec<usize>,
    /// The server refuses no call because it is busy: for a machine that has other work.
    #[arg(long)]
    no_overload: bool,
    /// Fail when a bar is missed too, and not only when calls fail, packets are lost or something is left.
    #[arg(long)]
    assert: bool,
    /// Write the figures here too, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Calls that talk.
#[derive(Debug, Clone, Args)]
pub struct Hold {
    /// How many, 1 to 10000.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    calls: u32,
    /// How long they are measured, s: 1 to 86400.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Who calls; mixed if nothing is given, and the phones with --against.
    #[arg(long)]
    direction: Option<Direction>,
    /// Calls that are begun in a second, 1 to 1000.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    ramp: u32,
    /// Audio that recognition gets at a time, ms: 20, 40, 60, 80 or 100.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(20..=100))]
    batch_ms: u32,
    /// Streams that the robot's services take on one connection, 1 to 100000; many servers take 100.
    #[arg(long, default_value_t = STREAMS, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    streams: u32,
    /// Recognition takes A-law as it came instead of 16-bit PCM.
    #[arg(long)]
    alaw: bool,
    /// Record the calls, as pcm16 or, with --record=FORMAT, as g711 or opus.
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "pcm16",
        value_parser = ["pcm16", "g711", "opus"])]
    record: Option<String>,
    /// Look at the pacing of some calls by a capture on lo too; needs tshark and the right to capture.
    #[arg(long)]
    capture: bool,
    /// How long it is measured before that what the kernel alone takes for the packets of so many calls, s: 1 to 60; 0 leaves it out.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=60))]
    kernel: u32,
    #[command(flatten)]
    against: Against,
    #[command(flatten)]
    server: Server,
}

/// A server that is measured beside ours: another program, which runs already.
#[derive(Debug, Clone, Args)]
pub struct Against {
    /// The phones call this SIP address on this machine's loopback instead of a server that is started. Told is what the kernel and the phones
    /// know; all that asks a server of ours is refused.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "pid", conflicts_with_all = ["direction", "batch_ms", "streams", "alaw", "record",
        "capture", "server", "server_cpus", "no_overload", "assert"])]
    against: Option<SocketAddr>,
    /// The process that is measured with --against.
    #[arg(long, requires = "against")]
    pid: Option<u32>,
    /// Be the robot of --against: take connections of Asterisk's AudioSocket here, one a call.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "against")]
    audiosocket: Option<SocketAddr>,
}

impl Hold {
    /// A neighbour cannot be told to dial.
    fn direction(&self) -> Direction {
        let of_all = if self.against.against.is_some() { Direction::In } else { Direction::Mixed };
        self.direction.unwrap_or(of_all)
    }
}

/// Calls that talk, more and more of them.
#[derive(Debug, Clone, Args)]
pub struct Ramp {
    /// Calls of the first row.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    from: u32,
    /// More calls in each row.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    step: u32,
    #[command(flatten)]
    hold: Hold,
}

/// Calls without media.
#[derive(Debug, Clone, Args)]
pub struct Setup {
    /// Calls a second, 1 to 10000.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How many in each direction, 1 to 10000000.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    calls: u32,
    /// Who calls: one or more, as in,out,mixed; all on the same server, one after the other.
    #[arg(long, default_value = "in", value_delimiter = ',')]
    direction: Vec<Direction>,
    /// How often all directions are run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Calls of a hundred whose far end makes trouble, 0 to 100: refuses, cancels against our answer, hangs up when we do or offer anew,
    /// loses an ACK, falls silent.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    unruly: u32,
    /// With --assert: KiB by which memory may grow per 10,000 calls from the second row to the last; the first one warms up.
    #[arg(long, default_value_t = 1_024)]
    growth_kib: u32,
    #[command(flatten)]
    server: Server,
}

/// Measures, and prints one table. Asked to end, it ends the server it has started.
///
/// # Errors
/// [`Trouble`]: what could not be started, with the way out; calls that failed, packets that were lost.
pub async fn load(what: Load) -> Done {
    until_ended(async {
        match what {
            Load::Hold(options) => held(options).await,
            Load::Ramp(options) => ramped(options).await,
            Load::Setup(options) => setup::set_up(options).await,
        }
    })
    .await
}

async fn held(options: Hold) -> Result<(), Trouble> {
    let kernel = kernel::alone(&options, options.calls).await?;
    let mut house = House::open(&options, options.calls as usize).await?;
    house.ramp(options.calls as usize, &options).await?;
    let mut held = Held { kernel_ms: kernel, ..house.measure(&options).await? };
    house.close(&options, &mut held).await?;
    print!("{}", held.table());
    write_json(&options.server, &held)?;
    verdict(if options.server.assert { held.missed() } else { held.broken() })
}

async fn ramped(Ramp { from, step, hold: options }: Ramp) -> Result<(), Trouble> {
    let steps: Vec<u32> = (from..options.calls).step_by(step as usize).chain([options.calls]).collect();
    let mut alone = Vec::new();
    for calls in &steps {
        alone.push(kernel::alone(&options, *calls).await?);
    }
    let mut house = House::open(&options, options.calls as usize).await?;
    println!(
        "{:>6} {:>8} {:>8} {:>9} {:>10} {:>10} {:>10} {:>10} {:>6} {:>6}",
        "calls", "CPU ms", "kernel", "KiB/call", "pace p50", "pace p99", "utter p99", "intr p99", "lost", "failed"
    );
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for (calls, kernel_ms) in steps.into_iter().zip(alone) {
        house.ramp(calls as usize, &options).await?;
        let held = Held { kernel_ms, ..house.measure(&options).await? };
        let p99_ms = |of: fn(&report::Inside) -> report::Points| {
            held.inside.as_ref().map_or("-".to_owned(), |inside| format!("{:.1}", of(inside).p99 as f64 / 1_000.0))
        };
        println!(
            "{:>6} {:>8.3} {:>8} {:>9.1} {:>10} {:>10} {:>10} {:>10} {:>6} {:>6}",
            held.calls,
            held.cpu_ms,
            held.kernel_ms.map_or("-".to_owned(), |ms| format!("{ms:.3}")),
            held.kib_per_call(),
            held.pacing.p50,
            held.pacing.p99,
            p99_ms(|inside| inside.utterance),
            p99_ms(|inside| inside.interruption),
            held.lost,
            held.failed
        );
        // The bars are ours, and no neighbour's.
        let missed = if held.inside.is_some() { held.missed() } else { held.broken() };
        if wrong.is_empty() && !missed.is_empty() {
            println!("       from here on: {}", missed.join("; "));
        }
        wrong.extend(if options.server.assert { missed } else { held.broken() });
        rows.push(held);
    }
    let mut last = rows.pop().unwrap_or_default();
    house.close(&options, &mut last).await?;
    rows.push(last);
    write_json(&options.server, &rows)?;
    verdict(wrong)
}

fn write_json(server: &Server, figures: &impl serde::Serialize) -> Result<(), Trouble> {
    server.json.as_deref().map_or(Ok(()), |path| harness::write_json(path, figures))
}

#[cfg(test)]
mod tests {
    use clap::{Parser, error::ErrorKind};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        what: Load,
    }

    fn hold(more: &str) -> Result<Line, clap::Error> {
        Line::try_parse_from(["load", "hold"].into_iter().chain(more.split_whitespace()))
    }

    #[test]
    fn what_a_neighbour_cannot_do_is_refused_by_name() {
        let neighbour = "--against 127.0.0.20:5060 --pid 7 --audiosocket 127.0.0.1:9092 --own-cpus 1 --json f";
        assert!(hold(neighbour).is_ok());
        for more in ["direction out", "batch-ms 20", "alaw", "record", "capture", "server f", "server-cpus 0"]
            .into_iter()
            .chain(["no-overload", "assert"])
        {
            let refused = hold(&format!("{neighbour} --{more}")).expect_err(more);
            assert_eq!(refused.kind(), ErrorKind::ArgumentConflict);
            let name = more.split(' ').next().unwrap_or_default();
            assert!(refused.to_string().contains(&format!("--{name}")), "{refused}");
        }
        for lonely in ["--against 127.0.0.20:5060", "--pid 7", "--audiosocket 127.0.0.1:9092"] {
            assert_eq!(hold(lonely).expect_err(lonely).kind(), ErrorKind::MissingRequiredArgument);
        }
    }
}
