//! One connection of TCP or TLS: its task reads and writes until it is over, and knows what it has sent that nobody has answered.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::streams::Limits;
use super::{Arrival, Metrics, call_id};
use crate::ms::Ms;
use crate::sip::message::framing::{Framed, Framer, PONG};
use crate::sip::message::{Target, Via, refuse_unreadable};
use crate::sip::transaction::GIVE_UP;
use crate::sip::transport::Transport;

/// Messages that may wait to be written.
pub(super) const QUEUE: usize = 256;
/// How long the far side may take to read what we write.
const STALLED: Duration = Duration::from_secs(10);
/// How long a message may take from its first byte to its last.
const SLOWEST: Duration = Duration::from_secs(30);
/// Requests without an answer that are remembered.
const UNANSWERED: usize = 1_024;
/// An answer comes within this, or never (RFC 3261 §17: 64·T1).
const ANSWERED: Ms = GIVE_UP;

/// A stream of bytes, plain or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A message on its way.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) to: Target,
    pub(super) payload: Arc<[u8]>,
    /// It was lost with a connection already.
    pub(super) again: bool,
}

impl Parcel {
    pub(super) fn is_response(&self) -> bool {
        self.payload.starts_with(b"SIP/")
    }

    /// Whether anybody answers it.
    fn is_asking(&self) -> bool {
        !self.is_response() && !self.payload.starts_with(b"ACK ")
    }
}

pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) peer: SocketAddr,
    pub(super) inbound: bool,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) arrivals: mpsc::Sender<Arrival>,
}

impl Connection {
    /// Serves the connection to its end; what was sent and not answered, and what could not be sent any more, is left over. `known` is told
    /// the Via of the first request that comes, from which the far side's own port is known.
    pub(super) async fn run(
        &self,
        mut stream: Box<dyn Stream>,
        parcels: &mut mpsc::Receiver<Parcel>,
        mut known: impl FnMut(&Via),
    ) -> Vec<Parcel> {
        let gauge = self.metrics.connections(self.transport);
        gauge.inc();
        let mut unanswered: VecDeque<(Instant, Parcel)> = VecDeque::new();
        let reason = self.serve(&mut *stream, parcels, &mut unanswered, &mut known).await;
        gauge.dec();
        if let Some(reason) = reason {
            self.metrics.failed(reason);
            tracing::info!(peer = %self.peer, transport = %self.transport, reason, "SIP connection ended");
        }
        let _ = timeout(Duration::from_secs(1), stream.shutdown()).await;
        let now = Instant::now();
        let waiting = unanswered.into_iter().filter(|(sent, _)| now - *sent < ANSWERED.into());
        waiting.map(|(_, parcel)| parcel).collect()
    }

    /// Why it ended; `None`: the far side closed it, or nobody needs it.
    async fn serve(
        &self,
        stream: &mut dyn Stream,
        parcels: &mut mpsc::Receiver<Parcel>,
        unanswered: &mut VecDeque<(Instant, Parcel)>,
        known: &mut impl FnMut(&Via),
    ) -> Option<&'static str> {
        let mut framer = Framer::new();
        let mut buffer = vec![0; 16 * 1_024];
        let mut first = self.inbound;
        // Of the message that has begun.
        let mut begun: Option<Instant> = None;
        let mut heard = Instant::now();
        loop {
            let patience = match begun {
                Some(begun) => SLOWEST.saturating_sub(begun.elapsed()),
                None if self.inbound => self.limits.idle.saturating_sub(heard.elapsed()),
                // Ours stay: the far side may want to reach us by them.
                None => Duration::from_secs(86_400),
            };
            tokio::select! {
                parcel = parcels.recv() => {
                    let parcel = parcel?;
                    let payload = parcel.payload.clone();
                    if parcel.is_asking() {
                        if unanswered.len() == UNANSWERED {
                            unanswered.pop_front();
                        }
                        unanswered.push_back((Instant::now(), parcel));
                    }
                    if let Err(reason) = write(stream, &payload).await {
                        return Some(reason);
                    }
                    self.metrics.stream_sent(self.transport);
                    heard = Instant::now();
                }
                read = timeout(patience, stream.read(&mut buffer)) => {
                    let length = match read {
                        Ok(Ok(0)) => return None,
                        Ok(Ok(length)) => length,
                        Ok(Err(error)) => {
                            tracing::debug!(peer = %self.peer, %error, "reading from a SIP connection");
                            return Some("broken");
                        }
                        Err(_) if begun.is_some() => return Some("stalled"),
                        Err(_) if self.inbound => return Some("idle"),
                        Err(_) => continue,
                    };
                    heard = Instant::now();
                    framer.push(&buffer[..length]);
                    loop {
                        match framer.poll() {
                            Ok(None) => break,
                            Ok(Some(Framed::Ping)) => {
                                if let Err(reason) = write(stream, PONG).await {
                                    return Some(reason);
                                }
                            }
                            Ok(Some(Framed::Message(payload))) => {
                                begun = None;
                                self.metrics.stream_received(self.transport);
                                if payload.starts_with(b"SIP/") {
                                    answered(unanswered, &payload);
                                } else if std::mem::take(&mut first)
                                    && let Some(via) = top_via(&payload)
                                {
                                    known(&via);
                                }
                                let (transport, source) = (self.transport, self.peer);
                                // What is dropped here is not sent again: the far side waits until we have room.
                                if self.arrivals.send(Arrival::Message { transport, source, payload }).await.is_err() {
                                    return None;
                                }
                            }
                            Err(broken) => {
                                // RFC 3261 §18.3: nobody knows where the next message begins.
                                if let Some(reply) = refuse_unreadable(&broken.head, broken.error, self.peer) {
                                    let _ = write(stream, &reply.payload).await;
                                }
                                tracing::warn!(peer = %self.peer, error = %broken.error, "a SIP stream cannot be read any further");
                                return Some("framing");
                            }
                        }
                    }
                    begun = if framer.is_within() { begun.or(Some(heard)) } else { None };
                }
            }
        }
    }
}

async fn write(stream: &mut dyn Stream, bytes: &[u8]) -> Result<(), &'static str> {
    let written = timeout(STALLED, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err("broken"),
        Err(_) => Err("stalled"),
    }
}

/// Any response shows that the requests of its call have arrived.
fn answered(unanswered: &mut VecDeque<(Instant, Parcel)>, response: &[u8]) {
    let Some(id) = call_id(response) else { return };
    unanswered.retain(|(_, parcel)| call_id(&parcel.payload).as_ref() != Some(&id));
}

fn top_via(request: &[u8]) -> Option<Via> {
    let message = crate::sip::message::parse(request).ok()?;
    message.top_via().ok()
}
