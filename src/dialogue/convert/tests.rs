//! Lines as the contract writes them, and actions as it reads them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::call::action::{Action, Farewell};
use crate::call::collection::{Collect, Collected};
use crate::call::fillers::Fillers;
use crate::call::hints::Hints;
use crate::call::knobs::{Background, BargeIn, Clamp, KnobChange, OnBargeIn};
use crate::call::line::Parties;
use crate::call::line::{Begin, Fault, Heard, HungUpBy, Line, LineEvent, Past, Quality, Utterance};
use crate::call::prompt::{Prompt, Segment, Source, Text};
use crate::call::record::AnsweredBy;
use crate::call::record::Role;
use crate::call::transfer::{Decision, Refer};
use crate::dsp::tone::signal::Signal;
use crate::ms::Ms;
use crate::proto::dialogue::v1 as proto;
use crate::sip::refer::{ReferTarget, Replaces};
use crate::sip::session::ExtraHeaders;
use crate::sip::uui::{HandOver, TransferTo, Uui};
use proto::action::Action as Act;
use proto::segment::Segment as Part;

fn ask(action: Act) -> Result<Action, String> {
    asked(proto::Action { action: Some(action), ..Default::default() }).action
}

fn part(part: Part) -> proto::Segment {
    proto::Segment { segment: Some(part), mark: String::new() }
}

fn words(text: &str) -> proto::Text {
    proto::Text { text: text.into(), ..Default::default() }
}

fn saying(segments: Vec<proto::Segment>) -> proto::Say {
    proto::Say { segments, ..Default::default() }
}

fn refusal(action: Act) -> String {
    ask(action).expect_err("is refused")
}

#[test]
fn a_prompt_with_everything() {
    let text = proto::Text {
        text: "hello".into(),
        voice: "v".into(),
        speed: Some(1.5),
        pitch: Some(-12.0),
        volume: Some(10.0),
        language: "en".into(),
        ssml: true,
        once: true,
    };
    let say = proto::Say {
        prompt_id: "p".into(),
        segments: vec![
            proto::Segment { segment: Some(Part::Text(text)), mark: "m".into() },
            part(Part::Variable(proto::Variable {
                name: "名字".into(),
                spoken: Some(proto::Text { voice: "w".into(), ..Default::default() }),
            })),
            part(Part::File(proto::File { path: "a/b.wav".into() })),
            part(Part::Silence(proto::Silence { duration_ms: 20 })),
            part(Part::Tone(proto::Tone {
                frequencies: vec![440, 480],
                duration_ms: 6_000,
                level_dbm0: Some(-19.5),
                on_ms: 2_000,
                off_ms: 4_000,
            })),
            part(Part::Tone(proto::Tone { frequencies: vec![425], duration_ms: 20, ..Default::default() })),
        ],
        barge_in: proto::BargeInPolicy::Never.into(),
        protect_ms: Some(60_000),
        more: true,
        silent: true,
    };
    let text = Text {
        text: "hello".into(),
        voice: "v".into(),
        language: "en".into(),
        speed: Some(1.5),
        pitch: Some(-12.0),
        volume: Some(10.0),
        ssml: true,
        once: true,
    };
    let plain = |source| Segment { source, mark: String::new() };
    let prompt = Prompt {
        id: "p".into(),
        segments: vec![
            Segment { source: Source::Text(text), mark: "m".into() },
            plain(Source::Text(Text { text: "${名字}".into(), voice: "w".into(), ..Text::default() })),
            plain(Source::File("a/b.wav".into())),
            plain(Source::Silence(Ms(20))),
            plain(Source::Tone(Signal::new(440, Some(480), -19.5, Ms(6_000)).with_pauses(Ms(2_000), Ms(4_000)))),
            plain(Source::Tone(Signal::new(425, None, -13.0, Ms(20)))),
        ],
        barge_in: Some(BargeIn::Never),
        protect: Some(Ms(60_000)),
        silent: true,
        more: true,
    };
    assert_eq!(ask(Act::Say(say)), Ok(Action::Say(prompt)));
}

