//! RFC 7433: the User-to-User header, and the forms of it that are older than the RFC.
//!
//! | on the wire | what it is |
//! |---|---|
//! | `56a390f3;encoding=hex;purpose=isdn-uui;content=isdn-uui` | RFC 7433 and 7434 |
//! | `56a390f3` | what PBXs send: hex without a word about it (RFC 7434 §6 makes hex the default) |
//! | `04c8…;encoding=hex` | the same with the protocol discriminator of Q.931 §4.5.30, which is kept as the first byte |
//! | `"some text"`, `token` | RFC 7433 §4.1, any other encoding |
//! | `c2Vzc2lvbklkPTc…` | bare base64 of [`HandOver`]'s plain text |
//!
//! A message may carry several, each in a header of its own or joined by commas (RFC 7433 §4.1).

use std::fmt;

use super::auth::hex;
use super::message::{HeaderName, Headers, Params, is_token, quote, quoted_string};

/// The longest value that is written.
const MAX_BYTES: usize = 4096;

/// One value of a User-to-User header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uui {
    data: String,
    quoted: bool,
    params: Params,
}

/// Why a value cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UuiError {
    /// Nothing to write.
    #[error("is empty")]
    Empty,
    /// More than 4,096 bytes.
    #[error("is longer than {MAX_BYTES} bytes as it is written")]
    TooLong,
    /// Something that cannot stand in a header.
    #[error("has a line break or another control character")]
    Character,
    /// `purpose` or `content` is not a token.
    #[error("purpose and content are tokens: letters, digits and - . ! % * _ + ` ' ~")]
    Token,
    /// It does not read as a User-to-User value.
    #[error("is not a User-to-User value: data, then parameters such as ;encoding=hex")]
    Malformed,
    /// A field of a [`HandOver`] holds what would end it.
    #[error("{0} holds a semicolon, or is no name")]
    Field(&'static str),
}

impl Uui {
    /// Bytes as hex, with `encoding=hex`.
    ///
    /// # Errors
    /// [`UuiError::Empty`], [`UuiError::TooLong`].
    pub fn hex(bytes: &[u8]) -> Result<Uui, UuiError> {
        if bytes.is_empty() {
            return Err(UuiError::Empty);
        }
        Uui { data: hex(bytes), quoted: false, params: Params::default() }.with("encoding", "hex")
    }

    /// Text: as it is when it is a token, else quoted.
    ///
    /// # Errors
    /// [`UuiError::Empty`], [`UuiError::Character`], [`UuiError::TooLong`].
    pub fn text(text: &str) -> Result<Uui, UuiError> {
        if text.is_empty() {
            return Err(UuiError::Empty);
        }
        if text.contains(|c: char| c.is_control()) {
            return Err(UuiError::Character);
        }
        let quoted = !is_token(text.as_bytes());
        Uui { data: text.to_owned(), quoted, params: Params::default() }.checked()
    }

    /// The bare base64 form.
    ///
    /// # Errors
    /// [`UuiError::Field`], [`UuiError::Character`], [`UuiError::TooLong`].
    pub fn hand_over(context: &HandOver) -> Result<Uui, UuiError> {
        let data = base64(context.plain()?.as_bytes());
        Uui { data, quoted: false, params: Params::default() }.checked()
    }

    /// Any plain text as bare base64 of its UTF-8.
    ///
    /// # Errors
    /// [`UuiError::Empty`], [`UuiError::TooLong`].
    pub fn plain(text: &str) -> Result<Uui, UuiError> {
        if text.is_empty() {
            return Err(UuiError::Empty);
        }
        Uui { data: base64(text.as_bytes()), quoted: false, params: Params::default() }.checked()
    }

    /// With `purpose=…`, which names the application (RFC 7433 §4.1).
    ///
    /// # Errors
    /// [`UuiError::Token`], [`UuiError::TooLong`].
    pub fn purpose(self, purpose: &str) -> Result<Uui, UuiError> {
        self.with("purpose", purpose)
    }

