//! Audio codecs, and what belongs to them: concealment and sample rates.
pub mod g711;
pub mod plc;
pub mod resample;
