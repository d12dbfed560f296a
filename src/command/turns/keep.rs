//! Both sides of a trial, to be listened to: the caller left, the robot right.

use std::path::Path;

use super::Tried;
use super::phones::Seen;
use super::plan::Row;

/// Of each row these are kept, and every one that counts.
const FIRST: u32 = 2;

/// How sound is written.
pub(super) fn spec(channels: u16) -> hound::WavSpec {
    hound::WavSpec { channels, sample_rate: 8_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int }
}

pub(super) fn keep(folder: &Path, row: &Row, result: &Tried, seen: &Seen) -> Result<(), String> {
    if result.number >= FIRST && !result.counted && result.broken.is_none() {
        return Ok(());
    }
    let safe = |text: &str| -> String {
        text.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect()
    };
    let came = match (&result.broken, result.counted) {
        (Some(_), _) => "broken",
        (None, true) => "counts",
        (None, false) => "fine",
    };
    let knobs = format!("{}-{}", row.policy, row.knobs.endpoint_ms.unwrap_or_default());
    let row = safe(&format!("{:?}-{}-{knobs}", row.task, row.name));
    let path = folder.join(format!("{row}-{}-{}-{came}.wav", result.number, safe(&result.name)));
    let write = || -> Result<(), hound::Error> {
        let mut wav = hound::WavWriter::create(&path, spec(2))?;
        let at = |side: &[i16], n: usize| side.get(n).copied().unwrap_or(0);
        for n in 0..seen.said.len().max(seen.robot.len()) {
            wav.write_sample(at(&seen.said, n))?;
            wav.write_sample(at(&seen.robot, n))?;
        }
        wav.finalize()
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}
