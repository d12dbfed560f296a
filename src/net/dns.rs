//! RFC 3263: asks the DNS where a peer is. What follows from the answers is in [`locate`].
//!
//! Answers are kept for as long as the DNS says that they hold, refusals too; so a call costs a look-up only now and then.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use rand::rngs::StdRng;

use crate::sip::Ways;
use crate::sip::locate::{self, Hop, Naptr, Srv};
use crate::sip::message::Target;
use crate::sip::transport::Transport;

/// How long one server is asked for one thing.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may take in all.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(6);
/// More addresses than any call will try.
const MOST: usize = 16;

/// Why a peer has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// The DNS says that there is no such name.
    #[error("{0}: there is no such name")]
    NoSuchName(String),
    /// It has no address of a kind that we listen on, or says that there is no SIP.
    #[error("{0}: no address by which we could reach it")]
    NoAddress(String),
    /// No DNS server gave an answer.
    #[error("{name}: no answer from the DNS: {reason}")]
    NoAnswer {
        /// The name.
        name: String,
        /// What went wrong.
        reason: String,
    },
}

impl LocateError {
    /// As the metric has it.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            LocateError::NoSuchName(_) => "no_such_name",
            LocateError::NoAddress(_) => "no_address",
            LocateError::NoAnswer { .. } => "no_answer",
        }
    }
}

/// What can be asked. Nothing found is an empty list; no such name too, but for addresses.
pub(super) trait Lookup {
    fn naptr(&self, name: &str) -> impl Future<Output = Result<Vec<Naptr>, LocateError>> + Send;
    fn srv(&self, name: &str) -> impl Future<Output = Result<Vec<Srv>, LocateError>> + Send;
    fn addresses(&self, name: &str) -> impl Future<Output = Result<Vec<IpAddr>, LocateError>> + Send;
}

/// Where a peer is: the addresses in the order in which they are to be tried. `asked`: the transport, if it is given.
pub(super) async fn find(
    dns: &impl Lookup,
    peer: &Target,
    asked: Option<Transport>,
    ways: &Ways,
    rng: &mut StdRng,
) -> Result<Vec<Hop>, LocateError> {
    let usable = |hop: &Hop| ways.address(hop.transport, hop.address).is_some();
    let (name, port) = match peer {
        // §4.1: an address, and nothing asked for, is UDP's.
        Target::Addr(address) => {
            let hop = Hop { transport: asked.unwrap_or_default(), address: *address };
            return if usable(&hop) { Ok(vec![hop]) } else { Err(LocateError::NoAddress(peer.to_string())) };
        }
        Target::Host { name, port } => (name, *port),
    };
    let ours: Vec<Transport> = match asked {
        Some(transport) => vec![transport],
        None => Transport::ALL.into_iter().filter(|transport| ways.has(*transport)).collect(),
    };
    let mut hops = Vec::new();
    // §4.2: who names a port wants no SRV records.
    if port.is_none() {
        let mut services = Vec::new();
        if asked.is_none() {
            services = locate::services(dns.naptr(name).await?, &ours);
        }
        let named = !services.is_empty();
        if !named {
            services = ours.iter().map(|transport| (*transport, locate::srv_name(*transport, name))).collect();
        }
        let mut refused = false;
        for (transport, service) in services {
            let records = dns.srv(&service).await?;
            refused |= records.iter().any(|record| record.target == ".");
            for record in locate::order(records, rng) {
                // One host that cannot be found is not the others' fault.
                match dns.addresses(&record.target).await {
                    Ok(found) => {
                        let at = found.into_iter().map(|ip| SocketAddr::new(ip, record.port));
                        hops.extend(at.map(|address| Hop { transport, address }).filter(usable));
                    }
                    Err(error) => tracing::warn!(%name, %error, "one of its hosts cannot be found"),
                }
            }
            // §4.1: without NAPTR the first transport that has records is the one.
            if !named && !hops.is_empty() {
                break;
            }
        }
        if hops.is_empty() && (refused || named) {
            return Err(LocateError::NoAddress(name.clone()));
        }
    }
    if hops.is_empty() {
        let transport = asked.unwrap_or_default();
        let port = port.unwrap_or(transport.default_port());
        let at = dns.addresses(name).await?.into_iter().map(|ip| SocketAddr::new(ip, port));
        hops.extend(at.map(|address| Hop { transport, address }).filter(usable));
    }
    hops.truncate(MOST);
    if hops.is_empty() { Err(LocateError::NoAddress(name.clone())) } else { Ok(hops) }
}

