//! Floor 5: what an operator's machines ask over HTTP/1.1: is it alive, does it take calls, how is it.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 `ok` while the process lives, or 503 with what has died in it, a line each |
//! | `/readyz` | 200 `ready`, or 503 with a reason a line |
//! | `/metrics` | OpenMetrics 1.0 text |
//!
//! GET and HEAD; nothing here reads a request's body, waits for a call or takes a lock that a call could hold. A
//! visitor has ten seconds to send a header of at most 16 KiB and a minute in all, and there are at most 64 of them: more are
//! hung up on, since their turn might never come.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

const HEADER_TIME: Duration = Duration::from_secs(10);
const VISIT_TIME: Duration = Duration::from_secs(60);
const HEADER_BYTES: usize = 16 * 1024;
const VISITORS: usize = 64;
/// How long answers may take that are under way when we shut down.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// `accept` fails when the process has no file descriptor left: trying again at once would only burn the processor.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

type Answer = Response<Full<Bytes>>;

/// What keeps the process from its work, each with who knows of it; empty: nothing does.
#[derive(Debug, Clone)]
pub struct Signs {
    /// What has died and is not coming back.
    pub broken: watch::Receiver<Vec<String>>,
    /// For what no calls should be sent here now.
    pub not_ready: Vec<watch::Receiver<Vec<String>>>,
}

/// Answers until `shutdown` is done, then finishes what is under way.
pub async fn serve(listener: TcpListener, registry: Arc<Registry>, signs: Signs, shutdown: impl Future<Output = ()>) {
    let face = Face { registry, signs };
    let (stop, stopped) = watch::channel(false);
    let mut visits = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            // Empties the set as visits end.
            Some(_) = visits.join_next() => {}
            visitor = listener.accept() => match visitor {
                Ok((_, from)) if visits.len() >= VISITORS => debug!(%from, "too many HTTP connections"),
                Ok((stream, _)) => {
                    visits.spawn(visit(stream, face.clone(), stopped.clone()));
                }
                Err(e) => {
                    warn!("HTTP accept: {e}");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
        }
    }
    drop(listener);
    // An error means that nobody visits.
    let _ = stop.send(true);
    let all_gone = async { while visits.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_ANSWERS, all_gone).await.is_err() {
        visits.abort_all();
    }
}

async fn visit(stream: TcpStream, face: Face, mut stopped: watch::Receiver<bool>) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = face.answer(request.method(), request.uri().path());
        async { Ok::<_, Infallible>(answer) }
    });
    let visit = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(visit);
    let until = tokio::time::sleep(VISIT_TIME);
    tokio::pin!(until);
    let mut leaving = false;
    loop {
        tokio::select! {
            done = &mut visit => {
                if let Err(e) = done {
                    debug!("HTTP connection: {e}");
                }
                return;
            }
            () = &mut until => return,
            _ = stopped.wait_for(|&stopped| stopped), if !leaving => {
                leaving = true;
                visit.as_mut().graceful_shutdown();
            }
        }
    }
}

#[derive(Clone)]
struct Face {
    registry: Arc<Registry>,
    signs: Signs,
}

impl Face {
    fn answer(&self, method: &Method, path: &str) -> Answer {
        let page = match path {
            "/healthz" => Face::health,
            "/readyz" => Face::readiness,
            "/metrics" => Face::metrics,
            _ => {
                return plain(StatusCode::NOT_FOUND, "there is /healthz, /readyz and /metrics\n");
            }
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(ALLOW, allowed);
            return refused;
        }
        page(self)
    }

    fn health(&self) -> Answer {
        unless(&self.signs.broken.borrow(), "ok\n")
    }

    fn readiness(&self) -> Answer {
        let reasons: Vec<_> = self.signs.not_ready.iter().flat_map(|told| told.borrow().clone()).collect();
        unless(&reasons, "ready\n")
    }

    fn metrics(&self) -> Answer {
        let mut encoded = String::new();
        if let Err(e) = text::encode(&mut encoded, &self.registry) {
            // Only a metric of our own that cannot be written does this.
            return plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{e}\n"));
        }
        with_type(StatusCode::OK, OPEN_METRICS, encoded)
    }
}

fn unless(reasons: &[String], well: &str) -> Answer {
    if reasons.is_empty() {
        return plain(StatusCode::OK, well);
    }
    plain(StatusCode::SERVICE_UNAVAILABLE, &(reasons.join("\n") + "\n"))
}

fn plain(status: StatusCode, text: &str) -> Answer {
    with_type(status, PLAIN, text.to_owned())
}

