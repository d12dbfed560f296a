//! SIP transports: UDP, TCP and TLS (RFC 3261 §18), and the DNS (RFC 3263).
//!
//! | file | what |
//! |---|---|
//! | `udp` | a socket, and the ICMP errors of what was sent by it |
//! | `streams`, `connection` | the connections of TCP and TLS; one of them |
//! | [`tls`], `expiry` | certificates, their change and their end |
//! | `dns` | where a peer is |
//!
//! A message goes by the transport that its top Via names ([`Transport::of_message`]), so that nobody above has to say it twice. Messages are
//! handed over as they came. What could not be brought to its peer comes back as [`Arrival::Unsent`].

mod connection;
mod dns;
mod expiry;
mod metrics;
mod streams;
pub mod tls;
mod udp;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::sip::Ways;
use crate::sip::locate::Hop;
use crate::sip::message::Target;
use crate::sip::transport::Transport;
pub use dns::LocateError;
pub use metrics::Metrics;
pub use streams::{Allowed, Limits};
use udp::Udp;

/// Messages that wait for the switchboard. Datagrams beyond it are dropped, and their senders send them again; streams wait.
const BACKLOG: usize = 4_096;
/// Connections that wait to be taken.
const PENDING: i32 = 1_024;

/// What came.
#[derive(Debug)]
pub enum Arrival {
    /// A message, as it came.
    Message {
        /// By what.
        transport: Transport,
        /// From where.
        source: SocketAddr,
        /// What it says.
        payload: Vec<u8>,
    },
    /// A request that did not arrive.
    Unsent {
        /// Its Call-ID.
        call_id: String,
        /// Where it was to go.
        to: Target,
        /// What kept it, in words.
        why: String,
    },
}

/// Where SIP is received, and what is needed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// UDP and TCP, one address of a family.
    pub listen: Vec<SocketAddr>,
    /// Also TCP.
    pub tcp: bool,
    /// TLS, one address of a family, and its certificate.
    pub tls: Option<(Vec<SocketAddr>, tls::ServerFiles)>,
    /// What connections may take.
    pub limits: Limits,
    /// Which DNS server is asked; `None`: the system's.
    pub resolver: Option<SocketAddr>,
}

/// Why it could not begin.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address cannot be had.
    #[error("{key} = \"{address}\": {error} ({transport}); choose another one, or end who holds it")]
    Address {
        /// Of the configuration.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// By what.
        transport: Transport,
        /// What the system says.
        error: io::Error,
    },
    /// A certificate cannot be used.
    #[error("[sip.tls]: {0}")]
    Tls(#[from] tls::TlsError),
}

/// The way to all SIP peers; clones lead to the same sockets.
#[derive(Clone)]
pub struct Net {
    /// By family.
    udp: [Option<Udp>; 2],
    streams: streams::Streams,
    has: [bool; 3],
    dns: dns::Dns,
    reload: Arc<watch::Sender<u64>>,
    metrics: Arc<Metrics>,
    /// Of the trunk that this one is for.
    client: Option<Arc<tls::Client>>,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("udp", &self.udp).field("client", &self.client).finish_non_exhaustive()
    }
}

