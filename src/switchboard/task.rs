//! One call's task: carries what the call wants to the shells, and what they say back to the call.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, oneshot};

use super::dialling::{Placement, Services};
use super::order::{Refusal, Sent};
use super::pair::{self, Heard, Link, Word};
use super::router::{Ask, Elsewhere, First};
use super::settings::Settings;
use super::{Metrics, NONE, Shells};
use crate::call::Route;
use crate::call::action::Action;
use crate::call::call::{Answering, Call, Phase, Plan};
use crate::call::event::{Event, What};
use crate::call::io::{FromSpeech, Input, Output, ToDialogue, ToRecogniser, Wanted};
use crate::call::knobs::KnobChange;
use crate::call::leg::{self, LegEvent, Setup};
use crate::call::prompt::{NO_PROMPT, PromptNo};
use crate::call::second_leg::News;
use crate::call::transfer::Follow;
use crate::codec::coding::Band;
use crate::dialogue;
use crate::grid;
use crate::media::{self, Listener, MediaEvent, NoPort, Recorder, Reservation, Wiring};
use crate::ms::Ms;
use crate::net::Net;
use crate::sip::Local;
use crate::sip::locate::Spares;
use crate::sip::message::Target;
use crate::sip::session::{self, Dial, ExtraHeaders, Session};
use crate::sip::transport::Transport;
use crate::speech::Synthesis;

/// Frames that may wait for the recogniser, whose task looks every 100 ms: what a page of memory holds, 480 ms.
const HEARD: usize = 24;
/// Pieces of a line of 16 kHz for a G.711 frame: of 5 ms instead of 20.
const PIECES: usize = 4;
/// Frames that may wait for the recorder: a disk that is busy for a second is not rare.
const RECORDED: usize = 50;
/// Pieces that a leg has played, until its call comes by again with the next one. The call is woken for more than that.
const SPENT: usize = 8;
/// Inputs that may wait for the call. Services wait for room; SIP messages beyond it are dropped, and repeated by their senders.
pub(super) const INBOX: usize = 256;

/// How many `request_id`s of `Send` are remembered.
const SENT_IDS: usize = 64;
/// The most that listen in to a call at a time.
const MOST_LISTENERS: usize = 8;

/// What the recogniser of early media may have to say at once: a partial or a text a while.
const INBOX_EARLY: usize = 4;

fn heard_room(setup: &Setup) -> usize {
    if setup.may_widen { PIECES * HEARD } else { HEARD }
}

/// How a call begins.
pub(super) enum Start {
    /// We place it.
    Dial(Box<Placement>, Local),
    /// It came.
    Incoming(Box<Session>, Box<Plan>, Answering, Services),
}

/// What a task is made of.
pub(super) struct Task {
    pub(super) settings: Arc<Settings>,
    pub(super) shells: Arc<Shells>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) router: mpsc::UnboundedSender<Ask>,
    pub(super) rng: StdRng,
    /// As the call's trunk uses it.
    pub(super) net: Net,
    pub(super) inbox: mpsc::Sender<ToTask>,
}

/// Waits for a moment, or a little longer, so as to be woken with others; forever when there is none.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(grid::from(deadline.into())).await,
        None => std::future::pending().await,
    }
}

