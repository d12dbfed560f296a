//! Whose turn it is (DESIGN: "the conversation contract"): joins the leg's ears and mouth with recogniser and dialogue.
//!
//! The rules that users notice live here and in [`super::leg`]: the leg decides in the frame whether speech stops a prompt; here it is
//! decided what that means for the talk.
//!
//! - An utterance is told when its text has come, at the latest [`Rules::final_timeout`] after its end, then with the best partial.
//! - `no_input` runs from the robot's last sample, while nobody speaks and nobody owes an answer.
//! - A dialogue that owes an answer for longer than [`Rules::dialogue_timeout`], closes its stream or was never there is taken up anew, elsewhere
//!   if it can be (`resuming`), so many times; then it ends the call politely, as a synthesiser does that cannot speak: fallback prompt,
//!   then hang up. Never dead air.
//! - Hanging up and handing over after a prompt wait for the end of all that is queued, however it ended, and [`GRACE`] more. While a
//!   transfer is under way, a hang-up waits for its result, nobody owes an answer, and no silence counts. When a second leg is bridged the
//!   robot has left, and the call goes on.

mod asked;
mod background;
mod barge_in;
mod bridging;
mod collecting;
mod holding;
mod leaving;
mod muting;
mod recording;
mod resuming;
mod telling;
mod told;
mod turn;
mod waiting;
mod writing;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::action::{Action, Asked, Farewell};
use super::collection::Collection;
use super::event::{Service, Stage, StoppedBy, What};
use super::io::{FromDialogue, FromSpeech, Output, ToDialogue, ToRecogniser, Wanted};
use super::knobs::{Background, BargeIn, Knobs};
use super::leg::{self, LegEvent, Sound, Stopped};
use super::line::{Begin, Fault, Heard, HungUpBy, Line, LineEvent, Past, Quality, Utterance};
use super::prompt::{Prompt, PromptNo, Source};
use super::record::{Pause, Role, Turn};
use super::speaker::{Entry, Speaker};
use super::transfer::{Handed, Leaving};
use crate::ms::Ms;
use recording::HIDDEN;
pub use told::Told;

/// From the last sample of the last word to the BYE: what the far end's jitter buffer still has to play.
pub const GRACE: Duration = Duration::from_millis(200);

/// What the conversation of a call is held to.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How long the dialogue may take to answer.
    pub dialogue_timeout: Duration,
    /// How long the recogniser may take from the end of an utterance to its final text.
    pub final_timeout: Duration,
    /// Played before the call is given up: path below the prompts folder.
    pub fallback_prompt: Option<String>,
    /// How many times a call goes on with another stream of its dialogue, when one is lost.
    pub dialogue_resumes: u32,
    /// How long nothing may be heard on the line while somebody of ours is waited for; zero: for ever.
    pub dead_air: Duration,
    /// What is looped then: path below the prompts folder; `None`: two soft notes.
    pub waiting_sound: Option<String>,
    /// There is a dialogue; else the orchestrator holds the conversation by itself.
    pub dialogue: bool,
    /// There is a recogniser; else utterances are told without text.
    pub recogniser: bool,
    /// The call is recorded.
    pub recorded: bool,
}

/// Timers, each with its reason.
#[derive(Debug, Clone, Copy)]
enum Timer {
    /// The caller says nothing.
    NoInput,
    /// The dialogue owes an answer.
    Dialogue,
    /// The far end plays the last word.
    Grace,
    /// It has to be decided whether the prompt that has paused goes on.
    Verdict,
    /// The caller has waited for an answer for long enough to be told that there will be one.
    Bridge,
    /// A prompt that is to go on does not.
    More,
}
const TIMERS: usize = 6;

/// An utterance whose text has not come.
#[derive(Debug)]
struct Pending {
    utterance: Utterance,
    deadline: Instant,
    /// Its words are known and interrupt; the leg has not said yet that it has stopped.
    stopping: bool,
    /// It lay under a prompt that words stop.
    by_words: bool,
}

/// A dialogue's stream that was opened before the answer.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The last event that it was told.
    pub(super) last_event: u64,
    /// It wants partial results.
    pub(super) wants_partials: bool,
}

