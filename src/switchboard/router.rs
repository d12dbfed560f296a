//! The owner of the tables: which calls are up, whose a Call-ID is, what is in use on each trunk, what was ordered already.
//!
//! Every SIP message finds its way here, by Call-ID alone: a call owns all the transactions and dialogs under its Call-ID, so nothing
//! else has to be looked up. A message of no call comes from a trunk and is answered without state, or it comes from a stranger and is
//! dropped without a word.

mod arriving;
mod commanding;
mod following;
mod hearing;
mod lingering;
mod ordered;
mod placing;
mod second_leg;
mod standing;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, oneshot, watch};

use super::admission::Admission;
use super::dialling::{self};
use super::lines::Lines;
use super::load::{Gate, Reason, Sample};
use super::order::{CallState, DialOrder, Phase, Refusal, Registered, Sent, TrunkState};
use super::outpost::{Outpost, Told};
use super::pair::Link;
use super::pinger;
use super::refused::Refused;
use super::registrar::{self, Registrar};
use super::settings::{Settings, Trunk};
use super::task::{Answer, INBOX, Start, Task, ToTask};
use super::{Metrics, Shells};
use crate::call::Route;
use crate::call::action::Action;
use crate::call::call::Plan;
use crate::call::io::Input;
use crate::call::knobs::KnobChange;
use crate::call::line::HungUpBy;
use crate::call::record::{CallRecord, LineQuality, Outcome};
use crate::call::second_leg::SecondLeg;
use crate::call::transfer::Follow;
use crate::journal::Standing;
use crate::media::Listener;
use crate::ms::Ms;
use crate::net::{Arrival, Net};
use crate::sip::auth::Guard;
use crate::sip::message::Uri;
use crate::sip::refer::Replaces;
use crate::sip::session::{self, ExtraHeaders, Session};
use crate::sip::transport::Transport;

/// Seconds after which a caller who was refused for want of room may try again. At the door they differ from call to call, so that those
/// who were refused in one moment do not all come back in one moment. No more than that: a trunk may take its pause for all its calls.
pub(super) const RETRY_AFTER: &str = "5";
const RETRY_SPREAD: [&str; 6] = [RETRY_AFTER, "6", "7", "8", "9", "10"];
/// From the polite hang-up of all calls to the end, whether they have gone or not.
const LAST_CALLS: Duration = Duration::from_secs(5);
/// How long the registrars may take to let go of us.
const UNREGISTER: Duration = Duration::from_secs(2);

