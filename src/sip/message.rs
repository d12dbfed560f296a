//! RFC 3261 §7: SIP messages. Reading is tolerant, writing is strict.
//!
//! A message is one owned buffer with the places of its headers marked; nothing is copied per header.
//! The typed accessors (`from`, `cseq`, `top_via` …) parse on demand, and say as a [`Fault`] what a
//! malformed one has to be answered with.

mod body;
mod fault;
pub mod framing;
mod header;
mod lex;
mod name_addr;
mod parse;
mod reason;
mod uri;
mod via;
mod write;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::ops::{Deref, Range};

pub use body::SessionBody;
pub use fault::Fault;
pub use header::{HeaderName, Method};
pub use lex::Params;
pub(crate) use lex::{is_token, quote, quoted_string, split};
pub use name_addr::NameAddr;
pub use parse::{MAX_BYTES, MAX_HEADERS, ParseError, parse, refuse_unreadable};
pub use reason::Reason;
pub use uri::{DEFAULT_PORT, Scheme, Target, Uri, UriError, escape_user};
pub use via::{MAGIC_COOKIE, Via};
pub use write::{RequestLine, StatusLine, Writer, default_reason};

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Positions never pass [`MAX_BYTES`], nor does anything we write pass 4 GiB.
    fn new(range: Range<usize>) -> Span {
        Span { start: range.start as u32, end: range.end as u32 }
    }

    fn of(self, buf: &[u8]) -> &[u8] {
        &buf[self.start as usize..self.end as usize]
    }
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: HeaderName,
    raw_name: Span,
    value: Span,
}

/// A request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Deref for Message {
    type Target = Headers;
    fn deref(&self) -> &Headers {
        match self {
            Message::Request(request) => request,
            Message::Response(response) => response,
        }
    }
}

/// CSeq: the number and the method it counts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Below 2³¹ (§8.1.1.5).
    pub number: u32,
    /// The method.
    pub method: Method,
}

/// A request: its line, and everything below it by [`Headers`].
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    uri: Uri,
    known_version: bool,
    headers: Headers,
}

impl Request {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The Request-URI.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether it is whole enough to act on (§8.2): version, mandatory headers once each and well
    /// formed, CSeq's method, Content-Length. The fault says what to answer otherwise.
    pub fn check(&self) -> Result<(), Fault> {
        if !self.known_version {
            return Err(Fault::new(505, "Version Not Supported"));
        }
        self.headers.check_common()?;
        if self.cseq()?.method != self.method {
            return Err(Fault::bad("CSeq Method Mismatch"));
        }
        self.max_forwards()?;
        let contacts = self.headers.list(HeaderName::Contact).count();
        let contact =
            if self.method == Method::Register { self.registered_contacts() } else { self.contact().map(drop) };
        contact?;
        if self.method == Method::Invite && contacts == 0 && self.to()?.tag().is_none() {
            return Err(Fault::bad("Missing Contact"));
        }
        self.record_routes().map(drop)
    }

    fn registered_contacts(&self) -> Result<(), Fault> {
        for contact in self.headers.list(HeaderName::Contact) {
            if contact != "*" {
                NameAddr::parse(&contact).ok_or(Fault::bad("Malformed Contact"))?;
            }
        }
        Ok(())
    }
}

impl Deref for Request {
    type Target = Headers;
    fn deref(&self) -> &Headers {
        &self.headers
    }
}

impl PartialEq for Request {
    /// Same request line, same headers in the same order, same body; the layout does not count.
    fn eq(&self, other: &Request) -> bool {
        self.method == other.method && self.uri == other.uri && self.headers == other.headers
    }
}

impl Eq for Request {}

/// A response: its status line, and everything below it by [`Headers`].
#[derive(Clone, Debug)]
pub struct Response {
    code: u16,
    reason: Span,
    known_version: bool,
    headers: Headers,
}

