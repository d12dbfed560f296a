//! The services that a call leans on, scripted: dialogue, recogniser, synthesiser. Each turns what it is told into answers that come
//! after a while.

use trunkline::call::action::{Action, Asked};
use trunkline::call::collection::Collect;
use trunkline::call::io::{FromDialogue, FromSpeech, ToRecogniser, Wanted};
use trunkline::call::knobs::KnobChange;
use trunkline::call::line::{Line, LineEvent};
use trunkline::call::prompt::{Prompt, PromptNo, Segment, Source, Text};
use trunkline::codec::coding::Band;
use trunkline::ms::Ms;

use super::voice;

/// What the dialogue says, and after how many ms.
pub struct Reply(pub u32, pub FromDialogue);

/// Answers to an event of the line.
pub type Dialogue = Box<dyn FnMut(&LineEvent) -> Vec<Reply>>;
/// Answers to what the recogniser is told, each after so many ms.
pub type Recogniser = Box<dyn FnMut(ToRecogniser) -> Vec<(u32, FromSpeech)>>;
/// What becomes of a segment that is wanted, each after so many ms. The number counts how often this one has been wanted, from 1.
pub type Synthesiser = Box<dyn FnMut((PromptNo, u32), &Wanted, u32) -> Vec<(u32, FromSpeech)>>;

/// An action that answers nothing in particular.
pub fn act(action: Action) -> Reply {
    answering(0, action)
}

/// An action that answers an event.
pub fn answering(answers: u64, action: Action) -> Reply {
    let asked = Asked { action_id: format!("a{answers}"), answers, even_if_stale: false, action: Ok(action) };
    Reply(20, FromDialogue::Asked(asked))
}

impl Reply {
    /// The same, after so many ms.
    pub fn after(self, ms: u32) -> Reply {
        Reply(ms, self.1)
    }
}

/// A prompt of one text, known by it.
pub fn prompt(text: &str) -> Prompt {
    Prompt { id: text.to_owned(), ..Prompt::text(text) }
}

/// A part of a prompt.
pub fn text(text: &str) -> Source {
    Source::Text(Text { text: text.into(), ..Text::default() })
}

/// A prompt of several texts.
pub fn prompt_of(id: &str, texts: &[&str]) -> Prompt {
    let segments = texts.iter().map(|part| Segment { source: text(part), mark: format!("mark {part}") });
    Prompt { segments: segments.collect(), ..prompt(id) }
}

pub fn say(text: &str) -> Reply {
    act(Action::Say(prompt(text)))
}

/// A collection of one attempt, of any keys, that nothing but their number and the time ends.
pub fn plain_collect(max_digits: usize, timeout: Ms) -> Collect {
    Collect {
        max_digits,
        timeout,
        attempts: 1,
        terminator: None,
        inter_digit: None,
        allowed: String::new(),
        prompts: Vec::new(),
        masked: false,
    }
}

pub fn set(change: KnobChange) -> Reply {
    act(Action::Set(change))
}

/// Hangs up after the last word.
pub fn hang_up(reason: &str) -> Reply {
    act(Action::Hangup { now: false, reason: reason.to_owned(), farewell: Default::default() })
}

/// Greets, says one thing to each utterance in turn, and hangs up after the last; of anything else it takes no notice.
pub fn talks(greeting: &str, answers: &[&str]) -> Dialogue {
    let greeting = greeting.to_owned();
    let mut answers: Vec<String> = answers.iter().rev().map(|a| (*a).to_owned()).collect();
    Box::new(move |event| match &event.what {
        Line::Begin(_) => vec![say(&greeting)],
        Line::Utterance(u) if !u.during_prompt => match answers.pop() {
            Some(answer) if answers.is_empty() => {
                vec![answering(event.id, Action::Say(prompt(&answer))), hang_up("done").after(21)]
            }
            Some(answer) => vec![answering(event.id, Action::Say(prompt(&answer)))],
            None => Vec::new(),
        },
        _ => Vec::new(),
    })
}

/// Understands these texts, one an utterance, `ms` after its end; the rest is "…".
pub fn understands(texts: &[&str], ms: u32) -> Recogniser {
    let texts: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
    Box::new(move |told| match told {
        ToRecogniser::UtteranceEnd { utterance, .. } => {
            let text = texts.get(utterance as usize - 1).map_or("…", |text| text);
            vec![(ms, final_text(utterance, text))]
        }
        _ => Vec::new(),
    })
}

pub fn final_text(utterance: u32, text: &str) -> FromSpeech {
    FromSpeech::Final { utterance, text: text.to_owned(), alternatives: Vec::new(), confidence: Some(0.9) }
}

pub fn partial(utterance: u32, text: &str) -> FromSpeech {
    FromSpeech::Partial { utterance, text: text.to_owned() }
}

/// Speaks 61 ms a character in a tone, in pieces of 100 ms: the first after 80 ms, the others faster than they are heard. It does not
/// care whether it is still wanted: what is on its way comes.
pub fn speaks() -> Synthesiser {
    Box::new(|place, wanted, _| spoken(place, wanted, 80))
}

/// As [`speaks`], with the first piece after so many ms.
pub fn spoken((prompt, segment): (PromptNo, u32), wanted: &Wanted, first: u32) -> Vec<(u32, FromSpeech)> {
    let samples = match wanted {
        Wanted::Text(text) => voice::tone(length_of(&text.text)),
        Wanted::File(_) => {
            return vec![(
                5,
                FromSpeech::Recording { prompt, segment, band: Band::Narrow, samples: voice::tone(Ms(1_000)).into() },
            )];
        }
    };
    let piece = |(n, samples): (usize, &[i16])| {
        (first + n as u32 * 40, FromSpeech::Sound { prompt, segment, band: Band::Narrow, samples: samples.to_vec() })
    };
    let mut pieces: Vec<_> = samples.chunks(800).enumerate().map(piece).collect();
    pieces.push((first + pieces.len() as u32 * 40, FromSpeech::SoundEnd { prompt, segment }));
    pieces
}

/// How long [`speaks`] takes to say something.
pub fn length_of(text: &str) -> Ms {
    Ms(61 * text.chars().count() as u32)
}
