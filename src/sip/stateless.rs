//! RFC 3261 §8.2.7: answers to requests that belong to no call, given without keeping any state.
//!
//! The To tag is derived from the request, so that every copy of a request gets the same one.

use std::net::SocketAddr;

use md5::{Digest, Md5};

use super::message::{Fault, HeaderName, Headers, Method, Request, Scheme, StatusLine, Uri, Writer, default_reason};
use super::{ACCEPT, ACCEPT_ENCODING, ALLOW, Local, Reply, SUPPORTED};

/// Answers a request that no call takes. `None` for ACK, which is never answered, and for one whose Via does
/// not say where an answer goes.
///
/// OPTIONS outside a dialog → 200 with what we can do (§11.2); inside one we do not know → 481, and so
/// for every other in-dialog request and CANCEL; methods we do not take → 405 with Allow, unknown ones
/// → 501; defects → their fault. An INVITE that starts a call belongs to `Session::incoming`; one that
/// gets here is answered 503.
pub fn answer(request: &Request, source: SocketAddr, local: &Local) -> Option<Reply> {
    if *request.method() == Method::Ack {
        return None;
    }
    if let Err(fault) = request.check() {
        return refuse(request, source, local, fault);
    }
    if let Some(fault) = untaken(request.method()) {
        return refuse(request, source, local, fault);
    }
    let in_dialog = request.to().is_ok_and(|to| to.tag().is_some());
    match request.method() {
        // A NOTIFY of no subscription of ours is answered like that too (RFC 6665 §4.1.3).
        Method::Cancel | Method::Bye | Method::Info | Method::Update | Method::Prack | Method::Notify => {
            refuse(request, source, local, NO_CALL)
        }
        _ if in_dialog => refuse(request, source, local, NO_CALL),
        Method::Refer => refuse(request, source, local, Fault::new(405, "Method Not Allowed")),
        Method::Options => {
            if let Err(fault) = check_scheme(request.uri()) {
                return refuse(request, source, local, fault);
            }
            if let Some(reply) = refuse_extensions(request, source, local) {
                return Some(reply);
            }
            let out = Writer::reply(request, source, 200, "OK", Some(&tag(request)));
            Some(send(describe_options(out, local), request, source))
        }
        _ => refuse(request, source, local, Fault::new(503, "Service Unavailable")),
    }
}

/// Answers a request with a refusal: `None` for ACK and for one whose Via does not say where an answer goes.
/// The reason phrase is the fault's own.
pub fn refuse(request: &Request, source: SocketAddr, local: &Local, fault: Fault) -> Option<Reply> {
    refuse_with(request, source, local, fault, &[])
}

/// As [`refuse`], with more headers (Retry-After, Warning, Contact of a redirection …).
pub fn refuse_with(
    request: &Request,
    source: SocketAddr,
    local: &Local,
    fault: Fault,
    headers: &[(HeaderName, &str)],
) -> Option<Reply> {
    if *request.method() == Method::Ack || !request.is_answerable() {
        return None;
    }
    let reason = if fault.reason.is_empty() { default_reason(fault.code) } else { fault.reason };
    let mut out = Writer::reply(request, source, fault.code, reason, Some(&tag(request)));
    if matches!(fault.code, 405 | 501) {
        out = out.header(HeaderName::Allow, ALLOW);
    }
    if fault.code == 415 {
        out = accepts(out);
    }
    for (name, value) in headers {
        out = out.header(*name, value);
    }
    Some(send(out.header(HeaderName::Server, &local.user_agent), request, source))
}

pub(crate) const NO_CALL: Fault = Fault::new(481, "Call/Transaction Does Not Exist");

/// 405 for a method we know and do not take, 501 for one we do not know (§8.2.1, §21.5.2).
pub(crate) fn untaken(method: &Method) -> Option<Fault> {
    match method {
        Method::Invite | Method::Ack | Method::Bye | Method::Cancel => None,
        Method::Options | Method::Info | Method::Update | Method::Prack | Method::Notify => None,
        // Refused in a dialog as its trunk says, outside of one by `answer`.
        Method::Refer => None,
        Method::Other(_) => Some(Fault::new(501, "Not Implemented")),
        _ => Some(Fault::new(405, "Method Not Allowed")),
    }
}

/// 416 for a Request-URI we cannot route (§8.2.2.1).
pub(crate) fn check_scheme(uri: &Uri) -> Result<(), Fault> {
    match uri.scheme() {
        Scheme::Sip | Scheme::Sips | Scheme::Tel => Ok(()),
        Scheme::Other => Err(Fault::new(416, "Unsupported URI Scheme")),
    }
}

/// 420 when the request asks for an extension we lack (§8.2.2.3).
pub(crate) fn refuse_extensions(request: &Request, source: SocketAddr, local: &Local) -> Option<Reply> {
    let missing = unsupported(request)?;
    let fault = Fault::new(420, "Bad Extension");
    refuse_with(request, source, local, fault, &[(HeaderName::Unsupported, &missing)])
}

