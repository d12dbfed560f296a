//! SIPp with one of the scenarios of `tests/interop_sip`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};

/// How one SIPp is started.
#[derive(Debug, Clone)]
pub struct Phone {
    pub scenario: &'static str,
    pub calls: u32,
    /// A second; 0: one after the other, as soon as one is over.
    pub rate: u32,
    pub at_a_time: u32,
    /// Of `<pause/>` without a time.
    pub pause: Duration,
    pub timeout: Duration,
    /// The number that is called.
    pub callee: &'static str,
    /// `-t`: u1 UDP, t1 TCP by one connection, tn by one each call.
    pub transport: &'static str,
    /// Where it is, and we are: an address of the loopback.
    pub ip: &'static str,
}

impl Phone {
    pub const fn new(scenario: &'static str) -> Phone {
        Phone {
            scenario,
            calls: 1,
            rate: 10,
            at_a_time: 1,
            pause: Duration::from_millis(1_000),
            timeout: Duration::from_secs(40),
            callee: "100",
            transport: "u1",
            ip: "127.0.0.1",
        }
    }

    pub fn calls(self, calls: u32, rate: u32, at_a_time: u32) -> Phone {
        Phone { calls, rate, at_a_time, ..self }
    }

    pub fn callee(self, callee: &'static str) -> Phone {
        Phone { callee, ..self }
    }

    pub fn by(self, transport: &'static str) -> Phone {
        Phone { transport, ..self }
    }

    pub const fn at(self, ip: &'static str) -> Phone {
        Phone { ip, ..self }
    }

    pub const fn pause_ms(self, ms: u64) -> Phone {
        Phone { pause: Duration::from_millis(ms), ..self }
    }

    pub fn timeout_s(self, s: u64) -> Phone {
        Phone { timeout: Duration::from_secs(s), ..self }
    }
}

/// A SIPp that runs. It is killed when it is dropped.
#[derive(Debug)]
pub struct Sipp {
    scenario: &'static str,
    child: Child,
    folder: PathBuf,
}

impl Sipp {
    /// Starts it; as a called phone it listens when this returns.
    pub async fn start(phone: &Phone, port: u16, media: u16, trunkline: u16, folder: &Path) -> Sipp {
        let folder = folder.join(format!("sipp-{port}-{}", phone.scenario));
        fs::create_dir_all(&folder).expect("a folder for the traces");
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop_sip");
        let output = |name: &str| Stdio::from(fs::File::create(folder.join(name)).expect("a file for its output"));
        let mut command = Command::new("sipp");
        command
            .current_dir(&scenarios)
            .args(["-sf", &format!("{}.xml", phone.scenario), "-nostdin"])
            .args(["-i", phone.ip, "-mi", phone.ip, "-p", &port.to_string(), "-mp", &media.to_string()])
            .args(["-m", &phone.calls.to_string(), "-l", &phone.at_a_time.to_string()])
            .args(["-timeout", &phone.timeout.as_secs().to_string(), "-timeout_error"])
            .args(["-d", &phone.pause.as_millis().to_string(), "-s", phone.callee])
            .args(["-t", phone.transport, "-max_socket", "1000"])
            .arg("-trace_err")
            .args(["-error_file".as_ref(), folder.join("errors").as_os_str()])
            .arg("-trace_msg")
            .args(["-message_file".as_ref(), folder.join("messages").as_os_str()]);
        // Without it SIPp takes the second 180 of this scenario for one that it has to answer by a third INVITE.
        if phone.scenario == "uac_invite_repeated" {
            command.arg("-nr");
        }
        if phone.scenario.starts_with("uac_") {
            command
                .args(["-r", &phone.rate.to_string()])
                .arg(SocketAddr::new(phone.ip.parse().expect("an address"), trunkline).to_string());
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("sipp: {error}; Debian has it in the package sip-tester"));
        let mut sipp = Sipp { scenario: phone.scenario, child, folder };
        let udp = phone.transport.starts_with('u');
        // A caller over TCP listens nowhere.
        if udp || phone.scenario.starts_with("uas_") {
            let table = if udp { "udp" } else { "tcp" };
            let listens = || match phone.ip.parse::<Ipv4Addr>() {
                // There may be one at another address with the same port, or of the other family.
                Ok(ip) if udp => is_bound_at(table, &format!("{:08X}", u32::from_le_bytes(ip.octets())), port),
                Ok(_) => is_bound(table, port) || is_bound(&format!("{table}6"), port),
                Err(_) => is_bound(&format!("{table}6"), port),
            };
            // One that is refused at once may have been here and gone between two looks; how it ended is for [`Sipp::done`].
            super::soon("SIPp listens", Duration::from_secs(10), async || {
                listens() || matches!(sipp.child.try_wait(), Ok(Some(_)))
            })
            .await;
        }
        sipp
    }

    /// Kills it, and waits until its port is free: another one may be about to take it.
    pub async fn stop(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Waits for its end and wants it to be a good one.
    pub async fn done(mut self) -> Trace {
        let status = self.child.wait().await.expect("it can be waited for");
        assert!(status.success(), "{}: {}\n{}", self.scenario, told(status), self.errors());
        Trace(self.read("messages"))
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn errors(&self) -> String {
        let (stderr, errors) = (self.read("stderr"), self.read("errors"));
        [stderr, errors].map(|text| text.chars().take(4_000).collect::<String>()).join("\n")
    }
}

fn told(status: ExitStatus) -> String {
    let means = match status.code() {
        Some(1) => "a call did not go as it is written",
        Some(97 | 255) => "time was up, or a check of the scenario failed",
        _ => "it failed",
    };
    format!("{status}: {means}")
}

/// Whether somebody has bound the port: asking the table, since binding it ourselves would be in the way.
pub(super) fn is_bound(table: &str, port: u16) -> bool {
    is_bound_at(table, "", port)
}

/// As [`is_bound`], at an address as the table writes it.
fn is_bound_at(table: &str, address: &str, port: u16) -> bool {
    let table = fs::read_to_string(format!("/proc/net/{table}")).expect("Linux");
    let wanted = format!("{address}:{port:04X}");
    table.lines().any(|line| {
        line.split_once(": ")
            .is_some_and(|(_, rest)| rest.split(' ').next().is_some_and(|local| local.ends_with(&wanted)))
    })
}

/// All messages as SIPp saw them.
#[derive(Debug)]
pub struct Trace(String);

impl Trace {
    /// How often a message came whose first line begins so.
    pub fn received(&self, start: &str) -> usize {
        self.messages().filter(|(received, text)| *received && text.starts_with(start)).count()
    }

    /// The messages that came, whole.
    pub fn all_received(&self) -> Vec<&str> {
        self.messages().filter(|(received, _)| *received).map(|(_, text)| text).collect()
    }

    /// Whether it came, and the message.
    fn messages(&self) -> impl Iterator<Item = (bool, &str)> {
        self.0.split("-----------------------------------------------").filter_map(|part| {
            let (head, text) = part.split_once("bytes")?;
            let text = text.split_once("\n\n")?.1;
            Some((head.contains("received"), text))
        })
    }
}