impl Task {
    /// Holds the call until it is over. From boxes: a future keeps what it is given twice over.
    pub(super) async fn run(mut self: Box<Self>, mut start: Box<Start>, mut inputs: mpsc::Receiver<ToTask>) {
        let (call_id, correlation) = match &*start {
            Start::Dial(placement, _) => (placement.plan.call_id.clone(), placement.plan.correlation.clone()),
            Start::Incoming(_, plan, ..) => (plan.call_id.clone(), plan.correlation.clone()),
        };
        // Where the peer is says by which family media comes and goes, unless its offer has said so.
        let mut nowhere = false;
        let v6 = match &mut *start {
            Start::Dial(placement, local) => {
                let Placement { dial, transport, .. } = &mut **placement;
                let towards = Box::pin(find(&self.net, &mut self.rng, dial, *transport, local)).await;
                nowhere = towards.is_none();
                *local = towards.unwrap_or_else(|| local.clone());
                local.contact.is_ipv6()
            }
            Start::Incoming(_, plan, ..) => plan.local_media.is_ipv6(),
        };
        let address = self.settings.media.family(v6);
        let port = match self.shells.media.reserve(address.bind).await {
            Ok(port) => port,
            Err(error) => return Box::pin(self.without_media(&call_id, start, &error, inputs)).await,
        };
        let local_media = SocketAddr::new(address.advertised, port.port());
        let (now, wall) = (Instant::now(), SystemTime::now());
        let rng = StdRng::seed_from_u64(self.rng.random());
        let mut clamps = Vec::new();
        // In a box: a future has room for whatever it ever holds, at each place where it has held it.
        let (mut call, services, link) = match *start {
            Start::Dial(placement, local) => {
                let Placement { dial, ring_timeout, mut plan, clamps: clamped, services, link, .. } = *placement;
                plan.local_media = local_media;
                clamps = clamped;
                (Box::new(Call::dial(now, wall, plan, ring_timeout, local, dial, rng)), services, link)
            }
            Start::Incoming(session, mut plan, answering, services) => {
                plan.local_media = local_media;
                (Box::new(Call::incoming(now, wall, *plan, answering, *session, rng)), services, None)
            }
        };
        // Before the first datagram goes out, the router knows whose the answer is.
        let known = Ask::Known {
            call_id: call_id.clone(),
            sip_call_id: call.sip_call_id().to_owned(),
            caller: call.caller().into(),
            callee: call.callee().into(),
            inbox: self.inbox.clone(),
        };
        let _ = self.router.send(known);
        let (media, mut from_media) = mpsc::unbounded_channel();
        let rng = StdRng::seed_from_u64(self.rng.random());
        let mut wires = Wires {
            task: &self,
            net: self.net.clone(),
            rng,
            nowhere,
            call_id: call_id.clone(),
            correlation: correlation.into(),
            services,
            bind: address.bind,
            port,
            media: Some(media),
            spent: None,
            link,
            dialogue: None,
            streams: 0,
            left: Vec::new(),
            band: Band::Narrow,
            recogniser: None,
            early: None,
            synthesis: HashMap::new(),
            sent: VecDeque::new(),
            listening: None,
            listeners: 0,
        };
        for clamp in clamps {
            wires.tell(Ms(0), wall, What::KnobClamped(clamp));
        }
        let (mut phase, mut held, mut srtp) = (Phase::Dialling, (false, false), "");
        // Which dialog it is: another one after a REFER of the far end.
        let mut dialog_of = String::new();
        let mut leg_gone = false;
        loop {
            // Before the world hears of it: whoever acts on an event finds the call in that phase.
            if ((call.phase(), call.held(), call.srtp()) != (phase, held, srtp) || call.sip_call_id() != dialog_of)
                && call.phase() != Phase::Over
            {
                call.sip_call_id().clone_into(&mut dialog_of);
                (phase, held, srtp) = (call.phase(), call.held(), call.srtp());
                let (dialog, answered_from) = (call.replaces(), call.answered_from());
                let _ =
                    self.router.send(Ask::Phase { call_id: call_id.clone(), phase, held, srtp, dialog, answered_from });
            }
            while let Some(output) = call.poll() {
                if let Some(back) = wires.carry(output, call.wall(Instant::now())).await {
                    call.handle(Instant::now(), back);
                }
            }
            if call.phase() == Phase::Over {
                break;
            }
            wires.free_spent();
            let input = tokio::select! {
                event = from_media.recv(), if !leg_gone => match event {
                    // Only to be freed here and not on the media thread.
                    Some(MediaEvent::Leg(LegEvent::Spent(_) | LegEvent::SpentShared(_))) => continue,
                    Some(MediaEvent::Leg(event)) => Some(Input::Leg(event).into()),
                    Some(MediaEvent::Closed(quality)) => {
                        leg_gone = true;
                        Some(Input::LegClosed(quality).into())
                    }
                    None => {
                        leg_gone = true;
                        Some(Input::LegLost.into())
                    }
                },
                input = heard_early(&mut wires.early) => Some(input.into()),
                Some(input) = inputs.recv() => Some(input),
                heard = pair::hear(&mut wires.link) => match heard {
                    Heard::Input(input) => Some(ToTask::Call(input)),
                    Heard::Bridge(bridge) => {
                        wires.port.bridge(bridge);
                        continue;
                    }
                },
                () = until(call.deadline()) => None,
            };
            match input {
                Some(ToTask::Answer(answer)) => {
                    let Answer { dialogue, knobs, headers } = *answer;
                    let choice = dialogue.as_ref().map(|name| name != NONE);
                    wires.services.dialogue = dialogue.unwrap_or(wires.services.dialogue);
                    call.handle(Instant::now(), Input::Answer { knobs, dialogue: choice, headers });
                }
                // What a stream still says that the call has left is for nobody.
                Some(ToTask::Dialogue(told)) if told.stream != wires.streams => continue,
                Some(ToTask::Dialogue(told)) => call.handle(Instant::now(), Input::Dialogue(told.from)),
                Some(ToTask::Command(command)) => wires.command(&mut call, *command),
                Some(ToTask::Listen(listening)) => wires.overhear(*listening),
                Some(ToTask::Call(input)) => {
                    wires.done_with(&input);
                    call.handle(Instant::now(), *input);
                }
                None => call.tick(Instant::now()),
            }
        }
        drop(wires);
        let sip_call_id = call.sip_call_id().to_owned();
        let over = Ask::Over { call_id, sip_call_id, session: Some(Box::new(call.into_session())), unheard: inputs };
        let _ = self.router.send(over);
    }

