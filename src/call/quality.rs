//! How a call's line is watched while the call is up: looked at every so often, and told when somebody asked for it or when it gets poor.

use std::time::{Duration, Instant};

use super::record::Look;
use crate::ms::Ms;
use crate::sdp::Willing;

/// A line that nobody wants to hear of regularly is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A line that was poor is well again only when it is better than the threshold by this: it does not flicker.
const MARGIN: f32 = 0.2;

/// What the calls of a trunk do about packets, RTCP and the quality of their lines.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LineRules {
    /// The packets that the far end is asked for.
    pub ptime: Ms,
    /// RTCP over the RTP port (RFC 5761).
    pub rtcp_mux: Willing,
    /// Extended reports (RFC 3611), ours and the far end's.
    pub rtcp_xr: Willing,
    /// Ours go out though nobody asks for them.
    pub xr_unasked: bool,
    /// [`What::Quality`](super::event::What::Quality) so often; `None`: only when the line gets poor, or well again.
    pub tell_every: Option<Duration>,
    /// What is poor: a mean opinion score below this; `None`: nothing is.
    pub poor_below: Option<f32>,
}

impl Default for LineRules {
    /// Packets are of 20 ms; what is offered is accepted; a line is poor below 3.1, which is R 60, "nearly all users dissatisfied" (ITU-T G.109).
    fn default() -> LineRules {
        LineRules {
            ptime: Ms(20),
            rtcp_mux: Willing::Accept,
            rtcp_xr: Willing::Accept,
            xr_unasked: false,
            tell_every: None,
            poor_below: Some(3.1),
        }
    }
}

/// Why the quality of a line is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// It was asked for.
    Regular,
    /// It has fallen below the threshold.
    Poor,
    /// It has risen above it again.
    Well,
}

impl Occasion {
    /// As the contract writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Occasion::Regular => "regular",
            Occasion::Poor => "poor",
            Occasion::Well => "well",
        }
    }
}

/// Watches one line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LineWatch {
    poor: bool,
}

impl LineWatch {
    /// When the line is to be looked at next; `None`: never.
    pub(super) fn next(rules: &LineRules, now: Instant) -> Option<Instant> {
        let every = rules.tell_every.or(rules.poor_below.map(|_| LOOK_EVERY))?;
        Some(now + every)
    }

    /// Whether this is to be told, and why.
    pub(super) fn judge(&mut self, rules: &LineRules, look: &Look) -> Option<Occasion> {
        let turned = rules.poor_below.zip(look.lately).and_then(|(threshold, lately)| {
            let (was, is) = (self.poor, lately.mos_lq);
            self.poor = if was { is < threshold + MARGIN } else { is < threshold };
            match (was, self.poor) {
                (false, true) => Some(Occasion::Poor),
                (true, false) => Some(Occasion::Well),
                _ => None,
            }
        });
        turned.or(rules.tell_every.map(|_| Occasion::Regular))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::record::Lately;
    use crate::ms::epoch;

    fn judged(rules: &LineRules, scores: &[Option<f32>]) -> Vec<Option<Occasion>> {
        let mut watch = LineWatch::default();
        let look = |mos: &Option<f32>| Look {
            lately: mos.map(|mos_lq| Lately { loss_rate: 0.0, discard_rate: 0.0, mos_lq }),
            ..Look::default()
        };
        scores.iter().map(|mos| watch.judge(rules, &look(mos))).collect()
    }

    #[test]
    fn a_line_is_told_when_it_turns_poor_and_when_it_is_well_again() {
        let scores = [Some(4.4), Some(3.0), Some(2.0), Some(3.2), None, Some(3.4), Some(3.2), Some(3.0)];
        let (poor, well, regular) = (Some(Occasion::Poor), Some(Occasion::Well), Some(Occasion::Regular));
        let rules = LineRules::default();
        assert_eq!(judged(&rules, &scores), [None, poor, None, None, None, well, None, poor]);
        let rules = LineRules { tell_every: Some(Duration::from_secs(3)), ..rules };
        assert_eq!(
            judged(&rules, &scores),
            [regular, poor, regular, regular, regular, well, regular, poor],
            "a silent line is told too"
        );
    }

    #[test]
    fn a_line_is_looked_at_only_for_a_reason() {
        let now = epoch();
        let rules = |tell_s: Option<u64>, poor_below| LineRules {
            tell_every: tell_s.map(Duration::from_secs),
            poor_below,
            ..LineRules::default()
        };
        for (rules, seconds) in [
            (rules(None, None), None),
            (rules(None, Some(3.1)), Some(10)),
            (rules(Some(2), Some(3.1)), Some(2)),
            (rules(Some(60), None), Some(60)),
        ] {
            assert_eq!(LineWatch::next(&rules, now), seconds.map(|s| now + Duration::from_secs(s)));
        }
        assert_eq!(judged(&rules(None, None), &[Some(1.0)]), [None]);
    }
}
