//! What an engine says that it can do, against what is wanted of it. Pure.

use std::fmt;

use super::ServiceConfig;
use super::likely::Takes;
use crate::call::prompt::Text;
use crate::codec::coding::Band;
use crate::codec::g711::Law;
use crate::codec::resample::SampleRate;
use crate::proto::speech::v1 as proto;

/// A format of audio that Trunkline can make and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// 16-bit little-endian PCM at 8, 16, 24 or 48 kHz.
    Pcm(SampleRate),
    /// G.711 at 8 kHz.
    G711(Law),
}

impl Format {
    pub(super) fn rate(self) -> SampleRate {
        match self {
            Format::Pcm(rate) => rate,
            Format::G711(_) => SampleRate::HZ_8000,
        }
    }

    fn of(offered: &proto::AudioFormat) -> Option<Format> {
        match (offered.encoding(), offered.sample_rate_hz) {
            (proto::Encoding::PcmS16le, hz @ (8_000 | 16_000 | 24_000 | 48_000)) => {
                SampleRate::from_hz(hz).map(Format::Pcm)
            }
            (proto::Encoding::Pcma, 8_000) => Some(Format::G711(Law::A)),
            (proto::Encoding::Pcmu, 8_000) => Some(Format::G711(Law::Mu)),
            _ => None,
        }
    }

    /// As the contract writes it.
    pub(super) fn message(self) -> proto::AudioFormat {
        let encoding = match self {
            Format::Pcm(_) => proto::Encoding::PcmS16le,
            Format::G711(Law::A) => proto::Encoding::Pcma,
            Format::G711(Law::Mu) => proto::Encoding::Pcmu,
        };
        proto::AudioFormat { encoding: encoding.into(), sample_rate_hz: self.rate().hz() }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(&self.message()))
    }
}

/// How recognition is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hearing {
    pub format: Format,
    /// A tag as the engine wrote it; empty: its choice.
    pub language: String,
    /// It tells what it has understood while an utterance goes on.
    pub partials: bool,
    /// What it makes of hints.
    pub takes: Takes,
}

/// How synthesis is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Speaking {
    pub format: Format,
    /// A tag; empty: the voice's own.
    pub language: String,
    /// A voice of the engine; empty: its choice.
    pub voice: String,
}

/// How recognition is to be asked for, or what does not fit.
pub(super) fn hearing(can: &proto::CapabilitiesResponse, language: &str) -> Result<Hearing, String> {
    let Some(offer) = &can.recognition else {
        return Err(format!("recognition: engine {:?} has none", can.engine));
    };
    let language = match language {
        "" => String::new(),
        // An engine that lists no languages has not said that it lacks this one.
        wanted if offer.languages.is_empty() => wanted.to_owned(),
        wanted => match lookup(wanted, offer.languages.iter().map(String::as_str)) {
            Some(tag) => tag.to_owned(),
            None => {
                let there = list(offer.languages.iter().map(String::as_str));
                return Err(format!("recognition.languages: {wanted:?} is wanted, there is {there}"));
            }
        },
    };
    let takes = Takes { phrases: offer.phrases, grammars: offer.grammars };
    Ok(Hearing { format: format("recognition", &offer.formats)?, language, partials: offer.partials, takes })
}

