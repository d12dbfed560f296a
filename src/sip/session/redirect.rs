//! RFC 3261 §8.1.3.4: a callee who is somewhere else. The same call goes where the refusal says.
//!
//! ```text
//! INVITE sip:100@trunk  ─►      302, Contact: <sip:100@other>
//! ACK                   ─►
//! INVITE sip:100@other  ─►      same Call-ID, From and To, the next CSeq
//! ```
//! [`Terms::redirects`] times at most. A proxy that every call has to pass ([`Dial::route`]) is passed again.

use super::*;
use crate::sip::locate::Hop;
use crate::sip::message::Scheme;

impl Session {
    /// Goes where a 3xx says, if it names a place where we can go.
    pub(super) fn redirected(&mut self, now: Instant, response: &Response) -> bool {
        let most = self.terms.redirects;
        let Side::Caller(caller) = &mut self.side else { return false };
        if self.phase != Phase::Inviting || caller.redirected == most {
            return false;
        }
        let now_at = caller.dial.request_uri.without_headers().to_owned();
        let routed = !caller.dial.route.is_empty();
        let there = contacts(response).into_iter().find_map(|uri| {
            // What it would have us add to the INVITE (§19.1.1) is not its to say.
            let uri = Uri::parse(uri.without_headers()).ok().filter(|uri| uri.as_str() != now_at)?;
            Some((self.local.way_to(&uri, routed)?, uri))
        });
        let Some((way, uri)) = there else { return false };
        caller.redirected += 1;
        caller.anew();
        caller.dial.request_uri = uri;
        match way {
            None => self.send_invite(now),
            Some((transport, target)) => {
                let like = if let Target::Addr(at) = target { at } else { self.local.contact };
                caller.dial.next_hop = target;
                caller.dial.spares = Spares::default();
                self.event(Event::Redirected);
                self.turn_to(now, Hop { transport, address: like });
            }
        }
        true
    }
}

impl Local {
    /// By what, and where, a URI is reached, unless its request passes a proxy anyhow; `None`: not at all.
    fn way_to(&self, uri: &Uri, routed: bool) -> Option<Option<(Transport, Target)>> {
        let secret = self.ways.transport == Transport::Tls;
        let speaks = uri.scheme() == Scheme::Sip || uri.scheme() == Scheme::Sips && secret;
        if routed {
            return speaks.then_some(None);
        }
        let transport = self.transport_to(uri);
        let target = uri.target_by(transport).filter(|_| speaks)?;
        let reached = match target {
            Target::Addr(at) => self.ways.address(transport, at).is_some(),
            Target::Host { .. } => true,
        };
        reached.then_some(Some((transport, target)))
    }
}

/// Where the callee may be, the likeliest place first (§20.10).
fn contacts(response: &Response) -> Vec<Uri> {
    let named = response.list(HeaderName::Contact).filter_map(|value| NameAddr::parse(&value));
    let mut all: Vec<_> = named
        .map(|contact| {
            let q = contact.params.value("q").and_then(|q| q.parse::<f32>().ok());
            (q.unwrap_or(1.0), contact.uri)
        })
        .collect();
    all.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    all.into_iter().map(|(_, uri)| uri).collect()
}
