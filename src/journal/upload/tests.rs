use std::sync::atomic::{AtomicU32, Ordering};

use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{Attribute, ObjectStoreExt, throttle};
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::journal::bus;

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let n = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("trunkline-upload-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("made");
        Folder(path)
    }

    /// A recording of so many bytes with its record and its marker.
    fn call(&self, name: &str, bytes: usize) -> Waiting {
        self.recorded(name, "wav", bytes)
    }

    /// One of that format.
    fn recorded(&self, name: &str, ending: &str, bytes: usize) -> Waiting {
        let stem = self.0.join(name);
        fs::create_dir_all(stem.parent().expect("a folder")).expect("made");
        let sound: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
        fs::write(name::ended(&stem, ending), sound).expect("written");
        let record = format!("{{\"call_id\": \"id of {name}\", \"correlation\": \"order 17\", \"talk_ms\": 4200}}");
        fs::write(name::ended(&stem, "json"), record).expect("written");
        name::mark(&stem, "id of the marker").expect("marked");
        Waiting::found(stem)
    }

    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        sweep::walk(&self.0, |entry| {
            let path = entry.path();
            found.push(path.strip_prefix(&self.0).expect("below").display().to_string());
        });
        found.sort();
        found
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn uploader(folder: &Folder, to: Destination, delete_after: bool) -> (Uploader, UnboundedReceiver<ToBus>) {
    let (bus, told) = unbounded_channel();
    let uploader = Uploader {
        upload: Upload { to, delete_after, at_a_time: 2 },
        folder: folder.0.clone(),
        bus,
        metrics: Metrics::default(),
        store: None,
        queue: VecDeque::new(),
        known: HashSet::new(),
        faults: 0,
        next_at: Instant::now(),
        told_at: None,
    };
    (uploader, told)
}

fn bucket(prefix: &str) -> Destination {
    Destination::S3(Box::new(S3 {
        bucket: "calls".into(),
        prefix: prefix.into(),
        endpoint: None,
        region: "us-east-1".into(),
        path_style: false,
        access_key: "key".into(),
        secret_key: Secret("s3cret".into()),
        ca: None,
    }))
}

/// What was told of uploads: the call, and the event.
fn events(told: &mut UnboundedReceiver<ToBus>) -> Vec<(String, String, u32, What)> {
    let event = |told| match told {
        ToBus::Tell(news) => match *news {
            News::Call(Event { call_id, correlation, at, what, .. }) => {
                (call_id.to_string(), correlation.to_string(), at.0, what)
            }
            other => panic!("not expected: {other:?}"),
        },
        other => panic!("not expected: {other:?}"),
    };
    std::iter::from_fn(|| told.try_recv().ok()).map(event).collect()
}

/// Runs until the queue is empty, the service fails, or the last seconds are over.
async fn run(uploader: Uploader, waiting: Vec<Waiting>) {
    let (tell, inbox) = unbounded_channel();
    for waiting in waiting {
        let _ = tell.send(ToUpload::Ready(waiting));
    }
    let (reply, over) = oneshot::channel();
    let _ = tell.send(ToUpload::Shutdown(reply));
    tokio::join!(uploader.run(inbox), async { over.await.expect("answered") });
}

