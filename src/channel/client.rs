//! A client of gRPC that gives its messages to HTTP/2 itself.
//!
//! A call sends its recogniser ten messages a second for as long as it lasts, and takes some from its synthesiser. Through tonic's client each
//! goes by a queue into a task that hyper has for the stream, is encoded there, and wakes that task three times: measured at a thousand calls,
//! that was a tenth of what a call costs beside its media, and four of its hundred KiB. Here a message is encoded where it is made, and handed
//! to `h2`, which both stand on; a stream has no task and no queue, and is read by whoever waits for its answers. What comes is decoded where
//! HTTP/2 has received it. What is gRPC about it is small: five bytes before each message, and a status at the end.
//!
//! The streams of an endpoint are opened by one task, for all who ask and in their order, on as many [`Connections`] as it takes. None is opened
//! for who has gone.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tonic::codegen::http::uri::Authority;
use tonic::codegen::http::{HeaderMap, StatusCode};
use tonic::{Code, Status};

use super::connections::{Connections, Held};
use super::{MAX_MESSAGE, Manner};

/// So many times in a row a stream that was not seen is opened anew.
const ANEW: u32 = 3;
/// Before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The way to an endpoint. Cheap to clone; the clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    asks: mpsc::Sender<Opening>,
}

/// A stream is wanted.
#[derive(Debug)]
struct Opening {
    path: &'static str,
    at: Instant,
    reply: oneshot::Sender<Result<(Sending, Answers), Status>>,
}

impl Client {
    /// Must be called within a tokio runtime.
    pub(super) fn new(authority: Authority, manner: Manner, connect_timeout: Duration) -> Client {
        let (asks, asked) = mpsc::channel(64);
        tokio::spawn(serve(Connections::new(authority, manner, connect_timeout), asked));
        Client { asks }
    }

    /// Asks one question of the method `path`, as [`open`](Self::open) takes it, which has one answer.
    ///
    /// # Errors
    /// What the far end says; as [`open`](Self::open) where there is no stream.
    pub async fn ask<M: Message + Default>(&self, path: &'static str, question: &impl Message) -> Result<M, Status> {
        let mut anew = Anew::default();
        loop {
            match self.ask_once(path, question).await {
                Err(status) if anew.is_due(unseen(&status)) => {}
                told => return told,
            }
        }
    }

    async fn ask_once<M: Message + Default>(&self, path: &'static str, question: &impl Message) -> Result<M, Status> {
        let mut answers = self.hear(path, question).await?;
        let wrong = |what: &str| Err(Status::internal(format!("{what} where there has to be one")));
        let Some(answer) = answers.next().await else { return wrong("no answer") };
        match answers.next::<M>().await {
            None => answer,
            Some(Ok(_)) => wrong("a second answer"),
            Some(Err(status)) => Err(status),
        }
    }

