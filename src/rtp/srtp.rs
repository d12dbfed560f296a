//! RFC 3711 (SRTP), RFC 6188 (AES-256), RFC 7714 (GCM): what is sent is protected, what comes is unprotected, in place.
//!
//! ```text
//! SRTP, HMAC-SHA1 suites   header │ payload, encrypted │ tag, 10 or 4 bytes
//! SRTP, GCM suites         header │ payload, encrypted │ tag, 16
//! SRTCP, HMAC-SHA1 suites  8 bytes of header │ the rest, encrypted │ E, index │ tag, 10
//! SRTCP, GCM suites        8 bytes of header │ the rest, encrypted │ tag, 16 │ E, index
//! ```
//! The ciphers are those of libraries (RustCrypto's AES, CTR, HMAC and SHA-1, ring's GCM); ours is the framing: indices, nonces, key
//! derivation, replay windows. A packet is believed only when it is authentic, and only then moves anything here. Nothing allocates once
//! a context is made. There is no MKI, and the keys are derived once (key derivation rate 0), which is what `sdp` agrees to.

mod keys;
mod streams;

#[cfg(test)]
mod tests;

use std::fmt;

use super::packet::HEADER_LEN;
use keys::{Half, Labels};
pub use keys::{Master, Suite};
use streams::{Guess, Streams};

/// The most that protection adds to a packet, RTP or RTCP.
pub const MAX_TRAILER: usize = 20;
/// The largest packet that is unprotected: a datagram of one Ethernet frame.
pub const MAX_PACKET: usize = 1_500;
/// Header of the first packet of an RTCP compound: it stays in the clear.
const RTCP_HEADER: usize = 8;
/// Set in the word of the index: the packet is encrypted (RFC 3711 §3.4).
const ENCRYPTED: u32 = 1 << 31;
/// A master key is good for so many RTP packets (RFC 3711 §9.2); one of 50 packets a second lasts 178,000 years.
const LAST_INDEX: u64 = (1 << 48) - 1;

/// Why a packet is dropped. It is to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejected {
    /// Too short, too long, or no RTP or RTCP at all; RTCP that is not encrypted.
    Malformed,
    /// It was not made with the key that was agreed on, or changed on the way.
    Unauthentic,
    /// It has come before, or is too old to tell.
    Replayed,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rejected::Malformed => "no SRTP packet",
            Rejected::Unauthentic => "not made with the agreed key",
            Rejected::Replayed => "replayed, or too old",
        })
    }
}

impl std::error::Error for Rejected {}

/// The protection of one leg, both ways. Its keys are in no `Debug`.
pub struct Srtp {
    ours: Outbound,
    theirs: Inbound,
}

impl Srtp {
    /// With our key for what we send, and the far end's for what it sends. Derives all session keys.
    pub fn new(ours: Master, theirs: Master) -> Srtp {
        Srtp { ours: Outbound::new(ours), theirs: Inbound::new(theirs) }
    }

    /// What was agreed on anew: a direction whose key is the same goes on where it is (its counters must not begin again), the other one
    /// begins.
    pub fn renew(&mut self, new: &mut Srtp) {
        if new.ours.master != self.ours.master {
            std::mem::swap(&mut self.ours, &mut new.ours);
        }
        if new.theirs.master != self.theirs.master {
            std::mem::swap(&mut self.theirs, &mut new.theirs);
        }
    }

    /// Protects the RTP packet in the first `length` bytes of the buffer, and returns its new length; `None`: it must not be sent.
    pub fn protect(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        self.ours.protect(buffer, length)
    }

    /// Protects the RTCP compound in the first `length` bytes of the buffer, and returns its new length; `None`: it must not be sent.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        self.ours.protect_rtcp(buffer, length)
    }

    /// Unprotects an RTP packet, and returns its length then.
    ///
    /// # Errors
    /// Why it is to be dropped; what the buffer holds then is nobody's.
    pub fn unprotect(&mut self, packet: &mut [u8]) -> Result<usize, Rejected> {
        self.theirs.unprotect(packet)
    }

    /// Unprotects an RTCP compound, and returns its length then.
    ///
    /// # Errors
    /// As [`unprotect`](Self::unprotect).
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Rejected> {
        self.theirs.unprotect_rtcp(packet)
    }
}

impl fmt::Debug for Srtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Srtp").field("ours", &self.ours.master).field("theirs", &self.theirs.master).finish()
    }
}

/// What protects our stream.
struct Outbound {
    master: Master,
    rtp: Half,
    rtcp: Half,
    /// Of the last packet.
    index: Option<u64>,
    /// Of the next compound.
    rtcp_index: u32,
}

impl Outbound {
    fn new(master: Master) -> Outbound {
        let (rtp, rtcp) = (Half::derive(&master, Labels::RTP), Half::derive(&master, Labels::RTCP));
        Outbound { master, rtp, rtcp, index: None, rtcp_index: 0 }
    }

