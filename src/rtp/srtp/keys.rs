//! RFC 3711 §4.3 (key derivation) and §4.1, §4.2 (AES-CM, HMAC-SHA1); RFC 6188; RFC 7714 §8 and §9 (GCM).

use std::fmt;

use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use aes::{Aes128Enc, Aes256Enc};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, Mac};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;

use super::{RTCP_HEADER, Rejected};

/// Bytes of a salt, as it is used; GCM's 12 are followed by zeros (RFC 7714 §11).
const SALT: usize = 14;
/// Bytes of the longest key and salt.
const LONGEST: usize = 32 + SALT;
/// Bytes of the key of HMAC-SHA1.
const AUTH_KEY: usize = 20;
/// Bytes of GCM's tag.
const GCM_TAG: usize = 16;
/// Bytes of the tag of SRTCP with HMAC-SHA1, whatever the one of SRTP (RFC 4568 §6.2.2).
const RTCP_TAG: usize = 10;

/// What a stream is protected with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-128 in counter mode, HMAC-SHA1, tag of 80 bits.
    AesCm128Sha1Tag80,
    /// The same with a tag of 32 bits.
    AesCm128Sha1Tag32,
    /// AES-256 in counter mode, HMAC-SHA1, tag of 80 bits.
    AesCm256Sha1Tag80,
    /// The same with a tag of 32 bits.
    AesCm256Sha1Tag32,
    /// AES-128 in Galois/counter mode.
    AesGcm128,
    /// AES-256 in Galois/counter mode.
    AesGcm256,
}

impl Suite {
    /// All of them.
    pub const ALL: [Suite; 6] = [
        Suite::AesCm128Sha1Tag80,
        Suite::AesCm128Sha1Tag32,
        Suite::AesCm256Sha1Tag80,
        Suite::AesCm256Sha1Tag32,
        Suite::AesGcm128,
        Suite::AesGcm256,
    ];

    /// Bytes of the master key.
    pub const fn key_len(self) -> usize {
        match self {
            Suite::AesCm128Sha1Tag80 | Suite::AesCm128Sha1Tag32 | Suite::AesGcm128 => 16,
            Suite::AesCm256Sha1Tag80 | Suite::AesCm256Sha1Tag32 | Suite::AesGcm256 => 32,
        }
    }

    /// Bytes of the master salt.
    pub const fn salt_len(self) -> usize {
        if self.is_gcm() { 12 } else { SALT }
    }

    const fn is_gcm(self) -> bool {
        matches!(self, Suite::AesGcm128 | Suite::AesGcm256)
    }

    /// Bytes of the tag of SRTP.
    const fn tag(self) -> usize {
        match self {
            Suite::AesCm128Sha1Tag80 | Suite::AesCm256Sha1Tag80 => 10,
            Suite::AesCm128Sha1Tag32 | Suite::AesCm256Sha1Tag32 => 4,
            Suite::AesGcm128 | Suite::AesGcm256 => GCM_TAG,
        }
    }
}

/// A master key with its salt, and the suite that it is for. It is in no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Master {
    suite: Suite,
    /// The key, then the salt.
    bytes: [u8; LONGEST],
}

impl Master {
    /// Of key and salt in one, as RFC 4568 writes them; `None`: not as long as the suite's.
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<Master> {
        let length = suite.key_len() + suite.salt_len();
        let mut bytes = [0; LONGEST];
        (key_and_salt.len() == length).then(|| bytes[..length].copy_from_slice(key_and_salt))?;
        Some(Master { suite, bytes })
    }

    fn key(&self) -> &[u8] {
        &self.bytes[..self.suite.key_len()]
    }

    /// Zeros follow GCM's.
    fn salt(&self) -> [u8; SALT] {
        let mut salt = [0; SALT];
        salt.copy_from_slice(&self.bytes[self.suite.key_len()..][..SALT]);
        salt
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Master({:?}, …)", self.suite)
    }
}

/// RFC 3711 §4.3.2: which of the session keys.
pub(super) struct Labels {
    cipher: u8,
    auth: u8,
    salt: u8,
    rtcp: bool,
}

impl Labels {
    pub(super) const RTP: Labels = Labels { cipher: 0, auth: 1, salt: 2, rtcp: false };
    pub(super) const RTCP: Labels = Labels { cipher: 3, auth: 4, salt: 5, rtcp: true };
}

/// AES with its key, in counter mode.
enum Counter {
    Aes128(Aes128Enc),
    Aes256(Aes256Enc),
}

impl Counter {
    /// A key of 16 or 32 bytes.
    fn new(key: &[u8]) -> Counter {
        let mut long = [0; 32];
        match key.first_chunk::<16>() {
            Some(short) if key.len() == 16 => Counter::Aes128(Aes128Enc::new(&(*short).into())),
            _ => {
                long[..key.len()].copy_from_slice(key);
                Counter::Aes256(Aes256Enc::new(&long.into()))
            }
        }
    }