/// And from there to the very end: time for a record.
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// What the router is asked and told.
pub(super) enum Ask {
    Dial {
        order: Box<DialOrder>,
        reply: oneshot::Sender<Result<Arc<str>, Refusal>>,
    },
    Answer {
        call_id: String,
        dialogue: String,
        knobs: KnobChange,
        headers: ExtraHeaders,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    Decline {
        call_id: String,
        status: u16,
        reason: String,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    Send {
        call_id: String,
        request_id: String,
        action: Action,
        reply: oneshot::Sender<Result<Sent, Refusal>>,
    },
    Listen {
        call_id: String,
        reply: oneshot::Sender<Result<Listener, Refusal>>,
    },
    Calls {
        reply: oneshot::Sender<Vec<CallState>>,
    },
    Trunks {
        reply: oneshot::Sender<Vec<TrunkState>>,
    },
    Drain {
        reply: oneshot::Sender<usize>,
    },
    Stop {
        /// Calls that are up are hung up at once.
        at_once: bool,
        reply: oneshot::Sender<()>,
    },
    /// A call's task knows its Call-ID.
    Known {
        call_id: Arc<str>,
        sip_call_id: String,
        caller: Arc<str>,
        callee: Arc<str>,
        inbox: mpsc::Sender<ToTask>,
    },
    /// A call is in another phase.
    Phase {
        call_id: Arc<str>,
        phase: Phase,
        /// We hold the far end, the far end holds us.
        held: (bool, bool),
        srtp: &'static str,
        /// What names its dialog at the far end, and where that is reached.
        dialog: Option<(Replaces, Uri)>,
        /// Where a call that we placed was answered.
        answered_from: Option<IpAddr>,
    },
    /// A call is over; its signalling may have to repeat itself.
    Over {
        call_id: Arc<str>,
        sip_call_id: String,
        session: Option<Box<Session>>,
        /// What reached the call's inbox after its end: the answer to its BYE, as a rule.
        unheard: mpsc::Receiver<ToTask>,
    },
    /// A trunk does not answer pings, or does again.
    Health {
        trunk: usize,
        down: Option<String>,
    },
    /// A registration is about to begin, under this Call-ID.
    Registers {
        trunk: usize,
        call_id: String,
        inbox: mpsc::Sender<Told>,
    },
    /// A registration is in another state.
    Registered {
        trunk: usize,
        state: Registered,
        /// Proxies that the registrar wants calls to pass.
        route: Vec<Uri>,
    },
    /// A registration has failed: why, and as what that is counted.
    RegistrationFailed {
        trunk: usize,
        reason: String,
        counted: String,
    },
    /// A call's trunk has failed: where else may it go?
    Reroute {
        call_id: Arc<str>,
        reply: oneshot::Sender<Result<Elsewhere, String>>,
    },
    /// A call wants a second leg.
    Transfer {
        first: second_leg::First,
        leg: Box<SecondLeg>,
        link: Box<Link>,
    },
    /// A call goes another way: its signalling so far may have to repeat itself, and it is known by another Call-ID.
    Moved {
        call_id: Arc<str>,
        left: Box<Session>,
        sip_call_id: String,
        inbox: mpsc::Sender<ToTask>,
    },
    /// A call is to go on with somebody else, by a REFER of its far end: how is that one called?
    Follow {
        call_id: Arc<str>,
        follow: Box<Follow>,
        reply: oneshot::Sender<Result<Elsewhere, String>>,
    },
    /// It is being called, under this Call-ID.
    Also {
        call_id: Arc<str>,
        sip_call_id: String,
        direct: bool,
        inbox: mpsc::Sender<ToTask>,
    },
    /// It could not be had; its signalling may have to repeat itself.
    Left {
        call_id: Arc<str>,
        left: Option<Box<Session>>,
    },
    /// How much this process has to do.
    Load(Sample),
}

pub(super) use second_leg::First;

/// Another way for a call, and by which sockets.
pub(super) struct Elsewhere {
    pub(super) route: Box<Route>,
    pub(super) net: Net,
    pub(super) transport: Option<Transport>,
}

/// Why there is no room for one more call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoRoom {
    Draining,
    Overload(Reason),
    Calls,
    /// Of this trunk.
    Channels(usize),
}

impl NoRoom {
    fn as_str(self) -> &'static str {
        match self {
            NoRoom::Draining => "draining",
            NoRoom::Overload(reason) => reason.as_str(),
            NoRoom::Calls => "calls",
            NoRoom::Channels(_) => "channels",
        }
    }
}

/// What the switchboard takes no calls for, as `/readyz` tells it.
pub(super) type Doors = watch::Sender<Vec<String>>;

/// A call that is up.
struct Up {
    state: CallState,
    trunk: usize,
    /// There is a recording, or will be one from the answer on.
    recorded: bool,
    /// Of a call that we placed.
    placed: Option<placing::Placed>,
    /// A second channel is kept for the target of a REFER.
    second: bool,
    inbox: mpsc::Sender<ToTask>,
}

/// A Call-ID that is somebody's.
struct Owned {
    owner: Owner,
    trunk: usize,
    /// Of a trunk whose peer is a name and that lists no sources: who said something first, and from the answer on who
    /// gave it. Nobody else may send requests.
    heard: Option<IpAddr>,
    /// It goes to a host that a REFER named: that one is held to this as well, whatever the trunk's sources are.
    direct: bool,
}

/// Whose a Call-ID is.
enum Owner {
    Call(mpsc::Sender<ToTask>),
    /// And the wake that counts.
    Lingering(Box<Session>, Instant),
    Registration(mpsc::Sender<Told>),
    Ping(mpsc::Sender<Told>),
}

/// A stop under way.
struct Stopping {
    reply: oneshot::Sender<()>,
    stage: Stage,
    /// When the next stage begins.
    until: Instant,
}

