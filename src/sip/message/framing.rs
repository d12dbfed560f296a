//! RFC 3261 §18.3: where one message of a stream ends and the next one begins, and RFC 5626 §3.5.1: what stands between them.
//!
//! ```text
//! bytes as they come ──► Framer ──► messages, each whole, and pings (CRLF CRLF), each to be answered with CRLF
//! ```
//!
//! On a stream nothing but Content-Length says where a body ends. A message without one, or with one that makes no sense, leaves no
//! place at which to go on: it is answered 400, and the connection is closed ([`Broken`]).

use super::HeaderName;
use super::parse::{self, MAX_BYTES, ParseError};

/// What a server answers to a ping (RFC 5626 §4.4.1).
pub const PONG: &[u8] = b"\r\n";
/// What a client sends to see whether the connection still stands.
pub const PING: &[u8] = b"\r\n\r\n";

/// What a stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// A whole message.
    Message(Vec<u8>),
    /// The far side asks whether we are here: answer with [`PONG`].
    Ping,
}

/// The stream cannot be read any further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Why; its fault is what a request is answered with.
    pub error: ParseError,
    /// As much of the message as there is, for [`super::refuse_unreadable`].
    pub head: Vec<u8>,
}

/// Cuts a stream into messages. Holds no more than a message and what came with its end.
#[derive(Debug, Default)]
pub struct Framer {
    buf: Vec<u8>,
    /// No empty line ends before it.
    scanned: usize,
    /// Of the message at the beginning, once its headers are there.
    whole: Option<usize>,
}

impl Framer {
    /// An empty one.
    pub fn new() -> Framer {
        Framer::default()
    }

    /// Takes what came. Ask [`Framer::poll`] until it has no more before the next bytes come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Whether a message has begun that is not whole yet.
    pub fn is_within(&self) -> bool {
        !self.buf.iter().all(|b| matches!(b, b'\r' | b'\n'))
    }

    /// The next thing, if it is whole.
    ///
    /// # Errors
    /// There is no telling where the next message begins: the connection has to be closed.
    pub fn poll(&mut self) -> Result<Option<Framed>, Broken> {
        if self.whole.is_none() {
            if let Some(ping) = self.between() {
                return Ok(Some(ping));
            }
            let Some(head) = self.head_end() else {
                if self.buf.len() > MAX_BYTES {
                    return Err(self.broken(ParseError::TooLarge));
                }
                return Ok(None);
            };
            let length = content_length(&self.buf[..head]).map_err(|error| self.broken(error))?;
            let whole = head.saturating_add(length);
            if whole > MAX_BYTES {
                return Err(self.broken(ParseError::TooLarge));
            }
            self.whole = Some(whole);
        }
        let Some(whole) = self.whole.filter(|whole| self.buf.len() >= *whole) else { return Ok(None) };
        let message = self.buf.drain(..whole).collect();
        (self.whole, self.scanned) = (None, 0);
        Ok(Some(Framed::Message(message)))
    }

    /// Steps over what may stand before a start line (§7.5). Two line breaks in a row are a ping; what could become one is left to wait.
    fn between(&mut self) -> Option<Framed> {
        let mut at = 0;
        let mut ping = None;
        while let Some(&byte) = self.buf.get(at) {
            let rest = &self.buf[at..];
            if rest.starts_with(PING) {
                at += PING.len();
                ping = Some(Framed::Ping);
                break;
            }
            if PING.starts_with(rest) || !matches!(byte, b'\r' | b'\n') {
                break;
            }
            at += 1;
        }
        if at > 0 {
            self.buf.drain(..at);
            self.scanned = 0;
        }
        ping
    }

    /// Where the empty line after the headers ends; lines may end in a bare line feed, as they may in a datagram.
    fn head_end(&mut self) -> Option<usize> {
        if !self.is_within() {
            return None;
        }
        let mut from = self.scanned;
        while let Some(feed) = self.buf[from..].iter().position(|&b| b == b'\n').map(|n| from + n) {
            match &self.buf[feed + 1..] {
                [b'\n', ..] => return Some(feed + 2),
                [b'\r', b'\n', ..] => return Some(feed + 3),
                // The line after it has not come yet.
                [] | [b'\r'] => {
                    self.scanned = feed;
                    return None;
                }
                _ => from = feed + 1,
            }
        }
        self.scanned = self.buf.len();
        None
    }

    fn broken(&self, error: ParseError) -> Broken {
        Broken { error, head: self.buf[..self.buf.len().min(MAX_BYTES)].to_vec() }
    }
}

