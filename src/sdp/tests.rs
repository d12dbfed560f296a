//! Offers, answers and what is agreed.

use proptest::prelude::*;

use super::*;

fn negotiator() -> Negotiator {
    Negotiator::new(7, "192.0.2.1:4000".parse().unwrap(), Capabilities::default())
}

fn offer(lines: &[&str]) -> Vec<u8> {
    let head = ["v=0", "o=- 1 1 IN IP4 198.51.100.1", "s=-", "c=IN IP4 198.51.100.1", "t=0 0"];
    head.iter().chain(lines).map(|line| format!("{line}\r\n")).collect::<String>().into_bytes()
}

fn answered(lines: &[&str]) -> Result<(Description, Negotiated), NegotiationError> {
    negotiator().answer(&offer(lines)).map(|(sdp, negotiated)| (parse(&sdp).unwrap(), negotiated))
}

#[test]
fn our_offer() {
    let sdp = String::from_utf8(negotiator().offer(Direction::SendRecv)).unwrap();
    assert_eq!(
        sdp,
        "v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
    );
}

#[test]
fn static_types_need_no_rtpmap() {
    let (sdp, agreed) =
        answered(&["m=audio 5000 RTP/AVP 18 0 8 96", "a=rtpmap:96 telephone-event/8000", "a=ptime:30"]).unwrap();
    assert_eq!((agreed.codec, agreed.payload_type, agreed.telephone_event), (AudioFormat::Pcmu, 0, Some(96)));
    assert_eq!((agreed.ptime_ms, agreed.sends, agreed.receives), (30, true, true));
    assert_eq!(agreed.remote, "198.51.100.1:5000".parse().unwrap());
    assert_eq!(agreed.rtcp, "198.51.100.1:5001".parse().unwrap());
    assert_eq!(sdp.media[0].formats, ["0", "96"]);
    assert_eq!(sdp.media[0].port, 4000);
}

#[test]
fn dynamic_types_go_by_rtpmap() {
    let (sdp, agreed) = answered(&[
        "m=audio 5000 RTP/AVP 0 97",
        "a=rtpmap:0 G729/8000",
        "a=rtpmap:97 pcma/8000/1",
        "a=rtcp:9 IN IP4 198.51.100.9",
    ])
    .unwrap();
    assert_eq!((agreed.codec, agreed.payload_type), (AudioFormat::Pcma, 97));
    assert_eq!(agreed.rtcp, "198.51.100.9:9".parse().unwrap());
    assert_eq!(sdp.media[0].rtpmap(97), Some(("PCMA", 8000)));
    // telephone-event at another clock rate is not ours.
    let wide = answered(&["m=audio 5000 RTP/AVP 8 99", "a=rtpmap:99 telephone-event/16000"]).unwrap();
    assert_eq!(wide.1.telephone_event, None);
}

#[test]
fn other_streams_are_refused_in_their_place() {
    let (sdp, _) = answered(&[
        "m=video 6000 RTP/AVP 31",
        "c=IN IP6 ::1",
        "m=audio 0 RTP/AVP 8",
        "m=audio 5000 RTP/AVP 8",
        "c=IN IP6 2001:db8::5",
        "m=image 7 udptl t38",
        "m=audio 5002 RTP/AVP 0",
    ])
    .unwrap();
    let ports: Vec<_> = sdp.media.iter().map(|m| (m.kind.as_str(), m.port)).collect();
    assert_eq!(ports, [("video", 0), ("audio", 0), ("audio", 4000), ("image", 0), ("audio", 0)]);
    assert_eq!(sdp.media[3].formats, ["t38"]);
}

#[test]
fn directions_are_mirrored_and_holds_are_kept() {
    for (theirs, ours, sends, receives) in [
        ("a=sendrecv", Direction::SendRecv, true, true),
        ("a=sendonly", Direction::RecvOnly, false, true),
        ("a=recvonly", Direction::SendOnly, true, false),
        ("a=inactive", Direction::Inactive, false, false),
    ] {
        let (sdp, agreed) = answered(&["m=audio 5000 RTP/AVP 8", theirs]).unwrap();
        assert_eq!((sdp.direction(&sdp.media[0]), agreed.sends, agreed.receives), (ours, sends, receives));
        // At session level too.
        let (_, agreed) = answered(&[theirs, "m=audio 5000 RTP/AVP 8"]).unwrap();
        assert_eq!((agreed.sends, agreed.receives), (sends, receives));
    }
    let (sdp, agreed) = answered(&["m=audio 5000 RTP/AVP 8", "c=IN IP4 0.0.0.0"]).unwrap();
    assert_eq!((sdp.direction(&sdp.media[0]), agreed.sends), (Direction::RecvOnly, false));
}

