//! Who has answered: a person says a word or two and waits; a machine says whole sentences, then beeps.
//!
//! ```text
//!  answer    a       b             c
//!  ··········▮▮▮▮▮▮▮▮·····························   c − b = `after_greeting`: human
//!  ··········▮▮▮▮▮▮▮▮·▮▮▮▮▮▮▮▮▮·▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮   b − a = `greeting`: machine
//!  ···············································   `initial_silence` without a voice: unknown
//! ```
//! A word is a stretch of voice of at least `min_word`; shorter ones are noise. Words are parted by `word_pause` of silence; more than
//! `most_words` of them are a machine too. What has not been decided by `longest` is unknown. A beep decides at once, and after
//! machine or unknown it is waited for `beep_wait` longer: then a message may be left. A beep is a single steady tone of 400 to 2000 Hz, of 150 ms to
//! 2 s, after a word.

use std::ops::RangeInclusive;

use super::tone::FRAME;
use super::tone::beep::Beep;
use super::tone::steady::is_steady;
use crate::ms::Ms;

/// Frames of steady tones that are ringing.
const RINGS: u32 = 3;
/// After it nothing is a voice for so long.
const AFTER_RINGING: Ms = Ms(500);

/// What it is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Silence from the answer on, after which nobody is taken to be there.
    pub initial_silence: Ms,
    /// A greeting of this length, pauses included, is a machine's.
    pub greeting: Ms,
    /// Silence after a shorter one: a person waits.
    pub after_greeting: Ms,
    /// Shorter stretches of voice are noise.
    pub min_word: Ms,
    /// A pause of this length parts two words.
    pub word_pause: Ms,
    /// More words are a machine's.
    pub most_words: u32,
    /// It is decided by then.
    pub longest: Ms,
    /// How long a beep is waited for after that.
    pub beep_wait: Ms,
    /// Before the answer: it rings, so nothing is counted until somebody speaks.
    pub patient: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            initial_silence: Ms(3_500),
            greeting: Ms(2_400),
            after_greeting: Ms(900),
            min_word: Ms(100),
            word_pause: Ms(160),
            most_words: 5,
            longest: Ms(6_000),
            beep_wait: Ms(30_000),
            patient: false,
        }
    }
}

impl Rules {
    /// Each by the name that profiles and orders write, with its range.
    pub fn named(&mut self) -> [(&'static str, RangeInclusive<u32>, &mut u32); 8] {
        [
            ("initial_silence_ms", 500..=30_000, &mut self.initial_silence.0),
            ("greeting_ms", 500..=30_000, &mut self.greeting.0),
            ("after_greeting_ms", 200..=5_000, &mut self.after_greeting.0),
            ("min_word_ms", 20..=1_000, &mut self.min_word.0),
            ("word_pause_ms", 40..=1_000, &mut self.word_pause.0),
            ("most_words", 1..=100, &mut self.most_words),
            ("longest_ms", 1_000..=60_000, &mut self.longest.0),
            ("beep_wait_ms", 0..=120_000, &mut self.beep_wait.0),
        ]
    }

    /// What keeps a verdict from ever being reached: the rule that is wrong, and why.
    pub fn unreachable(&self) -> Option<(&'static str, &'static str)> {
        if self.min_word >= self.greeting {
            return Some(("min_word_ms", "is not below greeting_ms: no word is short enough for a person"));
        }
        if self.word_pause >= self.after_greeting {
            return Some(("word_pause_ms", "is not below after_greeting_ms: no greeting has a second word"));
        }
        if self.initial_silence >= self.longest {
            return Some(("initial_silence_ms", "is not below longest_ms: silence is never what decides"));
        }
        if self.greeting >= self.longest {
            return Some(("greeting_ms", "is not below longest_ms: no greeting is long enough for a machine"));
        }
        if self.min_word + self.after_greeting >= self.longest {
            return Some(("after_greeting_ms", "leaves no time before longest_ms: no person waits for so long"));
        }
        None
    }
}

/// Who has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A person.
    Human,
    /// An answering machine.
    Machine,
    /// One that has beeped: a message may be left.
    Beep,
    /// It cannot be said.
    Unknown,
}

impl Who {
    /// As the contracts write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Who::Human => "human",
            Who::Machine => "machine",
            Who::Beep => "beep",
            Who::Unknown => "unknown",
        }
    }
}

/// Who, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Who.
    pub who: Who,
    /// "short_greeting", "long_greeting", "many_words", "no_voice", "time_over" or "beep".
    pub reason: &'static str,
}

