//! A packet in becomes a frame, a frame becomes a packet out; keys and reports beside them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use trunkline::codec::g711::Law;
use trunkline::ms::Ms;
use trunkline::rtp::frames::Frames;
use trunkline::rtp::jitter::{DelayLimits, JitterBuffer};
use trunkline::rtp::packet::{HEADER_LEN, Packet, PayloadType, Ssrc};
use trunkline::rtp::reception::ReceptionReport;
use trunkline::rtp::rtcp::{MAX_COMPOUND, NtpTime, SenderInfo, Session, State};
use trunkline::rtp::sender::Sender;
use trunkline::rtp::srtp::{MAX_TRAILER, Master, Srtp, Suite};
use trunkline::rtp::telephone_event::{self, Key};

use super::{FRAME, FarEnd, Path, Walk, each, speech};

const SLOT: Duration = Duration::from_millis(20);

pub const PATHS: &[Path] = &[
    Path { name: "packet_in/parse", times: 20_000, make: parse },
    Path { name: "packet_in/decode", times: 20_000, make: decode },
    Path { name: "packet_in/to_frame", times: 5_000, make: || to_frame(|_| false) },
    Path { name: "packet_in/to_frame_with_losses", times: 5_000, make: || to_frame(|n| n % 50 >= 48) },
    Path { name: "packet_in/telephone_event", times: 5_000, make: key_in },
    Path { name: "packet_out/encode", times: 20_000, make: encode },
    Path { name: "packet_out/from_frame", times: 20_000, make: from_frame },
    Path { name: "packet_out/telephone_event", times: 20_000, make: key_out },
    Path { name: "srtp/protect_sha1_80", times: 5_000, make: || srtp(Suite::AesCm128Sha1Tag80, false) },
    Path { name: "srtp/protect_and_unprotect_sha1_80", times: 5_000, make: || srtp(Suite::AesCm128Sha1Tag80, true) },
    Path { name: "srtp/protect_gcm_256", times: 5_000, make: || srtp(Suite::AesGcm256, false) },
    Path { name: "srtp/protect_and_unprotect_gcm_256", times: 5_000, make: || srtp(Suite::AesGcm256, true) },
    Path { name: "rtcp/build", times: 5_000, make: build_report },
    Path { name: "rtcp/parse", times: 5_000, make: parse_report },
];

/// The header.
fn parse() -> Walk {
    let mut datagram = [0; HEADER_LEN + FRAME];
    FarEnd::new(&speech()).send(&mut datagram);
    each(move || {
        black_box(Packet::parse(black_box(&datagram)).is_ok_and(|packet| black_box(packet).marker));
    })
}

/// 160 bytes of payload are encrypted and, if asked for, decrypted again.
fn srtp(suite: Suite, back: bool) -> Walk {
    let key = Master::new(suite, &vec![7; suite.key_len() + suite.salt_len()]).unwrap_or_else(|| panic!("a key"));
    let mut srtp = Srtp::new(key.clone(), key);
    let mut far = FarEnd::new(&speech());
    each(move || {
        let mut datagram = [0; HEADER_LEN + FRAME + MAX_TRAILER];
        let length = far.send(&mut datagram);
        let Some(sealed) = srtp.protect(black_box(&mut datagram), length) else { panic!("a packet of its own") };
        if back {
            black_box(srtp.unprotect(&mut datagram[..sealed]).is_ok());
        }
        black_box(&datagram);
    })
}

/// G.711 to samples.
fn decode() -> Walk {
    let payload = FarEnd::new(&speech()).payloads.swap_remove(20);
    let mut samples = [0; FRAME];
    each(move || {
        black_box(Law::A.decode(black_box(&payload), black_box(&mut samples)));
    })
}

/// From the datagram through the jitter buffer to 20 ms of samples. `lost` says which datagrams do not come.
fn to_frame(lost: fn(u32) -> bool) -> Walk {
    let mut far = FarEnd::new(&speech());
    let mut jitter = JitterBuffer::new(8_000, DelayLimits::default());
    let (mut reader, mut now) = (Frames::default(), Instant::now());
    each(move || {
        now += SLOT;
        let mut datagram = [0; HEADER_LEN + FRAME];
        let length = far.send(&mut datagram);
        if !lost(far.sent) {
            let Ok(packet) = Packet::parse(black_box(&datagram[..length])) else { panic!("our own packet") };
            jitter.insert(now, &packet, FRAME as u32);
        }
        let mut frame = [0; FRAME];
        let decode = |_: PayloadType, payload: &[u8], out: &mut [i16]| Law::A.decode(payload, out);
        black_box(reader.next(&mut jitter, now, false, decode, &mut frame));
        black_box(&frame);
    })
}

