//! The connections of one endpoint, and which of them the next stream goes to.
//!
//! HTTP/2 has the far end say how many streams it takes on one connection, and many say few: Kestrel 100, nginx 128, Go's net/http 250. A call
//! has a stream for as long as it lasts, so a thousand calls may need more than one connection. A stream goes to the first that has room to
//! spare; where none has, one more is made, and what room is left serves until it is there. One that has had no stream for a minute is let go
//! when another has room to spare.
//!
//! No stream is opened for which there is no room as we count: it would wait at our end, and those that are given up meanwhile would all be
//! opened and cancelled in the moment in which there is room; servers take a burst of that for an attack. Who asks waits instead, and is told
//! when it was in vain.

use std::future::poll_fn;
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
/// A connection that has no stream is kept for so long, where another has room to spare.
const UNUSED: Duration = Duration::from_secs(60);

/// All connections of an endpoint.
pub(super) struct Connections {
    way: Way,
    lines: Vec<Line>,
    coming: Option<Coming>,
    /// Until then there will be no more than there are.
    no_more: Option<Instant>,
    /// A stream has ended, or what was coming has come.
    news: Arc<Notify>,
}

/// One more connection that is being made.
struct Coming {
    made: oneshot::Receiver<Result<SendRequest<Bytes>, Status>>,
    /// There was none when it was begun.
    first: bool,
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
    /// `UNAVAILABLE` with the reason where there is no connection; `RESOURCE_EXHAUSTED`, because of [`NoRoom`], where there was no room in time.
    pub(super) async fn open(&mut self, path: &'static str, asked: Instant) -> Result<(Sending, Answers), Status> {
        let deadline = asked + self.way.patience;
        loop {
            self.take_stock(Instant::now())?;
            if let Some(line) = self.lines.iter().find(|line| line.room > line.spare) {
                return line.open(&self.way, path);
            }
            if self.coming.is_none() && (self.is_empty() || self.lines.len() < MOST && self.no_more.is_none()) {
                self.make_one_more();
            }
            let widest = self.lines.iter().max_by_key(|line| line.room);
            if let Some(line) = widest.filter(|line| line.room > 0) {
                return line.open(&self.way, path);
            }
            if self.is_empty() {
                // It comes, or it is said why it does not.
                self.news.notified().await;
            } else if Instant::now() >= deadline {
                return Err(self.full());
            } else {
                let until = self.no_more.map_or(deadline, |until| until.min(deadline));
                // Whether anything is new, or it is time for another connection, or to give up, is seen above.
                let _ = timeout_at(until, self.news.notified()).await;
            }
        }
    }

    /// Looks which connections there are, and how much room they have; lets those go that are not needed any more.
    ///
    /// # Errors
    /// There is none, and none could be made.
    pub(super) fn take_stock(&mut self, now: Instant) -> Result<(), Status> {
        self.no_more.take_if(|until| *until <= now);
        self.lines.retain_mut(|line| line.look(now));
        let mut room_elsewhere = false;
        self.lines.retain(|line| {
            let stays = !room_elsewhere || now.duration_since(line.used) < UNUSED;
            room_elsewhere |= line.room > line.spare;
            stays
        });
        let Some(Coming { made, first }) = &mut self.coming else { return Ok(()) };
        let first = *first;
        let made = match made.try_recv() {
            Ok(made) => made,
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Closed) => Err(Status::unavailable("the runtime is ending")),
        };
        self.coming = None;
        let usable = made.and_then(|connection| {
            let mut line = Line::new(connection, self.news.clone(), now);
            if line.look(now) { Ok(line) } else { Err(Status::unavailable("connect: it went away at once")) }
        });
        match usable {
            Ok(line) => {
                self.lines.push(line);
                tracing::debug!(target: "services", "{} connections to {}", self.lines.len(), self.way.authority);
            }
            Err(status) if first => return Err(status),
            Err(status) => {
                let (there, endpoint, why) = (self.lines.len(), &self.way.authority, status.message());
                tracing::warn!(target: "services", "{endpoint}: {there} connections are nearly full, and there is no other: {why}");
                self.no_more = Some(now + AGAIN);
            }
        }
        Ok(())
    }

    /// After so long there may be some that are not needed any more, if nobody asks meanwhile.
    pub(super) fn rest(&self) -> Option<Duration> {
        (self.lines.len() > 1).then_some(UNUSED)
    }

    fn make_one_more(&mut self) {
        let (told, made) = oneshot::channel();
        let (way, news) = (self.way.clone(), self.news.clone());
        tokio::spawn(async move {
            // If it is not waited for any more, it is closed again.
            let _ = told.send(way.connect().await);
            news.notify_one();
        });
        self.coming = Some(Coming { made, first: self.is_empty() });
    }

    fn full(&self) -> Status {
        let taken: usize = self.lines.iter().map(|line| line.streams.held.load(Ordering::Relaxed)).sum();
        let (there, patience) = (self.lines.len(), self.way.patience);
        let mut status = Status::resource_exhausted(format!(
            "takes no more than the {taken} streams that it has on {there} connections; {patience:?} were waited for one to end"
        ));
        status.set_source(Arc::new(NoRoom));
        status
    }
}

/// The far end takes no more streams: it is we who say so, without having asked it.
#[derive(Debug, thiserror::Error)]
#[error("no room")]
pub(super) struct NoRoom;

/// One connection.
struct Line {
    connection: SendRequest<Bytes>,
    streams: Arc<Streams>,
    /// When it was last seen to have a stream.
    used: Instant,
    /// How many more it takes.
    room: usize,
    /// Of these, how many only if there is no other connection.
    spare: usize,
}

