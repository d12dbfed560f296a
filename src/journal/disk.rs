//! The thread that owns the recordings folder.
//!
//! A media thread puts a frame of each recorded call into a ring every 20 ms and never waits; this thread empties all rings about ten
//! times a second. When the disk stands still it falls behind, the rings fill, and the media threads count what they
//! could not put: holes in recordings, and nothing else.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tracing::warn;

use super::ends::{Pulse, ToEnds, Written, shown};
use super::metrics::Metrics;
use super::name::{self, Stem};
use super::ogg_opus::OggOpus;
use super::recording::{Recording, Sound};
use super::upload::{Destination, ToUpload, Waiting};
use super::wav::{Coding, Wav};
use super::{Format, Settings};
use crate::call::io::RecordedFrame;
use crate::call::record::CallRecord;
use crate::codec::g711::Law;
use crate::ms::Ms;

/// The rings are emptied so often.
const DRAIN_EVERY: Duration = Duration::from_millis(100);

/// A media thread is told of a call's end at the same time as we are: so long its last frames are waited for.
const LAST_FRAMES: Duration = Duration::from_millis(500);

/// A recording that is shorter than its call by less has lost nothing: the call is over a little after its media.
const LOST_END: Ms = Ms(500);

/// What the disk thread is asked.
pub(super) enum ToDisk {
    Open {
        call_id: Arc<str>,
        name: Stem,
        law: Law,
        frames: rtrb::Consumer<RecordedFrame>,
    },
    /// More of a call that is open.
    Continue {
        call_id: Arc<str>,
        frames: rtrb::Consumer<RecordedFrame>,
    },
    /// It was to be recorded, and is not.
    Unrecorded(Arc<str>, String),
    Finish(Box<Finish>),
    /// What is being written: paths without ending.
    Busy(Sender<HashSet<PathBuf>>),
    Shutdown(oneshot::Sender<()>),
}

/// The end of a call.
pub(super) struct Finish {
    pub record: CallRecord,
    pub name: Stem,
    pub at: Ms,
}

/// Starts the thread; it ends at [`ToDisk::Shutdown`] or with the last sender.
pub(super) fn start(
    settings: &Settings,
    uploads: Option<UnboundedSender<ToUpload>>,
    ends: Sender<ToEnds>,
    pulse: Pulse,
    metrics: Metrics,
) -> io::Result<Sender<ToDisk>> {
    let (to_disk, inbox) = mpsc::channel();
    let uploads = settings.upload.as_ref().map(|upload| upload.to.clone()).zip(uploads);
    let (folder, format) = (settings.folder.clone(), settings.format);
    let disk = Disk { folder, format, uploads, ends, pulse, metrics, open: HashMap::new(), unrecorded: HashMap::new() };
    thread::Builder::new().name("journal-disk".into()).spawn(move || disk.run(&inbox))?;
    Ok(to_disk)
}

struct Disk {
    folder: PathBuf,
    format: Format,
    /// Whereto recordings go, and by whom.
    uploads: Option<(Destination, UnboundedSender<ToUpload>)>,
    ends: Sender<ToEnds>,
    pulse: Pulse,
    metrics: Metrics,
    open: HashMap<Arc<str>, Open>,
    /// Why calls are not recorded that were to be.
    unrecorded: HashMap<Arc<str>, String>,
}

/// A call that is recorded.
struct Open {
    frames: rtrb::Consumer<RecordedFrame>,
    /// Whence they come when nothing more comes from there.
    next: Option<rtrb::Consumer<RecordedFrame>>,
    file: Result<OpenFile, String>,
    finish: Option<(Box<Finish>, Instant)>,
}

struct OpenFile {
    stem: Stem,
    path: PathBuf,
    recording: Recording<'static>,
}

impl Disk {
    fn run(mut self, inbox: &Receiver<ToDisk>) {
        let mut drain_at = Instant::now();
        loop {
            self.pulse.rests();
            let asked = if self.open.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(drain_at.saturating_duration_since(Instant::now()))
            };
            self.pulse.begins();
            let begun = Instant::now();
            match asked {
                Ok(ToDisk::Open { call_id, name, law, frames }) => self.open(call_id, &name, law, frames),
                Ok(ToDisk::Continue { call_id, frames }) => {
                    if let Some(open) = self.open.get_mut(&call_id) {
                        open.next = Some(frames);
                    }
                }
                Ok(ToDisk::Unrecorded(call_id, fault)) => {
                    self.unrecorded.insert(call_id, fault);
                }
                Ok(ToDisk::Finish(finish)) => self.finish(finish),
                Ok(ToDisk::Busy(reply)) => {
                    let path = |open: &Open| Some(open.file.as_ref().ok()?.path.with_extension(""));
                    let _ = reply.send(self.open.values().filter_map(path).collect());
                }
                Ok(ToDisk::Shutdown(reply)) => {
                    self.close_all();
                    // Nobody has to wait.
                    let _ = reply.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.close_all(),
            }
            let now = Instant::now();
            if now >= drain_at {
                self.drain(now);
                // From the end of the work: a slow disk is not asked again at once.
                drain_at = Instant::now() + DRAIN_EVERY;
            }
            self.metrics.disk_busy.inc_by(begun.elapsed().as_secs_f64());
        }
    }

