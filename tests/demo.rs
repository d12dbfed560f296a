//! The demo's whole conversation: real SIP phone, real RTP, real recognition, real processes. What has to happen is checked by the demo
//! itself, which ends badly if anything is missing; here it is held that it does end well, and that what it leaves is what it says.

use std::path::PathBuf;
use std::process::Command;

fn output_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("demo")
}

#[test]
#[cfg_attr(not(feature = "speech"), ignore = "the demo needs the speech service")]
fn a_robot_holds_a_conversation_with_a_real_phone() {
    let folder = output_folder();
    let _ = std::fs::remove_dir_all(&folder);
    let demo = Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args(["demo", "--out"])
        .arg(&folder)
        .output()
        .expect("the demo starts");
    let shown = String::from_utf8_lossy(&demo.stdout);
    let said = String::from_utf8_lossy(&demo.stderr);
    assert!(demo.status.success(), "{}\n{shown}\n{said}", demo.status);

    let files = |ending: &str| {
        let entries = std::fs::read_dir(folder.join("recordings")).expect("recordings").flatten();
        let paths = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == ending));
        paths.collect::<Vec<_>>()
    };
    let (json, wav) = (files("json"), files("wav"));
    assert_eq!((json.len(), wav.len()), (1, 1), "one call leaves one record and one recording");
    for path in [&json[0], &wav[0]] {
        assert!(shown.contains(&*path.to_string_lossy()), "the terminal says where {} lies", path.display());
    }

    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(&json[0]).expect("a record")).expect("JSON");
    let turns = record["turns"].as_array().expect("turns");
    let start = |turn: &serde_json::Value| turn["start"].as_u64().expect("ms");
    assert!(turns.windows(2).all(|two| start(&two[0]) <= start(&two[1])), "in order of their beginning");
    let interrupted: Vec<_> = turns.iter().filter(|turn| turn["interrupted"] == true).collect();
    assert_eq!(interrupted.len(), 1, "the long prompt, and no other one: {turns:#?}");
    let stop = interrupted[0]["stop"].as_u64().expect("ms");
    let by =
        turns.iter().find(|turn| turn["role"] == "voice" && start(turn) < stop && turn["stop"].as_u64() > Some(stop));
    let onset = start(by.expect("the caller spoke when the prompt fell silent"));
    assert!(stop - onset <= 320, "200 ms of speech, the buffer's delay and a fade: {} ms", stop - onset);

    // What the robot said after that point is silence on its channel, until its next turn.
    let next = turns.iter().find(|turn| turn["role"] == "speech" && start(turn) > stop).map(start).expect("the menu");
    let mut reader = hound::WavReader::open(&wav[0]).expect("a recording");
    let right: Vec<i16> = reader.samples::<i16>().skip(1).step_by(2).map(|s| s.expect("a sample")).collect();
    let between = &right[stop as usize * 8..next as usize * 8 - 160];
    assert!(between.iter().all(|s| s.unsigned_abs() < 16), "not one more frame of the stopped prompt");
}
