//! The caller's turn as the dialogue shapes it: ended early on what is understood so far, given more time, told what to expect.
//!
//! A turn that is ended early is told at once, with the best partial text. The leg's utterance goes on until its silence, since the rest of the word is
//! still to come: what it brings belongs to that turn, and only the record sees its final text. Who speaks on and interrupts a prompt with it has
//! something else to say: then it is told once more, whole.

use std::sync::Arc;

use super::*;
use crate::call::hints::Hints;
use crate::call::knobs::LegKnobs;

/// What is different in this turn.
#[derive(Debug, Default)]
pub(super) struct Turning {
    /// Silence that ends it, in the place of the knob's.
    endpoint: Option<Ms>,
    /// The recogniser has been told what to expect in it.
    expecting: bool,
    /// The last utterance that was ended early, and how many of its words counted then; 0 for none.
    ended: (u32, usize),
}

impl Conversation {
    /// The knobs of the leg, in this turn.
    pub(super) fn leg_knobs(&self) -> LegKnobs {
        let knobs = self.knobs.leg();
        LegKnobs { endpoint: self.turning.endpoint.unwrap_or(knobs.endpoint), ..knobs }
    }

    /// Another silence ends this turn; with none, the knob's again.
    pub(super) fn more_time(&mut self, endpoint: Option<Ms>) {
        if std::mem::replace(&mut self.turning.endpoint, endpoint) != endpoint {
            self.out.push_back(Output::Leg(leg::Command::Knobs(self.leg_knobs())));
        }
    }

    /// Only what goes on, or waits for its text, can be ended.
    pub(super) fn may_end_turn(&self, utterance: u32) -> Result<(), String> {
        let waits = |pending: &Pending| pending.utterance.utterance == utterance && !pending.stopping;
        if self.is_ended_early(utterance) {
            return Err(format!("end_turn.utterance_id: the turn of utterance {utterance} has been ended already"));
        }
        if self.speaking.is_none_or(|(no, _)| no != utterance) && !self.pending.iter().any(waits) {
            return Err(format!(
                "end_turn.utterance_id: utterance {utterance} is not under way: it is over, or has not begun"
            ));
        }
        Ok(())
    }

    /// The caller has said enough.
    pub(super) fn end_turn(&mut self, now: Instant, utterance: u32) {
        if self.may_end_turn(utterance).is_err() {
            return;
        }
        let waiting = self.pending.iter().position(|pending| pending.utterance.utterance == utterance);
        let mut told = match (waiting.and_then(|at| self.pending.remove(at)), self.speaking) {
            (Some(pending), _) => pending.utterance,
            (None, Some((_, start))) => {
                let interrupted = self.interrupted.take();
                Utterance { interrupted, ..Utterance::unheard(utterance, start, self.at(now).max(start)) }
            }
            (None, None) => return,
        };
        (told.during_prompt, told.ended_early) = (false, true);
        if let Some(text) = self.partials.get(&utterance) {
            (told.text, told.quality) = (text.clone(), Quality::Partial);
        }
        self.turning.ended = (utterance, self.knobs.ignore.count(&told.text));
        self.deliver(now, told);
    }

    pub(super) fn is_ended_early(&self, utterance: u32) -> bool {
        self.turning.ended.0 == utterance
    }

    /// Words of an utterance that its turn has had already: they interrupt nothing any more.
    pub(super) fn had(&self, utterance: u32) -> usize {
        if self.is_ended_early(utterance) { self.turning.ended.1 } else { 0 }
    }

    /// The leg has ended an utterance whose turn has been told: whether that is all.
    pub(super) fn ends_after_its_turn(&mut self, now: Instant, utterance: u32, stop: Ms) -> bool {
        let all = self.is_ended_early(utterance) && self.interrupted.is_none();
        if all {
            if let Some(turn) = self.turn_of(utterance) {
                (turn.stop, turn.length_ms) = (stop, stop.saturating_sub(turn.start));
            }
            // He has fallen silent only now.
            self.bridge_later(now);
        }
        all
    }

    /// The final text of an utterance whose turn has been told is for the record.
    pub(super) fn joins(&mut self, utterance: u32, text: String) {
        if !self.is_ended_early(utterance) {
            return;
        }
        self.partials.remove(&utterance);
        let hidden = self.turn_of(utterance).map(|turn| (turn.start, turn.stop)).is_some_and(|(a, b)| self.hides(a, b));
        if let Some(turn) = self.turn_of(utterance).filter(|_| !text.is_empty()) {
            turn.text = if hidden { HIDDEN.to_owned() } else { text };
        }
    }

    /// The record's entry of an utterance that was ended early.
    pub(super) fn turn_of(&mut self, utterance: u32) -> Option<&mut Turn> {
        if !self.is_ended_early(utterance) {
            return None;
        }
        let id = format!("utterance-{utterance}");
        self.told.turns.iter_mut().rev().find(|turn| turn.role == Role::Voice && turn.id == id)
    }

    /// Hints are of use to a recogniser only.
    pub(super) fn may_expect(&self, hints: Option<&Hints>) -> Result<(), String> {
        let Some(hints) = hints else { return Ok(()) };
        let field = if hints.phrases.is_empty() { "grammar" } else { "phrases" };
        match (self.rules.recogniser, self.recogniser_lost) {
            (true, false) => Ok(()),
            (true, true) => Err(format!("expect.{field}: recognition is lost for this call")),
            (false, _) => Err(format!("expect.{field}: nobody recognises on this call")),
        }
    }

    /// What is likely in this turn; nothing in particular: what was likely before is not any more.
    pub(super) fn expect(&mut self, hints: Option<Arc<Hints>>) {
        let expecting = hints.is_some();
        if std::mem::replace(&mut self.turning.expecting, expecting) || expecting {
            self.recogniser(ToRecogniser::Expect(hints));
        }
    }
}