/// How synthesis of a text is to be asked for, for a line, or what does not fit. The text's own wishes go before the configured ones.
pub(super) fn speaking(
    can: &proto::CapabilitiesResponse,
    config: &ServiceConfig,
    text: &Text,
    line: Band,
) -> Result<Speaking, String> {
    let Some(offer) = &can.synthesis else {
        return Err(format!("synthesis: engine {:?} has none", can.engine));
    };
    if text.ssml && !offer.ssml {
        return Err(format!("synthesis.ssml: engine {:?} does not read SSML", can.engine));
    }
    let language = if text.language.is_empty() { &config.language } else { &text.language };
    if !language.is_empty() && !offer.voices.is_empty() {
        let tags = offer.voices.iter().map(|voice| voice.language.as_str());
        if lookup(language, tags.clone()).is_none() {
            return Err(format!("synthesis.voices.language: {language:?} is wanted, there is {}", list(tags)));
        }
    }
    let named = |name: &str| offer.voices.iter().find(|voice| voice.name == name);
    let unknown = |name: &str| {
        let there = list(offer.voices.iter().map(|voice| voice.name.as_str()));
        format!("synthesis.voices: {name:?} is wanted, there is {there}")
    };
    let voice = if !text.voice.is_empty() {
        named(&text.voice).ok_or_else(|| unknown(&text.voice))?.name.clone()
    } else if !config.voice.is_empty() {
        let voice = named(&config.voice).ok_or_else(|| unknown(&config.voice))?;
        // A text in another language than the configured voice's is better read by a voice of the engine's choice.
        let other =
            !text.language.is_empty() && lookup(&text.language, [voice.language.as_str()].into_iter()).is_none();
        if other { String::new() } else { voice.name.clone() }
    } else {
        String::new()
    };
    // For a line of 16 kHz what has as much in it, best without being resampled; else it is as for any other line.
    let wide = |rate: SampleRate| line == Band::Wide && rate >= SampleRate::of(line);
    let offered = || offer.formats.iter().filter_map(Format::of).filter(|format| wide(format.rate()));
    let format = match offered().find(|format| format.rate() == SampleRate::of(line)).or_else(|| offered().next()) {
        Some(format) => format,
        None => format("synthesis", &offer.formats)?,
    };
    Ok(Speaking { format, language: language.clone(), voice })
}

/// The first format offered that we can handle: the engine knows best what it likes.
fn format(part: &str, offered: &[proto::AudioFormat]) -> Result<Format, String> {
    offered.iter().find_map(Format::of).ok_or_else(|| {
        let there = offered.iter().map(name).collect::<Vec<_>>();
        let there = list(there.iter().map(String::as_str));
        format!("{part}.formats: PCM_S16LE at 8000, 16000, 24000 or 48000 Hz, PCMA or PCMU at 8000 Hz is wanted, there is {there}")
    })
}

fn name(format: &proto::AudioFormat) -> String {
    let encoding = match proto::Encoding::try_from(format.encoding) {
        Ok(encoding) => encoding.as_str_name().trim_start_matches("ENCODING_").to_owned(),
        Err(_) => format!("encoding {}", format.encoding),
    };
    format!("{encoding} at {} Hz", format.sample_rate_hz)
}

fn list<'a>(there: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = there.collect();
    names.dedup();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// RFC 4647 section 3.4 lookup: "zh-CN" is served by "zh-CN", else by "zh". Beyond it, "zh" is served by any "zh-…": an engine that lists