#[test]
fn every_other_action() {
    assert_eq!(ask(Act::Stop(proto::Stop {})), Ok(Action::Stop));
    let hangup = proto::Hangup { now: true, reason: "r".into(), ..Default::default() };
    let farewell = Farewell::default();
    assert_eq!(ask(Act::Hangup(hangup)), Ok(Action::Hangup { now: true, reason: "r".into(), farewell }));
    let expect = proto::Expect { partials: true, ..Default::default() };
    assert_eq!(ask(Act::Expect(expect)), Ok(Action::Expect { partials: true, hints: None }));
    let likely = proto::Expect { phrases: vec!["yes".into()], grammar: "builtin:yesno".into(), ..Default::default() };
    let hints = Hints { phrases: vec!["yes".into()], grammar: "builtin:yesno".into() };
    let expected = Action::Expect { partials: false, hints: Some(Arc::new(hints)) };
    assert_eq!(ask(Act::Expect(likely)), Ok(expected));
    assert_eq!(ask(Act::EndTurn(proto::EndTurn { utterance_id: 3 })), Ok(Action::EndTurn(3)));
    assert_eq!(ask(Act::MoreTime(proto::MoreTime { endpoint_ms: 1_500 })), Ok(Action::MoreTime(Ms(1_500))));
    assert_eq!(ask(Act::MoreTime(proto::MoreTime { endpoint_ms: 0 })), Ok(Action::MoreTime(Ms(2_000))));
    assert_eq!(ask(Act::Mute(proto::Mute { on: true })), Ok(Action::Mute(true)));
    assert_eq!(ask(Act::Wait(proto::Wait { for_ms: 9 })), Ok(Action::Wait(Ms(9))));
    let label = proto::Label { key: "k".into(), value: "v".into() };
    assert_eq!(ask(Act::Label(label)), Ok(Action::Label { key: "k".into(), value: "v".into() }));
    let knobs = proto::Knobs {
        endpoint_ms: Some(1),
        speech_start_ms: Some(2),
        pre_roll_ms: Some(3),
        max_utterance_ms: Some(4),
        no_input_ms: Some(5),
        barge_in: proto::BargeInPolicy::Speech.into(),
        min_speech_ms: Some(6),
        protect_ms: Some(7),
        on_barge_in: proto::OnBargeIn::Stop.into(),
        key_barge_in: Some(false),
        filler_after_ms: Some(8),
        min_words: Some(9),
        echo_guard_db: Some(11),
        second_opinion: Some(false),
        ignore: vec!["uh".into(), "嗯".into()],
        verdict_ms: Some(10),
        bridging: vec![part(Part::Text(words("hm")))],
        background: Some(proto::knobs::Background { path: "office.wav".into(), level_db: -24.5 }),
    };
    let change = KnobChange {
        endpoint: Some(Ms(1)),
        speech_start: Some(Ms(2)),
        pre_roll: Some(Ms(3)),
        max_utterance: Some(Ms(4)),
        no_input: Some(Ms(5)),
        barge_in: Some(BargeIn::Speech),
        min_speech: Some(Ms(6)),
        protect: Some(Ms(7)),
        second_opinion: Some(false),
        key_barge_in: Some(false),
        on_barge_in: Some(OnBargeIn::Stop),
        filler_after: Some(Ms(8)),
        min_words: Some(9),
        echo_guard_db: Some(11),
        ignore: Some(Arc::new(Fillers::new(&["uh", "嗯"]).expect("two words"))),
        verdict: Some(Ms(10)),
        bridging: Some(Arc::new([Source::Text(Text { text: "hm".into(), ..Text::default() })])),
        background: Some(Background { path: "office.wav".into(), level_db: -24.5 }),
    };
    assert_eq!(ask(Act::Set(knobs)), Ok(Action::Set(change)));
    let nothing = Some(Arc::new(Fillers::new(&[] as &[&str]).expect("none")));
    let emptied = ask(Act::Set(proto::Knobs { ignore: vec![String::new()], ..Default::default() }));
    assert_eq!(emptied, Ok(Action::Set(KnobChange { ignore: nothing, ..Default::default() })));
    assert_eq!(ask(Act::Set(proto::Knobs::default())), Ok(Action::Set(KnobChange::default())));
}

#[test]
fn what_is_not_built_is_named() {
    let unset = asked(proto::Action::default()).action;
    assert_eq!(unset, Err("UNIMPLEMENTED: action: is unset, or not known to this version".into()));
}

