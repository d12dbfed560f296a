//! Synthesis by `espeak-ng`, as a subprocess.
//!
//! Espeak is under the GPL, so it is never linked: the text goes to its standard input and a WAV stream comes from its
//! standard output while it is made. It is intelligible rather than pretty, speaks over a hundred languages, and is a hundred
//! times faster than speech, so that the answer's first sample is there after a few milliseconds.
//!
//! The silence that espeak puts before and after a text is taken off, because on a telephone it would be added to the
//! time that the caller waits for an answer.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{Semaphore, mpsc};

use super::voices::{Voice, Voices};
use crate::codec::resample::{ResampleError, Resampler, SampleRate};

/// Longest text of one request, in bytes.
pub const LONGEST_TEXT: usize = 16 * 1024;

/// Words a minute at speed 1.0: espeak's own default.
const WORDS_PER_MINUTE: f32 = 175.0;
/// Espeak that says nothing for this long hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Samples up to this are silence (−55 dBFS).
const SILENCE: u16 = 58;
/// Silence kept before the first sound, in ms.
const KEPT_BEFORE_MS: usize = 10;
/// Silence kept after the last sound, in ms: the end of a soft consonant.
const KEPT_AFTER_MS: usize = 60;

/// Why there is no speech.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EspeakError {
    /// The program is not there.
    #[error("`{0}` is not installed: `apt-get install espeak-ng`")]
    NotInstalled(String),
    /// The program could not be started or read from.
    #[error("espeak-ng: {0}")]
    Io(#[from] io::Error),
    /// The program failed.
    #[error("espeak-ng failed: {0}")]
    Failed(String),
    /// The program hangs.
    #[error("espeak-ng has said nothing for {} s", PATIENCE.as_secs())]
    Hangs,
    /// What came is not a WAV stream of 16-bit mono.
    #[error("espeak-ng gave something else than 16-bit mono WAV")]
    NotWav,
    /// There is no way from or to this rate, in Hz.
    #[error("{0} Hz is not a sample rate that can be converted")]
    Rate(u32),
    /// The conversion between two rates failed.
    #[error(transparent)]
    Resample(#[from] ResampleError),
}

/// How a text is spoken.
#[derive(Debug, Clone, PartialEq)]
pub struct Manner {
    /// Who speaks.
    pub voice: Voice,
    /// Factor, 0.5 to 2.0.
    pub speed: f32,
    /// Semitones, −12 to 12.
    pub pitch: f32,
    /// dB, −40 to 10; what goes over full scale is clipped.
    pub volume: f32,
    /// The text is SSML.
    pub ssml: bool,
    /// Rate of the audio wanted, in Hz: one that [`SampleRate`] knows.
    pub rate: u32,
}

/// The synthesiser. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Espeak {
    program: PathBuf,
    voices: Arc<Voices>,
    places: Arc<Semaphore>,
}

impl Espeak {
    /// Finds `program` (usually `espeak-ng`) and its voices. At most `at_once` (1 or more) of it run at the same time.
    ///
    /// # Errors
    /// [`EspeakError::NotInstalled`] says what to install.
    pub async fn discover(program: impl Into<PathBuf>, at_once: usize) -> Result<Self, EspeakError> {
        let program = program.into();
        let voices = listing(&program, "--voices").await?;
        let variants = listing(&program, "--voices=variant").await?;
        Ok(Self {
            program,
            voices: Arc::new(Voices::parse(&voices, &variants)),
            places: Arc::new(Semaphore::new(at_once.max(1))),
        })
    }

    /// What it can speak with.
    pub fn voices(&self) -> &Voices {
        &self.voices
    }

