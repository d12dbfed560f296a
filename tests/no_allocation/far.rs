//! The far end of a call: what it sends in each slot of 20 ms.

use std::path::Path;
use std::time::Duration;

use trunkline::codec::g711::Law;
use trunkline::ms::Ms;
use trunkline::rtp::packet::{HEADER_LEN, Packet, PayloadType, SequenceNumber, Ssrc};
use trunkline::rtp::reception::ReceptionReport;
use trunkline::rtp::redundancy::{self, Block};
use trunkline::rtp::rtcp::{self, MAX_COMPOUND, NtpTime, Reading, ReportBlock, SenderInfo};
use trunkline::rtp::telephone_event::{Key, Sender};
use trunkline::rtp::xr;

pub const EVENT: u8 = 101;
pub const REDUNDANT: u8 = 121;
const LONGEST: usize = 600;

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Silent audio.
    Quiet,
    /// Two seconds of speech, three of silence, and so on.
    Speaks,
    /// As it speaks, in packets of 10 ms.
    Short,
    /// … of 60 ms.
    Long,
    /// Presses a key every second.
    Keys,
    /// Speaks and presses keys, and says each packet again in the next (RFC 2198); sometimes what it sends as that is none.
    Redundant,
    /// All that can come by a port besides.
    Wild,
    /// Sends one packet and is gone.
    Dead,
}

/// One far end.
pub struct Far {
    style: Style,
    law: Law,
    /// It keeps quiet until this is set, whatever its style.
    pub speaking: bool,
    voice: Vec<u8>,
    place: usize,
    slot: u32,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    press: Option<Sender>,
    /// What is said again.
    again: Option<(PayloadType, u32, Vec<u8>)>,
    /// Whose stream it hears.
    hears: Option<Ssrc>,
    /// Packets of telephone events that it has heard, and RTCP compounds.
    pub heard_events: u32,
    pub heard_reports: u32,
}

/// Who a datagram is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Far,
    /// Somebody who has nothing to do with the call.
    Stranger,
}

impl Far {
    pub fn new(style: Style, law: Law) -> Far {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-audio/human-nobody-available.wav");
        let wav = hound::WavReader::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut samples: Vec<i16> = wav.into_samples().map(|sample| sample.expect("16-bit PCM")).collect();
        samples.extend([0; 24_000]);
        let mut voice = vec![0; samples.len()];
        law.encode(&samples, &mut voice);
        Far {
            style,
            law,
            speaking: true,
            voice,
            place: 0,
            slot: 0,
            sequence: 65_000,
            timestamp: u32::MAX - 50_000,
            ssrc: 7,
            press: None,
            again: None,
            hears: None,
            heard_events: 0,
            heard_reports: 0,
        }
    }

    /// What it sends in the next slot.
    pub fn slot(&mut self, send: &mut impl FnMut(From, &[u8])) {
        self.slot += 1;
        let n = self.slot;
        match self.style {
            Style::Quiet | Style::Speaks => self.audio(160, send),
            Style::Short => (0..2).for_each(|_| self.audio(80, send)),
            Style::Long if n.is_multiple_of(3) => self.audio(480, send),
            Style::Long => {}
            Style::Keys | Style::Redundant => self.keys(send),
            Style::Wild => self.wild(send),
            Style::Dead if n == 1 => self.audio(160, send),
            Style::Dead => {}
        }
    }

    /// A report about its stream and ours.
    pub fn report(&self, unix: Duration, send: &mut impl FnMut(&[u8])) {
        if self.style == Style::Dead {
            return;
        }
        let ntp = NtpTime::from_unix(unix);
        let info = SenderInfo { ntp, timestamp: self.timestamp, packets: self.slot, octets: self.slot * 160 };
        let block = self.hears.map(|ssrc| ReportBlock {
            reception: ReceptionReport {
                ssrc,
                fraction_lost: 1,
                cumulative_lost: 2,
                highest_sequence: self.slot,
                jitter: 3,
            },
            last_report: ntp.middle().wrapping_sub(6_554),
            since_last_report: 0,
        });
        let mut compound = [0; MAX_COMPOUND];
        let length =
            rtcp::write(Ssrc(self.ssrc), Some(info), block, &xr::Report::default(), "far", false, &mut compound);
        send(&compound[..length]);
        send(b"no RTCP");
    }

    /// Our packet.
    pub fn hear(&mut self, datagram: &[u8]) {
        let Ok(packet) = Packet::parse(datagram) else { panic!("not RTP: {datagram:02x?}") };
        self.hears = Some(packet.ssrc);
        self.heard_events += u32::from(packet.payload_type.as_u8() == EVENT);
    }

