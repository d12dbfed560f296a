//! How calls are set up and kept up, with SIPp in both roles: PRACK, offers early and late, holds, UPDATE, session timers, forks.

use std::time::Duration;

use trunkline::proto::control::v1::send_request::{Command, Hold};
use trunkline::proto::control::v1::{CallRecord, GetCallRequest, Outcome};
use trunkline::proto::dialogue::v1::Hangup;

use crate::rig::{Happened, PATIENCE, Peer, Phone, Rig, SDP, Setup, Trace, soon};

/// 100 is answered at once, 300 rings with 183 and SDP.
const ROUTES: &str = r#"
[[inbound]]
callee = "100"
dialogue = "none"
speech = "none"
[[inbound]]
callee = "300"
answer = { after_ms = 500 }
early_media = true
dialogue = "none"
speech = "none"
"#;

/// One call of a scenario, and its record.
async fn called(scenario: &'static str, callee: &'static str) -> (CallRecord, Trace) {
    let rig = Rig::start(Setup { trunk: ROUTES, ..Setup::default() }).await;
    let phone = rig.phone(Phone::new(scenario).callee(callee).timeout_s(50)).await;
    let (call_id, _) = rig.incoming(0).await;
    let record = rig.ended_within(Duration::from_secs(50), &call_id).await;
    let trace = phone.done().await;
    rig.idle().await;
    (record, trace)
}

async fn talked(scenario: &'static str, callee: &'static str) -> CallRecord {
    let (record, _) = called(scenario, callee).await;
    assert_eq!((record.outcome(), record.sip_code, record.hung_up_by.as_str()), (Outcome::Success, 200, "caller"));
    record
}

/// Dials a phone on these terms, and hangs up a second after `wait`, unless it is over before.
async fn dialled(trunk: &'static str, scenario: &'static str, wait: u64) -> (CallRecord, Trace) {
    let rig = Rig::start(Setup { trunk, ..Setup::default() }).await;
    let phone = rig.phone(Phone::new(scenario).timeout_s(60)).await;
    let call_id = rig.dial(rig.order()).await;
    let talk = async {
        rig.answered(&call_id).await;
        tokio::time::sleep(Duration::from_secs(wait + 1)).await;
        rig.hang_up(&call_id).await;
        std::future::pending().await
    };
    let record = tokio::select! {
        record = rig.ended_within(Duration::from_secs(50), &call_id) => record,
        () = talk => unreachable!("the record ends it"),
    };
    let trace = phone.done().await;
    rig.idle().await;
    (record, trace)
}

async fn kept_up(trunk: &'static str, scenario: &'static str, wait: u64) -> Trace {
    let (record, trace) = dialled(trunk, scenario, wait).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "operator"), "{record:?}");
    trace
}

const DELAYED: &str = "[session]\ndelayed_offer = true\n";

#[tokio::test]
async fn a_183_with_sdp_is_acknowledged_by_the_caller() {
    talked("uac_prack", "300").await;
}

#[tokio::test]
async fn a_caller_that_never_acknowledges_the_183_is_refused_504() {
    let (record, trace) = called("uac_prack_never", "300").await;
    assert_eq!((record.hung_up_by.as_str(), record.answered_at, record.sip_code), ("network", None, 504));
    assert_eq!(trace.received("SIP/2.0 183"), 7);
}

#[tokio::test]
async fn an_offer_in_a_prack_is_answered() {
    talked("uac_prack_offer", "300").await;
}

#[tokio::test]
async fn who_requires_100rel_of_a_trunk_without_it_is_told_so() {
    let trunk = "[session]\nreliable = \"off\"\n[[inbound]]\ndialogue = \"none\"\nspeech = \"none\"\n";
    let rig = Rig::start(Setup { trunk, ..Setup::default() }).await;
    rig.phone(Phone::new("uac_requires_100rel")).await.done().await;
    assert_eq!(rig.metric_of("trunkline_calls_refused_total", "\"sip\"").await, 1.0);
    rig.idle().await;
}

