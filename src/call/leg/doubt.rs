//! Whether what the detector calls voice is one, where it would stop a prompt or make it pause: a second opinion is asked.
//!
//! It is asked from the frame on in which a voice counts under such a prompt, until there is no prompt or no voice. A leg has nobody of its own to
//! ask: whoever runs it lends it one, who is given back. Is there none, the detector's word stands.

use super::{FRAME, Leg, Outlet};
use crate::call::knobs::{BargeIn, OnBargeIn};
use crate::dsp::vad::Opinion;
use crate::ms::Ms;

/// About the voice that is heard.
#[derive(Debug, Default)]
pub(super) enum Doubt {
    /// There is none, or it matters to no prompt.
    #[default]
    No,
    /// There is, and nobody to ask.
    Alone,
    Asks(Box<Opinion>),
}

impl Doubt {
    /// Takes a frame that is heard; whether a voice in it would matter to a prompt, and with what was heard up to the end of this frame, for one
    /// who has heard nothing.
    fn hear(&mut self, matters: bool, frame: &[i16; FRAME], lately: &[i16], outlet: &mut impl Outlet) {
        match self {
            Doubt::No if matters => {
                *self = outlet.lend_opinion().map_or(Doubt::Alone, Doubt::Asks);
                if let Doubt::Asks(opinion) = self {
                    opinion.hear(lately);
                }
            }
            Doubt::Asks(opinion) if matters => opinion.hear(frame),
            Doubt::Alone if matters => {}
            _ => self.end(outlet),
        }
    }

    /// There is no voice any more, or nobody whom it concerns.
    pub(super) fn end(&mut self, outlet: &mut impl Outlet) {
        if let Doubt::Asks(opinion) = std::mem::take(self) {
            outlet.give_back(opinion);
        }
    }

    /// Whether the voice may stop a prompt for which so much speech is asked.
    fn allows(&mut self, min_speech: Ms) -> bool {
        match self {
            Doubt::Asks(opinion) => opinion.agrees(min_speech),
            Doubt::No | Doubt::Alone => true,
        }
    }
}

impl Leg {
    /// The caller has spoken under the prompt for long enough; since when.
    pub(super) fn speaks_into_it(&mut self) -> Option<Ms> {
        let enough = self.voiced_under.min(self.endpointer.voiced_ms()) >= self.knobs.min_speech;
        self.onset.filter(|_| enough && self.doubt.allows(self.knobs.min_speech))
    }

    /// Takes a frame that is heard, once it is known what the detector and the echo guard make of it.
    pub(super) fn doubt(&mut self, frame: &[i16; FRAME], outlet: &mut impl Outlet) {
        let by_voice = self.mouth.policy().is_some_and(|(by, _)| match by {
            BargeIn::Speech => true,
            BargeIn::Words => self.knobs.on_barge_in == OnBargeIn::Pause,
            BargeIn::Never => false,
        });
        let matters = by_voice && self.knobs.second_opinion && self.voiced_under > Ms(0);
        self.doubt.hear(matters, frame, self.vad.lately(), outlet);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::call::io::{HeardFrame, RecordedFrame};
    use crate::call::leg::LegEvent;

    /// Who is free, if anybody.
    struct Free(Option<Box<Opinion>>);

    impl Outlet for Free {
        fn event(&mut self, _: LegEvent) {}
        fn heard(&mut self, _: impl FnOnce() -> HeardFrame) {}
        fn record(&mut self, _: impl FnOnce() -> RecordedFrame) {}
        fn lend_opinion(&mut self) -> Option<Box<Opinion>> {
            self.0.take()
        }
        fn give_back(&mut self, opinion: Box<Opinion>) {
            self.0 = Some(opinion);
        }
        fn send(&mut self, _: SocketAddr, _: &[u8]) {}
        fn report(&mut self, _: SocketAddr, _: &[u8]) {}
    }

    /// What is a voice to nobody.
    const NOISE: [i16; FRAME] = [1_000; FRAME];

    #[test]
    fn who_is_asked_may_hold_a_prompt_and_who_finds_nobody_free_goes_by_the_detector() {
        let mut free = Free(Some(Box::default()));
        let [mut one, mut other] = [Doubt::No, Doubt::No];
        for doubt in [&mut one, &mut other] {
            (0..20).for_each(|_| doubt.hear(true, &NOISE, &NOISE, &mut free));
        }
        assert!(!one.allows(Ms(200)));
        assert!(other.allows(Ms(200)));
        // It does not ask in the middle of a voice.
        one.hear(false, &NOISE, &[], &mut free);
        assert!(free.0.is_some(), "it is given back");
        other.hear(true, &NOISE, &NOISE, &mut free);
        assert!(other.allows(Ms(200)) && free.0.is_some());
        // With the next one it does.
        other.hear(false, &NOISE, &[], &mut free);
        other.hear(true, &NOISE, &NOISE, &mut free);
        assert!(!other.allows(Ms(200)) && free.0.is_none());
        other.end(&mut free);
        assert!(free.0.is_some());
    }
}
