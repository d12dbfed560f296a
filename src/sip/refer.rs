//! RFC 3515 (REFER), RFC 3891 (Replaces), RFC 3892 (Referred-By), RFC 4488 (Refer-Sub), and of RFC 6665 what follows from them: how
//! we ask the far end to call somebody else, and how we learn what became of it.
//!
//! ```text
//! REFER, Refer-To: <sip:human@…?User-to-User=…> ─►
//! ◄─ 202
//! ◄─ NOTIFY, Subscription-State: active, "SIP/2.0 100 Trying"     (may overtake the 202)
//! ◄─ NOTIFY, Subscription-State: terminated, "SIP/2.0 200 OK"     Transferred; anything above 299: Failed
//! BYE ─►                                                          the call's own doing
//! ```
//! A [`Referral`] is the subscription alone. Whoever owns the dialog sends the REFER and answers the NOTIFYs.

mod asked;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use super::message::{Fault, HeaderName, Params, Request, Scheme, Uri, UriError, default_reason, escape_user};
use super::session::ExtraHeaders;
use super::transaction::{GIVE_UP, T2, Timers};
use super::uui::Uui;
pub use asked::{Asked, asked_for};

/// A REFER to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refer {
    /// Whom the far end is to call.
    pub target: Uri,
    /// The dialog that its call is to take the place of: an attended transfer.
    pub replaces: Option<Replaces>,
    /// User-to-User of the call that the far end is to make.
    pub user_to_user: Vec<Uui>,
    /// More headers of that call.
    pub target_headers: ExtraHeaders,
    /// Who refers (RFC 3892).
    pub referred_by: Option<Uri>,
    /// Whether we want to be told what becomes of it; else `Refer-Sub: false` asks not to be (RFC 4488).
    pub subscription: bool,
    /// More headers of the REFER itself.
    pub headers: ExtraHeaders,
    /// From the far end's consent, how long until its last word has to be there.
    pub patience: Duration,
}

impl Refer {
    /// The value of Refer-To, with all that goes into the far end's INVITE as headers of the URI (RFC 3261 §19.1.1).
    pub fn refer_to(&self) -> String {
        let mut headers = Vec::new();
        headers.extend(self.replaces.as_ref().map(|replaces| ("Replaces", replaces.to_string())));
        headers.extend(self.user_to_user.iter().map(|value| ("User-to-User", value.to_string())));
        headers.extend(self.target_headers.iter().map(|(name, value)| (name, value.to_owned())));
        let mut out = format!("<{}", self.target.without_headers());
        for (n, (name, value)) in headers.iter().enumerate() {
            out.push(if n == 0 { '?' } else { '&' });
            out.push_str(&escaped(name));
            out.push('=');
            out.push_str(&escaped(value));
        }
        out.push('>');
        out
    }

    /// The value of Referred-By, when there is one.
    pub fn referred_by(&self) -> Option<String> {
        self.referred_by.as_ref().map(|uri| format!("<{}>", uri.without_headers()))
    }
}

/// §25.1 `hname`, `hvalue`. Less is left as it is than might be: `+` is a space to some, `[` and `]` break others.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Whom a call is to be referred to, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferTarget {
    /// A number or user of our own trunk's domain.
    User(String),
    /// A whole URI.
    Uri(Uri),
}

impl fmt::Display for ReferTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReferTarget::User(user) => f.write_str(user),
            ReferTarget::Uri(uri) => f.write_str(uri.as_str()),
        }
    }
}

/// Why somebody cannot be referred to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// More than 256 bytes.
    #[error("is longer than 256 bytes")]
    TooLong,
    /// Not what a telephone can call.
    #[error("{0}: is none of sip:, sips: and tel:, and a number has no colon")]
    Scheme(String),
    /// Not a URI at all.
    #[error("{0}")]
    Uri(UriError),
    /// Headers or a method inside the URI.
    #[error("has ?headers or ;method= inside: headers have fields of their own, the method is INVITE")]
    Headers,
    /// White space, a line break or a bracket.
    #[error("has a space, a control character or one of < > \" ,")]
    Character,
}

