//! RFC 3611 section 4.7.2: how the losses of a stream lie, in bursts or alone.
//!
//! A packet is bad when it was lost, or came and was discarded. A burst begins and ends with a bad packet, holds more than one of them, and
//! nowhere in it are [`GMIN`] or more good packets in a row. What is between bursts, before the first and after the last is a gap; a bad
//! packet that is alone, with as many good ones on both sides, belongs to its gap.
//!
//! ```text
//! good good BAD good BAD BAD good × 16 … good BAD good × 16 … good
//! ╰─ gap ─╯ ╰──── burst ───╯ ╰────────────── gap ────────────────╯
//! ```
//! Appendix A.2 counts transitions of a four-state model. Its densities are the same fractions; its mean durations leave out what follows
//! the last loss and take as many gaps as bursts, which is an estimate: the durations here are those of section 4.7.2 itself.
//!
//! The work of a packet is a few additions, of a run of losses however long no more.

/// Good packets in a row that end a burst (the RFC recommends this number).
pub const GMIN: u32 = 16;

/// The counts of a stream, or of several one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets expected.
    pub packets: u32,
    /// Packets that have not come.
    pub lost: u32,
    /// Packets that have come and were not played: too late, or no room.
    pub discarded: u32,
    /// Runs of bad packets, of one or more.
    pub runs: u32,
    /// Bursts.
    pub bursts: u32,
    /// Packets in bursts, good and bad.
    pub burst_packets: u32,
    /// Bad packets in bursts.
    pub burst_bad: u32,
    /// Gaps.
    pub gaps: u32,
}

impl Tally {
    /// Packets lost or discarded.
    pub fn bad(&self) -> u32 {
        self.lost + self.discarded
    }

    /// This one and then `other`.
    pub fn and(self, other: Tally) -> Tally {
        self.each(other, u32::wrapping_add)
    }

    /// What has come to this one since it was `before`. Bursts count from their end, so the newest may be told later.
    pub fn since(self, before: Tally) -> Tally {
        self.each(before, u32::saturating_sub)
    }

    /// The share of all packets that was lost, 0 to 1.
    pub fn loss_rate(&self) -> f32 {
        ratio(self.lost, self.packets)
    }

    /// The share of all packets that was discarded, 0 to 1.
    pub fn discard_rate(&self) -> f32 {
        ratio(self.discarded, self.packets)
    }

    /// The bad share of the packets in bursts, 0 to 1.
    pub fn burst_density(&self) -> f32 {
        ratio(self.burst_bad, self.burst_packets)
    }

    /// The bad share of the packets in gaps, 0 to 1.
    pub fn gap_density(&self) -> f32 {
        ratio(self.bad().saturating_sub(self.burst_bad), self.gap_packets())
    }

    /// The mean length of the bursts, in packets; 0 without any.
    pub fn burst_length(&self) -> f32 {
        ratio(self.burst_packets, self.bursts)
    }

    /// The mean length of the gaps, in packets; 0 without any.
    pub fn gap_length(&self) -> f32 {
        ratio(self.gap_packets(), self.gaps)
    }

    /// ITU-T G.107's BurstR: the mean run of bad packets, by what it would be if as many were bad at random; 1 for those, and at least.
    pub fn burst_ratio(&self) -> f32 {
        let good = self.packets.saturating_sub(self.bad());
        if self.runs == 0 {
            return 1.0;
        }
        (ratio(self.bad(), self.runs) * ratio(good, self.packets)).max(1.0)
    }

    fn gap_packets(&self) -> u32 {
        self.packets.saturating_sub(self.burst_packets)
    }

    fn each(self, other: Tally, with: impl Fn(u32, u32) -> u32) -> Tally {
        Tally {
            packets: with(self.packets, other.packets),
            lost: with(self.lost, other.lost),
            discarded: with(self.discarded, other.discarded),
            runs: with(self.runs, other.runs),
            bursts: with(self.bursts, other.bursts),
            burst_packets: with(self.burst_packets, other.burst_packets),
            burst_bad: with(self.burst_bad, other.burst_bad),
            gaps: with(self.gaps, other.gaps),
        }
    }
}

fn ratio(part: u32, whole: u32) -> f32 {
    if whole == 0 { 0.0 } else { (f64::from(part) / f64::from(whole)) as f32 }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It came in time.
    Good,
    /// It did not come.
    Lost,
    /// It came and was not played.
    Discarded,
}

