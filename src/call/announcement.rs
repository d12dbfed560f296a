//! What an operator's announcement means, by phrases in what the recogniser understood of it.
//!
//! A text and the phrases of the rules are brought to one form: Unicode's NFKC (full-width letters are letters, half-width kana are kana), then taken
//! apart into words as in [`fillers`](super::fillers): lower case, of writing without spaces each character is a word, nothing else counts. So "Power off"
//! is found in "POWER-OFF." and 关机 in "已关 机。", and "busy" is not found in "busybody".
//!
//! A rule is found when one of its `contains` is there, and each of its `all`. Of several rules the one of which most characters are there is meant, of those with
//! as many the first: "正在通话中, 请不要挂机" is not yet a busy line where there is a rule for both together.

use std::collections::BTreeSet;
use std::sync::Arc;

use icu_normalizer::ComposingNormalizerBorrowed;
use thiserror::Error;

use super::fillers::words;
use super::record::Outcome;

/// Rules that one list may have.
pub const MOST_RULES: usize = 64;
/// Phrases of a rule.
pub const MOST_PHRASES: usize = 64;
/// Bytes of a phrase.
pub const LONGEST: usize = 128;
/// What is looked at of a text, in bytes: an announcement is shorter.
const LONGEST_TEXT: usize = 4_096;

/// What a rule may say; `None` stands for "none": the call goes on.
pub const OUTCOMES: [Option<Outcome>; 7] = [
    Some(Outcome::Notexist),
    Some(Outcome::Stopped),
    Some(Outcome::Poweroff),
    Some(Outcome::Cantbeconnected),
    Some(Outcome::Linebusy),
    Some(Outcome::Nooneheard),
    None,
];

/// A phrase by which no announcement can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadPhrase {
    /// Too long.
    #[error("holds a phrase of more than {LONGEST} bytes")]
    TooLong,
    /// It would be found everywhere.
    #[error("holds a phrase that says too little: neither two words nor one of four letters")]
    TooShort,
}

/// Words that stand one after the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Phrase(Vec<String>);

impl Phrase {
    /// Of Chinese two characters suffice.
    pub fn parse(text: &str) -> Result<Phrase, BadPhrase> {
        if text.len() > LONGEST {
            return Err(BadPhrase::TooLong);
        }
        let words = told_apart(text);
        let letters: usize = words.iter().map(|word| word.chars().count()).sum();
        if words.len() < 2 && letters < 4 {
            return Err(BadPhrase::TooShort);
        }
        Ok(Phrase(words))
    }

    fn is_in(&self, text: &[String]) -> bool {
        text.windows(self.0.len()).any(|words| words == self.0)
    }

    fn length(&self) -> usize {
        self.0.iter().map(|word| word.chars().count()).sum()
    }
}

/// What announcements of one kind have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// As it is told.
    pub name: Arc<str>,
    /// One of them has to be there, unless there is none.
    pub contains: Vec<Phrase>,
    /// Each of them has to be there.
    pub all: Vec<Phrase>,
    /// What it means; `None`: nothing, the call goes on.
    pub outcome: Option<Outcome>,
}

impl Rule {
    /// How many characters of it are in a text.
    fn found_in(&self, text: &[String]) -> Option<usize> {
        let contained = self.contains.iter().filter(|phrase| phrase.is_in(text)).map(Phrase::length).max();
        if (contained.is_none() && !self.contains.is_empty()) || !self.all.iter().all(|phrase| phrase.is_in(text)) {
            return None;
        }
        Some(contained.unwrap_or(0) + self.all.iter().map(Phrase::length).sum::<usize>()).filter(|length| *length > 0)
    }
}

/// The rules of a call, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Announcements {
    rules: Vec<Rule>,
    /// Phrases that are one part of several: what follows may change their meaning.
    parts: BTreeSet<Phrase>,
}

/// What a text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    /// By which rule.
    pub rule: &'a Arc<str>,
    /// What it means.
    pub outcome: Option<Outcome>,
    /// It may come to mean something else while the text still grows.
    pub open: bool,
}

impl Announcements {
    /// Of several lists, one after the other.
    pub fn new(rules: Vec<Rule>) -> Announcements {
        let parts =
            rules.iter().filter(|rule| rule.all.len() > 1 || !rule.contains.is_empty()).flat_map(|rule| &rule.all);
        Announcements { parts: parts.cloned().collect(), rules }
    }

    /// What a text says, if it is an announcement that is known.
    pub fn hear(&self, text: &str) -> Option<Found<'_>> {
        let text = told_apart(&text[..text.floor_char_boundary(LONGEST_TEXT)]);
        let mut best: Option<(usize, &Rule)> = None;
        for rule in &self.rules {
            if let Some(length) = rule.found_in(&text).filter(|length| best.is_none_or(|(most, _)| *length > most)) {
                best = Some((length, rule));
            }
        }
        let (_, rule) = best?;
        let part = |phrase: &Phrase| phrase.is_in(&text) && self.parts.iter().any(|part| phrase.is_in(&part.0));
        let open = rule.all.is_empty() && rule.contains.iter().any(part);
        Some(Found { rule: &rule.name, outcome: rule.outcome, open })
    }
}

