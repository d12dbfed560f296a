//! Each codec in virtual time: two legs, a network between that loses, delays and reorders, and a tone that one of them says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use trunkline::call::io::{HeardCoding, HeardFrame, RecordedFrame};
use trunkline::call::knobs::{BargeIn, LegKnobs};
use trunkline::call::leg::{Command, Leg, LegEvent, Media, Outlet, SLOT, Setup, Sound, WallClock};
use trunkline::call::prompt::PromptNo;
use trunkline::codec::coding::{Band, Coding};
use trunkline::codec::g711::Law;
use trunkline::codec::opus::Terms;
use trunkline::ms::Ms;
use trunkline::rtp::packet::PayloadType;

const OPUS: Coding = Coding::Opus(Terms { narrow: false, max_bitrate: None, constant_bitrate: false, fec: true });
const ALL: [Coding; 6] = [
    Coding::G711(Law::A),
    Coding::G711(Law::Mu),
    Coding::G722,
    Coding::L16(Band::Narrow),
    Coding::L16(Band::Wide),
    OPUS,
];
/// The tone's pitch.
const HZ: f64 = 500.0;

#[derive(Default)]
struct Told {
    sent: Vec<Vec<u8>>,
    heard: Vec<HeardFrame>,
    recorded: Vec<i16>,
    keys: String,
}

impl Outlet for Told {
    fn event(&mut self, event: LegEvent) {
        if let LegEvent::Key { key, .. } = event {
            self.keys.push(key);
        }
    }
    fn heard(&mut self, frame: impl FnOnce() -> HeardFrame) {
        self.heard.push(frame());
    }
    fn record(&mut self, frame: impl FnOnce() -> RecordedFrame) {
        self.recorded.extend(frame().caller);
    }
    fn send(&mut self, _: SocketAddr, packet: &[u8]) {
        self.sent.push(packet.to_vec());
    }
    fn report(&mut self, _: SocketAddr, _: &[u8]) {}
}

fn media(coding: Coding, ptime: u32, remote: SocketAddr) -> Media {
    let (number, event) = (PayloadType::new(96).expect("below 128"), PayloadType::new(101));
    Media {
        coding,
        payload_type: number,
        payload_type_in: number,
        ptime: Ms(ptime),
        telephone_event: event,
        telephone_event_in: event,
        event_clock: coding.clock_rate(),
        ..Media::g711(Law::A, remote)
    }
}

fn leg(start: Instant, seed: u64, media: Media) -> Leg {
    Leg::new(Setup {
        media,
        srtp: None,
        may_widen: true,
        knobs: LegKnobs::default(),
        inband_keys: Default::default(),
        tones: None,
        answerer: None,
        rtp_timeout: Duration::from_secs(30),
        seed,
        clock: WallClock { at: start, unix: Duration::from_secs(1_800_000_000) },
    })
}

/// A line of two legs, of which the first one says the tone for as long as it lasts.
struct Line {
    start: Instant,
    slot: u32,
    legs: [Leg; 2],
    ends: [SocketAddr; 2],
    told: [Told; 2],
    /// What is under way to the second: when it arrives.
    under_way: VecDeque<(Instant, Vec<u8>)>,
    rng: StdRng,
    loss: f64,
}

impl Line {
    fn new(coding: Coding, ptimes: [u32; 2], loss: f64) -> Line {
        let start = Instant::now();
        let ends = [4_000, 5_000].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let mut legs =
            [leg(start, 1, media(coding, ptimes[0], ends[1])), leg(start, 2, media(coding, ptimes[1], ends[0]))];
        let tone: Arc<[i16]> = (0..80_000)
            .map(|n| (6_000.0 * (std::f64::consts::TAU * HZ * f64::from(n) / 8_000.0).sin()) as i16)
            .collect();
        let (mut told, no) = ([Told::default(), Told::default()], PromptNo(0));
        legs[0].command(Command::Prompt { no, barge_in: BargeIn::Never, protect: Ms(0) }, &mut told[0]);
        legs[0].command(Command::Sound { no, segment: 0, sound: Sound::Shared(tone) }, &mut told[0]);
        let rng = StdRng::seed_from_u64(7);
        Line { start, slot: 0, legs, ends, told, under_way: VecDeque::new(), rng, loss }
    }

