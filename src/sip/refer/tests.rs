//! Referrals in virtual time, and what stands in the headers.

use proptest::prelude::*;

use super::*;
use crate::ms::epoch;
use crate::sip::message::NameAddr;
use crate::sip::message::{Message, parse};
use crate::sip::uui::{HandOver, TransferTo};

const MINUTE: Duration = Duration::from_secs(60);

fn headers(list: &[(&str, &str)]) -> ExtraHeaders {
    let list: Vec<_> = list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ExtraHeaders::try_from(list).unwrap()
}

fn refer() -> Refer {
    Refer {
        target: "sip:8001@192.0.2.7:5062;transport=udp".parse().unwrap(),
        replaces: None,
        user_to_user: Vec::new(),
        target_headers: ExtraHeaders::default(),
        referred_by: None,
        subscription: true,
        headers: ExtraHeaders::default(),
        patience: MINUTE,
    }
}

fn request(headers: &str, body: &str) -> Request {
    let text = format!("NOTIFY sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n{headers}\r\n{body}");
    match parse(text.as_bytes()).unwrap() {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a response"),
    }
}

/// `state` as in Subscription-State, `body` as the sipfrag.
fn notify(state: &str, body: &str) -> Notify {
    Notify::read(&request(&format!("Event: refer\r\nSubscription-State: {state}\r\n"), body)).unwrap()
}

fn answered(code: u16, no_subscription: bool) -> Input {
    Input::Answered { code, reason: "x".into(), no_subscription }
}

/// Feeds it and gives what it told.
fn feed(referral: &mut Referral, now: Instant, input: Input) -> Vec<Progress> {
    referral.handle(now, input);
    std::iter::from_fn(|| referral.poll()).collect()
}

/// Lets time pass until something is told; gives how long it took.
fn wait(referral: &mut Referral, mut now: Instant) -> (Duration, Vec<Progress>) {
    let start = now;
    while let Some(at) = referral.deadline() {
        now = at;
        let told = feed(referral, now, Input::Timer);
        if !told.is_empty() {
            return (now - start, told);
        }
    }
    (now - start, Vec::new())
}

fn over(outcome: Outcome) -> Vec<Progress> {
    vec![Progress::Over(outcome)]
}

#[test]
fn notifies_are_followed_to_the_end() {
    let now = epoch();
    for (last, outcome) in [
        ("SIP/2.0 200 OK", Outcome::Transferred { code: 200 }),
        ("SIP/2.0 486 Busy Here", Outcome::Failed { code: 486, reason: "Busy Here".into() }),
        ("SIP/2.0 603", Outcome::Failed { code: 603, reason: "Decline".into() }),
    ] {
        let mut r = Referral::new(7, true, MINUTE);
        assert_eq!(feed(&mut r, now, answered(202, false)), [Progress::Accepted { code: 202 }]);
        let trying = feed(&mut r, now, Input::Notify(notify("active;expires=60", "SIP/2.0 100 Trying\r\n")));
        assert_eq!(trying, [Progress::Trying { code: 100, reason: "Trying".into() }]);
        let ringing = feed(&mut r, now, Input::Notify(notify("active", "SIP/2.0 180 Ringing")));
        assert_eq!(ringing, [Progress::Trying { code: 180, reason: "Ringing".into() }]);
        assert_eq!(feed(&mut r, now, Input::Notify(notify("terminated;reason=noresource", last))), over(outcome));
        // What still comes is answered, and says nothing.
        assert!(r.expects(&notify("terminated", last)) && !r.is_pending() && r.deadline().is_none());
        assert_eq!(feed(&mut r, now, Input::PeerEnded), []);
    }
}

#[test]
fn a_final_status_counts_in_an_active_subscription_and_without_a_state() {
    let now = epoch();
    for state in ["Event: refer\r\nSubscription-State: active\r\n", "o: refer;id=7\r\n"] {
        let mut r = Referral::new(7, true, MINUTE);
        feed(&mut r, now, answered(200, false));
        let notify = Notify::read(&request(state, "SIP/2.0 200 OK\r\nTo: <sip:x@y>\r\n")).unwrap();
        assert_eq!(feed(&mut r, now, Input::Notify(notify)), over(Outcome::Transferred { code: 200 }));
    }
}

