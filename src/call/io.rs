//! What goes into a call and what comes out of it: the one list of all that its shells carry for it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Route;
use super::action::{Action, Asked};
use super::event::What;
use super::hints::Hints;
use super::knobs::KnobChange;
use super::leg::{self, LegEvent};
use super::line::LineEvent;
use super::prompt::{PromptNo, Text};
use super::record::{CallRecord, LineQuality};
use super::second_leg::{News, SecondLeg, ToSecond};
use super::transfer::Follow;
use crate::codec::coding::Band;
use crate::codec::g711::Law;
use crate::ms::Ms;
use crate::sip::message::{Message, Request, Target};
use crate::sip::refer::Replaces;
use crate::sip::session::{ExtraHeaders, Session};

/// From the dialogue.
#[derive(Debug, Clone, PartialEq)]
pub enum FromDialogue {
    /// It asked for something.
    Asked(Asked),
    /// The stream is over or never came up; `None`: the dialogue closed it politely.
    Closed(Option<String>),
}

/// To the dialogue.
#[derive(Debug, Clone, PartialEq)]
pub enum ToDialogue {
    /// Open the stream.
    Open,
    /// Leave the stream, which is lost, for a new one, at another endpoint if there is one.
    Resume,
    /// Leave the stream for one of another dialogue, of this name.
    Attach(String),
    /// Tell it.
    Tell(LineEvent),
    /// Close our side, after all that was told.
    Close,
}

/// From recogniser and synthesiser.
#[derive(Debug, Clone, PartialEq)]
pub enum FromSpeech {
    /// What has been understood so far.
    Partial {
        /// The utterance.
        utterance: u32,
        /// Replaces the one before.
        text: String,
    },
    /// The text of an utterance.
    Final {
        /// The utterance.
        utterance: u32,
        /// What was understood.
        text: String,
        /// Other readings.
        alternatives: Vec<String>,
        /// 0 to 1.
        confidence: Option<f32>,
    },
    /// Recognition does not work. `lost`: the stream is gone and will not come back for this call.
    RecognitionTrouble {
        /// What, with the endpoint.
        reason: String,
        /// No more results will come.
        lost: bool,
    },
    /// Sound of a segment, in order.
    Sound {
        /// The prompt.
        prompt: PromptNo,
        /// The segment, from 0.
        segment: u32,
        /// Their rate.
        band: Band,
        /// The next samples; an even number of 16 kHz.
        samples: Vec<i16>,
    },
    /// A recording's sound, whole.
    Recording {
        /// The prompt.
        prompt: PromptNo,
        /// The segment.
        segment: u32,
        /// Their rate.
        band: Band,
        /// Other calls may play it too; an even number of 16 kHz.
        samples: std::sync::Arc<[i16]>,
    },
    /// All of the segment's sound has been given.
    SoundEnd {
        /// The prompt.
        prompt: PromptNo,
        /// The segment.
        segment: u32,
    },
    /// The segment's sound cannot be had, or no more of it.
    SoundFailed {
        /// The prompt.
        prompt: PromptNo,
        /// The segment.
        segment: u32,
        /// What, with the endpoint or the file.
        reason: String,
    },
}

/// To the recogniser: its audio does not pass through the call, it comes straight from the media thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToRecogniser {
    /// Speech began.
    UtteranceStart {
        /// The utterance.
        utterance: u32,
        /// Onset.
        start: Ms,
        /// Onset less the pre-roll.
        from: Ms,
    },
    /// Speech ended: all audio up to now first, then this.
    UtteranceEnd {
        /// The utterance.
        utterance: u32,
        /// Onset.
        start: Ms,
        /// End.
        stop: Ms,
    },
    /// What is likely from now on, beside what is on the whole call; `None`: nothing in particular.
    Expect(Option<Arc<Hints>>),
    /// The call is over: flush, then close.
    Close,
}

/// To the synthesiser and the prompts folder: a segment whose sound is wanted.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// Text to be synthesised.
    Text(Text),
    /// A recording below the prompts folder.
    File(String),
}

/// What was going on when a frame was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// The robot was speaking.
    UnderPrompt,
    /// The line was the caller's.
    Open,
    /// The call was not answered yet.
    EarlyMedia,
}

/// How a [`HeardFrame`] is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeardCoding {
    /// A byte for each of its 160 samples of 8 kHz: 20 ms.
    G711(Law),
    /// 80 samples of 16 bits, the low byte first: 10 ms of 8 kHz, 5 ms of 16 kHz.
    Linear(Band),
}

impl HeardCoding {
    /// The length of a frame.
    pub fn frame(self) -> Ms {
        match self {
            HeardCoding::G711(_) => Ms(20),
            HeardCoding::Linear(Band::Narrow) => Ms(10),
            HeardCoding::Linear(Band::Wide) => Ms(5),
        }
    }
}

/// A piece of what the caller said, for recognition: it goes through a ring from the media thread. Of a G.711 line it is 20 ms in the
/// line's own coding, of which it came: half the memory of its samples, and what a thousand calls write fifty times a second is not in any
/// cache. Of other lines it is the samples, in shorter pieces of as many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeardFrame {
    /// Media time of its first sample, on the caller's wire.
    pub at: Ms,
    /// What was going on.
    pub label: Label,
    /// How it is coded.
    pub coding: HeardCoding,
    /// The sound.
    pub sound: [u8; 160],
}

