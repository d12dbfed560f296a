//! The robot's side of the talk: prompts from the asking to the last sample.
//!
//! A prompt's segments are made elsewhere and come in any order; here they are put in order and handed to the leg as one stream
//! ([`leg::Command`]). Segments are asked for a little ahead of what is heard, so that later ones are made while earlier ones play.

use std::collections::{BTreeMap, VecDeque};

use super::clauses::Clauses;
use super::io::{Output, Wanted};
use super::knobs::Knobs;
use super::leg::{self, PREROLL, Sound};
use super::line::Heard;
use super::prompt::{Prompt, PromptNo, Segment, Source, Text};
use super::variables::{Held, Variables};
use crate::ms::Ms;

/// Segments that are made or waiting beyond the one that is heard.
const LOOK_AHEAD: usize = 2;
/// How often a segment is asked for anew, when nothing of it has come.
const RETRIES: u8 = 1;
/// Speech runs at about so many characters a second; used for the heard text while a segment's length is not known.
const CHARACTERS_A_SECOND: u64 = 15;

/// All prompts that are not over.
#[derive(Debug, Default)]
pub(super) struct Speaker {
    /// In boxes: a map has room for eleven from the beginning, and most calls have one.
    prompts: BTreeMap<PromptNo, Box<Entry>>,
    last: u32,
    /// The last prompt that the leg knows of.
    opened: Option<PromptNo>,
    /// The next segment to hand to the leg.
    feed: Option<(PromptNo, u32)>,
    /// The leg is given no new prompt.
    paused: bool,
    /// The bridging phrase, until an answer takes its place.
    bridge: Option<PromptNo>,
    /// What `${name}` stands for.
    variables: Variables,
    /// Why variables could not be filled in, not told yet.
    unfilled: Vec<String>,
    /// What is made from now on is not to be kept.
    private: bool,
}

/// A prompt on its way.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) prompt: Prompt,
    pub(super) started: Option<Ms>,
    /// End of the caller's utterance that it answers.
    pub(super) answers: Option<Ms>,
    /// Why it could not be played whole.
    pub(super) fault: String,
    /// A bridging phrase: nobody asked for it.
    pub(super) bridging: bool,
    /// More of it will be asked for.
    open: bool,
    /// The text that is being written: how it is to be spoken, and what is no whole clause yet.
    writing: Option<(Segment, Held, Clauses)>,
    /// Segments as the asker counts them: a text that came in pieces is one.
    asked: u32,
    parts: Vec<Part>,
}

/// A segment on its way.
#[derive(Debug, Default)]
struct Part {
    asked: bool,
    retries: u8,
    ended: bool,
    /// It began to be heard.
    begun: bool,
    samples: u64,
    /// The asker's number of its segment, and where in that one's text it begins, in characters.
    of: u32,
    from: u32,
    /// Came before its turn.
    waiting: VecDeque<Sound>,
}

impl Entry {
    fn new(mut prompt: Prompt, answers: Option<Ms>, variables: &Variables) -> (Entry, Vec<String>) {
        let (segments, more) = (std::mem::take(&mut prompt.segments), prompt.more);
        let mut entry = Entry {
            prompt,
            started: None,
            answers,
            fault: String::new(),
            bridging: false,
            open: more,
            writing: None,
            asked: 0,
            parts: Vec::new(),
        };
        let unfilled = entry.write(segments, more, variables);
        (entry, unfilled)
    }

