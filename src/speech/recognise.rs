//! Recognition of one call: one task, which outlives streams that break and ends with its call.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryFutureExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::capabilities::{self, Hearing};
use super::ear::Ear;
use super::likely::{Likely, Takes};
use super::sound::Encoder;
use super::tape::Piece;
use super::told;
use super::watchdog::Watchdog;
use super::{Engine, Service, Trouble};
use crate::call::io::{FromSpeech, HeardFrame, Label, ToRecogniser};
use crate::channel::pool::Place;
use crate::channel::{Anew, Refused, Sending};
use crate::codec::resample::ResampleError;
use crate::proto::speech::v1 as proto;
use crate::proto::speech::v1::recognize_request::Request;
use crate::proto::speech::v1::recognize_response::{self as answer, Response as Answer};

/// The method.
const RECOGNIZE: &str = "/trunkline.speech.v1.Speech/Recognize";

/// A stream that has lived so long was up, though it said nothing.
const LIVED: Duration = Duration::from_secs(5);

/// Pauses between attempts: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Session<T> {
    service: Arc<Service>,
    call_id: String,
    ear: Ear,
    watchdog: Watchdog,
    teller: Teller<T>,
}

/// How a stream ended.
enum End {
    /// The call is over.
    Call,
    /// Something broke.
    Broken {
        trouble: Trouble,
        /// The stream had been up.
        was_up: bool,
    },
}

