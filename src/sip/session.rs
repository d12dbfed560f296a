//! One call's whole signalling: RFC 3261 §9 (CANCEL), §12 (dialogs), §13 (INVITE), §14 (re-INVITE), §15
//! (BYE), §22 (authentication), RFC 3262 (PRACK), RFC 3311 (UPDATE), RFC 3515 (REFER), RFC 4028 (session timers), RFC 6086 (INFO).
//!
//! A [`Session`] owns every transaction and dialog under one Call-ID. Its owner routes messages to it
//! by Call-ID, sends what it transmits and wakes it at its deadline:
//!
//! ```text
//! dial                          incoming
//!  INVITE  ─────────────────►   100, owner: Ring → 180/183, Answer → 200
//!  100, 18x ◄────────────────   Trying, Ringing
//!  200 ◄─────────────────────   Answered            (repeated until the ACK comes)
//!  ACK ──────────────────────►  Confirmed
//!  BYE ──────────────────────►  Ended               (either side)
//! ```
//!
//! Of `Refused`, `TimedOut`, `Cancelled`, `Ended` and `Failed` exactly one is told, once; from then on
//! the call is gone and the session only lingers until [`Session::is_over`], to answer what the network
//! still holds. Inputs that such a race has overtaken are dropped without harm.

mod callee;
mod caller;
mod early;
mod extra;
mod in_dialog;
mod prack;
mod redirect;
mod refer;
mod referee;
mod reoffer;
mod terms;
mod timer;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use super::auth::{Authenticator, Credentials};
use super::dialog::Dialog;
use super::locate::{Next, Spares};
use super::message::{
    Fault, HeaderName, Headers, Message, Method, NameAddr, Params, Reason, Request, RequestLine, Response, SessionBody,
    StatusLine, Target, Uri, Writer, default_reason,
};
use super::refer::{Asked, Progress, Refer, Referral};
use super::transaction::{
    Client, ClientAction, ClientInput, Doubling, GIVE_UP, InviteClient, InviteServer, Key, Server, ServerInput, T2,
    Timers,
};
use super::transport::Transport;
use super::{ACCEPT, ACCEPT_ENCODING, ALLOW, Local, Reply, stateless, token};
use callee::{Callee, OkRepeat, OkTimer};
use caller::Caller;
pub use extra::{ExtraHeaders, HeaderError};
pub use refer::Carrier;
use referee::{Note, Referee};
use reoffer::{Reinvite, TheirOffer};
pub use terms::{Refresher, Reliability, Terms, TimerTerms};
use timer::Refreshing;
pub use timer::SHORTEST_INTERVAL;

/// A call to be placed.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The number or user that is called.
    pub request_uri: Uri,
    /// Who calls; a `tag` among its parameters is replaced.
    pub from: NameAddr,
    /// Who is called, as the callee sees it; a `tag` among its parameters is left out.
    pub to: NameAddr,
    /// Where the INVITE is sent, whatever the Request-URI says (the trunk's address or outbound proxy).
    pub next_hop: Target,
    /// Where it is sent instead when nobody is there (RFC 3263 §4.3), in this order.
    pub spares: Spares,
    /// How long it may stay without any answer, not even a 100, before it goes there, or [`Event::Silent`] is told; `None`: 64·T1 (timer B).
    pub patience: Option<Duration>,
    /// Proxies that the INVITE passes, the nearest first; all of them loose routers (RFC 3608, §8.1.2).
    pub route: Vec<Uri>,
    /// For 401 and 407.
    pub credentials: Option<Credentials>,
    /// More headers of the INVITE.
    pub headers: ExtraHeaders,
    /// Our SDP offer; empty: the callee is to make one, and it comes as [`Event::Reoffer`].
    pub offer: Vec<u8>,
    /// How the call is set up and kept up.
    pub terms: Terms,
}

