//! The DNS, over a server by hand.

use std::sync::Mutex;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use rand::SeedableRng;
use rand::rngs::StdRng;
use trunkline::net::LocateError;
use trunkline::sip::Ways;

use super::*;

fn ways() -> Ways {
    let at = "127.0.0.1:5060".parse().unwrap();
    Ways::default().reached(Udp, at).reached(Tcp, at)
}

fn host(name: &str) -> Target {
    Target::Host { name: name.into(), port: None }
}

/// A DNS server of one zone that counts what it is asked.
async fn server(records: Vec<Record>, asked: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1_500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let query = Message::from_vec(&buffer[..length]).expect("a query");
            let question = query.queries[0].clone();
            asked.lock().unwrap().push(format!("{} {}", question.query_type(), question.name().to_lowercase()));
            let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
            answer.add_query(question.clone());
            answer.metadata.recursion_available = true;
            let of_name: Vec<_> =
                records.iter().filter(|r| r.name.to_lowercase() == question.name().to_lowercase()).cloned().collect();
            if of_name.is_empty() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            answer.add_answers(of_name.into_iter().filter(|r| r.record_type() == question.query_type()));
            let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
        }
    });
    at
}

#[tokio::test]
async fn a_real_dns_server_is_asked_and_its_answers_are_kept_for_as_long_as_it_says() {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let record = |of: &str, data: RData| Record::from_rdata(name(of), 300, data);
    let naptr = NAPTR::new(1, 1, (*b"s").into(), (*b"SIP+D2T").into(), (*b"").into(), name("_sip._tcp.trunk.test."));
    let records = vec![
        record("trunk.test.", RData::NAPTR(naptr)),
        record("_sip._tcp.trunk.test.", RData::SRV(SRV::new(2, 1, 5072, name("b.trunk.test.")))),
        record("_sip._tcp.trunk.test.", RData::SRV(SRV::new(1, 1, 5071, name("a.trunk.test.")))),
        record("a.trunk.test.", RData::A(A::new(127, 0, 0, 11))),
        record("b.trunk.test.", RData::A(A::new(127, 0, 0, 12))),
    ];
    let asked = Arc::default();
    let resolver = server(records, Arc::clone(&asked)).await;
    let bench = Bench::with(|config| config.resolver = Some(resolver));
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..3 {
        let hops = bench.net.locate(&host("trunk.test"), None, &ways(), &mut rng).await.unwrap();
        let hops: Vec<_> = hops.iter().map(|hop| format!("{} {}", hop.transport, hop.address)).collect();
        assert_eq!(hops, ["tcp 127.0.0.11:5071", "tcp 127.0.0.12:5072"]);
    }
    let count = |what: &str| asked.lock().unwrap().iter().filter(|a| *a == what).count();
    for what in ["NAPTR trunk.test.", "SRV _sip._tcp.trunk.test.", "A a.trunk.test."] {
        assert_eq!(count(what), 1, "{what}: {:?}", asked.lock().unwrap());
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
