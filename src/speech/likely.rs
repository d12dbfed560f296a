//! What a recogniser is told to expect: on the whole call, and in the turn that goes on. Pure.

use std::sync::Arc;

use crate::call::hints::Hints;
use crate::proto::speech::v1 as proto;

/// What an engine takes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Takes {
    pub phrases: bool,
    pub grammars: bool,
}

/// What is likely.
#[derive(Debug, Default)]
pub(super) struct Likely {
    call: Vec<String>,
    turn: Option<Arc<Hints>>,
    /// The stream has not been told of the last change.
    news: bool,
    /// The call has been told that the engine does not take it.
    told: bool,
}

impl Likely {
    /// `phrases`: on the whole call.
    pub(super) fn on_call(phrases: Vec<String>) -> Likely {
        Likely { call: phrases, ..Likely::default() }
    }

    /// Something else is likely in this turn, or nothing in particular.
    pub(super) fn turn(&mut self, hints: Option<Arc<Hints>>) {
        self.turn = hints;
        self.news = true;
    }

    /// What a new stream begins with.
    pub(super) fn first(&mut self, takes: Takes) -> proto::Hints {
        self.news = false;
        self.now(takes)
    }

    /// What a stream has to be told, if it can make something of it.
    pub(super) fn next(&mut self, takes: Takes) -> Option<proto::Hints> {
        let news = std::mem::take(&mut self.news);
        (news && (takes.phrases || takes.grammars)).then(|| self.now(takes))
    }

    /// There is something to be told.
    pub(super) fn has_news(&self) -> bool {
        self.news
    }

    /// The field that is set though the engine does not take it: said once.
    pub(super) fn refused(&mut self, takes: Takes) -> Option<&'static str> {
        let turn = self.turn.as_deref();
        let phrases = turn.is_some_and(|turn| !turn.phrases.is_empty());
        let field = match () {
            () if self.told => None,
            () if !takes.phrases && phrases => Some("expect.phrases"),
            () if !takes.phrases && !self.call.is_empty() => Some("phrases"),
            () if !takes.grammars && turn.is_some_and(|turn| !turn.grammar.is_empty()) => Some("expect.grammar"),
            () => None,
        };
        self.told |= field.is_some();
        field
    }

    fn now(&self, takes: Takes) -> proto::Hints {
        let turn = self.turn.as_deref();
        let of_turn = turn.map_or(&[][..], |turn| &turn.phrases);
        let phrases = self.call.iter().chain(of_turn).filter(|_| takes.phrases).cloned().collect();
        let grammar = turn.filter(|_| takes.grammars).map(|turn| turn.grammar.clone()).unwrap_or_default();
        proto::Hints { phrases, grammar }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Takes = Takes { phrases: true, grammars: true };
    const PHRASES: Takes = Takes { phrases: true, grammars: false };
    const NONE: Takes = Takes { phrases: false, grammars: false };

    fn hints(phrases: &[&str], grammar: &str) -> proto::Hints {
        proto::Hints { phrases: phrases.iter().map(|&phrase| phrase.into()).collect(), grammar: grammar.into() }
    }

    fn turn(phrases: &[&str], grammar: &str) -> Option<Arc<Hints>> {
        let proto::Hints { phrases, grammar } = hints(phrases, grammar);
        Some(Arc::new(Hints { phrases, grammar }))
    }

    #[test]
    fn what_is_likely_on_the_call_is_likely_in_each_turn() {
        let mut likely = Likely::on_call(vec!["Trunkline".into()]);
        assert_eq!(likely.first(ALL), hints(&["Trunkline"], ""));
        assert_eq!(likely.next(ALL), None, "nothing has changed");
        likely.turn(turn(&["yes", "no"], "yesno"));
        assert_eq!(likely.next(ALL), Some(hints(&["Trunkline", "yes", "no"], "yesno")));
        likely.turn(None);
        assert_eq!(likely.next(ALL), Some(hints(&["Trunkline"], "")));
        likely.turn(turn(&["left"], ""));
        assert_eq!(likely.first(PHRASES), hints(&["Trunkline", "left"], ""), "a new stream begins with what holds now");
        assert_eq!(likely.next(PHRASES), None);
    }

    #[test]
    fn an_engine_gets_what_it_takes_and_the_rest_is_said_once() {
        let mut likely = Likely::default();
        assert_eq!(likely.refused(NONE), None);
        likely.turn(turn(&["yes"], "yesno"));
        assert_eq!(likely.next(PHRASES), Some(hints(&["yes"], "")));
        assert_eq!(likely.refused(PHRASES), Some("expect.grammar"));
        assert_eq!(likely.refused(PHRASES), None);
        likely.turn(turn(&["yes"], ""));
        assert_eq!(likely.next(NONE), None);
        let mut likely = Likely::on_call(vec!["Trunkline".into()]);
        assert_eq!((likely.first(NONE), likely.refused(NONE)), (hints(&[], ""), Some("phrases")));
    }
}
