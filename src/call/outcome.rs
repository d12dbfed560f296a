//! How a call that was not answered ended, from what told it. Who is nearest to the truth is believed first:
//!
//! 1. an announcement before the answer that says something of the number: operators refuse numbers out of service, switched off and
//!    unknown with one cause and one status, and say to people which of them it is;
//! 2. the Q.850 cause in a Reason header (RFC 3326), where it says something of the number: gateways make one SIP status of many causes;
//! 3. a SIP status that does: 404, 410, 484, 604; 486, 600, 603;
//! 4. a tone heard before the answer: unobtainable, intercept and vacant before busy, busy before the others, any before ringing; or an
//!    announcement that only says that there is no way just now, or that nobody answers: which of the two says more, the announcement if both
//!    say as much;
//! 5. any other cause, then any other status: what both say of the way there.
//!
//! A call that we give up, since nobody answers, has only what was heard.

use super::line::HungUpBy;
use super::record::Outcome;
use crate::dsp::tone::progress::{Heard, Special};
use crate::sip::message::Reason;

/// What was heard before the answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hints {
    pub(super) tone: Option<Heard>,
    pub(super) announcement: Option<Outcome>,
}

impl Hints {
    /// An announcement that says something of the number.
    fn sure(self) -> Option<Outcome> {
        self.announcement.filter(says_of_the_number)
    }

    /// What says most.
    fn most(self) -> Option<Outcome> {
        let tone = self.tone.and_then(of_tone);
        let heavier = |tone: &Outcome| self.announcement.is_none_or(|said| weight(*tone) > weight(said));
        tone.filter(heavier).or(self.announcement)
    }
}

fn says_of_the_number(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Cantbeconnected | Outcome::Nooneheard)
}

/// What a refusal means.
pub(super) fn of_refusal(code: u16, reasons: &[Reason], rang: bool, heard: Hints) -> Outcome {
    let cause = reasons.iter().find(|reason| reason.is_q850()).and_then(|reason| reason.cause);
    let cause = cause.and_then(of_cause);
    heard
        .sure()
        .or_else(|| cause.filter(says_of_the_number))
        .or_else(|| of_sure_status(code))
        .or_else(|| heard.most())
        .or(cause)
        .unwrap_or_else(|| of_status(code, rang))
}

/// What it means that nobody has answered in time.
pub(super) fn of_silence(rang: bool, heard: Hints) -> Outcome {
    let silence = if rang { Outcome::Nooneheard } else { Outcome::Cantbeconnected };
    heard.sure().or_else(|| heard.most()).unwrap_or(silence)
}

/// How much an outcome says of why there is no answer.
pub(super) fn weight(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Notexist | Outcome::Stopped | Outcome::Poweroff => 4,
        Outcome::Linebusy => 3,
        Outcome::Cantbeconnected => 2,
        Outcome::Nooneheard => 1,
        _ => 0,
    }
}

/// What a tone means.
pub(super) fn of_tone(heard: Heard) -> Option<Outcome> {
    match heard {
        Heard::Ringback => Some(Outcome::Nooneheard),
        Heard::Busy => Some(Outcome::Linebusy),
        Heard::Unobtainable | Heard::Special(Special::Intercept | Special::Vacant) => Some(Outcome::Notexist),
        Heard::Congestion | Heard::Special(Special::Reorder | Special::NoCircuit | Special::Plain) => {
            Some(Outcome::Cantbeconnected)
        }
        Heard::Silence => None,
    }
}

/// Whether nothing comes after such a tone; after a special one comes an announcement.
pub(super) fn ends_the_call(heard: Heard) -> bool {
    matches!(heard, Heard::Busy | Heard::Congestion | Heard::Unobtainable)
}

/// Which of two tones says more of why there is no answer.
pub(super) fn weightier(before: Option<Heard>, heard: Heard) -> Option<Heard> {
    let weight = |heard: Heard| of_tone(heard).map_or(0, weight);
    before.filter(|before| weight(*before) >= weight(heard)).or(Some(heard))
}

/// ITU-T Q.850 table 1.
fn of_cause(cause: u16) -> Option<Outcome> {
    Some(match cause {
        // Unallocated number; number changed; invalid number format.
        1 | 22 | 28 => Outcome::Notexist,
        // User busy; call rejected.
        17 | 21 => Outcome::Linebusy,
        // No user responding; no answer.
        18 | 19 => Outcome::Nooneheard,
        // Subscriber absent.
        20 => Outcome::Poweroff,
        // Destination out of order.
        27 => Outcome::Stopped,
        // No route; no circuit; network out of order; temporary failure; congestion; resource unavailable.
        2 | 3 | 34 | 38 | 41 | 42 | 44 | 47 => Outcome::Cantbeconnected,
        _ => return None,
    })
}

