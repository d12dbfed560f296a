//! Phrases that were synthesised, kept on disk: what has been said once is said again without the synthesiser.
//!
//! A phrase is known by a hash over all that makes its sound ([`Key`]), and lies in a WAV file of that name, at the rate of the line. It is kept
//! when it came whole; one that failed or was cancelled is not, nor what is said but once ([`Text::once`]).
//!
//! | who | does what |
//! |---|---|
//! | one task | knows which phrases there are ([`index`]); it never touches the disk |
//! | threads for blocking work | read, write and remove. A file is written beside its place, synced and renamed: none is ever seen in part |
//! | [`Prompts`] | reads, and keeps in memory what was read last, for all calls together |
//!
//! A disk that fails or is slow costs a synthesis, and no more.

mod index;

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::ServiceConfig;
use super::metrics::Phrases as Counted;
use super::prompts::Prompts;
use crate::call::prompt::Text;
use crate::codec::coding::Band;
use crate::codec::resample::SampleRate;
use index::{Asked, Index};

/// The longest phrase that is kept. A call holds it in memory while it is made.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
/// How long the disk may take before the synthesiser is asked instead.
const PATIENCE: Duration = Duration::from_millis(250);
/// Phrases that are written at a time; what comes beyond that is not kept.
const WRITES: usize = 8;
/// A file that was being written for so long is a dead process's.
const ABANDONED: Duration = Duration::from_secs(3_600);

/// Where phrases are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhraseCache {
    /// Made if it is missing.
    pub folder: PathBuf,
    /// The most that all of them take, in bytes.
    pub most: u64,
}

/// A phrase: SHA-256 over all that makes its sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// Of a text that is to be kept, as it is said on a line.
    pub(super) fn of(service: &ServiceConfig, text: &Text, line: Band) -> Option<Key> {
        if text.once {
            return None;
        }
        let own = |own: &str, configured: &str| if own.is_empty() { configured.to_owned() } else { own.to_owned() };
        // What is unset is said as what the contract says of it; -0 is 0.
        let number = |set: Option<f32>, unset: f32| (set.unwrap_or(unset) + 0.0).to_bits().to_le_bytes();
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(b"trunkline phrase 1");
        part(&SampleRate::of(line).hz().to_le_bytes());
        part(service.name.as_bytes());
        part(own(&text.language, &service.language).as_bytes());
        part(own(&text.voice, &service.voice).as_bytes());
        part(&number(text.speed, 1.0));
        part(&number(text.pitch, 0.0));
        part(&number(text.volume, 0.0));
        part(&[u8::from(text.ssml)]);
        part(text.text.as_bytes());
        Some(Key(hash.finalize().into()))
    }

    /// Where it lies, below the folder; folders of many thousand files are slow to list.
    fn path(self) -> String {
        let name: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}/{name}.wav", &name[..2])
    }

    fn of_file(path: &Path) -> Option<Key> {
        let name = path.file_name()?.to_str()?.strip_suffix(".wav")?;
        let digits = name.as_bytes().as_chunks::<2>().0;
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        let key = Key(key);
        (path.ends_with(key.path())).then_some(key)
    }
}

/// The phrases that are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Phrases {
    asks: mpsc::UnboundedSender<Ask>,
    files: Prompts,
    counted: Counted,
}

/// What the keeper is asked and told.
#[derive(Debug)]
enum Ask {
    Has { key: Key, reply: oneshot::Sender<bool> },
    Keep { key: Key, band: Band, samples: Vec<i16> },
    Written { key: Key, bytes: u64, result: io::Result<()> },
    Spoilt { key: Key },
}

impl Phrases {
    /// Looks what there is. Must be called within a tokio runtime.
    pub(super) async fn open(cache: PhraseCache, counted: Counted) -> io::Result<Phrases> {
        let folder = cache.folder.clone();
        let found = tokio::task::spawn_blocking(move || found(&folder)).await.map_err(io::Error::other)??;
        let (asks, inbox) = mpsc::unbounded_channel();
        let mut keeper = Keeper {
            folder: cache.folder.clone(),
            own: asks.downgrade(),
            index: Index::new(cache.most),
            writing: 0,
            writes: 0,
            failing: false,
            counted: counted.clone(),
        };
        let gone = keeper.index.found(Instant::now(), found);
        keeper.evict(gone);
        keeper.show();
        tokio::spawn(keeper.run(inbox));
        Ok(Phrases { asks, files: Prompts::new(Some(cache.folder)), counted })
    }

    /// The sound of a phrase, if it is there.
    pub(super) async fn sound(&self, key: Key, band: Band) -> Option<Arc<[i16]>> {
        let (reply, answer) = oneshot::channel();
        let there = self.asks.send(Ask::Has { key, reply }).is_ok() && answer.await.unwrap_or(false);
        if there {
            match timeout(PATIENCE, self.files.read(key.path(), band)).await {
                Ok(Ok(samples)) if !samples.is_empty() => {
                    self.counted.hits.inc();
                    return Some(samples);
                }
                Ok(read) => {
                    let reason = read.err().unwrap_or_else(|| "it is empty".to_owned());
                    tracing::warn!(target: "speech", "phrase cache: {} is left and removed: {reason}", key.path());
                    self.counted.failures.inc();
                    let _ = self.asks.send(Ask::Spoilt { key });
                }
                Err(_) => {
                    tracing::warn!(target: "speech", "phrase cache: {} was not read within {PATIENCE:?}", key.path());
                    self.counted.failures.inc();
                }
            }
        }
        self.counted.misses.inc();
        None
    }