impl ReferTarget {
    /// Reads a number, `user@host:port`, or a `sip:`, `sips:` or `tel:` URI.
    ///
    /// # Errors
    /// As each [`TargetError`] says.
    pub fn parse(text: &str) -> Result<ReferTarget, TargetError> {
        if text.is_empty() {
            return Err(TargetError::Empty);
        }
        if text.len() > 256 {
            return Err(TargetError::TooLong);
        }
        if text.contains(|c: char| c.is_control() || c.is_whitespace() || "<>\",".contains(c)) {
            return Err(TargetError::Character);
        }
        let uri = match text.split_once(':') {
            Some((scheme, _)) if ["sip", "sips", "tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
                Uri::parse(text)
            }
            // `user@host:port`.
            _ if text.contains('@') => Uri::parse(&format!("sip:{text}")),
            Some((scheme, _)) => return Err(TargetError::Scheme(scheme.to_owned())),
            None => return Ok(ReferTarget::User(text.to_owned())),
        };
        let uri = uri.map_err(TargetError::Uri)?;
        if uri.as_str() != uri.without_headers() || uri.params().has("method") {
            return Err(TargetError::Headers);
        }
        Ok(ReferTarget::Uri(uri))
    }

    /// Whether headers can be given along: a `tel:` URI has no place for them (RFC 3966 §3).
    pub fn takes_headers(&self) -> bool {
        !matches!(self, ReferTarget::Uri(uri) if uri.scheme() == Scheme::Tel)
    }

    /// The URI; a number or user is one of `domain`.
    ///
    /// # Errors
    /// What makes no URI with this domain.
    pub fn at(&self, domain: &str) -> Result<Uri, UriError> {
        match self {
            ReferTarget::Uri(uri) => Ok(uri.clone()),
            ReferTarget::User(user) => Uri::parse(&format!("sip:{}@{domain}", escape_user(user))),
        }
    }
}

/// RFC 3891: names a dialog at the far end whose place a new call is to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaces {
    /// Its Call-ID.
    pub call_id: String,
    /// The tag of the one who gets the INVITE with this header.
    pub to_tag: String,
    /// The other one's.
    pub from_tag: String,
    /// Only while it is not answered.
    pub early_only: bool,
}

impl Replaces {
    /// Reads one value; `None` without exactly one to-tag and one from-tag (§6.1).
    pub fn parse(value: &str) -> Option<Replaces> {
        let value = value.trim();
        let end = value.find(';')?;
        let call_id = value[..end].trim_end();
        let word = |c: char| !c.is_control() && !c.is_whitespace() && c != ',';
        if call_id.is_empty() || !call_id.chars().all(word) {
            return None;
        }
        let params = Params::parse(&value[end..])?;
        let one = |name: &str| {
            let mut all = params.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
            let (_, tag) = all.next()?;
            (!tag.is_empty() && all.next().is_none()).then(|| tag.to_owned())
        };
        let (to_tag, from_tag) = (one("to-tag")?, one("from-tag")?);
        Some(Replaces { call_id: call_id.to_owned(), to_tag, from_tag, early_only: params.has("early-only") })
    }

    /// The Replaces of an INVITE.
    ///
    /// # Errors
    /// 400 when there are several, or Join beside it, or it does not read (§3).
    pub fn of(invite: &Request) -> Result<Option<Replaces>, Fault> {
        let mut all = invite.all(HeaderName::Replaces);
        let Some(value) = all.next() else { return Ok(None) };
        if all.next().is_some() || invite.named("Join").is_some() {
            return Err(Fault::bad("Multiple Replaces"));
        }
        let value = std::str::from_utf8(value).ok();
        value.and_then(Replaces::parse).map(Some).ok_or(Fault::bad("Malformed Replaces"))
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};to-tag={};from-tag={}", self.call_id, self.to_tag, self.from_tag)?;
        if self.early_only {
            f.write_str(";early-only")?;
        }
        Ok(())
    }
}

/// What a NOTIFY of the refer package says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// CSeq of the REFER, when it is named.
    id: Option<String>,
    /// The subscription ends with it; and the reason that it gives.
    terminated: Option<String>,
    /// Status line of the sipfrag (RFC 3420).
    status: Option<(u16, String)>,
}

