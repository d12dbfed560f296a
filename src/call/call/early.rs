//! What is heard before the answer, when that is asked for: early media goes to recognition on a leg and in a stream of their own, and what
//! comes of it is told as early. Tones are listened for on the same leg ([`super::listening`]), also where nothing is recognised, and the
//! recording may begin with it.
//!
//! ```text
//! 183 with SDP ► Output::Listen, ToDialogue::Open, Line::Early ─ utterances, labelled ► answer: StopListening, OpenLeg, Line::Begin
//!                                                                                    └ refusal: StopListening, Line::End
//! ```
//! Times of early media count from its first frame; with the answer media time begins at 0, and nothing of before is carried over: what is
//! being said is cut off there, and its text is for `Watch` and the record. The robot does not speak before the answer, but silence is sent:
//! there are borders that pass early media only to where RTP came from. Of several forks the one that rang last is heard.

use std::collections::BTreeMap;

use super::*;
use crate::call::action::Asked;
use crate::call::conversation::{Stream, Told};
use crate::call::event::Service;
use crate::call::io::{FromDialogue, FromSpeech, ToDialogue, ToRecogniser};
use crate::call::line::{Fault, Line, LineEvent, Quality, Utterance};
use crate::call::record::EarlyText;
use crate::dsp::answerer;

/// The most texts that a record keeps: an announcement is said again and again until somebody hangs up.
const MOST_TEXTS: usize = 32;
/// And the longest, in bytes.
const LONGEST_TEXT: usize = 1_024;

/// The time before the answer.
#[derive(Debug)]
pub(super) struct Early {
    /// When its first frame was due; until that is known, when it was asked for.
    origin: Instant,
    listening: bool,
    /// What is said goes to recognition; else only tones are listened for.
    recognise: bool,
    /// The recording has begun with it.
    record: bool,
    /// Its first frame has been due.
    began: bool,
    /// When media time began, since then.
    answer: Option<Ms>,
    /// The dialogue's stream, while it is open.
    stream: Option<Stream>,
    /// The utterance that goes on.
    speaking: Option<(u32, Ms)>,
    partials: BTreeMap<u32, String>,
    /// Those whose text has not come, with the moment until which it is waited for.
    pending: VecDeque<(Utterance, Instant)>,
    lost: bool,
    let_go: bool,
    texts: Vec<EarlyText>,
    told: Told,
}

