//! What is in use on each trunk, and which trunk and which caller number a call that we place gets.
//!
//! Pure: the moment comes in, and so does the randomness. A call takes its place in one step, so that what was free when it was looked
//! at is still free when it is taken.

use std::collections::HashMap;
use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;

use super::order::Refusal;
use super::rate::Bucket;
use super::settings::{CallerChoice, Group, Trunk};

/// The trunks' tables.
#[derive(Debug)]
pub(super) struct Lines {
    trunks: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    bucket: Option<Bucket>,
    /// Calls of each caller number; those without a call are not in it.
    numbers: HashMap<String, usize>,
    /// Which of the trunk's numbers is the next in turn.
    turn: usize,
}

impl Lines {
    pub(super) fn new(now: Instant, trunks: &[Trunk]) -> Lines {
        let line = |trunk: &Trunk| Line {
            bucket: trunk.rate.map(|rate| Bucket::new(now, rate.per_second, rate.at_once)),
            numbers: HashMap::new(),
            turn: 0,
        };
        Lines { trunks: trunks.iter().map(line).collect() }
    }

    /// A place on a trunk for a call to `callee`, and the number that it shows: `wanted`, or one of the trunk's when that is empty.
    /// To be given back by [`Lines::free`].
    ///
    /// # Errors
    /// The limit that is reached, by its name.
    pub(super) fn take(
        &mut self,
        now: Instant,
        number: usize,
        trunk: &Trunk,
        callee: &str,
        wanted: &str,
    ) -> Result<String, Refusal> {
        let line = &mut self.trunks[number];
        let caller = line.caller(trunk, callee, wanted).ok_or_else(|| {
            let most = trunk.channels_per_caller;
            let who = if wanted.is_empty() { "each number that may be shown" } else { wanted };
            Refusal::NumberLimit(format!(
                "trunk {}: [limits] channels_per_caller = {most}, used up by {who}",
                trunk.name
            ))
        })?;
        // Last, so that nothing is taken that is not used.
        if line.bucket.as_mut().is_some_and(|bucket| !bucket.take(now)) {
            let rate = trunk.rate.map_or(0, |rate| rate.per_second);
            return Err(Refusal::Rate(format!("trunk {}: [limits] calls_per_second = {rate}", trunk.name)));
        }
        *line.numbers.entry(caller.clone()).or_insert(0) += 1;
        Ok(caller)
    }

    /// Gives a place back.
    pub(super) fn free(&mut self, number: usize, caller: &str) {
        let numbers = &mut self.trunks[number].numbers;
        let Some(used) = numbers.get_mut(caller) else { return };
        *used -= 1;
        if *used == 0 {
            numbers.remove(caller);
        }
    }
}

impl Line {
    fn used(&self, caller: &str) -> usize {
        self.numbers.get(caller).copied().unwrap_or(0)
    }

    /// `None`: all that may be shown are in use as often as they may be.
    fn caller(&mut self, trunk: &Trunk, callee: &str, wanted: &str) -> Option<String> {
        let most = trunk.channels_per_caller;
        let free = |caller: &str| most == 0 || self.used(caller) < most;
        if !wanted.is_empty() {
            return free(wanted).then(|| wanted.to_owned());
        }
        let fallback = Some(trunk.caller.as_str()).filter(|caller| free(caller));
        let callers = &trunk.callers;
        let chosen = match trunk.choice {
            CallerChoice::Fixed => fallback,
            CallerChoice::RoundRobin => {
                let turns = (0..callers.len()).map(|n| (self.turn + n) % callers.len());
                let found = turns.into_iter().find(|n| free(&callers[*n].number));
                if let Some(n) = found {
                    self.turn = n + 1;
                }
                return found.map(|n| callers[n].number.clone());
            }
            CallerChoice::ByArea => {
                let longest = |areas: &[String]| {
                    areas.iter().filter(|area| callee.starts_with(area.as_str())).map(String::len).max()
                };
                let near = callers.iter().filter(|caller| free(&caller.number));
                let near = near.filter_map(|caller| Some((longest(&caller.areas)?, caller)));
                // Of numbers that are equally near, the one that is used least; the first one of those.
                let best = near.min_by_key(|(length, caller)| (usize::MAX - length, self.used(&caller.number)));
                best.map(|(_, caller)| caller.number.as_str()).or(fallback)
            }
            CallerChoice::LeastUsed => {
                let all = callers.iter().map(|caller| caller.number.as_str()).filter(|caller| free(caller));
                all.min_by_key(|caller| self.used(caller))
            }
        };
        chosen.map(str::to_owned)
    }
}

