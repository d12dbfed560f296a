//! The robot that follows a script: what happened on the line in, what to do next out. Pure: it neither waits nor draws
//! anything at random, so a call can be replayed from its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::states::{Fallback, Interruptible, Knob, Piece, Rule, Script, State, StateId, Style};
use super::template::Template;

/// Shortest silence that a prompt can be made of, in ms.
const NOTHING_MS: u32 = 20;

/// What happened on the line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The call is up.
    Begin {
        /// The number that calls.
        caller: String,
        /// The number that is called.
        callee: String,
        /// What the call is about; goes before the script's own values.
        variables: BTreeMap<String, String>,
    },
    /// The caller said something.
    Utterance {
        /// What was understood; may be empty.
        text: String,
        /// It was said under a prompt that could not be interrupted.
        during_prompt: bool,
        /// It interrupted a prompt.
        interrupted: bool,
    },
    /// The caller says nothing.
    NoInput,
    /// The caller pressed a key.
    Key {
        /// One of `0`–`9`, `*`, `#`, `A`–`D`.
        key: char,
        /// It stopped a prompt.
        interrupted: bool,
    },
    /// A prompt ended.
    PromptDone {
        /// As in [`Act::Say`].
        prompt: String,
        /// The caller stopped it.
        interrupted: bool,
    },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Act {
    /// Set knobs, from the next frame; in ms.
    Set(BTreeMap<Knob, u32>),
    /// Say something, after what is still being said.
    Say {
        /// Name of the prompt: the state's, and a number.
        prompt: String,
        /// What; never empty.
        segments: Vec<Segment>,
        /// Who may stop it.
        interruptible: Interruptible,
        /// It is said because nobody answered.
        silent: bool,
    },
    /// Put a fact into the record.
    Label {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// End the call when all is said.
    Hangup {
        /// For the record.
        reason: String,
    },
}

/// A part of a prompt, ready to be said.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Segment {
    /// Speech.
    Text(String, Style),
    /// A recording.
    File(String),
    /// Nothing, for so many ms.
    Silence(u32),
}

/// One call's robot.
#[derive(Debug)]
pub struct Robot {
    script: Arc<Script>,
    at: StateId,
    variables: BTreeMap<String, String>,
    /// Knobs as the line has them, as far as the script has set them.
    set: BTreeMap<Knob, u32>,
    prompts: u32,
    /// The prompt at whose end the state is left by `next`.
    leaves_after: Option<String>,
    /// How often in this state the caller said nothing, and nothing that fits.
    silences: u32,
    misses: u32,
    over: bool,
}

/// Why something is said once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Silence,
    Miss,
}

impl Robot {
    /// A robot before its call.
    pub fn new(script: Arc<Script>) -> Self {
        let (at, variables) = (script.start, script.variables.clone());
        Self {
            script,
            at,
            variables,
            set: BTreeMap::new(),
            prompts: 0,
            leaves_after: None,
            silences: 0,
            misses: 0,
            over: false,
        }
    }

    /// The name of the state that the call is in.
    pub fn state(&self) -> &str {
        &self.script.state(self.at).name
    }

    /// Takes what happened and gives what to do, in order.
    pub fn handle(&mut self, event: Event) -> Vec<Act> {
        let mut acts = Vec::new();
        if self.over {
            // It has said goodbye; the line hangs up by itself.
            return acts;
        }
        match event {
            Event::Begin { caller, callee, variables } => {
                self.variables.extend(variables);
                self.variables.extend([("caller".to_owned(), caller), ("callee".to_owned(), callee)]);
                self.enter(self.script.start, &mut acts);
            }
            Event::Utterance { text, during_prompt, interrupted } => {
                self.utterance(text, during_prompt, interrupted, &mut acts);
            }
            Event::NoInput => self.again(Again::Silence, &mut acts),
            Event::Key { key, interrupted } => match self.here().keys.get(&key).copied() {
                Some(next) => self.enter(next, &mut acts),
                // Under a prompt that goes on, a wrong key is nothing to talk about.
                None if interrupted || self.here().waits() => self.again(Again::Miss, &mut acts),
                None => {}
            },
            Event::PromptDone { prompt, interrupted } => {
                if !interrupted && self.leaves_after.as_ref() == Some(&prompt) {
                    self.leave(&mut acts);
                }
            }
        }
        acts
    }