#[test]
fn a_notify_may_overtake_the_202() {
    let now = epoch();
    let mut r = Referral::new(7, true, MINUTE);
    let trying = feed(&mut r, now, Input::Notify(notify("active", "SIP/2.0 100 Trying")));
    assert_eq!(trying, [Progress::Trying { code: 100, reason: "Trying".into() }]);
    assert_eq!(feed(&mut r, now, answered(202, false)), [Progress::Accepted { code: 202 }]);
    // The wait for the first NOTIFY is over; that for the last word counts from the first sign of consent.
    assert_eq!(wait(&mut r, now), (MINUTE, over(Outcome::TimedOut)));
    // Of a REFER whose 202 never comes the NOTIFYs say enough.
    let mut r = Referral::new(7, true, MINUTE);
    feed(&mut r, now, Input::Notify(notify("active", "SIP/2.0 100 Trying")));
    assert_eq!(feed(&mut r, now, answered(408, false)), []);
    let done = feed(&mut r, now, Input::Notify(notify("terminated", "SIP/2.0 200 OK")));
    assert_eq!(done, over(Outcome::Transferred { code: 200 }));
}

#[test]
fn refusals_are_typed() {
    let now = epoch();
    for code in [302, 403, 405, 481, 488, 501, 503, 603] {
        let mut r = Referral::new(7, true, MINUTE);
        assert_eq!(feed(&mut r, now, answered(code, false)), over(Outcome::Refused { code, reason: "x".into() }));
        assert_eq!(r.deadline(), None);
    }
    let mut r = Referral::new(7, true, MINUTE);
    assert_eq!(feed(&mut r, now, answered(408, false)), over(Outcome::TimedOut));
    let mut r = Referral::new(7, true, MINUTE);
    feed(&mut r, now, answered(202, false));
    let rejected = feed(&mut r, now, Input::Notify(notify("terminated;reason=rejected", "")));
    assert!(matches!(rejected[..], [Progress::Over(Outcome::Failed { code: 603, .. })]), "{rejected:?}");
}

#[test]
fn without_a_notify_time_is_up_after_timer_n() {
    let now = epoch();
    let mut r = Referral::new(7, true, MINUTE);
    feed(&mut r, now, answered(202, false));
    assert_eq!(wait(&mut r, now), (Duration::from_secs(32), over(Outcome::TimedOut)));
    // And a late one gets 481, which ends the subscription.
    assert!(!r.expects(&notify("active", "SIP/2.0 100 Trying")));
    // The order's own patience may be shorter.
    let mut r = Referral::new(7, true, Duration::from_secs(5));
    feed(&mut r, now, answered(202, false));
    assert_eq!(wait(&mut r, now), (Duration::from_secs(5), over(Outcome::TimedOut)));
}

#[test]
fn a_peer_that_hangs_up_after_its_consent_has_what_it_wanted() {
    let now = epoch();
    let mut r = Referral::new(7, true, MINUTE);
    feed(&mut r, now, answered(202, false));
    assert_eq!(feed(&mut r, now, Input::PeerEnded), over(Outcome::EndedByPeer));
    let mut r = Referral::new(7, true, MINUTE);
    feed(&mut r, now, Input::Notify(notify("active", "SIP/2.0 100 Trying")));
    assert_eq!(feed(&mut r, now, Input::PeerEnded), over(Outcome::EndedByPeer));
    // Before it, it has hung up on us.
    let mut r = Referral::new(7, true, MINUTE);
    assert_eq!(feed(&mut r, now, Input::PeerEnded), over(Outcome::CallEnded));
    let mut r = Referral::new(7, true, MINUTE);
    feed(&mut r, now, answered(202, false));
    assert_eq!(feed(&mut r, now, Input::CallEnded), over(Outcome::CallEnded));
}

#[test]
fn a_subscription_that_ends_without_a_result_leaves_time_for_a_bye() {
    let now = epoch();
    let mut r = Referral::new(7, true, MINUTE);
    feed(&mut r, now, answered(202, false));
    let last = notify("terminated;reason=noresource", "SIP/2.0 100 Trying");
    assert_eq!(feed(&mut r, now, Input::Notify(last.clone())), []);
    assert_eq!(feed(&mut r, now, Input::PeerEnded), over(Outcome::EndedByPeer));
    let mut r = Referral::new(7, true, MINUTE);
    feed(&mut r, now, answered(202, false));
    feed(&mut r, now, Input::Notify(last));
    assert_eq!(wait(&mut r, now), (Duration::from_secs(4), over(Outcome::TimedOut)));
}

#[test]
fn norefersub_ends_with_the_consent() {
    let now = epoch();
    let mut r = Referral::new(7, false, MINUTE);
    let told = feed(&mut r, now, answered(202, true));
    assert_eq!(told, [Progress::Accepted { code: 202 }, Progress::Over(Outcome::Accepted { code: 202 })]);
    // One who does not know Refer-Sub notifies all the same, and is heard.
    let mut r = Referral::new(7, false, MINUTE);
    assert_eq!(feed(&mut r, now, answered(202, false)), [Progress::Accepted { code: 202 }]);
    let failed = feed(&mut r, now, Input::Notify(notify("terminated", "SIP/2.0 404 Not Found")));
    assert_eq!(failed, over(Outcome::Failed { code: 404, reason: "Not Found".into() }));
    // Or does not, and has consented.
    let mut r = Referral::new(7, false, MINUTE);
    feed(&mut r, now, answered(202, false));
    assert_eq!(wait(&mut r, now), (Duration::from_secs(32), over(Outcome::Accepted { code: 202 })));
}