/// Judges one answer.
#[derive(Clone, Debug)]
pub struct Answerer {
    rules: Rules,
    passed: Ms,
    /// Voice, or silence, for so long.
    voice: Ms,
    silence: Ms,
    words: u32,
    /// From the onset of the first word.
    onset: Option<Ms>,
    /// End of the last word.
    end: Ms,
    decided: Option<Who>,
    beep: Beep,
    /// Frames in a row of steady tones; and for how long yet it rings.
    steady: u32,
    ringing: Ms,
}

impl Answerer {
    /// From the answer on.
    pub fn new(rules: Rules) -> Answerer {
        Answerer {
            rules,
            passed: Ms(0),
            voice: Ms(0),
            silence: Ms(0),
            words: 0,
            onset: None,
            end: Ms(0),
            decided: None,
            beep: Beep::default(),
            steady: 0,
            ringing: Ms(0),
        }
    }

    /// Nothing more will be told.
    pub fn is_over(&self) -> bool {
        match self.decided {
            None => false,
            Some(Who::Human | Who::Beep) => true,
            Some(Who::Machine | Who::Unknown) => self.passed >= self.rules.longest + self.rules.beep_wait,
        }
    }

    /// Takes a frame of 20 ms, and whether it was voice.
    pub fn push(&mut self, voiced: bool, frame: &[i16; FRAME]) -> Option<Verdict> {
        if self.is_over() {
            return None;
        }
        let voiced = voiced && !(self.rules.patient && self.rings(frame));
        if self.rules.patient && self.onset.is_none() && self.voice == Ms(0) && !voiced {
            self.beep.push(frame);
            return None;
        }
        self.passed += Ms(20);
        let beeped = self.beep.push(frame);
        if beeped && self.onset.is_some() {
            return self.decide(Who::Beep, "beep");
        }
        if self.decided.is_some() {
            return None;
        }
        // A steady tone is no voice, whatever the voice's judge makes of it.
        if voiced && !self.beep.is_on() {
            self.voice += Ms(20);
            if self.voice >= self.rules.min_word {
                if self.onset.is_none() {
                    self.onset = Some(self.passed.saturating_sub(self.voice));
                }
                if self.voice < self.rules.min_word + Ms(20) {
                    self.words += 1;
                }
                (self.end, self.silence) = (self.passed, Ms(0));
            }
        } else {
            self.silence += Ms(20);
            if self.silence >= self.rules.word_pause || self.voice < self.rules.min_word {
                self.voice = Ms(0);
            }
        }
        self.judge()
    }

    /// Whether this is ringing, or the moment after it, in which the voice's judge still hears what it took for a voice.
    fn rings(&mut self, frame: &[i16; FRAME]) -> bool {
        self.steady = if is_steady(frame) { self.steady + 1 } else { 0 };
        self.ringing = if self.steady >= RINGS { AFTER_RINGING } else { self.ringing.saturating_sub(Ms(20)) };
        self.ringing > Ms(0)
    }

    fn judge(&mut self) -> Option<Verdict> {
        let Some(onset) = self.onset else {
            let patience = self.passed >= self.rules.initial_silence && self.voice == Ms(0);
            return if patience {
                self.decide(Who::Unknown, "no_voice")
            } else if self.passed >= self.rules.longest {
                self.decide(Who::Unknown, "time_over")
            } else {
                None
            };
        };
        if self.end.saturating_sub(onset) >= self.rules.greeting {
            return self.decide(Who::Machine, "long_greeting");
        }
        if self.words > self.rules.most_words {
            return self.decide(Who::Machine, "many_words");
        }
        if self.passed.saturating_sub(self.end) >= self.rules.after_greeting {
            return self.decide(Who::Human, "short_greeting");
        }
        if self.passed >= self.rules.longest {
            return self.decide(Who::Unknown, "time_over");
        }
        None
    }

