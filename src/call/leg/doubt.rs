//! Whether what the detector calls voice is one, where it would stop a prompt or make it pause: a second opinion is asked.
//!
//! It is asked from the frame on in which a voice counts under such a prompt, until there is no prompt, or no voice for 200 ms: a cough's voice
//! comes that long after its burst. A leg has nobody of its own to ask: whoever runs it lends it one, who is given back. Is there none, the
//! detector's word stands.

use super::{FRAME, Leg, Outlet};
use crate::call::knobs::{BargeIn, OnBargeIn};
use crate::dsp::vad::Opinion;
use crate::ms::Ms;

/// Frames without a voice after which the next one is another.
const PAUSE: u8 = 10;

/// About the voice that is heard.
#[derive(Debug, Default)]
pub(super) enum Doubt {
    /// There is none, or it matters to no prompt.
    #[default]
    No,
    /// There is, and nobody to ask.
    Alone,
    Asks {
        opinion: Box<Opinion>,
        /// For how many frames there has been no voice.
        silent: u8,
        /// Frames that it has heard before their turn.
        early: usize,
    },
}

impl Doubt {
    /// Takes a frame that is heard; whether a voice would matter to a prompt, whether there is one, and what was heard up to the end of this frame, for
    /// one who has heard nothing.
    fn hear(&mut self, matters: bool, voice: bool, frame: &[i16; FRAME], lately: &[i16], outlet: &mut impl Outlet) {
        match self {
            Doubt::No if matters && voice => {
                *self =
                    outlet.lend_opinion().map_or(Doubt::Alone, |opinion| Doubt::Asks { opinion, silent: 0, early: 0 });
                if let Doubt::Asks { opinion, .. } = self {
                    opinion.hear(lately);
                }
            }
            Doubt::Asks { opinion, silent, early } if matters && (voice || *silent < PAUSE) => {
                *silent = if voice { 0 } else { *silent + 1 };
                match early {
                    0 => opinion.hear(frame),
                    _ => *early -= 1,
                }
            }
            Doubt::Alone if matters && voice => {}
            _ => self.end(outlet),
        }
    }

    /// Takes a frame before its turn, `later` frames after the next one.
    pub(super) fn hear_early(&mut self, later: usize, frame: &[i16; FRAME]) {
        if let Doubt::Asks { opinion, early, .. } = self
            && *early == later
        {
            opinion.hear(frame);
            *early += 1;
        }
    }

    /// There is no voice any more, or nobody whom it concerns.
    pub(super) fn end(&mut self, outlet: &mut impl Outlet) {
        if let Doubt::Asks { opinion, .. } = std::mem::take(self) {
            outlet.give_back(opinion);
        }
    }

    /// Whether the voice may stop a prompt for which so much speech is asked.
    pub(super) fn allows(&mut self, min_speech: Ms) -> bool {
        match self {
            Doubt::Asks { opinion, .. } => opinion.agrees(min_speech),
            Doubt::No | Doubt::Alone => true,
        }
    }
}

impl Leg {
    /// Takes a frame that is heard, once it is known what the detector and the echo guard make of it.
    pub(super) fn doubt(&mut self, frame: &[i16; FRAME], outlet: &mut impl Outlet) {
        let by_voice = self.mouth.policy().is_some_and(|(by, _)| match by {
            BargeIn::Speech => true,
            BargeIn::Words => self.knobs.on_barge_in == OnBargeIn::Pause,
            BargeIn::Never => false,
        });
        let matters = by_voice && self.knobs.second_opinion;
        self.doubt.hear(matters, self.voiced_under > Ms(0), frame, self.vad.lately(), outlet);
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
            (0..20).for_each(|_| doubt.hear(true, true, &NOISE, &NOISE, &mut free));
        }
        assert!(!one.allows(Ms(200)));
        assert!(other.allows(Ms(200)));
        // It does not ask in the middle of a voice.
        one.hear(false, true, &NOISE, &[], &mut free);
        assert!(free.0.is_some(), "it is given back");
        other.hear(true, true, &NOISE, &NOISE, &mut free);
        assert!(other.allows(Ms(200)) && free.0.is_some());
        // With the next one it does.
        other.hear(true, false, &NOISE, &[], &mut free);
        other.hear(true, true, &NOISE, &NOISE, &mut free);
        assert!(!other.allows(Ms(200)) && free.0.is_none());
        other.end(&mut free);
        assert!(free.0.is_some());
    }

    #[test]
    fn a_frame_that_is_heard_before_its_turn_is_not_heard_again() {
        let sound: Vec<[i16; FRAME]> = (0..24i32)
            .map(|n| std::array::from_fn(|at| ((n * 160 + at as i32) * 7_919 % 4_001 - 2_000) as i16))
            .collect();
        let heard = |early: &[usize]| {
            let mut free = Free(Some(Box::default()));
            let mut doubt = Doubt::No;
            for (n, frame) in sound.iter().enumerate() {
                doubt.hear(true, true, frame, frame, &mut free);
                let ahead = early.get(n).copied().unwrap_or(0);
                sound[n + 1..].iter().take(ahead).enumerate().for_each(|(later, frame)| doubt.hear_early(later, frame));
            }
            let Doubt::Asks { opinion, early: 0, .. } = doubt else { panic!("{doubt:?}") };
            format!("{opinion:?}")
        };
        // Whatever waits: one frame, or none, or five after a gap.
        assert_eq!(heard(&[]), heard(&[0, 1, 1, 0, 5, 4, 3, 3, 0, 0, 2, 0, 0, 5, 5, 5]));
    }

    #[test]
    fn a_pause_of_200_ms_is_part_of_a_voice_and_a_longer_one_ends_it() {
        let mut free = Free(Some(Box::default()));
        let mut doubt = Doubt::No;
        for _ in 0..2 {
            doubt.hear(true, true, &NOISE, &NOISE, &mut free);
            (0..PAUSE).for_each(|_| doubt.hear(true, false, &NOISE, &[], &mut free));
            assert!(free.0.is_none());
        }
        doubt.hear(true, false, &NOISE, &[], &mut free);
        assert!(free.0.is_some());
    }
}
