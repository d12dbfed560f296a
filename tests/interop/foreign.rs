//! Peers as others write them: Asterisk's chan_pjsip, clients of pjsip, sipsak, old gateways. Each oddity that is seen of them is sent
//! by hand, and each answer looked at.

use tokio::net::UdpSocket;
use trunkline::sdp::{Direction, parse as parse_sdp};
use trunkline::sip::message::{HeaderName, Response};

use crate::rig::{PATIENCE, Peer, Rig, SDP, Setup};

const ANSWERED: &str = "[[inbound]]\ncallee = \"100\"\ndialogue = \"none\"\nspeech = \"none\"\n";

async fn rig() -> (Rig, Peer) {
    let rig = Rig::start(Setup { trunk: ANSWERED, ..Setup::default() }).await;
    let peer = Peer::bind(&rig, "127.0.0.1", 0).await;
    (rig, peer)
}

/// A request by hand. `lines` replace the usual headers of the same name, or come in addition; each has its line break.
fn request(peer: &Peer, method: &str, uri: &str, call_id: &str, lines: &str, body: &str) -> String {
    let at = peer.at();
    let usual = [
        ("Via", format!("SIP/2.0/UDP {at};branch=z9hG4bK-{call_id}-{method};rport")),
        ("From", "<sip:200@pbx.example>;tag=f".to_owned()),
        ("To", "<sip:100@127.0.0.1>".to_owned()),
        ("Call-ID", call_id.to_owned()),
        ("CSeq", format!("1 {method}")),
        ("Contact", format!("<sip:200@{at}>")),
        ("Max-Forwards", "70".to_owned()),
    ];
    let compact = |name: &str| match name {
        "Call-ID" => "i",
        "Contact" => "m",
        "Via" => "v",
        "From" => "f",
        "To" => "t",
        _ => "none",
    };
    let given = |name: &str| {
        let names = lines.lines().filter_map(|line| line.split_once(':')).map(|(given, _)| given.trim());
        names.into_iter().any(|given| [name, compact(name)].iter().any(|known| given.eq_ignore_ascii_case(known)))
    };
    let usual = usual.into_iter().filter(|(name, _)| !given(name)).map(|(name, value)| format!("{name}: {value}\r\n"));
    format!(
        "{method} {uri} SIP/2.0\r\n{}{lines}Content-Length: {}\r\n\r\n{body}",
        usual.collect::<String>(),
        body.len()
    )
}

/// The answer to it.
async fn asked(peer: &Peer, method: &str, uri: &str, call_id: &str, lines: &str) -> Response {
    peer.send(request(peer, method, uri, call_id, lines, "").as_bytes()).await;
    let response = peer.response().await;
    assert_eq!(response.call_id(), Ok(call_id), "{response:?}");
    response
}

/// Calls, and acknowledges what comes of it.
async fn called(peer: &Peer, uri: &str, call_id: &str, lines: &str, body: &str) -> Response {
    peer.send(request(peer, "INVITE", uri, call_id, lines, body).as_bytes()).await;
    let response = peer.response().await;
    assert_eq!(response.call_id(), Ok(call_id), "{response:?}");
    let to = format!("To: {}\r\nCSeq: 1 ACK\r\n", response.to().expect("one"));
    // To a refusal by its own branch, to a 2xx by another one.
    let branch = if response.code() < 300 { "ACK" } else { "INVITE" };
    let via = format!("Via: SIP/2.0/UDP {};branch=z9hG4bK-{call_id}-{branch};rport\r\n", peer.at());
    peer.send(request(peer, "ACK", uri, call_id, &(to + &via), "").as_bytes()).await;
    response
}

