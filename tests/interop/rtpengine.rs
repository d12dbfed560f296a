//! rtpengine (Debian's `rtpengine-daemon`, in user space) between us and a phone, as an operator's border has it: Kamailio writes its ports into
//! both descriptions, so that neither side sees the other's. Both are heard through it, also where it has our side encrypted and the phone's not.

use trunkline::proto::control::v1::CallRecord;

use crate::codecs::{PCMU, has_heard_the_robot, order, speech, talk};
use crate::rig::baresip::{Baresip, Terms};
use crate::rig::{Engine, Happened, Hearing, Kamailio, Rig, RtpEngine, Setup, Speaking};

/// A call through it; the record.
async fn relayed(ours: &str, is_called: bool) -> CallRecord {
    let engine = Engine::serve(Hearing::Mute, Speaking::Tone).await;
    let srtp = if ours == "RTP/SAVP" { "required" } else { "off" };
    let trunk = format!(
        "called = \"to\"\n[auth]\nuser = \"robot\"\npassword = \"secret\"\n[registration]\n\
         [media]\ncodecs = [\"PCMU\"]\nsrtp = \"{srtp}\"\n[[inbound]]\ndialogue = \"none\"\n"
    );
    let setup =
        Setup { trunk: trunk.leak(), record: true, proxied: true, speech: engine.endpoint(), ..Setup::default() };
    let rig = Rig::start(setup).await;
    let relay = RtpEngine::start(&rig).await;
    let _kamailio = Kamailio::start_with_media(&rig, &relay, ours).await;
    rig.registered().await;
    let terms = Terms {
        calls: (!is_called).then(|| rig.ports.proxy()),
        parameters: "audio_codecs=PCMU/8000/1",
        speech: Some(speech(&rig, PCMU, 8_000, 1)),
        tls: None,
    };
    let phone = Baresip::start(&rig, terms).await;
    let call_id = if is_called { rig.dial(order(&rig)).await } else { rig.incoming(0).await.0 };
    let towards = rig.find(&call_id, |event| match &event.event {
        Some(Happened::Answered(answered)) => Some(answered.remote_media.clone()),
        _ => None,
    });
    let towards = towards.await;
    let port = towards.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    assert!(relay.media.contains(&port), "we send to the relay: {towards}, {:?}", relay.media);
    let record = talk(&rig, &engine, PCMU, [20, 20], &call_id).await;
    has_heard_the_robot("baresip", || phone.heard()).await;
    assert_eq!(rig.metric_of("trunkline_media_dropped_total", "source").await, 0.0, "{}", relay.log());
    phone.end().await;
    rig.idle().await;
    record
}

#[tokio::test]
async fn both_are_heard_through_an_rtpengine_whoever_calls() {
    for is_called in [true, false] {
        assert_eq!(relayed("RTP/AVP", is_called).await.srtp, "");
    }
}

#[tokio::test]
async fn both_are_heard_through_an_rtpengine_that_has_our_side_encrypted() {
    // The first suite of who offers: ours, and rtpengine's.
    for (is_called, suite) in [(true, "AES_CM_128_HMAC_SHA1_80"), (false, "AEAD_AES_256_GCM")] {
        assert_eq!(relayed("RTP/SAVP", is_called).await.srtp, suite);
    }
}