#[tokio::test]
async fn an_invite_without_sdp_gets_our_offer_in_the_200() {
    for callee in ["100", "300"] {
        let record = talked("uac_delayed_offer", callee).await;
        let quality = record.quality.expect("how the line was");
        assert!(quality.received > 30 && quality.sent > 30, "{quality:?}");
    }
}

#[tokio::test]
async fn an_invite_without_sdp_gets_our_offer_in_a_reliable_183() {
    let record = talked("uac_delayed_offer_prack", "300").await;
    let quality = record.quality.expect("how the line was");
    assert!(quality.received > 30 && quality.sent > 30, "{quality:?}");
}

#[tokio::test]
async fn a_caller_holds_in_each_way_and_resumes() {
    talked("uac_holds_and_resumes", "100").await;
}

#[tokio::test]
async fn a_caller_changes_the_codec_and_asks_for_our_offer() {
    talked("uac_changes_codec", "100").await;
}

#[tokio::test]
async fn a_caller_updates_the_session() {
    talked("uac_updates", "100").await;
}

#[tokio::test]
async fn a_caller_refreshes_the_session_after_a_422() {
    talked("uac_session_timer", "100").await;
}

#[tokio::test]
async fn keys_by_info_are_keys_in_both_content_types() {
    assert_eq!(talked("uac_dtmf_info", "100").await.keys, "5#");
}

#[tokio::test]
async fn strange_requests_in_a_call_are_refused_by_name_and_do_no_harm() {
    talked("uac_strange_requests", "100").await;
}

#[tokio::test]
async fn a_reliable_183_is_acknowledged_by_us() {
    let trace = kept_up("", "uas_reliable_183", 0).await;
    assert_eq!((trace.received("PRACK"), trace.received("ACK")), (2, 1));
}

#[tokio::test]
async fn a_phone_without_100rel_refuses_a_trunk_that_requires_it() {
    let (record, _) = dialled("[session]\nreliable = \"required\"\n", "uas_refuses_100rel", 0).await;
    assert_eq!((record.sip_code, record.hung_up_by.as_str()), (420, "caller_ringing"));
}

#[tokio::test]
async fn an_offer_in_the_200_is_answered_in_the_ack() {
    kept_up(DELAYED, "uas_offers_in_200", 0).await;
}

#[tokio::test]
async fn an_offer_in_a_reliable_183_is_answered_in_the_prack() {
    kept_up(DELAYED, "uas_offers_in_183", 0).await;
}

#[tokio::test]
async fn an_offer_that_cannot_be_answered_ends_the_call() {
    let (record, _) = dialled(DELAYED, "uas_offers_what_we_have_not", 0).await;
    assert_eq!((record.hung_up_by.as_str(), record.talk_ms), ("network", 0));
}

#[tokio::test]
async fn of_a_fork_one_branch_is_the_call_and_the_others_are_let_go() {
    let trace = kept_up("", "uas_forks", 0).await;
    assert_eq!((trace.received("ACK"), trace.received("BYE")), (2, 2));
}

#[tokio::test]
async fn a_422_is_answered_by_a_longer_interval() {
    let trace = kept_up("", "uas_wants_longer_interval", 0).await;
    assert_eq!(trace.received("INVITE"), 2);
}

#[tokio::test]
async fn a_session_is_refreshed_by_update() {
    kept_up("", "uas_is_refreshed_by_update", 11).await;
}

#[tokio::test]
async fn a_session_is_refreshed_by_reinvite_even_after_a_491() {
    // After 18 s, and up to 4 s later; at 24 s it would be given up.
    let trace = kept_up("", "uas_is_refreshed_by_reinvite", 22).await;
    assert_eq!((trace.received("INVITE"), trace.received("ACK")), (3, 3));
}

#[tokio::test]
async fn a_refresh_that_finds_nobody_ends_the_call() {
    let (record, _) = dialled("", "uas_forgets_the_call", 30).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "network"));
    assert!((10_000..13_000).contains(&record.talk_ms), "{record:?}");
}

#[tokio::test]
async fn a_session_that_the_phone_does_not_refresh_is_over() {
    let (record, _) = dialled("", "uas_never_refreshes", 30).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "network"));
    assert!((14_000..17_000).contains(&record.talk_ms), "{record:?}");
}