#[test]
fn a_notify_belongs_to_the_refer_that_it_names() {
    let with = |id: &str| Notify::read(&request(&format!("Event: refer{id}\r\n"), "SIP/2.0 100 Trying")).unwrap();
    let mut r = Referral::new(7, true, MINUTE);
    r.handle(epoch(), Input::SentAgain { cseq: 9 });
    assert!(r.expects(&with("")) && r.expects(&with(";id=7")) && r.expects(&with("; id=9")));
    assert!(!r.expects(&with(";id=8")) && !r.expects(&with(";id=x")));
}

#[test]
fn what_is_no_notify_of_ours_is_told_so() {
    let code = |headers: &str, body: &str| Notify::read(&request(headers, body)).map_err(|fault| fault.code);
    assert_eq!(code("", ""), Err(489));
    assert_eq!(code("Event: message-summary\r\n", ""), Err(489));
    assert_eq!(code("Event: refer\r\nContent-Type: text/plain\r\n", "hello"), Err(415));
    assert!(code("Event: REFER\r\nContent-Type: Message/SIPfrag;version=2.0\r\n", "SIP/2.0 100 Trying").is_ok());
    for nonsense in ["", "SIP/2.0", "SIP/2.0 abc", "SIP/2.0 99 x", "SIP/2.0 700 x", "HTTP/1.1 200 OK", "\u{0}"] {
        assert_eq!(
            code("Event: refer\r\nSubscription-State: active\r\n", nonsense).unwrap().status,
            None,
            "{nonsense}"
        );
    }
}

#[test]
fn what_the_target_is_to_get_stands_escaped_in_refer_to() {
    let context = HandOver {
        session_id: "7".into(),
        to: TransferTo::Number,
        value: String::new(),
        intent: "?".into(),
        address: String::new(),
        more: Vec::new(),
    };
    let mut refer = refer();
    assert_eq!(refer.refer_to(), "<sip:8001@192.0.2.7:5062;transport=udp>");
    refer.replaces = Replaces::parse("a@b;to-tag=1;from-tag=2");
    refer.user_to_user = vec![Uui::hex(&[4, 0xff]).unwrap(), Uui::hand_over(&context).unwrap()];
    refer.target_headers = headers(&[("X-Task", "a&b=c d+\u{e4}"), ("Subject", "<sip:x>;\"y\"")]);
    let value = refer.refer_to();
    assert!(value.starts_with(
        "<sip:8001@192.0.2.7:5062;transport=udp?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2&User-to-User=04ff%3Bencoding%3Dhex&User-to-User="
    ));
    assert!(value.ends_with("&X-Task=a%26b%3Dc%20d%2B%C3%A4&Subject=%3Csip%3Ax%3E%3B%22y%22>"), "{value}");
    // It reads as one URI, and a Request-URI made of it has none of this.
    let uri = NameAddr::parse(&value).unwrap().uri;
    assert_eq!(uri.without_headers(), "sip:8001@192.0.2.7:5062;transport=udp");
    refer.referred_by = Some("sip:4000@192.0.2.1?X=y".parse().unwrap());
    assert_eq!(refer.referred_by().unwrap(), "<sip:4000@192.0.2.1>");
}

#[test]
fn whom_a_call_may_be_referred_to() {
    let at = |text: &str| ReferTarget::parse(text).map(|target| target.at("192.0.2.9").unwrap().to_string());
    assert_eq!(at("+49301").unwrap(), "sip:+49301@192.0.2.9");
    assert_eq!(at("#1 2").unwrap_err(), TargetError::Character);
    assert_eq!(at("#12").unwrap(), "sip:%2312@192.0.2.9");
    assert_eq!(at("8001@h:5062").unwrap(), "sip:8001@h:5062");
    assert_eq!(at("SIPS:8001@h").unwrap(), "SIPS:8001@h");
    assert_eq!(at("tel:+4930").unwrap(), "tel:+4930");
    assert_eq!(at("").unwrap_err(), TargetError::Empty);
    assert_eq!(at(&"1".repeat(257)).unwrap_err(), TargetError::TooLong);
    assert_eq!(at("http:8001").unwrap_err(), TargetError::Scheme("http".into()));
    assert_eq!(at("8001@").unwrap_err(), TargetError::Uri(UriError::Host));
    for evil in ["sip:a@b?Route=%3Csip:evil%3E", "sip:a@b;method=BYE", "a@b;METHOD=bye", "a@b?Replaces=x"] {
        assert_eq!(at(evil).unwrap_err(), TargetError::Headers, "{evil}");
    }
    for evil in ["sip:a@b>\r\nVia: x", "sip:a@b\r\nVia:x", "a>,<sip:b@c", "\"a\"@b", "a\0@b"] {
        assert_eq!(at(evil).unwrap_err(), TargetError::Character, "{evil}");
    }
    assert!(ReferTarget::parse("8001").unwrap().takes_headers());
    assert!(!ReferTarget::parse("tel:8001").unwrap().takes_headers());
}

