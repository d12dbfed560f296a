//! Recognition against engines that answer, stay away, break off and talk nonsense.

use std::time::Instant;

use super::*;
use crate::call::io::HeardCoding;
use crate::call::io::Label;
use crate::codec::g711::Law;
use crate::ms::Ms;
use proto::recognize_request::Request as Told;
use proto::recognize_response::{Error, Final, Partial, Response as Answer};

/// A call's side of recognition.
struct Call {
    ring: rtrb::Producer<HeardFrame>,
    marks: mpsc::Sender<ToRecogniser>,
    inbox: mpsc::Receiver<FromSpeech>,
    at: u32,
}

impl Call {
    fn on(speech: &Speech) -> Call {
        let (ring, frames) = rtrb::RingBuffer::new(2_000);
        let (tell, inbox) = mpsc::channel(64);
        Call { ring, marks: speech.recognise("s", "call", frames, Vec::new(), tell), inbox, at: 0 }
    }

    /// Hears so many frames; their bytes tell their number, of which 8 bits are left.
    fn hear(&mut self, frames: u32) {
        for _ in 0..frames {
            let sound = [(self.at / 20) as u8; 160];
            let frame = HeardFrame { at: Ms(self.at), label: Label::Open, coding: HeardCoding::G711(Law::Mu), sound };
            self.ring.push(frame).expect("the ring has room");
            self.at += 20;
        }
    }

    async fn say(&mut self, utterance: u32, frames: u32) {
        let (start, from) = (Ms(self.at), Ms(self.at.saturating_sub(300)));
        self.marks.send(ToRecogniser::UtteranceStart { utterance, start, from }).await.expect("is up");
        self.hear(frames);
        self.marks.send(ToRecogniser::UtteranceEnd { utterance, start, stop: Ms(self.at) }).await.expect("is up");
    }

    async fn next(&mut self) -> FromSpeech {
        let next = tokio::time::timeout(Duration::from_secs(5), self.inbox.recv()).await;
        next.expect("something within 5 s").expect("the task is up")
    }

    async fn text(&mut self) -> (u32, String) {
        match self.next().await {
            FromSpeech::Final { utterance, text, .. } => (utterance, text),
            other => panic!("no final, but {other:?}"),
        }
    }

    async fn trouble(&mut self) -> (String, bool) {
        match self.next().await {
            FromSpeech::RecognitionTrouble { reason, lost } => (reason, lost),
            other => panic!("no trouble, but {other:?}"),
        }
    }

    /// Ends the call; the task has to end within a second and a bit.
    async fn end(mut self) -> Vec<FromSpeech> {
        let begun = Instant::now();
        drop(self.marks);
        let mut rest = Vec::new();
        while let Some(last) = self.inbox.recv().await {
            rest.push(last);
        }
        assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
        rest
    }
}

fn answer(answer: Answer) -> Result<proto::RecognizeResponse, Status> {
    Ok(proto::RecognizeResponse { response: Some(answer) })
}

fn final_of(utterance_id: u32, text: String) -> Result<proto::RecognizeResponse, Status> {
    answer(Answer::Final(Final { utterance_id, text, confidence: Some(7.0), ..Default::default() }))
}

/// What one stream was told, in short.
#[derive(Default)]
struct Heard {
    config: Option<proto::RecognizeConfig>,
    first: Option<u32>,
    bytes: usize,
    samples: Vec<i16>,
    flushed: bool,
    hints: Vec<proto::Hints>,
}

impl Heard {
    fn take(&mut self, told: &Told) {
        match told {
            Told::Config(config) => self.config = Some(config.clone()),
            Told::Audio(audio) => {
                self.first.get_or_insert(audio.at_ms);
                self.bytes += audio.samples.len();
                self.samples.extend(audio.samples.as_chunks::<2>().0.iter().map(|&pair| i16::from_le_bytes(pair)));
            }
            Told::Flush(_) => self.flushed = true,
            Told::Hints(hints) => self.hints.push(hints.clone()),
            Told::UtteranceStart(_) | Told::UtteranceEnd(_) => {}
        }
    }
}

