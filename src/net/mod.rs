//! SIP transports. One for now: UDP (RFC 3261 §18).
//!
//! Datagrams are read by one task and handed over as they came; sending is done from wherever it is needed. Host names are looked up when
//! something is sent to them.

mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::sip::message::Target;
pub use metrics::Metrics;

/// The largest UDP datagram.
const LARGEST: usize = 65_535;
/// The kernel keeps a burst of set-ups while we are busy.
const RECEIVE_BUFFER: usize = 4 << 20;
/// RFC 3261 §19.1.2: where no port is named.
const DEFAULT_PORT: u16 = 5060;
/// Datagrams that wait for the switchboard; beyond it they are dropped, and their senders send them again.
const BACKLOG: usize = 4_096;

/// A datagram and who sent it.
#[derive(Debug)]
pub struct Datagram {
    /// Its source.
    pub source: SocketAddr,
    /// What it says.
    pub payload: Vec<u8>,
}

/// The SIP socket.
#[derive(Debug, Clone)]
pub struct Udp {
    socket: Arc<UdpSocket>,
    metrics: Arc<Metrics>,
}

impl Udp {
    /// Binds the socket and begins to read. Must be called within a tokio runtime; fails when the address cannot be bound.
    pub fn bind(listen: SocketAddr, metrics: Arc<Metrics>) -> std::io::Result<(Udp, mpsc::Receiver<Datagram>)> {
        let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // Less than asked for is granted where the system says so; a burst then costs retransmissions.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.bind(&listen.into())?;
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let udp = Udp { socket, metrics };
        tokio::spawn(udp.clone().read(sender));
        Ok((udp, receiver))
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Where the socket is bound.
    pub fn local(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// The name has no address, or the system refuses; counted and logged here.
    pub async fn send(&self, to: &Target, payload: &[u8]) -> std::io::Result<()> {
        let result = match to {
            Target::Addr(address) => self.socket.send_to(payload, address).await,
            Target::Host { name, port } => self.send_to_host(name, port.unwrap_or(DEFAULT_PORT), payload).await,
        };
        match result {
            Ok(_) => {
                self.metrics.sent.inc();
                Ok(())
            }
            Err(error) => {
                self.metrics.dropped("send");
                tracing::warn!(%to, %error, "SIP datagram could not be sent");
                Err(error)
            }
        }
    }

    async fn send_to_host(&self, name: &str, port: u16, payload: &[u8]) -> std::io::Result<usize> {
        let local_is_v4 = self.socket.local_addr()?.is_ipv4();
        let found = tokio::net::lookup_host((name, port)).await?.find(|address| address.is_ipv4() == local_is_v4);
        let address = found.ok_or_else(|| std::io::Error::other("the name has no address of the socket's family"))?;
        self.socket.send_to(payload, address).await
    }

    async fn read(self, sender: mpsc::Sender<Datagram>) {
        let mut buffer = vec![0; LARGEST];
        loop {
            let received = tokio::select! {
                received = self.socket.recv_from(&mut buffer) => received,
                () = sender.closed() => return,
            };
            let (length, source) = match received {
                Ok(received) => received,
                // ICMP errors for what we sent arrive here on some systems.
                Err(error) => {
                    tracing::debug!(%error, "reading from the SIP socket");
                    continue;
                }
            };
            self.metrics.received.inc();
            // RFC 5626 §3.5.1 keep-alives carry nothing.
            if buffer[..length].iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                continue;
            }
            if sender.try_send(Datagram { source, payload: buffer[..length].to_vec() }).is_err() {
                self.metrics.dropped("backlog");
            }
        }
    }
}
