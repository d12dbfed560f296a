//! A DNS server of one zone on 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use tokio::net::UdpSocket;

/// What there is, and what was asked.
#[derive(Debug)]
pub struct Zone {
    pub at: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// A name.
pub fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// A record of five minutes.
pub fn record(of: &str, data: RData) -> Record {
    Record::from_rdata(name(of), 300, data)
}

/// An SRV record.
pub fn srv(of: &str, priority: u16, port: u16, host: &str) -> Record {
    record(of, RData::SRV(SRV::new(priority, 1, port, name(host))))
}

/// An address.
pub fn a(of: &str, at: Ipv4Addr) -> Record {
    record(of, RData::A(A(at)))
}

impl Zone {
    /// Answers until the test is over.
    pub async fn serve(records: Vec<Record>) -> Zone {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let zone = Zone { at: socket.local_addr().expect("it is bound"), asked: Arc::default() };
        let asked = zone.asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let query = Message::from_vec(&buffer[..length]).expect("a query");
                let question = query.queries[0].clone();
                let wanted = question.name().to_lowercase();
                asked.lock().expect("nobody panics with it").push(format!("{} {wanted}", question.query_type()));
                let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
                answer.add_query(question.clone());
                answer.metadata.recursion_available = true;
                let of_name: Vec<_> = records.iter().filter(|record| record.name.to_lowercase() == wanted).collect();
                if of_name.is_empty() {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                let found = of_name.into_iter().filter(|record| record.record_type() == question.query_type());
                answer.add_answers(found.cloned());
                let _ = socket.send_to(&answer.to_vec().expect("it can be written"), from).await;
            }
        });
        zone
    }

    /// How often something was asked, as `SRV _sip._udp.trunk.test.`.
    pub fn asked(&self, what: &str) -> usize {
        self.asked.lock().expect("nobody panics with it").iter().filter(|asked| *asked == what).count()
    }
}