#[test]
fn a_hold_of_ours_outlasts_what_they_offer_meanwhile() {
    let mut ours = negotiator();
    ours.answer(&offer(&["m=audio 5000 RTP/AVP 8"])).unwrap();
    let held = parse(&ours.offer(Direction::SendOnly)).unwrap();
    assert_eq!((held.direction(&held.media[0]), held.origin.version.as_str()), (Direction::SendOnly, "2"));
    let agreed = ours.accept(&offer(&["m=audio 5000 RTP/AVP 8", "a=recvonly"])).unwrap();
    assert_eq!((agreed.sends, agreed.receives), (true, false));
    let (sdp, agreed) = ours.answer(&offer(&["m=audio 5002 RTP/AVP 8", "a=sendrecv"])).unwrap();
    let sdp = parse(&sdp).unwrap();
    assert_eq!((sdp.direction(&sdp.media[0]), agreed.sends, agreed.receives), (Direction::SendOnly, true, false));
    let resumed = parse(&ours.offer(Direction::SendRecv)).unwrap();
    assert_eq!(resumed.direction(&resumed.media[0]), Direction::SendRecv);
}

#[test]
fn an_offer_that_changes_nothing_says_what_was_said_last() {
    let mut ours = negotiator();
    let (answer, _) = ours.answer(&offer(&["m=audio 5000 RTP/AVP 0"])).unwrap();
    assert_eq!(ours.offer_again(), answer);
    assert_eq!(ours.accept(&offer(&["m=audio 5004 RTP/AVP 0"])).unwrap().remote.port(), 5004);
    assert_eq!(negotiator().offer_again(), negotiator().offer(Direction::SendRecv));
}

#[test]
fn a_refused_offer_leaves_what_was_agreed_and_uses_its_number_up() {
    let mut ours = negotiator();
    let (answer, _) = ours.answer(&offer(&["m=audio 5000 RTP/AVP 0"])).unwrap();
    ours.offer(Direction::SendOnly);
    ours.withdraw();
    let again = String::from_utf8(ours.offer_again()).unwrap();
    assert_eq!(again, String::from_utf8(answer).unwrap().replace("o=- 7 1", "o=- 7 3"));
    // One that changed nothing needs no number of its own.
    ours.withdraw();
    assert_eq!(String::from_utf8(ours.offer_again()).unwrap(), again);
    // Theirs is answered as if ours had not been.
    let (_, agreed) = ours.answer(&offer(&["m=audio 5000 RTP/AVP 0"])).unwrap();
    assert!(agreed.sends && agreed.receives);
    ours.withdraw();
}

#[test]
fn a_refused_offer_takes_nothing_back_that_an_answered_one_has_agreed() {
    let mut ours = negotiator();
    ours.answer(&offer(&["m=audio 5000 RTP/AVP 8"])).unwrap();
    ours.offer(Direction::SendOnly);
    ours.accept(&offer(&["m=audio 5000 RTP/AVP 8", "a=recvonly"])).unwrap();
    assert!(ours.holds());
    // Asked for twice, because of a glare.
    ours.offer(Direction::SendRecv);
    ours.offer(Direction::SendRecv);
    ours.withdraw();
    assert!(ours.holds());
    let again = parse(&ours.offer_again()).unwrap();
    assert_eq!(again.direction(&again.media[0]), Direction::SendOnly);
}

#[test]
fn failures_are_named() {
    for (lines, error) in [
        (&["m=video 5000 RTP/AVP 31"][..], NegotiationError::NoAudio),
        (&[], NegotiationError::NoAudio),
        (&["m=audio 0 RTP/AVP 8"], NegotiationError::NoAudio),
        (&["m=audio 5000 RTP/SAVP 8"], NegotiationError::Transport),
        (&["m=audio 5000 RTP/AVP 18 9"], NegotiationError::NoCommonFormat),
        (&["m=audio 5000 RTP/AVP 8", "c=IN IP4 pbx.example.com"], NegotiationError::Address),
        (&["m=audio RTP/AVP 8"], NegotiationError::Unreadable(SdpError::Media)),
        (&["m=audio 5000 RTP/AVP 8", "c=IN IPX 1"], NegotiationError::Unreadable(SdpError::Connection)),
        (&["garbage"], NegotiationError::Unreadable(SdpError::Line)),
    ] {
        assert_eq!(answered(lines).unwrap_err(), error);
        assert_eq!(error.status(), 488);
    }
    assert_eq!(negotiator().answer(b"hello"), Err(NegotiationError::Unreadable(SdpError::Version)));
}