#[test]
fn what_makes_no_sense_is_named() {
    let file = |path: &str| Act::Say(saying(vec![part(Part::File(proto::File { path: path.into() }))]));
    let text = |set: fn(&mut proto::Text)| {
        let mut text = words("hi");
        set(&mut text);
        Act::Say(saying(vec![part(Part::Silence(proto::Silence { duration_ms: 20 })), part(Part::Text(text))]))
    };
    let silence = |duration_ms| Act::Say(saying(vec![part(Part::Silence(proto::Silence { duration_ms }))]));
    let tone = |set: fn(&mut proto::Tone)| {
        let mut tone = proto::Tone { frequencies: vec![425], duration_ms: 1_000, ..Default::default() };
        set(&mut tone);
        Act::Say(saying(vec![part(Part::Tone(tone))]))
    };
    let variable = |name: &str, spoken: proto::Text| {
        let variable = proto::Variable { name: name.into(), spoken: Some(spoken) };
        Act::Say(saying(vec![part(Part::Variable(variable))]))
    };
    let hi = || part(Part::Text(words("hi")));
    let long = "x".repeat(4097);
    let cases = [
        (Act::Say(saying(vec![])), "say.segments: at least one is needed"),
        (
            Act::Say(proto::Say { more: true, prompt_id: "p".into(), ..saying(vec![]) }),
            "say.segments: at least one is needed",
        ),
        (
            Act::Say(saying(vec![Default::default()])),
            "say.segments[0]: is empty, or of a kind not known to this version",
        ),
        (text(|t| t.text = " \n".into()), "say.segments[1].text.text: is empty"),
        (text(|t| t.text = "x".repeat(16_385)), "say.segments[1].text.text: has 16385 bytes, at most 16,384 are taken"),
        (text(|t| t.speed = Some(2.1)), "say.segments[1].text.speed: 2.1 is out of range, 0.5 to 2"),
        (text(|t| t.speed = Some(f32::NAN)), "say.segments[1].text.speed: NaN is out of range, 0.5 to 2"),
        (text(|t| t.pitch = Some(-13.0)), "say.segments[1].text.pitch: -13 is out of range, -12 to 12"),
        (text(|t| t.volume = Some(f32::INFINITY)), "say.segments[1].text.volume: inf is out of range, -40 to 10"),
        (silence(19), "say.segments[0].silence.duration_ms: 19 is out of range, 20 to 60000"),
        (silence(60_001), "say.segments[0].silence.duration_ms: 60001 is out of range, 20 to 60000"),
        (tone(|t| t.frequencies.clear()), "say.segments[0].tone.frequencies: has 0 entries, one or two are needed"),
        (
            tone(|t| t.frequencies = vec![425; 3]),
            "say.segments[0].tone.frequencies: has 3 entries, one or two are needed",
        ),
        (tone(|t| t.frequencies.push(3_801)), "say.segments[0].tone.frequencies: 3801 is out of range, 100 to 3800"),
        (tone(|t| t.duration_ms = 0), "say.segments[0].tone.duration_ms: 0 is out of range, 20 to 60000"),
        (tone(|t| t.level_dbm0 = Some(-2.9)), "say.segments[0].tone.level_dbm0: -2.9 is out of range, -40 to -3"),
        (tone(|t| t.on_ms = 200), "say.segments[0].tone.off_ms: 0 is out of range, 20 to 60000"),
        (tone(|t| t.off_ms = 200), "say.segments[0].tone.on_ms: 0 is out of range, 20 to 60000"),
        (
            variable("first name", Default::default()),
            "say.segments[0].variable.name: \"first name\" is no name of a variable: 1 to 64 letters, digits, _, - and .",
        ),
        (
            variable("n", words("x")),
            "say.segments[0].variable.spoken: has a text, or ssml: only how it is spoken may be said",
        ),
        (
            variable("n", proto::Text { speed: Some(9.0), ..Default::default() }),
            "say.segments[0].variable.spoken.speed: 9 is out of range, 0.5 to 2",
        ),
        (file(""), "say.segments[0].file.path: is empty"),
        (file("/etc/passwd"), "say.segments[0].file.path: does not lie below the prompts folder"),
        (file("a/../../b"), "say.segments[0].file.path: does not lie below the prompts folder"),
        (file("a\\b"), "say.segments[0].file.path: does not lie below the prompts folder"),
        (
            Act::Say(proto::Say { protect_ms: Some(60_001), ..saying(vec![hi()]) }),
            "say.protect_ms: 60001 is out of range, 0 to 60000",
        ),
        (Act::Say(proto::Say { barge_in: 9, ..saying(vec![hi()]) }), "say.barge_in: 9 is not known to this version"),
        (
            Act::Say(proto::Say { prompt_id: long.clone(), ..saying(vec![hi()]) }),
            "say.prompt_id: has 4097 bytes, at most 4,096 are kept",
        ),
        (
            Act::Say(saying(vec![proto::Segment { mark: long, ..hi() }])),
            "say.segments[0].mark: has 4097 bytes, at most 4,096 are kept",
        ),
        (
            Act::Say(proto::Say { more: true, prompt_id: String::new(), ..saying(vec![hi()]) }),
            "say.more: needs a prompt_id, by which the next message continues the prompt",
        ),
        (Act::Wait(proto::Wait { for_ms: 60_001 }), "wait.for_ms: 60001 is out of range, 0 to 60000"),
        (Act::Label(proto::Label::default()), "label.key: is empty"),
        (
            Act::Set(proto::Knobs { on_barge_in: 9, ..Default::default() }),
            "set.on_barge_in: 9 is not known to this version",
        ),
        (
            Act::Set(proto::Knobs { ignore: vec!["…".into()], ..Default::default() }),
            "set.ignore: \"…\" has no letter and no digit",
        ),
        (
            Act::Set(proto::Knobs {
                bridging: vec![proto::Segment { mark: "m".into(), ..hi() }],
                ..Default::default()
            }),
            "set.bridging[0].mark: a bridging phrase has none",
        ),
        (collecting(|c| c.max_digits = 65), "collect.max_digits: 65 is out of range, 1 to 64"),
        (collecting(|c| c.timeout_ms = 999), "collect.timeout_ms: 999 is out of range, 1000 to 600000"),
        (collecting(|c| c.attempts = 11), "collect.attempts: 11 is out of range, 1 to 10"),
        (collecting(|c| c.terminator = "##".into()), "collect.terminator: is more than one key"),
        (collecting(|c| c.allowed = "12x".into()), "collect.allowed: 'x' is none of 0-9 * # A-D"),
        (collecting(|c| c.inter_digit_ms = 100), "collect.inter_digit_ms: 100 is out of range, 200 to 60000"),
        (collecting(|c| c.prompts = vec![saying(vec![])]), "collect.prompts[0].segments: at least one is needed"),
        (
            collecting(|c| (c.cancel, c.attempts) = (true, 2)),
            "collect.cancel: ends a collection: nothing else may be set beside it",
        ),
    ];
    for (action, what) in cases {
        assert_eq!(refusal(action), format!("INVALID_ARGUMENT: {what}"));
    }
}

