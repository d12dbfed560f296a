//! What recognition has been and is to be told: audio and marks in order, kept until they are of no more use. Pure.
//!
//! A stream that breaks takes what the engine has heard with it. So the tape keeps what a new one must hear again: the audio of every
//! utterance that has no final text yet, back to its pre-roll, and a while before now, because the utterance that begins next
//! reaches back so far. It never keeps more than five seconds, whoever does not read it: the oldest audio goes first.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::call::io::{HeardCoding, HeardFrame, Label};
use crate::ms::Ms;

/// Bytes of a frame, whatever its coding, and the length of one of G.711.
const FRAME: usize = 160;
const FRAME_MS: u32 = 20;

/// The longest the tape may become.
const LONGEST: Ms = Ms(5_000);

/// What is kept for the utterance that begins next, if none has reached back further yet: `pre_roll_ms` and `speech_start_ms` at their
/// defaults, and half as much again.
const BEFORE_NOW: Ms = Ms(600);

/// Utterances that may wait for their final text; more are an engine that gives none.
const WAITING: usize = 16;

/// One message to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// What was heard.
    Audio {
        /// Media time of the first sample.
        at: Ms,
        /// What was going on.
        label: Label,
        /// How it is coded.
        coding: HeardCoding,
        /// The bytes of some frames.
        sound: Vec<u8>,
    },
    /// An utterance began.
    Start {
        /// Its number.
        utterance: u32,
        /// Onset.
        start: Ms,
        /// Onset less the pre-roll.
        from: Ms,
    },
    /// An utterance ended.
    End {
        /// Its number.
        utterance: u32,
        /// Onset.
        start: Ms,
        /// End.
        stop: Ms,
    },
}

#[derive(Debug)]
struct Waiting {
    utterance: u32,
    start: Ms,
    from: Ms,
    /// Its length, once it is over.
    length: Option<Ms>,
    /// When the stream was told its end.
    ended: Option<Instant>,
    /// Its text has been found missing.
    overdue: bool,
}

/// An utterance that has its final text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Done {
    /// When the stream was told its end, if it was.
    pub ended: Option<Instant>,
    /// Nothing, while it goes on.
    pub length: Ms,
}

#[derive(Debug)]
pub(super) struct Tape {
    pieces: VecDeque<Piece>,
    /// How many of them the stream has got.
    sent: usize,
    /// The length of all of them.
    length: Ms,
    /// Frames that no stream ever got, since they were last asked for.
    dropped: u64,
    /// Media time after the last frame.
    now: Option<Ms>,
    /// What is kept before now.
    before_now: Ms,
    /// The length that one piece may have.
    batch: Ms,
    waiting: VecDeque<Waiting>,
}

impl Tape {
    /// `batch`: the longest piece, 20 to 100 ms.
    pub(super) fn new(batch: std::time::Duration) -> Tape {
        let frames = (Ms::from(batch).0 / FRAME_MS).clamp(1, 5);
        Tape {
            pieces: VecDeque::new(),
            sent: 0,
            length: Ms::ZERO,
            dropped: 0,
            now: None,
            before_now: BEFORE_NOW,
            batch: Ms(frames * FRAME_MS),
            waiting: VecDeque::new(),
        }
    }

    /// Adds what was heard. Engines count samples, so where nothing came there is silence.
    pub(super) fn hear(&mut self, frame: &HeardFrame) {
        if let Some(now) = self.now {
            let each = frame.coding.frame().0;
            let missing = ((frame.at - now).0 / each).min(LONGEST.0 / each);
            let silence = match frame.coding {
                HeardCoding::G711(law) => law.silence(),
                HeardCoding::Linear(_) => 0,
            };
            for n in (1..=missing).rev() {
                self.add(&HeardFrame { at: frame.at - Ms(n * each), sound: [silence; FRAME], ..*frame });
            }
        }
        self.add(frame);
        self.now = Some(frame.at + frame.coding.frame());
        while self.length > LONGEST {
            self.drop_oldest();
        }
    }

    fn add(&mut self, frame: &HeardFrame) {
        self.length += frame.coding.frame();
        let unsent = self.pieces.len() > self.sent;
        if let Some(Piece::Audio { label, coding, sound, .. }) = self.pieces.back_mut()
            && unsent
            && (*label, *coding) == (frame.label, frame.coding)
            && length(*coding, sound) + coding.frame() <= self.batch
        {
            sound.extend_from_slice(&frame.sound);
            return;
        }
        let mut sound = Vec::with_capacity((self.batch.0 / frame.coding.frame().0) as usize * FRAME);
        sound.extend_from_slice(&frame.sound);
        self.pieces.push_back(Piece::Audio { at: frame.at, label: frame.label, coding: frame.coding, sound });
    }

    /// The oldest audio goes; marks stay, the engine has to answer them with what it has.
    fn drop_oldest(&mut self) {
        let Some(at) = self.pieces.iter().position(|piece| matches!(piece, Piece::Audio { .. })) else {
            return;
        };
        if let Some(Piece::Audio { coding, sound, .. }) = self.pieces.remove(at) {
            self.length -= length(coding, &sound);
            if at < self.sent {
                self.sent -= 1;
            } else {
                self.dropped += (sound.len() / FRAME) as u64;
            }
        }
    }

