//! The connections of one endpoint, and which of them the next stream goes to.
//!
//! HTTP/2 has the far end say how many streams it takes on one connection, and many say few: Kestrel 100, nginx 128, Go's net/http 250. A call
//! has a stream for as long as it lasts, so a thousand calls may need more than one connection. A stream goes to the first that has room to
//! spare; where none has, one more is made, and what room is left serves until it is there. One that has
//! not been needed for a minute is let go.
//!
//! No stream is opened that would only wait at our end: those that are given up meanwhile would all be opened and cancelled in the moment in
//! which there is room, and servers take a burst of that for an attack. Who asks waits instead, and is told when it was in vain.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::client::{Builder, SendRequest};
use prost::bytes::Bytes;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Status;
use tonic::codegen::http::uri::{Authority, PathAndQuery, Scheme};
use tonic::codegen::http::{Error, Request, Uri};

use super::client::{Answers, Sending};
use super::patient::Patient;
use super::{CONNECTION_WINDOW, Manner, coalesce};

/// Bytes of a stream that wait for the connection; what does not fit stays with whoever sends.
const UNDER_WAY: usize = 16 * 1024;
/// Streams for which a connection still has room when the next one is made, or a quarter of all, if that is less.
const SPARE: usize = 32;
/// Connections of one endpoint: 6,400 streams where each takes a hundred.
const MOST: usize = 64;
/// After one more connection could not be made none is tried for so long.
const AGAIN: Duration = Duration::from_secs(10);
/// A connection beside the first one is kept for so long after its last stream began, if it has none any more.
const UNUSED: Duration = Duration::from_secs(60);

/// All connections of an endpoint.
pub(super) struct Connections {
    way: Way,
    lines: Vec<Line>,
    /// One more that is being made.
    coming: Option<oneshot::Receiver<Result<SendRequest<Bytes>, Status>>>,
    /// Until then there will be no more than there are.
    no_more: Option<Instant>,
    /// A stream has ended, or what was coming has come.
    news: Arc<Notify>,
}

impl Connections {
    /// There is none yet. `patience`: for TCP's connection, for the far end's first word after it, and for room.
    pub(super) fn new(authority: Authority, manner: Manner, patience: Duration) -> Connections {
        let way = Way { authority, manner, patience };
        Connections { way, lines: Vec::new(), coming: None, no_more: None, news: Arc::default() }
    }

    /// There is no connection.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Opens a stream of the method `path`, which was asked for at `asked`. May be dropped at any time: then none is opened.
    ///
    /// # Errors
    /// `UNAVAILABLE` with the reason where there is no connection; `RESOURCE_EXHAUSTED` where there was no room in time.
    pub(super) async fn open(&mut self, path: &'static str, asked: Instant) -> Result<(Sending, Answers), Status> {
        loop {
            self.take_stock(Instant::now())?;
            if let Some(line) = self.lines.iter_mut().find(|line| line.room > line.spare) {
                return line.open(&self.way, path);
            }
            if self.coming.is_none() && (self.is_empty() || self.lines.len() < MOST && self.no_more.is_none()) {
                self.make_one_more();
            }
            let roomy = self.lines.iter_mut().filter(|line| line.room > 0);
            if let Some(line) = roomy.max_by_key(|line| line.room) {
                return line.open(&self.way, path);
            }
            if self.is_empty() {
                self.something_changes().await;
            } else if timeout_at(asked + self.way.patience, self.something_changes()).await.is_err() {
                return Err(self.full());
            }
        }
    }

