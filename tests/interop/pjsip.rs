//! pjsip (PyPI's `pjsua2-python` 2.15) as the far end, the stack of Asterisk and of many phones: as the phone that calls us and as the trunk
//! that we call.
//!
//! What it cannot do here: ask us for a password (it is no registrar), Opus (this build has none).

use serde_json::{Value, json};
use trunkline::proto::control::v1::event::transfer::Stage;
use trunkline::proto::control::v1::send_request::{Command, Hold, SendKeys};
use trunkline::proto::control::v1::{CallRecord, DialRequest, Outcome};
use trunkline::proto::dialogue::v1::{Hangup, Refer, UserToUser};

use crate::rig::audio::Wav;
use crate::rig::{Happened, Phone, Pjsip, Rig, Setup, say};

/// 100 is answered at once, 300 rings with 183 and SDP.
const ROUTES: &str = "[[inbound]]\ncallee = \"300\"\nanswer = { after_ms = 500 }\nearly_media = true\n\
                      dialogue = \"none\"\nspeech = \"none\"\n\
                      [[inbound]]\ncallee = \"*\"\ndialogue = \"none\"\nspeech = \"none\"\n";

/// `sections` of the profile, and what pjsip is.
async fn stage(sections: &str, options: Value) -> (Rig, Pjsip) {
    let trunk = format!("{sections}\n{ROUTES}").leak();
    let rig = Rig::start(Setup { trunk, record: true, ..Setup::default() }).await;
    let phone = Pjsip::lab(&rig, options).await;
    (rig, phone)
}

/// It calls a number of ours: the call, when it is up for both.
async fn calls(rig: &Rig, phone: &mut Pjsip, number: &str, headers: Value) -> String {
    let to = format!("sip:{number}@127.0.0.1:{}", rig.ports.sip());
    phone.does("call", json!({ "to": to, "headers": headers })).await;
    let (call_id, incoming) = rig.incoming(0).await;
    assert_eq!(incoming.callee, number);
    phone.tells("confirmed").await;
    rig.answered(&call_id).await;
    call_id
}

/// It is called, rings and answers: the call, when it is up for both.
async fn takes(rig: &Rig, phone: &mut Pjsip, order: DialRequest, headers: Value) -> String {
    let call_id = rig.dial(order).await;
    phone.tells("incoming call").await;
    phone.does("answer", json!({ "code": 180 })).await;
    rig.ringing(&call_id).await;
    phone.does("answer", json!({ "code": 200, "headers": headers })).await;
    phone.tells("confirmed").await;
    rig.answered(&call_id).await;
    call_id
}

/// It calls us, or is called.
async fn up(rig: &Rig, phone: &mut Pjsip, calls_us: bool) -> String {
    if calls_us { calls(rig, phone, "100", json!({})).await } else { takes(rig, phone, rig.order(), json!({})).await }
}

/// We say something to the end, while it speaks all the time.
async fn talk(rig: &Rig, call_id: &str) {
    rig.send(call_id, Command::Say(say("hello", &["human-hello.wav", "~200", "human-thank-you.wav"]))).await;
    rig.finished(call_id, "hello").await;
}

/// The call is over on both sides, and each has heard the other's voice.
async fn ended(rig: &Rig, phone: Pjsip, call_id: &str) -> CallRecord {
    let mut phone = phone;
    phone.tells("disconnected").await;
    let record = rig.ended(call_id).await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Success, 200), "{record:?}");
    assert!(phone.end().await.has_a_voice(0), "it has heard us");
    let wav = Wav::read(&rig.folder().join(&record.wav)).expect("the recording");
    assert!(wav.has_a_voice(0), "we have heard it");
    rig.none_dropped(&["unauthentic", "replayed", "malformed"]).await;
    rig.idle().await;
    record
}

async fn hung_up(rig: &Rig, phone: Pjsip, call_id: &str) -> CallRecord {
    rig.hang_up(call_id).await;
    let record = ended(rig, phone, call_id).await;
    assert_eq!(record.hung_up_by, "operator");
    record
}

