//! Trunkline from outside: the real binary, a real SIP peer (SIPp), real sockets on loopback, and an orchestrator over gRPC.
//!
//! | module | what is looked at |
//! |---|---|
//! | `outbound` | calls that are dialled: answered, refused, cancelled, challenged, never answered |
//! | `foreign` | peers as others write them: OPTIONS, keep-alives, odd headers, odd SDP, requests within a call |
//! | `inbound` | calls that come in: routes, answering, refusing, races of CANCEL, ACK and BYE |
//! | `baresip` | baresip as the far end: holds, transfers, keys, early media, directly and through Kamailio |
//! | `ipv6` | whole calls by IPv6, and of both families side by side |
//! | `kamailio` | through a registrar and record-routing proxy, in front of us and behind us |
//! | `linphone` | linphone as the far end: PRACK, session timer, holds, transfers, directly and through Kamailio |
//! | `codecs` | Opus, G.722 and long packets with baresip and linphone, and what each has heard of the other |
//! | `rtpengine` | media by a relay of somebody else, in the clear and with SRTP on our side |
//! | `pjsip` | pjsip as the far end: PRACK, session timer, holds, transfers, keys, passwords, SRTP, G.722 |
//! | `sessions` | PRACK, early and late offers, holds, session timers, forks |
//! | `sipsak` | sipsak: is somebody there; a flood, and nonsense |
//! | `many_calls` | what is left behind after hundreds of them: nothing |
//! | `load` | the load harness itself, on a small scale |
//! | `overload` | beyond the limits: 503 at once, and calls that are up go on |
//! | `process` | the program: its start, its end, its registrations, its exit codes |
//! | `recording` | recordings: from early media on, paused, in Opus, left behind by a process that was killed in all forms; a disk that is full, one that stands still |
//! | `uploads` | recordings on their way to a store that checks signatures, and what becomes of those that it does not take |
//! | `bridge` | handing over by a second leg: an agent who answers, is busy, rings out, hangs up; audio both ways; fall-back from REFER |
//! | `transfer` | REFER and its NOTIFYs, User-to-User, headers on answer and BYE, refusals of REFER and Replaces |
//! | `refers` | REFERs of the far end: followed, told to the dialogue, refused; whose the call is then |
//! | `transports` | calls over TCP and TLS, and to peers that are names |
//! | `trunks` | groups and failover, trunks that go and come back, limits, numbers, identity, passwords of callers, strangers |
//! | `turns` | the conversation bench itself, on a small scale: who interrupts, who is cut off |
//! | `wire` | our RTP, as tshark sees it |
//! | `srtp` | encrypted media: each packet, looked at by hand; baresip, over TLS too, and linphone |
//! | `sounds` | what is in the audio itself: announcements and tones before the answer, keys that are tones, both ways |
//! | `bad_lines` | delay, loss and reordering on real sockets: the talk goes on, and the record says what they were |
//! | `listening` | who listens in: both sides, their times, what is lost, who is one too many; a caller who is muted |
//! | `wrong_state` | every action and command where it cannot be done |
//! | `chaos` | services killed, frozen and slowed at random while calls talk |
//! | `bad_input` | nonsense from the network, wrong arguments |
//! | `bad_services` | speech services and dialogues that are absent, hang, die and talk nonsense |
//!
//! Each test starts a Trunkline of its own on ports of its own ([`rig`]), so they all run side by side, also in processes of their own.
//! SIPp, sipsak, tshark, baresip, linphone, Kamailio and rtpengine come from Debian's `sip-tester`, `sipsak`, `tshark`, `baresip-core`,
//! `linphone-cli`, `kamailio`, `kamailio-tls-modules` and `rtpengine-daemon`, openssl, sox, multimon-ng, strace and opus-tools from packages of
//! these names; pjsip and moto, the store of `uploads`, from PyPI's `pjsua2-python` and `moto`. `scripts/setup test` installs them all.

mod bad_input;
mod bad_lines;
mod bad_services;
mod baresip;
mod bridge;
mod chaos;
mod codecs;
mod foreign;
mod grpcio;
mod inbound;
mod ipv6;
mod kamailio;
mod linphone;
mod listening;
mod load;
mod many_calls;
#[path = "../opusdec/mod.rs"]
mod opusdec;
mod outbound;
mod overload;
mod pjsip;
mod process;
mod recording;
mod refers;
mod rig;
mod rtpengine;
mod sessions;
mod sipsak;
mod sounds;
mod srtp;
mod transfer;
mod transports;
mod trunks;
mod turns;
mod uploads;
mod wire;
mod wrong_state;
