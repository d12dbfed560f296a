//! `trunkline demo`: a robot holds a telephone conversation with a real SIP phone, and shows it.
//!
//! Nothing is feigned: the server, the speech service and the dialogue are the processes that a user would start, the phone is
//! Debian's baresip, the orchestrator's side is control.v1 over gRPC. The caller speaks recordings; when he speaks is decided as
//! a person would decide it: after the robot has finished, or, to interrupt it, while it speaks.

mod checks;
pub mod phone;
mod play;
mod stage;

use std::path::{Path, PathBuf};

use super::Done;
use super::screen::{Screen, Voice};
use checks::Checks;
use phone::{Phone, PhoneError};
use play::Play;
use stage::Stage;

/// Why the demo could not be held, or what was missing from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// No free ports.
    #[error("ports: {0}")]
    Ports(String),
    /// A file.
    #[error("{0}: {1}")]
    File(PathBuf, String),
    /// A process of the demo.
    #[error("{0}: {1}")]
    Process(&'static str, String),
    /// The phone.
    #[error(transparent)]
    Phone(#[from] PhoneError),
    /// The server's gRPC.
    #[error("control.v1: {0}")]
    Control(String),
    /// Something that had to happen did not.
    #[error("the demo is not complete; missing: {0}")]
    Missing(String),
}

/// Holds the conversation in `folder`, which keeps its recording, its record and the logs.
///
/// # Errors
/// What could not be started, with the way out; or all that should have happened and did not.
pub async fn demo(folder: &Path) -> Done {
    let screen = Screen::new();
    let mut stage = Stage::build(folder)?;
    screen.title("1. Fetching what the recogniser needs, and starting the parts");
    stage.fetch().await?;
    stage.start().await?;
    let (phone, seen) = Phone::start(stage.phone()).await?;
    screen.title("2. The call: the robot dials the phone, times are media time since the answer");
    let mut checks = Checks::default();
    let played = Play::new(&stage, &screen, &mut checks, phone).await?.run(seen).await;
    screen.title("3. What had to happen");
    let files = checks.verify(&stage.folder);
    for (done, what) in checks.list() {
        screen.say(None, if done { Voice::Good } else { Voice::Bad }, what);
    }
    screen.title("4. What is left of it");
    for line in files {
        screen.say(None, Voice::Note, &line);
    }
    stage.strike().await?;
    played?;
    match checks.missing() {
        missing if missing.is_empty() => Ok(()),
        missing => Err(Trouble::Missing(missing.join("; ")).into()),
    }
}
