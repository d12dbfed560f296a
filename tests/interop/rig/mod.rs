//! The rig of a test: one Trunkline with a configuration of its own, and what stands around it.

pub mod audio;
pub mod baresip;
mod bucket;
mod certificates;
mod dialogue;
mod dns;
mod events;
mod kamailio;
mod linphone;
mod log;
mod peer;
mod pjsip;
mod ports;
mod rtpengine;
mod sipp;
mod speech;

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::{Child, Command};
use tonic::transport::Channel;
use trunkline::proto::control::v1::control_client::ControlClient;
use trunkline::proto::control::v1::send_request::Command as Order;
use trunkline::proto::control::v1::{CallRecord, DialRequest, SendRequest};
use trunkline::proto::dialogue::v1::Hangup;

pub use bucket::{Service, upload_to};
pub use certificates::certificates;
pub use dialogue::{Brain, Dialogue, say};
pub use dns::{Zone, a, record, srv};
pub use events::Happened;
pub use kamailio::Kamailio;
pub use linphone::{Linphone, Plays};
pub use peer::{Peer, SDP, media_port, sdp, sdp_at};
pub use pjsip::Pjsip;
pub use ports::Ports;
pub use rtpengine::RtpEngine;
pub use sipp::{Phone, Sipp, Trace};
pub use speech::{Engine, Hearing, Speaking, speech_routes};

/// Longer than any single step of any test should take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// An endpoint at which nobody listens: port 1 is nobody's.
pub const NOBODY: &str = "http://127.0.0.1:1";
/// Knobs for a dialogue with SIPp, whose speech is one utterance after the other, with short pauses.
pub const QUICK: &str = "barge_in = \"never\"\nendpoint_ms = 300\nno_input_ms = 0";

/// Whoever calls is answered, and nobody talks to him: lines of a profile.
pub const ANSWERED: &str = "[[inbound]]\ndialogue = \"none\"\nspeech = \"none\"\n";
/// `out` is the trunk `lab`, and `spare` if that fails: lines of the main file.
pub const GROUP: &str = "[[group]]\nname = \"out\"\n[[group.member]]\ntrunk = \"lab\"\n\
                     [[group.member]]\ntrunk = \"spare\"\npriority = 2\n";

/// What differs from test to test: lines of the configuration, and who serves it.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Lines of `[sip]` beside `listen`, and its sections.
    pub sip: String,
    /// Lines of the profile's `[peer]`; none: the address of the phone.
    pub peer: String,
    /// Most calls at a time.
    pub calls: usize,
    /// Lines of `[limits]` about overload; off, for tests run beside each other and beside builds.
    pub overload: &'static str,
    /// The other lines of `[limits]`.
    pub limits: &'static str,
    /// Lines of `[knobs]`.
    pub knobs: &'static str,
    /// Sections of the one profile, `lab`, that come after `[peer]` and `[identity]`.
    pub trunk: &'static str,
    /// Where SIP is received: hosts, each with the same port.
    pub listen: &'static [&'static str],
    /// Host of its peer.
    pub host: &'static str,
    /// Its peer is the proxy, not the phone.
    pub proxied: bool,
    /// Sections of a second profile, `spare`; empty: there is none.
    pub spare: &'static str,
    /// More sections of the main file.
    pub main: &'static str,
    /// Lines of `[[speech]]` beside name and endpoint.
    pub speech_more: &'static str,
    /// Endpoints of the services.
    pub speech: String,
    pub dialogue: String,
    /// Play the fallback prompt.
    pub fallback: bool,
    pub record: bool,
    /// More lines of `[recording]`.
    pub recording: &'static str,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            calls: 90,
            overload: "cpu_percent = 0\nlate_ms = 0",
            sip: String::new(),
            peer: String::new(),
            limits: "drain_s = 0",
            // SIPp speaks all the time.
            knobs: "barge_in = \"never\"",
            trunk: "",
            listen: &["127.0.0.1"],
            host: "127.0.0.1",
            proxied: false,
            spare: "",
            main: "",
            speech_more: "",
            speech: NOBODY.to_owned(),
            dialogue: NOBODY.to_owned(),
            fallback: false,
            record: false,
            recording: "",
        }
    }
}

