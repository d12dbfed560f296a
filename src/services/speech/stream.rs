//! The recogniser of one call's audio: decides what to decode and when, and puts the texts together.
//!
//! Moonshine is not a streaming model: it reads a stretch of audio from its beginning each time, at about 3 % of the
//! stretch's length. So, while the caller speaks, the utterance so far is decoded again every 600 ms for a partial
//! result, and the moment the level falls away (200 ms, long before the endpointer is sure) once more. When the
//! end mark comes, that last reading usually covers all that was spoken, and the final result is there at once:
//!
//! ```text
//!  audio      ▁▁▁▁███████▇▇████████▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
//!  marks         ↑start                      ↑end (endpoint_ms after the last word)
//!  decodes            1↑     2↑      3↑ (level fell)
//!  results              partial  partial  partial     final = reading 3
//! ```
//!
//! Around the words only a little silence is given to the model: it takes much silence around one short word for no
//! word at all. An utterance of more than 15 s is read in pieces, cut at its quietest place, so that the cost of a
//! reading stays bounded.
//!
//! Pure: audio, marks and readings go in, work and results come out; nothing waits. At most one reading is asked for at
//! a time, so a slow machine gets fewer partial results, never a queue.

use std::collections::VecDeque;

use super::moonshine::Transcript;
use super::tape::Tape;
use crate::ms::Ms;

/// New speech before another partial result is worth its cost.
const PARTIAL_EVERY: Ms = Ms(600);
/// The first one needs less: half a second is a word.
const FIRST_PARTIAL: Ms = Ms(400);
/// A long stretch costs more to read, so it is read less often: an eighth of its length must be new.
const PARTIAL_SHARE: u32 = 8;
/// A fall of the level for this long is worth a reading: it may be the end.
const SETTLED: Ms = Ms(200);
/// Kept before the onset where no start mark has told the pre-roll: soft consonants.
const LEAD: Ms = Ms(200);
/// The longest pre-roll that the conversation knows.
const LONGEST_LEAD: Ms = Ms(1_000);
/// Kept after the last loud frame: soft endings.
const TRAIL: Ms = Ms(160);
/// A longer stretch is cut.
const LONGEST_PIECE: Ms = Ms(15_000);
/// A piece is cut somewhere in its last part.
const CUT_WITHIN: Ms = Ms(7_000);
/// Audio kept when nobody speaks: an onset is reported up to `speech_start_ms` (1 s) late.
const HISTORY: Ms = Ms(3_000);
/// Pause after a partial reading that could not be had, because others had the processor.
const BACK_OFF: Ms = Ms(200);

/// Work for the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Give it back with the result.
    pub ticket: u64,
    /// Mono audio.
    pub samples: Vec<i16>,
    /// Its rate in Hz.
    pub rate: u32,
    /// The caller waits for this one: it belongs to an utterance that has ended. One that is not urgent may be refused.
    pub urgent: bool,
}

/// What comes out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Something to be decoded; the next one comes only after [`Stream::decoded`] or [`Stream::refused`].
    Decode(Job),
    /// The utterance so far; replaces the one before.
    Partial {
        /// The utterance.
        utterance: u32,
        /// What has been understood.
        text: String,
        /// Media time up to which audio was taken into account.
        until: Ms,
    },
    /// The utterance's text; one for each end mark.
    Final {
        /// The utterance.
        utterance: u32,
        /// The text; empty when there were no words.
        text: String,
        /// Onset, as marked.
        start: Ms,
        /// End, as marked.
        stop: Ms,
        /// 0 to 1, None when there were no words.
        confidence: Option<f32>,
    },
    /// The model failed on an utterance's audio. Its final result comes all the same, with what there is.
    Fault {
        /// Why.
        reason: String,
    },
}

