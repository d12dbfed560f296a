//! linphone (Debian's `linphone-cli` 5.1) as the far end: its PRACK, its session timer, its holds and transfers, as they are.
//!
//! What it cannot do here: show a User-to-User of its own (its log shows ours).

use trunkline::proto::control::v1::event::transfer::Stage;
use trunkline::proto::control::v1::send_request::{Command, Hold, SendKeys};
use trunkline::proto::control::v1::{CallRecord, DialRequest, Outcome};
use trunkline::proto::dialogue::v1::{Hangup, Refer, UserToUser};

use crate::rig::{Happened, Kamailio, Linphone, PATIENCE, Rig, Setup, soon};

/// 100 is answered at once, 300 rings with 183 and SDP, 400 rings.
const ROUTES: &str = "[[inbound]]\ncallee = \"300\"\nanswer = { after_ms = 500 }\nearly_media = true\n\
                      dialogue = \"none\"\nspeech = \"none\"\n\
                      [[inbound]]\ncallee = \"400\"\nanswer = \"wait\"\ndialogue = \"none\"\nspeech = \"none\"\n\
                      [[inbound]]\ncallee = \"*\"\ndialogue = \"none\"\nspeech = \"none\"\n";

/// It acknowledges provisional answers.
const RELIABLE: &str = "100rel_support_level=1";

/// The trunk to Kamailio.
const REGISTERED: &str = "called = \"to\"\n[auth]\nuser = \"robot\"\npassword = \"secret\"\n[registration]\n";

async fn stage(sip: &str) -> (Rig, Linphone) {
    let rig = Rig::start(Setup { trunk: ROUTES, ..Setup::default() }).await;
    let phone = Linphone::lab(&rig, sip).await;
    (rig, phone)
}

/// Linphone calls a number of ours: the call, when it is up for both.
async fn calls(rig: &Rig, phone: &mut Linphone, number: &str, port: u16) -> String {
    phone.types(&format!("call sip:{number}@127.0.0.1:{port}")).await;
    let (call_id, incoming) = rig.incoming(0).await;
    assert_eq!(incoming.callee, number);
    phone.says("Media streams established").await;
    rig.answered(&call_id).await;
    call_id
}

/// Linphone is called and answers: the call, when it is up for both.
async fn takes(rig: &Rig, phone: &mut Linphone, order: DialRequest) -> String {
    let call_id = rig.dial(order).await;
    phone.says("Receiving new incoming call from").await;
    phone.types("answer").await;
    phone.says("Media streams established").await;
    rig.answered(&call_id).await;
    call_id
}

/// Waits until so many of its datagrams have come to us.
async fn heard(rig: &Rig, packets: f64) {
    soon("it is heard", PATIENCE, async || rig.metric("trunkline_media_packets_received_total").await > packets).await;
}

/// The record of a call that has gone well: who hung up, and that media flowed both ways.
async fn ended(rig: &Rig, call_id: &str) -> CallRecord {
    let record = rig.ended(call_id).await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Success, 200), "{record:?}");
    let quality = record.quality.as_ref().expect("how the line was");
    assert!(quality.received > 30 && quality.sent > 30, "{quality:?}");
    rig.idle().await;
    record
}

/// We hang up, and it takes it so.
async fn hung_up(rig: &Rig, phone: &mut Linphone, call_id: &str) {
    rig.hang_up(call_id).await;
    phone.says("ended (").await;
    assert_eq!(ended(rig, call_id).await.end_reason, "enough");
}

/// It hangs up.
async fn hangs_up(rig: &Rig, phone: &mut Linphone, call_id: &str) -> CallRecord {
    phone.types("terminate").await;
    phone.says("ended (").await;
    let record = ended(rig, call_id).await;
    assert_eq!(record.hung_up_by, "caller");
    record
}

#[tokio::test]
async fn a_linphone_that_calls_acknowledges_the_183_is_heard_presses_a_key_and_hangs_up() {
    let (rig, mut phone) = stage(RELIABLE).await;
    let call_id = calls(&rig, &mut phone, "300", rig.ports.sip()).await;
    assert_eq!((phone.log.lines("RSeq: "), phone.log.lines("PRACK sip:")), (1, 1));
    heard(&rig, 50.0).await;
    phone.types("5").await;
    rig.keys(&call_id, 1).await;
    assert_eq!(hangs_up(&rig, &mut phone, &call_id).await.keys, "5");
}

