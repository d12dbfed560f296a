//! Tags, branches, Call-IDs and nonces, drawn from the generator that the owner handed in.
//!
//! RFC 3261 §19.3 asks for at least 32 bits of cryptographic randomness in a tag; these have 64 or more.

use rand::Rng;
use rand::rngs::StdRng;

/// A fresh From or To tag.
pub(crate) fn tag(rng: &mut StdRng) -> String {
    format!("{:016x}", rng.next_u64())
}

/// A fresh Via branch, with the RFC 3261 magic cookie.
pub(crate) fn branch(rng: &mut StdRng) -> String {
    format!("{}{:016x}", super::message::MAGIC_COOKIE, rng.next_u64())
}

/// A fresh Call-ID. It carries no host name: §8.1.1.4 allows that, and it tells nobody our topology.
pub(crate) fn call_id(rng: &mut StdRng) -> String {
    format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64())
}

/// A first CSeq number, below 2^12, so that it can count for ever without reaching 2^31.
pub(crate) fn first_cseq(rng: &mut StdRng) -> u32 {
    1 + (rng.next_u32() & 0xfff)
}