/// The conversation of one call, from the answer on.
#[derive(Debug)]
pub struct Conversation {
    rules: Rules,
    /// What a new stream of the dialogue is told again.
    begin: Box<Begin>,
    /// The dialogue has done something.
    acted: bool,
    /// Streams that have taken the place of a lost one.
    resumed: u32,
    answered: Instant,
    knobs: Knobs,
    speaker: Speaker,
    background: background::Asked,
    waiting: waiting::Waiting,
    timers: [Option<Instant>; TIMERS],
    /// The utterance that goes on.
    speaking: Option<(u32, Ms)>,
    partials: BTreeMap<u32, String>,
    pending: VecDeque<Pending>,
    /// What the utterance that goes on has interrupted.
    interrupted: Option<Heard>,
    /// What the key that comes next has interrupted.
    interrupted_by_key: Option<Heard>,
    /// A prompt has paused, and it is not decided whether it goes on.
    verdict: Option<barge_in::Verdict>,
    /// The last utterance for which it was decided; 0 for none.
    passed: u32,
    /// Keys that are being collected.
    collection: Option<Box<Collection>>,
    /// Bridging phrases so far.
    bridged: usize,
    /// Prompts that were stopped before all of them had come.
    cut_off: VecDeque<String>,
    /// End of the robot's last sample.
    last_word: Ms,
    /// End of the last utterance that has not been answered.
    unanswered: Option<Ms>,
    silences: u32,
    last_event: u64,
    /// The last event by which the caller took the turn.
    last_turn: u64,
    wants_partials: bool,
    recogniser_lost: bool,
    /// Asked for, by whom and why.
    hangup: Option<(HungUpBy, String, Farewell)>,
    /// Nothing is left to wait for.
    hangup_due: bool,
    /// Asked for, and not begun.
    leaving: Option<(HungUpBy, Leaving)>,
    /// Nothing is left to wait for.
    leaving_due: bool,
    /// Begun, and its result not known.
    referring: bool,
    /// Said again and again until it is.
    waiting_sound: Option<Box<Prompt>>,
    /// Two of our calls talk to each other: the robot has left this one, or never was in it.
    joined: bool,
    /// Who holds whom, as the dialogue was told: we, the far end.
    told_hold: (bool, bool),
    /// The far end is on hold; and the dialogue owes an answer after the resume.
    held: bool,
    owed: bool,
    recording: recording::Pausing,
    /// The caller is to be sent nothing; and since when that is so.
    mute_asked: bool,
    muted: Option<Ms>,
    turning: turn::Turning,
    /// The dialogue has gone in the belief that the call is handed over.
    gone: Option<String>,
    given_up: bool,
    ended: bool,
    let_go: bool,
    told: Told,
    out: VecDeque<Output>,
}

impl Conversation {
    /// The call has been answered. `stream`: the dialogue's, if it was opened before and goes on. `joined`: by a human, who talks to another caller
    /// of ours and never to the robot.
    pub(super) fn new(
        now: Instant,
        rules: Rules,
        knobs: Knobs,
        begin: Begin,
        background: Option<Background>,
        stream: Option<Stream>,
        joined: bool,
    ) -> Conversation {
        let open = stream.is_some();
        let Stream { last_event, wants_partials } = stream.unwrap_or_default();
        let mut conversation = Conversation {
            rules,
            begin: Box::new(begin.clone()),
            acted: false,
            resumed: 0,
            answered: now,
            knobs,
            speaker: Speaker::new(begin.variables.clone()),
            background: background::Asked::default(),
            waiting: waiting::Waiting::default(),
            timers: [None; TIMERS],
            speaking: None,
            partials: BTreeMap::new(),
            pending: VecDeque::new(),
            interrupted: None,
            interrupted_by_key: None,
            verdict: None,
            passed: 0,
            collection: None,
            bridged: 0,
            cut_off: VecDeque::new(),
            last_word: Ms(0),
            unanswered: None,
            silences: 0,
            last_event,
            last_turn: 0,
            wants_partials,
            recogniser_lost: false,
            hangup: None,
            hangup_due: false,
            leaving: None,
            leaving_due: false,
            referring: false,
            waiting_sound: None,
            joined,
            told_hold: (false, false),
            held: false,
            owed: false,
            recording: recording::Pausing::default(),
            mute_asked: false,
            muted: None,
            turning: turn::Turning::default(),
            gone: None,
            given_up: false,
            ended: false,
            let_go: false,
            told: Told::default(),
            out: VecDeque::new(),
        };
        if conversation.rules.dialogue && !open {
            conversation.out.push_back(Output::Dialogue(ToDialogue::Open));
        }
        conversation.ask(now, Line::Begin(Box::new(begin)));
        conversation.tell_of_bridging(now);
        background.into_iter().for_each(|background| conversation.set_background(background));
        conversation.rest(now);
        conversation
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Output> {
        if self.out.is_empty() {
            self.waited();
        }
        self.out.pop_front()
    }

    /// The hang-up that was asked for, when nothing is left to wait for.
    pub fn take_hangup(&mut self) -> Option<(HungUpBy, String, Farewell)> {
        if !std::mem::take(&mut self.hangup_due) {
            return None;
        }
        self.hangup.clone()
    }

    /// When [`Conversation::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let pending = self.pending.iter().map(|p| p.deadline);
        let collection = self.collection.as_ref().and_then(|collection| collection.deadline());
        self.timers.iter().copied().flatten().chain(pending).chain(collection).chain(self.waiting_deadline()).min()
    }

