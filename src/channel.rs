//! How the shells `dialogue` and `speech` reach a gRPC service: one HTTP/2 connection, made when it is first needed, shared by all
//! calls and made anew when it broke; of a service with several endpoints one for each ([`pool`]).
//!
//! Windows: one stream may have 64 KiB under way, one of synthesis 4 KiB (a quarter of a second at 8 kHz: what waits is memory of the call), a connection 16 MiB, so that a stream
//! which nobody reads for a while does not hold up the others. A service that is gone is noticed by TCP keep-alive, within 25 s, also in
//! the middle of a silent stream. HTTP/2 pings stay off: gRPC's own servers (C++, Python, Go, Java) take more than one in five
//! minutes for an attack and answer with GOAWAY `too_many_pings`, which would end every call on the connection. A process that hangs while
//! its kernel lives is noticed by the time-outs of those who wait for its answers.

mod coalesce;
mod direct;
mod patient;
pub mod pool;
mod slices;

use std::error::Error;
use std::time::Duration;

use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use coalesce::Connector;
pub use direct::{Direct, Refused, Sending};
pub use slices::Slicing;

/// What a stream may have under way, in bytes.
const ROOMY: u32 = 64 * 1024;
/// … where it is the far end that has to wait, because it has more than is wanted yet.
const NARROW: u32 = 4 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// A peer that is gone: 10 s of silence, then three questions.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// The largest message that is taken from a service.
pub const MAX_MESSAGE: usize = 1024 * 1024;

/// A service cannot be reached as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("service {name:?}: endpoint {endpoint:?}: {reason}; write it as http://host:port")]
pub struct BadEndpoint {
    /// The service's configured name.
    pub name: String,
    /// What was configured.
    pub endpoint: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A channel that connects when it is first used. Must be called within a tokio runtime.
///
/// `connect_timeout` is for TCP's connection; what comes after it is bounded by those who ask.
pub fn lazy(name: &str, endpoint: &str, connect_timeout: Duration) -> Result<Channel, BadEndpoint> {
    let endpoint = configured(name, endpoint, connect_timeout)?;
    Ok(endpoint
        .initial_stream_window_size(ROOMY)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEPALIVE))
        .tcp_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .tcp_keepalive_retries(Some(KEEPALIVE_RETRIES))
        .connect_lazy())
}

/// As [`lazy`], for streams whose far end has more than is wanted yet: little of it waits here. Each of the many small words that it may go
/// on waits up to 2 ms for others.
pub fn lazy_sparing(name: &str, endpoint: &str, connect_timeout: Duration) -> Result<Slicing, BadEndpoint> {
    let endpoint = configured(name, endpoint, connect_timeout)?;
    let connector = Connector { keepalive: keepalive(), patience: Duration::from_millis(2) };
    Ok(Slicing(endpoint.initial_stream_window_size(NARROW).connect_with_connector_lazy(connector)))
}

/// As [`lazy`], for streams of many small messages ([`direct`]): what many calls have in the same moment is written together, and a few messages
/// wait up to 4 ms for others.
pub fn lazy_direct(name: &str, endpoint: &str, connect_timeout: Duration) -> Result<Direct, BadEndpoint> {
    let configured = configured(name, endpoint, connect_timeout)?;
    let connector = Connector { keepalive: keepalive(), patience: Duration::from_millis(4) };
    match configured.uri().authority() {
        Some(authority) => Ok(Direct::new(authority.clone(), connector, connect_timeout)),
        None => Err(bad(name, endpoint, "names no host")),
    }
}

fn keepalive() -> socket2::TcpKeepalive {
    socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES)
}

fn bad(name: &str, endpoint: &str, reason: &str) -> BadEndpoint {
    BadEndpoint { name: name.to_owned(), endpoint: endpoint.to_owned(), reason: reason.to_owned() }
}

fn configured(name: &str, endpoint: &str, connect_timeout: Duration) -> Result<Endpoint, BadEndpoint> {
    let bad = |reason| bad(name, endpoint, reason);
    let parsed = Endpoint::from_shared(endpoint.to_owned()).map_err(|_| bad("is not a URI"))?;
    let uri = parsed.uri();
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(bad("TLS to services is not built yet")),
        _ => return Err(bad("is not an http URI")),
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(bad("names no host"));
    }
    if uri.port_u16().is_none_or(|port| port == 0) {
        return Err(bad("names no port"));
    }
    if uri.path_and_query().is_some_and(|p| p != "/") {
        return Err(bad("has a path"));
    }
    let patient = parsed.executor(patient::Executor);
    Ok(patient.connect_timeout(connect_timeout).initial_connection_window_size(CONNECTION_WINDOW))
}

/// A status in words, with the cause that tonic keeps beside it ("connection refused"), on one line.
pub fn in_words(status: &Status) -> String {
    let mut words = format!("{:?}", status.code());
    let mut add = |text: &str| {
        if !text.is_empty() && !words.contains(text) {
            words.push_str(": ");
            words.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400));
        }
    };
    add(status.message());
    let mut cause = status.source();
    while let Some(error) = cause {
        add(&error.to_string());
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_http_with_host_and_port() {
        let second = Duration::from_secs(1);
        assert!(lazy("a", "http://127.0.0.1:50051", second).is_ok());
        assert!(lazy("a", "http://[::1]:50051/", second).is_ok());
        for (endpoint, reason) in [
            ("https://brain:443", "TLS to services is not built yet"),
            ("brain:50051", "is not an http URI"),
            ("http://brain", "names no port"),
            ("http://brain:0", "names no port"),
            ("http://brain:1/path", "has a path"),
            ("http://bra in:1", "is not a URI"),
            ("", "is not a URI"),
        ] {
            let error = lazy("a", endpoint, second).expect_err(endpoint);
            assert_eq!(error.reason, reason, "{endpoint}");
            assert!(error.to_string().contains("\"a\""), "{error}");
        }
    }

    #[test]
    fn words_stay_on_one_line() {
        assert_eq!(in_words(&Status::internal("a\r\nb")), "Internal: a  b");
        assert_eq!(in_words(&Status::cancelled("")), "Cancelled");
    }
}