/// 20 ms of both sides, for the recording: it goes through a ring from the media thread to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedFrame {
    /// Media time of the robot's first sample; multiples of 20 ms.
    pub robot_at: Ms,
    /// What was sent; silence when nothing was.
    pub robot: [i16; 160],
    /// Media time of the caller's first sample, on the caller's wire: not a multiple of 20 ms, and it may slip by the clock's drift.
    /// `None`: nothing came from the caller in this slot.
    pub caller_at: Option<Ms>,
    /// What came; only with `caller_at`.
    pub caller: [i16; 160],
    /// The recording is paused: what either side says from `robot_at` on, for 20 ms, must not be kept.
    pub paused: bool,
}

/// Into a call.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// A SIP message of its dialog.
    Sip {
        /// The message.
        message: Message,
        /// Who sent it.
        source: SocketAddr,
    },
    /// Something could not be sent.
    Unsent {
        /// Where to.
        to: Target,
    },
    /// From its leg.
    Leg(LegEvent),
    /// From the leg that listens before the answer.
    EarlyLeg(LegEvent),
    /// From the recogniser of early media.
    EarlySpeech(FromSpeech),
    /// Its leg is gone.
    LegClosed(Box<LineQuality>),
    /// Its leg is gone without a last word: what carried it has died.
    LegLost,
    /// From its dialogue.
    Dialogue(FromDialogue),
    /// From recogniser, synthesiser or prompts folder.
    Speech(FromSpeech),
    /// From the orchestrator.
    Command(Action),
    /// The orchestrator answers a call that waits.
    Answer {
        /// Changes to its knobs.
        knobs: KnobChange,
        /// Another choice of dialogue than the route's: whether there is one.
        dialogue: Option<bool>,
        /// Headers of the 200.
        headers: ExtraHeaders,
    },
    /// An INVITE under another Call-ID wants to take the place of this call (RFC 3891).
    Replace {
        /// The INVITE.
        invite: Box<Request>,
        /// Its Replaces.
        replaces: Replaces,
        /// Who sent it.
        source: SocketAddr,
    },
    /// The orchestrator refuses a call that waits, with a SIP status.
    Decline {
        /// 400–699.
        status: u16,
        /// Empty: the status' own.
        reason: String,
    },
    /// Where else the call may be placed, or why nowhere; to [`Output::Reroute`].
    Route(Result<Box<Route>, String>),
    /// Where our media are now, if it is another place, or why there is none; to [`Output::OtherFamily`].
    Media(Result<Option<SocketAddr>, String>),
    /// From the second leg of a transfer.
    Transferred(News),
    /// To a second leg, from the call that is handed over.
    First(ToSecond),
    /// How the target of a REFER is called, or why it cannot be; to [`Output::Follow`].
    Followed(Result<Box<Route>, String>),
    /// We are going down.
    Shutdown,
}

/// Out of a call.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// A SIP message.
    Transmit {
        /// Where to.
        to: Target,
        /// The datagram.
        payload: Vec<u8>,
    },
    /// The trunk failed before it gave a sign of the call: another way is wanted.
    Reroute,
    /// The next address of the trunk is of the other IP family: media of that family are wanted.
    OtherFamily {
        /// It is of IPv6.
        v6: bool,
    },
    /// The call goes another way: its signalling so far, which may still have to repeat itself, and the Call-ID by which it is known now.
    Moved {
        /// The first way.
        left: Box<Session>,
        /// The new one.
        sip_call_id: String,
    },
    /// The target of the far end's REFER is to be called.
    Follow(Box<Follow>),
    /// And this is the Call-ID of that call, until [`Output::Moved`] or [`Output::Left`]; or of this call, when it is redirected.
    Known {
        /// It.
        sip_call_id: String,
        /// It goes to a host that need not be one of the trunk's.
        direct: bool,
    },
    /// It came to nothing; its signalling may still have to repeat itself.
    Left(Option<Box<Session>>),
    /// Early media is to be heard: a leg before the answer; where it is recognised, by a stream of its own that labels all of it.
    Listen {
        /// Its leg.
        setup: Box<leg::Setup>,
        /// What is said goes to recognition; else only tones are listened for.
        recognise: bool,
        /// The recording begins with it; that of the call's leg goes on there.
        record: bool,
    },
    /// No more early media.
    StopListening,
    /// To the recogniser of early media.
    EarlyRecogniser(ToRecogniser),
    /// The call is up: media flows from now on, recogniser and recorder are connected.
    OpenLeg(Box<leg::Setup>),
    /// To its leg.
    Leg(leg::Command),
    /// No more media: [`Input::LegClosed`] is waited for.
    CloseLeg,
    /// To its dialogue.
    Dialogue(ToDialogue),
    /// To its recogniser.
    Recogniser(ToRecogniser),
    /// A segment's sound is wanted.
    Want {
        /// The prompt.
        prompt: PromptNo,
        /// The segment.
        segment: u32,
        /// What.
        wanted: Wanted,
    },
    /// The prompt's sound is not wanted any more.
    Unwant(PromptNo),
    /// To the world.
    Tell {
        /// Media time.
        at: Ms,
        /// What happened.
        what: What,
    },
    /// A second leg is wanted; [`Input::Transferred`] tells what becomes of it.
    Transfer(Box<SecondLeg>),
    /// It is answered: each of the two hears the other.
    Bridge {
        /// Both are still recognised.
        recognised: bool,
    },
    /// To the second leg.
    Second(ToSecond),
    /// From a second leg to the call that is handed over.
    First(News),
    /// The call is over; its signalling may still have to repeat itself for a while.
    Over(Box<CallRecord>),
}
