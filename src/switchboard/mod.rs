//! Floor 4: the switchboard. One task a call, which carries what the pure call wants to the shells and back; and one router, which owns
//! the tables: which calls are up, which Call-ID belongs to whom, what is in use on each trunk.
//!
//! | file | what |
//! |---|---|
//! | `router` | the owner of the tables; admission; every SIP message finds its call here |
//! | `task` | one call's task |
//! | `dialling` | from an order and a trunk to an INVITE |
//! | `router/placing` | which trunk and which number a call that we place gets, and another one when that fails |
//! | `router/arriving` | whose an INVITE is, whether its caller knows the password, who calls |
//! | `lines`, `rate` | what is in use, what is free, how fast it may go |
//! | `pair` | how the two calls of a transfer speak to each other; `router/second_leg` places the second one |
//! | `admission` | how much strangers may cost |
//! | [`numbers`] | how operators write numbers, and how we do |
//! | `registrar` | one task for each trunk that registers |
//! | [`load`] | overload: when new calls are refused so that those that are up are served well |
//! | `pinger` | one task for each trunk that is asked whether it is there |
//! | `refused` | INVITEs that were refused, for as long as copies of them may come |
//! | [`order`], [`settings`] | what the faces ask, and what is configured |

mod admission;
mod dialling;
mod lines;
pub mod load;
mod metrics;
pub mod numbers;
pub mod order;
mod outpost;
mod pair;
mod pinger;
mod rate;
mod refused;
mod registrar;
mod router;
pub mod settings;
mod task;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::call::action::Action;
use crate::call::knobs::KnobChange;
use crate::dialogue::Dialogues;
use crate::media::Listener;
use crate::sip::session::ExtraHeaders;
use crate::speech::Speech;
use crate::speech::prompts::Prompts;
use crate::{journal, media, net};
pub use metrics::Metrics;
use order::{CallState, DialOrder, Refusal, Sent, TrunkState};
use router::{Ask, Router};
use settings::Settings;

/// The name by which a call has no dialogue, or no speech service: the orchestrator holds the conversation by itself.
pub const NONE: &str = "none";

/// The shells that calls are connected to.
#[derive(Debug)]
pub struct Shells {
    /// The SIP sockets.
    pub net: net::Net,
    /// The same as each trunk uses it, in their order.
    pub trunks: Vec<net::Net>,
    /// The media threads.
    pub media: media::Engine,
    /// Recognition and synthesis.
    pub speech: Speech,
    /// Recordings to be played.
    pub prompts: Prompts,
    /// Dialogues.
    pub dialogues: Dialogues,
    /// Events, recordings, records.
    pub journal: journal::Handle,
}

/// The way to the switchboard; clones lead to the same one.
#[derive(Debug, Clone)]
pub struct Handle {
    asks: mpsc::UnboundedSender<Ask>,
    doors: watch::Receiver<Vec<String>>,
    broken: watch::Receiver<Vec<String>>,
}

/// Starts the switchboard. Must be called within a tokio runtime. It ends by [`Handle::stop`].
pub fn start(
    settings: Settings,
    shells: Shells,
    metrics: Arc<Metrics>,
    arrivals: mpsc::Receiver<net::Arrival>,
    seed: u64,
) -> Handle {
    let (asks, inbox) = mpsc::unbounded_channel();
    let shells = Arc::new(shells);
    let (doors_told, doors) = watch::channel(Vec::new());
    let (broken_told, broken) = watch::channel(Vec::new());
    tokio::spawn(load::watch(shells.clone(), asks.clone(), broken_told));
    let router = Router::new(Arc::new(settings), shells, metrics, asks.clone(), doors_told, seed);
    tokio::spawn(router.run(inbox, arrivals));
    Handle { asks, doors, broken }
}

impl Handle {
    /// Dials; answers with the call's id, the same one for the same `request_id` within an hour.
    ///
    /// # Errors
    /// Every [`Refusal`] but `NotFound`.
    pub async fn dial(&self, order: DialOrder) -> Result<Arc<str>, Refusal> {
        self.ask(|reply| Ask::Dial { order: Box::new(order), reply }).await.unwrap_or(Err(Refusal::Draining))
    }

