//! What the caller said, against what a rule waits for.
//!
//! Case does not count. Words and phrases are looked for anywhere in the text, whole, whatever punctuation a recogniser
//! has put between them; in scripts without spaces (Chinese) anywhere at all. A pattern is a regular expression; its named
//! groups become variables.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

/// What one rule waits for: any of its expressions.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Waits for any of `words`, each a word or a phrase.
    ///
    /// # Errors
    /// In words, when a phrase has no letter and no digit in it, or the whole is too long.
    pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let phrases = words.into_iter().map(phrase).collect::<Result<Vec<_>, _>>()?;
        if phrases.is_empty() {
            return Err("the list is empty".to_owned());
        }
        Self::expression(&phrases.join("|"))
    }

    /// Waits for a regular expression.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn expression(expression: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(expression).case_insensitive(true).size_limit(1 << 20).build();
        built.map(Self).map_err(|error| error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" "))
    }

    /// The variables that a text can set.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.capture_names().flatten()
    }

    /// What `text` sets, if it is one that the rule waits for.
    pub fn find(&self, text: &str) -> Option<BTreeMap<String, String>> {
        let captures = self.0.captures(text)?;
        let set = self.variables().filter_map(|name| {
            let value = captures.name(name)?.as_str().trim();
            Some((name.to_owned(), value.to_owned()))
        });
        Some(set.collect())
    }
}

/// A phrase as an expression: its words in order, between them anything that is neither letter nor digit.
fn phrase(phrase: &str) -> Result<String, String> {
    let words: Vec<&str> = phrase
        .split(|character: char| !(character.is_alphanumeric() || character == '\''))
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .collect();
    let (Some(first), Some(last)) = (words.first(), words.last()) else {
        return Err(format!("`{phrase}` has no word in it"));
    };
    // Han, kana and Hangul are written without spaces: there is no boundary to look for.
    let spaced = |character: Option<char>| character.is_some_and(|character| character < '\u{2E80}');
    let edge = |character| if spaced(character) { r"\b" } else { "" };
    let (before, after) = (edge(first.chars().next()), edge(last.chars().next_back()));
    // A recogniser writes a curly apostrophe or a straight one.
    let escape = |word: &&str| regex::escape(word).replace('\'', "['\u{2019}]");
    let words: Vec<String> = words.iter().map(escape).collect();
    Ok(format!("{before}{}{after}", words.join(r"[^\p{L}\p{N}]+")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whole_whatever_the_case_and_the_punctuation() {
        let pattern = Pattern::words(["yes please", "that's right", "ok"]).unwrap();
        for text in ["Yes, please.", "well YES -- PLEASE do", "That\u{2019}s right!", "OK"] {
            assert!(pattern.find(text).is_some(), "{text}");
        }
        for text in ["yes", "please yes", "okra", "book", ""] {
            assert!(pattern.find(text).is_none(), "{text}");
        }
        let chinese = Pattern::words(["不要", "是的"]).unwrap();
        assert!(chinese.find("我不要了。").is_some());
        assert!(chinese.find("要不").is_none());
    }

    #[test]
    fn a_pattern_captures_what_it_names() {
        let pattern = Pattern::expression(r"\b(?:on|by) (?<day>\w+day)").unwrap();
        let set = pattern.find("Could you do it on Friday, please?").unwrap();
        assert_eq!(set.into_iter().collect::<Vec<_>>(), [("day".to_owned(), "Friday".to_owned())]);
        assert_eq!(pattern.variables().collect::<Vec<_>>(), ["day"]);
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        assert!(Pattern::words(["?!"]).unwrap_err().contains("no word"));
        assert!(Pattern::words([]).unwrap_err().contains("empty"));
        assert!(Pattern::expression("(unclosed").unwrap_err().contains("unclosed group"));
        assert!(Pattern::expression("(a{500}){500}").is_err(), "a script cannot take all memory");
    }
}
