//! SIP (RFC 3261), pure: messages, transactions, dialogs and a whole call's signalling.
//!
//! | layer | module | stands on |
//! |---|---|---|
//! | text | [`message`] | tolerant reading, strict writing |
//! | wire | [`transport`] | RFC 3261 §18: by what a message goes; a stream is cut by [`message::framing`] |
//! | hop | [`transaction`] | RFC 3261 §17, RFC 6026: retransmission and timeouts |
//! | path | [`locate`] | RFC 3263: to which address, and to which one next |
//! | peer | [`dialog`] | RFC 3261 §12: tags, route set, sequence numbers |
//! | call | [`session`] | one INVITE, its dialog, all its transactions |
//! | transfer | [`refer`] | RFC 3515, 3891, 3892, 4488: REFER and its subscription |
//! | trunk | [`register`], [`ping`] | RFC 3261 §10, client side; §11: is it there |
//! | both | [`auth`] | RFC 7616 / RFC 8760 digest, both sides |
//! | both | [`identity`] | RFC 3325, RFC 3323, RFC 5806, RFC 7044: who calls, and for whom |
//! | neither | [`stateless`] | answers to what belongs to no call |
//! | cargo | [`uui`] | RFC 7433: User-to-User |
//!
//! Nothing here opens a socket, reads a clock or makes up a random number by itself: datagrams and
//! `Instant`s come in, datagrams, events and deadlines go out.

pub mod auth;
pub mod dialog;
pub mod identity;
pub mod locate;
pub mod message;
pub mod ping;
pub mod refer;
pub mod register;
pub mod session;
pub mod stateless;
mod token;
pub mod transaction;
pub mod transport;
pub mod uui;

use std::net::SocketAddr;

use locate::Hop;
use message::{HeaderName, RequestLine, Uri, Writer, escape_user};
use transport::Transport;

/// The methods this user agent takes, as its `Allow` says.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, NOTIFY";

/// The option tags (RFC 3261 §19.2) this user agent really supports, as its `Supported` says. A trunk may go without
/// ([`session::Terms`]).
pub const SUPPORTED: &[&str] = &["100rel", "timer"];

/// The bodies this user agent reads, as its `Accept` says.
pub const ACCEPT: &str = "application/sdp, application/dtmf-relay, application/dtmf, message/sipfrag";

/// No encoding of a body but the body itself (§8.2.3).
pub const ACCEPT_ENCODING: &str = "identity";

/// What we write of ourselves into requests and responses.
#[derive(Clone, Debug)]
pub struct Local {
    /// User part of our Contact; escaped when written.
    pub contact_user: String,
    /// The address we advertise in Via and Contact (behind a static NAT: the outer one).
    pub contact: SocketAddr,
    /// Value of User-Agent and Server.
    pub user_agent: String,
    /// By what we send, and where else we are reached.
    pub ways: Ways,
}

/// The transports that there are for a call, and under which addresses peers reach us by each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// By what a request goes where nothing else is asked for.
    pub transport: Transport,
    /// Requests that are too large for UDP go by TCP (§18.1.1).
    pub large_by_tcp: bool,
    /// By transport, then by family.
    reached: [[Option<SocketAddr>; 2]; 3],
}

impl Ways {
    /// As it was, and we are reached by this transport at this address.
    pub fn reached(mut self, transport: Transport, at: SocketAddr) -> Ways {
        self.reached[transport as usize][usize::from(at.is_ipv6())] = Some(at);
        self
    }

    /// Whether we are reached by this transport at all.
    pub fn has(&self, transport: Transport) -> bool {
        self.reached[transport as usize].iter().any(Option::is_some)
    }

    /// An address of ours for this transport, of whichever family there is.
    pub fn any(&self, transport: Transport) -> Option<SocketAddr> {
        self.reached[transport as usize].iter().flatten().next().copied()
    }

    /// Where a peer of this family reaches us by this transport; `None`: not at all.
    pub fn address(&self, transport: Transport, like: SocketAddr) -> Option<SocketAddr> {
        self.reached[transport as usize][usize::from(like.is_ipv6())]
    }
}

impl Local {
    /// What we write of ourselves to who is reached by this hop.
    pub fn towards(mut self, hop: Hop) -> Local {
        self.ways.transport = hop.transport;
        self.contact = self.ways.address(hop.transport, hop.address).unwrap_or(self.contact);
        self
    }

    /// The Via value of a new request by our usual transport: our sent-by, its `branch`, and `rport` (RFC 3581).
    pub fn via(&self, branch: &str) -> String {
        self.via_by(self.ways.transport, branch)
    }

    fn via_by(&self, transport: Transport, branch: &str) -> String {
        let sent_by = self.ways.address(transport, self.contact).unwrap_or(self.contact);
        // RFC 3581 §3: it is for UDP; a stream has one way back.
        let rport = if transport.is_reliable() { "" } else { ";rport" };
        format!("SIP/2.0/{} {sent_by};branch={branch}{rport}", transport.as_str())
    }

    /// By what a request goes to a URI (RFC 3263 §4.1): what that asks for, if we have it. Where it asks for nothing, RFC 3263 says UDP; but
    /// who is called by a stream and writes a Contact without a transport means the stream. What is kept secret stays so.
    fn transport_to(&self, uri: &Uri) -> Transport {
        let asked = Transport::of_uri(uri).filter(|asked| self.ways.address(*asked, self.contact).is_some());
        match (self.ways.transport, asked) {
            (Transport::Tls, _) | (_, None) => self.ways.transport,
            (_, Some(asked)) => asked,
        }
    }

    /// The top Via of a request.
    fn begin(&self, out: Writer<RequestLine>, transport: Transport, branch: &str) -> Writer<RequestLine> {
        let via = self.via_by(transport, branch);
        if transport == Transport::Udp && self.ways.large_by_tcp {
            return out.via_by_size(&via, self.via_by(Transport::Tcp, branch));
        }
        out.header(HeaderName::Via, &via)
    }

    /// Our Contact value, in angle brackets.
    pub fn contact_value(&self) -> String {
        let transport = match self.ways.transport {
            Transport::Udp => String::new(),
            other => format!(";transport={other}"),
        };
        if self.contact_user.is_empty() {
            return format!("<sip:{}{transport}>", self.contact);
        }
        format!("<sip:{}@{}{transport}>", escape_user(&self.contact_user), self.contact)
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
