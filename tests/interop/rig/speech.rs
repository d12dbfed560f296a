//! A scripted speech service, for tests that must be exact.

use std::collections::BTreeSet;
use std::f32::consts::TAU;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use trunkline::proto::speech::v1::capabilities_response::{Recognition, Synthesis, Voice};
use trunkline::proto::speech::v1::recognize_request::Request as Asked;
use trunkline::proto::speech::v1::recognize_response::{Final, Partial, Response as Answer};
use trunkline::proto::speech::v1::speech_server::{Speech, SpeechServer};
use trunkline::proto::speech::v1::{
    AudioFormat, CapabilitiesRequest, CapabilitiesResponse, Encoding, RecognizeRequest, RecognizeResponse,
    SynthesizeRequest, SynthesizeResponse, TextPiece,
};

use super::audio::Wav;
use super::dialogue::Alone;

/// What it does with what it hears.
#[derive(Debug, Clone, Copy)]
pub enum Hearing {
    /// Utterance n is "utterance n", with a partial at its start.
    Numbers,
    /// Each utterance is the labels of all audio that came on its stream, and nothing is said of it before.
    Labels,
    /// It reads and never answers. It would have 16 kHz.
    Mute,
    /// Finals of utterances that never were, words without end, answers that are empty.
    Nonsense,
}

/// What it does with what it is to say.
#[derive(Debug, Clone, Copy)]
pub enum Speaking {
    /// A tone of 60 ms a character.
    Tone,
    /// It takes the text and makes no sound.
    Mute,
    /// A hiss that ends in the middle of a sample, in uneven pieces.
    Nonsense,
    /// It refuses.
    Refuses,
}

/// The service. Dropped, it is dead, and its streams break.
#[derive(Debug)]
pub struct Engine {
    server: Alone,
    tape: Tape,
}

/// All samples that have come for recognition.
type Tape = Arc<Mutex<Vec<i16>>>;

impl Engine {
    pub async fn serve(hearing: Hearing, speaking: Speaking) -> Engine {
        let tape = Tape::default();
        Engine { server: Alone::serve(routes(hearing, speaking, tape.clone())).await, tape }
    }

    pub fn endpoint(&self) -> String {
        self.server.endpoint.clone()
    }

    /// What it has heard, at 16 kHz; of one that is mute.
    pub fn heard(&self) -> Wav {
        Wav::of(16_000, self.tape.lock().expect("nobody panics with it").clone())
    }
}

/// The same, to be served by somebody else.
pub fn speech_routes(hearing: Hearing, speaking: Speaking) -> Routes {
    routes(hearing, speaking, Tape::default())
}

fn routes(hearing: Hearing, speaking: Speaking, tape: Tape) -> Routes {
    Routes::new(SpeechServer::new(Scripted { hearing, speaking, tape }))
}

