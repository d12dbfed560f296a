//! Offers, theirs and ours: what we are able to, other media within a call, a hold of either side, the resume.

use super::*;
use crate::codec::coding::{Band, Coding};
use crate::codec::g711::Law;
use crate::codec::opus;
use crate::rtp::packet::PayloadType;
use crate::sdp::Willing;

/// Who holds whom.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// We are to hold the far end.
    wanted: bool,
    /// What the offer that is out makes of that.
    asked: Option<bool>,
    /// As it was agreed and told: by us, by the far end.
    pub(super) by: (bool, bool),
}

impl Hold {
    /// There is another far end, which nobody holds; who held whom before is still told.
    pub(super) fn anew(&mut self) {
        (self.wanted, self.asked) = (false, None);
    }
}

impl Call {
    /// The far end has gone, and another one is expected: for the conversation that is as if we held it.
    pub(super) fn hold_for_target(&mut self, now: Instant) {
        let (_, by_far_end) = std::mem::replace(&mut self.hold.by, (true, false));
        if (true, false) != (self.hold.wanted, by_far_end) {
            self.tell(now, What::Hold { by_us: true, by_far_end: false, sip_code: 0, reason: String::new() });
        }
        self.converse(|c| c.hold(now, true, false));
    }

    /// Puts the far end on hold by `sendonly` (RFC 3264 §8.4), or resumes; nothing, when that is so already, or asked for. It takes effect
    /// when the far end has consented: one that refuses leaves the call as it was.
    pub(super) fn hold(&mut self, now: Instant, on: bool) {
        if std::mem::replace(&mut self.hold.wanted, on) != on {
            self.session.handle(now, session::Input::WantOffer);
        }
    }

    /// An offer may be made now: of the hold that is to be, or of all as it is.
    pub(super) fn offer_wanted(&mut self, now: Instant) {
        let on = self.hold.wanted;
        let sdp = if on == self.negotiator.holds() {
            self.negotiator.offer_again()
        } else {
            self.hold.asked = Some(on);
            self.negotiator.offer(if on { Direction::SendOnly } else { Direction::SendRecv })
        };
        self.session.handle(now, session::Input::Reoffer { sdp });
    }

    pub(super) fn take_offer(&mut self, offer: &[u8]) -> Result<(), NegotiationError> {
        let (reply, agreed) = self.negotiator.answer(offer)?;
        (self.reply, self.agreed) = (Some(reply), Some(agreed));
        Ok(())
    }

    pub(super) fn reoffered(&mut self, now: Instant, sdp: Option<Vec<u8>>) {
        if self.session.is_outgoing() && self.answered.is_none() {
            self.first.get_or_insert_with(|| self.negotiator.clone());
        }
        let taken = sdp.as_deref().map_or(Ok(()), |offer| self.take_offer(offer));
        let input = match taken {
            Ok(()) => {
                let sdp = self.reply.take().unwrap_or_else(|| self.negotiator.offer_whole());
                session::Input::AnswerReoffer { sdp }
            }
            Err(error) => {
                session::Input::RejectReoffer { code: error.status(), headers: refusal(error.status(), Some(error)) }
            }
        };
        self.session.handle(now, input);
        match taken {
            // The callee's offer, since we made none: without it there is no call.
            Err(error) if self.agreed.is_none() && self.session.is_outgoing() => {
                self.hang_up(now, HungUpBy::Network, &format!("SDP offer: {error}"));
            }
            Ok(()) if sdp.is_some() => {
                self.agreed_anew(now);
                self.early_media(now, None);
            }
            _ => self.media_changed(),
        }
    }

    /// The far end answers an offer of ours. An answer that does not fit leaves the media as they were.
    pub(super) fn reoffer_answered(&mut self, now: Instant, answer: Option<&[u8]>) {
        match answer.map(|answer| self.negotiator.accept(answer)) {
            Some(Ok(agreed)) => {
                self.agreed = Some(agreed);
                self.agreed_anew(now);
            }
            Some(Err(error)) => self.reoffer_refused(now, 488, format!("SDP answer: {error}")),
            None => self.reoffer_refused(now, 488, "the far end gave no SDP answer".to_owned()),
        }
    }

    /// An offer of ours came to nothing: what was agreed before holds.
    pub(super) fn reoffer_refused(&mut self, now: Instant, sip_code: u16, reason: String) {
        self.negotiator.withdraw();
        let Some(asked) = self.hold.asked.take() else { return };
        // Unless the contrary has been asked for meanwhile, which is so now.
        if self.hold.wanted == asked {
            self.hold.wanted = self.negotiator.holds();
        }
        let (by_us, by_far_end) = self.hold.by;
        self.tell(now, What::Hold { by_us, by_far_end, sip_code, reason });
    }

