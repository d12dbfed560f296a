//! Three receivers of the same packets, each read every 20 ms.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use neteq::codec::AudioDecoder;
use neteq::{AudioPacket, NetEq, NetEqConfig, RtpHeader};
use trunkline::codec::g711::Law;
use trunkline::codec::plc::Concealer;
use trunkline::dsp::vad::Vad;
use trunkline::rtp::frames::{Frames, Sound};
use trunkline::rtp::jitter::{DelayLimits, JitterBuffer};
use trunkline::rtp::packet::{Packet, PayloadType, SequenceNumber, Ssrc};

use super::{FRAME, clock};
use crate::trace::Trace;

/// Where in the 20 ms of the sender the reader comes.
const PHASE_US: f64 = 7_000.0;
/// How long is read after the last packet was sent.
const TAIL: usize = 30;

/// What a receiver made of a line.
pub struct Heard {
    /// From the moment on when the first packet was sent.
    pub samples: Vec<i16>,
    /// Frames of 20 ms made up, while the line was up, in percent.
    pub concealed: f64,
    /// Packets that came and were never played, in percent of those sent.
    pub late: f64,
}

/// A packet of the speech: its place, which is how it is known again, and its sound.
fn payload(speech: &[i16], place: usize) -> Vec<u8> {
    let mut bytes = (place as u32).to_be_bytes().to_vec();
    bytes.extend(speech[place * FRAME..][..FRAME].iter().map(|sample| Law::A.encode_one(*sample)));
    bytes
}

fn place(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().expect("our own payload"))
}

/// Reads every 20 ms: `insert` gets what has come, `read` gives the next frame and says whether it was made up.
fn run<Receiver>(
    trace: &Trace,
    receiver: &mut Receiver,
    mut insert: impl FnMut(&mut Receiver, f64, usize),
    mut read: impl FnMut(&mut Receiver, f64, &mut [i16; FRAME]) -> bool,
    played: impl Fn(&Receiver) -> usize,
) -> Heard {
    let packets = trace.arrivals.len();
    let mut queue: Vec<(f64, usize)> =
        trace.arrivals.iter().enumerate().filter_map(|(place, at)| at.map(|at| (at, place))).collect();
    queue.sort_by(|a, b| a.0.total_cmp(&b.0));
    let came = queue.len();
    let mut queue = queue.into_iter().peekable();
    // Until the reader comes nothing is heard.
    let mut samples = vec![0; (PHASE_US / 125.0) as usize];
    let mut concealed = 0;
    for tick in 0..packets + TAIL {
        let now = tick as f64 * 20_000.0 + PHASE_US;
        while let Some((at, place)) = queue.next_if(|next| next.0 <= now) {
            insert(receiver, at, place);
        }
        let mut frame = [0; FRAME];
        let made_up = read(receiver, now, &mut frame);
        concealed += usize::from(made_up && tick < packets);
        samples.extend(frame);
    }
    let percent = |part: usize| part as f64 * 100.0 / packets as f64;
    Heard { samples, concealed: percent(concealed), late: percent(came - played(receiver)) }
}

/// Ours, as `call::leg` has it.
pub fn ours(trace: &Trace, speech: &[i16]) -> Heard {
    struct Ours {
        jitter: JitterBuffer,
        frames: Frames,
        vad: Vad,
        noisy: bool,
        played: HashSet<u32>,
    }
    let start = Instant::now();
    let at = |us: f64| start + Duration::from_micros(us as u64);
    let jitter = JitterBuffer::new(8_000, DelayLimits::default());
    let mut ours =
        Ours { jitter, frames: Frames::default(), vad: Vad::default(), noisy: false, played: HashSet::new() };
    run(
        trace,
        &mut ours,
        |ours, us, place| {
            let packet = Packet {
                marker: place == 0,
                payload_type: PayloadType::PCMA,
                sequence: SequenceNumber(place as u16),
                timestamp: (place * FRAME) as u32,
                ssrc: Ssrc(1),
                payload: &payload(speech, place),
            };
            ours.jitter.insert(at(us), &packet, FRAME as u32);
        },
        |ours, us, frame| {
            let played = &mut ours.played;
            let decode = |_: PayloadType, payload: &[u8], out: &mut [i16]| {
                played.insert(place(payload));
                Law::A.decode(&payload[4..], out)
            };
            let heard = ours.frames.next(&mut ours.jitter, at(us), !ours.noisy, decode, frame);
            ours.noisy = heard.sound != Sound::Silence && ours.vad.push(frame).gate;
            heard.sound == Sound::Concealed
        },
        |ours| ours.played.len(),
    )
}

