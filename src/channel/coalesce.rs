//! A connection whose writes wait a little for company.
//!
//! A thousand calls give their recogniser ten thousand pieces of audio a second, each ready at a moment of its own. HTTP/2 writes each as
//! soon as it has it, and a system call and a packet for 1.6 KB cost more than everything else that is done with them: half of the time
//! of recognition, measured. Here what is written in one turn of the connection's task goes out in one piece when the turn is over; if it is
//! little, and the connection's manner allows it, it waits a few milliseconds for what comes meanwhile.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// From so many bytes on nothing more is taken before they are sent.
const FULL: usize = 64 * 1024;
/// From so many on nobody waits for more when the turn of who writes is over: a system call for them costs less than waking up for it.
const ENOUGH: usize = 8 * 1024;

/// A peer that is gone: 10 s of silence, then three questions; of one that is being sent something nobody asks, and what it does not take
/// for as long is not taken at all.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// Makes such a connection. `host`: a name or an address, one of IPv6 in brackets. Of a name with several addresses each gets its share of
/// `within`, lest one that does not answer stands before one that would. `patience`: how long a byte may wait when the turn of who writes is
/// over; not at all, if it is zero.
pub(super) async fn connect(
    host: &str,
    port: u16,
    within: Duration,
    patience: Duration,
) -> io::Result<Coalescing<TcpStream>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    let share = within / addresses.len().max(1) as u32;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                watch_over(&stream)?;
                return Ok(Coalescing::new(stream, patience));
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address} did not answer in {share:?}")),
        }
    }
    Err(last)
}

fn watch_over(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_RETRIES))?;
    let gone = KEEPALIVE + KEEPALIVE_INTERVAL * KEEPALIVE_RETRIES;
    Ok(set_tcp_user_timeout(stream, gone.as_millis() as u32)?)
}

/// The turns of the task that writes: HTTP/2 wants what it has written to be on its way after each message, whatever it has to write
/// next. Who takes its turns by this sends what comes of one in one piece.
#[derive(Debug, Default)]
pub(super) struct Turn {
    goes_on: AtomicBool,
    /// Something has been written that waits for its end.
    waits: AtomicBool,
}

