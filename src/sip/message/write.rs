//! RFC 3261 §7 and §8.2.6, written strictly: long names, one header a line, CRLF, Content-Length always.
//!
//! The writer marks the headers as it goes, so what it makes is a message like one that was read, and
//! no line break can get into a header by way of a value.

use std::net::SocketAddr;

use super::{Field, HeaderName, Headers, Message, Method, Request, Response, Span, Uri, Via, lex};
use crate::sip::transport::LARGE;

/// Builds one message, header by header, in the order of the calls.
#[derive(Clone, Debug)]
pub struct Writer<Start> {
    start: Start,
    buf: Vec<u8>,
    fields: Vec<Field>,
}

/// What a request begins with.
#[derive(Clone, Debug)]
pub struct RequestLine {
    method: Method,
    uri: Uri,
    /// The top Via of a request that turns out larger than [`LARGE`].
    large: Option<String>,
}

/// What a response begins with.
#[derive(Clone, Copy, Debug)]
pub struct StatusLine(u16, Span);

impl Writer<RequestLine> {
    /// A request line. URI headers (`?…`) are left out: a Request-URI has none (§19.1.1).
    pub fn request(method: Method, uri: &Uri) -> Self {
        let mut buf = Vec::with_capacity(1024);
        buf.extend_from_slice(method.as_str().as_bytes());
        buf.push(b' ');
        buf.extend_from_slice(uri.without_headers().as_bytes());
        buf.extend_from_slice(b" SIP/2.0\r\n");
        let uri = Uri::parse(uri.without_headers()).unwrap_or_else(|_| uri.clone());
        Writer { start: RequestLine { method, uri, large: None }, buf, fields: Vec::with_capacity(16) }
    }

    /// The Request-URI as written, which is also the digest-uri of its credentials.
    pub fn uri(&self) -> &Uri {
        &self.start.uri
    }

    /// The Via of a request that goes by UDP, and the one it has instead when it turns out larger than [`LARGE`] (§18.1.1).
    pub fn via_by_size(mut self, via: &str, large: String) -> Self {
        self.start.large = Some(large);
        self.header(HeaderName::Via, via)
    }

    /// The finished request; an empty body is written without a Content-Type.
    pub fn finish(self, content_type: &str, body: &[u8]) -> Request {
        let (RequestLine { method, uri, large }, mut headers) = self.seal(content_type, body);
        if let Some(via) = large.filter(|_| headers.buf.len() > LARGE) {
            headers.replace_top(HeaderName::Via, via.as_bytes());
        }
        Request { method, uri, known_version: true, headers }
    }
}

impl Writer<StatusLine> {
    /// A status line. `code` is written as three digits, 100 to 699; outside that range it becomes 500.
    pub fn response(code: u16, reason: &str) -> Self {
        let code = if (100..700).contains(&code) { code } else { 500 };
        let mut buf = Vec::with_capacity(1024);
        buf.extend_from_slice(format!("SIP/2.0 {code} ").as_bytes());
        let span = push_clean(&mut buf, reason.trim().as_bytes());
        buf.extend_from_slice(b"\r\n");
        Writer { start: StatusLine(code, span), buf, fields: Vec::with_capacity(16) }
    }

    /// The finished response; an empty body is written without a Content-Type.
    pub fn finish(self, content_type: &str, body: &[u8]) -> Response {
        let (StatusLine(code, reason), headers) = self.seal(content_type, body);
        Response { code, reason, known_version: true, headers }
    }

    /// A response to `request` (§8.2.6): Via with `received` and `rport`, From, To with our `tag` when
    /// it has none, Call-ID and CSeq, byte for byte as they came. Of a Via that is malformed, what reads; what a request lacks, its
    /// response lacks as well. A 100 takes Timestamp along (§8.2.6.1).
    pub fn reply(request: &Headers, source: SocketAddr, code: u16, reason: &str, tag: Option<&str>) -> Self {
        let mut out = Writer::response(code, reason);
        let mut top = true;
        for value in request.all(HeaderName::Via) {
            for element in super::split(value, b',').filter(|e| !e.is_empty()) {
                let text = String::from_utf8_lossy(element);
                // One without a hop leads nowhere, and could keep others from reading the response.
                out = match top {
                    true => match Via::salvage(&text) {
                        Some(via) => out.header(HeaderName::Via, &via.stamped(source)),
                        None => out,
                    },
                    false if Via::hop(&text).is_some() => out.raw(HeaderName::Via, element),
                    false => out,
                };
                top = false;
            }
        }
        for value in request.all(HeaderName::From).take(1) {
            out = out.raw(HeaderName::From, value);
        }
        for value in request.all(HeaderName::To).take(1) {
            let tagged = request.to().is_ok_and(|to| to.tag().is_some());
            out = match tag {
                Some(tag) if !tagged && code != 100 => {
                    out.raw(HeaderName::To, &[value, b";tag=", tag.as_bytes()].concat())
                }
                _ => out.raw(HeaderName::To, value),
            };
        }
        for name in [HeaderName::CallId, HeaderName::CSeq] {
            for value in request.all(name).take(1) {
                out = out.raw(name, value);
            }
        }
        if code == 100 {
            for value in request.all(HeaderName::Timestamp).take(1) {
                out = out.raw(HeaderName::Timestamp, value);
            }
        }
        out
    }
}

