//! One call's stream: a task that lives as long as its handle, and at most a little longer.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use super::metrics::{Metrics, OfService};
use super::{Service, Told, convert};
use crate::call::io::FromDialogue;
use crate::call::line::LineEvent;
use crate::channel::pool::Place;
use crate::channel::{Anew, Client, Sending, in_words, unseen};
use crate::proto::dialogue::v1::{self as proto, Action};

/// The method.
const CONVERSE: &str = "/trunkline.dialogue.v1.Dialogue/Converse";

/// Events that may wait for a dialogue that does not read. A call makes a few a second at most: this many is a dialogue that hangs.
const WAITING: usize = 256;

/// Of a stream that the dialogue has not answered so many events are kept, less one, to be told to another one if nobody has seen this one: it is
/// refused within the time of a round trip, in which there are one or two.
const KEPT: usize = 16;

/// How long the dialogue may take to close its side once we have closed ours.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// The pause before a stream that has no other endpoint to go to: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// The call's end of its stream. Dropping it closes our side, after all that was told.
#[derive(Debug)]
pub struct Handle {
    /// In boxes: a channel has room for 32 of them from the beginning, and a call has one or two under way.
    told: Option<mpsc::Sender<Box<LineEvent>>>,
    overflow: Option<oneshot::Sender<Overflow>>,
    /// Where it goes.
    pub(super) endpoint: String,
}

#[derive(Debug)]
struct Overflow;

impl Handle {
    /// The endpoint that it goes to; empty for none.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

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

pub(super) fn open<T>(
    name: &str,
    service: &Service,
    stream: u32,
    left: &[String],
    inbox: mpsc::Sender<T>,
    metrics: Metrics,
) -> Handle
where
    T: From<Told> + Send + 'static,
{
    let Some(place) = service.pool.pick(left).cloned() else {
        return open_nothing(format!("dialogue {name:?} has no endpoint"), stream, inbox);
    };
    let inbox = Inbox { stream, inbox };
    let (told, events) = mpsc::channel(WAITING);
    let (overflow, closing) = oneshot::channel();
    let whom = format!("dialogue {name:?} at {}", place.endpoint);
    let (counted, endpoint) = (metrics.of(name), place.endpoint.clone());
    // Only who goes back to where it was waits.
    let pause = left.contains(&endpoint).then(|| {
        let pause = FIRST_PAUSE.saturating_mul(1 << (left.len() - 1).min(8)).min(LAST_PAUSE);
        pause.mul_f32(0.5 + rand::random::<f32>())
    });
    tokio::spawn(async move {
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        counted.streams.inc();
        let up = place.enter();
        let mut heard = false;
        let fault = {
            let patience = pin!(patience(closing));
            tokio::select! {
                fault = converse(&place, events, &inbox, &counted, &mut heard) => fault,
                fault = patience => Some(fault.to_owned()),
            }
        };
        counted.streams.dec();
        drop(up);
        let fault = fault.map(|fault| format!("{whom}: {fault}"));
        if let Some(fault) = &fault {
            counted.failures.inc();
            place.broke(fault, heard);
        }
        inbox.close(fault).await;
    });
    Handle { told: Some(told), overflow: Some(overflow), endpoint }
}

pub(super) fn open_nothing<T>(fault: String, stream: u32, inbox: mpsc::Sender<T>) -> Handle
where
    T: From<Told> + Send + 'static,
{
    let inbox = Inbox { stream, inbox };
    tokio::spawn(async move { inbox.close(Some(fault)).await });
    Handle { told: None, overflow: None, endpoint: String::new() }
}

/// The way to the call.
struct Inbox<T> {
    stream: u32,
    inbox: mpsc::Sender<T>,
}

impl<T: From<Told>> Inbox<T> {
    /// Waits for room. Whether the call is still there.
    async fn tell(&self, from: FromDialogue) -> bool {
        self.inbox.send(Told { stream: self.stream, from }.into()).await.is_ok()
    }

    /// Tells the call that it is over. This waits for room in its inbox, since the call must not miss it; when the call ends first, its inbox
    /// goes with it, and so does this.
    async fn close(&self, fault: Option<String>) {
        if let Some(fault) = &fault {
            tracing::warn!(target: "dialogue", "{fault}");
        }
        self.tell(FromDialogue::Closed(fault)).await;
    }
}

/// Carries both directions until the dialogue ends it; says what went wrong, if something did.
async fn converse<T: From<Told>>(
    place: &Place<Client>,
    mut events: mpsc::Receiver<Box<LineEvent>>,
    inbox: &Inbox<T>,
    counted: &OfService,
    heard: &mut bool,
) -> Option<String> {
    let mut told = Vec::new();
    let mut anew = Anew::default();
    loop {
        match converse_once(place, &mut events, &mut told, inbox, counted, heard).await {
            Ok(()) => return None,
            // Another stream is told the same.
            Err(status) if !*heard && told.len() < KEPT && anew.is_due(unseen(&status)) => {
                tracing::debug!(target: "dialogue", "is opened anew: {}", in_words(&status));
            }
            Err(status) => return Some(in_words(&status)),
        }
    }
}

/// The same on one stream. `told`: the first events that it was told, until it has answered.
async fn converse_once<T: From<Told>>(
    place: &Place<Client>,
    events: &mut mpsc::Receiver<Box<LineEvent>>,
    told: &mut Vec<proto::LineEvent>,
    inbox: &Inbox<T>,
    counted: &OfService,
    heard: &mut bool,
) -> Result<(), Status> {
    let (mut sending, mut actions) = place.link.open(CONVERSE).await?;
    // What does not get there any more is missed by the actions, which say why.
    for event in &*told {
        let _ = sending.send(event);
    }
    let mut out = Some(sending);
    loop {
        tokio::select! {
            action = actions.next::<Action>() => {
                let Some(action) = action.transpose()? else { return Ok(()) };
                if !std::mem::replace(heard, true) {
                    place.answered();
                    *told = Vec::new();
                }
                let asked = convert::asked(action);
                if asked.action.is_err() {
                    counted.refused.inc();
                }
                if !inbox.tell(FromDialogue::Asked(asked)).await {
                    // The call is gone without a word: so is its stream.
                    return Ok(());
                }
            }
            event = next(&mut out, events) => match (event, &mut out) {
                (Some(event), Some(out)) => {
                    let event = convert::line_event(*event);
                    let _ = out.send(&event);
                    if !*heard && told.len() < KEPT {
                        told.push(event);
                    }
                }
                _ => out.take().into_iter().for_each(Sending::end),
            },
        }
    }
}

/// The next event, as soon as there is one and room for it; `None` after the last one, then never again. May be dropped at any time.
async fn next(out: &mut Option<Sending>, events: &mut mpsc::Receiver<Box<LineEvent>>) -> Option<Box<LineEvent>> {
    let Some(out) = out else { return std::future::pending().await };
    out.room().await;
    events.recv().await
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
