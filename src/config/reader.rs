//! Reads a TOML file key by key and goes on after a mistake.
//!
//! serde's derived readers stop at the first mistake and forget the lines; an operator who corrects a file wants all of them, also those
//! that show only when two keys are looked at together. So the file is taken as a tree with places, and each value is asked for
//! by what it has to be. A key that nobody asked for is a mistake too: [`Section::done`].
//!
//! No value of a key is ever quoted here, and no line of the file: it could be a password.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Wrong};

/// A file and where its mistakes go.
pub(super) struct Source<'a> {
    pub file: &'a Path,
    pub text: &'a str,
    pub problems: &'a RefCell<Vec<Problem>>,
}

impl<'a> Source<'a> {
    /// The tree, and whether the file is TOML throughout; what is not is told. A parser that goes on after a mistake of the syntax may lose
    /// whole sections, so the tree of such a file must not be judged.
    pub(super) fn parse(&self) -> (Spanned<DeTable<'a>>, bool) {
        let (tree, errors) = DeTable::parse_recoverable(self.text);
        let sound = errors.is_empty();
        let mut told = 0;
        for error in errors {
            let line = self.line(error.span().map_or(0, |span| span.start));
            // One mistake brings others on its line along.
            if line != told {
                let wrong = Wrong::new(error.message(), "correct the TOML");
                self.tell(line, String::new(), wrong);
            }
            told = line;
        }
        (tree, sound)
    }

    /// The whole file.
    pub(super) fn root(&'a self, tree: &'a Spanned<DeTable<'a>>) -> Section<'a> {
        Section {
            place: Place { source: self, line: 0, key: String::new() },
            table: Some(tree.get_ref()),
            asked: Vec::new(),
        }
    }

    fn line(&self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        1 + before.iter().filter(|&&b| b == b'\n').count()
    }

    fn tell(&self, line: usize, key: String, wrong: Wrong) {
        self.problems.borrow_mut().push(Problem {
            file: self.file.to_owned(),
            line,
            key,
            reason: wrong.reason,
            remedy: wrong.remedy,
        });
    }
}

/// Where something stands.
#[derive(Clone)]
pub(super) struct Place<'a> {
    source: &'a Source<'a>,
    line: usize,
    key: String,
}

impl Place<'_> {
    pub(super) fn wrong(&self, reason: impl Into<String>, remedy: impl Into<String>) {
        self.tell(Wrong::new(reason, remedy));
    }

    pub(super) fn tell(&self, wrong: Wrong) {
        self.source.tell(self.line, self.key.clone(), wrong);
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// `file:line`, to point at it from elsewhere.
    pub(super) fn named(&self) -> String {
        format!("{}:{}", self.source.file.display(), self.line)
    }
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Found<'a, T> {
    pub value: T,
    pub place: Place<'a>,
}

