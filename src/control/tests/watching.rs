//! `Watch`: every event, in order, and again after a break.

use std::collections::BTreeMap;
use std::time::Instant;

use tonic::{Code, Streaming};

use super::*;
use crate::call::collection::Collected;
use crate::call::event::{Event, Service, Stage, StoppedBy, What};
use crate::call::knobs::Clamp;
use crate::call::line::{Heard, HungUpBy, Parties, Quality, ReferAsked, Utterance};
use crate::call::quality::Occasion;
use crate::call::record::{
    Announcement, AnsweredBy, CallRecord, EarlyText, HeardTone, Lately, LineCodec, LineQuality, Look, Outcome, Pause,
    PeerQuality, ReceivedUui, Role, Transfer, Turn,
};
use crate::call::transfer::Handed;
use crate::dsp::tone::progress;
use crate::ms::Ms;
use crate::proto::dialogue::v1 as dialogue;
use crate::rtp::xr::VoipMetrics;
use proto::event::{self as happened, Event as Told};

fn event(call_id: &str, what: What) -> Event {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
    Event { call_id: call_id.into(), wall, at: Ms(30), correlation: "z".into(), what }
}

fn silence(call_id: &str, count: u32) -> Event {
    event(call_id, What::NoInput { count })
}

impl Served {
    async fn watch(&mut self, request: proto::WatchRequest) -> Streaming<proto::Event> {
        self.client.watch(request).await.expect("is served").into_inner()
    }
}

async fn next(events: &mut Streaming<proto::Event>) -> proto::Event {
    let next = tokio::time::timeout(Duration::from_secs(2), events.message()).await;
    next.expect("within 2 s").expect("no fault").expect("an event")
}

async fn numbers(events: &mut Streaming<proto::Event>, how_many: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..how_many {
        numbers.push(next(events).await.sequence);
    }
    numbers
}

fn oldest() -> proto::WatchRequest {
    proto::WatchRequest { from_oldest: true, ..Default::default() }
}

#[tokio::test]
async fn a_client_that_was_away_misses_nothing() {
    let mut served = serve(100).await;
    (1..=5).for_each(|n| served.journal.tell(silence("a", n)));
    let mut events = served.watch(oldest()).await;
    assert_eq!(numbers(&mut events, 5).await, [1, 2, 3, 4, 5]);
    drop(events);
    (6..=9).for_each(|n| served.journal.tell(silence("a", n)));
    let mut events = served.watch(proto::WatchRequest { after_sequence: 5, ..Default::default() }).await;
    assert_eq!(numbers(&mut events, 4).await, [6, 7, 8, 9]);
    served.journal.tell(silence("a", 10));
    assert_eq!(numbers(&mut events, 1).await, [10]);
}

#[tokio::test]
async fn zero_is_from_now_on() {
    let mut served = serve(100).await;
    served.journal.tell(silence("a", 1));
    let mut events = served.watch(proto::WatchRequest::default()).await;
    served.journal.tell(silence("a", 2));
    assert_eq!(numbers(&mut events, 1).await, [2]);
}

