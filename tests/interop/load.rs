//! The load harness, on a small scale: what it measures is there, and nothing is wrong with it.

use crate::rig::{ANSWERED, Folder, Rig, Setup};

/// Other tests, and builds, run beside it.
const BUSY: &str = "--no-overload";

/// Runs `trunkline load` to its end and gives what it wrote.
async fn measured(what: &[&str]) -> serde_json::Value {
    let folder = Folder::new();
    let json = folder.0.join("figures.json");
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .arg("load")
        .args(what)
        .arg("--json")
        .arg(&json)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(300), output).await;
    let output = output.expect("it ends in time").expect("the binary starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    serde_json::from_str(&std::fs::read_to_string(json).expect("the figures")).expect("JSON")
}

#[tokio::test]
async fn calls_that_talk_are_measured() {
    let how = ["hold", "--calls", "8", "--seconds", "12", "--direction", "mixed", "--kernel", "1", "--streams", "3"];
    let held = measured(&[&how[..], &[BUSY]].concat()).await;
    let count = |what: &str| held[what]["count"].as_u64().expect("a number");
    assert_eq!((held["failed"].as_u64(), held["lost"].as_u64()), (Some(0), Some(0)), "{held}");
    assert!(held["packets"].as_u64() > Some(4_000), "{held}");
    assert!(count("pacing") > 4_000 && count("utterance") >= 8 && count("interruption") >= 8, "{held}");
    assert!(held["heard"].as_f64() > Some(0.9), "recognition got the audio: {held}");
    assert!(held["cpu_ms"].as_f64() > Some(0.0) && held["left_threads"].as_i64() <= Some(1), "{held}");
    assert!(held["kernel_ms"].as_f64() > Some(0.0), "{held}");
}

/// A neighbour is any server that runs already: here one of ours, which tells its calls that it is none.
#[tokio::test]
async fn of_a_neighbour_only_that_is_told_which_can_be_known() {
    let peer = "sources = [\"127.0.0.0/24\"]".to_owned();
    let rig = Rig::start(Setup { peer, trunk: ANSWERED, ..Setup::default() }).await;
    let (sip, pid) = (format!("127.0.0.1:{}", rig.ports.sip()), rig.pid().to_string());
    let how = ["hold", "--calls", "6", "--seconds", "4", "--kernel", "0", "--against", &sip, "--pid", &pid];
    let held = measured(&how).await;
    assert_eq!((held["failed"].as_u64(), held["lost"].as_u64()), (Some(0), Some(0)), "{held}");
    assert!(held["packets"].as_u64() > Some(1_000) && held["cpu_ms"].as_f64() > Some(0.0), "{held}");
    assert!(held["rss_kib"].as_u64() > Some(1_000), "{held}");
    for unknown in ["utterance", "interruption", "socket_drops", "counters", "heard", "robot", "kernel_ms"] {
        assert!(held.get(unknown).is_none(), "{unknown}: {held}");
    }
}

/// What has to be back at the idle figure.
fn leaves_nothing(round: &serde_json::Value) {
    assert_eq!(round["failed"].as_u64(), Some(0), "{round}");
    assert_eq!(round["unexpected"].as_array().map(Vec::len), Some(0), "{round}");
    for what in ["calls", "ports", "legs", "lingering", "tasks", "files", "threads"] {
        let left = round[format!("left_{what}")].as_f64();
        assert!(left.is_some_and(|left| left <= 0.0), "{what}: {round}");
    }
}

#[tokio::test]
async fn calls_that_are_only_set_up_leave_nothing_behind() {
    let rounds = measured(&["setup", "--calls", "60", "--rate", "30", "--direction", "mixed", BUSY]).await;
    let [round] = rounds.as_array().expect("one for each direction").as_slice() else { panic!("{rounds}") };
    leaves_nothing(round);
    assert_eq!(round["outcomes"]["load"]["success"].as_u64(), Some(60), "{round}");
}

/// In every way in which a far end makes trouble, both ways at once, and then the same again on the same server.
#[tokio::test]
async fn calls_that_go_wrong_leave_nothing_behind() {
    let how = ["setup", "--calls", "300", "--rate", "30", "--unruly", "60", "--direction", "mixed", "--rounds", "2"];
    let rounds = measured(&[&how[..], &[BUSY]].concat()).await;
    let [first, second] = rounds.as_array().expect("two rounds").as_slice() else { panic!("{rounds}") };
    for round in [first, second] {
        leaves_nothing(round);
        let outcomes = round["outcomes"].as_object().expect("by trunk");
        // One way of making trouble is refused at the door; the calls that behave are the 21st.
        assert_eq!(outcomes.len(), 21, "{round}");
        assert!(round["refused_at_the_door"].as_u64() > Some(0), "{round}");
    }
}
