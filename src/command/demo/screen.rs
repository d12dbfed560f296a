//! The conversation on the terminal, line by line, as it happens.

use std::io::{IsTerminal, Write};

/// Who or what a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    Robot,
    Caller,
    Line,
    Note,
    Good,
    Bad,
}

/// The terminal.
#[derive(Debug)]
pub(super) struct Screen {
    coloured: bool,
}

impl Screen {
    /// Colours where they are seen: not in files, and not where NO_COLOR asks for none.
    pub(super) fn new() -> Screen {
        Screen { coloured: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// A line of the conversation; `at` is media time in ms, if the call is up.
    pub(super) fn say(&self, at: Option<u32>, voice: Voice, text: &str) {
        let time =
            at.map_or_else(|| " ".repeat(9), |ms| format!("{:>6}.{:02} s", ms / 1_000, ms % 1_000 / 10).split_off(1));
        let (name, colour) = match voice {
            Voice::Robot => ("robot ", "36"),
            Voice::Caller => ("caller", "33"),
            Voice::Line => ("line  ", "90"),
            Voice::Note => ("      ", "90"),
            Voice::Good => ("  ok  ", "32"),
            Voice::Bad => ("MISSED", "31;1"),
        };
        let line = match self.coloured {
            true => format!("\x1b[90m{time}\x1b[0m  \x1b[{colour}m{name}  {text}\x1b[0m"),
            false => format!("{time}  {name}  {text}"),
        };
        self.print(&line);
    }

    /// A line of its own.
    pub(super) fn title(&self, text: &str) {
        match self.coloured {
            true => self.print(&format!("\x1b[1m{text}\x1b[0m")),
            false => self.print(text),
        }
    }

    fn print(&self, line: &str) {
        // A terminal that is gone ends nothing.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}
