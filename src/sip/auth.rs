//! RFC 7616 and RFC 8760 (digest access authentication), RFC 3261 §22, the client's side.
//!
//! Algorithms MD5, SHA-256 and SHA-512-256 and their `-sess` forms; `qop=auth` or none. Of several
//! challenges for one realm the strongest that we can answer is taken (RFC 8760 §2.4 lets the client
//! choose).

use std::fmt;

use md5::{Digest, Md5};
use rand::Rng;
use rand::rngs::StdRng;
use sha2::{Sha256, Sha512_256};

use super::message::{HeaderName, Method, Response, quote, quoted_string, split};

/// A user's name and password at a realm.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name for authentication, often not the one in From.
    pub username: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A digest algorithm, the least wanted first. Both SHA-2 forms give 256 bits; SHA-256 stands last
/// because peers agree on it, while some took SHA-512-256 from the draft that RFC 7616's own example
/// was made with (erratum 4897).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// MD5
    Md5,
    /// SHA-512 truncated to 256 bits, by its own initial values
    Sha512Trunc256,
    /// SHA-256
    Sha256,
}

impl Algorithm {
    fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Md5 => hex(&Md5::digest(text)),
            Algorithm::Sha512Trunc256 => hex(&Sha512_256::digest(text)),
            Algorithm::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// Why a challenge is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthError {
    /// We have no password.
    NoCredentials,
    /// No challenge that we can answer: another scheme or algorithm, or only `qop=auth-int`.
    Unsupported,
    /// Our credentials were refused; asking again would lock the account.
    Refused,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AuthError::NoCredentials => "a challenge came and there are no credentials",
            AuthError::Unsupported => "no challenge that can be answered",
            AuthError::Refused => "the credentials were refused",
        })
    }
}

impl std::error::Error for AuthError {}

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
    /// Whether `qop=auth` is offered; otherwise the RFC 2069 form is used.
    pub qop_auth: bool,
    /// The nonce is too old, the credentials were right.
    pub stale: bool,
    /// The user name is to be sent hashed (§3.4.4).
    pub userhash: bool,
}

impl Challenge {
    /// Every digest challenge in a header value that we can answer, in its order; others are skipped.
    pub fn parse_all(value: &str) -> Vec<Challenge> {
        let mut groups: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
        for piece in split(value.as_bytes(), b',') {
            let Ok(piece) = std::str::from_utf8(piece) else {
                continue;
            };
            let name_end = piece.find(|c: char| c.is_ascii_whitespace() || c == '=').unwrap_or(piece.len());
            let after = piece[name_end..].trim_start();
            let param = if after.starts_with('=') {
                piece
            } else {
                groups.push((&piece[..name_end], Vec::new()));
                after
            };
            if let (Some((_, params)), Some((name, value))) = (groups.last_mut(), param.split_once('=')) {
                params.push((name.trim(), value.trim()));
            }
        }
        let digests = groups.iter().filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Digest"));
        digests.filter_map(|(_, params)| Challenge::from_params(params)).collect()
    }

