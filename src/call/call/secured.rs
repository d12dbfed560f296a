//! The encryption of a call: whether it is wanted, and the keys that were agreed on, on their way to the leg.

use crate::rtp::srtp::{self, Master, Srtp};
use crate::sdp::{Key, KeySeed, Negotiator, SrtpTerms, Suite};

/// That a call's media are to be encrypted, by SDES.
#[derive(Debug, Clone)]
pub struct SrtpPlan {
    /// How much, and with what.
    pub terms: SrtpTerms,
    /// Its keys are made from it.
    pub seed: KeySeed,
}

/// For the leg; `None` where nothing is encrypted. The session keys are derived here, not on the media thread.
pub fn srtp(negotiator: &Negotiator) -> Option<Box<Srtp>> {
    let secured = negotiator.secured()?;
    // A key that was read, or made, is as long as its suite's.
    let master = |key: &Key| Master::new(suite(secured.suite), key.as_bytes());
    Some(Box::new(Srtp::new(master(&secured.ours)?, master(&secured.theirs)?)))
}

fn suite(suite: Suite) -> srtp::Suite {
    match suite {
        Suite::AesCm128Sha1Tag80 => srtp::Suite::AesCm128Sha1Tag80,
        Suite::AesCm128Sha1Tag32 => srtp::Suite::AesCm128Sha1Tag32,
        Suite::AesCm256Sha1Tag80 => srtp::Suite::AesCm256Sha1Tag80,
        Suite::AesCm256Sha1Tag32 => srtp::Suite::AesCm256Sha1Tag32,
        Suite::AesGcm128 => srtp::Suite::AesGcm128,
        Suite::AesGcm256 => srtp::Suite::AesGcm256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_signalling_fits_the_media() {
        for of in Suite::ALL {
            let key = Key::new(&vec![1; of.key_and_salt()]).expect("short enough");
            assert!(Master::new(suite(of), key.as_bytes()).is_some(), "{of:?}");
        }
    }
}