    /// Answers an inbound call that waits, with headers for the 200; an empty `dialogue` is the route's.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::WrongState`] when it does not wait, [`Refusal::Invalid`] for an unknown dialogue.
    pub async fn answer(
        &self,
        call_id: &str,
        dialogue: &str,
        knobs: KnobChange,
        headers: ExtraHeaders,
    ) -> Result<(), Refusal> {
        let (call_id, dialogue) = (call_id.to_owned(), dialogue.to_owned());
        self.ask(|reply| Ask::Answer { call_id, dialogue, knobs, headers, reply })
            .await
            .unwrap_or(Err(Refusal::Draining))
    }

    /// Refuses an inbound call that waits, with a SIP status of 400 to 699.
    ///
    /// # Errors
    /// As for [`Handle::answer`].
    pub async fn decline(&self, call_id: &str, status: u16, reason: &str) -> Result<(), Refusal> {
        let (call_id, reason) = (call_id.to_owned(), reason.to_owned());
        self.ask(|reply| Ask::Decline { call_id, status, reason, reply }).await.unwrap_or(Err(Refusal::Draining))
    }

    /// Has a call do something; the same `request_id` again does nothing, an empty one is not checked.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::WrongState`] for anything but a hang-up before the answer, and for what the conversation cannot do as it
    /// stands.
    pub async fn send(&self, call_id: &str, request_id: &str, action: Action) -> Result<Sent, Refusal> {
        let (asked, request_id) = (call_id.to_owned(), request_id.to_owned());
        self.ask_call(call_id, |reply| Ask::Send { call_id: asked, request_id, action, reply }).await
    }

    /// Has somebody listen to both sides of a call, until its media end.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::WrongState`] before the answer and after the end, [`Refusal::Listeners`].
    pub async fn listen(&self, call_id: &str) -> Result<Listener, Refusal> {
        let asked = call_id.to_owned();
        self.ask_call(call_id, |reply| Ask::Listen { call_id: asked, reply }).await
    }

    /// All calls that are up.
    pub async fn calls(&self) -> Vec<CallState> {
        self.ask(|reply| Ask::Calls { reply }).await.unwrap_or_default()
    }

    /// One call that is up.
    pub async fn call(&self, call_id: &str) -> Option<CallState> {
        self.calls().await.into_iter().find(|call| &*call.call_id == call_id)
    }

    /// All trunks.
    pub async fn trunks(&self) -> Vec<TrunkState> {
        self.ask(|reply| Ask::Trunks { reply }).await.unwrap_or_default()
    }

    /// Takes no new calls; says how many are up.
    pub async fn drain(&self) -> usize {
        self.ask(|reply| Ask::Drain { reply }).await.unwrap_or_default()
    }

    /// Why no new calls are taken: draining, or overload; empty: they are.
    pub fn doors(&self) -> watch::Receiver<Vec<String>> {
        self.doors.clone()
    }

    /// What has died and is not coming back; empty: nothing.
    pub fn broken(&self) -> watch::Receiver<Vec<String>> {
        self.broken.clone()
    }

    /// Takes no new calls, lets those that are up go on for [`Settings::drain`], hangs the rest up, and takes the registrations back.
    /// Returns when all is done.
    pub async fn stop(&self) {
        self.ask(|reply| Ask::Stop { at_once: false, reply }).await;
    }

    /// As [`Handle::stop`], but hangs up at once.
    pub async fn stop_now(&self) {
        self.ask(|reply| Ask::Stop { at_once: true, reply }).await;
    }

    /// Asks something of a call, which may end meanwhile.
    async fn ask_call<T>(
        &self,
        call_id: &str,
        ask: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Ask,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).map_err(|_| Refusal::Draining)?;
        answer.await.unwrap_or_else(|_| Err(Refusal::NotFound(call_id.to_owned())))
    }

    /// `None` when the switchboard has stopped.
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).ok()?;
        answer.await.ok()
    }
}