    /// Media time now.
    pub fn at(&self, now: Instant) -> Ms {
        Ms::from(now.saturating_duration_since(self.answered))
    }

    /// Time has come.
    pub fn tick(&mut self, now: Instant) {
        while let Some(late) = self.pending.iter().position(|p| p.deadline <= now) {
            if let Some(mut pending) = self.pending.remove(late) {
                let known = pending.stopping;
                if let Some(text) = self.partials.remove(&pending.utterance.utterance).filter(|_| !known) {
                    pending.utterance.text = text;
                    pending.utterance.quality = Quality::Partial;
                }
                if !known && !self.recogniser_lost && self.rules.recogniser {
                    let no = pending.utterance.utterance;
                    self.trouble(now, Service::Recognition, format!("no final text for utterance {no} in time"));
                }
                self.deliver(now, pending.utterance);
            }
        }
        if self.due(now, Timer::Grace) {
            match self.leaving {
                Some(_) => self.leaving_due = true,
                None => self.hangup_due = true,
            }
        }
        if self.due(now, Timer::Verdict) {
            self.verdict_due();
        }
        if self.due(now, Timer::Bridge) {
            self.bridge_due();
        }
        if self.due(now, Timer::More) {
            self.more_due(now);
        }
        self.waiting_due(now);
        self.collection_due(now);
        if self.due(now, Timer::Dialogue) {
            self.dialogue_lost(now, format!("no answer within {} ms", self.rules.dialogue_timeout.as_millis()));
        }
        if self.due(now, Timer::NoInput) {
            self.silences += 1;
            self.waits_from(now);
            self.event(now, What::NoInput { count: self.silences });
            self.ask(now, Line::NoInput { count: self.silences });
            self.rest(now);
        }
    }

    /// The dialogue is told, and owes no answer.
    pub fn inform(&mut self, now: Instant, line: Line) {
        if !self.ended {
            self.tell(now, line);
        }
    }

