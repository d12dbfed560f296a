//! Where a voice begins and ends as the server's own detector hears it on a line without a network.

use super::wire::FRAME;
use crate::codec::g711::Law;
use crate::dsp::endpoint::{Boundary, EndpointKnobs, Endpointer};
use crate::dsp::vad::Vad;
use crate::ms::Ms;

/// The first utterance in these frames of A-law, if there is one that ends: its onset, and its end.
pub(in crate::command) fn detected(
    frames: impl IntoIterator<Item = [u8; FRAME]>,
    knobs: EndpointKnobs,
) -> Option<(Ms, Ms)> {
    let (mut vad, mut endpointer) = (Vad::default(), Endpointer::new(knobs));
    frames.into_iter().enumerate().find_map(|(n, frame)| {
        let mut heard = [0; FRAME];
        Law::A.decode(&frame, &mut heard);
        let verdict = vad.push(&heard);
        match endpointer.push(verdict.voiced, verdict.heard, Ms(n as u32 * 20)) {
            Some(Boundary::Ended { start, stop, .. }) => Some((start, stop)),
            _ => None,
        }
    })
}
