//! Beyond the limits: 503 with Retry-After at once, the metric says why, and the calls that are up go on.
//!
//! Limits are set so low that they trip without a doubt, and what is waited for is the verdict, not a time.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tonic::Code;
use trunkline::proto::control::v1::{DrainRequest, Outcome};

use crate::rig::{ANSWERED, PATIENCE, Phone, Rig, Setup, ask, ask_from, soon};

const REFUSED: &str = "trunkline_calls_refused_total";

/// A call by hand, that is up: its id, and the sequence numbers and timestamps of what it hears until it is told to stop.
async fn call_that_listens(rig: &Rig) -> (String, JoinHandle<Vec<(u16, u32)>>, UdpSocket) {
    let ear = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let phone = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let answer = ask_from(rig, &phone, "100", ear.local_addr().expect("it is bound").port()).await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    let hears = tokio::spawn(async move {
        let mut heard = Vec::new();
        let mut packet = [0; 2_048];
        // RTP comes every 20 ms for as long as the call is up.
        while let Ok(read) = tokio::time::timeout(Duration::from_secs(2), ear.recv(&mut packet)).await {
            assert!(read.expect("it is read") >= 12);
            let sequence = u16::from_be_bytes([packet[2], packet[3]]);
            heard.push((sequence, u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]])));
        }
        heard
    });
    (call_id, hears, phone)
}

fn retry_after(answer: &str) -> u32 {
    let value = answer.lines().find_map(|line| line.strip_prefix("Retry-After: "));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no Retry-After: {answer}"))
}

#[tokio::test]
async fn a_flood_at_a_full_server_is_refused_at_once_and_the_call_that_is_up_misses_nothing() {
    let rig = Rig::start(Setup { calls: 1, trunk: ANSWERED, ..Setup::default() }).await;
    let (call_id, hears, _phone) = call_that_listens(&rig).await;
    // 500 a second for four seconds. SIPp wants of each exactly one final answer: 503 with Retry-After.
    let flood = rig.phone(Phone::new("uac_refused_503").calls(2_000, 500, 2_000).timeout_s(60)).await;
    let trace = flood.done().await;
    assert!(trace.received("SIP/2.0 503 ") >= 2_000);
    assert_eq!(trace.all_received().len(), trace.received("SIP/2.0 503 "), "and nothing else");
    assert_eq!(rig.metric_of(REFUSED, "\"calls\"").await, 2_000.0, "copies do not count");
    assert_eq!(rig.metric(REFUSED).await, 2_000.0);
    for (name, value) in [
        ("trunkline_calls", 1.0),
        ("trunkline_media_ports_used", 1.0),
        ("trunkline_sip_lingering", 0.0),
        ("trunkline_sip_datagrams_dropped_total", 0.0),
    ] {
        assert_eq!(rig.metric(name).await, value, "{name}");
    }
    rig.hang_up(&call_id).await;
    let record = rig.ended(&call_id).await;
    assert_eq!(record.outcome(), Outcome::Success);
    let heard = hears.await.expect("no panic");
    assert_eq!(heard.len() as u64, record.quality.expect("how the line was").sent);
    assert!(heard.len() > 100, "{}", heard.len());
    for two in heard.windows(2) {
        assert_eq!(two[1].0, two[0].0.wrapping_add(1), "no packet is missing");
    }
    rig.idle().await;
}

#[tokio::test]
async fn a_copy_of_a_refused_invite_gets_the_same_answer_and_does_not_count() {
    let rig = Rig::start(Setup { calls: 1, trunk: ANSWERED, ..Setup::default() }).await;
    let (call_id, _hears, _phone) = call_that_listens(&rig).await;
    let refused = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let first = ask_from(&rig, &refused, "100", 9).await;
    assert!(first.starts_with("SIP/2.0 503 ") && (5..=10).contains(&retry_after(&first)), "{first}");
    assert_eq!(ask_from(&rig, &refused, "100", 9).await, first);
    rig.hang_up(&call_id).await;
    rig.ended(&call_id).await;
    soon("there is room", PATIENCE, async || rig.metric("trunkline_calls").await == 0.0).await;
    assert_eq!(ask_from(&rig, &refused, "100", 9).await, first, "who has heard the refusal must not be called");
    assert_eq!((rig.metric(REFUSED).await, rig.metric("trunkline_calls").await), (1.0, 0.0));
    let (answer, _) = ask(&rig, "100").await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
}

/// New calls are refused both ways, `/readyz` says so, and control answers as ever.
async fn refuses(rig: &Rig, reason: &str, key: &str) {
    let (answer, _) = ask(rig, "100").await;
    assert!(answer.starts_with("SIP/2.0 503 ") && (5..=10).contains(&retry_after(&answer)), "{answer}");
    let status = rig.control().dial(rig.order()).await.expect_err("overload");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().starts_with("overload: ") && status.message().contains(key), "{status}");
    assert_eq!(rig.metric_of(REFUSED, reason).await, 2.0);
    assert_eq!(rig.metric(REFUSED).await, 2.0);
}

async fn overloaded(rig: &Rig, key: &str) {
    soon("/readyz says so", PATIENCE, async || rig.http("/readyz").await.contains(key)).await;
}

