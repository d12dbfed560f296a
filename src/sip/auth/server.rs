//! RFC 7616 §3.3, RFC 3261 §22.4: the server's side. Whoever calls is asked for name and password before the call is looked at.
//!
//! ```text
//! INVITE                              ──►
//!                                     ◄── 401, one challenge for each algorithm, the wanted one first, all with one nonce
//! INVITE, Authorization, nc=00000001  ──►  passed, or 401 again: stale when all but the nonce was right
//! ```
//!
//! A nonce holds the time of its making and a hash of that under a key of ours, so nothing is kept for those that are asked for. Of those
//! that were used it is kept which counts have come: each may come once, in a window of 64 (UDP changes the order). That table is
//! bounded; when it is full of nonces that still live, all of them become stale at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};

use super::{Algorithm, AuthParams, Credentials, Qop, Signed, digests, hex};
use crate::sip::message::{HeaderName, Request, Uri, quote};

/// How long a nonce may be used.
const LIFETIME: Duration = Duration::from_secs(300);
/// The most nonces of which the counts are kept.
const MOST_USED: usize = 4_096;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is who it says.
    Passed,
    /// 401 with these values of WWW-Authenticate.
    Challenged {
        /// Why.
        why: Why,
        /// A challenge for each algorithm.
        challenges: Vec<String>,
    },
}

/// Why a request is challenged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// It has no credentials for our realm.
    Missing,
    /// They are wrong.
    Wrong,
    /// They are right, but their nonce is too old, or none of ours.
    Stale,
    /// They are right, and have been used before.
    Replayed,
}

impl Why {
    /// As the metric writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Missing => "missing",
            Why::Wrong => "wrong",
            Why::Stale => "stale",
            Why::Replayed => "replayed",
        }
    }
}

/// Who may call, and the nonces that were given out.
#[derive(Debug)]
pub struct Guard {
    realm: String,
    credentials: Credentials,
    algorithms: Vec<Algorithm>,
    integrity: bool,
    key: [u8; 32],
    began: Instant,
    /// Nonces that were made before are stale.
    floor: u64,
    used: HashMap<String, Used>,
}

/// The counts that have come with a nonce.
#[derive(Debug)]
struct Used {
    made: u64,
    highest: u32,
    /// Bit n: the count `highest - n` has come.
    seen: u64,
}

impl Used {
    /// Whether a count has not come before; it has then.
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let by = count - self.highest;
            self.seen = self.seen.checked_shl(by).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let back = self.highest - count;
        let bit = 1u64.checked_shl(back).unwrap_or(0);
        let fresh = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        fresh
    }
}

impl Guard {
    /// `algorithms` are offered in their order. With `integrity` the body is to be covered where the caller can (`auth-int`).
    pub fn new(
        now: Instant,
        realm: String,
        credentials: Credentials,
        algorithms: Vec<Algorithm>,
        integrity: bool,
        rng: &mut StdRng,
    ) -> Guard {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        Guard { realm, credentials, algorithms, integrity, key, began: now, floor: 0, used: HashMap::new() }
    }

    /// Looks at a request.
    pub fn check(&mut self, now: Instant, request: &Request, rng: &mut StdRng) -> Verdict {
        let now = now.saturating_duration_since(self.began).as_millis() as u64;
        let why = match self.judge(now, request) {
            Ok(()) => return Verdict::Passed,
            Err(why) => why,
        };
        let nonce = self.nonce(now, rng);
        let qop = if self.integrity { "auth-int,auth" } else { "auth" };
        let stale = if matches!(why, Why::Stale | Why::Replayed) { ", stale=true" } else { "" };
        let challenge = |algorithm: &Algorithm| {
            let (realm, name) = (quote(&self.realm), algorithm.as_str());
            format!("Digest realm={realm}, nonce=\"{nonce}\", algorithm={name}, qop=\"{qop}\"{stale}")
        };
        Verdict::Challenged { why, challenges: self.algorithms.iter().map(challenge).collect() }
    }