    fn utterance(&mut self, text: String, during_prompt: bool, interrupted: bool, acts: &mut Vec<Act>) {
        self.silences = 0;
        if !text.is_empty() {
            self.variables.insert("text".to_owned(), text.clone());
        }
        let script = Arc::clone(&self.script);
        let state = script.state(self.at);
        if let Some((rule, found)) = state.on.iter().find_map(|rule| Some((rule, fits(rule, &text)?))) {
            self.variables.extend(found);
            self.label(&rule.labels, acts);
            return self.enter(rule.next, acts);
        }
        if during_prompt {
            // The prompt goes on, and asks again at its end, if it asks.
            return;
        }
        match state.on_interrupted {
            Some(next) if interrupted => self.enter(next, acts),
            _ => self.again(Again::Miss, acts),
        }
    }

    /// Nothing came of the caller's turn: once more, or give up.
    fn again(&mut self, why: Again, acts: &mut Vec<Act>) {
        let script = Arc::clone(&self.script);
        let state = script.state(self.at);
        let (fallback, count) = match why {
            Again::Silence => (&state.no_input, &mut self.silences),
            Again::Miss => (&state.otherwise, &mut self.misses),
        };
        let Some(fallback) = fallback else {
            // It did not ask anything: it was interrupted on its way, and goes on.
            return self.leave(acts);
        };
        if *count >= fallback.times {
            return self.enter(fallback.next, acts);
        }
        *count += 1;
        self.say(again_says(fallback, state), state, why == Again::Silence, acts);
    }

    fn leave(&mut self, acts: &mut Vec<Act>) {
        if let Some(next) = self.here().next {
            self.enter(next, acts);
        }
    }

    fn enter(&mut self, id: StateId, acts: &mut Vec<Act>) {
        let script = Arc::clone(&self.script);
        let state = script.state(id);
        self.at = id;
        self.leaves_after = None;
        (self.silences, self.misses) = (0, 0);
        self.turn_knobs(state, acts);
        self.label(&state.labels, acts);
        self.say(&state.say, state, false, acts);
        if state.hangup {
            self.over = true;
            acts.push(Act::Hangup { reason: format!("script: {}", state.name) });
        }
    }

    /// Sends the knobs that are to be otherwise than they are. One that only another state sets goes back to its default.
    fn turn_knobs(&mut self, state: &State, acts: &mut Vec<Act>) {
        let mut wanted: BTreeMap<Knob, u32> = self.set.keys().map(|knob| (*knob, knob.default_ms())).collect();
        wanted.extend(&self.script.knobs);
        wanted.extend(&state.knobs);
        let changed: BTreeMap<Knob, u32> =
            wanted.iter().filter(|(knob, value)| self.set.get(knob) != Some(value)).map(|(k, v)| (*k, *v)).collect();
        self.set = wanted;
        if !changed.is_empty() {
            acts.push(Act::Set(changed));
        }
    }

    fn say(&mut self, pieces: &[Piece], state: &State, silent: bool, acts: &mut Vec<Act>) {
        let mut segments: Vec<Segment> = pieces.iter().filter_map(|piece| self.segment(piece)).collect();
        if segments.is_empty() {
            if state.next.is_none() {
                return;
            }
            // Every text has come out empty, but the end of the prompt is waited for.
            segments.push(Segment::Silence(NOTHING_MS));
        }
        self.prompts += 1;
        let prompt = format!("{}#{}", state.name, self.prompts);
        if state.next.is_some() {
            self.leaves_after = Some(prompt.clone());
        }
        acts.push(Act::Say { prompt, segments, interruptible: state.interruptible, silent });
    }

