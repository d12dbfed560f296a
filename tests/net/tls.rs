use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ProtocolVersion, version};
use tokio_rustls::{TlsConnector, client::TlsStream};

use trunkline::net::tls::{ClientFiles, Identity, ServerFiles};
use trunkline::sip::transport::Transport::Tls;

use super::*;

/// A folder with an authority and what it has vouched for; gone when dropped.
struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("trunkline-tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Authority { folder, issuer }
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for a name, in files of another one.
    fn issue(&self, file: &str, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |kind: &str| self.folder.join(format!("{file}.{kind}"));
        fs::write(path("key"), key.serialize_pem()).unwrap();
        fs::write(path("pem"), certificate.pem()).unwrap();
        Identity { certificate: path("pem"), key: path("key") }
    }

    fn server(&self, name: &str) -> ServerFiles {
        ServerFiles { identity: self.issue("server", name, |_| {}), client_ca: None, require_client: false }
    }

    fn client(&self, name: &str) -> ClientFiles {
        ClientFiles { name: name.to_owned(), ca: Some(self.ca()), identity: None }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Our side, and where it listens for TLS.
fn secure(files: &ServerFiles) -> (Bench, SocketAddr) {
    let at = free("127.0.0.1");
    (Bench::with(|config| config.tls = Some((vec![at], files.clone()))), at)
}

async fn connect(at: SocketAddr, files: &ClientFiles) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(at).await?;
    let name = ServerName::try_from(files.name.clone()).unwrap();
    soon(TlsConnector::from(files.load().unwrap()).connect(name, stream)).await
}

/// Who shows the certificate that is asked for hears an answer; TLS 1.3 lets others connect, and then hang up.
async fn is_served(at: SocketAddr, files: &ClientFiles) -> bool {
    let Ok(mut peer) = connect(at, files).await else { return false };
    let mut pong = [0; 2];
    peer.write_all(b"\r\n\r\n").await.is_ok() && soon(peer.read_exact(&mut pong)).await.is_ok()
}

#[tokio::test]
async fn messages_go_both_ways_by_tls_and_only_where_the_name_and_the_authority_are_right() {
    let authority = Authority::new();
    let (mut server, at) = secure(&authority.server("sip.example.com"));
    let (mut client, own) = secure(&authority.server("robot.example.com"));
    let trunk = client.net.for_trunk(&authority.client("sip.example.com")).unwrap();
    let to = Target::Addr(at);
    let invite = request("INVITE", "TLS", own, "s1");
    trunk.send(&to, invite.as_bytes()).await.unwrap();
    let (transport, source, heard) = server.message().await;
    assert_eq!((transport, heard), (Tls, invite));
    let answer = response("TLS", own, "s1");
    server.send(source, &answer).await;
    assert_eq!(client.message().await, (Tls, at, answer));

    let stranger = Authority::new();
    for files in [authority.client("other.example.com"), stranger.client("sip.example.com")] {
        let trunk = client.net.for_trunk(&files).unwrap();
        trunk.send(&to, request("INVITE", "TLS", own, "s2").as_bytes()).await.unwrap();
        assert_eq!(client.unsent().await, ("s2".to_owned(), to.clone()));
    }
    assert_eq!(counted(&client.metrics, "sip_connections_failed_total{reason=\"handshake\"}"), 2.0);
    until_counted(&server.metrics, "sip_connections_refused_total{reason=\"handshake\"}", 2.0).await;
}

#[tokio::test]
async fn an_expired_certificate_is_not_believed() {
    let authority = Authority::new();
    let identity = authority.issue("old", "sip.example.com", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let (_server, at) = secure(&ServerFiles { identity, client_ca: None, require_client: false });
    let (mut client, own) = secure(&authority.server("robot.example.com"));
    let trunk = client.net.for_trunk(&authority.client("sip.example.com")).unwrap();
    trunk.send(&Target::Addr(at), request("INVITE", "TLS", own, "e1").as_bytes()).await.unwrap();
    let (call_id, _, why) = client.kept_back().await;
    assert!(call_id == "e1" && why.contains("certificate expired"), "{call_id}: {why}");
    assert_eq!(counted(&client.metrics, "sip_connections_failed_total{reason=\"handshake\"}"), 1.0);
}

#[tokio::test]
async fn who_shows_no_certificate_is_refused_where_one_is_required() {
    let authority = Authority::new();
    let files = authority.server("sip.example.com");
    let mutual = |require_client| ServerFiles { client_ca: Some(authority.ca()), require_client, ..files.clone() };
    let stranger = Authority::new();
    let plain = authority.client("sip.example.com");
    let known = ClientFiles { identity: Some(authority.issue("known", "peer.example.com", |_| {})), ..plain.clone() };
    let unknown = ClientFiles { identity: Some(stranger.issue("unknown", "peer", |_| {})), ..plain.clone() };
    for (require, who, served) in [
        (true, &plain, false),
        (true, &known, true),
        (true, &unknown, false),
        (false, &plain, true),
        (false, &unknown, false),
    ] {
        let (_bench, at) = secure(&mutual(require));
        assert_eq!(is_served(at, who).await, served, "{require} {who:?}");
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    let authority = Authority::new();
    let (_bench, at) = secure(&authority.server("sip.example.com"));
    for (version, spoken) in [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
    {
        let mut roots = tokio_rustls::rustls::RootCertStore::empty();
        roots.add(authority.issuer.der().clone()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = tokio_rustls::rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(at).await.unwrap();
        let name = ServerName::try_from("sip.example.com").unwrap();
        let mut peer = soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap();
        assert_eq!(peer.get_ref().1.protocol_version(), Some(spoken));
        peer.write_all(b"\r\n\r\n").await.unwrap();
        assert_eq!(read(&mut peer, 2).await, "\r\n");
    }
}

#[tokio::test]
async fn a_changed_certificate_is_shown_to_the_next_one_and_disturbs_nobody() {
    let authority = Authority::new();
    let (mut bench, at) = secure(&authority.server("old.example.com"));
    let mut before = connect(at, &authority.client("old.example.com")).await.unwrap();
    authority.issue("server", "new.example.com", |_| {});
    bench.net.reload();
    let new = authority.client("new.example.com");
    while !is_served(at, &new).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!is_served(at, &authority.client("old.example.com")).await);
    // The one from before is still there.
    let options = request("OPTIONS", "TLS", free("127.0.0.1"), "still");
    before.write_all(options.as_bytes()).await.unwrap();
    assert_eq!(bench.message().await.2, options);
    let end = format!("tls_certificate_end_seconds{{file=\"{}\"}}", authority.folder.join("server.pem").display());
    // 1 January 4096, as rcgen has it.
    until_counted(&bench.metrics, &end, 67_090_118_400.0).await;
    // A file that cannot be used changes nothing.
    fs::write(authority.folder.join("server.pem"), "nonsense").unwrap();
    bench.net.reload();
    until_counted(&bench.metrics, "tls_reloads_total{reason=\"failed\"}", 1.0).await;
    assert!(is_served(at, &new).await);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let good = authority.server("a");
    let other = authority.issue("other", "b", |_| {});
    let with = |certificate: &Path, key: &Path| ServerFiles {
        identity: Identity { certificate: certificate.into(), key: key.into() },
        ..good.clone()
    };
    let Identity { certificate, key } = &good.identity;
    assert!(good.load().is_ok());
    for (files, file, reason) in [
        (with(Path::new("/no/such.pem"), key), Path::new("/no/such.pem"), "cannot be read"),
        (with(key, key), key.as_path(), "holds no certificate"),
        (with(certificate, certificate), certificate.as_path(), "cannot be read as a key"),
        (with(certificate, &other.key), other.key.as_path(), "does not go with its certificate"),
        (ServerFiles { client_ca: Some(key.clone()), ..good.clone() }, key.as_path(), "holds no certificate"),
    ] {
        let error = files.load().unwrap_err();
        assert_eq!(error.file, file);
        assert!(error.reason.starts_with(reason), "{error}");
    }
}
