//! Kamailio with the configuration of `tests/kamailio`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Rig, RtpEngine};

/// A Kamailio that runs. It is asked to end when it is dropped, which ends its processes too.
#[derive(Debug)]
pub struct Kamailio {
    child: Child,
    log: PathBuf,
}

impl Kamailio {
    /// Starts it between the Trunkline of a rig and its phone; it listens when this returns.
    pub async fn start(rig: &Rig) -> Kamailio {
        Kamailio::with(rig, None, None).await
    }

    /// The same for a Trunkline that speaks TLS to it, on this port; with PEM files of an authority, of a certificate and of its key.
    pub async fn start_secure(rig: &Rig, port: u16, files: &[PathBuf; 3]) -> Kamailio {
        Kamailio::with(rig, Some((port, files)), None).await
    }

    /// As [`Kamailio::start`], with the media through an rtpengine: on our side as we have it (`RTP/SAVP` or `RTP/AVP`), on the phone's in the clear.
    pub async fn start_with_media(rig: &Rig, relay: &RtpEngine, ours: &str) -> Kamailio {
        Kamailio::with(rig, None, Some((relay.control, ours))).await
    }

    async fn with(rig: &Rig, tls: Option<(u16, &[PathBuf; 3])>, relay: Option<(u16, &str)>) -> Kamailio {
        let folder = rig.folder().join("kamailio");
        fs::create_dir_all(&folder).expect("a folder");
        let (port, config) = (rig.ports.proxy(), folder.join("kamailio.cfg"));
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kamailio/kamailio.cfg");
        let text = fs::read_to_string(text).expect("the configuration");
        let ports = [("KAMAILIO", port), ("TRUNKLINE", rig.ports.sip()), ("PHONE", rig.ports.phone())];
        // The first line names the language and is no port.
        let text = ports.iter().fold(text.replacen("#!KAMAILIO", "#!kamailio", 1), |text, (name, port)| {
            text.replace(name, &port.to_string())
        });
        let mut text = text.replacen("#!kamailio", "#!KAMAILIO", 1);
        if let Some((secure, [authority, certificate, key])) = tls {
            text = text.replace("SECURE", &secure.to_string());
            for (name, file) in [("\"AUTHORITY\"", authority), ("\"CERTIFICATE\"", certificate), ("\"KEY\"", key)] {
                text = text.replace(name, &format!("{file:?}"));
            }
        }
        if let Some((control, ours)) = relay {
            text = text.replace("RELAY", &control.to_string());
            text = text.replace("INWARDS", &format!("{ours} DTLS=off")).replace("BEYOND", "RTP/AVP");
        }
        fs::write(&config, text).expect("it is written");
        let log = folder.join("log");
        let child = Command::new("kamailio")
            .args(["-f".as_ref(), config.as_os_str(), "-Y".as_ref(), folder.as_os_str()])
            .args(["-DD", "-E", "-m", "32", "-M", "8"])
            .args(tls.iter().flat_map(|_| ["-A", "WITH_TLS"]))
            .args(relay.iter().flat_map(|_| ["-A", "WITH_MEDIA"]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a file for its log"))
            .spawn()
            .unwrap_or_else(|error| {
                panic!("kamailio: {error}; Debian has it in the packages kamailio and kamailio-tls-modules")
            });
        let kamailio = Kamailio { child, log };
        let what = format!("Kamailio listens; its log: {}", kamailio.log.display());
        super::soon(&what, Duration::from_secs(15), async || {
            super::sipp::is_bound("udp", port) && tls.is_none_or(|(port, _)| super::sipp::is_bound("tcp", port))
        })
        .await;
        kamailio
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        let patience = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- Kamailio said:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}
