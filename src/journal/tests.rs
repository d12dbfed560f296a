//! The journal as its users see it: real threads, a real folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::call::line::HungUpBy;
use crate::call::record::{LineQuality, Outcome};

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("trunkline-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("the folder is there");
        let mut names: Vec<_> =
            entries.map(|e| e.expect("readable").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn journal(folder: &Path, keep_events: usize) -> Handle {
    let settings = Settings {
        folder: folder.to_owned(),
        format: Format::default(),
        keep: Keep::default(),
        upload: None,
        keep_events,
    };
    start(&settings).expect("threads")
}

fn no_input(call_id: &str, count: u32) -> Event {
    Event {
        call_id: call_id.into(),
        wall: SystemTime::UNIX_EPOCH,
        at: Ms(count),
        correlation: "".into(),
        what: What::NoInput { count },
    }
}

fn of_call(sequenced: &Sequenced) -> &Event {
    match &sequenced.event {
        News::Call(event) => event,
        other => panic!("not expected: {other:?}"),
    }
}

fn count(event: &Sequenced) -> u32 {
    match of_call(event).what {
        What::NoInput { count } => count,
        ref other => panic!("not expected: {other:?}"),
    }
}

pub(super) fn record(call_id: &str) -> CallRecord {
    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_250);
    CallRecord {
        call_id: call_id.into(),
        direction: "outbound",
        trunk: "ip-trunk".into(),
        caller: "100".into(),
        callee: "200".into(),
        started_at: start,
        rang_at: None,
        answered_at: Some(start + Duration::from_secs(2)),
        ended_at: start + Duration::from_secs(5),
        setup_ms: Ms(2_000),
        talk_ms: Ms(3_000),
        outcome: Outcome::Success,
        sip_code: 200,
        sip_reason: "OK".into(),
        hung_up_by: HungUpBy::Caller,
        end_reason: String::new(),
        keys: String::new(),
        turns: Vec::new(),
        quality: LineQuality::default(),
        labels: BTreeMap::new(),
        faults: Vec::new(),
        wav: String::new(),
        wav_url: String::new(),
        recording_pauses: Vec::new(),
        recording_answer: None,
        mutes: Vec::new(),
        request_id: "r".into(),
        correlation: "order 17".into(),
        sip_call_id: "x@y".into(),
        transfers: Vec::new(),
        user_to_user: Vec::new(),
        early_media_at: None,
        early_text: Vec::new(),
        announcement: None,
        srtp: "",
        tones: Vec::new(),
        answered_by: Vec::new(),
        transferred_from: String::new(),
    }
}

pub(super) fn stem(name: &str) -> Stem {
    Stem::parse(name).expect(name)
}

fn frame(n: u32) -> RecordedFrame {
    RecordedFrame {
        robot_at: Ms(n * 20),
        robot: [2; 160],
        caller_at: Some(Ms(n * 20)),
        caller: [1; 160],
        paused: false,
    }
}

/// A call of 100 ms that is recorded.
pub(super) fn recorded_call(journal: &Handle, call_id: &str, name: &str) -> oneshot::Receiver<Finished> {
    let (mut producer, frames) = rtrb::RingBuffer::new(64);
    journal.open_recording(call_id.into(), stem(name), Law::A, frames);
    for n in 0..5 {
        producer.push(frame(n)).expect("room");
    }
    journal.finish_call(record(call_id), stem(name), Ms(100))
}

#[tokio::test]
async fn numbers_have_no_gaps_whoever_tells() {
    let folder = Folder::new("numbers");
    let journal = journal(&folder.0, 100_000);
    let mut all = journal.watch(0, true).await.expect("nothing is lost yet");
    let tellers: Vec<_> = (0..8)
        .map(|teller| {
            let journal = journal.clone();
            std::thread::spawn(move || {
                for n in 0..500 {
                    journal.tell(no_input(&teller.to_string(), n));
                }
            })
        })
        .collect();
    let mut next_of: BTreeMap<String, u32> = BTreeMap::new();
    for wanted in 1..=4_000 {
        let event = all.next().await.expect("not over").expect("not lost");
        assert_eq!(event.sequence, wanted);
        let next = next_of.entry(event.event.call_id().to_owned()).or_default();
        assert_eq!(count(&event), *next, "each teller's events keep their order");
        *next += 1;
    }
    for teller in tellers {
        teller.join().expect("no panic");
    }
    assert_eq!(all.position(), 4_000);
}

#[tokio::test]
async fn a_watcher_resumes_where_it_was() {
    let folder = Folder::new("resume");
    let journal = journal(&folder.0, 100);
    for n in 1..=10 {
        journal.tell(no_input("c", n));
    }
    let mut first = journal.watch(0, true).await.expect("kept");
    for n in 1..=4 {
        assert_eq!(count(&first.next().await.expect("more").expect("kept")), n);
    }
    let position = first.position();
    drop(first);
    let mut again = journal.watch(position, false).await.expect("kept");
    for n in 5..=10 {
        assert_eq!(count(&again.next().await.expect("more").expect("kept")), n);
    }
    let mut from_now = journal.watch(0, false).await.expect("always");
    journal.tell(no_input("c", 11));
    assert_eq!(count(&from_now.next().await.expect("more").expect("kept")), 11);
    let mut at_the_end = journal.watch(11, false).await.expect("the next one");
    journal.tell(no_input("c", 12));
    assert_eq!(count(&at_the_end.next().await.expect("more").expect("kept")), 12);
}

#[tokio::test]
async fn a_next_that_is_given_up_loses_nothing() {
    let folder = Folder::new("cancel");
    let journal = journal(&folder.0, 100);
    let mut watcher = journal.watch(0, false).await.expect("from now");
    for n in 1..=50 {
        let given_up = tokio::time::timeout(Duration::ZERO, watcher.next()).await;
        assert!(given_up.is_err());
        journal.tell(no_input("c", n));
        assert_eq!(count(&watcher.next().await.expect("more").expect("kept")), n);
    }
}

#[tokio::test]
async fn a_slow_watcher_is_told_and_stops_nobody() {
    let folder = Folder::new("slow");
    let journal = journal(&folder.0, 10);
    let mut slow = journal.watch(0, false).await.expect("from now");
    let mut quick = journal.watch(0, false).await.expect("from now");
    for n in 1..=30 {
        journal.tell(no_input("c", n));
        assert_eq!(count(&quick.next().await.expect("more").expect("kept")), n);
    }
    let lost = slow.next().await.expect("told").expect_err("lost");
    let wanted = TooOld { after: 0, oldest: 21, newest: 30 };
    assert_eq!(lost, wanted);
    assert!(slow.next().await.is_none());
    let refused = journal.watch(19, false).await.expect_err("too old");
    assert_eq!(refused.to_string(), "events after 19 are no longer kept; the oldest event kept is 21");
    assert!(journal.watch(20, false).await.is_ok(), "21 is there");
    let refused = journal.watch(31, false).await.expect_err("of another run");
    assert_eq!(
        refused.to_string(),
        "event 31 has not happened since this process started, the last one is 30; the oldest event kept is 21"
    );
    let mut all = journal.watch(0, true).await.expect("always");
    assert_eq!(count(&all.next().await.expect("more").expect("kept")), 21);
}

#[tokio::test]
async fn a_call_ends_with_its_files_and_ended_is_last() {
    let folder = Folder::new("ends");
    let journal = journal(&folder.0, 100);
    journal.tell(no_input("a", 1));
    let finished = recorded_call(&journal, "a", "order 17").await.expect("answered");
    assert_eq!(finished.faults, [""; 0]);
    let wav = finished.wav.expect("recorded");
    let json = finished.json.expect("written");
    assert_eq!(folder.files(), ["order 17.json", "order 17.wav"]);

    let mut all = journal.watch(0, true).await.expect("kept");
    assert_eq!(count(&all.next().await.expect("more").expect("kept")), 1);
    let ready = all.next().await.expect("more").expect("kept");
    match &of_call(&ready).what {
        What::RecordReady { wav: w, json: j, .. } => {
            assert_eq!((Path::new(w), Path::new(j)), (&*wav, &*json))
        }
        other => panic!("not expected: {other:?}"),
    }
    assert_eq!((&*of_call(&ready).correlation, of_call(&ready).at), ("order 17", Ms(100)));
    let ended = all.next().await.expect("more").expect("kept");
    match &of_call(&ended).what {
        What::Ended(record) => assert_eq!(Path::new(&record.wav), wav),
        other => panic!("not expected: {other:?}"),
    }

    let mut wav = hound::WavReader::open(&wav).expect("it plays");
    assert_eq!((wav.spec().channels, wav.spec().sample_rate), (2, 8_000));
    let samples: Vec<i16> = wav.samples().map(|s| s.expect("whole")).collect();
    assert_eq!(samples.len(), 2 * 800);
    assert_eq!(&samples[800..802], [1, 2], "caller left, robot right");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(json).expect("there")).expect("JSON");
    assert_eq!(json["outcome"], "success");
    assert_eq!(json["started_at"], "2026-09-21T14:13:20.250Z");
    assert_eq!(json["talk_ms"], 3_000);
    assert_eq!(json["rang_at"], serde_json::Value::Null);
    assert!(json["wav"].as_str().expect("a path").ends_with("order 17.wav"));
}

