//! What both services have in common: a listening socket, health, reflection, an orderly end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;

/// Streams of live calls get this long to end by themselves after the signal to stop.
const GRACE: Duration = Duration::from_secs(3);
/// A peer that has gone without a word is noticed after this, twice.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Why a service does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The transport failed.
    #[error("gRPC transport: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors that were built in are damaged.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Opens the socket; port 0 lets the system choose, `local_addr` of the result tells.
///
/// # Errors
/// [`ServeError::Listen`] with the address.
pub async fn listen(addr: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(addr).await.map_err(|source| ServeError::Listen { addr, source })
}

/// Serves `routes` with health (of `name`, the full name of the service) and reflection beside it, until `shutdown`.
///
/// # Errors
/// [`ServeError::Transport`] or [`ServeError::Reflection`].
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    name: &str,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status(name, ServingStatus::Serving).await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(crate::proto::DESCRIPTORS)
        .build_v1()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .add_routes(routes)
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async {
            // Either way it is time to stop.
            let _ = stopped.await;
        });
    tokio::pin!(server);
    tokio::select! {
        result = &mut server => return Ok(result?),
        () = shutdown => {}
    }
    reporter.set_service_status(name, ServingStatus::NotServing).await;
    drop(stop);
    match tokio::time::timeout(GRACE, server).await {
        Ok(result) => Ok(result?),
        // What is left is streams whose peers do not end them; they end with the process.
        Err(_) => Ok(()),
    }
}
