//! Ogg Opus as somebody else reads it: the tools and the library of Xiph, from Debian's `opus-tools`.

use std::path::Path;
use std::process::Command;

/// What a player makes of a file: 48 kHz, left and right.
pub fn played(path: &Path) -> Vec<[i16; 2]> {
    let decoder =
        Command::new("opusdec").args(["--quiet", "--rate", "48000", "--no-dither"]).arg(path).arg("-").output();
    let decoded = decoder.unwrap_or_else(|error| panic!("opusdec: {error}; scripts/setup test installs it"));
    let faults = String::from_utf8_lossy(&decoded.stderr);
    assert!(decoded.status.success(), "{}: {faults}", path.display());
    let samples: Vec<i16> = decoded.stdout.as_chunks().0.iter().map(|two| i16::from_ne_bytes(*two)).collect();
    samples.as_chunks::<2>().0.to_vec()
}

/// What is wrong with a file in the eyes of a checker: its warnings and errors, line by line.
pub fn faults(path: &Path) -> Vec<String> {
    let checker = Command::new("opusinfo").arg(path).output();
    let told = checker.unwrap_or_else(|error| panic!("opusinfo: {error}; scripts/setup test installs it"));
    let text = [told.stdout, told.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(text.contains("Opus stream 1"), "{text}");
    text.lines()
        .filter(|line| line.to_lowercase().contains("warning") || line.contains("ERROR"))
        .map(String::from)
        .collect()
}
