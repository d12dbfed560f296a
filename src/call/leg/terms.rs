//! What a leg is told, and what it tells: how it begins, what it is asked to do, what happens on it, and its ways out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{FRAME, Gear, Sound, WallClock};
use crate::call::io::{HeardFrame, RecordedFrame};
use crate::call::knobs::{BargeIn, LegKnobs};
use crate::call::prompt::PromptNo;
use crate::call::record::Look;
use crate::codec::coding::Coding;
use crate::dsp::answerer;
use crate::dsp::level::Gain;
use crate::dsp::tone::progress::{self, Country};
use crate::dsp::vad::Opinion;
use crate::ms::Ms;
use crate::rtp::packet::PayloadType;
use crate::rtp::srtp::Srtp;

/// What signalling has agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Media {
    /// How it is coded, both ways.
    pub coding: Coding,
    /// Its number in what we send.
    pub payload_type: PayloadType,
    /// Its number in what we receive: ours, where the far end's differs.
    pub payload_type_in: PayloadType,
    /// The packets that the far end wants; what comes may have any other length.
    pub ptime: Ms,
    /// The number of RFC 4733 events in what we send.
    pub telephone_event: Option<PayloadType>,
    /// Their number in what we receive: ours, where the far end's differs.
    pub telephone_event_in: Option<PayloadType>,
    /// Units a second in which their length is told.
    pub event_clock: u32,
    /// The number of packets that say again what others before them did (RFC 2198), in what we receive. We send none: keys are told
    /// several times as it is, and sound would take twice the room.
    pub redundancy: Option<PayloadType>,
    /// Where our packets go, until theirs come from elsewhere.
    pub remote: SocketAddr,
    /// Where our RTCP goes, until then.
    pub rtcp: SocketAddr,
    /// RTCP goes over the RTP port, both ways (RFC 5761).
    pub rtcp_mux: bool,
    /// The far end is told by extended reports how we hear it (RFC 3611).
    pub rtcp_xr: bool,
    /// We may send: not while the far end holds us.
    pub sends: bool,
    /// The far end may send: its silence means something, and without it nothing that comes is heard.
    pub receives: bool,
}

/// How a leg begins.
#[derive(Debug)]
pub struct Setup {
    /// What signalling has agreed on.
    pub media: Media,
    /// What both directions are encrypted with; `None`: they are not.
    pub srtp: Option<Box<Srtp>>,
    /// It may become one of 16 kHz: recognition needs a longer ring.
    pub may_widen: bool,
    /// First values.
    pub knobs: LegKnobs,
    /// Whether keys are heard as tones.
    pub inband_keys: InbandKeys,
    /// Whose call progress tones are listened for.
    pub tones: Option<Arc<Country>>,
    /// Who has answered is judged by these.
    pub answerer: Option<answerer::Rules>,
    /// [`LegEvent::LineDead`] when nothing came for this long, unless the call is on hold.
    pub rtp_timeout: Duration,
    /// For SSRC, sequence and timestamp.
    pub seed: u64,
    /// For sender reports.
    pub clock: WallClock,
}

/// Whether keys are heard as tones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InbandKeys {
    /// Where RFC 4733 events have not been agreed on.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// What the call tells its leg.
#[derive(Debug)]
pub enum Command {
    /// A prompt begins; its sounds follow, then its close, before the next prompt.
    Prompt {
        /// Its number.
        no: PromptNo,
        /// Who may stop it.
        barge_in: BargeIn,
        /// The first part that cannot be stopped.
        protect: Ms,
    },
    /// Sound of the prompt that has begun.
    Sound {
        /// The prompt.
        no: PromptNo,
        /// Its segment.
        segment: u32,
        /// The next samples.
        sound: Sound,
    },
    /// The prompt has no more sound.
    Close {
        /// The prompt.
        no: PromptNo,
    },
    /// Stop speaking, and drop what is queued, as far as it was asked for before.
    Stop {
        /// The last prompt that is meant.
        last: PromptNo,
    },
    /// The caller's words interrupt: what is said stops as by his speech, if it may be stopped; while he speaks on also when its
    /// protected part is over.
    Interrupt {
        /// Of his utterance.
        onset: Ms,
    },
    /// The prompt that has paused goes on.
    Resume,
    /// Nothing is understood of what it has paused for: as [`Command::Interrupt`] if the voice goes on, else as [`Command::Resume`].
    Judge {
        /// Of the utterance.
        onset: Ms,
    },
    /// The knobs, from the next frame.
    Knobs(LegKnobs),
    /// The recording is paused from the next frame on, or goes on.
    PauseRecording(bool),
    /// Nothing is sent from the next frame on, but keys; or again.
    Mute(bool),
    /// The caller pressed a key, as signalling told: the same press may come as an RTP event too.
    Pressed(char),
    /// What is looped under everything that is sent, and how loud.
    Background(Option<(Arc<[i16]>, Gain)>),
    /// Keys to send: 0-9 * # A-D. As RFC 4733 events; as tones where those have not been agreed on.
    SendKeys(String),
    /// Signalling has agreed anew. A direction whose key is the same goes on; what is encrypted stays so. With it comes what the coding
    /// needs, if it needs something.
    Media(Media, Option<Box<Srtp>>, Option<Box<Gear>>),
    /// How is the line? [`LegEvent::Look`] brings it back filled in: here nothing is allocated.
    Look(Box<Look>),
}

