//! Collecting keys (DESIGN: "the conversation contract"): pure, one collection from its beginning to its result.
//!
//! | what happens                                                     | what becomes of it                                       |
//! |-------------------------------------------------------------------|----------------------------------------------------------|
//! | the last of `max_digits`                                          | collected (0)                                            |
//! | the terminator, or `inter_digit` after a digit, with digits there | collected (0)                                            |
//! | a key that is not allowed, or the terminator without digits       | the attempt has failed; the last one: used up (−2)       |
//! | the attempt's time is over                                        | the attempt has failed; the last one: not in time (−1)   |
//! | somebody ends it                                                  | not in time (−1), with the digits so far                 |
//!
//! `timeout` is the caller's, in all: it stands still while something is being said, and each attempt gets an equal share of what is left.

use std::time::{Duration, Instant};

use super::prompt::Prompt;
use crate::ms::Ms;

/// What is to be collected.
#[derive(Debug, Clone, PartialEq)]
pub struct Collect {
    /// How many digits end it, 1–64.
    pub max_digits: usize,
    /// The caller's time in all.
    pub timeout: Ms,
    /// How often he may try, 1–10.
    pub attempts: u32,
    /// The key that ends it.
    pub terminator: Option<char>,
    /// The longest pause after a digit; `None`: as long as there is time.
    pub inter_digit: Option<Ms>,
    /// Keys that count; empty: all.
    pub allowed: String,
    /// One for each attempt; the last one serves for the rest.
    pub prompts: Vec<Prompt>,
    /// The digits are shown to the dialogue only.
    pub masked: bool,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collected {
    /// The digits are there.
    Done,
    /// Nothing, or not enough, in time.
    NotInTime,
    /// The last attempt failed too.
    UsedUp,
}

impl Collected {
    /// As the contract writes it.
    pub fn code(self) -> i32 {
        match self {
            Collected::Done => 0,
            Collected::NotInTime => -1,
            Collected::UsedUp => -2,
        }
    }
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Waiting.
    Wait,
    /// An attempt has failed and another one begins, with this to be said.
    Again(Option<Prompt>),
    /// It is over.
    Over(Collected),
}

/// A collection under way.
#[derive(Debug)]
pub(super) struct Collection {
    asked: Box<Collect>,
    digits: String,
    /// From 0.
    attempt: u32,
    /// The caller's time: what is left of it in all and for this attempt, as of `since`.
    left: Duration,
    share: Duration,
    /// It runs; else something is being said.
    since: Option<Instant>,
    last_digit: Option<Instant>,
}

impl Collection {
    /// Begins; its time stands still until [`Collection::run`]. What is to be said first.
    pub(super) fn new(asked: Box<Collect>) -> (Collection, Option<Prompt>) {
        let left = asked.timeout.as_duration();
        let share = left / asked.attempts.max(1);
        let prompt = asked.prompts.first().cloned();
        (Collection { asked, digits: String::new(), attempt: 0, left, share, since: None, last_digit: None }, prompt)
    }

    /// The caller's time runs, or stands still.
    pub(super) fn run(&mut self, now: Instant, runs: bool) {
        match (self.since, runs) {
            (None, true) => {
                self.since = Some(now);
                // A digit that was pressed into a prompt waits from its end.
                self.last_digit = self.last_digit.map(|_| now);
            }
            (Some(since), false) => {
                let spent = now.saturating_duration_since(since);
                self.left = self.left.saturating_sub(spent);
                self.share = self.share.saturating_sub(spent);
                self.since = None;
            }
            _ => {}
        }
    }

    /// When [`Collection::tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let since = self.since?;
        let pause = self.last_digit.zip(self.asked.inter_digit).map(|(at, pause)| at + pause.as_duration());
        Some(pause.map_or(since + self.share, |pause| pause.min(since + self.share)))
    }

    pub(super) fn tick(&mut self, now: Instant) -> Step {
        let Some(since) = self.since.filter(|_| self.deadline().is_some_and(|at| at <= now)) else { return Step::Wait };
        if since + self.share > now {
            return Step::Over(Collected::Done);
        }
        self.fail(now, Collected::NotInTime)
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, now: Instant, key: char) -> Step {
        if self.asked.terminator == Some(key) {
            return match self.digits.is_empty() {
                true => self.fail(now, Collected::UsedUp),
                false => Step::Over(Collected::Done),
            };
        }
        if !self.asked.allowed.is_empty() && !self.asked.allowed.contains(key) {
            return self.fail(now, Collected::UsedUp);
        }
        self.digits.push(key);
        self.last_digit = Some(now);
        if self.digits.len() >= self.asked.max_digits { Step::Over(Collected::Done) } else { Step::Wait }
    }

