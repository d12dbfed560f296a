//! Audio codecs (ITU-T G.711), and what belongs to them: concealment (its Appendix I) and sample rates.
//!
//! | module | what |
//! |---|---|
//! | [`g711`] | A-law and µ-law |
//! | [`plc`] | what is heard in place of a lost packet |
//! | [`resample`] | from one sample rate to another |
//! | [`stretch`] | speech made shorter or longer by a pitch period |

pub mod g711;
pub mod plc;
pub mod resample;
pub mod stretch;
