//! What a trunk's calls agree to beyond RFC 3261: RFC 3262 (`100rel`), RFC 4028 (`timer`), and who offers first.

use crate::sip::SUPPORTED;
use crate::sip::message::{HeaderName, Headers, Method, Request};

/// The option tag of RFC 3262.
pub(super) const RELIABLE: &str = "100rel";
/// The option tag of RFC 4028.
pub(super) const TIMER: &str = "timer";

/// How a trunk's calls are set up and kept up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Provisional responses that are acknowledged (RFC 3262).
    pub reliable: Reliability,
    /// Session timers (RFC 4028); `None`: we know nothing of them.
    pub timer: Option<TimerTerms>,
    /// Our INVITE has no SDP: the callee offers.
    pub delayed_offer: bool,
    /// How often in a call a 3xx is followed.
    pub redirects: u32,
}

/// Whether provisional responses are acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reliability {
    /// Never: a peer that requires it is refused with 420.
    Off,
    /// With every peer that can.
    #[default]
    Supported,
    /// Always: a peer that cannot is refused with 421, or refuses us with 420.
    Required,
}

/// Session timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerTerms {
    /// The interval that we ask for and agree to at most, in seconds.
    pub expires: u32,
    /// The shortest interval that we take, in seconds; 90 at least (§4).
    pub min_se: u32,
    /// Who refreshes, where we have the choice.
    pub refresher: Refresher,
}

/// Who refreshes a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresher {
    /// We.
    #[default]
    Us,
    /// The far end.
    Peer,
    /// As the callee likes it, which is the caller when that is us (§7.1 and §9).
    Any,
}

impl Default for TimerTerms {
    /// Half an hour, 90 s, by us.
    fn default() -> TimerTerms {
        TimerTerms { expires: 1_800, min_se: 90, refresher: Refresher::Us }
    }
}

impl Default for Terms {
    fn default() -> Terms {
        let timer = Some(TimerTerms::default());
        Terms { reliable: Reliability::Supported, timer, delayed_offer: false, redirects: 3 }
    }
}

impl Terms {
    /// The option tags that a call on these terms supports, comma-joined.
    pub(super) fn supported(&self) -> String {
        let tags: Vec<_> = SUPPORTED.iter().copied().filter(|tag| self.has(tag)).collect();
        tags.join(", ")
    }

    fn has(&self, tag: &str) -> bool {
        match tag {
            RELIABLE => self.reliable != Reliability::Off,
            TIMER => self.timer.is_some(),
            _ => SUPPORTED.contains(&tag),
        }
    }

    /// The option tags that the request requires and we lack, comma-joined. CANCEL and ACK are never held to Require (RFC 3261 §8.2.2.3).
    pub(super) fn unsupported(&self, request: &Request) -> Option<String> {
        if matches!(request.method(), Method::Ack | Method::Cancel) {
            return None;
        }
        let required = request.list(HeaderName::Require);
        // RFC 4488 §5: that a REFER is not told about, which costs nothing.
        let untold = |tag: &str| *request.method() == Method::Refer && tag.eq_ignore_ascii_case("norefersub");
        let missing: Vec<_> = required.filter(|tag| !self.has(&tag.to_ascii_lowercase()) && !untold(tag)).collect();
        (!missing.is_empty()).then(|| missing.join(", "))
    }
}

/// Whether one of the option tags of this header is the one.
pub(super) fn lists(message: &Headers, name: HeaderName, tag: &str) -> bool {
    message.list(name).any(|listed| listed.eq_ignore_ascii_case(tag))
}

/// Whether the sender supports an extension, or more than that.
pub(super) fn supports(message: &Headers, tag: &str) -> bool {
    lists(message, HeaderName::Supported, tag) || lists(message, HeaderName::Require, tag)
}