#[tokio::test]
async fn too_old_names_the_oldest() {
    let mut served = serve(3).await;
    (1..=10).for_each(|n| served.journal.tell(silence("a", n)));
    let request = proto::WatchRequest { after_sequence: 2, ..Default::default() };
    let status = served.client.watch(request).await.expect_err("no longer kept");
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(status.message().starts_with("after_sequence: ") && status.message().contains('8'), "{}", status.message());
    let mut events = served.watch(oldest()).await;
    assert_eq!(numbers(&mut events, 3).await, [8, 9, 10]);
    let both = proto::WatchRequest { after_sequence: 9, ..oldest() };
    assert_eq!(served.client.watch(both).await.expect_err("contradictory").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn filters() {
    let mut served = serve(100).await;
    let partial = || What::Partial { utterance: 1, text: "he".into(), early: false };
    for told in [silence("a", 1), silence("b", 1), event("a", partial()), event("b", partial()), silence("a", 2)] {
        served.journal.tell(told);
    }
    let of_a = proto::WatchRequest { call_id: "a".into(), ..oldest() };
    assert_eq!(numbers(&mut served.watch(of_a.clone()).await, 2).await, [1, 5]);
    let partials = proto::WatchRequest { partials: true, ..of_a };
    assert_eq!(numbers(&mut served.watch(partials).await, 3).await, [1, 3, 5]);
    assert_eq!(numbers(&mut served.watch(oldest()).await, 3).await, [1, 2, 5]);
}

/// What is of no call has its place among the others, and does not reach who watches one call.
#[tokio::test]
async fn a_trunk_that_changes_is_told_in_order() {
    let mut served = serve(100).await;
    let down = journal::Standing {
        trunk: "t".into(),
        up: false,
        registration: "failed",
        reason: "no answer; 403 Forbidden".into(),
    };
    served.journal.tell(silence("a", 1));
    served.journal.tell_trunk(down);
    served.journal.tell(silence("a", 2));
    let mut all = served.watch(oldest()).await;
    assert_eq!(next(&mut all).await.call_id, "a");
    let told = next(&mut all).await;
    assert!(told.wall_time.is_some());
    let reason = "no answer; 403 Forbidden".into();
    let trunk = happened::Trunk { trunk: "t".into(), up: false, registration: "failed".into(), reason };
    let expected = proto::Event { sequence: 2, event: Some(Told::Trunk(trunk)), ..Default::default() };
    assert_eq!(proto::Event { wall_time: None, ..told }, expected);
    assert_eq!(next(&mut all).await.sequence, 3);
    let of_a = proto::WatchRequest { call_id: "a".into(), ..oldest() };
    assert_eq!(numbers(&mut served.watch(of_a).await, 2).await, [1, 3]);
    let after = proto::WatchRequest { after_sequence: 1, ..Default::default() };
    assert_eq!(numbers(&mut served.watch(after).await, 2).await, [2, 3]);
}

#[tokio::test]
async fn a_slow_client_holds_up_nobody_and_is_told() {
    let mut served = serve(1_000).await;
    let mut slow = served.watch(oldest()).await;
    let mut quick = served.watch(oldest()).await;
    let long = "x".repeat(2_000);
    for n in 1..=3_000 {
        served.journal.tell(event("a", What::ServiceTrouble { service: Service::Dialogue, reason: long.clone() }));
        assert_eq!(next(&mut quick).await.sequence, n);
    }
    let mut last = 0;
    let status = loop {
        match slow.message().await {
            Ok(Some(event)) => {
                assert_eq!(event.sequence, last + 1, "without gaps as far as it goes");
                last = event.sequence;
            }
            Ok(None) => panic!("it ends without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::DataLoss);
    assert!(status.message().contains("too slow"), "{}", status.message());
}

#[tokio::test]
async fn the_shutdown_gives_what_there_is_and_ends() {
    let mut served = serve(100).await;
    let mut events = served.watch(oldest()).await;
    (1..=3).for_each(|n| served.journal.tell(silence("a", n)));
    let begun = Instant::now();
    served.stop.send(()).expect("the server is up");
    assert_eq!(numbers(&mut events, 3).await, [1, 2, 3]);
    assert_eq!(events.message().await.expect_err("over").code(), Code::Unavailable);
    drop((events, served.client, served.channel));
    assert!(served.server.await.expect("no panic").is_ok());
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn every_event_is_told_whole() {
    let mut served = serve(100).await;
    let heard = Heard { prompt_id: "p".into(), heard: Ms(5), segment: 1, characters: 2 };
    let told_heard = dialogue::Heard { prompt_id: "p".into(), heard_ms: 5, segment: 1, characters: 2 };
    let said = Utterance {
        utterance: 4,
        text: "yes".into(),
        alternatives: Vec::new(),
        start: Ms(1),
        stop: Ms(2),
        during_prompt: false,
        too_long: false,
        interrupted: None,
        confidence: None,
        quality: Quality::Final,
        filler: false,
        early: true,
        ended_early: true,
    };
    let told_said = dialogue::Utterance {
        utterance_id: 4,
        text: "yes".into(),
        start_ms: 1,
        stop_ms: 2,
        quality: dialogue::TextQuality::Final.into(),
        early_media: true,
        ended_early: true,
        ..Default::default()
    };
    let clamp = Clamp { knob: "endpoint_ms", asked: Ms(50), used: Ms(200) };
    let cases = vec![
        (
            What::Dialling {
                trunk: "t".into(),
                callee: "2".into(),
                caller: "1".into(),
                transferred_from: Some("first".into()),
            },
            Told::Dialling(happened::Dialling {
                trunk: "t".into(),
                callee: "2".into(),
                caller: "1".into(),
                transferred_from: "first".into(),
            }),
        ),
        (
            What::Ringing { sip_code: 183, early_media: true },
            Told::Ringing(happened::Ringing { sip_code: 183, early_media: true }),
        ),
        (
            What::Answered {
                codec: "PCMA",
                remote_media: "127.0.0.1:4000".parse().expect("an address"),
                srtp: "AEAD_AES_256_GCM",
            },
            Told::Answered(happened::Answered {
                codec: "PCMA".into(),
                remote_media: "127.0.0.1:4000".into(),
                srtp: "AEAD_AES_256_GCM".into(),
            }),
        ),
        (
            What::Incoming {
                trunk: "t".into(),
                parties: Box::new(Parties {
                    caller: "1".into(),
                    callee: "2".into(),
                    caller_name: "n".into(),
                    withheld: true,
                    diverted_from: "3".into(),
                    diversion_reason: "r".into(),
                }),
                waiting: true,
                user_to_user: vec!["u".into(), "04;encoding=hex;purpose=p".into()],
            },
            Told::Incoming(happened::Incoming {
                trunk: "t".into(),
                caller: "1".into(),
                callee: "2".into(),
                waiting: true,
                user_to_user: "u, 04;encoding=hex;purpose=p".into(),
                user_to_user_values: vec![
                    dialogue::UserToUser { written: "u".into(), ..Default::default() },
                    dialogue::UserToUser {
                        written: "04;encoding=hex;purpose=p".into(),
                        bytes: vec![4],
                        purpose: "p".into(),
                        ..Default::default()
                    },
                ],
                caller_name: "n".into(),
                withheld: true,
                diverted_from: "3".into(),
                diversion_reason: "r".into(),
            }),
        ),
        (
            What::Transfer {
                stage: Stage::Failed(Handed::Failed),
                target: "sip:8@h".into(),
                sip_code: 486,
                reason: "Busy".into(),
                call_id: Some("agent".into()),
            },
            Told::Transfer(happened::Transfer {
                stage: happened::transfer::Stage::Failed.into(),
                target: "sip:8@h".into(),
                sip_code: 486,
                reason: "Busy".into(),
                call_id: "agent".into(),
            }),
        ),
        (
            What::Hold { by_us: true, by_far_end: false, sip_code: 488, reason: "no".into() },
            Told::Hold(happened::Hold { by_us: true, by_far_end: false, sip_code: 488, reason: "no".into() }),
        ),
        (
            What::Quality {
                trunk: "t".into(),
                occasion: Occasion::Poor,
                look: Box::new(Look {
                    so_far: LineQuality { received: 3, ..LineQuality::default() },
                    lately: Some(Lately { loss_rate: 0.5, discard_rate: 0.25, mos_lq: 2.0 }),
                }),
            },
            Told::Quality(happened::Quality {
                trunk: "t".into(),
                occasion: "poor".into(),
                so_far: Some(proto::call_record::Quality { received: 3, ..Default::default() }),
                lately: Some(happened::quality::Lately { loss_rate: 0.5, discard_rate: 0.25, mos_lq: 2.0 }),
            }),
        ),
        (
            What::ReferRefused { target: "sip:8@h".into(), sip_code: 603, why: "policy" },
            Told::ReferRefused(happened::ReferRefused {
                target: "sip:8@h".into(),
                sip_code: 603,
                why: "policy".into(),
            }),
        ),
        (
            What::ReferAsked(Box::new(ReferAsked {
                target: "sip:8@h".into(),
                headers: vec![("X-Task".into(), "7".into())],
                user_to_user: vec!["u".into()],
                referred_by: "<sip:9@h>".into(),
                replaces: "c;to-tag=1;from-tag=2".into(),
                within: Ms(5_000),
            })),
            Told::ReferAsked(dialogue::ReferAsked {
                target: "sip:8@h".into(),
                headers: vec![dialogue::Header { name: "X-Task".into(), value: "7".into() }],
                user_to_user: vec![dialogue::UserToUser { written: "u".into(), ..Default::default() }],
                referred_by: "<sip:9@h>".into(),
                replaces: "c;to-tag=1;from-tag=2".into(),
                answer_within_ms: 5_000,
            }),
        ),
        (
            What::Referred {
                stage: Stage::Answered(Handed::Transferred),
                target: "sip:8@h".into(),
                sip_code: 200,
                reason: "r".into(),
            },
            Told::Referred(happened::Referred {
                stage: happened::transfer::Stage::Answered.into(),
                target: "sip:8@h".into(),
                sip_code: 200,
                reason: "r".into(),
            }),
        ),
        (
            What::UserToUser { carrier: "answer", values: vec!["u".into()] },
            Told::UserToUser(happened::UserToUserReceived {
                carrier: "answer".into(),
                values: vec![dialogue::UserToUser { written: "u".into(), ..Default::default() }],
            }),
        ),
        (
            What::Rerouted { trunk: "t".into(), reason: "503".into() },
            Told::Rerouted(happened::Rerouted { trunk: "t".into(), reason: "503".into() }),
        ),
        (
            What::PromptStarted { prompt_id: "p".into(), text: "hi".into(), after_utterance: Some(Ms(8)) },
            Told::PromptStarted(happened::PromptStarted {
                prompt_id: "p".into(),
                text: "hi".into(),
                after_utterance_ms: Some(8),
            }),
        ),
        (
            What::PromptFinished { prompt_id: "p".into(), length: Ms(9), fault: "f".into() },
            Told::PromptFinished(happened::PromptFinished { prompt_id: "p".into(), length_ms: 9, fault: "f".into() }),
        ),
        (
            What::PromptInterrupted { heard, by: StoppedBy::Key, reaction: Ms(3) },
            Told::PromptInterrupted(happened::PromptInterrupted {
                heard: Some(told_heard),
                by: "key".into(),
                reaction_ms: 3,
            }),
        ),
        (
            What::Mark { prompt_id: "p".into(), mark: "m".into() },
            Told::PromptMark(dialogue::Mark { prompt_id: "p".into(), mark: "m".into() }),
        ),
        (
            What::SpeechStarted { utterance: 4, start: Ms(1), during_prompt: true, early: true },
            Told::SpeechStarted(happened::SpeechStarted {
                utterance_id: 4,
                start_ms: 1,
                during_prompt: true,
                early_media: true,
            }),
        ),
        (
            What::Partial { utterance: 4, text: "ye".into(), early: true },
            Told::Utterance(happened::Utterance {
                utterance: Some(dialogue::Utterance {
                    utterance_id: 4,
                    text: "ye".into(),
                    early_media: true,
                    ..Default::default()
                }),
                r#final: false,
                latency_ms: 0,
            }),
        ),
        (
            What::Utterance { utterance: Box::new(said), latency: Ms(800) },
            Told::Utterance(happened::Utterance { utterance: Some(told_said), r#final: true, latency_ms: 800 }),
        ),
        (What::NoInput { count: 2 }, Told::NoInput(dialogue::NoInput { count: 2 })),
        (
            What::PromptPaused { prompt_id: "p".into(), utterance: 4 },
            Told::PromptPaused(happened::PromptPaused { prompt_id: "p".into(), utterance_id: 4 }),
        ),
        (
            What::PromptResumed { prompt_id: "p".into() },
            Told::PromptResumed(happened::PromptResumed { prompt_id: "p".into() }),
        ),
        (
            What::KeysCollected { result: Collected::NotInTime, digits: "xx".into() },
            Told::KeysCollected(dialogue::Keys { result: -1, digits: "xx".into() }),
        ),
        (What::Announcement(announcement()), Told::Announcement(announcement_told())),
        (
            What::AnsweredBy(AnsweredBy { who: "machine", reason: "long_greeting", at: Ms(22), before_answer: false }),
            Told::AnsweredBy(dialogue::AnsweredBy {
                who: "machine".into(),
                reason: "long_greeting".into(),
                at_ms: 22,
                before_answer: false,
            }),
        ),
        (
            What::Tone { heard: progress::Heard::Busy, start: Ms(21), before_answer: true },
            Told::Tone(happened::Tone { what: "busy".into(), start_ms: 21, before_answer: true }),
        ),
        (What::Key { key: '*' }, Told::Key(happened::Key { key: "*".into() })),
        (
            What::KnobClamped(clamp),
            Told::KnobClamped(happened::KnobClamped { knob: "endpoint_ms".into(), asked: 50, used: 200 }),
        ),
        (
            What::ServiceTrouble { service: Service::Synthesis, reason: "r".into() },
            Told::ServiceTrouble(happened::ServiceTrouble { service: "synthesis".into(), reason: "r".into() }),
        ),
        (
            What::RecordPaused { on: true, from: Ms(1_240) },
            Told::RecordPaused(happened::RecordPaused { on: true, from_ms: 1_240 }),
        ),
        (What::Muted { on: true, from: Ms(60) }, Told::Muted(dialogue::Muted { on: true, from_ms: 60 })),
        (
            What::RecordReady {
                wav: "a.wav".into(),
                json: "a.json".into(),
                wav_url: "s3://b/a.wav".into(),
                json_url: "s3://b/a.json".into(),
            },
            Told::RecordReady(happened::RecordReady {
                wav: "a.wav".into(),
                json: "a.json".into(),
                wav_url: "s3://b/a.wav".into(),
                json_url: "s3://b/a.json".into(),
            }),
        ),
        (
            What::RecordUploaded {
                wav: "s3://b/a.wav".into(),
                json: "s3://b/a.json".into(),
                bytes: 17,
                attempts: 2,
                reason: "full".into(),
            },
            Told::RecordUploaded(happened::RecordUploaded {
                wav_url: "s3://b/a.wav".into(),
                json_url: "s3://b/a.json".into(),
                bytes: 17,
                attempts: 2,
                reason: "full".into(),
            }),
        ),
        (What::Ended(Box::new(record())), Told::Ended(happened::Ended { record: Some(told_record()) })),
    ];
    let mut events = served.watch(proto::WatchRequest { partials: true, ..oldest() }).await;
    for (n, (what, told)) in cases.into_iter().enumerate() {
        served.journal.tell(event("c", what));
        let expected = proto::Event {
            sequence: n as u64 + 1,
            call_id: "c".into(),
            wall_time: Some(prost_types::Timestamp { seconds: 9, nanos: 0 }),
            at_ms: 30,
            correlation: "z".into(),
            event: Some(told),
        };
        assert_eq!(next(&mut events).await, expected);
    }
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn record() -> CallRecord {
    CallRecord {
        call_id: "c".into(),
        direction: "inbound",
        trunk: "t".into(),
        caller: "1".into(),
        callee: "2".into(),
        started_at: at(1),
        rang_at: None,
        answered_at: Some(at(3)),
        ended_at: at(4),
        setup_ms: Ms(5),
        talk_ms: Ms(6),
        outcome: Outcome::Linebusy,
        sip_code: 486,
        sip_reason: "Busy Here".into(),
        hung_up_by: HungUpBy::Network,
        end_reason: "e".into(),
        keys: "1#".into(),
        turns: vec![Turn {
            role: Role::Voice,
            text: "hi".into(),
            start: Ms(7),
            stop: Ms(8),
            length_ms: Ms(1),
            interrupted: true,
            interrupted_at: Some(Ms(9)),
            silent: true,
            id: "u1".into(),
            answered_after_ms: Some(Ms(10)),
        }],
        quality: LineQuality {
            codec: Some(LineCodec {
                name: "opus",
                clock_rate: 48_000,
                channels: 2,
                ptime_in: Some(Ms(40)),
                ptime_out: Ms(60),
            }),
            received: 11,
            lost: 12,
            recovered: 18,
            late: 13,
            concealed: 14,
            jitter_ms: Ms(15),
            sent: 16,
            under_runs: 17,
            peer: Some(PeerQuality {
                lost: 8,
                jitter_ms: Ms(9),
                round_trip_ms: Some(Ms(10)),
                heard: Some(VoipMetrics { loss_rate: 0.0625, ..VoipMetrics::default() }),
            }),
            heard: Some(VoipMetrics {
                loss_rate: 0.25,
                discard_rate: 0.5,
                burst_density: 0.75,
                gap_density: 0.125,
                burst_ms: Ms(18),
                gap_ms: Ms(19),
                round_trip_ms: Some(Ms(20)),
                end_system_ms: Some(Ms(21)),
                signal_dbm0: Some(-22),
                noise_dbm0: Some(-23),
                echo_loss_db: Some(24),
                r_factor: Some(25.0),
                mos_lq: Some(2.5),
                mos_cq: Some(3.5),
                buffer_ms: Some(Ms(26)),
                buffer_max_ms: Some(Ms(27)),
            }),
        },
        labels: BTreeMap::from([("intent".to_string(), "x".to_string())]),
        faults: vec!["f".into()],
        wav: "a.wav".into(),
        wav_url: "s3://b/a.wav".into(),
        recording_pauses: vec![Pause { start: Ms(20), stop: Ms(21) }],
        recording_answer: Some(Ms(4_000)),
        mutes: vec![Pause { start: Ms(22), stop: Ms(23) }],
        request_id: "r".into(),
        correlation: "z".into(),
        sip_call_id: "s".into(),
        transfers: vec![Transfer {
            kind: "refer",
            target: "sip:8@h".into(),
            result: -1,
            sip_code: 603,
            outcome: Handed::Refused,
            reason: "Decline".into(),
            start: Ms(18),
            stop: Ms(19),
            call_id: "agent".into(),
        }],
        user_to_user: vec![ReceivedUui { carrier: "bye", value: "04ff".into() }],
        early_media_at: Some(SystemTime::UNIX_EPOCH),
        early_text: vec![EarlyText { text: "no such number".into(), start: Ms(1), stop: Ms(2) }],
        announcement: Some(announcement()),
        srtp: "AES_CM_128_HMAC_SHA1_80",
        tones: vec![HeardTone { what: "busy", start: Ms(21), before_answer: true }],
        answered_by: vec![AnsweredBy { who: "human", reason: "short_greeting", at: Ms(22), before_answer: false }],
        transferred_from: "first".into(),
    }
}

fn told_record() -> proto::CallRecord {
    let stamp = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    proto::CallRecord {
        call_id: "c".into(),
        direction: dialogue::Direction::Inbound.into(),
        trunk: "t".into(),
        caller: "1".into(),
        callee: "2".into(),
        started_at: stamp(1),
        rang_at: None,
        answered_at: stamp(3),
        ended_at: stamp(4),
        setup_ms: 5,
        talk_ms: 6,
        outcome: proto::Outcome::Linebusy.into(),
        sip_code: 486,
        sip_reason: "Busy Here".into(),
        hung_up_by: "network".into(),
        end_reason: "e".into(),
        keys: "1#".into(),
        turns: vec![proto::call_record::Turn {
            role: "voice".into(),
            text: "hi".into(),
            start_ms: 7,
            stop_ms: 8,
            interrupted: true,
            interrupted_at_ms: 9,
            silent: true,
            id: "u1".into(),
            answered_after_ms: Some(10),
        }],
        quality: Some(proto::call_record::Quality {
            codec: Some(proto::call_record::Codec {
                name: "opus".into(),
                clock_rate_hz: 48_000,
                channels: 2,
                ptime_in_ms: Some(40),
                ptime_out_ms: 60,
            }),
            received: 11,
            lost: 12,
            recovered: 18,
            late: 13,
            concealed: 14,
            jitter_ms: 15,
            sent: 16,
            under_runs: 17,
            peer_lost: Some(8),
            peer_jitter_ms: Some(9),
            round_trip_ms: Some(10),
            heard: Some(proto::VoipMetrics {
                loss_rate: 0.25,
                discard_rate: 0.5,
                burst_density: 0.75,
                gap_density: 0.125,
                burst_ms: 18,
                gap_ms: 19,
                round_trip_ms: Some(20),
                end_system_ms: Some(21),
                signal_dbm0: Some(-22),
                noise_dbm0: Some(-23),
                echo_loss_db: Some(24),
                r_factor: Some(25.0),
                mos_lq: Some(2.5),
                mos_cq: Some(3.5),
                buffer_ms: Some(26),
                buffer_max_ms: Some(27),
            }),
            peer_heard: Some(proto::VoipMetrics { loss_rate: 0.0625, ..Default::default() }),
        }),
        labels: [("intent".to_string(), "x".to_string())].into(),
        faults: vec!["f".into()],
        wav: "a.wav".into(),
        wav_url: "s3://b/a.wav".into(),
        recording_pauses: vec![proto::call_record::Pause { start_ms: 20, stop_ms: 21 }],
        recording_answer_ms: Some(4_000),
        mutes: vec![proto::call_record::Pause { start_ms: 22, stop_ms: 23 }],
        request_id: "r".into(),
        correlation: "z".into(),
        sip_call_id: "s".into(),
        transfers: vec![proto::call_record::Transfer {
            kind: "refer".into(),
            target: "sip:8@h".into(),
            result: -1,
            sip_code: 603,
            outcome: "refused".into(),
            reason: "Decline".into(),
            start_ms: 18,
            stop_ms: 19,
            call_id: "agent".into(),
        }],
        user_to_user: vec![proto::call_record::UserToUser { carrier: "bye".into(), value: "04ff".into() }],
        early_media_at: Some(prost_types::Timestamp::default()),
        early_text: vec![proto::call_record::EarlyText { text: "no such number".into(), start_ms: 1, stop_ms: 2 }],
        announcement: Some(announcement_told()),
        srtp: "AES_CM_128_HMAC_SHA1_80".into(),
        tones: vec![happened::Tone { what: "busy".into(), start_ms: 21, before_answer: true }],
        answered_by: vec![dialogue::AnsweredBy {
            who: "human".into(),
            reason: "short_greeting".into(),
            at_ms: 22,
            before_answer: false,
        }],
        transferred_from: "first".into(),
    }
}

fn announcement() -> Announcement {
    Announcement {
        text: "it is switched off".into(),
        rule: "us: switched off".into(),
        outcome: Outcome::Poweroff,
        start: Ms(23),
        stop: Ms(24),
    }
}

fn announcement_told() -> happened::Announcement {
    happened::Announcement {
        text: "it is switched off".into(),
        rule: "us: switched off".into(),
        outcome: proto::Outcome::Poweroff.into(),
        start_ms: 23,
        stop_ms: 24,
    }
}