/// What happens to a session.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// A message with the session's Call-ID came from `source`.
    Message {
        /// The message.
        message: Message,
        /// Where it came from.
        source: SocketAddr,
    },
    /// Something sent to `to` could not be sent, or its name could not be resolved.
    TransportError {
        /// As it stood in [`Output::Transmit`].
        to: Target,
    },
    /// The deadline may have passed.
    Timer,
    /// Callee: 180, or 183 when there is early media to describe.
    Ring {
        /// More headers.
        headers: ExtraHeaders,
        /// SDP answer for early media; our offer, when the INVITE had none, which only a caller with `100rel` gets to see.
        sdp: Option<Vec<u8>>,
    },
    /// Callee: 200 with the SDP answer (our offer, when the INVITE had none).
    Answer {
        /// More headers.
        headers: ExtraHeaders,
        /// The SDP. Left out when offer and answer are exchanged already.
        sdp: Vec<u8>,
    },
    /// Callee: a final refusal. A code outside 300–699 is sent as 480.
    Reject {
        /// Status code, 300–699.
        code: u16,
        /// Reason phrase; the usual one when absent.
        reason: Option<String>,
        /// More headers (Reason, Retry-After …).
        headers: ExtraHeaders,
    },
    /// Caller: the INVITE to the next address, which [`Event::OtherFamily`] asks about.
    InviteThere {
        /// Our offer of that family, or none, as in [`Dial::offer`]; `None`: the offer stays as it was.
        offer: Option<Vec<u8>>,
    },
    /// End the call in whatever way its state asks for: CANCEL, 480 or BYE.
    Cancel,
    /// As `Cancel`, with what is to be told in the CANCEL, refusal or BYE.
    Bye {
        /// More headers.
        headers: ExtraHeaders,
        /// Why (RFC 3326).
        reason: Option<Reason>,
    },
    /// Accept the far side's offer.
    AnswerReoffer {
        /// The SDP answer (our offer, when the re-INVITE had none).
        sdp: Vec<u8>,
    },
    /// Refuse the far side's offer: the session stays as it was. One that a response had brought cannot be refused: that ends the call.
    RejectReoffer {
        /// Status code, 300–699; 488 outside of that.
        code: u16,
        /// More headers (Warning).
        headers: ExtraHeaders,
    },
    /// Offer anew: hold, resume, other codecs, another address. What cannot be offered now is asked for again by
    /// [`Event::OfferWanted`].
    Reoffer {
        /// Our offer.
        sdp: Vec<u8>,
    },
    /// Something is to be offered anew: [`Event::OfferWanted`] asks for it as soon as that may be.
    WantOffer,
    /// Send an INFO.
    Info {
        /// Content-Type of the body.
        content_type: String,
        /// The body.
        body: Vec<u8>,
    },
    /// Ask the far end to call somebody else; what becomes of it comes as [`Event::Refer`].
    Refer(Box<Refer>),
    /// Answers [`Event::ReferAsked`].
    AnswerRefer {
        /// 202: we call the target; 300–699: we do not.
        code: u16,
    },
    /// How our call to the target of the far end's REFER goes: told to it, if it wants to know.
    ReferProgress {
        /// 100–699.
        code: u16,
        /// Its reason phrase.
        reason: String,
        /// There is nothing more to come.
        last: bool,
    },
    /// As `Bye`, when the last `ReferProgress` has come to the far end.
    Part {
        /// Why (RFC 3326).
        reason: Option<Reason>,
    },
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram.
    Transmit {
        /// Where.
        to: Target,
        /// The whole message.
        payload: Vec<u8>,
    },
    /// Tell the call.
    Event(Event),
}

