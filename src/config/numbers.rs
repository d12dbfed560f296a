//! `[numbers]` of a profile: how numbers are written.

use super::problem::Wrong;
use super::reader::Section;
use super::written;
use crate::switchboard::numbers::{Form, NumberPlan, Numbers, Pattern, Rule};

pub(super) fn numbers(mut section: Section<'_>) -> Numbers {
    let country = section.parsed("country", code);
    let area = section.parsed("area", code);
    let national = section.parsed("national", prefix);
    let international = section.parsed("international", code);
    if area.is_some() {
        section.need("country", "write the country code to which the area belongs, as \"49\"");
    }
    let planned = section.has("country");
    let mut of = |key| rules(section.sections(key), planned);
    let (callee, caller) = (of("callee"), of("caller"));
    let (callee_in, caller_in) = (of("callee_in"), of("caller_in"));
    section.done();
    let plan = NumberPlan {
        country: country.map(|found| found.value).unwrap_or_default(),
        area: area.map(|found| found.value).unwrap_or_default(),
        national: national.map_or_else(|| "0".to_owned(), |found| found.value),
        international: international.map_or_else(|| "00".to_owned(), |found| found.value),
    };
    Numbers { plan, callee, caller, callee_in, caller_in }
}

fn rules(sections: Vec<Section<'_>>, planned: bool) -> Vec<Rule> {
    let mut earlier: Vec<(Pattern, usize)> = Vec::new();
    let read = |mut section: Section<'_>| {
        let pattern = section.parsed("match", pattern);
        section.need("match", "write which numbers are meant, as \"0*\"");
        let form = section.parsed("to", form);
        if let Some(form) = form.as_ref().filter(|_| !planned) {
            form.place.wrong("needs a country to know whose numbers these are", "write country = \"…\" into [numbers]");
        }
        let strip = section.number("strip", 0..=32);
        let add = section.parsed("add", added);
        section.done();
        let pattern = pattern?;
        if let Some((_, line)) = earlier.iter().find(|(before, _)| before.takes_all_of(&pattern.value)) {
            pattern.place.wrong(
                format!("is never reached: line {line} takes all these numbers"),
                "move it up, or remove one of the two",
            );
        }
        earlier.push((pattern.value.clone(), pattern.place.line()));
        let least = pattern.value.least();
        if let Some(strip) = strip.as_ref().filter(|strip| strip.value as usize > least && form.is_none()) {
            strip.place.wrong(
                format!("takes {} characters off numbers of which only {least} are sure to be there", strip.value),
                "write a longer match, or a smaller strip",
            );
        }
        Some(Rule {
            pattern: pattern.value,
            form: form.map(|found| found.value),
            strip: strip.map_or(0, |found| found.value as usize),
            add: add.map(|found| found.value).unwrap_or_default(),
        })
    };
    sections.into_iter().filter_map(read).collect()
}

/// Digits; at least one.
fn code(text: &str) -> Result<String, Wrong> {
    if text.is_empty() || text.len() > 16 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Wrong::new("is not made of digits", "write it as \"49\", without + and blanks"));
    }
    Ok(text.to_owned())
}

/// Digits, or none.
fn prefix(text: &str) -> Result<String, Wrong> {
    if text.is_empty() { Ok(String::new()) } else { code(text) }
}

/// What stands before a number, or nothing.
fn added(text: &str) -> Result<String, Wrong> {
    if text.is_empty() { Ok(String::new()) } else { written::user(text) }
}

fn pattern(text: &str) -> Result<Pattern, Wrong> {
    let remedy = "write it as \"*\", \"00*\", \"11?\" or \"[2-9]???????\"";
    Pattern::parse(text).map_err(|error| Wrong::new(error.to_string(), remedy))
}

fn form(text: &str) -> Result<Form, Wrong> {
    match text {
        "e164" => Ok(Form::E164),
        "plain" => Ok(Form::Plain),
        "national" => Ok(Form::National),
        "international" => Ok(Form::International),
        _ => {
            let remedy = "write \"e164\", \"plain\", \"national\" or \"international\"";
            Err(Wrong::new("is not a form of numbers", remedy))
        }
    }
}
