//! What the robot says: the queue of prompts on the media thread, drawn 20 ms at a time.
//!
//! Prompts come as one stream of items in the order in which they are to be heard: `Open`, its sounds, `Close`, then the next prompt.
//! Sounds are joined sample by sample, across segments and across prompts, so that there is no gap where there is none in the stream.

use std::collections::VecDeque;
use std::sync::Arc;

use super::throat::{self, Throat, Whole};
use super::{LegEvent, Stopped};
use crate::cache::bring;
use crate::call::knobs::BargeIn;
use crate::call::prompt::PromptNo;
use crate::codec::coding::Band;
use crate::dsp::level::Fade;
use crate::dsp::tone::signal::Signal;
use crate::ms::Ms;

/// Samples of a frame: 20 ms at 8 kHz.
const FRAME: usize = 160;
/// A prompt whose sound is still being made starts, and goes on after an under-run, when this much of it is there: a synthesiser that
/// delivers in bursts then makes one late start and not a stutter.
pub const PREROLL: usize = 480;
/// Items that fit before the queue has to grow.
const QUEUE: usize = 32;

/// Sound of a segment.
#[derive(Debug, Clone, PartialEq)]
pub enum Sound {
    /// Samples of its own, 8 kHz.
    Own(Vec<i16>),
    /// Samples that other calls play too: a recording.
    Shared(Arc<[i16]>),
    /// Samples of its own, 16 kHz, an even number.
    Wide(Vec<i16>),
    /// The same, that other calls play too.
    SharedWide(Arc<[i16]>),
    /// A tone, made as it is heard.
    Tone(Signal),
    /// Nothing, for so many samples.
    Silence(u32),
}

impl Sound {
    /// Samples of a band.
    pub fn own(band: Band, samples: Vec<i16>) -> Sound {
        match band {
            Band::Narrow => Sound::Own(samples),
            Band::Wide => Sound::Wide(samples),
        }
    }

    /// The same, that other calls play too.
    pub fn shared(band: Band, samples: Arc<[i16]>) -> Sound {
        match band {
            Band::Narrow => Sound::Shared(samples),
            Band::Wide => Sound::SharedWide(samples),
        }
    }

    /// How many samples of 8 kHz it is as long as: all lengths and places here are such.
    pub(in crate::call) fn len(&self) -> usize {
        match self {
            Sound::Own(samples) => samples.len(),
            Sound::Shared(samples) => samples.len(),
            Sound::Wide(samples) => samples.len() / 2,
            Sound::SharedWide(samples) => samples.len() / 2,
            Sound::Tone(tone) => tone.samples() as usize,
            Sound::Silence(samples) => *samples as usize,
        }
    }

    /// Its samples, where they are of 16 kHz.
    fn wide(&self) -> Option<&[i16]> {
        match self {
            Sound::Wide(samples) => Some(samples),
            Sound::SharedWide(samples) => Some(samples),
            Sound::Own(_) | Sound::Shared(_) | Sound::Tone(_) | Sound::Silence(_) => None,
        }
    }

    /// Copies from `from` on as much as both have, to the place `at` of a slot; says how much. Sound of 16 kHz goes through the throat.
    fn copy(&self, from: usize, at: usize, out: &mut [i16; FRAME], throat: Option<&mut Throat>) -> usize {
        let out = &mut out[at..];
        let n = out.len().min(self.len() - from);
        if let Some(samples) = self.wide() {
            let (samples, out) = (&samples[2 * from..2 * (from + n)], &mut out[..n]);
            match throat {
                Some(throat) => {
                    out.fill(0);
                    throat.take(at, samples);
                }
                None => throat::means(samples, out),
            }
            return n;
        }
        match self {
            Sound::Own(samples) => out[..n].copy_from_slice(&samples[from..from + n]),
            Sound::Shared(samples) => out[..n].copy_from_slice(&samples[from..from + n]),
            Sound::Tone(tone) => tone.write(from as u32, &mut out[..n]),
            Sound::Silence(_) | Sound::Wide(_) | Sound::SharedWide(_) => out[..n].fill(0),
        }
        n
    }
}

