//! One call, from the INVITE to its record: joins the signalling, the leg's life and the conversation.
//!
//! ```text
//! dial      Dialling ─ 18x ► Ringing ─ 2xx ► Talking ─ BYE ► Ending ─ leg closed, last text came ► Over
//! incoming  Ringing | Waiting ─ Answer, ACK ► Talking ─ …
//! ```
//! Media and conversation begin with the 2xx on a call that we placed, and with the ACK on one that we answered.

mod announced;
mod answering;
mod bridged;
mod commanded;
mod early;
mod ending;
mod handing_over;
mod listening;
mod offers;
mod referred;
mod secured;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::action::{Action, Asked, Farewell};
use super::announcement::Announcements;
use super::conversation::{Conversation, Rules};
use super::event::{Stage, What};
use super::info;
use super::io::{FromDialogue, Input, Output};
use super::knobs::{Background, Knobs};
use super::leg::{self, LegEvent};
use super::line::{Begin, HungUpBy, Parties};
use super::outcome;
use super::quality::{LineRules, LineWatch};
use super::record::{CallRecord, LineQuality, Outcome, ReceivedUui, Transfer};
use super::second_leg::News;
use super::transfer;
use crate::dsp::tone::progress::Country;
use crate::ms::Ms;
use crate::sdp::{AudioFormat, Capabilities, Direction, Negotiated, NegotiationError, Negotiator, Suite};
use crate::sip::Local;
use crate::sip::message::{HeaderName, Request, Target, Uri};
use crate::sip::refer::{Progress, Replaces};
use crate::sip::session::{self, Carrier, Dial, Event, ExtraHeaders, Session};

use announced::Why;
pub(super) use offers::negotiator;
use offers::{media, refusal};
pub use secured::{SrtpPlan, srtp};

/// A leg that does not say goodbye is not waited for any longer.
const LEG_FAREWELL: Duration = Duration::from_secs(2);

/// What a call is given along.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Our id of it.
    pub call_id: Arc<str>,
    /// The profile.
    pub trunk: String,
    /// Who calls whom.
    pub parties: Parties,
    /// Final answers before any sign of the call upon which another way is asked for; so is silence, and what cannot be sent. Empty:
    /// there is no other way.
    pub failover: Vec<u16>,
    /// How long the INVITE may stay without any answer.
    pub setup_timeout: Duration,
    /// How long the call may last.
    pub longest: Option<Duration>,
    /// The orchestrator's id of the request; empty for inbound.
    pub request_id: String,
    /// What the orchestrator wants back.
    pub correlation: String,
    /// For the dialogue.
    pub variables: Vec<(String, String)>,
    /// Headers of the INVITE that the dialogue gets to see.
    pub pass_headers: Vec<String>,
    /// First values.
    pub knobs: Knobs,
    /// Looped from the answer on.
    pub background: Option<Background>,
    /// For the conversation.
    pub rules: Rules,
    /// For transfers.
    pub transfer: Arc<transfer::Rules>,
    /// Of a second leg: the call that is handed over.
    pub transferred_from: Option<Arc<str>>,
    /// Hang up when no RTP came for this long.
    pub rtp_timeout: Duration,
    /// Where our media is reached.
    pub local_media: SocketAddr,
    /// Codecs, the preferred one first.
    pub formats: Vec<AudioFormat>,
    /// RTCP, and what is told of the line.
    pub line: LineRules,
    /// Whether the media are encrypted; `None`: they are not.
    pub srtp: Option<Box<SrtpPlan>>,
    /// An inbound call that rings gets 183 with SDP instead of 180.
    pub early_media: bool,
    /// What is heard before the answer of a call that we place goes to recognition; only with a recogniser.
    pub early_media_asr: bool,
    /// And into its recording, which begins there.
    pub record_early: bool,
    /// Whether keys are heard as tones.
    pub inband_keys: leg::InbandKeys,
    /// Whose call progress tones are listened for, before the answer and after it.
    pub tones: Option<Arc<Country>>,
    /// Who answers a call that we place is judged by these.
    pub answerer: Option<crate::dsp::answerer::Rules>,
    /// And what is heard before the answer.
    pub answerer_early: bool,
    /// One that says that there is nobody ends the call.
    pub hang_up_on_tone: bool,
    /// What operators announce before the answer of a call that we place: it goes to recognition for that, also where the dialogue is not
    /// told of it; only with a recogniser.
    pub announcements: Option<Arc<Announcements>>,
    /// One that is known ends the call.
    pub hang_up_on_announcement: bool,
}

