//! What the world is told of a call: the events of `Watch`, the journal and the log.

use std::net::SocketAddr;
use std::time::SystemTime;

use super::collection::Collected;
use super::knobs::Clamp;
use super::line::{Heard, Parties, ReferAsked, Utterance};
use super::quality::Occasion;
use super::record::{Announcement, AnsweredBy, CallRecord, Look};
use super::transfer::Handed;
use crate::ms::Ms;

/// Something happened on a call. The journal gives it its sequence number.
#[derive(Debug, Clone)]
pub struct Event {
    /// Our id of the call.
    pub call_id: std::sync::Arc<str>,
    /// Wall time.
    pub wall: SystemTime,
    /// Media time; 0 before the answer.
    pub at: Ms,
    /// What the orchestrator wants back with each event.
    pub correlation: std::sync::Arc<str>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum What {
    /// An INVITE went out.
    Dialling {
        /// The profile.
        trunk: String,
        /// Whom.
        callee: String,
        /// As whom.
        caller: String,
        /// Of a second leg: the call that is handed over.
        transferred_from: Option<std::sync::Arc<str>>,
    },
    /// The trunk failed before it gave a sign of the call: it is placed anew over another one; `Dialling` follows.
    Rerouted {
        /// The profile that failed.
        trunk: String,
        /// How.
        reason: String,
    },
    /// It rings.
    Ringing {
        /// 180–183.
        sip_code: u16,
        /// With SDP.
        early_media: bool,
    },
    /// The call is up.
    Answered {
        /// As `a=rtpmap` names it: PCMA, PCMU, G722, opus or L16.
        codec: &'static str,
        /// Where our media goes, as signalled.
        remote_media: SocketAddr,
        /// With what it is encrypted, as RFC 4568 names it; empty: it is not.
        srtp: &'static str,
    },
    /// Somebody calls us.
    Incoming {
        /// The profile.
        trunk: String,
        /// Who, whom, and for whom.
        parties: Box<Parties>,
        /// `Answer` or `Decline` is waited for.
        waiting: bool,
        /// User-to-User as received.
        user_to_user: Vec<String>,
    },
    /// A prompt's first sample went out.
    PromptStarted {
        /// The asker's id.
        prompt_id: String,
        /// What is said.
        text: String,
        /// From the end of the caller's utterance, if it answers one.
        after_utterance: Option<Ms>,
    },
    /// A prompt's last sample went out.
    PromptFinished {
        /// The asker's id.
        prompt_id: String,
        /// Its length.
        length: Ms,
        /// Why it could not be played whole; empty for no fault.
        fault: String,
    },
    /// A prompt was stopped.
    PromptInterrupted {
        /// What was heard of it.
        heard: Heard,
        /// Who stopped it.
        by: StoppedBy,
        /// Onset of the speech to the last sample; 0 unless by speech.
        reaction: Ms,
    },
    /// The caller speaks into a prompt: it is silent until it is decided whether it goes on.
    PromptPaused {
        /// The asker's id.
        prompt_id: String,
        /// The utterance.
        utterance: u32,
    },
    /// It goes on: what the caller said was no interruption.
    PromptResumed {
        /// The asker's id.
        prompt_id: String,
    },
    /// A segment with a mark began to play.
    Mark {
        /// The asker's id.
        prompt_id: String,
        /// The mark.
        mark: String,
    },
    /// The caller began to speak.
    SpeechStarted {
        /// Number of the utterance.
        utterance: u32,
        /// Onset.
        start: Ms,
        /// Under a prompt.
        during_prompt: bool,
        /// Before the answer.
        early: bool,
    },
    /// What the caller has said so far.
    Partial {
        /// Number of the utterance.
        utterance: u32,
        /// Replaces the one before.
        text: String,
        /// Before the answer.
        early: bool,
    },
    /// What the caller said.
    Utterance {
        /// As the dialogue gets it.
        utterance: Box<Utterance>,
        /// End of the speech to this event.
        latency: Ms,
    },
    /// The caller says nothing.
    NoInput {
        /// How many times in a row.
        count: u32,
    },
    /// The caller pressed a key.
    Key {
        /// 0-9 * # A-D.
        key: char,
    },
    /// A collection of keys came to its end.
    KeysCollected {
        /// How.
        result: Collected,
        /// What was pressed, without the terminator; each an `x` where they are not to be shown.
        digits: String,
    },
    /// An exchange says something in tones.
    Tone {
        /// What.
        heard: crate::dsp::tone::progress::Heard,
        /// When it began: media time; before the answer since the call began.
        start: Ms,
        /// It was heard before the answer.
        before_answer: bool,
    },
    /// An operator says before the answer why there will be none.
    Announcement(Announcement),
    /// Who has answered.
    AnsweredBy(AnsweredBy),
    /// A knob was clamped.
    KnobClamped(Clamp),
    /// A service does not do its work.
    ServiceTrouble {
        /// Which.
        service: Service,
        /// What is wrong, with the endpoint.
        reason: String,
    },
    /// The recording is paused, or goes on.
    RecordPaused {
        /// Paused.
        on: bool,
        /// From this media time on.
        from: Ms,
    },
    /// Nothing is sent to the caller, or again.
    Muted {
        /// Nothing.
        on: bool,
        /// From this media time on.
        from: Ms,
    },
    /// The recording and the record are on disk.
    RecordReady {
        /// Stereo, WAV or Ogg Opus; empty for none.
        wav: String,
        /// JSON.
        json: String,
        /// Where the one will be uploaded; empty: nowhere.
        wav_url: String,
        /// And the other.
        json_url: String,
    },
    /// The recording and the record are where they were to go, or could not be brought there yet; after `Ended`.
    RecordUploaded {
        /// Where the recording is; empty: there was none, or it is not there.
        wav: String,
        /// Where the record is.
        json: String,
        /// Of both.
        bytes: u64,
        /// How often it was tried.
        attempts: u32,
        /// Why not; empty: they are there.
        reason: String,
    },
    /// A transfer goes its way.
    Transfer {
        /// How far.
        stage: Stage,
        /// To whom.
        target: String,
        /// What was told; 0 for nothing.
        sip_code: u16,
        /// In words.
        reason: String,
        /// Of a second leg: its call.
        call_id: Option<std::sync::Arc<str>>,
    },
    /// The call is on hold, or no longer; or the far end refused that.
    Hold {
        /// We hold the far end.
        by_us: bool,
        /// The far end holds us.
        by_far_end: bool,
        /// With what it refused; 0: it is so now.
        sip_code: u16,
        /// The refusal in words.
        reason: String,
    },
    /// How the line is, while the call is up.
    Quality {
        /// The profile.
        trunk: String,
        /// Why it is told.
        occasion: Occasion,
        /// The figures.
        look: Box<Look>,
    },
    /// The far end wanted to refer us to somebody else.
    ReferRefused {
        /// To whom.
        target: String,
        /// What it was answered.
        sip_code: u16,
        /// Why: "policy", "target", "busy", "limit", "malformed", "declined", "no_decision" or "call_ended".
        why: &'static str,
    },
    /// The far end wants to refer us to somebody else, and a decision is waited for.
    ReferAsked(Box<ReferAsked>),
    /// A REFER of the far end is followed.
    Referred {
        /// How far.
        stage: Stage,
        /// To whom.
        target: String,
        /// What was told; 0 for nothing.
        sip_code: u16,
        /// In words.
        reason: String,
    },
    /// A response or BYE carried User-to-User.
    UserToUser {
        /// Which: "ringing", "answer", "refusal" or "bye".
        carrier: &'static str,
        /// Each as it came.
        values: Vec<String>,
    },
    /// The call is over.
    Ended(Box<CallRecord>),
}

/// A hundred thousand are kept for watchers: what is long and seldom is in a box.
const _: () = assert!(size_of::<What>() <= 104);

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// It was asked for at the far end, or a second leg is being placed.
    Started,
    /// The far end consents, or tells how its call goes.
    Progress,
    /// The target has the call.
    Answered(Handed),
    /// It came to nothing.
    Failed(Handed),
    /// And our call is over.
    Ended,
}

/// Who stopped a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoppedBy {
    /// The caller spoke.
    Speech,
    /// The caller pressed a key.
    Key,
    /// It was asked for.
    Stop,
    /// It was a bridging phrase or the sound of a transfer, and what it was to bridge is over.
    Answer,
    /// The call ended.
    Hangup,
}

impl StoppedBy {
    /// As the contract writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            StoppedBy::Speech => "speech",
            StoppedBy::Key => "key",
            StoppedBy::Stop => "stop",
            StoppedBy::Answer => "answer",
            StoppedBy::Hangup => "hangup",
        }
    }
}

/// A service that a call depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// ASR.
    Recognition,
    /// TTS.
    Synthesis,
    /// The robot's brain.
    Dialogue,
}

impl Service {
    /// As the contract writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Service::Recognition => "recognition",
            Service::Synthesis => "synthesis",
            Service::Dialogue => "dialogue",
        }
    }
}
