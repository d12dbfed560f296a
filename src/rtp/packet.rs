//! RFC 3550 section 5.1: the RTP packet.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//! |                           timestamp                           |
//! |           synchronization source (SSRC) identifier            |
//! |            contributing source (CSRC) identifiers             |  CC × 4 bytes
//! |      defined by profile       |           length              |  if X: length × 4 bytes follow
//! |                          payload …            |  padding, n   |  if P: the last byte counts the padding, itself included
//! ```
//!
//! A [`Packet`] borrows the datagram: nothing is copied and nothing is allocated. Contributing sources and header extensions are
//! checked for length and stepped over, since no peer of a telephone call has a use for them.

use std::fmt;

/// Bytes of a header without contributing sources and extension.
pub const HEADER_LEN: usize = 12;

/// A payload type, 0–127: what the payload is, as the session description says (RFC 3551 section 6 for the fixed ones).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadType(u8);

impl PayloadType {
    /// G.711 µ-law, 8 kHz.
    pub const PCMU: PayloadType = PayloadType(0);
    /// G.711 A-law, 8 kHz.
    pub const PCMA: PayloadType = PayloadType(8);
    /// G.722, 16 kHz audio on an 8 kHz clock (RFC 3551 section 4.5.2 keeps the old mistake).
    pub const G722: PayloadType = PayloadType(9);
    /// Comfort noise (RFC 3389).
    pub const CN: PayloadType = PayloadType(13);

    /// A payload type, or `None` above 127.
    pub const fn new(number: u8) -> Option<PayloadType> {
        if number < 128 { Some(PayloadType(number)) } else { None }
    }

    /// The number, 0–127.
    pub const fn as_u8(self) -> u8 {
        self.0
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A synchronization source: who sends the stream, a random 32-bit number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ssrc(pub u32);

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A 16-bit sequence number, which wraps around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceNumber(pub u16);

impl SequenceNumber {
    /// The number of the packet after this one.
    pub const fn next(self) -> SequenceNumber {
        SequenceNumber(self.0.wrapping_add(1))
    }

    /// How far this number lies after `other` on the shorter way around, −32 768 to 32 767.
    pub const fn after(self, other: SequenceNumber) -> i32 {
        self.0.wrapping_sub(other.0) as i16 as i32
    }

    /// This number in the endless count whose current value is `near`: the value closest to `near` that ends in these 16 bits.
    pub const fn extend(self, near: i64) -> i64 {
        near + self.0.wrapping_sub(near as u16) as i16 as i64
    }
}

/// A 32-bit media timestamp in the endless count whose current value is `near` (RFC 3550 section 5.1: it wraps around).
pub const fn extend_timestamp(timestamp: u32, near: i64) -> i64 {
    near.wrapping_add(timestamp.wrapping_sub(near as u32) as i32 as i64)
}

/// One RTP packet, borrowed from its datagram or about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The start of a talk-spurt, or of a telephone event (RFC 3551 section 4.1).
    pub marker: bool,
    /// What the payload is.
    pub payload_type: PayloadType,
    /// The place in the stream.
    pub sequence: SequenceNumber,
    /// The moment of the first sample, in samples of the payload's clock.
    pub timestamp: u32,
    /// Who sends it.
    pub ssrc: Ssrc,
    /// The audio or event itself, without padding.
    pub payload: &'a [u8],
}

/// Why a datagram is no RTP packet. It is to be dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketError {
    /// Shorter than its own header says.
    TooShort,
    /// Not version 2.
    Version(u8),
    /// The padding count is zero or larger than what follows the header.
    Padding(u8),
    /// Payload types 72–76 with marker are RTCP packet types 200–204 (RFC 5761 section 4): the datagram belongs to the other port.
    Rtcp,
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PacketError::TooShort => write!(f, "shorter than its RTP header"),
            PacketError::Version(version) => write!(f, "RTP version {version} instead of 2"),
            PacketError::Padding(count) => write!(f, "impossible RTP padding count {count}"),
            PacketError::Rtcp => write!(f, "an RTCP packet on the RTP port"),
        }
    }
}