    fn apply(&self, iv: [u8; 16], bytes: &mut [u8]) {
        match self {
            Counter::Aes128(aes) => {
                CtrCore::<_, Ctr128BE>::inner_iv_init(aes, &iv.into()).apply_keystream_partial(bytes.into());
            }
            Counter::Aes256(aes) => {
                CtrCore::<_, Ctr128BE>::inner_iv_init(aes, &iv.into()).apply_keystream_partial(bytes.into());
            }
        }
    }
}

/// The session keys of RTP or of RTCP.
pub(super) struct Half {
    salt: [u8; SALT],
    cipher: Cipher,
}

enum Cipher {
    Sha1 { counter: Counter, mac: Hmac<Sha1>, tag: usize },
    Gcm(LessSafeKey),
}

impl Half {
    pub(super) fn derive(master: &Master, labels: Labels) -> Half {
        let suite = master.suite;
        let counter = Counter::new(master.key());
        let draw = |label: u8, out: &mut [u8]| {
            let mut iv = [0; 16];
            iv[..SALT].copy_from_slice(&master.salt());
            iv[7] ^= label;
            out.fill(0);
            counter.apply(iv, out);
        };
        let (mut key, mut auth, mut salt) = ([0; 32], [0; AUTH_KEY], [0; SALT]);
        let key = &mut key[..suite.key_len()];
        draw(labels.cipher, key);
        draw(labels.auth, &mut auth);
        draw(labels.salt, &mut salt[..suite.salt_len()]);
        Half::of(suite, key, &auth, salt, labels.rtcp)
    }

    /// Of session keys. The key is as long as the suite's.
    pub(super) fn of(suite: Suite, key: &[u8], auth: &[u8; AUTH_KEY], salt: [u8; SALT], rtcp: bool) -> Half {
        let gcm = match suite {
            Suite::AesGcm128 => UnboundKey::new(&aead::AES_128_GCM, key).ok(),
            Suite::AesGcm256 => UnboundKey::new(&aead::AES_256_GCM, key).ok(),
            _ => None,
        };
        let cipher = match gcm {
            Some(key) => Cipher::Gcm(LessSafeKey::new(key)),
            None => Cipher::Sha1 {
                counter: Counter::new(key),
                mac: keyed(auth),
                tag: if rtcp { RTCP_TAG } else { suite.tag() },
            },
        };
        Half { salt, cipher }
    }

    /// Bytes of the tag.
    pub(super) fn tag(&self) -> usize {
        match &self.cipher {
            Cipher::Sha1 { tag, .. } => *tag,
            Cipher::Gcm(_) => GCM_TAG,
        }
    }

    /// Encrypts what is between header and length, and writes the tag behind it. The packet is as long as both.
    pub(super) fn seal(
        &self,
        packet: &mut [u8],
        header: usize,
        length: usize,
        ssrc: u32,
        index: u64,
        rollover: &[u8; 4],
    ) {
        let (body, tag) = packet.split_at_mut(length);
        match &self.cipher {
            Cipher::Sha1 { counter, mac, .. } => {
                counter.apply(self.iv(ssrc, index), &mut body[header..]);
                write_tag(mac, &[body, rollover], tag);
            }
            Cipher::Gcm(key) => {
                let (header, payload) = body.split_at_mut(header);
                seal_gcm(key, self.nonce(ssrc, index), header, payload, tag);
            }
        }
    }

    /// The contrary.
    pub(super) fn open(
        &self,
        packet: &mut [u8],
        header: usize,
        length: usize,
        ssrc: u32,
        index: u64,
        rollover: &[u8; 4],
    ) -> Result<(), Rejected> {
        match &self.cipher {
            Cipher::Sha1 { counter, mac, .. } => {
                let (body, tag) = packet.split_at_mut(length);
                check_tag(mac, &[body, rollover], tag)?;
                counter.apply(self.iv(ssrc, index), &mut body[header..]);
                Ok(())
            }
            Cipher::Gcm(key) => {
                let (header, sealed) = packet.split_at_mut(header);
                open_gcm(key, self.nonce(ssrc, index), header, sealed)
            }
        }
    }

