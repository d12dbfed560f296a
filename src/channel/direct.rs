//! A two-way stream that gives its messages to HTTP/2 itself.
//!
//! A call sends its recogniser ten messages a second for as long as it lasts. Through tonic's client each goes by a queue into a task that hyper
//! has for the stream, is encoded there, and wakes that task three times: measured at a thousand calls, that was a tenth of what a call costs
//! beside its media, and four of its hundred KiB. Here a message is encoded where it is made, and handed to `h2`, which both stand on: a stream
//! has no task and no queue, and is read by whoever waits for its answers. What is gRPC about it is small: five bytes before each message, and a
//! status at the end.
//!
//! Each endpoint has one connection, made when it is first needed and anew when it broke, by one task that all who need it ask.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::RecvStream;
use h2::client::{Builder, ResponseFuture, SendRequest};
use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tonic::codegen::http::uri::{Authority, PathAndQuery, Scheme};
use tonic::codegen::http::{HeaderMap, Request, StatusCode, Uri};
use tonic::{Code, Status};

use super::coalesce::Connector;
use super::patient::Patient;
use super::{CONNECTION_WINDOW, MAX_MESSAGE, ROOMY};

/// Bytes of a stream that wait for the connection; what does not fit stays with whoever sends.
const UNDER_WAY: usize = 16 * 1024;
/// Before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The way to an endpoint's streams.
#[derive(Debug, Clone)]
pub struct Direct {
    authority: Authority,
    asks: mpsc::Sender<oneshot::Sender<Result<SendRequest<Bytes>, Status>>>,
}

impl Direct {
    /// Must be called within a tokio runtime.
    pub(super) fn new(authority: Authority, connector: Connector, connect_timeout: Duration) -> Direct {
        let (asks, asked) = mpsc::channel(64);
        tokio::spawn(connect(authority.clone(), connector, connect_timeout, asked));
        Direct { authority, asks }
    }

    /// Opens a stream of the method `path`, of the form `/package.Service/Method`.
    ///
    /// # Errors
    /// `UNAVAILABLE` with the reason where there is no connection. What the far end says comes by the answers.
    pub async fn open(&self, path: &'static str) -> Result<(Sending, Answers), Status> {
        let gone = || Status::unavailable("the runtime is ending");
        let (reply, answer) = oneshot::channel();
        self.asks.send(reply).await.map_err(|_| gone())?;
        let mut connection = answer.await.map_err(|_| gone())??;
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(PathAndQuery::from_static(path))
            .build()
            .map_err(|error| Status::internal(error.to_string()))?;
        let request = Request::post(uri)
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("user-agent", concat!("trunkline/", env!("CARGO_PKG_VERSION")))
            .body(())
            .map_err(|error| Status::internal(error.to_string()))?;
        let (response, stream) = connection.send_request(request, false)?;
        Ok((Sending { stream, closed: false }, Answers { coming: Coming::Response(response), read: BytesMut::new() }))
    }
}

/// Makes the connection for all who ask, one after the other.
async fn connect(
    authority: Authority,
    connector: Connector,
    patience: Duration,
    mut asked: mpsc::Receiver<oneshot::Sender<Result<SendRequest<Bytes>, Status>>>,
) {
    let mut there: Option<SendRequest<Bytes>> = None;
    while let Some(reply) = asked.recv().await {
        // One that has broken says so here.
        let still = match there.take() {
            Some(connection) => connection.ready().await.ok(),
            None => None,
        };
        let found = match still {
            Some(connection) => Ok(connection),
            None => match timeout(patience, dial(&authority, &connector)).await {
                Ok(Ok(connection)) => Ok(connection),
                Ok(Err(error)) => Err(Status::unavailable(format!("connect: {error}"))),
                Err(_) => Err(Status::unavailable(format!("did not connect within {patience:?}"))),
            },
        };
        there = found.as_ref().ok().cloned();
        // Who asked may be gone.
        let _ = reply.send(found);
    }
}

