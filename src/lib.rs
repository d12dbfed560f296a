//! Trunkline: the telephone half of a voice robot.
#![forbid(unsafe_code)]
pub mod call;
mod channel;
pub mod codec;
pub mod command;
pub mod config;
pub mod control;
pub mod dialogue;
pub mod dsp;
pub mod journal;
pub mod media;
pub mod ms;
pub mod net;
pub mod proto;
pub mod rtp;
pub mod sdp;
pub mod services;
pub mod sip;
pub mod speech;
pub mod switchboard;
pub mod web;
