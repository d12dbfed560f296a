//! What is heard in the audio itself, on the wire: announcements and tones before the answer, and keys that are tones, both ways.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::process::Command;
use trunkline::proto::control::v1::Outcome;
use trunkline::proto::control::v1::send_request::{Command as Order, SendKeys};
use trunkline::sip::message::Method;

use crate::rig::{Happened, PATIENCE, Peer, Phone, Rig, Setup, sdp};

/// The first day's recogniser, in this process.
#[cfg(feature = "speech")]
async fn recogniser() -> (String, tokio::task::JoinHandle<()>) {
    use trunkline::services::serving;
    use trunkline::services::speech::server::{Config, Engines, serve_on};
    use trunkline::services::speech::weights::cache_folder;
    let config = Config::new(cache_folder().expect("a cache folder"));
    let engines = Engines::open(&config).await.unwrap_or_else(|error| panic!("{error}"));
    let listener = serving::listen(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let served = async move { serve_on(listener, engines, std::future::pending()).await.expect("it serves") };
    (endpoint, tokio::spawn(served))
}

/// "The number you have dialed is not in service", and then a status without a cause. What was understood of it decides, also after
/// the refusal.
#[cfg(feature = "speech")]
#[tokio::test]
async fn an_announcement_that_is_recognised_says_that_the_number_does_not_exist() {
    let (speech, serving) = recogniser().await;
    let setup =
        Setup { speech, trunk: "[media]\nannouncements = \"us\"\nhang_up_on_announcement = false", ..Setup::default() };
    let rig = Rig::start(setup).await;
    // Of 404 the outcome is that anyway; 480 says nothing of the number.
    for (scenario, code) in [("uas_announces_not_in_service_404", 404), ("uas_announces_not_in_service_480", 480)] {
        let phone = rig.phone(Phone::new(scenario)).await;
        let order = trunkline::proto::control::v1::DialRequest { speech: "local".into(), ..rig.order() };
        let call_id = rig.dial(order).await;
        let record = rig.ended_within(3 * PATIENCE, &call_id).await;
        assert_eq!((record.outcome(), record.sip_code), (Outcome::Notexist, code), "{record:?}");
        let said = record.announcement.as_ref().unwrap_or_else(|| panic!("{:?}", record.early_text));
        assert_eq!(said.outcome(), Outcome::Notexist, "{said:?}");
        assert!(said.rule.starts_with("us: ") && said.text.contains("number"), "{said:?}");
        phone.done().await;
    }
    rig.idle().await;
    serving.abort();
}

#[tokio::test]
async fn a_busy_tone_before_the_answer_cancels_the_call_as_busy() {
    let rig = Rig::start(Setup { trunk: "[media]\ntones = \"cn\"", ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uas_busy_tone_cancelled")).await;
    let call_id = rig.dial(rig.order()).await;
    let record = rig.ended(&call_id).await;
    assert_eq!((record.outcome(), record.hung_up_by.as_str()), (Outcome::Linebusy, "network"), "{record:?}");
    assert_eq!(record.end_reason, "busy tone before the answer");
    assert_eq!(record.tones.iter().map(|tone| tone.what.as_str()).collect::<Vec<_>>(), ["busy"]);
    phone.done().await;
    rig.idle().await;
}

#[tokio::test]
async fn keys_that_are_tones_are_heard_where_no_events_have_been_agreed_on() {
    let rig = Rig::start(Setup::default()).await;
    let phone = rig.phone(Phone::new("uas_keys_as_tones")).await;
    let call_id = rig.dial(rig.order()).await;
    let last = |event: &trunkline::proto::control::v1::Event| match &event.event {
        Some(Happened::Key(key)) if key.key == "#" => Some(()),
        _ => None,
    };
    rig.find(&call_id, last).await;
    rig.hang_up(&call_id).await;
    assert_eq!(rig.ended(&call_id).await.keys, "159#");
    phone.done().await;
    rig.idle().await;
}

/// As somebody else hears them: multimon-ng.
#[tokio::test]
async fn keys_that_we_send_as_tones_are_read_by_another_decoder() {
    const KEYS: &str = "0123456789*#ABCD";
    let rig = Rig::start(Setup::default()).await;
    let peer = Peer::lab(&rig).await;
    let media = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let call_id = rig.dial(rig.order()).await;
    let invite = peer.request(&Method::Invite).await;
    // No telephone-event, and no INFO.
    peer.answer(&invite, 200, &[("Allow", "INVITE, ACK, BYE, CANCEL")], &sdp(&media)).await;
    peer.request(&Method::Ack).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, Order::SendKeys(SendKeys { keys: KEYS.into() })).await;
    // 16 keys of 100 ms and 80 ms between them; by the sequence, whatever the machine does meanwhile.
    let (mut audio, until) = (Vec::new(), Instant::now() + PATIENCE);
    let mut datagram = [0; 2_048];
    while audio.len() < 250 && Instant::now() < until {
        let received = tokio::time::timeout(Duration::from_secs(5), media.recv(&mut datagram)).await;
        let length = received.expect("RTP").expect("it is read");
        if length == 172 {
            audio.push((u16::from_be_bytes([datagram[2], datagram[3]]), datagram[12..length].to_vec()));
        }
    }
    let first = audio.first().expect("audio").0;
    audio.sort_by_key(|(sequence, _)| sequence.wrapping_sub(first));
    rig.send(&call_id, Order::Hangup(Default::default())).await;
    peer.is_hung_up().await;
    rig.ended(&call_id).await;

    let [coded, plain] = ["keys.al", "keys.raw"].map(|name| rig.folder().join(name));
    std::fs::write(&coded, audio.into_iter().flat_map(|(_, payload)| payload).collect::<Vec<_>>()).expect("written");
    let mut sox = Command::new("sox");
    sox.args(["-t", "al", "-r", "8000", "-c", "1"]).arg(&coded);
    sox.args(["-t", "raw", "-e", "signed", "-b", "16", "-r", "22050"]).arg(&plain);
    assert!(sox.status().await.expect("sox is there").success());
    let mut decoder = Command::new("multimon-ng");
    decoder.args(["-q", "-a", "DTMF", "-t", "raw"]).arg(&plain).stdin(Stdio::null());
    let read = decoder.output().await.expect("multimon-ng is there: Debian has it in the package of that name");
    let read = String::from_utf8_lossy(&read.stdout);
    let keys: String = read.lines().filter_map(|line| line.strip_prefix("DTMF: ")).collect();
    assert_eq!(keys, KEYS, "{read}");
}
