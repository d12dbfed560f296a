//! What is fuzzed: every parser that reads the network, and those that read files. Each takes any bytes and must come back: without a panic, and
//! within the limits of memory and time that libFuzzer holds it to. Where there is a way back, what was read is written and read again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trunkline::call::io::{HeardFrame, RecordedFrame};
use trunkline::call::knobs::LegKnobs;
use trunkline::call::leg::{Command, InbandKeys, Leg, LegEvent, Media, Outlet, Setup, WallClock};
use trunkline::codec::coding::{Band, Coding};
use trunkline::codec::g711::Law;
use trunkline::codec::opus::Terms;
use trunkline::dsp::tone::progress::{Country, Heard, Tone};
use trunkline::rtp::packet::{Packet, PayloadType, SequenceNumber, Ssrc};
use trunkline::rtp::redundancy;
use trunkline::rtp::rtcp::{self, NtpTime};
use trunkline::rtp::srtp::{Master, Srtp, Suite};
use trunkline::rtp::telephone_event;
use trunkline::sdp::{self, AudioFormat, Capabilities, Direction, Negotiator};
use trunkline::sip::message::framing::{Framed, Framer};
use trunkline::sip::message::{self, HeaderName, Message, NameAddr, Uri};
use trunkline::sip::refer::{self, Notify, ReferTarget, Replaces};
use trunkline::sip::uui::{HandOver, Uui};
use trunkline::speech::prompts;

const FAR: &str = "192.0.2.2:30000";

fn far() -> SocketAddr {
    FAR.parse().expect("an address")
}

/// A datagram, and whatever of its headers anybody asks for.
pub fn sip_message(data: &[u8]) {
    match message::parse(data) {
        Ok(read) => {
            let headers = match &read {
                Message::Request(request) => {
                    let _ = (request.check(), Replaces::of(request), refer::asked_for(request), Notify::read(request));
                    &**request
                }
                Message::Response(response) => {
                    let _ = (response.check(), response.reason().into_owned());
                    &**response
                }
            };
            let _ = (headers.top_via(), headers.from(), headers.to(), headers.call_id(), headers.cseq());
            let _ = (headers.contact(), headers.max_forwards(), headers.record_routes(), headers.reasons());
            let _ = (headers.expires(), headers.is_answerable(), headers.reply_to(far()), Uui::all(headers));
            headers.list(HeaderName::Contact).for_each(drop);
            if let Some(sdp) = headers.session_body().sdp() {
                let _ = sdp::parse(sdp);
            }
            // What was read once reads the same again.
            assert!(message::parse(headers.bytes()).is_ok());
        }
        Err(error) => drop(message::refuse_unreadable(data, error, far())),
    }
}

/// A stream, in pieces of every length: what comes out must not depend on where it was cut.
pub fn sip_stream(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else { return };
    let frames = |piece: usize| {
        let (mut framer, mut frames) = (Framer::new(), Vec::new());
        for bytes in data.chunks(piece) {
            framer.push(bytes);
            loop {
                match framer.poll() {
                    Ok(Some(Framed::Message(message))) => frames.push(message),
                    Ok(Some(Framed::Ping)) => frames.push(Vec::new()),
                    Ok(None) => break,
                    Err(_) => {
                        frames.push(b"broken".to_vec());
                        return frames;
                    }
                }
            }
        }
        frames
    };
    let whole = frames(data.len().max(1));
    assert_eq!(whole, frames(1 + usize::from(*cut)));
}

/// A description; as an offer, and as an answer to ours.
pub fn sdp(data: &[u8]) {
    if let Ok(read) = sdp::parse(data) {
        let written = read.write();
        assert_eq!(sdp::parse(&written).as_ref(), Ok(&read), "{}", String::from_utf8_lossy(&written));
    }
    let formats = vec![AudioFormat::Pcma, AudioFormat::Pcmu];
    let capabilities =
        || Capabilities { formats: formats.clone(), telephone_event: Some(101), ptime_ms: 20, ..Default::default() };
    let new = || Negotiator::new(1, "192.0.2.1:20000".parse().expect("an address"), capabilities());
    if let Ok((answer, _)) = new().answer(data) {
        assert!(sdp::parse(&answer).is_ok(), "{}", String::from_utf8_lossy(&answer));
    }
    let mut asks = new();
    asks.offer(Direction::SendRecv);
    if asks.accept(data).is_ok() {
        let _ = asks.answer(data);
    }
}

