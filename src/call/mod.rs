//! Floor 2: the call. Pure like the cores that it joins: time and inputs come in, outputs go out.
//!
//! - [`leg`]: the media of one leg, run by a media thread once every 20 ms: jitter buffer, ears, mouth, barge-in.
//! - [`conversation`]: whose turn it is: prompts, utterances, the dialogue's actions, silence.
//! - [`call`]: one call from INVITE to record: signalling, the leg's life, the conversation.
//! - [`collection`]: keys that are asked for. [`fillers`]: words that do not interrupt. [`announcement`]: what operators say before the answer.
//! - The values that they speak in: [`action`], [`mod@line`], [`event`], [`record`], [`knobs`], [`prompt`], [`transfer`], [`second_leg`].

pub mod action;
pub mod announcement;
#[allow(clippy::module_inception)]
pub mod call;
mod clauses;
pub mod collection;
pub mod conversation;
pub mod event;
pub mod fillers;
pub mod hints;
pub mod info;
pub mod io;
pub mod knobs;
pub mod leg;
pub mod line;
mod outcome;
pub mod prompt;
pub mod quality;
pub mod record;
mod reroute;
pub mod second_leg;
mod speaker;
pub mod transfer;
pub mod variables;

pub use reroute::Route;
