//! RFC 3515 and RFC 3891 within a call: our REFER and its NOTIFYs, the far end's REFER, and an INVITE that wants our dialog's place.

use super::*;
use crate::sip::message::split;
use crate::sip::refer::{self, Notify, Outcome, Referral, Replaces};

/// Which message a User-to-User header came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Carrier {
    /// A provisional response to our INVITE.
    Ringing,
    /// The 2xx.
    Answer,
    /// Its refusal.
    Refusal,
    /// The BYE.
    Bye,
}

impl Session {
    /// How a REFER of the far end is answered: 403, 405, 501 or 603; every other code counts as 603.
    pub fn refuse_refers_with(&mut self, code: u16) {
        self.refer_refusal = code;
    }

    /// What names this dialog in a Replaces header at the far end (RFC 3891), and where that end is reached; once it is answered.
    pub fn replaces(&self) -> Option<(Replaces, Uri)> {
        let dialog = self.dialog.as_ref().filter(|_| self.phase == Phase::Up)?;
        let replaces = Replaces {
            call_id: self.call_id.clone(),
            to_tag: dialog.remote_tag().to_owned(),
            from_tag: dialog.local_tag().to_owned(),
            early_only: false,
        };
        Some((replaces, dialog.remote_target().clone()))
    }

    /// Answers an INVITE under another Call-ID that wants to take the place of this one (RFC 3891 §3). We let nobody do so:
    /// 481 when it does not mean us, 486 when it only wants an unanswered call, 603 else.
    pub fn refuse_replacement(&self, invite: &Request, replaces: &Replaces, source: SocketAddr) -> Option<Reply> {
        let (ours, theirs) = (self.local_tag(), self.dialog.as_ref().map_or("", |dialog| dialog.remote_tag()));
        // §3: an RFC 2543 far end has no tag, and is named by "0".
        let remote = replaces.from_tag == theirs || (theirs.is_empty() && replaces.from_tag == "0");
        let fault = match self.phase {
            _ if replaces.call_id != self.call_id || replaces.to_tag != ours || !remote => stateless::NO_CALL,
            // Only one who was called can be replaced before the answer, and only we could say by whom.
            Phase::Inviting | Phase::Offered => stateless::NO_CALL,
            Phase::Unacknowledged | Phase::Up if replaces.early_only => Fault::new(486, "Busy Here"),
            Phase::Unacknowledged | Phase::Up | Phase::Over => Fault::new(603, "Decline"),
        };
        stateless::refuse(invite, source, &self.local, fault)
    }

    pub(super) fn send_refer(&mut self, now: Instant, refer: Refer) {
        let refused = |code: u16| {
            let outcome = Outcome::Refused { code, reason: default_reason(code).to_owned() };
            Event::Refer(Progress::Over(outcome))
        };
        if self.phase != Phase::Up {
            return self.event(refused(481));
        }
        // One at a time: nobody could say whose a NOTIFY without an id is.
        if self.referral.as_ref().is_some_and(Referral::is_pending) {
            return self.event(refused(491));
        }
        if let Some(cseq) = self.write_refer(now, &refer) {
            self.referral = Some(Referral::new(cseq, refer.subscription, refer.patience));
        }
    }

    /// Sends it; gives its CSeq.
    fn write_refer(&mut self, now: Instant, refer: &Refer) -> Option<u32> {
        let (out, to) = self.begin(Method::Refer, b"")?;
        let mut out =
            out.header(HeaderName::Contact, &self.local.contact_value()).header(HeaderName::ReferTo, &refer.refer_to());
        if let Some(by) = refer.referred_by() {
            out = out.header(HeaderName::ReferredBy, &by);
        }
        if !refer.subscription {
            // RFC 4488 §4: whoever does not know it subscribes us all the same, and is listened to.
            out = out.header(HeaderName::ReferSub, "false").header(HeaderName::Supported, "norefersub");
        }
        let request = refer.headers.write(out).finish("", b"");
        let purpose = Purpose::Refer(Box::new(refer.clone()));
        self.requests_out.push(RequestOut { to, purpose, tx: Client::new(now, request) });
        self.dialog.as_ref().map(Dialog::local_seq)
    }

    /// The same REFER once more, with the credentials that were asked for.
    pub(super) fn refer_again(&mut self, now: Instant, refer: &Refer) -> bool {
        let Some(cseq) = self.write_refer(now, refer) else { return false };
        self.referred(now, refer::Input::SentAgain { cseq });
        true
    }

    pub(super) fn refer_answered(&mut self, now: Instant, code: u16, response: Option<&Response>) {
        let reason = response.map(|response| response.reason().into_owned()).filter(|reason| !reason.is_empty());
        let reason = reason.unwrap_or_else(|| default_reason(code).to_owned());
        let no_subscription = response
            .and_then(|response| response.text(HeaderName::ReferSub))
            .is_some_and(|value| value.trim().get(..5).is_some_and(|word| word.eq_ignore_ascii_case("false")));
        self.referred(now, refer::Input::Answered { code, reason, no_subscription });
    }

    /// Tells the referral, and the call what comes of it.
    pub(super) fn referred(&mut self, now: Instant, input: refer::Input) {
        let Some(referral) = &mut self.referral else { return };
        referral.handle(now, input);
        while let Some(progress) = self.referral.as_mut().and_then(Referral::poll) {
            self.event(Event::Refer(progress));
        }
    }

    /// Whether a NOTIFY may still come after the end of the call: a subscription outlives its BYE (RFC 5057 §4.1).
    pub(super) fn was_referred(&self) -> bool {
        self.referral.is_some()
    }

    pub(super) fn receive_notify(&mut self, now: Instant, request: Request, source: SocketAddr, key: Key) {
        let notify = match Notify::read(&request) {
            Ok(notify) if self.referral.as_ref().is_some_and(|referral| referral.expects(&notify)) => Ok(notify),
            Ok(_) => Err(Fault::new(481, "Subscription Does Not Exist")),
            Err(fault) => Err(fault),
        };
        let fault = notify.as_ref().err().copied().unwrap_or(Fault::new(200, "OK"));
        self.respond_new(now, request, source, key, fault);
        if let Ok(notify) = notify {
            self.referred(now, refer::Input::Notify(notify));
        }
    }

    /// Tells the User-to-User values of a message, as they came.
    pub(super) fn tell_user_to_user(&mut self, carrier: Carrier, message: &Headers) {
        let all = message.all(HeaderName::UserToUser).flat_map(|value| split(value, b',')).filter(|v| !v.is_empty());
        let values: Vec<_> = all.map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        if !values.is_empty() {
            self.event(Event::UserToUser { carrier, values });
        }
    }
}
