//! Notices recognition that is silent while somebody speaks. Pure.
//!
//! | what | what it means |
//! |---|---|
//! | no final text at all for so many utterances in a row | the stream is dead, whatever the connection says |
//! | nothing at all while so much speech went in | the same |
//! | empty texts in a row for utterances that are not short | the same, if that many of this endpoint are no chance |
//!
//! An engine may be right to give no text: to coughs, to a television. How often it does so is known of all calls together ([`Norm`]). With a
//! share `p` of empty texts, `n` in a row come by chance once in `1/pⁿ` times; an alarm is when that is rarer than once in a hundred. So an engine
//! that hardly ever gives an empty text is suspected after two, one that gives a third of them after five. The share is taken over some
//! thousand utterances: an endpoint that breaks for all calls is noticed long before it has become the rule.
//!
//! A new stream that does no better is no proof of anything: after each alarm, until there is a text, twice as many are needed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::tape::Tape;
use crate::ms::Ms;

/// How long a final text may take before it counts as missing: longer than anybody waits for it by default.
const LATE: Duration = Duration::from_secs(4);
/// A shorter utterance may well be a noise: it says nothing.
const SHORT: Ms = Ms(600);
/// An alarm is what comes by chance once in so many times.
const CHANCE: f32 = 0.01;
/// The share of empty texts that is taken for usual before anything is known, and how much one utterance changes it.
const AT_FIRST: f32 = 0.05;
const WEIGHT: f32 = 1.0 / 1_000.0;

/// When recognition counts as silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Utterances in a row without text; 0: never.
    pub utterances: u32,
    /// Speech without any answer.
    pub speech: Duration,
}

impl Default for Rule {
    fn default() -> Rule {
        Rule { utterances: 2, speech: Duration::from_secs(10) }
    }
}

/// How many of an endpoint's texts are empty, all calls together.
#[derive(Debug)]
pub(super) struct Norm(AtomicU32);

impl Norm {
    pub(super) fn new() -> Norm {
        Norm(AtomicU32::new(AT_FIRST.to_bits()))
    }

