//! `tones/*.toml` beside the profiles: what the exchanges of a country say, a file a country, named for it: its call progress tones, and its
//! announcements.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::problem::{Problem, Wrong};
use super::reader::{Found, Section, Source};
use super::{contents, written};
use crate::call::announcement::{self, MOST_PHRASES, MOST_RULES, Phrase, Rule};
use crate::call::record::Outcome;
use crate::dsp::tone::progress::{Country, Heard, MOST_FREQUENCIES, MOST_TIMES, MOST_TONES, Tone};

/// The tables by name.
pub(super) type Tables = BTreeMap<String, Table>;

/// What stands in a file: either or both.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) tones: Option<Arc<Country>>,
    pub(super) announcements: Vec<Rule>,
}

/// Reads all tables of a profiles folder; one without has none. What is wrong is told, and that table left out.
pub(super) fn read(profiles: &Path, problems: &RefCell<Vec<Problem>>) -> Tables {
    let Ok(entries) = std::fs::read_dir(profiles.join("tones")) else { return Tables::new() };
    let files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut tables = Tables::new();
    for file in files.filter(|file| file.extension().is_some_and(|end| end == "toml")) {
        let Some(name) = file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else { continue };
        let Some(text) = contents(&file, problems) else { continue };
        let source = Source { file: &file, text: &text, problems };
        let (tree, sound) = source.parse();
        if sound && let Some(table) = table(source.root(&tree), &name) {
            tables.insert(name, table);
        }
    }
    tables
}

/// A table; `None` when something in it is wrong.
fn table(mut root: Section<'_>, name: &str) -> Option<Table> {
    let tones = root.sections("tone");
    let rules = root.sections("announcement");
    if tones.is_empty() && rules.is_empty() {
        root.need(
            "tone",
            "write a [[tone]] for each tone of the country, or an [[announcement]] for each of its announcements",
        );
    }
    let (places, count) = ((root.place_of("tone"), root.place_of("announcement")), (tones.len(), rules.len()));
    if count.0 > MOST_TONES {
        places.0.wrong(format!("has more than {MOST_TONES} tones"), "leave out those that a call does not meet");
    }
    if count.1 > MOST_RULES {
        places.1.wrong(format!("has more than {MOST_RULES} rules"), "make one of those that say the same");
    }
    root.done();
    let tones = country(tones);
    let announcements: Vec<Rule> = rules.into_iter().filter_map(|section| rule(section, name)).collect();
    let whole = tones.len() == count.0 && announcements.len() == count.1 && count != (0, 0);
    let tones = (!tones.is_empty()).then(|| Arc::new(Country::new(tones)));
    whole.then_some(Table { tones, announcements })
}

fn country(sections: Vec<Section<'_>>) -> Vec<Tone> {
    let mut tones: Vec<Tone> = Vec::new();
    for section in sections {
        let place = section.place_of("cadence_ms");
        let Some(tone) = tone(section) else { continue };
        if let Some(like) = tones.iter().find(|known| known.is_like(&tone)) {
            place.wrong(
                format!("cannot be told from the {} tone above", like.heard.as_str()),
                "leave one of the two out: their times differ by less than 15 % and 30 ms",
            );
        }
        tones.push(tone);
    }
    tones
}

/// An announcement; it is told by its list and its first phrase.
fn rule(mut section: Section<'_>, list: &str) -> Option<Rule> {
    let phrase = |text: &str| match Phrase::parse(text) {
        Ok(phrase) => Ok((phrase, text.to_owned())),
        Err(error) => Err(Wrong::new(error.to_string(), "write what is only said in this announcement")),
    };
    let contains = section.list("contains", phrase);
    let all = section.list("all", phrase);
    let outcome = section.parsed("outcome", outcome);
    section.need("outcome", "write what it means, as outcome = \"notexist\", or \"none\"");
    if !section.has("contains") && !section.has("all") {
        section
            .need("contains", "write phrases of which one has to be there, or all = [...] for those that all have to");
    }
    for (key, phrases) in [("contains", &contains), ("all", &all)] {
        let count = phrases.as_ref().map_or(1, Vec::len);
        if section.has(key) && !(1..=MOST_PHRASES).contains(&count) {
            section
                .place_of(key)
                .wrong("holds no phrase, or too many", format!("write 1 to {MOST_PHRASES}, or remove it"));
        }
    }
    section.done();
    let first = contains.iter().chain(&all).flatten().next()?.value.1.clone();
    let phrases = |found: Option<Vec<Found<'_, (Phrase, String)>>>| -> Vec<Phrase> {
        found.into_iter().flatten().map(|found| found.value.0).collect()
    };
    Some(Rule {
        name: format!("{list}: {first}").into(),
        contains: phrases(contains),
        all: phrases(all),
        outcome: outcome?.value,
    })
}