impl Response {
    /// The status code as it stands there; beyond 65,535 it reads 65,535. [`Response::check`] lets only
    /// 100 to 699 pass.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The reason phrase; may be empty.
    pub fn reason(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.reason.of(&self.headers.buf))
    }

    /// Whether it is whole enough to act on. A response with a fault is dropped (§16.7, §17.1.3).
    pub fn check(&self) -> Result<(), Fault> {
        if !self.known_version || !(100..700).contains(&self.code) {
            return Err(Fault::bad("Malformed Status Line"));
        }
        self.headers.check_common()
    }
}

impl Deref for Response {
    type Target = Headers;
    fn deref(&self) -> &Headers {
        &self.headers
    }
}

impl PartialEq for Response {
    /// Same status line, same headers in the same order, same body; the layout does not count.
    fn eq(&self, other: &Response) -> bool {
        self.code == other.code && self.reason() == other.reason() && self.headers == other.headers
    }
}

impl Eq for Response {}

/// What requests and responses have in common: headers and a body.
#[derive(Clone)]
pub struct Headers {
    buf: Vec<u8>,
    fields: Vec<Field>,
    body: Span,
}

impl Headers {
    /// The buffer it was read from or written into. Of a message we wrote, this is what goes out.
    pub fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// The body, cut at Content-Length.
    pub fn body(&self) -> &[u8] {
        self.body.of(&self.buf)
    }

