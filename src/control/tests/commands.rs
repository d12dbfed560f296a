//! Every command, with fields that are right and fields that are wrong, over a real gRPC connection.

use tonic::Code;

use super::*;
use crate::ms::Ms;
use crate::proto::dialogue::v1 as dialogue;
use proto::send_request::{self, Command};

/// How an order is spoilt, and what is said of it.
type Case = (fn(&mut proto::DialRequest), Code, &'static str);

fn order(callee: &str) -> proto::DialRequest {
    proto::DialRequest { request_id: format!("r-{callee}"), callee: callee.into(), ..Default::default() }
}

fn header(name: &str, value: &str) -> Vec<dialogue::Header> {
    vec![dialogue::Header { name: name.into(), value: value.into() }]
}

fn hi() -> dialogue::Say {
    let text = dialogue::Text { text: "hi".into(), ..Default::default() };
    let segment = Some(dialogue::segment::Segment::Text(text));
    dialogue::Say { segments: vec![dialogue::Segment { segment, mark: String::new() }], ..Default::default() }
}

#[tokio::test]
async fn an_order_with_everything_comes_through() {
    let mut served = serve(10).await;
    let request = proto::DialRequest {
        request_id: "r".into(),
        callee: "sip:bob@example.com".into(),
        caller: "+49".into(),
        caller_name: "Ärztin".into(),
        trunk: "t".into(),
        ring_timeout: Some(prost_types::Duration { seconds: 30, nanos: 500_000_000 }),
        not_after: Some(prost_types::Timestamp { seconds: 2, nanos: 0 }),
        early_media_asr: Some(true),
        recording: Some(proto::dial_request::Recording { enabled: Some(false), name: "call 1".into() }),
        headers: header("X-Task", "a\tb"),
        user_to_user: "u".into(),
        variables: [("b".to_string(), "2".to_string()), ("a".to_string(), "1".to_string())].into(),
        dialogue: "d".into(),
        speech: "s".into(),
        knobs: Some(dialogue::Knobs { endpoint_ms: Some(50), ..Default::default() }),
        correlation: "c".into(),
        phrases: vec!["Trunkline".into()],
        answering_machine: Some(true),
        answering_machine_rules: Some(proto::dial_request::AnsweringMachineRules {
            initial_silence_ms: Some(1),
            greeting_ms: Some(2),
            after_greeting_ms: Some(3),
            min_word_ms: Some(4),
            word_pause_ms: Some(5),
            most_words: Some(6),
            longest_ms: Some(7),
            beep_wait_ms: Some(8),
            early_media: Some(true),
        }),
        user_to_user_values: vec![dialogue::UserToUser { bytes: vec![4], ..Default::default() }],
    };
    let answer = served.client.dial(request).await.expect("is dialled").into_inner();
    assert_eq!(answer.call_id, "c-sip:bob@example.com");
    let orders = served.fake.orders.lock().expect("nobody panics with it");
    let order = orders.first().expect("an order");
    let texts = [&order.request_id, &order.callee, &order.caller, &order.caller_name, &order.trunk];
    assert_eq!(texts, ["r", "sip:bob@example.com", "+49", "Ärztin", "t"]);
    let texts = [&order.recording_name, &order.user_to_user, &order.dialogue, &order.speech, &order.correlation];
    assert_eq!(texts, ["call 1", "u", "d", "s", "c"]);
    assert_eq!(order.phrases, ["Trunkline"]);
    assert_eq!(order.ring_timeout, Some(Duration::from_millis(30_500)));
    assert_eq!(order.not_after, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(2)));
    assert_eq!((order.record, order.early_media_asr), (Some(false), Some(true)));
    let headers = [("X-Task", "a\tb"), ("User-to-User", "04;encoding=hex")];
    assert_eq!(order.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(order.variables, [("a".into(), "1".into()), ("b".into(), "2".into())]);
    // By the names that the rules have, each its own; the switchboard looks at the values.
    let mut rules = crate::dsp::answerer::Rules::default();
    let given: Vec<_> = order.answerer_rules.iter().map(|(name, _)| *name).collect();
    assert_eq!(given, rules.named().map(|(name, ..)| name));
    assert_eq!(order.answerer_rules.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!((order.answering_machine, order.answerer_early_media), (Some(true), Some(true)));
    assert_eq!(order.knobs.endpoint, Some(Ms(50)), "the call clamps and reports it");
}

#[tokio::test]
async fn wrong_orders_name_the_field() {
    let mut served = serve(10).await;
    let ring = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let recording = |name: &str| Some(proto::dial_request::Recording { enabled: None, name: name.into() });
    let cases: [Case; 12] = [
        (|r| r.request_id.clear(), Code::InvalidArgument, "request_id: is empty"),
        (
            |r| r.request_id = "x".repeat(4097),
            Code::InvalidArgument,
            "request_id: has 4097 bytes, at most 4,096 are kept",
        ),
        (|r| r.callee.clear(), Code::InvalidArgument, "callee: is empty"),
        (
            |r| r.callee = "1\r\nX: y".into(),
            Code::InvalidArgument,
            "callee: has a space, a line break or one of < > \" ,",
        ),
        (|r| r.caller = "1>".into(), Code::InvalidArgument, "caller: has a space, a line break or one of < > \" ,"),
        (|r| r.callee = "1".repeat(257), Code::InvalidArgument, "callee: is longer than 256 bytes"),
        (
            |r| r.caller_name = "a\0".into(),
            Code::InvalidArgument,
            "caller_name: has a line break or another control character",
        ),
        (
            |r| r.user_to_user = "a\n".into(),
            Code::InvalidArgument,
            "user_to_user: has a line break or another control character",
        ),
        (
            |r| r.correlation = "x".repeat(5000),
            Code::InvalidArgument,
            "correlation: has 5000 bytes, at most 4,096 are kept",
        ),
        (
            |r| r.knobs = Some(dialogue::Knobs { ignore: vec!["?".into()], ..Default::default() }),
            Code::InvalidArgument,
            "knobs.ignore: \"?\" has no letter and no digit",
        ),
        (
            |r| r.variables = (0..65).map(|n| (n.to_string(), String::new())).collect(),
            Code::InvalidArgument,
            "variables: has 65 entries, at most 64 are taken",
        ),
        (
            |r| r.not_after = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: i32::MAX }),
            Code::InvalidArgument,
            "not_after: is no moment in time",
        ),
    ];
    for (spoil, code, message) in cases {
        let mut request = order("2");
        spoil(&mut request);
        let status = served.client.dial(request).await.expect_err(message);
        assert_eq!((status.code(), status.message()), (code, message));
    }
    for timeout in [ring(0, 999_999_999), ring(300, 1), ring(-5, 0), ring(i64::MAX, i32::MAX)] {
        let request = proto::DialRequest { ring_timeout: timeout, ..order("2") };
        let status = served.client.dial(request).await.expect_err("out of range");
        assert_eq!(status.message(), "ring_timeout: is out of range, 1 s to 300 s", "{timeout:?}");
    }
    for name in ["a/b", "a\\b", "..", ".hidden", "a\0", &"x".repeat(201)] {
        let request = proto::DialRequest { recording: recording(name), ..order("2") };
        let status = served.client.dial(request).await.expect_err(name);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("recording.name: "), "{}", status.message());
    }
    for (name, value, what) in [
        ("", "x", "headers[0].name: is not a token of RFC 3261"),
        ("X Y", "x", "headers[0].name: is not a token of RFC 3261"),
        ("X-Ä", "x", "headers[0].name: is not a token of RFC 3261"),
        ("X-A", "a\r\nVia: b", "headers[0].value: has a line break or another control character"),
        ("X-A", "a\0", "headers[0].value: has a line break or another control character"),
        ("rOuTe", "<sip:a>", "headers[0].name: rOuTe is written by Trunkline itself"),
        ("v", "SIP/2.0/UDP a", "headers[0].name: v is written by Trunkline itself"),
        ("Proxy-Authorization", "x", "headers[0].name: Proxy-Authorization is written by Trunkline itself"),
        ("Session-Expires", "90", "headers[0].name: Session-Expires is written by Trunkline itself"),
        ("user-to-user", "x", "headers[0].name: User-to-User has a field of its own: user_to_user"),
    ] {
        let request = proto::DialRequest { headers: header(name, value), ..order("2") };
        let status = served.client.dial(request).await.expect_err(what);
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, what));
    }
    assert!(served.fake.orders.lock().expect("nobody panics with it").is_empty(), "the switchboard saw none of them");
}