/// Takes packets in the order of their numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bursts {
    /// Without the open stretch's burst, and without gaps.
    tally: Tally,
    /// The stretch that may be a burst: its packets from the first bad to the last bad one, none while there is no bad one.
    open: u32,
    open_bad: u32,
    /// Good packets since the last bad one, or since the beginning.
    good: u32,
    /// The first packet of all began a burst, or may: no gap precedes it.
    bad_from_start: bool,
    first_burst_at_start: bool,
}

impl Bursts {
    /// The next packet.
    pub fn push(&mut self, fate: Fate) {
        match fate {
            Fate::Good => {
                self.tally.packets += 1;
                self.good += 1;
            }
            Fate::Lost => self.lost(1),
            Fate::Discarded => {
                self.tally.discarded += 1;
                self.bad(1);
            }
        }
    }

    /// The next packets, all lost.
    pub fn lost(&mut self, packets: u32) {
        if packets > 0 {
            self.tally.lost += packets;
            self.bad(packets);
        }
    }

    /// A packet that had been pushed as lost has come after all, much too late.
    pub fn came_after_all(&mut self) {
        if self.tally.lost > 0 {
            self.tally.lost -= 1;
            self.tally.discarded += 1;
        }
    }

    /// The counts if the stream ended here.
    pub fn tally(mut self) -> Tally {
        let ends_in_burst = self.open_bad > 1 && self.good == 0;
        self.close();
        let Tally { packets, bursts, .. } = self.tally;
        let around = u32::from(!self.first_burst_at_start) + u32::from(!ends_in_burst);
        self.tally.gaps = if bursts == 0 { u32::from(packets > 0) } else { bursts - 1 + around };
        self.tally
    }

    fn bad(&mut self, packets: u32) {
        let begins = self.open == 0;
        if !begins && self.good < GMIN {
            self.tally.runs += u32::from(self.good > 0);
            self.open += self.good + packets;
            self.open_bad += packets;
        } else {
            self.close();
            self.bad_from_start = begins && self.tally.packets == 0;
            self.tally.runs += 1;
            (self.open, self.open_bad) = (packets, packets);
        }
        self.tally.packets += packets;
        self.good = 0;
    }

