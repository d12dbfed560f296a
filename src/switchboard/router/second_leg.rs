//! The second leg of a transfer: an order of our own, with all the checks of any order.

use std::sync::Arc;

use super::Router;
use super::placing::Second;
use crate::call::knobs::KnobChange;
use crate::call::second_leg::{News, SecondLeg};
use crate::ms::Ms;
use crate::sip::refer::ReferTarget;
use crate::switchboard::NONE;
use crate::switchboard::order::{DialOrder, Refusal};
use crate::switchboard::pair::{Link, Word};

/// Who wants a second leg.
pub(in crate::switchboard) struct First {
    pub(in crate::switchboard) call_id: Arc<str>,
    /// Its recogniser.
    pub(in crate::switchboard) speech: String,
    pub(in crate::switchboard) correlation: Arc<str>,
}

impl Router {
    /// Places a second leg. What becomes of it is told by its link.
    pub(super) fn transfer(&mut self, first: First, leg: SecondLeg, link: Box<Link>) {
        match self.order_of(&first, leg) {
            Ok(order) => self.place_second(order, first.call_id, link),
            Err(refusal) => refused(&link, &refusal),
        }
    }

    fn place_second(&mut self, order: DialOrder, first: Arc<str>, link: Box<Link>) {
        let mut second = Some(Second { first, link });
        let placed = self.place(order, &mut second);
        if let (Err(refusal), Some(Second { link, .. })) = (placed, second) {
            refused(&link, &refusal);
        }
    }

    fn order_of(&mut self, first: &First, leg: SecondLeg) -> Result<DialOrder, Refusal> {
        let settings = self.settings.clone();
        let own = &settings.trunks[self.up(&first.call_id)?.trunk];
        let trunk = [leg.trunk, own.transfer.trunk.clone()].into_iter().find(|name| !name.is_empty());
        Ok(DialOrder {
            callee: match leg.target {
                ReferTarget::User(number) => number,
                ReferTarget::Uri(uri) => uri.as_str().to_owned(),
            },
            caller: leg.caller,
            trunk: trunk.unwrap_or_else(|| own.name.clone()),
            ring_timeout: Some(leg.ring.unwrap_or(own.transfer.patience)),
            // The recording of the first call has both.
            record: Some(false),
            headers: leg.headers.into_list(),
            dialogue: NONE.to_owned(),
            speech: if leg.transcript { first.speech.clone() } else { NONE.to_owned() },
            knobs: KnobChange { no_input: Some(Ms(0)), ..KnobChange::default() },
            correlation: first.correlation.to_string(),
            ..DialOrder::default()
        })
    }
}

fn refused(link: &Link, refusal: &Refusal) {
    link.tell(Word::News(News::Failed { code: 0, reason: refusal.to_string() }));
}
