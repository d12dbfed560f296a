//! The kinds of calls, and what each of them must have brought to pass: a path that was not taken proves nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use trunkline::call::knobs::{BargeIn, LegKnobs};
use trunkline::call::leg::{Command, InbandKeys, LegEvent, Media, Setup, Sound, Stopped, WallClock};
use trunkline::call::prompt::PromptNo;
use trunkline::codec::g711::Law;
use trunkline::dsp::level::Gain;
use trunkline::dsp::tone::progress::{Country, Heard, Tone};
use trunkline::ms::Ms;
use trunkline::rtp::packet::PayloadType;
use trunkline::rtp::srtp::{MAX_TRAILER, Master, Srtp, Suite};

use crate::far::{EVENT, Far, REDUNDANT, Style};

/// What the robot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Robot {
    Silent,
    /// A prompt of pieces of 100 ms, each a segment of its own and with a buffer of its own, and pauses between.
    Segments(BargeIn),
    /// A recording, shared with other calls.
    Recording,
    /// Presses keys.
    Keys,
    /// Speaks over a background that changes each time.
    Background,
}

/// A kind of call.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub far: Style,
    pub robot: Robot,
    pub law: Law,
    /// The far end holds us.
    pub held: bool,
    /// Recorder and recogniser do not keep up: their rings are full.
    pub full: bool,
    /// Both encrypt.
    pub srtp: Option<Suite>,
}

const fn kind(name: &'static str, far: Style, robot: Robot) -> Kind {
    Kind { name, far, robot, law: Law::A, held: false, full: false, srtp: None }
}

pub const KINDS: &[Kind] = &[
    kind("nobody speaks", Style::Quiet, Robot::Silent),
    kind("the caller speaks", Style::Speaks, Robot::Silent),
    kind("the robot speaks", Style::Quiet, Robot::Segments(BargeIn::Never)),
    kind("the caller interrupts", Style::Speaks, Robot::Segments(BargeIn::Speech)),
    Kind { full: true, ..kind("both speak, and the rings are full", Style::Speaks, Robot::Recording) },
    kind("keys both ways", Style::Keys, Robot::Keys),
    Kind { law: Law::Mu, ..kind("packets of 10 ms, µ-law", Style::Short, Robot::Recording) },
    kind("a background under the robot", Style::Speaks, Robot::Background),
    kind("packets that say again what was said", Style::Redundant, Robot::Keys),
    kind("packets of 60 ms", Style::Long, Robot::Silent),
    kind("all that can come", Style::Wild, Robot::Recording),
    Kind { held: true, ..kind("held", Style::Speaks, Robot::Silent) },
    kind("the line goes dead", Style::Dead, Robot::Silent),
    Kind { srtp: Some(Suite::AesCm128Sha1Tag80), ..kind("encrypted", Style::Speaks, Robot::Segments(BargeIn::Speech)) },
    Kind { srtp: Some(Suite::AesGcm256), ..kind("encrypted by GCM", Style::Keys, Robot::Keys) },
];

impl Kind {
    /// Both ends' encryption: the robot's, the far end's.
    pub fn encryption(&self) -> Option<[Box<Srtp>; 2]> {
        let suite = self.srtp?;
        let key = |byte| {
            Master::new(suite, &vec![byte; suite.key_len() + suite.salt_len()]).expect("as long as it has to be")
        };
        Some([(1, 2), (2, 1)].map(|(ours, theirs)| Box::new(Srtp::new(key(ours), key(theirs)))))
    }

    pub fn setup(&self, rtp: SocketAddr, rtcp: SocketAddr, clock: WallClock) -> Setup {
        let media = Media {
            telephone_event: PayloadType::new(EVENT),
            telephone_event_in: PayloadType::new(EVENT),
            rtcp,
            rtcp_xr: true,
            redundancy: PayloadType::new(REDUNDANT),
            sends: !self.held,
            ..Media::g711(self.law, rtp)
        };
        let srtp = self.encryption().map(|[robot, _]| robot);
        // All that a leg may listen for.
        let busy = Tone { heard: Heard::Busy, frequencies: vec![450.0], cadence: vec![350, 350] };
        Setup {
            media,
            srtp,
            may_widen: false,
            knobs: LegKnobs::default(),
            inband_keys: InbandKeys::On,
            tones: Some(Arc::new(Country::new(vec![busy]))),
            answerer: Some(Default::default()),
            rtp_timeout: Duration::from_secs(3),
            seed: 1,
            clock,
        }
    }

