//! The guard: how many instructions each hot path executes, held against `instructions.toml`. Run by `make guard`.
//!
//! Seconds depend on who else uses the machine; instructions do not. Each path runs in this program under valgrind's callgrind, once
//! its fair number of times and once three times as often; the difference, by path, is what is compared, so that neither start-up nor
//! the making of its state counts. A path that executes over a tenth more than its baseline fails the guard. One that executes over a
//! tenth less is told, for then the baseline is to be renewed (`make guard-renew`), or the gain could be lost again unseen.
//!
//! On one machine two runs differ by less than 1 %, however busy it is. From one x86-64 to another little can differ: valgrind knows no
//! AVX-512 and hides it, so of what chooses at run time only the resampler could fall back (from AVX to SSE, on very old processors);
//! and how the C library copies memory, which it chooses by processor, is fixed below (left alone, it makes 1.6 % on the leg). Between
//! compilers code differs: with another rustc than the baseline's a quarter is allowed. Off x86-64 nothing is compared.
//!
//! Words behind the command choose paths: `cargo bench --profile guard --no-default-features --bench instructions -- leg/ sip_parse/`.

mod paths;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path as File;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use paths::Path;
use serde::Deserialize;

/// What a path may grow by, in percent: with the rustc of the baseline, and with another one.
const MARGIN: f64 = 10.0;
const OTHER_RUSTC_MARGIN: f64 = 25.0;
/// Fewer instructions than this are no growth: on the shortest paths a tenth is no more than a register saved.
const TRIFLE: f64 = 16.0;
const ARCHITECTURE: &str = "x86_64";
/// A second of a call.
const SLOTS_A_SECOND: f64 = 50.0;

/// The committed file.
#[derive(Deserialize)]
struct Baseline {
    rustc: String,
    /// By path, of one time.
    instructions: BTreeMap<String, f64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--walk", name, times] => {
            let path = paths::all().into_iter().find(|path| path.name == name).expect("a path");
            (path.make)()(times.parse().expect("a number"));
            ExitCode::SUCCESS
        }
        ["--renew"] => told(renew()),
        ref named => told(guard(named)),
    }
}

fn told(result: Result<(), String>) -> ExitCode {
    let Err(reason) = result else { return ExitCode::SUCCESS };
    eprintln!("guard: {reason}");
    ExitCode::FAILURE
}

fn file() -> std::path::PathBuf {
    File::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml")
}

/// Compares.
fn guard(named: &[&str]) -> Result<(), String> {
    if std::env::consts::ARCH != ARCHITECTURE {
        println!("guard: SKIP, the baseline is for {ARCHITECTURE}");
        return Ok(());
    }
    let text = std::fs::read_to_string(file()).map_err(|error| format!("{}: {error}", file().display()))?;
    let baseline: Baseline = toml::from_str(&text).map_err(|error| format!("{}: {error}", file().display()))?;
    let rustc = rustc()?;
    let margin = if rustc == baseline.rustc { MARGIN } else { OTHER_RUSTC_MARGIN };
    if rustc != baseline.rustc {
        println!("guard: the baseline was made by {}, this is {rustc}: up to {margin} % are allowed", baseline.rustc);
    }
    let all = paths::all();
    if let Some(gone) = baseline.instructions.keys().find(|name| all.iter().all(|path| path.name != **name)) {
        return Err(format!("the baseline has {gone}, which is no path any more: make guard-renew"));
    }
    let wanted: Vec<Path> =
        all.into_iter().filter(|path| named.is_empty() || named.iter().any(|name| path.name.contains(name))).collect();
    if wanted.is_empty() {
        return Err(format!("no path is named like {}", named.join(" or ")));
    }
    let mut grown = Vec::new();
    println!("{:<32} {:>10} {:>10}", "instructions of", "baseline", "now");
    for (path, now) in count(&wanted)? {
        let name = path.name;
        let Some(&before) = baseline.instructions.get(name) else {
            return Err(format!("{name} is not in the baseline yet: make guard-renew"));
        };
        let change = (now / before - 1.0) * 100.0;
        let verdict = if (now - before).abs() <= TRIFLE {
            ""
        } else if change > margin {
            grown.push(format!("{name} by {change:.1} %"));
            "GROWN"
        } else if change < -margin {
            "shrunk: make guard-renew keeps the gain"
        } else {
            ""
        };
        let second = match name.starts_with("leg/") {
            true => format!("{:.2} million a call-second", now * SLOTS_A_SECOND / 1e6),
            false => String::new(),
        };
        let line = format!("{name:<32} {before:>10.0} {now:>10.0} {change:>+7.1} %   {second}   {verdict}");
        println!("{}", line.trim_end());
    }
    if grown.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more instructions than {margin} % above {}: {}. If that is the price of something: make guard-renew, and say in the commit what for",
        file().display(),
        grown.join(", ")
    ))
}

/// Writes the baseline.
fn renew() -> Result<(), String> {
    let mut text = format!(
        "# Instructions that each hot path of benches/paths executes once, on {ARCHITECTURE}, as valgrind counts them: `make guard` compares,\n\
         # `make guard-renew` writes this file. valgrind shows AVX2 at most, so these are the figures of a processor without AVX-512.\n\
         rustc = \"{}\"\n\n[instructions]\n",
        rustc()?
    );
    for (path, now) in count(&paths::all())? {
        let _ = writeln!(text, "\"{}\" = {now:.0}", path.name);
    }
    std::fs::write(file(), text).map_err(|error| format!("{}: {error}", file().display()))?;
    println!("guard: {} written", file().display());
    Ok(())
}

/// The compiler that a build here takes.
fn rustc() -> Result<String, String> {
    let program = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(&program).arg("--version").output().map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The instructions of each path, taken once; in the order of the paths. As many run side by side as there are cores.
fn count(wanted: &[Path]) -> Result<Vec<(Path, f64)>, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let (counted, counts) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            let (counted, next) = (counted.clone(), &next);
            scope.spawn(move || {
                while let Some(path) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let few = callgrind(path, path.times);
                    let many = callgrind(path, 3 * path.times);
                    let once = few.and_then(|few| Ok((many? - few) as f64 / (2 * path.times) as f64));
                    let _ = counted.send((path.name, once));
                }
            });
        }
    });
    drop(counted);
    let counts: BTreeMap<_, _> = counts.iter().collect();
    wanted.iter().map(|path| Ok((*path, counts[path.name].clone()?))).collect()
}

/// All instructions of this program when it takes a path so many times.
fn callgrind(path: &Path, times: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--walk", path.name, &times.to_string()])
        // An environment of another size shifts the stack, and would change a few counts.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        // memcpy and its like by SSE2 on every processor, and never `rep movsb`, of which each turn counts.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM")
        .output()
        .map_err(|error| format!("valgrind (Debian package valgrind; scripts/setup test installs it): {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    collected
        .filter(|_| output.status.success())
        .ok_or_else(|| format!("{} under valgrind: {}\n{said}", path.name, output.status))
}