/// How far a stop has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Calls go on.
    Draining,
    /// They have been hung up.
    HungUp,
    /// Those that were left have been told not to wait for anything.
    Cut,
}

pub(super) struct Router {
    settings: Arc<Settings>,
    shells: Arc<Shells>,
    metrics: Arc<Metrics>,
    asks: mpsc::UnboundedSender<Ask>,
    rng: StdRng,
    calls: HashMap<Arc<str>, Up>,
    owners: HashMap<String, Owned>,
    /// When lingering sessions want to be woken.
    wakes: BinaryHeap<Reverse<(Instant, String)>>,
    channels: Vec<usize>,
    lines: Lines,
    guards: Vec<Option<Guard>>,
    admission: Admission,
    registrations: Vec<Registered>,
    service_routes: Vec<Vec<Uri>>,
    registrars: Vec<Registrar>,
    /// Why a trunk is not dialled now.
    down: Vec<Option<String>>,
    /// How a trunk stands, as it was last told.
    told: Vec<Standing>,
    ordered: ordered::Ordered,
    /// Each that listens in to a call has one, too.
    listening: Arc<()>,
    draining: bool,
    stopping: Option<Stopping>,
    gate: Gate,
    /// Why new calls are refused for overload, since when, and how many were.
    overload: Option<(Reason, Instant, u64)>,
    refused: Refused,
    doors: Doors,
}

impl Router {
    pub(super) fn new(
        settings: Arc<Settings>,
        shells: Arc<Shells>,
        metrics: Arc<Metrics>,
        asks: mpsc::UnboundedSender<Ask>,
        doors: Doors,
        seed: u64,
    ) -> Router {
        let trunks = settings.trunks.len();
        let gate = Gate::new(settings.overload);
        let mut rng = StdRng::seed_from_u64(seed);
        Router {
            lines: Lines::new(Instant::now(), &settings.trunks),
            guards: arriving::guards(&settings.trunks, &mut rng),
            admission: Admission::new(settings.strangers_per_second, rng.random()),
            settings,
            shells,
            metrics,
            asks,
            rng,
            calls: HashMap::new(),
            owners: HashMap::new(),
            wakes: BinaryHeap::new(),
            channels: vec![0; trunks],
            registrations: vec![Registered::NotAsked; trunks],
            service_routes: vec![Vec::new(); trunks],
            registrars: Vec::new(),
            down: vec![None; trunks],
            told: Vec::new(),
            ordered: ordered::Ordered::new(Instant::now()),
            listening: Arc::new(()),
            draining: false,
            stopping: None,
            gate,
            overload: None,
            refused: Refused::new(Instant::now()),
            doors,
        }
    }

    pub(super) async fn run(mut self, mut asks: mpsc::UnboundedReceiver<Ask>, mut arrivals: mpsc::Receiver<Arrival>) {
        self.register();
        self.ping();
        // How they stand at the start is no news: `ListTrunks` tells it.
        self.told = (0..self.settings.trunks.len()).map(|trunk| self.standing(trunk)).collect();
        loop {
            let deadline = self.deadline();
            tokio::select! {
                // In this order: a call makes itself known before its first datagram goes out, so it is known before the answer.
                biased;
                Some(ask) = asks.recv() => self.take(ask),
                Some(arrival) = arrivals.recv() => self.receive(arrival).await,
                () = super::task::until(deadline) => self.wake(Instant::now()),
            }
            // A flood of messages must not keep timers from their time.
            if self.deadline().is_some_and(|at| at <= Instant::now()) {
                self.wake(Instant::now());
            }
            if self.finished(Instant::now()) {
                break;
            }
        }
        self.unregister(&mut asks, &mut arrivals).await;
        if let Some(stopping) = self.stopping {
            let _ = stopping.reply.send(());
        }
    }