/// Who stopped a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The caller spoke.
    Speech {
        /// From when on.
        onset: Ms,
    },
    /// The caller pressed a key.
    Key,
    /// [`Command::Stop`].
    Asked,
}

/// What a leg tells its call.
#[derive(Debug, Clone, PartialEq)]
pub enum LegEvent {
    /// Media time began.
    Began {
        /// Its origin.
        at: Instant,
    },
    /// The caller began to speak.
    SpeechStarted {
        /// Number of the utterance, from 1.
        utterance: u32,
        /// Onset, back-dated.
        onset: Ms,
        /// The robot speaks.
        under_prompt: bool,
    },
    /// The caller fell silent.
    Utterance {
        /// Number of the utterance.
        utterance: u32,
        /// Onset.
        start: Ms,
        /// End, without the silence that ended it.
        stop: Ms,
        /// Cut at `max_utterance`.
        too_long: bool,
        /// Began and ended under a prompt, and did not stop it.
        during_prompt: bool,
    },
    /// A prompt's first sample went out.
    PromptStarted {
        /// The prompt.
        prompt: PromptNo,
        /// When.
        at: Ms,
    },
    /// A segment's first sample went out.
    SegmentStarted {
        /// The prompt.
        prompt: PromptNo,
        /// The segment.
        segment: u32,
        /// When.
        at: Ms,
    },
    /// A prompt's last sample went out.
    PromptFinished {
        /// The prompt.
        prompt: PromptNo,
        /// When.
        at: Ms,
        /// How much went out.
        length: Ms,
    },
    /// The caller speaks into a prompt, and it has fallen silent: [`Command::Interrupt`] or [`Command::Resume`] is waited for.
    PromptPaused {
        /// The prompt.
        prompt: PromptNo,
        /// The utterance.
        utterance: u32,
        /// Its onset.
        onset: Ms,
        /// End of the last sample.
        at: Ms,
    },
    /// It goes on.
    PromptResumed {
        /// The prompt.
        prompt: PromptNo,
        /// When.
        at: Ms,
    },
    /// A prompt was stopped or, never heard, dropped.
    PromptInterrupted {
        /// The prompt.
        prompt: PromptNo,
        /// End of its last sample.
        at: Ms,
        /// How much went out.
        heard: Ms,
        /// The segment that was heard.
        segment: u32,
        /// How much of that.
        segment_heard: Ms,
        /// Who stopped it.
        by: Stopped,
    },
    /// The caller pressed a key.
    Key {
        /// 0-9 * # A-D.
        key: char,
        /// When.
        at: Ms,
    },
    /// The recording is paused, or goes on.
    RecordingPaused {
        /// Paused.
        on: bool,
        /// Media time of the first frame of which that holds.
        from: Ms,
    },
    /// Nothing is sent to the far end, or again.
    Muted {
        /// Nothing.
        on: bool,
        /// Media time of the first frame of which that holds.
        from: Ms,
    },
    /// What an exchange says in tones began.
    Tone {
        /// What.
        heard: progress::Heard,
        /// When it began.
        at: Ms,
    },
    /// Who has answered. A machine, or an unknown one, may beep later.
    Answerer {
        /// Who, and why.
        verdict: answerer::Verdict,
        /// When that was clear.
        at: Ms,
    },
    /// Nothing came from the far end for as long as [`Setup::rtp_timeout`], and it does not hold us.
    LineDead {
        /// When.
        at: Ms,
    },
    /// To [`Command::Look`].
    Look(Box<Look>),
    /// A buffer that has been played: to be freed elsewhere than on the media thread.
    Spent(Vec<i16>),
    /// The same of samples that other calls may have, too.
    SpentShared(Arc<[i16]>),
}

/// Where all goes that comes out of a leg.
pub trait Outlet {
    /// To the call.
    fn event(&mut self, event: LegEvent);
    /// To the recogniser, if there is one.
    fn heard(&mut self, frame: impl FnOnce() -> HeardFrame);
    /// To the recorder, if there is one: most calls are not recorded, and then the frame is not even made.
    fn record(&mut self, frame: impl FnOnce() -> RecordedFrame);
    /// What was heard goes to the leg that this one is joined with, and what that one heard comes back; `None`: there is none, or nothing came.
    fn bridge(&mut self, _heard: &[i16; FRAME]) -> Option<[i16; FRAME]> {
        None
    }
    /// Somebody who has not been asked yet, for a second opinion on a voice; `None`: nobody is free.
    fn lend_opinion(&mut self) -> Option<Box<Opinion>> {
        None
    }
    /// Who was lent is needed no longer.
    fn give_back(&mut self, _opinion: Box<Opinion>) {}
    /// To the far end, from the RTP port.
    fn send(&mut self, to: SocketAddr, packet: &[u8]);
    /// To the far end, from the RTCP port, or from the RTP port if they are one ([`super::Leg::shares_port`]).
    fn report(&mut self, to: SocketAddr, compound: &[u8]);
}

/// Packets that were refused, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Not RTP.
    pub malformed: u64,
    /// Of no payload type that was agreed on.
    pub payload_type: u64,
    /// From somebody else.
    pub source: u64,
    /// Encrypted with another key than the agreed one, or not at all, or changed on the way.
    pub unauthentic: u64,
    /// Encrypted, and come before.
    pub replayed: u64,
}
