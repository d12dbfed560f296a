//! The rhythm of a thread of phones: it wakes each ms, and each phone has its turn in one of twenty.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::media::realtime;

const SLOTS: u64 = 20;
/// Real phones do not wait for the server to which they talk: where they share its cores, they go before all of it but its media threads.
const PRIORITY: u8 = 9;

/// It.
pub(in crate::command) struct Ticks {
    origin: Instant,
    done: u64,
}

impl Ticks {
    /// It begins now, for the thread that is here; where real time is refused, its lateness is told with the figures.
    pub(in crate::command) fn begin() -> Ticks {
        realtime(PRIORITY);
        Ticks { origin: Instant::now(), done: 0 }
    }

    /// Sleeps until the next ms.
    pub(in crate::command) fn wait(&self) {
        let due = self.origin + Duration::from_millis(self.done + 1);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }

    /// How long it goes already, and the ms whose turn has come: one that was overslept is caught up, so that callers lose no words for our sake.
    pub(in crate::command) fn passed(&mut self) -> (Duration, RangeInclusive<u64>) {
        let now = self.origin.elapsed();
        let first = self.done + 1;
        self.done = now.as_millis() as u64;
        (now, first..=self.done)
    }
}

/// The phones, of so many, whose turn that ms is.
pub(in crate::command) fn due(tick: u64, phones: usize) -> impl Iterator<Item = usize> {
    (tick % SLOTS..phones as u64).step_by(SLOTS as usize).map(|phone| phone as usize)
}