/// A packet of a key to the press that it belongs to: one in seven begins one.
fn key_in() -> Walk {
    let mut stream = Sender::new(&mut StdRng::seed_from_u64(1));
    let mut keys = Keys::default();
    let mut receiver = telephone_event::Receiver::default();
    let mut now = Instant::now();
    each(move || {
        now += SLOT;
        let mut datagram = [0; HEADER_LEN + 4];
        let length = keys.send(&mut stream, &mut datagram);
        let Ok(packet) = Packet::parse(black_box(&datagram[..length])) else { panic!("our own packet") };
        receiver.handle(now, packet.timestamp, packet.payload);
        while let Some(told) = receiver.poll() {
            black_box(told);
        }
        receiver.tick(now);
    })
}

/// Samples to G.711.
fn encode() -> Walk {
    let frame = speech()[20];
    let mut payload = [0; FRAME];
    each(move || {
        black_box(Law::A.encode(black_box(&frame), black_box(&mut payload)));
    })
}

/// 20 ms of samples to the datagram.
fn from_frame() -> Walk {
    let frame = speech()[20];
    let mut sender = Sender::new(&mut StdRng::seed_from_u64(1));
    each(move || {
        let (mut payload, mut datagram) = ([0; FRAME], [0; HEADER_LEN + FRAME]);
        Law::A.encode(black_box(&frame), &mut payload);
        black_box(sender.audio(PayloadType::PCMA, &payload, black_box(&mut datagram)));
        sender.advance(FRAME as u32);
    })
}

fn key_out() -> Walk {
    let mut stream = Sender::new(&mut StdRng::seed_from_u64(1));
    let mut keys = Keys::default();
    each(move || {
        let mut datagram = [0; HEADER_LEN + 4];
        black_box(keys.send(&mut stream, black_box(&mut datagram)));
    })
}

/// Somebody who never stops pressing the 5, for 100 ms each.
#[derive(Default)]
struct Keys(Option<telephone_event::Sender>);

impl Keys {
    fn send(&mut self, stream: &mut Sender, datagram: &mut [u8]) -> usize {
        let packet = self.0.as_mut().and_then(telephone_event::Sender::next_packet).unwrap_or_else(|| {
            let key = Key::from_char('5').expect("a key");
            let press = self.0.insert(telephone_event::Sender::new(key, stream.timestamp(), Ms(100), 8_000));
            press.next_packet().expect("its first packet")
        });
        let number = PayloadType::new(101).expect("below 128");
        let length = stream.event(packet.marker, number, packet.timestamp, &packet.payload, datagram);
        stream.advance(FRAME as u32);
        length
    }
}

fn session(ssrc: u32, now: Instant) -> (Session, StdRng) {
    let mut rng = StdRng::seed_from_u64(u64::from(ssrc));
    (Session::new(Ssrc(ssrc), "0123456789abcdef01234567", now, &mut rng), rng)
}

fn info(n: u32) -> SenderInfo {
    let ntp = NtpTime::from_unix(Duration::from_secs(1_800_000_000 + u64::from(n) * 5));
    SenderInfo { ntp, timestamp: n.wrapping_mul(40_000), packets: n.wrapping_mul(250), octets: n.wrapping_mul(40_000) }
}

fn reception(ssrc: u32, n: u32) -> ReceptionReport {
    ReceptionReport {
        ssrc: Ssrc(ssrc),
        fraction_lost: 3,
        cumulative_lost: 17,
        highest_sequence: n.wrapping_mul(250),
        jitter: 20,
    }
}

/// What is due every 5 s: SR with a block, SDES.
fn build_report() -> Walk {
    let mut now = Instant::now();
    let (mut session, mut rng) = session(1, now);
    let mut n = 0;
    each(move || {
        n += 1;
        now += Duration::from_secs(5);
        let mut compound = [0; MAX_COMPOUND];
        let state = State { sender: info(n), reception: Some(reception(2, n)), voip: None };
        black_box(session.report(now, &mut rng, &state, &mut compound));
        black_box(&compound);
    })
}

/// … and what comes of it at the other end: its clock, loss and the round trip.
fn parse_report() -> Walk {
    let mut now = Instant::now();
    let ((mut ours, _), (mut theirs, mut rng)) = (session(1, now), session(2, now));
    let mut compound = [0; MAX_COMPOUND];
    let state = State { sender: info(1), reception: Some(reception(1, 1)), voip: None };
    let length = theirs.report(now, &mut rng, &state, &mut compound);
    let mut n = 0;
    each(move || {
        n += 1;
        now += Duration::from_secs(5);
        black_box(ours.handle(now, info(n).ntp, black_box(&compound[..length])));
    })
}