    /// There is no port: an inbound call is refused, an outbound one is over before it began.
    async fn without_media(
        self: Box<Self>,
        call_id: &Arc<str>,
        start: Box<Start>,
        error: &NoPort,
        unheard: mpsc::Receiver<ToTask>,
    ) {
        self.no_port(call_id, error);
        let session = match *start {
            Start::Incoming(mut session, ..) => {
                let retry =
                    ExtraHeaders::try_from(vec![("Retry-After".to_owned(), super::router::RETRY_AFTER.to_owned())]);
                let headers = retry.unwrap_or_default();
                session.handle(Instant::now(), session::Input::Reject { code: 503, reason: None, headers });
                while let Some(output) = session.poll() {
                    if let session::Output::Transmit { to, payload } = output {
                        let _ = self.net.send(&to, &payload).await;
                    }
                }
                Some(session)
            }
            Start::Dial(placement, _) => {
                let record = super::router::never_placed(&placement.plan, &error.to_string());
                if let Some(link) = placement.link {
                    link.tell(Word::News(News::Failed { code: 0, reason: error.to_string() }));
                }
                drop(self.shells.journal.finish_call(record, placement.services.name, Ms(0)));
                None
            }
        };
        let sip_call_id = session.as_ref().map(|s| s.call_id().to_owned()).unwrap_or_default();
        let _ = self.router.send(Ask::Over { call_id: call_id.clone(), sip_call_id, session, unheard });
    }

    fn no_port(&self, call_id: &Arc<str>, error: &NoPort) {
        tracing::error!(call = %call_id, reason = %error, "no RTP port for the call");
        self.metrics.refused(match error {
            NoPort::NoFiles => "no_file",
            _ => "no_port",
        });
    }
}

/// Finds the peer of a call (RFC 3263): the first of its addresses, and the others to be called when nobody is there. Gives what our messages
/// say of us to it; `None` when it cannot be found.
async fn find(
    net: &Net,
    rng: &mut StdRng,
    dial: &mut Dial,
    transport: Option<Transport>,
    local: &Local,
) -> Option<Local> {
    let located = net.locate(&dial.next_hop, transport, &local.ways, rng).await;
    let (first, spares) = Spares::of(&located.ok()?)?;
    dial.next_hop = Target::Addr(first.address);
    dial.spares = spares;
    Some(local.clone().towards(first))
}

/// The connections of a call before its answer.
struct Early {
    media: mpsc::UnboundedReceiver<MediaEvent>,
    speech: mpsc::Receiver<FromSpeech>,
    recogniser: Option<mpsc::Sender<ToRecogniser>>,
    /// When its leg began.
    began: Option<Instant>,
    /// It is recorded.
    record: bool,
}

