//! How a call that was not answered ended, from what told it: the SIP status, and the Q.850 cause in a Reason header (RFC 3326), which
//! is nearer to the truth where a gateway has made a SIP status of it. Tones and announcements join them in a later issue.

use super::record::Outcome;
use crate::sip::message::Reason;

/// What a refusal means.
pub(super) fn of_refusal(code: u16, reasons: &[Reason], rang: bool) -> Outcome {
    let cause = reasons.iter().find(|reason| reason.is_q850()).and_then(|reason| reason.cause);
    cause.and_then(of_cause).unwrap_or_else(|| of_status(code, rang))
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

/// RFC 3261 §21, as RFC 3398 §8.2.6.1 maps it from causes.
fn of_status(code: u16, rang: bool) -> Outcome {
    match code {
        404 | 410 | 484 | 604 => Outcome::Notexist,
        486 | 600 | 603 => Outcome::Linebusy,
        408 | 480 | 487 if rang => Outcome::Nooneheard,
        408 | 480 | 487 | 500 | 502 | 503 | 504 => Outcome::Cantbeconnected,
        _ => Outcome::Else,
    }
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
    fn the_cause_is_believed_before_the_status() {
        let q850 = |cause| vec![Reason::parse(&format!("Q.850;cause={cause}")).expect("well-formed")];
        assert_eq!(of_refusal(486, &[], true), Outcome::Linebusy);
        assert_eq!(of_refusal(404, &[], false), Outcome::Notexist);
        assert_eq!(of_refusal(480, &[], true), Outcome::Nooneheard);
        assert_eq!(of_refusal(480, &[], false), Outcome::Cantbeconnected);
        assert_eq!(of_refusal(480, &q850(20), false), Outcome::Poweroff);
        assert_eq!(of_refusal(503, &q850(1), false), Outcome::Notexist);
        assert_eq!(of_refusal(503, &q850(127), false), Outcome::Cantbeconnected, "interworking says nothing");
        assert_eq!(of_refusal(403, &[], false), Outcome::Else);
    }
}
