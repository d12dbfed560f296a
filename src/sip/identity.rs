//! Who calls, for whom, and whether that is to be shown: RFC 3325 (P-Asserted-Identity, P-Preferred-Identity), RFC 3323 (Privacy),
//! Remote-Party-ID (draft-ietf-sip-privacy-04, which many operators still want), RFC 5806 (Diversion), RFC 7044 (History-Info).
//!
//! Written as a trunk's profile says, read from whatever a trunk sends.

use super::message::{HeaderName, Headers, NameAddr, Request, Uri};

/// Which of the identity headers a profile writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Written {
    /// P-Asserted-Identity: for peers that trust us.
    pub asserted: bool,
    /// P-Preferred-Identity: for peers that assert by themselves.
    pub preferred: bool,
    /// Remote-Party-ID.
    pub remote_party: bool,
    /// History-Info, of a call that was diverted before it came to us.
    pub history: bool,
}

/// What is shown to the callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Privacy {
    /// All.
    #[default]
    Shown,
    /// From is as ever; the network is asked to keep the asserted identity to itself (`Privacy: id`).
    Id,
    /// And From says nothing (RFC 3323 §4.1.1.3).
    Anonymous,
}

/// Where the number that calls is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// P-Asserted-Identity
    Asserted,
    /// P-Preferred-Identity
    Preferred,
    /// Remote-Party-ID with `party=calling`, or without a party
    RemoteParty,
    /// From
    From,
}

/// Who calls and for whom, as it came.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Caller {
    /// User part.
    pub number: String,
    /// Display name; empty for none.
    pub name: String,
    /// He does not want to be shown.
    pub withheld: bool,
    /// Who was called first, before the call was diverted to us; empty: it was not, or nobody says so.
    pub diverted_from: String,
    /// Why it was diverted, as it came: `unconditional`, `user-busy`, `no-answer` … (RFC 5806 §4.2); empty: not said.
    pub diversion_reason: String,
}

/// From with or without a name, and the headers that go along. `who` is the number that calls; `for_whom` whom the call was diverted from.
pub fn write(
    who: &NameAddr,
    privacy: Privacy,
    written: Written,
    for_whom: Option<&Uri>,
    target: &Uri,
) -> (NameAddr, Vec<(HeaderName, String)>) {
    let mut headers = Vec::new();
    if written.asserted {
        headers.push((HeaderName::PAssertedIdentity, who.to_string()));
    }
    if written.preferred {
        headers.push((HeaderName::PPreferredIdentity, who.to_string()));
    }
    if written.remote_party {
        let hidden = if privacy == Privacy::Shown { "off" } else { "full" };
        headers.push((HeaderName::RemotePartyId, format!("{who};party=calling;privacy={hidden};screen=yes")));
    }
    match privacy {
        Privacy::Shown => {}
        Privacy::Id => headers.push((HeaderName::Privacy, "id".to_owned())),
        Privacy::Anonymous => headers.push((HeaderName::Privacy, "id;header".to_owned())),
    }
    if let Some(diverted) = for_whom {
        headers.push((HeaderName::Diversion, format!("<{diverted}>;reason=unconditional;privacy=off;screen=no")));
        if written.history {
            // RFC 7044 §10.1: the first entry is whom the caller meant, the next where the call was sent instead.
            let value = format!("<{diverted}>;index=1, <{target}>;index=1.1;mp=1");
            headers.push((HeaderName::HistoryInfo, value));
        }
    }
    let from = match privacy {
        // §4.1.1.3 of RFC 3323 spells it so; the URI is the one that every element knows to belong to nobody.
        Privacy::Anonymous => anonymous().unwrap_or_else(|| who.clone()),
        _ => who.clone(),
    };
    (from, headers)
}

fn anonymous() -> Option<NameAddr> {
    Some(NameAddr::new(Some("Anonymous".to_owned()), Uri::parse("sip:anonymous@anonymous.invalid").ok()?))
}

