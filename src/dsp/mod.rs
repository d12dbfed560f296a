//! What the line says beside words: voice, its boundaries, its level. No RFC rules here; what was measured stands in each module.
//!
//! | module | what |
//! |---|---|
//! | [`vad`] | is somebody speaking in these 20 ms |
//! | [`endpoint`] | where an utterance begins and ends |
//! | [`level`] | how loud it is; fades, mixing |
//! | [`tone`] | keys, call progress, beeps; and tones that are made |
//! | [`answerer`] | a person, or an answering machine |
//! | [`mix`] | a sound looped under another one |

pub mod answerer;
pub mod endpoint;
pub mod level;
pub mod mix;
pub mod tone;
pub mod vad;