#[test]
fn answers_to_our_offer() {
    let mut ours = negotiator();
    let early = offer(&["m=audio 5000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000", "a=rtcp-mux"]);
    assert_eq!(ours.accept(&early), Err(NegotiationError::Shape));
    ours.offer(Direction::SendRecv);
    let agreed = ours.accept(&early).unwrap();
    assert_eq!((agreed.codec, agreed.telephone_event, agreed.rtcp_mux), (AudioFormat::Pcmu, Some(101), false));
    assert_eq!(agreed.rtcp.port(), 5001);
    let last = offer(&["m=audio 5002 RTP/AVP 8"]);
    assert_eq!(ours.accept(&last).unwrap().remote.port(), 5002);
    assert_eq!(ours.accept(&offer(&["m=audio 0 RTP/AVP 8"])), Err(NegotiationError::NoAudio));
    let two = offer(&["m=audio 1 RTP/AVP 8", "m=video 2 RTP/AVP 31"]);
    assert_eq!(ours.accept(&two), Err(NegotiationError::Shape));
}

#[test]
fn the_version_rises_only_with_a_change() {
    let mut ours = negotiator();
    let version = |sdp: &[u8]| parse(sdp).unwrap().origin.version;
    let same = offer(&["m=audio 5000 RTP/AVP 8", "m=video 1 RTP/AVP 31"]);
    assert_eq!(version(&ours.answer(&same).unwrap().0), "1");
    assert_eq!(version(&ours.answer(&same).unwrap().0), "1");
    let held = offer(&["m=audio 5000 RTP/AVP 8", "a=sendonly", "m=video 1 RTP/AVP 31"]);
    assert_eq!(version(&ours.answer(&held).unwrap().0), "2");
    // §8: our own later offer keeps the refused stream in its place.
    let again = parse(&ours.offer(Direction::SendRecv)).unwrap();
    assert_eq!(again.origin.version, "3");
    assert_eq!(again.media.iter().map(|m| m.port).collect::<Vec<_>>(), [4000, 0]);
}

#[test]
fn rtcp_mux_is_accepted_when_offered() {
    let (sdp, agreed) = answered(&["m=audio 5000 RTP/AVP 8", "a=rtcp-mux"]).unwrap();
    assert!(agreed.rtcp_mux && sdp.media[0].has("rtcp-mux"));
    assert_eq!(agreed.rtcp, agreed.remote);
    let alone = Capabilities { rtcp_mux: Willing::Off, ..Capabilities::default() };
    let mut ours = Negotiator::new(7, "192.0.2.1:4000".parse().unwrap(), alone);
    let (_, agreed) = ours.answer(&offer(&["m=audio 5000 RTP/AVP 8", "a=rtcp-mux"])).unwrap();
    assert_eq!((agreed.rtcp_mux, agreed.rtcp.port()), (false, 5001));
}

#[test]
fn rtcp_mux_and_extended_reports_are_offered_when_we_are_told_to() {
    let eager = Capabilities { rtcp_mux: Willing::Offer, rtcp_xr: Willing::Offer, ..Capabilities::default() };
    let mut ours = Negotiator::new(7, "192.0.2.1:4000".parse().unwrap(), eager);
    let said = |sdp: &[u8]| {
        let sdp = parse(sdp).unwrap();
        (sdp.media[0].has("rtcp-mux"), sdp.media[0].attribute("rtcp-xr").map(str::to_owned))
    };
    let both = (true, Some("voip-metrics".to_owned()));
    assert_eq!(said(&ours.offer(Direction::SendRecv)), both);
    let neither = ours.accept(&offer(&["m=audio 5000 RTP/AVP 8"])).unwrap();
    assert_eq!((neither.rtcp_mux, neither.rtcp.port(), neither.rtcp_xr), (false, 5001, false));
    let accepted = offer(&["m=audio 5000 RTP/AVP 8", "a=rtcp-mux", "a=rtcp-xr:rcvr-rtt=all voip-metrics"]);
    let agreed = ours.accept(&accepted).unwrap();
    assert_eq!((agreed.rtcp_mux, agreed.rtcp, agreed.rtcp_xr), (true, agreed.remote, true));
    assert_eq!(said(&ours.offer(Direction::SendOnly)), both, "a hold changes nothing in it");
}

#[test]
fn what_was_agreed_goes_on_whoever_offered_it() {
    let mut ours = negotiator();
    let lines = ["m=audio 5000 RTP/AVP 8", "a=rtcp-mux", "a=rtcp-xr:voip-metrics"];
    let (sdp, agreed) = ours.answer(&offer(&lines)).unwrap();
    let has = |sdp: &[u8]| {
        let sdp = parse(sdp).unwrap();
        (sdp.media[0].has("rtcp-mux"), sdp.media[0].has("rtcp-xr"))
    };
    assert_eq!((agreed.rtcp_mux, agreed.rtcp_xr, has(&sdp)), (true, true, (true, true)));
    assert_eq!(has(&ours.offer(Direction::SendOnly)), (true, true), "we hold");
    assert!(ours.accept(&offer(&lines)).unwrap().rtcp_mux);
    // The far side offers anew, without.
    let (sdp, agreed) = ours.answer(&offer(&lines[..1])).unwrap();
    assert_eq!((agreed.rtcp_mux, agreed.rtcp.port(), agreed.rtcp_xr), (false, 5001, false));
    assert_eq!(has(&sdp), (false, false));
    assert_eq!(has(&ours.offer(Direction::SendRecv)), (false, false));
    let shy = Capabilities { rtcp_xr: Willing::Off, ..Capabilities::default() };
    let mut ours = Negotiator::new(7, "192.0.2.1:4000".parse().unwrap(), shy);
    assert_eq!(has(&ours.answer(&offer(&lines)).unwrap().0), (true, false));
}

