//! The allocator of this test program: the system's, and it counts what the threads that are watched ask of it. Their log lines count
//! too, of whatever level.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// Who counts for this thread. Made at compile time and never dropped: reading it allocates nothing, even at a thread's very end.
    static WATCH: Cell<Option<&'static Count>> = const { Cell::new(None) };
}

/// A count, of one thread or several.
pub struct Count {
    calls: AtomicU64,
    /// From now on none is expected: the first one is to be shown.
    strict: AtomicBool,
    first: OnceLock<Backtrace>,
}

impl Count {
    pub const fn new() -> Count {
        Count { calls: AtomicU64::new(0), strict: AtomicBool::new(false), first: OnceLock::new() }
    }

    /// Counts for the thread that calls, from now on.
    pub fn watch(&'static self) {
        WATCH.set(Some(self));
    }

    /// Counts for the thread that calls, during `work` only.
    pub fn during<T>(&'static self, work: impl FnOnce() -> T) -> T {
        WATCH.set(Some(self));
        let result = work();
        WATCH.set(None);
        result
    }

    /// Allocations, reallocations, frees and log lines.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Begins at zero, and expects to stay there.
    pub fn expect_none(&self) {
        self.calls.store(0, Ordering::SeqCst);
        self.strict.store(true, Ordering::SeqCst);
    }

    /// How many there have been since, which was expected to be none.
    pub fn found(&self) -> u64 {
        self.strict.store(false, Ordering::SeqCst);
        if let Some(first) = self.first.get() {
            eprintln!("the first allocation, free or log line that should not be:\n{first}");
        }
        self.calls()
    }

    fn one_more(&'static self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.strict.load(Ordering::SeqCst) && self.first.get().is_none() {
            // Looking back allocates too.
            WATCH.set(None);
            let _ = self.first.set(Backtrace::force_capture());
            WATCH.set(Some(self));
        }
    }
}

fn seen() {
    if let Some(count) = WATCH.get() {
        count.one_more();
    }
}

/// Whoever logs is seen, as with an operator who wants to know all.
struct Logs;

/// From now on log lines count.
pub fn count_logs() {
    // Another test of this program may have said so before.
    let _ = tracing::subscriber::set_global_default(Logs);
}

impl Subscriber for Logs {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        seen();
        Id::from_u64(1)
    }
    fn event(&self, _: &Event<'_>) {
        seen();
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Counting;

// SAFETY: every call is the system allocator's, with the caller's own arguments; counting touches none of the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        seen();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        seen();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        seen();
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        seen();
        unsafe { System.dealloc(memory, layout) }
    }
}