/// RFC 3261 §21, as RFC 3398 §8.2.6.1 maps it from causes: what says something of the number.
fn of_sure_status(code: u16) -> Option<Outcome> {
    match code {
        404 | 410 | 484 | 604 => Some(Outcome::Notexist),
        486 | 600 | 603 => Some(Outcome::Linebusy),
        _ => None,
    }
}

/// And the others.
fn of_status(code: u16, rang: bool) -> Outcome {
    match code {
        408 | 480 | 487 if rang => Outcome::Nooneheard,
        408 | 480 | 487 | 500 | 502 | 503 | 504 => Outcome::Cantbeconnected,
        _ => Outcome::Else,
    }
}

/// Why we end a call, for the Reason of our BYE or CANCEL (RFC 3326). `rang` and `answered`: how far it had come.
pub(super) fn of_goodbye(by: HungUpBy, rang: bool, answered: bool) -> Reason {
    match (by, rang, answered) {
        (HungUpBy::Network, _, true) => Reason::q850(41, "Temporary failure"),
        (HungUpBy::Network, true, false) => Reason::q850(19, "No answer from user"),
        (HungUpBy::Network, false, false) => Reason::q850(18, "No user responding"),
        _ => Reason::q850(16, "Normal call clearing"),
    }
}

/// The cause that goes with a refusal of ours (RFC 3398 §8.2.6.1); none where that has none.
pub(super) fn of_our_refusal(code: u16) -> Option<Reason> {
    let (cause, text) = match code {
        404 | 485 | 604 => (1, "Unallocated number"),
        486 | 600 => (17, "User busy"),
        480 => (18, "No user responding"),
        401 | 402 | 403 | 407 | 603 => (21, "Call rejected"),
        410 => (22, "Number changed"),
        482 | 483 => (25, "Exchange routing error"),
        484 => (28, "Invalid number format"),
        502 => (38, "Network out of order"),
        400 | 481 | 500 | 503 => (41, "Temporary failure"),
        405 => (63, "Service or option not available"),
        406 | 415 | 501 => (79, "Service or option not implemented"),
        488 | 606 => (88, "Incompatible destination"),
        408 | 504 => (102, "Recovery on timer expiry"),
        _ => return None,
    };
    Some(Reason::q850(cause, text))
}

