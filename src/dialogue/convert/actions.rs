//! What the dialogue, or the orchestrator, asks for.

use std::path::{Component, Path};
use std::sync::Arc;

use super::{MAX_ID, Refused, end_turn, expect, hangup, id, more_time, refer, refer_answer, transfer};
use crate::call::action::{Action, Asked};
use crate::call::collection::Collect;
use crate::call::fillers::Fillers;
use crate::call::knobs::{Background, BargeIn, KnobChange, OnBargeIn};
use crate::call::prompt::{LONGEST_TEXT, Prompt, Segment, Source, Text};
use crate::call::variables::is_variable;
use crate::dsp::tone::signal::Signal;
use crate::ms::Ms;
use crate::proto::dialogue::v1 as proto;

const MOST_BRIDGING: usize = 16;
const MOST_ATTEMPTS: u32 = 10;

/// An action of the dialogue. What cannot be honoured is said in words in [`Asked::action`].
pub fn asked(message: proto::Action) -> Asked {
    let proto::Action { mut action_id, answers, if_stale, action } = message;
    let mut refused = None;
    if action_id.len() > MAX_ID {
        refused = id("action_id", action_id.clone()).err();
        // The fault has to name the action somehow.
        action_id.truncate(action_id.floor_char_boundary(MAX_ID));
    }
    let even_if_stale = match proto::Stale::try_from(if_stale) {
        Ok(proto::Stale::Play) => true,
        Ok(proto::Stale::Drop | proto::Stale::Unspecified) => false,
        Err(_) => {
            refused.get_or_insert_with(|| unknown("if_stale", if_stale));
            false
        }
    };
    let action = match refused {
        Some(refused) => Err(refused),
        None => self::action(action),
    };
    Asked { action_id, answers, even_if_stale, action: action.map_err(|refused| refused.to_string()) }
}

fn action(action: Option<proto::action::Action>) -> Result<Action, Refused> {
    use proto::action::Action as Asked;
    match action {
        Some(Asked::Say(message)) => Ok(Action::Say(say("say", message)?)),
        Some(Asked::Stop(proto::Stop {})) => Ok(Action::Stop),
        Some(Asked::Collect(message)) => collect("collect", message),
        Some(Asked::Transfer(message)) => transfer(message),
        Some(Asked::Hangup(message)) => hangup(message),
        Some(Asked::Refer(message)) => refer(message),
        Some(Asked::ReferAnswer(message)) => refer_answer(message),
        Some(Asked::Set(message)) => Ok(Action::Set(knobs("set", message)?)),
        Some(Asked::Expect(message)) => expect(message),
        Some(Asked::Wait(proto::Wait { for_ms })) => Ok(Action::Wait(span("wait.for_ms", for_ms, 0, 60_000)?)),
        Some(Asked::Label(message)) => label("label", message),
        Some(Asked::RecordPause(proto::RecordPause { on, keep_text })) => Ok(Action::PauseRecording { on, keep_text }),
        Some(Asked::EndTurn(message)) => end_turn(message),
        Some(Asked::MoreTime(message)) => more_time(message),
        Some(Asked::Mute(proto::Mute { on })) => Ok(Action::Mute(on)),
        None => Err(Refused {
            kind: super::Kind::NotBuilt,
            field: "action".into(),
            reason: "is unset, or not known to this version".into(),
        }),
    }
}

/// A prompt. `path`: where the message stands in the contract.
pub fn say(path: &str, message: proto::Say) -> Result<Prompt, Refused> {
    let proto::Say { prompt_id, segments, barge_in, protect_ms, more, silent } = message;
    if more && prompt_id.is_empty() {
        return Err(Refused::invalid(
            format!("{path}.more"),
            "needs a prompt_id, by which the next message continues the prompt",
        ));
    }
    // Without any it ends a prompt that went on: whether there is one, the call knows.
    if segments.is_empty() && (more || prompt_id.is_empty()) {
        return Err(Refused::invalid(format!("{path}.segments"), "at least one is needed"));
    }
    let protect = match protect_ms {
        Some(ms) => Some(span(&format!("{path}.protect_ms"), ms, 0, 60_000)?),
        None => None,
    };
    let segments = segments.into_iter().enumerate();
    let segments = segments.map(|(n, part)| segment(&format!("{path}.segments[{n}]"), part, more));
    Ok(Prompt {
        id: id(&format!("{path}.prompt_id"), prompt_id)?,
        barge_in: self::barge_in(&format!("{path}.barge_in"), barge_in)?,
        protect,
        silent,
        more,
        segments: segments.collect::<Result<_, _>>()?,
    })
}

