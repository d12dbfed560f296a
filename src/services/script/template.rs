//! What the robot says, with `{names}` in it that become what the caller said, or what the call is about.
//!
//! `{{` and `}}` are the braces themselves.

use std::collections::BTreeMap;

/// A text with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// In words, where a brace has no partner or no name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let name = (brace == "{").then(|| rest.split_once('}')).flatten();
            let Some((name, after)) = name else {
                return Err(format!("a lone `{brace}`: write `{brace}{brace}` for the character itself"));
            };
            if name.is_empty() || !name.chars().all(|character| character.is_alphanumeric() || character == '_') {
                return Err(format!("`{{{name}}}` is not a name"));
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Variable(name.to_owned()));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    /// The names in it.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with `variables` put in; one that is not set is nothing.
    pub fn fill(&self, variables: &BTreeMap<String, String>) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(name) => variables.get(name).cloned().unwrap_or_default(),
        };
        self.0.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_and_braces_can_be_said() {
        let template = Template::parse("At {hour} on {day}, {{really}}").unwrap();
        assert_eq!(template.variables().collect::<Vec<_>>(), ["hour", "day"]);
        let set = BTreeMap::from([("hour".to_owned(), "three".to_owned())]);
        assert_eq!(template.fill(&set), "At three on , {really}");
    }

    #[test]
    fn lone_braces_and_bad_names_are_refused() {
        for wrong in ["{", "a } b", "{a b}", "{}", "x {open"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
