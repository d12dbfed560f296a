//! `trunkline dialogue script.toml`: a robot's brain that is written down in a small file.
//!
//! A script is a table of states. On entering a state the robot says something; what the caller then says, presses or
//! does not say leads to the next state. Not a language: who needs conditions or data writes a dialogue service.
//!
//! ```toml
//! start = "ask"
//! language = "en-US"                       # for every text; voice, speed, pitch and volume likewise
//! variables = { shop = "the shop" }        # texts may use {shop}; what Dial says of it goes before this
//! knobs = { endpoint_ms = 600 }            # of the conversation, for the whole call
//! no_input = { say = "Are you there?", times = 2, next = "bye" }
//! else = { say = "Sorry, I did not get that.", times = 2, next = "bye" }
//!
//! [states.ask]
//! say = ["This is {shop}.", { silence_ms = 300 }, { file = "jingle.wav" }, "When shall we come?"]
//! on = [
//!   { hear = ["tomorrow", "next day"], next = "bye" },                      # words, anywhere in what was said
//!   { matches = 'at (?<hour>\w+)', next = "hour", labels = { hour = "{hour}" } },   # a pattern that captures
//! ]
//! keys = { 1 = "bye" }
//!
//! [states.hour]
//! interruptible = "never"                  # or "speech", which is the default
//! say = "At {hour}. You said: {text}."
//! next = "bye"                             # without waiting for the caller
//!
//! [states.bye]
//! say = "Goodbye."
//! hangup = true                            # after the last word
//! ```
//!
//! | module | what |
//! |---|---|
//! | `form` | the file as serde reads it |
//! | `check`, `error` | what is wrong with it: file, line, key, reason |
//! | `states` | the checked script |
//! | `pattern`, `template` | what the caller said; what the robot says |
//! | `robot` | the state machine: events in, acts out |
//! | `server` | `dialogue.v1` |

mod check;
pub mod error;
mod form;
pub mod pattern;
pub mod robot;
pub mod server;
mod states;
pub mod template;

pub use error::ScriptError;
pub use robot::{Act, Event, Robot};
pub use server::{DialogueError, serve};
pub use states::{Fallback, Interruptible, Knob, Piece, Rule, Script, State, StateId, Style};
