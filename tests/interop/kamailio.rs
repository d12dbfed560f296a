//! Calls through Kamailio, a registrar that wants digest and a proxy that stays in the route of each call: in front of us, for those who
//! call, and behind us, for those whom we call. It answers 404 to a request within a call that has lost its Route.

use std::time::Duration;

use trunkline::proto::control::v1::event::transfer::Stage;
use trunkline::proto::control::v1::send_request::{Command, Hold};
use trunkline::proto::control::v1::{DialRequest, Outcome};
use trunkline::proto::dialogue::v1::{Hangup, Refer, UserToUser};
use trunkline::sip::message::{HeaderName, Method, Request};

use crate::rig::{Folder, Happened, Kamailio, Peer, Ports, Rig, SDP, Setup, certificates};

const TRUNK: &str = "called = \"to\"\n[auth]\nuser = \"robot\"\npassword = \"secret\"\n[registration]\n\
                     [[inbound]]\ncallee = \"300\"\nanswer = { after_ms = 300 }\nearly_media = true\n\
                     dialogue = \"none\"\nspeech = \"none\"\n\
                     [[inbound]]\ncallee = \"*\"\nanswer = { after_ms = 300 }\ndialogue = \"none\"\nspeech = \"none\"\n";

/// A Trunkline that is registered, and a phone behind the same proxy.
async fn registered() -> (Rig, Kamailio, Peer) {
    let rig = Rig::start(Setup { trunk: TRUNK, proxied: true, ..Setup::default() }).await;
    let kamailio = Kamailio::start(&rig).await;
    let phone = Peer::lab(&rig).await.through(rig.ports.proxy());
    rig.registered().await;
    (rig, kamailio, phone)
}

/// The same over TLS between Trunkline and the proxy; the phone speaks UDP.
async fn registered_securely() -> (Rig, Kamailio, Peer) {
    let (ports, folder) = (Ports::take(), Folder::new());
    let files = certificates(&folder.0, 4096);
    let [ca, certificate, key] = &files;
    let ((ours, _), (theirs, _)) = (ports.caller(), ports.caller());
    let sip = format!("[sip.tls]\nlisten = \"127.0.0.1:{ours}\"\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let peer = format!("address = \"127.0.0.1:{theirs}\"\ntransport = \"tls\"\n[tls]\nca = {ca:?}");
    let rig = Rig::at(ports, folder, Setup { sip, peer, trunk: TRUNK, ..Setup::default() }).await;
    let kamailio = Kamailio::start_secure(&rig, theirs, &files).await;
    let phone = Peer::lab(&rig).await.through(rig.ports.proxy());
    rig.registered().await;
    (rig, kamailio, phone)
}

/// Hangs up, and has the phone answer.
async fn hung_up(rig: &Rig, phone: &Peer, call_id: &str) {
    rig.hang_up(call_id).await;
    let bye = phone.is_hung_up().await;
    assert_eq!(hops(&bye), 2, "the BYE comes by the proxy too");
    let record = rig.ended(call_id).await;
    assert_eq!((record.outcome(), record.end_reason.as_str()), (Outcome::Success, "enough"));
    rig.idle().await;
}

fn header(request: &Request, name: &str) -> String {
    request.named(name).unwrap_or_else(|| panic!("no {name} in {request:?}")).into_owned()
}

/// How many proxies a request came by.
fn hops(request: &Request) -> usize {
    request.list(HeaderName::Via).count()
}

#[tokio::test]
async fn a_call_out_is_authenticated_routed_and_hung_up_by_us() {
    let (rig, _kamailio, phone) = registered().await;
    let call_id = rig.dial(rig.order()).await;
    let invite = phone.takes().await;
    assert_eq!((hops(&invite), invite.list(HeaderName::RecordRoute).count()), (2, 1));
    assert_eq!(invite.all(HeaderName::Route).count(), 0, "the proxy has taken its own off");
    rig.answered(&call_id).await;
    hung_up(&rig, &phone, &call_id).await;
}

