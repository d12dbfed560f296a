//! One call's stream: a task that lives as long as its handle, and at most a little longer.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::metrics::{Metrics, OfService};
use super::{Service, convert};
use crate::call::io::FromDialogue;
use crate::call::line::LineEvent;
use crate::channel::{MAX_MESSAGE, in_words};
use crate::proto::dialogue::v1::dialogue_client::DialogueClient;

/// Events that may wait for a dialogue that does not read. A call makes a few a second at most: this many is a dialogue that hangs.
const WAITING: usize = 256;

/// How long the dialogue may take to close its side once we have closed ours.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// The call's end of its stream. Dropping it closes our side, after all that was told.
#[derive(Debug)]
pub struct Handle {
    /// In boxes: a channel has room for 32 of them from the beginning, and a call has one or two under way.
    told: Option<mpsc::Sender<Box<LineEvent>>>,
    overflow: Option<oneshot::Sender<Overflow>>,
}

#[derive(Debug)]
struct Overflow;

impl Handle {
    /// Tells the dialogue. Never waits: when 256 events wait already, the dialogue does not read, and the stream ends with a fault.
    /// After the stream has ended this does nothing: the inbox was told.
    pub fn tell(&mut self, event: LineEvent) {
        let Some(told) = &self.told else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = told.try_send(Box::new(event)) {
            self.told = None;
            if let Some(overflow) = self.overflow.take() {
                // The task may have ended in this moment: then it has said why.
                let _ = overflow.send(Overflow);
            }
        }
    }
}

pub(super) fn open<T>(name: &str, service: &Service, inbox: mpsc::Sender<T>, metrics: Metrics) -> Handle
where
    T: From<FromDialogue> + Send + 'static,
{
    let (told, events) = mpsc::channel(WAITING);
    let (overflow, closing) = oneshot::channel();
    let channel = service.channel.clone();
    let whom = format!("dialogue {name:?} at {}", service.endpoint);
    let counted = metrics.of(name);
    tokio::spawn(async move {
        counted.streams.inc();
        let fault = {
            let patience = pin!(patience(closing));
            tokio::select! {
                fault = converse(channel, events, &inbox, &counted) => fault,
                fault = patience => Some(fault.to_owned()),
            }
        };
        counted.streams.dec();
        if fault.is_some() {
            counted.failures.inc();
        }
        close(&inbox, fault.map(|fault| format!("{whom}: {fault}"))).await;
    });
    Handle { told: Some(told), overflow: Some(overflow) }
}

pub(super) fn open_nothing<T>(fault: String, inbox: mpsc::Sender<T>) -> Handle
where
    T: From<FromDialogue> + Send + 'static,
{
    tokio::spawn(async move { close(&inbox, Some(fault)).await });
    Handle { told: None, overflow: None }
}

/// Carries both directions until the dialogue ends it; says what went wrong, if something did.
async fn converse<T: From<FromDialogue>>(
    channel: Channel,
    events: mpsc::Receiver<Box<LineEvent>>,
    inbox: &mpsc::Sender<T>,
    counted: &OfService,
) -> Option<String> {
    let mut client = DialogueClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let events = ReceiverStream::new(events).map(|event| convert::line_event(*event));
    let mut actions = match client.converse(events).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Some(in_words(&status)),
    };
    loop {
        match actions.message().await {
            Ok(Some(action)) => {
                let asked = convert::asked(action);
                if asked.action.is_err() {
                    counted.refused.inc();
                }
                if inbox.send(FromDialogue::Asked(asked).into()).await.is_err() {
                    // The call is gone without a word: so is its stream.
                    return None;
                }
            }
            Ok(None) => return None,
            Err(status) => return Some(in_words(&status)),
        }
    }
}

/// Resolves when it is time to give the stream up, whatever the dialogue does.
async fn patience(closing: oneshot::Receiver<Overflow>) -> &'static str {
    match closing.await {
        Ok(Overflow) => "does not read: 256 events wait for it",
        Err(_) => {
            tokio::time::sleep(CLOSE_WAIT).await;
            "did not close its side within 2 s after the call"
        }
    }
}

/// Tells the call that it is over. This waits for room in its inbox, since the call must not miss it; when the call ends first, its inbox
/// goes with it, and so does this.
async fn close<T: From<FromDialogue>>(inbox: &mpsc::Sender<T>, fault: Option<String>) {
    if let Some(fault) = &fault {
        tracing::warn!(target: "dialogue", "{fault}");
    }
    let _ = inbox.send(FromDialogue::Closed(fault).into()).await;
}
