//! Recordings as they lie on the disk.

use std::fs;
use std::time::Duration;

use tonic::Code;
use trunkline::proto::control::v1::send_request::{Command as Order, RecordPause};
use trunkline::proto::control::v1::{CallRecord, SendRequest};

use crate::opusdec;
use crate::rig::{Happened, PATIENCE, Phone, Rig, Setup, say, soon};

const PAUSE: Order = Order::RecordPause(RecordPause { on: true, keep_text: false });
const RESUME: Order = Order::RecordPause(RecordPause { on: false, keep_text: false });

/// When the recording was paused, or went on, the next time.
async fn turned(rig: &Rig, call_id: &str, wanted: bool) -> u32 {
    rig.find(call_id, |event| match &event.event {
        Some(Happened::RecordPaused(told)) if told.on == wanted => Some(told.from_ms),
        _ => None,
    })
    .await
}

/// Both channels of a recording.
fn samples(record: &CallRecord) -> Vec<[i16; 2]> {
    let wav = hound::WavReader::open(&record.wav).expect("it plays");
    assert_eq!((wav.spec().channels, wav.spec().sample_rate), (2, 8_000));
    let samples: Vec<i16> = wav.into_samples().map(|sample| sample.expect("whole")).collect();
    samples.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect()
}

fn loudest(part: &[[i16; 2]], channel: usize) -> Option<u16> {
    part.iter().map(|sample| sample[channel].unsigned_abs()).max()
}

/// The phone speaks for two seconds before it answers, and goes on.
#[tokio::test]
async fn a_recording_that_begins_with_early_media_has_it_before_the_answer_and_the_talk_after_it() {
    let rig = Rig::start(Setup { record: true, recording: "from = \"early_media\"", ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uas_early_media_183")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, Order::Say(say("hello", &["~200", "human-hello.wav"]))).await;
    rig.finished(&call_id, "hello").await;
    rig.send(&call_id, Order::Hangup(Default::default())).await;
    let record = rig.ended(&call_id).await;
    phone.done().await;
    is_sound(&rig, &record).await;
    let answer = record.recording_answer_ms.expect("it begins before the answer");
    assert!((1_500..5_000).contains(&answer), "{answer}");
    let json = fs::read(record.wav.replace(".wav", ".json")).expect("the record");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["recording_answer"], answer);
    let samples = samples(&record);
    let (before, after) = samples.split_at(answer as usize * 8);
    assert!(loudest(before, 0) > Some(1_000), "the far end before the answer");
    assert!(loudest(before, 1) < Some(100), "the robot has said nothing then");
    assert!(loudest(after, 0) > Some(1_000) && loudest(after, 1) > Some(1_000), "both after it");
    // Both are where the record says: the robot's first word, and the end of the call.
    let turn = record.turns.iter().find(|turn| turn.role == "speech").expect("the robot spoke");
    let word = after.iter().position(|s| s[1].unsigned_abs() > 500).expect("a word") / 8;
    assert!((turn.start_ms as usize + 200..turn.stop_ms as usize).contains(&word), "{word} in {turn:?}");
    assert!((after.len() as u32 / 8).abs_diff(record.talk_ms) < 200, "{} of {}", after.len() / 8, record.talk_ms);
    rig.idle().await;
}

#[tokio::test]
async fn a_paused_stretch_is_silent_on_both_channels_and_the_rest_is_there() {
    let rig = Rig::start(Setup { record: true, ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    let long: Vec<&str> = std::iter::repeat_n("human-thank-you.wav", 6).collect();
    rig.send(&call_id, Order::Say(say("long", &long))).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    rig.send(&call_id, PAUSE).await;
    rig.send(&call_id, PAUSE).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    rig.send(&call_id, RESUME).await;
    rig.send(&call_id, RESUME).await;
    rig.finished(&call_id, "long").await;
    let (start, stop) = (turned(&rig, &call_id, true).await, turned(&rig, &call_id, false).await);
    rig.send(&call_id, Order::Hangup(Default::default())).await;
    let record = rig.ended(&call_id).await;
    phone.done().await;
    let pauses: Vec<_> = record.recording_pauses.iter().map(|pause| (pause.start_ms, pause.stop_ms)).collect();
    assert_eq!(pauses, [(start, stop)], "once each, and as it was told");
    let samples = samples(&record);
    let (from, to) = (start as usize * 8, stop as usize * 8);
    assert!(to - from >= 600 * 8, "{pauses:?}");
    assert!(samples[from..to].iter().all(|sample| *sample == [0; 2]), "{pauses:?}");
    for part in [&samples[..from], &samples[to..]] {
        assert!(loudest(part, 1) > Some(1_000), "the robot speaks before and after");
    }
    let length = samples.len() as u32 / 8;
    assert!(length.abs_diff(record.talk_ms) < 300, "the times stay true: {length} ms, {} ms", record.talk_ms);
    let json = fs::read(rig.folder().join(format!("recordings/{call_id}.json"))).expect("the record");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["recording_pauses"], serde_json::json!([{ "start": start, "stop": stop }]));
}

#[tokio::test]
async fn a_call_that_is_not_recorded_cannot_be_paused() {
    let rig = Rig::start(Setup::default()).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    let request = SendRequest { call_id: call_id.clone(), request_id: String::new(), command: Some(PAUSE) };
    let refused = rig.control().send(request).await.expect_err("there is nothing to pause");
    let wanted = format!("record_pause: call {call_id} is Talking and is not recorded");
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, wanted.as_str()));
    rig.send(&call_id, Order::Hangup(Default::default())).await;
    rig.ended(&call_id).await;
    phone.done().await;
}