/// Reason phrase and Reason headers in one line.
pub(super) fn told(phrase: &str, reasons: &[Reason]) -> String {
    let all = std::iter::once(phrase.to_owned()).chain(reasons.iter().map(Reason::to_string));
    all.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(tone: Heard) -> Hints {
        Hints { tone: Some(tone), announcement: None }
    }

    fn said(announcement: Outcome) -> Hints {
        Hints { tone: None, announcement: Some(announcement) }
    }

    #[test]
    fn a_refusal_of_ours_means_to_others_what_theirs_mean_to_us() {
        for code in [404, 410, 484, 486, 600, 604] {
            let reason = of_our_refusal(code).expect("it has a cause");
            assert_eq!(Some(of_refusal(503, &[reason], true, Hints::default())), of_sure_status(code), "{code}");
        }
        let reason = of_our_refusal(480).expect("it has a cause");
        assert_eq!(of_refusal(503, &[reason], true, Hints::default()), of_status(480, true));
        assert_eq!(of_our_refusal(487), None);
    }

    #[test]
    fn a_tone_is_believed_where_cause_and_status_say_nothing_of_the_number() {
        let q850 = |cause| vec![Reason::parse(&format!("Q.850;cause={cause}")).expect("well-formed")];
        let vacant = Heard::Special(Special::Vacant);
        assert_eq!(of_refusal(480, &[], true, tone(Heard::Busy)), Outcome::Linebusy);
        assert_eq!(of_refusal(503, &q850(41), false, tone(vacant)), Outcome::Notexist);
        assert_eq!(of_refusal(480, &q850(18), true, tone(Heard::Congestion)), Outcome::Cantbeconnected);
        assert_eq!(of_refusal(480, &[], false, tone(Heard::Ringback)), Outcome::Nooneheard, "it rang after all");
        assert_eq!(of_refusal(480, &[], false, tone(Heard::Silence)), Outcome::Cantbeconnected);
        assert_eq!(of_refusal(486, &[], true, tone(vacant)), Outcome::Linebusy, "the status is sure");
        assert_eq!(of_refusal(480, &q850(20), true, tone(Heard::Busy)), Outcome::Poweroff, "the cause is sure");
        assert_eq!(of_silence(true, tone(Heard::Busy)), Outcome::Linebusy);
        assert_eq!(
            (of_silence(true, Hints::default()), of_silence(false, Hints::default())),
            (Outcome::Nooneheard, Outcome::Cantbeconnected)
        );
    }

    #[test]
    fn an_announcement_of_the_number_is_believed_before_cause_and_status() {
        let q850 = |cause| vec![Reason::parse(&format!("Q.850;cause={cause}")).expect("well-formed")];
        for outcome in [Outcome::Notexist, Outcome::Stopped, Outcome::Poweroff, Outcome::Linebusy] {
            assert_eq!(of_refusal(404, &[], true, said(outcome)), outcome);
            assert_eq!(
                of_refusal(404, &q850(1), true, said(outcome)),
                outcome,
                "operators refuse all of these with cause 1"
            );
            assert_eq!(of_refusal(486, &q850(17), true, said(outcome)), outcome);
            assert_eq!(of_silence(true, said(outcome)), outcome);
            assert_eq!(of_silence(true, Hints { tone: Some(Heard::Unobtainable), ..said(outcome) }), outcome);
        }
    }

    #[test]
    fn an_announcement_of_the_way_is_believed_after_cause_and_status_of_the_number() {
        let q850 = |cause| vec![Reason::parse(&format!("Q.850;cause={cause}")).expect("well-formed")];
        let (no_way, nobody) = (Outcome::Cantbeconnected, Outcome::Nooneheard);
        assert_eq!(of_refusal(480, &q850(20), true, said(no_way)), Outcome::Poweroff);
        assert_eq!(of_refusal(486, &[], true, said(no_way)), Outcome::Linebusy);
        assert_eq!(of_refusal(480, &q850(18), true, said(no_way)), no_way);
        assert_eq!(of_refusal(503, &[], false, said(nobody)), nobody);
        assert_eq!((of_silence(false, said(nobody)), of_silence(true, said(no_way))), (nobody, no_way));
        let both = |tone, announcement| of_silence(true, Hints { tone: Some(tone), announcement: Some(announcement) });
        assert_eq!(both(Heard::Busy, no_way), Outcome::Linebusy, "the tone says more");
        assert_eq!(both(Heard::Ringback, no_way), no_way);
        assert_eq!(both(Heard::Silence, nobody), nobody);
    }

    #[test]
    fn the_tone_that_says_most_is_kept() {
        let kept = |tones: &[Heard]| tones.iter().fold(None, |before, heard| weightier(before, *heard));
        assert_eq!(kept(&[Heard::Ringback, Heard::Busy, Heard::Silence]), Some(Heard::Busy));
        assert_eq!(kept(&[Heard::Unobtainable, Heard::Busy]), Some(Heard::Unobtainable));
        assert_eq!(kept(&[Heard::Silence, Heard::Ringback]), Some(Heard::Ringback));
        assert_eq!(kept(&[]), None);
    }

    #[test]
    fn a_goodbye_says_how_far_the_call_had_come() {
        let cause = |by, rang, answered| of_goodbye(by, rang, answered).cause;
        assert_eq!(cause(HungUpBy::Robot, true, true), Some(16));
        assert_eq!(cause(HungUpBy::Operator, false, false), Some(16));
        assert_eq!(cause(HungUpBy::Network, true, true), Some(41));
        assert_eq!(cause(HungUpBy::Network, true, false), Some(19));
        assert_eq!(cause(HungUpBy::Network, false, false), Some(18));
    }

    #[test]
    fn the_cause_is_believed_before_the_status() {
        let q850 = |cause| vec![Reason::parse(&format!("Q.850;cause={cause}")).expect("well-formed")];
        assert_eq!(of_refusal(486, &[], true, Hints::default()), Outcome::Linebusy);
        assert_eq!(of_refusal(404, &[], false, Hints::default()), Outcome::Notexist);
        assert_eq!(of_refusal(480, &[], true, Hints::default()), Outcome::Nooneheard);
        assert_eq!(of_refusal(480, &[], false, Hints::default()), Outcome::Cantbeconnected);
        assert_eq!(of_refusal(480, &q850(20), false, Hints::default()), Outcome::Poweroff);
        assert_eq!(of_refusal(503, &q850(1), false, Hints::default()), Outcome::Notexist);
        assert_eq!(
            of_refusal(503, &q850(127), false, Hints::default()),
            Outcome::Cantbeconnected,
            "interworking says nothing"
        );
        assert_eq!(of_refusal(403, &[], false, Hints::default()), Outcome::Else);
    }
}