/// The recogniser of one stream.
#[derive(Debug)]
pub struct Stream {
    tape: Tape,
    /// Those without a final result yet, in order; only the last may be still open.
    utterances: VecDeque<Utterance>,
    reading: Option<Reading>,
    tickets: u64,
    not_before: Ms,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Utterance {
    id: u32,
    start: Ms,
    /// Known when it has ended.
    stop: Option<Ms>,
    /// Texts of the pieces that have been cut off and will not be read again.
    done: Vec<Transcript>,
    /// Where the unread rest begins, at first with the pre-roll.
    from: Ms,
    /// The last reading of that rest, and up to when it heard.
    heard: Option<(Ms, Transcript)>,
    /// The text last given as a partial result.
    told: String,
}

/// What is being decoded.
#[derive(Debug)]
struct Reading {
    ticket: u64,
    utterance: u32,
    from: Ms,
    until: Ms,
    /// It ends in a cut: the next piece begins at `until`.
    piece: bool,
}

impl Stream {
    /// For audio at `rate` Hz, one that [`crate::codec::resample::SampleRate`] knows.
    pub fn new(rate: u32) -> Self {
        Self {
            tape: Tape::new(rate),
            utterances: VecDeque::new(),
            reading: None,
            tickets: 0,
            not_before: Ms::ZERO,
            outputs: VecDeque::new(),
        }
    }

    /// Takes a piece of audio whose first sample is of media time `at`.
    pub fn audio(&mut self, at: Ms, samples: &[i16]) {
        self.tape.push(at, samples);
        let oldest = self.utterances.iter().map(|utterance| utterance.from).min();
        let history = self.tape.end() - HISTORY;
        self.tape.forget(oldest.map_or(history, |oldest| oldest.min(history)));
    }

    /// The caller began to speak at `start`, which may be in the past; audio since `from`, up to 1 s before it, belongs to
    /// the utterance too.
    pub fn started(&mut self, utterance: u32, start: Ms, from: Ms) {
        // One that never got its end mark is not owed a result.
        self.utterances.retain(|old| old.stop.is_some() && old.id != utterance);
        let from = from.clamp(start - LONGEST_LEAD, start);
        self.utterances.push_back(Utterance::new(utterance, start, from));
    }

    /// The caller spoke from `start` to `stop` and has finished: a final result is wanted.
    pub fn ended(&mut self, utterance: u32, start: Ms, stop: Ms) {
        let stop = stop.max(start);
        match self.utterances.iter_mut().find(|open| open.id == utterance && open.stop.is_none()) {
            Some(open) => open.stop = Some(stop),
            None => {
                self.utterances
                    .push_back(Utterance { stop: Some(stop), ..Utterance::new(utterance, start, start - LEAD) });
            }
        }
    }

    /// No more audio will come: ends an utterance that is still open at the last sound of it.
    pub fn flush(&mut self) {
        let end = self.tape.end();
        if let Some(open) = self.utterances.back_mut().filter(|utterance| utterance.stop.is_none()) {
            open.stop = Some(end.max(open.start));
        }
    }

    /// The result of a [`Job`].
    pub fn decoded(&mut self, ticket: u64, result: Result<Transcript, String>) {
        let Some(reading) = self.take(ticket) else {
            return;
        };
        let Some(utterance) = self.utterances.iter_mut().find(|utterance| utterance.id == reading.utterance) else {
            return;
        };
        if utterance.from != reading.from {
            return;
        }
        let transcript = result.unwrap_or_else(|reason| {
            self.outputs.push_back(Output::Fault { reason });
            // What was read before still stands; the stretch is not tried again.
            utterance.heard.take().map(|(_, before)| before).unwrap_or_default()
        });
        if reading.piece {
            utterance.done.push(transcript);
            utterance.from = reading.until;
            utterance.heard = None;
        } else {
            utterance.heard = Some((reading.until, transcript));
        }
        let text = utterance.text();
        if utterance.stop.is_none() && !text.is_empty() && text != utterance.told {
            utterance.told.clone_from(&text);
            self.outputs.push_back(Output::Partial { utterance: utterance.id, text, until: reading.until });
        }
    }

    /// A [`Job`] that was not urgent could not be done for want of processor time: it is asked for again later.
    pub fn refused(&mut self, ticket: u64) {
        if self.take(ticket).is_some() {
            self.not_before = self.tape.end() + BACK_OFF;
        }
    }