#[tokio::test]
async fn a_linphone_that_calls_is_hung_up() {
    let (rig, mut phone) = stage("").await;
    let call_id = calls(&rig, &mut phone, "100", rig.ports.sip()).await;
    heard(&rig, 50.0).await;
    hung_up(&rig, &mut phone, &call_id).await;
}

#[tokio::test]
async fn a_linphone_that_rings_us_gives_up() {
    let (rig, mut phone) = stage("").await;
    phone.types(&format!("call sip:400@127.0.0.1:{}", rig.ports.sip())).await;
    let (call_id, _) = rig.incoming(0).await;
    phone.says("ringing").await;
    phone.types("terminate").await;
    phone.says("ended").await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Nooneheard, "caller_ringing"));
    rig.idle().await;
}

#[tokio::test]
async fn a_linphone_is_called_hears_our_keys_sees_user_to_user_and_is_hung_up() {
    let (rig, mut phone) = stage("").await;
    let uui = |byte| vec![UserToUser { bytes: vec![4, byte], ..Default::default() }];
    let order = DialRequest { user_to_user_values: uui(0x68), ..rig.order() };
    let call_id = takes(&rig, &mut phone, order).await;
    assert_eq!(phone.log.lines("User-to-User: 0468;encoding=hex"), 1);
    heard(&rig, 50.0).await;
    rig.send(&call_id, Command::SendKeys(SendKeys { keys: "7".into() })).await;
    phone.says("Receiving tone 7").await;
    let hangup = Hangup { now: true, user_to_user: uui(0x69), ..Default::default() };
    rig.send(&call_id, Command::Hangup(hangup)).await;
    phone.says("ended (").await;
    assert_eq!(phone.log.lines("User-to-User: 0469;encoding=hex"), 1);
    assert_eq!(ended(&rig, &call_id).await.hung_up_by, "operator");
}

#[tokio::test]
async fn a_linphone_that_is_called_hangs_up() {
    let (rig, mut phone) = stage("").await;
    let order = rig.order();
    let call_id = takes(&rig, &mut phone, order).await;
    heard(&rig, 50.0).await;
    hangs_up(&rig, &mut phone, &call_id).await;
}

#[tokio::test]
async fn a_linphone_declines() {
    let (rig, mut phone) = stage("").await;
    let call_id = rig.dial(rig.order()).await;
    phone.says("Receiving new incoming call from").await;
    phone.types("terminate").await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.sip_code, record.hung_up_by.as_str()), (603, "caller_ringing"));
    rig.idle().await;
}

async fn holds_and_resumes(rig: &Rig, phone: &mut Linphone, call_id: &str) {
    phone.types("pause").await;
    phone.says("is now paused").await;
    let (by_us, by_it) = rig.held(call_id, 0).await;
    assert!(!by_us && by_it);
    phone.types("resume 1").await;
    phone.says("Media streams established").await;
    assert_eq!(rig.held(call_id, 1).await, (false, false));
}

async fn is_held_and_resumed(rig: &Rig, phone: &mut Linphone, call_id: &str, n: usize) {
    rig.send(call_id, Command::Hold(Hold { on: true })).await;
    phone.says("has been paused by").await;
    assert_eq!(rig.held(call_id, n).await, (true, false));
    rig.send(call_id, Command::Hold(Hold { on: false })).await;
    phone.says("Media streams established").await;
    assert_eq!(rig.held(call_id, n + 1).await, (false, false));
}

#[tokio::test]
async fn a_linphone_that_calls_holds_and_is_held() {
    let (rig, mut phone) = stage("").await;
    let call_id = calls(&rig, &mut phone, "100", rig.ports.sip()).await;
    heard(&rig, 50.0).await;
    holds_and_resumes(&rig, &mut phone, &call_id).await;
    is_held_and_resumed(&rig, &mut phone, &call_id, 2).await;
    hung_up(&rig, &mut phone, &call_id).await;
}