fn with_type(status: StatusCode, kind: HeaderValue, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    // A proxy's memory of yesterday's readiness helps nobody.
    let no_store = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(CACHE_CONTROL, no_store);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    struct Served {
        at: SocketAddr,
        broken: watch::Sender<Vec<String>>,
        speech: watch::Sender<Vec<String>>,
        doors: watch::Sender<Vec<String>>,
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    }

    async fn served() -> Served {
        let mut registry = Registry::default();
        let calls: Counter = Counter::default();
        calls.inc_by(17);
        registry.register("calls", "Calls", calls);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("bound");
        let (broken, is_broken) = watch::channel(vec![]);
        let (speech, no_speech) = watch::channel(vec![]);
        let (doors, no_entry) = watch::channel(vec![]);
        let signs = Signs { broken: is_broken, not_ready: vec![no_speech, no_entry] };
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve(listener, Arc::new(registry), signs, stopped));
        Served { at, broken, speech, doors, stop, task }
    }

    async fn ask(at: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(at).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut answer = String::new();
        // A refused visitor may be reset after its answer.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    async fn get(at: SocketAddr, path: &str) -> String {
        ask(at, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
    }

    #[tokio::test]
    async fn says_that_it_lives_and_whether_it_is_ready() {
        let served = served().await;
        let health = get(served.at, "/healthz").await;
        assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("\r\n\r\nok\n"));
        let ready = get(served.at, "/readyz?from=probe").await;
        assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("\r\n\r\nready\n"));
        served.speech.send(vec!["speech a: gone".into(), "speech b: gone".into()]).expect("served");
        served.doors.send(vec!["draining".into()]).expect("served");
        let ready = get(served.at, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        assert!(ready.ends_with("\r\n\r\nspeech a: gone\nspeech b: gone\ndraining\n"), "{ready}");
        assert!(get(served.at, "/healthz").await.starts_with("HTTP/1.1 200"));
        served.speech.send(vec![]).expect("served");
        served.doors.send(vec![]).expect("served");
        served.broken.send(vec!["media thread 0 has died".into()]).expect("served");
        assert!(get(served.at, "/readyz").await.starts_with("HTTP/1.1 200"));
        let health = get(served.at, "/healthz").await;
        assert!(
            health.starts_with("HTTP/1.1 503") && health.ends_with("\r\n\r\nmedia thread 0 has died\n"),
            "{health}"
        );
    }

    #[tokio::test]
    async fn metrics_are_open_metrics() {
        let served = served().await;
        let metrics = get(served.at, "/metrics").await;
        assert!(metrics.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
        assert!(metrics.contains("calls_total 17\n"), "{metrics}");
        assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    }

    #[tokio::test]
    async fn refuses_what_it_has_not() {
        let served = served().await;
        for (request, status) in [
            ("GET /etc/passwd HTTP/1.1\r\n", "404"),
            ("GET / HTTP/1.1\r\n", "404"),
            ("POST /healthz HTTP/1.1\r\nContent-Length: 99999\r\n", "405"),
            ("DELETE /metrics HTTP/1.1\r\n", "405"),
            ("nonsense\r\n", "400"),
        ] {
            let request = format!("{request}Host: x\r\nConnection: close\r\n\r\n");
            let answer = ask(served.at, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}{answer}");
        }
        let long = format!("GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(HEADER_BYTES));
        let answer = ask(served.at, &long).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        let head = ask(served.at, "HEAD /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[tokio::test]
    async fn silent_visitors_do_not_keep_others_out_for_long() {
        let served = served().await;
        let mut silent = Vec::new();
        for _ in 0..VISITORS {
            let mut stream = TcpStream::connect(served.at).await.expect("connects");
            stream.write_all(b"GET /heal").await.expect("writes");
            silent.push(stream);
        }
        // The sixty-fifth is hung up on. Those before it are counted as soon as they are accepted, in order.
        assert_eq!(get(served.at, "/healthz").await, "");
        silent.pop();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(get(served.at, "/healthz").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn shuts_down_with_visitors_who_will_not_leave() {
        let served = served().await;
        let mut idle = TcpStream::connect(served.at).await.expect("connects");
        idle.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await.expect("writes");
        let mut silent = TcpStream::connect(served.at).await.expect("connects");
        silent.write_all(b"GET /heal").await.expect("writes");
        tokio::time::sleep(Duration::from_millis(50)).await;
        served.stop.send(()).expect("served");
        let ended = tokio::time::timeout(Duration::from_secs(5), served.task).await;
        ended.expect("in time").expect("no panic");
        assert!(TcpStream::connect(served.at).await.is_err(), "the port is free");
        let mut answer = String::new();
        idle.read_to_string(&mut answer).await.expect("closed politely");
        assert!(answer.contains("200 OK"));
    }
}
