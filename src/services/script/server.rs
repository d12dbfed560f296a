//! `dialogue.v1` as a gRPC server: one [`Robot`] a call.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::error::ScriptError;
use super::robot::{Act, Event, Robot, Segment};
use super::states::{Interruptible, Knob, Script, Style};
use crate::proto::dialogue::v1 as proto;
use crate::proto::dialogue::v1::action::Action as ActionKind;
use crate::proto::dialogue::v1::dialogue_server::{Dialogue, DialogueServer};
use crate::proto::dialogue::v1::line_event::Event as LineKind;
use crate::proto::dialogue::v1::segment::Segment as SegmentKind;
use crate::services::serving::{self, ServeError};

/// Actions that wait for a slow client.
const WAITING: usize = 32;

/// Why the dialogue does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialogueError {
    /// The script cannot be run; file, line, key and reason of all that is wrong.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The server does not serve.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Reads `script` and serves it on `addr` until `shutdown`.
///
/// # Errors
/// [`DialogueError`]; each says what to do.
pub async fn serve(addr: SocketAddr, script: &Path, shutdown: impl Future<Output = ()>) -> Result<(), DialogueError> {
    let script = Script::load(script)?;
    serve_on(serving::listen(addr).await?, script, shutdown).await
}

/// Serves on a socket that is already open until `shutdown`.
///
/// # Errors
/// [`DialogueError::Serve`].
pub async fn serve_on(
    listener: TcpListener,
    script: Script,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DialogueError> {
    if let Ok(addr) = listener.local_addr() {
        tracing::info!(%addr, states = script.states.len(), "the dialogue is up");
    }
    let service = DialogueServer::new(Scripted { script: Arc::new(script) });
    let name = <DialogueServer<Scripted> as NamedService>::NAME;
    Ok(serving::serve(listener, Routes::new(service), name, shutdown).await?)
}

struct Scripted {
    script: Arc<Script>,
}

#[tonic::async_trait]
impl Dialogue for Scripted {
    type ConverseStream = ReceiverStream<Result<proto::Action, Status>>;

    async fn converse(
        &self,
        request: Request<Streaming<proto::LineEvent>>,
    ) -> Result<Response<Self::ConverseStream>, Status> {
        let (actions, receiver) = mpsc::channel(WAITING);
        let robot = Robot::new(Arc::clone(&self.script));
        tokio::spawn(async move {
            if let Err(status) = converse(robot, request.into_inner(), &actions).await {
                // Nobody is left to hear it if this fails.
                let _ = actions.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

async fn converse(
    mut robot: Robot,
    mut events: Streaming<proto::LineEvent>,
    actions: &mpsc::Sender<Result<proto::Action, Status>>,
) -> Result<(), Status> {
    let mut begun = false;
    let mut number = 0_u64;
    while let Some(event) = events.message().await? {
        let Some(kind) = event.event else {
            tracing::warn!(event = event.event_id, "an event of a kind that this dialogue does not know");
            continue;
        };
        if begun == matches!(kind, LineKind::Begin(_)) {
            return Err(Status::invalid_argument("begin: has to be the first event, and only that"));
        }
        begun = true;
        if let LineKind::End(end) = &kind {
            tracing::debug!(by = %end.by, reason = %end.reason, state = robot.state(), "the call is over");
            return Ok(());
        }
        let Some(event_in) = read(kind)? else {
            continue;
        };
        for act in robot.handle(event_in) {
            number += 1;
            let action = proto::Action {
                action_id: number.to_string(),
                answers: event.event_id,
                // The robot has gone on to the next state; a prompt that were dropped would leave the caller behind.
                if_stale: proto::Stale::Play.into(),
                action: Some(write(act)),
            };
            if actions.send(Ok(action)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The event as the robot takes it; None for those that do not concern a script.
fn read(kind: LineKind) -> Result<Option<Event>, Status> {
    Ok(Some(match kind {
        LineKind::Begin(begin) => Event::Begin {
            caller: begin.caller,
            callee: begin.callee,
            variables: begin.variables.into_iter().collect(),
        },
        // What an announcement says before the answer is nothing that a script answers.
        LineKind::Early(_) => return Ok(None),
        LineKind::Utterance(utterance) if utterance.early_media => return Ok(None),
        LineKind::Utterance(utterance) => Event::Utterance {
            text: utterance.text,
            during_prompt: utterance.during_prompt,
            interrupted: utterance.interrupted.is_some(),
        },
        LineKind::NoInput(_) => Event::NoInput,
        LineKind::Key(key) => Event::Key {
            key: key.key.parse().map_err(|_| Status::invalid_argument("key.key: has to be one character"))?,
            interrupted: key.interrupted.is_some(),
        },
        LineKind::PromptDone(done) => {
            if !done.fault.is_empty() {
                tracing::warn!(prompt = %done.prompt_id, fault = %done.fault, "a prompt was not played whole");
            }
            Event::PromptDone { prompt: done.prompt_id, interrupted: done.interrupted.is_some() }
        }
        LineKind::Fault(fault) => {
            tracing::warn!(which = ?fault.which(), reason = %fault.reason, action = %fault.action_id, "fault");
            return Ok(None);
        }
        // A script asks neither for partial results, collections, transfers, marks nor who has answered, and follows no REFER; an interruption is acted upon when
        // its words are known.
        LineKind::Partial(_)
        | LineKind::Keys(_)
        | LineKind::TransferResult(_)
        | LineKind::ReferAsked(_)
        | LineKind::Referred(_)
        | LineKind::BargeIn(_)
        | LineKind::Mark(_)
        | LineKind::Hold(_)
        | LineKind::Muted(_)
        | LineKind::AnsweredBy(_)
        | LineKind::End(_) => return Ok(None),
    }))
}

fn write(act: Act) -> ActionKind {
    match act {
        Act::Set(knobs) => ActionKind::Set(knobs.into_iter().fold(proto::Knobs::default(), set)),
        Act::Say { prompt, segments, interruptible, silent } => ActionKind::Say(proto::Say {
            prompt_id: prompt,
            segments: segments.into_iter().map(segment).collect(),
            barge_in: match interruptible {
                Interruptible::Never => proto::BargeInPolicy::Never,
                Interruptible::Speech => proto::BargeInPolicy::Speech,
            }
            .into(),
            silent,
            ..proto::Say::default()
        }),
        Act::Label { key, value } => ActionKind::Label(proto::Label { key, value }),
        Act::Hangup { reason } => ActionKind::Hangup(proto::Hangup { reason, ..Default::default() }),
    }
}

fn set(mut knobs: proto::Knobs, (knob, value): (Knob, u32)) -> proto::Knobs {
    let field = match knob {
        Knob::EndpointMs => &mut knobs.endpoint_ms,
        Knob::SpeechStartMs => &mut knobs.speech_start_ms,
        Knob::PreRollMs => &mut knobs.pre_roll_ms,
        Knob::MaxUtteranceMs => &mut knobs.max_utterance_ms,
        Knob::NoInputMs => &mut knobs.no_input_ms,
        Knob::MinSpeechMs => &mut knobs.min_speech_ms,
        Knob::ProtectMs => &mut knobs.protect_ms,
    };
    *field = Some(value);
    knobs
}

fn segment(segment: Segment) -> proto::Segment {
    let kind = match segment {
        Segment::Text(text, style) => {
            let Style { voice, language, speed, pitch, volume } = style;
            SegmentKind::Text(proto::Text {
                text,
                voice: voice.unwrap_or_default(),
                speed,
                pitch,
                volume,
                language: language.unwrap_or_default(),
                ssml: false,
                once: false,
            })
        }
        Segment::File(path) => SegmentKind::File(proto::File { path }),
        Segment::Silence(duration_ms) => SegmentKind::Silence(proto::Silence { duration_ms }),
    };
    proto::Segment { segment: Some(kind), mark: String::new() }
}
