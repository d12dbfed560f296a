//! Sound between the line's 8 kHz and the engine's format. Pure.

use super::capabilities::Format;
use crate::codec::g711::Law;
use crate::codec::resample::{ResampleError, Resampler, SampleRate};
use crate::ms::Ms;

/// The line's rate in Hz.
pub(super) const LINE: u32 = 8_000;

/// Longest piece that is handed on: 200 ms.
const LONGEST: usize = 1_600;

/// Shortest piece that is handed on before the end: 20 ms.
const SHORTEST: usize = 160;

/// Makes the engine's bytes of the line's.
pub(super) enum Encoder {
    /// At the line's rate: byte by byte.
    Law(Law),
    /// At the line's rate: sample by sample.
    Linear,
    Resampled {
        resampler: Box<Resampler>,
        rate: u32,
        /// Samples that have come, and that have been given.
        taken: u64,
        given: u64,
    },
}

impl Encoder {
    pub(super) fn new(format: Format) -> Result<Encoder, ResampleError> {
        Ok(match format {
            Format::G711(law) => Encoder::Law(law),
            Format::Pcm(SampleRate::HZ_8000) => Encoder::Linear,
            Format::Pcm(rate) => {
                let resampler = Box::new(Resampler::new(SampleRate::HZ_8000, rate)?);
                Encoder::Resampled { resampler, rate: rate.hz(), taken: 0, given: 0 }
            }
        })
    }

    /// Bytes, and by how much their first sample lies before the first one of `sound`: the resampler keeps up to 30 ms back.
    pub(super) fn encode(&mut self, law: Law, sound: &[u8]) -> Result<(Ms, Vec<u8>), ResampleError> {
        match self {
            Encoder::Law(theirs) if *theirs == law => Ok((Ms::ZERO, sound.to_vec())),
            Encoder::Law(theirs) => {
                Ok((Ms::ZERO, sound.iter().map(|&byte| theirs.encode_one(law.decode_one(byte))).collect()))
            }
            Encoder::Linear => Ok((Ms::ZERO, little_endian(sound.iter().map(|&byte| law.decode_one(byte))))),
            Encoder::Resampled { resampler, rate, taken, given } => {
                let before = Ms::of_samples(*taken, LINE) - Ms::of_samples(*given, *rate);
                let mut line = vec![0; sound.len()];
                law.decode(sound, &mut line);
                let mut resampled = Vec::new();
                resampler.push(&line, &mut resampled)?;
                *taken += line.len() as u64;
                *given += resampled.len() as u64;
                Ok((before, little_endian(resampled.into_iter())))
            }
        }
    }
}

fn little_endian(samples: impl ExactSizeIterator<Item = i16>) -> Vec<u8> {
    let mut bytes = vec![0; 2 * samples.len()];
    for (pair, sample) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(samples) {
        *pair = sample.to_le_bytes();
    }
    bytes
}

fn law(format: Format) -> Option<Law> {
    match format {
        Format::G711(law) => Some(law),
        Format::Pcm(_) => None,
    }
}

/// Makes pieces of the line's samples of the engine's bytes, however they are cut.
pub(super) struct Decoder {
    law: Option<Law>,
    /// None at the line's rate.
    resampler: Option<Box<Resampler>>,
    /// Half a sample.
    odd: Option<u8>,
    /// At the line's rate, not yet handed on.
    ready: Vec<i16>,
}

impl Decoder {
    pub(super) fn new(format: Format) -> Result<Decoder, ResampleError> {
        let resampler = match format.rate() {
            SampleRate::HZ_8000 => None,
            rate => Some(Box::new(Resampler::new(rate, SampleRate::HZ_8000)?)),
        };
        Ok(Decoder { law: law(format), resampler, odd: None, ready: Vec::new() })
    }

    /// Takes bytes as they came.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), ResampleError> {
        let Some(resampler) = &mut self.resampler else {
            decode(self.law, &mut self.odd, bytes, &mut self.ready);
            return Ok(());
        };
        let mut linear = Vec::new();
        decode(self.law, &mut self.odd, bytes, &mut linear);
        resampler.push(&linear, &mut self.ready)
    }

    /// The next piece of 20 to 200 ms, if there is as much.
    pub(super) fn piece(&mut self) -> Option<Vec<i16>> {
        (self.ready.len() >= SHORTEST).then(|| self.take())
    }

    /// No more bytes will come: what is left may be shorter than 20 ms.
    pub(super) fn finish(&mut self) -> Result<(), ResampleError> {
        match &mut self.resampler {
            Some(resampler) => resampler.flush(&mut self.ready),
            None => Ok(()),
        }
    }

    /// After [`finish`](Self::finish): the pieces that are left.
    pub(super) fn rest(&mut self) -> Option<Vec<i16>> {
        (!self.ready.is_empty()).then(|| self.take())
    }

    /// Whether the bytes ended in the middle of a sample.
    pub(super) fn is_torn(&self) -> bool {
        self.odd.is_some()
    }

    fn take(&mut self) -> Vec<i16> {
        if self.ready.len() <= LONGEST {
            return std::mem::take(&mut self.ready);
        }
        let rest = self.ready.split_off(LONGEST);
        std::mem::replace(&mut self.ready, rest)
    }
}