impl Setup {
    /// Writes the files of a configuration into a folder.
    pub fn write(&self, folder: &Path, ports: &Ports) -> PathBuf {
        let Setup {
            calls,
            overload,
            sip: sip_more,
            peer,
            limits,
            knobs,
            trunk,
            listen,
            host,
            proxied,
            spare,
            main: more,
            speech_more,
            speech,
            dialogue,
            fallback,
            record,
            recording,
        } = self;
        let (sip, control, web, phone) = (ports.sip(), ports.control(), ports.web(), ports.phone());
        let (first, last) = ports.media().into_inner();
        let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-audio");
        let prompt = if *fallback { "fallback = \"human-goodbye.wav\"" } else { "" };
        let main = format!(
            "[sip]\nlisten = [{}]\n{sip_more}\n\
             [media]\nports = \"{first}-{last}\"\nthreads = 1\n\
             [control]\nlisten = \"127.0.0.1:{control}\"\n\
             [web]\nlisten = \"127.0.0.1:{web}\"\n\
             [[speech]]\nname = \"local\"\nendpoint = \"{speech}\"\n{speech_more}\n\
             [[dialogue]]\nname = \"brain\"\nendpoint = \"{dialogue}\"\n\
             [prompts]\nfolder = {recordings:?}\n{prompt}\n\
             [recording]\nenabled = {record}\nfolder = \"recordings\"\n{recording}\n\
             [limits]\ncalls = {calls}\n{overload}\n{limits}\n\
             [knobs]\n{knobs}\n{more}\n",
            listen.iter().map(|host| format!("\"{host}:{sip}\"")).collect::<Vec<_>>().join(", ")
        );
        let profile = |port: u16, peer: &str, more: &str| {
            let address = format!("address = \"{host}:{port}\"\n");
            let peer = if peer.contains("address") { peer.to_owned() } else { (address + peer).trim_end().to_owned() };
            format!("[peer]\n{peer}\n[identity]\ncaller = \"4930123456\"\n{more}\n")
        };
        fs::create_dir_all(folder.join("sip-profiles/tones")).expect("a folder");
        for table in ["cn.toml", "us.toml"] {
            let table = Path::new("sip-profiles/tones").join(table);
            fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(&table), folder.join(&table))
                .expect("a table of tones");
        }
        fs::write(
            folder.join("sip-profiles/lab.toml"),
            profile(if *proxied { ports.proxy() } else { phone }, peer, trunk),
        )
        .expect("the profile is written");
        if !spare.is_empty() {
            let profile = profile(ports.spare(), "", spare);
            fs::write(folder.join("sip-profiles/spare.toml"), profile).expect("the profile is written");
        }
        let path = folder.join("trunkline.toml");
        fs::write(&path, main).expect("the configuration is written");
        path
    }
}

/// A Trunkline that runs, and the way to it. Killed when dropped; its folder is kept when the test fails.
#[derive(Debug)]
pub struct Rig {
    pub ports: Ports,
    folder: Folder,
    child: Child,
    control: ControlClient<Channel>,
    requests: AtomicU32,
}

impl Rig {
    /// Starts one and waits until it answers.
    pub async fn start(setup: Setup) -> Rig {
        Rig::at(Ports::take(), Folder::new(), setup).await
    }

    /// As [`Rig::start`], when ports and folder have to be known before.
    pub async fn at(ports: Ports, folder: Folder, setup: Setup) -> Rig {
        let config = setup.write(&folder.0, &ports);
        Rig::serve(ports, folder, config).await
    }

    /// As [`Rig::at`], with a configuration that is written.
    pub async fn serve(ports: Ports, folder: Folder, config: PathBuf) -> Rig {
        let program = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        Rig::serve_by(program, ports, folder, config).await
    }

