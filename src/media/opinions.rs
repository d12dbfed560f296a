//! Second opinions on voices under prompts: a media thread has a few, which its legs borrow.
//!
//! They are few so that a call need not hold the memory of one (6 KiB) for the seconds in which it may need it; and because one costs as much time as
//! a call while it is asked: on a thousand lines that all have music on them the threads would be late. Whoever gets none goes by the first
//! detector's word.

use crate::dsp::vad::Opinion;

/// Of a thread: 730 KiB.
const OPINIONS: usize = 128;

/// Who is free.
pub(super) struct Opinions(Vec<Box<Opinion>>);

impl Opinions {
    pub(super) fn new() -> Opinions {
        Opinions((0..OPINIONS).map(|_| Box::default()).collect())
    }

    /// One who knows nothing yet.
    pub(super) fn lend(&mut self) -> Option<Box<Opinion>> {
        let mut opinion = self.0.pop()?;
        opinion.renew();
        Some(opinion)
    }

    pub(super) fn take_back(&mut self, opinion: Box<Opinion>) {
        self.0.push(opinion);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_and_who_comes_back_has_forgotten() {
        let mut opinions = Opinions::new();
        let mut lent: Vec<_> = std::iter::from_fn(|| opinions.lend()).collect();
        assert_eq!(lent.len(), OPINIONS);
        let mut one = lent.pop().expect("one");
        one.agrees(crate::ms::Ms(200));
        opinions.take_back(one);
        assert_eq!(opinions.lend().expect("it is free again").answer(), None);
    }
}
