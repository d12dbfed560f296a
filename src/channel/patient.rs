//! A task that many wake at once, and that goes to work when they are all done.
//!
//! A thousand calls give one connection two hundred pieces of audio in the same moment. Each piece wakes the connection's task, and whom a task
//! wakes tokio runs next: the connection was gone through for every piece, ten times a second for each call. This one stands back once
//! before each turn, behind all who are ready, and finds their pieces together.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Such a task.
#[derive(Debug)]
pub(super) struct Patient<F> {
    task: F,
    /// It has stood back, and it is its turn.
    stood_back: bool,
}

impl<F> Patient<F> {
    pub(super) fn new(task: F) -> Patient<F> {
        Patient { task, stood_back: false }
    }
}

impl<F: Future + Unpin> Future for Patient<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.stood_back = !self.stood_back;
        if self.stood_back {
            // Whom its own turn wakes, itself, goes to the end of the queue.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.task).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_stands_back_once_before_each_turn_and_asks_for_that_turn() {
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let mut turns = 0;
        let mut task = Patient::new(poll_fn(|_| {
            turns += 1;
            if turns == 2 { Poll::Ready(turns) } else { Poll::Pending }
        }));
        let mut told = [Poll::Pending; 4];
        for told in &mut told {
            *told = Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
        }
        assert_eq!(told, [Poll::Pending, Poll::Pending, Poll::Pending, Poll::Ready(2)]);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    }
}