    /// The leg heard or said something.
    pub fn leg(&mut self, now: Instant, event: LegEvent) {
        if self.ended || self.is_deaf_to(&event) {
            return;
        }
        match event {
            // Until now the answer was the origin; from now on both clocks are one.
            LegEvent::Began { at } => self.answered = at,
            LegEvent::SpeechStarted { utterance, onset, under_prompt } => {
                self.speaking = Some((utterance, onset));
                self.timers[Timer::NoInput as usize] = None;
                self.timers[Timer::Bridge as usize] = None;
                let from = onset.saturating_sub(self.knobs.pre_roll);
                self.recogniser(ToRecogniser::UtteranceStart { utterance, start: onset, from });
                let during_prompt = under_prompt;
                self.event(now, What::SpeechStarted { utterance, start: onset, during_prompt, early: false });
            }
            LegEvent::Utterance { utterance, start, stop, too_long, during_prompt } => {
                self.utterance_ended(now, utterance, (start, stop), too_long, during_prompt);
            }
            LegEvent::PromptStarted { prompt, at } => self.prompt_started(now, prompt, at),
            LegEvent::SegmentStarted { prompt, segment, .. } => {
                if let Some(mark) = self.speaker.segment_started(prompt, segment, &mut self.out) {
                    let prompt_id = self.speaker.entry(prompt).map(|e| e.prompt.id.clone()).unwrap_or_default();
                    self.event(now, What::Mark { prompt_id: prompt_id.clone(), mark: mark.clone() });
                    self.tell(now, Line::Mark { prompt_id, mark });
                }
            }
            LegEvent::PromptPaused { prompt, utterance, onset, at } => {
                self.paused(now, prompt, (utterance, onset), at);
            }
            LegEvent::PromptResumed { prompt, .. } => self.resumed(now, prompt),
            LegEvent::PromptFinished { prompt, at, length } => {
                self.last_word = at;
                if let Some(entry) = self.speaker.over(prompt, &mut self.out) {
                    self.waits_on(&entry, length);
                    self.robot_turn(&entry, at, false);
                    let (prompt_id, fault, bridging) = (entry.prompt.id, entry.fault, entry.bridging);
                    self.event(
                        now,
                        What::PromptFinished { prompt_id: prompt_id.clone(), length, fault: fault.clone() },
                    );
                    if !bridging {
                        self.tell(now, Line::PromptDone { prompt_id, interrupted: None, fault });
                    }
                }
                self.rest(now);
            }
            LegEvent::PromptInterrupted { prompt, at, heard, segment, segment_heard, by } => {
                self.last_word = at;
                for entry in self.speaker.stopped(prompt, by == Stopped::Asked, &mut self.out) {
                    self.prompt_stopped(now, entry, at, (heard, segment, segment_heard), by);
                }
                if matches!(by, Stopped::Speech { .. }) {
                    self.has_stopped(now);
                }
                self.rest(now);
            }
            LegEvent::Key { key, .. } => {
                self.waits_from(now);
                self.silences = 0;
                let shown = self.shown(key);
                self.told.keys.push(shown);
                self.event(now, What::Key { key: shown });
                let interrupted = self.interrupted_by_key.take();
                if self.take_key(now, key) {
                    return self.rest(now);
                }
                // Under a prompt that goes on, a key is no turn: as with speech that could not interrupt, nobody owes an answer.
                let under_prompt = interrupted.is_none() && !self.speaker.idle();
                let key = Line::Key { key, interrupted };
                if under_prompt {
                    self.tell(now, key);
                } else {
                    self.last_turn = self.ask(now, key);
                }
                self.rest(now);
            }
            LegEvent::RecordingPaused { on, from } => self.recording_paused(now, on, from),
            LegEvent::Muted { on, from } => self.muted(now, on, from),
            // The call's own business; see there.
            LegEvent::LineDead { .. }
            | LegEvent::Look(_)
            | LegEvent::Tone { .. }
            | LegEvent::Answerer { .. }
            | LegEvent::Spent(_)
            | LegEvent::SpentShared(_) => {}
        }
    }

