//! `trunkline speech`: recognition and synthesis on this machine, without a C library.
//!
//! | module | what |
//! |---|---|
//! | `weights` | fetches, checks and finds the recogniser's files |
//! | `moonshine`, `tokenizer` | audio → text |
//! | `stream`, `tape` | when to decode what of a call's audio; partial and final results |
//! | `recogniser` | one model for all streams |
//! | `espeak`, `voices`, `clauses` | text → audio |
//! | `server`, `recognize`, `synthesize` | `speech.v1` |

pub mod clauses;
pub mod espeak;
pub mod moonshine;
pub mod recogniser;
mod recognize;
pub mod server;
pub mod stream;
mod synthesize;
mod tape;
pub mod tokenizer;
pub mod voices;
pub mod weights;

pub use server::{Config, SpeechError, serve};
