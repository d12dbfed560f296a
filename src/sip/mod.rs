//! SIP (RFC 3261) over UDP, pure: messages, transactions, dialogs and a whole call's signalling.
//!
//! | layer | module | stands on |
//! |---|---|---|
//! | text | [`message`] | tolerant reading, strict writing |
//! | hop | [`transaction`] | RFC 3261 §17, RFC 6026: retransmission and timeouts |
//! | peer | [`dialog`] | RFC 3261 §12: tags, route set, sequence numbers |
//! | call | [`session`] | one INVITE, its dialog, all its transactions |
//! | trunk | [`register`] | RFC 3261 §10, client side |
//! | both | [`auth`] | RFC 7616 / RFC 8760 digest, both sides |
//! | both | [`identity`] | RFC 3325, RFC 3323, RFC 5806, RFC 7044: who calls, and for whom |
//! | neither | [`stateless`] | answers to what belongs to no call |
//!
//! Nothing here opens a socket, reads a clock or makes up a random number by itself: datagrams and
//! `Instant`s come in, datagrams, events and deadlines go out.

pub mod auth;
pub mod dialog;
pub mod identity;
pub mod message;
pub mod register;
pub mod session;
pub mod stateless;
mod token;
pub mod transaction;

use std::net::SocketAddr;

use message::{HeaderName, Method, Writer, escape_user};

/// The methods this user agent takes, as its `Allow` says.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";

/// The option tags (RFC 3261 §19.2) this user agent really supports, as its `Supported` says.
/// Empty until an extension is built.
pub const SUPPORTED: &[&str] = &[];

/// The bodies this user agent reads, as its `Accept` says.
pub const ACCEPT: &str = "application/sdp, application/dtmf-relay, application/dtmf";

/// What we write of ourselves into requests and responses.
#[derive(Clone, Debug)]
pub struct Local {
    /// User part of our Contact; escaped when written.
    pub contact_user: String,
    /// The address we advertise in Via and Contact (behind a static NAT: the outer one).
    pub contact: SocketAddr,
    /// Value of User-Agent and Server.
    pub user_agent: String,
}

impl Local {
    /// The Via value of a new request: our sent-by, its `branch`, and `rport` (RFC 3581).
    pub fn via(&self, branch: &str) -> String {
        format!("SIP/2.0/UDP {};branch={branch};rport", self.contact)
    }

    /// Our Contact value, in angle brackets.
    pub fn contact_value(&self) -> String {
        if self.contact_user.is_empty() {
            return format!("<sip:{}>", self.contact);
        }
        format!("<sip:{}@{}>", escape_user(&self.contact_user), self.contact)
    }

    /// Contact, Allow, User-Agent and, when there is something to say, Supported.
    fn describe<Start>(&self, mut message: Writer<Start>, method: &Method) -> Writer<Start> {
        message = message.header(HeaderName::Contact, &self.contact_value());
        if *method != Method::Register {
            message = message.header(HeaderName::Allow, ALLOW);
        }
        if !SUPPORTED.is_empty() {
            message = message.header(HeaderName::Supported, &SUPPORTED.join(", "));
        }
        message.header(HeaderName::UserAgent, &self.user_agent)
    }
}

/// A datagram to send back to where a request came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Where RFC 3261 §18.2.2 and RFC 3581 send it.
    pub to: SocketAddr,
    /// The whole response.
    pub payload: Vec<u8>,
}
