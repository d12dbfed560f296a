//! How a media thread gets a core when its tick has come, though the rest of the process is busy.
//!
//! On one core with a thousand calls, signalling and gRPC want half of it. An ordinary thread then waits for its turn, some milliseconds each
//! time; a real-time one (SCHED_FIFO) runs at once. It is in no danger of starving the rest: it sleeps between its ticks, and the
//! kernel keeps 5 % of each second for ordinary threads in any case.

use std::num::NonZeroU64;

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Of media threads: above every ordinary one, below the kernel's own (50) and what an operator may want to place above us.
pub(super) const PRIORITY: u8 = 10;
/// Of an ordinary thread's sleep, the system may add this much, in nanoseconds; 50 µs if nobody says so.
const SLACK: NonZeroU64 = NonZeroU64::MIN;

/// Sleeps of this thread end when they should; it need not be in real time for that.
pub(crate) fn exact_sleep() {
    // Where it is refused, sleeps are 50 µs longer.
    let _ = rustix::thread::set_current_timer_slack(Some(SLACK));
}

/// Asks for real time for this thread, and says whether it was given.
pub(crate) fn realtime(priority: u8) -> bool {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let value = ThreadPriorityValue::try_from(priority).map(ThreadPriority::Crossplatform);
    value.is_ok_and(|value| set_thread_priority_and_policy(thread_native_id(), value, policy).is_ok())
}