/// Reads who calls. The first of `sources` that the INVITE has decides.
pub fn read(invite: &Request, sources: &[Source]) -> Caller {
    let found = sources.iter().find_map(|source| from_source(invite, *source));
    let found = found.or_else(|| from_source(invite, Source::From));
    let anonymous = invite.from().is_ok_and(|from| {
        from.uri.host().eq_ignore_ascii_case("anonymous.invalid")
            || from.uri.user_text().is_some_and(|user| user.eq_ignore_ascii_case("anonymous"))
    });
    let asked = |value: &str| matches!(value.trim(), "id" | "user" | "header" | "session" | "critical");
    let asked = invite.all(HeaderName::Privacy).any(|value| String::from_utf8_lossy(value).split(';').any(asked));
    let hidden = remote_parties(invite)
        .any(|party| party.params.value("privacy").is_some_and(|privacy| !privacy.eq_ignore_ascii_case("off")));
    let (diverted_from, diversion_reason) = diverted(invite);
    let found = found.unwrap_or_else(|| (String::new(), String::new()));
    Caller { number: found.0, name: found.1, withheld: anonymous || asked || hidden, diverted_from, diversion_reason }
}

fn from_source(invite: &Request, source: Source) -> Option<(String, String)> {
    let party = match source {
        Source::From => invite.from().ok()?,
        Source::Asserted => best(invite, HeaderName::PAssertedIdentity)?,
        Source::Preferred => best(invite, HeaderName::PPreferredIdentity)?,
        Source::RemoteParty => remote_parties(invite).next()?,
    };
    Some((party.uri.number()?, party.display.unwrap_or_default()))
}

/// RFC 3325 §9.1 allows two, one of them a `tel:` URI; the one with a name is no worse than the other.
fn best(invite: &Headers, name: HeaderName) -> Option<NameAddr> {
    let mut all =
        invite.list(name).filter_map(|value| NameAddr::parse(&value)).filter(|party| party.uri.user().is_some());
    let first = all.next()?;
    match all.next() {
        Some(second) if first.display.is_none() && second.display.is_some() => Some(second),
        _ => Some(first),
    }
}

fn remote_parties(invite: &Headers) -> impl Iterator<Item = NameAddr> {
    let all = invite.list(HeaderName::RemotePartyId).filter_map(|value| NameAddr::parse(&value));
    all.filter(|party| party.params.value("party").is_none_or(|party| party.eq_ignore_ascii_case("calling")))
}