/// A request within a call that [`called`] began, and its answer.
async fn within(peer: &Peer, answer: &Response, method: &str, cseq: u32, lines: &str, body: &str) -> Response {
    let call_id = answer.call_id().expect("one").to_owned();
    let more = format!(
        "To: {}\r\nCSeq: {cseq} {method}\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-{call_id}-{cseq}\r\n{lines}",
        answer.to().expect("one"),
        peer.at()
    );
    let uri = answer.contact().expect("right").expect("one").uri;
    peer.send(request(peer, method, uri.as_str(), &call_id, &more, body).as_bytes()).await;
    let response = peer.response().await;
    if method == "INVITE" {
        let ack = more.replace(&format!("{cseq} INVITE"), &format!("{cseq} ACK"));
        let fresh = ack.replace(&format!("{call_id}-{cseq}"), &format!("{call_id}-{cseq}-ack"));
        let ack = if response.code() < 300 { fresh } else { ack };
        let no_body: String =
            ack.lines().filter(|l| !l.starts_with("Content-Type")).map(|l| format!("{l}\r\n")).collect();
        // Where we had to offer, it brings the answer.
        let (ack, body) = match body.is_empty() && response.code() < 300 {
            true => (no_body + "Content-Type: application/sdp\r\n", SDP),
            false => (no_body, ""),
        };
        peer.send(request(peer, "ACK", uri.as_str(), &call_id, &ack, body).as_bytes()).await;
    }
    response
}

async fn hung_up(peer: &Peer, answer: &Response, cseq: u32) {
    assert_eq!(within(peer, answer, "BYE", cseq, "", "").await.code(), 200);
}

const OFFERED: &str = "Content-Type: application/sdp\r\n";

fn sdp(lines: &[&str]) -> String {
    let head = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"];
    head.iter().chain(lines).map(|line| format!("{line}\r\n")).collect()
}

