//! Floor 3: the journal. What happened, in order, and what is left of a call when it is over.
//!
//! A task and some threads, each the one owner of its state:
//!
//! | who | owns | module |
//! |---|---|---|
//! | the bus, a task | the sequence number, the last N events, the watchers that wait | `bus` |
//! | `journal-disk` | all open recordings, the recordings folder | `disk` |
//! | `journal-ends` | the calls that are over, until their end is told | `ends` |
//! | `journal-sweep`, with a limit only | nothing: it looks for what has to go | `sweep` |
//! | `journal-upload`, with a place only | what waits for its upload | `upload` |
//!
//! They are apart because a disk may stand still for seconds, or for ever, and events must not: nobody who tells or watches ever waits for
//! a disk. Only a call's own last two events do, since they name the files: `RecordReady`, then `Ended`, after everything that the call told
//! before. `Ended` waits ten seconds at most; where the disk has not answered by then, `RecordReady` comes when it does. Where recordings are
//! uploaded, `RecordUploaded` comes after both, whenever that is.
//!
//! A file counts as written when the kernel has it: it survives the process (a `kill -9` too), not the loss of power. A sync
//! per call would cost the disk thread tens of milliseconds each.

mod bus;
mod disk;
mod ends;
mod metrics;
mod name;
mod news;
mod ogg_opus;
mod recording;
mod sweep;
mod timeline;
mod upload;
mod wav;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::SystemTime;

use prometheus_client::registry::Registry;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::warn;

use crate::call::event::{Event, What};
use crate::call::io::RecordedFrame;
use crate::call::record::CallRecord;
use crate::codec::g711::Law;
use crate::ms::Ms;

pub use bus::{Sequenced, TooOld, Watcher};
pub use name::{BadName, BadPattern, Naming, Pattern, Stem};
pub use news::{News, Standing};
pub use sweep::Keep;
pub use upload::{Destination, S3, Secret, Upload};

use bus::ToBus;
use disk::ToDisk;
use ends::{Over, PATIENCE, Pulse, ToEnds};
use metrics::Metrics;
use upload::ToUpload;

/// What the journal has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where recordings and records are written; made when it is missing.
    pub folder: PathBuf,
    /// How recordings are written.
    pub format: Format,
    /// What may be kept of them and of records.
    pub keep: Keep,
    /// Whereto they go when their call is over; `None`: nowhere.
    pub upload: Option<Upload>,
    /// How many events are kept for watchers that resume; at least 1.
    pub keep_events: usize,
}

/// How recordings are written: always stereo, of 8 kHz.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// WAV, 16 bits a sample.
    #[default]
    Pcm16,
    /// WAV, 8 bits a sample, by the law of the call's line: half the room.
    G711,
    /// Ogg Opus.
    Opus {
        /// Bits a second of both channels, on average.
        bitrate: u32,
    },
}

impl Format {
    /// How the names of its files end.
    fn ending(self) -> &'static str {
        match self {
            Format::Pcm16 | Format::G711 => "wav",
            Format::Opus { .. } => "opus",
        }
    }
}

/// What became of a call's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finished {
    /// The recording; `None`: none was asked for, or the disk did not take it.
    pub wav: Option<PathBuf>,
    /// The record; `None`: the disk did not take it.
    pub json: Option<PathBuf>,
    /// What the disk refused; the same lines are in the record of `Ended`.
    pub faults: Vec<String>,
}

/// The way to the journal; clones lead to the same one.
#[derive(Debug, Clone)]
pub struct Handle {
    bus: UnboundedSender<ToBus>,
    disk: Sender<ToDisk>,
    ends: Sender<ToEnds>,
    pulse: Pulse,
    /// The sweeper lives as long as this.
    _sweeps: Option<Sender<()>>,
    uploads: Option<UnboundedSender<ToUpload>>,
    metrics: Metrics,
}

/// Whether recordings and records can be written: makes the folder, and a file in it.
///
/// # Errors
/// The system's word for why not.
pub fn probe(folder: &Path) -> io::Result<()> {
    name::probe(folder)
}

/// Starts the journal's threads. Must be called within a tokio runtime.
///
/// # Errors
/// When the system gives no thread. A folder that cannot be written is none: it is counted and told call by call.
pub fn start(settings: &Settings) -> io::Result<Handle> {
    let metrics = Metrics::default();
    let bus = bus::start(settings.keep_events, metrics.clone());
    let (to_upload, inbox) = unbounded_channel();
    let uploads = settings.upload.is_some().then_some(to_upload);
    let pulse = Pulse::new();
    let ends = ends::start(&settings.folder, pulse.clone(), PATIENCE, uploads.clone(), bus.clone(), metrics.clone())?;
    let disk = disk::start(settings, uploads.clone(), ends.clone(), pulse.clone(), metrics.clone())?;
    if let Some(upload) = settings.upload.clone() {
        upload::start(upload, settings.folder.clone(), inbox, disk.clone(), bus.clone(), metrics.clone())?;
    }
    let sweeps = match settings.keep {
        Keep { age: None, bytes: None } => None,
        keep => {
            let (sweeps, alive) = mpsc::channel();
            sweep::start(settings.folder.clone(), keep, uploads.is_some(), disk.clone(), alive, metrics.clone())?;
            Some(sweeps)
        }
    };
    Ok(Handle { bus, disk, ends, pulse, _sweeps: sweeps, uploads, metrics })
}