/// Who was called first: the last Diversion (RFC 5806 §4.1 puts the newest on top), else the first History-Info when there are several.
fn diverted(invite: &Headers) -> (String, String) {
    let all = invite.list(HeaderName::Diversion).filter_map(|value| NameAddr::parse(&value));
    if let Some((number, first)) = all.filter_map(|who| Some((who.uri.number()?, who))).last() {
        let reason = first.params.value("reason").map(|reason| reason.into_owned());
        return (number, reason.unwrap_or_default());
    }
    let mut entries = invite.list(HeaderName::HistoryInfo).filter_map(|value| NameAddr::parse(&value));
    let (Some(first), Some(_)) = (entries.next(), entries.next()) else {
        return Default::default();
    };
    // RFC 4458: a cause in the URI of where it went, RFC 7044 in the URI's Reason header; the number is what counts.
    (Uri::parse(first.uri.without_headers()).ok().and_then(|uri| uri.number()).unwrap_or_default(), String::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::{Message, parse};

    fn invite(headers: &str) -> Request {
        let from = if headers.contains("From:") { "" } else { "From: \"Ann\" <sip:200@pbx>;tag=1\r\n" };
        let text = format!(
            "INVITE sip:100@us SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\n{from}To: <sip:100@us>\r\nCall-ID: x\r\n\
             CSeq: 1 INVITE\r\n{headers}\r\n"
        );
        match parse(text.as_bytes()).expect("a message") {
            Message::Request(request) => request,
            Message::Response(_) => panic!("not a request"),
        }
    }

    const ALL: [Source; 3] = [Source::Asserted, Source::RemoteParty, Source::From];

    #[test]
    fn who_calls_is_read_in_the_order_of_the_profile() {
        let all = "P-Asserted-Identity: <tel:+4930111>, \"Bea\" <sip:+4930111@op>\r\n\
                   Remote-Party-ID: \"Cy\" <sip:333@op>;party=calling;privacy=off\r\n\
                   P-Preferred-Identity: <sip:444@op>\r\n";
        for (sources, headers, number, name) in [
            (&ALL[..], all, "+4930111", "Bea"),
            (&ALL[1..], all, "333", "Cy"),
            (&ALL[2..], all, "200", "Ann"),
            (&[Source::Preferred], all, "444", ""),
            (&ALL[..], "", "200", "Ann"),
            (&[], all, "200", "Ann"),
            (&ALL[..2], "Remote-Party-ID: <sip:9@op>;party=called\r\n", "200", "Ann"),
            (&ALL[..], "P-Asserted-Identity: <sip:op.example>\r\n", "200", "Ann"),
            (&ALL[..], "P-Asserted-Identity: <<>>\r\n", "200", "Ann"),
        ] {
            let read = read(&invite(headers), sources);
            assert_eq!((read.number.as_str(), read.name.as_str()), (number, name), "{headers}");
            assert!(!read.withheld);
        }
    }

    #[test]
    fn who_does_not_want_to_be_shown() {
        for headers in [
            "Privacy: id\r\n",
            "Privacy: header;session;critical\r\n",
            "Remote-Party-ID: <sip:333@op>;privacy=full\r\n",
            "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1\r\n",
            "From: <sip:Anonymous@op.example>;tag=1\r\n",
        ] {
            let read = read(&invite(headers), &ALL);
            assert!(read.withheld, "{headers}");
        }
        assert!(!read(&invite("Privacy: none\r\n"), &ALL).withheld);
        let asserted =
            "From: <sip:anonymous@anonymous.invalid>;tag=1\r\nP-Asserted-Identity: <sip:+49301@op>\r\nPrivacy: id\r\n";
        assert_eq!(read(&invite(asserted), &ALL).number, "+49301", "we are told, though nobody else is to be");
    }

    #[test]
    fn who_was_called_first() {
        let diverted = |headers: &str| {
            let read = read(&invite(headers), &ALL);
            (read.diverted_from, read.diversion_reason)
        };
        let two = "Diversion: <sip:+4930222@op>;reason=no-answer;counter=1\r\nDiversion: <sip:+4930111@op>;reason=user-busy\r\n";
        assert_eq!(diverted(two), ("+4930111".into(), "user-busy".into()));
        let history =
            "History-Info: <sip:+4930111@op?Reason=SIP%3Bcause%3D302>;index=1, <sip:100@us>;index=1.1;mp=1\r\n";
        assert_eq!(diverted(history), ("+4930111".into(), String::new()));
        assert_eq!(
            diverted("History-Info: <sip:100@us>;index=1\r\n"),
            Default::default(),
            "it went where it was meant to"
        );
        assert_eq!(diverted(""), Default::default());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let who = NameAddr::parse("\"Robot\" <sip:+4930111@op>").expect("an address");
        let (for_whom, target) = ("sip:+4930999@op".parse().expect("a URI"), "sip:100@us".parse().expect("a URI"));
        let all = Written { asserted: true, preferred: true, remote_party: true, history: true };
        for (privacy, from) in [
            (Privacy::Shown, "\"Robot\" <sip:+4930111@op>"),
            (Privacy::Id, "\"Robot\" <sip:+4930111@op>"),
            (Privacy::Anonymous, "\"Anonymous\" <sip:anonymous@anonymous.invalid>"),
        ] {
            let (shown, headers) = write(&who, privacy, all, Some(&for_whom), &target);
            assert_eq!(shown.to_string(), from);
            let lines: String = headers.iter().map(|(name, value)| format!("{}: {value}\r\n", name.as_str())).collect();
            let request = invite(&format!("From: {shown};tag=1\r\n{lines}"));
            for source in [Source::Asserted, Source::Preferred, Source::RemoteParty] {
                let read = read(&request, &[source]);
                assert_eq!((read.number.as_str(), read.name.as_str()), ("+4930111", "Robot"));
                assert_eq!(read.withheld, privacy != Privacy::Shown);
                assert_eq!(
                    (read.diverted_from.as_str(), read.diversion_reason.as_str()),
                    ("+4930999", "unconditional")
                );
            }
            assert_eq!(request.all(HeaderName::HistoryInfo).count(), 1);
        }
        let (from, headers) = write(&who, Privacy::Shown, Written::default(), None, &target);
        assert_eq!((from, headers), (who, Vec::new()));
    }
}
