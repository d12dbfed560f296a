//! What one call costs each 20 ms: a packet in becomes a frame and what it means, a frame out becomes a packet. No socket, no kernel.
//!
//! Time is virtual: each iteration is the next 20 ms of a line that never hangs up. `speech` is a human prompt of `test-audio` over and
//! over, which keeps both stages of the voice detector awake; `quiet` is a line on which nobody speaks, which is most of a call.

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::rngs::StdRng;
use trunkline::call::io::{HeardFrame, RecordedFrame};
use trunkline::call::knobs::{BargeIn, Knobs};
use trunkline::call::leg::{Command, Leg, LegEvent, Media, Outlet, Setup, Sound, WallClock};
use trunkline::call::prompt::PromptNo;
use trunkline::codec::g711::Law;
use trunkline::dsp::endpoint::{EndpointKnobs, Endpointer};
use trunkline::dsp::vad::Vad;
use trunkline::ms::Ms;
use trunkline::rtp::frames::Frames;
use trunkline::rtp::jitter::{DelayLimits, JitterBuffer};
use trunkline::rtp::packet::{HEADER_LEN, Packet, PayloadType, SequenceNumber, Ssrc};
use trunkline::rtp::sender::Sender;

/// Samples of a frame: 20 ms at 8 kHz.
const FRAME: usize = 160;
const SLOT: Duration = Duration::from_millis(20);
/// Seconds of a prompt, which is then asked for anew.
const PROMPT_S: usize = 60;

/// Two seconds of a human voice, as frames.
fn speech() -> Vec<[i16; FRAME]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-audio/human-nobody-available.wav");
    let wav = hound::WavReader::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let samples: Vec<i16> = wav.into_samples().map(|sample| sample.expect("16-bit PCM")).collect();
    samples.as_chunks::<FRAME>().0.to_vec()
}

fn quiet() -> Vec<[i16; FRAME]> {
    vec![[0; FRAME]]
}

/// The far end: a packet each 20 ms.
struct FarEnd {
    payloads: Vec<[u8; FRAME]>,
    sent: u32,
}

impl FarEnd {
    fn new(frames: &[[i16; FRAME]]) -> FarEnd {
        let encode = |frame: &[i16; FRAME]| {
            let mut payload = [0; FRAME];
            Law::A.encode(frame, &mut payload);
            payload
        };
        FarEnd { payloads: frames.iter().map(encode).collect(), sent: 0 }
    }

    /// The next datagram.
    fn send(&mut self, datagram: &mut [u8]) -> usize {
        let packet = Packet {
            marker: self.sent == 0,
            payload_type: PayloadType::PCMA,
            sequence: SequenceNumber(self.sent as u16),
            timestamp: self.sent.wrapping_mul(FRAME as u32),
            ssrc: Ssrc(7),
            payload: &self.payloads[self.sent as usize % self.payloads.len()],
        };
        self.sent = self.sent.wrapping_add(1);
        packet.write_into(datagram)
    }
}

/// Takes all that comes out of a leg, and sees when its prompt is over.
#[derive(Default)]
struct Sink {
    finished: bool,
}

impl Outlet for Sink {
    fn event(&mut self, event: LegEvent) {
        self.finished |= matches!(event, LegEvent::PromptFinished { .. });
        black_box(event);
    }
    fn heard(&mut self, frame: &HeardFrame) {
        black_box(frame);
    }
    fn record(&mut self, frame: &RecordedFrame) {
        black_box(frame);
    }
    fn send(&mut self, to: SocketAddr, packet: &[u8]) {
        black_box((to, packet));
    }
    fn report(&mut self, to: SocketAddr, compound: &[u8]) {
        black_box((to, compound));
    }
}

/// A leg between a far end that always sends and a robot that speaks a prompt, or not.
struct Line {
    leg: Leg,
    far: FarEnd,
    from: SocketAddr,
    now: Instant,
    prompt: Option<(PromptNo, Arc<[i16]>)>,
    sink: Sink,
}

impl Line {
    fn new(frames: &[[i16; FRAME]], robot: Option<&[[i16; FRAME]]>) -> Line {
        let from = SocketAddr::from(([192, 0, 2, 1], 4_000));
        let media = Media {
            law: Law::A,
            payload_type: PayloadType::PCMA,
            telephone_event: PayloadType::new(101),
            telephone_event_in: PayloadType::new(101),
            remote: from,
            rtcp: from,
            sends: true,
            receives: true,
        };
        let now = Instant::now();
        let clock = WallClock { at: now, unix: Duration::from_secs(1_800_000_000) };
        let setup = Setup { media, knobs: Knobs::default(), rtp_timeout: Duration::from_secs(30), seed: 1, clock };
        let spoken = |frames: &[[i16; FRAME]]| {
            let samples: Arc<[i16]> = frames.iter().flatten().copied().cycle().take(PROMPT_S * 8_000).collect();
            (PromptNo(0), samples)
        };
        let sink = Sink { finished: true };
        Line { leg: Leg::new(setup), far: FarEnd::new(frames), from, now, prompt: robot.map(spoken), sink }
    }

