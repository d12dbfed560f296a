//! How orders reach a media thread: it takes those that are there, and never waits for one that is being written.
//!
//! The receiver of `std::sync::mpsc`, when it finds a message half written, yields until it is whole. Its writer is an ordinary thread; on the
//! same core, it was pushed aside in the middle of its work by the very thread that now waits for it, and real time does not yield to it.
//! Measured on one core with 600 calls: an eighth of the media thread's time. tokio's receiver says "not yet", and the order is taken in
//! the next tick.
//!
//! Nor is it woken for an order that its leg obeys in its next slot, which are nearly all: with a hundred calls those would be three wakes in four.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::thread::Order;

/// How long who is woken for nothing is out of the way. Such wakes come from an ordinary thread that is about to wake us and was pushed
/// aside in the middle of that, by us, on the same core: until it has gone on, tokio's receiver wakes whoever would sleep. In real time that
/// was one second of turning round (twelve million times), until the kernel gave the others their twentieth. An order that comes meanwhile is
/// taken after it: so may be the second of two that come at once to who has no leg, since the first one wakes twice.
const GIVE_WAY: Duration = Duration::from_millis(1);

/// Where orders are given.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    orders: UnboundedSender<Order>,
    thread: Thread,
}

impl Orders {
    pub(super) fn new(orders: UnboundedSender<Order>, thread: Thread) -> Orders {
        Orders { orders, thread }
    }

    /// The thread will obey; false when it is gone.
    pub(super) fn give(&self, order: Order) -> bool {
        let waits = matches!(order, Order::Command { .. });
        let given = self.orders.send(order).is_ok();
        if !waits {
            self.thread.unpark();
        }
        given
    }
}

/// The thread's end of the orders.
pub(super) struct Inbox {
    orders: UnboundedReceiver<Order>,
    waker: Waker,
}

/// The next order that is there as a whole, for a thread that may wait for nobody; `Ready(None)` when there can be no more.
pub(crate) fn next_order<T>(orders: &mut UnboundedReceiver<T>) -> Poll<Option<T>> {
    orders.poll_recv(&mut Context::from_waker(Waker::noop()))
}

/// Wakes the thread from [`Inbox::sleep`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

impl Inbox {
    /// For the thread that it is called on.
    pub(super) fn new(orders: UnboundedReceiver<Order>) -> Inbox {
        Inbox { orders, waker: Arc::new(Unpark(thread::current())).into() }
    }

    /// The next order that is there as a whole; `Ready(None)` when there can be no more.
    pub(super) fn next(&mut self) -> Poll<Option<Order>> {
        next_order(&mut self.orders)
    }

    /// The same, after having slept until the time is over or there is an order that cannot wait until then; without a time until there is any, or
    /// can be no more. May find nothing.
    pub(super) fn sleep(&mut self, time: Option<Duration>) -> Poll<Option<Order>> {
        let Some(time) = time else {
            let next = self.orders.poll_recv(&mut Context::from_waker(&self.waker));
            if next.is_ready() {
                return next;
            }
            thread::park();
            let next = self.next();
            if next.is_pending() {
                thread::sleep(GIVE_WAY);
            }
            return next;
        };
        thread::park_timeout(time);
        self.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc as plain;
    use std::time::Instant;

    use tokio::sync::mpsc;

    use crate::call::leg::Command;
    use crate::media::LegId;

    const LEG: LegId = LegId { place: 0, generation: 1 };

    /// Orders for this thread.
    fn orders() -> (Orders, Inbox) {
        let (orders, receiver) = mpsc::unbounded_channel();
        (Orders::new(orders, thread::current()), Inbox::new(receiver))
    }

    #[test]
    fn who_has_no_leg_sleeps_until_there_is_an_order_or_nobody_who_could_give_one() {
        let (orders, mut inbox) = orders();
        let giver = thread::spawn(move || {
            for order in [Order::Close { leg: LEG }, Order::Command { leg: LEG, command: Command::Resume }] {
                thread::sleep(Duration::from_millis(20));
                assert!(orders.give(order));
            }
            thread::sleep(Duration::from_millis(20));
        });
        let mut given = 0;
        loop {
            // For ever, if nobody woke it.
            match inbox.sleep(None) {
                Poll::Ready(Some(_)) => given += 1,
                Poll::Ready(None) => break,
                Poll::Pending => {}
            }
        }
        assert_eq!(given, 2);
        giver.join().expect("no panic");
    }

    #[test]
    fn who_is_woken_and_finds_nothing_is_out_of_the_way_for_a_moment() {
        let (_orders, mut inbox) = orders();
        for _ in 0..5 {
            thread::current().unpark();
            let begun = Instant::now();
            assert!(inbox.sleep(None).is_pending());
            assert!(begun.elapsed() >= GIVE_WAY, "whoever woke it may be on this core");
        }
    }

    #[test]
    fn without_orders_the_time_passes() {
        let (_orders, mut inbox) = orders();
        assert!(inbox.next().is_pending());
        assert!(inbox.sleep(Some(Duration::from_millis(5))).is_pending());
        assert!(inbox.next().is_pending());
    }

    #[test]
    fn what_a_leg_obeys_in_its_slot_wakes_nobody_and_what_somebody_waits_for_does() {
        let (told, taken) = plain::channel();
        let sleeper = thread::spawn(move || {
            let (orders, mut inbox) = orders();
            let _ = told.send(Err(orders));
            for _ in 0..2 {
                let mut next = inbox.sleep(Some(Duration::from_secs(600)));
                while let Poll::Ready(Some(order)) = next {
                    let _ = told.send(Ok(matches!(order, Order::Command { .. })));
                    next = inbox.next();
                }
            }
        });
        let Ok(Err(orders)) = taken.recv() else { panic!("it begins") };
        assert!(orders.give(Order::Command { leg: LEG, command: Command::Resume }));
        assert!(taken.recv_timeout(Duration::from_millis(100)).is_err(), "it sleeps on");
        assert!(orders.give(Order::Close { leg: LEG }));
        assert_eq!([(); 2].map(|()| taken.recv().expect("both come").ok()), [Some(true), Some(false)]);
        orders.give(Order::Close { leg: LEG });
        sleeper.join().expect("no panic");
    }
}
