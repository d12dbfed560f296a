//! Upload: a recording and its record go to where they are kept, when their call is over.
//!
//! A thread of its own, with a small runtime in it: no call, no event and no disk ever waits for the service. What has to go is known by
//! hidden markers, `.NAME.upload`, one beside each recording from the moment that it is opened until it is there: so a process that is
//! killed finds them again. The sweeper spares what has one.
//!
//! After a fault no more than one recording at a time is tried, the pause between two tries doubles up to [`LONGEST_PAUSE`], and the
//! recording goes to the end of the queue. The first one that succeeds opens the gate again. Nothing is given up.

mod http;
mod store;

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use object_store::ObjectStore;
use rand::RngExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::bus::ToBus;
use super::disk::ToDisk;
use super::metrics::Metrics;
use super::name;
use super::news::News;
use super::sweep;
use crate::call::event::{Event, What};
use crate::ms::Ms;

pub use store::{Destination, S3, Secret};

/// The pause after the first fault; it doubles with each one after it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// So often it is told that it still does not work.
const REMIND: Duration = Duration::from_secs(600);
/// So long at most what waits is still sent when the process is to end.
const LAST: Duration = Duration::from_secs(5);

/// Whereto recordings and records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The place.
    pub to: Destination,
    /// What is there need not be here any more.
    pub delete_after: bool,
    /// So many recordings at a time at most.
    pub at_a_time: usize,
}

/// What the thread is told.
pub(super) enum ToUpload {
    /// A recording, a record or both are whole.
    Ready(Waiting),
    /// The process ends.
    Shutdown(oneshot::Sender<()>),
}

/// What has to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    /// The path of recording and record, without ending.
    pub stem: PathBuf,
    pub call_id: String,
    pub correlation: String,
    pub at: Ms,
    /// How often it was tried.
    pub attempts: u32,
}

/// What is there.
struct Sent {
    wav: String,
    json: String,
    bytes: u64,
}

/// Why a try has failed.
struct Fault {
    reason: String,
    /// It is the file's; others may go all the same.
    own: bool,
}

/// Starts the thread; it ends at [`ToUpload::Shutdown`] or with the last sender.
pub(super) fn start(
    upload: Upload,
    folder: PathBuf,
    inbox: UnboundedReceiver<ToUpload>,
    disk: Sender<ToDisk>,
    bus: UnboundedSender<ToBus>,
    metrics: Metrics,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("journal-upload".into()).spawn(move || {
        let left = left_over(&folder, &disk);
        // The disk thread ends with its last sender.
        drop(disk);
        if !left.is_empty() {
            info!(recordings = left.len(), to = %upload.to, "found what an earlier run has not uploaded");
        }
        let now = Instant::now();
        let mut uploader = Uploader {
            upload,
            folder,
            bus,
            metrics,
            store: None,
            queue: VecDeque::new(),
            known: HashSet::new(),
            faults: 0,
            next_at: now,
            told_at: None,
        };
        left.into_iter().for_each(|waiting| uploader.take(waiting));
        runtime.block_on(uploader.run(inbox));
        // A share that hangs keeps a thread of the runtime: nobody waits for it.
        runtime.shutdown_background();
    })?;
    Ok(())
}

/// What has a marker and is not being written.
fn left_over(folder: &Path, disk: &Sender<ToDisk>) -> Vec<Waiting> {
    let marked = sweep::find_marked(folder);
    if marked.is_empty() {
        return Vec::new();
    }
    // Asked after the look: what has been opened since is not in it.
    let (reply, answer) = mpsc::channel();
    let busy = match disk.send(ToDisk::Busy(reply)).map(|()| answer.recv()) {
        Ok(Ok(busy)) => busy,
        // The journal is over already: the next start finds them.
        _ => return Vec::new(),
    };
    marked.into_iter().filter(|stem| !busy.contains(stem)).map(Waiting::found).collect()
}

