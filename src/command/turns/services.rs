//! The robot's services: a recogniser that knows what is said, a voice that was made before, and a dialogue that the director of each call is.
//!
//! The recogniser answers with the words that the phone is saying: a partial as soon as it has got [`WORD_MS`] of an utterance (nobody knows
//! a word before it has been said), the final text at the end, both without any delay. So what is measured is the rule by which words
//! interrupt, and not a model's hearing.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt, stream};
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::command::harness::Trouble;
use crate::command::harness::serving::{self, Phones};
use crate::command::harness::wire::unix_ns;
use crate::proto::dialogue::v1::dialogue_server::Dialogue;
use crate::proto::dialogue::v1::line_event::Event;
use crate::proto::dialogue::v1::{Action, LineEvent};
use crate::proto::speech::v1::capabilities_response::{Recognition, Synthesis, Voice};
use crate::proto::speech::v1::recognize_request::Request as Heard;
use crate::proto::speech::v1::recognize_response::{Final, Partial, Response as Answer};
use crate::proto::speech::v1::speech_server::Speech;
use crate::proto::speech::v1::{
    AudioFormat, CapabilitiesRequest, CapabilitiesResponse, Encoding, RecognizeRequest, RecognizeResponse,
    SynthesizeRequest, SynthesizeResponse, TextPiece, UtteranceStart,
};

/// Audio of an utterance after which its words are known.
const WORD_MS: u32 = 400;
/// Bytes of 200 ms.
const PIECE: usize = 3_200;

/// What a director is told of its call.
#[derive(Debug)]
pub(super) enum Told {
    /// The dialogue's stream is open; actions go there.
    Begun { actions: mpsc::Sender<Result<Action, Status>>, event_id: u64 },
    /// An event, and when it came, ns since 1970.
    Event { at: i64, event_id: u64, event: Box<Event> },
    /// The stream is over.
    Over,
}

/// The services; they end with the process.
#[derive(Debug, Clone)]
pub(super) struct Services {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// What is said when text is to be spoken: 16-bit PCM.
    voice: Bytes,
    directors: Vec<mpsc::UnboundedSender<Told>>,
    phones: Phones,
    /// What each phone is saying.
    words: Mutex<Vec<String>>,
}

impl Services {
    /// Serves both, and says on which port.
    pub(super) fn start(
        voice: Vec<u8>,
        directors: Vec<mpsc::UnboundedSender<Told>>,
    ) -> Result<(Services, u16), Trouble> {
        let words = Mutex::new(vec![String::new(); directors.len()]);
        let shared = Arc::new(Shared { voice: voice.into(), directors, phones: Phones::default(), words });
        let services = Services { shared };
        let port = serving::start(services.clone(), serving::STREAMS)?;
        Ok((services, port))
    }

    /// What a phone says from now on, in words.
    pub(super) fn says(&self, phone: usize, words: &str) {
        if let Some(said) = lock(&self.shared.words).get_mut(phone) {
            words.clone_into(said);
        }
    }
}

impl Shared {
    fn words_of(&self, call_id: &str) -> String {
        self.phones.of(call_id).and_then(|phone| lock(&self.words).get(phone).cloned()).unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Speech for Services {
    async fn capabilities(&self, _: Request<CapabilitiesRequest>) -> Result<Response<CapabilitiesResponse>, Status> {
        let pcm = AudioFormat { encoding: Encoding::PcmS16le.into(), sample_rate_hz: 8_000 };
        let languages = vec!["en".to_owned()];
        let voices = vec![Voice { name: "bench".to_owned(), language: "en".to_owned() }];
        Ok(Response::new(CapabilitiesResponse {
            engine: "bench-turns".to_owned(),
            recognition: Some(Recognition {
                formats: vec![pcm],
                languages,
                partials: true,
                phrases: false,
                grammars: false,
            }),
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
        // An utterance whose words have not been told yet.
        let mut open: Option<UtteranceStart> = None;
        let mut heard_until = 0;
        let answers = request.into_inner().filter_map(move |heard| {
            let mut answer = None;
            match heard.ok().and_then(|heard| heard.request) {
                Some(Heard::Config(config)) => call_id = config.call_id,
                Some(Heard::Audio(audio)) => heard_until = audio.at_ms + audio.samples.len() as u32 / 16,
                Some(Heard::UtteranceStart(start)) => open = Some(start),
                Some(Heard::UtteranceEnd(end)) => {
                    open = None;
                    let text = shared.words_of(&call_id);
                    answer = Some(Answer::Final(Final { utterance_id: end.utterance_id, text, ..Final::default() }));
                }
                _ => {}
            }
            if let Some(start) = open.take_if(|start| heard_until >= start.start_ms + WORD_MS) {
                let text = shared.words_of(&call_id);
                let stop_ms = heard_until;
                answer = Some(Answer::Partial(Partial { utterance_id: start.utterance_id, text, stop_ms }));
            }
            std::future::ready(answer.map(|response| Ok(RecognizeResponse { response: Some(response) })))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    type SynthesizeStream = Answers<SynthesizeResponse>;

    async fn synthesize(&self, _: Request<SynthesizeRequest>) -> Result<Response<Self::SynthesizeStream>, Status> {
        let voice = self.shared.voice.clone();
        let pieces = (0..voice.len()).step_by(PIECE).map(move |from| {
            let samples = voice.slice(from..(from + PIECE).min(voice.len()));
            Ok(SynthesizeResponse { samples, words: Vec::new() })
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
        let (actions, answers) = mpsc::channel(16);
        let shared = self.shared.clone();
        let mut events = request.into_inner();
        tokio::spawn(async move {
            let mut director = None;
            while let Ok(Some(LineEvent { event_id, event: Some(event), .. })) = events.message().await {
                let at = unix_ns();
                if let Event::Begin(begin) = &event
                    && let Some(phone) = shared.phones.begin(begin)
                {
                    director = shared.directors.get(phone);
                    let begun = Told::Begun { actions: actions.clone(), event_id };
                    director.map(|director| director.send(begun));
                    continue;
                }
                director.map(|director| director.send(Told::Event { at, event_id, event: Box::new(event) }));
            }
            director.map(|director| director.send(Told::Over));
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}