    /// Name (long form where it is a known one) and raw value of every header, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| {
            let name = match field.name {
                HeaderName::Other => field.raw_name.of(&self.buf),
                known => known.as_str().as_bytes(),
            };
            (name, field.value.of(&self.buf))
        })
    }

    /// The raw values of every header of that name.
    pub fn all(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |field| field.name == name).map(|field| field.value.of(&self.buf))
    }

    /// The first header of that name as text; bytes that are not UTF-8 become U+FFFD.
    pub fn text(&self, name: HeaderName) -> Option<Cow<'_, str>> {
        self.all(name).next().map(String::from_utf8_lossy)
    }

    /// The first header of any name, in any case, long or compact, as text.
    pub fn named(&self, name: &str) -> Option<Cow<'_, str>> {
        match HeaderName::parse(name.as_bytes()) {
            HeaderName::Other => self
                .fields
                .iter()
                .find(|field| field.raw_name.of(&self.buf).eq_ignore_ascii_case(name.as_bytes()))
                .map(|field| String::from_utf8_lossy(field.value.of(&self.buf))),
            known => self.text(known),
        }
    }

    /// Every element of a comma-joined header, over all its lines; empty elements are skipped.
    pub fn list(&self, name: HeaderName) -> impl Iterator<Item = Cow<'_, str>> {
        self.all(name).flat_map(|value| split(value, b',')).filter(|v| !v.is_empty()).map(String::from_utf8_lossy)
    }

    /// The first Via: who sent this to us, or, of a response, us.
    pub fn top_via(&self) -> Result<Via, Fault> {
        let value = self.list(HeaderName::Via).next().ok_or(Fault::bad("Missing Via"))?;
        Via::parse(&value).ok_or(Fault::bad("Malformed Via"))
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr, Fault> {
        let value = self.text(HeaderName::From).ok_or(Fault::bad("Missing From"))?;
        NameAddr::parse(&value).ok_or(Fault::bad("Malformed From"))
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr, Fault> {
        let value = self.text(HeaderName::To).ok_or(Fault::bad("Missing To"))?;
        NameAddr::parse(&value).ok_or(Fault::bad("Malformed To"))
    }

    /// Call-ID.
    pub fn call_id(&self) -> Result<&str, Fault> {
        let value = self.all(HeaderName::CallId).next().ok_or(Fault::bad("Missing Call-ID"))?;
        match std::str::from_utf8(value) {
            Ok(id) if !id.is_empty() && !id.contains(char::is_whitespace) => Ok(id),
            _ => Err(Fault::bad("Malformed Call-ID")),
        }
    }

    /// CSeq.
    pub fn cseq(&self) -> Result<CSeq, Fault> {
        let value = self.text(HeaderName::CSeq).ok_or(Fault::bad("Missing CSeq"))?;
        let malformed = Fault::bad("Malformed CSeq");
        let (number, method) = value.split_once(|c: char| c.is_ascii_whitespace()).ok_or(malformed)?;
        let number = digits(number).filter(|&n| n < 1 << 31).ok_or(malformed)? as u32;
        Ok(CSeq { number, method: Method::parse(method.trim()).ok_or(malformed)? })
    }

    /// The first Contact, when there is one.
    pub fn contact(&self) -> Result<Option<NameAddr>, Fault> {
        match self.list(HeaderName::Contact).next() {
            Some(value) => NameAddr::parse(&value).map(Some).ok_or(Fault::bad("Malformed Contact")),
            None => Ok(None),
        }
    }

    /// Max-Forwards; `None` when absent (RFC 2543 senders). A larger number than 255 reads 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, Fault> {
        self.number(HeaderName::MaxForwards, Fault::bad("Malformed Max-Forwards")).map(|n| n.map(|n| n.min(255) as u8))
    }

    /// The Record-Route elements, top first, with their parameters.
    pub fn record_routes(&self) -> Result<Vec<NameAddr>, Fault> {
        self.list(HeaderName::RecordRoute)
            .map(|value| NameAddr::parse(&value).ok_or(Fault::bad("Malformed Record-Route")))
            .collect()
    }

    /// Seconds of Expires, when it is there and a number; larger than 2³²−1 reads as that (RFC 4475 §3.1.2.4).
    pub fn expires(&self) -> Option<u32> {
        self.seconds(HeaderName::Expires)
    }

    /// Seconds at the start of a header such as Retry-After, Min-Expires or Expires.
    pub fn seconds(&self, name: HeaderName) -> Option<u32> {
        let value = self.text(name)?;
        let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        digits(&value[..end]).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
    }

    /// Every Reason (RFC 3326) that reads.
    pub fn reasons(&self) -> Vec<Reason> {
        self.list(HeaderName::Reason).filter_map(|value| Reason::parse(&value)).collect()
    }

    /// Where a response to this request goes when it came from `source` (§18.2.2, RFC 3581).
    pub fn reply_to(&self, source: SocketAddr) -> SocketAddr {
        self.came_by().map_or(source, |via| via.reply_to(source))
    }

    /// Whether a response can be sent back: the top Via says where to, at least. Whatever else is missing or malformed is what the
    /// response is about.
    pub fn is_answerable(&self) -> bool {
        self.came_by().is_some()
    }

    /// The top Via, as far as it reads.
    fn came_by(&self) -> Option<Via> {
        Via::salvage(&self.list(HeaderName::Via).next()?)
    }

    fn number(&self, name: HeaderName, malformed: Fault) -> Result<Option<u64>, Fault> {
        match self.text(name) {
            Some(value) => digits(&value).map(Some).ok_or(malformed),
            None => Ok(None),
        }
    }

    fn check_common(&self) -> Result<(), Fault> {
        for (name, twice) in [
            (HeaderName::CallId, "Multiple Call-ID"),
            (HeaderName::CSeq, "Multiple CSeq"),
            (HeaderName::From, "Multiple From"),
            (HeaderName::To, "Multiple To"),
            (HeaderName::MaxForwards, "Multiple Max-Forwards"),
        ] {
            if self.all(name).nth(1).is_some() {
                return Err(Fault::bad(twice));
            }
        }
        self.top_via()?;
        self.from()?;
        self.to()?;
        self.call_id()?;
        self.cseq()?;
        self.check_length()
    }

    fn check_length(&self) -> Result<(), Fault> {
        let malformed = Fault::bad("Malformed Content-Length");
        let mut first = None;
        for value in self.all(HeaderName::ContentLength) {
            let length = std::str::from_utf8(value).ok().and_then(digits).ok_or(malformed)?;
            if first.is_some_and(|first| first != length) {
                return Err(Fault::bad("Conflicting Content-Length"));
            }
            first = Some(length);
        }
        // §18.3: a datagram that ends before its body does.
        match first {
            Some(length) if length > self.body().len() as u64 => Err(Fault::bad("Content-Length Beyond Datagram")),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.buf).fmt(f)
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.fields().eq(other.fields()) && self.body() == other.body()
    }
}

impl Eq for Headers {}

/// Reads a run of digits; as long as it likes, saturating at 2⁶⁴−1.
fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.bytes().fold(0u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0'))))
}