    /// Which connections there are, and how much room they have.
    ///
    /// # Errors
    /// There is none, and none could be made.
    fn take_stock(&mut self, now: Instant) -> Result<(), Status> {
        self.no_more.take_if(|until| *until <= now);
        let mut first = true;
        self.lines.retain_mut(|line| {
            let stays = line.look() && (first || line.is_used(now));
            first &= !stays;
            stays
        });
        let made = match self.coming.as_mut().map(oneshot::Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => return Ok(()),
            Some(Ok(made)) => made,
            Some(Err(TryRecvError::Closed)) => Err(Status::unavailable("the connection was not made")),
        };
        self.coming = None;
        match made {
            Ok(connection) => {
                let mut line = Line::new(connection, self.news.clone(), now);
                if line.look() {
                    self.lines.push(line);
                }
                tracing::debug!(target: "services", "{} connections to {}", self.lines.len(), self.way.authority);
            }
            Err(status) if self.is_empty() => return Err(status),
            Err(status) => {
                let (there, endpoint, why) = (self.lines.len(), &self.way.authority, status.message());
                tracing::warn!(target: "services", "{endpoint}: {there} connections are nearly full, and there is no other: {why}");
                self.no_more = Some(now + AGAIN);
            }
        }
        Ok(())
    }

    fn make_one_more(&mut self) {
        let (made, coming) = oneshot::channel();
        let (way, news) = (self.way.clone(), self.news.clone());
        tokio::spawn(async move {
            // If it is not waited for any more, it is closed again.
            let _ = made.send(way.connect().await);
            news.notify_one();
        });
        self.coming = Some(coming);
    }

    /// Waits for what may make room; there may be none for all that.
    async fn something_changes(&mut self) {
        let mut news = pin!(self.news.notified());
        poll_fn(|cx| {
            let opened = |line: &mut Line| line.waits && line.connection.poll_ready(cx).is_ready();
            if self.lines.iter_mut().any(opened) { Poll::Ready(()) } else { news.as_mut().poll(cx) }
        })
        .await;
    }

    fn full(&self) -> Status {
        let taken: usize = self.lines.iter().map(|line| line.streams.held.load(Ordering::Relaxed)).sum();
        let (there, patience) = (self.lines.len(), self.way.patience);
        Status::resource_exhausted(format!(
            "takes no more than the {taken} streams that it has on {there} connections; {patience:?} were waited for one to end"
        ))
    }
}

/// One connection.
struct Line {
    connection: SendRequest<Bytes>,
    streams: Arc<Streams>,
    /// When its last stream began.
    used: Instant,
    /// A stream is not open yet: of others HTTP/2 knows that they are not quite over.
    waits: bool,
    /// How many more it takes.
    room: usize,
    /// Of these, how many only if there is no other connection.
    spare: usize,
}

impl Line {
    fn new(connection: SendRequest<Bytes>, news: Arc<Notify>, now: Instant) -> Line {
        let streams = Arc::new(Streams { held: AtomicUsize::new(0), news });
        Line { connection, streams, used: now, waits: false, room: 0, spare: 0 }
    }

    /// Looks how much room it has; false if it is broken, or takes no more streams.
    fn look(&mut self) -> bool {
        let ready = self.connection.poll_ready(&mut Context::from_waker(Waker::noop()));
        self.waits = ready.is_pending();
        let most = if self.waits { 0 } else { self.connection.current_max_send_streams() };
        self.spare = SPARE.min(most / 4);
        self.room = most.saturating_sub(self.streams.held.load(Ordering::Acquire));
        !matches!(ready, Poll::Ready(Err(_)))
    }

    fn is_used(&self, now: Instant) -> bool {
        self.streams.held.load(Ordering::Acquire) > 0 || now.duration_since(self.used) < UNUSED
    }

    fn open(&mut self, way: &Way, path: &'static str) -> Result<(Sending, Answers), Status> {
        let request = way.request(path).map_err(|error| Status::internal(error.to_string()))?;
        let opened = self.connection.send_request(request, false);
        let (response, stream) = opened.map_err(|error| Status::unavailable(error.to_string()))?;
        self.used = Instant::now();
        Ok((Sending::new(stream), Answers::new(response, Held::new(&self.streams))))
    }
}

/// The streams of a connection that somebody holds.
#[derive(Debug)]
struct Streams {
    held: AtomicUsize,
    news: Arc<Notify>,
}

/// Is held as long as the stream.
#[derive(Debug)]
pub(super) struct Held(Arc<Streams>);

impl Held {
    fn new(streams: &Arc<Streams>) -> Held {
        streams.held.fetch_add(1, Ordering::Relaxed);
        Held(streams.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Release);
        self.0.news.notify_one();
    }
}

