//! `[sip]`: where SIP is received, by what, and under which addresses peers reach us.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::engine::{loopback, number_or};
use super::problem::Wrong;
use super::reader::{Found, Section};
use super::written;
use crate::net;
use crate::net::tls::{Identity, ServerFiles, TlsError};
use crate::sip::Ways;
use crate::sip::transport::{TLS_PORT, Transport};

const LISTEN: SocketAddr = loopback(5060);
const LISTEN_TLS: SocketAddr = loopback(TLS_PORT);
const CONNECTIONS: u64 = 1_000;
const CONNECTIONS_PER_SOURCE: u64 = 100;
const IDLE_S: u64 = 600;

/// What the section says.
pub(super) struct Sip<'a> {
    /// UDP and TCP; at least one.
    pub listen: Vec<Found<'a, SocketAddr>>,
    pub tls: Vec<Found<'a, SocketAddr>>,
    pub config: net::Config,
    pub reached: Ways,
    /// Somebody wrote it down, so it is good for media too.
    pub advertised: Vec<IpAddr>,
    pub user_agent: String,
}

pub(super) type Advertised<'a> = Vec<Found<'a, (IpAddr, Option<u16>)>>;

/// Reads the section. `base`: where its relative paths begin.
pub(super) fn read<'a>(mut sip: Section<'a>, base: &Path) -> Sip<'a> {
    let listen = addresses(&mut sip, LISTEN);
    let advertise = sip.one_or_more("advertise", written::advertised).unwrap_or_default();
    families(&listen, &advertise, "sip.listen");
    let tcp = sip.flag("tcp").is_none_or(|found| found.value);
    let agent = sip.parsed("user_agent", written::some);
    let resolver = sip.parsed("resolver", written::resolver);
    let connections = sip.number("max_connections", 1..=100_000);
    let per_source = sip.number("max_connections_per_source", 1..=100_000);
    let idle = sip.number("idle_s", 60..=86_400);
    let mut reached = Ways::default();
    for found in &listen {
        let at = outer(found, &advertise, &[], "advertise");
        reached = reached.reached(Transport::Udp, at);
        if tcp {
            reached = reached.reached(Transport::Tcp, at);
        }
    }
    let (tls, files) = tls(sip.section("tls"), &advertise, &mut reached, base);
    sip.done();
    let values = |found: &[Found<'_, SocketAddr>]| found.iter().map(|found| found.value).collect::<Vec<_>>();
    let config = net::Config {
        listen: values(&listen),
        tcp,
        tls: files.map(|files| (values(&tls), files)),
        limits: net::Limits {
            connections: number_or(connections, CONNECTIONS) as usize,
            per_source: number_or(per_source, CONNECTIONS_PER_SOURCE) as usize,
            idle: Duration::from_secs(number_or(idle, IDLE_S)),
        },
        resolver: resolver.map(|found| found.value),
    };
    let default_agent = || format!("trunkline/{}", env!("CARGO_PKG_VERSION"));
    Sip {
        config,
        reached,
        advertised: advertise.iter().map(|found| found.value.0).collect(),
        listen,
        tls,
        user_agent: agent.map_or_else(default_agent, |found| found.value),
    }
}

fn addresses<'a>(section: &mut Section<'a>, default: SocketAddr) -> Vec<Found<'a, SocketAddr>> {
    let read = section.one_or_more("listen", written::socket);
    let named_none = read.as_ref().is_some_and(Vec::is_empty);
    let mut listen = read.unwrap_or_default();
    if listen.is_empty() {
        if named_none {
            section.place_of("listen").wrong("names no address", "write one, as \"127.0.0.1:5060\"");
        }
        listen.push(Found { value: default, place: section.place_of("listen") });
    }
    for found in listen.iter().filter(|found| found.value.port() == 0) {
        found.place.wrong("has port 0", "name the port that peers are to use, as 5060");
    }
    one_a_family(&listen);
    listen
}