/// When an inbound call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// At once.
    Now,
    /// It rings for so long, then it is answered.
    After(Duration),
    /// It rings until it is told, at most for so long.
    Told(Duration),
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// An INVITE went out, or came in.
    Dialling,
    /// It rings.
    Ringing,
    /// `Answer` or `Decline` is waited for.
    Waiting,
    /// It is up.
    Talking,
    /// It is being ended.
    Ending,
    /// It is over.
    Over,
}

/// Timers, each with its reason.
#[derive(Debug, Clone, Copy)]
pub(super) enum Timer {
    /// It has rung long enough: cancel, or answer.
    Ring,
    /// Nothing at all came back for the INVITE.
    Setup,
    /// It has lasted long enough.
    Longest,
    /// The leg does not say goodbye.
    LegFarewell,
    /// The line is to be looked at.
    Look,
}
const TIMERS: usize = 5;

/// One call.
#[derive(Debug)]
pub struct Call {
    pub(super) plan: Plan,
    pub(super) session: Session,
    conversation: Option<Conversation>,
    early: Option<Box<early::Early>>,
    pub(super) negotiator: Box<Negotiator>,
    /// As it was before a callee changed things that has not answered yet: another one of the fork may, to our first offer.
    first: Option<Box<Negotiator>>,
    /// The SDP answer to the offer that was read.
    reply: Option<Vec<u8>>,
    agreed: Option<Negotiated>,
    hold: offers::Hold,
    leg_open: bool,
    /// In a box: most calls hear nothing that it is for.
    listening: Box<listening::Listening>,
    pub(super) phase: Phase,
    pub(super) timers: [Option<Instant>; TIMERS],
    pub(super) rng: StdRng,
    /// Wall time of an instant.
    wall: (Instant, SystemTime),
    started: Instant,
    pub(super) rang: Option<Instant>,
    answered: Option<Instant>,
    ended: Option<Instant>,
    sip_code: u16,
    sip_reason: String,
    outcome: Outcome,
    /// Who ends the call and why, from the moment that somebody wants to.
    pub(super) ending: Option<(HungUpBy, String)>,
    /// How the way so far failed, while another one is asked for.
    pub(super) failed: Option<Box<Event>>,
    /// What the leg left behind.
    quality: Option<Box<LineQuality>>,
    watch: LineWatch,
    /// The transfer by REFER that is under way.
    referring: Option<Box<transfer::Referring>>,
    /// The second leg.
    second: Option<Box<bridged::Second>>,
    /// Of a second leg: its end has been told to the first one.
    parted: bool,
    /// What has come of the far end's REFERs.
    referred: Box<referred::Referred>,
    /// The line fell silent meanwhile.
    dead: bool,
    transfers: Vec<Transfer>,
    user_to_user: Vec<ReceivedUui>,
    pub(super) out: VecDeque<Output>,
}

impl Call {
    /// Places a call. It is cancelled when it has rung for `ring_timeout`.
    pub fn dial(
        now: Instant,
        wall: SystemTime,
        plan: Plan,
        ring_timeout: Duration,
        local: Local,
        mut dial: Dial,
        mut rng: StdRng,
    ) -> Call {
        let mut negotiator = negotiator(&plan, &mut rng);
        dial.offer = if dial.terms.delayed_offer { Vec::new() } else { negotiator.offer(Direction::SendRecv) };
        let session_rng = StdRng::seed_from_u64(rng.random());
        let session = Session::dial(now, local, dial, session_rng);
        let mut call = Call::new(now, wall, plan, session, negotiator, rng);
        call.dialling(now, ring_timeout);
        call.pump(now);
        call
    }

