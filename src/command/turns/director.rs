//! One call, from its begin to its end: takes one trial after the other, is the dialogue and the caller's mind, and judges what came of it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::phones::{Order, Packet, Say as Sound, Seen};
use super::plan::{Rendered, Row, Task, Trial};
use super::services::{Services, Told};
use super::{Tried, keep};
use crate::codec::g711::Law;
use crate::command::harness::Trouble;
use crate::command::harness::voice::detected;
use crate::command::harness::wire::FRAME;
use crate::dsp::endpoint::EndpointKnobs;
use crate::ms::Ms;
use crate::proto::dialogue::v1::action::Action as Act;
use crate::proto::dialogue::v1::line_event::Event;
use crate::proto::dialogue::v1::segment::Segment as Part;
use crate::proto::dialogue::v1::{Action, File, Heard, Knobs, Say, Segment, Stale, Stop, Text, Utterance};

/// How long a call may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);
/// After a trial, before the next one.
const REST: Duration = Duration::from_millis(400);
/// The prompt falls silent for good when so many ms of packets are silent.
const GAP_NS: i64 = 100_000_000;
const MS: i64 = 1_000_000;
/// By which the dialogue is told that a prompt has begun.
const BEGUN: &str = "begun";

/// What all directors share.
pub(super) struct Work {
    pub(super) rows: Vec<Row>,
    pub(super) trials: Mutex<VecDeque<Trial>>,
    pub(super) services: Services,
    pub(super) phones: mpsc::UnboundedSender<Order>,
    /// Where both sides' audio is kept.
    pub(super) keep: Option<PathBuf>,
}

/// The director of a phone.
pub(super) struct Director {
    pub(super) phone: usize,
    pub(super) told: mpsc::UnboundedReceiver<Told>,
    pub(super) work: Arc<Work>,
    actions: Option<mpsc::Sender<Result<Action, Status>>>,
    said: u64,
}

/// What happened in a trial.
#[derive(Default)]
struct Happened {
    utterances: Vec<(i64, Utterance)>,
    /// The prompt has begun.
    begun: bool,
    /// The prompt was interrupted: what the server says was heard of it.
    interrupted: Option<Heard>,
    /// The answer was asked for, ns.
    answered: Option<i64>,
    faults: Vec<String>,
}

impl Director {
    pub(super) fn new(phone: usize, told: mpsc::UnboundedReceiver<Told>, work: Arc<Work>) -> Director {
        Director { phone, told, work, actions: None, said: 0 }
    }

    /// Until there are no more trials.
    pub(super) async fn run(mut self, results: mpsc::UnboundedSender<Tried>) -> Result<(), Trouble> {
        let begun = tokio::time::timeout(PATIENCE, self.told.recv()).await;
        let Ok(Some(Told::Begun { actions, event_id })) = begun else {
            return Err(Trouble::Broken(format!("the call of phone {} has not come up", self.phone)));
        };
        self.actions = Some(actions);
        self.act(event_id, Act::Set(Knobs::default())).await?;
        loop {
            let next = self.work.trials.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(trial) = next else { return Ok(()) };
            let result = self.trial(&trial).await?;
            // Nobody counts any more: the bench has been given up.
            let _ = results.send(result);
        }
    }

    async fn trial(&mut self, trial: &Trial) -> Result<Tried, Trouble> {
        let work = self.work.clone();
        let row = &work.rows[trial.row];
        let sound = trial.render(row);
        let under_prompt = matches!(row.task, Task::Interrupt | Task::Disturb);
        self.act(0, Act::Set(row.knobs.clone())).await?;
        self.work.services.says(self.phone, &sound.words);
        // What came before belongs to no trial.
        self.look().await?;
        let mut happened = Happened::default();
        if under_prompt {
            self.say(0, file("long.wav")).await?;
            let deadline = Instant::now() + PATIENCE;
            while !happened.begun && Instant::now() < deadline {
                self.watch(Instant::now() + Duration::from_millis(20), None, &mut happened).await?;
            }
        }
        let begun = Instant::now();
        let say = Sound { samples: sound.samples.clone(), echo: trial.echo };
        self.order(Order::Say { phone: self.phone, say })?;
        let length = Duration::from_millis(sound.samples.len() as u64 / 8);
        let endpoint = Duration::from_millis(row.knobs.endpoint_ms.unwrap_or_default().into());
        let after = match row.task {
            // The prompt that answers has begun by then.
            Task::AskFile | Task::AskText => endpoint + Duration::from_millis(700),
            Task::Whole => endpoint + Duration::from_millis(500),
            Task::Interrupt => endpoint + Duration::from_millis(400),
            // A prompt that has paused has been judged by then.
            Task::Disturb => Duration::from_millis(900),
        };
        self.watch(begun + length + after, Some(row.task), &mut happened).await?;
        let seen = self.look().await?;
        self.act(0, Act::Stop(Stop {})).await?;
        self.watch(Instant::now() + REST, None, &mut Happened::default()).await?;
        let mut result = judge(trial, row, &sound, &seen, &happened);
        result.name.clone_from(&sound.name);
        if let Some(folder) = &self.work.keep {
            keep::keep(folder, row, &result, &seen).map_err(|error| Trouble::File(folder.clone(), error))?;
        }
        Ok(result)
    }

