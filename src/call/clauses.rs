//! A text that comes piece by piece, as a language model writes it, cut into clauses that can be spoken while the rest is being written.
//!
//! | behind                                             | a clause ends                                              |
//! |----------------------------------------------------|------------------------------------------------------------|
//! | 。！？… and a line break                           | at once                                                    |
//! | . ! ? …, with a space behind                       | at once, but behind one or two letters ("Dr.", "z. B.")    |
//! | ，、；： and , ; : with a space behind             | when it is long enough: 6 characters for the first clause, 12 for the others; twice that where words have spaces |
//! | any space                                          | when it has 160 characters                                 |
//!
//! The first clause is let go sooner, since somebody waits for it. What is cut keeps its spaces: put together again, clauses are the text.

/// Characters from which on a comma ends a clause; of Chinese, where words need fewer.
const FIRST: usize = 6;
const OTHERS: usize = 12;
/// Nobody speaks longer without breathing.
const LONGEST: usize = 160;

/// Takes pieces of text, gives clauses.
#[derive(Debug, Clone, Default)]
pub(super) struct Clauses {
    text: String,
    /// None has been given.
    begun: bool,
}

impl Clauses {
    /// More text.
    pub(super) fn push(&mut self, more: &str) {
        self.text.push_str(more);
    }

    /// The next whole clause.
    pub(super) fn next(&mut self) -> Option<String> {
        let end = self.end()?;
        self.begun = true;
        let rest = self.text.split_off(end);
        Some(std::mem::replace(&mut self.text, rest))
    }

    /// No more comes: what is left, if it is anything.
    pub(super) fn rest(&mut self) -> Option<String> {
        Some(std::mem::take(&mut self.text)).filter(|rest| !rest.trim().is_empty())
    }

    fn end(&self) -> Option<usize> {
        let enough = if self.begun { OTHERS } else { FIRST };
        // Twice as many of letters that make words with spaces.
        let (mut weight, mut word, mut speakable) = (0, 0, false);
        let mut characters = self.text.char_indices().peekable();
        while let Some((at, c)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            let behind = at + c.len_utf8();
            weight += if c.is_ascii() { 1 } else { 2 };
            let ends = match c {
                '。' | '！' | '？' | '\n' => true,
                '.' | '!' | '?' | '…' => next.is_some_and(char::is_whitespace) && (c != '.' || word > 2),
                '，' | '、' | '；' | '：' => weight >= 2 * enough,
                ',' | ';' | ':' => next.is_some_and(char::is_whitespace) && weight >= 2 * enough,
                c if c.is_whitespace() => weight >= LONGEST,
                _ => false,
            };
            speakable |= c.is_alphanumeric();
            word = if c.is_alphanumeric() { word + 1 } else { 0 };
            // Closing quotes and the space behind belong to it.
            if ends && speakable {
                let closing = |c: &char| c.is_whitespace() || matches!(c, '”' | '’' | '"' | '」' | '』' | '）' | ')');
                let tail: usize = self.text[behind..].chars().take_while(closing).map(char::len_utf8).sum();
                return Some(behind + tail);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Cuts a text that comes in pieces of so many characters.
    fn cut(text: &str, piece: usize) -> Vec<String> {
        let characters: Vec<char> = text.chars().collect();
        let (mut clauses, mut cut) = (Clauses::default(), Vec::new());
        for piece in characters.chunks(piece) {
            clauses.push(&piece.iter().collect::<String>());
            while let Some(clause) = clauses.next() {
                cut.push(clause);
            }
        }
        cut.extend(clauses.rest());
        cut
    }

    #[test]
    fn sentences_and_long_clauses_are_cut_and_the_first_one_sooner() {
        assert_eq!(
            cut("您好，这里是快递公司。您的包裹，明天上午九点到十二点之间送到，您方便吗？", 3),
            ["您好，这里是快递公司。", "您的包裹，明天上午九点到十二点之间送到，", "您方便吗？"]
        );
        assert_eq!(
            cut("Good morning, this is the parcel service. Dr. Smith ordered 3.5 kg of tea, which comes today.", 4),
            [
                "Good morning, ",
                "this is the parcel service. ",
                "Dr. Smith ordered 3.5 kg of tea, ",
                "which comes today."
            ]
        );
    }

    #[test]
    fn a_number_is_not_cut_and_a_quotation_keeps_its_mark() {
        assert_eq!(cut("It is 10:30 or 1,000.5 now", 2), ["It is 10:30 or 1,000.5 now"]);
        assert_eq!(cut("他说：“可以。”然后走了。", 20), ["他说：“可以。”", "然后走了。"]);
        assert_eq!(cut("...", 1), ["..."]);
        assert!(cut("  \n ", 1).is_empty());
    }

    #[test]
    fn nobody_speaks_without_breathing() {
        let long = "word ".repeat(100);
        assert!(cut(&long, 7).iter().all(|clause| clause.len() <= LONGEST + 5));
    }

    proptest! {
        #[test]
        fn clauses_are_the_text(text in "[a-z0-9 ,.;:!?\n，。：“”你好]{0,200}", piece in 1usize..9) {
            let cut = cut(&text, piece).concat();
            prop_assert_eq!(cut.trim_end(), text.trim_end());
        }
    }
}
