//! Sound between the line's coding and the engine's format. Pure.

use prost::bytes::BufMut;

use super::capabilities::Format;
use crate::call::io::HeardCoding;
use crate::codec::coding::Band;
use crate::codec::g711::Law;
use crate::codec::resample::{ResampleError, Resampler, SampleRate};
use crate::ms::Ms;

/// Longest piece that is handed on.
const LONGEST: Ms = Ms(200);

/// Shortest piece that is handed on before the end.
const SHORTEST: Ms = Ms(20);

/// Samples that are coded at a time.
const BLOCK: usize = 160;

/// Makes the engine's bytes of the line's, whose coding may change in between.
pub(super) struct Encoder {
    to: Format,
    /// Between the line's rate and the engine's, where they differ.
    resampling: Option<Resampling>,
}

struct Resampling {
    from: SampleRate,
    resampler: Box<Resampler>,
    /// Samples that have come, and that have been given.
    taken: u64,
    given: u64,
}

impl Encoder {
    pub(super) fn new(format: Format) -> Encoder {
        Encoder { to: format, resampling: None }
    }

    /// What the engine is given of `sound`, and by how much its first sample lies before the first one of `sound`: the resampler keeps
    /// up to 30 ms back.
    pub(super) fn encode<'a>(
        &mut self,
        coding: HeardCoding,
        sound: &'a [u8],
    ) -> Result<(Ms, Encoded<'a>), ResampleError> {
        let (from, to) = (rate(coding), self.to.rate());
        if from == to {
            self.resampling = None;
            return Ok((Ms::ZERO, self.at_its_rate(coding, sound)));
        }
        let resampling = match &mut self.resampling {
            Some(resampling) if resampling.from == from => resampling,
            // What the one before kept back is lost: the line itself was interrupted there.
            stale => {
                let resampler = Box::new(Resampler::new(from, to)?);
                stale.insert(Resampling { from, resampler, taken: 0, given: 0 })
            }
        };
        let before = Ms::of_samples(resampling.taken, from.hz()) - Ms::of_samples(resampling.given, to.hz());
        let mut resampled = Vec::new();
        let line = samples(coding, sound);
        resampling.resampler.push(&line, &mut resampled)?;
        resampling.taken += line.len() as u64;
        resampling.given += resampled.len() as u64;
        Ok((before, Encoded::Samples(resampled, self.to)))
    }

    fn at_its_rate<'a>(&self, coding: HeardCoding, sound: &'a [u8]) -> Encoded<'a> {
        match (coding, self.to) {
            (HeardCoding::G711(law), Format::G711(theirs)) if theirs == law => Encoded::AsItIs(sound),
            (HeardCoding::Linear(_), Format::Pcm(_)) => Encoded::AsItIs(sound),
            (HeardCoding::G711(law), to) => Encoded::Line(law, sound, to),
            (HeardCoding::Linear(_), to) => Encoded::Samples(samples(coding, sound), to),
        }
    }
}

/// Sound as the engine takes it: its bytes are made where they are needed.
#[derive(Debug)]
pub(super) enum Encoded<'a> {
    AsItIs(&'a [u8]),
    /// Of a line of G.711 at the engine's rate.
    Line(Law, &'a [u8], Format),
    Samples(Vec<i16>, Format),
}

impl Encoded<'_> {
    /// Its bytes.
    pub(super) fn len(&self) -> usize {
        let (samples, to) = match self {
            Encoded::AsItIs(bytes) => return bytes.len(),
            Encoded::Line(_, bytes, to) => (bytes.len(), to),
            Encoded::Samples(samples, to) => (samples.len(), to),
        };
        match to {
            Format::G711(_) => samples,
            Format::Pcm(_) => 2 * samples,
        }
    }

    /// Writes them.
    pub(super) fn put(&self, out: &mut impl BufMut) {
        match self {
            Encoded::AsItIs(bytes) => out.put_slice(bytes),
            Encoded::Line(law, bytes, to) => {
                let mut samples = [0; BLOCK];
                for block in bytes.chunks(BLOCK) {
                    let decoded = law.decode(block, &mut samples);
                    put(*to, &samples[..decoded], out);
                }
            }
            Encoded::Samples(samples, to) => samples.chunks(BLOCK).for_each(|block| put(*to, block, out)),
        }
    }
}