#[tokio::test]
async fn refusals_have_their_codes() {
    let mut served = serve(10).await;
    for (callee, code, message) in [
        ("full", Code::ResourceExhausted, "no_channel: trunk t has 30 channels"),
        ("busy", Code::ResourceExhausted, "overload: 97 % of 2.0 cores in use"),
        ("late", Code::FailedPrecondition, "not_after has passed"),
        ("drain", Code::Unavailable, "draining: no new calls are taken"),
        ("down", Code::Unavailable, "trunk t is down: no answer"),
        ("odd", Code::InvalidArgument, "trunk: there is no trunk x"),
    ] {
        let status = served.client.dial(order(callee)).await.expect_err(callee);
        assert_eq!((status.code(), status.message()), (code, message));
    }
    let unknown = proto::GetCallRequest { call_id: "no-such-call".into() };
    assert_eq!(served.client.get_call(unknown).await.expect_err("unknown").code(), Code::NotFound);
    let nameless = proto::GetCallRequest::default();
    assert_eq!(served.client.get_call(nameless).await.expect_err("nameless").code(), Code::InvalidArgument);
    let command = || Some(Command::Stop(dialogue::Stop {}));
    for (call_id, code) in
        [("no-such-call", Code::NotFound), ("over", Code::FailedPrecondition), ("", Code::InvalidArgument)]
    {
        let request = proto::SendRequest { call_id: call_id.into(), request_id: String::new(), command: command() };
        assert_eq!(served.client.send(request).await.expect_err(call_id).code(), code);
        let request = proto::AnswerRequest { call_id: call_id.into(), ..Default::default() };
        assert_eq!(served.client.answer(request).await.expect_err(call_id).code(), code);
        let request = proto::DeclineRequest { call_id: call_id.into(), ..Default::default() };
        assert_eq!(served.client.decline(request).await.expect_err(call_id).code(), code);
    }
    let reload = served.client.reload(proto::ReloadRequest::default()).await;
    assert_eq!(reload.expect_err("not built").code(), Code::Unimplemented);
}

