//! One recording: a stereo WAV file, 8 kHz, that can be played at any moment.

use std::io::{self, Seek, Write};
use std::time::{Duration, Instant};

use super::timeline::Timeline;
use super::wav::{Coding, Wav};
use crate::call::io::RecordedFrame;
use crate::ms::Ms;

/// The header says how long the sound is: it is brought up to date so often, so that a process that is killed leaves a file which
/// plays up to here.
const HEADER_EVERY: Duration = Duration::from_secs(3);

/// Caller left, robot right.
pub(super) struct Recording<W: Write + Seek> {
    wav: Wav<W>,
    timeline: Timeline,
    header_at: Instant,
    fault: Option<String>,
}

impl<W: Write + Seek> Recording<W> {
    pub(super) fn new(file: W, coding: Coding, now: Instant) -> io::Result<Recording<W>> {
        let wav = Wav::new(file, coding)?;
        Ok(Recording { wav, timeline: Timeline::new(), header_at: now + HEADER_EVERY, fault: None })
    }

    /// Takes a frame; says whether it will be in the file. After the first fault none is: a file with holes would be out of step.
    pub(super) fn push(&mut self, frame: &RecordedFrame) -> bool {
        let Recording { wav, timeline, fault, .. } = self;
        if fault.is_none() {
            timeline.push(frame, |part| write(wav, part, fault));
        }
        fault.is_none()
    }

    /// What comes now is of another leg: nobody misses what lies between.
    pub(super) fn seam(&mut self) {
        self.timeline.seam();
    }

    /// Brings the header up to date when it is time.
    pub(super) fn tick(&mut self, now: Instant) {
        if now < self.header_at || self.fault.is_some() {
            return;
        }
        self.header_at = now + HEADER_EVERY;
        if let Err(e) = self.wav.refresh() {
            self.fault = Some(told(&self.wav, &e));
        }
    }

    /// How many frames never came out of the ring, and where the first of them would have been.
    pub(super) fn missing(&self) -> (u64, Ms) {
        self.timeline.missing()
    }

    /// Why nothing is written any more, and since when.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Writes what is left and closes the file; says how long it is.
    pub(super) fn close(self) -> Result<Ms, String> {
        let Recording { mut wav, timeline, mut fault, .. } = self;
        if fault.is_none() {
            timeline.finish(|part| write(&mut wav, part, &mut fault));
        }
        // After a fault it is the header that matters: what is there then plays.
        let closed = wav.refresh().map_err(|e| told(&wav, &e)).map(|()| Ms((wav.moments() / 8) as u32));
        fault.map_or(closed, Err)
    }
}

fn write<W: Write + Seek>(wav: &mut Wav<W>, part: &[[i16; 2]], fault: &mut Option<String>) {
    if fault.is_none()
        && let Err(e) = wav.push(part)
    {
        *fault = Some(told(wav, &e));
    }
}

fn told<W: Write + Seek>(wav: &Wav<W>, error: &io::Error) -> String {
    format!("cut short at {} ms: {error}", wav.moments() / 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::g711::Law;
    use std::io::{Cursor, SeekFrom};

    /// A disk with room for so many bytes.
    struct Small(Cursor<Vec<u8>>, usize);

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // As much as there is room for, then nothing more.
            let room = self.1.saturating_sub(self.0.position() as usize);
            match room.min(bytes.len()) {
                0 if !bytes.is_empty() => Err(io::ErrorKind::StorageFull.into()),
                some => self.0.write(&bytes[..some]),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Small {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    fn frame(n: u32) -> RecordedFrame {
        RecordedFrame {
            robot_at: Ms(n * 20),
            robot: [3; 160],
            caller_at: Some(Ms(n * 20)),
            caller: [4; 160],
            paused: false,
        }
    }

    #[test]
    fn a_full_disk_is_told_once_and_costs_only_the_rest() {
        let mut disk = Small(Cursor::new(Vec::new()), 50_000);
        let now = Instant::now();
        let mut recording = Recording::new(&mut disk, Coding::Pcm16, now).expect("room for the header");
        let taken = (0..200).filter(|&n| recording.push(&frame(n))).count();
        assert!((70..120).contains(&taken), "{taken}");
        recording.tick(now + HEADER_EVERY);
        let fault = recording.close().expect_err("the disk is full");
        assert!(fault.starts_with("cut short at 1561 ms: no storage space"), "{fault}");
        let wav = hound::WavReader::new(Cursor::new(disk.0.into_inner())).expect("it still plays");
        assert_eq!(wav.duration(), (50_000 - 44) / 4, "to the last byte that there was room for");
    }

    #[test]
    fn the_header_is_right_while_the_call_goes_on() {
        for (coding, header, moment) in [(Coding::Pcm16, 44, 4), (Coding::G711(Law::A), 58, 2)] {
            let path = std::env::temp_dir().join(format!("trunkline-header-{moment}-{}.wav", std::process::id()));
            let file = std::fs::File::create(&path).expect("a file");
            let now = Instant::now();
            let mut recording = Recording::new(file, coding, now).expect("a recording");
            // What the header says, which the process that is killed leaves: it is read while the file is open.
            let says = || {
                let bytes = std::fs::read(&path).expect("there");
                let data = u32::from_le_bytes(bytes[header - 4..header].try_into().expect("four"));
                assert_eq!(&bytes[header - 8..header - 4], b"data");
                assert!(bytes.len() - header >= data as usize, "it is there");
                data / moment
            };
            assert_eq!(says(), 0, "it plays from the beginning, though there is nothing");
            for n in 0..200 {
                assert!(recording.push(&frame(n)));
            }
            recording.tick(now + HEADER_EVERY);
            assert_eq!(says(), 4_000 * 8 - 4_000);
            recording.close().expect("closed");
            assert_eq!(says(), 4_000 * 8);
            std::fs::remove_file(&path).expect("removed");
        }
    }
}