    /// Our RTCP.
    pub fn hear_report(&mut self, compound: &[u8]) {
        assert_eq!(rtcp::read(compound, |_| {}), Reading::Whole, "not RTCP: {compound:02x?}");
        self.heard_reports += 1;
    }

    fn audio(&mut self, samples: usize, send: &mut impl FnMut(From, &[u8])) {
        let mut payload = [0; LONGEST];
        self.law.encode(&[0; LONGEST], &mut payload);
        if self.speaking && self.style != Style::Quiet {
            for byte in &mut payload[..samples] {
                *byte = self.voice[self.place % self.voice.len()];
                self.place += 1;
            }
        }
        let number = match self.law {
            Law::A => PayloadType::PCMA,
            _ => PayloadType::PCMU,
        };
        self.packet(number, self.timestamp, &payload[..samples], &mut |datagram| send(From::Far, datagram));
        self.timestamp = self.timestamp.wrapping_add(samples as u32);
    }

    fn packet(&mut self, number: PayloadType, timestamp: u32, payload: &[u8], send: &mut impl FnMut(&[u8])) {
        let mut room = [0; 2 * LONGEST];
        let said = (number, payload.to_vec());
        let (mut number, mut payload) = (number, payload);
        if self.style == Style::Redundant {
            let before = self.again.as_ref().map(|(payload_type, at, payload)| Block {
                payload_type: *payload_type,
                offset: timestamp.wrapping_sub(*at) % (1 << 14),
                payload,
            });
            let length = redundancy::write(before.as_slice(), (said.0, &said.1), &mut room).expect("there is room");
            number = PayloadType::new(REDUNDANT).expect("below 128");
            payload = if self.slot % 100 == 17 { &room[..3] } else { &room[..length] };
            self.again = Some((said.0, timestamp, said.1.clone()));
        }
        let (sequence, ssrc) = (SequenceNumber(self.sequence), Ssrc(self.ssrc));
        let packet = Packet { marker: false, payload_type: number, sequence, timestamp, ssrc, payload };
        let mut datagram = [0; HEADER_LEN + 2 * LONGEST];
        let length = packet.write_into(&mut datagram);
        self.sequence = self.sequence.wrapping_add(1);
        send(&datagram[..length]);
    }

    /// Keys in place of audio for a while.
    fn keys(&mut self, send: &mut impl FnMut(From, &[u8])) {
        if self.slot.is_multiple_of(50) {
            let key = char::from_digit(self.slot / 50 % 10, 10).and_then(Key::from_char).expect("a digit");
            self.press = Some(Sender::new(key, self.timestamp, Ms(100), 8_000));
        }
        let Some(event) = self.press.as_mut().and_then(Sender::next_packet) else { return self.audio(160, send) };
        let number = PayloadType::new(EVENT).expect("below 128");
        self.packet(number, event.timestamp, &event.payload, &mut |datagram| send(From::Far, datagram));
        self.timestamp = self.timestamp.wrapping_add(160);
    }

    /// Every two seconds, one thing after the other.
    fn wild(&mut self, send: &mut impl FnMut(From, &[u8])) {
        match self.slot % 100 {
            7 => send(From::Far, b"no RTP"),
            11 => send(From::Far, &[]),
            13 => self.packet(PayloadType::G722, self.timestamp, &[0; 160], &mut |datagram| send(From::Far, datagram)),
            19 => self.packet(PayloadType::CN, self.timestamp, &[60], &mut |datagram| send(From::Far, datagram)),
            // Somebody else's packet.
            23 => self.audio(160, &mut |_, datagram| send(From::Stranger, datagram)),
            // Twice.
            29 => self.audio(160, &mut |from, datagram| (0..2).for_each(|_| send(from, datagram))),
            // Lost.
            31..=35 => self.audio(160, &mut |_, _| {}),
            // One is overtaken by the next.
            41 => {
                let mut late = Vec::new();
                self.audio(160, &mut |_, datagram| late = datagram.to_vec());
                self.audio(160, send);
                send(From::Far, &late);
            }
            // A flood.
            53 => (0..40).for_each(|_| self.audio(160, send)),
            // Longer than anybody sends.
            61 => self.audio(LONGEST, send),
            71 => {
                self.timestamp = self.timestamp.wrapping_add(80_000);
                self.audio(160, send);
            }
            83 => {
                self.sequence = self.sequence.wrapping_add(5_000);
                self.audio(160, send);
            }
            97 => {
                self.ssrc += 1;
                self.audio(160, send);
            }
            _ => self.audio(160, send),
        }
    }
}
