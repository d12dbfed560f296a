//! What the orchestrator asks for, checked field by field. `Err` names the field.

use std::time::{Duration, SystemTime};

use crate::call::action::Action;
use crate::call::knobs::KnobChange;
use crate::dialogue::convert::{self, MAX_ID, Refused, headers, id, line};
use crate::proto::control::v1 as proto;
use crate::proto::control::v1::send_request::{AttachDialogue, Command, Hold, RecordPause, SendKeys};
use crate::proto::dialogue::v1::{Expect, Knobs, Mute, Stop};
use crate::sip::session::ExtraHeaders;
use crate::switchboard::order::DialOrder;

/// Ring times that are taken.
const RING: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);

/// Room is left for an ending in the 255 bytes that a file name may have.
const MAX_FILE_NAME: usize = 200;

/// Whom to dial, how, and what then.
pub(super) fn dial(message: proto::DialRequest) -> Result<DialOrder, Refused> {
    let proto::DialRequest {
        request_id,
        callee,
        caller,
        caller_name,
        trunk,
        ring_timeout,
        not_after,
        early_media_asr,
        recording,
        headers,
        user_to_user,
        variables,
        dialogue,
        speech,
        knobs,
        correlation,
        user_to_user_values,
        answering_machine,
        answering_machine_rules,
        phrases,
    } = message;
    let rules = answering_machine_rules.unwrap_or_default();
    let mut headers = self::headers("headers", headers)?;
    headers.user_to_user(&convert::user_to_user("user_to_user_values", user_to_user_values)?);
    let recording = recording.unwrap_or_default();
    let ring_timeout = ring_timeout.map(Duration::try_from).transpose();
    Ok(DialOrder {
        request_id: required("request_id", request_id)?,
        phrases: convert::phrases("phrases", phrases)?,
        callee: number("callee", required("callee", callee)?)?,
        caller: number("caller", caller)?,
        caller_name: line("caller_name", caller_name)?,
        trunk: id("trunk", trunk)?,
        ring_timeout: ring_timeout
            .ok()
            .filter(|ring| ring.is_none_or(|ring| RING.contains(&ring)))
            .ok_or_else(|| Refused::invalid("ring_timeout", "is out of range, 1 s to 300 s"))?,
        not_after: not_after.map(moment).transpose()?,
        early_media_asr,
        record: recording.enabled,
        answering_machine,
        answerer_rules: answerer_rules(&rules),
        answerer_early_media: rules.early_media,
        recording_name: file_name("recording.name", recording.name)?,
        headers: headers.into_list(),
        user_to_user: line("user_to_user", user_to_user)?,
        variables: self::variables(variables)?,
        dialogue: id("dialogue", dialogue)?,
        speech: id("speech", speech)?,
        knobs: self::knobs(knobs)?,
        correlation: id("correlation", correlation)?,
    })
}