    fn run(&mut self, slots: u32) {
        for _ in 0..slots {
            let now = self.start + SLOT * self.slot;
            self.slot += 1;
            let (due, later): (Vec<_>, Vec<_>) = self.under_way.drain(..).partition(|(at, _)| *at <= now);
            self.under_way.extend(later);
            due.iter().for_each(|(_, packet)| self.legs[1].receive(now, self.ends[0], packet));
            let [one, two] = &mut self.legs;
            one.tick(now, &mut self.told[0]);
            two.tick(now, &mut self.told[1]);
            for packet in self.told[0].sent.drain(..) {
                if self.loss == 0.0 || !self.rng.random_bool(self.loss) {
                    let late = if self.loss == 0.0 { 0 } else { self.rng.random_range(0..30) };
                    self.under_way.push_back((now + Duration::from_millis(20 + late), packet));
                }
            }
            for packet in self.told[1].sent.drain(..) {
                self.legs[0].receive(now, self.ends[1], &packet);
            }
        }
    }
}

/// The pitch, by the rising crossings of zero.
fn pitch(samples: &[i16], rate: f64) -> f64 {
    let rises: Vec<usize> = (1..samples.len()).filter(|&n| samples[n - 1] < 0 && samples[n] >= 0).collect();
    let (first, last) = (rises.first().copied().unwrap_or(0), rises.last().copied().unwrap_or(0));
    (rises.len().saturating_sub(1)) as f64 * rate / (last - first).max(1) as f64
}

fn recognised(frames: &[HeardFrame]) -> (Vec<i16>, f64) {
    let mut samples = Vec::new();
    let mut rate = 0.0;
    for frame in frames {
        match frame.coding {
            HeardCoding::G711(law) => {
                rate = 8_000.0;
                samples.extend(frame.sound.iter().map(|byte| law.decode_one(*byte)));
            }
            HeardCoding::Linear(band) => {
                rate = if band == Band::Wide { 16_000.0 } else { 8_000.0 };
                samples.extend(frame.sound.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)));
            }
        }
    }
    (samples, rate)
}

#[test]
fn a_tone_arrives_at_its_pitch_whatever_the_codec_and_the_packets() {
    for coding in ALL {
        for ptimes in [[20, 20], [10, 40], [30, 10], [60, 20]] {
            let mut line = Line::new(coding, ptimes, 0.0);
            line.run(300);
            let heard = &line.told[1].recorded[16_000..40_000];
            let hz = pitch(heard, 8_000.0);
            assert!((hz - HZ).abs() < 1.0, "{coding:?} in {ptimes:?} ms: recorded at {hz:.1} Hz");
            let (samples, rate) = recognised(&line.told[1].heard);
            let hz = pitch(&samples[samples.len() / 3..], rate);
            assert!((hz - HZ).abs() < 1.0, "{coding:?} in {ptimes:?} ms: recognised at {hz:.1} Hz");
            assert_eq!(rate == 16_000.0, coding.band() == Band::Wide, "{coding:?}");
            let quality = line.legs[1].quality();
            assert_eq!((quality.lost, quality.late), (0, 0), "{coding:?} in {ptimes:?} ms");
        }
    }
}

#[test]
fn over_a_poor_network_each_codec_keeps_the_tone() {
    for coding in ALL {
        let mut line = Line::new(coding, [20, 20], 0.05);
        line.run(450);
        let heard = &line.told[1].recorded[16_000..64_000];
        let hz = pitch(heard, 8_000.0);
        assert!((hz - HZ).abs() < 10.0, "{coding:?}: {hz:.1} Hz");
        let loud = heard.chunks(160).filter(|frame| frame.iter().any(|sample| sample.abs() > 2_000)).count();
        assert!(loud >= 290, "{coding:?}: {loud} of 300 frames have sound");
        let quality = line.legs[1].quality();
        assert!(quality.lost > 5 && quality.concealed > 0, "{coding:?}: {quality:?}");
    }
}

#[test]
fn keys_arrive_once_each_beside_every_codec() {
    for coding in ALL {
        let mut line = Line::new(coding, [40, 20], 0.0);
        line.run(50);
        line.legs[0].command(Command::SendKeys("15#".to_owned()), &mut line.told[0]);
        line.run(100);
        assert_eq!(line.told[1].keys, "15#", "{coding:?}");
    }
}

#[test]
fn the_codec_and_the_packets_change_within_the_call() {
    let mut line = Line::new(ALL[0], [20, 20], 0.0);
    line.run(50);
    for (coding, ptime) in
        [(OPUS, 40), (Coding::G722, 20), (Coding::L16(Band::Wide), 10), (Coding::G711(Law::Mu), 30), (OPUS, 20)]
    {
        for n in 0..2 {
            let remote = line.ends[1 - n];
            line.legs[n].command(Command::anew(media(coding, ptime, remote), None), &mut line.told[n]);
        }
        line.told[1].recorded.clear();
        line.run(70);
        let heard = &line.told[1].recorded[3_200..];
        let hz = pitch(heard, 8_000.0);
        assert!((hz - HZ).abs() < 5.0, "after the change to {coding:?}: {hz:.1} Hz");
    }
}