impl Handle {
    /// Takes a call's event; it gets the next number. Never waits.
    pub fn tell(&self, event: Event) {
        // Refused only when the runtime is ending.
        let _ = self.bus.send(ToBus::Tell(Box::new(News::Call(event))));
    }

    /// A trunk stands differently; told in the same order as what happens on calls. Never waits.
    pub fn tell_trunk(&self, standing: Standing) {
        let _ = self.bus.send(ToBus::Tell(Box::new(News::Trunk { wall: SystemTime::now(), standing })));
    }

    /// All events after number `after`; with `after` 0 those from now on, or all that are kept if `from_oldest`.
    ///
    /// # Errors
    /// [`TooOld`] when those events are kept no longer, or when there has been no event `after` in this run of the process.
    pub async fn watch(&self, after: u64, from_oldest: bool) -> Result<Watcher, TooOld> {
        Watcher::open(&self.bus, &self.metrics, after, from_oldest).await
    }

    /// Records a call from now on: the journal empties the ring about ten times a second and writes `<name>.wav`, or `.opus`. The ring's other end
    /// is to be dropped when the call's media end. `law` is that of the call's line. Behind a disk that has stood still for ten seconds
    /// nothing more is queued, rings least of all: the call is not recorded, and its record says so.
    pub fn open_recording(&self, call_id: Arc<str>, name: Stem, law: Law, frames: rtrb::Consumer<RecordedFrame>) {
        let busy = self.pulse.busy();
        if busy >= PATIENCE {
            let fault = format!("recording: none was made: the disk had not answered for {} s", busy.as_secs());
            warn!(%call_id, "{fault}");
            self.metrics.disk_errors.inc();
            let _ = self.ends.send(ToEnds::Unrecorded(call_id.clone(), fault.clone()));
            let _ = self.disk.send(ToDisk::Unrecorded(call_id, fault));
            return;
        }
        let open = ToDisk::Open { call_id, name, law, frames };
        // A journal that is shut down records no more; the ring's owner sees it abandoned.
        let _ = self.disk.send(open);
    }

    /// The call's recording goes on with what comes by another ring, when the first one's other end is dropped: the media go on by another
    /// leg, whose frames have the recording's times.
    pub fn continue_recording(&self, call_id: Arc<str>, frames: rtrb::Consumer<RecordedFrame>) {
        let _ = self.disk.send(ToDisk::Continue { call_id, frames });
    }

    /// Closes the call's recording, if there is one, writes the record as `<name>.json`, then tells `RecordReady` and, last,
    /// `Ended`; that one after ten seconds at the latest. `at` is the media time of the end. The answer may be ignored; it comes when `Ended`
    /// has been told.
    pub fn finish_call(&self, record: CallRecord, name: Stem, at: Ms) -> oneshot::Receiver<Finished> {
        let (reply, answer) = oneshot::channel();
        let finish = ToDisk::Finish(Box::new(disk::Finish { record: record.clone(), name, at }));
        // First who tells it, so that it waits for what the disk says.
        if let Err(refused) = self.ends.send(ToEnds::Over(Box::new(Over { record, at, reply })))
            && let ToEnds::Over(over) = refused.0
        {
            // Even without these threads the world hears that the call is over.
            let fault = "the journal is shut down: no record was written".to_owned();
            let Over { mut record, at, reply } = *over;
            record.faults.push(fault.clone());
            ends::conclude(&self.bus, record, at, reply, Finished { faults: vec![fault], ..Finished::default() });
            return answer;
        }
        // Refused only when the disk's thread is gone: the other one gives up waiting, or ends, and tells it then.
        let _ = self.disk.send(finish);
        answer
    }

    /// Ends the journal: returns when everything that was told or handed over before is numbered and written; a disk that does not answer is
    /// waited for ten seconds. Recordings without a finished call are closed as they are. Uploads get a few seconds more, if they work; the
    /// next start goes on with the rest. Watchers get what is left for them, then their end.
    pub async fn shutdown(&self) {
        // An error means that the thread is gone already: the same. One that hangs is left behind.
        let (reply, answer) = oneshot::channel();
        if self.disk.send(ToDisk::Shutdown(reply)).is_ok() && timeout(PATIENCE, answer).await.is_err() {
            warn!("the disk does not answer: what it has not written is lost");
        }
        let (reply, answer) = oneshot::channel();
        if self.ends.send(ToEnds::Shutdown(reply)).is_ok() {
            let _ = answer.await;
        }
        if let Some(uploads) = &self.uploads {
            let (reply, answer) = oneshot::channel();
            if uploads.send(ToUpload::Shutdown(reply)).is_ok() {
                let _ = timeout(PATIENCE, answer).await;
            }
        }
        let (reply, answer) = oneshot::channel();
        if self.bus.send(ToBus::Close(reply)).is_ok() {
            let _ = answer.await;
        }
    }

    /// Puts the journal's figures into a registry, names beginning with `journal_`.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }
}

/// An event of the call whose record this is.
fn event_of(record: &CallRecord, at: Ms, what: What) -> Event {
    Event {
        call_id: record.call_id.as_str().into(),
        wall: SystemTime::now(),
        at,
        correlation: record.correlation.as_str().into(),
        what,
    }
}
