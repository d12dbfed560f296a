//! Whole calls by IPv6, SIP and media, with SIPp as the far end; and of both families side by side. Where the machine has no `::1`, each
//! test says that it has not tested anything.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::AAAA;
use tokio::net::UdpSocket;
use trunkline::proto::control::v1::{CallRecord, Outcome};

use crate::rig::{
    ANSWERED, Folder, GROUP, Peer, Phone, Ports, Rig, Setup, Sipp, Trace, Zone, a, received, record, srv,
};

/// Whether the machine has no `::1`; then there is a word about it.
async fn no_ipv6() -> bool {
    let Err(error) = UdpSocket::bind("[::1]:0").await else { return false };
    eprintln!("NOT TESTED: IPv6, for this machine has no ::1: {error}");
    true
}

/// A Trunkline at these addresses whose trunk is at `::1`; none where there is no IPv6.
async fn rig(listen: &'static [&'static str], peer: &str) -> Option<Rig> {
    if no_ipv6().await {
        return None;
    }
    let peer = format!("sources = [\"::1\", \"127.0.0.1\"]\n{peer}");
    Some(Rig::start(Setup { listen, host: "[::1]", peer, trunk: ANSWERED, ..Setup::default() }).await)
}

/// What we wrote of where our media is, and that it flowed both ways.
fn spoke(record: &CallRecord, trace: &Trace, connection: &str) {
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Success, 200), "{record:?}");
    let quality = record.quality.as_ref().expect("how the line was");
    assert!(quality.received > 30 && quality.sent > 30, "{quality:?}");
    let with_sdp: Vec<_> = trace.all_received().into_iter().filter(|text| text.contains("m=audio")).collect();
    assert!(!with_sdp.is_empty() && with_sdp.iter().all(|text| text.contains(connection)), "{with_sdp:?}");
}

async fn calls_us(rig: &Rig, n: usize, phone: Phone, connection: &str) {
    let phone = rig.phone(phone).await;
    let (call_id, _) = rig.incoming(n).await;
    let record = rig.ended(&call_id).await;
    assert_eq!(record.hung_up_by, "caller");
    spoke(&record, &phone.done().await, connection);
    rig.idle().await;
}

async fn is_called(rig: &Rig, transport: &'static str) {
    let phone = rig.phone(Phone::new("uas_hangs_up_after_a_while").pause_ms(2_000).at("::1").by(transport)).await;
    let call_id = rig.dial(rig.order()).await;
    let record = rig.ended(&call_id).await;
    assert_eq!(record.hung_up_by, "caller");
    spoke(&record, &phone.done().await, "c=IN IP6 ::1");
    rig.idle().await;
}

#[tokio::test]
async fn by_udp_over_ipv6_a_caller_is_heard_and_hears_us() {
    let Some(rig) = rig(&["[::1]"], "").await else { return };
    calls_us(&rig, 0, Phone::new("uac_plain_call").at("::1"), "c=IN IP6 ::1").await;
}

#[tokio::test]
async fn by_tcp_over_ipv6_a_caller_is_heard_and_hears_us() {
    let Some(rig) = rig(&["[::1]"], "").await else { return };
    calls_us(&rig, 0, Phone::new("uac_plain_call").at("::1").by("t1"), "c=IN IP6 ::1").await;
    assert_eq!(rig.metric("trunkline_sip_datagrams_sent_total").await, 0.0);
}

#[tokio::test]
async fn by_udp_over_ipv6_a_called_phone_is_heard_and_hears_us() {
    let Some(rig) = rig(&["[::1]"], "").await else { return };
    is_called(&rig, "u1").await;
}

#[tokio::test]
async fn by_tcp_over_ipv6_a_called_phone_is_heard_and_hears_us() {
    let Some(rig) = rig(&["[::1]"], "transport = \"tcp\"").await else { return };
    is_called(&rig, "t1").await;
    assert_eq!(rig.metric("trunkline_sip_datagrams_sent_total").await, 0.0);
}

#[tokio::test]
async fn beside_ipv4_each_call_has_media_of_its_family() {
    let Some(rig) = rig(&["127.0.0.1", "[::1]"], "").await else { return };
    calls_us(&rig, 0, Phone::new("uac_plain_call").at("::1"), "c=IN IP6 ::1").await;
    calls_us(&rig, 1, Phone::new("uac_plain_call"), "c=IN IP4 127.0.0.1").await;
    is_called(&rig, "u1").await;
}

const V4: &str = "127.0.0.1";
const V6: &str = "::1";