    /// Takes the registrations back. What the registrars say to that comes the same way as everything else.
    async fn unregister(&mut self, asks: &mut mpsc::UnboundedReceiver<Ask>, arrivals: &mut mpsc::Receiver<Arrival>) {
        let inboxes: Vec<_> = self.registrars.iter().map(|registrar| registrar.inbox.clone()).collect();
        let mut gone = pin!(async {
            for inbox in &inboxes {
                let _ = inbox.send(Told::Stop).await;
            }
            // A registration's task ends when its binding is gone.
            for inbox in &inboxes {
                inbox.closed().await;
            }
        });
        let mut patience = pin!(tokio::time::sleep(UNREGISTER));
        loop {
            tokio::select! {
                () = &mut gone => return,
                () = &mut patience => return,
                Some(ask) = asks.recv() => self.take(ask),
                Some(arrival) = arrivals.recv() => self.receive(arrival).await,
            }
        }
    }

    fn register(&mut self) {
        let settings = self.settings.clone();
        for (number, trunk) in settings.trunks.iter().enumerate() {
            let Some(wanted) = &trunk.registration else { continue };
            let outpost = self.outpost(number, trunk);
            self.registrations[number] = match registrar::start(outpost, trunk, wanted) {
                Ok(registrar) => {
                    self.registrars.push(registrar);
                    Registered::Trying
                }
                Err(reason) => Registered::Failed(reason),
            };
        }
    }

    fn ping(&mut self) {
        let settings = self.settings.clone();
        for (number, trunk) in settings.trunks.iter().enumerate() {
            let Some(plan) = trunk.ping else { continue };
            self.metrics.trunk_up(&trunk.name, true);
            let outpost = self.outpost(number, trunk);
            match pinger::start(outpost, trunk, plan) {
                Ok(pinger) => {
                    let owner = Owner::Ping(pinger.inbox);
                    self.owners.insert(pinger.call_id, Owned { owner, trunk: number, heard: None, direct: false });
                }
                Err(reason) => tracing::error!(trunk = trunk.name, reason, "the trunk cannot be pinged"),
            }
        }
    }

    /// A trunk for a task that keeps in touch with it.
    fn outpost(&mut self, number: usize, trunk: &Trunk) -> Outpost {
        let rng = StdRng::seed_from_u64(self.rng.random());
        let local = dialling::local(&self.settings, trunk);
        Outpost::new(number, trunk, local, self.net(number), self.asks.clone(), rng)
    }

    /// The sockets as a trunk uses them.
    fn net(&self, trunk: usize) -> Net {
        self.shells.trunks.get(trunk).unwrap_or(&self.shells.net).clone()
    }

    fn deadline(&self) -> Option<Instant> {
        let wake = self.wakes.peek().map(|Reverse((at, _))| *at);
        wake.into_iter().chain(self.stopping.as_ref().map(|s| s.until)).min()
    }

