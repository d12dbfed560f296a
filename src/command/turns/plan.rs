//! What is tried: rows, each with its knobs and its bar, and the trials of each.

use std::path::Path;
use std::sync::Arc;

use rand::RngExt;
use rand::seq::SliceRandom;

use super::clip::{self, Clip, PER_MS, add_noise, built_in, edges, seeded, spoken, to_pcm};
use super::noises;
use crate::command::harness::Trouble;
use crate::proto::dialogue::v1::{BargeInPolicy, Knobs, OnBargeIn};

/// Settings of `endpoint_ms`, and pauses within an utterance.
pub(super) const ENDPOINTS_MS: [u32; 6] = [200, 400, 700, 1_000, 1_500, 2_000];
pub(super) const PAUSES_MS: [u32; 6] = [300, 500, 700, 900, 1_200, 1_500];
const LEVELS: [f32; 5] = [-15.0, -20.0, -25.0, -30.0, -35.0];
/// What a caller is as loud as, unless it is the level that is tried.
const USUAL: f32 = -20.0;
/// What a noisy line has.
const NOISE: f32 = -45.0;
/// A prompt has been heard for so long before anybody makes a sound: at least, and so much more by chance.
const INTO_PROMPT_MS: u32 = 500;
const BY_CHANCE_MS: u32 = 400;

/// What happens in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// A question, answered at once by a recording.
    AskFile,
    /// … by a text, whose synthesis takes no time.
    AskText,
    /// An utterance with a pause in it, which must be one.
    Whole,
    /// A caller who wants to interrupt.
    Interrupt,
    /// A noise under a prompt, which goes on.
    Disturb,
}

/// Rows of one kind, for the table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) task: Task,
    /// What is heard.
    pub(super) name: String,
    /// The knobs, in words.
    pub(super) policy: &'static str,
    pub(super) knobs: Knobs,
    /// What is counted must be below 5 %.
    pub(super) bar: bool,
}

/// One try.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) row: usize,
    /// Which of its row.
    pub(super) number: u32,
    sounds: Sounds,
    level: f32,
    noise: Option<f32>,
    pub(super) echo: Option<(f32, u32)>,
}

#[derive(Debug, Clone)]
enum Sounds {
    One(Arc<Clip>),
    Two(Arc<Clip>, u32, Arc<Clip>),
    /// Nothing but what the line gives back.
    None,
}

/// A trial's sound.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) samples: Vec<i16>,
    /// Where the caller's voice or noise begins and ends, in samples.
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) words: String,
    pub(super) name: String,
}

/// Everything that is tried, in an order that mixes it.
pub(super) struct Plan {
    pub(super) rows: Vec<Row>,
    pub(super) trials: Vec<Trial>,
}

/// How it is asked for.
pub(super) const DEFAULT: &str = "speech";
pub(super) const QUICK: &str = "speech, quick";
pub(super) const ALONE: &str = "speech, no 2nd";
pub(super) const LONG: &str = "speech 500 ms";
pub(super) const PAUSE: &str = "speech, pause";
pub(super) const WORDS: &str = "words";
pub(super) const GUARD_12: &str = "speech, guard 12";

/// The knobs of a policy: all that it names, so that nothing is left over from the trial before.
fn knobs(policy: &str, endpoint_ms: u32) -> Knobs {
    let mut knobs = Knobs {
        endpoint_ms: Some(endpoint_ms),
        speech_start_ms: Some(100),
        min_speech_ms: Some(200),
        no_input_ms: Some(0),
        barge_in: BargeInPolicy::Speech.into(),
        on_barge_in: OnBargeIn::Stop.into(),
        echo_guard_db: Some(20),
        second_opinion: Some(true),
        ..Knobs::default()
    };
    match policy {
        QUICK => (knobs.speech_start_ms, knobs.min_speech_ms) = (Some(40), Some(60)),
        ALONE => knobs.second_opinion = Some(false),
        LONG => knobs.min_speech_ms = Some(500),
        PAUSE => knobs.on_barge_in = OnBargeIn::Pause.into(),
        WORDS => knobs.barge_in = BargeInPolicy::Words.into(),
        GUARD_12 => knobs.echo_guard_db = Some(12),
        _ => {}
    }
    knobs
}

