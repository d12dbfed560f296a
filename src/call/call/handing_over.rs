//! Handing the caller over by REFER, and the User-to-User of the far end.

use std::net::IpAddr;

use super::*;

/// The most User-to-User values of one call that are kept.
const MOST_UUI: usize = 64;

impl Call {
    /// The far end is to call somebody else.
    pub(super) fn refer(&mut self, now: Instant, by: HungUpBy, refer: transfer::Refer) {
        let at = self.conversation.as_ref().map_or(Ms(0), |c| c.at(now));
        let wanted = refer.target.to_string();
        let instead = refer.instead();
        let us = match self.session.is_outgoing() {
            true => self.session.invite().from(),
            false => self.session.invite().to(),
        };
        let full = self.transfers.len() >= transfer::MOST;
        let refer = match refer.on(&self.plan.transfer, us.ok().map(|us| us.uri)) {
            _ if full => Err(format!("{} transfers were tried", transfer::MOST)),
            _ if self.referred.is_open() => Err("a REFER of the far end is being followed".to_owned()),
            other => other,
        };
        let refer = match refer {
            Ok(refer) => refer,
            Err(reason) => {
                let stage = Stage::Failed(transfer::Handed::Refused);
                self.tell(
                    now,
                    What::Transfer { stage, target: wanted, sip_code: 0, reason: reason.clone(), call_id: None },
                );
                return self.converse(|c| c.referred(now, false, 0, reason));
            }
        };
        let target = refer.target.as_str().to_owned();
        let (stage, reason) = (Stage::Started, String::new());
        self.tell(now, What::Transfer { stage, target: target.clone(), sip_code: 0, reason, call_id: None });
        self.referring = Some(Box::new(transfer::Referring { by, target, start: at, instead }));
        self.session.handle(now, session::Input::Refer(Box::new(refer)));
    }

    pub(super) fn referred(&mut self, now: Instant, progress: Progress) {
        let Some(referring) = self.referring.take() else { return };
        let target = referring.target.clone();
        let tell = |stage, sip_code, reason: &str| What::Transfer {
            stage,
            target: target.clone(),
            sip_code,
            reason: reason.to_owned(),
            call_id: None,
        };
        let outcome = match progress {
            Progress::Accepted { code } => {
                self.referring = Some(referring);
                return self.tell(now, tell(Stage::Progress, code, "the far end consents"));
            }
            Progress::Trying { code, reason } => {
                self.referring = Some(referring);
                return self.tell(now, tell(Stage::Progress, code, &reason));
            }
            Progress::Over(outcome) => outcome,
        };
        let transfer::Referring { by, start, instead, .. } = *referring;
        let stop = self.conversation.as_ref().map_or(Ms(0), |c| c.at(now));
        let entry = transfer::entry(target.clone(), outcome, start, stop);
        let reached = entry.result > 0;
        let stage = if reached { Stage::Answered(entry.outcome) } else { Stage::Failed(entry.outcome) };
        self.tell(now, tell(stage, entry.sip_code, &entry.reason));
        // A trunk that does not do it, and a dialog that is still there.
        let not_done = entry.outcome == transfer::Handed::Refused && transfer::NOT_DONE.contains(&entry.sip_code);
        if let Some(leg) = instead.filter(|_| not_done && self.ending.is_none() && self.phase == Phase::Talking) {
            self.transfers.push(entry);
            self.line_was_dead();
            return self.transfer(now, by, leg);
        }
        self.converse(|c| c.referred(now, reached, entry.sip_code, entry.reason.clone()));
        // Whose hang-up was the result has hung up.
        let gone = matches!(entry.outcome, transfer::Handed::EndedByPeer | transfer::Handed::CallEnded);
        self.transfers.push(entry);
        if reached && !gone {
            return self.hang_up(now, by, &format!("handed over to {target}"));
        }
        self.line_was_dead();
    }

    /// A silence of the line during a REFER counts from now, as after a hold.
    fn line_was_dead(&mut self) {
        if std::mem::take(&mut self.dead) {
            self.media_changed();
        }
    }

    /// What names our dialog in a Replaces header at the far end, and where that is reached.
    pub fn replaces(&self) -> Option<(Replaces, Uri)> {
        self.session.replaces()
    }

    /// Where a call that we placed was answered.
    pub fn answered_from(&self) -> Option<IpAddr> {
        self.session.answered_from()
    }

    pub(super) fn note_user_to_user(&mut self, carrier: &'static str, values: &[String]) {
        let room = MOST_UUI.saturating_sub(self.user_to_user.len());
        let values = values.iter().take(room).map(|value| ReceivedUui { carrier, value: value.clone() });
        self.user_to_user.extend(values);
    }

    /// User-to-User that came with the message that set the call up.
    pub(super) fn with_the_call(&self, carrier: &str) -> Vec<String> {
        let all = self.user_to_user.iter().filter(|uui| uui.carrier == carrier);
        all.map(|uui| uui.value.clone()).collect()
    }
}

/// RFC 7433 User-to-User, as received, one by one.
pub(super) fn user_to_user(invite: &Request) -> Vec<String> {
    invite.list(HeaderName::UserToUser).map(|value| value.into_owned()).collect()
}