    /// What is to be done or told next; call it until it gives None after every input.
    pub fn poll(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if self.reading.is_some() {
                return None;
            }
            let utterance = self.utterances.front()?;
            let Some(wanted) = utterance.wanted(&self.tape, self.not_before) else {
                utterance.stop?;
                let done = self.utterances.pop_front()?;
                self.outputs.push_back(done.into_final());
                continue;
            };
            let job = self.begin(wanted)?;
            return Some(Output::Decode(job));
        }
    }

    fn begin(&mut self, wanted: Wanted) -> Option<Job> {
        let utterance = self.utterances.front()?;
        let samples = self.tape.copy(utterance.from, wanted.samples_until);
        self.tickets += 1;
        let ticket = self.tickets;
        self.reading = Some(Reading {
            ticket,
            utterance: utterance.id,
            from: utterance.from,
            until: wanted.until,
            piece: wanted.piece,
        });
        Some(Job { ticket, samples, rate: self.tape.rate(), urgent: utterance.stop.is_some() })
    }

    fn take(&mut self, ticket: u64) -> Option<Reading> {
        self.reading.take_if(|reading| reading.ticket == ticket)
    }
}

/// A reading that an utterance wants.
struct Wanted {
    /// Media time up to which it hears.
    until: Ms,
    /// Where the samples end: not long after the last loud frame.
    samples_until: Ms,
    piece: bool,
}

impl Utterance {
    fn new(id: u32, start: Ms, from: Ms) -> Self {
        Self { id, start, stop: None, done: Vec::new(), from, heard: None, told: String::new() }
    }

    fn wanted(&self, tape: &Tape, not_before: Ms) -> Option<Wanted> {
        let end = self.stop.unwrap_or(tape.end()).min(tape.end());
        if end > self.from + LONGEST_PIECE {
            let latest = self.from + LONGEST_PIECE;
            let until = tape.quietest(latest - CUT_WITHIN, latest).unwrap_or(latest);
            return Some(Wanted { until, samples_until: until, piece: true });
        }
        // 32 dB below the loudest frame, or −60 dBFS: what is softer is not speech that the model could read.
        let threshold = (tape.peak(self.from, end) / 40).max(33);
        let heard_until = self.heard.as_ref().map_or(self.from.max(self.start), |(until, _)| *until);
        let last_loud = tape.last_loud(heard_until, end, threshold);
        if self.stop.is_some() {
            let all_heard = self.heard.is_some() && (heard_until >= end || last_loud.is_none());
            if all_heard || end <= self.from {
                return None;
            }
            // A stop mark may lie behind the last loud frame by the detector's hang-over, or before a soft ending.
            let samples_until = last_loud.unwrap_or(end).min(end) + TRAIL;
            return Some(Wanted { until: end, samples_until, piece: false });
        }
        let last_loud = last_loud?;
        let fresh = last_loud - heard_until;
        let settled = end - last_loud >= SETTLED;
        let due = match self.heard {
            None => fresh >= FIRST_PARTIAL,
            Some(_) => fresh >= PARTIAL_EVERY.max(Ms((last_loud - self.from).0 / PARTIAL_SHARE)),
        };
        if tape.end() < not_before || !(due || settled) {
            return None;
        }
        Some(Wanted { until: end, samples_until: last_loud + TRAIL, piece: false })
    }

    fn text(&self) -> String {
        let parts = self.transcripts().map(|transcript| transcript.text.as_str());
        parts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
    }

    fn transcripts(&self) -> impl Iterator<Item = &Transcript> {
        self.done.iter().chain(self.heard.as_ref().map(|(_, transcript)| transcript))
    }

