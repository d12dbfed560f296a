//! Encrypted media: a far end by hand that looks at each packet, and baresip (Debian's `baresip-core`, module `srtp`), linphone.

use tokio::net::UdpSocket;
use trunkline::call::call::srtp;
use trunkline::proto::control::v1::send_request::Command as Order;
use trunkline::proto::control::v1::{CallRecord, Outcome};
use trunkline::rtp::packet::Packet;
use trunkline::rtp::srtp::MAX_TRAILER;
use trunkline::sdp::{Capabilities, KeySeed, Negotiator, SrtpTerms, Suite};
use trunkline::sip::message::Method;

use crate::rig::audio::Wav;
use crate::rig::baresip::{Baresip, Terms};
use crate::rig::{Folder, Happened, Linphone, PATIENCE, Peer, Ports, Rig, SDP, Setup, certificates, say, soon};

const REQUIRED: &str = "[media]\nsrtp = \"required\"\n[[inbound]]\ndialogue = \"none\"\nspeech = \"none\"\n";
const PREFERRED: &str = "[media]\nsrtp = \"preferred\"\n[[inbound]]\ndialogue = \"none\"\nspeech = \"none\"\n";
const SHA1_80: &str = "AES_CM_128_HMAC_SHA1_80";

/// Nothing of an encrypted call leaves in the clear, and nothing in the clear is heard.
#[tokio::test]
async fn on_the_wire_there_is_nothing_but_srtp_and_nothing_else_is_heard() {
    for suite in [Suite::AesCm128Sha1Tag80, Suite::AesGcm256] {
        let rig = Rig::start(Setup { trunk: REQUIRED, ..Setup::default() }).await;
        let peer = Peer::lab(&rig).await;
        let (rtp, rtcp) = pair(rig.ports.caller().1).await;
        let terms = SrtpTerms { required: true, suites: vec![suite] };
        let local = rtp.local_addr().expect("it is bound");
        let mut us = Negotiator::new(1, local, Capabilities::default()).with_srtp(&terms, KeySeed([7; 32]));
        let call_id = rig.dial(rig.order()).await;
        let invite = peer.request(&Method::Invite).await;
        let body = invite.session_body();
        let offer = body.sdp().expect("an offer");
        assert!(String::from_utf8_lossy(offer).contains(" RTP/SAVP "), "{invite:?}");
        let (answer, agreed) = us.answer(offer).expect("it fits");
        peer.answer(&invite, 200, &[], &String::from_utf8(answer).expect("text")).await;
        peer.request(&Method::Ack).await;
        rig.answered(&call_id).await;
        let mut keys = srtp(&us).expect("it is agreed on");
        rig.send(&call_id, Order::Say(say("hello", &["human-hello.wav"]))).await;

        // A second of what it sends: everything opens, and nothing is what it is inside.
        let (mut sounds, mut buffer) = (0, [0; 1_500]);
        let mut came = Vec::new();
        for _ in 0..50 {
            let length =
                tokio::time::timeout(PATIENCE, rtp.recv(&mut buffer)).await.expect("in time").expect("it is read");
            let sealed = buffer[..length].to_vec();
            let length = keys.unprotect(&mut buffer[..length]).expect("it is SRTP");
            let inside = Packet::parse(&buffer[..length]).expect("RTP").payload;
            assert_eq!(inside.len(), 160);
            assert!(!sealed.windows(16).any(|part| inside.windows(16).any(|plain| plain == part)), "it is seen");
            sounds += usize::from(inside.iter().any(|byte| *byte & 0x7f != 0x55));
            came.push(sealed);
        }
        assert!(sounds > 10, "the prompt is in it: {sounds}");

        // It hears SRTP, and neither what is in the clear, nor what has come before, nor its own.
        let to = agreed.remote;
        let plain = |n: u16| [&[0x80, 8][..], &n.to_be_bytes(), &[0; 4], &[0, 0, 0, 9], &[0xd5; 160]].concat();
        for n in 1..=40u16 {
            let mut packet = [&plain(n)[..], &[0; MAX_TRAILER]].concat();
            let length = keys.protect(&mut packet, 172).expect("it may be sent");
            for _ in 0..2 {
                rtp.send_to(&packet[..length], to).await.expect("it is sent");
            }
            rtp.send_to(&plain(n + 1), to).await.expect("it is sent");
            rtp.send_to(&came[usize::from(n)], to).await.expect("it is sent");
        }
        soon("all is counted", PATIENCE, async || {
            rig.metric_of("trunkline_media_dropped_total", "unauthentic").await >= 80.0
                && rig.metric_of("trunkline_media_dropped_total", "replayed").await >= 40.0
        })
        .await;
        rig.hang_up(&call_id).await;
        peer.is_hung_up().await;
        let record = rig.ended(&call_id).await;
        assert_eq!((record.outcome(), record.srtp.as_str()), (Outcome::Success, suite.name()));
        assert_eq!(record.quality.expect("how the line was").received, 40);
        // Its goodbye is encrypted too.
        let length =
            tokio::time::timeout(PATIENCE, rtcp.recv(&mut buffer)).await.expect("in time").expect("it is read");
        keys.unprotect_rtcp(&mut buffer[..length]).expect("it is SRTCP");
        let inline = us.secured().map(|_| "inline:").expect("it is agreed on");
        assert!(!rig.log().contains(inline), "no key is in the log");
        rig.idle().await;
    }
}

