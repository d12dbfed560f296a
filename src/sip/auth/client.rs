//! RFC 7616 §3.4, RFC 3261 §22.2: the client's side. Of several challenges for one realm the strongest that we can answer is taken
//! (RFC 8760 §2.4 lets the client choose).

use rand::Rng;
use rand::rngs::StdRng;

use super::{Algorithm, AuthError, AuthParams, Credentials, Qop, Signed, digests};
use crate::sip::message::{HeaderName, Method, Response, quote};

/// One `Digest` challenge (RFC 7616 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The protection space.
    pub realm: String,
    /// The server's nonce.
    pub nonce: String,
    /// Given back as it came.
    pub opaque: Option<String>,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Whether it is the `-sess` form.
    pub session: bool,
    /// The algorithm's name as the server spelled it; `None` when it said none, and then we say none.
    pub algorithm_name: Option<String>,
    /// What the answer covers, of what is offered.
    pub qop: Qop,
    /// The nonce is too old, the credentials were right.
    pub stale: bool,
    /// The user name is to be sent hashed (§3.4.4).
    pub userhash: bool,
}

impl Challenge {
    /// Every digest challenge in a header value that we can answer, in its order; others are skipped.
    pub fn parse_all(value: &str) -> Vec<Challenge> {
        digests(value).iter().filter_map(Challenge::from_params).collect()
    }

    fn from_params(params: &AuthParams<'_>) -> Option<Challenge> {
        let is = |name: &str| params.value(name).is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let algorithm_name = params.value("algorithm");
        let lower = algorithm_name.as_deref().unwrap_or("MD5").to_ascii_lowercase();
        let (base, session) = lower.strip_suffix("-sess").map_or((lower.as_str(), false), |base| (base, true));
        let qop = params.value("qop").unwrap_or_default();
        let offers = |name: &str| qop.split(',').any(|q| q.trim().eq_ignore_ascii_case(name));
        let qop = match () {
            () if qop.trim().is_empty() => Qop::None,
            // Where both are offered: whatever stands between may have to rewrite the SDP.
            () if offers("auth") => Qop::Auth,
            () if offers("auth-int") => Qop::AuthInt,
            () => return None,
        };
        Some(Challenge {
            realm: params.value("realm")?,
            nonce: params.value("nonce")?,
            opaque: params.value("opaque"),
            algorithm: Algorithm::parse(base)?,
            session,
            algorithm_name,
            qop,
            stale: is("stale"),
            userhash: is("userhash"),
        })
    }

    /// The value of Authorization or Proxy-Authorization. `count` is the use of this nonce, from 1.
    pub fn answer(&self, credentials: &Credentials, request: Answered<'_>, count: u32, cnonce: &str) -> String {
        let (username, password) = credentials.at(&self.realm);
        let Answered { method, uri, body } = request;
        let response = Signed {
            algorithm: self.algorithm,
            session: self.session,
            username,
            password,
            realm: &self.realm,
            nonce: &self.nonce,
            cnonce,
            count,
            qop: self.qop,
            method,
            uri,
            body,
        }
        .response();
        let hashed = || self.algorithm.hash(format!("{username}:{}", self.realm));
        let name = if self.userhash { hashed() } else { username.to_owned() };
        let mut out = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\"",
            quote(&name),
            quote(&self.realm),
            quote(&self.nonce),
            quote(uri)
        );
        if let Some(algorithm) = &self.algorithm_name {
            out.push_str(&format!(", algorithm={algorithm}"));
        }
        match self.qop {
            Qop::None if self.session => out.push_str(&format!(", cnonce={}", quote(cnonce))),
            Qop::None => {}
            Qop::Auth => out.push_str(&format!(", cnonce={}, qop=auth, nc={count:08x}", quote(cnonce))),
            Qop::AuthInt => out.push_str(&format!(", cnonce={}, qop=auth-int, nc={count:08x}", quote(cnonce))),
        }
        if let Some(opaque) = &self.opaque {
            out.push_str(&format!(", opaque={}", quote(opaque)));
        }
        if self.userhash {
            out.push_str(", userhash=true");
        }
        out
    }
}

/// The request that a challenge is answered for.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its Request-URI as written.
    pub uri: &'a str,
    /// Its body, which `auth-int` covers.
    pub body: &'a [u8],
}

/// The most realms answered on one path; more is a loop.
const MAX_REALMS: usize = 4;

/// A call's or a registration's credentials and the challenges it has met.
#[derive(Clone, Debug)]
pub struct Authenticator {
    credentials: Option<Credentials>,
    met: Vec<Met>,
}

#[derive(Clone, Debug)]
struct Met {
    header: HeaderName,
    challenge: Challenge,
    count: u32,
    /// Of the `-sess` forms, whose key is made with the first one (RFC 7616 §3.4.2).
    cnonce: Option<String>,
    renewed: bool,
    /// Our password was right once.
    proved: bool,
}

