//! Floor 5: a first day's speech service and scripted dialogue, separate subcommands that are reached over gRPC like any
//! other.
//!
//! `trunkline speech` serves `speech.v1`: recognition by Moonshine in pure Rust, synthesis by `espeak-ng` as a subprocess.
//! `trunkline dialogue script.toml` serves `dialogue.v1` from a script. Neither knows the rest of Trunkline, nor does the
//! rest know them: either can be replaced by an engine of another make without a change.

pub mod script;
pub mod serving;
#[cfg(feature = "speech")]
pub mod speech;
