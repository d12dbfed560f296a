//! Certificates of a test's own.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// PEM files of an authority and of 127.0.0.1, good until the end of a year.
pub fn certificates(folder: &Path, until: i32) -> [PathBuf; 3] {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes one whose name is its issuer's for self-signed.
    params.distinguished_name.push(DnType::CommonName, "authority");
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
    params.not_after = rcgen::date_time_ymd(until, 12, 31);
    let certificate = params.signed_by(&key, &issuer).expect("signed");
    let files = ["ca.pem", "own.pem", "own.key"].map(|name| folder.join(name));
    for (file, text) in files.iter().zip([issuer.pem(), certificate.pem(), key.serialize_pem()]) {
        fs::write(file, text).expect("written");
    }
    files
}