impl Authenticator {
    /// Nothing met yet.
    pub fn new(credentials: Option<Credentials>) -> Authenticator {
        Authenticator { credentials, met: Vec::new() }
    }

    /// Takes in a 401 or 407. `Ok` means: send the request again, with [`Authenticator::headers`].
    ///
    /// `tried` says whether the refused request already carried our headers; a realm that refuses them is
    /// final, unless it says that only its nonce was stale, and that once. One that has taken our password before means the
    /// nonce, whether it says so or not: there are registrars that want a new one each time and leave `stale` out.
    ///
    /// # Errors
    /// Why sending it again would not help.
    pub fn challenged(&mut self, response: &Response, tried: bool) -> Result<(), AuthError> {
        if self.credentials.is_none() {
            return Err(AuthError::NoCredentials);
        }
        let mut news = Err(AuthError::Unsupported);
        for (asks, answers) in [
            (HeaderName::WwwAuthenticate, HeaderName::Authorization),
            (HeaderName::ProxyAuthenticate, HeaderName::ProxyAuthorization),
        ] {
            for challenge in strongest_per_realm(response, asks) {
                news = match news {
                    Err(AuthError::Refused) => news,
                    _ => self.meet(answers, challenge, tried),
                };
            }
        }
        news
    }

    fn meet(&mut self, header: HeaderName, challenge: Challenge, tried: bool) -> Result<(), AuthError> {
        let full = self.met.len() == MAX_REALMS;
        let known = self.met.iter_mut().find(|m| m.header == header && m.challenge.realm == challenge.realm);
        match known {
            Some(met) if tried && (met.renewed || !(challenge.stale || met.proved)) => Err(AuthError::Refused),
            Some(met) => {
                *met = Met { header, challenge, count: 0, cnonce: None, renewed: tried, proved: met.proved };
                Ok(())
            }
            None if full => Err(AuthError::Refused),
            None => {
                self.met.push(Met { header, challenge, count: 0, cnonce: None, renewed: false, proved: false });
                Ok(())
            }
        }
    }

    /// Forgets that a stale nonce was renewed: to be called when a request was accepted, so that a nonce
    /// may grow old again in a long call or registration.
    pub fn accepted(&mut self) {
        for met in &mut self.met {
            met.renewed = false;
            met.proved = true;
        }
    }

    /// As [`Authenticator::accepted`], and takes the nonce for the next request, when the response gives one (RFC 7616 §3.5).
    pub fn accepted_with(&mut self, response: &Response) {
        self.accepted();
        for (told, header) in [
            ("Authentication-Info", HeaderName::Authorization),
            ("Proxy-Authentication-Info", HeaderName::ProxyAuthorization),
        ] {
            let Some(value) = response.named(told) else { continue };
            // The same form as a challenge without its scheme.
            let next = digests(&format!("Digest {value}")).first().and_then(|params| params.value("nextnonce"));
            let mut met = self.met.iter_mut().filter(|met| met.header == header);
            // It names no realm: where there are several it could be anybody's.
            if let (Some(next), Some(only), None) = (next.filter(|next| !next.is_empty()), met.next(), met.next()) {
                only.challenge.nonce = next;
                (only.count, only.cnonce) = (0, None);
            }
        }
    }

    /// The headers for a new request without a body; counts the uses of each nonce.
    pub fn headers(&mut self, method: &Method, uri: &str, rng: &mut StdRng) -> Vec<(HeaderName, String)> {
        self.headers_with(method, uri, b"", rng)
    }

    /// The headers for a new request; counts the uses of each nonce.
    pub fn headers_with(
        &mut self,
        method: &Method,
        uri: &str,
        body: &[u8],
        rng: &mut StdRng,
    ) -> Vec<(HeaderName, String)> {
        let Some(credentials) = &self.credentials else {
            return Vec::new();
        };
        let mut out = Vec::with_capacity(self.met.len());
        for met in &mut self.met {
            met.count += 1;
            let fresh = format!("{:016x}", rng.next_u64());
            let cnonce = match met.challenge.session {
                true => met.cnonce.get_or_insert(fresh),
                false => &fresh,
            };
            let request = Answered { method: method.as_str(), uri, body };
            out.push((met.header, met.challenge.answer(credentials, request, met.count, cnonce)));
        }
        out
    }
}

fn strongest_per_realm(response: &Response, header: HeaderName) -> Vec<Challenge> {
    let mut best: Vec<Challenge> = Vec::new();
    for value in response.all(header) {
        for challenge in Challenge::parse_all(&String::from_utf8_lossy(value)) {
            match best.iter_mut().find(|b| b.realm == challenge.realm) {
                Some(kept) if kept.algorithm >= challenge.algorithm => {}
                Some(kept) => *kept = challenge,
                None => best.push(challenge),
            }
        }
    }
    best
}