#[tokio::test]
async fn many_are_dialled_at_a_time() {
    let mut served = serve(10).await;
    let mut requests = vec![order("slow"), order("full"), order("")];
    requests.extend((0..40).map(|n| order(&n.to_string())));
    let mut answers = served.client.dial_many(tokio_stream::iter(requests)).await.expect("is served").into_inner();
    let mut got = Vec::new();
    while let Some(answer) = answers.message().await.expect("no fault of one ends them all") {
        got.push(answer);
    }
    assert_eq!(got.len(), 43);
    assert_eq!(got.last().map(|a| a.call_id.as_str()), Some("c-slow"), "it holds up nobody");
    let of = |id: &str| got.iter().find(|a| a.request_id == id).expect("answered");
    assert_eq!((of("r-full").code, of("r-full").call_id.as_str()), (Code::ResourceExhausted as i32, ""));
    assert_eq!((of("r-").code, of("r-").message.as_str()), (Code::InvalidArgument as i32, "callee: is empty"));
    assert_eq!((of("r-7").code, of("r-7").call_id.as_str()), (0, "c-7"));
}

#[tokio::test]
async fn inbound_calls_are_answered_and_declined() {
    let mut served = serve(10).await;
    let knobs = Some(dialogue::Knobs { endpoint_ms: Some(900), ..Default::default() });
    let answer = proto::AnswerRequest {
        call_id: "c".into(),
        dialogue: "d".into(),
        knobs,
        headers: header("X-A", "b"),
        user_to_user: vec![dialogue::UserToUser { bytes: vec![4, 9], ..Default::default() }],
    };
    served.client.answer(answer).await.expect("is answered");
    let decline = |status, reason: &str| proto::DeclineRequest { call_id: "c".into(), status, reason: reason.into() };
    served.client.decline(decline(0, "")).await.expect("is declined");
    served.client.decline(decline(486, "Busy")).await.expect("is declined");
    assert_eq!(
        served.fake.took(),
        ["answer c d Some(Ms(900)) X-A: b User-to-User: 0409;encoding=hex", "decline c 603 ", "decline c 486 Busy"]
    );
    for (status, reason) in [(399, ""), (700, ""), (70_000, ""), (486, "a\r\nb")] {
        let refused = served.client.decline(decline(status, reason)).await.expect_err("makes no sense");
        assert_eq!(refused.code(), Code::InvalidArgument, "{status}");
    }
}