    /// Takes what comes, and answers what wants an answer, until then.
    async fn watch(&mut self, until: Instant, task: Option<Task>, happened: &mut Happened) -> Result<(), Trouble> {
        loop {
            let told = tokio::select! {
                told = self.told.recv() => told,
                () = sleep_until(until) => return Ok(()),
            };
            let (at, event_id, event) = match told {
                Some(Told::Event { at, event_id, event }) => (at, event_id, event),
                Some(Told::Begun { .. }) => {
                    return Err(Trouble::Broken(format!("phone {}: the dialogue was given up", self.phone)));
                }
                Some(Told::Over) | None => {
                    return Err(Trouble::Broken(format!("the call of phone {} has ended", self.phone)));
                }
            };
            match *event {
                Event::Utterance(utterance) => {
                    let answer = match task {
                        Some(Task::AskFile) if happened.utterances.is_empty() => Some(file("answer.wav")),
                        Some(Task::AskText) if happened.utterances.is_empty() => {
                            // Not the same text twice: nobody shall have it already.
                            Some(Part::Text(Text { text: format!("{} {event_id}", self.phone), ..Text::default() }))
                        }
                        _ => None,
                    };
                    match answer {
                        Some(answer) => {
                            happened.answered = Some(at);
                            self.say(event_id, answer).await?;
                        }
                        None => self.act(event_id, Act::Set(Knobs::default())).await?,
                    }
                    happened.utterances.push((at, utterance));
                }
                Event::PromptDone(done) => happened.interrupted = happened.interrupted.take().or(done.interrupted),
                Event::Mark(_) => happened.begun = true,
                Event::Fault(fault) => happened.faults.push(fault.reason),
                Event::NoInput(_) | Event::Key(_) => self.act(event_id, Act::Set(Knobs::default())).await?,
                _ => {}
            }
        }
    }

    async fn say(&mut self, answers: u64, part: Part) -> Result<(), Trouble> {
        let segments = vec![Segment { segment: Some(part), mark: BEGUN.to_owned() }];
        self.act(answers, Act::Say(Say { segments, ..Say::default() })).await
    }

    async fn act(&mut self, answers: u64, act: Act) -> Result<(), Trouble> {
        self.said += 1;
        let action_id = self.said.to_string();
        let action = Action { action_id, answers, if_stale: Stale::Play.into(), action: Some(act) };
        let gone = || Trouble::Broken(format!("the dialogue of phone {} is gone", self.phone));
        self.actions.as_ref().ok_or_else(gone)?.send(Ok(action)).await.map_err(|_| gone())
    }

    async fn look(&self) -> Result<Seen, Trouble> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Look { phone: self.phone, reply })?;
        answer.await.map_err(|_| Trouble::Socket("the phones have ended".to_owned()))
    }

    fn order(&self, order: Order) -> Result<(), Trouble> {
        self.work.phones.send(order).map_err(|_| Trouble::Socket("the phones have ended".to_owned()))
    }
}

fn file(path: &str) -> Part {
    Part::File(File { path: path.to_owned() })
}

