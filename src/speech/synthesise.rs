//! Synthesis of one segment: one task, which dies with its handle.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Status;

use super::capabilities;
use super::phrases::{self, Key, Phrases};
use super::sound::Decoder;
use super::{Engine, Service, Trouble};
use crate::call::io::FromSpeech;
use crate::call::prompt::{PromptNo, Text};
use crate::channel::{Anew, Answers, unseen};
use crate::codec::coding::Band;
use crate::codec::resample::ResampleError;
use crate::grid;
use crate::proto::speech::v1 as proto;

/// The method.
const SYNTHESIZE: &str = "/trunkline.speech.v1.Speech/Synthesize";

/// The longest sound of one segment: 16 KiB of text, read slowly, are shorter. More is an engine that does not stop.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// How much more sound the call may have than can have been heard: enough to bridge an engine's pauses, and so little that a long text
/// does not lie in memory as a whole. What goes beyond waits at the engine, held back by HTTP/2.
const LEAD: Duration = Duration::from_millis(300);

/// A segment that is being synthesised. Dropping it closes the stream, which cancels the engine's work.
#[derive(Debug)]
pub struct Synthesis {
    task: AbortHandle,
}

impl Drop for Synthesis {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn start<T>(
    service: Result<Arc<Service>, String>,
    phrases: Option<Phrases>,
    call_id: &str,
    (prompt, segment): (PromptNo, u32),
    text: Text,
    line: Band,
    inbox: mpsc::Sender<T>,
) -> Synthesis
where
    T: From<FromSpeech> + Send + 'static,
{
    let call_id = call_id.to_owned();
    let task = tokio::spawn(async move {
        let last = match service {
            Ok(service) => {
                let key = phrases.and_then(|phrases| Some((phrases, Key::of(&service.config, &text, line)?)));
                let kept = match &key {
                    Some((phrases, key)) => phrases.sound(*key, line).await,
                    None => None,
                };
                let whole = key.is_some().then(Vec::new);
                let speaker = Speaker {
                    service,
                    call_id,
                    prompt,
                    segment,
                    text,
                    line,
                    given: 0,
                    first: None,
                    whole,
                    inbox: &inbox,
                };
                match kept {
                    Some(samples) => FromSpeech::Recording { prompt, segment, band: line, samples },
                    None => speaker.say(key).await,
                }
            }
            Err(reason) => FromSpeech::SoundFailed { prompt, segment, reason },
        };
        // A call that is gone needs no last word.
        let _ = inbox.send(last.into()).await;
    });
    Synthesis { task: task.abort_handle() }
}

/// A failure that came as quickly as this may be tried again at the same endpoint; after a longer one the caller has waited enough.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Endpoints that are asked for a segment, at most.
const ENDPOINTS: usize = 3;

struct Speaker<'a, T> {
    service: Arc<Service>,
    call_id: String,
    prompt: PromptNo,
    segment: u32,
    text: Text,
    line: Band,
    /// Samples that the call has got.
    given: usize,
    /// When it got the first of them.
    first: Option<Instant>,
    /// All of them, if the phrase is to be kept.
    whole: Option<Vec<i16>>,
    inbox: &'a mpsc::Sender<T>,
}

