//! RFC 3515 §2.4.2: what a REFER of the far end asks for.

use crate::sip::message::{Fault, HeaderName, NameAddr, Request, Scheme, Uri};
use crate::sip::session::ExtraHeaders;

use super::Replaces;

/// The most headers of Refer-To that go into the call that is to be made.
const MOST_HEADERS: usize = 32;

/// Who we are in a call says our own profile, whatever a Refer-To may want.
const IDENTITY: [&str; 8] = [
    "p-asserted-identity",
    "p-preferred-identity",
    "remote-party-id",
    "privacy",
    "identity",
    "diversion",
    "history-info",
    "user-to-user",
];

/// A REFER that reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whom to call: a `sip:` or `tel:` URI without headers and method.
    pub target: Uri,
    /// Headers of that call, of those that others may give us: none that makes dialog, route or authentication, and none that says who calls.
    pub headers: ExtraHeaders,
    /// User-to-User of that call, each as it came.
    pub user_to_user: Vec<String>,
    /// The dialog at the target whose place that call is to take.
    pub replaces: Option<Replaces>,
    /// Who refers (RFC 3892), as it came.
    pub referred_by: Option<String>,
    /// Whether the far end is to be told what becomes of it (RFC 4488).
    pub subscription: bool,
}

impl Asked {
    /// Reads it.
    ///
    /// # Errors
    /// 400 unless there is exactly one Refer-To, and it reads, as do its Replaces and a Referred-By; 416 for what is no telephone's URI;
    /// 501 for another method than INVITE.
    pub fn read(refer: &Request) -> Result<Asked, Fault> {
        let uri = asked_for(refer)?;
        if !matches!(uri.scheme(), Scheme::Sip | Scheme::Tel) {
            return Err(Fault::new(416, "Unsupported URI Scheme"));
        }
        if uri.params().value("method").is_some_and(|method| !method.eq_ignore_ascii_case("INVITE")) {
            return Err(Fault::new(501, "Not Implemented"));
        }
        let mut asked = Asked {
            target: bare(&uri).ok_or(Fault::bad("Malformed Refer-To"))?,
            headers: ExtraHeaders::default(),
            user_to_user: Vec::new(),
            replaces: None,
            referred_by: referred_by(refer)?,
            subscription: subscription(refer),
        };
        let mut safe = Vec::new();
        for (name, value) in uri.headers() {
            let checked = ExtraHeaders::check(&name, &value).is_ok();
            if name.eq_ignore_ascii_case("Replaces") {
                let replaces = Replaces::parse(&value).filter(|_| asked.replaces.is_none());
                asked.replaces = Some(replaces.ok_or(Fault::bad("Malformed Replaces"))?);
            } else if name.eq_ignore_ascii_case("User-to-User") && checked && !value.is_empty() {
                asked.user_to_user.push(value);
            } else if checked && !IDENTITY.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
                safe.push((name, value));
            }
        }
        safe.truncate(MOST_HEADERS);
        asked.user_to_user.truncate(MOST_HEADERS);
        asked.headers = ExtraHeaders::try_from(safe).unwrap_or_default();
        Ok(asked)
    }

    /// All headers of the INVITE that it asks for.
    pub fn for_invite(&self) -> ExtraHeaders {
        let mut headers = self.headers.clone();
        self.user_to_user.iter().for_each(|value| headers.push(HeaderName::UserToUser, Some(value.clone())));
        headers.push(HeaderName::ReferredBy, self.referred_by.clone());
        headers.push(HeaderName::Replaces, self.replaces.as_ref().map(Replaces::to_string));
        headers
    }
}

/// Whom a REFER means.
///
/// # Errors
/// 400 unless there is exactly one Refer-To, and it reads (RFC 3515 §2.4.2).
pub fn asked_for(refer: &Request) -> Result<Uri, Fault> {
    let mut all = refer.list(HeaderName::ReferTo);
    let value = all.next().ok_or(Fault::bad("Missing Refer-To"))?;
    if all.next().is_some() {
        return Err(Fault::bad("Multiple Refer-To"));
    }
    Ok(NameAddr::parse(&value).ok_or(Fault::bad("Malformed Refer-To"))?.uri)
}

/// §19.1.1, table 1: a Request-URI has neither headers nor a method.
fn bare(uri: &Uri) -> Option<Uri> {
    let text = uri.without_headers();
    let (user, rest) = text.split_at(text.rfind('@').map_or(0, |at| at + 1));
    let method = |param: &&str| param.get(..7).is_some_and(|name| name.eq_ignore_ascii_case("method="));
    let rest: Vec<_> = rest.split(';').filter(|param| !method(param)).collect();
    Uri::parse(&format!("{user}{}", rest.join(";"))).ok()
}

