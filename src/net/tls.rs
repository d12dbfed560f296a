//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446; RFC 5922 for names) by rustls: our certificate, whom we believe, and both anew when the files change.
//!
//! A connection keeps what it was made with; the next one takes what is on disk by then. A file that cannot be used leaves everything as it was.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::{Metrics, expiry};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long before its end a certificate is told of, and how often.
const ENDS_SOON: Duration = Duration::from_secs(14 * 86_400);
const REMIND: Duration = Duration::from_secs(86_400);

/// A certificate, with its chain, and its key: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and after it those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What we show to who connects to us, and ask of him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// Ours.
    pub identity: Identity,
    /// Who vouches for those that connect; `None`: they are not asked.
    pub client_ca: Option<PathBuf>,
    /// Who shows no certificate is refused.
    pub require_client: bool,
}

/// Whom we believe when we connect, and what we show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The name, or address, that has to stand in the far side's certificate.
    pub name: String,
    /// Who vouches for it; `None`: those whom the system believes.
    pub ca: Option<PathBuf>,
    /// Ours, when it is asked for.
    pub identity: Option<Identity>,
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {reason}", file.display())]
pub struct TlsError {
    /// Which.
    pub file: PathBuf,
    /// Why.
    pub reason: String,
}

impl TlsError {
    fn new(file: &Path, reason: impl Into<String>) -> TlsError {
        TlsError { file: file.to_owned(), reason: reason.into() }
    }
}

impl Identity {
    fn load(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let certificates = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| TlsError::new(&self.key, unreadable("key", &error)))?;
        Ok((certificates, key))
    }
}

impl ServerFiles {
    /// Reads all files.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let (chain, key) = self.identity.load()?;
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| TlsError::new(&self.identity.certificate, error.to_string()))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider());
                let verifier = if self.require_client { verifier } else { verifier.allow_unauthenticated() };
                builder
                    .with_client_cert_verifier(verifier.build().map_err(|error| TlsError::new(ca, error.to_string()))?)
            }
        };
        let config = builder.with_single_cert(chain, key);
        config
            .map(Arc::new)
            .map_err(|error| TlsError::new(&self.identity.key, format!("does not go with its certificate: {error}")))
    }

    fn paths(&self) -> Vec<PathBuf> {
        let Identity { certificate, key } = &self.identity;
        [certificate, key].into_iter().chain(&self.client_ca).cloned().collect()
    }
}

impl ClientFiles {
    /// Reads all files.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let roots = match &self.ca {
            Some(ca) => roots(ca)?,
            None => system_roots(),
        };
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| TlsError::new(Path::new(""), error.to_string()))?;
        let builder = builder.with_root_certificates(roots);
        let Some(identity) = &self.identity else { return Ok(Arc::new(builder.with_no_client_auth())) };
        let (chain, key) = identity.load()?;
        let config = builder.with_client_auth_cert(chain, key);
        config
            .map(Arc::new)
            .map_err(|error| TlsError::new(&identity.key, format!("does not go with its certificate: {error}")))
    }

    fn paths(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|i| [&i.certificate, &i.key]);
        self.ca.iter().chain(identity).cloned().collect()
    }
}

/// The name that a certificate has to have.
///
/// # Errors
/// It is neither a host name nor an address.
pub fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| TlsError::new(file, unreadable("certificate", &error)))?;
    if found.is_empty() {
        return Err(TlsError::new(file, "holds no certificate in PEM form"));
    }
    Ok(found)
}

fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::new(file, format!("holds a certificate that is none: {error}")))?;
    }
    Ok(roots)
}

/// Those whom the system believes; a system without any believes nobody, and then no connection comes about.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn unreadable(what: &str, error: &impl std::fmt::Display) -> String {
    format!("cannot be read as a {what} in PEM form: {error}")
}

/// Takes the handshakes of those that connect.
#[derive(Debug, Clone)]
pub(super) struct Acceptor(watch::Receiver<Arc<ServerConfig>>);

