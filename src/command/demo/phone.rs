//! The caller's telephone: Debian's `baresip`, a real SIP phone that is not ours, driven over its JSON control port.
//!
//! What there is to know of it stands in `docs/baresip.md`. It speaks files: at the end of one it would hang up, so that each is followed
//! by more silence than a call lasts.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

const CONFIG: &str = include_str!("baresip.config");
const ACCOUNTS: &str = include_str!("baresip.accounts");
const MODULES: &str = "/usr/lib/baresip/modules";
const RATE: u32 = 8_000;
/// Silence after each file.
const TAIL_S: u32 = 180;
/// How long it may take to open its control port, and to answer a command.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two keys: baresip presses one for 180 ms.
const KEY: Duration = Duration::from_millis(300);

/// Ports of RTP: it has so many, and the demo gives Trunkline as many.
pub(super) const MEDIA: u16 = 20;

/// Where a phone stands.
#[derive(Debug, Clone)]
pub struct Place {
    /// A folder of its own; made if missing.
    pub folder: PathBuf,
    /// Its SIP port on 127.0.0.1; the one above it is taken too.
    pub sip: u16,
    /// Its control port on 127.0.0.1.
    pub control: u16,
    /// The first of its twenty RTP ports.
    pub rtp: u16,
    /// User part of its address.
    pub user: String,
}

/// Why a phone does not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhoneError {
    /// It cannot be started.
    #[error("baresip cannot be started ({0}); install it: apt-get install baresip-core")]
    Start(std::io::Error),
    /// It does not answer.
    #[error("baresip does not answer on its control port ({0}); see {1}")]
    Control(String, PathBuf),
    /// It refused a command.
    #[error("baresip refused {command:?}: {reason}")]
    Refused {
        /// What it was told.
        command: String,
        /// What it said.
        reason: String,
    },
    /// A file of its folder cannot be written or read.
    #[error("{0}: {1}")]
    File(PathBuf, String),
}

/// What the phone saw: `CALL_INCOMING`, `CALL_ESTABLISHED`, `CALL_CLOSED` …, and its parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name for it.
    pub kind: String,
    /// For example the reason of `CALL_CLOSED`.
    pub detail: String,
}

/// A telephone. Dropping it ends the process.
#[derive(Debug)]
pub struct Phone {
    place: Place,
    child: Child,
    commands: OwnedWriteHalf,
    answers: mpsc::UnboundedReceiver<Value>,
    takes: u32,
}

impl Phone {
    /// Starts a phone that waits for calls. What it sees comes through the receiver.
    ///
    /// # Errors
    /// When it is not installed, or its ports are taken.
    pub async fn start(place: Place) -> Result<(Phone, mpsc::UnboundedReceiver<Seen>), PhoneError> {
        let log = place.folder.join("baresip.log");
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |error: std::io::Error| PhoneError::File(path, error.to_string())
        };
        std::fs::create_dir_all(place.folder.join("audio")).map_err(wrong(&place.folder))?;
        let idle = place.folder.join("idle.wav");
        write_padded(&idle, &[])?;
        for (name, text) in [("config", CONFIG), ("accounts", ACCOUNTS), ("contacts", "")] {
            let path = place.folder.join(name);
            std::fs::write(&path, filled(text, &place, &idle)).map_err(wrong(&path))?;
        }
        let output = std::fs::File::create(&log).map_err(wrong(&log))?;
        let errors = output.try_clone().map_err(wrong(&log))?;
        let child = Command::new("baresip")
            .arg("-f")
            .arg(&place.folder)
            .arg("-s")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(PhoneError::Start)?;
        let stream = connect(place.control).await.map_err(|error| PhoneError::Control(error, log))?;
        let (reader, commands) = stream.into_split();
        let (saw, seen) = mpsc::unbounded_channel();
        let (answer, answers) = mpsc::unbounded_channel();
        tokio::spawn(read(reader, saw, answer));
        Ok((Phone { place, child, commands, answers, takes: 0 }, seen))
    }

    /// Answers the call that rings.
    ///
    /// # Errors
    /// As for every command: [`PhoneError::Refused`], [`PhoneError::Control`].
    pub async fn accept(&mut self) -> Result<(), PhoneError> {
        self.command("accept", "").await
    }

    /// Calls somebody.
    ///
    /// # Errors
    /// As for every command.
    pub async fn dial(&mut self, uri: &str) -> Result<(), PhoneError> {
        self.command("dial", uri).await
    }

    /// Ends the call; one that rings is refused with 486.
    ///
    /// # Errors
    /// As for every command.
    pub async fn hang_up(&mut self) -> Result<(), PhoneError> {
        self.command("hangup", "").await
    }

    /// Says something from now on, whatever was being said, and is silent then: a WAV of 8 kHz, mono, 16 bits.
    ///
    /// # Errors
    /// As for every command; a WAV of another kind.
    pub async fn say(&mut self, wav: &[u8]) -> Result<(), PhoneError> {
        self.takes += 1;
        let take = self.place.folder.join(format!("take{}.wav", self.takes));
        write_padded(&take, wav)?;
        self.command("ausrc", &format!("aufile,{}", take.display())).await
    }

    /// Presses keys, one after the other (RFC 4733).
    ///
    /// # Errors
    /// As for every command.
    pub async fn press(&mut self, keys: &str) -> Result<(), PhoneError> {
        for (n, key) in keys.chars().enumerate() {
            if n > 0 {
                tokio::time::sleep(KEY).await;
            }
            self.command("sndcode", &key.to_string()).await?;
        }
        Ok(())
    }

    /// What it heard and what it said, once the call is over: `…-dec.wav` and `…-enc.wav` in this folder.
    pub fn audio(&self) -> PathBuf {
        self.place.folder.join("audio")
    }

    /// Ends the phone in good order: its files are complete.
    pub async fn quit(mut self) {
        // One that has gone already needs no farewell.
        let _ = self.command("quit", "").await;
        let _ = tokio::time::timeout(PATIENCE, self.child.wait()).await;
    }

    /// Tells it something else, as `hold`, with its parameters.
    ///
    /// # Errors
    /// As for every command.
    pub async fn command(&mut self, command: &str, params: &str) -> Result<(), PhoneError> {
        let lost = |error: String| PhoneError::Control(error, self.place.folder.join("baresip.log"));
        let body = serde_json::json!({ "command": command, "params": params, "token": "t" }).to_string();
        let netstring = format!("{}:{body},", body.len());
        self.commands.write_all(netstring.as_bytes()).await.map_err(|error| lost(error.to_string()))?;
        let answer = tokio::time::timeout(PATIENCE, self.answers.recv()).await;
        let answer = answer.map_err(|_| lost("no answer".to_owned()))?.ok_or_else(|| lost("it has gone".to_owned()))?;
        let said = answer["data"].as_str().unwrap_or_default().trim().to_owned();
        // A source that does not open is told in the text alone.
        if answer["ok"] != true || said.contains("failed") {
            return Err(PhoneError::Refused { command: format!("{command} {params}"), reason: said });
        }
        Ok(())
    }
}

