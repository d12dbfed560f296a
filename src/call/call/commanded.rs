//! What the orchestrator asks of a call, before it is done.

use super::*;

impl Call {
    /// Whether a command can be followed as the call stands; the reason names field and state. What only the far end can say, or a transfer, is told
    /// by its event.
    ///
    /// # Errors
    /// In words.
    pub fn allows(&self, action: &Action) -> Result<(), String> {
        match &self.conversation {
            Some(conversation) => conversation.allows(action),
            // Whether it is up for it, the switchboard knows.
            None => Ok(()),
        }
    }
}
