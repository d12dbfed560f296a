//! The dialogue is lost, or another one takes over: a new stream is opened, and told what has been said so far. What is being said, and what
//! waits to be, goes on: the new one is told of it too, as of what is not over.

use super::*;

/// Turns, and characters of them, that a new stream is told at most: the last ones.
const MOST_TURNS: usize = 256;
const MOST_TEXT: usize = 128 * 1024;

impl Conversation {
    /// The stream is gone, or nothing comes of it. Another one is opened, so many times in a call; then the call ends politely.
    pub(super) fn dialogue_lost(&mut self, now: Instant, reason: String) {
        if self.resumed >= self.rules.dialogue_resumes || self.hangup.is_some() {
            return self.give_up(now, Service::Dialogue, reason);
        }
        self.resumed += 1;
        self.trouble(now, Service::Dialogue, reason);
        self.out.push_back(Output::Dialogue(ToDialogue::Resume));
        self.begin_anew(now);
    }

    /// Another dialogue takes the call over.
    pub(super) fn attach(&mut self, now: Instant, name: String) {
        if self.given_up || self.hangup.is_some() || self.is_leaving() {
            return;
        }
        // One that had none until now has one from now on.
        self.rules.dialogue = true;
        self.acted = true;
        self.out.push_back(Output::Dialogue(ToDialogue::Attach(name)));
        self.begin_anew(now);
    }

    fn begin_anew(&mut self, now: Instant) {
        // Who was writing them writes no more.
        self.timers[Timer::More as usize] = None;
        self.speaker.close_open(&mut self.out);
        self.wants_partials = false;
        self.owes_nothing();
        let begin = Begin { resumed: self.acted, history: self.history(), ..(*self.begin).clone() };
        self.last_turn = self.ask(now, Line::Begin(Box::new(begin)));
        self.bridge_later(now);
        self.rest(now);
    }

    fn history(&self) -> Vec<Past> {
        let over = self.told.turns.iter().map(|turn| Past {
            role: turn.role,
            text: turn.text.clone(),
            start: turn.start,
            stop: Some(turn.stop),
            interrupted: turn.interrupted,
        });
        let not_over = self.speaker.said().map(|entry| Past {
            role: Role::Speech,
            text: entry.spoken(),
            start: entry.started.unwrap_or(Ms(0)),
            stop: None,
            interrupted: false,
        });
        let mut all: Vec<Past> = over.collect();
        all.sort_by_key(|turn| turn.start);
        all.extend(not_over);
        let mut room = MOST_TEXT;
        let fits = |turn: &&Past| {
            let fits = turn.text.len() <= room;
            room = room.saturating_sub(turn.text.len());
            fits
        };
        let from = all.len() - all.iter().rev().take(MOST_TURNS).take_while(fits).count();
        all.split_off(from)
    }
}