/// Complains of a second address of a family.
pub(super) fn one_a_family(listen: &[Found<'_, SocketAddr>]) {
    for (at, found) in listen.iter().enumerate() {
        if listen[..at].iter().any(|before| before.value.is_ipv4() == found.value.is_ipv4()) {
            let family = if found.value.is_ipv4() { "IPv4" } else { "IPv6" };
            found.place.wrong(
                format!("names a second {family} address"),
                "write one of each family; 0.0.0.0 or [::] for all of them, and advertise the one that peers are to use",
            );
        }
    }
}

/// Complains of an advertised address of a family in which nobody listens, and of a second one of a family.
pub(super) fn families(listen: &[Found<'_, SocketAddr>], advertise: &Advertised<'_>, key: &str) {
    for (at, found) in advertise.iter().enumerate() {
        let v4 = found.value.0.is_ipv4();
        let family = if v4 { "IPv4" } else { "IPv6" };
        if !listen.iter().any(|listen| listen.value.is_ipv4() == v4) {
            found.place.wrong(
                format!("is an {family} address, and {key} names none"),
                format!("add one to {key}, or remove this one"),
            );
        }
        if advertise[..at].iter().any(|before| before.value.0.is_ipv4() == v4) {
            found.place.wrong(format!("names a second {family} address"), "write one of each family");
        }
    }
}

/// Where peers reach a listener: what is advertised for its family, here or before, or where it listens.
fn outer(
    found: &Found<'_, SocketAddr>,
    own: &Advertised<'_>,
    others: &[Found<'_, (IpAddr, Option<u16>)>],
    key: &str,
) -> SocketAddr {
    let of = |found: &Found<'_, SocketAddr>, all: &[Found<'_, (IpAddr, Option<u16>)>]| {
        all.iter().map(|a| a.value).find(|(ip, _)| ip.is_ipv4() == found.value.is_ipv4())
    };
    let advertised = of(found, own).or_else(|| of(found, others).map(|(ip, _)| (ip, None)));
    let listen = found.value;
    if listen.ip().is_unspecified() && advertised.is_none() {
        found.place.wrong(
            format!("{} means all addresses, and peers cannot send to that", listen.ip()),
            format!("add {key} = \"…\" with the address by which peers reach this machine, or listen on one address"),
        );
    }
    let (ip, port) = advertised.unwrap_or((listen.ip(), None));
    SocketAddr::new(ip, port.unwrap_or(listen.port()))
}

fn tls<'a>(
    mut section: Section<'a>,
    advertised: &Advertised<'_>,
    reached: &mut Ways,
    base: &Path,
) -> (Vec<Found<'a, SocketAddr>>, Option<ServerFiles>) {
    if !section.is_there() {
        return (Vec::new(), None);
    }
    let listen = addresses(&mut section, LISTEN_TLS);
    let advertise = section.one_or_more("advertise", written::advertised).unwrap_or_default();
    families(&listen, &advertise, "sip.tls.listen");
    for found in &listen {
        *reached = reached.reached(Transport::Tls, outer(found, &advertise, advertised, "advertise"));
    }
    let identity = identity(&mut section, base);
    section.need("certificate", "name the PEM file that holds our certificate and its chain");
    section.need("key", "name the PEM file that holds the certificate's private key");
    let client_ca = path(&mut section, "client_ca", base);
    let require = section.flag("require_client");
    if let Some(require) = require.as_ref().filter(|require| require.value && client_ca.is_none()) {
        require.place.wrong("asks for certificates, and nobody says whose", "add client_ca, or remove it");
    }
    let require_client = require.is_some_and(|found| found.value);
    let files = identity.map(|identity| ServerFiles { identity, client_ca, require_client });
    if let Some(Err(error)) = files.as_ref().map(ServerFiles::load) {
        tell(&section, &error, files.as_ref().map(|files| (&files.identity, files.client_ca.as_deref())), "client_ca");
    }
    section.done();
    (listen, files)
}

/// `certificate` and `key`, when both are there.
pub(super) fn identity(section: &mut Section<'_>, base: &Path) -> Option<Identity> {
    let (certificate, key) = (path(section, "certificate", base), path(section, "key", base));
    Some(Identity { certificate: certificate?, key: key? })
}

pub(super) fn path(section: &mut Section<'_>, key: &'static str, base: &Path) -> Option<PathBuf> {
    section.parsed(key, written::some).map(|found| base.join(found.value))
}

/// Tells what is wrong with a file where the key stands that names it.
pub(super) fn tell(
    section: &Section<'_>,
    error: &TlsError,
    identity: Option<(&Identity, Option<&Path>)>,
    ca_key: &'static str,
) {
    let key = match identity {
        Some((identity, _)) if identity.certificate == error.file => "certificate",
        Some((identity, _)) if identity.key == error.file => "key",
        _ => ca_key,
    };
    let remedy = "name a PEM file that the user that runs trunkline can read, and that goes with the others";
    section.place_of(key).tell(Wrong::new(error.to_string(), remedy));
}
