//! What a phone writes down of its messages.

use std::fs;
use std::path::PathBuf;

use super::{PATIENCE, soon};

/// The file in which a phone writes all that it receives and sends.
#[derive(Debug)]
pub struct Log {
    pub whose: &'static str,
    pub file: PathBuf,
}

impl Log {
    /// How many messages of the wire, received or sent, have a line that begins so.
    pub fn lines(&self, start: &str) -> usize {
        let log = fs::read(&self.file).expect("its log");
        String::from_utf8_lossy(&log).lines().filter(|line| line.starts_with(start)).count()
    }

    /// Waits until there is such a line on the wire.
    pub async fn line(&self, start: &str) {
        let what = format!("{} sends or receives {start:?}", self.whose);
        soon(&what, PATIENCE, async || self.lines(start) > 0).await;
    }
}
