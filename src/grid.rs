//! When calls are looked after: at moments that they share.
//!
//! A thousand calls have ten thousand pieces of audio a second for their recogniser, take thousands from their synthesiser, and have timers. Each at
//! a moment of its own would be a wake of the runtime, and a system call at either service; what is done for many calls at once is neither. It
//! matters most where there are few calls: to wake a core that sleeps costs some 20 to 30 µs.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

const GRID: Duration = Duration::from_millis(20);
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The first moment of the grid that is not before `at`: it lies less than 20 ms after. What is before all of them is its own.
pub(crate) fn from(at: Instant) -> Instant {
    let Some(since) = at.checked_duration_since(*ORIGIN) else { return at };
    let past = since.as_nanos() % GRID.as_nanos();
    if past == 0 { at } else { at + GRID - Duration::from_nanos(past as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_within_one_step_gets_the_same_moment() {
        // Which begins it.
        from(Instant::now());
        let first = from(Instant::now());
        for after in [1, 7_000, 19_999_999, 20_000_000] {
            assert_eq!(from(first + Duration::from_nanos(after)), first + GRID);
        }
        assert_eq!(from(first), first);
        assert_eq!(from(first + 7 * GRID - Duration::from_millis(1)), first + 7 * GRID);
    }
}
