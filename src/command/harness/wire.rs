//! RTP as a harness sends and reads it: many packets at a time, each with the kernel's moment of arrival.

use std::io::IoSliceMut;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce, ReceiveTimestampns};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt};

/// Packets read at a time.
const BATCH: usize = 64;
/// Bytes of an RTP header without extras.
pub(in crate::command) const HEADER: usize = 12;

/// Samples of a frame of 20 ms, and bytes: G.711 A-law.
pub(in crate::command) const FRAME: usize = 160;

/// What a socket may hold: a second of two hundred phones.
const ROOM: usize = 8 << 20;

/// A socket that never waits, has room for many packets, and knows when each has come.
pub(in crate::command) fn bind(address: IpAddr, port: u16) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind((address, port))?;
    socket.set_nonblocking(true)?;
    // The system's limit (`net.core.rmem_max`) is some 60 ms of them; only root may go beyond it.
    if setsockopt(&socket, RcvBufForce, &ROOM).is_err() {
        setsockopt(&socket, RcvBuf, &ROOM)?;
    }
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    Ok(socket)
}

/// RFC 3550 §5.1.
pub(in crate::command) fn header(packet: &mut [u8], marker: bool, sequence: u16, timestamp: u32, ssrc: u32) {
    packet[0] = 0x80;
    packet[1] = if marker { 0x88 } else { 8 };
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
}

/// Now, in ns since 1970: the clock by which the kernel says when a packet came.
pub(in crate::command) fn unix_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

/// Reads many packets at once, each with its port of origin and its moment of arrival.
pub(in crate::command) struct Reader {
    headers: MultiHeaders<SockaddrIn>,
    buffers: Box<[[u8; 256]; BATCH]>,
}

impl Reader {
    pub(in crate::command) fn new() -> Reader {
        let headers = MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(nix::sys::time::TimeSpec)));
        Reader { headers, buffers: Box::new([[0; 256]; BATCH]) }
    }

    pub(in crate::command) fn read(&mut self, socket: &UdpSocket, mut take: impl FnMut(u16, i64, &[u8])) {
        loop {
            let mut came = 0;
            let mut slices = self.buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
            let read = recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
            // Nothing there; or an ICMP error, and the next read goes on.
            let Ok(messages) = read else { return };
            for message in messages {
                came += 1;
                let port = message.address.map_or(0, |address| address.port());
                let at = message.cmsgs().ok().and_then(|mut all| all.find_map(arrival)).unwrap_or_else(unix_ns);
                if let Some(packet) = message.iovs().next() {
                    take(port, at, packet);
                }
            }
            if came < BATCH {
                return;
            }
        }
    }
}

fn arrival(message: ControlMessageOwned) -> Option<i64> {
    match message {
        ControlMessageOwned::ScmTimestampns(at) => Some(at.tv_sec() * 1_000_000_000 + at.tv_nsec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_with_their_port_and_moment() {
        let socket = bind(std::net::Ipv4Addr::LOCALHOST.into(), 0).expect("a socket");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let to = socket.local_addr().expect("it is bound");
        let mut reader = Reader::new();
        for round in 0..3 {
            let before = unix_ns();
            (0..BATCH as u8 + 6).for_each(|n| drop(sender.send_to(&[n; 20], to)));
            let mut got = Vec::new();
            reader.read(&socket, |port, at, packet| got.push((port, at, packet[0])));
            let port = sender.local_addr().expect("it is bound").port();
            assert_eq!(got.len(), BATCH + 6, "round {round}");
            assert!(got.iter().enumerate().all(|(n, (from, at, byte))| *from == port
                && usize::from(*byte) == n
                && (before..unix_ns()).contains(at)));
        }
    }
}