async fn dial(
    authority: &Authority,
    connector: &Connector,
) -> Result<SendRequest<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
    let (host, port) = (authority.host(), authority.port_u16().unwrap_or_default());
    let connection = connector.connect(host, port).await?;
    let turn = connection.turn();
    let (sender, mut connection) = Builder::new()
        .initial_window_size(ROOMY)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(UNDER_WAY)
        // No stream is opened before the far end has said how much one may have under way: there are servers that never open a window
        // again which was overdrawn by then.
        .initial_max_send_streams(0)
        .enable_push(false)
        .handshake(connection)
        .await?;
    tokio::spawn(async move {
        // Its streams tell what has broken, each to its call.
        if let Err(error) = Patient::new(poll_fn(|cx| turn.take(&mut connection, cx))).await {
            tracing::debug!(target: "services", "a connection ended: {error}");
        }
    });
    Ok(sender)
}

/// The way out of a stream. Dropped without [`end`](Self::end), the stream is cancelled.
#[derive(Debug)]
pub struct Sending {
    stream: h2::SendStream<Bytes>,
    closed: bool,
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no room now.
    Full,
    /// The far end reads no more; the answers say why.
    Closed,
}

impl Sending {
    /// Whether there is room for one more message.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn has_room(&mut self) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        // One byte beyond all that waits: no stream keeps more of the connection's window than it has use for.
        self.stream.reserve_capacity(1);
        if self.stream.capacity() > 0 { Ok(()) } else { Err(Refused::Full) }
    }

    /// Sends a message, whether there is room or not.
    ///
    /// # Errors
    /// [`Refused::Closed`].
    pub fn send(&mut self, message: &impl Message) -> Result<(), Refused> {
        self.send_written(message.encoded_len(), |bytes| message.encode_raw(bytes))
    }

    /// The same of a message that is written where it goes out from: it has to have the length that is said.
    ///
    /// # Errors
    /// [`Refused::Closed`].
    pub fn send_written(&mut self, length: usize, write: impl FnOnce(&mut BytesMut)) -> Result<(), Refused> {
        let mut bytes = BytesMut::with_capacity(PREFIX + length);
        bytes.put_u8(0);
        bytes.put_u32(length as u32);
        write(&mut bytes);
        debug_assert_eq!(bytes.len(), PREFIX + length);
        let sent = self.stream.send_data(bytes.freeze(), false).map_err(|_| Refused::Closed);
        self.closed |= sent.is_err();
        sent
    }

    /// No more messages will come.
    pub fn end(mut self) {
        // If the stream is over already, its answers have said so.
        let _ = self.stream.send_data(Bytes::new(), true);
    }

    /// Waits for room, after [`has_room`](Self::has_room) has found none, or for the end of the stream. May be dropped at any time.
    pub async fn room(&mut self) {
        let room = poll_fn(|cx| self.stream.poll_capacity(cx)).await;
        self.closed |= !matches!(room, Some(Ok(_)));
    }
}

/// What comes back.
#[derive(Debug)]
pub struct Answers {
    coming: Coming,
    /// The beginning of a message.
    read: BytesMut,
}

#[derive(Debug)]
enum Coming {
    Response(ResponseFuture),
    Messages(StatusCode, RecvStream),
    End,
}