impl Turn {
    /// Polls the task, and if it has written something once more, so that it is sent, or its patience begins.
    pub(super) fn take<F: Future + Unpin>(&self, task: &mut F, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.goes_on.store(true, Relaxed);
        let done = Pin::new(&mut *task).poll(cx);
        self.goes_on.store(false, Relaxed);
        if done.is_pending() && self.waits.swap(false, Relaxed) { Pin::new(task).poll(cx) } else { done }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Coalescing<S> {
    connection: S,
    waiting: Vec<u8>,
    /// How much of `waiting` the connection has taken.
    taken: usize,
    due: Pin<Box<Sleep>>,
    /// `due` is the end of somebody's patience.
    armed: bool,
    patience: Duration,
    turn: Arc<Turn>,
}

impl<S: AsyncWrite + Unpin> Coalescing<S> {
    /// Must be called within a tokio runtime.
    fn new(connection: S, patience: Duration) -> Coalescing<S> {
        let waiting = Vec::with_capacity(FULL);
        let (due, turn) = (Box::pin(sleep(patience)), Arc::default());
        Coalescing { connection, waiting, taken: 0, due, armed: false, patience, turn }
    }

    /// For who has the turns of its task in hand.
    pub(super) fn turn(&self) -> Arc<Turn> {
        self.turn.clone()
    }

    /// Gives the connection all that waits.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.taken < self.waiting.len() {
            let taken = ready!(Pin::new(&mut self.connection).poll_write(cx, &self.waiting[self.taken..]))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.taken += taken;
        }
        self.waiting.clear();
        self.taken = 0;
        self.armed = false;
        Pin::new(&mut self.connection).poll_flush(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalescing<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalescing<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.waiting.len() >= FULL {
            ready!(self.send(cx))?;
        }
        slices.iter().for_each(|slice| self.waiting.extend_from_slice(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Is done at once while a turn or patience lasts and there is not enough, and has its task woken at the end of patience.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if self.turn.goes_on.load(Relaxed) && self.waiting.len() < FULL && self.taken == 0 {
            self.turn.waits.store(true, Relaxed);
            return Poll::Ready(Ok(()));
        }
        if self.waiting.len() < ENOUGH && self.taken == 0 && !self.patience.is_zero() {
            if !self.armed {
                self.armed = true;
                let due = Instant::now() + self.patience;
                self.due.as_mut().reset(due);
            }
            if self.due.as_mut().poll(cx).is_pending() {
                return Poll::Ready(Ok(()));
            }
        }
        self.send(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(cx))?;
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    /// Nobody's patience ends in a test, unless it is over from the beginning.
    const FOREVER: Duration = Duration::from_secs(3_600);

    async fn flush(connection: &mut Coalescing<DuplexStream>) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *connection).poll_flush(cx)).await
    }

    async fn nothing_comes(far: &mut DuplexStream) -> bool {
        tokio::time::timeout(Duration::ZERO, far.read_u8()).await.is_err()
    }

    #[tokio::test]
    async fn what_comes_within_the_patience_waits_and_goes_out_when_there_is_enough() {
        let (near, mut far) = duplex(1 << 20);
        let mut near = Coalescing::new(near, FOREVER);
        for _ in 0..2 {
            near.write_all(b"piece").await.expect("it is up");
            flush(&mut near).await.expect("it is up");
            assert!(nothing_comes(&mut far).await);
        }
        near.write_all(&[7; FULL]).await.expect("it is up");
        flush(&mut near).await.expect("it is up");
        let mut got = vec![0; 10 + FULL];
        far.read_exact(&mut got).await.expect("it has come");
        assert!(got.starts_with(b"piecepiece"));
    }

    #[tokio::test]
    async fn what_a_turn_writes_waits_for_its_end_and_goes_out_if_it_is_enough() {
        let (near, mut far) = duplex(1 << 20);
        let mut near = Coalescing::new(near, FOREVER);
        let turn = near.turn();
        for (pieces, goes) in [(3, false), (2, false), (6, true), (1, false)] {
            // As HTTP/2 does: flushes after each piece, and whenever it is polled.
            let mut left = pieces;
            let mut task = poll_fn(|cx| -> Poll<()> {
                while left > 0 {
                    left -= 1;
                    let _ = Pin::new(&mut near).poll_write(cx, &[7; 1_600]);
                    let _ = Pin::new(&mut near).poll_flush(cx);
                }
                let _ = Pin::new(&mut near).poll_flush(cx);
                Poll::Pending
            });
            assert!(poll_fn(|cx| Poll::Ready(turn.take(&mut task, cx))).await.is_pending());
            let mut got = [0; 20_000];
            let read = tokio::time::timeout(Duration::ZERO, far.read(&mut got)).await;
            // All that the turns before have left is in it.
            assert_eq!(read.map_or(0, |read| read.expect("it is up")), if goes { 11 * 1_600 } else { 0 });
        }
    }

    #[tokio::test]
    async fn who_has_no_patience_sends_what_a_turn_writes_in_one_piece_at_its_end() {
        let (near, mut far) = duplex(1 << 20);
        let mut near = Coalescing::new(near, Duration::ZERO);
        let turn = near.turn();
        for pieces in [3, 0, 2] {
            let mut left = pieces;
            let mut got = [0; 100];
            let mut task = poll_fn(|cx| -> Poll<()> {
                while left > 0 {
                    left -= 1;
                    let _ = Pin::new(&mut near).poll_write(cx, &[7; 13]);
                    let _ = Pin::new(&mut near).poll_flush(cx);
                    let mut early = ReadBuf::new(&mut got);
                    assert!(Pin::new(&mut far).poll_read(cx, &mut early).is_pending(), "its turn is not over");
                }
                let _ = Pin::new(&mut near).poll_flush(cx);
                Poll::Pending
            });
            assert!(poll_fn(|cx| Poll::Ready(turn.take(&mut task, cx))).await.is_pending());
            let read = poll_fn(|cx| {
                let mut read = ReadBuf::new(&mut got);
                let _ = Pin::new(&mut far).poll_read(cx, &mut read);
                Poll::Ready(read.filled().len())
            });
            assert_eq!(read.await, pieces * 13);
        }
    }

    #[tokio::test]
    async fn the_task_is_woken_when_patience_ends() {
        let (near, mut far) = duplex(1 << 20);
        let mut near = Coalescing::new(near, Duration::from_millis(20));
        near.write_all(b"x").await.expect("it is up");
        // As HTTP/2 does: flushes whenever it is woken, and waits for nothing but that.
        let http2 = tokio::spawn(async move {
            poll_fn(|cx| -> Poll<()> {
                let _ = Pin::new(&mut near).poll_flush(cx);
                Poll::Pending
            })
            .await
        });
        assert_eq!(far.read_u8().await.expect("it comes"), b'x');
        http2.abort();
    }

    #[tokio::test]
    async fn nothing_is_lost_where_much_is_written_into_little_room() {
        let (near, mut far) = duplex(1_000);
        let mut near = Coalescing::new(near, Duration::from_millis(1));
        let sent: Vec<u8> = (0..300_000).map(|n| (n % 251) as u8).collect();
        let all = sent.clone();
        let writer = tokio::spawn(async move {
            for piece in all.chunks(1_600) {
                near.write_all(piece).await.expect("it is up");
                near.flush().await.expect("it is up");
            }
            near.shutdown().await.expect("it is up");
        });
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.expect("it ends");
        assert!(got == sent);
        writer.await.expect("no panic");
    }

    #[tokio::test]
    async fn a_broken_connection_is_told() {
        let (near, far) = duplex(10);
        let mut near = Coalescing::new(near, Duration::ZERO);
        drop(far);
        near.write_all(b"lost").await.expect("not known yet");
        // A timer of no time still has to be looked at by the runtime.
        let told = loop {
            if let Err(told) = flush(&mut near).await {
                break told;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert_eq!(told.kind(), io::ErrorKind::BrokenPipe);
    }
}
