//! REFERs of the far end that are followed: SIPp as the one that refers and as the one that is called, and both by hand for what SIPp cannot see.

use std::time::Duration;

use tokio::net::UdpSocket;
use trunkline::proto::control::v1::CallRecord;
use trunkline::proto::control::v1::event::transfer::Stage;
use trunkline::proto::control::v1::send_request::Command;
use trunkline::proto::dialogue::v1::action::Action as Act;
use trunkline::proto::dialogue::v1::line_event::Event;
use trunkline::proto::dialogue::v1::{Hangup, ReferAnswer};
use trunkline::sip::message::{HeaderName, Method};

use crate::rig::{Brain, Happened, PATIENCE, Peer, Phone, Rig, Setup, Trace, say, sdp};

/// Whoever is called by a REFER is at 127.0.0.2, on the port of the trunk's phone; nobody else is called.
const FOLLOWS: &str = "[transfer]\ninbound_refer = \"follow\"\ninbound_refer_hosts = [\"127.0.0.2\"]";
const TELLS: &str =
    "[transfer]\ninbound_refer = \"tell\"\ninbound_refer_hosts = [\"127.0.0.2\"]\ninbound_refer_answer_ms = 1000";

const DECLINES: ReferAnswer = ReferAnswer { accept: false, sip_code: 0 };
const ACCEPTS: ReferAnswer = ReferAnswer { accept: true, sip_code: 0 };

impl Rig {
    /// Waits for the result of a REFER of the far end; all that was told of it, with the codes.
    async fn followed(&self, call_id: &str) -> Vec<(Stage, u32)> {
        let mut told = Vec::new();
        self.find(call_id, |event| {
            let Some(Happened::Referred(referred)) = &event.event else { return None };
            told.push((referred.stage(), referred.sip_code));
            matches!(referred.stage(), Stage::Answered | Stage::Failed).then(|| std::mem::take(&mut told))
        })
        .await
    }

    /// Waits for its refusal.
    async fn refused(&self, call_id: &str) -> (u32, String) {
        self.find(call_id, |event| match &event.event {
            Some(Happened::ReferRefused(refused)) => Some((refused.sip_code, refused.why.clone())),
            _ => None,
        })
        .await
    }

    async fn refer_asked(&self, call_id: &str) {
        self.find(call_id, |event| matches!(event.event, Some(Happened::ReferAsked(_))).then_some(())).await;
    }
}

/// Dials a phone that refers us to another one, and hangs up when the result is there. What was told; the record; what both saw.
async fn referred(
    trunk: &'static str,
    from: &'static str,
    to: &'static str,
) -> (Vec<(Stage, u32)>, CallRecord, Trace, Trace) {
    let rig = Rig::start(Setup { trunk, ..Setup::default() }).await;
    let first = rig.phone(Phone::new(from)).await;
    let second = rig.phone(Phone::new(to).at("127.0.0.2")).await;
    let call_id = rig.dial(rig.order()).await;
    let told = rig.followed(&call_id).await;
    rig.hang_up(&call_id).await;
    let record = rig.ended(&call_id).await;
    let outcome = &record.transfers[0].outcome;
    assert_eq!(rig.metric_of("trunkline_sip_refers_followed_total", outcome).await, 1.0, "{outcome}");
    let traces = (first.done().await, second.done().await);
    rig.idle().await;
    (told, record, traces.0, traces.1)
}

#[tokio::test]
async fn a_refer_is_followed_and_its_far_end_is_told() {
    let (told, record, first, second) = referred(FOLLOWS, "uas_refers_and_is_told", "uas_answers_after_180").await;
    assert_eq!(told, [(Stage::Started, 0), (Stage::Progress, 180), (Stage::Answered, 200)]);
    let [transfer] = &record.transfers[..] else { panic!("{record:?}") };
    assert_eq!((transfer.kind.as_str(), transfer.result, transfer.sip_code), ("refer_in", 1, 200));
    assert!(transfer.target.starts_with("sip:900@127.0.0.2:"), "{transfer:?}");
    assert_eq!((record.end_reason.as_str(), record.direction), ("enough", 1));
    assert_eq!((first.received("BYE"), second.received("BYE")), (1, 1));
    let invite = second.all_received()[0];
    assert!(invite.contains("Referred-By: <sip:sipp@127.0.0.1>") && !invite.contains(&record.sip_call_id), "{invite}");
}