impl Waiting {
    /// What an earlier run has left: its record, if it came to one, says whose it is; else the marker does.
    fn found(stem: PathBuf) -> Waiting {
        let marked = fs::read_to_string(name::marker(&stem)).unwrap_or_default().trim().to_owned();
        let json = fs::read(name::ended(&stem, "json")).ok();
        let record: Option<serde_json::Value> = json.and_then(|json| serde_json::from_slice(&json).ok());
        let text = |key: &str| Some(record.as_ref()?.get(key)?.as_str()?.to_owned());
        let talked = record.as_ref().and_then(|record| record.get("talk_ms")?.as_u64());
        Waiting {
            call_id: text("call_id").unwrap_or(marked),
            correlation: text("correlation").unwrap_or_default(),
            at: Ms(talked.and_then(|ms| ms.try_into().ok()).unwrap_or(0)),
            attempts: 0,
            stem,
        }
    }
}

struct Uploader {
    upload: Upload,
    folder: PathBuf,
    bus: UnboundedSender<ToBus>,
    metrics: Metrics,
    /// The way to a service, made once; that to a folder is looked for anew each time, since it may be mounted later.
    store: Option<Arc<dyn ObjectStore>>,
    queue: VecDeque<Waiting>,
    /// What is in the queue or under way.
    known: HashSet<PathBuf>,
    /// Faults of the service one after the other; 0: it works.
    faults: u32,
    /// Not before this anything is begun.
    next_at: Instant,
    /// When it was last told that it does not work.
    told_at: Option<Instant>,
}

type Tried = (Waiting, Result<Sent, Fault>);

impl Uploader {
    async fn run(mut self, mut inbox: UnboundedReceiver<ToUpload>) {
        let mut running: JoinSet<Tried> = JoinSet::new();
        let mut last: Option<(oneshot::Sender<()>, Instant)> = None;
        loop {
            if let Some((_, until)) = &last
                && (self.faults > 0 || (self.queue.is_empty() && running.is_empty()) || Instant::now() >= *until)
            {
                // What is left has its markers: the next start finds it. Dropped, the tries that run end here.
                let _ = last.take().map(|(reply, _)| reply.send(()));
                return;
            }
            self.begin(&mut running);
            let wake = match &last {
                Some((_, until)) => Some(*until),
                None => (!self.queue.is_empty() && running.is_empty()).then_some(self.next_at),
            };
            let woken = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                asked = inbox.recv(), if last.is_none() => match asked {
                    Some(ToUpload::Ready(waiting)) => self.take(waiting),
                    Some(ToUpload::Shutdown(reply)) => last = Some((reply, Instant::now() + LAST)),
                    None => return,
                },
                Some(tried) = running.join_next() => {
                    // A try that panics is lost with what it was about, which the next start finds; there is none.
                    if let Ok((waiting, result)) = tried {
                        self.tried(waiting, result);
                    }
                }
                () = woken => {}
            }
        }
    }

    fn take(&mut self, waiting: Waiting) {
        if self.known.insert(waiting.stem.clone()) {
            self.metrics.upload_waiting.inc();
            self.queue.push_back(waiting);
        }
    }

    fn begin(&mut self, running: &mut JoinSet<Tried>) {
        let at_a_time = if self.faults == 0 { self.upload.at_a_time } else { 1 };
        while running.len() < at_a_time && Instant::now() >= self.next_at {
            let Some(mut waiting) = self.queue.pop_front() else { return };
            waiting.attempts = waiting.attempts.saturating_add(1);
            let store = match &self.store {
                Some(store) => Ok(store.clone()),
                None => self.upload.to.open(),
            };
            match store {
                Err(reason) => self.tried(waiting, Err(Fault { reason, own: false })),
                Ok(store) => {
                    if matches!(self.upload.to, Destination::S3(_)) {
                        self.store = Some(store.clone());
                    }
                    running.spawn(attempt(self.upload.to.clone(), store, self.folder.clone(), waiting));
                }
            }
        }
    }

    fn tried(&mut self, waiting: Waiting, result: Result<Sent, Fault>) {
        match result {
            Ok(sent) => self.done(waiting, sent),
            Err(fault) => self.failed(waiting, &fault),
        }
    }

    fn done(&mut self, waiting: Waiting, sent: Sent) {
        if self.told_at.take().is_some() {
            info!(to = %self.upload.to, waiting = self.queue.len(), "uploads work again");
        }
        self.faults = 0;
        self.next_at = Instant::now();
        self.known.remove(&waiting.stem);
        self.metrics.upload_waiting.dec();
        if self.upload.delete_after {
            for ending in name::FILES {
                remove(&name::ended(&waiting.stem, ending), &self.metrics);
            }
        }
        // Last: killed before this, it is all done once more, to the same end.
        remove(&name::marker(&waiting.stem), &self.metrics);
        if self.upload.delete_after {
            sweep::remove_empty(&waiting.stem, &self.folder);
        }
        if sent.wav.is_empty() && sent.json.is_empty() {
            warn!(stem = %waiting.stem.display(), "was to be uploaded, and is gone: somebody else has removed it");
            return;
        }
        self.metrics.uploaded.inc();
        self.metrics.uploaded_bytes.inc_by(sent.bytes);
        let Sent { wav, json, bytes } = sent;
        let what = What::RecordUploaded { wav, json, bytes, attempts: waiting.attempts, reason: String::new() };
        self.tell(&waiting, what);
    }

    fn failed(&mut self, waiting: Waiting, fault: &Fault) {
        self.metrics.upload_failures.inc();
        let (now, reason) = (Instant::now(), &fault.reason);
        if fault.own {
            warn!(stem = %waiting.stem.display(), attempts = waiting.attempts, %reason, "cannot be uploaded; it is tried again");
        } else if self.told_at.is_none_or(|told| now >= told + REMIND) {
            self.told_at = Some(now);
            let waiting = self.queue.len() + 1;
            warn!(to = %self.upload.to, waiting, %reason, "uploads fail; recordings stay here and are tried again");
        }
        // The file's own faults count as well: alone in the queue it would be tried without a pause.
        self.faults = self.faults.saturating_add(1);
        self.next_at = now + pause(self.faults, rand::rng().random());
        if waiting.attempts == 1 {
            let (wav, json) = (String::new(), String::new());
            let what = What::RecordUploaded { wav, json, bytes: 0, attempts: 1, reason: reason.clone() };
            self.tell(&waiting, what);
        }
        self.queue.push_back(waiting);
    }

    fn tell(&self, waiting: &Waiting, what: What) {
        let Waiting { call_id, correlation, at, .. } = waiting;
        let (call_id, correlation) = (call_id.as_str().into(), correlation.as_str().into());
        let event = Event { call_id, wall: SystemTime::now(), at: *at, correlation, what };
        let _ = self.bus.send(ToBus::Tell(Box::new(News::Call(event))));
    }
}

