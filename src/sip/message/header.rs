//! RFC 3261 §7.3 and §20: header names, their compact forms, and methods.

use std::fmt;

macro_rules! header_names {
    ($($variant:ident $name:literal $($compact:literal)?;)*) => {
        /// A header field name that something in this program reads or writes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum HeaderName {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            /// Any other name; look it up by its text.
            Other,
        }

        impl HeaderName {
            /// Reads a name, compact or long, in any case.
            pub fn parse(name: &[u8]) -> HeaderName {
                $(if name.eq_ignore_ascii_case($name.as_bytes()) $(|| name.eq_ignore_ascii_case($compact))? {
                    return HeaderName::$variant;
                })*
                HeaderName::Other
            }

            /// The long form as RFC 3261 spells it; empty for `Other`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(HeaderName::$variant => $name,)*
                    HeaderName::Other => "",
                }
            }
        }
    };
}

header_names! {
    Via "Via" b"v";
    From "From" b"f";
    To "To" b"t";
    CallId "Call-ID" b"i";
    CSeq "CSeq";
    Contact "Contact" b"m";
    MaxForwards "Max-Forwards";
    ContentLength "Content-Length" b"l";
    ContentType "Content-Type" b"c";
    Route "Route";
    RecordRoute "Record-Route";
    Allow "Allow";
    Supported "Supported" b"k";
    Require "Require";
    ProxyRequire "Proxy-Require";
    Unsupported "Unsupported";
    UserAgent "User-Agent";
    Server "Server";
    Accept "Accept";
    AcceptEncoding "Accept-Encoding";
    Authorization "Authorization";
    ProxyAuthorization "Proxy-Authorization";
    WwwAuthenticate "WWW-Authenticate";
    ProxyAuthenticate "Proxy-Authenticate";
    AuthenticationInfo "Authentication-Info";
    ContentDisposition "Content-Disposition";
    ContentEncoding "Content-Encoding" b"e";
    Date "Date";
    AllowEvents "Allow-Events" b"u";
    Event "Event" b"o";
    Expires "Expires";
    MinExpires "Min-Expires";
    MinSe "Min-SE";
    MimeVersion "MIME-Version";
    RAck "RAck";
    RSeq "RSeq";
    Reason "Reason";
    ReferSub "Refer-Sub";
    ReferTo "Refer-To" b"r";
    ReferredBy "Referred-By" b"b";
    Replaces "Replaces";
    RetryAfter "Retry-After";
    SessionExpires "Session-Expires" b"x";
    Subject "Subject" b"s";
    SubscriptionState "Subscription-State";
    Timestamp "Timestamp";
    UserToUser "User-to-User";
    Warning "Warning";
    Diversion "Diversion";
    HistoryInfo "History-Info";
    PAssertedIdentity "P-Asserted-Identity";
    InfoPackage "Info-Package";
    RecvInfo "Recv-Info";
    PPreferredIdentity "P-Preferred-Identity";
    RemotePartyId "Remote-Party-ID";
    Privacy "Privacy";
    Path "Path";
    ServiceRoute "Service-Route";
}

/// A request method (RFC 3261 §7.1 and the RFCs that added more). Methods are case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// `INVITE`
    Invite,
    /// `ACK`
    Ack,
    /// `BYE`
    Bye,
    /// `CANCEL`
    Cancel,
    /// `OPTIONS`
    Options,
    /// `REGISTER`
    Register,
    /// `INFO` (RFC 6086)
    Info,
    /// `UPDATE` (RFC 3311)
    Update,
    /// `PRACK` (RFC 3262)
    Prack,
    /// `REFER` (RFC 3515)
    Refer,
    /// `SUBSCRIBE` (RFC 6665)
    Subscribe,
    /// `NOTIFY` (RFC 6665)
    Notify,
    /// `MESSAGE` (RFC 3428)
    Message,
    /// `PUBLISH` (RFC 3903)
    Publish,
    /// A method no RFC here knows; always a token.
    Other(Box<str>),
}

impl Method {
    /// Reads a method. `None` when it is not a token.
    pub fn parse(text: &str) -> Option<Method> {
        if !super::lex::is_token(text.as_bytes()) {
            return None;
        }
        Some(match text {
            "INVITE" => Method::Invite,
            "ACK" => Method::Ack,
            "BYE" => Method::Bye,
            "CANCEL" => Method::Cancel,
            "OPTIONS" => Method::Options,
            "REGISTER" => Method::Register,
            "INFO" => Method::Info,
            "UPDATE" => Method::Update,
            "PRACK" => Method::Prack,
            "REFER" => Method::Refer,
            "SUBSCRIBE" => Method::Subscribe,
            "NOTIFY" => Method::Notify,
            "MESSAGE" => Method::Message,
            "PUBLISH" => Method::Publish,
            other => Method::Other(other.into()),
        })
    }

    /// The method as it stands in a request line.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Options => "OPTIONS",
            Method::Register => "REGISTER",
            Method::Info => "INFO",
            Method::Update => "UPDATE",
            Method::Prack => "PRACK",
            Method::Refer => "REFER",
            Method::Subscribe => "SUBSCRIBE",
            Method::Notify => "NOTIFY",
            Method::Message => "MESSAGE",
            Method::Publish => "PUBLISH",
            Method::Other(text) => text,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
