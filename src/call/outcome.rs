//! How a call that was not answered ended, from what told it. Who is nearest to the truth is believed first:
//!
//! 1. the Q.850 cause in a Reason header (RFC 3326), where it says something of the number: gateways make one SIP status of many causes;
//! 2. a SIP status that does: 404, 410, 484, 604; 486, 600, 603;
//! 3. a tone heard before the answer: unobtainable, intercept and vacant before busy, busy before the others, any before ringing;
//! 4. any other cause, then any other status: what both say of the way there.
//!
//! A call that we give up, since nobody answers, has only the third.

use super::line::HungUpBy;
use super::record::Outcome;
use crate::dsp::tone::progress::{Heard, Special};
use crate::sip::message::Reason;

/// What a refusal means.
pub(super) fn of_refusal(code: u16, reasons: &[Reason], rang: bool, tone: Option<Heard>) -> Outcome {
    let cause = reasons.iter().find(|reason| reason.is_q850()).and_then(|reason| reason.cause);
    let cause = cause.and_then(of_cause);
    let sure = |outcome: &Outcome| !matches!(outcome, Outcome::Cantbeconnected | Outcome::Nooneheard);
    cause
        .filter(sure)
        .or_else(|| of_sure_status(code))
        .or_else(|| tone.and_then(of_tone))
        .or(cause)
        .unwrap_or_else(|| of_status(code, rang))
}

/// What it means that nobody has answered in time.
pub(super) fn of_silence(rang: bool, tone: Option<Heard>) -> Outcome {
    let silence = if rang { Outcome::Nooneheard } else { Outcome::Cantbeconnected };
    tone.and_then(of_tone).unwrap_or(silence)
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
    let weight = |heard: Heard| match heard {
        Heard::Silence => 0,
        Heard::Ringback => 1,
        Heard::Congestion | Heard::Special(Special::Reorder | Special::NoCircuit | Special::Plain) => 2,
        Heard::Busy => 3,
        Heard::Unobtainable | Heard::Special(Special::Intercept | Special::Vacant) => 4,
    };
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

    #[test]
    fn a_refusal_of_ours_means_to_others_what_theirs_mean_to_us() {
        for code in [404, 410, 484, 486, 600, 604] {
            let reason = of_our_refusal(code).expect("it has a cause");
            assert_eq!(Some(of_refusal(503, &[reason], true, None)), of_sure_status(code), "{code}");
        }
        let reason = of_our_refusal(480).expect("it has a cause");
        assert_eq!(of_refusal(503, &[reason], true, None), of_status(480, true));
        assert_eq!(of_our_refusal(487), None);
    }

    #[test]
    fn a_tone_is_believed_where_cause_and_status_say_nothing_of_the_number() {
        let q850 = |cause| vec![Reason::parse(&format!("Q.850;cause={cause}")).expect("well-formed")];
        let vacant = Heard::Special(Special::Vacant);
        assert_eq!(of_refusal(480, &[], true, Some(Heard::Busy)), Outcome::Linebusy);
        assert_eq!(of_refusal(503, &q850(41), false, Some(vacant)), Outcome::Notexist);
        assert_eq!(of_refusal(480, &q850(18), true, Some(Heard::Congestion)), Outcome::Cantbeconnected);
        assert_eq!(of_refusal(480, &[], false, Some(Heard::Ringback)), Outcome::Nooneheard, "it rang after all");
        assert_eq!(of_refusal(480, &[], false, Some(Heard::Silence)), Outcome::Cantbeconnected);
        assert_eq!(of_refusal(486, &[], true, Some(vacant)), Outcome::Linebusy, "the status is sure");
        assert_eq!(of_refusal(480, &q850(20), true, Some(Heard::Busy)), Outcome::Poweroff, "the cause is sure");
        assert_eq!(of_silence(true, Some(Heard::Busy)), Outcome::Linebusy);
        assert_eq!((of_silence(true, None), of_silence(false, None)), (Outcome::Nooneheard, Outcome::Cantbeconnected));
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
        assert_eq!(of_refusal(486, &[], true, None), Outcome::Linebusy);
        assert_eq!(of_refusal(404, &[], false, None), Outcome::Notexist);
        assert_eq!(of_refusal(480, &[], true, None), Outcome::Nooneheard);
        assert_eq!(of_refusal(480, &[], false, None), Outcome::Cantbeconnected);
        assert_eq!(of_refusal(480, &q850(20), false, None), Outcome::Poweroff);
        assert_eq!(of_refusal(503, &q850(1), false, None), Outcome::Notexist);
        assert_eq!(of_refusal(503, &q850(127), false, None), Outcome::Cantbeconnected, "interworking says nothing");
        assert_eq!(of_refusal(403, &[], false, None), Outcome::Else);
    }
}