fn collecting(set: impl FnOnce(&mut proto::Collect)) -> Act {
    let mut collect = proto::Collect::default();
    set(&mut collect);
    Act::Collect(collect)
}

#[test]
fn pieces_of_a_text_may_be_spaces_and_the_last_message_may_have_none() {
    let piece =
        |text: &str| proto::Say { prompt_id: "p".into(), more: true, ..saying(vec![part(Part::Text(words(text)))]) };
    assert!(ask(Act::Say(piece(" \n"))).is_ok());
    assert!(ask(Act::Say(piece(""))).is_err(), "no text is none");
    assert!(
        ask(Act::Say(proto::Say { prompt_id: "p".into(), ..saying(vec![]) })).is_ok(),
        "the call knows if it ends one"
    );
}

#[test]
fn a_collection_has_its_defaults() {
    let plain = Collect {
        max_digits: 1,
        timeout: Ms(60_000),
        attempts: 1,
        terminator: None,
        inter_digit: None,
        allowed: String::new(),
        prompts: Vec::new(),
        masked: false,
    };
    assert_eq!(ask(collecting(|_| {})), Ok(Action::Collect(Some(Box::new(plain.clone())))));
    let more = Collect {
        max_digits: 6,
        terminator: Some('#'),
        inter_digit: Some(Ms(3_000)),
        allowed: "123".into(),
        masked: true,
        ..plain
    };
    let asked = collecting(|c| {
        c.max_digits = 6;
        c.terminator = "#".into();
        c.inter_digit_ms = 3_000;
        c.allowed = "123".into();
        c.masked = true;
    });
    assert_eq!(ask(asked), Ok(Action::Collect(Some(Box::new(more)))));
    assert_eq!(ask(collecting(|c| c.cancel = true)), Ok(Action::Collect(None)));
}

#[test]
fn an_answer_names_itself_and_its_event() {
    let stop = || Some(Act::Stop(proto::Stop {}));
    let stale = |if_stale| asked(proto::Action { action_id: "a".into(), answers: 7, if_stale, action: stop() });
    assert_eq!((stale(0).action_id.as_str(), stale(0).answers), ("a", 7));
    assert!(!stale(0).even_if_stale && !stale(1).even_if_stale && stale(2).even_if_stale);
    assert_eq!(stale(9).action, Err("INVALID_ARGUMENT: if_stale: 9 is not known to this version".into()));
    let long = asked(proto::Action { action_id: "é".repeat(3000), action: stop(), ..Default::default() });
    assert_eq!(long.action_id.len(), 4096);
    assert_eq!(long.action, Err("INVALID_ARGUMENT: action_id: has 6000 bytes, at most 4,096 are kept".into()));
}

