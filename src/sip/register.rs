//! RFC 3261 §10, RFC 3327 (Path), RFC 3608 (Service-Route): one registration of one contact at one registrar, kept alive.
//!
//! | what happens | what is done |
//! |---|---|
//! | 2xx | the binding is refreshed after 80–90 % of the time it was granted |
//! | 401, 407 | once more with credentials ([`super::auth`]) |
//! | 423 | once more with Min-Expires |
//! | 503, nothing, not to be sent | at the registrar's next address ([`super::locate`]), if there is one |
//! | 3xx | at the first contact that it names, three times in a row; after a failure again where it began |
//! | anything else, or nothing | again after 2, 4, 8 … 300 s, half of it at random; Retry-After is kept |
//!
//! All REGISTERs have one Call-ID and a CSeq that rises (§10.2.4).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

use super::auth::{Authenticator, Credentials};
use super::locate::{Hop, Next, Spares};
use super::message::{HeaderName, Method, NameAddr, Response, Scheme, Target, Uri, Writer};
use super::transaction::{Client, ClientAction, ClientInput, Timers};
use super::{Local, token};

/// The first wait after a failure.
const BACK_OFF_FIRST: Duration = Duration::from_secs(2);
/// The longest wait after failures in a row.
const BACK_OFF_LAST: Duration = Duration::from_secs(300);
/// The longest Retry-After that is kept.
const RETRY_AFTER_LAST: u32 = 3_600;
/// The most redirections in a row; more is a loop.
const REDIRECTIONS: u32 = 3;
/// The shortest time to live taken from a registrar; below it we would do nothing but refresh.
const EXPIRES_LEAST: u32 = 10;

/// What is to be registered, and where.
#[derive(Clone, Debug)]
pub struct Account {
    /// The registrar: a SIP URI without a user part.
    pub registrar: Uri,
    /// The address of record, as From and To.
    pub aor: NameAddr,
    /// Where the REGISTER is sent.
    pub next_hop: Target,
    /// Where it is sent instead when nobody is there (RFC 3263 §4.3), in this order.
    pub spares: Spares,
    /// Proxies that it is to pass, the nearest first, all of them loose routers.
    pub route: Vec<Uri>,
    /// For 401 and 407.
    pub credentials: Option<Credentials>,
    /// Seconds of life to ask for, 10 and more.
    pub expires: u32,
}

/// What happens to a registration.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// A response with the registration's Call-ID came.
    Message(Response),
    /// A REGISTER could not be sent, or its target's name could not be resolved.
    TransportError {
        /// As it stood in [`Output::Transmit`].
        to: Target,
        /// What kept it, in words.
        why: String,
    },
    /// The registrar's addresses have been looked up again: they are used from the next attempt on, also from one that is due now.
    Located(Vec<Hop>),
    /// The deadline may have passed.
    Timer,
    /// Register now, whatever is scheduled; also the way to begin again after `Unregister`.
    Refresh,
    /// Take the binding away, and stop.
    Unregister,
}

/// What a registration wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram.
    Transmit {
        /// Where.
        to: Target,
        /// The whole message.
        payload: Vec<u8>,
    },
    /// Tell the trunk.
    Event(Event),
}

/// What a registration tells the trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The binding is there.
    Registered {
        /// Seconds it was granted for.
        expires: u32,
        /// The address the registrar saw us under, when it said so (RFC 3581).
        seen_as: Option<SocketAddr>,
        /// Service-Route: proxies that calls of ours are to pass, beyond those of the account.
        service_route: Vec<Uri>,
    },
    /// It did not work; it is tried again by itself.
    Failed {
        /// How.
        failure: Failure,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The binding was taken away, or the attempt to do so got no good answer and it will expire.
    Unregistered,
}

/// How an attempt to register came to nothing, at the last of the registrar's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The registrar refused.
    Refused {
        /// 300–699.
        code: u16,
        /// The reason phrase.
        reason: String,
    },
    /// It said nothing in 64·T1 (timer F).
    Silent {
        /// Which address.
        to: Target,
    },
    /// It could not be reached.
    Unsent {
        /// Which address.
        to: Target,
        /// What kept it, in words.
        why: String,
    },
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Refused { code, reason } => write!(f, "{code} {reason}"),
            Failure::Silent { to } => write!(f, "{to}: no answer"),
            Failure::Unsent { to, why } => write!(f, "{to}: it could not be sent: {why}"),
        }
    }
}