    /// Takes a call whose INVITE has been read. One whose SDP does not fit is refused with 488.
    pub fn incoming(
        now: Instant,
        wall: SystemTime,
        plan: Plan,
        answering: Answering,
        session: Session,
        mut rng: StdRng,
    ) -> Call {
        let negotiator = negotiator(&plan, &mut rng);
        let mut call = Call::new(now, wall, plan, session, negotiator, rng);
        let values = handing_over::user_to_user(call.session.invite());
        call.note_user_to_user("invite", &values);
        let what = What::Incoming {
            trunk: call.plan.trunk.clone(),
            parties: Box::new(call.plan.parties.clone()),
            waiting: matches!(answering, Answering::Told(_)),
            user_to_user: values,
        };
        call.tell(now, what);
        if let Some(offer) = call.session.offer().map(<[u8]>::to_vec)
            && let Err(error) = call.take_offer(&offer)
        {
            let headers = refusal(error.status(), Some(error));
            call.reject(now, error.status(), format!("SDP offer: {error}"), headers);
        } else {
            match answering {
                Answering::Now => call.answer(now, ExtraHeaders::default()),
                Answering::After(time) => call.ring(now, Phase::Ringing, time),
                Answering::Told(time) => call.ring(now, Phase::Waiting, time),
            }
        }
        call.pump(now);
        call
    }

    fn new(
        now: Instant,
        wall: SystemTime,
        plan: Plan,
        session: Session,
        negotiator: Box<Negotiator>,
        rng: StdRng,
    ) -> Call {
        let mut call = Call {
            plan,
            session,
            conversation: None,
            early: None,
            negotiator,
            first: None,
            reply: None,
            agreed: None,
            hold: offers::Hold::default(),
            leg_open: false,
            listening: Box::default(),
            phase: Phase::Dialling,
            timers: [None; TIMERS],
            rng,
            wall: (now, wall),
            started: now,
            rang: None,
            answered: None,
            ended: None,
            sip_code: 0,
            sip_reason: String::new(),
            outcome: Outcome::Else,
            ending: None,
            failed: None,
            quality: None,
            watch: LineWatch::default(),
            referring: None,
            second: None,
            parted: false,
            referred: Box::default(),
            dead: false,
            transfers: Vec::new(),
            user_to_user: Vec::new(),
            out: VecDeque::new(),
        };
        call.teach();
        call
    }

    /// The Call-ID by which its messages are known.
    pub fn sip_call_id(&self) -> &str {
        self.session.call_id()
    }

    /// The number that calls.
    pub fn caller(&self) -> &str {
        &self.plan.parties.caller
    }

    /// The number that is called.
    pub fn callee(&self) -> &str {
        &self.plan.parties.callee
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether it is on hold: by us, by the far end.
    pub fn held(&self) -> (bool, bool) {
        self.hold.by
    }

    /// With what its media are encrypted, as RFC 4568 names it; empty: they are not.
    pub fn srtp(&self) -> &'static str {
        self.agreed.and_then(|agreed| agreed.suite).map_or("", Suite::name)
    }

    /// Wall time of a moment of this call.
    pub fn wall(&self, now: Instant) -> SystemTime {
        self.wall.1 + now.saturating_duration_since(self.wall.0)
    }

    /// What is left when the call is over: its signalling, which may have to repeat itself until [`Session::is_over`].
    pub fn into_session(self) -> Session {
        self.session
    }