#[tokio::test]
async fn a_called_phone_holds_and_resumes() {
    kept_up("", "uas_holds_and_resumes", 2).await;
}

/// Asks for hold or resume, and waits for the n-th time that something is told of it, from 0: held by us, refused with.
async fn hold(rig: &Rig, call_id: &str, on: bool, n: usize) -> (bool, u32) {
    rig.send(call_id, Command::Hold(Hold { on })).await;
    let mut count = 0;
    rig.find(call_id, |event| {
        let Some(Happened::Hold(hold)) = &event.event else { return None };
        assert!(!hold.by_far_end, "{hold:?}");
        count += 1;
        (count > n).then_some((hold.by_us, hold.sip_code))
    })
    .await
}

/// Who holds whom, as the state says: we, the far end.
async fn held(rig: &Rig, call_id: &str) -> (bool, bool) {
    let state = rig.control().get_call(GetCallRequest { call_id: call_id.into() }).await.expect("it is up");
    let state = state.into_inner().call.expect("its state");
    (state.held_by_us, state.held_by_far_end)
}

/// Holds, resumes, is refused, and hangs up.
async fn is_held(rig: &Rig, call_id: &str) -> CallRecord {
    rig.answered(call_id).await;
    assert_eq!(held(rig, call_id).await, (false, false));
    assert_eq!(hold(rig, call_id, true, 0).await, (true, 0));
    assert_eq!(held(rig, call_id).await, (true, false));
    assert_eq!(hold(rig, call_id, false, 1).await, (false, 0));
    assert_eq!(held(rig, call_id).await, (false, false));
    assert_eq!(hold(rig, call_id, true, 2).await, (false, 488));
    rig.send(call_id, Command::Hangup(Hangup { now: true, reason: "enough".into(), ..Default::default() })).await;
    rig.ended(call_id).await
}

#[tokio::test]
async fn a_caller_is_held_and_resumed_and_may_refuse() {
    let rig = Rig::start(Setup { trunk: ROUTES, ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uac_is_held")).await;
    let (call_id, _) = rig.incoming(0).await;
    let record = is_held(&rig, &call_id).await;
    assert_eq!((record.outcome(), record.end_reason.as_str()), (Outcome::Success, "enough"));
    let trace = phone.done().await;
    assert_eq!((trace.received("INVITE"), trace.received("ACK")), (4, 4));
    rig.idle().await;
}

#[tokio::test]
async fn a_called_phone_is_held_and_resumed_and_may_refuse() {
    let rig = Rig::start(Setup::default()).await;
    let phone = rig.phone(Phone::new("uas_is_held")).await;
    let call_id = rig.dial(rig.order()).await;
    let record = is_held(&rig, &call_id).await;
    assert_eq!((record.outcome(), record.end_reason.as_str()), (Outcome::Success, "enough"));
    let trace = phone.done().await;
    assert_eq!((trace.received("INVITE"), trace.received("ACK")), (5, 5));
    rig.idle().await;
}

#[tokio::test]
async fn a_hold_of_the_far_end_is_seen_in_the_state_while_it_lasts() {
    let rig = Rig::start(Setup { trunk: ROUTES, ..Setup::default() }).await;
    let lab = Peer::lab(&rig).await;
    lab.calls("100", 1, "").await;
    let answer = lab.response().await;
    lab.after(&answer, "ACK", 1).await;
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    for (cseq, way, by_far_end) in [(2, "sendonly", true), (3, "sendrecv", false)] {
        let more = format!("Contact: <sip:200@{}>\r\nContent-Type: application/sdp\r\n", lab.at());
        lab.after_with(&answer, "INVITE", cseq, &more, &format!("{SDP}a={way}\r\n")).await;
        assert_eq!(lab.response().await.code(), 200, "{way}");
        lab.after(&answer, "ACK", cseq).await;
        soon("it is seen", PATIENCE, async || held(&rig, &call_id).await == (false, by_far_end)).await;
    }
    rig.hang_up(&call_id).await;
    lab.is_hung_up().await;
    rig.ended(&call_id).await;
    rig.idle().await;
}