    pub(super) fn renegotiated(&mut self, now: Instant, answer: &[u8]) {
        match self.negotiator.accept(answer) {
            Ok(agreed) => {
                self.agreed = Some(agreed);
                self.agreed_anew(now);
            }
            Err(error) => self.hang_up(now, HungUpBy::Network, &format!("SDP answer: {error}")),
        }
    }

    pub(super) fn agreed_anew(&mut self, now: Instant) {
        self.media_changed();
        self.note_hold(now);
    }

    pub(super) fn media_changed(&mut self) {
        if let Some(agreed) = self.agreed.filter(|_| self.leg_open) {
            let srtp = secured::srtp(&self.negotiator);
            let media = media(&agreed, &self.plan.line);
            self.out.push_back(Output::Leg(leg::Command::anew(media, srtp)));
        }
    }

    /// Offer and answer are there: tells who holds whom, if that is new.
    pub(super) fn note_hold(&mut self, now: Instant) {
        let Some(agreed) = self.agreed.filter(|_| self.leg_open) else { return };
        let (by_us, by_far_end) = (self.negotiator.holds(), !agreed.sends);
        if self.hold.asked == Some(by_us) {
            self.hold.asked = None;
        }
        let before = std::mem::replace(&mut self.hold.by, (by_us, by_far_end));
        if before != (by_us, by_far_end) {
            self.tell(now, What::Hold { by_us, by_far_end, sip_code: 0, reason: String::new() });
        }
        self.converse(|c| c.hold(now, by_us, by_far_end));
    }
}

/// What the leg has to know of what was agreed.
pub(super) fn media(agreed: &Negotiated, rules: &LineRules) -> leg::Media {
    leg::Media {
        coding: coding(agreed),
        payload_type: PayloadType::new(agreed.payload_type).unwrap_or(PayloadType::PCMA),
        payload_type_in: PayloadType::new(agreed.payload_type_in).unwrap_or(PayloadType::PCMA),
        ptime: Ms(agreed.ptime_ms),
        telephone_event: agreed.telephone_event.and_then(PayloadType::new),
        telephone_event_in: PayloadType::new(agreed.telephone_event_in.unwrap_or(TELEPHONE_EVENT)),
        event_clock: agreed.event_clock,
        redundancy: agreed.redundancy.and_then(PayloadType::new),
        remote: agreed.remote,
        rtcp: agreed.rtcp,
        rtcp_mux: agreed.rtcp_mux,
        rtcp_xr: rules.xr_unasked || agreed.rtcp_xr && rules.rtcp_xr != Willing::Off,
        sends: agreed.sends,
        receives: agreed.receives,
    }
}

fn coding(agreed: &Negotiated) -> Coding {
    match agreed.codec {
        AudioFormat::Pcma => Coding::G711(Law::A),
        AudioFormat::Pcmu => Coding::G711(Law::Mu),
        AudioFormat::G722 => Coding::G722,
        AudioFormat::L16 => Coding::L16(Band::Narrow),
        AudioFormat::L16Wide => Coding::L16(Band::Wide),
        AudioFormat::Opus => Coding::Opus(opus::Terms {
            narrow: agreed.opus.max_playback_rate < 16_000,
            max_bitrate: agreed.opus.max_bitrate,
            constant_bitrate: agreed.opus.constant_bitrate,
            fec: agreed.opus.inband_fec,
        }),
    }
}

/// The payload type at which we take RFC 4733 events, whatever the far end's is.
const TELEPHONE_EVENT: u8 = 101;

pub(in crate::call) fn negotiator(plan: &Plan, rng: &mut StdRng) -> Box<Negotiator> {
    let capabilities = Capabilities {
        formats: plan.formats.clone(),
        telephone_event: Some(TELEPHONE_EVENT),
        ptime_ms: plan.line.ptime.0,
        rtcp_mux: plan.line.rtcp_mux,
        rtcp_xr: plan.line.rtcp_xr,
    };
    // RFC 8866 §5.2: a number that fits into 63 bits.
    let negotiator = Negotiator::new(rng.random::<u64>() >> 1, plan.local_media, capabilities);
    match &plan.srtp {
        Some(srtp) => Box::new(negotiator.with_srtp(&srtp.terms, srtp.seed.clone())),
        None => Box::new(negotiator),
    }
}

/// What goes along with a refusal: the cause (RFC 3326), and of an offer what is wrong with it (RFC 3261 §20.43; nobody's host is told).
pub(super) fn refusal(code: u16, error: Option<NegotiationError>) -> ExtraHeaders {
    let reason = outcome::of_our_refusal(code).map(|reason| ("Reason".to_owned(), reason.to_string()));
    let warning = error.map(|error| ("Warning".to_owned(), format!("{} trunkline \"{error}\"", error.warn_code())));
    ExtraHeaders::try_from(reason.into_iter().chain(warning).collect::<Vec<_>>()).unwrap_or_default()
}
