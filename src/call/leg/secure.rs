//! The leg's encryption: between the network and all that the leg does. A leg that has it sends nothing without, and believes nothing that
//! is not authentic: not even where it comes from.

use super::Refused;
use crate::rtp::rtcp::MAX_COMPOUND;
use crate::rtp::srtp::{MAX_PACKET, MAX_TRAILER, Rejected, Srtp};

/// The longest compound that a leg sends.
pub(super) const LARGEST_COMPOUND: usize = MAX_COMPOUND + MAX_TRAILER;

/// What protects a leg; empty where nothing does.
#[derive(Debug)]
pub(super) struct Secure(Option<Box<Srtp>>);

impl Secure {
    pub(super) fn new(srtp: Option<Box<Srtp>>) -> Secure {
        Secure(srtp)
    }

    /// What was agreed on anew. What is encrypted stays so.
    pub(super) fn renew(&mut self, new: Option<Box<Srtp>>) {
        match (&mut self.0, new) {
            (Some(srtp), Some(mut new)) => srtp.renew(&mut new),
            (none @ None, new) => *none = new,
            (Some(_), None) => {}
        }
    }

    /// Whether packets have to be opened.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Makes a packet ready to be sent; `None`: it must not be.
    pub(super) fn seal(&mut self, packet: &mut [u8], length: usize) -> Option<usize> {
        match &mut self.0 {
            Some(srtp) => srtp.protect(packet, length),
            None => Some(length),
        }
    }

    /// The same of a compound.
    pub(super) fn seal_report(&mut self, compound: &mut [u8; LARGEST_COMPOUND], length: usize) -> Option<usize> {
        match &mut self.0 {
            Some(srtp) => srtp.protect_rtcp(compound, length),
            None => Some(length),
        }
    }

    /// Opens a datagram of the RTP port, or of the RTCP port; one that is not the far end's is counted.
    pub(super) fn open<'a>(
        &mut self,
        datagram: &[u8],
        report: bool,
        room: &'a mut [u8; MAX_PACKET],
        refused: &mut Refused,
    ) -> Option<&'a [u8]> {
        let (Some(srtp), Some(packet)) = (&mut self.0, room.get_mut(..datagram.len())) else {
            refused.malformed += 1;
            return None;
        };
        packet.copy_from_slice(datagram);
        match if report { srtp.unprotect_rtcp(packet) } else { srtp.unprotect(packet) } {
            Ok(length) => Some(&packet[..length]),
            Err(rejected) => {
                *match rejected {
                    Rejected::Unauthentic => &mut refused.unauthentic,
                    Rejected::Replayed => &mut refused.replayed,
                    _ => &mut refused.malformed,
                } += 1;
                None
            }
        }
    }
}