    /// Recogniser or synthesiser said something.
    pub fn speech(&mut self, now: Instant, from: FromSpeech) {
        if self.background(now, &from) {
            return;
        }
        match from {
            FromSpeech::Partial { utterance, text } => {
                if !self.partial_wanted(utterance) {
                    return;
                }
                self.partials.insert(utterance, text.clone());
                if let Some((_, onset)) = self.speaking.filter(|(speaking, _)| *speaking == utterance) {
                    self.interrupts(utterance, onset, &text);
                }
                let shown = if self.hides_utterance(utterance) { HIDDEN.to_owned() } else { text.clone() };
                self.event(now, What::Partial { utterance, text: shown, early: false });
                if self.wants_partials {
                    self.tell(now, Line::Partial { utterance, text, early: false });
                }
            }
            FromSpeech::Final { utterance, text, alternatives, confidence } => {
                // Late ones have been given up, repeated ones have been told.
                let waits = |p: &Pending| p.utterance.utterance == utterance && !p.stopping;
                let Some(at) = self.pending.iter().position(waits) else { return self.joins(utterance, text) };
                let Some(mut pending) = self.pending.remove(at) else { return };
                self.partials.remove(&utterance);
                let quality = Quality::Final;
                pending.utterance = Utterance { text, alternatives, confidence, quality, ..pending.utterance };
                match self.decided_by_final(now, &mut pending) {
                    true => self.pending.push_back(pending),
                    false => self.deliver(now, pending.utterance),
                }
            }
            FromSpeech::RecognitionTrouble { reason, lost } => {
                self.trouble(now, Service::Recognition, reason.clone());
                self.tell(now, Line::Fault(Fault::Recognition(reason)));
                if lost {
                    self.recogniser_lost = true;
                    self.pending.iter_mut().for_each(|p| p.deadline = now);
                    self.tick(now);
                }
            }
            FromSpeech::Sound { prompt, segment, band, samples } => {
                self.speaker.sound(prompt, segment, Sound::own(band, samples), &mut self.out);
            }
            FromSpeech::Recording { prompt, segment, band, samples } => {
                self.speaker.sound(prompt, segment, Sound::shared(band, samples), &mut self.out);
                self.speaker.sound_end(prompt, segment, &mut self.out);
            }
            FromSpeech::SoundEnd { prompt, segment } => self.speaker.sound_end(prompt, segment, &mut self.out),
            FromSpeech::SoundFailed { prompt, segment, reason } => {
                if self.speaker.sound_failed(prompt, segment, &reason, &mut self.out) {
                    self.tell(now, Line::Fault(Fault::Synthesis(reason.clone())));
                    // A recording that is not there spoils its prompt; a voice that is not there ends the talk.
                    match self.speaker.is_recording(prompt, segment) || self.is_waiting_sound(prompt) {
                        true => self.trouble(now, Service::Synthesis, reason),
                        false => self.give_up(now, Service::Synthesis, reason),
                    }
                }
            }
        }
    }

    /// The dialogue said something.
    pub fn dialogue(&mut self, now: Instant, from: FromDialogue) {
        if self.given_up || self.ended {
            return;
        }
        match from {
            FromDialogue::Asked(asked) => self.asked(now, asked),
            FromDialogue::Closed(reason) => {
                if self.hangup.is_none() {
                    let reason = reason.unwrap_or_else(|| "it closed its stream without hanging up".to_owned());
                    match self.is_leaving() {
                        true => self.gone = Some(reason),
                        false => self.dialogue_lost(now, reason),
                    }
                }
            }
        }
    }

    /// Does what was asked, by the dialogue or by the orchestrator.
    pub fn act(&mut self, now: Instant, action: Action, by: HungUpBy) {
        if self.ended {
            return;
        }
        if by == HungUpBy::Operator {
            self.waits_from(now);
        }
        match action {
            Action::Say(prompt) => self.say(now, prompt),
            Action::Stop => {
                self.waiting_sound = None;
                self.stop(now);
            }
            Action::Collect(collect) => self.collect(now, collect),
            // The call's own business.
            Action::Hold(_) | Action::ReferAnswer(_) => {}
            Action::Hangup { now: at_once, reason, farewell } => {
                self.hangup = Some((by, reason, farewell));
                self.hangup_due |= at_once;
            }
            Action::Refer(refer) => self.leave(now, by, Leaving::Refer(refer)),
            Action::Transfer(leg) => self.leave(now, by, Leaving::SecondLeg(leg)),
            Action::PauseRecording { on, keep_text } => self.pause_recording(on, keep_text),
            Action::Set(change) => {
                for clamp in self.knobs.apply(&change) {
                    self.event(now, What::KnobClamped(clamp));
                    self.tell(now, Line::Fault(Fault::Knob(clamp)));
                }
                self.out.push_back(Output::Leg(leg::Command::Knobs(self.leg_knobs())));
                if change.filler_after.is_some() || change.bridging.is_some() {
                    self.tell_of_bridging(now);
                }
                if let Some(background) = change.background {
                    self.set_background(background);
                }
                if change.no_input.is_some() {
                    self.timers[Timer::NoInput as usize] = None;
                }
            }
            Action::Attach(name) => return self.attach(now, name),
            Action::Expect { partials, hints } => {
                self.wants_partials = partials;
                self.expect(hints);
            }
            Action::EndTurn(utterance) => self.end_turn(now, utterance),
            Action::MoreTime(endpoint) => self.more_time(Some(endpoint)),
            Action::Mute(on) => self.mute(on),
            Action::Wait(time) => {
                let time = if time == Ms(0) { self.rules.dialogue_timeout } else { time.as_duration() };
                self.owe(now, time);
                self.bridge_later(now);
            }
            Action::Label { key, value } => {
                self.told.labels.insert(key, value);
            }
            Action::SendKeys(keys) => self.out.push_back(Output::Leg(leg::Command::SendKeys(keys))),
        }
        self.rest(now);
    }

