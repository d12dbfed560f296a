//! Ports for what a command starts: free now, and not taken in the moment until it is there.

use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;

/// Above those that Linux hands out by itself (`ip_local_port_range`, 32,768 to 60,999): whoever connects to somewhere
/// between our look and the server's bind does not get one of them.
const ROOM: Range<u16> = 61_000..65_500;
/// Others may have some of them.
const TRIES: u32 = 200;

/// The first of so many ports in a row, free on each of these addresses for UDP and for TCP; an even one.
pub(super) fn free(ips: &[Ipv4Addr], count: u16) -> Result<u16, Error> {
    let nobodys = |n| ips.iter().all(|ip| UdpSocket::bind((*ip, n)).is_ok() && TcpListener::bind((*ip, n)).is_ok());
    for _ in 0..TRIES {
        let first = rand::random_range(ROOM.start..ROOM.end - count) & !1;
        if (first..first + count).all(nobodys) {
            return Ok(first);
        }
    }
    let none = format!("no {count} free ports in a row on {ips:?}, from {} to {}", ROOM.start, ROOM.end);
    Err(Error::new(ErrorKind::AddrInUse, none))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_in_a_row_even_at_first_and_nobody_else_has_them() {
        for _ in 0..20 {
            let first = free(&[Ipv4Addr::LOCALHOST], 40).expect("there is room");
            assert!(first.is_multiple_of(2) && ROOM.contains(&first) && ROOM.contains(&(first + 39)), "{first}");
            let held: Vec<_> = (first..first + 40).flat_map(|n| UdpSocket::bind((Ipv4Addr::LOCALHOST, n))).collect();
            let next = free(&[Ipv4Addr::LOCALHOST], 40).expect("there is room");
            let mut taken = held.iter().flat_map(UdpSocket::local_addr).map(|at| at.port());
            assert!(!taken.any(|port| (next..next + 40).contains(&port)), "{first}, then {next}");
        }
    }
}