impl Notify {
    /// Reads it.
    ///
    /// # Errors
    /// 489 for another package than `refer`, 415 for a body that is no sipfrag.
    pub fn read(request: &Request) -> Result<Notify, Fault> {
        let event = request.text(HeaderName::Event).unwrap_or_default();
        let end = event.find(';').unwrap_or(event.len());
        if !event[..end].trim().eq_ignore_ascii_case("refer") {
            return Err(Fault::new(489, "Bad Event"));
        }
        let params = Params::parse(&event[end..]).unwrap_or_default();
        let kind = request.text(HeaderName::ContentType).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !request.body().is_empty() && !kind.is_empty() && !kind.eq_ignore_ascii_case("message/sipfrag") {
            return Err(Fault::new(415, "Unsupported Media Type"));
        }
        let status = status_line(request.body());
        let state = request.text(HeaderName::SubscriptionState);
        let terminated = match state.as_deref() {
            // RFC 6665 §8.2.3 wants it; without it a final status is the end.
            None => status.as_ref().is_some_and(|(code, _)| *code >= 200).then(String::new),
            Some(state) => {
                let end = state.find(';').unwrap_or(state.len());
                let params = Params::parse(&state[end..]).unwrap_or_default();
                let reason = || params.value("reason").map(|reason| reason.to_ascii_lowercase()).unwrap_or_default();
                state[..end].trim().eq_ignore_ascii_case("terminated").then(reason)
            }
        };
        Ok(Notify { id: params.value("id").map(|id| id.into_owned()), terminated, status })
    }
}

/// The first line of a sipfrag, when it is a status line.
fn status_line(body: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(body);
    let line = text.trim_start().lines().next()?;
    let mut words = line.splitn(3, ' ');
    if !words.next()?.eq_ignore_ascii_case("SIP/2.0") {
        return None;
    }
    let code = words.next()?.parse().ok().filter(|code| (100..700).contains(code))?;
    Some((code, words.next().unwrap_or(default_reason(code)).trim().to_owned()))
}