impl Answers {
    /// The next message; `None` at the end of a stream that went well. May be dropped at any time.
    pub async fn next<M: Message + Default>(&mut self) -> Option<Result<M, Status>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll<M: Message + Default>(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<M, Status>>> {
        let end = match ready!(self.poll_message(cx)) {
            Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
            Ok(None) => None,
            Err(status) => Some(Err(status)),
        };
        self.coming = Coming::End;
        Poll::Ready(end)
    }

    fn poll_message<M: Message + Default>(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<M>, Status>> {
        loop {
            match &mut self.coming {
                Coming::Response(response) => {
                    let (parts, body) = ready!(Pin::new(response).poll(cx))?.into_parts();
                    // An answer that has no messages may have its status here.
                    if let Some(status) = Status::from_header_map(&parts.headers) {
                        return Poll::Ready(if status.code() == Code::Ok { Ok(None) } else { Err(status) });
                    }
                    self.coming = Coming::Messages(parts.status, body);
                }
                Coming::Messages(status, body) => {
                    if let Some(message) = take(&mut self.read)? {
                        return Poll::Ready(Ok(Some(message)));
                    }
                    match ready!(body.poll_data(cx)) {
                        Some(data) => {
                            let data = data?;
                            body.flow_control().release_capacity(data.len())?;
                            self.read.extend_from_slice(&data);
                        }
                        None => {
                            let trailers = ready!(body.poll_trailers(cx))?;
                            return Poll::Ready(ended(*status, trailers.as_ref()).map(|()| None));
                        }
                    }
                }
                Coming::End => return Poll::Ready(Ok(None)),
            }
        }
    }
}

/// A whole message, if there is one.
fn take<M: Message + Default>(read: &mut BytesMut) -> Result<Option<M>, Status> {
    let Some((prefix, rest)) = read.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let [compressed, length @ ..] = *prefix;
    let length = u32::from_be_bytes(length) as usize;
    if compressed != 0 {
        return Err(Status::internal("a compressed message, which nobody asked for"));
    }
    if length > MAX_MESSAGE {
        return Err(Status::out_of_range(format!("a message of {length} bytes; {MAX_MESSAGE} at most are taken")));
    }
    if rest.len() < length {
        return Ok(None);
    }
    read.advance(PREFIX);
    let message = M::decode(read.split_to(length)).map_err(|error| Status::internal(error.to_string()))?;
    if read.is_empty() {
        // Between two messages a stream holds nothing.
        *read = BytesMut::new();
    }
    Ok(Some(message))
}

/// How a stream ended: its status, or what HTTP's says where there is none.
fn ended(http: StatusCode, trailers: Option<&HeaderMap>) -> Result<(), Status> {
    match trailers.and_then(Status::from_header_map) {
        Some(status) if status.code() == Code::Ok => return Ok(()),
        Some(status) => return Err(status),
        None => {}
    }
    // As gRPC's "HTTP to gRPC Status Code Mapping" has it.
    let code = match http {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    };
    Err(Status::new(code, format!("ended without a status (HTTP {})", http.as_u16())))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use h2::server::{SendResponse, handshake};
    use h2::{Reason, RecvStream};
    use proptest::prelude::*;
    use tokio::net::TcpListener;
    use tonic::codegen::http::Response;

    use super::*;
    use crate::proto::speech::v1::{Flush, UtteranceStart};

    const PATH: &str = "/a.B/C";

    fn direct(to: SocketAddr) -> Direct {
        crate::channel::lazy_direct("ears", &format!("http://{to}"), Duration::from_secs(5)).expect("a good endpoint")
    }

    /// A far end that does with each stream what it is told to.
    async fn server<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(RecvStream, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let serve = std::sync::Arc::new(serve);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let serve = serve.clone();
                tokio::spawn(async move {
                    let mut connection = handshake(connection).await.expect("HTTP/2");
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        assert_eq!(request.uri().path(), PATH);
                        assert_eq!(request.headers()["content-type"], "application/grpc");
                        tokio::spawn(serve(request.into_body(), respond));
                    }
                });
            }
        });
        address
    }

    fn answer(status: u16) -> Response<()> {
        Response::builder().status(status).body(()).expect("a response")
    }

    fn trailers(status: &str) -> HeaderMap {
        HeaderMap::from_iter([("grpc-status".parse().expect("a name"), status.parse().expect("a value"))])
    }

    fn start(utterance_id: u32) -> UtteranceStart {
        UtteranceStart { utterance_id, start_ms: 5, from_ms: 1 }
    }

    /// How the answers end when the far end has done so.
    async fn told(to: SocketAddr) -> Option<Status> {
        let (_sending, mut answers) = direct(to).open(PATH).await.expect("it is there");
        let end = answers.next::<UtteranceStart>().await;
        assert!(answers.next::<UtteranceStart>().await.is_none(), "it has ended");
        end.map(|end| end.expect_err("no message was sent"))
    }

    #[tokio::test]
    async fn messages_go_both_ways_however_they_are_cut_and_the_stream_ends_well() {
        let far = server(async |mut body, mut respond| {
            let mut stream = respond.send_response(answer(200), false).expect("it is up");
            while let Some(Ok(data)) = body.data().await {
                for byte in data {
                    stream.send_data(Bytes::from(vec![byte]), false).expect("it is up");
                }
            }
            stream.send_trailers(trailers("0")).expect("it is up");
        })
        .await;
        let (mut sending, mut answers) = direct(far).open(PATH).await.expect("it is there");
        assert_eq!(sending.has_room(), Err(Refused::Full), "the connection has not opened it yet");
        for n in 0..3 {
            while sending.has_room() == Err(Refused::Full) {
                sending.room().await;
            }
            assert_eq!(sending.send(&start(n)), Ok(()));
        }
        // Of no bytes at all.
        sending.send(&Flush {}).expect("it is up");
        sending.end();
        for n in 0..3 {
            assert_eq!(answers.next::<UtteranceStart>().await.expect("a message").expect("no fault"), start(n));
        }
        assert_eq!(answers.next::<Flush>().await.expect("a message").expect("no fault"), Flush {});
        assert!(answers.next::<Flush>().await.is_none());
    }

    #[tokio::test]
    async fn every_way_to_fail_is_a_status() {
        let with_trailers = server(async |_, mut respond| {
            let mut stream = respond.send_response(answer(200), false).expect("it is up");
            stream.send_trailers(trailers("3")).expect("it is up");
        });
        assert_eq!(told(with_trailers.await).await.map(|s| s.code()), Some(Code::InvalidArgument));
        let at_once = server(async |_, mut respond| {
            let mut response = answer(200);
            *response.headers_mut() = trailers("12");
            respond.send_response(response, true).expect("it is up");
        });
        assert_eq!(told(at_once.await).await.map(|s| s.code()), Some(Code::Unimplemented));
        for (http, code) in [(200, Code::Unknown), (404, Code::Unimplemented), (503, Code::Unavailable)] {
            let without = server(move |_, mut respond| async move {
                respond.send_response(answer(http), true).expect("it is up");
            });
            let status = told(without.await).await.expect("a fault");
            assert_eq!((status.code(), status.message().contains(&http.to_string())), (code, true), "{status}");
        }
        let reset = server(async |_, mut respond| respond.send_reset(Reason::REFUSED_STREAM));
        assert_eq!(told(reset.await).await.map(|s| s.code()), Some(Code::Unavailable));
        for (bytes, code) in [(vec![1, 0, 0, 0, 0], Code::Internal), (vec![0, 255, 0, 0, 0], Code::OutOfRange)] {
            let nonsense = server(move |_, mut respond| {
                let bytes = bytes.clone();
                async move {
                    let mut stream = respond.send_response(answer(200), false).expect("it is up");
                    stream.send_data(bytes.into(), true).expect("it is up");
                }
            });
            assert_eq!(told(nonsense.await).await.map(|s| s.code()), Some(code));
        }
    }

    #[tokio::test]
    async fn who_does_not_read_fills_the_room_and_who_reads_again_makes_some() {
        let (read, reads) = mpsc::channel::<()>(1);
        let reads = std::sync::Mutex::new(Some(reads));
        let far = server(move |mut body, mut respond| {
            let mut reads = reads.lock().expect("no panic").take().expect("one stream");
            async move {
                let _stream = respond.send_response(answer(200), false).expect("it is up");
                reads.recv().await;
                while let Some(Ok(data)) = body.data().await {
                    body.flow_control().release_capacity(data.len()).expect("it has come");
                }
            }
        })
        .await;
        let (mut sending, _answers) = direct(far).open(PATH).await.expect("it is there");
        let message = crate::proto::speech::v1::AudioChunk { samples: vec![7; 1_600].into(), ..Default::default() };
        let mut sent = 0;
        // The far end's window, and what waits here: the connection takes some of it meanwhile.
        loop {
            match sending.has_room() {
                Ok(()) => sending.send(&message).expect("it is up"),
                Err(Refused::Full) if timeout(Duration::from_millis(200), sending.room()).await.is_err() => break,
                Err(Refused::Full) => {}
                Err(Refused::Closed) => panic!("it is up"),
            }
            sent += 1;
            assert!(sent < 1_000, "there is no end of room");
        }
        read.send(()).await.expect("it waits for this");
        sending.room().await;
        assert_eq!(sending.has_room(), Ok(()));
    }

    #[tokio::test]
    async fn a_far_end_is_heard_out_on_its_windows_before_it_is_sent_anything() {
        const MESSAGES: u32 = 30;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let far = listener.local_addr().expect("bound");
        let heard = tokio::spawn(async move {
            let (connection, _) = listener.accept().await.expect("it comes");
            let mut early = [0; 4_096];
            let much = async { while connection.peek(&mut early).await.expect("it is up") < early.len() {} };
            assert!(timeout(Duration::from_millis(200), much).await.is_err(), "more than its own settings");
            let small = h2::server::Builder::new().initial_window_size(1_000).handshake(connection).await;
            let mut connection: h2::server::Connection<_, Bytes> = small.expect("HTTP/2");
            let (request, _respond) = connection.accept().await.expect("a stream").expect("a stream");
            tokio::spawn(async move { while connection.accept().await.is_some() {} });
            let mut body = request.into_body();
            let mut bytes = 0;
            while let Some(Ok(data)) = body.data().await {
                bytes += data.len();
                body.flow_control().release_capacity(data.len()).expect("it has come");
            }
            bytes
        });
        let (mut sending, _answers) = direct(far).open(PATH).await.expect("it is there");
        let message = crate::proto::speech::v1::AudioChunk { samples: vec![7; 400].into(), ..Default::default() };
        let all = async {
            for _ in 0..MESSAGES {
                while sending.has_room() == Err(Refused::Full) {
                    sending.room().await;
                }
                sending.send(&message).expect("it is up");
            }
            sending.end();
            heard.await.expect("no panic")
        };
        let heard = timeout(Duration::from_secs(5), all).await.expect("no window stays shut");
        assert_eq!(heard, MESSAGES as usize * (PREFIX + message.encoded_len()));
    }

    #[tokio::test]
    async fn who_waits_for_room_on_a_stream_that_is_over_is_told() {
        let far = server(async |_, mut respond| respond.send_reset(Reason::CANCEL)).await;
        let (mut sending, mut answers) = direct(far).open(PATH).await.expect("it is there");
        assert!(answers.next::<Flush>().await.expect("a fault").is_err());
        sending.room().await;
        assert_eq!(sending.has_room(), Err(Refused::Closed));
        assert_eq!(sending.send(&Flush {}), Err(Refused::Closed));
    }

    #[tokio::test]
    async fn a_connection_is_made_anew_and_who_is_absent_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let direct = direct(address);
        let broken = tokio::spawn(async move {
            let (connection, _) = listener.accept().await.expect("it comes");
            let mut connection = handshake(connection).await.expect("HTTP/2");
            let first = connection.accept().await.expect("a stream").expect("a stream");
            // Which ends the connection.
            drop((first, connection));
        });
        let (_sending, mut answers) = direct.open(PATH).await.expect("it is there");
        broken.await.expect("no panic");
        assert!(answers.next::<Flush>().await.expect("a fault").is_err());
        let absent = direct.open(PATH).await.expect_err("nobody is there");
        assert_eq!((absent.code(), absent.message().contains("refused")), (Code::Unavailable, true), "{absent}");
        let again = TcpListener::bind(address).await.expect("the port is free");
        tokio::spawn(async move {
            let (connection, _) = again.accept().await.expect("it comes");
            let mut connection = handshake(connection).await.expect("HTTP/2");
            while let Some(Ok(stream)) = connection.accept().await {
                drop(stream);
            }
        });
        direct.open(PATH).await.expect("it is there again");
    }

    proptest! {
        #[test]
        fn any_bytes_are_messages_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut read = BytesMut::from(&bytes[..]);
            while let Ok(Some(UtteranceStart { .. })) = take(&mut read) {}
        }
    }
}
