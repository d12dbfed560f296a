//! `tones/*.toml` beside the profiles: the call progress tones of a country a file, named for the file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::problem::{Problem, Wrong};
use super::reader::{Section, Source};
use super::{contents, written};
use crate::dsp::tone::progress::{Country, Heard, MOST_FREQUENCIES, MOST_TIMES, MOST_TONES, Tone};

/// The countries by name.
pub(super) type Countries = BTreeMap<String, Arc<Country>>;

/// Reads all tables of a profiles folder; one without has none. What is wrong is told, and that table left out.
pub(super) fn read(profiles: &Path, problems: &RefCell<Vec<Problem>>) -> Countries {
    let Ok(entries) = std::fs::read_dir(profiles.join("tones")) else { return Countries::new() };
    let files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut countries = Countries::new();
    for file in files.filter(|file| file.extension().is_some_and(|end| end == "toml")) {
        let Some(name) = file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else { continue };
        let Some(text) = contents(&file, problems) else { continue };
        let source = Source { file: &file, text: &text, problems };
        let (tree, sound) = source.parse();
        if sound && let Some(country) = country(source.root(&tree)) {
            countries.insert(name, Arc::new(country));
        }
    }
    countries
}

/// A table; `None` when something in it is wrong.
fn country(mut root: Section<'_>) -> Option<Country> {
    let sections = root.sections("tone");
    if sections.is_empty() {
        root.need("tone", "write a [[tone]] for each tone of the country");
    }
    let (count, place) = (sections.len(), root.place_of("tone"));
    if count > MOST_TONES {
        place.wrong(format!("has more than {MOST_TONES} tones"), "leave out those that a call does not meet");
    }
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
    root.done();
    (tones.len() == count && count > 0).then(|| Country::new(tones))
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

/// The table that a profile names.
pub(super) fn chosen(media: &mut Section<'_>, known: Option<&Countries>) -> Option<Arc<Country>> {
    let found = media.parsed("tones", written::name)?;
    let known = known?;
    let country = known.get(&found.value).cloned();
    if country.is_none() {
        let names: Vec<_> = known.keys().map(String::as_str).collect();
        let remedy = match names.as_slice() {
            [] => format!("write tones/{}.toml beside the profiles, as the distribution has it", found.value),
            names => format!("write one of: {}", names.join(", ")),
        };
        found.place.wrong(format!("there is no sound table tones/{}.toml", found.value), remedy);
    }
    country
}
