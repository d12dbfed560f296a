//! What had to happen, ticked off as it does, and what the files say.

use std::collections::BTreeSet;
use std::path::Path;

use crate::proto::control::v1::{CallRecord, Outcome};

/// What has to happen, in the order in which it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Must {
    PhoneRang,
    PhoneAnswered,
    Greeted,
    Partial,
    UnderstoodDay,
    AnsweredDay,
    UnderstoodTime,
    Interrupted,
    UnderstoodInterruption,
    Key,
    ActedOnKey,
    LastWord,
    HungUpAfterIt,
    NoTrouble,
    Record,
    Recording,
}

const ALL: [(Must, &str); 16] = [
    (Must::PhoneRang, "the phone rang: the robot was told by gRPC to dial"),
    (Must::PhoneAnswered, "the phone answered"),
    (Must::Greeted, "the robot greeted the caller"),
    (Must::Partial, "partial results came while the caller spoke"),
    (Must::UnderstoodDay, "the caller's sentence was recognised: Friday"),
    (Must::AnsweredDay, "and answered in kind"),
    (Must::UnderstoodTime, "the second one too: afternoon"),
    (Must::Interrupted, "the caller interrupted the long prompt, and the robot fell silent"),
    (Must::UnderstoodInterruption, "what the caller said then was recognised"),
    (Must::Key, "the caller's key arrived as an RFC 4733 event: 1, once"),
    (Must::ActedOnKey, "and the robot acted on it"),
    (Must::LastWord, "the robot said goodbye to the end"),
    (Must::HungUpAfterIt, "and hung up after its last word"),
    (Must::NoTrouble, "no service had trouble"),
    (Must::Record, "the call record is on disk, and says the same"),
    (Must::Recording, "the stereo recording is on disk: two voices, as long as the talk"),
];

/// The list, and what is needed to tick it.
#[derive(Debug, Default)]
pub(super) struct Checks {
    happened: BTreeSet<Must>,
    troubles: Vec<String>,
    /// What the call's record says of its recording, beyond where it lies.
    notes: Vec<String>,
    keys: String,
    last_finish_ms: u32,
    said: String,
    latencies: Vec<String>,
    record: Option<CallRecord>,
    wav: String,
    json: String,
}

impl Checks {
    pub(super) fn happened(&mut self, must: Must) {
        self.happened.insert(must);
    }

    pub(super) fn prompt_started(&mut self, text: &str, after_utterance_ms: Option<u32>) {
        let said = text.to_lowercase();
        if said.contains("hello") {
            self.happened(Must::Greeted);
        }
        if said.contains("friday") && said.contains("morning or") && self.happened.contains(&Must::UnderstoodDay) {
            self.happened(Must::AnsweredDay);
        }
        if said.contains("goodbye") && self.happened.contains(&Must::Key) {
            self.happened(Must::ActedOnKey);
        }
        if let Some(ms) = after_utterance_ms {
            let short: String = text.chars().take(40).collect();
            self.latencies.push(format!("{ms:>5} ms from the caller's last word to: {short} …"));
        }
        self.said = said;
    }

    pub(super) fn prompt_finished(&mut self, at_ms: u32) {
        self.last_finish_ms = at_ms;
        if self.said.contains("goodbye") {
            self.happened(Must::LastWord);
        }
    }

    pub(super) fn interrupted(&mut self, by: &str, reaction_ms: u32) {
        if by == "speech" {
            self.happened(Must::Interrupted);
            self.latencies.push(format!("{reaction_ms:>5} ms from the caller's first sound to the robot's silence (200 ms of speech count as one)"));
        }
    }

    pub(super) fn utterance(&mut self, text: &str) {
        let text = text.to_lowercase();
        let has = |word: &str| text.contains(word);
        if has("friday") {
            self.happened(Must::UnderstoodDay);
        }
        if has("afternoon") {
            self.happened(Must::UnderstoodTime);
        }
        if has("moment") {
            self.happened(Must::UnderstoodInterruption);
        }
    }

