//! `Watch`: the journal's events as a stream.
//!
//! The journal is asked for the next event when HTTP/2 has room for it, so a slow client holds up nobody: it costs its place in the journal,
//! and is told when that is gone.

use std::time::Duration;

use futures_util::Stream;
use tokio::sync::watch;
use tonic::Status;

use super::{events, until};
use crate::call::event::What;
use crate::journal::{News, Sequenced, TooOld, Watcher};
use crate::proto::control::v1 as proto;

/// At the shutdown: how long the journal may take for an event that it has.
const LAST_EVENTS: Duration = Duration::from_millis(200);

/// Which events a client wants.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    /// Only this call's; empty: all.
    pub call_id: String,
    /// Partial transcripts too.
    pub partials: bool,
}

impl Filter {
    fn wants(&self, sequenced: &Sequenced) -> bool {
        let news = &sequenced.event;
        let partial = matches!(news, News::Call(event) if matches!(event.what, What::Partial { .. }));
        (self.partials || !partial) && (self.call_id.is_empty() || news.call_id() == self.call_id)
    }
}

struct Watching {
    watcher: Watcher,
    filter: Filter,
    closing: watch::Receiver<bool>,
    over: bool,
}

/// The events from the watcher's place on; ends with a status that says why.
pub(super) fn stream(
    watcher: Watcher,
    filter: Filter,
    closing: watch::Receiver<bool>,
) -> impl Stream<Item = Result<proto::Event, Status>> + Send + 'static {
    let watching = Watching { watcher, filter, closing, over: false };
    futures_util::stream::unfold(watching, |mut watching| async move {
        if watching.over {
            return None;
        }
        let item = watching.next().await;
        watching.over = item.is_err();
        Some((item, watching))
    })
}

impl Watching {
    async fn next(&mut self) -> Result<proto::Event, Status> {
        loop {
            match self.pull().await {
                Some(Ok(event)) if self.filter.wants(&event) => return Ok(events::event(&event)),
                Some(Ok(_)) => {}
                Some(Err(too_old)) => return Err(Status::data_loss(format!("this watcher is too slow: {too_old}"))),
                None => return Err(Status::unavailable("shutting down: no more events will come")),
            }
        }
    }

    /// The next event; at the shutdown only what there is already.
    async fn pull(&mut self) -> Option<Result<std::sync::Arc<Sequenced>, TooOld>> {
        tokio::select! {
            biased;
            event = self.watcher.next() => return event,
            () = until(self.closing.clone()) => {}
        }
        tokio::time::timeout(LAST_EVENTS, self.watcher.next()).await.ok().flatten()
    }
}
