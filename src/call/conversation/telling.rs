//! What happened is told: to the world, to the dialogue, and to the record.

use super::*;

impl Conversation {
    pub(super) fn prompt_started(&mut self, now: Instant, no: PromptNo, at: Ms) {
        let Some(entry) = self.speaker.started(no, at) else { return };
        let (prompt_id, text) = (entry.prompt.id.clone(), entry.spoken());
        let after_utterance = entry.answers.map(|stop| at.saturating_sub(stop));
        let what = What::PromptStarted { prompt_id, text: self.shown_text(at, text), after_utterance };
        self.event(now, what);
    }

    pub(super) fn prompt_stopped(
        &mut self,
        now: Instant,
        entry: Entry,
        at: Ms,
        (heard, segment, segment_heard): (Ms, u32, Ms),
        by: Stopped,
    ) {
        // Those that had not begun were heard not at all, whatever was heard of the one that was stopped first.
        let heard = match entry.started {
            Some(_) => Speaker::heard(&entry, heard, segment, segment_heard),
            None => Speaker::heard(&entry, Ms(0), 0, Ms(0)),
        };
        let (stopped_by, reaction) = match by {
            Stopped::Speech { onset } => (StoppedBy::Speech, at.saturating_sub(onset)),
            Stopped::Key => (StoppedBy::Key, Ms(0)),
            Stopped::Asked if entry.bridging => (StoppedBy::Answer, Ms(0)),
            Stopped::Asked => (StoppedBy::Stop, Ms(0)),
        };
        self.event(now, What::PromptInterrupted { heard: heard.clone(), by: stopped_by, reaction });
        if entry.started.is_some() {
            self.robot_turn(&entry, at, true);
            match by {
                Stopped::Speech { .. } => {
                    self.interrupted = Some(heard.clone());
                    // The caller has taken the turn: what is still to come for the one before is stale.
                    self.tell(now, Line::BargeIn(heard.clone()));
                    self.last_turn = self.last_event;
                }
                Stopped::Key => self.interrupted_by_key = Some(heard.clone()),
                Stopped::Asked => {}
            }
        }
        if entry.is_open() {
            self.cut_off(&entry.prompt.id);
        }
        if !entry.bridging {
            let (prompt_id, fault) = (entry.prompt.id, entry.fault);
            self.tell(now, Line::PromptDone { prompt_id, interrupted: Some(heard), fault });
        }
    }

    pub(super) fn robot_turn(&mut self, entry: &Entry, stop: Ms, interrupted: bool) {
        let Some(start) = entry.started else { return };
        // What is said again and again while somebody is called is one turn.
        if let Some(last) = self.told.turns.last_mut().filter(|last| entry.bridging && last.id == entry.prompt.id) {
            (last.stop, last.length_ms) = (stop, stop.saturating_sub(last.start));
            (last.interrupted, last.interrupted_at) = (interrupted, interrupted.then_some(stop));
            return;
        }
        self.told.turns.push(Turn {
            role: Role::Speech,
            text: self.shown_text(start, entry.spoken()),
            start,
            stop,
            length_ms: stop.saturating_sub(start),
            interrupted,
            interrupted_at: interrupted.then_some(stop),
            silent: entry.prompt.silent,
            id: entry.prompt.id.clone(),
            answered_after_ms: entry.answers.map(|end| start.saturating_sub(end)),
        });
    }

    fn caller_turn(&mut self, utterance: &Utterance) {
        let Utterance { utterance: no, start, stop, .. } = *utterance;
        // Its turn was ended early, and has been told: this is all of it.
        if let Some(turn) = self.turn_of(no) {
            (turn.text, turn.stop) = (utterance.text.clone(), stop);
            turn.length_ms = stop.saturating_sub(start);
            return;
        }
        self.told.turns.push(Turn {
            role: Role::Voice,
            text: utterance.text.clone(),
            start,
            stop,
            length_ms: stop.saturating_sub(start),
            interrupted: false,
            interrupted_at: None,
            silent: false,
            id: format!("utterance-{no}"),
            answered_after_ms: None,
        });
    }

    pub(super) fn deliver(&mut self, now: Instant, mut utterance: Utterance) {
        utterance.filler = self.is_filler(&utterance.text);
        let shown = self.shown_utterance(&utterance);
        self.caller_turn(&shown);
        if !(utterance.during_prompt && utterance.filler) {
            self.silences = 0;
        }
        let latency = self.at(now).saturating_sub(utterance.stop);
        self.event(now, What::Utterance { utterance: Box::new(shown), latency });
        if self.ended {
            return;
        }
        if utterance.during_prompt {
            self.tell(now, Line::Utterance(utterance));
            // What could not interrupt does not make the caller's time for an answer longer.
            let last_word = self.answered + self.last_word.as_duration();
            return self.rest_since(now, last_word.min(now));
        }
        self.expect(None);
        self.unanswered = Some(utterance.stop);
        self.last_turn = self.ask(now, Line::Utterance(utterance));
        self.bridge_later(now);
        self.rest(now);
    }
}