impl Early {
    fn new(now: Instant) -> Early {
        Early {
            origin: now,
            listening: true,
            recognise: true,
            record: false,
            began: false,
            answer: None,
            stream: None,
            speaking: None,
            partials: BTreeMap::new(),
            pending: VecDeque::new(),
            lost: false,
            let_go: false,
            texts: Vec::new(),
            told: Told::default(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|(_, deadline)| *deadline).min()
    }

    fn at(&self, now: Instant) -> Ms {
        Ms::from(now.saturating_duration_since(self.origin))
    }

    /// How much of the recording is of before the answer; `None`: nothing, or there was no answer.
    pub(super) fn recorded_for(&self) -> Option<Ms> {
        self.answer.filter(|_| self.record)
    }

    /// From where to where an utterance goes, as far as it is known.
    fn span(&self, now: Instant, utterance: u32) -> (Ms, Ms) {
        let ended = self.pending.iter().find(|(u, _)| u.utterance == utterance).map(|(u, _)| (u.start, u.stop));
        ended.or(self.speaking.map(|(_, start)| (start, self.at(now).max(start)))).unwrap_or_default()
    }

    fn awaits(&self, utterance: u32) -> bool {
        self.speaking.is_some_and(|(no, _)| no == utterance)
            || self.pending.iter().any(|(u, _)| u.utterance == utterance)
    }
}

impl Call {
    /// The callee has described its early media, in answer to our offer or by one of its own. Media of another fork take the place of those
    /// that were heard.
    pub(super) fn early_media(&mut self, now: Instant, sdp: Option<&[u8]>) {
        let recognise = self.plan.early_media_asr || self.plan.announcements.is_some();
        let judged = self.plan.answerer.filter(|_| self.plan.answerer_early);
        let record = self.plan.record_early;
        let wanted = recognise || record || self.plan.tones.is_some() || judged.is_some();
        if !wanted
            || !self.session.is_outgoing()
            || self.answered.is_some()
            || self.ending.is_some()
            || self.ended.is_some()
        {
            return;
        }
        // What the answer of the call is to be read by stays as it is: another fork may give it.
        let mut negotiator = self.first.as_ref().unwrap_or(&self.negotiator).clone();
        let (agreed, srtp) = match sdp {
            Some(sdp) => (negotiator.accept(sdp), secured::srtp(&negotiator)),
            None => (self.agreed.ok_or(NegotiationError::NoAudio), secured::srtp(&self.negotiator)),
        };
        let media = match agreed {
            Ok(agreed) => media(&agreed, &self.plan.line),
            Err(error) => {
                let early = self.early.get_or_insert_with(|| Box::new(Early { listening: false, ..Early::new(now) }));
                return early.told.fault(format!("early media: SDP: {error}"));
            }
        };
        if let Some(early) = self.early.as_ref().filter(|early| early.listening || early.let_go) {
            if early.listening {
                self.out.push_back(Output::Leg(leg::Command::anew(media, srtp)));
            }
            return;
        }
        let mut early = Box::new(Early { recognise, record, ..Early::new(now) });
        early.told = self.early.take().map(|before| before.told).unwrap_or_default();
        let setup = leg::Setup {
            media,
            srtp,
            may_widen: self.plan.formats.iter().any(|format| format.is_wide()),
            knobs: self.plan.knobs.leg(),
            inband_keys: leg::InbandKeys::Off,
            tones: self.plan.tones.clone(),
            answerer: judged.map(|rules| answerer::Rules { patient: true, ..rules }),
            rtp_timeout: self.plan.rtp_timeout,
            seed: self.rng.random(),
            clock: self.wall_clock(now),
        };
        self.listening.begins(now);
        self.out.push_back(Output::Listen { setup: Box::new(setup), recognise, record });
        if self.plan.early_media_asr && self.plan.rules.dialogue {
            self.out.push_back(Output::Dialogue(ToDialogue::Open));
            early.stream = Some(Stream::default());
        }
        self.early = Some(early);
        let begin = Begin { answered_at: None, ..self.begin(now) };
        self.early_tell(now, Line::Early(Box::new(begin)));
    }

    /// The early leg heard something.
    pub(super) fn early_leg(&mut self, now: Instant, event: LegEvent) {
        let pre_roll = self.plan.knobs.pre_roll;
        let Some(early) = self.early.as_mut().filter(|early| early.listening) else { return };
        match event {
            LegEvent::Began { at } => (early.origin, early.began) = (at, true),
            LegEvent::Tone { heard, at } => self.heard_tone(now, heard, at),
            LegEvent::Answerer { verdict, at } => self.answered_by(now, verdict, at),
            // Only tones are listened for.
            _ if !early.recognise => {}
            LegEvent::SpeechStarted { utterance, onset, .. } => {
                early.speaking = Some((utterance, onset));
                let from = onset.saturating_sub(pre_roll);
                self.early_recogniser(ToRecogniser::UtteranceStart { utterance, start: onset, from });
                self.tell(now, What::SpeechStarted { utterance, start: onset, during_prompt: false, early: true });
            }
            LegEvent::Utterance { utterance, start, stop, too_long, .. } => {
                self.early_utterance(now, utterance, (start, stop), too_long);
            }
            // Silence is no fault before the answer, keys of an announcement mean nothing, and nothing is said.
            _ => {}
        }
    }

    /// Media time begins.
    pub(super) fn early_was_before(&mut self, answer: Instant) {
        if let Some(early) = self.early.as_mut().filter(|early| early.began) {
            early.answer = Some(early.at(answer));
        }
    }

    fn early_utterance(&mut self, now: Instant, utterance: u32, (start, stop): (Ms, Ms), too_long: bool) {
        let patience = self.plan.rules.final_timeout;
        let Some(early) = &mut self.early else { return };
        early.speaking = None;
        let deadline = if early.lost { now } else { now + patience };
        early
            .pending
            .push_back((Utterance { too_long, early: true, ..Utterance::unheard(utterance, start, stop) }, deadline));
        self.early_recogniser(ToRecogniser::UtteranceEnd { utterance, start, stop });
        self.early_tick(now);
    }