    /// The next 20 ms.
    fn slot(&mut self) {
        self.now += SLOT;
        let mut datagram = [0; HEADER_LEN + FRAME];
        let length = self.far.send(&mut datagram);
        self.leg.receive(self.now, self.from, &datagram[..length]);
        if let (Some((no, samples)), true) = (&mut self.prompt, self.sink.finished) {
            self.sink.finished = false;
            no.0 += 1;
            let no = *no;
            // Nobody may stop it, or the caller's speech would end what is measured.
            let begin = Command::Prompt { no, barge_in: BargeIn::Never, protect: Ms(0) };
            let sound = Command::Sound { no, segment: 0, sound: Sound::Shared(samples.clone()) };
            for command in [begin, sound, Command::Close { no }] {
                self.leg.command(command, &mut self.sink);
            }
        }
        self.leg.tick(self.now, &mut self.sink);
    }
}

fn packet_in(c: &mut Criterion) {
    let mut group = c.benchmark_group("packet_in");
    let (speech, quiet) = (speech(), quiet());

    let mut datagram = [0; HEADER_LEN + FRAME];
    FarEnd::new(&speech).send(&mut datagram);
    group.bench_function("parse", |b| {
        b.iter(|| {
            black_box(Packet::parse(black_box(&datagram)).is_ok_and(|packet| black_box(packet).marker));
        });
    });

    let payload = FarEnd::new(&speech).payloads[20];
    let mut samples = [0; FRAME];
    group.bench_function("decode", |b| b.iter(|| Law::A.decode(black_box(&payload), black_box(&mut samples))));

    for (what, frames) in [("speech", &speech), ("quiet", &quiet)] {
        let (mut vad, mut n) = (Vad::default(), 0);
        group.bench_function(format!("vad/{what}"), |b| {
            b.iter(|| {
                n += 1;
                vad.push(black_box(&frames[n % frames.len()]))
            });
        });
    }

    // Everything from the datagram to whose turn it is.
    for (what, frames) in [("speech", &speech), ("quiet", &quiet)] {
        let mut far = FarEnd::new(frames);
        let mut jitter = JitterBuffer::new(8_000, DelayLimits::default());
        let (mut reader, mut vad) = (Frames::default(), Vad::default());
        let mut endpointer = Endpointer::new(EndpointKnobs::default());
        let begin = Instant::now();
        let (mut now, mut noisy) = (begin, false);
        group.bench_function(format!("to_endpoint/{what}"), |b| {
            b.iter(|| {
                now += SLOT;
                let length = far.send(&mut datagram);
                let Ok(packet) = Packet::parse(&datagram[..length]) else { panic!("our own packet") };
                jitter.insert(now, &packet, FRAME as u32);
                let mut frame = [0; FRAME];
                let decode = |_: PayloadType, payload: &[u8], out: &mut [i16]| Law::A.decode(payload, out);
                let heard = reader.next(&mut jitter, now, !noisy, decode, &mut frame);
                let verdict = vad.push(&frame);
                noisy = verdict.gate;
                endpointer.push(verdict.voiced, Ms::from(heard.wire.saturating_duration_since(begin)))
            });
        });
    }
    group.finish();
}

fn packet_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("packet_out");
    let frame = speech()[20];
    let mut payload = [0; FRAME];
    group.bench_function("encode", |b| b.iter(|| Law::A.encode(black_box(&frame), black_box(&mut payload))));

    let mut sender = Sender::new(&mut StdRng::seed_from_u64(1));
    let mut datagram = [0; HEADER_LEN + FRAME];
    group.bench_function("encode_and_write", |b| {
        b.iter(|| {
            let mut payload = [0; FRAME];
            Law::A.encode(black_box(&frame), &mut payload);
            let length = sender.audio(PayloadType::PCMA, &payload, black_box(&mut datagram));
            sender.advance(FRAME as u32);
            length
        });
    });
    group.finish();
}

/// All that a media thread does for a call in its slot, but the socket.
fn leg(c: &mut Criterion) {
    let mut group = c.benchmark_group("leg");
    let (speech, quiet) = (speech(), quiet());
    let lines = [
        ("quiet", &quiet, None),
        ("caller_speaks", &speech, None),
        ("robot_speaks", &quiet, Some(speech.as_slice())),
        ("both_speak", &speech, Some(speech.as_slice())),
    ];
    for (what, frames, robot) in lines {
        let mut line = Line::new(frames, robot);
        group.bench_function(what, |b| b.iter(|| line.slot()));
    }
    group.finish();
}

criterion_group!(benches, packet_in, packet_out, leg);
criterion_main!(benches);
