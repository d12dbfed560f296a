//! ITU-T G.107: what a line is worth to who listens, told as the rating R (0 to 100) and as a mean opinion score.
//!
//! Of the E-model's terms those are taken that a gateway can know, the others at their defaults, as operators' probes do:
//!
//! | term      | from                                                                                     |
//! |-----------|------------------------------------------------------------------------------------------|
//! | Ro − Is   | 93.2, all defaults of G.107                                                              |
//! | Id        | 0.024·d + 0.11·(d − 177.3) above 177.3 ms: the well-known fit (Cole and Rosenbluth, 2001) |
//! | Ie-eff    | Ie + (95 − Ie)·Ppl ∕ (Ppl ∕ BurstR + Bpl), G.107 section 7.5, with Ppl in percent        |
//! | A         | 0: a fixed line                                                                          |

/// How a coding bears losses: ITU-T G.113, appendix I.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coding {
    /// The impairment without any loss.
    pub ie: f32,
    /// The robustness against losses.
    pub bpl: f32,
}

impl Coding {
    /// G.711 with concealment as in its appendix I, which is ours.
    pub const G711: Coding = Coding { ie: 0.0, bpl: 25.1 };
    /// G.711 without concealment.
    pub const G711_BARE: Coding = Coding { ie: 0.0, bpl: 4.3 };
    /// G.722 at 64 kbit/s. G.113 rates it on the wide-band scale (Ie 13, Bpl 4.9), of which 35.8 points lie above a faultless narrow-band
    /// line: on this scale nothing is left of its Ie.
    pub const G722: Coding = Coding { ie: 0.0, bpl: 4.9 };
    /// Opus: the ITU has published no values. It conceals no worse than G.711's appendix I, whose values stand in.
    pub const OPUS: Coding = Coding::G711;
}

/// The rating of a line, 0 to 93.2.
///
/// `bad` is the share of packets lost or discarded, 0 to 1; `burst_ratio` G.107's BurstR, 1 for losses at random; `one_way_ms` the delay from
/// mouth to ear: 0 for how it sounds, without regard to how it talks.
pub fn rating(coding: Coding, bad: f32, burst_ratio: f32, one_way_ms: f32) -> f32 {
    let percent = bad.clamp(0.0, 1.0) * 100.0;
    let loss = coding.ie + (95.0 - coding.ie) * percent / (percent / burst_ratio.max(1.0) + coding.bpl);
    let late = 0.024 * one_way_ms + 0.11 * (one_way_ms - 177.3).max(0.0);
    (93.2 - late - loss).max(0.0)
}

/// The mean opinion score of a rating, 1 to 4.5 (G.107, annex B).
pub fn opinion(rating: f32) -> f32 {
    let r = rating.clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(is: f32, should: f32) {
        assert!((is - should).abs() < 0.051, "{is} is not {should}");
    }

    #[test]
    fn opinions_are_those_of_the_annex() {
        // G.107 annex B, table B.1: the lower limits of the categories.
        for (r, mos) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58), (0.0, 1.0), (100.0, 4.5)]
        {
            near(opinion(r), mos);
        }
        assert!((0..1000).all(|n| (1.0..=4.5).contains(&opinion(n as f32 / 10.0))));
        near(opinion(rating(Coding::G711, 0.0, 1.0, 0.0)), 4.41);
    }

    #[test]
    fn losses_cost_as_the_appendix_has_it() {
        // G.113 appendix I, worked by hand: 95·2/(2 + 25.1) and 95·2/(2 + 4.3).
        near(rating(Coding::G711, 0.02, 1.0, 0.0), 93.2 - 7.011);
        near(rating(Coding::G711_BARE, 0.02, 1.0, 0.0), 93.2 - 30.159);
        // In bursts of twice the length: 95·2/(1 + 25.1).
        near(rating(Coding::G711, 0.02, 2.0, 0.0), 93.2 - 7.280);
        assert_eq!(rating(Coding::G711, 1.0, 1e9, 10_000.0), 0.0);
    }

    #[test]
    fn delay_costs_little_up_to_a_point() {
        near(rating(Coding::G711, 0.0, 1.0, 100.0), 93.2 - 2.4);
        near(rating(Coding::G711, 0.0, 1.0, 277.3), 93.2 - 6.655 - 11.0);
    }
}
