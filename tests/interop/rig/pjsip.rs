//! pjsip (PyPI's `pjsua2-python`) as a phone without a sound card, driven by `pjsip.py` beside this file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::audio::Wav;
use super::log::Log;
use super::{PATIENCE, Rig, in_python};

/// A pjsip that runs. It is killed when it is dropped.
#[derive(Debug)]
pub struct Pjsip {
    child: Child,
    orders: ChildStdin,
    told: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
    pub log: Log,
}

impl Pjsip {
    /// Where the calls of a rig's trunk go. `options`: beside its ports, as `pjsip.py` reads them.
    pub async fn lab(rig: &Rig, options: Value) -> Pjsip {
        let (_, media) = rig.ports.caller();
        let folder = rig.folder().join("pjsip");
        fs::create_dir_all(&folder).expect("a folder");
        let speech = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-audio/greeting.wav");
        let places = json!({ "sip": rig.ports.phone(), "media": media, "folder": folder, "speech": speech });
        let mut command = in_python("pjsip.py", places, &options, &folder.join("stderr"));
        let mut child = command.stdin(Stdio::piped()).spawn().expect("python3 is there");
        let orders = child.stdin.take().expect("it is piped");
        let told = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let log = Log { whose: "pjsip", file: folder.join("log") };
        let mut pjsip = Pjsip { child, orders, told, folder, log };
        pjsip.tells("ready").await;
        pjsip
    }

    /// Gives it an order.
    pub async fn does(&mut self, what: &str, mut order: Value) {
        order["do"] = what.into();
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("it lives");
    }

    /// Waits until it tells that something has happened; what it tells of that. What it tells before is passed over.
    pub async fn tells(&mut self, what: &str) -> Value {
        self.tells_that(what, |_| true).await
    }

    /// As [`Pjsip::tells`], of one that is as it should be.
    pub async fn tells_that(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut before = Vec::new();
        let search = async {
            while let Ok(Some(line)) = self.told.next_line().await {
                // It logs a few lines before it knows where to.
                let Ok(told) = serde_json::from_str::<Value>(&line) else { continue };
                if told["is"] == what && is(&told) {
                    return Some(told);
                }
                before.push(line);
            }
            None
        };
        let found = tokio::time::timeout(PATIENCE, search).await.ok().flatten();
        found.unwrap_or_else(|| {
            let errors = fs::read_to_string(self.folder.join("stderr")).unwrap_or_default();
            panic!("pjsip never told {what:?}, but\n{}\n{errors}\n(scripts/setup test installs it)", before.join("\n"))
        })
    }

    /// Ends it; what it has heard.
    pub async fn end(mut self) -> Wav {
        drop(self.orders);
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends in time");
        let errors = fs::read_to_string(self.folder.join("stderr")).expect("its errors");
        assert!(ended.is_ok_and(|status| status.success()) && errors.is_empty(), "{errors}");
        Wav::read(&self.folder.join("heard.wav")).expect("what it heard")
    }
}