    fn take(&mut self, ask: Ask) {
        // A client that has gone away before its answer does not want it.
        match ask {
            Ask::Dial { order, reply } => drop(reply.send(self.dial(*order))),
            Ask::Answer { call_id, dialogue, knobs, headers, reply } => {
                drop(reply.send(self.answer(&call_id, &dialogue, knobs, headers)))
            }
            Ask::Decline { call_id, status, reason, reply } => {
                let declined = self.waiting(&call_id).and_then(|up| tell(up, Input::Decline { status, reason }.into()));
                drop(reply.send(declined));
            }
            Ask::Send { call_id, request_id, action, reply } => self.send(&call_id, request_id, action, reply),
            Ask::Listen { call_id, reply } => self.listen(&call_id, reply),
            Ask::Calls { reply } => drop(reply.send(self.calls.values().map(|up| up.state.clone()).collect())),
            Ask::Trunks { reply } => drop(reply.send(self.trunks())),
            Ask::Drain { reply } => {
                self.drain();
                let _ = reply.send(self.calls.len());
            }
            Ask::Stop { at_once, reply } => {
                self.drain();
                let drain = if at_once { Duration::ZERO } else { self.settings.drain };
                self.stopping = Some(Stopping { reply, stage: Stage::Draining, until: Instant::now() + drain });
            }
            Ask::Known { call_id, sip_call_id, caller, callee, inbox } => {
                if let Some(up) = self.calls.get_mut(&call_id) {
                    (up.state.caller, up.state.callee) = (caller, callee);
                    let owned = Owned { owner: Owner::Call(inbox), trunk: up.trunk, heard: None, direct: false };
                    self.owners.insert(sip_call_id, owned);
                }
            }
            Ask::Phase { call_id, phase, held, srtp, dialog, answered_from } => {
                if let Some(up) = self.calls.get_mut(&call_id) {
                    (up.state.phase, up.state.held, up.state.srtp) = (phase, held, srtp);
                    if let Some((replaces, target)) = dialog {
                        if let Some(owned) = self.owners.get_mut(&replaces.call_id) {
                            owned.heard = answered_from.or(owned.heard);
                        }
                        (up.state.replaces, up.state.remote_target) = (replaces.to_string(), target.to_string());
                    }
                }
            }
            Ask::Over { call_id, sip_call_id, session, unheard } => self.over(&call_id, sip_call_id, session, unheard),
            Ask::Health { trunk, down } => {
                self.metrics.trunk_up(&self.settings.trunks[trunk].name, down.is_none());
                self.down[trunk] = down;
                self.tell_standing(trunk);
            }
            Ask::Registers { trunk, call_id, inbox } => {
                let owner = Owner::Registration(inbox);
                self.owners.insert(call_id, Owned { owner, trunk, heard: None, direct: false });
            }
            Ask::Registered { trunk, state, route } => {
                self.registrations[trunk] = state;
                self.service_routes[trunk] = route;
                self.tell_standing(trunk);
            }
            Ask::RegistrationFailed { trunk, reason, counted } => {
                self.metrics.registration_failed(&self.settings.trunks[trunk].name, counted);
                self.registrations[trunk] = Registered::Failed(reason);
                self.service_routes[trunk].clear();
                self.tell_standing(trunk);
            }
            Ask::Reroute { call_id, reply } => drop(reply.send(self.reroute(&call_id))),
            Ask::Transfer { first, leg, link } => self.transfer(first, *leg, link),
            Ask::Moved { call_id, left, sip_call_id, inbox } => {
                let before = left.call_id().to_owned();
                if let Some(Owned { trunk, heard, direct, .. }) = self.owners.remove(&before) {
                    self.linger(before, left, trunk, (heard, direct));
                }
                self.free_second(&call_id);
                if let Some(up) = self.calls.get(&call_id) {
                    // That of a REFER's target is known already, and so is who has answered.
                    let owned = || Owned { owner: Owner::Call(inbox), trunk: up.trunk, heard: None, direct: false };
                    self.owners.entry(sip_call_id).or_insert_with(owned);
                }
            }
            Ask::Follow { call_id, follow, reply } => drop(reply.send(self.follow(&call_id, *follow))),
            Ask::Also { call_id, sip_call_id, direct, inbox } => self.also(&call_id, sip_call_id, direct, inbox),
            Ask::Left { call_id, left } => self.left(&call_id, left),
            Ask::Load(sample) => self.load(sample),
        }
    }

    fn load(&mut self, sample: Sample) {
        self.metrics.cpu_used.set(sample.cpu);
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        self.metrics.tasks.set(i64::try_from(tasks).unwrap_or(i64::MAX));
        let before = self.overload;
        match (before, self.gate.observe(sample)) {
            (None, None) => return,
            (None, Some(reason)) => {
                self.overload = Some((reason, sample.at, 0));
                tracing::warn!(reason = self.gate.explained(reason), "overload: new calls are refused");
            }
            (Some((_, since, refused)), Some(reason)) => self.overload = Some((reason, since, refused)),
            (Some((_, since, refused)), None) => {
                self.overload = None;
                let (lasted_s, cpu_percent) = ((sample.at - since).as_secs(), (sample.cpu * 100.0).round());
                let late_ms = sample.lateness.as_secs_f64() * 1_000.0;
                tracing::info!(lasted_s, refused, cpu_percent, late_ms, "overload has ended: calls are taken again");
            }
        }
        if before.map(|(reason, ..)| reason) != self.overload.map(|(reason, ..)| reason) {
            self.tell_doors();
        }
    }

    fn tell_doors(&self) {
        let draining = self.draining.then(|| "draining: no new calls are taken".to_owned());
        let overload = self.overload.map(|(reason, ..)| format!("overload: {}", self.gate.explained(reason)));
        self.doors.send_replace(draining.into_iter().chain(overload).collect());
    }