    fn into_final(self) -> Output {
        let text = self.text();
        let spoken = || self.transcripts().filter(|transcript| !transcript.text.is_empty());
        let confidence = spoken().map(|transcript| transcript.confidence).sum::<f32>() / spoken().count().max(1) as f32;
        Output::Final {
            utterance: self.id,
            confidence: (!text.is_empty()).then_some(confidence),
            text,
            start: self.start,
            stop: self.stop.unwrap_or(self.start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream with a model that answers after `slow` frames of audio with the length of what it was given.
    struct Rig {
        stream: Stream,
        now: Ms,
        slow: u32,
        job: Option<(Ms, Job)>,
        jobs: Vec<(Ms, usize, bool)>,
        results: Vec<(Ms, Output)>,
    }

    impl Rig {
        fn new(slow: u32) -> Self {
            Self { stream: Stream::new(8_000), now: Ms(0), slow, job: None, jobs: vec![], results: vec![] }
        }

        fn hear(&mut self, level: i16, span: u32) {
            for _ in 0..span / 20 {
                self.stream.audio(self.now, &[level; 160]);
                self.now += Ms(20);
                self.settle();
            }
        }

        fn settle(&mut self) {
            loop {
                if let Some((_, job)) = self.job.take_if(|(due, _)| *due <= self.now) {
                    let text = format!("{}", job.samples.len() / 8);
                    self.stream.decoded(job.ticket, Ok(Transcript { text, confidence: 0.5 }));
                }
                match self.stream.poll() {
                    Some(Output::Decode(job)) => {
                        assert!(self.job.is_none(), "only one at a time");
                        self.jobs.push((self.now, job.samples.len() / 8, job.urgent));
                        self.job = Some((self.now + Ms(self.slow * 20), job));
                        if self.slow > 0 {
                            return;
                        }
                    }
                    Some(output) => self.results.push((self.now, output)),
                    None => return,
                }
            }
        }

        fn end(&mut self, id: u32, start: u32, stop: u32) {
            self.stream.ended(id, Ms(start), Ms(stop));
            self.settle();
        }

        fn last_final(&self) -> (Ms, &str) {
            match self.results.last() {
                Some((at, Output::Final { text, .. })) => (*at, text),
                other => panic!("no final: {other:?}"),
            }
        }
    }

    #[test]
    fn the_reading_made_when_the_level_fell_becomes_the_final_at_once() {
        let mut rig = Rig::new(5);
        rig.hear(0, 1_000);
        rig.hear(2_000, 100);
        rig.stream.started(1, Ms(1_000), Ms(800));
        rig.hear(2_000, 1_400);
        rig.hear(0, 700);
        let before = rig.jobs.len();
        rig.end(1, 1_000, 2_500);
        assert_eq!(rig.jobs.len(), before, "nothing left to read");
        // 200 ms before the onset, 1,500 ms of speech, 160 ms after.
        assert_eq!(rig.last_final(), (Ms(3_200), "1860"));
        let partials = rig.results.iter().filter(|(_, output)| matches!(output, Output::Partial { .. })).count();
        assert_eq!(partials, 3, "{:?}", rig.results);
        assert!(rig.jobs.iter().all(|(_, _, urgent)| !urgent));
    }

    #[test]
    fn speech_that_no_reading_has_heard_is_read_at_the_end_mark() {
        let mut rig = Rig::new(0);
        rig.stream.started(7, Ms(0), Ms(0));
        rig.hear(2_000, 300);
        rig.end(7, 0, 300);
        assert_eq!(rig.jobs, [(Ms(300), 300, true)]);
        assert_eq!(rig.last_final(), (Ms(300), "300"));
    }

    #[test]
    fn a_reading_under_way_at_the_end_mark_is_waited_for_and_reused() {
        let mut rig = Rig::new(30);
        rig.stream.started(1, Ms(0), Ms(0));
        rig.hear(2_000, 380);
        rig.hear(0, 300);
        assert_eq!(rig.jobs.len(), 1);
        rig.end(1, 0, 380);
        rig.hear(0, 600);
        assert_eq!(rig.jobs.len(), 1, "{:?}", rig.jobs);
        assert_eq!(rig.last_final().1, "540");
    }

    #[test]
    fn a_pause_within_an_utterance_is_not_its_end() {
        let mut rig = Rig::new(2);
        rig.stream.started(1, Ms(0), Ms(0));
        rig.hear(2_000, 500);
        rig.hear(0, 400);
        rig.hear(2_000, 500);
        rig.hear(0, 500);
        rig.end(1, 0, 1_400);
        assert_eq!(rig.last_final().1, "1560");
    }

    #[test]
    fn a_long_utterance_is_cut_at_its_pause_and_its_texts_are_joined() {
        let mut rig = Rig::new(1);
        rig.stream.started(1, Ms(0), Ms(0));
        rig.hear(2_000, 10_000);
        rig.hear(10, 400);
        rig.hear(2_000, 8_000);
        rig.hear(0, 700);
        rig.end(1, 0, 18_400);
        let (_, text) = rig.last_final();
        let parts: Vec<u32> = text.split(' ').map(|part| part.parse().unwrap()).collect();
        assert_eq!(parts.len(), 2, "{text}");
        assert!((10_060..10_340).contains(&parts[0]), "{text}");
        assert_eq!(parts.iter().sum::<u32>(), 18_560, "nothing lost, nothing twice: {text}");
        assert!(rig.jobs.iter().all(|(_, length, _)| *length <= 15_400), "{:?}", rig.jobs);
    }

    #[test]
    fn two_utterances_get_their_finals_in_order_even_when_the_model_is_slow() {
        let mut rig = Rig::new(60);
        rig.stream.started(1, Ms(0), Ms(0));
        rig.hear(2_000, 600);
        rig.hear(0, 300);
        rig.end(1, 0, 600);
        rig.stream.started(2, Ms(900), Ms(700));
        rig.hear(2_000, 400);
        rig.hear(0, 300);
        rig.end(2, 900, 1_300);
        rig.hear(0, 4_000);
        let finals: Vec<u32> = rig
            .results
            .iter()
            .filter_map(|(_, output)| match output {
                Output::Final { utterance, .. } => Some(*utterance),
                _ => None,
            })
            .collect();
        assert_eq!(finals, [1, 2]);
    }

    #[test]
    fn a_fault_is_told_and_the_final_comes_all_the_same() {
        let mut stream = Stream::new(8_000);
        stream.audio(Ms(0), &[2_000; 2_400]);
        stream.ended(3, Ms(0), Ms(300));
        let Some(Output::Decode(job)) = stream.poll() else { panic!("nothing to decode") };
        stream.decoded(job.ticket, Err("broken".into()));
        assert_eq!(stream.poll(), Some(Output::Fault { reason: "broken".into() }));
        assert!(
            matches!(stream.poll(), Some(Output::Final { utterance: 3, text, confidence: None, .. }) if text.is_empty())
        );
        assert_eq!(stream.poll(), None);
    }

    #[test]
    fn a_refused_partial_is_asked_for_again_later_and_marks_without_audio_get_a_final() {
        let mut stream = Stream::new(8_000);
        stream.started(1, Ms(0), Ms(0));
        stream.audio(Ms(0), &[2_000; 8_000]);
        let Some(Output::Decode(job)) = stream.poll() else { panic!("nothing to decode") };
        stream.refused(job.ticket);
        assert_eq!(stream.poll(), None);
        stream.audio(Ms(1_000), &[2_000; 1_600]);
        assert!(matches!(stream.poll(), Some(Output::Decode(_))));

        let mut empty = Stream::new(8_000);
        empty.ended(9, Ms(50), Ms(80));
        assert!(matches!(empty.poll(), Some(Output::Final { utterance: 9, .. })));
    }

    #[test]
    fn marks_need_not_fall_on_frames() {
        let mut rig = Rig::new(0);
        rig.hear(2_000, 1_000);
        rig.stream.started(1, Ms(213), Ms(13));
        rig.end(1, 213, 907);
        assert_eq!(rig.jobs, [(Ms(1_000), 987, true)], "one reading, with what is around the marks");
        assert_eq!(rig.last_final().1, "987");
    }

    #[test]
    fn flush_ends_what_is_open() {
        let mut rig = Rig::new(0);
        rig.stream.started(1, Ms(0), Ms(0));
        rig.hear(2_000, 200);
        rig.stream.flush();
        rig.settle();
        assert_eq!(rig.last_final().1, "200");
    }
}