    /// With `content=…`, which names the kind of the data.
    ///
    /// # Errors
    /// [`UuiError::Token`], [`UuiError::TooLong`].
    pub fn content(self, content: &str) -> Result<Uui, UuiError> {
        self.with("content", content)
    }

    fn with(mut self, name: &str, value: &str) -> Result<Uui, UuiError> {
        if !is_token(value.as_bytes()) {
            return Err(UuiError::Token);
        }
        let params = format!("{};{name}={value}", self.params.as_str());
        self.params = Params::parse(&params).ok_or(UuiError::Token)?;
        self.checked()
    }

    fn checked(self) -> Result<Uui, UuiError> {
        if self.to_string().len() > MAX_BYTES {
            return Err(UuiError::TooLong);
        }
        Ok(self)
    }

    /// Reads one value. `None` when there is no data, or a quote or a parameter is malformed.
    pub fn parse(text: &str) -> Option<Uui> {
        let text = text.trim_ascii();
        // A tab may stand between quotes; of the rest none could be written again.
        if text.contains(|c: char| c.is_control() && c != '\t') {
            return None;
        }
        if text.starts_with('"') {
            let (data, rest) = quoted_string(text)?;
            return Some(Uui { data: data.into_owned(), quoted: true, params: Params::parse(rest)? });
        }
        let end = text.find(';').unwrap_or(text.len());
        let data = text[..end].trim_end();
        // Beyond tokens: base64 has `/` and `=`, and there are senders of bare UTF-8.
        if data.is_empty() || data.contains(|c: char| c.is_control() || c.is_whitespace() || "\",<>".contains(c)) {
            return None;
        }
        Some(Uui { data: data.to_owned(), quoted: false, params: Params::parse(&text[end..])? })
    }

    /// Reads what is to be written: one value, or several joined by commas.
    ///
    /// # Errors
    /// [`UuiError::Character`], [`UuiError::TooLong`], [`UuiError::Malformed`].
    pub fn parse_list(text: &str) -> Result<Vec<Uui>, UuiError> {
        if text.contains(|c: char| c.is_control()) {
            return Err(UuiError::Character);
        }
        if text.len() > MAX_BYTES {
            return Err(UuiError::TooLong);
        }
        let elements = super::message::split(text.as_bytes(), b',');
        let read = |element: &[u8]| std::str::from_utf8(element).ok().and_then(Uui::parse).ok_or(UuiError::Malformed);
        elements.map(read).collect()
    }

    /// Every value that a message carries; those that do not read are left out.
    pub fn all(message: &Headers) -> Vec<Uui> {
        message.list(HeaderName::UserToUser).filter_map(|value| Uui::parse(&value)).collect()
    }

    /// The data as written, without quotes.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// All its parameters, those that no RFC knows too.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The data as bytes: when its encoding is hex, or when it says nothing and is hex. The protocol discriminator stays where it is.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self.params.value("encoding") {
            Some(encoding) if encoding.eq_ignore_ascii_case("hex") => unhex(&self.data),
            Some(_) => None,
            None if self.quoted => None,
            None => unhex(&self.data),
        }
    }

    /// The context of a hand-over: bare base64 of its plain text, or hex of it, with or without a protocol discriminator.
    pub fn context(&self) -> Option<HandOver> {
        let bare = self.params.value("encoding").is_none() && !self.quoted;
        let read = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(HandOver::parse);
        if let Some(context) = unbase64(&self.data).filter(|_| bare).as_deref().and_then(read) {
            return Some(context);
        }
        let bytes = self.bytes()?;
        // Q.931 table 4-26: 00 user-specific, 04 IA5 characters.
        let after = bytes.strip_prefix(&[0]).or(bytes.strip_prefix(&[4]));
        read(&bytes).or_else(|| after.and_then(read))
    }
}

