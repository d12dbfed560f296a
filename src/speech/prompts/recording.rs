//! Files of recordings, as they are played: 8 or 16 kHz, as the line is, one channel. A name that ends in `.mp3` is MP3's, any other WAV's.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use nanomp3::{Channels, Options};

use crate::codec::coding::Band;
use crate::codec::resample::{Resampler, SampleRate};
use crate::speech::sound::whole_pairs;

/// The longest recording: an hour.
const LONGEST_S: u32 = 3_600;

/// Reads a whole file, for a line.
///
/// # Errors
/// Why it cannot be played, in words.
pub fn read(file: &Path, line: Band) -> Result<Vec<i16>, String> {
    let bytes = open(file)?;
    if is_mp3(file) { unless_it_breaks(|| mp3(bytes, line)) } else { wav(bytes, line) }
}

/// Whether it can be played, as far as its beginning shows.
///
/// # Errors
/// Why not, in words.
pub fn check(file: &Path) -> Result<(), String> {
    let bytes = open(file)?;
    let empty = if is_mp3(file) {
        unless_it_breaks(|| {
            let mut sound = open_mp3(bytes)?.0;
            Ok(sound.read_frame().map_err(|error| error.to_string())?.is_none())
        })?
    } else {
        open_wav(bytes)?.0.duration() == 0
    };
    if empty { Err("it is empty".to_owned()) } else { Ok(()) }
}

fn is_mp3(file: &Path) -> bool {
    file.extension().is_some_and(|end| end.eq_ignore_ascii_case("mp3"))
}

fn open(file: &Path) -> Result<BufReader<File>, String> {
    File::open(file).map(BufReader::new).map_err(|error| error.to_string())
}

fn wav(bytes: impl Read, line: Band) -> Result<Vec<i16>, String> {
    let (mut wav, rate) = open_wav(bytes)?;
    if wav.duration() / rate.hz() > LONGEST_S {
        return Err(too_long());
    }
    let samples: Result<Vec<i16>, _> = wav.samples().collect();
    let mut line = Line::new(rate, line)?;
    line.push(&samples.map_err(|error| error.to_string())?)?;
    line.end()
}

fn open_wav<R: Read>(bytes: R) -> Result<(hound::WavReader<R>, SampleRate), String> {
    let wav = hound::WavReader::new(bytes).map_err(|error| error.to_string())?;
    let spec = wav.spec();
    let pcm = spec.sample_format == hound::SampleFormat::Int && spec.bits_per_sample == 16;
    match SampleRate::from_hz(spec.sample_rate).filter(|_| spec.channels == 1 && pcm) {
        Some(rate) => Ok((wav, rate)),
        None => Err(format!(
            "{} channels, {} bits, {} Hz; it has to be mono, 16-bit PCM, {RATES}",
            spec.channels, spec.bits_per_sample, spec.sample_rate
        )),
    }
}

const RATES: &str = "8, 16, 22.05, 24, 44.1 or 48 kHz";

/// A frame at a time: what is read and decoded never lies in memory as a whole, only what is played.
fn mp3(bytes: impl Read + Seek, line: Band) -> Result<Vec<i16>, String> {
    let (mut mp3, rate, channels) = open_mp3(bytes)?;
    let (mut line, mut middle, mut taken) = (Line::new(rate, line)?, Vec::new(), 0);
    while let Some(frame) = mp3.read_frame().map_err(|error| error.to_string())? {
        let mono = match channels {
            Channels::Mono => frame,
            Channels::Stereo => {
                let sides = frame.as_chunks::<2>().0.iter();
                middle.clear();
                middle.extend(sides.map(|[left, right]| ((i32::from(*left) + i32::from(*right)) / 2) as i16));
                &middle
            }
        };
        taken += mono.len() as u64;
        if taken / u64::from(rate.hz()) > u64::from(LONGEST_S) {
            return Err(too_long());
        }
        line.push(mono)?;
    }
    line.end()
}

/// The decoder panics at some frames that are damaged (found by fuzzing): that is the file's fault, and nobody else's trouble.
fn unless_it_breaks<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode));
    decoded.unwrap_or_else(|_| Err("the MP3 is damaged: make it anew".to_owned()))
}

type Mp3<R> = nanomp3::Reader<R, i16>;