    /// Asks one question of the method `path`, as [`open`](Self::open) takes it, which has any number of answers.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn hear(&self, path: &'static str, question: &impl Message) -> Result<Answers, Status> {
        let (mut sending, answers) = self.open(path).await?;
        // If it is not taken, the answers say why.
        let _ = sending.send(question);
        sending.end();
        Ok(answers)
    }

    /// Opens a stream of the method `path`, of the form `/package.Service/Method`.
    ///
    /// # Errors
    /// `UNAVAILABLE` with the reason where there is no connection; `RESOURCE_EXHAUSTED` where the far end takes no more streams, and none ended
    /// within the time of connecting. What the far end says comes by the answers.
    pub async fn open(&self, path: &'static str) -> Result<(Sending, Answers), Status> {
        let gone = || Status::unavailable("the runtime is ending");
        let (reply, answer) = oneshot::channel();
        self.asks.send(Opening { path, at: Instant::now(), reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Opens streams for all who ask, one after the other.
async fn serve(mut connections: Connections, mut asked: mpsc::Receiver<Opening>) {
    loop {
        let next = match connections.rest() {
            Some(rest) => timeout(rest, asked.recv()).await,
            None => Ok(asked.recv().await),
        };
        let Ok(next) = next else {
            // Nobody has asked, so there is nobody who would have to know.
            let _ = connections.take_stock(Instant::now());
            continue;
        };
        let Some(Opening { path, at, mut reply }) = next else { return };
        let opened = tokio::select! {
            biased;
            () = reply.closed() => continue,
            opened = connections.open(path, at) => opened,
        };
        if let Err(status) = &opened
            && connections.is_empty()
        {
            // Nor do those wait for the next attempt who asked before this one failed.
            let waiting = std::iter::from_fn(|| asked.try_recv().ok());
            waiting.for_each(|waiting| drop(waiting.reply.send(Err(status.clone()))));
        }
        // Who asked may have gone in this moment: then the stream is cancelled.
        let _ = reply.send(opened);
    }
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
    pub(super) fn new(stream: h2::SendStream<Bytes>) -> Sending {
        Sending { stream, closed: false }
    }

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

    /// Waits until there is room for one more message, or the stream has ended. May be dropped at any time.
    pub async fn room(&mut self) {
        while self.has_room() == Err(Refused::Full) {
            let room = poll_fn(|cx| self.stream.poll_capacity(cx)).await;
            self.closed |= !matches!(room, Some(Ok(_)));
        }
    }
}

/// What comes back.
#[derive(Debug)]
pub struct Answers {
    coming: Coming,
    /// What has come last and is not yet taken: it lies where HTTP/2 has received it, and stays in the stream's window.
    came: Bytes,
    /// The beginning of a message of which more has to come.
    read: BytesMut,
    /// Until there are no more.
    held: Option<Held>,
}

#[derive(Debug)]
enum Coming {
    Response(ResponseFuture),
    Messages(StatusCode, RecvStream),
    End,
}

impl Answers {
    pub(super) fn new(response: ResponseFuture, held: Held) -> Answers {
        Answers { coming: Coming::Response(response), came: Bytes::new(), read: BytesMut::new(), held: Some(held) }
    }

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
        self.held = None;
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
                    if self.read.is_empty()
                        && let Some(length) = whole(&self.came)?
                    {
                        body.flow_control().release_capacity(length)?;
                        return Poll::Ready(decode(self.came.split_to(length)).map(Some));
                    }
                    if !self.came.is_empty() {
                        body.flow_control().release_capacity(self.came.len())?;
                        self.read.extend_from_slice(&std::mem::take(&mut self.came));
                    }
                    if let Some(length) = whole(&self.read)? {
                        let message = decode(self.read.split_to(length).freeze());
                        if self.read.is_empty() {
                            // Between two messages a stream holds nothing.
                            self.read = BytesMut::new();
                        }
                        return Poll::Ready(message.map(Some));
                    }
                    match ready!(body.poll_data(cx)) {
                        Some(data) => self.came = data?,
                        None => {
                            let trailers = ready!(body.poll_trailers(cx))?;
                            ended(*status, trailers.as_ref())?;
                            if !self.read.is_empty() {
                                return Poll::Ready(Err(Status::internal("ended within a message")));
                            }
                            return Poll::Ready(Ok(None));
                        }
                    }
                }
                Coming::End => return Poll::Ready(Ok(None)),
            }
        }
    }
}

/// Whether the far end has not seen the stream that ended so: it was about to go when the stream was opened, or has refused it (RFC 9113 §8.7).
/// The stream can be opened anew at once, with all that was sent on it, and nobody has done anything wrong.
pub fn unseen(status: &Status) -> bool {
    let error = status.source().and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_some_and(|error| match error.reason() {
        Some(Reason::NO_ERROR) => error.is_go_away() && error.is_remote(),
        Some(Reason::REFUSED_STREAM) => error.is_reset() && error.is_remote(),
        _ => false,
    })
}

/// How often in a row a stream has been opened anew.
#[derive(Debug, Default)]
pub struct Anew(u32);

impl Anew {
    /// A stream has ended, seen or [`unseen`]: whether it is to be opened anew.
    pub fn is_due(&mut self, unseen: bool) -> bool {
        self.0 = if unseen { self.0 + 1 } else { 0 };
        (1..=ANEW).contains(&self.0)
    }
}

/// The length of the message that the bytes begin with, if it is there as a whole.
fn whole(bytes: &[u8]) -> Result<Option<usize>, Status> {
    let Some(([compressed, length @ ..], rest)) = bytes.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if *compressed != 0 {
        return Err(Status::internal("a compressed message, which nobody asked for"));
    }
    if length > MAX_MESSAGE {
        return Err(Status::out_of_range(format!("a message of {length} bytes; {MAX_MESSAGE} at most are taken")));
    }
    Ok((rest.len() >= length).then_some(PREFIX + length))
}