impl<T: From<FromSpeech>> Speaker<'_, T> {
    /// Says it, and keeps what has come whole.
    async fn say(mut self, key: Option<(Phrases, Key)>) -> FromSpeech {
        let (prompt, segment) = (self.prompt, self.segment);
        match self.run().await {
            Ok(()) => {
                if let (Some((phrases, key)), Some(samples)) = (key, self.whole) {
                    phrases.keep(key, self.line, samples);
                }
                FromSpeech::SoundEnd { prompt, segment }
            }
            Err(reason) => FromSpeech::SoundFailed { prompt, segment, reason },
        }
    }

    /// A segment of which nothing was heard yet is asked for elsewhere when it fails; where there is nowhere else, once more.
    async fn run(&mut self) -> Result<(), String> {
        let service = self.service.clone();
        let mut failed = Vec::new();
        let begun = Instant::now();
        loop {
            let Some(place) = service.pool.pick(&failed) else {
                return Err(format!("speech service {:?} has no endpoint", service.config.name));
            };
            let stream = place.enter();
            let Err(trouble) = self.speak(&place.link).await else {
                place.answered();
                return Ok(());
            };
            drop(stream);
            let engine = &place.link;
            engine.counted.synthesis_failures.inc();
            engine.forget();
            place.broke(&trouble.reason, self.given > 0 || trouble.for_good);
            tracing::warn!(target: "speech", call = %self.call_id, "{}", trouble.reason);
            let again = failed.contains(&place.endpoint);
            failed.push(place.endpoint.clone());
            let elsewhere = failed.len() < ENDPOINTS && service.pool.has_other(&failed);
            let here = !trouble.for_good && !again && begun.elapsed() <= AT_ONCE;
            if self.given > 0 || !(elsewhere || here) {
                return Err(trouble.reason);
            }
        }
    }

    async fn speak(&mut self, engine: &Engine) -> Result<(), Trouble> {
        let wished = Instant::now();
        let stall = engine.config.stall_timeout;
        let can = engine.can().await?;
        let how = capabilities::speaking(&can, &engine.config, &self.text, self.line)
            .map_err(|what| engine.mismatch(what))?;
        let broken = |error: ResampleError| engine.mismatch(error.to_string());
        let mut decoder = Decoder::new(how.format, self.line).map_err(broken)?;
        let request = proto::SynthesizeRequest {
            config: Some(proto::SynthesizeConfig {
                call_id: self.call_id.clone(),
                voice: how.voice,
                language: how.language,
                speed: self.text.speed,
                pitch: self.text.pitch,
                volume: self.text.volume,
                ssml: self.text.ssml,
                format: Some(how.format.message()),
            }),
            text: self.text.text.to_string(),
        };
        let mut quiet_until = Instant::now() + stall;
        // In a box, which is gone when the sound comes.
        let opening = timeout_at(quiet_until, Box::pin(first_piece(engine, request))).await;
        let (mut pieces, mut first) = opening.map_err(|_| stalled(engine, stall))??;
        loop {
            let piece = match first.take() {
                Some(first) => Some(first),
                None => {
                    let next = timeout_at(quiet_until, pieces.next()).await.map_err(|_| stalled(engine, stall))?;
                    next.transpose().map_err(|status| engine.failed(&status))?
                }
            };
            match piece {
                // Only sound counts: an engine that sends empty pieces stalls too.
                Some(piece) if piece.samples.is_empty() => continue,
                Some(piece) => decoder.push(&piece.samples).map_err(broken)?,
                None => break,
            }
            while let Some(samples) = decoder.piece() {
                if self.given == 0 {
                    engine.counted.to_sound.observe(wished.elapsed().as_secs_f64());
                }
                self.give(engine, samples).await?;
            }
            // From here on, lest a call that takes its time is taken for an engine that does.
            quiet_until = Instant::now() + stall;
        }
        if decoder.is_torn() {
            engine.counted.nonsense.inc();
            self.whole = None;
        }
        decoder.finish().map_err(broken)?;
        while let Some(samples) = decoder.rest() {
            self.give(engine, samples).await?;
        }
        // "…" may well be silent, words may not.
        if self.given == 0 && self.text.text.chars().any(char::is_alphanumeric) {
            return Err(engine.trouble("gave no sound"));
        }
        Ok(())
    }

    /// Of what the call has got.
    fn length(&self) -> Duration {
        Duration::from_millis((self.given / self.line.per_ms()) as u64)
    }

    async fn give(&mut self, engine: &Engine, samples: Vec<i16>) -> Result<(), Trouble> {
        let first = *self.first.get_or_insert_with(Instant::now);
        // The first pieces go on as they come.
        if let Some(ahead) = self.length().checked_sub(LEAD) {
            sleep_until(grid::from(first + ahead)).await;
        }
        self.given += samples.len();
        let length = self.length();
        // A long one is said, and not kept.
        self.whole = self.whole.take().filter(|_| length <= phrases::LONGEST);
        if let Some(whole) = &mut self.whole {
            whole.extend_from_slice(&samples);
        }
        if length > LONGEST {
            return Err(engine.mismatch("does not stop speaking: half an hour of one segment".into()));
        }
        let sound = FromSpeech::Sound { prompt: self.prompt, segment: self.segment, band: self.line, samples };
        // A call that is gone drops its handle as well, which ends this task.
        let _ = self.inbox.send(sound.into()).await;
        Ok(())
    }
}

/// The answers to a request, and the first of them.
async fn first_piece(
    engine: &Engine,
    request: proto::SynthesizeRequest,
) -> Result<(Answers, Option<proto::SynthesizeResponse>), Trouble> {
    let mut anew = Anew::default();
    loop {
        let first = async {
            let mut pieces = engine.speaking.hear(SYNTHESIZE, &request).await?;
            let first = pieces.next().await.transpose()?;
            Ok::<_, Status>((pieces, first))
        };
        match first.await {
            Err(status) if anew.is_due(unseen(&status)) => {}
            Err(status) => return Err(engine.failed(&status)),
            Ok(first) => return Ok(first),
        }
    }
}

fn stalled(engine: &Engine, stall: Duration) -> Trouble {
    engine.trouble(format!("gave no sound for {stall:?}"))
}
