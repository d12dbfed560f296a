//! Trunkline: the telephone half of a voice robot. A SIP trunk user agent and a real-time media server in one binary.
//!
//! It dials and answers calls on operators' trunks, listens, speaks, lets the caller interrupt, records and accounts for every call.
//! Recognition, synthesis and dialogue are services behind gRPC; an orchestrator drives it over gRPC.
//!
//! # The house
//!
//! Five floors; an arrow runs only downward.
//!
//! **Floor 1, the cores** ([`sip`], [`sdp`], [`rtp`], [`codec`], [`dsp`]), knows protocols and signals. No socket, clock, task or
//! lock: bytes and moments come in, bytes, events and deadlines go out, and randomness comes from a generator handed in. No core uses
//! another, but `sip` reads `sdp`, and `rtp` and `dsp` know `codec`.
//!
//! **Floor 2, the call** ([`call`]), is still pure: one state machine that joins the cores. [`call::leg`] is the media of a call, run
//! every 20 ms; [`call::conversation`] is whose turn it is; [`call::call`] is the whole, from INVITE to record. So a call, both
//! ends of it, and a bad network between run in virtual time from one seed.
//!
//! **Floor 3, the shells** ([`net`], [`media`], [`speech`], [`dialogue`], [`journal`], [`machine`]), do the work that the call asks for. Each owns one
//! kind of I/O: the SIP socket; the RTP sockets, on threads that tick and never wait; the two clients of the robot's services; events
//! and the disk; the processor's time.
//!
//! **Floor 4, the switchboard** ([`switchboard`]), has one task a call, which carries the call's outputs to the shells and their
//! news back, and one router: admission, trunks, registrations, which message is whose.
//!
//! **Floor 5, the faces** ([`control`], [`web`], [`config`], [`services`]): the gRPC server of the orchestrator; health and metrics;
//! files that become values, so that nobody below sees an unparsed string; and a first day's speech service and scripted dialogue,
//! which are reached over gRPC like anybody else's. [`command`] is the front door: it builds the floors and joins them.
//!
//! Beside the stairs stands what every floor may use: [`ms`], the unit of every time that a user sees; [`proto`], the three contracts as
//! generated, spoken on floors 3 and 5 only; `cache`, how memory is asked for ahead; `channel`, how the shells
//! reach a gRPC service; and `grid`, the moments at which calls are looked after.
//!
//! Three rules carry it. Cores are pure. The packet path never allocates, locks, awaits or logs once a call is up. Every state has one
//! owner: the call's task the call, the media thread the leg, the journal's bus the events and its threads the disk.
#![forbid(unsafe_code)]

// Floor 1: the cores.
pub mod codec;
pub mod dsp;
pub mod rtp;
pub mod sdp;
pub mod sip;

// Floor 2: the call.
pub mod call;

// Floor 3: the shells.
pub mod dialogue;
pub mod journal;
pub mod machine;
pub mod media;
pub mod net;
pub mod speech;

// Floor 4: the switchboard.
pub mod switchboard;

// Floor 5: the faces, and the front door.
pub mod command;
pub mod config;
pub mod control;
pub mod services;
pub mod web;

// Beside the stairs.
mod cache;
mod channel;
mod grid;
pub mod ms;
pub mod proto;
