//! Hundreds of calls leave nothing behind: no call, no port, no file, no thread, no memory.

use std::time::Duration;

use trunkline::proto::control::v1::{DialRequest, Outcome};

use crate::rig::{ANSWERED, Phone, Rig, Setup, soon};

/// RFC 3261 §17: no transaction lives longer than 64·T1; a little is added for a busy machine.
const LINGER: Duration = Duration::from_secs(45);

/// What the process holds when nobody calls: files and threads; signalling that may have to repeat itself is waited for.
async fn settled(rig: &Rig) -> (usize, usize, u64) {
    rig.idle().await;
    soon("no signalling lingers", LINGER, async || rig.metric("trunkline_sip_lingering").await == 0.0).await;
    rig.burden()
}

/// Two batches: the first one fills what is kept on purpose (buffers, the ring of events), the second may add next to nothing. Nothing of
/// the first may linger into the second: the two together would be a higher peak, which the allocator keeps.
async fn leaves_nothing_behind(rig: Rig, mut batch: impl AsyncFnMut(&Rig)) {
    let fresh = rig.burden();
    batch(&rig).await;
    let first = settled(&rig).await;
    batch(&rig).await;
    let second = settled(&rig).await;
    // One connection to the control port may come and go, another one to the web port.
    assert!(second.0 <= fresh.0 + 3, "files: {fresh:?} {first:?} {second:?}");
    assert!(second.1 <= fresh.1 + 1, "threads: {fresh:?} {first:?} {second:?}");
    // The events of 200 calls are kept for those who watch: some 500 bytes each, five a call.
    assert!(second.2 <= first.2 + 1_500, "KiB: {fresh:?} {first:?} {second:?}");
    assert_eq!(rig.metric("trunkline_calls_ended_total").await, 400.0);
    assert_eq!(rig.metric("trunkline_sip_call_inbox_full_total").await, 0.0);
    assert_eq!(rig.metric("trunkline_dialogue_streams").await, 0.0);
    let records = std::fs::read_dir(rig.folder().join("recordings")).expect("the folder").count();
    assert_eq!(records, 400);
}

#[tokio::test]
async fn calls_one_after_the_other_leave_nothing_behind() {
    let rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    leaves_nothing_behind(rig, async |rig| {
        rig.phone(Phone::new("uac_bye_right_after_ack").calls(200, 50, 1).timeout_s(60)).await.done().await;
    })
    .await;
}

#[tokio::test]
async fn calls_over_tcp_leave_nothing_behind() {
    let rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    leaves_nothing_behind(rig, async |rig| {
        let phone = Phone::new("uac_bye_right_after_ack").by("tn");
        rig.phone(phone.calls(200, 50, 20).timeout_s(60)).await.done().await;
    })
    .await;
}

#[tokio::test]
async fn calls_side_by_side_leave_nothing_behind() {
    let rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    leaves_nothing_behind(rig, async |rig| {
        rig.phone(Phone::new("uac_cancel_after_answer").calls(200, 20, 80).timeout_s(60)).await.done().await;
    })
    .await;
}

#[tokio::test]
async fn calls_that_are_dialled_leave_nothing_behind() {
    let rig = Rig::start(Setup::default()).await;
    leaves_nothing_behind(rig, async |rig| {
        let phone = rig.phone(Phone::new("uas_bye_right_after_answer").calls(200, 0, 100).timeout_s(60)).await;
        let mut calls = Vec::new();
        for _ in 0..200 {
            calls.push(rig.dial(rig.order()).await);
            // 25 a second.
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        for call_id in calls {
            assert_eq!(rig.ended(&call_id).await.outcome(), Outcome::Success);
        }
        phone.done().await;
    })
    .await;
}

#[tokio::test]
async fn without_a_free_port_calls_are_refused_and_ports_come_back() {
    // Room for as many calls as there are ports, and somebody else has taken all of them but one.
    let rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    let ports: Vec<_> = rig.ports.media().step_by(2).skip(1).collect();
    let taken: Vec<_> =
        ports.into_iter().map(|port| std::net::UdpSocket::bind(("127.0.0.1", port)).expect("free")).collect();
    let called = rig.phone(Phone::new("uas_hangs_up_after_a_while").pause_ms(1_000)).await;
    let first = rig.dial(rig.order()).await;
    rig.answered(&first).await;
    let (answer, _) = crate::rig::ask(&rig, "100").await;
    assert!(answer.starts_with("SIP/2.0 503 "), "{answer}");
    let second = rig.dial(DialRequest { request_id: "second".into(), ..rig.order() }).await;
    let record = rig.ended(&second).await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::NoChannel, 0));
    assert!(record.end_reason.contains("RTP ports"), "{}", record.end_reason);
    assert_eq!(rig.metric_of("trunkline_calls_refused_total", "no_port").await, 2.0);
    assert_eq!(rig.ended(&first).await.outcome(), Outcome::Success);
    called.done().await;
    rig.idle().await;
    drop(taken);
    let called = rig.phone(Phone::new("uas_bye_right_after_answer").calls(3, 0, 3)).await;
    for n in 0..3 {
        let call_id = rig.dial(DialRequest { request_id: format!("again {n}"), ..rig.order() }).await;
        assert_eq!(rig.ended(&call_id).await.outcome(), Outcome::Success);
    }
    called.done().await;
    rig.idle().await;
}
