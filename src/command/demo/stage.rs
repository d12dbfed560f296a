//! The demo's stage: free ports, configuration files, and the processes that a user would start by hand.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};

use super::Trouble;
use super::phone::{MEDIA, Place};
use crate::command::ports::free;

const SCRIPT: &str = include_str!("../../../examples/dialogues/demo.toml");
const FALLBACK: &[u8] = include_bytes!("../../../test-audio/fallback.wav");
/// How long a process may take to be ready: the recogniser reads 28 MB.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a process may take to end when it is asked to.
const FAREWELL: Duration = Duration::from_secs(8);

/// Where everything listens.
#[derive(Debug, Clone)]
pub(super) struct Ports {
    pub(super) sip: u16,
    pub(super) control: u16,
    web: u16,
    speech: u16,
    dialogue: u16,
    rtp: u16,
    pub(super) phone_sip: u16,
    phone_control: u16,
    phone_rtp: u16,
}

impl Ports {
    /// Ports that nobody holds now.
    fn find() -> Result<Ports, Trouble> {
        let rtp = free(&[Ipv4Addr::LOCALHOST], 2 * MEDIA + 10).map_err(|error| Trouble::Ports(error.to_string()))?;
        let phone_rtp = rtp + MEDIA;
        // The phone has the one above its own for SIP, too.
        let phone_sip = phone_rtp + MEDIA;
        let [sip, control, web, speech, dialogue, phone_control] = std::array::from_fn(|n| phone_sip + 2 + n as u16);
        Ok(Ports { sip, control, web, speech, dialogue, rtp, phone_sip, phone_control, phone_rtp })
    }
}

/// The folder, the files in it, and the processes.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    pub(super) ports: Ports,
    program: PathBuf,
    processes: Vec<(&'static str, Child)>,
}

impl Stage {
    /// Writes everything into a folder, which is made if missing.
    pub(super) fn build(folder: &Path) -> Result<Stage, Trouble> {
        let wrong = |error: std::io::Error| Trouble::File(folder.to_owned(), error.to_string());
        let program = std::env::current_exe().map_err(wrong)?;
        for part in ["recordings", "sip-profiles", "prompts"] {
            std::fs::create_dir_all(folder.join(part)).map_err(wrong)?;
        }
        let folder = folder.canonicalize().map_err(wrong)?;
        let stage = Stage { folder, ports: Ports::find()?, program, processes: Vec::new() };
        let files = [
            ("trunkline.toml", stage.configuration().into_bytes()),
            ("sip-profiles/phone.toml", stage.profile().into_bytes()),
            ("prompts/fallback.wav", FALLBACK.to_vec()),
            ("demo.toml", SCRIPT.as_bytes().to_vec()),
        ];
        for (name, content) in files {
            let path = stage.folder.join(name);
            std::fs::write(&path, content).map_err(|error| Trouble::File(path, error.to_string()))?;
        }
        Ok(stage)
    }

    fn configuration(&self) -> String {
        let Ports { sip, control, web, speech, dialogue, rtp, .. } = self.ports;
        let last = rtp + MEDIA - 1;
        format!(
            r#"[sip]
listen = "127.0.0.1:{sip}"
[media]
ports = "{rtp}-{last}"
[control]
listen = "127.0.0.1:{control}"
[web]
listen = "127.0.0.1:{web}"
[profiles]
folder = "sip-profiles"
[[speech]]
name = "local"
endpoint = "http://127.0.0.1:{speech}"
language = "en-US"
[[dialogue]]
name = "script"
endpoint = "http://127.0.0.1:{dialogue}"
[prompts]
folder = "prompts"
fallback = "fallback.wav"
[recording]
enabled = true
folder = "recordings"
[limits]
calls = 10
drain_s = 0
"#
        )
    }

    fn profile(&self) -> String {
        let sip = self.ports.phone_sip;
        format!(
            "[peer]\naddress = \"127.0.0.1:{sip}\"\nsources = [\"127.0.0.0/8\"]\n[identity]\ncaller = \"+4930123456\"\n"
        )
    }

