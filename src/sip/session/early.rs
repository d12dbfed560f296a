//! RFC 3261 §12.1 and §13.2.2.1: early dialogs, one for each callee of a fork that has answered provisionally.

use super::caller::Cancel;
use super::prack::Place;
use super::*;

/// The most branches of a fork that are heard.
pub(super) const MAX_BRANCHES: usize = 32;

/// A callee that has answered provisionally.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) dialog: Dialog,
    /// The answer in its provisional responses.
    pub(super) sdp: Option<Vec<u8>>,
    /// The last RSeq that was taken from it.
    pub(super) rseq: Option<u32>,
    pub(super) exchange: Exchange,
    /// Its SDP has been overtaken by an UPDATE.
    pub(super) renegotiated: bool,
}

/// What a provisional response means for offer and answer.
enum Said {
    /// Nothing new.
    Nothing,
    /// Their answer.
    Answer(Vec<u8>),
    /// Their offer, which the PRACK has to answer.
    Offer(Vec<u8>),
}

impl Session {
    /// A provisional response to our INVITE.
    pub(super) fn provisional(&mut self, now: Instant, response: &Response) {
        self.note_peer(response);
        let code = response.code();
        let tag = response.to().ok().and_then(|to| to.tag().map(|tag| tag.into_owned())).filter(|_| code > 100);
        let rack = self.reliable(response);
        let mut said = Said::Nothing;
        if let Some(tag) = &tag {
            self.meet(tag, response);
            match self.hear(tag, response, rack.as_ref()) {
                Some(heard) => said = heard,
                // A copy, or one that has overtaken another.
                None => return,
            }
        }
        let cancelled = self.caller().is_some_and(|caller| !matches!(caller.cancel, Cancel::No));
        let mut pending = None;
        if let (Some(tag), Some((_, rack))) = (&tag, rack) {
            match &said {
                Said::Offer(_) if !cancelled && self.reoffer.is_none() => {
                    pending = Some(TheirOffer::Provisional { tag: tag.clone(), rack });
                }
                _ => self.send_prack(now, tag, rack, Vec::new()),
            }
        }
        let Some(caller) = self.caller() else { return };
        if let Cancel::Wanted(farewell) = &caller.cancel {
            let farewell = farewell.clone();
            return self.send_cancel(now, farewell);
        }
        if matches!(caller.cancel, Cancel::Sent) || self.phase != Phase::Inviting {
            return;
        }
        self.tell_user_to_user(Carrier::Ringing, response);
        match (code, tag) {
            (100, _) => {
                if self.caller().is_some_and(|caller| !std::mem::replace(&mut caller.told_trying, true)) {
                    self.event(Event::Trying);
                }
                return;
            }
            // RFC 6228: this branch of the fork is gone; the others are not.
            (199, tag) => return self.forget(tag.as_deref().unwrap_or_default()),
            _ => {}
        }
        match said {
            Said::Nothing => self.event(Event::Ringing { code, sdp: None }),
            Said::Answer(sdp) => self.event(Event::Ringing { code, sdp: Some(sdp) }),
            Said::Offer(sdp) => {
                self.event(Event::Ringing { code, sdp: Some(sdp.clone()) });
                self.reoffer = pending;
                self.event(Event::Reoffer { sdp: Some(sdp) });
            }
        }
    }

    /// The dialog of a callee that has not been heard before (§12.1.2).
    fn meet(&mut self, tag: &str, response: &Response) {
        let offered = self.offer().is_some();
        let Some(out) = self.invites_out.last() else { return };
        let Side::Caller(caller) = &mut self.side else { return };
        let full = caller.early.len() == MAX_BRANCHES;
        if full || response.code() == 199 || caller.early.iter().any(|early| early.dialog.remote_tag() == tag) {
            return;
        }
        // A Contact or Record-Route that does not read leaves no dialog, and the 2xx may be better.
        if let Ok(dialog) = Dialog::caller(out.tx.request(), response, out.to.clone()) {
            let exchange = if offered { Exchange::Ours } else { Exchange::Unoffered };
            caller.early.push(Early { dialog, sdp: None, rseq: None, exchange, renegotiated: false });
        }
    }

    /// Takes in what a callee says; `None` when it is not its turn (RFC 3262 §4).
    fn hear(&mut self, tag: &str, response: &Response, rack: Option<&(u32, String)>) -> Option<Said> {
        let sdp = response.session_body().sdp().map(<[u8]>::to_vec);
        let Some(early) = self.early(tag) else {
            // Without a dialog there is no PRACK, and no order.
            return Some(sdp.map_or(Said::Nothing, Said::Answer));
        };
        if let Some((rseq, _)) = rack {
            if early.rseq.is_some_and(|last| *rseq != last.wrapping_add(1)) {
                return None;
            }
            early.rseq = Some(*rseq);
        }
        let reliable = rack.is_some();
        Some(match (early.exchange, sdp) {
            (Exchange::Ours, Some(sdp)) => {
                early.sdp = Some(sdp.clone());
                // RFC 6337 §2: only what is sent reliably is an answer; before, it is a preview.
                if reliable {
                    early.exchange = Exchange::Settled;
                }
                Said::Answer(sdp)
            }
            (Exchange::Unoffered, Some(sdp)) if reliable => {
                early.exchange = Exchange::Theirs;
                Said::Offer(sdp)
            }
            _ => Said::Nothing,
        })
    }

    /// RFC 3262 §4: the RSeq of a response that has to be acknowledged, and the RAck that does so.
    pub(super) fn reliable(&self, response: &Response) -> Option<(u32, String)> {
        if self.terms.reliable == Reliability::Off || response.code() == 100 {
            return None;
        }
        Place::of_response(response).map(|place| (place.rseq, place.to_string()))
    }

    pub(super) fn early(&mut self, tag: &str) -> Option<&mut Early> {
        self.caller()?.early.iter_mut().find(|early| early.dialog.remote_tag() == tag)
    }

    /// Takes an early dialog out, when its callee answers or is gone.
    pub(super) fn take_early(&mut self, tag: &str) -> Option<Early> {
        let early = &mut self.caller()?.early;
        let at = early.iter().position(|early| early.dialog.remote_tag() == tag)?;
        Some(early.swap_remove(at))
    }

    /// The callee of an early dialog says goodbye; whether the call goes on with others.
    pub(super) fn hang_up_early(&mut self, tag: &str) -> bool {
        let others = self.caller().is_some_and(|caller| caller.early.len() > 1);
        if others {
            self.forget(tag);
        }
        others
    }

    fn forget(&mut self, tag: &str) {
        self.take_early(tag);
        if matches!(&self.reoffer, Some(TheirOffer::Provisional { tag: of, .. }) if of == tag) {
            self.reoffer = None;
        }
    }

    /// The dialog with the callee or caller that has this tag.
    pub(super) fn dialog_with(&mut self, tag: &str) -> Option<&mut Dialog> {
        if self.dialog.as_ref().is_some_and(|dialog| dialog.remote_tag() == tag) {
            return self.dialog.as_mut();
        }
        self.early(tag).map(|early| &mut early.dialog)
    }

    /// Where offer and answer stand with it.
    pub(super) fn exchange_with(&mut self, tag: &str) -> &mut Exchange {
        let settled = self.dialog.as_ref().is_some_and(|dialog| dialog.remote_tag() == tag);
        match &mut self.side {
            Side::Caller(caller) if !settled => {
                match caller.early.iter_mut().find(|early| early.dialog.remote_tag() == tag) {
                    Some(early) => &mut early.exchange,
                    None => &mut self.exchange,
                }
            }
            _ => &mut self.exchange,
        }
    }
}
