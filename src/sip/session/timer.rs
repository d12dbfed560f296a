//! RFC 4028: session timers. A session that nobody refreshes is over, so that a lost BYE leaves no call behind, and no box on the way
//! takes a call that lives for a dead one.
//!
//! ```text
//! INVITE  Session-Expires: 1800;refresher=uac, Supported: timer   ────►
//!         ◄──── 422 Min-SE: 3600                     the same again with 3600
//!         ◄──── 200 Session-Expires: 1800;refresher=uac, Require: timer
//! UPDATE  at half of it, or a re-INVITE where the far end takes no UPDATE   ────►
//!         ◄──── 200 Session-Expires: 1800;refresher=uac
//! BYE     32 s (at most a third of it) before it is over, when no refresh has gone through (§10)
//! ```

use super::terms::{Refresher, TIMER, supports};
use super::*;

/// The shortest interval there is (§4), and what Min-SE is when nobody says.
pub const SHORTEST_INTERVAL: u32 = 90;
/// §10: so long before the end a session is given up, or a third of the interval.
const MARGIN: u32 = 32;
/// An interval below this is a mistake of the far end's, and is read as this.
const LEAST: u32 = 20;
/// After a refresh that failed in a way that says nothing of the call.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    seconds: u32,
    /// We refresh.
    ours: bool,
}

/// RFC 4028 as a session has it.
#[derive(Debug)]
pub(super) struct Refreshing {
    interval: Option<Interval>,
    /// The longest Min-SE that anybody asked for.
    floor: u32,
    /// The far end has shown that it knows session timers.
    known: bool,
}

/// The refresher parameter: by its role in the one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Uac,
    Uas,
}

impl Refreshing {
    pub(super) fn new(terms: &Terms) -> Refreshing {
        let floor = terms.timer.map_or(SHORTEST_INTERVAL, |timer| timer.min_se.max(SHORTEST_INTERVAL));
        Refreshing { interval: None, floor, known: false }
    }

    /// §7.3: a 422 asks for more; whether that is anything new.
    pub(super) fn raise(&mut self, response: &Response) -> bool {
        let asked = response.seconds(HeaderName::MinSe).unwrap_or(0);
        let more = asked > self.floor;
        self.floor = self.floor.max(asked);
        more
    }

    /// Session-Expires and, when it is not the default, Min-SE of a request of ours (§7.1, §7.4).
    pub(super) fn ask<Start>(&self, terms: &Terms, out: Writer<Start>) -> Writer<Start> {
        let Some(timer) = terms.timer else { return out };
        let value = match self.interval {
            Some(Interval { seconds, ours }) => {
                format!("{};refresher={}", seconds.max(self.floor), if ours { "uac" } else { "uas" })
            }
            None => {
                let seconds = timer.expires.max(self.floor);
                match timer.refresher {
                    Refresher::Us => format!("{seconds};refresher=uac"),
                    Refresher::Peer => format!("{seconds};refresher=uas"),
                    Refresher::Any => seconds.to_string(),
                }
            }
        };
        let out = out.header(HeaderName::SessionExpires, &value);
        if self.floor > SHORTEST_INTERVAL { out.header(HeaderName::MinSe, &self.floor.to_string()) } else { out }
    }

    /// §9, table 2: what a request of the far end's is answered.
    fn answer(&self, terms: &Terms, request: &Request) -> Option<(Interval, bool)> {
        let timer = terms.timer?;
        let known = supports(request, TIMER);
        let least = request.seconds(HeaderName::MinSe).unwrap_or(0).max(self.floor);
        let asked = session_expires(request);
        let seconds = match (asked, self.interval) {
            (Some((seconds, _)), _) => seconds.min(timer.expires.max(least)).max(least),
            (None, Some(interval)) => interval.seconds,
            (None, None) => timer.expires.max(least),
        };
        let theirs = match (known, asked.and_then(|(_, role)| role), self.interval) {
            (false, ..) => false,
            (true, Some(role), _) => role == Role::Uac,
            (true, None, Some(interval)) => !interval.ours,
            (true, None, None) => timer.refresher != Refresher::Us,
        };
        Some((Interval { seconds, ours: !theirs }, known))
    }
}

impl Session {
    /// Min-SE of a 422.
    pub(super) fn min_se(&self) -> String {
        let least = self.terms.timer.map_or(SHORTEST_INTERVAL, |timer| timer.min_se.max(SHORTEST_INTERVAL));
        least.to_string()
    }

    /// §9: 422 for an interval that is too short, of somebody who knows what to do about that.
    pub(super) fn interval_too_brief(&self, request: &Request) -> bool {
        self.terms.timer.is_some() && too_brief(&self.terms, request)
    }

