//! Against engines that work, refuse, hang, die and talk nonsense.

mod phrases;
mod recognition;
mod synthesis;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::channel::refusing::refusing;
use crate::proto::speech::v1 as proto;
use proto::capabilities_response::{Recognition, Synthesis as Voices, Voice};
use proto::speech_server::SpeechServer;

type Hear = mpsc::Sender<Result<proto::RecognizeResponse, Status>>;
type Speak = mpsc::Sender<Result<proto::SynthesizeResponse, Status>>;

/// How the fake behaves on its n-th stream of a kind, from 0.
type Hearing = dyn Fn(usize, Streaming<proto::RecognizeRequest>, Hear) -> BoxFuture<'static, ()> + Send + Sync;
type Speaking = dyn Fn(usize, proto::SynthesizeRequest, Speak) -> BoxFuture<'static, ()> + Send + Sync;

struct Fake {
    can: proto::CapabilitiesResponse,
    asked: AtomicUsize,
    heard: AtomicUsize,
    spoken: AtomicUsize,
    hearing: Box<Hearing>,
    speaking: Box<Speaking>,
}

fn pcm(rate: u32) -> proto::AudioFormat {
    proto::AudioFormat { encoding: proto::Encoding::PcmS16le.into(), sample_rate_hz: rate }
}

impl Fake {
    /// An engine that is silent to everything, in PCM at 8 kHz.
    fn new() -> Fake {
        let can = proto::CapabilitiesResponse {
            engine: "fake 1".into(),
            recognition: Some(Recognition {
                formats: vec![pcm(8_000)],
                languages: vec!["en".into()],
                partials: true,
                phrases: false,
                grammars: false,
            }),
            synthesis: Some(Voices {
                formats: vec![pcm(8_000)],
                voices: vec![Voice { name: "anna".into(), language: "en".into() }],
                streaming_text: false,
                ssml: false,
            }),
        };
        Fake {
            can,
            asked: AtomicUsize::new(0),
            heard: AtomicUsize::new(0),
            spoken: AtomicUsize::new(0),
            hearing: Box::new(|_, _, _| Box::pin(async {})),
            speaking: Box::new(|_, _, _| Box::pin(async {})),
        }
    }

    fn hearing<F>(
        mut self,
        does: impl Fn(usize, Streaming<proto::RecognizeRequest>, Hear) -> F + Send + Sync + 'static,
    ) -> Fake
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.hearing = Box::new(move |n, requests, out| Box::pin(does(n, requests, out)));
        self
    }

    fn speaking<F>(mut self, does: impl Fn(usize, proto::SynthesizeRequest, Speak) -> F + Send + Sync + 'static) -> Fake
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.speaking = Box::new(move |n, request, out| Box::pin(does(n, request, out)));
        self
    }

    async fn serve(self) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let endpoint = format!("http://{}", listener.local_addr().expect("is bound"));
        let fake = Arc::new(self);
        let server = tonic::transport::Server::builder()
            // Small, so that an engine that does not read is noticed early.
            .initial_stream_window_size(8_192)
            .add_service(SpeechServer::from_arc(fake.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Served { fake, endpoint }
    }
}

struct Served {
    fake: Arc<Fake>,
    endpoint: String,
}

impl Served {
    fn config(&self) -> ServiceConfig {
        config(&self.endpoint)
    }

    fn client(&self) -> Speech {
        Speech::new(vec![self.config()]).expect("a good endpoint")
    }
}

fn config(endpoint: &str) -> ServiceConfig {
    ServiceConfig {
        connect_timeout: Duration::from_millis(300),
        stall_timeout: Duration::from_millis(300),
        batch: Duration::from_millis(20),
        ..ServiceConfig::new("s", endpoint)
    }
}

/// An endpoint at which nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    format!("http://{}", listener.local_addr().expect("is bound"))
}

