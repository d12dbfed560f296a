//! Whom the phones call: a server that we start, with all that it needs, or one that runs already.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tonic::transport::Channel;

use super::audiosocket::Robot;
use super::phones::{Measured, Spoken};
use super::report::{Inside, Spoke, TROUBLES};
use super::services::Services;
use super::{Against, Hold, Trouble, process, program};
use crate::command::harness::signalling::number_of;
use crate::command::harness::stage::{self, Plan, Stage};
use crate::proto::control::v1::DialRequest;
use crate::proto::control::v1::control_client::ControlClient;

/// What should not move while calls are held.
const COUNTERS: [&str; 8] = [
    "trunkline_media_ticks_late_total",
    "trunkline_media_slots_missed_total",
    "trunkline_media_dropped_total",
    "trunkline_speech_dropped_frames_total",
    "trunkline_speech_stream_failures_total",
    "trunkline_calls_refused_total",
    "trunkline_sip_datagrams_dropped_total",
    TROUBLES,
];

/// The server that is measured, and what speaks for it.
pub(super) enum Called {
    /// One of ours.
    Ours(Box<Ours>),
    /// Somebody else's: it goes on when we are done.
    Neighbour { sip: SocketAddr, pid: u32, robot: Option<Robot> },
}

/// A server of ours, its services, and who orders its calls.
pub(super) struct Ours {
    stage: Stage,
    services: Services,
    control: ControlClient<Channel>,
    ordered: u64,
}

/// How it was before it was measured.
pub(super) struct Before {
    page: String,
    drops: u64,
}

/// What it and its services say of the time in which it was measured.
pub(super) struct Told {
    /// Audio of the callers that came to recognition, in ms; none if nobody of ours listens.
    pub(super) heard_ms: Option<u64>,
    pub(super) inside: Option<Inside>,
    pub(super) robot: Option<Spoke>,
}

impl Called {
    /// Starts it, or finds it; `peer` is where the phones' signalling is.
    pub(super) async fn open(
        options: &Hold,
        most: usize,
        peer: SocketAddr,
        spoken: Arc<Spoken>,
    ) -> Result<Called, Trouble> {
        if let Against { against: Some(sip), pid: Some(pid), audiosocket } = options.against {
            return Called::find(sip, pid, audiosocket);
        }
        let (services, port) = Services::start(spoken, options.alaw, options.streams)?;
        let plan = Plan {
            program: program(options.server.server.as_deref())?,
            cpus: options.server.server_cpus.clone(),
            calls: most,
            record: options.record.clone(),
            peer,
            more: Vec::new(),
            services: Some(port),
            batch_ms: options.batch_ms,
            no_overload: options.server.no_overload,
            prompts: Vec::new(),
        };
        let stage = Stage::start(&plan).await?;
        let control = format!("http://127.0.0.1:{}", stage.control);
        let control =
            ControlClient::connect(control).await.map_err(|error| Trouble::Server(format!("control: {error}")))?;
        Ok(Called::Ours(Box::new(Ours { stage, services, control, ordered: 0 })))
    }

    fn find(sip: SocketAddr, pid: u32, audiosocket: Option<SocketAddr>) -> Result<Called, Trouble> {
        if !sip.is_ipv4() || !sip.ip().is_loopback() {
            return Err(Trouble::Server(format!("{sip} cannot reach the phones, which are on 127.0.0.2 to 127.0.0.9")));
        }
        if process::rss_kib(pid) == 0 {
            return Err(Trouble::Server(format!("there is no process {pid}")));
        }
        Ok(Called::Neighbour { sip, pid, robot: audiosocket.map(Robot::start).transpose()? })
    }

    pub(super) fn sip(&self) -> SocketAddr {
        match self {
            Called::Ours(ours) => ours.stage.sip,
            Called::Neighbour { sip, .. } => *sip,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        match self {
            Called::Ours(ours) => ours.stage.pid(),
            Called::Neighbour { pid, .. } => *pid,
        }
    }

    /// The ports of its media; none if they are not ours to know.
    pub(super) fn media(&self) -> Option<RangeInclusive<u16>> {
        match self {
            Called::Ours(ours) => Some(ours.stage.media.clone()),
            Called::Neighbour { .. } => None,
        }
    }

    /// Whether it sends nothing while the robot is silent, as a server does whose robot's sound is passed on as it comes.
    pub(super) fn pauses(&self) -> bool {
        matches!(self, Called::Neighbour { robot: Some(_), .. })
    }

    /// Has it dial a phone.
    pub(super) fn dial(&mut self, phone: usize) {
        // The command line refuses to have a neighbour dial.
        let Called::Ours(ours) = self else { return };
        ours.ordered += 1;
        let dial =
            DialRequest { request_id: ours.ordered.to_string(), callee: number_of(phone), ..DialRequest::default() };
        let mut control = ours.control.clone();
        // A refusal shows as a call that is missing, and in the server's counters.
        tokio::spawn(async move { control.dial(dial).await });
    }

    /// It is measured from now on.
    pub(super) async fn begin(&self) -> Before {
        match self {
            Called::Ours(ours) => {
                let Ours { stage, services, .. } = &**ours;
                services.take();
                Before { page: stage.metrics().await, drops: process::socket_drops(stage.media.clone()) }
            }
            Called::Neighbour { robot, .. } => {
                let _ = robot.as_ref().map(Robot::take);
                Before { page: String::new(), drops: 0 }
            }
        }
    }

    /// What has come of it since.
    pub(super) async fn told(&self, before: &Before, phones: &Measured) -> Told {
        match self {
            Called::Ours(ours) => {
                let Ours { stage, services, .. } = &**ours;
                let seen = services.take();
                let after = stage.metrics().await;
                let since = |name: &str| stage::metric(&after, name) - stage::metric(&before.page, name);
                let inside = Inside {
                    utterance: (&seen.utterance).into(),
                    interruption: (&phones.interruption).into(),
                    not_interrupted: phones.not_interrupted,
                    socket_drops: process::socket_drops(stage.media.clone()).saturating_sub(before.drops),
                    counters: COUNTERS.iter().map(|name| ((*name).to_owned(), since(name))).collect(),
                };
                Told { heard_ms: Some(seen.heard_ms), inside: Some(inside), robot: None }
            }
            Called::Neighbour { robot, .. } => {
                let seen = robot.as_ref().map(Robot::take);
                Told {
                    heard_ms: seen.as_ref().map(|seen| seen.heard_ms()),
                    inside: None,
                    robot: seen.map(|seen| Spoke {
                        frames: seen.frames,
                        broken: seen.broken,
                        pauses: phones.pauses,
                        lateness: (&seen.lateness).into(),
                    }),
                }
            }
        }
    }

    /// How many calls it has; none if only the phones know.
    pub(super) async fn calls(&self) -> Option<u64> {
        match self {
            Called::Ours(ours) => Some(ours.stage.metric("trunkline_calls").await as u64),
            Called::Neighbour { .. } => None,
        }
    }

    /// We are done with it.
    pub(super) async fn strike(self) -> Result<(), Trouble> {
        match self {
            Called::Ours(ours) => ours.stage.strike().await,
            Called::Neighbour { .. } => Ok(()),
        }
    }
}
