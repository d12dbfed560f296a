//! RFC 3263: from a name to the addresses where a request is tried, one after the other.
//!
//! | step | asks for | gives |
//! |---|---|---|
//! | §4.1 | NAPTR of the domain, unless transport or port is given | the transports that the domain wants, in its order |
//! | §4.2 | SRV of domain and transport, unless a port is given | hosts and ports by priority, and by chance within one |
//! | §4.2 | A and AAAA | addresses |
//! | §4.3 | | the next one, when nobody is there |
//!
//! Here is what follows from what the DNS said; asking it is the work of `net`.

use std::collections::VecDeque;
use std::net::SocketAddr;

use rand::Rng;
use rand::rngs::StdRng;

use super::Ways;
use super::message::Via;
use super::transport::Transport;

/// An address, and by what it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// By what.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// The addresses of a peer, and how far they have been tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spares(VecDeque<Hop>);

impl Spares {
    /// The address to begin with, and those that follow it; `None`: there is none.
    pub fn of(hops: &[Hop]) -> Option<(Hop, Spares)> {
        let (first, others) = hops.split_first()?;
        Some((*first, Spares(others.iter().copied().collect())))
    }

    /// §4.3: whether a request that went to nobody goes somewhere else now, and how. Nobody is there when nothing came back, when it could
    /// not be sent (`unsent`), or when 503 came. `ways`: how it went, `by` what; what changes for the next one is written there.
    pub(super) fn next(&mut self, unsent: bool, by: Option<&Via>, ways: &mut Ways) -> Option<Next> {
        let by = by.and_then(|via| Transport::parse(&via.transport)).unwrap_or(ways.transport);
        // RFC 3261 §18.1.1: by TCP only for its size, and there is no TCP over there.
        if unsent && by == Transport::Tcp && ways.transport == Transport::Udp {
            ways.large_by_tcp = false;
            return Some(Next::Same);
        }
        self.0.pop_front().map(Next::Other)
    }
}

/// Where a request goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// To the same address, by UDP.
    Same,
    /// To another one.
    Other(Hop),
}

/// A NAPTR record, as far as SIP reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// Lower ones first.
    pub order: u16,
    /// Lower ones first, within an order.
    pub preference: u16,
    /// `s`: the replacement has SRV records.
    pub flags: String,
    /// `SIP+D2U`, `SIP+D2T`, `SIPS+D2T`.
    pub services: String,
    /// The name to ask for next.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lower ones first.
    pub priority: u16,
    /// The share of the load, within a priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `.`: there is no such service here.
    pub target: String,
}

/// The name that is asked for SRV records where no NAPTR record names one (§4.1, §4.2).
pub fn srv_name(transport: Transport, domain: &str) -> String {
    let service = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    };
    format!("{service}.{domain}")
}

/// §4.1: what a domain offers of what we have, in the order in which it wants to be asked: transports and the names of their SRV records.
pub fn services(mut records: Vec<Naptr>, ours: &[Transport]) -> Vec<(Transport, String)> {
    records.sort_by_key(|record| (record.order, record.preference));
    let service = |record: Naptr| {
        let transport = match record.services.to_ascii_uppercase().as_str() {
            "SIP+D2U" => Transport::Udp,
            "SIP+D2T" => Transport::Tcp,
            "SIPS+D2T" => Transport::Tls,
            _ => return None,
        };
        let usable = record.flags.eq_ignore_ascii_case("s") && ours.contains(&transport);
        usable.then_some((transport, record.replacement))
    };
    records.into_iter().filter_map(service).collect()
}

/// RFC 2782: the hosts in the order in which they are tried. Within a priority each is drawn with a chance that is its share of the
/// weights that are left; those of no weight are put first, so that they are seldom drawn but can be.
pub fn order(mut records: Vec<Srv>, rng: &mut StdRng) -> Vec<Srv> {
    records.retain(|record| record.target != ".");
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(priority) = records.first().map(|record| record.priority) {
        let rivals = records.iter().take_while(|record| record.priority == priority);
        let sum: u64 = rivals.map(|record| u64::from(record.weight)).sum();
        let drawn = rng.next_u64() % (sum + 1);
        let mut running = 0;
        let at = records.iter().position(|record| {
            running += u64::from(record.weight);
            running >= drawn
        });
        ordered.push(records.remove(at.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 5060, target: target.into() }
    }

    fn naptr(order: u16, preference: u16, services: &str) -> Naptr {
        let replacement = format!("{services}.example");
        Naptr { order, preference, flags: "s".into(), services: services.into(), replacement }
    }

    #[test]
    fn a_domain_is_asked_by_what_it_prefers_of_what_we_have() {
        let records = vec![
            naptr(20, 5, "SIP+D2U"),
            naptr(10, 20, "sips+d2t"),
            naptr(10, 10, "SIP+D2T"),
            naptr(1, 1, "SIP+D2S"),
            Naptr { flags: "u".into(), ..naptr(1, 1, "SIP+D2U") },
            naptr(1, 1, "E2U+sip"),
        ];
        let all = services(records.clone(), &Transport::ALL);
        let transports: Vec<_> = all.iter().map(|(transport, _)| *transport).collect();
        assert_eq!(transports, [Transport::Tcp, Transport::Tls, Transport::Udp]);
        assert_eq!(services(records, &[Transport::Udp]), [(Transport::Udp, "SIP+D2U.example".to_owned())]);
        assert_eq!(services(Vec::new(), &Transport::ALL), []);
    }

    #[test]
    fn priority_goes_before_weight_and_nothing_is_lost() {
        let records = vec![srv(20, 100, "c"), srv(10, 0, "a"), srv(10, 1, "b"), srv(30, 0, "."), srv(20, 0, "d")];
        for seed in 0..200 {
            let ordered = order(records.clone(), &mut StdRng::seed_from_u64(seed));
            let mut names: Vec<_> = ordered.iter().map(|record| record.target.as_str()).collect();
            names[..2].sort_unstable();
            names[2..].sort_unstable();
            assert_eq!(names, ["a", "b", "c", "d"], "{seed}");
        }
        assert_eq!(order(vec![srv(0, 0, ".")], &mut StdRng::seed_from_u64(1)), []);
        assert_eq!(order(Vec::new(), &mut StdRng::seed_from_u64(1)), []);
    }

    /// RFC 2782's own algorithm draws from 0 to the sum, both included; so with weights 30 and 70 the first is drawn in 31 of 101 cases.
    #[test]
    fn the_load_is_shared_by_weight() {
        let records = vec![srv(1, 70, "b"), srv(1, 30, "a"), srv(1, 0, "z")];
        let mut rng = StdRng::seed_from_u64(7);
        let mut first = [0; 3];
        for _ in 0..10_000 {
            let ordered = order(records.clone(), &mut rng);
            first[["a", "b", "z"].iter().position(|name| *name == ordered[0].target).unwrap()] += 1;
        }
        assert!((2_700..3_300).contains(&first[0]), "{first:?}");
        assert!((6_700..7_300).contains(&first[1]), "{first:?}");
        // 1 of 101.
        assert!((50..160).contains(&first[2]), "{first:?}");
    }

    #[test]
    fn names_of_srv_records() {
        let names = Transport::ALL.map(|transport| srv_name(transport, "example.com"));
        assert_eq!(names, ["_sip._udp.example.com", "_sip._tcp.example.com", "_sips._tcp.example.com"]);
    }
}
