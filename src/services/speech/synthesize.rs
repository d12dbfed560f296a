//! `Synthesize` and `SynthesizeStream` over espeak.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::clauses::Clauses;
use super::espeak::{Espeak, EspeakError, LONGEST_TEXT, Manner, Speech};
use super::server::rate;
use super::voices::VoiceError;
use crate::proto::speech::v1::{SynthesizeConfig, SynthesizeRequest, SynthesizeResponse, TextPiece};

/// Pieces that wait for a slow client, here; the rest waits with espeak's output.
const WAITING: usize = 8;
/// Sentences spoken ahead of the one that is being heard.
const AHEAD: usize = 4;
/// Silence between two sentences that were synthesised apart, in ms: what espeak itself leaves between two.
const PAUSE_MS: usize = 250;

type Pieces = mpsc::Sender<Result<SynthesizeResponse, Status>>;
type PieceStream = ReceiverStream<Result<SynthesizeResponse, Status>>;

/// One text, spoken.
pub(super) fn whole(espeak: &Espeak, request: SynthesizeRequest) -> Result<PieceStream, Status> {
    let config = request.config.ok_or_else(|| Status::invalid_argument("config is not set"))?;
    let manner = accept(espeak, &config)?;
    check_length(&request.text)?;
    let mut speech = espeak.speak(request.text, manner);
    let (pieces, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move { forward(&mut speech, &pieces).await });
    Ok(ReceiverStream::new(receiver))
}

/// A text that is still being written, spoken sentence by sentence.
pub(super) fn pieces(espeak: Espeak, texts: Streaming<TextPiece>) -> PieceStream {
    let (pieces, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let (sentences, mut spoken) = mpsc::channel::<(Speech, u32)>(AHEAD);
        let reading = read(espeak, texts, sentences);
        let speaking = async {
            let mut first = true;
            while let Some((mut speech, rate)) = spoken.recv().await {
                if !first && !send(&pieces, &vec![0; rate as usize * PAUSE_MS / 1_000]).await {
                    return;
                }
                first = false;
                if !forward(&mut speech, &pieces).await {
                    return;
                }
            }
        };
        tokio::select! {
            // Both have to end; the first that cannot go on ends the other, and with it what espeak still does.
            () = pieces.closed() => {}
            (result, ()) = async { tokio::join!(reading, speaking) } => {
                if let Err(status) = result {
                    let _ = pieces.send(Err(status)).await;
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}

async fn read(
    espeak: Espeak,
    mut texts: Streaming<TextPiece>,
    sentences: mpsc::Sender<(Speech, u32)>,
) -> Result<(), Status> {
    let Some(first) = texts.message().await? else {
        return Ok(());
    };
    let config = first.config.ok_or_else(|| Status::invalid_argument("config: the first piece has to carry it"))?;
    if config.ssml {
        return Err(Status::unimplemented("config.ssml: SSML cannot be cut into sentences, send it by Synthesize"));
    }
    let manner = accept(&espeak, &config)?;
    let speak = async |sentence: String| {
        let speech = espeak.speak(sentence, manner.clone());
        sentences.send((speech, manner.rate)).await.is_ok()
    };
    let mut clauses = Clauses::default();
    let mut text = first.text;
    loop {
        check_length(&text)?;
        for sentence in clauses.push(&text) {
            if !speak(sentence).await {
                return Ok(());
            }
        }
        match texts.message().await? {
            Some(piece) if piece.config.is_some() => {
                return Err(Status::invalid_argument("config: only the first piece may carry it"));
            }
            Some(piece) => text = piece.text,
            None => break,
        }
    }
    if let Some(sentence) = clauses.finish() {
        speak(sentence).await;
    }
    Ok(())
}

/// Passes all of `speech` on; false when nobody listens any more, or after an error.
async fn forward(speech: &mut Speech, pieces: &Pieces) -> bool {
    while let Some(piece) = speech.next().await {
        let going = match piece {
            Ok(samples) => send(pieces, &samples).await,
            Err(error) => {
                tracing::warn!(%error, "synthesis failed");
                let _ = pieces.send(Err(failed(&error))).await;
                false
            }
        };
        if !going {
            return false;
        }
    }
    true
}

async fn send(pieces: &Pieces, samples: &[i16]) -> bool {
    let samples = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    pieces.send(Ok(SynthesizeResponse { samples, words: Vec::new() })).await.is_ok()
}

fn failed(error: &EspeakError) -> Status {
    match error {
        EspeakError::NotInstalled(_) | EspeakError::Hangs => Status::unavailable(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}

fn check_length(text: &str) -> Result<(), Status> {
    if text.len() > LONGEST_TEXT {
        return Err(Status::invalid_argument(format!("text: {} bytes are more than {LONGEST_TEXT}", text.len())));
    }
    Ok(())
}

/// How to speak, or which field is wrong.
fn accept(espeak: &Espeak, config: &SynthesizeConfig) -> Result<Manner, Status> {
    tracing::debug!(call = %config.call_id, voice = %config.voice, "synthesis begins");
    let voice = espeak.voices().find(&config.voice, &config.language).map_err(|error| {
        let field = match error {
            VoiceError::NoVoice(_) => "voice",
            _ => "language",
        };
        Status::invalid_argument(format!("config.{field}: {error}"))
    })?;
    Ok(Manner {
        voice,
        speed: within("speed", config.speed, 1.0, 0.5, 2.0)?,
        pitch: within("pitch", config.pitch, 0.0, -12.0, 12.0)?,
        volume: within("volume", config.volume, 0.0, -40.0, 10.0)?,
        ssml: config.ssml,
        rate: rate(config.format)?,
    })
}

fn within(field: &str, value: Option<f32>, default: f32, least: f32, most: f32) -> Result<f32, Status> {
    let value = value.unwrap_or(default);
    // A NaN is in no range.
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(Status::invalid_argument(format!("config.{field}: {value} is not within {least} to {most}")))
}