async fn hangs_up(rig: &Rig, mut phone: Pjsip, call_id: &str) -> CallRecord {
    phone.does("hang up", json!({})).await;
    let record = ended(rig, phone, call_id).await;
    assert_eq!(record.hung_up_by, "caller");
    record
}

/// It holds and resumes, is held and resumed.
async fn holds_all_ways(rig: &Rig, phone: &mut Pjsip, call_id: &str) {
    phone.does("hold", json!({})).await;
    assert_eq!(rig.held(call_id, 0).await, (false, true));
    phone.tells_that("media", |media| media["held"] == "by us").await;
    phone.does("resume", json!({})).await;
    assert_eq!(rig.held(call_id, 1).await, (false, false));
    phone.tells_that("media", |media| media["active"] == true).await;
    rig.send(call_id, Command::Hold(Hold { on: true })).await;
    assert_eq!(rig.held(call_id, 2).await, (true, false));
    phone.tells_that("media", |media| media["held"] == "by it").await;
    rig.send(call_id, Command::Hold(Hold { on: false })).await;
    assert_eq!(rig.held(call_id, 3).await, (false, false));
    phone.tells_that("media", |media| media["active"] == true).await;
}

fn user_to_user(byte: u8) -> Vec<UserToUser> {
    vec![UserToUser { bytes: vec![4, byte], ..Default::default() }]
}

#[tokio::test]
async fn a_pjsip_that_requires_100rel_and_timers_calls_hears_the_early_media_and_is_heard() {
    let options = json!({ "prack": "required", "timer": "required", "interval": 90 });
    let (rig, mut phone) = stage("", options).await;
    let uui = json!({ "User-to-User": "0468;encoding=hex" });
    let call_id = calls(&rig, &mut phone, "300", uui).await;
    let (_, incoming) = rig.incoming(0).await;
    assert_eq!(incoming.user_to_user, "0468;encoding=hex");
    assert_eq!((phone.log.lines("SIP/2.0 183 "), phone.log.lines("RSeq: "), phone.log.lines("PRACK sip:")), (1, 1, 1));
    assert!(phone.log.lines("Session-Expires: 90") >= 2, "asked for and agreed on");
    phone.does("update", json!({})).await;
    phone.log.line("UPDATE sip:").await;
    phone.does("keys", json!({ "keys": "5#" })).await;
    assert_eq!(rig.keys(&call_id, 2).await, "5#");
    phone.does("keys", json!({ "keys": "7", "info": true })).await;
    assert_eq!(rig.keys(&call_id, 3).await, "5#7");
    talk(&rig, &call_id).await;
    assert_eq!(hangs_up(&rig, phone, &call_id).await.keys, "5#7");
}

#[tokio::test]
async fn a_pjsip_that_calls_holds_and_is_held_and_is_hung_up() {
    let (rig, mut phone) = stage("", json!({})).await;
    let call_id = calls(&rig, &mut phone, "100", json!({})).await;
    holds_all_ways(&rig, &mut phone, &call_id).await;
    talk(&rig, &call_id).await;
    hung_up(&rig, phone, &call_id).await;
}

