//! An S3 service that checks signatures: `moto_server`, of PyPI's `moto`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use trunkline::net::tls::{ClientFiles, server_name};

/// One that runs, with a key. Killed when it is dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    port: u16,
    /// Who vouches for it, where it speaks TLS.
    ca: Option<PathBuf>,
    /// The key that may do everything.
    pub access_key: String,
    pub secret_key: String,
}

/// How many requests are taken without a signature: those by which the key is made.
const FREE: &str = "3";

impl Service {
    /// Starts it; from then on every request has to be signed.
    pub async fn start(port: u16, folder: &Path) -> Service {
        Service::start_as(port, folder, None).await
    }

    /// The same over TLS, with a certificate for 127.0.0.1 of an authority of its own: `ca.pem` in the folder.
    pub async fn start_tls(port: u16, folder: &Path) -> Service {
        Service::start_as(port, folder, Some(super::certificates(folder, 4096))).await
    }

    async fn start_as(port: u16, folder: &Path, files: Option<[PathBuf; 3]>) -> Service {
        let log = File::create(folder.join("moto.log")).expect("a file for its log");
        let child = Command::new(super::of_pypi("moto_server"))
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .args(files.iter().flat_map(|[_, own, key]| {
                ["--ssl".as_ref(), "--ssl-cert".as_ref(), own.as_os_str(), "--ssl-key".as_ref(), key.as_os_str()]
            }))
            .env("INITIAL_NO_AUTH_ACTION_COUNT", FREE)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("moto_server: {error}; scripts/setup test installs it"));
        let ca = files.map(|[ca, ..]| ca);
        let mut service = Service { child, port, ca, access_key: String::new(), secret_key: String::new() };
        super::soon("moto listens", Duration::from_secs(60), async || {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        let iam = async |form: &str| {
            let (status, body) = service.ask("POST", "/", "iam", form.as_bytes()).await;
            assert_eq!(status, 200, "{form}: {}", String::from_utf8_lossy(&body));
            body
        };
        iam("Action=CreateUser&UserName=robot&Version=2010-05-08").await;
        let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C\
                      %22Action%22%3A%22s3%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
        let put =
            format!("Action=PutUserPolicy&UserName=robot&PolicyName=all&PolicyDocument={policy}&Version=2010-05-08");
        iam(&put).await;
        let key = iam("Action=CreateAccessKey&UserName=robot&Version=2010-05-08").await;
        let key = String::from_utf8_lossy(&key).into_owned();
        let between = |name: &str| {
            let rest = key.split(&format!("<{name}>")).nth(1).unwrap_or_else(|| panic!("no {name} in {key}"));
            rest.split('<').next().unwrap_or_default().to_owned()
        };
        (service.access_key, service.secret_key) = (between("AccessKeyId"), between("SecretAccessKey"));
        service
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        format!("http{}://127.0.0.1:{}", if self.ca.is_some() { "s" } else { "" }, self.port)
    }

    /// Asks without a signature, which it takes this once.
    pub async fn unsigned(&self, method: &str, path: &str) -> Vec<u8> {
        for _ in 0..10 {
            self.ask("POST", "/moto-api/reset-auth", "moto", b"1").await;
            // Trunkline may just have asked, and taken the one that was free.
            let (status, body) = self.ask(method, path, "s3", b"").await;
            match status {
                200 => return body,
                403 => {}
                _ => panic!("{method} {path}: {status} {}", String::from_utf8_lossy(&body)),
            }
        }
        panic!("{method} {path}: always refused");
    }

    async fn ask(&self, method: &str, path: &str, service: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("it listens");
        let kind = if service == "iam" { "application/x-www-form-urlencoded" } else { "application/octet-stream" };
        // By the signature, right or wrong, it knows which of its services is meant.
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: {kind}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=x/20200101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n",
            self.port,
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        let mut answer = match &self.ca {
            None => exchange(stream, &request).await,
            Some(ca) => {
                let files = ClientFiles { name: String::new(), ca: Some(ca.clone()), identity: None };
                let tls = TlsConnector::from(files.load().expect("certificates"));
                let name = server_name("127.0.0.1").expect("an address");
                exchange(tls.connect(name, stream).await.expect("it speaks TLS"), &request).await
            }
        };
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let body = answer.split_off(end);
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), body)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).await.expect("it reads");
    stream.flush().await.expect("it reads");
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        Ok(_) => {}
        // It ends its connections without a word of TLS.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
        Err(error) => panic!("it does not answer: {error}"),
    }
    answer
}

/// Writes `[recording.upload]` into a configuration that is written.
pub fn upload_to(config: &Path, lines: &str) {
    let mut text = fs::read_to_string(config).expect("the configuration");
    text.push_str(&format!("[recording.upload]\n{lines}\n"));
    fs::write(config, text).expect("it is written");
}