#[tokio::test]
async fn a_target_that_cannot_be_had_leaves_the_call_as_it_was() {
    let (told, record, ..) = referred(FOLLOWS, "uas_refers_and_target_busy", "uas_busy_486").await;
    assert_eq!(told.last(), Some(&(Stage::Failed, 486)));
    assert_eq!((record.transfers[0].outcome.as_str(), record.end_reason.as_str()), ("failed", "enough"));
    let trunk = "[limits]\nring_timeout_ms = 1000\n[transfer]\ninbound_refer = \"follow\"\ninbound_refer_hosts = [\"127.0.0.2\"]";
    let (told, record, _, target) =
        referred(trunk, "uas_refers_and_target_rings_out", "uas_never_answers_cancelled").await;
    assert_eq!(told, [(Stage::Started, 0), (Stage::Progress, 180), (Stage::Failed, 408)]);
    assert_eq!((record.transfers[0].outcome.as_str(), record.end_reason.as_str()), ("timed_out", "enough"));
    assert_eq!(target.received("CANCEL"), 1);
}

#[tokio::test]
async fn who_does_not_want_to_be_told_is_not() {
    let (told, _, first, _) = referred(FOLLOWS, "uas_refers_without_subscription", "uas_answers_after_180").await;
    assert_eq!(told.last(), Some(&(Stage::Answered, 200)));
    assert_eq!((first.received("NOTIFY"), first.received("BYE")), (0, 1));
}

#[tokio::test]
async fn a_far_end_that_hangs_up_meanwhile_leaves_us_to_the_target() {
    let (told, record, first, second) = referred(FOLLOWS, "uas_refers_and_hangs_up", "uas_answers_after_180").await;
    assert_eq!(told.last(), Some(&(Stage::Answered, 200)));
    assert_eq!((record.end_reason.as_str(), record.hung_up_by.as_str()), ("enough", "operator"));
    assert_eq!((first.received("BYE"), second.received("BYE")), (0, 1));
}

#[tokio::test]
async fn a_second_refer_has_to_wait() {
    let (told, ..) = referred(FOLLOWS, "uas_refers_twice", "uas_answers_after_180").await;
    assert_eq!(told.last(), Some(&(Stage::Answered, 200)));
}

/// Dials a phone whose REFER is refused, with what is to be done when it is asked about.
async fn refused(trunk: &'static str, from: &'static str, answer: Option<ReferAnswer>) -> (u32, String) {
    let rig = Rig::start(Setup { trunk, ..Setup::default() }).await;
    let phone = rig.phone(Phone::new(from)).await;
    let call_id = rig.dial(rig.order()).await;
    if let Some(answer) = answer {
        rig.refer_asked(&call_id).await;
        rig.send(&call_id, Command::ReferAnswer(answer)).await;
    }
    let (code, why) = rig.refused(&call_id).await;
    assert_eq!(rig.metric_of("trunkline_sip_refers_refused_total", &why).await, 1.0, "{why}");
    rig.hang_up(&call_id).await;
    assert_eq!(rig.ended(&call_id).await.end_reason, "enough");
    phone.done().await;
    rig.idle().await;
    (code, why)
}

#[tokio::test]
async fn only_those_whom_the_profile_allows_are_called() {
    assert_eq!(refused(FOLLOWS, "uas_refers_in_vain", None).await, (403, "target".to_owned()));
}

#[tokio::test]
async fn without_a_yes_it_is_refused() {
    assert_eq!(refused(TELLS, "uas_refers_and_is_declined", None).await, (603, "no_decision".to_owned()));
    assert_eq!(refused(TELLS, "uas_refers_and_is_declined", Some(DECLINES)).await, (603, "declined".to_owned()));
}

#[tokio::test]
async fn the_dialogue_decides_and_talks_on_with_the_target() {
    let mut brain = Brain::serve().await;
    let rig = Rig::start(Setup { trunk: TELLS, dialogue: brain.endpoint(), ..Setup::default() }).await;
    let first = rig.phone(Phone::new("uas_refers_and_is_told")).await;
    let second = rig.phone(Phone::new("uas_answers_after_180").at("127.0.0.2")).await;
    let order = trunkline::proto::control::v1::DialRequest { dialogue: "brain".into(), ..rig.order() };
    let call_id = rig.dial(order).await;
    let mut line = brain.call().await;
    let asked = |event: &Event| match event {
        Event::ReferAsked(asked) => Some((asked.referred_by.clone(), asked.answer_within_ms)),
        _ => None,
    };
    assert_eq!(line.find(asked).await, ("<sip:sipp@127.0.0.1>".to_owned(), 1_000));
    line.act(Act::ReferAnswer(ACCEPTS)).await;
    let result = |event: &Event| match event {
        Event::Referred(referred) => Some((referred.result, referred.sip_code)),
        _ => None,
    };
    assert_eq!(line.find(result).await, (0, 0));
    assert_eq!(line.find(result).await, (1, 200));
    line.act(Act::Say(say("p", &["~300"]))).await;
    let done = |event: &Event| matches!(event, Event::PromptDone(done) if done.interrupted.is_none()).then_some(());
    line.find(done).await;
    line.act(Act::ReferAnswer(ACCEPTS)).await;
    let fault = |event: &Event| matches!(event, Event::Fault(fault) if fault.reason.contains("waits")).then_some(());
    line.find(fault).await;
    line.act(Act::Hangup(Hangup { reason: "done".into(), ..Default::default() })).await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.end_reason.as_str(), record.transfers[0].result), ("done", 1));
    first.done().await;
    second.done().await;
    rig.idle().await;
}