    fn judge(&mut self, now: u64, request: &Request) -> Result<(), Why> {
        let mut why = Why::Missing;
        for value in request.all(HeaderName::Authorization) {
            for params in digests(&String::from_utf8_lossy(value)) {
                if params.value("realm").as_deref() != Some(&self.realm) {
                    continue;
                }
                match self.judge_one(now, request, &params) {
                    Ok(()) => return Ok(()),
                    Err(reason) => why = reason,
                }
            }
        }
        Err(why)
    }

    fn judge_one(&mut self, now: u64, request: &Request, params: &AuthParams<'_>) -> Result<(), Why> {
        let need = |name: &str| params.value(name).ok_or(Why::Wrong);
        let algorithm = Algorithm::parse(&params.value("algorithm").unwrap_or_else(|| "MD5".to_owned()));
        let algorithm = algorithm.filter(|algorithm| self.algorithms.contains(algorithm)).ok_or(Why::Wrong)?;
        let qop = match params.value("qop").as_deref() {
            // RFC 2069, from before there were counts: such a nonce is good for one request.
            None => Qop::None,
            Some("auth") => Qop::Auth,
            Some("auth-int") if self.integrity => Qop::AuthInt,
            Some(_) => return Err(Why::Wrong),
        };
        let (count, cnonce) = match qop {
            Qop::None => (1, String::new()),
            _ => (u32::from_str_radix(&need("nc")?, 16).map_err(|_| Why::Wrong)?, need("cnonce")?),
        };
        let (nonce, uri) = (need("nonce")?, need("uri")?);
        let (username, password) = (&self.credentials.username, &self.credentials.password);
        let signed = Signed {
            algorithm,
            session: false,
            username,
            password,
            realm: &self.realm,
            nonce: &nonce,
            cnonce: &cnonce,
            count,
            qop,
            method: request.method().as_str(),
            uri: &uri,
            body: request.body(),
        };
        let named = need("username")? == *username;
        let right = same(&signed.response(), &need("response")?);
        // RFC 7616 §3.4.6: credentials for another request are none for this one.
        let meant = Uri::parse(&uri).is_ok_and(|uri| {
            uri.user_text() == request.uri().user_text() && uri.host().eq_ignore_ascii_case(request.uri().host())
        });
        if !(named && right && meant && count > 0) {
            return Err(Why::Wrong);
        }
        let made = self.made(&nonce).filter(|made| *made >= self.floor && now.saturating_sub(*made) <= lifetime());
        let made = made.ok_or(Why::Stale)?;
        self.make_room(now);
        let used = self.used.entry(nonce).or_insert(Used { made, highest: 0, seen: 0 });
        if used.take(count) { Ok(()) } else { Err(Why::Replayed) }
    }

    fn make_room(&mut self, now: u64) {
        if self.used.len() < MOST_USED {
            return;
        }
        self.used.retain(|_, used| now.saturating_sub(used.made) <= lifetime());
        if self.used.len() >= MOST_USED {
            // Forgetting a nonce would let its requests come again.
            self.floor = now + 1;
            self.used.clear();
        }
    }

    fn nonce(&self, now: u64, rng: &mut StdRng) -> String {
        // After the floor was raised at this very moment.
        let stamp = format!("{:016x}{:016x}", now.max(self.floor), rng.next_u64());
        format!("{stamp}{}", self.seal(&stamp))
    }

    /// When a nonce of ours was made.
    fn made(&self, nonce: &str) -> Option<u64> {
        let (stamp, seal) = nonce.split_at_checked(32)?;
        if !same(&self.seal(stamp), seal) {
            return None;
        }
        u64::from_str_radix(stamp.get(..16)?, 16).ok()
    }

    /// RFC 2104 in short: two hashes, so that nothing can be appended.
    fn seal(&self, stamp: &str) -> String {
        let inner = Sha256::new().chain_update(self.key).chain_update(stamp).finalize();
        hex(&Sha256::new().chain_update(self.key).chain_update(inner).finalize()[..16])
    }
}

fn lifetime() -> u64 {
    LIFETIME.as_millis() as u64
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let differing = a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b.to_ascii_lowercase()));
    a.len() == b.len() && differing == 0
}