/// The first way refuses, the second one takes the call: each is offered media of its family, and of ports only one is held.
async fn fails_over(rig: &Rig, refuser: Peer, phone: Sipp, families: [&str; 2]) -> CallRecord {
    let call_id = rig.dial(rig.order()).await;
    let invite = refuser.refuses(503).await;
    let offer = String::from_utf8_lossy(invite.body()).into_owned();
    assert!(offer.contains(&format!("c=IN {}\r\n", families[0])), "{offer}");
    rig.answered(&call_id).await;
    assert_eq!(rig.metric("trunkline_media_ports_used").await, 1.0);
    let record = rig.ended(&call_id).await;
    assert_eq!(record.hung_up_by, "caller");
    spoke(&record, &phone.done().await, &format!("c=IN {}\r\n", families[1]));
    rig.idle().await;
    record
}

const ANSWERS: Phone = Phone::new("uas_hangs_up_after_a_while").pause_ms(2_000);
const BOTH: &[&str] = &["127.0.0.1", "[::1]"];

/// The trunk `lab` at one address refuses, the trunk `spare` at the other one answers.
async fn from_trunk_to_trunk(lab: (&'static str, &'static str), spare: (&'static str, &'static str)) {
    if no_ipv6().await {
        return;
    }
    let (ports, folder) = (Ports::take(), Folder::new());
    let peer = format!("address = \"{}\"", SocketAddr::new(lab.0.parse().expect("an address"), ports.phone()));
    let host = if spare.0 == V6 { "[::1]" } else { V4 };
    let setup = Setup { listen: BOTH, host, peer, main: GROUP, spare: "[media]", ..Setup::default() };
    let rig = Rig::at(ports, folder, setup).await;
    let refuser = Peer::bind(&rig, lab.0, rig.ports.phone()).await;
    let phone = rig.agent(ANSWERS.at(spare.0)).await;
    let record = fails_over(&rig, refuser, phone, [lab.1, spare.1]).await;
    assert_eq!(record.trunk, "spare");
}

#[tokio::test]
async fn a_call_that_fails_over_from_an_ipv4_trunk_to_an_ipv6_trunk_has_media_of_ipv6() {
    from_trunk_to_trunk((V4, "IP4 127.0.0.1"), (V6, "IP6 ::1")).await;
}

#[tokio::test]
async fn a_call_that_fails_over_from_an_ipv6_trunk_to_an_ipv4_trunk_has_media_of_ipv4() {
    from_trunk_to_trunk((V6, "IP6 ::1"), (V4, "IP4 127.0.0.1")).await;
}

/// One trunk, whose name leads to both families.
async fn within_a_name(first: (&'static str, &'static str), second: (&'static str, &'static str)) {
    if no_ipv6().await {
        return;
    }
    let (ports, folder) = (Ports::take(), Folder::new());
    let host = |of: &str| if of == V6 { "six.trunk.test." } else { "four.trunk.test." };
    let service = "_sip._udp.trunk.test.";
    let zone = Zone::serve(vec![
        srv(service, 1, ports.phone(), host(first.0)),
        srv(service, 2, ports.phone(), host(second.0)),
        a("four.trunk.test.", Ipv4Addr::LOCALHOST),
        record("six.trunk.test.", RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
    ])
    .await;
    let sip = format!("resolver = \"{}\"", zone.at);
    let setup = Setup { listen: BOTH, sip, peer: "address = \"trunk.test\"".into(), ..Setup::default() };
    let rig = Rig::at(ports, folder, setup).await;
    let refuser = Peer::bind(&rig, first.0, rig.ports.phone()).await;
    let phone = rig.phone(ANSWERS.at(second.0)).await;
    fails_over(&rig, refuser, phone, [first.1, second.1]).await;
}

#[tokio::test]
async fn a_trunk_whose_ipv6_address_refuses_is_called_at_its_ipv4_address_with_media_of_ipv4() {
    within_a_name((V6, "IP6 ::1"), (V4, "IP4 127.0.0.1")).await;
}

#[tokio::test]
async fn a_trunk_whose_ipv4_address_refuses_is_called_at_its_ipv6_address_with_media_of_ipv6() {
    within_a_name((V4, "IP4 127.0.0.1"), (V6, "IP6 ::1")).await;
}

#[tokio::test]
async fn an_offer_of_the_other_family_is_answered_in_it() {
    let Some(rig) = rig(&["127.0.0.1", "[::1]"], "").await else { return };
    let socket = UdpSocket::bind("[::1]:0").await.expect("there is IPv6");
    let at = socket.local_addr().expect("it is bound");
    let sdp = crate::rig::SDP;
    let invite = format!(
        "INVITE sip:100@[::1] SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-6\r\nFrom: <sip:200@h>;tag=t\r\nTo: <sip:100@h>\r\n\
         Call-ID: six\r\nCSeq: 1 INVITE\r\nContact: <sip:200@{at}>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    socket.send_to(invite.as_bytes(), ("::1", rig.ports.sip())).await.expect("it is sent");
    let answer = loop {
        let message = received(&socket).await;
        if message.starts_with("SIP/2.0 200 ") {
            break message;
        }
    };
    assert!(answer.contains("c=IN IP4 127.0.0.1\r\n") && answer.contains("@[::1]:"), "{answer}");
}