    fn segment(&self, piece: &Piece) -> Option<Segment> {
        match piece {
            Piece::Text(template, style) => {
                let text = template.fill(&self.variables);
                (!text.trim().is_empty()).then(|| Segment::Text(text, style.clone()))
            }
            Piece::File(path) => Some(Segment::File(path.clone())),
            Piece::Silence(span) => Some(Segment::Silence(*span)),
        }
    }

    fn label(&self, labels: &[(String, Template)], acts: &mut Vec<Act>) {
        acts.extend(
            labels.iter().map(|(key, value)| Act::Label { key: key.clone(), value: value.fill(&self.variables) }),
        );
    }

    fn here(&self) -> &State {
        self.script.state(self.at)
    }
}

fn fits(rule: &Rule, text: &str) -> Option<BTreeMap<String, String>> {
    rule.patterns.iter().find_map(|pattern| pattern.find(text))
}

fn again_says<'a>(fallback: &'a Fallback, state: &'a State) -> &'a [Piece] {
    fallback.say.as_deref().unwrap_or(&state.say)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = r#"
start = "ask"
variables = { shop = "the shop" }
knobs = { endpoint_ms = 600 }
no_input = { say = "Hello?", times = 2, next = "bye" }
else = { times = 1, next = "bye" }

[states.ask]
say = ["This is {shop} for {caller}.", { silence_ms = 100 }, { file = "ask.wav" }]
on = [
  { hear = "tomorrow", next = "info" },
  { matches = 'at (?<hour>\w+)', next = "info", labels = { hour = "{hour}" } },
]
keys = { 1 = "info" }

[states.info]
say = "Long. {hour}"
knobs = { endpoint_ms = 1000, no_input_ms = 9000 }
on_interrupted = "menu"
next = "menu"

[states.menu]
interruptible = "never"
say = "Press one."
keys = { 1 = "bye" }
labels = { said = "{text}" }

[states.bye]
say = "Goodbye."
hangup = true
"#;

    fn robot() -> Robot {
        Robot::new(Arc::new(Script::parse("test.toml", SCRIPT).unwrap()))
    }

    fn begin(robot: &mut Robot) -> Vec<Act> {
        let variables = BTreeMap::from([("shop".to_owned(), "Acme".to_owned())]);
        robot.handle(Event::Begin { caller: "100".into(), callee: "200".into(), variables })
    }

    fn said(text: &str) -> Event {
        Event::Utterance { text: text.into(), during_prompt: false, interrupted: false }
    }

    /// The texts of the prompts, with `!` before those said into silence, and the end.
    fn heard(acts: &[Act]) -> Vec<String> {
        acts.iter()
            .filter_map(|act| match act {
                Act::Say { segments, silent, .. } => {
                    let texts: Vec<&str> = segments
                        .iter()
                        .map(|segment| match segment {
                            Segment::Text(text, _) => text.as_str(),
                            Segment::File(path) => path.as_str(),
                            Segment::Silence(_) => "_",
                        })
                        .collect();
                    Some(format!("{}{}", if *silent { "!" } else { "" }, texts.join(" ")))
                }
                Act::Hangup { .. } => Some("(hangup)".to_owned()),
                _ => None,
            })
            .collect()
    }

    fn prompt(acts: &[Act]) -> String {
        acts.iter()
            .find_map(|act| match act {
                Act::Say { prompt, .. } => Some(prompt.clone()),
                _ => None,
            })
            .expect("a prompt")
    }

    #[test]
    fn the_call_begins_with_the_start_state_and_the_calls_own_variables() {
        let mut robot = robot();
        let acts = begin(&mut robot);
        assert_eq!(acts[0], Act::Set(BTreeMap::from([(Knob::EndpointMs, 600)])));
        assert_eq!(heard(&acts), ["This is Acme for 100. _ ask.wav"]);
        assert_eq!(robot.state(), "ask");
    }

    #[test]
    fn words_lead_on_and_captures_are_said_and_recorded() {
        let mut robot = robot();
        begin(&mut robot);
        let acts = robot.handle(said("Please come at three, thanks."));
        assert!(acts.contains(&Act::Label { key: "hour".into(), value: "three".into() }));
        assert_eq!(heard(&acts), ["Long. three"]);
        assert_eq!(acts[1], Act::Set(BTreeMap::from([(Knob::EndpointMs, 1_000), (Knob::NoInputMs, 9_000)])));
        let acts = robot.handle(Event::PromptDone { prompt: prompt(&acts), interrupted: false });
        assert_eq!(heard(&acts), ["Press one."]);
        // What only the other state had set is as it was.
        assert_eq!(acts[0], Act::Set(BTreeMap::from([(Knob::EndpointMs, 600), (Knob::NoInputMs, 5_000)])));
        assert_eq!(acts[1], Act::Label { key: "said".into(), value: "Please come at three, thanks.".into() });
    }

    #[test]
    fn an_interruption_waits_for_its_words() {
        let mut robot = robot();
        begin(&mut robot);
        let acts = robot.handle(said("tomorrow"));
        let done = Event::PromptDone { prompt: prompt(&acts), interrupted: true };
        assert_eq!(robot.handle(done), [], "the caller is still speaking");
        let words = Event::Utterance { text: "wait".into(), during_prompt: false, interrupted: true };
        assert_eq!(heard(&robot.handle(words)), ["Press one."]);
        assert_eq!(robot.state(), "menu");
    }

    #[test]
    fn an_interruption_without_words_goes_on_and_leaves_no_dead_air() {
        let mut robot = robot();
        begin(&mut robot);
        let acts = robot.handle(said("tomorrow"));
        robot.handle(Event::PromptDone { prompt: prompt(&acts), interrupted: true });
        assert_eq!(heard(&robot.handle(Event::NoInput)), ["Press one."]);
    }

    #[test]
    fn silence_is_asked_about_twice_and_an_answer_starts_the_count_anew() {
        let mut robot = robot();
        begin(&mut robot);
        assert_eq!(heard(&robot.handle(Event::NoInput)), ["!Hello?"]);
        assert_eq!(heard(&robot.handle(said("mumble"))), ["This is Acme for 100. _ ask.wav"]);
        assert_eq!(heard(&robot.handle(Event::NoInput)), ["!Hello?"]);
        assert_eq!(heard(&robot.handle(Event::NoInput)), ["!Hello?"]);
        assert_eq!(heard(&robot.handle(Event::NoInput)), ["Goodbye.", "(hangup)"]);
        assert_eq!(robot.handle(said("tomorrow")), [], "it is over");
    }

    #[test]
    fn what_no_rule_knows_is_repeated_and_then_given_up() {
        let mut robot = robot();
        begin(&mut robot);
        assert_eq!(heard(&robot.handle(said(""))), ["This is Acme for 100. _ ask.wav"]);
        assert_eq!(heard(&robot.handle(said("mumble"))), ["Goodbye.", "(hangup)"]);
    }

    #[test]
    fn keys_lead_on_and_wrong_ones_count_as_misses() {
        let mut robot = robot();
        begin(&mut robot);
        let key = |key| Event::Key { key, interrupted: false };
        assert_eq!(robot.handle(key('7')).len(), 1);
        assert_eq!(heard(&robot.handle(key('1'))), ["Long. "]);
        assert_eq!(robot.handle(key('7')), [], "nothing was asked");
        assert_eq!(robot.state(), "info");
        let stopped = Event::Key { key: '7', interrupted: true };
        assert_eq!(heard(&robot.handle(stopped)), ["Press one."], "the prompt is gone: go on");
        assert_eq!(heard(&robot.handle(key('1'))), ["Goodbye.", "(hangup)"]);
    }

    #[test]
    fn words_under_a_prompt_that_cannot_be_stopped_count_only_if_a_rule_knows_them() {
        let mut robot = robot();
        begin(&mut robot);
        let under = |text: &str| Event::Utterance { text: text.into(), during_prompt: true, interrupted: false };
        assert_eq!(robot.handle(under("mumble")), []);
        assert_eq!(heard(&robot.handle(under("tomorrow"))), ["Long. "]);
    }
}