    /// Something came in.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Sip { message, source } if self.is_of_target(message.call_id().ok()) => {
                self.tell_target(now, session::Input::Message { message, source });
            }
            Input::Sip { message, source } => self.session.handle(now, session::Input::Message { message, source }),
            Input::Unsent { to } => {
                self.tell_target(now, session::Input::TransportError { to: to.clone() });
                self.session.handle(now, session::Input::TransportError { to });
            }
            Input::Leg(event) => self.leg(now, event),
            Input::LegClosed(quality) => {
                self.quality = Some(quality);
                self.leg_open = false;
            }
            Input::LegLost => {
                self.leg_open = false;
                let reason = "media: the thread that carried the call has died";
                self.converse(|c| c.fault(reason));
                self.hang_up(now, HungUpBy::Network, reason);
            }
            Input::Dialogue(FromDialogue::Asked(Asked {
                action_id,
                action: Ok(Action::ReferAnswer(decision)),
                ..
            })) if self.conversation.is_some() => {
                self.refer_decided(now, action_id, decision);
            }
            Input::Dialogue(from) => match &mut self.conversation {
                Some(conversation) => conversation.dialogue(now, from),
                None => self.early_dialogue(now, from),
            },
            Input::Speech(from) => self.converse(|c| c.speech(now, from)),
            Input::EarlyLeg(event) => self.early_leg(now, event),
            Input::EarlySpeech(from) => self.early_speech(now, from),
            Input::Command(action) => self.command(now, action),
            Input::Answer { knobs, dialogue, headers } if self.phase == Phase::Waiting => {
                self.plan.rules.dialogue = dialogue.unwrap_or(self.plan.rules.dialogue);
                for clamp in self.plan.knobs.apply(&knobs) {
                    self.tell(now, What::KnobClamped(clamp));
                }
                self.plan.background = knobs.background.or(self.plan.background.take());
                self.answer(now, headers);
            }
            Input::Decline { status, reason } if self.phase == Phase::Waiting => {
                self.outcome = Outcome::Cancelled;
                self.ending = Some((HungUpBy::Operator, "declined".to_owned()));
                let reason = (!reason.is_empty()).then_some(reason);
                self.session
                    .handle(now, session::Input::Reject { code: status, reason, headers: refusal(status, None) });
                self.sip_code = status;
            }
            Input::Answer { .. } | Input::Decline { .. } => {}
            Input::Replace { invite, replaces, source } => {
                if let Some(reply) = self.session.refuse_replacement(&invite, &replaces, source) {
                    self.out.push_back(Output::Transmit { to: Target::Addr(reply.to), payload: reply.payload });
                }
            }
            Input::Route(route) => self.route(now, route),
            Input::Media(media) => self.media_there(now, media),
            Input::Transferred(news) => self.second_told(now, news),
            Input::First(told) => self.first_told(now, told),
            Input::Followed(route) => self.followed(now, route),
            Input::Shutdown if self.ending.is_some() => {
                // There is no time left for what the far end or the recogniser still owes.
                self.over(now, HungUpBy::Operator, "shutting down".to_owned());
                self.leg_open = false;
                self.converse(|c| c.hurry(now));
                self.early_hurry(now);
            }
            Input::Shutdown => {
                if self.answered.is_none() {
                    self.outcome = Outcome::Cancelled;
                }
                self.hang_up(now, HungUpBy::Operator, "shutting down");
            }
        }
        self.pump(now);
    }

    /// The deadline has come.
    pub fn tick(&mut self, now: Instant) {
        self.session.handle(now, session::Input::Timer);
        self.converse(|c| c.tick(now));
        self.early_tick(now);
        self.tick_referred(now);
        if self.due(now, Timer::Ring) {
            match self.session.is_outgoing() {
                true => {
                    self.unanswered(Why::Silence);
                    self.tell_first_of_end(HungUpBy::Network, 408, "nobody answered in time");
                    self.hang_up(now, HungUpBy::Network, "nobody answered in ring_timeout");
                }
                false if self.phase == Phase::Waiting => {
                    self.outcome = Outcome::Nooneheard;
                    self.sip_code = 480;
                    self.hang_up(now, HungUpBy::Network, "neither Answer nor Decline came in ring_timeout");
                }
                false => self.answer(now, ExtraHeaders::default()),
            }
        }
        if self.due(now, Timer::Setup) {
            self.unheard(now);
        }
        if self.due(now, Timer::Longest) {
            self.hang_up(now, HungUpBy::Network, "max_call_s is over");
        }
        if self.due(now, Timer::LegFarewell) {
            self.leg_open = false;
        }
        if self.due(now, Timer::Look) && self.leg_open {
            self.out.push_back(Output::Leg(leg::Command::Look(Box::default())));
            self.timers[Timer::Look as usize] = LineWatch::next(&self.plan.line, now);
        }
        self.pump(now);
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Call::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let conversation = self.conversation.as_ref().and_then(Conversation::deadline);
        let early = self.early.as_ref().and_then(|early| early.deadline());
        let sessions = [self.session.deadline(), self.referred.deadline()].into_iter().flatten();
        self.timers.iter().copied().flatten().chain(conversation).chain(early).chain(sessions).min()
    }

    fn converse(&mut self, with: impl FnOnce(&mut Conversation)) {
        if let Some(conversation) = &mut self.conversation {
            with(conversation);
        }
    }

    pub(super) fn tell(&mut self, now: Instant, what: What) {
        let at = self.conversation.as_ref().map_or(Ms(0), |c| c.at(now));
        self.out.push_back(Output::Tell { at, what });
    }

    fn due(&mut self, now: Instant, timer: Timer) -> bool {
        let slot = &mut self.timers[timer as usize];
        let due = slot.is_some_and(|at| at <= now);
        if due {
            *slot = None;
        }
        due
    }

    /// Brings out all that the parts want, until nothing is left.
    fn pump(&mut self, now: Instant) {
        loop {
            while let Some(output) = self.session.poll() {
                match output {
                    session::Output::Transmit { to, payload } => self.out.push_back(Output::Transmit { to, payload }),
                    session::Output::Event(event) => self.signalled(now, event),
                }
            }
            if self.pump_referred(now) {
                continue;
            }
            let Some(conversation) = &mut self.conversation else { break };
            while let Some(output) = conversation.poll() {
                self.out.push_back(output);
            }
            match conversation.take_hangup() {
                Some((by, reason, farewell)) => self.say_goodbye(now, by, &reason, farewell),
                None => match self.conversation.as_mut().and_then(Conversation::take_leaving) {
                    Some((by, transfer::Leaving::Refer(refer))) => self.refer(now, by, *refer),
                    Some((by, transfer::Leaving::SecondLeg(leg))) => self.transfer(now, by, leg),
                    None => break,
                },
            }
        }
        self.settle(now);
    }

    fn leg(&mut self, now: Instant, event: LegEvent) {
        if let LegEvent::Tone { heard, at } = event {
            return self.heard_tone(now, heard, at);
        }
        if let LegEvent::Began { at } = event {
            self.early_was_before(at);
        }
        if let LegEvent::Answerer { verdict, at } = event {
            return self.answered_by(now, verdict, at);
        }
        if let LegEvent::LineDead { .. } = event {
            // Whoever is being handed over may hear nothing of the far end; afterwards it counts.
            if self.referring.is_some() || self.referred.is_open() {
                self.dead = true;
                return;
            }
            let reason = format!("no RTP for {} s", self.plan.rtp_timeout.as_secs());
            return self.hang_up(now, HungUpBy::Network, &reason);
        }
        if let LegEvent::Look(look) = event {
            if let Some(occasion) = self.watch.judge(&self.plan.line, &look) {
                let trunk = self.plan.trunk.clone();
                self.tell(now, What::Quality { trunk, occasion, look });
            }
            return;
        }
        self.pass_key(&event);
        self.converse(|c| c.leg(now, event));
    }

    fn command(&mut self, now: Instant, action: Action) {
        match (action, &mut self.conversation) {
            (Action::Hangup { reason, farewell, .. }, None) => {
                self.outcome = Outcome::Cancelled;
                let reason = if reason.is_empty() { "cancelled" } else { &reason };
                self.say_goodbye(now, HungUpBy::Operator, reason, farewell);
            }
            (Action::Hold(on), Some(_)) => self.hold(now, on),
            (Action::ReferAnswer(decision), Some(_)) => self.refer_ordered(now, decision),
            // A far end that takes no RTP events gets them by signalling; one that takes no INFO either, as tones.
            (Action::SendKeys(keys), Some(_))
                if self.agreed.is_some_and(|agreed| agreed.telephone_event.is_none())
                    && self.session.peer_takes_info() =>
            {
                for key in keys.chars() {
                    let content_type = "application/dtmf-relay".to_owned();
                    let body = format!("Signal={key}\r\nDuration=100\r\n").into_bytes();
                    self.session.handle(now, session::Input::Info { content_type, body });
                }
            }
            (action, Some(conversation)) => conversation.act(now, action, HungUpBy::Operator),
            // The switchboard has refused it: there is no conversation yet.
            (_, None) => {}
        }
    }

    pub(super) fn signalled(&mut self, now: Instant, event: Event) {
        let Some(event) = self.elsewhere(event) else { return };
        match event {
            Event::Trying => self.timers[Timer::Setup as usize] = None,
            Event::Redirected => {
                let sip_call_id = self.session.call_id().to_owned();
                self.out.push_back(Output::Known { sip_call_id, direct: true });
            }
            Event::OtherFamily { v6 } => self.out.push_back(Output::OtherFamily { v6 }),
            Event::Ringing { code: code @ 180.., sdp } => {
                self.rang.get_or_insert(now);
                self.timers[Timer::Setup as usize] = None;
                self.phase = Phase::Ringing;
                self.tell(now, What::Ringing { sip_code: code, early_media: sdp.is_some() });
                // SDP in answer to an INVITE without is an offer, and is heard of as such.
                if let Some(sdp) = sdp.filter(|_| self.session.invite().session_body().sdp().is_some()) {
                    self.early_media(now, Some(&sdp));
                }
                self.tell_first(News::Ringing { code });
            }
            Event::Answered { sdp } => {
                self.sip_code = 200;
                self.sip_reason = "OK".to_owned();
                self.up(now, sdp);
            }
            Event::Confirmed { sdp } => self.up(now, sdp),
            Event::Reoffer { sdp } => self.reoffered(now, sdp),
            Event::ReofferConfirmed { sdp: Some(sdp) } => self.renegotiated(now, &sdp),
            Event::ReofferAnswered { sdp } => self.reoffer_answered(now, sdp.as_deref()),
            Event::ReofferRefused { code } => {
                self.reoffer_refused(now, code, "the far end refused the offer".to_owned())
            }
            Event::OfferWanted => self.offer_wanted(now),
            Event::Refused(refusal) => {
                self.sip_code = refusal.code;
                self.sip_reason = outcome::told(&refusal.reason, &refusal.reasons);
                if self.ending.is_none() {
                    self.unanswered(Why::Refused(refusal.code, refusal.reasons));
                }
                let reason = format!("{} {}", refusal.code, refusal.reason);
                self.over(now, HungUpBy::CallerRinging, reason);
            }
            Event::TimedOut => {
                self.sip_code = 408;
                self.sip_reason = "Request Timeout".to_owned();
                self.outcome = Outcome::Cantbeconnected;
                self.over(now, HungUpBy::Network, "the trunk did not answer the INVITE".to_owned());
            }
            Event::Cancelled { by_peer, reasons } => {
                self.sip_code = if self.sip_code == 0 { 487 } else { self.sip_code };
                self.sip_reason = outcome::told(&self.sip_reason, &reasons);
                if by_peer {
                    self.outcome = Outcome::Nooneheard;
                }
                let by = if by_peer { HungUpBy::CallerRinging } else { HungUpBy::Operator };
                self.over(now, by, "cancelled before the answer".to_owned());
            }
            Event::Ended { by_peer: true, reasons } if self.goes_on_without(now, &outcome::told("BYE", &reasons)) => {}
            Event::Ended { by_peer, reasons } => {
                let by = self.ended_by(by_peer);
                self.over(now, by, outcome::told("BYE", &reasons));
            }
            Event::Failed(failure) => {
                self.outcome = if self.answered.is_some() { Outcome::Success } else { Outcome::Cantbeconnected };
                // What we answered then, though the answer of the call had been meant to follow.
                if failure == session::Failure::NoPrack {
                    self.sip_code = 504;
                    self.sip_reason = "Server Time-out".to_owned();
                }
                self.over(now, HungUpBy::Network, format!("signalling failed: {failure:?}"));
            }
            Event::Info { content_type, body } => {
                let key = info::key(content_type.as_deref(), &body).filter(|_| self.leg_open);
                self.out.extend(key.map(|key| Output::Leg(leg::Command::Pressed(key))));
            }
            Event::Refer(progress) => self.referred(now, progress),
            Event::ReferRefused { target, code, why } => {
                self.tell(now, What::ReferRefused { target: target.as_str().to_owned(), sip_code: code, why });
            }
            Event::ReferAsked(asked) => self.refer_asked(now, asked),
            Event::NotifyRefused { code } => self.notify_refused(now, code),
            Event::UserToUser { carrier, values } => {
                let carrier = match carrier {
                    Carrier::Ringing => "ringing",
                    Carrier::Answer => "answer",
                    Carrier::Refusal => "refusal",
                    Carrier::Bye => "bye",
                };
                self.note_user_to_user(carrier, &values);
                self.tell(now, What::UserToUser { carrier, values });
            }
            // Progress without meaning for the call.
            _ => {}
        }
    }
}