struct Scripted {
    hearing: Hearing,
    speaking: Speaking,
    tape: Tape,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Speech for Scripted {
    async fn capabilities(&self, _: Request<CapabilitiesRequest>) -> Result<Response<CapabilitiesResponse>, Status> {
        let format = |sample_rate_hz| AudioFormat { encoding: Encoding::PcmS16le.into(), sample_rate_hz };
        let (formats, wide) = (vec![format(8_000)], matches!(self.hearing, Hearing::Mute));
        let voice = Voice { name: "tone".into(), language: "en".into() };
        Ok(Response::new(CapabilitiesResponse {
            engine: "scripted".into(),
            recognition: Some(Recognition {
                formats: if wide { vec![format(16_000)] } else { formats.clone() },
                languages: vec!["en".into()],
                partials: true,
                phrases: false,
                grammars: false,
            }),
            synthesis: Some(Synthesis { formats, voices: vec![voice], streaming_text: false, ssml: false }),
        }))
    }

    type RecognizeStream = Answers<RecognizeResponse>;

    async fn recognize(
        &self,
        request: Request<Streaming<RecognizeRequest>>,
    ) -> Result<Response<Self::RecognizeStream>, Status> {
        let (answers, stream) = mpsc::channel(64);
        let (hearing, tape, mut requests) = (self.hearing, self.tape.clone(), request.into_inner());
        tokio::spawn(async move {
            let mut labels = BTreeSet::new();
            while let Ok(Some(request)) = requests.message().await {
                if let (Hearing::Labels, Some(Asked::Audio(chunk))) = (hearing, &request.request) {
                    labels.insert(chunk.label().as_str_name());
                }
                if let (Hearing::Mute, Some(Asked::Audio(chunk))) = (hearing, &request.request) {
                    let samples = chunk.samples.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]]));
                    tape.lock().expect("nobody panics with it").extend(samples);
                }
                if let (Hearing::Labels, Some(Asked::UtteranceEnd(end))) = (hearing, &request.request) {
                    let text = labels.iter().copied().collect::<Vec<_>>().join(" ");
                    let last = Final { utterance_id: end.utterance_id, text, ..Default::default() };
                    let _ = answers.send(Ok(RecognizeResponse { response: Some(Answer::Final(last)) })).await;
                }
                for response in heard(hearing, request) {
                    if answers.send(Ok(RecognizeResponse { response })).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    type SynthesizeStream = Answers<SynthesizeResponse>;

    async fn synthesize(
        &self,
        request: Request<SynthesizeRequest>,
    ) -> Result<Response<<Self as Speech>::SynthesizeStream>, Status> {
        let pieces = match self.speaking {
            Speaking::Tone => tone(request.into_inner().text.chars().count()),
            Speaking::Nonsense => vec![vec![1; 801], vec![], vec![2; 1_600]],
            Speaking::Refuses => return Err(Status::internal("the voice is hoarse")),
            Speaking::Mute => return Ok(Response::new(Box::pin(tokio_stream::pending()))),
        };
        let piece = |samples: Vec<u8>| Ok(SynthesizeResponse { samples: samples.into(), words: Vec::new() });
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces.into_iter().map(piece)))))
    }

    type SynthesizeStreamStream = Answers<SynthesizeResponse>;

    async fn synthesize_stream(
        &self,
        _: Request<Streaming<TextPiece>>,
    ) -> Result<Response<Self::SynthesizeStreamStream>, Status> {
        Err(Status::unimplemented("not scripted"))
    }
}

fn heard(hearing: Hearing, request: RecognizeRequest) -> Vec<Option<Answer>> {
    let number = match &request.request {
        Some(Asked::UtteranceStart(start)) => start.utterance_id,
        Some(Asked::UtteranceEnd(end)) => end.utterance_id,
        _ => return Vec::new(),
    };
    let starts = matches!(request.request, Some(Asked::UtteranceStart(_)));
    let last =
        |utterance_id, text: &str| Answer::Final(Final { utterance_id, text: text.into(), ..Default::default() });
    match hearing {
        Hearing::Mute | Hearing::Labels => Vec::new(),
        Hearing::Numbers if starts => {
            let text = "utter".to_owned();
            vec![Some(Answer::Partial(Partial { utterance_id: number, text, stop_ms: 0 }))]
        }
        Hearing::Numbers => vec![Some(last(number, &format!("utterance {number}")))],
        Hearing::Nonsense => vec![
            None,
            Some(last(number + 1_000, "of no utterance")),
            Some(last(0, "of none")),
            Some(Answer::Partial(Partial {
                utterance_id: u32::MAX,
                text: "\0\u{202e}".repeat(2_000),
                stop_ms: u32::MAX,
            })),
            Some(last(number, &"word ".repeat(20_000))),
            Some(last(number, "once more")),
        ],
    }
}

/// 60 ms of 440 Hz a character, in pieces of a character.
fn tone(characters: usize) -> Vec<Vec<u8>> {
    let sample = |n: usize| ((TAU * 440.0 * n as f32 / 8_000.0).sin() * 8_000.0) as i16;
    let piece = |at: usize| (at * 480..(at + 1) * 480).flat_map(|n| sample(n).to_le_bytes()).collect();
    (0..characters).map(piece).collect()
}