/// What becomes of a REFER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The far end consents.
    Accepted {
        /// 200–299.
        code: u16,
    },
    /// It tells how its call goes.
    Trying {
        /// 100–199.
        code: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// There is nothing more to come; told once.
    Over(Outcome),
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The target has answered.
    Transferred {
        /// 200–299, of the far end's call.
        code: u16,
    },
    /// The far end consents and will tell nothing (RFC 4488).
    Accepted {
        /// 200–299, of the REFER.
        code: u16,
    },
    /// The far end consented and hung up without a word: it has what it wanted.
    EndedByPeer,
    /// The far end does not do it.
    Refused {
        /// 300–699, of the REFER.
        code: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// The far end tried, and was refused.
    Failed {
        /// 300–699, of the far end's call.
        code: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// No answer, no NOTIFY, or no last word in time; or the subscription ended without one.
    TimedOut,
    /// The call ended before the far end consented, or by us before it told.
    CallEnded,
}

impl Outcome {
    /// Whether the caller is somebody else's now.
    pub fn is_success(&self) -> bool {
        matches!(self, Outcome::Transferred { .. } | Outcome::Accepted { .. } | Outcome::EndedByPeer)
    }
}

/// What happens to a referral.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The REFER was sent once more, with credentials.
    SentAgain {
        /// Its CSeq.
        cseq: u32,
    },
    /// Its final response came; a timeout counts as 408 and an unreachable peer as 503 (RFC 3261 §8.1.3.1).
    Answered {
        /// 200–699.
        code: u16,
        /// Its reason phrase.
        reason: String,
        /// It says `Refer-Sub: false`.
        no_subscription: bool,
    },
    /// A NOTIFY that [`Referral::expects`].
    Notify(Notify),
    /// The far end hung up.
    PeerEnded,
    /// The call ended in any other way.
    CallEnded,
    /// The deadline may have passed.
    Timer,
}

#[derive(Clone, Copy)]
enum Timer {
    /// RFC 6665 §4.1.2.4, timer N: the first NOTIFY.
    FirstNotify,
    /// The last word.
    Patience,
    /// A BYE may follow a subscription that ended without one.
    LastWord,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asked,
    /// 2xx, or the NOTIFY that overtook it.
    Accepted {
        code: u16,
    },
    Over,
    /// And what is still to come is not wanted: 481 ends the subscription.
    GivenUp,
}

/// One REFER of ours and its subscription.
#[derive(Debug)]
pub struct Referral {
    ids: Vec<u32>,
    subscription: bool,
    patience: Duration,
    state: State,
    notified: bool,
    timers: Timers<3>,
    told: VecDeque<Progress>,
}

impl Referral {
    /// The REFER goes out with this CSeq.
    pub fn new(cseq: u32, subscription: bool, patience: Duration) -> Referral {
        Referral {
            ids: vec![cseq],
            subscription,
            patience,
            state: State::Asked,
            notified: false,
            timers: Timers::new(),
            told: VecDeque::new(),
        }
    }

    /// Whether its outcome is not known.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Asked | State::Accepted { .. })
    }

    /// Whether a NOTIFY is about it, and wanted.
    pub fn expects(&self, notify: &Notify) -> bool {
        let ours = |id: &String| self.ids.iter().any(|known| known.to_string() == *id);
        self.state != State::GivenUp && notify.id.as_ref().is_none_or(ours)
    }

    /// Feeds it.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if !self.is_pending() {
            return;
        }
        match input {
            Input::SentAgain { cseq } => self.ids.push(cseq),
            Input::Answered { code, no_subscription, .. } if code < 300 => {
                self.told.push_back(Progress::Accepted { code });
                self.state = State::Accepted { code };
                if no_subscription {
                    return self.over(Outcome::Accepted { code });
                }
                if !self.notified {
                    self.timers.set(Timer::FirstNotify as usize, now + GIVE_UP.into());
                    self.timers.set(Timer::Patience as usize, now + self.patience);
                }
            }
            // Its 202 was lost for good, and the NOTIFYs have said what it would have said.
            Input::Answered { code: 408, .. } if self.notified => {}
            Input::Answered { code: 408, .. } => self.over(Outcome::TimedOut),
            Input::Answered { code, reason, .. } => self.over(Outcome::Refused { code, reason }),
            Input::Notify(notify) => self.notified(now, notify),
            Input::PeerEnded if self.state == State::Asked => self.over(Outcome::CallEnded),
            Input::PeerEnded => self.over(Outcome::EndedByPeer),
            Input::CallEnded => self.over(Outcome::CallEnded),
            Input::Timer => self.due(now),
        }
    }

    fn notified(&mut self, now: Instant, notify: Notify) {
        self.timers.stop(Timer::FirstNotify as usize);
        if !std::mem::replace(&mut self.notified, true) && self.state == State::Asked {
            // RFC 6665 §4.1.2.4: it may overtake the 202, and says the same.
            self.state = State::Accepted { code: 202 };
            self.timers.set(Timer::Patience as usize, now + self.patience);
        }
        match (notify.status, notify.terminated) {
            (Some((code @ 200..300, _)), _) => self.over(Outcome::Transferred { code }),
            (Some((code @ 300.., reason)), _) => self.over(Outcome::Failed { code, reason }),
            (_, Some(why)) if why == "rejected" => {
                self.over(Outcome::Failed { code: 603, reason: "subscription rejected".to_owned() });
            }
            // It ends without a result. There are switches that do so and then hang up, which is one.
            (_, Some(_)) => self.timers.set(Timer::LastWord as usize, now + T2.into()),
            (Some((code, reason)), None) => self.told.push_back(Progress::Trying { code, reason }),
            (None, None) => {}
        }
    }

    fn due(&mut self, now: Instant) {
        if self.timers.take_due(Timer::FirstNotify as usize, now) {
            return match self.state {
                // Asked not to tell, it did not say that it would not; it did not tell.
                State::Accepted { code } if !self.subscription => self.over(Outcome::Accepted { code }),
                _ => self.give_up(),
            };
        }
        let late = [Timer::Patience, Timer::LastWord].map(|timer| self.timers.take_due(timer as usize, now));
        if late.contains(&true) {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        self.over(Outcome::TimedOut);
        self.state = State::GivenUp;
    }

    fn over(&mut self, outcome: Outcome) {
        self.timers.stop_all();
        self.state = State::Over;
        self.told.push_back(Progress::Over(outcome));
    }

    /// The next thing to tell.
    pub fn poll(&mut self) -> Option<Progress> {
        self.told.pop_front()
    }

    /// When to call `handle` with [`Input::Timer`].
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.deadline()
    }
}

#[cfg(test)]
mod tests;
