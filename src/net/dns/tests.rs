//! RFC 3263 §4 over a DNS that is made up.

use std::collections::HashMap;

use rand::SeedableRng;

use super::*;
use crate::sip::transport::Transport::{Tcp, Tls, Udp};

/// The DNS of a test.
#[derive(Default)]
struct Fake {
    naptr: Vec<Naptr>,
    srv: HashMap<&'static str, Vec<Srv>>,
    addresses: HashMap<&'static str, Vec<IpAddr>>,
    broken: bool,
}

impl Lookup for Fake {
    async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, LocateError> {
        if self.broken {
            return Err(LocateError::NoAnswer { name: name.into(), reason: "broken".into() });
        }
        Ok(self.naptr.clone())
    }
    async fn srv(&self, name: &str) -> Result<Vec<Srv>, LocateError> {
        Ok(self.srv.get(name).cloned().unwrap_or_default())
    }
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LocateError> {
        self.addresses.get(name).cloned().ok_or_else(|| LocateError::NoSuchName(name.into()))
    }
}

fn ways() -> Ways {
    let at: SocketAddr = "192.0.2.1:5060".parse().unwrap();
    Ways::default().reached(Udp, at).reached(Tcp, at).reached(Tls, at)
}

fn host(name: &str, port: Option<u16>) -> Target {
    Target::Host { name: name.into(), port }
}

fn srv(priority: u16, target: &str, port: u16) -> Srv {
    Srv { priority, weight: 1, port, target: target.into() }
}

fn fake() -> Fake {
    let naptr = |order, services: &str, replacement: &str| Naptr {
        order,
        preference: 1,
        flags: "s".into(),
        services: services.into(),
        replacement: replacement.into(),
    };
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    Fake {
        naptr: vec![naptr(2, "SIP+D2U", "_sip._udp.example.com"), naptr(1, "SIP+D2T", "_sip._tcp.example.com")],
        srv: [
            ("_sip._udp.example.com", vec![srv(1, "u.example.com", 5070)]),
            ("_sip._tcp.example.com", vec![srv(2, "b.example.com", 5062), srv(1, "a.example.com", 5061)]),
            ("_sips._tcp.example.com", vec![srv(1, "gone.example.com", 5061), srv(2, "a.example.com", 6061)]),
            ("_sip._udp.off.example.com", vec![srv(0, ".", 0)]),
            ("_sip._tcp.only.example.com", vec![srv(0, "a.example.com", 5060)]),
        ]
        .into(),
        addresses: [
            ("u.example.com", vec![ip("192.0.2.10")]),
            ("a.example.com", vec![ip("2001:db8::11"), ip("192.0.2.11"), ip("192.0.2.12")]),
            ("b.example.com", vec![ip("192.0.2.13")]),
            ("example.com", vec![ip("192.0.2.20")]),
            ("plain.example.com", vec![ip("192.0.2.21")]),
            ("off.example.com", vec![ip("192.0.2.22")]),
            ("six.example.com", vec![ip("2001:db8::11")]),
        ]
        .into(),
        broken: false,
    }
}

async fn found(dns: &Fake, peer: Target, asked: Option<Transport>) -> Result<Vec<String>, LocateError> {
    let hops = find(dns, &peer, asked, &ways(), &mut StdRng::seed_from_u64(1)).await?;
    Ok(hops.into_iter().map(|hop| format!("{} {}", hop.transport, hop.address)).collect())
}

/// RFC 3263 §4, each case.
#[tokio::test]
async fn a_peer_is_found_as_rfc_3263_says() {
    let dns = fake();
    // NAPTR decides on the transport, SRV on hosts and ports; addresses of a family in which we do not listen are left out.
    let all = ["tcp 192.0.2.11:5061", "tcp 192.0.2.12:5061", "tcp 192.0.2.13:5062", "udp 192.0.2.10:5070"];
    for (peer, asked, hops) in [
        (host("example.com", None), None, &all[..]),
        (host("example.com", None), Some(Udp), &["udp 192.0.2.10:5070"]),
        // One of its hosts cannot be found: the other one is enough.
        (host("example.com", None), Some(Tls), &["tls 192.0.2.11:6061", "tls 192.0.2.12:6061"]),
        (host("example.com", Some(5099)), None, &["udp 192.0.2.20:5099"]),
        (host("example.com", Some(5099)), Some(Tls), &["tls 192.0.2.20:5099"]),
        (Target::Addr("192.0.2.9:5060".parse().unwrap()), None, &["udp 192.0.2.9:5060"]),
        (Target::Addr("192.0.2.9:5060".parse().unwrap()), Some(Tcp), &["tcp 192.0.2.9:5060"]),
    ] {
        assert_eq!(found(&dns, peer.clone(), asked).await.unwrap(), hops, "{peer} {asked:?}");
    }
    // Without NAPTR: the first transport that has SRV records; without those UDP, at the transport's port.
    let dns = Fake { naptr: Vec::new(), ..fake() };
    for (name, asked, hops) in [
        ("example.com", None, &["udp 192.0.2.10:5070"][..]),
        ("only.example.com", None, &["tcp 192.0.2.11:5060", "tcp 192.0.2.12:5060"]),
        ("plain.example.com", None, &["udp 192.0.2.21:5060"]),
        ("plain.example.com", Some(Tls), &["tls 192.0.2.21:5061"]),
    ] {
        assert_eq!(found(&dns, host(name, None), asked).await.unwrap(), hops, "{name} {asked:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_found_says_why() {
    let dns = Fake { naptr: Vec::new(), ..fake() };
    let gone = found(&dns, host("no.example.com", None), None).await;
    assert_eq!(gone, Err(LocateError::NoSuchName("no.example.com".into())));
    // "." says that there is no SIP here, whatever addresses there are.
    let off = found(&dns, host("off.example.com", None), None).await;
    assert_eq!(off, Err(LocateError::NoAddress("off.example.com".into())));
    let six = found(&dns, host("six.example.com", Some(5060)), None).await;
    assert_eq!(six, Err(LocateError::NoAddress("six.example.com".into())));
    let dns = Fake { broken: true, ..fake() };
    assert!(matches!(found(&dns, host("example.com", None), None).await, Err(LocateError::NoAnswer { .. })));
}
