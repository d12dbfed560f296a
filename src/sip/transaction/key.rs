//! RFC 3261 §17.2.3: which server transaction a request belongs to.

use crate::sip::message::{Fault, MAGIC_COOKIE, Method, Request};

/// Identifies a server transaction. An ACK to a final response other than 2xx and a CANCEL have the key
/// of the INVITE they are about by [`Key::of_invite`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    method: Method,
    id: String,
}

impl Key {
    /// The key of the transaction that this request starts or repeats. For ACK, that of its INVITE.
    ///
    /// # Errors
    /// The fault of a request whose Via, From, To, Call-ID or CSeq does not read.
    pub fn of(request: &Request) -> Result<Key, Fault> {
        let method = match request.method() {
            Method::Ack => Method::Invite,
            other => other.clone(),
        };
        Key::with(request, method)
    }

    /// The key of the INVITE that this CANCEL or ACK is about.
    ///
    /// # Errors
    /// As [`Key::of`].
    pub fn of_invite(request: &Request) -> Result<Key, Fault> {
        Key::with(request, Method::Invite)
    }

    fn with(request: &Request, method: Method) -> Result<Key, Fault> {
        let via = request.top_via()?;
        let port = via.port.map_or(String::new(), |port| format!(":{port}"));
        let sent_by = format!("{}{port}", via.host.to_ascii_lowercase());
        let branch = via.branch().unwrap_or_default();
        let id = match branch.get(..MAGIC_COOKIE.len()) {
            Some(cookie) if cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && branch.len() > MAGIC_COOKIE.len() => {
                format!("{branch} {sent_by}")
            }
            // §17.2.3, RFC 2543 peers: a branch without the cookie says nothing. The To tag is left out,
            // since their ACK carries ours and their INVITE does not.
            _ => {
                let from = request.from()?;
                format!(
                    "{} {} {} {} {sent_by} {branch}",
                    request.uri(),
                    from.tag().unwrap_or_default(),
                    request.call_id()?,
                    request.cseq()?.number
                )
            }
        };
        Ok(Key { method, id })
    }
}