    /// What was understood of early media, or why nothing is.
    pub(super) fn early_speech(&mut self, now: Instant, from: FromSpeech) {
        let Some(early) = &mut self.early else { return };
        match from {
            FromSpeech::Partial { utterance, text } if early.awaits(utterance) => {
                early.partials.insert(utterance, text.clone());
                let wanted = early.stream.as_ref().is_some_and(|stream| stream.wants_partials);
                let span = early.span(now, utterance);
                self.tell(now, What::Partial { utterance, text: text.clone(), early: true });
                self.announced(now, utterance, &text, span, false);
                if wanted {
                    self.early_tell(now, Line::Partial { utterance, text, early: true });
                }
            }
            FromSpeech::Final { utterance, text, alternatives, confidence } => {
                let Some(at) = early.pending.iter().position(|(u, _)| u.utterance == utterance) else { return };
                let Some((said, _)) = early.pending.remove(at) else { return };
                early.partials.remove(&utterance);
                let quality = Quality::Final;
                self.early_deliver(now, Utterance { text, alternatives, confidence, quality, ..said });
            }
            FromSpeech::RecognitionTrouble { reason, lost } => {
                early.lost |= lost;
                if lost {
                    early.pending.iter_mut().for_each(|(_, deadline)| *deadline = now);
                }
                self.early_trouble(now, Service::Recognition, reason.clone());
                self.early_tell(now, Line::Fault(Fault::Recognition(reason)));
                self.early_tick(now);
            }
            // Nothing is said before the answer.
            _ => {}
        }
    }

    /// Texts that did not come in time are given up.
    pub(super) fn early_tick(&mut self, now: Instant) {
        while let Some(early) = &mut self.early
            && let Some(at) = early.pending.iter().position(|(_, deadline)| *deadline <= now)
            && let Some((mut said, _)) = early.pending.remove(at)
        {
            if let Some(text) = early.partials.remove(&said.utterance) {
                (said.text, said.quality) = (text, Quality::Partial);
            }
            if !early.lost {
                let reason = format!("no final text for utterance {} of early media in time", said.utterance);
                self.early_trouble(now, Service::Recognition, reason);
            }
            self.early_deliver(now, said);
        }
    }

    fn early_deliver(&mut self, now: Instant, said: Utterance) {
        let Some(early) = &mut self.early else { return };
        let mut text = said.text.clone();
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        if early.texts.len() < MOST_TEXTS && !text.is_empty() {
            early.texts.push(EarlyText { text, start: said.start, stop: said.stop });
        }
        let latency = early.at(now).saturating_sub(said.stop);
        self.tell(now, What::Utterance { utterance: Box::new(said.clone()), latency });
        self.announced(now, said.utterance, &said.text, (said.start, said.stop), true);
        self.early_tell(now, Line::Utterance(said));
    }

    /// The dialogue said something before the answer: all that it may do then is to end the call, to turn knobs and to note facts.
    pub(super) fn early_dialogue(&mut self, now: Instant, from: FromDialogue) {
        let Some(early) = &mut self.early else { return };
        let Asked { action_id, action, .. } = match from {
            FromDialogue::Asked(asked) => asked,
            // It is opened anew at the answer.
            FromDialogue::Closed(reason) => {
                early.stream = None;
                if let Some(reason) = reason {
                    self.early_trouble(now, Service::Dialogue, reason);
                }
                return;
            }
        };
        let refused = match action {
            Ok(Action::Hangup { reason, farewell, .. }) => {
                self.outcome = Outcome::Cancelled;
                let reason = if reason.is_empty() { "cancelled" } else { &reason };
                return self.say_goodbye(now, HungUpBy::Robot, reason, farewell);
            }
            Ok(Action::Set(change)) => {
                for clamp in self.plan.knobs.apply(&change) {
                    self.tell(now, What::KnobClamped(clamp));
                    self.early_tell(now, Line::Fault(Fault::Knob(clamp)));
                }
                // It is heard from the answer on.
                self.plan.background = change.background.or(self.plan.background.take());
                return self.out.push_back(Output::Leg(leg::Command::Knobs(self.plan.knobs.leg())));
            }
            Ok(Action::Expect { partials, hints: None }) => {
                return early.stream.iter_mut().for_each(|stream| stream.wants_partials = partials);
            }
            Ok(Action::Expect { .. }) => {
                "expect: the call is not answered yet: phrases and grammar are of a turn, and there is none before"
                    .to_owned()
            }
            Ok(Action::Label { key, value }) => match early.told.label(key, value) {
                Ok(()) => return,
                Err(reason) => reason,
            },
            // Nobody waits for an answer.
            Ok(Action::Wait(_)) => return,
            Ok(action) => {
                let before = "the call is not answered yet: only hangup, set, expect, label and wait are done before";
                format!("{}: {before}", action.name())
            }
            Err(reason) => reason,
        };
        early.told.fault(format!("dialogue: {refused}"));
        self.early_tell(now, Line::Fault(Fault::Action { action_id, reason: refused }));
    }