    fn stop(&mut self, now: Instant) {
        let (last, dropped) = self.speaker.stop(&mut self.out);
        self.out.extend(last.map(|last| Output::Leg(leg::Command::Stop { last })));
        let at = self.at(now);
        for entry in dropped {
            self.prompt_stopped(now, entry, at, (Ms(0), 0, Ms(0)), Stopped::Asked);
        }
    }

    /// The call is over. What the robot was saying is recorded as far as it went; what the caller was saying is waited for:
    /// see [`Conversation::settled`].
    pub fn end(&mut self, now: Instant, by: HungUpBy, reason: &str) {
        if self.ended {
            return;
        }
        let at = self.at(now);
        for entry in self.speaker.clear(&mut self.out) {
            let heard = entry.started.map_or(Ms(0), |started| at.saturating_sub(started));
            let (segment, of_it) = entry.place(heard);
            let heard = Speaker::heard(&entry, heard, segment, of_it);
            self.event(now, What::PromptInterrupted { heard, by: StoppedBy::Hangup, reaction: Ms(0) });
            self.robot_turn(&entry, at, true);
        }
        if let Some((utterance, start)) = self.speaking {
            self.utterance_ended(now, utterance, (start, at), false, false);
        }
        self.collection_ends(now);
        self.recording_over(at);
        self.mute_over(at);
        self.tell(now, Line::End { by, reason: reason.to_owned() });
        self.ended = true;
        if self.rules.dialogue {
            self.out.push_back(Output::Dialogue(ToDialogue::Close));
        }
        self.timers = [None; TIMERS];
    }

    /// Whether nothing is waited for any more, after the end: then the recogniser is let go.
    pub fn settled(&mut self) -> bool {
        let settled = self.ended && self.pending.is_empty();
        if settled && !std::mem::replace(&mut self.let_go, true) {
            self.recogniser(ToRecogniser::Close);
            self.told.turns.sort_by_key(|turn| turn.start);
        }
        settled
    }

    /// There is no time left to wait for texts.
    pub fn hurry(&mut self, now: Instant) {
        self.pending.iter_mut().for_each(|pending| pending.deadline = now);
        self.tick(now);
    }

    /// Something went wrong that is nobody's business here but the record's.
    pub fn fault(&mut self, fault: &str) {
        self.told.fault(fault.to_owned());
    }

    /// What is left for the record.
    pub fn into_told(self) -> Told {
        self.told
    }

    fn utterance_ended(
        &mut self,
        now: Instant,
        utterance: u32,
        (start, stop): (Ms, Ms),
        too_long: bool,
        during_prompt: bool,
    ) {
        self.speaking = None;
        self.waiting.last_speech = stop;
        self.recogniser(ToRecogniser::UtteranceEnd { utterance, start, stop });
        if self.ends_after_its_turn(now, utterance, stop) {
            self.more_time(None);
            return self.rest(now);
        }
        // A prompt that has paused for it was silent at its end; unless that was an interruption, it lay under the prompt all the same.
        let during_prompt = during_prompt || (self.is_judged(utterance) && self.interrupted.is_none() && !self.ended);
        let by_words = self.is_judged(utterance)
            || self.speaker.playing().is_some_and(|entry| entry.prompt.barge_in == Some(BargeIn::Words));
        let interrupted = self.interrupted.take();
        if !during_prompt {
            self.more_time(None);
        }
        let utterance =
            Utterance { during_prompt, too_long, interrupted, ..Utterance::unheard(utterance, start, stop) };
        let without = self.recogniser_lost || !self.rules.recogniser;
        let deadline = if without { now } else { now + self.rules.final_timeout };
        self.pending.push_back(Pending { utterance, deadline, stopping: false, by_words });
    }