#[tokio::test]
async fn the_last_frames_are_waited_for() {
    let folder = Folder::new("last");
    let journal = journal(&folder.0, 100);
    let (mut producer, frames) = rtrb::RingBuffer::new(64);
    journal.open_recording("a".into(), stem("a"), Law::A, frames);
    producer.push(frame(0)).expect("room");
    let finished = journal.finish_call(record("a"), stem("a"), Ms(40));
    tokio::time::sleep(Duration::from_millis(150)).await;
    producer.push(frame(1)).expect("room");
    drop(producer);
    let wav = finished.await.expect("answered").wav.expect("recorded");
    assert_eq!(hound::WavReader::open(wav).expect("it plays").duration(), 320);
}

#[tokio::test]
async fn a_recording_goes_on_by_another_ring_where_its_times_say_and_nothing_between_is_missed() {
    let folder = Folder::new("continued");
    let journal = journal(&folder.0, 100);
    let (mut early, frames) = rtrb::RingBuffer::new(64);
    journal.open_recording("a".into(), stem("a"), Law::A, frames);
    let (mut talk, frames) = rtrb::RingBuffer::new(64);
    // The second ring is there, and has frames, before the first one's end is.
    journal.continue_recording("a".into(), frames);
    for n in 0..5 {
        early.push(frame(n)).expect("room");
    }
    let later = |n: u32| RecordedFrame { robot_at: Ms(207 + n * 20), caller_at: None, robot: [7; 160], ..frame(n) };
    (0..3).for_each(|n| talk.push(later(n)).expect("room"));
    tokio::time::sleep(Duration::from_millis(150)).await;
    early.push(frame(5)).expect("room");
    drop(early);
    tokio::time::sleep(Duration::from_millis(150)).await;
    talk.push(later(3)).expect("room");
    drop(talk);
    let finished = journal.finish_call(record("a"), stem("a"), Ms(80)).await.expect("answered");
    assert_eq!(finished.faults, [""; 0]);
    let mut wav = hound::WavReader::open(finished.wav.expect("recorded")).expect("it plays");
    let samples: Vec<i16> = wav.samples().map(|s| s.expect("whole")).collect();
    let robot: Vec<i16> = samples.chunks_exact(2).map(|both| both[1]).collect();
    assert_eq!(robot.len(), (207 + 80) * 8);
    assert!(robot[..960].iter().all(|s| *s == 2), "six frames by the first ring");
    assert!(robot[960..207 * 8].iter().all(|s| *s == 0));
    assert!(robot[207 * 8..].iter().all(|s| *s == 7), "four by the second");
    assert_eq!(folder.files(), ["a.json", "a.wav"]);
}

