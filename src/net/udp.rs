//! SIP over UDP (RFC 3261 §18), and what the network says of datagrams that did not arrive.
//!
//! Linux keeps ICMP errors for a socket that asks for them (`IP_RECVERR`), each with the address that it is about and the beginning of our
//! datagram: so a peer that is gone is noticed at once and not only when timer B runs out.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::cmsg_space;
use nix::libc::{sock_extended_err, sockaddr_in6};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::{Arrival, Metrics, call_id};
use crate::sip::message::Target;
use crate::sip::transport::Transport;

/// The largest UDP datagram.
const LARGEST: usize = 65_535;
/// The kernel keeps a burst of set-ups while we are busy.
const RECEIVE_BUFFER: usize = 4 << 20;
/// How often a datagram is sent again when the socket reports another one's error instead of sending it.
const TRIES: usize = 4;

/// One SIP socket.
#[derive(Debug, Clone)]
pub(super) struct Udp {
    socket: Arc<UdpSocket>,
    metrics: Arc<Metrics>,
}

impl Udp {
    /// Binds the socket and begins to read.
    pub(super) fn bind(listen: SocketAddr, metrics: Arc<Metrics>, arrivals: mpsc::Sender<Arrival>) -> io::Result<Udp> {
        let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if listen.is_ipv6() {
            // IPv4 has a socket of its own.
            socket.set_only_v6(true)?;
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        }
        // Less than asked for is granted where the system says so; a burst then costs retransmissions.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.bind(&listen.into())?;
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        let udp = Udp { socket, metrics };
        tokio::spawn(udp.clone().read(arrivals.clone()));
        tokio::spawn(udp.clone().read_errors(arrivals));
        Ok(udp)
    }

    pub(super) async fn send(&self, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        for _ in 1..TRIES {
            match self.socket.send_to(payload, to).await {
                // An ICMP error for what was sent before, told to whoever sends next; it is in the queue of errors too.
                Err(error) if is_about_another(&error) => {}
                sent => return sent.map(drop),
            }
        }
        self.socket.send_to(payload, to).await.map(drop)
    }

    async fn read(self, arrivals: mpsc::Sender<Arrival>) {
        let mut buffer = vec![0; LARGEST];
        loop {
            let received = tokio::select! {
                received = self.socket.recv_from(&mut buffer) => received,
                () = arrivals.closed() => return,
            };
            let (length, source) = match received {
                Ok(received) => received,
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
            let payload = buffer[..length].to_vec();
            if arrivals.try_send(Arrival::Message { transport: Transport::Udp, source, payload }).is_err() {
                self.metrics.dropped("backlog");
            }
        }
    }

    async fn read_errors(self, arrivals: mpsc::Sender<Arrival>) {
        loop {
            let told = tokio::select! {
                told = self.socket.async_io(Interest::ERROR, || next_error(&self.socket)) => told,
                () = arrivals.closed() => return,
            };
            match told {
                Ok(Some((to, quoted, why))) => {
                    self.metrics.unsent("icmp");
                    tracing::debug!(%to, "the network says that a SIP datagram did not arrive");
                    // Answers are repeated when their request is.
                    let Some(call_id) = call_id(&quoted).filter(|_| !quoted.starts_with(b"SIP/")) else { continue };
                    let unsent = Arrival::Unsent { call_id, to: Target::Addr(to), why };
                    if arrivals.try_send(unsent).is_err() {
                        self.metrics.dropped("backlog");
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "reading errors of the SIP socket"),
            }
        }
    }
}

fn is_about_another(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

/// The next error of the queue: whom it is about, the beginning of what was sent, and what the network says. `None`: one that says nothing
/// of the peer.
fn next_error(socket: &UdpSocket) -> io::Result<Option<(SocketAddr, Vec<u8>, String)>> {
    // A router quotes 576 bytes at most (RFC 1812 §4.3.2.3), headers included.
    let mut quoted = [0; 576];
    let mut control = cmsg_space!(sock_extended_err, sockaddr_in6);
    let mut slices = [IoSliceMut::new(&mut quoted)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let read = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let unreachable = read.cmsgs().ok().and_then(|mut all| {
        all.find_map(|control| match control {
            ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                Some(io::Error::from_raw_os_error(error.ee_errno.cast_signed())).filter(is_about_another)
            }
            _ => None,
        })
    });
    let to = read.address.as_ref().and_then(address);
    let length = read.bytes;
    Ok(to.zip(unreachable).map(|(to, error)| (to, quoted[..length].to_vec(), error.kind().to_string())))
}

fn address(of: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = of.as_sockaddr_in().map(|at| SocketAddr::new(IpAddr::V4(at.ip()), at.port()));
    v4.or_else(|| of.as_sockaddr_in6().map(|at| SocketAddr::new(IpAddr::V6(at.ip()), at.port())))
}
