//! Retention: what is older than it may be, or more than there may be, goes; the oldest first.
//!
//! A thread of its own looks through the folder: it may take as long as the disk likes, and no call and no event waits for it. A recording and
//! its record are one thing here and go together. What is being written is never touched: the disk thread is asked just before anything
//! goes, and neither is what waits for its upload. Only `.wav`, `.opus` and `.json` files are looked at, and no links are
//! followed.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use super::disk::ToDisk;
use super::metrics::{Metrics, Why};
use super::name;

/// So often at most the folder is looked through.
const EVERY: Duration = Duration::from_secs(60);
/// And never for more than this part of the time.
const SHARE: u32 = 50;
/// Folders within folders that a pattern of names may make.
const DEEPEST: usize = 8;

/// What may be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// For so long from the end of the call on; `None`: for ever.
    pub age: Option<Duration>,
    /// So many bytes in all; `None`: as many as come.
    pub bytes: Option<u64>,
}

/// A recording with its record, or a record alone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    /// Their path without ending.
    stem: PathBuf,
    bytes: u64,
    /// When either was last written.
    written: SystemTime,
    files: Vec<PathBuf>,
}

/// Starts the thread; it ends with `alive`'s sender.
pub(super) fn start(
    folder: PathBuf,
    keep: Keep,
    uploads: bool,
    disk: Sender<ToDisk>,
    alive: Receiver<()>,
    metrics: Metrics,
) -> io::Result<()> {
    let sweeper = Sweeper { folder, keep, uploads, disk, metrics };
    thread::Builder::new().name("journal-sweep".into()).spawn(move || {
        loop {
            let begun = Instant::now();
            if !sweeper.sweep(SystemTime::now()) {
                return;
            }
            let pause = EVERY.max(begun.elapsed() * SHARE);
            if !matches!(alive.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    })?;
    Ok(())
}

struct Sweeper {
    folder: PathBuf,
    keep: Keep,
    /// What has a marker waits for its upload; without uploads a marker is left over from when there were some.
    uploads: bool,
    disk: Sender<ToDisk>,
    metrics: Metrics,
}

impl Sweeper {
    /// Looks once; false when the journal is over.
    fn sweep(&self, now: SystemTime) -> bool {
        let kept = find(&self.folder);
        // After the look: what has been begun since is not in it.
        let Some(busy) = self.busy() else { return false };
        let waits = |kept: &Kept| self.uploads && name::marker(&kept.stem).exists();
        let spared = |kept: &Kept| busy.contains(&kept.stem) || waits(kept);
        let mut all: u64 = kept.iter().map(|kept| kept.bytes).sum();
        let mut sums = [(0u64, 0u64); 2];
        for (kept, why) in choose(kept, self.keep, now, spared) {
            if self.remove(&kept) {
                all -= kept.bytes;
                let (recordings, bytes) = &mut sums[why as usize];
                (*recordings, *bytes) = (*recordings + 1, *bytes + kept.bytes);
                self.metrics.removed(why);
            }
        }
        self.metrics.kept_bytes.set(all.try_into().unwrap_or(i64::MAX));
        for (why, (recordings, bytes)) in [Why::Age, Why::Size].into_iter().zip(sums) {
            if recordings > 0 {
                info!(folder = %self.folder.display(), recordings, bytes, "removed, by [recording] {}", why.key());
            }
        }
        true
    }

    /// What is being written; `None` when the journal is over.
    fn busy(&self) -> Option<HashSet<PathBuf>> {
        let (reply, answer) = mpsc::channel();
        self.disk.send(ToDisk::Busy(reply)).ok()?;
        answer.recv().ok()
    }

    fn remove(&self, kept: &Kept) -> bool {
        for file in &kept.files {
            if let Err(e) = fs::remove_file(file)
                && e.kind() != io::ErrorKind::NotFound
            {
                self.metrics.disk_errors.inc();
                warn!("{} cannot be removed: {e}; give its folder to the user that runs trunkline", file.display());
                return false;
            }
        }
        // Without uploads, one that is left over; else there is none.
        let _ = fs::remove_file(name::marker(&kept.stem));
        remove_empty(&kept.stem, &self.folder);
        true
    }
}

/// Removes the folders above a file that is gone: of a day that is over. One that is not empty stays.
pub(super) fn remove_empty(gone: &Path, folder: &Path) {
    for above in gone.ancestors().skip(1).take_while(|above| *above != folder).take(DEEPEST) {
        if fs::remove_dir(above).is_err() {
            break;
        }
    }
}

/// What has to go, the oldest first, and why.
fn choose(mut kept: Vec<Kept>, keep: Keep, now: SystemTime, spared: impl Fn(&Kept) -> bool) -> Vec<(Kept, Why)> {
    kept.sort_by(|a, b| (a.written, &a.stem).cmp(&(b.written, &b.stem)));
    let mut bytes: u64 = kept.iter().map(|kept| kept.bytes).sum();
    let judge = |kept: Kept| {
        // Written in the future, as a clock that was set back has it: not old.
        let old = keep.age.is_some_and(|age| now.duration_since(kept.written).is_ok_and(|since| since > age));
        let many = keep.bytes.is_some_and(|most| bytes > most);
        let why = match (old, many) {
            (true, _) => Why::Age,
            (false, true) => Why::Size,
            (false, false) => return None,
        };
        if spared(&kept) {
            return None;
        }
        bytes -= kept.bytes;
        Some((kept, why))
    };
    kept.into_iter().filter_map(judge).collect()
}

/// All recordings and records below a folder.
fn find(folder: &Path) -> Vec<Kept> {
    let mut found: HashMap<PathBuf, Kept> = HashMap::new();
    walk(folder, |entry| {
        let path = entry.path();
        let ours = path.extension().is_some_and(|ending| name::FILES.iter().any(|known| ending == *known));
        let Ok(data) = entry.metadata() else { return };
        if !ours {
            return;
        }
        let written = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let stem = path.with_extension("");
        let kept = found.entry(stem.clone()).or_insert(Kept { stem, bytes: 0, written, files: Vec::new() });
        kept.bytes += data.len();
        kept.written = kept.written.max(written);
        kept.files.push(path);
    });
    found.into_values().collect()
}

/// What waits for its upload below a folder, the oldest first: paths without ending.
pub(super) fn find_marked(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(folder, |entry| {
        if let Some(stem) = name::marked(&entry.path()) {
            let marked = entry.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            found.push((marked, stem));
        }
    });
    found.sort();
    found.into_iter().map(|(_, stem)| stem).collect()
}

/// Shows all files below a folder. One that cannot be listed, or has gone, has none.
pub(super) fn walk(folder: &Path, mut show: impl FnMut(&fs::DirEntry)) {
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < DEEPEST => folders.push((entry.path(), depth + 1)),
                Ok(kind) if kind.is_file() => show(&entry),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn kept(stem: &str, bytes: u64, day: u32) -> Kept {
        let written = SystemTime::UNIX_EPOCH + DAY * day;
        Kept { stem: stem.into(), bytes, written, files: Vec::new() }
    }

    fn gone(keep: Keep, spared: &str) -> Vec<(String, Why)> {
        let all = vec![kept("c", 30, 12), kept("a", 10, 10), kept("d", 40, 13), kept("b", 20, 11), kept("late", 5, 99)];
        let now = SystemTime::UNIX_EPOCH + DAY * 14;
        let chosen = choose(all, keep, now, |kept| kept.stem == Path::new(spared));
        chosen.into_iter().map(|(kept, why)| (kept.stem.display().to_string(), why)).collect()
    }

    #[test]
    fn the_oldest_go_first_and_no_more_than_has_to() {
        let by_age = Keep { age: Some(DAY * 2), bytes: None };
        let by_size = |bytes| Keep { age: None, bytes: Some(bytes) };
        let told = |list: &[(&str, Why)]| list.iter().map(|(stem, why)| ((*stem).to_owned(), *why)).collect::<Vec<_>>();
        assert_eq!(gone(Keep::default(), ""), []);
        // On the day itself it may still be there.
        assert_eq!(gone(by_age, ""), told(&[("a", Why::Age), ("b", Why::Age)]));
        assert_eq!(gone(by_size(105), ""), []);
        assert_eq!(gone(by_size(104), ""), told(&[("a", Why::Size)]));
        assert_eq!(gone(by_size(94), ""), told(&[("a", Why::Size), ("b", Why::Size)]));
        let both = Keep { age: Some(DAY * 3), bytes: Some(60) };
        assert_eq!(gone(both, ""), told(&[("a", Why::Age), ("b", Why::Size), ("c", Why::Size)]));
        assert_eq!(gone(by_size(94), "a"), told(&[("b", Why::Size)]), "what is spared stays, and the next one goes");
        assert_eq!(gone(by_age, "b"), told(&[("a", Why::Age)]));
        assert_eq!(gone(by_size(0), "late").len(), 4);
    }

    #[test]
    fn what_goes_goes_whole_and_nothing_else_is_touched() {
        let folder = std::env::temp_dir().join(format!("trunkline-sweep-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let now = SystemTime::now();
        let make = |name: &str, days: u32| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(&path, [0; 100]).expect("written");
            fs::File::options().write(true).open(&path).and_then(|f| f.set_modified(now - DAY * days)).expect("dated");
        };
        for (name, days) in [
            ("old/a.wav", 9),
            ("old/a.json", 9),
            ("old/o.opus", 9),
            ("old/o.json", 9),
            ("busy.wav", 9),
            ("notes.txt", 9),
            ("x/b.c.json", 1),
        ] {
            make(name, days);
        }
        // A record that was written late keeps its recording.
        for (name, days) in [("late.wav", 9), ("late.json", 1)] {
            make(name, days);
        }
        let (disk, asked) = mpsc::channel();
        let busy = folder.join("busy");
        let answers = thread::spawn(move || {
            while let Ok(ToDisk::Busy(reply)) = asked.recv() {
                let _ = reply.send(HashSet::from([busy.clone()]));
            }
        });
        let keep = Keep { age: Some(DAY * 3), bytes: None };
        let metrics = Metrics::default();
        let mut sweeper = Sweeper { folder: folder.clone(), keep, uploads: true, disk, metrics: metrics.clone() };
        for name in ["waits.wav", "waits.json", ".waits.upload"] {
            make(name, 9);
        }
        assert!(sweeper.sweep(now));
        let left = |name: &str| folder.join(name).exists();
        assert!(!left("old"), "the recording, its record, and the folder that is empty then");
        for name in ["busy.wav", "notes.txt", "x/b.c.json", "late.wav", "late.json"] {
            assert!(left(name), "{name}");
        }
        for name in ["waits.wav", "waits.json", ".waits.upload"] {
            assert!(left(name), "{name} waits for its upload");
        }
        assert_eq!(metrics.kept_bytes.get(), 600, "busy, b.c, late, waits");
        // Uploads have been switched off: it waits for nothing any more.
        sweeper.uploads = false;
        assert!(sweeper.sweep(now));
        assert!(["waits.wav", "waits.json", ".waits.upload"].into_iter().all(|name| !left(name)));
        drop(sweeper);
        answers.join().expect("no panic");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
