//! What a recogniser is told, as its stream takes it.
//!
//! Nearly all of it is audio: a thousand calls tell ten thousand pieces a second. So the samples of a piece are made in the message that goes
//! out, and nowhere before; what stands around them is prost's.

use prost::Message;
use prost::bytes::BytesMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::sound::{Encoded, Encoder};
use super::tape::Piece;
use crate::call::io::Label;
use crate::channel::{Refused, Sending};
use crate::codec::resample::ResampleError;
use crate::proto::speech::v1 as proto;
use crate::proto::speech::v1::recognize_request::Request;

/// `audio` of a `RecognizeRequest`, and `samples` of an `AudioChunk`: their numbers in the contract.
const AUDIO: u32 = 2;
const SAMPLES: u32 = 3;

/// Tells a piece; nothing, if the resampler keeps it for the next one.
pub(super) fn piece(
    to: &mut Sending,
    piece: &Piece,
    encoder: &mut Encoder,
) -> Result<Result<(), Refused>, ResampleError> {
    Ok(match *piece {
        Piece::Audio { at, label, coding, ref sound } => {
            let (before, sound) = encoder.encode(coding, sound)?;
            if sound.len() == 0 {
                return Ok(Ok(()));
            }
            let label = match label {
                Label::UnderPrompt => proto::AudioLabel::UnderPrompt,
                Label::Open => proto::AudioLabel::Open,
                Label::EarlyMedia => proto::AudioLabel::EarlyMedia,
            };
            let rest = proto::AudioChunk { at_ms: (at - before).0, label: label.into(), ..Default::default() };
            let audio = Audio { rest, sound };
            to.send_written(audio.encoded_len(), |out| audio.put(out))
        }
        Piece::Start { utterance, start, from } => {
            let told = proto::UtteranceStart { utterance_id: utterance, start_ms: start.0, from_ms: from.0 };
            request(to, Request::UtteranceStart(told))
        }
        Piece::End { utterance, start, stop } => {
            let told = proto::UtteranceEnd { utterance_id: utterance, start_ms: start.0, stop_ms: stop.0 };
            request(to, Request::UtteranceEnd(told))
        }
    })
}

/// Tells anything else.
pub(super) fn request(to: &mut Sending, request: Request) -> Result<(), Refused> {
    to.send(&proto::RecognizeRequest { request: Some(request) })
}

/// A request of audio.
struct Audio<'a> {
    /// All but the samples.
    rest: proto::AudioChunk,
    sound: Encoded<'a>,
}

impl Audio<'_> {
    fn encoded_len(&self) -> usize {
        delimited_len(AUDIO, self.chunk_len())
    }

    fn chunk_len(&self) -> usize {
        self.rest.encoded_len() + delimited_len(SAMPLES, self.sound.len())
    }

    fn put(&self, out: &mut BytesMut) {
        encode_key(AUDIO, WireType::LengthDelimited, out);
        encode_varint(self.chunk_len() as u64, out);
        self.rest.encode_raw(out);
        encode_key(SAMPLES, WireType::LengthDelimited, out);
        encode_varint(self.sound.len() as u64, out);
        self.sound.put(out);
    }
}

fn delimited_len(number: u32, length: usize) -> usize {
    key_len(number) + encoded_len_varint(length as u64) + length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::io::HeardCoding;
    use crate::codec::g711::Law;
    use crate::codec::resample::SampleRate;
    use crate::speech::capabilities::Format;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn audio_is_written_as_prost_writes_it(
            at_ms: u32,
            label in 0..4,
            sound in prop::collection::vec(any::<u8>(), 1..2_000),
            linear: bool,
        ) {
            let format = if linear { Format::Pcm(SampleRate::HZ_8000) } else { Format::G711(Law::A) };
            let (_, sound) = Encoder::new(format).encode(HeardCoding::G711(Law::A), &sound).expect("no resampling");
            let mut samples = BytesMut::new();
            sound.put(&mut samples);
            let rest = proto::AudioChunk { at_ms, label, ..Default::default() };
            let chunk = proto::AudioChunk { samples: samples.freeze(), ..rest.clone() };
            let whole = proto::RecognizeRequest { request: Some(Request::Audio(chunk)) };
            let audio = Audio { rest, sound };
            let mut written = BytesMut::new();
            audio.put(&mut written);
            prop_assert_eq!(written.len(), audio.encoded_len());
            prop_assert_eq!(&written[..], &whole.encode_to_vec()[..]);
        }
    }
}
