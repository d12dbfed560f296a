//! Calls that are only set up and ended, by SIPp: INVITE, 200, ACK, BYE, and a share of them in ways that go wrong; and what they leave behind.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tonic::Status;
use tonic::transport::Channel;

use super::histogram::Histogram;
use super::process::Usage;
use super::report::{SetUp, grown};
use super::sipp::{AT_A_TIME, How, Sipp};
use super::unruly::{self, Expected, SPEECH, Unruly};
use super::{Direction, Setup, Trouble, program, verdict, write_json};
use crate::command::harness::stage::{self, MAIN, Plan, Stage};
use crate::command::ports::free;
use crate::proto::control::v1::DialRequest;
use crate::proto::control::v1::control_client::ControlClient;

const CALLER: &str = include_str!("caller.xml");
const CALLEE: &str = include_str!("callee.xml");
/// RFC 3261 §17: no transaction lives longer than 64·T1; one that begins at a call's end, which may be as far away, and some for a busy machine.
const LINGER: Duration = Duration::from_secs(100);

/// A server with nobody calling, and what it holds then.
struct House {
    stage: Stage,
    control: ControlClient<Channel>,
    /// Of the phones that are dialled and behave.
    peer: u16,
    unruly: Vec<Unruly>,
    idle: Usage,
    idle_tasks: f64,
    /// Calls that were ordered, on this server.
    ordered: u64,
}

/// Runs all directions on one server, and prints a table for each.
pub(super) async fn set_up(options: Setup) -> Result<(), Trouble> {
    let mut house = House::open(&options).await?;
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for direction in std::iter::repeat_n(&options.direction, options.rounds as usize).flatten() {
        let row = house.run(*direction, &options).await?;
        print!("{}", row.table());
        wrong.extend(if options.server.assert { row.missed() } else { row.broken() });
        rows.push(row);
    }
    if let Some(kib) = grown(&rows) {
        println!("{:<50} {kib:+.0} KiB per 10,000 calls, from the second to the last", "growth");
        if options.server.assert && kib > f64::from(options.growth_kib) {
            let bar = options.growth_kib;
            wrong.push(format!(
                "{kib:.0} KiB more per 10,000 calls from the second round to the last, the bar is {bar}"
            ));
        }
    }
    house.stage.strike().await?;
    write_json(&options.server, &rows)?;
    verdict(wrong)
}

/// Calls of one kind in a round.
#[derive(Clone)]
struct Part {
    trunk: &'static str,
    scenario: &'static str,
    calls: u32,
    unruly: Option<Unruly>,
}

impl House {
    async fn open(options: &Setup) -> Result<House, Trouble> {
        let phone = Ipv4Addr::new(127, 0, 0, 2);
        let all: Vec<_> = std::iter::once(phone).chain(unruly::addresses()).collect();
        let peer = free(&all, all.len() as u16).map_err(|error| Trouble::Socket(error.to_string()))?;
        let unruly = if options.unruly > 0 { unruly::all(peer + 1) } else { Vec::new() };
        let plan = Plan {
            program: program(options.server.server.as_deref())?,
            cpus: options.server.server_cpus.clone(),
            calls: AT_A_TIME.min(options.calls as usize),
            record: None,
            peer: (phone, peer).into(),
            more: unruly.iter().map(Unruly::profile).collect(),
            services: None,
            batch_ms: 100,
            no_overload: options.server.no_overload,
            prompts: Vec::new(),
        };
        let stage = Stage::start(&plan).await?;
        stage::pin_all(&options.server.own_cpus)?;
        let control = ControlClient::connect(format!("http://127.0.0.1:{}", stage.control));
        let control = control.await.map_err(|error| Trouble::Server(format!("control: {error}")))?;
        // What it does at its start is done then.
        sleep(Duration::from_secs(2)).await;
        let idle_tasks = stage.metric("trunkline_tasks").await;
        let idle = Usage::of(stage.pid());
        Ok(House { stage, control, peer, unruly, idle, idle_tasks, ordered: 0 })
    }