/// Answers every end with how much audio came before it, in ms, from when on, and the last frame's number.
async fn count(mut requests: Streaming<proto::RecognizeRequest>, out: Hear) {
    let mut heard = Heard::default();
    while let Ok(Some(proto::RecognizeRequest { request: Some(told) })) = requests.message().await {
        heard.take(&told);
        if let Told::UtteranceEnd(end) = told {
            let rate = heard.config.as_ref().and_then(|c| c.format).map_or(0, |f| f.sample_rate_hz);
            let last = Law::Mu.encode_one(heard.samples.last().copied().unwrap_or_default());
            let text = format!("{} bytes at {rate} from {:?} to {last}", heard.bytes, heard.first);
            out.send(final_of(end.utterance_id, text)).await.expect("Trunkline reads");
        }
    }
    if heard.flushed {
        let _ =
            out.send(answer(Answer::Partial(Partial { utterance_id: 99, text: "flushed".into(), stop_ms: 0 }))).await;
    }
}

#[tokio::test]
async fn all_audio_comes_before_the_end_mark() {
    let served = Fake::new().hearing(|_, requests, out| count(requests, out)).serve().await;
    let speech = served.client();
    let mut call = Call::on(&speech);
    call.hear(20);
    call.say(1, 50).await;
    assert_eq!(call.text().await, (1, format!("{} bytes at 8000 from Some(0) to 69", 70 * 320)));
    call.say(2, 10).await;
    match call.next().await {
        FromSpeech::Final { utterance: 2, confidence, alternatives, text } => {
            assert_eq!(text, format!("{} bytes at 8000 from Some(0) to 79", 80 * 320));
            assert_eq!((confidence, alternatives.len()), (None, 0), "a confidence of 7 is none");
        }
        other => panic!("{other:?}"),
    }
    let of = speech.metrics().of("s");
    assert_eq!(call.end().await, [], "a partial that nobody waits for is not told");
    assert_eq!((of.dropped.get(), of.recognition_failures.get(), of.reconnects.get()), (0, 0, 0));
    assert_eq!(of.nonsense.get(), 1, "the flush came, and was answered by nonsense");
}

#[tokio::test]
async fn a_stream_that_nobody_has_seen_is_no_trouble_and_loses_nothing() {
    let served = Fake::new().hearing(|_, requests, out| count(requests, out)).serve().await;
    for (times, refused) in [(3, false), (4, true)] {
        let endpoint = refusing(&served.endpoint, "/Recognize", times).await;
        let speech = Speech::new(vec![config(&endpoint)]).expect("a good endpoint");
        let mut call = Call::on(&speech);
        call.hear(20);
        call.say(1, 50).await;
        if refused {
            let (reason, lost) = call.trouble().await;
            assert!(reason.contains("refused") && !lost, "{reason}");
        }
        assert_eq!(call.text().await, (1, format!("{} bytes at 8000 from Some(0) to 69", 70 * 320)));
        let of = speech.metrics().of("s");
        assert_eq!((of.recognition_failures.get(), of.reconnects.get()), (refused.into(), refused.into()));
    }
}

#[tokio::test]
async fn the_engine_chooses_the_format() {
    let encoded = |encoding: proto::Encoding| proto::AudioFormat { encoding: encoding.into(), sample_rate_hz: 8_000 };
    for (format, bytes, rate) in [
        (encoded(proto::Encoding::Pcma), 50 * 160, 8_000),
        (encoded(proto::Encoding::Pcmu), 50 * 160, 8_000),
        (pcm(16_000), 50 * 640, 16_000),
        (pcm(48_000), 50 * 1920, 48_000),
    ] {
        let mut fake = Fake::new();
        fake.can.recognition.as_mut().expect("hears").formats = vec![pcm(44_100), format, pcm(8_000)];
        let served = fake.hearing(|_, requests, out| count(requests, out)).serve().await;
        let mut call = Call::on(&served.client());
        call.say(1, 50).await;
        let (_, text) = call.text().await;
        let got: usize = text.split(' ').next().and_then(|n| n.parse().ok()).expect("a count");
        // A resampler may keep a little back.
        assert!(got <= bytes && got >= bytes * 9 / 10, "{text}, expected {bytes}");
        assert!(text.contains(&format!("at {rate} ")), "{text}");
    }
}