/// What comes of early media; for ever nothing, when none is listened to.
async fn heard_early(early: &mut Option<Box<Early>>) -> Input {
    let Some(early) = early else { return std::future::pending().await };
    loop {
        tokio::select! {
            Some(event) = early.media.recv() => match event {
                MediaEvent::Leg(LegEvent::Spent(_)) | MediaEvent::Closed(_) => {}
                MediaEvent::Leg(event) => {
                    if let LegEvent::Began { at } = event {
                        early.began = Some(at);
                    }
                    return Input::EarlyLeg(event);
                }
            },
            Some(from) = early.speech.recv() => return Input::EarlySpeech(from),
            else => std::future::pending().await,
        }
    }
}

/// A call lies in a box, and the allocator's next size is 6 KiB.
const _: () = assert!(size_of::<Call>() <= 5 * 1024);

/// A call's connections to the shells.
struct Wires<'a> {
    task: &'a Task,
    /// The sockets, as the trunk of the call uses them.
    net: Net,
    rng: StdRng,
    /// The one who is called has no address: nothing can be sent.
    nowhere: bool,
    call_id: Arc<str>,
    correlation: Arc<str>,
    services: Services,
    /// The address of ours that the port is one of.
    bind: IpAddr,
    port: Reservation,
    /// Until there is a leg: from then on only it may hold this, so that its end is heard.
    media: Option<mpsc::UnboundedSender<MediaEvent>>,
    /// Sound that the leg has played, to be freed here and not on its thread.
    spent: Option<rtrb::Consumer<Vec<i16>>>,
    /// To the other call of a transfer.
    link: Option<Box<Link>>,
    dialogue: Option<dialogue::Handle>,
    /// Streams that it has had, and the endpoints of those that were lost.
    streams: u32,
    left: Vec<String>,
    /// What is said is made for a line of this one: as signalling has it.
    band: Band,
    recogniser: Option<mpsc::Sender<ToRecogniser>>,
    /// What is heard before the answer; in a box, since most calls have none.
    early: Option<Box<Early>>,
    /// Segments that are being made; dropping one cancels it.
    synthesis: HashMap<(PromptNo, u32), Synthesis>,
    /// The last commands that had a `request_id`.
    sent: VecDeque<String>,
    /// Once somebody has listened in: each who does has one, too; and how many there were.
    listening: Option<Arc<()>>,
    listeners: u64,
}

