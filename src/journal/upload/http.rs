//! HTTP for `object_store`: HTTP/1.1 (RFC 9112) over TCP or TLS, a connection for each request.
//!
//! Its own way would be `reqwest`, which brings HTTP/2 and a second TLS library along; a recording takes one request, a long one one for
//! each part of 5 MiB, so that there is next to nothing to gain from keeping connections.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use crate::net::tls::server_name;

/// TCP and TLS together may take so long.
const CONNECT: Duration = Duration::from_secs(10);
/// A request and its answer may: 44 kB a second are enough for a part of a long recording.
const EXCHANGE: Duration = Duration::from_secs(120);
/// What a service may answer; it has little to say.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// Makes connections.
#[derive(Debug, Clone)]
pub(super) struct Http {
    /// Whom we believe; `None`: the endpoint is `http://`.
    pub tls: Option<Arc<ClientConfig>>,
}

impl HttpConnector for Http {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let uri = request.uri().clone();
        let host = uri.host().unwrap_or_default().to_owned();
        let port = uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = within(CONNECT, HttpErrorKind::Connect, TcpStream::connect((bare, port))).await?;
        let Some(tls) = &self.tls else { return exchange(stream, request).await };
        let name = server_name(&host).map_err(|reason| wrong(HttpErrorKind::Connect, reason))?;
        let tls = TlsConnector::from(tls.clone());
        let stream = within(CONNECT, HttpErrorKind::Connect, tls.connect(name, stream)).await?;
        exchange(stream, request).await
    }
}

/// One request, one answer.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: HttpRequest,
) -> Result<HttpResponse, HttpError> {
    let uri = request.uri().clone();
    if let Some(authority) = uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    // RFC 9112 §3.2.1: to a server itself goes the path alone.
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|e| wrong::<hyper::http::uri::InvalidUri>(HttpErrorKind::Unknown, e))?;
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It moves as long as its request does, and ends with it.
        let (answer, _) = tokio::join!(
            async {
                let answer = sender.send_request(request).await;
                drop(sender);
                let (head, body) = answer.map_err(Box::<dyn Error + Send + Sync>::from)?.into_parts();
                let body = Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes();
                Ok::<_, Box<dyn Error + Send + Sync>>(HttpResponse::from_parts(head, HttpResponseBody::from(body)))
            },
            connection
        );
        answer
    };
    within(EXCHANGE, HttpErrorKind::Interrupted, exchange).await
}

async fn within<T, E: Into<Box<dyn Error + Send + Sync>>>(
    time: Duration,
    kind: HttpErrorKind,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, HttpError> {
    match timeout(time, work).await {
        Ok(done) => done.map_err(|e| HttpError::new_boxed(kind, e.into())),
        Err(_) => {
            let silent = format!("no answer within {} s", time.as_secs());
            Err(HttpError::new_boxed(HttpErrorKind::Timeout, silent.into()))
        }
    }
}

fn wrong<E: Into<Box<dyn Error + Send + Sync>>>(kind: HttpErrorKind, error: E) -> HttpError {
    HttpError::new_boxed(kind, error.into())
}