#[tokio::test]
async fn a_call_out_is_hung_up_by_the_phone() {
    let (rig, _kamailio, phone) = registered().await;
    let call_id = rig.dial(rig.order()).await;
    let invite = phone.takes().await;
    rig.answered(&call_id).await;
    phone.back(&invite, "BYE", 1).await;
    assert_eq!(phone.response().await.code(), 200);
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "caller"));
    rig.idle().await;
}

#[tokio::test]
async fn a_call_out_that_nobody_answers_is_cancelled_through_the_proxy() {
    let (rig, _kamailio, phone) = registered().await;
    let ring_timeout = Some(Duration::from_secs(1).try_into().expect("short"));
    let call_id = rig.dial(DialRequest { ring_timeout, ..rig.order() }).await;
    let invite = phone.request(&Method::Invite).await;
    phone.answer(&invite, 180, &[], "").await;
    let cancel = phone.request(&Method::Cancel).await;
    phone.answer(&cancel, 200, &[], "").await;
    phone.answer(&invite, 487, &[], "").await;
    phone.request(&Method::Ack).await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Nooneheard, 487));
    rig.idle().await;
}

#[tokio::test]
async fn a_second_call_out_counts_its_nonce() {
    let (rig, _kamailio, phone) = registered().await;
    for _ in 0..2 {
        let call_id = rig.dial(rig.order()).await;
        phone.refuses(486).await;
        let record = rig.ended(&call_id).await;
        assert_eq!((record.outcome(), record.sip_code), (Outcome::Linebusy, 486));
    }
}

#[tokio::test]
async fn a_call_in_comes_to_our_contact_and_is_hung_up_by_the_caller() {
    let (rig, _kamailio, phone) = registered().await;
    phone.calls("100", 1, "").await;
    let answer = phone.response().await;
    assert_eq!((answer.code(), answer.list(HeaderName::RecordRoute).count()), (200, 1), "{answer:?}");
    phone.after(&answer, "ACK", 1).await;
    let (call_id, incoming) = rig.incoming(0).await;
    assert_eq!(incoming.callee, "100", "the proxy has put our contact into the Request-URI; who was called is in To");
    rig.answered(&call_id).await;
    phone.after(&answer, "BYE", 2).await;
    assert_eq!(phone.response().await.code(), 200);
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "caller"));
    rig.idle().await;
}

#[tokio::test]
async fn a_call_in_is_hung_up_by_us() {
    let (rig, _kamailio, phone) = registered().await;
    phone.calls("100", 1, "").await;
    let answer = phone.response().await;
    phone.after(&answer, "ACK", 1).await;
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    hung_up(&rig, &phone, &call_id).await;
}

#[tokio::test]
async fn a_call_in_is_cancelled_through_the_proxy() {
    let (rig, _kamailio, phone) = registered().await;
    phone.calls("100", 1, "").await;
    let (call_id, _) = rig.incoming(0).await;
    phone.cancels("100", 1).await;
    // 200 to the CANCEL, 487 to the INVITE, in whatever order.
    let mut codes = [phone.response().await.code(), phone.response().await.code()];
    codes.sort_unstable();
    assert_eq!(codes, [200, 487]);
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Nooneheard, "caller_ringing"));
    rig.idle().await;
}

#[tokio::test]
async fn at_the_end_the_registration_is_gone() {
    let (mut rig, _kamailio, phone) = registered().await;
    rig.terminate().await;
    assert!(rig.exited().await.success());
    phone.calls("100", 1, "").await;
    let answer = phone.response().await;
    assert_eq!((answer.code(), answer.reason().as_ref()), (404, "Not Registered"));
}