    pub(super) fn key(&mut self, key: &str) {
        self.keys.push_str(key);
        if self.keys == "1" {
            self.happened(Must::Key);
        } else {
            self.happened.remove(&Must::Key);
        }
    }

    pub(super) fn trouble(&mut self, reason: String) {
        self.troubles.push(reason);
    }

    pub(super) fn files(&mut self, wav: String, json: String) {
        (self.wav, self.json) = (wav, json);
    }

    pub(super) fn ended(&mut self, record: CallRecord) {
        let after_last_word = record.talk_ms.saturating_sub(self.last_finish_ms);
        if record.hung_up_by == "robot" && (150..2_000).contains(&after_last_word) {
            self.happened(Must::HungUpAfterIt);
        }
        // A busy machine may oversleep a frame: whether the recording is one is seen by looking at it, and what it lacks is told.
        let (of_recording, of_services): (Vec<_>, Vec<_>) =
            record.faults.iter().cloned().partition(|fault| fault.starts_with("recording: "));
        self.troubles.extend(of_services);
        self.notes.extend(of_recording);
        if self.troubles.is_empty() {
            self.happened(Must::NoTrouble);
        }
        self.record = Some(record);
    }

    /// Looks at the files; says where they lie and how long each answer took.
    pub(super) fn verify(&mut self, folder: &Path) -> Vec<String> {
        if self.record_says_the_same() {
            self.happened(Must::Record);
        }
        let recording = self.recording();
        if recording.is_ok() {
            self.happened(Must::Recording);
        }
        let mut lines = self.latencies.clone();
        lines.push(format!("recording (left the caller, right the robot): {}", self.wav));
        lines.push(recording.unwrap_or_else(|reason| reason));
        lines.append(&mut self.notes);
        lines.push(format!("call record: {}", self.json));
        lines.push(format!("logs, configuration, what the phone heard: {}", folder.display()));
        lines
    }

    /// Each, and whether it happened.
    pub(super) fn list(&self) -> impl Iterator<Item = (bool, &'static str)> {
        ALL.iter().map(|(must, text)| (self.happened.contains(must), *text))
    }

    /// What did not happen.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = self.list().filter(|(done, _)| !done).map(|(_, text)| text.to_owned());
        missing.chain(self.troubles.iter().cloned()).collect()
    }

    fn record_says_the_same(&self) -> bool {
        let Some(told) = &self.record else { return false };
        let Ok(text) = std::fs::read_to_string(&self.json) else { return false };
        let Ok(json) = serde_json::from_str::<serde_json::Value>(&text) else { return false };
        let turns = json["turns"].as_array().map_or(0, Vec::len);
        told.outcome() == Outcome::Success
            && json["outcome"] == "success"
            && json["call_id"] == told.call_id.as_str()
            && json["keys"] == "1"
            && json["labels"]["intent"] == "confirmed"
            && turns == told.turns.len()
            && turns >= 8
    }

    /// Both channels hold a voice, and the whole talk.
    fn recording(&self) -> Result<String, String> {
        let talk_ms = self.record.as_ref().map_or(0, |record| record.talk_ms);
        let wrong = |error: hound::Error| format!("the recording cannot be read: {error}");
        let mut wav = hound::WavReader::open(&self.wav).map_err(wrong)?;
        let spec = wav.spec();
        let samples: Vec<i16> = wav.samples().collect::<Result<_, _>>().map_err(wrong)?;
        let length_ms = samples.len() as u64 / 2 * 1_000 / u64::from(spec.sample_rate.max(1));
        let loud = |side: usize| samples.iter().skip(side).step_by(2).filter(|s| s.unsigned_abs() > 1_000).count();
        let told = format!("it is {length_ms} ms long, {} Hz, {} channels", spec.sample_rate, spec.channels);
        let complete = length_ms.abs_diff(u64::from(talk_ms)) < 300;
        if spec.channels == 2 && loud(0) > 4_000 && loud(1) > 4_000 && complete {
            Ok(told)
        } else {
            Err(format!("{told}; the talk was {talk_ms} ms; loud samples left {}, right {}", loud(0), loud(1)))
        }
    }
}
