//! RTP and RTCP (RFC 3550): packets, the stream we send, the stream we hear, keys.
//!
//! | module              | what it holds                                                        |
//! |---------------------|----------------------------------------------------------------------|
//! | [`packet`]          | reading and writing one packet                                       |
//! | [`sender`]          | our outgoing stream: numbers, stamps, markers                        |
//! | [`reception`]       | sequence validation, loss and jitter figures of the incoming one     |
//! | [`clock`]           | when each sample would have come without jitter                      |
//! | [`jitter`]          | the adaptive buffer                                                  |
//! | [`frames`]          | its reader: 160 samples each 20 ms                                   |
//! | [`telephone_event`] | RFC 4733 keys, both ways                                             |
//! | [`redundancy`]      | RFC 2198: what packets say again of those before them                |
//! | [`rtcp`]            | reports, round-trip time, BYE                                        |
//! | [`xr`]              | RFC 3611: how the stream is heard, told both ways                    |
//! | [`bursts`]          | RFC 3611: how losses lie, in bursts or alone                         |
//! | [`emodel`]          | ITU-T G.107: what that is worth to who listens                       |
//! | [`srtp`]            | what encrypts and authenticates both                                 |

pub mod bursts;
pub mod clock;
pub mod emodel;
pub mod frames;
pub mod jitter;
pub mod packet;
pub mod reception;
pub mod redundancy;
pub mod rtcp;
pub mod sender;
pub mod srtp;
pub mod telephone_event;
pub mod xr;
