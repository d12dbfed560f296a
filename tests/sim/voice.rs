//! What the phone says: recorded speech, since a detector judges it; and what the robot says: tones.

use std::path::Path;

use trunkline::ms::Ms;

/// A recording of `test-audio`, 8 kHz.
pub fn recorded(name: &str) -> Vec<i16> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-audio").join(format!("{name}.wav"));
    let reader = hound::WavReader::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(reader.spec().sample_rate, 8_000, "{name}");
    reader.into_samples().map(|sample| sample.expect("16-bit samples")).collect()
}

/// The first so many ms of a recording's speech, without the silence before it.
pub fn syllable(name: &str, length: Ms) -> Vec<i16> {
    let all = recorded(name);
    let begin = all.iter().position(|sample| sample.unsigned_abs() > 1_000).unwrap_or(0);
    all[begin..][..length.samples(8_000) as usize].to_vec()
}

/// From the first to the last sample that is loud, in ms from the beginning.
pub fn loud(samples: &[i16]) -> (u32, u32) {
    let is_loud = |sample: &i16| sample.unsigned_abs() > 1_000;
    let first = samples.iter().position(is_loud).unwrap_or(0);
    let last = samples.iter().rposition(is_loud).unwrap_or(0);
    (first as u32 / 8, last as u32 / 8)
}

/// A tone of 500 Hz.
pub fn tone(length: Ms) -> Vec<i16> {
    let wave = |n: u32| (f64::from(n) * 500.0 * std::f64::consts::TAU / 8_000.0).sin();

    (0..length.samples(8_000))
        .map(|n| (8_000.0 * wave(n) + if n % 8 == 0 || n % 8 == 4 { 500.0 } else { 0.0 }) as i16)
        .collect()
}

/// Music as a queue plays it: chords of strings, and a melody over them. To the first detector it is a voice.
pub fn music(length: Ms) -> Vec<i16> {
    let note = |semitones: f64, gain: f64, t: f64| -> f64 {
        let hz = 146.8 * (semitones / 12.0).exp2();
        let wobble = 0.9 * (5.5 * std::f64::consts::TAU * t).sin();
        let harmonics = (1..=8).map(f64::from).take_while(|k| k * hz < 3_400.0);
        gain * harmonics.map(|k| (k * (std::f64::consts::TAU * hz * t + wobble)).sin() / k.powf(1.3)).sum::<f64>()
    };
    const MELODY: [f64; 8] = [12.0, 16.0, 19.0, 17.0, 14.0, 21.0, 24.0, 19.0];
    let sample = |n: u32| {
        let t = f64::from(n) / 8_000.0;
        let (beat, within) = ((t / 0.4) as usize, t % 0.4);
        let bow = (within / 0.06).min(1.0) * ((0.4 - within) / 0.05).clamp(0.0, 1.0);
        let root = [0.0, 5.0, 7.0, 0.0][beat / 4 % 4];
        let chord: f64 = [0.0, 4.0, 7.0].iter().map(|step| note(root + step, 0.3, t)).sum();
        ((chord + bow * note(MELODY[beat % 8], 0.6, t)) * 2_000.0) as i16
    };
    (0..length.samples(8_000)).map(sample).collect()
}

/// The tone of a key.
pub fn key(key: char, length: Ms) -> Vec<i16> {
    let (low, high) = trunkline::dsp::tone::keypad::frequencies(key).expect("a key");
    let mut sound = vec![0; length.samples(8_000) as usize];
    trunkline::dsp::tone::pair::Pair::new([(low, -12.0), (high, -10.0)], sound.len() as u32).add_to(&mut sound);
    sound
}

/// Tones of an exchange: frequencies, and on, off, on, off … in ms, so many times.
pub fn cadence(frequencies: [f32; 2], cadence: &[u32], times: usize) -> Vec<i16> {
    let mut sound = Vec::new();
    for (n, ms) in cadence.iter().cycle().take(cadence.len() * times).enumerate() {
        let mut part = vec![0; Ms(*ms).samples(8_000) as usize];
        if n % 2 == 0 {
            let sines = frequencies.map(|hz| (hz, if hz > 0.0 { -15.0 } else { -100.0 }));
            trunkline::dsp::tone::pair::Pair::new(sines, part.len() as u32).add_to(&mut part);
        }
        sound.extend(part);
    }
    sound
}

/// The keys that are heard as tones.
pub fn keys<'a>(frames: impl IntoIterator<Item = &'a [i16; 160]>) -> String {
    let mut ears = trunkline::dsp::tone::keys::Keys::default();
    frames.into_iter().filter_map(|frame| ears.push(frame)).collect()
}

/// Whether anything is to be heard.
pub fn sounds(samples: &[i16]) -> bool {
    samples.iter().any(|sample| sample.unsigned_abs() > 64)
}