    fn open(&mut self, call_id: Arc<str>, name: &Stem, law: Law, frames: rtrb::Consumer<RecordedFrame>) {
        let made = name::create(&self.folder, name, self.format.ending()).and_then(|(stem, path, file)| {
            let recording = Recording::new(sound(file, self.format, law)?, Instant::now());
            Ok(OpenFile { stem, path, recording })
        });
        let file = made.map_err(|e| {
            let fault = format!("recording: cannot be made in {}: {e}", self.folder.display());
            self.count_fault(&call_id, &fault);
            fault
        });
        if let Ok(file) = &file {
            self.mark(&file.stem, &call_id);
        }
        let open = Open { frames, next: None, file, finish: None };
        self.metrics.recordings_open.inc();
        if let Some(before) = self.open.insert(call_id, open) {
            // Opened twice: the first one is closed as it is.
            self.close(before);
        }
    }

    fn finish(&mut self, finish: Box<Finish>) {
        let call_id = finish.record.call_id.as_str();
        match self.open.get_mut(call_id) {
            None => {
                let faults = self.unrecorded.remove(call_id).into_iter().collect();
                self.conclude(*finish, None, faults);
            }
            Some(open) => {
                let call_id: Arc<str> = call_id.into();
                open.finish = Some((finish, Instant::now() + LAST_FRAMES));
                self.drain_one(&call_id, Instant::now());
            }
        }
    }

    fn drain(&mut self, now: Instant) {
        let calls: Vec<_> = self.open.keys().cloned().collect();
        for call_id in calls {
            self.drain_one(&call_id, now);
        }
    }

    /// Empties a ring, and the one that comes after it; closes the recording when its call is over and the ring's other end is dropped.
    fn drain_one(&mut self, call_id: &Arc<str>, now: Instant) {
        let Some(open) = self.open.get_mut(call_id) else {
            return;
        };
        // Looked at before the ring is emptied: what was put before the drop is then in it.
        let mut abandoned = open.frames.is_abandoned();
        let mut fault = open.drain(now, &self.metrics);
        if abandoned && let Some(next) = open.next.take() {
            open.frames = next;
            if let Ok(file) = &mut open.file {
                file.recording.seam();
            }
            abandoned = open.frames.is_abandoned();
            fault = fault.or(open.drain(now, &self.metrics));
        }
        if let Some(fault) = fault {
            self.count_fault(call_id, &fault);
        }
        let due = |(_, wait): &(Box<Finish>, Instant)| abandoned || now >= *wait;
        let over = self.open.get(call_id).and_then(|o| o.finish.as_ref()).is_some_and(due);
        if over && let Some(open) = self.open.remove(call_id) {
            self.close(open);
        }
    }

    /// Closes a recording, and its call if that is over.
    fn close(&mut self, open: Open) {
        self.metrics.recordings_open.dec();
        let Open { file, finish, .. } = open;
        let call_id: Arc<str> = match &finish {
            Some((finish, _)) => finish.record.call_id.as_str().into(),
            None => "".into(),
        };
        let mut faults = Vec::new();
        let mut kept = None;
        match file {
            Err(fault) => faults.push(fault),
            Ok(OpenFile { stem, path, recording }) => {
                let told = recording.fault().is_some();
                let (missing, first) = recording.missing();
                if missing > 0 {
                    faults.push(format!(
                        "recording: {missing} frames of 20 ms are missing, the first at {first}: there is silence instead"
                    ));
                }
                match recording.close() {
                    Err(e) => {
                        let fault = cut_short(&path, &e);
                        if !told {
                            self.count_fault(&call_id, &fault);
                        }
                        faults.push(fault);
                    }
                    // Frames that are missing at the end have none behind them by which they would be missed.
                    Ok(length) => {
                        let talked = finish.as_ref().map_or(Ms(0), |(finish, _)| finish.at);
                        let lost = talked.saturating_sub(length);
                        if lost >= LOST_END {
                            self.metrics.frames_missing.inc_by(u64::from(lost.0 / 20));
                            faults.push(format!(
                                "recording: it ends at {} ms of {}: the rest did not come out in time",
                                length.0, talked.0
                            ));
                        }
                    }
                }
                // A recording that was cut short is still one.
                kept = Some((stem, path));
            }
        }
        match (finish, kept) {
            (Some((finish, _)), kept) => self.conclude(*finish, kept, faults),
            // Its call goes on without it, or the process ends: nothing more comes of it.
            (None, Some((stem, _))) => {
                if let Some((_, uploads)) = &self.uploads
                    && let Some(waiting) = self.waiting(&stem, "", "", Ms(0))
                {
                    // Refused only when the thread is gone: the marker is there.
                    let _ = uploads.send(ToUpload::Ready(waiting));
                }
            }
            (None, None) => {}
        }
    }