    /// The well-behaved calls one way, and the others.
    fn parts(&self, dialled: bool, calls: u32, options: &Setup) -> Vec<Part> {
        let unruly = self.unruly.iter().filter(|unruly| unruly.kind.is_dialled() == dialled);
        let unruly: Vec<_> = unruly.copied().collect();
        let of_unruly = (u64::from(calls) * u64::from(options.unruly) / 100) as u32;
        let plain = Part {
            trunk: MAIN,
            scenario: if dialled { CALLEE } else { CALLER },
            calls: calls - of_unruly,
            unruly: None,
        };
        let shares = unruly::shares(&unruly, of_unruly);
        let parts = unruly.into_iter().zip(shares).map(|(unruly, calls)| Part {
            trunk: unruly.kind.name,
            scenario: unruly.kind.scenario,
            calls,
            unruly: Some(unruly),
        });
        std::iter::once(plain).chain(parts).filter(|part| part.calls > 0).collect()
    }

    async fn run(&mut self, direction: Direction, options: &Setup) -> Result<SetUp, Trouble> {
        let (incoming, outgoing) = match direction {
            Direction::In => (options.calls, 0),
            Direction::Out => (0, options.calls),
            Direction::Mixed => (options.calls / 2, options.calls - options.calls / 2),
        };
        let rate = |calls: u32| f64::from(options.rate) * f64::from(calls) / f64::from(options.calls);
        let folder = std::env::temp_dir().join(format!("trunkline-load-sipp-{}", std::process::id()));
        let wrong = |error: std::io::Error| Trouble::File(folder.clone(), error.to_string());
        std::fs::create_dir_all(&folder).map_err(wrong)?;
        std::fs::write(folder.join("speech.alaw"), SPEECH).map_err(wrong)?;
        let patience = Duration::from_secs_f64(f64::from(options.calls) / f64::from(options.rate)) * 2 + LINGER;
        let (callers, callees) = (self.parts(false, incoming, options), self.parts(true, outgoing, options));
        let before = Usage::of(self.stage.pid());
        let ended = unruly::outcomes(&self.stage.metrics().await);
        let start = |part: &Part, rate: Option<f64>, address: &str, more: &[&str]| {
            let (name, scenario, calls) = (part.trunk, part.scenario, part.calls);
            // Of those that behave there may be callers and callees beside each other.
            let name = match part.unruly {
                Some(_) => name,
                None if rate.is_some() => "caller",
                None => "callee",
            };
            let timed = part.unruly.is_none() && rate.is_some();
            let own = part.unruly.map_or(&[] as &[&str], |unruly| unruly.kind.args);
            let args = [&["-i", address, "-mi", address], own, more].concat();
            Sipp::start(How { folder: &folder, name, scenario, calls, rate, timed, patience }, &args)
        };
        let mut sipps = Vec::new();
        for part in &callees {
            let (address, port) = match part.unruly {
                Some(unruly) => (unruly.at.ip().to_string(), unruly.at.port()),
                None => ("127.0.0.2".to_owned(), self.peer),
            };
            sipps.push(start(part, None, &address, &["-p", &port.to_string()])?);
        }
        if outgoing > 0 {
            listening(&callees, self.peer).await?;
        }
        let begun = Instant::now();
        let server = self.stage.sip.to_string();
        for part in &callers {
            let address = part.unruly.map_or("127.0.0.3".to_owned(), |unruly| unruly.at.ip().to_string());
            sipps.push(start(part, Some(rate(part.calls)), &address, &["-s", "100", &server])?);
        }
        let mut wait = Histogram::of_waiting();
        let mut row = SetUp { direction: direction.name().to_owned(), calls: options.calls.into(), ..SetUp::default() };
        if outgoing > 0 {
            let trunks = callees.iter().flat_map(|part| std::iter::repeat_n(part.trunk, part.calls as usize));
            let mut trunks: Vec<_> = trunks.collect();
            trunks.shuffle(&mut StdRng::seed_from_u64(1));
            let refused = dial(&self.control, self.ordered, &trunks, rate(outgoing), &mut wait).await;
            row.unexpected.extend(refused.iter().map(|(why, count)| format!("{count} orders were refused: {why}")));
        }
        for sipp in sipps {
            let over = sipp.finish(patience, &mut wait).await?;
            row.failed += over.failed;
            row.retransmissions += over.retransmissions;
            row.unexpected.extend(over.complaint);
        }
        row.rate = f64::from(options.calls) / begun.elapsed().as_secs_f64();
        let expected = expected_of(&[callers, callees].concat());
        self.settle(&mut row).await;
        row.outcomes = unruly::since(unruly::outcomes(&self.stage.metrics().await), &ended);
        row.unexpected.extend(unruly::unexpected(&row.outcomes, &expected));
        row.refused_at_the_door =
            expected.iter().filter(|(_, outcome, _)| outcome.is_none()).map(|e| u64::from(e.2)).sum();
        let used = Usage::of(self.stage.pid()).since(&before);
        let per_call = |cpu_s: f64| cpu_s * 1_000.0 / f64::from(options.calls);
        row.cpu_ms = per_call(used.cpu_s);
        row.by_thread = used.by_thread.iter().map(|(name, cpu)| (name.clone(), per_call(*cpu))).collect();
        (row.p50_ms, row.p99_ms, row.max_ms) =
            (wait.quantile(0.5) as f64 / 1e3, wait.quantile(0.99) as f64 / 1e3, wait.max() as f64 / 1e3);
        row.rss_kib = used.rss_kib;
        row.left_kib = used.rss_kib as i64 - before.rss_kib as i64;
        self.ordered += u64::from(outgoing);
        // A folder that stays is no reason to fail.
        let _ = std::fs::remove_dir_all(&folder);
        Ok(row)
    }