impl Plan {
    /// `turns` trials of each row; recordings of noises of the folder, too.
    pub(super) fn new(turns: u32, more: Option<&Path>) -> Result<Plan, Trouble> {
        let voices = Voices::make()?;
        let mut plan = Plan { rows: Vec::new(), trials: Vec::new() };
        plan.questions(turns, &voices);
        plan.interruptions(turns, &voices);
        plan.disturbances(turns, &voices, more)?;
        plan.pauses(turns, &voices);
        plan.trials.shuffle(&mut seeded(7, 0));
        Ok(plan)
    }

    /// Leaves out rows in which none of these words is found.
    pub(super) fn keep_only(&mut self, words: &[String]) {
        let rows = &self.rows;
        let wanted = |trial: &Trial| {
            let Row { task, name, policy, .. } = &rows[trial.row];
            let row = format!("{task:?} {name} {policy}").to_lowercase();
            words.is_empty() || words.iter().any(|word| row.contains(&word.to_lowercase()))
        };
        self.trials.retain(wanted);
    }

    fn row(&mut self, task: Task, name: impl Into<String>, policy: &'static str, endpoint_ms: u32, bar: bool) -> usize {
        let knobs = knobs(policy, endpoint_ms);
        self.rows.push(Row { task, name: name.into(), policy, knobs, bar });
        self.rows.len() - 1
    }

    fn add(&mut self, row: usize, number: u32, sounds: Sounds, level: f32) -> &mut Trial {
        let at = self.trials.len();
        self.trials.push(Trial { row, number, sounds, level, noise: None, echo: None });
        &mut self.trials[at]
    }

    fn questions(&mut self, turns: u32, voices: &Voices) {
        for (task, name) in [(Task::AskFile, "answered by a recording"), (Task::AskText, "answered by a text")] {
            let row = self.row(task, name, DEFAULT, 700, false);
            for n in 0..turns {
                self.add(row, n, Sounds::One(pick(&voices.questions, n)), USUAL);
            }
        }
    }

    fn interruptions(&mut self, turns: u32, voices: &Voices) {
        for policy in [DEFAULT, QUICK, WORDS, GUARD_12] {
            for noise in [None, Some(NOISE)] {
                for level in LEVELS {
                    let line = noise.map_or("clean line".to_owned(), |noise| format!("noise of {noise} dBFS"));
                    // What the guard of 12 dB costs is shown, and is no default; quick knobs are for the times.
                    let bar = matches!(policy, DEFAULT | WORDS);
                    let row = self.row(Task::Interrupt, format!("{level} dBFS, {line}"), policy, 700, bar);
                    for n in 0..turns {
                        // Each level has the voices in another order.
                        let stop = pick(&voices.stops, n + row as u32);
                        self.add(row, n, Sounds::One(stop), level).noise = noise;
                    }
                }
            }
        }
    }