/// An offer without SRTP is refused with the reason; an answer without ends the call, which says why.
#[tokio::test]
async fn where_srtp_is_required_nothing_goes_without() {
    let rig = Rig::start(Setup { trunk: REQUIRED, ..Setup::default() }).await;
    let peer = Peer::lab(&rig).await;
    let call_id = rig.dial(rig.order()).await;
    let invite = peer.request(&Method::Invite).await;
    peer.answer(&invite, 200, &[], SDP).await;
    peer.request(&Method::Ack).await;
    peer.is_hung_up().await;
    let record = rig.ended(&call_id).await;
    assert_eq!(record.end_reason, "SDP answer: SRTP is required: RTP/SAVP with a=crypto");
    assert_eq!((record.srtp.as_str(), record.quality.unwrap_or_default().sent), ("", 0));
    rig.idle().await;
}

async fn pair(port: u16) -> (UdpSocket, UdpSocket) {
    let bind = async |port: u16| UdpSocket::bind(("127.0.0.1", port)).await.expect("a free port");
    (bind(port).await, bind(port + 1).await)
}

/// Both speak until both have been heard; the record of the call.
async fn talk(rig: &Rig, phone: &Baresip, call_id: &str) -> CallRecord {
    rig.send(call_id, Order::Say(say("hello", &["human-hello.wav", "~200", "human-thank-you.wav"]))).await;
    let spoken = rig.find(call_id, |event| matches!(event.event, Some(Happened::PromptFinished(_))).then_some(()));
    spoken.await;
    rig.hang_up(call_id).await;
    let record = rig.ended(call_id).await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Success, 200), "{}\n{}", phone.log(), rig.log());
    // Its file is written when the call is over.
    soon("baresip has heard us", PATIENCE, async || phone.heard().iter().any(|wav| wav.has_a_voice(0))).await;
    let quality = record.quality.as_ref().expect("how the line was");
    assert!(quality.received > 30 && quality.sent > 30, "{quality:?}");
    let wav = Wav::read(&rig.folder().join(&record.wav)).expect("the recording");
    assert!(wav.channels.len() == 2 && (0..2).all(|way| wav.has_a_voice(way)), "both are in the recording");
    rig.none_dropped(&["unauthentic", "replayed", "malformed"]).await;
    record
}

#[tokio::test]
async fn a_baresip_is_called_over_tls_and_both_are_heard_encrypted() {
    let (ports, folder) = (Ports::take(), Folder::new());
    let files = certificates(&folder.0, 4096);
    let [ca, certificate, key] = &files;
    let (listen, _) = ports.caller();
    let sip = format!("[sip.tls]\nlisten = \"127.0.0.1:{listen}\"\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let peer = format!("address = \"127.0.0.1:{}\"\ntransport = \"tls\"\n[tls]\nca = {ca:?}", ports.phone());
    let rig = Rig::at(ports, folder, Setup { sip, peer, trunk: REQUIRED, record: true, ..Setup::default() }).await;
    let terms = Terms { parameters: "mediaenc=srtp-mand", tls: Some(&files), ..Terms::default() };
    let phone = Baresip::start(&rig, terms).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    assert_eq!(talk(&rig, &phone, &call_id).await.srtp, SHA1_80);
    assert_eq!(rig.metric("trunkline_sip_datagrams_sent_total").await, 0.0, "all signalling went by TLS");
    phone.end().await;
    rig.idle().await;
}

#[tokio::test]
async fn baresips_that_call_are_heard_encrypted_with_rtp_savp_and_with_rtp_avp() {
    for (parameters, trunk) in [("mediaenc=srtp-mand", REQUIRED), ("mediaenc=srtp", PREFERRED)] {
        let rig = Rig::start(Setup { trunk, record: true, ..Setup::default() }).await;
        let terms = Terms { calls: Some(rig.ports.sip()), parameters, ..Terms::default() };
        let phone = Baresip::start(&rig, terms).await;
        let (call_id, _) = rig.incoming(0).await;
        rig.answered(&call_id).await;
        assert_eq!(talk(&rig, &phone, &call_id).await.srtp, SHA1_80, "{parameters}");
        phone.end().await;
        rig.idle().await;
    }
}

#[tokio::test]
async fn a_linphone_that_encrypts_calls_and_holds() {
    let rig = Rig::start(Setup { trunk: PREFERRED, ..Setup::default() }).await;
    let mut phone = Linphone::lab(&rig, "media_encryption=srtp\nmedia_encryption_mandatory=1").await;
    phone.types(&format!("call sip:100@127.0.0.1:{}", rig.ports.sip())).await;
    let (call_id, _) = rig.incoming(0).await;
    phone.says("Media streams established").await;
    rig.answered(&call_id).await;
    let received = async || rig.metric("trunkline_media_packets_received_total").await;
    soon("it is heard", PATIENCE, async || received().await > 50.0).await;
    phone.types("pause").await;
    phone.says("is now paused").await;
    rig.hold(&call_id, 0).await;
    phone.types("resume 1").await;
    phone.says("Media streams established").await;
    rig.hold(&call_id, 1).await;
    let before = received().await;
    soon("it is heard again", PATIENCE, async || received().await > before + 50.0).await;
    rig.hang_up(&call_id).await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.srtp.is_empty()), (Outcome::Success, false), "{record:?}");
    assert!(record.quality.as_ref().is_some_and(|quality| quality.received > 90), "{record:?}");
    rig.idle().await;
    phone.quit().await;
}
