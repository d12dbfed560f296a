//! From the form to a script that can be run: names become states, texts templates, words patterns; and what no run could
//! make sense of is found before the first call.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

use super::error::{Faults, ScriptError};
use super::form::{FallbackForm, RuleForm, Say, ScriptForm, SegmentForm, SegmentTable, StateForm};
use super::pattern::Pattern;
use super::states::{Fallback, Interruptible, Knob, Piece, Rule, Script, State, StateId, Style};
use super::template::Template;

/// Variables that a call sets by itself: what was said last, and the two numbers.
const OWN_VARIABLES: [&str; 3] = ["text", "caller", "callee"];
/// Keys of a telephone.
const KEYS: &str = "0123456789*#ABCD";

impl Script {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ScriptError`], with all that is wrong.
    pub fn load(file: &Path) -> Result<Self, ScriptError> {
        let text = fs::read_to_string(file).map_err(|source| ScriptError::Io { file: file.to_owned(), source })?;
        Self::parse(&file.display().to_string(), &text)
    }

    /// Reads and checks `text`; `file` is how errors name it.
    ///
    /// # Errors
    /// [`ScriptError::Wrong`], with all that is wrong.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScriptError> {
        let mut faults = Faults::new(file, text);
        let form: ScriptForm = match toml::from_str(text) {
            Ok(form) => form,
            Err(error) => {
                // The path of a key is not known here; the line is that of the key.
                faults.add(error.span().unwrap_or(0..0), "", error.message());
                return Err(faults.or(()).expect_err("one was added"));
            }
        };
        let script = Checker::new(&form, &mut faults).script(&form);
        faults.or(script)
    }
}

struct Checker<'f, 't> {
    names: BTreeMap<String, StateId>,
    variables: BTreeSet<String>,
    style: Style,
    faults: &'f mut Faults<'t>,
}

impl<'f, 't> Checker<'f, 't> {
    fn new(form: &ScriptForm, faults: &'f mut Faults<'t>) -> Self {
        let names = form.states.keys().enumerate().map(|(at, name)| (name.clone(), StateId(at))).collect();
        let mut variables: BTreeSet<String> = OWN_VARIABLES.map(str::to_owned).into();
        variables.extend(form.variables.keys().cloned());
        for rule in form.states.values().flat_map(|state| &state.get_ref().on) {
            // A wrong expression is told where the rule is checked.
            if let Some(Ok(pattern)) = rule.get_ref().matches.as_ref().map(|one| Pattern::expression(one.get_ref())) {
                variables.extend(pattern.variables().map(str::to_owned));
            }
        }
        let value = |value: &Option<toml::Spanned<f32>>| value.as_ref().map(|value| *value.get_ref());
        let style = Style {
            voice: form.voice.clone(),
            language: form.language.clone(),
            speed: value(&form.speed),
            pitch: value(&form.pitch),
            volume: value(&form.volume),
        };
        let mut this = Self { names, variables, style, faults };
        for (key, value) in [("speed", &form.speed), ("pitch", &form.pitch), ("volume", &form.volume)] {
            if let Some(value) = value {
                this.manner(value.span(), key, key, *value.get_ref());
            }
        }
        this
    }

    fn script(&mut self, form: &ScriptForm) -> Script {
        let start = self.target(form.start.span(), "start", form.start.get_ref());
        let knobs = self.knobs("knobs", &form.knobs);
        let states: Vec<State> =
            form.states.iter().map(|(name, state)| self.state(name, state.span(), state.get_ref(), form)).collect();
        let script = Script { states, start, variables: form.variables.clone(), knobs };
        self.graph(&script, form);
        script
    }

    fn state(&mut self, name: &str, span: Range<usize>, form: &StateForm, script: &ScriptForm) -> State {
        let key = |key: &str| format!("states.{name}.{key}");
        let say = form.say.as_ref().map(|say| self.say(say.span(), &key("say"), say.get_ref())).unwrap_or_default();
        let on = form.on.iter().enumerate();
        let on = on.map(|(at, rule)| self.rule(rule.span(), &key(&format!("on[{at}]")), rule.get_ref())).collect();
        let mut keys = BTreeMap::new();
        for (pressed, next) in &form.keys {
            let at = key(&format!("keys.{pressed}"));
            match pressed.parse::<char>() {
                Ok(one) if KEYS.contains(one) => {
                    keys.insert(one, self.target(next.span(), &at, next.get_ref()));
                }
                _ => self.faults.add(next.span(), at, format!("not a key of a telephone: {KEYS}")),
            }
        }
        let one = |this: &mut Self, which: &str, next: &Option<toml::Spanned<String>>| {
            next.as_ref().map(|next| this.target(next.span(), &key(which), next.get_ref()))
        };
        let on_interrupted = one(self, "on_interrupted", &form.on_interrupted);
        let next = one(self, "next", &form.next);
        let mut state = State {
            name: name.to_owned(),
            say,
            interruptible: form.interruptible,
            knobs: self.knobs(&key("knobs"), &form.knobs),
            labels: self.labels(&key("labels"), &form.labels),
            on,
            keys,
            on_interrupted,
            no_input: None,
            otherwise: None,
            next,
            hangup: form.hangup,
        };
        let own = |fallback: &Option<toml::Spanned<FallbackForm>>, this: &mut Self, which: &str| {
            fallback.as_ref().map(|form| this.fallback(form.span(), &key(which), form.get_ref()))
        };
        state.no_input = own(&form.no_input, self, "no_input");
        state.otherwise = own(&form.otherwise, self, "else");
        if state.waits() {
            let common = |fallback: &Option<toml::Spanned<FallbackForm>>, this: &mut Self, which: &str| {
                fallback.as_ref().map(|form| this.fallback(form.span(), which, form.get_ref()))
            };
            state.no_input = state.no_input.or_else(|| common(&script.no_input, self, "no_input"));
            state.otherwise = state.otherwise.or_else(|| common(&script.otherwise, self, "else"));
        }
        self.sense(span, name, &state, form);
        state
    }

    /// What is well-formed but makes no sense.
    fn sense(&mut self, span: Range<usize>, name: &str, state: &State, form: &StateForm) {
        let mut wrong = |key: &str, reason: &str| self.faults.add(span.clone(), format!("states.{name}{key}"), reason);
        if state.hangup && state.next.is_some() {
            wrong(".next", "the call ends here by `hangup`: there is no next state");
        }
        if state.hangup && (!form.on.is_empty() || !form.keys.is_empty() || form.no_input.is_some()) {
            wrong("", "the call ends here by `hangup`: nobody waits for `on`, `keys` or `no_input`");
        }
        if !state.hangup && state.say.is_empty() && state.next.is_some() {
            wrong(".next", "nothing is said, so there is no end of it to go on from; add `say`");
        }
        if state.next.is_some() && form.no_input.is_some() {
            wrong(".no_input", "the robot goes on by `next`: nobody waits for an answer");
        }
        if state.on_interrupted.is_some() && state.interruptible == Interruptible::Never {
            wrong(".on_interrupted", "`interruptible` is \"never\"");
        }
        if state.waits() && state.no_input.is_none() {
            wrong("", "no way out when the caller says nothing: add `no_input`, here or for the whole script");
        }
        if state.waits() && state.otherwise.is_none() {
            wrong("", "no way out when the caller says something else: add `else`, here or for the whole script");
        }
        if form.say.is_none()
            && state.waits()
            && [&state.no_input, &state.otherwise]
                .iter()
                .any(|fallback| fallback.as_ref().is_some_and(|fallback| fallback.times > 0 && fallback.say.is_none()))
        {
            wrong(".say", "nothing to repeat: `no_input` and `else` with `times` need a `say`, theirs or the state's");
        }
    }

    /// Every state can be reached, and from every state a call can end.
    fn graph(&mut self, script: &Script, form: &ScriptForm) {
        let ways: Vec<BTreeSet<usize>> = script.states.iter().map(ways).collect();
        let back: Vec<BTreeSet<usize>> =
            (0..ways.len()).map(|to| (0..ways.len()).filter(|&from| ways[from].contains(&to)).collect()).collect();
        let reached = reachable([script.start.0], &ways);
        let ends = reachable((0..ways.len()).filter(|&at| script.states[at].hangup), &back);
        for (at, state) in script.states.iter().enumerate() {
            let span = form.states.get(&state.name).map_or(0..0, toml::Spanned::span);
            let key = format!("states.{}", state.name);
            if !reached.contains(&at) {
                self.faults.add(span, key, "no state leads here");
            } else if !ends.contains(&at) {
                self.faults.add(span, key, "from here no state with `hangup` can be reached");
            }
        }
    }

    fn rule(&mut self, span: Range<usize>, key: &str, form: &RuleForm) -> Rule {
        let mut patterns = Vec::new();
        let mut keep = |this: &mut Self, span, key: String, pattern| match pattern {
            Ok(pattern) => patterns.push(pattern),
            Err(reason) => this.faults.add(span, key, reason),
        };
        if let Some(words) = &form.hear {
            let pattern = Pattern::words(words.0.iter().map(String::as_str));
            keep(self, span.clone(), format!("{key}.hear"), pattern);
        }
        if let Some(expression) = &form.matches {
            let pattern = Pattern::expression(expression.get_ref());
            keep(self, expression.span(), format!("{key}.matches"), pattern);
        }
        if form.hear.is_none() && form.matches.is_none() {
            self.faults.add(span, key, "waits for nothing: add `hear` or `matches`");
        }
        Rule {
            patterns,
            next: self.target(form.next.span(), &format!("{key}.next"), form.next.get_ref()),
            labels: self.labels(&format!("{key}.labels"), &form.labels),
        }
    }

    fn fallback(&mut self, span: Range<usize>, key: &str, form: &FallbackForm) -> Fallback {
        Fallback {
            times: form.times.unwrap_or(1),
            say: form.say.as_ref().map(|say| self.say(span.clone(), &format!("{key}.say"), say)),
            next: self.target(span, &format!("{key}.next"), &form.next),
        }
    }

    fn say(&mut self, span: Range<usize>, key: &str, form: &Say) -> Vec<Piece> {
        if form.0.is_empty() {
            self.faults.add(span, key, "the list is empty");
            return Vec::new();
        }
        let segments = form.0.iter().enumerate();
        segments.filter_map(|(at, segment)| self.piece(span.clone(), &format!("{key}[{at}]"), segment)).collect()
    }

    fn piece(&mut self, span: Range<usize>, key: &str, form: &SegmentForm) -> Option<Piece> {
        let table = match form {
            SegmentForm::Text(text) => {
                let template = self.template(span, key, text)?;
                return Some(Piece::Text(template, self.style.clone()));
            }
            SegmentForm::Table(table) => table,
        };
        match table {
            SegmentTable { text: Some(text), file: None, silence_ms: None, .. } => {
                let template = self.template(span.clone(), key, text)?;
                let style = Style {
                    voice: table.voice.clone().or_else(|| self.style.voice.clone()),
                    language: table.language.clone().or_else(|| self.style.language.clone()),
                    speed: table.speed.or(self.style.speed),
                    pitch: table.pitch.or(self.style.pitch),
                    volume: table.volume.or(self.style.volume),
                };
                for (name, value) in [("speed", table.speed), ("pitch", table.pitch), ("volume", table.volume)] {
                    if let Some(value) = value {
                        self.manner(span.clone(), &format!("{key}.{name}"), name, value);
                    }
                }
                Some(Piece::Text(template, style))
            }
            SegmentTable {
                text: None,
                voice: None,
                language: None,
                speed: None,
                pitch: None,
                volume: None,
                file,
                silence_ms,
            } => match (file, silence_ms) {
                (Some(file), None) if !file.is_empty() => Some(Piece::File(file.clone())),
                (None, Some(span)) if (20..=60_000).contains(span) => Some(Piece::Silence(*span)),
                (None, Some(_)) => {
                    self.faults.add(span, format!("{key}.silence_ms"), "not within 20 to 60000");
                    None
                }
                _ => {
                    self.faults.add(span, key, "needs one of `text`, `file` and `silence_ms`");
                    None
                }
            },
            _ => {
                self.faults.add(span, key, "voice, language, speed, pitch and volume belong to a `text` alone");
                None
            }
        }
    }

    fn manner(&mut self, span: Range<usize>, key: &str, name: &str, value: f32) {
        let range = match name {
            "speed" => 0.5..=2.0,
            "pitch" => -12.0..=12.0,
            _ => -40.0..=10.0,
        };
        if !range.contains(&value) {
            self.faults.add(span, key, format!("{value} is not within {} to {}", range.start(), range.end()));
        }
    }

    fn template(&mut self, span: Range<usize>, key: &str, text: &str) -> Option<Template> {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(reason) => {
                self.faults.add(span, key, reason);
                return None;
            }
        };
        for name in template.variables().filter(|name| !self.variables.contains(*name)) {
            let reason = format!("nothing sets {{{name}}}: name it in `variables`, or capture it in a `matches`");
            self.faults.add(span.clone(), key, reason);
        }
        Some(template)
    }

    fn labels(&mut self, key: &str, form: &BTreeMap<String, toml::Spanned<String>>) -> Vec<(String, Template)> {
        form.iter()
            .filter_map(|(name, value)| {
                let template = self.template(value.span(), &format!("{key}.{name}"), value.get_ref())?;
                Some((name.clone(), template))
            })
            .collect()
    }

    fn knobs(&mut self, key: &str, form: &BTreeMap<Knob, toml::Spanned<u32>>) -> BTreeMap<Knob, u32> {
        for (knob, value) in form {
            let range = knob.range();
            let off = *knob == Knob::NoInputMs && *value.get_ref() == 0;
            if !range.contains(value.get_ref()) && !off {
                let reason = format!("{} is not within {} to {}", value.get_ref(), range.start(), range.end());
                self.faults.add(value.span(), format!("{key}.{}", knob.name()), reason);
            }
        }
        form.iter().map(|(knob, value)| (*knob, *value.get_ref())).collect()
    }

    fn target(&mut self, span: Range<usize>, key: &str, name: &str) -> StateId {
        if let Some(&found) = self.names.get(name) {
            return found;
        }
        let known = self.names.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        self.faults.add(span, key, format!("no state `{name}`; there are: {known}"));
        // Never run: the script is refused.
        StateId(0)
    }
}

fn ways(state: &State) -> BTreeSet<usize> {
    let fallbacks = [&state.no_input, &state.otherwise].into_iter().flatten().map(|fallback| fallback.next);
    let rules = state.on.iter().map(|rule| rule.next);
    let one = state.on_interrupted.into_iter().chain(state.next);
    rules.chain(state.keys.values().copied()).chain(fallbacks).chain(one).map(|id| id.0).collect()
}

/// All that can be reached from `seeds`, themselves among it.
fn reachable(seeds: impl IntoIterator<Item = usize>, ways: &[BTreeSet<usize>]) -> BTreeSet<usize> {
    let mut open: Vec<usize> = seeds.into_iter().collect();
    let mut reached = BTreeSet::new();
    while let Some(at) = open.pop() {
        if reached.insert(at) {
            open.extend(&ways[at]);
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        match Script::parse("demo.toml", text) {
            Ok(_) => panic!("accepted: {text}"),
            Err(error) => error.to_string().lines().map(str::to_owned).collect(),
        }
    }

    const BYE: &str = "\n[states.bye]\nsay = 'Goodbye.'\nhangup = true\n";

    #[test]
    fn an_unknown_state_is_told_with_line_and_key() {
        let found = faults(&format!("start = 'bye'\n{BYE}\n[states.lost]\nsay = 'x'\nnext = 'by'\n"));
        assert_eq!(found[1], "demo.toml:9: states.lost.next: no state `by`; there are: bye, lost");
        assert!(found[0].contains("states.lost: no state leads here"), "{found:?}");
    }

    #[test]
    fn a_wait_without_a_way_out_is_refused() {
        let found = faults(&format!("start = 'a'\n[states.a]\nsay = 'x'\nkeys = {{ 1 = 'bye' }}\n{BYE}"));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("states.a: no way out when the caller says nothing"), "{found:?}");
    }

    #[test]
    fn a_circle_without_an_end_is_refused() {
        let found = faults("start = 'a'\n[states.a]\nsay = 'x'\nnext = 'b'\n[states.b]\nsay = 'y'\nnext = 'a'\n");
        assert!(found.iter().all(|fault| fault.contains("no state with `hangup` can be reached")), "{found:?}");
    }

    #[test]
    fn unknown_keys_wrong_kinds_and_wrong_values_name_their_line() {
        for (text, wanted) in [
            ("start = 'bye'\nstrat = 'x'\n", "demo.toml:2: unknown field `strat`"),
            ("start = 'bye'\nknobs = { endpoint = 3 }\n", "demo.toml:2: unknown variant `endpoint`"),
            ("start = 'bye'\n\nknobs = { endpoint_ms = 3 }\n", "demo.toml:3: knobs.endpoint_ms: 3 is not within"),
            ("start = 'bye'\nspeed = 9\n", "demo.toml:2: speed: 9 is not within 0.5 to 2"),
            ("start = \n", "demo.toml:1: "),
        ] {
            let found = faults(&format!("{text}{BYE}"));
            assert!(found[0].starts_with(wanted), "{found:?}, wanted {wanted}");
        }
        for (line, wanted) in [
            ("say = 'Hello {nam}'", "demo.toml:3: states.bye.say[0]: nothing sets {nam}"),
            ("say = [{ fiel = 'x' }]", "demo.toml:3: unknown field `fiel`"),
            ("say = [{ file = 'x', speed = 1.0 }]", "demo.toml:3: states.bye.say[0]: voice, language"),
            ("say = []", "demo.toml:3: states.bye.say: the list is empty"),
            ("say = 5", "demo.toml:3: invalid type: integer `5`, expected a text, a segment or a list"),
            ("keys = { 12 = 'bye' }", "demo.toml:3: states.bye.keys.12: not a key"),
            ("on = [{ matches = '(', next = 'bye' }]", "demo.toml:3: states.bye.on[0].matches: regex parse error"),
            ("on = [{ next = 'bye' }]", "demo.toml:3: states.bye.on[0]: waits for nothing"),
        ] {
            let found = faults(&format!("start = 'bye'\n[states.bye]\n{line}\nhangup = true\n"));
            assert!(found.iter().any(|fault| fault.starts_with(wanted)), "{found:?}, wanted {wanted}");
        }
    }

    #[test]
    fn the_script_of_the_documentation_is_accepted() {
        let documentation = include_str!("mod.rs");
        let code = documentation.lines().filter_map(|line| line.strip_prefix("//!"));
        let text: Vec<&str> =
            code.skip_while(|line| *line != " ```toml").skip(1).take_while(|line| *line != " ```").collect();
        let script = Script::parse("mod.rs", &text.join("\n")).unwrap();
        assert_eq!(script.states.len(), 3);
    }
}