#[tokio::test]
async fn every_command() {
    let mut served = serve(10).await;
    let mut send = async |command| {
        let request = proto::SendRequest { call_id: "c".into(), request_id: "r".into(), command };
        served.client.send(request).await.map(|answer| answer.into_inner().cancelled)
    };
    let keys = |keys: &str| Some(Command::SendKeys(send_request::SendKeys { keys: keys.into() }));
    let knobs = dialogue::Knobs { no_input_ms: Some(0), ..Default::default() };
    for command in [
        Command::Say(hi()),
        Command::Stop(dialogue::Stop {}),
        Command::Set(knobs),
        Command::Hangup(dialogue::Hangup { reason: "done".into(), cause: 31, ..Default::default() }),
        Command::Label(dialogue::Label { key: "k".into(), value: "v".into() }),
        Command::Hold(send_request::Hold { on: true }),
        Command::Hold(send_request::Hold { on: false }),
        Command::Collect(dialogue::Collect { cancel: true, ..Default::default() }),
        Command::RecordPause(send_request::RecordPause { on: true, keep_text: true }),
        Command::RecordPause(send_request::RecordPause { on: false, keep_text: false }),
        Command::Mute(dialogue::Mute { on: true }),
        Command::EndTurn(dialogue::EndTurn { utterance_id: 2 }),
        Command::MoreTime(dialogue::MoreTime { endpoint_ms: 0 }),
        Command::Expect(dialogue::Expect { phrases: vec!["yes".into()], ..Default::default() }),
    ] {
        assert!(!send(Some(command)).await.expect("is done"));
    }
    assert!(!send(keys("0123456789*#ABCD")).await.expect("is done"));
    let now = dialogue::Hangup { now: true, ..Default::default() };
    assert!(send(Some(Command::Hangup(now))).await.expect("is done"), "it came before the answer");
    let took = served.fake.took();
    assert_eq!(took.len(), 16);
    assert!(took[0].starts_with("send c r Say(Prompt {"), "{}", took[0]);
    assert_eq!(
        took[3],
        "send c r Hangup { now: false, reason: \"done\", farewell: Farewell { headers: ExtraHeaders([]), cause: Some(31) } }"
    );
    assert_eq!(took[5..7], ["send c r Hold(true)", "send c r Hold(false)"]);
    assert_eq!(took[7], "send c r Collect(None)");
    assert_eq!(
        took[8..10],
        [
            "send c r PauseRecording { on: true, keep_text: true }",
            "send c r PauseRecording { on: false, keep_text: false }"
        ]
    );
    assert_eq!(took[10..13], ["send c r Mute(true)", "send c r EndTurn(2)", "send c r MoreTime(Ms(2000))"]);
    let hints = "Some(Hints { phrases: [\"yes\"], grammar: \"\" })";
    assert_eq!(took[13], format!("send c r Expect {{ partials: false, hints: {hints} }}"));
    assert_eq!(took[14], "send c r SendKeys(\"0123456789*#ABCD\")");
    let mut send = async |command| {
        let request = proto::SendRequest { call_id: "c".into(), request_id: "r".into(), command };
        let status = served.client.send(request).await.expect_err("is refused");
        (status.code(), status.message().to_owned())
    };
    for bad in ["", "12a", "1 2", "é", &"1".repeat(65)] {
        let (code, message) = send(keys(bad)).await;
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.starts_with("send_keys.keys: "), "{message}");
    }
    let (code, message) = send(None).await;
    assert_eq!((code, message.as_str()), (Code::InvalidArgument, "command: is unset, or not known to this version"));
    let tone = dialogue::segment::Segment::Tone(dialogue::Tone::default());
    let tone = dialogue::Say { segments: vec![dialogue::Segment { segment: Some(tone), mark: String::new() }], ..hi() };
    let refused = send(Some(Command::Say(tone))).await;
    let why = "say.segments[0].tone.frequencies: has 0 entries, one or two are needed";
    assert_eq!(refused, (Code::InvalidArgument, why.to_owned()));
    assert!(served.fake.took().is_empty(), "the switchboard saw none of them");
}

