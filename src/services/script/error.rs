//! What is wrong with a script: file, line, key, reason.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

/// Why a script was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// The file could not be read.
    #[error("{file}: {source}", file = file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something in it is wrong. All that was found is listed, a line each.
    #[error("{}", join(.0))]
    Wrong(Vec<Fault>),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The script, as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// The key, with the tables that it is in; empty where the file is not TOML at all.
    pub key: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)
    }
}

fn join(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// Collects faults, and knows at which line a byte of the file is.
pub(super) struct Faults<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<Fault>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, found: Vec::new() }
    }

    pub(super) fn add(&mut self, span: Range<usize>, key: impl Into<String>, reason: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        self.found.push(Fault {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            key: key.into(),
            reason: reason.into(),
        });
    }

    /// `value`, if nothing was wrong.
    pub(super) fn or<T>(mut self, value: T) -> Result<T, ScriptError> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by_key(|fault| fault.line);
        Err(ScriptError::Wrong(self.found))
    }
}
