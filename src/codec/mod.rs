//! Audio codecs (ITU-T G.711 and G.722, RFC 3551's L16, Opus), and what belongs to them: concealment (G.711's Appendix I) and sample rates.
//!
//! | module | what |
//! |---|---|
//! | [`coding`] | which of them a line has, and what that is to RTP |
//! | [`g711`] | A-law and µ-law |
//! | [`g722`] | wide-band speech at the price of G.711 |
//! | [`l16`] | samples as they are |
//! | [`opus`] | wide-band speech at a third of that |
//! | [`half_band`] | between 8 and 16 kHz, on the media thread |
//! | [`plc`] | what is heard in place of a lost packet |
//! | [`resample`] | from one sample rate to another |
//! | [`stretch`] | speech made shorter or longer by a pitch period |

pub mod coding;
pub mod g711;
pub mod g722;
pub mod half_band;
pub mod l16;
pub mod opus;
pub mod plc;
pub mod resample;
pub mod stretch;
