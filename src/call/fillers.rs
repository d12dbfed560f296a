//! Filler words: what a listener says to show that he listens, and what does not interrupt (the knobs `ignore` and `min_words`).
//!
//! A text is taken apart into words: runs of letters and digits, in lower case; of writing without spaces (Chinese, Japanese, Thai, Lao,
//! Khmer, Burmese) each character is one. Apostrophes belong to the word, everything else parts words: "Uh-huh, don't" has three. From left to right the longest filler
//! that begins at a word is passed over; what is left counts. So with 嗯, 是 and "uh-huh" ignored, "嗯嗯，是" has no word that counts, "是谁" has
//! one, and "uh-huh, stop" has one.

use std::sync::{Arc, LazyLock};

use thiserror::Error;

/// Phrases that one list may have.
pub const MOST: usize = 256;
/// Bytes of a phrase.
pub const LONGEST: usize = 64;

/// What is ignored unless somebody says otherwise.
const USUAL: [&str; 40] = [
    "嗯", "啊", "哦", "噢", "喔", "呃", "额", "哎", "欸", "诶", "唔", "哈", "是", "是的", "对", "对的", "对对", "好",
    "好的", "行", "uh", "uh-huh", "um", "umm", "ah", "oh", "eh", "er", "hm", "hmm", "mm", "mhm", "mm-hmm", "huh",
    "yeah", "yep", "ok", "okay", "right", "sure",
];

static THE_USUAL: LazyLock<Arc<Fillers>> =
    LazyLock::new(|| Arc::new(Fillers::new(&USUAL).unwrap_or(Fillers { phrases: Vec::new() })));

/// A list that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadFillers {
    /// Too many.
    #[error("has {0} phrases, at most {MOST} are taken")]
    TooMany(usize),
    /// Too long.
    #[error("{0:?} has more than {LONGEST} bytes")]
    TooLong(String),
    /// Nothing to compare with.
    #[error("{0:?} has no letter and no digit")]
    NoWord(String),
}

/// A list of phrases that do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fillers {
    /// Each as its words; longer ones first.
    phrases: Vec<Vec<String>>,
}

impl Fillers {
    /// A list, of which an empty one ignores nothing.
    pub fn new(phrases: &[impl AsRef<str>]) -> Result<Fillers, BadFillers> {
        if phrases.len() > MOST {
            return Err(BadFillers::TooMany(phrases.len()));
        }
        let one = |phrase: &str| match words(phrase) {
            _ if phrase.len() > LONGEST => Err(BadFillers::TooLong(phrase.to_owned())),
            words if words.is_empty() => Err(BadFillers::NoWord(phrase.to_owned())),
            words => Ok(words),
        };
        let mut phrases = phrases.iter().map(|phrase| one(phrase.as_ref())).collect::<Result<Vec<_>, _>>()?;
        phrases.sort_by_key(|words| std::cmp::Reverse(words.len()));
        Ok(Fillers { phrases })
    }

    /// What is ignored unless somebody says otherwise: 嗯, 是, 好的, uh-huh, okay and their like.
    pub fn usual() -> Arc<Fillers> {
        THE_USUAL.clone()
    }

    /// How many words of a text count.
    pub fn count(&self, text: &str) -> usize {
        let words = words(text);
        let (mut at, mut count) = (0, 0);
        while at < words.len() {
            let filler = self.phrases.iter().find(|phrase| words[at..].starts_with(phrase));
            count += usize::from(filler.is_none());
            at += filler.map_or(1, Vec::len);
        }
        count
    }
}

/// The words of a text.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        if stands_alone(c) {
            words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            words.push(c.to_string());
        } else if c.is_alphanumeric() || (matches!(c, '\'' | '’') && !word.is_empty()) {
            word.extend(if c == '’' { '\'' } else { c }.to_lowercase());
        } else {
            words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// Of writing that puts no spaces between words.
fn stands_alone(c: char) -> bool {
    matches!(c,
        '\u{0e01}'..='\u{0eff}' // Thai, Lao
        | '\u{1000}'..='\u{109f}' // Burmese
        | '\u{1780}'..='\u{17ff}' // Khmer
        | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{30ff}' // Japanese
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}' // Han
    ) && c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fillers_do_not_count_and_what_is_between_them_does() {
        let usual = Fillers::usual();
        for (text, count) in [
            ("", 0),
            ("…", 0),
            ("嗯", 0),
            ("嗯嗯，是的。", 0),
            ("是谁？", 1),
            ("等一下", 3),
            ("嗯，我想问一下", 5),
            ("Uh-huh.", 0),
            ("UH HUH, okay", 0),
            ("uh-huh, stop", 1),
            ("Yeah, but I don’t want it", 5),
            ("ok 12 34", 2),
        ] {
            assert_eq!(usual.count(text), count, "{text}");
        }
    }

    #[test]
    fn the_longest_phrase_goes_first_and_nothing_is_a_filler_by_its_beginning() {
        let fillers = Fillers::new(&["i see", "i"]).expect("in order");
        assert_eq!(fillers.count("I see"), 0);
        assert_eq!(fillers.count("I seek"), 1, "seek is another word");
        assert_eq!(Fillers::new(&[] as &[&str]).expect("in order").count("uh"), 1, "an empty list ignores nothing");
    }

    #[test]
    fn a_phrase_without_a_word_is_refused() {
        assert_eq!(Fillers::new(&["?!"]), Err(BadFillers::NoWord("?!".into())));
        assert!(matches!(Fillers::new(&["x".repeat(65)]), Err(BadFillers::TooLong(_))));
        assert_eq!(Fillers::new(&["a"; 257]), Err(BadFillers::TooMany(257)));
    }
}
