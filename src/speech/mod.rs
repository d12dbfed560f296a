//! Floor 3: the client of `speech.v1`, through which a call is recognised and its prompts are synthesised.
//!
//! | what | how it flows | when the engine fails |
//! |---|---|---|
//! | recognition | one stream a call; the audio comes by a ring straight from the media thread, the marks and results pass through the call | the stream is made anew, with back-off, and goes on from where it can; the call is told |
//! | synthesis | one stream a segment; pieces of 8 kHz sound go to the call as they come | tried once more if nothing was heard yet; then the call is told |
//!
//! All calls share two HTTP/2 connections to an endpoint of a service (more where it takes few streams on one), one for each of the two, so
//! that neither waits behind the other; which of several endpoints a stream goes to, `channel::pool` says, and one that breaks goes on at another. What the engine can do
//! is asked before the first stream, and again after one broke: a language, a voice or a format that does not fit is told in words that name
//! the endpoint and what there is, instead of being heard as noise.

mod capabilities;
mod ear;
mod likely;
mod metrics;
mod phrases;
pub mod prompts;
mod recognise;
mod sound;
mod synthesise;
mod tape;
mod told;
mod watchdog;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use tokio::sync::{mpsc, watch};

use crate::call::io::{FromSpeech, HeardFrame, Label, ToRecogniser};
use crate::call::prompt::{PromptNo, Text};
pub use crate::channel::BadEndpoint;
use crate::channel::pool::{self, Failed, Plan, Pool};
use crate::channel::{self, Client, Manner, in_words};
use crate::codec::coding::Band;
use crate::proto::speech::v1::{CapabilitiesRequest, CapabilitiesResponse};
use likely::Likely;
pub use metrics::Metrics;
pub use phrases::PhraseCache;
pub use synthesise::Synthesis;
pub use watchdog::Rule;

/// A speech service that calls may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// By which calls name it.
    pub name: String,
    /// `http://host:port`, one or several that are alike.
    pub endpoints: Vec<String>,
    /// How they are watched.
    pub watch: Plan,
    /// BCP 47 tag of what is spoken; empty: the engine's choice.
    pub language: String,
    /// The voice of prompts that name none; empty: the engine's choice.
    pub voice: String,
    /// How long TCP may take to connect, and then the engine to say what it can do.
    pub connect_timeout: Duration,
    /// How long synthesis may give no sound before it counts as failed.
    pub stall_timeout: Duration,
    /// How much audio goes to recognition at a time: 20 to 100 ms, in steps of 20.
    pub batch: Duration,
    /// How long recognition may be out of order before it is given up for the call.
    pub give_up: Duration,
    /// When recognition counts as silent while somebody speaks, and is made anew.
    pub silent: Rule,
}

impl ServiceConfig {
    /// A service with what the contract leaves to us: 2 s to connect, 5 s of stall, 100 ms a batch, given up after 15 s.
    pub fn new(name: impl Into<String>, endpoint: impl Into<String>) -> ServiceConfig {
        ServiceConfig {
            name: name.into(),
            endpoints: vec![endpoint.into()],
            watch: Plan::default(),
            language: String::new(),
            voice: String::new(),
            connect_timeout: Duration::from_secs(2),
            stall_timeout: Duration::from_secs(5),
            batch: Duration::from_millis(100),
            give_up: Duration::from_secs(15),
            silent: Rule::default(),
        }
    }
}

/// All speech services that are configured. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Speech {
    services: Arc<HashMap<String, Arc<Service>>>,
    metrics: Metrics,
    /// What has been said once is said again without an engine.
    phrases: Option<phrases::Phrases>,
}

impl Speech {
    /// Nothing is connected yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// An endpoint that is not `http://host:port`. Of two services of one name the later one wins: `config` refuses that.
    pub fn new(services: Vec<ServiceConfig>) -> Result<Speech, BadEndpoint> {
        let metrics = Metrics::default();
        let mut by_name = HashMap::new();
        for config in services {
            let config = Arc::new(config);
            let counted = Arc::new(metrics.of(&config.name));
            let link = |endpoint: &str| {
                let (name, patience) = (&config.name, config.connect_timeout);
                Ok(Engine {
                    hearing: crate::channel::client(name, endpoint, Manner::TOGETHER, patience)?,
                    speaking: crate::channel::client(name, endpoint, Manner::SPARING, patience)?,
                    known: watch::Sender::new(None),
                    counted: counted.clone(),
                    norm: watchdog::Norm::new(),
                    config: config.clone(),
                    endpoint: endpoint.to_owned(),
                })
            };
            let pool = Pool::new(&config.name, &config.endpoints, config.watch, &metrics.endpoints, link)?;
            by_name.insert(config.name.clone(), Arc::new(Service { config: config.clone(), counted, pool }));
        }
        Ok(Speech { services: Arc::new(by_name), metrics, phrases: None })
    }

