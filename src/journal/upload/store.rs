//! The places to which recordings go, and how one file gets there.

use std::error::Error as _;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{Attribute, Attributes, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, RetryConfig};

use super::Fault;
use super::http::Http;
use crate::net::tls::ClientFiles;

/// A longer file goes in parts of this size: the smallest that S3 takes. With what is under way, so much memory at a time is taken.
const PART: usize = 5 * 1024 * 1024;
/// A request that found a service busy is made anew at once so often: of a long recording, which has many, not all is lost with one.
const AT_ONCE: usize = 3;

/// Where recordings go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A bucket of S3, or of what speaks like it.
    S3(Box<S3>),
    /// A folder, of a share that is mounted there; it is not made: what is not there is not mounted.
    Folder(PathBuf),
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// What comes before each name, without `/` at its ends; empty: nothing.
    pub prefix: String,
    /// `http://host:port` or `https://host`; `None`: that of Amazon in the region.
    pub endpoint: Option<String>,
    /// By which the signature is made.
    pub region: String,
    /// The bucket stands in the path, not in the host's name.
    pub path_style: bool,
    /// Who we are.
    pub access_key: String,
    /// And how that is known.
    pub secret_key: Secret,
    /// Who vouches for the endpoint; `None`: those whom the system believes.
    pub ca: Option<PathBuf>,
}

/// Shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Folder(folder) => write!(f, "file://{}", folder.display()),
            Destination::S3(s3) if s3.prefix.is_empty() => write!(f, "s3://{}", s3.bucket),
            Destination::S3(s3) => write!(f, "s3://{}/{}", s3.bucket, s3.prefix),
        }
    }
}

impl S3 {
    fn named(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", self.region))
    }

    fn open(&self) -> Result<Arc<dyn ObjectStore>, String> {
        let endpoint = self.named();
        let host = endpoint.split("://").last().unwrap_or_default().to_owned();
        let tls = match endpoint.starts_with("https://") {
            false => None,
            true => {
                let files = ClientFiles { name: host.clone(), ca: self.ca.clone(), identity: None };
                Some(files.load().map_err(|e| e.to_string())?)
            }
        };
        // With the bucket in the host's name, object_store wants to be given the whole of it.
        let endpoint = match self.path_style {
            true => endpoint,
            false => endpoint.replacen("://", &format!("://{}.", self.bucket), 1),
        };
        let store = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_access_key_id(&self.access_key)
            .with_secret_access_key(&self.secret_key.0)
            .with_endpoint(endpoint)
            .with_virtual_hosted_style_request(!self.path_style)
            .with_retry(RetryConfig {
                max_retries: AT_ONCE,
                retry_timeout: Duration::from_secs(30),
                ..RetryConfig::default()
            })
            .with_http_connector(Http { tls });
        store.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>).map_err(|e| one_line(&e.to_string()))
    }

    /// A fault in words, with the way out.
    fn fault(&self, error: &object_store::Error) -> String {
        let (S3 { bucket, access_key, .. }, endpoint) = (self, self.named());
        let text = chain(error);
        let code = text.split("<Code>").nth(1).and_then(|rest| rest.split("</Code>").next()).unwrap_or_default();
        let refused =
            matches!(error, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. });
        match code {
            "NoSuchBucket" => {
                format!("{endpoint} has no bucket {bucket:?}; make it, or name another one in [recording.upload] url")
            }
            "RequestTimeTooSkewed" => {
                format!("{endpoint} and this machine do not agree what time it is; set the clock")
            }
            _ if refused => format!(
                "{endpoint} does not let access key {access_key:?} write into bucket {bucket:?} ({}); check \
                 [recording.upload] access_key and secret_key, and that this key may put objects there",
                if code.is_empty() { "403" } else { code }
            ),
            _ if text.contains("invalid peer certificate") => format!(
                "{endpoint} is not believed: {}; {}",
                one_line(text.rsplit("HTTP error: ").next().unwrap_or(&text)),
                match text.contains("UnknownIssuer") {
                    true => "name who vouches for it in [recording.upload] ca",
                    false =>
                        "the certificate has to name the host of [recording.upload] endpoint, and its date has to be right",
                }
            ),
            _ if text.contains("HTTP error") => format!(
                "{endpoint} cannot be reached: {}; is it up, and [recording.upload] endpoint right?",
                one_line(text.rsplit("HTTP error: ").next().unwrap_or(&text))
            ),
            _ => format!("{endpoint}, bucket {bucket:?}: {}", one_line(&text)),
        }
    }
}