/// What a session tells the call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Caller: a 100 came; told once.
    Trying,
    /// Caller: a provisional response other than 100 came.
    Ringing {
        /// 101–199.
        code: u16,
        /// SDP for early media: the answer, or the callee's offer, when our INVITE had none.
        sdp: Option<Vec<u8>>,
    },
    /// Caller: the call is up.
    Answered {
        /// The SDP answer of the 2xx, or else of an earlier provisional response of the same callee. `None`: what was agreed since then
        /// holds (`Reoffer`); with nothing agreed, the callee breaks RFC 3261 §13.3.1.4, and there is nothing but to hang up.
        sdp: Option<Vec<u8>>,
    },
    /// Caller: the far side refused.
    Refused(Refusal),
    /// Caller: nothing has come back yet in [`Dial::patience`], and there is no further address. The INVITE goes on.
    Silent,
    /// Caller: it is called somewhere else, where a 3xx has sent us: what comes of the call comes from there.
    Redirected,
    /// Caller: nobody is at the addresses of one family, and the next one (RFC 3263 §4.3) is of the other. What we offered cannot be reached from
    /// there: nothing is sent before [`Input::InviteThere`].
    OtherFamily {
        /// It is of IPv6.
        v6: bool,
    },
    /// Caller: nothing came back at all (timer B); counts as 408.
    TimedOut,
    /// The call ended before it was answered.
    Cancelled {
        /// By the far side (CANCEL, or BYE in an early dialog) or by us.
        by_peer: bool,
        /// What the far side's CANCEL or BYE gave as reasons.
        reasons: Vec<Reason>,
    },
    /// Callee: the ACK came.
    Confirmed {
        /// The SDP answer to our offer, when the INVITE had none.
        sdp: Option<Vec<u8>>,
    },
    /// The far side offers, to change the session or because our INVITE did not: answer by `AnswerReoffer` or `RejectReoffer`.
    Reoffer {
        /// Its offer; `None` asks for ours.
        sdp: Option<Vec<u8>>,
    },
    /// The ACK to a re-INVITE came, or the PRACK to our offer in a provisional response.
    ReofferConfirmed {
        /// The SDP answer to our offer, when the re-INVITE had none.
        sdp: Option<Vec<u8>>,
    },
    /// The far side took its re-INVITE back; the session stays as it was.
    ReofferWithdrawn,
    /// Give [`Input::Reoffer`] with an offer as things stand now: it was wanted ([`Input::WantOffer`]), the one before could not be made in its
    /// time, or the session has to be refreshed, for which an offer that changes nothing will do.
    OfferWanted,
    /// Our offer was answered.
    ReofferAnswered {
        /// The answer; `None`, which breaks RFC 3264, leaves the session as it was.
        sdp: Option<Vec<u8>>,
    },
    /// Our offer was refused; the session stays as it was.
    ReofferRefused {
        /// 300–699.
        code: u16,
    },
    /// An INFO came and was answered 200.
    Info {
        /// Its Content-Type.
        content_type: Option<String>,
        /// Its body.
        body: Vec<u8>,
    },
    /// Our INFO was answered; 408 when it was not.
    InfoAnswered {
        /// 200–699.
        code: u16,
    },
    /// What becomes of our REFER.
    Refer(Progress),
    /// The far end asked us to call somebody else, and was refused.
    ReferRefused {
        /// Whom.
        target: Uri,
        /// What it was answered.
        code: u16,
        /// Why: "policy", "malformed" or "busy".
        why: &'static str,
    },
    /// The far end asks us to call somebody else, and waits for [`Input::AnswerRefer`]; only after [`Session::ask_about_refers`].
    ReferAsked(Box<Asked>),
    /// It does not take what we told of that call; it is told nothing more.
    NotifyRefused {
        /// 300–699.
        code: u16,
    },
    /// User-to-User values came along; told before the event of the message that carried them. Those of an inbound INVITE are in
    /// [`Session::invite`].
    UserToUser {
        /// Which message.
        carrier: Carrier,
        /// Each as it came.
        values: Vec<String>,
    },
    /// An answered call ended.
    Ended {
        /// By the far side's BYE, or by us.
        by_peer: bool,
        /// What the far side's BYE gave as reasons.
        reasons: Vec<Reason>,
    },
    /// The call broke.
    Failed(Failure),
}

/// Why a call broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The INVITE could not be sent: counts as 503 (§8.1.3.1).
    Unreachable,
    /// No ACK to our 2xx in 64·T1 (§13.3.1.4); a BYE was sent.
    NoAck,
    /// The far side no longer knows the dialog (481 or 408 to a request in it, §12.2.1.2); a BYE was sent.
    Lost,
    /// The 2xx could not be made sense of.
    Malformed(Fault),
    /// Callee: no PRACK came in 64·T1 (RFC 3262 §3); the INVITE was answered 504.
    NoPrack,
    /// The far side's offer came in its 2xx and was not taken; a BYE was sent.
    NoAgreement,
    /// The session was not refreshed in its time (RFC 4028 §10); a BYE was sent.
    Expired,
}

/// A final refusal, with what the outcome of the call is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 300–699.
    pub code: u16,
    /// The reason phrase.
    pub reason: String,
    /// Reason headers, the Q.850 cause among them.
    pub reasons: Vec<Reason>,
    /// Seconds of Retry-After.
    pub retry_after: Option<u32>,
    /// The first Warning.
    pub warning: Option<String>,
    /// Contacts of a redirection (3xx).
    pub contacts: Vec<Uri>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Our INVITE is out.
    Inviting,
    /// Their INVITE is in, unanswered.
    Offered,
    /// Our 2xx is out, its ACK is not in.
    Unacknowledged,
    /// The dialog is confirmed.
    Up,
    /// The end was told.
    Over,
}