    /// Takes no new calls; those for which we are registered are to go elsewhere at once.
    fn drain(&mut self) {
        self.draining = true;
        self.tell_doors();
        for registrar in &self.registrars {
            // One whose inbox is full is told again at the end.
            let _ = registrar.inbox.try_send(Told::Stop);
        }
    }

    /// Whether there is room for one more call on a trunk. Cheap: under a flood this is asked for each INVITE.
    fn room(&self, trunk: usize) -> Result<(), NoRoom> {
        self.open().and_then(|()| self.channel(trunk))
    }

    /// Whether there is room for one more call at all.
    fn open(&self) -> Result<(), NoRoom> {
        if self.draining {
            Err(NoRoom::Draining)
        } else if self.calls.len() >= self.settings.max_calls {
            Err(NoRoom::Calls)
        } else if let Some((reason, ..)) = self.overload {
            Err(NoRoom::Overload(reason))
        } else {
            Ok(())
        }
    }

    /// Whether a trunk has a channel left.
    fn channel(&self, trunk: usize) -> Result<(), NoRoom> {
        let channels = self.settings.trunks[trunk].channels;
        if channels > 0 && self.channels[trunk] >= channels { Err(NoRoom::Channels(trunk)) } else { Ok(()) }
    }

    fn count_refused(&mut self, none: NoRoom) {
        self.metrics.refused(none.as_str());
        if let (NoRoom::Overload(_), Some((.., refused))) = (none, &mut self.overload) {
            *refused += 1;
        }
    }

    /// What an orchestrator hears of it.
    fn refusal(&self, none: NoRoom) -> Refusal {
        match none {
            NoRoom::Draining => Refusal::Draining,
            NoRoom::Calls => Refusal::Exhausted { limit: format!("[limits] calls = {}", self.settings.max_calls) },
            NoRoom::Channels(trunk) => {
                let Trunk { name, channels, .. } = &self.settings.trunks[trunk];
                Refusal::Exhausted { limit: format!("trunk {name}: [limits] channels = {channels}") }
            }
            NoRoom::Overload(reason) => Refusal::Overload(self.gate.explained(reason)),
        }
    }

    fn begin(&mut self, call_id: Arc<str>, trunk: usize, outbound: bool, start: Start) -> mpsc::Sender<ToTask> {
        let (inbox, inputs) = mpsc::channel(INBOX);
        let state = CallState {
            call_id: call_id.clone(),
            outbound,
            trunk: self.settings.trunks[trunk].name.as_str().into(),
            caller: "".into(),
            callee: "".into(),
            phase: Phase::Dialling,
            held: (false, false),
            srtp: "",
            started_at: SystemTime::now(),
            replaces: String::new(),
            remote_target: String::new(),
            transferred_from: None,
        };
        let recorded = match &start {
            Start::Dial(placement, _) => placement.services.record,
            Start::Incoming(.., services) => services.record,
        };
        let up = Up { state, trunk, recorded, placed: None, second: false, inbox: inbox.clone() };
        self.calls.insert(call_id, up);
        self.channels[trunk] += 1;
        self.metrics.calls.inc();
        let task = Box::new(Task {
            settings: self.settings.clone(),
            shells: self.shells.clone(),
            metrics: self.metrics.clone(),
            router: self.asks.clone(),
            rng: StdRng::seed_from_u64(self.rng.random()),
            net: self.net(trunk),
            inbox: inbox.clone(),
        });
        tokio::spawn(task.run(Box::new(start), inputs));
        inbox
    }

    fn up(&mut self, call_id: &str) -> Result<&mut Up, Refusal> {
        self.calls.get_mut(call_id).ok_or_else(|| Refusal::NotFound(call_id.to_owned()))
    }

    fn waiting(&mut self, call_id: &str) -> Result<&mut Up, Refusal> {
        let up = self.up(call_id)?;
        match up.state.phase {
            Phase::Waiting => Ok(up),
            phase => {
                Err(Refusal::WrongState(format!("call {call_id} is {phase:?} and does not wait for Answer or Decline")))
            }
        }
    }

