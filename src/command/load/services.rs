//! The robot's services, as cheap as can be: a recogniser that reads and agrees, a voice that was made before, a dialogue of two sentences.
//!
//! They run on one thread of their own, `load-services`, so that their cost can be told apart.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt, stream};
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Trouble;
use super::histogram::Histogram;
use super::phones::Spoken;
use super::speech;
use crate::command::harness::serving::{self, Phones};
use crate::proto::dialogue::v1::action::Action as Act;
use crate::proto::dialogue::v1::dialogue_server::Dialogue;
use crate::proto::dialogue::v1::line_event::Event;
use crate::proto::dialogue::v1::segment::Segment as Part;
use crate::proto::dialogue::v1::{Action, BargeInPolicy, LineEvent, Say, Segment, Stale, Text};
use crate::proto::speech::v1::capabilities_response::{Recognition, Synthesis, Voice};
use crate::proto::speech::v1::recognize_request::Request as Heard;
use crate::proto::speech::v1::recognize_response::{Final, Response as Answer};
use crate::proto::speech::v1::speech_server::Speech;
use crate::proto::speech::v1::{
    AudioFormat, CapabilitiesRequest, CapabilitiesResponse, Encoding, RecognizeRequest, RecognizeResponse,
    SynthesizeRequest, SynthesizeResponse, TextPiece,
};

/// What is said: the number of seconds is the text.
const LONG: &str = "12";
const SHORT: &str = "2";
/// `endpoint_ms` of the calls.
pub(super) const ENDPOINT_MS: u64 = 700;

/// What the services have seen.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// From the caller's last voiced packet to the end of the utterance, as the recogniser is told it; less `endpoint_ms`.
    pub(super) utterance: Histogram,
    pub(super) utterances: u64,
    /// Audio that recognition got, in ms.
    pub(super) heard_ms: u64,
}

impl Seen {
    fn new() -> Seen {
        Seen { utterance: Histogram::of_waiting(), utterances: 0, heard_ms: 0 }
    }
}

/// The services; they end with the process.
#[derive(Debug, Clone)]
pub(super) struct Services {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spoken: Arc<Spoken>,
    alaw: bool,
    voice: Bytes,
    seen: Mutex<Seen>,
    phones: Phones,
}

