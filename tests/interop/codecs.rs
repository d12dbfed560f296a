//! The codecs of other people's telephones: baresip (Debian's `baresip-core`) and linphone (`linphone-cli`), who calls whom both ways.
//!
//! The phone says 1 kHz and 5 kHz at once, the robot 440 Hz. Each has to be what the other one writes down: the first also in our
//! recording, which has no 5 kHz, and both in what a recogniser of 16 kHz gets, where the line is wide enough.
//!
//! Each sends packets as long as the other asks; a baresip that is called asks for what it was asked for.
//!
//! What these versions cannot do: baresip 1.0.0 has no `L16` of 16 kHz in one channel; linphone 5.1 has L16 at 44.1 kHz only.

use std::path::PathBuf;

use trunkline::proto::control::v1::send_request::Command as Order;
use trunkline::proto::control::v1::{CallRecord, DialRequest, Outcome};

use crate::rig::audio::Wav;
use crate::rig::baresip::{Baresip, Terms};
use crate::rig::{Engine, Happened, Hearing, Linphone, PATIENCE, Plays, Rig, Setup, Speaking, say, soon};

/// What the phone says.
const LOW: f64 = 1_000.0;
const HIGH: f64 = 5_000.0;
/// What the robot says: [`Speaking::Tone`].
const ROBOT: f64 = 440.0;
/// Two tones have half of the energy each; codecs leave some of it elsewhere.
const HALF: f64 = 0.3;
const ALL: f64 = 0.7;