    fn answer(
        &mut self,
        call_id: &str,
        dialogue: &str,
        knobs: KnobChange,
        headers: ExtraHeaders,
    ) -> Result<(), Refusal> {
        let known = self.settings.clone();
        let up = self.waiting(call_id)?;
        let dialogue = match dialogue {
            "" => None,
            name => Some(dialling::service("dialogue", name, &known.dialogues)?),
        };
        tell(up, ToTask::Answer(Box::new(Answer { dialogue, knobs, headers })))?;
        // Until the call's task says so itself: a second answer is one too many.
        up.state.phase = Phase::Ringing;
        Ok(())
    }

    fn wake(&mut self, now: Instant) {
        while let Some(Reverse((at, _))) = self.wakes.peek()
            && *at <= now
        {
            let Some(Reverse((at, sip_call_id))) = self.wakes.pop() else { return };
            // Those of earlier wishes than its last one do not count.
            let owner = self.owners.get(&sip_call_id).map(|owned| &owned.owner);
            if matches!(owner, Some(Owner::Lingering(_, wake)) if *wake == at) {
                self.rouse(sip_call_id, session::Input::Timer);
            }
        }
        let Some(stopping) = self.stopping.as_mut().filter(|stopping| stopping.until <= now) else { return };
        (stopping.stage, stopping.until) = match stopping.stage {
            Stage::Draining => (Stage::HungUp, now + LAST_CALLS),
            // Whoever is left leaves its record at least.
            Stage::HungUp => (Stage::Cut, now + LAST_RECORDS),
            Stage::Cut => return,
        };
        for up in self.calls.values() {
            let _ = up.inbox.try_send(Input::Shutdown.into());
        }
    }

    /// Whether a stop has come to its end: the calls are gone and their ends have been heard, or their time is over.
    fn finished(&mut self, now: Instant) -> bool {
        let Some(stopping) = &mut self.stopping else { return false };
        if self.calls.is_empty() && stopping.stage == Stage::Draining {
            (stopping.stage, stopping.until) = (Stage::HungUp, now + LAST_CALLS);
        }
        // A BYE that was lost is sent again: nobody else would do it for us.
        let asks = |owned: &Owned| matches!(&owned.owner, Owner::Lingering(session, _) if session.is_asking());
        let heard = || !self.owners.values().any(asks);
        (self.calls.is_empty() && heard()) || (stopping.stage == Stage::Cut && stopping.until <= now)
    }
}

fn tell(up: &Up, input: ToTask) -> Result<(), Refusal> {
    room(up).map(|room| room.send(input))
}

/// For one more word to a call.
fn room(up: &Up) -> Result<mpsc::Permit<'_, ToTask>, Refusal> {
    let full = |_| Refusal::WrongState(format!("call {} is too busy to listen; try again", up.state.call_id));
    up.inbox.try_reserve().map_err(full)
}

/// The record of a call that could not even be placed.
pub(super) fn never_placed(plan: &Plan, reason: &str) -> CallRecord {
    let now = SystemTime::now();
    CallRecord {
        call_id: plan.call_id.to_string(),
        direction: "outbound",
        trunk: plan.trunk.clone(),
        caller: plan.parties.caller.clone(),
        callee: plan.parties.callee.clone(),
        started_at: now,
        rang_at: None,
        answered_at: None,
        ended_at: now,
        setup_ms: Ms(0),
        talk_ms: Ms(0),
        outcome: Outcome::NoChannel,
        sip_code: 0,
        sip_reason: String::new(),
        hung_up_by: HungUpBy::Network,
        end_reason: reason.to_owned(),
        keys: String::new(),
        turns: Vec::new(),
        quality: LineQuality::default(),
        labels: Default::default(),
        faults: Vec::new(),
        wav: String::new(),
        wav_url: String::new(),
        recording_pauses: Vec::new(),
        recording_answer: None,
        mutes: Vec::new(),
        request_id: plan.request_id.clone(),
        correlation: plan.correlation.clone(),
        sip_call_id: String::new(),
        transfers: Vec::new(),
        user_to_user: Vec::new(),
        early_media_at: None,
        early_text: Vec::new(),
        announcement: None,
        srtp: "",
        tones: Vec::new(),
        answered_by: Vec::new(),
        transferred_from: plan.transferred_from.as_deref().unwrap_or_default().to_owned(),
    }
}
