//! A robot whose services stand on gRPC's own library (PyPI's `grpcio`): HTTP/2 and gRPC as C, C++, Python, Ruby, PHP and Objective-C speak
//! them. `rig/grpcio.py` is both services.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use trunkline::proto::control::v1::{DialRequest, Outcome};

use crate::rig::{Folder, PATIENCE, Phone, QUICK, Rig, Setup, in_python, soon};

/// The services, and a server that has them. They are killed when it is dropped.
struct Stage {
    rig: Rig,
    _services: Child,
}

impl Stage {
    /// `limits`: as `grpcio.py` takes them.
    async fn set(limits: Value) -> Stage {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = Folder::new();
        let (protos, errors) = (json!({ "protos": root.join("proto") }), folder.0.join("grpcio.stderr"));
        let mut services = in_python("grpcio.py", protos, &limits, &errors).spawn().expect("python3 is there");
        let mut lines = BufReader::new(services.stdout.take().expect("it is piped")).lines();
        let port = tokio::time::timeout(PATIENCE, lines.next_line()).await.ok().and_then(|line| line.ok().flatten());
        let port = port.unwrap_or_else(|| {
            let errors = std::fs::read_to_string(&errors).unwrap_or_default();
            panic!("grpcio.py did not start: {errors}\n(scripts/setup test installs what it needs)")
        });
        let endpoint = format!("http://127.0.0.1:{port}");
        let setup = Setup { knobs: QUICK, speech: endpoint.clone(), dialogue: endpoint, ..Setup::default() };
        let rig = Rig::start(setup).await;
        soon("ready", Duration::from_secs(15), async || rig.http("/readyz").await.contains(" 200 OK")).await;
        Stage { rig, _services: services }
    }

    /// So many calls at once: each is greeted, heard, answered, and ended by the robot.
    async fn calls(&self, calls: u32) {
        let rig = &self.rig;
        let phone = rig.phone(Phone::new("uas_answers_after_180").calls(calls, 0, calls).timeout_s(30)).await;
        let mut ids = Vec::new();
        for n in 0..calls {
            let request_id = format!("{n} of {calls} at {:?}", std::time::Instant::now());
            let order = DialRequest { dialogue: "brain".into(), speech: "local".into(), request_id, ..rig.order() };
            ids.push(rig.dial(order).await);
        }
        for id in ids {
            let record = rig.ended(&id).await;
            assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Success, "robot"), "{record:?}");
            assert!(record.end_reason.starts_with("utterance "), "{record:?}");
            assert!(record.faults.is_empty(), "{:?}", record.faults);
            let said = record.turns.iter().filter(|turn| turn.role == "speech");
            let said: Vec<_> = said.map(|turn| (turn.text.as_str(), turn.stop_ms - turn.start_ms)).collect();
            // 60 ms a character.
            assert_eq!(said, [("Hello there", 660), ("Goodbye", 420)], "{record:?}");
        }
        phone.done().await;
        rig.idle().await;
    }
}

#[tokio::test]
async fn a_robot_on_grpcs_own_server_hears_answers_and_hangs_up() {
    Stage::set(json!({})).await.calls(1).await;
}

#[tokio::test]
async fn one_that_takes_two_streams_on_a_connection_serves_eight_calls_at_once() {
    Stage::set(json!({ "streams": 2 })).await.calls(8).await;
}

/// As behind proxies that want connections to be made anew now and then.
#[tokio::test]
async fn one_whose_connections_grow_old_ends_no_call() {
    let stage = Stage::set(json!({ "age_ms": 1_000 })).await;
    for _ in 0..3 {
        stage.calls(4).await;
    }
}