/// A table; one that is not there is an empty one.
pub(super) struct Section<'a> {
    pub place: Place<'a>,
    table: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// Whether the file has it.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Whether it has this key, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.get(key).is_some())
    }

    /// Where a key stands; if it is missing, where its section does; if that is missing too, only the file is named.
    pub(super) fn place_of(&self, key: &str) -> Place<'a> {
        let value = self.table.and_then(|table| table.get(key));
        let line = value.map(|v| self.place.source.line(v.span().start));
        Place {
            source: self.place.source,
            line: line.unwrap_or(if self.is_there() { self.place.line } else { 0 }),
            key: self.name(key),
        }
    }

    /// Complains when a key is not there.
    pub(super) fn need(&self, key: &str, remedy: &str) {
        if !self.has(key) {
            self.place_of(key).wrong("is missing", remedy);
        }
    }

    /// A text, without control characters, that means something.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Found<'a, T>> {
        let (value, place) = self.raw(key)?;
        parse_text(value, place, &parse)
    }

    /// A list of texts that mean something; those that do not are told and left out.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<Found<'a, T>>> {
        let (value, place) = self.raw(key)?;
        let Some(items) = value.as_array() else {
            place.wrong(is_no(value, "list of strings"), "write it as [\"one\", \"two\"]");
            return None;
        };
        let item = |item: &'a Spanned<DeValue<'a>>| {
            let place = Place { line: place.source.line(item.span().start), ..place.clone() };
            parse_text(item.get_ref(), place, &parse)
        };
        Some(items.iter().filter_map(item).collect())
    }

    /// A text, or a list of texts, that mean something.
    pub(super) fn one_or_more<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<Found<'a, T>>> {
        let is_list =
            self.table.and_then(|table| table.get(key)).is_some_and(|value| value.get_ref().as_array().is_some());
        if is_list {
            return self.list(key, parse);
        }
        self.parsed(key, parse).map(|found| vec![found])
    }

    /// A whole number.
    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<Found<'a, u64>> {
        let (value, place) = self.raw(key)?;
        let (low, high) = (range.start(), range.end());
        let remedy = format!("write a whole number from {low} to {high}");
        let Some(integer) = value.as_integer() else {
            place.wrong(is_no(value, "whole number"), remedy);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        match number.filter(|n| range.contains(n)) {
            Some(value) => Some(Found { value, place }),
            None => {
                place.wrong("is out of range", remedy);
                None
            }
        }
    }

    /// A list of whole numbers; those that do not fit are told and left out.
    pub(super) fn numbers(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<Found<'a, Vec<u64>>> {
        let (value, place) = self.raw(key)?;
        let Some(items) = value.as_array() else {
            place.wrong(is_no(value, "list of whole numbers"), "write it as [1, 2]");
            return None;
        };
        let mut numbers = Vec::new();
        for item in items.iter() {
            let integer = item.get_ref().as_integer();
            let number = integer.and_then(|i| u64::from_str_radix(i.as_str(), i.radix()).ok());
            match number.filter(|n| range.contains(n)) {
                Some(number) => numbers.push(number),
                None => {
                    let place = Place { line: place.source.line(item.span().start), ..place.clone() };
                    let (low, high) = (range.start(), range.end());
                    place.wrong("holds what is out of range", format!("write whole numbers from {low} to {high}"));
                }
            }
        }
        Some(Found { value: numbers, place })
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<Found<'a, bool>> {
        let (value, place) = self.raw(key)?;
        match value.as_bool() {
            Some(value) => Some(Found { value, place }),
            None => {
                place.wrong(is_no(value, "truth value"), "write true or false");
                None
            }
        }
    }

    /// A table in this one.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let place = self.place_of(key);
        let found = self.raw(key);
        let table = found.and_then(|(value, place)| {
            if value.as_table().is_none() {
                place.wrong(is_no(value, "table"), format!("write it as [{}]", place.key));
            }
            value.as_table()
        });
        Section { place, table, asked: Vec::new() }
    }

    /// A list of tables in this one.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some((value, place)) = self.raw(key) else {
            return Vec::new();
        };
        let remedy = format!("write each as [[{}]]", place.key);
        let Some(items) = value.as_array() else {
            place.wrong(is_no(value, "list of tables"), remedy);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items.iter() {
            let place = Place { line: place.source.line(item.span().start), ..place.clone() };
            match item.get_ref().as_table() {
                None => place.wrong(is_no(item.get_ref(), "table"), remedy.clone()),
                table => sections.push(Section { place, table, asked: Vec::new() }),
            }
        }
        sections
    }

    /// A value of one kind or another.
    pub(super) fn raw(&mut self, key: &'static str) -> Option<(&'a DeValue<'a>, Place<'a>)> {
        self.asked.push(key);
        let value = self.table?.get(key)?;
        Some((value.get_ref(), self.place_of(key)))
    }

    /// A table that stands as a value, `{ a = 1 }`.
    pub(super) fn inline(place: Place<'a>, table: &'a DeTable<'a>) -> Section<'a> {
        Section { place, table: Some(table), asked: Vec::new() }
    }

    /// Keys that are known, and of no interest here.
    pub(super) fn pass(&mut self, keys: impl IntoIterator<Item = &'static str>) {
        self.asked.extend(keys);
    }

    /// Ends the reading: keys that nobody asked for are mistakes.
    pub(super) fn done(self) {
        #[cfg(test)]
        known::add(self.asked.iter().map(|key| self.name(key)));
        let Some(table) = self.table else { return };
        for (key, _) in table.iter() {
            let name = key.get_ref();
            if self.asked.iter().any(|asked| asked == name) {
                continue;
            }
            let place = Place {
                source: self.place.source,
                line: self.place.source.line(key.span().start),
                key: self.name(name),
            };
            let known = self.asked.join(", ");
            place.wrong("is not known", format!("remove it, or choose from: {known}"));
        }
    }

    fn name(&self, key: &str) -> String {
        // A key that is no bare one could hold anything, line breaks too.
        let key: String = key.chars().map(|c| if c.is_control() { '?' } else { c }).take(80).collect();
        if self.place.key.is_empty() {
            return key;
        }
        format!("{}.{key}", self.place.key)
    }
}

fn parse_text<'a, T>(
    value: &DeValue<'_>,
    place: Place<'a>,
    parse: &impl Fn(&str) -> Result<T, Wrong>,
) -> Option<Found<'a, T>> {
    let Some(text) = value.as_str() else {
        place.wrong(is_no(value, "string"), "write it in quotation marks");
        return None;
    };
    if text.chars().any(char::is_control) {
        place.wrong("contains a control character", "remove it");
        return None;
    }
    match parse(text) {
        Ok(value) => Some(Found { value, place }),
        Err(wrong) => {
            place.tell(wrong);
            None
        }
    }
}

fn is_no(value: &DeValue<'_>, wanted: &str) -> String {
    format!("is of type {}, not a {wanted}", value.type_str())
}

/// Every key that a reader of this thread has asked for: for the test that holds the template against them.
#[cfg(test)]
pub(super) mod known {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static KEYS: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn add(keys: impl Iterator<Item = String>) {
        KEYS.with_borrow_mut(|known| known.extend(keys));
    }

    /// Takes them all.
    pub(crate) fn take() -> BTreeSet<String> {
        KEYS.take()
    }
}
