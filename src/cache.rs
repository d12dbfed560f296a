//! Reading ahead: what is read is in the processor's cache when it is needed.

/// Bytes of a line of the cache, on most machines.
const LINE: usize = 64;

/// Reads one thing of each line, for whoever will need them all soon. What is returned only keeps the compiler from leaving it out.
pub(crate) fn touch<T: Copy>(things: &[T], bits: impl Fn(T) -> usize) -> usize {
    things.iter().step_by(LINE / size_of::<T>()).fold(0, |sum, thing| sum ^ bits(*thing))
}