    /// Waits until nothing is left, but not for ever. Sessions that linger cost something too, when they are forgotten.
    async fn settle(&self, row: &mut SetUp) {
        let deadline = Instant::now() + LINGER;
        loop {
            let page = self.stage.metrics().await;
            row.left_calls = stage::metric(&page, "trunkline_calls");
            row.left_ports = stage::metric(&page, "trunkline_media_ports_used");
            row.left_legs = stage::metric(&page, "trunkline_media_legs");
            row.left_lingering = stage::metric(&page, "trunkline_sip_lingering");
            row.left_tasks = stage::metric(&page, "trunkline_tasks") - self.idle_tasks;
            let now = Usage::of(self.stage.pid());
            row.left_files = now.files as i64 - self.idle.files as i64;
            row.left_threads = now.threads as i64 - self.idle.threads as i64;
            if row.left().is_empty() || Instant::now() > deadline {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

/// What the calls of these parts must come to; of those that behave too.
fn expected_of(parts: &[Part]) -> Vec<Expected<'static>> {
    let mut expected: Vec<Expected> = Vec::new();
    for part in parts {
        let of = part.unruly.map_or((MAIN, Some("success"), part.calls), |unruly| unruly.kind.expected(part.calls));
        // Those that behave are of one trunk, both ways.
        match expected.iter_mut().find(|(trunk, ..)| *trunk == of.0) {
            Some((.., calls)) => *calls += of.2,
            None => expected.push(of),
        }
    }
    expected
}

/// Waits until the phones that are to be dialled listen.
async fn listening(parts: &[Part], peer: u16) -> Result<(), Trouble> {
    let ports: Vec<_> = parts.iter().map(|part| part.unruly.map_or(peer, |unruly| unruly.at.port())).collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !super::process::are_bound(&ports) {
        if Instant::now() > deadline {
            return Err(Trouble::Sipp("does not listen".to_owned()));
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Has the robot dial over these trunks, one after the other, at a rate; how many orders were refused, and why. The wait is for the id of the call.
/// `ordered`: how many calls were ordered before.
async fn dial(
    control: &ControlClient<Channel>,
    ordered: u64,
    trunks: &[&'static str],
    rate: f64,
    wait: &mut Histogram,
) -> BTreeMap<String, u64> {
    let mut pace = interval(Duration::from_secs_f64(1.0 / rate));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut orders = tokio::task::JoinSet::new();
    let mut refused = BTreeMap::new();
    let mut count = |done: Result<Result<u64, Status>, tokio::task::JoinError>| match done {
        Ok(Ok(us)) => wait.add(us),
        Ok(Err(status)) => *refused.entry(status.message().to_owned()).or_default() += 1,
        // A task of ours that panics is not taken for a refusal.
        Err(error) => *refused.entry(error.to_string()).or_default() += 1,
    };
    for (n, trunk) in (ordered..).zip(trunks) {
        pace.tick().await;
        let mut control = control.clone();
        let (request_id, trunk) = (n.to_string(), (*trunk).to_owned());
        orders.spawn(async move {
            let begun = Instant::now();
            let request = DialRequest {
                request_id,
                callee: "100".to_owned(),
                trunk,
                dialogue: "none".to_owned(),
                speech: "none".to_owned(),
                ..DialRequest::default()
            };
            control.dial(request).await.map(|_| begun.elapsed().as_micros() as u64)
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
