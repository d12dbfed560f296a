//! RFC 3711 §3.3.1 and §3.3.2: which index a packet has, and whether it has come before.

/// Sources of one key that are known at a time; whoever has been silent for longest is forgotten for another one.
const SOURCES: usize = 4;
/// Packets behind the highest one that are told apart; RFC 3711 §3.3.2 wants 64 at least.
const WINDOW: u64 = u128::BITS as u64;

/// What is known of a source.
#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    highest: u64,
    /// Bit n: the n-th before the highest has come.
    seen: u128,
}

/// The sources of one key, whoever spoke last first.
#[derive(Debug, Default)]
pub(super) struct Streams([Option<Stream>; SOURCES]);

/// Which index a packet may have.
pub(super) enum Guess {
    /// Of a source that is known.
    Known(u64),
    /// Of one that is not: this, if it begins.
    New(u64),
}

impl Streams {
    /// The index of a packet with this number; `None` if it has come before, or is too old.
    pub(super) fn guess(&self, ssrc: u32, sequence: u16) -> Option<Guess> {
        let Some(stream) = self.find(ssrc) else { return Some(Guess::New(sequence.into())) };
        let index = nearest(stream.highest, sequence)?;
        stream.is_fresh(index).then_some(Guess::Known(index))
    }

    /// Whether a packet of this index has not come yet.
    pub(super) fn is_fresh(&self, ssrc: u32, index: u64) -> bool {
        self.find(ssrc).is_none_or(|stream| stream.is_fresh(index))
    }

    /// An authentic packet has come.
    pub(super) fn note(&mut self, ssrc: u32, index: u64) {
        let known = self.0.iter().position(|stream| stream.is_some_and(|stream| stream.ssrc == ssrc));
        let at = known.unwrap_or(SOURCES - 1);
        if known.is_none() {
            self.0[at] = Some(Stream { ssrc, highest: index, seen: 0 });
        }
        self.0[..=at].rotate_right(1);
        if let Some(stream) = &mut self.0[0] {
            stream.note(index);
        }
    }

    fn find(&self, ssrc: u32) -> Option<&Stream> {
        self.0.iter().flatten().find(|stream| stream.ssrc == ssrc)
    }
}

impl Stream {
    fn is_fresh(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(behind) => behind < WINDOW && self.seen >> behind & 1 == 0,
        }
    }

    fn note(&mut self, index: u64) {
        match self.highest.checked_sub(index) {
            Some(behind) if behind < WINDOW => self.seen |= 1 << behind,
            Some(_) => {}
            None => {
                let ahead = index - self.highest;
                self.seen = if ahead < WINDOW { self.seen << ahead | 1 } else { 1 };
                self.highest = index;
            }
        }
    }
}

/// The index nearest to another one that ends in this sequence number; `None` before the first.
pub(super) fn nearest(index: u64, sequence: u16) -> Option<u64> {
    index.checked_add_signed(i64::from(sequence.wrapping_sub(index as u16) as i16))
}
