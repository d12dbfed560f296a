//! Debian's rtpengine (`rtpengine-daemon`), which passes media on in user space, on loopback.

use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::Rig;

/// Ports of its media: both sides of a call, RTP and RTCP.
const PORTS: u16 = 40;

/// One that runs. Killed when it is dropped.
#[derive(Debug)]
pub struct RtpEngine {
    _child: Child,
    /// Where it is told what to do.
    pub control: u16,
    /// Where its media are.
    pub media: RangeInclusive<u16>,
    log: PathBuf,
}

impl RtpEngine {
    /// Starts one on ports of the rig.
    pub async fn start(rig: &Rig) -> RtpEngine {
        let (control, first) = rig.ports.caller();
        let media = first..=first + PORTS - 1;
        let log = rig.folder().join("rtpengine.log");
        let child = Command::new("rtpengine")
            // Without a module in the kernel.
            .args(["--config-file=none", "--foreground", "--log-stderr", "--table=-1", "--num-threads=1"])
            .args(["--interface=127.0.0.1", &format!("--listen-ng=127.0.0.1:{control}")])
            .args([format!("--port-min={}", media.start()), format!("--port-max={}", media.end())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a file for its log"))
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("rtpengine: {error}; Debian has it in the package rtpengine-daemon"));
        let what = format!("rtpengine listens; its log: {}", log.display());
        super::soon(&what, Duration::from_secs(15), async || super::sipp::is_bound("udp", control)).await;
        RtpEngine { _child: child, control, media, log }
    }

    /// What it says of what it does.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }
}
