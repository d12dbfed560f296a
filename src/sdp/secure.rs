//! RFC 4568 §5.1 and §7.1: which keys are offered, answered and agreed on; and RFC 8643, by which a stream that is offered as RTP/AVP is
//! encrypted if both have an `a=crypto`.
//!
//! | SRTP is   | our offer                 | we take                                  | and refuse                       |
//! |-----------|---------------------------|------------------------------------------|----------------------------------|
//! | off       | RTP/AVP                   | RTP/AVP                                  | RTP/SAVP                         |
//! | preferred | RTP/AVP with `a=crypto`   | RTP/SAVP, and RTP/AVP with and without   | RTP/SAVP without a usable line   |
//! | required  | RTP/SAVP                  | RTP/SAVP                                 | RTP/AVP, with `a=crypto` too     |
//!
//! A stream that has been encrypted once stays so, whatever is offered later. Each suite has a key of ours, which stays the same from
//! offer to offer: a hold changes no key. There is a new one when the far end has a new one of the same suite (what it restarts, we
//! restart), and when the suite changes, so that no key is ever used from its beginning twice.

use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::crypto::{Crypto, Key, LONGEST, Suite};
use super::description::{Attribute, Media};
use super::negotiate::NegotiationError;

/// That SRTP is wanted, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtpTerms {
    /// Nothing is agreed to without.
    pub required: bool,
    /// Suites, the one we like best first.
    pub suites: Vec<Suite>,
}

/// From what the keys of a call are made: 256 bits that nobody can guess. It is in no `Debug`.
#[derive(Clone)]
pub struct KeySeed(pub [u8; 32]);

impl KeySeed {
    /// The next key. What it was made from is gone then.
    fn key(&mut self, suite: Suite) -> Key {
        let mut rng = StdRng::from_seed(self.0);
        let mut bytes = [0; LONGEST];
        rng.fill(&mut bytes);
        self.0 = rng.random();
        Key::new(&bytes[..suite.key_and_salt()]).unwrap_or_else(|| unreachable!("no suite's key is longer"))
    }
}

impl fmt::Debug for KeySeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySeed(…)")
    }
}

/// The keys of a stream that both sides encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secured {
    /// The suite, both ways.
    pub suite: Suite,
    /// For what we send.
    pub ours: Key,
    /// For what the far end sends.
    pub theirs: Key,
}

/// How our side of a stream is written, where it is not RTP/AVP alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Protection {
    pub(super) profile: String,
    pub(super) lines: Vec<Crypto>,
}

impl Protection {
    pub(super) fn attributes(&self) -> impl Iterator<Item = Attribute> {
        self.lines.iter().map(|line| Attribute::new("crypto", line.write()))
    }
}

/// Where encryption stands in a call.
#[derive(Clone, Debug)]
enum Standing {
    /// Nothing is agreed on yet.
    Open,
    Plain,
    Secured(Secured, String),
}

/// What a negotiator with SRTP has.
#[derive(Clone, Debug)]
pub(super) struct Security {
    required: bool,
    /// Each suite's next key of ours.
    keys: Vec<(Suite, Key)>,
    seed: KeySeed,
    standing: Standing,
}

impl Security {
    pub(super) fn new(terms: &SrtpTerms, mut seed: KeySeed) -> Security {
        let keys = terms.suites.iter().map(|suite| (*suite, seed.key(*suite))).collect();
        Security { required: terms.required, keys, seed, standing: Standing::Open }
    }

    /// What is agreed on.
    pub(super) fn secured(&self) -> Option<&Secured> {
        match &self.standing {
            Standing::Secured(secured, _) => Some(secured),
            _ => None,
        }
    }

    /// Of our next offer.
    pub(super) fn offer(&self) -> Option<Box<Protection>> {
        let profile = match &self.standing {
            _ if self.required => "RTP/SAVP",
            // Whoever took it without would take it so again.
            Standing::Plain => return None,
            Standing::Open => "RTP/AVP",
            Standing::Secured(_, profile) => profile,
        };
        let lines = self.keys.iter().zip(1..).map(|((suite, key), tag)| Crypto { tag, suite: *suite, key: *key });
        Some(Box::new(Protection { profile: profile.to_owned(), lines: lines.collect() }))
    }

    /// The first line of an offer that can be used.
    fn choose(&self, media: &Media) -> Option<Crypto> {
        lines(media).find(|line| self.keys.iter().any(|(suite, _)| *suite == line.suite))
    }

    /// Agreed: what we answer, when it was their offer.
    pub(super) fn agree(&mut self, theirs: Option<Crypto>, media: &Media, answering: bool) -> Option<Box<Protection>> {
        let Some(theirs) = theirs else {
            self.standing = Standing::Plain;
            return None;
        };
        let before = self.secured().copied();
        if let Some(before) = before
            && (before.suite != theirs.suite || answering && before.theirs != theirs.key)
        {
            self.renew(before.suite);
        }
        let ours = self.keys.iter().find(|(suite, _)| *suite == theirs.suite).map(|(_, key)| *key)?;
        let secured = Secured { suite: theirs.suite, ours, theirs: theirs.key };
        self.standing = Standing::Secured(secured, media.protocol.clone());
        let line = Crypto { key: ours, ..theirs };
        Some(Box::new(Protection { profile: media.protocol.clone(), lines: vec![line] }))
    }

    fn renew(&mut self, suite: Suite) {
        if let Some((_, key)) = self.keys.iter_mut().find(|(of, _)| *of == suite) {
            *key = self.seed.key(suite);
        }
    }
}

/// Whether it is RTP/SAVP; `None`: neither that nor RTP/AVP.
pub(super) fn is_secure(media: &Media) -> Option<bool> {
    match media.protocol.to_ascii_uppercase().as_str() {
        "RTP/AVP" => Some(false),
        "RTP/SAVP" | "RTP/SAVPF" => Some(true),
        _ => None,
    }
}

/// The far end's line that holds for a stream which it describes: the first of an offer that can be used, or the one that answers ours.
/// `None`: it is not encrypted.
pub(super) fn theirs(
    security: Option<&Security>,
    media: &Media,
    ours: Option<&Option<Box<Protection>>>,
) -> Result<Option<Crypto>, NegotiationError> {
    let secure = is_secure(media).ok_or(NegotiationError::Transport)?;
    let Some(security) = security else {
        return if secure { Err(NegotiationError::Transport) } else { Ok(None) };
    };
    if security.required && !secure {
        return Err(NegotiationError::Unencrypted);
    }
    let (line, plain) = match ours {
        None => (security.choose(media), !secure),
        Some(ours) => {
            let offered = ours.iter().flat_map(|ours| &ours.lines);
            let fits = |theirs: &Crypto| offered.clone().any(|our| (our.tag, our.suite) == (theirs.tag, theirs.suite));
            // Whoever answers with a line means to encrypt.
            (lines(media).find(fits), !(secure || ours.is_some() && media.has("crypto")))
        }
    };
    match line {
        Some(line) => Ok(Some(line)),
        None if !plain => Err(NegotiationError::NoCommonSuite),
        None if security.secured().is_some() => Err(NegotiationError::Unencrypted),
        None => Ok(None),
    }
}

fn lines(media: &Media) -> impl Iterator<Item = Crypto> {
    let lines = media.attributes.iter().filter(|attribute| attribute.name == "crypto");
    lines.filter_map(|attribute| Crypto::parse(attribute.value.as_deref()?))
}