/// It takes calls again, and has told the beginning and the end once.
async fn recovers(rig: &Rig, key: &str) {
    soon("it is ready again", PATIENCE, async || !rig.http("/readyz").await.contains("overload")).await;
    let (answer, _) = ask(rig, "100").await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let log = rig.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("overload")).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("WARN") && told[0].contains(key), "{told:#?}");
    assert!(told[1].contains("overload has ended") && told[1].contains("refused=2"), "{told:#?}");
}

#[tokio::test]
async fn without_processor_time_to_spare_new_calls_are_refused_and_those_that_are_up_go_on() {
    let overload = "cpu_percent = 1\nlate_ms = 0";
    // A hundredth of one core, whatever the machine has: who is started from here inherits it.
    let all = sched_getaffinity(None).expect("Linux tells");
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).expect("we run somewhere"));
    sched_setaffinity(None, &one).expect("it is ours to choose");
    let rig = Rig::start(Setup { overload, trunk: ANSWERED, ..Setup::default() }).await;
    sched_setaffinity(None, &all).expect("it is ours to choose");
    let (call_id, hears, _phone) = call_that_listens(&rig).await;
    let to = ("127.0.0.1", rig.ports.sip());
    let busy = tokio::spawn(async move {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let at = socket.local_addr().expect("it is bound");
        let options = format!(
            "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-o;rport\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:127.0.0.1>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        loop {
            for _ in 0..10 {
                socket.send_to(options.as_bytes(), to).await.expect("it is sent");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    overloaded(&rig, "of 1.0 cores in use, and [limits] cpu_percent = 1;").await;
    refuses(&rig, "\"cpu\"", "[limits] cpu_percent = 1;").await;
    assert!(rig.metric("trunkline_cpu_used_ratio").await > 0.0);
    busy.abort();
    rig.hang_up(&call_id).await;
    assert_eq!(rig.ended(&call_id).await.outcome(), Outcome::Success);
    let heard = hears.await.expect("no panic");
    assert!(heard.windows(2).all(|two| two[1].0 == two[0].0.wrapping_add(1)), "no packet is missing");
}

#[tokio::test]
async fn with_media_threads_that_are_late_new_calls_are_refused() {
    let overload = "cpu_percent = 0\nlate_ms = 5";
    let rig = Rig::start(Setup { overload, trunk: ANSWERED, ..Setup::default() }).await;
    let (call_id, _hears, _phone) = call_that_listens(&rig).await;
    let pid = Pid::from_raw(rig.pid() as i32).expect("it runs");
    // Stopped and let go, again and again: what a machine without time for us does.
    let held_up = tokio::spawn(async move {
        loop {
            kill_process(pid, Signal::STOP).expect("it is ours");
            tokio::time::sleep(Duration::from_millis(35)).await;
            kill_process(pid, Signal::CONT).expect("it is ours");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    });
    overloaded(&rig, "late_ms = 5;").await;
    refuses(&rig, "\"lateness\"", "[limits] late_ms = 5;").await;
    held_up.abort();
    let _ = held_up.await;
    kill_process(pid, Signal::CONT).expect("it is ours");
    assert!(rig.metric("trunkline_media_lateness_seconds_count").await > 0.0);
    rig.hang_up(&call_id).await;
    assert_eq!(rig.ended(&call_id).await.outcome(), Outcome::Success);
    recovers(&rig, "late_ms = 5;").await;
}

#[tokio::test]
async fn who_drains_is_not_ready_and_alive() {
    let rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    assert!(!rig.http("/readyz").await.contains("draining"));
    rig.control().drain(DrainRequest {}).await.expect("done");
    let ready = rig.http("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("draining"), "{ready}");
    assert!(rig.http("/healthz").await.starts_with("HTTP/1.1 200 "));
    let (answer, _) = ask(&rig, "100").await;
    assert!(answer.starts_with("SIP/2.0 503 "), "{answer}");
    assert_eq!(rig.metric_of(REFUSED, "draining").await, 1.0);
}

#[tokio::test]
async fn without_a_file_to_open_the_way_out_is_not_to_widen_the_ports() {
    let rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    // The connection to control is there, and stays.
    rig.control().list_calls(trunkline::proto::control::v1::ListCallsRequest {}).await.expect("an answer");
    let pid = Pid::from_raw(rig.pid() as i32).expect("it runs");
    let limit = std::fs::read_to_string(format!("/proc/{}/limits", rig.pid())).expect("it runs");
    let limit = limit.lines().find(|line| line.starts_with("Max open files")).expect("Linux tells");
    let most: Option<u64> = limit.split_whitespace().nth(4).expect("the hard limit").parse().ok();
    let none = Rlimit { current: Some(0), maximum: most };
    let before = prlimit(Some(pid), Resource::Nofile, none).expect("it is ours");
    let (answer, _) = ask(&rig, "100").await;
    assert!(answer.starts_with("SIP/2.0 503 "), "{answer}");
    let call_id = rig.dial(rig.order()).await;
    let record = rig.told_record(&call_id).await;
    prlimit(Some(pid), Resource::Nofile, before).expect("it is ours");
    assert_eq!(record.outcome(), Outcome::NoChannel);
    assert!(record.end_reason.contains("ulimit -n") && !record.end_reason.contains("widen"), "{}", record.end_reason);
    assert_eq!((rig.metric_of(REFUSED, "no_file").await, rig.metric(REFUSED).await), (2.0, 2.0));
    let (answer, _) = ask(&rig, "100").await;
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
}