/// `piece`: of a text that goes on.
pub(super) fn segment(path: &str, message: proto::Segment, piece: bool) -> Result<Segment, Refused> {
    use proto::segment::Segment as Part;
    let source = match message.segment {
        Some(Part::Text(message)) => Source::Text(text(&format!("{path}.text"), message, piece)?),
        Some(Part::File(proto::File { path: file })) => Source::File(below(&format!("{path}.file.path"), file)?),
        Some(Part::Variable(message)) => Source::Text(variable(&format!("{path}.variable"), message)?),
        Some(Part::Tone(message)) => Source::Tone(tone(&format!("{path}.tone"), &message)?),
        Some(Part::Silence(proto::Silence { duration_ms })) => {
            Source::Silence(span(&format!("{path}.silence.duration_ms"), duration_ms, 20, 60_000)?)
        }
        None => return Err(Refused::invalid(path, "is empty, or of a kind not known to this version")),
    };
    Ok(Segment { source, mark: id(&format!("{path}.mark"), message.mark)? })
}

/// A text of nothing else.
fn variable(path: &str, message: proto::Variable) -> Result<Text, Refused> {
    let proto::Variable { name, spoken } = message;
    if !is_variable(&name) {
        let reason = format!("{name:?} is no name of a variable: 1 to 64 letters, digits, _, - and .");
        return Err(Refused::invalid(format!("{path}.name"), reason));
    }
    let spoken = spoken.unwrap_or_default();
    if !spoken.text.is_empty() || spoken.ssml {
        return Err(Refused::invalid(
            format!("{path}.spoken"),
            "has a text, or ssml: only how it is spoken may be said",
        ));
    }
    text(&format!("{path}.spoken"), proto::Text { text: format!("${{{name}}}"), ..spoken }, false)
}

fn tone(path: &str, message: &proto::Tone) -> Result<Signal, Refused> {
    let proto::Tone { frequencies, duration_ms, level_dbm0, on_ms, off_ms } = message;
    let invalid = |field: &str, reason: String| Refused::invalid(format!("{path}.{field}"), reason);
    if let Some(hz) = frequencies.iter().find(|hz| !(100..=3_800).contains(*hz)) {
        return Err(invalid("frequencies", format!("{hz} is out of range, 100 to 3800")));
    }
    let hz = |n: usize| frequencies.get(n).map(|hz| *hz as u16);
    let (Some(first), None) = (hz(0), hz(2)) else {
        return Err(invalid("frequencies", format!("has {} entries, one or two are needed", frequencies.len())));
    };
    let level = within(&format!("{path}.level_dbm0"), *level_dbm0, -40.0, -3.0)?.unwrap_or(-13.0);
    let length = span(&format!("{path}.duration_ms"), *duration_ms, 20, 60_000)?;
    let steady = Signal::new(first, hz(1), level, length);
    if (*on_ms, *off_ms) == (0, 0) {
        return Ok(steady);
    }
    let on = span(&format!("{path}.on_ms"), *on_ms, 20, 60_000)?;
    Ok(steady.with_pauses(on, span(&format!("{path}.off_ms"), *off_ms, 20, 60_000)?))
}

fn text(path: &str, message: proto::Text, piece: bool) -> Result<Text, Refused> {
    let proto::Text { text, voice, speed, pitch, volume, language, ssml, once } = message;
    if text.is_empty() || (!piece && text.trim().is_empty()) {
        return Err(Refused::invalid(format!("{path}.text"), "is empty"));
    }
    if text.len() > LONGEST_TEXT {
        return Err(Refused::invalid(
            format!("{path}.text"),
            format!("has {} bytes, at most 16,384 are taken", text.len()),
        ));
    }
    Ok(Text {
        text: text.into(),
        voice: id(&format!("{path}.voice"), voice)?,
        language: id(&format!("{path}.language"), language)?,
        speed: within(&format!("{path}.speed"), speed, 0.5, 2.0)?,
        pitch: within(&format!("{path}.pitch"), pitch, -12.0, 12.0)?,
        volume: within(&format!("{path}.volume"), volume, -40.0, 10.0)?,
        ssml,
        once,
    })
}

