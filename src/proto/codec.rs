//! How messages are buffered: 1 KiB of those that we send to begin with, and a quarter of those that come, instead of tonic's 8.
//!
//! For what we serve (watchers, listeners, a first day's services) and for tonic's clients; calls reach their services by `channel::client`, which
//! has no such buffers. A thousand streams would hold 16 MB in them, and most messages fill a tenth. A larger one makes its buffer grow.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::BufferSettings;
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Bytes that a stream's buffer begins with: a new one is made while the last message is still being sent, so that it has to be of use
/// for audio too.
const SENDING: usize = 1024;
/// … and this one is the same to the end: a text, or as much as the audio that comes needs.
const RECEIVING: usize = 256;
/// Encoded bytes that are handed on before more is encoded; tonic's own.
const YIELD: usize = 32 * 1024;

/// Protobuf by prost.
#[derive(Debug, Clone)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Codec<T, U> {
        Codec(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(SENDING, YIELD))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(RECEIVING, YIELD))
    }
}
