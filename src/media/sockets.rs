//! The two sockets of a call, and how they are read.
//!
//! RTP is read when its leg's slot comes. RTCP comes once in five seconds, so looking for it in every slot would be a system call in vain
//! 249 times of 250; one `epoll` a thread tells in one call which of all its RTCP sockets have something, and as it is asked every tick, a
//! report's arrival is known to the millisecond, which the round-trip time needs.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use socket2::{Domain, Protocol, Socket, Type};

use super::metrics::Sums;

/// Datagrams read of one socket at a time; a flood beyond it waits in the kernel, and is dropped there.
pub(super) const READ: usize = 16;
/// Larger datagrams are no telephone audio; they are cut, and fail to parse or to play.
const MTU: usize = 1_500;
/// Sockets with reports that are told in one tick; the others are told in the next.
const REPORTS: usize = 64;

/// A port in use, and the one above it.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) rtp: UdpSocket,
    /// RFC 3550 §11.
    pub(super) rtcp: UdpSocket,
}

impl Pair {
    /// Binds both; fails when somebody else on this machine holds one of them.
    pub(super) fn bind(address: IpAddr, port: u16) -> std::io::Result<Pair> {
        Ok(Pair { rtp: bind(address, port)?, rtcp: bind(address, port + 1)? })
    }
}

fn bind(address: IpAddr, port: u16) -> std::io::Result<UdpSocket> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // RFC 4594: telephony is Expedited Forwarding. A machine that does not let us mark packets still lets us send them.
    if address.is_ipv4() {
        let _ = socket.set_tos_v4(46 << 2);
    } else {
        let _ = socket.set_tclass_v6(46 << 2);
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Reads sockets into one buffer.
pub(super) struct Reader {
    buffer: Box<[u8; MTU]>,
}

impl Reader {
    pub(super) fn new() -> Reader {
        Reader { buffer: Box::new([0; MTU]) }
    }

    /// Hands over what has come, up to so many datagrams; says how many.
    pub(super) fn read(
        &mut self,
        socket: &UdpSocket,
        most: usize,
        sums: &mut Sums,
        mut take: impl FnMut(SocketAddr, &[u8]),
    ) -> usize {
        let mut taken = 0;
        for _ in 0..most {
            match socket.recv_from(&mut *self.buffer) {
                Ok((length, from)) => {
                    taken += 1;
                    take(from, &self.buffer[..length]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // An ICMP error for something we sent: the next read goes on.
                Err(_) => {}
            }
        }
        sums.received += taken as u64;
        taken
    }

    /// Forgets what has come.
    pub(super) fn discard(&mut self, socket: &UdpSocket) {
        for _ in 0..1_000 {
            if socket.recv_from(&mut *self.buffer).is_err() {
                return;
            }
        }
    }
}

/// What [`Reports`] asks; fails when the system has no more file descriptors.
pub(super) fn epoll() -> std::io::Result<OwnedFd> {
    Ok(epoll::create(epoll::CreateFlags::CLOEXEC)?)
}

/// Which RTCP sockets have something.
pub(super) struct Reports {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Reports {
    pub(super) fn new(epoll: OwnedFd) -> Reports {
        Reports { epoll, events: Vec::with_capacity(REPORTS) }
    }

    /// Looks at a socket from now on, by this number.
    pub(super) fn watch(&self, socket: &UdpSocket, number: usize) -> std::io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?)
    }

    /// Looks at it no longer.
    pub(super) fn forget(&self, socket: &UdpSocket) {
        // One that was never looked at need not be forgotten.
        let _ = epoll::delete(&self.epoll, socket);
    }

    /// The numbers of those that have something now.
    pub(super) fn ready(&mut self) -> impl Iterator<Item = usize> {
        self.events.clear();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // It can only be interrupted, and is asked again in the next tick.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&now));
        self.events.iter().map(|event| event.data.u64() as usize)
    }
}