    /// What the robot is told at first, and when a prompt is over.
    pub fn commands(&self, no: PromptNo, recording: &Arc<[i16]>) -> Vec<Command> {
        let prompt = |barge_in, sounds: Vec<Sound>| {
            let sounds = sounds.into_iter().enumerate();
            let sounds = sounds.map(|(n, sound)| Command::Sound { no, segment: n as u32, sound });
            let begin = Command::Prompt { no, barge_in, protect: Ms(0) };
            [begin].into_iter().chain(sounds).chain([Command::Close { no }]).collect()
        };
        match self.robot {
            Robot::Silent => Vec::new(),
            Robot::Segments(barge_in) => {
                let piece = |n: usize| match n % 10 {
                    9 => Sound::Silence(800),
                    _ => Sound::Own(recording[n * 800 % 8_000..][..800].to_vec()),
                };
                prompt(barge_in, (0..300).map(piece).collect())
            }
            Robot::Background => {
                let sound = |length: usize| {
                    let samples: Arc<[i16]> = recording[..length].into();
                    Command::Background(Some((samples, Gain::from_db(-20.0))))
                };
                let mut commands = prompt(BargeIn::Never, vec![Sound::Own(recording[..8_000].to_vec())]);
                // With a seam and without, and the first one handed back.
                commands.extend([sound(4_000), sound(if no.0.is_multiple_of(2) { 500 } else { 1_000 })]);
                commands
            }
            Robot::Recording => prompt(BargeIn::Never, vec![Sound::Shared(recording.clone())]),
            Robot::Keys => vec![Command::SendKeys("0123456789*#".repeat(10))],
        }
    }
}

/// What a leg told.
#[derive(Debug, Default)]
pub struct Told {
    pub began: bool,
    pub prompt_over: bool,
    pub looks: u32,
    speeches: u32,
    utterances: u32,
    segments: u32,
    interrupted: bool,
    keys: u32,
    dead: bool,
    /// Backgrounds that came to their end.
    gone: u32,
}

impl Told {
    pub fn take(&mut self, event: &LegEvent) {
        match event {
            LegEvent::Began { .. } => self.began = true,
            LegEvent::SpeechStarted { .. } => self.speeches += 1,
            LegEvent::Utterance { .. } => self.utterances += 1,
            LegEvent::SegmentStarted { .. } => self.segments += 1,
            LegEvent::PromptFinished { .. } => self.prompt_over = true,
            LegEvent::PromptInterrupted { by, .. } => {
                self.prompt_over = true;
                self.interrupted |= matches!(by, Stopped::Speech { .. });
            }
            LegEvent::Key { .. } => self.keys += 1,
            LegEvent::LineDead { .. } => self.dead = true,
            LegEvent::Look(_) => self.looks += 1,
            LegEvent::PromptStarted { .. }
            | LegEvent::PromptPaused { .. }
            | LegEvent::PromptResumed { .. }
            | LegEvent::RecordingPaused { .. }
            | LegEvent::Muted { .. }
            | LegEvent::Tone { .. }
            | LegEvent::Answerer { .. }
            | LegEvent::Spent(_) => {}
            LegEvent::SpentShared(_) => self.gone += 1,
        }
    }

    /// Holds what was told, and what the far end heard, against what the kind is for.
    pub fn check(&self, kind: &Kind, far: &Far) {
        let name = kind.name;
        assert!(self.began, "{name}");
        assert!(far.heard_reports > 0, "{name}: no report came");
        if kind.far == Style::Speaks {
            assert!(self.speeches > 0 && self.utterances > 0, "{name}: {self:?}");
        }
        match kind.robot {
            Robot::Segments(BargeIn::Never) => assert!(self.segments > 20, "{name}: {self:?}"),
            Robot::Segments(_) => assert!(self.interrupted, "{name}: {self:?}"),
            Robot::Background => assert!(self.segments > 0 && self.gone > 0, "{name}: {self:?}"),
            Robot::Recording => assert!(self.segments > 0, "{name}: {self:?}"),
            Robot::Keys => {
                assert!(far.heard_events > 50 && self.keys > 2, "{name}: {self:?}, {} packets", far.heard_events)
            }
            Robot::Silent => {}
        }
        assert_eq!(self.dead, kind.far == Style::Dead, "{name}: {self:?}");
    }
}

/// Twenty seconds of a recording.
pub fn recording() -> Arc<[i16]> {
    (0..160_000).map(|n| (8_000.0 * (f64::from(n) * 0.3).sin()) as i16).collect()
}

/// As the far end sends it; what cannot be encrypted is nonsense, and stays that.
pub fn sealed(
    srtp: Option<&mut Srtp>,
    how: impl FnOnce(&mut Srtp, &mut [u8], usize) -> Option<usize>,
    datagram: &[u8],
) -> Vec<u8> {
    let mut room = [datagram, &[0; MAX_TRAILER]].concat();
    let length = srtp.and_then(|srtp| how(srtp, &mut room, datagram.len())).unwrap_or(datagram.len());
    room.truncate(length);
    room
}
