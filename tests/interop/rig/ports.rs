//! Ports that nobody else has: tests run side by side, in one process or in many.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what the system hands out by itself (32,768 and up), so that no client's port is in the way; and below 22,000,
/// where the servers have their media that `trunkline load` starts in a test beside us.
const FIRST: u16 = 10_000;
const BLOCKS: u16 = 24;
const SIZE: u16 = 500;

const PHONES: u16 = 10;
const MEDIA: u16 = 50;
const PHONE_MEDIA: u16 = 250;
/// RTP ports of one SIPp: enough for its calls at a time.
const PHONE_MEDIA_SHARE: u16 = 60;

/// A block of ports. The lock on a file says to all other tests of this machine that it is taken; it goes with the process.
#[derive(Debug)]
pub struct Ports {
    base: u16,
    phones: AtomicU16,
    _lock: File,
}

impl Ports {
    /// Takes a block; panics when there is none.
    pub fn take() -> Ports {
        static TURN: AtomicU16 = AtomicU16::new(0);
        let folder = std::env::temp_dir().join("trunkline-test-ports");
        std::fs::create_dir_all(&folder).expect("a folder for locks");
        let start = std::process::id() as u16 % BLOCKS + TURN.fetch_add(1, Ordering::Relaxed);
        for n in 0..BLOCKS {
            let base = FIRST + (start.wrapping_add(n) % BLOCKS) * SIZE;
            let lock = File::create(folder.join(base.to_string())).expect("a lock file");
            if lock.try_lock().is_ok() && free(base) {
                return Ports { base, phones: AtomicU16::new(0), _lock: lock };
            }
        }
        panic!("no block of {SIZE} free ports between {FIRST} and {}", FIRST + BLOCKS * SIZE);
    }

    pub fn sip(&self) -> u16 {
        self.base
    }

    pub fn control(&self) -> u16 {
        self.base + 1
    }

    pub fn web(&self) -> u16 {
        self.base + 2
    }

    /// Where the trunk's phone listens.
    pub fn phone(&self) -> u16 {
        self.base + PHONES
    }

    /// Where Kamailio listens.
    pub fn proxy(&self) -> u16 {
        self.base + PHONES - 2
    }

    /// Where the other trunk's phone listens.
    pub fn spare(&self) -> u16 {
        self.base + PHONES - 1
    }

    /// SIP and first RTP port of one more SIPp; the first one is the trunk's phone only if it is asked for by [`Ports::phone`].
    pub fn caller(&self) -> (u16, u16) {
        let n = 1 + self.phones.fetch_add(1, Ordering::Relaxed);
        assert!(n < MEDIA - PHONES, "too many SIPp in one test");
        (self.base + PHONES + n, self.base + PHONE_MEDIA + (n % 4) * PHONE_MEDIA_SHARE)
    }

    /// Trunkline's RTP.
    pub fn media(&self) -> RangeInclusive<u16> {
        self.base + MEDIA..=self.base + PHONE_MEDIA - 1
    }
}

fn free(base: u16) -> bool {
    let udp = (base..base + SIZE).all(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    udp && (base..base + PHONES).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}
