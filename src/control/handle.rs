//! The real switchboard, as the server sees it.

use std::sync::Arc;

use super::Switchboard;
use crate::call::action::Action;
use crate::call::knobs::KnobChange;
use crate::media::Listener;
use crate::sip::session::ExtraHeaders;
use crate::switchboard::Handle;
use crate::switchboard::order::{CallState, DialOrder, Refusal, Sent, TrunkState};

impl Switchboard for Handle {
    async fn dial(&self, order: DialOrder) -> Result<Arc<str>, Refusal> {
        Handle::dial(self, order).await
    }

    async fn answer(
        &self,
        call_id: &str,
        dialogue: &str,
        knobs: KnobChange,
        headers: ExtraHeaders,
    ) -> Result<(), Refusal> {
        Handle::answer(self, call_id, dialogue, knobs, headers).await
    }

    async fn decline(&self, call_id: &str, status: u16, reason: &str) -> Result<(), Refusal> {
        Handle::decline(self, call_id, status, reason).await
    }

    async fn send(&self, call_id: &str, request_id: &str, action: Action) -> Result<Sent, Refusal> {
        Handle::send(self, call_id, request_id, action).await
    }

    async fn listen(&self, call_id: &str) -> Result<Listener, Refusal> {
        Handle::listen(self, call_id).await
    }

    async fn calls(&self) -> Vec<CallState> {
        Handle::calls(self).await
    }

    async fn call(&self, call_id: &str) -> Option<CallState> {
        Handle::call(self, call_id).await
    }

    async fn trunks(&self) -> Vec<TrunkState> {
        Handle::trunks(self).await
    }

    async fn drain(&self) -> usize {
        Handle::drain(self).await
    }
}
