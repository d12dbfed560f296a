//! SDP (RFC 8866) and the offer/answer model (RFC 3264) for one audio stream.
//!
//! [`parse()`] and [`Description::write`] are the text; [`Negotiator`] is one side of a call's
//! offers and answers, and says what was agreed as a [`Negotiated`]. With SRTP (RFC 4568) it agrees on keys too: [`Negotiator::secured`].

mod crypto;
mod description;
mod format;
mod negotiate;
mod numbers;
mod parse;
mod redundant;
mod secure;

#[cfg(test)]
mod codec_tests;
#[cfg(test)]
mod redundant_tests;
#[cfg(test)]
mod secure_tests;
#[cfg(test)]
mod tests;

pub use crypto::{Crypto, Key, Suite};
pub use description::{Attribute, Connection, Description, Direction, Media, Origin};
pub use format::{AudioFormat, OpusWishes};
pub use negotiate::{Capabilities, Negotiated, NegotiationError, Negotiator, Willing};
pub use parse::{MAX_BYTES, SdpError, parse};
pub use secure::{KeySeed, Secured, SrtpTerms};

/// The media type of a body that [`parse()`] reads.
pub const CONTENT_TYPE: &str = "application/sdp";
