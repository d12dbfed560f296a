//! Symmetric RTP (RFC 4961): where the far end's packets really come from is where ours go.
//!
//! Behind a NAT the address in the SDP is not the one that packets come from. But whoever follows any packet hands the call to whoever
//! guesses the port. So: the signalled address is believed as soon as it speaks; another one is followed only while the signalled one is
//! silent, and only until [`LOCK`] packets have come from it; then nothing but signalling moves us.

use std::net::SocketAddr;

/// Packets from one source after which it is the source.
const LOCK: u32 = 50;

/// Where media comes from and goes to.
#[derive(Debug)]
pub(super) struct Latch {
    signalled: SocketAddr,
    source: SocketAddr,
    packets: u32,
}

impl Latch {
    pub(super) fn new(signalled: SocketAddr) -> Latch {
        Latch { signalled, source: signalled, packets: 0 }
    }

    /// Where our packets go.
    pub(super) fn remote(&self) -> &SocketAddr {
        &self.source
    }

    /// Signalling gave an address: everything begins anew, unless nothing has changed.
    pub(super) fn signal(&mut self, signalled: SocketAddr) {
        if signalled != self.signalled {
            *self = Latch::new(signalled);
        }
    }

    /// Whether a well-formed packet from this source belongs to the call.
    pub(super) fn admit(&mut self, from: SocketAddr) -> bool {
        if from == self.source {
            self.packets = self.packets.saturating_add(1);
            return true;
        }
        let locked = self.packets >= LOCK;
        let follow = match from == self.signalled {
            true => !locked,
            // Another stranger than the one that is followed already: the first one wins.
            false => self.packets == 0,
        };
        if follow {
            (self.source, self.packets) = (from, 1);
        }
        follow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_nat_is_followed_and_the_second_stranger_is_not() {
        let mut latch = Latch::new(address(10));
        assert!(latch.admit(address(20)));
        assert_eq!(*latch.remote(), address(20));
        assert!(!latch.admit(address(30)));
        assert!(latch.admit(address(20)));
    }

    #[test]
    fn the_signalled_address_is_believed_until_the_other_one_is_locked() {
        let mut latch = Latch::new(address(10));
        latch.admit(address(20));
        assert!(latch.admit(address(10)));
        assert_eq!(*latch.remote(), address(10));
        assert!(!latch.admit(address(20)), "it has spoken: nobody else is followed");

        let mut latch = Latch::new(address(10));
        (0..LOCK).for_each(|_| assert!(latch.admit(address(20))));
        assert!(!latch.admit(address(10)), "locked");
        latch.signal(address(30));
        assert_eq!(*latch.remote(), address(30), "signalling moves us");
    }
}