    fn protect(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        let (header, ssrc, sequence) = rtp_header(buffer.get(..length)?)?;
        let index = match self.index {
            None => u64::from(sequence),
            Some(last) => streams::nearest(last, sequence)?,
        };
        // The same index twice would be the same key stream twice: nothing is worth that.
        if self.index.is_some_and(|last| index <= last) || index > LAST_INDEX {
            return None;
        }
        let total = length + self.rtp.tag();
        let packet = buffer.get_mut(..total)?;
        self.index = Some(index);
        let rollover = (index >> 16) as u32;
        self.rtp.seal(packet, header, length, ssrc, index, &rollover.to_be_bytes());
        Some(total)
    }

    fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        let ssrc = rtcp_header(buffer.get(..length)?)?;
        let index = self.rtcp_index;
        if index & ENCRYPTED != 0 {
            return None;
        }
        let word = (index | ENCRYPTED).to_be_bytes();
        let total = length + self.rtcp.tag() + word.len();
        let packet = buffer.get_mut(..total)?;
        self.rtcp_index += 1;
        self.rtcp.seal_rtcp(packet, length, ssrc, index, word);
        Some(total)
    }
}

/// What unprotects theirs.
struct Inbound {
    master: Master,
    rtp: Half,
    rtcp: Half,
    streams: Streams,
    reports: Streams,
}

impl Inbound {
    fn new(master: Master) -> Inbound {
        let (rtp, rtcp) = (Half::derive(&master, Labels::RTP), Half::derive(&master, Labels::RTCP));
        Inbound { master, rtp, rtcp, streams: Streams::default(), reports: Streams::default() }
    }

    fn unprotect(&mut self, packet: &mut [u8]) -> Result<usize, Rejected> {
        if packet.len() > MAX_PACKET {
            return Err(Rejected::Malformed);
        }
        let (header, ssrc, sequence) = rtp_header(packet).ok_or(Rejected::Malformed)?;
        let length = packet.len().checked_sub(self.rtp.tag()).filter(|length| *length >= header);
        let length = length.ok_or(Rejected::Malformed)?;
        let rollover = |index: u64| ((index >> 16) as u32).to_be_bytes();
        let index = match self.streams.guess(ssrc, sequence).ok_or(Rejected::Replayed)? {
            Guess::Known(index) => {
                self.rtp.open(packet, header, length, ssrc, index, &rollover(index))?;
                index
            }
            // Of a stream whose first packets were lost around the wrap, the sender counts one rollover already.
            Guess::New(first) => {
                let mut copy = [0; MAX_PACKET];
                let copy = &mut copy[..packet.len()];
                copy.copy_from_slice(packet);
                match self.rtp.open(packet, header, length, ssrc, first, &rollover(first)) {
                    Ok(()) => first,
                    Err(_) => {
                        let second = first + (1 << 16);
                        packet.copy_from_slice(copy);
                        self.rtp.open(packet, header, length, ssrc, second, &rollover(second))?;
                        second
                    }
                }
            }
        };
        self.streams.note(ssrc, index);
        Ok(length)
    }

    fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Rejected> {
        let ssrc = rtcp_header(packet).ok_or(Rejected::Malformed)?;
        let length = packet.len().checked_sub(self.rtcp.tag() + 4).filter(|length| *length >= RTCP_HEADER);
        let length = length.ok_or(Rejected::Malformed)?;
        let word = self.rtcp.word(packet, length);
        let index = u32::from_be_bytes(word);
        if index & ENCRYPTED == 0 {
            return Err(Rejected::Malformed);
        }
        let index = index & !ENCRYPTED;
        if !self.reports.is_fresh(ssrc, index.into()) {
            return Err(Rejected::Replayed);
        }
        self.rtcp.open_rtcp(packet, length, ssrc, index, word)?;
        self.reports.note(ssrc, index.into());
        Ok(length)
    }
}

/// Length of the header, SSRC, sequence number.
fn rtp_header(packet: &[u8]) -> Option<(usize, u32, u16)> {
    let header = packet.first_chunk::<HEADER_LEN>().filter(|header| header[0] >> 6 == 2)?;
    let mut length = HEADER_LEN + usize::from(header[0] & 0x0f) * 4;
    if header[0] & 0x10 != 0 {
        let extension = packet.get(length..length + 4)?;
        length += 4 + usize::from(u16::from_be_bytes([extension[2], extension[3]])) * 4;
    }
    let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    (length <= packet.len()).then_some((length, ssrc, u16::from_be_bytes([header[2], header[3]])))
}

/// SSRC of the first packet.
fn rtcp_header(packet: &[u8]) -> Option<u32> {
    let header = packet.first_chunk::<RTCP_HEADER>().filter(|header| header[0] >> 6 == 2)?;
    Some(u32::from_be_bytes([header[4], header[5], header[6], header[7]]))
}