    fn from_params(params: &[(&str, &str)]) -> Option<Challenge> {
        let find = |name: &str| {
            let (_, value) = params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
            Some(quoted_string(value).map_or_else(|| (*value).to_owned(), |(content, _)| content.into_owned()))
        };
        let is = |name: &str| find(name).is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let algorithm_name = find("algorithm");
        let lower = algorithm_name.as_deref().unwrap_or("MD5").to_ascii_lowercase();
        let (base, session) = lower.strip_suffix("-sess").map_or((lower.as_str(), false), |base| (base, true));
        let algorithm = match base {
            "md5" => Algorithm::Md5,
            "sha-256" => Algorithm::Sha256,
            "sha-512-256" => Algorithm::Sha512Trunc256,
            _ => return None,
        };
        let qop = find("qop");
        let qop_auth = qop.as_deref().is_some_and(|q| q.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")));
        if qop.is_some_and(|q| !q.trim().is_empty()) && !qop_auth {
            return None;
        }
        Some(Challenge {
            realm: find("realm")?,
            nonce: find("nonce")?,
            opaque: find("opaque"),
            algorithm,
            session,
            algorithm_name,
            qop_auth,
            stale: is("stale"),
            userhash: is("userhash"),
        })
    }

    /// The value of Authorization or Proxy-Authorization. `count` is the use of this nonce, from 1.
    pub fn answer(&self, credentials: &Credentials, method: &str, uri: &str, count: u32, cnonce: &str) -> String {
        let hash = |text: &str| self.algorithm.hash(text);
        let Credentials { username, password } = credentials;
        let mut a1 = hash(&format!("{username}:{}:{password}", self.realm));
        if self.session {
            a1 = hash(&format!("{a1}:{}:{cnonce}", self.nonce));
        }
        let a2 = hash(&format!("{method}:{uri}"));
        let response = if self.qop_auth {
            hash(&format!("{a1}:{}:{count:08x}:{cnonce}:auth:{a2}", self.nonce))
        } else {
            hash(&format!("{a1}:{}:{a2}", self.nonce))
        };
        let name = if self.userhash { hash(&format!("{username}:{}", self.realm)) } else { username.clone() };
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
        if self.qop_auth {
            out.push_str(&format!(", cnonce={}, qop=auth, nc={count:08x}", quote(cnonce)));
        } else if self.session {
            out.push_str(&format!(", cnonce={}", quote(cnonce)));
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
                *met = Met { header, challenge, count: 0, renewed: tried, proved: met.proved };
                Ok(())
            }
            None if full => Err(AuthError::Refused),
            None => {
                self.met.push(Met { header, challenge, count: 0, renewed: false, proved: false });
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

    /// The headers for a new request; counts the uses of each nonce.
    pub fn headers(&mut self, method: &Method, uri: &str, rng: &mut StdRng) -> Vec<(HeaderName, String)> {
        let Some(credentials) = &self.credentials else {
            return Vec::new();
        };
        let mut out = Vec::with_capacity(self.met.len());
        for met in &mut self.met {
            met.count += 1;
            let cnonce = format!("{:016x}", rng.next_u64());
            out.push((met.header, met.challenge.answer(credentials, method.as_str(), uri, met.count, &cnonce)));
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

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::{Message, parse};
    use rand::SeedableRng;

    fn credentials(username: &str, password: &str) -> Credentials {
        Credentials { username: username.into(), password: password.into() }
    }

    /// RFC 7616 §3.9.1, both challenges of its one response.
    #[test]
    fn mufasa() {
        let value = r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256,
            nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
            Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5,
            nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
        let challenges = Challenge::parse_all(value);
        assert_eq!(challenges.len(), 2);
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (challenge, response) in challenges.iter().zip([
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            "8ca523f5e9506fed4657c9700eebdbec",
        ]) {
            let out = challenge.answer(&credentials("Mufasa", "Circle of Life"), "GET", "/dir/index.html", 1, cnonce);
            assert!(out.contains(&format!("response=\"{response}\"")), "{out}");
            assert!(out.contains("nc=00000001") && out.contains("opaque=\"FQhe/"), "{out}");
        }
    }

    /// RFC 7616 §3.9.2 as corrected by erratum 4897.
    #[test]
    fn jason_doe() {
        let value = r#"Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256,
            nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS",
            charset=UTF-8, userhash=true"#;
        let challenge = &Challenge::parse_all(value)[0];
        let cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v";
        let out = challenge.answer(&credentials("Jäsøn Doe", "Secret, or not?"), "GET", "/doe.json", 1, cnonce);
        assert!(out.contains("793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"), "{out}");
        assert!(out.contains("3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"), "{out}");
    }

    /// RFC 2617 §3.5 without the qop, as many old registrars ask: MD5(HA1:nonce:HA2).
    #[test]
    fn without_qop() {
        let challenge = &Challenge::parse_all(r#"Digest realm="r", nonce="n""#)[0];
        let out = challenge.answer(&credentials("u", "p"), "REGISTER", "sip:r", 1, "c");
        let a1 = hex(&Md5::digest("u:r:p"));
        let a2 = hex(&Md5::digest("REGISTER:sip:r"));
        let response = hex(&Md5::digest(format!("{a1}:n:{a2}")));
        assert!(out.contains(&format!("response=\"{response}\"")));
        assert!(!out.contains("qop") && !out.contains("cnonce") && !out.contains("algorithm"), "{out}");
    }

    fn response(challenges: &str) -> Response {
        let text = format!(
            "SIP/2.0 401 No\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: x\r\nCSeq: 1 REGISTER\r\n{challenges}\r\n"
        );
        match parse(text.as_bytes()).unwrap() {
            Message::Response(response) => response,
            Message::Request(_) => panic!("not a response"),
        }
    }

    #[test]
    fn the_strongest_is_picked_and_the_count_rises() {
        let mut auth = Authenticator::new(Some(credentials("u", "p")));
        let mut rng = StdRng::seed_from_u64(1);
        let asked = response(
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"weak\", algorithm=MD5, qop=\"auth\"\r\n\
             WWW-Authenticate: Basic realm=\"r\"\r\n\
             WWW-Authenticate: Digest realm=\"r\", nonce=\"odd\", algorithm=SHA-3\r\n\
             WWW-Authenticate: Digest realm=\"r\", nonce=\"strong\", algorithm=SHA-256, qop=\"auth,auth-int\"\r\n",
        );
        auth.challenged(&asked, false).unwrap();
        for count in ["nc=00000001", "nc=00000002"] {
            let headers = auth.headers(&Method::Register, "sip:r", &mut rng);
            assert_eq!(headers.len(), 1);
            assert_eq!(headers[0].0, HeaderName::Authorization);
            assert!(headers[0].1.contains("nonce=\"strong\"") && headers[0].1.contains(count), "{headers:?}");
        }
        // RFC 3261 §22.1: the same credentials are not tried again…
        assert_eq!(auth.challenged(&asked, true), Err(AuthError::Refused));
    }

    #[test]
    fn a_stale_nonce_is_renewed_once() {
        let mut auth = Authenticator::new(Some(credentials("u", "p")));
        let fresh = response("WWW-Authenticate: Digest realm=\"r\", nonce=\"1\"\r\n");
        let stale = response("WWW-Authenticate: Digest realm=\"r\", nonce=\"2\", stale=TRUE\r\n");
        auth.challenged(&fresh, false).unwrap();
        auth.challenged(&stale, true).unwrap();
        assert_eq!(auth.challenged(&stale, true), Err(AuthError::Refused));
        auth.accepted();
        assert_eq!(auth.challenged(&stale, true), Ok(()));
    }

    #[test]
    fn who_has_taken_the_password_before_wants_a_new_nonce_only_and_that_once() {
        let mut auth = Authenticator::new(Some(credentials("u", "p")));
        let one = response("WWW-Authenticate: Digest realm=\"r\", nonce=\"1\"\r\n");
        let two = response("WWW-Authenticate: Digest realm=\"r\", nonce=\"2\"\r\n");
        auth.challenged(&one, false).unwrap();
        auth.accepted();
        assert_eq!(auth.challenged(&two, true), Ok(()));
        assert_eq!(auth.challenged(&two, true), Err(AuthError::Refused));
    }

    #[test]
    fn what_cannot_be_answered_is_named() {
        let mut auth = Authenticator::new(Some(credentials("u", "p")));
        let int = response("WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", qop=\"auth-int\"\r\n");
        assert_eq!(auth.challenged(&int, false), Err(AuthError::Unsupported));
        let mut none = Authenticator::new(None);
        assert_eq!(none.challenged(&int, false), Err(AuthError::NoCredentials));
    }
}
