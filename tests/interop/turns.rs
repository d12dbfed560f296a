//! The conversation bench, on a small scale: every kind of trial is made, and hardly anything counts against the server. How long things take is
//! for `make turns` on a quiet machine.

use crate::rig::Folder;

#[tokio::test]
async fn a_conversation_is_interrupted_when_it_should_be_and_only_then() {
    let folder = Folder::new();
    let (json, kept) = (folder.0.join("figures.json"), folder.0.join("kept"));
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args(["bench-turns", "--turns", "1", "--calls", "16", "--json"])
        .arg(&json)
        .arg("--keep")
        .arg(&kept)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(300), output).await;
    let output = output.expect("it ends in time").expect("the binary starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let figures = std::fs::read_to_string(json).unwrap_or_else(|error| panic!("{error}\n{said}"));
    let figures: serde_json::Value = serde_json::from_str(&figures).expect("JSON");
    let rows = figures["rows"].as_array().expect("rows");
    // Of the rows for which the bar holds: how many trials, and how many count against us.
    let of = |task: &str| {
        let rows = rows.iter().filter(|row| row["task"] == task && row["bar"] == true);
        rows.fold((0, 0), |(turns, counted), row| {
            let number = |what: &str| row[what].as_u64().expect("a number");
            (turns + number("turns"), counted + number("counted"))
        })
    };
    // A busy machine sends late, and what comes late is lost: so one or two may go wrong, and not more. Music is known to interrupt.
    for (task, most) in [("false interruption", 4), ("missed interruption", 2), ("cut utterance", 2)] {
        let (turns, counted) = of(task);
        assert!(turns >= 10 && counted <= most, "{task}: {counted} of {turns}\n{said}");
    }
    let broken = figures["broken"].as_object().expect("by reason");
    assert!(broken.values().filter_map(serde_json::Value::as_u64).sum::<u64>() <= 5, "{said}");
    let times = &figures["times_ms"];
    for what in ["utterance", "answer_recording", "answer_text", "stop_quick", "heard_error"] {
        assert!(times[what]["count"].as_u64() > Some(0), "{what}: {said}");
    }
    // What the server says was heard is what the phone got, to a frame.
    let heard = |point: &str| times["heard_error"][point].as_f64().expect("a number");
    assert!(heard("p50").abs() <= 20.0, "{said}");
    assert!(std::fs::read_dir(kept).expect("it is made").count() >= rows.len(), "two of each row are kept");
}