fn open_mp3<R: Read + Seek>(bytes: R) -> Result<(Mp3<R>, SampleRate, Channels), String> {
    // How long it is shows when it is read.
    let mp3 = Mp3::with_options(bytes, Options::default().skip_scan(true)).map_err(|error| error.to_string())?;
    let Some(channels) = mp3.channels() else {
        return Err("there is no MP3 in it".to_owned());
    };
    match SampleRate::from_hz(mp3.sample_rate()) {
        Some(rate) => Ok((mp3, rate, channels)),
        None => Err(format!("{} Hz; it has to be {RATES}", mp3.sample_rate())),
    }
}

fn too_long() -> String {
    format!("longer than {LONGEST_S} s")
}

/// What is played.
struct Line {
    band: Band,
    resampler: Resampler,
    samples: Vec<i16>,
}

impl Line {
    fn new(rate: SampleRate, band: Band) -> Result<Line, String> {
        let resampler = Resampler::new(rate, SampleRate::of(band)).map_err(|error| error.to_string())?;
        Ok(Line { band, resampler, samples: Vec::new() })
    }

    fn push(&mut self, samples: &[i16]) -> Result<(), String> {
        self.resampler.push(samples, &mut self.samples).map_err(|error| error.to_string())
    }

    fn end(mut self) -> Result<Vec<i16>, String> {
        self.resampler.flush(&mut self.samples).map_err(|error| error.to_string())?;
        whole_pairs(self.band, &mut self.samples);
        Ok(self.samples)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::dsp::level::dbfs;

    fn file(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    #[test]
    fn an_mp3_is_as_long_as_what_it_was_made_of_and_of_two_channels_the_middle() {
        // A second of 500 Hz at 44.1 kHz, 12,000 high on the left and a third of that on the right: two thirds in the middle.
        let sound = read(&file("tests/prompts/tone.mp3"), Band::Narrow).expect("plays");
        assert_eq!(sound.len(), 8_000, "the encoder's delay is cut at both ends");
        let expected = 20.0 * (8_000.0f32 / 32_768.0 / 2f32.sqrt()).log10();
        assert!((dbfs(&sound[400..7_600]) - expected).abs() < 0.2, "{} for {expected}", dbfs(&sound[400..7_600]));
        let crossings = sound[400..7_600].windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
        assert!(crossings.abs_diff(900) <= 1, "{crossings}");
        assert_eq!(check(&file("tests/prompts/tone.mp3")), Ok(()));
    }

    #[test]
    fn an_mp3_of_speech_lines_up_with_the_wav_it_was_made_of() {
        let made_of = read(&file("test-audio/caller-friday.wav"), Band::Narrow).expect("plays");
        let sound = read(&file("tests/prompts/friday.mp3"), Band::Narrow).expect("plays");
        assert_eq!(sound.len(), made_of.len());
        let product = |shift: usize| -> f64 {
            let pairs = made_of[shift..].iter().zip(&sound);
            pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let best = (0..40).max_by(|a, b| product(*a).total_cmp(&product(*b)));
        assert_eq!(best, Some(0), "not a sample late");
    }

    #[test]
    fn an_mp3_that_breaks_the_decoder_is_told_as_damaged() {
        let damaged = "the MP3 is damaged: make it anew";
        assert_eq!(read(&file("tests/prompts/damaged.mp3"), Band::Narrow).expect_err("it is"), damaged);
    }

    #[test]
    fn what_cannot_be_played_says_why() {
        let folder = std::env::temp_dir().join(format!("trunkline-recording-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let whole = std::fs::read(file("tests/prompts/tone.mp3")).expect("is there");
        for (name, bytes, why) in [
            ("text.mp3", &b"this is no sound at all"[..], "there is no MP3 in it"),
            ("empty.mp3", &[], "there is no MP3 in it"),
            ("tag.mp3", &whole[..200], "there is no MP3 in it"),
            ("mp3.wav", &whole[..], "no RIFF tag found"),
        ] {
            let path = folder.join(name);
            std::fs::write(&path, bytes).expect("room");
            for told in [read(&path, Band::Narrow).map(|_| ()), check(&path)] {
                let reason = told.expect_err(name);
                assert!(reason.contains(why), "{name}: {reason}");
            }
        }
        std::fs::write(folder.join("CUT.MP3"), &whole[..whole.len() / 2]).expect("room");
        assert!(
            read(&folder.join("CUT.MP3"), Band::Narrow).is_err(),
            "one that is torn is told, and not played in part"
        );
        std::fs::remove_dir_all(&folder).expect("ours");
    }
}