    /// Keeps a phrase that has come whole.
    pub(super) fn keep(&self, key: Key, band: Band, samples: Vec<i16>) {
        if !samples.is_empty() {
            let _ = self.asks.send(Ask::Keep { key, band, samples });
        }
    }
}

/// Knows what there is, and has it written and removed.
struct Keeper {
    folder: PathBuf,
    own: mpsc::WeakUnboundedSender<Ask>,
    index: Index,
    /// How many are being written, and how many ever were.
    writing: usize,
    writes: u64,
    /// The last one could not be written.
    failing: bool,
    counted: Counted,
}

impl Keeper {
    async fn run(mut self, mut asks: mpsc::UnboundedReceiver<Ask>) {
        while let Some(ask) = asks.recv().await {
            match ask {
                Ask::Has { key, reply } => {
                    let asked = self.index.ask(Instant::now(), key);
                    let _ = reply.send(asked != Asked::No);
                    if asked == Asked::Touch {
                        self.touch(key);
                    }
                }
                Ask::Keep { key, band, samples } => self.keep(key, band, samples),
                Ask::Written { key, bytes, result } => self.written(key, bytes, result),
                Ask::Spoilt { key } => {
                    self.index.remove(key);
                    self.remove(vec![key]);
                }
            }
            self.show();
        }
    }

    fn show(&self) {
        self.counted.phrases.set(self.index.len() as i64);
        self.counted.bytes.set(self.index.bytes() as i64);
    }

    fn keep(&mut self, key: Key, band: Band, samples: Vec<i16>) {
        let Some(own) = self.own.upgrade() else { return };
        let bytes = WAV_HEAD + 2 * samples.len() as u64;
        let room = if self.writing < WRITES { self.index.reserve(bytes) } else { None };
        let Some(gone) = room else {
            self.counted.skipped.inc();
            return;
        };
        self.writing += 1;
        self.writes += 1;
        self.evict(gone);
        let (folder, number) = (self.folder.clone(), self.writes);
        tokio::task::spawn_blocking(move || {
            let result = write(&folder.join(key.path()), number, band, &samples);
            let _ = own.send(Ask::Written { key, bytes, result });
        });
    }

    fn written(&mut self, key: Key, bytes: u64, result: io::Result<()>) {
        self.writing -= 1;
        self.index.written(Instant::now(), key, bytes, result.is_ok());
        // A disk that is full says so once, and not for each phrase.
        let failed = std::mem::replace(&mut self.failing, result.is_err());
        match result {
            Ok(()) if failed => {
                tracing::info!(target: "speech", "phrase cache: {} can be written again", self.folder.display());
            }
            Ok(()) => {}
            Err(error) => {
                self.counted.failures.inc();
                if !failed {
                    let folder = self.folder.display();
                    tracing::warn!(target: "speech", "phrase cache: {folder} cannot be written: {error}; nothing new is kept");
                }
            }
        }
    }

    /// Makes room.
    fn evict(&self, gone: Vec<Key>) {
        self.counted.evicted.inc_by(gone.len() as u64);
        if !gone.is_empty() {
            self.remove(gone);
        }
    }

    /// Removes files of phrases that are known no more.
    fn remove(&self, gone: Vec<Key>) {
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || {
            for key in gone {
                // What is gone already is as well.
                let _ = fs::remove_file(folder.join(key.path()));
            }
        });
    }

    /// So that the order of their use outlives us.
    fn touch(&self, key: Key) {
        let file = self.folder.join(key.path());
        tokio::task::spawn_blocking(move || {
            let touched = fs::File::options().append(true).open(file).and_then(|f| f.set_modified(SystemTime::now()));
            if let Err(error) = touched {
                tracing::debug!(target: "speech", "phrase cache: {}: {error}", key.path());
            }
        });
    }
}

/// Of a WAV file, in bytes.
const WAV_HEAD: u64 = 44;

/// Writes a file beside its place, and moves it there when it is on the disk.
fn write(file: &Path, number: u64, band: Band, samples: &[i16]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = file.with_extension(format!("{}-{number}.tmp", std::process::id()));
    let written = fill(&beside, band, samples).and_then(|()| fs::rename(&beside, file));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn fill(file: &Path, band: Band, samples: &[i16]) -> io::Result<()> {
    let sample_rate = SampleRate::of(band).hz();
    let spec =
        hound::WavSpec { channels: 1, sample_rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut out = BufWriter::new(fs::File::create(file)?);
    let mut wav = hound::WavWriter::new(&mut out, spec).map_err(io::Error::other)?;
    let mut all = wav.get_i16_writer(samples.len() as u32);
    samples.iter().for_each(|sample| all.write_sample(*sample));
    all.flush().and_then(|()| wav.finalize()).map_err(io::Error::other)?;
    out.flush()?;
    out.get_ref().sync_all()
}

/// The phrases that lie in a folder, the one that was asked for the longest ago first. What a process left half-written is removed.
fn found(folder: &Path) -> io::Result<Vec<(Key, u64)>> {
    fs::create_dir_all(folder)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        // Whatever else lies there is none of ours.
        let Ok(files) = fs::read_dir(entry.path()) else { continue };
        for file in files.flatten() {
            let (path, Ok(about)) = (file.path(), file.metadata()) else { continue };
            let used = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if let Some(key) = Key::of_file(&path) {
                found.push((used, key, about.len()));
            } else if path.extension().is_some_and(|end| end == "tmp")
                && used.elapsed().is_ok_and(|age| age > ABANDONED)
            {
                let _ = fs::remove_file(path);
            }
        }
    }
    found.sort_by_key(|(used, ..)| *used);
    Ok(found.into_iter().map(|(_, key, bytes)| (key, bytes)).collect())
}
