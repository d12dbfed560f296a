//! RFC 3261 §25: the few lexical rules that every structured header shares.

use std::borrow::Cow;

/// Whether `text` is a non-empty `token`.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

/// Splits at `separator`, except inside quoted strings and angle brackets. Never yields more than the
/// input holds; an unbalanced quote simply runs to the end.
pub(crate) fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut angle, mut escaped) = (false, false, false);
        for (at, &byte) in text.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'<' if !quoted => angle = true,
                b'>' if !quoted => angle = false,
                _ if byte == separator && !quoted && !angle => {
                    rest = Some(&text[at + 1..]);
                    return Some(text[..at].trim_ascii());
                }
                _ => {}
            }
        }
        rest = None;
        Some(text.trim_ascii())
    })
}

/// Reads the quoted string at the start of `text` (which begins with `"`): its content without the
/// escapes, and what follows it. `None` when the closing quote is missing.
pub(crate) fn quoted_string(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    let mut escapes = false;
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => (escaped, escapes) = (true, true),
            b'"' => {
                let content = &inner[..at];
                let content = if escapes { Cow::Owned(unescape(content)) } else { Cow::Borrowed(content) };
                return Some((content, &inner[at + 1..]));
            }
            _ => {}
        }
    }
    None
}

fn unescape(content: &str) -> String {
    let mut out = String::with_capacity(content.len());
    let mut chars = content.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

/// Writes `content` as a quoted string; line breaks and NUL, which none may hold, become spaces.
pub(crate) fn quote(content: &str) -> String {
    let mut out = String::with_capacity(content.len() + 2);
    out.push('"');
    for c in content.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\r' | '\n' | '\0' => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `;name=value` parameters after a URI, a Via or a header value: names in any case, values as tokens
/// or quoted strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    text: String,
}

impl Params {
    /// Reads `;a=b;c`, with blanks where RFC 3261 allows them. `None` on an empty parameter, an empty
    /// name or an unbalanced quote. One trailing `;` is let pass: it is common and means nothing.
    pub fn parse(text: &str) -> Option<Params> {
        // ASCII's blanks alone, as `split` has it: another one is part of a name, at the end as within.
        let text = text.trim_ascii();
        if text.is_empty() {
            return Some(Params::default());
        }
        let mut out = String::with_capacity(text.len());
        let mut pieces = split(text.strip_prefix(';')?.as_bytes(), b';').peekable();
        while let Some(piece) = pieces.next() {
            let piece = std::str::from_utf8(piece).ok()?;
            if piece.is_empty() && pieces.peek().is_none() && !out.is_empty() {
                break;
            }
            let (name, value) = match piece.split_once('=') {
                Some((name, value)) => (name.trim_ascii(), Some(value.trim_ascii())),
                None => (piece, None),
            };
            if name.is_empty() || name.bytes().any(|b| b.is_ascii_whitespace() || b"\"<>,".contains(&b)) {
                return None;
            }
            out.push(';');
            out.push_str(name);
            if let Some(value) = value {
                if !is_param_value(value) {
                    return None;
                }
                out.push('=');
                out.push_str(value);
            }
        }
        Some(Params { text: out })
    }

    /// Those parameters of a malformed text that read by themselves.
    pub(super) fn salvage(text: &str) -> Params {
        let pieces = split(text.as_bytes(), b';').filter_map(|piece| std::str::from_utf8(piece).ok());
        let read = |piece: &str| Params::parse(&format!(";{piece}"));
        Params { text: pieces.filter_map(read).map(|params| params.text).collect() }
    }

    /// The value of `name`: `None` when absent, `Some("")` when it stands without a value. Quoted
    /// values come without their quotes.
    pub fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| match quoted_string(value) {
            Some((content, _)) => content,
            None => Cow::Borrowed(value),
        })
    }

    /// Whether `name` stands there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }

    /// Name and raw value (quotes kept, empty when there is none) in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let body = self.text.strip_prefix(';').unwrap_or("");
        split(body.as_bytes(), b';')
            .filter_map(|piece| std::str::from_utf8(piece).ok())
            .filter(|piece| !piece.is_empty())
            .map(|piece| piece.split_once('=').unwrap_or((piece, "")))
    }

    /// `;a=b;c`, or nothing.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn is_param_value(value: &str) -> bool {
    if value.starts_with('"') {
        return matches!(quoted_string(value), Some((_, "")));
    }
    !value.bytes().any(|b| b.is_ascii_whitespace() || b"\"<>,".contains(&b))
}