#[derive(Debug)]
enum Side {
    Caller(Box<Caller>),
    Callee(Box<Callee>),
}

/// What goes along with a CANCEL or BYE.
#[derive(Clone, Debug, Default)]
struct Farewell {
    headers: ExtraHeaders,
    reason: Option<Reason>,
}

/// Where offer and answer stand in a dialog (RFC 3264 §4, RFC 6337 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    /// The INVITE had no offer, and nobody has made one since.
    Unoffered,
    /// Our offer is open.
    Ours,
    /// Theirs is.
    Theirs,
    /// Answered: either side may offer anew.
    Settled,
}

#[derive(Clone, Copy)]
enum Timer {
    /// 64·T1 after our CANCEL: the INVITE will not be answered any more (§9.1).
    Cancelled,
    /// A provisional response is repeated each minute, lest a proxy give the INVITE up (§13.3.1.1).
    StillRinging,
    /// 64·T1 after the end: a re-INVITE of ours will not be answered any more.
    Linger,
    /// Our offer may be made again (§14.1).
    Again,
    /// The session is to be refreshed (RFC 4028).
    Refresh,
    /// The session is over when it is not refreshed.
    Expire,
    /// Nothing has come back for our INVITE so far.
    Silent,
    /// 64·T1 after the last CANCEL of an INVITE that was given up: such ones will not be answered any more.
    GivenUp,
    /// The last NOTIFY has not been answered, and the BYE does not wait for it any longer.
    Part,
}
const TIMERS: usize = 9;

/// An INVITE that we sent; after a challenge there are several.
#[derive(Debug)]
struct InviteOut {
    to: Target,
    tx: InviteClient,
    /// It is a re-INVITE.
    again: Option<Reinvite>,
    wish: Wish,
}

/// What we want of an INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// That it is answered.
    Answer,
    /// Nothing: another address has the call. It cannot be cancelled before a sign of it comes (§9.1).
    GivenUp,
    /// And its CANCEL has been sent.
    Cancelled,
}

/// Another request that we sent.
#[derive(Debug)]
struct RequestOut {
    to: Target,
    purpose: Purpose,
    tx: Client,
}

#[derive(Clone, Debug)]
enum Purpose {
    Cancel,
    /// Of the call's own dialog.
    Bye(Farewell),
    /// Of another branch of the fork, or of an INVITE that was given up.
    StrayBye,
    /// Of an INVITE that was given up.
    StrayCancel,
    Info {
        content_type: String,
        body: Vec<u8>,
    },
    Prack {
        tag: String,
        rack: String,
        sdp: Vec<u8>,
    },
    /// Without SDP it is a refresh.
    Update {
        tag: String,
        sdp: Option<Vec<u8>>,
    },
    Refer(Box<Refer>),
    Notify(Note),
}

/// An INVITE or re-INVITE that we got.
#[derive(Debug)]
struct InviteIn {
    key: Key,
    request: Request,
    source: SocketAddr,
    initial: bool,
    tx: InviteServer,
    ok: Option<OkRepeat>,
}

/// Another request that we got.
#[derive(Debug)]
struct RequestIn {
    key: Key,
    request: Request,
    source: SocketAddr,
    tx: Server,
}

/// One call. See the module's own words.
#[derive(Debug)]
pub struct Session {
    local: Local,
    rng: StdRng,
    call_id: String,
    invite: Request,
    side: Side,
    phase: Phase,
    /// Where the answer to our INVITE came from.
    answered_from: Option<IpAddr>,
    dialog: Option<Dialog>,
    auth: Authenticator,
    terms: Terms,
    /// In the call's own dialog; an early one has its own.
    exchange: Exchange,
    /// Their offer that our owner has not answered.
    reoffer: Option<TheirOffer>,
    /// We want to offer, and have to ask for the offer.
    wanted: bool,
    /// The far side takes UPDATE.
    peer_updates: bool,
    /// The far side takes INFO, or has not said what it takes.
    peer_takes_info: bool,
    refreshing: Refreshing,
    /// Our last REFER.
    referral: Option<Referral>,
    /// What a REFER of the far end is answered.
    refer_refusal: u16,
    referee: Referee,
    invites_out: Vec<InviteOut>,
    requests_out: Vec<RequestOut>,
    invites_in: Vec<InviteIn>,
    requests_in: Vec<RequestIn>,
    timers: Timers<TIMERS>,
    out: VecDeque<Output>,
}

