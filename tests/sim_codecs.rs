//! Each codec in virtual time: two legs, a network between that loses, delays and reorders, and a tone that one of them says.

use std::collections::VecDeque;
use std::net::SocketAddr;
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
/// One that 8 kHz cannot hold: there it would be heard at 2,300 Hz, which no harmonic of the other is.
const HIGH: f64 = 5_700.0;
const IMAGE: f64 = 8_000.0 - HIGH;

#[derive(Default)]
struct Told {
    sent: Vec<Vec<u8>>,
    heard: Vec<HeardFrame>,
    recorded: Vec<i16>,
    /// What it said, as it is recorded.
    said: Vec<i16>,
    keys: String,
    prompts: Vec<LegEvent>,
}

impl Outlet for Told {
    fn event(&mut self, event: LegEvent) {
        match event {
            LegEvent::Key { key, .. } => self.keys.push(key),
            LegEvent::PromptFinished { .. } | LegEvent::PromptInterrupted { .. } => self.prompts.push(event),
            _ => {}
        }
    }
    fn heard(&mut self, frame: impl FnOnce() -> HeardFrame) {
        self.heard.push(frame());
    }
    fn record(&mut self, frame: impl FnOnce() -> RecordedFrame) {
        let frame = frame();
        self.recorded.extend(frame.caller);
        self.said.extend(frame.robot);
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
        let tone = (0..80_000).map(|n| sine(HZ, 6_000.0, n, 8_000.0) as i16).collect();
        Line::saying(Sound::Shared(tone), coding, ptimes, loss)
    }

    fn saying(sound: Sound, coding: Coding, ptimes: [u32; 2], loss: f64) -> Line {
        let start = Instant::now();
        let ends = [4_000, 5_000].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let mut legs =
            [leg(start, 1, media(coding, ptimes[0], ends[1])), leg(start, 2, media(coding, ptimes[1], ends[0]))];
        let (mut told, no) = ([Told::default(), Told::default()], PromptNo(0));
        legs[0].command(Command::Prompt { no, barge_in: BargeIn::Never, protect: Ms(0) }, &mut told[0]);
        legs[0].command(Command::Sound { no, segment: 0, sound }, &mut told[0]);
        legs[0].command(Command::Close { no }, &mut told[0]);
        let rng = StdRng::seed_from_u64(7);
        Line { start, slot: 0, legs, ends, told, under_way: VecDeque::new(), rng, loss }
    }

    /// Both agree on another coding.
    fn change(&mut self, coding: Coding, ptime: u32) {
        for n in 0..2 {
            let remote = self.ends[1 - n];
            self.legs[n].command(Command::anew(media(coding, ptime, remote), None), &mut self.told[n]);
        }
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

fn sine(hz: f64, amplitude: f64, n: usize, rate: f64) -> f64 {
    amplitude * (std::f64::consts::TAU * hz * n as f64 / rate).sin()
}

/// A tone below 4 kHz and one above, at 16 kHz.
fn wide_samples(samples: usize) -> Vec<i16> {
    (0..samples).map(|n| (sine(HZ, 6_000.0, n, 16_000.0) + sine(HIGH, 4_000.0, n, 16_000.0)) as i16).collect()
}

/// The same as a recording.
fn wide_sound(samples: usize) -> Sound {
    Sound::SharedWide(wide_samples(samples).into())
}

/// The amplitude of a frequency.
fn amplitude(hz: f64, rate: f64, samples: &[i16]) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let (sin, cos) = (std::f64::consts::TAU * hz * n as f64 / rate).sin_cos();
        re += f64::from(*sample) * cos;
        im += f64::from(*sample) * sin;
    }
    2.0 * re.hypot(im) / samples.len() as f64
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
        line.change(coding, ptime);
        line.told[1].recorded.clear();
        line.run(70);
        let heard = &line.told[1].recorded[3_200..];
        let hz = pitch(heard, 8_000.0);
        assert!((hz - HZ).abs() < 5.0, "after the change to {coding:?}: {hz:.1} Hz");
    }
}

#[test]
fn what_is_said_at_16_khz_arrives_whole_where_the_line_has_16_khz() {
    for coding in ALL {
        let mut line = Line::saying(wide_sound(160_000), coding, [20, 20], 0.0);
        line.run(200);
        let (samples, rate) = recognised(&line.told[1].heard);
        let heard = &samples[samples.len() / 2..][..rate as usize];
        let low = amplitude(HZ, rate, heard);
        assert!((5_000.0..6_500.0).contains(&low), "{coding:?}: {HZ} Hz arrives {low:.0} high");
        if coding.band() == Band::Wide {
            let high = amplitude(HIGH, rate, heard);
            assert!((3_200.0..4_600.0).contains(&high), "{coding:?}: {HIGH} Hz arrives {high:.0} high");
            // The echo guard and the recording have what 8 kHz can hold of it, and no more.
            for (whose, sound) in [("said", &line.told[0].said), ("heard", &line.told[1].recorded)] {
                let sound = &sound[16_000..24_000];
                let (low, image) = (amplitude(HZ, 8_000.0, sound), amplitude(IMAGE, 8_000.0, sound));
                assert!(low > 5_000.0 && image < 20.0, "{coding:?}, as {whose}: {low:.0}, its image {image:.0}");
            }
        }
    }
}