impl std::error::Error for PacketError {}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// Says what is wrong with it; any bytes are allowed.
    pub fn parse(datagram: &'a [u8]) -> Result<Packet<'a>, PacketError> {
        let Some((header, mut rest)) = datagram.split_first_chunk::<HEADER_LEN>() else {
            return Err(PacketError::TooShort);
        };
        let version = header[0] >> 6;
        if version != 2 {
            return Err(PacketError::Version(version));
        }
        if (200..=204).contains(&header[1]) {
            return Err(PacketError::Rtcp);
        }
        rest = rest.get(usize::from(header[0] & 0x0f) * 4..).ok_or(PacketError::TooShort)?;
        if header[0] & 0x10 != 0 {
            let (extension, body) = rest.split_first_chunk::<4>().ok_or(PacketError::TooShort)?;
            let length = usize::from(u16::from_be_bytes([extension[2], extension[3]])) * 4;
            rest = body.get(length..).ok_or(PacketError::TooShort)?;
        }
        if header[0] & 0x20 != 0 {
            let count = *rest.last().ok_or(PacketError::TooShort)?;
            let length = rest.len().checked_sub(usize::from(count)).filter(|_| count > 0);
            rest = &rest[..length.ok_or(PacketError::Padding(count))?];
        }
        Ok(Packet {
            marker: header[1] & 0x80 != 0,
            payload_type: PayloadType(header[1] & 0x7f),
            sequence: SequenceNumber(u16::from_be_bytes([header[2], header[3]])),
            timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ssrc: Ssrc(u32::from_be_bytes([header[8], header[9], header[10], header[11]])),
            payload: rest,
        })
    }

    /// Writes the packet, without padding, sources or extension, and returns its length in bytes; 0 (and nothing written) if
    /// `datagram` is shorter than [`HEADER_LEN`] and the payload.
    pub fn write_into(&self, datagram: &mut [u8]) -> usize {
        let length = HEADER_LEN + self.payload.len();
        let Some(datagram) = datagram.get_mut(..length) else {
            return 0;
        };
        datagram[0] = 0x80;
        datagram[1] = u8::from(self.marker) << 7 | self.payload_type.0;
        datagram[2..4].copy_from_slice(&self.sequence.0.to_be_bytes());
        datagram[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        datagram[8..12].copy_from_slice(&self.ssrc.0.to_be_bytes());
        datagram[HEADER_LEN..].copy_from_slice(self.payload);
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steps_over_sources_extension_and_padding() {
        let mut bytes = vec![0xb1, 0x88, 0x12, 0x34, 0, 0, 0, 160, 1, 2, 3, 4];
        bytes.extend([9, 9, 9, 9]); // one contributing source
        bytes.extend([0xbe, 0xde, 0, 1, 0x10, 0, 0, 0]); // one word of extension
        bytes.extend([0xd5, 0xd5, 0, 2]); // two bytes of payload, two of padding
        let packet = Packet::parse(&bytes).unwrap();
        assert!(packet.marker);
        assert_eq!(packet.payload_type, PayloadType::PCMA);
        assert_eq!((packet.sequence.0, packet.timestamp, packet.ssrc.0), (0x1234, 160, 0x01020304));
        assert_eq!(packet.payload, [0xd5, 0xd5]);
        for short in 0..bytes.len() - 1 {
            assert!(Packet::parse(&bytes[..short]).is_err() || short >= 24, "{short} bytes");
        }
    }

    #[test]
    fn refuses_impossible_padding() {
        let mut bytes = [0u8; 16];
        bytes[0] = 0xa0;
        assert_eq!(Packet::parse(&bytes), Err(PacketError::Padding(0)));
        bytes[15] = 5;
        assert_eq!(Packet::parse(&bytes), Err(PacketError::Padding(5)));
        bytes[15] = 4;
        assert_eq!(Packet::parse(&bytes).map(|packet| packet.payload.len()), Ok(0));
    }

    #[test]
    fn sequence_numbers_wrap() {
        assert_eq!(SequenceNumber(1).after(SequenceNumber(65_535)), 2);
        assert_eq!(SequenceNumber(65_535).after(SequenceNumber(1)), -2);
        assert_eq!(SequenceNumber(3).extend(65_534), 65_539);
        assert_eq!(SequenceNumber(65_534).extend(65_539), 65_534);
        assert_eq!(extend_timestamp(5, 0xffff_fff0), 0x1_0000_0005);
        assert_eq!(extend_timestamp(0xffff_fff0, 0x1_0000_0005), 0xffff_fff0);
    }

    proptest! {
        #[test]
        fn writes_what_it_reads(marker: bool, pt in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32,
                                payload in proptest::collection::vec(any::<u8>(), 0..500)) {
            prop_assume!(!(marker && (72..=76).contains(&pt)));
            let packet = Packet { marker, payload_type: PayloadType(pt), sequence: SequenceNumber(sequence), timestamp,
                                  ssrc: Ssrc(ssrc), payload: &payload };
            let mut buffer = [0u8; 600];
            let length = packet.write_into(&mut buffer);
            prop_assert_eq!(Packet::parse(&buffer[..length]), Ok(packet));
            prop_assert_eq!(packet.write_into(&mut buffer[..length - 1]), 0);
        }

        #[test]
        fn agrees_with_rtp_rs(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), version_two in 0u8..8) {
            if version_two > 0 && let Some(first) = bytes.first_mut() { *first = *first & 0x3f | 0x80; }
            match (Packet::parse(&bytes), rtp_rs::RtpReader::new(&bytes)) {
                (Ok(ours), Ok(theirs)) => {
                    prop_assert_eq!(ours.marker, theirs.mark());
                    prop_assert_eq!(ours.payload_type.0, theirs.payload_type());
                    prop_assert_eq!(ours.sequence.0, u16::from(theirs.sequence_number()));
                    prop_assert_eq!(ours.timestamp, theirs.timestamp());
                    prop_assert_eq!(ours.ssrc.0, theirs.ssrc());
                    prop_assert_eq!(ours.payload, theirs.payload());
                }
                (Err(PacketError::Rtcp), _) | (Err(_), Err(_)) => {}
                (ours, theirs) => prop_assert!(false, "{:?} but rtp-rs says ok: {}", ours, theirs.is_ok()),
            }
        }

        #[test]
        fn extension_stays_nearest(near in 0i64..1 << 40, step in -30_000i64..30_000) {
            prop_assert_eq!(SequenceNumber((near + step) as u16).extend(near), near + step);
            prop_assert_eq!(extend_timestamp((near + step) as u32, near), near + step);
        }
    }
}