/// One RTP packet, and what it says if it is a redundant one.
pub fn rtp(data: &[u8]) {
    let Ok(packet) = Packet::parse(data) else { return };
    let mut again = vec![0; data.len() + 64];
    let length = packet.write_into(&mut again);
    let read = Packet::parse(&again[..length]).expect("what was written reads");
    assert_eq!((read.payload, read.ssrc, read.sequence), (packet.payload, packet.ssrc, packet.sequence));
    if let Some(blocks) = redundancy::read(packet.payload) {
        let older: Vec<_> = blocks.older().collect();
        let newest = (blocks.newest.payload_type, blocks.newest.payload);
        let length = redundancy::write(&older, newest, &mut again).expect("as long as before");
        assert_eq!(&again[..length], packet.payload);
    }
}

/// A compound of reports, extended ones among them.
pub fn rtcp(data: &[u8]) {
    let _ = rtcp::is_rtcp(data);
    let mut items = 0;
    rtcp::read(data, |_| items += 1);
    assert!(items <= data.len());
    let now = Instant::now();
    let mut rng: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(1);
    let mut session = rtcp::Session::new(Ssrc(1), "cname", now, &mut rng);
    for (n, compound) in data.chunks(1 + data.len() / 2).enumerate() {
        session.handle(now + Duration::from_secs(n as u64), NtpTime(u64::MAX), compound);
        let _ = (session.peer(), session.voip(), session.round_trip());
    }
}

/// Encrypted packets that nobody has sent, and those that were, tampered with.
pub fn srtp(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let suites = [
        Suite::AesCm128Sha1Tag80,
        Suite::AesCm128Sha1Tag32,
        Suite::AesCm256Sha1Tag80,
        Suite::AesGcm128,
        Suite::AesGcm256,
    ];
    let suite = suites[usize::from(*kind) % suites.len()];
    let key =
        |byte| Master::new(suite, &vec![byte; suite.key_len() + suite.salt_len()]).expect("as long as it has to be");
    let (mut ours, mut theirs) = (Srtp::new(key(1), key(2)), Srtp::new(key(2), key(1)));
    for record in records(data) {
        let mut raw = record.to_vec();
        let _ = ours.unprotect(&mut raw);
        let mut raw = record.to_vec();
        let _ = ours.unprotect_rtcp(&mut raw);
        // Sent as it has to be: it comes through, unless somebody has touched it.
        let mut sent = [record, &[0; 64]].concat();
        if Packet::parse(record).is_ok()
            && let Some(length) = theirs.protect(&mut sent, record.len())
        {
            let mut touched = sent[..length].to_vec();
            let at = usize::from(*kind) % length;
            touched[at] ^= 1;
            let _ = ours.unprotect(&mut touched);
            if let Ok(length) = ours.unprotect(&mut sent[..length]) {
                assert_eq!(&sent[..length], record);
            }
        }
    }
}