#[tokio::test]
async fn a_recording_in_opus_is_told_whole_and_plays_elsewhere() {
    let opus = "format = \"opus\"\nopus_kbit_s = 24";
    let rig = Rig::start(Setup { record: true, recording: opus, ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uas_early_media_183")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, Order::Say(say("hello", &["~200", "human-hello.wav"]))).await;
    rig.finished(&call_id, "hello").await;
    rig.send(&call_id, Order::Hangup(Default::default())).await;
    let record = rig.ended(&call_id).await;
    phone.done().await;
    is_sound(&rig, &record).await;
    let path = rig.folder().join(format!("recordings/{call_id}.opus"));
    assert_eq!(rig.folder().join(&record.wav), path);
    assert_eq!(opusdec::faults(&path), [""; 0]);
    let ready = rig
        .find(&call_id, |event| match &event.event {
            Some(Happened::RecordReady(ready)) => Some(ready.clone()),
            _ => None,
        })
        .await;
    assert_eq!((&ready.wav, ready.json), (&record.wav, record.wav.replace(".opus", ".json")));
    let samples = opusdec::played(&path);
    assert_eq!(samples.len() % (6 * 8), 0, "whole milliseconds, as the frames are");
    let length = samples.len() as u32 / 48;
    assert!(length.abs_diff(record.talk_ms) < 200, "{length} of {}", record.talk_ms);
    assert!(loudest(&samples, 0) > Some(1_000) && loudest(&samples, 1) > Some(1_000), "both sides");
    let turn = record.turns.iter().find(|turn| turn.role == "speech").expect("the robot spoke");
    // Of the far end's first sound a little is here too, for one packet.
    let speaks: Vec<_> = samples.chunks(20 * 48).map(|part| loudest(part, 1) > Some(500)).collect();
    let word = speaks.windows(2).position(|both| *both == [true; 2]).expect("a word") * 20;
    assert!((turn.start_ms as usize + 180..turn.stop_ms as usize).contains(&word), "{word} in {turn:?}");
    rig.idle().await;
}

/// A process that was killed 4.5 s after its call had been answered.
async fn killed(recording: &'static str) -> (Rig, String) {
    let mut rig = Rig::start(Setup { record: true, recording, ..Setup::default() }).await;
    let _phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    rig.kill().await;
    (rig, call_id)
}

#[tokio::test]
async fn a_process_that_is_killed_leaves_files_that_play_in_opus_too() {
    let (rig, call_id) = killed("format = \"opus\"").await;
    let samples = opusdec::played(&rig.folder().join(format!("recordings/{call_id}.opus")));
    // Whole pages of a second, of which the first gives the encoder's 6.5 ms.
    assert_eq!((samples.len() + 312) % 48_000, 0, "{}", samples.len());
    assert!(samples.len() > 2 * 48_000, "{} samples of 4.5 s", samples.len());
}

#[tokio::test]
async fn a_process_that_is_killed_leaves_files_that_play_in_both_forms() {
    for (format, header, moment) in [("format = \"pcm16\"", 44, 4), ("format = \"g711\"", 58, 2)] {
        let (rig, call_id) = killed(format).await;
        let bytes = fs::read(rig.folder().join(format!("recordings/{call_id}.wav"))).expect("the recording");
        let at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        assert_eq!(&bytes[header - 8..header - 4], b"data", "{format}");
        let data = at(header - 4) as usize;
        assert!(header + data <= bytes.len(), "what the header promises is there");
        assert_eq!(at(4) as usize + 8, header + data);
        assert!(data / moment > 2 * 8_000, "{format}: {data} bytes of sound, of more than 3 s up to the last header");
    }
}

/// Nothing is wrong with a call's recording. A busy machine may have overslept slots: each frame that is said to be missing is one that was counted.
async fn is_sound(rig: &Rig, record: &CallRecord) {
    let (overslept, faults): (Vec<_>, Vec<_>) =
        record.faults.iter().partition(|fault| fault.contains(" frames of 20 ms are missing"));
    assert!(faults.is_empty(), "{record:?}");
    let frames =
        overslept.iter().filter_map(|fault| fault.strip_prefix("recording: ")?.split(' ').next()?.parse::<f64>().ok());
    let frames: f64 = frames.sum();
    assert_eq!(frames == 0.0, overslept.is_empty(), "{record:?}");
    let counted = async || rig.metric("trunkline_media_slots_missed_total").await >= frames;
    soon("the slots are counted", PATIENCE, counted).await;
}

/// All of the prompt `long` went out.
fn said_whole(record: &CallRecord) {
    let sent = record.quality.as_ref().expect("there was media").sent;
    let said = record.turns.iter().find(|turn| turn.id == "long").expect("it was said");
    let length = said.stop_ms - said.start_ms;
    assert!(!said.interrupted && length > 2_500 && sent >= u64::from(length / 20), "{sent} packets, {said:?}");
}

#[tokio::test]
async fn a_disk_that_is_full_harms_no_call_and_the_next_one_is_recorded_when_there_is_room() {
    let rig = Rig::on_small_disk("512k", Setup { record: true, ..Setup::default() }).await;
    let filler = rig.disk().join("filler");
    // Some 3 s of sound have room.
    fs::write(&filler, vec![0; 416 * 1024]).expect("there is room for it");
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    let lost = async || rig.metric("trunkline_journal_frames_lost_total").await;
    soon("the disk is full", Duration::from_secs(30), async || lost().await > 0.0).await;
    let long: Vec<&str> = std::iter::repeat_n("human-thank-you.wav", 3).collect();
    rig.send(&call_id, Order::Say(say("long", &long))).await;
    rig.finished(&call_id, "long").await;
    assert!(rig.metric("trunkline_journal_disk_errors_total").await >= 1.0);
    rig.send(&call_id, Order::Hangup(Default::default())).await;
    let record = rig.told_record(&call_id).await;
    phone.done().await;
    said_whole(&record);
    // No frame waited for the disk: the ring never was full.
    rig.none_dropped(&["recorder"]).await;
    let cut = |fault: &String| fault.contains(" is cut short at ") && fault.contains("No space left on device");
    assert!(record.faults.iter().any(cut), "{:?}", record.faults);
    assert_eq!(rig.metric("trunkline_journal_recordings_open").await, 0.0);
    // What there was room for plays.
    let play = |call_id: &str| {
        let wav = hound::WavReader::open(rig.disk().join(format!("{call_id}.wav"))).expect("it plays");
        wav.duration()
    };
    let kept = play(&call_id);
    assert!(kept > 8_000 && kept < record.talk_ms * 8, "{kept} of {} ms", record.talk_ms);

    fs::remove_file(&filler).expect("it is ours");
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    rig.send(&call_id, Order::Hangup(Default::default())).await;
    let record = rig.told_record(&call_id).await;
    phone.done().await;
    is_sound(&rig, &record).await;
    assert!(play(&call_id) + 8_000 * 3 / 10 > record.talk_ms * 8, "all of it is there");
}

/// Holds up every write and every opening of a file by the thread that owns the disk, until it is dropped.
struct Blocked(std::process::Child);

impl Blocked {
    fn disk_of(rig: &Rig) -> Blocked {
        let tasks = fs::read_dir(format!("/proc/{}/task", rig.pid())).expect("it runs");
        let mut tasks = tasks.map(|task| task.expect("readable").path());
        let named = |task: &std::path::PathBuf| {
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "journal-disk")
        };
        let task = tasks.find(named).expect("the disk's thread");
        let strace = std::process::Command::new("strace")
            .args([
                "-q",
                "-o",
                "/dev/null",
                "-e",
                "trace=write,openat",
                "-e",
                "inject=write,openat:delay_enter=600000000",
            ])
            .arg("-p")
            .arg(task.file_name().expect("a number"))
            .spawn();
        Blocked(strace.unwrap_or_else(|error| panic!("strace: {error}; scripts/setup test installs it")))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // Killed, it lets go.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_disk_that_stands_still_harms_no_call_and_is_told_in_record_and_metric() {
    let rig = Rig::start(Setup { record: true, ..Setup::default() }).await;
    let phone = rig.phone(Phone { calls: 2, ..Phone::new("uas_answers_after_180") }).await;
    let first = rig.dial(rig.order()).await;
    rig.answered(&first).await;
    let blocked = Blocked::disk_of(&rig);
    let stalls = async || rig.metric("trunkline_journal_disk_stalls_total").await;
    soon("it is noticed", Duration::from_secs(60), async || stalls().await == 1.0).await;
    assert!(rig.metric("trunkline_journal_disk_stalled_seconds").await >= 1.0);
    assert!(rig.http("/healthz").await.contains(" 200 OK"));
    let long: Vec<&str> = std::iter::repeat_n("human-thank-you.wav", 3).collect();
    rig.send(&first, Order::Say(say("long", &long))).await;
    rig.finished(&first, "long").await;
    rig.send(&first, Order::Hangup(Default::default())).await;
    // Its end is told, though there is no file.
    let record = rig.told_record(&first).await;
    assert!(record.faults.iter().any(|fault| fault.contains("has not answered for ")), "{:?}", record.faults);
    said_whole(&record);
    assert_eq!(record.quality.as_ref().map(|quality| quality.under_runs), Some(0), "{record:?}");
    assert!(rig.metric_of("trunkline_media_dropped_total", "recorder").await > 0.0, "its recording has a hole");
    // The next one is not even begun to be recorded, and is a call like any other.
    let second = rig.dial(rig.order()).await;
    rig.answered(&second).await;
    rig.send(&second, Order::Say(say("short", &["human-thank-you.wav"]))).await;
    rig.finished(&second, "short").await;
    drop(blocked);
    rig.send(&second, Order::Hangup(Default::default())).await;
    let record = rig.ended(&second).await;
    assert!(record.faults.iter().any(|fault| fault.contains("recording: none was made")), "{:?}", record.faults);
    assert!(record.wav.is_empty(), "{}", record.wav);
    phone.done().await;
    // What the disk had in hand is there when it answers.
    let ready = rig
        .find(&first, |event| match &event.event {
            Some(Happened::RecordReady(ready)) => Some(ready.clone()),
            _ => None,
        })
        .await;
    assert!(hound::WavReader::open(&ready.wav).is_ok_and(|wav| wav.duration() > 0), "{ready:?}");
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&ready.json).expect("there")).expect("JSON");
    let missing =
        |fault: &serde_json::Value| fault.as_str().is_some_and(|fault| fault.starts_with("recording: it ends at "));
    assert!(json["faults"].as_array().is_some_and(|faults| faults.iter().any(missing)), "{json}");
    soon("it is over", Duration::from_secs(20), async || {
        rig.metric("trunkline_journal_disk_stalled_seconds").await == 0.0
    })
    .await;
}
