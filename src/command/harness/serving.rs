//! The services of a bench, on one thread of their own, so that their cost can be told apart.

use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::Trouble;

/// Streams of so many calls at a time over one connection.
const STREAMS: u32 = 100_000;

/// Serves on a free port, and says on which; until the process ends.
pub(in crate::command) fn start(routes: Routes) -> Result<u16, Trouble> {
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
                .max_concurrent_streams(Some(STREAMS))
                .initial_stream_window_size(Some(1 << 20))
                .initial_connection_window_size(Some(1 << 26));
            server.add_routes(routes).serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))).await?;
            Ok::<(), Box<dyn std::error::Error>>(())
        })
    };
    thread.spawn(move || drop(run())).map_err(wrong)?;
    Ok(port)
}