    fn disturbances(&mut self, turns: u32, voices: &Voices, more: Option<&Path>) -> Result<(), Trouble> {
        let made = |make: fn(u64) -> Clip| (0..8).map(|which| Arc::new(make(which))).collect::<Vec<_>>();
        let mut kinds = vec![
            ("cough", made(noises::cough), -18.0, true),
            ("backchannel, English", voices.backchannels.clone(), USUAL, false),
            ("backchannel, Chinese", voices.backchannels_chinese.clone(), USUAL, false),
            ("music", made(noises::music), -25.0, true),
            ("white noise of -30 dBFS", made(noises::white), -30.0, true),
            ("pink noise of -30 dBFS", made(noises::pink), -30.0, true),
            ("keyboard", made(noises::keyboard), -25.0, true),
            ("door", made(noises::door), -15.0, true),
        ];
        let recorded = more.map(recordings).transpose()?.unwrap_or_default();
        if !recorded.is_empty() {
            kinds.push(("recordings of --more", recorded, USUAL, false));
        }
        for (name, clips, level, no_speech) in kinds {
            for policy in [DEFAULT, ALONE, LONG, PAUSE, WORDS] {
                // Who lets any speech interrupt is interrupted by a listener's "uh-huh".
                let bar = policy == WORDS || no_speech && policy == DEFAULT;
                let row = self.row(Task::Disturb, name, policy, 700, bar);
                for n in 0..turns {
                    self.add(row, n, Sounds::One(pick(&clips, n)), level);
                }
            }
        }
        for db in [-15.0, -20.0, -25.0, -30.0] {
            for policy in [DEFAULT, GUARD_12, PAUSE, WORDS] {
                // The guard says what it takes for an echo: by default all that is softer by more than 20 dB.
                let bar = policy == DEFAULT && db < -20.0 || policy == GUARD_12;
                let row = self.row(Task::Disturb, format!("line echo of {db} dB"), policy, 700, bar);
                for n in 0..turns {
                    let delay = seeded(8, row as u64 * 1_000 + u64::from(n)).random_range(20..=150);
                    self.add(row, n, Sounds::None, USUAL).echo = Some((db, delay));
                }
            }
        }
        Ok(())
    }

    fn pauses(&mut self, turns: u32, voices: &Voices) {
        for endpoint in ENDPOINTS_MS {
            for pause in PAUSES_MS {
                // A pause that is as long as the knob ends an utterance: that is what the knob says.
                let row = self.row(Task::Whole, format!("{pause}"), DEFAULT, endpoint, pause < endpoint);
                for n in 0..turns {
                    let (first, second) = &voices.halves[(n as usize) % voices.halves.len()];
                    self.add(row, n, Sounds::Two(first.clone(), pause, second.clone()), USUAL);
                }
            }
        }
    }
}

impl Trial {
    /// Makes its sound.
    pub(super) fn render(&self, row: &Row) -> Rendered {
        let mut rng = seeded(9, self.row as u64 * 10_000 + u64::from(self.number));
        let (voice, words, name) = match &self.sounds {
            Sounds::One(clip) => (clip.at(self.level), clip.words.clone(), clip.name.clone()),
            Sounds::Two(first, pause, second) => {
                let mut voice = first.at(self.level);
                voice.resize(voice.len() + *pause as usize * PER_MS, 0.0);
                voice.extend(second.at(self.level));
                (voice, format!("{} {}", first.words, second.words), first.name.clone())
            }
            Sounds::None => (vec![0.0; 4_000 * PER_MS], String::new(), "echo".to_owned()),
        };
        let lead = match row.task {
            Task::Interrupt | Task::Disturb => INTO_PROMPT_MS + rng.random_range(0..BY_CHANCE_MS),
            _ => 300 + rng.random_range(0..20),
        };
        let endpoint = row.knobs.endpoint_ms.unwrap_or_default();
        // A noisy line is noisy until all is over; a silent one as long as the detector may need to notice.
        let tail = if self.noise.is_some() { endpoint + 300 } else { 300 };
        let mut samples = vec![0.0; lead as usize * PER_MS];
        samples.extend(&voice);
        let (first, last) = match &self.sounds {
            Sounds::None => (lead as usize * PER_MS, samples.len()),
            _ => edges(&samples),
        };
        samples.resize(samples.len() + tail as usize * PER_MS, 0.0);
        if let Some(noise) = self.noise {
            add_noise(&mut samples, noise, &mut rng);
        }
        Rendered { samples: to_pcm(&samples), first, last, words, name }
    }
}

fn pick(clips: &[Arc<Clip>], n: u32) -> Arc<Clip> {
    clips[n as usize % clips.len()].clone()
}

