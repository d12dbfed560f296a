//! Where the phones' media goes: a few sockets for all of them.
//!
//! The phones of an address share a socket: the server gives each call a port of its own, by which the phone is told. So one system call
//! reads the packets of many calls.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use super::Trouble;
use super::wire::bind;

/// Phones live on 127.0.0.2 and the addresses after it.
pub(in crate::command) const ADDRESSES: usize = 8;

/// The sockets of an address.
pub(in crate::command) struct Socket {
    pub(in crate::command) rtp: UdpSocket,
    pub(in crate::command) rtcp: UdpSocket,
    /// Which phone talks to which port of the server, +1.
    pub(in crate::command) of_port: Vec<u32>,
}

/// The phones' sockets, bound. Phone `n` has the one at `n % ADDRESSES`.
pub(in crate::command) struct Bound {
    pub(in crate::command) sockets: Vec<Socket>,
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
}