#[tokio::test]
async fn a_media_thread_that_never_lets_go_is_not_waited_for() {
    let folder = Folder::new("holds");
    let journal = journal(&folder.0, 100);
    let (mut producer, frames) = rtrb::RingBuffer::new(64);
    journal.open_recording("a".into(), stem("a"), Law::A, frames);
    producer.push(frame(0)).expect("room");
    let finished = journal.finish_call(record("a"), stem("a"), Ms(20));
    let finished = tokio::time::timeout(Duration::from_secs(5), finished).await;
    assert!(finished.expect("in time").expect("answered").wav.is_some());
}

#[tokio::test]
async fn nothing_is_overwritten_and_pairs_keep_one_name() {
    let folder = Folder::new("pairs");
    let journal = journal(&folder.0, 100);
    for (call_id, recorded) in [("a", true), ("b", false), ("c", true), ("d", false)] {
        let finished = match recorded {
            true => recorded_call(&journal, call_id, "n"),
            false => journal.finish_call(record(call_id), stem("n"), Ms(0)),
        };
        let finished = finished.await.expect("answered");
        assert_eq!(finished.wav.is_some(), recorded);
        if let Some(wav) = finished.wav {
            assert_eq!(Some(wav.with_extension("json")), finished.json);
        }
    }
    assert_eq!(folder.files(), ["n-2.json", "n-3.json", "n-3.wav", "n-4.json", "n.json", "n.wav"]);
}