    /// Begins to speak `text`, of up to [`LONGEST_TEXT`] bytes. Dropping the [`Speech`] ends espeak.
    ///
    /// The audio is made as fast as espeak can and waits in memory, so that a listener who takes it in real time keeps
    /// no place from others.
    pub fn speak(&self, text: String, manner: Manner) -> Speech {
        let (pieces, receiver) = mpsc::unbounded_channel();
        let espeak = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                // The listener has gone: `run` is dropped, and with it the child, which is killed.
                () = pieces.closed() => {}
                result = espeak.run(text, &manner, &pieces) => {
                    if let Err(error) = result {
                        let _ = pieces.send(Err(error));
                    }
                }
            }
        });
        Speech { pieces: receiver }
    }

    async fn run(&self, text: String, manner: &Manner, pieces: &Pieces) -> Result<(), EspeakError> {
        let Ok(_place) = self.places.acquire().await else {
            return Ok(());
        };
        let mut child = self.start(manner)?;
        let (Some(mut stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(EspeakError::NotWav);
        };
        // Beside the reading: espeak begins to answer before it has read a long text. If it dies, its exit code tells.
        tokio::spawn(async move {
            let _ = stdin.write_all(text.as_bytes()).await;
        });
        let Some(rate) = read_header(&mut stdout).await? else {
            return finish(&mut child).await;
        };
        let mut line = Line::new(rate, manner)?;
        let mut bytes = vec![0; 8 * 1024];
        let mut odd = 0;
        loop {
            let read = patiently(stdout.read(&mut bytes[odd..])).await?;
            if read == 0 {
                break;
            }
            let have = odd + read;
            let whole = have - have % 2;
            let samples: Vec<i16> =
                bytes[..whole].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
            odd = have - whole;
            bytes.copy_within(whole..have, 0);
            send(pieces, line.push(&samples)?);
        }
        send(pieces, line.finish()?);
        finish(&mut child).await
    }

    fn start(&self, manner: &Manner) -> Result<Child, EspeakError> {
        let mut command = Command::new(&self.program);
        command.args(["--stdin", "--stdout", "-b", "1", "-v", manner.voice.as_str()]);
        command.arg("-s").arg(words_per_minute(manner.speed).to_string());
        command.arg("-p").arg(pitch(manner.pitch).to_string());
        if manner.ssml {
            command.arg("-m");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().map_err(|error| not_installed(&self.program, error))
    }
}

/// Speech as it is made.
#[derive(Debug)]
pub struct Speech {
    pieces: mpsc::UnboundedReceiver<Result<Vec<i16>, EspeakError>>,
}

impl Speech {
    /// The next piece, never empty; None at the end, and after an error.
    pub async fn next(&mut self) -> Option<Result<Vec<i16>, EspeakError>> {
        self.pieces.recv().await
    }
}

type Pieces = mpsc::UnboundedSender<Result<Vec<i16>, EspeakError>>;

fn send(pieces: &Pieces, samples: Vec<i16>) {
    if !samples.is_empty() {
        // Nobody listens any more: `speak` notices it and ends this.
        let _ = pieces.send(Ok(samples));
    }
}

async fn listing(program: &Path, argument: &str) -> Result<String, EspeakError> {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).kill_on_drop(true);
    let output = patiently(command.output()).await.map_err(|error| match error {
        EspeakError::Io(error) => not_installed(program, error),
        other => other,
    })?;
    if !output.status.success() {
        return Err(EspeakError::Failed(output.status.to_string()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn not_installed(program: &Path, error: io::Error) -> EspeakError {
    match error.kind() {
        io::ErrorKind::NotFound => EspeakError::NotInstalled(program.display().to_string()),
        _ => EspeakError::Io(error),
    }
}

async fn patiently<T>(work: impl Future<Output = io::Result<T>>) -> Result<T, EspeakError> {
    Ok(tokio::time::timeout(PATIENCE, work).await.map_err(|_| EspeakError::Hangs)??)
}

async fn finish(child: &mut Child) -> Result<(), EspeakError> {
    let status = patiently(child.wait()).await?;
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        patiently(stderr.take(1_024).read_to_string(&mut said)).await?;
    }
    Err(EspeakError::Failed(format!("{status} {}", said.trim())))
}

/// Reads up to the first sample: `RIFF`, size, `WAVE`, then chunks until `data`. The sizes of the first and the last are
/// not known to espeak when it writes them. None: nothing came at all.
async fn read_header(stdout: &mut ChildStdout) -> Result<Option<u32>, EspeakError> {
    let mut riff = [0; 12];
    match patiently(stdout.read_exact(&mut riff)).await {
        Err(EspeakError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(None);
        }
        other => other?,
    };
    if !riff.starts_with(b"RIFF") || !riff.ends_with(b"WAVE") {
        return Err(EspeakError::NotWav);
    }
    let mut rate = None;
    loop {
        let mut chunk = [0; 8];
        patiently(stdout.read_exact(&mut chunk)).await?;
        let [a, b, c, d, size @ ..] = chunk;
        let size = u32::from_le_bytes(size) as usize;
        match &[a, b, c, d] {
            b"data" => return rate.ok_or(EspeakError::NotWav).map(Some),
            _ if size > 1_024 => return Err(EspeakError::NotWav),
            name => {
                let mut body = vec![0; size];
                patiently(stdout.read_exact(&mut body)).await?;
                if name == b"fmt " {
                    rate = Some(read_format(&body).ok_or(EspeakError::NotWav)?);
                }
            }
        }
    }
}

/// The rate of a `fmt ` chunk that says PCM, mono, 16 bits.
fn read_format(body: &[u8]) -> Option<u32> {
    let (fixed, _) = body.split_first_chunk::<16>()?;
    let word = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
    let rate = u32::from_le_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
    (word(0) == 1 && word(2) == 1 && word(14) == 16).then_some(rate)
}

fn words_per_minute(speed: f32) -> u32 {
    (WORDS_PER_MINUTE * speed.clamp(0.5, 2.0)).round() as u32
}

/// Espeak's 0 to 99 is one octave down to one octave up, in even steps of a fraction of a tone.
fn pitch(semitones: f32) -> u32 {
    (50.0 + semitones.clamp(-12.0, 12.0) * 50.0 / 12.0).round().clamp(0.0, 99.0) as u32
}

/// What happens to the samples on their way: silence off, rate changed, volume set.
struct Line {
    trim: Trim,
    resampler: Resampler,
    gain: f32,
}

impl Line {
    fn new(rate: u32, manner: &Manner) -> Result<Self, EspeakError> {
        let known = |hz| SampleRate::from_hz(hz).ok_or(EspeakError::Rate(hz));
        Ok(Self {
            trim: Trim::new(rate),
            resampler: Resampler::new(known(rate)?, known(manner.rate)?)?,
            gain: 10_f32.powf(manner.volume.clamp(-40.0, 10.0) / 20.0),
        })
    }

    fn push(&mut self, samples: &[i16]) -> Result<Vec<i16>, EspeakError> {
        let mut trimmed = Vec::with_capacity(samples.len());
        self.trim.push(samples, &mut trimmed);
        let mut out = Vec::new();
        self.resampler.push(&trimmed, &mut out)?;
        Ok(self.amplify(out))
    }

    fn finish(&mut self) -> Result<Vec<i16>, EspeakError> {
        let mut trimmed = Vec::new();
        self.trim.finish(&mut trimmed);
        let mut out = Vec::new();
        self.resampler.push(&trimmed, &mut out)?;
        self.resampler.flush(&mut out)?;
        Ok(self.amplify(out))
    }

    fn amplify(&self, mut samples: Vec<i16>) -> Vec<i16> {
        if self.gain != 1.0 {
            for sample in &mut samples {
                // `as` saturates.
                *sample = (f32::from(*sample) * self.gain).round() as i16;
            }
        }
        samples
    }
}

/// Takes the silence off both ends; silence within is held back until the sound goes on.
struct Trim {
    before: usize,
    after: usize,
    begun: bool,
    held: VecDeque<i16>,
}

impl Trim {
    fn new(rate: u32) -> Self {
        let samples = |ms: usize| rate as usize * ms / 1_000;
        Self { before: samples(KEPT_BEFORE_MS), after: samples(KEPT_AFTER_MS), begun: false, held: VecDeque::new() }
    }

    fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        for &sample in samples {
            if sample.unsigned_abs() > SILENCE {
                self.begun = true;
                out.extend(self.held.drain(..));
                out.push(sample);
                continue;
            }
            if !self.begun && self.held.len() >= self.before {
                self.held.pop_front();
            }
            self.held.push_back(sample);
        }
    }

    fn finish(&mut self, out: &mut Vec<i16>) {
        if self.begun {
            out.extend(self.held.iter().take(self.after));
        }
        self.held.clear();
        self.begun = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_goes_from_the_ends_and_stays_within() {
        let mut trim = Trim::new(1_000);
        let (mut out, silence) = (Vec::new(), |n: usize| vec![0; n]);
        for part in [silence(500), vec![900; 50], silence(200), vec![900; 30], silence(700)] {
            trim.push(&part, &mut out);
        }
        trim.finish(&mut out);
        assert_eq!(out.len(), 10 + 50 + 200 + 30 + 60);
        out.clear();
        trim.push(&silence(900), &mut out);
        trim.finish(&mut out);
        assert!(out.is_empty(), "nothing but silence is nothing");
    }

    #[test]
    fn speed_and_pitch_reach_espeaks_scales() {
        assert_eq!([0.5, 1.0, 2.0, 9.0].map(words_per_minute), [88, 175, 350, 350]);
        assert_eq!([-12.0, 0.0, 6.0, 12.0].map(pitch), [0, 50, 75, 99]);
    }

    #[tokio::test]
    async fn an_absent_program_says_what_to_install() {
        let error = Espeak::discover("no-such-espeak", 1).await.unwrap_err().to_string();
        assert!(error.contains("apt-get install espeak-ng"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_speaks_no_wav_is_an_error_and_one_that_fails_too() {
        for (program, wanted) in [("echo", "16-bit mono WAV"), ("false", "failed")] {
            let espeak =
                Espeak { program: program.into(), voices: Arc::default(), places: Arc::new(Semaphore::new(1)) };
            let voice = Voices::parse("\n 5 en-us --/M x gmw/x\n", "").find("", "").unwrap();
            let manner = Manner { voice, speed: 1.0, pitch: 0.0, volume: 0.0, ssml: false, rate: 8_000 };
            let mut speech = espeak.speak("hello".into(), manner);
            let error = speech.next().await.unwrap().unwrap_err().to_string();
            assert!(error.contains(wanted), "{program}: {error}");
            assert!(speech.next().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_listener_who_leaves_ends_the_program() {
        let espeak = Espeak::discover("espeak-ng", 1).await.unwrap();
        let manner = Manner {
            voice: espeak.voices().find("", "").unwrap(),
            speed: 0.5,
            pitch: 0.0,
            volume: 0.0,
            ssml: false,
            rate: 8_000,
        };
        let mut speech = espeak.speak("a long text ".repeat(1_300), manner);
        speech.next().await.unwrap().unwrap();
        let child = children().next().expect("it still speaks");
        // Stopped, it cannot come to its end by itself.
        let stop = std::process::Command::new("kill").args(["-STOP", &child]).status();
        assert!(stop.unwrap().success());
        drop(speech);
        for _ in 0..500 {
            if !children().any(|left| left == child) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{child} is still there");
    }

    /// Process ids of the synthesisers that this process has started and that have not ended.
    fn children() -> impl Iterator<Item = String> {
        let ours = std::process::id().to_string();
        std::fs::read_dir("/proc").unwrap().filter_map(move |entry| {
            let stat = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
            let fields: Vec<&str> = stat.split_whitespace().collect();
            let [pid, "(espeak-ng)", state, parent, ..] = fields[..] else {
                return None;
            };
            (parent == ours && state != "Z").then(|| pid.to_owned())
        })
    }
}
