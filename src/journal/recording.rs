//! One recording: a stereo file of 8 kHz that can be played at any moment, in whatever form it is written.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

use super::timeline::Timeline;
use crate::call::io::RecordedFrame;
use crate::ms::Ms;

/// A file is brought up to date so often, so that a process that is killed leaves one which plays up to here.
const REFRESH_EVERY: Duration = Duration::from_secs(3);

/// A file of sound that grows. After a fault nothing more is given to it; it is only closed.
pub(super) trait Sound: Send {
    /// Takes samples, left and right.
    fn push(&mut self, part: &[[i16; 2]]) -> io::Result<()>;

    /// Makes a file of which somebody has to be told how long it is play up to here.
    fn refresh(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Brings all that was taken into the file, and ends it.
    fn close(&mut self) -> io::Result<()>;

    /// Samples of a channel that are in the file.
    fn moments(&self) -> u64;
}

/// Caller left, robot right.
pub(super) struct Recording<'a> {
    sound: Box<dyn Sound + 'a>,
    timeline: Timeline,
    refresh_at: Instant,
    fault: Option<String>,
}

impl<'a> Recording<'a> {
    pub(super) fn new(sound: Box<dyn Sound + 'a>, now: Instant) -> Recording<'a> {
        Recording { sound, timeline: Timeline::new(), refresh_at: now + REFRESH_EVERY, fault: None }
    }

    /// Takes a frame; says whether it will be in the file. After the first fault none is: a file with holes would be out of step.
    pub(super) fn push(&mut self, frame: &RecordedFrame) -> bool {
        let Recording { sound, timeline, fault, .. } = self;
        if fault.is_none() {
            timeline.push(frame, |part| write(&mut **sound, part, fault));
        }
        fault.is_none()
    }

    /// What comes now is of another leg: nobody misses what lies between.
    pub(super) fn seam(&mut self) {
        self.timeline.seam();
    }

    /// Brings the file up to date when it is time.
    pub(super) fn tick(&mut self, now: Instant) {
        if now < self.refresh_at || self.fault.is_some() {
            return;
        }
        self.refresh_at = now + REFRESH_EVERY;
        if let Err(e) = self.sound.refresh() {
            self.fault = Some(told(&*self.sound, &e));
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
        let Recording { mut sound, timeline, mut fault, .. } = self;
        if fault.is_none() {
            timeline.finish(|part| write(&mut *sound, part, &mut fault));
        }
        // After a fault too: what is there then plays.
        let closed = sound.close().map_err(|e| told(&*sound, &e)).map(|()| Ms((sound.moments() / 8) as u32));
        fault.map_or(closed, Err)
    }
}

/// Empties a buffer into a file. Of what cannot be written it is known how much is there all the same: that much has left the buffer.
pub(super) fn drain(buffer: &mut Vec<u8>, file: &mut impl Write) -> (u64, io::Result<()>) {
    let mut done = 0;
    let drained = loop {
        match buffer.get(done..).filter(|rest| !rest.is_empty()).map(|rest| file.write(rest)) {
            None => break Ok(()),
            Some(Ok(0)) => break Err(ErrorKind::WriteZero.into()),
            Some(Ok(n)) => done += n,
            Some(Err(e)) if e.kind() == ErrorKind::Interrupted => {}
            Some(Err(e)) => break Err(e),
        }
    };
    buffer.drain(..done);
    (done as u64, drained)
}

fn write(sound: &mut (impl Sound + ?Sized), part: &[[i16; 2]], fault: &mut Option<String>) {
    if fault.is_none()
        && let Err(e) = sound.push(part)
    {
        *fault = Some(told(sound, &e));
    }
}

fn told(sound: &(impl Sound + ?Sized), error: &io::Error) -> String {
    format!("cut short at {} ms: {error}", sound.moments() / 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::g711::Law;
    use crate::journal::ogg_opus::OggOpus;
    use crate::journal::wav::{Coding, Wav};
    use std::io::{Cursor, Seek, SeekFrom};

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
        let wav = Wav::new(&mut disk, Coding::Pcm16).expect("room for the header");
        let mut recording = Recording::new(Box::new(wav), now);
        let taken = (0..200).filter(|&n| recording.push(&frame(n))).count();
        assert!((70..120).contains(&taken), "{taken}");
        recording.tick(now + REFRESH_EVERY);
        let fault = recording.close().expect_err("the disk is full");
        assert!(fault.starts_with("cut short at 1561 ms: no storage space"), "{fault}");
        let wav = hound::WavReader::new(Cursor::new(disk.0.into_inner())).expect("it still plays");
        assert_eq!(wav.duration(), (50_000 - 44) / 4, "to the last byte that there was room for");
    }

    #[test]
    fn in_opus_too_and_there_the_last_page_is_torn() {
        let mut disk = Small(Cursor::new(Vec::new()), 10_000);
        let now = Instant::now();
        let opus = OggOpus::new(&mut disk, 32_000).expect("room for the headers");
        let mut recording = Recording::new(Box::new(opus), now);
        let noise = |n: u32| RecordedFrame {
            robot: std::array::from_fn(|i| (n * 160 + i as u32).wrapping_mul(40_503).wrapping_mul(n | 1) as i16),
            ..frame(n)
        };
        let taken = (0..1_000).filter(|&n| recording.push(&noise(n))).count() as u32;
        recording.tick(now + REFRESH_EVERY);
        let fault = recording.close().expect_err("the disk is full");
        let mut reader = ogg::PacketReader::new(Cursor::new(disk.0.into_inner()));
        let end = std::iter::from_fn(|| reader.read_packet().ok().flatten()).last().expect("it plays").absgp_page();
        assert!(end >= 48_000 && end.is_multiple_of(48_000), "whole seconds: {end}");
        let plays = (end - 312) / 48;
        assert!(fault.starts_with(&format!("cut short at {plays} ms: no storage space")), "{plays} ms: {fault}");
        // The page that found no room, and what is not settled yet.
        assert!((plays as u32 + 1_000..plays as u32 + 1_700).contains(&(taken * 20)), "{taken} frames of {plays} ms");
    }

    #[test]
    fn the_header_is_right_while_the_call_goes_on() {
        for (coding, header, moment) in [(Coding::Pcm16, 44, 4), (Coding::G711(Law::A), 58, 2)] {
            let path = std::env::temp_dir().join(format!("trunkline-header-{moment}-{}.wav", std::process::id()));
            let file = std::fs::File::create(&path).expect("a file");
            let now = Instant::now();
            let wav = Wav::new(file, coding).expect("a recording");
            let mut recording = Recording::new(Box::new(wav), now);
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
            recording.tick(now + REFRESH_EVERY);
            assert_eq!(says(), 4_000 * 8 - 4_000);
            recording.close().expect("closed");
            assert_eq!(says(), 4_000 * 8);
            std::fs::remove_file(&path).expect("removed");
        }
    }
}
