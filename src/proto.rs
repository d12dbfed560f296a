//! The three contracts, as generated from `proto/`; see the comments there.
//!
//! Only floors 3 and 5 speak protobuf: below and between them the call's own values are used.

#![allow(missing_docs, rustdoc::all, clippy::all)]

mod codec;

/// What we serve to the orchestrator.
pub mod control {
    pub mod v1 {
        tonic::include_proto!("trunkline.control.v1");
    }
}

/// What we ask of the robot's brain.
pub mod dialogue {
    pub mod v1 {
        tonic::include_proto!("trunkline.dialogue.v1");
    }
}

/// What we ask of recognisers and synthesisers.
pub mod speech {
    pub mod v1 {
        tonic::include_proto!("trunkline.speech.v1");
    }
}

/// All of the above as a descriptor set, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/trunkline.bin"));