fn outcome(text: &str) -> Result<Option<Outcome>, Wrong> {
    let name = |outcome: &Option<Outcome>| outcome.map_or("none", Outcome::as_str);
    announcement::OUTCOMES.into_iter().find(|outcome| name(outcome) == text).ok_or_else(|| {
        let known = announcement::OUTCOMES.iter().map(name).collect::<Vec<_>>().join(", ");
        Wrong::new("is nothing that an announcement may mean", format!("write one of: {known}"))
    })
}

fn tone(mut section: Section<'_>) -> Option<Tone> {
    let heard = section.parsed("kind", kind);
    let frequencies = section.numbers("frequencies_hz", 100..=3_400);
    let cadence = section.numbers("cadence_ms", 40..=10_000);
    section.need("kind", "write \"ringback\", \"busy\", \"congestion\" or \"unobtainable\"");
    section.need("frequencies_hz", "write one or two, as [450]");
    section.need("cadence_ms", "write on, off …, as [350, 350]; [] for a tone without a pause");
    if let Some(found) = frequencies.as_ref().filter(|found| !(1..=MOST_FREQUENCIES).contains(&found.value.len())) {
        found.place.wrong("does not have one or two frequencies", "write one or two, as [450] or [440, 480]");
        return None;
    }
    if let Some(found) = cadence.as_ref().filter(|f| f.value.len() > MOST_TIMES || !f.value.len().is_multiple_of(2)) {
        found.place.wrong("is no cadence", format!("write pairs of on and off, at most {MOST_TIMES} times in all"));
        return None;
    }
    section.done();
    // Below 10,000, as just read.
    Some(Tone {
        heard: heard?.value,
        frequencies: frequencies?.value.into_iter().map(|hz| hz as f32).collect(),
        cadence: cadence?.value.into_iter().map(|ms| ms as u32).collect(),
    })
}

fn kind(text: &str) -> Result<Heard, Wrong> {
    [Heard::Ringback, Heard::Busy, Heard::Congestion, Heard::Unobtainable]
        .into_iter()
        .find(|heard| heard.as_str() == text)
        .ok_or_else(|| {
            Wrong::new("is no kind of tone", "write \"ringback\", \"busy\", \"congestion\" or \"unobtainable\"")
        })
}

/// The tones of the table that a profile names.
pub(super) fn chosen(media: &mut Section<'_>, known: Option<&Tables>) -> Option<Arc<Country>> {
    let found = media.parsed("tones", written::name)?;
    let table = named(&found, known?)?;
    if table.tones.is_none() {
        found
            .place
            .wrong(format!("tones/{}.toml has no tone", found.value), "write a [[tone]] there, or name another table");
    }
    table.tones.clone()
}

/// The announcements of the tables that a profile names, one after the other; `None`: it names none.
pub(super) fn announced(media: &mut Section<'_>, known: Option<&Tables>) -> Option<Vec<Rule>> {
    let named_tables = media.one_or_more("announcements", written::name)?;
    let known = known?;
    let mut rules = Vec::new();
    for found in &named_tables {
        let Some(table) = named(found, known) else { continue };
        if table.announcements.is_empty() {
            found.place.wrong(
                format!("tones/{}.toml has no announcement", found.value),
                "write an [[announcement]] there, or name another table",
            );
        }
        rules.extend(table.announcements.iter().cloned());
    }
    if named_tables.is_empty() {
        media.place_of("announcements").wrong("names no table", "write \"cn\" or [\"cn\", \"us\"], or remove it");
    }
    Some(rules)
}

fn named<'a>(found: &Found<'_, String>, known: &'a Tables) -> Option<&'a Table> {
    let table = known.get(&found.value);
    if table.is_none() {
        let names: Vec<_> = known.keys().map(String::as_str).collect();
        let remedy = match names.as_slice() {
            [] => format!("write tones/{}.toml beside the profiles, as the distribution has it", found.value),
            names => format!("write one of: {}", names.join(", ")),
        };
        found.place.wrong(format!("there is no sound table tones/{}.toml", found.value), remedy);
    }
    table
}
