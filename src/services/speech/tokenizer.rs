//! Token numbers to text: the vocabulary file of Moonshine.
//!
//! The file is one byte string after another, the n-th is token n. Each is led by its length: one byte below 128, else
//! two, low seven bits first. `0x00` is an empty entry. As in SentencePiece, `▁` (U+2581) stands for a space, and
//! tokens that are single bytes spell what the vocabulary lacks; so text is put together as bytes and read as UTF-8
//! only at the end.

/// Why a vocabulary file was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file ends inside an entry.
    #[error("the vocabulary ends inside entry {entry}")]
    Truncated {
        /// The number of the unfinished entry.
        entry: usize,
    },
    /// The file has nothing in it.
    #[error("the vocabulary is empty")]
    Empty,
}

/// A vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenizer {
    bytes: Vec<u8>,
    /// Where each entry begins and ends in `bytes`.
    entries: Vec<(u32, u32)>,
}

impl Tokenizer {
    /// Reads a vocabulary file.
    ///
    /// # Errors
    /// [`TokenizerError`] when it is empty or ends inside an entry.
    pub fn parse(file: &[u8]) -> Result<Self, TokenizerError> {
        let mut entries = Vec::new();
        let mut bytes = Vec::with_capacity(file.len());
        let mut rest = file;
        while let Some((&first, tail)) = rest.split_first() {
            let truncated = TokenizerError::Truncated { entry: entries.len() };
            let (length, tail) = if first < 128 {
                (usize::from(first), tail)
            } else {
                let (&second, tail) = tail.split_first().ok_or(truncated)?;
                (usize::from(first) - 128 + usize::from(second) * 128, tail)
            };
            let entry = tail.get(..length).ok_or(truncated)?;
            rest = &tail[length..];
            let from = bytes.len() as u32;
            bytes.extend_from_slice(entry);
            entries.push((from, bytes.len() as u32));
        }
        if entries.is_empty() {
            return Err(TokenizerError::Empty);
        }
        Ok(Self { bytes, entries })
    }

    /// The text of `tokens`. Control tokens (`<s>`, `<<ST_7>>` …) and numbers outside the vocabulary give nothing.
    pub fn text(&self, tokens: &[i32]) -> String {
        let mut bytes = Vec::new();
        for &token in tokens {
            let Some(&(from, to)) = usize::try_from(token).ok().and_then(|token| self.entries.get(token)) else {
                continue;
            };
            let entry = &self.bytes[from as usize..to as usize];
            if !(entry.len() > 2 && entry.starts_with(b"<") && entry.ends_with(b">")) {
                bytes.extend_from_slice(entry);
            }
        }
        String::from_utf8_lossy(&bytes).replace('\u{2581}', " ").trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(entries: &[&[u8]]) -> Vec<u8> {
        let mut file = Vec::new();
        for entry in entries {
            if entry.len() < 128 {
                file.push(entry.len() as u8);
            } else {
                file.push((entry.len() % 128 + 128) as u8);
                file.push((entry.len() / 128) as u8);
            }
            file.extend_from_slice(entry);
        }
        file
    }

    #[test]
    fn joins_pieces_bytes_and_spaces() {
        let long = [b'x'; 300];
        let tokenizer = Tokenizer::parse(&file(&[
            b"<unk>",
            b"<s>",
            b"</s>",
            "\u{2581}It".as_bytes(),
            b"'s",
            b"\xc3",
            b"\xa9",
            &long,
        ]))
        .unwrap();
        assert_eq!(tokenizer.text(&[1, 3, 4, 3, 5, 6, 2]), "It's It\u{e9}");
        assert_eq!(tokenizer.text(&[7]).len(), 300);
        assert_eq!(tokenizer.text(&[-1, 99]), "");
    }

    #[test]
    fn a_cut_file_names_the_entry() {
        let whole = file(&[b"one", &[b'y'; 200]]);
        for (length, entry) in [(2, 0), (5, 1), (100, 1)] {
            assert_eq!(Tokenizer::parse(&whole[..length]), Err(TokenizerError::Truncated { entry }), "{length}");
        }
        assert_eq!(Tokenizer::parse(b""), Err(TokenizerError::Empty));
    }
}