/// The rules that an order has of its own, by the names of [`Rules::named`](crate::dsp::answerer::Rules::named).
fn answerer_rules(rules: &proto::dial_request::AnsweringMachineRules) -> Vec<(&'static str, u32)> {
    [
        ("initial_silence_ms", rules.initial_silence_ms),
        ("greeting_ms", rules.greeting_ms),
        ("after_greeting_ms", rules.after_greeting_ms),
        ("min_word_ms", rules.min_word_ms),
        ("word_pause_ms", rules.word_pause_ms),
        ("most_words", rules.most_words),
        ("longest_ms", rules.longest_ms),
        ("beep_wait_ms", rules.beep_wait_ms),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

/// An inbound call to be answered: its id, the dialogue's name, the knobs, headers of the 200.
pub(super) fn answer(message: proto::AnswerRequest) -> Result<(String, String, KnobChange, ExtraHeaders), Refused> {
    let proto::AnswerRequest { call_id, dialogue, knobs, headers, user_to_user } = message;
    let mut headers = self::headers("headers", headers)?;
    headers.user_to_user(&convert::user_to_user("user_to_user", user_to_user)?);
    Ok((required("call_id", call_id)?, id("dialogue", dialogue)?, self::knobs(knobs)?, headers))
}

/// An inbound call to be refused: its id, the SIP status, the reason phrase.
pub(super) fn decline(message: proto::DeclineRequest) -> Result<(String, u16, String), Refused> {
    let proto::DeclineRequest { call_id, status, reason } = message;
    let call_id = required("call_id", call_id)?;
    let status = match status {
        0 => 603,
        status => u16::try_from(status)
            .ok()
            .filter(|status| (400..700).contains(status))
            .ok_or_else(|| Refused::invalid("status", format!("{status} is out of range, 400 to 699")))?,
    };
    Ok((call_id, status, line("reason", reason)?))
}

/// Something for a call to do: its id, the request's, what.
pub(super) fn send(message: proto::SendRequest) -> Result<(String, String, Action), Refused> {
    let proto::SendRequest { call_id, request_id, command } = message;
    let call_id = required("call_id", call_id)?;
    let request_id = id("request_id", request_id)?;
    let action = match command {
        Some(Command::Say(say)) => Action::Say(convert::say("say", say)?),
        Some(Command::Stop(Stop {})) => Action::Stop,
        Some(Command::Collect(message)) => convert::collect("collect", message)?,
        Some(Command::SendKeys(SendKeys { keys })) => Action::SendKeys(self::keys(keys)?),
        Some(Command::Transfer(transfer)) => convert::transfer(transfer)?,
        Some(Command::Set(knobs)) => Action::Set(convert::knobs("set", knobs)?),
        Some(Command::Hangup(hangup)) => convert::hangup(hangup)?,
        Some(Command::Label(label)) => convert::label("label", label)?,
        Some(Command::Mute(Mute { on })) => Action::Mute(on),
        Some(Command::EndTurn(message)) => convert::end_turn(message)?,
        Some(Command::MoreTime(message)) => convert::more_time(message)?,
        Some(Command::Expect(Expect { partials: true, .. })) => {
            return Err(Refused::invalid(
                "expect.partials",
                "are the dialogue's: WatchRequest.partials is the orchestrator's",
            ));
        }
        Some(Command::Expect(message)) => convert::expect(message)?,
        Some(Command::Hold(Hold { on })) => Action::Hold(on),
        Some(Command::RecordPause(RecordPause { on, keep_text })) => Action::PauseRecording { on, keep_text },
        Some(Command::AttachDialogue(AttachDialogue { dialogue })) => {
            Action::Attach(required("attach_dialogue.dialogue", dialogue)?)
        }
        Some(Command::Refer(refer)) => convert::refer(refer)?,
        Some(Command::ReferAnswer(answer)) => convert::refer_answer(answer)?,
        None => return Err(Refused::invalid("command", "is unset, or not known to this version")),
    };
    Ok((call_id, request_id, action))
}

/// A call's id in a request that is about nothing else.
pub(super) fn call_id(call_id: String) -> Result<String, Refused> {
    required("call_id", call_id)
}

fn required(field: &str, value: String) -> Result<String, Refused> {
    if value.is_empty() {
        return Err(Refused::invalid(field, "is empty"));
    }
    id(field, value)
}

/// Years 1 to 9999, as google.protobuf.Timestamp says.
fn moment(stamp: prost_types::Timestamp) -> Result<SystemTime, Refused> {
    let none = || Refused::invalid("not_after", "is no moment in time");
    let proper =
        (-62_135_596_800..=253_402_300_799).contains(&stamp.seconds) && (0..1_000_000_000).contains(&stamp.nanos);
    if !proper {
        return Err(none());
    }
    SystemTime::try_from(stamp).map_err(|_| none())
}

/// A number, a user or a `sip:` URI: what it means is the trunk's matter, what could break out of its place in a header is ours.
fn number(field: &str, value: String) -> Result<String, Refused> {
    if value.len() > 256 {
        return Err(Refused::invalid(field, "is longer than 256 bytes"));
    }
    if value.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"' | ',')) {
        return Err(Refused::invalid(field, "has a space, a line break or one of < > \" ,"));
    }
    Ok(value)
}

fn file_name(field: &str, name: String) -> Result<String, Refused> {
    if name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\')) {
        return Err(Refused::invalid(field, "has a separator or a control character: it is a name, not a path"));
    }
    if name.starts_with('.') {
        return Err(Refused::invalid(field, "begins with a dot"));
    }
    if name.len() > MAX_FILE_NAME {
        return Err(Refused::invalid(field, format!("is longer than {MAX_FILE_NAME} bytes")));
    }
    Ok(name)
}

fn variables(variables: std::collections::HashMap<String, String>) -> Result<Vec<(String, String)>, Refused> {
    if variables.len() > 64 {
        return Err(Refused::invalid("variables", format!("has {} entries, at most 64 are taken", variables.len())));
    }
    if let Some(key) = variables.keys().find(|key| key.len() > MAX_ID) {
        return Err(Refused::invalid("variables", format!("a name has {} bytes, at most 4,096 are taken", key.len())));
    }
    let mut sorted: Vec<_> = variables.into_iter().collect();
    sorted.sort();
    Ok(sorted)
}

fn knobs(knobs: Option<Knobs>) -> Result<KnobChange, Refused> {
    knobs.map_or_else(|| Ok(KnobChange::default()), |knobs| convert::knobs("knobs", knobs))
}

fn keys(keys: String) -> Result<String, Refused> {
    if keys.is_empty() || keys.len() > 64 {
        return Err(Refused::invalid(
            "send_keys.keys",
            format!("has {} keys, 1 to 64 are taken", keys.chars().count()),
        ));
    }
    if let Some(key) = keys.chars().find(|key| !matches!(key, '0'..='9' | '*' | '#' | 'A'..='D')) {
        return Err(Refused::invalid("send_keys.keys", format!("{key:?} is none of 0-9 * # A-D")));
    }
    Ok(keys)
}