    /// An utterance begins; all audio up to now has been heard.
    pub(super) fn start(&mut self, utterance: u32, start: Ms, from: Ms) {
        let reach = self.now.unwrap_or(start) - from;
        self.before_now = self.before_now.max(Ms(reach.0 + reach.0 / 2));
        self.waiting.push_back(Waiting { utterance, start, from, length: None, ended: None, overdue: false });
        if self.waiting.len() > WAITING
            && let Some(given_up) = self.waiting.pop_front()
        {
            self.forget_marks(given_up.utterance);
        }
        self.pieces.push_back(Piece::Start { utterance, start, from });
    }

    /// An utterance ended; all audio up to now has been heard.
    pub(super) fn end(&mut self, utterance: u32, start: Ms, stop: Ms) {
        if let Some(waiting) = self.waiting.iter_mut().find(|w| w.utterance == utterance) {
            waiting.length = Some(stop.saturating_sub(start));
        }
        self.pieces.push_back(Piece::End { utterance, start, stop });
    }

    /// How long the utterance is that goes on.
    pub(super) fn spoken(&self) -> Ms {
        let open = self.waiting.iter().find(|waiting| waiting.length.is_none());
        open.map_or(Ms(0), |open| self.now.unwrap_or(open.start).saturating_sub(open.start))
    }

    /// The lengths of utterances whose text is so late that it is missing; each is told once.
    pub(super) fn overdue(&mut self, now: Instant, late: std::time::Duration) -> impl Iterator<Item = Ms> {
        self.waiting.iter_mut().filter_map(move |waiting| {
            let is_late = waiting.ended.is_some_and(|ended| now.saturating_duration_since(ended) > late);
            (is_late && !std::mem::replace(&mut waiting.overdue, true)).then_some(waiting.length.unwrap_or(Ms(0)))
        })
    }

    /// What the stream is to get next.
    pub(super) fn next(&self) -> Option<&Piece> {
        self.pieces.get(self.sent)
    }

    /// The stream has got [`next`](Self::next).
    pub(super) fn advance(&mut self, now: Instant) {
        let Some(piece) = self.pieces.get(self.sent) else { return };
        if let Piece::End { utterance, .. } = *piece
            && let Some(waiting) = self.waiting.iter_mut().find(|w| w.utterance == utterance)
        {
            waiting.ended.get_or_insert(now);
        }
        self.sent += 1;
        self.trim();
    }

    /// A new stream: it gets all that is kept.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Whether any text is still to come.
    pub(super) fn is_anything_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a text for the utterance is still to come.
    pub(super) fn is_waiting(&self, utterance: u32) -> bool {
        self.waiting.iter().any(|w| w.utterance == utterance)
    }

    /// The utterance has its final text. `None`: none was waited for.
    pub(super) fn done(&mut self, utterance: u32) -> Option<Done> {
        let at = self.waiting.iter().position(|w| w.utterance == utterance)?;
        let done = self.waiting.remove(at)?;
        self.forget_marks(utterance);
        self.trim();
        Some(Done { ended: done.ended, length: done.length.unwrap_or(Ms(0)) })
    }

    /// How many frames were dropped unheard since this was last asked.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Lets go of what the stream has got and a new one would not need.
    fn trim(&mut self) {
        let recent = self.now.unwrap_or(Ms::ZERO) - self.before_now;
        let keep = self.waiting.iter().map(|w| w.from).fold(recent, Ms::min);
        while self.sent > 0 {
            let useful = match self.pieces.front() {
                Some(Piece::Audio { at, coding, sound, .. }) => *at + length(*coding, sound) > keep,
                Some(Piece::Start { utterance, .. } | Piece::End { utterance, .. }) => self.is_waiting(*utterance),
                None => return,
            };
            if useful {
                return;
            }
            if let Some(Piece::Audio { coding, sound, .. }) = self.pieces.pop_front() {
                self.length -= length(coding, &sound);
            }
            self.sent -= 1;
        }
    }

    /// The marks of an utterance that nobody waits for are not told to a new stream: it would answer them once more.
    fn forget_marks(&mut self, of: u32) {
        let sent = self.sent;
        let mut at = 0;
        self.pieces.retain(|piece| {
            let gone = at < sent
                && matches!(piece, Piece::Start { utterance, .. } | Piece::End { utterance, .. } if *utterance == of);
            at += 1;
            if gone {
                self.sent -= 1;
            }
            !gone
        });
    }
}