/// The members of a group in the order in which they are tried: those of the lowest priority first, and of one priority by lot, each as
/// likely to be first as its weight (as RFC 2782 does it). Weight 0 comes after all others of its priority.
pub(super) fn order(group: &Group, rng: &mut StdRng) -> Vec<usize> {
    let mut left: Vec<_> = group.members.iter().collect();
    left.sort_by_key(|member| member.priority);
    let mut out = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let same = left.iter().take_while(|member| member.priority == first.priority).count();
        let sum: u32 = left[..same].iter().map(|member| member.weight).sum();
        let mut lot = if sum == 0 { 0 } else { rng.random_range(0..sum) };
        let at = left[..same].iter().position(|member| {
            let hit = lot < member.weight || sum == 0;
            lot = lot.saturating_sub(member.weight);
            hit
        });
        out.push(left.remove(at.unwrap_or(0)).trunk);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;

    use super::*;
    use crate::ms::epoch;
    use crate::switchboard::settings::{CallerNumber, Member, Rate};

    fn trunk(choice: CallerChoice, numbers: &[(&str, &[&str])]) -> Trunk {
        let own = |(number, areas): &(&str, &[&str])| CallerNumber {
            number: (*number).to_owned(),
            areas: areas.iter().map(|area| (*area).to_owned()).collect(),
        };
        Trunk { caller: "100".into(), choice, callers: numbers.iter().map(own).collect(), ..Trunk::bare("t") }
    }

    /// Who is shown for each of some callees, all calls staying up.
    fn shown(trunk: &Trunk, callees: &[&str]) -> Vec<String> {
        let mut lines = Lines::new(epoch(), std::slice::from_ref(trunk));
        let taken = callees.iter().map(|callee| lines.take(epoch(), 0, trunk, callee, ""));
        taken.map(|taken| taken.unwrap_or_else(|refusal| refusal.to_string())).collect()
    }

    #[test]
    fn one_number_for_all() {
        assert_eq!(shown(&trunk(CallerChoice::Fixed, &[]), &["1", "2"]), ["100", "100"]);
    }

    #[test]
    fn numbers_in_turn() {
        let trunk = trunk(CallerChoice::RoundRobin, &[("a", &[]), ("b", &[]), ("c", &[])]);
        assert_eq!(shown(&trunk, &["1"; 5]), ["a", "b", "c", "a", "b"]);
    }

    #[test]
    fn a_number_of_the_area_that_is_called() {
        let near: &[(&str, &[&str])] =
            &[("berlin", &["+4930"]), ("germany", &["+49"]), ("mitte", &["+49301", "+4989"])];
        let trunk = trunk(CallerChoice::ByArea, near);
        let callees = ["+49302", "+49301", "+4940", "+4989", "+43", "4930"];
        assert_eq!(shown(&trunk, &callees), ["berlin", "mitte", "germany", "mitte", "100", "100"]);
    }

    #[test]
    fn the_number_that_is_used_least() {
        let trunk = trunk(CallerChoice::LeastUsed, &[("a", &[]), ("b", &[])]);
        let mut lines = Lines::new(epoch(), std::slice::from_ref(&trunk));
        let take = |lines: &mut Lines| lines.take(epoch(), 0, &trunk, "1", "").expect("free");
        assert_eq!([take(&mut lines), take(&mut lines), take(&mut lines)], ["a", "b", "a"]);
        lines.free(0, "a");
        lines.free(0, "a");
        assert_eq!(take(&mut lines), "a");
    }

    #[test]
    fn a_number_that_is_used_up_is_passed_over_and_at_last_named() {
        let limited = |choice, numbers| Trunk { channels_per_caller: 1, ..trunk(choice, numbers) };
        let two: &[(&str, &[&str])] = &[("a", &["1"]), ("b", &["1"])];
        let refused =
            "number_limit: trunk t: [limits] channels_per_caller = 1, used up by each number that may be shown";
        assert_eq!(shown(&limited(CallerChoice::RoundRobin, two), &["1"; 3]), ["a", "b", refused]);
        assert_eq!(shown(&limited(CallerChoice::LeastUsed, two), &["1"; 3]), ["a", "b", refused]);
        assert_eq!(shown(&limited(CallerChoice::ByArea, two), &["1"; 4]), ["a", "b", "100", refused]);
        assert_eq!(shown(&limited(CallerChoice::Fixed, two), &["1"; 2]), ["100", refused]);
    }

    #[test]
    fn a_number_that_is_asked_for_counts_too() {
        let trunk = Trunk { channels_per_caller: 2, ..trunk(CallerChoice::Fixed, &[]) };
        let mut lines = Lines::new(epoch(), std::slice::from_ref(&trunk));
        for _ in 0..2 {
            assert_eq!(lines.take(epoch(), 0, &trunk, "1", "555"), Ok("555".into()));
        }
        let refusal = lines.take(epoch(), 0, &trunk, "1", "555").expect_err("used up");
        assert!(matches!(&refusal, Refusal::NumberLimit(limit) if limit.ends_with("used up by 555")), "{refusal}");
        assert_eq!(lines.take(epoch(), 0, &trunk, "1", "556"), Ok("556".into()));
        lines.free(0, "555");
        assert_eq!(lines.take(epoch(), 0, &trunk, "1", "555"), Ok("555".into()));
    }

    #[test]
    fn so_many_calls_a_second() {
        let trunk = Trunk { rate: Some(Rate { per_second: 2, at_once: 1 }), ..trunk(CallerChoice::Fixed, &[]) };
        let mut lines = Lines::new(epoch(), std::slice::from_ref(&trunk));
        let mut at = |ms: u64| lines.take(epoch() + Duration::from_millis(ms), 0, &trunk, "1", "");
        assert!(at(0).is_ok());
        let refusal = at(499).expect_err("too early");
        assert_eq!(refusal.to_string(), "rate: trunk t: [limits] calls_per_second = 2");
        assert!(at(500).is_ok());
        assert!(at(900).is_err());
    }

    #[test]
    fn a_call_that_is_refused_takes_nothing() {
        let trunk = Trunk {
            rate: Some(Rate { per_second: 1, at_once: 1 }),
            channels_per_caller: 1,
            ..trunk(CallerChoice::Fixed, &[])
        };
        let mut lines = Lines::new(epoch(), std::slice::from_ref(&trunk));
        assert!(lines.take(epoch(), 0, &trunk, "1", "a").is_ok());
        assert!(matches!(lines.take(epoch(), 0, &trunk, "1", "b"), Err(Refusal::Rate(_))));
        let later = epoch() + Duration::from_secs(1);
        assert!(matches!(lines.take(later, 0, &trunk, "1", "a"), Err(Refusal::NumberLimit(_))));
        assert!(lines.take(later, 0, &trunk, "1", "b").is_ok());
    }

    #[test]
    fn members_by_priority_and_then_by_lot() {
        let member = |trunk, priority, weight| Member { trunk, priority, weight };
        let members = vec![member(0, 2, 1), member(1, 1, 3), member(2, 1, 1), member(3, 1, 0)];
        let group = Group { name: "g".into(), members, failover: vec![503] };
        let mut rng = StdRng::seed_from_u64(11);
        let mut first = [0; 4];
        for _ in 0..4_000 {
            let order = order(&group, &mut rng);
            assert_eq!(order.last(), Some(&0), "the lower priority comes last: {order:?}");
            assert_eq!(order[2], 3, "no weight: after those that have one");
            first[order[0]] += 1;
        }
        assert!((2_850..3_150).contains(&first[1]) && (850..1_150).contains(&first[2]), "{first:?}");
        let even = Group { members: vec![member(0, 1, 0), member(1, 1, 0)], ..group };
        assert_eq!(order(&even, &mut rng), [0, 1], "without any weight: as they are written");
    }
}