/// Somewhere in the second half of a pause that doubles: many processes do not come back to a service together.
fn pause(faults: u32, chance: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << faults.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    doubled.mul_f64(0.5 + chance / 2.0)
}

/// Sends what is there of a recording and its record: the recording first, so that where a record is, its recording is too.
async fn attempt(to: Destination, store: Arc<dyn ObjectStore>, folder: PathBuf, waiting: Waiting) -> Tried {
    let mut sent = Sent { wav: String::new(), json: String::new(), bytes: 0 };
    for ending in name::FILES {
        let path = name::ended(&waiting.stem, ending);
        let key = name::ended(waiting.stem.strip_prefix(&folder).unwrap_or(&waiting.stem), ending);
        match store::put(&to, &*store, &key.to_string_lossy(), &path).await {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                let place = if ending == "json" { &mut sent.json } else { &mut sent.wav };
                *place = to.url(&key.to_string_lossy());
                sent.bytes += bytes;
            }
            Err(fault) => return (waiting, Err(fault)),
        }
    }
    (waiting, Ok(sent))
}

fn remove(path: &Path, metrics: &Metrics) {
    if let Err(e) = fs::remove_file(path)
        && e.kind() != io::ErrorKind::NotFound
    {
        metrics.disk_errors.inc();
        warn!("{} cannot be removed: {e}; give its folder to the user that runs trunkline", path.display());
    }
}

#[cfg(test)]
mod tests;