/// RTP that comes within a while.
async fn hears(socket: &UdpSocket) -> bool {
    let mut packet = [0; 1_500];
    tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut packet)).await.is_ok_and(|read| read.is_ok())
}

#[tokio::test]
async fn media_go_to_the_target_and_its_dialog_is_the_call_s() {
    let rig = Rig::start(Setup { trunk: FOLLOWS, ..Setup::default() }).await;
    let (first, second) = (Peer::lab(&rig).await, Peer::bind(&rig, "127.0.0.2", rig.ports.phone()).await);
    let old = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let new = UdpSocket::bind("127.0.0.2:0").await.expect("a port");
    let call_id = rig.dial(rig.order()).await;
    let invite = first.request(&Method::Invite).await;
    first.answer(&invite, 200, &[], &sdp(&old)).await;
    first.request(&Method::Ack).await;
    rig.answered(&call_id).await;
    assert!(hears(&old).await);
    let port = rig.ports.phone();
    let to =
        format!("<sip:900@127.0.0.2:{port}?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2&X-Task=7&User-to-User=6869>");
    first.back_with(&invite, "REFER", 1, &format!("Contact: <sip:x@127.0.0.1:{port}>\r\nRefer-To: {to}\r\n"), "").await;
    let third = second.request(&Method::Invite).await;
    let named = |name: &str| third.named(name).map(|value| value.into_owned()).unwrap_or_default();
    assert_eq!(
        (named("Replaces").as_str(), named("X-Task").as_str(), named("User-to-User").as_str()),
        ("a@b;to-tag=1;from-tag=2", "7", "6869")
    );
    assert!(third.text(HeaderName::From).is_some_and(|from| from.contains("4930123456")), "{third:?}");
    // A password is asked for by nobody here; the answer comes from another fork than the one that rang.
    second.answer(&third, 180, &[], "").await;
    second.answer(&third, 200, &[], &sdp(&new)).await;
    let ack = second.request(&Method::Ack).await;
    assert_eq!(ack.call_id(), third.call_id());
    assert!(hears(&new).await, "the same leg speaks to the target");
    // The last word, then the BYE, when it has been answered.
    let mut last = String::new();
    while !last.contains("200 OK") {
        let notify = first.request(&Method::Notify).await;
        last = String::from_utf8_lossy(notify.body()).into_owned();
        first.answer(&notify, 200, &[], "").await;
    }
    first.is_hung_up().await;
    // Its dialog is what GetCall tells, and its requests are taken although it is none of the trunk's sources.
    let state = trunkline::proto::control::v1::GetCallRequest { call_id: call_id.clone() };
    let state = rig.control().get_call(state).await.expect("it is up").into_inner().call.expect("a call");
    assert!(state.replaces.starts_with(third.call_id().expect("one")), "{state:?}");
    let target = rig.ports.phone().to_string();
    assert!(state.remote_target.contains("127.0.0.2") && state.remote_target.contains(&target), "{state:?}");
    // Nobody else may speak for it.
    first.back_with(&third, "BYE", 1, "", "").await;
    second.back(&third, "INFO", 2).await;
    assert_eq!(second.response().await.code(), 200);
    assert!(tokio::time::timeout(PATIENCE / 20, rig.ended(&call_id)).await.is_err(), "a stranger ends no call");
    second.back(&third, "BYE", 3).await;
    assert_eq!(second.response().await.code(), 200);
    let record = rig.ended(&call_id).await;
    assert_eq!((record.hung_up_by.as_str(), record.transfers[0].result), ("caller", 1));
    assert_eq!(record.sip_call_id.as_str(), invite.call_id().expect("one"));
    rig.idle().await;
}

#[tokio::test]
async fn while_the_target_is_called_it_takes_a_channel() {
    let trunk = "[limits]\nchannels = 1\n[transfer]\ninbound_refer = \"follow\"";
    let rig = Rig::start(Setup { trunk, ..Setup::default() }).await;
    let first = Peer::lab(&rig).await;
    let call_id = rig.dial(rig.order()).await;
    let invite = first.takes().await;
    rig.answered(&call_id).await;
    first.back_with(&invite, "REFER", 1, "Refer-To: <sip:900@127.0.0.1>\r\nRefer-Sub: false\r\n", "").await;
    assert_eq!(first.response().await.code(), 202);
    assert_eq!(rig.followed(&call_id).await.last(), Some(&(Stage::Failed, 503)));
    rig.hang_up(&call_id).await;
    first.is_hung_up().await;
    let record = rig.ended(&call_id).await;
    assert!(record.transfers[0].reason.contains("channels = 1"), "{record:?}");
    rig.idle().await;
}
