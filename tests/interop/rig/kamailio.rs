//! Kamailio with the configuration of `tests/kamailio`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Rig;

/// A Kamailio that runs. It is asked to end when it is dropped, which ends its processes too.
#[derive(Debug)]
pub struct Kamailio {
    child: Child,
    log: PathBuf,
}

impl Kamailio {
    /// Starts it between the Trunkline of a rig and its phone; it listens when this returns.
    pub async fn start(rig: &Rig) -> Kamailio {
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
        fs::write(&config, text.replacen("#!kamailio", "#!KAMAILIO", 1)).expect("it is written");
        let log = folder.join("log");
        let child = Command::new("kamailio")
            .args(["-f".as_ref(), config.as_os_str(), "-Y".as_ref(), folder.as_os_str()])
            .args(["-DD", "-E", "-m", "32", "-M", "4"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a file for its log"))
            .spawn()
            .unwrap_or_else(|error| panic!("kamailio: {error}; Debian has it in the package kamailio"));
        let kamailio = Kamailio { child, log };
        let what = format!("Kamailio listens; its log: {}", kamailio.log.display());
        super::soon(&what, Duration::from_secs(15), async || super::sipp::is_bound("udp", port)).await;
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