/// A leg: packets of an order, time, source and kind that the bytes say, through jitter buffer, decoder, keys and reports.
pub fn leg(data: &[u8]) {
    let now = Instant::now();
    let busy = Tone { heard: Heard::Busy, frequencies: vec![450.0], cadence: vec![350, 350] };
    let Some((kind, data)) = data.split_first() else { return };
    let codings = [
        Coding::G711(Law::A),
        Coding::G722,
        Coding::L16(Band::Wide),
        Coding::Opus(Terms { narrow: false, max_bitrate: None, constant_bitrate: false, fec: true }),
    ];
    let setup = Setup {
        media: Media {
            coding: codings[usize::from(kind / 2) % codings.len()],
            telephone_event: PayloadType::new(101),
            telephone_event_in: PayloadType::new(101),
            redundancy: PayloadType::new(121),
            rtcp: far(),
            rtcp_mux: kind % 2 == 1,
            rtcp_xr: true,
            ..Media::g711(Law::A, far())
        },
        srtp: None,
        may_widen: true,
        knobs: LegKnobs::default(),
        inband_keys: InbandKeys::On,
        tones: Some(Arc::new(Country::new(vec![busy]))),
        answerer: Some(Default::default()),
        rtp_timeout: Duration::from_secs(3),
        seed: 1,
        clock: WallClock { at: now, unix: Duration::from_secs(1_800_000_000) },
    };
    let mut leg = Leg::new(setup);
    leg.command(Command::SendKeys("12".to_owned()), &mut Nowhere);
    let (mut slot, mut sequence, mut timestamp) = (now, 0u16, 0u32);
    for record in records(data).take(400) {
        let [kind, rest @ ..] = record else { continue };
        let from = if kind & 0x80 == 0 { far() } else { "192.0.2.3:1".parse().expect("an address") };
        match kind & 7 {
            // As it comes.
            0 => leg.receive(slot, from, rest),
            1 => leg.receive_report(slot, from, rest),
            // A frame that follows, or nearly.
            2 | 3 => {
                let step = rest.first().map_or(1, |step| i16::from(*step as i8) / 8 + 1);
                sequence = sequence.wrapping_add_signed(step);
                timestamp = timestamp.wrapping_add_signed(160 * i32::from(step));
                packet(&mut leg, (slot, from), (8, sequence, timestamp, 7), &[rest, &[0xd5; 160]].concat()[..160]);
            }
            // A key; a redundant packet.
            4 | 6 => {
                sequence = sequence.wrapping_add(1);
                let kind = if kind & 7 == 4 { 101 } else { 121 };
                packet(&mut leg, (slot, from), (kind, sequence, timestamp, 7), rest);
            }
            // Whatever type, number, time and source.
            5 if rest.len() >= 8 => {
                let number = |at: usize| u32::from_be_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
                packet(&mut leg, (slot, from), (rest[0] & 127, number(1) as u16, number(3), number(4)), &rest[8..]);
            }
            // Time passes.
            _ => {
                for _ in 0..1 + rest.first().map_or(0, |slots| slots / 32) {
                    slot += Duration::from_millis(20);
                    leg.tick(slot, &mut Nowhere);
                }
            }
        }
    }
    leg.tick(slot + Duration::from_millis(20), &mut Nowhere);
    leg.farewell(slot, &mut Nowhere);
    let _ = (leg.quality(), leg.refused(), leg.warm());
}

fn packet(
    leg: &mut Leg,
    (now, from): (Instant, SocketAddr),
    (kind, number, timestamp, ssrc): (u8, u16, u32, u32),
    payload: &[u8],
) {
    let Some(payload_type) = PayloadType::new(kind) else { return };
    let packet = Packet {
        marker: number % 50 == 0,
        payload_type,
        sequence: SequenceNumber(number),
        timestamp,
        ssrc: Ssrc(ssrc),
        payload,
    };
    let mut datagram = vec![0; payload.len() + 64];
    let length = packet.write_into(&mut datagram);
    leg.receive(now, from, &datagram[..length]);
}

struct Nowhere;

impl Outlet for Nowhere {
    fn event(&mut self, _: LegEvent) {}
    fn heard(&mut self, frame: impl FnOnce() -> HeardFrame) {
        let _ = frame();
    }
    fn record(&mut self, frame: impl FnOnce() -> RecordedFrame) {
        let _ = frame();
    }
    fn send(&mut self, _: SocketAddr, _: &[u8]) {}
    fn report(&mut self, _: SocketAddr, _: &[u8]) {}
}

/// Key events: every press that is told is released, and no more are told than packets came.
pub fn telephone_event(data: &[u8]) {
    let mut receiver = telephone_event::Receiver::default();
    let (mut now, mut told, mut packets) = (Instant::now(), 0usize, 0usize);
    for record in records(data) {
        if let [step, high, low, rest @ ..] = record {
            now += Duration::from_millis(u64::from(*step));
            receiver.handle(now, u32::from_be_bytes([0, *high, *low, 0]), rest);
            packets += 1;
        } else {
            receiver.tick(now);
        }
        while receiver.poll().is_some() {
            told += 1;
        }
    }
    assert!(told <= 2 * packets, "{told} of {packets}");
}