    /// Tells the dialogue something that it has to answer.
    fn ask(&mut self, now: Instant, line: Line) -> u64 {
        let expected = self.hangup.is_none() && !self.is_leaving() && self.collection.is_none();
        if self.rules.dialogue && !self.given_up && expected {
            self.owe(now, self.rules.dialogue_timeout);
        }
        self.tell(now, line);
        self.last_event
    }

    fn tell(&mut self, now: Instant, what: Line) {
        // What comes after the end is for the record only: the dialogue has gone.
        if self.rules.dialogue && !self.ended {
            self.last_event += 1;
            let event = LineEvent { id: self.last_event, at: self.at(now), what };
            self.out.push_back(Output::Dialogue(ToDialogue::Tell(event)));
        }
    }

    fn event(&mut self, now: Instant, what: What) {
        self.out.push_back(Output::Tell { at: self.at(now), what });
    }

    fn recogniser(&mut self, to: ToRecogniser) {
        if self.rules.recogniser {
            self.out.push_back(Output::Recogniser(to));
        }
    }

    fn trouble(&mut self, now: Instant, service: Service, reason: String) {
        self.told.fault(format!("{}: {reason}", service.as_str()));
        self.event(now, What::ServiceTrouble { service, reason });
    }

    fn partial_wanted(&self, utterance: u32) -> bool {
        self.speaking.is_some_and(|(no, _)| no == utterance)
            || self.pending.iter().any(|p| p.utterance.utterance == utterance)
    }

    /// A service without which the talk cannot go on: fallback prompt, then hang up.
    fn give_up(&mut self, now: Instant, service: Service, reason: String) {
        if self.ended {
            return;
        }
        self.trouble(now, service, reason.clone());
        if std::mem::replace(&mut self.given_up, true) {
            return;
        }
        self.owes_nothing();
        if let Some(path) = self.rules.fallback_prompt.clone() {
            let prompt =
                Prompt { id: "fallback".to_owned(), barge_in: Some(BargeIn::Never), ..Prompt::of(Source::File(path)) };
            self.speaker.say(prompt, None, &self.knobs, &mut self.out);
        }
        self.hangup = Some((HungUpBy::Robot, format!("{}: {reason}", service.as_str()), Farewell::default()));
        self.rest(now);
    }

    /// Nothing may be left to do now: then the hang-up that was waited for comes, or the caller's silence begins to count.
    fn rest(&mut self, now: Instant) {
        self.rest_since(now, now);
    }

    /// As [`Conversation::rest`], with the caller's silence counting from `since`.
    fn rest_since(&mut self, now: Instant, since: Instant) {
        self.collection_rests(now);
        self.wait_on();
        self.tell_unfilled(now);
        // What waits for the end of a hold holds nothing up.
        if !self.held && !self.speaker.idle() {
            self.timers[Timer::NoInput as usize] = None;
            self.timers[Timer::Grace as usize] = None;
        } else if self.leaving.is_some() || (self.hangup.is_some() && !self.referring) {
            let heard = self.answered + self.last_word.as_duration() + GRACE;
            self.timers[Timer::Grace as usize].get_or_insert(heard.max(now));
        } else if self.held
            || self.speaking.is_some()
            || self.referring
            || self.joined
            || !self.pending.is_empty()
            || self.collection.is_some()
            || self.timers[Timer::Dialogue as usize].is_some()
        {
            self.timers[Timer::NoInput as usize] = None;
        } else if self.knobs.no_input > Ms(0) {
            self.timers[Timer::NoInput as usize].get_or_insert(since + self.knobs.no_input.as_duration());
        }
    }

    fn due(&mut self, now: Instant, timer: Timer) -> bool {
        let slot = &mut self.timers[timer as usize];
        let due = slot.is_some_and(|at| at <= now);
        if due {
            *slot = None;
        }
        due
    }
}