#[tokio::test]
async fn recordings_of_both_kinds_keep_apart_when_the_format_is_another_one_than_before() {
    let folder = Folder::new("kinds");
    // Killed in a call, it has left no record.
    std::fs::create_dir_all(&folder.0).expect("made");
    std::fs::write(folder.0.join("n.wav"), "").expect("a file");
    let opus = Settings {
        folder: folder.0.clone(),
        format: Format::Opus { bitrate: 32_000 },
        keep: Keep::default(),
        upload: None,
        keep_events: 10,
    };
    let opus = start(&opus).expect("threads");
    let finished = recorded_call(&opus, "a", "n").await.expect("answered");
    assert_eq!(finished.faults, [""; 0]);
    let finished = (finished.wav.expect("recorded"), finished.json.expect("written"));
    assert_eq!(finished, (folder.0.join("n-2.opus"), folder.0.join("n-2.json")));
    let json = std::fs::read(finished.1).expect("there");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert!(json["wav"].as_str().expect("a path").ends_with("n-2.opus"));
    // And the other way round.
    std::fs::write(folder.0.join("m.opus"), "").expect("a file");
    let finished = recorded_call(&journal(&folder.0, 10), "b", "m").await.expect("answered");
    assert_eq!(finished.wav, Some(folder.0.join("m-2.wav")));
    assert_eq!(folder.files(), ["m-2.json", "m-2.wav", "m.opus", "n-2.json", "n-2.opus", "n.wav"]);
}

#[tokio::test]
async fn a_name_in_use_is_not_taken_from_the_call_that_has_it() {
    let folder = Folder::new("in-use");
    let journal = journal(&folder.0, 100);
    let (producer, frames) = rtrb::RingBuffer::new(64);
    journal.open_recording("a".into(), stem("n"), Law::A, frames);
    let other = journal.finish_call(record("b"), stem("n"), Ms(0));
    let other = other.await.expect("answered").json.expect("written");
    assert!(other.ends_with("n-2.json"), "{}", other.display());
    drop(producer);
    let own = journal.finish_call(record("a"), stem("n"), Ms(0));
    let own = own.await.expect("answered").json.expect("written");
    assert!(own.ends_with("n.json"), "{}", own.display());
}

