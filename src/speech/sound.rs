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

/// Makes the engine's bytes of the line's samples.
pub(super) struct Encoder {
    law: Option<Law>,
    resampler: Resampler,
    resampled: Vec<i16>,
    rate: u32,
    /// Samples that have come, and that have been given.
    taken: u64,
    given: u64,
}

impl Encoder {
    pub(super) fn new(format: Format) -> Result<Encoder, ResampleError> {
        Ok(Encoder {
            law: law(format),
            resampler: Resampler::new(SampleRate::HZ_8000, format.rate())?,
            resampled: Vec::new(),
            rate: format.rate().hz(),
            taken: 0,
            given: 0,
        })
    }

    /// Bytes, and by how much their first sample lies before the first one of `samples`: the resampler keeps up to 30 ms back.
    pub(super) fn encode(&mut self, samples: &[i16]) -> Result<(Ms, Vec<u8>), ResampleError> {
        let before = Ms::of_samples(self.taken, LINE) - Ms::of_samples(self.given, self.rate);
        self.resampled.clear();
        self.resampler.push(samples, &mut self.resampled)?;
        self.taken += samples.len() as u64;
        self.given += self.resampled.len() as u64;
        let bytes = match self.law {
            Some(law) => self.resampled.iter().map(|&sample| law.encode_one(sample)).collect(),
            None => self.resampled.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        };
        Ok((before, bytes))
    }
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
    resampler: Resampler,
    /// Half a sample.
    odd: Option<u8>,
    linear: Vec<i16>,
    /// At the line's rate, not yet handed on.
    ready: Vec<i16>,
}

impl Decoder {
    pub(super) fn new(format: Format) -> Result<Decoder, ResampleError> {
        Ok(Decoder {
            law: law(format),
            resampler: Resampler::new(format.rate(), SampleRate::HZ_8000)?,
            odd: None,
            linear: Vec::new(),
            ready: Vec::new(),
        })
    }

    /// Takes bytes as they came.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), ResampleError> {
        self.linear.clear();
        match self.law {
            Some(law) => self.linear.extend(bytes.iter().map(|&byte| law.decode_one(byte))),
            None => self.linear_pcm(bytes),
        }
        self.resampler.push(&self.linear, &mut self.ready)
    }

    fn linear_pcm(&mut self, mut bytes: &[u8]) {
        if let (Some(low), Some((&high, rest))) = (self.odd, bytes.split_first()) {
            self.linear.push(i16::from_le_bytes([low, high]));
            self.odd = None;
            bytes = rest;
        }
        let (pairs, rest) = bytes.as_chunks::<2>();
        self.linear.extend(pairs.iter().map(|&pair| i16::from_le_bytes(pair)));
        if let [low] = rest {
            self.odd = Some(*low);
        }
    }

    /// The next piece of 20 to 200 ms, if there is as much.
    pub(super) fn piece(&mut self) -> Option<Vec<i16>> {
        (self.ready.len() >= SHORTEST).then(|| self.take())
    }

    /// No more bytes will come: what is left may be shorter than 20 ms.
    pub(super) fn finish(&mut self) -> Result<(), ResampleError> {
        self.resampler.flush(&mut self.ready)
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
        fn pcm_comes_back_however_it_is_cut(samples in prop::collection::vec(any::<i16>(), 0..6000), cut in 1usize..3001) {
            let bytes = Encoder::new(Format::Pcm(SampleRate::HZ_8000)).unwrap().encode(&samples).unwrap().1;
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
            let bytes = Encoder::new(Format::G711(law)).unwrap().encode(&tone).unwrap().1;
            assert_eq!(bytes.len(), tone.len());
            let back = all(Decoder::new(Format::G711(law)).unwrap(), &[&bytes]).concat();
            assert!(back.iter().zip(&tone).all(|(a, b)| (i32::from(*a) - i32::from(*b)).abs() < 300));
        }
    }

    #[test]
    fn every_rate_keeps_time_and_pitch() {
        let tone: Vec<i16> = (0..8000).map(|n| ((f64::from(n) * 0.25).sin() * 8000.0) as i16).collect();
        for rate in [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_24000, SampleRate::HZ_48000] {
            let mut encoder = Encoder::new(Format::Pcm(rate)).unwrap();
            let mut bytes = Vec::new();
            for (n, chunk) in tone.chunks(480).enumerate() {
                let (before, more) = encoder.encode(chunk).unwrap();
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
            assert!(off < Some(100), "{rate}: off by {off:?}");
        }
    }
}