    /// The digits so far.
    pub(super) fn digits(&self) -> &str {
        &self.digits
    }

    /// The digits are shown to the dialogue only.
    pub(super) fn masked(&self) -> bool {
        self.asked.masked
    }

    fn fail(&mut self, now: Instant, result: Collected) -> Step {
        if self.attempt + 1 >= self.asked.attempts {
            return Step::Over(result);
        }
        self.run(now, false);
        self.attempt += 1;
        self.digits.clear();
        self.last_digit = None;
        self.share = self.left / (self.asked.attempts - self.attempt);
        let prompts = &self.asked.prompts;
        Step::Again(prompts.get(self.attempt as usize).or(prompts.last()).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ms::epoch;

    fn collect(change: impl FnOnce(&mut Collect)) -> (Collection, Instant) {
        let mut asked = Collect {
            max_digits: 4,
            timeout: Ms(60_000),
            attempts: 3,
            terminator: Some('#'),
            inter_digit: None,
            allowed: "0123456789".to_owned(),
            prompts: vec![Prompt::text("first"), Prompt::text("again")],
            masked: false,
        };
        change(&mut asked);
        let (mut collection, _) = Collection::new(Box::new(asked));
        collection.run(epoch(), true);
        (collection, epoch())
    }

    fn press(collection: &mut Collection, now: Instant, keys: &str) -> Step {
        keys.chars().map(|key| collection.press(now, key)).last().expect("a key")
    }

    #[test]
    fn ends_with_the_last_digit_or_the_terminator() {
        let (mut full, now) = collect(|_| {});
        assert_eq!(press(&mut full, now, "123"), Step::Wait);
        assert_eq!(press(&mut full, now, "4"), Step::Over(Collected::Done));
        assert_eq!(full.digits(), "1234");
        let (mut short, now) = collect(|_| {});
        assert_eq!(press(&mut short, now, "12#"), Step::Over(Collected::Done));
        assert_eq!(short.digits(), "12", "the terminator is no digit");
    }

    #[test]
    fn ends_with_a_pause_after_a_digit() {
        let (mut collection, now) = collect(|asked| asked.inter_digit = Some(Ms(3_000)));
        assert_eq!(collection.deadline(), Some(now + Duration::from_secs(20)), "no digit, no pause");
        press(&mut collection, now + Duration::from_secs(1), "7");
        let pause = now + Duration::from_secs(4);
        assert_eq!(collection.deadline(), Some(pause));
        assert_eq!(collection.tick(pause), Step::Over(Collected::Done));
        assert_eq!(collection.digits(), "7");
    }

    #[test]
    fn a_wrong_key_uses_up_an_attempt_and_the_last_prompt_serves_for_the_rest() {
        let (mut collection, now) = collect(|_| {});
        let again = Step::Again(Some(Prompt::text("again")));
        assert_eq!(press(&mut collection, now, "1*"), again);
        assert_eq!(collection.digits(), "", "a new attempt begins with nothing");
        assert_eq!(press(&mut collection, now, "#"), again, "the terminator alone is nothing");
        assert_eq!(press(&mut collection, now, "A"), Step::Over(Collected::UsedUp));
    }

    #[test]
    fn attempts_share_the_time_which_stands_still_while_something_is_said() {
        let (mut collection, now) = collect(|_| {});
        let at = |s| now + Duration::from_secs(s);
        assert_eq!(collection.deadline(), Some(at(20)));
        collection.run(at(5), false);
        assert_eq!(collection.deadline(), None);
        collection.run(at(100), true);
        assert_eq!(collection.deadline(), Some(at(115)));
        assert!(matches!(collection.tick(at(115)), Step::Again(_)));
        collection.run(at(120), true);
        assert_eq!(collection.deadline(), Some(at(140)));
        press(&mut collection, at(121), "*");
        collection.run(at(121), true);
        assert_eq!(collection.deadline(), Some(at(160)), "39 s are left for the last one");
        press(&mut collection, at(122), "12");
        assert_eq!(collection.tick(at(160)), Step::Over(Collected::NotInTime));
        assert_eq!(collection.digits(), "12");
    }
}