/// An endpoint that accepts connections and does nothing with them.
async fn hangs() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let endpoint = format!("http://{}", listener.local_addr().expect("is bound"));
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            kept.push(connection);
        }
    });
    endpoint
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl proto::speech_server::Speech for Fake {
    async fn capabilities(
        &self,
        _: Request<proto::CapabilitiesRequest>,
    ) -> Result<Response<proto::CapabilitiesResponse>, Status> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(self.can.clone()))
    }

    type RecognizeStream = Answers<proto::RecognizeResponse>;

    async fn recognize(
        &self,
        request: Request<Streaming<proto::RecognizeRequest>>,
    ) -> Result<Response<Self::RecognizeStream>, Status> {
        let (out, answers) = mpsc::channel(16);
        let n = self.heard.fetch_add(1, Ordering::Relaxed);
        tokio::spawn((self.hearing)(n, request.into_inner(), out));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    type SynthesizeStream = Answers<proto::SynthesizeResponse>;

    async fn synthesize(
        &self,
        request: Request<proto::SynthesizeRequest>,
    ) -> Result<Response<<Self as proto::speech_server::Speech>::SynthesizeStream>, Status> {
        let (out, answers) = mpsc::channel(16);
        let n = self.spoken.fetch_add(1, Ordering::Relaxed);
        tokio::spawn((self.speaking)(n, request.into_inner(), out));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    type SynthesizeStreamStream = Answers<proto::SynthesizeResponse>;

    async fn synthesize_stream(
        &self,
        _: Request<Streaming<proto::TextPiece>>,
    ) -> Result<Response<Self::SynthesizeStreamStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

/// Watches until it knows of all endpoints; then what it says.
async fn watched(speech: &Speech) -> Vec<String> {
    let asked = async {
        loop {
            let news = speech.changed();
            let troubles = speech.troubles();
            if !troubles.iter().any(|trouble| trouble == "has not been asked yet") {
                return troubles;
            }
            news.await;
        }
    };
    tokio::select! {
        () = speech.watch() => unreachable!("it never ends"),
        troubles = asked => troubles,
    }
}

#[tokio::test]
async fn a_watch_says_what_does_not_fit() {
    let served = Fake::new().serve().await;
    let good = ServiceConfig { name: "a-good".into(), voice: "anna".into(), ..served.config() };
    let foreign = ServiceConfig { name: "b-foreign".into(), language: "de".into(), ..served.config() };
    let absent = ServiceConfig { name: "c-absent".into(), ..config(&nobody().await) };
    let hung = ServiceConfig { name: "d-hung".into(), ..config(&hangs().await) };
    let endpoints = [&foreign, &absent, &hung].map(|config| config.endpoints[0].clone());
    let mut all = vec![good, foreign, absent, hung];
    // One failure is enough here.
    all.iter_mut().for_each(|config| config.watch.down_after = 1);
    let troubles = watched(&Speech::new(all).expect("good endpoints")).await;
    assert_eq!(troubles.len(), 3, "{troubles:?}");
    for (trouble, (endpoint, what)) in troubles.iter().zip(endpoints.iter().zip([
        "recognition.languages: \"de\" is wanted, there is en",
        "refused",
        "did not say within 300ms that it speaks HTTP/2",
    ])) {
        assert!(trouble.contains(what) && trouble.contains(endpoint.as_str()), "{trouble}");
    }
}

#[tokio::test]
async fn a_service_is_there_while_one_of_its_endpoints_is() {
    let served = Fake::new().serve().await;
    let mut config = served.config();
    config.endpoints.insert(0, nobody().await);
    config.watch.down_after = 1;
    assert_eq!(watched(&Speech::new(vec![config]).expect("good endpoints")).await, Vec::<String>::new());
}

/// One that has a health service is asked by it, and believed at once.
#[tokio::test]
async fn one_that_says_it_does_not_serve_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let endpoint = format!("http://{}", listener.local_addr().expect("is bound"));
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status(HEALTH, tonic_health::ServingStatus::NotServing).await;
    let server = tonic::transport::Server::builder().add_service(health).add_service(SpeechServer::new(Fake::new()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let mut config = config(&endpoint);
    config.watch.interval = Duration::from_millis(50);
    let speech = Speech::new(vec![config]).expect("a good endpoint");
    let troubles = watched(&speech).await;
    assert!(troubles.len() == 1 && troubles[0].ends_with("says that it does not serve"), "{troubles:?}");
    reporter.set_service_status(HEALTH, tonic_health::ServingStatus::Serving).await;
    let up = async {
        loop {
            let news = speech.changed();
            if speech.troubles().is_empty() {
                return;
            }
            news.await;
        }
    };
    tokio::select! {
        () = speech.watch() => unreachable!("it never ends"),
        up = tokio::time::timeout(Duration::from_secs(10), up) => up.expect("it serves again"),
    }
}