    /// Starts one whose recordings folder is a disk of its own, of this size, that only it sees; [`Rig::disk`] is the way there.
    pub async fn on_small_disk(size: &str, setup: Setup) -> Rig {
        let (ports, folder) = (Ports::take(), Folder::new());
        let config = setup.write(&folder.0, &ports);
        let recordings = folder.0.join("recordings");
        fs::create_dir(&recordings).expect("a folder");
        // With its own users and mounts nobody has to be root; each program takes the place of the one before, so the process stays ours.
        let mut program = Command::new("unshare");
        let mount = format!("mount -t tmpfs -o size={size} none \"$0\" && exec \"$@\"");
        program.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]);
        program.arg(&recordings).arg(env!("CARGO_BIN_EXE_trunkline"));
        Rig::serve_by(program, ports, folder, config).await
    }

    /// The recordings folder as the process sees it.
    pub fn disk(&self) -> PathBuf {
        let recordings = self.folder.0.join("recordings");
        let below = recordings.strip_prefix("/").expect("absolute");
        Path::new(&format!("/proc/{}/root", self.pid())).join(below)
    }

    async fn serve_by(mut program: Command, ports: Ports, folder: Folder, config: PathBuf) -> Rig {
        let log = File::create(folder.log()).expect("a file for the log");
        let child = program
            .args(["--log", "info,trunkline=debug", "serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let control = Channel::from_shared(format!("http://127.0.0.1:{}", ports.control())).expect("an address");
        let control = ControlClient::new(control.connect_timeout(PATIENCE).connect_lazy());
        let mut rig = Rig { ports, folder, child, control, requests: AtomicU32::new(1) };
        soon("/healthz answers", PATIENCE, async || {
            assert_eq!(rig.child.try_wait().expect("it is ours"), None, "it ended by itself");
            rig.http("/healthz").await.contains(" 200 OK")
        })
        .await;
        rig
    }

    /// The orchestrator's client.
    pub fn control(&self) -> ControlClient<Channel> {
        self.control.clone()
    }

    /// A call without services to the trunk's phone.
    pub fn order(&self) -> DialRequest {
        DialRequest {
            request_id: format!("r{}", self.requests.fetch_add(1, Ordering::Relaxed)),
            callee: "100".into(),
            dialogue: "none".into(),
            speech: "none".into(),
            ..Default::default()
        }
    }

    /// Dials; gives the call's id.
    pub async fn dial(&self, order: DialRequest) -> String {
        self.control().dial(order).await.expect("the order is taken").into_inner().call_id
    }

    /// Sends a command to a call that is up.
    pub async fn send(&self, call_id: &str, command: Order) {
        let request = SendRequest { call_id: call_id.into(), command: Some(command), ..Default::default() };
        self.control().send(request).await.expect("it is up");
    }

    /// Hangs a call up at once; `end_reason` in its record is "enough".
    pub async fn hang_up(&self, call_id: &str) {
        self.send(call_id, Order::Hangup(Hangup { now: true, reason: "enough".into(), ..Default::default() })).await;
    }

    /// A call without services, from the first event to the record.
    pub async fn call(&self) -> CallRecord {
        let call_id = self.dial(self.order()).await;
        self.ended(&call_id).await
    }

    /// Starts a SIPp: called phones (`uas_`) where the trunk's calls go, callers (`uac_`) elsewhere.
    pub async fn phone(&self, phone: Phone) -> Sipp {
        let (caller, media) = self.ports.caller();
        let port = if phone.scenario.starts_with("uas_") { self.ports.phone() } else { caller };
        Sipp::start(&phone, port, media, self.ports.sip(), &self.folder.0).await
    }

    /// Starts a SIPp where the calls of the trunk `spare` go.
    pub async fn agent(&self, phone: Phone) -> Sipp {
        let (_, media) = self.ports.caller();
        Sipp::start(&phone, self.ports.spare(), media, self.ports.sip(), &self.folder.0).await
    }

    /// What `/metrics` says of a metric: the sum over all its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let page = self.http("/metrics").await;
        let value = |line: &str| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        };
        page.lines().filter_map(value).sum()
    }

    /// As [`Rig::metric`], of the one that has this label.
    pub async fn metric_of(&self, name: &str, label: &str) -> f64 {
        let page = self.http("/metrics").await;
        let lines = page.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// No media have been dropped for these reasons.
    pub async fn none_dropped(&self, reasons: &[&str]) {
        for reason in reasons {
            assert_eq!(self.metric_of("trunkline_media_dropped_total", reason).await, 0.0, "{reason}");
        }
    }

    /// Waits until no call has left anything behind but signalling that may have to repeat itself.
    pub async fn idle(&self) {
        for name in ["trunkline_calls", "trunkline_media_ports_used", "trunkline_media_legs"] {
            soon(&format!("{name} is 0"), PATIENCE, async || self.metric(name).await == 0.0).await;
        }
        let calls = self.control().list_calls(trunkline::proto::control::v1::ListCallsRequest {}).await;
        assert!(calls.expect("an answer").into_inner().calls.is_empty());
    }

    /// Packets that were not sent because a busy machine was too late for them, when all calls are over, which got `received` packets.
    pub async fn slots_missed(&self, received: u64) -> u64 {
        // The media threads tell their sums once a second.
        soon("the packets are counted", PATIENCE, async || {
            self.metric("trunkline_media_packets_received_total").await >= received as f64
        })
        .await;
        self.metric("trunkline_media_slots_missed_total").await as u64
    }

    /// A page over HTTP, with its head; empty when nobody answers.
    pub async fn http(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.ports.web())).await else {
            return String::new();
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: trunkline\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        if stream.write_all(request.as_bytes()).await.is_ok() {
            // What came before a break is looked at as it is.
            let _ = stream.read_to_string(&mut answer).await;
        }
        answer
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Open files and threads of the process, and its resident memory in KiB.
    pub fn burden(&self) -> (usize, usize, u64) {
        let proc = PathBuf::from(format!("/proc/{}", self.pid()));
        let count = |name: &str| fs::read_dir(proc.join(name)).expect("it runs").count();
        let status = fs::read_to_string(proc.join("status")).expect("it runs");
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
        let rss = rss.trim().trim_end_matches(" kB").parse().expect("a number");
        (count("fd"), count("task"), rss)
    }

    /// Kills the process; it gets no chance to say anything.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Starts it anew, in the same folder and on the same ports, when it has ended.
    pub async fn again(self) -> Rig {
        let Rig { ports, folder, .. } = self;
        let config = folder.0.join("trunkline.toml");
        Rig::serve(ports, folder, config).await
    }

    /// Asks it to end.
    pub async fn terminate(&self) {
        signal("TERM", self.pid()).await;
    }

    /// Waits for its end.
    pub async fn exited(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends in time").expect("it can be waited for")
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.log()).expect("the log")
    }

    /// Where it was started: configuration, log, recordings.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }
}

