//! The call's end of recognition: the ring that the media thread fills, and the marks that the call makes on it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::likely::Likely;
use super::tape::Tape;
use crate::cache::bring;
use crate::call::io::{HeardFrame, Label, ToRecogniser};
use crate::grid;

/// How long a polite end may take.
const LAST_WORD: Duration = Duration::from_secs(1);

pub(super) struct Ear {
    frames: rtrb::Consumer<HeardFrame>,
    /// What all of it is, whatever the leg knows.
    label: Option<Label>,
    marks: mpsc::Receiver<ToRecogniser>,
    tick: Interval,
    pub(super) tape: Tape,
    pub(super) likely: Likely,
    /// The call is over, nothing is added to the tape any more; this is when recognition has to be, too.
    pub(super) over_at: Option<Instant>,
}

impl Ear {
    pub(super) fn new(
        frames: rtrb::Consumer<HeardFrame>,
        label: Option<Label>,
        marks: mpsc::Receiver<ToRecogniser>,
        batch: Duration,
        likely: Likely,
    ) -> Ear {
        let batch = batch.clamp(Duration::from_millis(20), Duration::from_millis(100));
        let mut tick = interval_at(grid::from(Instant::now()), batch);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Ear { frames, label, marks, tick, tape: Tape::new(batch), likely, over_at: None }
    }

    /// Waits for the next batch or mark and puts it on the tape; for ever once the call is over. May be dropped at any time.
    pub(super) async fn listen(&mut self) {
        if self.over_at.is_some() {
            return std::future::pending().await;
        }
        let mark = tokio::select! {
            biased;
            mark = self.marks.recv() => mark.unwrap_or(ToRecogniser::Close),
            _ = self.tick.tick() => return self.drain(),
        };
        // The media thread put the frames into the ring before it told the call what they mean.
        self.drain();
        match mark {
            ToRecogniser::UtteranceStart { utterance, start, from } => self.tape.start(utterance, start, from),
            ToRecogniser::UtteranceEnd { utterance, start, stop } => self.tape.end(utterance, start, stop),
            ToRecogniser::Expect(hints) => self.likely.turn(hints),
            ToRecogniser::Close => self.over_at = Some(Instant::now() + LAST_WORD),
        }
    }

    fn drain(&mut self) {
        let Ok(frames) = self.frames.read_chunk(self.frames.slots()) else { return };
        let (first, rest) = frames.as_slices();
        bring(first);
        bring(rest);
        for frame in frames {
            self.tape.hear(&HeardFrame { label: self.label.unwrap_or(frame.label), ..frame });
        }
    }
}