#[tokio::test]
async fn a_linphone_that_is_called_holds_and_is_held() {
    let (rig, mut phone) = stage("").await;
    let order = rig.order();
    let call_id = takes(&rig, &mut phone, order).await;
    heard(&rig, 50.0).await;
    is_held_and_resumed(&rig, &mut phone, &call_id, 0).await;
    phone.types("pause").await;
    phone.says("is now paused").await;
    assert_eq!(rig.held(&call_id, 2).await, (false, true));
    phone.types("resume 1").await;
    phone.says("Media streams established").await;
    assert_eq!(rig.held(&call_id, 3).await, (false, false));
    hangs_up(&rig, &mut phone, &call_id).await;
}

/// A session of 20 s, which is refreshed after ten.
const SHORT: &str = "session_expires_enabled=1\nsession_expires_value=20\nsession_expires_min_value=20";

#[tokio::test]
async fn a_session_with_a_linphone_is_refreshed() {
    let (rig, mut phone) = stage(SHORT).await;
    let order = rig.order();
    let call_id = takes(&rig, &mut phone, order).await;
    phone.log.line("UPDATE sip:").await;
    // Not shorter than our own shortest, from then on: in the UPDATE and in its answer.
    soon("a refresh", PATIENCE, async || phone.log.lines("Session-Expires: 90;refresher=uac") > 1).await;
    hung_up(&rig, &mut phone, &call_id).await;
}

#[tokio::test]
async fn a_linphone_whose_session_is_too_short_for_us_asks_again_after_the_422() {
    let (rig, mut phone) = stage(SHORT).await;
    let call_id = calls(&rig, &mut phone, "100", rig.ports.sip()).await;
    assert_eq!((phone.log.lines("SIP/2.0 422 "), phone.log.lines("Session-Expires: 90")), (1, 2));
    heard(&rig, 50.0).await;
    hung_up(&rig, &mut phone, &call_id).await;
}

#[tokio::test]
async fn a_linphone_that_is_referred_calls_another_linphone() {
    let (rig, mut phone) = stage("").await;
    let (mut other, port) = Linphone::another(&rig, "").await;
    let order = rig.order();
    let call_id = takes(&rig, &mut phone, order).await;
    heard(&rig, 50.0).await;
    let refer = Refer { target: format!("300@127.0.0.1:{port}"), ..Default::default() };
    rig.send(&call_id, Command::Refer(refer)).await;
    other.says("Receiving new incoming call from").await;
    other.types("answer").await;
    assert_eq!(rig.transferred(&call_id).await.last(), Some(&(Stage::Answered, 200)));
    other.says("Media streams established").await;
    let record = ended(&rig, &call_id).await;
    assert_eq!((record.transfers[0].outcome.as_str(), record.hung_up_by.as_str()), ("transferred", "operator"));
}

#[tokio::test]
async fn a_linphone_that_is_referred_to_nobody_stays() {
    let (rig, mut phone) = stage("").await;
    let order = rig.order();
    let call_id = takes(&rig, &mut phone, order).await;
    heard(&rig, 50.0).await;
    let (mut other, port) = Linphone::another(&rig, "").await;
    let refer = Refer { target: format!("300@127.0.0.1:{port}"), ..Default::default() };
    rig.send(&call_id, Command::Refer(refer)).await;
    other.says("Receiving new incoming call from").await;
    other.types("terminate").await;
    assert_eq!(rig.transferred(&call_id).await.last(), Some(&(Stage::Failed, 603)));
    rig.hang_up(&call_id).await;
    let record = ended(&rig, &call_id).await;
    assert_eq!((record.transfers[0].outcome.as_str(), record.end_reason.as_str()), ("failed", "enough"));
}

/// Waits for the refusal of a REFER: whither it pointed.
async fn refer_refused(rig: &Rig, call_id: &str) -> String {
    rig.find(call_id, |event| match &event.event {
        Some(Happened::ReferRefused(refused)) => {
            assert_eq!(refused.sip_code, 603);
            Some(refused.target.clone())
        }
        _ => None,
    })
    .await
}