fn recordings(folder: &Path) -> Result<Vec<Arc<Clip>>, Trouble> {
    let wrong = |error: std::io::Error| Trouble::File(folder.to_owned(), error.to_string());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|extension| extension == "wav") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| clip::recorded(path).map(Arc::new)).collect()
}

/// What is said: by espeak-ng in several languages, and by people where there are recordings.
struct Voices {
    questions: Vec<Arc<Clip>>,
    stops: Vec<Arc<Clip>>,
    backchannels: Vec<Arc<Clip>>,
    backchannels_chinese: Vec<Arc<Clip>>,
    halves: Vec<(Arc<Clip>, Arc<Clip>)>,
}

impl Voices {
    fn make() -> Result<Voices, Trouble> {
        let say = |all: &[(&str, u32, &str)]| {
            let one = |(voice, speed, text): &(&str, u32, &str)| spoken(voice, *speed, text).map(Arc::new);
            all.iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        let human = |name, words, wav: &[u8]| built_in(name, words, wav).map(Arc::new);
        let one_moment =
            human("human-one-moment", "one moment please", include_bytes!("../../../test-audio/human-one-moment.wav"))?;
        let nobody = human(
            "human-nobody-available",
            "nobody is available to take your call at the moment",
            include_bytes!("../../../test-audio/human-nobody-available.wav"),
        )?;
        let sorry = human(
            "human-not-understood",
            "I'm sorry, I did not understand your response",
            include_bytes!("../../../test-audio/human-not-understood.wav"),
        )?;
        let mut questions = say(&[
            ("en-gb", 145, "When will it arrive?"),
            ("en-us+f3", 160, "Could you bring it on Friday, please?"),
            ("de", 150, "Wann kommt das Paket denn an?"),
            ("fr+f4", 160, "Vous pouvez venir demain matin?"),
            ("es+m3", 160, "¿A qué hora llega el paquete?"),
            ("cmn+f2", 150, "请问什么时候能送到？"),
        ])?;
        questions.extend([nobody.clone(), sorry.clone()]);
        let mut stops = say(&[
            ("en-gb", 145, "Stop. Wait a moment, please."),
            ("en-us+f3", 170, "No, that is not what I want."),
            ("de+m3", 150, "Moment, das stimmt so nicht."),
            ("fr+f4", 160, "Non, attendez un instant."),
            ("es", 160, "Espere, tengo una pregunta."),
            ("cmn", 150, "等一下，我有个问题。"),
            ("en-us+croak", 150, "Hold on, who is this?"),
        ])?;
        stops.extend([one_moment, nobody, sorry]);
        let backchannels = say(&[
            ("en-us", 150, "uh-huh"),
            ("en-gb+f2", 150, "mhm"),
            ("en-us+f3", 160, "yeah"),
            ("en-gb", 150, "okay"),
            ("en-us+m7", 140, "hmm"),
            ("en-gb+m3", 160, "right"),
        ])?;
        let backchannels_chinese = say(&[
            ("cmn", 150, "嗯"),
            ("cmn+f2", 140, "嗯嗯"),
            ("cmn+m3", 150, "是的"),
            ("cmn+f4", 160, "好的"),
            ("cmn", 160, "对"),
        ])?;
        let pair = |voice, first, second| -> Result<_, Trouble> {
            Ok((Arc::new(spoken(voice, 150, first)?), Arc::new(spoken(voice, 150, second)?)))
        };
        let halves = vec![
            pair("en-gb", "My number is four seven one", "two two nine")?,
            pair("en-us+f3", "I would like to", "change the address")?,
            pair("de", "Meine Nummer ist vier sieben", "zwei zwei neun")?,
            pair("cmn+f2", "我的电话是一三八", "二四六七")?,
            pair("fr+m3", "Je voudrais", "changer l'adresse")?,
        ];
        Ok(Voices { questions, stops, backchannels, backchannels_chinese, halves })
    }
}
