//! Floor 5: the server of `control.v1`, by which an orchestrator dials, commands and watches.
//!
//! It owns no state: commands go to the switchboard, events come from the journal. What it adds is the check of every field, so that nothing that
//! comes from outside gets further than here unless it makes sense by itself. Status codes mean what they mean:
//!
//! | code | when |
//! |---|---|
//! | `INVALID_ARGUMENT` | a field makes no sense; the message names it |
//! | `UNIMPLEMENTED` | a field's feature is not built; the message names it |
//! | `NOT_FOUND` | there is no such call (any more) |
//! | `FAILED_PRECONDITION` | `not_after` has passed; the call is in a state that does not allow it |
//! | `RESOURCE_EXHAUSTED` | a limit was hit; the message names it |
//! | `OUT_OF_RANGE` | `Watch` asks for events that are no longer kept; the message names the oldest |
//! | `DATA_LOSS` | a watcher was so slow that events went out of the journal before it read them |
//! | `UNAVAILABLE` | draining, or shutting down |

mod events;
mod handle;
mod listen;
mod orders;
mod service;
mod watch;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch as shared;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::call::action::Action;
use crate::call::knobs::KnobChange;
use crate::journal;
use crate::media::Listener;
use crate::proto::DESCRIPTORS;
use crate::proto::control::v1::control_server::ControlServer;
use crate::sip::session::ExtraHeaders;
use crate::switchboard::order::{CallState, DialOrder, Refusal, Sent, TrunkState};

/// The largest request that is taken: a `Say` of many texts of 16 KiB.
const MAX_MESSAGE: usize = 1024 * 1024;

/// How long requests may go on after the shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// What the server needs of the switchboard. Dropping one of these futures does not undo what it asked for.
pub trait Switchboard: Clone + Send + Sync + 'static {
    /// Dials; answers with the call's id, the same one for the same `request_id`.
    fn dial(&self, order: DialOrder) -> impl Future<Output = Result<Arc<str>, Refusal>> + Send;
    /// Answers an inbound call that waits, with headers for the 200; an empty `dialogue` is the route's.
    fn answer(
        &self,
        call_id: &str,
        dialogue: &str,
        knobs: KnobChange,
        headers: ExtraHeaders,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;
    /// Refuses an inbound call that waits, with a SIP status of 400 to 699; an empty `reason` is the status' own.
    fn decline(&self, call_id: &str, status: u16, reason: &str) -> impl Future<Output = Result<(), Refusal>> + Send;
    /// Has a call do something; the same `request_id` again does nothing, an empty one is not checked.
    fn send(
        &self,
        call_id: &str,
        request_id: &str,
        action: Action,
    ) -> impl Future<Output = Result<Sent, Refusal>> + Send;
    /// Both sides of a call, until its media end.
    fn listen(&self, call_id: &str) -> impl Future<Output = Result<Listener, Refusal>> + Send;
    /// All calls that are up.
    fn calls(&self) -> impl Future<Output = Vec<CallState>> + Send;
    /// One call that is up.
    fn call(&self, call_id: &str) -> impl Future<Output = Option<CallState>> + Send;
    /// All trunks.
    fn trunks(&self) -> impl Future<Output = Vec<TrunkState>> + Send;
    /// Takes no new calls; says how many are up.
    fn drain(&self) -> impl Future<Output = usize> + Send;
}

/// The server cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The contract that is built in does not parse.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("gRPC server: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves until `shutdown` resolves; then watchers get what is left, and requests have five seconds to end.
///
/// # Errors
/// Nothing that a client does ends the server; see [`ServeError`].
pub async fn serve<S: Switchboard>(
    listener: TcpListener,
    switchboard: S,
    journal: journal::Handle,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (closing, closed) = shared::channel(false);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<ControlServer<service::Service<S>>>().await;
    let control = service::Service { switchboard, journal, closing: closed.clone() };
    let router = Server::builder()
        .tcp_nodelay(true)
        // Watchers may be silent for hours: this finds out that one is gone.
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .http2_max_header_list_size(16 * 1024)
        .max_concurrent_streams(1024)
        .add_service(ControlServer::new(control).max_decoding_message_size(MAX_MESSAGE))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let serving = router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), until(closed.clone()));
    let stop = async {
        shutdown.await;
        health.set_not_serving::<ControlServer<service::Service<S>>>().await;
        let _ = closing.send(true);
        tokio::time::sleep(GRACE).await;
        tracing::warn!(target: "control", "requests were cut off: they did not end within {GRACE:?} of the shutdown");
    };
    tokio::select! {
        served = serving => Ok(served?),
        () = stop => Ok(()),
    }
}

/// Resolves when the server is to close.
async fn until(mut closing: shared::Receiver<bool>) {
    // A sender that is gone has no more to say than that it is over.
    let _ = closing.wait_for(|closing| *closing).await;
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // The descriptors hold the other two contracts as well, which others serve.
        .with_service_name("trunkline.control.v1.Control")
        .with_service_name("grpc.health.v1.Health")
}

#[cfg(test)]
mod tests;