#[test]
fn every_line_event() {
    use proto::line_event::Event;
    let tell = |what| {
        let told = line_event(LineEvent { id: 3, at: Ms(40), what });
        assert_eq!((told.event_id, told.at_ms), (3, 40));
        told.event.expect("is set")
    };
    let heard = Heard { prompt_id: "p".into(), heard: Ms(5), segment: 1, characters: 2 };
    let told = proto::Heard { prompt_id: "p".into(), heard_ms: 5, segment: 1, characters: 2 };
    let begin = Begin {
        call_id: "c".into(),
        outbound: true,
        parties: Parties {
            caller: "1".into(),
            callee: "2".into(),
            caller_name: "n".into(),
            withheld: true,
            diverted_from: "3".into(),
            diversion_reason: "r".into(),
        },
        trunk: "t".into(),
        headers: vec![("X-A".into(), "b".into())],
        user_to_user: vec!["u".into(), "\"v\"".into()],
        variables: vec![("k".into(), "v".into())],
        answered_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)),
        correlation: "z".into(),
        resumed: true,
        history: vec![Past { role: Role::Speech, text: "h".into(), start: Ms(7), stop: None, interrupted: false }],
    };
    let begun = proto::Begin {
        call_id: "c".into(),
        direction: proto::Direction::Outbound.into(),
        caller: "1".into(),
        callee: "2".into(),
        caller_name: "n".into(),
        withheld: true,
        diverted_from: "3".into(),
        diversion_reason: "r".into(),
        trunk: "t".into(),
        headers: vec![proto::Header { name: "X-A".into(), value: "b".into() }],
        user_to_user: "u, \"v\"".into(),
        user_to_user_values: ["u", "\"v\""]
            .map(|v| proto::UserToUser { written: v.into(), ..Default::default() })
            .into(),
        variables: [("k".to_string(), "v".to_string())].into(),
        answered_at: Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }),
        correlation: "z".into(),
        resumed: true,
        history: vec![proto::PastTurn {
            by_robot: true,
            text: "h".into(),
            start_ms: 7,
            stop_ms: 7,
            interrupted: false,
            unfinished: true,
        }],
    };
    assert_eq!(tell(Line::Begin(Box::new(begin.clone()))), Event::Begin(begun.clone()));
    let (early, told_early) = (Begin { answered_at: None, ..begin }, proto::Begin { answered_at: None, ..begun });
    assert_eq!(tell(Line::Early(Box::new(early))), Event::Early(told_early));
    let said = Utterance {
        utterance: 1,
        text: "yes".into(),
        alternatives: vec!["yet".into()],
        start: Ms(10),
        stop: Ms(20),
        during_prompt: true,
        too_long: true,
        interrupted: Some(heard.clone()),
        confidence: Some(0.5),
        quality: Quality::Partial,
        filler: true,
        early: true,
        ended_early: true,
    };
    let told_said = proto::Utterance {
        utterance_id: 1,
        text: "yes".into(),
        alternatives: vec!["yet".into()],
        start_ms: 10,
        stop_ms: 20,
        during_prompt: true,
        too_long: true,
        interrupted: Some(told.clone()),
        confidence: Some(0.5),
        quality: proto::TextQuality::Partial.into(),
        filler: true,
        early_media: true,
        ended_early: true,
    };
    assert_eq!(tell(Line::Utterance(said)), Event::Utterance(told_said));
    let muted = proto::Muted { on: true, from_ms: 40 };
    assert_eq!(tell(Line::Muted { on: true, from: Ms(40) }), Event::Muted(muted));
    assert_eq!(
        tell(Line::Partial { utterance: 1, text: "y".into(), early: true }),
        Event::Partial(proto::Partial { utterance_id: 1, text: "y".into(), early_media: true })
    );
    assert_eq!(
        tell(Line::Keys { result: Collected::UsedUp, digits: "12".into() }),
        Event::Keys(proto::Keys { result: -2, digits: "12".into() })
    );
    assert_eq!(tell(Line::NoInput { count: 2 }), Event::NoInput(proto::NoInput { count: 2 }));
    assert_eq!(
        tell(Line::PromptDone { prompt_id: "p".into(), interrupted: Some(heard.clone()), fault: "f".into() }),
        Event::PromptDone(proto::PromptDone {
            prompt_id: "p".into(),
            interrupted: Some(told.clone()),
            fault: "f".into()
        })
    );
    assert_eq!(tell(Line::BargeIn(heard.clone())), Event::BargeIn(proto::BargeIn { interrupted: Some(told.clone()) }));
    assert_eq!(
        tell(Line::Key { key: '#', interrupted: Some(heard) }),
        Event::Key(proto::Key { key: "#".into(), interrupted: Some(told) })
    );
    assert_eq!(
        tell(Line::Mark { prompt_id: "p".into(), mark: "m".into() }),
        Event::Mark(proto::Mark { prompt_id: "p".into(), mark: "m".into() })
    );
    assert_eq!(
        tell(Line::AnsweredBy(AnsweredBy { who: "beep", reason: "beep", at: Ms(5), before_answer: true })),
        Event::AnsweredBy(proto::AnsweredBy {
            who: "beep".into(),
            reason: "beep".into(),
            at_ms: 5,
            before_answer: true
        })
    );
    assert_eq!(
        tell(Line::Hold { by_us: false, by_far_end: true }),
        Event::Hold(proto::Hold { by_us: false, by_far_end: true })
    );
    assert_eq!(
        tell(Line::End { by: HungUpBy::CallerRinging, reason: "r".into() }),
        Event::End(proto::End { by: "caller_ringing".into(), reason: "r".into() })
    );
    let result = |reached| Line::TransferResult { reached, sip_code: 486, reason: "Busy".into() };
    let told_result = |result| proto::TransferResult { result, sip_code: 486, reason: "Busy".into() };
    assert_eq!(tell(result(true)), Event::TransferResult(told_result(1)));
    assert_eq!(tell(result(false)), Event::TransferResult(told_result(-1)));
    let referred = Line::Referred { target: "sip:8@h".into(), result: -1, sip_code: 486, reason: "Busy".into() };
    let told_referred = proto::Referred { target: "sip:8@h".into(), result: -1, sip_code: 486, reason: "Busy".into() };
    assert_eq!(tell(referred), Event::Referred(told_referred));
    let clamp = Clamp { knob: "endpoint_ms", asked: Ms(50), used: Ms(200) };
    let faults = [
        (Fault::Recognition("r".into()), proto::fault::Which::Recognition, "r", ""),
        (Fault::Synthesis("r".into()), proto::fault::Which::Synthesis, "r", ""),
        (Fault::Action { action_id: "a".into(), reason: "r".into() }, proto::fault::Which::Action, "r", "a"),
        (Fault::Knob(clamp), proto::fault::Which::Knob, "endpoint_ms: 50 is out of range, 200 is used", ""),
        (Fault::Stale { action_id: "a".into(), reason: "r".into() }, proto::fault::Which::Stale, "r", "a"),
    ];
    for (fault, which, reason, action_id) in faults {
        let told = proto::Fault { which: which.into(), reason: reason.into(), action_id: action_id.into() };
        assert_eq!(tell(Line::Fault(fault)), Event::Fault(told));
    }
}