impl Net {
    /// Binds all sockets and begins to read; connections are taken from `allowed` addresses only. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// An address that cannot be bound, a certificate that cannot be used.
    pub fn bind(
        config: &Config,
        allowed: Allowed,
        metrics: Arc<Metrics>,
    ) -> Result<(Net, mpsc::Receiver<Arrival>), BindError> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let reload = Arc::new(watch::Sender::new(0));
        let tls = config.tls.as_ref();
        let acceptor = tls.map(|(_, files)| tls::Acceptor::new(files, &reload, &metrics)).transpose()?;
        let streams = streams::Streams::start(config.limits, allowed, acceptor, metrics.clone(), sender.clone());
        let mut udp = [None, None];
        for &address in &config.listen {
            let failed = |transport| move |error| BindError::Address { key: "[sip] listen", address, transport, error };
            let socket = Udp::bind(address, metrics.clone(), sender.clone()).map_err(failed(Transport::Udp))?;
            udp[usize::from(address.is_ipv6())] = Some(socket);
            if config.tcp {
                streams.listen(Transport::Tcp, listener(address).map_err(failed(Transport::Tcp))?);
            }
        }
        for &address in tls.iter().flat_map(|(listen, _)| listen) {
            let transport = Transport::Tls;
            let failed = |error| BindError::Address { key: "[sip.tls] listen", address, transport, error };
            streams.listen(transport, listener(address).map_err(failed)?);
        }
        let has = [true, config.tcp, tls.is_some()];
        let dns = dns::Dns::new(config.resolver);
        Ok((Net { udp, streams, has, dns, reload, metrics, client: None }, receiver))
    }

    /// The same, for what is sent to one trunk: its connections by TLS are held against these files.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn for_trunk(&self, files: &tls::ClientFiles) -> Result<Net, tls::TlsError> {
        let client = tls::Client::new(files, &self.reload, &self.metrics)?;
        Ok(Net { client: Some(Arc::new(client)), ..self.clone() })
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Reads all certificates again. Connections that are up keep theirs.
    pub fn reload(&self) {
        self.reload.send_modify(|times| *times += 1);
    }

    /// Where a peer is (RFC 3263): addresses in the order in which they are to be tried. `asked`: the transport, if it is given; `ways`: which
    /// there are, and of which family.
    ///
    /// # Errors
    /// It has no address; counted and logged here.
    pub async fn locate(
        &self,
        peer: &Target,
        asked: Option<Transport>,
        ways: &Ways,
        rng: &mut StdRng,
    ) -> Result<Vec<Hop>, LocateError> {
        let found = self.dns.find(peer, asked, ways, rng).await;
        if let Target::Host { .. } = peer {
            self.metrics.looked_up(found.as_ref().map_or_else(LocateError::as_str, |_| "found"));
        }
        if let Err(error) = &found {
            tracing::warn!(%error, "a SIP peer cannot be found");
        }
        found
    }

    /// Sends a message by the transport that its Via names. By a stream it is only on its way then.
    ///
    /// # Errors
    /// The name has no address, or the system refuses; counted and logged here.
    pub async fn send(&self, to: &Target, payload: &[u8]) -> io::Result<()> {
        let transport = Transport::of_message(payload).filter(|by| self.has[*by as usize]).unwrap_or_default();
        let at = match to {
            Target::Addr(at) => Ok(*at),
            // In a box: the lookup is rare and large, and every call has room in it for a send.
            Target::Host { .. } => Box::pin(self.look_up(to, transport)).await,
        };
        let result = match at {
            Ok(at) if transport.is_reliable() => {
                return self.streams.send(transport, at, to.clone(), payload, self.client.clone());
            }
            Ok(at) => self.datagram(at, payload).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => self.metrics.sent.inc(),
            Err(ref error) => {
                self.metrics.dropped("send");
                tracing::warn!(%to, %error, "SIP datagram could not be sent");
                return result;
            }
        };
        Ok(())
    }

    async fn datagram(&self, at: SocketAddr, payload: &[u8]) -> io::Result<()> {
        match &self.udp[usize::from(at.is_ipv6())] {
            Some(socket) => socket.send(at, payload).await,
            None => Err(io::Error::other("we have no socket of its family; add an address to [sip] listen")),
        }
    }

    /// The peers that trunks name have been located before; these are names in Contacts and Record-Routes.
    async fn look_up(&self, to: &Target, transport: Transport) -> io::Result<SocketAddr> {
        // A repetition goes where the first one went.
        let mut hash = DefaultHasher::new();
        to.hash(&mut hash);
        let mut rng = StdRng::seed_from_u64(hash.finish());
        let any = |v6: bool| SocketAddr::new(if v6 { [0u16; 8].into() } else { [0u8; 4].into() }, 0);
        let families = [false, true].into_iter().filter(|v6| self.udp[usize::from(*v6)].is_some());
        let ways = families.fold(Ways::default(), |ways, v6| ways.reached(transport, any(v6)));
        let hops = self.locate(to, Some(transport), &ways, &mut rng).await.map_err(io::Error::other)?;
        hops.first().map(|hop| hop.address).ok_or_else(|| io::Error::other("it has no address"))
    }
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // The connections of the process before this one may linger.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(PENDING)?;
    TcpListener::from_std(socket.into())
}

/// The Call-ID of a message that may be broken off after it.
fn call_id(message: &[u8]) -> Option<String> {
    let lines = message.split(|&b| b == b'\n').skip(1).take_while(|line| !line.trim_ascii().is_empty());
    for line in lines {
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        let name = line[..colon].trim_ascii();
        // Whole only when its line ends.
        if (name.eq_ignore_ascii_case(b"call-id") || name.eq_ignore_ascii_case(b"i")) && line.ends_with(b"\r") {
            return String::from_utf8(line[colon + 1..].trim_ascii().to_vec()).ok();
        }
    }
    None
}
