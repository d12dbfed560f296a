//! For tests: a way to a service on which the first streams are refused once they have said something.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use prost::bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tonic::codegen::http::Request;

/// Refuses so many streams of the methods whose name ends so, and hands all others on to the service.
pub(crate) async fn refusing(service: &str, method: &'static str, times: usize) -> String {
    let service: SocketAddr = service.strip_prefix("http://").expect("http").parse().expect("an address");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let left = Arc::new(AtomicUsize::new(times));
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let left = left.clone();
            tokio::spawn(async move {
                let mut near = h2::server::handshake(connection).await.expect("HTTP/2");
                let far = TcpStream::connect(service).await.expect("it is there");
                let (far, connection) = h2::client::handshake(far).await.expect("HTTP/2");
                tokio::spawn(connection);
                while let Some(Ok((request, respond))) = near.accept().await {
                    let counts = request.uri().path().ends_with(method);
                    let less = |left: usize| left.checked_sub(1);
                    if counts && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
                        tokio::spawn(refuse(request.into_body(), respond));
                    } else {
                        tokio::spawn(hand_on(request, respond, far.clone()));
                    }
                }
            });
        }
    });
    endpoint
}

async fn refuse(mut body: RecvStream, mut respond: SendResponse<Bytes>) {
    let _ = body.data().await;
    respond.send_reset(Reason::REFUSED_STREAM);
}

/// What one side breaks off ends for the other one.
async fn hand_on(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, far: SendRequest<Bytes>) {
    let (head, body) = request.into_parts();
    let mut far = far.ready().await.expect("it is up");
    let (response, out) = far.send_request(Request::from_parts(head, ()), false).expect("it is up");
    let asking = tokio::spawn(pump(body, out));
    if let Ok(response) = response.await {
        let (head, body) = response.into_parts();
        let ends = body.is_end_stream();
        let out = respond.send_response(tonic::codegen::http::Response::from_parts(head, ()), ends);
        if let (Ok(out), false) = (out, ends) {
            pump(body, out).await;
        }
    }
    asking.abort();
}

async fn pump(mut from: RecvStream, mut to: SendStream<Bytes>) {
    while let Some(Ok(data)) = from.data().await {
        let _ = from.flow_control().release_capacity(data.len());
        if to.send_data(data, false).is_err() {
            return;
        }
    }
    let _ = match from.trailers().await {
        Ok(Some(trailers)) => to.send_trailers(trailers),
        _ => to.send_data(Bytes::new(), true),
    };
}