/// only regions has a language as well.
fn lookup<'a>(wanted: &str, mut tags: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let mut range = wanted;
    loop {
        if let Some(tag) = tags.clone().find(|tag| tag.eq_ignore_ascii_case(range)) {
            return Some(tag);
        }
        match range.rfind('-') {
            Some(at) => range = &range[..at],
            None => break,
        }
    }
    if wanted.contains('-') {
        return None;
    }
    tags.find(|tag| tag.split('-').next().is_some_and(|primary| primary.eq_ignore_ascii_case(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::capabilities_response::{Recognition, Synthesis, Voice};

    fn pcm(rate: u32) -> proto::AudioFormat {
        proto::AudioFormat { encoding: proto::Encoding::PcmS16le.into(), sample_rate_hz: rate }
    }

    fn engine() -> proto::CapabilitiesResponse {
        let voice = |name: &str, language: &str| Voice { name: name.into(), language: language.into() };
        proto::CapabilitiesResponse {
            engine: "fake".into(),
            recognition: Some(Recognition {
                formats: vec![pcm(22_050), pcm(16_000), pcm(8_000)],
                languages: vec!["en".into(), "zh-CN".into()],
                partials: true,
                phrases: false,
                grammars: false,
            }),
            synthesis: Some(Synthesis {
                formats: vec![pcm(24_000)],
                voices: vec![voice("anna", "en-GB"), voice("li", "zh-CN")],
                streaming_text: false,
                ssml: false,
            }),
        }
    }

    #[test]
    fn a_wide_line_is_spoken_to_at_its_rate_where_the_engine_has_it() {
        let spoken = |formats: &[proto::AudioFormat], line| {
            let mut can = engine();
            can.synthesis.as_mut().expect("has one").formats = formats.to_vec();
            let config = ServiceConfig::new("s", "");
            speaking(&can, &config, &Text::default(), line).map(|how| how.format.rate().hz())
        };
        for (formats, narrow, wide) in [
            (&[pcm(8_000), pcm(48_000), pcm(16_000)][..], 8_000, 16_000),
            (&[pcm(8_000), pcm(48_000), pcm(24_000)], 8_000, 48_000),
            (&[pcm(24_000), pcm(16_000)], 24_000, 16_000),
            (&[Format::G711(Law::A).message(), pcm(8_000)], 8_000, 8_000),
        ] {
            assert_eq!(spoken(formats, Band::Narrow), Ok(narrow), "{formats:?}");
            assert_eq!(spoken(formats, Band::Wide), Ok(wide), "{formats:?}");
        }
        assert!(spoken(&[pcm(22_050)], Band::Wide).is_err());
    }

    #[test]
    fn the_first_format_that_we_can_make() {
        let mut can = engine();
        assert_eq!(hearing(&can, "").map(|h| h.format), Ok(Format::Pcm(SampleRate::HZ_16000)));
        let offer = can.recognition.as_mut().expect("has one");
        offer.formats = vec![Format::G711(Law::A).message(), pcm(8_000)];
        assert_eq!(hearing(&can, "").map(|h| h.format), Ok(Format::G711(Law::A)));
        let offer = can.recognition.as_mut().expect("has one");
        offer.formats = vec![pcm(11_025), proto::AudioFormat { encoding: 77, sample_rate_hz: 1 }];
        let error = hearing(&can, "").expect_err("nothing fits");
        assert!(error.starts_with("recognition.formats: "), "{error}");
        assert!(error.ends_with("there is PCM_S16LE at 11025 Hz, encoding 77 at 1 Hz"), "{error}");
        let offer = can.recognition.as_mut().expect("has one");
        offer.formats = vec![proto::AudioFormat { encoding: proto::Encoding::Pcmu.into(), sample_rate_hz: 16_000 }];
        assert!(hearing(&can, "").is_err(), "G.711 is of 8 kHz");
    }

    #[test]
    fn languages_are_looked_up() {
        let language = |wanted: &str| hearing(&engine(), wanted).map(|h| h.language);
        assert_eq!(language(""), Ok(String::new()));
        assert_eq!(language("en-US"), Ok("en".into()), "RFC 4647: the range is shortened");
        assert_eq!(language("zh"), Ok("zh-CN".into()));
        assert_eq!(language("zh-TW"), Err("recognition.languages: \"zh-TW\" is wanted, there is en, zh-CN".into()));
        let mut can = engine();
        can.recognition.as_mut().expect("has one").languages.clear();
        assert_eq!(hearing(&can, "de").map(|h| h.language), Ok("de".into()));
        can.recognition = None;
        assert_eq!(hearing(&can, "de"), Err("recognition: engine \"fake\" has none".into()));
    }

    #[test]
    fn a_text_may_wish_for_another_voice() {
        let config = ServiceConfig { voice: "anna".into(), language: "en".into(), ..ServiceConfig::new("s", "") };
        let voice = |voice: &str, language: &str| {
            let text = Text { voice: voice.into(), language: language.into(), ..Text::default() };
            speaking(&engine(), &config, &text, Band::Narrow).map(|s| (s.voice, s.language))
        };
        assert_eq!(voice("", ""), Ok(("anna".into(), "en".into())));
        assert_eq!(voice("li", ""), Ok(("li".into(), "en".into())));
        assert_eq!(voice("", "zh-CN"), Ok((String::new(), "zh-CN".into())), "anna does not speak it");
        assert_eq!(voice("bob", ""), Err("synthesis.voices: \"bob\" is wanted, there is anna, li".into()));
        assert_eq!(voice("", "fr"), Err("synthesis.voices.language: \"fr\" is wanted, there is en-GB, zh-CN".into()));
        let ssml = Text { ssml: true, ..Text::default() };
        assert_eq!(
            speaking(&engine(), &config, &ssml, Band::Narrow),
            Err("synthesis.ssml: engine \"fake\" does not read SSML".into())
        );
    }
}
