//! Milliseconds, the unit of every time that a user sees.
//!
//! All times of a conversation are media time since answer on the caller's wire, and all knobs are spans of it. A `u32` holds
//! 49 days, so arithmetic saturates instead of asking the caller what to do at the end of the seventh week.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

/// A span, or a moment counted from an origin that the context names, in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Ms(pub u32);

impl Ms {
    /// No time at all, or the origin.
    pub const ZERO: Ms = Ms(0);

    /// The longest span that can be told, 2³² − 1 ms.
    pub const MAX: Ms = Ms(u32::MAX);

    /// The bare number of milliseconds.
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// The same span for arithmetic with [`std::time::Instant`].
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0 as u64)
    }

    /// How many samples of `rate` Hz last this long, rounded down; saturates at `u32::MAX`.
    pub const fn samples(self, rate: u32) -> u32 {
        let samples = self.0 as u64 * rate as u64 / 1000;
        if samples > u32::MAX as u64 { u32::MAX } else { samples as u32 }
    }

    /// How long `samples` of `rate` Hz last, rounded down; `rate` 0 counts as 1.
    pub const fn of_samples(samples: u64, rate: u32) -> Ms {
        let rate = if rate == 0 { 1 } else { rate as u64 };
        let ms = (samples / rate).saturating_mul(1000).saturating_add(samples % rate * 1000 / rate);
        if ms > u32::MAX as u64 { Ms::MAX } else { Ms(ms as u32) }
    }

    /// `self − other`, or zero if `other` is longer.
    pub const fn saturating_sub(self, other: Ms) -> Ms {
        Ms(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

impl From<Duration> for Ms {
    /// Rounds down; a span beyond 49 days becomes [`Ms::MAX`].
    fn from(span: Duration) -> Ms {
        Ms(u32::try_from(span.as_millis()).unwrap_or(u32::MAX))
    }
}

impl From<Ms> for Duration {
    fn from(ms: Ms) -> Duration {
        ms.as_duration()
    }
}

impl Add for Ms {
    type Output = Ms;
    /// Saturates at [`Ms::MAX`].
    fn add(self, other: Ms) -> Ms {
        Ms(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Ms {
    fn add_assign(&mut self, other: Ms) {
        *self = *self + other;
    }
}

impl Sub for Ms {
    type Output = Ms;
    /// Saturates at zero: a span is never negative.
    fn sub(self, other: Ms) -> Ms {
        self.saturating_sub(other)
    }
}

impl SubAssign for Ms {
    fn sub_assign(&mut self, other: Ms) {
        *self = *self - other;
    }
}

/// Where virtual time begins. The cores get every moment from their owner, so tests invent theirs; but an [`std::time::Instant`] can
/// only be read off the clock, which is done here, once for all of them. Which moment it is never matters.
#[cfg(test)]
pub(crate) fn epoch() -> std::time::Instant {
    static EPOCH: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    // Far from the clock's own beginning: a test may look back too.
    *EPOCH.get_or_init(|| std::time::Instant::now() + Duration::from_secs(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_its_unit() {
        assert_eq!(Ms(700).to_string(), "700ms");
    }

    #[test]
    fn saturates_at_both_ends() {
        assert_eq!(Ms(20) - Ms(40), Ms::ZERO);
        assert_eq!(Ms::MAX + Ms(1), Ms::MAX);
        assert_eq!(Ms::from(Duration::from_secs(1 << 40)), Ms::MAX);
    }

    #[test]
    fn converts_samples_both_ways() {
        assert_eq!(Ms(20).samples(8000), 160);
        assert_eq!(Ms::of_samples(160, 8000), Ms(20));
        assert_eq!(Ms::of_samples(161, 8000), Ms(20));
        assert_eq!(Ms::of_samples(u64::MAX, 1), Ms::MAX);
    }
}
