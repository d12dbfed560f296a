//! The script as it is written. Nothing is checked here but form: known keys and their kinds.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use super::states::{Interruptible, Knob};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptForm {
    pub start: Spanned<String>,
    pub language: Option<String>,
    pub voice: Option<String>,
    pub speed: Option<Spanned<f32>>,
    pub pitch: Option<Spanned<f32>>,
    pub volume: Option<Spanned<f32>>,
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    #[serde(default)]
    pub knobs: BTreeMap<Knob, Spanned<u32>>,
    pub no_input: Option<Spanned<FallbackForm>>,
    #[serde(rename = "else")]
    pub otherwise: Option<Spanned<FallbackForm>>,
    pub states: BTreeMap<String, Spanned<StateForm>>,
}

/// One state.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateForm {
    pub say: Option<Spanned<Say>>,
    #[serde(default)]
    pub interruptible: Interruptible,
    #[serde(default)]
    pub knobs: BTreeMap<Knob, Spanned<u32>>,
    #[serde(default)]
    pub labels: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub on: Vec<Spanned<RuleForm>>,
    #[serde(default)]
    pub keys: BTreeMap<String, Spanned<String>>,
    pub on_interrupted: Option<Spanned<String>>,
    pub no_input: Option<Spanned<FallbackForm>>,
    #[serde(rename = "else")]
    pub otherwise: Option<Spanned<FallbackForm>>,
    pub next: Option<Spanned<String>>,
    #[serde(default)]
    pub hangup: bool,
}

/// What the caller may say, and where it leads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleForm {
    pub hear: Option<Words>,
    pub matches: Option<Spanned<String>>,
    pub next: Spanned<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, Spanned<String>>,
}

/// What to do when the caller says nothing, or nothing that a rule knows: a state, or a table.
#[derive(Debug)]
pub(super) struct FallbackForm {
    pub say: Option<Say>,
    pub times: Option<u32>,
    pub next: String,
}

/// A list of segments; one of them may stand without the list.
#[derive(Debug)]
pub(super) struct Say(pub Vec<SegmentForm>);

/// Words; one of them may stand without the list.
#[derive(Debug)]
pub(super) struct Words(pub Vec<String>);

/// A text, or a table.
#[derive(Debug)]
pub(super) enum SegmentForm {
    Text(String),
    Table(SegmentTable),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SegmentTable {
    pub text: Option<String>,
    pub voice: Option<String>,
    pub language: Option<String>,
    pub speed: Option<f32>,
    pub pitch: Option<f32>,
    pub volume: Option<f32>,
    pub file: Option<String>,
    pub silence_ms: Option<u32>,
}

/// Reads a string, a table or a list, whichever of them `T` can be made of. (serde's `untagged` could do it too, but would
/// answer every mistake inside with "did not match any variant".)
trait Shape: Sized {
    const WANTED: &'static str;

    fn text(_text: String) -> Option<Self> {
        None
    }

    fn table<'de, A: MapAccess<'de>>(_table: A) -> Option<Result<Self, A::Error>> {
        None
    }

    fn list<'de, A: SeqAccess<'de>>(_list: A) -> Option<Result<Self, A::Error>> {
        None
    }
}

struct Shaped<T>(PhantomData<T>);

impl<'de, T: Shape> Visitor<'de> for Shaped<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WANTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::text(text.to_owned()).ok_or_else(|| E::custom(format!("a text stands where {} is wanted", T::WANTED)))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
        let wrong = || A::Error::custom(format!("a table stands where {} is wanted", T::WANTED));
        T::table(table).unwrap_or_else(|| Err(wrong()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        let wrong = || A::Error::custom(format!("a list stands where {} is wanted", T::WANTED));
        T::list(list).unwrap_or_else(|| Err(wrong()))
    }
}

macro_rules! deserialize_shaped {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Shaped(PhantomData))
            }
        }
    )*};
}
deserialize_shaped!(Say, Words, SegmentForm, FallbackForm);

impl Shape for SegmentForm {
    const WANTED: &'static str = "a text or a table with text, file or silence_ms";

    fn text(text: String) -> Option<Self> {
        Some(Self::Text(text))
    }

    fn table<'de, A: MapAccess<'de>>(table: A) -> Option<Result<Self, A::Error>> {
        Some(SegmentTable::deserialize(MapAccessDeserializer::new(table)).map(Self::Table))
    }
}

impl Shape for Say {
    const WANTED: &'static str = "a text, a segment or a list of them";

    fn text(text: String) -> Option<Self> {
        Some(Self(vec![SegmentForm::Text(text)]))
    }

    fn table<'de, A: MapAccess<'de>>(table: A) -> Option<Result<Self, A::Error>> {
        SegmentForm::table(table).map(|segment| segment.map(|segment| Self(vec![segment])))
    }

    fn list<'de, A: SeqAccess<'de>>(list: A) -> Option<Result<Self, A::Error>> {
        Some(Vec::deserialize(SeqAccessDeserializer::new(list)).map(Self))
    }
}

impl Shape for Words {
    const WANTED: &'static str = "a word, a phrase or a list of them";

    fn text(text: String) -> Option<Self> {
        Some(Self(vec![text]))
    }

    fn list<'de, A: SeqAccess<'de>>(list: A) -> Option<Result<Self, A::Error>> {
        Some(Vec::deserialize(SeqAccessDeserializer::new(list)).map(Self))
    }
}

impl Shape for FallbackForm {
    const WANTED: &'static str = "the name of a state or a table with next, say and times";

    fn text(next: String) -> Option<Self> {
        Some(Self { say: None, times: Some(0), next })
    }

    fn table<'de, A: MapAccess<'de>>(table: A) -> Option<Result<Self, A::Error>> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            say: Option<Say>,
            times: Option<u32>,
            next: String,
        }
        let table = Table::deserialize(MapAccessDeserializer::new(table));
        Some(table.map(|Table { say, times, next }| Self { say, times, next }))
    }
}