/// A fact for the record. `path`: where the message stands in the contract.
pub fn label(path: &str, message: proto::Label) -> Result<Action, Refused> {
    if message.key.is_empty() {
        return Err(Refused::invalid(format!("{path}.key"), "is empty"));
    }
    Ok(Action::Label { key: id(&format!("{path}.key"), message.key)?, value: message.value })
}

/// A change of knobs. `path`: where the message stands in the contract. Values out of range pass: the call clamps and reports them.
pub fn knobs(path: &str, message: proto::Knobs) -> Result<KnobChange, Refused> {
    let on_barge_in = match proto::OnBargeIn::try_from(message.on_barge_in) {
        Ok(proto::OnBargeIn::Unspecified) => None,
        Ok(proto::OnBargeIn::Stop) => Some(OnBargeIn::Stop),
        Ok(proto::OnBargeIn::Pause) => Some(OnBargeIn::Pause),
        Err(_) => return Err(unknown(&format!("{path}.on_barge_in"), message.on_barge_in)),
    };
    if message.bridging.len() > MOST_BRIDGING {
        let reason = format!("has {} entries, at most {MOST_BRIDGING} are taken", message.bridging.len());
        return Err(Refused::invalid(format!("{path}.bridging"), reason));
    }
    let bridging = message.bridging.into_iter().enumerate();
    let bridging =
        bridging.map(|(n, part)| bridge(&format!("{path}.bridging[{n}]"), part)).collect::<Result<Vec<_>, _>>()?;
    let background = message.background.map(|message| background(&format!("{path}.background"), message));
    Ok(KnobChange {
        endpoint: message.endpoint_ms.map(Ms),
        speech_start: message.speech_start_ms.map(Ms),
        pre_roll: message.pre_roll_ms.map(Ms),
        max_utterance: message.max_utterance_ms.map(Ms),
        no_input: message.no_input_ms.map(Ms),
        barge_in: barge_in(&format!("{path}.barge_in"), message.barge_in)?,
        min_speech: message.min_speech_ms.map(Ms),
        protect: message.protect_ms.map(Ms),
        second_opinion: message.second_opinion,
        key_barge_in: message.key_barge_in,
        min_words: message.min_words,
        echo_guard_db: message.echo_guard_db,
        ignore: fillers(&format!("{path}.ignore"), message.ignore)?,
        on_barge_in,
        verdict: message.verdict_ms.map(Ms),
        filler_after: message.filler_after_ms.map(Ms),
        bridging: (!bridging.is_empty()).then(|| bridging.into()),
        background: background.transpose()?,
    })
}

/// A list of fillers: none leaves it as it is, one empty string alone makes it empty.
fn fillers(field: &str, phrases: Vec<String>) -> Result<Option<Arc<Fillers>>, Refused> {
    let phrases = match &phrases[..] {
        [] => return Ok(None),
        [one] if one.is_empty() => &[],
        all => all,
    };
    Ok(Some(Arc::new(Fillers::new(phrases).map_err(|bad| Refused::invalid(field, bad.to_string()))?)))
}

fn bridge(path: &str, message: proto::Segment) -> Result<Source, Refused> {
    match segment(path, message, false)? {
        Segment { source: Source::Silence(_), .. } => {
            Err(Refused::invalid(path, "is silence: it would bridge nothing"))
        }
        Segment { mark, .. } if !mark.is_empty() => {
            Err(Refused::invalid(format!("{path}.mark"), "a bridging phrase has none"))
        }
        Segment { source, .. } => Ok(source),
    }
}