impl fmt::Display for Uui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.quoted {
            true => f.write_str(&quote(&self.data))?,
            false => f.write_str(&self.data)?,
        }
        f.write_str(self.params.as_str())
    }
}

/// Several values in one line.
pub fn joined(values: &[Uui]) -> String {
    values.iter().map(Uui::to_string).collect::<Vec<_>>().join(", ")
}

/// What kind of target a call is handed over to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferTo {
    /// 1: an agent.
    Agent,
    /// 2: a skill group.
    SkillGroup,
    /// 3: a number.
    Number,
}

/// What the human gets to know of a call that is handed over:
/// `sessionId=…;transType=1|2|3;transValue=…;transIntent=…;transAddr=user@host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// Of the conversation.
    pub session_id: String,
    /// To what.
    pub to: TransferTo,
    /// Which agent, skill group or number.
    pub value: String,
    /// What the caller wants.
    pub intent: String,
    /// Where to: `user@host:port`.
    pub address: String,
    /// Fields that are not known here, in their order.
    pub more: Vec<(String, String)>,
}

impl HandOver {
    /// The plain text.
    ///
    /// # Errors
    /// [`UuiError::Field`] when a value holds a semicolon, [`UuiError::Character`].
    pub fn plain(&self) -> Result<String, UuiError> {
        let kind = match self.to {
            TransferTo::Agent => "1",
            TransferTo::SkillGroup => "2",
            TransferTo::Number => "3",
        };
        let known = [
            ("sessionId", self.session_id.as_str()),
            ("transType", kind),
            ("transValue", &self.value),
            ("transIntent", &self.intent),
            ("transAddr", &self.address),
        ];
        let wrong = known.iter().find(|(_, value)| value.contains(';')).map(|(name, _)| *name);
        let unnamed =
            |(name, value): &(String, String)| name.is_empty() || name.contains(['=', ';']) || value.contains(';');
        if let Some(name) = wrong.or_else(|| self.more.iter().any(unnamed).then_some("a further field")) {
            return Err(UuiError::Field(name));
        }
        let more = self.more.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs: Vec<_> = known.into_iter().chain(more).map(|(name, value)| format!("{name}={value}")).collect();
        let plain = pairs.join(";");
        if plain.contains(|c: char| c.is_control()) {
            return Err(UuiError::Character);
        }
        Ok(plain)
    }

