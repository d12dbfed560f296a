//! All that a media thread does for a call in its slot of 20 ms, but the sockets.
//!
//! Each time is the next 20 ms of a line that never hangs up. `speech` is a human prompt of `test-audio` over and over, which keeps both
//! stages of the voice detector awake.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trunkline::call::io::{HeardFrame, RecordedFrame};
use trunkline::call::knobs::{BargeIn, LegKnobs};
use trunkline::call::leg::{Command, Leg, LegEvent, Media, Outlet, SLOT, Setup, Sound, WallClock};
use trunkline::call::prompt::PromptNo;
use trunkline::codec::coding::{Band, Coding};
use trunkline::codec::g711::Law;
use trunkline::ms::Ms;
use trunkline::rtp::jitter::MAX_PAYLOAD;
use trunkline::rtp::packet::{HEADER_LEN, PayloadType};

use super::codecs::OPUS;
use super::{FRAME, FarEnd, Path, Walk, each, quiet, speech};

/// Seconds of a prompt, which is then asked for anew.
const PROMPT_S: usize = 20;
/// Slots of one.
const TIMES: u64 = PROMPT_S as u64 * 50;

pub const PATHS: &[Path] = &[
    Path { name: "leg/quiet", times: TIMES, make: || line(&quiet(), None) },
    Path { name: "leg/caller_speaks", times: TIMES, make: || line(&speech(), None) },
    Path { name: "leg/robot_speaks", times: TIMES, make: || line(&quiet(), Some(&speech())) },
    Path { name: "leg/both_speak", times: TIMES, make: || line(&speech(), Some(&speech())) },
    Path { name: "leg/both_speak_l16", times: TIMES, make: || coded(Coding::L16(Band::Wide)) },
    Path { name: "leg/both_speak_g722", times: TIMES, make: || coded(Coding::G722) },
    Path { name: "leg/both_speak_opus", times: TIMES, make: || coded(OPUS) },
];

fn line(caller: &[[i16; FRAME]], robot: Option<&[[i16; FRAME]]>) -> Walk {
    let mut line = Line::new(Coding::G711(Law::A), caller, robot);
    each(move || line.slot())
}

fn coded(coding: Coding) -> Walk {
    let mut line = Line::new(coding, &speech(), Some(&speech()));
    each(move || line.slot())
}

/// Takes all that comes out of a leg, and sees when its prompt is over.
struct Sink {
    finished: bool,
}

impl Outlet for Sink {
    fn event(&mut self, event: LegEvent) {
        self.finished |= matches!(event, LegEvent::PromptFinished { .. });
        black_box(event);
    }
    fn heard(&mut self, frame: impl FnOnce() -> HeardFrame) {
        black_box(frame());
    }
    fn record(&mut self, frame: impl FnOnce() -> RecordedFrame) {
        black_box(frame());
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
    fn new(coding: Coding, frames: &[[i16; FRAME]], robot: Option<&[[i16; FRAME]]>) -> Line {
        let number = PayloadType::PCMA;
        let from = SocketAddr::from(([192, 0, 2, 1], 4_000));
        let media = Media {
            coding,
            event_clock: coding.clock_rate(),
            telephone_event: PayloadType::new(101),
            telephone_event_in: PayloadType::new(101),
            rtcp: from,
            rtcp_xr: true,
            ..Media::g711(Law::A, from)
        };
        let now = Instant::now();
        let clock = WallClock { at: now, unix: Duration::from_secs(1_800_000_000) };
        let setup = Setup {
            media,
            srtp: None,
            may_widen: coding.band() == Band::Wide,
            knobs: LegKnobs::default(),
            inband_keys: Default::default(),
            tones: None,
            answerer: None,
            rtp_timeout: Duration::from_secs(30),
            seed: 1,
            clock,
        };
        let spoken = |frames: &[[i16; FRAME]]| {
            let samples: Arc<[i16]> = frames.iter().flatten().copied().cycle().take(PROMPT_S * 8_000).collect();
            (PromptNo(0), samples)
        };
        let sink = Sink { finished: true };
        Line {
            leg: Leg::new(setup),
            far: FarEnd::coded(coding, number, frames),
            from,
            now,
            prompt: robot.map(spoken),
            sink,
        }
    }

    /// The next 20 ms.
    fn slot(&mut self) {
        self.now += SLOT;
        let mut datagram = [0; HEADER_LEN + MAX_PAYLOAD];
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