/// Writes `BLOCK` samples at most.
fn put(to: Format, samples: &[i16], out: &mut impl BufMut) {
    let mut bytes = [0; 2 * BLOCK];
    let length = match to {
        Format::G711(law) => law.encode(samples, &mut bytes),
        Format::Pcm(_) => {
            let pairs = bytes.as_chunks_mut::<2>().0.iter_mut();
            pairs.zip(samples).for_each(|(pair, sample)| *pair = sample.to_le_bytes());
            2 * samples.len()
        }
    };
    out.put_slice(&bytes[..length]);
}

fn rate(coding: HeardCoding) -> SampleRate {
    match coding {
        HeardCoding::G711(_) => SampleRate::HZ_8000,
        HeardCoding::Linear(band) => SampleRate::of(band),
    }
}

fn samples(coding: HeardCoding, sound: &[u8]) -> Vec<i16> {
    match coding {
        HeardCoding::G711(law) => sound.iter().map(|&byte| law.decode_one(byte)).collect(),
        HeardCoding::Linear(_) => linear(sound).collect(),
    }
}

fn linear(sound: &[u8]) -> impl ExactSizeIterator<Item = i16> {
    sound.as_chunks::<2>().0.iter().map(|&pair| i16::from_le_bytes(pair))
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
    line: Band,
    /// None at the line's rate.
    resampler: Option<Box<Resampler>>,
    /// Half a sample.
    odd: Option<u8>,
    /// At the line's rate, not yet handed on.
    ready: Vec<i16>,
}

impl Decoder {
    pub(super) fn new(format: Format, line: Band) -> Result<Decoder, ResampleError> {
        let (from, to) = (format.rate(), SampleRate::of(line));
        let resampler = if from == to { None } else { Some(Box::new(Resampler::new(from, to)?)) };
        Ok(Decoder { law: law(format), line, resampler, odd: None, ready: Vec::new() })
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
        (self.ready.len() >= self.samples(SHORTEST)).then(|| self.take())
    }

    /// No more bytes will come: what is left may be shorter than 20 ms.
    pub(super) fn finish(&mut self) -> Result<(), ResampleError> {
        if let Some(resampler) = &mut self.resampler {
            resampler.flush(&mut self.ready)?;
        }
        whole_pairs(self.line, &mut self.ready);
        Ok(())
    }

    /// After [`finish`](Self::finish): the pieces that are left.
    pub(super) fn rest(&mut self) -> Option<Vec<i16>> {
        (!self.ready.is_empty()).then(|| self.take())
    }

    /// Whether the bytes ended in the middle of a sample.
    pub(super) fn is_torn(&self) -> bool {
        self.odd.is_some()
    }

    fn samples(&self, length: Ms) -> usize {
        length.0 as usize * self.line.per_ms()
    }

    fn take(&mut self) -> Vec<i16> {
        let pairs = if self.line == Band::Wide { self.ready.len() & !1 } else { self.ready.len() };
        let length = pairs.min(self.samples(LONGEST));
        if length == self.ready.len() {
            return std::mem::take(&mut self.ready);
        }
        let rest = self.ready.split_off(length);
        std::mem::replace(&mut self.ready, rest)
    }
}