async fn connect(port: u16) -> Result<TcpStream, String> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) if tokio::time::Instant::now() > deadline => return Err(error.to_string()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Netstrings of JSON: `17:{"event":true,…},`.
async fn read(mut reader: OwnedReadHalf, saw: mpsc::UnboundedSender<Seen>, answer: mpsc::UnboundedSender<Value>) {
    let mut buffer = Vec::new();
    while let Ok(1..) = reader.read_buf(&mut buffer).await {
        while let Some((message, used)) = netstring(&buffer) {
            if let Ok(value) = serde_json::from_slice::<Value>(message) {
                // Whoever does not listen any more does not have to hear it.
                if value["event"] == true {
                    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
                    let _ = saw.send(Seen { kind: text("type"), detail: text("param") });
                } else {
                    let _ = answer.send(value);
                }
            }
            buffer.drain(..used);
        }
    }
}

fn netstring(buffer: &[u8]) -> Option<(&[u8], usize)> {
    let colon = buffer.iter().position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(&buffer[..colon]).ok()?.parse().ok()?;
    let message = buffer.get(colon + 1..colon + 1 + length)?;
    buffer.get(colon + 1 + length)?;
    Some((message, colon + length + 2))
}

fn filled(text: &str, place: &Place, idle: &Path) -> String {
    let values = [
        ("@ADDRESS@", "127.0.0.1".to_owned()),
        ("@SIP@", place.sip.to_string()),
        ("@CONTROL@", place.control.to_string()),
        ("@RTP_LO@", place.rtp.to_string()),
        ("@RTP_HI@", (place.rtp + MEDIA - 1).to_string()),
        ("@IDLE@", idle.display().to_string()),
        ("@DUMP@", place.folder.join("audio").display().to_string()),
        ("@MODULES@", MODULES.to_owned()),
        ("@USER@", place.user.clone()),
        ("@ANSWER@", "manual".to_owned()),
        ("@CODECS@", "pcma,pcmu".to_owned()),
    ];
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// Writes a WAV (none: nothing) and the silence after it.
fn write_padded(path: &Path, wav: &[u8]) -> Result<(), PhoneError> {
    let wrong = |error: hound::Error| PhoneError::File(path.to_owned(), error.to_string());
    let spec =
        hound::WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut samples: Vec<i16> = Vec::new();
    if !wav.is_empty() {
        let mut reader = hound::WavReader::new(wav).map_err(wrong)?;
        if reader.spec() != spec {
            return Err(PhoneError::File(path.to_owned(), format!("not 8 kHz, mono, 16 bits: {:?}", reader.spec())));
        }
        samples = reader.samples().collect::<Result<_, _>>().map_err(wrong)?;
    }
    let mut writer = hound::WavWriter::create(path, spec).map_err(wrong)?;
    samples.resize(samples.len() + (RATE * TAIL_S) as usize, 0);
    let mut block = writer.get_i16_writer(samples.len() as u32);
    samples.iter().for_each(|sample| block.write_sample(*sample));
    block.flush().map_err(wrong)?;
    writer.finalize().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netstrings_are_cut_where_they_end() {
        assert_eq!(netstring(b"2:{},3:"), Some((&b"{}"[..], 5)));
        assert_eq!(netstring(b"2:{}"), None);
        assert_eq!(netstring(b"12"), None);
    }

    #[test]
    fn every_placeholder_is_filled() {
        let place = Place { folder: "/x".into(), sip: 5070, control: 5075, rtp: 6000, user: "caller".to_owned() };
        for text in [CONFIG, ACCOUNTS] {
            let lines = filled(text, &place, Path::new("/x/idle.wav"));
            let open = lines.lines().filter(|line| !line.starts_with('#')).find(|line| {
                let upper = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_uppercase() || c == '_');
                line.split('@').skip(1).any(upper)
            });
            assert_eq!(open, None);
        }
    }
}
