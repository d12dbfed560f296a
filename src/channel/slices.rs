//! A connection whose answers come a little at a time.
//!
//! tonic gathers a message in a buffer that has room for as much again as it holds, and doubles it where that is not enough: of synthesised
//! speech, received in frames of some KB, a call kept 16 KB to take 3 KB out of them. What it is given in small slices it takes one
//! message of, and little more; the rest lies where HTTP/2 has received it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use prost::bytes::Bytes;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{Body as HttpBody, Service};
use tonic::transport::Channel;

use hyper::body::Frame;

/// Bytes of a slice.
const SLICE: usize = 1024;

/// Such a connection.
#[derive(Debug, Clone)]
pub struct Slicing(pub(super) Channel);

impl Slicing {
    /// The same connection, as it comes.
    pub fn channel(&self) -> Channel {
        self.0.clone()
    }
}

impl Service<Request<Body>> for Slicing {
    type Response = Response<Slices>;
    type Error = <Channel as Service<Request<Body>>>::Error;
    type Future = MapOk<<Channel as Service<Request<Body>>>::Future, fn(Response<Body>) -> Response<Slices>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request).map_ok(|response| response.map(|body| Slices { body, rest: Bytes::new() }))
    }
}

/// An answer.
#[derive(Debug)]
pub struct Slices {
    body: Body,
    /// What has come and is not yet taken.
    rest: Bytes,
}

impl HttpBody for Slices {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.rest.len().min(SLICE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn slices_together_are_what_came() {
        let came: Vec<u8> = (0..2_500u16).map(|n| n as u8).collect();
        let body = Body::new(Full::new(Bytes::from(came.clone())).map_err(|never| match never {}));
        let mut slices = Slices { body, rest: Bytes::new() };
        let (mut lengths, mut all) = (Vec::new(), Vec::new());
        while let Some(frame) = slices.frame().await {
            let data = frame.expect("nothing fails").into_data().expect("data");
            lengths.push(data.len());
            all.extend_from_slice(&data);
        }
        assert_eq!((lengths, all), (vec![1024, 1024, 452], came));
        assert!(slices.is_end_stream());
    }
}