impl Line {
    fn new(connection: SendRequest<Bytes>, news: Arc<Notify>, now: Instant) -> Line {
        let streams = Arc::new(Streams { held: AtomicUsize::new(0), news });
        Line { connection, streams, used: now, room: 0, spare: 0 }
    }

    /// Looks how much room it has; false if it is broken, or takes no more streams.
    fn look(&mut self, now: Instant) -> bool {
        // No stream is opened by this handle itself, so there is none for which it could wait.
        let ready = self.connection.poll_ready(&mut Context::from_waker(Waker::noop()));
        let (most, held) = (self.connection.current_max_send_streams(), self.streams.held.load(Ordering::Acquire));
        self.spare = SPARE.min(most / 4);
        self.room = most.saturating_sub(held);
        if held > 0 {
            self.used = now;
        }
        !matches!(ready, Poll::Ready(Err(_)))
    }

    fn open(&self, way: &Way, path: &'static str) -> Result<(Sending, Answers), Status> {
        let request = way.request(path).map_err(|error| Status::internal(error.to_string()))?;
        // By a handle of its own, which would keep the stream from being cancelled if it were kept.
        let opened = self.connection.clone().send_request(request, false);
        let (response, stream) = opened.map_err(|error| {
            let mut status = Status::unavailable(error.to_string());
            status.set_source(Arc::new(error));
            status
        })?;
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
            Err(_) => {
                let what = format!("did not say within {patience:?} that it speaks HTTP/2 and takes streams");
                Err(Status::unavailable(what))
            }
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

    /// A far end that takes so many streams on each connection, and does so with it; how many connections it has, and has had.
    async fn far_end<F: Future<Output = ()> + Send + 'static>(
        most: u32,
        does: impl Fn(Connection<TcpStream, Bytes>) -> F + Clone + Send + 'static,
    ) -> (SocketAddr, Arc<Mutex<(usize, usize)>>) {
        let (listener, far) = listen().await;
        let counted = Arc::new(Mutex::new((0, 0)));
        let counts = counted.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (counts, does) = (counts.clone(), does.clone());
                tokio::spawn(async move {
                    let connection = shake_hands(connection, most).await;
                    {
                        let (now, ever) = &mut *counts.lock().expect("no panic");
                        (*now, *ever) = (*now + 1, *ever + 1);
                    }
                    does(connection).await;
                    counts.lock().expect("no panic").0 -= 1;
                });
            }
        });
        (far, counted)
    }

    /// … serves each stream.
    async fn echoes(mut connection: Connection<TcpStream, Bytes>) {
        while let Some(Ok((request, respond))) = connection.accept().await {
            echo(request, respond);
        }
    }

    #[tokio::test]
    async fn a_far_end_that_takes_few_streams_on_a_connection_has_more_of_them_while_they_are_needed() {
        let (far, connections) = far_end(4, echoes).await;
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
            all.news.notified().await;
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
        let (far, connections) = far_end(u32::MAX, echoes).await;
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
            echoes(shake_hands(connection, 2).await).await;
        });
        let client = client(far, PATIENCE);
        let [one, other] = [client.open(PATH).await.expect("it is there"), client.open(PATH).await.expect("so far")];
        let status = client.open(PATH).await.expect_err("there is no room");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("the 2 streams that it has on 1 connections"), "{status}");
        let health = crate::channel::pool::health(&client, "", "far", 2 * PATIENCE).await;
        assert!(health.is_err_and(|failed| !failed.at_once), "it has said nothing of its health");
        let (third, ()) = tokio::join!(client.open(PATH), ends_well(one));
        ends_well(other).await;
        ends_well(third.expect("one has ended")).await;
    }

    /// One stream on each connection, and nothing is said on it before it has been told something: who waits for room has to be woken by it.
    #[tokio::test]
    async fn all_who_ask_at_once_get_their_turn_where_room_is_scarce() {
        let (far, _) = far_end(1, async |mut connection| {
            while let Some(Ok((mut request, respond))) = connection.accept().await {
                tokio::spawn(async move {
                    assert!(request.body_mut().data().await.is_some());
                    echo(request, respond);
                });
            }
        })
        .await;
        let client = client(far, Duration::from_secs(20));
        let calls = (0..300).map(|_| async {
            let (mut sending, answers) = client.open(PATH).await.expect("its turn comes");
            sending.room().await;
            sending.send(&Flush {}).expect("it is up");
            ends_well((sending, answers)).await;
        });
        timeout(Duration::from_secs(20), join_all(calls)).await.expect("nobody waits for ever");
    }

    #[tokio::test]
    async fn one_that_goes_away_after_its_first_word_is_an_error_for_each_who_asks() {
        let goes = async |mut connection: Connection<_, _>| connection.abrupt_shutdown(h2::Reason::NO_ERROR);
        let (far, connections) = far_end(100, goes).await;
        let client = client(far, PATIENCE);
        for n in 1..=3 {
            let opened = client.hear(PATH, &Flush {}).await;
            let told = match opened {
                Ok(mut answers) => {
                    answers.next::<Flush>().await.expect("no end is a good one").expect_err("it is gone")
                }
                Err(status) => status,
            };
            assert!(matches!(told.code(), Code::Unavailable | Code::Unknown), "{told}");
            assert_eq!(connections.lock().expect("no panic").1, n);
        }
    }

    #[tokio::test]
    async fn who_is_asked_to_go_ends_his_streams_and_gets_no_more() {
        // Each connection takes one stream, and says then that it is going.
        let (far, _) = far_end(100, async |mut connection| {
            while let Some(Ok((request, respond))) = connection.accept().await {
                echo(request, respond);
                connection.graceful_shutdown();
            }
        })
        .await;
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
