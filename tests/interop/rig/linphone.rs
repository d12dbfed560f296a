//! Debian's linphone (`linphone-cli`) as a phone without a sound card, driven by what one types into `linphonec`.
//!
//! It plays a file in place of a microphone and is silent after it. What it says of its calls stands in `said`, every message that it
//! sends and receives in `log`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

use super::log::Log;
use super::{PATIENCE, Rig, soon};

/// `ipv6_migration_done`: without it the line before it is forgotten. `bind_address` of both: by itself it names eth0's in SDP.
const CONFIG: &str = "[sip]\nsip_port=PORT\nsip_tcp_port=PORT\nsip_tls_port=0\nbind_address=127.0.0.1\nuse_ipv6=0\n\
                      ipv6_migration_done=1\nguess_hostname=0\ncontact=sip:USER@127.0.0.1\nregister_only_when_network_is_up=0\n\
                      MORE\n[rtp]\nbind_address=127.0.0.1\naudio_rtp_port=MEDIA\n[misc]\nstore_friends=0\n\
                      [sound]\nlocal_ring=\nremote_ring=\nechocancellation=0\n";

/// What it has in place of a microphone, and of a loudspeaker.
#[derive(Debug, Default)]
pub struct Plays<'a> {
    /// A WAV file; none: somebody who says hello.
    pub speech: Option<&'a Path>,
    /// Whither it writes what it hears; none: nowhere.
    pub heard: Option<&'a Path>,
}

/// A linphone that runs. It is killed when it is dropped.
#[derive(Debug)]
pub struct Linphone {
    child: Child,
    keyboard: ChildStdin,
    folder: PathBuf,
    pub log: Log,
    /// How much of what it said has been looked at.
    read: usize,
}

impl Linphone {
    /// Where the calls of a rig's trunk go. `more`: lines of its `[sip]`.
    pub async fn lab(rig: &Rig, more: &str) -> Linphone {
        Linphone::start(rig, "200", rig.ports.phone(), more, Plays::default()).await
    }

    /// As [`Linphone::lab`], with a file of one's own in place of the microphone, which may tell what has been heard.
    pub async fn sounding(rig: &Rig, more: &str, plays: Plays<'_>) -> Linphone {
        Linphone::start(rig, "200", rig.ports.phone(), more, plays).await
    }

    /// Another one, and its SIP port.
    pub async fn another(rig: &Rig, more: &str) -> (Linphone, u16) {
        let (port, _) = rig.ports.caller();
        (Linphone::start(rig, "300", port, more, Plays::default()).await, port)
    }

    async fn start(rig: &Rig, user: &str, port: u16, more: &str, plays: Plays<'_>) -> Linphone {
        let (_, media) = rig.ports.caller();
        let folder = rig.folder().join(format!("linphone-{port}"));
        // It does not start without a place for its database, and does not make it.
        fs::create_dir_all(folder.join(".local/share/linphone")).expect("a folder");
        let values = [("PORT", port.to_string()), ("USER", user.to_owned()), ("MEDIA", media.to_string())];
        let text = values.iter().fold(CONFIG.to_owned(), |text, (name, value)| text.replace(name, value));
        let config = folder.join("linphonerc");
        fs::write(&config, text.replace("MORE", more)).expect("it is written");
        let child = Command::new("linphonec")
            .args(["-c".as_ref(), config.as_os_str(), "-d".as_ref(), "5".as_ref(), "-l".as_ref()])
            .arg(folder.join("log"))
            .env("HOME", &folder)
            .env("XDG_RUNTIME_DIR", &folder)
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME")
            // Its ticker takes the highest real-time priority that it gets, by itself 99.
            .env("MS_TICKER_SCHEDPRIO", "1")
            .stdin(Stdio::piped())
            .stdout(File::create(folder.join("said")).expect("a file for what it says"))
            .stderr(File::create(folder.join("stderr")).expect("a file for its errors"))
            .kill_on_drop(true)
            .spawn();
        let mut child =
            child.unwrap_or_else(|error| panic!("linphonec: {error}; Debian has it in the package linphone-cli"));
        let keyboard = child.stdin.take().expect("it is piped");
        let log = Log { whose: "linphone", file: folder.join("log") };
        let mut linphone = Linphone { child, keyboard, folder, log, read: 0 };
        linphone.types("soundcard use files").await;
        linphone.says("Using wav files").await;
        let speech = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-audio/human-hello.wav");
        linphone.types(&format!("play {}", plays.speech.unwrap_or(&speech).display())).await;
        if let Some(heard) = plays.heard {
            linphone.types(&format!("record {}", heard.display())).await;
        }
        soon("linphone listens", PATIENCE, async || super::sipp::is_bound("udp", port)).await;
        linphone
    }

    /// Types a line: a command, or keys of the call.
    pub async fn types(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).await.expect("it lives");
    }

    /// Waits until it has said something, after what was waited for before.
    pub async fn says(&mut self, what: &str) {
        let (file, read) = (self.folder.join("said"), self.read);
        soon(&format!("linphone says {what:?}; {}", file.display()), PATIENCE, async || {
            let said = fs::read(&file).expect("what it says");
            let found = said[read..].windows(what.len()).position(|text| text == what.as_bytes());
            self.read = found.map_or(read, |at| read + at + what.len());
            found.is_some()
        })
        .await;
    }

    /// Ends it in good order: it takes back its registration.
    pub async fn quit(mut self) {
        self.types("quit").await;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.is_ok(), "linphonec ends");
    }
}