impl Wires<'_> {
    /// Carries one thing that the call wants. What cannot be carried comes back as an input.
    async fn carry(&mut self, output: Output, wall: SystemTime) -> Option<Input> {
        let shells = &self.task.shells;
        match output {
            Output::Transmit { to, payload } => {
                if self.nowhere || self.net.send(&to, &payload).await.is_err() {
                    return Some(Input::Unsent { to });
                }
            }
            Output::Reroute => {
                let (reply, route) = oneshot::channel();
                let _ = self.task.router.send(Ask::Reroute { call_id: self.call_id.clone(), reply });
                let gone = || Err("the switchboard is gone".to_owned());
                let way = route.await.unwrap_or_else(|_| gone());
                return Some(Input::Route(match way {
                    Ok(elsewhere) => self.go(elsewhere).await,
                    Err(reason) => Err(reason),
                }));
            }
            Output::OtherFamily { v6 } => return Some(Input::Media(self.media_of(v6).await)),
            Output::Moved { left, sip_call_id } => {
                let call_id = self.call_id.clone();
                let _ =
                    self.task.router.send(Ask::Moved { call_id, left, sip_call_id, inbox: self.task.inbox.clone() });
            }
            Output::Follow(follow) => self.follow(*follow),
            Output::Known { sip_call_id, direct } => {
                let call_id = self.call_id.clone();
                let _ =
                    self.task.router.send(Ask::Also { call_id, sip_call_id, direct, inbox: self.task.inbox.clone() });
            }
            Output::Left(left) => {
                let _ = self.task.router.send(Ask::Left { call_id: self.call_id.clone(), left });
            }
            Output::Listen { setup, recognise, record } => self.listen(*setup, recognise, record),
            Output::StopListening => self.port.close(),
            Output::EarlyRecogniser(mark) => {
                if let Some(recogniser) = self.early.as_ref().and_then(|early| early.recogniser.as_ref()) {
                    let _ = recogniser.try_send(mark);
                }
            }
            Output::OpenLeg(setup) => self.open_leg(*setup),
            Output::Leg(command) => {
                if let leg::Command::Media(media, ..) = &command {
                    self.band = media.coding.band();
                }
                self.port.command(command);
            }
            Output::CloseLeg => self.port.close(),
            Output::Dialogue(ToDialogue::Open) => self.open_dialogue(),
            Output::Dialogue(ToDialogue::Resume) => {
                let left = self.dialogue.take().map(|dialogue| dialogue.endpoint().to_owned());
                self.left.extend(left);
                self.open_dialogue();
            }
            Output::Dialogue(ToDialogue::Attach(name)) => {
                (self.services.dialogue, self.left) = (name, Vec::new());
                self.open_dialogue();
            }
            Output::Dialogue(ToDialogue::Tell(event)) => {
                if let Some(dialogue) = &mut self.dialogue {
                    dialogue.tell(event);
                }
            }
            Output::Dialogue(ToDialogue::Close) => self.dialogue = None,
            Output::Recogniser(mark) => {
                // One that is stuck tells its trouble by itself.
                if let Some(recogniser) = &self.recogniser {
                    let _ = recogniser.try_send(mark);
                }
            }
            Output::Want { prompt, segment, wanted: Wanted::Text(text) } => {
                let (name, inbox) = (&self.services.speech, self.task.inbox.clone());
                let synthesis =
                    shells.speech.synthesise(name, &self.call_id, (prompt, segment), text, self.band, inbox);
                self.synthesis.insert((prompt, segment), synthesis);
            }
            Output::Want { prompt, segment, wanted: Wanted::File(path) } => {
                // What is looped is of 8 kHz.
                let band = if prompt == NO_PROMPT { Band::Narrow } else { self.band };
                shells.prompts.load(path, band, prompt, segment, self.task.inbox.clone());
            }
            Output::Unwant(prompt) => self.synthesis.retain(|(of, _), _| *of != prompt),
            Output::Transfer(leg) => {
                let (ours, link) = Link::pair();
                self.link = Some(ours);
                let (call_id, correlation) = (self.call_id.clone(), self.correlation.clone());
                let first = First { call_id, speech: self.services.speech.clone(), correlation };
                let _ = self.task.router.send(Ask::Transfer { first, leg, link });
            }
            Output::Second(told) => self.tell_other(Word::Told(told)),
            Output::First(news) => self.tell_other(Word::News(news)),
            Output::Bridge { recognised } => {
                let (ours, theirs) = media::bridge(recognised);
                self.port.bridge(ours);
                self.tell_other(Word::Bridge(theirs));
            }
            Output::Tell { at, what } => self.tell(at, wall, what),
            Output::Over(record) => {
                self.task.metrics.over(&record);
                let at = record.talk_ms;
                // The two last events, RecordReady and Ended, are told by the journal when the files are there.
                drop(shells.journal.finish_call(*record, self.services.name.clone(), at));
            }
        }
        None
    }

    fn tell_other(&self, word: Word) {
        if let Some(link) = &self.link {
            link.tell(word);
        }
    }

    /// Turns to another trunk, and finds its peer.
    async fn go(&mut self, elsewhere: Elsewhere) -> Result<Box<Route>, String> {
        let Elsewhere { mut route, net, transport } = elsewhere;
        self.net = net;
        let found = Box::pin(find(&self.net, &mut self.rng, &mut route.dial, transport, &route.local)).await;
        self.nowhere = found.is_none();
        if let Some(local) = found {
            route.local_media = self.media_of(local.contact.is_ipv6()).await?;
            route.local = local;
        }
        Ok(route)
    }

    /// Media of a family from now on, before there is a leg: ports of it, and the ones before are given back. Where they are is told if that is
    /// another place.
    async fn media_of(&mut self, v6: bool) -> Result<Option<SocketAddr>, String> {
        let address = self.task.settings.media.family(v6);
        if address.bind == self.bind {
            return Ok(None);
        }
        let port = self.task.shells.media.reserve(address.bind).await.map_err(|error| {
            self.task.no_port(&self.call_id, &error);
            error.to_string()
        })?;
        (self.bind, self.port) = (address.bind, port);
        Ok(Some(SocketAddr::new(address.advertised, self.port.port())))
    }

    /// The way to the target of a REFER. A name may take seconds to be found: the call does not wait for it.
    fn follow(&mut self, follow: Follow) {
        let (router, inbox, call_id) = (self.task.router.clone(), self.task.inbox.clone(), self.call_id.clone());
        let mut rng = StdRng::seed_from_u64(self.rng.random());
        tokio::spawn(async move {
            let (reply, way) = oneshot::channel();
            let _ = router.send(Ask::Follow { call_id, follow: Box::new(follow), reply });
            let gone = || Err("the switchboard is gone".to_owned());
            let route = match way.await.unwrap_or_else(|_| gone()) {
                Ok(Elsewhere { mut route, net, transport }) => {
                    match find(&net, &mut rng, &mut route.dial, transport, &route.local).await {
                        Some(local) => {
                            route.local = local;
                            Ok(route)
                        }
                        None => Err(format!("{} cannot be found", route.dial.next_hop)),
                    }
                }
                Err(reason) => Err(reason),
            };
            let _ = inbox.send(Input::Followed(route).into()).await;
        });
    }

    /// The leg and the recogniser before the answer. They have channels of their own: what still comes of them afterwards is not taken for
    /// what comes of the call.
    fn listen(&mut self, setup: Setup, recognise: bool, record: bool) {
        let (media, from_media) = mpsc::unbounded_channel();
        let (tell, from_speech) = mpsc::channel(INBOX_EARLY);
        let (heard, recogniser) = recognise
            .then(|| {
                let (producer, consumer) = rtrb::RingBuffer::new(heard_room(&setup));
                let speech = &self.task.shells.speech;
                (producer, speech.recognise_early(&self.services.speech, &self.call_id, consumer, tell))
            })
            .unzip();
        let recorded = record.then(|| self.recorder(&setup));
        self.early = Some(Box::new(Early { media: from_media, speech: from_speech, recogniser, began: None, record }));
        let events = Box::new(move |event| drop(media.send(event)));
        self.port.open(setup, Wiring { events, heard, recorded });
    }

    /// A leg's way to the call's recording, which begins with it, or goes on.
    fn recorder(&self, setup: &Setup) -> Recorder {
        let (producer, consumer) = rtrb::RingBuffer::new(RECORDED);
        let (call_id, journal) = (self.call_id.clone(), &self.task.shells.journal);
        match self.early.as_ref().filter(|early| early.record) {
            Some(early) => {
                journal.continue_recording(call_id, consumer);
                Recorder::new(producer, early.began)
            }
            None => {
                journal.open_recording(call_id, self.services.name.clone(), setup.media.law(), consumer);
                Recorder::new(producer, None)
            }
        }
    }

    fn open_dialogue(&mut self) {
        self.streams += 1;
        let (name, inbox) = (&self.services.dialogue, self.task.inbox.clone());
        self.dialogue = Some(self.task.shells.dialogues.open(name, self.streams, &self.left, inbox));
    }

    fn open_leg(&mut self, setup: Setup) {
        let Some(media) = self.media.take() else { return };
        self.band = setup.media.coding.band();
        let shells = &self.task.shells;
        let heard = (self.services.speech != NONE).then(|| {
            let (producer, consumer) = rtrb::RingBuffer::new(heard_room(&setup));
            let inbox = self.task.inbox.clone();
            let phrases = std::mem::take(&mut self.services.phrases);
            let name = &self.services.speech;
            self.recogniser = Some(shells.speech.recognise(name, &self.call_id, consumer, phrases, inbox));
            producer
        });
        let recorded = self.services.record.then(|| self.recorder(&setup));
        // Nobody is woken for it: a call that speaks comes by with every piece that it gives.
        let (mut spent, freed) = rtrb::RingBuffer::new(SPENT);
        self.spent = Some(freed);
        let events = Box::new(move |event| {
            let event = match event {
                MediaEvent::Leg(LegEvent::Spent(samples)) => match spent.push(samples) {
                    Ok(()) => return,
                    Err(rtrb::PushError::Full(samples)) => MediaEvent::Leg(LegEvent::Spent(samples)),
                },
                event => event,
            };
            // A call that is over hears nothing more.
            let _ = media.send(event);
        });
        self.port.open(setup, Wiring { events, heard, recorded });
    }

    fn free_spent(&mut self) {
        if let Some(spent) = &mut self.spent {
            while spent.pop().is_ok() {}
        }
    }

    /// The orchestrator wants something; the same again, by its `request_id`, is done already.
    fn command(&mut self, call: &mut Call, command: Command) {
        let Command { request_id, action, sent, reply } = command;
        if self.sent.contains(&request_id) {
            return drop(reply.send(Ok(sent)));
        }
        if let Err(reason) = call.allows(&action) {
            return drop(reply.send(Err(Refusal::WrongState(reason))));
        }
        if !request_id.is_empty() {
            self.sent.push_back(request_id);
            if self.sent.len() > SENT_IDS {
                self.sent.pop_front();
            }
        }
        call.handle(Instant::now(), Input::Command(action));
        drop(reply.send(Ok(sent)));
    }

    /// Somebody wants to listen in.
    fn overhear(&mut self, listening: Listening) {
        let Listening { counted, reply } = listening;
        let own = self.listening.get_or_insert_default();
        let listener = if Arc::strong_count(own) > MOST_LISTENERS {
            Err(Refusal::Listeners(format!("{MOST_LISTENERS} listen in to call {}, and no more may", self.call_id)))
        } else {
            self.listeners += 1;
            Ok(self.port.listen(self.listeners, vec![counted, own.clone()]))
        };
        drop(reply.send(listener));
    }

    fn tell(&self, at: Ms, wall: SystemTime, what: What) {
        self.task.metrics.saw(&what);
        let (call_id, correlation) = (self.call_id.clone(), self.correlation.clone());
        self.task.shells.journal.tell(Event { call_id, wall, at, correlation, what });
    }

    /// A segment that has been made needs nobody to make it.
    fn done_with(&mut self, input: &Input) {
        if let Input::Speech(
            FromSpeech::SoundEnd { prompt, segment }
            | FromSpeech::SoundFailed { prompt, segment, .. }
            | FromSpeech::Recording { prompt, segment, .. },
        ) = input
        {
            self.synthesis.remove(&(*prompt, *segment));
        }
    }
}

