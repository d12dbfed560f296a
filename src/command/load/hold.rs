//! Calls that are held: ramped up, measured while they talk, ramped down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::called::{Called, Told};
use super::phones::{self, Measured, Spoken, ToPhones};
use super::process::{self, Usage};
use super::report::Held;
use super::speech::Phrases;
use super::{Direction, Hold, Trouble, capture};
use crate::command::harness::signalling::{Media, Signalling, State, ToSignalling};
use crate::command::harness::sockets::Bound;
use crate::command::harness::stage;

/// After the last answer, before anything is counted.
const SETTLE: Duration = Duration::from_secs(3);
/// How long the last calls may take to come up, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A harness with its server, ready for calls.
pub(super) struct House {
    called: Called,
    phones: mpsc::UnboundedSender<ToPhones>,
    signalling: mpsc::UnboundedSender<ToSignalling>,
    /// The server before its first call.
    idle: Usage,
    up: usize,
}

impl House {
    /// Starts everything, for so many phones.
    pub(super) async fn open(options: &Hold, most: usize) -> Result<House, Trouble> {
        let phrases = Phrases::new()?;
        let spoken = Arc::new(Spoken::new(most));
        let wrong = |error: std::io::Error| Trouble::Socket(error.to_string());
        let sip = UdpSocket::bind("127.0.0.2:0").await.map_err(wrong)?.into_std().map_err(wrong)?;
        let called = Called::open(options, most, sip.local_addr().map_err(wrong)?, spoken.clone()).await?;
        let bound = Bound::find()?;
        let rtp_port = bound.port;
        let phones = phones::start(bound, most, phrases, spoken, called.pauses())?;
        let told = phones.clone();
        let tell = move |media: Media| {
            // A thread that has ended has no phones any more.
            let _ = told.send(ToPhones::Media(media));
        };
        let signalling = Signalling::start(sip, called.sip(), rtp_port, tell)?;
        stage::pin_all(&options.server.own_cpus)?;
        sleep(Duration::from_secs(1)).await;
        let idle = Usage::of(called.pid());
        Ok(House { called, phones, signalling, idle, up: 0 })
    }