#[tokio::test]
async fn the_transfers_of_a_linphone_are_refused_and_the_calls_go_on() {
    let (rig, mut phone) = stage("").await;
    let first = calls(&rig, &mut phone, "100", rig.ports.sip()).await;
    phone.types("transfer 1 sip:900@127.0.0.1").await;
    assert!(refer_refused(&rig, &first).await.starts_with("sip:900@127.0.0.1"));
    phone.log.line("SIP/2.0 603 ").await;
    heard(&rig, 50.0).await;
    // Attended: a second call, with the first one on hold.
    phone.types("pause").await;
    phone.says("is now paused").await;
    phone.types(&format!("call sip:101@127.0.0.1:{}", rig.ports.sip())).await;
    let (second, _) = rig.incoming(1).await;
    phone.says("Media streams established").await;
    rig.answered(&second).await;
    heard(&rig, 150.0).await;
    phone.types("transfer 1 --to-call 2").await;
    soon("a second refusal", PATIENCE, async || rig.metric("trunkline_sip_refers_refused_total").await == 2.0).await;
    for call_id in [&first, &second] {
        rig.hang_up(call_id).await;
        assert_eq!(rig.ended(call_id).await.end_reason, "enough");
    }
    rig.idle().await;
}

/// A Trunkline and a linphone that are both registered at the same proxy.
async fn registered() -> (Rig, Kamailio, Linphone) {
    let trunk = format!("{REGISTERED}{ROUTES}").leak();
    let rig = Rig::start(Setup { trunk, proxied: true, ..Setup::default() }).await;
    let kamailio = Kamailio::start(&rig).await;
    let (mut phone, _) = Linphone::another(&rig, RELIABLE).await;
    phone.types(&format!("register sip:300@kamailio.test sip:127.0.0.1:{} secret", rig.ports.proxy())).await;
    phone.log.line("SIP/2.0 200 ").await;
    rig.registered().await;
    (rig, kamailio, phone)
}

#[tokio::test]
async fn a_registered_linphone_calls_through_kamailio_with_prack_and_holds() {
    let (rig, _kamailio, mut phone) = registered().await;
    let call_id = calls(&rig, &mut phone, "300", rig.ports.proxy()).await;
    assert_eq!(phone.log.lines("PRACK sip:"), 1);
    heard(&rig, 50.0).await;
    holds_and_resumes(&rig, &mut phone, &call_id).await;
    is_held_and_resumed(&rig, &mut phone, &call_id, 2).await;
    hangs_up(&rig, &mut phone, &call_id).await;
}

#[tokio::test]
async fn a_registered_linphone_is_called_through_kamailio_and_follows_a_refer() {
    let (rig, _kamailio, mut phone) = registered().await;
    let uui = vec![UserToUser { bytes: vec![4, 0x68], ..Default::default() }];
    let order = DialRequest { callee: "300".into(), user_to_user_values: uui, ..rig.order() };
    let call_id = takes(&rig, &mut phone, order).await;
    assert_eq!(phone.log.lines("User-to-User: 0468;encoding=hex"), 1);
    heard(&rig, 50.0).await;
    is_held_and_resumed(&rig, &mut phone, &call_id, 0).await;
    // Its call to the target goes the way of all its calls: by the proxy, and that brings it to us.
    rig.send(&call_id, Command::Refer(Refer { target: "101".into(), ..Default::default() })).await;
    let (second, incoming) = rig.incoming(0).await;
    assert_eq!((incoming.caller.as_str(), incoming.callee.as_str()), ("300", "101"));
    assert_eq!(rig.transferred(&call_id).await.last(), Some(&(Stage::Answered, 200)));
    let record = rig.ended(&call_id).await;
    assert_eq!((record.transfers[0].outcome.as_str(), record.hung_up_by.as_str()), ("transferred", "operator"));
    let before = rig.metric("trunkline_media_packets_received_total").await;
    heard(&rig, before + 50.0).await;
    hung_up(&rig, &mut phone, &second).await;
    phone.quit().await;
}
