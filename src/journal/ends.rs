//! The thread that tells the end of calls: when their files are there, or when the disk has had its time.
//!
//! | of a call that is over comes              | told is                                                                  |
//! |-------------------------------------------|--------------------------------------------------------------------------|
//! | what the disk thread has written          | `RecordReady`, if there is a file; `Ended`; then its upload may begin    |
//! | nothing for [`PATIENCE`]                  | `Ended`, with a fault that says so                                       |
//! | what was written after that               | `RecordReady`, when it comes                                             |
//!
//! It also watches the disk thread: one that does not come back from its work for [`STALL`] is counted and logged.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::bus::ToBus;
use super::metrics::Metrics;
use super::news::News;
use super::upload::{ToUpload, Waiting};
use super::{Finished, event_of};
use crate::call::event::What;
use crate::call::record::CallRecord;
use crate::ms::Ms;

/// So long the end of a call is not told because its files are not there.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// A disk that takes longer for something stands still: the rings of recordings hold as much.
const STALL: Duration = Duration::from_secs(1);
/// So often that is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What the thread is told.
pub(super) enum ToEnds {
    /// A call is over; the disk has been asked to write its record.
    Over(Box<Over>),
    /// It was to be recorded, and is not.
    Unrecorded(Arc<str>, String),
    /// What the disk has made of that.
    Written(Box<Written>),
    Shutdown(oneshot::Sender<()>),
}

/// The end of a call.
pub(super) struct Over {
    pub record: CallRecord,
    pub at: Ms,
    pub reply: oneshot::Sender<Finished>,
}

/// What is written of it.
pub(super) struct Written {
    /// As it is in the file, with the places of both files; and why there is none.
    pub record: CallRecord,
    pub at: Ms,
    pub wav: Option<PathBuf>,
    pub json: Option<PathBuf>,
    pub faults: Vec<String>,
    pub json_url: String,
    /// What has to be uploaded.
    pub upload: Option<Waiting>,
}

/// Since when the disk thread is at what it does; shared with who watches it.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    base: Instant,
    /// Milliseconds from there, and one more; 0: it waits for work.
    since: Arc<AtomicU64>,
}

impl Pulse {
    pub(super) fn new() -> Pulse {
        Pulse { base: Instant::now(), since: Arc::default() }
    }

    /// One that has been at it for so long.
    #[cfg(test)]
    pub(super) fn since(long: Duration) -> Pulse {
        let base = Instant::now().checked_sub(long).expect("the machine is up for longer");
        Pulse { base, since: Arc::new(AtomicU64::new(1)) }
    }