/// Each packet 60 ms after the moment that the first one's arrival says, with our concealment.
pub fn fixed(trace: &Trace, speech: &[i16]) -> Heard {
    struct Fixed {
        first: Option<f64>,
        here: HashSet<usize>,
        played: usize,
        concealer: Concealer,
    }
    let mut fixed = Fixed { first: None, here: HashSet::new(), played: 0, concealer: Concealer::default() };
    run(
        trace,
        &mut fixed,
        |fixed, us, place| {
            fixed.first.get_or_insert(us - place as f64 * 20_000.0);
            fixed.here.insert(place);
        },
        |fixed, us, frame| {
            let due = fixed.first.map(|first| ((us - first - 60_000.0) / 20_000.0).floor());
            match due {
                Some(place) if place >= 0.0 && (place as usize) < trace.arrivals.len() => {
                    if fixed.here.remove(&(place as usize)) {
                        frame.copy_from_slice(&speech[place as usize * FRAME..][..FRAME]);
                        fixed.played += 1;
                        fixed.concealer.good(frame);
                        return false;
                    }
                    fixed.concealer.conceal(frame);
                    true
                }
                _ => {
                    fixed.concealer.rest(frame);
                    false
                }
            }
        },
        |fixed| fixed.played,
    )
}

/// The neteq crate with its own defaults, read twice in 20 ms, since its frames have 10.
pub fn neteq(trace: &Trace, speech: &[i16]) -> Heard {
    struct Decoder(Arc<Mutex<HashSet<u32>>>);
    impl AudioDecoder for Decoder {
        fn sample_rate(&self) -> u32 {
            8_000
        }
        fn channels(&self) -> u8 {
            1
        }
        fn decode(&mut self, encoded: &[u8]) -> neteq::Result<Vec<f32>> {
            self.0.lock().expect("one thread").insert(place(encoded));
            Ok(encoded[4..].iter().map(|byte| f32::from(Law::A.decode_one(*byte)) / 32_768.0).collect())
        }
    }
    let set = |us: f64| clock::set(Some(Duration::from_secs(1_000_000) + Duration::from_nanos((us * 1000.0) as u64)));
    set(0.0);
    let played = Arc::new(Mutex::new(HashSet::new()));
    let mut neteq = NetEq::new(NetEqConfig { sample_rate: 8_000, ..NetEqConfig::default() }).expect("its own defaults");
    neteq.register_decoder(8, Box::new(Decoder(played.clone())));
    let heard = run(
        trace,
        &mut neteq,
        |neteq, us, place| {
            set(us);
            let header = RtpHeader::new(place as u16, (place * FRAME) as u32, 1, 8, place == 0);
            // A refused packet is not played, and so counted.
            let _ = neteq.insert_packet(AudioPacket::new(header, payload(speech, place), 8_000, 1, 20));
        },
        |neteq, us, frame| {
            let mut made_up = false;
            for (n, half) in frame.chunks_mut(FRAME / 2).enumerate() {
                set(us + n as f64 * 10.0);
                let Ok(audio) = neteq.get_audio() else { continue };
                made_up |= audio.speech_type == neteq::neteq::SpeechType::Expand;
                for (out, sample) in half.iter_mut().zip(audio.samples) {
                    *out = (sample * 32_768.0).clamp(-32_768.0, 32_767.0) as i16;
                }
            }
            made_up
        },
        |_| played.lock().expect("one thread").len(),
    );
    clock::set(None);
    heard
}