#[tokio::test]
async fn a_reliable_183_of_the_phone_is_acknowledged_through_the_proxy() {
    let (rig, _kamailio, phone) = registered().await;
    let call_id = rig.dial(rig.order()).await;
    let invite = phone.request(&Method::Invite).await;
    phone.answer(&invite, 183, &[("Require", "100rel"), ("RSeq", "7")], SDP).await;
    let prack = phone.request(&Method::Prack).await;
    assert_eq!((hops(&prack), prack.all(HeaderName::Route).count()), (2, 0));
    assert_eq!(header(&prack, "RAck"), format!("7 {}", header(&invite, "CSeq")));
    phone.answer(&prack, 200, &[], "").await;
    phone.answer(&invite, 200, &[], "").await;
    phone.request(&Method::Ack).await;
    rig.answered(&call_id).await;
    hung_up(&rig, &phone, &call_id).await;
}

#[tokio::test]
async fn our_reliable_183_is_acknowledged_by_the_phone_through_the_proxy() {
    let (rig, _kamailio, phone) = registered().await;
    phone.calls("300", 1, "Require: 100rel\r\n").await;
    let ringing = phone.provisional().await;
    let rseq = ringing.named("RSeq").expect("it is reliable").into_owned();
    assert_eq!((ringing.code(), ringing.list(HeaderName::RecordRoute).count()), (183, 1));
    phone.after_with(&ringing, "PRACK", 2, &format!("RAck: {rseq} 1 INVITE\r\n"), "").await;
    let prack = phone.response().await;
    assert_eq!((prack.code(), prack.cseq().expect("one").method), (200, Method::Prack));
    let answer = phone.response().await;
    assert_eq!((answer.code(), answer.cseq().expect("one").method), (200, Method::Invite));
    phone.after(&answer, "ACK", 1).await;
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    hung_up(&rig, &phone, &call_id).await;
}

/// A call out that is to be refreshed by us after 10 s: how it was. It goes on.
async fn refreshed(allow: &str, method: Method) {
    let (rig, _kamailio, phone) = registered().await;
    let call_id = rig.dial(rig.order()).await;
    let invite = phone.request(&Method::Invite).await;
    let expires = [("Require", "timer"), ("Session-Expires", "20;refresher=uac"), ("Allow", allow)];
    phone.answer(&invite, 200, &expires, SDP).await;
    phone.request(&Method::Ack).await;
    rig.answered(&call_id).await;
    let refresh = match method {
        Method::Invite => phone.reinvite().await,
        _ => phone.request(&method).await,
    };
    assert_eq!((hops(&refresh), refresh.all(HeaderName::Route).count()), (2, 0));
    assert!(header(&refresh, "Session-Expires").ends_with(";refresher=uac"), "{refresh:?}");
    let sdp = if method == Method::Invite { SDP } else { "" };
    phone.answer(&refresh, 200, &expires, sdp).await;
    if method == Method::Invite {
        phone.request(&Method::Ack).await;
    }
    hung_up(&rig, &phone, &call_id).await;
}

#[tokio::test]
async fn a_session_is_refreshed_by_update_along_the_record_route() {
    refreshed("INVITE, ACK, BYE, CANCEL, UPDATE", Method::Update).await;
}

#[tokio::test]
async fn a_session_is_refreshed_by_reinvite_along_the_record_route() {
    refreshed("INVITE, ACK, BYE, CANCEL", Method::Invite).await;
}

#[tokio::test]
async fn the_phone_refreshes_the_session_through_the_proxy() {
    let (rig, _kamailio, phone) = registered().await;
    let timer = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\nMin-SE: 90\r\n";
    phone.calls("100", 1, timer).await;
    let answer = phone.response().await;
    assert_eq!(answer.named("Session-Expires").as_deref(), Some("90;refresher=uac"), "{answer:?}");
    phone.after(&answer, "ACK", 1).await;
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    phone.after_with(&answer, "UPDATE", 2, &format!("Contact: <sip:200@127.0.0.1>\r\n{timer}"), "").await;
    let refreshed = phone.response().await;
    assert_eq!((refreshed.code(), refreshed.cseq().expect("one").method), (200, Method::Update));
    assert_eq!(refreshed.named("Session-Expires").as_deref(), Some("90;refresher=uac"), "{refreshed:?}");
    phone.after(&answer, "BYE", 3).await;
    assert_eq!(phone.response().await.code(), 200);
    assert_eq!(rig.ended(&call_id).await.hung_up_by, "caller");
    rig.idle().await;
}

