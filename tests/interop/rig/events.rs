//! What `Watch` tells.

use std::time::Duration;

use serde_json::Value;
use tonic::Streaming;
pub use trunkline::proto::control::v1::event::Event as Happened;
use trunkline::proto::control::v1::event::Hold;
use trunkline::proto::control::v1::event::transfer::Stage;
use trunkline::proto::control::v1::{CallRecord, Event, ListTrunksRequest, WatchRequest};

use super::{PATIENCE, Rig, soon};

impl Rig {
    /// All events of a call, or of all calls, from the first one on.
    pub async fn watch(&self, call_id: &str) -> Streaming<Event> {
        let request = WatchRequest { from_oldest: true, call_id: call_id.to_owned(), ..Default::default() };
        self.control().watch(request).await.expect("events").into_inner()
    }

    /// Waits for an event of a call (or of any, if the id is empty) that has what is looked for.
    pub async fn find<T>(&self, call_id: &str, looked_for: impl FnMut(&Event) -> Option<T>) -> T {
        self.find_within(PATIENCE, call_id, looked_for).await
    }

    /// As [`Rig::find`], with more or less patience.
    pub async fn find_within<T>(
        &self,
        patience: Duration,
        call_id: &str,
        mut looked_for: impl FnMut(&Event) -> Option<T>,
    ) -> T {
        let mut seen = Vec::new();
        let mut events = self.watch(call_id).await;
        let search = async {
            while let Some(event) = events.message().await.expect("no error") {
                if let Some(found) = looked_for(&event) {
                    return Some(found);
                }
                seen.push(format!("{:?}", event.event));
            }
            None
        };
        let found = tokio::time::timeout(patience, search).await.ok().flatten();
        found.unwrap_or_else(|| panic!("not among the events in {} s:\n{}", patience.as_secs(), seen.join("\n")))
    }

    /// How a trunk stood after its n-th change, from 0.
    pub async fn stood(&self, trunk: &str, n: usize) -> trunkline::proto::control::v1::event::Trunk {
        let mut count = 0;
        self.find("", |event| {
            let Some(Happened::Trunk(stands)) = &event.event else { return None };
            assert_eq!((event.call_id.as_str(), event.correlation.as_str(), event.at_ms), ("", "", 0));
            assert!(event.wall_time.is_some());
            count += usize::from(stands.trunk == trunk);
            (count > n).then(|| stands.clone())
        })
        .await
    }

    /// Waits until the first trunk is registered.
    pub async fn registered(&self) {
        soon("registered", PATIENCE, async || {
            let trunks = self.control().list_trunks(ListTrunksRequest {}).await.expect("an answer").into_inner().trunks;
            trunks[0].registration == "registered"
        })
        .await;
    }

    /// Waits for the n-th hold or resume of a call that is told, from 0.
    pub async fn hold(&self, call_id: &str, n: usize) -> Hold {
        let mut count = 0;
        self.find(call_id, |event| {
            let Some(Happened::Hold(hold)) = &event.event else { return None };
            count += 1;
            (count > n).then(|| hold.clone())
        })
        .await
    }

    /// The same: whether we hold then, and whether it does.
    pub async fn held(&self, call_id: &str, n: usize) -> (bool, bool) {
        let hold = self.hold(call_id, n).await;
        (hold.by_us, hold.by_far_end)
    }

    /// Waits until so many keys have been told; all of them.
    pub async fn keys(&self, call_id: &str, count: usize) -> String {
        let mut keys = String::new();
        self.find(call_id, |event| {
            if let Some(Happened::Key(key)) = &event.event {
                keys.push_str(&key.key);
            }
            (keys.len() == count).then(|| keys.clone())
        })
        .await
    }

    /// Waits for the result of a transfer by REFER; all that was told of it, with the codes.
    pub async fn transferred(&self, call_id: &str) -> Vec<(Stage, u32)> {
        let mut told = Vec::new();
        self.find(call_id, |event| {
            let Some(Happened::Transfer(transfer)) = &event.event else { return None };
            told.push((transfer.stage(), transfer.sip_code));
            matches!(transfer.stage(), Stage::Answered | Stage::Failed).then(|| std::mem::take(&mut told))
        })
        .await
    }

    /// Waits until it rings.
    pub async fn ringing(&self, call_id: &str) {
        self.find(call_id, |event| matches!(event.event, Some(Happened::Ringing(_))).then_some(())).await;
    }

    /// Waits for the answer.
    pub async fn answered(&self, call_id: &str) {
        self.find(call_id, |event| matches!(event.event, Some(Happened::Answered(_))).then_some(())).await;
    }

    /// Waits until a prompt has been heard whole, without a fault.
    pub async fn finished(&self, call_id: &str, prompt: &str) {
        self.find(call_id, |event| match &event.event {
            Some(Happened::PromptFinished(done)) if done.prompt_id == prompt => {
                assert_eq!(done.fault, "", "{prompt}");
                Some(())
            }
            _ => None,
        })
        .await;
    }

    /// The id of the n-th call that came in, from 0, and its event.
    pub async fn incoming(&self, n: usize) -> (String, trunkline::proto::control::v1::event::Incoming) {
        let mut count = 0;
        self.find("", |event| {
            let Some(Happened::Incoming(incoming)) = &event.event else { return None };
            count += 1;
            (count > n).then(|| (event.call_id.clone(), incoming.clone()))
        })
        .await
    }

    /// The record as it is told: where nothing can be written there is no other.
    pub async fn told_record(&self, call_id: &str) -> CallRecord {
        self.find(call_id, |event| match &event.event {
            Some(Happened::Ended(ended)) => ended.record.clone(),
            _ => None,
        })
        .await
    }

    /// The record of a call, when it is over. What is on disk says the same.
    pub async fn ended(&self, call_id: &str) -> CallRecord {
        self.ended_within(PATIENCE, call_id).await
    }

    /// As [`Rig::ended`], with more patience.
    pub async fn ended_within(&self, patience: Duration, call_id: &str) -> CallRecord {
        let mut path = String::new();
        let record = self
            .find_within(patience, call_id, |event| match &event.event {
                Some(Happened::RecordReady(ready)) => {
                    path.clone_from(&ready.json);
                    None
                }
                Some(Happened::Ended(ended)) => ended.record.clone(),
                _ => None,
            })
            .await;
        let json = std::fs::read(&path).unwrap_or_else(|error| panic!("the record {path:?}: {error}"));
        let json: Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json["call_id"], record.call_id);
        assert_eq!(json["sip_code"], record.sip_code);
        let outcome = record.outcome().as_str_name().trim_start_matches("OUTCOME_").to_lowercase();
        assert_eq!(json["outcome"], outcome);
        assert_eq!(json["end_reason"], record.end_reason);
        assert_eq!(json["sip_call_id"], record.sip_call_id);
        record
    }
}
