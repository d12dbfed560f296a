//! RFC 4568: `a=crypto`, by which keys for SRTP are told, with the suites of RFC 6188 and RFC 7714.
//!
//! ```text
//! a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^31 WSH=128
//!          tag       suite                  key and salt in base64          lifetime   parameters
//! ```
//! A line that we cannot do all of is one that we do not choose (§5.1.2, §6.3.7): of another suite, with several keys or an MKI, with a key
//! of the wrong length, or with a parameter that changes what is protected. A lifetime is only checked for its form: it binds whoever
//! sends, and at 50 packets a second the shortest that is seen, 2³¹, lasts a year. A window size (WSH) is a hint, and ours is 128.

use std::fmt;

/// A suite of RFC 4568 §6.2, RFC 6188 §5 or RFC 7714 §12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80`, which everybody has.
    AesCm128Sha1Tag80,
    /// `AES_CM_128_HMAC_SHA1_32`.
    AesCm128Sha1Tag32,
    /// `AES_256_CM_HMAC_SHA1_80`.
    AesCm256Sha1Tag80,
    /// `AES_256_CM_HMAC_SHA1_32`.
    AesCm256Sha1Tag32,
    /// `AEAD_AES_128_GCM`.
    AesGcm128,
    /// `AEAD_AES_256_GCM`.
    AesGcm256,
}

impl Suite {
    /// All of them, in the order of our offers where none is configured: first what everybody has, then the stronger ones.
    pub const ALL: [Suite; 6] = [
        Suite::AesCm128Sha1Tag80,
        Suite::AesGcm256,
        Suite::AesGcm128,
        Suite::AesCm256Sha1Tag80,
        Suite::AesCm128Sha1Tag32,
        Suite::AesCm256Sha1Tag32,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Suite::AesCm128Sha1Tag80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128Sha1Tag32 => "AES_CM_128_HMAC_SHA1_32",
            Suite::AesCm256Sha1Tag80 => "AES_256_CM_HMAC_SHA1_80",
            Suite::AesCm256Sha1Tag32 => "AES_256_CM_HMAC_SHA1_32",
            Suite::AesGcm128 => "AEAD_AES_128_GCM",
            Suite::AesGcm256 => "AEAD_AES_256_GCM",
        }
    }

    /// By its name.
    pub fn of(name: &str) -> Option<Suite> {
        Suite::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of master key and salt together.
    pub const fn key_and_salt(self) -> usize {
        match self {
            Suite::AesCm128Sha1Tag80 | Suite::AesCm128Sha1Tag32 => 16 + 14,
            Suite::AesCm256Sha1Tag80 | Suite::AesCm256Sha1Tag32 => 32 + 14,
            Suite::AesGcm128 => 16 + 12,
            Suite::AesGcm256 => 32 + 12,
        }
    }
}

/// The longest key and salt.
pub(super) const LONGEST: usize = 32 + 14;

/// Master key and master salt in one. It is in no `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; LONGEST],
    length: u8,
}

impl Key {
    /// `None` if there are too many bytes for any suite.
    pub fn new(key_and_salt: &[u8]) -> Option<Key> {
        let mut bytes = [0; LONGEST];
        bytes.get_mut(..key_and_salt.len())?.copy_from_slice(key_and_salt);
        Some(Key { bytes, length: key_and_salt.len() as u8 })
    }

    /// The key, then the salt.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A line that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// By which an answer names it.
    pub tag: u32,
    /// The suite.
    pub suite: Suite,
    /// For what its writer sends.
    pub key: Key,
}

impl Crypto {
    /// The value of an `a=crypto`; `None` if it is none, or one that is not to be chosen.
    pub fn parse(value: &str) -> Option<Crypto> {
        let mut fields = value.split_ascii_whitespace();
        let tag = fields.next().filter(|tag| tag.len() <= 9).and_then(digits)?;
        let suite = Suite::of(fields.next()?)?;
        let key = key(fields.next()?).filter(|key| usize::from(key.length) == suite.key_and_salt())?;
        fields.all(is_harmless).then_some(Crypto { tag, suite, key })
    }

    /// The value of the line.
    pub fn write(&self) -> String {
        format!("{} {} inline:{}", self.tag, self.suite.name(), base64(self.key.as_bytes()))
    }
}

/// `u32::from_str` would take a sign.
fn digits(text: &str) -> Option<u32> {
    digits_only(text).then(|| text.parse().ok())?
}

/// `inline:key[|lifetime][|MKI:length]` (§6.1), one of them, and without an MKI.
fn key(parameter: &str) -> Option<Key> {
    let (method, rest) = parameter.split_once(':')?;
    let mut parts = rest.split('|');
    let key = unbase64(parts.next()?)?;
    let lifetime = parts.next().is_none_or(is_lifetime);
    (method.eq_ignore_ascii_case("inline") && lifetime && parts.next().is_none()).then_some(key)
}

