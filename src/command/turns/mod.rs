//! `trunkline bench-turns`: whether a conversation is quick, and whether it is interrupted when, and only when, it should be.
//!
//! Starts a server of this binary (or another one) and is everybody else, over real SIP and RTP: callers who ask, hesitate, interrupt, cough
//! and listen; a recogniser that knows what is said; a dialogue that answers at once. `docs/conversation-bench.md` tells the method, and what
//! was measured.
//!
//! | file | what |
//! |---|---|
//! | `clip`, `noises` | what is heard: voices, recordings, noises made by rule |
//! | `plan` | what is tried: rows, knobs, bars, trials |
//! | `phones` | the callers' media |
//! | `services` | recogniser, voice, and the dialogue's stream |
//! | `director` | one call: trial after trial, and what came of each |
//! | `keep` | both sides as WAV |
//! | `report` | the table, the figures, the bars |
//!
//! The server's process and the callers' SIP are those of every bench (`command::harness`).

mod clip;
mod director;
mod keep;
mod noises;
mod phones;
mod plan;
mod report;
mod services;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Done;
use super::harness::signalling::{Media, Signalling, ToSignalling};
use super::harness::sockets::Bound;
use super::harness::stage::{Plan as ServerPlan, Stage};
use super::harness::{Trouble, program, until_ended, verdict, write_json};
use director::{Director, Work};
use phones::Order;
use plan::Plan;
use report::{Around, Report};
use services::Services;

/// What the robot says while it may be interrupted. No frame of it is silent: so a packet of it is told from none.
const PROMPT: &str = "Good morning. This is the delivery service. We have a parcel for you, which was sent last Tuesday from our house in the \
north. It is rather large, so somebody has to be at home to take it. Our driver can come tomorrow between nine and twelve, or on Friday in \
the afternoon between two and five. If neither of these suits you, we can leave it with a neighbour, or at the post office in the main \
street, where it will be kept for seven days. Please tell us what you would like us to do, and we shall see to it at once.";
/// How the server answers.
const ANSWER: &str = "Thank you. I will see to that.";
/// Records are written when a call has ended.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is to be measured.
#[derive(Debug, Clone, Args)]
pub struct Turns {
    /// Trials of each row, 1 to 1000.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    turns: u32,
    /// Calls side by side, 1 to 400.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=400))]
    calls: u32,
    /// Only rows whose task, name or policy has one of these in it, as cough,echo.
    #[arg(long, value_delimiter = ',', value_name = "WORDS")]
    only: Vec<String>,
    /// Recordings of noises too: a folder of WAV files, 16 bit, mono, none of which should interrupt.
    #[arg(long, value_name = "FOLDER")]
    more: Option<PathBuf>,
    /// Keep both sides of two trials of each row, and of each that counts against it, as WAV: caller left, robot right.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// The binary to be measured; this one if none is given.
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Fail when a bar is missed too, and not only when something is wrong with a call.
    #[arg(long)]
    assert: bool,
    /// Write the figures here too, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What came of one trial.
#[derive(Debug, Clone, Default, Serialize)]
struct Tried {
    row: usize,
    number: u32,
    name: String,
    /// It counts against its row: interrupted, not interrupted, or cut, as it should not be.
    counted: bool,
    paused: bool,
    /// Times in ms, where the trial has them; see the report.
    utterance: Option<f64>,
    utterance_detected: Option<f64>,
    detected_start: Option<f64>,
    detected_stop: Option<f64>,
    length_error: Option<f64>,
    answer: Option<f64>,
    stop: Option<f64>,
    heard_error: Option<f64>,
    lost: u64,
    faults: Vec<String>,
    /// Nothing could be measured.
    broken: Option<String>,
}

/// Measures, and prints one table. Asked to end, it ends the server it has started.
///
/// # Errors
/// [`Trouble`]: what could not be started, with the way out; calls that failed; with `assert` bars that were missed.
pub async fn turns(options: Turns) -> Done {
    until_ended(measured(options)).await
}

async fn measured(options: Turns) -> Result<(), Trouble> {
    if let Some(folder) = &options.keep {
        std::fs::create_dir_all(folder).map_err(|error| Trouble::File(folder.clone(), error.to_string()))?;
    }
    let mut plan = Plan::new(options.turns, options.more.as_deref())?;
    plan.keep_only(&options.only);
    let calls = (options.calls as usize).min(plan.trials.len());
    if calls == 0 {
        return Err(Trouble::Broken(format!("no row has any of {:?} in it", options.only)));
    }
    let (rows, results, around) = run(&options, plan, calls).await?;
    let report = Report::new(&rows, &results, around);
    print!("{}", report.table());
    if let Some(path) = &options.json {
        write_json(path, &report)?;
    }
    for missed in report.missed() {
        println!("missed: {missed}");
    }
    let mut wrong = report.wrong();
    if options.assert {
        wrong.extend(report.missed().iter().cloned());
    }
    verdict(wrong)
}

async fn run(options: &Turns, plan: Plan, calls: usize) -> Result<(Vec<plan::Row>, Vec<Tried>, Around), Trouble> {
    let begun = Instant::now();
    let wrong = |error: std::io::Error| Trouble::Socket(error.to_string());
    let (tellers, inboxes): (Vec<_>, Vec<_>) = (0..calls).map(|_| mpsc::unbounded_channel()).unzip();
    let answer = said("en-us", ANSWER)?;
    let voice = answer.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let (services, port) = Services::start(voice, tellers)?;
    let sip = UdpSocket::bind("127.0.0.2:0").await.map_err(wrong)?.into_std().map_err(wrong)?;
    let stage = Stage::start(&ServerPlan {
        program: program(options.server.as_deref())?,
        cpus: Vec::new(),
        calls,
        record: None,
        peer: sip.local_addr().map_err(wrong)?,
        more: Vec::new(),
        services: Some(port),
        batch_ms: 20,
        no_overload: true,
        prompts: vec![("long.wav", wav(&said("en-us", PROMPT)?)?), ("answer.wav", wav(&answer)?)],
    })
    .await?;
    let bound = Bound::find()?;
    let rtp_port = bound.port;
    let phones = phones::start(bound, calls)?;
    let told = phones.clone();
    let tell = move |media: Media| {
        // A thread that has ended has no phones any more.
        let _ = told.send(Order::Media(media));
    };
    let signalling = Signalling::start(sip, stage.sip, rtp_port, tell)?;
    let Plan { rows, trials } = plan;
    let all = trials.len();
    let trials = Mutex::new(trials.into());
    let work = Arc::new(Work { rows, trials, services, phones: phones.clone(), keep: options.keep.clone() });
    let (results, mut came) = mpsc::unbounded_channel();
    let mut directors = JoinSet::new();
    for (phone, told) in inboxes.into_iter().enumerate() {
        directors.spawn(Director::new(phone, told, work.clone()).run(results.clone()));
        let _ = signalling.send(ToSignalling::Dial { phone });
        // Spread, so that nobody waits for somebody else's set-up.
        sleep(Duration::from_millis(11)).await;
    }
    drop(results);
    let mut failed = Vec::new();
    while let Some(ended) = directors.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(trouble)) => failed.push(trouble.to_string()),
            Err(error) => failed.push(error.to_string()),
        }
    }
    let mut results = Vec::new();
    while let Ok(result) = came.try_recv() {
        results.push(result);
    }
    if !failed.is_empty() || results.len() < all {
        failed.sort();
        failed.dedup();
        return Err(Trouble::Broken(format!("{} of {all} trials were made: {}", results.len(), failed.join("; "))));
    }
    let lateness_us = lateness(&phones).await?;
    (0..calls).for_each(|phone| drop(signalling.send(ToSignalling::HangUp { phone })));
    let buffer_ms = buffers(&stage.records(), calls).await;
    stage.strike().await?;
    let rows = work.rows.clone();
    let seconds = begun.elapsed().as_secs_f64();
    Ok((rows, results, Around { calls, seconds, buffer_ms, lateness_us }))
}

