//! Sound between the line's 8 kHz and the engine's format. Pure.

use super::capabilities::Format;
use crate::codec::g711::Law;
use crate::codec::resample::Resampler;

/// The line's rate in Hz.
pub(super) const LINE: u32 = 8_000;

/// Longest piece that is handed on: 200 ms.
const LONGEST: usize = 1_600;

/// Shortest piece that is handed on before the end: 20 ms.
const SHORTEST: usize = 160;

fn resampler(a: u32, b: u32) -> Option<Resampler> {
    use crate::codec::resample::SampleRate as R;
    if a == b { None } else { Resampler::new(R::from_hz(a)?, R::from_hz(b)?).ok() }
}
/// Makes the engine's bytes of the line's samples.
pub(super) struct Encoder {
    law: Option<Law>,
    resampler: Option<Resampler>,
    resampled: Vec<i16>,
}

impl Encoder {
    pub(super) fn new(format: Format) -> Encoder {
        Encoder {
            law: if let Format::G711(law) = format { Some(law) } else { None },
            resampler: resampler(LINE, format.rate()),
            resampled: Vec::new(),
        }
    }

    /// The resampler may keep a few milliseconds back until more comes.
    pub(super) fn encode(&mut self, samples: &[i16]) -> Vec<u8> {
        let samples = match &mut self.resampler {
            Some(resampler) => {
                self.resampled.clear();
                drop(resampler.push(samples, &mut self.resampled));
                &self.resampled
            }
            None => samples,
        };
        match self.law {
            Some(law) => samples.iter().map(|&s| law.encode_one(s)).collect(),
            None => samples.iter().flat_map(|s| s.to_le_bytes()).collect(),
        }
    }
}

/// Makes pieces of the line's samples of the engine's bytes, however they are cut.
pub(super) struct Decoder {
    law: Option<Law>,
    resampler: Option<Resampler>,
    /// Half a sample.
    odd: Option<u8>,
    linear: Vec<i16>,
    /// At the line's rate, not yet handed on.
    ready: Vec<i16>,
}

impl Decoder {
    pub(super) fn new(format: Format) -> Decoder {
        Decoder {
            law: if let Format::G711(law) = format { Some(law) } else { None },
            resampler: resampler(format.rate(), LINE),
            odd: None,
            linear: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// Takes bytes as they came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.linear.clear();
        match self.law {
            Some(law) => self.linear.extend(bytes.iter().map(|&byte| law.decode_one(byte))),
            None => self.linear_pcm(bytes),
        }
        match &mut self.resampler {
            Some(resampler) => drop(resampler.push(&self.linear, &mut self.ready)),
            None => self.ready.extend_from_slice(&self.linear),
        }
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
    pub(super) fn finish(&mut self) {
        if let Some(mut resampler) = self.resampler.take() {
            drop(resampler.flush(&mut self.ready));
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(mut decoder: Decoder, chunks: &[&[u8]]) -> Vec<Vec<i16>> {
        let mut pieces = Vec::new();
        for chunk in chunks {
            decoder.push(chunk);
            pieces.extend(std::iter::from_fn(|| decoder.piece()));
        }
        decoder.finish();
        pieces.extend(std::iter::from_fn(|| decoder.rest()));
        pieces
    }

    proptest! {
        #[test]
        fn pcm_comes_back_however_it_is_cut(samples in prop::collection::vec(any::<i16>(), 0..6000), cut in 1usize..3001) {
            let bytes = Encoder::new(Format::Pcm(8_000)).encode(&samples);
            let chunks: Vec<&[u8]> = bytes.chunks(cut).collect();
            let pieces = all(Decoder::new(Format::Pcm(8_000)), &chunks);
            for (n, piece) in pieces.iter().enumerate() {
                prop_assert!(piece.len() <= LONGEST);
                prop_assert!(piece.len() >= SHORTEST || n + 1 == pieces.len());
            }
            prop_assert_eq!(pieces.concat(), samples);
        }
    }

    #[test]
    fn a_torn_sample_is_noticed() {
        let mut decoder = Decoder::new(Format::Pcm(8_000));
        decoder.push(&[1, 0, 2]);
        assert!(decoder.is_torn());
        decoder.push(&[0]);
        assert!(!decoder.is_torn());
        decoder.finish();
        assert_eq!(decoder.rest(), Some(vec![1, 2]));
    }

    #[test]
    fn g711_is_one_byte_a_sample() {
        let tone: Vec<i16> = (0..800).map(|n| ((f64::from(n) * 0.3).sin() * 8000.0) as i16).collect();
        for law in [Law::A, Law::Mu] {
            let bytes = Encoder::new(Format::G711(law)).encode(&tone);
            assert_eq!(bytes.len(), tone.len());
            let back = all(Decoder::new(Format::G711(law)), &[&bytes]).concat();
            assert!(back.iter().zip(&tone).all(|(a, b)| (i32::from(*a) - i32::from(*b)).abs() < 300));
        }
    }

    #[test]
    fn every_rate_keeps_time_and_pitch() {
        let tone: Vec<i16> = (0..8000).map(|n| ((f64::from(n) * 0.25).sin() * 8000.0) as i16).collect();
        let crossings = |s: &[i16]| s.windows(2).filter(|w| w[0] < 0 && w[1] >= 0).count();
        for rate in [8_000, 16_000, 24_000, 48_000] {
            let mut encoder = Encoder::new(Format::Pcm(rate));
            let bytes: Vec<u8> = tone.chunks(480).flat_map(|chunk| encoder.encode(chunk)).collect();
            let back = all(Decoder::new(Format::Pcm(rate)), &[&bytes]).concat();
            assert!(back.len().abs_diff(tone.len()) <= 800, "{rate}: {} samples of {}", back.len(), tone.len());
            let (got, want) = (crossings(&back), crossings(&tone) * back.len() / tone.len());
            assert!(got.abs_diff(want) <= 5, "{rate}: {got} periods, {want} expected");
        }
    }
}
