//! How the shells `dialogue` and `speech` reach a gRPC service: an HTTP/2 connection, made when it is first needed, shared by all calls and made
//! anew when it broke, and more of them where the far end takes few streams on one ([`connections`]); of a service with several endpoints so for
//! each ([`pool`]).
//!
//! Windows: one stream may have 64 KiB under way, one of synthesis 4 KiB (a quarter of a second at 8 kHz: what waits is memory of the call), a
//! connection 16 MiB, so that a stream which nobody reads for a while does not hold up the others. A service that is gone is noticed by TCP,
//! within 25 s: by keep-alive in the middle of a silent stream, by what is not acknowledged in another. HTTP/2 pings stay off: gRPC's own
//! servers (C++, Python, Go, Java) take more than one in five minutes for an attack and answer with GOAWAY `too_many_pings`, which would end
//! every call on the connection. A process that hangs while its kernel lives is noticed by the time-outs of those who wait for its answers.

mod client;
mod coalesce;
mod connections;
mod patient;
pub mod pool;
#[cfg(test)]
pub(crate) mod refusing;

use std::error::Error;
use std::time::Duration;

use tonic::Status;
use tonic::codegen::http::Uri;

pub use client::{Anew, Answers, Client, Refused, Sending, unseen};

/// Of all streams of a connection, in bytes.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// The largest message that is taken from a service.
const MAX_MESSAGE: usize = 1024 * 1024;

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

/// How the streams of a connection are used.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// What a stream may have under way to us, in bytes.
    window: u32,
    /// How long a few bytes to the far end may wait for others. What is written in one turn always goes out together.
    patience: Duration,
}

impl Manner {
    /// Words: both ways, each as it comes.
    pub const PROMPT: Manner = Manner { window: 64 * 1024, patience: Duration::ZERO };
    /// Our far end has more than is wanted yet: it has to wait, little of it waits here.
    pub const SPARING: Manner = Manner { window: 4 * 1024, ..Manner::PROMPT };
    /// We send much in small pieces, many calls in nearly the same moment.
    pub const TOGETHER: Manner = Manner { patience: Duration::from_millis(4), ..Manner::PROMPT };
}

/// A client that connects when it is first used. Must be called within a tokio runtime.
///
/// `connect_timeout` is for TCP's connection, for the far end's first word after it, and for room where the far end takes no more streams; what
/// comes after it is bounded by those who ask.
///
/// # Errors
/// An endpoint that is not `http://host:port`.
pub fn client(name: &str, endpoint: &str, manner: Manner, connect_timeout: Duration) -> Result<Client, BadEndpoint> {
    let bad =
        |reason: &str| BadEndpoint { name: name.to_owned(), endpoint: endpoint.to_owned(), reason: reason.to_owned() };
    let uri: Uri = endpoint.parse().map_err(|_| bad("is not a URI"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(bad("TLS to services is not built yet")),
        _ => return Err(bad("is not an http URI")),
    }
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return Err(bad("names no host"));
    };
    if authority.port_u16().is_none_or(|port| port == 0) {
        return Err(bad("names no port"));
    }
    if uri.path_and_query().is_some_and(|p| p != "/") {
        return Err(bad("has a path"));
    }
    Ok(Client::new(authority.clone(), manner, connect_timeout))
}

/// A status in words, with what it has as its cause, on one line.
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
        let lazy = |endpoint| client("a", endpoint, Manner::PROMPT, second);
        assert!(lazy("http://127.0.0.1:50051").is_ok());
        assert!(lazy("http://[::1]:50051/").is_ok());
        for (endpoint, reason) in [
            ("https://brain:443", "TLS to services is not built yet"),
            ("brain:50051", "is not an http URI"),
            ("http://brain", "names no port"),
            ("http://brain:0", "names no port"),
            ("http://brain:1/path", "has a path"),
            ("http://bra in:1", "is not a URI"),
            ("", "is not a URI"),
        ] {
            let error = lazy(endpoint).expect_err(endpoint);
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
