//! What the dialogue asks for: whether it can be done as the call stands, whether it comes too late, and what it answers.

use super::*;

/// Segments that may wait to be said.
const MOST_SEGMENTS: usize = 256;

impl Conversation {
    pub(super) fn asked(&mut self, now: Instant, asked: Asked) {
        let Asked { action_id, answers, even_if_stale, action } = asked;
        let action = match action.and_then(|action| self.has_room_for(&action).map(|()| action)) {
            Ok(action) => action,
            Err(reason) => {
                self.told.fault(format!("dialogue: {reason}"));
                return self.tell(now, Line::Fault(Fault::Action { action_id, reason }));
            }
        };
        if let Action::Say(prompt) = &action
            && self.is_cut_off(prompt)
        {
            let reason = cut_off(prompt);
            return self.tell(now, Line::Fault(Fault::Stale { action_id, reason }));
        }
        let takes_turn = !matches!(
            action,
            Action::Label { .. }
                | Action::Wait(_)
                | Action::Expect { .. }
                | Action::EndTurn(_)
                | Action::MoreTime(_)
                | Action::Mute(_)
                | Action::PauseRecording { .. }
        );
        if takes_turn && answers != 0 && answers < self.last_turn && !even_if_stale {
            let reason =
                format!("answers: event {answers}, but the caller has spoken since, in event {}", self.last_turn);
            return self.tell(now, Line::Fault(Fault::Stale { action_id, reason }));
        }
        self.acted = true;
        self.waits_from(now);
        if takes_turn {
            self.owes_nothing();
        }
        self.act(now, action, HungUpBy::Robot);
    }

    /// What cannot be done now; the reason names field and state. A dialogue that talks without end must not fill the memory.
    fn has_room_for(&self, action: &Action) -> Result<(), String> {
        match action {
            Action::Refer(_) => self.may_leave("refer"),
            Action::Transfer(_) => self.may_leave("transfer"),
            Action::Collect(Some(_)) if self.collection.is_some() => {
                Err("collect: another collection has no result yet; `cancel` ends it".to_owned())
            }
            Action::Collect(None) if self.collection.is_none() => {
                Err("collect.cancel: no collection is under way".to_owned())
            }
            Action::Say(prompt) if prompt.segments.is_empty() && !self.speaker.goes_on(&prompt.id) => {
                Err("say.segments: at least one is needed, no prompt of this id goes on".to_owned())
            }
            Action::PauseRecording { .. } => self.may_pause(),
            Action::EndTurn(utterance) => self.may_end_turn(*utterance),
            Action::Expect { hints, .. } => self.may_expect(hints.as_deref()),
            Action::Say(prompt) if self.speaker.segments() + prompt.segments.len() > MOST_SEGMENTS => {
                Err(format!("say.segments: more than {MOST_SEGMENTS} wait to be said"))
            }
            Action::Label { key, .. } => self.told.has_room_for(key),
            _ => Ok(()),
        }
    }

    /// Whether the orchestrator can have this done as the conversation stands.
    pub(in crate::call) fn allows(&self, action: &Action) -> Result<(), String> {
        match action {
            _ if self.ended => Err(format!("{}: the call is ending", action.name())),
            // What becomes of them is told by their events.
            Action::Refer(_) | Action::Transfer(_) => Ok(()),
            Action::Attach(_) if self.given_up || self.hangup.is_some() => {
                Err("attach_dialogue: the call is being hung up".to_owned())
            }
            Action::Attach(_) if self.is_leaving() => Err("attach_dialogue: the call is being handed over".to_owned()),
            Action::Say(prompt) if self.is_cut_off(prompt) => Err(cut_off(prompt)),
            action => self.has_room_for(action),
        }
    }
}

fn cut_off(prompt: &Prompt) -> String {
    format!("say.prompt_id: prompt {:?} was stopped before its end", prompt.id)
}