fn decode<M: Message + Default>(mut whole: Bytes) -> Result<M, Status> {
    whole.advance(PREFIX);
    M::decode(whole).map_err(|error| Status::internal(error.to_string()))
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
    use proptest::prelude::*;
    use tokio::net::TcpListener;
    use tonic::codegen::http::Response;

    use super::*;
    use crate::proto::speech::v1::{Flush, UtteranceStart};

    const PATH: &str = "/a.B/C";

    fn client(to: SocketAddr, manner: Manner) -> Client {
        crate::channel::client("ears", &format!("http://{to}"), manner, Duration::from_secs(5))
            .expect("a good endpoint")
    }

    fn direct(to: SocketAddr) -> Client {
        client(to, Manner::TOGETHER)
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
        for n in 0..3 {
            sending.room().await;
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
    async fn an_answer_that_ends_within_a_message_is_a_fault() {
        let far = server(async |_, mut respond| {
            let mut stream = respond.send_response(answer(200), false).expect("it is up");
            let half = Bytes::from_static(&[0, 0, 0, 0, 4, 8]);
            stream.send_data(half, false).expect("it is up");
            stream.send_trailers(trailers("0")).expect("it is up");
        });
        let status = told(far.await).await.expect("a fault");
        assert_eq!((status.code(), status.message()), (Code::Internal, "ended within a message"));
    }

    /// A far end that has room for one stream at a time, and takes 20 that are cancelled before it has seen them for an attack, as HTTP/2's
    /// own server does.
    #[tokio::test]
    async fn who_gives_up_waiting_for_room_opens_no_stream() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let far = listener.local_addr().expect("bound");
        let (free, frees) = oneshot::channel::<()>();
        let mut frees = Some(frees);
        let opened = tokio::spawn(async move {
            let (connection, _) = listener.accept().await.expect("it comes");
            let mut connection: h2::server::Connection<_, Bytes> =
                h2::server::Builder::new().max_concurrent_streams(1).handshake(connection).await.expect("HTTP/2");
            let mut opened = 0;
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                opened += 1;
                let frees = frees.take();
                tokio::spawn(async move {
                    if let Some(frees) = frees {
                        let _ = frees.await;
                    }
                    let mut stream = respond.send_response(answer(200), false).expect("it is up");
                    stream.send_trailers(trailers("0")).expect("it is up");
                });
            }
            opened
        });
        let client = client(far, Manner::PROMPT);
        let mut first = client.hear(PATH, &Flush {}).await.expect("it is there");
        for _ in 0..50 {
            assert!(timeout(Duration::from_millis(2), client.ask::<Flush>(PATH, &Flush {})).await.is_err());
        }
        free.send(()).expect("it waits");
        assert!(first.next::<Flush>().await.is_none(), "it ends well");
        let mut last = client.hear(PATH, &Flush {}).await.expect("it is up");
        assert!(last.next::<Flush>().await.is_none(), "it is up still");
        drop((client, first, last));
        assert_eq!(opened.await.expect("no panic"), 2, "streams of the 52 that were asked for");
    }

    #[tokio::test]
    async fn a_far_end_that_says_nothing_keeps_nobody_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let far = format!("http://{}", listener.local_addr().expect("bound"));
        let patience = Duration::from_millis(100);
        let client = crate::channel::client("far", &far, Manner::PROMPT, patience).expect("good");
        for _ in 0..2 {
            let status = client.hear(PATH, &Flush {}).await.expect_err("nobody has answered");
            assert_eq!(status.code(), Code::Unavailable);
            assert!(status.message().contains("that it speaks HTTP/2"), "{status}");
        }
    }

    #[tokio::test]
    async fn who_asks_an_absent_far_end_together_hears_of_it_together() {
        // Its queue is full: it never answers.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
        socket.listen(0).expect("it listens");
        let far = socket.local_addr().expect("bound").as_socket().expect("an address");
        let _queued: Vec<_> = (0..8)
            .map(|_| {
                let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
                full.set_nonblocking(true).expect("a flag");
                let _ = full.connect(&far.into());
                full
            })
            .collect();
        let patience = Duration::from_millis(300);
        let client = crate::channel::client("far", &format!("http://{far}"), Manner::PROMPT, patience).expect("good");
        let asked = tokio::time::Instant::now();
        let all = futures_util::future::join_all((0..20).map(|_| client.ask::<Flush>(PATH, &Flush {}))).await;
        assert!(all.iter().all(|told| told.as_ref().is_err_and(|s| s.code() == Code::Unavailable)), "{all:?}");
        assert!(asked.elapsed() < 10 * patience, "one after the other it would be 20 times the patience");
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
                sending.room().await;
                sending.send(&message).expect("it is up");
            }
            sending.end();
            heard.await.expect("no panic")
        };
        let heard = timeout(Duration::from_secs(5), all).await.expect("no window stays shut");
        assert_eq!(heard, MESSAGES as usize * (PREFIX + message.encoded_len()));
    }

    #[tokio::test]
    async fn a_question_that_nobody_has_seen_is_asked_again() {
        let asked = std::sync::atomic::AtomicU32::new(0);
        let far = server(move |mut body, mut respond| {
            let n = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move {
                if n % 5 < 4 {
                    return respond.send_reset(Reason::REFUSED_STREAM);
                }
                while body.data().await.is_some() {}
                let mut stream = respond.send_response(answer(200), false).expect("it is up");
                stream.send_data(Bytes::from_static(&[0; PREFIX]), false).expect("it is up");
                stream.send_trailers(trailers("0")).expect("it is up");
            }
        })
        .await;
        let client = direct(far);
        let refused = client.ask::<Flush>(PATH, &Flush {}).await.expect_err("four times are too often");
        assert!(unseen(&refused), "{refused}");
        assert_eq!(client.ask::<Flush>(PATH, &Flush {}).await.expect("the fifth time"), Flush {});
    }

    #[tokio::test]
    async fn a_question_has_one_answer() {
        let far = server(async |mut body, mut respond| {
            let mut question = BytesMut::new();
            while let Some(Ok(data)) = body.data().await {
                question.extend_from_slice(&data);
            }
            // As often as it says, and with the status that it says.
            let asked: UtteranceStart = decode(question.freeze()).expect("whole");
            let mut stream = respond.send_response(answer(200), false).expect("it is up");
            let mut bytes = BytesMut::from(&[0, 0, 0, 0, start(7).encoded_len() as u8][..]);
            start(7).encode_raw(&mut bytes);
            for _ in 0..asked.utterance_id {
                stream.send_data(bytes.clone().freeze(), false).expect("it is up");
            }
            stream.send_trailers(trailers(&asked.start_ms.to_string())).expect("it is up");
        })
        .await;
        let client = client(far, Manner::PROMPT);
        for (times, status, told) in [
            (1, 0, Ok(start(7))),
            (0, 0, Err(Code::Internal)),
            (2, 0, Err(Code::Internal)),
            (0, 5, Err(Code::NotFound)),
            (1, 5, Err(Code::NotFound)),
        ] {
            let question = UtteranceStart { utterance_id: times, start_ms: status, from_ms: 0 };
            let answer = client.ask::<UtteranceStart>(PATH, &question).await.map_err(|status| status.code());
            assert_eq!(answer, told, "{times} answers, status {status}");
        }
    }

    #[tokio::test]
    async fn what_nobody_takes_waits_at_the_far_end() {
        const MESSAGE: usize = 1_000;
        let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let far_sent = sent.clone();
        let far = server(move |_, mut respond| {
            let sent = far_sent.clone();
            async move {
                let mut stream = respond.send_response(answer(200), false).expect("it is up");
                let chunk = crate::proto::speech::v1::SynthesizeResponse {
                    samples: vec![7; MESSAGE].into(),
                    ..Default::default()
                };
                let mut bytes = BytesMut::from(&[0, 0, 0][..]);
                bytes.put_u16(chunk.encoded_len() as u16);
                chunk.encode_raw(&mut bytes);
                let mut left = Bytes::new();
                // A byte is sent when there is a window for it.
                while sent.load(std::sync::atomic::Ordering::Relaxed) < 100_000 {
                    if left.is_empty() {
                        left = bytes.clone().freeze();
                    }
                    stream.reserve_capacity(left.len());
                    let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
                    let now = left.split_to(room.min(left.len()));
                    sent.fetch_add(now.len(), std::sync::atomic::Ordering::Relaxed);
                    stream.send_data(now, false).expect("it is up");
                }
            }
        })
        .await;
        let client = client(far, Manner::SPARING);
        let mut answers = client.hear(PATH, &Flush {}).await.expect("it is there");
        for taken in 1..50 {
            let answer = answers.next::<crate::proto::speech::v1::SynthesizeResponse>().await;
            assert_eq!(answer.expect("a message").expect("no fault").samples.len(), MESSAGE);
            tokio::time::sleep(Duration::from_millis(2)).await;
            let sent = sent.load(std::sync::atomic::Ordering::Relaxed);
            let ahead = sent - taken * (MESSAGE + PREFIX + 3);
            assert!(ahead <= Manner::SPARING.window as usize, "{ahead} bytes wait here after {taken} messages");
        }
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
            let mut read = Bytes::from(bytes);
            while let Ok(Some(length)) = whole(&read) {
                let _ = decode::<UtteranceStart>(read.split_to(length));
            }
        }
    }
}
