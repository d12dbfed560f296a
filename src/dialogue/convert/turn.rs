//! What the dialogue, or the orchestrator, asks for of the caller's turn.

use std::sync::Arc;

use super::Refused;
use super::actions::span;
use crate::call::action::Action;
use crate::call::hints::Hints;
use crate::ms::Ms;
use crate::proto::dialogue::v1 as proto;

const MOST_PHRASES: usize = 1_000;
const MAX_PHRASE: usize = 256;
const MAX_GRAMMAR: usize = 64 * 1024;
/// Of who asks for more time without saying how much.
const MORE_TIME: Ms = Ms(2_000);

/// The end of the caller's turn.
pub fn end_turn(proto::EndTurn { utterance_id }: proto::EndTurn) -> Result<Action, Refused> {
    match utterance_id {
        0 => {
            Err(Refused::invalid("end_turn.utterance_id", "is 0: name the utterance, as partial and speech_started do"))
        }
        utterance => Ok(Action::EndTurn(utterance)),
    }
}

/// More time for the caller.
pub fn more_time(proto::MoreTime { endpoint_ms }: proto::MoreTime) -> Result<Action, Refused> {
    match endpoint_ms {
        0 => Ok(Action::MoreTime(MORE_TIME)),
        ms => Ok(Action::MoreTime(span("more_time.endpoint_ms", ms, 200, 2_000)?)),
    }
}

/// What to expect from the caller.
pub fn expect(message: proto::Expect) -> Result<Action, Refused> {
    let proto::Expect { partials, phrases, grammar } = message;
    let hints = Hints { phrases: self::phrases("expect.phrases", phrases)?, grammar };
    if hints.grammar.len() > MAX_GRAMMAR {
        let reason = format!("has {} bytes, at most 65,536 are taken", hints.grammar.len());
        return Err(Refused::invalid("expect.grammar", reason));
    }
    Ok(Action::Expect { partials, hints: (!hints.is_empty()).then(|| Arc::new(hints)) })
}

/// Words and phrases that are likely. `field`: where they stand in the contract.
pub fn phrases(field: &str, phrases: Vec<String>) -> Result<Vec<String>, Refused> {
    if phrases.len() > MOST_PHRASES {
        return Err(Refused::invalid(field, format!("has {} entries, at most 1,000 are taken", phrases.len())));
    }
    match phrases.iter().position(|phrase| phrase.trim().is_empty() || phrase.len() > MAX_PHRASE) {
        Some(n) => Err(Refused::invalid(format!("{field}[{n}]"), "is empty, or longer than 256 bytes")),
        None => Ok(phrases),
    }
}
