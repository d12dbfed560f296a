//! RFC 3261 §7 read with goodwill: compact names, folded lines, blanks before the colon, bare line
//! feeds, missing reason phrases, bytes that are not UTF-8. What is refused, and how, is in
//! [`ParseError`]; defects that leave the message readable are left to `check`.

use std::fmt;
use std::net::SocketAddr;

use super::lex;
use super::{Fault, Field, HeaderName, Headers, Message, Method, Request, Response, Span, Uri, Writer};
use crate::sip::{Reply, stateless};

/// The largest message read, in bytes: what a UDP datagram can hold (RFC 3261 §18.1.1).
pub const MAX_BYTES: usize = 65_535;
/// The most header lines read.
pub const MAX_HEADERS: usize = 256;

/// Why a datagram is not a SIP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// Nothing but line breaks: a keep-alive (RFC 5626 §3.5.1). Drop it.
    Empty,
    /// More than [`MAX_BYTES`].
    TooLarge,
    /// More than [`MAX_HEADERS`].
    TooManyHeaders,
    /// No empty line after the headers.
    Truncated,
    /// The first line is neither a request line nor a status line.
    StartLine,
    /// The Request-URI is malformed.
    RequestUri,
    /// A header line without a name or a colon.
    Header,
    /// On a stream: no Content-Length, so there is no telling where the message ends (§18.3).
    NoLength,
    /// On a stream: a Content-Length that is no number, or two that differ.
    Length,
}

impl ParseError {
    /// What a request with this defect is answered with, where it can be answered at all.
    pub fn fault(self) -> Fault {
        match self {
            ParseError::Empty | ParseError::Truncated => Fault::bad("Truncated Message"),
            ParseError::TooLarge => Fault::new(513, "Message Too Large"),
            ParseError::TooManyHeaders => Fault::bad("Too Many Headers"),
            ParseError::StartLine => Fault::bad("Malformed Request Line"),
            ParseError::RequestUri => Fault::bad("Malformed Request-URI"),
            ParseError::Header => Fault::bad("Malformed Header"),
            ParseError::NoLength => Fault::bad("Missing Content-Length"),
            ParseError::Length => Fault::bad("Malformed Content-Length"),
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::Empty => f.write_str("empty datagram"),
            other => f.write_str(other.fault().reason),
        }
    }
}

impl std::error::Error for ParseError {}

/// Reads one datagram. Bytes after the body that Content-Length announces are ignored (§18.3).
pub fn parse(datagram: &[u8]) -> Result<Message, ParseError> {
    let (headers, start) = scan(datagram, false)?;
    let line = start.of(&headers.buf);
    if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        return status_line(line, start.start as usize)
            .map(|(known_version, code, reason)| Message::Response(Response { code, reason, known_version, headers }));
    }
    let (method, uri, known_version) = request_line(line)?;
    Ok(Message::Request(Request { method, uri, known_version, headers }))
}

/// `METHOD uri SIP/2.0`, with any number of blanks between the three but none at the end (RFC 4475
/// §3.1.2.16).
fn request_line(line: &[u8]) -> Result<(Method, Uri, bool), ParseError> {
    let line = std::str::from_utf8(line).map_err(|_| ParseError::StartLine)?;
    let blank = |c: char| c == ' ' || c == '\t';
    let (method, rest) = line.split_once(blank).ok_or(ParseError::StartLine)?;
    let (uri, version) = rest.rsplit_once(blank).ok_or(ParseError::StartLine)?;
    let method = Method::parse(method).ok_or(ParseError::StartLine)?;
    if version.len() < 5 || !version.as_bytes()[..4].eq_ignore_ascii_case(b"SIP/") {
        return Err(ParseError::StartLine);
    }
    let uri = Uri::parse(uri.trim_matches(blank)).map_err(|_| ParseError::RequestUri)?;
    Ok((method, uri, version[4..] == *"2.0"))
}

/// `SIP/2.0 200 OK`; the reason phrase and the blank before it may be missing.
fn status_line(line: &[u8], at: usize) -> Result<(bool, u16, Span), ParseError> {
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let version_end = line.iter().position(blank).ok_or(ParseError::StartLine)?;
    let code_start = version_end + line[version_end..].iter().position(|b| !blank(b)).ok_or(ParseError::StartLine)?;
    let code_end = line[code_start..].iter().position(blank).map_or(line.len(), |n| code_start + n);
    let code = std::str::from_utf8(&line[code_start..code_end]).ok().and_then(super::digits);
    let code = code.ok_or(ParseError::StartLine)?.min(u64::from(u16::MAX)) as u16;
    let reason_start = line[code_end..].iter().position(|b| !blank(b)).map_or(line.len(), |n| code_end + n);
    let reason_end = reason_start + line[reason_start..].trim_ascii_end().len();
    Ok((&line[4..version_end] == b"2.0", code, Span::new(at + reason_start..at + reason_end)))
}

