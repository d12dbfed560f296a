//! RFC 2198: redundant audio data (`red`): a packet that says again what packets before it said.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |1|  block PT   |     timestamp offset      |   block length    |  of each older block
//! |0|  block PT   |                                                  of the newest, which goes to the end of the packet
//! | older blocks … | newest block …                               |
//! ```
//! A block's timestamp is the packet's less its offset. Which packet it was sent in before is not said: who wants to know it has to find
//! it by the timestamp.

use super::packet::PayloadType;

/// Bytes of an older block's header.
const OLDER: usize = 4;

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// What it is.
    pub payload_type: PayloadType,
    /// How far its timestamp lies before the packet's, in units of the media clock: 0 to 16 383.
    pub offset: u32,
    /// It.
    pub payload: &'a [u8],
}

/// The blocks of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    /// The newest: what the packet itself has to say.
    pub newest: Block<'a>,
    headers: &'a [u8],
    payloads: &'a [u8],
}

/// Reads a payload; `None` for one that breaks off before its headers, or what they promise, are there.
pub fn read(payload: &[u8]) -> Option<Blocks<'_>> {
    let (mut rest, mut promised) = (payload, 0);
    loop {
        let (&first, after) = rest.split_first()?;
        if first & 0x80 == 0 {
            let headers = &payload[..payload.len() - rest.len()];
            let (payloads, newest) = after.split_at_checked(promised)?;
            let newest = Block { payload_type: PayloadType::new(first)?, offset: 0, payload: newest };
            return Some(Blocks { newest, headers, payloads });
        }
        let (header, after) = rest.split_first_chunk::<OLDER>()?;
        promised += length(header);
        rest = after;
    }
}

impl<'a> Blocks<'a> {
    /// Those that were sent before, in the order of the packet, which is the oldest first.
    pub fn older(&self) -> impl Iterator<Item = Block<'a>> {
        let mut payloads = self.payloads;
        self.headers.as_chunks::<OLDER>().0.iter().filter_map(move |header| {
            let (payload, rest) = payloads.split_at_checked(length(header))?;
            payloads = rest;
            let offset = u32::from(u16::from_be_bytes([header[1], header[2]]) >> 2);
            Some(Block { payload_type: PayloadType::new(header[0] & 0x7f)?, offset, payload })
        })
    }
}

fn length(header: &[u8; OLDER]) -> usize {
    usize::from(u16::from_be_bytes([header[2], header[3]]) & 0x3ff)
}

/// Writes a payload and returns its length; `None` for what has no room in it, or in the 14 bits of an offset and the 10 of a length.
pub fn write(older: &[Block<'_>], newest: (PayloadType, &[u8]), out: &mut [u8]) -> Option<usize> {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
        at += bytes.len();
        Some(at)
    };
    for Block { payload_type, offset, payload } in older {
        if *offset >= 1 << 14 || payload.len() >= 1 << 10 {
            return None;
        }
        let [_, high, middle, low] = (*offset << 10 | payload.len() as u32).to_be_bytes();
        put(&[0x80 | payload_type.as_u8(), high, middle, low])?;
    }
    put(&[newest.0.as_u8()])?;
    for Block { payload, .. } in older {
        put(payload)?;
    }
    put(newest.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENT: PayloadType = PayloadType::new(101).unwrap();

    #[test]
    fn the_example_of_a_press_that_is_told_again() {
        // 101 of 160 units ago, 4 bytes; then 8, to the end.
        let bytes = [0x80 | 101, 0x02, 0x80, 0x04, 8, 5, 0x8a, 3, 32, 0xd5, 0xd5];
        let blocks = read(&bytes).unwrap();
        assert_eq!(blocks.newest, Block { payload_type: PayloadType::PCMA, offset: 0, payload: &[0xd5, 0xd5] });
        let older: Vec<_> = blocks.older().collect();
        assert_eq!(older, [Block { payload_type: EVENT, offset: 160, payload: &[5, 0x8a, 3, 32] }]);
        let mut out = [0; 64];
        let length = write(&older, (PayloadType::PCMA, &[0xd5, 0xd5]), &mut out);
        assert_eq!(length.map(|length| &out[..length]), Some(&bytes[..]));
        assert_eq!(write(&older, (PayloadType::PCMA, &[0xd5, 0xd5]), &mut out[..10]), None, "no room");
    }

    #[test]
    fn what_breaks_off_is_none() {
        let whole = [0x80 | 101, 0x02, 0x80, 0x04, 8, 5, 0x8a, 3, 32];
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_none(), "{length} bytes");
        }
        assert_eq!(read(&whole).map(|blocks| blocks.newest.payload.len()), Some(0), "the newest may be empty");
        assert!(read(&[0xff; 40]).is_none(), "headers without an end");
    }

    #[test]
    fn what_does_not_fit_its_header_is_not_written() {
        let mut out = [0; 4_000];
        let long = [0; 1_024];
        let block = |offset, payload| Block { payload_type: EVENT, offset, payload };
        for bad in [block(1 << 14, &long[..1]), block(0, &long[..])] {
            assert_eq!(write(&[bad], (EVENT, &[]), &mut out), None);
        }
        assert!(write(&[block((1 << 14) - 1, &long[1..])], (EVENT, &[]), &mut out).is_some());
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(
            older in proptest::collection::vec((0u8..128, 0u32..1 << 14, proptest::collection::vec(any::<u8>(), 0..200)), 0..6),
            newest in 0u8..128, payload in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let number = |number| PayloadType::new(number).unwrap();
            let older: Vec<_> = older.iter()
                .map(|(pt, offset, payload)| Block { payload_type: number(*pt), offset: *offset, payload }).collect();
            let mut out = [0; 2_000];
            let length = write(&older, (number(newest), &payload), &mut out).unwrap();
            let blocks = read(&out[..length]).unwrap();
            prop_assert_eq!(blocks.older().collect::<Vec<_>>(), older);
            prop_assert_eq!((blocks.newest.payload_type.as_u8(), blocks.newest.payload), (newest, &payload[..]));
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some(blocks) = read(&bytes) {
                let older: Vec<_> = blocks.older().collect();
                let all = older.iter().map(|block| block.payload.len() + OLDER).sum::<usize>();
                prop_assert_eq!(all + 1 + blocks.newest.payload.len(), bytes.len(), "every byte is somebody's");
                let mut out = [0; 100];
                let length = write(&older, (blocks.newest.payload_type, blocks.newest.payload), &mut out).unwrap();
                prop_assert_eq!(&out[..length], &bytes[..]);
            }
        }
    }
}