/// How long the sound of a piece is.
fn length(coding: HeardCoding, sound: &[u8]) -> Ms {
    Ms((sound.len() / FRAME) as u32 * coding.frame().0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::g711::Law;
    use std::time::Duration;

    fn frame(at: u32) -> HeardFrame {
        HeardFrame {
            at: Ms(at),
            label: Label::Open,
            coding: HeardCoding::G711(Law::Mu),
            sound: [(at / 20) as u8; FRAME],
        }
    }

    fn tape() -> Tape {
        Tape::new(Duration::from_millis(60))
    }

    /// Hears from `from` to `to` and gives what a stream that reads all would get.
    fn run(tape: &mut Tape, from: u32, to: u32) -> Vec<Piece> {
        (from..to).step_by(20).for_each(|at| tape.hear(&frame(at)));
        read(tape)
    }

    fn read(tape: &mut Tape) -> Vec<Piece> {
        let mut got = Vec::new();
        while let Some(piece) = tape.next() {
            got.push(piece.clone());
            tape.advance(Instant::now());
        }
        got
    }

    fn span(pieces: &[Piece]) -> (u32, usize) {
        let mut samples = 0;
        let mut first = None;
        for piece in pieces {
            if let Piece::Audio { at, sound, .. } = piece {
                first.get_or_insert(at.0);
                samples += sound.len();
            }
        }
        (first.unwrap_or(0), samples / 8)
    }

    #[tokio::test]
    async fn pieces_have_the_batch_s_length_one_label_and_one_law() {
        let mut tape = tape();
        for at in [0, 20, 40, 60] {
            tape.hear(&frame(at));
        }
        tape.hear(&HeardFrame { label: Label::UnderPrompt, ..frame(80) });
        tape.hear(&HeardFrame { label: Label::UnderPrompt, coding: HeardCoding::G711(Law::A), ..frame(100) });
        let lengths: Vec<usize> = read(&mut tape)
            .iter()
            .map(|p| if let Piece::Audio { sound, .. } = p { sound.len() / FRAME } else { 0 })
            .collect();
        assert_eq!(lengths, [3, 1, 1, 1]);
    }

    #[tokio::test]
    async fn where_nothing_came_there_is_silence() {
        let mut tape = tape();
        run(&mut tape, 1000, 1040);
        tape.hear(&frame(1105)); // 1040 and 1060 are missing, and the clock has slipped by 25 ms
        let got = read(&mut tape);
        let audio = |at, sound| Piece::Audio { at, label: Label::Open, coding: HeardCoding::G711(Law::Mu), sound };
        let silence = audio(Ms(1045), vec![Law::Mu.silence(); 3 * FRAME]);
        let sound = audio(Ms(1105), vec![55; FRAME]);
        assert_eq!(got, [silence, sound]);
        // The clock may slip back as well: that is no reason to cut anything.
        assert_eq!(span(&run(&mut tape, 1120, 1140)), (1120, 20));
    }

    #[tokio::test]
    async fn a_new_stream_hears_the_open_utterance_again() {
        let mut tape = tape();
        run(&mut tape, 0, 10_000);
        tape.start(1, Ms(9_800), Ms(9_500));
        run(&mut tape, 10_000, 12_000);
        tape.end(1, Ms(9_800), Ms(11_500));
        run(&mut tape, 12_000, 12_200);
        tape.rewind();
        let again = read(&mut tape);
        let (from, length) = span(&again);
        assert!((9_440..=9_500).contains(&from), "from {from}");
        assert_eq!(from as usize + length, 12_200);
        let marks: Vec<_> = again.iter().filter(|p| !matches!(p, Piece::Audio { .. })).collect();
        assert_eq!(marks.len(), 2, "{marks:?}");
        // Once it has its text, only a little is kept.
        assert!(tape.done(1).is_some_and(|done| done.ended.is_some() && done.length == Ms(1_700)));
        assert_eq!(tape.done(1), None);
        tape.rewind();
        let again = read(&mut tape);
        assert!(again.iter().all(|p| matches!(p, Piece::Audio { .. })), "{again:?}");
        let back = 12_200 - span(&again).0;
        assert!((750..=810).contains(&back), "half as much again as the utterance reached back, not {back} ms");
    }

    #[tokio::test]
    async fn five_seconds_and_no_more() {
        let mut tape = tape();
        tape.start(1, Ms(0), Ms(0));
        (0..20_000).step_by(20).for_each(|at| tape.hear(&frame(at)));
        assert_eq!(tape.take_dropped(), 750, "nobody has heard 15 s of it");
        assert_eq!(tape.take_dropped(), 0);
        let got = read(&mut tape);
        assert_eq!(span(&got), (15_000, 5_000));
        assert!(matches!(got[0], Piece::Start { utterance: 1, .. }), "marks stay: {:?}", got[0]);
        run(&mut tape, 20_000, 25_000);
        assert_eq!(tape.take_dropped(), 0, "what was heard once is not lost");
        assert_eq!(tape.length, LONGEST);
    }

    #[tokio::test]
    async fn an_engine_without_finals_fills_nothing_up() {
        let mut tape = tape();
        for n in 0..1_000 {
            tape.start(n, Ms(n * 100), Ms(n * 100));
            run(&mut tape, n * 100, n * 100 + 100);
            tape.end(n, Ms(n * 100), Ms(n * 100 + 80));
        }
        read(&mut tape);
        assert!(tape.waiting.len() <= WAITING && tape.pieces.len() < 200, "{}", tape.pieces.len());
    }
}