/// RFC 3892 §2.1: at most one, and a name-addr.
fn referred_by(refer: &Request) -> Result<Option<String>, Fault> {
    let mut all = refer.all(HeaderName::ReferredBy);
    let Some(value) = all.next() else { return Ok(None) };
    let value =
        std::str::from_utf8(value).ok().filter(|value| NameAddr::parse(value).is_some() && value.len() <= 1_024);
    match (value, all.next()) {
        (Some(value), None) => Ok(Some(value.to_owned())),
        _ => Err(Fault::bad("Malformed Referred-By")),
    }
}

/// RFC 4488 §4: `Refer-Sub: false`, or that it requires the extension.
fn subscription(refer: &Request) -> bool {
    let said = refer.text(HeaderName::ReferSub);
    let off =
        said.is_some_and(|value| value.split(';').next().is_some_and(|word| word.trim().eq_ignore_ascii_case("false")));
    let required = refer.list(HeaderName::Require).any(|tag| tag.eq_ignore_ascii_case("norefersub"));
    !off && !required
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::{Message, parse};

    fn refer(lines: &str) -> Request {
        let text = format!(
            "REFER sip:robot@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             From: <sip:2@192.0.2.2>;tag=a\r\nTo: <sip:1@192.0.2.1>;tag=b\r\nCall-ID: c\r\nCSeq: 2 REFER\r\n\
             {lines}Content-Length: 0\r\n\r\n"
        );
        match parse(text.as_bytes()) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn code(lines: &str) -> u16 {
        Asked::read(&refer(lines)).expect_err("it is refused").code
    }

    #[test]
    fn what_others_may_say_of_our_call_is_taken_and_the_rest_is_left() {
        let asked = Asked::read(&refer(
            "Refer-To: <sip:8001;x=1@h:5070;method=INVITE;transport=tcp?User-to-User=04%3Bencoding%3Dhex&X-Task=7&Route=%3Csip:evil%3E\
             &P-Asserted-Identity=%3Csip:boss%40h%3E&Replaces=d%40h%3Bto-tag%3D1%3Bfrom-tag%3D2&body=v&X-Bad=a%0D%0AVia:b>\r\n\
             Referred-By: \"A\" <sip:2@192.0.2.2>;cid=\"x@y\"\r\n",
        ));
        let asked = asked.expect("it reads");
        assert_eq!(asked.target.as_str(), "sip:8001;x=1@h:5070;transport=tcp");
        let all: Vec<_> = asked.for_invite().into_list();
        let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            all,
            [
                ("X-Task", "7"),
                ("User-to-User", "04;encoding=hex"),
                ("Referred-By", "\"A\" <sip:2@192.0.2.2>;cid=\"x@y\""),
                ("Replaces", "d@h;to-tag=1;from-tag=2"),
            ]
        );
        assert!(asked.subscription);
    }

    #[test]
    fn who_wants_to_be_told_nothing_says_so_in_either_way() {
        for lines in ["Refer-Sub: FALSE;x=1\r\n", "Require: norefersub\r\n"] {
            let asked = Asked::read(&refer(&format!("Refer-To: <tel:+49-30-1>\r\n{lines}"))).expect("it reads");
            assert!(!asked.subscription, "{lines}");
        }
        let asked = Asked::read(&refer("r: sip:8@h\r\nRefer-Sub: true\r\n")).expect("it reads");
        assert!(asked.subscription && asked.referred_by.is_none() && asked.replaces.is_none());
    }

    #[test]
    fn what_does_not_read_or_is_no_call_is_refused() {
        assert_eq!(code(""), 400);
        assert_eq!(code("Refer-To: <sip:8@h>, <sip:9@h>\r\n"), 400);
        assert_eq!(code("Refer-To: <sip:8@h?Replaces=x>\r\n"), 400);
        assert_eq!(
            code(
                "Refer-To: <sip:8@h?Replaces=d%3Bto-tag%3D1%3Bfrom-tag%3D2&Replaces=d%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\n"
            ),
            400
        );
        assert_eq!(code("Refer-To: <sip:8@h>\r\nReferred-By: <sip:1@h>\r\nReferred-By: <sip:2@h>\r\n"), 400);
        assert_eq!(code("Refer-To: <sip:8@h;method=BYE>\r\n"), 501);
        assert_eq!(code("Refer-To: <http://h/>\r\n"), 416);
        assert_eq!(code("Refer-To: <sips:8@h>\r\n"), 416);
    }
}
