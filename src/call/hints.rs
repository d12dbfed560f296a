//! What the recogniser is told to expect of the caller.

/// What the caller is likely to say. As the engine takes it: nothing of it means anything to us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Words and phrases.
    pub phrases: Vec<String>,
    /// A grammar, in the engine's own form; empty: none.
    pub grammar: String,
}

impl Hints {
    /// Nothing in particular.
    pub fn is_empty(&self) -> bool {
        self.phrases.is_empty() && self.grammar.is_empty()
    }
}
