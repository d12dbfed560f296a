//! Somebody listens in to a leg: both sides, 20 ms at a time, by a ring of his own.
//!
//! A leg that nobody listens to has a null pointer for it, which is looked at once a slot. A ring that is full drops the frame and counts it: who
//! listens finds the gap in the times. The memory is made and freed off the media threads: who leaves has his end handed back.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::LegId;
use super::inbox::Orders;
use super::thread::Order;
use crate::call::io::RecordedFrame;

/// Frames that may wait for a listener: a second.
const ROOM: usize = 50;

/// A media thread's end of it.
#[derive(Debug)]
pub(super) struct Ear {
    id: u64,
    ring: rtrb::Producer<RecordedFrame>,
    next: Ears,
}

/// All that listen to a leg.
pub(super) type Ears = Option<Box<Ear>>;

/// One more.
pub(super) fn add(ears: &mut Ears, mut ear: Box<Ear>) {
    ear.next = ears.take();
    *ears = Some(ear);
}

/// One less; his end, to be freed elsewhere.
pub(super) fn remove(mut ears: &mut Ears, id: u64) -> Ears {
    while ears.as_ref().is_some_and(|ear| ear.id != id) {
        ears = &mut ears.as_mut()?.next;
    }
    let mut gone = ears.take()?;
    *ears = gone.next.take();
    Some(gone)
}

/// A frame for all of them; how many had no room for it.
pub(super) fn tell(ears: &mut Ears, frame: &RecordedFrame) -> u64 {
    let (mut full, mut next) = (0, ears.as_mut());
    while let Some(ear) = next {
        full += u64::from(ear.ring.push(*frame).is_err());
        next = ear.next.as_mut();
    }
    full
}

/// A listener's end. Dropping it ends it, and the leg does not notice.
#[derive(Debug)]
pub struct Listener {
    frames: rtrb::Consumer<RecordedFrame>,
    /// Where the other end is.
    place: Option<(Orders, LegId, u64)>,
    /// By which those that there are are counted.
    _counted: Vec<Arc<()>>,
}

impl Listener {
    pub(super) fn pair(thread: Orders, leg: LegId, id: u64, counted: Vec<Arc<()>>) -> (Box<Ear>, Listener) {
        let (ring, frames) = rtrb::RingBuffer::new(ROOM);
        let listener = Listener { frames, place: Some((thread, leg, id)), _counted: counted };
        (Box::new(Ear { id, ring, next: None }), listener)
    }

    /// One that gets what is put into a ring.
    #[cfg(test)]
    pub fn of(frames: rtrb::Consumer<RecordedFrame>) -> Listener {
        Listener { frames, place: None, _counted: Vec::new() }
    }

    /// The next 20 ms, if they are there.
    pub fn frame(&mut self) -> Option<RecordedFrame> {
        self.frames.pop().ok()
    }

    /// Nothing can come any more but what is there.
    pub fn is_over(&self) -> bool {
        self.frames.is_abandoned()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some((thread, leg, id)) = self.place.take() else { return };
        let (reply, gone) = oneshot::channel();
        // At the end of the program there may be no thread any more, and nobody to wait for it: then all of it is freed anyway.
        if thread.give(Order::Unlisten { leg, id, reply })
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ms::Ms;

    fn frame(n: u32) -> RecordedFrame {
        RecordedFrame { robot_at: Ms(n * 20), robot: [1; 160], caller_at: None, caller: [0; 160], paused: false }
    }

    fn listen(ears: &mut Ears, id: u64) -> rtrb::Consumer<RecordedFrame> {
        let (ring, frames) = rtrb::RingBuffer::new(ROOM);
        add(ears, Box::new(Ear { id, ring, next: None }));
        frames
    }

    #[test]
    fn each_gets_every_frame_and_who_leaves_takes_nobody_with_him() {
        let mut ears = None;
        assert_eq!(tell(&mut ears, &frame(0)), 0, "nobody listens");
        let mut all: Vec<_> = (1..=3).map(|id| listen(&mut ears, id)).collect();
        assert_eq!(tell(&mut ears, &frame(1)), 0);
        assert!(remove(&mut ears, 7).is_none(), "there is no such one");
        for (id, left) in [(2, vec![true, false, true]), (3, vec![true, false, false]), (1, vec![false; 3])] {
            assert_eq!(remove(&mut ears, id).map(|ear| ear.id), Some(id));
            tell(&mut ears, &frame(2));
            let got = all.iter_mut().map(|frames| frames.pop().is_ok() && frames.pop().is_ok());
            // The first of them has had both frames, and so on: what counts is who is told still.
            let got: Vec<_> = got.collect();
            assert!(left.iter().zip(&got).all(|(left, got)| *left || !got || id == 2), "{id}: {got:?}");
        }
        assert!(ears.is_none());
    }

    #[test]
    fn who_does_not_read_loses_frames_of_his_own_and_only_those() {
        let mut ears = None;
        let (mut slow, mut quick) = (listen(&mut ears, 1), listen(&mut ears, 2));
        let mut full = 0;
        for n in 0..80 {
            full += tell(&mut ears, &frame(n));
            assert_eq!(quick.pop().map(|frame| frame.robot_at), Ok(Ms(n * 20)));
        }
        assert_eq!(full, 30, "a second fits");
        let first: Vec<_> = std::iter::from_fn(|| slow.pop().ok()).collect();
        assert_eq!((first.len(), first[49].robot_at), (50, Ms(980)));
        tell(&mut ears, &frame(80));
        assert_eq!(slow.pop().map(|frame| frame.robot_at), Ok(Ms(1_600)), "after a gap it goes on");
    }
}