#[tokio::test]
async fn an_engine_that_dies_in_mid_utterance_is_told_it_again() {
    let served = Fake::new()
        .hearing(|n, mut requests, out| async move {
            if n > 0 {
                return count(requests, out).await;
            }
            while let Ok(Some(proto::RecognizeRequest { request: Some(told) })) = requests.message().await {
                if let Told::UtteranceStart(start) = &told {
                    let partial = Partial { utterance_id: start.utterance_id, text: "he".into(), stop_ms: 0 };
                    out.send(answer(Answer::Partial(partial))).await.expect("Trunkline reads");
                }
                if let Told::UtteranceEnd(_) = told {
                    let _ = out.send(Err(Status::unavailable("restarting"))).await;
                    return;
                }
            }
        })
        .serve()
        .await;
    let speech = served.client();
    let mut call = Call::on(&speech);
    call.hear(100);
    call.say(1, 40).await;
    assert_eq!(call.next().await, FromSpeech::Partial { utterance: 1, text: "he".into() });
    let (reason, lost) = call.trouble().await;
    assert!(reason.contains("restarting") && reason.contains(&served.endpoint) && !lost, "{reason}");
    // It hears the utterance, its pre-roll and a little before, and what came since; nothing twice.
    let (utterance, text) = call.text().await;
    assert_eq!(utterance, 1);
    assert!(text.ends_with(" to 139"), "{text}");
    let from: u32 = text.split(['(', ')']).nth(1).and_then(|n| n.parse().ok()).expect("a time");
    assert!(from <= 1_700, "{text}");
    assert!(text.starts_with(&format!("{} bytes", (2_800 - from) * 16)), "{text}");
    let of = speech.metrics().of("s");
    assert_eq!((of.recognition_failures.get(), of.reconnects.get(), of.dropped.get()), (1, 1, 0));
    assert_eq!(served.fake.asked.load(Ordering::Relaxed), 2, "it may be another one when it comes back");
    assert_eq!(call.end().await, []);
}

#[tokio::test]
async fn an_engine_that_stays_away_is_given_up() {
    let endpoint = nobody().await;
    let config = ServiceConfig { give_up: Duration::from_millis(400), ..config(&endpoint) };
    let speech = Speech::new(vec![config]).expect("a good endpoint");
    let mut call = Call::on(&speech);
    let begun = Instant::now();
    let (reason, lost) = call.trouble().await;
    assert!(reason.contains(&endpoint) && reason.contains("refused") && !lost, "{reason}");
    assert!(call.trouble().await.1, "once that it does not work, once that it will not");
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!(call.inbox.recv().await, None);
    assert!(speech.metrics().of("s").reconnects.get() > 0);
}

#[tokio::test]
async fn an_engine_that_comes_late_hears_the_last_seconds() {
    let endpoint = nobody().await;
    let speech = Speech::new(vec![config(&endpoint)]).expect("a good endpoint");
    let mut call = Call::on(&speech);
    call.hear(400); // 8 s
    call.say(1, 10).await;
    assert!(!call.trouble().await.1);
    let address = endpoint.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind(address).await.expect("binds again");
    let fake = Arc::new(Fake::new().hearing(|_, requests, out| count(requests, out)));
    let server = tonic::transport::Server::builder().add_service(SpeechServer::from_arc(fake));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let text = call.text().await;
    assert_eq!(text, (1, format!("{} bytes at 8000 from Some(3200) to 153", 250 * 320)));
    assert_eq!(speech.metrics().of("s").dropped.get(), 160, "the first 3.2 s nobody has heard");
    assert_eq!(call.end().await, []);
}