    /// Keeps what is synthesised on disk. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The folder cannot be made or listed.
    pub async fn keep_phrases(self, cache: PhraseCache) -> std::io::Result<Speech> {
        let phrases = phrases::Phrases::open(cache, self.metrics.phrases.clone()).await?;
        Ok(Speech { phrases: Some(phrases), ..self })
    }

    /// What is counted, to be registered.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Recognises one call: reads `frames` until the call is over and tells the inbox what was understood. Never waits and never fails: what
    /// goes wrong is told to the inbox. Must be called within a tokio runtime. `phrases` are likely on the whole call.
    ///
    /// The call ends by [`ToRecogniser::Close`] or by dropping the sender; what is still to be recognised then has a second. After
    /// [`FromSpeech::RecognitionTrouble`] with `lost` nothing comes any more and what is sent here is refused.
    pub fn recognise<T>(
        &self,
        name: &str,
        call_id: &str,
        frames: rtrb::Consumer<HeardFrame>,
        phrases: Vec<String>,
        inbox: mpsc::Sender<T>,
    ) -> mpsc::Sender<ToRecogniser>
    where
        T: From<FromSpeech> + Send + 'static,
    {
        self.hear(name, call_id, frames, None, Likely::on_call(phrases), inbox)
    }

    /// Recognises what is heard of a call before its answer: as [`recognise`](Self::recognise), with all audio labelled as early media.
    pub fn recognise_early<T>(
        &self,
        name: &str,
        call_id: &str,
        frames: rtrb::Consumer<HeardFrame>,
        inbox: mpsc::Sender<T>,
    ) -> mpsc::Sender<ToRecogniser>
    where
        T: From<FromSpeech> + Send + 'static,
    {
        self.hear(name, call_id, frames, Some(Label::EarlyMedia), Likely::default(), inbox)
    }

    fn hear<T>(
        &self,
        name: &str,
        call_id: &str,
        frames: rtrb::Consumer<HeardFrame>,
        label: Option<Label>,
        likely: Likely,
        inbox: mpsc::Sender<T>,
    ) -> mpsc::Sender<ToRecogniser>
    where
        T: From<FromSpeech> + Send + 'static,
    {
        let (marks, marked) = mpsc::channel(64);
        match self.services.get(name) {
            Some(service) => {
                let session = recognise::Session::new(service.clone(), call_id, frames, label, marked, likely, inbox);
                tokio::spawn(session.run());
            }
            None => {
                let reason = not_configured(name);
                tokio::spawn(async move {
                    let lost = FromSpeech::RecognitionTrouble { reason, lost: true };
                    let _ = inbox.send(lost.into()).await;
                });
            }
        }
        marks
    }

    /// Speaks one segment, for a line: sound in order, then exactly one [`FromSpeech::SoundEnd`] or [`FromSpeech::SoundFailed`]; or, of a phrase that is
    /// kept, one [`FromSpeech::Recording`]. Dropping what is returned cancels the work. Must be called within a tokio runtime.
    pub fn synthesise<T>(
        &self,
        name: &str,
        call_id: &str,
        segment: (PromptNo, u32),
        text: Text,
        line: Band,
        inbox: mpsc::Sender<T>,
    ) -> Synthesis
    where
        T: From<FromSpeech> + Send + 'static,
    {
        let service = self.services.get(name).cloned().ok_or_else(|| not_configured(name));
        synthesise::start(service, self.phrases.clone(), call_id, segment, text, line, inbox)
    }

    /// Asks every endpoint again and again whether it is there and can do what is configured. Never ends; until this runs all count as up.
    pub async fn watch(&self) {
        let ask = |place: Arc<pool::Place<Engine>>| async move { place.link.check().await }.boxed();
        let all: Vec<_> = self.services.values().map(|service| service.pool.watch(ask)).collect();
        future::join_all(all).await;
    }

    /// Why calls should not be sent here: the endpoints of each service of which none is known to be up.
    pub fn troubles(&self) -> Vec<String> {
        let mut all: Vec<_> = self.services.values().flat_map(|service| service.pool.troubles()).collect();
        all.sort();
        all
    }

    /// The next news of an endpoint, from this moment on.
    pub fn changed(&self) -> BoxFuture<'static, ()> {
        pool::first(self.services.values().map(|service| service.pool.changed()))
    }
}

