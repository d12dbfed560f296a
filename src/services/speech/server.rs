//! `speech.v1` as a gRPC server over the engines of this module.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::espeak::{Espeak, EspeakError};
use super::moonshine::{Moonshine, MoonshineError};
use super::recogniser::Recogniser;
use super::weights::{Weights, WeightsError};
use super::{recognize, synthesize};
use crate::proto::speech::v1::speech_server::{Speech, SpeechServer};
use crate::proto::speech::v1::{
    AudioFormat, CapabilitiesRequest, CapabilitiesResponse, Encoding, RecognizeRequest, RecognizeResponse,
    SynthesizeRequest, SynthesizeResponse, TextPiece, capabilities_response,
};
use crate::services::serving::{self, ServeError};

/// Rates of all formats, in Hz, the preferred one first: a telephone's.
const RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

/// What the speech service is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The folder under which the weights are; see [`cache_folder`](super::weights::cache_folder).
    pub cache: PathBuf,
    /// Decodes at the same time, and threads for them; 0 for one a processor.
    pub decodes: usize,
    /// The synthesiser, a program's name or path.
    pub espeak: PathBuf,
    /// Syntheses at the same time; 0 for two a processor.
    pub syntheses: usize,
}

impl Config {
    /// Everything but the cache folder as it usually is.
    pub fn new(cache: PathBuf) -> Self {
        Self { cache, decodes: 0, espeak: "espeak-ng".into(), syntheses: 0 }
    }
}

/// Why the speech service does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpeechError {
    /// The weights are not there or damaged; the message names the command that fetches them.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The model cannot be loaded.
    #[error(transparent)]
    Model(#[from] MoonshineError),
    /// The synthesiser is not there; the message says what to install.
    #[error(transparent)]
    Synthesiser(#[from] EspeakError),
    /// The server does not serve.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Loads the engines and serves on `addr` until `shutdown`.
///
/// # Errors
/// [`SpeechError`]; each says what to do.
pub async fn serve(addr: SocketAddr, config: Config, shutdown: impl Future<Output = ()>) -> Result<(), SpeechError> {
    let engines = Engines::open(&config).await?;
    serve_on(serving::listen(addr).await?, engines, shutdown).await
}

/// Serves on a socket that is already open until `shutdown`.
///
/// # Errors
/// [`SpeechError::Serve`].
pub async fn serve_on(
    listener: TcpListener,
    engines: Engines,
    shutdown: impl Future<Output = ()>,
) -> Result<(), SpeechError> {
    if let Ok(addr) = listener.local_addr() {
        tracing::info!(%addr, "the speech service is up");
    }
    let routes = Routes::new(SpeechServer::new(engines));
    Ok(serving::serve(listener, routes, <SpeechServer<Engines> as NamedService>::NAME, shutdown).await?)
}

/// The recogniser and the synthesiser, loaded. Cloning is cheap.
#[derive(Clone)]
pub struct Engines {
    recogniser: Recogniser,
    espeak: Espeak,
}

impl Engines {
    /// Checks the weights, loads the model and asks espeak for its voices.
    ///
    /// # Errors
    /// [`SpeechError`]; each says what to do.
    pub async fn open(config: &Config) -> Result<Self, SpeechError> {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let decodes = if config.decodes == 0 { processors } else { config.decodes };
        let syntheses = if config.syntheses == 0 { processors * 2 } else { config.syntheses };
        let cache = config.cache.clone();
        let load =
            move || -> Result<Moonshine, SpeechError> { Ok(Moonshine::load(&Weights::locate(&cache)?, decodes)?) };
        let model = match tokio::task::spawn_blocking(load).await {
            Ok(model) => model?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let espeak = Espeak::discover(&config.espeak, syntheses).await?;
        Ok(Self { recogniser: Recogniser::new(model, decodes), espeak })
    }
}

#[tonic::async_trait]
impl Speech for Engines {
    type RecognizeStream = ReceiverStream<Result<RecognizeResponse, Status>>;
    type SynthesizeStream = ReceiverStream<Result<SynthesizeResponse, Status>>;
    type SynthesizeStreamStream = ReceiverStream<Result<SynthesizeResponse, Status>>;

    async fn capabilities(
        &self,
        _request: Request<CapabilitiesRequest>,
    ) -> Result<Response<CapabilitiesResponse>, Status> {
        let voices = self.espeak.voices().list().map(|(name, language)| capabilities_response::Voice {
            name: name.to_owned(),
            language: language.to_owned(),
        });
        Ok(Response::new(CapabilitiesResponse {
            engine: "trunkline speech (Moonshine tiny en, espeak-ng)".to_owned(),
            recognition: Some(capabilities_response::Recognition {
                formats: formats(),
                languages: vec!["en".to_owned()],
                partials: true,
                phrases: false,
                grammars: false,
            }),
            synthesis: Some(capabilities_response::Synthesis {
                formats: formats(),
                voices: voices.collect(),
                streaming_text: true,
                ssml: true,
            }),
        }))
    }

    async fn recognize(
        &self,
        request: Request<Streaming<RecognizeRequest>>,
    ) -> Result<Response<Self::RecognizeStream>, Status> {
        // The answer's headers go out before the first message comes: a client may wait for them before it sends one.
        let stream = recognize::run(self.recogniser.clone(), request.into_inner());
        Ok(Response::new(stream))
    }

    async fn synthesize(
        &self,
        request: Request<SynthesizeRequest>,
    ) -> Result<Response<Self::SynthesizeStream>, Status> {
        Ok(Response::new(synthesize::whole(&self.espeak, request.into_inner())?))
    }

    async fn synthesize_stream(
        &self,
        request: Request<Streaming<TextPiece>>,
    ) -> Result<Response<Self::SynthesizeStreamStream>, Status> {
        Ok(Response::new(synthesize::pieces(self.espeak.clone(), request.into_inner())))
    }
}

fn formats() -> Vec<AudioFormat> {
    RATES.map(|sample_rate_hz| AudioFormat { encoding: Encoding::PcmS16le.into(), sample_rate_hz }).into()
}

/// The rate of a format that [`formats`] lists.
pub(super) fn rate(format: Option<AudioFormat>) -> Result<u32, Status> {
    let format = format.ok_or_else(|| Status::invalid_argument("config.format is not set"))?;
    if format.encoding() != Encoding::PcmS16le {
        return Err(Status::invalid_argument(format!(
            "config.format.encoding: {} is not offered, ENCODING_PCM_S16LE is",
            Encoding::try_from(format.encoding).map_or("an unknown encoding", |encoding| encoding.as_str_name())
        )));
    }
    if !RATES.contains(&format.sample_rate_hz) {
        return Err(Status::invalid_argument(format!(
            "config.format.sample_rate_hz: {} is not one of {RATES:?}",
            format.sample_rate_hz
        )));
    }
    Ok(format.sample_rate_hz)
}