#[tokio::test]
async fn an_engine_that_does_not_read_loses_audio_and_holds_up_nothing() {
    let served = Fake::new()
        .hearing(|_, requests, out| async move {
            out.closed().await;
            drop(requests);
        })
        .serve()
        .await;
    let speech = served.client();
    let mut call = Call::on(&speech);
    for _ in 0..20 {
        call.hear(50);
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let (reason, lost) = call.trouble().await;
    assert!(reason.ends_with("does not take the audio: the oldest is dropped") && !lost, "{reason}");
    assert_eq!(call.ring.slots(), 2_000, "the ring is emptied all the same");
    let dropped = speech.metrics().of("s").dropped.get();
    // 20 s heard; kept: 5 s here, 8 KiB in the window, a few messages between.
    assert!((600..=750).contains(&dropped), "{dropped}");
    assert_eq!(call.end().await, [], "it is told once");
}

#[tokio::test]
async fn nonsense_is_counted_and_passed_over() {
    let served = Fake::new()
        .hearing(|_, mut requests, out| async move {
            while let Ok(Some(proto::RecognizeRequest { request: Some(told) })) = requests.message().await {
                if let Told::UtteranceEnd(end) = told {
                    let of = end.utterance_id;
                    for nonsense in [
                        Ok(proto::RecognizeResponse { response: None }),
                        final_of(4_000_000_000, "who?".into()),
                        answer(Answer::Partial(Partial { utterance_id: 0, text: "who?".into(), stop_ms: 0 })),
                        final_of(of, "yes".into()),
                        final_of(of, "yes, yes".into()),
                    ] {
                        out.send(nonsense).await.expect("Trunkline reads");
                    }
                }
            }
        })
        .serve()
        .await;
    let speech = served.client();
    let mut call = Call::on(&speech);
    call.say(1, 10).await;
    assert_eq!(call.text().await, (1, "yes".into()));
    call.say(2, 10).await;
    assert_eq!(call.text().await, (2, "yes".into()));
    assert_eq!(call.end().await, []);
    assert_eq!(speech.metrics().of("s").nonsense.get(), 8);
}

#[tokio::test]
async fn an_engine_that_does_not_fit_is_lost_at_once() {
    let served = Fake::new().serve().await;
    let config = ServiceConfig { language: "fr".into(), ..served.config() };
    let speech = Speech::new(vec![config]).expect("a good endpoint");
    let (reason, lost) = Call::on(&speech).trouble().await;
    assert!(lost, "{reason}");
    assert!(reason.ends_with("recognition.languages: \"fr\" is wanted, there is en"), "{reason}");
    assert!(reason.contains(&served.endpoint), "{reason}");
    let (ring, frames) = rtrb::RingBuffer::new(1);
    let (tell, mut inbox) = mpsc::channel::<FromSpeech>(1);
    let _marks = speech.recognise("t", "call", frames, Vec::new(), tell);
    let lost = FromSpeech::RecognitionTrouble {
        reason: "no speech service is configured by the name \"t\"".into(),
        lost: true,
    };
    assert_eq!(inbox.recv().await, Some(lost));
    assert!(ring.is_abandoned());
}

#[tokio::test]
async fn an_error_that_forbids_a_new_stream_is_obeyed() {
    let served = Fake::new()
        .hearing(|_, _, out| async move {
            let error = |retry| answer(Answer::Error(Error { reason: "no licence".into(), retry }));
            out.send(error(true)).await.expect("Trunkline reads");
            out.send(error(false)).await.expect("Trunkline reads");
        })
        .serve()
        .await;
    let mut call = Call::on(&served.client());
    assert!(!call.trouble().await.1, "the first is trouble, the second the same once more");
    let (reason, lost) = call.trouble().await;
    assert!(lost && reason.ends_with("no licence"), "{reason}");
    assert_eq!(served.fake.heard.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_engine_that_hangs_does_not_outlive_the_call() {
    for endpoint in
        [hangs().await, Fake::new().hearing(|_, _, out| async move { out.closed().await }).serve().await.endpoint]
    {
        let speech = Speech::new(vec![config(&endpoint)]).expect("a good endpoint");
        let mut call = Call::on(&speech);
        call.say(1, 10).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(call.end().await, []);
    }
}

#[tokio::test]
async fn a_final_that_comes_after_the_flush_is_told() {
    let served = Fake::new()
        .hearing(|_, mut requests, out| async move {
            while let Ok(Some(proto::RecognizeRequest { request: Some(told) })) = requests.message().await {
                if let Told::Flush(_) = told {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    out.send(final_of(1, "bye".into())).await.expect("Trunkline reads");
                }
            }
        })
        .serve()
        .await;
    let mut call = Call::on(&served.client());
    call.say(1, 10).await;
    call.marks.send(ToRecogniser::Close).await.expect("is up");
    assert_eq!(call.text().await, (1, "bye".into()));
    assert_eq!(call.end().await, []);
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_at_another_endpoint() {
    let dies = |_, mut requests: Streaming<proto::RecognizeRequest>, out: Hear| async move {
        while let Ok(Some(proto::RecognizeRequest { request: Some(told) })) = requests.message().await {
            if let Told::UtteranceEnd(_) = told {
                let _ = out.send(Err(Status::unavailable("restarting"))).await;
                return;
            }
        }
    };
    let (first, other) =
        (Fake::new().hearing(dies).serve().await, Fake::new().hearing(|_, r, out| count(r, out)).serve().await);
    let endpoints = vec![first.endpoint.clone(), other.endpoint.clone()];
    // The other one has no place yet: the first stream goes to the first endpoint.
    let speech = Speech::new(vec![ServiceConfig { endpoints, ..first.config() }]).expect("good endpoints");
    let mut call = Call::on(&speech);
    call.hear(100);
    call.say(1, 40).await;
    let (reason, lost) = call.trouble().await;
    assert!(reason.contains("restarting") && reason.contains(&first.endpoint) && !lost, "{reason}");
    let (utterance, text) = call.text().await;
    assert_eq!(utterance, 1);
    assert!(text.ends_with(" to 139"), "it hears the utterance again: {text}");
    // What comes next goes to it as well.
    call.say(2, 10).await;
    assert_eq!(call.text().await.0, 2);
    assert_eq!(call.end().await, []);
    assert_eq!((first.fake.heard.load(Ordering::Relaxed), other.fake.heard.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test]
async fn one_endpoint_that_does_not_fit_is_not_the_end() {
    let mut deaf = Fake::new();
    deaf.can.recognition = None;
    let (deaf, other) = (deaf.serve().await, Fake::new().hearing(|_, r, out| count(r, out)).serve().await);
    let endpoints = vec![deaf.endpoint.clone(), other.endpoint.clone()];
    let speech = Speech::new(vec![ServiceConfig { endpoints, ..deaf.config() }]).expect("good endpoints");
    let mut call = Call::on(&speech);
    call.say(1, 10).await;
    let (reason, lost) = call.trouble().await;
    assert!(reason.contains(&deaf.endpoint) && !lost, "{reason}");
    assert_eq!(call.text().await.0, 1);
}

/// Answers every end with this text.
async fn always(text: &'static str, mut requests: Streaming<proto::RecognizeRequest>, out: Hear) {
    while let Ok(Some(proto::RecognizeRequest { request: Some(told) })) = requests.message().await {
        if let Told::UtteranceEnd(end) = told {
            out.send(final_of(end.utterance_id, text.into())).await.expect("Trunkline reads");
        }
    }
}

#[tokio::test]
async fn recognition_that_is_silent_while_somebody_speaks_goes_on_elsewhere() {
    let deaf = Fake::new().hearing(|_, requests, out| always("", requests, out)).serve().await;
    let other = Fake::new().hearing(|_, requests, out| always("yes", requests, out)).serve().await;
    let endpoints = vec![deaf.endpoint.clone(), other.endpoint.clone()];
    let speech = Speech::new(vec![ServiceConfig { endpoints, ..deaf.config() }]).expect("good endpoints");
    let mut call = Call::on(&speech);
    // Noises do not count.
    for noise in 1..=3 {
        call.say(noise, 20).await;
        assert_eq!(call.text().await, (noise, String::new()));
    }
    for utterance in 4..=5 {
        call.say(utterance, 50).await;
        assert_eq!(call.text().await, (utterance, String::new()));
    }
    call.hear(10);
    let (reason, lost) = call.trouble().await;
    assert!(reason.ends_with("has given no text for 2 utterances in a row") && !lost, "{reason}");
    assert!(reason.contains(&deaf.endpoint), "{reason}");
    call.say(6, 50).await;
    assert_eq!(call.text().await, (6, "yes".to_owned()));
    let of = speech.metrics().of("s");
    assert_eq!((of.silent.get(), of.reconnects.get()), (1, 1));
    assert_eq!(call.end().await, []);
}

#[tokio::test]
async fn a_stream_that_answers_nothing_at_all_is_left() {
    // It reads, and says nothing.
    let mute = Fake::new()
        .hearing(|n, mut requests, out| async move {
            if n > 0 {
                return always("yes", requests, out).await;
            }
            while let Ok(Some(_)) = requests.message().await {}
        })
        .serve()
        .await;
    let silent = Rule { utterances: 2, speech: Duration::from_secs(3) };
    let speech = Speech::new(vec![ServiceConfig { silent, ..mute.config() }]).expect("a good endpoint");
    let mut call = Call::on(&speech);
    call.say(1, 100).await;
    call.say(2, 100).await;
    let (reason, lost) = call.trouble().await;
    assert!(reason.ends_with("has said nothing while 4000 ms of speech went in") && !lost, "{reason}");
    // The new stream hears both again, as far as they are kept.
    let mut texts = [call.text().await, call.text().await];
    texts.sort();
    assert_eq!(texts, [(1, "yes".to_owned()), (2, "yes".to_owned())]);
}

/// An engine that takes these kinds of hints, and answers each end with the hints that hold, by kind.
fn takes(phrases: bool, grammars: bool) -> Fake {
    let mut fake = Fake::new().hearing(|_, mut requests, out| async move {
        let mut heard = Heard::default();
        while let Ok(Some(proto::RecognizeRequest { request: Some(told) })) = requests.message().await {
            heard.take(&told);
            if let Told::UtteranceEnd(end) = told {
                let config = heard.config.as_ref().map(|config| (config.phrases.clone(), config.grammar.clone()));
                let last = heard.hints.last().map(|hints| (hints.phrases.clone(), hints.grammar.clone()));
                let (phrases, grammar) = last.or(config).unwrap_or_default();
                let text = format!("{} hints: {phrases:?} {grammar:?}", heard.hints.len());
                out.send(final_of(end.utterance_id, text)).await.expect("Trunkline reads");
            }
        }
    });
    let can = fake.can.recognition.as_mut().expect("it recognises");
    (can.phrases, can.grammars) = (phrases, grammars);
    fake
}

impl Call {
    async fn expect(&self, phrases: &[&str], grammar: &str) {
        let phrases = phrases.iter().map(|&phrase| phrase.into()).collect();
        let hints = crate::call::hints::Hints { phrases, grammar: grammar.into() };
        let hints = (!hints.is_empty()).then(|| Arc::new(hints));
        self.marks.send(ToRecogniser::Expect(hints)).await.expect("is up");
    }
}

#[tokio::test]
async fn hints_of_the_call_and_of_the_turn_are_told_in_their_time() {
    let served = takes(true, true).serve().await;
    let speech = served.client();
    let (ring, frames) = rtrb::RingBuffer::new(2_000);
    let (tell, inbox) = mpsc::channel(64);
    let marks = speech.recognise("s", "call", frames, vec!["Trunkline".into()], tell);
    let mut call = Call { ring, marks, inbox, at: 0 };
    call.hear(10);
    call.say(1, 20).await;
    assert_eq!(call.text().await, (1, "0 hints: [\"Trunkline\"] \"\"".into()), "those of the call are in the config");
    call.expect(&["yes", "no"], "yesno").await;
    call.say(2, 20).await;
    assert_eq!(call.text().await, (2, "1 hints: [\"Trunkline\", \"yes\", \"no\"] \"yesno\"".into()));
    call.expect(&[], "").await;
    call.say(3, 20).await;
    assert_eq!(call.text().await, (3, "2 hints: [\"Trunkline\"] \"\"".into()));
    assert_eq!(call.end().await, []);
}

#[tokio::test]
async fn an_engine_that_takes_no_hints_is_sent_none_and_the_call_is_told_once() {
    let served = takes(true, false).serve().await;
    let speech = served.client();
    let mut call = Call::on(&speech);
    call.expect(&["yes"], "yesno").await;
    call.say(1, 20).await;
    let (reason, lost) = call.trouble().await;
    assert!(!lost && reason.ends_with("expect.grammar: it takes none, as its Capabilities say"), "{reason}");
    let (_, text) = call.text().await;
    assert!(text.ends_with("[\"yes\"] \"\""), "{text}");
    call.expect(&[], "again").await;
    call.say(2, 20).await;
    assert!(call.text().await.1.ends_with("[] \"\""));
    assert_eq!(call.end().await, []);
}