#[tokio::test]
async fn a_disk_that_refuses_harms_nobody() {
    let folder = Folder::new("refuses");
    // A file where the folder should be: nobody, root neither, can write into it.
    std::fs::write(&folder.0, "").expect("a file");
    let journal = journal(&folder.0, 100);
    let finished = recorded_call(&journal, "a", "n").await.expect("answered");
    assert_eq!((finished.wav, finished.json), (None, None));
    assert_eq!(finished.faults.len(), 2, "{:?}", finished.faults);
    let mut all = journal.watch(0, true).await.expect("kept");
    let only = all.next().await.expect("more").expect("kept");
    match &of_call(&only).what {
        What::Ended(record) => assert_eq!(record.faults, finished.faults),
        other => panic!("not expected: {other:?}"),
    }
    let mut registry = Registry::default();
    journal.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
    for line in [
        "journal_disk_errors_total 2",
        "journal_frames_lost_total 5",
        "journal_events_total 1",
        "journal_watchers 1",
        "journal_recordings_open 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
    std::fs::remove_file(&folder.0).expect("removed");
}

#[tokio::test]
async fn shutdown_writes_all_and_ends_watchers_after_all() {
    let folder = Folder::new("shutdown");
    let journal = journal(&folder.0, 10_000);
    let mut parked = journal.watch(0, false).await.expect("from now");
    let mut late = journal.watch(0, true).await.expect("kept");
    // One call is over and its ring still held, one is not over, and many events are told.
    let (mut held, frames) = rtrb::RingBuffer::new(64);
    journal.open_recording("held".into(), stem("held"), Law::A, frames);
    held.push(frame(0)).expect("room");
    let finished = journal.finish_call(record("held"), stem("held"), Ms(20));
    let (mut up, frames) = rtrb::RingBuffer::new(64);
    journal.open_recording("up".into(), stem("up"), Law::A, frames);
    up.push(frame(0)).expect("room");
    for n in 1..=1_000 {
        journal.tell(no_input("c", n));
    }
    journal.shutdown().await;
    assert!(finished.await.expect("answered").json.is_some());
    assert_eq!(folder.files(), ["held.json", "held.wav", "up.wav"]);
    let up = hound::WavReader::open(folder.0.join("up.wav")).expect("it plays");
    assert_eq!(up.duration(), 160);
    for watcher in [&mut parked, &mut late] {
        let mut seen = 0;
        while let Some(event) = watcher.next().await {
            seen += 1;
            assert_eq!(event.expect("kept").sequence, seen);
        }
        assert_eq!(seen, 1_002);
    }
    // What comes later is not written, but not lost without a word either.
    let late = journal.finish_call(record("late"), stem("late"), Ms(0));
    assert_eq!(late.await.expect("answered").faults, ["the journal is shut down: no record was written"]);
    journal.shutdown().await;
}

/// The next event of a watcher, which is there or will be.
async fn next(watcher: &mut Watcher) -> What {
    of_call(&watcher.next().await.expect("not the end").expect("not too slow")).what.clone()
}

#[tokio::test]
async fn a_disk_that_does_not_answer_keeps_no_end_back_and_its_files_are_told_when_they_are_there() {
    let metrics = Metrics::default();
    let bus = bus::start(10, metrics.clone());
    let pulse = Pulse::new();
    pulse.begins();
    let folder = Path::new("/calls");
    let ends = ends::start(folder, pulse.clone(), Duration::from_millis(1_100), None, bus.clone(), metrics.clone());
    // The disk is we, and we take our time.
    let (disk, asked) = mpsc::channel();
    let ends = ends.expect("a thread");
    let journal = Handle {
        bus,
        disk,
        ends: ends.clone(),
        pulse: pulse.clone(),
        _sweeps: None,
        uploads: None,
        metrics: metrics.clone(),
    };
    let mut watcher = journal.watch(0, true).await.expect("from the beginning");
    let finished = journal.finish_call(record("slow"), stem("slow"), Ms(3_000)).await.expect("it is told");
    assert_eq!((finished.wav, finished.json, finished.faults.len()), (None, None, 1));
    let What::Ended(ended) = next(&mut watcher).await else { panic!("the end comes first") };
    assert_eq!(ended.faults, finished.faults);
    assert!(
        ended.faults[0].starts_with("record: the disk under /calls has not answered for 1 s"),
        "{:?}",
        ended.faults
    );
    assert_eq!((metrics.disk_stalls.get(), metrics.disk_errors.get()), (1, 1));
    assert!(metrics.disk_stalled.get() >= 1);
    // Now it answers.
    let Ok(disk::ToDisk::Finish(finish)) = asked.try_recv() else { panic!("the disk is asked all the same") };
    pulse.rests();
    let written = ends::Written {
        record: finish.record,
        at: finish.at,
        wav: None,
        json: Some("/calls/slow.json".into()),
        faults: Vec::new(),
        json_url: String::new(),
        upload: None,
    };
    ends.send(ToEnds::Written(Box::new(written))).expect("the thread is there");
    let What::RecordReady { json, .. } = next(&mut watcher).await else {
        panic!("its file is told, its end is not again")
    };
    assert_eq!(json, "/calls/slow.json");
    while metrics.disk_stalled.get() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(metrics.disk_stalls.get(), 1, "once");
}

#[tokio::test]
async fn behind_a_disk_that_stands_still_no_recording_is_queued_and_the_record_says_so() {
    let metrics = Metrics::default();
    let bus = bus::start(10, metrics.clone());
    let pulse = Pulse::since(PATIENCE);
    let patience = Duration::from_millis(10);
    let ends = ends::start(Path::new("/calls"), pulse.clone(), patience, None, bus.clone(), metrics.clone());
    let (disk, asked) = mpsc::channel();
    let journal = Handle {
        bus,
        disk,
        ends: ends.expect("a thread"),
        pulse: pulse.clone(),
        _sweeps: None,
        uploads: None,
        metrics,
    };
    let (mut ring, frames) = rtrb::RingBuffer::new(4);
    journal.open_recording("new".into(), stem("new"), Law::A, frames);
    assert!(matches!(asked.try_recv(), Ok(disk::ToDisk::Unrecorded(..))), "for the record");
    assert!(ring.is_abandoned() && ring.push(frame(0)).is_ok(), "who fills it does not mind");
    let finished = journal.finish_call(record("new"), stem("new"), Ms(3_000)).await.expect("it is told");
    assert_eq!(finished.faults.len(), 2, "{:?}", finished.faults);
    assert!(
        finished.faults[1].starts_with("recording: none was made: the disk had not answered for 1"),
        "{:?}",
        finished.faults
    );
    pulse.rests();
    let (_ring, frames) = rtrb::RingBuffer::new(4);
    journal.open_recording("next".into(), stem("next"), Law::A, frames);
    assert!(matches!(asked.recv(), Ok(disk::ToDisk::Finish(_))));
    assert!(matches!(asked.recv(), Ok(disk::ToDisk::Open { .. })), "it answers, and is asked again");
}