#[derive(Clone, Copy)]
enum Timer {
    /// The binding is refreshed, or a failed attempt repeated.
    Again,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Bound,
    Unbound,
    Done,
}

/// One registration.
#[derive(Debug)]
pub struct Registration {
    local: Local,
    account: Account,
    rng: StdRng,
    call_id: String,
    from_tag: String,
    cseq: u32,
    expires: u32,
    goal: Goal,
    failures: u32,
    /// Where a 3xx has sent us: the Request-URI and the way there.
    elsewhere: Option<(Uri, Target)>,
    redirections: u32,
    /// What kept the last one from being sent.
    kept_by: String,
    auth: Authenticator,
    requests: Vec<Client>,
    timers: Timers<1>,
    out: VecDeque<Output>,
}

impl Registration {
    /// Starts: the first REGISTER is ready to be polled.
    pub fn new(now: Instant, local: Local, account: Account, mut rng: StdRng) -> Registration {
        let mut registration = Registration {
            call_id: token::call_id(&mut rng),
            from_tag: token::tag(&mut rng),
            cseq: token::first_cseq(&mut rng),
            expires: account.expires.max(EXPIRES_LEAST),
            goal: Goal::Bound,
            failures: 0,
            elsewhere: None,
            redirections: 0,
            kept_by: String::new(),
            auth: Authenticator::new(account.credentials.clone()),
            requests: Vec::new(),
            timers: Timers::new(),
            out: VecDeque::new(),
            local,
            account,
            rng,
        };
        registration.send(now);
        registration.settle(now);
        registration
    }