/// The one length that the headers give, read by the same reader that will read the message.
fn content_length(head: &[u8]) -> Result<usize, ParseError> {
    let headers = parse::headers(head)?;
    let mut lengths = headers.all(HeaderName::ContentLength).map(|value| {
        let digits = std::str::from_utf8(value).ok().and_then(super::digits);
        digits.map(|length| usize::try_from(length).unwrap_or(usize::MAX)).ok_or(ParseError::Length)
    });
    let first = lengths.next().ok_or(ParseError::NoLength)??;
    for length in lengths {
        // Two readers of such a message would not agree on where the next one begins.
        if length? != first {
            return Err(ParseError::Length);
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::sip::message::{Message, refuse_unreadable};

    /// All that comes out of these pieces.
    fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Framed>, Option<Broken>) {
        let mut framer = Framer::new();
        let mut out = Vec::new();
        for piece in pieces {
            framer.push(piece);
            loop {
                match framer.poll() {
                    Ok(Some(framed)) => out.push(framed),
                    Ok(None) => break,
                    Err(broken) => return (out, Some(broken)),
                }
            }
        }
        (out, None)
    }

    fn message(length: &str, body: &str) -> String {
        format!(
            "INFO sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 INFO\r\n{length}\r\n{body}"
        )
    }

    fn one(text: &str) -> Vec<Framed> {
        vec![Framed::Message(text.as_bytes().to_vec())]
    }

    #[test]
    fn the_length_is_read_in_every_way_that_it_is_written() {
        for length in [
            "Content-Length: 3",
            "l:3",
            "CONTENT-LENGTH  :   3 ",
            "Content-Length:\r\n 3",
            "l: 3\r\nContent-Length: 0003",
        ] {
            let text = message(&format!("{length}\r\n"), "abc");
            assert_eq!(frames([text.as_bytes()]), (one(&text), None), "{length}");
        }
        // Lines may end in a line feed alone.
        let text = message("Content-Length: 0\r\n", "").replace("\r\n", "\n");
        assert_eq!(frames([text.as_bytes()]), (one(&text), None));
    }

    #[test]
    fn a_message_without_a_length_that_makes_sense_is_refused_and_ends_the_stream() {
        let source = "192.0.2.7:5060".parse().unwrap();
        for (length, error, reason) in [
            ("", ParseError::NoLength, "Missing Content-Length"),
            ("Content-Length: -3\r\n", ParseError::Length, "Malformed Content-Length"),
            ("Content-Length: 1\r\nl: 2\r\n", ParseError::Length, "Malformed Content-Length"),
        ] {
            let (out, broken) = frames([message(length, "abc").as_bytes()]);
            let broken = broken.expect("an error");
            assert_eq!((out, broken.error), (Vec::new(), error));
            let reply = refuse_unreadable(&broken.head, broken.error, source).expect("an answer");
            let Ok(Message::Response(response)) = parse::parse(&reply.payload) else { panic!("no response") };
            assert_eq!((response.code(), &*response.reason()), (400, reason));
        }
    }

    #[test]
    fn what_is_too_large_is_not_waited_for() {
        let (_, broken) = frames([message("Content-Length: 99999999999999999999999\r\n", "").as_bytes()]);
        assert_eq!(broken.map(|b| b.error), Some(ParseError::TooLarge));
        let endless = vec![b'x'; MAX_BYTES + 1];
        assert_eq!(frames([&endless[..]]).1.map(|b| b.error), Some(ParseError::TooLarge));
    }

    #[test]
    fn a_ping_is_told_and_a_pong_is_not() {
        assert_eq!(frames([PING]), (vec![Framed::Ping], None));
        assert_eq!(frames([PONG]), (Vec::new(), None));
        let text = message("l: 0\r\n", "");
        let (out, _) = frames([b"\r\n".as_slice(), b"\r", b"\n", text.as_bytes(), PONG, text.as_bytes(), PING]);
        assert_eq!(out, [vec![Framed::Ping], one(&text), one(&text), vec![Framed::Ping]].concat());
        let mut framer = Framer::new();
        framer.push(PONG);
        assert!(!framer.is_within());
        framer.push(b"INFO");
        assert_eq!(framer.poll(), Ok(None));
        assert!(framer.is_within());
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => vec(any::<u8>(), 0..200).prop_map(|body| {
                let mut text = message(&format!("Content-Length: {}\r\n", body.len()), "").into_bytes();
                text.extend(body);
                text
            }),
            1 => Just(PING.to_vec()),
            1 => Just(PONG.to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn any_cut_of_any_messages_gives_the_same(pieces in vec(piece(), 0..8), cuts in vec(any::<usize>(), 0..12)) {
            let stream = pieces.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let cut = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
            let (out, broken) = frames(cut);
            prop_assert_eq!(&broken, &None);
            prop_assert_eq!(&frames(stream.chunks(1)).0, &out);
            let messages: Vec<_> = out.into_iter().filter(|f| *f != Framed::Ping).collect();
            let sent: Vec<_> = pieces.into_iter().filter(|p| p.len() > 4).map(Framed::Message).collect();
            prop_assert_eq!(messages, sent);
        }

        #[test]
        fn no_stream_makes_it_panic_or_grow(pieces in vec(vec(any::<u8>(), 0..4_000), 0..12)) {
            let mut framer = Framer::new();
            for piece in &pieces {
                framer.push(piece);
                while let Ok(Some(_)) = framer.poll() {}
                if framer.poll().is_err() {
                    break;
                }
                prop_assert!(framer.buf.len() <= MAX_BYTES + piece.len());
            }
        }
    }
}