/// The DNS as this machine, or `[sip] resolver`, knows it.
#[derive(Clone)]
pub(super) struct Dns {
    resolver: Result<TokioResolver, String>,
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}

impl Dns {
    /// `server`: who is asked; `None`: whom the system asks.
    pub(super) fn new(server: Option<SocketAddr>) -> Dns {
        let resolver = match server {
            None => Resolver::builder_tokio().and_then(|mut builder| {
                limit(builder.options_mut());
                builder.build()
            }),
            Some(at) => {
                let mut server = NameServerConfig::udp_and_tcp(at.ip());
                server.connections.iter_mut().for_each(|connection| connection.port = at.port());
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
                limit(builder.options_mut());
                builder.build()
            }
        };
        Dns { resolver: resolver.map_err(|error| format!("{error}; name a server by [sip] resolver")) }
    }

    pub(super) async fn find(
        &self,
        peer: &Target,
        asked: Option<Transport>,
        ways: &Ways,
        rng: &mut StdRng,
    ) -> Result<Vec<Hop>, LocateError> {
        let found = tokio::time::timeout(PATIENCE_IN_ALL, find(self, peer, asked, ways, rng)).await;
        found.unwrap_or_else(|_| Err(LocateError::NoAnswer { name: peer.to_string(), reason: "timed out".to_owned() }))
    }

    /// The records of a name; none when it has none of that kind.
    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, LocateError> {
        let failed = |reason: String| LocateError::NoAnswer { name: name.to_owned(), reason };
        let resolver = self.resolver.as_ref().map_err(|reason| failed(reason.clone()))?;
        match resolver.lookup(absolute(name), kind).await {
            Ok(lookup) => Ok(lookup.answers().iter().filter_map(|record| read(&record.data)).collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

fn limit(options: &mut hickory_resolver::config::ResolverOpts) {
    options.timeout = PATIENCE;
    options.attempts = 2;
    // A name that is gone comes back when somebody corrects it, and not a day later.
    options.negative_max_ttl = Some(Duration::from_secs(60));
}

/// The name as it is: no search domain of this machine is tried behind it.
fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

/// As they stand in our messages.
fn plain(name: &impl ToString) -> String {
    let name = name.to_string();
    if name == "." { name } else { name.trim_end_matches('.').to_owned() }
}

impl Lookup for Dns {
    async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, LocateError> {
        let read = |data: &RData| match data {
            RData::NAPTR(naptr) => Some(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: String::from_utf8_lossy(&naptr.flags).into_owned(),
                services: String::from_utf8_lossy(&naptr.services).into_owned(),
                replacement: plain(&naptr.replacement),
            }),
            _ => None,
        };
        self.records(name, RecordType::NAPTR, read).await
    }

    async fn srv(&self, name: &str) -> Result<Vec<Srv>, LocateError> {
        let read = |data: &RData| match data {
            RData::SRV(srv) => {
                Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: plain(&srv.target) })
            }
            _ => None,
        };
        self.records(name, RecordType::SRV, read).await
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LocateError> {
        let failed = |reason: String| LocateError::NoAnswer { name: name.to_owned(), reason };
        let resolver = self.resolver.as_ref().map_err(|reason| failed(reason.clone()))?;
        // Also those of /etc/hosts.
        match resolver.lookup_ip(name).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) => Err(read_error(name, &error)),
        }
    }
}

fn read_error(name: &str, error: &NetError) -> LocateError {
    if error.is_nx_domain() {
        LocateError::NoSuchName(name.to_owned())
    } else if error.is_no_records_found() {
        LocateError::NoAddress(name.to_owned())
    } else {
        LocateError::NoAnswer { name: name.to_owned(), reason: error.to_string() }
    }
}