/// The required option tags we lack, comma-joined. CANCEL and ACK are never held to Require (§8.2.2.3).
pub(crate) fn unsupported(request: &Request) -> Option<String> {
    if matches!(request.method(), Method::Ack | Method::Cancel) {
        return None;
    }
    let missing: Vec<_> = request
        .list(HeaderName::Require)
        .filter(|tag| !SUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(tag)))
        .collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// What bodies we take, and how coded.
pub(crate) fn accepts(out: Writer<StatusLine>) -> Writer<StatusLine> {
    out.header(HeaderName::Accept, ACCEPT).header(HeaderName::AcceptEncoding, ACCEPT_ENCODING)
}

/// What OPTIONS asks for (§11.2).
pub(crate) fn describe_options(out: Writer<StatusLine>, local: &Local) -> Writer<StatusLine> {
    accepts(out.header(HeaderName::Contact, &local.contact_value()).header(HeaderName::Allow, ALLOW))
        .header(HeaderName::Supported, &SUPPORTED.join(", "))
        .header(HeaderName::Server, &local.user_agent)
}

fn send(out: Writer<StatusLine>, request: &Headers, source: SocketAddr) -> Reply {
    Reply { to: request.reply_to(source), payload: out.finish("", b"").bytes().to_vec() }
}

/// A To tag that every copy of the same request gets.
pub(crate) fn tag(request: &Headers) -> String {
    let mut hash = Md5::new();
    for name in [HeaderName::Via, HeaderName::From, HeaderName::CallId, HeaderName::CSeq] {
        for value in request.all(name).take(1) {
            hash.update(value);
            hash.update([0]);
        }
    }
    super::auth::hex(&hash.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::{Message, Response, parse};

    fn ask(method: &str, headers: &str) -> Option<Response> {
        let text = format!(
            "{method} sip:x@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKq;rport\r\nFrom: <sip:a@b>;tag=1\r\n\
             Call-ID: c\r\nCSeq: 1 {method}\r\n{headers}\r\n"
        );
        let Ok(Message::Request(request)) = parse(text.as_bytes()) else { panic!("not a request: {text}") };
        let local = Local {
            contact_user: "robot one".into(),
            contact: "192.0.2.1:5060".parse().unwrap(),
            user_agent: "Trunkline".into(),
            ways: Default::default(),
        };
        let source = "203.0.113.5:7777".parse().unwrap();
        let reply = answer(&request, source, &local)?;
        assert_eq!(reply.to, source);
        match parse(&reply.payload).unwrap() {
            Message::Response(response) => Some(response),
            Message::Request(_) => panic!("a request"),
        }
    }

    #[test]
    fn options_tell_what_we_can_do() {
        let ok = ask("OPTIONS", "To: <sip:x@b>\r\n").unwrap();
        assert_eq!(ok.code(), 200);
        assert_eq!(ok.text(HeaderName::Allow).unwrap(), ALLOW);
        assert_eq!(ok.text(HeaderName::Accept).unwrap(), ACCEPT);
        assert_eq!(ok.text(HeaderName::AcceptEncoding).unwrap(), "identity");
        assert_eq!(ok.text(HeaderName::Supported).unwrap(), "100rel, timer");
        assert_eq!(ok.contact().unwrap().unwrap().uri.as_str(), "sip:robot%20one@192.0.2.1:5060");
        assert!(ok.to().unwrap().tag().is_some());
    }

    #[test]
    fn what_belongs_to_no_call() {
        for (method, to, code) in [
            ("BYE", "<sip:x@b>;tag=9", 481),
            ("CANCEL", "<sip:x@b>", 481),
            ("INFO", "<sip:x@b>", 481),
            ("PRACK", "<sip:x@b>;tag=9", 481),
            ("INVITE", "<sip:x@b>;tag=9", 481),
            ("OPTIONS", "<sip:x@b>;tag=9", 481),
            ("REGISTER", "<sip:x@b>", 405),
            ("SUBSCRIBE", "<sip:x@b>;tag=9", 405),
            ("NOTIFY", "<sip:x@b>;tag=9", 481),
            ("NOTIFY", "<sip:x@b>", 481),
            ("REFER", "<sip:x@b>;tag=9", 481),
            ("REFER", "<sip:x@b>", 405),
            ("FROBNICATE", "<sip:x@b>", 501),
        ] {
            let refused = ask(method, &format!("To: {to}\r\n")).unwrap();
            assert_eq!(refused.code(), code, "{method}");
            assert_eq!(refused.text(HeaderName::Allow).is_some(), matches!(code, 405 | 501));
        }
        assert!(ask("ACK", "To: <sip:x@b>\r\n").is_none());
        assert!(ask("ACK", "").is_none());
        let missing = ask("BYE", "").unwrap();
        assert_eq!((missing.code(), missing.reason().as_ref()), (400, "Missing To"));
    }
}
