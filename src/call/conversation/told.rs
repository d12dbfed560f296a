//! What a conversation leaves for the record.

use std::collections::BTreeMap;

use crate::call::record::{Pause, Turn};

/// Faults that a record tells one by one; a dialogue that does nothing right must not fill the memory.
const MOST_FAULTS: usize = 100;
/// Labels that a record takes.
const MOST_LABELS: usize = 256;

/// What a conversation leaves for the record.
#[derive(Debug, Default)]
pub struct Told {
    /// All keys pressed.
    pub keys: String,
    /// Facts from the dialogue.
    pub labels: BTreeMap<String, String>,
    /// What went wrong.
    pub faults: Vec<String>,
    /// Who said what.
    pub turns: Vec<Turn>,
    /// Where the recording was paused.
    pub pauses: Vec<Pause>,
    /// Where nothing was sent to the caller.
    pub mutes: Vec<Pause>,
}

/// Stretches of one kind that a record tells one by one.
const MOST_STRETCHES: usize = 1_000;

/// Adds one, if there is room for it.
pub(super) fn add_stretch(stretches: &mut Vec<Pause>, stretch: Pause) -> bool {
    let room = stretches.len() < MOST_STRETCHES;
    if room {
        stretches.push(stretch);
    }
    room
}

impl Told {
    pub(in crate::call) fn fault(&mut self, fault: String) {
        match self.faults.len() {
            MOST_FAULTS => self.faults.push("and more".to_owned()),
            more if more > MOST_FAULTS => {}
            _ => self.faults.push(fault),
        }
    }

    /// Notes a fact, if there is room.
    pub(in crate::call) fn label(&mut self, key: String, value: String) -> Result<(), String> {
        self.has_room_for(&key)?;
        self.labels.insert(key, value);
        Ok(())
    }

    pub(super) fn has_room_for(&self, key: &str) -> Result<(), String> {
        if self.labels.len() >= MOST_LABELS && !self.labels.contains_key(key) {
            return Err(format!("label.key: the record has {MOST_LABELS} labels"));
        }
        Ok(())
    }

    /// What was told before the answer, and after it.
    pub(in crate::call) fn and(mut self, later: Told) -> Told {
        self.labels.extend(later.labels);
        later.faults.into_iter().for_each(|fault| self.fault(fault));
        Told { labels: self.labels, faults: self.faults, ..later }
    }
}
