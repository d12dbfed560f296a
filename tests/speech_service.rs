//! `trunkline speech` by a real gRPC client: real recognition of human and synthetic speech, and every refusal.

#![cfg(feature = "speech")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use trunkline::proto::speech::v1::recognize_request::Request;
use trunkline::proto::speech::v1::recognize_response::{Final, Response};
use trunkline::proto::speech::v1::speech_client::SpeechClient;
use trunkline::proto::speech::v1::*;
use trunkline::services::serving;
use trunkline::services::speech::server::{Config, Engines, serve_on};
use trunkline::services::speech::weights::cache_folder;

struct Service {
    client: SpeechClient<Channel>,
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    done: tokio::task::JoinHandle<()>,
}

impl Service {
    async fn start() -> Self {
        let config = Config::new(cache_folder().expect("a cache folder"));
        let engines = Engines::open(&config).await.unwrap_or_else(|error| panic!("{error}"));
        let listener = serving::listen(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            serve_on(listener, engines, stopped).await.expect("it serves until it is stopped");
        });
        let client = SpeechClient::connect(format!("http://{addr}")).await.expect("a connection");
        Self { client, addr, stop, done }
    }

    async fn end(self) {
        let Self { client, stop, done, .. } = self;
        drop(client);
        stop.send(()).expect("it still runs");
        tokio::time::timeout(Duration::from_secs(5), done).await.expect("it ends").expect("without a panic");
    }

    async fn recognize(&mut self) -> (mpsc::Sender<RecognizeRequest>, Streaming<RecognizeResponse>) {
        let (requests, receiver) = mpsc::channel(8);
        // The answer's headers have to come although nothing has been sent.
        let stream = self.client.recognize(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
        (requests, stream)
    }

    async fn synthesize(&mut self, config: SynthesizeConfig, text: &str) -> Result<Vec<i16>, Status> {
        let request = SynthesizeRequest { config: Some(config), text: text.to_owned() };
        collect(self.client.synthesize(request).await?.into_inner()).await
    }
}