/// Bodies of INFO.
pub fn info(data: &[u8]) {
    for kind in ["application/dtmf-relay", "application/dtmf;x=y", "text/plain"] {
        if let Some(key) = trunkline::call::info::key(Some(kind), data) {
            assert!("0123456789*#ABCD".contains(key));
        }
    }
}

/// User-to-User, and what stands in it.
pub fn user_to_user(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(one) = Uui::parse(text) {
        let _ = (one.bytes(), one.context(), one.params().iter().count());
        assert_eq!(Uui::parse(&one.to_string()).as_ref(), Some(&one));
    }
    let _ = Uui::parse_list(text);
    if let Some(context) = HandOver::parse(text)
        && let Ok(plain) = context.plain()
    {
        assert_eq!(HandOver::parse(&plain).as_ref(), Some(&context), "{plain}");
    }
}

/// Refer-To, Replaces, and the sipfrag of a NOTIFY.
pub fn refer(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(target) = ReferTarget::parse(text) {
            let _ = (target.takes_headers(), target.at("example.com"));
        }
        let _ = (Replaces::parse(text), NameAddr::parse(text));
        if let Ok(uri) = Uri::parse(text) {
            assert_eq!(Uri::parse(uri.as_str()).as_ref(), Ok(&uri));
            let _ = (uri.user_text(), uri.number(), uri.port(), uri.target());
        }
    }
    let head = format!(
        "NOTIFY sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {FAR};branch=z9hG4bK1\r\nFrom: <sip:b@x>;tag=1\r\nTo: <sip:a@x>;tag=2\r\n\
         Call-ID: 1\r\nCSeq: 1 NOTIFY\r\nEvent: refer\r\nSubscription-State: active\r\nContent-Type: message/sipfrag\r\nContent-Length: {}\r\n\r\n",
        data.len()
    );
    if let Ok(Message::Request(notify)) = message::parse(&[head.as_bytes(), data].concat()) {
        let _ = Notify::read(&notify);
    }
}

/// A recording, as prompts are read: whatever can be played can be checked first.
pub fn wav(data: &[u8]) {
    recording("wav", data);
}

/// The same, of a file whose name says MP3.
pub fn mp3(data: &[u8]) {
    recording("mp3", data);
}

fn recording(end: &str, data: &[u8]) {
    let file = std::env::temp_dir().join(format!("trunkline-fuzz-{}.{end}", std::process::id()));
    std::fs::write(&file, data).expect("written");
    let sound = prompts::read(&file, trunkline::codec::coding::Band::Narrow);
    assert!(sound.is_err() || sound == Ok(Vec::new()) || prompts::check(&file) == Ok(()), "it plays, but is refused");
}

/// A table of tones and announcements, and a profile that names it.
pub fn tones(data: &[u8]) {
    let folder = std::env::temp_dir().join(format!("trunkline-fuzz-{}", std::process::id()));
    let tables = folder.join("sip-profiles/tones");
    if !tables.is_dir() {
        std::fs::create_dir_all(&tables).expect("a folder");
        let profile = "[peer]\naddress = \"192.0.2.1\"\n[identity]\ncaller = \"1\"\n[media]\ntones = \"t\"\nannouncements = \"t\"\n";
        std::fs::write(folder.join("sip-profiles/p.toml"), profile).expect("written");
        std::fs::write(folder.join("m.toml"), "[[speech]]\nname = \"s\"\nendpoint = \"http://127.0.0.1:1\"\n")
            .expect("written");
    }
    std::fs::write(tables.join("t.toml"), data).expect("written");
    if let Ok(config) = trunkline::config::load(&folder.join("m.toml"))
        && let Some(rules) = &config.switchboard.trunks[0].announcements
    {
        let text = String::from_utf8_lossy(data);
        let _ = rules.hear(&text);
    }
}

/// The bytes as records: a length of one byte, then as many.
fn records(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first()?;
        let (record, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        data = rest;
        Some(record)
    })
}