#[tokio::test]
async fn a_pjsip_is_called_with_100rel_and_timers_required_and_user_to_user_passes_both_ways() {
    let options = json!({ "prack": "required", "timer": "always", "interval": 90 });
    let (rig, mut phone) = stage("[session]\nreliable = \"required\"", options).await;
    let order = DialRequest { user_to_user_values: user_to_user(0x68), ..rig.order() };
    let call_id = takes(&rig, &mut phone, order, json!({ "User-to-User": "0469;encoding=hex" })).await;
    assert_eq!((phone.log.lines("PRACK sip:"), phone.log.lines("User-to-User: 0468;encoding=hex")), (1, 1));
    let values = rig.find(&call_id, |event| match &event.event {
        Some(Happened::UserToUser(told)) => Some((told.carrier.clone(), told.values.len())),
        _ => None,
    });
    assert_eq!(values.await, ("answer".to_owned(), 1));
    holds_all_ways(&rig, &mut phone, &call_id).await;
    rig.send(&call_id, Command::SendKeys(SendKeys { keys: "12".into() })).await;
    for key in ["1", "2"] {
        assert_eq!(phone.tells("key").await, json!({ "is": "key", "key": key, "info": false }));
    }
    talk(&rig, &call_id).await;
    let hangup = Hangup { now: true, user_to_user: user_to_user(0x6a), ..Default::default() };
    rig.send(&call_id, Command::Hangup(hangup)).await;
    phone.log.line("User-to-User: 046a;encoding=hex").await;
    ended(&rig, phone, &call_id).await;
}

#[tokio::test]
async fn a_pjsip_without_rtp_events_gets_our_keys_by_info_and_hangs_up() {
    let (rig, mut phone) = stage("", json!({ "events": false })).await;
    let order = rig.order();
    let call_id = takes(&rig, &mut phone, order, json!({})).await;
    rig.send(&call_id, Command::SendKeys(SendKeys { keys: "3".into() })).await;
    assert_eq!(phone.tells("key").await, json!({ "is": "key", "key": "3", "info": true }));
    talk(&rig, &call_id).await;
    hangs_up(&rig, phone, &call_id).await;
}

#[tokio::test]
async fn a_pjsip_that_is_busy_is_told_as_such() {
    let (rig, mut phone) = stage("", json!({})).await;
    let call_id = rig.dial(rig.order()).await;
    phone.tells("incoming call").await;
    phone.does("hang up", json!({ "code": 486 })).await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.sip_code, record.outcome()), (486, Outcome::Linebusy));
    rig.idle().await;
}

#[tokio::test]
async fn a_pjsip_that_rings_is_cancelled() {
    let (rig, mut phone) = stage("", json!({ "prack": "optional" })).await;
    let call_id = rig.dial(rig.order()).await;
    phone.tells("incoming call").await;
    phone.does("answer", json!({ "code": 180 })).await;
    rig.ringing(&call_id).await;
    rig.hang_up(&call_id).await;
    assert_eq!(phone.tells("disconnected").await["code"], 487);
    assert_eq!(rig.ended(&call_id).await.outcome(), Outcome::Cancelled);
    rig.idle().await;
}

#[tokio::test]
async fn a_pjsip_that_is_referred_calls_the_target_and_tells_how_that_goes() {
    let (rig, mut phone) = stage("", json!({})).await;
    let target = rig.phone(Phone::new("uas_hangs_up_after_a_while").at("127.0.0.2")).await;
    let order = rig.order();
    let call_id = takes(&rig, &mut phone, order, json!({})).await;
    talk(&rig, &call_id).await;
    let refer = Refer { target: format!("900@127.0.0.2:{}", rig.ports.phone()), ..Default::default() };
    rig.send(&call_id, Command::Refer(refer)).await;
    phone.tells("referred").await;
    assert_eq!(rig.transferred(&call_id).await.last(), Some(&(Stage::Answered, 200)));
    // Its call to the target goes on until that one hangs up.
    target.done().await;
    let record = ended(&rig, phone, &call_id).await;
    assert_eq!(record.transfers[0].outcome, "transferred");
}

#[tokio::test]
async fn a_pjsip_that_transfers_us_hears_how_that_went() {
    let follow = "[transfer]\ninbound_refer = \"follow\"\ninbound_refer_hosts = [\"127.0.0.2\"]";
    let (rig, mut phone) = stage(follow, json!({})).await;
    let target = rig.phone(Phone::new("uas_hangs_up_after_a_while").at("127.0.0.2").pause_ms(1_500)).await;
    let call_id = calls(&rig, &mut phone, "100", json!({})).await;
    talk(&rig, &call_id).await;
    phone.does("refer", json!({ "to": format!("sip:900@127.0.0.2:{}", rig.ports.phone()) })).await;
    assert_eq!(phone.tells_that("transfer", |told| told["last"] == true).await["code"], 200);
    let record = ended(&rig, phone, &call_id).await;
    assert_eq!((record.transfers[0].kind.as_str(), record.transfers[0].result), ("refer_in", 1));
    target.done().await;
}