    /// Takes segments on. Of a prompt that goes on, texts that are spoken alike are one text, and each of its clauses is a part.
    /// Returns why variables could not be filled in.
    fn write(&mut self, segments: Vec<Segment>, more: bool, variables: &Variables) -> Vec<String> {
        let mut unfilled = Vec::new();
        for mut segment in segments {
            match &mut segment.source {
                // SSML cannot be cut.
                Source::Text(text) if self.open && !text.ssml => {
                    if !self.goes_on_in(text) || !segment.mark.is_empty() {
                        self.written();
                    }
                    let piece = text.text.clone();
                    let (_, held, clauses) =
                        self.writing.get_or_insert_with(|| (segment, Held::default(), Clauses::default()));
                    let filled = variables.fill_piece(held, &piece);
                    clauses.push(&filled.text);
                    unfilled.extend(filled.faults);
                    self.clauses();
                    continue;
                }
                Source::Text(text) if text.text.contains('$') => {
                    let filled = variables.fill(&text.text, text.ssml);
                    let empty = filled.text.trim().is_empty();
                    (text.text, text.once) = (filled.text.into(), text.once || filled.own);
                    unfilled.extend(filled.faults);
                    if empty {
                        segment.source = Source::Silence(Ms(0));
                    }
                }
                _ => {}
            }
            self.written();
            self.add(segment, self.asked, 0);
            self.asked += 1;
        }
        if !more {
            self.written();
            self.open = false;
        }
        if let Some(first) = unfilled.first().filter(|_| self.fault.is_empty()) {
            self.fault.clone_from(first);
        }
        unfilled
    }

    /// Whether a text is spoken as the one that is being written.
    fn goes_on_in(&self, text: &Text) -> bool {
        let alike = |before: &Text| Text { text: text.text.clone(), ..before.clone() } == *text;
        self.writing.as_ref().is_some_and(|(segment, ..)| matches!(&segment.source, Source::Text(t) if alike(t)))
    }

    /// What is whole of the text that is being written.
    fn clauses(&mut self) {
        while let Some(clause) = self.writing.as_mut().and_then(|(.., clauses)| clauses.next()) {
            self.add_clause(clause);
        }
    }

    /// The text that is being written is at its end.
    fn written(&mut self) {
        let rest = self.writing.as_mut().and_then(|(_, held, clauses)| {
            clauses.push(&std::mem::take(held).rest());
            clauses.rest()
        });
        if let Some(rest) = rest {
            self.add_clause(rest);
        }
        self.asked += u32::from(self.writing.take().is_some());
    }

    fn add_clause(&mut self, clause: String) {
        let Some((segment, ..)) = &mut self.writing else { return };
        let mut part = segment.clone();
        // It is the first one's.
        segment.mark.clear();
        let last = self.parts.last().filter(|last| last.of == self.asked);
        let before = last.zip(self.prompt.segments.last()).map_or(0, |(last, segment)| last.from + characters(segment));
        if let Source::Text(text) = &mut part.source {
            // What a language model writes is not written again.
            (text.text, text.once) = (clause.into(), true);
        }
        self.add(part, self.asked, before);
    }

    fn add(&mut self, segment: Segment, of: u32, from: u32) {
        self.prompt.segments.push(segment);
        self.parts.push(Part { of, from, ..Part::default() });
    }

    /// What is said, for the record: texts as they are, recordings and tones in brackets.
    pub(super) fn spoken(&self) -> String {
        let mut spoken = String::new();
        for (segment, part) in self.prompt.segments.iter().zip(&self.parts) {
            let text = match &segment.source {
                Source::Text(text) => text.text.to_string(),
                Source::File(path) => format!("[{path}]"),
                Source::Tone(_) => "[tone]".to_owned(),
                Source::Silence(_) => continue,
            };
            if part.from == 0 && !spoken.is_empty() {
                spoken.push(' ');
            }
            spoken.push_str(&text);
        }
        spoken.trim_end().to_owned()
    }

    /// More of it was to be asked for.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Sound of it has been asked for and has not come.
    fn is_wanting(&self) -> bool {
        self.parts.iter().any(|part| part.asked && !part.ended)
    }

    /// Where one is in the prompt after so much of it: the segment, and how much of that.
    pub(super) fn place(&self, heard: Ms) -> (u32, Ms) {
        let mut left = heard;
        let last = self.parts.iter().rposition(|part| part.begun).unwrap_or(0);
        for part in &self.parts[..last] {
            left = left.saturating_sub(Ms::of_samples(part.samples, 8_000));
        }
        (last as u32, left)
    }
}

impl Speaker {
    /// Nothing is said yet. `variables`: of the call.
    pub(super) fn new(variables: Vec<(String, String)>) -> Speaker {
        Speaker { variables: Variables::new(variables), ..Speaker::default() }
    }

