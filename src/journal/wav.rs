//! WAV (RIFF), stereo, 8 kHz, as 16-bit PCM or G.711: a file that plays at any moment of its growth.
//!
//! | chunk | PCM16, format tag 1 | A-law, 6, and µ-law, 7 |
//! |---|---|---|
//! | `fmt ` | 16 bytes | 18: an extension of no length |
//! | `fact` | none | samples of a channel, which every form but PCM has to say |
//! | `data` | 4 bytes a moment | 2 |
//!
//! The header says how much sound there is, and is written anew now and then. `hound` reads what we write, but does not write it: it knows
//! no G.711, and after a fault of the disk it brings the header up to date no more.

use std::io::{self, Seek, SeekFrom, Write};

use super::recording::{self, Sound};
use crate::codec::g711::Law;

/// How samples are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Pcm16,
    G711(Law),
}

impl Coding {
    /// Bytes of both channels' sample.
    fn moment(self) -> u32 {
        match self {
            Coding::Pcm16 => 4,
            Coding::G711(_) => 2,
        }
    }

    fn header_len(self) -> u32 {
        match self {
            Coding::Pcm16 => 44,
            Coding::G711(_) => 58,
        }
    }
}

const RATE: u32 = 8_000;

/// A quarter of a second of PCM: four writes a second and call.
const BUFFER: usize = 8 * 1024;

/// WAV counts its bytes in 32 bits; a little is left for the header. 37 hours of PCM, 74 of G.711.
const LONGEST: u64 = u32::MAX as u64 - 1_024;

/// A file that grows.
pub(super) struct Wav<W> {
    file: W,
    coding: Coding,
    buffer: Vec<u8>,
    /// Bytes of sound that are in the file.
    written: u64,
}

impl<W: Write + Seek> Wav<W> {
    pub(super) fn new(file: W, coding: Coding) -> io::Result<Wav<W>> {
        let mut wav = Wav { file, coding, buffer: Vec::with_capacity(BUFFER), written: 0 };
        wav.write_header()?;
        Ok(wav)
    }

    /// Brings what was taken into the file.
    fn drain(&mut self) -> io::Result<()> {
        let (done, drained) = recording::drain(&mut self.buffer, &mut self.file);
        self.written += done;
        drained
    }

    fn write_header(&mut self) -> io::Result<()> {
        let moment = self.coding.moment();
        // Below `LONGEST`; of a moment that is half there nothing counts.
        let data = self.written as u32 / moment * moment;
        let (tag, extension): (u16, &[u8]) = match self.coding {
            Coding::Pcm16 => (1, &[]),
            Coding::G711(Law::A) => (6, &[0, 0]),
            Coding::G711(Law::Mu) => (7, &[0, 0]),
        };
        let mut header = Vec::with_capacity(58);
        header.extend(b"RIFF");
        header.extend((self.coding.header_len() - 8 + data).to_le_bytes());
        header.extend(b"WAVEfmt ");
        header.extend((16 + extension.len() as u32).to_le_bytes());
        header.extend(tag.to_le_bytes());
        header.extend(2u16.to_le_bytes());
        header.extend(RATE.to_le_bytes());
        header.extend((RATE * moment).to_le_bytes());
        header.extend((moment as u16).to_le_bytes());
        header.extend((moment as u16 * 4).to_le_bytes());
        header.extend(extension);
        if !extension.is_empty() {
            header.extend(b"fact");
            header.extend(4u32.to_le_bytes());
            header.extend((data / moment).to_le_bytes());
        }
        header.extend(b"data");
        header.extend(data.to_le_bytes());
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header)?;
        self.file.seek(SeekFrom::Start(u64::from(self.coding.header_len()) + self.written))?;
        self.file.flush()
    }
}

impl<W: Write + Seek + Send> Sound for Wav<W> {
    fn push(&mut self, part: &[[i16; 2]]) -> io::Result<()> {
        for some in part.chunks(BUFFER / 4) {
            let bytes = some.len() * self.coding.moment() as usize;
            if self.written + (self.buffer.len() + bytes) as u64 > LONGEST {
                return Err(io::Error::other("it is as long as a WAV file can be"));
            }
            if self.buffer.len() + bytes > BUFFER {
                self.drain()?;
            }
            let samples = some.as_flattened();
            match self.coding {
                Coding::Pcm16 => self.buffer.extend(samples.iter().flat_map(|sample| sample.to_le_bytes())),
                Coding::G711(law) => self.buffer.extend(samples.iter().map(|sample| law.encode_one(*sample))),
            }
        }
        Ok(())
    }

    fn refresh(&mut self) -> io::Result<()> {
        // The header is written even when the sound cannot be: what is there then plays.
        let drained = self.drain();
        let header = self.write_header();
        drained.and(header)
    }

    fn close(&mut self) -> io::Result<()> {
        self.refresh()
    }

    fn moments(&self) -> u64 {
        self.written / u64::from(self.coding.moment())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn wav(coding: Coding, samples: &[[i16; 2]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut wav = Wav::new(Cursor::new(&mut bytes), coding).expect("memory");
        wav.push(samples).expect("memory");
        wav.refresh().expect("memory");
        assert_eq!(wav.moments(), samples.len() as u64);
        bytes
    }

    fn samples() -> Vec<[i16; 2]> {
        (0..9_000).map(|n| [n * 3, -n]).collect()
    }

    #[test]
    fn pcm_is_what_hound_reads() {
        let written = wav(Coding::Pcm16, &samples());
        let read = hound::WavReader::new(Cursor::new(written)).expect("a WAV file");
        let wanted = hound::WavSpec {
            channels: 2,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        assert_eq!(read.spec(), wanted);
        let read: Vec<i16> = read.into_samples().map(|sample| sample.expect("whole")).collect();
        assert_eq!(read, samples().as_flattened());
    }

    #[test]
    fn g711_says_what_it_is_and_takes_half_the_room() {
        for (law, tag) in [(Law::A, 6), (Law::Mu, 7)] {
            let written = wav(Coding::G711(law), &samples());
            let at = |at: usize| u32::from_le_bytes(written[at..at + 4].try_into().expect("four"));
            let size = 9_000 * 2;
            assert_eq!(written.len(), 58 + size);
            assert_eq!((&written[..4], at(4), &written[8..16]), (&b"RIFF"[..], 50 + size as u32, &b"WAVEfmt "[..]));
            assert_eq!((at(16), written[20], written[22]), (18, tag, 2), "size, form, channels");
            assert_eq!((at(24), at(28), at(32), at(36) & 0xffff), (8_000, 16_000, 0x0008_0002, 0), "rates, widths");
            assert_eq!((&written[38..42], at(42), at(46)), (&b"fact"[..], 4, 9_000));
            assert_eq!((&written[50..54], at(54)), (&b"data"[..], size as u32));
            let mut decoded = vec![0; 2 * 9_000];
            law.decode(&written[58..], &mut decoded);
            for (heard, said) in decoded.iter().zip(samples().as_flattened()) {
                let off = (i32::from(*heard) - i32::from(*said)).abs();
                assert!(off <= 16.max(i32::from(*said).abs() / 16), "{said}: {heard}");
            }
        }
    }
}