/// Makes the samples of a sound an even number, if they are of 16 kHz: what is said is counted in samples of 8 kHz.
pub(super) fn whole_pairs(band: Band, samples: &mut Vec<i16>) {
    if band == Band::Wide && !samples.len().is_multiple_of(2) {
        samples.push(0);
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

    fn encode(encoder: &mut Encoder, coding: HeardCoding, sound: &[u8]) -> (Ms, Vec<u8>) {
        let (before, encoded) = encoder.encode(coding, sound).unwrap();
        let mut bytes = Vec::new();
        encoded.put(&mut bytes);
        assert_eq!(bytes.len(), encoded.len());
        (before, bytes)
    }

    fn little_endian(samples: impl Iterator<Item = i16>) -> Vec<u8> {
        samples.flat_map(i16::to_le_bytes).collect()
    }

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
            let mut encoder = Encoder::new(Format::Pcm(SampleRate::HZ_8000));
            let bytes = encode(&mut encoder, HeardCoding::G711(Law::A), &sound).1;
            let samples: Vec<i16> = sound.iter().map(|&byte| Law::A.decode_one(byte)).collect();
            let chunks: Vec<&[u8]> = bytes.chunks(cut).collect();
            let pieces = all(Decoder::new(Format::Pcm(SampleRate::HZ_8000), Band::Narrow).unwrap(), &chunks);
            for (n, piece) in pieces.iter().enumerate() {
                prop_assert!(piece.len() <= 1_600);
                prop_assert!(piece.len() >= 160 || n + 1 == pieces.len());
            }
            prop_assert_eq!(pieces.concat(), samples);
        }
    }

    #[test]
    fn a_line_of_16_khz_gets_what_is_above_4_khz_in_whole_pairs() {
        // 5 kHz.
        let tone = |rate: u32| {
            let samples =
                (0..rate).map(move |n| ((f64::from(n) * 31_415.926_5 / f64::from(rate)).sin() * 8_000.0) as i16);
            little_endian(samples)
        };
        for (rate, heard) in [(8_000, false), (16_000, true), (24_000, true), (48_000, true)] {
            let format = Format::Pcm(SampleRate::from_hz(rate).unwrap());
            let bytes = tone(rate);
            let chunks: Vec<&[u8]> = bytes.chunks(1_502).collect();
            let pieces = all(Decoder::new(format, Band::Wide).unwrap(), &chunks);
            assert!(pieces.iter().all(|piece| piece.len() % 2 == 0 && piece.len() <= 3_200), "{rate}");
            let samples = pieces.concat();
            assert_eq!(samples.len(), 16_000, "{rate}");
            // Of 8 kHz it was 3 kHz from the beginning.
            let rises = samples.windows(2).filter(|two| two[0] < 0 && two[1] >= 0).count();
            assert!(rises.abs_diff(if heard { 5_000 } else { 3_000 }) < 10, "{rate}: {rises}");
        }
        let mut odd = Decoder::new(Format::Pcm(SampleRate::HZ_16000), Band::Wide).unwrap();
        odd.push(&[1, 0, 2, 0, 3, 0]).unwrap();
        odd.finish().unwrap();
        assert_eq!(odd.rest(), Some(vec![1, 2, 3, 0]));
    }

    #[test]
    fn a_torn_sample_is_noticed() {
        let mut decoder = Decoder::new(Format::Pcm(SampleRate::HZ_8000), Band::Narrow).unwrap();
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
                let bytes = encode(&mut Encoder::new(Format::G711(law)), HeardCoding::G711(line), &sound).1;
                assert_eq!(bytes.len(), tone.len());
                assert!(law != line || bytes == sound, "what is coded alike is not touched");
                let back = all(Decoder::new(Format::G711(law), Band::Narrow).unwrap(), &[&bytes]).concat();
                assert!(back.iter().zip(&tone).all(|(a, b)| (i32::from(*a) - i32::from(*b)).abs() < 600));
            }
        }
    }

    #[test]
    fn every_rate_keeps_time_and_pitch() {
        let tone: Vec<i16> = (0..8000).map(|n| ((f64::from(n) * 0.25).sin() * 8000.0) as i16).collect();
        for rate in [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_24000, SampleRate::HZ_48000] {
            let mut encoder = Encoder::new(Format::Pcm(rate));
            let mut bytes = Vec::new();
            for (n, chunk) in tone.chunks(480).enumerate() {
                let sound: Vec<u8> = chunk.iter().map(|&sample| Law::Mu.encode_one(sample)).collect();
                let (before, more) = encode(&mut encoder, HeardCoding::G711(Law::Mu), &sound);
                let at = Ms(60 * n as u32) - before;
                let has = Ms::of_samples(bytes.len() as u64 / 2, rate.hz());
                assert!(at.0.abs_diff(has.0) <= 1, "{rate}: {at} is said of {has}");
                assert!(before <= Ms(30), "{rate}: {before} is kept back");
                bytes.extend(more);
            }
            let back = all(Decoder::new(Format::Pcm(rate), Band::Narrow).unwrap(), &[&bytes]).concat();
            assert!(tone.len() - back.len() <= 8 * 30, "{rate}: {} samples of {}", back.len(), tone.len());
            // The ends are not looked at: there the resampler's filter sees silence beside the tone.
            let inner = 400..back.len() - 400;
            let off = inner.map(|n| (i32::from(back[n]) - i32::from(tone[n])).abs()).max();
            // µ-law's steps are 256 at the tone's peaks.
            assert!(off < Some(228), "{rate}: off by {off:?}");
        }
    }

    #[test]
    fn what_is_wide_comes_wide_to_whom_can_take_it() {
        // 5 kHz, which 8 kHz cannot hold.
        let tone: Vec<i16> = (0..16_000).map(|n| ((f64::from(n) * 1.963_495).sin() * 8_000.0) as i16).collect();
        let loudness = |samples: &[i16]| samples.iter().map(|s| u32::from(s.unsigned_abs())).max().unwrap_or(0);
        for (format, bytes_a_second, heard) in [
            (Format::Pcm(SampleRate::HZ_16000), 32_000, true),
            (Format::Pcm(SampleRate::HZ_24000), 48_000, true),
            (Format::Pcm(SampleRate::HZ_48000), 96_000, true),
            (Format::Pcm(SampleRate::HZ_8000), 16_000, false),
            (Format::G711(Law::A), 8_000, false),
        ] {
            let mut encoder = Encoder::new(format);
            let mut bytes = Vec::new();
            for piece in tone.chunks(80) {
                let sound = little_endian(piece.iter().copied());
                bytes.extend(encode(&mut encoder, HeardCoding::Linear(Band::Wide), &sound).1);
            }
            assert!(bytes_a_second - bytes.len() <= bytes_a_second / 25, "{format}: {} bytes", bytes.len());
            let samples: Vec<i16> = match format {
                Format::G711(law) => bytes.iter().map(|byte| law.decode_one(*byte)).collect(),
                Format::Pcm(_) => linear(&bytes).collect(),
            };
            let loud = loudness(&samples[samples.len() / 4..]);
            assert!(if heard { loud > 7_000 } else { loud < 100 }, "{format}: {loud}");
        }
    }

    #[test]
    fn the_line_may_go_over_to_another_coding() {
        let mut encoder = Encoder::new(Format::Pcm(SampleRate::HZ_16000));
        let wide = HeardCoding::Linear(Band::Wide);
        assert_eq!(encode(&mut encoder, wide, &[1, 0, 2, 0]), (Ms(0), vec![1, 0, 2, 0]), "as it is");
        let mut given = 0;
        for _ in 0..50 {
            given += encode(&mut encoder, HeardCoding::G711(Law::A), &[0xd5; 160]).1.len();
        }
        assert!((30_000..=32_000).contains(&given), "a second, resampled: {given}");
        assert_eq!(encode(&mut encoder, wide, &[3, 0]), (Ms(0), vec![3, 0]));
        let narrow = HeardCoding::Linear(Band::Narrow);
        assert_eq!(encode(&mut Encoder::new(Format::Pcm(SampleRate::HZ_8000)), narrow, &[3, 0]).1, [3, 0]);
        // Longer than is coded at a time.
        let (_, long) =
            encode(&mut Encoder::new(Format::G711(Law::Mu)), narrow, &little_endian((0..1_000).map(|n| 8 * n)));
        let each: Vec<u8> = (0..1_000).map(|n| Law::Mu.encode_one(8 * n)).collect();
        assert_eq!(long, each);
    }
}
