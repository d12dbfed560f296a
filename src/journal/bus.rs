//! The events: numbered in one place, kept for a while, pulled by watchers.
//!
//! A watcher asks for what comes after the last number it has seen, and gets a batch; if there is nothing yet, its question waits
//! at the bus until there is. So a watcher has no queue of its own that could grow or overflow: a slow one costs nothing but its
//! place in the ring of kept events, and learns that it fell out of it when it asks next.
//!
//! The bus is a task: nearly all that is told to it is told by tasks, and between tasks nobody has to be woken for that. As a thread it
//! was woken 70 times a second by a hundred calls.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::metrics::Metrics;
use super::news::News;

/// Most events of one answer: bounds how long one watcher keeps the bus from the others.
const BATCH: usize = 256;

/// An event with its number.
#[derive(Debug, Clone)]
pub struct Sequenced {
    /// From 1, without gaps, anew at each start of the process.
    pub sequence: u64,
    /// What happened.
    pub event: News,
}

/// The events asked for are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooOld {
    /// The number after which events were asked for.
    pub after: u64,
    /// Number of the oldest event that is kept, or will be if there is none yet.
    pub oldest: u64,
    /// Number of the last event; 0: none yet.
    pub newest: u64,
}

impl fmt::Display for TooOld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooOld { after, oldest, newest } = self;
        if after > newest {
            // Numbers begin anew with the process: the watcher remembers one of an earlier run.
            return write!(
                f,
                "event {after} has not happened since this process started, the last one is {newest}; \
                 the oldest event kept is {oldest}"
            );
        }
        write!(f, "events after {after} are no longer kept; the oldest event kept is {oldest}")
    }
}

impl std::error::Error for TooOld {}

/// Events in order, each once.
#[derive(Debug)]
pub struct Watcher {
    bus: UnboundedSender<ToBus>,
    id: u64,
    metrics: Metrics,
    after: u64,
    batch: vec::IntoIter<Arc<Sequenced>>,
    /// The question that is out; kept here so that a `next` that is dropped half-way loses nothing.
    asked: Option<oneshot::Receiver<Answer>>,
    over: bool,
}

impl Watcher {
    pub(super) async fn open(
        bus: &UnboundedSender<ToBus>,
        metrics: &Metrics,
        after: u64,
        from_oldest: bool,
    ) -> Result<Watcher, TooOld> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let (reply, answer) = oneshot::channel();
        let _ = bus.send(ToBus::Place { after, from_oldest, reply });
        // Without a bus there are no events: the first `next` says so.
        let place = answer.await.unwrap_or(Ok(after))?;
        metrics.watchers.inc();
        Ok(Watcher {
            bus: bus.clone(),
            id: IDS.fetch_add(1, Ordering::Relaxed),
            metrics: metrics.clone(),
            after: place,
            batch: Vec::new().into_iter(),
            asked: None,
            over: false,
        })
    }

    /// The next event, as soon as there is one. `None`: the journal is shut down and all has been given. An error: this watcher was too
    /// slow and events are gone; it is the last thing that it gives. Safe to drop at any await.
    pub async fn next(&mut self) -> Option<Result<Arc<Sequenced>, TooOld>> {
        loop {
            if let Some(event) = self.batch.next() {
                self.after = event.sequence;
                return Some(Ok(event));
            }
            if self.over {
                return None;
            }
            let asked = match &mut self.asked {
                Some(asked) => asked,
                None => {
                    let (reply, asked) = oneshot::channel();
                    let _ = self.bus.send(ToBus::Next { watcher: self.id, after: self.after, reply });
                    self.asked.insert(asked)
                }
            };
            let answer = asked.await.unwrap_or(Answer::Over);
            self.asked = None;
            match answer {
                Answer::Events(events) => self.batch = events.into_iter(),
                Answer::Over => self.over = true,
                Answer::Gone(too_old) => {
                    self.over = true;
                    return Some(Err(too_old));
                }
            }
        }
    }

    /// Number of the last event given: where to resume.
    pub fn position(&self) -> u64 {
        self.after
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.metrics.watchers.dec();
        let _ = self.bus.send(ToBus::Leave { watcher: self.id });
    }
}