impl Session {
    /// The Call-ID that messages are routed by.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The INVITE that began the call: From, To, Request-URI, headers and body by its accessors.
    pub fn invite(&self) -> &Request {
        &self.invite
    }

    /// Where the call that we placed was answered: requests of it come from there.
    pub fn answered_from(&self) -> Option<IpAddr> {
        self.answered_from
    }

    /// The SDP offer of the INVITE; `None` when the caller wants ours.
    pub fn offer(&self) -> Option<&[u8]> {
        self.invite.session_body().sdp()
    }

    /// Whether we placed the call.
    pub fn is_outgoing(&self) -> bool {
        matches!(self.side, Side::Caller(_))
    }

    /// Feeds the session. Whatever timer has run out by `now` acts first.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.advance(now);
        match input {
            Input::Timer => {}
            Input::Message { message, source } => self.receive(now, message, source),
            Input::TransportError { to } => self.transport_error(now, &to),
            Input::Ring { headers, sdp } => self.ring(now, &headers, sdp),
            Input::Answer { headers, sdp } => self.answer(now, &headers, &sdp),
            Input::Reject { code, reason, headers } => self.reject(now, code, reason, &headers),
            Input::InviteThere { offer } => self.invite_there(now, offer),
            Input::Cancel => self.hang_up(now, Farewell::default()),
            Input::Bye { headers, reason } => self.hang_up(now, Farewell { headers, reason }),
            Input::AnswerReoffer { sdp } => self.answer_reoffer(now, sdp),
            Input::RejectReoffer { code, headers } => self.reject_reoffer(now, code, &headers),
            Input::Reoffer { sdp } => self.reoffer(now, sdp),
            Input::WantOffer => self.wanted = self.phase != Phase::Over,
            Input::Info { content_type, body } => self.send_info(now, content_type, body),
            Input::Refer(refer) => self.send_refer(now, *refer),
            Input::AnswerRefer { code } => self.answer_refer(now, code),
            Input::ReferProgress { code, reason, last } => self.notify(now, code, reason, last),
            Input::Part { reason } => self.part(now, Farewell { reason, ..Farewell::default() }),
        }
        self.settle(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call `handle` with [`Input::Timer`].
    pub fn deadline(&self) -> Option<Instant> {
        let ours = self.invites_out.iter().map(|i| i.tx.deadline());
        let ours = ours.chain(self.requests_out.iter().map(|r| r.tx.deadline()));
        let theirs =
            self.invites_in.iter().flat_map(|i| [i.tx.deadline(), i.ok.as_ref().and_then(|ok| ok.timers.deadline())]);
        let theirs = theirs.chain(self.requests_in.iter().map(|r| r.tx.deadline()));
        let reliable = match &self.side {
            Side::Callee(callee) => callee.reliable.deadline(),
            Side::Caller(_) => None,
        };
        let referral = self.referral.as_ref().and_then(Referral::deadline);
        ours.chain(theirs).chain([self.timers.deadline(), reliable, referral]).flatten().min()
    }

    /// Whether the far end has not yet answered something that we asked of it, or cannot be asked yet: a BYE above all.
    pub fn is_asking(&self) -> bool {
        let held = matches!(&self.side, Side::Callee(callee) if callee.farewell.is_some());
        held || self.requests_out.iter().any(|out| out.tx.is_pending())
    }

    /// Whether the call is gone and no transaction is left: the session can be dropped.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
            && self.out.is_empty()
            && self.invites_out.is_empty()
            && self.requests_out.is_empty()
            && self.invites_in.is_empty()
            && self.requests_in.is_empty()
    }

    /// Whether an INFO makes sense: the far side's Allow has it, or it has sent none.
    pub fn peer_takes_info(&self) -> bool {
        self.peer_takes_info
    }

    /// Contact, Allow and Supported.
    fn describe<Start>(&self, out: Writer<Start>) -> Writer<Start> {
        let out = out.header(HeaderName::Contact, &self.local.contact_value()).header(HeaderName::Allow, ALLOW);
        out.header(HeaderName::Supported, &self.terms.supported())
    }