/// `2^48`, or a number of packets however large; not none at all.
fn is_lifetime(text: &str) -> bool {
    let number = text.strip_prefix("2^").unwrap_or(text);
    let counts = text.len() > number.len() || number.bytes().any(|byte| byte != b'0');
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && counts
}

/// A session parameter with which all stays as it would be without (§6.3).
fn is_harmless(parameter: &str) -> bool {
    let window = parameter.strip_prefix("WSH=").is_some_and(|size| !size.is_empty() && digits_only(size));
    window || parameter.starts_with('-')
}

fn digits_only(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for n in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * n) & 63) as usize];
            out.push(if n <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// Up to the longest key; there are senders that leave the padding out.
fn unbase64(text: &str) -> Option<Key> {
    let text = text.trim_end_matches('=');
    let mut bytes = [0; LONGEST];
    let (mut word, mut bits, mut length) = (0u32, 0, 0);
    for digit in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == digit)? as u32;
        (word, bits) = (word << 6 | value, bits + 6);
        if bits >= 8 {
            bits -= 8;
            *bytes.get_mut(length)? = (word >> bits) as u8;
            length += 1;
        }
    }
    // A digit that begins no byte is one too many.
    (bits < 6).then(|| Key::new(&bytes[..length]))?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

    fn read(rest: &str) -> Option<Crypto> {
        Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 {rest}"))
    }

    #[test]
    fn the_lines_of_the_rfc() {
        let line = read(&format!("inline:{KEY}|2^20")).expect("it can be used");
        assert_eq!((line.tag, line.suite), (1, Suite::AesCm128Sha1Tag80));
        assert_eq!(line.key.as_bytes(), b"wDfvg&T+)xG7@fb5jU,RaA}\\|p0%*#");
        assert_eq!(line.write(), format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"));
    }

    #[test]
    fn what_changes_nothing_is_read_over() {
        for rest in [
            "|2^31",
            "|2^48",
            "|1048576",
            "|99999999999999999999999999",
            "|2^99999999999999999999",
            " WSH=128",
            " -X=1",
        ] {
            assert!(read(&format!("inline:{KEY}{rest}")).is_some(), "{rest}");
        }
        assert!(read(&format!("INLINE:{KEY}")).is_some());
        let unpadded = format!("1 AEAD_AES_128_GCM inline:{}", "A".repeat(38));
        assert!(Crypto::parse(&unpadded).is_some() && Crypto::parse(&format!("{unpadded}==")).is_some());
    }

    #[test]
    fn what_we_cannot_do_is_not_chosen() {
        for rest in [
            "|2^31|1:1",
            "|1:4",
            "|0",
            "|2^",
            "||",
            "|x",
            " UNENCRYPTED_SRTP",
            " UNENCRYPTED_SRTCP",
            " UNAUTHENTICATED_SRTP",
            " KDR=1",
            " FEC_ORDER=FEC_SRTP",
            " WSH=",
            " SOMETHING",
            ";inline:QUJD|2^20|1:4",
            "A",
        ] {
            assert_eq!(read(&format!("inline:{KEY}{rest}")), None, "{rest}");
        }
        for line in ["", "1", "1 AES_CM_128_HMAC_SHA1_80", "1 F8_128_HMAC_SHA1_80 inline:QQ=="] {
            assert_eq!(Crypto::parse(line), None, "{line}");
        }
        for tag in ["+1", "-1", "x", "9999999999"] {
            assert_eq!(Crypto::parse(&format!("{tag} AES_CM_128_HMAC_SHA1_80 inline:{KEY}")), None, "{tag}");
        }
        assert_eq!(read("inline:*"), None);
        assert_eq!(read("uri:x"), None);
        // A key of another suite's length.
        assert_eq!(Crypto::parse(&format!("1 AES_256_CM_HMAC_SHA1_80 inline:{KEY}")), None);
    }

    #[test]
    fn keys_are_not_shown() {
        let shown = format!("{:?}", read(&format!("inline:{KEY}")));
        assert!(shown.contains("Key(…)") && !shown.contains("119"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(tag in 0u32..1_000_000_000, suite in 0usize..6, bytes: [u8; LONGEST]) {
            let suite = Suite::ALL[suite];
            let line = Crypto { tag, suite, key: Key::new(&bytes[..suite.key_and_salt()]).unwrap() };
            prop_assert_eq!(Crypto::parse(&line.write()), Some(line));
        }

        #[test]
        fn nothing_panics(line in "\\PC{0,120}", rest in "[-A-Za-z0-9+/=|^:; ]{0,120}") {
            let _ = Crypto::parse(&line);
            let _ = read(&rest);
            let _ = read(&format!("inline:{KEY}{rest}"));
        }
    }
}