#[tokio::test]
async fn recording_and_record_are_there_byte_for_byte_and_the_marker_is_gone() {
    const MANY: usize = 12 * 1024 * 1024 + 17;
    let (wav, opus) = (("wav", "audio/wav"), ("opus", "audio/ogg"));
    for ((ending, kind), bytes, delete_after) in [
        (wav, 1_000, false),
        (wav, 0, false),
        (wav, MANY, true),
        (wav, 5 * 1024 * 1024, true),
        (opus, 1_000, false),
        (opus, MANY, true),
    ] {
        let folder = Folder::new();
        let waiting = folder.recorded("2026-11-26/c.1", ending, bytes);
        let sound = fs::read(name::ended(&waiting.stem, ending)).expect("there");
        let (mut uploader, mut told) = uploader(&folder, bucket("eu/robot"), delete_after);
        let (store, metrics) = (Arc::new(InMemory::new()), uploader.metrics.clone());
        uploader.store = Some(store.clone());
        run(uploader, vec![waiting]).await;
        let there = async |ending: &str, kind: &str| {
            let key = format!("eu/robot/2026-11-26/c.1.{ending}");
            let got = store.get(&Key::from(key)).await.expect(ending);
            assert_eq!(got.attributes.get(&Attribute::ContentType).map(|kind| &**kind), Some(kind));
            got.bytes().await.expect("whole")
        };
        assert!(there(ending, kind).await == sound, "{ending}, {bytes}");
        let record = there("json", "application/json").await;
        let recording = format!("2026-11-26/c.1.{ending}");
        let left = if delete_after { vec![] } else { vec!["2026-11-26/c.1.json", recording.as_str()] };
        assert_eq!(folder.files(), left);
        assert_eq!(folder.0.join("2026-11-26").exists(), !delete_after, "an empty folder goes too");
        let told = events(&mut told);
        let wanted = What::RecordUploaded {
            wav: format!("s3://calls/eu/robot/{recording}"),
            json: "s3://calls/eu/robot/2026-11-26/c.1.json".into(),
            bytes: (sound.len() + record.len()) as u64,
            attempts: 1,
            reason: String::new(),
        };
        let call = ("id of 2026-11-26/c.1".to_owned(), "order 17".to_owned(), 4_200);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].0.clone(), told[0].1.clone(), told[0].2), call);
        assert_eq!(format!("{:?}", told[0].3), format!("{wanted:?}"));
        assert_eq!((metrics.uploaded.get(), metrics.upload_waiting.get()), (1, 0));
        assert_eq!(metrics.uploaded_bytes.get(), (sound.len() + record.len()) as u64);
    }
}

#[tokio::test]
async fn a_share_that_is_mounted_late_gets_all_that_waited() {
    let folder = Folder::new();
    let share = Folder::new();
    let mounted = share.0.join("mounted");
    let (uploader, mut told) = uploader(&folder, Destination::Folder(mounted.clone()), false);
    let metrics = uploader.metrics.clone();
    let (tell, inbox) = unbounded_channel();
    let waiting = [folder.call("a", 10), folder.call("b", 10)];
    waiting.into_iter().for_each(|waiting| drop(tell.send(ToUpload::Ready(waiting))));
    let mount = async {
        while metrics.upload_failures.get() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(metrics.uploaded.get(), 0);
        assert!(!mounted.exists(), "what is not mounted is not made");
        fs::create_dir(&mounted).expect("made");
        while metrics.uploaded.get() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(tell);
    };
    tokio::join!(uploader.run(inbox), mount);
    for name in ["a.wav", "a.json", "b.wav", "b.json"] {
        assert!(fs::read(mounted.join(name)).expect(name) == fs::read(folder.0.join(name)).expect(name), "{name}");
    }
    let mut told: Vec<_> = events(&mut told)
        .into_iter()
        .map(|(_, _, _, what)| match what {
            What::RecordUploaded { reason, attempts, .. } => (attempts, reason),
            other => panic!("not expected: {other:?}"),
        })
        .collect();
    let failed: Vec<_> = told.extract_if(.., |(_, reason)| !reason.is_empty()).collect();
    assert!(failed.iter().all(|(attempts, _)| *attempts == 1), "its first failure alone is told: {failed:?}");
    assert!(!failed.is_empty() && failed.iter().all(|(_, reason)| reason.contains("is not there; mount it")));
    assert_eq!(told.len(), 2, "once each that it is there: {told:?}");
}

#[tokio::test]
async fn a_service_that_is_slow_does_not_hold_up_the_end() {
    let folder = Folder::new();
    let (mut uploader, _told) = uploader(&folder, bucket(""), false);
    let slow = throttle::ThrottleConfig { wait_put_per_call: Duration::from_secs(600), ..Default::default() };
    uploader.store = Some(Arc::new(throttle::ThrottledStore::new(InMemory::new(), slow)));
    let begun = Instant::now();
    run(uploader, vec![folder.call("a", 10), folder.call("b", 10), folder.call("c", 10)]).await;
    assert!(begun.elapsed() >= LAST && begun.elapsed() < Duration::from_secs(300));
    assert_eq!(sweep::find_marked(&folder.0).len(), 3, "the next start finds them");
}

