//! The command line. Everything happens in the library.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use trunkline::{command, config};

/// Gives memory back after a busy hour, where the C library keeps what lies between the pieces that are still in use; and is quicker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The telephone half of a voice robot: SIP trunk user agent and real-time media server.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// What is logged to stderr: error, warn, info, debug, trace, or by module, as "info,trunkline::sip=debug".
    #[arg(long, global = true, env = "TRUNKLINE_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take and make calls until SIGTERM or SIGINT.
    Serve(Files),
    /// Check the configuration and say all that is wrong with it.
    Check(Files),
    /// Serve speech.v1: recognition by Moonshine tiny, synthesis by espeak-ng.
    Speech {
        /// Address and port.
        #[arg(long, default_value = "127.0.0.1:7071")]
        listen: SocketAddr,
        /// Fetch the recogniser's weights, then end.
        #[arg(long)]
        fetch: bool,
    },
    /// Serve dialogue.v1 from a script.
    Dialogue {
        /// The script, a TOML file.
        script: PathBuf,
        /// Address and port.
        #[arg(long, default_value = "127.0.0.1:7072")]
        listen: SocketAddr,
    },
    /// Have a server dial somebody, and show the conversation. Interrupt it to hang up.
    Call(command::Order),
    /// Measure how many calls this machine carries: starts a server, and is all its phones and services.
    #[command(subcommand)]
    Load(command::load::Load),
    /// Measure a conversation: how soon an utterance is told and answered, and what interrupts the robot. Starts a server, and is its callers.
    BenchTurns(command::turns::Turns),
    /// Have a robot hold a telephone conversation with a softphone on this machine.
    Demo {
        /// Where its recording, its record and its logs are kept; made if missing.
        #[arg(long, default_value = "demo", value_name = "FOLDER")]
        out: PathBuf,
    },
}

#[derive(Args)]
struct Files {
    /// The configuration.
    #[arg(long, default_value = "trunkline.toml", value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match EnvFilter::try_new(&cli.log) {
        Ok(filter) => tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .init(),
        Err(e) => {
            return failed(&format!("--log: {e}; write it as info,trunkline::sip=debug"));
        }
    }
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failed(&in_full(&*e)),
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error + Send + Sync>> {
    match command {
        Command::Check(Files { config }) => {
            let config = config::load(&config)?;
            config.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
            println!("ok: {}", config.summary());
            Ok(())
        }
        Command::Serve(Files { config }) => in_runtime(command::serve(config::load(&config)?)),
        Command::Speech { listen, fetch } => in_runtime(command::speech(listen, fetch)),
        Command::Dialogue { script, listen } => in_runtime(command::dialogue(script, listen)),
        Command::Call(order) => in_runtime(command::call(order)),
        Command::Load(what) => in_runtime(command::load(what)),
        Command::BenchTurns(options) => in_runtime(command::turns(options)),
        Command::Demo { out } => in_runtime(command::demo(&out)),
    }
}

fn in_runtime(
    work: impl Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

fn failed(reason: &str) -> ExitCode {
    eprintln!("{reason}");
    ExitCode::FAILURE
}

/// An error with all its causes, on the lines that it has.
fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