/// Waits for the n-th hold that is told, from 0: whether we hold.
async fn held(rig: &Rig, call_id: &str, n: usize) -> bool {
    let hold = rig.hold(call_id, n).await;
    assert_eq!((hold.by_far_end, hold.sip_code), (false, 0), "{hold:?}");
    hold.by_us
}

async fn is_held_and_resumed(rig: &Rig, phone: &Peer, call_id: &str) {
    rig.answered(call_id).await;
    for (n, (on, offer, answer)) in
        [(true, "a=sendonly", "recvonly"), (false, "a=sendrecv", "sendrecv")].into_iter().enumerate()
    {
        rig.send(call_id, Command::Hold(Hold { on })).await;
        let invite = phone.reinvite().await;
        assert_eq!((hops(&invite), invite.all(HeaderName::Route).count()), (2, 0));
        assert!(String::from_utf8_lossy(invite.body()).contains(offer), "{invite:?}");
        phone.answer(&invite, 200, &[], &format!("{SDP}a={answer}\r\n")).await;
        let cseq = invite.cseq().expect("one").number;
        while phone.request(&Method::Ack).await.cseq().expect("one").number != cseq {}
        assert_eq!(held(rig, call_id, n).await, on);
    }
    hung_up(rig, phone, call_id).await;
}

#[tokio::test]
async fn a_called_phone_is_held_and_resumed_through_the_proxy() {
    let (rig, _kamailio, phone) = registered().await;
    let call_id = rig.dial(rig.order()).await;
    phone.takes().await;
    is_held_and_resumed(&rig, &phone, &call_id).await;
}

#[tokio::test]
async fn a_caller_is_held_and_resumed_through_the_proxy() {
    let (rig, _kamailio, phone) = registered().await;
    phone.calls("100", 1, "").await;
    let answer = phone.response().await;
    phone.after(&answer, "ACK", 1).await;
    let (call_id, _) = rig.incoming(0).await;
    is_held_and_resumed(&rig, &phone, &call_id).await;
}

#[tokio::test]
async fn a_refer_and_its_notifies_pass_the_proxy() {
    let (rig, _kamailio, phone) = registered().await;
    let call_id = rig.dial(rig.order()).await;
    let invite = phone.takes().await;
    rig.answered(&call_id).await;
    rig.send(&call_id, Command::Refer(Refer { target: "8001".into(), ..Default::default() })).await;
    let refer = phone.request(&Method::Refer).await;
    assert_eq!((hops(&refer), refer.all(HeaderName::Route).count()), (2, 0));
    assert_eq!(header(&refer, "Refer-To"), "<sip:8001@127.0.0.1>");
    phone.answer(&refer, 202, &[], "").await;
    for (cseq, state, status) in [
        (1, "active;expires=60", "SIP/2.0 100 Trying"),
        (2, "active", "SIP/2.0 180 Ringing"),
        (3, "terminated;reason=noresource", "SIP/2.0 200 OK"),
    ] {
        let more = format!(
            "Contact: <sip:200@127.0.0.1>\r\nEvent: refer\r\nSubscription-State: {state}\r\nContent-Type: message/sipfrag;version=2.0\r\n"
        );
        phone.back_with(&invite, "NOTIFY", cseq, &more, &format!("{status}\r\n")).await;
        let answer = phone.response().await;
        assert_eq!((answer.code(), answer.cseq().expect("one").method), (200, Method::Notify), "{status}");
    }
    phone.is_hung_up().await;
    let mut told = Vec::new();
    let record = rig.ended(&call_id).await;
    rig.find(&call_id, |event| {
        let Some(Happened::Transfer(transfer)) = &event.event else { return None };
        told.push((transfer.stage(), transfer.sip_code));
        (transfer.stage() == Stage::Ended).then_some(())
    })
    .await;
    let way = [(Stage::Started, 0), (Stage::Progress, 202), (Stage::Progress, 100), (Stage::Progress, 180)];
    assert_eq!(told, [&way[..], &[(Stage::Answered, 200), (Stage::Ended, 200)]].concat());
    assert_eq!(record.transfers[0].outcome, "transferred");
    rig.idle().await;
}