#[test]
fn what_an_earlier_run_has_left_is_found_but_for_what_is_being_written() {
    let folder = Folder::new();
    folder.call("day/whole", 10);
    folder.call("busy", 10);
    fs::write(folder.0.join("done.wav"), "").expect("written");
    // Killed while the call was up: there is a recording, and no record.
    fs::write(folder.0.join("killed.wav"), "sound").expect("written");
    name::mark(&folder.0.join("killed"), "c17").expect("marked");
    let (disk, asked) = mpsc::channel();
    let busy = HashSet::from([folder.0.join("busy")]);
    let answers = thread::spawn(move || match asked.recv() {
        Ok(ToDisk::Busy(reply)) => drop(reply.send(busy)),
        _ => panic!("not expected"),
    });
    let mut left = left_over(&folder.0, &disk);
    answers.join().expect("no panic");
    left.sort_by(|a, b| a.stem.cmp(&b.stem));
    let found = |name: &str, call_id: &str, correlation: &str, at: u32| Waiting {
        stem: folder.0.join(name),
        call_id: call_id.into(),
        correlation: correlation.into(),
        at: Ms(at),
        attempts: 0,
    };
    assert_eq!(left, [found("day/whole", "id of day/whole", "order 17", 4_200), found("killed", "c17", "", 0)]);
}

#[test]
fn pauses_double_differ_and_end_at_five_minutes() {
    assert_eq!(pause(1, 0.0), Duration::from_millis(500));
    assert_eq!(pause(1, 1.0), Duration::from_secs(1));
    assert_eq!(pause(4, 1.0), Duration::from_secs(8));
    for faults in [10, 100, u32::MAX] {
        assert_eq!(pause(faults, 1.0), LONGEST_PAUSE);
        assert_eq!(pause(faults, 0.0), LONGEST_PAUSE / 2);
    }
}

#[tokio::test]
async fn the_journal_uploads_what_its_calls_leave_and_tells_it_last() {
    let folder = Folder::new();
    let share = Folder::new();
    let settings = crate::journal::Settings {
        folder: folder.0.clone(),
        format: Default::default(),
        keep: Default::default(),
        upload: Some(Upload { to: Destination::Folder(share.0.clone()), delete_after: false, at_a_time: 2 }),
        keep_events: 100,
    };
    let journal = crate::journal::start(&settings).expect("threads");
    let mut watcher = journal.watch(0, true).await.expect("nothing is lost");
    let finished = crate::journal::tests::recorded_call(&journal, "c1", "c1").await.expect("told");
    let mut told = Vec::new();
    loop {
        let sequenced: Arc<bus::Sequenced> = watcher.next().await.expect("one more").expect("kept");
        let News::Call(event) = &sequenced.event else { panic!("not expected: {sequenced:?}") };
        told.push(event.what.clone());
        if let What::RecordUploaded { .. } = &event.what {
            break;
        }
    }
    let url = format!("file://{}/c1.wav", share.0.display());
    match told.as_slice() {
        [What::RecordReady { wav_url, .. }, What::Ended(record), What::RecordUploaded { wav, reason, .. }] => {
            assert_eq!([wav_url, &record.wav_url, wav], [&url; 3]);
            assert_eq!(reason, "");
        }
        other => panic!("not expected: {other:?}"),
    }
    let wav = finished.wav.expect("a recording");
    assert!(fs::read(&wav).expect("here") == fs::read(share.0.join("c1.wav")).expect("there"));
    // Of a call that is not recorded the record goes alone.
    let _ = journal.finish_call(crate::journal::tests::record("c2"), crate::journal::tests::stem("c2"), Ms(0)).await;
    journal.shutdown().await;
    assert_eq!(share.files(), ["c1.json", "c1.wav", "c2.json"]);
    assert!(sweep::find_marked(&folder.0).is_empty());
}
