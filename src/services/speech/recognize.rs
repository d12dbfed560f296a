//! One `Recognize` stream: messages in, the pure [`Stream`] in the middle, decodes on the shared recogniser, results out.
//!
//! The label of a piece of audio changes nothing here: what is read is what the marks enclose, under a prompt or not.

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::moonshine::Transcript;
use super::recogniser::Recogniser;
use super::server::rate;
use super::stream::{Output, Stream};
use crate::ms::Ms;
use crate::proto::speech::v1::recognize_request::Request;
use crate::proto::speech::v1::recognize_response::{Error, Final, Partial, Response};
use crate::proto::speech::v1::{RecognizeConfig, RecognizeRequest, RecognizeResponse};

/// Results that wait for a slow client; then recognition waits for it.
const WAITING: usize = 32;

type Results = mpsc::Sender<Result<RecognizeResponse, Status>>;

/// A decode that has ended: its ticket, and None if there was no place for it.
type Decoded = (u64, Option<Result<Transcript, String>>);

/// Serves the stream in a task of its own.
pub(super) fn run(
    recogniser: Recogniser,
    requests: Streaming<RecognizeRequest>,
) -> ReceiverStream<Result<RecognizeResponse, Status>> {
    let (results, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        if let Err(status) = listen(recogniser, requests, &results).await {
            // Nobody is left to hear it if this fails.
            let _ = results.send(Err(status)).await;
        }
    });
    ReceiverStream::new(receiver)
}

async fn listen(
    recogniser: Recogniser,
    mut requests: Streaming<RecognizeRequest>,
    results: &Results,
) -> Result<(), Status> {
    let Some(first) = requests.message().await? else {
        return Ok(());
    };
    let Some(Request::Config(config)) = first.request else {
        return Err(Status::invalid_argument("config: the first message of the stream has to be it"));
    };
    let mut stream = Stream::new(accept(&config)?);
    tracing::debug!(call = %config.call_id, "recognition begins");
    // At most one decode is under way: the stream asks for the next one only after that.
    let mut decodes = JoinSet::<Decoded>::new();
    let mut open = true;
    loop {
        while let Some(output) = stream.poll() {
            match output {
                Output::Decode(job) => {
                    let recogniser = recogniser.clone();
                    decodes.spawn(async move { (job.ticket, recogniser.decode(job).await) });
                }
                other => {
                    if results.send(Ok(message(other))).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        if !open && decodes.is_empty() {
            return Ok(());
        }
        tokio::select! {
            message = requests.message(), if open => match message? {
                Some(request) => take(&mut stream, request)?,
                // What has ended still gets its final result.
                None => open = false,
            },
            Some(done) = decodes.join_next() => match done {
                Ok((ticket, Some(result))) => stream.decoded(ticket, result),
                Ok((ticket, None)) => stream.refused(ticket),
                Err(error) => return Err(Status::internal(format!("recognition ended early: {error}"))),
            },
            () = results.closed() => return Ok(()),
        }
    }
}

/// The rate of a configuration that can be served.
fn accept(config: &RecognizeConfig) -> Result<u32, Status> {
    let rate = rate(config.format)?;
    let primary = config.language.split(['-', '_']).next().unwrap_or_default();
    if !primary.is_empty() && !primary.eq_ignore_ascii_case("en") {
        return Err(Status::invalid_argument(format!(
            "config.language: `{}` is not offered, `en` is",
            config.language
        )));
    }
    if !config.phrases.is_empty() {
        return Err(Status::unimplemented("config.phrases: this recogniser takes none, as Capabilities says"));
    }
    if !config.grammar.is_empty() {
        return Err(Status::unimplemented("config.grammar: this recogniser takes none, as Capabilities says"));
    }
    Ok(rate)
}

fn take(stream: &mut Stream, request: RecognizeRequest) -> Result<(), Status> {
    match request.request {
        Some(Request::Audio(audio)) => {
            if audio.samples.len() % 2 != 0 {
                return Err(Status::invalid_argument("audio.samples: an odd number of bytes is not 16-bit PCM"));
            }
            let samples = audio.samples.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
            stream.audio(Ms(audio.at_ms), &samples.collect::<Vec<i16>>());
        }
        Some(Request::UtteranceStart(mark)) => stream.started(mark.utterance_id, Ms(mark.start_ms), Ms(mark.from_ms)),
        Some(Request::UtteranceEnd(mark)) => {
            stream.ended(mark.utterance_id, Ms(mark.start_ms), Ms(mark.stop_ms));
        }
        Some(Request::Flush(_)) => stream.flush(),
        Some(Request::Hints(_)) => {
            return Err(Status::unimplemented("hints: this recogniser takes none, as Capabilities says"));
        }
        Some(Request::Config(_)) => {
            return Err(Status::invalid_argument("config: only the first message may be it"));
        }
        None => {
            return Err(Status::invalid_argument("request: not set, or of a kind that is not known here"));
        }
    }
    Ok(())
}

fn message(output: Output) -> RecognizeResponse {
    let response = match output {
        Output::Partial { utterance, text, until } => {
            Response::Partial(Partial { utterance_id: utterance, text, stop_ms: until.0 })
        }
        Output::Final { utterance, text, start, stop, confidence } => Response::Final(Final {
            utterance_id: utterance,
            text,
            start_ms: start.0,
            stop_ms: stop.0,
            confidence,
            ..Final::default()
        }),
        Output::Fault { reason } => Response::Error(Error { reason, retry: true }),
        // `listen` has taken it out.
        Output::Decode(_) => Response::Error(Error { reason: "a decode was not done".to_owned(), retry: true }),
    };
    RecognizeResponse { response: Some(response) }
}
