//! Calls through Kamailio, a registrar that wants digest and a proxy that stays in the route of each call: in front of us, for those who
//! call, and behind us, for those whom we call. It answers 404 to a request within a call that has lost its Route.

use std::time::Duration;

use trunkline::proto::control::v1::send_request::Command;
use trunkline::proto::control::v1::{DialRequest, ListTrunksRequest, Outcome, SendRequest};
use trunkline::proto::dialogue::v1::Hangup;
use trunkline::sip::message::{HeaderName, Method, Request};

use crate::rig::{Kamailio, PATIENCE, Peer, Rig, Setup, soon};

const TRUNK: &str = "called = \"to\"\n[auth]\nuser = \"robot\"\npassword = \"secret\"\n[registration]\n\
                     [[inbound]]\ncallee = \"*\"\nanswer = { after_ms = 300 }\ndialogue = \"none\"\nspeech = \"none\"\n";

/// A Trunkline that is registered, and a phone behind the same proxy.
async fn registered() -> (Rig, Kamailio, Peer) {
    let rig = Rig::start(Setup { trunk: TRUNK, proxied: true, ..Setup::default() }).await;
    let kamailio = Kamailio::start(&rig).await;
    let phone = Peer::lab(&rig).await.through(rig.ports.proxy());
    soon("registered", PATIENCE, async || {
        let trunks = rig.control().list_trunks(ListTrunksRequest {}).await.expect("an answer").into_inner().trunks;
        trunks[0].registration == "registered"
    })
    .await;
    (rig, kamailio, phone)
}

async fn hang_up(rig: &Rig, call_id: &str) {
    let command = Some(Command::Hangup(Hangup { now: true, reason: "enough".into(), ..Default::default() }));
    let request = SendRequest { call_id: call_id.into(), command, ..Default::default() };
    rig.control().send(request).await.expect("it is up");
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
    hang_up(&rig, &call_id).await;
    let bye = phone.request(&Method::Bye).await;
    assert_eq!(hops(&bye), 2, "the BYE comes by the proxy too");
    phone.answer(&bye, 200, &[], "").await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.end_reason.as_str()), (Outcome::Success, "enough"));
    rig.idle().await;
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
    hang_up(&rig, &call_id).await;
    let bye = phone.request(&Method::Bye).await;
    assert_eq!(hops(&bye), 2, "the BYE comes by the proxy too");
    phone.answer(&bye, 200, &[], "").await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.end_reason.as_str()), (Outcome::Success, "enough"));
    rig.idle().await;
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