    /// Session-Expires of our 2xx, which starts the timer anew.
    pub(super) fn answer_timer(
        &mut self,
        now: Instant,
        request: &Request,
        out: Writer<StatusLine>,
    ) -> Writer<StatusLine> {
        let Some((interval, known)) = self.refreshing.answer(&self.terms, request) else { return out };
        self.refreshing.known |= known;
        self.agree(now, interval);
        let role = if interval.ours { "uas" } else { "uac" };
        let out = out.header(HeaderName::SessionExpires, &format!("{};refresher={role}", interval.seconds));
        // Who does not know it is not held to it, and refreshed all the same.
        if known { out.header(HeaderName::Require, TIMER) } else { out }
    }

    /// §7.2: what the 2xx to a request of ours agrees to.
    pub(super) fn timer_answered(&mut self, now: Instant, response: &Response) {
        if self.terms.timer.is_none() {
            return;
        }
        match (session_expires(response), self.refreshing.interval) {
            (Some((seconds, role)), _) => {
                self.refreshing.known = true;
                self.agree(now, Interval { seconds: seconds.max(LEAST), ours: role != Some(Role::Uas) });
            }
            // A callee that never knew session timers was refreshed by us alone, and will be.
            (None, Some(interval)) if interval.ours && !self.refreshing.known => self.agree(now, interval),
            // §7.2: the session does not expire, or no longer.
            (None, _) => self.stop_refreshing(),
        }
    }

    fn agree(&mut self, now: Instant, interval: Interval) {
        let Interval { seconds, ours } = interval;
        self.refreshing.interval = Some(interval);
        self.timers.stop(Timer::Refresh as usize);
        if ours {
            self.timers.set(Timer::Refresh as usize, now + Duration::from_secs((seconds / 2).into()));
        }
        let end = seconds - MARGIN.min(seconds / 3);
        self.timers.set(Timer::Expire as usize, now + Duration::from_secs(end.into()));
    }

    pub(super) fn stop_refreshing(&mut self) {
        self.refreshing.interval = None;
        self.timers.stop(Timer::Refresh as usize);
        self.timers.stop(Timer::Expire as usize);
    }

    /// Half of the interval is over: by UPDATE, which leaves the media alone, or by re-INVITE where that is not taken (§7.4).
    pub(super) fn refresh_session(&mut self, now: Instant) {
        let tag = self.dialog.as_ref().map(|dialog| dialog.remote_tag().to_owned()).unwrap_or_default();
        match (self.phase, self.peer_updates) {
            (Phase::Up, true) => self.send_update(now, &tag, None),
            (Phase::Up, false) => self.wanted = true,
            _ => self.refresh_later(now),
        }
    }

    /// §10: a refresh that was refused is tried again, until the session is given up.
    pub(super) fn refresh_later(&mut self, now: Instant) {
        match self.refreshing.interval {
            // Whoever knows nothing of session timers ends no session by refusing our refresh: it is there, and knows the call.
            Some(interval) if interval.ours && !self.refreshing.known => self.agree(now, interval),
            Some(interval) if interval.ours => self.timers.set(Timer::Refresh as usize, now + TRY_AGAIN),
            _ => {}
        }
    }

    /// §10: no refresh came through.
    pub(super) fn session_expired(&mut self, now: Instant) {
        let text = Some("Session expired".to_owned());
        let reason = Some(Reason { protocol: "SIP".to_owned(), cause: Some(408), text });
        self.send_bye(now, Farewell { headers: ExtraHeaders::default(), reason });
        self.end(now, Event::Failed(Failure::Expired));
    }
}

/// Whether a request's interval is shorter than we take.
pub(super) fn too_brief(terms: &Terms, request: &Request) -> bool {
    let least = terms.timer.map_or(0, |timer| timer.min_se.max(SHORTEST_INTERVAL));
    supports(request, TIMER) && session_expires(request).is_some_and(|(seconds, _)| seconds < least)
}

/// Session-Expires: seconds, and who refreshes.
fn session_expires(message: &Headers) -> Option<(u32, Option<Role>)> {
    let seconds = message.seconds(HeaderName::SessionExpires)?;
    let text = message.text(HeaderName::SessionExpires)?;
    let params = Params::parse(&text[text.find(';').unwrap_or(text.len())..])?;
    let role = params.value("refresher").and_then(|role| match role.to_ascii_lowercase().as_str() {
        "uac" => Some(Role::Uac),
        "uas" => Some(Role::Uas),
        _ => None,
    });
    Some((seconds, role))
}