/// The headers of a message whose body may not be there yet, as far as they can be read.
pub(super) fn headers(head: &[u8]) -> Result<Headers, ParseError> {
    scan(head, true).map(|(headers, _)| headers)
}

/// Marks the lines. `lenient` steps over broken ones, to find the headers an answer needs.
fn scan(datagram: &[u8], lenient: bool) -> Result<(Headers, Span), ParseError> {
    if datagram.len() > MAX_BYTES {
        return Err(ParseError::TooLarge);
    }
    // §7.5: line breaks before the start line are ignored.
    let begin = datagram.iter().position(|b| !matches!(b, b'\r' | b'\n')).ok_or(ParseError::Empty)?;
    let mut buf = datagram[begin..].to_vec();
    let mut fields: Vec<Field> = Vec::with_capacity(24);
    let mut at = 0;
    let mut start = None;
    loop {
        let Some((line, next)) = logical_line(&mut buf, at) else {
            if lenient {
                break;
            }
            return Err(ParseError::Truncated);
        };
        let Some(first) = start else {
            start = Some(line);
            at = next;
            continue;
        };
        if line.start == line.end {
            at = next;
            start = Some(first);
            break;
        }
        match field(&buf, line) {
            Some(_) if fields.len() == MAX_HEADERS => return Err(ParseError::TooManyHeaders),
            Some(field) => fields.push(field),
            None if lenient => {}
            None => return Err(ParseError::Header),
        }
        at = next;
    }
    let start = start.ok_or(ParseError::Truncated)?;
    let rest = buf.len().saturating_sub(at);
    let mut headers = Headers { buf, fields, body: Span::new(at..at + rest) };
    let length = headers.text(HeaderName::ContentLength).and_then(|v| super::digits(&v));
    if let Some(length) = length.filter(|&length| length < rest as u64) {
        headers.body = Span::new(at..at + length as usize);
    }
    Ok((headers, start))
}

/// One line with its continuations, whose line breaks are overwritten with blanks (§7.3.1), and where the
/// next one begins. `None` when no line break follows.
fn logical_line(buf: &mut [u8], at: usize) -> Option<(Span, usize)> {
    let mut from = at;
    loop {
        let feed = from + buf[from..].iter().position(|&b| b == b'\n')?;
        let next = feed + 1;
        let end = if feed > at && buf[feed - 1] == b'\r' { feed - 1 } else { feed };
        let folded = end > at && matches!(buf.get(next), Some(b' ' | b'\t'));
        if folded {
            buf[end..next].fill(b' ');
            from = next;
            continue;
        }
        // A lone carriage return inside a line would be a line break to a careless reader of our answer.
        for byte in &mut buf[at..end] {
            if *byte == b'\r' {
                *byte = b' ';
            }
        }
        return Some((Span::new(at..end), next));
    }
}

fn field(buf: &[u8], line: Span) -> Option<Field> {
    let text = line.of(buf);
    let colon = text.iter().position(|&b| b == b':')?;
    let name = text[..colon].trim_ascii_end();
    if !lex::is_token(name) {
        return None;
    }
    let start = line.start as usize;
    let value = &text[colon + 1..];
    let value_start = start + colon + 1 + (value.len() - value.trim_ascii_start().len());
    let value_end = value_start + value.trim_ascii().len();
    Some(Field {
        name: HeaderName::parse(name),
        raw_name: Span::new(start..start + name.len()),
        value: Span::new(value_start..value_end),
    })
}

/// The answer to a datagram that [`parse()`] refused with `error`: the fault, when it is a request other
/// than ACK that [`Headers::is_answerable`]; otherwise `None`, and it is dropped.
pub fn refuse_unreadable(datagram: &[u8], error: ParseError, source: SocketAddr) -> Option<Reply> {
    let (headers, start) = scan(&datagram[..datagram.len().min(MAX_BYTES)], true).ok()?;
    let line = start.of(&headers.buf);
    let method = line.split(|b| b.is_ascii_whitespace()).next()?;
    if !lex::is_token(method) || method == b"ACK" || !headers.is_answerable() {
        return None;
    }
    let fault = error.fault();
    let tag = stateless::tag(&headers);
    let response = Writer::reply(&headers, source, fault.code, fault.reason, Some(&tag)).finish("", b"");
    Some(Reply { to: headers.reply_to(source), payload: response.bytes().to_vec() })
}
