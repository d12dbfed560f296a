//! What the dialogue is told.

use crate::call::collection::Collected;
use crate::call::line::{Begin, Fault, Heard, Line, LineEvent, Past, Quality, ReferAsked, Utterance};
use crate::call::record::{AnsweredBy, Role};
use crate::ms::Ms;
use crate::proto::dialogue::v1 as proto;
use crate::proto::dialogue::v1::fault::Which;
use crate::proto::dialogue::v1::line_event::Event;

/// An event as the contract writes it.
pub fn line_event(event: LineEvent) -> proto::LineEvent {
    proto::LineEvent { event_id: event.id, at_ms: event.at.0, event: Some(line(event.what)) }
}

fn line(what: Line) -> Event {
    match what {
        Line::Begin(begin) => Event::Begin(self::begin(*begin)),
        Line::Early(begin) => Event::Early(self::begin(*begin)),
        Line::Utterance(said) => Event::Utterance(utterance(said)),
        Line::Partial { utterance, text, early } => {
            Event::Partial(proto::Partial { utterance_id: utterance, text, early_media: early })
        }
        Line::NoInput { count } => Event::NoInput(proto::NoInput { count }),
        Line::PromptDone { prompt_id, interrupted, fault } => {
            Event::PromptDone(proto::PromptDone { prompt_id, interrupted: interrupted.map(heard), fault })
        }
        Line::BargeIn(stopped) => Event::BargeIn(proto::BargeIn { interrupted: Some(heard(stopped)) }),
        Line::Keys { result, digits } => Event::Keys(keys(result, digits)),
        Line::Key { key, interrupted } => {
            Event::Key(proto::Key { key: key.into(), interrupted: interrupted.map(heard) })
        }
        Line::AnsweredBy(by) => Event::AnsweredBy(answered_by(by)),
        Line::Mark { prompt_id, mark } => Event::Mark(proto::Mark { prompt_id, mark }),
        Line::Hold { by_us, by_far_end } => Event::Hold(proto::Hold { by_us, by_far_end }),
        Line::Muted { on, from } => Event::Muted(proto::Muted { on, from_ms: from.0 }),
        Line::TransferResult { reached, sip_code, reason } => Event::TransferResult(proto::TransferResult {
            result: if reached { 1 } else { -1 },
            sip_code: sip_code.into(),
            reason,
        }),
        Line::ReferAsked(asked) => Event::ReferAsked(refer_asked(*asked)),
        Line::Referred { target, result, sip_code, reason } => {
            Event::Referred(proto::Referred { target, result: result.into(), sip_code: sip_code.into(), reason })
        }
        Line::Fault(fault) => Event::Fault(self::fault(fault)),
        Line::End { by, reason } => Event::End(proto::End { by: by.as_str().into(), reason }),
    }
}

/// Who has answered.
pub fn answered_by(by: AnsweredBy) -> proto::AnsweredBy {
    proto::AnsweredBy { who: by.who.into(), reason: by.reason.into(), at_ms: by.at.0, before_answer: by.before_answer }
}

/// A REFER of the far end, as the contract writes it.
pub fn refer_asked(asked: ReferAsked) -> proto::ReferAsked {
    let headers = asked.headers.into_iter().map(|(name, value)| proto::Header { name, value });
    proto::ReferAsked {
        target: asked.target,
        headers: headers.collect(),
        user_to_user: super::received(asked.user_to_user),
        referred_by: asked.referred_by,
        replaces: asked.replaces,
        answer_within_ms: asked.within.0,
    }
}

fn begin(begin: Begin) -> proto::Begin {
    let direction = if begin.outbound { proto::Direction::Outbound } else { proto::Direction::Inbound };
    let headers = begin.headers.into_iter().map(|(name, value)| proto::Header { name, value });
    proto::Begin {
        call_id: begin.call_id,
        direction: direction.into(),
        caller: begin.parties.caller,
        callee: begin.parties.callee,
        caller_name: begin.parties.caller_name,
        withheld: begin.parties.withheld,
        diverted_from: begin.parties.diverted_from,
        diversion_reason: begin.parties.diversion_reason,
        trunk: begin.trunk,
        headers: headers.collect(),
        user_to_user: begin.user_to_user.join(", "),
        variables: begin.variables.into_iter().collect(),
        answered_at: begin.answered_at.map(Into::into),
        correlation: begin.correlation,
        resumed: begin.resumed,
        history: begin.history.into_iter().map(past).collect(),
        user_to_user_values: super::received(begin.user_to_user),
    }
}

fn past(turn: Past) -> proto::PastTurn {
    proto::PastTurn {
        by_robot: turn.role == Role::Speech,
        text: turn.text,
        start_ms: turn.start.0,
        stop_ms: turn.stop.unwrap_or(turn.start).0,
        interrupted: turn.interrupted,
        unfinished: turn.stop.is_none(),
    }
}

/// What was heard of a prompt, as the contract writes it.
pub fn heard(heard: Heard) -> proto::Heard {
    proto::Heard {
        prompt_id: heard.prompt_id,
        heard_ms: heard.heard.0,
        segment: heard.segment,
        characters: heard.characters,
    }
}

/// What the caller said, as the contract writes it.
pub fn utterance(said: Utterance) -> proto::Utterance {
    let quality = match said.quality {
        Quality::Final => proto::TextQuality::Final,
        Quality::Partial => proto::TextQuality::Partial,
        Quality::Missing => proto::TextQuality::Missing,
    };
    proto::Utterance {
        utterance_id: said.utterance,
        text: said.text,
        alternatives: said.alternatives,
        start_ms: said.start.0,
        stop_ms: said.stop.0,
        during_prompt: said.during_prompt,
        too_long: said.too_long,
        interrupted: said.interrupted.map(heard),
        confidence: said.confidence,
        quality: quality.into(),
        filler: said.filler,
        early_media: said.early,
        ended_early: said.ended_early,
    }
}

/// The result of a collection, as the contract writes it.
pub fn keys(result: Collected, digits: String) -> proto::Keys {
    proto::Keys { result: result.code(), digits }
}

fn fault(fault: Fault) -> proto::Fault {
    let (which, reason, action_id) = match fault {
        Fault::Recognition(reason) => (Which::Recognition, reason, String::new()),
        Fault::Synthesis(reason) => (Which::Synthesis, reason, String::new()),
        Fault::Action { action_id, reason } => (Which::Action, reason, action_id),
        Fault::Knob(clamp) => (Which::Knob, clamp.to_string(), String::new()),
        Fault::Stale { action_id, reason } => (Which::Stale, reason, action_id),
    };
    proto::Fault { which: which.into(), reason, action_id }
}

/// An optional span as the contract writes it.
pub fn millis(span: Option<Ms>) -> Option<u32> {
    span.map(|ms| ms.0)
}
