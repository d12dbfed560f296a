//! Interruptions that words decide: prompts that only words stop (`barge_in` words), and prompts that fall silent while it is decided
//! (`on_barge_in` pause).
//!
//! The leg stops or pauses by itself where voice is enough, within a frame. Here the recogniser's partial and final texts are held against the
//! knobs `ignore` and `min_words`, and the leg is told what they mean:
//!
//! | text of the utterance                       | prompt by words | prompt that has paused for it, at its verdict           |
//! |---------------------------------------------|-----------------|---------------------------------------------------------|
//! | `min_words` that count                      | stopped         | stopped, at once                                        |
//! | fillers only                                | goes on         | goes on: at once with the final, else after `verdict`   |
//! | none, and the caller has fallen silent      | goes on         | goes on                                                 |
//! | none, and his voice goes on after `verdict` | goes on         | stopped: better once too often than to talk over him    |
//!
//! A prompt by words that has paused needs words to be stopped. One that went on after its verdict is stopped all the same by words that count
//! later in the same utterance. Words that come with the final text interrupt although the voice is over: the utterance is told when the leg
//! has stopped, and is a turn.

use super::*;

/// A prompt has paused: for which utterance, and its onset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    utterance: u32,
    onset: Ms,
}

/// How long the leg may take to say that it has stopped.
const STOPPING: Duration = Duration::from_millis(100);

impl Conversation {
    /// A prompt as it is said: its policy is fixed, and words are not waited for where none will come.
    pub(super) fn with_policy(&self, mut prompt: Prompt) -> Prompt {
        let deaf = self.recogniser_lost || !self.rules.recogniser;
        let policy = prompt.barge_in.unwrap_or(self.knobs.barge_in);
        prompt.barge_in = Some(if policy == BargeIn::Words && deaf { BargeIn::Speech } else { policy });
        prompt
    }

    /// The leg has fallen silent, and waits.
    pub(super) fn paused(&mut self, now: Instant, prompt: PromptNo, verdict: (u32, Ms), at: Ms) {
        let (utterance, onset) = verdict;
        self.last_word = at;
        if let Some(entry) = self.speaker.entry(prompt) {
            let prompt_id = entry.prompt.id.clone();
            self.event(now, What::PromptPaused { prompt_id, utterance });
        }
        self.verdict = Some(Verdict { utterance, onset });
        self.timers[Timer::Verdict as usize] = Some(now + self.knobs.verdict.as_duration());
        if let Some(text) = self.partials.get(&utterance).cloned() {
            self.interrupts(utterance, onset, &text);
        }
    }

    pub(super) fn resumed(&mut self, now: Instant, prompt: PromptNo) {
        if let Some(entry) = self.speaker.entry(prompt) {
            let prompt_id = entry.prompt.id.clone();
            self.event(now, What::PromptResumed { prompt_id });
        }
    }

    /// The time for a verdict is over: what is known has to do.
    pub(super) fn verdict_due(&mut self) {
        let Some(Verdict { utterance, onset }) = self.verdict else { return };
        let text = self.partials.get(&utterance).cloned().unwrap_or_default();
        if self.interrupts(utterance, onset, &text) {
            return;
        }
        let by_voice = self.speaker.playing().is_some_and(|entry| entry.prompt.barge_in == Some(BargeIn::Speech));
        let decision = match by_voice && !has_words(&text) {
            true => leg::Command::Judge { onset },
            false => leg::Command::Resume,
        };
        self.judged(utterance);
        self.out.push_back(Output::Leg(decision));
    }

    /// Whether these words of an utterance interrupt what is said; then the leg is told.
    pub(super) fn interrupts(&mut self, utterance: u32, onset: Ms, text: &str) -> bool {
        if self.knobs.ignore.count(text).saturating_sub(self.had(utterance)) < self.knobs.min_words as usize {
            return false;
        }
        let policy = self.speaker.playing().and_then(|entry| entry.prompt.barge_in);
        let decided_here = match policy {
            Some(BargeIn::Words) => true,
            Some(BargeIn::Speech) => self.is_judged(utterance),
            _ => false,
        };
        if decided_here {
            self.interrupt(utterance, onset);
        }
        decided_here
    }

    /// A prompt has paused for this utterance, whatever was decided then.
    pub(super) fn is_judged(&self, utterance: u32) -> bool {
        self.passed == utterance || self.verdict.is_some_and(|verdict| verdict.utterance == utterance)
    }

    /// The utterance under a prompt, with its final text: true when it is to be told after the leg has stopped.
    pub(super) fn decided_by_final(&mut self, now: Instant, pending: &mut Pending) -> bool {
        let Utterance { utterance, start, .. } = pending.utterance;
        let text = std::mem::take(&mut pending.utterance.text);
        let interrupts = pending.utterance.during_prompt && self.interrupts(utterance, start, &text);
        if interrupts {
            pending.deadline = now + STOPPING;
            pending.stopping = true;
        } else if self.verdict.is_some_and(|verdict| verdict.utterance == utterance) {
            self.judged(utterance);
            self.out.push_back(Output::Leg(leg::Command::Resume));
        } else if pending.by_words && self.counts(&text) && self.speaker.playing().is_none() {
            // It would have interrupted, and what it would have interrupted is over.
            pending.utterance.during_prompt = false;
        }
        pending.utterance.text = text;
        interrupts
    }

    /// The leg has stopped for an utterance that waited for it.
    pub(super) fn has_stopped(&mut self, now: Instant) {
        let Some(at) = self.pending.iter().position(|pending| pending.stopping) else { return };
        let Some(mut pending) = self.pending.remove(at) else { return };
        pending.utterance.during_prompt = false;
        pending.utterance.interrupted = self.interrupted.take();
        self.deliver(now, pending.utterance);
    }

    /// Text that has words, none of which counts.
    pub(super) fn is_filler(&self, text: &str) -> bool {
        has_words(text) && self.knobs.ignore.count(text) == 0
    }

    fn counts(&self, text: &str) -> bool {
        self.knobs.ignore.count(text) >= self.knobs.min_words as usize
    }

    fn interrupt(&mut self, utterance: u32, onset: Ms) {
        self.judged(utterance);
        self.out.push_back(Output::Leg(leg::Command::Interrupt { onset }));
    }

    fn judged(&mut self, utterance: u32) {
        if self.verdict.take_if(|verdict| verdict.utterance == utterance).is_some() {
            self.passed = utterance;
            self.timers[Timer::Verdict as usize] = None;
        }
    }
}

fn has_words(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}
