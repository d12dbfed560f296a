//! Chaos over the wire: speech services and dialogues are processes of their own (two of each) which are killed, frozen, slowed and started anew at random,
//! by a fixed seed, while calls talk. Whatever happens to them, no caller hears silence for longer than [`LONGEST_SILENCE`] while the robot ought to speak, no
//! call is stuck, every record is complete, and nothing is left behind.
//!
//! | file | what |
//! |---|---|
//! | `phone` | the callers: they listen, and say something when the robot has finished |
//! | `service` | what runs in the processes: this test's binary once more |
//! | `torment` | what becomes of them |
//!
//! 60 calls here; `make chaos` runs 1,000 (`CHAOS_CALLS`, `CHAOS_SEED`, `CHAOS_AT_A_TIME`).

mod phone;
mod service;
mod torment;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use trunkline::proto::control::v1::{CallRecord, DialRequest, Outcome};

use crate::rig::{Folder, Happened, PATIENCE, Ports, Rig, Setup, soon};
use phone::{Heard, Phones};
use torment::Victim;

/// In milliseconds of what was sent: [`dead_air_ms`](../../../docs/conversation.md) is 2,500 as it comes.
const LONGEST_SILENCE: u32 = 3_000;
/// Two turns, each with the worst that may happen to it.
const LONGEST_CALL: Duration = Duration::from_secs(150);

fn from_environment(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().expect(name))
}

/// A Trunkline with two endpoints for each service.
async fn rig(ports: Ports, victims: &[Victim]) -> Rig {
    let folder = Folder::new();
    let setup = Setup {
        record: true,
        fallback: true,
        knobs: "endpoint_ms = 500",
        speech: "SPEECH".to_owned(),
        dialogue: "DIALOGUE".to_owned(),
        ..Setup::default()
    };
    let config = setup.write(&folder.0, &ports);
    let mut text = std::fs::read_to_string(&config).expect("the configuration");
    for kind in ["speech", "dialogue"] {
        let of_kind = victims.iter().filter(|victim| victim.kind == kind).map(|victim| victim.endpoint());
        let endpoints: Vec<_> = of_kind.map(|endpoint| format!("{endpoint:?}")).collect();
        let one = format!("endpoint = \"{}\"", kind.to_uppercase());
        text = text.replace(&one, &format!("endpoints = [{}]", endpoints.join(", ")));
    }
    std::fs::write(&config, text).expect("the configuration is written");
    Rig::serve(ports, folder, config).await
}

/// Records as the calls end.
async fn records(rig: &Rig) -> mpsc::UnboundedReceiver<CallRecord> {
    let (told, records) = mpsc::unbounded_channel();
    let mut events = rig.watch("").await;
    tokio::spawn(async move {
        while let Ok(Some(event)) = events.message().await {
            if let Some(Happened::Ended(ended)) = event.event {
                let _ = told.send(ended.record.expect("a record"));
            }
        }
    });
    records
}

/// All that a record has to have, whatever became of the services.
fn assert_complete(record: &CallRecord) {
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Success, 200), "{record:?}");
    assert_eq!(record.hung_up_by, "robot", "{}: {:?}", record.end_reason, record.faults);
    assert!(!record.end_reason.is_empty() && record.talk_ms > 0, "{record:?}");
    assert!(record.answered_at.is_some() && record.ended_at.is_some(), "{record:?}");
    let robot = record.turns.iter().filter(|turn| turn.role == "speech");
    assert!(robot.count() > 0, "it said something, the fallback at least: {:?}", record.faults);
    for turn in &record.turns {
        assert!(turn.start_ms <= turn.stop_ms && turn.stop_ms <= record.talk_ms + 100, "{turn:?}");
    }
    let length = recorded(record);
    assert!(length > 0 && length < record.talk_ms + 200, "{length} ms of {}", record.talk_ms);
    let json = std::fs::read(Path::new(&record.wav).with_extension("json")).expect("the record is on disk");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["call_id"], record.call_id);
    assert_eq!(json["turns"].as_array().map(Vec::len), Some(record.turns.len()));
}

/// The length of its recording, ms. On a machine that has no time for its recorder it is too short; that is counted, and not what is tested here.
fn recorded(record: &CallRecord) -> u32 {
    hound::WavReader::open(&record.wav).expect("the recording plays").duration() / 8
}

/// What there is to say of the run, for the documentation.
fn report(records: &[CallRecord], heard: &HashMap<String, Heard>, torments: &[u64; 3], took: Duration) {
    let mut silences: Vec<u32> = heard.values().map(|heard| heard.longest_silence).collect();
    silences.sort_unstable();
    let at = |share: f64| silences[((silences.len() - 1) as f64 * share) as usize];
    let by_service = records.iter().filter(|record| record.end_reason != "all said").count();
    let troubled = records.iter().filter(|record| !record.faults.is_empty()).count();
    let short = records.iter().filter(|record| recorded(record) + 1_000 < record.talk_ms).count();
    let [killed, frozen, slowed] = torments;
    println!(
        "{} calls in {} s; {killed} kills, {frozen} freezes, {slowed} slowed; {troubled} calls with faults, {by_service} ended with the fallback, {short} recordings lack more than 1 s; \
         longest silence while the robot was waited for: p50 {}, p99 {}, max {} ms",
        records.len(),
        took.as_secs(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_that_are_killed_frozen_and_slowed_silence_no_call() {
    let (calls, seed) = (from_environment("CHAOS_CALLS", 60), from_environment("CHAOS_SEED", 1) as u64);
    let at_a_time = from_environment("CHAOS_AT_A_TIME", if calls > 100 { 60 } else { 20 });
    let ports = Ports::take();
    let victims: Vec<Victim> =
        ["speech", "speech", "dialogue", "dialogue"].map(|kind| Victim::start(kind, ports.caller().0)).into();
    let rig = rig(ports, &victims).await;
    soon("ready", PATIENCE, async || rig.http("/readyz").await.contains(" 200 OK")).await;
    let mut phones = Phones::answer(rig.ports.phone()).await;
    let mut ended = records(&rig).await;
    let torment = torment::begin(victims, seed);
    let begun = Instant::now();
    let (mut up, mut dialled, mut records) = (0, 0, Vec::new());
    while records.len() < calls {
        while up < at_a_time && dialled < calls {
            let order = DialRequest { dialogue: "brain".into(), speech: "local".into(), ..rig.order() };
            rig.dial(order).await;
            (up, dialled) = (up + 1, dialled + 1);
            // Not all at once: they would all be in the same place of their talk.
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        let next = tokio::time::timeout(LONGEST_CALL, ended.recv()).await;
        records.push(next.expect("a call is stuck").expect("events"));
        up -= 1;
    }
    let torments = torment.end().await;
    let heard = phones.heard(calls).await;
    report(&records, &heard, &torments, begun.elapsed());
    assert!(torments.iter().all(|count| *count > 0), "each was done: {torments:?}");
    assert!(records.iter().any(|record| !record.faults.is_empty()), "somebody noticed");
    for record in &records {
        assert_complete(record);
        let heard = &heard[&record.sip_call_id];
        assert!(heard.sound_ms > 0, "{heard:?}: {record:?}");
        assert!(heard.longest_silence <= LONGEST_SILENCE, "{heard:?}: {:?} {:?}", record.turns, record.faults);
    }
    rig.idle().await;
    for gauge in ["trunkline_dialogue_streams", "trunkline_speech_streams"] {
        soon(&format!("{gauge} is 0"), PATIENCE, async || rig.metric(gauge).await == 0.0).await;
    }
}
