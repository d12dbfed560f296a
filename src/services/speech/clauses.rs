//! Cuts a text that is still being written (by a language model, say) into sentences that can already be spoken.
//!
//! A sentence is given out as soon as it is sure that it ends: at `.`, `!`, `?`, `;` or `:` before a space, at their
//! full-width forms, or at a line's end. One that is very short is kept for the next, which saves "Mr." and "No. 5" from
//! being torn apart; one that is very long is given out at its last comma or space.

/// Shorter sentences wait for the next.
const SHORTEST: usize = 12;
/// Longer ones do not wait for their end.
const LONGEST: usize = 240;

/// The text that has not been given out yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clauses {
    rest: String,
}

impl Clauses {
    /// Takes the next characters and gives the sentences that are complete now.
    pub fn push(&mut self, text: &str) -> Vec<String> {
        self.rest.push_str(text);
        let mut sentences = Vec::new();
        while let Some(length) = sentence(&self.rest) {
            let tail = self.rest.split_off(length);
            keep(std::mem::replace(&mut self.rest, tail), &mut sentences);
        }
        sentences
    }

    /// The text is complete: gives the rest of it, if there is any.
    pub fn finish(&mut self) -> Option<String> {
        let mut rest = Vec::new();
        keep(std::mem::take(&mut self.rest), &mut rest);
        rest.pop()
    }
}

fn keep(sentence: String, sentences: &mut Vec<String>) {
    let trimmed = sentence.trim();
    if trimmed.chars().any(char::is_alphanumeric) {
        sentences.push(trimmed.to_owned());
    }
}

/// The length in bytes of the sentence that `text` begins with, if it is complete.
fn sentence(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().peekable();
    let mut count = 0;
    let mut last_break = None;
    while let Some((at, character)) = characters.next() {
        count += 1;
        let end = at + character.len_utf8();
        let full_width = matches!(character, '。' | '！' | '？' | '；' | '：');
        let before_space = matches!(character, '.' | '!' | '?' | ';' | ':')
            && characters.peek().is_some_and(|(_, next)| next.is_whitespace());
        // A full-width character says about as much as three letters.
        let long_enough = count >= SHORTEST || (full_width && count * 3 >= SHORTEST);
        if long_enough && (full_width || before_space || character == '\n') {
            return Some(end);
        }
        if matches!(character, ',' | '，' | '、') || character.is_whitespace() {
            last_break = Some(end);
        }
        if count >= LONGEST {
            return Some(last_break.unwrap_or(end));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&str]) -> Vec<String> {
        let mut clauses = Clauses::default();
        let mut out: Vec<String> = pieces.iter().flat_map(|piece| clauses.push(piece)).collect();
        out.extend(clauses.finish());
        out
    }

    #[test]
    fn sentences_come_as_soon_as_they_are_complete() {
        let mut clauses = Clauses::default();
        assert!(clauses.push("Your parcel comes at 3.30").is_empty());
        assert!(clauses.push(" pm today.").is_empty(), "a digit might follow the point");
        assert_eq!(clauses.push(" Is th"), ["Your parcel comes at 3.30 pm today."]);
        assert_eq!(clauses.push("at all right? "), ["Is that all right?"]);
        assert_eq!(clauses.finish(), None);
    }

    #[test]
    fn short_ones_are_kept_together_and_long_ones_are_cut() {
        assert_eq!(all(&["Hi. Mr. Smith is here. Good."]), ["Hi. Mr. Smith is here.", "Good."]);
        assert_eq!(all(&["您好，这里是快递。", "请问您在家吗？"]), ["您好，这里是快递。", "请问您在家吗？"]);
        let long = "word ".repeat(200);
        let parts = all(&[&long]);
        assert!(parts.len() > 3 && parts.iter().all(|part| part.len() <= LONGEST && part.ends_with("word")));
        assert_eq!(all(&["...", " \n "]), Vec::<String>::new());
    }
}