    /// The phone's place on the stage.
    pub(super) fn phone(&self) -> Place {
        Place {
            folder: self.folder.join("phone"),
            sip: self.ports.phone_sip,
            control: self.ports.phone_control,
            rtp: self.ports.phone_rtp,
            user: "caller".to_owned(),
        }
    }

    /// Fetches the recogniser's weights, saying so on our own terminal.
    pub(super) async fn fetch(&self) -> Result<(), Trouble> {
        let status = Command::new(&self.program).args(["speech", "--fetch"]).status().await;
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Trouble::Process("trunkline speech --fetch", ended(status))),
            Err(error) => Err(Trouble::Process("trunkline speech --fetch", error.to_string())),
        }
    }

    /// Starts speech service, dialogue and server, and waits until the server is ready for calls.
    pub(super) async fn start(&mut self) -> Result<(), Trouble> {
        let Ports { speech, dialogue, web, .. } = self.ports;
        self.spawn("speech", &["speech", "--listen", &format!("127.0.0.1:{speech}")])?;
        self.spawn("dialogue", &["dialogue", "demo.toml", "--listen", &format!("127.0.0.1:{dialogue}")])?;
        self.listening("speech", speech).await?;
        self.listening("dialogue", dialogue).await?;
        self.spawn("serve", &["serve", "--config", "trunkline.toml"])?;
        self.listening("serve", web).await?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = ready(web).await;
            match answer {
                Ok(()) => return Ok(()),
                Err(reason) if tokio::time::Instant::now() > deadline => {
                    return Err(Trouble::Process("serve", format!("not ready: {reason}")));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
            self.alive("serve")?;
        }
    }

    /// Asks every process to end, the server first; says which did not do so in good order.
    pub(super) async fn strike(mut self) -> Result<(), Trouble> {
        let mut trouble = None;
        while let Some((name, mut child)) = self.processes.pop() {
            if let Some(id) = child.id() {
                let _ = Command::new("kill").args(["-TERM", &id.to_string()]).status().await;
            }
            match tokio::time::timeout(FAREWELL, child.wait()).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => trouble = Some(Trouble::Process(name, ended(status))),
                Ok(Err(error)) => trouble = Some(Trouble::Process(name, error.to_string())),
                Err(_) => trouble = Some(Trouble::Process(name, "did not end when it was asked to".to_owned())),
            }
        }
        trouble.map_or(Ok(()), Err)
    }

    fn spawn(&mut self, name: &'static str, args: &[&str]) -> Result<(), Trouble> {
        let log = self.folder.join(format!("{name}.log"));
        let file = std::fs::File::create(&log).map_err(|error| Trouble::File(log, error.to_string()))?;
        let child = Command::new(&self.program)
            .args(args)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Trouble::Process(name, error.to_string()))?;
        self.processes.push((name, child));
        Ok(())
    }

    /// Fails with the last lines of its log when a process has ended.
    fn alive(&mut self, name: &'static str) -> Result<(), Trouble> {
        for (other, child) in &mut self.processes {
            if *other == name
                && let Ok(Some(status)) = child.try_wait()
            {
                let log = std::fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
                let last: Vec<_> = log.lines().rev().take(5).collect();
                let last = last.into_iter().rev().collect::<Vec<_>>().join("\n  ");
                return Err(Trouble::Process(name, format!("{}\n  {last}", ended(status))));
            }
        }
        Ok(())
    }

    async fn listening(&mut self, name: &'static str, port: u16) -> Result<(), Trouble> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            self.alive(name)?;
            if tokio::time::Instant::now() > deadline {
                return Err(Trouble::Process(name, format!("does not listen on port {port}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

fn ended(status: ExitStatus) -> String {
    format!("ended with {status}")
}

/// `/readyz`.
async fn ready(port: u16) -> Result<(), String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
    match answer.starts_with("HTTP/1.1 200") {
        true => Ok(()),
        false => Err(answer.split("\r\n\r\n").nth(1).unwrap_or_default().trim().to_owned()),
    }
}
