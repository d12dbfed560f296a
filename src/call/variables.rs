//! `${name}` in what is to be said: the values that were handed in with the call.
//!
//! | in the text | said |
//! |---|---|
//! | `${name}` | the variable's value; in SSML as text, whatever it holds |
//! | `${name}` of no variable of the call | nothing; the prompt has a fault that names it |
//! | `$${` | `${` |
//! | `$` and `${` before anything that is no name | as it stands |
//!
//! A name has 1 to 64 letters, digits, `_`, `-` and `.`. Values are said as they are: what looks like a variable in one is none.

use super::prompt::LONGEST_TEXT;

/// The longest name, in characters.
const LONGEST_NAME: usize = 64;
const TOO_LONG: usize = LONGEST_NAME + 1;

/// Whether a variable of this name can be filled in.
pub fn is_variable(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.chars().count()) && name.chars().all(is_of_a_name)
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// A call's variables.
#[derive(Debug, Default)]
pub(super) struct Variables(Vec<(String, String)>);

/// A text, or as much of it as has come, with its variables filled in.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Filled {
    pub(super) text: String,
    /// Something of the call's own stands in it.
    pub(super) own: bool,
    /// Why not all of it could be filled in.
    pub(super) faults: Vec<String>,
}

/// What a text that comes in pieces ended with, if that may be the beginning of a variable.
#[derive(Debug, Default, Clone)]
pub(super) struct Held(String);

impl Variables {
    pub(super) fn new(variables: Vec<(String, String)>) -> Variables {
        Variables(variables)
    }

    /// Fills in a whole text.
    pub(super) fn fill(&self, text: &str, ssml: bool) -> Filled {
        let mut filled = Filled::default();
        let rest = self.scan(text, ssml, &mut filled);
        filled.text.push_str(rest);
        filled
    }

    /// Fills in a piece of a text that goes on.
    pub(super) fn fill_piece(&self, held: &mut Held, piece: &str) -> Filled {
        let mut filled = Filled::default();
        held.0.push_str(piece);
        let rest = self.scan(&held.0, false, &mut filled).len();
        held.0.drain(..held.0.len() - rest);
        filled
    }

    /// Returns what at the end may be the beginning of a variable.
    fn scan<'t>(&self, mut text: &'t str, ssml: bool, filled: &mut Filled) -> &'t str {
        while let Some(at) = text.find('$') {
            filled.text.push_str(&text[..at]);
            text = &text[at..];
            if let Some(rest) = text.strip_prefix("$${") {
                filled.text.push_str("${");
                text = rest;
                continue;
            }
            match Mark::of(text) {
                Mark::Open => return text,
                Mark::Variable { name, rest } => {
                    self.put(name, ssml, filled);
                    text = rest;
                }
                Mark::Plain => {
                    filled.text.push('$');
                    text = &text[1..];
                }
            }
        }
        filled.text.push_str(text);
        ""
    }

    fn put(&self, name: &str, ssml: bool, filled: &mut Filled) {
        let Some((_, value)) = self.0.iter().find(|(known, _)| known == name) else {
            return filled.faults.push(format!("${{{name}}} is no variable of the call: nothing is said for it"));
        };
        if filled.text.len() + value.len() > LONGEST_TEXT {
            let reason =
                format!("${{{name}}} is too long, nothing is said for it: a text has {LONGEST_TEXT} bytes at most");
            return filled.faults.push(reason);
        }
        filled.own = true;
        match ssml {
            true => value.chars().for_each(|c| escape(c, &mut filled.text)),
            false => filled.text.push_str(value),
        }
    }
}

impl Held {
    /// The text is at its end: what is left of it stands as it is.
    pub(super) fn rest(self) -> String {
        self.0
    }
}

/// What a `$` begins.
enum Mark<'t> {
    Variable {
        name: &'t str,
        rest: &'t str,
    },
    /// It cannot be known yet.
    Open,
    Plain,
}