/// What the queue is made of.
#[derive(Debug)]
pub(super) enum Item {
    /// A prompt begins.
    Open { no: PromptNo, barge_in: BargeIn, protect: Ms },
    /// Sound of its segment.
    Sound { no: PromptNo, segment: u32, sound: Sound },
    /// It has no more sound.
    Close { no: PromptNo },
}

impl Item {
    fn no(&self) -> PromptNo {
        match self {
            Item::Open { no, .. } | Item::Sound { no, .. } | Item::Close { no } => *no,
        }
    }
}

/// The prompt whose turn it is.
#[derive(Debug)]
struct Current {
    no: PromptNo,
    barge_in: BargeIn,
    protect: Ms,
    /// Samples that went out, of the prompt and of its segment.
    played: u32,
    segment: Option<u32>,
    segment_played: u32,
    /// Waiting for enough sound to (re)start.
    starved: bool,
    /// Silent until it is decided whether it goes on.
    pause: Pause,
}

/// Whether a prompt has paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// No.
    No,
    /// Yes, since its last sample.
    Yes(Ms),
    /// It goes on with the next frame, which rises from silence.
    Over,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Mouth {
    items: VecDeque<Item>,
    current: Option<Current>,
    /// How much of the front item's sound went out.
    offset: usize,
    /// Samples in the queue that are not yet out.
    buffered: usize,
    /// Everything up to this prompt was dropped: sounds of it that are still on their way are not played.
    dropped: Option<PromptNo>,
    under_runs: u64,
    /// In a box, since few lines ever are of 16 kHz.
    throat: Option<Box<Throat>>,
}

impl Mouth {
    pub(super) fn new() -> Mouth {
        Mouth {
            items: VecDeque::with_capacity(QUEUE),
            current: None,
            offset: 0,
            buffered: 0,
            dropped: None,
            under_runs: 0,
            throat: None,
        }
    }

    /// The line is of 16 kHz. What has begun to go through a throat goes on through it.
    pub(super) fn widen(&mut self, throat: Option<Box<Throat>>) {
        self.throat = self.throat.take().or(throat);
    }

    /// A slot begins, of which a frame is drawn, paused or stopped.
    pub(super) fn begin(&mut self) {
        self.throat.iter_mut().for_each(|throat| throat.begin());
    }

    /// The frame that was drawn, complete: with what of it is of 16 kHz.
    pub(super) fn complete(&mut self, spoke: bool, frame: &mut [i16; FRAME]) {
        self.throat.iter_mut().for_each(|throat| throat.add_to(spoke, frame));
    }

    /// Another frame goes out in this slot.
    pub(super) fn give_way(&mut self) {
        self.throat.iter_mut().for_each(|throat| throat.give_way());
    }