#[test]
fn goodwill() {
    let text = b"v=0\no=The User 1 2 IN IP4 host.example\ni=x\nb=AS:64\nt=0 0 \nk=y\nm=audio 5000/2 RTP/AVP 8 \nc=IN IP4 224.2.1.1/127/3\na=x\xff:y\n";
    let sdp = parse(text).unwrap();
    assert_eq!(sdp.origin.username, "The-User");
    assert_eq!(sdp.origin.connection, Connection::Name("host.example".into(), false));
    assert_eq!(sdp.media[0].connection, Some(Connection::Ip("224.2.1.1".parse().unwrap())));
    assert_eq!(sdp.media[0].port, 5000);
    assert!(parse(b"v=0\r\nc=IN IP6 [2001:db8::1]\r\n").unwrap().connection.is_some());
    assert_eq!(parse(&vec![b'v'; MAX_BYTES + 1]), Err(SdpError::TooLarge));
    assert_eq!(parse(&[b"v=0\n".to_vec(), b"m=audio 1 x\n".repeat(33)].concat()), Err(SdpError::TooLarge));
}

fn word() -> impl Strategy<Value = String> {
    "[A-Za-z0-9/.+-]{1,10}"
}

fn connection() -> impl Strategy<Value = Connection> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| Connection::Ip(std::net::IpAddr::from(ip))),
        any::<[u8; 16]>().prop_map(|ip| Connection::Ip(std::net::IpAddr::from(ip))),
        ("[g-z]{1,8}\\.example", any::<bool>()).prop_map(|(name, six)| Connection::Name(name, six)),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<Attribute>> {
    let value = "[!-~]([ -~]{0,20}[!-~])?";
    let one = ("[a-z-]{1,10}", proptest::option::of(value)).prop_map(|(name, value)| Attribute { name, value });
    proptest::collection::vec(one, 0..5)
}

prop_compose! {
    fn media()(
        kind in "[a-z]{1,6}", port in any::<u16>(), protocol in word(),
        formats in proptest::collection::vec(word(), 0..4),
        connection in proptest::option::of(connection()), attributes in attributes(),
    ) -> Media {
        Media { kind, port, protocol, formats, connection, attributes }
    }
}

prop_compose! {
    fn description()(
        username in "[a-z-]{1,6}", session_id in "[0-9]{1,20}", version in "[0-9]{1,20}", at in connection(),
        name in "[!-~]([ -~]{0,20}[!-~])?", connection in proptest::option::of(connection()),
        attributes in attributes(), media in proptest::collection::vec(media(), 0..4),
    ) -> Description {
        let origin = Origin { username, session_id, version, connection: at };
        Description { origin, name, connection, timing: "0 0".into(), attributes, media }
    }
}

#[test]
fn an_address_of_nothing_but_blanks_is_refused() {
    let with = |address: &str| parse(format!("v=0\r\nc=IN IP4 {address}/127\r\n").as_bytes());
    assert_eq!(with("\u{b}"), Err(SdpError::Connection));
    assert_eq!(with("\u{a0}"), Err(SdpError::Connection));
    assert_eq!(with("192.0.2.1\u{b}").unwrap().connection, Some(Connection::Ip([192, 0, 2, 1].into())));
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(description in description()) {
        prop_assert_eq!(parse(&description.write()), Ok(description));
    }

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut ours = negotiator();
        let _ = (ours.answer(&bytes), ours.offer(Direction::SendRecv), ours.accept(&bytes));
    }

    #[test]
    fn no_mutation_panics(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10)) {
        let mut bytes = offer(&["a=sendonly", "m=audio 5000/1 RTP/AVP 0 8 96", "c=IN IP6 ::1/1", "a=rtpmap:96 telephone-event/8000",
            "a=ptime:20", "a=maxptime:10", "a=rtcp:1 IN IP4 1.2.3.4", "m=video 1 RTP/AVP 31"]);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut ours = negotiator();
        if let Ok((answer, agreed)) = ours.answer(&bytes) {
            prop_assert!(parse(&answer).is_ok());
            prop_assert!(agreed.remote.port() != 0);
        }
        ours.offer(Direction::SendRecv);
        let _ = ours.accept(&bytes);
    }
}