impl Mark<'_> {
    fn of(text: &str) -> Mark<'_> {
        if matches!(text, "$" | "$$" | "${") {
            return Mark::Open;
        }
        let Some(inner) = text.strip_prefix("${") else { return Mark::Plain };
        let end = inner.find(|c| !is_of_a_name(c));
        let name = &inner[..end.unwrap_or(inner.len())];
        match (name.chars().count(), end.map(|end| &inner[end..])) {
            (0 | TOO_LONG.., None) => Mark::Plain,
            (_, None) => Mark::Open,
            (1..=LONGEST_NAME, Some(rest)) if rest.starts_with('}') => Mark::Variable { name, rest: &rest[1..] },
            _ => Mark::Plain,
        }
    }
}

/// A character of a text, in XML.
fn escape(c: char, xml: &mut String) {
    match c {
        '&' => xml.push_str("&amp;"),
        '<' => xml.push_str("&lt;"),
        '>' => xml.push_str("&gt;"),
        '"' => xml.push_str("&quot;"),
        '\'' => xml.push_str("&apos;"),
        c => xml.push(c),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables() -> Variables {
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Variables::new(
            [("name", "Ann & Bob"), ("名字", "小明"), ("a.b-c_1", "${name}"), ("empty", "")].map(pair).into(),
        )
    }

    #[test]
    fn variables_are_filled_in_and_the_rest_stays_as_it_is() {
        for (text, said) in [
            ("Hello ${name}!", "Hello Ann & Bob!"),
            ("${名字}您好", "小明您好"),
            ("${a.b-c_1}", "${name}"),
            ("[${empty}]", "[]"),
            ("write $${name}, $$${name}", "write ${name}, $${name}"),
            ("it costs $5, or $ 5, or ${}, ${a b}, ${name", "it costs $5, or $ 5, or ${}, ${a b}, ${name"),
            ("$", "$"),
            ("$$", "$$"),
            ("", ""),
        ] {
            let filled = variables().fill(text, false);
            assert_eq!((filled.text.as_str(), filled.faults.len()), (said, 0), "{text}");
        }
        let ssml = variables().fill("<speak>${name} & so</speak>", true);
        assert_eq!(ssml.text, "<speak>Ann &amp; Bob & so</speak>");
    }

    #[test]
    fn what_is_no_variable_is_named_and_nothing_is_said_for_it() {
        let filled = variables().fill("Dear ${nmae}, hello ${name}.", false);
        assert_eq!((filled.text.as_str(), filled.own), ("Dear , hello Ann & Bob.", true));
        assert_eq!(filled.faults, ["${nmae} is no variable of the call: nothing is said for it"]);
        let long = Variables::new(vec![("x".to_owned(), "y".repeat(10_000))]);
        let filled = long.fill("${x} and ${x}", false);
        assert_eq!(filled.text.len(), 10_005);
        assert!(filled.faults[0].contains("${x} is too long"), "{:?}", filled.faults);
        assert!(!variables().fill("none at all", false).own);
    }

    proptest! {
        #[test]
        fn a_text_in_pieces_is_the_same_text(text in r"([$]|[{]|[}]|name|empty|none|[a. ]|名字){0,12}", cut in 1usize..6) {
            let whole = variables().fill(&text, false);
            let (mut held, mut pieces) = (Held::default(), Filled::default());
            for piece in text.chars().collect::<Vec<_>>().chunks(cut) {
                let filled = variables().fill_piece(&mut held, &piece.iter().collect::<String>());
                pieces.text += &filled.text;
                pieces.own |= filled.own;
                pieces.faults.extend(filled.faults);
            }
            pieces.text += &held.rest();
            prop_assert_eq!(pieces, whole);
        }

        #[test]
        fn nothing_is_held_for_long(text in "[$]{0,2}[{]{0,2}[a-z]{0,100}") {
            let mut held = Held::default();
            variables().fill_piece(&mut held, &text);
            prop_assert!(held.rest().len() <= 2 + LONGEST_NAME);
        }
    }
}
