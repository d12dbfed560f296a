//! Reading ahead: what is asked for early is in the processor's cache when it is needed.
//!
//! A thousand legs are in no cache: what a slot meets comes from memory, at 100 ns and more for a line that is waited for. What is only asked
//! for is not waited for, and two dozen lines are under way at a time. Asking changes nothing but the time.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::_MM_HINT_T0;

#[cfg(target_arch = "x86_64")]
use pulp::core_arch::x86::Sse;

/// Bytes of a line of the cache, on most machines.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Asks for all lines of a thing, not for what it points to. Elsewhere than on x86-64 Rust knows no instruction for it yet.
#[inline(always)]
pub(crate) fn bring<T: ?Sized>(thing: &T) {
    #[cfg(target_arch = "x86_64")]
    if let Some(sse) = Sse::try_new() {
        let (first, length) = (std::ptr::from_ref(thing).cast::<i8>(), size_of_val(thing));
        (0..length).step_by(LINE).for_each(|at| sse._mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(at)));
        // It may begin late in its first line, and end early in one more.
        sse._mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(length.saturating_sub(1)));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = thing;
}