    fn close(&mut self) {
        if self.open_bad > 1 {
            self.first_burst_at_start |= self.bad_from_start;
            self.tally.bursts += 1;
            self.tally.burst_packets += self.open;
            self.tally.burst_bad += self.open_bad;
        }
        self.bad_from_start = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `.` good, `L` lost, `D` discarded; a number repeats what follows it.
    fn pattern(text: &str) -> Vec<Fate> {
        let (mut fates, mut times) = (Vec::new(), 0);
        for c in text.chars().filter(|c| !c.is_whitespace()) {
            if let Some(digit) = c.to_digit(10) {
                times = times * 10 + digit as usize;
                continue;
            }
            let fate = match c {
                '.' => Fate::Good,
                'L' => Fate::Lost,
                _ => Fate::Discarded,
            };
            fates.extend(std::iter::repeat_n(fate, times.max(1)));
            times = 0;
        }
        fates
    }

    fn counted(fates: &[Fate]) -> Tally {
        let mut bursts = Bursts::default();
        fates.iter().for_each(|fate| bursts.push(*fate));
        bursts.tally()
    }

    /// By the words of section 4.7.2 alone: all stretches are tried, none is remembered.
    fn by_definition(fates: &[Fate]) -> Tally {
        let bad: Vec<bool> = fates.iter().map(|fate| *fate != Fate::Good).collect();
        let fits = |from: usize, to: usize| {
            let longest = bad[from..=to].split(|bad| *bad).map(<[bool]>::len).max().unwrap_or(0);
            from < to && bad[from] && bad[to] && longest < GMIN as usize
        };
        // "A longest sequence": one that no other contains.
        let mut bursts: Vec<(usize, usize)> = Vec::new();
        for from in 0..bad.len() {
            let Some(to) = (from..bad.len()).rev().find(|to| fits(from, *to)) else { continue };
            if bursts.last().is_none_or(|(_, end)| to > *end) {
                bursts.push((from, to));
            }
        }
        let in_burst = |n: usize| bursts.iter().any(|(from, to)| (*from..=*to).contains(&n));
        let count = |with: &dyn Fn(usize) -> bool| (0..bad.len()).filter(|n| with(*n)).count() as u32;
        Tally {
            packets: bad.len() as u32,
            lost: count(&|n| fates[n] == Fate::Lost),
            discarded: count(&|n| fates[n] == Fate::Discarded),
            runs: count(&|n| bad[n] && (n == 0 || !bad[n - 1])),
            bursts: bursts.len() as u32,
            burst_packets: count(&in_burst),
            burst_bad: count(&|n| in_burst(n) && bad[n]),
            // A gap begins where a packet is in no burst and the one before is in one, or there is none before.
            gaps: count(&|n| !in_burst(n) && (n == 0 || in_burst(n - 1))),
        }
    }

    #[test]
    fn hand_made_patterns_lie_as_one_sees_them() {
        // Packets, lost, discarded, runs, bursts, packets and bad ones in them, gaps.
        for (text, expected) in [
            ("", [0; 8]),
            ("100.", [100, 0, 0, 0, 0, 0, 0, 1]),
            ("L", [1, 1, 0, 1, 0, 0, 0, 1]),
            ("LL", [2, 2, 0, 1, 1, 2, 2, 0]),
            ("20.L20.", [41, 1, 0, 1, 0, 0, 0, 1]),
            ("20.LD20.", [42, 1, 1, 1, 1, 2, 2, 2]),
            ("L15.L", [17, 2, 0, 2, 1, 17, 2, 0]),
            ("L16.L", [18, 2, 0, 2, 0, 0, 0, 1]),
            ("L16.L15.D16.L", [51, 3, 1, 4, 1, 17, 2, 2]),
            ("50.3L10.2D3.L40.L30.10L5.", [155, 15, 2, 5, 2, 29, 16, 3]),
            ("3L16.3L", [22, 6, 0, 2, 2, 6, 6, 1]),
        ] {
            let [packets, lost, discarded, runs, bursts, burst_packets, burst_bad, gaps] = expected;
            let tally = Tally { packets, lost, discarded, runs, bursts, burst_packets, burst_bad, gaps };
            assert_eq!(counted(&pattern(text)), tally, "{text}");
            assert_eq!(by_definition(&pattern(text)), tally, "{text}");
        }
    }

    #[test]
    fn rates_densities_and_lengths_follow_from_the_counts() {
        let tally = counted(&pattern("50. 3L10.2D3.L 40.L39. 10L 41."));
        let close = |is: f32, part: f32| assert!((is - part).abs() < 1e-6, "{is} is not {part}");
        close(tally.loss_rate(), 15.0 / 200.0);
        close(tally.discard_rate(), 2.0 / 200.0);
        close(tally.burst_density(), 16.0 / 29.0);
        close(tally.gap_density(), 1.0 / 171.0);
        close(tally.burst_length(), 29.0 / 2.0);
        close(tally.gap_length(), 171.0 / 3.0);
        close(tally.burst_ratio(), 17.0 / 5.0 * 183.0 / 200.0);
    }

    #[test]
    fn losses_at_random_have_a_burst_ratio_of_one() {
        let mut state = 1u64;
        let fates: Vec<Fate> = (0..200_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if state >> 33 < (1 << 31) / 10 { Fate::Lost } else { Fate::Good }
            })
            .collect();
        let ratio = counted(&fates).burst_ratio();
        assert!((1.0..1.02).contains(&ratio), "{ratio}");
    }

    fn traces() -> impl Strategy<Value = Vec<Fate>> {
        let stretch = prop_oneof![
            (Just(Fate::Good), 1..40usize),
            (Just(Fate::Good), 14..18usize),
            (Just(Fate::Lost), 1..5usize),
            (Just(Fate::Discarded), 1..3usize),
        ];
        prop::collection::vec(stretch, 0..30).prop_map(|stretches| {
            stretches.into_iter().flat_map(|(fate, times)| std::iter::repeat_n(fate, times)).collect()
        })
    }

    proptest! {
        #[test]
        fn any_trace_is_counted_as_it_is_defined(trace in traces()) {
            prop_assert_eq!(counted(&trace), by_definition(&trace));
        }

        #[test]
        fn a_run_of_losses_is_as_many_losses(trace in traces(), run in 0..3_000u32) {
            let mut one = Bursts::default();
            trace.iter().for_each(|fate| one.push(*fate));
            let mut all = one;
            one.lost(run);
            (0..run).for_each(|_| all.push(Fate::Lost));
            prop_assert_eq!(one.tally(), all.tally());
        }
    }
}
