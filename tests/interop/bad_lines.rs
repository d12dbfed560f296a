//! A line that delays, loses and reorders, on real sockets: what was done to it stands in the record, and the conversation goes on.
//!
//! The network is made here, by the far end's own sender: netem (`tc`) would need `sch_netem`, which kernels of small machines leave out.

use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};
use trunkline::codec::g711::Law;
use trunkline::proto::control::v1::{DialRequest, Outcome};
use trunkline::proto::dialogue::v1::action::Action as Act;
use trunkline::proto::dialogue::v1::line_event::Event as Line;
use trunkline::sip::message::Method;

use crate::rig::{Brain, Engine, Hearing, PATIENCE, Peer, Rig, Setup, Speaking, media_port, say, sdp};

/// Samples of 20 ms.
const FRAME: usize = 160;
/// 40 ms, and up to 20 more or less: so one packet in four comes after one that was sent later.
const DELAY_MS: std::ops::Range<f64> = 20.0..60.0;
const LOSS: f64 = 0.05;

/// A packet, and when it comes.
struct Sent {
    at: Duration,
    datagram: Vec<u8>,
}

/// What a caller says, with silence about it, as packets; those that come, in the order in which they do, and how many do not.
fn said(seed: u64) -> (Vec<Sent>, u64) {
    let speech = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-audio/caller-when.wav");
    let speech = hound::WavReader::open(speech).expect("a recording");
    let speech: Vec<i16> = speech.into_samples().map(|sample| sample.expect("whole")).collect();
    let quiet = |seconds: usize| vec![0; seconds * 8_000];
    let all = [quiet(3), speech.clone(), quiet(3), speech, quiet(3)].concat();
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut sent, mut lost) = (Vec::new(), 0);
    let frames = all.as_chunks::<FRAME>().0;
    for (n, frame) in frames.iter().enumerate() {
        let mut datagram = vec![0x80, if n == 0 { 0x88 } else { 8 }];
        datagram.extend((n as u16).to_be_bytes());
        datagram.extend((n as u32 * FRAME as u32).to_be_bytes());
        datagram.extend(7u32.to_be_bytes());
        let mut payload = [0; FRAME];
        Law::A.encode(frame, &mut payload);
        datagram.extend(payload);
        let delay = rng.random_range(DELAY_MS);
        // Whether the first and the last are there at all nobody could know.
        if rng.random_bool(LOSS) && n > 0 && n + 1 < frames.len() {
            lost += 1;
        } else {
            sent.push(Sent { at: Duration::from_secs_f64(n as f64 * 0.02 + delay / 1_000.0), datagram });
        }
    }
    sent.sort_by_key(|packet| packet.at);
    (sent, lost)
}

#[tokio::test]
async fn a_talk_goes_on_over_a_line_that_delays_loses_and_reorders_and_the_record_says_what_it_did() {
    let engine = Engine::serve(Hearing::Numbers, Speaking::Tone).await;
    let mut brain = Brain::serve().await;
    let setup = Setup { speech: engine.endpoint(), dialogue: brain.endpoint(), ..Setup::default() };
    let rig = Rig::start(setup).await;
    let peer = Peer::lab(&rig).await;
    let media = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let order = DialRequest { dialogue: "brain".into(), speech: "local".into(), ..rig.order() };
    let call_id = rig.dial(order).await;
    let invite = peer.request(&Method::Invite).await;
    let to = media_port(invite.session_body().sdp().expect("an offer"));
    peer.answer(&invite, 200, &[], &sdp(&media)).await;
    peer.request(&Method::Ack).await;
    rig.answered(&call_id).await;

    let (packets, lost) = said(11);
    let came = packets.len() as u64;
    let speaks = async {
        let start = Instant::now();
        for packet in packets {
            sleep_until(start + packet.at).await;
            media.send_to(&packet.datagram, ("127.0.0.1", to)).await.expect("it is sent");
        }
    };
    let talks = async {
        let mut line = brain.call().await;
        line.act(Act::Say(say("greeting", &["Hello."]))).await;
        let mut texts = Vec::new();
        for n in 0..2 {
            let heard = |event: &Line| match event {
                Line::Utterance(utterance) => Some(utterance.text.clone()),
                _ => None,
            };
            texts.push(line.find(heard).await);
            line.act(Act::Say(say(&format!("answer {n}"), &["At noon."]))).await;
        }
        (line, texts)
    };
    let both = tokio::time::timeout(3 * PATIENCE, async { tokio::join!(speaks, talks) }).await;
    let (_, (line, texts)) = both.expect("two utterances in time");
    assert_eq!(texts, ["utterance 1", "utterance 2"], "none is torn in two");
    rig.finished(&call_id, "answer 1").await;
    rig.hang_up(&call_id).await;
    peer.is_hung_up().await;
    let record = rig.ended(&call_id).await;
    drop(line);
    assert_eq!(record.outcome(), Outcome::Success);
    assert!(record.faults.is_empty(), "{:?}", record.faults);
    let turns: Vec<_> = record.turns.iter().map(|turn| turn.text.as_str()).collect();
    assert_eq!(turns, ["Hello.", "utterance 1", "At noon.", "utterance 2", "At noon."]);
    let quality = record.quality.as_ref().expect("how the line was");
    // What was still under way when the call ended has not come.
    assert!((came.saturating_sub(3)..=came).contains(&quality.received), "{came}: {quality:?}");
    assert_eq!(quality.lost, lost, "{quality:?}");
    // Two delays that are even in 40 ms differ by 13 in the mean; a busy machine adds to it.
    assert!(quality.jitter_ms >= 8, "{quality:?}");
    let heard = quality.heard.as_ref().expect("it was heard");
    let share = lost as f32 / (came + lost) as f32;
    assert!((heard.loss_rate - share).abs() < 0.001, "{share}: {heard:?}");
    // 5 % at random are 3.9; what comes too late for its place costs more.
    assert!(heard.mos_lq.is_some_and(|mos| mos < 4.1), "{heard:?}");
    assert_eq!(quality.codec.as_ref().map(|codec| codec.name.as_str()), Some("PCMA"));
    rig.idle().await;
}