#[tokio::test]
async fn states_are_told() {
    let mut served = serve(10).await;
    let up = served.client.get_call(proto::GetCallRequest { call_id: "c1".into() }).await.expect("is up").into_inner();
    let state = proto::CallState {
        call_id: "c1".into(),
        direction: dialogue::Direction::Outbound.into(),
        trunk: "t".into(),
        caller: "1".into(),
        callee: "2".into(),
        state: "talking".into(),
        started_at: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
        replaces: "i;to-tag=1;from-tag=2".into(),
        remote_target: "sip:x@y".into(),
        held_by_us: false,
        held_by_far_end: true,
        srtp: "AEAD_AES_128_GCM".into(),
        transferred_from: "c0".into(),
    };
    assert_eq!(up.call, Some(state.clone()));
    let all = served.client.list_calls(proto::ListCallsRequest {}).await.expect("is served").into_inner();
    assert_eq!(all.calls, [state]);
    let trunks = served.client.list_trunks(proto::ListTrunksRequest {}).await.expect("is served").into_inner().trunks;
    let told: Vec<_> = trunks.iter().map(|t| (t.name.as_str(), t.registration.as_str(), t.reason.as_str())).collect();
    assert_eq!(told, [("a", "none", ""), ("b", "registering", ""), ("c", "registered", ""), ("d", "failed", "403")]);
    assert_eq!(trunks.iter().map(|t| t.up).collect::<Vec<_>>(), [true, true, true, false]);
    assert!(trunks.iter().all(|t| (t.channels_used, t.channels_max) == (2, 30)));
    let drained = served.client.drain(proto::DrainRequest {}).await.expect("is served").into_inner();
    assert_eq!(drained.calls, 7);
}

#[tokio::test]
async fn who_listens_gets_both_sides_with_their_times_until_the_end() {
    let mut served = serve(10).await;
    let ask =
        |call_id: &str, frame_ms| proto::ListenRequest { call_id: call_id.into(), frame_ms, ..Default::default() };
    let mut heard = served.client.listen(ask("c", 40)).await.expect("it is up").into_inner();
    let mut pieces = Vec::new();
    while let Some(piece) = heard.message().await.expect("no error") {
        assert_eq!(
            piece.robot,
            [1_i16; 160].repeat(piece.robot.len() / 320).iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>()
        );
        pieces.push((piece.at_ms, piece.caller_at_ms, piece.caller.len(), piece.lost_ms));
    }
    assert_eq!(pieces, [(40, Some(0), 640, 0), (120, Some(80), 320, 40)]);
    for (call_id, frame_ms, code, message) in [
        ("", 0, Code::InvalidArgument, "call_id: is empty"),
        ("c", 33, Code::InvalidArgument, "frame_ms: 33 is none of 20, 40, 60, 80, 100"),
        ("no-such-call", 0, Code::NotFound, "call no-such-call is not up"),
        ("over", 0, Code::FailedPrecondition, "call over is ending"),
        ("crowded", 0, Code::ResourceExhausted, "listeners: 8 listen in to call crowded, and no more may"),
    ] {
        let status = served.client.listen(ask(call_id, frame_ms)).await.expect_err("is refused");
        assert_eq!((status.code(), status.message()), (code, message));
    }
}