/// The robot's voice: telephone level, and nowhere silent.
fn said(voice: &str, text: &str) -> Result<Vec<i16>, Trouble> {
    let mut samples = clip::spoken(voice, 145, text)?.at(-18.0);
    clip::add_noise(&mut samples, -62.0, &mut clip::seeded(10, 0));
    Ok(clip::to_pcm(&samples))
}

fn wav(samples: &[i16]) -> Result<Vec<u8>, Trouble> {
    let wrong = |error: hound::Error| Trouble::Audio(error.to_string());
    let mut file = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut file, keep::spec(1)).map_err(wrong)?;
    samples.iter().try_for_each(|sample| writer.write_sample(*sample)).map_err(wrong)?;
    writer.finalize().map_err(wrong)?;
    Ok(file.into_inner())
}

async fn lateness(phones: &mpsc::UnboundedSender<Order>) -> Result<Vec<f64>, Trouble> {
    let gone = || Trouble::Socket("the phones have ended".to_owned());
    let (reply, answer) = oneshot::channel();
    phones.send(Order::Lateness { reply }).map_err(|_| gone())?;
    Ok(answer.await.map_err(|_| gone())?.into_iter().map(f64::from).collect())
}

/// The delay of each call's jitter buffer, as its record has it.
async fn buffers(folder: &Path, calls: usize) -> Vec<f64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let records = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let records = records.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json"));
        let delays: Vec<f64> = records
            .filter_map(|entry| {
                let record: serde_json::Value =
                    serde_json::from_str(&std::fs::read_to_string(entry.path()).ok()?).ok()?;
                record["quality"]["heard"]["buffer_ms"].as_f64()
            })
            .collect();
        if delays.len() >= calls || Instant::now() > deadline {
            return delays;
        }
        sleep(Duration::from_millis(200)).await;
    }
}