impl<T: From<FromSpeech> + Send + 'static> Session<T> {
    pub(super) fn new(
        service: Arc<Service>,
        call_id: &str,
        frames: rtrb::Consumer<HeardFrame>,
        label: Option<Label>,
        marks: mpsc::Receiver<ToRecogniser>,
        likely: Likely,
        inbox: mpsc::Sender<T>,
    ) -> Session<T> {
        let ear = Ear::new(frames, label, marks, service.config.batch, likely);
        let watchdog = Watchdog::new(service.config.silent);
        let teller = Teller { inbox, told: false, gone: false };
        Session { service, call_id: call_id.to_owned(), ear, watchdog, teller }
    }

    pub(super) async fn run(mut self) {
        let service = self.service.clone();
        let mut down_since: Option<Instant> = None;
        let mut pause = FIRST_PAUSE;
        let mut anew = Anew::default();
        // Endpoints that have failed since one worked; and those of them that will not do better.
        let (mut failed, mut hopeless): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        loop {
            let Some(place) = service.pool.pick(&failed) else {
                let reason = format!("speech service {:?} has no endpoint", service.config.name);
                return self.teller.trouble(&mut self.ear, reason, true).await;
            };
            let engine = &place.link;
            let (stream, endpoint) = (place.enter(), place.endpoint.clone());
            let (trouble, was_up) = match self.stream(place).await {
                End::Call => return,
                End::Broken { trouble, was_up } if anew.is_due(trouble.unseen && !was_up) => {
                    tracing::debug!(target: "speech", call = %self.call_id, "is opened anew: {}", trouble.reason);
                    continue;
                }
                End::Broken { trouble, was_up } => (trouble, was_up),
            };
            drop(stream);
            engine.counted.recognition_failures.inc();
            engine.forget();
            place.broke(&trouble.reason, was_up || trouble.for_good);
            tracing::warn!(target: "speech", call = %self.call_id, "{}", trouble.reason);
            if was_up {
                down_since = None;
                pause = FIRST_PAUSE;
                self.teller.told = false;
                failed.clear();
                hopeless.clear();
            }
            failed.push(endpoint.clone());
            if trouble.for_good && !hopeless.contains(&endpoint) {
                hopeless.push(endpoint);
            }
            let since = *down_since.get_or_insert_with(Instant::now);
            let lost = hopeless.len() == service.pool.len() || since.elapsed() >= service.config.give_up;
            self.teller.trouble(&mut self.ear, trouble.reason, lost).await;
            if lost || self.teller.gone {
                return;
            }
            engine.counted.reconnects.inc();
            // Another endpoint is tried at once; where all have failed, all are tried anew after a pause.
            if service.pool.has_other(&failed) && self.ear.over_at.is_none() {
                continue;
            }
            failed.clone_from(&hopeless);
            if self.wait(pause.mul_f32(0.5 + rand::random::<f32>())).await {
                return;
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Pauses, and goes on listening. Whether the call ended meanwhile.
    async fn wait(&mut self, pause: Duration) -> bool {
        let mut over = pin!(sleep(pause));
        while self.ear.over_at.is_none() {
            tokio::select! {
                () = &mut over => return false,
                () = self.ear.listen() => {
                    self.count_dropped();
                }
            }
        }
        true
    }

    fn count_dropped(&mut self) -> u64 {
        let dropped = self.ear.tape.take_dropped();
        self.service.counted.dropped.inc_by(dropped);
        dropped
    }

    /// What comes of it, while it is listened on; `None`: the call is over, and it was of no more use.
    async fn meanwhile<R, E>(&mut self, work: impl Future<Output = Result<R, E>>) -> Option<Result<R, E>> {
        let mut work = pin!(work);
        loop {
            let over_at = self.ear.over_at;
            if over_at.is_some() && !self.ear.tape.is_anything_waiting() {
                return None;
            }
            tokio::select! {
                done = &mut work => return Some(done).filter(|done| done.is_ok() || over_at.is_none()),
                () = self.ear.listen() => {
                    self.count_dropped();
                }
                () = reached(over_at) => return None,
            }
        }
    }

    /// One stream, from its opening to its end.
    async fn stream(&mut self, place: &Place<Engine>) -> End {
        let engine = &place.link;
        let asking = engine.can().and_then(async |can| {
            capabilities::hearing(&can, &engine.config.language).map_err(|what| engine.mismatch(what))
        });
        let hearing = match self.meanwhile(asking).await {
            Some(Ok(hearing)) => hearing,
            Some(Err(trouble)) => return End::Broken { trouble, was_up: false },
            None => return End::Call,
        };
        self.ear.tape.rewind();
        self.watchdog.begin();
        self.converse(place, hearing).await
    }

    async fn converse(&mut self, place: &Place<Engine>, hearing: Hearing) -> End {
        let engine = &place.link;
        let mut encoder = Encoder::new(hearing.format);
        let (partials, takes) = (hearing.partials, hearing.takes);
        let proto::Hints { phrases, grammar } = self.ear.likely.first(takes);
        let config = proto::RecognizeConfig {
            call_id: self.call_id.clone(),
            language: hearing.language,
            format: Some(hearing.format.message()),
            phrases,
            grammar,
        };
        let opening = engine.hearing.open(RECOGNIZE);
        let (mut sending, mut answers) = match self.meanwhile(opening).await {
            Some(Ok(open)) => open,
            Some(Err(status)) => return End::Broken { trouble: engine.failed(&status), was_up: false },
            None => return End::Call,
        };
        let opened = Instant::now();
        // What does not get so far is missed by the answers.
        let _ = told::request(&mut sending, Request::Config(config));
        let mut out = Some(sending);
        let mut heard_from = false;
        let mut no_retry = None;
        loop {
            let over_at = self.ear.over_at;
            if let Some(field) = self.ear.likely.refused(takes) {
                let reason = engine.trouble(format!("{field}: it takes none, as its Capabilities say")).reason;
                if !self.teller.tell(&mut self.ear, FromSpeech::RecognitionTrouble { reason, lost: false }).await {
                    return End::Call;
                }
            }
            // Whatever it can take it gets at once: a look at the connection for each piece costs as much as the piece.
            let full = match self.give(&mut out, &mut encoder, takes, over_at.is_some()) {
                Ok(full) => full,
                Err(error) => {
                    return End::Broken { trouble: engine.mismatch(error.to_string()), was_up: true };
                }
            };
            tokio::select! {
                answer = answers.next::<proto::RecognizeResponse>() => {
                    let broken = match answer {
                        Some(Ok(answer)) => {
                            if !std::mem::replace(&mut heard_from, true) {
                                place.answered();
                            }
                            self.watchdog.answered();
                            if let Some(told) = self.understand(engine, answer, &mut no_retry)
                                && !self.teller.tell(&mut self.ear, told).await
                            {
                                return End::Call;
                            }
                            continue;
                        }
                        Some(Err(status)) => engine.failed(&status),
                        None => engine.trouble("closed the recognition stream"),
                    };
                    if over_at.is_some() {
                        return End::Call;
                    }
                    let was_up = heard_from || opened.elapsed() >= LIVED;
                    let trouble = match no_retry {
                        Some(reason) => engine.mismatch(reason),
                        // It has worked: what it says now may be of the moment.
                        None => Trouble { for_good: broken.for_good && !was_up, ..broken },
                    };
                    return End::Broken { trouble, was_up };
                }
                () = has_room(&mut out), if full => {}
                () = self.ear.listen() => {
                    if self.count_dropped() > 0 {
                        let stuck = engine.trouble("does not take the audio: the oldest is dropped");
                        self.teller.trouble(&mut self.ear, stuck.reason, false).await;
                    }
                    if let Some(why) = self.watchdog.look(&mut self.ear.tape, &engine.norm, partials, Instant::now()) {
                        engine.counted.silent.inc();
                        // It takes what it is given: there is nothing to wait for.
                        return End::Broken { trouble: engine.trouble(why), was_up: true };
                    }
                }
                () = reached(over_at) => return End::Call,
            }
        }
    }

    /// Gives the stream what the tape has for it, and after the last of it, when the call is over, the flush. Whether it was too much:
    /// there is more, and no room.
    fn give(
        &mut self,
        out: &mut Option<Sending>,
        encoder: &mut Encoder,
        takes: Takes,
        over: bool,
    ) -> Result<bool, ResampleError> {
        while let Some(to) = out {
            let next = self.ear.tape.next();
            if next.is_none() && !over && !self.ear.likely.has_news() {
                break;
            }
            match to.has_room() {
                Ok(()) => {}
                Err(Refused::Full) => return Ok(true),
                // Nobody reads them any more: the answers will say why.
                Err(Refused::Closed) => break,
            }
            if self.ear.likely.has_news() {
                if let Some(hints) = self.ear.likely.next(takes)
                    && told::request(to, Request::Hints(hints)).is_err()
                {
                    break;
                }
                continue;
            }
            match next {
                Some(piece) => {
                    if told::piece(to, piece, encoder)?.is_err() {
                        break;
                    }
                    if let Piece::End { start, stop, .. } = *piece {
                        self.watchdog.told(stop.saturating_sub(start));
                    }
                    self.ear.tape.advance(Instant::now());
                }
                None => {
                    let _ = told::request(to, Request::Flush(proto::Flush {}));
                    out.take().into_iter().for_each(Sending::end);
                }
            }
        }
        Ok(false)
    }

    /// What the call is to be told of an answer, if anything.
    fn understand(
        &mut self,
        engine: &Engine,
        answer: proto::RecognizeResponse,
        no_retry: &mut Option<String>,
    ) -> Option<FromSpeech> {
        match answer.response {
            Some(Answer::Partial(answer::Partial { utterance_id, text, .. }))
                if self.ear.tape.is_waiting(utterance_id) =>
            {
                self.teller.told = false;
                if !text.trim().is_empty() {
                    self.watchdog.text();
                }
                Some(FromSpeech::Partial { utterance: utterance_id, text })
            }
            Some(Answer::Final(last)) if self.ear.tape.is_waiting(last.utterance_id) => {
                self.teller.told = false;
                if let Some(done) = self.ear.tape.done(last.utterance_id) {
                    done.ended.iter().for_each(|ended| engine.counted.to_final.observe(ended.elapsed().as_secs_f64()));
                    self.watchdog.last(&engine.norm, &last.text, done.length);
                }
                Some(FromSpeech::Final {
                    utterance: last.utterance_id,
                    text: last.text,
                    alternatives: last.alternatives,
                    confidence: last.confidence.filter(|c| (0.0..=1.0).contains(c)),
                })
            }
            // The turn is ended by our own endpointing: an opinion on it has no taker yet.
            Some(Answer::TurnHint(_)) => None,
            Some(Answer::Error(answer::Error { reason, retry })) => {
                let trouble = engine.trouble(&reason);
                if !retry {
                    *no_retry = Some(reason);
                }
                if std::mem::replace(&mut self.teller.told, true) {
                    return None;
                }
                Some(FromSpeech::RecognitionTrouble { reason: trouble.reason, lost: false })
            }
            // A text that nobody waits for (any more), or an answer of a kind not known to this version.
            Some(Answer::Partial(_) | Answer::Final(_)) | None => {
                engine.counted.nonsense.inc();
                tracing::debug!(target: "speech", call = %self.call_id, "an answer that nobody waits for");
                None
            }
        }
    }
}

/// Waits for the end that is set; for ever while none is.
async fn reached(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Waits for room for one more message, or until nobody reads them any more.
async fn has_room(out: &mut Option<Sending>) {
    if let Some(out) = out {
        out.room().await;
    }
}

/// The way to the call.
struct Teller<T> {
    inbox: mpsc::Sender<T>,
    /// The call knows of the trouble that there is: it is told once, until something works again.
    told: bool,
    /// The call's inbox is closed.
    gone: bool,
}

impl<T: From<FromSpeech>> Teller<T> {
    /// Tells the call, and listens on while its inbox is full. Whether it is still there.
    async fn tell(&mut self, ear: &mut Ear, message: FromSpeech) -> bool {
        let mut sending = pin!(self.inbox.send(message.into()));
        loop {
            tokio::select! {
                sent = &mut sending => {
                    self.gone = sent.is_err();
                    return !self.gone;
                }
                () = ear.listen() => {}
            }
        }
    }

    async fn trouble(&mut self, ear: &mut Ear, reason: String, lost: bool) {
        if lost || !self.told {
            self.told = true;
            self.tell(ear, FromSpeech::RecognitionTrouble { reason, lost }).await;
        }
    }
}
