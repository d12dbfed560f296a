//! The far end of a trunk by hand, for tests that look at each message.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;
use trunkline::sip::message::{HeaderName, Headers, Message, Method, Request, Response, Writer, parse};

use super::{PATIENCE, Rig};

/// What it offers and answers: A-law, and nobody listens.
pub const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\n";

/// The same, with media at a socket.
pub fn sdp(media: &UdpSocket) -> String {
    let at = media.local_addr().expect("it is bound");
    sdp_at(at.ip(), at.port())
}

pub fn sdp_at(ip: IpAddr, port: u16) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n")
}

/// The port of the audio in a description.
pub fn media_port(sdp: &[u8]) -> u16 {
    let sdp = String::from_utf8_lossy(sdp);
    let audio = sdp.lines().find_map(|line| line.strip_prefix("m=audio ")).expect("audio");
    audio.split(' ').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// The far end of a trunk, played by hand.
#[derive(Debug)]
pub struct Peer {
    pub socket: UdpSocket,
    /// Where it sends to.
    next_hop: SocketAddr,
}

impl Peer {
    pub async fn bind(rig: &Rig, address: &str, port: u16) -> Peer {
        let socket = UdpSocket::bind((address, port)).await.expect("a free port");
        let v6 = socket.local_addr().expect("it is bound").is_ipv6();
        let ours: IpAddr = if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        Peer { socket, next_hop: (ours, rig.ports.sip()).into() }
    }

    /// It sends through a proxy.
    pub fn through(self, port: u16) -> Peer {
        Peer { next_hop: ([127, 0, 0, 1], port).into(), ..self }
    }

    /// The phone of the trunk `lab`.
    pub async fn lab(rig: &Rig) -> Peer {
        Peer::bind(rig, "127.0.0.1", rig.ports.phone()).await
    }

    /// The phone of the trunk `spare`.
    pub async fn spare(rig: &Rig) -> Peer {
        Peer::bind(rig, "127.0.0.1", rig.ports.spare()).await
    }

    /// Where it is.
    pub fn at(&self) -> SocketAddr {
        self.socket.local_addr().expect("it is bound")
    }

    pub async fn send(&self, payload: &[u8]) {
        self.socket.send_to(payload, self.next_hop).await.expect("it is sent");
    }

    pub async fn message(&self) -> Message {
        let mut buffer = vec![0; 65_535];
        let received = tokio::time::timeout(PATIENCE, self.socket.recv(&mut buffer)).await;
        let length = received.expect("in time").expect("it is read");
        parse(&buffer[..length]).expect("a message")
    }

    /// The next request of a method; what comes before it is passed over.
    pub async fn request(&self, method: &Method) -> Request {
        loop {
            if let Message::Request(request) = self.message().await
                && request.method() == method
            {
                return request;
            }
        }
    }

    /// The next final response.
    pub async fn response(&self) -> Response {
        loop {
            if let Message::Response(response) = self.message().await
                && response.code() >= 200
            {
                return response;
            }
        }
    }

    /// The next response that is not final, but for a 100.
    pub async fn provisional(&self) -> Response {
        loop {
            if let Message::Response(response) = self.message().await
                && (101..200).contains(&response.code())
            {
                return response;
            }
        }
    }

    /// The next INVITE within a call.
    pub async fn reinvite(&self) -> Request {
        loop {
            let invite = self.request(&Method::Invite).await;
            if invite.to().expect("one").tag().is_some() {
                return invite;
            }
        }
    }

    pub async fn answer(&self, request: &Request, code: u16, headers: &[(&str, &str)], sdp: &str) {
        let mut out = Writer::reply(request, self.next_hop, code, "By hand", Some("hand"));
        if code < 300 {
            out = out.copy(request, HeaderName::RecordRoute);
        }
        for (name, value) in headers {
            out = out.named(name, value);
        }
        let contact = format!("<sip:{}>", self.socket.local_addr().expect("it is bound"));
        let out = out.header(HeaderName::Contact, &contact).finish("application/sdp", sdp.as_bytes());
        self.send(out.bytes()).await;
    }

    /// Refuses the next INVITE.
    pub async fn refuses(&self, code: u16) -> Request {
        let invite = self.request(&Method::Invite).await;
        self.answer(&invite, code, &[], "").await;
        self.request(&Method::Ack).await;
        invite
    }

    /// Answers the next INVITE.
    pub async fn takes(&self) -> Request {
        let invite = self.request(&Method::Invite).await;
        self.answer(&invite, 200, &[], SDP).await;
        self.request(&Method::Ack).await;
        invite
    }

    /// Answers the next BYE.
    pub async fn is_hung_up(&self) -> Request {
        let bye = self.request(&Method::Bye).await;
        self.answer(&bye, 200, &[], "").await;
        bye
    }

    /// Calls us, with more headers.
    pub async fn calls(&self, callee: &str, cseq: u32, headers: &str) {
        let at = self.socket.local_addr().expect("it is bound");
        let (from, length) = (if headers.contains("From:") { "" } else { "From: <sip:200@h>;tag=t\r\n" }, SDP.len());
        let invite = format!(
            "INVITE sip:{callee}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{cseq}x{}\r\n{from}To: <sip:{callee}@h>\r\n\
             Call-ID: hand-{}\r\nCSeq: {cseq} INVITE\r\nContact: <sip:200@{at}>\r\nMax-Forwards: 70\r\n{headers}\
             Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{SDP}",
            at.port(),
            at.port()
        );
        self.send(invite.as_bytes()).await;
    }

    /// Takes back the INVITE of [`Peer::calls`].
    pub async fn cancels(&self, callee: &str, cseq: u32) {
        let at = self.socket.local_addr().expect("it is bound");
        let port = at.port();
        let cancel = format!(
            "CANCEL sip:{callee}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{cseq}x{port}\r\nFrom: <sip:200@h>;tag=t\r\n\
             To: <sip:{callee}@h>\r\nCall-ID: hand-{port}\r\nCSeq: {cseq} CANCEL\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        self.send(cancel.as_bytes()).await;
    }

    /// A request within a call, after an INVITE of ours and its answer: by the route that this names.
    pub async fn after(&self, answer: &Response, method: &str, cseq: u32) {
        self.after_with(answer, method, cseq, "", "").await;
    }

    /// As [`Peer::after`], with more headers, each with its line break, and a body.
    pub async fn after_with(&self, answer: &Response, method: &str, cseq: u32, more: &str, body: &str) {
        let mut routes: Vec<_> = answer.list(HeaderName::RecordRoute).collect();
        // What comes last is nearest to us.
        routes.reverse();
        let (from, to) = (answer.from().expect("one"), answer.to().expect("one"));
        let parties = format!("From: {from}\r\nTo: {to}\r\n");
        self.within(answer, &routes, &(parties + more), method, cseq, body).await;
    }

    /// A request within a call that came to us.
    pub async fn back(&self, invite: &Request, method: &str, cseq: u32) {
        self.back_with(invite, method, cseq, "", "").await;
    }

    /// As [`Peer::back`], with more headers, each with its line break, and a body.
    pub async fn back_with(&self, invite: &Request, method: &str, cseq: u32, more: &str, body: &str) {
        let routes: Vec<_> = invite.list(HeaderName::RecordRoute).collect();
        let (from, to) = (invite.to().expect("one"), invite.from().expect("one"));
        let parties = format!("From: {from};tag=hand\r\nTo: {to}\r\n");
        self.within(invite, &routes, &(parties + more), method, cseq, body).await;
    }

    /// A request to the contact of what came from there, along a route.
    async fn within(&self, theirs: &Headers, routes: &[Cow<'_, str>], more: &str, method: &str, cseq: u32, body: &str) {
        let at = self.socket.local_addr().expect("it is bound");
        let contact = theirs.contact().expect("right").expect("one").uri;
        let routes: String = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let call_id = theirs.call_id().expect("one");
        let request = format!(
            "{method} {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{method}{cseq}\r\n{routes}{more}\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(request.as_bytes()).await;
    }
}