impl Shared {
    fn see(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Services {
    /// Serves both on a thread of their own, and says on which port. `alaw`: audio is wanted as it came, not as PCM.
    pub(super) fn start(spoken: Arc<Spoken>, alaw: bool, streams: u32) -> Result<(Services, u16), Trouble> {
        let shared = Arc::new(Shared {
            spoken,
            alaw,
            voice: speech::voice().into(),
            seen: Mutex::new(Seen::new()),
            phones: Phones::default(),
        });
        let services = Services { shared };
        let port = serving::start(services.clone(), streams)?;
        Ok((services, port))
    }

    /// Forgets what has been seen, and gives it back.
    pub(super) fn take(&self) -> Seen {
        let mut seen = Seen::new();
        self.shared.see(|now| std::mem::swap(now, &mut seen));
        seen
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Speech for Services {
    async fn capabilities(&self, _: Request<CapabilitiesRequest>) -> Result<Response<CapabilitiesResponse>, Status> {
        let pcm = AudioFormat { encoding: Encoding::PcmS16le.into(), sample_rate_hz: 8_000 };
        let alaw = AudioFormat { encoding: Encoding::Pcma.into(), sample_rate_hz: 8_000 };
        let formats = if self.shared.alaw { vec![alaw] } else { vec![pcm] };
        let languages = vec!["en".to_owned()];
        let voices = vec![Voice { name: "tone".to_owned(), language: "en".to_owned() }];
        Ok(Response::new(CapabilitiesResponse {
            engine: "load".to_owned(),
            recognition: Some(Recognition { formats, languages, partials: false, phrases: false, grammars: false }),
            synthesis: Some(Synthesis { formats: vec![pcm], voices, streaming_text: false, ssml: false }),
        }))
    }

    type RecognizeStream = Answers<RecognizeResponse>;

    async fn recognize(
        &self,
        request: Request<Streaming<RecognizeRequest>>,
    ) -> Result<Response<Self::RecognizeStream>, Status> {
        let shared = self.shared.clone();
        let mut call_id = String::new();
        let bytes_per_ms = if shared.alaw { 8 } else { 16 };
        let answers = request.into_inner().filter_map(move |heard| {
            let answer = match heard.ok().and_then(|heard| heard.request) {
                Some(Heard::Config(config)) => {
                    call_id = config.call_id;
                    None
                }
                Some(Heard::Audio(audio)) => {
                    shared.see(|seen| seen.heard_ms += audio.samples.len() as u64 / bytes_per_ms);
                    None
                }
                Some(Heard::UtteranceEnd(end)) => {
                    let ago = shared.phones.of(&call_id).and_then(|phone| shared.spoken.ago(phone));
                    shared.see(|seen| {
                        seen.utterances += 1;
                        if let Some(ago) = ago {
                            seen.utterance.add(ago.saturating_sub(ENDPOINT_MS * 1_000));
                        }
                    });
                    let text = "words".to_owned();
                    let last = Final { utterance_id: end.utterance_id, text, ..Final::default() };
                    Some(Ok(RecognizeResponse { response: Some(Answer::Final(last)) }))
                }
                _ => None,
            };
            std::future::ready(answer)
        });
        Ok(Response::new(Box::pin(answers)))
    }

    type SynthesizeStream = Answers<SynthesizeResponse>;

    async fn synthesize(
        &self,
        request: Request<SynthesizeRequest>,
    ) -> Result<Response<Self::SynthesizeStream>, Status> {
        let seconds: usize = request.into_inner().text.parse().unwrap_or(1);
        let shared = self.shared.clone();
        // 200 ms a piece: long enough to be cheap, short enough to be taken from the server in time.
        let pieces = (0..seconds * 5).map(move |n| {
            let from = n % 5 * 3_200;
            Ok(SynthesizeResponse { samples: shared.voice.slice(from..from + 3_200), words: Vec::new() })
        });
        Ok(Response::new(Box::pin(stream::iter(pieces))))
    }

    type SynthesizeStreamStream = Answers<SynthesizeResponse>;

    async fn synthesize_stream(
        &self,
        _: Request<Streaming<TextPiece>>,
    ) -> Result<Response<Self::SynthesizeStreamStream>, Status> {
        Err(Status::unimplemented("capabilities say that text does not stream here"))
    }
}

#[tonic::async_trait]
impl Dialogue for Services {
    type ConverseStream = Answers<Action>;

    async fn converse(&self, request: Request<Streaming<LineEvent>>) -> Result<Response<Self::ConverseStream>, Status> {
        let (actions, answers) = mpsc::channel(4);
        let shared = self.shared.clone();
        let mut events = request.into_inner();
        tokio::spawn(async move {
            let mut call_id = None;
            let mut turn = 0;
            while let Ok(Some(LineEvent { event_id, event, .. })) = events.message().await {
                let text = match event {
                    Some(Event::Begin(begin)) => {
                        shared.phones.begin(&begin);
                        call_id = Some(begin.call_id);
                        LONG
                    }
                    // The interruption is answered in a word, the question at length.
                    Some(Event::Utterance(_)) => {
                        turn += 1;
                        if turn % 2 == 1 { SHORT } else { LONG }
                    }
                    _ => continue,
                };
                if actions.send(Ok(say(event_id, text))).await.is_err() {
                    break;
                }
            }
            if let Some(call_id) = call_id {
                shared.phones.end(&call_id);
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

fn say(answers: u64, text: &str) -> Action {
    let text = Text { text: text.to_owned(), ..Text::default() };
    let segments = vec![Segment { segment: Some(Part::Text(text)), mark: String::new() }];
    let say = Say { segments, barge_in: BargeInPolicy::Speech.into(), ..Say::default() };
    Action { answers, if_stale: Stale::Drop.into(), action: Some(Act::Say(say)), ..Action::default() }
}