/// A codec, as each names it.
#[derive(Debug, Clone, Copy)]
pub struct Codec {
    /// In our profile.
    ours: &'static str,
    /// In baresip's account.
    baresip: &'static str,
    /// In linphone's configuration.
    linphone: &'static str,
    /// The samples that baresip gives it.
    rate: u32,
    channels: usize,
    /// It has 5 kHz.
    wide: bool,
    /// In the record.
    told: (&'static str, u32, u32),
}

const OPUS: Codec = Codec {
    ours: "OPUS",
    baresip: "opus/48000/2",
    linphone: "mime=opus\nrate=48000\nchannels=2",
    rate: 48_000,
    channels: 2,
    wide: true,
    told: ("opus", 48_000, 2),
};
const G722: Codec = Codec {
    ours: "G722",
    baresip: "G722/16000/1",
    linphone: "mime=G722\nrate=8000\nchannels=1",
    rate: 16_000,
    channels: 1,
    wide: true,
    told: ("G722", 8_000, 1),
};
pub const PCMU: Codec = Codec {
    ours: "PCMU",
    baresip: "PCMU/8000/1",
    linphone: "mime=PCMU\nrate=8000\nchannels=1",
    rate: 8_000,
    channels: 1,
    wide: false,
    told: ("PCMU", 8_000, 1),
};

/// A Trunkline with one codec on its line, that listens at 16 kHz.
async fn stage(codec: Codec, ptime: u32, srtp: &str) -> (Rig, Engine) {
    let engine = Engine::serve(Hearing::Mute, Speaking::Tone).await;
    let trunk = format!(
        "[media]\ncodecs = [\"{}\"]\nptime_ms = {ptime}\nsrtp = \"{srtp}\"\n[[inbound]]\ndialogue = \"none\"\n",
        codec.ours
    );
    let setup = Setup { trunk: trunk.leak(), record: true, speech: engine.endpoint(), ..Setup::default() };
    (Rig::start(setup).await, engine)
}

/// A call of ours, with recognition.
pub fn order(rig: &Rig) -> DialRequest {
    DialRequest { speech: "local".into(), ..rig.order() }
}

/// A file of what the phone says.
pub fn speech(rig: &Rig, codec: Codec, rate: u32, channels: usize) -> PathBuf {
    let file = rig.folder().join("tones.wav");
    let tones: &[f64] = if codec.wide { &[LOW, HIGH] } else { &[LOW] };
    Wav::tones(rate, channels, 60, tones).write(&file);
    file
}

/// Both speak, and each has heard the other; the record, which says how long the packets were, theirs and ours.
pub async fn talk(rig: &Rig, engine: &Engine, codec: Codec, packets: [u32; 2], call_id: &str) -> CallRecord {
    rig.send(call_id, Order::Say(say("hello", &["Forty characters, which are 2.4 seconds."]))).await;
    rig.find(call_id, |event| matches!(event.event, Some(Happened::PromptFinished(_))).then_some(())).await;
    soon("recognition has heard a second", PATIENCE, async || engine.heard().tenths(0, LOW, HALF) >= 10).await;
    rig.hang_up(call_id).await;
    let record = rig.ended(call_id).await;
    assert_eq!((record.outcome(), record.sip_code), (Outcome::Success, 200), "{}", rig.log());
    let recording = Wav::read(&rig.folder().join(&record.wav)).expect("the recording");
    let caller = recording.tenths(0, LOW, ALL);
    assert!(caller >= 10, "the caller in the recording: {caller} tenths");
    assert!(recording.tenths(1, ROBOT, ALL) >= 20, "the robot in the recording");
    let heard = engine.heard();
    let high = heard.tenths(0, HIGH, HALF);
    assert_eq!(high >= 10, codec.wide, "what recognition has of 5 kHz: {high} tenths");
    let quality = record.quality.as_ref().expect("how the line was");
    assert_eq!((quality.lost, quality.under_runs), (0, 0), "{quality:?}");
    let told = quality.codec.as_ref().expect("there was media");
    assert_eq!((told.name.as_str(), told.clock_rate_hz, told.channels), codec.told);
    assert_eq!((told.ptime_in_ms, told.ptime_out_ms), (Some(packets[0]), packets[1]), "of them, and ours");
    assert_eq!(rig.metric_of("trunkline_line_codecs_total", &format!("\"{}\"", told.name)).await, 1.0);
    rig.none_dropped(&["unauthentic", "replayed", "payload_type"]).await;
    record
}

/// The other side of it: what the phone has written down.
pub async fn has_heard_the_robot(what: &str, mut heard: impl FnMut() -> Vec<Wav>) {
    soon(&format!("{what} has heard the robot"), PATIENCE, async || {
        heard().iter().any(|wav| wav.tenths(0, ROBOT, ALL) >= 15)
    })
    .await;
}

/// A call of a baresip that is called, or calls.
async fn with_baresip(codec: Codec, [ours, theirs]: [u32; 2], is_called: bool, srtp: bool) -> CallRecord {
    let (rig, engine) = stage(codec, ours, if srtp { "required" } else { "off" }).await;
    let encrypted = if srtp { ";mediaenc=srtp-mand" } else { "" };
    let parameters = format!("audio_codecs={};ptime={theirs}{encrypted}", codec.baresip);
    let terms = Terms {
        calls: (!is_called).then(|| rig.ports.sip()),
        parameters: &parameters,
        speech: Some(speech(&rig, codec, codec.rate, codec.channels)),
        tls: None,
    };
    let phone = Baresip::start(&rig, terms).await;
    let call_id = if is_called { rig.dial(order(&rig)).await } else { rig.incoming(0).await.0 };
    rig.answered(&call_id).await;
    let record = talk(&rig, &engine, codec, [ours, theirs], &call_id).await;
    has_heard_the_robot("baresip", || phone.heard()).await;
    // Not so of a linphone: that sends STUN where RTP is expected.
    rig.none_dropped(&["malformed"]).await;
    phone.end().await;
    rig.idle().await;
    record
}

/// The same of a linphone.
async fn with_linphone(codec: Codec, [ours, theirs]: [u32; 2], is_called: bool, srtp: bool) -> CallRecord {
    let (rig, engine) = stage(codec, ours, if srtp { "required" } else { "off" }).await;
    let said = speech(&rig, codec, 48_000, 1);
    let heard = rig.folder().join("heard.wav");
    let encrypted = if srtp { "media_encryption=srtp\nmedia_encryption_mandatory=1\n" } else { "" };
    // The section that comes after the lines of [sip].
    let more = format!(
        "{encrypted}[audio_codec_0]\n{}\nenabled=1\n[rtp]\nupload_ptime={theirs}\ndownload_ptime={theirs}",
        codec.linphone
    );
    let plays = Plays { speech: Some(&said), heard: Some(&heard) };
    let mut phone = Linphone::sounding(&rig, &more, plays).await;
    let call_id = if is_called {
        let call_id = rig.dial(order(&rig)).await;
        phone.says("Receiving new incoming call from").await;
        phone.types("answer").await;
        call_id
    } else {
        phone.types(&format!("call sip:100@127.0.0.1:{}", rig.ports.sip())).await;
        rig.incoming(0).await.0
    };
    phone.says("Media streams established").await;
    rig.answered(&call_id).await;
    let record = talk(&rig, &engine, codec, [ours, theirs], &call_id).await;
    has_heard_the_robot("linphone", || Wav::read(&heard).into_iter().collect()).await;
    phone.quit().await;
    rig.idle().await;
    record
}

#[tokio::test]
async fn a_baresip_with_opus_is_called_and_calls() {
    for (is_called, ptimes) in [(true, [20, 20]), (false, [40, 60])] {
        with_baresip(OPUS, ptimes, is_called, false).await;
    }
}

#[tokio::test]
async fn a_baresip_with_g722_is_called_and_calls() {
    for (is_called, ptimes) in [(true, [20, 20]), (false, [30, 40])] {
        with_baresip(G722, ptimes, is_called, false).await;
    }
}

#[tokio::test]
async fn a_baresip_with_g711_in_long_packets_is_called_and_calls() {
    for (is_called, ptimes) in [(true, [60, 60]), (false, [10, 60])] {
        with_baresip(PCMU, ptimes, is_called, false).await;
    }
}

#[tokio::test]
async fn a_baresip_with_opus_is_heard_encrypted() {
    let record = with_baresip(OPUS, [20, 20], true, true).await;
    assert_eq!(record.srtp, "AES_CM_128_HMAC_SHA1_80");
}

#[tokio::test]
async fn a_linphone_with_opus_is_called_and_calls() {
    for (is_called, ptimes) in [(true, [20, 40]), (false, [40, 20])] {
        with_linphone(OPUS, ptimes, is_called, false).await;
    }
}

#[tokio::test]
async fn a_linphone_with_g722_is_called_and_calls() {
    for (is_called, ptimes) in [(true, [20, 20]), (false, [40, 30])] {
        with_linphone(G722, ptimes, is_called, false).await;
    }
}

#[tokio::test]
async fn a_linphone_with_opus_is_heard_encrypted() {
    let record = with_linphone(OPUS, [20, 20], false, true).await;
    assert!(!record.srtp.is_empty(), "{record:?}");
}
