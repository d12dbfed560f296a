//! The connections of TCP and TLS: which there are, and which of them a message takes.
//!
//! | what is sent | takes |
//! |---|---|
//! | a response | the connection that its request came by; if that is gone, a new one to where the far side listens (RFC 3261 §18.2.2) |
//! | a request | an open connection to that address; one that came from there will do, if its Via named that address (RFC 5923); else a new one |
//!
//! One task owns the table. What is lost with a connection before it was answered is sent once more by a new one: to the far side that is a
//! repetition like any other. If that fails too, whoever sent it is told.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connection::{Connection, Parcel, QUEUE, Stream};
use super::tls::{Acceptor, Client};
use super::{Arrival, Metrics, call_id};
use crate::sip::message::{Target, Via, parse};
use crate::sip::transport::Transport;

/// How long a connection may take to come about, and its handshake after it.
const CONNECT: Duration = Duration::from_secs(5);
/// A peer that is silently gone is found out after a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_EACH: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TRIES: u32 = 3;
/// Things that may wait for the owner of the table.
const INBOX: usize = 4_096;

/// What the connections of others may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most connections that came to us.
    pub connections: usize,
    /// Of one address.
    pub per_source: usize,
    /// A connection that came to us and says nothing for so long is closed.
    pub idle: Duration,
}

/// From which addresses connections are taken; from others not a byte is read.
pub type Allowed = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

type Id = u64;

const CROWDED: &str = "too many messages wait for connections";

/// What the owner of the table is told.
enum Told {
    Send {
        transport: Transport,
        at: SocketAddr,
        parcel: Parcel,
        client: Option<Arc<Client>>,
    },
    Came {
        transport: Transport,
        stream: TcpStream,
        peer: SocketAddr,
    },
    /// The handshake of one that came is done.
    Secured {
        id: Id,
        verified: bool,
    },
    /// The far side of one that came listens there.
    Listens {
        id: Id,
        at: SocketAddr,
    },
    Gone {
        id: Id,
        left: Vec<Parcel>,
        /// Why it did not come about, if it did not.
        unmade: Option<String>,
    },
}

/// The way to the connections.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    told: mpsc::Sender<Told>,
    metrics: Arc<Metrics>,
}

struct Open {
    transport: Transport,
    peer: SocketAddr,
    inbound: bool,
    /// We know who it is: it is a plain one, or a certificate has told.
    trusted: bool,
    client: Option<Arc<Client>>,
    parcels: mpsc::Sender<Parcel>,
    /// Where its far side listens, as it says.
    listens: Option<SocketAddr>,
}

struct Owner {
    open: HashMap<Id, Open>,
    next: Id,
    limits: Limits,
    allowed: Allowed,
    acceptor: Option<Acceptor>,
    metrics: Arc<Metrics>,
    arrivals: mpsc::Sender<Arrival>,
    told: mpsc::Sender<Told>,
}

impl Streams {
    pub(super) fn start(
        limits: Limits,
        allowed: Allowed,
        acceptor: Option<Acceptor>,
        metrics: Arc<Metrics>,
        arrivals: mpsc::Sender<Arrival>,
    ) -> Streams {
        let (told, inbox) = mpsc::channel(INBOX);
        let streams = Streams { told: told.clone(), metrics: metrics.clone() };
        let owner = Owner { open: HashMap::new(), next: 0, limits, allowed, acceptor, metrics, arrivals, told };
        tokio::spawn(owner.run(inbox));
        streams
    }