fn header(name: &str, value: &str) -> proto::Header {
    proto::Header { name: name.into(), value: value.into() }
}

fn hand_over() -> proto::HandOver {
    proto::HandOver {
        session_id: "7".into(),
        r#type: proto::hand_over::Type::SkillGroup.into(),
        value: "v".into(),
        intent: "i".into(),
        address: "a@h:1".into(),
        more: vec!["vip=1".into()],
    }
}

#[test]
fn what_is_said_to_a_refer_of_the_far_end() {
    let said = |accept, sip_code| ask(Act::ReferAnswer(proto::ReferAnswer { accept, sip_code }));
    assert_eq!(said(true, 0), Ok(Action::ReferAnswer(Decision::Accept)));
    assert_eq!(said(false, 0), Ok(Action::ReferAnswer(Decision::Decline(603))));
    assert_eq!(said(false, 480), Ok(Action::ReferAnswer(Decision::Decline(480))));
    for (accept, code, reason) in [
        (true, 480, "refer_answer.sip_code: refuses, and does not go with accept"),
        (false, 399, "refer_answer.sip_code: 399 is out of range, 400 to 699"),
        (false, 700, "refer_answer.sip_code: 700 is out of range, 400 to 699"),
    ] {
        assert_eq!(said(accept, code), Err(format!("INVALID_ARGUMENT: {reason}")));
    }
}

#[test]
fn a_goodbye_with_everything() {
    let hangup = proto::Hangup {
        now: false,
        reason: "r".into(),
        headers: vec![header("X-A", "b")],
        cause: 31,
        user_to_user: vec![
            proto::UserToUser { written: "ab;encoding=hex".into(), ..Default::default() },
            proto::UserToUser { bytes: vec![4, 255], purpose: "p".into(), content: "c".into(), ..Default::default() },
        ],
    };
    let Ok(Action::Hangup { farewell, .. }) = ask(Act::Hangup(hangup)) else { panic!("is understood") };
    let headers: Vec<_> = farewell.headers.iter().collect();
    let uui = "User-to-User";
    let expected = [("X-A", "b"), (uui, "ab;encoding=hex"), (uui, "04ff;encoding=hex;purpose=p;content=c")];
    assert_eq!((headers.as_slice(), farewell.cause), (expected.as_slice(), Some(31)));
}

