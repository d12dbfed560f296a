//! Listening in to a call, and a caller who is sent nothing.

use std::time::Duration;

use tonic::Code;
use tonic::transport::Channel;
use trunkline::proto::control::v1::control_client::ControlClient;
use trunkline::proto::control::v1::send_request::Command as Order;
use trunkline::proto::control::v1::{ListenEncoding, ListenRequest, ListenResponse};
use trunkline::proto::dialogue::v1::Mute;

use crate::rig::{Happened, PATIENCE, Phone, Rig, Setup, say, soon};

fn ask(call_id: &str, frame_ms: u32) -> ListenRequest {
    ListenRequest { call_id: call_id.into(), frame_ms, ..Default::default() }
}

fn samples(side: &[u8]) -> Vec<i16> {
    side.as_chunks::<2>().0.iter().map(|&pair| i16::from_le_bytes(pair)).collect()
}

/// All of it, to the end.
async fn heard(mut pieces: tonic::Streaming<ListenResponse>) -> Vec<ListenResponse> {
    let mut all = Vec::new();
    let reading = async {
        while let Some(piece) = pieces.message().await.expect("it ends as it should") {
            all.push(piece);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("it ends in time");
    all
}

/// Half a minute of talk.
fn long() -> Order {
    let parts: Vec<&str> = std::iter::repeat_n("human-thank-you.wav", 20).collect();
    Order::Say(say("long", &parts))
}

#[tokio::test]
async fn who_listens_hears_what_the_recording_keeps_until_the_call_ends() {
    let rig = Rig::start(Setup { record: true, ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, long()).await;
    let linear = rig.control().listen(ask(&call_id, 60)).await.expect("it is up").into_inner();
    let coded = ListenRequest { encoding: ListenEncoding::Pcma.into(), ..ask(&call_id, 20) };
    let coded = rig.control().listen(coded).await.expect("it is up").into_inner();
    let (linear, coded) = (tokio::spawn(heard(linear)), tokio::spawn(heard(coded)));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    rig.hang_up(&call_id).await;
    let record = rig.ended(&call_id).await;
    phone.done().await;
    let (linear, coded) = (linear.await.expect("no panic"), coded.await.expect("no panic"));
    let wav = hound::WavReader::open(&record.wav).expect("it plays");
    let recorded: Vec<i16> = wav.into_samples().map(|sample| sample.expect("whole")).collect();
    let robot: Vec<i16> = recorded.chunks_exact(2).map(|pair| pair[1]).collect();
    assert!(linear.len() > 10, "{}", linear.len());
    let (mut sound, mut caller) = (0, 0);
    for (piece, last) in linear.iter().zip(1..).map(|(piece, n)| (piece, n == linear.len())) {
        assert!(piece.robot.len() == 960 || last || piece.lost_ms > 0, "{} bytes", piece.robot.len());
        assert_eq!(piece.robot.len(), piece.caller.len());
        let said = samples(&piece.robot);
        let from = piece.at_ms as usize * 8;
        // The recording ends with the call, the listener a moment later.
        let kept = &robot[from.min(robot.len())..(from + said.len()).min(robot.len())];
        assert_eq!(said[..kept.len()], *kept, "at {} ms", piece.at_ms);
        sound += said.iter().filter(|sample| sample.unsigned_abs() > 500).count();
        caller += samples(&piece.caller).iter().filter(|sample| sample.unsigned_abs() > 500).count();
        let age = piece.caller_at_ms.map(|at| piece.at_ms.saturating_sub(at));
        assert!(age.is_none_or(|age| age < 1_000), "{piece:?}");
    }
    assert!(sound > 1_000 && caller > 1_000, "both sides: {sound}, {caller}");
    assert!(coded.iter().all(|piece| piece.robot.len() == 160 && piece.caller.len() == 160));
    assert!(coded.len() > 50, "{}", coded.len());
    let gone = rig.control().listen(ask(&call_id, 0)).await.expect_err("it is over");
    assert_eq!((gone.code(), gone.message()), (Code::NotFound, format!("call {call_id} is not up").as_str()));
    rig.idle().await;
}

#[tokio::test]
async fn eight_may_listen_and_who_leaves_makes_room() {
    let rig = Rig::start(Setup::default()).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    let early = rig.control().listen(ask(&call_id, 0)).await;
    if let Err(status) = early {
        assert_eq!(status.code(), Code::FailedPrecondition, "not answered yet: {status}");
        assert!(status.message().starts_with("call_id: "), "{status}");
    }
    rig.answered(&call_id).await;
    let mut all = Vec::new();
    let full = loop {
        match rig.control().listen(ask(&call_id, 100)).await {
            Ok(pieces) => all.push(pieces.into_inner()),
            Err(status) => break status,
        }
        assert!(all.len() <= 8, "there is no end to it");
    };
    assert_eq!((full.code(), all.len() >= 7), (Code::ResourceExhausted, true), "{full}");
    assert!(full.message().starts_with("listeners: 8 listen in to call "), "{full}");
    for pieces in &mut all {
        pieces.message().await.expect("no error").expect("each hears something");
    }
    all.pop();
    soon("there is room again", PATIENCE, async || rig.control().listen(ask(&call_id, 100)).await.is_ok()).await;
    rig.hang_up(&call_id).await;
    rig.ended(&call_id).await;
    phone.done().await;
    for pieces in all {
        heard(pieces).await;
    }
    rig.idle().await;
}

#[tokio::test]
async fn who_reads_too_slowly_is_told_what_he_lost_and_the_call_does_not_notice() {
    let rig = Rig::start(Setup::default()).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180").timeout_s(30)).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    rig.send(&call_id, long()).await;
    // A client that takes half a second, and no more until it is read.
    let channel = Channel::from_shared(format!("http://127.0.0.1:{}", rig.ports.control())).expect("an address");
    let channel = channel.initial_stream_window_size(16 * 1024).connect_lazy();
    let mut slow = ControlClient::new(channel).listen(ask(&call_id, 20)).await.expect("it is up").into_inner();
    let mut first = slow.message().await.expect("no error").expect("it hears something");
    soon("frames are dropped", PATIENCE, async || {
        rig.metric_of("trunkline_media_dropped_total", "listener").await >= 20.0
    })
    .await;
    let mut lost = 0;
    while lost == 0 {
        let piece = slow.message().await.expect("no error").expect("it goes on");
        assert_eq!(piece.at_ms, first.at_ms + 20 + piece.lost_ms, "what is missing is told");
        lost = piece.lost_ms;
        first = piece;
    }
    assert!(lost >= 400, "{lost} ms");
    rig.hang_up(&call_id).await;
    let record = rig.ended(&call_id).await;
    phone.done().await;
    assert!(record.faults.is_empty(), "{:?}", record.faults);
    rig.idle().await;
}

#[tokio::test]
async fn a_listener_that_dies_leaves_nothing_behind() {
    let rig = Rig::start(Setup::default()).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    for _ in 0..20 {
        let channel = Channel::from_shared(format!("http://127.0.0.1:{}", rig.ports.control())).expect("an address");
        let mut client = ControlClient::new(channel.connect_lazy());
        // The limit is for those that are there: who has gone is forgotten soon.
        soon("there is room", PATIENCE, async || {
            let Ok(pieces) = client.listen(ask(&call_id, 20)).await else { return false };
            pieces.into_inner().message().await.is_ok_and(|piece| piece.is_some())
        })
        .await;
    }
    rig.hang_up(&call_id).await;
    rig.ended(&call_id).await;
    phone.done().await;
    rig.idle().await;
}

#[tokio::test]
async fn a_caller_who_is_muted_is_sent_silence_and_the_prompt_runs_on() {
    let rig = Rig::start(Setup { record: true, ..Setup::default() }).await;
    let phone = rig.phone(Phone::new("uas_answers_after_180")).await;
    let call_id = rig.dial(rig.order()).await;
    rig.answered(&call_id).await;
    let pieces = rig.control().listen(ask(&call_id, 20)).await.expect("it is up").into_inner();
    let pieces = tokio::spawn(heard(pieces));
    rig.send(
        &call_id,
        Order::Say(say("short", &["human-thank-you.wav", "human-thank-you.wav", "human-thank-you.wav"])),
    )
    .await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    for on in [true, true, false] {
        rig.send(&call_id, Order::Mute(Mute { on })).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let muted = async |wanted: bool| {
        rig.find(&call_id, |event| match &event.event {
            Some(Happened::Muted(told)) if told.on == wanted => Some(told.from_ms),
            _ => None,
        })
        .await
    };
    let (start, stop) = (muted(true).await, muted(false).await);
    rig.finished(&call_id, "short").await;
    rig.hang_up(&call_id).await;
    let record = rig.ended(&call_id).await;
    phone.done().await;
    assert_eq!(record.mutes.iter().map(|mute| (mute.start_ms, mute.stop_ms)).collect::<Vec<_>>(), [(start, stop)]);
    let pieces = pieces.await.expect("no panic");
    let loud = |piece: &ListenResponse| samples(&piece.robot).iter().any(|sample| sample.unsigned_abs() > 500);
    let (inside, outside): (Vec<_>, Vec<_>) = pieces.iter().partition(|p| start <= p.at_ms && p.at_ms < stop);
    assert!(inside.len() >= 20 && !inside.iter().any(|piece| loud(piece)), "{} pieces of silence", inside.len());
    assert!(outside.iter().any(|piece| loud(piece)), "before and after it he hears it");
    assert!(inside.iter().any(|piece| samples(&piece.caller).iter().any(|s| s.unsigned_abs() > 500)), "he is heard");
}