impl Destination {
    /// The name of a file there.
    pub(in crate::journal) fn url(&self, key: &str) -> String {
        format!("{self}/{key}")
    }

    pub(super) fn open(&self) -> Result<Arc<dyn ObjectStore>, String> {
        match self {
            Destination::S3(s3) => s3.open(),
            Destination::Folder(folder) => match LocalFileSystem::new_with_prefix(folder) {
                Ok(store) => Ok(Arc::new(store)),
                Err(_) if !folder.is_dir() => Err(format!("{} is not there; mount it", folder.display())),
                Err(e) => Err(format!("{} cannot be used: {}", folder.display(), one_line(&chain(&e)))),
            },
        }
    }

    fn fault(&self, error: &object_store::Error) -> String {
        match self {
            Destination::S3(s3) => s3.fault(error),
            Destination::Folder(folder) => {
                let way_out = "make room, or give the folder to the user that runs trunkline";
                format!("{} cannot be written: {}; {way_out}", folder.display(), one_line(&chain(error)))
            }
        }
    }

    /// The key of a file.
    fn key(&self, key: &str) -> Result<Key, object_store::Error> {
        match self {
            Destination::S3(s3) if !s3.prefix.is_empty() => Ok(Key::parse(format!("{}/{key}", s3.prefix))?),
            _ => Ok(Key::parse(key)?),
        }
    }

    fn attributes(&self, path: &Path) -> Attributes {
        let kind = match path.extension().and_then(|ending| ending.to_str()) {
            Some("wav") => "audio/wav",
            // RFC 7845 section 9.
            Some("opus") => "audio/ogg",
            _ => "application/json",
        };
        match self {
            Destination::S3(_) => Attributes::from_iter([(Attribute::ContentType, kind)]),
            // A file has none.
            Destination::Folder(_) => Attributes::new(),
        }
    }
}

/// Sends one file; says how long it is, or that there is none.
pub(super) async fn put(
    to: &Destination,
    store: &dyn ObjectStore,
    key: &str,
    path: &Path,
) -> Result<Option<u64>, Fault> {
    let own = |e: &io::Error| Fault {
        reason: format!("{} cannot be read: {e}; give it to the user that runs trunkline", path.display()),
        own: true,
    };
    let theirs = |e: object_store::Error| Fault { reason: to.fault(&e), own: false };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(own(&e)),
    };
    let key = to.key(key).map_err(|e| Fault { reason: one_line(&e.to_string()), own: true })?;
    let attributes = to.attributes(path);
    let (again, first) = part(file).await.map_err(|e| own(&e))?;
    file = again;
    let mut bytes = first.len() as u64;
    if first.len() < PART {
        let options = PutOptions { attributes, ..PutOptions::default() };
        store.put_opts(&key, PutPayload::from(first), options).await.map_err(theirs)?;
        return Ok(Some(bytes));
    }
    let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
    let mut upload = store.put_multipart_opts(&key, options).await.map_err(theirs)?;
    let sent = async {
        let mut next = first;
        // One after the other: what a long recording takes of the way out is bounded.
        while !next.is_empty() {
            upload.put_part(PutPayload::from(next)).await.map_err(theirs)?;
            let (again, part) = part(file).await.map_err(|e| own(&e))?;
            (file, next) = (again, part);
            bytes += next.len() as u64;
        }
        upload.complete().await.map_err(theirs)
    }
    .await;
    match sent {
        Ok(_) => Ok(Some(bytes)),
        Err(fault) => {
            // The parts that are there would cost; a service that cannot be reached keeps them all the same.
            let _ = upload.abort().await;
            Err(fault)
        }
    }
}

/// The next part of a file, read where waiting for a disk holds up nobody.
async fn part(mut file: File) -> io::Result<(File, Vec<u8>)> {
    let read = move || {
        let mut part = Vec::new();
        (&mut file).take(PART as u64).read_to_end(&mut part)?;
        Ok((file, part))
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}

/// An error with its causes.
fn chain(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect()
}