#[test]
fn a_refer_with_everything_and_with_nothing() {
    let whole = proto::Refer {
        target: "8001@h:5062".into(),
        user_to_user: vec![proto::UserToUser { hand_over: Some(hand_over()), ..Default::default() }],
        timeout_ms: 1_000,
        headers: vec![header("X-A", "b")],
        target_headers: vec![header("X-C", "d")],
        replaces: "i;to-tag=1;from-tag=2".into(),
        referred_by: "sip:me@h".into(),
        subscription: Some(false),
        now: true,
        bridge_on_refusal: false,
    };
    let context = HandOver {
        session_id: "7".into(),
        to: TransferTo::SkillGroup,
        value: "v".into(),
        intent: "i".into(),
        address: "a@h:1".into(),
        more: vec![("vip".into(), "1".into())],
    };
    let one =
        |name: &str, value: &str| ExtraHeaders::try_from(vec![(name.to_owned(), value.to_owned())]).expect("good");
    let refer = Refer {
        target: ReferTarget::Uri("sip:8001@h:5062".parse().expect("a URI")),
        user_to_user: vec![Uui::hand_over(&context).expect("good")],
        target_headers: one("X-C", "d"),
        replaces: Replaces::parse("i;to-tag=1;from-tag=2"),
        referred_by: Some("sip:me@h".parse().expect("a URI")),
        subscription: Some(false),
        headers: one("X-A", "b"),
        patience: Some(Duration::from_secs(1)),
        now: true,
        bridge_on_refusal: false,
    };
    assert_eq!(ask(Act::Refer(whole)), Ok(Action::Refer(Box::new(refer))));
    let Ok(Action::Refer(least)) = ask(Act::Refer(proto::Refer { target: "8001".into(), ..Default::default() })) else {
        panic!("is understood")
    };
    assert_eq!((least.target, least.patience, least.now), (ReferTarget::User("8001".into()), None, false));
    assert!(least.replaces.is_none() && least.referred_by.is_none() && least.subscription.is_none());
}

#[test]
fn a_transfer_with_everything_and_with_nothing() {
    let plain = "sessionId=7;transType=1;transIntent=\u{8d26}\u{5355}";
    let whole = proto::Transfer {
        target: "8001@h:5062".into(),
        user_to_user: plain.into(),
        timeout_ms: 1_000,
        trunk: "agents".into(),
        caller: "4930".into(),
        headers: vec![header("X-A", "b")],
        user_to_user_values: vec![proto::UserToUser { bytes: vec![4, 255], ..Default::default() }],
        waiting: vec![part(Part::File(proto::File { path: "music.wav".into() }))],
        transcript: true,
        now: true,
    };
    let Ok(Action::Transfer(leg)) = ask(Act::Transfer(whole)) else { panic!("is understood") };
    let uui = "User-to-User";
    let plain = "c2Vzc2lvbklkPTc7dHJhbnNUeXBlPTE7dHJhbnNJbnRlbnQ96LSm5Y2V";
    let headers = [("X-A", "b"), (uui, "04ff;encoding=hex"), (uui, plain)];
    assert_eq!(leg.headers.iter().collect::<Vec<_>>(), headers);
    assert_eq!(leg.target, ReferTarget::Uri("sip:8001@h:5062".parse().expect("a URI")));
    assert_eq!((leg.trunk.as_str(), leg.caller.as_str(), leg.ring), ("agents", "4930", Some(Duration::from_secs(1))));
    assert_eq!((leg.waiting.len(), leg.transcript, leg.now), (1, true, true));
    let least = proto::Transfer { target: "8001".into(), ..Default::default() };
    let Ok(Action::Transfer(least)) = ask(Act::Transfer(least)) else { panic!("is understood") };
    assert_eq!((least.target, least.ring, least.now), (ReferTarget::User("8001".into()), None, false));
    assert!(least.waiting.is_empty() && least.headers == ExtraHeaders::default() && !least.transcript);
}

#[test]
fn what_cannot_be_called_is_named() {
    let transfer = |set: fn(&mut proto::Transfer)| {
        let mut transfer = proto::Transfer { target: "8001".into(), ..Default::default() };
        set(&mut transfer);
        ask(Act::Transfer(transfer)).expect_err("is refused")
    };
    let silence = || part(Part::Silence(proto::Silence { duration_ms: 20 }));
    assert!(transfer(|t| t.target.clear()).starts_with("INVALID_ARGUMENT: transfer.target: is empty"));
    let sip = "INVALID_ARGUMENT: transfer.target: is called by us, and that is done by sip: only";
    assert!(transfer(|t| t.target = "tel:+49".into()).starts_with(sip));
    assert!(transfer(|t| t.target = "sips:a@b".into()).starts_with(sip));
    assert!(transfer(|t| t.timeout_ms = 999).starts_with("INVALID_ARGUMENT: transfer.timeout_ms: 999 is out of range"));
    assert!(
        transfer(|t| t.user_to_user = "x".repeat(3_100))
            .starts_with("INVALID_ARGUMENT: transfer.user_to_user: is longer")
    );
    assert!(
        transfer(|t| t.headers = vec![header("Via", "x")]).starts_with("INVALID_ARGUMENT: transfer.headers[0].name")
    );
    assert!(transfer(|t| t.caller = "a\nb".into()).starts_with("INVALID_ARGUMENT: transfer.caller"));
    let quiet = proto::Transfer { target: "8001".into(), waiting: vec![silence(), silence()], ..Default::default() };
    assert_eq!(ask(Act::Transfer(quiet)), Err("INVALID_ARGUMENT: transfer.waiting: is silence: leave it out".into()));
    let refer = |target: &str, replaces: &str| {
        let (target, replaces) = (target.into(), replaces.into());
        ask(Act::Refer(proto::Refer { target, replaces, bridge_on_refusal: true, ..Default::default() }))
    };
    assert!(refer("8001", "").is_ok());
    assert!(refer("tel:+49", "").is_err_and(|error| error.contains("refer.target: is called by us")));
    assert!(refer("8001", "i;to-tag=1;from-tag=2").is_err_and(|error| error.contains("refer.bridge_on_refusal")));
}