    /// Why variables could not be filled in, since the last time.
    pub(super) fn take_unfilled(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unfilled)
    }

    /// Whether what is made from now on is for this call alone.
    pub(super) fn keep_private(&mut self, private: bool) {
        self.private = private;
    }

    /// Takes a prompt on; it is heard after all others.
    pub(super) fn say(
        &mut self,
        mut prompt: Prompt,
        answers: Option<Ms>,
        knobs: &Knobs,
        out: &mut VecDeque<Output>,
    ) -> PromptNo {
        self.last += 1;
        let no = PromptNo(self.last);
        if prompt.id.is_empty() {
            prompt.id = format!("prompt-{}", self.last);
        }
        prompt.barge_in = Some(prompt.barge_in.unwrap_or(knobs.barge_in));
        prompt.protect = Some(prompt.protect.unwrap_or(knobs.protect));
        let (entry, unfilled) = Entry::new(prompt, answers, &self.variables);
        self.unfilled.extend(unfilled);
        self.prompts.insert(no, Box::new(entry));
        if self.feed.is_none() {
            self.open(no, out);
        }
        self.pump(out);
        no
    }

    /// Takes what continues a prompt that is open; gives it back if there is none of its id.
    pub(super) fn go_on(&mut self, prompt: Prompt, out: &mut VecDeque<Output>) -> Option<Prompt> {
        let open = self.prompts.values_mut().find(|entry| entry.open && entry.prompt.id == prompt.id);
        let Some(entry) = open else { return Some(prompt) };
        self.unfilled.extend(entry.write(prompt.segments, prompt.more, &self.variables));
        self.pump(out);
        self.give_way(out);
        self.forward(out);
        None
    }

    /// Whether more of this prompt is still to be asked for.
    pub(super) fn goes_on(&self, id: &str) -> bool {
        self.prompts.values().any(|entry| entry.open && entry.prompt.id == id)
    }

    /// Whether more of something is still to be asked for.
    pub(super) fn is_open(&self) -> bool {
        self.prompts.values().any(|entry| entry.open)
    }

    /// Nothing more of what is open will be asked for; its ids.
    pub(super) fn close_open(&mut self, out: &mut VecDeque<Output>) -> Vec<String> {
        let open = self.prompts.values_mut().filter(|entry| entry.open);
        let ids = open.map(|entry| {
            entry.write(Vec::new(), false, &self.variables);
            entry.prompt.id.clone()
        });
        let ids = ids.collect();
        self.pump(out);
        self.forward(out);
        ids
    }

    /// Says a bridging phrase: the prompt that is asked for next takes its place as soon as enough of it is there.
    pub(super) fn bridge(&mut self, phrase: Prompt, knobs: &Knobs, out: &mut VecDeque<Output>) {
        let id = if phrase.id.is_empty() { format!("bridging-{}", self.last + 1) } else { phrase.id.clone() };
        let no = self.say(Prompt { id, ..phrase }, None, knobs, out);
        if let Some(entry) = self.prompts.get_mut(&no) {
            entry.bridging = true;
            // Nobody asked for it: what is amiss with it is told for itself.
            entry.fault.clear();
        }
        self.bridge = Some(no);
    }

    /// The prompt that is heard.
    pub(super) fn playing(&self) -> Option<&Entry> {
        self.prompts.values().map(|entry| &**entry).find(|entry| entry.started.is_some())
    }

    /// The bridging phrase gives way to what was asked for after it, if enough of that is there to go on without a gap: it is faded out in
    /// one frame, and the next begins in the one after.
    fn give_way(&mut self, out: &mut VecDeque<Output>) {
        let Some(bridge) = self.bridge.filter(|_| !self.paused) else { return };
        let Some((&next, entry)) = self.prompts.range(PromptNo(bridge.0 + 1)..).next() else { return };
        let (mut there, mut whole) = (0, !entry.open);
        for part in &entry.parts {
            there += part.waiting.iter().map(Sound::len).sum::<usize>();
            whole &= part.ended;
            if !part.ended {
                break;
            }
        }
        if !whole && there < PREROLL {
            return;
        }
        self.bridge = None;
        if self.prompts.contains_key(&bridge) {
            out.extend(self.wanting(bridge).then_some(Output::Unwant(bridge)));
            out.push_back(Output::Leg(leg::Command::Stop { last: bridge }));
        }
        if self.opened < Some(next) {
            self.open(next, out);
            self.forward(out);
        }
    }

    /// The bridging phrase is not wanted any more, whatever comes after it.
    pub(super) fn unbridge(&mut self, out: &mut VecDeque<Output>) {
        let Some(bridge) = self.bridge.take().filter(|bridge| self.prompts.contains_key(bridge)) else { return };
        out.extend(self.wanting(bridge).then_some(Output::Unwant(bridge)));
        out.push_back(Output::Leg(leg::Command::Stop { last: bridge }));
    }

    /// Whether a prompt is a bridging phrase.
    pub(super) fn is_bridging(&self, no: PromptNo) -> bool {
        self.prompts.get(&no).is_some_and(|entry| entry.bridging)
    }

    /// Whether the next thing to be heard is being made, and nothing is heard.
    pub(super) fn is_making(&self) -> bool {
        !self.paused && self.prompts.values().next().is_some_and(|entry| entry.is_wanting())
    }

    /// Since when the prompt that is heard has had no more sound, which is to come.
    pub(super) fn starved_since(&self) -> Option<Ms> {
        let entry = self.playing().filter(|entry| entry.is_wanting())?;
        let samples = entry.parts.iter().map(|part| part.samples).sum::<u64>();
        Some(entry.started? + Ms::of_samples(samples, 8_000))
    }

    /// Whether nothing is said and nothing waits.
    pub(super) fn idle(&self) -> bool {
        self.prompts.is_empty()
    }

    /// How many segments wait to be heard.
    pub(super) fn segments(&self) -> usize {
        self.prompts.values().flat_map(|entry| &entry.parts).filter(|part| !part.begun).count()
    }

    /// What is being said and what waits to be, in order.
    pub(super) fn said(&self) -> impl Iterator<Item = &Entry> {
        self.prompts.values().map(|entry| &**entry).filter(|entry| !entry.bridging)
    }

    pub(super) fn entry(&self, no: PromptNo) -> Option<&Entry> {
        self.prompts.get(&no).map(|entry| &**entry)
    }

    /// The prompt's first sample went out.
    pub(super) fn started(&mut self, no: PromptNo, at: Ms) -> Option<&Entry> {
        let entry = self.prompts.get_mut(&no)?;
        entry.started = Some(at);
        Some(entry)
    }

    /// A segment began to be heard: there is room for one more ahead. Its mark, if it has one.
    pub(super) fn segment_started(&mut self, no: PromptNo, segment: u32, out: &mut VecDeque<Output>) -> Option<String> {
        self.part(no, segment)?.begun = true;
        let mark = self.prompts.get(&no)?.prompt.segments.get(segment as usize)?.mark.clone();
        self.pump(out);
        (!mark.is_empty()).then_some(mark)
    }

    /// All that has been asked for is to be stopped: those that the leg does not know yet are dropped here, and returned. The last of
    /// those that it has to stop, if there are any; each of these will have an event of its own.
    pub(super) fn stop(&mut self, out: &mut VecDeque<Output>) -> (Option<PromptNo>, Vec<Entry>) {
        let dropped = self.unknown();
        self.unwant(&dropped, out);
        let last = self.opened.filter(|_| !self.prompts.is_empty());
        (last, dropped.into_values().map(|entry| *entry).collect())
    }

    /// What is asked for from now on waits, with its first sounds made.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// And is said.
    pub(super) fn resume(&mut self, out: &mut VecDeque<Output>) {
        self.paused = false;
        if self.feed.is_none() {
            self.open_next(self.opened.unwrap_or(PromptNo(0)), out);
            self.forward(out);
        }
    }

    /// The leg stopped a prompt. An interruption (not `asked` for) empties the queue as a whole: with the last that the leg knew
    /// those are dropped that it did not know yet. After [`Speaker::stop`] there are only newer ones, and they are wanted.
    pub(super) fn stopped(&mut self, no: PromptNo, asked: bool, out: &mut VecDeque<Output>) -> Vec<Entry> {
        let mut stopped: BTreeMap<_, _> = self.prompts.remove_entry(&no).into_iter().collect();
        if !asked && self.opened == Some(no) {
            stopped.append(&mut self.unknown());
        }
        self.unwant(&stopped, out);
        if self.feed.is_some_and(|(feeding, _)| feeding == no) {
            self.feed = None;
            self.open_next(no, out);
            self.forward(out);
        }
        self.pump(out);
        stopped.into_values().map(|entry| *entry).collect()
    }

    /// The prompt's last sample went out.
    pub(super) fn over(&mut self, no: PromptNo, out: &mut VecDeque<Output>) -> Option<Entry> {
        let entry = *self.prompts.remove(&no)?;
        self.pump(out);
        Some(entry)
    }

    /// Whether a segment is a recording, and not the voice of a service.
    pub(super) fn is_recording(&self, no: PromptNo, segment: u32) -> bool {
        let of = |entry: &Entry| entry.prompt.segments.get(segment as usize).map(|s| s.source.clone());
        matches!(self.entry(no).and_then(of), Some(Source::File(_)))
    }

    /// The call is over: nothing more is said. All that was asked for, heard in part or not at all.
    pub(super) fn clear(&mut self, out: &mut VecDeque<Output>) -> Vec<Entry> {
        let prompts = std::mem::take(&mut self.prompts);
        self.unwant(&prompts, out);
        self.feed = None;
        prompts.into_values().map(|entry| *entry).collect()
    }

    /// What was heard of a prompt that was stopped.
    pub(super) fn heard(entry: &Entry, heard: Ms, segment: u32, segment_heard: Ms) -> Heard {
        let (mut of, mut heard_of_it) = (segment, 0);
        if let (Some(said), Some(part)) =
            (entry.prompt.segments.get(segment as usize), entry.parts.get(segment as usize))
        {
            let all = u64::from(characters(said));
            let heard = match (part.ended, part.samples / 8) {
                (true, length) if length > 0 => all * u64::from(segment_heard.0) / length,
                _ => CHARACTERS_A_SECOND * u64::from(segment_heard.0) / 1_000,
            };
            heard_of_it = part.from + heard.min(all) as u32;
            of = part.of;
        }
        Heard { prompt_id: entry.prompt.id.clone(), heard, segment: of, characters: heard_of_it }
    }

    /// Sound came.
    pub(super) fn sound(&mut self, no: PromptNo, segment: u32, sound: Sound, out: &mut VecDeque<Output>) {
        let Some(part) = self.part(no, segment) else { return };
        part.samples += sound.len() as u64;
        part.waiting.push_back(sound);
        self.give_way(out);
        self.forward(out);
    }

    /// All the sound of a segment has come.
    pub(super) fn sound_end(&mut self, no: PromptNo, segment: u32, out: &mut VecDeque<Output>) {
        let Some(part) = self.part(no, segment) else { return };
        part.ended = true;
        self.give_way(out);
        self.forward(out);
        self.pump(out);
    }

    /// A segment cannot be had. False: it is asked for once more. True: it is given up, and the prompt goes on without it.
    pub(super) fn sound_failed(
        &mut self,
        no: PromptNo,
        segment: u32,
        reason: &str,
        out: &mut VecDeque<Output>,
    ) -> bool {
        let Some(part) = self.part(no, segment) else { return false };
        if part.ended {
            return false;
        }
        if part.samples == 0 && part.retries < RETRIES {
            part.retries += 1;
            out.extend(self.want(no, segment));
            return false;
        }
        if let Some(entry) = self.prompts.get_mut(&no) {
            entry.fault = reason.to_owned();
        }
        self.sound_end(no, segment, out);
        true
    }

    /// Takes out what the leg does not know yet.
    fn unknown(&mut self) -> BTreeMap<PromptNo, Box<Entry>> {
        let first = self.opened.map_or(PromptNo(1), |opened| PromptNo(opened.0 + 1));
        self.prompts.split_off(&first)
    }

    fn unwant(&self, prompts: &BTreeMap<PromptNo, Box<Entry>>, out: &mut VecDeque<Output>) {
        let wanted = prompts.iter().filter(|(_, entry)| entry.is_wanting());
        out.extend(wanted.map(|(no, _)| Output::Unwant(*no)));
    }

    fn wanting(&self, no: PromptNo) -> bool {
        self.entry(no).is_some_and(Entry::is_wanting)
    }

    fn part(&mut self, no: PromptNo, segment: u32) -> Option<&mut Part> {
        self.prompts.get_mut(&no)?.parts.get_mut(segment as usize)
    }

    fn want(&self, no: PromptNo, segment: u32) -> Option<Output> {
        let wanted = match &self.prompts.get(&no)?.prompt.segments.get(segment as usize)?.source {
            Source::Text(text) => Wanted::Text(Text { once: text.once || self.private, ..text.clone() }),
            Source::File(path) => Wanted::File(path.clone()),
            Source::Tone(_) | Source::Silence(_) => return None,
        };
        Some(Output::Want { prompt: no, segment, wanted })
    }

    /// Segments asked for that have not begun to be heard. Of one without sound nothing will say that it began.
    fn ahead(&self) -> usize {
        let parts = self.prompts.values().flat_map(|entry| &entry.parts);
        parts.filter(|part| part.asked && !part.begun && !(part.ended && part.samples == 0)).count()
    }

    /// Asks for segments, as far ahead as is allowed.
    fn pump(&mut self, out: &mut VecDeque<Output>) {
        let mut fed = false;
        while self.ahead() < LOOK_AHEAD {
            let next = self.prompts.iter().find_map(|(&no, entry)| {
                entry.parts.iter().position(|part| !part.asked).map(|segment| (no, segment as u32))
            });
            let Some((no, segment)) = next else { break };
            let made = made_here(&self.prompts[&no].prompt.segments[segment as usize].source);
            let want = self.want(no, segment);
            let Some(part) = self.part(no, segment) else { break };
            part.asked = true;
            if let Some(sound) = made {
                part.samples = sound.len() as u64;
                part.waiting.push_back(sound);
                part.ended = true;
                fed = true;
            }
            out.extend(want);
        }
        if fed {
            self.give_way(out);
            self.forward(out);
        }
    }

    fn open_next(&mut self, after: PromptNo, out: &mut VecDeque<Output>) {
        let next = self.prompts.range(PromptNo(after.0 + 1)..).next().map(|(next, _)| *next);
        if let Some(next) = next {
            self.open(next, out);
        }
    }

    fn open(&mut self, no: PromptNo, out: &mut VecDeque<Output>) {
        let Some(entry) = self.prompts.get(&no).filter(|_| !self.paused) else { return };
        let (Some(barge_in), Some(protect)) = (entry.prompt.barge_in, entry.prompt.protect) else { return };
        self.feed = Some((no, 0));
        self.opened = Some(no);
        out.push_back(Output::Leg(leg::Command::Prompt { no, barge_in, protect }));
    }

    /// Hands to the leg all that is there of the segment whose turn it is, and of those after it.
    fn forward(&mut self, out: &mut VecDeque<Output>) {
        while let Some((no, segment)) = self.feed {
            let Some(part) = self.part(no, segment) else {
                if self.prompts.get(&no).is_some_and(|entry| entry.open) {
                    break;
                }
                // Past the last segment.
                out.push_back(Output::Leg(leg::Command::Close { no }));
                self.feed = None;
                self.open_next(no, out);
                continue;
            };
            let ended = part.ended;
            let sounds = part.waiting.drain(..);
            out.extend(sounds.map(|sound| Output::Leg(leg::Command::Sound { no, segment, sound })));
            if !ended {
                break;
            }
            self.feed = Some((no, segment + 1));
        }
    }
}