impl<Start> Writer<Start> {
    /// One header. Line breaks in the value become blanks.
    pub fn header(self, name: HeaderName, value: &str) -> Self {
        self.raw(name, value.as_bytes())
    }

    /// One header whose value is copied from another message.
    pub fn raw(mut self, name: HeaderName, value: &[u8]) -> Self {
        self.push(name, name.as_str().as_bytes(), value);
        self
    }

    /// Every header of that name, copied from another message.
    pub fn copy(mut self, from: &Headers, name: HeaderName) -> Self {
        for value in from.all(name) {
            self.push(name, name.as_str().as_bytes(), value);
        }
        self
    }

    /// A header of any name. One whose name is not a token is left out.
    pub fn named(mut self, name: &str, value: &str) -> Self {
        if lex::is_token(name.as_bytes()) {
            let known = HeaderName::parse(name.as_bytes());
            let spelled = if known == HeaderName::Other { name } else { known.as_str() };
            self.push(known, spelled.as_bytes(), value.as_bytes());
        }
        self
    }

    fn push(&mut self, name: HeaderName, spelled: &[u8], value: &[u8]) {
        let at = self.buf.len();
        self.buf.extend_from_slice(spelled);
        let raw_name = Span::new(at..self.buf.len());
        self.buf.extend_from_slice(b": ");
        let value = push_clean(&mut self.buf, value.trim_ascii());
        self.buf.extend_from_slice(b"\r\n");
        self.fields.push(Field { name, raw_name, value });
    }

    fn seal(mut self, content_type: &str, body: &[u8]) -> (Start, Headers) {
        if !body.is_empty() && !content_type.is_empty() {
            self = self.header(HeaderName::ContentType, content_type);
        }
        self = self.header(HeaderName::ContentLength, &body.len().to_string());
        self.buf.extend_from_slice(b"\r\n");
        let at = self.buf.len();
        self.buf.extend_from_slice(body);
        let body = Span::new(at..self.buf.len());
        (self.start, Headers { buf: self.buf, fields: self.fields, body })
    }
}

impl Headers {
    /// Writes another value into the first header of that name.
    fn replace_top(&mut self, name: HeaderName, value: &[u8]) {
        let Some(old) = self.fields.iter().find(|field| field.name == name).map(|field| field.value) else { return };
        self.buf.splice(old.start as usize..old.end as usize, value.iter().copied());
        let moved = |at: u32| if at >= old.end { at - (old.end - old.start) + value.len() as u32 } else { at };
        let spans = self.fields.iter_mut().flat_map(|field| [&mut field.raw_name, &mut field.value]);
        for span in spans.chain([&mut self.body]) {
            *span = Span { start: moved(span.start), end: moved(span.end) };
        }
    }
}

impl Message {
    /// The message in canonical form, however it was laid out when it was read.
    pub fn write(&self) -> Vec<u8> {
        let mut out = match self {
            Message::Request(request) => {
                let version = if request.known_version { "SIP/2.0" } else { "SIP/0.0" };
                format!("{} {} {version}\r\n", request.method, request.uri).into_bytes()
            }
            Message::Response(response) => {
                let version = if response.known_version { "SIP/2.0" } else { "SIP/0.0" };
                let mut line = format!("{version} {} ", response.code).into_bytes();
                line.extend_from_slice(response.reason.of(&response.headers.buf));
                line.extend_from_slice(b"\r\n");
                line
            }
        };
        for (name, value) in self.fields() {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.body());
        out
    }
}

fn push_clean(buf: &mut Vec<u8>, value: &[u8]) -> Span {
    let at = buf.len();
    buf.extend(value.iter().map(|&b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }));
    Span::new(at..buf.len())
}

/// The usual reason phrase of a status code (RFC 3261 §21 and later registrations).
pub fn default_reason(code: u16) -> &'static str {
    match code {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => match code / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}