    /// It begins something.
    pub(super) fn begins(&self) {
        self.since.store(self.base.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// It is done.
    pub(super) fn rests(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// For how long it has been at what it does.
    pub(super) fn busy(&self) -> Duration {
        match self.since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.base.elapsed().saturating_sub(Duration::from_millis(since - 1)),
        }
    }
}

/// Starts the thread; it ends at [`ToEnds::Shutdown`] or with the last sender.
pub(super) fn start(
    folder: &Path,
    pulse: Pulse,
    patience: Duration,
    uploads: Option<UnboundedSender<ToUpload>>,
    bus: UnboundedSender<ToBus>,
    metrics: Metrics,
) -> io::Result<Sender<ToEnds>> {
    let (to_ends, inbox) = mpsc::channel();
    let ends = Ends {
        folder: folder.to_owned(),
        pulse,
        patience,
        stalled: None,
        waiting: HashMap::new(),
        unrecorded: HashMap::new(),
        uploads,
        bus,
        metrics,
    };
    thread::Builder::new().name("journal-ends".into()).spawn(move || ends.run(inbox))?;
    Ok(to_ends)
}

struct Ends {
    folder: PathBuf,
    pulse: Pulse,
    patience: Duration,
    /// When the disk was found to stand still.
    stalled: Option<Instant>,
    /// Calls that are over, until when their files are waited for.
    waiting: HashMap<String, (Box<Over>, Instant)>,
    /// Why calls are not recorded that were to be.
    unrecorded: HashMap<Arc<str>, String>,
    uploads: Option<UnboundedSender<ToUpload>>,
    bus: UnboundedSender<ToBus>,
    metrics: Metrics,
}

impl Ends {
    fn run(mut self, inbox: Receiver<ToEnds>) {
        loop {
            let mut over = None;
            match inbox.recv_timeout(LOOK) {
                Ok(ToEnds::Over(call)) => {
                    self.waiting.insert(call.record.call_id.clone(), (call, Instant::now() + self.patience));
                }
                Ok(ToEnds::Unrecorded(call_id, fault)) => {
                    self.unrecorded.insert(call_id, fault);
                }
                Ok(ToEnds::Written(written)) => self.written(*written),
                Ok(ToEnds::Shutdown(reply)) => over = Some(Some(reply)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => over = Some(None),
            }
            let now = Instant::now();
            self.watch(now);
            let due = |(id, (_, until)): (&String, &(Box<Over>, Instant))| {
                (over.is_some() || now >= *until).then(|| id.clone())
            };
            let due: Vec<String> = self.waiting.iter().filter_map(due).collect();
            due.iter().for_each(|call_id| self.give_up(call_id));
            if let Some(reply) = over {
                // Before who waits for this hears of it: what comes later is refused, and told by whoever has it.
                drop(inbox);
                // Nobody has to wait.
                let _ = reply.map(|reply| reply.send(()));
                return;
            }
        }
    }

    fn watch(&mut self, now: Instant) {
        let busy = self.pulse.busy();
        self.metrics.disk_stalled.set(if busy >= STALL { busy.as_secs() as i64 } else { 0 });
        let folder = self.folder.display();
        match (self.stalled, busy >= STALL) {
            (None, true) => {
                self.stalled = now.checked_sub(busy);
                self.metrics.disk_stalls.inc();
                warn!(%folder, "the disk does not answer: recordings lose sound, and calls that end wait for their files; see what holds it up");
            }
            (Some(since), false) => {
                self.stalled = None;
                info!(%folder, after_s = now.saturating_duration_since(since).as_secs(), "the disk answers again");
            }
            _ => {}
        }
    }

    fn written(&mut self, written: Written) {
        let Written { record, at, wav, json, faults, json_url, upload } = written;
        // Of one that is not waited for the end was told, and what was to be said of it with that.
        let reply = self.waiting.remove(&record.call_id).map(|(over, _)| over.reply);
        self.unrecorded.remove(record.call_id.as_str());
        if wav.is_some() || json.is_some() {
            let wav_url = record.wav_url.clone();
            let ready =
                What::RecordReady { wav: shown(wav.as_deref()), json: shown(json.as_deref()), wav_url, json_url };
            self.tell(&record, at, ready);
        }
        if let Some(reply) = reply {
            conclude(&self.bus, record, at, reply, Finished { wav, json, faults });
        }
        // After the call's last words: what is told of the upload comes behind them.
        if let Some((uploads, waiting)) = self.uploads.as_ref().zip(upload) {
            // Refused only when the thread is gone: the marker is there.
            let _ = uploads.send(ToUpload::Ready(waiting));
        }
    }

    fn give_up(&mut self, call_id: &str) {
        let Some((over, _)) = self.waiting.remove(call_id) else { return };
        let Over { mut record, at, reply } = *over;
        let busy = self.pulse.busy().as_secs();
        let folder = self.folder.display();
        let mut faults = vec![match busy {
            0 => "record: the journal was shut down before it was written".to_owned(),
            _ => format!(
                "record: the disk under {folder} has not answered for {busy} s: what comes of it is told when it is there"
            ),
        }];
        faults.extend(self.unrecorded.remove(call_id));
        warn!(call_id, "{}", faults[0]);
        self.metrics.disk_errors.inc();
        record.faults.extend(faults.iter().cloned());
        conclude(&self.bus, record, at, reply, Finished { faults, ..Finished::default() });
    }

    fn tell(&self, record: &CallRecord, at: Ms, what: What) {
        let _ = self.bus.send(ToBus::Tell(Box::new(News::Call(event_of(record, at, what)))));
    }
}

/// Tells a call's last event, and whoever waits.
pub(super) fn conclude(
    bus: &UnboundedSender<ToBus>,
    record: CallRecord,
    at: Ms,
    reply: oneshot::Sender<Finished>,
    finished: Finished,
) {
    let ended = event_of(&record, at, What::Ended(Box::new(record.clone())));
    let _ = bus.send(ToBus::Tell(Box::new(News::Call(ended))));
    // Nobody has to wait.
    let _ = reply.send(finished);
}

/// A path as the world is told of it; empty: there is none.
pub(super) fn shown(path: Option<&Path>) -> String {
    path.map(|p| p.display().to_string()).unwrap_or_default()
}
