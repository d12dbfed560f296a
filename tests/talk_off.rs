//! Talk-off: speech presses no keys.

use std::path::Path;

use trunkline::dsp::tone::keys::Keys;

/// The fixtures of `test-audio`, spoken at several speeds: nobody presses a key. The hour is an ignored test,
/// `the_hour_of_speech`.
#[test]
fn speech_presses_no_keys() {
    let (mut heard, mut seconds) = (String::new(), 0.0);
    for speech in fixtures() {
        for speed in [0.8, 0.9, 1.0, 1.1, 1.25] {
            let speech = faster(&speech, speed);
            seconds += speech.len() as f32 / 8_000.0;
            heard.push_str(&keys_in(&speech));
        }
    }
    assert!(seconds > 150.0, "{seconds} s");
    assert_eq!(heard, "", "in {seconds} s of speech");
}

/// Talk-off, by `make talk-off`. The folder holds WAV files of 8 kHz; each
/// is heard at its own speed and at others, until the hour is full.
#[test]
#[ignore = "an hour of speech, from a folder named by TALK_OFF"]
fn the_hour_of_speech() {
    let folder = std::env::var("TALK_OFF").expect("TALK_OFF names a folder of WAV files");
    let mut all = Vec::new();
    wavs(folder.as_ref(), &mut all);
    assert!(!all.is_empty(), "{folder} has no WAV file");
    let (mut seconds, mut heard) = (0.0, String::new());
    for speed in [1.0, 0.85, 1.15, 0.92, 1.08, 0.78, 1.25, 0.96, 1.04] {
        for speech in &all {
            let speech = faster(speech, speed);
            seconds += speech.len() as f32 / 8_000.0;
            heard.push_str(&keys_in(&speech));
        }
        if seconds >= 3_600.0 {
            break;
        }
    }
    println!(
        "{seconds:.0} s of speech: {} keys ({heard}), {:.2} an hour",
        heard.len(),
        heard.len() as f32 * 3_600.0 / seconds
    );
    assert!(seconds >= 3_600.0, "only {seconds} s of speech: more files are needed");
    assert!(heard.len() as f32 * 3_600.0 / seconds <= 1.0);
}

fn fixtures() -> Vec<Vec<i16>> {
    let mut all = Vec::new();
    wavs(concat!(env!("CARGO_MANIFEST_DIR"), "/test-audio").as_ref(), &mut all);
    all
}

fn wavs(folder: &Path, all: &mut Vec<Vec<i16>>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            wavs(&path, all);
        } else if path.extension().is_some_and(|end| end == "wav")
            && !path.file_stem().is_some_and(|stem| stem.to_string_lossy().starts_with("tone-"))
        {
            let reader = hound::WavReader::open(&path).expect("a WAV file");
            assert_eq!(reader.spec().sample_rate, 8_000, "{}", path.display());
            all.push(reader.into_samples().map(|sample| sample.expect("16 bits")).collect());
        }
    }
}

fn faster(speech: &[i16], by: f32) -> Vec<i16> {
    let length = (speech.len() as f32 / by) as usize;
    let at = |n: usize| {
        let place = n as f32 * by;
        let (whole, part) = (place as usize, place.fract());
        let sample = |n: usize| f32::from(speech.get(n).copied().unwrap_or(0));
        (sample(whole) * (1.0 - part) + sample(whole + 1) * part) as i16
    };
    (0..length).map(at).collect()
}

fn keys_in(speech: &[i16]) -> String {
    let mut keys = Keys::default();
    speech.chunks_exact(160).filter_map(|frame| keys.push(frame.try_into().expect("a frame"))).collect()
}