    /// The Call-ID that responses are routed by.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Feeds the registration. Whatever timer has run out by `now` acts first.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if let Input::Located(hops) = &input {
            self.located(hops);
        }
        for request in &mut self.requests {
            request.handle(now, ClientInput::Timer);
        }
        self.settle(now);
        if self.timers.take_due(Timer::Again as usize, now) {
            self.send(now);
        }
        match input {
            Input::Timer => {}
            Input::Message(response) => self.receive(now, response),
            Input::TransportError { to, why } => {
                if to == self.next_hop() {
                    self.kept_by = why;
                    self.requests.iter_mut().for_each(|r| r.handle(now, ClientInput::TransportError));
                }
            }
            Input::Located(_) => {}
            Input::Refresh => {
                self.goal = Goal::Bound;
                if !self.requests.iter().any(Client::is_pending) {
                    self.send(now);
                }
            }
            Input::Unregister if self.goal == Goal::Bound => {
                self.goal = Goal::Unbound;
                self.send(now);
            }
            Input::Unregister => {}
        }
        self.settle(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call `handle` with [`Input::Timer`].
    pub fn deadline(&self) -> Option<Instant> {
        self.requests.iter().map(Client::deadline).chain([self.timers.deadline()]).flatten().min()
    }

    /// Whether an answer is waited for.
    pub fn is_asking(&self) -> bool {
        self.requests.iter().any(Client::is_pending)
    }

    /// Whether the binding was taken away and nothing is left to do.
    pub fn is_over(&self) -> bool {
        self.goal == Goal::Done && self.out.is_empty() && self.requests.is_empty()
    }

    fn receive(&mut self, now: Instant, response: Response) {
        if response.check().is_err() || response.call_id() != Ok(self.call_id.as_str()) {
            return;
        }
        let (Ok(via), Ok(cseq)) = (response.top_via(), response.cseq()) else {
            return;
        };
        let ours = |client: &&mut Client| {
            cseq.method == Method::Register && client.request().top_via().is_ok_and(|sent| sent.is_answered_by(&via))
        };
        if let Some(client) = self.requests.iter_mut().find(ours) {
            client.handle(now, ClientInput::Response(response));
        }
    }

    fn settle(&mut self, now: Instant) {
        let mut at = 0;
        while at < self.requests.len() {
            let Some(action) = self.requests[at].poll() else {
                at += 1;
                continue;
            };
            let current = at + 1 == self.requests.len();
            match action {
                ClientAction::Transmit(payload) => {
                    let to = self.next_hop();
                    self.out.push_back(Output::Transmit { to, payload });
                }
                _ if !current => {}
                ClientAction::Response(response) if response.code() < 200 => {}
                ClientAction::Response(response) => self.answered(now, at, &response),
                ClientAction::TimedOut if self.send_elsewhere(now, at, false) => {}
                ClientAction::Unreachable if self.send_elsewhere(now, at, true) => {}
                ClientAction::TimedOut => self.failed(now, Failure::Silent { to: self.next_hop() }, None),
                ClientAction::Unreachable => {
                    let failure = Failure::Unsent { to: self.next_hop(), why: std::mem::take(&mut self.kept_by) };
                    self.failed(now, failure, None);
                }
            }
        }
        self.requests.retain(|request| !request.is_over());
    }

    fn answered(&mut self, now: Instant, at: usize, response: &Response) {
        match response.code() {
            200..300 => {
                self.auth.accepted_with(response);
                (self.failures, self.redirections) = (0, 0);
                if self.goal != Goal::Bound {
                    return self.unregistered();
                }
                let expires = self.granted(response).max(EXPIRES_LEAST);
                // §10.2.4 leaves the moment to us; the spread keeps many trunks from refreshing at once.
                let share = 80 + self.rng.next_u32() % 11;
                let wait = Duration::from_secs(u64::from(expires)) * share / 100;
                self.timers.set(Timer::Again as usize, now + wait);
                let seen_as = response.top_via().ok().and_then(|via| via.seen_as());
                let service_route = service_route(response);
                self.out.push_back(Output::Event(Event::Registered { expires, seen_as, service_route }));
            }
            401 | 407 => {
                let request = self.requests[at].request();
                let tried = request
                    .all(HeaderName::Authorization)
                    .chain(request.all(HeaderName::ProxyAuthorization))
                    .next()
                    .is_some();
                match self.auth.challenged(response, tried) {
                    Ok(()) => self.send(now),
                    Err(_) => self.failed_with(now, response),
                }
            }
            300..=399 => match elsewhere(response).filter(|_| self.redirections < REDIRECTIONS) {
                Some(there) => {
                    self.elsewhere = Some(there);
                    self.redirections += 1;
                    self.send(now);
                }
                None => self.failed_with(now, response),
            },
            // §10.2.8: a larger Expires than ours, or the registrar contradicts itself.
            423 => match response.seconds(HeaderName::MinExpires) {
                Some(least) if least > self.expires => {
                    self.expires = least;
                    self.send(now);
                }
                _ => self.failed_with(now, response),
            },
            503 if self.send_elsewhere(now, at, false) => {}
            _ => self.failed_with(now, response),
        }
    }

    /// RFC 3263 §4.3: nobody is there, so it goes to the next address.
    fn send_elsewhere(&mut self, now: Instant, at: usize, unsent: bool) -> bool {
        let by = self.requests[at].request().top_via().ok();
        match self.account.spares.next(unsent, by.as_ref(), &mut self.local.ways) {
            Some(Next::Other(hop)) => self.turn_to(hop),
            Some(Next::Same) => {}
            None => return false,
        }
        self.send(now);
        true
    }

    /// An attempt that is under way keeps its addresses: a failure is told by the address.
    fn located(&mut self, hops: &[Hop]) {
        if let Some((first, spares)) = Spares::of(hops)
            && !self.requests.iter().any(Client::is_pending)
        {
            self.turn_to(first);
            self.account.spares = spares;
        }
    }

    fn turn_to(&mut self, hop: Hop) {
        self.account.next_hop = Target::Addr(hop.address);
        self.local = self.local.clone().towards(hop);
    }

    fn failed_with(&mut self, now: Instant, response: &Response) {
        let retry_after = response.seconds(HeaderName::RetryAfter);
        let failure = Failure::Refused { code: response.code(), reason: response.reason().into_owned() };
        self.failed(now, failure, retry_after);
    }

    fn failed(&mut self, now: Instant, failure: Failure, retry_after: Option<u32>) {
        (self.elsewhere, self.redirections) = (None, 0);
        if self.goal != Goal::Bound {
            return self.unregistered();
        }
        let whole = BACK_OFF_FIRST.saturating_mul(1 << self.failures.min(8)).min(BACK_OFF_LAST);
        self.failures = self.failures.saturating_add(1);
        let half = (whole.as_millis() / 2) as u64;
        let jittered = Duration::from_millis(half + self.rng.next_u64() % (half + 1));
        let asked = Duration::from_secs(u64::from(retry_after.unwrap_or(0).min(RETRY_AFTER_LAST)));
        let retry_in = jittered.max(asked);
        self.timers.set(Timer::Again as usize, now + retry_in);
        self.out.push_back(Output::Event(Event::Failed { failure, retry_in }));
    }

    fn unregistered(&mut self) {
        if self.goal == Goal::Unbound {
            self.goal = Goal::Done;
            self.timers.stop(Timer::Again as usize);
            self.out.push_back(Output::Event(Event::Unregistered));
        }
    }

    /// §10.3 step 8: what our own contact was granted. One that came back as another address (there are borders that rewrite it) is
    /// lost among the others: then the shortest of all is kept. Else the whole response's time, or what we asked for.
    fn granted(&self, response: &Response) -> u32 {
        let own = self.local.contact_value();
        let own = NameAddr::parse(&own).map(|own| own.uri);
        let same = |uri: &Uri| {
            own.as_ref().is_some_and(|own| own.target() == uri.target() && own.user_text() == uri.user_text())
        };
        let contacts = || response.list(HeaderName::Contact).filter_map(|value| NameAddr::parse(&value));
        let life = |contact: NameAddr| contact.params.value("expires").and_then(|e| e.parse::<u32>().ok());
        let granted = match contacts().find(|contact| same(&contact.uri)) {
            Some(own) => life(own),
            None => contacts().filter_map(life).min(),
        };
        granted.or_else(|| response.expires()).unwrap_or(self.expires)
    }

    fn next_hop(&self) -> Target {
        self.elsewhere.as_ref().map_or_else(|| self.account.next_hop.clone(), |(_, to)| to.clone())
    }

    fn send(&mut self, now: Instant) {
        self.timers.stop(Timer::Again as usize);
        self.cseq += 1;
        let expires = if self.goal == Goal::Bound { self.expires } else { 0 };
        let aor = NameAddr::new(self.account.aor.display.clone(), self.account.aor.uri.clone());
        let branch = token::branch(&mut self.rng);
        let registrar = self.elsewhere.as_ref().map_or(&self.account.registrar, |(uri, _)| uri);
        let mut out =
            self.local.begin(Writer::request(Method::Register, registrar), self.local.ways.transport, &branch);
        // Whoever sends us elsewhere knows a way there that is not the account's.
        for proxy in self.account.route.iter().filter(|_| self.elsewhere.is_none()) {
            out = out.header(HeaderName::Route, &format!("<{proxy}>"));
        }
        out = out
            .header(HeaderName::MaxForwards, "70")
            .header(HeaderName::From, &format!("{aor};tag={}", self.from_tag))
            .header(HeaderName::To, &aor.to_string())
            .header(HeaderName::CallId, &self.call_id)
            .header(HeaderName::CSeq, &format!("{} REGISTER", self.cseq));
        out = out
            .header(HeaderName::Contact, &self.local.contact_value())
            .header(HeaderName::UserAgent, &self.local.user_agent)
            .header(HeaderName::Expires, &expires.to_string());
        // RFC 3327 §5.1: a proxy on the way may put itself between the registrar and us only when we say that we know of it.
        out = out.header(HeaderName::Supported, "path");
        let uri = out.uri().clone();
        for (name, value) in self.auth.headers(&Method::Register, uri.as_str(), &mut self.rng) {
            out = out.header(name, &value);
        }
        self.requests.push(Client::new(now, out.finish("", b"")));
    }
}

/// RFC 3608 §5: the proxies in their order. Those that are no loose routers, which it forbids, are left out.
fn service_route(response: &Response) -> Vec<Uri> {
    let proxies = response.list(HeaderName::ServiceRoute).filter_map(|value| NameAddr::parse(&value));
    proxies.map(|proxy| proxy.uri).filter(Uri::is_loose).take(MOST_PROXIES).collect()
}

/// Longer service routes are somebody's mistake.
const MOST_PROXIES: usize = 8;

/// The first contact of a redirection to which a REGISTER can go.
fn elsewhere(response: &Response) -> Option<(Uri, Target)> {
    let contacts = response.list(HeaderName::Contact).filter_map(|value| NameAddr::parse(&value));
    let mut uris = contacts.map(|contact| contact.uri).filter(|uri| uri.scheme() == Scheme::Sip);
    // §10.2: a registrar's Request-URI has no user part.
    uris.find_map(|uri| {
        let target = uri.target()?;
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some((Uri::parse(&format!("sip:{}{port}", uri.host())).ok()?, target))
    })
}

#[cfg(test)]
mod tests;