/// What comes to a call's task. In boxes: a channel has room for 32 of them from the beginning, and most calls need it for two.
#[derive(Debug)]
pub(super) enum ToTask {
    /// For the call.
    Call(Box<Input>),
    /// From its dialogue.
    Dialogue(Box<dialogue::Told>),
    /// The orchestrator answers.
    Answer(Box<Answer>),
    /// The orchestrator wants something.
    Command(Box<Command>),
    /// Somebody wants to listen in.
    Listen(Box<Listening>),
}

/// What the orchestrator wants.
#[derive(Debug)]
pub(super) struct Command {
    /// The same again does nothing; empty: it is not checked.
    pub(super) request_id: String,
    pub(super) action: Action,
    /// What it is told when it is done.
    pub(super) sent: Sent,
    pub(super) reply: oneshot::Sender<Result<Sent, Refusal>>,
}

/// Who wants to listen in.
#[derive(Debug)]
pub(super) struct Listening {
    /// One of those by which all are counted.
    pub(super) counted: Arc<()>,
    pub(super) reply: oneshot::Sender<Result<Listener, Refusal>>,
}

/// How the orchestrator answers.
#[derive(Debug)]
pub(super) struct Answer {
    /// Another dialogue than the route's.
    pub(super) dialogue: Option<String>,
    /// Changes to the knobs.
    pub(super) knobs: KnobChange,
    /// Headers of the 200.
    pub(super) headers: ExtraHeaders,
}

impl From<Input> for ToTask {
    fn from(input: Input) -> ToTask {
        ToTask::Call(Box::new(input))
    }
}

impl From<dialogue::Told> for ToTask {
    fn from(told: dialogue::Told) -> ToTask {
        ToTask::Dialogue(Box::new(told))
    }
}

impl From<FromSpeech> for ToTask {
    fn from(from: FromSpeech) -> ToTask {
        Input::Speech(from).into()
    }
}