    /// What the far side says of itself.
    fn note_peer(&mut self, message: &Headers) {
        if message.list(HeaderName::Allow).next().is_some() {
            let allows = |wanted| message.list(HeaderName::Allow).any(|method| method == wanted);
            (self.peer_updates, self.peer_takes_info) = (allows("UPDATE"), allows("INFO"));
        }
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn transmit(&mut self, to: Target, payload: Vec<u8>) {
        self.out.push_back(Output::Transmit { to, payload });
    }

    /// Tells the end, once, and answers what is still open (§15.1.2: 487).
    fn end(&mut self, now: Instant, event: Event) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        for timer in [Timer::StillRinging, Timer::Again, Timer::Refresh, Timer::Expire, Timer::Silent] {
            self.timers.stop(timer as usize);
        }
        if self.invites_out.iter().any(|out| out.again.is_some() && out.tx.is_pending()) {
            self.timers.set(Timer::Linger as usize, now + GIVE_UP.into());
        }
        if let Side::Callee(callee) = &mut self.side {
            callee.reliable.stop();
        }
        let by_peer = matches!(event, Event::Ended { by_peer: true, .. });
        self.referred(now, if by_peer { super::refer::Input::PeerEnded } else { super::refer::Input::CallEnded });
        self.event(event);
        self.referee_over(now);
        self.reject_reoffer(now, 487, &ExtraHeaders::default());
        for at in 0..self.invites_in.len() {
            if self.invites_in[at].tx.is_pending() {
                self.refuse_invite(now, at, 487, None, &ExtraHeaders::default());
            }
        }
    }

    fn receive(&mut self, now: Instant, message: Message, source: SocketAddr) {
        if message.call_id() != Ok(self.call_id.as_str()) {
            return;
        }
        match message {
            Message::Request(request) => self.receive_request(now, request, source),
            Message::Response(response) => self.receive_response(now, response, source),
        }
    }

    /// §17.1.3: a response belongs to the request whose branch and method it has.
    fn receive_response(&mut self, now: Instant, response: Response, source: SocketAddr) {
        if response.check().is_err() {
            return;
        }
        let (Ok(via), Ok(cseq)) = (response.top_via(), response.cseq()) else {
            return;
        };
        let ours = |request: &Request| {
            request.top_via().is_ok_and(|sent| sent.is_answered_by(&via)) && *request.method() == cseq.method
        };
        if let Some(out) = self.invites_out.iter_mut().find(|out| ours(out.tx.request())) {
            if (200..300).contains(&response.code()) && out.wish == Wish::Answer {
                self.answered_from.get_or_insert(source.ip());
            }
            out.tx.handle(now, ClientInput::Response(response));
        } else if let Some(out) = self.requests_out.iter_mut().find(|out| ours(out.tx.request())) {
            out.tx.handle(now, ClientInput::Response(response));
        }
    }

    fn transport_error(&mut self, now: Instant, to: &Target) {
        for out in self.invites_out.iter_mut().filter(|out| out.to == *to) {
            out.tx.handle(now, ClientInput::TransportError);
        }
        for out in self.requests_out.iter_mut().filter(|out| out.to == *to) {
            out.tx.handle(now, ClientInput::TransportError);
        }
    }