    /// As [`seal`](Self::seal), of a compound; `word` is the index with the flag.
    pub(super) fn seal_rtcp(&self, packet: &mut [u8], length: usize, ssrc: u32, index: u32, word: [u8; 4]) {
        let (body, trailer) = packet.split_at_mut(length);
        match &self.cipher {
            Cipher::Sha1 { counter, mac, .. } => {
                counter.apply(self.iv(ssrc, index.into()), &mut body[RTCP_HEADER..]);
                let (place, tag) = trailer.split_at_mut(word.len());
                place.copy_from_slice(&word);
                write_tag(mac, &[body, &word], tag);
            }
            Cipher::Gcm(key) => {
                let (tag, place) = trailer.split_at_mut(GCM_TAG);
                place.copy_from_slice(&word);
                let known = known(body, word);
                seal_gcm(key, self.nonce(ssrc, index.into()), &known, &mut body[RTCP_HEADER..], tag);
            }
        }
    }

    /// The contrary.
    pub(super) fn open_rtcp(
        &self,
        packet: &mut [u8],
        length: usize,
        ssrc: u32,
        index: u32,
        word: [u8; 4],
    ) -> Result<(), Rejected> {
        match &self.cipher {
            Cipher::Sha1 { counter, mac, .. } => {
                let (body, trailer) = packet.split_at_mut(length);
                check_tag(mac, &[body, &word], &trailer[word.len()..])?;
                counter.apply(self.iv(ssrc, index.into()), &mut body[RTCP_HEADER..]);
                Ok(())
            }
            Cipher::Gcm(key) => {
                let known = known(packet, word);
                let sealed = &mut packet[RTCP_HEADER..length + GCM_TAG];
                open_gcm(key, self.nonce(ssrc, index.into()), &known, sealed)
            }
        }
    }

    /// The word of the index in a compound whose plain length is `length`.
    pub(super) fn word(&self, packet: &[u8], length: usize) -> [u8; 4] {
        let at = match &self.cipher {
            Cipher::Sha1 { .. } => length,
            Cipher::Gcm(_) => length + GCM_TAG,
        };
        let mut word = [0; 4];
        word.copy_from_slice(&packet[at..at + 4]);
        word
    }

    /// RFC 3711 §4.1.1: salt · 2¹⁶ ⊕ SSRC · 2⁶⁴ ⊕ index · 2¹⁶.
    fn iv(&self, ssrc: u32, index: u64) -> [u8; 16] {
        let salt = self.salt.iter().fold(0, |salt, byte| salt << 8 | u128::from(*byte));
        (salt << 16 ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16).to_be_bytes()
    }

    /// RFC 7714 §8.1 and §9.1: salt ⊕ SSRC · 2⁴⁸ ⊕ index.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
        nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        nonce.iter_mut().zip(&self.salt).for_each(|(byte, salt)| *byte ^= salt);
        Nonce::assume_unique_for_key(nonce)
    }
}

fn keyed(key: &[u8; AUTH_KEY]) -> Hmac<Sha1> {
    // A key shorter than a block is filled up with zeros (RFC 2104 §2).
    let mut block = hmac::digest::Key::<Hmac<Sha1>>::default();
    block[..AUTH_KEY].copy_from_slice(key);
    Hmac::new(&block)
}

fn mac_of(mac: &Hmac<Sha1>, parts: &[&[u8]]) -> Hmac<Sha1> {
    let mut mac = mac.clone();
    parts.iter().for_each(|part| mac.update(part));
    mac
}

fn write_tag(mac: &Hmac<Sha1>, parts: &[&[u8]], tag: &mut [u8]) {
    let whole = mac_of(mac, parts).finalize().into_bytes();
    tag.copy_from_slice(&whole[..tag.len()]);
}

/// In constant time.
fn check_tag(mac: &Hmac<Sha1>, parts: &[&[u8]], tag: &[u8]) -> Result<(), Rejected> {
    mac_of(mac, parts).verify_truncated_left(tag).map_err(|_| Rejected::Unauthentic)
}

/// What of a compound is authenticated without being encrypted (RFC 7714 §9.2).
fn known(packet: &[u8], word: [u8; 4]) -> [u8; RTCP_HEADER + 4] {
    let mut known = [0; RTCP_HEADER + 4];
    known[..RTCP_HEADER].copy_from_slice(&packet[..RTCP_HEADER]);
    known[RTCP_HEADER..].copy_from_slice(&word);
    known
}

fn seal_gcm(key: &LessSafeKey, nonce: Nonce, known: &[u8], payload: &mut [u8], tag: &mut [u8]) {
    match key.seal_in_place_separate_tag(nonce, Aad::from(known), payload) {
        Ok(written) => tag.copy_from_slice(written.as_ref()),
        // Only of more than 64 GB. What would go out then says nothing, and nobody believes it.
        Err(_) => {
            payload.fill(0);
            tag.fill(0);
        }
    }
}

fn open_gcm(key: &LessSafeKey, nonce: Nonce, known: &[u8], sealed: &mut [u8]) -> Result<(), Rejected> {
    key.open_in_place(nonce, Aad::from(known), sealed).map(|_| ()).map_err(|_| Rejected::Unauthentic)
}
