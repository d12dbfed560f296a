//! One recording: a stereo WAV file, 16 bit, 8 kHz, that can be played at any moment.

use std::io::{Seek, Write};
use std::time::{Duration, Instant};

use hound::{SampleFormat, WavSpec, WavWriter};

use super::timeline::Timeline;
use crate::call::io::RecordedFrame;

/// The header says how long the sound is: it is brought up to date so often, so that a process that is killed leaves a file which
/// plays up to here.
const HEADER_EVERY: Duration = Duration::from_secs(3);

/// WAV counts its bytes in 32 bits; a little is left for the header. 37 hours.
const LONGEST_BYTES: u64 = u32::MAX as u64 - 1_024;

/// Caller left, robot right.
pub(super) struct Recording<W: Write + Seek> {
    wav: WavWriter<W>,
    timeline: Timeline,
    header_at: Instant,
    fault: Option<String>,
}

impl<W: Write + Seek> Recording<W> {
    pub(super) fn new(file: W, now: Instant) -> hound::Result<Recording<W>> {
        let spec = WavSpec { channels: 2, sample_rate: 8_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut wav = WavWriter::new(file, spec)?;
        wav.flush()?;
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

    /// Brings the header up to date when it is time.
    pub(super) fn tick(&mut self, now: Instant) {
        if now < self.header_at || self.fault.is_some() {
            return;
        }
        self.header_at = now + HEADER_EVERY;
        if let Err(e) = self.wav.flush() {
            self.fault = Some(e.to_string());
        }
    }

    /// How many frames never came out of the ring.
    pub(super) fn missing(&self) -> u64 {
        self.timeline.missing()
    }

    /// Why nothing is written any more.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Writes what is left and closes the file.
    pub(super) fn close(self) -> Result<(), String> {
        let Recording { mut wav, timeline, mut fault, .. } = self;
        if fault.is_none() {
            timeline.finish(|part| write(&mut wav, part, &mut fault));
        }
        // The header is written even after a fault: what is there then plays.
        let closed = wav.finalize().map_err(|e| e.to_string());
        fault.map_or(closed, Err)
    }
}

fn write<W: Write + Seek>(wav: &mut WavWriter<W>, part: &[[i16; 2]], fault: &mut Option<String>) {
    if fault.is_some() {
        return;
    }
    let bytes = part.len() as u64 * 4;
    if u64::from(wav.len()) * 2 + bytes > LONGEST_BYTES {
        *fault = Some("it is as long as a WAV file can be".to_owned());
        return;
    }
    // Below LONGEST_BYTES, as just seen.
    let mut block = wav.get_i16_writer(part.len() as u32 * 2);
    for sample in part.iter().flatten() {
        block.write_sample(*sample);
    }
    if let Err(e) = block.flush() {
        *fault = Some(e.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ms::Ms;
    use std::io::{self, Cursor, SeekFrom};

    /// A disk with room for so many bytes.
    struct Small(Cursor<Vec<u8>>, usize);

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.position() as usize + bytes.len() > self.1 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write(bytes)
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
        let mut recording = Recording::new(&mut disk, now).expect("room for the header");
        let taken = (0..200).filter(|&n| recording.push(&frame(n))).count();
        assert!((70..110).contains(&taken), "{taken}");
        recording.tick(now + HEADER_EVERY);
        let fault = recording.close().expect_err("the disk is full");
        assert!(fault.contains("storage"), "{fault}");
        let wav = hound::WavReader::new(Cursor::new(disk.0.into_inner())).expect("it still plays");
        assert!(wav.duration() > 10_000 && wav.duration() < 12_500, "{}", wav.duration());
    }

    #[test]
    fn the_header_is_right_while_the_call_goes_on() {
        let path = std::env::temp_dir().join(format!("trunkline-header-{}.wav", std::process::id()));
        let file = std::fs::File::create(&path).expect("a file");
        let now = Instant::now();
        let mut recording = Recording::new(io::BufWriter::new(file), now).expect("a recording");
        for n in 0..200 {
            assert!(recording.push(&frame(n)));
        }
        recording.tick(now + HEADER_EVERY);
        // As a killed process leaves it: read while it is open.
        let wav = hound::WavReader::open(&path).expect("it plays");
        assert_eq!(wav.duration(), 4_000 * 8 - 4_000);
        recording.close().expect("closed");
        assert_eq!(hound::WavReader::open(&path).expect("it plays").duration(), 4_000 * 8);
        std::fs::remove_file(&path).expect("removed");
    }
}