#[tokio::test]
async fn a_pjsip_whose_transfer_is_refused_goes_on() {
    let (rig, mut phone) = stage("", json!({})).await;
    let call_id = calls(&rig, &mut phone, "100", json!({})).await;
    phone.does("refer", json!({ "to": "sip:900@127.0.0.1" })).await;
    assert_eq!(phone.tells("transfer").await["code"], 603);
    talk(&rig, &call_id).await;
    hung_up(&rig, phone, &call_id).await;
}

#[tokio::test]
async fn a_pjsip_that_calls_a_guarded_trunk_shows_its_password() {
    let guarded = "[inbound_auth]\nuser = \"pbx\"\npassword = \"secret\"\nrealm = \"robot\"";
    let (rig, mut phone) = stage(guarded, json!({ "user": "pbx", "password": "secret" })).await;
    let call_id = calls(&rig, &mut phone, "100", json!({})).await;
    assert_eq!(phone.log.lines("SIP/2.0 401 "), 1);
    talk(&rig, &call_id).await;
    hung_up(&rig, phone, &call_id).await;
}

/// With this profile; what is agreed on when it calls, and when it is called.
async fn encrypted(ours: &str, its: &str, [caller, called]: [&str; 2]) {
    let sections = format!("[media]\nsrtp = {ours:?}");
    for (calls_us, agreed) in [(true, caller), (false, called)] {
        let (rig, mut phone) = stage(&sections, json!({ "srtp": its })).await;
        let call_id = up(&rig, &mut phone, calls_us).await;
        talk(&rig, &call_id).await;
        assert_eq!(hung_up(&rig, phone, &call_id).await.srtp, agreed, "it calls: {calls_us}");
    }
}

/// Of two offers with the same suites each offerer's first one.
const SUITES: [&str; 2] = ["AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"];

#[tokio::test]
async fn with_a_pjsip_that_may_encrypt_the_media_are_encrypted_where_we_prefer_it() {
    encrypted("preferred", "optional", SUITES).await;
}

#[tokio::test]
async fn with_a_pjsip_that_must_encrypt_the_media_are_encrypted_where_we_require_it() {
    encrypted("required", "required", SUITES).await;
}

#[tokio::test]
async fn with_a_pjsip_that_may_encrypt_the_media_are_in_the_clear_where_we_do_not() {
    encrypted("off", "optional", ["", ""]).await;
}

#[tokio::test]
async fn with_a_pjsip_of_g722_both_are_heard() {
    let g722 = json!({ "codecs": ["G722/16000/1"] });
    for calls_us in [true, false] {
        let (rig, mut phone) = stage("[media]\ncodecs = [\"G722\", \"PCMA\"]", g722.clone()).await;
        let call_id = up(&rig, &mut phone, calls_us).await;
        talk(&rig, &call_id).await;
        hung_up(&rig, phone, &call_id).await;
    }
}

#[tokio::test]
async fn over_tcp_a_pjsip_calls_holds_and_hangs_up() {
    let (rig, mut phone) = stage("", json!({ "tcp": true })).await;
    let to = format!("sip:100@127.0.0.1:{};transport=tcp", rig.ports.sip());
    phone.does("call", json!({ "to": to })).await;
    let (call_id, _) = rig.incoming(0).await;
    phone.tells("confirmed").await;
    holds_all_ways(&rig, &mut phone, &call_id).await;
    talk(&rig, &call_id).await;
    hangs_up(&rig, phone, &call_id).await;
    assert_eq!(rig.metric("trunkline_sip_datagrams_sent_total").await, 0.0);
}
