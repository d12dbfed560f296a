//! What the callers say, and what the robot says: made once, the same for all.

use std::io::Cursor;

use super::Trouble;
use crate::codec::g711::Law;
use crate::command::harness::voice::detected;
use crate::command::harness::wire::FRAME;
use crate::dsp::endpoint::EndpointKnobs;

/// Nobody speaks.
pub(super) const SILENCE: u8 = Law::A.silence();

const INTERRUPTION: &[u8] = include_bytes!("../../../test-audio/caller-stop.wav");
const QUESTION: &[u8] = include_bytes!("../../../test-audio/caller-when-2.wav");

/// Something that a caller says.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) frames: Vec<[u8; FRAME]>,
    /// Frames in which the voice begins and ends, as our own detector hears it on a line without a network: what is measured is then the
    /// way of the words, not the detector's opinion of them.
    pub(super) first: usize,
    pub(super) last: usize,
}

/// What callers say: over the robot's prompt, and when it is silent.
#[derive(Debug)]
pub(super) struct Phrases {
    pub(super) interruption: Words,
    pub(super) question: Words,
}

impl Phrases {
    /// Reads the recordings that are built in.
    pub(super) fn new() -> Result<Phrases, Trouble> {
        Ok(Phrases { interruption: words(INTERRUPTION)?, question: words(QUESTION)? })
    }
}

fn words(wav: &[u8]) -> Result<Words, Trouble> {
    let broken = |what: String| Trouble::Audio(what);
    let reader = hound::WavReader::new(Cursor::new(wav)).map_err(|error| broken(error.to_string()))?;
    let samples: Vec<i16> = reader.into_samples().map_while(Result::ok).collect();
    // Silence after it, so that the detector tells the end.
    let spoken = samples.len() / FRAME;
    let mut frames = vec![[SILENCE; FRAME]; spoken + 50];
    frames.iter_mut().zip(samples.as_chunks::<FRAME>().0).for_each(|(frame, samples)| {
        Law::A.encode(samples, frame);
    });
    let ended = detected(frames.iter().copied(), EndpointKnobs::default());
    let (start, stop) = ended.ok_or_else(|| broken("a phrase in which the detector hears no voice".to_owned()))?;
    let (first, last) = (start.0 as usize / 20, stop.0 as usize / 20 - 1);
    frames.truncate(last.max(spoken - 1) + 1);
    Ok(Words { frames, first, last })
}

/// Whether a payload is the robot's voice: its tone crosses zero, but not in four places a quarter apart.
pub(super) fn is_voice(payload: &[u8]) -> bool {
    let at = |n: usize| payload.get(n).is_some_and(|byte| *byte != SILENCE);
    at(3) || at(43) || at(85) || at(127)
}

/// A second of the robot's voice: 16-bit PCM at 8 kHz, 400 Hz at −12 dBFS.
pub(super) fn voice() -> Vec<u8> {
    let sample = |n: usize| ((std::f32::consts::TAU * 400.0 * n as f32 / 8_000.0).sin() * 8_000.0) as i16;
    (0..8_000).flat_map(|n| sample(n).to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_begin_and_end_where_there_is_voice() {
        let phrases = Phrases::new().expect("they are built in");
        for words in [&phrases.interruption, &phrases.question] {
            assert!(words.first < words.last && words.last < words.frames.len(), "{} {}", words.first, words.last);
            assert!(words.frames[words.first..words.last].iter().filter(|frame| is_voice(&frame[..])).count() > 30);
        }
    }

    #[test]
    fn the_robot_s_voice_is_told_from_silence_wherever_a_frame_begins() {
        let pcm = voice();
        let samples: Vec<i16> = pcm.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
        let mut payload = [0; FRAME];
        for from in 0..200 {
            Law::A.encode(&samples[from..from + FRAME], &mut payload);
            assert!(is_voice(&payload), "from {from}");
        }
        assert!(!is_voice(&[SILENCE; FRAME]));
    }
}
