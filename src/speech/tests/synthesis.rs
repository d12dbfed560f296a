//! Synthesis against engines that speak, stall, fail and are cancelled.

use std::time::Instant;

use super::*;

pub(super) fn piece(samples: Vec<u8>) -> Result<proto::SynthesizeResponse, Status> {
    Ok(proto::SynthesizeResponse { samples: samples.into(), words: Vec::new() })
}

pub(super) fn words(text: &str) -> Text {
    Text { text: text.into(), ..Text::default() }
}

/// All that comes of a text: its sound, and how it ended.
async fn listen(speech: &Speech, text: Text) -> (Vec<Vec<i16>>, Result<(), String>) {
    let (inbox, mut outbox) = mpsc::channel::<FromSpeech>(4);
    let synthesis = speech.synthesise("s", "call", (PromptNo(3), 1), text, Band::Narrow, inbox);
    let mut sound = Vec::new();
    let end = loop {
        match outbox.recv().await.expect("an end") {
            FromSpeech::Sound { prompt: PromptNo(3), segment: 1, band: Band::Narrow, samples } => sound.push(samples),
            FromSpeech::SoundEnd { prompt: PromptNo(3), segment: 1 } => break Ok(()),
            FromSpeech::SoundFailed { prompt: PromptNo(3), segment: 1, reason } => break Err(reason),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(outbox.recv().await, None, "the end comes once");
    drop(synthesis);
    (sound, end)
}

#[tokio::test]
async fn sound_comes_in_pieces_of_20_to_200_ms_however_it_was_cut() {
    let served = Fake::new()
        .speaking(|_, request, out| async move {
            assert_eq!(request.text, "hello");
            let bytes: Vec<u8> = (0..12_345i16).flat_map(i16::to_le_bytes).collect();
            for cut in bytes.chunks(1_001).flat_map(|cut| [cut, &[]]) {
                out.send(piece(cut.to_vec())).await.expect("Trunkline reads");
            }
        })
        .serve()
        .await;
    let speech = served.client();
    let (sound, end) = listen(&speech, words("hello")).await;
    assert_eq!(end, Ok(()));
    assert_eq!(sound.concat(), (0..12_345).collect::<Vec<i16>>());
    let (last, all) = sound.split_last().expect("sound");
    assert!(all.iter().all(|piece| (160..=1_600).contains(&piece.len())) && last.len() <= 1_600);
    let (_, end) = listen(&speech, words("hello")).await;
    assert_eq!(end, Ok(()));
    assert_eq!(served.fake.asked.load(Ordering::Relaxed), 1, "what it can do is asked once");
}

#[tokio::test]
async fn a_request_that_nobody_has_seen_is_made_again() {
    let served = Fake::new()
        .speaking(|_, request, out| async move {
            assert_eq!(request.text, "hello");
            out.send(piece(vec![1; 1_600])).await.expect("Trunkline reads");
        })
        .serve()
        .await;
    let speech = Speech::new(vec![config(&refusing(&served.endpoint, "/Synthesize", 3).await)]).expect("good");
    let (sound, end) = listen(&speech, words("hello")).await;
    assert_eq!((sound.concat().len(), end), (800, Ok(())));
    assert_eq!(speech.metrics().of("s").synthesis_failures.get(), 0);
}

#[tokio::test]
async fn wishes_are_passed_on_and_the_rate_is_the_line_s() {
    let mut fake = Fake::new();
    fake.can.synthesis.as_mut().expect("speaks").formats = vec![pcm(22_050), pcm(24_000)];
    let served = fake
        .speaking(|_, request, out| async move {
            let config = request.config.expect("is set");
            assert_eq!(
                (config.call_id.as_str(), config.voice.as_str(), config.language.as_str()),
                ("call", "anna", "en")
            );
            assert_eq!((config.speed, config.pitch, config.volume), (Some(1.5), Some(2.0), Some(-3.0)));
            assert_eq!(config.format, Some(pcm(24_000)));
            out.send(piece(vec![1; 48_000])).await.expect("Trunkline reads");
        })
        .serve()
        .await;
    let text = Text {
        voice: "anna".into(),
        language: "en".into(),
        speed: Some(1.5),
        pitch: Some(2.0),
        volume: Some(-3.0),
        ..words("hello")
    };
    let (sound, end) = listen(&served.client(), text).await;
    assert_eq!(end, Ok(()));
    let length = sound.concat().len();
    assert!(length.abs_diff(8_000) <= 80, "a second has {length} samples");
}

#[tokio::test]
async fn ssml_is_passed_through_as_it_is() {
    const MARKUP: &str = "<speak>On <say-as interpret-as=\"date\">2026-11-26</say-as> &amp; later.</speak>";
    let mut fake = Fake::new();
    fake.can.synthesis.as_mut().expect("speaks").ssml = true;
    let served = fake
        .speaking(|_, request, out| async move {
            let is_markup = request.config.is_some_and(|config| config.ssml);
            assert_eq!((request.text.as_str(), is_markup), (MARKUP, true));
            out.send(piece(vec![1; 1_600])).await.expect("Trunkline reads");
        })
        .serve()
        .await;
    let (sound, end) = listen(&served.client(), Text { ssml: true, ..words(MARKUP) }).await;
    assert_eq!((sound.concat().len(), end), (800, Ok(())));
}

#[tokio::test]
async fn a_long_text_is_not_kept_as_a_whole() {
    let served = Fake::new()
        .speaking(|_, _, out| async move {
            for _ in 0..40 {
                if out.send(piece(vec![0; 1_600])).await.is_err() {
                    return;
                }
            }
        })
        .serve()
        .await;
    let speech = served.client();
    let (inbox, mut outbox) = mpsc::channel::<FromSpeech>(64);
    let _synthesis = speech.synthesise("s", "call", (PromptNo(3), 1), words("hello"), Band::Narrow, inbox);
    let mut given = 0;
    let mut first = None;
    while let Some(FromSpeech::Sound { samples, .. }) = outbox.recv().await {
        given += samples.len() as u64 / 8;
        let played = first.get_or_insert_with(Instant::now).elapsed().as_millis() as u64;
        assert!(given <= played + 500 + 200 + 20, "{given} ms are given, {played} can have been heard");
    }
    assert_eq!(given, 4_000, "all of it comes");
}

#[tokio::test]
async fn an_engine_that_stalls() {
    let served = Fake::new()
        .speaking(|n, _, out| async move {
            if n == 0 {
                out.send(piece(vec![0; 640])).await.expect("Trunkline reads");
            }
            // Pieces without sound are no sign of life.
            while out.send(piece(Vec::new())).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .serve()
        .await;
    let speech = served.client();
    let begun = Instant::now();
    let (sound, end) = listen(&speech, words("hello")).await;
    assert_eq!(
        (sound.concat().len(), end),
        (320, Err(format!("speech service \"s\" at {}: gave no sound for 300ms", served.endpoint)))
    );
    assert!((300..2_500).contains(&begun.elapsed().as_millis()));
    assert_eq!(served.fake.spoken.load(Ordering::Relaxed), 1, "what was begun is not said again");
    let (sound, end) = listen(&speech, words("hello")).await;
    assert!(sound.is_empty() && end.is_err());
    assert_eq!(served.fake.spoken.load(Ordering::Relaxed), 3, "what was not begun is tried twice");
}

#[tokio::test]
async fn an_engine_that_dies() {
    let served = Fake::new()
        .speaking(|n, _, out| async move {
            match n {
                // Before the first sound: tried again.
                0 => out.send(Err(Status::unavailable("restarting"))).await.expect("Trunkline reads"),
                1 => out.send(piece(vec![0; 640])).await.expect("Trunkline reads"),
                // After it: not.
                _ => {
                    out.send(piece(vec![0; 640])).await.expect("Trunkline reads");
                    out.send(Err(Status::internal("boom"))).await.expect("Trunkline reads");
                }
            }
        })
        .serve()
        .await;
    let speech = served.client();
    let (sound, end) = listen(&speech, words("hello")).await;
    assert_eq!((sound.concat().len(), end), (320, Ok(())));
    assert_eq!(served.fake.asked.load(Ordering::Relaxed), 2, "asked anew after the failure");
    let (sound, end) = listen(&speech, words("hello")).await;
    let reason = end.expect_err("fails");
    assert!(reason.ends_with("Internal: boom") && reason.contains(&served.endpoint), "{reason}");
    assert_eq!(sound.concat().len(), 320);
    assert_eq!(served.fake.spoken.load(Ordering::Relaxed), 3);
    assert_eq!(speech.metrics().of("s").synthesis_failures.get(), 2);
}

#[tokio::test]
async fn an_engine_that_is_silent_has_failed_unless_there_is_nothing_to_say() {
    let served = Fake::new().serve().await;
    let (_, end) = listen(&served.client(), words("hello")).await;
    assert!(end.expect_err("fails").ends_with("gave no sound"));
    let (_, end) = listen(&served.client(), words("…")).await;
    assert_eq!(end, Ok(()));
}

#[tokio::test]
async fn who_is_absent_hangs_or_does_not_fit() {
    let served = Fake::new().serve().await;
    for (endpoint, text, what) in [
        (nobody().await, words("hello"), "refused"),
        (hangs().await, words("hello"), "did not say within 300ms that it speaks HTTP/2"),
        (served.endpoint.clone(), Text { voice: "bob".into(), ..words("hello") }, "\"bob\" is wanted, there is anna"),
        (served.endpoint.clone(), Text { ssml: true, ..words("hello") }, "does not read SSML"),
    ] {
        let speech = Speech::new(vec![config(&endpoint)]).expect("a good endpoint");
        let (sound, end) = listen(&speech, text).await;
        let reason = end.expect_err("fails");
        assert!(reason.contains(what) && reason.contains(&endpoint), "{reason}");
        assert!(sound.is_empty());
    }
    assert_eq!(served.fake.spoken.load(Ordering::Relaxed), 0, "it is not even asked");
    let (inbox, mut outbox) = mpsc::channel::<FromSpeech>(4);
    let _synthesis = served.client().synthesise("t", "call", (PromptNo(1), 0), words("hello"), Band::Narrow, inbox);
    let failed = FromSpeech::SoundFailed {
        prompt: PromptNo(1),
        segment: 0,
        reason: "no speech service is configured by the name \"t\"".into(),
    };
    assert_eq!(outbox.recv().await, Some(failed));
}

#[tokio::test]
async fn dropping_it_cancels_the_engine_s_work() {
    let (cancelled, mut seen) = mpsc::channel(1);
    let served = Fake::new()
        .speaking(move |_, _, out| {
            let cancelled = cancelled.clone();
            async move {
                while out.send(piece(vec![0; 320])).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                cancelled.send(()).await.expect("the test waits");
            }
        })
        .serve()
        .await;
    let (inbox, mut outbox) = mpsc::channel::<FromSpeech>(4);
    let synthesis = served.client().synthesise("s", "call", (PromptNo(1), 0), words("hello"), Band::Narrow, inbox);
    assert!(matches!(outbox.recv().await, Some(FromSpeech::Sound { .. })));
    drop(synthesis);
    tokio::time::timeout(Duration::from_secs(1), seen.recv()).await.expect("cancelled within a second");
    while let Some(left) = outbox.recv().await {
        assert!(matches!(left, FromSpeech::Sound { .. }), "no word of an end, but {left:?}");
    }
}

/// What was heard of a segment cannot be said again; what was not, another endpoint says.
#[tokio::test]
async fn a_segment_of_which_nothing_was_heard_is_asked_for_elsewhere() {
    let speaks = || {
        Fake::new().speaking(|_, _, out| async move {
            out.send(piece(vec![0; 640])).await.expect("Trunkline reads");
        })
    };
    let refuses = || {
        Fake::new().speaking(|_, _, out| async move {
            let _ = out.send(Err(Status::resource_exhausted("no licence left"))).await;
        })
    };
    for (first, name) in
        [(refuses().serve().await.endpoint, "refuses"), (hangs().await, "hangs"), (nobody().await, "is absent")]
    {
        let other = speaks().serve().await;
        let endpoints = vec![first, other.endpoint.clone()];
        let speech = Speech::new(vec![ServiceConfig { endpoints, ..other.config() }]).expect("good endpoints");
        let (sound, end) = listen(&speech, words("hello")).await;
        assert_eq!((sound.concat().len(), end), (320, Ok(())), "{name}");
        assert_eq!(other.fake.spoken.load(Ordering::Relaxed), 1, "{name}");
    }
    let all = [refuses().serve().await.endpoint, refuses().serve().await.endpoint];
    let speech = Speech::new(vec![ServiceConfig { endpoints: all.to_vec(), ..config("") }]).expect("good endpoints");
    let (_, end) = listen(&speech, words("hello")).await;
    assert!(end.expect_err("nobody can").contains("no licence left"));
}