#[test]
fn sound_of_16_khz_is_not_touched_on_its_way_to_a_line_of_16_khz() {
    let sound = wide_samples(32_000);
    let mut line = Line::saying(Sound::Wide(sound.clone()), Coding::L16(Band::Wide), [20, 20], 0.0);
    line.run(150);
    let (heard, _) = recognised(&line.told[1].heard);
    let begins = heard.windows(2).position(|two| two == &sound[1..3]).expect("it arrives");
    assert_eq!(heard[begins..][..sound.len() - 1], sound[1..], "sample by sample, to the last");
    assert!(heard[begins + sound.len() - 1..].iter().all(|sample| *sample == 0), "and nothing after it");
    let Some(LegEvent::PromptFinished { at, length, .. }) = line.told[0].prompts.pop() else { panic!("its end") };
    assert_eq!((at, length), (Ms(2_000), Ms(2_000)));
}

#[test]
fn g711_is_what_it_was_bit_for_bit() {
    for law in [Law::A, Law::Mu] {
        let mut line = Line::new(Coding::G711(law), [20, 20], 0.0);
        for frame in 0..50 {
            line.run(1);
            let (_, packet) = line.under_way.back().expect("a packet a slot");
            let tone: Vec<i16> = (0..160).map(|n| sine(HZ, 6_000.0, frame * 160 + n, 8_000.0) as i16).collect();
            let mut expected = [0; 160];
            law.encode(&tone, &mut expected);
            assert_eq!(packet[12..], expected, "{law:?}, frame {frame}");
        }
    }
}

#[test]
fn a_prompt_goes_on_without_a_gap_when_the_line_becomes_narrow_or_wide() {
    const CHANGES: [Coding; 6] = [
        Coding::G711(Law::A),
        Coding::G722,
        Coding::L16(Band::Narrow),
        OPUS,
        Coding::G711(Law::Mu),
        Coding::L16(Band::Wide),
    ];
    let mut line = Line::saying(wide_sound(16_000 * 8), Coding::G722, [20, 20], 0.0);
    line.run(50);
    for coding in CHANGES {
        line.change(coding, 20);
        line.told[1].recorded.clear();
        line.told[1].heard.clear();
        line.run(50);
        let heard = &line.told[1].recorded[1_600..];
        let hz = pitch(heard, 8_000.0);
        assert!((hz - HZ).abs() < 3.0, "after the change to {coding:?}: {hz:.1} Hz");
        assert!(amplitude(IMAGE, 8_000.0, heard) < 40.0, "after the change to {coding:?}: the image of {HIGH} Hz");
        let (samples, rate) = recognised(&line.told[1].heard);
        let high = amplitude(HIGH, rate, &samples[samples.len() / 2..]);
        assert!(rate == 8_000.0 || high > 2_800.0, "after the change to {coding:?}: {HIGH} Hz is {high:.0} high");
    }
    line.run(60);
    // 23 samples of 16 kHz late, without a step.
    let said = &line.told[0].said[..64_000];
    let off = said.iter().enumerate().skip(100).map(|(n, sample)| {
        let expected = 6_000.0 * (std::f64::consts::TAU * HZ * (2 * n as i32 - 23) as f64 / 16_000.0).sin();
        (f64::from(*sample) - expected).abs()
    });
    let off = off.fold(0.0, f64::max);
    assert!(off < 60.0, "off by {off:.0}");
    let Some(LegEvent::PromptFinished { at, length, .. }) = line.told[0].prompts.pop() else { panic!("its end") };
    assert_eq!((at, length), (Ms(8_000), Ms(8_000)));
}

#[test]
fn a_stop_fades_sound_of_16_khz_and_tells_how_much_was_heard() {
    let mut line = Line::saying(wide_sound(160_000), Coding::L16(Band::Wide), [20, 20], 0.0);
    line.run(50);
    line.legs[0].command(Command::Stop { last: PromptNo(u32::MAX) }, &mut line.told[0]);
    line.run(30);
    let Some(LegEvent::PromptInterrupted { at, heard, .. }) = line.told[0].prompts.pop() else { panic!("stopped") };
    assert_eq!((at, heard), (Ms(1_020), Ms(1_020)));
    let (samples, _) = recognised(&line.told[1].heard);
    let last = samples.iter().rposition(|sample| *sample != 0).expect("it was heard");
    let fade = &samples[last - 319..=last];
    let loud = |part: &[i16]| part.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    assert!(loud(&samples[last - 700..last - 400]) > 8_000 && loud(&fade[..40]) > 8_000, "it was loud until then");
    assert!(loud(&fade[160..]) < 6_000 && loud(&fade[300..]) < 150, "{fade:?}");
}

#[test]
fn nothing_of_16_khz_goes_out_past_a_mute_or_a_tone_of_a_key() {
    let mut line = Line::saying(wide_sound(160_000), Coding::L16(Band::Wide), [20, 20], 0.0);
    line.run(50);
    line.legs[0].command(Command::Mute(true), &mut line.told[0]);
    line.run(2);
    line.told[1].heard.clear();
    line.run(40);
    let (samples, _) = recognised(&line.told[1].heard);
    assert!(samples[6_400..].iter().all(|sample| *sample == 0), "muted");
    line.legs[0].command(Command::Mute(false), &mut line.told[0]);
    let remote = line.ends[1];
    let without_events = Media { telephone_event: None, ..media(Coding::L16(Band::Wide), 20, remote) };
    line.legs[0].command(Command::anew(without_events, None), &mut line.told[0]);
    line.legs[0].command(Command::SendKeys("5".repeat(40)), &mut line.told[0]);
    line.run(30);
    line.told[1].heard.clear();
    line.run(40);
    let (samples, rate) = recognised(&line.told[1].heard);
    // Each key begins at a phase of its own.
    let loudest = |hz| samples.chunks(320).map(|frame| amplitude(hz, rate, frame)).fold(0.0, f64::max);
    let (key, high) = (loudest(770.0), amplitude(HIGH, rate, &samples));
    assert!(key > 1_000.0 && high < 20.0, "keys {key:.0}, what is said {high:.0}");
}