/// A collection of keys, or the end of one. `path`: where the message stands in the contract.
pub fn collect(path: &str, message: proto::Collect) -> Result<Action, Refused> {
    if message.cancel {
        return match message == (proto::Collect { cancel: true, ..Default::default() }) {
            true => Ok(Action::Collect(None)),
            false => {
                Err(Refused::invalid(format!("{path}.cancel"), "ends a collection: nothing else may be set beside it"))
            }
        };
    }
    let within = |field: &str, value: u32, default: u32, low: u32, high: u32| match value {
        0 => Ok(default),
        value if (low..=high).contains(&value) => Ok(value),
        value => Err(Refused::invalid(format!("{path}.{field}"), format!("{value} is out of range, {low} to {high}"))),
    };
    let keys =
        |field: &str, keys: &str| match keys.chars().find(|key| !matches!(key, '0'..='9' | '*' | '#' | 'A'..='D')) {
            Some(key) => Err(Refused::invalid(format!("{path}.{field}"), format!("{key:?} is none of 0-9 * # A-D"))),
            None => Ok(()),
        };
    let proto::Collect {
        max_digits, timeout_ms, attempts, terminator, inter_digit_ms, allowed, prompts, masked, ..
    } = message;
    keys("terminator", &terminator)?;
    keys("allowed", &allowed)?;
    if terminator.len() > 1 {
        return Err(Refused::invalid(format!("{path}.terminator"), "is more than one key"));
    }
    if prompts.len() > MOST_ATTEMPTS as usize {
        let reason = format!("has {} entries, at most {MOST_ATTEMPTS} are taken", prompts.len());
        return Err(Refused::invalid(format!("{path}.prompts"), reason));
    }
    let prompts = prompts.into_iter().enumerate().map(|(n, prompt)| say(&format!("{path}.prompts[{n}]"), prompt));
    Ok(Action::Collect(Some(Box::new(Collect {
        max_digits: within("max_digits", max_digits, 1, 1, 64)? as usize,
        timeout: Ms(within("timeout_ms", timeout_ms, 60_000, 1_000, 600_000)?),
        attempts: within("attempts", attempts, 1, 1, MOST_ATTEMPTS)?,
        terminator: terminator.chars().next(),
        inter_digit: Some(Ms(within("inter_digit_ms", inter_digit_ms, 0, 200, 60_000)?)).filter(|ms| *ms > Ms(0)),
        allowed,
        prompts: prompts.collect::<Result<_, _>>()?,
        masked,
    }))))
}

/// What is looped; without a path nothing.
fn background(path: &str, message: proto::knobs::Background) -> Result<Background, Refused> {
    let proto::knobs::Background { path: file, level_db } = message;
    if file.is_empty() {
        return Ok(Background { path: "".into(), level_db: 0.0 });
    }
    let (low, high) = (*Background::LEVELS_DB.start(), *Background::LEVELS_DB.end());
    within(&format!("{path}.level_db"), Some(level_db), low, high)?;
    Ok(Background { path: below(&format!("{path}.path"), file)?.into(), level_db })
}

fn barge_in(field: &str, policy: i32) -> Result<Option<BargeIn>, Refused> {
    match proto::BargeInPolicy::try_from(policy) {
        Ok(proto::BargeInPolicy::Unspecified) => Ok(None),
        Ok(proto::BargeInPolicy::Never) => Ok(Some(BargeIn::Never)),
        Ok(proto::BargeInPolicy::Speech) => Ok(Some(BargeIn::Speech)),
        Ok(proto::BargeInPolicy::Words) => Ok(Some(BargeIn::Words)),
        Err(_) => Err(unknown(field, policy)),
    }
}

fn unknown(field: &str, value: i32) -> Refused {
    Refused::invalid(field, format!("{value} is not known to this version"))
}

pub(super) fn span(field: &str, ms: u32, low: u32, high: u32) -> Result<Ms, Refused> {
    if !(low..=high).contains(&ms) {
        return Err(Refused::invalid(field, format!("{ms} is out of range, {low} to {high}")));
    }
    Ok(Ms(ms))
}

fn within(field: &str, value: Option<f32>, low: f32, high: f32) -> Result<Option<f32>, Refused> {
    match value {
        Some(value) if !(low..=high).contains(&value) => {
            Err(Refused::invalid(field, format!("{value} is out of range, {low} to {high}")))
        }
        value => Ok(value),
    }
}

/// A path that cannot lead out of the folder that it is relative to, whatever the folder is.
fn below(field: &str, path: String) -> Result<String, Refused> {
    if path.is_empty() {
        return Err(Refused::invalid(field, "is empty"));
    }
    let inside = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || path.contains(['\\', '\0']) || path.len() > MAX_ID {
        return Err(Refused::invalid(field, "does not lie below the prompts folder"));
    }
    Ok(path)
}