    /// Takes connections that come.
    pub(super) fn listen(&self, transport: Transport, listener: TcpListener) {
        let streams = self.clone();
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = streams.told.closed() => return,
                };
                match accepted {
                    Ok((stream, peer)) => drop(streams.told.send(Told::Came { transport, stream, peer }).await),
                    Err(error) => {
                        tracing::warn!(%error, "a SIP connection could not be taken");
                        // Out of files: they will not come back in the next microsecond.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        });
    }

    /// Puts a message on its way. If it does not arrive, [`Arrival::Unsent`] says so later.
    pub(super) fn send(
        &self,
        transport: Transport,
        at: SocketAddr,
        to: Target,
        payload: &[u8],
        client: Option<Arc<Client>>,
    ) -> io::Result<()> {
        let parcel = Parcel { to, payload: payload.into(), again: false };
        self.told.try_send(Told::Send { transport, at, parcel, client }).map_err(|_| {
            self.metrics.unsent("queue");
            io::Error::other(CROWDED)
        })
    }
}

impl Owner {
    async fn run(mut self, mut inbox: mpsc::Receiver<Told>) {
        let arrivals = self.arrivals.clone();
        loop {
            let told = tokio::select! {
                told = inbox.recv() => told,
                () = arrivals.closed() => return,
            };
            match told {
                Some(Told::Send { transport, at, parcel, client }) => self.send(transport, at, parcel, client),
                Some(Told::Came { transport, stream, peer }) => self.came(transport, stream, peer),
                Some(Told::Secured { id, verified }) => {
                    if let Some(open) = self.open.get_mut(&id) {
                        open.trusted = verified;
                    }
                }
                Some(Told::Listens { id, at }) => {
                    if let Some(open) = self.open.get_mut(&id) {
                        open.listens = Some(at);
                    }
                }
                Some(Told::Gone { id, left, unmade }) => self.gone(id, left, unmade),
                None => return,
            }
        }
    }

    fn send(&mut self, transport: Transport, at: SocketAddr, parcel: Parcel, client: Option<Arc<Client>>) {
        let response = parcel.is_response();
        let fits = |open: &&Open| {
            open.transport == transport
                && match (response, open.inbound) {
                    (true, _) => open.peer == at,
                    (false, true) => open.trusted && (open.peer == at || open.listens == Some(at)),
                    (false, false) => open.peer == at && same(&open.client, &client),
                }
        };
        if let Some(open) = self.open.values().find(fits) {
            return match open.parcels.try_send(parcel) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(parcel)) => self.unsent(parcel, "queue", CROWDED),
                Err(mpsc::error::TrySendError::Closed(parcel)) => self.connect(transport, at, parcel, client),
            };
        }
        self.connect(transport, at, parcel, client);
    }

    fn connect(&mut self, transport: Transport, at: SocketAddr, parcel: Parcel, client: Option<Arc<Client>>) {
        let at = if parcel.is_response() { way_back(&parcel.payload) } else { Some(at) };
        let Some(at) = at else { return self.unsent(parcel, "connect", "nobody knows where to") };
        if transport == Transport::Tls && client.is_none() {
            return self.unsent(parcel, "connect", "TLS is not configured");
        }
        let (id, connection, mut inbox) = self.add(transport, at, false, client.clone());
        let told = self.told.clone();
        // It is new and empty.
        if let Some(open) = self.open.get(&id) {
            let _ = open.parcels.try_send(parcel);
        }
        tokio::spawn(async move {
            let stream = match timeout(CONNECT, dial(transport, at, client)).await {
                Ok(result) => result,
                Err(_) => Err(("connect", io::Error::from(io::ErrorKind::TimedOut))),
            };
            let (left, unmade) = match stream {
                Ok(stream) => (connection.run(stream, &mut inbox, |_| {}).await, None),
                Err((reason, error)) => {
                    connection.metrics.failed(reason);
                    tracing::warn!(peer = %at, %transport, %error, "SIP connection could not be made");
                    (Vec::new(), Some(error.to_string()))
                }
            };
            finish(id, left, unmade, inbox, &told).await;
        });
    }

    fn came(&mut self, transport: Transport, stream: TcpStream, peer: SocketAddr) {
        let others = || self.open.values().filter(|open| open.inbound);
        let refusal = if !(self.allowed)(peer.ip()) {
            Some("source")
        } else if others().count() >= self.limits.connections {
            Some("limit")
        } else if others().filter(|open| open.peer.ip() == peer.ip()).count() >= self.limits.per_source {
            Some("source_limit")
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.metrics.refused(reason);
            // A stranger is told nothing, and fills no log either.
            if reason != "source" {
                tracing::warn!(%peer, reason, "SIP connection refused");
            }
            return;
        }
        prepare(&stream);
        let (id, connection, mut inbox) = self.add(transport, peer, true, None);
        let (told, acceptor) = (self.told.clone(), self.acceptor.clone());
        tokio::spawn(async move {
            let stream: Box<dyn Stream> = match (transport, acceptor) {
                (Transport::Tls, Some(acceptor)) => match timeout(CONNECT, acceptor.accept(stream)).await {
                    Ok(Ok((stream, verified))) => {
                        let _ = told.send(Told::Secured { id, verified }).await;
                        Box::new(stream)
                    }
                    failed => {
                        let error = failed.map_or_else(
                            |_| "timed out".to_owned(),
                            |r| r.err().map_or_else(String::new, |e| e.to_string()),
                        );
                        connection.metrics.refused("handshake");
                        tracing::warn!(%peer, error, "TLS handshake failed");
                        return finish(id, Vec::new(), Some(error), inbox, &told).await;
                    }
                },
                _ => Box::new(stream),
            };
            let known = |via: &Via| {
                // RFC 5923 in spirit: only of its own address may it say that it listens there.
                if let Some(at) = via.way_back().filter(|at| at.ip() == peer.ip()) {
                    let _ = told.try_send(Told::Listens { id, at });
                }
            };
            let left = connection.run(stream, &mut inbox, known).await;
            finish(id, left, None, inbox, &told).await;
        });
    }

    fn add(
        &mut self,
        transport: Transport,
        peer: SocketAddr,
        inbound: bool,
        client: Option<Arc<Client>>,
    ) -> (Id, Connection, mpsc::Receiver<Parcel>) {
        let (parcels, inbox) = mpsc::channel(QUEUE);
        let id = self.next;
        self.next += 1;
        let trusted = transport == Transport::Tcp;
        self.open.insert(id, Open { transport, peer, inbound, trusted, client, parcels, listens: None });
        let (limits, metrics, arrivals) = (self.limits, self.metrics.clone(), self.arrivals.clone());
        (id, Connection { transport, peer, inbound, limits, metrics, arrivals }, inbox)
    }

    fn gone(&mut self, id: Id, left: Vec<Parcel>, unmade: Option<String>) {
        let Some(open) = self.open.remove(&id) else { return };
        for mut parcel in left {
            if let Some(error) = &unmade {
                self.unsent(parcel, "connect", error);
                continue;
            }
            if std::mem::replace(&mut parcel.again, true) {
                self.unsent(parcel, "lost", "the connection was lost");
                continue;
            }
            let at = match (&parcel.to, open.inbound, open.listens) {
                (_, true, Some(listens)) => listens,
                (Target::Addr(at), ..) => *at,
                _ => open.peer,
            };
            self.send(open.transport, at, parcel, open.client.clone());
        }
    }

    fn unsent(&self, parcel: Parcel, reason: &'static str, why: &str) {
        self.metrics.unsent(reason);
        if parcel.is_response() {
            // It is said again when its request is.
            return;
        }
        let Some(call_id) = call_id(&parcel.payload) else { return };
        if self.arrivals.try_send(Arrival::Unsent { call_id, to: parcel.to, why: why.to_owned() }).is_err() {
            self.metrics.dropped("backlog");
        }
    }
}

