//! Virtual time for who reads the clock himself: NetEQ calls `Instant::now()` in its depths.
//!
//! The standard library asks the C library's `clock_gettime`, and a program's own function of that name goes before the C library's. So the
//! same seed gives the same figures, however busy the machine is, and 45 s of a line take a fraction of a second. Only this bench does so.

use std::cell::Cell;
use std::time::Duration;

thread_local! {
    static NOW: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// From here on this thread's clocks show `now`; none: the system's.
pub fn set(now: Option<Duration>) {
    NOW.with(|cell| cell.set(now));
}

/// `struct timespec` of 64-bit Linux.
#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// Stands before the C library's.
///
/// # Safety
///
/// `time` is the caller's, and may be written to, as `clock_gettime(3)` has it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: i32, time: *mut Timespec) -> i32 {
    let now = NOW.with(Cell::get).map(|now| (now.as_secs() as i64, i64::from(now.subsec_nanos())));
    // Straight to the kernel, not back to here.
    let (seconds, nanoseconds) = now.unwrap_or_else(|| {
        let id = if clock == 0 { rustix::time::ClockId::Realtime } else { rustix::time::ClockId::Monotonic };
        let time = rustix::time::clock_gettime(id);
        (time.tv_sec, time.tv_nsec)
    });
    // SAFETY: the caller's promise, above.
    unsafe { time.write(Timespec { seconds, nanoseconds }) };
    0
}
