//! What the line says beside words: voice, its boundaries, its level.
pub mod endpoint;
pub mod level;
pub mod vad;
