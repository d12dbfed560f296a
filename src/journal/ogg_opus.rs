//! Ogg Opus (RFC 7845), stereo, 8 kHz: a file that only ever grows, and plays up to its last whole page at any moment.
//!
//! | page | holds | granule position |
//! |---|---|---|
//! | first | `OpusHead`: channels, pre-skip, rate | 0 |
//! | second | `OpusTags`: which encoder it was | 0 |
//! | one a second | 50 packets of 20 ms | what the packets so far hold, pre-skip and all |
//! | last | the rest, filled up with silence | where the sound ends: what is behind that is not played |
//!
//! Granule positions count 48,000 a second, whatever the rate of the sound (section 4). The encoder gives the sound back a little late; a
//! player leaves out so much at the beginning (pre-skip), so what was taken is what is played, to the sample.
//!
//! Pages and their checksums are made by the crate `ogg`, in memory; each goes into the file at once. Nothing that is there is written
//! anew, so there is nothing to bring up to date: a process that is killed leaves all pages that were whole.

use std::io::{self, Write};

use ogg::{PacketWriteEndInfo as End, PacketWriter};

use super::recording::{self, Sound};
use crate::codec::opus::{self, CLOCK, StereoEncoder};

const RATE: u32 = 8_000;
/// Granules of a sample.
const GRANULES: u64 = (CLOCK / RATE) as u64;
/// Samples of a packet: 20 ms.
const FRAME: usize = 160;
const FRAME_GRANULES: u64 = FRAME as u64 * GRANULES;
/// A page is written with each second of sound.
const PAGE: u64 = 50;

/// A file that grows.
pub(super) struct OggOpus<W> {
    file: W,
    encoder: StereoEncoder,
    /// Whole pages that are not in the file yet.
    pages: PacketWriter<'static, Vec<u8>>,
    serial: u32,
    pre_skip: u64,
    /// Samples that are not a packet yet.
    frame: Vec<[i16; 2]>,
    packets: u64,
    /// Up to which granule pages are made, and up to which the file has them.
    paged: u64,
    written: u64,
}

impl<W: Write> OggOpus<W> {
    /// `bitrate`: bits a second, of both channels.
    pub(super) fn new(file: W, bitrate: u32) -> io::Result<OggOpus<W>> {
        let encoder = StereoEncoder::new(bitrate).map_err(|opus::NoMemory| io::ErrorKind::OutOfMemory)?;
        let pre_skip = encoder.lookahead() as u64 * GRANULES;
        let (pages, frame) = (PacketWriter::new(Vec::new()), Vec::with_capacity(FRAME));
        // Files that are put one behind the other are told apart by it.
        let serial = rand::random();
        let mut opus = OggOpus { file, encoder, pages, serial, pre_skip, frame, packets: 0, paged: 0, written: 0 };
        opus.write(head(pre_skip as u16), End::EndPage, 0)?;
        opus.write(tags(), End::EndPage, 0)?;
        Ok(opus)
    }

    /// Makes a packet of the frame.
    fn encode(&mut self, last: Option<u64>) -> io::Result<()> {
        let mut packet = vec![0; opus::LONGEST_FRAME];
        let length = self.encoder.encode(&self.frame, &mut packet);
        if length == 0 {
            return Err(io::Error::other("the Opus encoder gave nothing"));
        }
        packet.truncate(length);
        self.frame.clear();
        self.packets += 1;
        let granule = last.unwrap_or(self.packets * FRAME_GRANULES);
        let end = match last {
            Some(_) => End::EndStream,
            None if self.packets.is_multiple_of(PAGE) => End::EndPage,
            None => End::NormalPacket,
        };
        self.write(packet, end, granule)
    }

    fn write(&mut self, packet: Vec<u8>, end: End, granule: u64) -> io::Result<()> {
        self.pages.write_packet(packet, self.serial, end, granule)?;
        if end != End::NormalPacket {
            self.paged = granule;
        }
        recording::drain(self.pages.inner_mut(), &mut self.file).1?;
        self.written = self.paged;
        Ok(())
    }
}

