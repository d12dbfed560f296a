//! Headers and User-to-User that somebody else wants to stand in our SIP, and those of the far end that they are told.

use super::{Refused, id};
use crate::proto::dialogue::v1 as proto;
use crate::sip::session::{ExtraHeaders, HeaderError};
use crate::sip::uui::{HandOver, TransferTo, Uui, UuiError};

/// The most headers, and the most User-to-User values, of one message.
const MOST: usize = 64;

/// Headers, if none of them is ours to write and all can be written on one line. `path`: where they stand in the contract.
pub fn headers(path: &str, headers: Vec<proto::Header>) -> Result<ExtraHeaders, Refused> {
    few(path, headers.len())?;
    let checked = headers.into_iter().enumerate().map(|(n, proto::Header { name, value })| {
        let refused = |what: &str, reason: &str| Err(Refused::invalid(format!("{path}[{n}].{what}"), reason));
        if name.eq_ignore_ascii_case("User-to-User") {
            return refused("name", "User-to-User has a field of its own: user_to_user");
        }
        match ExtraHeaders::check(&name, &value) {
            Ok(()) => Ok((name, value)),
            Err(HeaderError::Name(_)) => refused("name", "is not a token of RFC 3261"),
            Err(HeaderError::Reserved(name)) => refused("name", &format!("{name} is written by Trunkline itself")),
            Err(HeaderError::Character(_)) => refused("value", "has a line break or another control character"),
            Err(_) => refused("value", "is longer than 4,096 bytes"),
        }
    });
    let checked = checked.collect::<Result<Vec<_>, _>>()?;
    ExtraHeaders::try_from(checked).map_err(|error| Refused::invalid(path, error.to_string()))
}

fn few(path: &str, count: usize) -> Result<(), Refused> {
    if count > MOST {
        return Err(Refused::invalid(path, format!("has {count} entries, at most {MOST} are taken")));
    }
    Ok(())
}

/// User-to-User values to be written. `path`: where they stand in the contract.
pub fn user_to_user(path: &str, values: Vec<proto::UserToUser>) -> Result<Vec<Uui>, Refused> {
    few(path, values.len())?;
    values.into_iter().enumerate().map(|(n, value)| one(&format!("{path}[{n}]"), value)).collect()
}

fn one(path: &str, value: proto::UserToUser) -> Result<Uui, Refused> {
    let proto::UserToUser { written, bytes, hand_over, purpose, content } = value;
    let wrong = |what: &str| {
        let field = format!("{path}.{what}");
        move |error: UuiError| Refused::invalid(field.clone(), error.to_string())
    };
    let mut uui = match (written.is_empty(), bytes.is_empty(), hand_over) {
        (false, true, None) => {
            if !purpose.is_empty() || !content.is_empty() {
                return Err(Refused::invalid(format!("{path}.written"), "says purpose and content by itself"));
            }
            let mut values = Uui::parse_list(&written).map_err(wrong("written"))?;
            match (values.pop(), values.is_empty()) {
                (Some(value), true) => value,
                _ => return Err(Refused::invalid(format!("{path}.written"), "is more than one value")),
            }
        }
        (true, false, None) => Uui::hex(&bytes).map_err(wrong("bytes"))?,
        (true, true, Some(context)) => {
            let context = self::hand_over(&format!("{path}.hand_over"), context)?;
            Uui::hand_over(&context).map_err(wrong("hand_over"))?
        }
        _ => return Err(Refused::invalid(path, "has not exactly one of written, bytes and hand_over")),
    };
    if !purpose.is_empty() {
        uui = uui.purpose(&purpose).map_err(wrong("purpose"))?;
    }
    if !content.is_empty() {
        uui = uui.content(&content).map_err(wrong("content"))?;
    }
    Ok(uui)
}

fn hand_over(path: &str, context: proto::HandOver) -> Result<HandOver, Refused> {
    use proto::hand_over::Type;
    let proto::HandOver { session_id, r#type, value, intent, address, more } = context;
    let to = match Type::try_from(r#type) {
        Ok(Type::Agent) => TransferTo::Agent,
        Ok(Type::SkillGroup) => TransferTo::SkillGroup,
        Ok(Type::Number) => TransferTo::Number,
        Ok(Type::Unspecified) => return Err(Refused::invalid(format!("{path}.type"), "is unset")),
        Err(_) => {
            return Err(Refused::invalid(format!("{path}.type"), format!("{} is not known to this version", r#type)));
        }
    };
    let pair = |text: String| {
        let (name, value) = text.split_once('=').ok_or_else(|| Refused::invalid(format!("{path}.more"), "has no ="))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    let more = more.into_iter().map(pair).collect::<Result<_, _>>()?;
    Ok(HandOver { session_id, to, value, intent, address, more })
}

/// Values of the far end, decoded as far as they can be.
pub fn received(values: Vec<String>) -> Vec<proto::UserToUser> {
    values.into_iter().map(decoded).collect()
}

fn decoded(written: String) -> proto::UserToUser {
    let Some(uui) = Uui::parse(&written) else {
        return proto::UserToUser { written, ..Default::default() };
    };
    let param = |name| uui.params().value(name).map(|value| value.into_owned()).unwrap_or_default();
    proto::UserToUser {
        bytes: uui.bytes().unwrap_or_default(),
        hand_over: uui.context().map(told),
        purpose: param("purpose"),
        content: param("content"),
        written,
    }
}

fn told(context: HandOver) -> proto::HandOver {
    use proto::hand_over::Type;
    let HandOver { session_id, to, value, intent, address, more } = context;
    let kind = match to {
        TransferTo::Agent => Type::Agent,
        TransferTo::SkillGroup => Type::SkillGroup,
        TransferTo::Number => Type::Number,
    };
    let more = more.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    proto::HandOver { session_id, r#type: kind.into(), value, intent, address, more }
}

/// What would end a line of SIP or hide in it; a tab is white space.
fn is_control(c: char) -> bool {
    c.is_control() && c != '\t'
}

/// Something that will stand on one line.
pub fn line(field: &str, value: String) -> Result<String, Refused> {
    if value.contains(is_control) {
        return Err(Refused::invalid(field, "has a line break or another control character"));
    }
    id(field, value)
}