/// Adds the samples of some bytes, of which the first may be the second half of one and the last the first half.
fn decode(law: Option<Law>, odd: &mut Option<u8>, mut bytes: &[u8], out: &mut Vec<i16>) {
    if let Some(law) = law {
        out.extend(bytes.iter().map(|&byte| law.decode_one(byte)));
        return;
    }
    if let (Some(low), Some((&high, rest))) = (*odd, bytes.split_first()) {
        out.push(i16::from_le_bytes([low, high]));
        *odd = None;
        bytes = rest;
    }
    let (pairs, rest) = bytes.as_chunks::<2>();
    out.extend(pairs.iter().map(|&pair| i16::from_le_bytes(pair)));
    if let [low] = rest {
        *odd = Some(*low);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(mut decoder: Decoder, chunks: &[&[u8]]) -> Vec<Vec<i16>> {
        let mut pieces = Vec::new();
        for chunk in chunks {
            decoder.push(chunk).unwrap();
            pieces.extend(std::iter::from_fn(|| decoder.piece()));
        }
        decoder.finish().unwrap();
        pieces.extend(std::iter::from_fn(|| decoder.rest()));
        pieces
    }

    proptest! {
        #[test]
        fn pcm_comes_back_however_it_is_cut(sound in prop::collection::vec(any::<u8>(), 0..6000), cut in 1usize..3001) {
            let bytes = Encoder::new(Format::Pcm(SampleRate::HZ_8000)).unwrap().encode(Law::A, &sound).unwrap().1;
            let samples: Vec<i16> = sound.iter().map(|&byte| Law::A.decode_one(byte)).collect();
            let chunks: Vec<&[u8]> = bytes.chunks(cut).collect();
            let pieces = all(Decoder::new(Format::Pcm(SampleRate::HZ_8000)).unwrap(), &chunks);
            for (n, piece) in pieces.iter().enumerate() {
                prop_assert!(piece.len() <= LONGEST);
                prop_assert!(piece.len() >= SHORTEST || n + 1 == pieces.len());
            }
            prop_assert_eq!(pieces.concat(), samples);
        }
    }

    #[test]
    fn a_torn_sample_is_noticed() {
        let mut decoder = Decoder::new(Format::Pcm(SampleRate::HZ_8000)).unwrap();
        decoder.push(&[1, 0, 2]).unwrap();
        assert!(decoder.is_torn());
        decoder.push(&[0]).unwrap();
        assert!(!decoder.is_torn());
        decoder.finish().unwrap();
        assert_eq!(decoder.rest(), Some(vec![1, 2]));
    }

    #[test]
    fn g711_is_one_byte_a_sample() {
        let tone: Vec<i16> = (0..800).map(|n| ((f64::from(n) * 0.3).sin() * 8000.0) as i16).collect();
        for law in [Law::A, Law::Mu] {
            for line in [Law::A, Law::Mu] {
                let sound: Vec<u8> = tone.iter().map(|&sample| line.encode_one(sample)).collect();
                let bytes = Encoder::new(Format::G711(law)).unwrap().encode(line, &sound).unwrap().1;
                assert_eq!(bytes.len(), tone.len());
                assert!(law != line || bytes == sound, "what is coded alike is not touched");
                let back = all(Decoder::new(Format::G711(law)).unwrap(), &[&bytes]).concat();
                assert!(back.iter().zip(&tone).all(|(a, b)| (i32::from(*a) - i32::from(*b)).abs() < 600));
            }
        }
    }

    #[test]
    fn every_rate_keeps_time_and_pitch() {
        let tone: Vec<i16> = (0..8000).map(|n| ((f64::from(n) * 0.25).sin() * 8000.0) as i16).collect();
        for rate in [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_24000, SampleRate::HZ_48000] {
            let mut encoder = Encoder::new(Format::Pcm(rate)).unwrap();
            let mut bytes = Vec::new();
            for (n, chunk) in tone.chunks(480).enumerate() {
                let sound: Vec<u8> = chunk.iter().map(|&sample| Law::Mu.encode_one(sample)).collect();
                let (before, more) = encoder.encode(Law::Mu, &sound).unwrap();
                let at = Ms(60 * n as u32) - before;
                let has = Ms::of_samples(bytes.len() as u64 / 2, rate.hz());
                assert!(at.0.abs_diff(has.0) <= 1, "{rate}: {at} is said of {has}");
                assert!(before <= Ms(30), "{rate}: {before} is kept back");
                bytes.extend(more);
            }
            let back = all(Decoder::new(Format::Pcm(rate)).unwrap(), &[&bytes]).concat();
            assert!(tone.len() - back.len() <= 8 * 30, "{rate}: {} samples of {}", back.len(), tone.len());
            // The ends are not looked at: there the resampler's filter sees silence beside the tone.
            let inner = 400..back.len() - 400;
            let off = inner.map(|n| (i32::from(back[n]) - i32::from(tone[n])).abs()).max();
            // µ-law's steps are 256 at the tone's peaks.
            assert!(off < Some(228), "{rate}: off by {off:?}");
        }
    }
}
