//! What leaves us on the wire, as tshark sees it and `tests/wire/rtp_check.py` judges it (RFC 3550, 3551, 4733).
//!
//! Pacing is reported, not asserted: on a machine that builds something beside the test it says nothing about us.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use trunkline::proto::control::v1::send_request::{Command as Order, SendKeys};
use trunkline::proto::dialogue::v1::Hangup;

use crate::rig::{Phone, Rig, Setup, say, soon};

/// A capture that runs; none where this user may not capture.
pub async fn capture(rig: &Rig, file: &Path) -> Option<Child> {
    let (first, last) = rig.ports.media().into_inner();
    let filter = format!("udp portrange {first}-{last}");
    let stderr = file.with_extension("stderr");
    let started = Command::new("tshark")
        .args(["-q", "-i", "lo", "-f", &filter, "-w"])
        .arg(file)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&stderr).expect("a file"))
        .kill_on_drop(true)
        .spawn();
    let mut child = started.unwrap_or_else(|error| panic!("tshark: {error}; Debian has it in the package tshark"));
    let said = || std::fs::read_to_string(&stderr).unwrap_or_default();
    let mut gone = None;
    soon("tshark captures", Duration::from_secs(20), async || {
        gone = child.try_wait().expect("it is ours");
        gone.is_some() || (said().contains("Capturing on") && file.metadata().is_ok_and(|meta| meta.len() > 0))
    })
    .await;
    if gone.is_some() {
        let why = said();
        assert!(why.contains("permission"), "tshark: {why}");
        eprintln!("NOT TESTED: RTP on the wire, for this user may not capture: {why}");
        return None;
    }
    Some(child)
}

/// Ends a capture.
pub async fn captured(mut tshark: Child) {
    // tshark writes what it has seen some moments later.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    crate::rig::signal("INT", tshark.id().expect("it runs")).await;
    tshark.wait().await.expect("it ends");
}

/// What a capture holds that fits, one line a datagram, its fields with tabs between.
pub async fn fields(file: &Path, fits: &str, fields: &[&str]) -> Vec<String> {
    let mut tshark = Command::new("tshark");
    tshark.args(["--enable-heuristic", "rtcp_udp", "-T", "fields", "-r"]).arg(file).args(["-Y", fits]);
    for field in fields {
        tshark.args(["-e", field]);
    }
    let read = tshark.output().await.expect("tshark is there");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    String::from_utf8_lossy(&read.stdout).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn our_rtp_is_continuous_through_prompts_silence_and_keys() {
    let rig = Rig::start(Setup::default()).await;
    let file = rig.folder().join("call.pcapng");
    let Some(tshark) = capture(&rig, &file).await else { return };
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    rig.send(&call_id, Order::Say(say("hello", &["human-hello.wav", "~300", "human-thank-you.wav"]))).await;
    rig.finished(&call_id, "hello").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.send(&call_id, Order::SendKeys(SendKeys { keys: "12#".into() })).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    rig.send(&call_id, Order::Say(say("bye", &["human-goodbye.wav"]))).await;
    rig.send(&call_id, Order::Hangup(Hangup { now: false, reason: "done".into(), ..Default::default() })).await;
    let record = rig.ended(&call_id).await;
    phone.done().await;
    let quality = record.quality.expect("how the line was");
    assert_eq!((quality.lost, quality.under_runs), (0, 0), "{quality:?}");

    captured(tshark).await;
    let (first, last) = rig.ports.media().into_inner();
    let check = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/rtp_check.py"))
        .arg(&file)
        .args(["--from", &format!("127.0.0.1:{first}-{last}"), "--expect", "1", "--keys", "12#"])
        .output()
        .await
        .expect("python3 is there");
    let said = String::from_utf8_lossy(&check.stdout);
    eprintln!("{said}");
    assert!(check.status.success(), "{said}{}", String::from_utf8_lossy(&check.stderr));
    let turns: Vec<_> = record.turns.iter().map(|turn| (turn.id.as_str(), turn.interrupted)).collect();
    assert_eq!(turns.iter().filter(|(id, _)| ["hello", "bye"].contains(id)).count(), 2, "{turns:?}");
}