#[test]
fn what_cannot_be_referred_is_named() {
    let refer = |set: fn(&mut proto::Refer)| {
        let mut refer = proto::Refer { target: "8001".into(), ..Default::default() };
        set(&mut refer);
        Act::Refer(refer)
    };
    let uui = |set: fn(&mut proto::UserToUser)| {
        let mut value = proto::UserToUser::default();
        set(&mut value);
        Act::Refer(proto::Refer { target: "8001".into(), user_to_user: vec![value], ..Default::default() })
    };
    let hangup = |set: fn(&mut proto::Hangup)| {
        let mut hangup = proto::Hangup::default();
        set(&mut hangup);
        Act::Hangup(hangup)
    };
    let cases = [
        (refer(|r| r.target.clear()), "refer.target: is empty"),
        (
            refer(|r| r.target = "sip:a@b?Route=x".into()),
            "refer.target: has ?headers or ;method= inside: headers have fields of their own, the method is INVITE",
        ),
        (refer(|r| r.timeout_ms = 999), "refer.timeout_ms: 999 is out of range, 1000 to 300000"),
        (refer(|r| r.replaces = "x".into()), "refer.replaces: names no dialog: write Call-ID;to-tag=…;from-tag=…"),
        (refer(|r| r.referred_by = "me".into()), "refer.referred_by: URI without a scheme"),
        (refer(|r| r.headers.push(header("b", "x"))), "refer.headers[0].name: b is written by Trunkline itself"),
        (
            refer(|r| r.target_headers.push(header("REPLACES", "x"))),
            "refer.target_headers[0].name: REPLACES is written by Trunkline itself",
        ),
        (
            refer(|r| r.target_headers.push(header("body", "x"))),
            "refer.target_headers[0].name: body is written by Trunkline itself",
        ),
        (
            refer(|r| r.target_headers.push(header("X-A", "a\r\nVia: b"))),
            "refer.target_headers[0].value: has a line break or another control character",
        ),
        (
            refer(|r| (r.target, r.replaces) = ("tel:1".into(), "x".into())),
            "refer.replaces: cannot go along with a tel: target: write it as sip:",
        ),
        (uui(|_| ()), "refer.user_to_user[0]: has not exactly one of written, bytes and hand_over"),
        (
            uui(|u| (u.written, u.bytes) = ("a".into(), vec![1])),
            "refer.user_to_user[0]: has not exactly one of written, bytes and hand_over",
        ),
        (uui(|u| u.written = "a,b".into()), "refer.user_to_user[0].written: is more than one value"),
        (
            uui(|u| u.written = "a\nb".into()),
            "refer.user_to_user[0].written: has a line break or another control character",
        ),
        (uui(|u| u.bytes = vec![0; 3_000]), "refer.user_to_user[0].bytes: is longer than 4096 bytes as it is written"),
        (
            uui(|u| u.hand_over = Some(proto::HandOver { r#type: 0, ..hand_over() })),
            "refer.user_to_user[0].hand_over.type: is unset",
        ),
        (
            uui(|u| u.hand_over = Some(proto::HandOver { intent: "a;b".into(), ..hand_over() })),
            "refer.user_to_user[0].hand_over: transIntent holds a semicolon, or is no name",
        ),
        (hangup(|h| h.cause = 128), "hangup.cause: 128 is out of range, 1 to 127"),
        (hangup(|h| h.headers.push(header("i", "x"))), "hangup.headers[0].name: i is written by Trunkline itself"),
    ];
    for (action, what) in cases {
        assert_eq!(refusal(action), format!("INVALID_ARGUMENT: {what}"));
    }
}