    /// What has to be uploaded is found again by this, whatever becomes of us.
    fn mark(&self, stem: &Stem, call_id: &str) {
        if self.uploads.is_some()
            && let Err(e) = name::mark(&stem.below(&self.folder), call_id)
        {
            let marker = name::marker(&stem.below(&self.folder));
            self.count_fault(call_id, &format!("upload: {} cannot be made: {e}", marker.display()));
        }
    }

    /// What has to be uploaded: nothing more is written there.
    fn waiting(&self, stem: &Stem, call_id: &str, correlation: &str, at: Ms) -> Option<Waiting> {
        self.uploads.as_ref()?;
        let (call_id, correlation) = (call_id.to_owned(), correlation.to_owned());
        Some(Waiting { stem: stem.below(&self.folder), call_id, correlation, at, attempts: 0 })
    }

    /// Where a file of ours will be; empty: it stays here.
    fn url(&self, stem: &Stem, ending: &str) -> String {
        let to = self.uploads.as_ref().map(|(to, _)| to);
        to.map(|to| to.url(&format!("{}.{ending}", stem.as_str()))).unwrap_or_default()
    }

    /// Writes the record and tells who tells the world.
    fn conclude(&mut self, mut finish: Finish, wav: Option<(Stem, PathBuf)>, faults: Vec<String>) {
        let (stem, wav) = wav.unzip();
        let mut faults = faults;
        finish.record.wav = shown(wav.as_deref());
        finish.record.wav_url = stem.as_ref().map(|stem| self.url(stem, self.format.ending())).unwrap_or_default();
        finish.record.faults.extend(faults.iter().cloned());
        let written = serde_json::to_vec_pretty(&finish.record).map_err(io::Error::other).and_then(|mut json| {
            json.push(b'\n');
            name::write_json(&self.folder, &finish.name, stem.as_ref(), &json)
        });
        let mut whole = stem;
        let mut json_url = String::new();
        let json = match written {
            Ok((stem, path)) => {
                self.metrics.records.inc();
                json_url = self.url(&stem, "json");
                if whole.is_none() {
                    self.mark(&stem, &finish.record.call_id);
                }
                whole.get_or_insert(stem);
                Some(path)
            }
            Err(e) => {
                let fault = format!("record: cannot be written in {}: {e}", self.folder.display());
                self.count_fault(&finish.record.call_id, &fault);
                finish.record.faults.push(fault.clone());
                faults.push(fault);
                None
            }
        };
        let Finish { record, at, .. } = finish;
        let upload = whole.as_ref().and_then(|stem| self.waiting(stem, &record.call_id, &record.correlation, at));
        // Refused only when the thread is gone, and with it who would hear of it.
        let _ = self.ends.send(ToEnds::Written(Box::new(Written { record, at, wav, json, faults, json_url, upload })));
    }

    fn close_all(&mut self) {
        let now = Instant::now();
        let calls: Vec<_> = self.open.keys().cloned().collect();
        for call_id in calls {
            self.drain_one(&call_id, now);
            if let Some(open) = self.open.remove(&call_id) {
                self.close(open);
            }
        }
    }

    fn count_fault(&self, call_id: &str, fault: &str) {
        self.metrics.disk_errors.inc();
        warn!(call_id, "{fault}");
    }
}

impl Open {
    /// Empties the ring; a fault is given when it is new.
    fn drain(&mut self, now: Instant, metrics: &Metrics) -> Option<String> {
        let Ok(OpenFile { path, recording, .. }) = &mut self.file else {
            while self.frames.pop().is_ok() {
                metrics.frames_lost.inc();
            }
            return None;
        };
        let (told, missing) = (recording.fault().is_some(), recording.missing().0);
        // As many as there are now: a producer that is quicker than the disk does not keep us here.
        for _ in 0..self.frames.slots() {
            let Ok(frame) = self.frames.pop() else { break };
            if recording.push(&frame) {
                metrics.frames_written.inc();
            } else {
                metrics.frames_lost.inc();
            }
        }
        metrics.frames_missing.inc_by(recording.missing().0 - missing);
        recording.tick(now);
        match recording.fault() {
            Some(fault) if !told => Some(cut_short(path, fault)),
            _ => None,
        }
    }
}

/// What writes a recording.
fn sound(file: File, format: Format, law: Law) -> io::Result<Box<dyn Sound>> {
    Ok(match format {
        Format::Pcm16 => Box::new(Wav::new(file, Coding::Pcm16)?),
        Format::G711 => Box::new(Wav::new(file, Coding::G711(law))?),
        Format::Opus { bitrate } => Box::new(OggOpus::new(file, bitrate)?),
    })
}

fn cut_short(path: &Path, fault: &str) -> String {
    format!("recording: {} is {fault}", path.display())
}
