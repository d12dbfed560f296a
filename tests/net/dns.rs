//! The DNS, over a server by hand.

#[path = "../interop/rig/dns.rs"]
mod zone;

use hickory_resolver::proto::rr::rdata::NAPTR;
use hickory_resolver::proto::rr::{RData, Record};
use rand::SeedableRng;
use rand::rngs::StdRng;
use trunkline::net::LocateError;
use trunkline::sip::Ways;

use self::zone::{Zone, a, name, record, srv};
use super::*;

fn ways() -> Ways {
    let at = "127.0.0.1:5060".parse().unwrap();
    Ways::default().reached(Udp, at).reached(Tcp, at)
}

fn host(name: &str) -> Target {
    Target::Host { name: name.into(), port: None }
}

/// A NAPTR record that points at SRV records.
fn naptr(of: &str, service: &str, srv: &str) -> Record {
    let (flags, service) = (b"s".as_slice().into(), service.as_bytes().into());
    record(of, RData::NAPTR(NAPTR::new(1, 1, flags, service, b"".as_slice().into(), name(srv))))
}

#[tokio::test]
async fn a_real_dns_server_is_asked_and_its_answers_are_kept_for_as_long_as_it_says() {
    let service = "_sip._tcp.trunk.test.";
    let zone = Zone::serve(vec![
        naptr("trunk.test.", "SIP+D2T", service),
        srv(service, 2, 5072, "b.trunk.test."),
        srv(service, 1, 5071, "a.trunk.test."),
        a("a.trunk.test.", [127, 0, 0, 11].into()),
        a("b.trunk.test.", [127, 0, 0, 12].into()),
    ])
    .await;
    let bench = Bench::with(|config| config.resolver = Some(zone.at));
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..3 {
        let hops = bench.net.locate(&host("trunk.test"), None, &ways(), &mut rng).await.unwrap();
        let hops: Vec<_> = hops.iter().map(|hop| format!("{} {}", hop.transport, hop.address)).collect();
        assert_eq!(hops, ["tcp 127.0.0.11:5071", "tcp 127.0.0.12:5072"]);
    }
    for what in ["NAPTR trunk.test.", "SRV _sip._tcp.trunk.test.", "A a.trunk.test.", "A b.trunk.test."] {
        assert_eq!(zone.asked(what), 1, "{what}: {zone:?}");
    }
    assert_eq!(counted(&bench.metrics, "dns_lookups_total{reason=\"found\"}"), 3.0);
    let gone = bench.net.locate(&host("gone.test"), None, &ways(), &mut rng).await;
    assert_eq!(gone, Err(LocateError::NoSuchName("gone.test".into())));
    assert_eq!(counted(&bench.metrics, "dns_lookups_total{reason=\"no_such_name\"}"), 1.0);
}

#[tokio::test]
async fn a_dns_server_that_is_not_there_is_told_and_soon() {
    let bench = Bench::with(|config| config.resolver = Some(free("127.0.0.1")));
    let mut rng = StdRng::seed_from_u64(1);
    let none = bench.net.locate(&host("trunk.test"), None, &ways(), &mut rng).await;
    assert!(matches!(none, Err(LocateError::NoAnswer { .. })), "{none:?}");
    assert_eq!(counted(&bench.metrics, "dns_lookups_total{reason=\"no_answer\"}"), 1.0);
}
