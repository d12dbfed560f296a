//! The files of weights that `build.rs` takes: little-endian numbers, one after the other.

use std::array::from_fn;

/// The rest of a file.
pub(super) struct Weights<'a>(pub(super) &'a [u8]);

impl Weights<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("the file is built in");
        self.0 = rest;
        *taken
    }

    pub(super) fn float(&mut self) -> f32 {
        f32::from_le_bytes(self.take())
    }

    pub(super) fn floats<const N: usize>(&mut self) -> [f32; N] {
        from_fn(|_| self.float())
    }

    pub(super) fn integers<const N: usize>(&mut self) -> [i16; N] {
        from_fn(|_| i16::from_le_bytes(self.take()))
    }
}