fn not_configured(name: &str) -> String {
    format!("no speech service is configured by the name {name:?}")
}

/// Why something of an engine does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    /// With name and endpoint.
    reason: String,
    /// To try again changes nothing.
    for_good: bool,
    /// The engine has not seen the stream.
    unseen: bool,
}

/// One service, as all calls share it.
#[derive(Debug)]
struct Service {
    config: Arc<ServiceConfig>,
    counted: Arc<metrics::OfService>,
    pool: Pool<Engine>,
}

/// One endpoint of a service.
#[derive(Debug)]
struct Engine {
    config: Arc<ServiceConfig>,
    endpoint: String,
    /// For recognition alone.
    hearing: Client,
    speaking: Client,
    /// What it said that it can do; nothing when that has to be asked (anew).
    known: watch::Sender<Option<Arc<CapabilitiesResponse>>>,
    counted: Arc<metrics::OfService>,
    /// How many of its texts are empty.
    norm: watchdog::Norm,
}

/// By which its health is asked for.
const HEALTH: &str = "trunkline.speech.v1.Speech";
/// The method by which it is asked what it can do.
const CAPABILITIES: &str = "/trunkline.speech.v1.Speech/Capabilities";

impl Engine {
    /// What it can do, asked if it is not known.
    async fn can(&self) -> Result<Arc<CapabilitiesResponse>, Trouble> {
        let known = self.known.borrow().clone();
        match known {
            Some(can) => Ok(can),
            None => self.ask().await,
        }
    }

    async fn ask(&self) -> Result<Arc<CapabilitiesResponse>, Trouble> {
        // Twice: the first one is TCP's, and its own message is the better one.
        let patience = self.config.connect_timeout * 2;
        let asked = self.speaking.ask::<CapabilitiesResponse>(CAPABILITIES, &CapabilitiesRequest {});
        match tokio::time::timeout(patience, asked).await {
            Ok(Ok(can)) => {
                let can = Arc::new(can);
                self.known.send_replace(Some(can.clone()));
                Ok(can)
            }
            Ok(Err(status)) => Err(self.failed(&status)),
            Err(_) => Err(self.trouble(format!("did not say within {patience:?} what it can do"))),
        }
    }

    /// Whether it is there, serves, and can do what is configured.
    async fn check(&self) -> Result<(), Failed> {
        let whom = format!("speech service {:?} at {}", self.config.name, self.endpoint);
        pool::health(&self.speaking, HEALTH, &whom, self.config.connect_timeout * 2).await?;
        let fits = self.ask().await.and_then(|can| self.fits(&can));
        match fits {
            Ok(what) => {
                tracing::debug!(target: "speech", "{what}");
                Ok(())
            }
            Err(Trouble { reason, for_good, .. }) => Err(Failed { reason, at_once: for_good }),
        }
    }

    /// After a failure: it may be another one when it comes back.
    fn forget(&self) {
        self.known.send_replace(None);
    }

    /// What it will be used for, or why it cannot be used as it is configured.
    fn fits(&self, can: &CapabilitiesResponse) -> Result<String, Trouble> {
        let hearing = capabilities::hearing(can, &self.config.language).map_err(|e| self.mismatch(e))?;
        let default = Text::default();
        let speaking =
            capabilities::speaking(can, &self.config, &default, Band::Narrow).map_err(|e| self.mismatch(e))?;
        Ok(format!(
            "{:?} at {}: recognition of {:?} from {}; synthesis in {:?} by {:?} to {}",
            can.engine,
            self.endpoint,
            hearing.language,
            hearing.format,
            speaking.language,
            speaking.voice,
            speaking.format
        ))
    }

    fn trouble(&self, what: impl std::fmt::Display) -> Trouble {
        let reason = format!("speech service {:?} at {}: {what}", self.config.name, self.endpoint);
        Trouble { reason, for_good: false, unseen: false }
    }

    /// The engine cannot do what is wanted, and says so itself: to try again changes nothing.
    fn mismatch(&self, what: String) -> Trouble {
        Trouble { for_good: true, ..self.trouble(what) }
    }

    fn failed(&self, status: &tonic::Status) -> Trouble {
        use tonic::Code::{InvalidArgument, PermissionDenied, Unauthenticated, Unimplemented};
        let for_good = matches!(status.code(), InvalidArgument | PermissionDenied | Unauthenticated | Unimplemented);
        Trouble { for_good, unseen: channel::unseen(status), ..self.trouble(in_words(status)) }
    }
}

#[cfg(test)]
mod tests;