    /// Brings the number of calls up to `calls`.
    pub(super) async fn ramp(&mut self, calls: usize, options: &Hold) -> Result<(), Trouble> {
        let mut pace = interval(Duration::from_secs_f64(1.0 / f64::from(options.ramp)));
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for phone in self.up..calls {
            pace.tick().await;
            self.begin(phone, options.direction());
        }
        self.up = calls;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.state().await?;
            if state.up == calls || Instant::now() > deadline || state.failures() > calls as u64 / 10 {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        sleep(SETTLE).await;
        Ok(())
    }

    fn begin(&mut self, phone: usize, direction: Direction) {
        if direction.is_dialled(phone) {
            self.called.dial(phone);
        } else {
            let _ = self.signalling.send(ToSignalling::Dial { phone });
        }
    }

    /// Measures for so long.
    pub(super) async fn measure(&mut self, options: &Hold) -> Result<Held, Trouble> {
        let pid = self.called.pid();
        let _ = self.phones.send(ToPhones::Begin);
        let before = self.called.begin().await;
        let (rcvbuf, stolen) = (process::receive_buffer_errors(), process::stolen_s());
        let capture = match self.called.media() {
            Some(ports) if options.capture => Some(capture::start(ports, options.seconds)?),
            _ => None,
        };
        let (server, own, begun) = (Usage::of(pid), Usage::of(std::process::id()), Instant::now());
        let mut memory = vec![(0.0, server.rss_kib as f64)];
        while begun.elapsed().as_secs_f64() + 0.5 < f64::from(options.seconds) {
            let left = f64::from(options.seconds) - begun.elapsed().as_secs_f64();
            sleep(Duration::from_secs_f64(left.min(1.0))).await;
            memory.push((begun.elapsed().as_secs_f64() / 60.0, process::rss_kib(pid) as f64));
        }
        let used = Usage::of(pid).since(&server);
        let harness = Usage::of(std::process::id()).since(&own);
        let seconds = begun.elapsed().as_secs_f64();
        let capture = capture.map(|running| running.finish()).transpose()?;
        if used.rss_kib == 0 {
            return Err(Trouble::Server(format!("process {pid} has ended")));
        }
        let phones = self.measured().await?;
        let Told { heard_ms, inside, robot } = self.called.told(&before, &phones).await;
        let state = self.state().await?;
        let missing = (self.up as u64).saturating_sub(state.up as u64 + state.failures());
        let mut reasons: BTreeMap<_, _> = state.failed.clone().into_iter().collect();
        if missing > 0 {
            reasons.insert("not up".to_owned(), missing);
        }
        let call_seconds = seconds * self.up as f64;
        let per_call = |cpu_s: f64| cpu_s * 1_000.0 / call_seconds;
        let by_thread = |usage: &Usage| usage.by_thread.iter().map(|(name, s)| (name.clone(), per_call(*s))).collect();
        Ok(Held {
            calls: self.up,
            seconds,
            cpu_ms: per_call(used.cpu_s),
            by_thread: by_thread(&used),
            rss_idle_kib: self.idle.rss_kib,
            rss_kib: used.rss_kib,
            rss_slope: super::histogram::slope(&memory),
            voluntary_s: used.voluntary as f64 / seconds,
            involuntary_s: used.involuntary as f64 / seconds,
            rcvbuf_errors: process::receive_buffer_errors() - rcvbuf,
            stolen_ms_s: (process::stolen_s() - stolen) * 1_000.0 / seconds,
            pacing: (&phones.pacing).into(),
            capture,
            packets: phones.packets,
            lost: phones.lost,
            late: phones.late,
            strange: phones.strange,
            voiced: phones.voiced as f64 * 0.02 / call_seconds,
            heard: heard_ms.map(|ms| ms as f64 / (call_seconds * 1_000.0)),
            inside,
            robot,
            failed: state.failures() + missing,
            reasons,
            harness: by_thread(&harness),
            harness_late: (&phones.own_lateness).into(),
            ..Held::default()
        })
    }

    /// Ends all calls, then the server; adds to the figures what was left of it.
    pub(super) async fn close(mut self, options: &Hold, held: &mut Held) -> Result<(), Trouble> {
        let mut pace = interval(Duration::from_secs_f64(0.25 / f64::from(options.ramp)));
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for phone in 0..std::mem::take(&mut self.up) {
            pace.tick().await;
            let _ = self.signalling.send(ToSignalling::HangUp { phone });
        }
        let deadline = Instant::now() + PATIENCE;
        while self.left().await? > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(100)).await;
        }
        sleep(Duration::from_secs(1)).await;
        let now = Usage::of(self.called.pid());
        held.left_kib = now.rss_kib as i64 - self.idle.rss_kib as i64;
        held.left_files = now.files as i64 - self.idle.files as i64;
        held.left_threads = now.threads as i64 - self.idle.threads as i64;
        let left = self.left().await?;
        if left > 0 {
            held.reasons.insert("never ended".to_owned(), left);
            held.failed += left;
        }
        self.called.strike().await
    }

    /// Calls that are not over: as the server has it, or, if it does not tell, the phones.
    async fn left(&self) -> Result<u64, Trouble> {
        match self.called.calls().await {
            Some(calls) => Ok(calls),
            None => Ok(self.state().await?.up as u64),
        }
    }

    async fn state(&self) -> Result<State, Trouble> {
        let gone = || Trouble::Socket("the phones' signalling has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        self.signalling.send(ToSignalling::State { reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    async fn measured(&self) -> Result<Measured, Trouble> {
        let gone = || Trouble::Socket("the phones have ended".to_owned());
        let (reply, answer) = oneshot::channel();
        self.phones.send(ToPhones::Take { reply }).map_err(|_| gone())?;
        timeout(PATIENCE, answer).await.map_err(|_| gone())?.map_err(|_| gone())
    }
}
