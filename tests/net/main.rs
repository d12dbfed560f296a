//! The transports over sockets of 127.0.0.1, against a far side by hand.

mod dns;
mod streams;
mod tls;
mod udp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

use trunkline::net::{Allowed, Arrival, Config, Limits, Metrics, Net};
use trunkline::sip::message::Target;
use trunkline::sip::transport::Transport::{self, Tcp, Udp};

const PATIENCE: Duration = Duration::from_secs(20);

/// Our side.
struct Bench {
    net: Net,
    arrivals: mpsc::Receiver<Arrival>,
    at: SocketAddr,
    metrics: Arc<Metrics>,
}

fn limits() -> Limits {
    Limits { connections: 100, per_source: 100, idle: Duration::from_secs(600) }
}

fn config(listen: &[SocketAddr]) -> Config {
    Config { listen: listen.to_vec(), tcp: true, tls: None, limits: limits(), resolver: None }
}

/// A port that is free for UDP and TCP, until somebody else takes it.
fn free(ip: &str) -> SocketAddr {
    loop {
        let udp = std::net::UdpSocket::bind((ip, 0)).expect("a port");
        let at = udp.local_addr().expect("it is bound");
        if std::net::TcpListener::bind(at).is_ok() {
            return at;
        }
    }
}

impl Bench {
    fn with(change: impl FnOnce(&mut Config)) -> Bench {
        Bench::at(free("127.0.0.1"), change)
    }

    fn at(at: SocketAddr, change: impl FnOnce(&mut Config)) -> Bench {
        let mut config = config(&[at]);
        change(&mut config);
        let metrics = Arc::new(Metrics::default());
        // 127.0.0.9 is a stranger.
        let allowed: Allowed = Arc::new(|ip| ip.to_string() != "127.0.0.9");
        let (net, arrivals) = Net::bind(&config, allowed, metrics.clone()).expect("it is bound");
        Bench { net, arrivals, at, metrics }
    }

    fn new() -> Bench {
        Bench::with(|_| {})
    }

    async fn arrival(&mut self) -> Arrival {
        soon(self.arrivals.recv()).await.expect("we listen")
    }

    async fn message(&mut self) -> (Transport, SocketAddr, String) {
        match self.arrival().await {
            Arrival::Message { transport, source, payload } => {
                (transport, source, String::from_utf8(payload).expect("text"))
            }
            other => panic!("{other:?}"),
        }
    }

    async fn unsent(&mut self) -> (String, Target) {
        let (call_id, to, _) = self.kept_back().await;
        (call_id, to)
    }

    /// What did not arrive, and why.
    async fn kept_back(&mut self) -> (String, Target, String) {
        match self.arrival().await {
            Arrival::Unsent { call_id, to, why } => (call_id, to, why),
            other => panic!("{other:?}"),
        }
    }

    async fn send(&self, to: SocketAddr, message: &str) {
        self.net.send(&Target::Addr(to), message.as_bytes()).await.expect("it is on its way");
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

fn request(method: &str, by: &str, sent_by: SocketAddr, call_id: &str) -> String {
    format!(
        "{method} sip:a@b SIP/2.0\r\nVia: SIP/2.0/{by} {sent_by};branch=z9hG4bK{call_id}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

fn response(by: &str, sent_by: SocketAddr, call_id: &str) -> String {
    format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/{by} {sent_by};branch=z9hG4bK{call_id}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// As much as a message has.
async fn read(stream: &mut (impl tokio::io::AsyncRead + Unpin), length: usize) -> String {
    let mut buffer = vec![0; length];
    soon(stream.read_exact(&mut buffer)).await.expect("so much comes");
    String::from_utf8(buffer).expect("text")
}

/// Whether the far side has closed.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 1];
    matches!(soon(stream.read(&mut buffer)).await, Ok(0) | Err(_))
}

/// What a counter stands at.
fn counted(metrics: &Metrics, line: &str) -> f64 {
    let mut registry = prometheus_client::registry::Registry::default();
    metrics.register(&mut registry);
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry).expect("text");
    page.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok()).unwrap_or(0.0)
}

async fn until_counted(metrics: &Metrics, line: &str, count: f64) {
    soon(async {
        while counted(metrics, line) != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