/// Whether they are the same trunk's.
fn same(one: &Option<Arc<Client>>, other: &Option<Arc<Client>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

/// Tells the owner that a connection is over, with all that it did not get rid of.
async fn finish(
    id: Id,
    mut left: Vec<Parcel>,
    unmade: Option<String>,
    mut inbox: mpsc::Receiver<Parcel>,
    told: &mpsc::Sender<Told>,
) {
    inbox.close();
    while let Some(parcel) = inbox.recv().await {
        left.push(parcel);
    }
    let _ = told.send(Told::Gone { id, left, unmade }).await;
}

async fn dial(
    transport: Transport,
    at: SocketAddr,
    client: Option<Arc<Client>>,
) -> Result<Box<dyn Stream>, (&'static str, io::Error)> {
    let stream = TcpStream::connect(at).await.map_err(|error| ("connect", error))?;
    prepare(&stream);
    match client.filter(|_| transport == Transport::Tls) {
        Some(client) => Ok(Box::new(client.connect(stream).await.map_err(|error| ("handshake", error))?)),
        None => Ok(Box::new(stream)),
    }
}

fn prepare(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keep_alive =
        TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE_EACH).with_retries(KEEP_ALIVE_TRIES);
    // A system that grants neither loses time, not messages.
    let _ = socket.set_tcp_keepalive(&keep_alive);
    let _ = socket.set_tcp_nodelay(true);
}

fn way_back(response: &[u8]) -> Option<SocketAddr> {
    parse(response).ok()?.top_via().ok()?.way_back()
}
