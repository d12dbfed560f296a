//! A whole call, both ends, in virtual time over a bad network: one thread, one seed, no clock.
//!
//! ```text
//!  phone ── SIP, RTP ──► network ──► robot: Call + Leg ──► dialogue, recogniser, synthesiser (scripted), recorder
//!        ◄────────────────────────── (as in life, what passes between call and leg takes a moment)
//! ```
//! A test says what is different from a plain call ([`Scenario`]), runs it with a seed, and asks what was seen ([`Seen`]). What must
//! hold of every call is checked after each run ([`Seen::check`]).

// Each test binary uses a part of it.
#![allow(dead_code)]

pub mod network;
pub mod phone;
pub mod seen;
pub mod services;
pub mod voice;
pub mod world;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use trunkline::call::action::Action;
use trunkline::call::call::Answering;
use trunkline::call::conversation::Rules;
use trunkline::call::io::Input;
use trunkline::call::knobs::{Background, Knobs};
use trunkline::call::leg::InbandKeys;
use trunkline::call::quality::LineRules;
use trunkline::sdp::SrtpTerms;
use trunkline::sip::session::Terms;

use network::Weather;
use phone::{Pickup, Plan, Referee};
pub use seen::Seen;
use services::{Dialogue, Recogniser, Synthesiser};

pub const ROBOT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5060);
pub const ROBOT_MEDIA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 20_000);
pub const PHONE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 5060);
pub const PHONE_MEDIA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 30_000);

/// Who calls whom.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// The robot calls, and cancels after so many ms.
    Outbound { ring_timeout: u32 },
    /// The phone calls.
    Inbound(Answering),
}

/// What the orchestrator does, ms after the beginning.
pub enum Order {
    Do(Action),
    Say(Input),
}

/// A call. All of it may be changed before it is run.
pub struct Scenario {
    pub way: Way,
    pub sip: Weather,
    pub rtp: Weather,
    /// Of the phone's clock, in parts per million.
    pub drift: i32,
    pub knobs: Knobs,
    pub background: Option<Background>,
    pub variables: Vec<(String, String)>,
    pub rules: Rules,
    pub rtp_timeout: Duration,
    pub line: LineRules,
    pub early_media: bool,
    pub early_media_asr: bool,
    pub inband_keys: InbandKeys,
    pub tones: Option<std::sync::Arc<trunkline::dsp::tone::progress::Country>>,
    pub hang_up_on_tone: bool,
    pub announcements: Option<std::sync::Arc<trunkline::call::announcement::Announcements>>,
    pub hang_up_on_announcement: bool,
    pub answerer: Option<trunkline::dsp::answerer::Rules>,
    pub answerer_early: bool,
    /// The recording begins with early media.
    pub record_early: bool,
    /// What is heard of the phone before the answer: 183 with SDP instead of 180.
    pub early_sound: Vec<i16>,
    /// Its line gives back what comes, after a while and by a factor.
    pub echo: Option<(trunkline::ms::Ms, f32)>,
    /// The phone agrees on RFC 4733 events.
    pub phone_events: bool,
    /// It says each packet again in so many of those that follow it (RFC 2198), if the robot agrees: for a phone that calls.
    pub redundancy: usize,
    /// It is the second leg of a transfer of this call.
    pub transferred_from: Option<&'static str>,
    /// Of the robot's trunk, and of the phone.
    pub terms: Terms,
    pub phone_terms: Terms,
    /// Whether each of them encrypts: the robot, the phone.
    pub srtp: [Option<SrtpTerms>; 2],
    pub pickup: Pickup,
    /// What the phone does with a REFER.
    pub referee: Referee,
    /// What the phone does, ms after the beginning of all.
    pub early: Plan,
    /// What it does, ms after it has begun to send.
    pub talk: Plan,
    pub orders: Vec<(u32, Order)>,
    pub dialogue: Dialogue,
    pub recogniser: Recogniser,
    /// Of early media.
    pub early_recogniser: Recogniser,
    pub synthesiser: Synthesiser,
}

impl Scenario {
    /// The robot calls, the phone is answered after 1.5 s, services are quick, and nobody says anything.
    pub fn outbound() -> Scenario {
        Scenario {
            way: Way::Outbound { ring_timeout: 30_000 },
            sip: Weather::CLEAN,
            rtp: Weather::CLEAN,
            drift: 0,
            knobs: Knobs { no_input: trunkline::ms::Ms(0), ..Knobs::default() },
            background: None,
            variables: Vec::new(),
            rules: Rules {
                dialogue_timeout: Duration::from_secs(4),
                dialogue_resumes: 0,
                dead_air: Duration::ZERO,
                waiting_sound: None,
                final_timeout: Duration::from_millis(1_500),
                fallback_prompt: Some("fallback.wav".to_owned()),
                dialogue: true,
                recogniser: true,
                recorded: true,
            },
            rtp_timeout: Duration::from_secs(20),
            line: LineRules::default(),
            early_media: false,
            early_media_asr: false,
            inband_keys: InbandKeys::Auto,
            tones: None,
            hang_up_on_tone: true,
            announcements: None,
            hang_up_on_announcement: true,
            answerer: None,
            answerer_early: false,
            record_early: false,
            early_sound: Vec::new(),
            echo: None,
            phone_events: true,
            redundancy: 0,
            transferred_from: None,
            terms: Terms::default(),
            phone_terms: Terms::default(),
            srtp: [None, None],
            pickup: Pickup::After(1_500),
            referee: Referee::default(),
            early: Vec::new(),
            talk: Vec::new(),
            orders: Vec::new(),
            dialogue: services::talks("hello", &[]),
            recogniser: services::understands(&[], 150),
            early_recogniser: services::understands(&[], 150),
            synthesiser: services::speaks(),
        }
    }

    /// The phone calls and is answered at once.
    pub fn inbound() -> Scenario {
        Scenario { way: Way::Inbound(Answering::Now), ..Scenario::outbound() }
    }

    /// Over a network such as calls have to bear.
    pub fn over_poor_network(self) -> Scenario {
        Scenario { sip: Weather { loss: 50, ..Weather::POOR }, rtp: Weather::POOR, drift: 80, ..self }
    }

    /// Runs it to the end of all, without what must hold of every call: for a test that says what does not.
    pub fn run_unchecked(self, seed: u64) -> Seen {
        world::World::new(self, seed).run_to_the_end()
    }

    /// Runs it to the end of all.
    pub fn run(self, seed: u64) -> Seen {
        world::World::new(self, seed).run()
    }
}