    fn decide(&mut self, who: Who, reason: &'static str) -> Option<Verdict> {
        self.decided = Some(who);
        Some(Verdict { who, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::tone::pair::Pair;

    const QUIET: [i16; FRAME] = [0; FRAME];

    /// Voice and silence by turns, in ms, beginning with silence; and what is said of it, with its time.
    fn told(rules: Rules, times: &[u32]) -> Vec<(u32, &'static str, &'static str)> {
        let (mut answerer, mut now, mut told) = (Answerer::new(rules), 0, Vec::new());
        for (n, ms) in times.iter().enumerate() {
            for _ in 0..ms / 20 {
                now += 20;
                told.extend(answerer.push(n % 2 == 1, &QUIET).map(|v| (now, v.who.as_str(), v.reason)));
            }
        }
        told
    }

    #[test]
    fn every_verdict_is_reached() {
        let rules = Rules::default();
        assert_eq!(told(rules, &[600, 500, 3_000]), [(2_000, "human", "short_greeting")]);
        assert_eq!(told(rules, &[600, 900, 300, 2_000]), [(3_000, "machine", "long_greeting")]);
        let words = [200, 120, 180, 120, 180, 120, 180, 120, 180, 120, 180, 120, 5_000];
        assert_eq!(told(rules, &words), [(1_800, "machine", "many_words")]);
        assert_eq!(told(rules, &[9_000]), [(3_500, "unknown", "no_voice")]);
        let late = Rules { greeting: Ms(5_000), most_words: 100, ..rules };
        assert_eq!(told(late, &[3_000, 900, 500, 900, 500, 900]), [(6_000, "unknown", "time_over")]);
    }

    #[test]
    fn before_the_answer_silence_and_ringing_are_waited_out() {
        let rules = Rules { patient: true, ..Rules::default() };
        assert_eq!(told(rules, &[60_000]), []);
        assert_eq!(told(rules, &[20_000, 500, 3_000]), [(21_400, "human", "short_greeting")]);
        assert_eq!(told(rules, &[20_000, 2_600, 1_000]), [(22_400, "machine", "long_greeting")]);
        // Of clicks nothing is made, as after the answer.
        assert_eq!(told(rules, &[1_000, 60, 500, 60, 2_000, 2_600]), [(6_020, "machine", "long_greeting")]);
    }

    #[test]
    fn clicks_are_no_words() {
        let clicks = [300, 60, 300, 80, 300, 40, 5_000];
        assert_eq!(told(Rules::default(), &clicks), [(3_500, "unknown", "no_voice")]);
    }

    /// Speech of so many ms, a tone, silence.
    fn beeps(speech: u32, hz: f32, ms: u32, rules: Rules) -> Vec<&'static str> {
        let mut answerer = Answerer::new(rules);
        let mut told = Vec::new();
        for _ in 0..speech / 20 {
            told.extend(answerer.push(true, &QUIET).map(|v| v.who.as_str()));
        }
        let mut tone = Pair::new([(hz, -15.0), (0.0, -100.0)], ms * 8);
        for _ in 0..200 {
            let mut frame = QUIET;
            tone.add_to(&mut frame);
            told.extend(answerer.push(false, &frame).map(|v| v.who.as_str()));
        }
        told
    }

    #[test]
    fn a_beep_after_speech_is_told_once_and_other_tones_are_not() {
        let rules = Rules::default();
        for hz in [425.0, 440.0, 1_000.0, 1_400.0, 1_950.0] {
            for ms in [180, 400, 1_000] {
                assert_eq!(beeps(3_000, hz, ms, rules), ["machine", "beep"], "{hz} Hz for {ms} ms");
            }
        }
        assert_eq!(beeps(600, 1_000.0, 400, rules), ["beep"], "it decides by itself");
        assert_eq!(beeps(3_000, 1_000.0, 80, rules), ["machine"]);
        assert_eq!(beeps(3_000, 1_000.0, 3_000, rules), ["machine"], "a tone without an end");
        assert_eq!(beeps(3_000, 300.0, 400, rules), ["machine"]);
        assert_eq!(beeps(3_000, 2_500.0, 400, rules), ["machine"]);
        assert_eq!(beeps(0, 1_000.0, 400, rules)[0], "unknown", "before any word");
    }

    #[test]
    fn rules_by_which_a_verdict_is_out_of_reach_are_found() {
        let rules = Rules::default();
        assert_eq!(rules.unreachable(), None);
        for (key, wrong) in [
            ("min_word_ms", Rules { min_word: Ms(2_400), ..rules }),
            ("word_pause_ms", Rules { word_pause: Ms(900), ..rules }),
            ("initial_silence_ms", Rules { initial_silence: Ms(6_000), ..rules }),
            ("greeting_ms", Rules { greeting: Ms(6_000), ..rules }),
            ("after_greeting_ms", Rules { after_greeting: Ms(5_950), ..rules }),
        ] {
            assert_eq!(wrong.unreachable().map(|(key, _)| key), Some(key));
        }
    }
}