impl Acceptor {
    pub(super) fn new(
        files: &ServerFiles,
        reload: &watch::Sender<u64>,
        metrics: &Arc<super::Metrics>,
    ) -> Result<Acceptor, TlsError> {
        let (files, paths, own) = (files.clone(), files.paths(), Some(files.identity.certificate.clone()));
        keep(move || files.load(), paths, own, reload, metrics).map(Acceptor)
    }

    /// The stream, and whether a certificate has told who it is.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<(server::TlsStream<TcpStream>, bool)> {
        let config = self.0.borrow().clone();
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let verified = stream.get_ref().1.peer_certificates().is_some();
        Ok((stream, verified))
    }
}

/// Makes the connections of one trunk.
#[derive(Debug)]
pub(super) struct Client {
    name: ServerName<'static>,
    config: watch::Receiver<Arc<ClientConfig>>,
}

impl Client {
    pub(super) fn new(
        files: &ClientFiles,
        reload: &watch::Sender<u64>,
        metrics: &Arc<Metrics>,
    ) -> Result<Client, TlsError> {
        let name = server_name(&files.name).map_err(|reason| TlsError::new(Path::new(&files.name), reason))?;
        let own = files.identity.as_ref().map(|identity| identity.certificate.clone());
        let (files, paths) = (files.clone(), files.paths());
        Ok(Client { name, config: keep(move || files.load(), paths, own, reload, metrics)? })
    }

    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<client::TlsStream<TcpStream>> {
        let config = self.config.borrow().clone();
        TlsConnector::from(config).connect(self.name.clone(), stream).await
    }
}

/// Loads, and loads again when one of the files has changed or `reload` says so; tells when our `own` certificate is about to end. Must be called within a tokio runtime.
fn keep<C: Send + Sync + 'static>(
    load: impl Fn() -> Result<Arc<C>, TlsError> + Send + Sync + 'static,
    paths: Vec<PathBuf>,
    own: Option<PathBuf>,
    reload: &watch::Sender<u64>,
    metrics: &Arc<Metrics>,
) -> Result<watch::Receiver<Arc<C>>, TlsError> {
    let stamps = move || paths.iter().map(|path| stamp(path)).collect::<Vec<_>>();
    let mut seen = stamps();
    let (current, kept) = watch::channel(load()?);
    let (mut reload, metrics) = (reload.subscribe(), metrics.clone());
    tokio::spawn(async move {
        let mut remind = Instant::now();
        loop {
            if let Some(own) = own.as_ref().filter(|_| remind <= Instant::now()) {
                tell_end(own, &metrics);
                remind = Instant::now() + REMIND;
            }
            let asked = tokio::select! {
                asked = reload.changed() => match asked {
                    Ok(()) => true,
                    Err(_) => return,
                },
                () = tokio::time::sleep(LOOK) => false,
                () = current.closed() => return,
            };
            let now = stamps();
            if !asked && now == seen {
                continue;
            }
            seen = now;
            match load() {
                Ok(config) => {
                    metrics.reloaded("done");
                    tracing::info!("certificates read again; new connections have the new ones");
                    current.send_replace(config);
                    remind = Instant::now();
                }
                Err(error) => {
                    metrics.reloaded("failed");
                    tracing::error!(%error, "certificates cannot be read again; those from before stay in use");
                }
            }
        }
    });
    Ok(kept)
}

/// Counts when a certificate of ours ends, and warns when that is soon or over: peers will not believe it then.
fn tell_end(file: &Path, metrics: &Metrics) {
    let first = certificates(file).ok().and_then(|all| expiry::not_after(all.first()?));
    let Some(end) = first else { return };
    metrics.expires(file, end);
    match end.duration_since(SystemTime::now()) {
        Err(_) => {
            tracing::error!(file = %file.display(), "our certificate has expired: peers refuse it; put a new one there")
        }
        Ok(left) if left < ENDS_SOON => {
            let days = left.as_secs() / 86_400;
            tracing::warn!(file = %file.display(), days, "our certificate expires soon: put a new one there");
        }
        Ok(_) => {}
    }
}

/// By what a file that was written anew is known.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