    /// Reads the plain text, in any order; `None` without `sessionId` or a known `transType`.
    pub fn parse(plain: &str) -> Option<HandOver> {
        let (mut session_id, mut to) = (None, None);
        let (mut value, mut intent, mut address) = (String::new(), String::new(), String::new());
        let mut more = Vec::new();
        // A line's end is none of the last value's; a blank is.
        let plain = plain.trim_start().trim_end_matches(|c: char| c.is_control());
        for pair in plain.split(';').filter(|pair| !pair.is_empty()) {
            let (name, text) = pair.split_once('=')?;
            match name {
                "sessionId" => session_id = Some(text.to_owned()),
                "transType" => {
                    to = match text {
                        "1" => Some(TransferTo::Agent),
                        "2" => Some(TransferTo::SkillGroup),
                        "3" => Some(TransferTo::Number),
                        _ => None,
                    }
                }
                "transValue" => text.clone_into(&mut value),
                "transIntent" => text.clone_into(&mut intent),
                "transAddr" => text.clone_into(&mut address),
                _ => more.push((name.to_owned(), text.to_owned())),
            }
        }
        Some(HandOver { session_id: session_id?, to: to?, value, intent, address, more })
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    text.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 §4, with padding.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for n in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * n)) as usize & 63];
            out.push(if n <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// Padding may be missing: `=` does not pass every switch.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if digits.is_empty() || digits.len() % 4 == 1 || text.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for four in digits.as_bytes().chunks(4) {
        let mut bits = 0;
        for digit in four {
            let value = ALPHABET.iter().position(|known| known == digit)?;
            bits = bits << 6 | value as u32;
        }
        bits <<= 6 * (4 - four.len());
        out.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sip::message::{Message, parse};

    fn context() -> HandOver {
        HandOver {
            session_id: "a7".into(),
            to: TransferTo::SkillGroup,
            value: "billing".into(),
            intent: "账单".into(),
            address: "8001@192.0.2.7:5060".into(),
            more: vec![("vip".into(), "1".into())],
        }
    }

    #[test]
    fn every_form_is_read_as_what_it_is() {
        let read = |text: &str| Uui::parse(text).unwrap_or_else(|| panic!("{text}"));
        let isdn = read("56a390F3;encoding=hex;purpose=isdn-uui;content=isdn-uui;x=\"a,b\"");
        assert_eq!(isdn.bytes().unwrap(), [0x56, 0xa3, 0x90, 0xf3]);
        assert_eq!(isdn.params().value("purpose").unwrap(), "isdn-uui");
        assert_eq!(isdn.params().value("x").unwrap(), "a,b");
        assert_eq!(isdn.to_string(), "56a390F3;encoding=hex;purpose=isdn-uui;content=isdn-uui;x=\"a,b\"");
        assert_eq!(read("56A390f3").bytes().unwrap(), [0x56, 0xa3, 0x90, 0xf3], "bare, as PBXs send it");
        assert_eq!(read("04c8ff;encoding=HEX").bytes().unwrap(), [4, 0xc8, 0xff], "the discriminator stays");
        assert_eq!(read("\"56\" ; encoding=hex").bytes().unwrap(), [0x56], "RFC 7433 allows hex in quotes");
        let text = read("\"a \\\"b\\\", c;d\"");
        assert_eq!((text.data(), text.bytes()), ("a \"b\", c;d", None));
        assert_eq!(read("token").bytes(), None);
        assert_eq!(read("abc;encoding=hex").bytes(), None, "half a byte");
        // Found by fuzzing: a blank that is none of ASCII's was lost when what was read was written and read again.
        let blanks = read("ue=a@b:253plue=a@3;transValu\u{a0}\u{a0}\u{a0}\u{a0};");
        assert_eq!(read(&blanks.to_string()), blanks);
        for wrong in ["", ";encoding=hex", "\"open", "a b", "a;=x", "a\u{7}b", "\"a\rb\"", "\"a\\\u{0}b\""] {
            assert_eq!(Uui::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_hand_over_is_base64_of_its_plain_text() {
        let plain = "sessionId=a7;transType=2;transValue=billing;transIntent=账单;transAddr=8001@192.0.2.7:5060;vip=1";
        assert_eq!(context().plain().unwrap(), plain);
        let uui = Uui::hand_over(&context()).unwrap();
        assert!(uui.to_string().starts_with("c2Vzc2lvbklkPWE3O3RyYW5zVHlwZT0y"), "{uui}");
        assert_eq!(Uui::parse(&uui.to_string()).unwrap().context(), Some(context()));
        assert_eq!(Uui::parse(uui.to_string().trim_end_matches('=')).unwrap().context(), Some(context()));
        // In hex, bare or said to be so, with a discriminator or without.
        for bytes in [plain.as_bytes().to_vec(), [&[4], plain.as_bytes()].concat(), [&[0], plain.as_bytes()].concat()] {
            let hex = Uui::hex(&bytes).unwrap();
            assert_eq!((hex.context(), hex.bytes()), (Some(context()), Some(bytes)));
            assert_eq!(Uui::parse(hex.data()).unwrap().context(), Some(context()));
        }
        assert_eq!(Uui::parse("deadbeef").unwrap().context(), None);
        assert_eq!(HandOver::parse("sessionId=1;transType=4"), None);
        assert_eq!(HandOver::parse("transType=1"), None);
        let broken = HandOver { intent: "a;transAddr=evil".into(), ..context() };
        assert_eq!(broken.plain(), Err(UuiError::Field("transIntent")));
        let broken = HandOver { value: "a\r\nVia: b".into(), ..context() };
        assert_eq!(Uui::hand_over(&broken), Err(UuiError::Character));
    }

    #[test]
    fn a_blank_at_the_end_of_a_hand_over_is_its_last_value_s_and_a_line_s_end_is_not() {
        let context = HandOver { address: "a@b ".into(), more: Vec::new(), ..context() };
        let plain = context.plain().unwrap();
        assert_eq!(HandOver::parse(&plain), Some(context.clone()));
        assert_eq!(HandOver::parse(&format!(" {plain}\r\n")), Some(context));
    }

    #[test]
    fn several_headers_and_several_values_in_one() {
        let text = "INVITE sip:a@b SIP/2.0\r\nUser-to-User: 01;encoding=hex, \"x,y\";purpose=p\r\n\
                    Subject: z\r\nuser-to-user: \"open\r\nUSER-TO-USER: 02\r\n\r\n";
        let Message::Request(request) = parse(text.as_bytes()).unwrap() else { panic!("a response") };
        let all = Uui::all(&request);
        assert_eq!(joined(&all), "01;encoding=hex, \"x,y\";purpose=p, 02");
        assert_eq!(Uui::parse_list(&joined(&all)), Ok(all));
        assert_eq!(Uui::parse_list("01,"), Err(UuiError::Malformed));
        assert_eq!(Uui::parse_list("01\r\nVia: x"), Err(UuiError::Character));
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_refused() {
        assert_eq!(Uui::text("a\nb"), Err(UuiError::Character));
        assert_eq!(Uui::text(""), Err(UuiError::Empty));
        assert_eq!(Uui::hex(&[]), Err(UuiError::Empty));
        assert_eq!(Uui::hex(&[7; 3000]), Err(UuiError::TooLong));
        assert_eq!(Uui::text("a").unwrap().purpose("b c"), Err(UuiError::Token));
        assert_eq!(Uui::text("a").unwrap().content("b;c=d"), Err(UuiError::Token));
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let table = [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, coded) in table {
            assert_eq!(
                (base64(plain.as_bytes()).as_str(), unbase64(coded).as_deref()),
                (coded, Some(plain.as_bytes()))
            );
        }
        assert_eq!((unbase64("Zg==="), unbase64("Z"), unbase64("Z!"), unbase64("")), (None, None, None, None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            bytes in proptest::collection::vec(any::<u8>(), 1..80),
            text in "[^\\p{Cc}]{1,40}",
            tokens in ("[a-zA-Z0-9.!%*_+`'~-]{1,12}", "[a-zA-Z0-9-]{1,12}"),
            values in ("[^;\\p{Cc}]{0,20}", "[^;\\p{Cc}]{0,20}", "[^;\\p{Cc}]{0,20}"),
        ) {
            let with = |uui: Uui| uui.purpose(&tokens.0).unwrap().content(&tokens.1).unwrap();
            let context = HandOver { session_id: values.0, value: values.1, intent: values.2, ..context() };
            let all = vec![
                Uui::hex(&bytes).unwrap(),
                with(Uui::hex(&bytes).unwrap()),
                with(Uui::text(&text).unwrap()),
                Uui::text(&tokens.0).unwrap(),
                Uui::hand_over(&context).unwrap(),
            ];
            prop_assert_eq!(all[1].bytes(), Some(bytes));
            prop_assert_eq!(all[2].data(), &text);
            prop_assert_eq!(all[4].context(), Some(context));
            prop_assert_eq!(Uui::parse_list(&joined(&all)), Ok(all));
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,60}") {
            if let Some(uui) = Uui::parse(&text) {
                let _ = (uui.bytes(), uui.context());
                prop_assert_eq!(Uui::parse(&uui.to_string()), Some(uui));
            }
        }
    }
}