impl<W: Write + Send> Sound for OggOpus<W> {
    fn push(&mut self, mut part: &[[i16; 2]]) -> io::Result<()> {
        while !part.is_empty() {
            let (some, rest) = part.split_at(part.len().min(FRAME - self.frame.len()));
            self.frame.extend(some);
            part = rest;
            if self.frame.len() == FRAME {
                self.encode(None)?;
            }
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        let end = self.pre_skip + self.packets * FRAME_GRANULES + self.frame.len() as u64 * GRANULES;
        // The last sample comes out of the encoder with the pre-skip behind it: that is in one packet more, or two.
        loop {
            self.frame.resize(FRAME, [0; 2]);
            let last = (self.packets + 1) * FRAME_GRANULES >= end;
            self.encode(last.then_some(end))?;
            if last {
                return Ok(());
            }
        }
    }

    fn moments(&self) -> u64 {
        self.written.saturating_sub(self.pre_skip) / GRANULES
    }
}

/// Section 5.1.
fn head(pre_skip: u16) -> Vec<u8> {
    let mut head = b"OpusHead\x01\x02".to_vec();
    head.extend(pre_skip.to_le_bytes());
    head.extend(RATE.to_le_bytes());
    // As loud as it is; left and right in one stream.
    head.extend([0, 0, 0]);
    head
}

/// Section 5.2: who has encoded it, and no comments.
fn tags() -> Vec<u8> {
    let vendor = opus::library();
    let mut tags = b"OpusTags".to_vec();
    tags.extend((vendor.len() as u32).to_le_bytes());
    tags.extend(vendor.as_bytes());
    tags.extend(0u32.to_le_bytes());
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::opus::{Channels, Decoder};
    use ogg::{Packet, PacketReader};
    use std::io::Cursor;

    const BITRATE: u32 = 32_000;

    /// The caller whistles at 1,000 Hz, the robot hums at 400.
    fn hum(length: usize) -> Vec<[i16; 2]> {
        let tone =
            |n: usize, hz: f64, high: f64| ((n as f64 * hz / 8_000.0 * std::f64::consts::TAU).sin() * high) as i16;
        (0..length).map(|n| [tone(n, 1_000.0, 8_000.0), tone(n, 400.0, 4_000.0)]).collect()
    }

    fn written(samples: &[[i16; 2]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut opus = OggOpus::new(&mut bytes, BITRATE).expect("memory");
        // As the timeline gives them: in parts of any length.
        samples.chunks(333).for_each(|part| opus.push(part).expect("memory"));
        opus.close().expect("memory");
        assert_eq!(opus.moments(), samples.len() as u64);
        bytes
    }

    /// All packets of a file, up to where it is torn.
    fn packets(file: &[u8]) -> Vec<Packet> {
        let mut reader = PacketReader::new(Cursor::new(file));
        std::iter::from_fn(|| reader.read_packet().ok().flatten()).collect()
    }

    /// Where the sound of a file ends by the last whole page, and what a player makes of it.
    fn played(packets: &[Packet]) -> (u64, Vec<[i16; 2]>) {
        let end = packets.last().expect("there are some").absgp_page();
        let mut decoder = Decoder::new(RATE, Channels::Stereo).expect("memory");
        let mut sound = Vec::new();
        for packet in &packets[2..] {
            let mut samples = [0; 2 * FRAME];
            assert_eq!(decoder.decode(&packet.data, &mut samples, false).ok(), Some(FRAME));
            sound.extend_from_slice(samples.as_chunks::<2>().0);
        }
        sound.truncate((end / GRANULES) as usize);
        (end, sound)
    }

    #[test]
    fn what_is_played_is_as_long_as_what_was_taken_to_the_sample() {
        // Around the lengths at which one packet more is needed, and a page more; and no sound at all.
        for length in [0, 1, 107, 108, 109, 159, 160, 161, 7_999, 8_000, 8_001, 24_108, 24_109, 54_321] {
            let file = written(&hum(length));
            let packets = packets(&file);
            let head = &packets[0].data;
            assert_eq!(&head[..10], b"OpusHead\x01\x02", "the version, and two channels");
            let pre_skip = u64::from(u16::from_le_bytes([head[10], head[11]]));
            assert_eq!(pre_skip, 312, "6.5 ms, as the encoder says");
            assert_eq!(
                (&head[12..16], &head[16..]),
                (&8_000u32.to_le_bytes()[..], &[0, 0, 0][..]),
                "rate, gain, mapping"
            );
            let tags = &packets[1].data;
            assert!(tags.starts_with(b"OpusTags") && tags.ends_with(&[0, 0, 0, 0]), "no comments");
            let vendor = u32::from_le_bytes(tags[8..12].try_into().expect("four")) as usize;
            assert!(tags[12..12 + vendor].starts_with(b"libopus") && tags.len() == 16 + vendor);
            assert!(
                packets[0].first_in_stream() && packets[..2].iter().all(|p| p.last_in_page() && p.absgp_page() == 0)
            );
            let (end, sound) = played(&packets);
            assert_eq!(end, pre_skip + length as u64 * 6);
            assert_eq!(sound.len() as u64 - pre_skip / 6, length as u64);
            let sounding = (packets.len() - 2) as u64;
            assert_eq!(sounding, end.div_ceil(960), "no packet too many");
            assert!(packets[2..].iter().rev().skip(1).all(|packet| !packet.last_in_stream()));
            assert!(packets.last().is_some_and(Packet::last_in_stream));
            let pages: Vec<_> = packets[2..].iter().filter(|p| p.last_in_page()).map(Packet::absgp_page).collect();
            let (last, others) = pages.split_last().expect("one at least");
            assert!((1..).zip(others).all(|(n, granule)| *granule == n * 48_000), "{pages:?}");
            assert!(
                *last == end && others.last().is_none_or(|before| before < last),
                "what is cut is of the last page"
            );
        }
    }

    #[test]
    fn both_sides_are_heard_where_they_were_as_loud_as_they_were_and_apart() {
        let mut said = hum(32_000);
        // For a second each, only the one speaks, and only the other.
        said[8_000..16_000].iter_mut().for_each(|sample| sample[1] = 0);
        said[16_000..24_000].iter_mut().for_each(|sample| sample[0] = 0);
        let (_, heard) = played(&packets(&written(&said)));
        let heard = &heard[52..];
        let energy = |sound: &[[i16; 2]], channel: usize| -> f64 {
            sound.iter().map(|sample| f64::from(sample[channel]).powi(2)).sum::<f64>() + 1.0
        };
        let off: Vec<[i16; 2]> = said.iter().zip(heard).map(|(s, h)| [s[0] - h[0], s[1] - h[1]]).collect();
        for (channel, alone) in [(0, 8_400..15_600), (1, 16_400..23_600)] {
            let noise = energy(&said, channel) / energy(&off, channel);
            // A shift of one sample would leave 1.8 of the one and 10 of the other.
            assert!(noise > 30.0, "channel {channel}: {noise}");
            let louder = energy(heard, channel) / energy(&said, channel);
            assert!((0.85..1.15).contains(&louder), "channel {channel}: {louder}");
            let across = energy(&heard[alone.clone()], 1 - channel) / energy(&said[alone], channel);
            assert!(across < 1e-5, "channel {channel} is heard in the other one: {across}");
        }
    }

    /// Takes whole writes, which it counts.
    struct Counted(Vec<usize>);

    impl Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_page_goes_out_in_one_write_with_each_second_of_sound() {
        let mut file = Counted(Vec::new());
        let mut opus = OggOpus::new(&mut file, BITRATE).expect("memory");
        assert_eq!(opus.file.0.len(), 2, "it plays from the beginning, though there is nothing");
        for second in 0..5 {
            assert_eq!(opus.moments(), (second * 8_000u64).saturating_sub(52));
            hum(7_999).chunks(160).for_each(|part| opus.push(part).expect("memory"));
            assert_eq!(opus.file.0.len(), 2 + second as usize);
            opus.push(&[[0; 2]]).expect("memory");
            assert_eq!(opus.file.0.len(), 3 + second as usize);
        }
        opus.close().expect("memory");
        assert_eq!((opus.file.0.len(), opus.moments()), (8, 40_000));
    }

    #[test]
    fn a_torn_file_plays_up_to_its_last_whole_page() {
        let said = hum(30_000);
        let whole = written(&said);
        let all = packets(&whole);
        let (_, sound) = played(&all);
        let starts: Vec<_> =
            whole.windows(4).enumerate().filter(|(_, four)| four == b"OggS").map(|(at, _)| at).collect();
        assert_eq!(starts.len(), 6, "two headers, three seconds, and the rest");
        for (page, start) in (0..).zip(&starts).skip(3) {
            for torn in [*start, start + 1, start + 26, start + 27, start + 60, start + 500] {
                let left = packets(&whole[..torn]);
                let (end, played) = played(&left);
                let seconds = page - 2;
                assert_eq!((end, left.len()), (seconds * 48_000, 2 + seconds as usize * 50), "at {torn}");
                assert!(sound.starts_with(&played));
            }
        }
    }

    #[test]
    fn a_packet_that_fills_a_page_by_itself_is_whole_all_the_same() {
        // Noise at the highest rate that there is: more than 255 segments a second.
        let mut bytes = Vec::new();
        let mut opus = OggOpus::new(&mut bytes, 510_000).expect("memory");
        let mut seed = 1u32;
        let mut noise = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) as i16
        };
        let said: Vec<_> = (0..20_000).map(|_| [noise(), noise()]).collect();
        opus.push(&said).expect("memory");
        opus.close().expect("memory");
        assert_eq!(opus.moments(), 20_000);
        let packets = packets(&bytes);
        assert!(bytes.len() > 100_000, "{}", bytes.len());
        assert_eq!((packets.len(), played(&packets).0), (2 + 126, 312 + 120_000));
    }
}