    fn share(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn note(&self, empty: bool) {
        let towards = if empty { 1.0 } else { 0.0 };
        let next = |bits| {
            let share = f32::from_bits(bits);
            Some((share + (towards - share) * WEIGHT).to_bits())
        };
        // It always has a next one.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }
}

/// The watchdog of one call.
#[derive(Debug)]
pub(super) struct Watchdog {
    rule: Rule,
    /// Utterances in a row of which no text came, and those of them that were answered by an empty one.
    missing: u32,
    empty: u32,
    /// Speech since the engine last said anything, of utterances that are over.
    unanswered: Ms,
    /// How much more than the rule says is needed now.
    patience: u32,
}

impl Watchdog {
    pub(super) fn new(rule: Rule) -> Watchdog {
        Watchdog { rule, missing: 0, empty: 0, unanswered: Ms(0), patience: 1 }
    }

    /// A new stream.
    pub(super) fn begin(&mut self) {
        (self.missing, self.empty, self.unanswered) = (0, 0, Ms(0));
    }

    /// The engine has said something, whatever it was.
    pub(super) fn answered(&mut self) {
        self.unanswered = Ms(0);
    }

    /// There was some text, partial or final.
    pub(super) fn text(&mut self) {
        (self.missing, self.empty, self.patience) = (0, 0, 1);
    }

    /// The final text of an utterance.
    pub(super) fn last(&mut self, norm: &Norm, text: &str, length: Ms) {
        let empty = text.trim().is_empty();
        if !empty {
            norm.note(false);
            self.text();
        } else if length >= SHORT {
            norm.note(true);
            self.empty += 1;
        }
    }

    /// The stream has been told the end of an utterance.
    pub(super) fn told(&mut self, length: Ms) {
        self.unanswered += length;
    }

    /// Whether recognition is silent while somebody speaks, in words. `partials`: it answers while an utterance goes on.
    pub(super) fn look(&mut self, tape: &mut Tape, norm: &Norm, partials: bool, now: Instant) -> Option<String> {
        if self.rule.utterances == 0 {
            return None;
        }
        self.missing += tape.overdue(now, LATE).filter(|length| *length >= SHORT).count() as u32;
        let now_spoken = if partials { tape.spoken() } else { Ms(0) };
        let why = self.judge(norm, self.unanswered + now_spoken)?;
        self.begin();
        self.patience = self.patience.saturating_mul(2);
        Some(why)
    }

    fn judge(&self, norm: &Norm, unanswered: Ms) -> Option<String> {
        let (missing, empty) = (self.missing, self.empty);
        let enough = self.rule.utterances.saturating_mul(self.patience);
        let speech = self.rule.speech.saturating_mul(self.patience);
        if unanswered.as_duration() > speech {
            return Some(format!("has said nothing while {} ms of speech went in", unanswered.0));
        }
        let rare = norm.share().powi(empty.min(1_000) as i32) < CHANCE;
        if missing >= enough || (missing + empty >= enough && rare) {
            return Some(format!("has given no text for {} utterances in a row", missing + empty));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Ms = Ms(1_500);

    /// After how many empty texts in a row there is an alarm, of 200.
    fn alarm(dog: &mut Watchdog, norm: &Norm) -> Option<u32> {
        (1..=200).find(|_| {
            dog.last(norm, " ", LONG);
            let alarm = dog.judge(norm, Ms(0)).is_some();
            if alarm {
                dog.begin();
                dog.patience *= 2;
            }
            alarm
        })
    }

    fn engine(share: f32) -> Norm {
        Norm(AtomicU32::new(share.to_bits()))
    }

    #[test]
    fn an_engine_that_hardly_ever_gives_an_empty_text_is_suspected_after_two() {
        assert_eq!(alarm(&mut Watchdog::new(Rule::default()), &Norm::new()), Some(2));
        assert_eq!(alarm(&mut Watchdog::new(Rule::default()), &engine(0.01)), Some(2));
        assert_eq!(alarm(&mut Watchdog::new(Rule { utterances: 4, ..Rule::default() }), &engine(0.01)), Some(4));
    }

    #[test]
    fn one_that_rightly_gives_many_is_not() {
        assert_eq!(alarm(&mut Watchdog::new(Rule::default()), &engine(0.33)), Some(5));
        let often = alarm(&mut Watchdog::new(Rule::default()), &engine(0.9));
        assert!(often.is_some_and(|n| n > 30), "{often:?}");
    }

    #[test]
    fn short_utterances_say_nothing_and_a_text_sets_it_back() {
        let (mut dog, norm) = (Watchdog::new(Rule::default()), Norm::new());
        (0..50).for_each(|_| dog.last(&norm, "", Ms(400)));
        assert_eq!(dog.judge(&norm, Ms(0)), None);
        for _ in 0..20 {
            dog.last(&norm, "", LONG);
            dog.last(&norm, "yes", LONG);
        }
        assert_eq!(dog.judge(&norm, Ms(0)), None);
    }

    #[test]
    fn a_new_stream_that_does_no_better_gets_twice_the_time() {
        let (mut dog, norm) = (Watchdog::new(Rule::default()), Norm::new());
        let alarms = [alarm(&mut dog, &norm), alarm(&mut dog, &norm), alarm(&mut dog, &norm)];
        assert_eq!(alarms, [Some(2), Some(4), Some(8)]);
        dog.last(&norm, "yes", LONG);
        assert_eq!(alarm(&mut dog, &norm), Some(2), "now it works, and then no more");
    }

    #[test]
    fn speech_that_nothing_answers() {
        let (mut dog, norm) = (Watchdog::new(Rule::default()), Norm::new());
        dog.told(Ms(9_000));
        assert_eq!(dog.judge(&norm, dog.unanswered), None);
        dog.answered();
        dog.told(Ms(9_000));
        assert_eq!(dog.judge(&norm, dog.unanswered), None);
        dog.told(Ms(2_000));
        assert!(dog.judge(&norm, dog.unanswered).is_some());
    }

    #[test]
    fn all_calls_together_break_before_it_becomes_the_rule() {
        let norm = engine(0.05);
        // Of so many calls, each with a stream that gives nothing any more.
        let alarms =
            (0..40).filter(|_| alarm(&mut Watchdog::new(Rule::default()), &norm).is_some_and(|n| n <= 3)).count();
        assert_eq!(alarms, 40);
    }
}