/// How a connection is made, and used.
#[derive(Clone)]
struct Way {
    authority: Authority,
    manner: Manner,
    patience: Duration,
}

impl Way {
    fn request(&self, path: &'static str) -> Result<Request<()>, Error> {
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(self.authority.clone());
        Request::post(uri.path_and_query(PathAndQuery::from_static(path)).build()?)
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("user-agent", concat!("trunkline/", env!("CARGO_PKG_VERSION")))
            .body(())
    }

    /// Connects, and waits for the far end's first word, which says how many streams it takes.
    async fn connect(self) -> Result<SendRequest<Bytes>, Status> {
        let patience = self.patience;
        let (sender, first_word) = match timeout(patience, self.shake_hands()).await {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => return Err(Status::unavailable(format!("connect: {error}"))),
            Err(_) => return Err(Status::unavailable(format!("did not connect within {patience:?}"))),
        };
        match timeout(patience, first_word).await {
            Ok(Ok(())) => Ok(sender),
            Ok(Err(_)) => Err(Status::unavailable("connect: it broke before its first word")),
            Err(_) => Err(Status::unavailable(format!("did not say within {patience:?} that it speaks HTTP/2"))),
        }
    }

    async fn shake_hands(
        &self,
    ) -> Result<(SendRequest<Bytes>, oneshot::Receiver<()>), Box<dyn std::error::Error + Send + Sync>> {
        let (host, port) = (self.authority.host(), self.authority.port_u16().unwrap_or_default());
        let connection = coalesce::connect(host, port, self.patience, self.manner.patience).await?;
        let turn = connection.turn();
        let (sender, mut connection) = Builder::new()
            .initial_window_size(self.manner.window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(UNDER_WAY)
            // No stream is opened before the far end has said how much one may have under way: there are servers that never open a window
            // again which was overdrawn by then.
            .initial_max_send_streams(0)
            .enable_push(false)
            .handshake(connection)
            .await?;
        let (word, first_word) = oneshot::channel();
        let mut word = Some(word);
        let mut turns = move |cx: &mut Context<'_>| {
            let end = turn.take(&mut connection, cx);
            if let Some(word) = word.take_if(|_| connection.max_concurrent_send_streams() > 0) {
                // Who has no patience any more does not hear it.
                let _ = word.send(());
            }
            end
        };
        tokio::spawn(async move {
            // Its streams tell what has broken, each to its call.
            if let Err(error) = Patient::new(poll_fn(|cx| turns(cx))).await {
                tracing::debug!(target: "services", "a connection ended: {error}");
            }
        });
        Ok((sender, first_word))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;

    use futures_util::future::join_all;
    use h2::server::{Builder, Connection};
    use tokio::net::{TcpListener, TcpStream};
    use tonic::Code;
    use tonic::codegen::http::{HeaderMap, Response};

    use super::*;
    use crate::channel::client::Client;
    use crate::proto::speech::v1::Flush;

    const PATH: &str = "/a.B/C";
    const PATIENCE: Duration = Duration::from_millis(300);

    fn client(far: SocketAddr, patience: Duration) -> Client {
        crate::channel::client("far", &format!("http://{far}"), Manner::PROMPT, patience).expect("good")
    }

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let far = listener.local_addr().expect("bound");
        (listener, far)
    }

    async fn shake_hands(connection: TcpStream, most: u32) -> Connection<TcpStream, Bytes> {
        Builder::new().max_concurrent_streams(most).handshake(connection).await.expect("HTTP/2")
    }