fn judge(trial: &Trial, row: &Row, sound: &Rendered, seen: &Seen, happened: &Happened) -> Tried {
    let mut result = Tried { row: trial.row, number: trial.number, lost: seen.lost, ..Tried::default() };
    result.faults.clone_from(&happened.faults);
    let endpoint = row.knobs.endpoint_ms.unwrap_or_default();
    let sent = |sample: usize| seen.sent.get((sample / FRAME).min(seen.sent.len().saturating_sub(1))).copied();
    let (Some(onset), Some(end)) = (sent(sound.first), sent(sound.last.saturating_sub(1))) else {
        result.broken = Some("nothing of it was said".to_owned());
        return result;
    };
    match row.task {
        Task::AskFile | Task::AskText | Task::Whole => {
            result.counted = happened.utterances.len() != 1;
            if let ([(at, utterance)], false) = (&happened.utterances[..], result.counted) {
                let beyond = |from: i64| (at - from) as f64 / 1e6 - f64::from(endpoint);
                result.utterance = Some(beyond(end));
                if let Some((start, stop)) = voice(&sound.samples, endpoint) {
                    result.utterance_detected = sent(stop.saturating_sub(1)).map(beyond);
                    result.detected_start = Some((start as f64 - sound.first as f64) / 8.0);
                    result.detected_stop = Some((stop as f64 - sound.last as f64) / 8.0);
                }
                let length = f64::from(utterance.stop_ms) - f64::from(utterance.start_ms);
                result.length_error = Some(length - (sound.last - sound.first) as f64 / 8.0);
            }
            if happened.utterances.is_empty() {
                result.broken = Some("no utterance".to_owned());
            }
            if let Some(answered) = happened.answered {
                let first = seen.heard.iter().find(|packet| packet.loud && packet.at > answered);
                match first {
                    Some(packet) => result.answer = Some((packet.at - answered) as f64 / 1e6),
                    None => result.broken = Some("no packet of the answer".to_owned()),
                }
            }
        }
        Task::Interrupt | Task::Disturb => {
            let prompt = Prompt::of(&seen.heard);
            if prompt.first.is_none_or(|first| first + 300 * MS >= onset) {
                result.broken = Some("the prompt had not begun".to_owned());
                return result;
            }
            result.paused = prompt.paused;
            let last = prompt.last.unwrap_or_default();
            match (row.task, &happened.interrupted) {
                (Task::Interrupt, Some(heard)) if last >= onset => {
                    result.stop = Some((last - onset) as f64 / 1e6);
                    result.heard_error = Some(f64::from(heard.heard_ms) - f64::from(prompt.packets) * 20.0);
                }
                (Task::Interrupt, _) => result.counted = true,
                _ => result.counted = happened.interrupted.is_some(),
            }
        }
    }
    result
}

/// What was heard of a prompt, whose every packet has a sound, until it fell silent.
struct Prompt {
    first: Option<i64>,
    last: Option<i64>,
    packets: u32,
    /// There was something after that again.
    paused: bool,
}

impl Prompt {
    fn of(heard: &[Packet]) -> Prompt {
        let mut prompt = Prompt { first: None, last: None, packets: 0, paused: false };
        for packet in heard.iter().filter(|packet| packet.loud) {
            prompt.paused |= prompt.last.is_some_and(|last| packet.at - last > GAP_NS);
            if prompt.paused {
                break;
            }
            prompt.first = prompt.first.or(Some(packet.at));
            prompt.last = Some(packet.at);
            prompt.packets += 1;
        }
        prompt
    }
}

/// Where the voice begins and ends, for our own detector, in samples.
fn voice(samples: &[i16], endpoint: u32) -> Option<(usize, usize)> {
    let knobs = EndpointKnobs { endpoint: Ms(endpoint), ..EndpointKnobs::default() };
    let silence = [0i16; FRAME];
    let frames = samples.as_chunks::<FRAME>().0.iter().chain(std::iter::repeat_n(&silence, 120));
    let coded = frames.map(|frame| {
        let mut coded = [0; FRAME];
        Law::A.encode(frame, &mut coded);
        coded
    });
    detected(coded, knobs).map(|(start, stop)| (start.0 as usize * 8, stop.0 as usize * 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_falls_silent_and_goes_on_has_paused() {
        let packets = |loud: &[bool]| {
            loud.iter().enumerate().map(|(n, loud)| Packet { at: n as i64 * 20 * MS, loud: *loud }).collect::<Vec<_>>()
        };
        let whole = Prompt::of(&packets(&[false, true, true, true, false]));
        assert_eq!((whole.first, whole.last, whole.packets, whole.paused), (Some(20 * MS), Some(60 * MS), 3, false));
        let mut paused = vec![true; 5];
        paused.extend([false; 8]);
        paused.extend([true; 3]);
        let paused = Prompt::of(&packets(&paused));
        assert_eq!((paused.paused, paused.last, paused.packets), (true, Some(80 * MS), 5));
        assert_eq!(Prompt::of(&[]).first, None);
    }
}