    /// What of the frame is of 16 kHz.
    pub(super) fn whole(&self) -> Option<Whole<'_>> {
        self.throat.as_ref()?.whole()
    }

    fn fade(&mut self, out: &mut [i16; FRAME]) {
        Fade::new(FRAME as u32).apply(out);
        self.throat.iter_mut().for_each(|throat| throat.fade());
    }

    /// Asks for what is said next, once the queue is here.
    pub(super) fn warm_behind(&self) {
        self.items.front().into_iter().for_each(bring);
    }

    /// … and for its samples, once that is.
    pub(super) fn warm_samples(&self) {
        let samples: &[i16] = match self.items.front() {
            Some(Item::Sound { sound: Sound::Own(samples), .. }) => samples,
            Some(Item::Sound { sound: Sound::Shared(samples), .. }) => samples,
            _ => return,
        };
        let next = samples.get(self.offset..).unwrap_or_default();
        bring(&next[..next.len().min(FRAME)]);
    }

    pub(super) fn push(&mut self, item: Item, events: &mut impl FnMut(LegEvent)) {
        if self.dropped.is_some_and(|dropped| item.no() <= dropped) {
            if let Item::Sound { sound: Sound::Own(samples) | Sound::Wide(samples), .. } = item {
                events(LegEvent::Spent(samples));
            }
            return;
        }
        if let Item::Sound { sound, .. } = &item {
            self.buffered += sound.len();
        }
        self.items.push_back(item);
    }

    /// Times that sound was due and had not come.
    pub(super) fn under_runs(&self) -> u64 {
        self.under_runs
    }

    /// Whether anything of a prompt has gone out whose end has not.
    pub(super) fn playing(&self) -> bool {
        self.current.as_ref().is_some_and(|c| c.played > 0)
    }

    /// Whether what is said has paused.
    pub(super) fn paused(&self) -> bool {
        self.current.as_ref().is_some_and(|c| matches!(c.pause, Pause::Yes(_)))
    }

    /// Pauses: what comes out is 20 ms more, falling to silence. `by` is the utterance for which, and its onset.
    pub(super) fn pause(
        &mut self,
        at: Ms,
        (utterance, onset): (u32, Ms),
        out: &mut [i16; FRAME],
        events: &mut impl FnMut(LegEvent),
    ) -> bool {
        let prompt = self.current.as_ref().map(|current| current.no);
        let spoke = prompt.is_some_and(|prompt| self.draw_until(prompt, at, out, events));
        // It may have come to its end in these 20 ms.
        let Some(current) = self.current.as_mut().filter(|current| Some(current.no) == prompt) else { return spoke };
        let end = if spoke { Ms(at.0 + 20) } else { at };
        current.pause = Pause::Yes(end);
        events(LegEvent::PromptPaused { prompt: current.no, utterance, onset, at: end });
        if spoke {
            self.fade(out);
        }
        spoke
    }

    /// What has paused goes on from where it fell silent.
    pub(super) fn resume(&mut self) {
        if let Some(current) = self.current.as_mut().filter(|current| matches!(current.pause, Pause::Yes(_))) {
            current.pause = Pause::Over;
        }
    }

    /// What the prompt that is being heard says of interruption: policy, and whether its protected part is over.
    pub(super) fn policy(&self) -> Option<(BargeIn, bool)> {
        let current = self.current.as_ref().filter(|c| c.played > 0)?;
        Some((current.barge_in, Ms::of_samples(current.played.into(), 8_000) >= current.protect))
    }

    /// Draws the next 20 ms; false when there was nothing to say. `at` is the media time of its first sample.
    pub(super) fn draw(&mut self, at: Ms, out: &mut [i16; FRAME], events: &mut impl FnMut(LegEvent)) -> bool {
        self.draw_until(PromptNo(u32::MAX), at, out, events)
    }

    /// As [`Mouth::draw`], but begins no prompt after `last`.
    fn draw_until(
        &mut self,
        last: PromptNo,
        at: Ms,
        out: &mut [i16; FRAME],
        events: &mut impl FnMut(LegEvent),
    ) -> bool {
        let mut filled = 0;
        let (mut spoke, mut rises) = (false, false);
        while filled < FRAME {
            let now = Ms(at.0 + filled as u32 / 8);
            if self.current.is_none() && !self.open_next(last) {
                break;
            }
            let Some(current) = self.current.as_mut() else { break };
            match current.pause {
                Pause::No => {}
                Pause::Yes(_) => break,
                Pause::Over => {
                    current.pause = Pause::No;
                    rises = filled == 0;
                    events(LegEvent::PromptResumed { prompt: current.no, at: now });
                }
            }
            if current.starved {
                let closed = self.items.iter().any(|item| matches!(item, Item::Close { .. }));
                if !closed && self.buffered < PREROLL {
                    break;
                }
                current.starved = false;
            }
            match self.items.front() {
                Some(Item::Sound { segment, sound, .. }) => {
                    if current.played == 0 && current.segment.is_none() {
                        events(LegEvent::PromptStarted { prompt: current.no, at: now });
                    }
                    if current.segment != Some(*segment) {
                        current.segment = Some(*segment);
                        current.segment_played = 0;
                        events(LegEvent::SegmentStarted { prompt: current.no, segment: *segment, at: now });
                    }
                    let n = sound.copy(self.offset, filled, out, self.throat.as_deref_mut());
                    filled += n;
                    spoke = true;
                    self.offset += n;
                    self.buffered -= n;
                    current.played += n as u32;
                    current.segment_played += n as u32;
                    if self.offset == sound.len() {
                        self.offset = 0;
                        if let Some(Item::Sound { sound: Sound::Own(samples) | Sound::Wide(samples), .. }) =
                            self.items.pop_front()
                        {
                            events(LegEvent::Spent(samples));
                        }
                    }
                }
                Some(Item::Close { .. }) => {
                    let (prompt, length) = (current.no, Ms::of_samples(current.played.into(), 8_000));
                    events(LegEvent::PromptFinished { prompt, at: now, length });
                    self.items.pop_front();
                    self.current = None;
                }
                // The stream is ordered, so a new prompt cannot open before the old one was closed; if it does, the old one has ended.
                Some(Item::Open { .. }) => self.current = None,
                None => {
                    if current.played > 0 {
                        self.under_runs += 1;
                    }
                    current.starved = true;
                }
            }
        }
        out[filled..].fill(0);
        if rises {
            throat::rise(out);
            self.throat.iter_mut().for_each(|throat| throat.rise());
        }
        spoke
    }

    /// Stops what is said and what is queued, up to the prompt `last`. The last frame is drawn here, so that its end can be faded: what
    /// comes out is at most 20 ms of the prompt, falling to silence. Says what was stopped, the one that was heard first.
    pub(super) fn stop(
        &mut self,
        last: PromptNo,
        at: Ms,
        by: Stopped,
        out: &mut [i16; FRAME],
        events: &mut impl FnMut(LegEvent),
    ) -> bool {
        let first = self.current.as_ref().map(|current| current.no).or_else(|| self.items.front().map(Item::no));
        if first.is_some_and(|first| first > last) {
            // What was meant is over, and what is said now was asked for since.
            return self.draw(at, out, events);
        }
        let spoke = self.playing() && self.draw_until(last, at, out, events);
        if spoke {
            self.fade(out);
        } else {
            out.fill(0);
        }
        let mut end = if spoke { Ms(at.0 + 20) } else { at };
        if let Some(current) = self.current.take() {
            if let Pause::Yes(since) = current.pause {
                end = since;
            }
            self.dropped = Some(current.no);
            events(LegEvent::PromptInterrupted {
                prompt: current.no,
                at: end,
                heard: Ms::of_samples(current.played.into(), 8_000),
                segment: current.segment.unwrap_or(0),
                segment_heard: Ms::of_samples(current.segment_played.into(), 8_000),
                by,
            });
        }
        while self.items.front().is_some_and(|item| item.no() <= last) {
            let Some(item) = self.items.pop_front() else { break };
            self.dropped = self.dropped.max(Some(item.no()));
            match item {
                Item::Open { no, .. } => events(LegEvent::PromptInterrupted {
                    prompt: no,
                    at: end,
                    heard: Ms(0),
                    segment: 0,
                    segment_heard: Ms(0),
                    by,
                }),
                Item::Sound { sound, .. } => {
                    self.buffered -= sound.len() - std::mem::take(&mut self.offset);
                    if let Sound::Own(samples) | Sound::Wide(samples) = sound {
                        events(LegEvent::Spent(samples));
                    }
                }
                Item::Close { .. } => {}
            }
        }
        spoke
    }

    fn open_next(&mut self, last: PromptNo) -> bool {
        while let Some(item) = self.items.front().filter(|item| item.no() <= last) {
            if let Item::Open { no, barge_in, protect } = *item {
                self.items.pop_front();
                self.current = Some(Current {
                    no,
                    barge_in,
                    protect,
                    played: 0,
                    segment: None,
                    segment_played: 0,
                    starved: true,
                    pause: Pause::No,
                });
                return true;
            }
            // Sound of no prompt: it cannot be placed.
            if let Some(Item::Sound { sound, .. }) = self.items.pop_front() {
                self.buffered -= sound.len();
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: PromptNo = PromptNo(1);
    const TWO: PromptNo = PromptNo(2);

    fn open(no: PromptNo) -> Item {
        Item::Open { no, barge_in: BargeIn::Speech, protect: Ms(0) }
    }

    fn sound(no: PromptNo, segment: u32, value: i16, samples: usize) -> Item {
        Item::Sound { no, segment, sound: Sound::Own(vec![value; samples]) }
    }

    /// Runs a mouth over frames; returns what it said and what it reported (less the spent buffers).
    fn draw(mouth: &mut Mouth, from: u32, frames: u32) -> (Vec<i16>, Vec<LegEvent>) {
        let (mut said, mut told) = (Vec::new(), Vec::new());
        for n in 0..frames {
            let mut frame = [0; FRAME];
            mouth.draw(Ms(from + n * 20), &mut frame, &mut |e| told.push(e));
            said.extend(frame);
        }
        told.retain(|e| !matches!(e, LegEvent::Spent(_)));
        (said, told)
    }

    fn feed(mouth: &mut Mouth, items: Vec<Item>) {
        for item in items {
            mouth.push(item, &mut |_| {});
        }
    }

    #[test]
    fn segments_and_prompts_are_joined_sample_by_sample() {
        let mut mouth = Mouth::new();
        feed(
            &mut mouth,
            vec![
                open(ONE),
                sound(ONE, 0, 1, 100),
                sound(ONE, 1, 2, 100),
                Item::Close { no: ONE },
                open(TWO),
                sound(TWO, 0, 3, 120),
                Item::Close { no: TWO },
            ],
        );
        let (said, told) = draw(&mut mouth, 0, 2);
        assert_eq!(said, [vec![1; 100], vec![2; 100], vec![3; 120]].concat());
        assert_eq!(
            told,
            [
                LegEvent::PromptStarted { prompt: ONE, at: Ms(0) },
                LegEvent::SegmentStarted { prompt: ONE, segment: 0, at: Ms(0) },
                LegEvent::SegmentStarted { prompt: ONE, segment: 1, at: Ms(12) },
                LegEvent::PromptFinished { prompt: ONE, at: Ms(25), length: Ms(25) },
                LegEvent::PromptStarted { prompt: TWO, at: Ms(25) },
                LegEvent::SegmentStarted { prompt: TWO, segment: 0, at: Ms(25) },
            ]
        );
        let (_, told) = draw(&mut mouth, 40, 1);
        assert_eq!(told, [LegEvent::PromptFinished { prompt: TWO, at: Ms(40), length: Ms(15) }]);
    }

    #[test]
    fn a_slow_synthesiser_makes_a_counted_under_run_and_no_stutter() {
        let mut mouth = Mouth::new();
        feed(&mut mouth, vec![open(ONE), sound(ONE, 0, 1, 320)]);
        assert!(draw(&mut mouth, 0, 1).1.is_empty(), "does not start on too little");
        feed(&mut mouth, vec![sound(ONE, 0, 1, 160)]);
        let (said, _) = draw(&mut mouth, 20, 3);
        assert_eq!(said, vec![1; 480]);
        draw(&mut mouth, 80, 1);
        assert_eq!(mouth.under_runs(), 1);
        feed(&mut mouth, vec![sound(ONE, 0, 1, 160)]);
        assert_eq!(draw(&mut mouth, 100, 1).0, vec![0; 160], "waits for more than a scrap");
        feed(&mut mouth, vec![Item::Close { no: ONE }]);
        assert_eq!(draw(&mut mouth, 120, 1).0, vec![1; 160], "or for the end");
    }

    #[test]
    fn a_stop_fades_once_and_nothing_of_what_was_queued_is_heard_again() {
        let mut mouth = Mouth::new();
        feed(&mut mouth, vec![open(ONE), sound(ONE, 0, 8_000, 1_600), Item::Close { no: ONE }, open(TWO)]);
        draw(&mut mouth, 0, 5);
        let (mut frame, mut told) = ([0; FRAME], Vec::new());
        assert!(mouth.stop(PromptNo(u32::MAX), Ms(100), Stopped::Asked, &mut frame, &mut |e| told.push(e)));
        assert!(frame[0] > 7_000 && frame[159].abs() < 100, "fades: {} … {}", frame[0], frame[159]);
        told.retain(|e| !matches!(e, LegEvent::Spent(_)));
        let stopped = |prompt, heard| LegEvent::PromptInterrupted {
            prompt,
            at: Ms(120),
            heard: Ms(heard),
            segment: 0,
            segment_heard: Ms(heard),
            by: Stopped::Asked,
        };
        assert_eq!(told, [stopped(ONE, 120), stopped(TWO, 0)]);
        feed(&mut mouth, vec![sound(TWO, 0, 9, 800), Item::Close { no: TWO }]);
        let (said, told) = draw(&mut mouth, 120, 5);
        assert_eq!((said, told), (vec![0; 800], vec![]), "late sound of a dropped prompt");
        let third = PromptNo(3);
        feed(&mut mouth, vec![open(third), sound(third, 0, 5, 160), Item::Close { no: third }]);
        assert_eq!(draw(&mut mouth, 220, 1).0, vec![5; 160], "the next prompt is heard");
    }

    #[test]
    fn a_stop_leaves_alone_what_was_asked_for_after_it() {
        let mut mouth = Mouth::new();
        let first = [open(ONE), sound(ONE, 0, 8_000, 240), Item::Close { no: ONE }];
        let second = [open(TWO), sound(TWO, 0, 5, 480), Item::Close { no: TWO }];
        feed(&mut mouth, first.into_iter().chain(second).collect());
        draw(&mut mouth, 0, 1);
        let (mut frame, mut told) = ([0; FRAME], Vec::new());
        assert!(mouth.stop(ONE, Ms(20), Stopped::Asked, &mut frame, &mut |e| told.push(e)));
        assert_eq!(frame[80..], [0; 80], "the second does not begin within the fade of the first");
        told.retain(|e| !matches!(e, LegEvent::Spent(_)));
        assert_eq!(told, [LegEvent::PromptFinished { prompt: ONE, at: Ms(30), length: Ms(30) }]);
        assert!(mouth.stop(ONE, Ms(40), Stopped::Asked, &mut frame, &mut |_| {}), "too late: it is over");
        assert_eq!(frame, [5; FRAME]);
        assert_eq!(draw(&mut mouth, 60, 2).0, vec![5; 320]);
    }

    #[test]
    fn the_protected_part_is_told() {
        let mut mouth = Mouth::new();
        assert_eq!(mouth.policy(), None);
        feed(
            &mut mouth,
            vec![Item::Open { no: ONE, barge_in: BargeIn::Speech, protect: Ms(40) }, sound(ONE, 0, 1, 1_600)],
        );
        draw(&mut mouth, 0, 1);
        assert_eq!(mouth.policy(), Some((BargeIn::Speech, false)));
        draw(&mut mouth, 20, 1);
        assert_eq!(mouth.policy(), Some((BargeIn::Speech, true)));
    }
}
