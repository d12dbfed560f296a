//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// One mistake: `file:line:key: reason; what to do`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as it was named.
    pub file: PathBuf,
    /// From 1; 0: the file as a whole.
    pub line: usize,
    /// The whole key, `sip.listen`; empty where no key can be named.
    pub key: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ":{}", self.key)?;
        }
        write!(f, ": {}; {}", self.reason, self.remedy)
    }
}

/// All mistakes of all files, in the order of the lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A value that makes no sense: why, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub reason: String,
    pub remedy: String,
}

impl Wrong {
    pub(super) fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Wrong {
        Wrong { reason: reason.into(), remedy: remedy.into() }
    }
}