/// sipsak, the qualify of Asterisk, monitors of operators.
#[tokio::test]
async fn options_are_answered_200_whoever_is_asked_for_and_however_they_are_written() {
    let (rig, peer) = rig().await;
    let at = peer.at();
    for (n, (uri, lines)) in [
        ("sip:100@127.0.0.1", String::new()),
        ("sip:nobody@127.0.0.1", String::new()),
        ("sip:127.0.0.1", String::new()),
        ("sip:127.0.0.1:5060;transport=udp;lr", String::new()),
        // sipsak: no Contact of use, its own User-Agent, and a Via without a cookie.
        (
            "sip:s@127.0.0.1",
            format!("Via: SIP/2.0/UDP {at};rport;branch=7c1\r\nUser-Agent: sipsak 0.9.8.1\r\nAccept: text/plain\r\n"),
        ),
        // A hop count that is used up is none of an end point's business (RFC 4475 §3.3.11).
        ("sip:100@127.0.0.1", "Max-Forwards: 0\r\n".to_owned()),
        (
            "sip:100@127.0.0.1",
            format!("vIA: SIP/2.0/UDP {at};branch=z9hG4bKodd\r\nfROM:<sip:a@b>;TAG=f\r\ncall-id: call-6\r\n"),
        ),
        (
            "sip:100@127.0.0.1",
            format!("Via: SIP/2.0/UDP\r\n {at}\r\n ;branch=z9hG4bKfold\r\nSubject: a long\r\n\tstory\r\n"),
        ),
        ("sip:100@127.0.0.1", format!("Via: SIP/2.0/UDP {at};received=192.0.2.7;rport=9;branch=z9hG4bKr\r\n")),
        (
            "sip:100@127.0.0.1",
            format!("Via: SIP/2.0/UDP gone.example:{};maddr=127.0.0.1;branch=z9hG4bKm\r\n", at.port()),
        ),
        ("sip:100@127.0.0.1", "Supported: outbound,path,gruu\r\nAllow-Events: presence, dialog\r\n".to_owned()),
        ("sip:100@127.0.0.1", "Route: <sip:127.0.0.1;lr>\r\n".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let ok = asked(&peer, "OPTIONS", uri, &format!("call-{n}"), &lines).await;
        assert_eq!(ok.code(), 200, "{uri} {lines}");
        for (name, holds) in
            [(HeaderName::Allow, "UPDATE"), (HeaderName::Accept, "application/sdp"), (HeaderName::Supported, "timer")]
        {
            assert!(ok.text(name).is_some_and(|value| value.contains(holds)), "{name:?}: {ok:?}");
        }
        assert!(ok.to().expect("one").tag().is_some());
    }
    let seen = asked(
        &peer,
        "OPTIONS",
        "sip:1@127.0.0.1",
        "seen",
        "Via: SIP/2.0/UDP 192.0.2.9:1;received=192.0.2.7;rport;branch=z9hG4bKs\r\n",
    )
    .await;
    let via = seen.top_via().expect("one");
    assert_eq!(via.seen_as(), Some(at), "what a client wrote there itself is not believed: {via}");
    assert_eq!(rig.metric("trunkline_calls_ended_total").await, 0.0);
}

#[tokio::test]
async fn what_we_do_not_do_is_refused_by_name_with_what_we_do() {
    let (rig, peer) = rig().await;
    for (n, (method, lines, code)) in [
        ("SUBSCRIBE", "Event: presence\r\nExpires: 60\r\n", 405),
        ("SUBSCRIBE", "Event: message-summary\r\nExpires: 0\r\n", 405),
        ("PUBLISH", "Event: presence\r\n", 405),
        ("MESSAGE", "", 405),
        ("REGISTER", "Expires: 60\r\n", 405),
        ("REFER", "Refer-To: <sip:1@h>\r\n", 405),
        ("KDMQ", "", 501),
        // Asterisk's unsolicited word of waiting messages: no subscription of ours.
        ("NOTIFY", "Event: message-summary\r\nSubscription-State: active\r\n", 481),
        ("INFO", "", 481),
        ("UPDATE", "To: <sip:100@h>;tag=gone\r\n", 481),
        ("BYE", "To: <sip:100@h>;tag=gone\r\n", 481),
    ]
    .into_iter()
    .enumerate()
    {
        let refused = asked(&peer, method, "sip:100@127.0.0.1", &format!("call-{n}"), lines).await;
        assert_eq!(refused.code(), code, "{method}");
        let allow = refused.text(HeaderName::Allow);
        assert_eq!(allow.is_some_and(|allow| allow.contains("INVITE")), matches!(code, 405 | 501), "{method}");
    }
    assert_eq!(rig.metric("trunkline_calls_ended_total").await, 0.0);
}

/// RFC 3261 §18.2.2: a peer that names another transport in its Via than it uses, as a PBX behind something that ends its TLS does, waits for the
/// answer where it has asked.
#[tokio::test]
async fn a_request_is_answered_the_way_it_came_whatever_its_via_names() {
    let (rig, peer) = rig().await;
    for (n, transport) in ["TCP", "tls", "SCTP"].into_iter().enumerate() {
        let via = format!("Via: SIP/2.0/{transport} {};branch=z9hG4bK-call-{n}-INVITE;rport\r\n{OFFERED}", peer.at());
        let answer = called(&peer, "sip:100@127.0.0.1", &format!("call-{n}"), &via, SDP).await;
        assert_eq!(answer.code(), 200, "{transport}");
        let (call_id, _) = rig.incoming(n).await;
        rig.answered(&call_id).await;
        rig.hang_up(&call_id).await;
        peer.is_hung_up().await;
        let record = rig.ended(&call_id).await;
        assert_eq!(record.end_reason, "enough", "{record:?}");
    }
    rig.idle().await;
}

/// RFC 5626 §3.5.1 and what else keeps a way through a NAT open: nobody answers it, nobody minds.
#[tokio::test]
async fn keep_alives_and_stun_on_the_sip_port_are_passed_over() {
    let (rig, peer) = rig().await;
    // A binding request, RFC 8489.
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    let datagrams = [&b""[..], b"\r\n", b"\r\n\r\n", b"\0", b"\0\0\0\0", &stun];
    for payload in datagrams {
        peer.send(payload).await;
    }
    assert_eq!(asked(&peer, "OPTIONS", "sip:127.0.0.1", "after", "").await.code(), 200);
    // Only what is no keep-alive counts as malformed.
    assert_eq!(rig.metric_of("trunkline_sip_datagrams_dropped_total", "malformed").await, 1.0);
}

#[tokio::test]
async fn an_invite_is_taken_however_its_numbers_names_and_headers_are_written() {
    let (rig, peer) = rig().await;
    let at = peer.at();
    for (n, (uri, lines, caller, name)) in [
        ("sip:100@127.0.0.1;user=phone", "From: <sip:+4930@h;user=phone>;tag=f\r\n".to_owned(), "+4930", ""),
        ("sip:%31%30%30@127.0.0.1", "From: \"\" <sip:a%20b@h>;tag=f\r\n".to_owned(), "a b", ""),
        // Ported numbers (RFC 4694): what follows the number is not the number.
        ("sip:100;npdi;rn=+4989@127.0.0.1;user=phone", "From: <sip:+4930;cpc=ordinary@h;user=phone>;tag=f\r\n".to_owned(), "+4930", ""),
        ("tel:100", "From: <tel:+49-30-1;isub=2>;tag=f\r\n".to_owned(), "+49301", ""),
        ("sip:100@127.0.0.1", "From: \"张三\" <sip:7@h>;tag=f\r\n".to_owned(), "7", "张三"),
        ("sip:100@127.0.0.1", "From: 张三 <sip:7@h>;tag=f\r\n".to_owned(), "7", "张三"),
        ("sip:100@127.0.0.1", "From: \"a \\\"b\\\\ c\" <sip:7@h>;tag=f\r\n".to_owned(), "7", "a \"b\\ c"),
        ("sip:100@127.0.0.1", "From: sip:7@h;tag=f\r\n".to_owned(), "7", ""),
        // chan_pjsip.
        (
            "sip:100@127.0.0.1:5060",
            "P-Asserted-Identity: \"Alice\" <sip:4711@pbx>\r\nAllow: OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL, \
             UPDATE, PRACK, INFO, MESSAGE, REFER\r\nSupported: 100rel, timer, replaces, norefersub, histinfo\r\nAllow-Events: \
             presence, dialog\r\nSession-Expires: 1800\r\nMin-SE: 90\r\nUser-Agent: Asterisk PBX 20.6.0\r\n"
                .to_owned(),
            "4711",
            "Alice",
        ),
        ("sip:100@127.0.0.1", "Supported: outbound,path,gruu\r\nSession-Expires: 1800 ; refresher=uac;foo=\"a;b\";bar\r\nMin-SE:90;x=y\r\n".to_owned(), "200", ""),
        ("sip:100@127.0.0.1", "Require:\r\nSupported:\r\nAllow:\r\n".to_owned(), "200", ""),
        ("sip:100@127.0.0.1", format!("i: call-11\r\nv: SIP/2.0/UDP {at};branch=z9hG4bKc;rport\r\nf: <sip:200@h>;tag=f\r\nt: <sip:100@h>\r\nm: <sip:200@{at}>\r\n"), "200", ""),
        ("sip:100@127.0.0.1", "cOnTaCt: <sip:200@127.0.0.1:9>;+sip.instance=\"<urn:uuid:1>\";reg-id=1;q=0.5\r\nSubject: a\r\n b\r\n\tc\r\nX-Odd: \r\n".to_owned(), "200", ""),
        ("sip:100@127.0.0.1", "Max-Forwards: 0\r\n".to_owned(), "200", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = called(&peer, uri, &format!("call-{n}"), &(lines.clone() + OFFERED), SDP).await;
        assert_eq!(answer.code(), 200, "{uri} {lines}: {answer:?}");
        let (_, incoming) = rig.incoming(n).await;
        assert_eq!((incoming.caller.as_str(), incoming.caller_name.as_str()), (caller, name), "{lines}");
        assert_eq!(incoming.callee, "100", "{uri}");
        hung_up(&peer, &answer, 2).await;
    }
    rig.idle().await;
}

const LINES: [&str; 2] = ["a=rtpmap:8 PCMA/8000", "a=sendrecv"];

/// What stands in the answer, stream by stream: kind, port or none, direction.
fn streams(answer: &Response) -> Vec<(String, bool, Direction)> {
    let sdp = answer.session_body().sdp().expect("SDP");
    let sdp = parse_sdp(sdp).expect("it reads");
    sdp.media.iter().map(|media| (media.kind.clone(), media.port != 0, sdp.direction(media))).collect()
}

#[tokio::test]
async fn an_offer_is_answered_whatever_stands_beside_the_audio() {
    let (rig, peer) = rig().await;
    let audio = |way| vec![("audio".to_owned(), true, way)];
    let refused = |kind: &str| (kind.to_owned(), false, Direction::SendRecv);
    for (n, (offer, expected)) in [
        // Static types need no rtpmap; packets of any length.
        (sdp(&["m=audio 4000 RTP/AVP 0 8 3"]), audio(Direction::SendRecv)),
        (sdp(&["m=audio 4000 RTP/AVP 8", "a=ptime:10"]), audio(Direction::SendRecv)),
        (sdp(&["m=audio 4000 RTP/AVP 8", "a=ptime:30", "a=maxptime:150"]), audio(Direction::SendRecv)),
        (sdp(&["m=audio 4000 RTP/AVP 8", "a=ptime:40"]), audio(Direction::SendRecv)),
        // On hold from the start, in the way of today and in that of RFC 2543.
        (sdp(&["m=audio 4000 RTP/AVP 8", "a=sendonly"]), audio(Direction::RecvOnly)),
        (sdp(&["m=audio 4000 RTP/AVP 8", "a=inactive"]), audio(Direction::Inactive)),
        (
            sdp(&["m=audio 4000 RTP/AVP 8"]).replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0"),
            audio(Direction::RecvOnly),
        ),
        // A telephone with a camera, and a fax.
        (
            sdp(&[
                "m=audio 4000 RTP/AVP 96 8 101",
                "a=rtpmap:96 opus/48000/2",
                "a=rtpmap:101 telephone-event/8000",
                "m=video 4002 RTP/AVP 97",
                "a=rtpmap:97 H264/90000",
                "m=image 4004 udptl t38",
                "a=T38FaxVersion:0",
                "m=text 4006 RTP/AVP 98",
                "m=application 4008 UDP/BFCP *",
            ]),
            [audio(Direction::SendRecv), ["video", "image", "text", "application"].map(refused).to_vec()].concat(),
        ),
        (
            sdp(&["m=video 4002 RTP/AVP 97", "a=rtpmap:97 H264/90000", "m=audio 4000 RTP/AVP 8"]),
            [vec![refused("video")], audio(Direction::SendRecv)].concat(),
        ),
        // A client of pjsip that could do more: its ICE, its keys, its bundle are not taken up.
        (
            sdp(&[
                "a=group:BUNDLE 0",
                "a=ice-lite",
                "a=msid-semantic: WMS",
                "m=audio 4000 RTP/AVP 8 101",
                "b=TIAS:64000",
                "a=mid:0",
                "a=rtcp:4001 IN IP4 127.0.0.1",
                "a=rtcp-mux",
                "a=ice-ufrag:abcd",
                "a=ice-pwd:0123456789012345678901",
                "a=candidate:1 1 UDP 2130706431 127.0.0.1 4000 typ host",
                "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                "a=ssrc:1 cname:x",
                "a=rtcp-fb:* nack",
                "a=fmtp:101 0-16",
                "a=rtpmap:101 telephone-event/8000",
            ]),
            audio(Direction::SendRecv),
        ),
        // Encryption if you like: two streams of one sound (RFC 3264 §5.1), of which the plain one is taken.
        (
            sdp(&["m=audio 4000 RTP/SAVP 8", "m=audio 4002 RTP/AVP 8"]),
            [vec![refused("audio")], audio(Direction::SendRecv)].concat(),
        ),
        // Without line feeds as they should be.
        (sdp(&["m=audio 4000 RTP/AVP 8"]).replace("\r\n", "\n"), audio(Direction::SendRecv)),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = called(&peer, "sip:100@127.0.0.1", &format!("call-{n}"), OFFERED, &offer).await;
        assert_eq!(answer.code(), 200, "{offer}");
        assert_eq!(
            streams(&answer).iter().map(|(kind, there, _)| (kind, there)).collect::<Vec<_>>(),
            expected.iter().map(|(kind, there, _)| (kind, there)).collect::<Vec<_>>(),
            "{offer}"
        );
        let way = |streams: &[(String, bool, Direction)]| streams.iter().find(|stream| stream.1).map(|stream| stream.2);
        assert_eq!(way(&streams(&answer)), way(&expected), "{offer}");
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        for not_ours in ["crypto", "ice-", "candidate", "BUNDLE", "fingerprint"] {
            assert!(!text.contains(not_ours), "{text}");
        }
        assert_eq!(text.contains("a=rtcp-mux"), offer.contains("a=rtcp-mux"), "taken where it is offered: {text}");
        hung_up(&peer, &answer, 2).await;
    }
    for (n, protocol) in ["RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVPF"].into_iter().enumerate() {
        let offer = sdp(&[&format!("m=audio 4000 {protocol} 8"), LINES[0]]);
        let refused = called(&peer, "sip:100@127.0.0.1", &format!("secret-{n}"), OFFERED, &offer).await;
        assert_eq!(refused.code(), 488, "{protocol}");
        assert!(refused.named("Warning").is_some(), "{refused:?}");
    }
    rig.idle().await;
}

#[tokio::test]
async fn sdp_is_found_beside_isup_and_places_and_in_none_there_is_our_offer() {
    let (rig, peer) = rig().await;
    let parts = |kind: &str, content: &str| {
        format!(
            "--unique-1\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--unique-1\r\nContent-Type: {kind}\r\nContent-Disposition: \
             signal;handling=optional\r\n\r\n{content}\r\n--unique-1--\r\n"
        )
    };
    let turned =
        parts("application/pidf+xml", "<presence/>").replacen("--unique-1\r\n", "a preamble\r\n--unique-1\r\n", 1);
    let large = format!("X-Large: {}\r\nContent-Type: application/sdp\r\n", "x".repeat(60_000));
    for (n, (lines, body)) in [
        ("Content-Type: multipart/mixed;boundary=unique-1\r\n", parts("application/ISUP;version=itu-t92+;base=itu-t92+", "\x01\x11\x00")),
        ("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"unique-1\"\r\n", parts("application/pidf+xml", "<presence/>")),
        ("c: Multipart/Related;type=x;boundary=unique-1\r\n", turned),
        ("", String::new()),
        ("Content-Type: application/sdp;charset=utf-8\r\nContent-Disposition: session;handling=required\r\nContent-Language: en\r\n", SDP.to_owned()),
        // Nearly all that a datagram may hold.
        (&large, SDP.to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let call_id = format!("call-{n}");
        peer.send(request(&peer, "INVITE", "sip:100@127.0.0.1", &call_id, lines, &body).as_bytes()).await;
        let answer = peer.response().await;
        assert_eq!((answer.code(), answer.call_id()), (200, Ok(&*call_id)), "{lines}");
        assert_eq!(streams(&answer).len(), 1, "{lines}");
        // The ACK brings the answer to our offer.
        let theirs = if body.is_empty() { (OFFERED, SDP) } else { ("", "") };
        let more = format!("To: {}\r\nCSeq: 1 ACK\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-{n}-ack\r\n{}", answer.to().expect("one"), peer.at(), theirs.0);
        peer.send(request(&peer, "ACK", "sip:100@127.0.0.1", &call_id, &more, theirs.1).as_bytes()).await;
        let (call_id, _) = rig.incoming(n).await;
        rig.answered(&call_id).await;
        hung_up(&peer, &answer, 2).await;
    }
    rig.idle().await;
}

/// chan_pjsip within a call: qualify, keys, messages, a fax, and media that goes past it from now on.
#[tokio::test]
async fn a_call_goes_on_whatever_is_asked_within_it_and_its_media_follow() {
    let (rig, peer) = rig().await;
    let (first, second) = (UdpSocket::bind("127.0.0.1:0").await, UdpSocket::bind("127.0.0.1:0").await);
    let (first, second) = (first.expect("a socket"), second.expect("a socket"));
    let offer = |socket: &UdpSocket, version: u8| {
        let port = socket.local_addr().expect("it is bound").port();
        sdp(&[&format!("m=audio {port} RTP/AVP 8"), LINES[0]]).replace("o=- 1 1", &format!("o=- 1 {version}"))
    };
    let hears = async |socket: &UdpSocket| {
        let heard = tokio::time::timeout(PATIENCE, socket.recv(&mut [0; 2_048])).await;
        heard.expect("RTP in time").expect("it is read");
    };
    let answer = called(&peer, "sip:100@127.0.0.1", "call", OFFERED, &offer(&first, 1)).await;
    assert_eq!(answer.code(), 200);
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    hears(&first).await;

    let options = within(&peer, &answer, "OPTIONS", 2, "", "").await;
    assert_eq!(options.code(), 200);
    for name in [HeaderName::Allow, HeaderName::Accept, HeaderName::Supported] {
        assert!(options.text(name).is_some(), "{name:?}: {options:?}");
    }
    let relay = "Content-Type: application/dtmf-relay\r\n";
    assert_eq!(within(&peer, &answer, "INFO", 3, relay, "Signal=5\r\nDuration=160\r\n").await.code(), 200);
    assert_eq!(within(&peer, &answer, "INFO", 4, "Content-Type: application/dtmf\r\n", "#").await.code(), 200);
    let picture = "Content-Type: application/media_control+xml\r\n";
    assert_eq!(within(&peer, &answer, "INFO", 5, picture, "<media_control/>").await.code(), 200);
    let package =
        "Info-Package: telemetry\r\nContent-Disposition: Info-Package\r\nContent-Type: application/telemetry\r\n";
    let refused = within(&peer, &answer, "INFO", 6, package, "x").await;
    assert_eq!((refused.code(), refused.text(HeaderName::RecvInfo).as_deref()), (469, Some("")));
    for (method, cseq, code) in [("MESSAGE", 7, 405), ("SUBSCRIBE", 8, 405), ("PUBLISH", 9, 405), ("KDMQ", 10, 501)] {
        let refused = within(&peer, &answer, method, cseq, "Event: x\r\n", "").await;
        assert_eq!((refused.code(), refused.text(HeaderName::Allow).is_some()), (code, true), "{method}");
    }
    // The media go past the exchange: from here on to the other telephone.
    let moved = within(&peer, &answer, "INVITE", 11, OFFERED, &offer(&second, 2)).await;
    assert_eq!(moved.code(), 200);
    hears(&second).await;
    // A fax machine on the line: refused, in both ways in which it asks, and the call goes on as it was.
    let fax = ["m=image 4004 udptl t38", "a=T38FaxVersion:0", "a=T38FaxRateManagement:transferredTCF"];
    let without = [&["m=audio 0 RTP/AVP 8"], &fax[..]].concat();
    for (cseq, lines) in [(12, &fax[..]), (13, &without[..])] {
        let refused = within(&peer, &answer, "INVITE", cseq, OFFERED, &sdp(lines)).await;
        assert_eq!(refused.code(), 488, "{lines:?}");
        hears(&second).await;
    }
    // Asked for our offer, in the call: all that we have; the answer comes in the ACK.
    let whole = within(&peer, &answer, "INVITE", 14, "", "").await;
    assert_eq!((whole.code(), streams(&whole).len()), (200, 1));
    assert_eq!(rig.keys(&call_id, 2).await, "5#");
    hung_up(&peer, &answer, 15).await;
    let record = rig.ended(&call_id).await;
    assert_eq!(record.hung_up_by, "caller", "{record:?}");
    rig.idle().await;
}

/// RFC 3311 §5.2: before the answer there is nothing to be changed yet but what 183 has agreed; a 180 has agreed nothing.
#[tokio::test]
async fn an_update_before_the_answer_is_answered_and_the_call_is_taken_all_the_same() {
    let trunk =
        "[[inbound]]\nanswer = { after_ms = 1000 }\nearly_media = true\ndialogue = \"none\"\nspeech = \"none\"\n";
    let rig = Rig::start(Setup { trunk, ..Setup::default() }).await;
    let peer = Peer::bind(&rig, "127.0.0.1", 0).await;
    let lines = "Supported: 100rel\r\n".to_owned() + OFFERED;
    peer.send(request(&peer, "INVITE", "sip:100@127.0.0.1", "call", &lines, SDP).as_bytes()).await;
    let early = peer.provisional().await;
    assert_eq!((early.code(), streams(&early).len()), (183, 1));
    let rseq = early.text(HeaderName::RSeq).expect("it is reliable").into_owned();
    let rack = format!("RAck: {rseq} 1 INVITE\r\n");
    assert_eq!(within(&peer, &early, "PRACK", 2, &rack, "").await.code(), 200);
    let updated = within(&peer, &early, "UPDATE", 3, OFFERED, SDP).await;
    assert_eq!((updated.code(), streams(&updated).len()), (200, 1));
    let answer = peer.response().await;
    assert_eq!((answer.code(), answer.cseq().expect("one").number), (200, 1));
    let to = format!(
        "To: {}\r\nCSeq: 1 ACK\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-ack\r\n",
        answer.to().expect("one"),
        peer.at()
    );
    peer.send(request(&peer, "ACK", "sip:100@127.0.0.1", "call", &to, "").as_bytes()).await;
    let (call_id, _) = rig.incoming(0).await;
    rig.answered(&call_id).await;
    hung_up(&peer, &answer, 4).await;
    rig.idle().await;
}

/// RFC 3261 §12.2.1.1 and §16.12: by a loose router, by a strict one, and by none, as Record-Route says.
#[tokio::test]
async fn our_requests_take_the_way_that_record_route_names_loose_or_strict() {
    let (rig, peer) = rig().await;
    let at = peer.at();
    for (n, (route, uri, routes)) in [
        (format!("<sip:{at};lr>"), format!("sip:200@{at}"), vec![format!("<sip:{at};lr>")]),
        (
            format!("<sip:{at};lr=on;ftag=f>, <sip:far.example;LR>"),
            format!("sip:200@{at}"),
            vec![format!("<sip:{at};lr=on;ftag=f>"), "<sip:far.example;LR>".to_owned()],
        ),
        (
            format!("<sip:edge@{at}>, <sip:far.example>"),
            format!("sip:edge@{at}"),
            vec!["<sip:far.example>".to_owned(), format!("<sip:200@{at}>")],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let lines = format!("Record-Route: {route}\r\n{OFFERED}");
        let answer = called(&peer, "sip:100@127.0.0.1", &format!("call-{n}"), &lines, SDP).await;
        assert_eq!(answer.code(), 200, "{route}");
        let (call_id, _) = rig.incoming(n).await;
        rig.answered(&call_id).await;
        rig.hang_up(&call_id).await;
        let bye = peer.is_hung_up().await;
        assert_eq!(bye.uri().as_str(), uri, "{route}");
        assert_eq!(bye.list(HeaderName::Route).collect::<Vec<_>>(), routes, "{route}");
        rig.ended(&call_id).await;
    }
    rig.idle().await;
}