fn told_apart(text: &str) -> Vec<String> {
    words(&ComposingNormalizerBorrowed::new_nfkc().normalize(text).replace('ß', "ss"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, contains: &[&str], all: &[&str], outcome: Option<Outcome>) -> Rule {
        let phrases = |texts: &[&str]| texts.iter().map(|text| Phrase::parse(text).expect("a phrase")).collect();
        Rule { name: name.into(), contains: phrases(contains), all: phrases(all), outcome }
    }

    fn some() -> Announcements {
        Announcements::new(vec![
            rule("off", &["已关机", "power off", "ausgeschaltet"], &[], Some(Outcome::Poweroff)),
            rule("busy", &["正在通话中", "line is busy"], &[], Some(Outcome::Linebusy)),
            rule("waiting", &[], &["正在通话中", "不要挂机"], None),
            rule("unknown", &["is not", "números", "heißt"], &[], Some(Outcome::Cantbeconnected)),
            rule("no number", &["is not in service", "has not"], &["number"], Some(Outcome::Notexist)),
        ])
    }

    fn heard(text: &str) -> Option<(String, Option<Outcome>, bool)> {
        some().hear(text).map(|found| (found.rule.to_string(), found.outcome, found.open))
    }

    fn name(text: &str) -> Option<String> {
        heard(text).map(|(name, ..)| name)
    }

    #[test]
    fn a_phrase_is_found_however_it_is_written() {
        for text in [
            "您好，您拨打的电话已关机，请稍后再拨。",
            "您拨打的电话 已 关 机",
            "Sorry, the subscriber you dialled is POWER-OFF.",
            "ｐｏｗｅｒ ｏｆｆ",
            "Der Teilnehmer hat sein Telefon ausgeschaltet.",
        ] {
            assert_eq!(name(text).as_deref(), Some("off"), "{text}");
        }
        // One letter and its accent, as two characters.
        assert_eq!(name("los nu\u{301}meros").as_deref(), Some("unknown"));
        assert_eq!(name("es HEISST").as_deref(), Some("unknown"));
    }

    #[test]
    fn words_are_whole_and_stand_together() {
        for text in
            ["", "power", "power of attorney", "powers off", "off power", "已经关了机", "the line is busybody", "关机"]
        {
            assert_eq!(name(text), None, "{text}");
        }
    }

    #[test]
    fn all_means_all_and_contains_means_one() {
        assert_eq!(name("不要挂机"), None);
        assert_eq!(name("your account has not been paid"), None);
        assert_eq!(name("The number has not been recognised").as_deref(), Some("no number"));
    }

    #[test]
    fn the_rule_of_which_most_is_there_is_meant_then_the_first() {
        assert_eq!(name("正在通话中，请不要挂机").as_deref(), Some("waiting"));
        assert_eq!(name("The number is not in service").as_deref(), Some("no number"));
        let twice = |one: &str, other: &str| {
            let outcome = Some(Outcome::Stopped);
            let rules = vec![rule(one, &["停机"], &[], outcome), rule(other, &["停机"], &[], outcome)];
            Announcements::new(rules).hear("已停机").map(|found| found.rule.to_string())
        };
        assert_eq!(twice("a", "b").as_deref(), Some("a"));
        assert_eq!(twice("b", "a").as_deref(), Some("b"));
    }

    #[test]
    fn what_may_come_to_mean_something_else_is_open() {
        assert_eq!(heard("正在通话中"), Some(("busy".into(), Some(Outcome::Linebusy), true)));
        assert_eq!(heard("正在通话中，请不要挂机"), Some(("waiting".into(), None, false)));
        assert_eq!(heard("已关机"), Some(("off".into(), Some(Outcome::Poweroff), false)));
    }

    #[test]
    fn a_phrase_that_would_be_found_everywhere_is_refused() {
        for (text, told) in [
            ("", Err(BadPhrase::TooShort)),
            ("。！", Err(BadPhrase::TooShort)),
            ("机", Err(BadPhrase::TooShort)),
            ("off", Err(BadPhrase::TooShort)),
            ("关机", Ok(2)),
            ("busy", Ok(1)),
        ] {
            assert_eq!(Phrase::parse(text).map(|phrase| phrase.0.len()), told, "{text}");
        }
        assert_eq!(Phrase::parse(&"关".repeat(43)), Err(BadPhrase::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*") {
            let _ = some().hear(&text);
            let _ = Phrase::parse(&text);
        }
    }
}