/// What the bus is asked.
#[derive(Debug)]
pub(super) enum ToBus {
    /// Number this event.
    Tell(Box<News>),
    /// Where does this watcher begin?
    Place { after: u64, from_oldest: bool, reply: oneshot::Sender<Result<u64, TooOld>> },
    /// What comes after `after`?
    Next { watcher: u64, after: u64, reply: oneshot::Sender<Answer> },
    /// The watcher is gone.
    Leave { watcher: u64 },
    /// No more events are to be waited for.
    Close(oneshot::Sender<()>),
}

/// What a watcher is answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// At least one.
    Events(Vec<Arc<Sequenced>>),
    /// There will be no more.
    Over,
    /// They are gone.
    Gone(TooOld),
}

/// Starts the bus; its task ends when the last sender is dropped. Must be called within a tokio runtime.
pub(super) fn start(keep: usize, metrics: Metrics) -> UnboundedSender<ToBus> {
    let (to_bus, inbox) = unbounded_channel();
    let bus = Bus { ring: Ring::new(keep), waiting: HashMap::new(), closing: false, metrics };
    tokio::spawn(bus.run(inbox));
    to_bus
}

struct Bus {
    ring: Ring,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    closing: bool,
    metrics: Metrics,
}

impl Bus {
    async fn run(mut self, mut inbox: UnboundedReceiver<ToBus>) {
        while let Some(asked) = inbox.recv().await {
            self.handle(asked);
        }
    }

    fn handle(&mut self, asked: ToBus) {
        match asked {
            ToBus::Tell(event) => {
                let event = self.ring.push(*event);
                self.metrics.events.inc();
                for (_, reply) in self.waiting.drain() {
                    let _ = reply.send(Answer::Events(vec![Arc::clone(&event)]));
                }
            }
            ToBus::Place { after, from_oldest, reply } => {
                let _ = reply.send(self.ring.place(after, from_oldest));
            }
            ToBus::Next { watcher, after, reply } => self.next(watcher, after, reply),
            ToBus::Leave { watcher } => {
                self.waiting.remove(&watcher);
            }
            ToBus::Close(reply) => {
                self.closing = true;
                for (_, reply) in self.waiting.drain() {
                    let _ = reply.send(Answer::Over);
                }
                let _ = reply.send(());
            }
        }
    }

    fn next(&mut self, watcher: u64, after: u64, reply: oneshot::Sender<Answer>) {
        let answer = match self.ring.since(after) {
            Err(too_old) => {
                self.metrics.watchers_lost.inc();
                Answer::Gone(too_old)
            }
            Ok(events) if !events.is_empty() => Answer::Events(events),
            Ok(_) if self.closing => Answer::Over,
            Ok(_) => {
                self.waiting.insert(watcher, reply);
                return;
            }
        };
        let _ = reply.send(answer);
    }
}

/// The last events, and the number of the next one.
struct Ring {
    kept: VecDeque<Arc<Sequenced>>,
    keep: usize,
    newest: u64,
}

impl Ring {
    fn new(keep: usize) -> Ring {
        Ring { kept: VecDeque::new(), keep: keep.max(1), newest: 0 }
    }

    fn push(&mut self, event: News) -> Arc<Sequenced> {
        self.newest += 1;
        let event = Arc::new(Sequenced { sequence: self.newest, event });
        if self.kept.len() == self.keep {
            self.kept.pop_front();
        }
        self.kept.push_back(Arc::clone(&event));
        event
    }

    fn oldest(&self) -> u64 {
        self.newest + 1 - self.kept.len() as u64
    }

    /// The number after which a new watcher reads on.
    fn place(&self, after: u64, from_oldest: bool) -> Result<u64, TooOld> {
        match (after, from_oldest) {
            (0, true) => Ok(self.oldest() - 1),
            (0, false) => Ok(self.newest),
            _ => self.skip(after).map(|_| after),
        }
    }

    fn since(&self, after: u64) -> Result<Vec<Arc<Sequenced>>, TooOld> {
        let skip = self.skip(after)?;
        Ok(self.kept.iter().skip(skip).take(BATCH).cloned().collect())
    }

    /// How many of the kept events are not after `after`.
    fn skip(&self, after: u64) -> Result<usize, TooOld> {
        let oldest = self.oldest();
        if after > self.newest || after + 1 < oldest {
            return Err(TooOld { after, oldest, newest: self.newest });
        }
        // Below `keep`, which is a usize.
        Ok((after + 1 - oldest) as usize)
    }
}
