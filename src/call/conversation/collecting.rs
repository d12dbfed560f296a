//! Keys that are asked for: [`super::super::collection`] in a conversation.
//!
//! While a collection is under way its keys are the collection's and no turns, nobody owes an answer to what is said meanwhile, and no silence
//! counts but its own. Its prompts are stopped by a key as any prompt is.

use super::*;
use crate::call::collection::{Collect, Collected, Collection, Step};

/// What a digit is shown as where it is not to be seen.
const MASK: char = 'x';

impl Conversation {
    /// Begins a collection, or ends the one that is under way.
    pub(super) fn collect(&mut self, now: Instant, collect: Option<Box<Collect>>) {
        let Some(collect) = collect else { return self.collected(now, Collected::NotInTime) };
        let (collection, prompt) = Collection::new(collect);
        self.collection = Some(Box::new(collection));
        self.recording.key = false;
        self.timers[Timer::NoInput as usize] = None;
        self.say_for_collection(prompt);
    }

    /// How a key is shown to everybody but the dialogue.
    pub(super) fn shown(&mut self, key: char) -> char {
        let paused = self.recording.hides_now();
        self.recording.key |= paused;
        if paused || self.collection.as_ref().is_some_and(|collection| collection.masked()) { MASK } else { key }
    }

    /// A key came: whether it was the collection's.
    pub(super) fn take_key(&mut self, now: Instant, key: char) -> bool {
        let Some(step) = self.collection.as_mut().map(|collection| collection.press(now, key)) else { return false };
        self.step(now, step);
        true
    }

    pub(super) fn collection_due(&mut self, now: Instant) {
        if let Some(step) = self.collection.as_mut().map(|collection| collection.tick(now)) {
            self.step(now, step);
        }
    }

    /// Its time runs while nothing is said.
    pub(super) fn collection_rests(&mut self, now: Instant) {
        let runs = self.speaker.idle() && !self.held;
        if let Some(collection) = &mut self.collection {
            collection.run(now, runs);
        }
    }

    /// The call is over.
    pub(super) fn collection_ends(&mut self, now: Instant) {
        if let Some(collection) = self.collection.take() {
            self.tell_collected(now, Collected::NotInTime, &collection);
        }
    }

    fn step(&mut self, now: Instant, step: Step) {
        match step {
            Step::Wait => {}
            Step::Again(prompt) => self.say_for_collection(prompt),
            Step::Over(result) => self.collected(now, result),
        }
    }

    fn say_for_collection(&mut self, prompt: Option<Prompt>) {
        if let Some(prompt) = prompt {
            let prompt = self.with_policy(prompt);
            self.speaker.say(prompt, None, &self.knobs, &mut self.out);
        }
    }

    fn collected(&mut self, now: Instant, result: Collected) {
        let Some(collection) = self.collection.take() else { return };
        self.tell_collected(now, result, &collection);
        self.last_turn = self.ask(now, Line::Keys { result, digits: collection.digits().to_owned() });
        self.rest(now);
    }

    fn tell_collected(&mut self, now: Instant, result: Collected, collection: &Collection) {
        // One key of them was pressed while the recording was paused: they are one number.
        let hidden = collection.masked() || self.recording.key;
        let show = |digit| if hidden { MASK } else { digit };
        let digits = collection.digits().chars().map(show).collect();
        self.event(now, What::KeysCollected { result, digits });
    }
}
