//! Far ends that make trouble: the scenarios of `tests/interop_sip` in which two sides speak in one moment, one refuses, or one falls silent.
//!
//! Each has a trunk of its own, named for its scenario, at an address of its own. So the server's own count by trunk tells what its calls have
//! come to, and that is held against what they must come to.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::command::harness::stage::metric_lines;

/// What the callers of some scenarios say, G.711 A-law.
pub(super) const SPEECH: &[u8] = include_bytes!("../../../tests/interop_sip/speech.alaw");

/// How calls of one kind go wrong.
#[derive(Debug)]
pub(super) struct Kind {
    /// Of its scenario and its trunk.
    pub(super) name: &'static str,
    pub(super) scenario: &'static str,
    /// Its part of the calls: those that last half a minute have less, or there would be thousands at a time.
    weight: u32,
    /// What the trunk's profile says beside the peer's address.
    profile: &'static str,
    /// What every call comes to; none: it is refused at the door and never was one.
    outcome: Option<&'static str>,
    /// More for SIPp's command line.
    pub(super) args: &'static [&'static str],
}

macro_rules! kind {
    ($name:literal, $weight:literal, $outcome:expr, $profile:expr) => {
        kind!($name, $weight, $outcome, $profile, &[])
    };
    ($name:literal, $weight:literal, $outcome:expr, $profile:expr, $args:expr) => {
        Kind {
            name: $name,
            scenario: include_str!(concat!("../../../tests/interop_sip/", $name, ".xml")),
            weight: $weight,
            profile: $profile,
            outcome: $outcome,
            args: $args,
        }
    };
}

const NOW: &str = "[[inbound]]\ndialogue = \"none\"\nspeech = \"none\"\n";
const A_SECOND: &str = "[limits]\nmax_call_s = 1\n[[inbound]]\ndialogue = \"none\"\nspeech = \"none\"\n";
const RINGS: &str = "[[inbound]]\nanswer = { after_ms = 8000 }\ndialogue = \"none\"\nspeech = \"none\"\n";
const RINGS_LONG: &str = "[[inbound]]\nanswer = { after_ms = 60000 }\ndialogue = \"none\"\nspeech = \"none\"\n";
const ELSEWHERE: &str = "[[inbound]]\ncallee = \"400\"\n";
const SHORT_RING: &str = "[limits]\nring_timeout_ms = 1000\n";

/// What comes in the moment in which SIPp is about to send is not heard, and comes again; by default it would end the call.
const DEAF: &[&str] = &["-default_behaviors", "none"];

static KINDS: [Kind; 21] = [
    kind!("uac_cancel_before_answer", 4, Some("nooneheard"), RINGS_LONG),
    kind!("uac_cancel_after_answer", 4, Some("success"), NOW),
    // Nobody was ever heard.
    kind!("uac_bye_without_ack", 4, Some("else"), NOW),
    kind!("uac_acks_late", 4, Some("success"), NOW),
    kind!("uac_never_acks", 1, Some("cantbeconnected"), NOW),
    // Without -nr SIPp takes the second 180 for one that it has to answer by a third INVITE.
    kind!("uac_invite_repeated", 4, Some("success"), RINGS, &["-nr"]),
    kind!("uac_unknown_number_404", 4, None, ELSEWHERE),
    kind!("uac_reinvites_against_bye", 4, Some("success"), A_SECOND, DEAF),
    kind!("uac_hangs_up_with_us", 4, Some("success"), A_SECOND, DEAF),
    kind!("uac_ignores_bye", 1, Some("success"), A_SECOND),
    kind!("uac_plain_call", 2, Some("success"), NOW),
    kind!("uas_busy_486", 4, Some("linebusy"), ""),
    kind!("uas_declines_603", 4, Some("linebusy"), ""),
    kind!("uas_unavailable_480", 4, Some("cantbeconnected"), ""),
    kind!("uas_never_answers_cancelled", 4, Some("nooneheard"), SHORT_RING),
    kind!("uas_answer_races_cancel", 4, Some("nooneheard"), SHORT_RING),
    kind!("uas_never_responds", 1, Some("cantbeconnected"), ""),
    kind!("uas_reinvites_against_bye", 4, Some("success"), A_SECOND, DEAF),
    kind!("uas_hangs_up_with_us", 4, Some("success"), A_SECOND, DEAF),
    kind!("uas_ignores_bye", 1, Some("success"), A_SECOND),
    kind!("uas_hangs_up_after_a_while", 2, Some("success"), "", &["-d", "2000"]),
];

impl Kind {
    /// Whether the server dials it.
    pub(super) fn is_dialled(&self) -> bool {
        self.name.starts_with("uas_")
    }
}

/// A kind, and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unruly {
    pub(super) kind: &'static Kind,
    pub(super) at: SocketAddr,
}

/// One for each kind.
pub(super) fn addresses() -> impl Iterator<Item = Ipv4Addr> {
    (1..).map(|last| Ipv4Addr::new(127, 0, 1, last)).take(KINDS.len())
}