/// What nobody has to be asked for.
fn made_here(source: &Source) -> Option<Sound> {
    match source {
        Source::Tone(tone) => Some(Sound::Tone(*tone)),
        Source::Silence(length) => Some(Sound::Silence(length.samples(8_000))),
        Source::Text(_) | Source::File(_) => None,
    }
}

/// Of a text; nothing else has any.
fn characters(segment: &Segment) -> u32 {
    match &segment.source {
        Source::Text(text) => text.text.chars().count() as u32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(parts: &[&str]) -> Prompt {
        let segment = |text: &&str| match text.strip_prefix('~') {
            Some(ms) => Source::Silence(Ms(ms.parse().expect("a number"))),
            None => Source::Text(Text { text: (*text).into(), ..Text::default() }),
        };
        let segments = parts.iter().map(|t| Segment { source: segment(t), mark: String::new() }).collect();
        Prompt { segments, ..Prompt::text("") }
    }

    /// Shows outputs shortly: `want 1.0`, `open 1`, `1.0+160`, `close 1`, `unwant 1`.
    fn shown(out: &mut VecDeque<Output>) -> String {
        let one = |o| match o {
            Output::Want { prompt, segment, .. } => format!("want {}.{segment}", prompt.0),
            Output::Unwant(prompt) => format!("unwant {}", prompt.0),
            Output::Leg(leg::Command::Prompt { no, .. }) => format!("open {}", no.0),
            Output::Leg(leg::Command::Sound { no, segment, sound }) => format!("{}.{segment}+{}", no.0, sound.len()),
            Output::Leg(leg::Command::Close { no }) => format!("close {}", no.0),
            other => format!("{other:?}"),
        };
        out.drain(..).map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn segments_are_made_ahead_and_handed_over_in_order() {
        let (mut speaker, mut out, knobs) = (Speaker::default(), VecDeque::new(), Knobs::default());
        let no = speaker.say(prompt(&["one", "~40", "three", "four"]), None, &knobs, &mut out);
        assert_eq!(shown(&mut out), "open 1, want 1.0", "the silence is the second one ahead");
        speaker.sound(no, 0, Sound::Own(vec![0; 80]), &mut out);
        speaker.sound(no, 0, Sound::Own(vec![0; 80]), &mut out);
        speaker.sound_end(no, 0, &mut out);
        assert_eq!(shown(&mut out), "1.0+80, 1.0+80, 1.1+320");
        speaker.segment_started(no, 0, &mut out);
        speaker.segment_started(no, 1, &mut out);
        assert_eq!(shown(&mut out), "want 1.2, want 1.3");
        speaker.sound(no, 3, Sound::Own(vec![0; 7]), &mut out);
        speaker.sound_end(no, 3, &mut out);
        assert_eq!(shown(&mut out), "", "the third is not there yet");
        speaker.sound(no, 2, Sound::Own(vec![0; 5]), &mut out);
        speaker.sound_end(no, 2, &mut out);
        assert_eq!(shown(&mut out), "1.2+5, 1.3+7, close 1");
        assert!(speaker.over(no, &mut out).is_some() && speaker.idle());
    }

    #[test]
    fn the_next_prompt_is_made_while_the_first_plays() {
        let (mut speaker, mut out, knobs) = (Speaker::default(), VecDeque::new(), Knobs::default());
        let one = speaker.say(prompt(&["one"]), None, &knobs, &mut out);
        let two = speaker.say(prompt(&["two"]), None, &knobs, &mut out);
        speaker.sound(two, 0, Sound::Own(vec![0; 9]), &mut out);
        speaker.sound_end(two, 0, &mut out);
        assert_eq!(shown(&mut out), "open 1, want 1.0, want 2.0");
        speaker.sound_end(one, 0, &mut out);
        assert_eq!(shown(&mut out), "close 1, open 2, 2.0+9, close 2");
    }

    #[test]
    fn a_failed_segment_is_asked_for_once_more_then_left_out() {
        let (mut speaker, mut out, knobs) = (Speaker::default(), VecDeque::new(), Knobs::default());
        let no = speaker.say(prompt(&["one", "two"]), None, &knobs, &mut out);
        shown(&mut out);
        assert!(!speaker.sound_failed(no, 0, "refused", &mut out));
        assert_eq!(shown(&mut out), "want 1.0");
        assert!(speaker.sound_failed(no, 0, "refused", &mut out));
        speaker.sound(no, 1, Sound::Own(vec![0; 5]), &mut out);
        speaker.sound_end(no, 1, &mut out);
        assert_eq!(shown(&mut out), "1.1+5, close 1");
        assert_eq!(speaker.over(no, &mut out).map(|e| e.fault), Some("refused".to_owned()));
    }

    #[test]
    fn a_stopped_prompt_is_not_made_any_further() {
        let (mut speaker, mut out, knobs) = (Speaker::default(), VecDeque::new(), Knobs::default());
        let one = speaker.say(prompt(&["one", "two", "three"]), None, &knobs, &mut out);
        speaker.sound(one, 0, Sound::Own(vec![0; 80]), &mut out);
        shown(&mut out);
        speaker.say(prompt(&["queued"]), None, &knobs, &mut out);
        let stopped = speaker.stopped(one, false, &mut out);
        assert_eq!(stopped.iter().map(|e| &*e.prompt.id).collect::<Vec<_>>(), ["prompt-1", "prompt-2"]);
        assert_eq!(shown(&mut out), "unwant 1");
        speaker.sound(one, 0, Sound::Own(vec![0; 80]), &mut out);
        assert_eq!(shown(&mut out), "", "what was on its way is dropped");
        speaker.say(prompt(&["next"]), None, &knobs, &mut out);
        assert_eq!(shown(&mut out), "open 3, want 3.0");
    }

    #[test]
    fn what_is_asked_for_after_a_stop_is_not_stopped() {
        let (mut speaker, mut out, knobs) = (Speaker::default(), VecDeque::new(), Knobs::default());
        let one = speaker.say(prompt(&["one", "two", "three"]), None, &knobs, &mut out);
        speaker.say(prompt(&["queued"]), None, &knobs, &mut out);
        shown(&mut out);
        let (last, dropped) = speaker.stop(&mut out);
        assert_eq!((last, dropped.len()), (Some(one), 1), "the leg has to stop the one that it knows");
        speaker.say(prompt(&["new"]), None, &knobs, &mut out);
        assert_eq!(shown(&mut out), "", "it waits for the old one's end");
        assert_eq!(speaker.stopped(one, true, &mut out).len(), 1);
        assert_eq!(shown(&mut out), "unwant 1, open 3, want 3.0");
        assert_eq!(speaker.stop(&mut out).0, Some(PromptNo(3)));
        speaker.stopped(PromptNo(3), true, &mut out);
        assert_eq!(speaker.stop(&mut out).0, None, "nothing is left to stop");
    }

    #[test]
    fn a_text_that_comes_in_pieces_is_said_clause_by_clause_and_counted_as_one() {
        let (mut speaker, mut out, knobs) = (Speaker::default(), VecDeque::new(), Knobs::default());
        let piece = |text: &str, more| Prompt { id: "p".to_owned(), more, ..Prompt::text(text) };
        let no = speaker.say(piece("您好，这里是", true), None, &knobs, &mut out);
        assert_eq!(shown(&mut out), "open 1", "no clause yet");
        assert!(speaker.go_on(piece("快递公司。您的包裹", true), &mut out).is_none());
        assert_eq!(shown(&mut out), "want 1.0", "while the rest is being written");
        speaker.sound(no, 0, Sound::Own(vec![0; 8_000]), &mut out);
        speaker.sound_end(no, 0, &mut out);
        assert_eq!(shown(&mut out), "1.0+8000", "it is not closed");
        assert!(speaker.go_on(piece("明天到。", false), &mut out).is_none());
        assert_eq!(shown(&mut out), "want 1.1");
        speaker.segment_started(no, 1, &mut out);
        speaker.sound(no, 1, Sound::Own(vec![0; 8_000]), &mut out);
        speaker.sound_end(no, 1, &mut out);
        assert_eq!(shown(&mut out), "1.1+8000, close 1");
        assert!(speaker.go_on(piece("late", false), &mut out).is_some(), "it is closed");
        let entry = speaker.over(no, &mut out).expect("it was there");
        assert_eq!(entry.spoken(), "您好，这里是快递公司。您的包裹明天到。");
        let heard = Speaker::heard(&entry, Ms(1_500), 1, Ms(500));
        assert_eq!((heard.segment, heard.characters), (0, 11 + 4));
    }

    #[test]
    fn what_was_heard_is_told_in_characters() {
        let (mut speaker, mut out, knobs) = (Speaker::default(), VecDeque::new(), Knobs::default());
        let no = speaker.say(prompt(&["你好世界"]), None, &knobs, &mut out);
        speaker.sound(no, 0, Sound::Own(vec![0; 8_000]), &mut out);
        speaker.sound_end(no, 0, &mut out);
        let entry = speaker.over(no, &mut out).expect("it was there");
        assert_eq!(Speaker::heard(&entry, Ms(500), 0, Ms(500)).characters, 2);
    }
}