    /// Runs every timer that is due.
    fn advance(&mut self, now: Instant) {
        for out in &mut self.invites_out {
            out.tx.handle(now, ClientInput::Timer);
        }
        for out in &mut self.requests_out {
            out.tx.handle(now, ClientInput::Timer);
        }
        for inbound in &mut self.requests_in {
            inbound.tx.handle(now, ServerInput::Timer);
        }
        let mut unacknowledged = false;
        for at in 0..self.invites_in.len() {
            let inbound = &mut self.invites_in[at];
            inbound.tx.handle(now, ServerInput::Timer);
            let Some(ok) = &mut inbound.ok else { continue };
            if ok.timers.take_due(OkTimer::GiveUp as usize, now) {
                inbound.ok = None;
                unacknowledged = true;
            } else if ok.timers.take_due(OkTimer::Resend as usize, now) {
                ok.timers.set(OkTimer::Resend as usize, ok.resend.next(now));
                let to = Target::Addr(inbound.request.reply_to(inbound.source));
                let payload = ok.payload.clone();
                self.transmit(to, payload);
            }
        }
        if unacknowledged {
            self.never_acknowledged(now);
        }
        if self.timers.take_due(Timer::Cancelled as usize, now) {
            for out in &mut self.invites_out {
                out.tx.abandon();
            }
            self.end(now, Event::Cancelled { by_peer: false, reasons: Vec::new() });
        }
        if self.timers.take_due(Timer::Silent as usize, now) {
            self.silent(now);
        }
        if self.timers.take_due(Timer::GivenUp as usize, now) {
            for out in self.invites_out.iter_mut().filter(|out| out.wish == Wish::Cancelled) {
                out.tx.abandon();
            }
        }
        if self.timers.take_due(Timer::StillRinging as usize, now) {
            self.ring_again(now);
        }
        self.wake_reliable(now);
        if self.timers.take_due(Timer::Linger as usize, now) {
            for out in self.invites_out.iter_mut().filter(|out| out.again.is_some()) {
                out.tx.abandon();
            }
        }
        if self.timers.take_due(Timer::Again as usize, now) {
            self.wanted = true;
        }
        if self.timers.take_due(Timer::Expire as usize, now) {
            self.session_expired(now);
        }
        if self.timers.take_due(Timer::Refresh as usize, now) {
            self.refresh_session(now);
        }
        if self.timers.take_due(Timer::Part as usize, now) {
            self.part_now(now);
        }
        self.referred(now, super::refer::Input::Timer);
        self.settle(now);
    }

    /// Takes from the transactions what they want done, until none wants anything, and drops those that
    /// are over.
    fn settle(&mut self, now: Instant) {
        while let Some(step) = self.next_step() {
            match step {
                Step::Invite(at, action) => self.invite_action(now, at, action),
                Step::Request(at, action) => self.request_action(now, at, action),
                Step::Answer(to, payload) => self.transmit(to, payload),
            }
        }
        self.ask_for_offer();
        self.invites_out.retain(|out| !out.tx.is_over());
        self.requests_out.retain(|out| !out.tx.is_over());
        self.invites_in.retain(|inbound| !inbound.tx.is_over() || inbound.ok.is_some());
        self.requests_in.retain(|inbound| !inbound.tx.is_over());
    }

    fn next_step(&mut self) -> Option<Step> {
        for (at, out) in self.invites_out.iter_mut().enumerate() {
            if let Some(action) = out.tx.poll() {
                return Some(Step::Invite(at, action));
            }
        }
        for (at, out) in self.requests_out.iter_mut().enumerate() {
            if let Some(action) = out.tx.poll() {
                return Some(Step::Request(at, action));
            }
        }
        // §9.2 answers the CANCEL first, and then its INVITE with 487; there are callers that take it so.
        for inbound in &mut self.requests_in {
            if let Some(payload) = inbound.tx.poll() {
                return Some(Step::Answer(Target::Addr(inbound.request.reply_to(inbound.source)), payload));
            }
        }
        for inbound in &mut self.invites_in {
            if let Some(payload) = inbound.tx.poll() {
                return Some(Step::Answer(Target::Addr(inbound.request.reply_to(inbound.source)), payload));
            }
        }
        None
    }

    fn hang_up(&mut self, now: Instant, farewell: Farewell) {
        match self.phase {
            Phase::Inviting => self.cancel(now, farewell),
            Phase::Offered => {
                let Farewell { mut headers, reason } = farewell;
                headers.add_reason(reason.as_ref());
                self.reject(now, 480, None, &headers);
            }
            // §15: no BYE of a callee before the ACK has come, or will not come any more.
            Phase::Unacknowledged => {
                if let Side::Callee(callee) = &mut self.side {
                    callee.farewell = Some(farewell);
                }
                self.end(now, Event::Ended { by_peer: false, reasons: Vec::new() });
            }
            Phase::Up => {
                // A 2xx whose offer was not answered is acknowledged all the same.
                if let Some(TheirOffer::Final { tag, invite }) = self.reoffer.take_if(|open| open.is_final()) {
                    self.acknowledge(tag, &invite, b"");
                }
                self.send_bye(now, farewell);
                self.end(now, Event::Ended { by_peer: false, reasons: Vec::new() });
            }
            Phase::Over => {}
        }
    }
}

enum Step {
    Invite(usize, ClientAction),
    Request(usize, ClientAction),
    Answer(Target, Vec<u8>),
}
