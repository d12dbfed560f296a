//! RFC 7616 and RFC 8760 (digest access authentication), RFC 3261 §22, both sides.
//!
//! | file | what |
//! |---|---|
//! | `client` | challenges are answered: MD5, SHA-256, SHA-512-256 and their `-sess` forms; `auth`, `auth-int` or no qop |
//! | `server` | whoever calls us is challenged: nonces that expire, counts that may come once |

mod client;
mod server;

use std::fmt;

use md5::{Digest, Md5};
use sha2::{Sha256, Sha512_256};

use super::message::{quoted_string, split};
pub use client::{Authenticator, Challenge};
pub use server::{Guard, Verdict, Why};

/// A user's name and password, and others for realms that want their own.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name for authentication, often not the one in From.
    pub username: String,
    /// The password.
    pub password: String,
    /// Realms where somebody else is asked for.
    pub realms: Vec<RealmCredentials>,
}

/// A user's name and password at one realm.
#[derive(Clone, PartialEq, Eq)]
pub struct RealmCredentials {
    /// The realm, as the challenge spells it.
    pub realm: String,
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl Credentials {
    /// The same name and password at every realm.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Credentials {
        Credentials { username: username.into(), password: password.into(), realms: Vec::new() }
    }

    /// Name and password at a realm.
    pub fn at(&self, realm: &str) -> (&str, &str) {
        let own = self.realms.iter().find(|own| own.realm == realm);
        own.map_or((&self.username, &self.password), |own| (&own.username, &own.password))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl fmt::Debug for RealmCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RealmCredentials").field("realm", &self.realm).finish_non_exhaustive()
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
    /// As it stands in `algorithm=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha512Trunc256 => "SHA-512-256",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// Reads a name, in any case.
    pub fn parse(name: &str) -> Option<Algorithm> {
        let all = [Algorithm::Md5, Algorithm::Sha512Trunc256, Algorithm::Sha256];
        all.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))
    }

    fn hash(self, text: impl AsRef<[u8]>) -> String {
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
    /// No challenge that we can answer: another scheme, algorithm or quality of protection.
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

/// Quality of protection: what the digest covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// None is named: the form of RFC 2069.
    None,
    /// Method and URI.
    Auth,
    /// And the body.
    AuthInt,
}

/// What a digest is made of (RFC 7616 §3.4.1).
struct Signed<'a> {
    algorithm: Algorithm,
    session: bool,
    username: &'a str,
    password: &'a str,
    realm: &'a str,
    nonce: &'a str,
    cnonce: &'a str,
    count: u32,
    qop: Qop,
    method: &'a str,
    uri: &'a str,
    body: &'a [u8],
}

impl Signed<'_> {
    fn response(&self) -> String {
        let Signed { username, password, realm, nonce, cnonce, count, method, uri, .. } = self;
        let hash = |text: &str| self.algorithm.hash(text);
        let mut a1 = hash(&format!("{username}:{realm}:{password}"));
        if self.session {
            a1 = hash(&format!("{a1}:{nonce}:{cnonce}"));
        }
        let plain = hash(&format!("{method}:{uri}"));
        match self.qop {
            Qop::None => hash(&format!("{a1}:{nonce}:{plain}")),
            Qop::Auth => hash(&format!("{a1}:{nonce}:{count:08x}:{cnonce}:auth:{plain}")),
            Qop::AuthInt => {
                let a2 = hash(&format!("{method}:{uri}:{}", self.algorithm.hash(self.body)));
                hash(&format!("{a1}:{nonce}:{count:08x}:{cnonce}:auth-int:{a2}"))
            }
        }
    }
}

/// The `name=value` parameters of a header value after its scheme, quotes taken off.
struct AuthParams<'a>(Vec<(&'a str, &'a str)>);

impl AuthParams<'_> {
    fn value(&self, name: &str) -> Option<String> {
        let (_, value) = self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(quoted_string(value).map_or_else(|| (*value).to_owned(), |(content, _)| content.into_owned()))
    }
}

/// Every `Digest` in a header value, in its order. Several schemes, and several of one, may share a line.
fn digests(value: &str) -> Vec<AuthParams<'_>> {
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
    let digests = groups.into_iter().filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Digest"));
    digests.map(|(_, params)| AuthParams(params)).collect()
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
mod tests;