/// A folder of its own for each rig; it stays when the test fails, and the end of the log is shown.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // In memory where there is such a place: a disk that is busy with a build has made others wait for 30 s.
        let memory = PathBuf::from("/dev/shm");
        let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let path = place.join(format!("trunkline-test-{}-{number}", std::process::id()));
        // One of the same name is a dead process' of long ago.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // A folder that stays is no reason for a test to fail.
            let _ = fs::remove_dir_all(&self.0);
            return;
        }
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(40)..].join("\n");
        eprintln!("--- kept: {}; the end of the log:\n{last}", self.0.display());
    }
}

/// An INVITE by hand: the final answer to it, acknowledged, and the socket that it came to.
pub async fn ask(rig: &Rig, callee: &str) -> (String, UdpSocket) {
    ask_with(rig, callee, "").await
}

/// As [`ask`], with more headers, each with its line break.
pub async fn ask_with(rig: &Rig, callee: &str, more: &str) -> (String, UdpSocket) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let answer = ask_on(rig, &socket, callee, 9, more).await;
    (answer, socket)
}

/// As [`ask`], from a socket; asked again, it is a copy of the first INVITE. Media is wanted at a port.
pub async fn ask_from(rig: &Rig, socket: &UdpSocket, callee: &str, media: u16) -> String {
    ask_on(rig, socket, callee, media, "").await
}

async fn ask_on(rig: &Rig, socket: &UdpSocket, callee: &str, media: u16, more: &str) -> String {
    let port = socket.local_addr().expect("it is bound").port();
    let head = |method: &str, to: &str| {
        format!(
            "{method} sip:{callee}@127.0.0.1 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK-hand-{port};rport\r\n\
             From: <sip:200@127.0.0.1>;tag=hand\r\nTo: {to}\r\nCall-ID: hand-{port}\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:200@127.0.0.1:{port}>\r\nMax-Forwards: 70\r\n"
        )
    };
    let sdp = sdp_at(Ipv4Addr::LOCALHOST.into(), media);
    let to = format!("<sip:{callee}@127.0.0.1>");
    let length = sdp.len();
    let invite =
        head("INVITE", &to) + &format!("{more}Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}");
    socket.send_to(invite.as_bytes(), ("127.0.0.1", rig.ports.sip())).await.expect("it is sent");
    loop {
        let answer = received(socket).await;
        let code: u16 = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a response");
        if code >= 200 {
            let to = answer.lines().find_map(|line| line.strip_prefix("To: ")).expect("a To");
            let ack = head("ACK", to) + "Content-Length: 0\r\n\r\n";
            socket.send_to(ack.as_bytes(), ("127.0.0.1", rig.ports.sip())).await.expect("it is sent");
            return answer;
        }
    }
}

/// The next datagram, as text.
pub async fn received(socket: &UdpSocket) -> String {
    let mut buffer = vec![0; 65_535];
    let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("in time").expect("it is read");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// A program where `scripts/setup test` has put it; else the system may have it.
fn of_pypi(program: &str) -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let ours = home.join(".cache/trunkline/peers/bin").join(program);
    if ours.is_file() { ours } else { program.into() }
}

/// A script of this folder's, as a process that is killed when it is dropped: what it writes can be read, and its errors go into a file. It is
/// told `options`, and `more` of them.
pub fn in_python(script: &str, mut options: Value, more: &Value, errors: &Path) -> Command {
    options.as_object_mut().expect("it is one").append(&mut more.as_object().expect("an object").clone());
    let mut command = Command::new(of_pypi("python3"));
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/rig").join(script))
        .arg(options.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(errors).expect("a file for its errors"))
        .kill_on_drop(true);
    command
}

/// Runs the binary to its end.
pub async fn run(args: &[&str]) -> Output {
    let run = Command::new(env!("CARGO_BIN_EXE_trunkline")).args(args).kill_on_drop(true).output();
    tokio::time::timeout(PATIENCE, run).await.expect("it ends in time").expect("the binary starts")
}

/// Sends a signal to one process.
pub async fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().await.expect("kill is there");
    assert!(status.success());
}

/// Waits until something is so, looking every 20 ms.
pub async fn soon(what: &str, patience: Duration, mut is: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is().await {
        assert!(Instant::now() < deadline, "within {} s: {what}", patience.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
