//! What the orchestrator wants of a call: whether the call is up for it. Whether it can be done as the conversation stands, its task knows.

use std::sync::Arc;

use tokio::sync::mpsc::Permit;
use tokio::sync::oneshot;

use super::{Router, room};
use crate::call::action::Action;
use crate::media::Listener;
use crate::switchboard::order::{Phase, Refusal, Sent};
use crate::switchboard::task::{Command, Listening, ToTask};

/// The most that listen in at a time, all calls together: each is 25 wakes a second and more.
const MOST_LISTENERS: usize = 256;

impl Router {
    pub(super) fn send(
        &mut self,
        call_id: &str,
        request_id: String,
        action: Action,
        reply: oneshot::Sender<Result<Sent, Refusal>>,
    ) {
        match self.sendable(call_id, &action) {
            Ok((sent, room)) => room.send(ToTask::Command(Box::new(Command { request_id, action, sent, reply }))),
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    fn sendable(&mut self, call_id: &str, action: &Action) -> Result<(Sent, Permit<'_, ToTask>), Refusal> {
        if let Action::Attach(name) = action
            && !self.settings.dialogues.contains(name)
        {
            let field = "attach_dialogue.dialogue";
            return Err(Refusal::Invalid { field, reason: format!("no dialogue is configured by the name {name:?}") });
        }
        let up = self.up(call_id)?;
        let hang_up = matches!(action, Action::Hangup { .. });
        if matches!(action, Action::PauseRecording { .. }) && !up.recorded {
            let phase = up.state.phase;
            return Err(Refusal::WrongState(format!("record_pause: call {call_id} is {phase:?} and is not recorded")));
        }
        let sent = match up.state.phase {
            Phase::Talking => Sent::Done,
            Phase::Dialling | Phase::Ringing | Phase::Waiting if hang_up => Sent::Cancelled,
            phase => {
                let before = "only a hang-up is possible before the answer, and nothing after the end";
                return Err(Refusal::WrongState(format!("{}: call {call_id} is {phase:?}: {before}", action.name())));
            }
        };
        Ok((sent, room(up)?))
    }

    pub(super) fn listen(&mut self, call_id: &str, reply: oneshot::Sender<Result<Listener, Refusal>>) {
        match self.audible(call_id) {
            Ok((counted, room)) => room.send(ToTask::Listen(Box::new(Listening { counted, reply }))),
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    fn audible(&mut self, call_id: &str) -> Result<(Arc<()>, Permit<'_, ToTask>), Refusal> {
        let counted = self.listening.clone();
        let up = self.up(call_id)?;
        if up.state.phase != Phase::Talking {
            let phase = up.state.phase;
            return Err(Refusal::WrongState(format!(
                "call_id: call {call_id} is {phase:?}: there is nothing to listen to before the answer and after the end"
            )));
        }
        // The router has one of its own, and this one is another.
        if Arc::strong_count(&counted) - 2 >= MOST_LISTENERS {
            return Err(Refusal::Listeners(format!("{MOST_LISTENERS} listen in, and no more may at a time")));
        }
        Ok((counted, room(up)?))
    }
}