async fn collect(mut stream: Streaming<SynthesizeResponse>) -> Result<Vec<i16>, Status> {
    let mut samples = Vec::new();
    while let Some(piece) = stream.message().await? {
        samples.extend(piece.samples.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
    }
    Ok(samples)
}

fn pcm(sample_rate_hz: u32) -> Option<AudioFormat> {
    Some(AudioFormat { encoding: Encoding::PcmS16le.into(), sample_rate_hz })
}

fn config(rate: u32) -> RecognizeConfig {
    RecognizeConfig {
        call_id: "test".into(),
        language: "en-US".into(),
        format: pcm(rate),
        phrases: vec![],
        grammar: String::new(),
    }
}

fn request(request: Request) -> RecognizeRequest {
    RecognizeRequest { request: Some(request) }
}

/// What a call would send: half a second of line noise, speech with its start reported 120 ms late, silence until the
/// endpointer is sure; four times as fast as life. Gives the final result, the partial ones, and how long after the
/// end mark the final one came.
async fn hear(service: &mut Service, rate: u32, speech: &[i16]) -> (Final, Vec<String>, Duration) {
    let (requests, mut responses) = service.recognize().await;
    let speech = speech.to_vec();
    let marked = tokio::spawn(async move {
        requests.send(request(Request::Config(config(rate)))).await.expect("listened to");
        let frame = rate as usize / 50;
        let noise = |span: u32| (0..rate * span / 1_000).map(|n| (n * 7_919 % 13) as i16 - 6).collect::<Vec<_>>();
        let audio = [noise(500), speech.clone(), noise(700)].concat();
        let stop = 500 + (speech.len() as u64 * 1_000 / u64::from(rate)) as u32;
        for (n, samples) in audio.chunks(frame).enumerate() {
            let at_ms = n as u32 * 20;
            if at_ms == 620 {
                let mark = UtteranceStart { utterance_id: 1, start_ms: 500, from_ms: 200 };
                requests.send(request(Request::UtteranceStart(mark))).await.expect("listened to");
            }
            let samples: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            let chunk = AudioChunk { at_ms, label: AudioLabel::Open.into(), samples: samples.into() };
            requests.send(request(Request::Audio(chunk))).await.expect("listened to");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mark = UtteranceEnd { utterance_id: 1, start_ms: 500, stop_ms: stop };
        requests.send(request(Request::UtteranceEnd(mark))).await.expect("listened to");
        Instant::now()
    });
    let mut partials = Vec::new();
    loop {
        match responses.message().await.expect("no error").expect("an answer").response.expect("a kind") {
            Response::Partial(partial) => partials.push(partial.text),
            Response::Final(last) => {
                let late = marked.await.expect("all was sent").elapsed();
                return (last, partials, late);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn human(name: &str) -> (u32, Vec<i16>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-audio").join(name);
    let mut wav = hound::WavReader::open(&path).expect("a fixture");
    (wav.spec().sample_rate, wav.samples::<i16>().map(|sample| sample.expect("a sample")).collect())
}

#[tokio::test]
async fn human_speech_from_a_telephone_is_recognised_with_partial_results() {
    let mut service = Service::start().await;
    for (file, wanted) in [
        ("human-password.wav", "please enter your password followed by the pound key"),
        ("human-nobody-available.wav", "nobody is available to take your call at the moment"),
        ("human-seven.wav", "seven"),
    ] {
        let (rate, speech) = human(file);
        let (last, partials, late) = hear(&mut service, rate, &speech).await;
        println!("{file}: {:?} {late:?} {partials:?}", last.text);
        assert_eq!(plain(&last.text), wanted);
        assert_eq!((last.utterance_id, last.start_ms), (1, 500));
        assert!(last.confidence.is_some_and(|sure| sure > 0.3 && sure <= 1.0), "{last:?}");
        assert!(!partials.is_empty(), "{file}");
        assert!(late < Duration::from_secs(2), "{file}: {late:?}");
    }
    service.end().await;
}

#[tokio::test]
async fn what_is_synthesised_is_recognised_again() {
    let mut service = Service::start().await;
    let text = "Please bring it on Friday in the afternoon.";
    for rate in [8_000, 16_000] {
        let how = SynthesizeConfig { format: pcm(rate), language: "en-GB".into(), ..Default::default() };
        let speech = service.synthesize(how, text).await.expect("speech");
        let (last, ..) = hear(&mut service, rate, &speech).await;
        println!("{rate}: {:?}", last.text);
        for word in ["friday", "afternoon"] {
            assert!(plain(&last.text).contains(word), "{rate}: {}", last.text);
        }
    }
    service.end().await;
}

#[tokio::test]
async fn synthesis_does_what_its_fields_say() {
    let mut service = Service::start().await;
    let text = "One two three four five.";
    let how = |rate| SynthesizeConfig { format: pcm(rate), ..Default::default() };
    let normal = service.synthesize(how(8_000), text).await.expect("speech");
    let length = normal.len() as f64 / 8_000.0;
    assert!((1.0..4.0).contains(&length), "{length}");
    let loud = |samples: &[i16]| samples.iter().map(|sample| i32::from(*sample).abs()).max().unwrap_or(0);
    assert!(loud(&normal[..400]) > 58, "the first sound comes within 50 ms");

    let wide = service.synthesize(how(48_000), text).await.expect("speech");
    assert!((wide.len() as f64 / 48_000.0 - length).abs() < 0.01, "the same at another rate");
    let fast = service.synthesize(SynthesizeConfig { speed: Some(2.0), ..how(8_000) }, text).await.expect("speech");
    assert!(fast.len() * 10 < normal.len() * 7, "{} {}", fast.len(), normal.len());
    let soft = service.synthesize(SynthesizeConfig { volume: Some(-20.0), ..how(8_000) }, text).await.expect("speech");
    assert!((9..=11).contains(&(loud(&normal) / loud(&soft))), "{} {}", loud(&normal), loud(&soft));
    let high = service.synthesize(SynthesizeConfig { pitch: Some(8.0), ..how(8_000) }, text).await.expect("speech");
    let other = service.synthesize(SynthesizeConfig { voice: "en-us+f3".into(), ..how(8_000) }, text).await;
    assert_ne!(high, normal);
    assert_ne!(other.expect("speech"), normal);
    let chinese =
        service.synthesize(SynthesizeConfig { language: "zh-CN".into(), ..how(8_000) }, "您好，您的快递到了。");
    assert!(chinese.await.expect("speech").len() > 8_000);
    assert!(service.synthesize(how(8_000), "  ").await.expect("nothing").is_empty());
    service.end().await;
}

#[tokio::test]
async fn a_text_that_is_being_written_is_spoken_sentence_by_sentence() {
    let mut service = Service::start().await;
    let (pieces, receiver) = mpsc::channel(8);
    let mut speech =
        service.client.synthesize_stream(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
    let how = SynthesizeConfig { format: pcm(8_000), ..Default::default() };
    let piece = |config, text: &str| TextPiece { config, text: text.to_owned() };
    pieces.send(piece(Some(how), "Your parcel is on ")).await.expect("listened to");
    pieces.send(piece(None, "its way. It will be ")).await.expect("listened to");
    let first = speech.message().await.expect("no error").expect("the first sentence, before the text is complete");
    assert!(!first.samples.is_empty());
    pieces.send(piece(None, "there tomorrow")).await.expect("listened to");
    drop(pieces);
    let rest = collect(speech).await.expect("the rest");
    let length = (first.samples.len() / 2 + rest.len()) as f64 / 8_000.0;
    assert!((1.8..5.0).contains(&length), "{length}");
    service.end().await;
}

#[tokio::test]
async fn every_refusal_names_its_field() {
    let mut service = Service::start().await;
    let fine = SynthesizeConfig { format: pcm(8_000), ..Default::default() };
    let pcma = Some(AudioFormat { encoding: Encoding::Pcma.into(), sample_rate_hz: 8_000 });
    let long = "word ".repeat(4_000);
    for (config, text, field) in [
        (SynthesizeConfig { voice: "samantha".into(), ..fine.clone() }, "x", "config.voice"),
        (SynthesizeConfig { language: "tlh".into(), ..fine.clone() }, "x", "config.language"),
        (SynthesizeConfig { voice: "de".into(), language: "en".into(), ..fine.clone() }, "x", "config.language"),
        (SynthesizeConfig { speed: Some(3.0), ..fine.clone() }, "x", "config.speed"),
        (SynthesizeConfig { pitch: Some(f32::NAN), ..fine.clone() }, "x", "config.pitch"),
        (SynthesizeConfig { volume: Some(11.0), ..fine.clone() }, "x", "config.volume"),
        (SynthesizeConfig { format: None, ..fine.clone() }, "x", "config.format"),
        (SynthesizeConfig { format: pcma, ..fine.clone() }, "x", "config.format.encoding"),
        (SynthesizeConfig { format: pcm(11_025), ..fine.clone() }, "x", "config.format.sample_rate_hz"),
        (fine.clone(), long.as_str(), "text"),
    ] {
        let status = service.synthesize(config, text).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert!(status.message().starts_with(field), "{field}: {}", status.message());
    }
    let audio = |samples: Vec<u8>| Request::Audio(AudioChunk { at_ms: 0, label: 0, samples: samples.into() });
    let with = |change: fn(&mut RecognizeConfig)| {
        let mut config = config(8_000);
        change(&mut config);
        Request::Config(config)
    };
    for (messages, code, field) in [
        (vec![audio(vec![])], Code::InvalidArgument, "config"),
        (vec![with(|config| config.language = "zh-CN".into())], Code::InvalidArgument, "config.language"),
        (vec![with(|config| config.format = pcm(44_100))], Code::InvalidArgument, "config.format.sample_rate_hz"),
        (vec![with(|config| config.phrases = vec!["x".into()])], Code::Unimplemented, "config.phrases"),
        (vec![with(|_| {}), audio(vec![1, 2, 3])], Code::InvalidArgument, "audio.samples"),
        (vec![with(|_| {}), with(|_| {})], Code::InvalidArgument, "config"),
    ] {
        let (requests, mut responses) = service.recognize().await;
        for message in messages {
            requests.send(request(message)).await.expect("listened to");
        }
        let status = responses.message().await.expect_err(field);
        assert_eq!(status.code(), code, "{field}");
        assert!(status.message().starts_with(field), "{field}: {}", status.message());
    }
    service.end().await;
}

#[tokio::test]
async fn noise_gets_a_final_without_words_and_a_flush_ends_what_is_open() {
    let mut service = Service::start().await;
    let noise: Vec<i16> = (0..8_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 22) as i16 - 512).collect();
    let (last, partials, _) = hear(&mut service, 8_000, &noise).await;
    assert_eq!((last.text.as_str(), last.confidence), ("", None), "{partials:?}");

    let (requests, mut responses) = service.recognize().await;
    let (rate, speech) = human("human-seven.wav");
    requests.send(request(Request::Config(config(rate)))).await.expect("listened to");
    let mark = UtteranceStart { utterance_id: 4, start_ms: 10_000, from_ms: 9_700 };
    requests.send(request(Request::UtteranceStart(mark))).await.expect("listened to");
    let samples = speech.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let chunk = AudioChunk { at_ms: 10_000, label: 0, samples };
    requests.send(request(Request::Audio(chunk))).await.expect("listened to");
    requests.send(request(Request::Flush(Flush {}))).await.expect("listened to");
    drop(requests);
    let mut texts = Vec::new();
    while let Some(response) = responses.message().await.expect("no error") {
        if let Some(Response::Final(last)) = response.response {
            texts.push((last.utterance_id, plain(&last.text)));
        }
    }
    assert_eq!(texts, [(4, "seven".to_owned())]);
    service.end().await;
}

#[tokio::test]
async fn capabilities_and_health_are_told() {
    let mut service = Service::start().await;
    let told = service.client.capabilities(CapabilitiesRequest {}).await.expect("an answer").into_inner();
    let recognition = told.recognition.expect("recognition");
    assert_eq!((recognition.formats[0], recognition.partials, recognition.phrases), (pcm(8_000).unwrap(), true, false));
    let synthesis = told.synthesis.expect("synthesis");
    for language in ["en-us", "en-gb", "zh"] {
        assert!(synthesis.voices.iter().any(|voice| voice.language == language), "{language}");
    }
    let channel = Channel::from_shared(format!("http://{}", service.addr)).expect("an address");
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.connect().await.expect("a connection"));
    let asked = tonic_health::pb::HealthCheckRequest { service: "trunkline.speech.v1.Speech".into() };
    assert_eq!(health.check(asked).await.expect("an answer").into_inner().status, 1);
    drop(health);
    service.end().await;
}

#[tokio::test]
async fn no_weights_is_an_error_that_names_the_command() {
    let config = Config::new(std::env::temp_dir().join("trunkline-no-such-cache"));
    let Err(error) = Engines::open(&config).await else { panic!("there are no weights") };
    assert!(error.to_string().contains("trunkline speech --fetch"), "{error}");
}

fn plain(text: &str) -> String {
    let letters: String = text.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace()).collect();
    letters.to_lowercase()
}