/// All of them, each at an address and a port of its own, from this port on.
pub(super) fn all(first: u16) -> Vec<Unruly> {
    KINDS.iter().zip(addresses().zip(first..)).map(|(kind, at)| Unruly { kind, at: at.into() }).collect()
}

impl Unruly {
    /// Its trunk's profile.
    pub(super) fn profile(&self) -> (&'static str, String) {
        let text =
            format!("[peer]\naddress = \"{}\"\n[identity]\ncaller = \"4930123456\"\n{}", self.at, self.kind.profile);
        (self.kind.name, text)
    }
}

/// How many calls each of these has of so many, by weight; all are given.
pub(super) fn shares(of: &[Unruly], calls: u32) -> Vec<u32> {
    let all: u64 = of.iter().map(|unruly| u64::from(unruly.kind.weight)).sum();
    let (mut weight, mut given) = (0, 0);
    let share = |unruly: &Unruly| {
        weight += u64::from(unruly.kind.weight);
        let up_to = (u64::from(calls) * weight / all.max(1)) as u32;
        up_to - std::mem::replace(&mut given, up_to)
    };
    of.iter().map(share).collect()
}

/// What calls have come to: by trunk, then by outcome.
pub(super) type Outcomes = BTreeMap<String, BTreeMap<String, u64>>;

/// As a page of metrics tells it.
pub(super) fn outcomes(page: &str) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for (labels, value) in metric_lines(page, "trunkline_calls_ended_total") {
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            rest.split('"').next().map(str::to_owned)
        };
        let (Some(trunk), Some(outcome)) = (label("trunk"), label("outcome")) else { continue };
        *outcomes.entry(trunk).or_default().entry(outcome).or_default() += value as u64;
    }
    outcomes
}

/// What has been added since.
pub(super) fn since(now: Outcomes, before: &Outcomes) -> Outcomes {
    let less = |trunk: &str, outcome: &str| before.get(trunk).and_then(|of| of.get(outcome)).copied().unwrap_or(0);
    let of_trunk = |(trunk, of): (String, BTreeMap<String, u64>)| {
        let of: BTreeMap<_, _> = of
            .into_iter()
            .map(|(outcome, count)| (outcome.clone(), count - less(&trunk, &outcome)))
            .filter(|(_, count)| *count > 0)
            .collect();
        (trunk, of)
    };
    now.into_iter().map(of_trunk).filter(|(_, of)| !of.is_empty()).collect()
}

/// What calls of a trunk must have come to: the outcome, and how many.
pub(super) type Expected<'a> = (&'a str, Option<&'a str>, u32);

impl Kind {
    pub(super) fn expected(&self, calls: u32) -> Expected<'static> {
        (self.name, self.outcome, calls)
    }
}

/// Where calls have not come to what they must, in words.
pub(super) fn unexpected(seen: &Outcomes, expected: &[Expected]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (trunk, outcome, calls) in expected {
        let wanted: BTreeMap<_, _> =
            outcome.filter(|_| *calls > 0).map(|outcome| (outcome.to_owned(), u64::from(*calls))).into_iter().collect();
        let none = BTreeMap::new();
        let got = seen.get(*trunk).unwrap_or(&none);
        if *got != wanted {
            wrong.push(format!("{trunk}: {got:?} in place of {wanted:?}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_given_to_somebody() {
        let all = all(61_000);
        for calls in [0, 1, 7, 100, 20_001] {
            let shares = shares(&all, calls);
            assert_eq!(shares.iter().sum::<u32>(), calls);
        }
        let shares = shares(&all, 6_800);
        let of = |name: &str| shares[all.iter().position(|unruly| unruly.kind.name == name).expect("it is one")];
        assert_eq!((of("uac_never_acks"), of("uas_busy_486")), (100, 400));
        assert_eq!(super::shares(&[], 5), Vec::<u32>::new());
    }

    #[test]
    fn what_calls_come_to_is_held_against_what_they_must() {
        let page = |busy: u32| {
            format!(
                "trunkline_calls_ended_total{{trunk=\"a\",direction=\"outbound\",outcome=\"linebusy\"}} {busy}\n\
                 trunkline_calls_ended_total{{trunk=\"a\",direction=\"inbound\",outcome=\"success\"}} 5\n"
            )
        };
        let seen = since(outcomes(&page(9)), &outcomes(&page(2)));
        assert_eq!(
            unexpected(&seen, &[("a", Some("linebusy"), 7), ("b", None, 3), ("c", Some("success"), 0)]),
            [""; 0]
        );
        assert_eq!(unexpected(&seen, &[("a", Some("linebusy"), 8)]).len(), 1);
        assert_eq!(unexpected(&seen, &[("a", Some("success"), 7)]).len(), 1);
        assert_eq!(unexpected(&seen, &[("b", Some("success"), 1)]).len(), 1);
        assert_eq!(unexpected(&seen, &[("a", None, 7)]).len(), 1);
    }
}