    /// The call is answered, or over: what is being said is cut off. The dialogue's stream, if it goes on.
    pub(super) fn early_over(&mut self, now: Instant) -> Option<Stream> {
        let early = self.early.as_mut().filter(|early| early.listening)?;
        let stop = early.at(now);
        if let Some((utterance, start)) = early.speaking {
            self.early_utterance(now, utterance, (start, stop.max(start)), false);
        }
        self.out.push_back(Output::StopListening);
        let early = self.early.as_mut()?;
        early.listening = false;
        early.stream.take()
    }

    /// The call that had early media is over without an answer.
    pub(super) fn early_end(&mut self, now: Instant, by: HungUpBy, reason: &str) {
        let Some(stream) = self.early_over(now) else { return };
        if let Some(early) = &mut self.early {
            early.stream = Some(stream);
        }
        self.early_tell(now, Line::End { by, reason: reason.to_owned() });
        if let Some(early) = &mut self.early {
            early.stream = None;
        }
        self.out.push_back(Output::Dialogue(ToDialogue::Close));
    }

    /// There is no time left to wait for texts.
    pub(super) fn early_hurry(&mut self, now: Instant) {
        if let Some(early) = &mut self.early {
            early.pending.iter_mut().for_each(|(_, deadline)| *deadline = now);
        }
        self.early_tick(now);
    }

    /// Whether no text is waited for any more: then the recogniser is let go.
    pub(super) fn early_settled(&mut self) -> bool {
        let Some(early) = &mut self.early else { return true };
        if early.listening || !early.pending.is_empty() {
            return false;
        }
        if !std::mem::replace(&mut early.let_go, true) {
            self.early_recogniser(ToRecogniser::Close);
        }
        true
    }

    /// What is left for the record: when early media began, what was understood of it, labels and faults.
    pub(super) fn early_left(&mut self) -> (Option<SystemTime>, Vec<EarlyText>, Told) {
        let Some(mut early) = self.early.take() else { return Default::default() };
        early.texts.sort_by_key(|text| text.start);
        // It was heard of, and never listened to.
        let began = (early.let_go && (early.recognise || early.record)).then(|| self.wall(early.origin));
        (began, early.texts, early.told)
    }

    fn early_trouble(&mut self, now: Instant, service: Service, reason: String) {
        if let Some(early) = &mut self.early {
            early.told.fault(format!("{}, before the answer: {reason}", service.as_str()));
        }
        self.tell(now, What::ServiceTrouble { service, reason });
    }

    /// To the dialogue, while it is told of early media.
    pub(super) fn early_tell(&mut self, now: Instant, what: Line) {
        let Some(early) = &mut self.early else { return };
        let at = early.at(now);
        if let Some(stream) = &mut early.stream {
            stream.last_event += 1;
            let event = LineEvent { id: stream.last_event, at, what };
            self.out.push_back(Output::Dialogue(ToDialogue::Tell(event)));
        }
    }

    fn early_recogniser(&mut self, to: ToRecogniser) {
        if self.early.as_ref().is_some_and(|early| !early.recognise) {
            return;
        }
        self.out.push_back(Output::EarlyRecogniser(to));
    }
}