#[test]
fn replaces_names_one_dialog() {
    let whole = Replaces::parse(" 98asjd8@h ; from-tag=fdf ;to-tag=gh;early-only;x=1").unwrap();
    assert_eq!(whole.to_string(), "98asjd8@h;to-tag=gh;from-tag=fdf;early-only");
    for wrong in ["", "a", "a;to-tag=1", "a;from-tag=1", "a;to-tag=1;to-tag=2;from-tag=3", ";to-tag=1;from-tag=2"] {
        assert_eq!(Replaces::parse(wrong), None, "{wrong}");
    }
    let of = |headers: &str| Replaces::of(&request(headers, "")).map_err(|fault| fault.code);
    assert_eq!(of(""), Ok(None));
    assert_eq!(of("Replaces: a;to-tag=1;from-tag=2\r\nReplaces: b;to-tag=1;from-tag=2\r\n"), Err(400));
    assert_eq!(of("Replaces: a;to-tag=1;from-tag=2\r\nJoin: b;to-tag=1;from-tag=2\r\n"), Err(400));
    assert_eq!(of("Replaces: a;to-tag=1\r\n"), Err(400));
    assert_eq!(of("replaces: a;to-tag=1;from-tag=2\r\n").unwrap().unwrap().call_id, "a");
}

#[test]
fn a_refer_to_us_names_one_target() {
    let asked = |headers: &str| asked_for(&request(headers, "")).map_err(|fault| fault.code);
    assert_eq!(asked("r: <sip:x@y?Replaces=z>\r\n").unwrap().as_str(), "sip:x@y?Replaces=z");
    for wrong in ["", "Refer-To: <sip:x@y>, <sip:z@y>\r\n", "Refer-To: <sip:x@y>\r\nr: <sip:z@y>\r\n", "r: \"x\r\n"] {
        assert_eq!(asked(wrong), Err(400), "{wrong}");
    }
}

proptest! {
    #[test]
    fn refer_to_holds_what_was_put_in(value in "[^\\p{Cc}]{1,60}", user in "[^\\p{Cc}\\s<>\",:@]{1,20}") {
        let target = ReferTarget::parse(&user).unwrap().at("h.example").unwrap();
        let refer = Refer { target, target_headers: headers(&[("X-A", &value)]), ..refer() };
        let text = refer.refer_to();
        let uri = NameAddr::parse(&text).unwrap().uri;
        prop_assert_eq!(uri.user_text().unwrap(), user);
        let (name, written) = uri.as_str().rsplit_once('?').unwrap().1.split_once('=').unwrap();
        // The user part is unescaped by the same rule as a header of the URI.
        let read = Uri::parse(&format!("sip:{written}@h")).unwrap().user_text().unwrap();
        prop_assert_eq!((name, read), ("X-A", value));
    }

    #[test]
    fn no_notify_makes_it_panic_and_it_ends_once(
        steps in proptest::collection::vec((0u8..8, 0u64..40), 1..20), subscription: bool
    ) {
        let (mut now, mut r) = (epoch(), Referral::new(7, subscription, MINUTE));
        let mut told = Vec::new();
        for (step, seconds) in steps {
            now += Duration::from_secs(seconds);
            told.extend(feed(&mut r, now, Input::Timer));
            let input = match step {
                0 => answered(202, false),
                1 => answered(202, true),
                2 => answered(603, false),
                3 => Input::Notify(notify("active", "SIP/2.0 180 Ringing")),
                4 => Input::Notify(notify("terminated", "SIP/2.0 200 OK")),
                5 => Input::Notify(notify("terminated", "")),
                6 => Input::PeerEnded,
                _ => Input::SentAgain { cseq: 8 },
            };
            told.extend(feed(&mut r, now, input));
        }
        told.extend(feed(&mut r, now, Input::CallEnded));
        let ends: Vec<_> = told.iter().map(|progress| matches!(progress, Progress::Over(_))).collect();
        prop_assert_eq!(ends.iter().filter(|end| **end).count(), 1);
        prop_assert_eq!((ends.last(), r.deadline()), (Some(&true), None));
    }
}
