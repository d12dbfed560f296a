//! Recordings that prompts play: WAV and MP3 files below one folder, read once for lines of each rate, kept as samples that all calls share.
//!
//! One task owns the cache. Reading happens on a thread for blocking work, so that a slow disk delays only the prompt that wants the file.

mod recording;

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::call::io::FromSpeech;
use crate::call::prompt::PromptNo;
use crate::codec::coding::Band;
pub use recording::{check, read};

/// Samples that are kept, all recordings together, of whatever rate: 32 MiB. Beyond it the one that was not asked for the longest goes.
const CACHE: usize = 16 << 20;

type Answer = Result<Arc<[i16]>, String>;
/// A path, and the rate of the line that plays it.
type What = (String, Band);

/// The prompts folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prompts {
    asks: mpsc::UnboundedSender<Ask>,
}

impl Prompts {
    /// Nothing is read yet; without a folder there are no recordings. Must be called within a tokio runtime.
    pub fn new(folder: Option<PathBuf>) -> Prompts {
        let (asks, inbox) = mpsc::unbounded_channel();
        // The cache tells itself what was read; it ends with the last who asks.
        let own = asks.downgrade();
        tokio::spawn(Cache { folder, own, kept: HashMap::new(), samples: 0, turn: 0 }.run(inbox));
        Prompts { asks }
    }

    /// Reads a recording for a line and tells the inbox: [`FromSpeech::Recording`] or [`FromSpeech::SoundFailed`], once.
    pub fn load<T>(&self, path: String, band: Band, prompt: PromptNo, segment: u32, inbox: mpsc::Sender<T>)
    where
        T: From<FromSpeech> + Send + 'static,
    {
        let prompts = self.clone();
        tokio::spawn(async move {
            let told = match prompts.read(path, band).await {
                Ok(samples) => FromSpeech::Recording { prompt, segment, band, samples },
                Err(reason) => FromSpeech::SoundFailed { prompt, segment, reason },
            };
            // A call that is over plays nothing.
            let _ = inbox.send(told.into()).await;
        });
    }

    /// Reads a recording for a line.
    pub(super) async fn read(&self, path: String, band: Band) -> Answer {
        let (reply, answer) = oneshot::channel();
        let asked = self.asks.send(Ask::Load { what: (path, band), reply }).is_ok();
        let read = if asked { answer.await.ok() } else { None };
        read.unwrap_or_else(|| Err("the prompts folder is closed".to_owned()))
    }
}

/// What the cache is asked and told.
#[derive(Debug)]
enum Ask {
    Load { what: What, reply: oneshot::Sender<Answer> },
    Read { what: What, samples: Arc<[i16]> },
}

struct Cache {
    folder: Option<PathBuf>,
    own: mpsc::WeakUnboundedSender<Ask>,
    /// The samples, and when they were last asked for.
    kept: HashMap<What, (Arc<[i16]>, u64)>,
    samples: usize,
    turn: u64,
}

impl Cache {
    async fn run(mut self, mut asks: mpsc::UnboundedReceiver<Ask>) {
        while let Some(ask) = asks.recv().await {
            self.turn += 1;
            match ask {
                Ask::Load { what, reply } => match self.kept.get_mut(&what) {
                    Some((samples, turn)) => {
                        *turn = self.turn;
                        let _ = reply.send(Ok(samples.clone()));
                    }
                    None => self.fetch(what, reply),
                },
                Ask::Read { what, samples } => self.keep(what, samples),
            }
        }
    }

    /// Has a file read elsewhere: the others do not wait for it. Two who want it at once may read it twice.
    fn fetch(&self, what: What, reply: oneshot::Sender<Answer>) {
        let (path, band) = &what;
        let file = match &self.folder {
            Some(folder) => below(folder, path),
            None => Err(format!("prompt {path:?}: there is no prompts folder; set [prompts] folder")),
        };
        let (own, band) = (self.own.clone(), *band);
        tokio::task::spawn_blocking(move || {
            let read = file.and_then(|file| {
                recording::read(&file, band).map_err(|reason| format!("prompt {}: {reason}", file.display()))
            });
            let read = read.map(Arc::<[i16]>::from);
            if let (Ok(samples), Some(own)) = (&read, own.upgrade()) {
                let _ = own.send(Ask::Read { what, samples: samples.clone() });
            }
            let _ = reply.send(read);
        });
    }

    fn keep(&mut self, what: What, samples: Arc<[i16]>) {
        self.samples += samples.len();
        if let Some((before, _)) = self.kept.insert(what, (samples, self.turn)) {
            self.samples -= before.len();
        }
        while self.samples > CACHE && self.kept.len() > 1 {
            let oldest = self.kept.iter().min_by_key(|(_, (_, turn))| *turn).map(|(what, _)| what.clone());
            let Some((gone, _)) = oldest.and_then(|what| self.kept.remove(&what)) else { break };
            self.samples -= gone.len();
        }
    }
}

/// The file, if its path stays below the folder.
fn below(folder: &Path, path: &str) -> Result<PathBuf, String> {
    let inside = !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if inside { Ok(folder.join(path)) } else { Err(format!("prompt {path:?} is not a path below the prompts folder")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_does_not_leave_the_folder() {
        let folder = Path::new("prompts");
        assert!(below(folder, "zh/你好.wav").is_ok());
        for bad in ["", "../x.wav", "/etc/passwd", "a/../../b.wav", "./a.wav"] {
            assert!(below(folder, bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_recording_is_read_once_resampled_and_a_missing_one_named() {
        let folder = std::env::temp_dir().join(format!("trunkline-prompts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut wav = hound::WavWriter::create(folder.join("a.wav"), spec).expect("a file");
        (0..16_000).for_each(|_| wav.write_sample(0i16).expect("room"));
        wav.finalize().expect("room");
        let prompts = Prompts::new(Some(folder.clone()));
        let (inbox, mut told) = mpsc::channel::<FromSpeech>(4);
        prompts.load("a.wav".to_owned(), Band::Narrow, PromptNo(1), 0, inbox.clone());
        let Some(FromSpeech::Recording { samples, .. }) = told.recv().await else { panic!("no recording") };
        assert_eq!(samples.len(), 8_000);
        prompts.load("a.wav".to_owned(), Band::Wide, PromptNo(1), 0, inbox.clone());
        let Some(FromSpeech::Recording { samples, band: Band::Wide, .. }) = told.recv().await else {
            panic!("no recording of 16 kHz")
        };
        assert_eq!(samples.len(), 16_000);
        let mp3 = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prompts/tone.mp3");
        std::fs::copy(mp3, folder.join("a.mp3")).expect("room");
        prompts.load("a.mp3".to_owned(), Band::Narrow, PromptNo(1), 1, inbox.clone());
        let Some(FromSpeech::Recording { samples, segment: 1, .. }) = told.recv().await else { panic!("no MP3") };
        assert_eq!(samples.len(), 8_000);
        std::fs::remove_dir_all(&folder).expect("ours");
        prompts.load("a.wav".to_owned(), Band::Narrow, PromptNo(2), 0, inbox.clone());
        assert!(matches!(told.recv().await, Some(FromSpeech::Recording { .. })), "from the cache");
        prompts.load("b.wav".to_owned(), Band::Narrow, PromptNo(3), 0, inbox);
        let Some(FromSpeech::SoundFailed { reason, .. }) = told.recv().await else { panic!("there is no such file") };
        assert!(reason.contains("b.wav"), "{reason}");
    }
}
