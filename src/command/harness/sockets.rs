//! Where the phones' media goes: a few sockets for all of them.
//!
//! The phones of an address share a socket: the server gives each call a port of its own, by which the phone is told. So one system call
//! reads the packets of many calls.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use super::Trouble;
use super::wire::{Reader, bind};

/// Phones live on 127.0.0.2 and the addresses after it.
const ADDRESSES: usize = 8;

/// The sockets of an address.
pub(in crate::command) struct Socket {
    pub(in crate::command) rtp: UdpSocket,
    pub(in crate::command) rtcp: UdpSocket,
    /// Which phone talks to which port of the server, +1.
    of_port: Vec<u32>,
}

/// The phones' sockets, bound. Phone `n` has the one at `n % ADDRESSES`.
pub(in crate::command) struct Bound {
    sockets: Vec<Socket>,
    /// Their port, the same on all addresses.
    pub(in crate::command) port: u16,
}

/// Where phone `n` receives, on the port of all phones.
pub(in crate::command) fn media(phone: usize, port: u16) -> SocketAddr {
    SocketAddr::new(address(phone), port)
}

fn address(phone: usize) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, 2 + (phone % ADDRESSES) as u8).into()
}

impl Bound {
    /// Binds the same even port on all addresses.
    pub(in crate::command) fn find() -> Result<Bound, Trouble> {
        let wrong = |error: std::io::Error| Trouble::Socket(error.to_string());
        for port in (15_000..19_000u16).step_by(2) {
            let all = (0..ADDRESSES).map(|n| {
                let (rtp, rtcp) = (bind(address(n), port)?, bind(address(n), port + 1)?);
                Ok(Socket { rtp, rtcp, of_port: vec![0; 1 << 16] })
            });
            match all.collect::<std::io::Result<Vec<_>>>() {
                Ok(sockets) => return Ok(Bound { sockets, port }),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(wrong(error)),
            }
        }
        Err(Trouble::Socket("no free port on 127.0.0.2 to 127.0.0.9 between 15000 and 19000".to_owned()))
    }

    /// Those of a phone.
    pub(in crate::command) fn of(&self, phone: usize) -> &Socket {
        &self.sockets[phone % ADDRESSES]
    }

    /// What comes from there is for that phone.
    pub(in crate::command) fn begin(&mut self, phone: usize, remote: SocketAddr) {
        self.sockets[phone % ADDRESSES].of_port[usize::from(remote.port())] = phone as u32 + 1;
    }

    /// It is no more.
    pub(in crate::command) fn end(&mut self, phone: usize, remote: SocketAddr) {
        self.sockets[phone % ADDRESSES].of_port[usize::from(remote.port())] = 0;
    }

    /// Hands over what has come: for which phone, if for any, and when. How many reports came; they are not looked at.
    pub(in crate::command) fn read(
        &mut self,
        reader: &mut Reader,
        mut take: impl FnMut(Option<usize>, i64, &[u8]),
    ) -> u64 {
        let mut reports = 0;
        for socket in &self.sockets {
            reader.read(&socket.rtp, |port, at, packet| {
                take((socket.of_port[usize::from(port)] as usize).checked_sub(1), at, packet);
            });
            let mut report = [0; 1_500];
            while socket.rtcp.recv(&mut report).is_ok() {
                reports += 1;
            }
        }
        reports
    }
}
