//! RFC 2198 §3 and §5: `red` in a description.
//!
//! ```text
//! m=audio 49170 RTP/AVP 8 101 121
//! a=rtpmap:121 red/8000
//! a=fmtp:121 101/101/8
//! ```
//! What the far side offers is taken, so that keys and words come through what it wants to bear with; we offer and send none. Our keys
//! are told by every packet of a press and three times at its end, sound said twice would take twice the room on a line that may be losing
//! packets for want of it, and trunks that do not know `red` exist.

use super::{Attribute, Media, Negotiated};

/// Redundant packets that the far side may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redundant {
    number: u8,
    /// As in `a=rtpmap`, behind the number.
    rtpmap: String,
    /// What may be in them.
    holds: Vec<u8>,
}

impl Redundant {
    /// What an offer says of it: of the clock of the sound that was agreed on, and of the formats in it those that were. What it holds has to be said.
    pub(super) fn of(media: &Media, agreed: &Negotiated) -> Option<Redundant> {
        let number = media.payload_type_of("red", agreed.codec.clock_rate())?;
        let known = [Some(agreed.payload_type), agreed.telephone_event];
        let holds = media.fmtp(number)?.split('/').filter_map(|format| format.trim().parse::<u8>().ok());
        let holds: Vec<u8> = holds.filter(|format| known.contains(&Some(*format))).collect();
        let channels = if media.channels(number) == 2 { "/2" } else { "" };
        let rtpmap = format!("red/{}{channels}", agreed.codec.clock_rate());
        (!holds.is_empty()).then_some(Redundant { number, rtpmap, holds })
    }

    /// Its payload type, both ways.
    pub(super) fn number(&self) -> u8 {
        self.number
    }

    /// How it is described.
    pub(super) fn attributes(&self) -> [Attribute; 2] {
        let holds: Vec<String> = self.holds.iter().map(u8::to_string).collect();
        [
            Attribute::new("rtpmap", format!("{} {}", self.number, self.rtpmap)),
            Attribute::new("fmtp", format!("{} {}", self.number, holds.join("/"))),
        ]
    }
}