    /// A stream ends when its client ends it.
    fn echo(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
        tokio::spawn(async move {
            let mut stream = respond.send_response(Response::new(()), false).expect("it is up");
            let mut body = request.into_body();
            while body.data().await.is_some() {}
            let ok = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), "0".parse().expect("a value"))]);
            // Its client may have cancelled it.
            let _ = stream.send_trailers(ok);
        });
    }

    async fn ends_well((sending, mut answers): (Sending, Answers)) {
        sending.end();
        assert!(answers.next::<Flush>().await.is_none());
    }

    /// A far end that takes so many streams on each connection; how many connections it has, and has had.
    async fn far_end(most: u32) -> (SocketAddr, Arc<Mutex<(usize, usize)>>) {
        let (listener, far) = listen().await;
        let counted = Arc::new(Mutex::new((0, 0)));
        let counts = counted.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let counts = counts.clone();
                tokio::spawn(async move {
                    let mut connection = shake_hands(connection, most).await;
                    {
                        let (now, ever) = &mut *counts.lock().expect("no panic");
                        (*now, *ever) = (*now + 1, *ever + 1);
                    }
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        echo(request, respond);
                    }
                    counts.lock().expect("no panic").0 -= 1;
                });
            }
        });
        (far, counted)
    }

    #[tokio::test]
    async fn a_far_end_that_takes_few_streams_on_a_connection_has_more_of_them_while_they_are_needed() {
        let (far, connections) = far_end(4).await;
        let authority = far.to_string().parse().expect("an authority");
        let mut all = Connections::new(authority, Manner::PROMPT, Duration::from_secs(5));
        for _ in 0..2 {
            let mut streams = Vec::new();
            while streams.len() < 50 {
                streams.push(all.open(PATH, Instant::now()).await.expect("there is room"));
            }
            let (now, ever) = *connections.lock().expect("no panic");
            assert!((13..=18).contains(&now) && ever == now, "{now} of {ever} connections, in the second round too");
            for stream in streams {
                ends_well(stream).await;
            }
        }
        while all.coming.is_some() {
            all.something_changes().await;
            all.take_stock(Instant::now()).expect("it is there");
        }
        all.take_stock(Instant::now() + UNUSED).expect("it is there");
        assert_eq!(all.lines.len(), 1);
        while connections.lock().expect("no panic").0 > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_far_end_that_takes_any_number_has_one_connection() {
        let (far, connections) = far_end(u32::MAX).await;
        let client = client(far, Duration::from_secs(5));
        for stream in join_all((0..1_000).map(|_| client.open(PATH))).await {
            ends_well(stream.expect("there is room for all")).await;
        }
        assert_eq!(*connections.lock().expect("no panic"), (1, 1));
    }

    #[tokio::test]
    async fn where_there_is_no_other_connection_who_asks_waits_for_a_stream_to_end_and_is_told_if_none_does() {
        let (listener, far) = listen().await;
        tokio::spawn(async move {
            let (connection, _) = listener.accept().await.expect("it comes");
            drop(listener);
            let mut connection = shake_hands(connection, 2).await;
            while let Some(Ok((request, respond))) = connection.accept().await {
                echo(request, respond);
            }
        });
        let client = client(far, PATIENCE);
        let [one, other] = [client.open(PATH).await.expect("it is there"), client.open(PATH).await.expect("so far")];
        let status = client.open(PATH).await.expect_err("there is no room");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("the 2 streams that it has on 1 connections"), "{status}");
        let (third, ()) = tokio::join!(client.open(PATH), ends_well(one));
        ends_well(other).await;
        ends_well(third.expect("one has ended")).await;
    }

    #[tokio::test]
    async fn who_is_asked_to_go_ends_his_streams_and_gets_no_more() {
        let (listener, far) = listen().await;
        // Each connection takes one stream, and says then that it is going.
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut connection = shake_hands(connection, 100).await;
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        echo(request, respond);
                        connection.graceful_shutdown();
                    }
                });
            }
        });
        let client = client(far, Duration::from_secs(5));
        let mut streams = Vec::new();
        while streams.len() < 5 {
            let (mut sending, mut answers) = client.open(PATH).await.expect("it is there");
            // Who opens a stream before the word has come is told to open it again.
            let heard = timeout(Duration::from_millis(50), answers.next::<Flush>()).await;
            if heard.is_err() {
                sending.send(&Flush {}).expect("it is up");
                streams.push((sending, answers));
            }
        }
        for stream in streams {
            ends_well(stream).await;
        }
    }
}
