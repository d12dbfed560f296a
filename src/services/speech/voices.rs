//! The voices of espeak-ng: what `--voices` lists, and how a voice or a language that is asked for finds one.
//!
//! A voice is named as espeak names it: a language (`en-us`, `en-gb`, `cmn`), and a variant after a plus if another
//! timbre is wanted (`en-us+f3`). Languages are BCP 47 tags; `zh` and `zh-CN` find `cmn`, `en` finds `en-us`.

/// Why no voice was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoiceError {
    /// There is no such voice.
    #[error("no voice `{0}`: Capabilities lists the voices; a variant follows a plus, as in `en-us+f3`")]
    NoVoice(String),
    /// There is no voice for this language.
    #[error("no voice speaks `{0}`")]
    NoLanguage(String),
    /// The voice asked for does not speak the language asked for.
    #[error("voice `{voice}` speaks `{speaks}`, not `{asked}`")]
    OtherLanguage {
        /// The voice.
        voice: String,
        /// Its language.
        speaks: String,
        /// What was asked for.
        asked: String,
    },
}

/// What is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Voices {
    /// Languages, which are the names of the voices.
    languages: Vec<String>,
    /// Timbres: `f3`, `m1`, `Andrea` …
    variants: Vec<String>,
}

/// A voice that was found: what goes after `-v`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice(String);

impl Voice {
    /// As espeak wants it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Voices {
    /// Reads what `espeak-ng --voices` and `espeak-ng --voices=variant` print: a heading, then columns
    /// `priority language age/gender name file others`.
    pub fn parse(voices: &str, variants: &str) -> Self {
        // MBROLA voices need another program and other data that is usually not there.
        let languages = rows(voices).filter(|(_, file)| !file.starts_with("mb/"));
        let variants = rows(variants).filter_map(|(_, file)| file.strip_prefix("!v/"));
        Self {
            languages: languages.map(|(language, _)| language.to_owned()).collect(),
            variants: variants.map(str::to_owned).collect(),
        }
    }

    /// Every voice without a variant, with its BCP 47 tag.
    pub fn list(&self) -> impl Iterator<Item = (&str, &str)> {
        self.languages.iter().map(|language| (language.as_str(), tag(language)))
    }

    /// The voice for a request; an empty `voice` or `language` is not said, both empty give American English.
    ///
    /// # Errors
    /// [`VoiceError`]: never another voice than the one that was asked for.
    pub fn find(&self, voice: &str, language: &str) -> Result<Voice, VoiceError> {
        if voice.is_empty() {
            let asked = if language.is_empty() { "en" } else { language };
            let found = self.speaks(asked).ok_or_else(|| VoiceError::NoLanguage(asked.to_owned()))?;
            return Ok(Voice(found.to_owned()));
        }
        let (base, variant) = match voice.split_once('+') {
            Some((base, variant)) => (base, Some(variant)),
            None => (voice, None),
        };
        let unknown = || VoiceError::NoVoice(voice.to_owned());
        let found = self.languages.iter().find(|known| known.eq_ignore_ascii_case(base)).ok_or_else(unknown)?;
        if variant.is_some_and(|variant| !self.variants.iter().any(|known| known == variant)) {
            return Err(unknown());
        }
        if !language.is_empty() && primary(tag(found)) != primary(&canonical(language)) {
            let (voice, speaks) = (voice.to_owned(), tag(found).to_owned());
            return Err(VoiceError::OtherLanguage { voice, speaks, asked: language.to_owned() });
        }
        Ok(Voice(variant.map_or_else(|| found.clone(), |variant| format!("{found}+{variant}"))))
    }

    /// The voice of a language: of the whole tag, else of its longest beginning that has one.
    fn speaks(&self, language: &str) -> Option<&str> {
        let mut wanted = canonical(language);
        loop {
            let name = match wanted.as_str() {
                // Espeak has no plain English; telephones' prompts are mostly American.
                "en" => "en-us",
                "zh" => "cmn",
                other => other,
            };
            if let Some(found) = self.languages.iter().find(|known| known.eq_ignore_ascii_case(name)) {
                return Some(found);
            }
            wanted.truncate(wanted.rfind('-')?);
        }
    }
}

fn rows(listing: &str) -> impl Iterator<Item = (&str, &str)> {
    listing.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        Some((*columns.get(1)?, *columns.get(4)?))
    })
}

/// Lower case, and the macrolanguage that people write for Mandarin.
fn canonical(language: &str) -> String {
    let lower = language.replace('_', "-").to_ascii_lowercase();
    match lower.strip_prefix("cmn") {
        Some(rest) if rest.is_empty() || rest.starts_with('-') => format!("zh{rest}"),
        _ => lower,
    }
}

/// Espeak's language as a BCP 47 tag.
fn tag(language: &str) -> &str {
    if language == "cmn" || language.starts_with("cmn-") { "zh" } else { language }
}

fn primary(tag: &str) -> &str {
    tag.split('-').next().unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOICES: &str = "\
Pty Language       Age/Gender VoiceName          File                 Other Languages
 5  cmn             --/M      Chinese_(Mandarin,_latin_as_English) sit/cmn              (zh-cmn 5)(zh 5)
 5  de              --/M      German             gmw/de
 2  en-gb           --/M      English_(Great_Britain) gmw/en               (en 2)
 2  en-us           --/M      English_(America)  gmw/en-US            (en 3)
 7  en-us           --/M      us-mbrola-2        mb/mb-us2
";
    const VARIANTS: &str = "\
Pty Language       Age/Gender VoiceName          File                 Other Languages
 5  variant         --/F      female3            !v/f3
";

    #[test]
    fn languages_find_their_voice() {
        let voices = Voices::parse(VOICES, VARIANTS);
        for (language, wanted) in [
            ("", "en-us"),
            ("en", "en-us"),
            ("en-GB", "en-gb"),
            ("en_AU", "en-us"),
            ("zh", "cmn"),
            ("zh-Hans-CN", "cmn"),
            ("cmn", "cmn"),
            ("cmn-Hans-CN", "cmn"),
            ("de-AT", "de"),
        ] {
            assert_eq!(voices.find("", language).unwrap().as_str(), wanted, "{language}");
        }
        assert_eq!(voices.find("", "tlh"), Err(VoiceError::NoLanguage("tlh".into())));
    }

    #[test]
    fn a_voice_is_found_by_name_or_refused() {
        let voices = Voices::parse(VOICES, VARIANTS);
        assert_eq!(voices.find("en-US+f3", "en").unwrap().as_str(), "en-us+f3");
        assert_eq!(voices.find("cmn", "zh-CN").unwrap().as_str(), "cmn");
        for wrong in ["samantha", "en-us+f9", "en-us+../x", "-x", "us-mbrola-2"] {
            assert_eq!(voices.find(wrong, ""), Err(VoiceError::NoVoice(wrong.into())));
        }
        assert!(matches!(voices.find("de", "en"), Err(VoiceError::OtherLanguage { .. })));
        assert_eq!(voices.list().count(), 4);
    }
}