fn uui(bytes: &[u8]) -> Vec<UserToUser> {
    vec![UserToUser { bytes: bytes.to_vec(), ..Default::default() }]
}

#[tokio::test]
async fn user_to_user_passes_the_proxy_in_invite_and_bye_of_both_sides() {
    let (rig, _kamailio, phone) = registered().await;
    // Ours.
    let call_id = rig.dial(DialRequest { user_to_user_values: uui(&[4, 0x68]), ..rig.order() }).await;
    let invite = phone.takes().await;
    assert_eq!(header(&invite, "User-to-User"), "0468;encoding=hex");
    rig.answered(&call_id).await;
    let hangup = Hangup { now: true, user_to_user: uui(&[4, 0x69]), ..Default::default() };
    rig.send(&call_id, Command::Hangup(hangup)).await;
    let bye = phone.is_hung_up().await;
    assert_eq!(header(&bye, "User-to-User"), "0469;encoding=hex");
    rig.ended(&call_id).await;
    // The phone's.
    phone.calls("100", 1, "User-to-User: 046a;encoding=hex\r\n").await;
    let answer = phone.response().await;
    phone.after(&answer, "ACK", 1).await;
    let (call_id, incoming) = rig.incoming(0).await;
    assert_eq!(incoming.user_to_user, "046a;encoding=hex");
    rig.answered(&call_id).await;
    phone.after_with(&answer, "BYE", 2, "User-to-User: 046b;encoding=hex\r\n", "").await;
    assert_eq!(phone.response().await.code(), 200);
    let record = rig.ended(&call_id).await;
    let values: Vec<_> = record.user_to_user.iter().map(|uui| (uui.carrier.as_str(), uui.value.as_str())).collect();
    assert_eq!(values, [("invite", "046a;encoding=hex"), ("bye", "046b;encoding=hex")]);
    rig.idle().await;
}

#[tokio::test]
async fn over_tls_a_trunk_registers_and_calls_a_phone_behind_the_proxy() {
    let (rig, _kamailio, phone) = registered_securely().await;
    let call_id = rig.dial(rig.order()).await;
    let invite = phone.takes().await;
    let vias: Vec<_> = invite.list(HeaderName::Via).collect();
    assert!(vias.len() == 2 && vias[1].starts_with("SIP/2.0/TLS "), "{vias:?}");
    assert_eq!(invite.list(HeaderName::RecordRoute).count(), 2, "once for each transport");
    rig.answered(&call_id).await;
    hung_up(&rig, &phone, &call_id).await;
    assert_eq!(rig.metric("trunkline_sip_datagrams_sent_total").await, 0.0);
}

#[tokio::test]
async fn over_tls_a_phone_behind_the_proxy_calls_the_contact_that_is_registered() {
    let (rig, _kamailio, phone) = registered_securely().await;
    phone.calls("100", 1, "").await;
    let answer = phone.response().await;
    assert_eq!((answer.code(), answer.list(HeaderName::RecordRoute).count()), (200, 2), "{answer:?}");
    phone.after(&answer, "ACK", 1).await;
    let (call_id, incoming) = rig.incoming(0).await;
    assert_eq!(incoming.callee, "100");
    is_held_and_resumed(&rig, &phone, &call_id).await;
    assert_eq!(rig.metric("trunkline_sip_datagrams_sent_total").await, 0.0);
}
