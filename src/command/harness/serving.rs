//! The services of a bench, on one thread of their own, so that their cost can be told apart.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::Trouble;
use super::signalling::phone_of;
use crate::proto::dialogue::v1::dialogue_server::{Dialogue, DialogueServer};
use crate::proto::dialogue::v1::{Begin, Direction};
use crate::proto::speech::v1::speech_server::{Speech, SpeechServer};

/// Streams on one connection, for who does not ask how many: as good as any number.
pub(in crate::command) const STREAMS: u32 = 100_000;

/// Serves both on a free port, and says on which; until the process ends. `streams`: how many it takes on one connection.
pub(in crate::command) fn start(services: impl Speech + Dialogue + Clone, streams: u32) -> Result<u16, Trouble> {
    let routes = Routes::new(SpeechServer::new(services.clone())).add_service(DialogueServer::new(services));
    let wrong = |error: std::io::Error| Trouble::Socket(format!("services: {error}"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(wrong)?;
    let port = listener.local_addr().map_err(wrong)?.port();
    listener.set_nonblocking(true).map_err(wrong)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(wrong)?;
    let thread = std::thread::Builder::new().name("load-services".to_owned());
    let run = move || {
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener)?;
            let mut server = Server::builder()
                .max_concurrent_streams(Some(streams))
                .initial_stream_window_size(Some(1 << 20))
                .initial_connection_window_size(Some(1 << 26));
            server.add_routes(routes).serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))).await?;
            Ok::<(), Box<dyn std::error::Error>>(())
        })
    };
    thread.spawn(move || drop(run())).map_err(wrong)?;
    Ok(port)
}

/// Which phone's a call is, from its begin to its end.
#[derive(Debug, Default)]
pub(in crate::command) struct Phones(Mutex<HashMap<String, usize>>);

impl Phones {
    /// The dialogue of a call begins: whose it is, if it is a phone's.
    pub(in crate::command) fn begin(&self, begin: &Begin) -> Option<usize> {
        let number = match begin.direction() {
            Direction::Outbound => &begin.callee,
            _ => &begin.caller,
        };
        let phone = phone_of(number)?;
        self.with(|phones| phones.insert(begin.call_id.clone(), phone));
        Some(phone)
    }

    /// Whose a call is.
    pub(in crate::command) fn of(&self, call_id: &str) -> Option<usize> {
        self.with(|phones| phones.get(call_id).copied())
    }

    /// It is over.
    pub(in crate::command) fn end(&self, call_id: &str) {
        self.with(|phones| phones.remove(call_id));
    }

    fn with<T>(&self, what: impl FnOnce(&mut HashMap<String, usize>) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
