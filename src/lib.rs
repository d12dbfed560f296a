//! Trunkline
pub mod proto;
